"""Messages that only events tell of, against a slow, plain reference and by cases worked out by hand."""

import random
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.test_store import add, message_of
from trackkit import schema
from trackkit.engine.measure import measure
from trackkit.store import open_store
from trackkit.store.dedupe import known_rows
from trackkit.store.implied import message_verdicts, recounted
from trackkit.store.layout import as_texts

START = datetime(2026, 1, 1, tzinfo=UTC)
Row = dict[str, Any]


def sending(kind: str, message: str | None = "m1", hours: float | None = 0, **more: Any) -> Row:
    """One event of a feed: no log server, its id made from what it says."""
    at = None if hours is None else START + timedelta(hours=hours)
    return {
        "delivery_id": "7", "message_id": message, "occurred_at": at, "reported_type": kind, "source": "feed",
        "event_id": f"{kind} {message} {hours} {sorted(more.items())}", "collapse_seconds": 0,
        "address": None if message is None else f"{message}@mail.example", **more,
    }  # fmt: skip


def bounced(bounce_class: str | None, message: str = "m1", hours: float | None = 0, **more: Any) -> Row:
    """One bounce of a feed."""
    return sending("bounced", message, hours, bounce_class=bounce_class, **more)


def one_message(folder: Path, *events: Row, **tables: list[Row]) -> Row:
    """The only message of a store of these events."""
    add(folder, event=list(events), **tables)
    (row,) = open_store(folder).scan("message").collect().to_dicts()
    return row


@pytest.mark.parametrize(
    ("events", "status", "hours"),
    [
        ([("queued", 0), ("sent", 1)], "in_progress", 1),
        ([("deferred", 2), ("sent", 1)], "in_progress", 2),
        ([("sent", 0), ("delivered", 1), ("deferred", 9)], "delivered", 1),
        ([("delivered", 1), ("bounced", 2)], "failed", 2),  # a bounce after the server had taken it [C9]
        ([("bounced", 1), ("delivered", 2)], "delivered", 2),
        ([("delivered", 1), ("bounced", 1)], "failed", 1),  # of one instant the worst
        ([("delivered", 1), ("bounced", None)], "failed", None),
        ([("delivered", None), ("bounced", 1)], "failed", 1),
        ([("rejected", 1)], "excluded", 1),
        ([("sent", 2), ("rejected", 1)], "excluded", 1),
        ([("deferred", 0), ("rejected", 1)], "excluded", 1),  # given up before it arrived
        ([("delivered", 1), ("rejected", 2)], "delivered", 1),  # a suppression says what will be done later
        ([("bounced", 1), ("rejected", 1)], "failed", 1),
        ([("bounced", 1), ("rejected", None)], "failed", 1),
        ([("failed", None), ("rejected", 2)], "failed", None),
        ([("rejected", 1), ("delivered", 2), ("bounced", 3), ("rejected", 4)], "failed", 3),
        ([("rejected", 0), ("complained", 5)], "excluded", 0),
        ([("delivered", 1), ("autoresponded", 2)], "delivered", 1),  # somebody is away
        ([("sent", 1), ("autoresponded", 2)], "in_progress", 1),
        ([("deferred", 0), ("deferred", 1), ("delivered", 2)], "delivered", 2),
        ([("delivered", 1), ("unsubscribed", 2), ("subscribed", 3)], "delivered", 1),
        ([("queued", 0), ("failed", 1)], "failed", 1),
        ([("complained", 5)], "unknown", 5),
        ([("delivered", 1), ("complained", 5), ("opened", 6)], "delivered", 1),
    ],
)
def test_the_latest_verdict_is_what_became_of_a_message(tmp_path: Path, events: list, status: str, hours) -> None:
    row = one_message(tmp_path, *(sending(kind, hours=at) for kind, at in events))
    assert (row["status"], row["is_implied"], row["status_code"]) == (status, True, None)
    assert row["status_at"] == (None if hours is None else START + timedelta(hours=hours))
    assert (row["address"], row["domain"]) == ("m1@mail.example", "mail.example")
    assert row["is_complaint"] is ("complained" in dict(events))


@pytest.mark.parametrize(
    ("bounce_class", "smtp", "codes", "counted"),
    [
        ("hard", "5.1.1", (2, 1), (1, 0)), ("hard", "5.1.2", (2, 1), (1, 0)), ("soft", None, (1, 3), (0, 1)),
        ("soft", "4.2.2", (1, 5), (0, 1)), ("block", "5.7.1", (1, 20), (0, 1)), ("undetermined", None, (0, 0), (0, 0)),
        (None, None, (0, 0), (0, 0)),
    ],
)  # fmt: skip
def test_bounces_of_a_feed_count_as_its_users_expect(tmp_path: Path, bounce_class, smtp, codes, counted) -> None:
    row = one_message(tmp_path, sending("sent"), bounced(bounce_class, hours=1, smtp_status=smtp))
    assert (row["failure_type"], row["failure_reason"]) == codes
    figures = measure(open_store(tmp_path), ["failed", "hard_bounces", "soft_bounces"]).row(0)
    assert figures == ("7", 1, *counted)


def test_a_feed_has_the_rates_of_what_it_tells(tmp_path: Path) -> None:
    sent = [sending("sent", f"m{number}") for number in range(1, 11)]
    delivered = [sending("delivered", f"m{number}", 1) for number in range(1, 9)]
    more = [
        bounced("hard", "m9", 1), bounced("soft", "m10", 1), bounced("hard", "m8", 30),
        sending("opened", "m1", 2), sending("opened", "m2", 2), sending("clicked", "m2", 3),
        sending("complained", "m3", 4), sending("complained", "m3", 5), sending("unsubscribed", "m4", 6),
        sending("opened", None, 7),
    ]  # fmt: skip
    add(tmp_path, event=sent + delivered + more)
    names = ["processed", "delivered", "failed", "hard_bounces", "soft_bounces", "complaints", "unique_opens",
             "total_opens", "unsubscribe_clicks", "open_rate", "complaint_rate", "hard_bounce_rate"]  # fmt: skip
    row = measure(open_store(tmp_path), names).select(names).row(0)
    assert row == (10, 7, 3, 2, 1, 1, 3, 3, 1, 3 / 7, 1 / 7, 0.2)  # whoever left has opened


def test_a_complaint_counts_once_whoever_tells_of_it(tmp_path: Path) -> None:
    failure = [{"failure_id": "f", "failure_type": 2, "failure_reason": 8}]
    stated = [message_of("m1", "7", status_code=2, failure_id="f"), message_of("m2", "7"), message_of("m3", "7")]
    add(tmp_path, event=[sending("complained"), sending("complained", "m2")], message=stated, failure=failure)
    assert measure(open_store(tmp_path), ["complaints", "delivered", "failed"]).row(0) == ("7", 2, 2, 1)


def test_opens_and_nameless_events_imply_nothing(tmp_path: Path) -> None:
    add(tmp_path, event=[sending("opened"), sending("clicked", hours=1), sending("sent", None)])
    store = open_store(tmp_path)
    assert not store.has("message") and measure(store, ["delivered", "unique_opens"]).row(0) == ("7", None, 1)


def test_a_row_of_a_table_takes_the_place_of_an_implied_one_whenever_it_comes(tmp_path: Path) -> None:
    events = {"event": [sending("sent"), sending("sent", "m2"), bounced("hard", "m2", 1)]}
    table = {"message": [message_of("m1", "7", address="a@b.example"), message_of("m2", "7")]}
    for place, loads in enumerate(([events, table], [table, events], [events | table])):
        for one in loads:
            add(tmp_path / str(place), **one)
        rows = open_store(tmp_path / str(place)).scan("message").sort("message_id").collect()
        columns = ["message_id", "address", "status", "status_at", "status_code", "failure_reason", "is_implied"]
        assert rows.select(columns).rows() == [
            ("m1", "a@b.example", "delivered", START, 1, None, False), ("m2", None, "failed", START, 1, 1, False)
        ]  # fmt: skip


def test_an_open_without_delivery_finds_that_of_its_message(tmp_path: Path) -> None:
    loose, told = sending("opened", hours=2, delivery_id=None), sending("delivered", hours=1)
    for place, loads in enumerate(([[loose], [told]], [[told], [loose]], [[loose, told]])):
        for one in loads:
            add(tmp_path / str(place), event=one)
        assert measure(open_store(tmp_path / str(place)), "unique_opens").rows() == [("7", 1)]


def test_a_late_event_changes_its_own_delivery_and_marks_no_other(tmp_path: Path) -> None:
    deliveries = [str(number) for number in range(1, 5)]
    add(tmp_path, event=[sending("delivered", f"m{one}", delivery_id=one) for one in deliveries])
    store = open_store(tmp_path)
    names = ["delivered", "failed", "hard_bounces", "unique_opens"]
    before, marked = measure(store, names), store.watermarks
    late = {"event": [bounced("hard", "m2", 100, delivery_id="2"), sending("opened", "m2", 99, delivery_id=None)]}
    add(tmp_path, **late)
    later = open_store(tmp_path)
    after = measure(later, names)
    assert after.filter(delivery_id="2").row(0) == ("2", 0, 1, 1, 1)
    assert after.filter(pl.col("delivery_id") != "2").equals(before.filter(pl.col("delivery_id") != "2"))
    assert {one for one in deliveries if later.watermarks[one] != marked[one]} == {"2"}
    marks = later.watermarks
    assert add(tmp_path, **late).total("duplicate") == 2 and open_store(tmp_path).watermarks == marks


@st.composite
def event(draw: st.DrawFn) -> Row:
    """An event among few messages, instants and words, so that ties are common."""
    kind = draw(st.sampled_from(["queued", "sent", "deferred", "rejected", "delivered", "failed", "bounced", "bounced",
                                 "complained", "opened"]))  # fmt: skip
    more = {"bounce_class": draw(st.sampled_from([*schema.BOUNCE_CLASSES, None]))} if kind == "bounced" else {}
    more["smtp_status"] = draw(st.sampled_from(["5.1.1", "4.2.2", None]))
    more["address"] = draw(st.sampled_from(["b@x", "a@x", None]))
    return sending(kind, draw(st.sampled_from(["a", "b", None])), draw(st.sampled_from([0, 1, 2, None])), **more)


def reference(rows: list[Row]) -> dict[str, tuple]:
    """What became of each message, one event at a time."""
    strength = ["queued", "sent", "deferred", "rejected", "delivered", "failed", "bounced"]
    status = {"rejected": "excluded", "delivered": "delivered", "failed": "failed", "bounced": "failed"}
    found = {}
    for message in ("a", "b"):
        mine = [row for row in rows if row["message_id"] == message and row["reported_type"] != "opened"]
        if not mine:
            continue
        spam = [row for row in mine if row["reported_type"] == "complained"]
        tried = [row for row in mine if status.get(row["reported_type"]) in ("delivered", "failed")]
        verdicts = tried or [row for row in mine if row["reported_type"] == "rejected"]
        told = verdicts or [row for row in mine if row not in spam] or spam

        def later(row: Row) -> tuple:
            failed, at = status.get(row["reported_type"]) == "failed", row["occurred_at"]
            kind = row["reported_type"]
            rank = strength.index(kind) if kind in strength else 0
            return (failed and at is None, at or datetime.min.replace(tzinfo=UTC), rank, codes(row) or (-1, -1))

        last = max(told, key=later)
        word = "unknown" if last in spam else status.get(last["reported_type"], "in_progress")
        addresses = [row["address"] for row in mine if row["address"]]
        found[message] = (word, last["occurred_at"], codes(last), min(addresses, default=None), bool(spam))
    return found


def codes(row: Row) -> tuple[int, int] | None:
    """The platform's type and reason of a failure."""
    if row["reported_type"] not in ("bounced", "failed"):
        return None
    soft = (1, 5) if row["smtp_status"] == "4.2.2" else (1, 3)
    return {"hard": (2, 1), "soft": soft, "block": (1, 20)}.get(row.get("bounce_class"), (0, 0))


@settings(max_examples=300, deadline=None)
@given(st.lists(event(), max_size=12), st.randoms(use_true_random=False))
def test_what_events_tell_is_the_reference_in_any_order(rows: list[Row], chance: random.Random) -> None:
    chance.shuffle(rows)
    told = message_verdicts(pl.LazyFrame(rows, schema=as_texts(schema.EVENT.sourced))).collect()
    found = {}
    for row in told.iter_rows(named=True):
        code = None if row["verdict_type"] is None else (row["verdict_type"], row["verdict_reason"])
        found[row["message_id"]] = (
            row["verdict_status"],
            row["verdict_at"],
            code,
            row["address"],
            row["verdict_complaint"],
        )
    assert found == reference(rows)


@settings(max_examples=200, deadline=None)
@given(st.lists(event(), max_size=12), st.randoms(use_true_random=False))
def test_what_was_sent_and_nothing_else_is_delivered_where_no_deliveries_are_told(rows: list[Row], chance) -> None:
    chance.shuffle(rows)
    silent = pl.DataFrame({"delivery_id": ["7"], "source": ["feed"], "kind": ["sent"]})
    told = message_verdicts(pl.LazyFrame(rows, schema=as_texts(schema.EVENT.sourced)), silent).collect()
    expected = {message: one[:2] for message, one in reference(rows).items()}
    for message in expected:
        mine = [row for row in rows if row["message_id"] == message]
        sent = [row["occurred_at"] for row in mine if row["reported_type"] == "sent"]
        if sent and not {row["reported_type"] for row in mine} & {"rejected", "delivered", "failed", "bounced"}:
            expected[message] = ("delivered", max((at for at in sent if at), default=None))
    found = told.select("message_id", "verdict_status", "verdict_at").rows()
    assert {message: (status, at) for message, status, at in found} == expected
    other = message_verdicts(
        pl.LazyFrame(rows, schema=as_texts(schema.EVENT.sourced)), silent.with_columns(source=pl.lit("x"))
    )
    plain = message_verdicts(pl.LazyFrame(rows, schema=as_texts(schema.EVENT.sourced)))
    assert other.sort("message_id").collect().equals(plain.sort("message_id").collect())


@pytest.mark.parametrize("order", [(0, 1, 2, 3, 4), (4, 3, 2, 1, 0), (2, 4, 0, 3, 1)])
def test_implied_messages_tell_what_was_to_be_delivered_and_since_when(tmp_path: Path, order: tuple[int, ...]) -> None:
    events = [
        sending("rejected", "never", 0), sending("delivered", "a", 2), bounced("hard", "b", 3),
        sending("queued", "c", 1), sending("opened", "a", 9),
    ]  # fmt: skip
    for place in order:
        add(tmp_path, event=[events[place]])
    store = open_store(tmp_path)
    # a arrived, b bounced, c is on its way; what was rejected never was to be delivered
    assert measure(store, ["to_deliver", "delivery_rate"]).select("to_deliver", "delivery_rate").rows() == [(3, 1 / 3)]
    assert store.scan("delivery").collect()["started_at"].to_list() == [START + timedelta(hours=1)]


def test_failures_alone_do_not_tell_what_was_to_be_delivered(tmp_path: Path) -> None:
    add(tmp_path, event=[bounced("hard", "a"), sending("opened", "b")])
    assert measure(open_store(tmp_path), ["to_deliver", "total_opens"])["to_deliver"].to_list() == [None]


def test_a_table_that_states_what_was_to_be_delivered_wins(tmp_path: Path) -> None:
    add(tmp_path, event=[sending("delivered", "a", 2)])
    add(tmp_path, delivery=[{"delivery_id": "7", "to_deliver": 5}])
    add(tmp_path, event=[sending("delivered", "b", 3)])
    store = open_store(tmp_path)
    assert measure(store, "to_deliver")["to_deliver"].to_list() == [5]
    assert store.scan("delivery").collect()["started_at"].to_list() == [START + timedelta(hours=2)]


def test_a_delivery_of_a_store_from_before_stays_as_it_is() -> None:
    stored = pl.DataFrame([{"delivery_id": "7", "to_deliver": 5}], schema=schema.DELIVERY.sourced)
    before = known_rows(schema.DELIVERY, stored.with_columns(filled=pl.lit(None, pl.Int32)))
    none_implied = pl.LazyFrame(schema=schema.MESSAGE.schema)
    assert recounted(before, none_implied, pl.Series(["7"])).equals(before)
