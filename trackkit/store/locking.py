"""One writer at a time, and a staging folder for its rows.

Writers on one machine exclude each other by a lock file. Machines that share only the store do so by a lease, kept in
the log of a Delta table there: each entry names the holder, or nobody. The store accepts each entry number once, so of
two machines that write the next entry one fails, in a bucket as in a folder. The holder adds an entry every few
seconds; whoever sees none for `SILENCE`, by its own clock, takes the holder for dead and the store for free. So clocks
need not agree, nothing needs to be cleared by hand, and the next load rolls back what a dead holder wrote.
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

LOCK_SECONDS = 60  # how long a load waits for another
_STAGING, _LOCK = ".staging", ".lock"
_UNFIT = frozenset("[]%")  # deltalake 1.6 panics on brackets, and decodes percent signs
LEASE = ".lease"
BEAT = 5.0  # seconds between two entries of a holder
SILENCE = 30.0  # seconds without an entry after which the holder counts as dead; less than LOCK_SECONDS
LOOK = 0.25  # seconds between two looks while waiting
_MARGIN = 5.0  # seconds before others may take over, in which a holder starts nothing new
_ENTRIES = {"delta.checkpointInterval": "50", "delta.logRetentionDuration": "interval 1 hour"}
_last_held = 0.0  # when this process last released a store


@contextmanager
def alone(lake: Lake) -> Iterator[None]:
    """Hold the store, by a lock file (in its folder, if it has one) and, if it is named by a URL, a lease."""
    lake.require_newest()
    with ExitStack() as stack:
        if lake.is_local:
            stack.enter_context(_locked(lake, _own_folder(Path(lake.location)) / _LOCK))
        else:
            if lake.folder and not lake.folder.is_dir() and lake.folder.exists():
                raise _no_folder(lake.folder)
            digest = hashlib.sha256(lake.location.encode()).hexdigest()[:16]
            local = Path(tempfile.gettempdir()) / f"trackkit-{digest}"
            stack.enter_context(_locked(lake, local.with_suffix(".lock")))
            lease = Lease(lake.location, _machine_name(local.with_suffix(".machine")))
            lake.require_hold = stack.enter_context(lease.held(LOCK_SECONDS))
        if lake.folder and not lake.is_local:
            stack.enter_context(_locked(lake, lake.folder / _LOCK))
        yield


@contextmanager
def _locked(lake: Lake, file: Path) -> Iterator[None]:
    try:
        with FileLock(file, timeout=LOCK_SECONDS):
            yield
    except Timeout:
        raise RequestError(
            f"Another load has been writing to {lake.location!r} for {LOCK_SECONDS} seconds; "
            "wait for it to end, then load again."
        ) from None


def _machine_name(file: Path) -> str:
    """Return a name unique to this machine and its temporary folder, kept in a file."""
    name = file.read_text("utf-8") if file.exists() else ""
    if not name:
        file.write_text(name := secrets.token_hex(8), "utf-8")
    return f"{platform.node()} {name}"


def _own_folder(folder: Path) -> Path:
    """Create the folder; refuse one that holds other things."""
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


def _no_folder(path: Path) -> RequestError:
    return RequestError(f"{str(path)!r} is a file; a store is a folder or a URL.")


def discard_staging(lake: Lake) -> None:
    """Delete the staged rows of an interrupted load."""
    if lake.is_local:
        shutil.rmtree(Path(lake.location) / _STAGING, ignore_errors=True)


@contextmanager
def staging(lake: Lake) -> Iterator[Path]:
    """Yield an empty folder for this load's rows, deleted afterwards."""
    folder = Path(lake.location) / _STAGING if lake.is_local else Path(tempfile.mkdtemp(prefix="trackkit-"))
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class LostError(RequestError):
    """This process was silent for so long that another machine may hold the store."""

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
        """Raise LostError if another machine may have taken the store; a late holder first tries to renew."""
        if self._is_late():
            self._beat()
        if self._is_late():
            raise LostError(self._location)

    def take(self, patience: float) -> None:
        """Wait until the store is free, and take it; raises RequestError after so many seconds."""
        # Waiting processes only look now and then: who has just released the store gives them a chance.
        time.sleep(min(max(_last_held + 2 * LOOK - time.monotonic(), 0), 2 * LOOK))
        deadline, version, since = time.monotonic() + patience, -1, 0.0
        while True:
            table, entry = self._look()
            now = time.monotonic()
            if table.version() != version:
                version, since = table.version(), now
            # A lease of this machine is free: its processes exclude each other by the lock file.
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
        """Add entries (in a thread) until released, or until another machine has taken the store."""
        while not self._done.wait(BEAT) and not self._is_taken:
            with suppress(OSError, DeltaError):  # unreachable for a moment; the next beat may succeed
                self._beat()

    def _is_late(self) -> bool:
        return time.monotonic() > self._until - _MARGIN

    def _beat(self) -> None:
        with self._beating:
            table = self._table()
            self._is_taken = _last_entry_of(table).get("holder") != self._me
            if self._is_taken or not self._put(table, self._me):
                self._until = 0.0

    def release(self) -> None:
        """Release the store, unless another machine took it; if this fails, the lease expires by itself."""
        global _last_held
        with suppress(OSError, DeltaError):
            table = self._table()
            if _last_entry_of(table).get("holder") == self._me:
                self._put(table, "")
        _last_held = time.monotonic()

    @contextmanager
    def held(self, patience: float) -> Iterator[Callable[[], None]]:
        """Hold the store; yield `require`, which raises once it is lost."""
        self.take(patience)
        beating = threading.Thread(target=self.keep, daemon=True)
        beating.start()
        try:
            yield self.require
        finally:
            self._done.set()
            beating.join(BEAT)
            self.release()

    def _look(self) -> tuple[DeltaTable, dict[str, Any]]:
        """The lease and its last entry; raises RequestError if it cannot be read."""
        try:
            table = self._table()
            return table, _last_entry_of(table)
        except DeltaError as error:
            message = str(error).strip().split("\n")[0]
            raise RequestError(
                f"{self._location!r} cannot be held for writing ({LEASE} in it: {message}). Name another store or, "
                f"where {LEASE} is damaged, delete it while no machine writes there; nothing else is lost by that."
            ) from error

    def _table(self) -> DeltaTable:
        location = f"{self._location}/{LEASE}"
        with suppress(TableNotFoundError):
            return DeltaTable(location)
        with suppress(CommitFailedError):  # another machine has just created it
            empty = pl.DataFrame(schema={"nothing": pl.Int32})
            write_deltalake(location, empty, mode="ignore", configuration=_ENTRIES)
        return DeltaTable(location)

    def _put(self, table: DeltaTable, holder: str) -> bool:
        """Add the next entry; return False if another machine did."""
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


def _last_entry_of(table: DeltaTable) -> dict[str, Any]:
    """The last entry of a lease; {} if a power cut left it empty."""
    return next(iter(table.history(1)), {})
