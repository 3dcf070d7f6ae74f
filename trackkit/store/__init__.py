"""The canonical store: transactional, incremental, exactly-once; what was loaded, when, and from where.

What is where, in the order of the data:

- `ingest`: one load, from its sources to its commit; which files were loaded before.
- `pseudonyms`, `masks`: what is hidden of people before anything is written.
- `dedupe`: what makes a load exactly-once: copies of events, repeated opens, newer rows in the place of older ones.
- `rewrite`: which deliveries a load touches, read and put back a bounded number at a time (`partition`: rows on disk
  meanwhile); `reconcile`: how they are settled, large ones in pieces.
- `enrich`, `implied`, `user_agents`: the derived columns, messages that only events tell of, browsers and devices.
- `layout`, `datafile`, `lake`: what is on disk, its tables, buckets and files, and the transaction over them; `damage`:
  what is lost or cut of it.
- `locking`: one writer at a time, by a lock file or a lease.
- `removal`, `forget`: which rows are to be forgotten, and their removal from everything that holds them.

Opening a store imports polars and deltalake, nothing else; loading brings the rest.
"""

import json
import tempfile
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import cached_property
from html import escape
from os import PathLike, fspath
from typing import TYPE_CHECKING, Any, TypeVar, overload

import polars as pl

from trackkit import schema
from trackkit.clock import Asked, moment
from trackkit.engine.deliveries import require_timezone
from trackkit.engine.snapshot import Counted, Snapshot
from trackkit.errors import RequestError, did_you_mean
from trackkit.store.damage import require_whole, verify
from trackkit.store.datafile import read_counts
from trackkit.store.lake import Commit, Lake, among_others
from trackkit.store.layout import WATERMARK, as_declared

if TYPE_CHECKING:
    from trackkit.sources.report import LoadReport
    from trackkit.store.forget import ForgetReport
    from trackkit.store.pseudonyms import Pseudonyms

__all__ = ["Store", "answered", "load", "open_store"]

SETTINGS = ("timezone",)
_ASKED = 4  # times, while removals come between
_IMPORTING = threading.RLock()  # two threads that import modules of one package at once find them half made
T = TypeVar("T")
Keep = Callable[[Snapshot, list[str]], pl.DataFrame]
Progress = Callable[[int, int, str], object]


class _Texts(Mapping[str, pl.LazyFrame]):
    """The tables of a commit as they are kept, each opened when it is first asked for."""

    def __init__(self, lake: Lake, commit: Commit) -> None:
        self._lake = lake
        self._versions = {name: version for name, version in commit.versions.items() if name in schema.TABLES}
        self._opened: dict[str, pl.LazyFrame] = {}

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
        """The files of a table; none of one that no load brought."""
        return self._lake.files(table, self._versions[table]) if table in self else []

    @cached_property
    def counted(self) -> Counted | None:
        """Counts of the events whose files hold them, and the other events; None where files are far."""
        if not self._lake.is_local:
            return None
        counts = read_counts(self.files("event"))
        rest = self._lake.stored("event", self._versions["event"], but=counts)
        return Counted(pl.concat(counts.values()), rest.select(*schema.EVENT.schema)) if counts else None


class _Frames(_Texts):
    """The same tables with their columns of the types that the schema declares."""

    def __getitem__(self, table: str) -> pl.LazyFrame:
        return super().__getitem__(table).with_columns(as_declared(table))


class _Loads(Sequence[dict[str, Any]]):
    """The loads up to a commit, read when they are first looked at."""

    def __init__(self, lake: Lake, commit: Commit) -> None:
        self._lake, self._commit = lake, commit

    @cached_property
    def _rows(self) -> list[dict[str, Any]]:
        rows = self._lake.loads("number", "load_id", "loaded_at", "timezone", "report")
        rows = rows.filter(pl.col("number") <= self._commit.number)
        return [row | {"report": json.loads(row["report"])} for row in rows.iter_rows(named=True)]

    @overload
    def __getitem__(self, place: int) -> dict[str, Any]: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[dict[str, Any]]: ...
    def __getitem__(self, place: int | slice) -> Any:
        return self._rows[place]

    def __len__(self) -> int:
        return len(self._rows)


class Store:
    """Canonical tables in a folder or under an object-store URL.

    Questions read the snapshot that was newest when the store was first asked, and again after its own loads;
    `snapshot()` takes the newest. Loading creates a store that does not exist; reading one raises RequestError.
    """

    def __init__(self, location: str, timezone: str | None = None) -> None:
        self.location, self._timezone = location, timezone
        self._lake = Lake(location)
        self._current: Snapshot | None = None
        self._number = 0  # of the commit that the snapshot is of

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
        """The platform's time zone: as this store was opened, else as it is kept, else UTC."""
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
        """Read every file of the last commit, which takes as long as they are large; return how many there are.

        Raises DamagedError, a DataError, that names the file which is lost or cannot be read.
        """
        self.snapshot()
        require_whole(self._lake)
        return verify(self._lake)

    def require_whole(self) -> None:
        """Raise DataError where something of the store is lost, cut or of a newer make, naming the file."""
        require_whole(self._lake)

    def set(self, name: str, value: str) -> None:
        """Change a setting of the store: `timezone`, the platform's time zone.

        Raises RequestError for an unknown setting or time zone, and where there is no store.
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

    def stored(self, table: str) -> pl.LazyFrame:
        """Return the lazy frame of a table as it is kept: enumerations as text, which spares a pass over them."""
        return self._tables.stored(table)

    def has(self, table: str) -> bool:
        """Return whether any load brought this table; a question on a missing one answers null, never 0."""
        return self._tables.has(table)

    def files(self, table: str) -> list[str] | None:
        """Return the Parquet files that the rows of a canonical table are in, those of `scan`."""
        return self._tables.files(table)

    def counted(self) -> Counted | None:
        """Return counts of the events whose files hold them, and the other events."""
        return self._tables.counted()

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
        """By delivery, the load that last changed anything known of it: what was made before that is out of date."""
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

        `timezone` is the zone of instants without an offset, the platform's unless given; a new store keeps it as that.
        `collapse_minutes` is the window in which repeated opens count once (1 for raw logs, 0 for exports, unless
        given); `progress(done, total, label)` is told how far it is.
        Of events of declared formats, `dedupe` says which copies count once (`exact`, `loose`: the sender's own id may
        differ, `none`), and `delivery_field` which field names the delivery where the format has none (`=name`: all).
        `dates` says how dates are written that are not ISO and in doubt: `day-first`, `month-first`, or a form as
        `%d/%m/%Y %H:%M`.
        A database is named by a SQLAlchemy URL; of its tables is read what is newer than the last load, and the
        `overlap_days` before that again, for rows that came late; None reads everything again.
        `pseudonyms` hides addresses, with the key of the loads before, or shortens IP addresses.
        Files and sources of which nothing could be read are in the report's `failures`, and hold up no others.
        Raises DataError where the only source is refused: then, as after any interruption, the store is as it was.
        """
        with _IMPORTING:
            from trackkit.store.ingest import ingest

        asked = {
            "format": format,
            "timezone": timezone or self.timezone,
            "collapse_minutes": collapse_minutes,
            "dedupe": dedupe,
            "delivery_field": delivery_field,
            "dates": dates,
        }
        overlap = None if overlap_days is None else timedelta(days=overlap_days)
        report = ingest(self._lake, [fspath(source) for source in sources], asked, progress, overlap, pseudonyms)
        self._current = None
        return report

    def forget(
        self,
        before: Mapping[str, Asked] | None = None,
        recipient: str | None = None,
        address: str | None = None,
        keep: Keep | None = None,
        dry_run: bool = False,
    ) -> "ForgetReport":
        """Remove, in one commit and with its history, what is older than `before` (by table), or one person.

        `keep(tables, deliveries)` measures what is to survive as (delivery_id, metric, value); see `retention.forget`,
        which also knows periods and rendered reports. Snapshots taken before cannot be read afterwards.
        Raises RequestError where there is no store.
        """
        with _IMPORTING:
            from trackkit.store.forget import forget
            from trackkit.store.removal import Old, Person

        self.snapshot()
        cuts = {name: moment(at, self.timezone, name).astimezone(UTC) for name, at in (before or {}).items()}
        report = forget(
            self._lake,
            lambda tables, files: Person(tables, recipient, address) if before is None else Old(tables, cuts, files),
            keep and (lambda deliveries: keep(self.snapshot(), deliveries)),
            dry_run,
        )
        self._current = None
        return report

    def __repr__(self) -> str:
        return f"Store({self.location!r})"

    def _repr_html_(self) -> str:
        if self._lake.last_commit() is None:
            return f"<p>Store {escape(self.location)}: nothing was loaded yet.</p>"
        current = self._current or self.snapshot()
        when = f"{current.as_of:%Y-%m-%d %H:%M} UTC"
        return f"<p>Store {escape(self.location)}, {len(current.loads)} loads, the last at {when}</p>" + (
            current._repr_html_()
        )


def open_store(location: str | PathLike[str], timezone: str | None = None) -> Store:
    """Open a store in a folder or under a URL; it need not exist before the first `ingest`.

    `timezone` stands in place of the one that the store keeps: of days, hours, and instants without an offset.
    """
    return Store(fspath(location), timezone)


def answered(store: Store, question: Callable[[Store], T]) -> T:
    """Answer a question of a store; where a removal deletes the files that it reads, ask what is there now.

    Raises RequestError where that happens again and again.
    """
    for _ in range(_ASKED):
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

    Options: those of `Store.ingest`. Out: the canonical tables as a `Snapshot`, whose only load holds the report. For
    data that memory holds.
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
