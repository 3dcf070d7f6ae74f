"""A parent process that has imported all that reports need, and forks a child for whoever asks.

Most of a report's time would go into starting Python and importing the plotting libraries. The parent does that once,
and never works: it asks polars nothing, whose threads a child would wait for in vain. Each child has the environment
and the folder of who asked, a socket to talk with them, and nothing of any other child; it is killed when they close,
and all are when the process that started the parent is gone. What may be asked for is listed in ROLES.
"""

import atexit
import contextlib
import gc
import json
import os
import selectors
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
from importlib import import_module
from multiprocessing.connection import wait
from pathlib import Path

ROLES = {"cells": "trackkit.report.shell", "render": "trackkit.report.workers"}  # modules whose serve(talk) a child is
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
        self._parent = socket.socket(socket.AF_UNIX)
        self._parent.connect(_address())
        self._talk, theirs = socket.socketpair()
        with theirs:
            asked = json.dumps({"role": role, "environment": dict(os.environ), "folder": os.getcwd()}).encode()
            socket.send_fds(self._parent, [struct.pack("!I", len(asked))], [theirs.fileno()])
            self._parent.sendall(asked)
        self.pid = struct.unpack("!i", _exactly(self._parent, 4, time.monotonic() + START_SECONDS))[0]

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
            status = struct.unpack("!i", _exactly(self._parent, 4, time.monotonic() + 5))[0]
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
    return _exactly(talk, struct.unpack("!I", _exactly(talk, 4, deadline))[0], deadline)


def _exactly(talk: socket.socket, size: int, deadline: float | None = None) -> bytes:
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
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=os.environ | fixed | {"IPYTHONDIR": str(self.folder)},
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


class _Parent:
    """Forks a child for each client that asks, and holds each pair together: when one is gone, so is the other."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.server = socket.socket(socket.AF_UNIX)
        self.server.bind(path)
        self.server.listen(64)
        self.clients: dict[int, socket.socket] = {}
        self.ended, told = os.pipe()
        for end in (self.ended, told):
            os.set_blocking(end, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(told, warn_on_full_buffer=False)
        self.watch = selectors.DefaultSelector()
        self.watch.register(sys.stdin.buffer, selectors.EVENT_READ, "whoever started us")
        self.watch.register(self.server, selectors.EVENT_READ, "a client")
        self.watch.register(self.ended, selectors.EVENT_READ, "a child ended")

    def serve(self) -> None:
        """Serve until whoever started us is gone; then no child stays behind."""
        while True:
            for key, _ in self.watch.select():
                match key.data:
                    case "whoever started us":
                        for pid in self.clients:
                            os.kill(pid, signal.SIGKILL)
                        return
                    case "a client":
                        self._fork(self.server.accept()[0])
                    case "a child ended":
                        os.read(self.ended, 4096)
                    case pid if pid in self.clients:  # a client says nothing more: it is gone
                        self.watch.unregister(self.clients[pid])
                        os.kill(pid, signal.SIGKILL)
            self._reap()

    def _fork(self, client: socket.socket) -> None:
        deadline = time.monotonic() + 10
        try:
            client.settimeout(10)
            size, (theirs, *_), _, _ = socket.recv_fds(client, 4, 1)
            asked = json.loads(_exactly(client, struct.unpack("!I", size)[0], deadline))
        except (OSError, ValueError, EOFError, struct.error):
            client.close()
            return
        if (pid := os.fork()) == 0:
            self._be_child(asked, client, theirs)
        os.close(theirs)
        with contextlib.suppress(OSError):
            client.sendall(struct.pack("!i", pid))
        self.clients[pid] = client
        self.watch.register(client, selectors.EVENT_READ, pid)

    def _be_child(self, asked: dict, client: socket.socket, theirs: int) -> None:
        """Become the child that was asked for; never return."""
        code = 1
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.default_int_handler)
            self.watch.close()
            for other in (self.server, client, *self.clients.values()):
                other.close()
            _settle(asked["environment"], asked["folder"])
            global _within
            _within = self.path
            import_module(ROLES[asked["role"]]).serve(socket.socket(fileno=theirs))
            code = 0
        finally:
            os._exit(code)

    def _reap(self) -> None:
        with contextlib.suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                client = self.clients.pop(ended[0])
                with contextlib.suppress(KeyError, ValueError):
                    self.watch.unregister(client)
                with contextlib.suppress(OSError):
                    client.sendall(struct.pack("!i", os.waitstatus_to_exitcode(ended[1])))
                client.close()


def _settle(environment: dict[str, str], folder: str) -> None:
    """Take over the environment and the folder of who asked; the standard streams of the parent are not the child's."""
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    nowhere = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(nowhere, standard)


def serve(path: str) -> None:
    """Be the parent, listening at `path`: import, say that it is ready, and fork until whoever started it is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # an interrupt is for whoever started us
    from trackkit.report import warmth

    warmth.warm_up()
    parent = _Parent(path)
    gc.collect()
    gc.freeze()  # a child that collects would copy every page
    print("ready", flush=True)
    parent.serve()
