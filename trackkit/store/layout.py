"""How deliveries lie in buckets: runs of whole deliveries in order of their id, cut where a bucket grows too large.

A fence is the first delivery of a bucket; a delivery lies in the bucket of the last fence that is not beyond it.
"""

from collections.abc import Callable

import polars as pl

from trackkit.schema import MESSAGE
from trackkit.store.lake import BUCKET
from trackkit.store.tables import FENCE, OWN

BUCKET_ROWS = 500_000  # a bucket half as large again is cut
CHUNK_ROWS = 500_000  # rows, of all tables, that are settled at once
LARGE_ROWS = 1_000_000  # a delivery of more is settled message by message, in pieces of about a chunk
NO_DELIVERY = 0  # the bucket of rows without delivery
# In a bucket, rows lie in the order of these columns.
ORDER = {"message": list(MESSAGE.key)}
ORDER |= {name: [*ORDER["message"], "occurred_at"] for name in ("event", "collapsed")}


def first_fences() -> pl.DataFrame:
    """Return the fences of an empty store: one bucket for every delivery."""
    return pl.DataFrame({BUCKET: [1], "first_delivery": [""]}, schema=OWN[FENCE])


def bucket_of(deliveries: pl.Series, fences: pl.DataFrame) -> pl.Series:
    """Return the bucket of each delivery id.

    >>> fences = pl.DataFrame({"bucket": [1, 2], "first_delivery": ["", "m"]})
    >>> bucket_of(pl.Series(["a", "m", None, "z"]), fences).to_list()
    [1, 2, 0, 2]
    """
    place = fences["first_delivery"].search_sorted(deliveries.fill_null(""), side="right") - 1
    found = fences[BUCKET].gather(place)
    return found.zip_with(deliveries.is_not_null(), pl.Series([NO_DELIVERY], dtype=found.dtype))


def plan(sizes: pl.DataFrame, fences: pl.DataFrame) -> pl.DataFrame:
    """Say where each delivery goes: (delivery_id, rows, bucket, is_cut, is_large, piece, chunk), in order.

    In: (delivery_id, rows), every delivery of the buckets concerned, with its rows after the load. `piece` is the
    bucket after the load: one that has grown too large is cut into pieces, the first of which keeps its number. A
    delivery too large to be settled at once is a piece, and a chunk, of its own.
    """
    rows = sizes.with_columns(bucket_of(sizes["delivery_id"], fences).alias(BUCKET)).sort("delivery_id")
    total, before = pl.col("rows").sum().over(BUCKET), pl.col("rows").cum_sum().over(BUCKET) - pl.col("rows")
    is_large = pl.col("rows") > LARGE_ROWS
    is_grown = (total > BUCKET_ROWS * 3 // 2) | is_large.any().over(BUCKET)
    is_cut = is_grown & (pl.len().over(BUCKET) > 1) & (pl.col(BUCKET) != NO_DELIVERY)
    rows = rows.with_columns(is_cut=is_cut, window=before // BUCKET_ROWS, is_large=is_large)
    is_beside = pl.col("is_large") | pl.col("is_large").shift()
    is_other = pl.col("is_cut") & (pl.col(BUCKET) == pl.col(BUCKET).shift())
    is_further = is_other & (is_beside | (pl.col("window") != pl.col("window").shift()))
    rows = rows.with_columns(further=is_further.fill_null(False))
    number = fences[BUCKET].max() + pl.col("further").cum_sum()
    is_first = pl.col("further").cum_sum().over(BUCKET) == 0
    rows = rows.with_columns(piece=pl.when(is_first).then(BUCKET).otherwise(number).cast(pl.Int32))
    rows = rows.with_columns(start=pl.col("rows").cum_sum() - pl.col("rows"))
    window, alone = pl.col("start").first().over("piece") // CHUNK_ROWS, pl.when("is_large").then("piece").otherwise(0)
    rows = rows.with_columns(start=window, alone=alone)
    is_next = pl.any_horizontal(pl.col(name) != pl.col(name).shift() for name in ("start", "alone"))
    rows = rows.with_columns(chunk=is_next.fill_null(False).cum_sum().cast(pl.Int32))
    return rows.drop("window", "further", "start", "alone")


def cut_fences(planned: pl.DataFrame, fences: pl.DataFrame) -> pl.DataFrame:
    """Return the fences after a plan: those there were, and one more for each further piece."""
    further = planned.filter(pl.col("piece") != pl.col(BUCKET))
    added = further.group_by("piece").agg(first_delivery=pl.col("delivery_id").min())
    both = pl.concat([fences, added.select(pl.col("piece").alias(BUCKET), "first_delivery")])
    return both.sort("first_delivery")


def in_order(name: str, rows: pl.DataFrame) -> pl.DataFrame:
    """Return rows of a table, which are taken away, in the store's order.

    Only what orders them is sorted, deliveries as numbers; the other columns follow once, each in one piece first: from
    the pieces that a reader makes taking costs seven times as much.
    """
    order, deliveries = ORDER[name], rows["delivery_id"].unique().sort()
    numbers = pl.col("delivery_id").replace_strict(deliveries, range(deliveries.len()), return_dtype=pl.Int32)
    place = rows.select(numbers, *order[1:]).with_row_index("row").sort(order)["row"]
    return by_column(rows, lambda column: column.rechunk().gather(place))


def by_column(rows: pl.DataFrame, take: Callable[[pl.Series], pl.Series]) -> pl.DataFrame:
    """Return what is taken of each column of rows, which are emptied: memory holds one column twice, and never all."""
    return pl.DataFrame([take(rows.drop_in_place(name)) for name in rows.columns])
