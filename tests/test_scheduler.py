"""`run --scheduler`: a real scheduler and two real workers make what a run here makes, and end as it does."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from trackkit import resources
from trackkit.runs.due import deliveries
from trackkit.store import open_store

ROOT = Path(__file__).resolve().parents[1]
QUICK = ("delivery_tracking", "hot_clicks")
PAGES = 9  # of two reports of four deliveries, and one of all
STAMP = re.compile(r"Calculated: <time[^<]*</time>")


class Cluster:
    """A scheduler and its workers, each a process of its own, ended by the id of its process."""

    def __init__(self, folder: Path, failures: int = 3) -> None:
        self.folder, self.started = folder, []
        told = self._start("scheduler", "--host", "127.0.0.1", "--port", "0", "--no-jupyter", "--scheduler-file",
                           str(folder / "where"), failures=failures)  # fmt: skip
        self.address = _wait(lambda: json.loads((folder / "where").read_text("utf-8"))["address"], told)

    def add_worker(self, package: Path = ROOT) -> subprocess.Popen[bytes]:
        """Start a worker that imports trackkit from a folder; return when the scheduler knows it."""
        (worker,) = self.add_workers(package)
        return worker

    def add_workers(self, *packages: Path) -> list[subprocess.Popen[bytes]]:
        """Start workers side by side; return when the scheduler has known each."""
        options = ("--no-nanny", "--nthreads", "1", "--local-directory", str(self.folder))
        workers = [
            self._start("worker", self.address, *options, "--name", f"w{len(self.started)}", package=package)
            for package in packages
        ]
        for worker in workers:
            log = self.folder / f"{worker.pid}.log"
            _wait(lambda log=log: "Starting established connection" in log.read_text("utf-8"), worker)
        return workers

    def _start(self, what: str, *options: str, package: Path = ROOT, failures: int = 3) -> subprocess.Popen[bytes]:
        environment = os.environ | {
            "PYTHONPATH": str(package), "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": str(failures),
        }  # fmt: skip
        command = [sys.executable, "-m", f"distributed.cli.dask_{what}", *options, "--no-dashboard"]
        said = self.folder / "starting.log"
        with said.open("wb") as log:
            one = subprocess.Popen(command, cwd=self.folder, env=environment, stdout=log, stderr=log)
        said.rename(self.folder / f"{one.pid}.log")
        self.started.append(one)
        return one

    def end(self) -> None:
        """End every process, workers first."""
        for one in reversed(self.started):
            one.kill()
            one.wait()


def _wait(asked: Callable[[], str | bool | None], process: subprocess.Popen[bytes]) -> str:
    until, is_over = time.monotonic() + 120, False
    while not is_over:
        is_over = time.monotonic() > until or process.poll() is not None  # it may have ended after it was done
        try:
            if found := asked():
                return str(found)
        except (OSError, ValueError, KeyError):
            pass
        time.sleep(0.05)
    raise AssertionError("a process of the cluster did not start")


@contextmanager
def two_workers(folder: Path, **how: Any) -> Iterator[Cluster]:
    """A cluster of two workers, which ends with the block."""
    made = Cluster(folder, **how)
    try:
        made.add_workers(ROOT, ROOT)
        yield made
    finally:
        made.end()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Two workers, which no test ends."""
    with two_workers(tmp_path_factory.mktemp("cluster")) as made:
        yield made


@pytest.fixture
def own_cluster(tmp_path: Path) -> Iterator[Cluster]:
    """Two workers to be killed, and a scheduler that does not give their reports to others."""
    (tmp_path / "cluster").mkdir()
    with two_workers(tmp_path / "cluster", failures=0) as made:
        yield made


def _command(store: Path, *options: str) -> list[str]:
    return [sys.executable, "-m", "trackkit", "run", "--store", str(store), *options]


def _run(folder: Path, store: Path, *options: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.run(_command(store, *options), cwd=folder, env=environment, capture_output=True, text=True)


def _two(store: Path) -> list[str]:
    return deliveries(open_store(str(store)))[:2]


def _manifest(folder: Path) -> dict[str, dict]:
    return json.loads((folder / "manifest.json").read_text("utf-8"))["reports"]


def _pages(folder: Path) -> dict[str, str]:
    return {path.name: STAMP.sub("", path.read_text("utf-8")) for path in folder.glob("*.html")}


def _break(folder: Path, report: str, code: str, rest: bool = False) -> None:
    """A local notebook, which wins over the shipped one, whose first cell of its own runs other code, or that first."""
    book = json.loads(resources.find(f"notebooks/reports/{report}.ipynb").read_text("utf-8"))
    opening = next(cell for cell in book["cells"] if "open_page" in "".join(cell["source"]))
    opening["source"] = "\n".join([code, *(["".join(opening["source"])] if rest else [])])
    place = folder / "notebooks" / "reports" / f"{report}.ipynb"
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(json.dumps(book))
    (folder / "trackkit.toml").touch()


def test_a_cluster_makes_the_pages_and_the_manifest_of_a_run_here(cluster, demo_store, tmp_path):
    asked = ("--reports", ",".join(QUICK), "--delivery", *_two(demo_store))
    there = _run(tmp_path, demo_store, "--out", "there", *asked, "--scheduler", cluster.address)
    here = _run(tmp_path, demo_store, "--out", "here", *asked)
    assert (there.returncode, here.returncode) == (0, 0)
    assert len(there.stderr.splitlines()) == len(here.stderr.splitlines()) > 0, "a line for each page"
    assert there.stdout == here.stdout.replace("here/", "there/")
    pages = _pages(tmp_path / "there")
    assert pages == _pages(tmp_path / "here") and len(pages) == 2 * len(QUICK) + len(("index", "glossary"))
    differing = {"rendered_at", "sha256", "seconds"}
    first, second = (
        {name: {key: value for key, value in entry.items() if key not in differing} for name, entry in found.items()}
        for found in (_manifest(tmp_path / "there"), _manifest(tmp_path / "here"))
    )
    for entry in (*first.values(), *second.values()):
        del entry["bar"]["changed"]  # when its file was written
    assert first == second
    names = [{path.name for path in (tmp_path / one).rglob("*")} for one in ("there", "here")]
    assert names[0] == names[1], "and nothing of the probe is left"

    again = _run(tmp_path, demo_store, "--out", "there", *asked)
    assert again.stdout.startswith("Reports: 0 rendered, 4 unchanged"), "what a cluster made is not made again here"


def test_a_failing_report_is_a_failed_report_there_too(cluster, demo_store, tmp_path):
    _break(tmp_path, "hot_clicks", "raise ValueError('as told')")
    asked = ("--out", "out", "--reports", ",".join(QUICK), "--delivery", _two(demo_store)[0])
    done = _run(tmp_path, demo_store, *asked, "--scheduler", cluster.address)
    assert done.returncode == 4 and "as told" in done.stdout and "1 rendered, 0 unchanged, 1 failed" in done.stdout
    statuses = {name.split("/")[1]: entry["status"] for name, entry in _manifest(tmp_path / "out").items()}
    assert statuses == {"delivery_tracking": "done", "hot_clicks": "failed"}
    assert len(list((tmp_path / "out").glob("hot_clicks*.failed.ipynb"))) == 1


def test_a_worker_that_dies_fails_no_report(demo_store, tmp_path):
    (tmp_path / "cluster").mkdir()
    cluster = Cluster(tmp_path / "cluster")
    try:
        victim, _ = cluster.add_workers(ROOT, ROOT)
        command = _command(demo_store, "--out", "out", "--reports", "delivery_tracking,hot_clicks,browsers",
                           "--scheduler", cluster.address)  # fmt: skip
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        running = subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True)
        _wait(lambda: any((tmp_path / "out").glob("*.html")), running)
        victim.kill()
        said, _ = running.communicate(timeout=120)
        assert running.returncode == 0 and re.match(r"Reports: \d+ rendered, 0 unchanged, 0 failed", said)
        assert {entry["status"] for entry in _manifest(tmp_path / "out").values()} == {"done"}
    finally:
        cluster.end()


def test_a_report_that_kills_its_workers_is_named_and_stops_no_other(own_cluster, demo_store, tmp_path):
    grandparent = "int(open(f'/proc/{os.getppid()}/stat').read().rpartition(')')[2].split()[1])"
    _break(tmp_path, "hot_clicks", f"import os, signal\nos.kill({grandparent}, signal.SIGKILL)")
    asked = ("--out", "out", "--reports", ",".join(QUICK), "--delivery", _two(demo_store)[0])
    done = _run(tmp_path, demo_store, *asked, "--scheduler", own_cluster.address)
    assert done.returncode == 4 and "1 rendered, 0 unchanged, 1 failed" in done.stdout
    assert "/hot_clicks/en: The report stopped with the workers that rendered it (1, the last" in done.stdout
    assert sum(one.poll() is not None for one in own_cluster.started) == 1


def test_a_worker_of_another_version_is_refused_by_name(cluster, demo_store, tmp_path):
    shutil.copytree(ROOT / "trackkit", tmp_path / "other" / "trackkit", ignore=shutil.ignore_patterns("__pycache__"))
    front = tmp_path / "other" / "trackkit" / "__init__.py"
    front.write_text(re.sub(r"(?m)^__version__ = .*", '__version__ = "9.9"', front.read_text("utf-8")))
    stranger = cluster.add_worker(tmp_path / "other")
    try:
        asked = ("--out", "out", "--reports", "delivery_tracking", "--scheduler", cluster.address)
        done = _run(tmp_path, demo_store, *asked)
        assert done.returncode == 2
        assert re.fullmatch(r"Error: The worker tcp://\S+ runs trackkit 9\.9, not 0\.1\.0\.\n", done.stderr)
        assert not list((tmp_path / "out").glob("*.html")) and not list((tmp_path / "out").glob(".probe*"))
    finally:
        stranger.send_signal(signal.SIGTERM)
        stranger.wait()


def test_what_cannot_be_done_is_said_at_once(demo_store, tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # nobody listens there
        address = f"tcp://127.0.0.1:{taken.getsockname()[1]}"
        began = time.monotonic()
        asked = ("--out", "out", "--reports", "delivery_tracking")
        done = _run(tmp_path, demo_store, *asked, "--scheduler", address)
        assert done.returncode == 2 and f"No dask scheduler answers at {address}" in done.stderr
        assert len(done.stderr.splitlines()) == 1 and time.monotonic() - began < 30
    done = _run(tmp_path, demo_store, *asked, "--scheduler", "here")
    assert done.returncode == 2 and "such as tcp://host:8786, not 'here'" in done.stderr
    done = _run(tmp_path, demo_store, *asked, "--scheduler", "tcp://127.0.0.1:1", "--jobs", "2")
    assert done.returncode == 2 and "--jobs is for this machine" in done.stderr


def test_dask_is_imported_only_when_a_cluster_is_asked_for(tmp_path):
    code = "import sys, trackkit.cli, trackkit.runs.due; print(*sorted({'dask', 'distributed'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True).stdout == "\n"
    asked = ["run", "--store", "none", "--out", str(tmp_path), "--scheduler", "tcp://127.0.0.1:1"]
    code = (
        f"import sys; sys.modules['distributed'] = None; sys.argv[1:] = {asked!r}; import trackkit.cli as c; c.main()"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2 and "trackkit[dask]" in done.stderr


LATE = ("--out", "out", "--reports", "delivery_tracking,hot_clicks,browsers")


def _late(cluster: Cluster, demo_store: Path, tmp_path: Path, join: Callable[[], object]) -> tuple[int, str, str]:
    """Run while others join after the first page and before the second; return how it ended and what it said."""
    out, joined = tmp_path / "out", tmp_path / "joined"
    waiting = "import pathlib, time\nwhile any(pathlib.Path({!r}).glob('*.html')) and not pathlib.Path({!r}).exists():"
    for report in QUICK:
        _break(tmp_path, report, f"{waiting}\n    time.sleep(0.05)".format(str(out), str(joined)), rest=True)
    command = _command(demo_store, *LATE, "--scheduler", cluster.address)
    how = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    running = subprocess.Popen(command, cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT)}, **how)
    _wait(lambda: any(out.glob("*.html")), running)
    join()
    joined.touch()
    said, told = running.communicate(timeout=200)
    return running.returncode, said, told


def _all_are_there(out: Path) -> None:
    entries = _manifest(out).values()
    assert len(entries) == PAGES and {entry["status"] for entry in entries} == {"done"}
    assert all((out / entry["path"]).is_file() for entry in entries)
    assert not list(out.glob(".probe*"))


def _without_what_is_shared(folder: Path) -> Path:
    """A trackkit whose process sees another folder under the name of the output folder, as on another machine."""
    shutil.copytree(ROOT / "trackkit", folder / "trackkit", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("notebooks", "reports_templates"):
        (folder / name).symlink_to(ROOT / name)
    cluster = folder / "trackkit" / "runs" / "cluster.py"
    code = cluster.read_text("utf-8")
    assert code.count('Path(request["out"])') == 2
    cluster.write_text(code.replace('Path(request["out"])', f"Path({str(folder / 'elsewhere')!r})"))
    (folder / "elsewhere").mkdir()
    return folder


def test_workers_that_join_late_and_are_not_fit_are_left_out_and_no_page_is_missing(demo_store, tmp_path):
    (tmp_path / "cluster").mkdir()
    cluster = Cluster(tmp_path / "cluster")
    try:
        cluster.add_worker()
        folder, version, nothing = (_without_what_is_shared(tmp_path / name) for name in ("far", "new", "none"))
        module = version / "trackkit" / "runs" / "cluster.py"
        module.write_text(f'{module.read_text("utf-8")}\n__version__ = "9.9"\n')
        (nothing / "trackkit" / "__init__.py").write_text("raise ImportError('no such thing')")
        code, said, told = _late(cluster, demo_store, tmp_path, lambda: cluster.add_workers(folder, version, nothing))
        assert (code, said.splitlines()[0]) == (0, f"Reports: {PAGES} rendered, 0 unchanged, 0 failed."), said
        _all_are_there(tmp_path / "out")
        for why in ("does not see the output folder", r"runs trackkit 9\.9"):
            assert len(re.findall(rf"(?m)^The worker tcp://\S+ is left out: it {why}", told)) == 1, told
        # one without trackkit may end as soon as it is asked for anything, and so not be named
        assert told.count("left out") == 2 + ("does not have this trackkit" in told)
        assert not any(any((package / "elsewhere").iterdir()) for package in (folder, version, nothing))
    finally:
        cluster.end()


def test_a_late_worker_that_is_fit_is_given_reports_and_one_that_is_left_alone_unfit_makes_them_fail(
    demo_store, tmp_path
):
    (tmp_path / "cluster").mkdir()
    cluster = Cluster(tmp_path / "cluster")
    try:
        first = cluster.add_worker()
        package = _without_what_is_shared(tmp_path / "far")

        def exchanged() -> None:
            cluster.add_worker(package)
            first.kill()

        code, said, told = _late(cluster, demo_store, tmp_path, exchanged)
        assert code == 4 and "No worker is fit for the report" in said and "left out" in told
        statuses = [entry["status"] for entry in _manifest(tmp_path / "out").values()]
        assert len(statuses) == PAGES and "failed" in statuses and "done" in statuses
        cluster.add_worker()
        cluster.started[-2].kill()  # the unfit one
        time.sleep(1)
        again = _run(tmp_path, demo_store, *LATE, "--scheduler", cluster.address)
        assert again.returncode == 0, again.stdout + again.stderr
        _all_are_there(tmp_path / "out")
    finally:
        cluster.end()


def test_a_page_that_a_worker_rendered_and_that_is_not_here_is_a_failed_report(demo_store, tmp_path, monkeypatch):
    from trackkit.runs import cluster as clusters
    from trackkit.runs.manifest import Job

    monkeypatch.setattr(clusters, "SEEN_SECONDS", 0.1)
    sending = clusters._Sending(None, None, {}, tmp_path)
    there = {"status": "done", "path": "page.html", "sha256": "0" * 64}
    assert "is not in the output folder here" in sending._verified(there)["error"]
    (tmp_path / "page.html").write_text("of an earlier run")
    assert sending._verified(there)["status"] == "failed"

    from trackkit.runs import due

    manifest, summary = due.Manifest(tmp_path, {}), due.RunSummary(tmp_path)
    due._record(manifest, summary, Job("hot_clicks", "7", "en", {}, "key"), there | {"path": "other.html"})
    assert summary.failed and not summary.rendered and manifest.entries["7/hot_clicks/en"]["status"] == "failed"
