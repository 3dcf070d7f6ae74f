"""Events that name no delivery find theirs: that of their copy with a delivery, or of their message.

Where two deliveries have that log id, or a message of that id, nothing tells which is meant: they stay without one.
What is found by the rows known so far holds, whatever comes later.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

import polars as pl

from trackkit import schema
from trackkit.store.dedupe import FILLED, IS_NEW
from trackkit.store.implied import VERDICTS
from trackkit.store.layout import NO_DELIVERY

EVENTS = ["event", "collapsed"]
Parts = Sequence[pl.LazyFrame]


class InBuckets(Protocol):
    """Tables of a store, of which some buckets can be read."""

    def scan(self, table: str, buckets: Sequence[int] | None = None) -> pl.LazyFrame: ...


def attached(new: Mapping[str, Parts], before: InBuckets, staging: Path) -> tuple[list[pl.LazyFrame], bool]:
    """Return the new events, and with them the stored ones without delivery, if any; and whether there were any.

    In: the new rows of `event` and `message`, and the tables before the load.
    """
    together = pl.concat(new["event"])
    stored = [before.scan(name, [NO_DELIVERY]) for name in EVENTS]
    loose_old = pl.concat(stored).select(*schema.EVENT.sourced, FILLED, pl.lit(False).alias(IS_NEW))
    loose_new = together.filter(pl.col("delivery_id").is_null())
    rows = pl.concat([loose_new, loose_old], how="diagonal").collect()
    if rows.is_empty():
        return list(new["event"]), False
    is_new_here = rows[IS_NEW].any()
    implying = together.filter(pl.col("reported_type").cast(pl.String).is_in(list(VERDICTS)))
    for key, tables, told in (("event_id", EVENTS, together), ("message_id", ["message"], implying)):
        # What was loose before was looked for then: only new rows can tell more.
        wanted = rows.filter(pl.col("delivery_id").is_null()).select(key).drop_nulls().unique()
        places = [told, *(part for name in tables if name != "event" for part in new.get(name, []))]
        known = _deliveries(wanted, places)
        if is_new_here or not known.is_empty():
            known = pl.concat([known, _deliveries(wanted, [before.scan(name) for name in tables])])
        if key == "message_id":  # a delivery without a log of messages has messages too: its hits name them
            hits = [together, *(before.scan(name) for name in EVENTS)]
            known = pl.concat([known, _deliveries(known.select(key).unique(), hits)])
        rows = _placed(rows, key, known)
    # A copy of what its message has just told.
    rows = _placed(rows, "event_id", _deliveries(rows.select("event_id").drop_nulls().unique(), [rows.lazy()]))
    place = staging / "loose.parquet"
    rows.write_parquet(place, compression="lz4")
    rest = [part.filter(pl.col("delivery_id").is_not_null()) for part in new["event"]]
    return [*rest, pl.scan_parquet(place, glob=False)], True


def _deliveries(wanted: pl.DataFrame, places: list[pl.LazyFrame]) -> pl.DataFrame:
    """The deliveries of rows elsewhere with one of the keys wanted: the key, `place`."""
    (key,), shape = wanted.columns, {"place": pl.String()}
    if wanted.is_empty():  # as those of web pages that no message led to: nothing is read
        return pl.DataFrame(schema=wanted.schema | shape)
    found = pl.concat(frame.select(key, place="delivery_id") for frame in places).drop_nulls("place")
    return found.join(wanted.lazy(), on=key, how="semi").unique().collect()


def _placed(rows: pl.DataFrame, key: str, known: pl.DataFrame) -> pl.DataFrame:
    """Fill `delivery_id` where the key is known in one delivery alone."""
    places = known.group_by(key).agg(pl.col("place").min(), several=pl.col("place").n_unique() > 1)
    found = rows.join(places.filter(~pl.col("several")).drop("several"), on=key, how="left")
    return found.with_columns(delivery_id=pl.coalesce("delivery_id", "place")).drop("place")
