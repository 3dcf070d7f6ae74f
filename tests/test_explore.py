"""The notebooks for people: they run, they say what SQL says of the same store, and JupyterLab draws their charts."""

import ast
import json
import math
import os
import re
import secrets
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import nbformat
import papermill
import pytest

import trackkit as tk
from trackkit.report.execute import NAME as ENGINE
from trackkit.store import open_store

EXPLORE = Path(__file__).resolve().parents[1] / "notebooks" / "explore"
NOTEBOOKS = sorted(EXPLORE.glob("*.ipynb"))
CHART = "application/vnd.vegalite.v5+json"
HOME_FOLDERS = ("HOME", "JUPYTER_CONFIG_DIR", "JUPYTER_RUNTIME_DIR", "JUPYTERLAB_SETTINGS_DIR",
                "JUPYTERLAB_WORKSPACES_DIR", "IPYTHONDIR")  # fmt: skip


# Of each notebook, figures as its last cell would say them, and the same by SQL over the files of the store.
FIGURES = {
    "01_first_look": (
        "by_delivery['delivered'].sum(), by_domain['unique_clicks'].sum()",
        """SELECT (SELECT count(*) FROM sent), count(DISTINCT message_id) FROM clicked GROUP BY delivery_id
        ORDER BY (SELECT count(DISTINCT message_id) FROM hit WHERE delivery_id = clicked.delivery_id) DESC
        LIMIT 1""",
    ),
    "02_ten_questions": (
        "mailings['delivered'].sum(), by_week['unique_clicks'].sum(), by_link['total_clicks'].sum()",
        """SELECT (SELECT count(*) FROM sent), count(DISTINCT (delivery_id, message_id)), count(*) FILTER
        (delivery_id = b) FROM clicked, variants WHERE activity = 'human'""",
    ),
    "03_recipient_story": (
        "*readers.select('kinds', 'clicks').row(0), acts['act'].eq('sent').sum(), hits.collect().height",
        """SELECT count(DISTINCT event_type), count(*) FILTER (event_type = 'clicked'), (SELECT count(*) FROM
        message WHERE recipient_id = e.recipient_id AND status = 'delivered'), (SELECT count(*) FROM event
        WHERE recipient_id = e.recipient_id) FROM event e WHERE activity <> 'scanner' AND recipient_id IS
        NOT NULL GROUP BY recipient_id ORDER BY 1 DESC, 2 DESC, recipient_id LIMIT 1""",
    ),
    "04_comparing_and_testing": (
        "compared['part_a'][0], compared['whole_a'][0], round(splits[0]['split_p'][0], 9), by_half['delivered'].sum()",
        """SELECT count(DISTINCT message_id) FILTER (delivery_id = a), (SELECT count(*) FROM sent WHERE
        delivery_id = a), chance((SELECT count(*) FROM message WHERE delivery_id = a), (SELECT count(*) FROM
        message WHERE delivery_id = b)), (SELECT count(*) FROM sent WHERE delivery_id = b) FROM clicked,
        variants WHERE activity = 'human' GROUP BY a, b""",
    ),
    "05_machine_activity": (
        "funnel['clicks'][0], funnel['clicks'][-1], domains['scanner_clicks'].sum(), human['unique_clicks'].item()",
        """SELECT count(*), count(*) FILTER (activity = 'human'), count(*) FILTER (activity = 'scanner'),
        count(DISTINCT message_id) FILTER (activity = 'human') FROM clicked, variants WHERE delivery_id = b""",
    ),
    "06_segments": (
        "by_club['delivered'].sum(), by_past['delivered'].max()",
        """SELECT count(*), count(*) FILTER (recipient_id NOT IN (SELECT recipient_id FROM event WHERE activity
        = 'human' AND event_type = 'clicked' AND recipient_id IS NOT NULL AND occurred_at < started_at))
        FROM sent, variants JOIN delivery ON delivery.delivery_id = b WHERE sent.delivery_id = b""",
    ),
    "07_metric_to_report": (
        "record['numerator'][1], record['denominator'][1], by_day['browser_readers'].sum()",
        """SELECT count(DISTINCT message_id) FILTER (delivery_id = b), (SELECT count(*) FROM sent WHERE
        delivery_id = b), count(DISTINCT (delivery_id, message_id)) FILTER (activity = 'human') FROM hit,
        variants WHERE event_type = 'mirror_page' GROUP BY b""",
    ),
    "08_larger_than_memory": (
        "sum(part(path).collect()['rows'].item() for path in store.files('event')), tk.measure(store, "
        "counts, by=[], delivery=scope.chosen).row(0)",
        """SELECT (SELECT count(*) FROM event), ((SELECT count(*) FROM sent WHERE delivery_id IN (SELECT * FROM
        month)), count(DISTINCT (delivery_id, message_id)), count(DISTINCT person_id)) FROM clicked WHERE
        delivery_id IN (SELECT * FROM month)""",
    ),
}
VIEWS = """
CREATE VIEW counted AS SELECT delivery_id FROM delivery WHERE NOT is_proof AND NOT is_model;
CREATE VIEW variants AS SELECT max_by(delivery_id, started_at) AS b, max_by(delivery_id, started_at, 2)[2] AS a
    FROM delivery WHERE state = 95 AND NOT is_proof;
CREATE VIEW month AS SELECT delivery_id FROM delivery JOIN counted USING (delivery_id) WHERE
    date_trunc('month', started_at) = (SELECT date_trunc('month', max(started_at)) FROM delivery);
CREATE VIEW sent AS SELECT message.* FROM message JOIN counted USING (delivery_id)
    WHERE status = 'delivered' AND NOT coalesce(is_seed, false);
CREATE VIEW hit AS SELECT event.* FROM event JOIN counted USING (delivery_id) WHERE NOT coalesce(is_seed, false);
CREATE VIEW clicked AS SELECT * FROM hit WHERE event_type = 'clicked';
"""


@pytest.fixture(scope="module")
def sql(demo_store: Path) -> duckdb.DuckDBPyConnection:
    """DuckDB over the Parquet files of the demo's store."""
    store, database = open_store(demo_store), duckdb.connect()
    for table in ("delivery", "message", "event"):
        database.execute(f"CREATE VIEW {table} AS SELECT * FROM read_parquet({store.files(table)})")
    database.create_function("chance", _chance, ["BIGINT", "BIGINT"], "DOUBLE")
    database.execute(VIEWS)
    return database


def _chance(a: int, b: int) -> float:
    """Pearson's chi-squared of two counts that are to be equal; with one degree of freedom its chance is an erfc."""
    return round(math.erfc(math.sqrt((a - b) ** 2 / (a + b) / 2)), 9)


def _charts(notebook: Path) -> int:
    return len(re.findall(r'(?:"|\\n)tk\.charts\.[\w.]+\(', notebook.read_text("utf-8")))


def test_every_notebook_has_figures_to_be_checked() -> None:
    assert [path.stem for path in NOTEBOOKS] == list(FIGURES)


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_notebook_for_people_runs(
    notebook: Path, demo_store: Path, sql: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    """In a process forked from one that is warm; the kernels of JupyterLab are in the last test."""
    book, (figures, same) = nbformat.read(notebook, as_version=4), FIGURES[notebook.stem]
    book.cells.append(nbformat.v4.new_code_cell(f"({figures})", id="figures"))
    nbformat.write(book, tmp_path / notebook.name)
    ran = papermill.execute_notebook(
        str(tmp_path / notebook.name),
        str(tmp_path / "out.ipynb"),
        parameters={"store_path": str(demo_store)},
        progress_bar=False,
        engine_name=ENGINE,
    )
    outputs = [output for cell in ran.cells if cell.cell_type == "code" for output in cell.outputs]
    drawn = [output.data[CHART] for output in outputs if CHART in output.get("data", {})]
    assert len(drawn) == _charts(notebook)
    assert all(chart["description"] for chart in drawn)
    assert not [output.text for output in outputs if output.get("name") == "stderr"]
    assert ast.literal_eval(outputs[-1].data["text/plain"]) == sql.execute(same).fetchone()


def test_no_chart_asks_jupyterlab_for_the_width_of_its_container() -> None:
    """It draws off screen, where a container has no width: no picture comes of it, so it starts again, for ever."""
    sources = [path.read_text("utf-8") for path in (EXPLORE.parents[1] / "trackkit" / "show" / "charts").glob("*.py")]
    assert sources and not any(re.search(r"width\s*=\s*[\"']container", source) for source in sources)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="module")
def lab(chromium: str, demo_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a JupyterLab on this machine only, with the notebooks beside a copy of the demo store."""
    tmp_path = tmp_path_factory.mktemp("lab")
    shutil.copytree(EXPLORE, tmp_path / "site" / "notebooks" / "explore")
    (tmp_path / "site" / "notebooks" / "explore" / "panel.ipynb").write_text(nbformat.writes(_notebook(*PANEL)))
    (tmp_path / "site" / "store").symlink_to(demo_store)
    token, port = secrets.token_hex(24), _free_port()
    own = {name: str(tmp_path / name.lower()) for name in HOME_FOLDERS}
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--ip=127.0.0.1", f"--port={port}",
               "--ServerApp.port_retries=0", f"--IdentityProvider.token={token}", "--LabApp.news_url=None",
               "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
               f"--ServerApp.root_dir={tmp_path / 'site'}"]  # fmt: skip
    with (tmp_path / "lab.log").open("w") as log:
        server = subprocess.Popen(command, env=os.environ | own, stdout=log, stderr=log)
        try:
            _wait_for(f"http://127.0.0.1:{port}/api?token={token}", server, tmp_path / "lab.log")
            yield f"http://127.0.0.1:{port}/lab/tree/notebooks/explore/{{name}}?token={token}&reset"
        finally:
            server.terminate()
            server.wait(30)


PANEL = ("import trackkit as tk", "store = tk.open_store('../../store')", "tk.explore(store)")


def _notebook(*cells: str) -> nbformat.NotebookNode:
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3"}}
    return nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in cells], metadata=kernel)


def _wait_for(address: str, server: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(300):
        assert server.poll() is None, f"JupyterLab did not start:\n{log.read_text()}"
        try:
            urllib.request.urlopen(address, timeout=5)
            return
        except OSError:
            time.sleep(0.2)
    pytest.fail(f"JupyterLab did not answer within a minute:\n{log.read_text()}")


def _run_all_cells(page: Any) -> None:
    page.locator(".jp-Notebook .jp-CodeCell").first.wait_for()
    page.get_by_text("| Idle").wait_for()  # in the status bar: asked sooner, JupyterLab would ask for a kernel
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Run All Cells", exact=True).click()


@pytest.mark.browser
def test_charts_draw_in_a_real_jupyterlab(lab: str, browser: Any, tmp_path: Path) -> None:
    notebook = NOTEBOOKS[0]
    page = browser.new_page(viewport={"width": 1280, "height": 4000})
    page.set_default_timeout(60_000)
    stumbles: list[str] = []
    page.on("pageerror", lambda error: stumbles.append(str(error)))
    page.goto(lab.format(name=notebook.name))
    _run_all_cells(page)
    drawn = page.locator(".jp-RenderedVegaLite :is(canvas, svg.marks)")
    try:
        for place in range(_charts(notebook)):
            drawn.nth(place).wait_for()
        _settle(page)
    finally:
        page.screenshot(path=_shot(tmp_path, "lab.png"))
    assert stumbles == []
    assert page.locator(".jp-RenderedText[data-mime-type='application/vnd.jupyter.stderr']").count() == 0
    sizes = [drawn.nth(place).bounding_box() for place in range(drawn.count())]
    assert len(sizes) == _charts(notebook)
    assert all(size and size["width"] > 300 and size["height"] > 60 for size in sizes), json.dumps(sizes)
    assert all(_has_ink(page, place) for place in range(drawn.count()))


@pytest.mark.browser
def test_a_panel_shows_what_the_line_that_it_hands_over_measures(
    lab: str, browser: Any, demo_store: Path, tmp_path: Path
) -> None:
    page = browser.new_page(viewport={"width": 1280, "height": 1600})
    page.set_default_timeout(60_000)
    stumbles: list[str] = []
    elsewhere: list[str] = []
    page.on("pageerror", lambda error: stumbles.append(str(error)))
    page.on("request", lambda asked: elsewhere.append(asked.url) if "//127.0.0.1:" not in asked.url else None)
    page.goto(lab.format(name="panel.ipynb"))
    _run_all_cells(page)
    try:
        _type(page, "Metrics", "delivered")
        _type(page, "By", "country")
        _type(page, "Only if", "domian = 'mail.example'")
        page.get_by_text("There is no column to filter by 'domian'. Did you mean 'domain'?").wait_for()
        _type(page, "Only if", "domain = 'mail.example'")
        page.locator("pre", has_text="where=").wait_for()
        page.locator(".jp-RenderedVegaLite :is(canvas, svg.marks)").wait_for()
        names: dict[str, Any] = {"tk": tk, "store": tk.open_store(demo_store)}
        exec(page.locator("pre", has_text="where=").inner_text().splitlines()[0], names)
        frame = names["frame"]
        assert frame.columns[:5] == ["domain", "country", "open_rate", "click_rate", "delivered"] and frame.height > 1
        rows = [list(map(_written, row)) for row in frame.rows()]
        assert _settled(page, lambda shown: shown == rows) == rows
        page.locator("table.dataTable th").nth(4).click()  # by what was delivered, the least first
        in_order = _settled(page, lambda shown: [row[4] for row in shown] == sorted((row[4] for row in rows), key=int))
    finally:
        page.screenshot(path=_shot(tmp_path, "panel.png"))
    assert [int(row[4]) for row in in_order] == sorted(frame["delivered"]) and sorted(in_order) == sorted(rows)
    assert (stumbles, elsewhere) == ([], [])


def _written(value: Any) -> str:
    """A value as the table has it."""
    return "" if value is None else f"{100 * value:.1f}%" if isinstance(value, float) else str(value)


def _settled(page: Any, is_wanted: Callable[[list[list[str]]], bool]) -> list[list[str]]:
    """The table of the panel as soon as it is as wanted, or after a minute as it is."""
    until = time.monotonic() + 60
    while not is_wanted(shown := _table(page)) and time.monotonic() < until:
        page.wait_for_timeout(200)
    return shown


def _type(page: Any, field: str, text: str) -> None:
    page.get_by_label(field, exact=True).fill(text)
    page.get_by_label(field, exact=True).press("Enter")


def _table(page: Any) -> list[list[str]]:
    rows = page.locator("table.dataTable tbody tr").all()
    return [row.locator("td").all_inner_texts() for row in rows]


def _settle(page: Any) -> None:
    """Wait until all cells have run: each has a number, none a star."""
    page.wait_for_function("""() => [...document.querySelectorAll('.jp-CodeCell .jp-InputPrompt')]
        .every(prompt => /\\d/.test(prompt.textContent))""")


def _has_ink(page: Any, place: int) -> bool:
    """Whether a canvas holds more than its background: at least three colours."""
    colours = """place => {
        const canvas = document.querySelectorAll('.jp-RenderedVegaLite canvas')[place];
        const image = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
        return new Set(new Uint32Array(image.data.buffer)).size;
    }"""
    return page.evaluate(colours, place) >= 3


def _shot(tmp_path: Path, name: str) -> str:
    """Where the picture goes; TRACKKIT_SHOTS keeps it for a person to look at."""
    kept = os.environ.get("TRACKKIT_SHOTS")
    return str(Path(kept or tmp_path) / name)
