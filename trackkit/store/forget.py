"""Removal in one commit: rows of before a date, or of one person; then no file of the store holds them any more.

A removal is a commit like a load: whatever stops it before, the store stands as it stood. Afterwards the files of older
versions, which still hold the rows, are deleted: whoever reads an older snapshot then fails and must open the store
again. A removal that was stopped between the two is finished by repeating it.
"""

import json
import uuid
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from trackkit import schema
from trackkit.plain import one_line
from trackkit.store.damage import require_whole
from trackkit.store.enrich import MARKED_BY, with_marks
from trackkit.store.lake import Commit, Lake, StoredTables, among_others
from trackkit.store.layout import BUCKET, BY_DELIVERY, FENCE, FILLED, LARGE_ROWS, LOAD, OWN, WATERMARK, bucket_of
from trackkit.store.locking import alone, discard_staging
from trackkit.store.removal import ALTERED, GOES, Old, Person

if TYPE_CHECKING:
    from deltalake.fs import DeltaStorageHandler

FINISHED = 85  # states from here on are final: ended early, failed, finished, deleted
Keep = Callable[[list[str]], pl.DataFrame]
Rule = Callable[[StoredTables, pl.DataFrame], Old | Person]
_OTHERS = [name for name in schema.TABLES if name not in (*BY_DELIVERY, "purge", "kept_count")]


@dataclass
class ForgetReport:
    """What was removed, or, of a dry run, what would be.

    `rows` by table; `deliveries` whose messages or hits are concerned; `kept` of them whose counts were kept first;
    `altered` rows that stay without something; `undated` rows that stay since nothing says how old they are; `texts` of
    load reports that were blanked; `files` deleted with the history; `pages` of rendered reports deleted. `person` is
    who was forgotten, for what lies outside the store.

    >>> print(ForgetReport({"event": 3}, ["7"], files=2))
    Removed: 3 rows of event, in 1 delivery.
    History: 2 files of older versions deleted.
    """

    rows: dict[str, int] = field(default_factory=dict)
    deliveries: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    altered: int = 0
    undated: int = 0
    texts: int = 0
    files: int = 0
    pages: list[str] = field(default_factory=list)
    dry_run: bool = False
    notes: list[str] = field(default_factory=list)
    person: Person | None = field(default=None, repr=False)

    def to_dict(self) -> dict[str, Any]:
        """Return the report in the shape that `trackkit forget --json` prints; it never names the person."""
        return {one.name: getattr(self, one.name) for one in fields(self) if one.name != "person"}

    def __str__(self) -> str:
        removed = ", ".join(f"{count:,} rows of {name}" for name, count in self.rows.items()) or "nothing"
        where = f", in {_several(self.deliveries, 'delivery', 'deliveries')}" if self.deliveries else ""
        lines = [f"{'Would be removed' if self.dry_run else 'Removed'}: {removed}{where}."]
        lines += [f"Counts kept: {_several(self.kept, 'delivery', 'deliveries')}."] if self.kept else []
        lines += [f"Undated rows that stay, their age being unknown: {self.undated:,}."] if self.undated else []
        lines += [f"Texts of load reports blanked: {self.texts:,}."] if self.texts else []
        if not self.dry_run:
            lines.append(f"History: {self.files:,} files of older versions deleted.")
        lines += [f"Reports deleted: {', '.join(self.pages)}."] if self.pages else []
        return "\n".join(one_line(line) for line in [*lines, *self.notes])


def _several(things: list[str], one: str, many: str) -> str:
    return f"{len(things):,} {one if len(things) == 1 else many}"


def forget(lake: Lake, rule: Rule, keep: Keep | None, dry_run: bool) -> ForgetReport:
    """Remove what a rule marks from a store, and its history; a dry run only counts.

    `keep(deliveries)` measures (delivery_id, metric, value) before the rows go. In: a store with a commit. Raises
    RequestError where a load holds the store, and goes on holding it.
    """
    with alone(lake):
        require_whole(lake)
        report = among_others(lake, lambda: _removed(lake, rule, keep, dry_run))
        if not dry_run:
            discard_staging(lake)
            report.files = among_others(lake, lambda: _history_deleted(lake))
    return report


def _removed(lake: Lake, rule: Rule, keep: Keep | None, dry_run: bool) -> ForgetReport:
    """Commit the removal, where there is anything to remove; of a dry run, only count."""
    load_id = uuid.uuid4().hex
    lake.begin(load_id)
    last = lake.last_commit()
    assert last is not None
    work = Removal(lake, last, dict(last.versions) if dry_run else lake.recovered(last), rule, load_id)
    work.count()
    work.report.dry_run = dry_run
    if keep:
        work.keep(keep)
    if not dry_run and work.is_needed():
        work.write()
    return work.report


def _history_deleted(lake: Lake) -> int:
    """Delete the files of older versions, and those that no load committed; return how many."""
    fence = Fence(lake)
    return sum(fence.delete_history(name) for name in (*lake.present(), LOAD))


class Removal:
    """One removal, from counting to the commit."""

    def __init__(self, lake: Lake, last: Commit, versions: dict[str, int], rule: Rule, load_id: str) -> None:
        self.lake, self.last, self.versions = lake, last, versions
        loads = lake.loads(*OWN[LOAD])
        self.before = StoredTables(lake, dict(versions))
        self.rule = rule(self.before, _files(loads))
        self.report = ForgetReport(person=self.rule if isinstance(self.rule, Person) else None)
        self.concerned: dict[str, pl.DataFrame] = {}
        self.loads = self._blanked(loads)
        self.load_id, self.now = load_id, datetime.now(UTC)

    def count(self) -> None:
        """Count what goes: by delivery in the tables that are cut by it, in one sum in others."""
        for name in filter(self.before.versions.__contains__, (*BY_DELIVERY, *_OTHERS)):
            seeds = pl.col("is_seed").fill_null(False) if name == "event" else pl.lit(False)
            sums = [pl.col(GOES).sum(), pl.col(ALTERED).sum(), (pl.col(GOES) & ~seeds).sum().alias("counted")]
            marked = self.rule.marked(name)
            counts = marked.group_by("delivery_id").agg(sums) if name in BY_DELIVERY else marked.select(sums)
            rows = counts.filter((pl.col(GOES) > 0) | (pl.col(ALTERED) > 0)).collect()
            if rows.height:
                self.concerned[name] = rows
            if removed := int(rows[GOES].sum()):
                self.report.rows[name] = removed
            self.report.altered += int(rows[ALTERED].sum())
        self.report.deliveries = sorted(set(self._losing()["delivery_id"]))
        self.report.undated = self.rule.undated()

    def _blanked(self, loads: pl.DataFrame) -> pl.DataFrame:
        """The history of loads, its reports without what is forgotten."""
        reports = [_mapped(json.loads(text), self.rule.load_text) for text in loads["report"]]
        prints = [_mapped(json.loads(text), self.rule.load_text) for text in loads["fingerprints"]]
        texts = {"report": map(json.dumps, reports), "fingerprints": map(json.dumps, prints)}
        blanked = loads.with_columns(pl.Series(name, list(text), pl.String) for name, text in texts.items())
        self.report.texts = int((blanked["report"] != loads["report"]).sum())
        return blanked

    def _losing(self) -> pl.DataFrame:
        """The deliveries that lose messages or hits that count, by table: (delivery_id, purged_table, purged_rows)."""
        shape = {"delivery_id": pl.String, "purged_table": pl.String, "purged_rows": pl.Int64}
        parts = [
            self.concerned[name]
            .filter(pl.col("counted") > 0, pl.col("delivery_id").is_not_null())
            .select("delivery_id", purged_table=pl.lit(name), purged_rows=pl.col("counted").cast(pl.Int64))
            for name in ("event", "message")
            if name in self.concerned
        ]
        return pl.concat([pl.DataFrame(schema=shape), *parts])

    def keep(self, keep: Keep) -> None:
        """Measure the finished deliveries that lose rows, before they do."""
        states = self.before.scan("delivery").select("delivery_id", "state").collect()
        running = states.filter(pl.col("state") < FINISHED)["delivery_id"]
        self.report.kept = [name for name in self.report.deliveries if name not in set(running)]
        if left := len(self.report.deliveries) - len(self.report.kept):
            self.report.notes.append(f"Counts not kept, the delivery not being finished: {left:,}.")
        if self.report.kept and not self.report.dry_run:
            self._merge("kept_count", keep(self.report.kept).with_columns(measured_at=pl.lit(self.now)))

    def is_needed(self) -> bool:
        """Whether anything has to be written."""
        return bool(self.concerned or self.report.texts)

    def write(self) -> None:
        """Write the tables without what goes, and name the new versions: then it is gone."""
        for name in self.concerned:
            if name in BY_DELIVERY:
                self._rewrite_buckets(name)
            else:
                self._put(name, _kept(self.rule.marked(name)).collect())
        losing = self._losing()
        if isinstance(self.rule, Old):  # what is left of a delivery is not the whole
            self._merge("purge", self._purged(losing, self.rule.cuts))
        else:
            excluded = self.rule.marked("exclusion").filter(GOES).select("delivery_id").collect()
            changed = pl.concat([losing.select("delivery_id"), excluded]).unique().drop_nulls()
            self._merge(WATERMARK, changed.with_columns(load_id=pl.lit(self.load_id)))
            self._without_named_deliveries()
        self._commit()

    def _without_named_deliveries(self) -> None:
        """Remove what is noted of deliveries whose id is somebody's: nothing else is left of them."""
        now = StoredTables(self.lake, self.versions)
        for name in filter(self.versions.__contains__, (WATERMARK, "kept_count", "purge")):
            rows = now.scan(name).collect()
            remaining = rows.filter(~self.rule.names("delivery_id"))
            if remaining.height < rows.height:
                self._put(name, remaining)

    def _rewrite_buckets(self, name: str) -> None:
        fences = self.before.scan(FENCE).collect()
        for bucket in bucket_of(self.concerned[name]["delivery_id"], fences).unique().sort():
            rows = _kept(self.rule.marked(name, [bucket])).with_columns(pl.lit(bucket, pl.Int32).alias(BUCKET))
            self.lake.replace(name, _marked(rows) if name == "event" else _batches(rows), [bucket])
        self.versions[name] = self.lake.own_version(name)

    def _purged(self, losing: pl.DataFrame, cuts: Mapping[str, datetime]) -> pl.DataFrame:
        """The rows of `purge` for the deliveries that lose rows, added to what they lost before."""
        before = self.before.scan("purge").select("delivery_id", "purged_table", earlier="purged_rows").collect()
        cut = pl.col("purged_table").replace_strict(cuts, default=None, return_dtype=schema.INSTANT)
        both = losing.join(before, on=["delivery_id", "purged_table"], how="left")
        return both.with_columns(
            purged_before=cut,
            purged_at=pl.lit(self.now),
            purged_rows=pl.col("purged_rows") + pl.col("earlier").fill_null(0),
        )

    def _merge(self, name: str, rows: pl.DataFrame) -> None:
        """Put rows in the place of those with their key."""
        columns = OWN[name] if name in OWN else schema.TABLES[name].schema
        key = list(schema.TABLES[name].key) if name in schema.TABLES else ["delivery_id"]
        new = rows.select(pl.col(column).cast(dtype) for column, dtype in columns.items())
        if new.is_empty():
            return
        if name not in OWN:
            new = new.with_columns(pl.lit(0, pl.Int32).alias(FILLED))
        if name in self.before.versions:
            new = pl.concat([self.before.scan(name).collect().join(new, on=key, how="anti"), new])
        self._put(name, new.sort(key))

    def _put(self, name: str, rows: pl.DataFrame) -> None:
        if name not in self.versions:
            self.lake.create(name)
        self.lake.overwrite(name, rows)
        self.versions[name] = self.lake.own_version(name)

    def _commit(self) -> None:
        """Add this removal to the history of loads. The data is still of the last load: its instant stays."""
        report = {"sources": [], "event_types": {}, "ignored_files": {}, "forgotten": self._anonymous()}
        texts = {"versions": json.dumps(self.versions), "report": json.dumps(report), "fingerprints": "{}"}
        changed = {"number": self.last.number + 1, "load_id": self.load_id} | texts
        row = self.loads.tail(1).with_columns(pl.lit(value).alias(name) for name, value in changed.items())
        self.lake.commit_all(pl.concat([self.loads, row.cast(self.loads.schema)]))

    def _anonymous(self) -> dict[str, Any]:
        counts = {name: getattr(self.report, name) for name in ("rows", "altered", "undated", "texts")}
        return {"at": self.now.isoformat(), "deliveries": len(self.report.deliveries), **counts}


def _kept(marked: pl.LazyFrame) -> pl.LazyFrame:
    return marked.filter(~pl.col(GOES)).drop(GOES, ALTERED)


def _marked(rows: pl.LazyFrame) -> Iterator[pl.DataFrame]:
    """The hits of a bucket, marked again: of all at once only what marks hang on is in memory."""
    marks = with_marks(rows.select(MARKED_BY).collect()).select(schema.MARKS)
    for batch in _batches(rows):
        yield batch.with_columns(marks.head(batch.height))
        marks = marks.slice(batch.height)


def _batches(rows: pl.LazyFrame) -> Iterator[pl.DataFrame]:
    return rows.collect_batches(chunk_size=LARGE_ROWS, maintain_order=True, engine="streaming")


def _files(loads: pl.DataFrame) -> pl.DataFrame:
    """The last load of each file: (source_file, loaded_at)."""
    pairs = [
        (source["path"], row["loaded_at"])
        for row in loads.iter_rows(named=True)
        for source in json.loads(row["report"])["sources"]
    ]
    columns = {"source_file": pl.String(), "loaded_at": schema.INSTANT}
    return pl.DataFrame(pairs, schema=columns, orient="row").group_by("source_file").agg(pl.col("loaded_at").max())


def _mapped(value: Any, text: Callable[[str], str]) -> Any:
    """A JSON value with every text in it, names too, as `text` gives it."""
    match value:
        case str():
            return text(value)
        case list():
            return [_mapped(one, text) for one in value]
        case dict():
            return {text(name): _mapped(one, text) for name, one in value.items()}
    return value


class Fence:
    """An entry of the log after which whoever began before cannot commit: what they wrote until then is nobody's.

    With it, files of older versions, and those that no load committed, can be deleted.
    """

    def __init__(self, lake: Lake) -> None:
        lake.begin(uuid.uuid4().hex)
        lake.require_hold()
        last = lake.last_commit()
        assert last is not None
        self.lake = lake
        self._files_before = {name: listed(f"{lake.location}/{name}") for name in (*lake.present(), LOAD)}
        loads = lake.fenced(last.number)
        self._needed = last.versions | {LOAD: loads}
        self._written_at = listed(f"{lake.location}/{LOAD}")[f"_delta_log/{loads:020}.json"]

    def delete_history(self, name: str) -> int:
        """Delete every file of a table from before the fence that the last commit does not need; return how many.

        Older snapshots are gone then. Whatever versions there are beside the committed one, nobody can commit them; and
        what was written after the fence may be in the way to a commit.
        """
        lake, before = self.lake, self._files_before.get(name, {})
        needed = lake.file_names(name, self._needed[name]) if name in self._needed else frozenset()
        left, deleted = sweep(f"{lake.location}/{name}", needed, self._written_at, before, lake.require_hold)
        if lake.folder:
            _delete_bounds(lake.folder / name / "_delta_log", left)
        return deleted


def sweep(
    table: str,
    needed: Collection[str],
    until: datetime,
    listed_before: Collection[str],
    require_hold: Callable[[], None],
) -> tuple[set[str], int]:
    """Delete the files of a table written before an instant, by the clock of the store, but those needed.

    A bucket's clock shows seconds: of files of that very second, those that were `known` before it go.
    Out: the files that are left, and how many went. Whatever raises in `require_hold` stops it.
    """
    files = {path: at for path, at in listed(table).items() if not path.startswith("_delta_log/")}
    obsolete = {path for path, at in files.items() if (at < until or path in listed_before) and path not in needed}
    store = _store(table)
    for path in sorted(obsolete):
        require_hold()
        store.delete_file(path)
    return files.keys() - obsolete, len(obsolete)


def _delete_bounds(log: Path, left: Collection[str]) -> None:
    """Take out of a log the bounds of files that are not left: they are ids. (In a bucket they stay for a while.)"""
    for entry in (path for path in log.glob("*.json") if path.stem.isdigit()):
        lines = entry.read_text("utf-8").splitlines()
        kept = [_without_bounds(line, left) for line in lines]
        if kept != lines:
            beside = entry.with_suffix(".part")
            beside.write_text("\n".join(kept) + "\n", "utf-8")
            beside.replace(entry)


def _without_bounds(line: str, left: Collection[str]) -> str:
    """A line of a log without the bounds of a file that it adds and that is no longer there."""
    action = json.loads(line) if '"stats"' in line else {}
    deleted = [one for one in (action.get("add"), action.get("remove")) if one and one["path"] not in left]
    if not any(one.pop("stats", None) for one in deleted):
        return line
    return json.dumps(action, separators=(",", ":"))


def listed(table: str) -> dict[str, datetime]:
    """Every file in the folder of a table, and when it was written."""
    from pyarrow.fs import FileSelector

    chosen = FileSelector("", allow_not_found=True, recursive=True)
    return {one.path: one.mtime for one in _store(table).get_file_info_selector(chosen) if one.is_file}


def _store(table: str) -> "DeltaStorageHandler":
    from deltalake.fs import DeltaStorageHandler  # brings pyarrow, which only a removal needs

    return DeltaStorageHandler(table)
