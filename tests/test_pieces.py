"""A delivery that is cut by message is stored as one that is settled at once, row by row and mark by mark."""

import random
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.test_flags import hit
from tests.test_store import add, assert_same, contents, files, message_of, open_of
from trackkit.store import dedupe, layout, open_store, reconcile
from trackkit.store.reconcile import Unsettled

Row = dict[str, Any]


def cut_small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut all but the smallest deliveries, into pieces of a few rows."""
    monkeypatch.setattr(layout, "LARGE_ROWS", 2)
    monkeypatch.setattr(layout, "PIECE_ROWS", 3)
    monkeypatch.setattr(reconcile, "SAMPLE", 1)
    monkeypatch.setattr(reconcile, "IDS_AT_ONCE", 4)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from([1, 3, 7, 12, 25, 60]), min_size=1, max_size=40))
def test_reconcile_are_settled_alone_and_others_a_few_at_a_time(rows: list[int]) -> None:
    with pytest.MonkeyPatch.context() as patched:
        for name, size in (("BUCKET_ROWS", 10), ("CHUNK_ROWS", 10), ("LARGE_ROWS", 20)):
            patched.setattr(layout, name, size)
        sizes = pl.DataFrame({"delivery_id": [f"{number:02}" for number in range(len(rows))], "rows": rows})
        planned = layout.plan(sizes.cast({"rows": pl.Int64}), layout.first_fences())
    for (_,), chunk in planned.group_by("chunk"):
        assert chunk.height == 1 or (chunk["rows"].max() <= 20 and chunk["rows"].sum() < 3 * 10 + 20)
    pairs = planned.select(pl.struct("bucket_after", "chunk").n_unique()).item()
    assert planned["chunk"].is_sorted() and pairs == planned["bucket_after"].n_unique()


@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(hit(), min_size=4, max_size=40), st.randoms(use_true_random=False))
def test_pieces_come_to_what_the_whole_comes_to(
    tmp_path_factory: pytest.TempPathFactory, rows: list[Row], chance: random.Random
) -> None:
    folder = tmp_path_factory.mktemp("pieces")
    messages = [message_of(name, "7") for name in "abcx"]
    parts = [{"event": rows[:3]}, {"event": rows[3:], "message": messages}, {"event": chance.sample(rows, 4)}]
    for number, part in enumerate(parts):
        add(folder / "whole", **part)
        with pytest.MonkeyPatch.context() as patched:
            if number != 1 or chance.random() < 0.7:
                cut_small(patched)
            add(folder / "cut", **part)
    assert_same(contents(open_store(folder / "cut")), contents(open_store(folder / "whole")))


def test_a_large_delivery_lies_in_files_of_its_own_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small = [open_of(f"{name}{number}", name, f"{name}{number}") for name in ("6", "8") for number in range(2)]
    add(tmp_path, event=[*small, *(open_of(f"s{number}", "7", f"m{number}") for number in range(2))])
    cut_small(monkeypatch)
    large = [open_of(f"l{number}", "7", f"m{number * 7 % 20:02}", number) for number in range(20)]
    add(tmp_path, event=[*large, open_of("n", "7", None)])
    assert sorted(files(tmp_path, "event")) == ["6", "7", "8"]
    assert len(list((tmp_path / "event").glob("bucket=2/*.parquet"))) > 5
    stored = open_store(tmp_path).scan("event").filter(pl.col("delivery_id") == "7").collect()
    assert stored["message_id"].equals(stored["message_id"].sort()) and stored.height == 23


def test_copies_that_name_different_messages_and_all_of_these_are_settled_together() -> None:
    told = [("1", "a"), ("1", "b"), ("2", "b"), ("2", None), ("3", "c"), ("3", "c"), ("4", None), (None, None)]
    events = pl.DataFrame(told, schema={"event_id": pl.String, "message_id": pl.String}, orient="row")
    none = events.select("message_id").clear().lazy()
    cut = reconcile.cut_of(Unsettled(events.lazy(), none, none), 2, events.height)
    apart = cut.apart(events).to_series(-1).to_list()
    assert [one == -1 for one in apart] == [True, True, True, True, False, False, False, False]
    assert cut.apart(pl.DataFrame({"message_id": ["a", "c"]})).to_series(-1).to_list() == [-1, apart[4]]


def test_tables_put_together_in_portions_come_to_what_the_whole_comes_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    links = [{"link_id": str(n % 7), "label": f"label {n}" if n % 3 else None, "url": f"u{n % 2}"} for n in range(40)]
    hits = [open_of(str(n), "7", f"m{n}", link_id=str(n % 9)) for n in range(9)]
    parts: list[dict[str, list[Row]]] = [{"link": links[:15], "event": hits}, {"link": links[15:]}]
    told = []
    for rows in (1_000_000, 4):
        monkeypatch.setattr(dedupe, "PORTION_ROWS", rows)
        told.append([add(tmp_path / str(rows), **part).sources[0].kept for part in parts])
    assert_same(contents(open_store(tmp_path / "4")), contents(open_store(tmp_path / "1000000")))
    labels = {str(key): max(n for n in range(40) if n % 7 == key and n % 3) for key in range(7)}
    stored = open_store(tmp_path / "4").scan("link").select("link_id", "label").collect()
    assert dict(stored.rows()) == {key: f"label {n}" for key, n in labels.items()} and told[0] == told[1]
