"""Top N, then all others in one row, and the total: the shape of every ranking table."""

from collections.abc import Sequence

import polars as pl

from trackkit.errors import RequestError

__all__ = ["ranked", "require_top", "top_rows", "with_others"]


def require_top(top: int, what: str) -> int:
    """Return a number of rows to show; RequestError if it is no whole number from 1."""
    if not (isinstance(top, int) and top > 0):
        raise RequestError(f"The number of {what} to show is a whole number from 1; got {top!r}.")
    return top


def ranked(
    counts: pl.DataFrame, count: str, names: Sequence[str], top: int, what: str = "names", within: Sequence[str] = ()
) -> pl.DataFrame:
    """Return all rows, the largest count first, equal ones by name; `rank` is null after the `top`.

    With `within`, ranks are within each group of these columns.
    """
    place = pl.int_range(1, pl.len() + 1, dtype=pl.Int64)
    place = place.over(within) if within else place
    descending = [False] * len(within) + [True] + [False] * len(names)
    ordered = counts.sort(*within, count, *names, descending=descending, nulls_last=True)
    return ordered.with_columns(rank=pl.when(place <= require_top(top, what)).then(place))


def with_others(ranks: pl.DataFrame, counts: Sequence[str], within: Sequence[str] = ()) -> pl.DataFrame:
    """Return the ranked rows, then one row with the sums of the others, for each group."""
    unranked, sums = ranks.filter(pl.col("rank").is_null()), pl.col(counts).sum()
    others = unranked.group_by(within, maintain_order=True).agg(sums) if within else unranked.select(sums)
    return pl.concat([ranks.drop_nulls("rank"), others], how="diagonal")


def top_rows(ranks: pl.DataFrame, total: pl.DataFrame, rows: pl.Enum) -> pl.DataFrame:
    """Return the top, the others and the given total; `row` is one of the three `rows`.

    In: `ranked` rows, and one row of the same counts. The row of others is there even if it is 0.
    """
    group, others, total_row = (pl.lit(row, rows) for row in rows.categories)
    top = with_others(ranks, total.columns)
    row = pl.when(pl.col("rank").is_null()).then(others).otherwise(group)
    return pl.concat([top.with_columns(row=row), total.with_columns(row=total_row)], how="diagonal")
