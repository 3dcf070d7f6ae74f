"""The canonical store: transactional, incremental, exactly-once; what was loaded, when, and from where.

Opening a store imports polars and deltalake, nothing else; loading brings the rest.
"""

import json
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from html import escape
from os import PathLike, fspath
from typing import TYPE_CHECKING, Any, overload

import polars as pl

from trackkit import schema
from trackkit.errors import RequestError
from trackkit.snapshot import Snapshot
from trackkit.store.commits import Commit
from trackkit.store.lake import WATERMARK, Lake, as_declared

if TYPE_CHECKING:
    from trackkit.sources.report import LoadReport
    from trackkit.store.forget import ForgetReport
    from trackkit.store.pseudonyms import Pseudonyms

Keep = Callable[[Snapshot, list[str]], pl.DataFrame]
Progress = Callable[[int, int, str], object]


class Store:
    """Canonical tables in a folder or under an object-store URL.

    Questions read the snapshot that was newest when the store was first asked, and again after its own loads;
    `snapshot()` takes the newest. Loading creates a store that does not exist; reading one raises RequestError.
    """

    def __init__(self, location: str, timezone: str = "UTC") -> None:
        self.location, self.timezone = location, timezone
        self._lake = Lake(location)
        self._current: Snapshot | None = None

    def snapshot(self) -> Snapshot:
        """Return the tables as the last load left them; later loads do not change them."""
        commit = self._lake.last_commit()
        if commit is None:
            raise RequestError(
                f"There is no store at {self.location!r}; `trackkit ingest SOURCE --store {self.location}` makes one."
            )
        loads: Any = _Loads(self._lake, commit)
        texts = _Frames(self._lake, commit)
        self._current = Snapshot(_Declared(texts), commit.loaded_at, loads, texts)
        return self._current

    def scan(self, table: str) -> pl.LazyFrame:
        """Return the lazy frame of a canonical table, empty (with its columns) when no load brought it."""
        return (self._current or self.snapshot()).scan(table)

    def stored(self, table: str) -> pl.LazyFrame:
        """Return the lazy frame of a table as it is kept: enumerations as text, which spares a pass over them."""
        return (self._current or self.snapshot()).stored(table)

    def has(self, table: str) -> bool:
        """Return whether any load brought this table; a question on a missing one answers null, never 0."""
        return (self._current or self.snapshot()).has(table)

    def files(self, table: str) -> list[str] | None:
        """Return the Parquet files that the rows of a canonical table are in, those of `scan`."""
        return (self._current or self.snapshot()).files(table)

    @property
    def loads(self) -> Sequence[dict[str, Any]]:
        """The loads behind the tables, oldest first: number, load_id, loaded_at, timezone and report."""
        return (self._current or self.snapshot()).loads

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
        progress: Progress | None = None,
        overlap_days: float | None = 2,
        pseudonyms: "Pseudonyms | None" = None,
    ) -> "LoadReport":
        """Load files, folders, globs or databases in one commit, exactly once; return what became of every line.

        `timezone` is the zone of instants without an offset; `collapse_minutes` the window in which repeated opens
        count once (1 for raw logs, 0 for exports, unless given); `progress(done, total, label)` is told how far it is.
        Of events of declared formats, `dedupe` says which copies count once (`exact`, `loose`: the sender's own id may
        differ, `none`), and `delivery_field` which field names the delivery where the format has none (`=name`: all).
        A database is named by a SQLAlchemy URL; of its tables is read what is newer than the last load, and the
        `overlap_days` before that again, for rows that came late; None reads everything again.
        `pseudonyms` hides addresses, with the key of the loads before, or shortens IP addresses.
        Raises DataError where a source is refused: then, as after any interruption, the store is as it was.
        """  # fmt: skip
        from trackkit.store.ingest import ingest

        asked = {
            "format": format, "timezone": timezone or self.timezone, "collapse_minutes": collapse_minutes,
            "dedupe": dedupe, "delivery_field": delivery_field,
        }  # fmt: skip
        overlap = None if overlap_days is None else timedelta(days=overlap_days)
        report = ingest(self._lake, [fspath(source) for source in sources], asked, progress, overlap, pseudonyms)
        self._current = None
        return report

    def forget(
        self,
        before: Mapping[str, datetime] | None = None,
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
        from trackkit.store.forget import forget
        from trackkit.store.going import Old, Person

        self.snapshot()
        report = forget(
            self._lake,
            lambda tables, files: Person(tables, recipient, address) if before is None else Old(tables, before, files),
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


class _Frames(Mapping[str, pl.LazyFrame]):
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

    def files(self, table: str) -> list[str]:
        """Return the files of a table; none of one that no load brought."""
        return self._lake.files(table, self._versions[table]) if table in self else []

    def __contains__(self, table: object) -> bool:
        return table in self._versions

    def __iter__(self) -> Iterator[str]:
        return iter(self._versions)

    def __len__(self) -> int:
        return len(self._versions)


class _Declared(Mapping[str, pl.LazyFrame]):
    """The same tables with their columns of the types that the schema declares."""

    def __init__(self, texts: _Frames) -> None:
        self._texts = texts

    def __getitem__(self, table: str) -> pl.LazyFrame:
        return self._texts[table].with_columns(as_declared(table))

    def __contains__(self, table: object) -> bool:
        return table in self._texts

    def __iter__(self) -> Iterator[str]:
        return iter(self._texts)

    def __len__(self) -> int:
        return len(self._texts)


class _Loads(Sequence[dict[str, Any]]):
    """The loads up to a commit, read when they are first looked at."""

    def __init__(self, lake: Lake, commit: Commit) -> None:
        self._lake, self._commit = lake, commit
        self._rows: list[dict[str, Any]] | None = None

    def _read(self) -> list[dict[str, Any]]:
        if self._rows is None:
            rows = self._lake.loads("number", "load_id", "loaded_at", "timezone", "report")
            assert rows is not None
            known = rows.filter(pl.col("number") <= self._commit.number).to_dicts()
            self._rows = [row | {"report": json.loads(row["report"])} for row in known]
        return self._rows

    @overload
    def __getitem__(self, place: int) -> dict[str, Any]: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[dict[str, Any]]: ...
    def __getitem__(self, place: int | slice) -> Any:
        return self._read()[place]

    def __len__(self) -> int:
        return len(self._read())


def open_store(location: str | PathLike[str], timezone: str = "UTC") -> Store:
    """Open a store in a folder or under a URL; it need not exist before the first `ingest`.

    `timezone` is the zone of instants without an offset in what is loaded, unless `ingest` is given another.
    """
    return Store(fspath(location), timezone)


def load(
    *sources: str | PathLike[str],
    format: str = "auto",
    timezone: str = "UTC",
    collapse_minutes: float | None = None,
    dedupe: str = "exact",
    delivery_field: str | None = None,
) -> Snapshot:
    """Read raw logs and exports into memory, settled and enriched, without keeping a store.

    Options: those of `Store.ingest`. Out: the canonical tables as a `Snapshot`, whose only load holds the report. For
    data that memory holds.
    """
    with tempfile.TemporaryDirectory(prefix="trackkit-") as folder:
        store = Store(f"{folder}/store")
        store.ingest(
            *sources, format=format, timezone=timezone, collapse_minutes=collapse_minutes, dedupe=dedupe,
            delivery_field=delivery_field,
        )  # fmt: skip
        stored = store.snapshot()
        names = list(stored.frames)
        frames = {name: frame.lazy() for name, frame in zip(names, pl.collect_all(stored.frames.values()), strict=True)}
        return Snapshot(frames, stored.as_of, tuple(stored.loads))
