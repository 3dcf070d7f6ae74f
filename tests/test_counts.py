"""What files tell of their events is what their rows come to; where they tell nothing the rows are counted."""

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tests.test_store import add, message_of, open_of
from trackkit import schema
from trackkit.demo import write_demo
from trackkit.engine.measure import measure
from trackkit.engine.snapshot import Counted, Snapshot
from trackkit.store import Store, datafile, layout, open_store


def told(store: Store) -> Counted:
    """What the files of a store tell."""
    found = store.counted()
    assert found is not None
    return found


def by_rows(store: Store) -> pl.DataFrame:
    """All metrics, counted from the rows."""
    return measure(Snapshot(store.snapshot().frames))


def without_counts(path: Path) -> None:
    """Take out of a file what it tells, as of another writer; it stays of the size that the log tells."""
    content, name = path.read_bytes(), datafile.COUNTS.encode()
    assert content.count(name) == 1
    path.write_bytes(content.replace(name, b"-" * len(name)))
    assert datafile.COUNTS not in pl.read_parquet_metadata(path)


def test_files_tell_every_event_and_the_figures_are_those_of_the_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(layout, "BUCKET_ROWS", 300)
    monkeypatch.setattr(layout, "CHUNK_ROWS", 300)
    write_demo(tmp_path / "raw", deliveries=4, recipients=60)
    store = open_store(tmp_path / "store")
    store.ingest(tmp_path / "raw")
    events = store.scan("event").collect()
    rest = told(store).uncounted.collect()
    counted = told(store).counts.select(pl.col("rows", *schema.FIRSTS).sum()).row(0)
    assert counted == (events.height, *(events[flag].sum() for flag in schema.FIRSTS))
    assert rest.is_empty() and measure(store).equals(by_rows(store))
    assert measure(store)["transaction_amount"].sum() > 0 and not measure(store)["refused_visits"].null_count()
    path = max((tmp_path / "store" / "event").glob("*/*.parquet"), key=lambda one: one.stat().st_size)
    height = pl.read_parquet(path, hive_partitioning=False).height
    before = measure(store)
    without_counts(path)
    assert told(open_store(tmp_path / "store")).uncounted.collect().height == height
    assert measure(open_store(tmp_path / "store")).equals(before)


def test_figures_of_all_deliveries_are_answered_without_reading_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(tmp_path, event=[open_of("1", "7", "a"), open_of("2", "7", "a", 90), open_of("3", "8", "b")],
        message=[message_of("a", "7"), message_of("b", "8")])  # fmt: skip
    expected = measure(open_store(tmp_path), ["unique_opens", "total_opens"])
    assert expected.rows() == [("7", 1, 2), ("8", 1, 1)]
    store = open_store(tmp_path)
    stored = Store.stored
    monkeypatch.setattr(Store, "stored", lambda *asked: stored(*asked) if asked[1] != "event" else pytest.fail("rows"))
    assert measure(store, ["unique_opens", "total_opens"], by="delivery_id").rows() == expected.rows()


def test_a_late_hit_changes_what_its_file_tells(tmp_path: Path) -> None:
    add(tmp_path, event=[open_of("1", "7", "a", 600, reported_type="clicked")])
    add(tmp_path, event=[open_of("2", "7", "a", 0, reported_type="clicked")])
    found = told(open_store(tmp_path)).counts.select("delivery_id", "event_type", "rows", "is_first_click").rows()
    assert found == [("7", "clicked", 2, 1)]


@pytest.mark.parametrize(
    "rows",
    [
        [open_of(str(number), str(number), "a") for number in range(6)],
        [open_of("1", "7", "a", reported_type="transaction") | {"amount": 1e35}],
        [open_of("1", "7", "a", reported_type="transaction") | {"amount": float("nan")}],
    ],
    ids=["too many", "too large", "no number"],
)
def test_a_file_without_short_exact_counts_tells_none(rows: list[dict[str, Any]], monkeypatch: Any) -> None:
    monkeypatch.setattr(datafile, "MOST_COUNTS", 5)
    marks = dict.fromkeys(schema.FIRSTS, False) | dict.fromkeys(schema.NUMBERS.values(), 1)
    events = pl.DataFrame([row | marks for row in rows], schema=schema.EVENT.schema)
    assert datafile.file_counts(events) == {}
    kept = datafile.file_counts(events.head(5).with_columns(amount=pl.lit(0.1)))
    assert list(kept) == [datafile.COUNTS]
