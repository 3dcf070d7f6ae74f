"""Deliveries of which only events tell: which have no known messages, and whether bounces say why messages failed."""

import polars as pl

from trackkit.engine.deliveries import Tables, without_aside


def unlogged(tables: Tables, real: bool = True) -> pl.Series:
    """Return the deliveries with events of which it is not known what was sent, in order; `real`: none set aside.

    Where a source counts what it sent, that is known.

    >>> from trackkit.engine.snapshot import Snapshot
    >>> events = pl.LazyFrame({"delivery_id": ["8", "7", "9"], "has_messages": [False, False, True]})
    >>> unlogged(Snapshot({"event": events})).to_list()
    ['7', '8']
    """
    unknown = tables.scan("event").filter(~pl.col("has_messages")).select("delivery_id").unique()
    deliveries = tables.scan("delivery")
    if "sent" in deliveries.collect_schema():  # its source counts what it sent
        unknown = unknown.join(deliveries.filter(pl.col("sent").is_not_null()), on="delivery_id", how="anti")
    if real:
        unknown = without_aside(tables, unknown)
    return unknown.sort("delivery_id").collect()["delivery_id"]


def is_counted_only(tables: Tables, delivery: str) -> bool:
    """Return whether the source of a delivery counts what it sent, and keeps no log of it."""
    deliveries = tables.scan("delivery")
    if "sent" not in deliveries.collect_schema():
        return False
    counted = deliveries.filter(pl.col("delivery_id") == delivery, pl.col("sent").is_not_null())
    return counted.head(1).collect().height > 0


def has_log(tables: Tables, delivery: str) -> bool:
    """Return whether a log tells of all messages of a delivery: not where only events do, or a count of its source."""
    events = tables.scan("event")
    if "has_messages" in events.collect_schema():
        without = events.filter(pl.col("delivery_id") == delivery, ~pl.col("has_messages"))
        if without.head(1).collect().height:
            return False
    return not is_counted_only(tables, delivery)


def with_events(tables: Tables) -> int:
    """Return how many deliveries have events, those set aside left out."""
    named = tables.scan("event").select("delivery_id").drop_nulls().unique()
    return without_aside(tables, named).select(pl.len()).collect().item()


def reasons_are_told(tables: Tables) -> bool:
    """Return whether it is known of any message why it failed: by a table of failures, or by the bounces themselves."""
    return tables.scan("message").select(pl.col("failure_reason").is_not_null().any()).collect().item()
