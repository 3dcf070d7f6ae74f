"""Notebooks run in children of a fork server: each alone, dead when it should be, and none left behind."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from datetime import timedelta
from multiprocessing.connection import wait
from pathlib import Path

import nbformat
import papermill
import pytest

from trackkit.engine.scope import resolve
from trackkit.engine.snapshot import Snapshot
from trackkit.errors import ReportError, RequestError
from trackkit.report import common, fork_server, render
from trackkit.report import execute as executing
from trackkit.report.execute import execute
from trackkit.report.workers import Renderers
from trackkit.runs.due import deliveries
from trackkit.store import open_store

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
    except (FileNotFoundError, ProcessLookupError):  # it may end while it is asked for
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
    state = "alt.theme.active, locale.setlocale(locale.LC_ALL), os.getcwd(), 'left' in sys.modules, sys.path[-1]"
    imports = "import altair as alt, locale, os, sys"
    spoil = "alt.theme.enable('dark'); locale.setlocale(locale.LC_ALL, ''); os.chdir('/'); sys.modules['left'] = sys"
    before, _, after = (
        _said(execute(_book(imports, spoil if spoilt else "", f"print({state})"), {}, tmp_path / "c.ipynb"))
        for spoilt in (False, True, False)
    )
    assert before == after
    assert _gone(int(_said(first)))


def test_the_environment_and_folder_are_those_of_the_moment(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TOLD_LATE", "yes")
    said = _said(execute(_book("import os; print(os.environ['TOLD_LATE'], os.getcwd())"), {}, tmp_path / "a.ipynb"))
    assert said == f"yes {tmp_path}\n"


TALK = [
    "print('out'); import sys; print('err', file=sys.stderr); print('again')",
    "from IPython.display import HTML, clear_output, display\ndisplay(HTML('<b>1</b>'), display_id='one')\n7 * 6",
    "print('gone'); clear_output(); display(HTML('<b>2</b>'), display_id='one', update=True)\n{'a': [1, (2,)]}",
    "class Image:\n    def _repr_png_(self):\n        return b'\\x89PNG\\r\\n\\x1a\\n'\nImage()",
    "import asyncio; await asyncio.sleep(0); get_ipython().run_line_magic('precision', '2'); 1 / 3",
    "7;",
    "def fails(): raise ValueError('<as told>')\nfails()",
    "print('not reached')",
]


def test_what_cells_say_is_kept_as_a_kernel_of_papermill_has_it(tmp_path):
    kept = {}
    for engine in ("trackkit", "nbclient"):
        out = tmp_path / f"{engine}.ipynb"
        with pytest.raises(papermill.PapermillExecutionError, match="as told"):
            papermill.execute_notebook(_book(*TALK), out, engine_name=engine, kernel_name="python3", progress_bar=False)
        cells = [cell for cell in nbformat.read(out, 4).cells if cell.cell_type == "code"]
        kept[engine] = [(cell.execution_count, _steady(cell.outputs)) for cell in cells]
    assert kept["trackkit"] == kept["nbclient"]
    assert [len(outputs) for _, outputs in kept["trackkit"]] == [2, 2, 1, 1, 1, 0, 1, 0]


def _steady(outputs):
    """Outputs without what no two runs share: how a stream was cut, and where an object was in memory."""
    streams, others = {}, []
    for output in outputs:
        if output["output_type"] == "stream":
            streams[output["name"]] = streams.get(output["name"], "") + output["text"]
        else:
            others.append(json.loads(re.sub(r"0x[0-9a-f]+", "0x", json.dumps(output))))
    return [*streams.items(), *others]


def test_papermill_finds_the_engine_by_its_name(tmp_path):
    nbformat.write(_book("import sys; print('altair' in sys.modules)"), tmp_path / "in.ipynb")
    command = [sys.executable, "-m", "papermill", "--engine", "trackkit", "-k", "python3", "in.ipynb", "out.ipynb"]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    assert _said(nbformat.read(tmp_path / "out.ipynb", 4)) == "True\n", "the server had imported it"


def test_where_nothing_can_be_forked_a_kernel_does_the_same(tmp_path, monkeypatch):
    monkeypatch.setattr(fork_server, "CAN_FORK", False)
    executed = execute(_book("import os, sys; print('altair' in sys.modules)"), {}, tmp_path / "a.ipynb")
    assert _said(executed) == "False\n"


def test_all_cells_together_have_a_time_too(tmp_path, monkeypatch):
    monkeypatch.setattr(executing, "RUN_SECONDS", 3)
    failed = tmp_path / "a.ipynb"
    with pytest.raises(ReportError, match="The time for all cells together is over"):
        execute(_book("print('before')", *["import time; time.sleep(1.1)"] * 5), {}, failed)
    assert "before" in _said(nbformat.read(failed, 4)), "the notebook is kept as far as it came"


def test_a_child_that_leaves_is_an_error_that_says_how(tmp_path):
    failed = tmp_path / "a.ipynb"
    with pytest.raises(ReportError, match=r"DeadKernelError: Kernel died \(exit code 7\)"):
        execute(_book("print('before')", "import os; os._exit(7)"), {}, failed)
    assert "before" in _said(nbformat.read(failed, 4)) and failed.stat().st_mode & 0o077 == 0


def test_a_child_that_hears_no_interrupt_is_stopped(tmp_path, monkeypatch):
    monkeypatch.setattr(executing, "CELL_SECONDS", 2)
    deaf = (
        "import ctypes, signal; signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65)); ctypes.PyDLL(None).sleep(600)"
    )
    with pytest.raises(ReportError, match="CellTimeoutError"):  # it holds Python's lock meanwhile
        execute(_book(deaf), {}, tmp_path / "a.ipynb")


def test_a_server_that_died_is_replaced(tmp_path):
    with pytest.raises(ReportError, match="DeadKernelError"):
        execute(
            _book("import os, signal, time; os.kill(os.getppid(), signal.SIGKILL); time.sleep(600)"), {}, tmp_path / "a"
        )
    assert _said(execute(_book("print('again')"), {}, tmp_path / "b.ipynb")) == "again\n"


def test_a_renderer_that_died_is_replaced(demo_store, tmp_path):
    delivery = deliveries(open_store(str(demo_store)))[0]
    with Renderers(1) as renderers:
        first = renderers.render("delivery_tracking", str(demo_store), tmp_path, delivery=delivery)
        (renderer,) = renderers._all
        os.kill(renderer.child.pid, signal.SIGKILL)
        assert _gone(renderer.child.pid)
        assert wait([renderer.child._life], 10)  # of its threads some end later, and then the server tells
        assert renderers.render("delivery_tracking", str(demo_store), tmp_path, delivery=delivery) == first
        with pytest.raises(RequestError, match="no delivery 'nobody'"):
            renderers.render("delivery_tracking", str(demo_store), tmp_path, delivery="nobody")
        pid = renderer.child.pid
    assert _gone(pid)


STAMP = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d")


def test_what_reports_have_in_common_is_found_once_and_gives_the_same_pages(demo_store, tmp_path, monkeypatch):
    store, (delivery, *_) = str(demo_store), deliveries(open_store(str(demo_store)))
    with Renderers(1) as renderers:
        for report in ("bounces", "delivery_summary"):
            together = renderers.render(report, store, tmp_path / "run", delivery=delivery)
            alone = render(report, store, tmp_path / "alone", delivery=delivery)
            assert STAMP.sub("", together.read_text("utf-8")) == STAMP.sub("", alone.read_text("utf-8"))
    monkeypatch.setattr(common, "_handed", {})
    tables = open_store(store).snapshot()
    found = common.common(tables, store, delivery, "")
    common.take(common.packed({"store": store, "delivery": delivery}))
    handed = common.common(tables, store, delivery, "")
    assert handed is next(iter(common._handed.values()))
    assert handed.limits == found.limits and handed.quality.equals(found.quality)
    later = Snapshot(tables.frames, tables.as_of + timedelta(seconds=1))
    assert common.common(later, store, delivery, "") is not handed, "tables of another load are judged anew"
    assert common.packed({"store": store}) == common.packed({"store": store, "delivery": "nobody"}) == b""


def test_a_scope_is_resolved_by_the_renderer_and_handed_to_its_reports(demo_store, monkeypatch):
    store, text = str(demo_store), "campaign:301"
    for name in ("_handed", "_scopes"):
        monkeypatch.setattr(common, name, {})
    assert common.newest(store) is common.newest(store)
    tables = open_store(store).snapshot()
    common.take(common.packed({"store": store, "scope": text}))
    handed = common.scope_of(tables, store, text)
    assert handed is next(iter(common._scopes.values())) and handed == resolve(tables, text)
    assert common.scope_of(Snapshot(tables.frames), store, text) is not handed


THREADS = """
import os
from pathlib import Path
tasks = Path(f"/proc/{os.getppid()}/task")
names = {(task / "comm").read_text().strip() for task in tasks.iterdir()} if tasks.exists() else set()
print(sorted(name for name in names if not name.startswith(("python", "jemalloc", "polars-ooc"))))
"""


def test_the_server_asks_polars_nothing_and_its_children_compute(tmp_path):
    asked = "import polars as pl; print(pl.DataFrame({'a': range(100_000)}).lazy().group_by(pl.col('a') % 7)"
    book = _book(f"{asked}.agg(pl.len()).collect().height)", THREADS)
    assert _said(execute(book, {}, tmp_path / "a.ipynb")) == "7\n[]\n", "no thread of a query is in the server"


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
    kernel, server = map(int, (tmp_path / "pids").read_text().split())
    run.kill()
    run.wait()
    assert _gone(server) and _gone(kernel)
