"""The Delta tables of a store, and the transaction over them.

Each canonical table is a Delta table. The large ones are partitioned by bucket, a run of whole deliveries (`layout`),
so that replacing deliveries replaces whole files without reading any. The table `load` makes them one transaction: its
newest row names the version of every other table, and readers open exactly those; newer versions are uncommitted.

One load writes at a time (`locking.alone`), but correctness does not depend on that: each log entry of a table names
its load, and a load commits a version only if it wrote every entry since the version it began from. Of two loads with
the same number one is refused.
"""

import json
import random
import re
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple, TypeVar
from urllib.parse import urlsplit

import polars as pl
from deltalake import CommitProperties, DeltaTable, Field, Transaction, WriterProperties, write_deltalake
from deltalake import Schema as DeltaSchema
from deltalake.exceptions import CommitFailedError, TableNotFoundError
from deltalake.transaction import AddAction, RemoveAction

from trackkit import schema
from trackkit.errors import RequestError
from trackkit.store.damage import SEEN, NewerError, opened, require_files
from trackkit.store.datafile import ROWS_PER_GROUP, add_files, bounds, files_of
from trackkit.store.layout import (
    BUCKET,
    BY_DELIVERY,
    FENCE,
    FILLED,
    LAYOUT,
    LOAD,
    OWN,
    SKIPPING,
    WATERMARK,
    as_declared,
    as_texts,
    stored_schema,
)

ROWS_PER_WRITE = 1_000_000
ATTEMPTS = 6  # to commit while other loads do
_PAUSE = 1.0  # seconds at most before the second attempt, doubled before each further one
_LOOKS = 4  # attempts to read `load` while removals delete its files
_AT_VERSION = re.compile(r"(.+)@v(\d+)")
T = TypeVar("T")


class OvertakenError(RequestError):
    """Another load wrote at the same time: nothing of this one counts, and it can be repeated."""

    def __init__(self, location: str) -> None:
        super().__init__(
            f"Another load wrote to {location!r} at the same time, and this one lost: nothing was kept; load again."
        )


class Commit(NamedTuple):
    """A row of `load`: one load, the version of every table after it, and the settings of the store."""

    number: int
    load_id: str
    loaded_at: datetime
    versions: dict[str, int]
    settings: dict[str, str]

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> "Commit":
        """Build a commit from a row of `load`."""
        # Stores from before there were settings have the time zone of their last load.
        settings = {"timezone": row["timezone"]} | json.loads(row["settings"] or "{}")
        return cls(row["number"], row["load_id"], row["loaded_at"], json.loads(row["versions"]), settings)

    @property
    def timezone(self) -> str:
        """The platform's time zone."""
        return self.settings["timezone"]


def _require_place(location: str) -> None:
    """Refuse a URL without a folder or bucket: `file://store` is a host, `file://` the root, `file:/store` no URL."""
    url = urlsplit(location)
    is_cut = "://" not in location and len(url.scheme) > 1 and url.path.startswith("/")
    if is_cut or (url.scheme == "file" and (url.netloc or not url.path.strip("/"))):
        raise RequestError(f"{location!r} names no folder: give its path, or a URL such as 'file:///data/store'.")
    if location.endswith("://") and url.scheme in ("s3", "s3a", "gs", "az", "abfs", "abfss"):
        raise RequestError(f"{location!r} names no bucket; a URL has one, as in 's3://bucket/store'.")


def at_version(location: str) -> tuple[str, int | None]:
    """Return where a store is, and the number of the load after which it is asked for (None: the newest).

    >>> at_version("data/store@v12"), at_version("data/store")
    (('data/store', 12), ('data/store', None))
    """
    match = _AT_VERSION.fullmatch(location)
    if match is None or ("://" not in location and Path(location).exists()):
        return location, None
    return match[1], int(match[2])


def pinned(location: str, version: int) -> str:
    """Return the name of a version of a store.

    >>> pinned("data/store", 3), pinned("data/store@v12", 3)
    ('data/store@v3', 'data/store@v3')
    """
    return f"{at_version(location)[0]}@v{version}"


class Lake:
    """The Delta tables of one store, in a folder or under an object-store URL (credentials from the environment).

    `STORE@v12` is the same store as its load 12 left it: earlier versions can be read, as long as their files are
    there, and never written.
    """

    def __init__(self, location: str) -> None:
        _require_place(location)
        location, self.at = at_version(location)
        self.location = location if location.endswith("://") else location.rstrip("/")
        self.is_local = "://" not in location
        self.require_hold: Callable[[], None] = lambda: None  # raises once this process lost the store
        self._writer, self._began, self._loads_began = "", dict[str, int](), 0
        self._listed: dict[tuple[str, int], pl.DataFrame] = {}

    @property
    def folder(self) -> Path | None:
        """The folder of the store, if this machine has it."""
        if self.is_local:
            return Path(self.location)
        url = urlsplit(self.location)
        if url.scheme != "file":
            return None
        from urllib.request import url2pathname  # imports HTTP clients, which most questions do not need

        return Path(url2pathname(url.path))

    def open(self, name: str, version: int | None = None) -> DeltaTable:
        """Open a Delta table, by default its newest version, committed or not."""
        return opened(self.location, name, version)

    def require_newest(self) -> None:
        """Refuse to write to an earlier version."""
        if self.at is not None:
            raise RequestError(f"Version {self.at} of {self.location!r} can only be read: leave '@v{self.at}' out.")

    def begin(self, load_id: str) -> None:
        """Write as this load from now on; a commit by another load makes its own fail."""
        self._writer, self._began, self._listed = load_id, {}, {}
        self._loads_began = self.open(LOAD).version() if self.exists(LOAD) else 0

    def is_overtaken(self) -> bool:
        """Return whether another load has committed since this one began."""
        return self.exists(LOAD) and self.open(LOAD).version() > self._loads_began

    def _signed(self, number: int | None = None) -> CommitProperties:
        """The metadata of this load's log entries; of two loads that commit one `number`, Delta refuses one."""
        transactions = None if number is None else [Transaction(LOAD, number)]
        metadata = {"load_id": self._writer, SEEN: str(self._loads_began)}
        return CommitProperties(custom_metadata=metadata, app_transactions=transactions)

    def own_version(self, name: str) -> int:
        """Return the newest version of a table, if only this load has written to it since it began."""
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
        """Return the newest load, or None if there is none."""
        loads = self.loads("number", "load_id", "loaded_at", "timezone", "versions", "settings", newest=True)
        return self._known(Commit.of(loads.row(0, named=True))) if loads.height else None

    def _known(self, commit: Commit) -> Commit:
        """Refuse what a newer trackkit wrote and this one would read wrongly."""
        if (layout := int(commit.settings.get("layout", "0"))) > LAYOUT:
            raise NewerError(self.location, f"its layout is number {layout}, and this one knows those up to {LAYOUT}")
        return commit

    def loads(self, *columns: str, newest: bool = False) -> pl.DataFrame:
        """Return the rows of `load` in order, all or the last one; empty if there is no store."""
        for _ in range(_LOOKS):
            with suppress(FileNotFoundError):  # a removal has replaced the file
                return self._loads(*columns, newest=newest)
        return self._loads(*columns, newest=newest)

    def _until(self, rows: pl.LazyFrame) -> pl.LazyFrame:
        """The rows of `load` up to the version asked for, which must be among them."""
        if self.at is None:
            return rows
        numbers = rows.select(pl.col("number").max(), is_there=(pl.col("number") == self.at).any()).collect()
        if not numbers["is_there"].item():
            raise RequestError(
                f"The store at {self.location!r} has no version {self.at}; its newest is {numbers['number'].item()}."
            )
        return rows.filter(pl.col("number") <= self.at)

    def _loads(self, *columns: str, newest: bool) -> pl.DataFrame:
        try:
            table = self.open(LOAD)
        except TableNotFoundError:
            return pl.DataFrame(schema={column: OWN[LOAD][column] for column in columns})
        files = files_of(table)
        require_files(self.location, LOAD, files)
        if newest and files.height and self.at is None:
            files = files.top_k(1, by="max.number")
        rows = self._until(self._rows(LOAD, files)).sort("number").select(columns)
        return (rows.tail(1) if newest else rows).collect()

    def set(self, load_id: str, settings: Mapping[str, str]) -> None:
        """Commit changed settings."""
        self.begin(load_id)
        row = self.loads(*OWN[LOAD], newest=True).row(0, named=True)
        settings_before = self._known(Commit.of(row)).settings
        report = {"sources": [], "event_types": {}, "ignored_files": {}, "settings": dict(settings)}
        changed = {
            "number": row["number"] + 1,
            "load_id": load_id,
            "settings": json.dumps(settings_before | dict(settings)),
        }
        self.commit(row | changed | {"report": json.dumps(report), "fingerprints": "{}"})

    def scan(self, name: str, version: int, buckets: Collection[int] | None = None) -> pl.LazyFrame:
        """Return the rows of a table at a version, all or of some buckets, in order of delivery."""
        return self.stored(name, version, buckets).with_columns(as_declared(name))

    def stored(
        self, name: str, version: int, buckets: Collection[int] | None = None, but: Collection[str] = ()
    ) -> pl.LazyFrame:
        """Return the same rows with enumerations as text, without the files in `but`."""
        files = self.listed(name, version)
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
        # polars' own Delta reader imports pyarrow, which takes longer than most questions. Like it, this passes the
        # bounds from the log; otherwise polars opens every file to find a delivery.
        return pl.scan_parquet(
            self._paths(name, files),
            schema=stored,
            glob=False,
            missing_columns="insert",
            extra_columns="ignore",
            _table_statistics=bounds(files),
        )

    def _paths(self, name: str, files: pl.DataFrame) -> list[str]:
        return [f"{self.location}/{name}/{path}" for path in files["path"]]

    def files(self, name: str, version: int) -> list[str]:
        """Return the full paths of a table's files at a version."""
        return self._paths(name, self.listed(name, version))

    def file_names(self, name: str, version: int) -> frozenset[str]:
        """Return the same files relative to the folder of the table."""
        return frozenset(self.listed(name, version)["path"])

    def listed(self, name: str, version: int) -> pl.DataFrame:
        """Return the files of a table at a version, from its log; local ones are checked to exist."""
        if (name, version) not in self._listed:
            files = files_of(self.open(name, version))
            require_files(self.location, name, files)
            self._listed[name, version] = files
        return self._listed[name, version]

    def create(self, name: str) -> int:
        """Create an empty table (version 0); a checkpoint every ten commits keeps opening it fast."""
        settings = {"delta.checkpointInterval": "10", "delta.dataSkippingStatsColumns": SKIPPING.get(name, "")}
        DeltaTable.create(
            f"{self.location}/{name}",
            _with_meanings(name),
            mode="ignore",
            partition_by=[BUCKET] if name in BY_DELIVERY else None,
            commit_properties=self._signed(),
            configuration=settings,
        )
        return 0

    def replace(self, name: str, parts: Iterable[pl.DataFrame], buckets: Collection[int]) -> None:
        """Replace whole buckets by rows (with `bucket`), which come in order, one part in memory at a time."""
        if self.is_local:
            self._put(name, parts, buckets)
            return
        how: dict[str, Any] = {"mode": "overwrite", "predicate": _in(buckets)}
        for batch in (batch for rows in parts if rows.height for batch in rows.iter_slices(ROWS_PER_WRITE)):
            self._write(name, batch, partition_by=[BUCKET], **how)  # deltalake copies the batch in memory
            how = {"mode": "append"}
        if "predicate" in how:
            self.open(name).delete(_in(buckets), commit_properties=self._signed())

    def _put(self, name: str, parts: Iterable[pl.DataFrame], buckets: Collection[int]) -> None:
        """Replace whole buckets of a local table by files that polars writes in half the time of Delta's writer."""
        table, folder = self._widened(name), Path(self.location, name)
        added: list[AddAction | RemoveAction] = []
        for part in parts:
            added += add_files(folder, _as_stored(part, name), SKIPPING[name].split(","))
        if not added:
            table.delete(_in(buckets), commit_properties=self._signed())
            return
        table.create_write_transaction(
            added,
            mode="overwrite",
            schema=table.schema(),
            partition_by=[BUCKET],
            partition_filters=[(BUCKET, "in", [str(int(bucket)) for bucket in buckets])],
            commit_properties=self._signed(),
        )

    def _widened(self, name: str) -> DeltaTable:
        """Open a table, first adding columns that were declared since it was created (null in old rows)."""
        columns = {field.name for field in self.open(name).schema().fields}
        if not columns.issuperset(stored_schema(name)):
            self._write(name, pl.DataFrame(schema=stored_schema(name)), mode="append", partition_by=[BUCKET])
        return self.open(name)

    def overwrite(self, name: str, rows: pl.DataFrame | Iterable[pl.DataFrame]) -> None:
        """Replace the whole table; rows that come in parts are in memory one part at a time."""
        mode = "overwrite"
        for part in [rows] if isinstance(rows, pl.DataFrame) else rows:
            self._write(name, part, mode=mode)
            mode = "append"

    def commit(self, row: Mapping[str, Any]) -> None:
        """Commit a load by adding its row to `load`; fails if another load has committed since this one began."""
        if not self.exists(LOAD):
            self.create(LOAD)
        self._commit(pl.DataFrame([row], schema=OWN[LOAD]), "append")

    def commit_all(self, rows: pl.DataFrame) -> None:
        """Commit by replacing all rows of `load`, on the same condition."""
        self._commit(rows, "overwrite")

    def _commit(self, rows: pl.DataFrame, mode: str) -> None:
        self.require_hold()
        try:
            self._write(LOAD, rows, mode=mode)
        except CommitFailedError as error:
            raise OvertakenError(self.location) from error

    def fenced(self, number: int) -> int:
        """Make the commits of loads that began earlier fail; return the version of `load` that does so."""
        loads = self.open(LOAD, self._loads_began)
        properties = self._signed(number)
        try:
            loads.create_write_transaction([], mode="append", schema=loads.schema(), commit_properties=properties)
        except CommitFailedError as error:
            raise OvertakenError(self.location) from error
        loads = self.open(LOAD)
        if loads.history(1)[0].get("load_id") != self._writer:
            raise OvertakenError(self.location)
        return loads.version()

    def _write(self, name: str, rows: pl.DataFrame, **how: Any) -> None:
        """Write rows, adding columns that were declared since the table was created (null in old rows)."""
        properties = WriterProperties(compression="ZSTD", compression_level=1, max_row_group_size=ROWS_PER_GROUP)
        is_load = name == LOAD
        number = int(rows.select(pl.col("number").max()).item()) if is_load else None
        table = self.open(name, self._loads_began if is_load else None)
        how |= {"writer_properties": properties, "commit_properties": self._signed(number)}
        write_deltalake(table, _as_stored(rows, name), schema_mode="merge", **how)

    def recovered(self, commit: Commit | None) -> dict[str, int]:
        """Roll back what an interrupted load wrote; return the version of each committed table now."""
        committed, versions = (commit.versions if commit else {}), {}
        for name in self.present():
            table, version = self.open(name), committed.get(name, 0)
            is_changed = table.version() != version
            if is_changed:
                table.restore(version, commit_properties=self._signed())
            self._began[name] = table.version() - is_changed
            if name in committed:
                versions[name] = self.own_version(name)
        return versions

    def present(self) -> Iterator[str]:
        """Yield the tables that were created, committed or not, except `load`."""
        return (name for name in (*schema.TABLES, FENCE, WATERMARK) if self.exists(name))

    def compact(self, name: str) -> None:
        """Merge many small files into few."""
        self.open(name).optimize.compact(commit_properties=self._signed())
        self.open(name).vacuum(dry_run=False, full=True, commit_properties=self._signed())

    def tidied(self, name: str) -> int:
        """Delete files that no version of the last week needs; return the table's version (`own_version`)."""
        self.open(name).vacuum(dry_run=False, full=True, commit_properties=self._signed())
        return self.own_version(name)


def _with_meanings(name: str) -> DeltaSchema:
    """The columns of a Delta table, those of the schema with their meanings as comments, which other tools show."""
    stored = DeltaSchema.from_arrow(pl.DataFrame(schema=stored_schema(name)).to_arrow().schema)
    meanings = {each.name: each.comment for each in (schema.TABLES[name].columns if name in schema.TABLES else ())}
    comments = {column: {"comment": words} for column, words in meanings.items()}
    return DeltaSchema([Field(each.name, each.type, metadata=comments.get(each.name)) for each in stored.fields])


def _as_stored(rows: pl.DataFrame, name: str) -> pl.DataFrame:
    """Rows in the columns of their Delta table."""
    columns = stored_schema(name)
    return rows.select(*columns).cast(pl.Schema(columns))


def _in(buckets: Collection[int]) -> str:
    return f"{BUCKET} IN ({', '.join(str(int(bucket)) for bucket in buckets)})"


def among_others(lake: Lake, act: Callable[[], T]) -> T:
    """Run an action that ends in a commit; retry it if another machine committed meanwhile."""
    for attempt in range(ATTEMPTS):
        try:
            return act()
        except (OvertakenError, CommitFailedError) as error:
            overtaken = error if isinstance(error, OvertakenError) else OvertakenError(lake.location)
        except FileNotFoundError:  # deleted by a removal?
            if not lake.is_overtaken():
                raise
            overtaken = OvertakenError(lake.location)
        time.sleep(random.uniform(0, _PAUSE * 2**attempt) if attempt + 1 < ATTEMPTS else 0)
    raise overtaken


@dataclass
class StoredTables:
    """The tables of a store at given versions, as stored; a missing one is empty."""

    lake: Lake
    versions: dict[str, int]

    def has(self, table: str) -> bool:
        """Return whether any load brought this table."""
        return table in self.versions

    def scan(self, table: str, buckets: Sequence[int] | None = None) -> pl.LazyFrame:
        """Return the rows of a table, all or of some buckets, with the store's own column `filled`."""
        if self.has(table):
            return self.lake.stored(table, self.versions[table], buckets)
        return pl.LazyFrame(schema=as_texts(schema.TABLES[table].schema) | {FILLED: pl.Int32()})
