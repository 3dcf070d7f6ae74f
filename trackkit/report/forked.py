"""papermill's engine "trackkit": the cells of each notebook run in a child forked from a server that is ready.

`papermill --engine trackkit in.ipynb out.ipynb` uses it for any Python notebook. The outputs are those of a kernel,
since the shell of kernels makes them and papermill's own client keeps them; widgets alone keep no state. A cell without
end, or one that kills its process, ends as with a kernel. Where processes cannot be forked (Windows), and for other
languages, papermill's own engine does the work.
"""

import contextlib
import json
import sys
import time
from collections.abc import Callable
from typing import Any

from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from nbformat import NotebookNode
from papermill.clientwrap import PapermillNotebookClient
from papermill.engines import Engine, NBClientEngine, NotebookExecutionManager

from trackkit.report import fork_server
from trackkit.report.fork_server import Child, GoneError

NAME = "trackkit"
FOREVER = 20 * 86_400.0  # seconds; systems wait no longer than 24 days at once
LANGUAGE = {
    "name": "python",
    "version": sys.version.split()[0],
    "mimetype": "text/x-python",
    "file_extension": ".py",
    "codemirror_mode": {"name": "ipython", "version": 3},
    "pygments_lexer": "ipython3",
    "nbconvert_exporter": "python",
}


class ForkedEngine(Engine):  # type: ignore[misc]  # papermill has no types
    """Runs a notebook in a forked child of its own.

    Beside papermill's own options: `run_timeout` (seconds for all cells together) and `begun`, called with the notebook
    before its first cell runs, so that it is at hand however the run ends; `handed`, what `common.packed` returned.
    Raises CellTimeoutError, DeadKernelError.
    """

    @classmethod
    def execute_managed_notebook(
        cls,
        nb_man: NotebookExecutionManager,
        kernel_name: str,
        *,
        begun: Callable[[NotebookNode], None] | None = None,
        run_timeout: float | None = None,
        handed: bytes = b"",
        **options: Any,
    ) -> None:
        """Run the cells; what papermill's own engine would be given is understood, or has no meaning here."""
        if begun:
            begun(nb_man.nb)
        language = nb_man.nb.metadata.get("kernelspec", {}).get("language", "python")
        if not fork_server.CAN_FORK or language != "python":
            NBClientEngine.execute_managed_notebook(nb_man, kernel_name, **options)
            return
        shown = {name: options[name] for name in ("log_output", "stdout_file", "stderr_file") if name in options}
        client = _Client(nb_man, timeout=options.get("execution_timeout"), record_timing=False, **shown)
        client.run(time.monotonic() + (run_timeout or FOREVER), handed)
        nb_man.nb.metadata["language_info"] = LANGUAGE


class _Client(PapermillNotebookClient):  # type: ignore[misc]  # papermill has no types
    """papermill's client of a kernel, which hears a child instead."""

    def run(self, deadline: float, handed: bytes) -> None:
        """Run every cell in a new child, the last of them done at `deadline` of the monotonic clock."""
        self.reset_execution_trackers()
        self.clear_before_next_output = False
        self._deadline, self._child = deadline, Child("trackkit.report.shell")
        try:
            with contextlib.suppress(GoneError):  # the first cell tells it
                self._child.tell(handed)
            self.papermill_execute_cells()
        finally:
            self._child.end()

    def execute_cell(self, cell: NotebookNode, cell_index: int, *_: Any, **__: Any) -> NotebookNode:
        """Run one cell; CellExecutionError when it fails, unless its tags say that it may."""
        skipped = self.skip_cells_with_tag in cell.metadata.get("tags", [])
        if cell.cell_type != "code" or not cell.source.strip() or skipped:
            return cell
        ends = time.monotonic() + (self.timeout or FOREVER)
        try:
            self._child.tell(cell.source)
            failure = self._listen(cell, cell_index, min(ends, self._deadline))
        except TimeoutError:
            if ends > self._deadline:
                raise CellTimeoutError("The time for all cells together is over.") from None
            said = "Cell execution timed out"
            raise CellTimeoutError.error_from_timeout_and_cell(said, self.timeout, cell) from None
        except GoneError as gone:
            raise DeadKernelError(f"Kernel died ({gone})") from None
        if failure and not (self.allow_errors or "raises-exception" in cell.metadata.get("tags", [])):
            raise CellExecutionError.from_cell_and_msg(cell, failure)
        return cell

    def _listen(self, cell: NotebookNode, cell_index: int, ends: float) -> dict[str, Any] | None:
        """Keep what the child says in the cell until it is done; return the error that ended it, if one did."""
        failure = None
        while True:
            message = json.loads(self._child.hear(ends))
            kind = message["msg_type"]
            if kind == "execute_reply":
                failed = message["content"]["status"] == "error"
                return (failure or {"ename": "Error", "evalue": "", "traceback": []}) if failed else None
            if kind == "error":
                failure = message["content"]
            self.process_message({"parent_header": {}, "header": {"msg_type": kind}, **message}, cell, cell_index)
