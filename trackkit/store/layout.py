"""What is on disk: the tables as they are kept, and how deliveries lie in their buckets.

A bucket is a run of whole deliveries in order of their id, and is cut where it grows too large. A fence is the first
delivery of a bucket; a delivery lies in the bucket of the last fence that is not beyond it.
"""

from collections.abc import Callable, Mapping

import polars as pl

from trackkit import schema

Types = dict[str, pl.DataType]
BUCKET = "bucket"  # the column by which the large tables are partitioned
FILLED = "filled"  # the column that says which values of a row are not its own source's (see `dedupe`)
# Tables of the store itself: where each bucket begins, and the load that last changed what is known of a delivery.
FENCE, WATERMARK, LOAD = "fence", "watermark", "load"
_LOAD_TEXTS = ["timezone", "versions", "report", "fingerprints", "mark", "settings"]
OWN: dict[str, Types] = {
    FENCE: {BUCKET: pl.Int32(), "first_delivery": pl.String()},
    WATERMARK: {"delivery_id": pl.String(), "load_id": pl.String()},
    LOAD: {"number": pl.Int64(), "load_id": pl.String(), "loaded_at": schema.INSTANT}
    | dict.fromkeys(_LOAD_TEXTS, pl.String()),
}
EVENTS = ("event", "collapsed")
BY_DELIVERY = [table.name for table in schema.TABLES.values() if table.by_delivery]
MESSAGE_KEY = list(schema.MESSAGE.key)
# Statistics of further columns would only lengthen the log.
SKIPPING = {LOAD: "number", WATERMARK: "delivery_id", **dict.fromkeys(BY_DELIVERY, ",".join(MESSAGE_KEY))}
ORDER = {"message": MESSAGE_KEY} | {name: [*MESSAGE_KEY, "occurred_at"] for name in EVENTS}  # of the rows in a bucket

BUCKET_ROWS = 500_000  # a bucket half as large again is cut
CHUNK_ROWS = 500_000  # rows, of all tables, that are settled at once
LARGE_ROWS = 1_000_000  # a delivery of more is settled message by message, in pieces
PIECE_ROWS = 500_000  # of so many rows
NO_DELIVERY = 0  # the bucket of rows without delivery


def as_texts(columns: Mapping[str, pl.DataType]) -> Types:
    """Return columns as the store keeps them: enumerations as text."""
    return {name: pl.String() if isinstance(dtype, pl.Enum) else dtype for name, dtype in columns.items()}


def stored_schema(name: str) -> Types:
    """Return the columns of a Delta table: enumerations as text, and the store's own columns."""
    if name in OWN:
        return dict(OWN[name])
    bucket: Types = {BUCKET: pl.Int32()} if name in BY_DELIVERY else {}
    return as_texts(schema.TABLES[name].schema) | {FILLED: pl.Int32()} | bucket


def as_declared(name: str) -> list[pl.Expr]:
    """Return what makes the enumerations of a table of its text."""
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
    """Say where each delivery goes: (delivery_id, rows, bucket, is_cut, pieces, bucket_after, chunk), in order.

    In: (delivery_id, rows), every delivery of the buckets concerned, with its rows after the load. A bucket that has
    grown too large is cut; `bucket_after` is that after the load, and the first of a cut one keeps its number. A
    delivery too large to be settled at once is settled in several `pieces`, a bucket and a chunk of its own.
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
    rows = rows.with_columns(further=is_further.fill_null(False))
    number = fences[BUCKET].max() + pl.col("further").cum_sum()
    is_first = pl.col("further").cum_sum().over(BUCKET) == 0
    rows = rows.with_columns(bucket_after=pl.when(is_first).then(BUCKET).otherwise(number).cast(pl.Int32))
    rows = rows.with_columns(start=pl.col("rows").cum_sum() - pl.col("rows"))
    window = pl.col("start").first().over("bucket_after") // CHUNK_ROWS
    alone = pl.when("is_large").then("bucket_after").otherwise(0)
    rows = rows.with_columns(start=window, alone=alone)
    is_next = pl.any_horizontal(pl.col(name) != pl.col(name).shift() for name in ("start", "alone"))
    rows = rows.with_columns(chunk=is_next.fill_null(False).cum_sum().cast(pl.Int32))
    return rows.drop("window", "further", "start", "alone", "is_large")


def cut_fences(planned: pl.DataFrame, fences: pl.DataFrame) -> pl.DataFrame:
    """Return the fences after a plan: those there were, and one more for each further bucket."""
    further = planned.filter(pl.col("bucket_after") != pl.col(BUCKET))
    added = further.group_by("bucket_after").agg(first_delivery=pl.col("delivery_id").min())
    both = pl.concat([fences, added.rename({"bucket_after": BUCKET})])
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
