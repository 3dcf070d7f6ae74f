"""Run one notebook in a kernel of its own: this interpreter, no user start-up files, no port, nothing shared.

papermill runs the cells. What it leaves open is settled here: each run has its own socket folder, since kernels that
share one collide; and its three kinds of failure become one.
"""

import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nbformat
import papermill
from jupyter_client import AsyncKernelManager
from jupyter_client.kernelspec import KernelSpecManager
from nbclient.exceptions import CellTimeoutError, DeadKernelError
from nbformat import NotebookNode
from traitlets import default
from traitlets.config import Config

import trackkit
from trackkit import errors
from trackkit.errors import ReportError, TrackkitError
from trackkit.report import kernels

CELL_SECONDS = 900
START_SECONDS = 120
LONGEST_SOCKET_PATH = 80  # systems allow about 100 letters for the path of a socket


class _Manager(AsyncKernelManager):
    """A kernel manager that knows the kernels of its own run's folder and no other."""

    @default("kernel_spec_manager")
    def _of_this_run(self) -> KernelSpecManager:
        return KernelSpecManager(kernel_dirs=[str(Path(self.connection_file).parent / "kernels")])


def execute(book: NotebookNode, parameters: Mapping[str, Any], failed: Path) -> NotebookNode:
    """Return the notebook with its outputs; ReportError when a cell fails, hangs or kills its kernel.

    A failure of the notebook leaves it, with its traceback, at `failed`. A RequestError or DataError raised in a cell
    is raised here as it was, since it says what was wrong with the request, not with the report.
    """
    with tempfile.TemporaryDirectory(prefix="tk-") as folder:
        return _execute(book, parameters, failed, Path(folder))


def _execute(book: NotebookNode, parameters: Mapping[str, Any], failed: Path, folder: Path) -> NotebookNode:
    source, executed = folder / "report.ipynb", folder / "executed.ipynb"
    nbformat.write(book, source)
    _describe_kernel(folder)
    try:
        return papermill.execute_notebook(
            str(source), str(executed), dict(parameters), kernel_name="trackkit", language="python",
            progress_bar=False, config=_config(folder), start_timeout=START_SECONDS, execution_timeout=CELL_SECONDS,
        )  # fmt: skip
    except papermill.PapermillExecutionError as error:
        _raise_refusal(error.ename, error.evalue)
        _keep(executed, failed)
        raise ReportError(f"{error.ename} in cell {error.cell_index}: {error.evalue}; kept as {failed}.") from None
    except (DeadKernelError, CellTimeoutError, RuntimeError) as error:
        _keep(executed, failed)
        reason = str(error).strip().splitlines()[0] if str(error).strip() else "no reason given"
        raise ReportError(f"The report stopped: {type(error).__name__}: {reason}; kept as {failed}.") from None


def _raise_refusal(name: str, message: str) -> None:
    kind = getattr(errors, name, None)
    if isinstance(kind, type) and issubclass(kind, TrackkitError) and kind not in (TrackkitError, ReportError):
        raise kind(message) from None


def _keep(executed: Path, failed: Path) -> None:
    """Keep the failed notebook, readable by its owner alone: it holds outputs and parameters."""
    if executed.exists():
        failed.unlink(missing_ok=True)
        with open(os.open(failed, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(executed.read_bytes())


def _config(folder: Path) -> Config:
    manager: dict[str, Any] = {"connection_file": str(folder / "kernel.json")}
    if os.name == "posix" and len(str(folder)) < LONGEST_SOCKET_PATH:
        manager |= {"transport": "ipc", "ip": str(folder / "k")}
    client = {"kernel_manager_class": _Manager, "shutdown_kernel": "immediate"}
    return Config({"NotebookClient": client, "KernelManager": manager})


def _describe_kernel(folder: Path) -> None:
    """Describe a kernel that is this very interpreter with this very trackkit, forked from a parent that is ready."""
    place = folder / "kernels" / "trackkit"
    place.mkdir(parents=True)
    package = str(Path(trackkit.__file__).resolve().parents[1])
    paths = os.pathsep.join([package, *filter(None, [os.environ.get("PYTHONPATH")])])
    kernel = {
        "argv": [*kernels.command(paths), "-f", "{connection_file}", "--HistoryManager.enabled=False",
                 "--log-level=50"],
        "display_name": "trackkit", "language": "python",
        "env": {"IPYTHONDIR": str(folder / "ipython"), "PYTHONPATH": paths},
    }  # fmt: skip
    (place / "kernel.json").write_text(json.dumps(kernel), encoding="utf-8")
