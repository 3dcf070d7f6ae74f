"""Which links were clicked: the table "most visited links", its chart per day, the header figures, the URLs tab.

Here, a click is any hit on a link except an open: opt-out, mirror page and web pages are in the list and its total, as
on the platform, so the total may exceed the cumulated clicks of the header, which are e-mail clicks only.
"""

import math
from collections.abc import Sequence
from typing import Annotated, Literal

import polars as pl

from trackkit.analysis.listing import Words, asked_words, in_period, named
from trackkit.analysis.ranking import ranked, top_rows
from trackkit.analysis.unseen import WHY, together
from trackkit.clock import Asked, begins, local, step_of
from trackkit.engine.deliveries import (
    Deliveries,
    asked_about,
    comparable,
    counted_events,
    is_link_hit,
    of_deliveries,
    the_one,
    with_launch,
    zone_of,
)
from trackkit.engine.measure import measure, quotient
from trackkit.engine.plausible import plausible
from trackkit.engine.snapshot import Measurable
from trackkit.errors import RequestError, did_you_mean
from trackkit.language import translatable
from trackkit.metrics import METRICS, part_of
from trackkit.schema import HITS, LINK_TYPES, MESSAGE
from trackkit.toml import FROM_1

__all__ = [
    "FIGURES",
    "click_figures",
    "clicks_per_day",
    "event_label",
    "kept",
    "late_clicks",
    "link_clicks",
    "tracked_links",
]

OTHERS, TOTAL = translatable(("Others", "Total"))
ROWS = pl.Enum(["link", "others", "total"])
# The name of a link by what it is grouped by: the first of these columns that is not empty.
NAMED_BY = {
    "link": ("link_label", "url", "link_id"),
    "label": ("link_label", "url", "link_id"),
    "url": ("url", "link_label", "link_id"),
    "category": ("link_category",),
    "tag": ("tag_id", "link_label", "url", "link_id"),
}
UNNAMED = translatable(
    {
        "link": "(unknown link)",
        "label": "(unknown link)",
        "url": "(unknown link)",
        "category": "(no category)",
        "tag": "(no tag)",
    }
)
CLICKS = "rank row link clicks total share"
TRACKED = "link_id label category url type occurrence offer_id clicks recipients total share"
VALIDITY = "row link_id link valid_until clicks late share"
LINK_PERIODS = ("hour", "day", "month")
FIGURES = ("estimated_click_to_open_rate", "click_rate", "total_click_rate")
EVENT_LABELS = translatable(
    {
        "opened": "Open",
        "clicked": "Email click",
        "unsubscribed": "Opt-out",
        "web_visited": "Web",
        "transaction": "Transaction",
        "mirror_page": "Mirror page",
    }
)
TYPES = {label: name for name, label in EVENT_LABELS.items()} | {name: name for name in HITS}
# What `event_label` returns for the other event types; the platform's "Rejected" is a reason of failures.
REJECTED = {"rejected": translatable("Rejected by the sender")}
translatable(("Queued", "Sent", "Delivered", "Deferred", "Bounced", "Failed"))
translatable(("Autoresponded", "Complained", "Subscribed", "Unknown"))


def link_clicks(
    tables: Measurable,
    delivery: Deliveries = None,
    by: Annotated[str, NAMED_BY] = "label",
    top: Annotated[int, FROM_1] = 10,
    hours: Annotated[float | None, FROM_1] = None,
    names: pl.DataFrame | None = None,
    in_message: bool = False,
) -> Annotated[pl.DataFrame, CLICKS.split()]:
    """Return the most visited links of deliveries: one row per link of the top, then "Others" and "Total".

    Columns: `rank` (from 1; null for the two last rows); `row` ("link", "others" or "total"); `link`, its label, URL or
    category as asked `by`; `clicks`; `total`, the same in each row, counted separately; `share`, clicks / total, null
    without clicks. Links are grouped by their exact text, case and spaces included; equal counts are in the order of
    their text. A link without a label is named by its URL, and vice versa; `by` "link" takes the `names` of
    `clickmap.link_names`, in which each link has its own. `hours` keeps what happened before launch + `hours`, the
    launch of its own delivery. With `in_message` only e-mail clicks count, those of the metric `total_clicks`. Raises
    RequestError for an unknown delivery or `by`, or a `top` or `hours` that is not positive.

    >>> link_clicks(store, delivery, top=1).select("row", "link", "clicks").rows()
    [('link', 'Shop home', 7), ('others', 'Others', 20), ('total', 'Total', 27)]
    """
    clicks = _link_hits(tables, delivery, by, hours, names, in_message)
    total = clicks.select(clicks=pl.len().cast(pl.Int64)).collect()
    name = pl.col("row").replace_strict({"others": OTHERS, "total": TOTAL}, default=None, return_dtype=pl.String)
    return (
        top_rows(_ranked_links(clicks, top), total, ROWS)
        .with_columns(link=pl.coalesce(name, "link"), total=pl.lit(total["clicks"].item(), pl.Int64))
        .with_columns(share=quotient("clicks", "total"))
        .select(CLICKS.split())
    )


def clicks_per_day(
    tables: Measurable,
    delivery: Deliveries = None,
    by: Annotated[str, NAMED_BY] = "label",
    top: Annotated[int, FROM_1] = 10,
    hours: Annotated[float | None, FROM_1] = None,
    timezone: str = "",
    every: Annotated[str, LINK_PERIODS] = "day",
    names: pl.DataFrame | None = None,
    in_message: bool = False,
) -> pl.DataFrame:
    """Return the clicks on each link of `link_clicks` by calendar day: one row per day and link that was clicked.

    Columns: `day` (date in `timezone`; of a month its first), `rank`, `row` ("link" or "others"), `link`, `clicks`.
    `every` is "day", or "month" for long spans; with "hour", `starts_at`, the start of the hour in `timezone`, stands
    in place of `day`. Days without clicks have no row; undated clicks are left out.

    >>> clicks_per_day(store, delivery).select("day", "link", "clicks").row(0)
    (datetime.date(2026, 11, 1), 'Shop home', 7)
    """
    step, zone = step_of(every, LINK_PERIODS, "period"), zone_of(tables, timezone)
    at = local("occurred_at", zone)
    name, start = ("starts_at", begins(at, zone, step)) if every == "hour" else ("day", at.dt.date().dt.truncate(step))
    clicks = _link_hits(tables, delivery, by, hours, names, in_message)
    ranks = _ranked_links(clicks, top).select("link", "rank").lazy()
    is_other = pl.col("rank").is_null()
    return (
        clicks.filter(plausible(tables, "event", the_one(asked_about(tables, delivery))).holds())
        .join(ranks, on="link")
        .with_columns(
            link=pl.when(is_other).then(pl.lit(OTHERS)).otherwise("link"),
            row=pl.when(is_other).then(pl.lit("others", ROWS)).otherwise(pl.lit("link", ROWS)),
        )
        .group_by("rank", "row", "link", start.alias(name))
        .agg(clicks=pl.len().cast(pl.Int64))
        .sort(name, "rank", nulls_last=True)
        .select(name, "rank", "row", "link", "clicks")
        .collect()
    )


def click_figures(tables: Measurable, delivery: Deliveries = None) -> pl.DataFrame:
    """Return the three header figures with their platform average: one row each for the rates of `FIGURES`.

    Columns: `metric`, `label`, `numerator_name`, `numerator`, `denominator_name`, `denominator`, `rate`; `why`, the
    reason where it cannot be observed (`unseen`); `platform_average`, the rate of the sums (`average_numerator` /
    `average_denominator`) over the `deliveries` of `comparable` that have the rate; `mean_of_rates`, the plain mean
    over the same ones. The first is what the platform's sums of indicators give; both are null when nothing compares,
    as with all deliveries. Several compare with those that any of them does, without themselves. Raises RequestError
    for an unknown delivery.

    >>> click_figures(store, delivery).select("metric", "numerator", "denominator").row(0)
    ('estimated_click_to_open_rate', 6, 29)
    """
    ids = asked_about(tables, delivery)
    peers = comparable(tables, ids)["delivery_id"].to_list()
    figures = together(tables, FIGURES, ids)
    peer_figures = measure(tables, FIGURES, delivery=peers) if peers else figures.clear()
    return pl.concat([_figure(figures, peer_figures, name) for name in FIGURES])


def tracked_links(
    tables: Measurable,
    delivery: Deliveries = None,
    type: Words = "",
    since: Asked = "",
    until: Asked = "",
    link: str = "",
    device: Words = "",
    timezone: str = "",
) -> Annotated[pl.DataFrame, TRACKED.split()]:
    """Return the URLs tab of a delivery: one row per tracked link, most clicked first, never clicked ones included.

    Columns: `link_id`, `label`, `category`, `url`, `type` (the platform's word), `occurrence`, `offer_id`, `clicks`
    (hits that are no opens), `recipients` (distinct messages among them), `total` (clicks on all links), `share`
    (clicks / total). A link that was hit but not listed has the label, category and URL of its hits; hits without a
    link make one row with a null `link_id`. Opens are no link here. Narrowed as by `kept`, only the clicks that it
    keeps are counted, and only links with any are there.

    A link is of one delivery. Of several, those alike in label, category, URL, type and offer make one row, whose
    `link_id` and `occurrence` are null if they differ; `recipients` are counted again. Raises RequestError for an
    unknown delivery, and as `kept`.

    >>> tracked_links(store, delivery).select("label", "clicks").row(0)
    ('Shop home', 7)
    """
    ids = asked_about(tables, delivery)
    declared = of_deliveries(tables, "link", ids).filter(pl.col("type_code").ne_missing(2)).collect()
    events = kept(_all_link_hits(tables, ids), type, since, until, link, device, zone_of(tables, timezone))
    hits = events.group_by("link_id").agg(_hit_columns()).collect()
    is_narrowed = any(value != "" for value in (type, since, until, link, device))
    how: Literal["right", "full"] = "right" if is_narrowed else "full"
    links = declared.join(hits, on="link_id", how=how, coalesce=True, nulls_equal=True)
    texts = [pl.coalesce(column, f"hit_{column}").alias(column) for column in ("label", "category", "url")]
    number = pl.col("link_id").cast(pl.Int64, strict=False)
    counted = links.with_columns(pl.col("clicks", "recipients").fill_null(0), *texts, type=_type_label())
    return (
        (counted if the_one(ids) else _alike(counted, events))
        .with_columns(total=pl.col("clicks").sum())
        .with_columns(share=quotient("clicks", "total"))
        .sort("clicks", number, "link_id", "label", "url", descending=[True, *[False] * 4], nulls_last=True)
        .select(TRACKED.split())
    )


def late_clicks(
    tables: Measurable, delivery: Deliveries = None, names: pl.DataFrame | None = None
) -> Annotated[pl.DataFrame, VALIDITY.split()]:
    """Return the clicks that came after the validity of their link: one row per clicked link with one, then the total.

    A link is valid until its own end, or until that of the delivery's web resources, whichever is first. Columns: `row`
    ("link" or "total"); `link_id`, `link` (by the `names` of `clickmap.link_names`, else its label, URL or id);
    `valid_until`, UTC; `clicks`, dated hits on it that are no opens; `late`, those after its end; `share`, late /
    clicks. Most late ones first. Without any end known, the total alone, with nulls. A link that was hit in several
    deliveries has a row for each of its ends. Raises RequestError for an unknown delivery.

    >>> late_clicks(store, delivery).select("row", "clicks", "late").rows()
    [('total', None, None)]
    """
    known = _ending_clicks(tables, asked_about(tables, delivery), names).collect()
    is_late = pl.col("occurred_at") > pl.col("valid_until")
    counts = [pl.len().alias("clicks"), is_late.sum().alias("late")]
    rows = known.group_by("link_id", "valid_until").agg(pl.col("link").first(), *counts)
    rows = rows.sort("late", "clicks", "link", "link_id", "valid_until", descending=[True, True, *[False] * 3])
    total = known.select(counts).with_columns(pl.all() if known.height else pl.lit(None, pl.Int64).alias("clicks"))
    parts = [rows.with_columns(row=pl.lit("link", ROWS)), total.with_columns(row=pl.lit("total", ROWS))]
    counted = pl.concat(parts, how="diagonal_relaxed").with_columns(pl.col("clicks", "late").cast(pl.Int64))
    late = pl.when(pl.col("clicks").is_not_null()).then("late")
    return counted.with_columns(late=late).with_columns(share=quotient("late", "clicks")).select(VALIDITY.split())


def _ending_clicks(tables: Measurable, ids: Sequence[str] | None, names: pl.DataFrame | None) -> pl.LazyFrame:
    """The dated clicks on links that end: `link_id`, `link`, `occurred_at`, `valid_until`."""
    links = tables.scan("link").select("link_id", own_end="valid_until").unique("link_id", keep="any")
    ends = of_deliveries(tables, "delivery", ids).group_by("delivery_id").agg(end=pl.col("web_validity_at").max())
    hits = _all_link_hits(tables, ids).filter(plausible(tables, "event", the_one(ids)).holds())
    link = _link_name("link")
    if names is not None:
        hits = hits.join(names.lazy().select("link_id", name="link"), on="link_id", how="left")
        link = pl.coalesce("name", link)
    named_hits = hits.with_columns(link=link).join(links, on="link_id", how="left").join(ends, "delivery_id", "left")
    ending = named_hits.with_columns(valid_until=pl.min_horizontal("own_end", "end"))
    return ending.filter(pl.col("valid_until").is_not_null()).select("link_id", "link", "occurred_at", "valid_until")


def kept(
    hits: pl.LazyFrame, type: Words, since: Asked, until: Asked, link: str, device: Words, zone: str
) -> pl.LazyFrame:
    """Return the hits of some types, of a period, on a link, by some devices; those left empty do not narrow them.

    `type` has names of `EVENT_LABELS`, as shown or as columns have them; `link` the id, label or URL of one. Raises
    RequestError for an unknown type, a link or device of none of the hits, and what is no date.

    >>> hits = store["event"]
    >>> kept(hits, "Email click", "", "", "", "", "UTC").select(pl.len()).collect().item()
    101
    """
    if types := named(type, TYPES, "type of hit"):
        hits = hits.filter(pl.col("event_type").cast(pl.String).is_in(types))
    if link:
        hits = hits.filter(_is_among(hits, ("link_id", "link_label", "url"), [str(link)], "link"))
    if devices := asked_words(device):
        hits = hits.filter(_is_among(hits, ("device",), devices, "device"))
    return in_period(hits, "occurred_at", since, until, zone)


def _is_among(hits: pl.LazyFrame, columns: Sequence[str], asked: Sequence[str], what: str) -> pl.Expr:
    """Whether one of the columns has a value asked for; RequestError for one that no hit has."""
    values = [hits.select(pl.col(name).drop_nulls().unique()) for name in columns]
    known = list(dict.fromkeys(value for found in pl.collect_all(values) for value in found.to_series()))
    for value in asked:
        if value not in known:
            raise RequestError(f"No hit is of the {what} {value[:80]!r}.{did_you_mean(value, known)}")
    return pl.any_horizontal(pl.col(name).is_in(list(asked)).fill_null(False) for name in columns)


def event_label(event_type: pl.Expr) -> pl.Expr:
    """Return the platform's term for an event type ("Open", "Email click"...), or its name in words.

    >>> pl.select(event_label(pl.lit("clicked"))).item()
    'Email click'
    """
    name = event_type.cast(pl.String)
    words = name.str.replace_all("_", " ")
    capital = words.str.slice(0, 1).str.to_uppercase() + words.str.slice(1)
    return name.replace_strict({**EVENT_LABELS, **REJECTED}, default=capital, return_dtype=pl.String)


def _all_link_hits(tables: Measurable, ids: Sequence[str] | None) -> pl.LazyFrame:
    return counted_events(tables, ids).filter(is_link_hit())


def _alike(links: pl.DataFrame, events: pl.LazyFrame) -> pl.DataFrame:
    """The links of several deliveries, those alike in one row; their recipients are counted in the `events` on them."""
    alike = ["label", "category", "url", "type", "offer_id"]
    rows = links.group_by(alike, maintain_order=True).agg(
        pl.col("clicks").sum(), _common_value("link_id"), _common_value("occurrence")
    )
    named = events.filter(pl.col("message_id").is_not_null()).select("link_id", *MESSAGE.key).unique()
    of_links = named.join(links.lazy().select("link_id", *alike), on="link_id", nulls_equal=True)
    recipients = of_links.unique([*alike, *MESSAGE.key]).group_by(alike).agg(recipients=pl.len().cast(pl.Int64))
    joined = rows.join(recipients.collect(), on=alike, how="left", nulls_equal=True, maintain_order="left")
    return joined.with_columns(pl.col("recipients").fill_null(0))


def _link_hits(
    tables: Measurable, delivery: Deliveries, by: str, hours: float | None, names: pl.DataFrame | None, in_message: bool
) -> pl.LazyFrame:
    """The clicks for a table of links: `link` (the text grouped by), `occurred_at`."""
    name, ids = _link_name(by), asked_about(tables, delivery)
    hits = _all_link_hits(tables, ids)
    hits = hits.filter(pl.col("event_type").cast(pl.String) == "clicked") if in_message else hits
    if by == "link" and names is not None:
        hits = hits.join(names.lazy().select("link_id", name="link"), on="link_id", how="left")
        name = pl.coalesce("name", name)
    if hours is not None:
        hits = _within(tables, hits, ids, hours)
    return hits.select("occurred_at", link=name)


def _link_name(by: str) -> pl.Expr:
    """The text that links are grouped by; RequestError for an unknown `by`."""
    if by not in NAMED_BY:
        raise RequestError(f"Links cannot be grouped by {by!r}.{did_you_mean(str(by), NAMED_BY)}")
    names = [pl.when(pl.col(column) != "").then(pl.col(column)) for column in NAMED_BY[by]]
    return pl.coalesce(*names, pl.lit(UNNAMED[by]))


def _within(tables: Measurable, hits: pl.LazyFrame, ids: Sequence[str] | None, hours: float) -> pl.LazyFrame:
    """The hits before so many hours after the launch of their delivery."""
    if not 0 < hours < math.inf:
        raise RequestError(f"A time filter is a positive number of hours; got {hours!r}.")
    limit = pl.col("launched_at") + pl.duration(microseconds=min(round(hours * 3_600_000_000), 2**60))
    return with_launch(tables, hits, ids).filter(pl.col("occurred_at") < limit)


def _ranked_links(clicks: pl.LazyFrame, top: int) -> pl.DataFrame:
    """Every link with its clicks, most clicked first; `rank` is null after the top."""
    counts = clicks.group_by("link").agg(clicks=pl.len().cast(pl.Int64)).collect()
    return ranked(counts, "clicks", ["link"], top, "links")


def _hit_columns() -> list[pl.Expr]:
    return [
        pl.len().cast(pl.Int64).alias("clicks"),
        pl.col("message_id").drop_nulls().n_unique().cast(pl.Int64).alias("recipients"),
        _common_value("link_label").alias("hit_label"),
        _common_value("link_category").alias("hit_category"),
        _common_value("url").alias("hit_url"),
        pl.col("event_type").cast(pl.String).drop_nulls().min().alias("hit_type"),
    ]


def _common_value(column: str) -> pl.Expr:
    """The value that all hits share, else null."""
    values = pl.col(column).drop_nulls()
    return pl.when(values.n_unique() == 1).then(values.min()).alias(column)


def _type_label() -> pl.Expr:
    declared = pl.col("type_code").replace_strict(LINK_TYPES, default=None, return_dtype=pl.String)
    return event_label(pl.coalesce(declared, "hit_type"))


def _figure(this: pl.DataFrame, others: pl.DataFrame, name: str) -> pl.DataFrame:
    """One header figure of these deliveries, with the two averages over others."""
    metric = METRICS[name]
    parts = [str(metric.numerator), str(metric.denominator)]  # never None: it is a rate
    peers = others.drop_nulls(name)
    sums = peers.select(average_numerator=pl.col(parts[0]).sum(), average_denominator=pl.col(parts[1]).sum())
    average = sums.select(
        pl.all(),
        platform_average=pl.when(pl.last() > 0).then(pl.first() / pl.last()),
        deliveries=pl.lit(peers.height, pl.Int64),
    )
    why = pl.col(WHY.format(name)) if WHY.format(name) in this.columns else pl.lit(None, pl.String)
    own = [part_of(this.columns, name, part) for part in parts]
    values = this.select(numerator=own[0], denominator=own[1], rate=name, why=why)
    names = pl.DataFrame(
        {"metric": [name], "label": [metric.label], "numerator_name": [parts[0]], "denominator_name": [parts[1]]}
    )
    return pl.concat([names, values, average, peers.select(mean_of_rates=pl.col(name).mean())], how="horizontal")
