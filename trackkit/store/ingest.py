"""One load: sources in, one commit out. Whatever stops it before the commit, the store is unchanged.

Files loaded before are recognised by their bytes, so that loading a growing folder reads only what is new. This only
saves time: rows that are read again are merged as copies.
"""

import hashlib
import json
import shutil
import tempfile
import uuid
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl

from trackkit import rules, schema
from trackkit.engine.deliveries import is_hit
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
from trackkit.store.layout import BY_DELIVERY, FENCE, FILLED, LAYOUT, LOAD, WATERMARK, as_texts, first_fences
from trackkit.store.locking import alone, staging
from trackkit.store.partition import spilled
from trackkit.store.pseudonyms import Pseudonyms, require_same_key
from trackkit.store.rewrite import Outcome, Progress, Rewrite, key_columns

LOADS_PER_FILE = 20  # the history is packed this often
MARKS = "marks"  # key in a load's fingerprints: how far each table of a database was read, by the load's options
UNREPORTED = "{:,} deliveries have messages sent, opens or clicks, and none delivered: {}"
_DIMENSIONS = [name for name in schema.TABLES if name not in BY_DELIVERY]


def ingest(
    lake: Lake,
    sources: Sequence[str | Path],
    options: Mapping[str, Any],
    progress: Progress | None,
    overlap: timedelta | None = None,
    pseudonyms: Pseudonyms | None = None,
) -> LoadReport:
    """Load sources into a store in one commit; `options` are those of `sources.read`. Returns the report of every file.

    A file whose bytes were loaded before with the same options is not read again; of a database, only rows newer than
    the last load less `overlap` are read (None: all). An unreadable source does not stop the others (`failures`).
    Raises DataError if all are refused; RequestError if the location is no store, another load holds it, concurrent
    loads keep winning, or the quality thresholds are invalid.
    """
    thresholds()
    with alone(lake), staging(lake) as folder:
        require_whole(lake)
        load = Load(
            lake, folder, options, progress or (lambda done, total, label: None), overlap, pseudonyms or Pseudonyms()
        )
        reports = _read(load, sources)
        report = LoadReport.merged(reports)
        report.quality = nothing_new()
        if load.raws:
            committed = among_others(lake, load.commit)
            report.event_types, report.quality = committed.event_types, committed.quality
            report.rules = committed.rules
        return report


def mark(lake: Lake, timezone: str, progress: Progress | None) -> int:
    """Mark in one commit who was behind the hits loaded before that was marked; return their deliveries' number.

    Raises RequestError if there is no store, or if another load holds it.
    """
    with alone(lake), staging(lake) as folder:
        require_whole(lake)
        options, mute = {"timezone": timezone, "format": "auto"}, lambda done, total, label: None
        unchanged = Unchanged(lake.loads("mark", newest=True)["mark"].to_list()[0] or "")
        load = Load(lake, folder, options, progress or mute, pseudonyms=unchanged)
        return among_others(lake, load.mark)


class Unchanged(Pseudonyms):
    """Hides nothing new: the store keeps its pseudonyms, and the mark of their key."""

    def __init__(self, mark: str) -> None:
        super().__init__()
        self._mark = mark

    @property
    def mark(self) -> str:
        """The mark of the store's key."""
        return self._mark


def _read(load: "Load", sources: Sequence[str | Path]) -> list[LoadReport]:
    """Read all sources; report those that are refused, unless all are."""
    reports, errors = [], {}
    for number, source in enumerate(sources):
        try:
            reports += load.read(source, number, len(sources))
        except DataError as error:
            errors[_shown(source)] = error
    if errors and not reports:
        raise next(iter(errors.values()))
    return [*reports, LoadReport(unreadable={source: str(error) for source, error in errors.items()})]


def _shown(source: str | Path) -> str:
    if not is_database(source):
        return str(source)
    from trackkit.sources.sql.connection import Database

    return Database.of(str(source)).shown  # without its password


@dataclass
class Load:
    """The rows of several sources, read and committed together."""

    lake: Lake
    staging: Path
    options: Mapping[str, Any]
    progress: Progress
    overlap: timedelta | None = None
    pseudonyms: Pseudonyms = field(default_factory=Pseudonyms)
    raws: list[RawLoad] = field(default_factory=list)
    prints: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        require_same_key(self.pseudonyms.mark, self.lake.loads("mark")["mark"], self.pseudonyms.earlier_mark)
        self.earlier = Fingerprints(self.lake, self.options)
        self.load_id = uuid.uuid4().hex

    def read(self, source: str | Path, number: int = 0, total: int = 1) -> list[LoadReport]:
        """Read what is new in a source; return reports of the files loaded before and of those read now."""
        from trackkit.sources import Since, read

        files = [] if is_database(source) else find(source)
        prints = {file.relative: self.earlier.of(file) for file in files}
        new_files = [file for file in files if prints[file.relative] not in self.earlier.seen]
        unread = together(files, new_files, all_feeds())
        already_loaded = [
            self.earlier.report(prints[file.relative], file.relative) for file in files if file not in unread
        ]
        if files and not unread:
            return already_loaded
        is_encodable = all(str(file.path) == encodable(str(file.path)) for file in unread)  # libraries take no others
        place = source if is_encodable and not already_loaded else view(self.staging / f"view{number}", unread)
        into = self.staging / f"read{number}"
        since = Since() if self.overlap is None else Since(self.earlier.marks, self.overlap)
        hiding = self.pseudonyms

        def progress(name: str) -> None:
            self.progress(number, total, name)

        raw = hiding.report_hidden(read(place, into, **self.options, progress=progress, since=since, hiding=hiding))
        self.take(raw, {hiding.name(path): mark for path, mark in prints.items()})
        return [*already_loaded, raw.report]

    def take(self, raw: RawLoad, prints: Mapping[str, str]) -> None:
        """Add the rows of a source; `prints` are the fingerprints of its files, by relative path."""
        first = sum(len(earlier.report.sources) for earlier in self.raws)
        for number, source in enumerate(raw.report.sources, first):
            if source.path in prints:
                self.prints.setdefault(prints[source.path], []).append(number)
        self.prints |= {prints[path]: reason for path, reason in raw.report.ignored_files.items() if path in prints}
        if raw.marks:
            self.prints.setdefault(MARKS, {self.earlier.options: {}})[self.earlier.options] |= raw.marks
        self.raws.append(raw)

    def _begin(self) -> None:
        """Start from the last commit."""
        self.lake.begin(self.load_id)
        self.last = self.lake.last_commit()
        kept = self.last.settings if self.last else {"timezone": str(self.options["timezone"])}
        self.settings = kept | {"layout": str(LAYOUT)}
        self.before = StoredTables(self.lake, self.lake.recovered(self.last))
        self.versions = dict(self.before.versions)
        self.changed: dict[str, pl.DataFrame] = {}
        self.kept: Counter[int] = Counter()

    def commit(self) -> LoadReport:
        """Settle the new rows with the stored ones, write them, and commit the new versions."""
        self._begin()
        report, parts = LoadReport.merged(raw.report for raw in self.raws), _numbered(self.raws)
        for name in _DIMENSIONS:
            if name in parts:
                self._replace(name, parts[name], report.total("read"))
        new_events = pl.concat(parts.get("event", [_shaped("event", pl.LazyFrame())]))
        outcome = self._rewrite(parts)
        self._recount(outcome)
        self._account(report, outcome)
        report.quality, report.rules = self._quality(report, self._mark(outcome), new_events), rules.version()
        self._finish(report)
        return report

    def mark(self) -> int:
        """Settle the deliveries with unmarked hits again, and commit; return how many they are."""
        self._begin()
        unmarked = self.before.scan("event").filter(pl.col("activity").is_null(), is_hit())
        again = unmarked.select("delivery_id").unique().collect()
        if again.height:
            self._mark(self._rewrite({}, again))
            report = LoadReport(rules=rules.version())
            report.quality = nothing_new()
            self._finish(report)
        return again["delivery_id"].drop_nulls().len()

    def _replace(self, name: str, parts: list[pl.LazyFrame], most: int) -> None:
        """Replace older rows of a table by new ones, of which there are at most `most`."""
        stored = self.before.scan(name)
        self._created(name)
        work, folder = Replacement(schema.TABLES[name], key_columns(name)), self.staging / uuid.uuid4().hex
        portions = work.portions(stored, parts, most, folder)
        rows = [spilled(portion, file) for portion, file in portions]
        if work.is_changed:
            self.lake.overwrite(name, (portion.collect() for portion in rows))
            self.versions[name] = self.lake.tidied(name)
        shutil.rmtree(folder, ignore_errors=True)  # made only for several portions
        self.changed[name] = pl.concat(work.changed)
        if not schema.TABLES[name].beside:  # its rows are no lines of their own
            self.kept.update(work.kept)

    def _created(self, name: str) -> None:
        if name not in self.versions:
            self.versions[name] = self.lake.create(name)

    def _rewrite(self, parts: Mapping[str, list[pl.LazyFrame]], again: pl.DataFrame | None = None) -> Outcome:
        new = {name: parts[name] for name in ("event", "message") if name in parts}
        for name in (*new, *(["collapsed"] if "event" in new else [])):
            self._created(name)
        defaults = {IS_NEW: pl.lit(True), FILLED: pl.lit(0, pl.Int32)}
        events = new.get("event", [_shaped("event", pl.LazyFrame())])
        new["event"] = [rows.with_columns(**defaults) for rows in events]
        fences = self.before.scan(FENCE).collect() if FENCE in self.versions else first_fences()
        folder = Path(tempfile.mkdtemp(dir=self.staging))
        now = StoredTables(self.lake, self.versions)
        work = Rewrite(self.before, now, new, folder, self._silent_senders(), again)
        outcome = work.run(self.changed, fences, self.progress)
        if not outcome.fences.equals(fences) or FENCE not in self.versions:
            self._put(FENCE, outcome.fences)
        for name in BY_DELIVERY:
            if name in self.versions:
                self.versions[name] = self.lake.tidied(name)
        return outcome

    def _silent_senders(self) -> dict[str, bool]:
        """Formats of feeds in all loads, and whether their maps declare that deliveries may go unreported."""
        may_be_silent = {name: bool(feed.delivered) for name, feed in all_feeds().items()}
        sources = [*self._sources_before(), *(file.to_dict() for raw in self.raws for file in raw.report.sources)]
        formats = {source["format"] for source in sources}
        senders = {name: is_silent for name, is_silent in may_be_silent.items() if name in formats}
        return senders | {source["format"]: True for source in sources if source.get("sent_is_delivered", False)}

    def _sources_before(self) -> list[dict[str, Any]]:
        return [source for load in self.earlier.loads.values() for source in json.loads(load["report"])["sources"]]

    def _put(self, name: str, rows: pl.DataFrame) -> None:
        self._created(name)
        self.lake.overwrite(name, rows)
        self.versions[name] = self.lake.tidied(name)

    def _recount(self, outcome: Outcome) -> None:
        """Count the implied messages of each delivery."""
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
            self.versions.pop("delivery", None)  # no delivery was ever mentioned but by messages

    def _account(self, report: LoadReport, outcome: Outcome) -> None:
        """Count per file the lines that were kept, collapsed, or duplicates."""
        self.kept.update(outcome.kept["event"])
        self.kept.update(outcome.kept["message"])
        for number, source in enumerate(report.sources):
            source.kept, source.collapsed = self.kept[number], outcome.kept["collapsed"][number]
            source.duplicate = source.accepted - source.kept - source.collapsed
        for name, count in outcome.unreported.items():
            note = UNREPORTED.format(count, SENT_IS_DELIVERED)
            for source in [source for source in report.sources if source.format == name][:1]:
                source.assumptions += [] if note in source.assumptions else [note]  # a commit may be retried
        report.event_types = dict(sorted(outcome.event_types.items()))

    def _mark(self, outcome: Outcome) -> pl.Series:
        """Set the watermark of every delivery that changed, and return these."""
        parts = [rows["delivery_id"] for rows in self.changed.values() if "delivery_id" in rows.columns]
        ids = pl.concat([pl.Series("delivery_id", [], dtype=pl.String), *outcome.changed, *parts]).unique().drop_nulls()
        marked = pl.DataFrame({"delivery_id": ids}).with_columns(load_id=pl.lit(self.load_id))
        if WATERMARK in self.versions:
            before = self.before.scan(WATERMARK).collect()
            marked = pl.concat([before.join(marked, on="delivery_id", how="anti"), marked])
        if ids.len() or WATERMARK not in self.versions:
            self._put(WATERMARK, marked.sort("delivery_id"))
        return ids

    def _quality(self, report: LoadReport, touched: pl.Series, new_events: pl.LazyFrame) -> dict[str, Any]:
        """Judge the quality of the new rows, on the tables after the load."""
        frames = {
            name: self.lake.scan(name, version).select(*schema.TABLES[name].schema)
            for name, version in self.versions.items()
            if name in schema.TABLES
        }
        sources = report.to_dict()["sources"]
        tables = Snapshot(frames, datetime.now(UTC))
        return judge_load(tables, sources, self._sources_before(), touched.to_list(), new_events)

    def _finish(self, report: LoadReport) -> None:
        number = self.last.number + 1 if self.last else 1
        texts = {
            "versions": self.versions,
            "report": report.to_dict(),
            "fingerprints": self.prints,
            "settings": self.settings,
        }
        row = {"number": number, "load_id": self.load_id, "loaded_at": datetime.now(UTC), "mark": self.pseudonyms.mark}
        row |= {"timezone": str(self.options["timezone"])} | {name: json.dumps(text) for name, text in texts.items()}
        if number % LOADS_PER_FILE == 0 and self.last:
            self.lake.compact(LOAD)
        self.lake.commit(row)


def _numbered(raws: Sequence[RawLoad]) -> dict[str, list[pl.LazyFrame]]:
    """The rows of all sources by table; each row has the number of its file if that file is about this table."""
    parts: dict[str, list[pl.LazyFrame]] = {}
    first = 0
    for raw in raws:
        for name, frames in ({"quarantine": [raw.quarantine.lazy()]} | raw.parts).items():
            stated_by = (name, schema.TABLES[name].beside)
            numbers = {file.path: n for n, file in enumerate(raw.report.sources, first) if file.table in stated_by}
            number = pl.col("source_file").replace_strict(numbers, default=None, return_dtype=pl.Int32)
            parts.setdefault(name, []).extend(_shaped(name, frame, number) for frame in frames)
        first += len(raw.report.sources)
    return parts


def _shaped(name: str, frame: pl.LazyFrame, number: pl.Expr | None = None) -> pl.LazyFrame:
    """A frame with exactly the sourced columns of its table, as stored, and the file number."""
    columns_read = frame.collect_schema()
    sourced = schema.TABLES[name].sourced
    columns = [
        (pl.col(column) if column in columns_read else pl.lit(None)).cast(sourced[column]).cast(dtype).alias(column)
        for column, dtype in as_texts(sourced).items()
    ]
    number = pl.lit(None, pl.Int32) if number is None or "source_file" not in columns_read else number
    shaped = frame.select(*columns, number.alias(FILE))
    return shaped if columns_read else shaped.limit(0)


class Fingerprints:
    """Files loaded before with the same options, by their bytes and path in the source."""

    def __init__(self, lake: Lake, options: Mapping[str, Any]) -> None:
        maps = [path.read_text("utf-8", "replace") for path in maps_behind(str(options["format"]))]
        # An empty `dates` is left out: fingerprints of older stores were made without this option.
        fingerprinted = {name: options[name] for name in sorted(options) if name != "dates" or options[name]}
        self.options = json.dumps([fingerprinted, *maps])
        self.loads: dict[str, dict[str, Any]] = {}
        self.seen: dict[str, tuple[str, Any]] = {}
        self.marks: dict[str, str] = {}  # how far each table of a database was read
        for row in lake.loads("load_id", "loaded_at", "report", "fingerprints").iter_rows(named=True):
            self.loads[row["load_id"]] = row
            prints = json.loads(row["fingerprints"])
            self.marks |= prints.pop(MARKS, {}).get(self.options, {})
            self.seen |= {fingerprint: (row["load_id"], numbers) for fingerprint, numbers in prints.items()}

    def of(self, file: Found) -> str:
        """Return the fingerprint of a file."""
        with file.path.open("rb") as content:
            digest = hashlib.file_digest(content, "blake2b")
        digest.update(f"\0{file.relative}\0{self.options}".encode(errors="surrogateescape"))
        return digest.hexdigest()[:40]

    def report(self, fingerprint: str, path: str) -> LoadReport:
        """Return the report of a file that was loaded before: every line is a duplicate."""
        load_id, numbers_or_reason = self.seen[fingerprint]
        if isinstance(numbers_or_reason, str):
            return LoadReport(ignored_files={path: numbers_or_reason})
        load = self.loads[load_id]
        when = f"{load['loaded_at']:%Y-%m-%d %H:%M} UTC"
        note = f"the same file was loaded on {when} (load {load_id}); it was not read again"
        sources = LoadReport.from_dict(json.loads(load["report"])).sources
        return LoadReport([_as_duplicate(sources[number], note) for number in numbers_or_reason])


def _as_duplicate(source: SourceReport, note: str) -> SourceReport:
    unchanged = ("path", "format", "table", "read", "quarantined", "not_events", "unreadable", "cut")
    copied: dict[str, Any] = {name: getattr(source, name) for name in unchanged}
    return SourceReport(**copied, duplicate=source.accepted, assumptions=[note])


def view(folder: Path, files: list[Found]) -> Path:
    """Make a folder of links to some files of a source, at the same relative paths."""
    for file in files:
        link = folder / file.relative
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(file.path.resolve())
    return folder
