"""Numbers, instants and log text as they are shown: by locale, shortened, free of misleading or personal parts."""

import math
import re
import unicodedata
from collections.abc import Callable
from datetime import date, datetime, timedelta
from decimal import ROUND_HALF_UP, localcontext
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

from babel import Locale
from babel.dates import format_datetime
from babel.numbers import format_decimal, format_percent
from markupsafe import Markup

from trackkit.clock import offset_if_twice
from trackkit.language import SOURCE, say, translatable
from trackkit.metrics import CURRENCY, METRICS, RATIO

NOT_AVAILABLE = translatable("n/a")
LONGEST_TITLE = 600
# Rates too small for fewer decimals (spec, 2.0).
DECIMALS = {"complaint_rate": 3}
MANY = 10_000  # what a rate divides by, from which on its second decimal means something
MOST_DECIMALS = 4
# Control characters, line ends and direction marks, which break the text or move and reverse what surrounds it.
_CONTROLS = "\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u206f\ufff9-\uffff"
# Text between these two marks is laid out by itself, in its own direction, without effect on its surroundings.
FENCE, FENCE_END = "\u2068", "\u2069"
_FENCED_OR_CONTROL = re.compile(f"({FENCE}[^{_CONTROLS}]*{FENCE_END})|[{_CONTROLS}]")
_FENCED = re.compile(f"{FENCE}[^{FENCE_END}]*{FENCE_END}")
# Invisible letters that join nothing: soft hyphen, zero-width space, word joiner and the like, byte-order mark.
_INVISIBLE = str.maketrans(dict.fromkeys("\u00ad\u200b\u2060\u2061\u2062\u2063\u2064\ufeff"))
_RIGHT_TO_LEFT = re.compile("[\u0590-\u08ff\u200f\ufb1d-\ufdff\ufe70-\ufefc\U00010800-\U00010fff\U0001e800-\U0001efff]")
_JOINER, _FLAGS = "\u200d", "".join(map(chr, range(0x1F1E6, 0x1F200)))  # two of these are a flag
_LONGEST_LETTER = 64  # code points in one visible letter: the longest emoji has fourteen
_ELAPSED = translatable(
    {
        ("days", "hours"): "{days} d {hours} h",
        ("days", "minutes"): "{days} d {minutes} min",
        ("hours", "minutes"): "{hours} h {minutes} min",
        ("days",): "{days} d",
        ("hours",): "{hours} h",
        ("minutes",): "{minutes} min",
        ("minutes", "seconds"): "{minutes} min {seconds} s",
        ("seconds",): "{seconds} s",
    }
)
_ADDRESS = re.compile(r"([A-Za-z0-9])[A-Za-z0-9._+%-]{0,63}(@|%(?:25)*40)(?=[A-Za-z0-9-]+\.[A-Za-z])")
# Parameters of a URL that identify its reader: by their name, or by a value that looks like a token.
_PARAMETER = re.compile(r"((?:[?&;#]|&amp;)([\w.$%\[\]-]{1,60})=)([^\s&#\"'<>]+)")
_IDENTIFYING_NAME = re.compile(
    r"(?i)e?-?mail|address|recipient|subscriber|contact|customer|member|person|user|lead|phone|token|secret|passw|"
    r"auth(?!or)|session|signature|hash|^(?:e|k|key|sig|sid|uid|cid|mid|rid|pid|jwt|code|otp|pin|ip|utm_id)$|(?:client|visitor)_?id"
)
_TOKEN = re.compile(r"(?=\S*\d)(?=\S*[A-Za-z])[\w.=%+/~-]{16,}")
_FRAGMENT = re.compile(r"((?:[?#&]))(?=[^\s=&]*\d)(?=[^\s=&]*[A-Za-z])([\w.%+/~-]{16,})(?=$|[\s&#])")
_BYTE = r"(?:25[0-5]|2[0-4]\d|1?\d?\d)"
_IPV4 = re.compile(rf"(?<![\w.])({_BYTE}([.-]){_BYTE}\2{_BYTE}\2){_BYTE}(?![\d-])(?!\.\d)")
_IPV6 = re.compile(r"(?<![\w:.])[0-9A-Fa-f]{0,4}(?::[0-9A-Fa-f]{0,4}){2,7}(?![\w:])")


def number(value: float | None, decimals: int = 0, lang: str = "en") -> str:
    """Return a number as a locale writes it, or `n/a`.

    >>> number(1234567), number(1234.5, 2), number(None), number(1234.5, 1, "pt_BR")
    ('1,234,567', '1,234.50', 'n/a', '1.234,5')
    """
    if value is None:
        return say(NOT_AVAILABLE, lang)
    return _half_up(format_decimal, value, "#,##0" + ("." + "0" * decimals if decimals else ""), lang)


def percent(
    value: float | None, decimals: int | None = None, lang: str = "en", of: float | None = None, least: int = 0
) -> str:
    """Return a fraction as a percentage, as a locale writes it, never cut at 100.

    Without `decimals` it has those of `decimals_of(value, of)`, and at least `least`.

    >>> percent(0.1296), percent(1 / 32), percent(3.75), percent(None)
    ('12.96%', '3.13%', '375.00%', 'n/a')
    >>> percent(0.1296, of=3206), percent(0.1296, of=20_000), percent(1 / 3206, of=3206)
    ('13.0%', '12.96%', '0.03%')
    """
    if value is None:
        return say(NOT_AVAILABLE, lang)
    places = max(least, decimals_of(value, of)) if decimals is None else decimals
    return _half_up(format_percent, value, _percent_form(places, lang), lang)


def decimals_of(value: float, of: float | None = None) -> int:
    """Return the decimals of a percentage: one where the denominator is below 10,000, else two.

    More, where it would read 0 % of something or 100 % of less than all.

    >>> decimals_of(0.5, of=800), decimals_of(0.5, of=20_000), decimals_of(0.5), decimals_of(1 / 3206, of=3206)
    (1, 2, 2, 2)
    >>> decimals_of(3205 / 3206, of=3206), decimals_of(0, of=20), decimals_of(1, of=20)
    (2, 1, 1)
    """
    least = 1 if of is not None and abs(of) < MANY else 2
    enough = (places for places in range(least, MOST_DECIMALS) if value in (0, 1) or not _is_rounded(value, places))
    return next(enough, MOST_DECIMALS)


def _is_rounded(value: float, places: int) -> bool:
    """Whether a percentage with so many decimals reads 0 or 100."""
    half = 0.5 / 10 ** (places + 2)
    return bool(abs(value) < half or abs(1 - value) <= half)


@lru_cache(maxsize=64)
def _percent_form(decimals: int, lang: str) -> str:
    """Return Babel's pattern of percentages with so many decimals.

    >>> _percent_form(2, "en"), _percent_form(1, "fr"), _percent_form(0, "tr")
    ('#,##0.00%', '#,##0.0\xa0%', '%#,##0')
    """
    digits = f"#,##0.{'0' * decimals}" if decimals else "#,##0"
    return digits.join(Locale.parse(lang).percent_formats[None].pattern.split("#,##0"))


def _half_up(write: Callable[..., str], value: float, form: str, lang: str) -> str:
    """Write a number, with halves of its shortest decimal form rounded up, as a reader would."""
    with localcontext(rounding=ROUND_HALF_UP):
        return write(value, format=form, locale=lang)


def figure(
    name: str, value: float | None, lang: str = "en", of: float | None = None, decimals: int | None = None
) -> str:
    """Return the value of a metric in its unit: a rate in percent, money with two decimals, a count whole.

    `of` is what the rate divides by. `decimals`, if given, are those of rates, amounts and averages.

    >>> figure("open_rate", 0.75), figure("transaction_amount", 154.0), figure("unique_opens", 3)
    ('75.00%', '154.00', '3')
    >>> figure("open_rate", 0.75, of=4), figure("complaint_rate", 0.0, of=4)
    ('75.0%', '0.000%')
    >>> figure("open_rate", 0.752, of=4, decimals=0), figure("sales_amount", 154.0, decimals=0)
    ('75%', '154')
    """
    metric = METRICS[name]
    if metric.unit == RATIO:
        return percent(value, decimals, lang, of, DECIMALS.get(name, 0))
    places = 2 if decimals is None else decimals
    return number(value, places if metric.unit == CURRENCY or metric.denominator else 0, lang)


def round_percent(value: float, lang: str = "en") -> str:
    """Return a fraction that somebody chose, as a limit, with as many decimals as it needs, three at most.

    >>> round_percent(0.02), round_percent(0.07), round_percent(0.995), round_percent(0.0015)
    ('2%', '7%', '99.5%', '0.15%')
    """
    return percent(value, next((n for n in range(3) if math.isclose(round(100 * value, n), 100 * value)), 3), lang)


def with_share(count: int, share: float, of: float | None, lang: str = "en") -> str:
    """Return a count and its share of a whole, as they stand beside bars.

    >>> with_share(4, 4 / 33, 33)
    '4 (12.1%)'
    """
    return f"{number(count, lang=lang)} ({percent(share, lang=lang, of=of)})"


def between(
    name: str, value: float, low: float, high: float, of: float, lang: str = "en", decimals: int | None = None
) -> str:
    """Return the bounds of a rate, with the decimals that the rate itself has.

    >>> between("open_rate", 0.3875, 0.3703, 0.40505, 3014), between("complaint_rate", 0.001, 0.00034, 0.0029, 3014)
    ('37.0–40.5%', '0.034–0.290%')
    """
    places = max(DECIMALS.get(name, 0), decimals_of(value, of)) if decimals is None else decimals
    return f"{number(100 * low, places, lang)}–{percent(high, places, lang)}"


@lru_cache(maxsize=32)
def chart_locale(lang: str) -> dict[str, Any]:
    """Return how charts write numbers and days in a language: Vega's `config.locale`.

    >>> chart_locale("pt_BR")["number"]["decimal"], chart_locale("pt_BR")["time"]["days"][0]
    (',', 'domingo')
    """
    words = Locale.parse(lang)
    marks = words.number_symbols["latn"]
    week = [6, 0, 1, 2, 3, 4, 5]  # Vega's weeks start on Sunday, Babel's days on Monday
    day = {width: [words.days["format"][width][place] for place in week] for width in ("wide", "abbreviated")}
    month = {width: list(words.months["format"][width].values()) for width in ("wide", "abbreviated")}
    return {
        "number": {
            "decimal": marks["decimal"],
            "thousands": marks["group"],
            "grouping": [3],
            "currency": ["", ""],
            "percent": words.percent_formats[None].suffix[0],
        },
        "time": {
            "dateTime": "%d/%m/%Y %H:%M",
            "date": "%d/%m/%Y",
            "time": "%H:%M",
            "periods": ["AM", "PM"],
            "days": day["wide"],
            "shortDays": [name.rstrip(".") for name in day["abbreviated"]],
            "months": month["wide"],
            "shortMonths": [name.rstrip(".") for name in month["abbreviated"]],
        },
    }


def plain(value: Any) -> str:
    """Return log text without control characters, open direction marks, or parts that identify a person.

    The latter are mail addresses, the ends of IP addresses, and values in URLs that are tokens by name or by look.
    Right-to-left text is fenced, so that it reads correctly in any sentence, table or chart.

    >>> plain("a\\u202eb\\x00"), plain("to john.doe@mail.example?")
    ('a\ufffdb\ufffd', 'to j***@mail.example?')
    >>> plain("https://shop.example/?id=7&token=Zx81"), plain("550 [192.0.2.77] refused")
    ('https://shop.example/?id=7&token=***', '550 [192.0.2.***] refused')
    """
    text = _ADDRESS.sub(r"\1***\2", _FENCED_OR_CONTROL.sub(_replaced_control, str(value)).translate(_INVISIBLE))
    if "=" in text or "#" in text or "?" in text:
        text = _FRAGMENT.sub(r"\1***", _PARAMETER.sub(_without_token, text))
    text = _IPV4.sub(r"\1***", text) if any(letter.isdigit() for letter in text) else text
    return fenced(_IPV6.sub(_without_end, text) if text.count(":") > 1 else text)


def _replaced_control(match: re.Match[str]) -> str:
    return match[1] or "\ufffd"


def fenced(text: str) -> str:
    """Fence text that has right-to-left letters, so that it is laid out by itself.

    >>> fenced("Sale!"), fenced("\u05d4!") == "\u2068\u05d4!\u2069", fenced(fenced("\u05d4!")) == fenced("\u05d4!")
    ('Sale!', True, True)
    """
    if text.isascii() or not _RIGHT_TO_LEFT.search(_FENCED.sub("", text)):
        return text
    return FENCE + _unfenced(text) + FENCE_END


def clipped(value: Any, longest: int) -> str:
    """Return log text as `plain` does, cut to a number of letters with an ellipsis, but not inside an emoji.

    >>> clipped("Zürich", 4), clipped("Zürich", 6)
    ('Zür…', 'Zürich')
    """
    text = plain(value)
    if len(text) <= longest:
        return text
    bare = _unfenced(text)
    return fenced(f"{bare[: _letter_boundary(bare, longest - 1)]}…")


def _unfenced(text: str) -> str:
    return text.replace(FENCE, "").replace(FENCE_END, "")


def _letter_boundary(text: str, at: int, step: int = -1) -> int:
    """The position nearest to `at`, in one direction, that cuts no visible letter (with accents, emoji, flags)."""
    position = at
    while 0 < position < len(text) and abs(position - at) < _LONGEST_LETTER and _is_inside_letter(text, position):
        position += step
    return position


def _is_inside_letter(text: str, at: int) -> bool:
    """Whether a position is inside what is read as one letter."""
    before, after = text[at - 1], text[at]
    if _JOINER in (before, after) or "\U0001f3fb" <= after <= "\U0001f3ff" or "\U000e0020" <= after <= "\U000e007f":
        return True
    flags = len(text[:at]) - len(text[:at].rstrip(_FLAGS)) if after in _FLAGS else 0
    return flags % 2 == 1 or unicodedata.category(after).startswith("M")


def _without_token(match: re.Match[str]) -> str:
    start, name, value = match.groups()
    is_token = "@" not in value and (_IDENTIFYING_NAME.search(name) or _TOKEN.fullmatch(value))
    return f"{start}***" if is_token else match[0]


def _without_end(match: re.Match[str]) -> str:
    parts = match[0].split(":")
    is_address = "::" in match[0] or len(parts) == 8
    return ":".join([*parts[:3], "***"]) if is_address and match[0] != "::" else match[0]


def short(value: Any, longest: int = 80, lang: str = "en") -> Markup:
    """Return log text as safe HTML, shortened in its middle; the full text shows on hover.

    >>> short("<b>")
    Markup('&lt;b&gt;')
    >>> short("a" * 90, 9)
    Markup('<span title="aaaa...">aaaaaa…aa</span>')
    """
    if value is None:
        return Markup('<span class="tk-na">{}</span>').format(say("unknown", lang))
    words = plain(value)
    if len(words) <= longest:
        return Markup.escape(words)
    bare, head = _unfenced(words), longest * 3 // 4
    tail = bare[_letter_boundary(bare, len(bare) + head + 1 - longest, step=1) :]
    cut = fenced(f"{bare[: _letter_boundary(bare, head)]}…{tail}")
    return Markup('<span title="{}">{}</span>').format(clipped(bare, LONGEST_TITLE), cut)


def instant(
    value: datetime | date | None, timezone: str = "UTC", seconds: bool = False, lang: str = "en", weekday: bool = False
) -> str:
    """Return an instant by the clock of a zone, or a date, as a language writes it; empty when unknown.

    The offset follows a time that is ambiguous in the zone, in the night when its clocks are put back.

    >>> from datetime import UTC
    >>> instant(datetime(2026, 11, 23, 14, 5, tzinfo=UTC), "Europe/Paris")
    '2026-11-23 15:05'
    >>> instant(datetime(2026, 11, 23, 14, 5), lang="pt_BR"), instant(date(2026, 11, 23), lang="pt_BR", weekday=True)
    ('23/11/2026 14:05', 'seg., 23/11/2026')
    >>> [instant(datetime(2026, 10, 25, hour, 30, tzinfo=UTC), "Europe/Paris") for hour in (0, 1, 2)]
    ['2026-10-25 02:30 +02:00', '2026-10-25 02:30 +01:00', '2026-10-25 03:30']
    """
    if value is None:
        return ""
    pattern = ("EEE, " if weekday else "") + _day_pattern(lang)
    if isinstance(value, datetime):
        value = value.astimezone(ZoneInfo(timezone)) if value.tzinfo else value
        offset = offset_if_twice(value) if value.tzinfo else ""
        pattern += " HH:mm:ss" if seconds else " HH:mm"
        return f"{_formatted(value.replace(tzinfo=None), pattern, lang)} {offset}".rstrip()
    return _formatted(datetime(value.year, value.month, value.day), pattern, lang)


def moment(value: datetime | None, timezone: str = "UTC", lang: str = "en") -> str:
    """Return an instant in words, with its weekday and the time zone whose clock it is by; empty when unknown.

    >>> from datetime import UTC
    >>> moment(datetime(2026, 10, 11, 15, tzinfo=UTC), "Europe/Paris")
    'Sunday 11 October 2026, 17:00 Europe/Paris'
    >>> moment(datetime(2026, 10, 11, 15, tzinfo=UTC), lang="pt_BR")
    'domingo, 11 de outubro de 2026, 15:00 UTC'
    """
    if value is None:
        return ""
    local = value.astimezone(ZoneInfo(timezone)) if value.tzinfo else value
    pattern = "EEEE d MMMM y" if lang == SOURCE else Locale.parse(lang).date_formats["full"].pattern
    offset = offset_if_twice(local) if local.tzinfo else ""
    return " ".join(filter(None, [_formatted(local.replace(tzinfo=None), f"{pattern}, HH:mm", lang), timezone, offset]))


@lru_cache(maxsize=4_096)
def _formatted(clock: datetime, pattern: str, lang: str) -> str:
    return format_datetime(clock, pattern, locale=lang)


@lru_cache(maxsize=32)
def _day_pattern(lang: str) -> str:
    """How a language writes a date in numbers; English uses ISO order, which Americans and Britons read alike."""
    pattern = "y-MM-dd" if lang == SOURCE else Locale.parse(lang).date_formats["short"].pattern
    return re.sub("y+", "y", pattern)


def elapsed(value: timedelta, lang: str = "en") -> str:
    """Return a duration in its two largest units.

    >>> elapsed(timedelta(minutes=70)), elapsed(timedelta(days=2, hours=3))
    ('1 h 10 min', '2 d 3 h')
    """
    minutes = int(value.total_seconds() // 60)
    parts = {"days": minutes // 1440, "hours": minutes // 60 % 24, "minutes": minutes % 60}
    units = [name for name, count in parts.items() if count][:2] or ["minutes"]
    return say(_ELAPSED[tuple(units)], lang, **{name: number(parts[name], lang=lang) for name in units})


def precisely(value: timedelta, lang: str = "en") -> str:
    """Return a duration as `elapsed` does, below an hour with its seconds: what is divided by it then comes out even.

    >>> precisely(timedelta(minutes=31, seconds=18)), precisely(timedelta(minutes=30)), precisely(timedelta(hours=2))
    ('31 min 18 s', '30 min', '2 h')
    """
    seconds = round(value.total_seconds())
    if seconds >= 3_600:
        return elapsed(timedelta(minutes=round(seconds / 60)), lang)
    parts = {"minutes": seconds // 60, "seconds": seconds % 60}
    units = [name for name, count in parts.items() if count] or ["minutes"]
    return say(_ELAPSED[tuple(units)], lang, **{name: number(parts[name], lang=lang) for name in units})
