"""The query editor's recipes, by hand and in SQL on random data."""

from datetime import timedelta

import duckdb
import polars as pl
import pytest

from tests.spec.golden import DELIVERY_ID, at, golden, tables
from tests.spec.randomised import randomised
from trackkit.analysis.recipes import behaviour, hits_per_recipient, no_open_in
from trackkit.engine.measure import measure
from trackkit.errors import RequestError


def test_golden_behaviour_adds_up_to_success():
    found = behaviour(golden(), DELIVERY_ID)
    assert found.rows() == [
        ("101", "1", "inactive"), ("102", "2", "opened"), ("103", "3", "clicked"), ("104", "4", "clicked")
    ]  # fmt: skip
    counts = dict(found["behaviour"].cast(pl.String).value_counts().iter_rows())
    row = measure(golden(), ["delivered", "unique_clicks", "unique_opens"], delivery=DELIVERY_ID).row(0, named=True)
    assert counts["clicked"] == row["unique_clicks"]
    assert counts["clicked"] + counts["opened"] == row["unique_opens"]
    assert sum(counts.values()) == row["delivered"]
    with pytest.raises(RequestError, match="Did you mean '230'"):
        behaviour(golden(), "23")


def test_no_open_in_the_last_days():
    # opens: Florian 15:01 and 15:09, Henry 15:06, Marie 15:14, the newest hit of all
    assert no_open_in(golden(), 1)["recipient_id"].to_list() == ["101"]
    minutes = 6 / 1440
    assert no_open_in(golden(), minutes).rows() == [("101", 0, None), ("104", 0, at(15, 6))]
    assert no_open_in(golden(), 1, until=at(15)).rows() == [(f"10{n}", 1, None) for n in (1, 2, 3, 4)]
    with pytest.raises(RequestError, match="positive"):
        no_open_in(golden(), 0)
    with pytest.raises(RequestError, match="give `until`"):
        no_open_in(tables(recipient=[{"recipient_id": "1"}]), 3)


def test_recipients_never_written_to_are_there_and_proofs_seeds_and_clicks_do_not_open():
    message = {"delivery_id": "1", "status": "delivered", "status_at": at(8)}
    hits = [("a", "opened", False, "1"), ("b", "clicked", False, "1"), ("c", "opened", True, "1"),
            ("d", "opened", False, "2")]  # fmt: skip
    given = tables(
        delivery=[{"delivery_id": "1"}, {"delivery_id": "2", "is_proof": True}],
        recipient=[{"recipient_id": key} for key in "abcde"],
        message=[message | {"message_id": key, "recipient_id": key, "is_seed": key == "c"} for key in "abc"],
        event=[{"delivery_id": owner, "recipient_id": key, "event_type": kind, "is_seed": seed, "occurred_at": at(9)}
               for key, kind, seed, owner in hits],
    )  # fmt: skip
    assert no_open_in(given, 1).rows() == [("b", 1, None), ("c", 0, None), ("d", 0, None), ("e", 0, None)]


def test_logs_per_recipient_between_two_instants_and_by_label():
    assert hits_per_recipient(golden()).select("recipient_id", "hits", "opens", "clicks", "deliveries").rows() == [
        ("103", 13, 2, 11, 1), ("104", 5, 1, 4, 1), ("102", 1, 1, 0, 1)
    ]  # fmt: skip
    some = hits_per_recipient(golden(), since=at(15, 6), until=at(15, 9))
    assert some.select("recipient_id", "hits", "last_hit_at").rows() == [("104", 5, at(15, 7))]
    assert hits_per_recipient(golden(), label_contains="GOLD").height == 3
    assert hits_per_recipient(golden(), label_contains="g.l").height == 0, "text, not a pattern"


SECOND = """
select recipient_id, count(*), count(*) filter (event_type = 'opened'), count(*) filter (event_type = 'clicked')
from event where not coalesce(is_seed, false) and recipient_id is not null and occurred_at >= ? and occurred_at < ?
  and (event_type in ('opened','clicked','unsubscribed','mirror_page','web_visited','transaction')
       or link_id is not null)
group by 1 order by 2 desc, cast(recipient_id as bigint)
"""


@pytest.mark.parametrize("seed", range(4))
def test_logs_per_recipient_agree_with_sql(seed):
    given = randomised(seed)
    event = given.scan("event").with_columns(pl.col("event_type").cast(pl.String), recipient_id="message_id").collect()
    given = tables(event=event.to_dicts(), delivery=[{"delivery_id": "7"}])
    start = event["occurred_at"].min() + timedelta(hours=2)
    with duckdb.connect(":memory:") as database:
        database.execute("set timezone = 'UTC'")
        database.register("event", event.to_arrow())
        expected = database.execute(SECOND, [start, start + timedelta(hours=9)]).fetchall()
    found = hits_per_recipient(given, start, start + timedelta(hours=9))
    assert found.select("recipient_id", "hits", "opens", "clicks").rows() == expected
