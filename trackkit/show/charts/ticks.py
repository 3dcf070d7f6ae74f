"""Where the axis of a clock has its marks, and their words: whole hours, days, months or years of a zone's clocks."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from trackkit.clock import instants_of, offset_if_twice
from trackkit.show.wording import chart_locale

MINUTES, DAYS, MONTHS = "minutes", "days", "months"
MOST = 9  # marks on an axis
DAYS_APART = timedelta(days=14)  # up to here each day has its mark, where columns are days
# The distances of marks: minutes within a day, days, months. Weeks begin on Monday.
_MINUTES = (1, 5, 10, 15, 30, 60, 180, 360, 720)
_DAYS = (1, 2, 7, 14)
_MONTHS = (1, 3, 6, 12, 24, 60, 120, 600)
_MONDAY = datetime(2001, 1, 1)


def ticks(start: datetime, end: datetime, zone: str, lang: str, least: str = MINUTES) -> list[tuple[datetime, str]]:
    """Return the instants between two that an axis marks, at most a handful, each with its words.

    `least` is what marks are at least apart: "minutes", or whole "days" or "months" of columns that are such.

    >>> night = (datetime(2026, 10, 24, 23, tzinfo=UTC), datetime(2026, 10, 25, 2, tzinfo=UTC))
    >>> [words for _, words in ticks(*night, "Europe/Paris", "en")][2:7:2]
    ['02:00 +02:00', '02:00 +01:00', '03:00']
    """
    span, own = end - start, ZoneInfo(zone)
    most = DAYS_APART.days if least == DAYS and span < DAYS_APART else MOST
    unit, step = _step(span, most, least)
    shown = start.astimezone(own).replace(tzinfo=None)
    last = end.astimezone(own).replace(tzinfo=None)
    found = [at.astimezone(UTC) for clock in _clocks(shown, last, unit, step) for at in _at(clock, zone, unit)]
    marks = [at.astimezone(own) for at in sorted(found) if start <= at <= end]
    return list(zip(marks, _words(marks, unit, step, span, lang), strict=True))


def _step(span: timedelta, most: int, least: str) -> tuple[str, int]:
    """The shortest distance with which there are no more than `most` marks."""
    for minutes in _MINUTES if least == MINUTES else ():
        if span <= most * timedelta(minutes=minutes):
            return MINUTES, minutes
    for days in _DAYS if least != MONTHS else ():
        if span <= most * timedelta(days=days):
            return DAYS, days
    return MONTHS, next((months for months in _MONTHS if span <= most * timedelta(days=30 * months)), _MONTHS[-1])


def _clocks(start: datetime, end: datetime, unit: str, step: int) -> Iterator[datetime]:
    """What clocks show at the marks, from the last one before `start`; more than needed where clocks were changed."""
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


def _at(clock: datetime, zone: str, unit: str) -> list[datetime]:
    """When clocks show that: twice for hours in the night of the change, once for days, a skipped midnight later."""
    found = instants_of(clock, zone)
    if unit == MINUTES:
        return found
    return found[:1] or [clock.replace(tzinfo=ZoneInfo(zone)).astimezone(UTC).astimezone(ZoneInfo(zone))]


def _words(marks: list[datetime], unit: str, step: int, span: timedelta, lang: str) -> Iterator[str]:
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
