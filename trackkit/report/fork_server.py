"""A server process that has imported all that reports need and forks a fresh child on request; and its client.

Starting Python and importing the plotting libraries would take most of a report's time. The server does it once, from
the shipped files and not from an analyst's folder, and never computes anything: polars would start threads, which a
forked child would wait for in vain. A child takes over the environment, working folder and search path of its client.
It is killed when the client closes it or ends; all children are killed when the process that started the server ends.

multiprocessing's own fork server does not fit: it runs the user's script again in each child, is not allowed in daemons
(dask workers), imports from the working folder, is shared with everything else that the user's process does, and breaks
if that process forks; its children outlive a client that was killed.
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
from trackkit.project import VARIABLE
from trackkit.startup import begin

CAN_FORK = hasattr(os, "fork")  # not on Windows: there a kernel runs the cells
SECONDS, ASK_SECONDS = 5, 30  # for what takes no time; for a client's request, while other clients wait
LONGEST_FOLDER = 80  # systems allow about 100 letters for the path of a socket
_STARTING = threading.Lock()
_server: "_Server | None" = None  # started by this process
_address = ""  # in a child: the address of its server


class GoneError(RuntimeError):
    """A child ended before it answered, or could not be started; the message says how."""


class Child:
    """A fresh process that runs `serve(connection)` of a module: its client sends, receives, and ends it."""

    def __init__(self, module: str) -> None:
        self._talk, child_end = Pipe()
        context = dict(os.environ), os.getcwd(), sys.path
        try:
            self._life = Client(_server_address())  # receives the pid, then the exit code; closing it kills the child
            with child_end:
                reduction.send_handle(self._life, child_end.fileno(), None)
                self._life.send((module, *context))
                self.pid: int = self._life.recv()
        except (OSError, EOFError):
            raise GoneError(_server_ended()) from None

    def send(self, message: Any) -> None:
        """Send a message; GoneError if the child has ended."""
        try:
            self._talk.send(message)
        except OSError:
            raise GoneError(self._how_it_ended()) from None

    def receive(self, deadline: float) -> Any:
        """Return the next message; TimeoutError at `deadline` (monotonic clock), GoneError if the child has ended."""
        ready = wait([self._talk, self._life], max(0.0, deadline - time.monotonic()))
        if not ready:
            raise TimeoutError
        with contextlib.suppress(OSError, EOFError):
            if self._talk in ready:
                return self._talk.recv()
        raise GoneError(self._how_it_ended())

    @property
    def is_gone(self) -> bool:
        """Whether it has ended."""
        return self._life.poll()

    def end(self) -> None:
        """Close the connection; the server kills the child if it still runs."""
        self._talk.close()
        self._life.close()

    def _how_it_ended(self) -> str:
        try:
            code = self._life.recv() if self._life.poll(SECONDS) else 0
        except (OSError, EOFError):
            with contextlib.suppress(OSError):
                os.kill(self.pid, signal.SIGKILL)
            return _server_ended()
        return f"signal {-code}" if code < 0 else f"exit code {code}"


class _Server:
    """The server started by this process; it and its children end with this process."""

    def __init__(self) -> None:
        package = str(Path(trackkit.__file__).resolve().parents[1])
        search_path = [*([] if package in sys.path else [package]), *filter(os.path.isabs, sys.path)]
        environment = {"PYTHONPATH": os.pathsep.join(search_path), "PYTHONHASHSEED": "0", "OPENBLAS_NUM_THREADS": "1"}
        environment[VARIABLE] = ""  # no project: a child takes its client's
        command = [sys.executable, "-P", "-c", f"from {__name__} import serve; serve()"]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=os.environ | environment
        )
        self._address, self._lock = "", threading.Lock()
        atexit.register(self._end)

    def address(self) -> str:
        """Return the address of the server, as soon as it listens."""
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
    """Start the server if needed, without waiting until it is ready; do nothing where processes cannot fork."""
    global _server
    with _STARTING:
        if CAN_FORK and not _address and (_server is None or _server.process.poll() is not None):
            _server = _Server()


def is_child() -> bool:
    """Return whether this process is itself a child, which uses the same server for its own children."""
    return bool(_address)


def _server_address() -> str:
    start()
    return _address or _server.address()  # type: ignore[union-attr]


def _server_ended() -> str:
    """Return the message that the server ended; if we started it, wait for its end, so that another can be started."""
    if _server and not _address:
        with contextlib.suppress(subprocess.TimeoutExpired):
            _server.process.wait(SECONDS)
    return "the fork server of reports ended"


def serve() -> None:
    """Run the server: import, print its address, fork children until the process that started it ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # an interrupt is for the process that started us
    default = tempfile.gettempdir()
    with tempfile.TemporaryDirectory(prefix="tk-", dir="/tmp" if len(default) > LONGEST_FOLDER else None) as folder:
        os.chdir(folder)  # an empty folder: no analyst's file is imported
        os.environ["IPYTHONDIR"] = folder
        begin()
        import_module("trackkit.report.preload").preload()
        gc.collect()
        gc.freeze()  # else a collection in a child would copy every memory page
        gc.set_threshold(100_000, 50, 100)  # fewer collections: all memory is freed with the child
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(f"{folder}/p")
            listener.listen(64)
            print(listener.getsockname(), flush=True)
            _fork_and_reap(listener)
        os.chdir(os.pardir)


def _fork_and_reap(listener: socket.socket) -> None:
    clients: dict[int, Connection] = {}  # of each running child, by pid
    wake_reader, wake_writer = socket.socketpair()
    for end in (wake_reader, wake_writer):
        end.setblocking(False)
    signal.signal(signal.SIGCHLD, lambda *_: None)  # the end of a child interrupts `wait`
    signal.set_wakeup_fd(wake_writer.fileno(), warn_on_full_buffer=False)
    parent = sys.stdin.fileno()  # readable (at its end) when the process that started us has ended
    while parent not in (ready := wait([parent, listener, wake_reader, *clients.values()])):
        if wake_reader in ready:
            wake_reader.recv(4096)
        for pid in [pid for pid, client in clients.items() if client in ready]:  # gone: clients send nothing
            os.kill(pid, signal.SIGKILL)
            clients.pop(pid).close()
        with contextlib.suppress(ChildProcessError):
            while (exited := os.waitpid(-1, os.WNOHANG))[0]:
                with contextlib.suppress(OSError), clients.pop(exited[0], contextlib.nullcontext()) as client:
                    if client:
                        client.send(os.waitstatus_to_exitcode(exited[1]))
        if listener in ready:
            _fork(Connection(listener.accept()[0].detach()), listener, clients)
    signal.set_wakeup_fd(-1)
    for pid in clients:
        os.kill(pid, signal.SIGKILL)


def _fork(client: Connection, listener: socket.socket, clients: dict[int, Connection]) -> None:
    """Fork a child for a client, unless the client is gone."""
    try:
        if not client.poll(ASK_SECONDS):
            raise EOFError
        connection, request = Connection(reduction.recv_handle(client)), client.recv()
        pid = os.fork()
    except (OSError, EOFError, RuntimeError):
        client.close()
        return
    if pid == 0:
        for other in (client, *clients.values()):
            other.close()
        _run_child(connection, listener, *request)
    connection.close()
    clients[pid] = client
    with contextlib.suppress(OSError):
        client.send(pid)


def _run_child(
    talk: Connection, listener: socket.socket, module: str, environment: dict[str, str], folder: str, path: list[str]
) -> NoReturn:
    """Take over the client's environment and run its module; the server's standard streams are not for the child."""
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
        null = os.open(os.devnull, os.O_RDWR)
        for descriptor in (0, 1, 2):
            os.dup2(null, descriptor)
        import_module(module).serve(talk)
        code = 0
    finally:
        os._exit(code)
