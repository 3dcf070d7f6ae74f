"""Removal of old rows, or of one person's, in one commit; then the history that still holds them is deleted.

Whatever stops a removal before its commit, the store is unchanged; after it, repeating the removal finishes it. Older
snapshots become unreadable, and their readers must open the store again.
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

FINISHED = 85  # this and higher states are final: ended early, failed, finished, deleted
Keep = Callable[[list[str]], pl.DataFrame]
Rule = Callable[[StoredTables, pl.DataFrame], Old | Person]
_OTHERS = [name for name in schema.TABLES if name not in (*BY_DELIVERY, "purge", "kept_count")]


@dataclass
class ForgetReport:
    """What was removed, or would be in a dry run.

    `rows` by table; `deliveries` that lost messages or hits; those whose counts were `kept` first; `altered` rows that
    stay with values removed; `undated` rows that stay, their age being unknown; blanked `texts` of load reports;
    `files` deleted with the history; `pages` of rendered reports deleted; the `person`, for data outside the store.

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
        """Return the report as `trackkit forget --json` prints it; it never names the person."""
        return {item.name: getattr(self, item.name) for item in fields(self) if item.name != "person"}

    def __str__(self) -> str:
        removed = ", ".join(f"{count:,} rows of {name}" for name, count in self.rows.items()) or "nothing"
        where = f", in {_deliveries(self.deliveries)}" if self.deliveries else ""
        lines = [f"{'Would be removed' if self.dry_run else 'Removed'}: {removed}{where}."]
        lines += [f"Counts kept: {_deliveries(self.kept)}."] if self.kept else []
        lines += [f"Undated rows that stay, their age being unknown: {self.undated:,}."] if self.undated else []
        lines += [f"Texts of load reports blanked: {self.texts:,}."] if self.texts else []
        if not self.dry_run:
            lines.append(f"History: {self.files:,} files of older versions deleted.")
        lines += [f"Reports deleted: {', '.join(self.pages)}."] if self.pages else []
        return "\n".join(one_line(line) for line in [*lines, *self.notes])


def _deliveries(ids: list[str]) -> str:
    return f"{len(ids):,} {'delivery' if len(ids) == 1 else 'deliveries'}"


def forget(lake: Lake, rule: Rule, keep: Keep | None, dry_run: bool) -> ForgetReport:
    """Remove what a rule marks from a store, and its history; a dry run only counts.

    `keep(deliveries)` measures (delivery_id, metric, value) first. In: a store with a commit. Raises RequestError if a
    load keeps holding the store.
    """
    with alone(lake):
        require_whole(lake)
        report = among_others(lake, lambda: _removed(lake, rule, keep, dry_run))
        if not dry_run:
            discard_staging(lake)
            report.files = among_others(lake, lambda: _history_deleted(lake))
    return report


def _removed(lake: Lake, rule: Rule, keep: Keep | None, dry_run: bool) -> ForgetReport:
    """Count, and unless this is a dry run, commit the removal if there is anything to remove."""
    load_id = uuid.uuid4().hex
    lake.begin(load_id)
    last = lake.last_commit()
    assert last is not None
    work = Removal(lake, last, dict(last.versions) if dry_run else lake.recovered(last), rule, load_id)
    work.count()
    work.report.dry_run = dry_run
    if keep:
        work.keep(keep)
    if not dry_run and (work.affected or work.report.texts):
        work.write()
    return work.report


def _history_deleted(lake: Lake) -> int:
    """Delete the files of older versions and uncommitted ones; return how many."""
    fence = Fence(lake)
    return sum(fence.delete_history(name) for name in (*lake.present(), LOAD))


class Removal:
    """One removal, up to its commit."""

    def __init__(self, lake: Lake, last: Commit, versions: dict[str, int], rule: Rule, load_id: str) -> None:
        self.lake, self.last, self.versions = lake, last, versions
        loads = lake.loads(*OWN[LOAD])
        self.before = StoredTables(lake, dict(versions))
        self.rule = rule(self.before, _files(loads))
        self.report = ForgetReport(person=self.rule if isinstance(self.rule, Person) else None)
        self.affected: dict[str, pl.DataFrame] = {}
        self.loads = self._blanked(loads)
        self.load_id, self.now = load_id, datetime.now(UTC)

    def count(self) -> None:
        """Count what goes: by delivery in the tables in buckets, in total in others."""
        for name in filter(self.before.versions.__contains__, (*BY_DELIVERY, *_OTHERS)):
            seeds = pl.col("is_seed").fill_null(False) if name == "event" else pl.lit(False)
            sums = [pl.col(GOES).sum(), pl.col(ALTERED).sum(), (pl.col(GOES) & ~seeds).sum().alias("counted")]
            marked = self.rule.marked(name)
            counts = marked.group_by("delivery_id").agg(sums) if name in BY_DELIVERY else marked.select(sums)
            rows = counts.filter((pl.col(GOES) > 0) | (pl.col(ALTERED) > 0)).collect()
            if rows.height:
                self.affected[name] = rows
            if removed := int(rows[GOES].sum()):
                self.report.rows[name] = removed
            self.report.altered += int(rows[ALTERED].sum())
        self.report.deliveries = sorted(set(self._losing()["delivery_id"]))
        self.report.undated = self.rule.undated()

    def _blanked(self, loads: pl.DataFrame) -> pl.DataFrame:
        """The history of loads with the person blanked in its texts."""
        blanked = loads.with_columns(
            pl.Series(
                name, [json.dumps(_mapped(json.loads(text), self.rule.load_text)) for text in loads[name]], pl.String
            )
            for name in ("report", "fingerprints")
        )
        self.report.texts = int((blanked["report"] != loads["report"]).sum())
        return blanked

    def _losing(self) -> pl.DataFrame:
        """The deliveries that lose counted rows, by table: (delivery_id, purged_table, purged_rows)."""
        shape = {"delivery_id": pl.String, "purged_table": pl.String, "purged_rows": pl.Int64}
        parts = [
            self.affected[name]
            .filter(pl.col("counted") > 0, pl.col("delivery_id").is_not_null())
            .select("delivery_id", purged_table=pl.lit(name), purged_rows=pl.col("counted").cast(pl.Int64))
            for name in ("event", "message")
            if name in self.affected
        ]
        return pl.concat([pl.DataFrame(schema=shape), *parts])

    def keep(self, keep: Keep) -> None:
        """Measure the finished deliveries that lose rows, before they do."""
        states = self.before.scan("delivery").select("delivery_id", "state").collect()
        running = states.filter(pl.col("state") < FINISHED)["delivery_id"]
        self.report.kept = [name for name in self.report.deliveries if name not in set(running)]
        if unfinished := len(self.report.deliveries) - len(self.report.kept):
            self.report.notes.append(f"Counts not kept, the delivery not being finished: {unfinished:,}.")
        if self.report.kept and not self.report.dry_run:
            self._merge("kept_count", keep(self.report.kept).with_columns(measured_at=pl.lit(self.now)))

    def write(self) -> None:
        """Write the tables without what goes, and commit the new versions."""
        for name in self.affected:
            if name in BY_DELIVERY:
                self._rewrite_buckets(name)
            else:
                self._put(name, _kept(self.rule.marked(name)).collect())
        losing = self._losing()
        if isinstance(self.rule, Old):  # the remaining rows of a delivery are not all it had
            self._merge("purge", self._purged(losing, self.rule.cutoffs))
        else:
            excluded = self.rule.marked("exclusion").filter(GOES).select("delivery_id").collect()
            changed = pl.concat([losing.select("delivery_id"), excluded]).unique().drop_nulls()
            self._merge(WATERMARK, changed.with_columns(load_id=pl.lit(self.load_id)))
            self._without_named_deliveries()
        self._commit()

    def _without_named_deliveries(self) -> None:
        """Remove the store's own rows of deliveries whose id holds the address."""
        now = StoredTables(self.lake, self.versions)
        for name in filter(self.versions.__contains__, (WATERMARK, "kept_count", "purge")):
            rows = now.scan(name).collect()
            remaining = rows.filter(~self.rule.names("delivery_id"))
            if remaining.height < rows.height:
                self._put(name, remaining)

    def _rewrite_buckets(self, name: str) -> None:
        fences = self.before.scan(FENCE).collect()
        for bucket in bucket_of(self.affected[name]["delivery_id"], fences).unique().sort():
            rows = _kept(self.rule.marked(name, [bucket])).with_columns(pl.lit(bucket, pl.Int32).alias(BUCKET))
            self.lake.replace(name, _marked(rows) if name == "event" else _batches(rows), [bucket])
        self.versions[name] = self.lake.own_version(name)

    def _purged(self, losing: pl.DataFrame, cuts: Mapping[str, datetime]) -> pl.DataFrame:
        """The rows of `purge` for the deliveries that lose rows, earlier losses included."""
        before = self.before.scan("purge").select("delivery_id", "purged_table", earlier="purged_rows").collect()
        cut = pl.col("purged_table").replace_strict(cuts, default=None, return_dtype=schema.INSTANT)
        both = losing.join(before, on=["delivery_id", "purged_table"], how="left")
        return both.with_columns(
            purged_before=cut,
            purged_at=pl.lit(self.now),
            purged_rows=pl.col("purged_rows") + pl.col("earlier").fill_null(0),
        )

    def _merge(self, name: str, rows: pl.DataFrame) -> None:
        """Replace the rows with the same keys."""
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
        """Add this removal to the history of loads; `loaded_at` stays that of the last load."""
        counts = {name: getattr(self.report, name) for name in ("rows", "altered", "undated", "texts")}
        forgotten = {"at": self.now.isoformat(), "deliveries": len(self.report.deliveries), **counts}
        report = {"sources": [], "event_types": {}, "ignored_files": {}, "forgotten": forgotten}
        texts = {"versions": json.dumps(self.versions), "report": json.dumps(report), "fingerprints": "{}"}
        changed = {"number": self.last.number + 1, "load_id": self.load_id} | texts
        row = self.loads.tail(1).with_columns(pl.lit(value).alias(name) for name, value in changed.items())
        self.lake.commit_all(pl.concat([self.loads, row.cast(self.loads.schema)]))


def _kept(marked: pl.LazyFrame) -> pl.LazyFrame:
    return marked.filter(~pl.col(GOES)).drop(GOES, ALTERED)


def _marked(rows: pl.LazyFrame) -> Iterator[pl.DataFrame]:
    """The hits of a bucket, marked again; only the columns that marks depend on are in memory at once."""
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
    """A JSON value with `text` applied to every text in it, keys too."""
    match value:
        case str():
            return text(value)
        case list():
            return [_mapped(item, text) for item in value]
        case dict():
            return {text(name): _mapped(item, text) for name, item in value.items()}
    return value


class Fence:
    """A log entry that makes the commits of loads begun earlier fail, so that unneeded files can be deleted safely."""

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
        """Delete the files of a table from before the fence that the last commit does not need; return how many."""
        lake, before = self.lake, self._files_before.get(name, {})
        needed = lake.file_names(name, self._needed[name]) if name in self._needed else frozenset()
        remaining, deleted = sweep(f"{lake.location}/{name}", needed, self._written_at, before, lake.require_hold)
        if lake.folder:
            _delete_bounds(lake.folder / name / "_delta_log", remaining)
        return deleted


def sweep(
    table: str,
    needed: Collection[str],
    until: datetime,
    listed_before: Collection[str],
    require_hold: Callable[[], None],
) -> tuple[set[str], int]:
    """Delete the files of a table written before an instant, except those needed; return the rest, and how many went.

    A bucket's clock has whole seconds: of files from that very second, those `listed_before` go. `require_hold` may
    raise to stop.
    """
    files = {path: at for path, at in listed(table).items() if not path.startswith("_delta_log/")}
    obsolete = {path for path, at in files.items() if (at < until or path in listed_before) and path not in needed}
    store = _store(table)
    for path in sorted(obsolete):
        require_hold()
        store.delete_file(path)
    return files.keys() - obsolete, len(obsolete)


def _delete_bounds(log: Path, remaining: Collection[str]) -> None:
    """Delete the bounds of deleted files, which are ids, from a log. (In a bucket they stay for a while.)"""
    for entry in (path for path in log.glob("*.json") if path.stem.isdigit()):
        lines = entry.read_text("utf-8").splitlines()
        new_lines = [_without_bounds(line, remaining) for line in lines]
        if new_lines != lines:
            temporary = entry.with_suffix(".part")
            temporary.write_text("\n".join(new_lines) + "\n", "utf-8")
            temporary.replace(entry)


def _without_bounds(line: str, remaining: Collection[str]) -> str:
    """A line of a log without the bounds of a deleted file."""
    action = json.loads(line) if '"stats"' in line else {}
    deleted = [file for file in (action.get("add"), action.get("remove")) if file and file["path"] not in remaining]
    if not any(file.pop("stats", None) for file in deleted):
        return line
    return json.dumps(action, separators=(",", ":"))


def listed(table: str) -> dict[str, datetime]:
    """Every file in the folder of a table, and when it was written."""
    from pyarrow.fs import FileSelector

    selector = FileSelector("", allow_not_found=True, recursive=True)
    return {info.path: info.mtime for info in _store(table).get_file_info_selector(selector) if info.is_file}


def _store(table: str) -> "DeltaStorageHandler":
    from deltalake.fs import DeltaStorageHandler  # imports pyarrow, which only a removal needs

    return DeltaStorageHandler(table)
