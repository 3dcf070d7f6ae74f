"""Time to reach each share of the total, cumulated curves, timeline; against hand-worked cases, brute force and SQL."""

import math
from datetime import UTC, datetime, timedelta
from fractions import Fraction

import duckdb
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.spec.golden import DELIVERY_ID, at, golden, hit, tables
from tests.spec.randomised import randomised
from trackkit.analysis.curves import TENTHS, activity, cumulative_activity, pareto, time_to_reach
from trackkit.engine.snapshot import Snapshot
from trackkit.errors import RequestError

LINKS = {"1": (None, 2, "Open", None), "11": ("230", 1, "Home", None), "12": ("230", 5, "Buy", None),
         "13": ("230", 3, "Leave", None)}  # fmt: skip
LAUNCH = at(12)


def opens(*instants: datetime | None, link: str = "1", **delivery: object) -> Snapshot:
    """A delivery launched at noon, with one hit of a link at each instant."""
    rows = [hit(number, instant, str(number), link, LINKS) for number, instant in enumerate(instants)]
    return tables(event=rows, delivery=[{"delivery_id": "230", "started_at": LAUNCH} | delivery])


def after(minutes: float) -> datetime:
    return LAUNCH + timedelta(minutes=minutes)


def reached(given_: Snapshot, series: str = "opens", **options: object) -> list[float | None]:
    """Minutes to each share."""
    rows = time_to_reach(given_, "230", **options).filter(pl.col("series") == series)["after"]
    return [None if value is None else value / timedelta(minutes=1) for value in rows]


def test_golden_delivery():
    # launched at 15:00; opens at 15:01, 15:06, 15:09 and 15:14: three of four in ten minutes; every click by 15:09
    words = pareto(golden(), DELIVERY_ID)
    assert words["share"].to_list() == list(TENTHS)
    assert words["opens"].to_list() == ["10 min"] * 7 + ["20 min"] * 2
    assert words["clicks"].to_list() == ["10 min"] * 9
    assert words["transactions"].to_list() == [None] * 9
    totals = dict(time_to_reach(golden(), DELIVERY_ID).select("series", "total").unique().rows())
    assert totals == {"opens": 4, "clicks": 15, "transactions": 0}


def test_end_of_the_first_bucket_that_holds_the_share():
    given_ = opens(after(0), after(9.99), after(10), after(61), after(62), after(80), after(80), after(81), after(200),
                   after(1500))  # fmt: skip
    # counts by end of bucket: 10 -> 2, 20 -> 3, 70 -> 5, 90 -> 8, 210 -> 9, 1510 -> 10
    assert reached(given_) == [10, 10, 20, 70, 70, 90, 90, 90, 210]
    assert reached(given_, shares=[1]) == [1510]
    words = pareto(given_, "230", [0.1, 0.3, 0.5, 0.8, 1.0])["opens"].to_list()
    assert words == ["10 min", "20 min", "1 h 10 min", "1 h 30 min", "25 h 10 min"]
    assert pareto(opens(after(55)), "230", [0.5])["opens"].to_list() == ["1 h"]


def test_a_share_is_exact_not_a_float():
    given_ = opens(*[after(1)] * 55, *[after(15)] * 45)
    assert 0.55 * 100 > 55  # what a float would ask for: the 56th
    assert reached(given_, shares=[0.55, 0.56]) == [10, 20]


def test_before_the_launch_is_the_first_bucket_and_the_period_is_half_open():
    given_ = opens(after(-5000), after(-1), after(59.9), after(60), None)
    assert reached(given_, shares=[0.5, 1]) == [10, 70]
    found = time_to_reach(given_, "230", [1], period_hours=1)
    assert found.row(0, named=True)["total"] == 3
    assert reached(given_, shares=[1], period_hours=1) == [60]


def test_the_launch_is_the_first_message_else_the_contact_else_the_first_event():
    late = [at(14), at(16)]
    assert reached(opens(*late, contact_at=at(15)), shares=[1]) == [250]
    assert reached(opens(*late, started_at=None, contact_at=at(13)), shares=[1]) == [190]
    assert reached(opens(*late, started_at=None), shares=[1]) == [130]
    without_row = Snapshot({"event": opens(*late).frames["event"]})
    assert reached(without_row, shares=[1]) == [130]


def test_only_clicks_of_e_mail_links_and_transactions_have_a_series():
    assert reached(opens(after(1), link="11"), "clicks", shares=[1]) == [10]
    assert reached(opens(after(1), link="12"), "transactions", shares=[1]) == [10]
    leave = time_to_reach(opens(after(1), link="13"), "230", [0.5])
    assert leave["total"].to_list() == [0, 0, 0] and leave["after"].null_count() == leave["shown"].null_count() == 3


def test_cumulated_curve_has_an_origin_and_no_quiet_bucket():
    given_ = opens(after(-10), after(5), after(150), after(179), None)
    found = cumulative_activity(given_, "230").filter(pl.col("series") == "opens")
    assert found.select("hours", "count", "cumulated", "total", "share").rows() == [
        (0, 0, 0, 4, 0.0), (1, 2, 2, 4, 0.5), (3, 2, 4, 4, 1.0)
    ]  # fmt: skip
    by_three = cumulative_activity(given_, "230", "3h", period_hours=2.5).filter(pl.col("series") == "opens")
    assert by_three.select("hours", "cumulated").rows() == [(0, 0), (3, 2)]


def test_a_delivery_without_events_has_empty_curves():
    given_ = tables(delivery=[{"delivery_id": "230"}])
    assert cumulative_activity(given_, "230").rows() == [
        (0, name, 0, 0, 0, None) for name in ("opens", "clicks", "transactions")
    ]
    assert time_to_reach(given_, "230")["after"].null_count() == 27
    assert activity(given_, "230").height == 0


def test_a_day_of_the_zone_has_25_hours_when_the_clocks_go_back():
    midnight = datetime(2026, 10, 24, 22, tzinfo=UTC)  # Sunday 25 October in Paris begins
    given_ = opens(midnight, midnight + timedelta(hours=24, minutes=59), midnight + timedelta(hours=25))
    assert activity(given_, "230", "24h", "Europe/Paris")["count"].to_list() == [2, 1]
    assert activity(given_, "230", "24h", "UTC")["count"].to_list() == [1, 2]
    twice = opens(midnight + timedelta(hours=2.5), midnight + timedelta(hours=3.5))  # 02:30 summer, 02:30 winter
    assert activity(twice, "230", "1h", "Europe/Paris")["count"].to_list() == [1, 1]


instants = st.lists(st.integers(-100, 4000), min_size=1, max_size=30)


@settings(max_examples=60, deadline=None)
@given(instants, st.integers(1, 180), st.lists(st.integers(1, 100), min_size=1, max_size=5, unique=True))
def test_every_share_by_brute_force(minutes, width, percents):
    percents = sorted(percents)
    found = reached(opens(*map(after, minutes)), shares=[percent / 100 for percent in percents], bucket_minutes=width)
    ends = sorted((max(minute, 0) // width + 1) * width for minute in minutes)
    assert found == [ends[math.ceil(Fraction(percent, 100) * len(minutes)) - 1] for percent in percents]
    assert found == sorted(found)


@settings(max_examples=40, deadline=None)
@given(instants, st.sampled_from(["1h", "3h", "24h"]))
def test_curves_grow_to_one(minutes, every):
    found = cumulative_activity(opens(*map(after, minutes)), "230", every).filter(pl.col("series") == "opens")
    assert found["hours"].is_sorted() and found["cumulated"].is_sorted() and found["share"].is_sorted()
    assert found["share"][-1] == 1.0 and found["count"].sum() == found["cumulated"][-1] == len(minutes)
    timeline = activity(opens(*map(after, minutes)), "230", every, "America/Sao_Paulo")
    assert timeline["count"].sum() == len(minutes)


SECOND = """
    with kinds as (select * from (values ('opens', 'opened'), ('clicks', 'clicked'),
                                 ('transactions', 'transaction')) k(s, t)),
    mine as (select * from event where delivery_id = '7' and not coalesce(is_seed, false)),
    launched as (select coalesce((select coalesce(started_at, contact_at) from delivery where delivery_id = '7'),
                                 (select min(occurred_at) from mine)) as t0),
    timed as (select s, greatest(0, epoch_us(occurred_at) - epoch_us(t0)) // ({width} * 1000000::bigint) as b
              from mine join kinds on event_type = t, launched
              where occurred_at is not null and epoch_us(occurred_at) - epoch_us(t0) < {period} * 1000000::bigint),
    summed as (select s, b, sum(count(*)) over (partition by s order by b) as c from timed group by s, b),
    totals as (select s, count(*) as n from timed group by s)
    select s, k, (min(b) + 1) * {width}, n from summed join totals using (s), range(1, 10) tenths(k)
    where c * 10 >= k * n group by s, k, n order by s, k
"""


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize(("minutes", "hours"), [(10, None), (5, 24), (60, 3)])
def test_the_same_by_a_second_implementation(seed, minutes, hours):
    given_ = randomised(seed)
    with duckdb.connect(":memory:") as database:
        events = given_.scan("event").with_columns(pl.col("event_type").cast(pl.String)).collect()
        database.register("event", events.to_arrow())
        database.register("delivery", given_.scan("delivery").collect().to_arrow())
        query = SECOND.format(width=minutes * 60, period=(hours or 10**6) * 3600)
        expected = database.execute(query).fetchall()
    found = time_to_reach(given_, "7", bucket_minutes=minutes, period_hours=hours).drop_nulls("after")
    rows = found.select(pl.col("series").cast(pl.String), pl.col("after").dt.total_seconds(), "total").rows()
    assert sorted(rows) == sorted((series, seconds, total) for series, _, seconds, total in expected)
    assert len(rows) in (18, 27)


@pytest.mark.parametrize(
    ("options", "words"),
    [({"shares": [50]}, "got 50"), ({"shares": [0]}, "got 0"), ({"bucket_minutes": 0}, "got 0"),
     ({"period_hours": -1}, "got -1"), ({"period_hours": math.nan}, "got nan")],
)  # fmt: skip
def test_what_has_no_answer_is_refused(options, words):
    with pytest.raises(RequestError, match=words):
        time_to_reach(golden(), DELIVERY_ID, **options)


def test_unknown_timescales_and_deliveries_are_refused():
    with pytest.raises(RequestError, match="no timescale '2h'"):
        cumulative_activity(golden(), DELIVERY_ID, "2h")
    for ask in (time_to_reach, pareto, cumulative_activity, activity):
        with pytest.raises(RequestError, match="no delivery '0'"):
            ask(golden(), "0")
