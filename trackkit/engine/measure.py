"""The engine: canonical tables and metric names in, one tidy frame out; counts first, rates last.

The same frame feeds notebooks, HTML, CSV and the prompt. Distinct counts are measured at the grain asked for. They are
never added up from a finer one, except over deliveries, which share no message (`schema.IDENTITY`). Formulas declared
*per delivery* are computed for each delivery and then added.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import polars as pl

from trackkit import schema
from trackkit.engine.backends import POLARS, Backend
from trackkit.engine.completeness import (
    add_deliveries,
    completed,
    joined_to,
    kept_currencies,
    kept_deliveries,
    purged,
    without_groups,
)
from trackkit.engine.conditions import conditions
from trackkit.engine.counting import count_source, joined
from trackkit.engine.deliveries import Deliveries, asked_about, the_one, zone_of
from trackkit.engine.joins import Joins
from trackkit.engine.selection import ACTIVITIES, ALL, Selection
from trackkit.engine.snapshot import Measurable
from trackkit.errors import RequestError, did_you_mean
from trackkit.metrics import (
    ADOBE,
    CURRENCY,
    METRICS,
    OF_DELIVERIES,
    PURCHASES,
    Difference,
    Estimate,
    Formula,
    Metric,
    Ratio,
    bounds_of,
    breakdowns_of,
    lineage,
    money_of,
    named,
    own_among,
    sources_of,
    where_of,
)

__all__ = ["ENGINES", "measure", "measure_together", "not_added", "quotient", "require_level"]
ENGINES = ("polars", "spark")


def measure(
    tables: Measurable,
    metrics: str | Metric | Sequence[str | Metric] | None = None,
    by: str | Sequence[str] = "delivery_id",
    delivery: Deliveries = None,
    where: str | pl.Expr | None = None,
    timezone: str = "",
    engine: str = "polars",
    activity: str = ALL,
    interval: float | None = None,
    definitions: str = ADOBE,
    join: Mapping[str, Any] | None = None,
) -> pl.DataFrame:
    """Measure metrics, one row per group of `by`, the parts of every rate included.

    In: the canonical tables `delivery`, `message`, `event`, and `page_hit` for who refused web tracking. Out: the `by`
    columns (none for a single total row), the metrics in the order asked, then the counts that rates are made of.
    Counts are Int64, amounts Float64 in the sender's currency, rates Float64 fractions that may exceed 1. A rate with
    an empty or unknown denominator is null, and so is a count whose table was never loaded. `hour` and `day` are in
    `timezone`, by default the platform's. `delivery` is one id or several; None, or an empty text, means all, except
    proofs, models and deleted ones, which count where they are named.
    What a delivery is (`campaign`, `channel`, `launch_week` …) breaks down every count; people in several deliveries
    are counted again, never added. `where` is a SQL condition on the breakdown columns, such as
    `domain = 'post.example'` or `channel = 'e-mail' AND day >= '2026-10-01'` (see `conditions`). `engine` reads the
    rows: `polars` in this process, or `spark` (docs/spark.md); the figures are the same. `activity="human"` leaves out
    the hits of scanners and what machines fetch whether anybody reads or not (rules O1, O2, O4, and the sender's word
    V1); it keeps those of people and of proxies that fetch when the message is read (O3, O5), and every message: what
    was delivered does not change.

    `where` may also be a condition of polars on the same columns: `pl.col("domain") == "post.example"`.

    `metrics` may also be ones made by `trackkit.metric`.

    `interval`, such as 0.95, adds the bounds of every rate, as `open_rate_low` and `open_rate_high`: between them, with
    this confidence, is the rate of such recipients, of whom these are taken as a sample (`engine.intervals`). They are
    null where the rate is, and for rates without an interval (`Metric.interval`).

    `definitions` names a definition set (`trackkit definitions`), or the path of one's own: `metrics` are then words of
    that sender, as "open_rate" of "sendgrid", and so are the columns. A word that these data cannot tell is null, and
    without `metrics` all words are measured that apply. Under the default, words are the names of METRICS.md.

    `join` makes breakdowns of one's own, which `where` may test too: a frame of polars, pandas or pyarrow by the key
    that rows carry, as `{"recipient_id": crm}` (or delivery_id, domain, country, link_id, link_label, link_category).
    Each further column is a breakdown; ids become text. Denominators are those of the segment, and what is in no row of
    the frame is a row of its own, null. Hits have the recipient of their message if they tell none.

    Where retention removed rows of a delivery, its counts are those kept, or null. Other breakdowns leave such a
    delivery out, except that kept counts enter a single total; if it is named, counts that need its rows are null.

    Raises RequestError for an unknown metric, breakdown, delivery, time zone, engine, activity or set, for a word
    outside of the set, for an empty list of ids, for an interval not between 0 and 1, for a breakdown that a metric's
    rows do not carry, for a frame to join whose keys are repeated or whose columns have names that are taken, and by
    activity where hits were loaded before it was marked. Definitions: METRICS.md.

    >>> from trackkit.engine.snapshot import Snapshot
    >>> clicks = pl.LazyFrame({"delivery_id": ["7"] * 3, "message_id": ["a", "a", "b"], "is_seed": [False] * 3,
    ...                        "event_type": ["clicked", "opened", "opened"]})
    >>> measure(Snapshot({"event": clicks}), "click_to_open_rate").to_dicts()
    [{'delivery_id': '7', 'click_to_open_rate': 0.5, 'unique_clicks': 1, 'unique_opens': 2}]
    """
    options = (by, delivery, where, timezone, engine, activity, interval)
    if own := own_among([metrics]):
        with METRICS.having(own):
            return measure(tables, named(metrics), *options, definitions, join)
    asked = named(metrics)
    if definitions != ADOBE:
        from trackkit.engine.words import by_words  # pydantic, which nothing else here needs

        joins = Joins.of(join)
        return by_words(definitions, asked, by, lambda names: measure(tables, names, *options, join=join), joins)
    joins = Joins.of(join)
    groups = _require_known(by, joins.breakdowns, "breakdown")
    zone = zone_of(tables, timezone)
    tests = _tests(where, joins, zone)
    columns = {*groups, *(name for test in tests for name in test.meta.root_names())}
    names = _require_measurable(asked, columns, joins)
    _require_known(activity, ACTIVITIES, "activity")
    backend = _backend(engine)
    if joins.frames and not backend.is_local:
        raise RequestError("Frames are joined in this process only: leave out `engine`, or join them on Spark itself.")
    selection = Selection.asked(tables, asked_about(tables, delivery), tests, zone, backend, activity, joins)
    if activity != ALL or columns & set(schema.ACTIVITY):
        selection.require_activity()
    level = None if interval is None else require_level(interval)
    measured = _measured_and_described(selection, names, groups, level)
    enums = {name: dtype for name, dtype in schema.EVENT.schema.items() if isinstance(dtype, pl.Enum)}
    declared = [pl.col(name).cast(enums[name]) for name in groups if name in enums]
    return _sorted(measured, groups).select(*groups, *_columns(measured, names)).with_columns(declared)


def _require_measurable(metrics: str | Sequence[str] | None, columns: set[str], joins: Joins) -> list[str]:
    """The metrics asked for, by default all that have these columns; RequestError for one that has not."""
    names = _applicable(columns, joins) if metrics is None else _require_known(metrics, METRICS, "metric")
    if metrics is None and not names:
        raise _no_metric_error(columns, joins)
    for name in names:
        _refuse_breakdown(name, columns, joins)
    return names


def _tests(where: str | pl.Expr | None, joins: Joins, timezone: str) -> list[pl.Expr]:
    if where is None or (isinstance(where, str) and not where):
        return []
    return conditions(where, joins.breakdowns, timezone, joins.types)


def _measured_and_described(
    selection: Selection, names: list[str], groups: list[str], level: float | None
) -> pl.DataFrame:
    """Measure with rates and intervals; what a delivery is makes no further groups of it, and is added at the end."""
    described = selection.joins.of_deliveries if "delivery_id" in groups else ()
    keys = [name for name in groups if name not in described]
    measured = _with_rates(_measure_with_kept(selection, names, keys), names)
    if level is not None:
        from trackkit.engine.intervals import with_intervals  # numpy, which nothing else here needs

        measured = with_intervals(selection, measured, names, keys, level)
    whole: pl.DataFrame = selection.described(measured, groups)
    return whole


def measure_together(tables: Measurable, metrics: Sequence[str], delivery: Deliveries = None) -> pl.DataFrame:
    """Measure metrics over deliveries together: one row, which of a single delivery has its `delivery_id`."""
    ids = asked_about(tables, delivery)
    return measure(tables, metrics, "delivery_id" if the_one(ids) else [], ids)


def require_level(interval: float) -> float:
    """Return the confidence of an interval, or refuse what is not between 0 and 1, with RequestError.

    >>> require_level(0.95)
    0.95
    """
    is_number = isinstance(interval, int | float) and not isinstance(interval, bool)
    if is_number and 0 < interval < 1:
        return float(interval)
    hint = f" Did you mean {interval / 100:g}?" if is_number and 1 < interval < 100 else ""
    raise RequestError(f"The confidence of an interval is between 0 and 1, such as 0.95, not {interval!r}.{hint}")


def _columns(measured: pl.DataFrame, names: list[str]) -> list[str]:
    """The columns to return: the metrics in the order asked, each with its bounds if measured, then their parts."""
    listed = dict.fromkeys([*names, *_with_parts(names)])
    return [column for name in listed for column in (name, *bounds_of(name)) if column in measured.columns]


def _backend(engine: str) -> Backend:
    if engine == "spark":
        try:
            from trackkit.engine.spark import Spark
        except ModuleNotFoundError as error:
            hint = "`pip install 'trackkit[spark]'` brings it"
            raise RequestError(f"Spark is not installed here; {hint}.") from error
        return Spark()
    _require_known(engine, ENGINES, "engine")
    return POLARS


def _measure_with_kept(selection: Selection, names: list[str], groups: list[str]) -> pl.DataFrame:
    """Measure; where retention removed rows, use the counts kept or answer null, never count what remains."""
    purges = purged(selection.tables)
    if purges.is_empty() or "delivery_id" in groups:
        return _measured(selection, names, groups)
    purged_ids = set(purges["delivery_id"])
    if selection.delivery is not None:
        purged_ids &= set(selection.delivery)
    is_whole = selection.keyed(groups) in ([], ["delivery_id"]) and selection.is_unfiltered
    kept = purged_ids & kept_deliveries(selection.tables) if is_whole else set()
    is_named = selection.delivery is not None and selection.is_named
    rest = selection.without(kept if is_named else purged_ids)
    measured = _measured(rest, names, groups)
    if selection.delivery is None:
        kept -= {*selection.backend.collect(selection.set_aside()).to_series(), *selection.left_out}
    if kept:
        by_delivery: pl.DataFrame = selection.described(
            _measured(selection.only(sorted(kept)), names, ["delivery_id"]), groups
        )
        total = add_deliveries(measured, by_delivery, _with_parts(names), groups)
        measured = _without_mixed_currencies(total, rest, kept, groups)
    if not is_named:
        return measured
    lost = purges.filter(pl.col("delivery_id").is_in(list(purged_ids - kept)))
    return _without_lost(selection, measured, lost, _with_parts(names), groups)


def _without_lost(
    selection: Selection, measured: pl.DataFrame, lost: pl.DataFrame, names: Iterable[str], groups: list[str]
) -> pl.DataFrame:
    """Make counts null that need rows which named deliveries have no more, in the groups that these are in."""
    for name in names:
        ids = lost.filter(pl.col("source").is_in(list(sources_of(name))))["delivery_id"].unique()
        if ids.len() and name in measured.columns:
            measured = without_groups(selection, measured, name, ids, groups)
    return measured


def _without_mixed_currencies(
    total: pl.DataFrame, counted: Selection, kept: set[str], groups: list[str]
) -> pl.DataFrame:
    """Make sums of money null where there are kept ones, and kept sums and counted rows are in several currencies."""
    money = money_of(total.columns)
    if not money:
        return total
    purchases = _measured(counted, PURCHASES, ["currency"]).filter(pl.sum_horizontal(PURCHASES) > 0)
    currencies = kept_currencies(counted.tables, kept) | set(purchases["currency"].drop_nulls())
    if len(currencies) < 2:
        return total
    of_kept: pl.DataFrame = counted.described(pl.DataFrame({"delivery_id": sorted(kept)}), groups)
    theirs = of_kept.select(*groups, is_kept=pl.lit(True)).unique()
    rows = joined_to(total, theirs, groups)
    return rows.with_columns(pl.when(pl.col("is_kept").is_null()).then(name).alias(name) for name in money)


def _with_parts(names: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(part for name in names for part in lineage(name)))


def _measured(selection: Selection, names: Iterable[str], groups: list[str]) -> pl.DataFrame:
    """Count at the grain asked for, and add the metrics computed per delivery."""
    metrics = [METRICS[name] for name in _with_parts(names)]
    measured = _counted(selection, [metric for metric in metrics if metric.source], groups)
    per_delivery = [metric for metric in metrics if isinstance(metric.formula, Difference | Estimate)]
    if "delivery_id" in groups:
        measured = _with_values(measured, per_delivery)
    elif per_delivery:
        measured = joined([measured, _added_over_deliveries(selection, per_delivery, groups)], groups)
        values = [pl.when(pl.col(metric.parents[0]).is_not_null()).then(metric.name) for metric in per_delivery]
        measured = measured.with_columns(values)
    return measured


def _with_rates(measured: pl.DataFrame, names: Iterable[str]) -> pl.DataFrame:
    """Add the rates; they are computed last."""
    rates = [METRICS[name] for name in _with_parts(names) if isinstance(METRICS[name].formula, Ratio)]
    return measured.with_columns(quotient(*metric.parents).alias(metric.name) for metric in rates)


def _counted(selection: Selection, metrics: list[Metric], groups: list[str]) -> pl.DataFrame:
    """One row per group found in any source; 0 where a loaded source has no row of the group."""
    by_source: dict[str, list[Metric]] = {}
    for metric in metrics:
        by_source.setdefault(metric.source, []).append(metric)
    # A source that was not loaded has no groups, and its columns may differ in type from those of the others.
    sources = [source for source in by_source if selection.has(source)] or list(by_source)
    frames = [count_source(selection, source, by_source[source], groups) for source in sources]
    if selection.keyed(groups) == ["delivery_id"]:
        frames.append(selection.described(selection.deliveries(), groups).select(groups).unique())
    counted = joined(frames, groups).with_columns(_filled(selection, metric) for metric in metrics)
    return completed(selection, counted, metrics, groups)


def _filled(selection: Selection, metric: Metric) -> pl.Expr:
    """A group without rows counts 0, unless its table was never loaded or is `delivery`, which states counts."""
    needs_page_hits = None not in where_of(metric.formula).get("is_refused", (None,))
    if not selection.has(metric.source) or (needs_page_hits and not selection.has("page_hit")):
        return pl.lit(None, dtype=_dtype(metric)).alias(metric.name)
    value = pl.col(metric.name).cast(_dtype(metric))
    if metric.source == "delivery":
        return value
    return pl.when(pl.col(f"in {metric.source}").is_null()).then(0).otherwise(value).alias(metric.name)


def _dtype(metric: Metric) -> pl.DataType:
    return pl.Float64() if metric.unit == CURRENCY else pl.Int64()


def _added_over_deliveries(selection: Selection, metrics: list[Metric], groups: list[str]) -> pl.DataFrame:
    """Compute formulas for each delivery, then add them up within each group."""
    grain = list(dict.fromkeys([*selection.keyed(groups), "delivery_id"]))
    parts = [METRICS[part] for part in _with_parts(metric.name for metric in metrics) if METRICS[part].source]
    by_delivery = selection.described(_with_values(_counted(selection, parts, grain), metrics), groups)
    sums = [_sum_or_null(metric.name) for metric in metrics]
    added: pl.DataFrame = by_delivery.group_by(groups).agg(sums) if groups else by_delivery.select(sums)
    return added


def _with_values(counted: pl.DataFrame, metrics: list[Metric]) -> pl.DataFrame:
    """Add metrics computed per delivery, one after the other: some are parts of later ones."""
    for metric in metrics:
        counted = counted.with_columns(_value_of(metric.formula).alias(metric.name))
    return counted


def _sum_or_null(name: str) -> pl.Expr:
    values = pl.col(name)
    return pl.when(values.count() > 0).then(values.sum()).alias(name)


def _value_of(formula: Formula) -> pl.Expr:
    match formula:
        case Difference(minuend, subtrahend):
            return (pl.col(minuend) - pl.col(subtrahend)).clip(lower_bound=0)
        case Estimate(count, total, unknown):
            known = pl.col(total) - pl.col(unknown).fill_null(0)
            # Integer arithmetic, rounding half up: floating point could differ between engines.
            scaled = (2 * pl.col(count) * pl.col(total) + known) // (2 * known)
            return pl.when(known > 0).then(scaled).when(known == 0).then(0)
    raise AssertionError(f"{formula} is not computed per delivery")


def not_added(
    measured: pl.DataFrame,
    tables: Measurable,
    by: Sequence[str],
    delivery: Sequence[str] | None = None,
    where: str | None = None,
    timezone: str = "",
    engine: str = "polars",
    activity: str = ALL,
    join: Mapping[str, Any] | None = None,
) -> list[str]:
    """Return the currencies that are mixed in a row of `measured`, which is why its sums of money are null.

    The other arguments are those that `measure` was called with. Empty where no sum of money is null.
    """
    if "currency" in by or not any(measured[name].null_count() for name in money_of(measured.columns)):
        return []
    counts = measure(tables, PURCHASES, [*by, "currency"], delivery, where, timezone, engine, activity, join=join)
    with_currency = counts.filter(pl.col("currency").is_not_null(), pl.sum_horizontal(PURCHASES) > 0)
    groups = with_currency.group_by(list(by)) if by else with_currency.group_by(pl.lit(1))
    mixed = groups.agg("currency").filter(pl.col("currency").list.len() > 1)
    return mixed["currency"].explode().unique().sort().to_list()


def quotient(numerator: str, denominator: str) -> pl.Expr:
    """Return one column divided by another, as exactly as Float64 can; null where the denominator is not above 0.

    >>> pl.DataFrame({"part": [3, 0]}).with_columns(whole=5).select(quotient("part", "whole")).to_series().to_list()
    [0.6, 0.0]
    """
    dividend, divisor = pl.col(numerator).cast(pl.Float64), pl.col(denominator).cast(pl.Float64)
    # polars divides by a constant column as a product with 1/value, which makes 3/5 differ from 0.6.
    return pl.when(divisor > 0).then(dividend / (divisor + 0 * dividend)).alias(numerator)


def _sorted(measured: pl.DataFrame, groups: list[str]) -> pl.DataFrame:
    """Sort by groups: numeric text as numbers, unknown groups last."""
    if not groups:
        return measured
    keys = []
    for column in groups:
        if measured.schema[column] == pl.String:
            keys.append(pl.col(column).cast(pl.Int64, strict=False))
        keys.append(pl.col(column))
    return measured.sort(keys, nulls_last=True)


def _require_known(names_asked: str | Sequence[str], choices: Iterable[str], kind: str) -> list[str]:
    names = [names_asked] if isinstance(names_asked, str) else list(names_asked)
    for name in names:
        if name not in set(choices):
            raise RequestError(f"There is no {kind} {name!r}.{did_you_mean(name, choices)}")
    return names


def _applicable(columns: set[str], joins: Joins) -> list[str]:
    usual = [name for name, metric in METRICS.items() if metric.by_default]
    return [name for name in usual if columns <= set(breakdowns_of(name, joins.breakdowns))]


def _no_metric_error(columns: set[str], joins: Joins) -> RequestError:
    """The error for columns that no metric has together: it says which source lacks which of them."""
    carriers = {column: joins.breakdowns[column] for column in sorted(columns)}
    sources = sorted({source for having in carriers.values() for source in having})
    lacks = {source: [column for column, having in carriers.items() if source not in having] for source in sources}
    reasons = "; ".join(f"{source} rows have no {' and no '.join(missing)}" for source, missing in lacks.items())
    return RequestError(f"No metric has {' and '.join(carriers)} together: {reasons}. Ask for them apart.")


def _refuse_breakdown(name: str, columns: set[str], joins: Joins) -> None:
    possible = breakdowns_of(name, joins.breakdowns)
    if unfit := sorted(columns - set(possible)):
        lacking = sorted(sources_of(name) - set(joins.breakdowns[unfit[0]]))
        own = [column for column in possible if column not in OF_DELIVERIES]
        raise RequestError(
            f"{name} is measured on {' and '.join(lacking)} rows, which have no {unfit[0]}; "
            f"it can be broken down by {', '.join(own)}, and by what deliveries are, as campaign or channel."
        )
