"""The largest of many, then the others together and the total: the shape of each table of the most used."""

from collections.abc import Sequence

import polars as pl

from trackkit.errors import RequestError


def require_top(top: int, what: str) -> int:
    """Return how many of something to show; RequestError where it is no whole number from 1."""
    if not (isinstance(top, int) and top > 0):
        raise RequestError(f"The number of {what} to show is a whole number from 1; got {top!r}.")
    return top


def ranked(
    counts: pl.DataFrame, count: str, names: Sequence[str], top: int, what: str = "names", within: Sequence[str] = ()
) -> pl.DataFrame:
    """Return all rows, the largest count first, equal ones by their names; `rank` is null after the `top`.

    With `within`, of each group of these columns.
    """
    place = pl.int_range(1, pl.len() + 1, dtype=pl.Int64)
    place = place.over(within) if within else place
    descending = [False] * len(within) + [True] + [False] * len(names)
    ordered = counts.sort(*within, count, *names, descending=descending, nulls_last=True)
    return ordered.with_columns(rank=pl.when(place <= require_top(top, what)).then(place))


def with_others(ranks: pl.DataFrame, counts: Sequence[str], within: Sequence[str] = ()) -> pl.DataFrame:
    """Return the rows that have a rank, then the others added up in one, of each group."""
    left, added = ranks.filter(pl.col("rank").is_null()), pl.col(counts).sum()
    others = left.group_by(within, maintain_order=True).agg(added) if within else left.select(added)
    return pl.concat([ranks.drop_nulls("rank"), others], how="diagonal")


def top_rows(ranks: pl.DataFrame, total: pl.DataFrame, rows: pl.Enum) -> pl.DataFrame:
    """Return the top, the others, and the total, which is counted by itself; `row` is one of three `rows` each.

    In: `ranked` rows, and one row of the same counts. The others are there, with 0, where there are none.
    """
    group, others, last = (pl.lit(row, rows) for row in rows.categories)
    top = with_others(ranks, total.columns)
    row = pl.when(pl.col("rank").is_null()).then(others).otherwise(group)
    return pl.concat([top.with_columns(row=row), total.with_columns(row=last)], how="diagonal")
