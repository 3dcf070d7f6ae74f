"""Shares that grow with time, estimated from messages that are watched for different times: curves by statsmodels.

In: one row per message: `hours` until its event or, without one, for which it was watched; `is_seen`, whether it had
the event; `is_borrowed`. Out: one row per group and step, as `curves.time_to_first` describes them.
"""

from collections.abc import Iterable, Sequence
from statistics import NormalDist
from typing import Any

import numpy as np
import polars as pl

MOST_STEPS = 200
BAND = 0.95
Numbers = np.ndarray[Any, Any]
STEP: dict[str, Any] = {
    "hours": pl.Float64,
    **dict.fromkeys(("at_risk", "events"), pl.Int64),
    **dict.fromkeys(("share_so_far", "low", "high"), pl.Float64),
    **dict.fromkeys(("messages", "borrowed"), pl.Int64),
}


def of_messages(rows: pl.DataFrame, groups: Sequence[str]) -> pl.DataFrame:
    """Return the share of each group's messages with the event by each time, as Kaplan and Meier estimate it.

    >>> rows = pl.DataFrame({"hours": [1.0, 2.0], "is_seen": [True, False], "is_borrowed": False})
    >>> of_messages(rows, [])["share_so_far"].to_list()
    [0.0, 0.5]
    """
    parts = rows.partition_by(groups, maintain_order=True) if groups else [rows] if rows.height else []
    curves = (_survival(part).with_columns(_only(part[name]) for name in groups) for part in parts)
    return _stacked(curves, groups, rows)


def of_hits(rows: pl.DataFrame, group: str) -> pl.DataFrame:
    """Return the share of all messages that had the event first in each group, as Aalen and Johansen estimate it.

    In: rows with the `group` of their event too.
    """
    from statsmodels.duration.survfunc import CumIncidenceRight

    groups = rows.filter("is_seen").select(group).unique().sort(group, nulls_last=True).with_row_index("cause", 1)
    known = rows.join(groups, on=group, how="left", nulls_equal=True, maintain_order="left")
    hours, seen = rows["hours"].to_numpy(), rows["is_seen"].to_numpy()
    status = np.where(seen, known["cause"].fill_null(0).to_numpy(), 0).astype(np.int64)
    if not seen.any():
        return _stacked((), [group], rows)
    with np.errstate(divide="ignore", invalid="ignore"):  # the last step may have no error: its band is null
        curve = CumIncidenceRight(hours, status)

    def of_cause(cause: int) -> pl.DataFrame:
        at = np.isin(curve.times, hours[status == cause])
        share, error = curve.cinc[cause - 1][at], curve.cinc_se[cause - 1][at]
        return _steps(rows, hours[status == cause], curve.times[at], share, error)

    named = (of_cause(cause).with_columns(_only(groups[group][cause - 1 :])) for cause in groups["cause"])
    return _stacked(named, [group], rows)


def _survival(rows: pl.DataFrame) -> pl.DataFrame:
    from statsmodels.duration.survfunc import SurvfuncRight

    hours, seen = rows["hours"].to_numpy(), rows["is_seen"].to_numpy()
    curve = SurvfuncRight(hours, seen.astype(np.int64))
    return _steps(rows, hours[seen], curve.surv_times, 1 - curve.surv_prob, curve.surv_prob_se)


def _steps(rows: pl.DataFrame, own: Numbers, times: Numbers, share: Numbers, error: Numbers) -> pl.DataFrame:
    """The steps of one curve, after hour 0, thinned; `own` are the hours of its events."""
    kept = np.unique(np.linspace(0, max(len(times) - 1, 0), MOST_STEPS - 1).round().astype(np.int64))[: len(times)]
    at = times[kept]
    at_risk = rows.height - np.searchsorted(np.sort(rows["hours"].to_numpy()), at, "left")
    events = np.searchsorted(np.sort(own), at, "right")
    steps = {"hours": at, "at_risk": at_risk, "events": events, "share_so_far": share[kept], "error": error[kept]}
    origin = pl.DataFrame({"hours": [0.0], "at_risk": [rows.height], "events": [0], "share_so_far": [0.0]})
    sizes = {"messages": rows.height, "borrowed": rows["is_borrowed"].sum()}
    curve = pl.concat([origin, _with_band(pl.DataFrame(steps))], how="diagonal_relaxed")
    return curve.with_columns(pl.lit(size).alias(name) for name, size in sizes.items())


def _with_band(steps: pl.DataFrame) -> pl.DataFrame:
    """Add the band on the log-log scale of the share without the event, where it never leaves 0 to 1."""
    rest, z = 1 - pl.col("share_so_far"), NormalDist().inv_cdf((1 + BAND) / 2)
    spread = z * pl.col("error") / (rest * rest.log())  # below 0
    is_inside = (rest > 0) & (rest < 1) & pl.col("error").is_finite()
    bounds = {"low": 1 - rest ** spread.exp(), "high": 1 - rest ** (-spread).exp()}
    return steps.with_columns(pl.when(is_inside).then(bound).alias(name) for name, bound in bounds.items())


def _only(names: pl.Series) -> pl.Expr:
    """The first of some names, for all rows."""
    return pl.lit(names[0], names.dtype).alias(names.name)


def _stacked(curves: Iterable[pl.DataFrame], groups: Sequence[str], rows: pl.DataFrame) -> pl.DataFrame:
    schema = {name: rows.schema[name] for name in groups} | STEP
    columns = [pl.col(name).cast(dtype) for name, dtype in schema.items()]
    return pl.concat([pl.DataFrame(schema=schema), *(curve.select(columns) for curve in curves)])
