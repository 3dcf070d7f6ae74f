"""Where a load works: alone on its store, and with a folder for its rows on their way.

On one machine writers wait for one another by a lock file. Where machines share nothing but the store, by a lease that
is kept in the log of a Delta table there. Every entry of that log says who holds the store, or that nobody does. An
entry's number can be written once: of two machines that write the next one the store refuses one, be it a bucket or a
folder. The holder adds an entry every few seconds. Whoever sees no new one for `SILENCE`, by its own clock, takes the
holder for dead and the store for free: so clocks need not agree and nobody has to clear anything away. What a dead
holder left behind is undone as ever.
"""

import hashlib
import os
import platform
import random
import secrets
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import polars as pl
from deltalake import CommitProperties, DeltaTable, write_deltalake
from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError
from filelock import FileLock, Timeout

from trackkit import schema
from trackkit.errors import RequestError
from trackkit.store.lake import Lake
from trackkit.store.layout import OWN

LOCK_SECONDS = 60  # how long a load waits for another one to end
_STAGING, _LOCK = ".staging", ".lock"
_UNFIT = frozenset("[]%")  # deltalake 1.6 panics on a bracket, and takes what follows a percent sign for a code
LEASE = ".lease"
BEAT = 5.0  # seconds between two entries of a holder
SILENCE = 30.0  # seconds without an entry after which the holder is taken for dead; less than a load waits
LOOK = 0.25  # seconds between two looks of who waits
_MARGIN = 5.0  # seconds before others may take over, in which a holder begins nothing any more
_ENTRIES = {"delta.checkpointInterval": "50", "delta.logRetentionDuration": "interval 1 hour"}
_last_held = 0.0  # when this process let go of a store


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
            hold = Lease(lake.location, _name_of(own.with_suffix(".machine")))
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
    """Return a name that only this machine with its folder for temporary files has; its lock is held."""
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
    ours = {*schema.TABLES, *OWN, _STAGING, _LOCK, LEASE}
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


class LostError(RequestError):
    """This process was silent for so long that another machine may have taken the store: it must stop."""

    def __init__(self, location: str) -> None:
        super().__init__(
            f"This process gave {location!r} no sign of life for {SILENCE:.0f} seconds, so that another machine may be "
            "writing to it: what was not committed yet is not kept; do it again."
        )


class Lease:
    """The hold of one process on a store under a URL."""

    def __init__(self, location: str, machine: str) -> None:
        self._location, self._machine, self._me = location, machine, secrets.token_hex(8)
        self._until, self._is_taken = 0.0, False
        self._done, self._beating = threading.Event(), threading.Lock()

    def require(self) -> None:
        """Refuse to go on once another machine may have taken the store; one that is only late says that it lives."""
        if self._is_late():
            self._beat()
        if self._is_late():
            raise LostError(self._location)

    def take(self, patience: float) -> None:
        """Wait until the store is free, and take it. Raises RequestError when it is not after so many seconds."""
        # Who waits looks now and then: one that has just let go stands back, else it would always be first.
        time.sleep(min(max(_last_held + 2 * LOOK - time.monotonic(), 0), 2 * LOOK))
        deadline, seen, since = time.monotonic() + patience, -1, 0.0
        while True:
            table, entry = self._look()
            now = time.monotonic()
            if table.version() != seen:
                seen, since = table.version(), now
            # No other process of this machine can hold it: they wait for one another before (`locking.alone`).
            is_free = not entry.get("holder") or entry.get("machine") == self._machine or now - since > SILENCE
            if is_free and self._put(table, self._me):
                return
            if now > deadline:
                raise RequestError(
                    f"Another machine ({entry.get('who')}) has been writing to {self._location!r} for {patience:.0f} "
                    "seconds; wait for it to end, then do this again."
                )
            time.sleep(LOOK * random.uniform(0.7, 1.3))

    def keep(self) -> None:
        """Add entries until let go of (in a thread of its own), or until another machine has taken the store."""
        while not self._done.wait(BEAT) and not self._is_taken:
            with suppress(OSError, DeltaError):  # the store is out of reach for a moment: the next one may get through
                self._beat()

    def _is_late(self) -> bool:
        return time.monotonic() > self._until - _MARGIN

    def _beat(self) -> None:
        with self._beating:
            table = self._table()
            self._is_taken = _last_of(table).get("holder") != self._me
            if self._is_taken or not self._put(table, self._me):
                self._until = 0.0

    def let_go(self) -> None:
        """Say that nobody holds the store, unless another machine took it; what fails here, silence says too."""
        global _last_held
        with suppress(OSError, DeltaError):
            table = self._table()
            if _last_of(table).get("holder") == self._me:
                self._put(table, "")
        _last_held = time.monotonic()

    @contextmanager
    def held(self, patience: float) -> Iterator[Callable[[], None]]:
        """Hold the store; yield what refuses to go on once that is lost."""
        self.take(patience)
        beating = threading.Thread(target=self.keep, daemon=True)
        beating.start()
        try:
            yield self.require
        finally:
            self._done.set()
            beating.join(BEAT)
            self.let_go()

    def _look(self) -> tuple[DeltaTable, dict[str, Any]]:
        """The lease and its last entry. Raises RequestError, with what to do, where it cannot be read."""
        try:
            table = self._table()
            return table, _last_of(table)
        except DeltaError as error:
            message = str(error).strip().split("\n")[0]
            raise RequestError(
                f"{self._location!r} cannot be held for writing ({LEASE} in it: {message}). Name another store or, "
                f"where {LEASE} is damaged, delete it while no machine writes there; nothing else is lost by that."
            ) from error

    def _table(self) -> DeltaTable:
        place = f"{self._location}/{LEASE}"
        with suppress(TableNotFoundError):
            return DeltaTable(place)
        with suppress(CommitFailedError):  # another machine has just made it
            empty = pl.DataFrame(schema={"nothing": pl.Int32})
            write_deltalake(place, empty, mode="ignore", configuration=_ENTRIES)
        return DeltaTable(place)

    def _put(self, table: DeltaTable, holder: str) -> bool:
        """Add the next entry; return whether it was this process that did."""
        began = time.monotonic()
        who = f"{platform.node()}, process {os.getpid()}"
        metadata = {"holder": holder, "machine": self._machine, "who": who}
        properties = CommitProperties(custom_metadata=metadata, max_commit_retries=0)
        try:
            table.create_write_transaction([], mode="append", schema=table.schema(), commit_properties=properties)
        except CommitFailedError:
            return False
        self._until = began + SILENCE if holder else 0.0
        return True


def _last_of(table: DeltaTable) -> dict[str, Any]:
    """The last entry of a lease; one that a power cut left empty names nobody."""
    return next(iter(table.history(1)), {})
