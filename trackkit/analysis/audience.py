"""With what people open and click: opens by device, system and browser; visitors, pages and versions per browser.

A visit is any hit that is no open (a click, a page of the site, the opt-out...), since only who clicked shows a browser
of their own. A visitor is a message whose recipient made a visit; by default counted again each day, as the platform's
table of visitors does, so a recipient of two days counts twice. Figures are of one delivery, or of the whole platform.
Names and versions are those of `event`; a null name is a user agent that says nothing, shown as unknown.
"""

from datetime import date, timedelta
from typing import Annotated, NamedTuple
from zoneinfo import ZoneInfo

import polars as pl

from trackkit.analysis.ranking import ranked, top_rows
from trackkit.clock import local
from trackkit.engine.deliveries import counted_events, is_link_hit, require_delivery, zone_of
from trackkit.engine.measure import quotient
from trackkit.engine.plausible import now, plausible
from trackkit.engine.snapshot import Measurable
from trackkit.errors import RequestError, did_you_mean
from trackkit.schema import MAIL_PROXY, MESSAGE
from trackkit.toml import FROM_0, FROM_1

__all__ = ["history", "opens_by", "usage", "versions"]

# The columns of each table.
OPENS = "rank row name opens total share mobile mobile_total mobile_share computer unknown"
USAGE = "rank row name visitors pages total usage_rate days visitors_per_day pages_per_day"
HISTORY = "day rank name visitors day_visitors rate week_visitors week_day_visitors week_rate"
DISTINCT = ("day", "period")
KINDS = ("computer", "mobile", "unknown")
OF_VERSIONS = "name row version visitors name_visitors relative_rate total global_rate"
EVERY = "all"
MOST_VERSIONS = 10  # of a name, before its others
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


def period(tables: Measurable, delivery: str = "", days: int = PERIOD_DAYS, timezone: str = "") -> Period:
    """Return the days looked at: the last `days` calendar days up to the last hit that is believed, from the first on.

    0 days are all of them. Raises RequestError for an unknown delivery or zone, or days below 0.
    """
    if not (isinstance(days, int) and days >= 0):
        raise RequestError(f"A period is a whole number of days, 0 for all; got {days!r}.")
    zone, known = zone_of(tables, timezone), plausible(tables, "event", delivery)
    day = _day_of(zone)
    dated = _hits(tables, delivery).filter(known.holds())
    first, last = dated.select(day.min().alias("first"), day.max().alias("last")).collect().row(0)
    if last and known.last and (newest := now(tables, "event", delivery)):
        last = max(first, min(last, newest.astimezone(ZoneInfo(zone)).date()))
    if first is None or not days:
        return Period(first, last)
    return Period(max(first, last - timedelta(days=min(days, 100_000) - 1)), last)


def _hits(tables: Measurable, delivery: str) -> pl.LazyFrame:
    """Return the counted hits of a delivery, or without one of the platform; RequestError for an unknown delivery."""
    return counted_events(tables, require_delivery(tables, delivery) if delivery else "")


def _named(rows: pl.LazyFrame, by: str) -> pl.LazyFrame:
    """Add `name` and `version`, what hits are grouped by, to hits; Apple Mail and mail proxies are told from browsers.

    The version of a mail proxy is its name.
    """
    if by not in VERSIONS:
        raise RequestError(f"There is no breakdown {by!r} of the audience.{did_you_mean(str(by), VERSIONS)}")
    column = VERSIONS[by]
    version = pl.col(column) if column else pl.lit(None, pl.String)
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


def _device_kind() -> pl.Expr:
    """Return "computer" for a PC or a Mac, "mobile" for any other known device, else "unknown"."""
    device = pl.col("device")
    known = device.is_not_null() & ~device.is_in(NO_DEVICES)
    kind = pl.when(device.is_in(COMPUTERS)).then(pl.lit("computer")).when(known).then(pl.lit("mobile"))
    return kind.otherwise(pl.lit("unknown"))


def _day_of(timezone: str) -> pl.Expr:
    """Return the calendar day of a hit in a zone."""
    return local("occurred_at", timezone).dt.date()


def _within(whole: Period, timezone: str) -> pl.Expr:
    """Return whether a hit is of a period: false for undated hits, and for all where there is no day."""
    first, last = (pl.lit(end, dtype=pl.Date) for end in whole)
    return _day_of(timezone).is_between(first, last).fill_null(False)


def opens_by(
    tables: Measurable,
    by: Annotated[str, ("device", "browser", "operating_system")],
    delivery: str = "",
    days: Annotated[int, FROM_0] = 0,
    top: Annotated[int, FROM_1] = 10,
    timezone: str = "",
) -> Annotated[pl.DataFrame, OPENS.split()]:
    """Return the opens by "device", "operating_system" or "browser": one row per name, most opens first.

    Columns: `rank` (null for the two last rows); `row` ("group", "others", which is there if it has opens, "total");
    `name`; `opens`, `total`, `share` (opens / total, null without opens); the same of `mobile` opens alone
    (`mobile_total`, `mobile_share`); and the rest, `computer` and `unknown`. A computer is a PC or a Mac, any other
    known device is mobile. The totals are counted by themselves. Undated opens count where no period is asked for.
    Raises RequestError for an unknown `by`, delivery or zone, or a `top` or `days` that is no whole number.
    """
    opens = _named(_hits(tables, delivery), by).filter(pl.col("event_type").cast(pl.String) == "opened")
    if days:
        zone = zone_of(tables, timezone)
        opens = opens.filter(_within(period(tables, delivery, days, zone), zone))
    kinds = [(pl.col("kind") == kind).sum().cast(pl.Int64).alias(kind) for kind in KINDS]
    counts = [pl.len().cast(pl.Int64).alias("opens"), *kinds]
    opens = opens.with_columns(kind=_device_kind())
    by_name, total = pl.collect_all([opens.group_by("name").agg(counts), opens.select(counts)])
    totals = {"total": total["opens"].item(), "mobile_total": total["mobile"].item()}
    return (
        _top_rows(by_name, "opens", top, total)
        .with_columns(pl.lit(count, pl.Int64).alias(name) for name, count in totals.items())
        .with_columns(share=quotient("opens", "total"), mobile_share=quotient("mobile", "mobile_total"))
        .select(OPENS.split())
    )


def usage(
    tables: Measurable,
    by: Annotated[str, ("browser", "operating_system")],
    delivery: str = "",
    days: Annotated[int, FROM_0] = PERIOD_DAYS,
    top: Annotated[int, FROM_1] = 10,
    timezone: str = "",
    distinct: Annotated[str, DISTINCT] = "day",
) -> Annotated[pl.DataFrame, USAGE.split()]:
    """Return who uses which "browser" or "operating_system": one row per name, most visitors first.

    Columns: `rank`, `row`, `name` as in `opens_by`; `visitors`; `pages`, their visits; `total`, the visitors of all
    rows added up; `usage_rate` (visitors / total, null without visitors); `days` of the period, and per day
    `visitors_per_day`, `pages_per_day` (null without a day). `distinct` is "day", where a visitor counts once for each
    day, or "period", once in all. Visits without a date or a message are left out of visitors, and the former of pages.
    """
    _refuse_distinct(distinct)
    zone = zone_of(tables, timezone)
    whole = period(tables, delivery, days, zone)
    counted = _visitors(_visits(tables, by, delivery, whole, zone), ["name"], distinct).collect()
    total = counted.select(pl.col("visitors", "pages").sum())
    per_day = [quotient(name, "days").alias(f"{name}_per_day") for name in ("visitors", "pages")]
    return (
        _top_rows(counted, "visitors", top, total)
        .with_columns(total=pl.lit(total["visitors"].item(), pl.Int64), days=pl.lit(whole.days, pl.Int64))
        .with_columns(*per_day, usage_rate=quotient("visitors", "total"))
        .select(USAGE.split())
    )


def history(
    tables: Measurable,
    by: Annotated[str, ("browser", "operating_system")],
    delivery: str = "",
    days: Annotated[int, FROM_0] = PERIOD_DAYS,
    top: Annotated[int, FROM_1] = 5,
    timezone: str = "",
) -> pl.DataFrame:
    """Return the share of each day's visitors that each of the `top` names had: one row per day and name.

    Columns: `day` (date in `timezone`), `rank`, `name`, `visitors`, `day_visitors` (distinct, all names together),
    `rate`; and for a steadier line `week_visitors`, `week_day_visitors`, the sums of the seven days up to this one, and
    `week_rate`. Days without a visitor are not there; a name without a visitor on a day has 0. Rates of a day may add
    up to more than 1, since a visitor may use two browsers.
    """
    zone = zone_of(tables, timezone)
    whole = period(tables, delivery, days, zone)
    visits = _visits(tables, by, delivery, whole, zone)
    of_day, of_name, counted = pl.collect_all(
        [
            _counts(visits, ["day"]).filter(pl.col("visitors") > 0).select("day", day_visitors="visitors"),
            _counts(visits, ["day", "name"]).drop("pages"),
            _visitors(visits, ["name"], "day"),
        ]
    )
    names = (
        ranked(counted.filter(pl.col("visitors") > 0), "visitors", ["name"], top)
        .drop_nulls("rank")
        .select("rank", "name")
    )
    return (
        of_day.join(names, how="cross")
        .join(of_name, on=["day", "name"], how="left", nulls_equal=True)
        .with_columns(pl.col("visitors").fill_null(0))
        .sort("day", "rank")
        .with_columns(_last_week(name).alias(f"week_{name}") for name in ("visitors", "day_visitors"))
        .with_columns(
            rate=quotient("visitors", "day_visitors"), week_rate=quotient("week_visitors", "week_day_visitors")
        )
        .select(HISTORY.split())
    )


def versions(
    tables: Measurable,
    by: Annotated[str, ("browser", "operating_system")],
    delivery: str = "",
    days: Annotated[int, FROM_0] = PERIOD_DAYS,
    top: Annotated[int, FROM_1] = 10,
    of: str = EVERY,
    timezone: str = "",
    distinct: Annotated[str, DISTINCT] = "day",
) -> Annotated[pl.DataFrame, OF_VERSIONS.split()]:
    """Return the versions in use of a "browser" or "operating_system": one row per name and version.

    Columns: `name` (the `top` most used, or the one asked by `of`); `row`, "group" or, after ten versions of a name,
    "others"; `version` (null where unknown); `visitors`; `name_visitors`, those of the name, and `relative_rate` out of
    them; `total`, those of all names added up, and `global_rate` out of them. Sorted by visitors of the name, then of
    the version. A visitor who changes version on a day counts for both, so the versions of a name may add up to a
    little more than the name. Raises RequestError for a name that nobody used.
    """
    _refuse_distinct(distinct)
    zone = zone_of(tables, timezone)
    visits = _visits(tables, by, delivery, period(tables, delivery, days, zone), zone)
    counted, versioned = pl.collect_all(
        [_visitors(visits, ["name"], distinct), _visitors(visits, ["name", "version"], distinct)]
    )
    chosen = ranked(counted, "visitors", ["name"], top if of == EVERY else counted.height or 1).drop_nulls("rank")
    chosen = chosen if of == EVERY else chosen.filter(pl.col("name") == _used(of, counted))
    rows = versioned.filter(pl.col("visitors") > 0).join(
        chosen.select("rank", "name", name_visitors="visitors"), on="name", nulls_equal=True
    )
    return (
        _first_versions(rows)
        .with_columns(total=pl.lit(counted["visitors"].sum(), pl.Int64))
        .with_columns(relative_rate=quotient("visitors", "name_visitors"), global_rate=quotient("visitors", "total"))
        .select(OF_VERSIONS.split())
    )


def _top_rows(counts: pl.DataFrame, count: str, top: int, total: pl.DataFrame) -> pl.DataFrame:
    """The top, all others in one row, if there are any, and the total."""
    rows = top_rows(ranked(counts, count, ["name"], top), total, ROWS)
    return rows.filter((pl.col("row") != "others") | (pl.sum_horizontal(total.columns) > 0))


def _first_versions(rows: pl.DataFrame) -> pl.DataFrame:
    """The most used versions of each name, and what is left of it in one row."""
    ordered = rows.sort("rank", pl.col("visitors").neg(), "version", nulls_last=True)
    is_left = pl.col("rank").cum_count().over("rank") > MOST_VERSIONS
    row = pl.when(is_left).then(pl.lit("others", ROWS)).otherwise(pl.lit("group", ROWS))
    marked = ordered.with_columns(row=row, version=pl.when(~is_left).then("version"))
    keys = ["rank", "name", "row", "version", "name_visitors"]
    return marked.group_by(keys, maintain_order=True).agg(pl.col("visitors").sum())


def _visits(tables: Measurable, by: str, delivery: str, whole: Period, timezone: str) -> pl.LazyFrame:
    """The dated visits of a period: `name`, `version`, `day`, and whose they are."""
    found = _named(_hits(tables, delivery), by).filter(is_link_hit(), _within(whole, timezone))
    return found.select("name", "version", *MESSAGE.key, day=_day_of(timezone))


def _last_week(column: str) -> pl.Expr:
    return pl.col(column).rolling_sum_by("day", "7d").over("rank").cast(pl.Int64)


def _visitors(visits: pl.LazyFrame, groups: list[str], distinct: str) -> pl.LazyFrame:
    """Distinct messages of each group, of each day added up or of the whole period; and pages."""
    if distinct == "period":
        return _counts(visits, groups)
    return _counts(visits, [*groups, "day"]).group_by(groups).agg(pl.col("visitors", "pages").sum())


def _counts(visits: pl.LazyFrame, groups: list[str]) -> pl.LazyFrame:
    """The visitors, whose messages are known, and the pages of each group."""
    each = visits.group_by(*groups, *MESSAGE.key).agg(pages=pl.len().cast(pl.Int64))
    visitors = pl.col("message_id").count().cast(pl.Int64)
    return each.group_by(groups).agg(visitors=visitors, pages=pl.col("pages").sum())


def _used(of: str, counted: pl.DataFrame) -> str:
    known = counted["name"].drop_nulls().to_list()
    if of not in known:
        raise RequestError(f"Nobody used {of!r} in this period.{did_you_mean(str(of), known)}")
    return of


def _refuse_distinct(distinct: str) -> None:
    if distinct not in DISTINCT:
        raise RequestError(f"Visitors are distinct by day or by period; got {distinct!r}.")
