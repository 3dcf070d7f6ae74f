"""Where passes over rows run: on polars in this process, or elsewhere, through narwhals.

A pass is written once, in what both support: `api` is the module of its expressions, `scan` returns the rows. The
result of a pass is small, and `collect` returns it as a polars frame.
"""

from typing import Any, Protocol

import polars as pl

from trackkit.engine.snapshot import Measurable
from trackkit.schema import LARGEST_AMOUNT, MONEY

AMOUNTS = ("amount",)
# What is cut from the instant of an event: a week is its Monday, a month its first day, a weekday from 1, Monday.
CLOCK: dict[str, pl.DataType] = {"hour": pl.Datetime("us", "UTC"), "day": pl.Date(), "week": pl.Date()}
CLOCK |= {"month": pl.Date(), "weekday": pl.Int8(), "hour_of_day": pl.Int8()}


class Backend(Protocol):
    """Rows of canonical tables, and operations that differ between engines; `api` is `polars` or `narwhals`."""

    api: Any
    is_local: bool  # rows pass through this process, in the order of their files, and in parts if memory requires

    def scan(self, tables: Measurable, table: str) -> Any: ...
    def from_polars(self, frame: pl.DataFrame) -> Any: ...
    def timed(self, events: Any, timezone: str) -> Any: ...
    def filtered(self, rows: Any, condition: pl.Expr) -> Any: ...
    def unrepeated(self, rows: Any, columns: list[str]) -> Any: ...
    def amount(self, name: str) -> Any: ...
    def collect(self, rows: Any) -> pl.DataFrame: ...


class Polars:
    """polars, in this process."""

    api: Any = pl
    is_local = True

    def scan(self, tables: Measurable, table: str) -> pl.LazyFrame:
        """Return the rows of a table as stored."""
        return tables.stored(table)

    def from_polars(self, frame: pl.DataFrame) -> pl.LazyFrame:
        """Return a small frame as rows of the same kind."""
        return frame.lazy()

    def timed(self, events: pl.LazyFrame, timezone: str) -> pl.LazyFrame:
        """Add the columns of `CLOCK`, cut from `occurred_at` in a time zone."""
        local = pl.col("occurred_at").dt.convert_time_zone(timezone)
        day = local.dt.date()
        return events.with_columns(
            hour=local.dt.truncate("1h"),
            day=day,
            week=day.dt.truncate("1w"),
            month=day.dt.truncate("1mo"),
            weekday=local.dt.weekday(),
            hour_of_day=local.dt.hour(),
        )

    def filtered(self, rows: pl.LazyFrame, condition: pl.Expr) -> pl.LazyFrame:
        """Return the rows that meet a condition."""
        return rows.filter(condition)

    def unrepeated(self, rows: pl.LazyFrame, columns: list[str]) -> pl.LazyFrame:
        """Return some columns of rows, without rows that repeat the one before.

        Repetitions change no distinct count, and sorted rows have many.
        """
        is_first = pl.col("first").shift().is_null()
        differs = pl.any_horizontal(*(changes(pl.col(name)) for name in columns), is_first)
        return rows.select(*columns, first=pl.lit(True)).filter(differs).drop("first")

    def amount(self, name: str) -> pl.Expr:
        """Return an amount of money as a decimal, so that sums are exact; too large values and NaN become null."""
        return pl.when(pl.col(name).abs() < LARGEST_AMOUNT).then(name).cast(MONEY, strict=False)

    def collect(self, rows: pl.LazyFrame) -> pl.DataFrame:
        """Return rows, or counts of them, in memory."""
        return rows.collect(engine="streaming")


def changes(value: pl.Expr) -> pl.Expr:
    """Return an expression that is true where a value differs from the row before; null is a value too."""
    return value.ne_missing(value.shift())


POLARS: Backend = Polars()
