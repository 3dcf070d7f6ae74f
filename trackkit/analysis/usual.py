"""What is usual: the figures of a delivery beside those of comparable ones, and whether it differs from them.

Comparable deliveries are those of the platform average (`engine.deliveries.comparable`): the same typology and channel,
launched in the six calendar months before, without proofs, models and deleted ones. A figure is compared only with
those that are finished: deliveries that are over, or whose state is unknown, launched three days or more before the
newest hit known. A figure that cannot be observed (`analysis.unseen`) is compared with none.

A figure is different if it is beyond the fences of a box plot (1.5 times the distance of the quartiles below the lower
one or above the upper one), and by more than chance explains for so many cases (`metrics.beyond_chance`).
"""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import polars as pl

from trackkit.analysis.delays import is_over
from trackkit.analysis.unseen import WHY, observed, partly_seen, together, unseen
from trackkit.engine.deliveries import AVERAGE_MONTHS, Deliveries, asked_about, is_set_aside, planned_launch
from trackkit.engine.measure import measure
from trackkit.engine.plausible import now
from trackkit.engine.snapshot import Measurable
from trackkit.language import translatable
from trackkit.metrics import FENCE, METRICS, beyond_chance, part_of
from trackkit.schema import INSTANT

__all__ = ["FEWEST", "RECENT", "totals", "usual"]

FEWEST = 5  # comparable deliveries: fewer have no spread worth the name
RECENT = 12  # figures of a sparkline, the delivery's own included
SETTLED = timedelta(days=3)  # after which a delivery's figures hardly grow
TOO_FEW = translatable("too few to compare")
UNFINISHED = translatable("figures will change")
KIND = ("typology_id", "message_type")
COLUMNS: dict[str, Any] = {
    "delivery_id": pl.String,
    "metric": pl.String,
    **dict.fromkeys(("value", "part", "whole"), pl.Float64),
    "why": pl.String,
    "n": pl.Int64,
    **dict.fromkeys(("median", "lower", "upper", "difference"), pl.Float64),
    "is_different": pl.Boolean,
    "reason": pl.String,
    "recent": pl.List(pl.Float64),
}


def usual(tables: Measurable, metrics: Sequence[str], delivery: Deliveries = None) -> pl.DataFrame:
    """Return figures of deliveries beside the usual ones: one row per delivery and metric, in the order asked.

    Columns: `delivery_id`, `metric`; `value`, with `part` and `whole`, the numerator and the denominator of a rate;
    `why`, the reason where it cannot be observed; `n`, the comparable deliveries that have the figure; their `median`,
    `lower` and `upper` quartile; `difference`, value - median for a rate (a fraction), else value / median - 1;
    `is_different`; `reason`, why that is null: fewer than five compare, or the delivery is not finished; `recent`, the
    last twelve figures of its kind within the six months, the oldest first and its own last.

    Without `delivery`, all that are not set aside; a delivery that no table of deliveries dates compares with none.
    Raises RequestError for an unknown metric or delivery.

    >>> usual(store, ["open_rate"], delivery).select("part", "whole", "n", "reason").row(0)
    (26.0, 82.0, 0, 'too few to compare')
    """
    known, ids = declared(tables), asked_about(tables, delivery)
    asked = known.filter("is_real")["delivery_id"].to_list() if ids is None else ids
    known = _with_undeclared(known, asked)
    needed = known["delivery_id"].to_list() if ids is None else _kin(known, asked)
    if not needed:
        return pl.DataFrame(schema=COLUMNS)
    figures = observed(measure(tables, metrics, delivery=needed), unseen(tables, needed, metrics))
    long = pl.concat([_figure(figures, name) for name in metrics]).join(known, on="delivery_id", how="left")
    compared = _beside_peers(long.with_columns(is_settled(tables)))
    order = pl.DataFrame({"delivery_id": asked}, schema={"delivery_id": pl.String}).with_row_index("place")
    judged = compared.with_columns(_difference()).with_columns(reason=_reason()).with_columns(is_different=_verdict())
    rows = order.join(judged, on="delivery_id").sort(
        "place", pl.col("metric").cast(pl.Enum(list(dict.fromkeys(metrics))))
    )
    return rows.select(pl.col(name).cast(dtype) for name, dtype in COLUMNS.items())


def totals(tables: Measurable, metrics: Sequence[str], delivery: Deliveries = None) -> pl.DataFrame:
    """Return metrics over several deliveries, or over all that are not set aside, in the columns of `usual`.

    One row per metric, measured together over the deliveries in which it can be observed; nothing compares with them.
    Two columns more: `deliveries`, how many they are, and `unknown`, in how many of them it cannot be observed; in all,
    it is null, and `why` says so. Raises RequestError as `measure`.

    >>> totals(store, ["delivered"]).select("metric", "value").row(0)
    ('delivered', 260.0)
    """
    figures = together(tables, metrics, delivery).with_columns(delivery_id=pl.lit(None, pl.String))
    rows = pl.concat([_figure(figures, name) for name in metrics])
    partly = partly_seen(unseen(tables, asked_about(tables, delivery), metrics), metrics)
    unknown = partly.select("metric", "deliveries", unknown=pl.col("unknown").list.len().cast(pl.Int64))
    rows = rows.join(unknown, on="metric", how="left", maintain_order="left")
    return pl.concat([pl.DataFrame(schema=COLUMNS), rows], how="diagonal_relaxed")


def previous(tables: Measurable, delivery: str) -> str | None:
    """Return the id of the latest comparable delivery before this one, both of them finished; None if there is none."""
    settled = declared(tables).filter(is_settled(tables))
    own = settled.filter(pl.col("delivery_id") == delivery).select(*KIND, at="launched_at")
    months, at = pl.col("at").dt.offset_by(f"-{AVERAGE_MONTHS}mo"), pl.col("launched_at")
    peers = settled.filter("is_real").join(own, on=KIND, nulls_equal=True).filter(at >= months, at < pl.col("at"))
    ids: list[str] = peers.sort("launched_at", "delivery_id")["delivery_id"].to_list()
    return ids[-1] if ids else None


def declared(tables: Measurable) -> pl.DataFrame:
    """Return the deliveries declared: `delivery_id`, their kind, `launched_at`, `is_real`, `is_over`."""
    described = tables.scan("delivery").select(
        "delivery_id",
        *KIND,
        launched_at=planned_launch(),
        is_real=~is_set_aside(),
        is_over=is_over(),
    )
    return described.unique("delivery_id", keep="first", maintain_order=True).collect()


def _with_undeclared(known: pl.DataFrame, asked: Sequence[str]) -> pl.DataFrame:
    others = pl.DataFrame({"delivery_id": asked}, schema={"delivery_id": pl.String})
    return pl.concat([known, others.join(known, on="delivery_id", how="anti")], how="diagonal")


def _kin(known: pl.DataFrame, asked: Sequence[str]) -> list[str]:
    """The deliveries asked about, and those that any of them may be compared with."""
    own, launched = known.filter(pl.col("delivery_id").is_in(list(asked))), pl.col("launched_at")
    spans = own.group_by(KIND).agg(first=launched.min().dt.offset_by(f"-{AVERAGE_MONTHS}mo"), last=launched.max())
    kin = known.filter("is_real", "is_over").join(spans, on=KIND, nulls_equal=True)
    ids = kin.filter(launched >= pl.col("first"), launched < pl.col("last"))["delivery_id"]
    return list(dict.fromkeys([*asked, *ids]))


def _figure(figures: pl.DataFrame, name: str) -> pl.DataFrame:
    """One metric of each delivery, with its parts and why it cannot be observed."""
    parts = [METRICS[name].numerator, METRICS[name].denominator]
    own = [each and part_of(figures.columns, name, each) for each in parts]
    part, whole = (pl.col(each) if each else pl.lit(None, pl.Float64) for each in own)
    why = WHY.format(name)
    return figures.select(
        "delivery_id",
        metric=pl.lit(name),
        value=pl.col(name).cast(pl.Float64),
        part=part.cast(pl.Float64),
        whole=whole.cast(pl.Float64),
        why=pl.col(why) if why in figures.columns else pl.lit(None, pl.String),
    )


def is_settled(tables: Measurable) -> pl.Expr:
    """True for finished deliveries, those whose figures hardly grow: by `launched_at` and `is_over`."""
    newest = now(tables)
    if newest is None:
        return pl.col("is_over").fill_null(True).alias("is_settled")
    is_old = pl.col("launched_at") <= pl.lit(newest - SETTLED, INSTANT)
    return (is_old.fill_null(True) & pl.col("is_over").fill_null(True)).alias("is_settled")


def _beside_peers(rows: pl.DataFrame) -> pl.DataFrame:
    """Add what the comparable deliveries of each row have, by windows over the launches of its kind."""
    is_peer = pl.col("is_real").fill_null(False) & pl.col("is_settled")
    dated = rows.with_columns(peer=pl.when(is_peer).then("value")).filter(pl.col("launched_at").is_not_null())
    keys, peers = ["metric", *KIND, "launched_at"], pl.col("peer").drop_nulls()
    window = dated.sort(keys).rolling("launched_at", period=f"{AVERAGE_MONTHS}mo", closed="left", group_by=keys[:-1])
    spread = {side: peers.quantile(share, "linear") for side, share in (("lower", 0.25), ("upper", 0.75))}
    found = window.agg(n=peers.len(), median=peers.median(), **spread, recent=peers.tail(RECENT - 1))
    joined = rows.join(found.unique(keys), on=keys, how="left", nulls_equal=True)
    enough = pl.col("n") >= FEWEST
    own = pl.concat_list(pl.col("recent").fill_null([]), pl.concat_list("value")).list.drop_nulls()
    kept = [pl.when(enough).then(name).alias(name) for name in ("median", "lower", "upper")]
    return joined.with_columns(pl.col("n").fill_null(0), *kept, recent=own)


def _difference() -> pl.Expr:
    rates = [name for name, metric in METRICS.items() if metric.is_rate]
    value, median = pl.col("value"), pl.col("median")
    relative = pl.when(median > 0).then(value / median - 1)
    return pl.when(pl.col("metric").is_in(rates)).then(value - median).otherwise(relative).alias("difference")


def _reason() -> pl.Expr:
    is_finished = pl.col("is_settled")
    few = pl.when(pl.col("n") < FEWEST).then(pl.lit(TOO_FEW)).when(~is_finished).then(pl.lit(UNFINISHED))
    return pl.when(pl.col("value").is_not_null()).then(few)


def _verdict() -> pl.Expr:
    """Whether a figure is beyond the fences, and by more than chance."""
    value, median, fence = pl.col("value"), pl.col("median"), FENCE * (pl.col("upper") - pl.col("lower"))
    is_outside = (value < pl.col("lower") - fence) | (value > pl.col("upper") + fence)
    rates = [name for name, metric in METRICS.items() if metric.is_rate]
    by_chance = pl.when(pl.col("metric").is_in(rates)).then(~beyond_chance(value, median, pl.col("whole")))
    return pl.when(pl.col("reason").is_null()).then(is_outside & ~by_chance.fill_null(False))
