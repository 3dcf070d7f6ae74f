"""Subscription tracking: who joined and left each service, its rates, its curves, the deliveries people left from."""

import random
from datetime import UTC, date, datetime, timedelta

import duckdb
import polars as pl
import pytest

from tests.spec.golden import tables
from trackkit.analysis.subscriptions import (
    acts_by_delivery,
    acts_by_week,
    subscription_curves,
    subscription_progress,
    subscription_totals,
    with_rates,
)
from trackkit.engine.snapshot import Snapshot
from trackkit.errors import RequestError

NOW = datetime(2026, 8, 31, 12, tzinfo=UTC)
JOINED, LEFT = 1, 0


def before(**ago: float) -> datetime:
    return NOW - timedelta(**ago)


def history(*acts: tuple[str, int, datetime], services: dict[str, str] | None = None, **more: object) -> Snapshot:
    """Acts of service 8 given as (recipient, action, instant)."""
    rows = [
        {"service_id": "8", "recipient_id": recipient, "action": action, "occurred_at": at} | more
        for recipient, action, at in acts
    ]
    labels = {"8": "Letter"} if services is None else services
    return tables(subscription=rows, service=[{"service_id": key, "label": name} for key, name in labels.items()])


def figures(given: Snapshot, period: str, *columns: str, **options: object) -> tuple:
    rows = subscription_progress(given, **options).filter(pl.col("period") == period)
    return rows.select(columns).row(0)


def test_the_screen_of_the_platform():
    # spec 3.9: registered, subscriptions, unsubscriptions -> evolution, its rate and loyalty in percent
    screen = [(256023, 22, 0, 22, 0.01, 100.0), (252320, 3083, 0, 3083, 1.22, 100.0),
              (251449, 3969, 22, 3947, 1.57, 99.99), (233075, 21979, 44, 21935, 9.41, 99.98),
              (228331, 23788, 140, 23648, 10.36, 99.94), (215608, 29019, 1581, 27438, 12.73, 99.35)]  # fmt: skip
    names = ["registered", "subscriptions", "unsubscriptions"]
    found = with_rates(pl.DataFrame([row[:3] for row in screen], schema=names, orient="row"))
    assert found["evolution"].to_list() == [row[3] for row in screen]
    assert [round(100 * rate, 2) for rate in found["evolution_rate"]] == [row[4] for row in screen]
    assert [round(100 * rate, 2) for rate in found["loyalty"]] == [row[5] for row in screen]


def test_a_worked_example():
    # a, b, c joined long ago; b left yesterday afternoon, d joined this morning; e came and went three weeks ago
    given = history(
        ("a", JOINED, before(days=300)), ("b", JOINED, before(days=300)), ("c", JOINED, before(days=300)),
        ("b", LEFT, before(hours=20)), ("d", JOINED, NOW),
        ("e", JOINED, before(days=21)), ("e", LEFT, before(days=20)),
    )  # fmt: skip
    columns = (
        "subscribers",
        "registered",
        "subscriptions",
        "unsubscriptions",
        "evolution",
        "evolution_rate",
        "loyalty",
    )
    # today's subscribers are a, c and d; a and c were there before; loyalty 1 - 1/(2+1-1)
    assert figures(given, "24H", *columns) == (3, 2, 1, 1, 0, 0.0, 0.5)
    assert figures(given, "1 month", *columns) == (3, 2, 2, 2, 0, 0.0, 0.0)
    assert subscription_progress(given)["period"].to_list() == [
        "24H",
        "48H",
        "1 week",
        "2 weeks",
        "1 month",
        "6 months",
    ]


def test_the_bounds_of_a_period():
    given = history(
        ("a", JOINED, before(hours=24)), ("b", JOINED, before(hours=24, microseconds=1)), ("c", JOINED, NOW)
    )
    # an act exactly 24 hours ago is neither in the period nor before it
    assert figures(given, "24H", "registered", "subscriptions", "subscribers") == (1, 1, 3)
    assert figures(given, "48H", "registered", "subscriptions") == (0, 3)


def test_months_are_those_of_the_calendar():
    starts = dict(subscription_progress(history(("a", JOINED, NOW))).select("period", "starts_at").iter_rows())
    assert starts["6 months"] == datetime(2026, 2, 28, 12, tzinfo=UTC)  # there is no 31 February
    assert starts["1 month"] == datetime(2026, 7, 31, 12, tzinfo=UTC)
    assert starts["2 weeks"] == datetime(2026, 8, 17, 12, tzinfo=UTC)


def test_a_subscription_lasts_from_the_act_that_began_it():
    again = history(("a", JOINED, before(days=40)), ("a", JOINED, before(days=2)), ("z", LEFT, NOW))
    assert figures(again, "1 week", "subscribers", "registered", "subscriptions") == (1, 1, 1)
    back = history(
        ("a", JOINED, before(days=40)), ("a", LEFT, before(days=20)), ("a", JOINED, before(days=2)), ("z", LEFT, NOW)
    )
    assert figures(back, "1 week", "subscribers", "registered", "subscriptions") == (1, 0, 1)
    at_once = history(("a", JOINED, NOW), ("a", LEFT, NOW))
    assert figures(at_once, "24H", "subscribers", "subscriptions", "unsubscriptions") == (0, 1, 1)


def test_acts_that_stand_nowhere():
    nowhere = [
        {"service_id": "8", "recipient_id": "a", "action": JOINED, "occurred_at": None},
        {"service_id": None, "recipient_id": "b", "action": JOINED, "occurred_at": NOW},
        {"service_id": "8", "recipient_id": "c", "action": 7, "occurred_at": NOW},
        {"service_id": "8", "recipient_id": None, "action": JOINED, "occurred_at": NOW},
    ]
    given = tables(subscription=nowhere)
    assert figures(given, "24H", "service", "subscribers", "subscriptions") == ("8", 0, 1)


def test_the_instant_looked_back_from():
    given = history(("a", JOINED, before(days=10)), ("a", LEFT, NOW))
    assert figures(given, "1 month", "subscribers", "as_of", as_of="2026-08-30") == (
        1, datetime(2026, 8, 30, 23, 59, 59, 999_999, tzinfo=UTC))  # fmt: skip
    assert figures(given, "24H", "subscribers", as_of="2026-08-31T11:59") == (1,)
    # noon in UTC is 14:00 in Paris, so that 13:59 there is before the departure
    assert figures(given, "24H", "subscribers", as_of="2026-08-31T13:59", timezone="Europe/Paris") == (1,)
    assert figures(given, "24H", "subscribers", as_of="2026-08-31T13:59+01:00", timezone="Europe/Paris") == (0,)
    later = figures(given, "24H", "unsubscriptions", "as_of", as_of=datetime(2027, 1, 1, tzinfo=UTC))
    assert later == (0, datetime(2027, 1, 1, tzinfo=UTC))


def test_services_without_acts_and_acts_without_a_service():
    given = history(("a", JOINED, NOW), services={"9": "Offers"})
    rows = subscription_progress(given).filter(pl.col("period") == "24H")
    assert rows.select("service_id", "service", "subscribers", "evolution_rate", "loyalty").rows() == [
        ("8", "8", 1, None, 1.0), ("9", "Offers", 0, None, None)]  # fmt: skip
    assert subscription_progress(given, service="9").height == 6
    unloaded = subscription_progress(tables(service=[{"service_id": "9"}]))
    assert unloaded.height == 6 and unloaded.select(
        "subscribers", "registered", "loyalty", "as_of"
    ).unique().rows() == [(None, None, None, None)]
    assert subscription_progress(Snapshot({})).is_empty()
    assert subscription_curves(Snapshot({})).is_empty() and acts_by_delivery(Snapshot({})).is_empty()


@pytest.mark.parametrize(
    "options", [{"service": "88"}, {"as_of": "yesterday"}, {"as_of": "2026-13-01"}, {"timezone": "Europe/Pari"}]
)
def test_what_is_refused(options):
    with pytest.raises(RequestError, match=r"8|instant|zone"):
        subscription_progress(history(("a", JOINED, NOW)), **options)
    with pytest.raises(RequestError, match="1 week"):
        subscription_curves(history(("a", JOINED, NOW)), period="1 weak")


def test_curves_begin_at_zero_and_end_today():
    given = history(("a", JOINED, before(days=3)), ("b", JOINED, before(days=3)), ("a", LEFT, before(hours=10)),
                    ("c", JOINED, NOW), ("d", JOINED, before(days=30)))  # fmt: skip
    found = subscription_curves(given, period="1 week")
    assert found.select("series", "day", "count", "cumulated").rows() == [
        ("subscriptions", date(2026, 8, 23), 0, 0), ("subscriptions", date(2026, 8, 28), 2, 2),
        ("subscriptions", date(2026, 8, 31), 1, 3),
        ("unsubscriptions", date(2026, 8, 23), 0, 0), ("unsubscriptions", date(2026, 8, 31), 1, 1),
    ]  # fmt: skip
    # 02:00 UTC on the 31st is still the 30th in New York
    local = subscription_curves(given, period="1 week", timezone="America/New_York")
    assert local.filter(pl.col("series") == "unsubscriptions")["day"].to_list() == [
        date(2026, 8, 23), date(2026, 8, 30), date(2026, 8, 31)]  # fmt: skip
    two = tables(subscription=[{"service_id": key, "recipient_id": who, "action": 1, "occurred_at": NOW}
                               for key, who in ("8a", "9a", "9b")])  # fmt: skip
    assert subscription_curves(two, top=1)["service_id"].unique().to_list() == ["9"]


def test_acts_of_weeks_and_of_all_services():
    # NOW is Monday 31 August 2026; a week back begins on Monday 24 at noon: no week is whole
    given = history(("a", JOINED, before(days=7, hours=-1)), ("b", JOINED, before(days=2)), ("a", LEFT, NOW))
    weeks = acts_by_week(subscription_curves(given, period="1 week"))
    assert weeks.drop("service_id", "service").rows() == [
        ("subscriptions", date(2026, 8, 24), 2, 2, False), ("unsubscriptions", date(2026, 8, 31), 1, 1, False)
    ]  # fmt: skip
    # a month back begins on Friday 31 July: the week of 3 August is the first whole one
    longer = acts_by_week(subscription_curves(history(("a", JOINED, before(days=31)), ("b", JOINED, before(days=25)),
        ("c", JOINED, NOW)), period="1 month"))  # fmt: skip
    assert longer.select("starts_on", "is_whole").rows() == [(date(2026, 8, 3), True), (date(2026, 8, 31), False)]
    acts = [("8", "a", 1, before(days=9)), ("8", "b", 1, NOW), ("9", "a", 1, before(days=9)), ("9", "a", 0, NOW)]
    rows = [
        {"service_id": key, "recipient_id": who, "action": action, "occurred_at": at} for key, who, action, at in acts
    ]
    totals = subscription_totals(subscription_progress(tables(subscription=rows)))
    day = totals.filter(pl.col("period") == "24H").drop("period")
    # two were subscribed (a, to both); b joined 8, and a left 9
    assert day.columns == ["services", "subscribers", "at_start", "joined", "left", "everybody", "change", "loss_rate"]
    assert day.row(0) == (2, 2, 2, 1, 1, 3, 0, 1 / 3)
    unloaded = subscription_totals(subscription_progress(tables(service=[{"service_id": "9"}])))
    assert unloaded.select("subscribers", "change", "loss_rate").unique().rows() == [(None, None, None)]


def test_deliveries_that_people_left_from():
    acts = [("a", LEFT, NOW, "1"), ("b", LEFT, NOW, "1"), ("c", LEFT, before(days=3), None), ("d", JOINED, NOW, "2"),
            ("e", LEFT, before(days=400), "2")]  # fmt: skip
    rows = [{"service_id": "8", "recipient_id": who, "action": action, "occurred_at": at, "delivery_id": delivery}
            for who, action, at, delivery in acts]  # fmt: skip
    given = tables(subscription=rows, delivery=[{"delivery_id": "1", "label": "Spring"}])
    assert acts_by_delivery(given).rows() == [
        ("1", "Spring", 0, 2, 3, 2 / 3), (None, None, 0, 1, 3, 1 / 3), ("2", "2", 1, 0, 3, 0.0)]  # fmt: skip


def randomised(seed: int) -> pl.DataFrame:
    chance = random.Random(seed)
    rows = [
        {"service_id": chance.choice(["8", "8", "9"]), "recipient_id": chance.choice([*map(str, range(40)), None]),
         "action": chance.choice([1, 1, 0, None]),
         "occurred_at": before(minutes=chance.choice([chance.randint(0, 300_000), 60 * chance.randint(0, 400)]))}
        for _ in range(400)
    ]  # fmt: skip
    return tables(subscription=rows).scan("subscription").collect()


SECOND = """
    WITH acts AS (SELECT * FROM subscription WHERE action IN (0, 1)),
    now AS (SELECT max(occurred_at) AS newest FROM acts),
    periods AS (SELECT period, newest - span AS start FROM now, (VALUES
        ('24H', INTERVAL 24 HOUR), ('48H', INTERVAL 48 HOUR), ('1 week', INTERVAL 7 DAY),
        ('2 weeks', INTERVAL 14 DAY), ('1 month', INTERVAL 1 MONTH), ('6 months', INTERVAL 6 MONTH)
    ) AS lengths(period, span)),
    changes AS (
        SELECT *, recipient_id IS NULL OR action IS DISTINCT FROM lag(action) OVER (
            PARTITION BY service_id, recipient_id ORDER BY occurred_at, action DESC) AS is_change FROM acts),
    people AS (
        SELECT service_id, recipient_id, min(occurred_at) AS since FROM acts AS joined
        WHERE action = 1 AND recipient_id IS NOT NULL AND NOT EXISTS (
            SELECT 1 FROM acts AS gone WHERE gone.action = 0 AND gone.service_id = joined.service_id
            AND gone.recipient_id = joined.recipient_id AND gone.occurred_at >= joined.occurred_at)
        GROUP BY ALL),
    counted AS (
        SELECT s.service_id, p.period, p.start,
            (SELECT count(*) FROM people WHERE service_id = s.service_id) AS subscribers,
            (SELECT count(*) FROM people WHERE service_id = s.service_id AND since < p.start) AS registered,
            count(*) FILTER (action = 1 AND occurred_at > p.start) AS joined,
            count(*) FILTER (action = 0 AND occurred_at > p.start) AS gone,
            count(*) FILTER (is_change AND action = 1 AND occurred_at > p.start) AS joins,
            count(*) FILTER (is_change AND action = 0 AND occurred_at > p.start) AS leaves
        FROM changes AS s, periods AS p GROUP BY s.service_id, p.period, p.start)
    SELECT service_id, period, subscribers, registered, joined, gone, joins - leaves AS evolution,
        CASE WHEN registered > 0 THEN (joins - leaves) / registered END AS evolution_rate,
        CASE WHEN registered + joins - leaves > 0
             THEN (registered + joins - 2 * leaves) / (registered + joins - leaves) END AS loyalty
    FROM counted ORDER BY service_id, start DESC
"""


@pytest.mark.parametrize("seed", range(5))
def test_an_independent_implementation_agrees(seed):
    given = randomised(seed)
    found = subscription_progress(Snapshot({"subscription": given.lazy()}))
    with duckdb.connect(":memory:") as database:
        database.execute("SET TimeZone = 'UTC'")
        database.register("subscription", given.to_arrow())
        expected = database.sql(SECOND).fetchall()
    columns = ("service_id", "period", "subscribers", "registered", "subscriptions", "unsubscriptions", "evolution",
               "evolution_rate", "loyalty")  # fmt: skip
    assert len(expected) == 12
    assert found.select(columns).sort("service_id", maintain_order=True).rows() == expected


def people(given: Snapshot, period: str) -> tuple:
    return figures(given, period, "at_start", "joined", "left", "change", "everybody", "loss_rate")


def test_one_who_leaves_three_times_is_one_who_left():
    joined = [(who, JOINED, before(days=270)) for who in "abcd"]
    left = [("a", LEFT, before(days=ago)) for ago in (2, 1, 0)]
    given = history(*joined, *left, delivery_id="701")
    assert people(given, "1 week") == (4, 0, 1, -1, 4, 0.25)
    assert people(given, "24H") == (3, 0, 0, 0, 3, 0.0)  # who had left already, and left again
    assert figures(given, "1 week", "subscribers", "unsubscriptions", "evolution") == (3, 3, -1)
    curve = subscription_curves(given).filter(pl.col("series") == "unsubscriptions")
    assert curve["cumulated"].to_list() == [0, 1, 1]
    assert acts_by_delivery(given).select("subscriptions", "unsubscriptions", "total").rows() == [(0, 1, 1)]


def test_who_comes_back_has_not_left():
    back = history(
        ("a", JOINED, before(days=300)), ("a", LEFT, before(days=5)), ("a", JOINED, before(days=3)),
        ("b", JOINED, before(days=300)), ("b", LEFT, before(days=5)), ("b", JOINED, before(days=3)), ("b", LEFT, NOW),
    )  # fmt: skip
    assert people(back, "1 week") == (2, 0, 1, -1, 2, 0.5)
    assert figures(back, "1 week", "subscriptions", "unsubscriptions", "evolution") == (2, 3, -1)


def test_who_joins_and_leaves_at_once_both_joined_and_left():
    given = history(("a", JOINED, before(days=300)), ("b", JOINED, before(hours=3)), ("b", LEFT, before(hours=1)))
    assert people(given, "24H") == (1, 1, 1, 0, 2, 0.5)
    at_once = history(("a", JOINED, NOW), ("a", LEFT, NOW))
    assert people(at_once, "24H") == (0, 1, 1, 0, 1, 1.0)


def test_who_first_leaves_was_subscribed_before_the_history_began():
    given = history(("a", LEFT, before(days=2)), ("b", LEFT, before(days=60)), ("c", JOINED, NOW))
    assert people(given, "1 week") == (1, 1, 1, 0, 2, 0.5)
    assert people(given, "6 months") == (2, 1, 2, -1, 3, 2 / 3)


def test_people_of_several_services_and_an_act_told_twice():
    acts = ((JOINED, before(days=9)), (LEFT, NOW), (LEFT, before(seconds=2)))
    rows = [
        {"service_id": service, "recipient_id": "a", "action": action, "occurred_at": at}
        for service in "89"
        for action, at in acts
    ]
    assert people(tables(subscription=[row for row in rows if row["service_id"] == "8"]), "24H") == (1, 0, 1, -1, 1, 1)
    both = subscription_progress(tables(subscription=rows)).filter(pl.col("period") == "24H")
    assert both.select("service_id", "at_start", "left").rows() == [("8", 1, 1), ("9", 1, 1)]


def test_without_a_history_of_acts_nothing_is_known_of_people():
    assert people(tables(service=[{"service_id": "9"}]), "24H") == (None,) * 6
    assert people(history(services={"9": "Offers"}), "24H") == (0, 0, 0, 0, 0, None)


@pytest.mark.parametrize("seed", range(3))
def test_people_are_those_that_a_walk_through_the_acts_finds(seed):
    given = randomised(seed).drop_nulls(["action", "recipient_id"])
    found = subscription_progress(Snapshot({"subscription": given.lazy()}))
    for row in found.filter(pl.col("period").is_in(["1 week", "1 month"])).to_dicts():
        acts = given.filter(service_id=row["service_id"]).sort("occurred_at", pl.col("action") == LEFT)
        was, came, is_in = {}, set(), {}
        for who, action, at in acts.select("recipient_id", "action", "occurred_at").iter_rows():
            was.setdefault(who, action == LEFT)
            if at <= row["starts_at"]:
                was[who] = action == JOINED
            elif action == JOINED:
                came.add(who)
            is_in[who] = action == JOINED
        at_start = {who for who in was if was[who]}
        counts = len(at_start), len(came - at_start), len({who for who in at_start | came if not is_in[who]})
        assert (row["at_start"], row["joined"], row["left"]) == counts
        assert row["at_start"] + row["change"] == row["subscribers"]
