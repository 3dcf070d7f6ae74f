"""Deliveries of which retention removed rows: which tables of theirs are no longer whole, and the counts kept."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import NamedTuple

import polars as pl

from trackkit.engine.snapshot import Tables
from trackkit.metrics import METRICS, Distinct, Metric, Ratio
from trackkit.schema import IDENTITY

GONE = {"delivery_id": pl.String(), "source": pl.String()}


class Removal(NamedTuple):
    """When retention last removed rows of a delivery, and whether its counts were kept."""

    at: datetime
    is_kept: bool


def purged(tables: Tables) -> pl.DataFrame:
    """Return the deliveries and sources of which rows were removed: (delivery_id, source).

    >>> from trackkit.engine.snapshot import Snapshot
    >>> purged(Snapshot({})).height
    0
    """
    if not tables.has("purge"):
        return pl.DataFrame(schema=GONE)
    return tables.scan("purge").select("delivery_id", source="purged_table").collect()


def removal_of(tables: Tables, delivery: str) -> Removal | None:
    """Return the last removal of rows of a delivery, or None where all are there."""
    purge, kept = (tables.scan(name).filter(pl.col("delivery_id") == delivery) for name in ("purge", "kept_count"))
    at = purge.select(pl.col("purged_at").max()).collect().item()
    return None if at is None else Removal(at, kept.head(1).collect().height > 0)


def kept_deliveries(tables: Tables) -> set[str]:
    """Return the deliveries with kept counts."""
    return set(tables.scan("kept_count").select(pl.col("delivery_id").unique()).collect().to_series())


def kept_currencies(tables: Tables, deliveries: Iterable[str]) -> set[str]:
    """Return the currencies of the sums kept of some deliveries."""
    kept = tables.scan("kept_count").filter(pl.col("delivery_id").is_in(list(deliveries)))
    return set(kept.select(pl.col("currency").drop_nulls().unique()).collect().to_series())


def measured_before(tables: Tables, measured: pl.DataFrame, metrics: Sequence[Metric], is_whole: bool) -> pl.DataFrame:
    """Return counts by `delivery_id`, those of removed rows as they were kept, else null: never those of what is left.

    `is_whole` says that a row is a whole delivery: only of such counts were kept.
    """
    gone = purged(tables)
    if gone.is_empty():
        return measured
    names = [metric.name for metric in metrics]
    kept = tables.scan("kept_count").filter(pl.col("metric").is_in(names)).collect() if is_whole else None
    for metric in metrics:
        ids = gone.filter(source=metric.source)["delivery_id"]
        if ids.len():
            measured = measured.with_columns(_answer(metric.name, ids, kept, measured.schema[metric.name]))
    return measured


def _answer(name: str, gone: pl.Series, kept: pl.DataFrame | None, dtype: pl.DataType) -> pl.Expr:
    values = None if kept is None else kept.filter(metric=name).select("delivery_id", "value")
    known = pl.lit(None, dtype)
    if values is not None and values.height:
        ids, numbers = values
        known = pl.col("delivery_id").replace_strict(ids, numbers, default=None, return_dtype=pl.Float64).cast(dtype)
    return pl.when(pl.col("delivery_id").is_in(gone.implode())).then(known).otherwise(pl.col(name)).alias(name)


def added(total: pl.DataFrame, each: pl.DataFrame, names: Iterable[str]) -> pl.DataFrame:
    """Return one total row with whole deliveries added to it: what a message or a hit counts in adds up, people do not.

    In: `total`, one row, and `each`, one row per delivery. A count that none of them knows stays null.
    """
    sums = {}
    for name in names:
        formula = METRICS[name].formula
        if isinstance(formula, Ratio):
            continue
        values = pl.concat([total[name], each[name]]).drop_nulls()
        is_people = isinstance(formula, Distinct) and "delivery_id" not in IDENTITY[formula.column]
        sums[name] = pl.lit(values.sum() if values.len() and not is_people else None, total.schema[name])
    return total.with_columns(**sums)
