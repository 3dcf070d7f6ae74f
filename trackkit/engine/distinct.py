"""Distinct counts of rows, where no stored flag answers: of each condition in a pass over the rows that meet it."""

from collections.abc import Mapping
from typing import Any

import polars as pl

from trackkit import schema
from trackkit.engine.deliveries import is_hit, is_public
from trackkit.engine.frames import HERE, changes
from trackkit.engine.rollup import meets
from trackkit.engine.rows import Rows
from trackkit.metrics import Condition, Distinct

# Events of which values are held at once, within deliveries: of text, and of numbers.
PART_ROWS = {False: 4_000_000, True: 30_000_000}
UNTOLD = -1  # a count of rows of which none says whose it is


def distinct_counts(
    rows: Rows, source: str, formulas: Mapping[str, Distinct], groups: list[str], cells: pl.DataFrame | None = None
) -> list[pl.DataFrame]:
    """Count distinct values: frames of one or several of the counts, each with the groups that meet their condition.

    `cells` of the same events, where there are some, say what need not be looked for among them.
    """
    alike: dict[tuple[str, ...], dict[str, Distinct]] = {}
    for name, formula in formulas.items():
        alike.setdefault((repr(formula.where), *rows.grain(formula.column, groups)), {})[name] = formula
    found = []
    for (_, *grain), same in alike.items():
        counted = _of_grain(rows, _tests(rows, next(iter(same.values())).where, cells), source, same, grain)
        found.append(counted if grain == groups else _added_up(counted, list(same), groups))
    return found


def _of_grain(
    rows: Rows, tests: list[Any], source: str, formulas: Mapping[str, Distinct], grain: list[str]
) -> pl.DataFrame:
    """Count values that meet one condition, in groups within which their columns tell them apart."""
    is_numbered, columns = rows.has_numbers(grain), {one.column for one in formulas.values()}
    parts = rows.parts(PART_ROWS[is_numbered]) if "delivery_id" in grain else [rows]
    if is_numbered and rows.on.is_here and grain == ["delivery_id"] and "message_id" in columns:
        of_each = parts if len(columns) > 1 else [rows]  # messages that lie together are not held
        counted = _in_order([part.that(tests) for part in of_each], source, formulas)
        if counted is not None:
            return counted
    return pl.concat(_by_value(part.that(tests), source, formulas, grain, is_numbered) for part in parts)


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
    found = HERE.collect(steps.group_by("delivery_id").agg(sums, *values))
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


def _in_order(parts: list[Rows], source: str, formulas: Mapping[str, Distinct]) -> pl.DataFrame | None:
    found = []
    for part in parts:
        counted = in_order(part.of(source), formulas)
        if counted is None:
            return None
        found.append(HERE.collect(part.asked(counted.lazy())))
    return pl.concat(found)


def _by_value(
    part: Rows, source: str, formulas: Mapping[str, Distinct], groups: list[str], is_numbered: bool
) -> pl.DataFrame:
    """Count values, which are held in memory."""
    met, is_within = part.of(source), "delivery_id" in groups
    columns = dict.fromkeys([*groups, *(column_of(formula, is_numbered) for formula in formulas.values())])
    found = part.on.unrepeated(met if is_within else part.asked(met), list(columns))
    values = [_values(formula, is_numbered, part.on.api).alias(name) for name, formula in formulas.items()]
    counted = found.group_by(groups).agg(values) if groups else found.select(values)
    # By delivery a few counts are left out, not a few of all rows.
    return part.on.collect(part.asked(counted) if is_within else counted)


def _tests(rows: Rows, where: Condition, cells: pl.DataFrame | None) -> list[Any]:
    """What rows are to be tested for: whether they count, unless all do, and meet a condition."""
    api = rows.on.api
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
