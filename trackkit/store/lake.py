"""Delta tables at the versions that one commit names: what the store is written on.

A canonical table is a Delta table of its name. The large ones are cut into buckets: a bucket is a run of whole
deliveries, in order, and one partition, so that replacing deliveries replaces whole files and reads nothing. The table
`load` makes a transaction of them: its newest row names the version of every other table, and readers open exactly
those. What is newer was never committed.

One load writes at a time (`locking.alone`). Nothing hangs on that but time: each entry in the log of a table names its
load, and what a load commits are versions with none but its own entries since the version it began from. Of two loads
with one number one is refused.
"""

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import polars as pl
from deltalake import CommitProperties, DeltaTable, Transaction, WriterProperties, write_deltalake
from deltalake.exceptions import CommitFailedError, TableNotFoundError

from trackkit import schema
from trackkit.errors import RequestError
from trackkit.store.commits import SEEN, Commit, OvertakenError
from trackkit.store.damage import opened, require_files
from trackkit.store.datafile import BUCKET, ROWS_PER_GROUP, add_files, bounds, files_of
from trackkit.store.sweep import listed, sweep, without_bounds, written_at
from trackkit.store.tables import (
    BY_DELIVERY,
    FENCE,
    LOAD,
    OWN,
    SKIPPING,
    WATERMARK,
    as_declared,
    as_stored,
    stored_schema,
)

ROWS_PER_WRITE = 1_000_000
_LOOKS = 4  # at the newest load, while removals come between


def _require_place(location: str) -> None:
    """Refuse a URL that names no place: `file://store` is a host, `file://` the root, `file:/store` no URL to us."""
    url = urlsplit(location)
    is_cut = "://" not in location and len(url.scheme) > 1 and url.path.startswith("/")
    if is_cut or (url.scheme == "file" and (url.netloc or not url.path.strip("/"))):
        raise RequestError(f"{location!r} names no folder: give its path, or a URL such as 'file:///data/store'.")
    if location.endswith("://") and url.scheme in ("s3", "s3a", "gs", "az", "abfs", "abfss"):
        raise RequestError(f"{location!r} names no bucket; a URL has one, as in 's3://bucket/store'.")


class Lake:
    """The Delta tables of one store, in a folder or under an object-store URL (credentials from the environment)."""

    def __init__(self, location: str) -> None:
        _require_place(location)
        self.location = location if location.endswith("://") else location.rstrip("/")
        self.is_local = "://" not in location
        self.require_hold: Callable[[], None] = lambda: None  # refuses to go on once this process lost the store
        self._writer, self._began, self._loads_began = "", dict[str, int](), 0
        self._needed, self._fenced_at = dict[str, int](), datetime.min
        self._known = dict[str, Collection[str]]()  # files of each table before the fence
        self._told: dict[tuple[str, int], pl.DataFrame] = {}

    @property
    def folder(self) -> Path | None:
        """The folder of the store, where it is in one that this machine sees."""
        if self.is_local:
            return Path(self.location)
        url = urlsplit(self.location)
        if url.scheme != "file":
            return None
        from urllib.request import url2pathname  # loads what speaks HTTP, for which most questions need not wait

        return Path(url2pathname(url.path))

    def open(self, name: str, version: int | None = None) -> DeltaTable:
        """Open a Delta table, by default as it is now, committed or not."""
        return opened(self.location, name, version)

    def begin(self, load_id: str) -> None:
        """Write as this load from now on; what others commit after this moment refuses its commit."""
        self._writer, self._began, self._told = load_id, {}, {}
        self._loads_began = self.open(LOAD).version() if self.exists(LOAD) else 0

    def is_overtaken(self) -> bool:
        """Return whether another load has committed since this one began."""
        return self.exists(LOAD) and self.open(LOAD).version() > self._loads_began

    def _signed(self, number: int | None = None) -> CommitProperties:
        """What each entry of this load carries; `number`, of the commit itself, is given to one load only."""
        transactions = None if number is None else [Transaction(LOAD, number)]
        said = {"load_id": self._writer, SEEN: str(self._loads_began)}
        return CommitProperties(custom_metadata=said, app_transactions=transactions)

    def own_version(self, name: str) -> int:
        """Return the version of a table now, if this load alone has written to it since it began."""
        table = self.open(name)
        version, began = table.version(), self._began.get(name, 0)
        entries = table.history(version - began) if version > began else []
        if any(entry.get("load_id") != self._writer for entry in entries):
            raise OvertakenError(self.location)
        return version

    def exists(self, name: str) -> bool:
        """Return whether the table has been created."""
        return DeltaTable.is_deltatable(f"{self.location}/{name}")

    def last_commit(self) -> Commit | None:
        """Return the newest load, or None where nothing was ever committed."""
        loads = self.loads("number", "load_id", "loaded_at", "timezone", "versions", "settings", newest=True)
        return Commit.of(loads.row(0, named=True)) if loads is not None and loads.height else None

    def loads(self, *columns: str, newest: bool = False) -> pl.DataFrame | None:
        """Return rows of `load` in order, all or the last one, or None where there is no store."""
        for _ in range(_LOOKS):
            with suppress(FileNotFoundError):  # a removal has put another file in its place, and deleted this one
                return self._loads(*columns, newest=newest)
        return self._loads(*columns, newest=newest)

    def _loads(self, *columns: str, newest: bool) -> pl.DataFrame | None:
        try:
            table = self.open(LOAD)
        except TableNotFoundError:
            return None
        files = files_of(table)
        require_files(self.location, LOAD, files)
        if newest and files.height:
            files = files.top_k(1, by="max.number")
        rows = self._rows(LOAD, files).sort("number").select(columns)
        return (rows.tail(1) if newest else rows).collect()

    def set(self, load_id: str, settings: Mapping[str, str]) -> None:
        """Commit the store as it is with other settings."""
        self.begin(load_id)
        rows = self.loads(*OWN[LOAD], newest=True)
        assert rows is not None
        row = rows.row(0, named=True)
        known = Commit.of(row).settings
        report = {"sources": [], "event_types": {}, "ignored_files": {}, "settings": dict(settings)}
        changed = {"number": row["number"] + 1, "load_id": load_id, "settings": json.dumps(known | dict(settings))}
        self.commit(row | changed | {"report": json.dumps(report), "fingerprints": "{}"})

    def marks(self) -> list[str | None]:
        """Return the marks of the keys that pseudonyms were made with, load by load; empty or null without one."""
        loads = self.loads("mark")
        return [] if loads is None else loads["mark"].to_list()

    def scan(self, name: str, version: int, buckets: Collection[int] | None = None) -> pl.LazyFrame:
        """Return the rows of a table at a version, only of some buckets if asked, in order of delivery."""
        return self.stored(name, version, buckets).with_columns(as_declared(name))

    def stored(
        self, name: str, version: int, buckets: Collection[int] | None = None, but: Collection[str] = ()
    ) -> pl.LazyFrame:
        """Return the same rows with their enumerations as they are kept, as text; none of the files left out."""
        files = self._files(name, version)
        files = files.filter(~pl.Series(self._paths(name, files), dtype=pl.String).is_in(list(but))) if but else files
        if buckets is not None:
            files = files.filter(pl.col(f"partition.{BUCKET}").is_in(list(buckets)))
        if name in BY_DELIVERY:
            files = files.sort(pl.col(r"^min\.(delivery|message)_id$"), "path")
        return self._rows(name, files)

    def _rows(self, name: str, files: pl.DataFrame) -> pl.LazyFrame:
        stored = {column: dtype for column, dtype in stored_schema(name).items() if column != BUCKET or name == FENCE}
        if files.is_empty():
            return pl.LazyFrame(schema=stored)
        # polars' own Delta reader would import pyarrow, which takes longer than the whole question. Like it, this hands
        # over the bounds that the log tells, else polars opens every file to find which hold a delivery.
        return pl.scan_parquet(
            self._paths(name, files), schema=stored, glob=False, missing_columns="insert", extra_columns="ignore",
            _table_statistics=bounds(files),
        )  # fmt: skip

    def _paths(self, name: str, files: pl.DataFrame) -> list[str]:
        return [f"{self.location}/{name}/{path}" for path in files["path"]]

    def files(self, name: str, version: int) -> list[str]:
        """Return the files that a table is made of at a version, for who reads them in another way."""
        return self._paths(name, self._files(name, version))

    def _files(self, name: str, version: int) -> pl.DataFrame:
        """What the log tells of the files of a table at a version, which never changes; local ones are all there."""
        if (name, version) not in self._told:
            files = files_of(self.open(name, version))
            require_files(self.location, name, files)
            self._told[name, version] = files
        return self._told[name, version]

    def create(self, name: str) -> int:
        """Create an empty table (version 0)."""
        is_cut = name in BY_DELIVERY
        write_deltalake(
            f"{self.location}/{name}", pl.DataFrame(schema=stored_schema(name)), mode="ignore",
            partition_by=[BUCKET] if is_cut else None, commit_properties=self._signed(),
            configuration={  # a checkpoint every ten commits keeps opening fast
                "delta.checkpointInterval": "10", "delta.dataSkippingStatsColumns": SKIPPING.get(name, ""),
            },
        )  # fmt: skip
        return 0

    def replace(self, name: str, parts: Iterable[pl.DataFrame], buckets: Collection[int]) -> None:
        """Put rows (with `bucket`) in the place of whole buckets; no other file is read or written.

        They come in parts, in order, of which one at a time is in memory.
        """
        if self.is_local:
            self._put(name, parts, buckets)
            return
        how: dict[str, Any] = {"mode": "overwrite", "predicate": _in(buckets)}
        for slice_ in (one for rows in parts if rows.height for one in rows.iter_slices(ROWS_PER_WRITE)):
            self._write(name, slice_, partition_by=[BUCKET], **how)  # which keeps as much again in memory
            how = {"mode": "append"}
        if "predicate" in how:
            self.open(name).delete(_in(buckets), commit_properties=self._signed())

    def _put(self, name: str, parts: Iterable[pl.DataFrame], buckets: Collection[int]) -> None:
        """Put rows in the place of whole buckets, in files written by polars: in half the time of Delta's writer.

        Where the store is under a URL that writer is used: it knows what object stores ask for.
        """
        table, place = self._widened(name), Path(self.location, name)
        added = [each for part in parts for each in add_files(place, as_stored(part, name), SKIPPING[name])]
        if not added:
            table.delete(_in(buckets), commit_properties=self._signed())
            return
        table.create_write_transaction(
            added, mode="overwrite", schema=table.schema(), partition_by=[BUCKET],
            partition_filters=[(BUCKET, "in", [str(int(bucket)) for bucket in buckets])],
            commit_properties=self._signed(),
        )  # fmt: skip

    def _widened(self, name: str) -> DeltaTable:
        """Open a table with every column declared: one from before takes it up, its old rows having null there."""
        known = {field.name for field in self.open(name).schema().fields}
        if not known.issuperset(stored_schema(name)):
            self._write(name, pl.DataFrame(schema=stored_schema(name)), mode="append", partition_by=[BUCKET])
        return self.open(name)

    def overwrite(self, name: str, rows: pl.DataFrame | Iterable[pl.DataFrame]) -> None:
        """Put rows in the place of the whole table; those that come in parts are in memory one part at a time."""
        mode = "overwrite"
        for part in [rows] if isinstance(rows, pl.DataFrame) else rows:
            self._write(name, part, mode=mode)
            mode = "append"

    def commit(self, row: Mapping[str, Any]) -> None:
        """Add the row of a load to `load`: then it counts, unless another load has committed since this one began."""
        if not self.exists(LOAD):
            self.create(LOAD)
        self._commit(pl.DataFrame([row], schema=OWN[LOAD]), "append")

    def commit_all(self, rows: pl.DataFrame) -> None:
        """Put all rows of `load` in the place of those there, on the same condition."""
        self._commit(rows, "overwrite")

    def _commit(self, rows: pl.DataFrame, mode: str) -> None:
        self.require_hold()
        try:
            self._write(LOAD, rows, mode=mode)
        except CommitFailedError as error:
            raise OvertakenError(self.location) from error

    def _write(self, name: str, rows: pl.DataFrame, **how: Any) -> None:
        """Write rows; a table from before a column was declared takes it up, its old rows having null there."""
        properties = WriterProperties(compression="ZSTD", compression_level=1, max_row_group_size=ROWS_PER_GROUP)
        stored = as_stored(rows, name)
        number = rows["number"].max() if name == LOAD else None
        table = self.open(name, self._loads_began) if name == LOAD else self.open(name)
        how |= {"writer_properties": properties, "commit_properties": self._signed(number)}
        write_deltalake(table, stored, schema_mode="merge", **how)

    def recovered(self, commit: Commit | None) -> dict[str, int]:
        """Undo what an interrupted load left behind; return the version of each table now."""
        committed, now = (commit.versions if commit else {}), {}
        for name in self.present():
            table, version = self.open(name), committed.get(name, 0)
            is_other = table.version() != version
            if is_other:
                table.restore(version, commit_properties=self._signed())
            self._began[name] = table.version() - is_other
            if name in committed:
                now[name] = self.own_version(name)
        return now

    def present(self) -> Iterator[str]:
        """Name the tables that were created, committed or not; all but `load`."""
        return (name for name in (*schema.TABLES, FENCE, WATERMARK) if self.exists(name))

    def compact(self, name: str) -> None:
        """Put the rows of many small files into few."""
        self.open(name).optimize.compact(commit_properties=self._signed())
        self.open(name).vacuum(dry_run=False, full=True, commit_properties=self._signed())

    def tidied(self, name: str) -> int:
        """Delete files that no version of the last week needs; return the table's version, all of it this load's."""
        self.open(name).vacuum(dry_run=False, full=True, commit_properties=self._signed())
        return self.own_version(name)

    def fence(self) -> None:
        """Refuse, from now on, the commit of whoever began before: what they wrote and is not committed is nobody's."""
        self.require_hold()
        last, loads = self.last_commit(), self.open(LOAD, self._loads_began)
        assert last is not None
        self._known = {name: listed(f"{self.location}/{name}") for name in (*self.present(), LOAD)}
        try:
            loads.create_write_transaction(
                [], mode="append", schema=loads.schema(), commit_properties=self._signed(last.number)
            )
        except CommitFailedError as error:
            raise OvertakenError(self.location) from error
        loads = self.open(LOAD)
        if loads.history(1)[0].get("load_id") != self._writer:
            raise OvertakenError(self.location)
        self._needed = last.versions | {LOAD: loads.version()}
        self._fenced_at = written_at(f"{self.location}/{LOAD}", loads.version())

    def without_history(self, name: str) -> int:
        """Delete every file from before the fence that the last commit does not need, and return how many.

        Older snapshots are gone then. Whatever versions there are beside the committed one, nobody can commit them; and
        what was written after the fence may be in the way to a commit.
        """
        files = self._files(name, self._needed[name])["path"] if name in self._needed else []
        known = self._known.get(name, ())
        left, gone = sweep(f"{self.location}/{name}", set(files), self._fenced_at, known, self.require_hold)
        if self.folder:
            without_bounds(self.folder / name / "_delta_log", left)
        return gone


def _in(buckets: Collection[int]) -> str:
    return f"{BUCKET} IN ({', '.join(str(int(bucket)) for bucket in buckets)})"
