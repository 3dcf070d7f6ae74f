"""What is usual of a delivery: which others compare, their median and quartiles, and when it is called different."""

import random
from datetime import UTC, datetime, timedelta
from typing import Any

import duckdb
import polars as pl
import pytest

from tests.spec.golden import tables
from trackkit.analysis.usual import TOO_FEW, UNFINISHED, usual
from trackkit.engine.deliveries import comparable
from trackkit.errors import RequestError

NOW = datetime(2026, 9, 1, 12, tzinfo=UTC)
LAUNCH = datetime(2026, 8, 1, 12, tzinfo=UTC)
RATE = "rejection_rate"  # rejected / targeted, both told by the table of deliveries


def delivery(key: str, days_before: float, rejected: int, targeted: int = 1000, **more: Any) -> dict[str, Any]:
    launched = LAUNCH - timedelta(days=days_before)
    kind = {"typology_id": "1", "message_type": 0, "state": 95}
    return {"delivery_id": key, "started_at": launched, "rejected": rejected, "targeted": targeted} | kind | more


NEWEST = {"delivery_id": "x", "event_id": "1", "event_type": "opened", "occurred_at": NOW, "is_seed": False}
FIVE = [delivery(str(n), n, rejected) for n, rejected in enumerate((100, 110, 120, 130, 140), 1)]


def own(rows: list[dict[str, Any]], key: str = "own", metric: str = RATE) -> dict[str, Any]:
    return usual(tables(delivery=rows, event=[NEWEST]), [metric], key).row(0, named=True)


def test_five_compare_and_their_spread_by_hand() -> None:
    row = own([*FIVE, delivery("own", 0, 150)])
    assert (row["value"], row["part"], row["whole"], row["n"]) == (0.15, 150.0, 1000.0, 5)
    assert [row[name] for name in ("median", "lower", "upper")] == [0.12, 0.11, 0.13]
    assert row["difference"] == pytest.approx(0.03) and row["is_different"] is False and row["reason"] is None
    assert row["recent"] == [0.14, 0.13, 0.12, 0.11, 0.1, 0.15]  # the oldest first, its own last


@pytest.mark.parametrize(
    ("rejected", "targeted", "is_different"),
    # The fences are 0.11 - 1.5 × 0.02 and 0.13 + 1.5 × 0.02. Three standard errors of 1,000 at 0.12 are 0.031.
    [(160, 1000, False), (161, 1000, True), (80, 1000, False), (79, 1000, True),
     # Of ten, 0.3 is within three standard errors (0.31 + the least: 0.436); of 20, 0.5 is not (0.265).
     (3, 10, False), (10, 20, True)],
)  # fmt: skip
def test_different_is_beyond_the_fences_and_beyond_chance(rejected: int, targeted: int, is_different: bool) -> None:
    assert own([*FIVE, delivery("own", 0, rejected, targeted)])["is_different"] is is_different


def test_four_are_too_few() -> None:
    row = own([*FIVE[:4], delivery("own", 0, 500)])
    assert (row["n"], row["median"], row["difference"], row["is_different"]) == (4, None, None, None)
    assert row["reason"] == TOO_FEW and row["recent"] == [0.13, 0.12, 0.11, 0.1, 0.5]


@pytest.mark.parametrize(
    "more",
    [{"is_proof": True}, {"is_model": True}, {"state": 100}, {"delete_status": 1}, {"state": 55}, {"state": 75},
     {"message_type": 1}, {"typology_id": "2"}, {"typology_id": None}, {"targeted": 0}, {"targeted": None},
     {"started_at": LAUNCH}, {"started_at": LAUNCH + timedelta(1)}, {"started_at": None},
     {"started_at": datetime(2026, 2, 1, 11, 59, tzinfo=UTC)}],
)  # fmt: skip
def test_what_does_not_compare(more: dict[str, Any]) -> None:
    other = delivery("other", 9, 900) | more
    assert own([*FIVE[:4], other, delivery("own", 0, 150)])["n"] == 4


@pytest.mark.parametrize(
    "more",
    [{"started_at": datetime(2026, 2, 1, 12, tzinfo=UTC)}, {"started_at": None, "contact_at": LAUNCH - timedelta(1)},
     {"started_at": datetime(1970, 1, 1, tzinfo=UTC), "contact_at": LAUNCH - timedelta(1)}, {"state": None}],
)  # fmt: skip
def test_what_compares(more: dict[str, Any]) -> None:
    assert own([*FIVE[:4], delivery("other", 9, 900) | more, delivery("own", 0, 150)])["n"] == 5


def test_no_typology_compares_with_none() -> None:
    rows = [row | {"typology_id": None} for row in [*FIVE, delivery("own", 0, 150)]]
    assert own(rows)["n"] == 5


@pytest.mark.parametrize("more", [{"started_at": NOW - timedelta(days=2)}, {"state": 55}])
def test_a_delivery_that_is_not_finished_is_not_judged(more: dict[str, Any]) -> None:
    row = own([*FIVE, delivery("own", 0, 900) | more])
    assert row["difference"] == pytest.approx(0.78) and (row["is_different"], row["reason"]) == (None, UNFINISHED)


def test_three_days_must_have_passed_for_a_delivery_to_compare() -> None:
    moved = [row | {"started_at": NOW - timedelta(days=3, seconds=n)} for n, row in enumerate(FIVE)]
    late = own([*moved, delivery("own", 0, 1) | {"started_at": NOW - timedelta(days=1)}])
    assert late["n"] == 5
    assert own([*moved, delivery("late", 0, 1) | {"started_at": NOW - timedelta(days=2)},
                delivery("own", 0, 1) | {"started_at": NOW - timedelta(days=1)}])["n"] == 5  # fmt: skip


def test_a_count_differs_by_a_share_and_by_its_fences_alone() -> None:
    row = own([*FIVE, delivery("own", 0, 161)], metric="rejected")
    assert row["median"] == 120.0 and row["difference"] == pytest.approx(41 / 120) and row["is_different"] is True
    assert row["part"] is None and row["whole"] is None


def test_what_cannot_be_observed_is_compared_with_none_and_says_why() -> None:
    texts = [row | {"to_deliver": 9, "text_messages": 9, "message_type": 0} for row in FIVE]
    row = own([*texts, delivery("own", 0, 1) | {"to_deliver": 9, "text_messages": 9}], metric="open_rate")
    assert (row["value"], row["why"], row["n"], row["recent"]) == (
        None, "only text was sent: its opens cannot be seen", 0, [])  # fmt: skip
    assert row["is_different"] is None and row["difference"] is None


def test_all_at_once_are_those_that_count_and_each_alone_is_the_same() -> None:
    rows = [*FIVE, delivery("own", 0, 500), delivery("proof", 0, 5, is_proof=True)]
    snapshot = tables(delivery=rows, event=[NEWEST])
    metrics = ["rejected", RATE]
    everything = usual(snapshot, metrics)
    assert everything["delivery_id"].unique().sort().to_list() == ["1", "2", "3", "4", "5", "own"]
    assert everything["metric"].to_list() == metrics * 6
    for key in ("1", "own"):
        assert everything.filter(delivery_id=key).equals(usual(snapshot, metrics, key))
    named = usual(snapshot, [RATE], ["own", "x", "proof"])
    assert named.select("delivery_id", "n").rows() == [("own", 5), ("x", 0), ("proof", 5)]
    with pytest.raises(RequestError, match="There is no delivery 'owm'"):
        usual(snapshot, [RATE], "owm")


SQL = f"""
WITH known AS (
  SELECT delivery_id, typology_id, message_type, started_at, rejected, targeted, rejected / nullif(targeted, 0) AS rate,
         NOT coalesce(is_proof, false) AND state = 95
           AND started_at <= TIMESTAMP '{NOW:%Y-%m-%d %H:%M}' - INTERVAL 3 DAY AS compares
  FROM deliveries
)
SELECT own.delivery_id, count(peer.rate) AS n, median(peer.rate) AS median,
       quantile_cont(peer.rate, 0.25) AS lower, quantile_cont(peer.rate, 0.75) AS upper, any_value(own.rate) AS rate
FROM known own LEFT JOIN known peer
  ON peer.typology_id IS NOT DISTINCT FROM own.typology_id AND peer.message_type IS NOT DISTINCT FROM own.message_type
  AND peer.started_at >= own.started_at - INTERVAL 6 MONTH AND peer.started_at < own.started_at AND peer.compares
GROUP BY own.delivery_id ORDER BY own.delivery_id
"""


def test_the_same_in_sql() -> None:
    chance = random.Random(16)
    rows = [
        delivery(
            f"{n:03}", chance.choice([*range(400), *(0.5 * n for n in range(300))]), chance.randrange(400),
            chance.choice([0, 500, 1000]), state=chance.choice([95, 95, 95, 55]),
            typology_id=chance.choice(["1", "1", None]), message_type=chance.choice([0, 1]),
            is_proof=chance.choice([None, False, False, True]),
        )
        for n in range(300)
    ]  # fmt: skip
    deliveries = pl.DataFrame(rows).with_columns(pl.col("started_at").dt.replace_time_zone(None))  # noqa: F841
    expected = duckdb.sql(SQL).pl()
    snapshot = tables(delivery=rows, event=[NEWEST])
    found = usual(snapshot, [RATE], expected["delivery_id"].to_list())
    assert found["n"].to_list() == expected["n"].to_list() and max(expected["n"]) > 20
    enough = expected["n"] >= 5
    for column in ("median", "lower", "upper"):
        assert found[column].is_null().to_list() == (~enough).to_list()
        assert found.filter(enough)[column].to_list() == pytest.approx(expected.filter(enough)[column].to_list())
    given = found.filter(enough, pl.col("value").is_not_null())
    assert given["difference"].to_list() == pytest.approx((given["value"] - given["median"]).to_list())


def test_the_six_months_are_those_of_the_platform_average() -> None:
    """At the ends of months too, where a month is shorter than the day asks for."""
    days = [datetime(2026, month, day, 12, tzinfo=UTC) for month, day in
            ((2, 27), (2, 28), (3, 1), (3, 30), (3, 31), (8, 28), (8, 30), (8, 31))]  # fmt: skip
    later = NEWEST | {"occurred_at": datetime(2027, 1, 1, tzinfo=UTC)}
    rows = [delivery(str(n), 0, 1) | {"started_at": day} for n, day in enumerate(days)]
    snapshot = tables(delivery=rows, event=[later])
    counted = usual(snapshot, [RATE])["n"].to_list()
    assert counted == [comparable(snapshot, str(n)).height for n in range(len(days))]
