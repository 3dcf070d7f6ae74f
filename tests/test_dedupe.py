"""Settling events against a slow, plain reference; replacing rows of the other tables."""

import itertools
import random
import time
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from trackkit import schema
from trackkit.store.dedupe import FILE, FILLABLE, IS_NEW, merge_copies, replace_rows, set_repeats_aside
from trackkit.store.layout import FILLED

START = datetime(2026, 1, 1, tzinfo=UTC)
COLUMNS = list(schema.EVENT.sourced)
Row = dict[str, Any]


def event(event_id: str | None, log_server: str | None = "50", seconds: float | None = 0.0, **more: Any) -> Row:
    """One row as a source gives it: an open of message a by person p, 60 seconds' window unless from an export."""
    return {
        "delivery_id": "7", "event_id": event_id, "log_server": log_server, "message_id": "a", "person_id": "p",
        "occurred_at": None if seconds is None else START + timedelta(seconds=seconds), "reported_type": "opened",
        "collapse_seconds": 60 if log_server else 0, "source": "log", "source_file": "f", "source_row": 1, **more,
    }  # fmt: skip


def events(rows: list[Row]) -> pl.DataFrame:
    """Rows of `event`, columns left out being null."""
    return pl.DataFrame(rows, schema=schema.EVENT.sourced)


def ids(rows: pl.DataFrame) -> list[str]:
    """Log ids, sorted."""
    return sorted(rows["event_id"])


def settled_reference(rows: list[Row]) -> tuple[list[Row], list[Row]]:
    """Every rule of settling, one row at a time: (kept, collapsed)."""
    rows = [dict(row) for row in rows]
    for row in rows:
        places = [other["delivery_id"] for other in rows if other["event_id"] == row["event_id"]]
        known = sorted(place for place in places if place is not None)
        if row["delivery_id"] is None and row["event_id"] is not None and known:
            row["delivery_id"] = known[0]
    unique = [row for row in rows if row["event_id"] is None]
    groups: dict[tuple[str | None, str], list[Row]] = {}
    for row in rows:
        if row["event_id"] is not None:
            groups.setdefault((row["delivery_id"], row["event_id"]), []).append(row)
    for group in groups.values():
        unique += one_event_each(group)
    counted: dict[tuple[str, str | None], datetime] = {}
    kept, collapsed = [], []
    for row in sorted(unique, key=in_time):
        if row["reported_type"] != "opened" or row["message_id"] is None or row["occurred_at"] is None:
            kept.append(row)
            continue
        who = (row["delivery_id"], row["message_id"], row["person_id"])
        window = timedelta(seconds=row["collapse_seconds"])
        if who in counted and row["occurred_at"] - counted[who] < window:
            collapsed.append(row)
        else:
            counted[who] = row["occurred_at"]
            kept.append(row)
    return kept, collapsed


def in_time(row: Row) -> tuple[Any, ...]:
    """The order of opens: instant, log id, server, then all else that tells them apart; unknown ones first."""
    ordered = dict.fromkeys(["occurred_at", "event_id", "log_server", *COLUMNS])
    return tuple((row.get(name) is not None, row.get(name)) for name in ordered if name != "reported_type")


def one_event_each(group: list[Row]) -> list[Row]:
    """Rows of one log id: one per server, an export's values in the gaps of a lone one."""
    raws = {row["log_server"]: [] for row in group if row["log_server"] is not None}
    for row in group:
        if row["log_server"] is not None:
            raws[row["log_server"]].append(row)
    merged = [merged_copies(copies) for copies in raws.values()]
    exports = [row for row in group if row["log_server"] is None]
    if exports and not merged:
        merged = [merged_copies(exports)]
    elif exports and len(merged) == 1:
        given = merged_copies(exports)
        for name in FILLABLE:
            if merged[0][name] is None:
                merged[0][name] = given[name]
    for row in merged:
        row["collapse_seconds"] = min(other["collapse_seconds"] for other in group)
    return merged


def merged_copies(copies: list[Row]) -> Row:
    """The smallest value of each column, and the first place in which it was read."""
    merged = {}
    for name in COLUMNS:
        values = [row.get(name) for row in copies if row.get(name) is not None]
        order = schema.EVENT_TYPES.index if name == "reported_type" else None
        merged[name] = min(values, key=order) if values else None
    first = min(copies, key=lambda row: (row["source_file"], row["source_row"]))
    return merged | {name: first[name] for name in ("source", "source_file", "source_row")}


@st.composite
def row(draw: st.DrawFn) -> Row:
    """A row among few ids, servers, messages and instants, so that copies and repeats are common."""
    event_id = draw(st.sampled_from(["1", "2", "3", "4", "5", None]))
    server = draw(st.sampled_from(["50", "51", None]))
    own_delivery = None if event_id is None else "78"[int(event_id) % 2]
    return event(
        event_id, server, draw(st.sampled_from([0, 10, 59, 60, 61, 119, 120, None])),
        delivery_id=draw(st.sampled_from([own_delivery, None])),
        message_id=draw(st.sampled_from(["a", "b", None])), person_id=draw(st.sampled_from(["p", "q", None])),
        link_id=draw(st.sampled_from(["1", "2", None])), recipient_id=draw(st.sampled_from(["r", None])),
        reported_type=draw(st.sampled_from(["opened", "opened", "clicked", None])),
        collapse_seconds=draw(st.sampled_from([60, 30, 0])) if server else 0,
        source_file=draw(st.sampled_from(["f", "g"])), source_row=draw(st.integers(1, 3)),
    )  # fmt: skip


class Settled(NamedTuple):
    """Events that count, repeated opens set aside, and how many rows were copies of another."""

    kept: pl.DataFrame
    collapsed: pl.DataFrame
    duplicates: int


def settle_events(rows: pl.DataFrame) -> Settled:
    """Settle events as a load does, but for what other tables tell of them."""
    unique = merge_copies(rows)
    duplicates = rows.height - unique.height
    return Settled(*set_repeats_aside(unique), duplicates)


def as_sets(*frames: pl.DataFrame) -> list[list[tuple[Any, ...]]]:
    """Frames as sorted rows, to compare without regard to order."""
    return [sorted(frame.select(COLUMNS).rows(), key=str) for frame in frames]


@settings(max_examples=100, deadline=None)
@given(st.lists(row(), max_size=14), st.randoms(use_true_random=False))
def test_settling_is_the_reference_in_any_order_repetition_and_split(rows: list[Row], chance: random.Random) -> None:
    kept, collapsed = settled_reference(rows)
    expected = as_sets(events(kept), events(collapsed))
    at_once = settle_events(events(rows))
    assert as_sets(at_once.kept, at_once.collapsed) == expected
    assert at_once.duplicates == len(rows) - len(kept) - len(collapsed)
    with_id = [one for one in rows if one["event_id"] is not None]
    shuffled = rows + chance.sample(with_id, chance.randint(0, len(with_id)))
    chance.shuffle(shuffled)
    cuts = sorted(chance.choices(range(len(shuffled) + 1), k=2))
    stored = settle_events(events([]))
    for start, stop in itertools.pairwise([0, *cuts, len(shuffled)]):
        before = pl.concat([stored.kept, stored.collapsed]).with_columns(pl.lit(False).alias(IS_NEW))
        part = events(shuffled[start:stop])
        stored = settle_events(pl.concat([before, part], how="diagonal"))
    assert as_sets(stored.kept, stored.collapsed) == expected


def test_of_opens_that_only_their_place_tells_apart_the_first_read_counts_in_any_order() -> None:
    rows = [event(None, "50", 0, message_id="a", reported_type="opened", collapse_seconds=60, source_file="f",
                  source_row=line) for line in (1, 2)]  # fmt: skip
    for turned in (rows, rows[::-1]):
        settled = settle_events(events(turned))
        assert (settled.kept["source_row"].to_list(), settled.collapsed["source_row"].to_list()) == ([1], [2])


def test_opens_collapse_after_the_last_that_counts_not_after_the_last_seen() -> None:
    rows = [event(str(number), seconds=at) for number, at in enumerate([0, 40, 59.99, 60, 100, 119.99, 121])]
    kept, collapsed = set_repeats_aside(events(rows))
    assert ids(kept) == ["0", "3", "6"]
    assert ids(collapsed) == ["1", "2", "4", "5"]


def test_an_open_of_an_export_always_counts_and_starts_a_window() -> None:
    rows = [event("1"), event("2", None, 10), event("3", seconds=65), event("4", seconds=70)]
    kept, _ = set_repeats_aside(events(rows))
    assert ids(kept) == ["1", "2", "4"]


def test_other_people_messages_and_kinds_do_not_collapse() -> None:
    rows = [
        event("1"), event("2", person_id="q"), event("3", message_id="b"), event("4", reported_type="clicked"),
        event("5", message_id=None), event("6", message_id=None), event("7", seconds=None), event("8", seconds=None),
        event("9", seconds=1, person_id=None), event("10", seconds=2, person_id=None),
    ]  # fmt: skip
    _, collapsed = set_repeats_aside(events(rows))
    assert ids(collapsed) == ["10"]


def test_opens_of_two_deliveries_do_not_collapse_though_they_share_the_id_of_a_message() -> None:
    rows = [event("1"), event("2", seconds=10, delivery_id="8"), event("3", seconds=20), event("4", delivery_id=None)]
    kept, collapsed = set_repeats_aside(events(rows))
    assert (ids(kept), ids(collapsed)) == (["1", "2", "4"], ["3"])


def test_the_same_log_id_of_two_servers_is_two_events() -> None:
    assert merge_copies(events([event("1", "50"), event("1", "51")])).height == 2


def test_an_export_fills_the_gaps_of_the_raw_line_and_lets_it_count() -> None:
    raw = event("1", "50", 5, recipient_id=None, person_id="p", source_file="log", user_agent="text")
    export = event("1", None, 5, recipient_id="r", person_id="other", source_file="table", user_agent="123")
    (merged,) = merge_copies(events([export, raw])).to_dicts()
    assert merged["recipient_id"] == "r" and merged["person_id"] == "p" and merged["user_agent"] == "text"
    assert merged["collapse_seconds"] == 0 and merged["source_file"] == "log"
    assert merged[FILLED] == 1 << FILLABLE.index("recipient_id")


def test_many_repeats_of_one_message_are_settled_at_once() -> None:
    count = 300_000
    rows = pl.DataFrame({"number": pl.int_range(count, eager=True)}).select(
        delivery_id=pl.lit("7"), event_id=pl.col("number").cast(pl.String), log_server=pl.lit("50"),
        message_id=pl.lit("a"), person_id=pl.lit("p"), reported_type=pl.lit("opened"), collapse_seconds=pl.lit(60),
        occurred_at=(START + pl.duration(milliseconds=pl.col("number") * 7)),
    )  # fmt: skip
    hostile = pl.concat([events([]), rows], how="diagonal_relaxed")
    start = time.perf_counter()
    settled = settle_events(hostile)
    assert time.perf_counter() - start < 20  # a step per open would take minutes
    # 7 milliseconds apart: after each open that counts, the next is 8,572 opens later (60.004 seconds)
    assert settled.kept.height == -(-count // 8572)
    assert settle_events(pl.concat([hostile, hostile])).kept.height == settled.kept.height


def rows_of(table: str, *rows: Row) -> pl.DataFrame:
    """Rows of a table as a source gives them, each from file 0 unless it says otherwise."""
    shape = schema.TABLES[table].sourced | {FILE: pl.Int32()}
    return pl.DataFrame([{FILE: 0} | one for one in rows], schema=shape)


def test_the_last_row_of_a_key_wins_and_tells_what_changed() -> None:
    first = replace_rows(
        schema.LINK, None, rows_of("link", {"link_id": "1", "label": "a"}, {"link_id": "1", "label": "b", FILE: 1})
    )
    assert first.rows.to_dicts()[0]["label"] == "b" and first.kept == {1: 1}
    again = replace_rows(schema.LINK, first.rows, rows_of("link", {"link_id": "1", "label": "b"}))
    assert again.changed.is_empty() and again.kept == {}
    assert_frame_equal(again.rows, first.rows)
    later = replace_rows(
        schema.LINK, first.rows, rows_of("link", {"link_id": "1", "url": "u"}, {"link_id": "2", "label": "c"})
    )
    assert later.kept == {0: 2} and ids_of(later.changed, "link_id") == ["1", "2"]
    assert (
        later.rows.filter(link_id="1").to_dicts()[0] | {"label": "b", "url": "u"}
        == later.rows.filter(link_id="1").to_dicts()[0]
    )


def ids_of(rows: pl.DataFrame, column: str) -> list[str]:
    """Values of a column, sorted."""
    return sorted(rows[column])


def test_the_latest_status_of_a_message_wins_whatever_the_order_of_loading() -> None:
    failed = {"message_id": "1", "status_code": 2, "status_at": START, "failure_id": "f", "recipient_id": "r"}
    sent = {"message_id": "1", "status_code": 1, "status_at": START + timedelta(hours=1), "address": "a@b"}
    for order in ([failed, sent], [sent, failed]):
        stored = None
        for one in order:
            stored = replace_rows(schema.MESSAGE, stored, rows_of("message", one)).rows
        at_once = replace_rows(schema.MESSAGE, None, rows_of("message", *order)).rows
        for rows in (stored, at_once):
            (row,) = rows.to_dicts()
            assert (row["status_code"], row["failure_id"]) == (1, None)
            assert (row["recipient_id"], row["address"]) == ("r", "a@b")


def test_rows_gleaned_from_another_table_only_tell_what_was_not_known() -> None:
    known = replace_rows(schema.RECIPIENT, None, rows_of("recipient", {"recipient_id": "1", "email": "a@b"})).rows
    gleaned = rows_of("recipient", {"recipient_id": "1", "email": "x@y", "country": "FR", FILE: None})
    replaced = replace_rows(schema.RECIPIENT, known, gleaned)
    (row,) = replaced.rows.to_dicts()
    assert (row["email"], row["country"]) == ("a@b", "FR") and replaced.kept == {}


def test_keys_with_unknown_parts_are_still_one_row() -> None:
    hit = {"occurred_at": START, "web_application": "w", "page": "p", "step": None, "person_id": None}
    stored = replace_rows(schema.PAGE_HIT, None, rows_of("page_hit", hit, hit)).rows
    assert stored.height == 1
    assert replace_rows(schema.PAGE_HIT, stored, rows_of("page_hit", hit)).changed.is_empty()
