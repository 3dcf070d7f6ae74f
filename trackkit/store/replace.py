"""Newer rows in the place of older ones, in every table but events: what a table states wins over what others tell.

A table's own file states its rows; other files tell of them in passing (an event names the URL of its link). In what
order they are loaded does not matter, but for one table stated twice: there the last load wins.
"""

from typing import NamedTuple

import polars as pl

from trackkit.schema import Table
from trackkit.store.dedupe import FILE, FILLED

# A later status of a message brings its own failure, or none; what else is known of the message stays.
_STATUS = ("status_code", "status_at", "failure_id")


class Replaced(NamedTuple):
    """A table after a load: its rows, those with a new or changed value, and per file how many rows made them so.

    `is_other` says whether anything differs from the rows before, be it only who tells a value.
    """

    rows: pl.DataFrame
    changed: pl.DataFrame
    kept: dict[int, int]
    is_other: bool


def replace_rows(table: Table, stored: pl.DataFrame | None, new: pl.DataFrame) -> Replaced:
    """Put new rows of a table other than events in the place of older ones with their key.

    In: sourced columns; `new` with `file` (null: gleaned from a file that is about another table) and in the order it
    was read; `stored` with `filled`. Out: one row per key. The last row stated wins, but a value that it lacks does not
    erase a known one; a value that no row states is the largest gleaned, and bit i of `filled` marks it, i counting
    the columns beside the key. Of a message the latest `status_at` wins, and brings its failure. `kept` counts, by
    file, the new rows that won and changed a value; all others are duplicates.
    """
    key, names = list(table.key), list(table.sourced)
    others = [name for name in names if name not in key]
    known = known_rows(table, stored)
    arriving = _arriving(new, key, others)
    both = arriving.join(known.with_columns(is_known=pl.lit(True)), on=key, how="left", nulls_equal=True,
                         suffix=" before")  # fmt: skip
    is_new = pl.col("is_known").is_null()
    is_changed = [pl.col(name).ne_missing(pl.col(f"{name} before")) for name in others]
    merged = both.with_columns(_of_message(others) if "status_at" in names else _values(others))
    merged = merged.with_columns(is_changed=pl.any_horizontal(is_new, *is_changed))
    other = merged.filter(pl.col("is_changed") | pl.col(FILLED).ne_missing(pl.col(f"{FILLED} before")))
    rest = known.join(other, on=key, how="anti", nulls_equal=True)
    changed = other.filter("is_changed")
    by_file = changed.filter(pl.col(FILE).is_not_null()).group_by(FILE).len()
    rows = pl.concat([rest, other.select(*names, FILLED)]) if rest.height else other.select(*names, FILLED)
    return Replaced(rows, changed.select(names), dict(by_file.iter_rows()), other.height > 0)


def known_rows(table: Table, stored: pl.DataFrame | None) -> pl.DataFrame:
    """Return stored rows as they are merged: sourced columns and `filled`, 0 in a store from before there was one."""
    if stored is None:
        return pl.DataFrame(schema=table.sourced | {FILLED: pl.Int32()})
    filled = pl.col(FILLED).fill_null(0) if FILLED in stored.columns else pl.lit(0, pl.Int32).alias(FILLED)
    return stored.select(*table.sourced, filled)


def _arriving(new: pl.DataFrame, key: list[str], others: list[str]) -> pl.DataFrame:
    """One row per key: what was stated last, its file, and beside each value the largest one gleaned."""
    is_stated = pl.col(FILE).is_not_null()
    stated = _last(new.filter(is_stated), key, others)
    gleaned = new.filter(~is_stated).group_by(key).agg(pl.col(others).max().name.suffix(" gleaned"))
    both = stated.join(gleaned, on=key, how="full", coalesce=True, nulls_equal=True, maintain_order="left_right")
    return both.with_columns(pl.lit(0, pl.Int32).alias(FILLED))


def _last(rows: pl.DataFrame, key: list[str], others: list[str]) -> pl.DataFrame:
    """One row per key: the last known value of each column, and the file of the last row."""
    rows = rows.select(*key, *others, FILE)
    rows = rows.sort("status_at", maintain_order=True) if "status_at" in others else rows
    is_single = pl.len().over(key) == 1
    single, several = rows.filter(is_single), rows.filter(~is_single)
    last = {name: pl.col(name).last(ignore_nulls=True) for name in rows.columns if name not in key}
    if "status_code" in others:
        with_status = pl.col("status_code").is_not_null()
        last |= {name: pl.col(name).filter(with_status).last() for name in _STATUS}
    merged = several.group_by(key, maintain_order=True).agg(**last).select(rows.columns)
    return pl.concat([single, merged]) if several.height else rows


def _values(columns: list[str]) -> list[pl.Expr]:
    """The values after a load, stated before gleaned, and which of them are gleaned."""
    values, bits = [], [pl.lit(0, pl.Int32)]
    for place, name in enumerate(columns):
        before, gleaned = pl.col(f"{name} before"), pl.col(f"{name} gleaned")
        was_gleaned = (pl.col(f"{FILLED} before").fill_null(0) & (1 << place)) != 0
        stated = pl.coalesce(name, pl.when(~was_gleaned).then(before))
        is_larger = was_gleaned & (before > gleaned).fill_null(before.is_not_null())
        values.append(pl.coalesce(stated, pl.when(is_larger).then(before).otherwise(gleaned)).alias(name))
        is_gleaned = stated.is_null() & (gleaned.is_not_null() | (was_gleaned & before.is_not_null()))
        bits.append(pl.when(is_gleaned).then(pl.lit(1 << place, pl.Int32)).otherwise(0))
    return [*values, pl.sum_horizontal(bits).cast(pl.Int32).alias(FILLED)]


def _of_message(columns: list[str]) -> list[pl.Expr]:
    """The values of a message after a load: the new ones where known, unless its status is an earlier one."""
    before, at = pl.col("status_at before"), pl.col("status_at")
    is_later = pl.col("status_code").is_not_null() & (before.is_null() | (at >= before).fill_null(False))
    return [
        pl.when(is_later)
        .then(name if name in _STATUS else pl.coalesce(name, f"{name} before"))
        .otherwise(pl.coalesce(f"{name} before", *([] if name in _STATUS else [name])))
        .alias(name)
        for name in columns
    ]
