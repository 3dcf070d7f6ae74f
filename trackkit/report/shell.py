"""The child that runs the cells of one notebook: IPython's shell of kernels, without a kernel around it.

It says what a kernel would say, over one connection and in order; so papermill's client of kernels can keep it.
"""

import contextlib
import functools
import io
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

FLUSH_SECONDS, FLUSH_LETTERS = 0.2, 65_536


class _Session(Session):
    """What the shell takes for its connection with clients: every message goes over the one connection."""

    talk: Connection | None = None
    _turn = threading.RLock()  # threads of a cell speak too

    @default("session")
    def _one_run(self) -> str:
        return "trackkit"

    def send(self, stream: Any, msg_or_type: Any, content: Any = None, *_: Any, **__: Any) -> None:
        """Say one message: its type and its content."""
        message = msg_or_type if content is None else {"msg_type": msg_or_type, "content": content}
        said = json_packer({part: message[part] for part in ("msg_type", "content")})
        assert self.talk
        with self._turn:
            self.talk.send(said)


class _Stream(io.TextIOBase):
    """stdout or stderr of the cells: gathered, and said before anything else is."""

    def __init__(self, name: str, session: _Session) -> None:
        self.name, self._session = name, session
        self._text: list[str] = []
        self._letters, self._since = 0, 0.0
        self._lock = threading.RLock()

    encoding = "utf-8"

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        """Keep a text, and say it if much or old text is kept."""
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
        """Say what is kept."""
        with self._lock:
            text, self._text, self._letters = "".join(self._text), [], 0
            if text:
                self._session.send(None, "stream", {"name": self.name, "text": text})


@functools.cache
def shell() -> ZMQInteractiveShell:
    """Return the one shell of this process, made on first use: no start-up files, no history."""
    quiet = Config({"HistoryManager": {"enabled": False}})
    made = ZMQInteractiveShell.instance(config=quiet, compiler_class=XCachingCompiler)
    for channel in (made.displayhook, made.display_pub):
        channel.set_trait("session", _session())
    for ask in ("raw_input", "getpass"):
        setattr(made, ask, _no_input)
    return made


@functools.cache
def _session() -> _Session:
    return _Session(config=Config())


def _no_input(*_: Any, **__: Any) -> str:
    raise RuntimeError("There is nobody to answer: input() is not supported in a report.")


def serve(talk: Connection) -> None:
    """Run cell after cell as told, until the connection is closed: source in, messages of a kernel out."""
    running, session = shell(), _session()
    session.talk = talk
    prepare: Callable[[], None] = running.init_environment
    prepare()
    sys.path.insert(0, "")  # as any kernel: modules beside the notebook
    sys.stdout, sys.stderr = _Stream("stdout", session), _Stream("stderr", session)
    with contextlib.suppress(EOFError):
        common.take(talk.recv())
        while True:
            _run(running, session, talk.recv())


def run_once(running: ZMQInteractiveShell) -> None:
    """Run a cell that says nothing, so that the next is not the first."""
    run_cell: Callable[..., Any] = running.run_cell
    run_cell("None", silent=True)


def _run(running: ZMQInteractiveShell, session: _Session, source: str) -> None:
    run_cell: Callable[..., Any] = running.run_cell
    session.send(None, "execute_input", {"code": source, "execution_count": running.execution_count})
    result = run_cell(source, store_history=True)
    sys.stdout.flush()
    sys.stderr.flush()
    session.send(None, "execute_reply", {"status": "ok" if result.success else "error"})
