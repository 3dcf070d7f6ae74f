"""Deliveries of which only events tell: which have no known messages, and whether bounces say why messages failed."""

import polars as pl

from trackkit.deliveries import Tables


def unlogged(tables: Tables, real: bool = True) -> pl.Series:
    """Return the deliveries with events of which it is not known what was sent, in order; `real`: no proofs or models.

    Where a source counts what it sent, that is known.

    >>> from trackkit.snapshot import Snapshot
    >>> events = pl.LazyFrame({"delivery_id": ["8", "7", "9"], "has_messages": [False, False, True]})
    >>> unlogged(Snapshot({"event": events})).to_list()
    ['7', '8']
    """
    unknown = tables.scan("event").filter(~pl.col("has_messages")).select("delivery_id").unique()
    deliveries = tables.scan("delivery")
    if "sent" in deliveries.collect_schema():  # its source counts what it sent
        unknown = unknown.join(deliveries.filter(pl.col("sent").is_not_null()), on="delivery_id", how="anti")
    if real:
        aside = pl.any_horizontal(pl.col("is_proof", "is_model").fill_null(False))
        unknown = unknown.join(deliveries.filter(aside), on="delivery_id", how="anti")
    return unknown.sort("delivery_id").collect()["delivery_id"]


def with_events(tables: Tables) -> int:
    """Return how many deliveries have events."""
    return tables.scan("event").select(pl.col("delivery_id").drop_nulls().n_unique()).collect().item()


def reasons_are_told(tables: Tables) -> bool:
    """Return whether it is known of any message why it failed: by a table of failures, or by the bounces themselves."""
    return tables.scan("message").select(pl.col("failure_reason").is_not_null().any()).collect().item()
