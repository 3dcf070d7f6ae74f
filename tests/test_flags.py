"""Distinct counts by stored flags are those of counting values, whatever came late, was removed or names nobody."""

import itertools
from datetime import timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from tests.spec.golden import golden
from tests.test_store import START, add, message_of, open_of
from trackkit import schema
from trackkit.analysis.web import attribute_web, counted_tables
from trackkit.engine import counting, selection
from trackkit.engine.counting import UNKNOWN, in_order
from trackkit.engine.measure import measure
from trackkit.engine.selection import Selection
from trackkit.engine.snapshot import Snapshot, Tables
from trackkit.metrics import ALWAYS, Distinct
from trackkit.store import Store, open_store
from trackkit.store.enrich import with_marks

DISTINCT = ["unique_opens", "unique_clicks", "unique_people_clicks", "estimated_forwards", "total_clicks"]
Row = dict[str, Any]


def unflagged(tables: Tables) -> Snapshot:
    """The same tables as they were before flags were stored."""
    frames = {name: tables.scan(name) for name in schema.TABLES if tables.has(name)}
    return Snapshot(frames | {"event": frames["event"].with_columns(
        pl.lit(None, schema.EVENT.schema[mark]).alias(mark) for mark in schema.MARKS)})  # fmt: skip


def is_flagged(tables: Tables) -> bool:
    """Whether the engine finds flags that answer."""
    return Selection(tables, None, None, "UTC").has_firsts(["delivery_id"])


def assert_alike(store: Store) -> None:
    """Compare counting by flags with counting values, of all deliveries and of each."""
    assert is_flagged(store) and not is_flagged(unflagged(store))
    assert measure(store).equals(measure(unflagged(store)))
    for key in store.scan("event").collect()["delivery_id"].drop_nulls().unique():
        assert measure(store, DISTINCT, delivery=key).equals(measure(unflagged(store), DISTINCT, delivery=key))


@st.composite
def hit(draw: st.DrawFn) -> Row:
    """A hit, or a send, of few messages and persons, which share each other; some name nobody, some are undated."""
    kind = draw(st.sampled_from(["opened", "opened", "clicked", "clicked", "sent", "transaction", "failed", None]))
    number = draw(st.integers(0, 40))
    return open_of(
        draw(st.sampled_from([f"{number}", f"{number}", None])), draw(st.sampled_from(["7", "7", "8", None])),
        draw(st.sampled_from(["a", "b", "c", None])), draw(st.integers(0, 90)),
        person_id=draw(st.sampled_from(["p", "q", "r", None])), reported_type=kind,
        **draw(st.sampled_from([{}, {}, {"occurred_at": None}])),
    )  # fmt: skip


def counted_by_hand(rows: pl.DataFrame) -> dict[str | None, tuple[int, ...]]:
    """What the flags of each delivery sum to, by sets."""
    seen: dict[str | None, tuple[set[str], ...]] = {}
    for row in rows.iter_rows(named=True):
        opened, clicked, people = seen.setdefault(row["delivery_id"], (set(), set(), set()))
        if row["is_seed"] or row["event_type"] in schema.NO_HITS:
            continue
        opened.add(row["message_id"])
        if row["event_type"] == "clicked":
            clicked.add(row["message_id"])
            people.add(row["person_id"])
    return {key: tuple(len(values - {None}) for values in sets) for key, sets in seen.items()}


@settings(max_examples=150, deadline=None)
@given(st.lists(hit(), max_size=40), st.randoms(use_true_random=False))
def test_each_value_is_marked_once_in_its_delivery_whatever_the_order(rows: list[Row], chance: Any) -> None:
    rows = [{**row, "event_type": row["reported_type"], "source_row": place} for place, row in enumerate(rows)]
    seeds = {"is_seed": (pl.col("message_id") == "c") & (pl.col("delivery_id") == "8")}
    events = pl.DataFrame(rows, schema=schema.EVENT.schema).with_columns(**seeds)
    marked = with_marks(events)
    assert marked.drop(*schema.MARKS).equals(events.drop(*schema.MARKS))
    sums = marked.group_by("delivery_id").agg(pl.col(*schema.FIRSTS).sum())
    assert {row[0]: row[1:] for row in sums.iter_rows()} == counted_by_hand(events)
    shuffled = marked.sample(fraction=1, shuffle=True, seed=chance.randint(0, 99))
    assert with_marks(shuffled).equals(shuffled)


@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(hit(), min_size=1, max_size=30), st.randoms(use_true_random=False))
def test_flags_answer_as_counting_does_in_any_order_of_loads(
    tmp_path_factory: pytest.TempPathFactory, rows: list[Row], chance: Any
) -> None:
    folder = tmp_path_factory.mktemp("firsts")
    seed = message_of("c", "7", is_seed=True)
    parts: list[dict[str, list[Row]]] = [{"event": rows[::2]}, {"message": [seed]}, {"event": rows[1::2] + rows[:3]}]
    chance.shuffle(parts)
    for part in parts:
        if next(iter(part.values())):
            add(folder, **part)
    assert_alike(open_store(folder))


def click(event_id: str, message: str, person: str | None, minute: int, **more: Any) -> Row:
    """One click in delivery 7."""
    return open_of(event_id, "7", message, 60 * minute, person_id=person, reported_type="clicked", **more)


def flagged(folder: Path) -> set[str]:
    """The log ids of the hits that are the first click of their person."""
    return set(open_store(folder).scan("event").filter("is_first_click_of_person").collect()["event_id"])


def test_a_late_hit_takes_the_mark_and_only_its_delivery_is_written_again(tmp_path: Path) -> None:
    add(tmp_path, event=[click("2", "a", "p", 10), click("3", "b", "p", 20), open_of("4", "8", "z")])
    assert flagged(tmp_path) == {"2"}
    add(tmp_path, event=[click("1", "b", "p", 5)])
    assert flagged(tmp_path) == {"1"}
    measured = measure(open_store(tmp_path), DISTINCT[:3], delivery="7").row(0)
    assert measured == ("7", 2, 2, 1)


def test_a_message_that_turns_out_a_control_address_hands_the_mark_on(tmp_path: Path) -> None:
    add(tmp_path, event=[click("1", "a", "p", 1), click("2", "b", "p", 2)])
    add(tmp_path, message=[message_of("a", "7", is_seed=True)])
    assert flagged(tmp_path) == {"2"}
    assert_alike(open_store(tmp_path))


def test_who_is_forgotten_hands_the_mark_on(tmp_path: Path) -> None:
    messages = [message_of(one, "7", recipient_id=f"r{one}") for one in "ab"]
    add(tmp_path, event=[click("1", "a", "p", 1), click("2", "b", "p", 2)], message=messages)
    store = open_store(tmp_path)
    store.forget(recipient="ra")
    assert flagged(tmp_path) == {"2"}
    assert measure(store, DISTINCT[:3]).rows() == [("7", 1, 1, 1)]
    store.forget(before={"event": START + timedelta(minutes=1)})
    assert is_flagged(store)


def test_a_count_of_hits_that_name_nobody_is_unknown_by_flags_too(tmp_path: Path) -> None:
    rows = [{**click("1", "a", None, 1), "message_id": None}, open_of("2", "8", "b"), open_of("3", "9", "c")]
    add(tmp_path, event=[*rows, open_of("4", "9", None, reported_type="clicked", person_id=None)])
    assert measure(open_store(tmp_path), DISTINCT[:3]).rows() == [("7", None, None, None), ("8", 1, 0, 0),
                                                                 ("9", 1, None, None)]  # fmt: skip
    assert_alike(open_store(tmp_path))


def test_without_flags_and_under_filters_values_are_counted() -> None:
    assert not is_flagged(golden())
    flags = {flag: pl.lit(False) for flag in schema.FIRSTS}  # as wrong as can be: they must not be looked at
    wrong = Snapshot({**golden().frames, "event": golden().scan("event").with_columns(**flags)})
    for asked in ({"by": "domain"}, {"by": ["delivery_id", "day"]}, {"by": []}, {"where": "link_label <> 'none'"}):
        names = ["unique_opens", "unique_clicks", "unique_people_clicks"]
        assert measure(wrong, names, **asked).equals(measure(golden(), names, **asked))


def test_visits_tied_to_further_deliveries_carry_no_marks(tmp_path: Path) -> None:
    add(tmp_path, event=[open_of("1", "7", "a", reported_type="transaction")])
    store = open_store(tmp_path)
    assert not is_flagged(counted_tables(store, attribute_web(store).with_columns(is_counted=True)))


@pytest.mark.parametrize("rows", [1, 3, 20])
def test_parts_of_deliveries_give_what_the_whole_gives(monkeypatch: pytest.MonkeyPatch, rows: int) -> None:
    kinds, people = ["opened", "clicked", "clicked", "unsubscribed"], ["p", "q", None]
    told = [
        {"delivery_id": str(number * number % 7), "message_id": str(number % 5), "person_id": people[number % 3],
         "event_type": kinds[number % 4], "domain": f"d{number % 2}", "event_id": str(number)}
        for number in range(60)
    ]  # fmt: skip
    tables = Snapshot({"event": pl.LazyFrame([*told, {"event_id": "loose"}], schema=schema.EVENT.schema)})
    asked: list[dict[str, Any]] = [{}, {"by": ["domain", "delivery_id"]}, {"where": "domain = 'd1'"}, {"by": "domain"},
                                   {"delivery": ["0", "2"]}]  # fmt: skip
    whole = [measure(tables, DISTINCT, **one) for one in asked]
    monkeypatch.setattr(counting, "PART_ROWS", {False: rows, True: rows})
    assert [measure(tables, DISTINCT, **one).rows() for one in asked] == [frame.rows() for frame in whole]


_ROW = st.tuples(st.sampled_from(["7", "8", None]), st.integers(0, 3), st.integers(0, 2))


@settings(max_examples=200, deadline=None)
@given(st.lists(_ROW, max_size=12), st.booleans())
def test_rows_in_order_are_counted_without_holding_them_and_others_refused(rows: list[Any], is_sorted: bool) -> None:
    rows = sorted(rows, key=lambda row: (row[0] is not None, row[0] or "", row[1])) if is_sorted else rows
    columns = {"delivery_id": pl.String, "message_number": pl.Int32, "person_number": pl.Int32}
    asked = {"people": Distinct("person_id", ALWAYS), "messages": Distinct("message_id", ALWAYS)}
    found = in_order(pl.LazyFrame(rows, schema=columns, orient="row"), asked)
    deliveries = [delivery for delivery, _ in itertools.groupby(row[0] for row in rows)]
    falls = any(one[0] == two[0] and one[1] > two[1] for one, two in itertools.pairwise(rows))
    is_apart = any(deliveries.count(delivery) > 1 for delivery in {"7", "8"})  # without one, figures are of none
    if found is None:
        assert falls or len(deliveries) > len(set(deliveries))
        return
    assert not falls and not is_apart
    for place, name in ((1, "messages"), (2, "people")):
        told = {one: {row[place] for row in rows if row[0] == one and row[place]} for one in deliveries if one}
        counted = {row["delivery_id"]: row[name] for row in found.iter_rows(named=True) if row["delivery_id"]}
        assert counted == {one: len(numbers) or UNKNOWN for one, numbers in told.items()}


@pytest.mark.parametrize("seed", range(3))
def test_counts_under_a_filter_do_not_hang_on_the_order_of_rows(seed: int) -> None:
    for asked in ({"where": "device = 'PC'"}, {"by": ["delivery_id", "link_label"]}, {"by": []}, {"by": "domain"}):
        shuffled = golden().frames | {
            "event": golden().scan("event").collect().sample(fraction=1, shuffle=True, seed=seed).lazy()
        }
        assert measure(Snapshot(shuffled), DISTINCT, **asked).equals(measure(golden(), DISTINCT, **asked))


WHERES = [None, "device = 'PC'", "link_label is not null", "domain <> 'x' and hour is not null"]
GROUPS = ["delivery_id", [], "domain", ["delivery_id", "link_label"], "day"]


@pytest.mark.parametrize("where", WHERES)
def test_rows_held_in_memory_give_what_passes_over_the_files_give(
    demo_store: Path, monkeypatch: pytest.MonkeyPatch, where: str | None
) -> None:
    store = open_store(demo_store)
    ids = store.scan("event").select(pl.col("delivery_id").drop_nulls().unique().sort()).collect().to_series().to_list()
    asked = [{"by": by, "delivery": delivery} for by in GROUPS for delivery in (None, ids[0], ids[:3])]
    held = [measure(store, where=where, **one) for one in asked]
    for most in (3, 200, 2_000):
        monkeypatch.setattr(selection, "HELD", most)
        for one, frame in zip(asked, held, strict=True):
            assert_frame_equal(measure(store, where=where, **one), frame)


@pytest.mark.parametrize("numbers", [{}, {"message_number": [1, 2, 3, 4, 5], "person_number": [1, 1, 1, 1, 1]}])
def test_rows_that_do_not_count_are_looked_for_where_cells_tell_of_some(numbers: dict[str, list[int]]) -> None:
    found = [
        open_of("1", "7", "a", event_type="clicked"),
        open_of("2", "7", "b", event_type="clicked", is_seed=True),
        open_of("3", "7", "c", event_type="opened"),
        open_of("4", "7", "d", event_type="bounced"),
        open_of("5", "7", "e", event_type=None, reported_type=None),
    ]
    events = pl.DataFrame(found, schema=schema.EVENT.schema).with_columns(
        pl.Series(name, values, dtype=schema.EVENT.schema[name]) for name, values in numbers.items()
    )
    for asked, opens, clicks in ("123", 2, 1), ("45", 1, None), ("12345", 3, None), ("34", 1, 0), ("13", 2, 1):
        tables = Snapshot({"event": events.filter(pl.col("event_id").is_in(list(asked))).lazy()})
        measured = measure(tables, DISTINCT[:2], where="domain is null")
        assert measured.select(DISTINCT[:2]).rows() == [(opens, clicks)], asked
