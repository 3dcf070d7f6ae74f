"""Intervals of rates: how far a rate could be off, had such recipients been drawn again.

A delivery to a whole list is a census of that list: its counts are what they are. An interval speaks of the rate of
such recipients, of whom these are taken as a sample. It knows nothing of machines and of events that come late.

Shares of messages have Wilson's interval (statsmodels). Events and people, of which one message has several, have a
Poisson bootstrap of messages: each is drawn again about once, with all its events. Resampling cannot say how rare the
rare is, so that a few messages are added first, half of them with events, as Agresti and Coull (1998) add successes
and failures. `benchmarks/intervals.py` measures how often each holds what it promises.
"""

from typing import Any

import numpy as np
import polars as pl

from trackkit.engine.counting import PART_ROWS, row_tests
from trackkit.engine.selection import Selection
from trackkit.metrics import BOOTSTRAP, METRICS, PEOPLE, WILSON, Metric, Ratio, bounds_of, where_of

DRAWS = 2_000  # of a bootstrap
SEED = 17  # the same for each rate, so that equal messages have equal bounds, whatever else is asked
AT_ONCE = 2_000_000  # numbers drawn at a time, about 16 MB
EVENTS, MESSAGES = "events of a message", "messages"
Bounds = tuple[Any, Any]


def with_intervals(
    selection: Selection, measured: pl.DataFrame, names: list[str], groups: list[str], level: float
) -> pl.DataFrame:
    """Add the bounds of the rates among `names`: Float64, null where there is no rate or it has no interval."""
    rates = [METRICS[name] for name in dict.fromkeys(names) if isinstance(METRICS[name].formula, Ratio)]
    for rate in rates:
        bounds = zip(bounds_of(rate.name), _bounds(selection, measured, rate, groups, level), strict=True)
        values = [pl.Series(name, bound, pl.Float64).fill_nan(None) for name, bound in bounds]
        is_known = pl.col(rate.name).is_not_null()
        measured = measured.with_columns(pl.when(is_known).then(value).alias(value.name) for value in values)
    return measured


def _bounds(selection: Selection, measured: pl.DataFrame, rate: Metric, groups: list[str], level: float) -> Bounds:
    if rate.interval == WILSON:
        part, whole = (measured[name].cast(pl.Float64).fill_null(np.nan).to_numpy() for name in rate.parents)
        return wilson(part, whole, level)
    if rate.interval == BOOTSTRAP:
        clusters = _clusters(selection, METRICS[rate.parents[0]], groups)
        return _drawn_again(measured, clusters, rate, groups, level)
    return (np.full(measured.height, np.nan),) * 2


def wilson(part: Any, whole: Any, level: float) -> Bounds:
    """Return the bounds of shares, arrays of counts in, by Wilson (1927); NaN where `part` is no part of `whole`.

    >>> low, high = wilson([0, 3], [400, 2], 0.95)
    >>> float(low[0]), round(float(high[0]), 4), float(high[1])
    (0.0, 0.0095, nan)
    """
    from statsmodels.stats.proportion import proportion_confint  # takes seconds to import

    part, whole = np.asarray(part, float), np.asarray(whole, float)
    is_share = (whole > 0) & (part <= whole)
    of = np.where(is_share, whole, np.nan)
    low, high = proportion_confint(np.where(is_share, part, np.nan), of, alpha=1 - level, method="wilson")
    return np.where(part == 0, low * 0, low), np.where(part == whole, high * 0 + 1, high)  # but for rounding


# ---- events, of which a message has several ----


def _clusters(selection: Selection, counted: Metric, groups: list[str]) -> pl.DataFrame:
    """How many messages have how many events (or people): the groups, `EVENTS` and `MESSAGES`.

    People are counted with one of their messages each. An event of no known message has one of its own.
    """
    is_apart = counted.unit != PEOPLE or "delivery_id" in groups  # no cluster is in two deliveries
    parts = selection.parts(PART_ROWS[False]) if is_apart else [selection]
    tests = row_tests(selection, where_of(counted.formula))
    frames = [selection.backend.collect(_of_part(part.meeting(tests), counted, groups)) for part in parts]
    return pl.concat(frames).group_by(*groups, EVENTS).agg(pl.col(MESSAGES).sum()).sort(*groups, EVENTS)


def clusters_of(selection: Selection, counted: Metric) -> tuple[Any, Any]:
    """Return how many events messages have, and how many messages have so many: two arrays, for `drawn`."""
    sizes = _clusters(selection, counted, [])
    return sizes[EVENTS].to_numpy(), sizes[MESSAGES].to_numpy()


def _of_part(part: Selection, counted: Metric, groups: list[str]) -> Any:
    api, key = part.backend.api, dict.fromkeys([*groups, "delivery_id", "message_id"])
    rows = part.described(part.in_scope(part.of("event")), groups)
    if counted.unit == PEOPLE:
        known = rows.filter(~api.col("person_id").is_null()).group_by([*groups, "person_id"])
        rows = known.agg(api.col(name).min() for name in key if name not in groups)
    by_message = rows.group_by(list(key)).agg(api.len().cast(api.Int64).alias("n"))
    is_unknown = api.col("message_id").is_null()
    one = api.lit(1, api.Int64)
    sized = by_message.with_columns(
        api.when(is_unknown).then(one).otherwise(api.col("n")).alias(EVENTS),
        api.when(is_unknown).then(api.col("n")).otherwise(one).alias(MESSAGES),
    )
    return sized.group_by([*groups, EVENTS]).agg(api.col(MESSAGES).sum().cast(api.Int64))


def _drawn_again(
    measured: pl.DataFrame, clusters: pl.DataFrame, rate: Metric, groups: list[str], level: float
) -> Bounds:
    """The bounds of each row; NaN where the messages known have not all its events, as where only counts are known."""
    key = groups or ["all"]
    sizes = clusters.with_columns(all=0).group_by(key).agg(EVENTS, MESSAGES)
    rows = measured.with_columns(all=0).join(sizes, on=key, how="left", nulls_equal=True, maintain_order="left")
    bounds = []
    for part, whole, *cells in rows.select(*rate.parents, pl.col(EVENTS, MESSAGES).fill_null([])).iter_rows():
        events, messages = (np.array(values, int) for values in cells)
        is_known = bool(whole) and part == events @ messages
        bounds.append(bootstrap(events, messages, whole, level) if is_known else (np.nan, np.nan))
    low, high = np.array(bounds, float).reshape(-1, 2).T
    return low, high


def bootstrap(events: Any, messages: Any, whole: float, level: float) -> tuple[float, float]:
    """Return the bounds of a rate of events: `messages` of the `whole` have so many `events` each, the others none.

    >>> [round(bound, 3) for bound in bootstrap([1, 2, 5], [60, 25, 15], 1_000, 0.95)]
    [0.146, 0.232]
    """
    rates = drawn(events, messages, whole, level)
    low, high = np.quantile(rates, [(1 - level) / 2, (1 + level) / 2])
    return float(low) if np.any(messages) else 0.0, float(high)


def drawn(events: Any, messages: Any, whole: float, level: float, seed: int = SEED) -> Any:
    """Return `DRAWS` rates, as an array, each of messages drawn again."""
    from scipy.stats import norm

    more, having = norm.ppf((1 + level) / 2) ** 2 / 2, np.sum(messages)
    if not having:
        events, messages, others = [1], [more], whole + more
    else:
        messages, others = np.asarray(messages) * (1 + more / having), max(whole - having, 0) + more
    random, most = np.random.default_rng(seed), max(1, AT_ONCE // len(events))
    rates = []
    for first in range(0, DRAWS, most):
        size = min(most, DRAWS - first)
        with_events = random.poisson(messages, (size, len(events)))
        all_drawn = with_events.sum(axis=1) + random.poisson(others, size)
        rates.append(with_events @ np.asarray(events) / np.maximum(all_drawn, 1))
    return np.concatenate(rates) * max(having, whole) / whole
