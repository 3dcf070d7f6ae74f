"""A message is a delivery and a message id: what is told of one is not told of another delivery's with the same id.

Deliveries 7 and 8 both have messages 1 and 2, of other people: Ana and Bia in 7, Cid and Dora in 8.
"""

from datetime import timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tests.test_flags import unflagged
from tests.test_store import START, add, contents, message_of, open_of
from trackkit import schema
from trackkit.analysis.audience import history, usage, versions
from trackkit.analysis.caveats import limits
from trackkit.analysis.messages import messages
from trackkit.analysis.recipes import behaviour
from trackkit.analysis.story import timeline
from trackkit.engine.measure import measure
from trackkit.quality import quality
from trackkit.store import Store, layout, open_store
from trackkit.store.layout import SKIPPING

PEOPLE = {("7", "1"): "ana", ("7", "2"): "bia", ("8", "1"): "cid", ("8", "2"): "dora"}
UNIQUES = ["unique_opens", "unique_clicks", "unique_people_clicks", "open_rate"]
Row = dict[str, Any]


def sent() -> list[Row]:
    """The four messages; Cid's is one of a control address."""
    return [
        message_of(message, delivery, recipient_id=one, address=f"{one}@{one[0]}.example", is_seed=one == "cid")
        for (delivery, message), one in PEOPLE.items()
    ]


def hits() -> list[Row]:
    """Ana opens and clicks, Bia opens, Cid and Dora open and click; all with one browser, which clicked three times."""
    acts = ["7 1 opened", "7 1 clicked", "7 2 opened", "8 1 opened", "8 1 clicked", "8 2 opened", "8 2 clicked"]
    return [
        open_of(str(number), *act.split()[:2], number, reported_type=act.split()[2], user_agent="Firefox/131.0")
        for number, act in enumerate(acts)
    ]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Both deliveries."""
    add(tmp_path, message=sent(), event=hits(), delivery=[{"delivery_id": one, "started_at": START} for one in "78"])
    return open_store(tmp_path)


def test_the_key_of_a_message_is_said_once() -> None:
    assert schema.MESSAGE.key == schema.IDENTITY["message_id"] == ("delivery_id", "message_id")
    assert layout.ORDER["message"] == list(schema.MESSAGE.key) and SKIPPING["event"] == "delivery_id,message_id"


def test_both_messages_are_stored_each_with_its_own_person(store: Store) -> None:
    stored = store.scan("message").select("delivery_id", "message_id", "recipient_id", "domain").collect().rows()
    assert sorted(stored) == [(*key, one, f"{one[0]}.example") for key, one in PEOPLE.items()]
    told = store.scan("event").select("delivery_id", "message_id", "recipient_id", "is_seed").unique().collect().rows()
    assert sorted(told) == [(*key, one, one == "cid") for key, one in PEOPLE.items()]


# Cid's do not count. Ana, Bia and Dora opened; Ana and Dora clicked, with one browser.
TOTALS: list[tuple[dict[str, Any], list[tuple[Any, ...]]]] = [
    ({"by": []}, [(3, 2, 1, 1.0)]),
    ({"by": [], "delivery": ["7", "8"]}, [(3, 2, 1, 1.0)]),
    ({"by": [], "delivery": "8"}, [(1, 1, 1, 1.0)]),
    ({"by": [], "where": "delivery_id <> '7'"}, [(1, 1, 1, 1.0)]),
    ({"by": [], "where": "domain <> 'b.example'"}, [(2, 2, 1, 1.0)]),
    ({"by": "delivery_id"}, [("7", 2, 1, 1, 1.0), ("8", 1, 1, 1, 1.0)]),
    ({"by": ["delivery_id", "domain"]}, [("7", "a.example", 1, 1, 1, 1.0), ("7", "b.example", 1, 0, 0, 1.0),
                                         ("8", "c.example", 0, 0, 0, None), ("8", "d.example", 1, 1, 1, 1.0)]),
]  # fmt: skip


@pytest.mark.parametrize(("asked", "expected"), TOTALS)
def test_totals_add_messages_up_over_deliveries_and_tell_people_apart(
    store: Store, asked: dict[str, Any], expected: list[tuple[Any, ...]]
) -> None:
    for tables in (store, unflagged(store)):
        found = measure(tables, UNIQUES, **asked)
        assert (
            found.select(*([asked["by"]] if isinstance(asked["by"], str) else asked["by"]), *UNIQUES).rows() == expected
        )


@pytest.mark.parametrize("by", ["day", "device", "browser", "link_id", "message_format"])
def test_a_breakdown_of_events_adds_up_over_deliveries(store: Store, by: str) -> None:
    assert measure(store, UNIQUES[:3], by=by).select(UNIQUES[:3]).rows() == [(3, 2, 1)]
    assert measure(store, UNIQUES[:3], by=by, where="hour is not null").select(UNIQUES[:3]).rows() == [(3, 2, 1)]


def test_a_total_is_unknown_only_where_no_hit_of_any_delivery_names_its_message(tmp_path: Path) -> None:
    nameless = [open_of("1", "7", None), open_of("2", "8", None, reported_type="clicked")]
    add(tmp_path / "a", event=nameless)
    assert measure(open_store(tmp_path / "a"), UNIQUES[:2], by=[]).rows() == [(None, None)]
    add(tmp_path / "b", event=[*nameless, open_of("3", "9", "1"), open_of("4", "7", "1")])
    assert measure(open_store(tmp_path / "b"), UNIQUES[:2], by=[]).rows() == [(2, None)]
    none = measure(open_store(tmp_path / "b"), UNIQUES[:2], by=[], where="domain = 'x.example'")
    assert none.rows() == [(0, 0)]


def test_opens_of_two_messages_by_one_person_are_no_repetition(tmp_path: Path) -> None:
    add(tmp_path, event=[open_of("1", "7", "1", 0), open_of("2", "8", "1", 10), open_of("3", "8", "1", 20)])
    assert open_store(tmp_path).scan("event").collect()["event_id"].to_list() == ["1", "2"]
    assert open_store(tmp_path).scan("collapsed").collect()["event_id"].to_list() == ["3"]


# --- hits that tell no delivery


@pytest.mark.parametrize("order", [(0, 1, 2), (1, 2, 0), (1, 0, 2, 1), (0, 2, 1, 2, 0)])
def test_a_hit_that_two_messages_could_have_stays_without_delivery(tmp_path: Path, order: tuple[int, ...]) -> None:
    loads: list[dict[str, list[Row]]] = [
        {"event": [open_of("1", None, "1"), open_of("2", None, "5")]},
        {"message": [*sent(), message_of("5", "8")]},
        {"message": [message_of("1", "7")]},  # of one of them alone: it tells no more than before
    ]
    for number in order:
        assert add(tmp_path, **loads[number]).is_settled
    events = open_store(tmp_path).scan("event").sort("event_id").collect()
    assert events["delivery_id"].to_list() == ([None, "8"] if order[:2] != (0, 2) else ["7", "8"])


def test_what_was_found_while_one_message_was_known_holds(tmp_path: Path) -> None:
    add(tmp_path, message=[message_of("1", "8")], event=[open_of("1", None, "1")])
    add(tmp_path, message=[message_of("1", "7")], event=[open_of("2", None, "1", 600)])
    events = open_store(tmp_path).scan("event").sort("event_id").collect()
    assert events.select("event_id", "delivery_id").rows() == [("1", "8"), ("2", None)]


def test_events_of_sending_are_messages_that_a_hit_could_be_of(tmp_path: Path) -> None:
    told = [open_of(f"s{delivery}", delivery, "1", reported_type="delivered") for delivery in "78"]
    add(tmp_path, event=[*told, open_of("1", None, "1", 600)])
    store = open_store(tmp_path)
    assert store.scan("event").filter(event_id="1").collect()["delivery_id"].to_list() == [None]
    assert measure(store, ["delivered", "unique_opens"], by=[]).rows() == [(2, 0)]
    assert limits(store).filter(limit="without_delivery")["count"].to_list() == [1]


@pytest.mark.parametrize("is_apart", [False, True])
def test_hits_of_a_delivery_without_a_log_name_messages_too(tmp_path: Path, is_apart: bool) -> None:
    known: dict[str, list[Row]] = {"message": [message_of("1", "7")], "event": [open_of("1", "8", "1")]}
    loose = [open_of("2", None, "1", 600)]
    for part in [known, {"event": loose}] if is_apart else [known | {"event": [*known["event"], *loose]}]:
        add(tmp_path, **part)
    events = open_store(tmp_path).scan("event").sort("event_id").collect()
    assert events["delivery_id"].to_list() == ["8", None]


def test_a_log_id_of_two_deliveries_tells_a_copy_without_one_nothing(tmp_path: Path) -> None:
    copies = [open_of("1", "7", "a", log_server="50"), open_of("1", "8", "b", log_server="51")]
    assert add(tmp_path, event=[*copies, open_of("1", None, None, log_server="52")]).is_settled
    events = open_store(tmp_path).scan("event").sort("log_server").collect()
    assert events["delivery_id"].to_list() == ["7", "8", None]


# --- what is told of one recipient, or of one delivery


def test_the_messages_of_a_recipient_have_their_own_hits_alone(store: Store) -> None:
    for (delivery, _), one in PEOPLE.items():
        row = messages(store, recipient=one).select("document", "opens", "clicks", "hits").rows()
        assert row == [(delivery, 1, int(one != "bia"), 1 + int(one != "bia"))], one
    assert messages(store, delivery="7").select("recipient_id", "hits").rows() == [("bia", 1), ("ana", 2)]
    assert behaviour(store, "7").rows() == [("ana", "1", "clicked"), ("bia", "2", "opened")]


def test_a_sending_that_only_events_tell_is_in_the_story_beside_another_deliverys_log(tmp_path: Path) -> None:
    # A table tells of 7; of 8 only events do, with the same message id and the same recipient.
    told = [open_of("s", "8", "1", 60, reported_type="sent", recipient_id="ana")]
    add(tmp_path, message=[message_of("1", "7", recipient_id="ana")], event=told)
    acts = timeline(open_store(tmp_path), recipient="ana").select("delivery_id", "act").rows()
    assert acts == [("7", "sent"), ("8", "sent")]
    hand = open_store(tmp_path).snapshot().frames  # of a store whose events imply no message
    logged = hand["message"].filter(pl.col("delivery_id") == "7")
    told_by = type(open_store(tmp_path).snapshot())({**hand, "message": logged})
    assert timeline(told_by, recipient="ana").select("delivery_id", "act").rows() == acts


def test_a_hit_of_a_recipient_whose_message_is_in_no_log_is_told(tmp_path: Path) -> None:
    # 7 has no message 2: that 8 has one does not make this hit's message known.
    rows = [message_of("1", "7", recipient_id="ana"), message_of("2", "8", recipient_id="ana")]
    add(tmp_path, message=rows, event=[open_of("1", "7", "2", recipient_id="ana"), open_of("2", "8", "2", 90)])
    found = limits(open_store(tmp_path), recipient="ana").filter(limit="unknown_messages")
    assert found.select("count", "total").rows() == [(1, 2)]
    checked = quality(open_store(tmp_path)).filter(check="unknown_messages")
    assert checked.select("count", "total").rows() == [(1, 2)]


def test_hits_before_their_own_message_was_sent(tmp_path: Path) -> None:
    later = START + timedelta(days=1)
    rows = [message_of("1", "7"), message_of("1", "8", status_at=later)]
    add(tmp_path, message=rows, event=[open_of("1", "7", "1", 3600), open_of("2", "8", "1", 3600)])
    store = open_store(tmp_path)
    found = [quality(store, one).filter(check="before_send").select("count", "total").row(0) for one in "78"]
    assert found == [(0, 1), (1, 1)]


def test_visitors_of_the_platform_are_messages_of_deliveries(store: Store) -> None:
    for distinct in ("day", "period"):
        assert usage(store, "browser", distinct=distinct)["visitors"].to_list() == [2, 2]
        assert versions(store, "browser", distinct=distinct)["visitors"].to_list() == [2]
    assert history(store, "browser").select("visitors", "day_visitors").rows() == [(2, 2)]


# --- removal


def test_forgetting_one_leaves_whoever_has_a_message_of_that_id(tmp_path: Path, store: Store) -> None:
    before = contents(store)
    report = store.forget(recipient="ana")
    assert (report.rows, report.deliveries) == ({"message": 1, "event": 2}, ["7"])
    after = contents(open_store(tmp_path))
    for name in ("message", "event"):
        others = before[name].filter(pl.col("recipient_id") != "ana").drop(schema.MARKS, strict=False)
        assert after[name].drop(schema.MARKS, strict=False).equals(others)
    assert measure(open_store(tmp_path), UNIQUES[:3], by=[]).rows() == [(2, 1, 1)]


def test_of_hits_without_delivery_those_go_that_may_be_theirs(tmp_path: Path) -> None:
    loose = [open_of("a", None, "1", person_id="x"), open_of("b", None, "1", 900, recipient_id="dora")]
    add(tmp_path, message=sent(), event=[*loose, open_of("c", None, "9", recipient_id="ana"), open_of("d", None, "8")])
    store = open_store(tmp_path)
    assert store.forget(recipient="ana").rows == {"message": 1, "event": 2}
    assert store.scan("event").collect()["event_id"].sort().to_list() == ["b", "d"]


def test_refused_lines_of_a_raw_log_go_by_delivery_and_message(tmp_path: Path) -> None:
    texts = [f"50x1\tnever\t1\t{delivery}\t1" for delivery in ("7", "8", "0", "?")]
    quarantine = [{"source_file": "x.log", "source_row": row, "source": "adobe_redirection_log", "reason": "r",
                   "text": text} for row, text in enumerate(texts)]  # fmt: skip
    add(tmp_path, message=sent(), quarantine=quarantine)
    store = open_store(tmp_path)
    store.forget(recipient="ana")
    assert store.scan("quarantine").collect()["text"].to_list() == [texts[1]]
