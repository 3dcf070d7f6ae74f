"""Formulas of rows, compiled to expressions: what adds up over cells, and what is distinct over its values.

A cell is the rows of a group that no condition can tell apart. One pass counts the rows of each, with no filter and no
condition to work out row by row; every formula then looks at a few cells. A distinct count adds up where a stored flag
marks each value once (`schema.FIRSTS`). Rows are counted where they are (`frames`), cells in polars.
"""

from collections.abc import Callable, Iterable, Mapping
from functools import reduce
from operator import and_, or_
from typing import Any

import polars as pl

from trackkit import schema
from trackkit.engine.frames import AMOUNTS, HERE, Frames
from trackkit.metrics import ALWAYS, IN_MONEY, Condition, Count, Distinct, Formula, Known, Total, made_of

ROWS = "rows of cell"
TOLD = ("amount", "sale", "articles", "sold")  # whose sums are counted beforehand
FIRST, LAST = "first currency", "last currency"  # of the amounts of a cell, in the order of the alphabet


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


def cells(rows: Any, formulas: Iterable[Formula], keys: list[str], on: Frames = HERE) -> list[Any]:
    """Return frames of cells, one row per value of `keys` in each, to be put below each other for `added_up`.

    `keys` are the groups asked for and all columns that conditions test. The rows with values to add are few, and have
    a frame of their own.
    """
    api = on.api
    flags = {flag for formula in formulas if (flag := flag_of(formula))}
    sums = [api.col(flag).sum().cast(api.Int64) for flag in sorted(flags)]
    found = [_grouped(rows, [api.len().cast(api.Int64).alias(ROWS), *sums], keys)]
    if told := sorted({value for formula in formulas for value in values_of(formula)}):
        values = {name: _value(name, on) for name in told}
        sums = [value.sum().alias(_sum(name)) for name, value in values.items()]
        known = [value.count().cast(api.Int64).alias(_known(name)) for name, value in values.items()]
        is_known = reduce(or_, [~api.col(name).is_null() for name in sorted(columns_of(told) - {"currency"})])
        rows = _with_currency(rows, told, api).filter(is_known)
        found.append(_grouped(rows, [*sums, *known, *_ends(told, on)], keys))
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


def _value(name: str, on: Frames) -> Any:
    """A value of rows, null where it is unknown, and where it is of the other kind (a refund is no sale)."""
    api = on.api
    if name in AMOUNTS:
        return on.amount(name)
    if name == "sale":
        return api.when(api.col("amount") >= 0).then(on.amount("amount"))
    if name == "sold":
        is_sale = (api.col("articles") >= 0) & ~(on.amount("amount") < 0).fill_null(False)
        return api.when(is_sale).then(api.col("articles"))
    return api.col(name)


def _with_currency(rows: Any, told: list[str], api: Any) -> Any:
    is_lacking = "currency" in columns_of(told) and "currency" not in rows.collect_schema()
    return rows.with_columns(api.lit(None, api.String).alias("currency")) if is_lacking else rows


def _ends(told: list[str], on: Frames) -> list[Any]:
    """The first and the last currency of the amounts: where they differ there are several."""
    if not set(told) & set(IN_MONEY):
        return []
    currency = on.api.when(~on.amount("amount").is_null()).then(on.api.col("currency"))
    return [currency.min().alias(FIRST), currency.max().alias(LAST)]


def told_cells(counts: pl.DataFrame) -> pl.DataFrame:
    """Return what was counted beforehand (`Measurable.counted`) as cells."""
    names = {"rows": ROWS}
    for column in TOLD:
        names |= {column: _sum(column), f"known {column}": _known(column)}
    return counts.rename(names)


def added_up(found: pl.DataFrame, formulas: Mapping[str, Formula], groups: list[str]) -> pl.DataFrame:
    """Return one row per group, a column per formula, from cells; null where no row that counts knows its value."""
    wanted = [_over_cells(formula).alias(name) for name, formula in formulas.items()]
    return _grouped(found.lazy(), wanted, groups).collect()


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
