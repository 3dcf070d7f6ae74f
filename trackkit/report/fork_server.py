"""A process that has imported all that reports need, and forks a fresh one for whoever asks: both ends of it.

Starting Python and importing the plotting libraries would be most of a report's time. The server does it once, from
what is shipped and not from an analyst's folder, and then never works: it asks polars nothing, whose threads a child
would wait for in vain. A child takes over the environment, folder and search path of who asked for it, and talks with
them. It is killed when they let go of it or are gone, and all are when the process that started the server is.

multiprocessing's own fork server does not fit: it runs the user's script again in each child, is refused to a daemon
(a worker of dask), imports from the current folder, is shared with all else that the user's process does, and breaks
where that forks; its children outlive an asker that was killed.
"""

import atexit
import contextlib
import gc
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from importlib import import_module
from multiprocessing import reduction
from multiprocessing.connection import Client, Connection, Pipe, wait
from pathlib import Path
from typing import Any, NoReturn

import trackkit
from trackkit.startup import begin

CAN_FORK = hasattr(os, "fork")  # not on Windows: there a kernel runs the cells
SECONDS, ASK_SECONDS = 5, 30  # for what takes no time; for asking, meanwhile others wait
LONGEST_FOLDER = 80  # systems allow about 100 letters for the path of a socket
_STARTING = threading.Lock()
_server: "_Server | None" = None  # that this process started
_address = ""  # in a child: where the server that it comes from listens


class GoneError(RuntimeError):
    """A child ended before it had answered, or could not be had; the text says how."""


class Child:
    """A fresh process that runs `serve(connection)` of a module; whoever asked for it tells, hears, and ends it."""

    def __init__(self, module: str) -> None:
        self._talk, theirs = Pipe()
        taken_over = dict(os.environ), os.getcwd(), sys.path
        try:
            self._life = Client(_where())  # tells the pid, then the exit code; when we close it, the child is killed
            with theirs:
                reduction.send_handle(self._life, theirs.fileno(), None)
                self._life.send((module, *taken_over))
                self.pid: int = self._life.recv()
        except (OSError, EOFError):
            raise GoneError(_server_ended()) from None

    def tell(self, message: Any) -> None:
        """Send a message; GoneError when there is nobody to hear it."""
        try:
            self._talk.send(message)
        except OSError:
            raise GoneError(self._fate()) from None

    def hear(self, deadline: float) -> Any:
        """Return the next message; TimeoutError at `deadline` of the monotonic clock, GoneError when none can come."""
        ready = wait([self._talk, self._life], max(0.0, deadline - time.monotonic()))
        if not ready:
            raise TimeoutError
        with contextlib.suppress(OSError, EOFError):
            if self._talk in ready:
                return self._talk.recv()
        raise GoneError(self._fate())

    @property
    def is_gone(self) -> bool:
        """Whether it has ended."""
        return self._life.poll()

    def end(self) -> None:
        """Let go of the child, which is killed if it still runs."""
        self._talk.close()
        self._life.close()

    def _fate(self) -> str:
        try:
            code = self._life.recv() if self._life.poll(SECONDS) else 0
        except (OSError, EOFError):
            with contextlib.suppress(OSError):
                os.kill(self.pid, signal.SIGKILL)
            return _server_ended()
        return f"signal {-code}" if code < 0 else f"exit code {code}"


class _Server:
    """The server that this process started; it ends with it, and its children too."""

    def __init__(self) -> None:
        package = str(Path(trackkit.__file__).resolve().parents[1])
        search_path = [*([] if package in sys.path else [package]), *filter(os.path.isabs, sys.path)]
        settled = {"PYTHONPATH": os.pathsep.join(search_path), "PYTHONHASHSEED": "0", "OPENBLAS_NUM_THREADS": "1"}
        command = [sys.executable, "-P", "-c", f"from {__name__} import serve; serve()"]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=os.environ | settled
        )
        self._address, self._lock = "", threading.Lock()
        atexit.register(self._end)

    def address(self) -> str:
        """Return where it listens, as soon as it does."""
        assert self.process.stdout
        with self._lock:
            self._address = self._address or self.process.stdout.readline().rstrip("\n")
        if not self._address:
            raise GoneError("the fork server of reports did not start")
        return self._address

    def _end(self) -> None:
        assert self.process.stdin and self.process.stdout
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):
            self.process.stdin.close()
            self.process.stdout.close()
            self.process.wait(SECONDS)


def start() -> None:
    """Start the server if it does not run, without waiting until it is ready; nothing where none can fork."""
    global _server
    with _STARTING:
        if CAN_FORK and not _address and (_server is None or _server.process.poll() is not None):
            _server = _Server()


def is_child() -> bool:
    """Return whether this process is itself a child, which asks the same server for others."""
    return bool(_address)


def _where() -> str:
    start()
    return _address or _server.address()  # type: ignore[union-attr]


def _server_ended() -> str:
    """Say that the server ended; where we started it, wait until it is so, since then another is started."""
    if _server and not _address:
        with contextlib.suppress(subprocess.TimeoutExpired):
            _server.process.wait(SECONDS)
    return "the fork server of reports ended"


def serve() -> None:
    """Be the server: import, say where we listen, fork until whoever started us is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # an interrupt is for whoever started us
    usual = tempfile.gettempdir()
    with tempfile.TemporaryDirectory(prefix="tk-", dir="/tmp" if len(usual) > LONGEST_FOLDER else None) as folder:
        os.chdir(folder)  # where no file of an analyst's wins
        os.environ["IPYTHONDIR"] = folder
        begin()
        import_module("trackkit.report.preload").preload()
        gc.collect()
        gc.freeze()  # a child that collects would copy every page
        gc.set_threshold(100_000, 50, 100)  # and what a report makes is gone with its child
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(f"{folder}/p")
            listener.listen(64)
            print(listener.getsockname(), flush=True)
            _fork_and_reap(listener)
        os.chdir(os.pardir)


def _fork_and_reap(listener: socket.socket) -> None:
    askers: dict[int, Connection] = {}  # of each child that lives: who asked for it
    woken, wakes = socket.socketpair()
    for end in (woken, wakes):
        end.setblocking(False)
    signal.signal(signal.SIGCHLD, lambda *_: None)  # a child that ends wakes us
    signal.set_wakeup_fd(wakes.fileno(), warn_on_full_buffer=False)
    starter = sys.stdin.fileno()  # at its end when whoever started us is gone
    while starter not in (ready := wait([starter, listener, woken, *askers.values()])):
        if woken in ready:
            woken.recv(4096)
        for pid in [pid for pid, asker in askers.items() if asker in ready]:  # it has nothing to say: it is gone
            os.kill(pid, signal.SIGKILL)
            askers.pop(pid).close()
        with contextlib.suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                with contextlib.suppress(OSError), askers.pop(ended[0], contextlib.nullcontext()) as asker:
                    if asker:
                        asker.send(os.waitstatus_to_exitcode(ended[1]))
        if listener in ready:
            _fork(Connection(listener.accept()[0].detach()), listener, askers)
    signal.set_wakeup_fd(-1)
    for pid in askers:
        os.kill(pid, signal.SIGKILL)


def _fork(asker: Connection, listener: socket.socket, askers: dict[int, Connection]) -> None:
    """Fork the child that is asked for, unless whoever asks is gone."""
    try:
        if not asker.poll(ASK_SECONDS):
            raise EOFError
        talk, asked = Connection(reduction.recv_handle(asker)), asker.recv()
        pid = os.fork()
    except (OSError, EOFError, RuntimeError):
        asker.close()
        return
    if pid == 0:
        for other in (asker, *askers.values()):
            other.close()
        _be_child(talk, listener, *asked)
    talk.close()
    askers[pid] = asker
    with contextlib.suppress(OSError):
        asker.send(pid)


def _be_child(
    talk: Connection, listener: socket.socket, module: str, environment: dict[str, str], folder: str, path: list[str]
) -> NoReturn:
    """Be where who asked is, and do what they ask for; the standard streams of the server are not ours."""
    global _address
    code = 1
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        _address = listener.getsockname()
        listener.close()
        os.environ.clear()
        os.environ.update(environment)
        os.chdir(folder)
        sys.path[:] = path
        nowhere = os.open(os.devnull, os.O_RDWR)
        for standard in (0, 1, 2):
            os.dup2(nowhere, standard)
        import_module(module).serve(talk)
        code = 0
    finally:
        os._exit(code)
