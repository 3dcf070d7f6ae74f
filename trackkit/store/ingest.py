"""One load: sources in, one commit out. Whatever stops it before the commit, the store stands as it stood.

Which files a store holds already is known by their bytes, so that loading a growing folder reads only what is new.
Nothing depends on that but time: rows that are read again are copies of those that are there.
"""

import hashlib
import json
import shutil
import tempfile
import uuid
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl

from trackkit import schema
from trackkit.engine.snapshot import Snapshot
from trackkit.errors import DataError
from trackkit.plain import encodable
from trackkit.quality.loads import judge_load, nothing_new
from trackkit.quality.thresholds import thresholds
from trackkit.sources.feeds.feed import all_feeds, maps_behind
from trackkit.sources.feeds.reading import SENT_IS_DELIVERED
from trackkit.sources.feeds.tabular import together
from trackkit.sources.files import Found, find
from trackkit.sources.report import LoadReport, SourceReport
from trackkit.sources.sql import is_database
from trackkit.sources.staging import RawLoad
from trackkit.store.damage import require_whole
from trackkit.store.dedupe import FILE, IS_NEW, Replacement, known_rows
from trackkit.store.implied import recounted
from trackkit.store.lake import Lake, StoredTables, among_others
from trackkit.store.layout import BY_DELIVERY, FENCE, FILLED, LOAD, WATERMARK, as_texts, first_fences
from trackkit.store.locking import alone, staging
from trackkit.store.partition import set_down
from trackkit.store.pseudonyms import Pseudonyms, require_same_key
from trackkit.store.rewrite import Outcome, Progress, Rewrite, key_columns

LOADS_PER_FILE = 20  # the history is packed this often
MARKS = "marks"  # beside the fingerprints of a load: how far it read each table of a database, by the options it had
UNTOLD = "{:,} deliveries have messages sent, opens or clicks, and none delivered: {}"
_DIMENSIONS = [name for name in schema.TABLES if name not in BY_DELIVERY]


def ingest(
    lake: Lake,
    sources: Sequence[str | Path],
    asked: Mapping[str, Any],
    progress: Progress | None,
    overlap: timedelta | None = None,
    pseudonyms: Pseudonyms | None = None,
) -> LoadReport:
    """Load sources into a store in one commit; `asked` are the options of `sources.read`.

    Of a database is read what is newer than the last load, less `overlap`; without one, everything. Out: the report of
    every file; one whose bytes were loaded before, with the same options, is not read again. A source of which nothing
    can be read does not hold up the others: the report says why (`failures`). Raises DataError where there are no
    others, RequestError where the place is no store, another load holds it, others wrote to it at the same time again
    and again, or the thresholds of quality are wrong.
    """
    thresholds()
    with alone(lake), staging(lake) as place:
        require_whole(lake)
        load = Load(lake, place, asked, progress or (lambda done, total, label: None), overlap, pseudonyms)
        reports = _read(load, sources)
        whole = LoadReport.merged(reports)
        whole.quality = nothing_new()
        if load.raws:
            committed = among_others(lake, load.commit)
            whole.event_types, whole.quality = committed.event_types, committed.quality
        return whole


def _read(load: "Load", sources: Sequence[str | Path]) -> list[LoadReport]:
    """Read all sources; report those that are refused, unless all are."""
    reports, refused = [], {}
    for number, source in enumerate(sources):
        try:
            reports += load.read(source, number, len(sources))
        except DataError as error:
            refused[_shown(source)] = error
    if refused and not reports:
        raise next(iter(refused.values()))
    return [*reports, LoadReport(unreadable={source: str(error) for source, error in refused.items()})]


def _shown(source: str | Path) -> str:
    if not is_database(source):
        return str(source)
    from trackkit.sources.sql.connection import Database

    return Database.of(str(source)).shown  # without its password


class Load:
    """What several sources bring, on its way to one commit."""

    def __init__(
        self,
        lake: Lake,
        staging: Path,
        asked: Mapping[str, Any],
        progress: Progress,
        overlap: timedelta | None = None,
        pseudonyms: Pseudonyms | None = None,
    ) -> None:
        self.lake, self.staging, self.asked, self.progress = lake, staging, asked, progress
        self.overlap, self.pseudonyms = overlap, pseudonyms or Pseudonyms()
        require_same_key(self.pseudonyms.mark, lake.marks(), self.pseudonyms.earlier_mark)
        self.earlier = Fingerprints(lake, asked)
        self.load_id = uuid.uuid4().hex
        self.raws: list[RawLoad] = []
        self.prints: dict[str, Any] = {}

    def read(self, source: str | Path, number: int = 0, total: int = 1) -> list[LoadReport]:
        """Read what is new of a source; return its reports: of files known already, and of those read."""
        from trackkit.sources import Since, read

        files = [] if is_database(source) else find(source)
        prints = {one.relative: self.earlier.of(one) for one in files}
        unread = together(files, self.earlier.unread(files, prints), all_feeds())
        already_loaded = [self.earlier.report(prints[one.relative], one.relative) for one in files if one not in unread]
        if files and not unread:
            return already_loaded
        is_named = all(str(one.path) == encodable(str(one.path)) for one in unread)  # in a way that libraries take
        place = source if is_named and not already_loaded else view(self.staging / f"view{number}", unread)
        into = self.staging / f"read{number}"
        since = Since() if self.overlap is None else Since(self.earlier.marks, self.overlap)
        hiding = self.pseudonyms

        def tell(name: str) -> None:
            self.progress(number, total, name)

        raw = hiding.report_hidden(read(place, into, **self.asked, progress=tell, since=since, hiding=hiding))
        self.take(raw, {hiding.name(path): mark for path, mark in prints.items()})
        return [*already_loaded, raw.report]

    def take(self, raw: RawLoad, prints: Mapping[str, str]) -> None:
        """Take up what a source brought; `prints` are the fingerprints of its files, by relative path."""
        first = sum(len(one.report.sources) for one in self.raws)
        for number, source in enumerate(raw.report.sources, first):
            if source.path in prints:
                self.prints.setdefault(prints[source.path], []).append(number)
        self.prints |= {prints[path]: why for path, why in raw.report.ignored_files.items() if path in prints}
        if raw.marks:
            self.prints.setdefault(MARKS, {self.earlier.asked: {}})[self.earlier.asked] |= raw.marks
        self.raws.append(raw)

    def _begin(self) -> None:
        """Start from the last commit."""
        self.lake.begin(self.load_id)
        self.last = self.lake.last_commit()
        self.settings = self.last.settings if self.last else {"timezone": str(self.asked["timezone"])}
        self.before = StoredTables(self.lake, self.lake.recovered(self.last))
        self.versions = dict(self.before.versions)
        self.changed: dict[str, pl.DataFrame] = {}
        self.kept: Counter[int] = Counter()

    def commit(self) -> LoadReport:
        """Settle what was taken up with what the store holds, write it, and name the new versions: then it counts."""
        self._begin()
        report, parts = LoadReport.merged(raw.report for raw in self.raws), _numbered(self.raws)
        for name in _DIMENSIONS:
            if name in parts:
                self._replace(name, parts[name], report.total("read"))
        brought = pl.concat(parts.get("event", [_shaped("event", pl.LazyFrame())]))
        outcome = self._rewrite(parts)
        self._recount(outcome)
        self._account(report, outcome)
        report.quality = self._quality(report, self._mark(outcome), brought)
        self._finish(report)
        return report

    def _replace(self, name: str, parts: list[pl.LazyFrame], most: int) -> None:
        """Put new rows of a table, at most so many, in the place of older ones."""
        stored = self.before.scan(name)
        self._created(name)
        work, folder = Replacement(schema.TABLES[name], key_columns(name)), self.staging / uuid.uuid4().hex
        portions = work.portions(stored, parts, most, folder)
        rows = [set_down(portion, place) for portion, place in portions]
        if work.is_other:
            self.lake.overwrite(name, (portion.collect() for portion in rows))
            self.versions[name] = self.lake.tidied(name)
        shutil.rmtree(folder, ignore_errors=True)  # it is there if there were several portions
        self.changed[name] = pl.concat(work.changed)
        self.kept.update(work.kept)

    def _created(self, name: str) -> None:
        if name not in self.versions:
            self.versions[name] = self.lake.create(name)

    def _rewrite(self, parts: Mapping[str, list[pl.LazyFrame]]) -> Outcome:
        new = {name: parts[name] for name in ("event", "message") if name in parts}
        for name in (*new, *(["collapsed"] if "event" in new else [])):
            self._created(name)
        own = {IS_NEW: pl.lit(True), FILLED: pl.lit(0, pl.Int32)}
        events = new.get("event", [_shaped("event", pl.LazyFrame())])
        new["event"] = [rows.with_columns(**own) for rows in events]
        fences = self.before.scan(FENCE).collect() if FENCE in self.versions else first_fences()
        folder = Path(tempfile.mkdtemp(dir=self.staging))
        work = Rewrite(self.before, StoredTables(self.lake, self.versions), new, folder, self._silent_senders())
        outcome = work.run(self.changed, fences, self.progress)
        if not outcome.fences.equals(fences) or FENCE not in self.versions:
            self._put(FENCE, outcome.fences)
        for name in BY_DELIVERY:
            if name in self.versions:
                self.versions[name] = self.lake.tidied(name)
        return outcome

    def _silent_senders(self) -> dict[str, bool]:
        """The formats of feeds, of this load and earlier ones, and whether a map says that deliveries may be untold."""
        may_be_untold = {name: bool(one.delivered) for name, one in all_feeds().items()}
        sources = [*self._sources_before(), *(one.to_dict() for raw in self.raws for one in raw.report.sources)]
        senders = {one["format"]: may_be_untold[one["format"]] for one in sources if one["format"] in may_be_untold}
        return senders | {one["format"]: True for one in sources if one.get("sent_is_delivered", False)}

    def _sources_before(self) -> list[dict[str, Any]]:
        return [one for row in self.earlier.loads.values() for one in json.loads(row["report"])["sources"]]

    def _put(self, name: str, rows: pl.DataFrame) -> None:
        self._created(name)
        self.lake.overwrite(name, rows)
        self.versions[name] = self.lake.tidied(name)

    def _recount(self, outcome: Outcome) -> None:
        """Note with each delivery what its implied messages say of it."""
        now = StoredTables(self.lake, self.versions)
        removed = now.scan("purge").select("delivery_id").collect().to_series()
        touched = pl.concat([pl.Series("delivery_id", [], pl.String), *outcome.changed]).unique().drop_nulls()
        touched = touched.filter(~touched.is_in(removed.implode())).sort()
        if touched.is_empty() or not now.has("message"):
            return
        before = known_rows(schema.DELIVERY, now.scan("delivery").collect())
        rows = recounted(before, now.scan("message"), touched)
        if not rows.sort("delivery_id").equals(before.sort("delivery_id")):
            self._put("delivery", rows)
        if rows.is_empty() and "delivery" not in self.changed:
            self.versions.pop("delivery", None)  # only messages ever mentioned one

    def _account(self, report: LoadReport, outcome: Outcome) -> None:
        """Say what became of every line: kept, collapsed, or a copy of what was there."""
        self.kept.update(outcome.kept["event"])
        self.kept.update(outcome.kept["message"])
        for number, source in enumerate(report.sources):
            source.kept, source.collapsed = self.kept[number], outcome.kept["collapsed"][number]
            source.duplicate = source.accepted - source.kept - source.collapsed
        for name, count in outcome.untold.items():
            note = UNTOLD.format(count, SENT_IS_DELIVERED)
            for source in [one for one in report.sources if one.format == name][:1]:
                source.assumptions += [] if note in source.assumptions else [note]  # a load may begin again
        report.event_types = dict(sorted(outcome.event_types.items()))

    def _mark(self, outcome: Outcome) -> pl.Series:
        """Note this load with every delivery of which anything changed, and return them."""
        parts = [rows["delivery_id"] for rows in self.changed.values() if "delivery_id" in rows.columns]
        ids = pl.concat([pl.Series("delivery_id", [], dtype=pl.String), *outcome.changed, *parts]).unique().drop_nulls()
        marked = pl.DataFrame({"delivery_id": ids}).with_columns(load_id=pl.lit(self.load_id))
        if WATERMARK in self.versions:
            before = self.before.scan(WATERMARK).collect()
            marked = pl.concat([before.join(marked, on="delivery_id", how="anti"), marked])
        if ids.len() or WATERMARK not in self.versions:
            self._put(WATERMARK, marked.sort("delivery_id"))
        return ids

    def _quality(self, report: LoadReport, touched: pl.Series, brought: pl.LazyFrame) -> dict[str, Any]:
        """Judge what the load brought, on the tables as it leaves them."""
        frames = {
            name: self.lake.scan(name, version).select(*schema.TABLES[name].schema)
            for name, version in self.versions.items()
            if name in schema.TABLES
        }
        sources = report.to_dict()["sources"]
        tables = Snapshot(frames, datetime.now(UTC))
        return judge_load(tables, sources, self._sources_before(), touched.to_list(), brought)

    def _finish(self, report: LoadReport) -> None:
        number = self.last.number + 1 if self.last else 1
        texts = {
            "versions": self.versions,
            "report": report.to_dict(),
            "fingerprints": self.prints,
            "settings": self.settings,
        }
        row = {"number": number, "load_id": self.load_id, "loaded_at": datetime.now(UTC), "mark": self.pseudonyms.mark}
        row |= {"timezone": str(self.asked["timezone"])} | {name: json.dumps(text) for name, text in texts.items()}
        if number % LOADS_PER_FILE == 0 and self.last:
            self.lake.compact(LOAD)
        self.lake.commit(row)


def _numbered(raws: Sequence[RawLoad]) -> dict[str, list[pl.LazyFrame]]:
    """The rows of all sources in parts, each row with the number of the file that is about its table."""
    parts: dict[str, list[pl.LazyFrame]] = {}
    first = 0
    for raw in raws:
        for name, frames in ({"quarantine": [raw.quarantine.lazy()]} | raw.parts).items():
            own = {s.path: n for n, s in enumerate(raw.report.sources, first) if s.table == name}
            place = pl.col("source_file").replace_strict(own, default=None, return_dtype=pl.Int32)
            parts.setdefault(name, []).extend(_shaped(name, frame, place) for frame in frames)
        first += len(raw.report.sources)
    return parts


def _shaped(name: str, frame: pl.LazyFrame, number: pl.Expr | None = None) -> pl.LazyFrame:
    """A frame with exactly the sourced columns of its table, as the store keeps them, and the number of the file."""
    has = frame.collect_schema()
    sourced = schema.TABLES[name].sourced
    columns = [
        (pl.col(column) if column in has else pl.lit(None)).cast(sourced[column]).cast(dtype).alias(column)
        for column, dtype in as_texts(sourced).items()
    ]
    number = pl.lit(None, pl.Int32) if number is None or "source_file" not in has else number
    shaped = frame.select(*columns, number.alias(FILE))
    return shaped if has else shaped.limit(0)


class Fingerprints:
    """What was loaded before with the same options: files, by their bytes and their place in the source.

    `marks` says how far each table of a database was read.
    """

    def __init__(self, lake: Lake, asked: Mapping[str, Any]) -> None:
        maps = [place.read_text("utf-8", "replace") for place in maps_behind(str(asked["format"]))]
        # Left out where nothing is asked: stores from before there was the option know their files by the others.
        options = {name: asked[name] for name in sorted(asked) if name != "dates" or asked[name]}
        self.asked = json.dumps([options, *maps])
        self.loads: dict[str, dict[str, Any]] = {}
        self.seen: dict[str, tuple[str, Any]] = {}
        self.marks: dict[str, str] = {}
        loads = lake.loads("load_id", "loaded_at", "report", "fingerprints")
        for row in loads.iter_rows(named=True):
            self.loads[row["load_id"]] = row
            prints = json.loads(row["fingerprints"])
            self.marks |= prints.pop(MARKS, {}).get(self.asked, {})
            self.seen |= {mark: (row["load_id"], what) for mark, what in prints.items()}

    def of(self, file: Found) -> str:
        """Return the fingerprint of a file."""
        with file.path.open("rb") as content:
            digest = hashlib.file_digest(content, "blake2b")
        digest.update(f"\0{file.relative}\0{self.asked}".encode(errors="surrogateescape"))
        return digest.hexdigest()[:40]

    def unread(self, files: list[Found], prints: Mapping[str, str]) -> list[Found]:
        """Return the files to be read."""
        return [one for one in files if prints[one.relative] not in self.seen]

    def report(self, mark: str, path: str) -> LoadReport:
        """Return the report of a file that was loaded before: every line is a copy of one that is there."""
        load_id, what = self.seen[mark]
        if isinstance(what, str):
            return LoadReport(ignored_files={path: what})
        load = self.loads[load_id]
        when = f"{load['loaded_at']:%Y-%m-%d %H:%M} UTC"
        note = f"the same file was loaded on {when} (load {load_id}); it was not read again"
        written = LoadReport.from_dict(json.loads(load["report"]))
        return LoadReport([_as_duplicate(written.sources[number], note) for number in what])


def _as_duplicate(source: SourceReport, note: str) -> SourceReport:
    same = ("path", "format", "table", "read", "quarantined", "not_events", "unreadable", "cut")
    copied: dict[str, Any] = {name: getattr(source, name) for name in same}
    return SourceReport(**copied, duplicate=source.accepted, assumptions=[note])


def view(folder: Path, files: list[Found]) -> Path:
    """Make a folder that shows only some files of a source, each at its place."""
    for one in files:
        link = folder / one.relative
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(one.path.resolve())
    return folder
