"""Renderers of a run: children of the fork server that render one report after another, so that every core is used.

The cells of each report run in a child of their own; a renderer keeps only our own code and its caches.
"""

import contextlib
import os
import queue
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from trackkit.errors import ReportError, TrackkitError
from trackkit.report import fork_server, render

LONGEST = 7_200  # seconds for one report; its cells time out long before


def serve(connection: Connection) -> None:
    """Run a renderer until the connection is closed: a folder and arguments of `render` in, a path or an error out."""
    with contextlib.suppress(EOFError):
        while True:
            folder, arguments = connection.recv()
            try:
                if folder:
                    os.chdir(folder)
                answer: Path | TrackkitError = render(**arguments)
            except TrackkitError as error:
                answer = error
            except Exception as error:  # whatever it is, even a full disk, the next report is rendered
                answer = ReportError(str(error) or type(error).__name__)
            connection.send(answer)


class Renderers:
    """A pool of renderers, as a context manager that ends them; each report waits for a free one.

    Where processes cannot be forked, reports are rendered in the calling threads.
    """

    def __init__(self, count: int) -> None:
        self._free: queue.SimpleQueue[_Renderer] = queue.SimpleQueue()
        self._all = [_Renderer() for _ in range(count)]
        for renderer in self._all:
            self._free.put(renderer)

    def __enter__(self) -> "Renderers":
        fork_server.start()
        return self

    def __exit__(self, *_: object) -> None:
        for renderer in self._all:
            renderer.end()

    def end_idle(self) -> None:
        """End the renderers that are free; each starts again when it is needed."""
        with contextlib.suppress(queue.Empty):
            for _ in self._all:
                renderer = self._free.get_nowait()
                renderer.end()
                self._free.put(renderer)

    def render(self, report: str, store: str, out: Path, at: str | None = None, **arguments: Any) -> Path:
        """Render one report as `trackkit.report.render` does with the same arguments, and return its path.

        Notebooks and templates in the folder `at` win (by default, and without forking: this process's folder). Raises
        as `render` does, and ReportError if the renderer's process ended or hung; other reports are not affected.
        """
        if not fork_server.CAN_FORK:
            return render(report, store, out, **arguments)
        renderer = self._free.get()
        try:
            answer = renderer.answer((at, {"report": report, "store": store, "out": out, **arguments}))
        finally:
            self._free.put(renderer)
        if isinstance(answer, TrackkitError):
            raise answer
        return answer


class _Renderer:
    """One renderer process, started when it is needed, and again if it ended."""

    child: fork_server.Child | None = None

    def answer(self, request: tuple[str | None, dict[str, Any]]) -> Path | TrackkitError:
        if self.child and self.child.is_gone:  # since the last report
            self.end()
        try:
            self.child = self.child or fork_server.Child("trackkit.report.workers")
            self.child.send(request)
            answer: Path | TrackkitError = self.child.receive(time.monotonic() + LONGEST)
            return answer
        except (fork_server.GoneError, OSError) as error:
            self.end()
            return ReportError(f"The report stopped: its process ended ({error or type(error).__name__}).")

    def end(self) -> None:
        if self.child:
            self.child.end()
        self.child = None
