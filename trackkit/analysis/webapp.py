"""Web applications: how far visitors walk along the pages of a path, and where they came from.

A path is the steps of one application. Visitors are persons: browser identities, else recipients. Those who refused
web tracking are left out of every figure with their whole history, and counted apart.
"""

import polars as pl

from trackkit.analysis.consent import consent_counts, share, with_consent
from trackkit.deliveries import Tables
from trackkit.errors import RequestError, did_you_mean
from trackkit.refusals import visitor

UNNAMED = "(no name)"
FOUND_BY = pl.Enum(["cookie", "application", "nothing"])


def applications(tables: Tables, web_application: str = "") -> list[str]:
    """Return the names of the web applications, most displayed first, or the one asked for alone.

    Raises RequestError for one that no page belongs to.
    """
    counts = _pages(tables).group_by("web_application").len().collect()
    names = counts.sort("len", "web_application", descending=[True, False])["web_application"].to_list()
    if not web_application:
        return names
    web_application = str(web_application)
    if web_application not in names:
        near = did_you_mean(web_application, names)
        raise RequestError(f"There is no web application {web_application[:80]!r}.{near}")
    return [web_application]


def counted_pages(tables: Tables, web_application: str = "", consent: str = "opt-out") -> pl.DataFrame:
    """Return the pages displayed in a web application, or in all: one row per `page_hit`, refused ones included.

    Columns: those of `page_hit`; `visitor`; `web_choice` and `is_counted` (see `consent.with_consent`). Raises
    RequestError for an unknown application or consent.
    """
    names = applications(tables, web_application)
    pages = _pages(tables).filter(pl.col("web_application").is_in(names)).with_columns(visitor()).collect()
    return with_consent(tables, pages, consent)


def conversion(pages: pl.DataFrame, order: str = "any") -> pl.DataFrame:
    """Return the headline of each web application: one row per application, most displayed first.

    In: the frame of `counted_pages`. Columns: `web_application`; `pages` displayed and `visitors`, both counted ones;
    `steps` of its path; `started`, visitors of the first step; `converted`, those of every step, and
    `conversion_rate` = converted / started; `bounced`, visitors of the first step and of no later one, and
    `bounce_rate` = bounced / started; `left_out`, visitors who are in none of these, and `left_out_rate`, out of all
    `everyone`. Rates are null when nobody is in their denominator. `order` as in `funnel`.
    """
    steps = funnel(pages, order).group_by("web_application").agg(
        steps=pl.len().cast(pl.Int64), started=pl.col("started").first(), converted=pl.col("visitors").last()
    )  # fmt: skip
    walks = _walks(pages, order)
    bounced = walks.group_by("web_application", "visitor").agg(pl.col("place").max()).filter(pl.col("place") == 1)
    found = _in_all(pages)
    for frame in (steps, bounced.group_by("web_application").agg(bounced=_count())):
        found = found.join(frame, on="web_application", how="left", maintain_order="left")
    counted = pl.col("steps", "started", "converted", "bounced").fill_null(0)
    return found.with_columns(counted).select(
        "web_application", "pages", "visitors", "steps", "started",
        "converted", share("converted", "started").alias("conversion_rate"),
        "bounced", share("bounced", "started").alias("bounce_rate"),
        "left_out", "everyone", share("left_out", "everyone").alias("left_out_rate"),
    )  # fmt: skip


def funnel(pages: pl.DataFrame, order: str = "any") -> pl.DataFrame:
    """Return how many visitors got how far: one row per web application and step of its path.

    In: the frame of `counted_pages`. Columns: `web_application`; `place` (1, 2...), `step` (its number on the path),
    `page` (the names of its pages); `displayed`, visitors of this step; `visitors`, those of this and of all steps
    before; `started`, those of the first step; `share` = visitors / started; `before`, those of the step before;
    `lost` = before - visitors, and `loss_rate` = lost / before; both null for the first step. `order` "strict" asks
    besides that each step was first displayed at or after the one before. A step that only visitors left out saw is
    there with 0; pages without a step are on no path.
    """
    if order not in ("any", "strict"):
        raise RequestError(f"There is no order {order!r}.{did_you_mean(str(order), ('any', 'strict'))}")
    walks = _walks(pages, order)
    counts = walks.group_by("web_application", "place").agg(
        displayed=_count(), visitors=pl.col("is_reached").sum().cast(pl.Int64)
    )
    before = pl.col("visitors").shift(1).over("web_application", order_by="place")
    started = pl.col("visitors").first().over("web_application", order_by="place")
    return (
        _path(pages)
        .join(counts, on=["web_application", "place"], how="left", maintain_order="left")
        .with_columns(pl.col("displayed", "visitors").fill_null(0))
        .with_columns(before=before, started=started)
        .with_columns(lost=pl.col("before") - pl.col("visitors"))
        .select(
            "web_application", "place", "step", "page", "displayed", "visitors", "started",
            share("visitors", "started"), "before", "lost", share("lost", "before").alias("loss_rate"),
        )
    )  # fmt: skip


def traffic_sources(
    tables: Tables, pages: pl.DataFrame, external_delivery: str = "", order: str = "any", top: int = 10
) -> pl.DataFrame:
    """Return where the visitors came from: one row per web application and source, the largest first.

    In: the frame of `counted_pages`. The source of a visitor is the first found: the delivery in the cookie, of the
    visitor's earliest page that has one; else `external_delivery`, the external delivery set in the application or,
    failing that, in its target mapping. Columns: `web_application`; `rank`, null for the others after the `top`;
    `found_by` ("cookie", "application", "nothing", null for the others); `delivery_id` and `source` (its label), null
    when there is none; `visitors`, their `total` in the application, `share`; `started`, `converted` and
    `conversion_rate` of this source's visitors, as in `conversion`.
    """
    cookie = pl.col("delivery_id").sort_by("occurred_at", nulls_last=True).drop_nulls().first()
    found = _counted(pages).group_by("web_application", "visitor").agg(cookie=cookie).with_columns(
        delivery_id=pl.coalesce("cookie", pl.lit(str(external_delivery) if external_delivery else None, pl.String)),
        found_by=pl.when(pl.col("cookie").is_not_null()).then(pl.lit("cookie"))
        .otherwise(pl.lit("application" if external_delivery else "nothing")).cast(FOUND_BY),
    )  # fmt: skip
    progress = found.join(_progress(pages, order), on=["web_application", "visitor"], how="left")
    rows = _ranked(progress, top).join(_labels(tables), on="delivery_id", how="left", maintain_order="left")
    return rows.with_columns(total=pl.col("visitors").sum().over("web_application")).select(
        "web_application", "rank", "found_by", "delivery_id", pl.coalesce("source", "delivery_id"),
        "visitors", "total", share("visitors", "total"),
        "started", "converted", share("converted", "started").alias("conversion_rate"),
    )  # fmt: skip


def of_application(pages: pl.DataFrame, web_application: str) -> pl.DataFrame:
    """Return the pages of one web application."""
    return pages.filter(pl.col("web_application") == web_application)


def choices(pages: pl.DataFrame) -> pl.DataFrame:
    """Return what the visitors of each web application chose: `consent.consent_counts` by `web_application`."""
    return consent_counts(pages, by="web_application")


def _pages(tables: Tables) -> pl.LazyFrame:
    named = pl.when(pl.col("web_application") != "").then("web_application").otherwise(pl.lit(UNNAMED))
    return tables.scan("page_hit").with_columns(web_application=named)


def _counted(pages: pl.DataFrame) -> pl.DataFrame:
    return pages.filter("is_counted", pl.col("visitor").is_not_null())


def _in_all(pages: pl.DataFrame) -> pl.DataFrame:
    """Pages and visitors of each application, counted and left out."""
    known = pl.col("visitor").is_not_null()
    distinct = pl.col("visitor").drop_nulls().n_unique().cast(pl.Int64)
    return (
        pages.group_by("web_application")
        .agg(
            pages=pl.col("is_counted").sum().cast(pl.Int64), displayed=pl.len(), everyone=distinct,
            visitors=pl.col("visitor").filter(known & pl.col("is_counted")).n_unique().cast(pl.Int64),
        )
        .with_columns(left_out=pl.col("everyone") - pl.col("visitors"))
        .sort("displayed", "web_application", descending=[True, False])
    )  # fmt: skip


def _path(pages: pl.DataFrame) -> pl.DataFrame:
    """The steps of each application, whoever displayed them: `web_application`, `place`, `step`, `page`."""
    names = pl.col("page").drop_nulls().unique().sort().str.join(" / ")
    steps = pages.filter(pl.col("step").is_not_null()).group_by("web_application", "step").agg(page=names)
    place = pl.col("step").rank("dense").over("web_application").cast(pl.Int64)
    return steps.with_columns(place=place).sort("web_application", "place")


def _walks(pages: pl.DataFrame, order: str) -> pl.DataFrame:
    """One row per visitor and step displayed, with `is_reached`: this step and all those before, in order if asked."""
    path = _path(pages).select("web_application", "step", "place")
    seen = _counted(pages).join(path, on=["web_application", "step"])
    first = seen.group_by("web_application", "visitor", "place").agg(pl.col("occurred_at").min())
    walk = ["web_application", "visitor"]
    follows = pl.col("place") == pl.int_range(1, pl.len() + 1).over(walk)
    if order == "strict":
        previous = pl.col("occurred_at").shift(1).over(walk)
        follows = follows & ((pl.col("occurred_at") >= previous).fill_null(False) | (pl.col("place") == 1))
    return first.sort(*walk, "place").with_columns(is_reached=follows.cum_prod().over(walk).cast(pl.Boolean))


def _progress(pages: pl.DataFrame, order: str) -> pl.DataFrame:
    """Whether each visitor on a path displayed its first step, and all of them."""
    last = _path(pages).group_by("web_application").agg(last=pl.col("place").max())
    reached = pl.col("place").filter("is_reached")
    return (
        _walks(pages, order)
        .join(last, on="web_application")
        .group_by("web_application", "visitor")
        .agg(
            is_started=(pl.col("place") == 1).any(),
            is_converted=(reached == pl.col("last").first()).any(),
        )
    )


def _ranked(progress: pl.DataFrame, top: int) -> pl.DataFrame:
    """Visitors by source, the largest first, those after the top in one row."""
    if not (isinstance(top, int) and top > 0):
        raise RequestError(f"The number of sources to show is a whole number from 1; got {top!r}.")
    counts = [_count().alias("visitors"), *(_true(f"is_{name}").alias(name) for name in ("started", "converted"))]
    source = ("web_application", "found_by", "delivery_id")
    ordered = ["web_application", -pl.col("visitors"), "found_by", "delivery_id"]
    sources = progress.group_by(source).agg(counts).sort(ordered, nulls_last=True)
    rank = pl.int_range(1, pl.len() + 1, dtype=pl.Int64).over("web_application")
    ranked = sources.with_columns(rank=pl.when(rank <= top).then(rank))
    others = ranked.filter(pl.col("rank").is_null()).group_by("web_application").agg(
        pl.col("visitors", "started", "converted").sum()
    )  # fmt: skip
    both = pl.concat([ranked.drop_nulls("rank"), others], how="diagonal")
    return both.sort("web_application", "rank", nulls_last=True)


def _labels(tables: Tables) -> pl.DataFrame:
    labels = tables.scan("delivery").select("delivery_id", source=pl.coalesce("label", "internal_name"))
    return labels.unique("delivery_id", keep="any").collect()


def _true(column: str) -> pl.Expr:
    return pl.col(column).sum().cast(pl.Int64)


def _count() -> pl.Expr:
    return pl.len().cast(pl.Int64)
