"""Frames of pandas and lazy ones at the door; charts of any frame of `measure`; conditions of polars."""

from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

import polars as pl
import pytest

import trackkit as tk
from tests import drawn
from trackkit.engine.snapshot import Snapshot
from trackkit.errors import RequestError

MEASURED = pl.DataFrame(
    {
        "domain": ["a.example", "b.example", None],
        "country": ["FR", "BR", "BR"],
        "delivered": [4, 8, 0],
        "unique_opens": [2, None, 0],
        "open_rate": [0.5, None, None],
    }
)
EVENTS = Snapshot(
    {
        "event": pl.LazyFrame(
            {
                "delivery_id": ["7"] * 4,
                "message_id": ["m1", "m2", "m2", "m3"],
                "domain": ["a.example", "a.example", "a.example", "b.example"],
                "event_type": ["clicked", "clicked", "clicked", "clicked"],
                "is_seed": [False] * 4,
                "occurred_at": [date(2026, 5, day) for day in (1, 1, 2, 2)],
            },
            schema_overrides={"occurred_at": pl.Datetime("us", "UTC")},
        )
    }
)


@pytest.mark.parametrize("of", [pl.DataFrame.to_pandas, pl.DataFrame.lazy, pl.DataFrame.to_arrow])
def test_charts_and_tables_take_frames_of_others(of):
    by_domain = MEASURED.drop("country")
    frame = of(by_domain)
    names = ["delivered", "unique_opens", "open_rate"]
    assert tk.charts.rate_bars(frame, "domain", ["open_rate"]).to_dict() == tk.charts.rate_bars(
        MEASURED, "domain", ["open_rate"]
    ).to_dict()  # fmt: skip
    shown, ours = (tk.tables.breakdown_table(rows, "domain", names) for rows in (frame, by_domain))
    assert shown._repr_html_().split("<tbody")[1] == ours._repr_html_().split("<tbody")[1]
    assert tk.tables.largest(frame, "domain", 1).equals(tk.tables.largest(by_domain, "domain", 1))


def test_a_keyword_is_a_door_too():
    assert drawn.rows(tk.charts.rate_bars(measured=MEASURED.to_pandas(), by="domain", rates=["open_rate"]))


def test_bars_are_in_the_order_of_the_frame_and_say_the_parts_of_a_rate():
    chart = tk.charts.bars(MEASURED, "domain", "open_rate")
    assert [(row["domain"], row["open_rate"]) for row in drawn.rows(chart)] == [
        ("a.example", 0.5), ("b.example", None), ("(unknown) ", None),
    ]  # fmt: skip
    shown = drawn.encoding(chart)
    assert [tip["field"] for tip in shown["tooltip"]] == ["domain", "open_rate", "unique_opens", "delivered"]
    assert shown["y"]["sort"] is None
    with pytest.raises(RequestError, match="no column 'domian'"):
        tk.charts.bars(MEASURED, "domian", "open_rate")


def test_a_heatmap_has_a_tile_for_each_pair_and_says_the_parts_of_its_rate():
    chart = tk.charts.heatmap(MEASURED, "country", "domain", "open_rate")
    rows = drawn.rows(chart)
    assert [(row["country"], row["domain"], row["open_rate"]) for row in rows] == [
        ("FR", "a.example", 0.5), ("BR", "b.example", None), ("BR", "(unknown) ", None),
    ]  # fmt: skip
    assert [tip["field"] for tip in drawn.encoding(chart)["tooltip"]] == [
        "country", "domain", "open_rate", "unique_opens", "delivered",
    ]  # fmt: skip
    assert chart.to_dict()["description"] == "Open rate (recipients), by Country, Domain."


def test_lines_go_along_days_and_dots_lack_what_is_unknown():
    by_day = tk.measure(EVENTS, "total_clicks", by=["day", "domain"])
    chart = tk.charts.lines(by_day, "day", "total_clicks", "domain")
    assert [(row["day"][:10], row["domain"], row["total_clicks"]) for row in drawn.rows(chart)] == [
        ("2026-05-01", "a.example", 2), ("2026-05-02", "a.example", 1), ("2026-05-02", "b.example", 1),
    ]  # fmt: skip
    dots = tk.charts.dots(MEASURED, "open_rate", "delivered", by="domain", size="delivered")
    assert [row["domain"] for row in drawn.rows(dots)] == ["a.example"]


def test_intervals_are_lines_between_bounds_and_a_difference_has_a_line_at_none():
    rates = MEASURED.with_columns(
        open_rate_low=pl.Series([0.15, None, None]), open_rate_high=pl.Series([0.85, None, None])
    )
    chart = tk.charts.intervals(rates, "domain", "open_rate").to_dict()
    ((row,),) = chart["datasets"].values()
    assert (row["domain"], row["open_rate_low"], row["open_rate_high"]) == ("a.example", 0.15, 0.85)
    assert [layer["mark"]["type"] for layer in chart["layer"]] == ["rule", "circle"]
    tips = chart["layer"][1]["encoding"]["tooltip"]
    assert [(tip["field"], tip["format"]) for tip in tips[1:4]] == [
        ("open_rate", ".2%"), ("open_rate_low", ".2%"), ("open_rate_high", ".2%")
    ]  # fmt: skip
    assert [tip["field"] for tip in tips[4:]] == ["unique_opens", "delivered"]
    compared = pl.DataFrame({"metric": ["open_rate"], "difference": [0.01], "low": [-0.02], "high": [0.04]})
    chart = tk.charts.intervals(compared, "metric", "difference").to_dict()
    assert [layer["mark"]["type"] for layer in chart["layer"]] == ["rule", "rule", "circle"]
    assert next(iter(chart["datasets"].values()))[0]["metric"] == "Open rate (recipients)"
    with pytest.raises(RequestError, match="no column 'open_rate_low'"):
        tk.charts.intervals(MEASURED, "domain", "open_rate")


def test_more_lines_than_colours_are_refused():
    many = pl.DataFrame(
        {"day": [date(2026, 5, 1)] * 30, "device": [f"d{n}" for n in range(30)], "total_clicks": [1] * 30}
    )
    with pytest.raises(RequestError, match="30 lines cannot be told apart"):
        tk.charts.lines(many, "day", "total_clicks", "device")


def test_they_can_be_restyled_and_refuse_what_is_not_there():
    restyled = tk.charts.heatmap(MEASURED, "country", "domain", "open_rate").properties(title="Mine")
    assert restyled.to_dict()["title"] == "Mine"
    with pytest.raises(RequestError, match="Did you mean 'country'"):
        tk.charts.heatmap(MEASURED, "contry", "domain", "open_rate")


@pytest.mark.parametrize(
    ("test", "sql"),
    [
        (pl.col("domain") == "a.example", "domain = 'a.example'"),
        (pl.col("day") >= date(2026, 5, 2), "day >= '2026-05-02'"),
        (
            pl.col("domain").is_in(["b.example"]) | (pl.col("day") == date(2026, 5, 1)),
            "domain = 'b.example' OR day = '2026-05-01'",
        ),
    ],
)
def test_a_condition_of_polars_is_that_of_sql(test, sql):
    clicks, asked = ["total_clicks", "unique_clicks"], {"by": "delivery_id"}
    assert tk.measure(EVENTS, clicks, where=test, **asked).equals(tk.measure(EVENTS, clicks, where=sql, **asked))


def test_an_instant_of_a_condition_is_in_the_zone_of_the_question():
    noon = datetime(2026, 5, 1, 12, tzinfo=ZoneInfo("Europe/Paris"))
    asked = {"by": [], "timezone": "Europe/Paris"}
    assert tk.measure(EVENTS, "total_clicks", where=pl.col("hour") < noon, **asked).item() == 2  # those of 1 May
    with pytest.raises(RequestError, match=r"is not understood.*Europe/Paris.*UTC"):
        tk.measure(EVENTS, "total_clicks", where=pl.col("hour") < noon.astimezone(UTC), **asked)


def test_it_counts_the_rows_that_meet_it():
    assert tk.measure(EVENTS, "total_clicks", by=[], where=pl.col("domain") == "a.example").item() == 3


@pytest.mark.parametrize(
    ("test", "words"),
    [
        (pl.col("domian") == "x", "no column to filter by 'domian'. Did you mean 'domain'?"),
        (pl.lit(True), "tests no column"),
        (pl.col("domain"), "neither true nor false of a row: it is String"),
        (pl.col("domain") > 5, "is not understood"),
        (pl.col("day").max() > date(2026, 5, 1), "tests all rows together"),
    ],
)
def test_what_is_no_condition_is_refused(test, words):
    with pytest.raises(RequestError) as refused:
        tk.measure(EVENTS, "total_clicks", where=test)
    assert words in str(refused.value)
