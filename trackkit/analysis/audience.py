"""Devices, systems and browsers: opens by each; visitors, pages and versions per browser.

A visit is any hit except an open (a click, a page of the site, the opt-out...), since only a click shows the reader's
own browser. A visitor is a message whose recipient made a visit, by default counted once per day, as in the platform's
table of visitors: a recipient active on two days counts twice. Figures are for one delivery, several or the whole
platform. Names and versions are those of `event`; a null name is a user agent that gives none, shown as unknown.
"""

from datetime import date, timedelta
from typing import Annotated, NamedTuple
from zoneinfo import ZoneInfo

import polars as pl

from trackkit.analysis.ranking import ranked, top_rows
from trackkit.clock import local
from trackkit.engine.deliveries import Deliveries, asked_about, counted_events, is_link_hit, the_one, zone_of
from trackkit.engine.measure import quotient
from trackkit.engine.plausible import now, plausible
from trackkit.engine.snapshot import Measurable
from trackkit.errors import RequestError, did_you_mean, require_word
from trackkit.schema import MAIL_PROXY, MESSAGE
from trackkit.toml import FROM_0, FROM_1

__all__ = ["history", "opens_by", "usage", "versions", "weekly"]

# The columns of each table.
OPENS = "rank row name opens total share mobile mobile_total mobile_share computer unknown"
USAGE = "rank row name visitors pages total usage_rate days visitors_per_day pages_per_day"
HISTORY = "day rank name visitors day_visitors rate week_visitors week_day_visitors week_rate"
WEEKLY = "week rank row name version visitors week_visitors share"
DISTINCT = ("day", "period")
KINDS = ("computer", "mobile", "unknown")
VERSION_COLUMNS = "name row version visitors name_visitors relative_rate total global_rate"
ALL_NAMES = "all"
MOST_VERSIONS = 10  # of a name, the rest being "others"
PERIOD_DAYS = 183  # six months, the period of the platform's reports
VERSIONS = {"browser": "browser_version", "operating_system": "operating_system_version", "device": None}
COMPUTERS = ("PC", "Mac")
NOT_DEVICES = ("Spider",)  # software that reads for people: neither a computer nor a mobile
ROWS = pl.Enum(["group", "others", "total"])
APPLE_MAIL = "Apple Mail"


class Period(NamedTuple):
    """The days that figures are about, both ends included; both None if nothing is dated."""

    first: date | None
    last: date | None

    @property
    def days(self) -> int:
        """How many days there are."""
        return (self.last - self.first).days + 1 if self.first and self.last else 0


def period(tables: Measurable, delivery: Deliveries = None, days: int = PERIOD_DAYS, timezone: str = "") -> Period:
    """Return the period: the last `days` calendar days up to the last plausible hit, but not before the first.

    0 means all days. Raises RequestError for an unknown delivery or zone, or days below 0.
    """
    if not (isinstance(days, int) and days >= 0):
        raise RequestError(f"A period is a whole number of days, 0 for all; got {days!r}.")
    ids, zone = asked_about(tables, delivery), zone_of(tables, timezone)
    in_range, day = plausible(tables, "event", the_one(ids)), _day_of(zone)
    dated = counted_events(tables, ids).filter(in_range.holds())
    first, last = dated.select(day.min().alias("first"), day.max().alias("last")).collect().row(0)
    if last and in_range.last and (newest := now(tables, "event", the_one(ids))):
        last = max(first, min(last, newest.astimezone(ZoneInfo(zone)).date()))
    if first is None or not days:
        return Period(first, last)
    return Period(max(first, last - timedelta(days=min(days, 100_000) - 1)), last)


def _with_name(rows: pl.LazyFrame, by: str) -> pl.LazyFrame:
    """Add the groups `name` and `version` to hits; Apple Mail and mail proxies are separated from browsers.

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
    """By its name; a bare "Mozilla/5.0" may be Apple's proxy or a script, and stays "Mozilla", as on the platform."""
    return pl.col("browser").str.contains("(?i)(?:mail|image)proxy$")


def _is_apple_mail() -> pl.Expr:
    """The platform's rule: the browser is just AppleWebKit, and the system or the device is Apple's."""
    by_system = pl.col("operating_system").str.contains("iOS|Mac|OS X")
    by_device = pl.col("device").is_in(["iPhone", "iPad", "iPod"])
    return pl.col("browser").str.contains("AppleWebKit", literal=True) & (by_system | by_device)


def _device_kind() -> pl.Expr:
    """Return "computer" for a PC or Mac, "mobile" for any other known device, else "unknown"."""
    device = pl.col("device")
    is_device = device.is_not_null() & ~device.is_in(NOT_DEVICES)
    kind = pl.when(device.is_in(COMPUTERS)).then(pl.lit("computer")).when(is_device).then(pl.lit("mobile"))
    return kind.otherwise(pl.lit("unknown"))


def _day_of(timezone: str) -> pl.Expr:
    """Return the calendar day of a hit in a zone."""
    return local("occurred_at", timezone).dt.date()


def _within(period: Period, timezone: str) -> pl.Expr:
    """Whether a hit is in a period; false for undated hits, and for all if the period has no day."""
    first, last = (pl.lit(end, dtype=pl.Date) for end in period)
    return _day_of(timezone).is_between(first, last).fill_null(False)


def opens_by(
    tables: Measurable,
    by: Annotated[str, ("device", "browser", "operating_system")],
    delivery: Deliveries = None,
    days: Annotated[int, FROM_0] = 0,
    top: Annotated[int, FROM_1] = 10,
    timezone: str = "",
) -> Annotated[pl.DataFrame, OPENS.split()]:
    """Return the opens by "device", "operating_system" or "browser": one row per name, most opens first.

    Columns: `rank` (null for the two last rows); `row` ("group", "others", which is there if it has opens, "total");
    `name`; `opens`, `total`, `share` (opens / total, null without opens); the same of `mobile` opens alone
    (`mobile_total`, `mobile_share`); and the others, `computer` and `unknown`. A computer is a PC or a Mac, any other
    known device is mobile. Totals are counted separately. Undated opens count if no period is asked for.
    Raises RequestError for an unknown `by`, delivery or zone, or a `top` or `days` that is no whole number.

    >>> opens_by(store, "device", delivery).select("name", "opens", "total").rows()[:2]
    [(None, 24, 46), ('iPhone', 9, 46)]
    """
    opens = _with_name(counted_events(tables, asked_about(tables, delivery)), by).filter(
        pl.col("event_type").cast(pl.String) == "opened"
    )
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
    delivery: Deliveries = None,
    days: Annotated[int, FROM_0] = PERIOD_DAYS,
    top: Annotated[int, FROM_1] = 10,
    timezone: str = "",
    distinct: Annotated[str, DISTINCT] = "day",
) -> Annotated[pl.DataFrame, USAGE.split()]:
    """Return who uses which "browser" or "operating_system": one row per name, most visitors first.

    Columns: `rank`, `row`, `name` as in `opens_by`; `visitors`; `pages`, their visits; `total`, the visitors of all
    rows added up; `usage_rate` (visitors / total, null without visitors); `days` of the period, and per day
    `visitors_per_day`, `pages_per_day` (null without a day). `distinct` is "day" if a visitor counts once per day, or
    "period" if once in all. Visits without a date count nowhere, those without a message only as pages.

    >>> usage(store, "operating_system", delivery).select("name", "visitors", "total").rows()[:2]
    [('iOS', 4, 6), ('Windows', 2, 6)]
    """
    _require_distinct(distinct)
    zone = zone_of(tables, timezone)
    dates = period(tables, delivery, days, zone)
    counted = _visitors(_visits(tables, by, delivery, dates, zone), ["name"], distinct).collect()
    total = counted.select(pl.col("visitors", "pages").sum())
    per_day = [quotient(name, "days").alias(f"{name}_per_day") for name in ("visitors", "pages")]
    return (
        _top_rows(counted, "visitors", top, total)
        .with_columns(total=pl.lit(total["visitors"].item(), pl.Int64), days=pl.lit(dates.days, pl.Int64))
        .with_columns(*per_day, usage_rate=quotient("visitors", "total"))
        .select(USAGE.split())
    )


def history(
    tables: Measurable,
    by: Annotated[str, ("browser", "operating_system")],
    delivery: Deliveries = None,
    days: Annotated[int, FROM_0] = PERIOD_DAYS,
    top: Annotated[int, FROM_1] = 5,
    timezone: str = "",
) -> pl.DataFrame:
    """Return the share of each day's visitors that each of the `top` names had: one row per day and name.

    Columns: `day` (date in `timezone`), `rank`, `name`, `visitors`, `day_visitors` (distinct, all names together),
    `rate`; and for a smoother line `week_visitors`, `week_day_visitors`, the sums of the seven days up to this one, and
    `week_rate`. Days without visitors have no row; a name without visitors on a day has 0. Rates of a day may add up to
    more than 1, since a visitor may use two browsers.

    >>> history(store, "browser", delivery).select("name", "visitors", "day_visitors").row(0)
    ('Safari', 3, 5)
    """
    zone = zone_of(tables, timezone)
    dates = period(tables, delivery, days, zone)
    visits = _visits(tables, by, delivery, dates, zone)
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


def weekly(
    tables: Measurable,
    by: Annotated[str, ("browser", "operating_system")],
    delivery: Deliveries = None,
    days: Annotated[int, FROM_0] = PERIOD_DAYS,
    top: Annotated[int, FROM_1] = 4,
    timezone: str = "",
    of: Annotated[str, ("names", "versions")] = "names",
) -> Annotated[pl.DataFrame, WEEKLY.split()]:
    """Return each name's part of a week's visitors: one row per week, and name or version, of the `top`, then others.

    A visitor counts once for each day, as in `usage`, whose visitors are the sums of these weeks. Columns: `week`, its
    Monday in `timezone`; `rank` over the whole period, null for the others; `row` ("group" or "others", which is there
    if it has visitors in any week); `name`, and of "versions" its `version` (else null); `visitors`; `week_visitors`,
    of all names; `share`, which add up to 1 in each week. Weeks without visitors have no row. Raises RequestError as
    `usage`.

    >>> weekly(store, "browser", delivery).select("name", "visitors", "week_visitors").rows()[:2]
    [('Safari', 3, 5), ('Microsoft Edge', 2, 5)]
    """
    keys = ["name"] if require_word("names or versions", of, ("names", "versions")) == "names" else ["name", "version"]
    zone = zone_of(tables, timezone)
    visits = _visits(tables, by, delivery, period(tables, delivery, days, zone), zone)
    weeks = visits.with_columns(week=pl.col("day").dt.truncate("1w"))
    counted = _visitors(weeks, ["week", *keys], "day").filter(pl.col("visitors") > 0).collect()
    totals = ranked(counted.group_by(keys).agg(pl.col("visitors").sum()), "visitors", keys, top)
    by_rank = counted.join(totals.select(*keys, "rank"), on=keys, nulls_equal=True)
    known = by_rank.group_by("week", "rank").agg(pl.col("visitors").sum())
    labels = totals.drop_nulls("rank").select("rank", *keys)
    grid = known.select("week").unique().join(known.select("rank").unique(), how="cross")
    version = pl.col("version") if "version" in keys else pl.lit(None, pl.String)
    row = pl.when(pl.col("rank").is_null()).then(pl.lit("others", ROWS)).otherwise(pl.lit("group", ROWS))
    return (
        grid.join(known, on=["week", "rank"], how="left", nulls_equal=True)
        .join(labels, on="rank", how="left")
        .with_columns(pl.col("visitors").fill_null(0), row=row, version=version)
        .with_columns(week_visitors=pl.col("visitors").sum().over("week"))
        .with_columns(share=quotient("visitors", "week_visitors"))
        .sort("week", "rank", nulls_last=True)
        .select(WEEKLY.split())
    )


def versions(
    tables: Measurable,
    by: Annotated[str, ("browser", "operating_system")],
    delivery: Deliveries = None,
    days: Annotated[int, FROM_0] = PERIOD_DAYS,
    top: Annotated[int, FROM_1] = 10,
    of: str = ALL_NAMES,
    timezone: str = "",
    distinct: Annotated[str, DISTINCT] = "day",
) -> Annotated[pl.DataFrame, VERSION_COLUMNS.split()]:
    """Return the versions in use of a "browser" or "operating_system": one row per name and version.

    Columns: `name` (the `top` most used, or the one asked by `of`); `row`, "group" or, after ten versions of a name,
    "others"; `version` (null where unknown); `visitors`; `name_visitors`, those of the name, and `relative_rate` out of
    them; `total`, those of all names added up, and `global_rate` out of them. Sorted by visitors of the name, then of
    the version. A visitor who changes version on a day counts for both, so the versions of a name may add up to a
    little more than the name. Raises RequestError for a name that nobody used.

    >>> versions(store, "browser", delivery).select("name", "version", "visitors", "name_visitors").row(0)
    ('Safari', '26', 3, 4)
    """
    _require_distinct(distinct)
    zone = zone_of(tables, timezone)
    visits = _visits(tables, by, delivery, period(tables, delivery, days, zone), zone)
    by_name, by_version = pl.collect_all(
        [_visitors(visits, ["name"], distinct), _visitors(visits, ["name", "version"], distinct)]
    )
    chosen = ranked(by_name, "visitors", ["name"], top if of == ALL_NAMES else by_name.height or 1).drop_nulls("rank")
    chosen = chosen if of == ALL_NAMES else chosen.filter(pl.col("name") == _require_used(of, by_name))
    rows = by_version.filter(pl.col("visitors") > 0).join(
        chosen.select("rank", "name", name_visitors="visitors"), on="name", nulls_equal=True
    )
    return (
        _first_versions(rows)
        .with_columns(total=pl.lit(by_name["visitors"].sum(), pl.Int64))
        .with_columns(relative_rate=quotient("visitors", "name_visitors"), global_rate=quotient("visitors", "total"))
        .select(VERSION_COLUMNS.split())
    )


def _top_rows(counts: pl.DataFrame, count: str, top: int, total: pl.DataFrame) -> pl.DataFrame:
    """The top rows, one row of all others if there are any, and the total."""
    rows = top_rows(ranked(counts, count, ["name"], top), total, ROWS)
    return rows.filter((pl.col("row") != "others") | (pl.sum_horizontal(total.columns) > 0))


def _first_versions(rows: pl.DataFrame) -> pl.DataFrame:
    """The most used versions of each name, and all its others in one row."""
    ordered = rows.sort("rank", pl.col("visitors").neg(), "version", nulls_last=True)
    is_other = pl.col("rank").cum_count().over("rank") > MOST_VERSIONS
    row = pl.when(is_other).then(pl.lit("others", ROWS)).otherwise(pl.lit("group", ROWS))
    grouped = ordered.with_columns(row=row, version=pl.when(~is_other).then("version"))
    keys = ["rank", "name", "row", "version", "name_visitors"]
    return grouped.group_by(keys, maintain_order=True).agg(pl.col("visitors").sum())


def _visits(tables: Measurable, by: str, delivery: Deliveries, dates: Period, timezone: str) -> pl.LazyFrame:
    """The dated visits of a period: `name`, `version`, `day`, and the key of the message."""
    hits = _with_name(counted_events(tables, asked_about(tables, delivery)), by).filter(
        is_link_hit(), _within(dates, timezone)
    )
    return hits.select("name", "version", *MESSAGE.key, day=_day_of(timezone))


def _last_week(column: str) -> pl.Expr:
    return pl.col(column).rolling_sum_by("day", "7d").over("rank").cast(pl.Int64)


def _visitors(visits: pl.LazyFrame, groups: list[str], distinct: str) -> pl.LazyFrame:
    """Distinct messages of each group, summed over days or over the whole period; and pages."""
    if distinct == "period":
        return _counts(visits, groups)
    return _counts(visits, [*groups, "day"]).group_by(groups).agg(pl.col("visitors", "pages").sum())


def _counts(visits: pl.LazyFrame, groups: list[str]) -> pl.LazyFrame:
    """The visitors (known messages) and pages of each group."""
    by_message = visits.group_by(*groups, *MESSAGE.key).agg(pages=pl.len().cast(pl.Int64))
    visitors = pl.col("message_id").count().cast(pl.Int64)
    return by_message.group_by(groups).agg(visitors=visitors, pages=pl.col("pages").sum())


def _require_used(of: str, counted: pl.DataFrame) -> str:
    names = counted["name"].drop_nulls().to_list()
    if of not in names:
        raise RequestError(f"Nobody used {of!r} in this period.{did_you_mean(str(of), names)}")
    return of


def _require_distinct(distinct: str) -> None:
    if distinct not in DISTINCT:
        raise RequestError(f"Visitors are distinct by day or by period; got {distinct!r}.")
