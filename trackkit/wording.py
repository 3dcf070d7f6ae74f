"""Numbers and log text as they are shown: by locale, escaped, shortened, nothing that misleads or identifies."""

import re
from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from babel.numbers import format_decimal, format_percent
from markupsafe import Markup

from trackkit.metrics import CURRENCY, METRICS, RATIO

NOT_AVAILABLE = "n/a"
LONGEST_TITLE = 600
# Rates that are so small that two decimals would show nothing (spec, 2.0).
DECIMALS = {"complaint_rate": 3}
# Letters that move, reverse or hide the text around them: controls, zero-width, bidirectional overrides.
_UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufff9-\uffff]"
)
_ADDRESS = re.compile(r"([A-Za-z0-9])[A-Za-z0-9._+%-]{0,63}(@|%40)(?=[A-Za-z0-9-]+\.[A-Za-z])")


def number(value: float | None, decimals: int = 0, lang: str = "en") -> str:
    """Return a number as a locale writes it, or `n/a`.

    >>> number(1234567), number(1234.5, 2), number(None)
    ('1,234,567', '1,234.50', 'n/a')
    """
    if value is None:
        return NOT_AVAILABLE
    return format_decimal(value, format="#,##0" + ("." + "0" * decimals if decimals else ""), locale=lang)


def percent(value: float | None, decimals: int = 2, lang: str = "en") -> str:
    """Return a fraction as a percentage, never cut at 100.

    >>> percent(0.1296), percent(3.75), percent(None)
    ('12.96%', '375.00%', 'n/a')
    """
    return NOT_AVAILABLE if value is None else format_percent(value, format=f"#,##0.{'0' * decimals}%", locale=lang)


def figure(name: str, value: float | None, lang: str = "en") -> str:
    """Return the value of a metric in its unit: a rate in percent, money with two decimals, a count whole.

    >>> figure("open_rate", 0.75), figure("transaction_amount", 154.0), figure("unique_opens", 3)
    ('75.00%', '154.00', '3')
    """
    metric = METRICS[name]
    if metric.unit == RATIO:
        return percent(value, DECIMALS.get(name, 2), lang)
    return number(value, 2 if metric.unit == CURRENCY or metric.denominator else 0, lang)


def plain(value: Any) -> str:
    """Return log text without unseen or direction-changing letters and without mail addresses.

    >>> plain("a\\u202eb\\x00"), plain("to john.doe@mail.example?")
    ('a\ufffdb\ufffd', 'to j***@mail.example?')
    """
    return _ADDRESS.sub(r"\1***\2", _UNSEEN.sub("\ufffd", str(value)))


def short(value: Any, longest: int = 80) -> Markup:
    """Return log text as safe HTML, shortened in its middle; the whole shows on hover.

    >>> short("<b>")
    Markup('&lt;b&gt;')
    >>> short("a" * 90, 9)
    Markup('<span title="aaaa...">aaaaaa…aa</span>')
    """
    if value is None:
        return Markup('<span class="tk-na">unknown</span>')
    words = plain(value)
    if len(words) <= longest:
        return Markup.escape(words)
    head = longest * 3 // 4
    cut = f"{words[:head]}…{words[head + 1 - longest :]}"
    return Markup('<span title="{}">{}</span>').format(words[:LONGEST_TITLE], cut)


def instant(value: datetime | date | None, timezone: str = "UTC", seconds: bool = False) -> str:
    """Return an instant by the clock of a zone, or a date; empty when unknown.

    >>> from datetime import UTC
    >>> instant(datetime(2026, 11, 23, 14, 5, tzinfo=UTC), "Europe/Paris")
    '2026-11-23 15:05'
    """
    if value is None:
        return ""
    if not isinstance(value, datetime):
        return value.isoformat()
    shown = value.astimezone(ZoneInfo(timezone)) if value.tzinfo else value
    return shown.strftime("%Y-%m-%d %H:%M:%S" if seconds else "%Y-%m-%d %H:%M")


def elapsed(value: timedelta) -> str:
    """Return a duration in its two largest units.

    >>> elapsed(timedelta(minutes=70)), elapsed(timedelta(days=2, hours=3))
    ('1 h 10 min', '2 d 3 h')
    """
    minutes = int(value.total_seconds() // 60)
    parts = [(minutes // 1440, "d"), (minutes // 60 % 24, "h"), (minutes % 60, "min")]
    shown = [f"{count} {unit}" for count, unit in parts if count][:2]
    return " ".join(shown) or "0 min"
