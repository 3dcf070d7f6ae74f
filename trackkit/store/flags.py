"""The marks of settled deliveries: which hits are the first of their kind, and numbers that tell values apart.

With `schema.FIRSTS` a distinct count is a sum; with `schema.NUMBERS` it need not look at text where a sum cannot
answer. A late or removed event can change both, but only inside its delivery: whoever settles deliveries whole, or
takes rows away, marks them again.
"""

import polars as pl

from trackkit import schema
from trackkit.engine.deliveries import is_counted

# The earliest counts, an undated one last; the rest only makes the choice the same in any order of the rows.
_EARLIEST = ("occurred_at", "event_id", "log_server", "source_file", "source_row")
_ROW = "row of all"
MARKED_BY = ("delivery_id", *schema.NUMBERS, *_EARLIEST, "event_type", "is_seed")  # what marks hang on


def with_marks(events: pl.DataFrame) -> pl.DataFrame:
    """Return events with `schema.FIRSTS`, each true once for a value that it counts, and `schema.NUMBERS` filled.

    In: every row of `event` of some deliveries, enriched; out: the same rows, in the same order. Rows that no figure
    counts (of control addresses, sends and bounces) are no first ones, nor are those that do not say whose they are.
    Numbers are given to all rows, in order of the ids. Without a delivery, rows are taken for those of one.

    >>> rows = [{"delivery_id": "7", "message_id": one, "event_type": "opened"} for one in ("b", "a", "b", None)]
    >>> with_marks(pl.DataFrame(rows, schema=schema.EVENT.schema)).select("is_first_hit", "message_number").rows()
    [(True, 2), (True, 1), (False, 2), (False, 0)]
    """
    ranks = [pl.col(column).rank("dense").over("delivery_id").fill_null(0) for column in schema.NUMBERS]
    names = zip(ranks, schema.NUMBERS.values(), strict=True)
    numbered = events.with_columns(rank.cast(pl.Int32).alias(name) for rank, name in names)
    rows = (
        numbered.lazy()
        .select("delivery_id", *schema.NUMBERS.values(), *_EARLIEST, "event_type", "is_seed")
        .with_row_index(_ROW)
        .filter(is_counted())
    )
    found = pl.collect_all([_first(rows, *kind) for kind in schema.FIRSTS.values()])
    place = pl.int_range(pl.len(), dtype=pl.UInt32)
    return numbered.with_columns(
        place.is_in(first[_ROW].implode()).alias(flag) for flag, first in zip(schema.FIRSTS, found, strict=True)
    )


def _first(rows: pl.LazyFrame, column: str, event_type: str | None) -> pl.LazyFrame:
    kind = pl.lit(True) if event_type is None else pl.col("event_type") == event_type
    value = ["delivery_id", schema.NUMBERS[column]]
    named = rows.filter(kind, pl.col(schema.NUMBERS[column]) > 0).sort(*value, *_EARLIEST, nulls_last=True)
    is_other = pl.any_horizontal(pl.col(name).ne_missing(pl.col(name).shift()) for name in value)
    return named.filter(is_other).select(_ROW)


def later_than_first(rows: pl.LazyFrame, column: str) -> pl.LazyFrame:
    """Return the rows that are not the first of their kind, of several with one value of a column."""
    value = pl.col(column)
    return rows.sort(column, *_EARLIEST, nulls_last=True).filter(value.eq_missing(value.shift()))
