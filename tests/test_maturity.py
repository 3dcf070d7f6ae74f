"""How far along a delivery is, and what will come of it: the chain ladder by hand, and replays of known truth."""

import math
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import duckdb
import polars as pl
import pytest

from benchmarks.maturity import simulated, summary
from tests.spec.golden import tables
from trackkit.analysis.maturity import (
    FEW,
    FIGURES,
    FINAL,
    MATURING,
    NO_LOG,
    NONE_YET,
    TOO_YOUNG,
    backtest,
    cured_share,
    expected_by_peer,
    forecast,
    stamp,
)
from trackkit.engine.snapshot import Snapshot
from trackkit.errors import RequestError

LAUNCH = datetime(2026, 8, 1, 12, tzinfo=UTC)
NOW = LAUNCH + timedelta(hours=2)
RUNNING, PAUSED, FINISHED = 55, 75, 95
T = 2.919986  # the 95th percentile of Student's t with 2 degrees of freedom
Rows = dict[str, list[dict[str, Any]]]


def rows_of(key: str, launched: datetime, messages: int, delays: list[float], **more: Any) -> Rows:
    """A delivery whose messages all went out at its launch, and of which some were opened after so many hours."""
    numbers = count()
    delivery = {"delivery_id": key, "started_at": launched, "typology_id": "1", "message_type": 0, "state": FINISHED}
    sent = [
        {"delivery_id": key, "message_id": str(number), "status_at": launched, "status": "delivered", "is_seed": False}
        for number in range(messages)
    ]
    events = [
        {"delivery_id": key, "message_id": str(number), "event_id": f"{key} {next(numbers)}", "event_type": "opened",
         "occurred_at": launched + timedelta(hours=hours), "is_seed": False}
        for number, hours in enumerate(delays)
    ]  # fmt: skip
    return {"delivery": [delivery | more], "message": sent, "event": events}


def store(*deliveries: Rows) -> Snapshot:
    named = {name: [row for rows in deliveries for row in rows[name]] for name in ("delivery", "message", "event")}
    return tables(**named)


def peers(number: int = 3, **more: Any) -> list[Rows]:
    """Finished deliveries with 100 opens each: half of them in the first hour, the others in the fifth."""
    return [
        rows_of(f"p{n}", LAUNCH - timedelta(days=7 * n), 200, [1.0] * 50 + [5.0] * 50, **more)
        for n in range(1, number + 1)
    ]


def young(opens: int = 100, messages: int = 1000, **more: Any) -> Rows:
    """A delivery launched two hours ago, whose newest open is the newest hit of all."""
    return rows_of("own", LAUNCH, messages, [0.5] * (opens - 1) + [2.0] * min(opens, 1), **{"state": RUNNING} | more)


def opens(given: Snapshot, key: str = "own") -> dict[str, Any]:
    return forecast(given, key).row(0, named=True)


def test_three_equal_deliveries_by_hand() -> None:
    row = opens(store(*peers(), young()))
    # Each saw half of its opens within two hours: 50 1/2 of 101. They do not differ, so only chance is left: that of
    # three log-odds of 101 opens, and that of this delivery's own 100 seen and 100 to come.
    width = T * math.sqrt(1 / (3 * 101 / 4) + 1 / 100 + 1 / 100)
    assert (row["expected"], row["final"], row["seen"]) == (pytest.approx(0.5), 200, 100)
    assert row["low"] == math.floor(100 + 100 * math.exp(-width)) == 158
    assert row["high"] == math.ceil(100 + 100 * math.exp(width)) == 271
    assert (row["messages"], row["rate"], row["rate_low"], row["rate_high"]) == (1000, 0.2, 0.158, 0.271)
    assert (row["comparable"], row["maturity"], row["age"]) == (3, MATURING, timedelta(hours=2))
    assert row["reason"] is None and row["as_of"] == NOW


def test_deliveries_that_differ_widen_the_interval() -> None:
    fast = rows_of("p1", LAUNCH - timedelta(7), 200, [1.0] * 70 + [5.0] * 30)
    slow = rows_of("p2", LAUNCH - timedelta(14), 200, [1.0] * 30 + [5.0] * 70)
    equal, unequal = opens(store(*peers(), young())), opens(store(fast, slow, *peers()[2:], young()))
    assert unequal["expected"] == pytest.approx(0.5, abs=0.01)
    assert unequal["low"] < equal["low"] and unequal["high"] > equal["high"]


def test_messages_not_yet_sent_are_to_be_expected_too() -> None:
    own = young()
    pending = [
        {"delivery_id": "own", "message_id": f"w{n}", "status": "pending", "is_seed": n < 5} for n in range(1005)
    ]
    own["message"] += pending
    row = opens(store(*peers(), own))
    # Half of the messages are out, and half of their opens are seen; the five control addresses do not count.
    assert (row["pending"], row["messages"], row["expected"]) == (1000, 2000, pytest.approx(0.25, abs=0.003))
    assert row["final"] == pytest.approx(400, abs=5)
    failed = [
        {"delivery_id": "own", "message_id": f"f{n}", "status": "failed", "status_at": LAUNCH} for n in range(250)
    ]
    own["message"] += failed  # one of five fails, so 800 of the 1000 will be delivered
    assert opens(store(*peers(), own))["pending"] == 800


@pytest.mark.parametrize(
    ("more", "pending"),
    [({"state": PAUSED}, 10), ({"validity_at": NOW}, 0), ({"validity_at": NOW + timedelta(1)}, 10),
     ({"state": FINISHED}, 0)],
)  # fmt: skip
def test_waiting_messages_go_out_until_the_deadline(more: dict[str, Any], pending: int) -> None:
    own = young(**more)
    own["message"] += [{"delivery_id": "own", "message_id": f"w{n}", "status": "pending"} for n in range(10)]
    assert opens(store(*peers(), own))["pending"] == pending


def test_no_waiting_message_goes_out_after_a_deadline_that_had_passed_at_the_newest_load() -> None:
    """As `sending.pace` says of it: the newest hit is older."""
    own = young(validity_at=NOW + timedelta(days=5))
    own["message"] += [{"delivery_id": "own", "message_id": f"w{n}", "status": "pending"} for n in range(10)]
    known = store(*peers(), own)
    loaded = Snapshot(known.frames, NOW + timedelta(days=6), timezone=known.timezone)
    assert opens(known)["pending"] == 10 and opens(loaded)["pending"] == 0


def test_what_gives_no_forecast() -> None:
    two, none, unsent = (
        store(*peers(2), young()),
        store(*peers(), young(0), later()),
        store(*peers(), young(0, 0), later()),
    )
    expected = [(two, 2, FEW), (none, 3, NONE_YET), (unsent, None, NO_LOG)]
    for given, comparable, reason in expected:
        row = opens(given)
        assert (row["comparable"], row["reason"]) == (comparable, reason)
        assert all(row[name] is None for name in ("maturity", "expected", "final", "low", "high", "rate", "cure"))


def later() -> Rows:
    """Another delivery, which only says how late it is."""
    return rows_of("z", NOW, 1, [0.0], typology_id="2")


@pytest.mark.parametrize(
    "more",
    [{"state": RUNNING}, {"typology_id": "2"}, {"message_type": 1}, {"is_proof": True},
     {"started_at": LAUNCH - timedelta(days=2)}, {"started_at": LAUNCH - timedelta(days=200)}],
)  # fmt: skip
def test_what_does_not_compare(more: dict[str, Any]) -> None:
    assert opens(store(*peers(2), *peers(3, **more)[2:], young()))["comparable"] == 2


def test_a_finished_delivery_is_final_and_has_no_forecast() -> None:
    given = store(*peers(), young(state=FINISHED), rows_of("z", LAUNCH + timedelta(days=3), 1, [0.0]))
    row = opens(given)
    assert (row["maturity"], row["seen"], row["final"], row["messages"]) == (FINAL, 100, 100, 1000)
    assert (row["rate"], row["low"], row["expected"], row["reason"]) == (0.1, None, None, None)
    assert stamp(given, "own")["maturity"].item() == FINAL


def test_too_young() -> None:
    late = [rows_of(f"p{n}", LAUNCH - timedelta(days=7 * n), 200, [1.0] * 4 + [5.0] * 96) for n in (1, 2, 3)]
    assert opens(store(*late, young()))["maturity"] == TOO_YOUNG


def test_what_cannot_be_observed_is_not_forecast() -> None:
    own = young(to_deliver=1000, text_messages=1000)
    own["event"] = [row | {"event_type": "clicked"} for row in own["event"]]
    others = peers()
    for each in others:
        each["event"] += [row | {"event_type": "clicked", "event_id": f"c{row['event_id']}"} for row in each["event"]]
    given = store(*others, own)
    first, second = forecast(given, "own").iter_rows(named=True)
    assert first["final"] is None and "text" in first["reason"]
    assert second["final"] == 200 and stamp(given, "own")["maturity"].item() == MATURING


def test_the_stamp_says_the_same_in_one_row() -> None:
    row = stamp(store(*peers(), young()), "own").row(0, named=True)
    assert (row["unique_opens"], row["unique_clicks"], row["opens_expected"]) == (100, 0, pytest.approx(0.5))
    assert (row["delivered"], row["median_age"], row["clicks_expected"]) == (1000, timedelta(hours=2), None)


def test_the_cure_model_finds_the_share_and_says_nothing_too_early() -> None:
    # Of 1,000 watched for 1,000 hours, 300 came at the quantiles of a lognormal delay with median 4 h and sigma 1.6.
    from scipy.stats import norm

    delays = pl.Series([4 * math.exp(1.6 * norm.ppf((n + 0.5) / 300)) for n in range(300)])
    assert cured_share(delays, pl.Series([1_000.0] * 700)) == pytest.approx(0.3, abs=0.005)
    growing = pl.Series([n / 100 for n in range(1, 101)])  # as many in each minute: no end is in sight
    assert cured_share(growing, pl.Series([1.0] * 900)) is None


def test_a_cure_model_beyond_the_interval_is_said() -> None:
    ages = [0.02 * n for n in range(1, 101)]  # opens that came evenly and then stopped: it thinks that all is over
    own = rows_of("own", LAUNCH, 1000, [*[age / 4 for age in ages[:-1]], 2.0], state=RUNNING)
    row = opens(store(*peers(), own))
    assert row["cure"] is not None and row["cure"] < row["low"] and row["agrees"] is False


def test_counts_as_sql_says() -> None:
    given = simulated(3, deliveries=4, messages=300)
    rows = backtest(given, [6])
    message, event, delivery = (given.scan(name).collect() for name in ("message", "event", "delivery"))
    assert message.height and event.height and delivery.height
    query = """SELECT m.delivery_id, k.metric, count(*) FILTER (f.at <= d.started_at + INTERVAL 6 HOURS), count(f.at)
        FROM message m JOIN delivery d USING (delivery_id)
        CROSS JOIN (VALUES ('unique_opens'), ('unique_clicks')) k(metric)
        LEFT JOIN (SELECT delivery_id, message_id, metric, min(occurred_at) AS at
                   FROM event, (VALUES ('unique_opens'), ('unique_clicks')) kinds(metric)
                   WHERE metric = 'unique_opens' OR event_type = 'clicked' GROUP BY ALL) f
        ON f.delivery_id = m.delivery_id AND f.message_id = m.message_id AND f.metric = k.metric
        GROUP BY ALL"""
    counted = {row[:2]: row[2:] for row in duckdb.sql(query).fetchall()}
    assert {
        tuple(row[:2]): tuple(row[2:]) for row in rows.select("delivery_id", "metric", "seen", "actual").rows()
    } == {key: counts for key, counts in counted.items() if counts[0]}


def test_replays_of_known_truth_are_covered() -> None:
    """Simulated deliveries that differ in speed, spread, size of response and hour: nine of ten intervals hold."""
    measured = summary(simulated(2, deliveries=40, messages=1_000))
    at_6 = measured.filter(pl.col("hours") == 6)
    assert at_6["metric"].to_list() == list(FIGURES) and at_6["forecasts"].to_list() == [40, 40]
    assert at_6["coverage"].min() >= 0.85
    opens_error = measured.filter(pl.col("metric") == "unique_opens")["mean_absolute_error"].to_list()
    assert opens_error == sorted(opens_error, reverse=True) and opens_error[-1] < 0.03  # the older, the better known


def test_replays_are_the_same_each_time_and_of_earlier_ones_if_asked() -> None:
    given = simulated(4, deliveries=6, messages=200)
    assert backtest(given).equals(backtest(given))
    earlier = backtest(given, [24], others="earlier")
    assert earlier["comparable"].to_list() == [3, 3, 4, 4, 5, 5]
    assert backtest(given, [24])["comparable"].unique().to_list() == [5]
    with pytest.raises(RequestError):
        backtest(given, others="later")  # type: ignore[arg-type]


def test_all_seen_or_none_seen_has_log_odds_too() -> None:
    delays = pl.DataFrame({"delivery_id": ["a"] * 3, "hours": [1.0, 2.0, 3.0]})
    all_seen, none_seen = (expected_by_peer(pl.Series([age]), delays).row(0, named=True) for age in (9.0, 0.0))
    assert (all_seen["share"], none_seen["share"]) == (3.5 / 4, 0.5 / 4)
    assert all_seen["effect"] == pytest.approx(math.log(7)) and none_seen["effect"] == pytest.approx(-math.log(7))
    assert all_seen["variance"] == pytest.approx(1 / (4 * 7 / 64))
