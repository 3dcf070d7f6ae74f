"""With what people open and click: opens by device, system and browser; visitors, pages and versions per browser.

A visit is any hit that is no open (a click, a page of the site, the opt-out...), since only who clicked shows a browser
of their own. A visitor is a message whose recipient made a visit; by default counted again each day, as the platform's
table of visitors does, so a recipient of two days counts twice. Figures are of one delivery, or of the whole platform.
Names and versions are those of `event`; a null name is a user agent that says nothing, shown as unknown.
"""

from datetime import date, timedelta
from typing import NamedTuple

import polars as pl

from trackkit.deliveries import Tables, counted_events, is_link_hit, require_delivery, require_timezone
from trackkit.errors import RequestError, did_you_mean

PERIOD_DAYS = 183  # six months, the period of the platform's reports
VERSIONS = {"browser": "browser_version", "operating_system": "operating_system_version", "device": None}
DISTINCT = ("day", "period")
COMPUTERS = ("PC", "Mac")
NO_DEVICES = ("Spider",)  # what reads for people: neither a computer of theirs nor a mobile
KINDS = ("computer", "mobile", "unknown")
ROWS = pl.Enum(["group", "others", "total"])
EVERY = "all"
APPLE_MAIL = "Apple Mail"


class Period(NamedTuple):
    """The days that figures are about, both ends included; no day at all where nothing is dated."""

    first: date | None
    last: date | None

    @property
    def days(self) -> int:
        """How many days there are."""
        return (self.last - self.first).days + 1 if self.first and self.last else 0


def period(tables: Tables, delivery: str = "", days: int = PERIOD_DAYS, timezone: str = "UTC") -> Period:
    """Return the days looked at: the last `days` calendar days up to the last hit, from the first hit on.

    0 days are all of them. Raises RequestError for an unknown delivery or zone, or days below 0.
    """
    if not (isinstance(days, int) and days >= 0):
        raise RequestError(f"A period is a whole number of days, 0 for all; got {days!r}.")
    day = _day(timezone)
    first, last = _hits(tables, delivery).select(day.min().alias("first"), day.max().alias("last")).collect().row(0)
    if first is None or not days:
        return Period(first, last)
    return Period(max(first, last - timedelta(days=min(days, 100_000) - 1)), last)


def opens_by(
    tables: Tables,
    by: str,
    delivery: str = "",
    days: int = 0,
    top: int = 10,
    timezone: str = "UTC",
) -> pl.DataFrame:
    """Return the opens by "device", "operating_system" or "browser": one row per name, most opens first.

    Columns: `rank` (null for the two last rows); `row` ("group", "others", which is there if it has opens, "total");
    `name`; `opens`, `total`, `share` (opens / total, null without opens); the same of `mobile` opens alone
    (`mobile_total`, `mobile_share`); and the rest, `computer` and `unknown`. A computer is a PC or a Mac, any other
    known device is mobile. The totals are counted by themselves. Undated opens count where no period is asked for.
    Raises RequestError for an unknown `by`, delivery or zone, or a `top` or `days` that is no whole number.
    """
    opens = _named(_hits(tables, delivery), by).filter(pl.col("event_type").cast(pl.String) == "opened")
    if days:
        opens = opens.filter(_within(period(tables, delivery, days, timezone), timezone))
    kinds = [(pl.col("kind") == kind).sum().cast(pl.Int64).alias(kind) for kind in KINDS]
    counts = [pl.len().cast(pl.Int64).alias("opens"), *kinds]
    opens = opens.with_columns(kind=_kind())
    by_name, total = pl.collect_all([opens.group_by("name").agg(counts), opens.select(counts)])
    totals = {"total": total["opens"].item(), "mobile_total": total["mobile"].item()}
    return (
        _top(by_name, "opens", top, total)
        .with_columns(pl.lit(count, pl.Int64).alias(name) for name, count in totals.items())
        .with_columns(share=_share("opens", "total"), mobile_share=_share("mobile", "mobile_total"))
        .select("rank", "row", "name", "opens", "total", "share", "mobile", "mobile_total", "mobile_share",
                "computer", "unknown")
    )  # fmt: skip


def usage(
    tables: Tables,
    by: str,
    delivery: str = "",
    days: int = PERIOD_DAYS,
    top: int = 10,
    timezone: str = "UTC",
    distinct: str = "day",
) -> pl.DataFrame:
    """Return who uses which "browser" or "operating_system": one row per name, most visitors first.

    Columns: `rank`, `row`, `name` as in `opens_by`; `visitors`; `pages`, their visits; `total`, the visitors of all
    rows added up; `usage_rate` (visitors / total, null without visitors); `days` of the period, and per day
    `visitors_per_day`, `pages_per_day` (null without a day). `distinct` is "day", where a visitor counts once for each
    day, or "period", once in all. Visits without a date or a message are left out of visitors, and the former of pages.
    """
    _refuse_distinct(distinct)
    whole = period(tables, delivery, days, timezone)
    counted = _visitors(_visits(tables, by, delivery, whole, timezone), ["name"], distinct).collect()
    total = counted.select(pl.col("visitors", "pages").sum())
    per_day = [_share(name, "days").alias(f"{name}_per_day") for name in ("visitors", "pages")]
    return (
        _top(counted, "visitors", top, total)
        .with_columns(total=pl.lit(total["visitors"].item(), pl.Int64), days=pl.lit(whole.days, pl.Int64))
        .with_columns(*per_day, usage_rate=_share("visitors", "total"))
        .select("rank", "row", "name", "visitors", "pages", "total", "usage_rate", "days", "visitors_per_day",
                "pages_per_day")
    )  # fmt: skip


def history(
    tables: Tables,
    by: str,
    delivery: str = "",
    days: int = PERIOD_DAYS,
    top: int = 5,
    timezone: str = "UTC",
) -> pl.DataFrame:
    """Return the share of each day's visitors that each of the `top` names had: one row per day and name.

    Columns: `day` (date in `timezone`), `rank`, `name`, `visitors`, `day_visitors` (distinct, all names together),
    `rate`. Days without a visitor are not there; a name without a visitor on a day has 0. Rates of a day may add up to
    more than 1, since a visitor may use two browsers.
    """
    whole = period(tables, delivery, days, timezone)
    visits = _visits(tables, by, delivery, whole, timezone)
    people = pl.col("message_id").drop_nulls().n_unique().cast(pl.Int64)
    of_day, of_name, ranked = pl.collect_all([
        visits.group_by("day").agg(day_visitors=people).filter(pl.col("day_visitors") > 0),
        visits.group_by("day", "name").agg(visitors=people),
        _visitors(visits, ["name"], "day"),
    ])  # fmt: skip
    names = _ranked(ranked.filter(pl.col("visitors") > 0), "visitors", top).drop_nulls("rank").select("rank", "name")
    return (
        of_day.join(names, how="cross")
        .join(of_name, on=["day", "name"], how="left", nulls_equal=True)
        .with_columns(pl.col("visitors").fill_null(0))
        .with_columns(rate=_share("visitors", "day_visitors"))
        .sort("day", "rank")
        .select("day", "rank", "name", "visitors", "day_visitors", "rate")
    )


def versions(
    tables: Tables,
    by: str,
    delivery: str = "",
    days: int = PERIOD_DAYS,
    top: int = 10,
    of: str = EVERY,
    timezone: str = "UTC",
    distinct: str = "day",
) -> pl.DataFrame:
    """Return the versions in use of a "browser" or "operating_system": one row per name and version.

    Columns: `name` (all of the `top` most used, or the one asked by `of`), `version` (null where unknown), `visitors`;
    `name_visitors`, those of the name, and `relative_rate` out of them; `total`, those of all names added up, and
    `global_rate` out of them. Sorted by visitors of the name, then of the version. A visitor who changes version on a
    day counts for both, so the rates of a name's versions may add up to a little more than the name's. Raises
    RequestError for a name that nobody used.
    """
    _refuse_distinct(distinct)
    visits = _visits(tables, by, delivery, period(tables, delivery, days, timezone), timezone)
    named, versioned = pl.collect_all(
        [_visitors(visits, ["name"], distinct), _visitors(visits, ["name", "version"], distinct)]
    )
    total = pl.lit(named["visitors"].sum(), pl.Int64)
    chosen = _ranked(named, "visitors", top if of == EVERY else named.height or 1).drop_nulls("rank")
    chosen = chosen if of == EVERY else chosen.filter(pl.col("name") == _used(of, named))
    return (
        versioned.join(chosen.select("rank", "name", name_visitors="visitors"), on="name", nulls_equal=True)
        .filter(pl.col("visitors") > 0)
        .with_columns(total=total)
        .with_columns(relative_rate=_share("visitors", "name_visitors"), global_rate=_share("visitors", "total"))
        .sort("rank", pl.col("visitors").neg(), "version", nulls_last=True)
        .select("name", "version", "visitors", "name_visitors", "relative_rate", "total", "global_rate")
    )


def _hits(tables: Tables, delivery: str) -> pl.LazyFrame:
    return counted_events(tables, require_delivery(tables, delivery) if delivery else "")


def _visits(tables: Tables, by: str, delivery: str, whole: Period, timezone: str) -> pl.LazyFrame:
    """The dated visits of a period: `name`, `version`, `day`, `message_id`."""
    hits = _named(_hits(tables, delivery), by).filter(is_link_hit(), _within(whole, timezone))
    return hits.select("name", "version", "message_id", day=_day(timezone))


def _named(hits: pl.LazyFrame, by: str) -> pl.LazyFrame:
    """Add `name` and `version`, what hits are grouped by; Apple Mail is told from a browser."""
    if by not in VERSIONS:
        raise RequestError(f"There is no breakdown {by!r} of the audience.{did_you_mean(str(by), VERSIONS)}")
    name = pl.when(_is_apple_mail()).then(pl.lit(APPLE_MAIL)).otherwise("browser") if by == "browser" else pl.col(by)
    version = VERSIONS[by]
    return hits.with_columns(name=name, version=pl.col(version) if version else pl.lit(None, pl.String))


def _is_apple_mail() -> pl.Expr:
    """The platform's rules: the browser says only AppleWebKit, and the system or the device is one of Apple's."""
    by_system = pl.col("operating_system").str.contains("iOS|Mac|OS X")
    by_device = pl.col("device").is_in(["iPhone", "iPad", "iPod"])
    return pl.col("browser").str.contains("AppleWebKit", literal=True) & (by_system | by_device)


def _kind() -> pl.Expr:
    device = pl.col("device")
    known = device.is_not_null() & ~device.is_in(NO_DEVICES)
    kind = pl.when(device.is_in(COMPUTERS)).then(pl.lit("computer")).when(known).then(pl.lit("mobile"))
    return kind.otherwise(pl.lit("unknown"))


def _day(timezone: str) -> pl.Expr:
    return pl.col("occurred_at").dt.convert_time_zone(require_timezone(timezone)).dt.date()


def _within(whole: Period, timezone: str) -> pl.Expr:
    """False for undated hits, and for all where there is no day."""
    first, last = (pl.lit(end, dtype=pl.Date) for end in whole)
    return _day(timezone).is_between(first, last).fill_null(False)


def _visitors(visits: pl.LazyFrame, groups: list[str], distinct: str) -> pl.LazyFrame:
    """Distinct messages of each group, of each day added up or of the whole period; and pages."""
    people, pages = pl.col("message_id").drop_nulls().n_unique().cast(pl.Int64), pl.len().cast(pl.Int64)
    if distinct == "period":
        return visits.group_by(groups).agg(visitors=people, pages=pages)
    daily = visits.group_by(*groups, "day").agg(visitors=people, pages=pages)
    return daily.group_by(groups).agg(pl.col("visitors", "pages").sum())


def _ranked(counts: pl.DataFrame, count: str, top: int) -> pl.DataFrame:
    """Every name, the largest count first; `rank` is null after the top."""
    if not (isinstance(top, int) and top > 0):
        raise RequestError(f"The number of names to show is a whole number from 1; got {top!r}.")
    ordered = counts.sort(count, "name", descending=[True, False], nulls_last=True).with_row_index("rank", offset=1)
    place = pl.col("rank").cast(pl.Int64)
    return ordered.with_columns(rank=pl.when(place <= top).then(place))


def _top(counts: pl.DataFrame, count: str, top: int, total: pl.DataFrame) -> pl.DataFrame:
    """The top, then all others in one row, if there are any, then the total."""
    ranked = _ranked(counts, count, top)
    others = ranked.filter(pl.col("rank").is_null()).select(pl.exclude("rank", "name").sum())
    rest = others.filter(pl.sum_horizontal(pl.all()) > 0)
    last = [frame.with_columns(row=pl.lit(row, ROWS)) for frame, row in ((rest, "others"), (total, "total"))]
    top_rows = ranked.drop_nulls("rank").with_columns(row=pl.lit("group", ROWS))
    return pl.concat([top_rows, *last], how="diagonal")


def _used(of: str, named: pl.DataFrame) -> str:
    known = named["name"].drop_nulls().to_list()
    if of not in known:
        raise RequestError(f"Nobody used {of!r} in this period.{did_you_mean(str(of), known)}")
    return of


def _refuse_distinct(distinct: str) -> None:
    if distinct not in DISTINCT:
        raise RequestError(f"Visitors are distinct by day or by period; got {distinct!r}.")


def _share(part: str, whole: str) -> pl.Expr:
    return pl.when(pl.col(whole) > 0).then(pl.col(part) / pl.col(whole))
