"""Files of a Delta table: written by polars, described in Delta's log; files of events hold their own counts.

Questions about whole deliveries are answered from these counts. Files of other writers or earlier versions, and those
of so many deliveries that counts would hardly be shorter than the rows, have none: their rows are read.
"""

import base64
import json
import time
import zlib
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from uuid import uuid4

import polars as pl
import polars.selectors as cs
from deltalake import DeltaTable
from deltalake.transaction import AddAction

from trackkit import schema
from trackkit.engine.snapshot import COUNTED_BY
from trackkit.store.layout import BUCKET, as_texts

ROWS_PER_GROUP = 250_000
LONGEST_BOUND = 64  # characters of a bound in the log: the log is read in full, and ids may be any text


def add_files(table: Path, rows: pl.DataFrame, columns: list[str]) -> list[AddAction]:
    """Write rows, sorted by bucket, a file per bucket; return the actions that add them, with bounds of `columns`."""
    runs = rows.select(pl.col(BUCKET).rle()).unnest(BUCKET).with_columns(first=pl.col("len").cum_sum() - pl.col("len"))
    return [
        _add_file(table, rows.slice(first, height).drop(BUCKET), bucket, columns)
        for height, bucket, first in runs.iter_rows()
    ]


def _add_file(table: Path, rows: pl.DataFrame, bucket: int, columns: list[str]) -> AddAction:
    file = f"{BUCKET}={bucket}/{uuid4()}.zstd.parquet"
    path = table / file
    path.parent.mkdir(parents=True, exist_ok=True)
    counts = file_counts(rows) if table.name == schema.EVENT.name else {}
    rows.write_parquet(
        path, compression="zstd", compression_level=1, row_group_size=ROWS_PER_GROUP, metadata=counts or None
    )
    milliseconds = int(time.time() * 1000)
    return AddAction(file, path.stat().st_size, {BUCKET: str(bucket)}, milliseconds, True, _statistics(rows, columns))


def files_of(table: DeltaTable) -> pl.DataFrame:
    """Return the files in a table's log: path, partition, num_records, and bounds by column."""
    return pl.DataFrame(table.get_add_actions(flatten=True))


def bounds(files: pl.DataFrame) -> pl.DataFrame | None:
    """Return the same as polars' readers take it: of each text column the null count, least and greatest."""
    texts = files.select(cs.string() & cs.starts_with("min.")).columns
    columns = [pl.col("num_records").cast(pl.UInt32).alias("len")]
    for name in (text.removeprefix("min.") for text in texts):
        nulls = pl.col(f"null_count.{name}").cast(pl.UInt32).alias(f"{name}_nc")
        columns += [nulls, pl.col(f"min.{name}").alias(f"{name}_min"), pl.col(f"max.{name}").alias(f"{name}_max")]
    return files.select(columns) if texts else None


def _statistics(rows: pl.DataFrame, columns: list[str]) -> str:
    """The number of rows, and the bounds and nulls of each column, as Delta's log has them."""
    ends = rows.select(pl.col(columns).min().name.prefix("least "), pl.col(columns).max().name.prefix("greatest "))
    values = ends.row(0, named=True)
    least = {name: values[f"least {name}"] for name in columns if values[f"least {name}"] is not None}
    statistics = {
        "numRecords": rows.height,
        "minValues": {name: text[:LONGEST_BOUND] for name, text in least.items()},
        "maxValues": {name: _not_below(values[f"greatest {name}"]) for name in least},
        "nullCount": {name: rows[name].null_count() for name in columns},
    }
    return json.dumps(statistics)


def _not_below(text: str) -> str:
    """The text, or a short text that sorts after it."""
    return text if len(text) <= LONGEST_BOUND else text[:LONGEST_BOUND] + "\U0010ffff"


def period(paths: Sequence[str], column: str) -> tuple[datetime | None, datetime | None]:
    """Return the first and the last instant of a column, from the files' own statistics; None if they have none."""
    from pyarrow import parquet  # takes 0.15 s to import, and only a display needs it

    ends = []
    for footer in map(parquet.read_metadata, paths):
        if column not in footer.schema.names:  # written before the column was
            continue
        place = footer.schema.names.index(column)
        groups = [footer.row_group(group).column(place).statistics for group in range(footer.num_row_groups)]
        ends += [(each.min, each.max) for each in groups if each is not None and each.has_min_max]
    return min((first for first, _ in ends), default=None), max((last for _, last in ends), default=None)


COUNTS = "trackkit.counts"  # in the file's own metadata
MOST_COUNTS = 5_000  # rows of counts in a file, about ten bytes each, which every reader of the file passes
_SUMS = list(schema.FIRSTS)
_MONEY, _ARTICLES = ("amount", "sale"), ("articles", "sold")  # as `rollup` has them; a refund is an amount but no sale
_KNOWN = [f"known {name}" for name in (*_MONEY, *_ARTICLES)]
_SHAPE = (
    as_texts({name: schema.EVENT.schema[name] for name in COUNTED_BY})
    | dict.fromkeys(("rows", *_SUMS), pl.Int64())
    | dict.fromkeys(_MONEY, pl.String())
    | dict.fromkeys((*_ARTICLES, *_KNOWN), pl.Int64())
    | dict.fromkeys(("first currency", "last currency"), pl.String())
)


def file_counts(events: pl.DataFrame) -> dict[str, str]:
    """Return the counts for a file of these events; empty if some are unmarked or cannot be summed."""
    is_odd = ~(pl.col("amount").abs() < schema.LARGEST_AMOUNT).fill_null(True)
    if events.select(pl.any_horizontal(pl.col(schema.MARKS).is_null().any(), is_odd.any())).item():
        return {}
    sums = pl.col(_SUMS).cast(pl.Int64).sum()
    counts = events.group_by(COUNTED_BY).agg(pl.len().cast(pl.Int64).alias("rows"), sums)
    if counts.height > MOST_COUNTS:
        return {}
    counts = counts.join(_values(events), on=COUNTED_BY, how="left", nulls_equal=True)
    counts = counts.with_columns(pl.col(*_MONEY).fill_null("0"), pl.col(*_ARTICLES, "^known .*$").fill_null(0))
    text = json.dumps(counts.sort(COUNTED_BY).select(list(_SHAPE)).to_dict(as_series=False), separators=(",", ":"))
    return {COUNTS: base64.b64encode(zlib.compress(text.encode())).decode()}


def _values(events: pl.DataFrame) -> pl.DataFrame:
    """The sums over the few rows with an amount or articles."""
    rows = events.lazy().filter(pl.any_horizontal(pl.col("amount", "articles").is_not_null()))
    amount, articles = pl.col("amount").cast(schema.MONEY, strict=False), pl.col("articles")
    is_refund = (pl.col("amount") < 0).fill_null(False)
    values = rows.with_columns(
        amount=amount,
        sale=pl.when(~is_refund).then(amount),
        sold=pl.when((articles >= 0) & ~is_refund).then(articles),
        currency=pl.when(amount.is_not_null()).then("currency"),
    )
    currency = pl.col("currency")
    sums = [pl.col(_MONEY).sum().cast(pl.String), pl.col(_ARTICLES).sum()]
    known = pl.col(*_MONEY, *_ARTICLES).count().cast(pl.Int64).name.prefix("known ")
    ends = [currency.min().alias("first currency"), currency.max().alias("last currency")]
    return values.group_by(COUNTED_BY).agg(*sums, known, *ends).collect()


def read_counts(paths: Sequence[str]) -> dict[str, pl.DataFrame]:
    """Return the counts of the files that hold them, by path: a row for each delivery, type and control flag.

    Columns: `COUNTED_BY`; `rows`; the sums of `schema.FIRSTS` and of `metrics.VALUES`; of the latter also the number of
    known values (`known amount` …); `first currency` and `last currency`. Counts that an older file lacks are null.
    """
    texts = {path: pl.read_parquet_metadata(path).get(COUNTS) for path in paths}
    return {path: _read_counts(text) for path, text in texts.items() if text is not None}


def _read_counts(text: str) -> pl.DataFrame:
    columns = json.loads(zlib.decompress(base64.b64decode(text)))
    counts = pl.DataFrame(columns, schema_overrides=_SHAPE).select(
        pl.col(name) if name in columns else pl.lit(None, dtype).alias(name) for name, dtype in _SHAPE.items()
    )
    return counts.with_columns(pl.col(_MONEY).cast(schema.MONEY))
