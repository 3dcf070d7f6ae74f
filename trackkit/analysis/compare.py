"""Variants of a mailing compared: the difference of each rate, how sure it is, and whether the split was as planned.

Shares of messages: Newcombe's interval of a difference and the score test (statsmodels). Rates of events: messages
drawn again (`engine.intervals`). Whoever looks again and again and stops at a difference will find one among equals, in
one test of four: `peeking` gives the interval and p of a confidence sequence, which hold at every look. Its mixture is
that of Robbins (1970), with variances estimated as by Waudby-Smith and others (arXiv 2103.06476).
"""

from collections.abc import Sequence
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from trackkit.engine.deliveries import require_deliveries
from trackkit.engine.intervals import SEED, clusters_of, drawn
from trackkit.engine.measure import measure, require_level
from trackkit.engine.selection import ALL, Selection
from trackkit.engine.snapshot import Measurable
from trackkit.errors import RequestError, did_you_mean
from trackkit.language import translatable
from trackkit.metrics import BOOTSTRAP, METRICS, WILSON, Metric, lineage, named, own_among, where_of

__all__ = ["MACHINES", "adjusted", "compare", "sequence"]

MIXTURE = 0.1  # the standardised difference at which a confidence sequence is tightest: about 1,000 messages of each
MACHINES = translatable("machines open too: no winner by opens")
Deliveries = str | Sequence[str]
COLUMNS: dict[str, Any] = {
    **dict.fromkeys(("metric", "a", "b"), pl.String),
    **{"part_a": pl.Int64, "whole_a": pl.Int64, "rate_a": pl.Float64},
    **{"part_b": pl.Int64, "whole_b": pl.Int64, "rate_b": pl.Float64},
    **dict.fromkeys(("difference", "low", "high", "p", "p_adjusted", "split_p"), pl.Float64),
    "is_different": pl.Boolean,
    "reason": pl.String,
}


class Variant(NamedTuple):
    """One variant: its name, its deliveries, whose hits count, and what `measure` says of them."""

    name: str
    deliveries: list[str]
    activity: str
    figures: dict[str, Any]


class Sureness(NamedTuple):
    """An interval of a difference, and the chance of one as large among equals."""

    low: float | None = None
    high: float | None = None
    p: float | None = None


def compare(
    tables: Measurable,
    a: Deliveries,
    b: Deliveries,
    *others: Deliveries,
    metrics: str | Metric | Sequence[str | Metric] | None = None,
    level: float = 0.95,
    peeking: bool = False,
    split: Sequence[float] | None = None,
    activity: str = ALL,
) -> pl.DataFrame:
    """Compare rates of variants, each a delivery or several: one row per metric and pair of variants.

    Columns: `metric`; `a` and `b`, the variants' ids; of each the counts `part` and `whole` and the `rate`, as
    `rate_a`; `difference` (rate b - rate a) with its bounds `low` and `high` of confidence `level`; `p`, the chance of
    as large a difference among equals, for events at least 0.001; `p_adjusted`, by Holm over the pairs of a metric;
    `is_different`, whether that is below 1 - `level`; `reason`, why it is null: machines open too, so that no variant
    wins by opens but with `activity="human"`, which counts as in `measure`. With `peeking`, bounds and p hold however
    often they are looked at, and are wider. `split` is how messages were to be shared, as (0.5, 0.5): `split_p` is then
    the chance of so uneven a split of the messages processed; below 0.001, mend the split before reading on.

    `metrics` are rates, by default all that have an interval (`Metric.interval`); any other has only its difference.
    They may be ones made by `trackkit.metric`.
    Raises RequestError for what is no rate, for unknown deliveries and for one in two variants, and for an invalid
    `level` or `split`.

    >>> compared = compare(store, "7471048", "7471196", metrics="recipient_click_rate")
    >>> compared.select("part_a", "whole_a", "part_b", "whole_b", "is_different").row(0)
    (6, 82, 6, 57, False)
    """
    if own := own_among([metrics]):
        options: Any = {"level": level, "peeking": peeking, "split": split, "activity": activity}
        with METRICS.having(own):
            return compare(tables, a, b, *others, metrics=named(metrics), **options)
    level, names = require_level(level), _rates(named(metrics))
    asked = _asked(tables, (a, b, *others))
    variants = [Variant("+".join(ids), ids, activity, _figures(tables, ids, names, activity)) for ids in asked]
    chance = _of_split(variants, split)
    rows = []
    for name in names:
        compared = [_row(tables, name, *pair, level, peeking) for pair in combinations(variants, 2)]
        rows += adjusted(compared, level, activity)
    return pl.DataFrame(rows, schema=COLUMNS).with_columns(split_p=pl.lit(chance, pl.Float64))


def _rates(metrics: str | Sequence[str] | None) -> list[str]:
    rates = [name for name, metric in METRICS.items() if metric.is_rate]
    if metrics is None:
        return [name for name in rates if METRICS[name].interval]
    names = [metrics] if isinstance(metrics, str) else list(metrics)
    for name in names:
        if name not in rates:
            raise RequestError(f"Rates are compared, and {name!r} is none.{did_you_mean(name, rates)}")
    return names


def _asked(tables: Measurable, variants: Sequence[Deliveries]) -> list[list[str]]:
    asked = [require_deliveries(tables, each) for each in variants]
    listed = [name for ids in asked for name in ids]
    for name in listed:
        if listed.count(name) > 1:
            raise RequestError(f"The delivery {name!r} is in two variants.")
    return asked


def _figures(tables: Measurable, ids: list[str], names: list[str], activity: str) -> dict[str, Any]:
    return measure(tables, [*names, "processed"], by=[], delivery=ids, activity=activity).row(0, named=True)


def _row(tables: Measurable, name: str, a: Variant, b: Variant, level: float, peeking: bool) -> dict[str, Any]:
    top, bottom = METRICS[name].parents
    row: dict[str, Any] = {"metric": name, "a": a.name, "b": b.name}
    for side, variant in zip("ab", (a, b), strict=True):
        figures = variant.figures
        row |= {f"part_{side}": figures[top], f"whole_{side}": figures[bottom], f"rate_{side}": figures[name]}
    if row["rate_a"] is None or row["rate_b"] is None:
        return row
    counts = [row[key] for key in ("part_a", "whole_a", "part_b", "whole_b")]
    sureness = Sureness()
    if METRICS[name].interval == WILSON and counts[0] <= counts[1] and counts[2] <= counts[3]:
        sureness = _of_shares(counts, level, peeking)
    elif METRICS[name].interval == BOOTSTRAP:
        sureness = _of_events(tables, name, a, b, level, peeking)
    return row | {"difference": row["rate_b"] - row["rate_a"]} | sureness._asdict()


def _of_shares(counts: Sequence[int], level: float, peeking: bool) -> Sureness:
    from statsmodels.stats.proportion import confint_proportions_2indep, test_proportions_2indep

    part_a, whole_a, part_b, whole_b = counts
    if peeking:
        rates = [(part + 1) / (whole + 2) for part, whole in ((part_a, whole_a), (part_b, whole_b))]
        variance = sum(rate * (1 - rate) / whole for rate, whole in zip(rates, (whole_a, whole_b), strict=True))
        return sequence(part_b / whole_b - part_a / whole_a, variance, whole_a, whole_b, level)
    of = part_b, whole_b, part_a, whole_a
    low, high = confint_proportions_2indep(*of, method="newcomb", compare="diff", alpha=1 - level)
    is_varied = 0 < part_a + part_b < whole_a + whole_b
    p = test_proportions_2indep(*of, method="score", compare="diff").pvalue if is_varied else 1.0
    return Sureness(float(low), float(high), float(p))


def _of_events(tables: Measurable, name: str, a: Variant, b: Variant, level: float, peeking: bool) -> Sureness:
    top, bottom = METRICS[name].parents
    rates, sizes = [], []
    for place, variant in enumerate((a, b)):
        selection = Selection(tables, variant.deliveries, None, tables.timezone, activity=variant.activity)
        events, messages = clusters_of(selection, METRICS[top])
        if variant.figures[top] != events @ messages:
            return Sureness()
        rates.append(drawn(events, messages, variant.figures[bottom], level, SEED + place))
        sizes.append(variant.figures[bottom])
    differences = rates[1] - rates[0]
    if peeking:
        observed = b.figures[name] - a.figures[name]
        return sequence(observed, float(np.var(rates[0]) + np.var(rates[1])), sizes[0], sizes[1], level)
    low, high = np.quantile(differences, [(1 - level) / 2, (1 + level) / 2])
    beyond = min((differences <= 0).sum(), (differences >= 0).sum()) + 1
    return Sureness(float(low), float(high), min(1.0, 2 * float(beyond) / (differences.size + 1)))


def sequence(difference: float, variance: float, whole_a: float, whole_b: float, level: float) -> Sureness:
    """Return the bounds of a confidence sequence and its p, which hold at every look, for a difference of two means.

    `variance` is that of the difference. Numbers, or arrays of them.

    >>> [round(float(value), 3) for value in sequence(0.02, 0.0001, 1_000, 1_000, 0.95)]
    [-0.011, 0.051, 0.463]
    """
    size = whole_a * whole_b / (whole_a + whole_b)
    mixed = 1 + MIXTURE**2 * size  # 1 + the mixture's variance in units of that of the difference
    reach = np.sqrt(variance * 2 * mixed / (mixed - 1) * np.log(np.sqrt(mixed) / (1 - level)))
    evidence = (mixed - 1) / (2 * mixed) * difference**2 / variance
    return Sureness(difference - reach, difference + reach, np.minimum(1.0, np.sqrt(mixed) * np.exp(-evidence)))


def adjusted(rows: list[dict[str, Any]], level: float, activity: str = ALL) -> list[dict[str, Any]]:
    """Return rows of `compare`, their p adjusted for how many there are (Holm); no verdict on opens of machines."""
    from statsmodels.stats.multitest import multipletests

    tested = [row for row in rows if row.get("p") is not None]
    values = multipletests([row["p"] for row in tested], method="holm")[1] if tested else []
    for row, value in zip(tested, values, strict=True):
        is_of_opens = activity == ALL and _counts_opens(row["metric"])
        row["p_adjusted"], row["reason"] = float(value), MACHINES if is_of_opens else None
        row["is_different"] = None if is_of_opens else bool(value < 1 - level)
    return rows


def _counts_opens(name: str) -> bool:
    """Whether displays of a message make a rate what it is."""
    counted = [METRICS[part] for part in lineage(name) if METRICS[part].source == "event"]
    return any("opened" in where_of(each.formula).get("event_type", ("opened",)) for each in counted)


def _of_split(variants: list[Variant], split: Sequence[float] | None) -> float | None:
    """The chance of so uneven a split of the messages processed."""
    if split is None:
        return None
    from scipy.stats import chisquare

    if len(split) != len(variants) or min(split) <= 0:
        raise RequestError(f"A split has a share above 0 for each of the {len(variants)} variants, not {split!r}.")
    counts = [variant.figures["processed"] for variant in variants]
    if None in counts or not sum(counts):
        return None
    shares = np.asarray(split, float)
    return float(chisquare(counts, shares / shares.sum() * sum(counts)).pvalue)
