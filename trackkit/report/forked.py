"""papermill's engine "trackkit": the cells of each notebook run in a child forked from a server that is ready.

`papermill --engine trackkit in.ipynb out.ipynb` uses it for any Python notebook. The outputs are those of a kernel,
since the kernels' shell makes them and papermill's own client collects them; only the state of widgets is not saved. A
cell that never ends, or kills its process, ends as with a kernel. Where processes cannot be forked (Windows), and for
other languages, papermill's own engine is used.
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
FOREVER = 20 * 86_400.0  # seconds; systems wait at most 24 days at once
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

    Options beside papermill's own: `run_timeout` (seconds for all cells together); `begun`, called with the notebook
    before its first cell runs, so that the caller has it however the run ends; `handed`, the result of `common.packed`;
    `report`, the name of the report that the cells are of; `modules`, the folder whose modules they may import first
    (by default, as in any kernel, the working folder; None: no such folder). Raises CellTimeoutError, DeadKernelError.
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
        report: str = "",
        modules: str | None = "",
        **options: Any,
    ) -> None:
        """Run the cells; options of papermill's own engine are honoured, or have no meaning here."""
        if begun:
            begun(nb_man.nb)
        language = nb_man.nb.metadata.get("kernelspec", {}).get("language", "python")
        if not fork_server.CAN_FORK or language != "python":
            NBClientEngine.execute_managed_notebook(nb_man, kernel_name, **options)
            return
        outputs = {name: options[name] for name in ("log_output", "stdout_file", "stderr_file") if name in options}
        client = _Client(nb_man, timeout=options.get("execution_timeout"), record_timing=False, **outputs)
        client.run(time.monotonic() + (run_timeout or FOREVER), (handed, report, modules))
        nb_man.nb.metadata["language_info"] = LANGUAGE


class _Client(PapermillNotebookClient):  # type: ignore[misc]  # papermill has no types
    """papermill's client of a kernel, connected to a child instead."""

    def run(self, deadline: float, begin: tuple[bytes, str, str | None]) -> None:
        """Run all cells in a new child until `deadline` of the monotonic clock."""
        self.reset_execution_trackers()
        self.clear_before_next_output = False
        self._deadline, self._child = deadline, Child("trackkit.report.shell")
        try:
            with contextlib.suppress(GoneError):  # the first cell raises it again
                self._child.send(begin)
            self.papermill_execute_cells()
        finally:
            self._child.end()

    def execute_cell(self, cell: NotebookNode, cell_index: int, *_: Any, **__: Any) -> NotebookNode:
        """Run one cell; CellExecutionError when it fails, unless its tags say that it may."""
        is_skipped = self.skip_cells_with_tag in cell.metadata.get("tags", [])
        if cell.cell_type != "code" or not cell.source.strip() or is_skipped:
            return cell
        cell_deadline = time.monotonic() + (self.timeout or FOREVER)
        try:
            self._child.send(cell.source)
            failure = self._listen(cell, cell_index, min(cell_deadline, self._deadline))
        except TimeoutError:
            if cell_deadline > self._deadline:
                raise CellTimeoutError("The time for all cells together is over.") from None
            message = "Cell execution timed out"
            raise CellTimeoutError.error_from_timeout_and_cell(message, self.timeout, cell) from None
        except GoneError as gone:
            raise DeadKernelError(f"Kernel died ({gone})") from None
        if failure and not (self.allow_errors or "raises-exception" in cell.metadata.get("tags", [])):
            raise CellExecutionError.from_cell_and_msg(cell, failure)
        return cell

    def _listen(self, cell: NotebookNode, cell_index: int, deadline: float) -> dict[str, Any] | None:
        """Collect the child's messages in the cell until it is done; return the error that ended it, if any."""
        failure = None
        while True:
            message = json.loads(self._child.receive(deadline))
            kind = message["msg_type"]
            if kind == "execute_reply":
                is_error = message["content"]["status"] == "error"
                return (failure or {"ename": "Error", "evalue": "", "traceback": []}) if is_error else None
            if kind == "error":
                failure = message["content"]
            self.process_message({"parent_header": {}, "header": {"msg_type": kind}, **message}, cell, cell_index)
