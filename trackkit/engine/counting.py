"""Counts of one source in groups: what adds up over cells, and what is distinct over its values.

A cell is the rows of a group that no condition can tell apart. One pass counts the rows of each, with no filter and no
condition to work out row by row; every formula then looks at a few cells. A distinct count adds up where a stored flag
marks each value once (`schema.FIRSTS`); where none does, it is counted in a pass of its own over the rows that meet its
condition. Rows are counted where they are (`backends`), cells in polars.
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

ROWS = "rows of cell"
PRECOUNTED = ("amount", "sale", "articles", "sold")  # whose sums are counted beforehand
FIRST, LAST = "first currency", "last currency"  # of the amounts of a cell, in the order of the alphabet
# Events of which values are held at once, within deliveries: of text, and of numbers.
PART_ROWS = {False: 4_000_000, True: 30_000_000}
UNTOLD = -1  # a count of rows of which none says whose it is


def joined(frames: Sequence[pl.DataFrame], groups: list[str]) -> pl.DataFrame:
    """Return frames side by side: a row for each group that any of them has."""
    if not groups:
        return pl.concat(frames, how="horizontal")
    return reduce(lambda left, right: left.join(right, groups, "full", coalesce=True, nulls_equal=True), frames)


def count_source(selection: Selection, source: str, metrics: list[Metric], groups: list[str]) -> pl.DataFrame:
    """One row per group of a source: what adds up, and what is distinct where no stored flag answers."""
    formulas = {metric.name: metric.formula for metric in metrics}
    distinct = {name: formula for name, formula in formulas.items() if isinstance(formula, Distinct)}
    if distinct and selection.has_firsts(groups):
        distinct = {name: formula for name, formula in distinct.items() if not flag_of(formula)}
    portions: Iterable[Selection] = [selection]
    if source == "event":
        columns = _columns_needed(selection, formulas, distinct, groups)
        portions = selection.portions(columns) if "delivery_id" in groups else [selection.held(columns)]
    found = pl.concat(_of_portion(portion, source, formulas, distinct, groups) for portion in portions)
    known = [pl.when(pl.col(name).fill_null(0) != UNTOLD).then(pl.col(name).fill_null(0)) for name in distinct]
    return found.with_columns(*known, pl.lit(True).alias(f"in {source}"))


def _of_portion(
    selection: Selection, source: str, formulas: dict[str, Formula], distinct: dict[str, Distinct], groups: list[str]
) -> pl.DataFrame:
    adding = {name: formula for name, formula in formulas.items() if name not in distinct}
    # What adds up tells all groups: of a distinct count those are left out where nothing meets its condition.
    counted = selection.counted(groups) if source == "event" else None
    ready = [name for name, one in adding.items() if counted is not None and _is_precounted(selection, counted, one)]
    rest = {name: formula for name, formula in adding.items() if name not in ready}
    frames, found = [], None
    if counted is not None and ready:
        frames.append(_add_precounted(selection, counted, {name: adding[name] for name in ready}))
    if rest or (groups and not ready):
        found = _cells(selection, source, rest, groups)
        frames.append(added_up(_counted_cells(source, found), rest, groups))
    frames += distinct_counts(selection, source, distinct, groups, found) if distinct else []
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
    return {*COUNTED_BY, *groups, *_tested(formulas), *totals, *flags, *refusals, *values}


def _is_precounted(selection: Selection, counted: Counted, formula: Formula) -> bool:
    """Whether a formula is answered by what was counted beforehand, which earlier versions did of fewer values."""
    columns, values = {*COUNTED_BY, *(() if selection.has("page_hit") else ("is_refused",))}, values_of(formula)
    is_there = values <= set(PRECOUNTED) and not any(counted.counts[name].null_count() for name in values)
    return where_of(formula).keys() <= columns and is_there


def _add_precounted(selection: Selection, counted: Counted, formulas: dict[str, Formula]) -> pl.DataFrame:
    """Add up what was counted beforehand, and the rows that were not."""
    groups, rest = ["delivery_id"], cells(counted.rest, formulas.values(), list(COUNTED_BY), selection.backend)
    found = _collected(selection, [_precounted_cells(counted.counts).lazy(), *rest], groups)
    return added_up(_counted_cells("event", found), formulas, groups)


def _cells(selection: Selection, source: str, formulas: dict[str, Formula], groups: list[str]) -> pl.DataFrame:
    """The cells of a source, those of events that do not count too."""
    tested = _tested(formulas) | ({"event_type", "is_seed"} if source == "event" else set())
    found = selection.of(source)
    if selection.has("page_hit") and "is_refused" in tested:
        found = with_refusals(selection.tables, found, selection.backend)
    keys = [*groups, *sorted(tested.difference(groups, () if selection.has("page_hit") else {"is_refused"}))]
    if "delivery_id" not in groups:
        found = selection.in_scope(found)
    return _collected(selection, cells(found, formulas.values(), keys, selection.backend), groups)


def _collected(selection: Selection, parts: list[Any], groups: list[str]) -> pl.DataFrame:
    if "delivery_id" in groups:  # a few cells are then left out, not a few of all rows
        parts = [selection.in_scope(part) for part in parts]
    # One after the other: together they would keep the rows in memory, to read them once.
    return pl.concat([selection.backend.collect(part) for part in parts], how="diagonal")


def _counted_cells(source: str, found: pl.DataFrame) -> pl.DataFrame:
    if source != "event":
        return found
    untested = [] if "is_refused" in found.columns else [pl.lit(None, pl.Boolean).alias("is_refused")]
    return found.filter(is_counted()).with_columns(untested)


def _tested(formulas: dict[str, Formula]) -> set[str]:
    """The columns that conditions of formulas look at."""
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
    """Return frames of cells, one row per value of `keys` in each, to be put below each other for `added_up`.

    `keys` are the groups asked for and all columns that conditions test. The rows with values to add are few, and have
    a frame of their own.
    """
    api = backend.api
    flags = {flag for formula in formulas if (flag := flag_of(formula))}
    sums = [api.col(flag).sum().cast(api.Int64) for flag in sorted(flags)]
    found = [_grouped(rows, [api.len().cast(api.Int64).alias(ROWS), *sums], keys)]
    if told := sorted({value for formula in formulas for value in values_of(formula)}):
        values = {name: _value(name, backend) for name in told}
        sums = [value.sum().alias(_sum(name)) for name, value in values.items()]
        known = [value.count().cast(api.Int64).alias(_known(name)) for name, value in values.items()]
        is_known = reduce(or_, [~api.col(name).is_null() for name in sorted(columns_of(told) - {"currency"})])
        rows = _with_currency(rows, told, api).filter(is_known)
        found.append(_grouped(rows, [*sums, *known, *_ends(told, backend)], keys))
    return found


def values_of(formula: Formula) -> set[str]:
    """Return the values of rows that answer a formula; a refund is what is left of an amount without the sale."""
    if not isinstance(formula, Total | Known):
        return set()
    return {"amount", "sale"} if formula.column in IN_MONEY else {formula.column, _told_by(formula.column)}


def columns_of(values: Iterable[str]) -> set[str]:
    """Return the columns that values are made of, and that tell whether their sums are of one currency."""
    columns = {column for value in values for column in made_of(value)}
    return columns | ({"currency"} if columns & set(AMOUNTS) else set())


def _value(name: str, backend: Backend) -> Any:
    """A value of rows, null where it is unknown, and where it is of the other kind (a refund is no sale)."""
    api = backend.api
    if name in AMOUNTS:
        return backend.amount(name)
    if name == "sale":
        return api.when(api.col("amount") >= 0).then(backend.amount("amount"))
    if name == "sold":
        is_sale = (api.col("articles") >= 0) & ~(backend.amount("amount") < 0).fill_null(False)
        return api.when(is_sale).then(api.col("articles"))
    return api.col(name)


def _with_currency(rows: Any, told: list[str], api: Any) -> Any:
    is_lacking = "currency" in columns_of(told) and "currency" not in rows.collect_schema()
    return rows.with_columns(api.lit(None, api.String).alias("currency")) if is_lacking else rows


def _ends(told: list[str], backend: Backend) -> list[Any]:
    """The first and the last currency of the amounts: where they differ there are several."""
    if not set(told) & set(IN_MONEY):
        return []
    currency = backend.api.when(~backend.amount("amount").is_null()).then(backend.api.col("currency"))
    return [currency.min().alias(FIRST), currency.max().alias(LAST)]


def _precounted_cells(counts: pl.DataFrame) -> pl.DataFrame:
    """Return what was counted beforehand (`Measurable.counted`) as cells."""
    names = {"rows": ROWS}
    for column in PRECOUNTED:
        names |= {column: _sum(column), f"known {column}": _known(column)}
    return counts.rename(names)


def added_up(found: pl.DataFrame, formulas: Mapping[str, Formula], groups: list[str]) -> pl.DataFrame:
    """Return one row per group, a column per formula, from cells; null where no row that counts knows its value."""
    wanted = [_over_cells(formula).alias(name) for name, formula in formulas.items()]
    counts: pl.DataFrame = _grouped(found.lazy(), wanted, groups).collect()
    return counts


def _over_cells(formula: Formula) -> pl.Expr:
    match formula:
        case Count(where):
            return _sum_of(ROWS, where)
        case Distinct(_, where):
            found = pl.col(flag_of(formula) or "").sum()  # true only where the condition is met
            return _if_told(found, found > 0, _sum_of(ROWS, where) > 0)
        case Known(column, where):
            return _over_values(_known, column, where)
        case Total(column, where) if column in IN_MONEY:
            found = _over_values(_sum, column, where) * (-1 if column == "refund" else 1)
            is_told = _sum_of(_known("amount"), where) > 0
            is_none = _over_values(_known, column, where) == 0  # no refund is 0 in any currency
            return pl.when(is_none | ~_is_mixed(where)).then(_if_told(found, is_told, _sum_of(ROWS, where) > 0))
        case Total(column, where):
            is_told = _sum_of(_known(_told_by(column)), where) > 0
            return _if_told(_sum_of(_sum(column), where), is_told, _sum_of(ROWS, where) > 0)
    raise AssertionError(f"{formula} is made of other metrics")


def _told_by(value: str) -> str:
    """The column that tells a value: where all articles are known to be given back, those sold are known to be 0."""
    return "articles" if value == "sold" else value


def _if_told(found: pl.Expr, is_told: pl.Expr, is_any: pl.Expr) -> pl.Expr:
    """Rows of which none says whose it is may be of one or of many."""
    return pl.when(is_told | ~is_any).then(found)


def _over_values(part: Callable[[str], str], column: str, where: Condition) -> pl.Expr:
    if column == "refund":
        return _sum_of(part("amount"), where) - _sum_of(part("sale"), where)
    return _sum_of(part(column), where)


def _is_mixed(where: Condition) -> pl.Expr:
    """Whether amounts are of several currencies; those that name none are of the one that others name."""
    counted = meets(where)
    first, last = pl.when(counted).then(FIRST).min(), pl.when(counted).then(LAST).max()
    return (first != last).fill_null(False)


def _sum_of(column: str, where: Condition) -> pl.Expr:
    return pl.when(meets(where)).then(column).sum()


def meets(where: Condition, api: Any = pl) -> Any:
    """Return an expression that is true where every column holds one of the values allowed; never null."""
    tests = [_is_one_of(api.col(column), values) for column, values in where.items()]
    return reduce(and_, tests) if tests else api.lit(True)


def _is_one_of(column: Any, values: tuple[object, ...]) -> Any:
    known = reduce(or_, [column == value for value in values if value is not None])
    return known.fill_null(None in values)


def _grouped(rows: Any, aggregates: list[Any], groups: list[str]) -> Any:
    return rows.group_by(groups).agg(aggregates) if groups else rows.select(aggregates)


def _sum(column: str) -> str:
    return f"sum of {column}"


def _known(column: str) -> str:
    return f"known of {column}"


# ---- what is distinct ----


def distinct_counts(
    selection: Selection,
    source: str,
    formulas: Mapping[str, Distinct],
    groups: list[str],
    cells: pl.DataFrame | None = None,
) -> list[pl.DataFrame]:
    """Count distinct values: frames of one or several of the counts, each with the groups that meet their condition.

    `cells` of the same events, where there are some, say what need not be looked for among them.
    """
    alike: dict[tuple[str, ...], dict[str, Distinct]] = {}
    for name, formula in formulas.items():
        alike.setdefault((repr(formula.where), *selection.grain(formula.column, groups)), {})[name] = formula
    found = []
    for (_, *grain), same in alike.items():
        counted = _of_grain(selection, _tests(selection, next(iter(same.values())).where, cells), source, same, grain)
        found.append(counted if grain == groups else _added_up(counted, list(same), groups))
    return found


def _of_grain(
    selection: Selection, tests: list[Any], source: str, formulas: Mapping[str, Distinct], grain: list[str]
) -> pl.DataFrame:
    """Count values that meet one condition, in groups within which their columns tell them apart."""
    is_numbered, columns = selection.has_numbers(grain), {one.column for one in formulas.values()}
    parts = selection.parts(PART_ROWS[is_numbered]) if "delivery_id" in grain else [selection]
    if is_numbered and selection.backend.is_local and grain == ["delivery_id"] and "message_id" in columns:
        of_each = parts if len(columns) > 1 else [selection]  # messages that lie together are not held
        counted = _in_order([part.meeting(tests) for part in of_each], source, formulas)
        if counted is not None:
            return counted
    return pl.concat(_by_value(part.meeting(tests), source, formulas, grain, is_numbered) for part in parts)


def _added_up(counted: pl.DataFrame, names: list[str], groups: list[str]) -> pl.DataFrame:
    """Add counts of deliveries; `UNTOLD` where no row of any says whose it is."""
    sums = []
    for name in names:
        total = pl.col(name).clip(lower_bound=0).sum()
        is_untold = (total == 0) & (pl.col(name) == UNTOLD).any()
        sums.append(pl.when(is_untold).then(UNTOLD).otherwise(total).cast(pl.Int64).alias(name))
    return counted.group_by(groups).agg(sums) if groups else counted.select(sums)


def column_of(formula: Distinct, is_numbered: bool) -> str:
    """Return the column that holds the values of a distinct count."""
    return schema.NUMBERS[formula.column] if is_numbered else formula.column


def in_order(met: pl.LazyFrame, formulas: Mapping[str, Distinct]) -> pl.DataFrame | None:
    """Count distinct values of each delivery in numbered rows, its messages by where each begins.

    None where messages do not lie together, as some readers and some stores give no order.
    """
    messages = [name for name, formula in formulas.items() if formula.column == "message_id"]
    others = {name: formula for name, formula in formulas.items() if name not in messages}
    values = [_values(formula, True).alias(name) for name, formula in others.items()]
    sums = pl.col("is_told", "is_begin", "is_back").sum().cast(pl.Int64)
    steps = _steps(met, [column_of(formula, True) for formula in others.values()])
    found = POLARS.collect(steps.group_by("delivery_id").agg(sums, *values))
    if (found["is_begin"] > 1).any() or found["is_back"].sum():
        return None
    told = pl.when(pl.col("is_told") > 0).then("is_told").otherwise(UNTOLD)
    return found.select("delivery_id", *others, *(told.alias(name) for name in messages))


def _steps(met: pl.LazyFrame, columns: list[str]) -> pl.LazyFrame:
    """The rows where the message changes, or one of the columns: which of them begin a delivery, or a message.

    A number that is less than the one before, in the same delivery, says that messages do not lie together.
    """
    number, begins, rises = pl.col(schema.NUMBERS["message_id"]), pl.col("is_begin"), pl.col("is_other")
    steps = met.select(
        "delivery_id",
        *columns,
        is_begin=changes(pl.col("delivery_id")),
        is_other=changes(number),
        is_back=number < number.shift(),
        is_told=number > 0,
    )
    kept = steps.filter(pl.any_horizontal(begins, rises, *(changes(pl.col(name)) for name in columns)))
    return kept.with_columns(is_back=pl.col("is_back") & ~begins, is_told=pl.col("is_told") & (begins | rises))


def _in_order(parts: list[Selection], source: str, formulas: Mapping[str, Distinct]) -> pl.DataFrame | None:
    found = []
    for part in parts:
        counted = in_order(part.of(source), formulas)
        if counted is None:
            return None
        found.append(POLARS.collect(part.in_scope(counted.lazy())))
    return pl.concat(found)


def _by_value(
    part: Selection, source: str, formulas: Mapping[str, Distinct], groups: list[str], is_numbered: bool
) -> pl.DataFrame:
    """Count values, which are held in memory."""
    met, is_within = part.of(source), "delivery_id" in groups
    columns = dict.fromkeys([*groups, *(column_of(formula, is_numbered) for formula in formulas.values())])
    found = part.backend.unrepeated(met if is_within else part.in_scope(met), list(columns))
    values = [_values(formula, is_numbered, part.backend.api).alias(name) for name, formula in formulas.items()]
    counted = found.group_by(groups).agg(values) if groups else found.select(values)
    # By delivery a few counts are left out, not a few of all rows.
    return part.backend.collect(part.in_scope(counted) if is_within else counted)


def _tests(selection: Selection, where: Condition, cells: pl.DataFrame | None) -> list[Any]:
    """What rows are to be tested for: whether they count, unless all do, and meet a condition."""
    api = selection.backend.api
    tests = [meets(where, api)] if where else []
    if cells is None or not cells.filter(~is_public()).is_empty():
        tests.append(is_public(api))
    # Where a condition names types, no other type need be looked for.
    if "event_type" not in where and (cells is None or not cells.filter(~is_hit()).is_empty()):
        tests.append(is_hit(api))
    return tests


def _values(formula: Distinct, is_numbered: bool, api: Any = pl) -> Any:
    """The number of values in the rows of a group, all of them meeting the condition; `UNTOLD` where none says.

    `is_numbered` says that within the group numbers tell the values apart (`schema.NUMBERS`).
    """
    values = api.col(column_of(formula, is_numbered))
    is_unknown = (values == 0) if is_numbered else values.is_null()
    # Of no rows at all, some engines know no number.
    found = values.n_unique().cast(api.Int64).fill_null(0) - is_unknown.any().fill_null(False).cast(api.Int64)
    is_untold = (found == 0) & (api.len() > 0)
    return found + UNTOLD * is_untold.cast(api.Int64)
