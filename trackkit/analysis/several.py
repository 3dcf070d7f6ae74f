"""Several deliveries side by side and together: which ones, and their figures, with a total measured separately.

A recipient counts in each delivery; distinct people are counted anew over all of them, never added; estimates and
forwards are computed for each delivery and then added (see `engine`). The total's rates are those of its counts, each
over the deliveries in which it can be observed.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

import polars as pl

from trackkit.analysis.delays import is_over
from trackkit.analysis.unseen import measure_observed, observed, unseen
from trackkit.engine.completeness import purged
from trackkit.engine.deliveries import (
    AVERAGE_MONTHS,
    is_public,
    is_set_aside,
    launches,
    of_deliveries,
    require_deliveries,
    without_aside,
)
from trackkit.engine.measure import measure
from trackkit.engine.plausible import plausible
from trackkit.engine.snapshot import Measurable
from trackkit.errors import RequestError
from trackkit.schema import INSTANT

__all__ = [
    "SideBySide",
    "chosen_deliveries",
    "not_chosen",
    "reach",
    "side_by_side",
    "unfinished",
]

MOST = 1_000  # nobody reads a report with more rows (spec, 2.0)


class SideBySide(NamedTuple):
    """The metrics of each delivery, and in one row those of all together."""

    rows: pl.DataFrame
    total: pl.DataFrame


def chosen_deliveries(tables: Measurable, deliveries: str | Sequence[str] = "") -> pl.DataFrame:
    """Return the deliveries asked about: one row each, with `delivery_id`, `delivery` (its name) and `launched_at`.

    `deliveries` are ids, or one text of ids separated by commas; they keep their order, each once. Empty, they are all
    those launched in the six calendar months up to the latest launch, the latest first, without proofs, models and
    deleted ones; or all if none is dated. `launched_at` is that of `engine.deliveries.launches`. `delivery` is the
    label, else the internal name, else the id; the id is added to equal ones. Raises RequestError for an unknown id,
    and for more than a thousand deliveries.

    >>> chosen_deliveries(store, "7471048,7471196")["delivery_id"].to_list()
    ['7471048', '7471196']
    """
    ids = _ids(deliveries)
    keys = require_deliveries(tables, ids) if ids else None
    known = _all_deliveries(tables, keys)
    chosen = _of_the_last_months(known, plausible(tables).last) if keys is None else _in_order(known, keys)
    if chosen.height > MOST:
        raise RequestError(f"A report holds at most {MOST:,} deliveries; there are {chosen.height:,}: name fewer ids.")
    return _with_unique_names(chosen).select("delivery_id", "delivery", "launched_at")


def not_chosen(tables: Measurable, chosen: pl.DataFrame) -> int:
    """Return how many deliveries that count are not among those of `chosen_deliveries`.

    >>> not_chosen(store, chosen_deliveries(store, delivery))
    3
    """
    ids = pl.concat([tables.scan(name).select("delivery_id").unique() for name in ("delivery", "event")])
    others = ids.drop_nulls().unique().join(chosen.lazy(), on="delivery_id", how="anti")
    return int(without_aside(tables, others).select(pl.len()).collect().item())


def side_by_side(tables: Measurable, metrics: Sequence[str], deliveries: str | Sequence[str] = "") -> SideBySide:
    """Return metrics of several deliveries, and of all of them together, measured separately.

    `rows` has one row per delivery, in the order of `chosen_deliveries` and with its columns, then those of `measure`
    through `unseen.observed`; `total` is one row of `unseen.measure_observed`. Raises RequestError as
    `chosen_deliveries` and `measure`.

    >>> both = side_by_side(store, ["delivered"])
    >>> both.rows["delivered"].to_list(), both.total["delivered"].item()
    ([40, 57, 81, 82], 260)
    """
    chosen = chosen_deliveries(tables, deliveries)
    keys = chosen["delivery_id"].to_list()
    if not keys:
        none = chosen.join(measure(tables, metrics).clear(), on="delivery_id", how="left")
        return SideBySide(none, measure(tables, metrics, by=[]).clear(1))
    hidden = unseen(tables, keys, metrics)
    measured = observed(measure(tables, metrics, by="delivery_id", delivery=keys), hidden)
    rows = chosen.join(measured, on="delivery_id", how="left", maintain_order="left")
    return SideBySide(rows, measure_observed(tables, metrics, hidden, [], keys))


def reach(tables: Measurable, deliveries: Sequence[str]) -> pl.DataFrame:
    """Return how many people some deliveries were sent to, each counted once: one row.

    Columns: `messages`, those delivered to addresses that are no control addresses; `people`, the recipients among
    them, null where any message names none or retention removed messages.

    >>> reach(store, ["7471048", "7471122"]).row(0)
    (163, 102)
    """
    sent = of_deliveries(tables, "message", deliveries).filter(pl.col("status") == "delivered", is_public())
    recipient = pl.col("recipient_id")
    is_known = recipient.null_count() == 0
    counted = sent.select(messages=pl.len().cast(pl.Int64), people=pl.when(is_known).then(recipient.n_unique()))
    removed = purged(tables).filter(pl.col("delivery_id").is_in(list(deliveries)), source="message").height > 0
    people = pl.lit(None) if removed or not tables.has("message") else pl.col("people")
    return counted.with_columns(people=people.cast(pl.Int64)).collect()


def unfinished(tables: Measurable, deliveries: Sequence[str]) -> list[str]:
    """Return those of some deliveries that are known not to be over, by id, in their order.

    >>> unfinished(store, ["7471048", "7471233"])
    ['7471233']
    """
    is_open = pl.col("delivery_id").is_in(list(deliveries)) & ~is_over()
    ids = tables.scan("delivery").filter(is_open).select("delivery_id").collect()["delivery_id"].to_list()
    return [delivery for delivery in deliveries if delivery in ids]


def _ids(deliveries: str | Sequence[str]) -> list[str]:
    """The ids asked for, each once; papermill turns a numeric one into a number."""
    parts = str(deliveries).split(",") if isinstance(deliveries, str | int | float) else map(str, deliveries)
    return list(dict.fromkeys(key.strip() for key in parts if key.strip()))


def _all_deliveries(tables: Measurable, keys: list[str] | None) -> pl.DataFrame:
    """Each delivery that is declared or was hit: its name, its launch, and whether it is a real one."""
    declared, hits = tables.scan("delivery"), tables.scan("event").drop_nulls("delivery_id")
    if keys is not None:
        is_asked = pl.col("delivery_id").is_in(keys)
        declared, hits = declared.filter(is_asked), hits.filter(is_asked)
    hit = hits.select("delivery_id").unique()
    joined = declared.unique("delivery_id").join(hit, on="delivery_id", how="full", coalesce=True)
    described = joined.select(
        "delivery_id", delivery=pl.coalesce("label", "internal_name", "delivery_id"), is_real=~is_set_aside()
    )
    return described.join(launches(tables, keys).lazy(), on="delivery_id", how="left").collect()


def _of_the_last_months(deliveries: pl.DataFrame, until: datetime | None) -> pl.DataFrame:
    """The deliveries launched in the months up to the latest launch, without those planned for later."""
    launched, months_back = pl.col("launched_at"), f"-{AVERAGE_MONTHS}mo"
    real = deliveries.filter("is_real", (launched <= pl.lit(until, INSTANT)).fill_null(True))
    is_recent = (launched >= launched.max().dt.offset_by(months_back)) | launched.max().is_null()
    return real.filter(is_recent).sort("launched_at", "delivery_id", descending=[True, False])


def _in_order(deliveries: pl.DataFrame, keys: list[str]) -> pl.DataFrame:
    """The deliveries asked for, in that order; one that only messages or links mention is named by its id."""
    order = pl.DataFrame({"delivery_id": keys}, schema={"delivery_id": pl.String})
    rows = order.join(deliveries, on="delivery_id", how="left", maintain_order="left")
    return rows.with_columns(delivery=pl.coalesce("delivery", "delivery_id"))


def _with_unique_names(deliveries: pl.DataFrame) -> pl.DataFrame:
    is_ambiguous = pl.col("delivery").is_duplicated()
    with_id = pl.format("{} ({})", "delivery", "delivery_id")
    return deliveries.with_columns(delivery=pl.when(is_ambiguous).then(with_id).otherwise("delivery"))
