"""Run one notebook with this interpreter, without user start-up files, isolated from any other run.

papermill runs the cells with the engine of `trackkit.report.forked`. Here its kinds of failure become one, and a
notebook that failed is kept.
"""

import json
import os
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import papermill
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from nbclient.exceptions import CellTimeoutError, DeadKernelError
from nbformat import NotebookNode
from papermill.engines import papermill_engines
from traitlets import default
from traitlets.config import Config

import trackkit
from trackkit import errors
from trackkit.errors import ReportError, TrackkitError
from trackkit.project import local_folder
from trackkit.report import common, fork_server, notebook
from trackkit.report.forked import NAME, ForkedEngine

CELL_SECONDS = 900
RUN_SECONDS = 3_600
START_SECONDS = 120

papermill_engines.register(NAME, ForkedEngine)  # needed where the package is not installed


class _Manager(AsyncKernelManager):
    """A kernel manager that knows the kernels of its own run's folder and no other."""

    @default("kernel_spec_manager")
    def _of_this_run(self) -> KernelSpecManager:
        return KernelSpecManager(kernel_dirs=[str(Path(self.connection_file).parent / "kernels")])


def execute(book: NotebookNode, parameters: Mapping[str, Any], failed: Path, report: str = "") -> NotebookNode:
    """Return the notebook with its outputs; ReportError when a cell fails, hangs or kills its process.

    `report` is its name, whose template `open_page` opens by default; it may import modules of its project. A notebook
    that failed is left at `failed`, with its traceback. A RequestError or DataError of a cell is raised
    again here, since it is about the request and not about the report.
    """
    with tempfile.TemporaryDirectory(prefix="tk-") as folder:
        place = local_folder()
        options: dict[str, Any] = {"report": report, "modules": str(place) if place else None}
        options = options if fork_server.CAN_FORK else {"config": _kernel(Path(folder), report)}
        return _execute(book, parameters, failed, options)


def _execute(book: NotebookNode, parameters: Mapping[str, Any], failed: Path, options: dict[str, Any]) -> NotebookNode:
    started: list[NotebookNode] = []
    try:
        executed: NotebookNode = papermill.execute_notebook(
            book,
            None,
            dict(parameters),
            engine_name=NAME,
            kernel_name=NAME,
            language="python",
            progress_bar=False,
            start_timeout=START_SECONDS,
            execution_timeout=CELL_SECONDS,
            run_timeout=RUN_SECONDS,
            begun=started.append,
            handed=common.packed(parameters) if fork_server.is_child() else b"",
            **options,
        )
        return executed
    except papermill.PapermillExecutionError as error:
        _raise_refusal(error.ename, error.evalue)
        _keep(started, failed)
        raise ReportError(f"{error.ename} in cell {error.cell_index}: {error.evalue}; kept as {failed}.") from None
    except (DeadKernelError, CellTimeoutError, RuntimeError) as error:
        _keep(started, failed)
        reason = str(error).strip().splitlines()[0] if str(error).strip() else "no reason given"
        raise ReportError(f"The report stopped: {type(error).__name__}: {reason}; kept as {failed}.") from None


def _raise_refusal(name: str, message: str) -> None:
    kind = getattr(errors, name, None)
    if isinstance(kind, type) and issubclass(kind, TrackkitError) and kind not in (TrackkitError, ReportError):
        raise kind(message) from None


def _keep(started: list[NotebookNode], failed: Path) -> None:
    """Keep the failed notebook, readable by its owner only: it holds outputs and parameters."""
    for book in started:
        failed.unlink(missing_ok=True)
        descriptor = os.open(failed, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(descriptor, "w", encoding="utf-8", newline="\n") as file:
            notebook.write(book, file)


def _kernel(folder: Path, report: str) -> Config:
    """Describe, where processes cannot be forked, a kernel with this interpreter and this trackkit."""
    kernel_folder = folder / "kernels" / NAME
    kernel_folder.mkdir(parents=True)
    package = str(Path(trackkit.__file__).resolve().parents[1])
    paths = os.pathsep.join([package, *filter(None, [os.environ.get("PYTHONPATH")])])
    command = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}", "--HistoryManager.enabled=False"]
    kernel = {
        "argv": [*command, "--log-level=50"],
        "display_name": NAME,
        "language": "python",
        "env": {"IPYTHONDIR": str(folder / "ipython"), "PYTHONPATH": paths, "PYTHONHASHSEED": "0"}
        | {notebook.REPORT: report},
    }
    (kernel_folder / "kernel.json").write_text(json.dumps(kernel), encoding="utf-8")
    client = {"kernel_manager_class": _Manager, "shutdown_kernel": "immediate"}
    return Config({"NotebookClient": client, "KernelManager": {"connection_file": str(folder / "kernel.json")}})
