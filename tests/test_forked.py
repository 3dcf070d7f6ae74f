"""Notebooks run in children of a parent that is ready: each alone, dead when it should be, and none left behind."""

import os
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pytest

from trackkit.errors import ReportError
from trackkit.report import execute as executing
from trackkit.report.execute import execute

ROOT = Path(__file__).resolve().parents[1]


def _book(*cells: str) -> nbformat.NotebookNode:
    made = nbformat.v4.new_notebook()
    made.cells = [nbformat.v4.new_code_cell(cell) for cell in cells]
    return made


def _said(executed: nbformat.NotebookNode) -> str:
    return "".join(output.get("text", "") for cell in executed.cells for output in cell.get("outputs", []))


def _is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def _gone(pid: int, seconds: float = 10) -> bool:
    end = time.monotonic() + seconds
    while _is_alive(pid) and time.monotonic() < end:
        time.sleep(0.05)
    return not _is_alive(pid)


def test_runs_share_nothing(tmp_path):
    first = execute(_book("import builtins, os; builtins.left = 1; os.environ['LEFT'] = '1'; print(os.getpid())"), {},
                    tmp_path / "a.ipynb")  # fmt: skip
    second = execute(_book("import builtins, os; print(hasattr(builtins, 'left'), os.environ.get('LEFT'))"), {},
                     tmp_path / "b.ipynb")  # fmt: skip
    assert _said(second) == "False None\n"
    assert _gone(int(_said(first)))


def test_the_environment_and_folder_are_those_of_the_moment(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TOLD_LATE", "yes")
    said = _said(execute(_book("import os; print(os.environ['TOLD_LATE'], os.getcwd())"), {}, tmp_path / "a.ipynb"))
    assert said == f"yes {tmp_path}\n"


THREADS = """
import os
from pathlib import Path
tasks = Path(f"/proc/{os.getppid()}/task")
names = {(task / "comm").read_text().strip() for task in tasks.iterdir()} if tasks.exists() else set()
print(sorted(name for name in names if not name.startswith(("python", "jemalloc", "polars-ooc"))))
"""


def test_the_parent_asks_polars_nothing_and_its_children_compute(tmp_path):
    asked = "import polars as pl; print(pl.DataFrame({'a': range(100_000)}).lazy().group_by(pl.col('a') % 7)"
    book = _book(f"{asked}.agg(pl.len()).collect().height)", THREADS)
    assert _said(execute(book, {}, tmp_path / "a.ipynb")) == "7\n[]\n", "no thread of a query is in the parent"


def test_a_child_that_dies_is_an_error_and_leaves_nothing(tmp_path):
    book = _book(f"import os; open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid()))",
                 "import os, signal; os.kill(os.getpid(), signal.SIGKILL)")  # fmt: skip
    started = time.monotonic()
    with pytest.raises(ReportError, match="DeadKernelError"):
        execute(book, {}, tmp_path / "a.ipynb")
    assert time.monotonic() - started < 60
    assert _gone(int((tmp_path / "pid").read_text()))


@pytest.mark.parametrize("hang", ["import time; time.sleep(600)", "while True: pass"])
def test_a_child_that_hangs_is_stopped_and_leaves_nothing(tmp_path, monkeypatch, hang):
    monkeypatch.setattr(executing, "CELL_SECONDS", 2)
    book = _book(f"import os; open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid()))", hang)
    with pytest.raises(ReportError, match="CellTimeoutError"):
        execute(book, {}, tmp_path / "a.ipynb")
    assert _gone(int((tmp_path / "pid").read_text()))


def test_what_a_child_prints_below_python_does_not_block_it(tmp_path):
    book = _book("import os; [os.write(1, b'x' * 65536) for _ in range(64)]; print('done')")
    assert "done" in _said(execute(book, {}, tmp_path / "a.ipynb"))


def test_nothing_outlives_whoever_started_it(tmp_path):
    code = (
        "import nbformat, os\n"
        "from trackkit.report.execute import execute\n"
        "from pathlib import Path\n"
        "book = nbformat.v4.new_notebook()\n"
        f"cell = \"import os, time; open({str(tmp_path / 'pids')!r}, 'w').write(f'{{os.getpid()}} {{os.getppid()}}');\""
        "\nbook.cells = [nbformat.v4.new_code_cell(cell + ' time.sleep(600)')]\n"
        f"execute(book, {{}}, Path({str(tmp_path / 'failed.ipynb')!r}))\n"
    )
    run = subprocess.Popen([sys.executable, "-c", code], env=os.environ | {"PYTHONPATH": str(ROOT)})
    end = time.monotonic() + 240
    while not (tmp_path / "pids").exists() or not (tmp_path / "pids").read_text():
        assert time.monotonic() < end and run.poll() is None
        time.sleep(0.1)
    kernel, parent = map(int, (tmp_path / "pids").read_text().split())
    run.kill()
    run.wait()
    assert _gone(parent) and _gone(kernel)
