"""Where a load works: alone on its store, and with a folder for its rows on their way."""

import hashlib
import platform
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from trackkit import schema
from trackkit.errors import RequestError
from trackkit.store import lease
from trackkit.store.lake import Lake
from trackkit.store.tables import OWN

LOCK_SECONDS = 60  # how long a load waits for another one to end
_STAGING, _LOCK = ".staging", ".lock"
_UNFIT = frozenset("[]%")  # deltalake 1.6 panics on a bracket, and takes what follows a percent sign for a code


@contextmanager
def alone(lake: Lake) -> Iterator[None]:
    """Hold the store: loads and removals wait for one another, on one machine by a lock file, on several by a lease.

    The lease lies in a store under a URL. In a folder the lock file does too, so that it does not matter whether that
    is named by its path or by a URL.
    """
    with ExitStack() as held:
        if lake.is_local:
            held.enter_context(_locked(lake, _own_folder(Path(lake.location)) / _LOCK))
        else:
            if lake.folder and not lake.folder.is_dir() and lake.folder.exists():
                raise _no_folder(lake.folder)
            own = Path(tempfile.gettempdir()) / f"trackkit-{hashlib.sha256(lake.location.encode()).hexdigest()[:16]}"
            held.enter_context(_locked(lake, own.with_suffix(".lock")))
            hold = lease.Lease(lake.location, _name_of(own.with_suffix(".machine")))
            lake.require_hold = held.enter_context(hold.held(LOCK_SECONDS))
        if lake.folder and not lake.is_local:
            held.enter_context(_locked(lake, lake.folder / _LOCK))
        yield


@contextmanager
def _locked(lake: Lake, place: Path) -> Iterator[None]:
    try:
        with FileLock(place, timeout=LOCK_SECONDS):
            yield
    except Timeout:
        raise RequestError(
            f"Another load has been writing to {lake.location!r} for {LOCK_SECONDS} seconds; "
            "wait for it to end, then load again."
        ) from None


def _name_of(place: Path) -> str:
    """Return what tells this machine and its folder for temporary files from others; called by who holds its lock."""
    name = place.read_text("utf-8") if place.exists() else ""
    if not name:
        place.write_text(name := secrets.token_hex(8), "utf-8")
    return f"{platform.node()} {name}"


def _own_folder(folder: Path) -> Path:
    """Make sure of the folder; refuse one that holds other things."""
    if unfit := sorted(_UNFIT.intersection(str(folder.resolve()))):
        raise RequestError(
            f"A store cannot be written in {str(folder)!r}: Delta's library takes no {unfit[0]!r} in a path. "
            "Name another folder."
        )
    ours = {*schema.TABLES, *OWN, _STAGING, _LOCK, lease.NAME}
    if folder.is_dir():
        others = sorted(path.name for path in folder.iterdir() if path.name not in ours)
        if others:
            raise RequestError(
                f"{str(folder)!r} holds {others[0]!r}, so it is no store; name a new folder, or one made by trackkit."
            )
    elif folder.exists():
        raise _no_folder(folder)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _no_folder(place: Path) -> RequestError:
    return RequestError(f"{str(place)!r} is a file; a store is a folder or a URL.")


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
