"""Kernels that start at once: one parent imports what every report needs and forks a child for each.

Most of a report's time would go into starting Python and importing the plotting libraries. The parent imports those
that start no thread (never polars, which does, and could then hang its children), and forks; each child is a kernel of
its own, with its own environment and folder, and nothing runs in two of them. A small client stands for the kernel
where jupyter_client wants a process: it passes signals on, ends when the kernel ends, and when it is killed so is the
kernel. Run as a script, without importing trackkit: `kernels.py serve SOCKET` is the parent, `kernels.py start SOCKET`
a client.
"""

import atexit
import contextlib
import functools
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
from pathlib import Path

AHEAD = ("ipykernel.kernelapp", "altair", "great_tables", "babel.numbers", "pydantic", "lxml.html", "nh3", "tinycss2")
# altair's schema checker would bring it, for addresses that our charts do not hold: a second of imports.
NOT_NEEDED = "rfc3987_syntax"
_STARTING = threading.Lock()


def command(python_path: str) -> list[str]:
    """Return the command of a kernel, to which its own arguments are added; the parent starts with the first."""
    with _STARTING:
        return [sys.executable, "-P", "-S", "-E", __file__, "start", _parent_socket(python_path)]


@functools.cache
def _parent_socket(python_path: str) -> str:
    """Start the parent of kernels once, and return the path of its socket; it ends with this process."""
    folder = tempfile.mkdtemp(prefix="tk-")
    path = str(Path(folder) / "k")
    environment = os.environ | {"PYTHONHASHSEED": "0", "PYTHONPATH": python_path, "OPENBLAS_NUM_THREADS": "1"}
    serving = [sys.executable, "-P", __file__, "serve", path]
    parent = subprocess.Popen(serving, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment)
    assert parent.stdin and parent.stdout
    atexit.register(_end, parent, folder)
    if parent.stdout.readline() != b"ready\n":
        raise RuntimeError("the parent of kernels did not start")
    return path


def _end(parent: subprocess.Popen[bytes], folder: str) -> None:
    with contextlib.suppress(OSError):
        assert parent.stdin
        parent.stdin.close()
        parent.wait(5)
    for left in (Path(folder) / "k", Path(folder)):
        with contextlib.suppress(OSError):
            left.rmdir() if left.is_dir() else left.unlink()


class _Parent:
    """Forks a kernel for each client that asks, and holds each pair together: when one is gone, so is the other."""

    def __init__(self, path: str) -> None:
        self.server = socket.socket(socket.AF_UNIX)
        self.server.bind(path)
        self.server.listen(64)
        self.clients: dict[int, socket.socket] = {}
        self.watch = selectors.DefaultSelector()
        self.watch.register(sys.stdin.buffer, selectors.EVENT_READ, "whoever started us")
        self.watch.register(self.server, selectors.EVENT_READ, "a client")

    def serve(self) -> None:
        """Serve until whoever started us is gone; then no kernel stays behind."""
        while True:
            for key, _ in self.watch.select(timeout=0.05):
                if key.data == "whoever started us":
                    for pid in self.clients:
                        os.kill(pid, signal.SIGKILL)
                    return
                if key.data == "a client":
                    self._fork(self.server.accept()[0])
                else:
                    self._heard(key.data)
            self._reap()

    def _fork(self, client: socket.socket) -> None:
        client.settimeout(10)
        try:
            asked = _received(client)
        except (OSError, ValueError):
            client.close()
            return
        if (pid := os.fork()) == 0:
            self._be_kernel(asked)
        with contextlib.suppress(OSError):
            client.sendall(struct.pack("!i", pid))
        client.settimeout(None)
        self.clients[pid] = client
        self.watch.register(client, selectors.EVENT_READ, pid)

    def _be_kernel(self, asked: dict) -> None:
        """Become the kernel that was asked for; never return."""
        code = 1
        try:
            self.watch.close()
            self.server.close()
            for client in self.clients.values():
                client.close()
            os.environ.clear()
            os.environ.update(asked["environment"])
            os.chdir(asked["folder"])
            nowhere = os.open(os.devnull, os.O_RDWR)
            for standard in (0, 1, 2):  # the parent's are not the kernel's
                os.dup2(nowhere, standard)
            signal.signal(signal.SIGINT, signal.default_int_handler)
            sys.argv = ["kernel", *asked["arguments"]]
            sys.path.insert(0, "")  # as any kernel: modules beside the notebook
            from ipykernel import kernelapp

            kernelapp.launch_new_instance()
            code = 0
        finally:
            os._exit(code)

    def _heard(self, pid: int) -> None:
        """A client passes a signal on, or is gone."""
        try:
            told = self.clients[pid].recv(1)
        except OSError:
            told = b""
        if told:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, told[0])
        else:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def _reap(self) -> None:
        with contextlib.suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                client = self.clients.pop(ended[0], None)
                if client is not None:
                    self.watch.unregister(client)
                    client.close()


def _received(client: socket.socket) -> dict:
    size = struct.unpack("!i", client.recv(4, socket.MSG_WAITALL))[0]
    return json.loads(client.recv(size, socket.MSG_WAITALL))


def _serve(path: str) -> None:
    sys.modules[NOT_NEEDED] = None  # type: ignore[assignment]
    for name in AHEAD:
        __import__(name)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # an interrupt is for whoever started us, and for its kernels by name
    parent = _Parent(path)
    print("ready", flush=True)
    parent.serve()


def _start(path: str, arguments: list[str]) -> None:
    """Ask for a kernel, and stand for it until it is gone."""
    parent = socket.socket(socket.AF_UNIX)
    parent.connect(path)
    # Our parent is not the kernel's: it must not end because it does not find it.
    environment = {name: value for name, value in os.environ.items() if name != "JPY_PARENT_PID"}
    asked = {"arguments": arguments, "environment": environment, "folder": os.getcwd()}
    message = json.dumps(asked).encode()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, _: parent.sendall(bytes([number])))
    parent.sendall(struct.pack("!i", len(message)) + message)
    parent.recv(4, socket.MSG_WAITALL)
    while parent.recv(1):
        pass


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        _serve(sys.argv[2])
    else:
        _start(sys.argv[2], sys.argv[3:])
