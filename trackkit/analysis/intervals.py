"""Rates of many small cells, such as links or mail domains, each drawn towards all of them by as much as chance asks.

The best and the worst of many small cells are those of most chance. A beta-binomial distribution is fitted to all cells
(scipy): how far their true rates lie apart. Each cell's own counts then speak against it, which leaves large cells
where they are, and small ones near the middle. The bounds take the fitted distribution as known, and as worth at most
as many cases as all cells have.

Which cells are unlike the others is judged by the median and the median distance from it, which the unusual ones hardly
move, and with the false discovery rate controlled (Benjamini and Hochberg, statsmodels).
"""

from collections.abc import Sequence
from typing import Annotated, Any

import numpy as np
import polars as pl

from trackkit.analysis.domains import OTHERS
from trackkit.engine.measure import require_level
from trackkit.errors import RequestError
from trackkit.metrics import METRICS, WILSON, part_of

__all__ = ["FEWEST", "SMALL", "anomalies", "shrunk", "unusual"]

FEWEST = 5  # cells: fewer do not show how far rates lie apart
SMALL = 30  # cases: the rate of fewer is hardly a figure
CONCENTRATION = 0.1  # of the distribution of rates, at least; at most the cases there are: rates differ by chance alone
MEAN = 1e-7  # the least
SHARES = tuple(name for name, metric in METRICS.items() if metric.interval == WILSON)
ANOMALIES: dict[str, Any] = {
    **dict.fromkeys(("name", "metric"), pl.String),
    **dict.fromkeys(("part", "whole"), pl.Int64),
    **dict.fromkeys(("rate", "usual", "z", "p"), pl.Float64),
    "is_unusual": pl.Boolean,
}
NORMAL = 1.4826  # standard deviations of a normal distribution in its median distance from the median


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
    part, whole = parts or (part_of(rows.columns, rate, each) for each in METRICS[rate].parents)
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
    spans = [(logit(MEAN), logit(1 - MEAN)), (np.log(CONCENTRATION), np.log(whole.sum()))]
    starts = [(logit(overall), np.log(concentration)) for concentration in (10, 1_000)]
    found = [minimize(unlikely, start, method="L-BFGS-B", bounds=spans) for start in starts]
    return shapes(min(found, key=lambda each: each.fun).x)


def unusual(rows: pl.DataFrame, rate: str, parts: tuple[str, str] | None = None, level: float = 0.95) -> pl.DataFrame:
    """Return a frame with which rows have a rate unlike the others, beyond chance and beyond how far others lie apart.

    In: as for `shrunk`. Out: the rows in their order, with `usual`, the median rate (of logits); `z`, how many standard
    deviations the row's rate lies from it, on the scale of logits; `p`, the chance of such a z, adjusted so that at
    most 1 - `level` of the rows called unusual are not; `is_unusual`. Null for cells of fewer than 30 cases, for counts
    that give no share, and where fewer than five cells remain. Raises RequestError as `shrunk`.

    >>> cells = pl.DataFrame({"domain": [*"abcdef"], "k": [30, 31, 29, 33, 28, 90]}).with_columns(n=300)
    >>> unusual(cells, "rate", ("k", "n")).filter("is_unusual")["domain"].to_list()
    ['f']
    """
    level, (part, whole) = require_level(level), _parts(rows, rate, parts)
    placed, is_share = rows.with_row_index("place"), (pl.col(part) <= pl.col(whole)).fill_null(False)
    cells = placed.filter(is_share, pl.col(whole) >= SMALL).select("place", part, whole)
    if cells.height < FEWEST:
        cells = cells.clear()
    values = _distances(cells[part].to_numpy(), cells[whole].to_numpy()) if cells.height else ([],) * 3
    series = [pl.Series(name, value, pl.Float64) for name, value in zip(("usual", "z", "p"), values, strict=True)]
    judged = cells.select("place").with_columns(series).with_columns(is_unusual=pl.col("p") < 1 - level)
    return placed.join(judged, on="place", how="left", maintain_order="left").drop("place")


def anomalies(
    rows: pl.DataFrame,
    column: str,
    metrics: Annotated[Sequence[str], SHARES],
    level: float = 0.95,
) -> Annotated[pl.DataFrame, ANOMALIES]:
    """Return what groups are unlike the others in any of some rates: one row per group and metric, the oddest first.

    In: a frame of `measure` by `column`, with the metrics. Columns: `name`, the group; `metric`; `part`, `whole` and
    `rate`; `usual`, `z`, `p` and `is_unusual` as of `unusual`. Groups that are not judged are left out, as are the
    unnamed one and what is added up as Others. Raises RequestError as `unusual`.

    >>> cells = pl.DataFrame({"domain": [*"abcdef"], "unique_opens": [30, 31, 29, 33, 28, 90], "delivered": 300})
    >>> cells = cells.with_columns(open_rate=pl.col("unique_opens") / pl.col("delivered"))
    >>> anomalies(cells, "domain", ["open_rate"]).filter("is_unusual").select("name", "part", "whole").rows()
    [('f', 90, 300)]
    """
    frames = [
        unusual(rows, metric, level=level).select(
            pl.col(column).cast(pl.String).alias("name"),
            pl.lit(metric).alias("metric"),
            *(
                pl.col(part_of(rows.columns, metric, part)).cast(pl.Int64).alias(name)
                for part, name in zip(METRICS[metric].parents, ("part", "whole"), strict=True)
            ),
            pl.col(metric).alias("rate"),
            "usual",
            "z",
            "p",
            "is_unusual",
        )
        for metric in metrics
    ]
    judged = pl.concat([pl.DataFrame(schema=ANOMALIES), *frames]).drop_nulls(["name", "p"])
    return judged.filter(pl.col("name") != OTHERS).sort("p", "metric", "name")


def _distances(part: Any, whole: Any) -> tuple[Any, Any, Any]:
    """The usual rate, each cell's distance from it, and the adjusted chance of that."""
    from scipy.special import expit
    from scipy.stats import norm
    from statsmodels.stats.multitest import multipletests

    logits = np.log((part + 0.5) / (whole - part + 0.5))
    by_chance = 1 / (part + 0.5) + 1 / (whole - part + 0.5)
    middle = np.median(logits)
    spread = (NORMAL * np.median(np.abs(logits - middle))) ** 2
    z = (logits - middle) / np.sqrt(by_chance + max(0.0, spread - np.median(by_chance)))
    adjusted = multipletests(2 * norm.sf(np.abs(z)), method="fdr_bh")[1]
    return np.full(len(z), expit(middle)), z, adjusted
