"""Deliveries at a glance: the way of their messages, to those who bought, and rates beside the delivery before."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Annotated, Any

import polars as pl

from trackkit.analysis.compare import COLUMNS, adjusted, compare
from trackkit.analysis.several import chosen_deliveries
from trackkit.analysis.unseen import WHY, observed, together, unseen
from trackkit.analysis.usual import previous
from trackkit.engine.completeness import purged
from trackkit.engine.deliveries import (
    Deliveries,
    asked_about,
    counted_events,
    is_of,
    require_delivery,
    without_aside,
)
from trackkit.engine.measure import measure, quotient
from trackkit.engine.refusals import with_refusals
from trackkit.engine.snapshot import Measurable
from trackkit.metrics import METRICS, part_of
from trackkit.schema import INSTANT, MESSAGE

__all__ = ["beside_previous", "funnel"]

COUNTED = ("to_deliver", "delivered", "unique_opens", "unique_clicks")
STEPS = (*COUNTED, "buyers")
RATES = ("open_rate", "click_to_open_rate")  # of a step, whose parts may be known of some deliveries alone
FUNNEL = "step count first part before share why"
LEVEL = 0.95  # of the intervals of differences
BESIDE = {"name": pl.String, "launched_at": INSTANT}  # of the delivery before


def funnel(tables: Measurable, delivery: Deliveries = None) -> Annotated[pl.DataFrame, FUNNEL.split()]:
    """Return how many messages of deliveries came how far: one row per step of `STEPS`.

    The steps are metrics, and at last "buyers": the messages with at least one of the metric `transactions`.

    Columns: `step`; `count`, messages (null if unknown; `why` if it cannot be observed); `first`, the messages to
    deliver, and else the largest count; `share`, `part` / `before`, null where either is unknown: the count and that of
    the step before, or both of the deliveries in which the rate can be observed, if that is some of them alone. Who
    bought need not have clicked, so a share may exceed 1. Raises RequestError for an unknown delivery.

    >>> funnel(store, delivery).select("step", "count").rows()
    [('to_deliver', 85), ('delivered', 82), ('unique_opens', 26), ('unique_clicks', 6), ('buyers', 1)]
    """
    ids = asked_about(tables, delivery)
    row = together(tables, [*COUNTED, *RATES, "transactions"], ids).row(0, named=True)
    row |= {"buyers": _buyers(tables, ids, row), WHY.format("buyers"): row.get(WHY.format("transactions"))}
    parts = [(after, before) for before, after in pairwise(row.get(name) for name in STEPS)]
    for rate in RATES:
        top, bottom = METRICS[rate].parents
        parts[STEPS.index(top) - 1] = row[part_of(row, rate, top)], row[part_of(row, rate, bottom)]
    steps = {
        "step": list(STEPS),
        "count": [row.get(name) for name in STEPS],
        "part": [None, *(part for part, _ in parts)],
        "before": [None, *(before for _, before in parts)],
        "why": [row.get(WHY.format(name)) for name in STEPS],
    }
    schema = {"step": pl.String, **dict.fromkeys(("count", "part", "before"), pl.Int64), "why": pl.String}
    return (
        pl.DataFrame(steps, schema=schema)
        .with_columns(first=pl.coalesce(pl.col("count").first(), pl.col("count").max()))
        .with_columns(share=quotient("part", "before"))
        .select(FUNNEL.split())
    )


def _buyers(tables: Measurable, ids: Sequence[str] | None, row: Mapping[str, Any]) -> int | None:
    """The messages with a transaction; None if transactions are unknown, or logs of any delivery were removed."""
    if row.get("transactions") is None or _is_removed(tables, ids):
        return None
    bought = counted_events(tables, ids).filter(pl.col("event_type").cast(pl.String) == "transaction")
    counted: pl.LazyFrame = with_refusals(tables, bought)
    is_counted = ~pl.col("is_refused").fill_null(False) & pl.col("message_id").is_not_null()
    return int(counted.filter(is_counted).select(pl.struct(MESSAGE.key).n_unique()).collect().item())


def _is_removed(tables: Measurable, ids: Sequence[str] | None) -> bool:
    """Whether retention removed rows of any of the deliveries asked about."""
    rows = purged(tables).lazy()
    removed = without_aside(tables, rows) if ids is None else rows.filter(is_of(ids))
    return removed.head(1).collect().height > 0


def beside_previous(tables: Measurable, delivery: str, metrics: Sequence[str]) -> pl.DataFrame:
    """Return rates of a delivery beside those of the comparable one before it: one row per metric.

    Columns: those of `compare`, of which `a` is the delivery before and `b` this one, p adjusted for all these rates;
    `name` and `launched_at` of the delivery before. Rates that cannot be observed in both have no row. There is no row
    while the delivery is not finished, or if no comparable one before it is (`analysis.usual`). Raises RequestError for
    an unknown delivery or metric.

    >>> compared = beside_previous(store, "7471122", ["recipient_click_rate"])
    >>> compared.select("part_a", "whole_a", "part_b", "whole_b").rows()
    [(6, 82, 3, 81)]
    """
    key = require_delivery(tables, delivery)
    before = previous(tables, key)
    if before is None:
        return pl.DataFrame(schema=COLUMNS | BESIDE)
    both = [before, key]
    figures = observed(measure(tables, metrics, by="delivery_id", delivery=both), unseen(tables, both, metrics))
    known = [name for name in metrics if figures.height == len(both) and not figures[name].null_count()]
    named = chosen_deliveries(tables, [before]).select(name="delivery", launched_at="launched_at")
    rows = adjusted(compare(tables, before, key, metrics=known).to_dicts(), LEVEL) if known else []
    return pl.DataFrame(rows, schema=COLUMNS).join(named, how="cross")
