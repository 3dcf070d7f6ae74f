"""Formulas of rows, compiled to polars: what adds up over cells, and what is distinct over its values.

A cell is the rows of a group that no condition can tell apart. One pass counts the rows of each, with no filter and no
condition to work out row by row; every formula then looks at a few cells. A distinct count adds up where a stored flag
marks each value once (`schema.FIRSTS`).
"""

from collections.abc import Iterable, Mapping

import polars as pl

from trackkit import schema
from trackkit.metrics import ALWAYS, Condition, Count, Distinct, Formula, Total

# Amounts are added as decimals: in floating point the sum would hang on the order of the rows.
MONEY, AMOUNTS = pl.Decimal(38, 4), ("amount",)
ROWS = "rows of cell"
UNTOLD = -1  # a distinct count of rows of which none says whose it is


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


def cells(rows: pl.LazyFrame, formulas: Iterable[Formula], keys: list[str]) -> list[pl.LazyFrame]:
    """Return frames of cells, one row per value of `keys` in each, to be put below each other for `added_up`.

    `keys` are the groups asked for and all columns that conditions test. The rows with values to add are few, and have
    a frame of their own.
    """
    flags = {flag for formula in formulas if (flag := flag_of(formula))}
    sums = [pl.col(flag).sum().cast(pl.Int64) for flag in sorted(flags)]
    found = [_grouped(rows, [pl.len().cast(pl.Int64).alias(ROWS), *sums], keys)]
    if columns := sorted({formula.column for formula in formulas if isinstance(formula, Total)}):
        values = [pl.col(name).cast(MONEY, strict=False) if name in AMOUNTS else pl.col(name) for name in columns]
        sums = [value.sum().alias(_sum(name)) for name, value in zip(columns, values, strict=True)]
        known = [pl.col(name).count().cast(pl.Int64).alias(_known(name)) for name in columns]
        is_known = pl.any_horizontal(pl.col(columns).is_not_null())
        found.append(_grouped(rows.filter(is_known), [*sums, *known], keys))
    return found


def added_up(found: pl.DataFrame, formulas: Mapping[str, Formula], groups: list[str]) -> pl.DataFrame:
    """Return one row per group, a column per formula, from cells; null where no row that counts knows its value."""
    wanted = [_over_cells(formula).alias(name) for name, formula in formulas.items()]
    return _grouped(found.lazy(), wanted, groups).collect()


def of_values(formula: Distinct, is_numbered: bool) -> pl.Expr:
    """Return a distinct count over the rows of a group, all of them meeting its condition; `UNTOLD` where none says.

    `is_numbered` says that within the group numbers tell the values apart (`schema.NUMBERS`).
    """
    values = pl.col(schema.NUMBERS[formula.column] if is_numbered else formula.column)
    is_unknown = values == 0 if is_numbered else values.is_null()
    found = values.n_unique().cast(pl.Int64) - is_unknown.any()
    return pl.when((found > 0) | (pl.len() == 0)).then(found).otherwise(UNTOLD)


def _over_cells(formula: Formula) -> pl.Expr:
    match formula:
        case Count(where):
            return _sum_of(ROWS, where)
        case Distinct(_, where):
            found = pl.col(flag_of(formula) or "").sum()  # true only where the condition is met
            return _if_told(found, found > 0, _sum_of(ROWS, where) > 0)
        case Total(column, where):
            known = _sum_of(_known(column), where)
            return _if_told(_sum_of(_sum(column), where), known > 0, _sum_of(ROWS, where) > 0)
    raise AssertionError(f"{formula} is made of other metrics")


def _if_told(found: pl.Expr, is_told: pl.Expr, is_any: pl.Expr) -> pl.Expr:
    """Rows of which none says whose it is may be of one or of many."""
    return pl.when(is_told | ~is_any).then(found)


def _sum_of(column: str, where: Condition) -> pl.Expr:
    return pl.when(meets(where)).then(column).sum()


def meets(where: Condition) -> pl.Expr:
    """Return an expression that is true where every column holds one of the values allowed; never null."""
    tests = [_is_one_of(pl.col(column), values) for column, values in where.items()]
    return pl.all_horizontal(tests) if tests else pl.lit(True)


def _is_one_of(column: pl.Expr, values: tuple[object, ...]) -> pl.Expr:
    known = pl.any_horizontal([column == value for value in values if value is not None])
    return known.fill_null(None in values)


def _grouped(rows: pl.LazyFrame, aggregates: list[pl.Expr], groups: list[str]) -> pl.LazyFrame:
    return rows.group_by(groups).agg(aggregates) if groups else rows.select(aggregates)


def _sum(column: str) -> str:
    return f"sum of {column}"


def _known(column: str) -> str:
    return f"known of {column}"
