"""Why sums of money are unknown: amounts of which currencies were not added."""

from collections.abc import Sequence

import polars as pl

from trackkit.engine.measure import measure
from trackkit.engine.snapshot import Measurable
from trackkit.metrics import PURCHASES, money_of


def not_added(
    measured: pl.DataFrame,
    tables: Measurable,
    by: Sequence[str],
    delivery: Sequence[str] | None = None,
    where: str | None = None,
    timezone: str = "",
    engine: str = "polars",
) -> list[str]:
    """Return the currencies that stand together in a row of `measured`, whose sums of money are unknown for that.

    The other arguments are those of the question (`engine.measure`). Empty where no sum of money is unknown.
    """
    if "currency" in by or not any(measured[name].null_count() for name in money_of(measured.columns)):
        return []
    counts = measure(tables, PURCHASES, [*by, "currency"], delivery, where, timezone, engine)
    named = counts.filter(pl.col("currency").is_not_null(), pl.sum_horizontal(PURCHASES) > 0)
    groups = named.group_by(list(by)) if by else named.group_by(pl.lit(1))
    together = groups.agg("currency").filter(pl.col("currency").list.len() > 1)
    return together["currency"].explode().unique().sort().to_list()
