"""The fork server serves who asks from any folder: a script without a guard, a daemon, a fork; and leaves nothing."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from trackkit.report.fork_server import Child, GoneError

ROOT = Path(__file__).resolve().parents[1]
BEGIN = """
import nbformat, os, pathlib, sys
from trackkit.report.execute import execute
def said(*cells):
    book = nbformat.v4.new_notebook()
    book.cells = [nbformat.v4.new_code_cell(cell) for cell in cells]
    done = execute(book, {}, pathlib.Path("failed.ipynb"))
    return "".join(output.get("text", "") for cell in done.cells for output in cell.get("outputs", [])).strip()
"""


def _ran(script: str, here: Path, *options: str) -> str:
    """Run a script that is in no folder of its own, in the folder `here`; return what it prints."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-P", *options]
    done = subprocess.run(command, input=script, capture_output=True, text=True, cwd=here, env=environment, timeout=200)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_a_script_without_a_guard_runs_once_whatever_is_beside_it(tmp_path):
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "ours.py").write_text("WORD = 'found'")
    (tmp_path / "reports_templates" / "html").mkdir(parents=True)
    (tmp_path / "reports_templates" / "html" / "theme.toml").write_text("[light]\ninc = 'red'")
    (tmp_path / "trackkit.toml").touch()
    (tmp_path / "email.py").write_text("raise SyntaxError('a module of the analyst')")
    path = f"sys.path.append({str(tmp_path / 'lib')!r})"
    (tmp_path / "script.py").write_text(f"{BEGIN}{path}\nprint('once', said('import ours; print(ours.WORD)'))")
    assert _ran("", tmp_path, "script.py") == "once found"


DAEMON = """
import multiprocessing
if __name__ == "__main__":
    child = multiprocessing.get_context("spawn").Process(target=report, daemon=True)
    child.start()
    child.join()
    sys.exit(child.exitcode)
"""


def test_a_daemon_and_a_fork_are_served(tmp_path):
    (tmp_path / "script.py").write_text(f"{BEGIN}def report(): print(said('print(\"daemon\")'), flush=True)\n{DAEMON}")
    assert _ran("", tmp_path, "script.py") == "daemon"
    forks = (
        "print(said('print(1)'), flush=True)\nif not (pid := os.fork()):\n    print(said('print(2)'), flush=True)\n"
        "    os._exit(0)\nos.waitpid(pid, 0)\nprint(said('print(3)'))"
    )
    assert _ran(f"{BEGIN}{forks}", tmp_path, "-").split() == ["1", "2", "3"]


def test_an_interrupt_leaves_no_process(demo_store, tmp_path):
    command = [sys.executable, "-m", "trackkit", "run", "--store", str(demo_store), "--out", "out"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    running = subprocess.Popen(
        command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, start_new_session=True
    )  # as a terminal does, the interrupt goes to the whole session
    end = time.monotonic() + 200
    while not list(tmp_path.glob("out/*.html")):
        assert time.monotonic() < end and running.poll() is None
        time.sleep(0.1)
    assert len(_of_session(running.pid)) > 2
    os.killpg(running.pid, signal.SIGINT)
    assert running.wait(100) == 130
    end = time.monotonic() + 20
    while _of_session(running.pid) and time.monotonic() < end:
        time.sleep(0.1)
    assert _of_session(running.pid) == []


def _of_session(leader: int) -> list[str]:
    """The processes of a session, but for those that have ended."""
    stats = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            stats.append(path.read_text().rpartition(")")[2].split())
    return [" ".join(stat) for stat in stats if int(stat[3]) == leader and stat[0] != "Z"]


def test_a_child_that_ends_while_others_hold_its_connection_is_told_of(tmp_path):
    (tmp_path / "leaves.py").write_text(
        "import os, time\ndef serve(talk):\n    if os.fork() == 0:\n        time.sleep(3)\n    os._exit(5)"
    )
    sys.path.insert(0, str(tmp_path))
    try:
        child = Child("leaves")
        started = time.monotonic()
        with pytest.raises(GoneError, match="exit code 5"):
            child.receive(time.monotonic() + 60)
        assert time.monotonic() - started < 2, "it is not the fork's end that tells"
    finally:
        sys.path.remove(str(tmp_path))
        child.end()
