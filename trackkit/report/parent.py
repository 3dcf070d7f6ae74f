"""A parent process that has imported all that reports need, and forks a child for whoever asks.

Most of a report's time would go into starting Python and importing the plotting libraries. The parent does that once,
and never works: it asks polars nothing, whose threads a child would wait for in vain. Each child has the environment
and the folder of who asked, a socket to talk with them, and nothing of any other child; it is killed when they close,
and all are when the process that started the parent is gone. What may be asked for is listed in ROLES.
"""

import contextlib
import gc
import json
import os
import selectors
import signal
import socket
import struct
import sys
import time
from importlib import import_module

from trackkit.report import children
from trackkit.startup import begin

ROLES = {"cells": "trackkit.report.shell", "render": "trackkit.report.workers"}  # modules whose serve(talk) a child is


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
            asked = json.loads(children.exactly(client, struct.unpack("!I", size)[0], deadline))
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
            children.come_from(self.path)
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
    begin()
    from trackkit.report import warmth

    warmth.warm_up()
    parent = _Parent(path)
    gc.collect()
    gc.freeze()  # a child that collects would copy every page
    gc.set_threshold(100_000, 50, 100)  # and what a report makes is gone with its child
    print("ready", flush=True)
    parent.serve()
