"""When people open, click and buy, in local time: by weekday or time of day, and over time.

Three series, as in the platform's "User activities": opens, clicks (on e-mail links only) and transactions, repeated
ones included. Undated events have no time of day, so totals here are those of dated events.
"""

from collections import Counter
from datetime import date, datetime, time, timedelta
from typing import Annotated

import polars as pl

from trackkit.analysis.curves import SERIES, SERIES_TYPE, series_events
from trackkit.clock import begins, instants_of, is_changed, local, step_of
from trackkit.engine.deliveries import Deliveries, asked_about, zone_of
from trackkit.engine.measure import quotient
from trackkit.engine.snapshot import Measurable
from trackkit.errors import require_word

__all__ = ["activity_over_time", "folded_activity", "foldings", "weekly_activity"]

SLOTS = {"half_hour": 48, "hour": 24, "day": 7}  # of a day, of a day, of a week
ALL_SERIES = "all"


def folded_activity(
    tables: Measurable,
    delivery: Deliveries = None,
    every: Annotated[str, SLOTS] = "day",
    timezone: str = "",
    series: Annotated[str, (ALL_SERIES, *SERIES)] = ALL_SERIES,
) -> pl.DataFrame:
    """Return activity by time of the week or of the day: one row per slot and series, quiet slots included.

    Columns: `slot`, from 0: the weekday from Monday for `every` "day", else the hours or half-hours from midnight;
    `series`; `count`; `total` of the series; `share` (count / total, null without events); `twice`. `series` is one of
    them, or "all". The hour that clocks show twice in autumn is one slot, marked by `twice`; the one that they skip in
    spring has no slot if its day is the only one. Raises RequestError for an unknown delivery, interval, series
    or zone.

    >>> hours = folded_activity(store, delivery, every="hour", series="opens")
    >>> hours["slot"].n_unique(), hours["count"].sum()
    (24, 46)
    """
    series_shown, zone = _series_asked(series), zone_of(tables, timezone)
    events = _local_events(tables, delivery, every, zone).with_columns(slot=_slot(every))
    days = events.select(first=pl.col("clock").min().dt.date(), last=pl.col("clock").max().dt.date())
    counts, span = pl.collect_all([events.group_by("slot", "series").agg(count=pl.len().cast(pl.Int64)), days])
    first, last = span.row(0)
    skipped, twice = _clock_changes(first, last, zone, every)
    slots = pl.DataFrame({"slot": [slot for slot in range(SLOTS[every]) if slot not in skipped]}, {"slot": pl.Int64})
    return (
        slots.with_columns(twice=pl.col("slot").is_in(twice))
        .join(pl.DataFrame({"series": series_shown}, schema={"series": SERIES_TYPE}), how="cross")
        .join(counts, on=["slot", "series"], how="left")
        .with_columns(pl.col("count").fill_null(0))
        .with_columns(total=pl.col("count").sum().over("series"))
        .with_columns(share=quotient("count", "total"))
        .select("slot", "series", "count", "total", "share", "twice")
    )


def weekly_activity(
    tables: Measurable,
    delivery: Deliveries = None,
    timezone: str = "",
    series: Annotated[str, (ALL_SERIES, *SERIES)] = ALL_SERIES,
) -> pl.DataFrame:
    """Return activity by weekday and hour: one row per hour of the week and series, quiet hours included.

    Columns: `weekday`, from 0, Monday; `hour`, from 0, by the clock of `timezone`; `series`; `count`; `total` of the
    series; `share` (count / total, null without events); `twice`. The hour that clocks show twice in autumn is one,
    marked by `twice`; the one that they skip in spring has no row if no other day of that weekday is in the span of the
    events. Raises RequestError for an unknown delivery, series or zone.

    >>> weekly_activity(store, delivery, series="clicks").select("weekday", "hour", "count", "total").row(0)
    (0, 0, 0, 12)
    """
    series_shown, zone = _series_asked(series), zone_of(tables, timezone)
    clock = pl.col("clock").dt
    events = series_events(tables, asked_about(tables, delivery)).select("series", clock=local("occurred_at", zone))
    placed = events.with_columns(weekday=clock.weekday().cast(pl.Int64) - 1, hour=clock.hour().cast(pl.Int64))
    days = events.select(first=pl.col("clock").min().dt.date(), last=pl.col("clock").max().dt.date())
    by_hour = placed.group_by("weekday", "hour", "series").agg(count=pl.len().cast(pl.Int64))
    counts, span = pl.collect_all([by_hour, days])
    first, last = span.row(0)
    return (
        _hours_of_week(first, last, zone)
        .join(pl.DataFrame({"series": series_shown}, schema={"series": SERIES_TYPE}), how="cross")
        .join(counts, on=["weekday", "hour", "series"], how="left")
        .with_columns(pl.col("count").fill_null(0))
        .with_columns(total=pl.col("count").sum().over("series"))
        .with_columns(share=quotient("count", "total"))
        .select("weekday", "hour", "series", "count", "total", "share", "twice")
    )


def _hours_of_week(first: date | None, last: date | None, zone: str) -> pl.DataFrame:
    """The hours that clocks showed on these days, by weekday: `weekday`, `hour`, `twice`."""
    days_apart = (last - first).days + 1 if first and last else 0
    dates = [first + timedelta(days=n) for n in range(days_apart)] if first else []
    twice, skipped = set[tuple[int, int]](), Counter[tuple[int, int]]()
    for day in dates:
        skips, repeats = _clock_changes(day, day, zone, "hour")
        twice |= {(day.weekday(), hour) for hour in repeats}
        skipped.update((day.weekday(), hour) for hour in skips)
    of_weekday = Counter(day.weekday() for day in dates)
    hours = [(weekday, hour) for weekday in range(7) for hour in range(24)]
    shown = [(*at, at in twice) for at in hours if not skipped[at] or skipped[at] < of_weekday[at[0]]]
    return pl.DataFrame(shown, {"weekday": pl.Int64, "hour": pl.Int64, "twice": pl.Boolean}, orient="row")


def foldings(every: Annotated[str, SLOTS]) -> tuple[str, str]:
    """Return the two ways to fold activity, by the time of the day first: "hour" unless `every` is one.

    Raises RequestError for an unknown interval.

    >>> foldings("day"), foldings("half_hour")
    (('hour', 'day'), ('half_hour', 'day'))
    """
    return "hour" if require_word("interval", every, SLOTS) == "day" else every, "day"


def activity_over_time(
    tables: Measurable,
    delivery: Deliveries = None,
    every: Annotated[str, SLOTS] = "day",
    timezone: str = "",
    series: Annotated[str, (ALL_SERIES, *SERIES)] = ALL_SERIES,
) -> pl.DataFrame:
    """Return what happened when: one row per interval and series with events, in order.

    Columns: `starts_at` (start of the half-hour, hour or calendar day, in `timezone`), `series`, `count`. Raises as
    `folded_activity`.

    >>> activity_over_time(store, delivery, series="opens")["count"].sum()
    46
    """
    series_shown, zone = _series_asked(series), zone_of(tables, timezone)
    events = _local_events(tables, delivery, every, zone).filter(pl.col("series").cast(pl.String).is_in(series_shown))
    return (
        events.group_by(starts_at=begins(pl.col("clock"), zone, step_of(every, SLOTS, "interval")), series="series")
        .agg(count=pl.len().cast(pl.Int64))
        .sort("starts_at", "series")
        .collect()
    )


def _clock_changes(first: date | None, last: date | None, zone: str, every: str) -> tuple[set[int], list[int]]:
    """The slots of these days that clocks never showed, and those that they showed twice on some day."""
    if first is None or last is None or every == "day":
        return set(), []
    length = timedelta(days=1) / SLOTS[every]
    days = [datetime.combine(first + timedelta(days=n), time()) for n in range((last - first).days + 1)]
    skipped, twice = set[int](), set[int]()
    for day in days:
        starts = [day + slot * length for slot in range(SLOTS[every])] if is_changed(day, zone) else []
        for slot, start in enumerate(starts):
            # If clocks change by half an hour, only half of a slot is skipped or repeated.
            times_shown = [len(instants_of(at, zone)) for at in (start, start + length / 2)]
            twice |= {slot} if max(times_shown) == 2 else set()
            skipped |= {slot} if max(times_shown) == 0 and len(days) == 1 else set()
    return skipped, sorted(twice)


def _local_events(tables: Measurable, delivery: Deliveries, every: str, timezone: str) -> pl.LazyFrame:
    require_word("interval", every, SLOTS)
    zoned = local("occurred_at", zone_of(tables, timezone))
    return series_events(tables, asked_about(tables, delivery)).select("series", clock=zoned)


def _slot(every: str) -> pl.Expr:
    clock = pl.col("clock").dt
    if every == "day":
        return clock.weekday().cast(pl.Int64) - 1
    hour, half = clock.hour().cast(pl.Int64), clock.minute().cast(pl.Int64) // 30
    return hour if every == "hour" else 2 * hour + half


def _series_asked(series: str) -> list[str]:
    require_word("series", series, [ALL_SERIES, *SERIES])
    return list(SERIES) if series == ALL_SERIES else [series]
