"""The deliveries that a load touches: found, read, settled, enriched and put back whole, a bounded number at a time.

A delivery is touched by its new events and messages, and by changed rows that its rows refer to. The buckets that hold
a touched delivery are settled with the new rows; those that come out equal are not written again.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import polars as pl

from trackkit import schema
from trackkit.store.agents import parse_agents
from trackkit.store.dedupe import FILE, FILLED, IS_NEW, merge_copies, set_repeats_aside
from trackkit.store.enrich import (
    agent_texts,
    enrich_events,
    enrich_messages,
    known_agents,
    own_messages,
    with_borrowed,
)
from trackkit.store.implied import VERDICTS, told_by_events
from trackkit.store.lake import BUCKET, BY_DELIVERY, Lake
from trackkit.store.layout import NO_DELIVERY, ORDER, bucket_of, cut_fences, in_order, plan
from trackkit.store.marks import with_marks
from trackkit.store.replace import replace_rows
from trackkit.store.spread import spread, spread_rows

Progress = Callable[[int, int, str], object]
_EVENTS = ["event", "collapsed"]
# Which rows are stored with something of a dimension: they change when it does.
REFERENCES = {
    "delivery": ("delivery_id", ["message"]),
    "link": ("link_id", _EVENTS),
    "recipient": ("recipient_id", BY_DELIVERY),
    "failure": ("failure_id", ["message"]),
    "user_agent": ("user_agent", _EVENTS),
    "web_event": ("event_id", _EVENTS),
}  # fmt: skip
# A message belongs to one delivery: within it, its id is the key.
_MESSAGE = replace(schema.MESSAGE, key=("delivery_id", "message_id"))


@dataclass
class Tables:
    """The tables of a store at given versions; one that is missing is empty."""

    lake: Lake
    versions: dict[str, int]

    def has(self, table: str) -> bool:
        """Return whether any load brought this table."""
        return table in self.versions

    def scan(self, table: str, buckets: Sequence[int] | None = None) -> pl.LazyFrame:
        """Return the rows of a table, all or of some buckets, with the store's own columns."""
        if self.has(table):
            return self.lake.scan(table, self.versions[table], buckets)
        return pl.LazyFrame(schema=schema.TABLES[table].schema | {FILLED: pl.Int32()})


@dataclass
class Outcome:
    """What was rewritten: the fences after it, the deliveries that changed, and the rows that count, by file."""

    fences: pl.DataFrame
    changed: list[pl.Series] = field(default_factory=list)
    kept: dict[str, list[dict[int, int]]] = field(default_factory=lambda: {name: [] for name in BY_DELIVERY})
    event_types: list[dict[str, int]] = field(default_factory=list)


@dataclass
class Rewrite:
    """One load's work on the tables that are cut by delivery.

    `before` is the store before the load, `now` has its dimensions after the load; `new` are the new rows of `event`
    and `message`, sourced columns and `file`, in parts that are gone through one after the other.
    """

    before: Tables
    now: Tables
    new: dict[str, list[pl.LazyFrame]]
    staging: Path
    agents: pl.DataFrame = field(default_factory=lambda: parse_agents([]))
    has_loose: bool = False

    def run(self, changed: Mapping[str, pl.DataFrame], fences: pl.DataFrame, progress: Progress | None) -> Outcome:
        """Rewrite what new rows and changed dimension rows touch; nothing is committed yet."""
        self._attach_loose()
        brought = self._new_sizes()
        touched = self._touched(changed, brought)
        is_touched = pl.col("delivery_id").is_in(touched.implode(), nulls_equal=True)
        planned = plan(self._sizes(touched, brought, fences), fences).with_columns(is_touched=is_touched)
        outcome = Outcome(cut_fences(planned, fences))
        chunks = planned["chunk"].n_unique()
        self._stage(planned, chunks)
        for done, ((chunk,), deliveries) in enumerate(planned.group_by("chunk", maintain_order=True)):
            if progress:
                progress(done, chunks, "Settling")
            self._rewrite(chunk, deliveries, outcome)
        return outcome

    def _attach_loose(self) -> None:
        """Find the delivery of events that name none: that of their copy with a delivery, or of their message."""
        new = pl.concat(self.new["event"])
        loose_new = new.filter(pl.col("delivery_id").is_null())
        stored = [self.before.scan(name, [NO_DELIVERY]) for name in _EVENTS]
        loose_old = pl.concat(stored).select(*schema.EVENT.sourced, FILLED, pl.lit(False).alias(IS_NEW))
        rows = pl.concat([loose_new, loose_old], how="diagonal").collect()
        self.has_loose = rows.height > 0
        if not self.has_loose:
            return
        is_new_here = rows[IS_NEW].any()
        implying = new.filter(pl.col("reported_type").cast(pl.String).is_in(list(VERDICTS)))
        for key, tables, told in (("event_id", _EVENTS, new), ("message_id", ["message"], implying)):
            # What was loose before was looked for then: only new rows can tell more.
            places = [told, *(part for name in tables if name != "event" for part in self.new.get(name, []))]
            places += [self.before.scan(name) for name in tables] if is_new_here else []
            rows = _placed(rows, key, places)
        attached = self.staging / "loose.parquet"
        rows.write_parquet(attached, compression="lz4")
        placed = [part.filter(pl.col("delivery_id").is_not_null()) for part in self.new["event"]]
        self.new["event"] = [*placed, pl.scan_parquet(attached, glob=False)]

    def _new_sizes(self) -> pl.DataFrame:
        """How many new rows there are of each delivery."""
        counted = [part.group_by("delivery_id").agg(rows=pl.len().cast(pl.Int64)).collect(engine="streaming")
                   for parts in self.new.values() for part in parts]  # fmt: skip
        return pl.concat(counted).group_by("delivery_id").agg(pl.col("rows").sum())

    def _touched(self, changed: Mapping[str, pl.DataFrame], brought: pl.DataFrame) -> pl.Series:
        frames = [brought.lazy().select("delivery_id")]
        if self.has_loose:  # what found its delivery leaves those without one
            frames.append(pl.LazyFrame({"delivery_id": [None]}, schema={"delivery_id": pl.String}))
        for table, rows in changed.items():
            key, users = REFERENCES.get(table, ("", []))
            keys = rows.lazy().select(key) if users else rows.lazy()
            if table == "web_event":  # the hit itself is mostly in the same load
                keys = keys.join(pl.concat(self.new["event"]), on=key, how="anti")
            frames += [self.before.scan(user).join(keys, on=key, how="semi").select("delivery_id") for user in users]
        return pl.concat(frames).unique().collect().to_series()

    def _sizes(self, touched: pl.Series, brought: pl.DataFrame, fences: pl.DataFrame) -> pl.DataFrame:
        """Rows of every delivery in the buckets that hold a touched one, as many as there may be after the load."""
        buckets = bucket_of(touched, fences).unique().to_list()
        stored = [self.before.scan(name, buckets) for name in BY_DELIVERY]
        there = pl.concat([frame.select("delivery_id", rows=pl.lit(1, pl.Int64)) for frame in stored])
        rows = pl.concat([there.group_by("delivery_id").agg(pl.col("rows").sum()), brought.lazy()])
        return rows.group_by("delivery_id").agg(pl.col("rows").sum()).collect()

    def _stage(self, planned: pl.DataFrame, chunks: int) -> None:
        """Lay the new rows out by chunk, in one pass over them, so that each is read once."""
        if chunks <= 1:
            return
        goes = planned.lazy().select("delivery_id", "chunk")
        for name, parts in self.new.items():
            placed = [rows.join(goes, on="delivery_id", how="inner", nulls_equal=True) for rows in parts]
            spread(placed, "chunk", self.staging / f"by_chunk_{name}")

    def _arriving(self, name: str, chunk: int) -> pl.LazyFrame:
        """The new rows of a chunk."""
        if name not in self.new:
            return pl.LazyFrame(schema=schema.TABLES[name].sourced | {FILE: pl.Int32})
        parts, staged = self.new[name], self.staging / f"by_chunk_{name}"
        if not staged.exists():
            return pl.concat(parts)
        found = spread_rows(staged, chunk, parts[0].collect_schema())
        return parts[0].limit(0) if found is None else found

    def _rewrite(self, chunk: int, deliveries: pl.DataFrame, outcome: Outcome) -> None:
        buckets = deliveries[BUCKET].unique().to_list()
        touched = deliveries.lazy().filter("is_touched").select("delivery_id")
        stored = {name: _of(touched, self.before.scan(name, buckets)) for name in BY_DELIVERY}
        sums = {name: _sums(rows) for name, rows in stored.items()}
        settled = self._settled(chunk, stored, outcome)
        if settled["message"].height and not self.now.has("message"):  # no table told of them: events did
            self.now.versions["message"] = self.now.lake.create("message")
        for name in [name for name in BY_DELIVERY if self.now.has(name)]:
            differ = _differing(sums[name], _sums(settled[name].lazy()))
            outcome.changed.append(differ)
            self._write(name, settled.pop(name), deliveries, differ)  # handed over: the only copy

    def _settled(self, chunk: int, stored: dict[str, pl.LazyFrame], outcome: Outcome) -> dict[str, pl.DataFrame]:
        """The touched deliveries of a chunk as they are after the load, and the count of what is new in them."""
        stated = own_messages(stored["message"]).collect()
        messages = replace_rows(_MESSAGE, stated, self._arriving("message", chunk).collect())
        outcome.kept["message"].append(messages.kept)
        events = in_order("event", merge_copies(self._all_events(chunk, stored)))
        rows = with_borrowed(messages.rows.lazy().drop(FILLED), self.now)
        known = enrich_messages(rows, self.now, told_by_events(events.lazy())).sort(ORDER["message"]).collect()
        enriched = enrich_events(events, known.lazy(), self.now, self._agents(events.lazy()))
        del events
        kept, collapsed = set_repeats_aside(enriched)
        kept = with_marks(kept)
        for name, rows in (("event", kept), ("collapsed", collapsed)):
            outcome.kept[name].append(_count(rows, FILE))
        outcome.event_types.append(_count(kept, "event_type"))
        found = {"event": kept, "collapsed": collapsed, "message": known}
        return {name: rows.select(stored[name].collect_schema().names()) for name, rows in found.items()}

    def _all_events(self, chunk: int, stored: dict[str, pl.LazyFrame]) -> pl.DataFrame:
        old = pl.concat([stored[name] for name in _EVENTS])
        if self.has_loose:  # they come with the new rows, whether they found a delivery or not
            old = old.filter(pl.col("delivery_id").is_not_null())
        old = old.select(*schema.EVENT.sourced, FILLED, pl.lit(False).alias(IS_NEW))
        return pl.concat([old, self._arriving("event", chunk)], how="diagonal").collect()

    def _agents(self, events: pl.LazyFrame) -> pl.LazyFrame:
        unknown = sorted(set(agent_texts(events)).difference(self.agents["user_agent"]))
        self.agents = pl.concat([self.agents, parse_agents(unknown)])
        return known_agents(events, self.now, self.agents)

    def _write(self, name: str, rows: pl.DataFrame, deliveries: pl.DataFrame, differ: pl.Series) -> None:
        """Replace the buckets with a delivery that differs, and those that are cut; the others keep their files.

        In: rows in order, as joins leave them (checked, since polars promises none), or to be put in it.
        """
        is_written = pl.col("is_cut") | pl.col("delivery_id").is_in(differ.implode(), nulls_equal=True)
        pieces = deliveries.filter(is_written.any().over("piece"))
        if pieces.is_empty():
            return
        others = pieces.lazy().filter(~pl.col("is_touched")).select("delivery_id")
        untouched = _of(others, self.before.scan(name, pieces[BUCKET].unique().to_list())).collect()
        rows = pl.concat([rows, untouched]) if untouched.height else rows
        rows = rows if rows["delivery_id"].is_sorted() else in_order(name, rows)
        bucket = pl.col("delivery_id").replace_strict(pieces["delivery_id"], pieces["piece"], default=None)
        rows = rows.with_columns(bucket.alias(BUCKET))
        rows = rows.filter(pl.col(BUCKET).is_not_null()) if rows[BUCKET].null_count() else rows
        self.now.lake.replace(name, rows, pieces["piece"].unique().to_list())


def _of(deliveries: pl.LazyFrame, rows: pl.LazyFrame) -> pl.LazyFrame:
    return rows.join(deliveries, on="delivery_id", how="semi", nulls_equal=True)


def _placed(rows: pl.DataFrame, key: str, places: list[pl.LazyFrame]) -> pl.DataFrame:
    """Fill `delivery_id` from rows elsewhere with the same key."""
    if not places:
        return rows
    known = pl.concat([frame.select(key, place="delivery_id") for frame in places])
    wanted = rows.lazy().select(key).unique()
    known = known.filter(pl.col("place").is_not_null()).join(wanted, on=key, how="semi")
    found = rows.lazy().join(known.group_by(key).agg(pl.col("place").min()), on=key, how="left")
    return found.with_columns(delivery_id=pl.coalesce("delivery_id", "place")).drop("place").collect()


def _count(rows: pl.DataFrame, column: str) -> dict[Any, int]:
    """How many new rows there are of each value."""
    return dict(rows.select(column, IS_NEW).filter(IS_NEW).group_by(column).len().iter_rows())


def _sums(rows: pl.LazyFrame) -> pl.DataFrame:
    """One number per delivery, which other rows would hardly have; their order does not matter."""
    columns = rows.collect_schema().names()
    total = pl.sum_horizontal(pl.col(name).hash(place) for place, name in enumerate(columns))
    added = rows.select("delivery_id", sum=total).group_by("delivery_id").agg(pl.col("sum").sum(), rows=pl.len())
    return added.collect(engine="streaming")  # a number of each value, never of all at once


def _differing(before: pl.DataFrame, after: pl.DataFrame) -> pl.Series:
    """The deliveries whose rows are not those there were."""
    both = before.join(after, on="delivery_id", how="full", coalesce=True, nulls_equal=True)
    is_other = [pl.col(name).ne_missing(pl.col(f"{name}_right")) for name in ("sum", "rows")]
    return both.filter(pl.any_horizontal(is_other))["delivery_id"]
