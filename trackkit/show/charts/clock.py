"""Time on charts: positions of periods on an axis, the instants that it labels, and the choice of longer periods.

Labels are at whole hours, days, months or years by the clock of a zone.
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Literal, get_args
from zoneinfo import ZoneInfo

import polars as pl

from trackkit.clock import CALLED, begins, ends, first_of, instants_of, offset_if_twice
from trackkit.clock import STEPS as SECONDS
from trackkit.language import say, several, translatable
from trackkit.show.wording import chart_locale, instant

Period = Literal["1h", "3h", "24h", "half_hour", "hour", "day"]
# The periods of analyses, as polars writes them.
STEPS: dict[Period, str] = {every: CALLED.get(every, every) for every in get_args(Period)}
FILLED = 0.92  # the share of a period that its column fills
MOST_PERIODS = 120  # in the width of a chart
EACH = translatable(
    {"1d": "{what} per day", "1w": "{what} per week", "1mo": "{what} per month", "1y": "{what} per year"}
)
MINUTES, DAYS, MONTHS = "minutes", "days", "months"
MOST_LABELS = 9  # on an axis
SHORT = timedelta(days=3)  # what happened within is shown by the hour
SHORTER = timedelta(hours=6)  # and within these by the half-hour
BY_DAYS = timedelta(hours=60)  # longer axes of hours have marks for days
CLOSEST = 16  # labels side by side that would fill an axis
MOST_BANDS = 7  # labels of periods with their weekdays
LEAST_BANDS = 7  # periods that are drawn, however early most of them happen
MOST, SHORTENED = 0.95, 2 / 3  # the share of the events after which a chart ends, if that leaves this part of the time
DAYS_APART = timedelta(days=14)  # axes of days up to this length have a mark for each day
# The distances of marks: minutes within a day, days, months. Weeks begin on Monday.
_MINUTES = (1, 5, 10, 15, 30, 60, 180, 360, 720)
_DAYS = (1, 2, 7, 14)
_MONTHS = (1, 3, 6, 12, 24, 60, 120, 600)
_MONDAY = datetime(2001, 1, 1)
# Periods from one label to the next.
APART = {
    "1d": (1, 2, 7, 14, 28, 56, 91, 182, 364),
    "1w": (1, 2, 4, 8, 13, 26, 52),
    "1mo": (1, 2, 3, 6, 12, 24, 60),
    "1y": (1, 2, 5, 10, 20, 50, 100),
}


def zone_of(rows: pl.DataFrame, column: str = "starts_at") -> str:
    """Return the time zone of a column of instants; UTC for days, and for instants without a zone."""
    return getattr(rows.schema[column], "time_zone", None) or "UTC"


def instants(rows: pl.DataFrame, column: str = "starts_at") -> pl.Expr:
    """Return a column of instants or days as instants in the zone of `zone_of`."""
    zone = getattr(rows.schema[column], "time_zone", None)
    at = pl.col(column).cast(pl.Datetime("us", zone))
    return at if zone else at.dt.replace_time_zone("UTC")


def by_the_clock(rows: pl.DataFrame, step: str, lang: str) -> dict[str, pl.Expr]:
    """Return where the column of a period stands, `starts_at` and `ends_at`, and its start in words, `when`.

    In: `starts_at`, the beginnings of periods of `step`; the column of an hour that is 90 minutes long is as long.
    """
    starts, zone = instants(rows), zone_of(rows)
    end = starts + FILLED * (ends(starts, zone, step) - starts)
    return {"starts_at": axis_instant(starts), "ends_at": axis_instant(end), "when": written(starts, lang, zone)}


def written(at: pl.Expr, lang: str, zone: str = "UTC") -> pl.Expr:
    """Format instants or days in a language, one by one: charts have a few thousand at most."""
    return at.map_elements(lambda value: instant(value, zone, lang=lang, weekday=True), return_dtype=pl.String)


def axis_instant(at: pl.Expr) -> pl.Expr:
    """The position of an instant or a day on a time axis, in milliseconds since the epoch."""
    return at.dt.epoch("ms")


def step_that_fits(rows: pl.DataFrame, step: str, most: int = MOST_PERIODS) -> str:
    """Return the shortest period, from `step` on, that leaves no more than `most` of them from first to last."""
    first, last = rows.select(first=pl.col("starts_at").min(), last=pl.col("starts_at").max()).row(0)
    span = (last - first).total_seconds() if rows.height else 0
    return next((name for name, length in SECONDS.items() if length >= SECONDS[step] and span < most * length), "1y")


def periods_that_fit(rows: pl.DataFrame, step: str, counts: Sequence[str]) -> tuple[pl.DataFrame, str]:
    """Return rows added up in periods of `step`, and the step: hours if all is within 3 days, halves within 6 hours.

    In: `starts_at`, in periods no longer than `step`. Rows that are of whole days, or hours, are not divided.
    """
    if rows.is_empty() or SECONDS[step] < SECONDS["1h"]:
        return rows, step
    at, zone = instants(rows), zone_of(rows)
    is_of = {each: (at == begins(at, zone, each)).all() for each in ("1d", "1h")}
    is_daily, is_hourly, span = rows.select(**is_of, span=at.max() - at.min()).row(0)
    short = "1h" if is_hourly or span >= SHORTER else "30m"
    fits = step if is_daily or span >= SHORT else short
    is_ready = rows.select((at == begins(at, zone, fits)).all()).item()
    return (rows if is_ready else in_steps(rows, fits, counts)), fits


def in_steps(rows: pl.DataFrame, step: str, counts: Sequence[str]) -> pl.DataFrame:
    """Add up the counts of rows that begin in the same longer period and are otherwise equal, in order."""
    zone, others = zone_of(rows), [name for name in rows.columns if name not in ("starts_at", *counts)]
    start = begins(instants(rows), zone, step)
    sums = rows.group_by(*others, start.alias("starts_at"), maintain_order=True).agg(pl.col(*counts).sum())
    return sums.sort("starts_at", maintain_order=True).select(rows.columns)


def until_most(rows: pl.DataFrame, step: str, count: str, whole: float) -> pl.DataFrame:
    """Return the rows of the first periods of `step`, until 95 % of the `whole` have happened: seven periods at least.

    All rows are returned unless that shortens the time by a third. In: `starts_at`, the beginnings of periods, and a
    count of events.
    """
    if rows.is_empty():
        return rows
    sums = rows.group_by("starts_at").agg(pl.col(count).sum()).sort("starts_at")
    starts = sums["starts_at"].to_list()
    reached = sums.filter(pl.col(count).cum_sum() >= MOST * whole)["starts_at"].to_list()
    if not reached or reached[0] - starts[0] > SHORTENED * (starts[-1] - starts[0]):
        return rows
    shortest = instants(rows).min() + pl.lit((LEAST_BANDS - 1) * timedelta(seconds=SECONDS[step]))
    return rows.filter((pl.col("starts_at") <= reached[0]) | (instants(rows) <= shortest))


def later_words(activity: pl.DataFrame, drawn: pl.DataFrame, lang: str) -> str:
    """Say how many events (`count`) of an activity are not drawn, and until when they came; empty if all are."""
    later = int(activity["count"].sum()) - int(drawn["count"].sum())
    if not later:
        return ""
    last = activity.select(pl.col("starts_at").max().cast(pl.Date)).item()
    until = instant(last, lang=lang, weekday=True)
    return several(
        "Not drawn: {count} later event until {day}.",
        "Not drawn: {count} later events until {day}.",
        later,
        lang,
        day=until,
    )


def per(step: str, what: str, lang: str) -> str:
    """Return the title of counts per period, such as "Events per week"; `what` alone for periods within a day."""
    return say(EACH[step], lang, what=what) if step in EACH else what


def time_labels(first: int, last: int, zone: str, lang: str, least: str) -> list[tuple[int, str]]:
    """Return the positions and texts of the labels of an axis between two positions of `axis_instant`.

    Where days are not the least unit, the first label is that of the first position, with its weekday.
    """
    start, end = (datetime.fromtimestamp(at / 1_000, UTC).astimezone(ZoneInfo(zone)) for at in (first, last))
    marks = _clock_marks(start, end, "1m", lang) if least == MINUTES else ticks(start, end, zone, lang, least)
    if least == MINUTES and end - start > BY_DAYS:
        marks[0] = (start, _period_words(start, "1d", start.year != end.year, lang))
    return [(round(at.timestamp() * 1_000), words) for at, words in marks]


def band_labels(first: int, last: int, step: str, zone: str, lang: str) -> list[tuple[int, str]]:
    """Return the positions and texts of the labels of periods of `step` between two positions of `axis_instant`.

    A label stands below the middle of its column. The first period always has one, with its weekday.
    """
    local = ZoneInfo(zone)
    start, end = (datetime.fromtimestamp(at / 1_000, UTC).astimezone(local) for at in (first, last))
    marks = _calendar_marks(start, end, step, lang) if step in APART else _clock_marks(start, end, step, lang)
    starts = pl.DataFrame({"at": [at for at, _ in marks]}, schema={"at": pl.Datetime("us", zone)})
    middle = pl.col("at") + FILLED / 2 * (ends(pl.col("at"), zone, step) - pl.col("at"))
    return list(zip(starts.select(axis_instant(middle)).to_series(), [words for _, words in marks], strict=True))


def _calendar_marks(start: datetime, end: datetime, step: str, lang: str) -> list[tuple[datetime, str]]:
    """Every period from the first on, or every second, every fourth ...: at most a handful."""
    apart = next((n for n in APART[step] if end - start <= n * MOST_BANDS * timedelta(seconds=SECONDS[step])), None)
    every = f"{apart or APART[step][-1]}{step.removeprefix('1')}"
    shown = pl.datetime_range(start.replace(tzinfo=None), end.replace(tzinfo=None), every, eager=True)
    zone = str(start.tzinfo)
    marks = pl.select(first_of(pl.lit(shown), zone)).to_series()
    several_years = start.year != end.year
    return [(at, _period_words(at, step, several_years, lang)) for at in marks.to_list()]


def _clock_marks(start: datetime, end: datetime, step: str, lang: str) -> list[tuple[datetime, str]]:
    """The marks of `ticks` where a period begins, those of days with their weekday; the first period has its day."""
    least = DAYS if end - start > BY_DAYS else MINUTES
    marks = [mark for mark in ticks(start, end, str(start.tzinfo), lang, least) if _is_start(mark[0], step)]
    if least == DAYS:
        several_years = start.year != end.year
        marks = [(at, _period_words(at, "1d", several_years, lang)) for at, _ in marks]
    following = [(at, words) for at, words in marks if at - start > (end - start) / CLOSEST]
    day = _period_words(start, "1d", False, lang)
    day = day if least == MINUTES else day.rsplit(" ", 1)[0]
    return [(start, f"{day}, {start:%H:%M} {offset_if_twice(start)}".rstrip()), *following]


def _is_start(at: datetime, step: str) -> bool:
    """Whether a period of `step` begins at an instant of a zone."""
    zone = str(at.tzinfo)
    return bool(pl.select(begins(pl.lit(at, pl.Datetime("us", zone)), zone, step) == pl.lit(at)).item())


def _period_words(at: datetime, step: str, with_year: bool, lang: str) -> str:
    """The name of a period on an axis: "Sun 11 Oct", of a week "12 Oct", then "Oct 2026" and "2026"."""
    names = chart_locale(lang)["time"]
    day, month = names["shortDays"][at.isoweekday() % 7], names["shortMonths"][at.month - 1]
    words = {"1y": str(at.year), "1mo": f"{month} {at.year}", "1w": f"{at.day} {month}"}
    return words.get(step, f"{day} {at.day} {month}") + (f" {at.year}" if with_year and step in ("1d", "1w") else "")


def ticks(start: datetime, end: datetime, zone: str, lang: str, least: str = MINUTES) -> list[tuple[datetime, str]]:
    """Return the instants that an axis labels between two, at most a handful, each with its text.

    `least` is the smallest unit between labels: "minutes", "days" or "months".

    >>> night = (datetime(2026, 10, 24, 23, tzinfo=UTC), datetime(2026, 10, 25, 2, tzinfo=UTC))
    >>> [words for _, words in ticks(*night, "Europe/Paris", "en")][2:7:2]
    ['02:00 +02:00', '02:00 +01:00', '03:00']
    """
    span, local = end - start, ZoneInfo(zone)
    most = DAYS_APART.days if least == DAYS and span < DAYS_APART else MOST_LABELS
    unit, step = _step(span, most, least)
    first = start.astimezone(local).replace(tzinfo=None)
    last = end.astimezone(local).replace(tzinfo=None)
    times = _local_times(first, last, unit, step)
    candidates = sorted(at.astimezone(UTC) for time in times for at in _instants_at(time, zone, unit))
    marks = [at.astimezone(local) for at in candidates if start <= at <= end]
    return list(zip(marks, _label_texts(marks, unit, step, span, lang), strict=True))


def _step(span: timedelta, most: int, least: str) -> tuple[str, int]:
    """The shortest distance that gives no more than `most` marks."""
    for minutes in _MINUTES if least == MINUTES else ():
        if span <= most * timedelta(minutes=minutes):
            return MINUTES, minutes
    for days in _DAYS if least != MONTHS else ():
        if span <= most * timedelta(days=days):
            return DAYS, days
    return MONTHS, next((months for months in _MONTHS if span <= most * timedelta(days=30 * months)), _MONTHS[-1])


def _local_times(start: datetime, end: datetime, unit: str, step: int) -> Iterator[datetime]:
    """Local times of the marks, from the last one before `start` to a day after `end`, for clock changes."""
    day = datetime(start.year, start.month, start.day)
    if unit == MONTHS:
        month = (12 * start.year + start.month - 1) // step * step
        while month < 12 * 9999 and (clock := datetime(month // 12, month % 12 + 1, 1)) <= end:
            yield clock
            month += step
        return
    length = timedelta(minutes=step) if unit == MINUTES else timedelta(days=step)
    clock = day - (day - _MONDAY) % length if unit == DAYS else day
    while clock <= end + timedelta(days=1):
        yield clock
        clock += length


def _instants_at(clock: datetime, zone: str, unit: str) -> list[datetime]:
    """The instants of a local time: two if it is ambiguous (one for days); a skipped midnight comes later."""
    matches = instants_of(clock, zone)
    if unit == MINUTES:
        return matches
    return matches[:1] or [clock.replace(tzinfo=ZoneInfo(zone)).astimezone(UTC).astimezone(ZoneInfo(zone))]


def _label_texts(marks: list[datetime], unit: str, step: int, span: timedelta, lang: str) -> Iterator[str]:
    names = chart_locale(lang)["time"]
    years = {at.year for at in marks}
    before = None
    for at in marks:
        month, day = names["shortMonths"][at.month - 1], names["shortDays"][at.isoweekday() % 7]
        if unit == MONTHS:
            yield str(at.year) if step % 12 == 0 else f"{month} {at.year}"
        elif unit == DAYS:
            yield f"{at.day:02} {month}" + (f" {at.year}" if len(years) > 1 and at.year != before else "")
        else:
            date = f"{day} {at.day:02}, " if span >= timedelta(hours=20) else ""
            yield f"{date}{at:%H:%M} {offset_if_twice(at)}".rstrip()
        before = at.year
