"""The deliveries that a load touches: found, read, settled, enriched and put back whole, a bounded number at a time.

A delivery is touched by its new events and messages, and by changed rows that its rows refer to. The buckets that hold
a touched delivery are settled with the new rows; those that come out equal are not written again.
"""

import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from trackkit import schema
from trackkit.store.dedupe import FILE, FILLED, IS_NEW
from trackkit.store.flags import with_marks
from trackkit.store.lake import BUCKET, Lake
from trackkit.store.large_deliveries import Pieces
from trackkit.store.layout import bucket_of, cut_fences, in_order, plan
from trackkit.store.partition import spread, spread_rows
from trackkit.store.reconcile import Settled, Settling, Unsettled
from trackkit.store.tables import BY_DELIVERY
from trackkit.store.unassigned import EVENTS, attached

Progress = Callable[[int, int, str], object]
# Which rows are stored with something of a dimension: they change when it does.
REFERENCES = {
    "delivery": ("delivery_id", ["message"]),
    "link": ("link_id", EVENTS),
    "recipient": ("recipient_id", BY_DELIVERY),
    "failure": ("failure_id", ["message"]),
    "user_agent": ("user_agent", EVENTS),
    "web_event": ("event_id", EVENTS),
}  # fmt: skip


def key_columns(table: str) -> list[str]:
    """Return the columns of a changed row that say what it touches."""
    known = [REFERENCES[table][0]] if table in REFERENCES else []
    own = ["delivery_id"] if "delivery_id" in schema.TABLES[table].schema else []
    return list(dict.fromkeys([*known, *own])) or list(schema.TABLES[table].key)


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
    untold: Counter[str] = field(default_factory=Counter)  # by format, the deliveries of which no delivery is told

    def count(self, settled: Settled) -> None:
        """Count what is new among rows that were settled."""
        self.kept["message"].append(settled.kept)
        self.kept["event"].append(_count(settled.event, FILE))
        self.kept["collapsed"].append(_count(settled.collapsed, FILE))
        self.event_types.append(_count(settled.event, "event_type"))


@dataclass
class Rewrite:
    """One load's work on the tables that are cut by delivery.

    `before` is the store before the load, `now` has its dimensions after the load; `new` are the new rows of `event`
    and `message`, sourced columns and `file`, in parts that are gone through one after the other. `senders` are the
    formats of feeds, and whether their maps say that deliveries may be untold.
    """

    before: Tables
    now: Tables
    new: dict[str, list[pl.LazyFrame]]
    staging: Path
    senders: Mapping[str, bool] = field(default_factory=dict)
    settling: Settling = field(init=False)
    has_loose: bool = False

    def __post_init__(self) -> None:
        self.settling = Settling(self.now, senders=self.senders)

    def run(self, changed: Mapping[str, pl.DataFrame], fences: pl.DataFrame, progress: Progress | None) -> Outcome:
        """Rewrite what new rows and changed dimension rows touch; nothing is committed yet."""
        self.new["event"], self.has_loose = attached(self.new, self.before, self.staging)
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
        is_large = deliveries["is_large"].item(0)  # then it is alone
        deliveries = deliveries.with_columns(pl.col("is_touched") | is_large)
        touched = deliveries.lazy().filter("is_touched").select("delivery_id")
        buckets = deliveries[BUCKET].unique().to_list()
        stored = {name: _of(touched, self.before.scan(name, buckets)) for name in BY_DELIVERY}
        rows = Unsettled(self._all_events(chunk, stored), stored["message"], self._arriving("message", chunk))
        self.settling.look_at(rows.events)
        outcome.untold.update(self.settling.untold())
        if is_large:
            self._settle_large(rows, stored, deliveries, outcome)
        else:
            self._settle(rows, stored, deliveries, outcome)

    def _settle(
        self, rows: Unsettled, stored: dict[str, pl.LazyFrame], deliveries: pl.DataFrame, outcome: Outcome
    ) -> None:
        """Settle the touched deliveries of a chunk at once."""
        sums = {name: _sums([part]) for name, part in stored.items()}
        settled = self.settling.settle(rows)
        outcome.count(settled)
        found = {"event": with_marks(settled.event), "collapsed": settled.collapsed, "message": settled.message}
        del settled  # of what is written below, this was a second copy
        for name in self._written(found["message"].height > 0):
            part = found.pop(name).select(stored[name].collect_schema().names())
            differ = _differing(sums[name], _sums([part.lazy()]))
            outcome.changed.append(differ)
            self._write(name, part, deliveries, differ)

    def _settle_large(
        self, rows: Unsettled, stored: dict[str, pl.LazyFrame], deliveries: pl.DataFrame, outcome: Outcome
    ) -> None:
        """Settle one delivery in pieces, and put it in the place of its bucket."""
        columns = {name: part.collect_schema().names() for name, part in stored.items()}
        with tempfile.TemporaryDirectory(dir=self.staging) as folder:
            pieces = Pieces(self.settling, columns, Path(folder))
            for settled in pieces.settle(rows, deliveries["rows"].item()):
                outcome.count(settled)
            bucket = pl.lit(deliveries["piece"].item(), pl.Int32).alias(BUCKET)
            for name in self._written(pieces.has_rows("message")):
                differ = _differing(_sums([stored[name]]), _sums(part.lazy() for part in pieces.parts(name)))
                outcome.changed.append(differ)
                if differ.len() or deliveries["is_cut"].item():
                    parts = (part.with_columns(bucket) for part in pieces.parts(name))
                    self.now.lake.replace(name, parts, deliveries["piece"].to_list())

    def _written(self, has_messages: bool) -> list[str]:
        """The tables that are written; that of messages comes to be where events told of some."""
        if has_messages and not self.now.has("message"):
            self.now.versions["message"] = self.now.lake.create("message")
        return [name for name in BY_DELIVERY if self.now.has(name)]

    def _all_events(self, chunk: int, stored: dict[str, pl.LazyFrame]) -> pl.LazyFrame:
        old = pl.concat([stored[name] for name in EVENTS])
        if self.has_loose:  # they come with the new rows, whether they found a delivery or not
            old = old.filter(pl.col("delivery_id").is_not_null())
        old = old.select(*schema.EVENT.sourced, FILLED, pl.lit(False).alias(IS_NEW))
        return pl.concat([old, self._arriving("event", chunk)], how="diagonal")

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
        self.now.lake.replace(name, [rows], pieces["piece"].unique().to_list())


def _of(deliveries: pl.LazyFrame, rows: pl.LazyFrame) -> pl.LazyFrame:
    return rows.join(deliveries, on="delivery_id", how="semi", nulls_equal=True)


def _count(rows: pl.DataFrame, column: str) -> dict[Any, int]:
    """How many new rows there are of each value."""
    return dict(rows.select(column, IS_NEW).filter(IS_NEW).group_by(column).len().iter_rows())


def _sums(parts: Iterable[pl.LazyFrame]) -> pl.DataFrame:
    """One number per delivery, which other rows would hardly have; their order does not matter."""
    found = []
    for rows in parts:
        columns = rows.collect_schema().names()
        total = pl.sum_horizontal(pl.col(name).hash(place) for place, name in enumerate(columns))
        added = (
            rows.select("delivery_id", sum=total, rows=pl.lit(1, pl.UInt32)).group_by("delivery_id").agg(pl.all().sum())
        )
        found.append(added.collect(engine="streaming"))  # a number of each value, never of all at once
    return pl.concat(found).group_by("delivery_id").agg(pl.all().sum())


def _differing(before: pl.DataFrame, after: pl.DataFrame) -> pl.Series:
    """The deliveries whose rows are not those there were."""
    both = before.join(after, on="delivery_id", how="full", coalesce=True, nulls_equal=True)
    is_other = [pl.col(name).ne_missing(pl.col(f"{name}_right")) for name in ("sum", "rows")]
    return both.filter(pl.any_horizontal(is_other))["delivery_id"]
