"""Figures and words of reports, on inputs that nobody had seen when they were built: each worked out by hand."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from tests.spec.golden import tables
from trackkit.analysis.caveats import limits
from trackkit.analysis.curves import cumulative_activity
from trackkit.analysis.sending import throughput
from trackkit.analysis.unseen import NO_HIT, unseen
from trackkit.engine.deliveries import launch
from trackkit.engine.measure import measure
from trackkit.engine.snapshot import Snapshot
from trackkit.language import say
from trackkit.report.header import platform_header
from trackkit.show import charts

START = datetime(2026, 3, 2, 9, tzinfo=UTC)
OF_ARTICLES = ["transaction_articles", "articles_sold", "sales_of_articles", "average_articles_per_transaction"]


@pytest.mark.parametrize(
    ("bought", "expected"),
    [
        ([(-10.0, -1), (-5.5, -1)], (-2, 0, 0, None)),
        ([(-10.0, -1), (None, 3)], (2, 3, 1, 3.0)),
        ([(-10.0, None)], (None, None, 0, None)),
        ([], (0, 0, 0, None)),
    ],
)
def test_where_all_articles_were_given_back_none_is_known_to_be_sold(bought: list, expected: tuple) -> None:
    rows = [{"delivery_id": "1", "event_type": "transaction", "amount": a, "articles": n} for a, n in bought]
    found = tables(event=rows, delivery=[{"delivery_id": "1"}])
    assert measure(found, OF_ARTICLES, by=[]).select(OF_ARTICLES).row(0) == expected


def test_no_refund_is_0_in_any_currency() -> None:
    """Sales of 10 reais and 20 dollars have no sum; beside "Refunds 0" their amount is 0, not "several currencies"."""
    names = ["refunds", "refunded_amount", "sales", "sales_amount", "transaction_amount"]
    rows = [{"delivery_id": "1", "event_type": "transaction", "amount": amount, "currency": currency}
            for amount, currency in ((10.0, "BRL"), (20.0, "USD"))]  # fmt: skip
    back = [row | {"amount": -row["amount"]} for row in rows]
    sold, returned = (measure(tables(event=found), names, by=[]).select(names).row(0) for found in (rows, back))
    assert sold == (0, 0.0, 2, None, None)
    assert returned == (2, None, 0, 0.0, None)


def sent(state: int, messages: int, *hits: datetime) -> Snapshot:
    """Delivery 1, and another that was opened at `hits`; loaded a day after the start."""
    found = tables(
        delivery=[{"delivery_id": "1", "state": state, "to_deliver": 60, "started_at": START}],
        message=[{"delivery_id": "1", "message_id": f"{n}", "status": "delivered"} for n in range(messages)]
        + [{"delivery_id": "2", "message_id": "0", "status": "delivered"}],
        event=[{"delivery_id": "2", "message_id": "0", "event_type": "opened", "occurred_at": at} for at in hits],
    )
    return Snapshot(found.frames, START + timedelta(days=1), found.loads)


def test_of_a_delivery_that_was_not_sent_no_log_is_missed() -> None:
    unsent, purged = (set(limits(sent(state, 0, START), "1", needs={})["limit"]) for state in (45, 95))
    assert "not_sent" in unsent and "purged" not in unsent
    assert "purged" in purged and "not_sent" not in purged


def test_a_hit_of_2036_makes_no_delivery_of_this_hour_one_without_tracking() -> None:
    """Sixty messages an hour old may well have no hit yet; a day and an hour later they would have had one."""
    soon, far, late = (START + timedelta(hours=1), datetime(2036, 1, 1, tzinfo=UTC), START + timedelta(hours=25))
    assert unseen(sent(95, 60, soon, soon, soon), ["1"])["1"] == unseen(sent(95, 60, soon, soon, soon, far), ["1"])["1"]
    assert NO_HIT not in unseen(sent(95, 60, soon, soon, soon, far), ["1"])["1"].values()
    assert NO_HIT in unseen(sent(95, 60, soon, late), ["1"])["1"].values()


def test_portuguese_has_one_word_for_a_column_and_the_sentence_on_it() -> None:
    acts = (
        "Acts, not people: who leaves three times made three unsubscriptions. Registered are today's subscribers from "
        "before the period; loyalty is the part left once unsubscriptions are taken off registered plus evolution."
    )
    told = say(acts, "pt_BR").casefold()
    assert told != acts.casefold()
    for column in ("Registered", "Unsubscriptions", "Loyalty"):
        assert say(column, "pt_BR").casefold() in told


def test_a_delivery_that_was_launched_in_1970_is_counted_from_its_first_hit() -> None:
    """A zero for a date: no curve of 492,347 hours, and no first launch before there was e-mail."""
    zero, at = datetime(1970, 1, 1, tzinfo=UTC), START + timedelta(minutes=5)
    found = tables(
        delivery=[{"delivery_id": "1", "started_at": zero}, {"delivery_id": "2", "started_at": START}],
        event=[{"delivery_id": "1", "event_type": "opened", "occurred_at": at, "message_id": "a", "is_seed": False}],
    )
    found = Snapshot(found.frames, START + timedelta(days=1), found.loads)
    assert launch(found, "1") == (at, "first_event") and launch(found, "2") == (START, "started_at")
    assert cumulative_activity(found, "1")["hours"].max() == 1
    assert ("First launch", "2026-03-02 09:00") in platform_header(found, "UTC").facts


@pytest.mark.parametrize(("size", "form"), [(9_000, ".3~r"), (90_000_000, "~s")])
def test_no_two_marks_of_an_axis_are_written_alike(size: int, form: str) -> None:
    """One message of 9,000 bytes a month is 72,000 bits / 2,592,000 s = 0.028: marks at 0.005, 0.010, 0.015 …"""
    at = [START + timedelta(days=45 * turn) for turn in range(30)]
    found = tables(
        delivery=[{"delivery_id": "1", "started_at": START, "message_size": size}],
        message=[{"delivery_id": "1", "message_id": str(n), "status": "delivered", "status_at": when}
                 for n, when in enumerate(at)],
    )  # fmt: skip
    rows = throughput(found, "1")
    assert rows["bits_per_second"].max() < 0.1 or size > 9_000
    drawn = json.loads(charts.sending.throughput_columns(rows, "bits_per_second").to_json())
    assert f'"format": "{form}"' in json.dumps(drawn["encoding"]["y"] if "encoding" in drawn else drawn)
