"""What enrichment fills in, by small tables with expected values."""

from typing import Any

import polars as pl
import pytest

from trackkit import schema
from trackkit.engine.snapshot import Snapshot
from trackkit.store.dedupe import FROM_MESSAGE
from trackkit.store.enrich import enrich_events, enrich_messages, known_agents
from trackkit.store.layout import FILLED
from trackkit.store.user_agents import AGENT_COLUMNS

Row = dict[str, Any]
WINDOWS = "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:115.0) Gecko/20100101 Firefox/115.3"


def rows_of(table: str, *rows: Row) -> pl.LazyFrame:
    """Rows of a canonical table, columns left out being null."""
    return pl.LazyFrame(list(rows), schema=schema.TABLES[table].schema)


def tables(**rows: list[Row]) -> Snapshot:
    """Other tables, given as rows."""
    return Snapshot({name: rows_of(name, *given) for name, given in rows.items()})


def message(row: Row, **others: list[Row]) -> Row:
    """One message, enriched."""
    (enriched,) = enrich_messages(rows_of("message", {"message_id": "m"} | row), tables(**others)).collect().to_dicts()
    return enriched


def event(row: Row, messages: tuple[Row, ...] = (), **others: list[Row]) -> Row:
    """One event, enriched."""
    events = rows_of("event", {"delivery_id": "7", "event_id": "1"} | row)
    (enriched,) = enrich_events(events.collect(), rows_of("message", *messages), tables(**others)).to_dicts()
    return enriched


@pytest.mark.parametrize(
    ("code", "status"),
    [(0, "excluded"), (1, "delivered"), (2, "failed"), (3, "delivered"), (4, "delivered"), (5, "in_progress"),
     (6, "pending"), (7, "cancelled"), (8, "prepared"), (9, "unknown"), (-1, "unknown"), (None, "unknown")],
)  # fmt: skip
def test_a_status_code_becomes_its_class(code: int | None, status: str) -> None:
    assert message({"status_code": code})["status"] == status


@pytest.mark.parametrize(
    ("address", "domain"),
    [("Ann@Example.COM", "example.com"), ('"a@b"@c.example ', "c.example"), ("ann", None), ("ann@", None), (None, None),
     ("<script>@x.example", "x.example")],
)  # fmt: skip
def test_the_domain_is_what_follows_the_last_at_sign(address: str | None, domain: str | None) -> None:
    assert message({"address": address})["domain"] == domain


def test_a_message_has_the_country_of_its_recipient_and_the_qualification_of_its_failure() -> None:
    found = message(
        {"recipient_id": "r", "failure_id": "f"},
        recipient=[{"recipient_id": "r", "country": "FR"}, {"recipient_id": "s", "country": "BR"}],
        failure=[{"failure_id": "f", "failure_type": 2, "failure_reason": 1}],
    )
    assert (found["country"], found["failure_type"], found["failure_reason"]) == ("FR", 2, 1)


@pytest.mark.parametrize(
    ("reported", "type_code", "event_type"),
    [(None, 1, "clicked"), (None, 2, "opened"), (None, 3, "unsubscribed"), (None, 4, "web_visited"),
     (None, 5, "transaction"), (None, 6, "mirror_page"), (None, 11, "unknown"), (None, None, "unknown"),
     ("opened", 1, "opened"), ("complained", None, "complained")],
)  # fmt: skip
def test_the_source_says_what_happened_else_the_type_of_the_link(
    reported: str | None, type_code: int | None, event_type: str
) -> None:
    found = event(
        {"link_id": "k", "reported_type": reported},
        link=[{"link_id": "k", "type_code": type_code, "label": "Home", "category": "c", "url": "https://a.example"}],
    )
    assert found["event_type"] == event_type
    assert (found["link_label"], found["link_category"], found["url"]) == ("Home", "c", "https://a.example")


def test_a_hit_on_an_unknown_link_is_of_unknown_type() -> None:
    assert event({"link_id": "k"})["event_type"] == "unknown"


def test_an_event_has_what_its_message_tells() -> None:
    told = {"delivery_id": "7", "message_id": "m", "recipient_id": "r", "domain": "a.example", "is_seed": True}
    people = [{"recipient_id": "r", "country": "FR"}]
    found = event({"message_id": "m"}, (told,), recipient=people)
    assert (found["recipient_id"], found["domain"], found["is_seed"], found["country"]) == (
        "r",
        "a.example",
        True,
        "FR",
    )
    assert event({"message_id": "m", "recipient_id": "own"}, (told,))["recipient_id"] == "own"


def test_a_message_of_another_delivery_tells_nothing() -> None:
    other = {"delivery_id": "8", "message_id": "m", "recipient_id": "r", "domain": "a.example"}
    found = event({"message_id": "m"}, (other,))
    assert (found["recipient_id"], found["domain"]) == (None, None)


def test_a_recipient_taken_from_the_message_is_taken_again_when_the_message_changes() -> None:
    told = {"delivery_id": "7", "message_id": "m", "recipient_id": "r"}
    bare = rows_of("event", {"delivery_id": "7", "message_id": "m"}).with_columns(pl.lit(0, pl.Int32).alias(FILLED))
    first = enrich_events(bare.collect(), rows_of("message", told), Snapshot({}))
    assert first.select("recipient_id", FILLED).row(0) == ("r", FROM_MESSAGE)
    again = enrich_events(first, rows_of("message", told | {"recipient_id": "s"}), Snapshot({}))
    assert again.select("recipient_id", FILLED).row(0) == ("s", FROM_MESSAGE)
    gone = enrich_events(again, rows_of("message"), Snapshot({}))
    assert gone.select("recipient_id", FILLED).row(0) == (None, 0)


def test_a_web_hit_has_its_amount() -> None:
    found = event({}, web_event=[{"event_id": "1", "amount": 9.5, "articles": 2, "tag_id": "t"}, {"event_id": "2"}])
    assert (found["amount"], found["articles"], found["tag_id"]) == (9.5, 2, "t")


def test_the_platforms_words_for_a_user_agent_come_first_and_a_bare_hash_says_nothing() -> None:
    events = rows_of("event", *({"user_agent": agent} for agent in ("-123", "77", WINDOWS, WINDOWS, None)))
    own = [{"user_agent": "-123", "device": "iPhone", "browser": "AppleWebKit", "browser_version": "605.1.15"}]
    found = {row[0]: row[1:] for row in known_agents(events, tables(user_agent=own)).collect().iter_rows()}
    assert found == {
        "-123": ("iPhone", None, None, "AppleWebKit", "605"),
        WINDOWS: ("PC", "Windows", "10", "Firefox", "115"),
    }
    assert event({"user_agent": "77"})["device"] is None
    assert [event({"user_agent": WINDOWS})[name] for name in AGENT_COLUMNS] == ["PC", "Windows", "10", "Firefox", "115"]
