"""The child that runs the cells of one notebook: the IPython shell of kernels, without a kernel around it.

It sends the messages of a kernel in order over one connection, for papermill's client to collect.
"""

import contextlib
import functools
import io
import os
import sys
import threading
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

from ipykernel.compiler import XCachingCompiler
from ipykernel.zmqshell import ZMQInteractiveShell
from jupyter_client.session import Session, json_packer
from traitlets import default
from traitlets.config import Config

from trackkit.report import common
from trackkit.report.notebook import REPORT

FLUSH_SECONDS, FLUSH_LETTERS = 0.2, 65_536


class _Session(Session):
    """Stands in for the shell's connection with clients: sends every message over our one connection."""

    talk: Connection | None = None
    _turn = threading.RLock()  # threads of a cell send too

    @default("session")
    def _one_run(self) -> str:
        return "trackkit"

    def send(self, stream: Any, msg_or_type: Any, content: Any = None, *_: Any, **__: Any) -> None:
        """Send one message: its type and its content."""
        message = msg_or_type if content is None else {"msg_type": msg_or_type, "content": content}
        packed = json_packer({part: message[part] for part in ("msg_type", "content")})
        assert self.talk
        with self._turn:
            self.talk.send(packed)


class _Stream(io.TextIOBase):
    """stdout or stderr of the cells: buffered, and flushed before any other message."""

    def __init__(self, name: str, session: _Session) -> None:
        self.name, self._session = name, session
        self._text: list[str] = []
        self._letters, self._since = 0, 0.0
        self._lock = threading.RLock()

    encoding = "utf-8"

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        """Buffer a text; flush if the buffer is large or old."""
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        with self._lock:
            if not self._text:
                self._since = time.monotonic()
            self._text.append(text)
            self._letters += len(text)
            if self._letters > FLUSH_LETTERS or time.monotonic() - self._since > FLUSH_SECONDS:
                self.flush()
        return len(text)

    def flush(self) -> None:
        """Send what is buffered."""
        with self._lock:
            text, self._text, self._letters = "".join(self._text), [], 0
            if text:
                self._session.send(None, "stream", {"name": self.name, "text": text})


@functools.cache
def shell() -> ZMQInteractiveShell:
    """Return the only shell of this process, created on first use: no start-up files, no history."""
    quiet = Config({"HistoryManager": {"enabled": False}})
    instance = ZMQInteractiveShell.instance(config=quiet, compiler_class=XCachingCompiler)
    for channel in (instance.displayhook, instance.display_pub):
        channel.set_trait("session", _session())
    for name in ("raw_input", "getpass"):
        setattr(instance, name, _no_input)
    return instance


@functools.cache
def _session() -> _Session:
    return _Session(config=Config())


def _no_input(*_: Any, **__: Any) -> str:
    raise RuntimeError("There is nobody to answer: input() is not supported in a report.")


def serve(connection: Connection) -> None:
    """Run the cells that are received until the connection is closed: source in, kernel messages out."""
    ipython, session = shell(), _session()
    session.talk = connection
    prepare: Callable[[], None] = ipython.init_environment
    prepare()
    sys.stdout, sys.stderr = _Stream("stdout", session), _Stream("stderr", session)
    with contextlib.suppress(EOFError):
        _begin(*connection.recv())
        while True:
            _run(ipython, session, connection.recv())


def _begin(handed: bytes, report: str, modules: str | None) -> None:
    """Take over what the renderer knows: shared figures, the report's name, and where its own modules may lie."""
    common.take(handed)
    os.environ[REPORT] = report
    if modules is not None:
        sys.path.insert(0, modules)


def run_once(ipython: ZMQInteractiveShell) -> None:
    """Run an empty cell: the first one is slow."""
    run_cell: Callable[..., Any] = ipython.run_cell
    run_cell("None", silent=True)


def _run(ipython: ZMQInteractiveShell, session: _Session, source: str) -> None:
    run_cell: Callable[..., Any] = ipython.run_cell
    session.send(None, "execute_input", {"code": source, "execution_count": ipython.execution_count})
    result = run_cell(source, store_history=True)
    sys.stdout.flush()
    sys.stderr.flush()
    session.send(None, "execute_reply", {"status": "ok" if result.success else "error"})
