"""How `measure` is asked: what it refuses, in which words, and the shape of what it returns."""

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from tests.spec.golden import DELIVERY_ID, golden, tables
from trackkit.engine.measure import measure
from trackkit.errors import RequestError
from trackkit.metrics import METRICS, breakdowns_of


@pytest.mark.parametrize(
    ("request_", "sentence"),
    [
        ({"metrics": "open_rat"}, "There is no metric 'open_rat'. Did you mean 'open_rate'?"),
        ({"metrics": "open_rate", "by": "domian"}, "There is no breakdown 'domian'. Did you mean 'domain'?"),
        ({"delivery": "231"}, "There is no delivery '231' in these tables. Did you mean '230'?"),
        ({"timezone": "Europe/Pari"}, "There is no time zone 'Europe/Pari'; try 'Europe/Paris' or 'UTC'."),
        ({"where": "domian = 'x'"}, "There is no column to filter by 'domian'. Did you mean 'domain'?"),
        (
            {"metrics": "open_rate", "by": "link_id"},
            "open_rate is measured on message rows, which have no link_id; "
            "it can be broken down by delivery_id, domain, country, "
            "and by what deliveries are, as campaign or channel.",
        ),
        (
            {"metrics": "delivered", "where": "device = 'PC'"},
            "delivered is measured on message rows, which have no device; "
            "it can be broken down by delivery_id, domain, country, failure_reason, "
            "and by what deliveries are, as campaign or channel.",
        ),
    ],
)
def test_a_wrong_request_says_what_would_work(request_, sentence):
    with pytest.raises(RequestError) as error:
        measure(golden(), **request_)
    assert str(error.value) == sentence


@pytest.mark.parametrize(
    ("where", "words"),
    [
        ("domain = ", "no SQL"),
        ("'", "no SQL"),
        ("(" * 5_000, "nested too deeply"),
        ("a; b", "not one condition"),
        ("DROP TABLE event", "'DROP TABLE event'"),
        ("SELECT 1 FROM x", "'SELECT 1 FROM x'"),
        ("domain", "neither true nor false"),
        ("NOT domain", "neither true nor false"),
        ("domain IN (SELECT 1)", "query"),
        ("day BETWEEN SYMMETRIC '2026-10-02' AND '2026-10-01'", "symmetric"),
        ("count(*) > 1", "COUNT(*)"),
        ("domain = MAX(domain)", "MAX(domain)"),
        ("domain = NULL", "'NULL'"),
        ("day >= 2026-10-01", "as '2026-10-01'"),
        ("day >= '01/10/2026'", "is no date"),
        ("day >= '2026-10-01 09:00'", "is an instant"),
        ("hour = 10", "column 'hour' is instant, and 10 is not"),
        ("domain = 5", "write it as '5'"),
        ("failure_reason = '5'", "write it as 5"),
        ("domain LIKE 5", "LIKE tests text"),
        ('domain = "post.example"', "single quotes: 'post.example'"),
    ],
)
def test_a_condition_that_is_no_condition_is_refused_in_words(where, words):
    with pytest.raises(RequestError) as error:
        measure(golden(), where=where)
    assert words in str(error.value) and "polars" not in str(error.value).lower()


# Seven hits from 9:58 to 10:04 in Paris: two before ten o'clock; the link of the last one is unknown.
TEN = datetime(2026, 10, 25, 8, 58, tzinfo=UTC)
HITS = [
    {"delivery_id": "7", "event_type": "opened", "occurred_at": TEN + timedelta(minutes=minute),
     "link_label": None if minute == 6 else f"Link_{minute}"}
    for minute in range(7)
]  # fmt: skip


@pytest.mark.parametrize(
    ("where", "opens"),
    [
        ("day >= '2026-10-25'", 7),
        ("day > DATE '2026-10-25'", 0),
        ("day BETWEEN '2026-10-24' AND '2026-10-26'", 7),
        ("hour = '2026-10-25 10:00'", 5),
        ("hour < '2026-10-25 10:00'", 2),
        ("hour = '2026-10-25T09:00:00Z'", 5),
        ("link_label = 'Link_1' OR link_label = 'Link_2'", 2),
        ("link_label IN ('Link_1', 'Link_2', 'Link_1')", 2),
        ("link_label NOT IN ('Link_1', 'Link_2')", 4),
        ("link_label LIKE 'Link\\__'", 6),
        ("link_label LIKE 'Li%_1'", 1),
        ("link_label NOT LIKE '%1'", 5),
        ("link_label ILIKE 'LINK%'", 6),
        ("lower(link_label) = 'link_3'", 1),
        ("link_label IS NULL", 1),
        ("link_label IS NOT NULL", 6),
        ("NOT (link_label IS NOT NULL)", 1),
        ("link_label IS DISTINCT FROM 'Link_1'", 6),
        ("link_label <> 'Link_1'", 5),
        ("NOT link_label BETWEEN 'Link_1' AND 'Link_3'", 3),
        ("(day = '2026-10-25' AND NOT link_label = 'Link_0') AND hour >= '2026-10-25 10:00'", 4),
    ],
)
def test_a_condition_means_what_it_says(where, opens):
    found = measure(tables(event=HITS), "total_opens", by=[], where=where, timezone="Europe/Paris")
    assert found["total_opens"].item() == opens


def test_hostile_delivery_ids_are_only_values():
    hostile = "x' OR 1=1 --"
    snapshot = tables(event=[{"delivery_id": hostile, "event_type": "clicked"}, {"delivery_id": "y"}])
    assert measure(snapshot, "total_clicks", delivery=hostile).rows() == [(hostile, 1)]


def test_without_metrics_all_that_apply_are_measured():
    measured = measure(golden(), by="device")
    assert measured.columns[0] == "device"
    assert measured.columns[1:] == [
        name for name, metric in METRICS.items() if metric.by_default and "device" in breakdowns_of(name)
    ]


def test_rates_travel_with_their_parts():
    measured = measure(golden(), ["estimated_click_to_open_rate", "open_rate"])
    assert measured.columns == [
        "delivery_id", "estimated_click_to_open_rate", "open_rate",
        "unique_clicks", "unique_opens", "to_deliver", "text_messages", "estimated_unique_opens", "delivered",
    ]  # fmt: skip


def test_conditions_restrict_every_side():
    measured = measure(golden(), "open_rate", where="domain = 'nobody.example'")
    assert measured.rows() == [(DELIVERY_ID, None, 0, 0)]


def test_several_breakdowns_at_once():
    measured = measure(golden(), "total_clicks", by=["link_label", "hour"], where="link_label <> 'Open'")
    assert dict(zip(measured["link_label"], measured["total_clicks"], strict=True)) == {
        "Boutique": 6, "Home": 5, "Offers": 4,
    }  # fmt: skip


def test_numbers_in_text_sort_as_numbers():
    snapshot = tables(event=[{"delivery_id": name, "event_type": "opened"} for name in ("10", "9", "b", "a", "100")])
    assert measure(snapshot, "total_opens")["delivery_id"].to_list() == ["9", "10", "100", "a", "b"]


def test_nothing_loaded_measures_nothing():
    assert measure(tables()).height == 0
    assert measure(tables(), "total_opens", by=[]).rows() == [(None,)]


def test_counts_do_not_underflow():
    events = [
        {"delivery_id": "D", "message_id": message, "person_id": "one", "event_type": "clicked"} for message in "abc"
    ]
    measured = measure(tables(event=events), "estimated_forwards")
    assert measured["estimated_forwards"].to_list() == [0]
    assert measured.schema["estimated_forwards"] == pl.Int64
