"""A store that is damaged, or of a newer make: said before it answers, in one sentence that names the file."""

import json
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any
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

SEEN = "loads"  # in each entry of a table's log: how many entries `load` had when its writer began
_MAGIC = b"PAR1"
_NEWER = re.compile(r"unsupported|not supported|(reader|writer) (version|feature)", re.IGNORECASE)


class DamagedError(DataError):
    """Something of a store is lost, cut or garbled."""

    def __init__(self, location: str, what: str) -> None:
        super().__init__(
            f"The store at {location!r} is damaged: {what}. Put the store back from a copy, or load its sources into "
            "a new one."
        )


class MissingError(DamagedError, FileNotFoundError):
    """A file is lost, unless a removal has just deleted it: whoever is asked looks whether one came between."""


class NewerError(DataError):
    """A store was written by something newer than this."""

    def __init__(self, location: str, what: str) -> None:
        super().__init__(f"The store at {location!r} was written by a newer trackkit ({what}): update this one.")


def opened(location: str, name: str, version: int | None = None) -> DeltaTable:
    """Open a Delta table; TableNotFoundError where nothing was ever loaded, DataError where it cannot be read."""
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
        message = _first(error)
        if "os error" in message:
            raise
        if isinstance(error, DeltaProtocolError) or _NEWER.search(message):
            raise NewerError(location, f"table {name!r}: {message}") from error
        raise DamagedError(location, f"{_broken(folder, version)} cannot be read ({message})") from error


def _require_entries(location: str, folder: Path, version: int) -> None:
    """Raise DamagedError where an entry of a log here is empty, as after a power cut: Delta reads it as no change."""
    log = folder / "_delta_log"
    for entry in os.scandir(log) if log.is_dir() else ():
        number, _, rest = entry.name.partition(".")
        if rest == "json" and number.isdigit() and int(number) <= version and not entry.stat().st_size:
            raise DamagedError(location, f"{folder.name}/_delta_log/{entry.name} is empty")


def require_files(location: str, name: str, files: pl.DataFrame) -> None:
    """Raise DamagedError where a file that a local table's log lists is missing, or of another size."""
    if "://" in location:
        return
    for path, size in files.select("path", "size_bytes").iter_rows():
        place = os.path.join(location, name, path)
        size_on_disk = os.stat(place).st_size if os.path.exists(place) else None
        if size_on_disk != size:
            if size_on_disk is None:
                raise MissingError(location, f"its file {name}/{path} is missing")
            raise DamagedError(location, f"its file {name}/{path} is of {size_on_disk:,} bytes instead of {size:,}")


def require_whole(lake: "Lake") -> None:
    """Raise DataError unless every table of the last commit can be opened, and all files of a local one are whole.

    What a store under a URL lacks is found out when it is read: asking for each file would take longer than a load.
    """
    commit = lake.last_commit()
    _require_all_loads(lake)
    if commit is None:
        return
    if unknown := sorted(set(commit.versions) - {*schema.TABLES, *OWN}):
        raise NewerError(lake.location, f"it has the table {unknown[0]!r}")
    for name, version in {**commit.versions, LOAD: lake.open(LOAD).version()}.items():
        for place in lake.files(name, version) if lake.is_local else lake.files(name, version)[:0]:
            if not _is_parquet(Path(place)):
                raise DamagedError(lake.location, f"its file {os.path.relpath(place, lake.location)} is no Parquet")


def verify(lake: "Lake") -> int:
    """Read every file of the last commit; return how many there are, or raise DamagedError."""
    commit = lake.last_commit()
    versions = commit.versions if commit else {}
    places = [place for name, version in versions.items() for place in lake.files(name, version)]
    for place in places:
        try:
            pl.read_parquet(place, glob=False)
        except (PolarsError, FileNotFoundError) as error:
            file = place.removeprefix(f"{lake.location}/")
            raise DamagedError(lake.location, f"its file {file} cannot be read ({_first(error)})") from error
    return len(places)


def _first(error: Exception) -> str:
    """The first line of what a library says: traces of the library follow it."""
    return str(error).strip().split("\n")[0]


def _require_all_loads(lake: "Lake") -> None:
    """Each entry in the log of a table says how many entries `load` had when its writer began: so many it must have."""
    began = {name: int(_last_entry(lake, name).get(SEEN, 0)) for name in lake.present()}
    now = lake.open(LOAD).version() if lake.exists(LOAD) else 0  # read last: a load may end meanwhile
    for name, entries in began.items():
        if entries > now:
            raise DamagedError(lake.location, f"the table {name!r} is newer than the list of loads, {LOAD}")


def _last_entry(lake: "Lake", name: str) -> dict[str, Any]:
    if not (entries := lake.open(name).history(1)):
        raise DamagedError(lake.location, f"the last entry in the log of the table {name!r} is empty")
    return entries[0]


def _is_parquet(place: Path) -> bool:
    with place.open("rb") as file:
        file.seek(-len(_MAGIC), os.SEEK_END)
        return file.read() == _MAGIC


def _broken(folder: Path, version: int | None) -> str:
    """Name the file that keeps the log of a table from being read."""
    log = folder / "_delta_log"
    entries = sorted(path for path in log.glob("*.json") if path.stem.isdigit())
    bad = [path for path in entries if not _is_json(path)]
    bad += [path for path in sorted(log.glob("*.parquet")) if path.stat().st_size < 12 or not _is_parquet(path)]
    if bad:
        return f"{folder.name}/_delta_log/{bad[0].name}"
    numbers = {int(path.stem) for path in entries}
    gaps = set(range(min(numbers, default=0), max([*numbers, version or 0]) + 1)) - numbers
    begins = not numbers or (min(numbers) and not any(log.glob("*.checkpoint*.parquet")))
    lost = f", of which {0 if begins else min(gaps):020}.json is missing," if begins or gaps else ""
    return f"the log {folder.name}/_delta_log{lost}"


def _is_json(path: Path) -> bool:
    try:
        return all(isinstance(json.loads(line), dict) for line in path.read_text("utf-8").splitlines() if line)
    except ValueError:
        return False
