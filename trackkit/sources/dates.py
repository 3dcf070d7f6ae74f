"""Dates as people and their programs write them: day first, month first, by name, or in a form that the caller gives.

An order is requested, declared by a map, or detected if a column is unambiguous: 25/03/2025 has its day first.
Ambiguous dates are never guessed.
"""

import re
from datetime import UTC, datetime

import polars as pl

from trackkit.errors import RequestError

DAY_FIRST, MONTH_FIRST, YEAR_FIRST = "day-first", "month-first", "year-first"
ASKED = f"'{DAY_FIRST}', '{MONTH_FIRST}', or a form as '%d/%m/%Y %H:%M'"
AMBIGUOUS = (
    "written in another way than 2025-03-25 08:00:00, and day and month cannot be told apart; "
    "--dates day-first or --dates month-first says which comes first"
)
# English and Portuguese, by their first three letters.
_NAMES = "jan|feb fev|mar|apr abr|may mai|jun|jul|aug ago|sep set|oct out|nov|dec dez"
_MONTHS = {name: month for month, names in enumerate(_NAMES.split("|"), 1) for name in names.split()}
_DAY, _NAME = "[0-9]{1,2}", r"(?P<name>[A-Za-zç]{3,9})"
_TIME = (
    r"(?:,? ?(?:T| |at|às)+(?P<hour>[0-9]{1,2})[:h](?P<minute>[0-9]{2})(?::(?P<second>[0-9]{2})"
    r"(?:[.,](?P<fraction>[0-9]+))?)?[ \x{a0}\x{202f}]?(?:(?P<half>[AaPp])\.?[Mm]\.?)?)?"
    r"(?P<zone> ?(?:Z|UTC|GMT|[+-][0-9]{2}:?[0-9]{2}))?\s*$"
)
_NUMBERS = rf"^\s*(?P<one>{_DAY})(?P<mark>[/.-])(?P<two>{_DAY})[/.-](?P<year>[0-9]{{4}}|[0-9]{{2}})" + _TIME
_YEAR_FIRST = rf"^\s*(?P<year>[0-9]{{4}})[/.-](?P<two>{_DAY})[/.-](?P<one>{_DAY})" + _TIME
_DAY_NAMED = rf"^\s*(?P<one>{_DAY})(?:[/. -]| de )*{_NAME}\.?(?:[/., -]| de )+(?P<year>[0-9]{{4}})" + _TIME
_MONTH_NAMED = rf"^\s*{_NAME}\.? (?P<one>{_DAY}),? (?P<year>[0-9]{{4}})" + _TIME
_WHOLE_YEAR = rf"^\s*{_DAY}[/.-]{_DAY}[/.-][0-9]{{4}}(?:[^0-9]|$)"
_ISO = (
    r"^\s*[0-9]{4}[/-][0-9]{2}[/-][0-9]{2}(?:[T ][0-9]{2}:[0-9]{2}(?::[0-9]{2})?(?:[.,][0-9]+)?"
    r" ?(?:Z|UTC|[+-][0-9]{2}(?::?[0-9]{2})?)?)?\s*$"
)
_CLEAR = re.sub(r"\?P<\w+>", "?:", f"(?:{_YEAR_FIRST})|(?:{_DAY_NAMED})|(?:{_MONTH_NAMED})")


def require_dates(asked: str | None) -> None:
    """Refuse what does not say how dates are written.

    >>> require_dates("day-first")
    >>> require_dates("european")
    Traceback (most recent call last):
    trackkit.errors.RequestError: Dates are not written 'european'; say 'day-first', 'month-first', or a form as \
'%d/%m/%Y %H:%M'.
    """
    if asked is None or asked in (DAY_FIRST, MONTH_FIRST, YEAR_FIRST) or _is_form(asked):
        return
    raise RequestError(f"Dates are not written {asked!r}; say {ASKED}.")


def _is_form(asked: str) -> bool:
    try:
        shown = datetime(2025, 3, 25, 8, 9, 10, tzinfo=UTC).strftime(asked)
        read = pl.Series([shown]).str.to_datetime(asked, time_unit="us", strict=False)
    except (pl.exceptions.PolarsError, ValueError):
        return False
    return "%" in asked and read.null_count() == 0


def is_ambiguous(text: pl.Expr) -> pl.Expr:
    """Whether text is a date of two numbers and a year, which alone does not show the day."""
    return text.str.contains(_NUMBERS)


def is_not_iso(text: pl.Expr) -> pl.Expr:
    """Whether text may be a date in another form than ISO."""
    return text.str.contains(_NUMBERS) | (text.str.contains(_CLEAR) & ~text.str.contains(_ISO))


def as_iso(text: pl.Expr, order: str) -> pl.Expr:
    """Return dates of an order, or of a form, as ISO text; other text as it stands."""
    if "%" in order:
        return pl.coalesce(_by_form(text, order), text)
    first, second = ("two", "one") if order == MONTH_FIRST else ("one", "two")
    numbers = [] if order == YEAR_FIRST else [_iso(text, _NUMBERS, first, second)]
    named = [_iso(text, pattern, "one", "name") for pattern in (_DAY_NAMED, _MONTH_NAMED)]
    return pl.coalesce(*numbers, _iso(text, _YEAR_FIRST, "one", "two"), *named, text)


def order_of(dates: pl.LazyFrame, column: str) -> str | None:
    """Return the order of the dates in a column, ignoring ISO ones; None if all are ISO or if in doubt.

    Unambiguous are a number above 12, which can only be a day, points (`05.03.2025`, which no one writes month first),
    a month's name, and a year that comes first.
    """
    text = pl.col(column)
    part = text.str.extract_groups(_NUMBERS).struct
    one, two = (part.field(name).cast(pl.Int32, strict=False) for name in ("one", "two"))
    is_whole = text.str.contains(_WHOLE_YEAR)
    counts = dates.select(
        numbers=part.field("year").count(),
        whole=(is_whole & part.field("year").is_not_null()).sum(),
        one=one.max(),
        two=two.max(),
        points=(part.field("mark") == ".").sum(),
        clear=(text.str.contains(_CLEAR) & ~text.str.contains(_ISO)).sum(),
    )
    totals = counts.collect(engine="streaming").row(0, named=True)
    if not totals["numbers"]:
        return YEAR_FIRST if totals["clear"] else None
    if totals["whole"] < totals["numbers"]:  # years of two digits: which of three numbers is which?
        return None
    if (totals["one"] > 12) != (totals["two"] > 12):
        return DAY_FIRST if totals["one"] > 12 else MONTH_FIRST
    return DAY_FIRST if totals["points"] == totals["numbers"] and totals["one"] <= 12 else None


def note(what: str, order: str) -> str:
    """Return how dates were read, for the load report."""
    how = {
        DAY_FIRST: "with the day first, as 25/03/2025",
        MONTH_FIRST: "with the month first, as 03/25/2025",
        YEAR_FIRST: "as they stand: the year first, or the month by its name",
    }
    return f"dates of {what} were read {how.get(order, f'as {order}')}"


def _by_form(text: pl.Expr, form: str) -> pl.Expr:
    has_zone = "%z" in form
    zone = "Z" if has_zone else ""
    instant = text.str.strip_chars().str.to_datetime(
        form, time_unit="us", time_zone="UTC" if has_zone else None, strict=False
    )
    # %Y also matches years of two digits: those are refused.
    return pl.when(instant.dt.year() >= 1000).then(instant.dt.strftime(f"%Y-%m-%d %H:%M:%S%.6f{zone}"))


def _iso(text: pl.Expr, pattern: str, day: str, month: str) -> pl.Expr:
    part = text.str.extract_groups(pattern).struct
    year = part.field("year")
    year = pl.when(year.str.len_chars() == 2).then(pl.lit("20") + year).otherwise(year)
    number = part.field(month)
    if month == "name":
        letters = number.str.to_lowercase().str.head(3)
        number = letters.replace_strict(_MONTHS, default=None, return_dtype=pl.Int32).cast(pl.String)
    hour = part.field("hour").cast(pl.Int32, strict=False).fill_null(0)
    half = part.field("half").str.to_lowercase()
    is_real = half.is_null() | hour.is_between(1, 12)
    hour = pl.when(half.is_null()).then(hour).otherwise(hour % 12 + pl.when(half == "p").then(12).otherwise(0))
    date = pl.concat_str(year, number.str.zfill(2), part.field(day).str.zfill(2), separator="-")
    minute, second = (part.field(name).fill_null("00") for name in ("minute", "second"))
    time = pl.concat_str(hour.cast(pl.String).str.zfill(2), minute, second, separator=":")
    fraction = part.field("fraction").fill_null("0")
    zone = part.field("zone").str.strip_chars().str.replace("GMT", "UTC").fill_null("")
    return pl.when(is_real).then(pl.format("{} {}.{}{}", date, time, fraction, zone))
