"""What is on disk: the stored columns of each table, and the buckets of deliveries.

A bucket is a run of whole deliveries in order of their id; one that grows too large is split. A fence is the first
delivery of a bucket: a delivery belongs to the bucket of the last fence at or before it.
"""

from collections.abc import Callable, Mapping

import polars as pl

from trackkit import schema

Types = dict[str, pl.DataType]
BUCKET = "bucket"  # the column by which the large tables are partitioned
FILLED = "filled"  # bits: which values of a row are from another source (see `dedupe`)
# The store's own tables: where each bucket begins, the load that last changed each delivery, and the loads.
FENCE, WATERMARK, LOAD = "fence", "watermark", "load"
_LOAD_TEXTS = ["timezone", "versions", "report", "fingerprints", "mark", "settings"]
OWN: dict[str, Types] = {
    FENCE: {BUCKET: pl.Int32(), "first_delivery": pl.String()},
    WATERMARK: {"delivery_id": pl.String(), "load_id": pl.String()},
    LOAD: {"number": pl.Int64(), "load_id": pl.String(), "loaded_at": schema.INSTANT}
    | dict.fromkeys(_LOAD_TEXTS, pl.String()),
}
EVENTS = ("event", "collapsed")
# What is on disk, by number, kept by each load. A higher one is refused: raise it when the version before would read
# wrongly what is written now. New columns need no number: those that a file lacks are null.
LAYOUT = 1
BY_DELIVERY = [table.name for table in schema.TABLES.values() if table.by_delivery]
MESSAGE_KEY = list(schema.MESSAGE.key)
# Columns with statistics; more of them would only lengthen the log.
SKIPPING = {LOAD: "number", WATERMARK: "delivery_id", **dict.fromkeys(BY_DELIVERY, ",".join(MESSAGE_KEY))}
ORDER = {"message": MESSAGE_KEY} | {name: [*MESSAGE_KEY, "occurred_at"] for name in EVENTS}  # of the rows in a bucket

BUCKET_ROWS = 500_000  # a bucket 1.5 times as large is split
CHUNK_ROWS = 500_000  # rows of all tables settled at once
LARGE_ROWS = 1_000_000  # a larger delivery is settled in pieces
PIECE_ROWS = 500_000
NO_DELIVERY = 0  # the bucket of rows without delivery


def as_texts(columns: Mapping[str, pl.DataType]) -> Types:
    """Return columns as stored: enumerations as text."""
    return {name: pl.String() if isinstance(dtype, pl.Enum) else dtype for name, dtype in columns.items()}


def stored_schema(name: str) -> Types:
    """Return the columns of a Delta table, with the store's own columns."""
    if name in OWN:
        return dict(OWN[name])
    bucket: Types = {BUCKET: pl.Int32()} if name in BY_DELIVERY else {}
    return as_texts(schema.TABLES[name].schema) | {FILLED: pl.Int32()} | bucket


def as_declared(name: str) -> list[pl.Expr]:
    """Return the casts from text to the enumerations of a table."""
    declared = {} if name in OWN else schema.TABLES[name].schema
    return [pl.col(column).cast(dtype) for column, dtype in declared.items() if isinstance(dtype, pl.Enum)]


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
    buckets = fences[BUCKET].gather(place)
    return buckets.zip_with(deliveries.is_not_null(), pl.Series([NO_DELIVERY], dtype=buckets.dtype))


def plan(sizes: pl.DataFrame, fences: pl.DataFrame) -> pl.DataFrame:
    """Plan a rewrite: (delivery_id, rows, bucket, is_cut, pieces, bucket_after, chunk), in order.

    In: (delivery_id, rows), every delivery of the touched buckets, with its rows after the load. Too large a bucket is
    split, its first part keeping its number. Too large a delivery is settled in several `pieces`, in a bucket and a
    chunk of its own.
    """
    rows = sizes.with_columns(bucket_of(sizes["delivery_id"], fences).alias(BUCKET)).sort("delivery_id")
    total, before = pl.col("rows").sum().over(BUCKET), pl.col("rows").cum_sum().over(BUCKET) - pl.col("rows")
    is_large = pl.col("rows") > LARGE_ROWS
    is_grown = (total > BUCKET_ROWS * 3 // 2) | is_large.any().over(BUCKET)
    is_cut = is_grown & (pl.len().over(BUCKET) > 1) & (pl.col(BUCKET) != NO_DELIVERY)
    pieces = pl.when(is_large).then(-(-pl.col("rows") // PIECE_ROWS)).otherwise(1)
    rows = rows.with_columns(is_cut=is_cut, window=before // BUCKET_ROWS, is_large=is_large, pieces=pieces)
    is_beside = pl.col("is_large") | pl.col("is_large").shift()
    is_other = pl.col("is_cut") & (pl.col(BUCKET) == pl.col(BUCKET).shift())
    is_further = is_other & (is_beside | (pl.col("window") != pl.col("window").shift()))
    rows = rows.with_columns(is_further=is_further.fill_null(False))
    number = fences[BUCKET].max() + pl.col("is_further").cum_sum()
    is_first = pl.col("is_further").cum_sum().over(BUCKET) == 0
    rows = rows.with_columns(bucket_after=pl.when(is_first).then(BUCKET).otherwise(number).cast(pl.Int32))
    rows = rows.with_columns(start=pl.col("rows").cum_sum() - pl.col("rows"))
    window = pl.col("start").first().over("bucket_after") // CHUNK_ROWS
    large_bucket = pl.when("is_large").then("bucket_after").otherwise(0)
    rows = rows.with_columns(start=window, large_bucket=large_bucket)
    is_next = pl.any_horizontal(pl.col(name) != pl.col(name).shift() for name in ("start", "large_bucket"))
    rows = rows.with_columns(chunk=is_next.fill_null(False).cum_sum().cast(pl.Int32))
    return rows.drop("window", "is_further", "start", "large_bucket", "is_large")


def cut_fences(planned: pl.DataFrame, fences: pl.DataFrame) -> pl.DataFrame:
    """Return the fences after a plan: the old ones, and one for each new bucket."""
    moved = planned.filter(pl.col("bucket_after") != pl.col(BUCKET))
    added = moved.group_by("bucket_after").agg(first_delivery=pl.col("delivery_id").min())
    both = pl.concat([fences, added.rename({"bucket_after": BUCKET})])
    return both.sort("first_delivery")


def in_order(name: str, rows: pl.DataFrame) -> pl.DataFrame:
    """Return rows of a table in the store's order; the frame passed in is emptied.

    Only the ordering columns are sorted, deliveries as numbers. Each column is rechunked before it is gathered:
    gathering from a reader's many chunks costs seven times as much.
    """
    order, deliveries = ORDER[name], rows["delivery_id"].unique().sort()
    numbers = pl.col("delivery_id").replace_strict(deliveries, range(deliveries.len()), return_dtype=pl.Int32)
    place = rows.select(numbers, *order[1:]).with_row_index("row").sort(order)["row"]
    return by_column(rows, lambda column: column.rechunk().gather(place))


def by_column(rows: pl.DataFrame, take: Callable[[pl.Series], pl.Series]) -> pl.DataFrame:
    """Apply `take` column by column, emptying the frame, so that only one column is ever in memory twice."""
    return pl.DataFrame([take(rows.drop_in_place(name)) for name in rows.columns])
