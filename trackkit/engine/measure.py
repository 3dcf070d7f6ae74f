"""The engine: canonical tables and metric names in, one tidy frame out; counts first, rates last.

The same frame feeds notebooks, HTML, CSV and the prompt. Distinct counts are measured at the grain asked for, never
added up from a finer one, but over deliveries: messages of two are two (`schema.IDENTITY`). Formulas declared *per
delivery* are worked out for each delivery and then added.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import polars as pl

from trackkit import schema
from trackkit.engine.conditions import condition
from trackkit.engine.deliveries import is_counted, require_deliveries, zone_of
from trackkit.engine.distinct import UNTOLD, column_of, distinct_counts
from trackkit.engine.frames import HERE, Frames
from trackkit.engine.refusals import with_refusals
from trackkit.engine.retained import added, kept_currencies, kept_deliveries, measured_before, purged
from trackkit.engine.rollup import TOLD, added_up, cells, columns_of, flag_of, told_cells, values_of
from trackkit.engine.rows import Rows
from trackkit.engine.snapshot import COUNTED_BY, Counted, Measurable
from trackkit.engine.stated import is_by_stated, with_stated
from trackkit.errors import RequestError, did_you_mean
from trackkit.metrics import (
    BREAKDOWNS,
    CURRENCY,
    METRICS,
    PURCHASES,
    Condition,
    Difference,
    Distinct,
    Estimate,
    Formula,
    Metric,
    Ratio,
    breakdowns_of,
    lineage,
    money_of,
    sources_of,
)

__all__ = ["ENGINES", "measure", "quotient"]
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
    rows = Rows(tables, _required(tables, delivery), tested, zone, _frames(engine))
    measured = _divided(_answered(rows, names, groups), names)
    parts = [part for name in names for part in lineage(name)]
    declared = [pl.col(name).cast(dtype) for name, dtype in schema.EVENT.schema.items()
                if name in groups and isinstance(dtype, pl.Enum)]  # fmt: skip
    return _sorted(measured, groups).select(*groups, *dict.fromkeys([*names, *parts])).with_columns(declared)


def _frames(engine: str) -> Frames:
    if engine == "spark":
        try:
            from trackkit.engine.spark import Spark
        except ModuleNotFoundError as error:
            words = "Spark is not installed here; `pip install 'trackkit[spark]'` brings it."
            raise RequestError(words) from error
        return Spark()
    _known(engine, ENGINES, "engine")
    return HERE


def _answered(rows: Rows, names: list[str], groups: list[str]) -> pl.DataFrame:
    """Count, knowing that of some deliveries retention removed rows: a total of what is left would be of nothing."""
    gone = purged(rows.tables)
    if gone.is_empty() or "delivery_id" in groups:
        return _measured(rows, names, groups)
    concerned = set(gone["delivery_id"])
    if rows.delivery is not None:
        concerned &= set(rows.delivery)
    kept = concerned & kept_deliveries(rows.tables) if not groups and rows.where is None else set()
    lost = set(gone.filter(pl.col("delivery_id").is_in(list(concerned - kept)))["source"])
    if rows.delivery is not None and lost:
        unknown = [name for name in _needed(names) if sources_of(name) & lost]
        return _measured(rows, names, groups).with_columns(
            pl.lit(None).cast(_dtype(METRICS[name])).alias(name) for name in unknown
        )
    measured = _measured(rows.without(concerned), names, groups)
    if rows.delivery is None:
        kept -= set(rows.on.collect(rows.set_aside()).to_series())
    each = _measured(rows.only(sorted(kept)), names, ["delivery_id"]) if kept else None
    if each is None:
        return measured
    return _of_one_currency(added(measured, each, _needed(names)), rows.without(concerned), kept)


def _of_one_currency(total: pl.DataFrame, rest: Rows, kept: set[str]) -> pl.DataFrame:
    """Sums of money are unknown where those kept and those of rows are of several currencies."""
    money = money_of(total.columns)
    if not money:
        return total
    found = _measured(rest, PURCHASES, ["currency"]).filter(pl.sum_horizontal(PURCHASES) > 0)["currency"]
    named = kept_currencies(rest.tables, kept) | set(found.drop_nulls())
    return total.with_columns(pl.lit(None, total.schema[name]).alias(name) for name in money if len(named) > 1)


def _needed(names: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(part for name in names for part in lineage(name)))


def _measured(rows: Rows, names: Iterable[str], groups: list[str]) -> pl.DataFrame:
    """Count at the grain asked, and add what is worked out per delivery."""
    metrics = [METRICS[name] for name in _needed(names)]
    measured = _counted(rows, [metric for metric in metrics if metric.source], groups)
    per_delivery = [metric for metric in metrics if isinstance(metric.formula, Difference | Estimate)]
    if "delivery_id" in groups:
        measured = measured.with_columns(_worked_out(metric.formula).alias(metric.name) for metric in per_delivery)
    elif per_delivery:
        measured = _joined(measured, _added_over_deliveries(rows, per_delivery, groups), groups)
        counted = [pl.when(pl.col(metric.parents[0]).is_not_null()).then(metric.name) for metric in per_delivery]
        measured = measured.with_columns(counted)
    return measured


def _divided(measured: pl.DataFrame, names: Iterable[str]) -> pl.DataFrame:
    """Divide, last."""
    rates = [METRICS[name] for name in _needed(names) if isinstance(METRICS[name].formula, Ratio)]
    return measured.with_columns(quotient(*metric.parents).alias(metric.name) for metric in rates)


def _counted(rows: Rows, metrics: list[Metric], groups: list[str]) -> pl.DataFrame:
    """One row per group found in any source; 0 where a loaded source has no row of the group."""
    found: dict[str, list[Metric]] = {}
    for metric in metrics:
        found.setdefault(metric.source, []).append(metric)
    # A source that was not loaded has no group, and its columns need not be of the types that the others brought.
    sources = [source for source in found if rows.has(source)] or list(found)
    frames = [_collected(rows, source, found[source], groups) for source in sources]
    if groups == ["delivery_id"]:
        frames.append(rows.deliveries())
    joined, *others = frames
    for frame in others:
        joined = _joined(joined, frame, groups)
    counted = _with_unknown(rows, joined.with_columns(_completed(rows, metric) for metric in metrics), metrics, groups)
    counted = with_stated(rows, counted, metrics, groups)
    is_whole = groups == ["delivery_id"] and rows.where is None
    return measured_before(rows.tables, counted, metrics, is_whole) if "delivery_id" in groups else counted


def _with_unknown(rows: Rows, counted: pl.DataFrame, metrics: list[Metric], groups: list[str]) -> pl.DataFrame:
    """Counts that cannot be known are null: neither 0, nor only what is known of them."""
    shared = [column for column in groups if "event" in BREAKDOWNS[column]]
    stated = rows.stated.drop_nulls("sent")["delivery_id"].to_list() if is_by_stated(rows, groups) else ()
    for source in ("message", "event"):
        names = [metric.name for metric in metrics if metric.source == source and _needs_all_told(metric)]
        unknown = rows.unknown(source, shared, stated if source == "message" else ()) if names else None
        if unknown is None or unknown.is_empty():
            continue
        known = pl.lit(False)
        if shared:
            counted = counted.join(unknown, on=shared, how="left", nulls_equal=True, maintain_order="left")
            known = pl.col("is_unknown").is_null()
        counted = counted.with_columns(pl.when(known).then(name).alias(name) for name in names)
        counted = counted.drop("is_unknown", strict=False)
    return counted


def _needs_all_told(metric: Metric) -> bool:
    """Whether a count misses what is not told: every count of messages, and of events those of a type but the open."""
    return metric.source == "message" or bool(set(_where(metric.formula).get("event_type", ())) - {"opened"})


def _joined(left: pl.DataFrame, right: pl.DataFrame, groups: list[str]) -> pl.DataFrame:
    return left.join(right, on=groups, how="full", coalesce=True, nulls_equal=True) if groups else left.hstack(right)


def _collected(rows: Rows, source: str, metrics: list[Metric], groups: list[str]) -> pl.DataFrame:
    """One row per group of a source: what adds up, and what is distinct where no stored flag answers."""
    formulas = {metric.name: metric.formula for metric in metrics}
    distinct = {name: formula for name, formula in formulas.items() if isinstance(formula, Distinct)}
    if distinct and rows.has_firsts(groups):
        distinct = {name: formula for name, formula in distinct.items() if not flag_of(formula)}
    portions: Iterable[Rows] = [rows]
    if source == "event":
        columns = _looked_at(rows, formulas, distinct, groups)
        portions = rows.portions(columns) if "delivery_id" in groups else [rows.held(columns)]
    found = pl.concat(_of_portion(portion, source, formulas, distinct, groups) for portion in portions)
    known = [pl.when(pl.col(name).fill_null(0) != UNTOLD).then(pl.col(name).fill_null(0)) for name in distinct]
    return found.with_columns(*known, pl.lit(True).alias(f"in {source}"))


def _of_portion(
    rows: Rows, source: str, formulas: dict[str, Formula], distinct: dict[str, Distinct], groups: list[str]
) -> pl.DataFrame:
    adding = {name: formula for name, formula in formulas.items() if name not in distinct}
    # What adds up tells all groups: of a distinct count those are left out where nothing meets its condition.
    counted = rows.counted(groups) if source == "event" else None
    told = {name: one for name, one in adding.items() if counted is not None and _is_told(rows, counted, one)}
    rest = {name: formula for name, formula in adding.items() if name not in told}
    frames, found = [_beforehand(rows, counted, told)] if counted is not None and told else [], None
    if rest or (groups and not told):
        found = _cells(rows, source, rest, groups)
        frames.append(added_up(_that_count(source, found), rest, groups))
    frames += distinct_counts(rows, source, distinct, groups, found) if distinct else []
    joined, *others = frames
    for frame in others:
        joined = _joined(joined, frame, groups)
    return joined


def _looked_at(rows: Rows, formulas: dict[str, Formula], distinct: dict[str, Distinct], groups: list[str]) -> set[str]:
    """The columns of events that these formulas look at."""
    grains = {name: rows.grain(formula.column, groups) for name, formula in distinct.items()}
    values = {column_of(formula, rows.has_numbers(grains[name])) for name, formula in distinct.items()}
    totals = columns_of(value for formula in formulas.values() for value in values_of(formula))
    flags = {flag for name, formula in formulas.items() if name not in distinct and (flag := flag_of(formula))}
    refusals = {"occurred_at", "person_id", "recipient_id"} if rows.has("page_hit") else set()
    return {*COUNTED_BY, *groups, *_tested(formulas), *totals, *flags, *refusals, *values}


def _is_told(rows: Rows, counted: Counted, formula: Formula) -> bool:
    """Whether a formula is answered by what was counted beforehand, which earlier versions did of fewer values."""
    known, values = {*COUNTED_BY, *(() if rows.has("page_hit") else ("is_refused",))}, values_of(formula)
    is_told = values <= set(TOLD) and not any(counted.counts[name].null_count() for name in values)
    return _where(formula).keys() <= known and is_told


def _beforehand(rows: Rows, counted: Counted, formulas: dict[str, Formula]) -> pl.DataFrame:
    """Add up what was counted beforehand, and the rows that were not."""
    parts = [told_cells(counted.counts).lazy(), *cells(counted.rest, formulas.values(), list(COUNTED_BY), rows.on)]
    return added_up(_that_count("event", _together(rows, parts, ["delivery_id"])), formulas, ["delivery_id"])


def _cells(rows: Rows, source: str, formulas: dict[str, Formula], groups: list[str]) -> pl.DataFrame:
    """The cells of a source, those of events that do not count too."""
    tested = _tested(formulas) | ({"event_type", "is_seed"} if source == "event" else set())
    found = rows.of(source)
    if rows.has("page_hit") and "is_refused" in tested:
        found = with_refusals(rows.tables, found, rows.on)
    keys = [*groups, *sorted(tested.difference(groups, () if rows.has("page_hit") else {"is_refused"}))]
    if "delivery_id" not in groups:
        found = rows.asked(found)
    return _together(rows, cells(found, formulas.values(), keys, rows.on), groups)


def _together(rows: Rows, parts: list[Any], groups: list[str]) -> pl.DataFrame:
    if "delivery_id" in groups:  # a few cells are then left out, not a few of all rows
        parts = [rows.asked(part) for part in parts]
    # One after the other: together they would keep the rows in memory, to read them once.
    return pl.concat([rows.on.collect(part) for part in parts], how="diagonal")


def _that_count(source: str, found: pl.DataFrame) -> pl.DataFrame:
    if source != "event":
        return found
    told = {} if "is_refused" in found.columns else {"is_refused": pl.lit(None, pl.Boolean)}
    return found.filter(is_counted()).with_columns(**told)


def _completed(rows: Rows, metric: Metric) -> pl.Expr:
    """A group without rows counts 0, unless its table was never loaded or is the one that states the counts."""
    asks_who_refused = None not in _where(metric.formula).get("is_refused", (None,))
    if not rows.has(metric.source) or (asks_who_refused and not rows.has("page_hit")):
        return pl.lit(None, dtype=_dtype(metric)).alias(metric.name)
    value = pl.col(metric.name).cast(_dtype(metric))
    if metric.source == "delivery":
        return value
    return pl.when(pl.col(f"in {metric.source}").is_null()).then(0).otherwise(value).alias(metric.name)


def _where(formula: Formula) -> Condition:
    return getattr(formula, "where", {})


def _tested(formulas: dict[str, Formula]) -> set[str]:
    """The columns that conditions of formulas look at."""
    return {column for formula in formulas.values() for column in _where(formula)}


def _dtype(metric: Metric) -> pl.DataType:
    return pl.Float64() if metric.unit == CURRENCY else pl.Int64()


def _added_over_deliveries(rows: Rows, metrics: list[Metric], groups: list[str]) -> pl.DataFrame:
    """Formulas worked out for each delivery on its own, then added up within each group."""
    grain = [*groups, "delivery_id"]
    parts = [METRICS[part] for part in dict.fromkeys(part for metric in metrics for part in metric.parents)]
    worked_out = _counted(rows, parts, grain).select(
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
    keys = [
        key
        for column in groups
        for key in (
            [pl.col(column).cast(pl.Int64, strict=False), pl.col(column)]
            if measured.schema[column] == pl.String
            else [pl.col(column)]
        )
    ]
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
    is_one = isinstance(delivery, str) or not isinstance(delivery, Iterable)
    return require_deliveries(tables, [delivery] if is_one else delivery)


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
