"""Renderers of a run: children of the parent that render one report after another, so that every core has work.

A renderer asks for a child of its own for the cells of each report; what stays in it is our own code and its caches.
"""

import contextlib
import json
import os
import queue
import socket
import time
from pathlib import Path
from typing import Any

from trackkit import errors
from trackkit.errors import ReportError, TrackkitError
from trackkit.report import children, render

LONGEST = 7_200  # seconds for one report: its cells end long before


def serve(talk: socket.socket) -> None:
    """Render report after report as told over the socket, until it is closed: arguments of `render` in, answer out."""
    while True:
        try:
            asked = json.loads(children.receive(talk))
        except EOFError:
            return
        try:
            if at := asked.pop("at"):
                os.chdir(at)
            answer = {"path": str(render(**asked))}
        except Exception as error:  # whatever it is, a full disk included, the next report is rendered
            kind = type(error).__name__ if isinstance(error, TrackkitError) else ReportError.__name__
            answer = {"error": kind, "said": str(error) or type(error).__name__}
        children.send(talk, json.dumps(answer).encode())


class Renderers:
    """So many renderers: a context manager that ends them; each report waits for one that is free.

    Where processes cannot be forked, reports are rendered in the threads that ask.
    """

    def __init__(self, count: int) -> None:
        self._free: queue.SimpleQueue[_Renderer] = queue.SimpleQueue()
        self._all = [_Renderer() for _ in range(count)] if hasattr(os, "fork") else []
        for renderer in self._all:
            self._free.put(renderer)

    def __enter__(self) -> "Renderers":
        if self._all:
            children.start()
        return self

    def __exit__(self, *_: object) -> None:
        for renderer in self._all:
            renderer.end()

    def rest(self) -> None:
        """End the renderers that are free; each starts anew when it is needed."""
        with contextlib.suppress(queue.Empty):
            for _ in self._all:
                renderer = self._free.get_nowait()
                renderer.end()
                self._free.put(renderer)

    def render(self, report: str, store: str, out: Path, at: str | None = None, **asked: Any) -> Path:
        """Render one report as `trackkit.report.render` does with the same arguments, and return its path.

        Notebooks and templates in the folder `at` win (by default, and where nothing forks, in that of this process).
        Raises as it does, and ReportError where the process ended or hung, which stands in no other report's way.
        """
        if not self._all:
            return render(report, store, out, **asked)
        renderer = self._free.get()
        try:
            return renderer.render({"report": report, "store": store, "out": str(out), "at": at, **asked})
        finally:
            self._free.put(renderer)


class _Renderer:
    """One process that renders, made when it is needed, and anew when it ended."""

    def __init__(self) -> None:
        self._child: children.Child | None = None

    def render(self, asked: dict[str, Any]) -> Path:
        message = json.dumps(asked).encode()
        if self._child and self._child.is_gone:  # since the last report
            self.end()
        try:
            self._child = self._child or children.Child("render")
            self._child.tell(message)
            answer = json.loads(self._child.hear(time.monotonic() + LONGEST))
        except (children.GoneError, OSError, EOFError, RuntimeError) as error:
            self.end()
            raise ReportError(f"The report stopped: its process ended ({error or type(error).__name__}).") from None
        if "path" in answer:
            return Path(answer["path"])
        kind = getattr(errors, answer["error"], ReportError)
        raise kind(answer["said"])

    def end(self) -> None:
        if self._child:
            self._child.end()
        self._child = None
