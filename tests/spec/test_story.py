"""The story of a recipient, against cases made by hand and a second telling in SQL; and how it is drawn."""

import duckdb
import polars as pl
import pytest

from tests.spec.golden import DELIVERY_ID, at, golden, tables
from tests.spec.randomised import randomised
from trackkit.analysis.story import ACT_LABELS, ACTS, COLUMNS, gathered, timeline
from trackkit.errors import RequestError
from trackkit.schema import EVENT_TYPES
from trackkit.show.charts.story import act_timeline


def acts(given, **asked) -> list[tuple]:
    return timeline(given, **asked).select("occurred_at", "act", "label").rows()


def test_golden_henry_was_sent_opened_and_clicked():
    assert acts(golden(), recipient="104") == [
        (at(15), "sent", None), (at(15, 6), "opened", "Open"), (at(15, 6), "clicked", "Boutique"),
        (at(15, 6), "clicked", "Boutique"), (at(15, 7), "clicked", "Home"), (at(15, 7), "clicked", "Offers"),
    ]  # fmt: skip
    assert acts(golden(), recipient="101") == [(at(15), "sent", None)], "John did nothing"
    assert acts(golden(), recipient="nobody") == []
    assert timeline(golden(), delivery=DELIVERY_ID)["act"].value_counts().sort("act").rows() == [
        ("sent", 4), ("opened", 4), ("clicked", 15)
    ]  # fmt: skip


def test_bought_and_left_and_joined_over_several_deliveries():
    events = [
        {"delivery_id": "1", "event_type": "transaction", "occurred_at": at(9), "amount": 12.5, "link_label": "Order"},
        {"delivery_id": "2", "event_type": "unsubscribed", "occurred_at": at(11), "url": "https://x.example/out"},
        {"delivery_id": "2", "event_type": "complained", "occurred_at": at(12)},
        {"delivery_id": "2", "event_type": "opened"},
        {"delivery_id": "2", "event_type": "clicked", "occurred_at": at(12), "recipient_id": "other"},
    ]  # fmt: skip
    given = tables(
        event=[{"recipient_id": "r", "event_id": str(place)} | event for place, event in enumerate(events)],
        delivery=[{"delivery_id": "1", "label": "One"}],
        subscription=[
            {"service_id": "s", "recipient_id": "r", "action": 1, "occurred_at": at(8)},
            {"service_id": "t", "recipient_id": "r", "action": 0, "occurred_at": at(13), "delivery_id": "2"},
        ],
        service=[{"service_id": "s", "label": "Letter"}],
    )
    told = timeline(given, recipient="r")
    assert told.columns == list(COLUMNS) and told.schema["act"] == ACTS
    assert told.select("act", "type", "label", "document", "amount").rows() == [
        ("joined", "Subscribed", "Letter", None, None), ("bought", "Transaction", "Order", "One", 12.5),
        ("left", "Opt-out", "https://x.example/out", "2", None), ("left", "Complained", None, "2", None),
        ("left", "Opt-out", "t", "2", None),
    ]  # fmt: skip
    assert told["occurred_at"].is_sorted()
    assert timeline(given, recipient="r", delivery="2").height == 3


def test_a_sending_told_twice_is_one_act_and_one_told_only_by_events_counts():
    message = {"delivery_id": "1", "recipient_id": "r", "status_at": at(8)}
    given = tables(
        message=[message | {"message_id": "a", "status": "delivered"},
                 message | {"message_id": "b", "status": "failed"},
                 message | {"message_id": "c", "status": "pending"}],
        event=[
            {"delivery_id": "1", "recipient_id": "r", "message_id": key, "event_type": kind, "occurred_at": at(9)}
            for key, kind in (("a", "sent"), ("a", "delivered"), ("a", "bounced"), ("b", "bounced"), ("z", "sent"),
                              ("a", "queued"))
        ],
    )  # fmt: skip
    assert [(row[0].hour, row[1]) for row in acts(given, recipient="r")] == [
        (8, "sent"), (8, "failed"), (9, "sent"), (9, "failed")
    ]  # fmt: skip


def test_every_event_type_is_an_act_or_not_told():
    event = [{"delivery_id": "1", "event_type": kind, "occurred_at": at(9), "event_id": kind} for kind in EVENT_TYPES]
    told = timeline(tables(event=event), delivery="1")
    assert told.height == len(EVENT_TYPES) - 3 and told["act"].null_count() == 0
    assert set(told["act"].cast(pl.String)) == set(ACT_LABELS)


def test_one_id_is_needed_and_a_delivery_is_known():
    with pytest.raises(RequestError, match="say which"):
        timeline(golden())
    with pytest.raises(RequestError, match="Did you mean '230'"):
        timeline(golden(), delivery="23")


SECOND = """
select case event_type when 'opened' then 'opened' when 'clicked' then 'clicked' when 'mirror_page' then 'clicked'
    when 'unsubscribed' then 'left' when 'web_visited' then 'visited' when 'transaction' then 'bought' else 'other' end
  as act, count(*)
from event where delivery_id = '7' and occurred_at is not null group by 1 order by 1
"""


@pytest.mark.parametrize("seed", range(4))
def test_acts_agree_with_sql_and_gathering_loses_none(seed):
    given = randomised(seed)
    with duckdb.connect(":memory:") as database:
        database.execute("set timezone = 'UTC'")
        event = given.scan("event").with_columns(pl.col("event_type").cast(pl.String)).collect()
        database.register("event", event.to_arrow())
        expected = database.execute(SECOND).fetchall()
    told = timeline(given, delivery="7")
    counts = told.group_by(pl.col("act").cast(pl.String)).len().sort("act")
    assert counts.rows() == expected
    together = gathered(told, timezone="Europe/Paris")
    summed = together.group_by(pl.col("act").cast(pl.String)).agg(pl.col("count").sum()).sort("act")
    assert summed.rows() == expected
    assert together.filter(~pl.col("at").is_between("first_at", "last_at")).height == 0


@pytest.mark.parametrize("many", [0, 1, 2, 200, 20_000])
@pytest.mark.parametrize("lang", ["en", "pt_BR"])
def test_a_story_of_any_length_is_drawn_with_few_dots(many, lang):
    hits = [{"delivery_id": "1", "recipient_id": "r", "event_id": str(n), "event_type": ["opened", "clicked"][n % 2],
             "occurred_at": at(n % 24, n % 60, day=1 + n % 28)} for n in range(many)]  # fmt: skip
    told = gathered(timeline(tables(event=hits), recipient="r"), timezone="America/Sao_Paulo")
    assert told["count"].sum() == many and told.height <= min(many, 2 * 90)
    spec = act_timeline(told, ACT_LABELS, lang).to_dict()
    dots = next(iter(spec["datasets"].values()))
    assert len(dots) == told.height and spec["description"]


def test_periods_are_those_in_which_most_happened():
    """19 opens in the first 90 minutes and one after 90 hours: 95 % of the 20 are there at minute 90."""
    hits = [{"delivery_id": "1", "recipient_id": "r", "event_id": str(n), "event_type": "opened",
             "occurred_at": at(n * 5 // 60, n * 5 % 60)} for n in range(19)]  # fmt: skip
    hits.append(hits[0] | {"event_id": "late", "occurred_at": at(18, day=23)})
    told = timeline(tables(event=hits), delivery="1")
    assert gathered(told)["count"].to_list() == [13, 6, 1], "an hour each, of 90"
    fine = gathered(told, share=0.95)
    assert fine["count"].to_list() == [1] * 20
    drawn = act_timeline(fine, ACT_LABELS, launched=at(0)).to_dict()
    assert drawn["description"].endswith("Not drawn: 1 later event until Thu, 2012-02-23.")
    assert sum(row.get("name") == "Opened" for row in drawn["datasets"][drawn["layer"][0]["data"]["name"]]) == 19
