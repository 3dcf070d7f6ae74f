"""What charts, tables and findings call the same things: series, slots of a week, periods, versions, sources."""

from datetime import date
from typing import Literal

import polars as pl
from babel.dates import format_skeleton, get_day_names

from trackkit.language import say, translatable
from trackkit.show.cells import OTHERS
from trackkit.show.wording import instant

SERIES = translatable({"opens": "Sum of opens", "clicks": "Cumulated clicks", "transactions": "Transactions"})
Slot = Literal["half_hour", "hour", "day"]
CalendarPeriod = Literal["day", "week", "month"]
LAST = [OTHERS, "Other"]  # groups that stand last, however large
# What browsers say of the system on every later version of it, too: their user agents no longer change.
FROZEN = {"Mac OS": "10.15", "Windows": "10"}
ENOUGH = 20  # visitors of a week whose shares are drawn
PERIODS = translatable(
    {
        "24H": "24 hours",
        "48H": "48 hours",
        "1 week": "1 week",
        "2 weeks": "2 weeks",
        "1 month": "1 month",
        "6 months": "6 months",
    }
)

WEEK = translatable("Week of {day}")
NO_SOURCE = translatable("(no delivery known)")


def slot_names(every: Slot, lang: str = "en") -> list[str]:
    """Return the names of the slots of a week or a day: weekdays from Monday, hours or half-hours from midnight.

    >>> slot_names("day")[0], slot_names("half_hour")[3]
    ('Monday', '01:30')
    """
    if every == "day":
        days = get_day_names("wide", "stand-alone", locale=lang)
        return [str(days[number]).capitalize() for number in range(7)]
    minutes = 60 if every == "hour" else 30
    return [f"{start // 60:02}:{start % 60:02}" for start in range(0, 24 * 60, minutes)]


def slots_named(folded: pl.DataFrame, every: Slot, lang: str = "en") -> dict[int, str]:
    """Return the names of the slots of `activities.folded_activity`; those that occur twice on one day are marked."""
    names, slots = slot_names(every, lang), dict(folded.select("slot", "twice").unique().sort("slot").iter_rows())
    return {
        slot: say("{time} (twice)", lang, time=names[slot]) if twice else names[slot] for slot, twice in slots.items()
    }


def period_name(day: date, every: CalendarPeriod, lang: str = "en") -> str:
    """Return the name of a period that starts on a day.

    >>> period_name(date(2026, 11, 1), "month"), period_name(date(2026, 11, 2), "week")
    ('November 2026', 'Week of 2026-11-02')
    """
    if every == "month":
        return str(format_skeleton("yMMMM", day, locale=lang))
    shown = instant(day, lang=lang, weekday=every == "day")
    return say(WEEK, lang, day=shown) if every == "week" else shown


def enough_weeks(weekly: pl.DataFrame) -> pl.DataFrame:
    """Return the weeks of 20 visitors or more of `audience.weekly`; all, if there are no such weeks."""
    enough = weekly.filter(pl.col("week_visitors") >= ENOUGH)
    return enough if enough.height else weekly


def version_label() -> pl.Expr:
    """Return name and version; a version that browsers give for all later ones, too, ends in "+"."""
    is_frozen = pl.col("version") == pl.col("name").replace_strict(FROZEN, default=None, return_dtype=pl.String)
    end = pl.when(is_frozen).then(pl.lit("+")).otherwise(pl.lit(""))
    return pl.format("{} {}{}", "name", "version", end)


def path_title(rows: pl.DataFrame) -> str:
    """Return the name of the web application and the path that rows are of; empty if they are of several."""
    named = rows.select("web_application", "goal").unique().drop_nulls("web_application").rows()
    return " · ".join(name for name in named[0] if name) if len(named) == 1 else ""


def source_name(lang: str) -> pl.Expr:
    """The label of the source delivery; our own words for the others and for an unknown source."""
    nowhere, others = pl.lit(say(NO_SOURCE, lang)), pl.lit(say(OTHERS, lang))
    return pl.when(pl.col("rank").is_null()).then(others).otherwise(pl.coalesce("source", nowhere))
