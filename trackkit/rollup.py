"""Formulas of rows, compiled to expressions: what adds up over cells, and what is distinct over its values.

A cell is the rows of a group that no condition can tell apart. One pass counts the rows of each, with no filter and no
condition to work out row by row; every formula then looks at a few cells. A distinct count adds up where a stored flag
marks each value once (`schema.FIRSTS`). Rows are counted where they are (`frames`), cells in polars.
"""

from collections.abc import Iterable, Mapping
from functools import reduce
from operator import and_, or_
from typing import Any

import polars as pl

from trackkit import schema
from trackkit.frames import AMOUNTS, HERE, Frames
from trackkit.metrics import ALWAYS, Condition, Count, Distinct, Formula, Total

ROWS = "rows of cell"
TOLD = ("amount", "articles")  # whose sums are counted beforehand


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
    if columns := sorted({formula.column for formula in formulas if isinstance(formula, Total)}):
        values = [on.amount(name) if name in AMOUNTS else api.col(name) for name in columns]
        sums = [value.sum().alias(_sum(name)) for name, value in zip(columns, values, strict=True)]
        known = [api.col(name).count().cast(api.Int64).alias(_known(name)) for name in columns]
        is_known = reduce(or_, [~api.col(name).is_null() for name in columns])
        found.append(_grouped(rows.filter(is_known), [*sums, *known], keys))
    return found


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
        case Total(column, where):
            known = _sum_of(_known(column), where)
            return _if_told(_sum_of(_sum(column), where), known > 0, _sum_of(ROWS, where) > 0)
    raise AssertionError(f"{formula} is made of other metrics")


def _if_told(found: pl.Expr, is_told: pl.Expr, is_any: pl.Expr) -> pl.Expr:
    """Rows of which none says whose it is may be of one or of many."""
    return pl.when(is_told | ~is_any).then(found)


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
