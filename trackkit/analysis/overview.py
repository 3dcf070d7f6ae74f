"""The way of a delivery's messages, from those to deliver to those who bought."""

from collections.abc import Mapping
from typing import Annotated, Any

import polars as pl

from trackkit.analysis.unseen import WHY, observed, unseen
from trackkit.engine.completeness import removal_of
from trackkit.engine.deliveries import counted_events, require_delivery
from trackkit.engine.measure import measure
from trackkit.engine.refusals import with_refusals
from trackkit.engine.snapshot import Measurable

__all__ = ["funnel"]

COUNTED = ("to_deliver", "delivered", "unique_opens", "unique_clicks")
STEPS = (*COUNTED, "buyers")
FUNNEL = "step count first before share why"


def funnel(tables: Measurable, delivery: str) -> Annotated[pl.DataFrame, FUNNEL.split()]:
    """Return how many messages of a delivery came how far: one row per step of `STEPS`.

    The steps are metrics, and at last "buyers": the messages with at least one of the metric `transactions`.

    Columns: `step`; `count`, messages (null if unknown; `why` if it cannot be observed); `first`, the messages to
    deliver, and else the largest count; `before`, the count of the step before; `share`, count / before, null where
    either is unknown. Who bought need not have clicked, so a share may exceed 1. Raises RequestError for an unknown
    delivery.
    """
    key = require_delivery(tables, delivery)
    metrics = [*COUNTED, "transactions"]
    counts = observed(measure(tables, metrics, delivery=key), unseen(tables, [key], metrics))
    row = counts.row(0, named=True) if counts.height else {}
    row |= {"buyers": _buyers(tables, key, row), WHY.format("buyers"): row.get(WHY.format("transactions"))}
    steps = {
        "step": list(STEPS),
        "count": [row.get(name) for name in STEPS],
        "why": [row.get(WHY.format(name)) for name in STEPS],
    }
    schema = {"step": pl.String, "count": pl.Int64, "why": pl.String}
    count, before = pl.col("count"), pl.col("count").shift()
    return (
        pl.DataFrame(steps, schema=schema)
        .with_columns(first=pl.coalesce(count.first(), count.max()), before=before)
        .with_columns(share=pl.when(pl.col("before") > 0).then(count / pl.col("before")))
        .select(FUNNEL.split())
    )


def _buyers(tables: Measurable, delivery: str, row: Mapping[str, Any]) -> int | None:
    """The messages with a transaction; None if transactions are unknown, or their logs were removed."""
    if row.get("transactions") is None or removal_of(tables, delivery) is not None:
        return None
    bought = counted_events(tables, delivery).filter(pl.col("event_type").cast(pl.String) == "transaction")
    counted: pl.LazyFrame = with_refusals(tables, bought)
    is_counted = ~pl.col("is_refused").fill_null(False)
    return int(counted.filter(is_counted).select(pl.col("message_id").drop_nulls().n_unique()).collect().item())
