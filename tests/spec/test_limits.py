"""What the figures cannot say: each limit against a case made for it, and the counts against SQL on random data."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import polars as pl
import pytest

from tests.spec.golden import DELIVERY_ID, at, golden, tables
from tests.spec.randomised import randomised
from trackkit.analysis.caveats import TABLES, limits, metric_needs
from trackkit.engine.snapshot import Snapshot
from trackkit.report.notes import MISSING, WORDS, needs, sentences
from trackkit.report.template import template

SENT = datetime(2026, 11, 1, 8, tzinfo=UTC)
MESSAGES = [
    {"delivery_id": "1", "message_id": str(number), "recipient_id": f"r{number}", "status": "delivered",
     "is_seed": number == 5, "status_at": SENT}
    for number in range(1, 6)
]  # fmt: skip


def one(hits=(), messages=MESSAGES, more=None, **facts) -> Snapshot:
    """One delivery of five messages, one of them to a control address, sent on the first of November."""
    delivery = {
        "delivery_id": "1", "state": 95, "started_at": SENT, "ended_at": SENT, "to_deliver": 5, "text_messages": 0,
    } | facts  # fmt: skip
    events = [{"delivery_id": "1", "event_id": str(place), "event_type": "opened", "link_id": "1"} | dict(hit)
              for place, hit in enumerate(hits)]  # fmt: skip
    return tables(delivery=[delivery], message=list(messages), event=events, **(more or {}))


def hit(days: float = 30, **more) -> dict:
    return {"message_id": "1", "occurred_at": SENT + timedelta(days=days)} | more


def found(given: Snapshot, *columns: str, needs=(), **asked) -> dict[str, tuple]:
    rows = limits(given, **(asked or {"delivery": "1"}), needs=dict.fromkeys(needs, ()))
    return {row[0]: row[1:] for row in rows.select("limit", *columns).rows()}


def test_a_finished_delivery_long_ago_has_none_but_its_age_and_its_seeds():
    given = one([hit()])
    assert found(given, "weight", "count", "at") == {
        "seeds": ("note", 1, None), "age": ("note", None, SENT + timedelta(days=30))
    }  # fmt: skip


@pytest.mark.parametrize(
    ("state", "limit"),
    [(0, "running"), (45, "running"), (51, "running"), (55, "running"), (62, "running"), (75, "running"),
     (85, "ended_early"), (87, "ended_early"), (95, None), (100, None), (None, None)],
)  # fmt: skip
def test_the_state_says_whether_figures_can_change(state, limit):
    said = found(one([hit()], state=state), "weight", "code")
    assert said.get(limit) == (("warning", state) if limit else None)
    assert {"not_sent", "running", "ended_early"} & set(said) == ({limit} if limit else set())


def test_past_its_deadline_with_messages_waiting_a_delivery_is_late():
    waiting = {"message_id": "9", "delivery_id": "1", "status": "pending"}
    for messages, day, is_late in (
        ([*MESSAGES, waiting], 3, True),
        (MESSAGES, 3, False),
        ([*MESSAGES, waiting], 1, False),
    ):
        given = one([hit()], messages, state=55, validity_at=SENT + timedelta(days=2))
        loaded = replace(given, as_of=SENT + timedelta(days=day))
        assert {"late", "running"} & set(found(loaded, "weight")) == {"late" if is_late else "running"}
    # The data ends a day after the sending: that messages are pending is known up to there.
    early = one([hit(1)], [*MESSAGES, waiting], state=55, validity_at=SENT + timedelta(days=2))
    said = found(replace(early, as_of=SENT + timedelta(days=3)), "weight", "at", "until")
    assert said["late_unknown"] == ("warning", SENT + timedelta(days=1), SENT + timedelta(days=2))
    assert not {"late", "running"} & set(said)


def test_until_the_deadline_and_a_week_after_the_last_message_figures_are_provisional():
    deadline = SENT + timedelta(days=5)
    assert found(one([hit(4.9)], validity_at=deadline), "at", "until")["valid"] == (
        SENT + timedelta(days=4.9), deadline
    )  # fmt: skip
    for days, late in ((5, True), (6.9, True), (7, False), (8, False)):
        said = found(one([hit(days)], validity_at=deadline), "until")
        assert "valid" not in said
        assert said.get("late_bounces") == ((SENT + timedelta(days=7),) if late else None)
    # the delivery log tells of later days than the hits
    later = [*MESSAGES[1:], MESSAGES[0] | {"status_at": SENT + timedelta(days=9)}]
    assert "late_bounces" not in found(one([hit(1)], later))


def test_success_without_any_hit_is_missing_tracking_and_never_nobody():
    assert found(one(), "weight", "count")["tracking_missing"] == ("warning", 4)
    waiting = [row | {"status": "pending"} for row in MESSAGES]
    said = found(one((), waiting), "count", "total")
    assert "tracking_missing" not in said and "no_hit" in said and said["waiting"] == (5, 5)
    assert not {"tracking_missing", "no_hit"} & set(found(one(is_model=True, state=0)))
    no_events = Snapshot({name: frame for name, frame in one().frames.items() if name != "event"})
    assert not {"tracking_missing", "no_hit"} & set(found(no_events))


@pytest.mark.parametrize(
    ("text", "to_deliver", "limit", "numbers"),
    [(0, 5, None, None), (None, 5, "text_unknown", (None, None)), (5, 5, "text_only", (5, 5)),
     (2, 5, "text_some", (2, 5)), (2, None, "text_some", (2, None)), (0, 0, None, None)],
)  # fmt: skip
def test_text_messages(text, to_deliver, limit, numbers):
    said = found(one([hit()], text_messages=text, to_deliver=to_deliver), "count", "total")
    assert {name for name in said if name.startswith("text")} == ({limit} if limit else set())
    assert limit is None or said[limit] == numbers


def test_hits_that_are_odd_are_counted():
    hits = [hit(), hit(link_id="9", event_type="clicked"), hit(link_id="8", event_type="unknown"),
            hit(message_id="77"), hit(message_id=None), hit() | {"occurred_at": None}, hit(is_seed=True)]  # fmt: skip
    links = {"link": [{"link_id": "9", "delivery_id": "1", "type_code": 1}]}
    said = found(one(hits, more=links), "count", "total")
    assert {name: said[name] for name in said if name not in ("age", "seeds")} == {
        "seed_hits": (1, 7), "unknown_links": (1, 7), "unknown_messages": (1, 7), "nameless": (1, 7),
        "undated": (1, 7), "unknown_types": (1, 7),
    }  # fmt: skip
    # without a list of links no link can be unknown, but what the hits were is
    said = found(one(hits), "count", "weight")
    assert "unknown_links" not in said and said["unclassified"] == (1, "warning")


def test_hits_without_messages_and_without_a_delivery():
    purged = one([hit()], [])
    assert "purged" in found(purged) and found(purged, "count")["unknown_messages"] == (1,)
    assert "not_listed" in found(tables(delivery=[], event=[{"delivery_id": "1", "event_type": "opened"}]))
    assert "not_listed" not in found(tables(event=[{"delivery_id": "1", "event_type": "opened"}]))


def test_missing_tables_are_told_with_what_they_cost():
    given = tables(event=[{"delivery_id": "1", "event_type": "opened"}])
    rows = limits(given, "1", needs={"message": ["Success", "Bounces"], "failure": []}).filter(limit="missing")
    assert rows.select("table", "weight", "concerns").rows() == [
        ("message", "warning", ["Success", "Bounces"]), ("failure", "note", [])
    ]  # fmt: skip
    everything = limits(given, "1").filter(limit="missing")["table"].to_list()
    assert sorted(everything) == sorted(set(TABLES) - {"event"})
    assert "missing" not in found(golden(), delivery=DELIVERY_ID, needs=("message", "event", "link"))


def test_what_cannot_be_read_is_told():
    bad = {"quarantine": [{"source_file": "a.log", "source_row": row, "reason": "no"} for row in range(3)]}
    assert found(one([hit()], more=bad), "count")["quarantined"] == (3,)


def test_the_platform_as_a_whole():
    delivery = [
        {"delivery_id": "1", "state": 95, "text_messages": 0}, {"delivery_id": "2", "state": 55},
        {"delivery_id": "3", "state": 95, "text_messages": 1}, {"delivery_id": "4", "is_proof": True, "state": 55},
        {"delivery_id": "5", "is_model": True},
    ]  # fmt: skip
    message = [{"delivery_id": key, "message_id": key, "status": "delivered", "is_seed": key == "2"} for key in "1234"]
    event = [{"delivery_id": "1", "message_id": "1", "event_type": "opened"}, {"event_type": "opened"}]
    said = found(tables(delivery=delivery, message=message, event=event), "count", "total", recipient=None)
    assert said == {
        "deliveries_running": (1, 3), "deliveries_untracked": (1, 3), "deliveries_set_aside": (2, 5),
        "deliveries_text_unknown": (1, 3), "seeds": (1, None), "without_delivery": (1, 2), "nameless": (1, 2),
        "undated": (2, 2), "undated_data": (None, None),
    }  # fmt: skip


def test_a_recipient_has_hits_in_deliveries_that_are_gone():
    event = [{"delivery_id": key, "recipient_id": "r", "event_type": "opened", "message_id": "m"} for key in "1223"]
    given = tables(delivery=[{"delivery_id": "1"}], event=[*event, event[0] | {"recipient_id": "other"}])
    assert found(given, "count", "total", recipient="r")["unlisted_deliveries"] == (3, 4)


SECOND = """
select count(*), count(*) filter (is_seed), count(*) filter (occurred_at is null),
  count(*) filter (message_id is null),
  count(*) filter (event_type is null or event_type = 'unknown'),
  count(*) filter (event_type is distinct from 'opened' and link_id is not null
                   and link_id not in (select link_id from link))
from event where delivery_id = '7'
"""


@pytest.mark.parametrize("seed", range(6))
def test_counts_agree_with_sql_on_random_data(seed):
    given = randomised(seed)
    event = given.scan("event").with_columns(pl.col("event_type").cast(pl.String)).collect().to_arrow()
    link = given.scan("link").collect().to_arrow()
    with duckdb.connect(":memory:") as database:
        database.register("event", event)
        database.register("link", link)
        total, seeds, undated, nameless, unknown, orphans = database.execute(SECOND).fetchone()
    said = found(given, "count", "total", delivery="7")
    expected = {"seed_hits": seeds, "undated": undated, "nameless": nameless, "unknown_types": unknown,
                "unknown_links": orphans}  # fmt: skip
    assert {name: said.get(name) for name in expected} == {
        name: (count, total) if count else None for name, count in expected.items()
    }


def test_every_limit_has_words_and_every_word_a_limit():
    analysis = Path(__file__).parents[2] / "trackkit" / "analysis"
    text = (analysis / "caveats.py").read_text("utf-8")
    assert [name for name in WORDS if f'"{name}"' not in text] == []
    assert set(MISSING) == set(TABLES)
    every = [one([hit()], state=state, **facts) for state in (0, 55, 85, 95) for facts in ({}, {"is_proof": True})]
    for given in every:
        for words in sentences(limits(given, "1"), "Europe/Paris", "pt_BR"):
            assert all(word and "{" not in word for word in words)


def test_words_hold_their_numbers_dates_and_state():
    warnings, remarks = sentences(limits(one([hit(1)], text_messages=2), "1", needs={"failure": ["Bounces"]}))
    assert warnings == [
        "Late bounces may arrive until 2026-11-08 08:00, and the data goes to 2026-11-02 08:00: success is provisional."
    ]
    text = "Text messages, whose opens cannot be seen: 2 of 5. The estimates allow for them; "
    assert text + "other figures of opens do not." in remarks
    assert remarks[0].endswith("and so are hard and soft bounces. Concerned: Bounces.")
    running, _ = sentences(limits(one([hit(1)], state=75), "1", needs={}))
    assert running == ["The delivery is still running (state: Paused): its figures will change."]


def test_a_report_knows_which_sections_read_which_tables():
    read = needs("tracking_indicators", template("tracking_indicators"))
    assert read["web_event"] == ["Web tracking"]
    assert read["message"] == [
        "Figures",
        "Open and click-through rate",
        "Generated click streams",
        "How it compares",
        "People and machines",
        "Mail privacy",
        "What each rule leaves",
        "Reception statistics",
        "Delivery statistics",
        "Sharing",
        "Other senders' definitions",
        "Complaints, and who tells them",
        "Domains unlike the others",
    ]
    assert needs("hot_clicks", template("hot_clicks"))["content"] == [], "every section"
    assert metric_needs("amount_per_message") == {"delivery", "event", "web_event", "link", "page_hit"}


def test_the_golden_example_ends_the_day_it_was_sent():
    assert limits(golden(), DELIVERY_ID).filter(weight="warning")["limit"].to_list() == ["late_bounces"]
    assert at(15, 14) == limits(golden(), DELIVERY_ID).filter(limit="age")["at"].item()
