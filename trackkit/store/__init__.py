"""The canonical store: transactional, incremental, exactly-once; what was loaded, when, and from where.

What is where, in the order of the data:

- `ingest`: one load, from its sources to its commit; fingerprints of the files loaded before.
- `pseudonyms`, `masks`: hide personal data before anything is written.
- `dedupe`: exactly-once loading: copies of events, repeated opens, newer rows replacing older ones.
- `rewrite`: reads the deliveries that a load touches and writes them back, in chunks; `reconcile`: settles them, large
  ones in pieces; `partition`: rows kept on disk in between.
- `enrich`, `implied`, `user_agents`: derived columns, messages known only from events, browsers and devices.
- `layout`, `datafile`, `lake`: tables, buckets and files on disk, and the transaction over them; `damage`: lost or
  truncated files.
- `locking`: one writer at a time, by a lock file or a lease.
- `removal`, `forget`: which rows to forget, and their removal from every file.

Opening a store imports only polars and deltalake; loading imports the rest.
"""

import json
import tempfile
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import cached_property
from os import PathLike, fspath
from typing import TYPE_CHECKING, Any, TypeVar, overload

import polars as pl

from trackkit import schema
from trackkit.clock import Asked, moment
from trackkit.engine.deliveries import require_timezone
from trackkit.engine.described import Extent
from trackkit.engine.snapshot import Counted, Snapshot
from trackkit.errors import RequestError, TrackkitError, did_you_mean
from trackkit.listing import Listing
from trackkit.store.damage import require_whole, verify
from trackkit.store.datafile import period, read_counts
from trackkit.store.lake import Commit, Lake, among_others
from trackkit.store.layout import WATERMARK, as_declared

if TYPE_CHECKING:
    from trackkit.sources.report import LoadReport
    from trackkit.store.forget import ForgetReport
    from trackkit.store.pseudonyms import Pseudonyms

__all__ = ["Store", "answered", "load", "open_store"]

SETTINGS = ("timezone",)
_ATTEMPTS = 4  # to answer a question while removals delete the files it reads
_IMPORTING = threading.RLock()  # threads that import from one package at once may see half-initialised modules
_LOADS_SHOWN = 20
COUNTS = ("read", "kept", "duplicate", "collapsed", "quarantined")
T = TypeVar("T")
Keep = Callable[[Snapshot, list[str]], pl.DataFrame]
Progress = Callable[[int, int, str], object]


class _Texts(Mapping[str, pl.LazyFrame]):
    """The tables of a commit as stored (enumerations as text), each opened on first use."""

    def __init__(self, lake: Lake, commit: Commit) -> None:
        self._lake = lake
        self._versions = {name: version for name, version in commit.versions.items() if name in schema.TABLES}
        self._own = {name: version for name, version in commit.versions.items() if name not in schema.TABLES}
        self._opened: dict[str, pl.LazyFrame] = {}
        self._extents: dict[str, Extent] = {}

    def __getitem__(self, table: str) -> pl.LazyFrame:
        if table not in self._opened:
            rows = self._lake.stored(table, self._versions[table])
            self._opened[table] = rows.select(*schema.TABLES[table].schema)
        return self._opened[table]

    def __contains__(self, table: object) -> bool:
        return table in self._versions

    def __iter__(self) -> Iterator[str]:
        return iter(self._versions)

    def __len__(self) -> int:
        return len(self._versions)

    def files(self, table: str) -> list[str]:
        """Return the files of a table; none if no load brought it."""
        return self._lake.files(table, self._versions[table]) if table in self else []

    def extent(self, table: str) -> Extent:
        """Return the rows and bytes of a table from its log; from when to when they are from its files, if local."""
        if table not in self._extents:
            files = self._lake.listed(table, self._versions[table])
            dated_by = schema.TABLES[table].dated_by
            ends = period(self.files(table), dated_by) if dated_by and self._lake.is_local else (None, None)
            self._extents[table] = Extent(int(files["num_records"].sum()), *ends, int(files["size_bytes"].sum()))
        return self._extents[table]

    @property
    def versions(self) -> Mapping[str, int]:
        """The version of each table."""
        return self._versions

    @cached_property
    def watermarks(self) -> Mapping[str, str]:
        """By delivery, the load that last changed anything about it."""
        if WATERMARK not in self._own:
            return {}
        return dict(self._lake.scan(WATERMARK, self._own[WATERMARK]).collect().iter_rows())

    @cached_property
    def counted(self) -> Counted | None:
        """Counts from the files that hold them, and the events of all other files; None for a remote store."""
        if not self._lake.is_local:
            return None
        counts = read_counts(self.files("event"))
        uncounted = self._lake.stored("event", self._versions["event"], but=counts)
        return Counted(pl.concat(counts.values()), uncounted.select(*schema.EVENT.schema)) if counts else None


class _Frames(_Texts):
    """The same tables with the column types that the schema declares."""

    def __getitem__(self, table: str) -> pl.LazyFrame:
        return super().__getitem__(table).with_columns(as_declared(table))


class _Loads(Sequence[dict[str, Any]]):
    """The loads up to a commit, read on first use."""

    def __init__(self, lake: Lake, commit: Commit) -> None:
        self._lake, self._commit = lake, commit

    @cached_property
    def _rows(self) -> list[dict[str, Any]]:
        rows = self._lake.loads("number", "load_id", "loaded_at", "timezone", "report")
        rows = rows.filter(pl.col("number") <= self._commit.number)
        return [row | {"report": json.loads(row["report"])} for row in rows.iter_rows(named=True)]

    def files(self) -> list[tuple[str, str]]:
        """Return the fingerprint and the path in its source of every file that was loaded, oldest load first."""
        rows = self._lake.loads("number", "fingerprints").filter(pl.col("number") <= self._commit.number)
        prints = [json.loads(text) for text in rows["fingerprints"]]
        return [
            (fingerprint, load["report"]["sources"][numbers[0]]["path"])
            for load, known in zip(self, prints, strict=True)
            for fingerprint, numbers in known.items()
            if isinstance(numbers, list) and numbers
        ]

    @overload
    def __getitem__(self, place: int) -> dict[str, Any]: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[dict[str, Any]]: ...
    def __getitem__(self, place: int | slice) -> Any:
        return self._rows[place]

    def __len__(self) -> int:
        return len(self._rows)

    def _listing(self) -> Listing:
        """The newest loads, each with its verdict and what became of all its lines."""
        rows = [_load_row(load) for load in self._rows[: -_LOADS_SHOWN - 1 : -1]]
        more = len(self) - len(rows)
        columns = ["load", "at (UTC)", "verdict", "files", *COUNTS]
        head = f"{len(self)} load{'s' * (len(self) != 1)}, newest first"
        return Listing([head], columns, rows, [f"And {more:,} earlier."] if more else [])

    def __repr__(self) -> str:
        return str(self._listing())

    def _repr_html_(self) -> str:
        return self._listing()._repr_html_()


def _load_row(load: Mapping[str, Any]) -> list[str | int | None]:
    sources = load["report"].get("sources", [])
    verdict = (load["report"].get("quality") or {}).get("verdict")
    totals = [sum(source[count] for source in sources) for count in COUNTS]
    return [load["number"], f"{load['loaded_at']:%Y-%m-%d %H:%M}", verdict, len(sources), *totals]


class Store:
    """Canonical tables in a folder or under an object-store URL.

    Questions read the snapshot that was newest at the first question or after this store's own last load;
    `snapshot()` takes the newest. Loading creates a missing store; reading one raises RequestError.
    """

    def __init__(self, location: str, timezone: str | None = None) -> None:
        self.location, self._timezone = location, timezone
        self._lake = Lake(location)
        self._current: Snapshot | None = None
        self._number = 0  # of the snapshot's commit

    def snapshot(self) -> Snapshot:
        """Return the tables as the last load left them; later loads do not change them."""
        commit = self._lake.last_commit()
        if commit is None:
            if any(self._lake.present()):
                raise RequestError(
                    f"There is no store at {self.location!r} yet: no load into it was finished. Repeat it, or, if one "
                    "was, put the table 'load' back from a copy."
                )
            raise RequestError(
                f"There is no store at {self.location!r}; `trackkit ingest SOURCE --store {self.location}` makes one."
            )
        self._number = commit.number
        loads: Any = _Loads(self._lake, commit)
        frames, texts = _Frames(self._lake, commit), _Texts(self._lake, commit)
        self._current = Snapshot(frames, commit.loaded_at, loads, texts, self._timezone or commit.timezone)
        return self._current

    @property
    def _tables(self) -> Snapshot:
        """The snapshot that questions read."""
        return self._current or self.snapshot()

    @property
    def timezone(self) -> str:
        """The platform's time zone: the one this store was opened with, else the stored one, else UTC."""
        if self._timezone:
            return self._timezone
        if self._current:
            return self._current.timezone
        commit = self._lake.last_commit()
        return commit.timezone if commit else "UTC"

    @property
    def as_of(self) -> datetime:
        """When the newest load was made."""
        as_of = self._tables.as_of
        assert as_of is not None
        return as_of

    def verify(self) -> int:
        """Read every file of the last commit (slow for a large store); return how many there are.

        Raises DamagedError, a DataError, naming the file that is lost or unreadable.
        """
        self.snapshot()
        require_whole(self._lake)
        return verify(self._lake)

    def require_whole(self) -> None:
        """Raise DataError, naming the file, if part of the store is lost, truncated or from a newer version."""
        require_whole(self._lake)

    def set(self, name: str, value: str) -> None:
        """Change a setting of the store: `timezone`, the platform's time zone.

        Raises RequestError for an unknown setting or time zone, or a missing store.
        """
        if name not in SETTINGS:
            raise RequestError(f"A store has no setting {name!r}.{did_you_mean(name, SETTINGS)}")
        with _IMPORTING:
            from trackkit.store.locking import alone

        require_timezone(value)
        self.snapshot()
        with alone(self._lake):
            require_whole(self._lake)
            among_others(self._lake, lambda: self._lake.set(uuid.uuid4().hex, {name: value}))
        self._current = None

    def scan(self, table: str) -> pl.LazyFrame:
        """Return the lazy frame of a canonical table, empty (with its columns) when no load brought it."""
        return self._tables.scan(table)

    def __getitem__(self, table: str) -> pl.LazyFrame:
        """Return the lazy frame of a table, as `scan` does; `collect()` reads it."""
        return self.scan(table)

    def describe(self, table: str | None = None) -> pl.DataFrame:
        """Describe the columns of a table, or, without one, the tables: see `Snapshot.describe`."""
        return self._tables.describe(table)

    def sql(self, query: str) -> pl.LazyFrame:
        """Return the lazy answer to a SELECT over the tables, in polars' SQL: see `Snapshot.sql`."""
        return self._tables.sql(query)

    def stored(self, table: str) -> pl.LazyFrame:
        """Return the lazy frame of a table as stored: enumerations as text, which saves casting them."""
        return self._tables.stored(table)

    def has(self, table: str) -> bool:
        """Return whether any load brought this table; figures on a missing one are null, never 0."""
        return self._tables.has(table)

    def files(self, table: str) -> list[str] | None:
        """Return the Parquet files behind `scan` of a canonical table."""
        return self._tables.files(table)

    def counted(self) -> Counted | None:
        """Return counts from the files that hold them, and the events of all other files."""
        return self._tables.counted()

    @property
    def versions(self) -> Mapping[str, int]:
        """The version of each table that is read: the tables can be opened by any reader of Delta tables."""
        return self._tables.versions

    @property
    def loads(self) -> Sequence[dict[str, Any]]:
        """The loads behind the tables, oldest first: number, load_id, loaded_at, timezone and report."""
        return self._tables.loads

    @property
    def quarantine(self) -> pl.DataFrame:
        """Every line that could not be read: file, line, format, reason and the line itself."""
        return self.scan("quarantine").collect()

    @property
    def watermarks(self) -> dict[str, str]:
        """By delivery, the load that last changed anything about it: reports made before that are out of date."""
        commit = self._lake.last_commit()
        if commit is None or WATERMARK not in commit.versions:
            return {}
        return dict(self._lake.scan(WATERMARK, commit.versions[WATERMARK]).collect().iter_rows())

    def ingest(
        self,
        *sources: str | PathLike[str],
        format: str = "auto",
        timezone: str | None = None,
        collapse_minutes: float | None = None,
        dedupe: str = "exact",
        delivery_field: str | None = None,
        dates: str | None = None,
        progress: Progress | None = None,
        overlap_days: float | None = 2,
        pseudonyms: "Pseudonyms | None" = None,
    ) -> "LoadReport":
        """Load files, folders, globs or databases in one commit, exactly once; return what became of every line.

        `timezone` is the zone of instants without an offset, by default the platform's; a new store keeps it as such.
        `collapse_minutes` is the window in which repeated opens count once (default: 1 for raw logs, 0 for exports);
        `progress(done, total, label)` is called as the load advances.
        For events of declared formats, `dedupe` says which copies count once (`exact`; `loose`: the sender's own id
        may differ; `none`), and `delivery_field` names the delivery where the format has no field for it (`=name`:
        one for all). `dates` is the form of ambiguous dates: `day-first`, `month-first`, or one such as
        `%d/%m/%Y %H:%M`.
        A database is named by a SQLAlchemy URL; rows newer than the last load are read, and those of the
        `overlap_days` before it again, for late rows; None reads everything again.
        `pseudonyms` hides addresses, with the key of earlier loads, or shortens IP addresses.
        Files and sources that cannot be read are in the report's `failures` and do not stop the others.
        Raises DataError if the only source is refused; then, as after any interruption, the store is unchanged.
        """
        with _IMPORTING:
            from trackkit.store.ingest import ingest

        options = {
            "format": format,
            "timezone": timezone or self.timezone,
            "collapse_minutes": collapse_minutes,
            "dedupe": dedupe,
            "delivery_field": delivery_field,
            "dates": dates,
        }
        overlap = None if overlap_days is None else timedelta(days=overlap_days)
        report = ingest(self._lake, [fspath(source) for source in sources], options, progress, overlap, pseudonyms)
        self._current = None
        return report

    def mark(self, progress: Progress | None = None) -> int:
        """Mark who was behind the hits of a store written before that was marked; return how many deliveries had any.

        Nothing is read from sources, and marks that are there stay. Raises RequestError if there is no store.
        """
        with _IMPORTING:
            from trackkit.store.ingest import mark

        self.snapshot()
        count = mark(self._lake, self.timezone, progress)
        self._current = None
        return count

    def forget(
        self,
        before: Mapping[str, Asked] | None = None,
        recipient: str | None = None,
        address: str | None = None,
        keep: Keep | None = None,
        dry_run: bool = False,
    ) -> "ForgetReport":
        """Remove, in one commit and with its history, rows older than `before` (by table), or one person's.

        `keep(tables, deliveries)` measures what is to survive as (delivery_id, metric, value); see `retention.forget`,
        which also handles periods and rendered reports. Earlier snapshots become unreadable.
        Raises RequestError if there is no store.
        """
        with _IMPORTING:
            from trackkit.store.forget import forget
            from trackkit.store.removal import Old, Person

        self.snapshot()
        cutoffs = {name: moment(at, self.timezone, name).astimezone(UTC) for name, at in (before or {}).items()}
        report = forget(
            self._lake,
            lambda tables, files: Person(tables, recipient, address) if before is None else Old(tables, cutoffs, files),
            keep and (lambda deliveries: keep(self.snapshot(), deliveries)),
            dry_run,
        )
        self._current = None
        return report

    def _ipython_key_completions_(self) -> list[str]:
        return self._tables._ipython_key_completions_()

    def __repr__(self) -> str:
        return str(self._listing())

    def _repr_html_(self) -> str:
        return self._listing()._repr_html_()

    def _listing(self) -> Listing:
        """The tables, or, since showing a store never fails, what is wrong with it."""
        name = f"Store {self.location!r}"
        try:
            if self._lake.last_commit() is None:
                return Listing([f"{name}: nothing was loaded yet."], [], [])
            now, count = self._tables, len(self._tables.loads)
            loads = f"{count} load{'s' * (count != 1)}, the last {self.as_of:%Y-%m-%d %H:%M} UTC"
            return now.listing(f"{name}: {loads}; time zone {now.timezone}")
        except (TrackkitError, OSError) as error:
            return Listing([f"{name}: {error}"], [], [])


def open_store(location: str | PathLike[str], timezone: str | None = None) -> Store:
    """Open a store in a folder or under a URL; it need not exist before the first `ingest`.

    `timezone` overrides the stored one, for days, hours, and instants without an offset. `STORE@v12` is the store as
    its load 12 left it, to be read only.

    >>> open_store("store").location  # nothing is read, and nothing need be there
    'store'
    """
    return Store(fspath(location), timezone)


def answered(store: Store, question: Callable[[Store], T]) -> T:
    """Answer a question about a store; if a removal deletes files meanwhile, retry on the newest snapshot.

    Raises RequestError if that keeps happening.
    """
    for _ in range(_ATTEMPTS):
        try:
            return question(store)
        except FileNotFoundError:
            number = store._number
            store.snapshot()
            if store._number == number:
                raise
    raise RequestError(f"Rows are being removed from {store.location!r} again and again: ask when that is done.")


def load(
    *sources: str | PathLike[str],
    format: str = "auto",
    timezone: str = "UTC",
    collapse_minutes: float | None = None,
    dedupe: str = "exact",
    delivery_field: str | None = None,
    dates: str | None = None,
) -> Snapshot:
    """Read raw logs and exports into memory, settled and enriched, without keeping a store.

    Options: those of `Store.ingest`. Returns the canonical tables as a `Snapshot`, whose only load holds the report.
    For data that fits in memory.

    >>> from pathlib import Path
    >>> click = {"event": "click", "email": "a@x.example", "timestamp": 1767225600, "url": "https://x.example"}
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     hits = Path(folder, "hits.json")
    ...     _ = hits.write_text(json.dumps([click]))
    ...     tables = load(hits, format="sendgrid", delivery_field="=spring")
    >>> tables["event"].select("delivery_id", "event_type").collect().rows()
    [('spring', 'clicked')]
    """
    with tempfile.TemporaryDirectory(prefix="trackkit-") as folder:
        store = Store(f"{folder}/store")
        store.ingest(
            *sources,
            format=format,
            timezone=timezone,
            collapse_minutes=collapse_minutes,
            dedupe=dedupe,
            delivery_field=delivery_field,
            dates=dates,
        )
        stored = store.snapshot()
        names = list(stored.frames)
        frames = {name: frame.lazy() for name, frame in zip(names, pl.collect_all(stored.frames.values()), strict=True)}
        return Snapshot(frames, stored.as_of, tuple(stored.loads), timezone=stored.timezone)
