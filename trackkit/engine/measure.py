"""The engine: canonical tables and metric names in, one tidy frame out; counts first, rates last.

The same frame feeds notebooks, HTML, CSV and the prompt. Distinct counts are measured at the grain asked for, never
added up from a finer one, but over deliveries: messages of two are two (`schema.IDENTITY`). Formulas declared *per
delivery* are worked out for each delivery and then added.
"""

from collections.abc import Iterable, Sequence

import polars as pl

from trackkit import schema
from trackkit.engine.backends import POLARS, Backend
from trackkit.engine.completeness import added, completed, kept_currencies, kept_deliveries, purged
from trackkit.engine.conditions import condition
from trackkit.engine.counting import count_source, joined
from trackkit.engine.deliveries import require_deliveries, zone_of
from trackkit.engine.selection import Selection
from trackkit.engine.snapshot import Measurable
from trackkit.errors import RequestError, did_you_mean
from trackkit.metrics import (
    BREAKDOWNS,
    CURRENCY,
    METRICS,
    PURCHASES,
    Difference,
    Estimate,
    Formula,
    Metric,
    Ratio,
    breakdowns_of,
    lineage,
    money_of,
    sources_of,
    where_of,
)

__all__ = ["ENGINES", "measure", "not_added", "quotient"]
ENGINES = ("polars", "spark")


def measure(
    tables: Measurable,
    metrics: str | Sequence[str] | None = None,
    by: str | Sequence[str] = "delivery_id",
    delivery: str | Sequence[str] | None = None,
    where: str | None = None,
    timezone: str = "",
    engine: str = "polars",
) -> pl.DataFrame:
    """Measure metrics, one row per group of `by`, the parts of every rate included.

    In: the canonical tables `delivery`, `message`, `event`, and `page_hit` for who refused web tracking. Out: the `by`
    columns (none for a single total row), the metrics in the order asked, then the counts that rates are made of.
    Counts are Int64, amounts Float64 in the sender's currency, rates Float64 fractions that may exceed 1; a rate on an
    empty or unknown denominator, and a count whose table was never loaded, is null. `hour` and `day` are cut in
    `timezone`, the platform's unless given. Without `delivery`, proofs, models and deleted deliveries are left out;
    `where` is a SQL condition on the breakdown columns, such as `domain = 'post.example'` or `day >= '2026-10-01'`
    (`conditions` says what it may hold). `engine` is who goes through the rows, `polars` here or `spark`
    (docs/spark.md); the figures are the same.

    Of a delivery whose rows retention removed, a count is the one kept, else null. What is not by delivery leaves it
    out, unless it is one total and its counts were kept; named, it makes unknown what would need its rows.

    Raises RequestError for an unknown metric, breakdown, delivery, time zone or engine, and for a breakdown that a
    metric's rows do not carry. Definitions: METRICS.md.

    >>> from trackkit.engine.snapshot import Snapshot
    >>> clicks = pl.LazyFrame({"delivery_id": ["7"] * 3, "message_id": ["a", "a", "b"], "is_seed": [False] * 3,
    ...                        "event_type": ["clicked", "opened", "opened"]})
    >>> measure(Snapshot({"event": clicks}), "click_to_open_rate").to_dicts()
    [{'delivery_id': '7', 'click_to_open_rate': 0.5, 'unique_clicks': 1, 'unique_opens': 2}]
    """
    groups = _known(by, BREAKDOWNS, "breakdown")
    zone = zone_of(tables, timezone)
    tested = None if where is None or (isinstance(where, str) and not where) else condition(where, BREAKDOWNS, zone)
    columns = {*groups, *(tested.meta.root_names() if tested is not None else ())}
    names = _applicable(columns) if metrics is None else _known(metrics, METRICS, "metric")
    if metrics is None and not names:
        raise _nothing_carries(columns)
    for name in names:
        _refuse_misfit(name, columns)
    selection = Selection(tables, _required(tables, delivery), tested, zone, _backend(engine))
    measured = _divided(_answered(selection, names, groups), names)
    parts = [part for name in names for part in lineage(name)]
    enums = {name: dtype for name, dtype in schema.EVENT.schema.items() if isinstance(dtype, pl.Enum)}
    declared = [pl.col(name).cast(enums[name]) for name in groups if name in enums]
    return _sorted(measured, groups).select(*groups, *dict.fromkeys([*names, *parts])).with_columns(declared)


def _backend(engine: str) -> Backend:
    if engine == "spark":
        try:
            from trackkit.engine.spark import Spark
        except ModuleNotFoundError as error:
            hint = "`pip install 'trackkit[spark]'` brings it"
            raise RequestError(f"Spark is not installed here; {hint}.") from error
        return Spark()
    _known(engine, ENGINES, "engine")
    return POLARS


def _answered(selection: Selection, names: list[str], groups: list[str]) -> pl.DataFrame:
    """Count, knowing that of some deliveries retention removed rows: a total of what is left would be of nothing."""
    gone = purged(selection.tables)
    if gone.is_empty() or "delivery_id" in groups:
        return _measured(selection, names, groups)
    concerned = set(gone["delivery_id"])
    if selection.delivery is not None:
        concerned &= set(selection.delivery)
    kept = concerned & kept_deliveries(selection.tables) if not groups and selection.where is None else set()
    lost = set(gone.filter(pl.col("delivery_id").is_in(list(concerned - kept)))["source"])
    if selection.delivery is not None and lost:
        unknown = [name for name in _needed(names) if sources_of(name) & lost]
        return _measured(selection, names, groups).with_columns(
            pl.lit(None).cast(_dtype(METRICS[name])).alias(name) for name in unknown
        )
    measured = _measured(selection.without(concerned), names, groups)
    if selection.delivery is None:
        kept -= set(selection.backend.collect(selection.set_aside()).to_series())
    each = _measured(selection.only(sorted(kept)), names, ["delivery_id"]) if kept else None
    if each is None:
        return measured
    return _of_one_currency(added(measured, each, _needed(names)), selection.without(concerned), kept)


def _of_one_currency(total: pl.DataFrame, rest: Selection, kept: set[str]) -> pl.DataFrame:
    """Sums of money are unknown where those kept and those of rows are of several currencies."""
    money = money_of(total.columns)
    if not money:
        return total
    found = _measured(rest, PURCHASES, ["currency"]).filter(pl.sum_horizontal(PURCHASES) > 0)["currency"]
    named = kept_currencies(rest.tables, kept) | set(found.drop_nulls())
    return total.with_columns(pl.lit(None, total.schema[name]).alias(name) for name in money if len(named) > 1)


def _needed(names: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(part for name in names for part in lineage(name)))


def _measured(selection: Selection, names: Iterable[str], groups: list[str]) -> pl.DataFrame:
    """Count at the grain asked, and add what is worked out per delivery."""
    metrics = [METRICS[name] for name in _needed(names)]
    measured = _counted(selection, [metric for metric in metrics if metric.source], groups)
    per_delivery = [metric for metric in metrics if isinstance(metric.formula, Difference | Estimate)]
    if "delivery_id" in groups:
        measured = measured.with_columns(_worked_out(metric.formula).alias(metric.name) for metric in per_delivery)
    elif per_delivery:
        measured = joined([measured, _added_over_deliveries(selection, per_delivery, groups)], groups)
        counted = [pl.when(pl.col(metric.parents[0]).is_not_null()).then(metric.name) for metric in per_delivery]
        measured = measured.with_columns(counted)
    return measured


def _divided(measured: pl.DataFrame, names: Iterable[str]) -> pl.DataFrame:
    """Divide, last."""
    rates = [METRICS[name] for name in _needed(names) if isinstance(METRICS[name].formula, Ratio)]
    return measured.with_columns(quotient(*metric.parents).alias(metric.name) for metric in rates)


def _counted(selection: Selection, metrics: list[Metric], groups: list[str]) -> pl.DataFrame:
    """One row per group found in any source; 0 where a loaded source has no row of the group."""
    by_source: dict[str, list[Metric]] = {}
    for metric in metrics:
        by_source.setdefault(metric.source, []).append(metric)
    # A source that was not loaded has no group, and its columns need not be of the types that the others brought.
    sources = [source for source in by_source if selection.has(source)] or list(by_source)
    frames = [count_source(selection, source, by_source[source], groups) for source in sources]
    if groups == ["delivery_id"]:
        frames.append(selection.deliveries())
    counted = joined(frames, groups).with_columns(_filled(selection, metric) for metric in metrics)
    return completed(selection, counted, metrics, groups)


def _filled(selection: Selection, metric: Metric) -> pl.Expr:
    """A group without rows counts 0, unless its table was never loaded or is the one that states the counts."""
    asks_who_refused = None not in where_of(metric.formula).get("is_refused", (None,))
    if not selection.has(metric.source) or (asks_who_refused and not selection.has("page_hit")):
        return pl.lit(None, dtype=_dtype(metric)).alias(metric.name)
    value = pl.col(metric.name).cast(_dtype(metric))
    if metric.source == "delivery":
        return value
    return pl.when(pl.col(f"in {metric.source}").is_null()).then(0).otherwise(value).alias(metric.name)


def _dtype(metric: Metric) -> pl.DataType:
    return pl.Float64() if metric.unit == CURRENCY else pl.Int64()


def _added_over_deliveries(selection: Selection, metrics: list[Metric], groups: list[str]) -> pl.DataFrame:
    """Formulas worked out for each delivery on its own, then added up within each group."""
    grain = [*groups, "delivery_id"]
    parts = [METRICS[part] for part in dict.fromkeys(part for metric in metrics for part in metric.parents)]
    worked_out = _counted(selection, parts, grain).select(
        *grain, *(_worked_out(metric.formula).alias(metric.name) for metric in metrics)
    )
    sums = [_sum_of_known(metric.name) for metric in metrics]
    return worked_out.group_by(groups).agg(sums) if groups else worked_out.select(sums)


def _sum_of_known(name: str) -> pl.Expr:
    values = pl.col(name)
    return pl.when(values.count() > 0).then(values.sum()).alias(name)


def _worked_out(formula: Formula) -> pl.Expr:
    match formula:
        case Difference(minuend, subtrahend):
            return (pl.col(minuend) - pl.col(subtrahend)).clip(lower_bound=0)
        case Estimate(counted, whole, unseen):
            seen = pl.col(whole) - pl.col(unseen).fill_null(0)
            # Whole numbers, rounding half up, so that no engine's floating point can differ.
            scaled = (2 * pl.col(counted) * pl.col(whole) + seen) // (2 * seen)
            return pl.when(seen > 0).then(scaled).when(seen == 0).then(0)
    raise AssertionError(f"{formula} is not worked out per delivery")


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

    The other arguments are those of the question. Empty where no sum of money is unknown.
    """
    if "currency" in by or not any(measured[name].null_count() for name in money_of(measured.columns)):
        return []
    counts = measure(tables, PURCHASES, [*by, "currency"], delivery, where, timezone, engine)
    named = counts.filter(pl.col("currency").is_not_null(), pl.sum_horizontal(PURCHASES) > 0)
    groups = named.group_by(list(by)) if by else named.group_by(pl.lit(1))
    together = groups.agg("currency").filter(pl.col("currency").list.len() > 1)
    return together["currency"].explode().unique().sort().to_list()


def quotient(numerator: str, denominator: str) -> pl.Expr:
    """Return one column divided by another, as exactly as Float64 can; null where the denominator is not above 0.

    >>> pl.DataFrame({"part": [3, 0]}).with_columns(whole=5).select(quotient("part", "whole")).to_series().to_list()
    [0.6, 0.0]
    """
    top, bottom = pl.col(numerator).cast(pl.Float64), pl.col(denominator).cast(pl.Float64)
    # Polars divides by a column that is one value throughout as times 1/value, where 3/5 is not 0.6.
    return pl.when(bottom > 0).then(top / (bottom + 0 * top)).alias(numerator)


def _sorted(measured: pl.DataFrame, groups: list[str]) -> pl.DataFrame:
    """Numbers in text sort as numbers, unknown groups last."""
    if not groups:
        return measured
    keys = []
    for column in groups:
        if measured.schema[column] == pl.String:
            keys.append(pl.col(column).cast(pl.Int64, strict=False))
        keys.append(pl.col(column))
    return measured.sort(keys, nulls_last=True)


def _known(asked: str | Sequence[str], known: Iterable[str], what: str) -> list[str]:
    names = [asked] if isinstance(asked, str) else list(asked)
    for name in names:
        if name not in set(known):
            raise RequestError(f"There is no {what} {name!r}.{did_you_mean(name, known)}")
    return names


def _required(tables: Measurable, delivery: str | Sequence[str] | None) -> list[str] | None:
    if delivery is None:
        return None
    is_several = isinstance(delivery, Iterable) and not isinstance(delivery, str)
    return require_deliveries(tables, delivery if is_several else [str(delivery)])


def _applicable(columns: set[str]) -> list[str]:
    return [name for name in METRICS if columns <= set(breakdowns_of(name))]


def _nothing_carries(columns: set[str]) -> RequestError:
    """The refusal of breakdowns and conditions that no metric has all of: which source lacks which of them."""
    carriers = {column: BREAKDOWNS[column] for column in sorted(columns)}
    sources = sorted({source for known in carriers.values() for source in known})
    lacks = {source: [column for column, known in carriers.items() if source not in known] for source in sources}
    told = "; ".join(f"{source} rows have no {' and no '.join(missing)}" for source, missing in lacks.items())
    return RequestError(f"No metric has {' and '.join(carriers)} together: {told}. Ask for them apart.")


def _refuse_misfit(name: str, columns: set[str]) -> None:
    fits = breakdowns_of(name)
    if wrong := sorted(columns - set(fits)):
        lacking = sorted(sources_of(name) - set(BREAKDOWNS[wrong[0]]))
        raise RequestError(
            f"{name} is measured on {' and '.join(lacking)} rows, which have no {wrong[0]}; "
            f"it can be broken down by {', '.join(fits)}."
        )
