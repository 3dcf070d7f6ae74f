"""Several deliveries side by side and together: which ones, and their figures, with a total measured by itself.

A recipient counts in each delivery; distinct people are counted again over all of them, never added; estimates and
forwards are worked out for each delivery and then added (see `engine`). Rates are those of the total.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

import polars as pl

from trackkit.analysis.unseen import observed, unseen
from trackkit.engine.believed import believed
from trackkit.engine.deliveries import AVERAGE_MONTHS, is_set_aside, require_deliveries, without_aside
from trackkit.engine.measure import measure
from trackkit.engine.snapshot import Measurable
from trackkit.errors import RequestError
from trackkit.schema import INSTANT

MOST = 1_000  # a report of more rows is read by nobody (spec, 2.0)


class SideBySide(NamedTuple):
    """The metrics of each delivery, and the same ones of all of them together, in one row."""

    rows: pl.DataFrame
    total: pl.DataFrame


def chosen_deliveries(tables: Measurable, deliveries: str | Sequence[str] = "") -> pl.DataFrame:
    """Return the deliveries asked about: one row each, with `delivery_id`, `delivery` (its words) and `launched_at`.

    `deliveries` are ids, or one text of ids with commas between them; they stand in the order asked, each once. Empty:
    all those launched in the six calendar months up to the latest launch of all, the latest first, proofs, models and
    deleted ones left out; and simply all where none is dated. A launch that no table dates is the first hit. `delivery`
    is the label, else the internal name, else the id; equal ones are told apart by their id. Raises RequestError for an
    unknown id, and for more than a thousand deliveries.
    """
    asked = _ids(deliveries)
    keys = require_deliveries(tables, asked) if asked else None
    found = _known(tables, keys)
    chosen = _of_the_last_months(found, believed(tables).last) if keys is None else _in_order(found, keys)
    if chosen.height > MOST:
        raise RequestError(f"A report holds at most {MOST:,} deliveries; there are {chosen.height:,}: name fewer ids.")
    return _told_apart(chosen).select("delivery_id", "delivery", "launched_at")


def not_chosen(tables: Measurable, chosen: pl.DataFrame) -> int:
    """Return how many deliveries that count are not among those of `chosen_deliveries`."""
    known = pl.concat([tables.scan(name).select("delivery_id").unique() for name in ("delivery", "event")])
    others = known.drop_nulls().unique().join(chosen.lazy(), on="delivery_id", how="anti")
    return int(without_aside(tables, others).select(pl.len()).collect().item())


def side_by_side(tables: Measurable, metrics: Sequence[str], deliveries: str | Sequence[str] = "") -> SideBySide:
    """Return metrics of several deliveries, and of all of them together, measured again.

    `rows` has one row per delivery, in the order of `chosen_deliveries` and with its columns, then those of `measure`
    through `unseen.observed`; `total` is one row. Raises RequestError as `chosen_deliveries` and `measure`.
    """
    chosen = chosen_deliveries(tables, deliveries)
    keys = chosen["delivery_id"].to_list()
    measured = observed(measure(tables, metrics, by="delivery_id", delivery=keys), unseen(tables, keys, metrics))
    rows = chosen.join(measured, on="delivery_id", how="left", maintain_order="left")
    return SideBySide(rows, measure(tables, metrics, by=[], delivery=keys))


def _ids(deliveries: str | Sequence[str]) -> list[str]:
    """The ids asked for, each once; papermill makes a number of one that looks so."""
    asked = str(deliveries).split(",") if isinstance(deliveries, str | int | float) else map(str, deliveries)
    return list(dict.fromkeys(key.strip() for key in asked if key.strip()))


def _known(tables: Measurable, keys: list[str] | None) -> pl.DataFrame:
    """Each delivery that is declared or was hit: its words, when it was launched, and whether it is a real one."""
    declared, hits = tables.scan("delivery"), tables.scan("event").drop_nulls("delivery_id")
    if keys is not None:
        asked = pl.col("delivery_id").is_in(keys)
        declared, hits = declared.filter(asked), hits.filter(asked)
    dated = hits.filter(believed(tables).holds())
    first = dated.group_by("delivery_id").agg(first_hit_at=pl.col("occurred_at").min())
    first = hits.select("delivery_id").unique().join(first, on="delivery_id", how="left")
    joined = declared.unique("delivery_id").join(first, on="delivery_id", how="full", coalesce=True)
    named = joined.select(
        "delivery_id",
        delivery=pl.coalesce("label", "internal_name", "delivery_id"),
        launched_at=pl.coalesce("started_at", "contact_at", "first_hit_at"),
        is_real=~is_set_aside(),
    )
    return named.collect()


def _of_the_last_months(found: pl.DataFrame, until: datetime | None) -> pl.DataFrame:
    """The deliveries launched in the months up to the latest launch; what is planned for later is none."""
    launched, back = pl.col("launched_at"), f"-{AVERAGE_MONTHS}mo"
    real = found.filter("is_real", (launched <= pl.lit(until, INSTANT)).fill_null(True))
    recent = (launched >= launched.max().dt.offset_by(back)) | launched.max().is_null()
    return real.filter(recent).sort("launched_at", "delivery_id", descending=[True, False])


def _in_order(found: pl.DataFrame, keys: list[str]) -> pl.DataFrame:
    """The deliveries asked for, in that order; one that only its messages or links mention is known by its id."""
    order = pl.DataFrame({"delivery_id": keys}, schema={"delivery_id": pl.String})
    rows = order.join(found, on="delivery_id", how="left", maintain_order="left")
    return rows.with_columns(delivery=pl.coalesce("delivery", "delivery_id"))


def _told_apart(chosen: pl.DataFrame) -> pl.DataFrame:
    alike = pl.col("delivery").is_duplicated()
    with_id = pl.format("{} ({})", "delivery", "delivery_id")
    return chosen.with_columns(delivery=pl.when(alike).then(with_id).otherwise("delivery"))
