"""One figure, wherever it is read: at the prompt, in a notebook, in the HTML of a report and of the index."""

import json
import re
import subprocess
import sys

import pytest
from bs4 import BeautifulSoup

import trackkit as tk
from trackkit.metrics import METRICS
from trackkit.runs.due import deliveries, run
from trackkit.show.wording import figure


@pytest.fixture(scope="module")
def store(demo_store):
    return tk.open_store(str(demo_store))


@pytest.fixture(scope="module")
def busiest(store):
    return max(deliveries(store), key=lambda name: tk.measure(store, "total_clicks", delivery=name)["total_clicks"][0])


@pytest.fixture(scope="module")
def at_the_prompt(demo_store, busiest):
    command = [sys.executable, "-m", "trackkit", "measure", "--store", str(demo_store), "--delivery", busiest,
               "--output", "json"]  # fmt: skip
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)[0]


def _cells(path) -> dict[str, list[str]]:
    """The rows of a page's figures: label -> its cells, a rate's parts apart from it; the total of the domains."""
    page = BeautifulSoup(path.read_text("utf-8"), "lxml")
    for mark in page.select(".tk-what"):
        mark.decompose()
    found = page.select(".gt_table tbody tr") + page.select("#open_and_click_through tbody tr")
    rows = [[cell.get_text(" ", strip=True) for cell in row.find_all(["th", "td"])] for row in found]
    return {row[0]: row[1:] for row in rows if row}


def test_prompt_and_notebook_agree(store, busiest, at_the_prompt):
    measured = tk.measure(store, delivery=busiest).to_dicts()[0]
    assert at_the_prompt == measured


def test_prompt_and_html_agree(demo_store, busiest, at_the_prompt, tmp_path):
    cells = _cells(tk.render("tracking_indicators", demo_store, tmp_path, delivery=busiest))
    counted = ("to_deliver", "estimated_unique_opens", "estimated_total_opens", "unsubscribe_clicks",
               "mirror_page_clicks", "estimated_forwards", "unique_people_clicks", "total_clicks", "unique_clicks",
               "web_visits", "transactions", "transaction_amount", "transaction_articles",
               "refused_visits")  # fmt: skip
    labels = {name: METRICS[name].label for name in counted}
    shown = {name: cells[label][0] for name, label in labels.items()}
    assert shown == {name: figure(name, at_the_prompt[name]) for name in counted}

    def share(name: str) -> str:
        return figure(name, at_the_prompt[name], "en", at_the_prompt[METRICS[name].denominator])

    rate = cells["Estimated recipient reactivity"][-1]
    parts = f"{figure('unique_clicks', at_the_prompt['unique_clicks'])} of "
    assert rate.startswith(share("estimated_click_to_open_rate")) and parts in rate
    total = cells["Total"]
    assert total[0] == figure("delivered", at_the_prompt["delivered"])
    assert total[2].startswith(share("open_rate"))


def test_prompt_and_index_agree(demo_store, busiest, at_the_prompt, tmp_path):
    run(demo_store, tmp_path, reports=["delivery_tracking"], delivery=[busiest])
    page = BeautifulSoup((tmp_path / "index.html").read_text("utf-8"), "lxml")
    shown = [cell.get_text(" ", strip=True) for cell in page.select("#deliveries tbody td.number:not(.processed)")]
    names = ("delivery_rate", "open_rate", "recipient_click_rate", "click_to_open_rate")
    wholes = [at_the_prompt[METRICS[name].denominator] for name in names]
    expected = [figure(name, at_the_prompt[name], "en", whole) for name, whole in zip(names, wholes, strict=True)]
    assert [re.split(r"(?<=%) ", cell)[0] for cell in shown] == expected
