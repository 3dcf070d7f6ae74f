"""Several deliveries side by side and together: which ones, and totals that are measured again."""

import random
from datetime import UTC, datetime

import duckdb
import polars as pl
import pytest

from tests.spec.golden import tables
from trackkit.analysis.several import MOST, chosen_deliveries, side_by_side
from trackkit.engine.snapshot import Snapshot
from trackkit.errors import RequestError

COUNTS = ("delivered", "unique_opens", "unique_clicks", "unique_people_clicks", "total_clicks")
PER_DELIVERY = ("estimated_forwards", "estimated_unique_opens")
RATES = ("open_rate", "click_rate", "click_to_open_rate")


def sent(key: str, started: datetime | None, **more: object) -> dict[str, object]:
    return {"delivery_id": key, "label": f"Letter {key}", "started_at": started, "to_deliver": 4, "text_messages": 0,
            "is_proof": False, "is_model": False} | more  # fmt: skip


def on(month: int, day: int, hour: int = 12) -> datetime:
    return datetime(2026, month, day, hour, tzinfo=UTC)


def names(given: Snapshot, deliveries: object = "") -> list[str]:
    return chosen_deliveries(given, deliveries)["delivery_id"].to_list()


def test_all_of_the_six_calendar_months_up_to_the_latest_launch():
    given = tables(delivery=[
        sent("1", on(2, 28)), sent("2", on(2, 28, 11)),  # 28 February at noon is six months before 31 August
        sent("3", on(8, 31)), sent("4", None, contact_at=on(5, 1)), sent("5", None),
        sent("6", on(8, 31), is_proof=True), sent("7", on(9, 30), is_model=True), sent("8", on(5, 1)),
    ])  # fmt: skip
    assert names(given) == ["3", "4", "8", "1"]  # the latest first, then by id


def test_a_delivery_that_no_table_dates_was_launched_with_its_first_hit():
    hits = [{"delivery_id": "9", "occurred_at": on(8, day)} for day in (5, 4)] + [{"delivery_id": None}]
    found = chosen_deliveries(tables(delivery=[sent("1", on(8, 1))], event=hits))
    assert found.rows() == [("9", "9", on(8, 4)), ("1", "Letter 1", on(8, 1))]


def test_deliveries_named_stand_in_the_order_asked_each_once():
    given = tables(delivery=[sent("1", on(1, 1)), sent("2", on(8, 1)), sent("3", on(8, 2), is_proof=True)],
                   message=[{"delivery_id": "4", "message_id": "m"}])  # fmt: skip
    assert names(given, " 3,1 ,3,, 4 ") == names(given, ["3", "1", "3", "4"]) == ["3", "1", "4"]
    assert chosen_deliveries(given, "4").row(0) == ("4", "4", None)
    with pytest.raises(RequestError, match="no delivery '12'"):
        chosen_deliveries(given, "1,12")


def test_equal_labels_are_told_apart():
    given = tables(delivery=[sent(key, on(8, 1), label=name) for key, name in (("1", "A"), ("2", "A"), ("3", None))])
    assert chosen_deliveries(given)["delivery"].to_list() == ["A (1)", "A (2)", "3"]


def test_more_than_anybody_reads_is_refused():
    with pytest.raises(RequestError, match="at most 1,000"):
        chosen_deliveries(tables(delivery=[sent(str(key), on(8, 1)) for key in range(MOST + 1)]))


def click(delivery: str, message: str, person: str) -> dict[str, object]:
    return {"delivery_id": delivery, "message_id": message, "person_id": person, "event_type": "clicked",
            "is_seed": False, "event_id": f"{delivery}{message}{person}"}  # fmt: skip


def message(delivery: str, key: str, **more: object) -> dict[str, object]:
    return {"delivery_id": delivery, "message_id": key, "status": "delivered", "is_seed": False} | more


def test_a_worked_example():
    # p reads both letters. The first is clicked by p and by q, to whom it was forwarded; the second by p for two
    # recipients on one machine: 2 - 1 = 1 forward, and 1 - 2, which counts as none.
    given = tables(
        delivery=[sent("1", on(8, 1), text_messages=2), sent("2", on(8, 2))],
        message=[message("1", "a"), message("1", "b"), message("2", "c"), message("2", "d"), message("2", "e")],
        event=[click("1", "a", "p"), click("1", "a", "q"), click("2", "c", "p"), click("2", "d", "p")],
    )
    found = side_by_side(given, [*COUNTS, *PER_DELIVERY, *RATES])
    assert found.rows.select("delivery_id", "delivery", "launched_at").rows() == [
        ("2", "Letter 2", on(8, 2)), ("1", "Letter 1", on(8, 1))]  # fmt: skip
    assert found.rows.select(COUNTS).rows() == [(3, 2, 2, 1, 2), (2, 1, 1, 2, 2)]
    assert found.total.select(COUNTS).row(0) == (5, 3, 3, 2, 4)  # p is one of two people, not two of three
    # one of two HTML messages opened, of four in all: two; and two of four
    assert found.rows.select(PER_DELIVERY).rows() == [(0, 2), (1, 2)]
    assert found.total.select(PER_DELIVERY).row(0) == (1, 4)
    assert found.total.select(RATES).row(0) == (3 / 5, 2 / 5, 1.0)


def test_empty_and_missing_tables():
    nothing = side_by_side(Snapshot({}), ["delivered", "open_rate"])
    assert nothing.rows.is_empty() and nothing.total.select("delivered", "open_rate").row(0) == (None, None)
    quiet = side_by_side(tables(delivery=[sent("1", on(8, 1))], message=[], event=[]), ["delivered", "open_rate"])
    assert quiet.rows.select("delivered", "open_rate").rows() == [(0, None)]
    hits_alone = tables(event=[click("1", "a", "p"), click("2", "b", "p") | {"is_seed": True}])
    assert side_by_side(hits_alone, ["unique_opens", "delivered"]).rows.select("unique_opens", "delivered").rows() == [
        (1, None), (0, None)]  # fmt: skip


SECOND = """
    WITH chosen AS (
        SELECT delivery_id, to_deliver, text_messages FROM delivery WHERE NOT is_proof AND started_at >=
            (SELECT max(started_at) - INTERVAL 6 MONTH FROM delivery WHERE NOT is_proof)),
    hits AS (SELECT * FROM event JOIN chosen USING (delivery_id) WHERE NOT is_seed),
    parts AS (
        SELECT delivery_id, to_deliver, text_messages, count(DISTINCT message_id) AS opens,
            count(DISTINCT person_id) FILTER (event_type = 'clicked')
            - count(DISTINCT message_id) FILTER (event_type = 'clicked') AS forwards
        FROM hits GROUP BY ALL)
    SELECT
        (SELECT count(*) FROM message JOIN chosen USING (delivery_id) WHERE status = 'delivered' AND NOT is_seed),
        (SELECT count(DISTINCT (delivery_id, message_id)) FROM hits),
        (SELECT count(DISTINCT (delivery_id, message_id)) FROM hits WHERE event_type = 'clicked'),
        (SELECT count(DISTINCT person_id) FROM hits WHERE event_type = 'clicked'),
        (SELECT count(*) FROM hits WHERE event_type = 'clicked'),
        (SELECT sum(greatest(forwards, 0))::int FROM parts),
        (SELECT sum(floor(opens * to_deliver::decimal / (to_deliver - text_messages) + 0.5))::int FROM parts)
"""


def randomised(seed: int) -> Snapshot:
    chance = random.Random(seed)
    keys = [str(key) for key in range(8)]
    deliveries = [
        sent(key, on(chance.randint(1, 12), 15), to_deliver=40, text_messages=chance.randint(0, 9),
             is_proof=chance.random() < 0.2)
        for key in keys
    ]  # fmt: skip
    messages = [
        message(key, f"{place}", status=chance.choice(["delivered", "failed"]), is_seed=chance.random() < 0.1)
        for key in keys for place in range(40)
    ]  # fmt: skip
    events = [
        click(row["delivery_id"], row["message_id"], str(chance.randint(0, 60)))
        | {"event_id": str(place), "event_type": chance.choice(["clicked", "opened"]), "is_seed": row["is_seed"]}
        for place, row in enumerate(chance.choices(messages, k=500))
    ]
    return tables(delivery=deliveries, message=messages, event=events)


@pytest.mark.parametrize("seed", range(5))
def test_the_same_by_a_second_implementation(seed):
    given = randomised(seed)
    with duckdb.connect(":memory:") as database:
        database.execute("SET TimeZone = 'UTC'")
        for name in ("delivery", "message", "event"):
            rows = given.scan(name).with_columns(pl.selectors.enum().cast(pl.String)).collect()
            database.register(name, rows.to_arrow())
        expected = database.execute(SECOND).fetchone()
    assert side_by_side(given, [*COUNTS, *PER_DELIVERY]).total.select(*COUNTS, *PER_DELIVERY).row(0) == expected
