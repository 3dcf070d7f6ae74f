"""Web applications: how far visitors walk along the pages of a path, and where they came from.

A path is the steps towards one goal, the target action of an application's tags; an application without goals is one
path. Visitors are browser identities, else recipients. Those who refused web tracking are left out of every figure with
their whole history, and counted separately. A visitor may be on several paths.
"""

from typing import Annotated

import polars as pl

from trackkit.analysis.consent import CONSENTS, consent_counts, displays, with_consent
from trackkit.analysis.listing import asked_words
from trackkit.analysis.messages import with_label
from trackkit.analysis.ranking import ranked, with_others
from trackkit.engine.deliveries import unnamed_if_deleted
from trackkit.engine.measure import quotient
from trackkit.engine.refusals import visitor
from trackkit.engine.snapshot import Measurable
from trackkit.errors import require_word

__all__ = [
    "applications",
    "by_path",
    "choices",
    "conversion",
    "counted_pages",
    "funnel",
    "of_application",
    "traffic_sources",
]

UNNAMED = "(no name)"
PATH = ["web_application", "goal"]
# The columns of each table, after those of its path.
CONVERSION = """
    pages visitors steps started converted conversion_rate bounced bounce_rate left_out everyone left_out_rate
"""
ORDERS = ("any", "strict")
FUNNEL = "place step page displayed visitors started share before lost loss_rate"
SOURCES = "rank found_by delivery_id source visitors total share started converted conversion_rate"
FOUND_BY = pl.Enum(["cookie", "application", "nothing"])


def applications(tables: Measurable, web_application: str = "") -> list[str]:
    """Return the names of the web applications, most displayed first, or only the one asked for.

    Raises RequestError for one without pages.

    >>> applications(store)
    ["Concours d'automne", 'Preference centre']
    """
    counts = _pages(tables).group_by("web_application").len().collect()
    names = counts.sort("len", "web_application", descending=[True, False])["web_application"].to_list()
    if not web_application:
        return names
    return [require_word("web application", str(web_application), names)]


def counted_pages(
    tables: Measurable, web_application: str = "", consent: Annotated[str, CONSENTS] = "opt-out"
) -> pl.DataFrame:
    """Return the pages displayed in a web application, or in all: one row per `page_hit`, refused ones included.

    A page with several tags has a row for each. Columns: those of `page_hit`; `visitor`; `web_choice` and `is_counted`
    (see `consent.with_consent`). Raises RequestError for an unknown application or consent.

    >>> counted_pages(store).height
    88
    """
    names = applications(tables, web_application)
    pages = _pages(tables).filter(pl.col("web_application").is_in(names)).with_columns(visitor()).collect()
    return with_consent(tables, pages, consent)


def conversion(pages: pl.DataFrame, order: Annotated[str, ORDERS] = "any") -> pl.DataFrame:
    """Return the headline of each path of each web application, both most displayed first: one row per path.

    In: the frame of `counted_pages`. Columns: `web_application`; `goal`, null without one; `pages` displayed and
    `visitors`, both counted ones; `steps` of its path; `started`, visitors of the first step; `converted`, those of
    every step, and `conversion_rate` = converted / started; `bounced`, visitors of the first step and of no later one,
    and `bounce_rate` = bounced / started; `left_out`, visitors who count in none of these, and `left_out_rate`, out
    of `everyone`. Rates are null if their denominator is 0. `order` as in `funnel`.

    >>> conversion(counted_pages(store)).select("web_application", "visitors", "started", "converted").row(0)
    ("Concours d'automne", 29, 27, 8)
    """
    steps_by_path = funnel(pages, order).group_by(PATH)
    steps = steps_by_path.agg(steps=_count(), started=pl.col("started").first(), converted=pl.col("visitors").last())
    walks = _walks(pages, order)
    bounced = walks.group_by(*PATH, "visitor").agg(pl.col("place").max()).filter(pl.col("place") == 1)
    paths = _path_totals(pages)
    for frame in (steps, bounced.group_by(PATH).agg(bounced=_count())):
        paths = paths.join(frame, on=PATH, how="left", nulls_equal=True, maintain_order="left")
    counted = pl.col("steps", "started", "converted", "bounced").fill_null(0)
    return (
        paths.with_columns(counted)
        .with_columns(
            conversion_rate=quotient("converted", "started"),
            bounce_rate=quotient("bounced", "started"),
            left_out_rate=quotient("left_out", "everyone"),
        )
        .select(*PATH, *CONVERSION.split())
    )


def funnel(pages: pl.DataFrame, order: Annotated[str, ORDERS] = "any") -> pl.DataFrame:
    """Return how many visitors reached each step: one row per web application, path and step.

    In: the frame of `counted_pages`. Columns: `web_application`, `goal`; `place` (1, 2...), `step` (its number on the
    path), `page` (the names of its pages); `displayed`, visitors of this step; `visitors`, those of this and of all
    steps before; `started`, those of the first step; `share` = visitors / started; `before`, those of the step before;
    `lost` = before - visitors, and `loss_rate` = lost / before; both null for the first step. `order` "strict" also
    requires that each step was first displayed at or after the one before. A step that only excluded visitors saw has
    0; pages without a step are on no path.

    >>> funnel(counted_pages(store)).select("step", "visitors", "started").rows()[:2]
    [(1, 27, 27), (2, 15, 27)]
    """
    require_word("order", order, ORDERS)
    walks = _walks(pages, order)
    counts = walks.group_by(*PATH, "place").agg(displayed=_count(), visitors=pl.col("is_reached").sum().cast(pl.Int64))
    before = pl.col("visitors").shift(1).over(PATH, order_by="place")
    started = pl.col("visitors").first().over(PATH, order_by="place")
    return (
        _path_steps(pages)
        .join(counts, on=[*PATH, "place"], how="left", nulls_equal=True, maintain_order="left")
        .with_columns(pl.col("displayed", "visitors").fill_null(0))
        .with_columns(before=before, started=started)
        .with_columns(lost=pl.col("before") - pl.col("visitors"), share=quotient("visitors", "started"))
        .with_columns(loss_rate=quotient("lost", "before"))
        .select(*PATH, *FUNNEL.split())
    )


def traffic_sources(
    tables: Measurable,
    pages: pl.DataFrame,
    external_delivery: str = "",
    order: Annotated[str, ORDERS] = "any",
    top: int = 10,
) -> pl.DataFrame:
    """Return where the visitors came from: one row per web application, path and source, the largest first.

    In: the frame of `counted_pages`. The source of a visitor is the delivery in the cookie of their earliest page that
    has one not deleted; else the external delivery set in the application or, failing that, in its target mapping:
    `external_delivery` is an id for all applications, or, by commas, `NAME=ID` for each and an id for the others.
    Columns: `web_application`, `goal`; `rank`, null for the others after the `top`; `found_by`
    ("cookie", "application", "nothing", null for the others); `delivery_id` and `source` (its label), null when there
    is none; `visitors`, their `total` on the path, `share`; `started`, `converted` and `conversion_rate` of this
    source's visitors, as in `conversion`.

    >>> traffic_sources(store, counted_pages(store)).select("found_by", "visitors", "total").row(0)
    ('nothing', 14, 29)
    """
    cookie = pl.col("delivery_id").sort_by("occurred_at", nulls_last=True).drop_nulls().first()
    counted = _counted_visits(pages).with_columns(unnamed_if_deleted(tables))
    by_cookie = pl.col("cookie").is_not_null()
    external = _external(str(external_delivery), pages["web_application"].unique().to_list())
    by_application = pl.when(external.is_null()).then(pl.lit("nothing")).otherwise(pl.lit("application"))
    sources = counted.group_by("web_application", "visitor").agg(cookie=cookie)
    sources = sources.with_columns(
        delivery_id=pl.coalesce("cookie", external),
        found_by=pl.when(by_cookie).then(pl.lit("cookie")).otherwise(by_application).cast(FOUND_BY),
    )
    visitors = counted.select(*PATH, "visitor").unique().join(sources, on=["web_application", "visitor"])
    progress = visitors.join(_progress(pages, order), on=[*PATH, "visitor"], how="left", nulls_equal=True)
    rows = with_label(tables, _ranked_sources(progress, top).lazy(), "source").collect()
    return (
        rows.with_columns(total=pl.col("visitors").sum().over(PATH))
        .with_columns(share=quotient("visitors", "total"), conversion_rate=quotient("converted", "started"))
        .select(*PATH, *SOURCES.split())
    )


def _external(asked: str, names: list[str]) -> pl.Expr:
    """The external delivery of each web application; null without one."""
    of_all, own = None, dict[str, str]()
    for word in asked_words(asked):
        name, is_named, delivery = word.rpartition("=")
        if is_named:
            own[require_word("web application", name, names)] = delivery
        else:
            of_all = delivery
    application = pl.col("web_application")
    return application.replace_strict(own, default=pl.lit(of_all, pl.String), return_dtype=pl.String)


def of_application(pages: pl.DataFrame, web_application: str) -> pl.DataFrame:
    """Return the pages of one web application.

    >>> of_application(counted_pages(store), applications(store)[0]).height
    63
    """
    return pages.filter(pl.col("web_application") == web_application)


def by_path(rows: pl.DataFrame, pages: pl.DataFrame) -> list[pl.DataFrame]:
    """Return the rows of `funnel` or `traffic_sources` path by path, in the order of `conversion` of the pages.

    Pages without a goal, of an application that has some, are on no path.

    >>> pages = counted_pages(store)
    >>> len(by_path(funnel(pages), pages))
    2
    """
    is_path = pl.col("goal").is_not_null()
    paths = _path_totals(pages).filter(is_path | ~is_path.any().over("web_application")).select(PATH)
    is_on = [(pl.col("web_application") == name) & pl.col("goal").eq_missing(goal) for name, goal in paths.rows()]
    return [path for path in map(rows.filter, is_on) if path.height]


def choices(pages: pl.DataFrame) -> pl.DataFrame:
    """Return what the visitors of each web application chose: `consent.consent_counts` by `web_application`.

    >>> choices(counted_pages(store)).select("web_application", "web_choice", "visitors", "total").row(0)
    ("Concours d'automne", 'allowed', 10, 29)
    """
    return consent_counts(pages, by="web_application")


def _pages(tables: Measurable) -> pl.LazyFrame:
    application = pl.when(pl.col("web_application") != "").then("web_application").otherwise(pl.lit(UNNAMED))
    goal = pl.when(pl.col("goal") != "").then("goal")
    return tables.scan("page_hit").with_columns(web_application=application, goal=goal)


def _counted_visits(pages: pl.DataFrame) -> pl.DataFrame:
    return pages.filter("is_counted", pl.col("visitor").is_not_null())


def _path_totals(pages: pl.DataFrame) -> pl.DataFrame:
    """Pages and visitors of each path, both counted and left out."""
    is_known = pl.col("visitor").is_not_null()
    distinct = pl.col("visitor").drop_nulls().n_unique().cast(pl.Int64)
    counts = pages.group_by(PATH).agg(
        pages=displays(pl.col("is_counted")),
        displayed=pl.len(),
        everyone=distinct,
        visitors=pl.col("visitor").filter(is_known & pl.col("is_counted")).n_unique().cast(pl.Int64),
    )
    order = (pl.col("displayed").sum().over("web_application"), "web_application", "displayed", "goal")
    left_out = pl.col("everyone") - pl.col("visitors")
    return counts.with_columns(left_out=left_out).sort(order, descending=[True, False, True, False], nulls_last=True)


def _path_steps(pages: pl.DataFrame) -> pl.DataFrame:
    """The steps of each path, from all visitors: `web_application`, `goal`, `place`, `step`, `page`."""
    names = pl.col("page").drop_nulls().unique().sort().str.join(" / ")
    steps = pages.filter(pl.col("step").is_not_null()).group_by(*PATH, "step").agg(page=names)
    place = pl.col("step").rank("dense").over(PATH).cast(pl.Int64)
    return steps.with_columns(place=place).sort(*PATH, "place", nulls_last=True)


def _walks(pages: pl.DataFrame, order: str) -> pl.DataFrame:
    """One row per visitor and step displayed, with `is_reached`: this and all earlier steps, in order if `strict`."""
    path = _path_steps(pages).select(*PATH, "step", "place")
    on_path = _counted_visits(pages).filter(pl.col("step").is_not_null())
    views = on_path.join(path, on=[*PATH, "step"], nulls_equal=True)
    walk = [*PATH, "visitor"]
    first = views.group_by(*walk, "place").agg(pl.col("occurred_at").min())
    follows = pl.col("place") == pl.int_range(1, pl.len() + 1).over(walk)
    if order == "strict":
        previous = pl.col("occurred_at").shift(1).over(walk)
        follows = follows & ((pl.col("occurred_at") >= previous).fill_null(False) | (pl.col("place") == 1))
    return first.sort(*walk, "place").with_columns(is_reached=follows.cum_prod().over(walk).cast(pl.Boolean))


def _progress(pages: pl.DataFrame, order: str) -> pl.DataFrame:
    """Whether each visitor on a path displayed its first step, and whether all steps."""
    last = _path_steps(pages).group_by(PATH).agg(last=pl.col("place").max())
    reached = pl.col("place").filter("is_reached")
    return (
        _walks(pages, order)
        .join(last, on=PATH, nulls_equal=True)
        .group_by(*PATH, "visitor")
        .agg(
            is_started=(pl.col("place") == 1).any(),
            is_converted=(reached == pl.col("last").first()).any(),
        )
    )


def _ranked_sources(progress: pl.DataFrame, top: int) -> pl.DataFrame:
    """Visitors by source, the largest first, with all after the top in one row."""
    counts = [_count().alias("visitors"), *(_sum(f"is_{name}").alias(name) for name in ("started", "converted"))]
    source = ["found_by", "delivery_id"]
    sources = progress.group_by(*PATH, *source).agg(counts)
    ranks = ranked(sources, "visitors", source, top, "sources", PATH)
    return with_others(ranks, ["visitors", "started", "converted"], PATH).sort(*PATH, "rank", nulls_last=True)


def _sum(column: str) -> pl.Expr:
    return pl.col(column).sum().cast(pl.Int64)


def _count() -> pl.Expr:
    return pl.len().cast(pl.Int64)
