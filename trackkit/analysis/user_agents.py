"""What tables of the audience share: the period, the hits, what a user agent is called, and the order of a ranking.

Figures are of one delivery, or of the whole platform where no delivery is given.
"""

from datetime import date, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

import polars as pl

from trackkit.engine.deliveries import Tables, counted_events, require_delivery, zone_of
from trackkit.engine.measure import quotient
from trackkit.engine.plausible import now, plausible
from trackkit.errors import RequestError, did_you_mean
from trackkit.schema import MAIL_PROXY

PERIOD_DAYS = 183  # six months, the period of the platform's reports
VERSIONS = {"browser": "browser_version", "operating_system": "operating_system_version", "device": None}
COMPUTERS = ("PC", "Mac")
NO_DEVICES = ("Spider",)  # what reads for people: neither a computer of theirs nor a mobile
ROWS = pl.Enum(["group", "others", "total"])
APPLE_MAIL = "Apple Mail"


class Period(NamedTuple):
    """The days that figures are about, both ends included; no day at all where nothing is dated."""

    first: date | None
    last: date | None

    @property
    def days(self) -> int:
        """How many days there are."""
        return (self.last - self.first).days + 1 if self.first and self.last else 0


def period(tables: Tables, delivery: str = "", days: int = PERIOD_DAYS, timezone: str = "") -> Period:
    """Return the days looked at: the last `days` calendar days up to the last hit that is believed, from the first on.

    0 days are all of them. Raises RequestError for an unknown delivery or zone, or days below 0.
    """
    if not (isinstance(days, int) and days >= 0):
        raise RequestError(f"A period is a whole number of days, 0 for all; got {days!r}.")
    zone, known = zone_of(tables, timezone), plausible(tables, "event", delivery)
    day = day_of(zone)
    dated = hits(tables, delivery).filter(known.holds())
    first, last = dated.select(day.min().alias("first"), day.max().alias("last")).collect().row(0)
    if last and known.last and (newest := now(tables, "event", delivery)):
        last = max(first, min(last, newest.astimezone(ZoneInfo(zone)).date()))
    if first is None or not days:
        return Period(first, last)
    return Period(max(first, last - timedelta(days=min(days, 100_000) - 1)), last)


def hits(tables: Tables, delivery: str) -> pl.LazyFrame:
    """Return the counted hits of a delivery, or without one of the platform; RequestError for an unknown delivery."""
    return counted_events(tables, require_delivery(tables, delivery) if delivery else "")


def named(rows: pl.LazyFrame, by: str) -> pl.LazyFrame:
    """Add `name` and `version`, what hits are grouped by, to hits; Apple Mail and mail proxies are told from browsers.

    The version of a mail proxy is its name.
    """
    if by not in VERSIONS:
        raise RequestError(f"There is no breakdown {by!r} of the audience.{did_you_mean(str(by), VERSIONS)}")
    version = pl.col(VERSIONS[by]) if VERSIONS[by] else pl.lit(None, pl.String)
    if by != "browser":
        return rows.with_columns(name=by, version=version)
    proxy = pl.when(_is_mail_proxy())
    name = proxy.then(pl.lit(MAIL_PROXY)).when(_is_apple_mail()).then(pl.lit(APPLE_MAIL)).otherwise("browser")
    return rows.with_columns(name=name, version=proxy.then("browser").otherwise(version))


def _is_mail_proxy() -> pl.Expr:
    """By its name. A bare "Mozilla/5.0" may be Apple's proxy or a script: it stays "Mozilla", as on the platform."""
    return pl.col("browser").str.contains("(?i)(?:mail|image)proxy$")


def _is_apple_mail() -> pl.Expr:
    """The platform's rules: the browser says only AppleWebKit, and the system or the device is one of Apple's."""
    by_system = pl.col("operating_system").str.contains("iOS|Mac|OS X")
    by_device = pl.col("device").is_in(["iPhone", "iPad", "iPod"])
    return pl.col("browser").str.contains("AppleWebKit", literal=True) & (by_system | by_device)


def device_kind() -> pl.Expr:
    """Return "computer" for a PC or a Mac, "mobile" for any other known device, else "unknown"."""
    device = pl.col("device")
    known = device.is_not_null() & ~device.is_in(NO_DEVICES)
    kind = pl.when(device.is_in(COMPUTERS)).then(pl.lit("computer")).when(known).then(pl.lit("mobile"))
    return kind.otherwise(pl.lit("unknown"))


def day_of(timezone: str) -> pl.Expr:
    """Return the calendar day of a hit in a zone."""
    return pl.col("occurred_at").dt.convert_time_zone(timezone).dt.date()


def within(whole: Period, timezone: str) -> pl.Expr:
    """Return whether a hit is of a period: false for undated hits, and for all where there is no day."""
    first, last = (pl.lit(end, dtype=pl.Date) for end in whole)
    return day_of(timezone).is_between(first, last).fill_null(False)


def ranked(counts: pl.DataFrame, count: str, top: int) -> pl.DataFrame:
    """Return every name, the largest count first; `rank` is null after the top."""
    if not (isinstance(top, int) and top > 0):
        raise RequestError(f"The number of names to show is a whole number from 1; got {top!r}.")
    ordered = counts.sort(count, "name", descending=[True, False], nulls_last=True).with_row_index("rank", offset=1)
    place = pl.col("rank").cast(pl.Int64)
    return ordered.with_columns(rank=pl.when(place <= top).then(place))


def top_rows(counts: pl.DataFrame, count: str, top: int, total: pl.DataFrame) -> pl.DataFrame:
    """Return the top, then all others in one row, if there are any, then the total."""
    ordered = ranked(counts, count, top)
    others = ordered.filter(pl.col("rank").is_null()).select(pl.exclude("rank", "name").sum())
    rest = others.filter(pl.sum_horizontal(pl.all()) > 0)
    last = [frame.with_columns(row=pl.lit(row, ROWS)) for frame, row in ((rest, "others"), (total, "total"))]
    first = ordered.drop_nulls("rank").with_columns(row=pl.lit("group", ROWS))
    return pl.concat([first, *last], how="diagonal")


def share_of(part: str, whole: str) -> pl.Expr:
    """Return a part out of a whole, null where that is 0."""
    return quotient(part, whole)
