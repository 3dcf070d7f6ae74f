"""Files of a Delta table: one written by polars, and what Delta's log has to say of each."""

import json
import time
from pathlib import Path
from uuid import uuid4

import polars as pl
from deltalake import DeltaTable
from deltalake.transaction import AddAction

from trackkit import schema
from trackkit.store.counts import told_counts

BUCKET = "bucket"
ROWS_PER_GROUP = 250_000
LONGEST_BOUND = 64  # characters of a least or greatest value: the log is read whole, and ids may be any text


def add_files(table: Path, rows: pl.DataFrame, skipping: str) -> list[AddAction]:
    """Write rows, in order of their bucket, a file for each; return the actions that add them to the table.

    In: `skipping` names the columns, texts, whose bounds the log tells, between commas. Until a commit holds the
    actions the files count for nothing, and a later load deletes them.
    """
    runs = rows.select(pl.col(BUCKET).rle()).unnest(BUCKET).with_columns(first=pl.col("len").cum_sum() - pl.col("len"))
    columns = skipping.split(",")
    return [
        _add_file(table, rows.slice(first, height).drop(BUCKET), bucket, columns)
        for height, bucket, first in runs.iter_rows()
    ]


def _add_file(table: Path, rows: pl.DataFrame, bucket: int, columns: list[str]) -> AddAction:
    place = f"{BUCKET}={bucket}/{uuid4()}.zstd.parquet"
    path = table / place
    path.parent.mkdir(parents=True, exist_ok=True)
    counts = told_counts(rows) if table.name == schema.EVENT.name else {}
    rows.write_parquet(
        path, compression="zstd", compression_level=1, row_group_size=ROWS_PER_GROUP, metadata=counts or None
    )
    now = int(time.time() * 1000)
    told = _statistics(rows, columns)
    return AddAction(place, path.stat().st_size, {BUCKET: str(bucket)}, now, True, told)


def files_of(table: DeltaTable) -> pl.DataFrame:
    """Return what the log tells of each file of a table: path, partition, num_records, and bounds by column."""
    return pl.DataFrame(table.get_add_actions(flatten=True))


def bounds(files: pl.DataFrame) -> pl.DataFrame | None:
    """Return the same as polars' readers want it: of each text how many are null, the least and the greatest."""
    columns = [name.removeprefix("min.") for name, dtype in files.schema.items()
               if name.startswith("min.") and dtype == pl.String]  # fmt: skip
    told = [
        expression.alias(f"{column}_{name}")
        for column in columns
        for name, expression in (
            ("nc", pl.col(f"null_count.{column}").cast(pl.UInt32)),
            ("min", pl.col(f"min.{column}")),
            ("max", pl.col(f"max.{column}")),
        )
    ]
    return files.select(pl.col("num_records").cast(pl.UInt32).alias("len"), *told) if told else None


def _statistics(rows: pl.DataFrame, columns: list[str]) -> str:
    """The number of rows, and of each column its bounds and its nulls, as the log has them."""
    ends = rows.select(pl.col(columns).min().name.prefix("least "), pl.col(columns).max().name.prefix("greatest "))
    found = ends.row(0, named=True)
    least = {name: found[f"least {name}"] for name in columns if found[f"least {name}"] is not None}
    return json.dumps({
        "numRecords": rows.height, "minValues": {name: text[:LONGEST_BOUND] for name, text in least.items()},
        "maxValues": {name: _not_below(found[f"greatest {name}"]) for name in least},
        "nullCount": {name: rows[name].null_count() for name in columns},
    })  # fmt: skip


def _not_below(text: str) -> str:
    """The text, or a short one that stands behind it."""
    return text if len(text) <= LONGEST_BOUND else text[:LONGEST_BOUND] + "\U0010ffff"
