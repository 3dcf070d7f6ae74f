"""Any split of the same files into loads, in any order and with repeats, ends in the same store."""

import random
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.test_dedupe import rows_of
from tests.test_pieces import cut_small
from tests.test_store import add, assert_same, contents, message_of, open_of
from trackkit import schema
from trackkit.store import open_store
from trackkit.store.dedupe import FILE, replace_rows

START = datetime(2026, 1, 1, tzinfo=UTC)
KINDS = ("queued", "sent", "delivered", "deferred", "bounced", "failed", "rejected", "complained", "opened", "clicked")
Row = dict[str, Any]
# Where a row was read: of several copies the first by name is told, and names differ between splits.
PLACES = ["source_file", "source_row"]


def mailchimp(chance: random.Random) -> dict[str, list[str]]:
    """Lines of Mailchimp's tables by file, the header first: three campaigns, nine members, some without a send."""
    people, campaigns = [f"m{number}" for number in range(9)], ["c1", "c2", "c3"]
    acts = ["open", "open", "click", "click", "bounce", "wave"]
    activity = []
    for _ in range(40):
        act, at = chance.choice(acts), START + timedelta(seconds=chance.randint(0, 50))
        url = f"https://a.example/{chance.randint(1, 3)}" if act == "click" else ""
        bounce = chance.choice(["hard", "soft", ""]) if act == "bounce" else ""
        activity.append(
            f"{act},{chance.choice(campaigns)},{chance.choice(people)},{at:%Y-%m-%d %H:%M:%S},{bounce},{url}"
        )
    sends = [f"{campaign},{one}" for campaign in campaigns[:2] for one in people[:6]]
    return {
        "campaign": ["id,title,send_time,status", "c1,One,2026-01-01 00:00:00,sent", "c2,Two,,sent"],
        "campaign_recipient": ["campaign_id,member_id", *sends],
        "campaign_recipient_activity": ["action,campaign_id,member_id,timestamp,bounce_type,url", *activity],
        "member": ["id,email_address,country_code", *(f"{one},{one}@{one}.example,FR" for one in people[:5])],
        "unsubscribe": ["campaign_id,member_id,timestamp", "c1,m3,2026-01-02 00:00:00"],
    }


def write_parts(folder: Path, tables: dict[str, list[str]], chance: random.Random) -> list[Path]:
    """Cut every table into parts, some of whose lines are in two; a part is a folder of its own."""
    parts = []
    for name, (header, *lines) in tables.items():
        chance.shuffle(lines)
        pieces = [lines[place::3] for place in range(3)]
        pieces[0] += chance.sample(lines, len(lines) // 4)
        for place, piece in enumerate(pieces):
            part = folder / f"{name}{place}"
            part.mkdir(parents=True)
            (part / f"{name}.csv").write_text("\n".join([header, *piece, ""]))
            parts.append(part)
    return parts


@pytest.mark.parametrize("seed", range(2))
def test_mailchimp_in_any_parts_is_one_store(tmp_path: Path, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    chance = random.Random(seed)
    tables = mailchimp(chance)
    whole = tmp_path / "whole"
    whole.mkdir()
    for name, lines in tables.items():
        (whole / f"{name}.csv").write_text("\n".join([*lines, ""]))
    at_once = open_store(tmp_path / "at_once")
    at_once.ingest(whole)
    parts = write_parts(tmp_path / "parts", tables, chance)
    chance.shuffle(parts)
    if seed:
        cut_small(monkeypatch)
    store = open_store(tmp_path / "store")
    for start in range(0, len(parts), 4):
        report = store.ingest(*parts[start : start + 4], *chance.sample(parts[: start + 1], 1))
        assert report.is_settled
    _assert_alike(store, at_once)
    assert at_once.scan("message").collect()["is_implied"].sum() > 0


def _assert_alike(one: Any, other: Any) -> None:
    assert_same(*(
        {name: rows.drop(PLACES, strict=False).sort(pl.all().cast(pl.String)) for name, rows in contents(store).items()}
        for store in (one, other)
    ))  # fmt: skip


@st.composite
def told(draw: st.DrawFn) -> tuple[str, Row]:
    """A row of a feed, of a log or of a table, among few deliveries and messages; both deliveries have a message c."""
    table = draw(st.sampled_from(["event", "event", "event", "log", "message", "link", "recipient"]))
    message, number = draw(st.sampled_from(["a", "b", "c"])), draw(st.integers(0, 3))
    delivery = {"a": "7", "b": "8"}.get(message) or draw(st.sampled_from(["7", "8"]))
    nowhere = delivery if message == "c" else None  # of c it could not be found
    if table == "event":
        kind = draw(st.sampled_from(KINDS))
        bounce = draw(st.sampled_from([*schema.BOUNCE_CLASSES, None])) if kind == "bounced" else None
        return "event", {
            "delivery_id": draw(st.sampled_from([delivery, delivery, nowhere])), "message_id": message,
            "source": "feed", "event_id": f"{kind}{message}{number}{bounce}",
            "occurred_at": START + timedelta(hours=number), "reported_type": kind, "bounce_class": bounce,
            "collapse_seconds": 0, "address": f"{message}@x.example", "recipient_id": f"r{message}",
        }  # fmt: skip
    if table == "log":
        link, place = str(draw(st.integers(1, 2))), draw(st.sampled_from([delivery, nowhere]))
        more = {"link_id": link, "reported_type": "opened" if link == "1" else None}
        return "event", open_of(f"{message}{number}{link}", place, message, 40 * number, **more)
    if table == "message":
        return "message", message_of(message, delivery, recipient_id=f"r{message}")
    if table == "link":
        return "link", {"link_id": "2", "type_code": 1, "label": "Shop"}
    return "recipient", {"recipient_id": f"r{message}", "email": f"{message}@y.example", "country": "FR"}


@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(told(), min_size=1, max_size=14), st.randoms(use_true_random=False))
def test_events_and_tables_in_any_parts_are_one_store(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, Row]], chance: random.Random
) -> None:
    folder = tmp_path_factory.mktemp("any")
    add(folder / "at_once", **_by_table(rows))
    shuffled = rows + chance.sample(rows, chance.randint(0, len(rows)))
    chance.shuffle(shuffled)
    cut = chance.randint(0, len(shuffled))
    for part in (shuffled[:cut], shuffled[cut:]):
        if part:
            add(folder / "parts", **_by_table(part))
    _assert_alike(open_store(folder / "parts"), open_store(folder / "at_once"))


def _by_table(rows: list[tuple[str, Row]]) -> dict[str, list[Row]]:
    tables: dict[str, list[Row]] = {}
    for name, row in rows:
        tables.setdefault(name, []).append(row)
    return tables


@st.composite
def recipient(draw: st.DrawFn) -> Row:
    """A recipient as its own table states it, always alike, or as another file tells of it in passing."""
    key = draw(st.sampled_from(["1", "2"]))
    if draw(st.booleans()):
        return {"recipient_id": key, "email": f"{key}@own.example", "country": None, FILE: draw(st.integers(0, 1))}
    return {
        "recipient_id": key, "email": draw(st.sampled_from(["z@told", "a@told", None])), FILE: None,
        "country": draw(st.sampled_from(["FR", "BR", None])), "is_denylisted": draw(st.sampled_from([True, None])),
    }  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(st.lists(recipient(), min_size=1, max_size=10), st.randoms(use_true_random=False))
def test_what_is_stated_wins_over_what_is_told_in_any_order(rows: list[Row], chance: random.Random) -> None:
    expected = set()
    for key in {row["recipient_id"] for row in rows}:
        mine = [row for row in rows if row["recipient_id"] == key]
        own = [row for row in mine if row[FILE] is not None]
        best = {name: max((row[name] for row in mine if row.get(name) is not None and row not in own), default=None)
                for name in ("email", "country", "is_denylisted")}  # fmt: skip
        expected.add((key, own[0]["email"] if own else best["email"], best["country"], best["is_denylisted"]))
    shuffled = rows + chance.sample(rows, chance.randint(0, len(rows)))
    chance.shuffle(shuffled)
    cut, stored = chance.randint(0, len(shuffled)), None
    for part in (shuffled[:cut], shuffled[cut:]):
        stored = replace_rows(schema.RECIPIENT, stored, rows_of("recipient", *part)).rows
    columns = ("recipient_id", "email", "country", "is_denylisted")
    assert set(stored.select(columns).rows()) == expected and stored.height == len(expected)
    again = replace_rows(schema.RECIPIENT, stored, rows_of("recipient", *rows))
    assert not again.is_changed and again.changed.is_empty()
