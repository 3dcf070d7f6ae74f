"""Which instants are plausible, and so what "now" is: never after the load that brought the data.

A wrong clock dates a hit ten years ahead, or in 1970. Such a hit counts in totals, like one without a date, but it
belongs to no hour, period or curve, and is neither the first nor the last of anything. If most rows look implausible,
it is our reference that is wrong, and all are accepted.
"""

from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import polars as pl

from trackkit.engine.snapshot import Tables, with_all_hits
from trackkit.schema import INSTANT

EARLIEST = datetime(2001, 1, 1, tzinfo=UTC)  # older dates come from unset clocks, or mean "no date"
AHEAD = timedelta(days=1)  # covers misread time zones and fast clocks
BEFORE = timedelta(days=90)  # before a delivery; its proofs and tests come no earlier
TIMES = {"event": "occurred_at", "message": "status_at", "subscription": "occurred_at", "page_hit": "occurred_at"}


class PlausibleRange(NamedTuple):
    """The plausible range of instants, None for an open end, and the newest instant within it."""

    first: datetime | None
    last: datetime | None
    newest: datetime | None

    def holds(self, column: str = "occurred_at") -> pl.Expr:
        """True for dated rows within the range."""
        at = pl.col(column)
        tests = [at >= pl.lit(self.first, INSTANT)] if self.first else []
        tests += [at <= pl.lit(self.last, INSTANT)] if self.last else []
        return pl.all_horizontal(at.is_not_null(), *(test.fill_null(False) for test in tests))


def plausible(tables: Tables, table: str = "event", delivery: str = "") -> PlausibleRange:
    """Return the plausible range of instants of a table, or of its rows of one delivery.

    Rows of several deliveries have the range of the table, since each of these began at another instant.
    """
    tables, delivery = with_all_hits(tables), str(delivery or "")
    cached: dict[tuple[str, str], PlausibleRange] = getattr(tables, "plausible", {})  # a snapshot does not change
    if (table, delivery) not in cached:
        cached[table, delivery] = _range_of(tables, table, delivery)
    return cached[table, delivery]


def now(tables: Tables, table: str = "event", delivery: str = "", rows: pl.LazyFrame | None = None) -> datetime | None:
    """Return the newest plausible instant of a table, or of some rows of it; None without any.

    It is never after the last load.
    """
    in_range, loaded = plausible(tables, table, delivery), getattr(tables, "as_of", None)
    newest = in_range.newest
    if rows is not None:
        at = pl.col(TIMES[table])
        newest = rows.filter(in_range.holds(TIMES[table])).select(at.max()).collect(engine="streaming").item()
    return min(newest, loaded) if newest and loaded and in_range.last else newest


def _range_of(tables: Tables, table: str, delivery: str) -> PlausibleRange:
    loaded, at = getattr(tables, "as_of", None), pl.col(TIMES[table])
    first, last = _start(tables, delivery), loaded and loaded + AHEAD
    is_early, is_late = at < pl.lit(first, INSTANT), (at > pl.lit(last, INSTANT)).fill_null(False)
    rows = tables.scan(table)
    rows_asked = rows.filter(pl.col("delivery_id") == delivery) if delivery else rows
    newest, latest = at.filter(~is_late).max(), at.max()
    counts = rows_asked.select(dated=at.count(), early=is_early.sum(), late=is_late.sum(), newest=newest, latest=latest)
    dated, early, late, newest, latest = counts.collect(engine="streaming").row(0)
    is_late_few = 2 * late < max(dated, 1)
    return PlausibleRange(
        first if 2 * early < max(dated, 1) else None, last if is_late_few else None, newest if is_late_few else latest
    )


def _start(tables: Tables, delivery: str) -> datetime:
    """The earliest plausible instant: some time before the start of the delivery, if known."""
    started = tables.scan("delivery").filter(pl.col("delivery_id") == delivery).select(pl.col("started_at").min())
    start = started.collect().item() if delivery else None
    return max(EARLIEST, start - BEFORE) if start else EARLIEST
