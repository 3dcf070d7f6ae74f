"""Hot clicks: where in the message the clicks fell, and the message itself with the share on each link.

The share of a link is its clicks out of all hits on links except opens: opt-out, mirror page, personalised and offer
links are in that total whether or not they can be shown. As on the platform, opt-out, mirror-page and offer links get
no badge, and links that are personalised otherwise do. Clicks of both formats count in either, because a tracked link
belongs to the delivery, not to a format.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Annotated, Any, NamedTuple
from urllib.parse import parse_qs, urlsplit

import polars as pl

from trackkit.analysis.content import Place, read_content
from trackkit.analysis.links import OTHERS, ROWS, TOTAL, TRACKED, UNNAMED, tracked_links
from trackkit.analysis.listing import Words
from trackkit.analysis.messages import with_label
from trackkit.analysis.ranking import ranked
from trackkit.analysis.sanitize import BADGE, page, sentence, too_heavy
from trackkit.clock import Asked
from trackkit.engine.deliveries import (
    Deliveries,
    asked_about,
    counted_events,
    of_deliveries,
    require_delivery,
    the_one,
)
from trackkit.engine.measure import quotient
from trackkit.engine.snapshot import Measurable
from trackkit.errors import require_word
from trackkit.language import say, several, translatable
from trackkit.schema import FORMATS
from trackkit.toml import FROM_1

__all__ = [
    "Match",
    "annotated_message",
    "clicked_links",
    "content_formats",
    "link_names",
    "main_format",
    "marked_message",
    "message_links",
    "named_links",
    "offer_links",
    "placed_clicks",
    "placement",
    "sent_message",
]

PLACED = [*TRACKED.split(), "position", "text", "matched_by", "places", "percent", "placed", "reason"]
IN_MESSAGE = [*PLACED, "number", "message_clicks", "message_share", "heat"]
CLICKED = "rank row link number clicks people total share"
ID = pl.col("link_id").cast(pl.Int64, strict=False)
HEATS = 3  # steps of heat: each a third of the most clicked link's share
UNBADGED, OF_THE_SITE = ("Opt-out", "Mirror page"), ("Web", "Transaction")
REDIRECT_ID = re.compile(r"[ht][^,]*,(?P<delivery>[0-9a-fA-F]{1,16}),(?P<link>[0-9a-fA-F]{1,16})")


class Match(NamedTuple):
    """The tracked link at a place, and how it was identified."""

    link_id: str | None
    by: str | None


# Why a link has no badge.
NO_BADGE, NO_LINK = translatable(("opt-out and mirror-page links carry no badge", "the log does not say which link"))
OF_OFFER = translatable("links of offers carry no badge")
NO_PLACE, NOT_FOUND = translatable(("a page of the site, not a link of the message", "not found in the content"))
NOTHING_TO_SHOW = translatable(
    {"html": "No HTML content was loaded for this delivery.", "text": "No text content was loaded for this delivery."}
)
NO_CONTENT = translatable({"html": "no HTML content was loaded", "text": "no text content was loaded"})
TOO_LARGE = translatable("The content of this delivery is too large to be shown.")
NO_MATCH = Match(None, None)


def placed_clicks(
    tables: Measurable, delivery: str, format: Annotated[str, FORMATS] = "html"
) -> Annotated[pl.DataFrame, PLACED]:
    """Return the place of each tracked link in the message: one row per link, most clicked first.

    Columns: those of `tracked_links` (`clicks`, `total`, `share`...); `percent`, the share in whole percent, halves
    up; `placed`, whether the link is shown with a badge; `position`, the number of its first place among the links of
    the content, from 1; `places`, how many it has; `text`, the words of the first; `matched_by`, "data-url-id",
    "redirect" or "url"; `reason`, in words, where it is not placed. The clicks of all rows add up to `total`.
    Raises RequestError for an unknown delivery or format.

    >>> placed_clicks(store, delivery).drop_nulls("position").select("position", "label", "matched_by").row(0)
    (4, 'Felt desk mat', 'data-url-id')
    """
    body = _body(tables, delivery, format)
    links = tracked_links(tables, delivery)
    places = read_content(body, format).places
    link_places = _link_places(places, _matches(places, links, str(delivery)))
    is_of_offer = pl.col("offer_id").is_not_null()
    hidden = pl.col("type").is_in(UNBADGED).fill_null(False) | is_of_offer
    half_up = (200 * pl.col("clicks") + pl.col("total")) // (2 * pl.col("total"))
    reasons = (
        pl.when(is_of_offer)
        .then(pl.lit(OF_OFFER))
        .when(hidden)
        .then(pl.lit(NO_BADGE))
        .when(pl.col("link_id").is_null())
        .then(pl.lit(NO_LINK))
        .when(pl.col("position").is_null() & pl.col("type").is_in(OF_THE_SITE))
        .then(pl.lit(NO_PLACE))
        .when(pl.col("position").is_null())
        .then(pl.lit(NOT_FOUND if body is not None else NO_CONTENT[format]))
    )
    return (
        links.join(link_places, on="link_id", how="left", maintain_order="left")
        .with_columns(
            percent=pl.when(pl.col("total") > 0).then(half_up),
            places=pl.col("places").fill_null(0),
            placed=pl.col("position").is_not_null() & ~hidden,
        )
        .with_columns(reason=pl.when(~pl.col("placed")).then(reasons))
    )


def placement(tables: Measurable, delivery: str, format: Annotated[str, FORMATS] = "html") -> pl.DataFrame:
    """Return how much of the clicks the click map shows: one row.

    Columns: `format`, `placed_clicks`, `total` (clicks on all links), `share` (the first out of the second, null
    without clicks), `placed_links`, `links`.

    >>> placement(store, delivery).select("placed_clicks", "total", "placed_links", "links").row(0)
    (12, 27, 13, 18)
    """
    placed = placed_clicks(tables, delivery, format)
    shown = placed.filter("placed")
    clicks, total = int(shown["clicks"].sum()), int(placed["clicks"].sum())
    row = {
        **{"format": format, "placed_clicks": clicks, "total": total, "share": clicks / total if total else None},
        **{"placed_links": shown.height, "links": placed.height},
    }
    return pl.DataFrame([row], schema_overrides={"share": pl.Float64})


def message_links(
    tables: Measurable, delivery: str, format: Annotated[str, FORMATS] = "html"
) -> Annotated[pl.DataFrame, IN_MESSAGE]:
    """Return the links that carry a badge in the message: one row per link, most clicked first.

    Columns: those of `placed_clicks`; `number`, from 1, the same at every place of the link; `message_clicks`, the
    clicks on all these links; `message_share`, clicks / message_clicks, null without clicks; `heat`, 1 to 3: below a
    third of the most clicked link's clicks, below two thirds, or more; 1 without clicks. Raises RequestError for an
    unknown delivery or format.

    >>> message_links(store, delivery).select("position", "text", "clicks", "total").row(0)
    (4, 'Felt desk mat', 4, 27)
    """
    most = pl.col("clicks").max()
    heat = (HEATS * pl.col("clicks")) // pl.max_horizontal(most, 1) + 1
    return (
        placed_clicks(tables, delivery, format)
        .filter("placed")
        .with_columns(
            number=pl.int_range(1, pl.len() + 1, dtype=pl.Int64),
            message_clicks=pl.col("clicks").sum(),
            heat=heat.clip(1, HEATS).cast(pl.Int64),
        )
        .with_columns(message_share=quotient("clicks", "message_clicks"))
        .select(IN_MESSAGE)
    )


def offer_links(tables: Measurable, delivery: Deliveries = None) -> Annotated[pl.DataFrame, TRACKED.split()]:
    """Return the links of offers: one row per link, most clicked first, with the columns of `named_links`.

    `total` counts the clicks on all links, so that the sum of `share` is what offers had of them. Raises RequestError
    for an unknown delivery.

    >>> offer_links(store, delivery).height  # no link of this delivery is one of an offer
    0
    """
    return named_links(tables, delivery).filter(pl.col("offer_id").is_not_null())


def clicked_links(
    tables: Measurable, delivery: str, top: Annotated[int, FROM_1] = 7
) -> Annotated[pl.DataFrame, CLICKED.split()]:
    """Return the links of the message by their e-mail clicks: the top ones, then "Others" and "Total".

    E-mail clicks are those of the metric `total_clicks`: no opt-out, mirror page or page of the site. Columns: `rank`,
    from 1; `row` ("link", "others" or "total"); `link`, its words in the message, else its label, URL or id; `number`,
    that of its badge in `message_links`, null without one; `clicks`; `people`, the recipients who clicked (distinct
    messages), counted anew in each row; `total`; `share`, clicks / total. Two links of one name are two rows.
    Raises RequestError for an unknown delivery, or a `top` that is not positive.

    >>> clicked_links(store, delivery, top=1).select("row", "link", "clicks", "total").rows()
    [('link', 'Felt desk mat', 4, 12), ('others', 'Others', 8, 12), ('total', 'Total', 12, 12)]
    """
    events = counted_events(tables, [require_delivery(tables, delivery)])
    clicks = events.filter(pl.col("event_type").cast(pl.String) == "clicked").select("message_id", "link_id").collect()
    counts = [pl.len().cast(pl.Int64).alias("clicks"), pl.col("message_id").drop_nulls().n_unique().alias("people")]
    ranks = ranked(clicks.group_by("link_id").agg(counts, id=ID.first()), "clicks", ["id", "link_id"], top, "links")
    shown = ranks.drop_nulls("rank").with_columns(row=pl.lit("link", ROWS))
    others = clicks.join(shown, on="link_id", how="anti", nulls_equal=True).select(counts)
    others = others.filter(pl.col("clicks") > 0).with_columns(row=pl.lit("others", ROWS), link=pl.lit(OTHERS))
    named = shown.join(_link_names(tables, delivery), on="link_id", how="left", nulls_equal=True, maintain_order="left")
    total = clicks.select(counts).with_columns(row=pl.lit("total", ROWS), link=pl.lit(TOTAL))
    return (
        pl.concat([named, others, total], how="diagonal_relaxed")
        .with_columns(pl.col("people").cast(pl.Int64), total=pl.lit(clicks.height, pl.Int64))
        .with_columns(link=pl.col("link").fill_null(UNNAMED["label"]), share=quotient("clicks", "total"))
        .select(CLICKED.split())
    )


def _link_names(tables: Measurable, delivery: str) -> pl.DataFrame:
    """What each tracked link is called (`link`), and the number of its badge."""
    format = main_format(tables, delivery)
    words = [pl.when(pl.col(name) != "").then(pl.col(name)) for name in ("text", "label", "url", "link_id")]
    numbers = message_links(tables, delivery, format).select("link_id", "number")
    named = placed_clicks(tables, delivery, format).select("link_id", link=pl.coalesce(words))
    return named.join(numbers, on="link_id", how="left")


def link_names(tables: Measurable, delivery: Deliveries = None) -> pl.DataFrame:
    """Return what each tracked link is called on every page: one row per link.

    Columns: `link_id`; `link`, its words in the message, else its label, URL or id, as in `clicked_links`. Where two
    links would go by one name, the number of its badge stands behind it, or its id. Of several deliveries, whose
    messages are not read, it is the label, the URL or the id, behind which the name of the delivery stands. Raises
    RequestError for an unknown delivery.

    >>> link_names(store, delivery).filter(pl.col("link").str.contains("See"))["link"].to_list()
    ['See the collection (8)', 'See the collection (9)']
    """
    ids = asked_about(tables, delivery)
    if not the_one(ids):
        return _names_of_several(tables, ids)
    mark = pl.coalesce(pl.col("number").cast(pl.String), "link_id")
    called = pl.when(pl.col("link").is_duplicated()).then(pl.format("{} ({})", "link", mark)).otherwise("link")
    named = _link_names(tables, the_one(ids)).drop_nulls("link_id")
    return named.select("link_id", link=called)


def _names_of_several(tables: Measurable, ids: Sequence[str] | None) -> pl.DataFrame:
    """The links of several deliveries by label, URL or id; those of one name by their delivery, or at last by id."""
    words = [pl.when(pl.col(name) != "").then(pl.col(name)) for name in ("label", "url", "link_id")]
    links = of_deliveries(tables, "link", ids).filter(pl.col("type_code").ne_missing(2))
    links = with_label(tables, links, "document").select("link_id", "document", link=pl.coalesce(words))
    for mark in ("document", "link_id"):
        is_shared = pl.col("link").is_duplicated()
        links = links.with_columns(link=pl.when(is_shared).then(pl.format("{} ({})", "link", mark)).otherwise("link"))
    return links.select("link_id", "link").collect()


def named_links(
    tables: Measurable,
    delivery: Deliveries = None,
    type: Words = "",
    since: Asked = "",
    until: Asked = "",
    link: str = "",
    device: Words = "",
    timezone: str = "",
) -> Annotated[pl.DataFrame, TRACKED.split()]:
    """Return `tracked_links`, narrowed like it, labelled by `link_names`; those of several keep their own labels.

    >>> named_links(store, delivery).select("label", "clicks").rows()[:2]
    [('Shop home', 7), ('Product page', 6)]
    """
    ids = asked_about(tables, delivery)
    links = tracked_links(tables, ids, type, since, until, link, device, timezone)
    if not the_one(ids):
        return links
    joined = links.join(link_names(tables, ids), on="link_id", how="left", maintain_order="left")
    return joined.with_columns(label=pl.coalesce("link", "label")).select(TRACKED.split())


def main_format(tables: Measurable, delivery: str) -> str:
    """Return the format whose links are listed: "html", unless only the text of the message was loaded.

    >>> main_format(store, delivery)
    'html'
    """
    return "text" if content_formats(tables, delivery) == ["text"] else "html"


def content_formats(tables: Measurable, delivery: str) -> list[str]:
    """Return the formats, of "html" and "text", in which the message of a delivery was loaded.

    >>> content_formats(store, delivery)
    ['html', 'text']
    """
    rows = of_deliveries(tables, "content", [require_delivery(tables, delivery)]).drop_nulls("body")
    loaded = set(rows.select("message_format").collect().to_series())
    return [format for format in FORMATS if format in loaded]


def annotated_message(
    tables: Measurable, delivery: str, format: Annotated[str, FORMATS] = "html", lang: str = "en"
) -> str:
    """Return the message as a safe page with a badge after each placed link: the whole percent of clicks on it.

    The page fetches and runs nothing and its links lead nowhere (see `sanitize`): it is meant for
    `<iframe sandbox srcdoc="...">`, escaped as any attribute. A badge is
    `<span class="click-share" title="3 clicks">20%</span>`; without any click there is none. A link at
    several places has its total share at each, and its badge says so. Without content, the page is a sentence saying
    so. Raises RequestError for an unknown delivery or format.

    >>> annotated_message(store, delivery)[:31]
    '<!doctype html><html lang="en">'
    """
    body = _body(tables, delivery, format)
    if body is None or not body.strip():
        return sentence(say(NOTHING_TO_SHOW[format], lang))
    if too_heavy(body):
        return sentence(say(TOO_LARGE, lang))
    placed = placed_clicks(tables, delivery, format).filter("placed").drop_nulls("percent")
    badges = {row["link_id"]: _badge(row, lang) for row in placed.iter_rows(named=True)}
    content = read_content(body, format)
    matches = _matches(content.places, tracked_links(tables, delivery), str(delivery))
    return page(content.with_badges([badges.get(match.link_id) for match in matches]))


def marked_message(
    tables: Measurable, delivery: str, format: Annotated[str, FORMATS] = "html", lang: str = "en"
) -> str:
    """Return the message as a safe fragment with a numbered badge after each link of `message_links`.

    A badge is `<span class="click-share heat-3" data-link="1" title="3 clicks"><b>1</b> 75%</span>`: the number of the
    link and its whole percent of the clicks in the message; all places of a link have the same one. Without clicks
    there is no badge. The fragment runs and fetches nothing (see `sanitize`). Without content, or if it is too large to
    be shown, it is a sentence saying so. Raises RequestError for an unknown delivery or format.

    >>> marked_message(store, delivery).count("<a ")
    15
    """
    body = _body(tables, delivery, format)
    if nothing := _nothing_to_show(body, format, lang):
        return nothing
    content = read_content(body, format)
    links = message_links(tables, delivery, format).drop_nulls("message_share")
    badges = {row["link_id"]: _mark(row, lang) for row in links.iter_rows(named=True)}
    matches = _matches(content.places, tracked_links(tables, delivery), str(delivery))
    return content.with_badges([badges.get(match.link_id) for match in matches])


def sent_message(tables: Measurable, delivery: str, format: Annotated[str, FORMATS] = "html", lang: str = "en") -> str:
    """Return the message as it was sent, which a mirror page shows, as a safe fragment.

    It runs and fetches nothing, and its links lead nowhere (see `sanitize`). Without content, or if it is too large to
    be shown, it is a sentence saying so. Raises RequestError for an unknown delivery or format.

    >>> sent_message(store, delivery).count("<a ")
    15
    """
    body = _body(tables, delivery, format)
    if nothing := _nothing_to_show(body, format, lang):
        return nothing
    content = read_content(body, format)
    return content.with_badges([None] * len(content.places))


def _nothing_to_show(body: str | None, format: str, lang: str) -> str:
    """A sentence in place of a message that is not there or too large, else ""."""
    if body is not None and body.strip() and not too_heavy(body):
        return ""
    nothing = TOO_LARGE if body and too_heavy(body) else NOTHING_TO_SHOW[format]
    return f"<p>{escape(say(nothing, lang))}</p>"


def _mark(row: Mapping[str, Any], lang: str) -> str:
    share = _whole_percent(row["clicks"], row["message_clicks"])
    words = several("{count} click", "{count} clicks", row["clicks"], lang)
    number, heat = row["number"], row["heat"]
    return (
        f'<span class="{BADGE} heat-{heat}" data-link="{number}" title="{escape(words)}">'
        f"<b>{number}</b> {escape(share)}</span>"
    )


def _badge(row: Mapping[str, Any], lang: str) -> str:
    share = _whole_percent(row["clicks"], row["total"])
    words = several("{count} click", "{count} clicks", row["clicks"], lang)
    if row["places"] > 1:
        count = row["places"]
        share = several("{share} · link at {count} place", "{share} · link at {count} places", count, lang, share=share)
        words = several("{clicks}, at {count} place", "{clicks}, at {count} places together", count, lang, clicks=words)
    return f'<span class="{BADGE}" title="{escape(words)}">{escape(share)}</span>'


def _whole_percent(clicks: int, total: int) -> str:
    """Whole percents, halves up, as on the platform; only a share of 0 shows as 0%, and only a full share as 100%."""
    percent = (200 * clicks + total) // (2 * total)
    if percent == 0 and clicks:
        return "<1%"
    return ">99%" if percent == 100 and clicks < total else f"{percent}%"


def _body(tables: Measurable, delivery: str, format: str) -> str | None:
    require_word("message format", format, FORMATS)
    contents = of_deliveries(tables, "content", [require_delivery(tables, delivery)])
    return next(iter(contents.filter(pl.col("message_format") == format).select("body").collect().to_series()), None)


def _matches(places: Iterable[Place], links: pl.DataFrame, delivery: str) -> list[Match]:
    """The tracked link at each place: by its `data-url-id`, else by the redirect, else by address and occurrence."""
    known = links.drop_nulls("link_id")
    ids = set(known["link_id"])
    by_occurrence = {(url, nth): link_id for link_id, url, nth in known.select("link_id", "url", "occurrence").rows()}
    link_counts = Counter(known["url"])
    alone = {url: link_id for link_id, url in known.select("link_id", "url").rows() if url and link_counts[url] == 1}
    seen: Counter[str] = Counter()
    matches = []
    for place in places:
        seen[place.url] += 1
        redirect_link = _redirect_target(place.url, delivery)
        by_url = by_occurrence.get((place.url, seen[place.url])) or alone.get(place.url)
        candidates = (("data-url-id", place.link_id), ("redirect", redirect_link), ("url", by_url))
        matches.append(next((Match(link_id, by) for by, link_id in candidates if link_id in ids), NO_MATCH))
    return matches


def _redirect_target(url: str, delivery: str) -> str | None:
    """The link id in a redirect address of this delivery: `/r/?id=<letter><broadlog>,<delivery>,<link>`."""
    try:
        address = urlsplit(url)
        redirect_id = parse_qs(address.query, max_num_fields=100).get("id", [""])[0]
    except ValueError:  # not an address, or hostile
        return None
    match = REDIRECT_ID.fullmatch(redirect_id)
    if (
        match is None
        or address.path.rstrip("/").rsplit("/", 1)[-1] != "r"
        or int(match["delivery"], 16) != _delivery_number(delivery)
    ):
        return None
    return str(int(match["link"], 16))


def _delivery_number(delivery: str) -> int | None:
    return int(delivery) if delivery.isascii() and delivery.isdigit() and len(delivery) <= 20 else None


def _link_places(places: Sequence[Place], matches: list[Match]) -> pl.DataFrame:
    """The places of links: one row per link, with its first place and how many it has."""
    rows = [
        (match.link_id, position, place.text, match.by)
        for position, (place, match) in enumerate(zip(places, matches, strict=True), start=1)
        if match.link_id is not None
    ]
    columns = {"link_id": pl.String, "position": pl.Int64, "text": pl.String, "matched_by": pl.String}
    by_place = pl.DataFrame(rows, schema=columns, orient="row")
    return by_place.group_by("link_id", maintain_order=True).agg(
        pl.col("position", "text", "matched_by").first(), places=pl.len().cast(pl.Int64)
    )
