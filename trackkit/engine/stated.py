"""Deliveries whose source keeps no log of messages but counts what it sent, and those of which it could not tell all.

`delivery.sent` is such a count: what is sent and did not fail counts as delivered. `delivery.untold` names what no
table told: `message` for the log of messages, else types of events. A count that needs it is null, never 0.
"""

import polars as pl

from trackkit import schema
from trackkit.engine.rows import Rows
from trackkit.metrics import Count, Metric

MESSAGE = "message"
_SETTLED = ("prepared", "failed", "delivered")  # what counts as processed


def is_by_stated(rows: Rows, groups: list[str]) -> bool:
    """Whether counts of whole deliveries are asked for: a source that only counts knows no other."""
    return rows.where is None and groups in ([], ["delivery_id"])


def with_stated(rows: Rows, counted: pl.DataFrame, metrics: list[Metric], groups: list[str]) -> pl.DataFrame:
    """Return counts with the messages that sources only count, and null where a source could not tell them."""
    if rows.stated.is_empty():
        return counted
    is_whole = is_by_stated(rows, groups)
    if is_whole:
        counted = _with_rest(rows, counted, [metric for metric in metrics if metric.source == MESSAGE], groups)
    for metric in metrics:
        unknown = rows.stated.filter(_is_unknown(metric, is_whole))["delivery_id"]
        if unknown.len():
            is_theirs = pl.col("delivery_id").is_in(unknown.implode()) if "delivery_id" in groups else pl.lit(True)
            counted = counted.with_columns(pl.when(~is_theirs).then(metric.name).alias(metric.name))
    return counted


def _is_unknown(metric: Metric, is_whole: bool) -> pl.Expr:
    where = getattr(metric.formula, "where", {})
    untold = pl.col("untold").str.split(" ").fill_null([])
    if metric.source == "event":
        types = set(where.get("event_type", schema.HITS))
        return untold.list.eval(pl.element().is_in(list(types))).list.any()
    if metric.source != MESSAGE:
        return pl.lit(False)
    statuses = set(where.get("status", _SETTLED))
    is_counted = is_whole and bool(statuses & set(_SETTLED))
    return untold.list.contains(MESSAGE) & (pl.col("sent").is_null() | ~pl.lit(is_counted))


def _with_rest(rows: Rows, counted: pl.DataFrame, metrics: list[Metric], groups: list[str]) -> pl.DataFrame:
    """Add, to counts of messages that were delivered, those of which nothing is known but that they were sent."""
    sent = rows.stated.drop_nulls("sent").select("delivery_id", "sent")
    status = pl.col("status").cast(pl.String)
    messages = rows.tables.scan(MESSAGE).filter(pl.col("delivery_id").is_in(sent["delivery_id"].implode()))
    known = messages.filter(status.is_in(_SETTLED)).group_by("delivery_id").agg(known=pl.len().cast(pl.Int64)).collect()
    rest = sent.join(known, on="delivery_id", how="left").select(
        "delivery_id", rest=(pl.col("sent") - pl.col("known").fill_null(0)).clip(0)
    )
    if groups:
        counted = counted.join(rest, on="delivery_id", how="left", maintain_order="left")
        is_stated = pl.col("rest").is_not_null()
    else:
        counted = counted.with_columns(rest=pl.lit(rest["rest"].sum()))
        is_all = set(rows.deliveries()["delivery_id"]) <= set(rest["delivery_id"])
        is_stated = pl.lit(is_all and not rows.has(MESSAGE))  # no table of messages: those stated are all
    for metric in metrics:
        value = pl.when(is_stated).then(pl.col(metric.name).fill_null(0)).otherwise(metric.name)
        more = pl.col("rest").fill_null(0) if _counts_delivered(metric) else 0
        counted = counted.with_columns((value + more).alias(metric.name))
    return counted.drop("rest")


def _counts_delivered(metric: Metric) -> bool:
    """Whether a message that was delivered, to no control address, counts in a metric."""
    where = metric.formula.where if isinstance(metric.formula, Count) else {}
    return "delivered" in where.get("status", ()) and set(where) <= {"status", "is_seed"}
