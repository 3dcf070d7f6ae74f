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
from trackkit.engine.snapshot import COUNTED_BY

NAME = "trackkit.counts"  # in the file's own metadata
MOST = 5_000  # of a file: rows of counts, some ten bytes each, which every reader of the file passes
_SUMS = list(schema.FIRSTS)
_MONEY, _ARTICLES = ("amount", "sale"), ("articles", "sold")  # as `rollup` has them; a refund is an amount but no sale
_SHAPE = {
    **{name: schema.EVENT.schema[name] for name in COUNTED_BY}, "event_type": pl.String(), "rows": pl.Int64(),
    **dict.fromkeys(_SUMS, pl.Int64()), **dict.fromkeys(_MONEY, pl.String()), **dict.fromkeys(_ARTICLES, pl.Int64()),
    **{f"known {name}": pl.Int64() for name in (*_MONEY, *_ARTICLES)},
    "first currency": pl.String(), "last currency": pl.String(),
}  # fmt: skip


def told_counts(events: pl.DataFrame) -> dict[str, str]:
    """Return what a file of these events tells of itself; nothing where some are not marked, or have no sum."""
    is_odd = ~(pl.col("amount").abs() < schema.LARGEST_AMOUNT).fill_null(True)
    if events.select(pl.any_horizontal(pl.col(schema.MARKS).is_null().any(), is_odd.any())).item():
        return {}
    counts = events.group_by(COUNTED_BY).agg(
        pl.len().cast(pl.Int64).alias("rows"), pl.col(_SUMS).cast(pl.Int64).sum()
    )  # fmt: skip
    if counts.height > MOST:
        return {}
    counts = counts.join(_values(events), on=COUNTED_BY, how="left", nulls_equal=True)
    counts = counts.with_columns(pl.col(*_MONEY).fill_null("0"), pl.col(*_ARTICLES, "^known .*$").fill_null(0))
    text = json.dumps(counts.sort(COUNTED_BY).select(list(_SHAPE)).to_dict(as_series=False), separators=(",", ":"))
    return {NAME: base64.b64encode(zlib.compress(text.encode())).decode()}


def _values(events: pl.DataFrame) -> pl.DataFrame:
    """The sums of the few rows that have an amount, or articles."""
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
    return values.group_by(COUNTED_BY).agg(
        pl.col(_MONEY).sum().cast(pl.String), pl.col(_ARTICLES).sum(),
        pl.col(*_MONEY, *_ARTICLES).count().cast(pl.Int64).name.prefix("known "),
        currency.min().alias("first currency"), currency.max().alias("last currency"),
    ).collect()  # fmt: skip


def read_counts(paths: Sequence[str]) -> dict[str, pl.DataFrame]:
    """Return the counts of the files that tell them, by path: a row for each delivery, type and control flag.

    Columns: `COUNTED_BY`; `rows`; the sums of each of `schema.FIRSTS`, and of `amount`, `sale`, `articles` and `sold`
    (`metrics.VALUES`); of these four also how many rows know them, `known amount` and so on; `first currency` and `last
    currency` of the amounts. What a file of an earlier version does not tell is null.
    """
    told = {path: pl.read_parquet_metadata(path).get(NAME) for path in paths}
    return {path: _read(text) for path, text in told.items() if text is not None}


def _read(text: str) -> pl.DataFrame:
    told = json.loads(zlib.decompress(base64.b64decode(text)))
    counts = pl.DataFrame(told, schema_overrides=_SHAPE).select(
        pl.col(name) if name in told else pl.lit(None, dtype).alias(name) for name, dtype in _SHAPE.items()
    )
    return counts.with_columns(pl.col(_MONEY).cast(schema.MONEY))
