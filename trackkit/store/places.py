"""Where a load works: alone on its store, and with a folder for its rows on their way."""

import hashlib
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from trackkit import schema
from trackkit.errors import RequestError
from trackkit.store.lake import Lake
from trackkit.store.tables import OWN

LOCK_SECONDS = 60  # how long a load waits for another one to end
_STAGING, _LOCK = ".staging", ".lock"
_UNFIT = frozenset("[]%")  # deltalake 1.6 panics on a bracket, and takes what follows a percent sign for a code


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
    if unfit := sorted(_UNFIT.intersection(str(folder.resolve()))):
        raise RequestError(
            f"A store cannot be written in {str(folder)!r}: Delta's library takes no {unfit[0]!r} in a path. "
            "Name another folder."
        )
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
def staging(lake: Lake) -> Iterator[Path]:
    """A place for this load's rows on their way; what an interrupted load left there goes."""
    folder = Path(lake.location) / _STAGING if lake.is_local else Path(tempfile.mkdtemp(prefix="trackkit-"))
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
