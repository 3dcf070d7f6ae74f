"""One load: sources in, one commit out. Whatever stops it before the commit, the store stands as it stood."""

import hashlib
import json
import shutil
import tempfile
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
from filelock import FileLock, Timeout

from trackkit import schema
from trackkit.errors import RequestError
from trackkit.sources.files import find
from trackkit.sources.report import LoadReport
from trackkit.sources.staging import RawLoad
from trackkit.store.dedupe import FILE, FILLED, IS_NEW, replace_rows
from trackkit.store.fingerprints import Fingerprints, view
from trackkit.store.lake import BY_DELIVERY, FENCE, LOAD, OWN, WATERMARK, Lake
from trackkit.store.layout import first_fences
from trackkit.store.pseudonyms import Pseudonyms, require_same_key
from trackkit.store.rewrite import Outcome, Progress, Rewrite, Tables

LOCK_SECONDS = 60  # how long a load waits for another one to end
LOADS_PER_FILE = 20  # the history is packed this often
_STAGING, _LOCK = ".staging", ".lock"
_DIMENSIONS = [name for name in schema.TABLES if name not in BY_DELIVERY]


def ingest(
    lake: Lake,
    sources: Sequence[str | Path],
    asked: Mapping[str, Any],
    progress: Progress | None,
    pseudonyms: Pseudonyms | None = None,
) -> LoadReport:
    """Load sources into a store in one commit; `asked` are the options of `sources.read`.

    Out: the report of every file; one whose bytes were loaded before, with the same options, is not read again. Raises
    DataError where a source is refused, RequestError where the place is no store or another load holds it.
    """
    with alone(lake), _staging(lake) as staging:
        load = Load(lake, staging, asked, progress or (lambda done, total, label: None), pseudonyms)
        reports = [load.read(source, number, len(sources)) for number, source in enumerate(sources)]
        whole = LoadReport.merged(report for pair in reports for report in pair)
        if load.raws:
            whole.event_types = load.commit().event_types
        return whole


class Load:
    """What several sources bring, on its way to one commit."""

    def __init__(
        self,
        lake: Lake,
        staging: Path,
        asked: Mapping[str, Any],
        progress: Progress,
        pseudonyms: Pseudonyms | None = None,
    ) -> None:
        self.lake, self.staging, self.asked, self.progress = lake, staging, asked, progress
        self.pseudonyms = pseudonyms or Pseudonyms()
        require_same_key(self.pseudonyms.mark, lake.marks())
        self.last = lake.last_commit()
        self.before = Tables(lake, lake.recovered(self.last))
        self.versions = dict(self.before.versions)
        self.earlier = Fingerprints(lake, asked)
        self.load_id = uuid.uuid4().hex
        self.raws: list[RawLoad] = []
        self.prints: dict[str, Any] = {}
        self.changed: dict[str, pl.DataFrame] = {}
        self.kept: Counter[int] = Counter()

    def read(self, source: str | Path, number: int = 0, total: int = 1) -> list[LoadReport]:
        """Read what is new of a source; return its reports: of files known already, and of those read."""
        from trackkit.sources import read

        files = [] if "://" in str(source) else find(source)
        prints = {one.relative: self.earlier.of(one) for one in files}
        unread = self.earlier.unread(files, prints)
        known = [self.earlier.report(prints[one.relative], one.relative) for one in files if one not in unread]
        if files and not unread:
            return known
        place = view(self.staging / f"view{number}", unread) if known else source
        into = self.staging / f"read{number}"
        raw = read(place, into, **self.asked, progress=lambda name: self.progress(number, total, name))
        raw = self.pseudonyms.applied(raw)
        self.take(raw, prints)
        return [*known, raw.report]

    def take(self, raw: RawLoad, prints: Mapping[str, str]) -> None:
        """Take up what a source brought; `prints` are the fingerprints of its files, by relative path."""
        first = sum(len(one.report.sources) for one in self.raws)
        for number, source in enumerate(raw.report.sources, first):
            if source.path in prints:
                self.prints.setdefault(prints[source.path], []).append(number)
        self.prints |= {prints[path]: why for path, why in raw.report.ignored_files.items() if path in prints}
        self.raws.append(raw)

    def commit(self) -> LoadReport:
        """Settle what was taken up with what the store holds, write it, and name the new versions: then it counts."""
        report = LoadReport.merged(raw.report for raw in self.raws)
        frames = _numbered(self.raws)
        for name in _DIMENSIONS:
            if name in frames:
                self._replace(name, frames[name])
        outcome = self._rewrite(frames)
        self._account(report, outcome)
        self._mark(outcome)
        self._finish(report)
        return report

    def _replace(self, name: str, frame: pl.LazyFrame) -> None:
        known = self.before.scan(name).collect() if name in self.versions else None
        replaced = replace_rows(schema.TABLES[name], known, frame.collect())
        self._created(name)
        if replaced.changed.height:
            self.lake.overwrite(name, replaced.rows)
            self.versions[name] = self.lake.tidied(name)
        self.changed[name] = replaced.changed
        self.kept.update(replaced.kept)

    def _created(self, name: str) -> None:
        if name not in self.versions:
            self.versions[name] = self.lake.create(name)

    def _rewrite(self, frames: dict[str, pl.LazyFrame]) -> Outcome:
        brought = [name for name in ("event", "message") if name in frames]
        for name in (*brought, *(["collapsed"] if "event" in brought else [])):
            self._created(name)
        new = {name: frames[name] for name in brought}
        new.setdefault("event", _shaped("event", pl.LazyFrame()))
        new["event"] = new["event"].with_columns(pl.lit(True).alias(IS_NEW), pl.lit(0, pl.Int32).alias(FILLED))
        fences = self.before.scan(FENCE).collect() if FENCE in self.versions else first_fences()
        work = Rewrite(self.before, Tables(self.lake, self.versions), new, self.staging)
        outcome = work.run(self.changed, fences, self.progress)
        if not outcome.fences.equals(fences) or FENCE not in self.versions:
            self._put(FENCE, outcome.fences)
        for name in BY_DELIVERY:
            if name in self.versions:
                self.versions[name] = self.lake.tidied(name)
        return outcome

    def _put(self, name: str, rows: pl.DataFrame) -> None:
        self._created(name)
        self.lake.overwrite(name, rows)
        self.versions[name] = self.lake.tidied(name)

    def _account(self, report: LoadReport, outcome: Outcome) -> None:
        """Say what became of every line: kept, collapsed, or a copy of what was there."""
        for counts in (*outcome.kept["event"], *outcome.kept["message"]):
            self.kept.update(counts)
        collapsed = sum(map(Counter, outcome.kept["collapsed"]), Counter())
        for number, source in enumerate(report.sources):
            source.kept, source.collapsed = self.kept[number], collapsed[number]
            source.duplicate = source.accepted - source.kept - source.collapsed
        report.event_types = dict(sorted(sum(map(Counter, outcome.event_types), Counter()).items()))

    def _mark(self, outcome: Outcome) -> None:
        """Note this load with every delivery of which anything changed."""
        parts = [rows["delivery_id"] for rows in self.changed.values() if "delivery_id" in rows.columns]
        ids = pl.concat([pl.Series("delivery_id", [], dtype=pl.String), *outcome.changed, *parts]).unique().drop_nulls()
        marked = pl.DataFrame({"delivery_id": ids}).with_columns(load_id=pl.lit(self.load_id))
        if WATERMARK in self.versions:
            before = self.before.scan(WATERMARK).collect()
            marked = pl.concat([before.join(marked, on="delivery_id", how="anti"), marked])
        if ids.len() or WATERMARK not in self.versions:
            self._put(WATERMARK, marked.sort("delivery_id"))

    def _finish(self, report: LoadReport) -> None:
        row = {
            "number": self.last.number + 1 if self.last else 1, "load_id": self.load_id,
            "loaded_at": datetime.now(UTC), "timezone": str(self.asked["timezone"]),
            "versions": json.dumps(self.versions), "report": json.dumps(report.to_dict()),
            "fingerprints": json.dumps(self.prints), "mark": self.pseudonyms.mark,
        }  # fmt: skip
        if not self.lake.exists(LOAD):
            self.lake.create(LOAD)
        if row["number"] % LOADS_PER_FILE == 0:
            self.lake.compact(LOAD)
        self.lake.append(LOAD, pl.DataFrame([row], schema=OWN[LOAD]))


def _numbered(raws: Sequence[RawLoad]) -> dict[str, pl.LazyFrame]:
    """The frames of all sources, each row with the number of the file that is about its table."""
    parts: dict[str, list[pl.LazyFrame]] = {}
    first = 0
    for raw in raws:
        for name, frame in ({"quarantine": raw.quarantine.lazy()} | raw.frames).items():
            own = {s.path: n for n, s in enumerate(raw.report.sources, first) if s.table == name}
            number = pl.col("source_file").replace_strict(own, default=None, return_dtype=pl.Int32)
            parts.setdefault(name, []).append(_shaped(name, frame, number))
        first += len(raw.report.sources)
    return {name: pl.concat(same) for name, same in parts.items()}


def _shaped(name: str, frame: pl.LazyFrame, number: pl.Expr | None = None) -> pl.LazyFrame:
    """A frame with exactly the sourced columns of its table and the number of the file."""
    has = frame.collect_schema()
    columns = [
        (pl.col(column) if column in has else pl.lit(None)).cast(dtype).alias(column)
        for column, dtype in schema.TABLES[name].sourced.items()
    ]
    number = pl.lit(None, pl.Int32) if number is None or "source_file" not in has else number
    shaped = frame.select(*columns, number.alias(FILE))
    return shaped if has else shaped.limit(0)


@contextmanager
def alone(lake: Lake) -> Iterator[None]:
    """Hold the store: loads and removals on one machine wait for one another."""
    place = Path(tempfile.gettempdir()) / f"trackkit-{hashlib.sha256(lake.location.encode()).hexdigest()[:16]}.lock"
    if lake.is_local:
        place = _own_folder(Path(lake.location)) / _LOCK
    try:
        with FileLock(place, timeout=LOCK_SECONDS):
            yield
    except Timeout:
        raise RequestError(
            f"Another load has been writing to {lake.location!r} for {LOCK_SECONDS} seconds; "
            "wait for it to end, then load again."
        ) from None


def _own_folder(folder: Path) -> Path:
    """Make sure of the folder; refuse one that holds other things."""
    ours = {*schema.TABLES, *OWN, _STAGING, _LOCK}
    if folder.is_dir():
        others = sorted(path.name for path in folder.iterdir() if path.name not in ours)
        if others:
            raise RequestError(
                f"{str(folder)!r} holds {others[0]!r}, so it is no store; name a new folder, or one made by trackkit."
            )
    elif folder.exists():
        raise RequestError(f"{str(folder)!r} is a file; a store is a folder or a URL.")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def discard_staging(lake: Lake) -> None:
    """Delete what an interrupted load left on its way: it may hold any row of its sources."""
    if lake.is_local:
        shutil.rmtree(Path(lake.location) / _STAGING, ignore_errors=True)


@contextmanager
def _staging(lake: Lake) -> Iterator[Path]:
    """A place for this load's rows on their way; what an interrupted load left there goes."""
    folder = Path(lake.location) / _STAGING if lake.is_local else Path(tempfile.mkdtemp(prefix="trackkit-"))
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
