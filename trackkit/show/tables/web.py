"""Web tracking and web applications in presentation tables, of the frames of `analysis.web`, `webapp`, `consent`."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Annotated, Any

import polars as pl
from great_tables import GT
from markupsafe import Markup

from trackkit.language import say, translatable
from trackkit.show.cells import (
    Block,
    Cell,
    Labels,
    OneOf,
    fraction,
    headings,
    nothing,
    over,
    presented,
    require,
    unavailable,
)
from trackkit.show.charts.web import source_name
from trackkit.show.wording import number, percent, short

Rates = Mapping[str, tuple[str, str]]
NO_RATE, NOBODY = translatable(("{denominator} is 0", "No web application was visited."))
NO_PATH = translatable("(no path)")
ATTRIBUTION = translatable(
    {
        "attribution": "Tied to a delivery", "visits": "This delivery", "share": "Share",
        "application_pages": "In web applications", "outside": "Of all, outside a session",
        "outside_share": "Share of those", "total": "Pages of this delivery",
        "outside_total": "All pages outside a session",
    }
)  # fmt: skip
KINDS = translatable(
    {
        "direct": "By the session: the visit follows a click",
        "forced": "By the page: its tag names the delivery",
        "last": "By the permanent cookie: the last delivery before",
        "retro": "Afterwards: the visitor later clicked in a message",
        "none": "To no delivery",
    }
)
CONSENT = translatable(
    {
        "web_application": "Web application", "web_choice": "Choice about web tracking", "is_counted": "In the figures",
        "visitors": "Visitors", "share": "Share of visitors", "pages": "Pages displayed", "total": "All visitors",
    }
)  # fmt: skip
CHOICES = translatable(
    {"allowed": "Allowed", "undecided": "Not decided", "refused": "Refused", "True": "yes", "False": "no, left out"}
)
CONVERSION = translatable(
    {
        "web_application": "Web application", "goal": "Path", "visitors": "Visitors", "started": "On the first page",
        "converted": "On every page", "conversion_rate": "Conversion rate", "bounced": "On the first page only",
        "bounce_rate": "Bounce rate", "left_out_rate": "Visitors left out", "everyone": "All visitors",
    }
)  # fmt: skip
FUNNEL = translatable(
    {
        "place": "Step", "page": "Page", "displayed": "Displayed by", "visitors": "Came this far",
        "share": "Share of those who began", "lost": "Lost", "loss_rate": "Loss since the step before",
        "started": "On the first page", "before": "At the step before",
    }
)  # fmt: skip
SOURCES = translatable(
    {
        "rank": "#", "source": "Traffic source", "found_by": "Found in", "visitors": "Visitors",
        "share": "Share of visitors", "conversion_rate": "Conversion rate", "total": "All visitors",
        "started": "On the first page",
    }
)  # fmt: skip
FOUND_BY = translatable({"cookie": "the cookie", "application": "the web application"}) | {"nothing": ""}


def attribution_table(
    counts: pl.DataFrame, labels: Annotated[Labels | None, OneOf(ATTRIBUTION)] = None, lang: str = "en"
) -> GT:
    """Show how many visits each kind of attribution brought. In: the frame of `web.attribution_counts`."""
    rates = {"share": ("visits", "total"), "outside_share": ("outside", "outside_total")}
    columns = ("attribution", "visits", "share", "application_pages", "outside", "outside_share")
    return count_table(counts, columns, rates, headings(counts.columns, ATTRIBUTION, labels, lang), KINDS, lang)


def consent_table(
    counts: pl.DataFrame, labels: Annotated[Labels | None, OneOf(CONSENT)] = None, lang: str = "en"
) -> GT | Block:
    """Show what visitors chose about web tracking and who is left out. In: the frame of `consent.consent_counts`."""
    if counts.is_empty():
        return nothing(NOBODY, lang)
    columns = [name for name in CONSENT if name in counts.columns and name != "total"]
    words = headings(counts.columns, CONSENT, labels, lang)
    return count_table(counts, columns, {"share": ("visitors", "total")}, words, CHOICES, lang)


def conversion_table(
    conversion: pl.DataFrame, labels: Annotated[Labels | None, OneOf(CONVERSION)] = None, lang: str = "en"
) -> GT | Block:
    """Show the conversion and bounce rates of web applications, by path where they have some.

    In: the frame of `webapp.conversion`.
    """
    if conversion.is_empty():
        return nothing(NOBODY, lang)
    rates = {
        "conversion_rate": ("converted", "started"), "bounce_rate": ("bounced", "started"),
        "left_out_rate": ("left_out", "everyone"),
    }  # fmt: skip
    named = ["goal"] if conversion["goal"].is_not_null().any() else []
    conversion = conversion.with_columns(pl.col("goal").fill_null(say(NO_PATH, lang)))
    columns = ("web_application", *named, "visitors", "conversion_rate", "bounce_rate", "left_out_rate")
    return count_table(conversion, columns, rates, headings(conversion.columns, CONVERSION, labels, lang), lang=lang)


def funnel_table(steps: pl.DataFrame, labels: Annotated[Labels | None, OneOf(FUNNEL)] = None, lang: str = "en") -> GT:
    """Show how many visitors got how far, and the loss of each step. In: the frame of `webapp.funnel`."""
    rates = {"share": ("visitors", "started"), "loss_rate": ("lost", "before")}
    columns = ("place", "page", "displayed", "visitors", "share", "lost", "loss_rate")
    return count_table(steps, columns, rates, headings(steps.columns, FUNNEL, labels, lang), lang=lang)


def source_table(
    sources: pl.DataFrame, labels: Annotated[Labels | None, OneOf(SOURCES)] = None, lang: str = "en"
) -> GT:
    """Show where visitors came from, and what became of them. In: the frame of `webapp.traffic_sources`."""
    rates = {"share": ("visitors", "total"), "conversion_rate": ("converted", "started")}
    columns = ("rank", "source", "found_by", "visitors", "share", "conversion_rate")
    named = sources.with_columns(source=source_name(lang))
    return count_table(named, columns, rates, headings(named.columns, SOURCES, labels, lang), FOUND_BY, lang)


def nobody(applications: Sequence[str], lang: str = "en") -> Block:
    """Say that no web application was visited; nothing when there is one."""
    return Block(Markup("")) if applications else nothing(NOBODY, lang)


def count_table(
    rows: pl.DataFrame,
    columns: Sequence[str],
    rates: Rates,
    headed: Labels,
    words: Labels = MappingProxyType({}),
    lang: str = "en",
) -> GT:
    """Show any tidy frame: one row per row, the `columns` in order, each rate above its numerator / denominator.

    `rates` gives the numerator and denominator columns of a rate; `headed` the headings, in the reader's language;
    `words` our own words for values of enumerations and flags, all other text being data. Raises RequestError for a
    column that is not there.
    """
    require([*columns, *(part for parts in rates.values() for part in parts)], rows.columns)
    ours = [name for name in columns if isinstance(rows.schema[name], pl.Enum | pl.Boolean)]
    cells = [
        {name: _cell(row, name, rates, headed, words, name in ours, lang) for name in columns}
        for row in rows.iter_rows(named=True)
    ]
    numeric = [name for name in columns if rows.schema[name].is_numeric()]
    return presented(cells, {name: headed[name] for name in columns}, right=numeric)


def _cell(
    row: Mapping[str, Any], name: str, rates: Rates, headed: Labels, words: Labels, is_ours: bool, lang: str
) -> Cell:
    value = row[name]
    if name in rates:
        return _rate(row, name, rates[name], headed, lang)
    if value is None:
        return ""
    if is_ours:
        return say(words.get(str(value), str(value)), lang)
    return number(value, lang=lang) if isinstance(value, int) else short(value)


def _rate(row: Mapping[str, Any], name: str, parts: tuple[str, str], headed: Labels, lang: str) -> Cell:
    """A rate with its parts; nothing where it has no meaning, as the loss of a first step, and why where it is 0/0."""
    top, bottom = (row[part] for part in parts)
    if bottom is None or top is None:
        return ""
    if row[name] is None:
        return unavailable(NO_RATE, lang, denominator=headed[parts[1]])
    words = " / ".join(headed[part] for part in parts)
    return over(percent(row[name], lang=lang), fraction(top, bottom, lang), words)
