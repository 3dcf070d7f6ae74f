"""Detect a damaged store, or one from a newer version, before it is used; errors name the file."""

import json
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from urllib.request import url2pathname

import polars as pl
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError, DeltaProtocolError, TableNotFoundError
from polars.exceptions import PolarsError

from trackkit import schema
from trackkit.errors import DataError
from trackkit.store.layout import LOAD, OWN

if TYPE_CHECKING:
    from trackkit.store.lake import Lake

SEEN = "loads"  # metadata of log entries: the version of `load` when the writer began
_MAGIC = b"PAR1"
_NEWER = re.compile(r"unsupported|not supported|(reader|writer) (version|feature)", re.IGNORECASE)


class DamagedError(DataError):
    """Part of a store is lost, truncated or garbled."""

    def __init__(self, location: str, what: str) -> None:
        super().__init__(
            f"The store at {location!r} is damaged: {what}. Put the store back from a copy, or load its sources into "
            "a new one."
        )


class MissingError(DamagedError, FileNotFoundError):
    """A file is missing: lost, or just deleted by a removal, for which callers check and retry."""


class NewerError(DataError):
    """A store was written by a newer version."""

    def __init__(self, location: str, what: str) -> None:
        super().__init__(f"The store at {location!r} was written by a newer trackkit ({what}): update this one.")


def opened(location: str, name: str, version: int | None = None) -> DeltaTable:
    """Open a Delta table; raises TableNotFoundError if nothing was ever loaded, DataError if it is unreadable."""
    folder = Path(url2pathname(urlsplit(location).path) if location.startswith("file:") else location, name)
    try:
        table = DeltaTable(f"{location}/{name}", version=version)
        _require_entries(location, folder, table.version())
        return table
    except TableNotFoundError:
        if name == LOAD and not any(folder.glob("*.parquet")):
            raise
        raise DamagedError(location, f"the table {name!r} is lost, its folder or the log in it") from None
    except DeltaError as error:
        message = _first_line(error)
        if "os error" in message:
            raise
        if isinstance(error, DeltaProtocolError) or _NEWER.search(message):
            raise NewerError(location, f"table {name!r}: {message}") from error
        raise DamagedError(location, f"{_broken(folder, version)} cannot be read ({message})") from error


def _require_entries(location: str, folder: Path, version: int) -> None:
    """Raise DamagedError if a local log entry is empty, as after a power cut: Delta reads it as no change."""
    log = folder / "_delta_log"
    for entry in os.scandir(log) if log.is_dir() else ():
        number, _, rest = entry.name.partition(".")
        if rest == "json" and number.isdigit() and int(number) <= version and not entry.stat().st_size:
            raise DamagedError(location, f"{folder.name}/_delta_log/{entry.name} is empty")


def require_files(location: str, name: str, files: pl.DataFrame) -> None:
    """Raise DamagedError if a file in a local table's log is missing or has another size."""
    if "://" in location:
        return
    for path, size in files.select("path", "size_bytes").iter_rows():
        file = os.path.join(location, name, path)
        size_on_disk = os.stat(file).st_size if os.path.exists(file) else None
        if size_on_disk != size:
            if size_on_disk is None:
                raise MissingError(location, f"its file {name}/{path} is missing")
            raise DamagedError(location, f"its file {name}/{path} is of {size_on_disk:,} bytes instead of {size:,}")


def require_whole(lake: "Lake") -> None:
    """Raise DataError unless every table of the last commit can be opened, and all local files are complete.

    Remote files are not checked: a request for each would take longer than a load.
    """
    commit = lake.last_commit()
    _require_all_loads(lake)
    if commit is None:
        return
    if unknown := sorted(set(commit.versions) - {*schema.TABLES, *OWN}):
        raise NewerError(lake.location, f"it has the table {unknown[0]!r}")
    for name, version in {**commit.versions, LOAD: lake.open(LOAD).version()}.items():
        for path in lake.files(name, version):
            if lake.is_local and not _is_parquet(Path(path)):
                raise DamagedError(lake.location, f"its file {os.path.relpath(path, lake.location)} is no Parquet")


def verify(lake: "Lake") -> int:
    """Read every file of the last commit; return how many there are, or raise DamagedError."""
    commit = lake.last_commit()
    versions = commit.versions if commit else {}
    paths = [path for name, version in versions.items() for path in lake.files(name, version)]
    for path in paths:
        try:
            pl.read_parquet(path, glob=False)
        except (PolarsError, FileNotFoundError) as error:
            relative_path = path.removeprefix(f"{lake.location}/")
            raise DamagedError(
                lake.location, f"its file {relative_path} cannot be read ({_first_line(error)})"
            ) from error
    return len(paths)


def _first_line(error: Exception) -> str:
    """The first line of a library's message; the rest is its stack trace."""
    return str(error).strip().split("\n")[0]


def _require_all_loads(lake: "Lake") -> None:
    """Raise DamagedError if a table's last writer saw a newer version of `load` than there is."""
    versions_seen: dict[str, int] = {}
    for name in lake.present():
        if not (entries := lake.open(name).history(1)):
            raise DamagedError(lake.location, f"the last entry in the log of the table {name!r} is empty")
        versions_seen[name] = int(entries[0].get(SEEN, 0))
    version = lake.open(LOAD).version() if lake.exists(LOAD) else 0  # opened last: a load may finish meanwhile
    for name, seen in versions_seen.items():
        if seen > version:
            raise DamagedError(lake.location, f"the table {name!r} is newer than the list of loads, {LOAD}")


def _is_parquet(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(-len(_MAGIC), os.SEEK_END)
        return file.read() == _MAGIC


def _broken(folder: Path, version: int | None) -> str:
    """Name the file because of which the log of a table cannot be read."""
    log = folder / "_delta_log"
    entries = sorted(path for path in log.glob("*.json") if path.stem.isdigit())
    unreadable = [path for path in entries if not _is_json(path)]
    unreadable += [path for path in sorted(log.glob("*.parquet")) if path.stat().st_size < 12 or not _is_parquet(path)]
    if unreadable:
        return f"{folder.name}/_delta_log/{unreadable[0].name}"
    numbers = {int(path.stem) for path in entries}
    gaps = set(range(min(numbers, default=0), max([*numbers, version or 0]) + 1)) - numbers
    lacks_beginning = not numbers or (min(numbers) and not any(log.glob("*.checkpoint*.parquet")))
    gap = f", of which {0 if lacks_beginning else min(gaps):020}.json is missing," if lacks_beginning or gaps else ""
    return f"the log {folder.name}/_delta_log{gap}"


def _is_json(path: Path) -> bool:
    try:
        return all(isinstance(json.loads(line), dict) for line in path.read_text("utf-8").splitlines() if line)
    except ValueError:
        return False
