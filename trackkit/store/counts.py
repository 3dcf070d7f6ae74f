"""Counts of a file of events, told by the file itself: written with its rows, and gone with them.

A question about whole deliveries is then answered by a few numbers a file. Files of other writers, of earlier versions,
and those of so many deliveries that counts are not much shorter than the rows, tell none, and their rows are read.
"""

import base64
import json
import zlib
from collections.abc import Sequence

import polars as pl

from trackkit import schema
from trackkit.snapshot import COUNTED_BY

NAME = "trackkit.counts"  # in the file's own metadata
MOST = 5_000  # of a file: rows of counts, some ten bytes each, which every reader of the file passes
_LARGEST = 1e30  # beyond it an amount does not go into `schema.MONEY`
_SUMS = [*schema.FIRSTS, "articles"]
_SHAPE = {
    **{name: schema.EVENT.schema[name] for name in COUNTED_BY}, "event_type": pl.String(), "rows": pl.Int64(),
    **dict.fromkeys(_SUMS, pl.Int64()), "amount": pl.String(), "known amount": pl.Int64(), "known articles": pl.Int64(),
}  # fmt: skip


def told_counts(events: pl.DataFrame) -> dict[str, str]:
    """Return what a file of these events tells of itself; nothing where some are not marked, or have no sum."""
    is_odd = ~(pl.col("amount").abs() < _LARGEST).fill_null(True)
    if events.select(pl.any_horizontal(pl.col(schema.MARKS).is_null().any(), is_odd.any())).item():
        return {}
    counts = events.group_by(COUNTED_BY).agg(
        pl.len().cast(pl.Int64).alias("rows"), pl.col(_SUMS).cast(pl.Int64).sum(),
        pl.col("amount").cast(schema.MONEY, strict=False).sum().cast(pl.String),
        pl.col("amount", "articles").count().cast(pl.Int64).name.prefix("known "),
    )  # fmt: skip
    if counts.height > MOST:
        return {}
    text = json.dumps(counts.sort(COUNTED_BY).select(list(_SHAPE)).to_dict(as_series=False), separators=(",", ":"))
    return {NAME: base64.b64encode(zlib.compress(text.encode())).decode()}


def read_counts(paths: Sequence[str]) -> dict[str, pl.DataFrame]:
    """Return the counts of the files that tell them, by path: a row for each delivery, type and control flag.

    Columns: `COUNTED_BY`; `rows`; the sums of each of `schema.FIRSTS`, of `amount` and of `articles`; of these two
    also how many rows know them, `known amount` and `known articles`.
    """
    told = {path: pl.read_parquet_metadata(path).get(NAME) for path in paths}
    return {path: _read(text) for path, text in told.items() if text is not None}


def _read(text: str) -> pl.DataFrame:
    counts = pl.DataFrame(json.loads(zlib.decompress(base64.b64decode(text))), schema=_SHAPE)
    return counts.with_columns(pl.col("amount").cast(schema.MONEY))
