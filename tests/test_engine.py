"""How `measure` is asked: what it refuses, in which words, and the shape of what it returns."""

import polars as pl
import pytest

from tests.spec.golden import DELIVERY_ID, golden, tables
from trackkit.engine import measure
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
            "open_rate is measured on event and message rows, which have no link_id; "
            "it can be broken down by delivery_id, domain, country.",
        ),
        (
            {"metrics": "delivered", "where": "device = 'PC'"},
            "delivered is measured on message rows, which have no device; "
            "it can be broken down by delivery_id, domain, country, failure_reason.",
        ),
    ],
)
def test_a_wrong_request_says_what_would_work(request_, sentence):
    with pytest.raises(RequestError) as error:
        measure(golden(), **request_)
    assert str(error.value) == sentence


@pytest.mark.parametrize("where", ["domain = ", "DROP TABLE event", "a; b", "'", "SELECT 1 FROM x"])
def test_a_condition_that_is_no_condition_is_refused(where):
    with pytest.raises(RequestError):
        measure(golden(), where=where)


def test_hostile_delivery_ids_are_only_values():
    hostile = "x' OR 1=1 --"
    snapshot = tables(event=[{"delivery_id": hostile, "event_type": "clicked"}, {"delivery_id": "y"}])
    assert measure(snapshot, "total_clicks", delivery=hostile).rows() == [(hostile, 1)]


def test_without_metrics_all_that_apply_are_measured():
    measured = measure(golden(), by="device")
    assert measured.columns[0] == "device"
    assert measured.columns[1:] == [name for name in METRICS if "device" in breakdowns_of(name)]


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
