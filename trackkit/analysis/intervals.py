"""Rates of many small cells, such as links or mail domains, each drawn towards all of them by as much as chance asks.

The best and the worst of many small cells are those of most chance. A beta-binomial distribution is fitted to all cells
(scipy): how far their true rates lie apart. Each cell's own counts then speak against it, which leaves large cells
where they are, and small ones near the middle. The bounds take the fitted distribution as known.
"""

from typing import Any

import numpy as np
import polars as pl

from trackkit.engine.measure import require_level
from trackkit.errors import RequestError
from trackkit.metrics import METRICS, WILSON

__all__ = ["FEWEST", "SMALL", "shrunk"]

FEWEST = 5  # cells: fewer do not show how far rates lie apart
SMALL = 30  # cases: the rate of fewer is hardly a figure
CONCENTRATION = (0.1, 1e7)  # of the distribution of rates; at the end, they differ by chance alone
MEAN = 1e-7  # the least


def shrunk(rows: pl.DataFrame, rate: str, parts: tuple[str, str] | None = None, level: float = 0.95) -> pl.DataFrame:
    """Return a frame with the shrunk rate of each row beside the raw one, and its place by the lower bound.

    In: one row per cell, such as a frame of `measure` by domain, with the parts of `rate`, a share of messages; `parts`
    names other columns of counts, and `rate` is then a name for their share. Out: the rows in their order, with
    `<rate>_shrunk`, `<rate>_shrunk_low` and `<rate>_shrunk_high` (fractions; between the bounds the cell's rate is
    with confidence `level`), `rank` (1 is the highest lower bound) and `is_small`, whether the cell has fewer than 30
    cases. Where the counts give no share, and for fewer than five cells that do, all but `is_small` is null.

    Raises RequestError for a rate that is no share of messages, and for columns that are not there.

    >>> cells = pl.DataFrame({"domain": [*"abcdef"], "k": [1, 31, 52, 18, 40, 27], "n": [2, 300, 300, 300, 300, 300]})
    >>> shrunk(cells, "rate", ("k", "n")).select("domain", pl.col("rate_shrunk").round(2), "rank", "is_small").row(0)
    ('a', 0.12, 5, True)
    """
    level, (part, whole) = require_level(level), _parts(rows, rate, parts)
    names = [f"{rate}_shrunk", f"{rate}_shrunk_low", f"{rate}_shrunk_high"]
    is_share = ((pl.col(whole) > 0) & (pl.col(part) <= pl.col(whole))).fill_null(False)
    placed = rows.with_row_index("place")
    cells = placed.filter(is_share).select("place", part, whole)
    values = _values(cells[part].to_numpy(), cells[whole].to_numpy(), level)
    fitted = cells.select("place").with_columns(
        pl.Series(name, value) for name, value in zip(names, values, strict=True)
    )
    ranked = fitted.with_columns(rank=pl.col(names[1]).rank("min", descending=True))
    joined = placed.join(ranked, on="place", how="left", maintain_order="left").drop("place")
    return joined.with_columns(is_small=(pl.col(whole) < SMALL).fill_null(True))


def _parts(rows: pl.DataFrame, rate: str, parts: tuple[str, str] | None) -> tuple[str, str]:
    if parts is None and (rate not in METRICS or METRICS[rate].interval != WILSON):
        raise RequestError(
            f"{rate!r} is no share of messages; name its two counts, as in parts=('clicks', 'delivered')."
        )
    part, whole = parts or METRICS[rate].parents
    if lacking := [name for name in (part, whole) if name not in rows.columns]:
        raise RequestError(f"The frame has no column {lacking[0]!r}; it has {', '.join(rows.columns)}.")
    return part, whole


def _values(part: Any, whole: Any, level: float) -> tuple[Any, Any, Any]:
    """The mean of each cell's rate and its bounds, given the distribution fitted to all."""
    from scipy.stats import beta

    if len(part) < FEWEST:
        return (pl.Series([None] * len(part), dtype=pl.Float64),) * 3
    more, less = _fitted(part, whole)
    rates = beta(part + more, whole - part + less)
    return rates.mean(), rates.ppf((1 - level) / 2), rates.ppf((1 + level) / 2)


def _fitted(part: Any, whole: Any) -> tuple[float, float]:
    """The two parameters of the beta-binomial distribution under which these counts are likeliest."""
    from scipy.optimize import minimize
    from scipy.special import expit, logit
    from scipy.stats import betabinom

    def shapes(point: Any) -> tuple[float, float]:
        mean, concentration = expit(point[0]), np.exp(point[1])
        return mean * concentration, (1 - mean) * concentration

    def unlikely(point: Any) -> float:
        return -float(betabinom.logpmf(part, whole, *shapes(point)).sum())

    overall = float(np.clip(part.sum() / whole.sum(), MEAN, 1 - MEAN))
    spans = [(logit(MEAN), logit(1 - MEAN)), tuple(np.log(CONCENTRATION))]
    starts = [(logit(overall), np.log(concentration)) for concentration in (10, 1_000, 100_000)]
    found = [minimize(unlikely, start, method="L-BFGS-B", bounds=spans) for start in starts]
    return shapes(min(found, key=lambda each: each.fun).x)
