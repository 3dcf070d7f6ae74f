"""Hot clicks: where in the message the clicks fell, and the message itself with the share on each link.

The share of a link is its clicks out of all hits on links that are not opens: opt-out, mirror page, personalised and
offer links are in that total whether or not they can be shown. As on the platform, opt-out and mirror-page links get no
badge. Clicks of both formats count on either, because a tracked link belongs to the delivery, not to a format.

Content is parsed by `lxml`: it is well kept, reads what browsers read, and limits nesting, on which other parsers hang.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from html import escape
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlsplit

import lxml.etree
import lxml.html
import polars as pl

from trackkit.analysis.links import tracked_links
from trackkit.analysis.sanitize import BADGE, DROPPED, page, safe_fragment, sentence, too_heavy
from trackkit.deliveries import Tables, of_delivery, require_delivery
from trackkit.errors import RequestError, did_you_mean
from trackkit.language import say, several, translatable
from trackkit.schema import FORMATS

UNBADGED, OF_THE_SITE = ("Opt-out", "Mirror page"), ("Web", "Transaction")
REDIRECT_ID = re.compile(r"[ht][^,]*,(?P<delivery>[0-9a-fA-F]{1,16}),(?P<link>[0-9a-fA-F]{1,16})")
TEXT_URL = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]{0,20}://[^\s<>\"]+")
TRAILING = ".,;:!?)]}'"  # what follows an address in a sentence, rather than ends it


class Place(NamedTuple):
    """One link of the content: its address, the identity it states, and its words."""

    url: str
    link_id: str | None = None
    text: str = ""


class Match(NamedTuple):
    """The tracked link found at a place, and what told it."""

    link_id: str | None
    by: str | None


# Why a link has no badge.
NO_BADGE, NO_LINK, NO_PLACE, NOT_FOUND = translatable((
    "opt-out and mirror-page links carry no badge", "the log does not say which link",
    "a page of the site, not a link of the message", "not found in the content",
))  # fmt: skip
NOTHING_TO_SHOW = translatable(
    {"html": "No HTML content was loaded for this delivery.", "text": "No text content was loaded for this delivery."}
)
NO_CONTENT = translatable({"html": "no HTML content was loaded", "text": "no text content was loaded"})
TOO_LARGE = translatable("The content of this delivery is too large to be shown.")
NO_MATCH = Match(None, None)


def placed_clicks(tables: Tables, delivery: str, format: str = "html") -> pl.DataFrame:
    """Return where each tracked link stands in the message: one row per link, most clicked first.

    Columns: those of `tracked_links` (`clicks`, `total`, `share`...); `percent`, the share in whole percent, halves
    up; `placed`, whether the link is shown with a badge; `position`, the number of its first place among the links of
    the content, from 1; `places`, how many it has; `text`, the words of the first; `matched_by`, "data-url-id",
    "redirect" or "url"; `reason`, in words, where it is not placed. The clicks of all rows add up to `total`.
    Raises RequestError for an unknown delivery or format.
    """
    body = _body(tables, delivery, format)
    links = tracked_links(tables, delivery)
    places = _places(body, format)
    found = _found(places, _matches(places, links, str(delivery)))
    hidden = pl.col("type").is_in(UNBADGED)
    half_up = (200 * pl.col("clicks") + pl.col("total")) // (2 * pl.col("total"))
    reasons = (
        pl.when(hidden)
        .then(pl.lit(NO_BADGE))
        .when(pl.col("link_id").is_null())
        .then(pl.lit(NO_LINK))
        .when(pl.col("position").is_null() & pl.col("type").is_in(OF_THE_SITE))
        .then(pl.lit(NO_PLACE))
        .when(pl.col("position").is_null())
        .then(pl.lit(NOT_FOUND if body is not None else NO_CONTENT[format]))
    )
    return (
        links.join(found, on="link_id", how="left", maintain_order="left")
        .with_columns(
            percent=pl.when(pl.col("total") > 0).then(half_up),
            places=pl.col("places").fill_null(0),
            placed=pl.col("position").is_not_null() & ~hidden.fill_null(False),
        )
        .with_columns(reason=pl.when(~pl.col("placed")).then(reasons))
    )


def placement(tables: Tables, delivery: str, format: str = "html") -> pl.DataFrame:
    """Return how much of the clicks the click map shows: one row.

    Columns: `format`, `placed_clicks`, `total` (clicks on all links), `share` (the first out of the second, null
    without clicks), `placed_links`, `links`.
    """
    placed = placed_clicks(tables, delivery, format)
    shown = placed.filter("placed")
    clicks, total = shown["clicks"].sum(), placed["clicks"].sum()
    return pl.DataFrame(
        {"format": [format], "placed_clicks": [clicks], "total": [total], "share": [clicks / total if total else None],
         "placed_links": [shown.height], "links": [placed.height]},
        schema_overrides={"share": pl.Float64},
    )  # fmt: skip


def content_formats(tables: Tables, delivery: str) -> list[str]:
    """Return the formats, of "html" and "text", in which the message of a delivery was loaded."""
    rows = of_delivery(tables, "content", require_delivery(tables, delivery)).drop_nulls("body")
    loaded = set(rows.select("message_format").collect().to_series())
    return [format for format in FORMATS if format in loaded]


def annotated_message(tables: Tables, delivery: str, format: str = "html", lang: str = "en") -> str:
    """Return the message as a safe page with a badge after each placed link: the whole percent of clicks on it.

    The page fetches and runs nothing and its links lead nowhere (see `sanitize`): it is meant for
    `<iframe sandbox srcdoc="...">`, escaped as any attribute. A badge is
    `<span class="click-share" title="3 clicks">20%</span>`; without any click there is none. A link that stands at
    several places has the share of all of them at each, and says so. Without content, the page is a sentence that says
    so. Raises RequestError for an unknown delivery or format.
    """
    body = _body(tables, delivery, format)
    if body is None or not body.strip():
        return sentence(say(NOTHING_TO_SHOW[format], lang))
    if too_heavy(body):
        return sentence(say(TOO_LARGE, lang))
    placed = placed_clicks(tables, delivery, format).filter("placed").drop_nulls("percent")
    badges = {row["link_id"]: _badge(row, lang) for row in placed.iter_rows(named=True)}
    matches = _matches(_places(body, format), tracked_links(tables, delivery), str(delivery))
    at_place = [badges.get(match.link_id) for match in matches]
    return _annotated_html(body, at_place) if format == "html" else _annotated_text(body, at_place)


def _badge(row: Mapping[str, Any], lang: str) -> str:
    share, words = _whole_percent(row), several("{count} click", "{count} clicks", row["clicks"], lang)
    if row["places"] > 1:
        count = row["places"]
        share = several("{share} · link at {count} place", "{share} · link at {count} places", count, lang, share=share)
        words = several("{clicks}, at {count} place", "{clicks}, at {count} places together", count, lang, clicks=words)
    return f'<span class="{BADGE}" title="{escape(words)}">{escape(share)}</span>'


def _whole_percent(row: Mapping[str, Any]) -> str:
    """Whole percents, as on the platform; what is not nothing never shows as 0, nor what is not all as 100."""
    clicks, total = row["clicks"], row["total"]
    if row["percent"] == 0 and clicks:
        return "<1%"
    return ">99%" if row["percent"] == 100 and clicks < total else f"{row['percent']}%"


def _body(tables: Tables, delivery: str, format: str) -> str | None:
    if format not in FORMATS:
        raise RequestError(f"There is no message format {format!r}.{did_you_mean(str(format), FORMATS)}")
    contents = of_delivery(tables, "content", require_delivery(tables, delivery))
    return next(iter(contents.filter(pl.col("message_format") == format).select("body").collect().to_series()), None)


def _places(body: str | None, format: str) -> list[Place]:
    if not body or too_heavy(body):
        return []
    if format == "text":
        return [Place(body[start:end]) for start, end in _text_spans(body)]
    document = _parsed(body)
    return [] if document is None else [_place(anchor) for anchor in _anchors(document)]


def _place(anchor: lxml.html.HtmlElement) -> Place:
    words = " ".join(anchor.text_content().split()) or anchor.get("alt", "") or " ".join(anchor.xpath(".//img/@alt"))
    return Place(anchor.get("href").strip(), (anchor.get("data-url-id") or "").strip() or None, words[:200])


def _parsed(body: str) -> lxml.html.HtmlElement | None:
    """What a reader sees, or None where there is no element; the parser cuts nesting at 2,048 levels."""
    parser = lxml.html.HTMLParser(encoding="utf-8", huge_tree=True, remove_comments=True, remove_pis=True)
    try:
        document = lxml.html.document_fromstring(body.encode("utf-8", "replace"), parser=parser)
    except lxml.etree.ParserError:
        return None
    lxml.etree.strip_elements(document, *DROPPED, with_tail=False)
    for verbatim in list(document.iter("plaintext", "xmp")):  # would swallow the badges after it
        verbatim.tag = "pre"
    return document


def _anchors(document: lxml.html.HtmlElement) -> list[lxml.html.HtmlElement]:
    return [element for element in document.iter("a", "area") if element.get("href") is not None]


def _text_spans(body: str) -> list[tuple[int, int]]:
    """Where addresses start and end in plain text, without the punctuation of the sentence around them."""
    found = TEXT_URL.finditer(body)
    return [(match.start(), match.start() + len(match.group().rstrip(TRAILING))) for match in found]


def _matches(places: Iterable[Place], links: pl.DataFrame, delivery: str) -> list[Match]:
    """The tracked link at each place: by its stated identity, else by the redirect, else by address and occurrence."""
    known = links.drop_nulls("link_id")
    ids = set(known["link_id"])
    by_occurrence = {(url, nth): link_id for link_id, url, nth in known.select("link_id", "url", "occurrence").rows()}
    often = Counter(known["url"])
    alone = {url: link_id for link_id, url in known.select("link_id", "url").rows() if url and often[url] == 1}
    seen: Counter[str] = Counter()
    matches = []
    for place in places:
        seen[place.url] += 1
        redirected = _redirected(place.url, delivery)
        by_url = by_occurrence.get((place.url, seen[place.url])) or alone.get(place.url)
        candidates = (("data-url-id", place.link_id), ("redirect", redirected), ("url", by_url))
        matches.append(next((Match(link_id, by) for by, link_id in candidates if link_id in ids), NO_MATCH))
    return matches


def _redirected(url: str, delivery: str) -> str | None:
    """The link id that a redirect address of this delivery carries: `/r/?id=<letter><broadlog>,<delivery>,<link>`."""
    try:
        address = urlsplit(url)
        stated = parse_qs(address.query, max_num_fields=100).get("id", [""])[0]
    except ValueError:  # not an address, or hostile
        return None
    found = REDIRECT_ID.fullmatch(stated)
    if (
        found is None
        or address.path.rstrip("/").rsplit("/", 1)[-1] != "r"
        or int(found["delivery"], 16) != _number(delivery)
    ):
        return None
    return str(int(found["link"], 16))


def _number(delivery: str) -> int | None:
    return int(delivery) if delivery.isascii() and delivery.isdigit() and len(delivery) <= 20 else None


def _found(places: list[Place], matches: list[Match]) -> pl.DataFrame:
    """Where each link was found: one row per link, its first place and how many it has."""
    rows = [
        (match.link_id, position, place.text, match.by)
        for position, (place, match) in enumerate(zip(places, matches, strict=True), start=1)
        if match.link_id is not None
    ]
    columns = {"link_id": pl.String, "position": pl.Int64, "text": pl.String, "matched_by": pl.String}
    found = pl.DataFrame(rows, schema=columns, orient="row")
    return found.group_by("link_id", maintain_order=True).agg(
        pl.col("position", "text", "matched_by").first(), places=pl.len().cast(pl.Int64)
    )


def _annotated_html(body: str, badges: list[str | None]) -> str:
    document = _parsed(body)
    if document is None:
        return page("")
    lxml.etree.strip_attributes(document, "class")  # so that no message can draw a badge of its own
    for anchor, badge in zip(_anchors(document), badges, strict=True):
        if badge:
            _put_after(next(anchor.iterancestors("map"), anchor) if anchor.tag == "area" else anchor, badge)
    return page(safe_fragment(_content(document)))


def _put_after(element: lxml.html.HtmlElement, badge: str) -> None:
    """Right after the element, before the text that follows it, which lxml keeps as the element's tail."""
    span = lxml.html.fragment_fromstring(badge)
    span.tail, element.tail = element.tail, None
    element.addnext(span)


def _content(document: lxml.html.HtmlElement) -> str:
    """The document as blocks, the body keeping its own colours; whatever a broken message has in its head included."""
    for block in list(document.iter("html", "head", "body")):
        block.tag = "div"
        if colour := block.get("bgcolor"):
            block.set("style", f"background-color:{colour};{block.get('style', '')}")
    return lxml.html.tostring(document, encoding="unicode")


def _annotated_text(body: str, badges: list[str | None]) -> str:
    parts, last = [], 0
    for (_, end), badge in zip(_text_spans(body), badges, strict=True):
        parts += [escape(body[last:end]), badge or ""]
        last = end
    return page(safe_fragment(f"<pre>{''.join(parts)}{escape(body[last:])}</pre>"))
