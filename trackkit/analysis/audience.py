"""With what people open and click: opens by device, system and browser; visitors, pages and versions per browser.

A visit is any hit that is no open (a click, a page of the site, the opt-out...), since only who clicked shows a browser
of their own. A visitor is a message whose recipient made a visit; by default counted again each day, as the platform's
table of visitors does, so a recipient of two days counts twice. Figures are of one delivery, or of the whole platform.
Names and versions are those of `event`; a null name is a user agent that says nothing, shown as unknown.
"""

from typing import Annotated

import polars as pl

from trackkit.analysis.user_agents import (
    PERIOD_DAYS,
    ROWS,
    Period,
    day_of,
    device_kind,
    hits,
    named,
    period,
    ranked,
    share_of,
    top_rows,
    within,
)
from trackkit.engine.deliveries import Tables, is_link_hit, zone_of
from trackkit.errors import RequestError, did_you_mean
from trackkit.schema import MESSAGE
from trackkit.toml import FROM_0, FROM_1

DISTINCT = ("day", "period")
KINDS = ("computer", "mobile", "unknown")
EVERY = "all"
BROWSING = ("browser", "operating_system")
OPENS = (
    *("rank", "row", "name", "opens", "total", "share", "mobile", "mobile_total", "mobile_share"),
    *("computer", "unknown"),
)
USAGE = (
    *("rank", "row", "name", "visitors", "pages", "total", "usage_rate", "days"),
    *("visitors_per_day", "pages_per_day"),
)
VERSIONS = ("name", "row", "version", "visitors", "name_visitors", "relative_rate", "total", "global_rate")
MOST_VERSIONS = 10  # of a name, before its others


def opens_by(
    tables: Tables,
    by: Annotated[str, ("device", *BROWSING)],
    delivery: str = "",
    days: Annotated[int, FROM_0] = 0,
    top: Annotated[int, FROM_1] = 10,
    timezone: str = "",
) -> Annotated[pl.DataFrame, OPENS]:
    """Return the opens by "device", "operating_system" or "browser": one row per name, most opens first.

    Columns: `rank` (null for the two last rows); `row` ("group", "others", which is there if it has opens, "total");
    `name`; `opens`, `total`, `share` (opens / total, null without opens); the same of `mobile` opens alone
    (`mobile_total`, `mobile_share`); and the rest, `computer` and `unknown`. A computer is a PC or a Mac, any other
    known device is mobile. The totals are counted by themselves. Undated opens count where no period is asked for.
    Raises RequestError for an unknown `by`, delivery or zone, or a `top` or `days` that is no whole number.
    """
    opens = named(hits(tables, delivery), by).filter(pl.col("event_type").cast(pl.String) == "opened")
    if days:
        zone = zone_of(tables, timezone)
        opens = opens.filter(within(period(tables, delivery, days, zone), zone))
    kinds = [(pl.col("kind") == kind).sum().cast(pl.Int64).alias(kind) for kind in KINDS]
    counts = [pl.len().cast(pl.Int64).alias("opens"), *kinds]
    opens = opens.with_columns(kind=device_kind())
    by_name, total = pl.collect_all([opens.group_by("name").agg(counts), opens.select(counts)])
    totals = {"total": total["opens"].item(), "mobile_total": total["mobile"].item()}
    return (
        top_rows(by_name, "opens", top, total)
        .with_columns(pl.lit(count, pl.Int64).alias(name) for name, count in totals.items())
        .with_columns(share=share_of("opens", "total"), mobile_share=share_of("mobile", "mobile_total"))
        .select(OPENS)
    )


def usage(
    tables: Tables,
    by: Annotated[str, BROWSING],
    delivery: str = "",
    days: Annotated[int, FROM_0] = PERIOD_DAYS,
    top: Annotated[int, FROM_1] = 10,
    timezone: str = "",
    distinct: Annotated[str, DISTINCT] = "day",
) -> Annotated[pl.DataFrame, USAGE]:
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
    per_day = [share_of(name, "days").alias(f"{name}_per_day") for name in ("visitors", "pages")]
    return (
        top_rows(counted, "visitors", top, total)
        .with_columns(total=pl.lit(total["visitors"].item(), pl.Int64), days=pl.lit(whole.days, pl.Int64))
        .with_columns(*per_day, usage_rate=share_of("visitors", "total"))
        .select(USAGE)
    )


def history(
    tables: Tables,
    by: Annotated[str, BROWSING],
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
    of_day, of_name, counted = pl.collect_all([
        _counts(visits, ["day"]).filter(pl.col("visitors") > 0).select("day", day_visitors="visitors"),
        _counts(visits, ["day", "name"]).drop("pages"),
        _visitors(visits, ["name"], "day"),
    ])  # fmt: skip
    names = ranked(counted.filter(pl.col("visitors") > 0), "visitors", top).drop_nulls("rank").select("rank", "name")
    return (
        of_day.join(names, how="cross")
        .join(of_name, on=["day", "name"], how="left", nulls_equal=True)
        .with_columns(pl.col("visitors").fill_null(0))
        .sort("day", "rank")
        .with_columns(_last_week(name).alias(f"week_{name}") for name in ("visitors", "day_visitors"))
        .with_columns(
            rate=share_of("visitors", "day_visitors"), week_rate=share_of("week_visitors", "week_day_visitors")
        )
        .select(
            "day", "rank", "name", "visitors", "day_visitors", "rate", "week_visitors", "week_day_visitors", "week_rate"
        )
    )


def versions(
    tables: Tables,
    by: Annotated[str, BROWSING],
    delivery: str = "",
    days: Annotated[int, FROM_0] = PERIOD_DAYS,
    top: Annotated[int, FROM_1] = 10,
    of: str = EVERY,
    timezone: str = "",
    distinct: Annotated[str, DISTINCT] = "day",
) -> Annotated[pl.DataFrame, VERSIONS]:
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
    chosen = ranked(counted, "visitors", top if of == EVERY else counted.height or 1).drop_nulls("rank")
    chosen = chosen if of == EVERY else chosen.filter(pl.col("name") == _used(of, counted))
    rows = versioned.filter(pl.col("visitors") > 0).join(
        chosen.select("rank", "name", name_visitors="visitors"), on="name", nulls_equal=True
    )
    return (
        _first_versions(rows)
        .with_columns(total=pl.lit(counted["visitors"].sum(), pl.Int64))
        .with_columns(relative_rate=share_of("visitors", "name_visitors"), global_rate=share_of("visitors", "total"))
        .select(VERSIONS)
    )


def _first_versions(rows: pl.DataFrame) -> pl.DataFrame:
    """The most used versions of each name, and what is left of it in one row."""
    ordered = rows.sort("rank", pl.col("visitors").neg(), "version", nulls_last=True)
    is_left = pl.col("rank").cum_count().over("rank") > MOST_VERSIONS
    row = pl.when(is_left).then(pl.lit("others", ROWS)).otherwise(pl.lit("group", ROWS))
    marked = ordered.with_columns(row=row, version=pl.when(~is_left).then("version"))
    keys = ["rank", "name", "row", "version", "name_visitors"]
    return marked.group_by(keys, maintain_order=True).agg(pl.col("visitors").sum())


def _visits(tables: Tables, by: str, delivery: str, whole: Period, timezone: str) -> pl.LazyFrame:
    """The dated visits of a period: `name`, `version`, `day`, and whose they are."""
    found = named(hits(tables, delivery), by).filter(is_link_hit(), within(whole, timezone))
    return found.select("name", "version", *MESSAGE.key, day=day_of(timezone))


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
