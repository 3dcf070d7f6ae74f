"""Charts: what is drawn from which figures, in words, with the theme; and that notebooks and JupyterLab can show it."""

import json
from datetime import UTC, date, datetime

import altair as alt
import nbformat
import polars as pl
import pytest
import vl_convert

from tests import drawn
from tests.spec.golden import DELIVERY_ID, golden
from trackkit.analysis import curves, links
from trackkit.engine.measure import measure
from trackkit.show import charts
from trackkit.show.charts.canvas import WIDTH
from trackkit.show.theme import theme


def _drawn() -> dict[str, alt.TopLevelMixin]:
    tables = golden()
    by_domain = measure(tables, ["delivered", "open_rate", "recipient_click_rate"], by="domain", delivery=DELIVERY_ID)
    return {
        "pareto_curve": charts.pareto_curve(curves.cumulative_activity(tables, DELIVERY_ID)),
        "activity_columns": charts.activity_columns(curves.activity(tables, DELIVERY_ID)),
        "click_days": charts.click_days(links.clicks_per_day(tables, DELIVERY_ID)),
        "rate_bars": charts.rate_bars(by_domain, "domain", ["open_rate", "recipient_click_rate"]),
    }


@pytest.mark.parametrize("name", _drawn())
def test_a_chart_is_valid_drawable_and_says_what_it_is(name: str) -> None:
    chart = _drawn()[name]
    spec = chart.to_dict()
    assert spec["description"].endswith(".")
    assert spec["width"] == WIDTH, "JupyterLab draws a container's width for ever"
    assert spec["config"]["mark"] == {"color": theme().light.accent}
    svg = vl_convert.vegalite_to_svg(spec)
    assert svg.count("<path") > 3 and "NaN" not in svg
    tooltips = drawn.encoding(chart)["tooltip"]
    assert all(tooltip["field"] not in ("image", "title") and tooltip["title"] for tooltip in tooltips)


def test_a_notebook_takes_what_a_chart_shows() -> None:
    bundle = _drawn()["click_days"]._repr_mimebundle_()
    assert set(bundle) == {
        "application/vnd.vegalite.v5+json",
        "application/vnd.trackkit.table+json",
        "text/plain",
    }
    assert bundle["text/plain"] == "Clicks of each day, by link."
    output = nbformat.v4.new_output("display_data", data=bundle)
    nbformat.validate(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("x", outputs=[output])]))


def test_the_curve_ends_at_the_whole_and_leaves_out_what_never_happened() -> None:
    rows = drawn.rows(charts.pareto_curve(curves.cumulative_activity(golden(), DELIVERY_ID)))
    assert {row["name"] for row in rows} == {"Sum of opens", "Cumulated clicks"}
    assert {row["name"]: row["cumulated"] for row in rows if row["share"] == 1} == {
        "Sum of opens": 4, "Cumulated clicks": 15,
    }  # fmt: skip


def test_columns_stand_where_the_clocks_of_the_zone_stood() -> None:
    hours = pl.DataFrame(
        {
            "starts_at": [datetime(2026, 3, 1, 9), datetime(2026, 3, 20, 9)],
            "series": ["opens", "clicks"],
            "count": [3, 2],
        }
    ).with_columns(pl.col("starts_at").dt.replace_time_zone("America/Sao_Paulo"))
    chart = charts.activity_columns(hours, "3h", days=7)
    (row,) = drawn.rows(chart)
    nine = datetime(2026, 3, 1, 12, tzinfo=UTC).timestamp() * 1_000  # three hours behind UTC
    assert row["starts_at"] == nine and row["when"] == "Sun, 2026-03-01 09:00"
    assert row["ends_at"] - row["starts_at"] == pytest.approx(3 * 3_600_000 * 0.92)
    assert chart.to_dict()["description"].endswith("Not drawn: 2 later events until Fri, 2026-03-20.")
    assert drawn.encoding(chart)["x"]["title"] is None  # said once, below the chart


def test_each_link_has_its_colour_and_the_others_the_last() -> None:
    per_day = pl.DataFrame(
        {"day": [date(2026, 1, 1)] * 4, "rank": [1, 2, 3, None], "row": ["link"] * 3 + ["others"],
         "link": ["Home", "Others", "<b>\u202ex" + "y" * 500, "Others"], "clicks": [4, 3, 2, 1]}
    )  # fmt: skip
    chart = charts.click_days(per_day, labels={"others": "Others"})
    scale = chart.to_dict()["encoding"]["color"]["scale"]
    assert scale["domain"] == ["Home", "Others", "<b>\ufffdx" + "y" * 74 + "…", "Others "]
    series = theme().light.series
    assert scale["range"] == [*series[:3], series[-1]]
    assert [row["clicks"] for row in drawn.rows(chart)] == [4, 3, 2, 1]


def test_two_links_that_look_alike_when_shortened_stay_two() -> None:
    per_day = pl.DataFrame(
        {"day": [date(2026, 1, 1)] * 2, "rank": [1, 2], "row": ["link"] * 2,
         "link": ["x" * 500 + "1", "x" * 500 + "2"], "clicks": [4, 3]}
    )  # fmt: skip
    assert len(set(charts.click_days(per_day).to_dict()["encoding"]["color"]["scale"]["domain"])) == 2


def test_charts_of_nothing_are_charts() -> None:
    tables = golden()
    unread = pl.DataFrame({"domain": ["a"], "unique_opens": [0], "delivered": [2], "open_rate": [0.0]})
    assert drawn.rows(charts.rate_bars(unread, "domain", ["open_rate"])) == []
    empty = [
        charts.pareto_curve(curves.cumulative_activity(tables, DELIVERY_ID).clear()),
        charts.activity_columns(curves.activity(tables, DELIVERY_ID).clear(), days=3),
        charts.click_days(links.clicks_per_day(tables, DELIVERY_ID).clear()),
    ]
    for chart in empty:
        assert json.dumps(chart.to_dict())


def test_a_chart_can_be_restyled() -> None:
    chart = charts.click_days(links.clicks_per_day(golden(), DELIVERY_ID)).properties(height=100)
    assert isinstance(chart, alt.Chart) and chart.to_dict()["height"] == 100
