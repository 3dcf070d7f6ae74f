"""Where passes over rows run: here, on polars, or elsewhere, on frames that speak as polars does (narwhals).

A pass is written once, in what both understand: `on.api` is the module of its expressions, `on.scan` brings the rows.
What a pass leaves is small, and `on.collect` brings it back as a polars frame.
"""

from typing import Any, Protocol

import polars as pl

from trackkit.snapshot import Measurable

# Amounts are added as decimals: in floating point the sum would hang on the order of the rows.
MONEY, AMOUNTS = pl.Decimal(38, 4), ("amount",)


class Frames(Protocol):
    """Rows of canonical tables, and what engines do not all do alike; `api` is `polars`, or `narwhals`."""

    api: Any
    in_parts: bool  # whether many rows are counted in parts, so that memory holds them

    def scan(self, tables: Measurable, table: str) -> Any: ...
    def lifted(self, frame: pl.DataFrame) -> Any: ...
    def timed(self, events: Any, timezone: str) -> Any: ...
    def meeting(self, rows: Any, condition: pl.Expr) -> Any: ...
    def amount(self, name: str) -> Any: ...
    def collect(self, rows: Any) -> pl.DataFrame: ...


class Here:
    """This process, by polars."""

    api: Any = pl
    in_parts = True

    def scan(self, tables: Measurable, table: str) -> pl.LazyFrame:
        """Return the rows of a table, as they are kept."""
        return tables.stored(table)

    def lifted(self, frame: pl.DataFrame) -> pl.LazyFrame:
        """Return a small frame as rows of the same kind."""
        return frame.lazy()

    def timed(self, events: pl.LazyFrame, timezone: str) -> pl.LazyFrame:
        """Add `hour` and `day`, cut from `occurred_at` in a time zone."""
        local = pl.col("occurred_at").dt.convert_time_zone(timezone)
        return events.with_columns(hour=local.dt.truncate("1h"), day=local.dt.date())

    def meeting(self, rows: pl.LazyFrame, condition: pl.Expr) -> pl.LazyFrame:
        """Return the rows that meet a condition."""
        return rows.filter(condition)

    def amount(self, name: str) -> pl.Expr:
        """Return an amount of money, to be added exactly."""
        return pl.col(name).cast(MONEY, strict=False)

    def collect(self, rows: pl.LazyFrame) -> pl.DataFrame:
        """Return rows, or what was counted of them, in memory."""
        return rows.collect(engine="streaming")


HERE: Frames = Here()
