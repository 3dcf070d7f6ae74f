"""Rewrite the deliveries that a load touches: find, read, settle and write them back, a chunk at a time.

A delivery is touched by its new events and messages, and by changed rows that its rows refer to. Touched deliveries are
settled with the new rows; buckets without any change are not written again.

First, events without delivery get that of their copy or of their message, unless several deliveries have that log id or
message id. Such an assignment stands, whatever is loaded later.
"""

import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from trackkit import schema
from trackkit.store.dedupe import FILE, IS_NEW
from trackkit.store.implied import VERDICTS
from trackkit.store.lake import StoredTables
from trackkit.store.layout import (
    BUCKET,
    BY_DELIVERY,
    EVENTS,
    FILLED,
    NO_DELIVERY,
    as_texts,
    bucket_of,
    cut_fences,
    in_order,
    plan,
)
from trackkit.store.partition import NUMBER, Partitions, partitioned
from trackkit.store.reconcile import Pieces, Settled, Settling, Unsettled

Progress = Callable[[int, int, str], object]  # steps done, of how many, label of the next
# By dimension: its key, and the tables whose rows have values of it and change with it.
REFERENCES: dict[str, tuple[str, Sequence[str]]] = {
    "delivery": ("delivery_id", ["message"]),
    "link": ("link_id", EVENTS),
    "recipient": ("recipient_id", BY_DELIVERY),
    "failure": ("failure_id", ["message"]),
    "user_agent": ("user_agent", EVENTS),
    "web_event": ("event_id", EVENTS),
}


def key_columns(table: str) -> list[str]:
    """Return the columns that say which rows a changed row touches."""
    referenced = [REFERENCES[table][0]] if table in REFERENCES else []
    delivery = ["delivery_id"] if "delivery_id" in schema.TABLES[table].schema else []
    return list(dict.fromkeys([*referenced, *delivery])) or list(schema.TABLES[table].key)


@dataclass
class Outcome:
    """The fences after a rewrite, the deliveries that changed, and counts of new rows by file."""

    fences: pl.DataFrame
    changed: list[pl.Series] = field(default_factory=list)
    kept: dict[str, Counter[int]] = field(default_factory=lambda: {name: Counter() for name in BY_DELIVERY})
    event_types: Counter[str] = field(default_factory=Counter)
    unreported: Counter[str] = field(default_factory=Counter)  # by format, deliveries without any "delivered"

    def count(self, settled: Settled) -> None:
        """Count the new rows among settled ones."""
        self.kept["message"].update(settled.kept)
        self.kept["event"].update(_count(settled.event, FILE))
        self.kept["collapsed"].update(_count(settled.collapsed, FILE))
        self.event_types.update(_count(settled.event, "event_type"))


@dataclass
class Rewrite:
    """The rewrite of the tables in buckets by one load."""

    before: StoredTables
    now: StoredTables  # with the dimensions after the load
    new: dict[str, list[pl.LazyFrame]]  # new rows of `event` and `message` in parts: sourced columns and `file`
    staging: Path
    senders: Mapping[str, bool] = field(default_factory=dict)  # see `silent_on_deliveries`
    again: pl.DataFrame | None = None  # deliveries to settle though nothing of them is new
    settling: Settling = field(init=False)
    arriving: dict[str, Partitions] = field(init=False)  # the new rows by chunk
    had_unassigned: bool = False

    def __post_init__(self) -> None:
        self.settling = Settling(self.now, senders=self.senders)

    def run(self, changed: Mapping[str, pl.DataFrame], fences: pl.DataFrame, progress: Progress) -> Outcome:
        """Rewrite what new rows and changed dimension rows touch, without committing."""
        self.new["event"], self.had_unassigned = attached(self.new, self.before, self.staging)
        new_sizes = self._new_sizes()
        touched = self._touched(changed, new_sizes)
        is_touched = pl.col("delivery_id").is_in(touched.implode(), nulls_equal=True) | (pl.col("pieces") > 1)
        planned = plan(self._sizes(touched, new_sizes, fences), fences).with_columns(is_touched=is_touched)
        outcome = Outcome(cut_fences(planned, fences))
        chunks = planned["chunk"].n_unique()
        self.arriving = {name: self._by_chunk(name, planned, chunks) for name in ("event", "message")}
        for chunk, deliveries in enumerate(planned.partition_by("chunk")):
            progress(chunk, chunks, "Settling")
            self._rewrite(chunk, deliveries, outcome)
        return outcome

    def _new_sizes(self) -> pl.DataFrame:
        """The number of new rows by delivery."""
        sizes = [
            part.group_by("delivery_id").agg(rows=pl.len().cast(pl.Int64)).collect(engine="streaming")
            for parts in self.new.values()
            for part in parts
        ]
        return pl.concat(sizes).group_by("delivery_id").agg(pl.col("rows").sum())

    def _touched(self, changed: Mapping[str, pl.DataFrame], new_sizes: pl.DataFrame) -> pl.Series:
        frames = [new_sizes.lazy().select("delivery_id")]
        frames += [] if self.again is None else [self.again.lazy()]
        if self.had_unassigned:  # assigned rows leave the bucket without delivery
            frames.append(pl.LazyFrame({"delivery_id": [None]}, schema={"delivery_id": pl.String}))
        for table, rows in changed.items():
            if table not in REFERENCES:
                continue
            key, users = REFERENCES[table]
            keys = rows.lazy().select(key)
            if table == "web_event":  # mostly the hit is in the same load
                keys = keys.join(pl.concat(self.new["event"]), on=key, how="anti")
            frames += [self.before.scan(user).join(keys, on=key, how="semi").select("delivery_id") for user in users]
        return pl.concat(frames).unique().collect().to_series()

    def _sizes(self, touched: pl.Series, new_sizes: pl.DataFrame, fences: pl.DataFrame) -> pl.DataFrame:
        """By delivery of the touched buckets, the number of stored and new rows, copies included."""
        buckets = bucket_of(touched, fences).unique().to_list()
        tables = [self.before.scan(name, buckets) for name in BY_DELIVERY]
        stored_sizes = pl.concat([frame.select("delivery_id", rows=pl.lit(1, pl.Int64)) for frame in tables])
        rows = pl.concat([stored_sizes.group_by("delivery_id").agg(pl.col("rows").sum()), new_sizes.lazy()])
        return rows.group_by("delivery_id").agg(pl.col("rows").sum()).collect()

    def _by_chunk(self, name: str, planned: pl.DataFrame, chunks: int) -> Partitions:
        """Partition the new rows of a table by chunk, in one pass."""
        parts = self.new.get(name) or [pl.LazyFrame(schema=as_texts(schema.TABLES[name].sourced) | {FILE: pl.Int32()})]
        if chunks > 1:
            chunk = planned.lazy().select("delivery_id", pl.col("chunk").alias(NUMBER))
            parts = [rows.join(chunk, on="delivery_id", how="inner", nulls_equal=True) for rows in parts]
        return partitioned(parts, max(chunks, 1), self.staging / f"by_chunk_{name}")

    def _rewrite(self, chunk: int, deliveries: pl.DataFrame, outcome: Outcome) -> None:
        """Settle the touched deliveries of a chunk, and replace their buckets."""
        touched = deliveries.lazy().filter("is_touched").select("delivery_id")
        stored = {name: _of(touched, self.before.scan(name, _list(deliveries, BUCKET))) for name in BY_DELIVERY}
        rows = Unsettled(self._all_events(chunk, stored), stored["message"], self.arriving["message"].rows(chunk))
        self.settling.find_silent(rows.events)
        outcome.unreported.update(self.settling.unreported())
        columns = {name: part.collect_schema().names() for name, part in stored.items()}
        folder = self.staging / f"chunk_{chunk}"  # made only for several pieces of one delivery
        pieces = Pieces(self.settling, columns, folder, outcome.count)
        pieces.settle(rows, deliveries["pieces"].item(0), int(deliveries["rows"].sum()))
        has_messages = any(part.select(pl.len()).collect().item() for part in pieces.rows["message"])
        for name in self._written(has_messages):
            differing = _differing(_sums([stored[name]]), _sums(part.lazy() for part in pieces.parts(name)))
            outcome.changed.append(differing)
            self._write(name, pieces.parts(name), deliveries, differing)
            del pieces.rows[name]
        shutil.rmtree(folder, ignore_errors=True)

    def _written(self, has_messages: bool) -> list[str]:
        """The tables to write; `message` is created if events imply some."""
        if has_messages and not self.now.has("message"):
            self.now.versions["message"] = self.now.lake.create("message")
        return [name for name in BY_DELIVERY if self.now.has(name)]

    def _all_events(self, chunk: int, stored: dict[str, pl.LazyFrame]) -> pl.LazyFrame:
        events = pl.concat([stored[name] for name in EVENTS])
        if self.had_unassigned:  # the new rows include them
            events = events.filter(pl.col("delivery_id").is_not_null())
        return pl.concat([_sourced(events), self.arriving["event"].rows(chunk)], how="diagonal")

    def _write(self, name: str, parts: Iterable[pl.DataFrame], deliveries: pl.DataFrame, differing: pl.Series) -> None:
        """Replace the buckets that are split or have a differing delivery; the others keep their files."""
        is_written = pl.col("is_cut") | pl.col("delivery_id").is_in(differing.implode(), nulls_equal=True)
        written = deliveries.filter(is_written.any().over("bucket_after"))
        if written.is_empty():
            return
        others = written.lazy().filter(~pl.col("is_touched")).select("delivery_id")
        untouched = _of(others, self.before.scan(name, _list(written, BUCKET))).collect()
        parts = [pl.concat([*parts, untouched])] if untouched.height else parts
        placed = (_in_buckets(name, rows, written) for rows in parts)
        self.now.lake.replace(name, placed, _list(written, "bucket_after"))


def _in_buckets(name: str, rows: pl.DataFrame, written: pl.DataFrame) -> pl.DataFrame:
    """The rows of the written deliveries with their bucket, in order (joins keep it, but do not promise to)."""
    rows = rows if rows["delivery_id"].is_sorted() else in_order(name, rows)
    bucket = pl.col("delivery_id").replace_strict(written["delivery_id"], written["bucket_after"], default=None)
    rows = rows.with_columns(bucket.alias(BUCKET))
    return rows.filter(pl.col(BUCKET).is_not_null()) if rows[BUCKET].null_count() else rows


def _list(rows: pl.DataFrame, column: str) -> list[int]:
    return rows[column].unique().to_list()


def _of(deliveries: pl.LazyFrame, rows: pl.LazyFrame) -> pl.LazyFrame:
    return rows.join(deliveries, on="delivery_id", how="semi", nulls_equal=True)


def _sourced(events: pl.LazyFrame) -> pl.LazyFrame:
    """Stored events with the columns of new ones."""
    return events.select(*schema.EVENT.sourced, FILLED, pl.lit(False).alias(IS_NEW))


def _count(rows: pl.DataFrame, column: str) -> dict[Any, int]:
    """The number of new rows by value of a column."""
    return dict(rows.select(column, IS_NEW).filter(IS_NEW).group_by(column).len().iter_rows())


def _sums(parts: Iterable[pl.LazyFrame]) -> pl.DataFrame:
    """A checksum of the rows of each delivery, in any order, and their number."""
    sums_by_part = []
    for rows in parts:
        columns = rows.collect_schema().names()
        checksum = pl.sum_horizontal(pl.col(name).hash(place) for place, name in enumerate(columns))
        sums = rows.select("delivery_id", sum=checksum, rows=pl.lit(1, pl.UInt32)).group_by("delivery_id")
        sums_by_part.append(sums.agg(pl.all().sum()).collect(engine="streaming"))
    return pl.concat(sums_by_part).group_by("delivery_id").agg(pl.all().sum())


def _differing(before: pl.DataFrame, after: pl.DataFrame) -> pl.Series:
    """The deliveries whose rows changed."""
    joined = before.join(after, on="delivery_id", how="full", coalesce=True, nulls_equal=True)
    is_changed = [pl.col(name).ne_missing(pl.col(f"{name}_right")) for name in ("sum", "rows")]
    return joined.filter(pl.any_horizontal(is_changed))["delivery_id"]


def attached(
    new: Mapping[str, Sequence[pl.LazyFrame]], before: StoredTables, staging: Path
) -> tuple[list[pl.LazyFrame], bool]:
    """Assign deliveries to new and stored events without one; return them with all other new events, and if any."""
    new_events = pl.concat(new["event"])
    stored = _sourced(pl.concat(before.scan(name, [NO_DELIVERY]) for name in EVENTS))
    rows = pl.concat([new_events.filter(pl.col("delivery_id").is_null()), stored], how="diagonal").collect()
    if rows.is_empty():
        return list(new["event"]), False
    has_new = rows[IS_NEW].any()
    implying = new_events.filter(pl.col("reported_type").is_in(list(VERDICTS)))
    for key, tables, events in (("event_id", EVENTS, new_events), ("message_id", ["message"], implying)):
        # Stored rows were looked up when they were loaded: for them only new rows can add a delivery.
        keys = rows.filter(pl.col("delivery_id").is_null()).select(key).drop_nulls().unique()
        frames = [events, *(part for name in tables if name != "event" for part in new.get(name, []))]
        deliveries = _deliveries(keys, frames)
        if has_new or not deliveries.is_empty():
            deliveries = pl.concat([deliveries, _deliveries(keys, [before.scan(name) for name in tables])])
        if key == "message_id":  # a delivery without a log of messages has messages too: its hits name them
            hits = [new_events, *(before.scan(name) for name in EVENTS)]
            deliveries = pl.concat([deliveries, _deliveries(deliveries.select(key).unique(), hits)])
        rows = _assigned(rows, key, deliveries)
    # Copies of rows that were assigned by their message just now.
    rows = _assigned(rows, "event_id", _deliveries(rows.select("event_id").drop_nulls().unique(), [rows.lazy()]))
    file = staging / "unassigned.parquet"
    rows.write_parquet(file, compression="lz4")
    others = [part.filter(pl.col("delivery_id").is_not_null()) for part in new["event"]]
    return [*others, pl.scan_parquet(file, glob=False)], True


def _deliveries(keys: pl.DataFrame, frames: list[pl.LazyFrame]) -> pl.DataFrame:
    """The deliveries of the rows with one of the keys: (key, found)."""
    (key,) = keys.columns
    if keys.is_empty():  # as for web pages that no message led to: nothing is read
        return pl.DataFrame(schema={key: pl.String, "found": pl.String})
    matches = pl.concat(frame.select(key, found="delivery_id") for frame in frames).drop_nulls("found")
    return matches.join(keys.lazy(), on=key, how="semi").unique().collect()


def _assigned(rows: pl.DataFrame, key: str, deliveries: pl.DataFrame) -> pl.DataFrame:
    """Fill `delivery_id` where only one delivery has the key."""
    by_key = deliveries.group_by(key).agg(pl.col("found").min(), is_ambiguous=pl.col("found").n_unique() > 1)
    assigned = rows.join(by_key.filter(~pl.col("is_ambiguous")).drop("is_ambiguous"), on=key, how="left")
    return assigned.with_columns(delivery_id=pl.coalesce("delivery_id", "found")).drop("found")
