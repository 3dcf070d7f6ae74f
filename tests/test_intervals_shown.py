"""Intervals on pages: in brackets beneath a rate where the template asks for them, with what they mean, and as data."""

from pathlib import Path
from typing import Any

import polars as pl
import pytest
from bs4 import BeautifulSoup
from markupsafe import Markup

from tests.test_intervals import campaign
from tests.test_template import GOOD
from trackkit import open_page, resources
from trackkit.analysis.intervals import anomalies
from trackkit.engine.measure import measure
from trackkit.errors import RequestError
from trackkit.report import render
from trackkit.report.template import template
from trackkit.show import tables, tiles
from trackkit.show.findings import unlike_others

# Of 400, 20 clicked: Wilson's interval is from 3.26 % to 7.60 %; of 20, all: from 83.9 % on.
BRACKETS = ["(3.3–7.6%)", "(83.9–100.0%)"]


def brackets(html: Any) -> list[str]:
    return [found.get_text() for found in BeautifulSoup(str(html), "html.parser").select(".tk-range")]


def test_tables_show_bounds_that_a_frame_has_and_carry_them_as_data() -> None:
    rates = ["recipient_click_rate", "click_to_open_rate", "delivery_rate"]
    store = campaign({"7": [1] * 20})
    row = measure(store, rates, interval=0.95)
    for table in (tables.metric_table(row, rates), tables.breakdown_table(row, "delivery_id", rates)):
        assert brackets(table.as_raw_html()) == BRACKETS
        assert table.data is not None
        wanted = [row["recipient_click_rate_low"].item(), row["recipient_click_rate_high"].item()]
        columns = [column["name"] for column in table.data["columns"]]
        place = next(at for at, name in enumerate(columns) if name.endswith("low"))
        assert table.data["rows"][0][place : place + 2] == wanted
        assert [round(bound, 4) for bound in wanted] == [0.0326, 0.076]
        labels = " ".join(str(column) for column in table.data["columns"])
        assert "lower bound" in labels and "upper bound" in labels
    plain = tables.breakdown_table(measure(store, rates), "delivery_id", rates)
    assert not brackets(plain.as_raw_html()) and "bound" not in str(plain.data)


def test_they_are_written_as_a_language_writes_numbers() -> None:
    row = measure(campaign({"7": [1] * 20}), "recipient_click_rate", interval=0.95)
    assert brackets(tables.metric_table(row, ["recipient_click_rate"], lang="pt_BR").as_raw_html()) == ["(3,3–7,6%)"]


def test_tiles_have_them_where_the_template_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = open_page("overview", campaign({"7": [1] * 20}), delivery="7")
    asked = ["recipient_click_rate", "click_to_open_rate", "delivery_rate", "total_click_rate"]
    block = tiles.row(page, asked)
    # Opens cannot be seen, since there are none of clicks alone; a planned count has no interval.
    assert page.interval == 0.95 and brackets(block.html) == [BRACKETS[0], "(3.3–7.7%)"] and block.data is not None
    place = [column["name"] for column in block.data["columns"]].index("low")
    assert [row[place] is None for row in block.data["rows"]] == [False, True, True, False]
    shipped = resources.find("reports_templates/overview.toml").read_text("utf-8")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "trackkit.toml").touch()
    (tmp_path / "reports_templates").mkdir()
    without = "\n".join(line for line in shipped.splitlines() if not line.startswith("interval"))
    (tmp_path / "reports_templates/overview.toml").write_text(without, "utf-8")
    page = open_page("overview", campaign({"7": [1] * 20}), delivery="7")
    block = tiles.row(page, asked)
    assert page.interval is None and not brackets(block.html) and "bound" not in str(block.data)


@pytest.mark.parametrize(
    ("line", "said"),
    [("interval = 95", "a confidence between 0 and 1, as 0.95"), ("interval = 0", "a confidence between 0 and 1"),
     ("interval = true", "interval"), ("interval = 0.95", "no figure of this report has one"),
     ("intervall = 0.95", "Did you mean 'interval'")],
)  # fmt: skip
def test_a_template_that_cannot_show_them_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str, said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "trackkit.toml").touch()
    (tmp_path / "reports_templates").mkdir()
    (tmp_path / "reports_templates/urls_and_click_streams.toml").write_text(line + GOOD, "utf-8")
    with pytest.raises(RequestError) as refused:
        template("urls_and_click_streams")
    assert said in str(refused.value) and "key 'interval" in str(refused.value)


def test_a_page_says_once_what_they_mean(demo_store: Path, delivery: str, tmp_path: Path) -> None:
    page = render("delivery_statistics", demo_store, tmp_path, delivery).read_text("utf-8")
    assert page.count("In brackets: between what the rate of recipients such as these lies, with 95% confidence") == 1
    assert page.count("allow for chance") == 1 and len(brackets(page)) > 20


# ---- domains unlike the others ----

METRIC = "recipient_click_rate"


def by_domain(clicks: list[int], names: str = "abcdef") -> pl.DataFrame:
    frame = pl.DataFrame({"domain": list(names), "unique_clicks": clicks}).with_columns(delivered=300)
    return frame.with_columns((pl.col("unique_clicks") / 300).alias(METRIC))


def test_the_domain_unlike_the_others_is_the_finding_and_the_only_row() -> None:
    found = anomalies(by_domain([30, 31, 29, 33, 28, 90]), "domain", [METRIC])
    assert found.columns == ["name", "metric", "part", "whole", "rate", "usual", "z", "p", "is_unusual"]
    assert found["name"][0] == "f" and found["is_unusual"].to_list() == [True] + [False] * 5
    finding = unlike_others(found)
    assert finding and finding.text == "f: Click rate (recipients) 30.0% (90 of 300), where 10.3% is usual"
    table = tables.anomalies.anomaly_table(found, ["name", "metric", "rate", "usual"])
    assert table is not None
    cells = [cell.get_text(" ") for cell in BeautifulSoup(table.as_raw_html(), "html.parser").select("tbody td")]
    assert cells == ["f", "Click rate (recipients)", "30.0% 90 of 300", "10.3%"]


def test_where_none_is_unlike_the_others_there_is_no_section() -> None:
    alike = anomalies(by_domain([30, 31, 29, 33, 28, 27]), "domain", [METRIC])
    assert alike.height == 6 and unlike_others(alike) is None
    assert tables.anomalies.anomaly_table(alike, ["name"]) is None
    nothing = anomalies(by_domain([1, 2], "ab"), "domain", [METRIC])
    assert nothing.is_empty() and unlike_others(nothing) is None


def test_others_added_up_and_hostile_names() -> None:
    frame = by_domain([30, 31, 29, 33, 28, 90]).with_columns(domain=pl.Series(["Others", *"bcde", "<b>f"]))
    found = anomalies(frame, "domain", [METRIC])
    table = tables.anomalies.anomaly_table(found, ["name"])
    assert "Others" not in found["name"] and table is not None
    assert str(Markup.escape("<b>f")) in table.as_raw_html()
