"""A delivery that runs for months or years, a message a day: a pace that is not 0, axes with years, all drawn."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest

from tests.drawn import encoding
from tests.drawn import rows as rows_of
from tests.drawn import words as said
from tests.spec.golden import tables
from trackkit.analysis.activities import activity_over_time
from trackkit.analysis.caveats import limits
from trackkit.analysis.curves import activity, cumulative_activity
from trackkit.analysis.links import clicks_per_day
from trackkit.analysis.sending import pace, throughput
from trackkit.engine.snapshot import Snapshot
from trackkit.show import charts
from trackkit.show.tables.sending import pace_figures

KEY, START = "701", datetime(2025, 3, 1, 10, tzinfo=UTC)
DAILY = [START + timedelta(days=n) for n in range(600)]  # to 21 October 2026
SHAPES = {
    "one": [START],
    "three in three years": [datetime(*month, 1, 10, tzinfo=UTC) for month in ((2023, 5), (2024, 11), (2026, 5))],
    "all at once": [START] * 50,
    "daily": DAILY,
}  # fmt: skip


def delivery(sent: Sequence[datetime], state: int = 45, clicks: bool = True) -> Snapshot:
    """Messages that are all delivered, each opened an hour later and clicked another hour later."""
    message = [{"delivery_id": KEY, "message_id": str(n), "status": "delivered", "status_at": at, "is_seed": False}
               for n, at in enumerate(sent)]  # fmt: skip
    event = [
        {"event_id": f"{n}{kind}", "delivery_id": KEY, "message_id": str(n), "event_type": kind, "is_seed": False,
         "occurred_at": at + timedelta(hours=after), "link_id": link}
        for n, at in enumerate(sent)
        for kind, after, link in (("opened", 1, "1"), ("clicked", 2, "9"))[: 1 + clicks]
    ]  # fmt: skip
    facts = {"delivery_id": KEY, "state": state, "started_at": min(sent), "to_deliver": len(sent), "message_size": 9000}
    return tables(delivery=[facts], message=message, event=event)


def words(chart) -> str:
    return str(encoding(chart)["x"]["axis"]["labelExpr"])


def test_the_pace_of_one_a_day_is_one_a_day() -> None:
    shown = pace_figures(pace(delivery(DAILY), KEY))._repr_html_()
    # 600 messages in 599 days: 1.0017 a day.
    assert "Average pace, messages per day" in shown and "<strong>1.0</strong>" in shown
    assert "600 messages in 599 d" in shown and "<strong>0</strong>" not in shown.split("Messages pending")[0]


@pytest.mark.parametrize(
    ("sent", "name", "value"),
    [
        (SHAPES["three in three years"], "per year", "1.00"),  # 3 messages in 1,096 days: 0.99978 a year
        ([START + timedelta(days=10 * n) for n in range(9)], "per month", "3.4"),  # 9 in 80 days
        ([START + timedelta(hours=n) for n in range(25)], "per hour", "1"),  # 25 in 24 hours
    ],
)
def test_a_pace_is_of_a_time_in_which_something_is_sent(sent: list[datetime], name: str, value: str) -> None:
    shown = pace_figures(pace(delivery(sent), KEY))._repr_html_()
    assert f"messages {name}" in shown and f"<strong>{value}</strong>" in shown


@pytest.mark.parametrize("sent", [SHAPES["one"], SHAPES["all at once"]])
def test_what_went_out_at_once_has_no_pace(sent: list[datetime]) -> None:
    shown = pace_figures(pace(delivery(sent), KEY))._repr_html_()
    assert "n/a" in shown and "too few messages are dated" in shown
    assert rows_of(charts.sending.throughput_columns(throughput(delivery(sent), KEY)))[0]["messages"] == len(sent)


@pytest.mark.parametrize("state", [0, 13, 45, 51])
def test_what_was_sent_has_started_whatever_its_state_says(state: int) -> None:
    given = delivery(DAILY, state)
    assert pace(given, KEY)["phase"].item() == "running"
    shown = pace_figures(pace(given, KEY))._repr_html_()
    assert "not started" not in shown and "No message is pending." in shown and "600 of 600" in shown
    told = limits(given, KEY)["limit"].to_list()
    assert "not_sent" not in told and "running" in told
    unsent = tables(delivery=[{"delivery_id": KEY, "state": state, "to_deliver": 600}], message=[], event=[])
    assert pace(unsent, KEY)["phase"].item() == "not started"


def test_throughput_of_years_is_by_months_and_its_axis_names_them() -> None:
    found = throughput(delivery(DAILY), KEY)
    assert found.height == 20 and found["messages"].sum() == 600  # March 2025 to October 2026
    march, last = found["seconds"][0], found["seconds"][-1]
    assert march == last == 31 * 86_400
    chart = charts.sending.throughput_columns(found)
    rows = rows_of(chart)
    assert {round(row["speed"], 9) for row in rows[:-1]} == {1.0} and rows[-1]["speed"] == pytest.approx(21 / 31)
    spec = encoding(chart)
    assert spec["y"]["title"] == "Messages per day" and spec["y"]["axis"]["format"] == ",.2f"
    assert '["Mar 2025", "Jun 2025"' in words(chart) and '"Sep 2026"' in words(chart)
    decades = throughput(delivery([START.replace(year=year) for year in (2005, 2026)]), KEY)
    assert decades["seconds"].to_list() == [365 * 86_400] * 2, "by years"


@pytest.mark.parametrize("lang", ["en", "pt_BR"])
def test_all_events_are_drawn_in_longer_steps_where_most_come_later(lang: str) -> None:
    given = delivery(DAILY)
    for found, every, days in ((activity(given, KEY), "1h", 5), (activity_over_time(given, KEY), "day", 60)):
        chart = charts.activity_columns(found, every, days, lang=lang)
        rows = rows_of(chart)
        assert sum(row["count"] for row in rows) == 1_200
        assert len({row["starts_at"] for row in rows}) == 87  # weeks from 24 February 2025 to 19 October 2026
        assert said(chart)[0] == ("Sum of opens per week" if lang == "en" else "Soma de aberturas por semana")
        assert "2026" in words(chart) and "Not drawn" not in chart.to_dict()["description"]


def test_where_most_happens_at_first_the_first_days_are_drawn_as_before() -> None:
    sent = [START] * 60 + [START + timedelta(days=30 * n) for n in range(1, 11)]
    chart = charts.activity_columns(activity(delivery(sent), KEY), "1h", 5)
    assert sum(row["count"] for row in rows_of(chart)) == 120
    assert "Not drawn: 20 later events until " in chart.to_dict()["description"]
    assert said(chart) == ["Sum of opens", "Cumulated clicks"]


def test_a_busy_one_of_years_can_be_drawn_too() -> None:
    """A hit every 47 minutes for 19 months: more hours than a chart has places."""
    given = delivery([START + timedelta(minutes=47 * n) for n in range(18_000)], clicks=False)
    curve = rows_of(charts.pareto_curve(cumulative_activity(given, KEY)))
    assert len(curve) <= 3_100 and curve[-1]["share"] == 1.0 and curve[0]["hours"] == 0
    rows = rows_of(charts.activity_columns(activity(given, KEY), "1h", 5))
    assert sum(row["count"] for row in rows) == 18_000 and len(rows) < 121


def test_clicks_of_days_are_drawn_by_weeks_where_there_are_too_many_days() -> None:
    per_day = clicks_per_day(delivery(DAILY), KEY)
    assert per_day.height == 600
    chart = charts.click_days(per_day)
    assert sum(row["clicks"] for row in rows_of(chart)) == 600 and len(rows_of(chart)) == 87
    assert encoding(chart)["y"]["title"] == "Link clicks per week"


@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_can_be_drawn(shape: str) -> None:
    given = delivery(SHAPES[shape])
    for chart in (
        charts.activity_columns(activity(given, KEY), "1h", 5), charts.pareto_curve(cumulative_activity(given, KEY)),
        charts.sending.throughput_columns(throughput(given, KEY), "bits_per_second"),
        charts.click_days(clicks_per_day(given, KEY)),
    ):  # fmt: skip
        assert rows_of(chart)
