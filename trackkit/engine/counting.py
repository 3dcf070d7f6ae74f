"""Counts of one source in groups: what adds up over cells, and what is distinct over its values.

A cell is the set of rows of a group that no condition distinguishes. One pass counts the rows of each cell without
evaluating any condition per row; every formula then reads a few cells. A distinct count adds up if a stored flag marks
each value once (`schema.FIRSTS`); otherwise it takes its own pass over the rows that meet its condition. Rows are
counted by the backend (`backends`), cells by polars.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import reduce
from operator import and_, or_
from typing import Any

import polars as pl

from trackkit import schema
from trackkit.engine.backends import AMOUNTS, POLARS, Backend, changes
from trackkit.engine.deliveries import is_counted, is_hit, is_public
from trackkit.engine.refusals import with_refusals
from trackkit.engine.selection import Selection
from trackkit.engine.snapshot import COUNTED_BY, Counted
from trackkit.metrics import (
    ALWAYS,
    IN_MONEY,
    Condition,
    Count,
    Distinct,
    Formula,
    Known,
    Metric,
    Total,
    made_of,
    where_of,
)
from trackkit.schema import IDENTITY

ROWS = "rows of cell"
PRECOUNTED = ("amount", "sale", "articles", "sold")  # their sums are stored with the files
FIRST, LAST = "first currency", "last currency"  # of the amounts of a cell, alphabetically
# Events whose values are in memory at once when counting within deliveries: text (False) and numbers (True).
PART_ROWS = {False: 4_000_000, True: 30_000_000}
UNKNOWN = -1  # the count of rows whose values are all null


def joined(frames: Sequence[pl.DataFrame], groups: list[str]) -> pl.DataFrame:
    """Return frames side by side: a row for each group that any of them has."""
    if not groups:
        return pl.concat(frames, how="horizontal")
    return reduce(lambda left, right: left.join(right, groups, "full", coalesce=True, nulls_equal=True), frames)


def count_source(selection: Selection, source: str, metrics: list[Metric], groups: list[str]) -> pl.DataFrame:
    """One row per group of a source: what adds up, and what is distinct where no stored flag answers."""
    formulas = {metric.name: metric.formula for metric in metrics}
    distinct = {name: formula for name, formula in formulas.items() if isinstance(formula, Distinct)}
    if distinct and selection.has_firsts(selection.keyed(groups)):
        # Marked once per delivery: of several, messages differ, and people may be the same.
        are_added = "delivery_id" in groups
        distinct = {
            name: formula
            for name, formula in distinct.items()
            if not flag_of(formula) or not (are_added or "delivery_id" in IDENTITY[formula.column])
        }
    portions: Iterable[Selection] = [selection]
    if source == "event":
        columns = _columns_needed(selection, formulas, distinct, groups)
        portions = selection.portions(columns) if "delivery_id" in groups else [selection.held(columns)]
    counted = pl.concat(_count_portion(portion, source, formulas, distinct, groups) for portion in portions)
    counts = [pl.when(pl.col(name).fill_null(0) != UNKNOWN).then(pl.col(name).fill_null(0)) for name in distinct]
    return counted.with_columns(*counts, pl.lit(True).alias(f"in {source}"))


def _count_portion(
    selection: Selection, source: str, formulas: dict[str, Formula], distinct: dict[str, Distinct], groups: list[str]
) -> pl.DataFrame:
    adding = {name: formula for name, formula in formulas.items() if name not in distinct}
    # The sums have all groups; a distinct count lacks those where no row meets its condition.
    counted = selection.counted(selection.keyed(groups)) if source == "event" else None
    precounted = [name for name, formula in adding.items() if counted and _is_precounted(selection, counted, formula)]
    others = {name: formula for name, formula in adding.items() if name not in precounted}
    frames, source_cells = [], None
    if counted is not None and precounted:
        frames.append(_add_up_precounted(selection, counted, {name: adding[name] for name in precounted}, groups))
    if others or (groups and not precounted):
        source_cells = selection.described(_cells(selection, source, others, selection.keyed(groups)), groups)
        frames.append(added_up(_counted_cells(source, source_cells), others, groups))
    frames += distinct_counts(selection, source, distinct, groups, source_cells) if distinct else []
    return joined(frames, groups)


def _columns_needed(
    selection: Selection, formulas: dict[str, Formula], distinct: dict[str, Distinct], groups: list[str]
) -> set[str]:
    """The columns of events that these formulas look at."""
    grains = {name: selection.grain(formula.column, groups) for name, formula in distinct.items()}
    values = {column_of(formula, selection.has_numbers(grains[name])) for name, formula in distinct.items()}
    totals = columns_of(value for formula in formulas.values() for value in values_of(formula))
    flags = {flag for name, formula in formulas.items() if name not in distinct and (flag := flag_of(formula))}
    refusals = {"occurred_at", "person_id", "recipient_id"} if selection.has("page_hit") else set()
    return {*COUNTED_BY, *groups, *_condition_columns(formulas), *totals, *flags, *refusals, *values}


def _is_precounted(selection: Selection, counted: Counted, formula: Formula) -> bool:
    """Whether stored counts answer a formula; earlier versions stored fewer values."""
    columns, values = {*COUNTED_BY, *(() if selection.has("page_hit") else ("is_refused",))}, values_of(formula)
    has_values = values <= set(PRECOUNTED) and not any(counted.counts[name].null_count() for name in values)
    return where_of(formula).keys() <= columns and has_values


def _add_up_precounted(
    selection: Selection, counted: Counted, formulas: dict[str, Formula], groups: list[str]
) -> pl.DataFrame:
    """Add up stored counts, and the rows that have none."""
    uncounted_cells = cells(counted.uncounted, formulas.values(), list(COUNTED_BY), selection.backend)
    parts = [_precounted_cells(counted.counts).lazy(), *uncounted_cells]
    all_cells = selection.described(_collect_cells(selection, parts, ["delivery_id"]), groups)
    return added_up(_counted_cells("event", all_cells), formulas, groups)


def _cells(selection: Selection, source: str, formulas: dict[str, Formula], groups: list[str]) -> pl.DataFrame:
    """The cells of a source, including events that do not count."""
    tested_columns = _condition_columns(formulas) | ({"event_type", "is_seed"} if source == "event" else set())
    rows = selection.joins.joined(selection.of(source), groups)
    if selection.has("page_hit") and "is_refused" in tested_columns:
        rows = with_refusals(selection.tables, rows, selection.backend)
    keys = [*groups, *sorted(tested_columns.difference(groups, () if selection.has("page_hit") else {"is_refused"}))]
    if "delivery_id" not in groups:
        rows = selection.in_scope(rows)
    return _collect_cells(selection, cells(rows, formulas.values(), keys, selection.backend), groups)


def _collect_cells(selection: Selection, parts: list[Any], groups: list[str]) -> pl.DataFrame:
    if "delivery_id" in groups:  # filtering a few cells is cheaper than filtering all rows
        parts = [selection.in_scope(part) for part in parts]
    # One after the other: together, polars would keep the rows in memory to read them once.
    return pl.concat([selection.backend.collect(part) for part in parts], how="diagonal")


def _counted_cells(source: str, source_cells: pl.DataFrame) -> pl.DataFrame:
    if source != "event":
        return source_cells
    untested = [] if "is_refused" in source_cells.columns else [pl.lit(None, pl.Boolean).alias("is_refused")]
    return source_cells.filter(is_counted()).with_columns(untested)


def _condition_columns(formulas: dict[str, Formula]) -> set[str]:
    """The columns that the formulas' conditions test."""
    return {column for formula in formulas.values() for column in where_of(formula)}


# ---- what adds up ----


def flag_of(formula: Formula) -> str | None:
    """Return the stored flag whose sum, within a delivery, is this distinct count.

    >>> from trackkit.metrics import METRICS
    >>> flag_of(METRICS["unique_clicks"].formula)
    'is_first_click'
    """
    for flag, (column, event_type) in schema.FIRSTS.items():
        if formula == Distinct(column, ALWAYS if event_type is None else {"event_type": (event_type,)}):
            return flag
    return None


def cells(rows: Any, formulas: Iterable[Formula], keys: list[str], backend: Backend = POLARS) -> list[Any]:
    """Return frames of cells, each with one row per value of `keys`, to be concatenated for `added_up`.

    `keys` are the groups asked for and all columns that conditions test. The few rows with values to add have a frame
    of their own.
    """
    api = backend.api
    flags = {flag for formula in formulas if (flag := flag_of(formula))}
    sums = [api.col(flag).sum().cast(api.Int64) for flag in sorted(flags)]
    frames = [_grouped(rows, [api.len().cast(api.Int64).alias(ROWS), *sums], keys)]
    if value_names := sorted({value for formula in formulas for value in values_of(formula)}):
        values = {name: _row_value(name, backend) for name in value_names}
        sums = [value.sum().alias(_sum_column(name)) for name, value in values.items()]
        counts = [value.count().cast(api.Int64).alias(_known_column(name)) for name, value in values.items()]
        is_known = reduce(or_, [~api.col(name).is_null() for name in sorted(columns_of(value_names) - {"currency"})])
        rows = _with_currency(rows, value_names, api).filter(is_known)
        frames.append(_grouped(rows, [*sums, *counts, *_currency_range(value_names, backend)], keys))
    return frames


def values_of(formula: Formula) -> set[str]:
    """Return the row values that a formula needs; a refund is the amount less the sale."""
    if not isinstance(formula, Total | Known):
        return set()
    return {"amount", "sale"} if formula.column in IN_MONEY else {formula.column, _column_behind(formula.column)}


def columns_of(values: Iterable[str]) -> set[str]:
    """Return the columns that values are made of, with `currency` if they are money."""
    columns = {column for value in values for column in made_of(value)}
    return columns | ({"currency"} if columns & set(AMOUNTS) else set())


def _row_value(name: str, backend: Backend) -> Any:
    """A value of rows, null where it is unknown or of the other kind (a refund is no sale)."""
    api = backend.api
    if name in AMOUNTS:
        return backend.amount(name)
    if name == "sale":
        return api.when(api.col("amount") >= 0).then(backend.amount("amount"))
    if name == "sold":
        is_sale = (api.col("articles") >= 0) & ~(backend.amount("amount") < 0).fill_null(False)
        return api.when(is_sale).then(api.col("articles"))
    return api.col(name)


def _with_currency(rows: Any, values: list[str], api: Any) -> Any:
    is_lacking = "currency" in columns_of(values) and "currency" not in rows.collect_schema()
    return rows.with_columns(api.lit(None, api.String).alias("currency")) if is_lacking else rows


def _currency_range(values: list[str], backend: Backend) -> list[Any]:
    """The first and last currency of the amounts: if they differ, currencies are mixed."""
    if not set(values) & set(IN_MONEY):
        return []
    currency = backend.api.when(~backend.amount("amount").is_null()).then(backend.api.col("currency"))
    return [currency.min().alias(FIRST), currency.max().alias(LAST)]


def _precounted_cells(counts: pl.DataFrame) -> pl.DataFrame:
    """Return stored counts (`Measurable.counted`) as cells."""
    names = {"rows": ROWS}
    for column in PRECOUNTED:
        names |= {column: _sum_column(column), f"known {column}": _known_column(column)}
    return counts.rename(names)


def added_up(source_cells: pl.DataFrame, formulas: Mapping[str, Formula], groups: list[str]) -> pl.DataFrame:
    """Return one row per group and a column per formula, from cells; null where no counted row has the value."""
    sums = [_from_cells(formula).alias(name) for name, formula in formulas.items()]
    added: pl.DataFrame = _grouped(source_cells.lazy(), sums, groups).collect()
    return added


def _from_cells(formula: Formula) -> pl.Expr:
    match formula:
        case Count(where):
            return _sum_of(ROWS, where)
        case Distinct(_, where):
            total = pl.col(flag_of(formula) or "").sum()  # true only where the condition is met
            return _if_known(total, total > 0, _sum_of(ROWS, where) > 0)
        case Known(column, where):
            return _value_sum(_known_column, column, where)
        case Total(column, where) if column in IN_MONEY:
            total = _value_sum(_sum_column, column, where) * (-1 if column == "refund" else 1)
            is_known = _sum_of(_known_column("amount"), where) > 0
            is_none = _value_sum(_known_column, column, where) == 0  # no refund is 0 in any currency
            return pl.when(is_none | ~_is_mixed(where)).then(_if_known(total, is_known, _sum_of(ROWS, where) > 0))
        case Total(column, where):
            is_known = _sum_of(_known_column(_column_behind(column)), where) > 0
            return _if_known(_sum_of(_sum_column(column), where), is_known, _sum_of(ROWS, where) > 0)
    raise AssertionError(f"{formula} is made of other metrics")


def _column_behind(value: str) -> str:
    """The column that makes a value known: if all articles are known to be returned, those sold are known to be 0."""
    return "articles" if value == "sold" else value


def _if_known(total: pl.Expr, is_known: pl.Expr, is_any: pl.Expr) -> pl.Expr:
    """A total, or null if there are rows and none of them has the value."""
    return pl.when(is_known | ~is_any).then(total)


def _value_sum(part: Callable[[str], str], column: str, where: Condition) -> pl.Expr:
    if column == "refund":
        return _sum_of(part("amount"), where) - _sum_of(part("sale"), where)
    return _sum_of(part(column), where)


def _is_mixed(where: Condition) -> pl.Expr:
    """Whether amounts are in several currencies; one without a currency is taken to be in that of the others."""
    counted = meets(where)
    first, last = pl.when(counted).then(FIRST).min(), pl.when(counted).then(LAST).max()
    return (first != last).fill_null(False)


def _sum_of(column: str, where: Condition) -> pl.Expr:
    return pl.when(meets(where)).then(column).sum()


def meets(where: Condition, api: Any = pl) -> Any:
    """Return an expression, never null, that is true where every column holds one of its allowed values."""
    tests = [_is_one_of(api.col(column), values) for column, values in where.items()]
    return reduce(and_, tests) if tests else api.lit(True)


def _is_one_of(column: Any, values: tuple[object, ...]) -> Any:
    is_allowed = reduce(or_, [column == value for value in values if value is not None])
    return is_allowed.fill_null(None in values)


def _grouped(rows: Any, aggregates: list[Any], groups: list[str]) -> Any:
    return rows.group_by(groups).agg(aggregates) if groups else rows.select(aggregates)


def _sum_column(column: str) -> str:
    return f"sum of {column}"


def _known_column(column: str) -> str:
    return f"known of {column}"


# ---- what is distinct ----


def distinct_counts(
    selection: Selection,
    source: str,
    formulas: Mapping[str, Distinct],
    groups: list[str],
    cells: pl.DataFrame | None = None,
) -> list[pl.DataFrame]:
    """Count distinct values: frames with one or more of the counts, each with the groups that meet its condition.

    `cells` of the same events, if given, show which tests can be skipped.
    """
    alike: dict[tuple[str, ...], dict[str, Distinct]] = {}
    for name, formula in formulas.items():
        alike.setdefault((repr(formula.where), *selection.grain(formula.column, groups)), {})[name] = formula
    frames = []
    for (_, *grain), same in alike.items():
        tests = row_tests(selection, next(iter(same.values())).where, cells)
        counted = _count_values(selection, tests, source, same, grain)
        added = selection.described(counted, groups)
        frames.append(counted if grain == groups else _add_deliveries(added, list(same), groups))
    return frames


def _count_values(
    selection: Selection, tests: list[Any], source: str, formulas: Mapping[str, Distinct], grain: list[str]
) -> pl.DataFrame:
    """Count values that meet one condition, in groups within which their columns identify them."""
    is_numbered, columns = selection.has_numbers(grain), {formula.column for formula in formulas.values()}
    parts = selection.parts(PART_ROWS[is_numbered]) if "delivery_id" in grain else [selection]
    if is_numbered and selection.backend.is_local and grain == ["delivery_id"] and "message_id" in columns:
        portions = parts if len(columns) > 1 else [selection]  # contiguous messages need no memory
        counted = _in_order([part.meeting(tests) for part in portions], source, formulas)
        if counted is not None:
            return counted
    return pl.concat(_by_value(part.meeting(tests), source, formulas, grain, is_numbered) for part in parts)


def _add_deliveries(counted: pl.DataFrame, names: list[str], groups: list[str]) -> pl.DataFrame:
    """Add counts of deliveries; `UNKNOWN` if no row of any has the value."""
    sums = []
    for name in names:
        total = pl.col(name).clip(lower_bound=0).sum()
        is_unknown = (total == 0) & (pl.col(name) == UNKNOWN).any()
        sums.append(pl.when(is_unknown).then(UNKNOWN).otherwise(total).cast(pl.Int64).alias(name))
    return counted.group_by(groups).agg(sums) if groups else counted.select(sums)


def column_of(formula: Distinct, is_numbered: bool) -> str:
    """Return the column that holds the values of a distinct count."""
    return schema.NUMBERS[formula.column] if is_numbered else formula.column


def in_order(events: pl.LazyFrame, formulas: Mapping[str, Distinct]) -> pl.DataFrame | None:
    """Count distinct values of each delivery in numbered rows, its messages by where each begins.

    None if the rows of a message are not contiguous: some readers and stores give no order.
    """
    messages = [name for name, formula in formulas.items() if formula.column == "message_id"]
    others = {name: formula for name, formula in formulas.items() if name not in messages}
    values = [_n_unique(formula, True).alias(name) for name, formula in others.items()]
    sums = pl.col("is_known", "is_begin", "is_back").sum().cast(pl.Int64)
    steps = _change_rows(events, [column_of(formula, True) for formula in others.values()])
    counted = POLARS.collect(steps.group_by("delivery_id").agg(sums, *values))
    if (counted["is_begin"] > 1).any() or counted["is_back"].sum():
        return None
    count = pl.when(pl.col("is_known") > 0).then("is_known").otherwise(UNKNOWN)
    return counted.select("delivery_id", *others, *(count.alias(name) for name in messages))


def _change_rows(events: pl.LazyFrame, columns: list[str]) -> pl.LazyFrame:
    """The rows where the message or one of the columns changes, with flags for the start of a delivery or message.

    A number below the previous one in the same delivery shows that messages are not contiguous.
    """
    number, is_begin, is_other = pl.col(schema.NUMBERS["message_id"]), pl.col("is_begin"), pl.col("is_other")
    steps = events.select(
        "delivery_id",
        *columns,
        is_begin=changes(pl.col("delivery_id")),
        is_other=changes(number),
        is_back=number < number.shift(),
        is_known=number > 0,
    )
    starts = steps.filter(pl.any_horizontal(is_begin, is_other, *(changes(pl.col(name)) for name in columns)))
    is_start = is_begin | is_other
    return starts.with_columns(is_back=pl.col("is_back") & ~is_begin, is_known=pl.col("is_known") & is_start)


def _in_order(parts: list[Selection], source: str, formulas: Mapping[str, Distinct]) -> pl.DataFrame | None:
    frames = []
    for part in parts:
        counted = in_order(part.of(source), formulas)
        if counted is None:
            return None
        frames.append(POLARS.collect(part.in_scope(counted.lazy())))
    return pl.concat(frames)


def _by_value(
    part: Selection, source: str, formulas: Mapping[str, Distinct], groups: list[str], is_numbered: bool
) -> pl.DataFrame:
    """Count distinct values in memory."""
    source_rows, by_delivery = part.of(source), "delivery_id" in groups
    columns = dict.fromkeys([*groups, *(column_of(formula, is_numbered) for formula in formulas.values())])
    source_rows = part.described(source_rows if by_delivery else part.in_scope(source_rows), groups)
    rows = part.backend.unrepeated(source_rows, list(columns))
    values = [_n_unique(formula, is_numbered, part.backend.api).alias(name) for name, formula in formulas.items()]
    counted = rows.group_by(groups).agg(values) if groups else rows.select(values)
    # By delivery, filtering a few counts is cheaper than filtering all rows.
    return part.backend.collect(part.in_scope(counted) if by_delivery else counted)


def row_tests(selection: Selection, where: Condition, cells: pl.DataFrame | None = None) -> list[Any]:
    """Return tests for the events of a condition that count; those that `cells` of the same events all pass skipped."""
    api = selection.backend.api
    tests = [meets(where, api)] if where else []
    if cells is None or not cells.filter(~is_public()).is_empty():
        tests.append(is_public(api))
    # A condition that names event types already excludes the others.
    if "event_type" not in where and (cells is None or not cells.filter(~is_hit()).is_empty()):
        tests.append(is_hit(api))
    return tests


def _n_unique(formula: Distinct, is_numbered: bool, api: Any = pl) -> Any:
    """The number of distinct values in the rows of a group, or `UNKNOWN` if all are null.

    `is_numbered` says that within the group numbers identify the values (`schema.NUMBERS`).
    """
    values = api.col(column_of(formula, is_numbered))
    is_null = (values == 0) if is_numbered else values.is_null()
    # Without rows, some engines return null.
    count = values.n_unique().cast(api.Int64).fill_null(0) - is_null.any().fill_null(False).cast(api.Int64)
    is_unknown = (count == 0) & (api.len() > 0)
    return count + UNKNOWN * is_unknown.cast(api.Int64)
