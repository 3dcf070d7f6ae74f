"""Children of the parent of reports, as who asks for them sees them: asked for, told, heard, ended.

The parent (`trackkit.report.parent`) is started once by a process, when it is first needed, and ends with it.
"""

import atexit
import contextlib
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
from multiprocessing.connection import wait
from pathlib import Path

START_SECONDS = 120
LONGEST_FOLDER = 80  # systems allow about 100 letters for the path of a socket
_STARTING = threading.Lock()
_started: "_Started | None" = None
_within: str | None = None  # in a child: the socket of the parent that it comes from


class GoneError(Exception):
    """A child ended before it had answered; the text says how."""


class Child:
    """A child of the parent, as who asked for it sees it: tell, hear, and end, which kills it whatever it does."""

    def __init__(self, role: str) -> None:
        try:
            self._ask(role)
        except (ConnectionError, EOFError):
            if not _parent_ended():
                raise
            self._ask(role)

    def _ask(self, role: str) -> None:
        self._parent = socket.socket(socket.AF_UNIX)
        self._parent.connect(_address())
        self._talk, theirs = socket.socketpair()
        with theirs:
            asked = json.dumps({"role": role, "environment": dict(os.environ), "folder": os.getcwd()}).encode()
            socket.send_fds(self._parent, [struct.pack("!I", len(asked))], [theirs.fileno()])
            self._parent.sendall(asked)
        self.pid = struct.unpack("!i", exactly(self._parent, 4, time.monotonic() + START_SECONDS))[0]

    def tell(self, message: bytes) -> None:
        """Send a message; GoneError when there is nobody to hear it."""
        try:
            send(self._talk, message)
        except OSError:
            raise GoneError(self._fate()) from None

    def hear(self, deadline: float) -> bytes:
        """Return the next message; TimeoutError at `deadline` of the monotonic clock, GoneError when none can come."""
        ready = wait([self._talk, self._parent], max(0.0, deadline - time.monotonic()))
        if not ready:
            raise TimeoutError
        if self._talk not in ready:
            raise GoneError(self._fate())
        try:
            return receive(self._talk, deadline)
        except (EOFError, ConnectionError):
            raise GoneError(self._fate()) from None

    @property
    def is_gone(self) -> bool:
        """Whether it has ended."""
        return bool(wait([self._parent], 0))

    def end(self) -> None:
        """Let go of the child, which is killed if it still runs."""
        self._talk.close()
        self._parent.close()

    def _fate(self) -> str:
        """Say how the child ended, as its parent tells; one without a parent is killed here."""
        try:
            status = struct.unpack("!i", exactly(self._parent, 4, time.monotonic() + 5))[0]
        except (OSError, EOFError):
            with contextlib.suppress(OSError):
                os.kill(self.pid, signal.SIGKILL)
            return "its parent process ended"
        return f"signal {-status}" if status < 0 else f"exit code {status}"


def send(talk: socket.socket, message: bytes) -> None:
    """Send one message, preceded by its length."""
    talk.settimeout(None)
    talk.sendall(struct.pack("!I", len(message)) + message)


def receive(talk: socket.socket, deadline: float | None = None) -> bytes:
    """Return one message; EOFError when the other end is closed, TimeoutError at the deadline."""
    return exactly(talk, struct.unpack("!I", exactly(talk, 4, deadline))[0], deadline)


def exactly(talk: socket.socket, size: int, deadline: float | None = None) -> bytes:
    """Return so many bytes; EOFError when the other end is closed, TimeoutError at the deadline."""
    buffer, got = bytearray(size), 0
    while got < size:
        talk.settimeout(None if deadline is None else max(0.001, deadline - time.monotonic()))
        if (count := talk.recv_into(memoryview(buffer)[got:])) == 0:
            raise EOFError
        got += count
    return bytes(buffer)


class _Started:
    """The parent that this process started: it ends with it."""

    def __init__(self) -> None:
        kept = tempfile.gettempdir()
        self.folder = Path(tempfile.mkdtemp(prefix="tk-", dir="/tmp" if len(kept) > LONGEST_FOLDER else None))
        self.path, self._ready = str(self.folder / "p"), False
        package = str(Path(__file__).resolve().parents[2])
        paths = os.pathsep.join([package, *filter(None, [os.environ.get("PYTHONPATH")])])
        fixed = {
            "PYTHONPATH": paths,
            "PYTHONHASHSEED": "0",
            "OPENBLAS_NUM_THREADS": "1",
            "IPYTHONDIR": str(self.folder),
        }
        code = "import sys; from trackkit.report.parent import serve; serve(sys.argv[1])"
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-c", code, self.path],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=os.environ | fixed,
        )  # fmt: skip
        self._lock = threading.Lock()
        atexit.register(self.end)

    def address(self) -> str:
        """Return where it listens, as soon as it does."""
        assert self.process.stdout
        with self._lock:
            if not self._ready and self.process.stdout.readline() != b"ready\n":
                raise RuntimeError("the parent of reports did not start")
            self._ready = True
        return self.path

    def end(self) -> None:
        """Let it end, and its children with it."""
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):
            assert self.process.stdin
            self.process.stdin.close()
            self.process.wait(5)
        for left in sorted(self.folder.rglob("*"), reverse=True):
            with contextlib.suppress(OSError):
                left.rmdir() if left.is_dir() else left.unlink()
        with contextlib.suppress(OSError):
            self.folder.rmdir()


def start() -> None:
    """Start the parent if it does not run, without waiting until it is ready; nothing where none can fork."""
    global _started
    if _within or not hasattr(os, "fork"):
        return
    with _STARTING:
        if _started is None or _started.process.poll() is not None:
            _started = _Started()


def _address() -> str:
    """Return where the parent listens, as soon as it does."""
    if _within:
        return _within
    start()
    assert _started
    return _started.address()


def _parent_ended() -> bool:
    """Return whether the parent that this process started ends, so that another can be started."""
    if _within or _started is None:
        return False
    with contextlib.suppress(subprocess.TimeoutExpired):
        _started.process.wait(5)
    return _started.process.poll() is not None


def is_renderer() -> bool:
    """Return whether this process is itself a child that asks for others."""
    return _within is not None


def come_from(path: str) -> None:
    """Say, in a child, that its own children come from the same parent, which listens at `path`."""
    global _within
    _within = path
