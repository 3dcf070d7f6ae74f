"""The shapes of charts: panels, bars with figures, one bar of a whole, dots; where they end, and their colours.

Expected places and words are worked out by hand.
"""

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise

import altair as alt
import polars as pl
import pytest

from tests import drawn
from trackkit.report.picture import _shortened
from trackkit.show import charts
from trackkit.show.charts import behind
from trackkit.show.charts.clock import band_labels, periods_that_fit, time_labels, until_most
from trackkit.show.charts.shapes import FILLED
from trackkit.show.theme import Colours, theme

LATER = ["Thu 15 Oct", "Sat 17 Oct", "Mon 19 Oct"]
SUNDAY = datetime(2026, 10, 11, 17, tzinfo=UTC)


def _activity(*rows: tuple[datetime, str, int]) -> pl.DataFrame:
    return pl.DataFrame(
        rows,
        schema={"starts_at": pl.Datetime("us", "UTC"), "series": pl.String, "count": pl.Int64},
        orient="row",
    )


def _counts(**counts: int | None) -> pl.DataFrame:
    return pl.DataFrame([counts], schema=dict.fromkeys(counts, pl.Int64))


def _legend(chart: alt.TopLevelMixin) -> str:
    return str(drawn.encoding(chart)["color"]["legend"]["labelExpr"])


def _brightness(colour: str) -> float:
    """Relative luminance, as WCAG 2 defines it."""
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _contrast(one: str, other: str) -> float:
    darker, lighter = sorted((_brightness(one), _brightness(other)))
    return (lighter + 0.05) / (darker + 0.05)


@pytest.mark.parametrize("colours", [theme().light, theme().dark], ids=["light", "dark"])
def test_series_stand_out_and_tell_apart_without_colour(colours: Colours) -> None:
    assert all(_contrast(colour, colours.panel) >= 3 for colour in colours.series)
    neighbours = [*pairwise(colours.series), (colours.series[3], colours.series[-1])]
    assert min(_contrast(*pair) for pair in neighbours) > 1.45
    assert len(set(colours.series)) == len(colours.series) and colours.series[0] == colours.accent


def test_each_series_has_a_panel_and_a_scale_of_its_own() -> None:
    later = SUNDAY + timedelta(hours=1)
    chart = charts.activity_columns(_activity((SUNDAY, "opens", 4), (SUNDAY, "clicks", 3), (later, "opens", 1)))
    rows = {(row["name"], row["count"]): (row["bottom"], row["top"]) for row in drawn.rows(chart)}
    assert rows == {
        ("Sum of opens", 4): (1, 1 + FILLED),
        ("Sum of opens", 1): (1, pytest.approx(1 + FILLED / 4)),
        ("Cumulated clicks", 3): (0, pytest.approx(FILLED)),
    }
    axis = drawn.encoding(chart)["y"]["axis"]
    halves, thirds = [1, 1 + FILLED / 2, 1 + FILLED], [0, FILLED / 3, FILLED * 2 / 3, FILLED]
    assert axis["values"] == pytest.approx([*halves, *thirds], abs=1e-4)
    assert axis["labelExpr"].startswith('["0", "2", "4", "0", "1", "2", "3"]') and axis["tickCount"] == 7
    assert drawn.words(chart) == ["Sum of opens", "Cumulated clicks"]


@pytest.mark.parametrize(
    ("launched", "is_marked"),
    [(SUNDAY, True), (SUNDAY - timedelta(minutes=50), True), (datetime(2026, 9, 1, tzinfo=UTC), False)],
)
def test_the_launch_is_marked_where_the_axis_is_near(launched: datetime, is_marked: bool) -> None:
    chart = charts.activity_columns(_activity((SUNDAY, "opens", 4)), launched=[launched])
    assert ("Launch" in drawn.words(chart)) == is_marked


def test_what_is_within_three_days_is_drawn_by_the_hour() -> None:
    # 17:00 and 17:30 are one hour, 18:00 another; in days all of them are one.
    short = _activity(*((SUNDAY + timedelta(minutes=30 * n), "opens", 2) for n in range(3)))
    by_hour, step = periods_that_fit(short, "1d", ["count"])
    assert step == "30m" and by_hour["count"].to_list() == [2, 2, 2]
    # More than six hours are drawn by the hour.
    long = _activity(*((SUNDAY + timedelta(minutes=30 * n), "opens", 2) for n in (0, 1, 2, 12)))
    by_hour, step = periods_that_fit(long, "1d", ["count"])
    assert step == "1h" and by_hour["count"].to_list() == [4, 2, 2]
    assert [row["count"] for row in drawn.rows(charts.activity_columns(short, "day"))] == [2, 2, 2]
    # A fourth one, three days after the first: 11 October has six, 14 October two.
    long = pl.concat([short, _activity((SUNDAY + timedelta(days=3), "opens", 2))])
    by_day, step = periods_that_fit(long, "1d", ["count"])
    assert step == "1d" and by_day["count"].to_list() == [6, 2]
    # What is only known by the day stays so.
    day = _activity((SUNDAY.replace(hour=0), "opens", 9))
    assert periods_that_fit(day, "1d", ["count"])[1] == "1d"


def test_the_first_moment_of_an_axis_has_its_day() -> None:
    milliseconds = [round(at.timestamp() * 1_000) for at in (SUNDAY, SUNDAY + timedelta(days=20))]
    assert time_labels(*milliseconds, "UTC", "en", "minutes")[0] == (milliseconds[0], "Sun 11 Oct")
    soon = round((SUNDAY + timedelta(hours=3)).timestamp() * 1_000)
    assert time_labels(milliseconds[0], soon, "UTC", "en", "minutes")[0][1] == "Sun 11 Oct, 17:00"


def test_a_chart_ends_when_most_has_happened() -> None:
    # 100 on the first day, then one a day for 20 days: 114 of 120 is 95 %, on the 15th day, which shortens 21 days.
    days = [SUNDAY.replace(hour=0) + timedelta(days=n) for n in range(21)]
    rows = _activity((days[0], "opens", 100), *((day, "opens", 1) for day in days[1:]))
    assert until_most(rows, "1d", "count", 120)["starts_at"].max() == days[20], "by less than a third"
    rows = _activity((days[0], "opens", 100), (days[1], "opens", 15), (days[20], "opens", 5))
    assert until_most(rows, "1d", "count", 120)["starts_at"].max() == days[1]
    rows = _activity((days[0], "opens", 114), (days[6], "opens", 1), (days[20], "opens", 5))
    assert until_most(rows, "1d", "count", 120)["starts_at"].max() == days[6], "seven days at least"
    described = charts.activity_columns(rows, "24h").to_dict()["description"]
    assert described.endswith("Not drawn: 5 later events until Sat, 2026-10-31.")


@pytest.mark.parametrize(
    ("step", "last", "words"),
    [
        ("1d", SUNDAY.replace(hour=0) + timedelta(days=8), ["Sun 11 Oct", "Tue 13 Oct", *LATER]),
        ("1h", SUNDAY + timedelta(hours=3), ["Sun 11 Oct, 17:00", "18:00", "19:00", "20:00"]),
        ("1h", SUNDAY + timedelta(days=3), ["Sun 11, 17:00", "Mon 12 Oct", "Tue 13 Oct", "Wed 14 Oct"]),
        ("1mo", datetime(2027, 1, 1, tzinfo=UTC), ["Oct 2026", "Nov 2026", "Dec 2026", "Jan 2027"]),
    ],
)  # fmt: skip
def test_the_first_column_is_always_named(step: str, last: datetime, words: list[str]) -> None:
    first = {"1h": SUNDAY, "1d": SUNDAY.replace(hour=0)}.get(step, datetime(2026, 10, 1, tzinfo=UTC))
    places = [round(at.timestamp() * 1_000) for at in (first, last)]
    labels = band_labels(*places, step, "UTC", "en")
    assert [word for _, word in labels] == words
    half = {"1h": 3_600_000, "1d": 86_400_000, "1mo": 31 * 86_400_000}[step] * 0.46
    assert labels[0][0] == pytest.approx(places[0] + half), "below the middle of the first column"


def test_parts_are_one_bar_of_the_whole_with_their_figures() -> None:
    measured = _counts(to_deliver=200, delivered_with_seeds=150, failed=10, pending=40, cancelled=None)
    parts = ["delivered_with_seeds", "failed", "pending", "cancelled"]
    chart = charts.sending.whole_bar(measured, parts, "to_deliver")
    encoding = drawn.encoding(chart)
    assert encoding["x"]["scale"]["domain"] == [0, 1], "the same scale, however far the delivery is"
    assert encoding["color"]["scale"]["domain"] == [
        "Success (with control addresses): 150 (75.0%)",
        "Errors: 10 (5.0%)",
        "Messages pending: 40 (20.0%)",
    ]


def test_what_is_more_than_the_whole_is_not_stacked() -> None:
    measured = _counts(to_deliver=10, delivered_with_seeds=8, failed=2, new_quarantines=1)
    chart = charts.sending.whole_bar(measured, ["delivered_with_seeds", "failed", "new_quarantines"], "to_deliver")
    assert drawn.words(chart)[-3:] == ["8 (80.0%)", "2 (20.0%)", "1 (10.0%)"]


def test_bars_are_in_order_of_size_and_others_last() -> None:
    rows = pl.DataFrame({"rule": ["Double", "Others", "Denylisted"], "n": [2, 9, 5], "all": 20})
    chart = charts.sending.share_bars(rows.with_columns(share=pl.col("n") / 20), "rule", "n", "all", "share")
    assert drawn.words(chart) == ["5 (25.0%)", "2 (10.0%)", "9 (45.0%)"]
    assert drawn.encoding(chart)["y"]["sort"] == ["Denylisted", "Double", "Others"]


def test_a_line_marks_the_share_of_all() -> None:
    rows = pl.DataFrame(
        {"row": ["group", "group", "total"], "domain": ["b.example", "a.example", None], "n": [1, 3, 4]}
    )
    rows = rows.with_columns(all=pl.Series([50, 50, 100])).with_columns(share=pl.col("n") / pl.col("all"))
    chart = charts.sending.share_bars(rows, "domain", "n", "all", "share", overall=True)
    assert drawn.words(chart) == ["All: 4.0%", "3 (6.0%)", "1 (2.0%)"]
    assert drawn.encoding(chart)["y"]["sort"] == ["a.example", "b.example"]


def test_deliveries_are_named_with_their_launch_and_what_is_not_drawn_is_said() -> None:
    launches = [datetime(2026, 11, day, 23, 30, tzinfo=UTC) for day in (15, 8, 1)]
    names = ["A letter whose name is too long to stand beside a chart", "Text only", "Not tracked"]
    rates = {"open_rate": [0.4, None, None], "recipient_click_rate": [0.1, 0.05, None]}
    parts = {"unique_opens": [4, None, None], "unique_clicks": [1, 1, None], "delivered": [10, 20, 5]}
    unread, unseen = "why open_rate", "why recipient_click_rate"
    whys = {unread: [None, "no event", "nothing is known"], unseen: [None, None, "no event"]}
    side = pl.DataFrame({"delivery": names, "launched_at": launches, **rates, **parts, **whys})
    spec = charts.rate_bars(side, "delivery", list(rates), timezone="Europe/Paris").to_dict()
    assert "Open rate (recipients) is unknown: Text only – no event." in spec["description"]
    assert spec["description"].endswith("Not drawn: Not tracked – nothing is known.")
    beside = _shortened(next(unit["encoding"]["y"] for unit in behind.units(spec) if "axis" in unit["encoding"]["y"]))
    assert list(beside.values())[:2] == ["A letter whose name is too long … · 16 Nov", "Text only · 9 Nov"]
    assert all(len(name) <= 42 for name in beside.values())


def test_rates_are_dots_and_only_what_is_above_its_ceiling_has_words() -> None:
    rates = {"hard_bounces": [3, 1], "processed": [100, 100], "hard_bounce_rate": [0.03, 0.01]}
    measured = pl.DataFrame({"domain": ["a.example", "b.example"], **rates})
    total = pl.DataFrame({"hard_bounces": [4], "processed": [200], "hard_bounce_rate": [0.02]})
    limited = charts.rate_bars(
        measured, "domain", ["hard_bounce_rate"], ceilings={"hard_bounce_rate": 0.02}, total=total
    )
    assert [row["over"] for row in drawn.rows(limited)] == ["▲ 3.0%", None]
    assert "2%" in drawn.words(limited) and "Hard-bounce rate, advised up to 2%" in _legend(limited)
    beside_all = charts.rate_bars(measured, "domain", ["hard_bounce_rate"], total=total)
    assert [row["over"] for row in drawn.rows(beside_all)] == [None, None]
    assert "2.0%" in drawn.words(beside_all) and "Hard-bounce rate, all: 2.0%" in _legend(beside_all)


def test_four_links_have_a_colour_and_the_others_are_one() -> None:
    ranks = [1, 2, 3, 4, 5, 6, None]
    links = [f"Link {rank}" if rank else "Others" for rank in ranks]
    per_day = pl.DataFrame(
        {
            "day": date(2026, 10, 11),
            "rank": ranks,
            "row": ["link"] * 6 + ["others"],
            "link": links,
            "clicks": range(9, 2, -1),
        }
    )
    chart = charts.click_days(per_day)
    assert [(row["key"].strip(), row["clicks"]) for row in drawn.rows(chart)] == [
        ("Link 1", 9), ("Link 2", 8), ("Link 3", 7), ("Link 4", 6), ("Others", 5 + 4 + 3),
    ]  # fmt: skip
    series = theme().light.series
    assert drawn.encoding(chart)["color"]["scale"]["range"] == [*series[:4], series[-1]]


def test_the_curve_ends_where_each_series_is_nearly_whole() -> None:
    hours = [0, 1, 2, 100]
    curve = pl.DataFrame({"hours": hours, "series": "opens", "cumulated": [0, 10, 19, 20], "total": 20})
    chart = charts.pareto_curve(curve.with_columns(share=pl.col("cumulated") / 20))
    assert [row["hours"] for row in drawn.rows(chart)] == [0, 1, 2]
    assert chart.to_dict()["description"].endswith(" The last events came after 4 d 4 h.")
    assert drawn.words(chart) == ["Sum of opens"]


def test_kinds_of_devices_are_one_bar() -> None:
    opens = pl.DataFrame(
        {"row": ["group", "total"], "total": 8, "computer": [4, 4], "mobile": [0, 1], "unknown": [0, 3]}
    )
    legend = drawn.encoding(charts.audience.kinds_bar(opens))["color"]["scale"]["domain"]
    assert legend == ["Computer: 4 (50.0%)", "Mobile: 1 (12.5%)", "Unknown device: 3 (37.5%)"]
