"""What pages say of a delivery that is not finished: the card of the Overview, and the corrected curve."""

from pathlib import Path

import polars as pl
import pytest
from bs4 import BeautifulSoup

import trackkit as tk
from tests.test_maturity import LAUNCH, later, peers, rows_of, store, young
from trackkit.analysis.maturity import forecast, growing
from trackkit.show.charts.maturity import growth
from trackkit.show.findings import how_far
from trackkit.show.tables.overview import forecast_table

RUNNING, FINISHED = 55, 95


def test_the_sentence() -> None:
    ahead = forecast(store(*peers(), young()), "own")
    assert getattr(how_far(ahead), "text", None) == (
        "In the end 15.8% to 27.1% will have opened; "
        "at the newest hit known, 2 h after the launch, 50% of the final opens are expected to be in"
    )
    few = forecast(store(*peers(2), young()), "own")
    assert getattr(how_far(few), "text", None) == (
        "At the newest hit known, 2 h after the launch, what it will come to cannot be said: "
        "fewer than three comparable deliveries are finished"
    )


def test_a_finished_or_unsent_delivery_says_nothing() -> None:
    finished = store(*peers(), young(state=FINISHED), rows_of("z", LAUNCH.replace(month=9), 1, [0.0]))
    for given in (finished, store(*peers(), young(0, 0), later())):
        assert how_far(forecast(given, "own")) is None and forecast_table(forecast(given, "own")) is None
        assert growth(growing(given, "own")) is None
    assert growing(finished, "own").is_empty()


def cells(ahead: pl.DataFrame) -> tuple[list[str], list[list[str]]]:
    table = forecast_table(ahead)
    assert table is not None
    soup = BeautifulSoup(table.as_raw_html(), "html.parser")
    rows = [[each.get_text(" ") for each in row.find_all(["th", "td"])] for row in soup.find_all("tr")]
    return rows[0], rows[1:]


def test_the_table() -> None:
    heads, rows = cells(forecast(store(*peers(), young()), "own").with_columns(agrees=True))
    assert heads[1:] == ["So far", "Expected by now, of the final count", "In the end", "In nine of ten such cases",
                         "Comparable deliveries"]  # fmt: skip
    assert rows == [["Opened", "100", "50%", "20.0% 200 of 1,000", "15.8% to 27.1% 158 to 271", "3"]]


def test_a_contradiction_has_a_column() -> None:
    heads, rows = cells(forecast(store(*peers(), young()), "own"))
    # 99 opened after half an hour and one after two: by itself that looks as if it were over.
    assert (heads[-1], rows[0][-1]) == ("By this delivery alone, which contradicts", "10.00%")


def test_the_curve_ends_where_few_are_watched() -> None:
    own = young(40, messages=60)  # 39 opened after half an hour: 21 are still watched when the last one opens
    curve = growing(store(*peers(), own), "own").filter(pl.col("series") == "opens")
    assert curve["hours"].to_list() == [0, 0.5] and curve["at_risk"].to_list() == [60, 60]
    assert growth(curve) is not None


@pytest.mark.parametrize(("states", "is_shown"), [([RUNNING, 75], True), ([FINISHED], False)])
def test_on_the_pages_of_the_demo(tmp_path: Path, demo_store: Path, states: list[int], is_shown: bool) -> None:
    deliveries = tk.open_store(demo_store).scan("delivery").filter(pl.col("state").is_in(states), ~pl.col("is_proof"))
    delivery = deliveries.sort("started_at").collect()["delivery_id"][0]
    for report, section in (("overview", "maturity"), ("tracking_statistics", "growth")):
        html = tk.render(report, demo_store, tmp_path, delivery=delivery).read_text("utf-8")
        assert (f'<section id="{section}"' in html) is is_shown
