"""The deliveries that a load touches: found, read, settled, and put back whole, a bounded number at a time.

A delivery is touched by its new events and messages, and by changed rows that its rows refer to. The buckets that hold
a touched delivery are settled with the new rows; those that come out equal are not written again.

Events that name no delivery find theirs first: that of their copy with a delivery, or of their message. Where two
deliveries have that log id, or a message of that id, nothing tells which is meant: they stay without one. What is found
by the rows known so far holds, whatever comes later.
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

Progress = Callable[[int, int, str], object]  # steps done, of how many, and what the next one is about
# Which rows are stored with something of a dimension: they change when it does.
REFERENCES: dict[str, tuple[str, Sequence[str]]] = {
    "delivery": ("delivery_id", ["message"]),
    "link": ("link_id", EVENTS),
    "recipient": ("recipient_id", BY_DELIVERY),
    "failure": ("failure_id", ["message"]),
    "user_agent": ("user_agent", EVENTS),
    "web_event": ("event_id", EVENTS),
}


def key_columns(table: str) -> list[str]:
    """Return the columns of a changed row that say what it touches."""
    referenced = [REFERENCES[table][0]] if table in REFERENCES else []
    own = ["delivery_id"] if "delivery_id" in schema.TABLES[table].schema else []
    return list(dict.fromkeys([*referenced, *own])) or list(schema.TABLES[table].key)


@dataclass
class Outcome:
    """What was rewritten: the fences after it, the deliveries that changed, and the rows that count, by file."""

    fences: pl.DataFrame
    changed: list[pl.Series] = field(default_factory=list)
    kept: dict[str, Counter[int]] = field(default_factory=lambda: {name: Counter() for name in BY_DELIVERY})
    event_types: Counter[str] = field(default_factory=Counter)
    untold: Counter[str] = field(default_factory=Counter)  # by format, the deliveries of which no delivery is told

    def count(self, settled: Settled) -> None:
        """Count what is new among rows that were settled."""
        self.kept["message"].update(settled.kept)
        self.kept["event"].update(_count(settled.event, FILE))
        self.kept["collapsed"].update(_count(settled.collapsed, FILE))
        self.event_types.update(_count(settled.event, "event_type"))


@dataclass
class Rewrite:
    """One load's work on the tables that are cut by delivery.

    `before` is the store before the load, `now` has its dimensions after the load; `new` are the new rows of `event`
    and `message`, sourced columns and `file`, in parts that are gone through one after the other. `senders` are the
    formats of feeds, and whether their maps say that deliveries may be untold.
    """

    before: StoredTables
    now: StoredTables
    new: dict[str, list[pl.LazyFrame]]
    staging: Path
    senders: Mapping[str, bool] = field(default_factory=dict)
    settling: Settling = field(init=False)
    arriving: dict[str, Partitions] = field(init=False)  # the new rows by chunk
    had_unassigned: bool = False

    def __post_init__(self) -> None:
        self.settling = Settling(self.now, senders=self.senders)

    def run(self, changed: Mapping[str, pl.DataFrame], fences: pl.DataFrame, progress: Progress) -> Outcome:
        """Rewrite what new rows and changed dimension rows touch; nothing is committed yet."""
        self.new["event"], self.had_unassigned = attached(self.new, self.before, self.staging)
        brought = self._new_sizes()
        touched = self._touched(changed, brought)
        is_touched = pl.col("delivery_id").is_in(touched.implode(), nulls_equal=True) | (pl.col("pieces") > 1)
        planned = plan(self._sizes(touched, brought, fences), fences).with_columns(is_touched=is_touched)
        outcome = Outcome(cut_fences(planned, fences))
        chunks = planned["chunk"].n_unique()
        self.arriving = {name: self._by_chunk(name, planned, chunks) for name in ("event", "message")}
        for chunk, deliveries in enumerate(planned.partition_by("chunk")):
            progress(chunk, chunks, "Settling")
            self._rewrite(chunk, deliveries, outcome)
        return outcome

    def _new_sizes(self) -> pl.DataFrame:
        """How many new rows there are of each delivery."""
        rows = pl.len().cast(pl.Int64)
        counted = [
            part.group_by("delivery_id").agg(rows=rows).collect(engine="streaming")
            for parts in self.new.values()
            for part in parts
        ]
        return pl.concat(counted).group_by("delivery_id").agg(pl.col("rows").sum())

    def _touched(self, changed: Mapping[str, pl.DataFrame], brought: pl.DataFrame) -> pl.Series:
        frames = [brought.lazy().select("delivery_id")]
        if self.had_unassigned:  # what found its delivery leaves those without one
            frames.append(pl.LazyFrame({"delivery_id": [None]}, schema={"delivery_id": pl.String}))
        for table, rows in changed.items():
            if table not in REFERENCES:
                continue
            key, users = REFERENCES[table]
            keys = rows.lazy().select(key)
            if table == "web_event":  # the hit itself is mostly in the same load
                keys = keys.join(pl.concat(self.new["event"]), on=key, how="anti")
            frames += [self.before.scan(user).join(keys, on=key, how="semi").select("delivery_id") for user in users]
        return pl.concat(frames).unique().collect().to_series()

    def _sizes(self, touched: pl.Series, brought: pl.DataFrame, fences: pl.DataFrame) -> pl.DataFrame:
        """Rows of every delivery in the buckets that hold a touched one, as many as there may be after the load."""
        buckets = bucket_of(touched, fences).unique().to_list()
        tables = [self.before.scan(name, buckets) for name in BY_DELIVERY]
        stored_sizes = pl.concat([frame.select("delivery_id", rows=pl.lit(1, pl.Int64)) for frame in tables])
        rows = pl.concat([stored_sizes.group_by("delivery_id").agg(pl.col("rows").sum()), brought.lazy()])
        return rows.group_by("delivery_id").agg(pl.col("rows").sum()).collect()

    def _by_chunk(self, name: str, planned: pl.DataFrame, chunks: int) -> Partitions:
        """Lay the new rows of a table out by chunk, in one pass over them, so that each is read once."""
        parts = self.new.get(name) or [pl.LazyFrame(schema=as_texts(schema.TABLES[name].sourced) | {FILE: pl.Int32()})]
        if chunks > 1:
            chunk = planned.lazy().select("delivery_id", pl.col("chunk").alias(NUMBER))
            parts = [rows.join(chunk, on="delivery_id", how="inner", nulls_equal=True) for rows in parts]
        return partitioned(parts, max(chunks, 1), self.staging / f"by_chunk_{name}")

    def _rewrite(self, chunk: int, deliveries: pl.DataFrame, outcome: Outcome) -> None:
        """Settle the touched deliveries of a chunk, and put them in the place of their buckets."""
        touched = deliveries.lazy().filter("is_touched").select("delivery_id")
        stored = {name: _of(touched, self.before.scan(name, _list(deliveries, BUCKET))) for name in BY_DELIVERY}
        rows = Unsettled(self._all_events(chunk, stored), stored["message"], self.arriving["message"].rows(chunk))
        self.settling.find_silent(rows.events)
        outcome.untold.update(self.settling.untold())
        columns = {name: part.collect_schema().names() for name, part in stored.items()}
        folder = self.staging / f"chunk_{chunk}"  # it is there if there are several pieces, all of one delivery
        pieces = Pieces(self.settling, columns, folder, outcome.count)
        pieces.settle(rows, deliveries["pieces"].item(0), int(deliveries["rows"].sum()))
        for name in self._written(pieces.has_rows("message")):
            differ = _differing(_sums([stored[name]]), _sums(part.lazy() for part in pieces.parts(name)))
            outcome.changed.append(differ)
            self._write(name, pieces.parts(name), deliveries, differ)
            del pieces.rows[name]
        shutil.rmtree(folder, ignore_errors=True)

    def _written(self, has_messages: bool) -> list[str]:
        """The tables that are written; that of messages is created where events mention some."""
        if has_messages and not self.now.has("message"):
            self.now.versions["message"] = self.now.lake.create("message")
        return [name for name in BY_DELIVERY if self.now.has(name)]

    def _all_events(self, chunk: int, stored: dict[str, pl.LazyFrame]) -> pl.LazyFrame:
        old = pl.concat([stored[name] for name in EVENTS])
        if self.had_unassigned:  # they come with the new rows, whether they found a delivery or not
            old = old.filter(pl.col("delivery_id").is_not_null())
        return pl.concat([_sourced(old), self.arriving["event"].rows(chunk)], how="diagonal")

    def _write(self, name: str, parts: Iterable[pl.DataFrame], deliveries: pl.DataFrame, differ: pl.Series) -> None:
        """Replace the buckets with a delivery that differs, and those that are cut; the others keep their files."""
        is_written = pl.col("is_cut") | pl.col("delivery_id").is_in(differ.implode(), nulls_equal=True)
        written = deliveries.filter(is_written.any().over("bucket_after"))
        if written.is_empty():
            return
        others = written.lazy().filter(~pl.col("is_touched")).select("delivery_id")
        untouched = _of(others, self.before.scan(name, _list(written, BUCKET))).collect()
        parts = [pl.concat([*parts, untouched])] if untouched.height else parts
        placed = (_in_buckets(name, rows, written) for rows in parts)
        self.now.lake.replace(name, placed, _list(written, "bucket_after"))


def _in_buckets(name: str, rows: pl.DataFrame, written: pl.DataFrame) -> pl.DataFrame:
    """The rows of the deliveries that are written, in order and with their bucket.

    In: rows in order, as joins leave them (checked, since polars promises none), or to be put in it.
    """
    rows = rows if rows["delivery_id"].is_sorted() else in_order(name, rows)
    bucket = pl.col("delivery_id").replace_strict(written["delivery_id"], written["bucket_after"], default=None)
    rows = rows.with_columns(bucket.alias(BUCKET))
    return rows.filter(pl.col(BUCKET).is_not_null()) if rows[BUCKET].null_count() else rows


def _list(rows: pl.DataFrame, column: str) -> list[int]:
    return rows[column].unique().to_list()


def _of(deliveries: pl.LazyFrame, rows: pl.LazyFrame) -> pl.LazyFrame:
    return rows.join(deliveries, on="delivery_id", how="semi", nulls_equal=True)


def _sourced(events: pl.LazyFrame) -> pl.LazyFrame:
    """Stored events as they go into a load."""
    return events.select(*schema.EVENT.sourced, FILLED, pl.lit(False).alias(IS_NEW))


def _count(rows: pl.DataFrame, column: str) -> dict[Any, int]:
    """How many new rows there are of each value."""
    return dict(rows.select(column, IS_NEW).filter(IS_NEW).group_by(column).len().iter_rows())


def _sums(parts: Iterable[pl.LazyFrame]) -> pl.DataFrame:
    """One number per delivery, which other rows would hardly have; their order does not matter."""
    sums_by_part = []
    for rows in parts:
        columns = rows.collect_schema().names()
        total = pl.sum_horizontal(pl.col(name).hash(place) for place, name in enumerate(columns))
        sums = rows.select("delivery_id", sum=total, rows=pl.lit(1, pl.UInt32)).group_by("delivery_id")
        sums_by_part.append(sums.agg(pl.all().sum()).collect(engine="streaming"))
    return pl.concat(sums_by_part).group_by("delivery_id").agg(pl.all().sum())


def _differing(before: pl.DataFrame, after: pl.DataFrame) -> pl.Series:
    """The deliveries whose rows are not those there were."""
    both = before.join(after, on="delivery_id", how="full", coalesce=True, nulls_equal=True)
    is_other = [pl.col(name).ne_missing(pl.col(f"{name}_right")) for name in ("sum", "rows")]
    return both.filter(pl.any_horizontal(is_other))["delivery_id"]


def attached(
    new: Mapping[str, Sequence[pl.LazyFrame]], before: StoredTables, staging: Path
) -> tuple[list[pl.LazyFrame], bool]:
    """Return the new events, and with them the stored ones without delivery, if any; and whether there were any.

    In: the new rows of `event` and `message`, and the tables before the load.
    """
    together = pl.concat(new["event"])
    stored = [before.scan(name, [NO_DELIVERY]) for name in EVENTS]
    old = _sourced(pl.concat(stored))
    arriving = together.filter(pl.col("delivery_id").is_null())
    rows = pl.concat([arriving, old], how="diagonal").collect()
    if rows.is_empty():
        return list(new["event"]), False
    is_new_here = rows[IS_NEW].any()
    implying = together.filter(pl.col("reported_type").is_in(list(VERDICTS)))
    for key, tables, told in (("event_id", EVENTS, together), ("message_id", ["message"], implying)):
        # What was without a delivery before was looked for then: only new rows can say more.
        wanted = rows.filter(pl.col("delivery_id").is_null()).select(key).drop_nulls().unique()
        places = [told, *(part for name in tables if name != "event" for part in new.get(name, []))]
        deliveries = _deliveries(wanted, places)
        if is_new_here or not deliveries.is_empty():
            deliveries = pl.concat([deliveries, _deliveries(wanted, [before.scan(name) for name in tables])])
        if key == "message_id":  # a delivery without a log of messages has messages too: its hits name them
            hits = [together, *(before.scan(name) for name in EVENTS)]
            deliveries = pl.concat([deliveries, _deliveries(deliveries.select(key).unique(), hits)])
        rows = _placed(rows, key, deliveries)
    # A copy of what its message has just told.
    rows = _placed(rows, "event_id", _deliveries(rows.select("event_id").drop_nulls().unique(), [rows.lazy()]))
    place = staging / "unassigned.parquet"
    rows.write_parquet(place, compression="lz4")
    rest = [part.filter(pl.col("delivery_id").is_not_null()) for part in new["event"]]
    return [*rest, pl.scan_parquet(place, glob=False)], True


def _deliveries(wanted: pl.DataFrame, places: list[pl.LazyFrame]) -> pl.DataFrame:
    """The deliveries of rows elsewhere with one of the keys wanted: the key, `place`."""
    (key,) = wanted.columns
    if wanted.is_empty():  # as those of web pages that no message led to: nothing is read
        return pl.DataFrame(schema={key: pl.String, "place": pl.String})
    matches = pl.concat(frame.select(key, place="delivery_id") for frame in places).drop_nulls("place")
    return matches.join(wanted.lazy(), on=key, how="semi").unique().collect()


def _placed(rows: pl.DataFrame, key: str, deliveries: pl.DataFrame) -> pl.DataFrame:
    """Fill `delivery_id` where the key is known in one delivery alone."""
    places = deliveries.group_by(key).agg(pl.col("place").min(), several=pl.col("place").n_unique() > 1)
    placed = rows.join(places.filter(~pl.col("several")).drop("several"), on=key, how="left")
    return placed.with_columns(delivery_id=pl.coalesce("delivery_id", "place")).drop("place")
