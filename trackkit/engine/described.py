"""Tables in words: their rows, period and size, and the meaning of their columns."""

from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple

import polars as pl

from trackkit.listing import Listing, in_bytes
from trackkit.schema import INSTANT, TABLES, Table

HOW = (
    'store["event"] is a lazy frame of polars; store.describe("event") says what its columns mean; '
    'store.sql("SELECT …") asks about several.'
)


class Extent(NamedTuple):
    """How large a table is: its rows, from when to when they are, and its bytes on disk, each None if not known."""

    rows: int | None
    first: datetime | None = None
    last: datetime | None = None
    bytes: int | None = None


class Told(pl.DataFrame):
    """A frame of words, which shows itself whole."""

    def __str__(self) -> str:
        with _whole():
            return super().__str__()

    def _repr_html_(self, *, _from_series: bool = False) -> str:
        with _whole():
            return super()._repr_html_(_from_series=_from_series)


def _whole() -> pl.Config:
    return pl.Config(
        tbl_rows=-1,
        tbl_cols=-1,
        tbl_width_chars=160,
        fmt_str_lengths=1_000,
        fmt_table_cell_list_len=100,
        tbl_hide_dataframe_shape=True,
        tbl_hide_column_data_types=True,
    )


def extent(rows: pl.LazyFrame, dated_by: str) -> Extent:
    """Return the extent of a table in memory; `dated_by` is its column of instants, if any.

    >>> extent(pl.LazyFrame({"delivery_id": ["7", "8"]}), "")
    Extent(rows=2, first=None, last=None, bytes=None)
    """
    has_dates = dated_by in rows.collect_schema()
    ends = [pl.col(dated_by).min().alias("first"), pl.col(dated_by).max().alias("last")] if has_dates else []
    return Extent(*rows.select(pl.len(), *ends).collect().row(0))


def tables(extents: Mapping[str, Extent]) -> pl.DataFrame:
    """Return a row for each table: `table`, `rows`, `first`, `last`, `bytes` and `grain`."""
    columns = {"rows": pl.Int64(), "first": INSTANT, "last": INSTANT, "bytes": pl.Int64()}
    rows = [(name, *extent, TABLES[name].grain) for name, extent in extents.items()]
    return Told(rows, schema={"table": pl.String(), **columns, "grain": pl.String()}, orient="row")


def columns(table: Table) -> pl.DataFrame:
    """Return a row for each column of a table: `column`, `type`, `unit`, `meaning`, `values`, `derived`, `personal`."""
    texts = ("column", "type", "unit", "meaning")
    schema = dict.fromkeys(texts, pl.String()) | {"values": pl.List(pl.String), "derived": pl.Boolean()}
    rows = [
        (each.name, each.type_name, each.measured_in or None, each.meaning, list(each.words) or None, each.derived)
        for each in table.columns
    ]
    kinds = [table.personal.get(each.name) for each in table.columns]
    described = pl.DataFrame(rows, schema=schema, orient="row")
    return Told(described.with_columns(personal=pl.Series(kinds, dtype=pl.String)))


def listing(head: str, described: pl.DataFrame, timezone: str) -> Listing:
    """Return tables (the frame of `tables`) as they are shown, days by the clock of a zone."""
    days = pl.col("first", "last").dt.convert_time_zone(timezone).dt.strftime("%Y-%m-%d")
    rows = described.with_columns(days).select("table", "rows", "first", "last", "bytes", "grain").rows()
    shown = [(*row[:4], None if row[4] is None else in_bytes(row[4]), row[5]) for row in rows]
    return Listing([head], ["table", "rows", "from", "to", "size", "what is in it"], shown, [HOW] if shown else [])
