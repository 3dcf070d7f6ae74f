"""Pages of people alone (`--activity human`) and of another sender's definitions: every figure follows, or says so."""

from pathlib import Path
from typing import Any

import polars as pl
import pytest
from bs4 import BeautifulSoup
from polars.testing import assert_frame_equal

import trackkit as tk
from trackkit.engine.selection import of_people
from trackkit.errors import RequestError
from trackkit.report import common
from trackkit.report.header import PEOPLE_ALONE, UNTOLD_WHO
from trackkit.runs.due import run
from trackkit.runs.manifest import Manifest
from trackkit.show.wording import number

RATES = ["open_rate", "recipient_click_rate", "recipient_unsubscribe_rate"]


@pytest.fixture(scope="session")
def people(demo_store: Path, delivery: str) -> dict[str, Any]:
    """The rates of a delivery by people, with their parts; the demo's scanners and prefetches are not in them."""
    counted = tk.measure(tk.open_store(demo_store), RATES, delivery=delivery, activity="human").row(0, named=True)
    everybody = tk.measure(tk.open_store(demo_store), RATES, delivery=delivery).row(0, named=True)
    assert counted["unique_opens"] < everybody["unique_opens"] and counted["delivered"] == everybody["delivered"]
    return counted


def words(node: Any) -> str:
    return " ".join(node.get_text(" ").split())


def test_tables_of_people_answer_every_question_as_measure_does(demo_store: Path) -> None:
    tables = tk.open_store(str(demo_store)).snapshot()
    for by in ("delivery_id", "domain", []):
        assert_frame_equal(tk.measure(of_people(tables), by=by), tk.measure(tables, by=by, activity="human"))


def test_every_figure_of_a_page_of_people_follows(demo_store: Path, delivery: str, people: dict[str, Any]) -> None:
    page = tk.open_page("overview", demo_store, delivery=delivery, activity="human")
    assert page.header.line[-1] == "people only" and page.header.notes[0] == PEOPLE_ALONE
    assert page.measure(RATES).row(0, named=True).items() >= people.items()
    assert dict(page.headline(RATES).select("metric", "value").rows()) == {name: people[name] for name in RATES}
    assert page.provenance("open_rate")["figures"]["open_rate"]["numerator"] == ["unique_opens", people["unique_opens"]]
    steps = dict(tk.overview.funnel(page.tables, page.chosen).select("step", "count").rows())
    assert steps["unique_clicks"] == people["unique_clicks"]
    both = tk.machines.people(page.tables, page.chosen), tk.machines.people(tk.open_store(demo_store), delivery)
    assert_frame_equal(*both)  # which shows machines beside people, in either case


def test_what_nobody_is_told_apart_in_says_so(demo_store: Path) -> None:
    acts = tk.open_page("subscription_tracking", demo_store, service="", activity="human").header
    shown = tk.open_page("web_application", demo_store, activity="human").header
    assert (acts.notes[0], shown.notes[0]) == (UNTOLD_WHO["subscription"], UNTOLD_WHO["page_hit"])
    assert acts.line[-1] == shown.line[-1] == "people and machines" and "people only" not in [*acts.line, *shown.line]
    bounces = tk.open_page("bounces", demo_store, scope="platform", activity="human").header
    assert PEOPLE_ALONE not in bounces.notes  # messages are counted as they are


def test_what_a_renderer_hands_over_is_of_people_too(
    demo_store: Path, delivery: str, people: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(common, "_handed", {})
    asked = {"store": str(demo_store), "delivery": delivery, "activity": "human"}
    common.take(common.packed(asked))
    handed = tk.open_page("overview", **asked).usual
    assert handed is not None
    assert handed.filter(pl.col("metric") == "open_rate")["value"].item() == people["open_rate"]
    assert tk.open_page("overview", **(asked | {"activity": "all"})).usual is None


def test_a_run_of_people_makes_other_pages_and_an_index_that_says_so(
    demo_store: Path, delivery: str, people: dict[str, Any], tmp_path: Path
) -> None:
    def ran(activity: str) -> tuple[list[str], str]:
        summary = run(demo_store, tmp_path, ["tracking_indicators"], [delivery], jobs=1, activity=activity)
        return summary.rendered, words(BeautifulSoup((tmp_path / "index.html").read_text("utf-8"), "lxml"))

    name = f"{delivery}/tracking_indicators/en"
    rendered, index = ran("human")
    opened = f"{number(people['unique_opens'])} of {number(people['delivered'])}"
    assert rendered == [name] and PEOPLE_ALONE in index and opened in index
    entry = Manifest.read(tmp_path).entries[name]
    page = BeautifulSoup((tmp_path / entry["path"]).read_text("utf-8"), "lxml")
    assert entry["parameters"] == {"activity": "human"} and "people only" in words(page.select_one("header .line"))
    assert opened in words(page.select_one("main"))
    assert ran("human")[0] == [] and Manifest.read(tmp_path).activity == "human"
    rendered, index = ran("all")
    assert rendered == [name] and PEOPLE_ALONE not in index and opened not in index


def test_an_unknown_activity_is_refused(demo_store: Path, tmp_path: Path) -> None:
    for asked in (
        tk.open_page,
        lambda *given, activity: tk.render(*given, tmp_path, parameters={"activity": activity}),
    ):
        with pytest.raises(RequestError, match="Did you mean 'human'"):
            asked("browsers", demo_store, activity="humans")  # type: ignore[operator]


@pytest.mark.parametrize("report", ["overview", "cumulative"])
def test_a_page_follows_a_definition_set(demo_store: Path, delivery: str, tmp_path: Path, report: str) -> None:
    about = {"delivery": delivery} if report == "overview" else {"parameters": {"deliveries": delivery}}
    asked = {"definitions": "mailchimp", **about.pop("parameters", {})}
    path = tk.render(report, demo_store, tmp_path, parameters=asked, **about)  # type: ignore[arg-type]
    page = BeautifulSoup(path.read_text("utf-8"), "lxml")
    theirs = tk.measure(
        tk.open_store(demo_store), ["open_rate", "delivery_rate"], delivery=delivery, definitions="mailchimp"
    )
    row = theirs.row(0, named=True)
    tiles = [words(tile) for tile in page.select(".tk-tile")]
    assert "Successful deliveries" in tiles[0] and "Open rate" in tiles[1]
    assert f"{number(row['unique_opens'])} of {number(row['successful_deliveries'])}" in tiles[1]
    assert f"{number(row['successful_deliveries'])} of {number(row['recipients'])}" in tiles[0]
    assert "definitions: Mailchimp" in words(page.select_one("header .line"))
    section = page.select_one("#funnel" if report == "overview" else "#reception_statistics")
    assert "those of the platform's own definitions" in words(section)
