"""Text to values, whole columns at a time: each function takes and returns a polars expression, null for no value.

A text that is not empty but gives null is a wrong value.
"""

import re
import unicodedata
import zoneinfo
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from typing import Any

import polars as pl
from polars.expr.struct import ExprStructNameSpace as Parts

from trackkit.errors import RequestError, did_you_mean
from trackkit.sources.dates import as_iso

# Patterns that all rows pass are anchored and without groups: these run at memory speed.
_MISSING = r"^\s*(?:NULL|null|\\N)?\s*$"
_NOTHING = r"^\s*(?:0*(?:\.0)?|NULL|null|\\N)\s*$"
# 10.000 could be ten thousand: not a number; 0.000 and 1234.000 could not.
_WHOLE = r"^[+-]?(?:[0-9]{1,18}(?:\.(?:0{1,2}|0{4,}))?|(?:0|[0-9]{4,18})\.000)$"
_NUMBER = r"^[+-]?[0-9]{1,15}(?:\.[0-9]*)?(?:[eE][+-]?[0-9]{1,2})?$"
_ROUNDED = r"^\s*[+-]?[0-9]+(?:[.,][0-9]*)?[eE]\+?[0-9]{1,2}\s*$"
_ROUNDED_ID = r"(?:^|:)[0-9](?:[.,][0-9]+)?[eE]\+[0-9]{2}(?:$|:)"  # in senders' ids, which may be any text
ROUNDED = "a rounded number, as a spreadsheet writes a long one: its last digits may be lost; export the table again"
_DECIMAL_COMMA = r"^([+-]?[0-9]{1,15}),([0-9]{1,2}|[0-9]{4,15})$"  # 1,234 could be a thousand: not a number
# Unmistakable thousands: separated by blanks, several times, or with the other mark before decimals.
_GROUPED = (
    r"^[+-]?[0-9]{1,3}(?:(?:[ \x{a0}\x{202f}'][0-9]{3})+(?:[.,][0-9]+)?|(?:,[0-9]{3}){2,}(?:\.[0-9]+)?"
    r"|(?:\.[0-9]{3}){2,}(?:,[0-9]+)?|,[0-9]{3}\.[0-9]+|\.[0-9]{3},[0-9]+)$"
)
_BLANKS = r"[ \x{a0}\x{202f}']"
_ID = (
    r"^(?:0*[1-9][0-9]*|0*[1-9][0-9]{0,14}\.0|-[1-9][0-9]*"
    r"|[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12})$"
)
# The form of nearly all ids and numbers: only others are parsed further.
_PLAIN_ID, _PLAIN_WHOLE = r"^[1-9][0-9]*$", r"^[0-9]{1,18}$"
_TRUE = ("1", "1.0", "true", "yes", "t", "y", "sim", "s", "verdadeiro", "oui", "o", "vrai")
_FALSE = ("0", "0.0", "false", "no", "f", "n", "não", "nao", "falso", "non", "faux")
# Years 1 to 9998: others may overflow in some zone.
_YEAR = "(?:000[1-9]|00[1-9][0-9]|0[1-9][0-9]{2}|[1-8][0-9]{3}|9[0-8][0-9]{2}|99[0-8][0-9]|999[0-8])"
_EPOCH = r"^[0-9]{1,16}(?:\.[0-9]*)?$"
# Seconds since 1970, from 1990 to 2200: other numbers are days of a spreadsheet (45000.5) or dates (20250305).
_FIRST, _LAST = 631_152_000, 7_258_118_400
_LOG_INSTANT = rf"^{_YEAR}-[0-9]{{2}}-[0-9]{{2}}T[0-2][0-9]:[0-5][0-9]:[0-5][0-9](?:\.[0-9]*)?$"
_PLAIN_INSTANT = rf"^{_YEAR}-[0-9]{{2}}-[0-9]{{2}} [0-2][0-9]:[0-5][0-9]:[0-5][0-9](?:\.[0-9]+)?$"
_ZULU_INSTANT = _LOG_INSTANT.replace(r"(?:\.[0-9]*)?$", r"(?:\.[0-9]+)?Z$")
_INSTANT = (
    rf"^(?P<date>{_YEAR}-[0-9]{{2}}-[0-9]{{2}}|{_YEAR}/[0-9]{{2}}/[0-9]{{2}})"
    r"(?:[T ](?P<time>[0-9]{2}:[0-9]{2})(?P<second>:[0-5][0-9])?(?:[.,](?P<fraction>[0-9]+))?"
    r" ?(?:(?P<zulu>Z|UTC)|(?P<hours>[+-][0-9]{2}):?(?P<minutes>[0-9]{2})?)?)?$"
)
# The form of nearly all addresses: only others are parsed.
_PLAIN_ADDRESS = r"^[a-z0-9.!#$&*+/=^_`{|}~-]+@[a-z0-9.-]*[a-z0-9-]$"
_ADDRESS = r"^[^@\s]+@[^@\s]+\.[^@\s]+$"
_QUOTED, _SEVERAL = r'"[^"]*"', r"@[^,;]*[,;](?s:.)*@"
_ANGLED = r"(?s)^.*<([^<>]*@[^<>]*)(?:>[^<>@]*)?$"
_COMMENT, _SCHEME, _ASKED = r"\s*\([^()]*\)\s*$", r"(?i)^\s*(?:mailto:(?://)?|smtp:|rfc822;)\s*", r"(@[^@?]*)\?(?s:.)*$"
# Blanks, controls and invisible characters.
_UNSEEN = (
    *((0, 0x20), (0x7F, 0xA0), (0xAD, 0xAD), (0x1680, 0x1680), (0x2000, 0x200F), (0x2028, 0x202F), (0x205F, 0x2064)),
    *((0x3000, 0x3000), (0xFEFF, 0xFEFF)),
)
_AROUND = "".join(chr(code) for first, last in _UNSEEN for code in range(first, last + 1))
NAMES = ("delivery_id",)  # reports are requested by these
CONTROLS = r"[\x00-\x08\x0a-\x1f\x7f-\x{9f}]"  # all but the tab
_NUMBER_FIRST = re.compile(r"\s*(\d{1,5})\s*[-–—:.)=]\s*(\D.*)", re.DOTALL)
_NUMBER_LAST = re.compile(r"(.*\D)\s*[(\[]\s*(\d{1,5})\s*[)\]]\s*", re.DOTALL)
PERCENT = {f"%{code:02X}": chr(code) for code in range(0x20, 0x7F)} | {"+": " "}


@dataclass(frozen=True)
class Clock:
    """The zone of instants without an offset; in a gap or an overlap, the earlier offset applies."""

    zone: str = "UTC"

    def __post_init__(self) -> None:
        try:
            zoneinfo.ZoneInfo(self.zone)
        except (ValueError, OSError, zoneinfo.ZoneInfoNotFoundError):
            suggestion = did_you_mean(self.zone, zoneinfo.available_timezones() if len(self.zone) < 64 else ())
            advice = suggestion if "Did you mean" in suggestion else " Name one as 'Europe/Paris'."
            raise RequestError(f"{self.zone!r} is no time zone.{advice}") from None

    def to_utc(self, local: pl.Expr) -> pl.Expr:
        """Return naive local instants as UTC."""
        if self.zone == "UTC":
            return local.dt.replace_time_zone("UTC")
        day = pl.duration(hours=25)  # more than the widest gap (a day, in Samoa), to get the offset before the change
        plain = local.dt.replace_time_zone(self.zone, ambiguous="earliest", non_existent="null")
        skipped = (local - day).dt.replace_time_zone(self.zone, ambiguous="earliest", non_existent="null") + day
        return pl.coalesce(plain, skipped).dt.convert_time_zone("UTC")

    def oddity(self, local: pl.Expr) -> pl.Expr:
        """Return 1 for an instant that the clocks showed twice, 2 for one that they skipped, else null."""
        if self.zone == "UTC":
            return pl.lit(None, pl.Int8)
        early, late = (
            local.dt.replace_time_zone(self.zone, ambiguous=which, non_existent="null")
            for which in ("earliest", "latest")
        )
        skipped = early.is_null() & local.is_not_null()
        return pl.when(skipped).then(2).when(early != late).then(1).otherwise(None).cast(pl.Int8)

    def notes(self, instants: int, twice: int, skipped: int) -> list[str]:
        """Return the assumptions about so many instants without an offset, some of them at a clock change."""
        notes = [f"instants carry no offset and were read as {self.zone}"] if instants else []
        if twice:
            notes.append(f"{twice:,} instants that the clocks of {self.zone} showed twice were read as the earlier one")
        if skipped:
            notes.append(f"{skipped:,} instants that the clocks of {self.zone} skipped were moved on by the gap")
        return notes


def is_missing(text: pl.Expr) -> pl.Expr:
    """Whether text is a null of an export."""
    return text.str.contains(_MISSING)


def is_nothing(text: pl.Expr) -> pl.Expr:
    """Whether text is no key: missing, or zeros."""
    return text.str.contains(_NOTHING)


def is_rounded(text: pl.Expr) -> pl.Expr:
    """Whether text is a long number as shortened by a spreadsheet: `1.02E+08`."""
    return text.str.contains(_ROUNDED)


def has_rounded_id(text: pl.Expr) -> pl.Expr:
    """Whether an id, or a part of it, is a long number as shortened by a spreadsheet."""
    few = pl.when(text.str.contains_any(["E+", "e+"])).then(text)
    return few.str.contains(_ROUNDED_ID).fill_null(False)


def hexadecimal(text: pl.Expr) -> pl.Expr:
    """Return hexadecimal text as an unsigned 64-bit integer; null when empty, not hexadecimal or larger."""
    return text.str.to_integer(base=16, dtype=pl.UInt64, strict=False)


def reference(text: pl.Expr) -> pl.Expr:
    """Return an id as text: decimal without leading zeros, or a UUID in lower case; null for 0, the platform's null.

    Never through a float: `12.0`, common in columns with gaps, is read only if it must be exact.
    """
    is_plain = text.str.contains(_PLAIN_ID)
    trimmed = pl.when(~is_plain).then(text).str.strip_chars()
    plain = trimmed.str.strip_suffix(".0").str.to_lowercase().str.replace("^0+([0-9]*)$", "$1")
    return pl.when(is_plain).then(text).otherwise(pl.when(trimmed.str.contains(_ID)).then(plain))


def whole(text: pl.Expr) -> pl.Expr:
    """Return a whole number, or null."""
    is_plain = text.str.contains(_PLAIN_WHOLE)
    trimmed = pl.when(~is_plain).then(text).str.strip_chars()
    trimmed = _ungrouped(trimmed)
    digits = pl.when(trimmed.str.contains(_WHOLE)).then(trimmed.str.replace(r"\.0+$", ""))
    return pl.when(is_plain).then(text).otherwise(digits).cast(pl.Int64, strict=False)


def number(text: pl.Expr) -> pl.Expr:
    """Return a decimal number with point or comma; null if it is none, or ambiguous."""
    plain = _ungrouped(text.str.strip_chars()).str.replace(_DECIMAL_COMMA, "$1.$2")
    return pl.when(plain.str.contains(_NUMBER)).then(plain).cast(pl.Float64, strict=False)


def _ungrouped(text: pl.Expr) -> pl.Expr:
    """Return a number without its unmistakable thousands separators."""
    grouped = pl.when(text.str.contains(_GROUPED)).then(text)  # others cost nothing
    bare = grouped.str.replace_all(_BLANKS, "")
    points, commas = bare.str.count_matches(".", literal=True), bare.str.count_matches(",", literal=True)
    # The last mark is the decimal one if it occurs once; otherwise it separates thousands too.
    last_is_comma = bare.str.contains(r",[0-9]+$")
    with_point = bare.str.replace_all(",", "", literal=True)
    with_comma = bare.str.replace_all(".", "", literal=True).str.replace(",", ".", literal=True)
    without_points = pl.when(points > 1).then(bare.str.replace_all(".", "", literal=True)).otherwise(with_point)
    number = pl.when(last_is_comma & (commas == 1)).then(with_comma).otherwise(without_points)
    return pl.coalesce(number, text)


def address(text: pl.Expr) -> pl.Expr:
    """Return a normalised e-mail address, bare and in lower case, so that each person has one.

    Removed are a name beside it, angle brackets, outer quotes, a comment, `mailto:`, blanks and a final dot. Other
    texts are only lowercased; a text of several addresses is null. Domains are not changed.

    >>> pl.select(address(pl.lit('"Lee, Ann" <Ann@Post.example>'))).item()
    'ann@post.example'
    """
    is_plain = text.str.contains(_PLAIN_ADDRESS)
    stripped = pl.when(~is_plain).then(text).str.strip_chars(_AROUND)
    coded = pl.when(~stripped.str.contains("@", literal=True)).then(stripped).str.replace_all("%40", "@", literal=True)
    decoded = pl.coalesce(coded, stripped).str.replace(_COMMENT, "")
    bare = pl.coalesce(decoded.str.extract(_ANGLED), decoded).str.replace(_SCHEME, "").str.replace(_ASKED, "$1")
    bare = pl.coalesce(bare.str.extract(r"""^\s*["'`](.+)["'`]\s*$"""), bare)
    bare = bare.str.strip_chars(_AROUND).str.strip_chars_end(".").str.to_lowercase()
    is_single = ~decoded.str.replace_all(_QUOTED, "").str.contains(_SEVERAL)
    return pl.when(is_plain).then(text).otherwise(pl.when(is_single & (bare != "")).then(bare))


def person_key(text: pl.Expr) -> pl.Expr:
    """Return the id of a recipient, normalised (`address`) if it is an address."""
    normalised = address(pl.when(text.str.contains("@", literal=True)).then(text))
    return pl.when(normalised.str.contains(_ADDRESS)).then(normalised).otherwise(text)


def plain_address(text: str) -> str:
    """Return one address normalised by `address`, empty for null.

    >>> plain_address(" <mailto:Ann@Post.example> ")
    'ann@post.example'
    """
    return pl.select(address(pl.lit(text))).item() or ""


def no_name(column: str, text: pl.Expr) -> pl.Expr:
    """Return why a text cannot be a name by which a report is requested, or null."""
    reason = f"the {column} holds a control character, and no report could be asked for by it"
    return pl.when(text.str.contains(CONTROLS)).then(pl.lit(reason))


def flag(text: pl.Expr) -> pl.Expr:
    """Return 0/1, true/false, yes/no as a Boolean, in English, Portuguese or French."""
    word = text.str.strip_chars().str.to_lowercase()
    return pl.when(word.is_in(_TRUE)).then(True).when(word.is_in(_FALSE)).then(False)


def named(value: pl.Expr, names: Mapping[Any, Any]) -> pl.Expr:
    """Return the names of a few values, null for others (`replace_strict` would load the whole file)."""
    choices = [pl.when(value == key).then(pl.lit(name)) for key, name in names.items()]
    return pl.coalesce(choices)


@lru_cache(maxsize=4096)
def folded(word: str) -> str:
    """Return a word folded for comparison: letters and digits without accents, in lower case.

    >>> folded("E-mail click"), folded("Endereço não especificado")
    ('emailclick', 'endereconaoespecificado')
    """
    plain = unicodedata.normalize("NFKD", word).casefold()
    return "".join(letter for letter in plain if letter.isalnum())


def coded(spellings: Mapping[int, Iterable[str]]) -> dict[str, int]:
    """Return the code of each folded spelling; ValueError if one has two codes."""
    codes: dict[str, int] = {}
    for code, words in spellings.items():
        for word in map(folded, words):
            if codes.setdefault(word, code) != code:
                raise ValueError(f"{word!r} is code {codes[word]} and {code}")
    return codes


def code_of(text: str, codes: Mapping[str, int]) -> int | None:
    """Return the code of a word, also with its number before or after it; None if neither is known.

    >>> [code_of(text, {"sent": 1}) for text in ("Sent", "1 - Sent", "sênt (1)", "9 - Lost")]
    [1, 1, 1, None]
    """
    if (code := codes.get(folded(text))) is not None:
        return code
    if match := _NUMBER_FIRST.fullmatch(text):
        number, word = match.groups()
    elif match := _NUMBER_LAST.fullmatch(text):
        word, number = match.groups()
    else:
        return None
    return int(number) if int(number) in codes.values() else codes.get(folded(word))


def code(text: pl.Expr, words: Mapping[str, int]) -> pl.Expr:
    """Return a code from a number, a word for it (from `coded`), or both; else null.

    Words are few: each is looked up once in a batch of rows.
    """
    value = whole(text).cast(pl.Int16, strict=False)
    if not words:
        return value
    unparsed = pl.when(~text.str.contains(_PLAIN_WHOLE)).then(text)
    spelled = unparsed.map_batches(lambda texts: _looked_up(texts, words), pl.Int16(), is_elementwise=True)
    return pl.coalesce(value, spelled)


def _looked_up(texts: pl.Series, words: Mapping[str, int]) -> pl.Series:
    codes = {text: code_of(text, words) for text in texts.unique().drop_nulls()}
    return texts.replace_strict(codes, default=None, return_dtype=pl.Int16)


def log_instant(text: pl.Expr) -> pl.Expr:
    """Return the naive instant of a redirection-log line, truncated to microseconds; null if it does not exist."""
    return _real(pl.when(text.str.contains(_LOG_INSTANT)).then(text.str.strip_suffix(".")), "T")


def epoch(text: pl.Expr) -> pl.Expr:
    """Return the instant of seconds, milliseconds or microseconds since 1970, distinguished by size.

    Null for other texts and outside 1990 to 2200. Never through a float: `1534108637.153125` keeps its microseconds;
    finer digits are cut off.
    """
    number = pl.when(text.str.contains(_EPOCH)).then(text)
    parts = number.str.splitn(".", 2).struct
    whole = parts.field("field_0").cast(pl.Int64, strict=False)
    fraction = (parts.field("field_1").fill_null("") + "000000").str.head(6).cast(pl.Int64, strict=False)
    of_seconds, of_thousandths = whole * 1_000_000 + fraction, whole * 1_000 + fraction // 1_000
    since = pl.when(whole >= 10**14).then(whole).when(whole >= 10**11).then(of_thousandths).otherwise(of_seconds)
    since = pl.when(since.is_between(_FIRST * 1_000_000, _LAST * 1_000_000)).then(since)
    return since.cast(pl.Datetime("us")).dt.replace_time_zone("UTC")


def with_instants(
    rows: pl.LazyFrame, texts: Mapping[str, str], orders: Mapping[str, str] | None = None
) -> pl.LazyFrame:
    """Add, for each name and column of date-times, the naive instant under the name and `<name> offset`, in minutes.

    Read are `YYYY-MM-DD` or `YYYY/MM/DD`, alone or with `hh:mm`, `hh:mm:ss`, a fraction, and `Z` or an offset (else
    null). `orders` gives the order (`dates`) of other dates, by name. Other texts give null. In steps, since polars
    would evaluate every use again.
    """
    orders = orders or {}
    plain = {name: _plain(pl.col(text)) for name, text in texts.items()}
    rows = rows.with_columns(**plain)
    unread = {name: pl.when(pl.col(name).is_null()).then(pl.col(text)) for name, text in texts.items()}
    iso = {name: as_iso(text, orders[name]) if name in orders else text for name, text in unread.items()}
    parts = {f"{name} parts": text.str.strip_chars().str.extract_groups(_INSTANT) for name, text in iso.items()}
    rows = rows.with_columns(**parts)
    instants = {name: pl.coalesce(name, _local(pl.col(f"{name} parts").struct)) for name in texts}
    is_zulu = {name: pl.col(name).is_not_null() & pl.col(text).str.ends_with("Z") for name, text in texts.items()}
    offsets = {
        f"{name} offset": pl.when(zulu).then(0).otherwise(_offset(pl.col(f"{name} parts").struct))
        for name, zulu in is_zulu.items()
    }
    return rows.with_columns(**instants, **offsets).drop(parts)


def _plain(text: pl.Expr) -> pl.Expr:
    """Return instants in one of the two common forms, which need no parsing into parts."""
    zulu = _where(text, _ZULU_INSTANT).str.strip_suffix("Z")
    return pl.coalesce(_real(_where(text, _PLAIN_INSTANT), " "), _real(zulu, "T"))


def _where(text: pl.Expr, pattern: str) -> pl.Expr:
    return pl.when(text.str.contains(pattern)).then(text)


def _local(part: Parts) -> pl.Expr:
    date, time = part.field("date").str.replace_all("/", "-"), part.field("time").fill_null("00:00")
    second, fraction = part.field("second").fill_null(":00"), part.field("fraction").fill_null("0")
    return _real(pl.concat_str(date, pl.lit(" "), time, second, pl.lit("."), fraction), " ")


def _offset(part: Parts) -> pl.Expr:
    hours, minutes = part.field("hours").cast(pl.Int32, strict=False), part.field("minutes").fill_null("00")
    size = hours.abs() * 60 + minutes.cast(pl.Int32, strict=False)
    signed = pl.when(part.field("hours").str.starts_with("-")).then(-size).otherwise(size)
    return pl.when(part.field("zulu").is_not_null()).then(0).otherwise(signed)


def _real(text: pl.Expr, between: str) -> pl.Expr:
    """Return the instant, if it exists; the fraction is read apart, which is far faster."""
    second = text.str.head(19).str.to_datetime(f"%Y-%m-%d{between}%H:%M:%S", time_unit="us", strict=False)
    fraction = text.str.slice(20, 6).str.pad_end(6, "0").cast(pl.Int64)
    return (second.cast(pl.Int64) + fraction).cast(pl.Datetime("us"))


def extra_parameters(text: pl.Expr) -> dict[str, pl.Expr]:
    """Return `tagid`, `amount`, `article` and `currency` of a hit's parameters, as text, by complete name=value pairs.

    The platform truncates the field at 64 characters by default, so the last pair of so long a field is left out.
    """
    whole_pairs = pl.when(text.str.len_chars() >= 64).then(text.str.replace(r"(?:^|&)[^&]*$", "")).otherwise(text)
    names = ("tagid", "amount", "article", "currency")
    parameters = {name: whole_pairs.str.extract(rf"(?:^|&){name}=([^&]+)(?:&|$)") for name in names}
    tag = parameters["tagid"].str.replace_many(list(PERCENT), list(PERCENT.values()), ascii_case_insensitive=True)
    return parameters | {"tagid": tag}


def digest(*columns: str) -> pl.Expr:
    """Return a hash (128 bits, in hexadecimal) of columns, stable across machines; null and empty differ."""
    parts = [pl.col(column).cast(pl.String) for column in columns]
    # The lengths come first, so that different lists of values never give the same text.
    lengths = [part.str.len_bytes().cast(pl.String).fill_null("-") for part in parts]
    text = pl.concat_str(*lengths, pl.lit(":"), *(part.fill_null("") for part in parts), separator=" ")
    return text.map_batches(_hashed, return_dtype=pl.String, is_elementwise=True)


def _hashed(texts: pl.Series) -> pl.Series:
    hashes = [text and sha256(text.encode()).hexdigest()[:32] for text in texts.to_list()]
    return pl.Series(texts.name, hashes, dtype=pl.String)
