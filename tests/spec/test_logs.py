"""The Tracking tabs of a delivery and of a recipient."""

from datetime import UTC, datetime

import duckdb
import polars as pl
import pytest

from tests.spec.golden import DELIVERY_ID, HENRY, at, golden, tables
from tests.spec.randomised import randomised
from trackkit.analysis.links import event_label
from trackkit.analysis.logs import COLUMNS, clicked_urls, headings, tracking_log, tracking_tab
from trackkit.errors import RequestError
from trackkit.schema import EVENT_TYPES

MARIE, FLORIAN, HENRY_DAVIS = "102", "103", "104"


def test_delivery_tab_newest_first():
    log = tracking_log(golden(), DELIVERY_ID)
    assert headings(log) == {
        "occurred_at": "Date", "label": "Label", "type": "Type", "recipient_id": "Recipient",
        "person_id": "Requester UUID",
    }  # fmt: skip
    assert log.height == 19
    assert log.row(0) == (at(15, 14), "Open", "Open", MARIE, None)
    assert log["occurred_at"].is_sorted(descending=True)
    assert log["type"].value_counts().sort("type").rows() == [("Email click", 15), ("Open", 4)]


def test_recipient_tab_says_url_instant_and_document():
    log = tracking_log(golden(), recipient=HENRY_DAVIS, timezone="Europe/Paris")
    assert log.columns == ["label", "url", "occurred_at", "document", "type"]
    # two clicks at 15:07, then at 15:06 two clicks after the open; one instant: the higher log id first
    assert log["label"].to_list() == ["Home", "Offers", "Boutique", "Boutique", "Open"]
    assert log["document"].unique().to_list() == ["Golden"]
    assert [f"{instant:%H:%M}" for instant in log["occurred_at"]] == ["16:07", "16:07", "16:06", "16:06", "16:06"]


def test_recipient_over_several_deliveries_and_the_document_without_a_label():
    clicked = {"recipient_id": "1", "link_id": "5", "event_type": "clicked"}
    events = [clicked | {"delivery_id": key, "event_id": key, "occurred_at": at(12, int(key or 0))} for key in "123"]
    events += [clicked | {"delivery_id": None, "event_id": "9"}]
    given = tables(
        event=events, delivery=[{"delivery_id": "1", "label": "One"}, {"delivery_id": "2", "internal_name": "DM2"}]
    )
    assert tracking_log(given, recipient="1")["document"].to_list() == ["3", "DM2", "One", None]
    assert tracking_log(given, "2", "1")["document"].to_list() == ["DM2"]


def test_the_caller_chooses_columns_and_how_many():
    log = tracking_log(golden(), DELIVERY_ID, columns=["email", "person_id", "document"], limit=2)
    assert log.rows() == [
        ("marie.stuart@example.com", None, "Golden"),
        ("florian.david@example.com", "9ab648f9-5c73-4502-9527-dcb0b71d89d3", "Golden"),
    ]
    assert tracking_log(golden(), recipient=HENRY_DAVIS, columns=["person_id"])["person_id"].to_list()[:2] == [
        HENRY[3], HENRY[2]
    ]  # fmt: skip
    every = tracking_log(golden(), DELIVERY_ID, columns=list(COLUMNS))
    assert every.columns == list(COLUMNS) and every.height == 19


def test_addresses_are_shown_only_when_asked_for_and_network_addresses_never():
    assert "email" not in tracking_log(golden(), DELIVERY_ID).columns
    assert "email" not in tracking_log(golden(), recipient=MARIE).columns
    assert "ip" not in COLUMNS


def test_the_address_is_that_of_the_message_when_the_recipient_is_unknown():
    event = {"delivery_id": "1", "message_id": "7", "link_id": "5", "event_type": "clicked"}
    given = tables(event=[event], message=[{"delivery_id": "1", "message_id": "7", "address": "a@x.example"}])
    assert tracking_log(given, "1", columns=["email"])["email"].to_list() == ["a@x.example"]


def test_only_hits_are_in_it_those_of_control_addresses_too_and_undated_ones_last():
    rows = [
        {"event_id": "1", "event_type": "sent"}, {"event_id": "2", "event_type": "bounced"},
        {"event_id": "3", "event_type": "opened"}, {"event_id": "9", "event_type": "clicked", "occurred_at": at(1)},
        {"event_id": "10", "event_type": "unknown", "link_id": "4", "occurred_at": at(1), "is_seed": True},
    ]  # fmt: skip
    log = tracking_log(tables(event=[row | {"delivery_id": "1"} for row in rows]), "1", columns=["event_id", "is_seed"])
    assert log.rows() == [("10", True), ("9", None), ("3", None)]


def test_every_event_type_has_a_word():
    words = pl.DataFrame({"event_type": EVENT_TYPES}).select(event_label(pl.col("event_type")))["event_type"].to_list()
    by_type = dict(zip(EVENT_TYPES, words, strict=True))
    platform = {
        "opened": "Open", "clicked": "Email click", "unsubscribed": "Opt-out", "web_visited": "Web",
        "transaction": "Transaction", "mirror_page": "Mirror page",
    }  # fmt: skip
    assert {name: by_type[name] for name in platform} == platform
    assert by_type["autoresponded"] == "Autoresponded" and len(set(words)) == len(words)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "say which"),
        ({"delivery": "23"}, "Did you mean '230'"),
        ({"recipient": "marie.stuart@example.com"}, "give the id of one, not an address"),
        ({"delivery": DELIVERY_ID, "columns": ["lable"]}, "Did you mean 'label'"),
        ({"delivery": DELIVERY_ID, "columns": ["ip"]}, "no column 'ip'"),
        ({"delivery": DELIVERY_ID, "columns": []}, "at least one column"),
        ({"delivery": DELIVERY_ID, "columns": ["label", "label"]}, "each once"),
        ({"delivery": DELIVERY_ID, "limit": 0}, "got 0"),
        ({"delivery": DELIVERY_ID, "timezone": "../etc/passwd"}, "no time zone"),
    ],
)
def test_what_has_no_answer_is_refused(options, words):
    with pytest.raises(RequestError, match=words):
        tracking_log(golden(), **options)


def test_a_recipient_who_did_nothing_has_an_empty_tab():
    assert tracking_log(golden(), recipient="101").rows() == []


def test_order_does_not_depend_on_the_order_of_the_rows():
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    opened = {"delivery_id": "1", "event_type": "opened", "occurred_at": moment}
    rows = [opened | {"event_id": str(n), "log_server": server}
            for n in (9, 10, 11) for server in ("50", "51", None)]  # fmt: skip
    columns = ["event_id", "log_server"]
    logs = [tracking_log(tables(event=given), "1", columns=columns).rows() for given in (rows, rows[::-1])]
    assert logs[0] == logs[1]
    assert logs[0][:4] == [("11", "51"), ("11", "50"), ("11", None), ("10", "51")]


def test_golden_urls_of_one_recipient():
    urls = clicked_urls(golden(), recipient=HENRY_DAVIS, timezone="Europe/Paris")
    assert urls.columns == ["label", "url", "type", "category", "clicks", "deliveries", "latest_document",
                            "first_hit_at", "last_hit_at"]  # fmt: skip
    assert urls.select("label", "type", "clicks", "deliveries", "latest_document").rows() == [
        ("Boutique", "Email click", 2, 1, "Golden"), ("Home", "Email click", 1, 1, "Golden"),
        ("Offers", "Email click", 1, 1, "Golden"),
    ]  # fmt: skip
    assert f"{urls['last_hit_at'][0]:%H:%M %Z}" == "16:06 CET"
    assert clicked_urls(golden(), recipient=MARIE).height == 0, "an open is no URL"
    every = clicked_urls(golden(), DELIVERY_ID, columns=["label", "clicks", "recipients"], limit=2)
    assert every.rows() == [("Boutique", 6, 2), ("Home", 5, 2)]


def test_urls_accumulate_over_deliveries_and_keep_apart_what_differs():
    clicked = {"recipient_id": "1", "event_type": "clicked", "link_label": "Home", "url": "https://a.example/"}
    rows = [(1, "d1", {}), (2, "d2", {}), (3, None, {}), (4, "d2", {"link_label": "home"}),
            (5, "d2", {"event_type": "unsubscribed"}), (6, "d9", {"recipient_id": "2"}), (None, "d3", {})]  # fmt: skip
    events = [
        clicked | {"delivery_id": owner, "event_id": str(n), "occurred_at": n and at(n), "link_id": "5"} | more
        for n, owner, more in rows
    ]
    given = tables(event=events, delivery=[{"delivery_id": "d2", "label": "Two"}])
    urls = clicked_urls(given, recipient="1").select("label", "type", "clicks", "deliveries", "latest_document")
    assert urls.rows() == [
        ("Home", "Email click", 4, 3, None), ("Home", "Opt-out", 1, 1, "Two"), ("home", "Email click", 1, 1, "Two")
    ]  # fmt: skip


def test_a_tab_is_named():
    assert tracking_tab(golden(), "logs", DELIVERY_ID).equals(tracking_log(golden(), DELIVERY_ID))
    assert tracking_tab(golden(), "urls", recipient=HENRY_DAVIS).equals(clicked_urls(golden(), recipient=HENRY_DAVIS))
    links = tracking_tab(golden(), "urls", DELIVERY_ID, columns=["label", "clicks"])
    assert links.rows() == [("Boutique", 6), ("Home", 5), ("Offers", 4)]
    for options, words in (
        ({"tab": "url"}, "Did you mean 'urls'"),
        ({"tab": "urls", "columns": ["clics"]}, "'clicks'"),
    ):
        with pytest.raises(RequestError, match=words):
            tracking_tab(golden(), delivery=DELIVERY_ID, **options)
    with pytest.raises(RequestError, match="say which"):
        clicked_urls(golden())


SECOND = """
select link_label, url, count(*), epoch_us(min(occurred_at)), epoch_us(max(occurred_at)) from event
where delivery_id = '7' and event_type is distinct from 'opened'
  and (link_id is not null or event_type in ('clicked','unsubscribed','mirror_page','web_visited','transaction'))
group by link_label, url, link_category, event_type order by 3 desc, 5 desc nulls last, 1, 2
"""


@pytest.mark.parametrize("seed", range(4))
def test_urls_agree_with_sql_on_random_data(seed):
    given = randomised(seed)
    event = given.scan("event").with_columns(pl.col("event_type").cast(pl.String)).collect()
    with duckdb.connect(":memory:") as database:
        database.execute("set timezone = 'UTC'")
        database.register("event", event.to_arrow())
        expected = database.execute(SECOND).fetchall()
    micros = pl.col("first_hit_at", "last_hit_at").dt.epoch("us")
    urls = clicked_urls(given, "7").select("label", "url", "clicks", micros).rows()
    assert [row[2] for row in urls] == [row[2] for row in expected]
    assert sorted(map(repr, urls)) == sorted(map(repr, expected))
