"""What the clocks of a zone show: when their periods begin and end, and the dates that people ask for.

In the night when clocks are put back an hour comes twice: two hours, each an hour long. In spring one is missing, and
in some zones it is the one that the day would begin with. A period of more than an hour is one whatever clocks do.
"""

from collections.abc import Collection
from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import polars as pl

from trackkit.errors import RequestError, require_word

# The periods that figures are counted by, as polars writes them, and how many seconds each has; one of the calendar is
# now and then longer or shorter.
STEPS = {
    **{"1m": 60, "10m": 600, "30m": 1_800, "1h": 3_600, "3h": 10_800},
    **{"1d": 86_400, "1w": 604_800, "1mo": 2_629_800, "1y": 31_557_600},
}
CALLED = {"24h": "1d", "half_hour": "30m", "hour": "1h", "day": "1d", "week": "1w", "month": "1mo"}  # by reports
LONGER = tuple(step for step, seconds in STEPS.items() if seconds > 3_600)  # they hold both of two hours of one name
_LATER = ("0m", "30m", "1h", "1d")  # what clocks have skipped: half an hour, an hour, in 2011 in Samoa a day
Asked = str | date | datetime


def step_of(every: str, offered: Collection[str], what: str) -> str:
    """Return the period asked for as polars writes it; RequestError for one that is not `offered`.

    >>> step_of("24h", ["1h", "24h"], "timescale")
    '1d'
    """
    return CALLED.get(require_word(what, every, offered), every)


def local(column: str, zone: str) -> pl.Expr:
    """Return instants by the clock of `zone`."""
    return pl.col(column).dt.convert_time_zone(zone)


def begins(local: pl.Expr, zone: str, step: str) -> pl.Expr:
    """Return when the period of an instant began, both by the clock of `zone`; `step` as polars writes it.

    >>> from datetime import UTC
    >>> night = pl.Series([datetime(2026, 10, 25, hour, 40, tzinfo=UTC) for hour in (0, 1)])
    >>> found = pl.select(begins(pl.lit(night).dt.convert_time_zone("Europe/Paris"), "Europe/Paris", "1h")).to_series()
    >>> [str(at) for at in found]
    ['2026-10-25 02:00:00+02:00', '2026-10-25 02:00:00+01:00']
    """
    if step not in LONGER:
        return local.dt.truncate(step)
    return first_of(local.dt.replace_time_zone(None).dt.truncate(step), zone)


def ends(start: pl.Expr, zone: str, step: str) -> pl.Expr:
    """Return when the period that began at `start` (of `begins`) ends, which is when the next one begins."""
    end = first_of(start.dt.replace_time_zone(None).dt.truncate(step).dt.offset_by(step), zone)
    if step in LONGER:
        return end
    following = begins(start.dt.offset_by(step), zone, step)
    return pl.when(following > start).then(following).otherwise(end)


def first_of(shown: pl.Expr, zone: str) -> pl.Expr:
    """Return the first instant at which clocks of `zone` show a time, or, where they skip it, the first after it."""
    return pl.coalesce(
        shown.dt.offset_by(later).dt.replace_time_zone(zone, ambiguous="earliest", non_existent="null")
        for later in _LATER
    )


def is_twice(at: pl.Expr, zone: str) -> pl.Expr:
    """Return whether clocks of `zone` show instants twice, in the night when they are put back; in: by that clock."""
    shown = at.dt.replace_time_zone(None).dt
    return shown.replace_time_zone(zone, ambiguous="earliest") != shown.replace_time_zone(zone, ambiguous="latest")


def offset_if_twice(at: datetime) -> str:
    """Return the offset of an instant that its zone's clocks show twice, as in `+02:00`; else nothing.

    >>> offset_if_twice(datetime(2026, 10, 25, 2, 30, fold=1, tzinfo=ZoneInfo("Europe/Paris")))
    '+01:00'
    """
    return _offset(at) if at.replace(fold=0).utcoffset() != at.replace(fold=1).utcoffset() else ""


def _offset(at: datetime) -> str:
    return at.isoformat(timespec="minutes")[len("2026-10-25T02:30") :]


def is_changed(day: datetime, zone: str) -> bool:
    """Return whether clocks of `zone` are changed on the day that begins there at `day`."""
    ends_of_day = [day.replace(tzinfo=ZoneInfo(zone)), (day + timedelta(days=1)).replace(tzinfo=ZoneInfo(zone))]
    return len({at.replace(fold=fold).utcoffset() for at in ends_of_day for fold in (0, 1)}) > 1


def instants_of(shown: datetime, zone: str) -> list[datetime]:
    """Return the instants at which clocks of `zone` show a time: one, two in autumn, none in spring."""
    own = ZoneInfo(zone)
    both = [shown.replace(tzinfo=own, fold=fold) for fold in (0, 1)]
    there = [at for at in both if at.astimezone(ZoneInfo("UTC")).astimezone(own).replace(tzinfo=None) == shown]
    return there[:1] if len({at.utcoffset() for at in there}) < 2 else there


def moment(asked: Asked, zone: str, what: str, end_of_day: bool = False) -> datetime:
    """Return the instant that a question names: a `date`, a `datetime`, or ISO text of either.

    What has no zone is by the clock of `zone`; a date is its first instant there, or its last with `end_of_day`.
    `what` is the name of what was asked. Raises RequestError for anything else, and for a time that clocks show twice
    or never.

    >>> moment("2026-11-15", "Europe/Paris", "since").isoformat()
    '2026-11-15T00:00:00+01:00'
    """
    given = _read(asked, what)
    if not isinstance(given, datetime):
        return _of_day(given, zone, end_of_day)
    try:
        if given.tzinfo:
            return given.astimezone(ZoneInfo(zone))
        return given.replace(tzinfo=ZoneInfo(zone)) if isinstance(asked, datetime) else only(given, zone, what)
    except OverflowError:
        raise _refused(asked, what) from None


def day(asked: Asked, zone: str, what: str) -> date:
    """Return the day that a question names, as `moment` reads it: of an instant, its day in `zone`."""
    given = _read(asked, what)
    return moment(given, zone, what).date() if isinstance(given, datetime) else given


def only(shown: datetime, zone: str, what: str) -> datetime:
    """Return the one instant at which clocks of `zone` show a time; RequestError where they do so twice, or never."""
    found = instants_of(shown, zone)
    if len(found) == 1:
        return found[0]
    if not found:
        raise RequestError(f"{what}: clocks in {zone} never showed {shown}: they were put forward. Take another time.")
    both = " or ".join(repr(f"{shown}{_offset(at)}") for at in found)
    raise RequestError(f"{what}: clocks in {zone} showed {shown} twice: write {both}.")


def _read(asked: Asked, what: str) -> date | datetime:
    if isinstance(asked, int) and not isinstance(asked, bool):
        asked = str(asked)  # papermill makes a number of `-p as_of 20261115`
    if isinstance(asked, date) and asked == asked:  # a datetime is one too; pandas' missing one is not itself
        return asked
    try:
        if not isinstance(asked, str):
            raise _refused(asked, what)
        return date.fromisoformat(asked.strip()) if len(asked.strip()) <= 10 else datetime.fromisoformat(asked.strip())
    except ValueError:
        raise _refused(asked, what) from None


def _of_day(given: date, zone: str, end_of_day: bool) -> datetime:
    try:
        if end_of_day:
            return datetime.combine(given, time.max, ZoneInfo(zone)).replace(fold=1)
        midnight = datetime.combine(given, time())
        later = [found for hours in (0, 0.5, 1, 24) for found in instants_of(midnight + timedelta(hours=hours), zone)]
        return later[0]
    except (OverflowError, IndexError):
        raise _refused(given, "The date") from None


def _refused(asked: object, what: str) -> RequestError:
    examples = "a date such as 2026-11-01, or an instant such as '2026-11-01 20:00' or '2026-11-01T20:00+01:00'"
    return RequestError(f"{what} takes {examples}; got {str(asked)[:80]!r}.")
