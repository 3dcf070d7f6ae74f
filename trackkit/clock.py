"""Local time in a zone: when periods begin and end, and the dates that people ask for.

When clocks go back, an hour of the same name comes twice: they are two periods. In spring an hour is missing, and in
some zones it is the first of the day. A period longer than an hour stays one period across a clock change.
"""

import re
from collections.abc import Collection
from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import polars as pl

from trackkit.errors import RequestError, require_word

# The periods that figures are counted by, in polars' notation, and their seconds (on average, for calendar periods).
STEPS = {
    **{"1m": 60, "10m": 600, "30m": 1_800, "1h": 3_600, "3h": 10_800},
    **{"1d": 86_400, "1w": 604_800, "1mo": 2_629_800, "1y": 31_557_600},
}
# The names that reports use.
CALLED = {"24h": "1d", "half_hour": "30m", "hour": "1h", "day": "1d", "week": "1w", "month": "1mo"}
LONGER = tuple(step for step, seconds in STEPS.items() if seconds > 3_600)  # contain both hours of one name
_LATER = ("0m", "30m", "1h", "1d")  # what clocks have skipped: half an hour, an hour, a day (Samoa, 2011)
Asked = str | date | datetime
_AGO = re.compile(r"(\d{1,5})([dw])")


def step_of(every: str, offered: Collection[str], what: str) -> str:
    """Return the period asked for in polars' notation; RequestError for one that is not `offered`.

    >>> step_of("24h", ["1h", "24h"], "timescale")
    '1d'
    """
    return CALLED.get(require_word(what, every, offered), every)


def local(column: str, zone: str) -> pl.Expr:
    """Return the instants of a column in `zone`."""
    return pl.col(column).dt.convert_time_zone(zone)


def begins(local: pl.Expr, zone: str, step: str) -> pl.Expr:
    """Return when the period of an instant began, both in `zone`; `step` is in polars' notation.

    >>> from datetime import UTC
    >>> night = pl.Series([datetime(2026, 10, 25, hour, 40, tzinfo=UTC) for hour in (0, 1)])
    >>> hours = pl.select(begins(pl.lit(night).dt.convert_time_zone("Europe/Paris"), "Europe/Paris", "1h")).to_series()
    >>> [str(at) for at in hours]
    ['2026-10-25 02:00:00+02:00', '2026-10-25 02:00:00+01:00']
    """
    if step not in LONGER:
        return local.dt.truncate(step)
    return first_of(local.dt.replace_time_zone(None).dt.truncate(step), zone)


def ends(start: pl.Expr, zone: str, step: str) -> pl.Expr:
    """Return when the period that began at `start` (from `begins`) ends and the next one begins."""
    end = first_of(start.dt.replace_time_zone(None).dt.truncate(step).dt.offset_by(step), zone)
    if step in LONGER:
        return end
    following = begins(start.dt.offset_by(step), zone, step)
    return pl.when(following > start).then(following).otherwise(end)


def first_of(shown: pl.Expr, zone: str) -> pl.Expr:
    """Return the first instant at which clocks of `zone` show a time, or the first after it if they skip it."""
    return pl.coalesce(
        shown.dt.offset_by(later).dt.replace_time_zone(zone, ambiguous="earliest", non_existent="null")
        for later in _LATER
    )


def is_twice(at: pl.Expr, zone: str) -> pl.Expr:
    """Return whether clocks of `zone` show the time of instants, given in that zone, twice because they go back."""
    shown = at.dt.replace_time_zone(None).dt
    return shown.replace_time_zone(zone, ambiguous="earliest") != shown.replace_time_zone(zone, ambiguous="latest")


def offset_if_twice(at: datetime) -> str:
    """Return the UTC offset of an instant, as in `+02:00`, if its zone's clocks show its time twice; else "".

    >>> offset_if_twice(datetime(2026, 10, 25, 2, 30, fold=1, tzinfo=ZoneInfo("Europe/Paris")))
    '+01:00'
    """
    return _offset(at) if at.replace(fold=0).utcoffset() != at.replace(fold=1).utcoffset() else ""


def _offset(at: datetime) -> str:
    return at.isoformat(timespec="minutes")[len("2026-10-25T02:30") :]


def is_changed(day: datetime, zone: str) -> bool:
    """Return whether clocks of `zone` change on the day that begins there at `day`."""
    bounds = [day.replace(tzinfo=ZoneInfo(zone)), (day + timedelta(days=1)).replace(tzinfo=ZoneInfo(zone))]
    return len({at.replace(fold=fold).utcoffset() for at in bounds for fold in (0, 1)}) > 1


def instants_of(shown: datetime, zone: str) -> list[datetime]:
    """Return the instants at which clocks of `zone` show a time: one, two in autumn, none in spring."""
    tz = ZoneInfo(zone)
    folds = [shown.replace(tzinfo=tz, fold=fold) for fold in (0, 1)]
    existing = [at for at in folds if at.astimezone(ZoneInfo("UTC")).astimezone(tz).replace(tzinfo=None) == shown]
    return existing[:1] if len({at.utcoffset() for at in existing}) < 2 else existing


def moment(asked: Asked, zone: str, what: str, end_of_day: bool = False) -> datetime:
    """Return the instant that a question names: a `date`, a `datetime`, or ISO text of either.

    Without a zone of its own it is in `zone`; a date is its first instant there, or its last with `end_of_day`. `what`
    names the parameter in errors. Raises RequestError for anything else, and for a time that clocks show twice or
    never.

    >>> moment("2026-11-15", "Europe/Paris", "since").isoformat()
    '2026-11-15T00:00:00+01:00'
    """
    parsed = _parse(asked, what)
    if not isinstance(parsed, datetime):
        return _instant_of_day(parsed, zone, end_of_day)
    try:
        if parsed.tzinfo:
            return parsed.astimezone(ZoneInfo(zone))
        return parsed.replace(tzinfo=ZoneInfo(zone)) if isinstance(asked, datetime) else only(parsed, zone, what)
    except OverflowError:
        raise _not_a_time(asked, what) from None


def ago(asked: Asked, zone: str) -> Asked:
    """Return the date that "today", "yesterday", "7d" or "2w" means in a zone now; anything else as it is.

    >>> ago("2026-11-15", "UTC")
    '2026-11-15'
    """
    words = str(asked).strip().lower()
    back = {"today": 0, "yesterday": 1}.get(words)
    if match := _AGO.fullmatch(words):
        back = int(match[1]) * (7 if match[2] == "w" else 1)
    return asked if back is None else datetime.now(ZoneInfo(zone)).date() - timedelta(days=back)


def day(asked: Asked, zone: str, what: str) -> date:
    """Return the day that a question names, read as by `moment`; for an instant, its day in `zone`."""
    parsed = _parse(asked, what)
    return moment(parsed, zone, what).date() if isinstance(parsed, datetime) else parsed


def only(shown: datetime, zone: str, what: str) -> datetime:
    """Return the only instant at which clocks of `zone` show a time; RequestError if they show it twice or never."""
    instants = instants_of(shown, zone)
    if len(instants) == 1:
        return instants[0]
    if not instants:
        raise RequestError(f"{what}: clocks in {zone} never showed {shown}: they were put forward. Take another time.")
    both = " or ".join(repr(f"{shown}{_offset(at)}") for at in instants)
    raise RequestError(f"{what}: clocks in {zone} showed {shown} twice: write {both}.")


def _parse(asked: Asked, what: str) -> date | datetime:
    if isinstance(asked, int) and not isinstance(asked, bool):
        asked = str(asked)  # papermill turns `-p as_of 20261115` into a number
    if isinstance(asked, date) and asked == asked:  # a datetime is a date too; pandas' NaT is not equal to itself
        return asked
    try:
        if not isinstance(asked, str):
            raise _not_a_time(asked, what)
        return date.fromisoformat(asked.strip()) if len(asked.strip()) <= 10 else datetime.fromisoformat(asked.strip())
    except ValueError:
        raise _not_a_time(asked, what) from None


def _instant_of_day(day: date, zone: str, end_of_day: bool) -> datetime:
    try:
        if end_of_day:
            return datetime.combine(day, time.max, ZoneInfo(zone)).replace(fold=1)
        midnight = datetime.combine(day, time())
        starts = [midnight + timedelta(hours=hours) for hours in (0, 0.5, 1, 24)]
        return next(instant for start in starts for instant in instants_of(start, zone))
    except (OverflowError, StopIteration):
        raise _not_a_time(day, "The date") from None


def _not_a_time(asked: object, what: str) -> RequestError:
    examples = "a date such as 2026-11-01, or an instant such as '2026-11-01 20:00' or '2026-11-01T20:00+01:00'"
    return RequestError(f"{what} takes {examples}; got {str(asked)[:80]!r}.")
