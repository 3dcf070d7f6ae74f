"""Shared fixtures: a browser, one small demo instance and its store, database servers."""

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock
from hypothesis import settings

from tests import databases

CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome")
BROWSER_FLAGS = ("disable-gpu", "disable-quic", "no-first-run", "disable-background-networking",
                 "disable-component-update", "disable-sync")  # fmt: skip
# The longest first; a worker has one of them at a time.
SLOW_FILES = (
    "test_machines.py", "test_scheduler.py", "test_forget.py", "test_reports.py", "test_access.py", "test_spark.py",
    "test_store.py", "test_pieces.py", "test_any_order.py", "test_explore.py", "test_language.py", "test_dossier.py",
    "test_runs.py", "test_at_once.py", "test_packaging.py", "test_flags.py", "test_forked.py", "test_personal.py",
    "test_scope_pages.py", "test_docs.py", "test_own_words.py", "test_selections.py", "test_sql.py", "test_project.py",
    "test_databases_kinds.py", "test_feeds_vendors.py", "test_feeds_tables_vendors.py", "test_same_figures.py",
)  # fmt: skip
# Tests start hundreds of processes: what is compiled is kept, whatever the environment says, and jsonschema is spared
# the grammars that `trackkit.report.preload` leaves out too.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.modules.setdefault("rfc3987_syntax", None)  # type: ignore[arg-type]
DEMO_SEED, DEMO_DELIVERIES, DEMO_RECIPIENTS = 1, 4, 120


def pytest_configure(config: pytest.Config) -> None:
    """Let no test fail for a busy machine; without Spark, the examples of its module cannot be collected."""
    settings.register_profile("busy", deadline=None)
    settings.load_profile("busy")
    if find_spec("pyspark") is None:
        config.option.ignore = [*(config.option.ignore or []), "trackkit/engine/spark.py"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the slowest files first, so that no worker is left alone with them at the end."""
    places = {name: place for place, name in enumerate(SLOW_FILES)}
    items.sort(key=lambda item: places.get(item.path.name, len(places)))


@pytest.fixture(scope="session")
def chromium() -> str:
    """Path of Chromium; without it the test is skipped, or fails if TRACKKIT_REQUIRE_BROWSER=1."""
    found = next((path for name in CHROMIUM_NAMES if (path := shutil.which(name))), None)
    if found is None:
        message = f"No browser: none of {', '.join(CHROMIUM_NAMES)} is on the PATH; `apt install chromium` brings one."
        if os.environ.get("TRACKKIT_REQUIRE_BROWSER") == "1":
            pytest.fail(message)
        pytest.skip(message)
    return found


@pytest.fixture
def browser(chromium: str) -> Iterator[Any]:
    """A headless Chromium (a playwright Browser) for each test."""
    from playwright.sync_api import sync_playwright

    flags = [f"--{flag}" for flag in BROWSER_FLAGS] + (["--no-sandbox"] if os.geteuid() == 0 else [])
    with sync_playwright() as playwright:
        chrome = playwright.chromium.launch(executable_path=chromium, args=flags)
        yield chrome
        chrome.close()


@pytest.fixture(scope="session")
def once(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Callable[[str, Callable[[Path], None]], Path]:
    """`once(name, make)`: a folder that one worker fills with `make(folder)` and all share, read only."""
    own_folder = tmp_path_factory.getbasetemp()
    shared = own_folder if worker_id == "master" else own_folder.parent

    def made_once(name: str, make: Callable[[Path], None]) -> Path:
        folder = shared / f"once_{name}"
        with FileLock(f"{folder}.lock"):
            if not folder.exists():
                building = folder.with_suffix(".part")
                shutil.rmtree(building, ignore_errors=True)
                make(building)
                building.rename(folder)
        return folder

    return made_once


@pytest.fixture(scope="session")
def demo_raw(once: Callable[[str, Callable[[Path], None]], Path]) -> Path:
    """A small demo instance folder (read only: shared by all tests and workers)."""
    from trackkit.demo import write_demo

    def make(folder: Path) -> None:
        write_demo(folder, seed=DEMO_SEED, deliveries=DEMO_DELIVERIES, recipients=DEMO_RECIPIENTS)

    return once("demo_raw", make)


@pytest.fixture(scope="session")
def demo_store(demo_raw: Path, once: Callable[[str, Callable[[Path], None]], Path]) -> Path:
    """The folder of a store holding the small demo instance (read only)."""
    from trackkit.store import open_store

    return once("demo_store", lambda folder: open_store(str(folder)).ingest(str(demo_raw)) and None)


@pytest.fixture(scope="session")
def delivery(demo_store: Path) -> str:
    """The delivery of the small demo with the most hits."""
    from trackkit.store import open_store

    counts = open_store(demo_store).scan("event").drop_nulls("delivery_id").group_by("delivery_id").len()
    return counts.sort("len", "delivery_id").collect()["delivery_id"][-1]


@pytest.fixture(scope="session")
def demo_pages(demo_store: Path, delivery: str, once: Callable[[str, Callable[[Path], None]], Path]) -> Path:
    """All reports of that delivery."""
    return once("demo_pages", lambda folder: render_all(demo_store, folder, delivery))


def render_all(store: Path, out: Path, delivery: str) -> None:
    """Render every report into a folder: of one delivery, or of the whole platform."""
    from trackkit.report import REPORTS, render

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda name: render(name, store, out, delivery=about(name, delivery)), sorted(REPORTS)))


def about(name: str, delivery: str) -> str | None:
    """The delivery, for a report that can be about one."""
    from trackkit.report import REPORTS

    return delivery if "delivery" in {parameter.name for parameter in REPORTS[name].parameters} else None


@pytest.fixture(scope="session")
def postgres() -> Iterator[databases.Server]:
    """A PostgreSQL server of this worker's own."""
    yield from databases.postgres()


@pytest.fixture(scope="session")
def mariadb() -> Iterator[databases.Server]:
    """A MariaDB server of this worker's own."""
    yield from databases.mariadb()
