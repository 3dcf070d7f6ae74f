"""When people open, click and buy, by the clock of a zone: folded on the weekday or the time of day, and over time.

Three series, as the platform's "User activities": opens, clicks (of e-mail links only) and transactions, repeated ones
included. Undated events stand nowhere on a clock, so the totals here are those of dated events.
"""

import polars as pl

from trackkit.analysis.curves import SERIES, SERIES_TYPE, series_events
from trackkit.clock import begins
from trackkit.deliveries import Tables, require_delivery, zone_of
from trackkit.engine import quotient
from trackkit.errors import RequestError, did_you_mean

INTERVALS = {"half_hour": "30m", "hour": "1h", "day": "1d"}
SLOTS = {"half_hour": 48, "hour": 24, "day": 7}  # of a day, of a day, of a week
EVERY = "all"


def folded_activity(
    tables: Tables, delivery: str, every: str = "day", timezone: str = "", series: str = EVERY
) -> pl.DataFrame:
    """Return when in the week, or in the day, things happened: one row per slot and series, quiet slots included.

    Columns: `slot`, from 0: the weekday from Monday for `every` "day", else the hours or half-hours from midnight;
    `series`; `count`; `total` of the series; `share` (count / total, null without events). `series` is one of them, or
    "all". The hour that the clocks show twice in autumn counts as one. Raises RequestError for an unknown delivery,
    interval, series or zone.
    """
    shown = _chosen(series)
    events = _clocked(tables, delivery, every, timezone).with_columns(slot=_slot(every))
    counts = events.group_by("slot", "series").agg(count=pl.len().cast(pl.Int64)).collect()
    slots = pl.DataFrame({"slot": range(SLOTS[every])}, schema={"slot": pl.Int64})
    return (
        slots.join(pl.DataFrame({"series": shown}, schema={"series": SERIES_TYPE}), how="cross")
        .join(counts, on=["slot", "series"], how="left")
        .with_columns(pl.col("count").fill_null(0))
        .with_columns(total=pl.col("count").sum().over("series"))
        .with_columns(share=quotient("count", "total"))
    )


def activity_over_time(
    tables: Tables, delivery: str, every: str = "day", timezone: str = "", series: str = EVERY
) -> pl.DataFrame:
    """Return what happened when: one row per interval and series with events, in order.

    Columns: `starts_at` (start of the half-hour, hour or calendar day, in `timezone`), `series`, `count`. Raises as
    `folded_activity`.
    """
    shown, zone = _chosen(series), zone_of(tables, timezone)
    events = _clocked(tables, delivery, every, zone).filter(pl.col("series").cast(pl.String).is_in(shown))
    return (
        events.group_by(starts_at=begins(pl.col("clock"), zone, INTERVALS[every]), series="series")
        .agg(count=pl.len().cast(pl.Int64))
        .sort("starts_at", "series")
        .collect()
    )


def _clocked(tables: Tables, delivery: str, every: str, timezone: str) -> pl.LazyFrame:
    if every not in INTERVALS:
        raise RequestError(f"There is no interval {every!r}.{did_you_mean(str(every), INTERVALS)}")
    zoned = pl.col("occurred_at").dt.convert_time_zone(zone_of(tables, timezone))
    return series_events(tables, require_delivery(tables, delivery)).select("series", clock=zoned)


def _slot(every: str) -> pl.Expr:
    clock = pl.col("clock").dt
    if every == "day":
        return clock.weekday().cast(pl.Int64) - 1
    hour, half = clock.hour().cast(pl.Int64), clock.minute().cast(pl.Int64) // 30
    return hour if every == "hour" else 2 * hour + half


def _chosen(series: str) -> list[str]:
    if series != EVERY and series not in SERIES:
        raise RequestError(f"There is no series {series!r}.{did_you_mean(str(series), [EVERY, *SERIES])}")
    return list(SERIES) if series == EVERY else [series]
