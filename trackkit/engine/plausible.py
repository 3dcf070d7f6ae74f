"""Which instants are plausible, and so what "now" is: never after the load that brought the data.

A wrong clock dates a hit ten years ahead, or in 1970. Such a hit happened, and counts in totals as one without a date
does; but it is in no period and in no curve, and it is neither the first nor the last of anything. Where most rows
would be implausible it is the clock of the load that is wrong, and all are taken as they are.
"""

from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import polars as pl

from trackkit.engine.snapshot import Tables
from trackkit.schema import INSTANT

EARLIEST = datetime(2001, 1, 1, tzinfo=UTC)  # what is older was a clock without a battery, or no date at all
AHEAD = timedelta(days=1)  # zones that were read wrongly, and clocks that are fast, are no further off
BEFORE = timedelta(days=90)  # of a delivery, hits of proofs and tests are no older; of other clocks and years they are
TIMES = {"event": "occurred_at", "message": "status_at", "subscription": "occurred_at", "page_hit": "occurred_at"}


class PlausibleRange(NamedTuple):
    """From when to when instants are plausible (None: no bound), and the newest that is."""

    first: datetime | None
    last: datetime | None
    newest: datetime | None

    def holds(self, column: str = "occurred_at") -> pl.Expr:
        """True for what is dated, and plausible."""
        at = pl.col(column)
        tests = [at >= pl.lit(self.first, INSTANT)] if self.first else []
        tests += [at <= pl.lit(self.last, INSTANT)] if self.last else []
        return pl.all_horizontal(at.is_not_null(), *(test.fill_null(False) for test in tests))


def plausible(tables: Tables, table: str = "event", delivery: str = "") -> PlausibleRange:
    """Return from when to when the instants of a table, or of its rows of one delivery, are plausible."""
    delivery = str(delivery or "")
    known: dict[tuple[str, str], PlausibleRange] = getattr(tables, "plausible", {})  # a snapshot does not change
    if (table, delivery) not in known:
        known[table, delivery] = _found(tables, table, delivery)
    return known[table, delivery]


def now(tables: Tables, table: str = "event", delivery: str = "", rows: pl.LazyFrame | None = None) -> datetime | None:
    """Return the newest instant of a table, or of some rows of it, that is plausible; None without any.

    It is never after the last load.
    """
    known, loaded = plausible(tables, table, delivery), getattr(tables, "as_of", None)
    newest = known.newest
    if rows is not None:
        at = pl.col(TIMES[table])
        newest = rows.filter(known.holds(TIMES[table])).select(at.max()).collect(engine="streaming").item()
    return min(newest, loaded) if newest and loaded and known.last else newest


def _found(tables: Tables, table: str, delivery: str) -> PlausibleRange:
    loaded, at = getattr(tables, "as_of", None), pl.col(TIMES[table])
    first, last = _start(tables, delivery), loaded and loaded + AHEAD
    is_early, is_late = at < pl.lit(first, INSTANT), (at > pl.lit(last, INSTANT)).fill_null(False)
    rows = tables.scan(table)
    asked = rows.filter(pl.col("delivery_id") == delivery) if delivery else rows
    newest, latest = at.filter(~is_late).max(), at.max()
    counts = asked.select(dated=at.count(), early=is_early.sum(), late=is_late.sum(), newest=newest, latest=latest)
    dated, early, late, newest, latest = counts.collect(engine="streaming").row(0)
    is_late_few = 2 * late < max(dated, 1)
    return PlausibleRange(
        first if 2 * early < max(dated, 1) else None, last if is_late_few else None, newest if is_late_few else latest
    )


def _start(tables: Tables, delivery: str) -> datetime:
    """Before which no hit is plausible: some time before the delivery began, where that is known."""
    told = tables.scan("delivery").filter(pl.col("delivery_id") == delivery).select(pl.col("started_at").min())
    began = told.collect().item() if delivery else None
    return max(EARLIEST, began - BEFORE) if began else EARLIEST
