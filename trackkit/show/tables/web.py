"""Tables of web tracking and web applications, from the frames of `analysis.web`, `webapp` and `consent`."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import polars as pl
from great_tables import GT
from markupsafe import Markup

from trackkit.language import say, several, translatable
from trackkit.show.cells import Block, Labels, OneOf, bar, nothing
from trackkit.show.columns import TableColumn, column_table
from trackkit.show.naming import path_title, source_name
from trackkit.show.tiles import Large, large
from trackkit.show.wording import clipped, number, percent

__all__ = [
    "attribution_table",
    "consent_table",
    "conversion_figures",
    "conversion_table",
    "funnel_table",
    "nobody",
    "source_table",
    "tied_pages",
]

NO_RATE, NOBODY, NO_PATH = translatable(("{denominator} is 0", "No web application was visited.", "(no path)"))
KINDS = translatable(
    {
        "direct": "By the session: the visit follows a click",
        "forced": "By the page: its tag names the delivery",
        "last": "By the permanent cookie: the last delivery before",
        "retro": "Afterwards: the visitor later clicked in a message",
        "none": "To no delivery",
    }
)
CHOICES = translatable({"allowed": "Allowed", "undecided": "Not decided", "refused": "Refused"})
COUNTED = translatable({"True": "yes", "False": "no, left out"})
MOST_PATHS, LONGEST = 3, 40  # in large figures, and the letters of their names
FINISHED, LEFT = translatable(("{path}: finished", "{path}: left at once"))
# Beneath: that both are different people, even where they are as many.
TO_THE_END, NO_FURTHER = translatable(
    ("{part} of {whole} who began saw every page", "{part} of {whole} who began saw no other page")
)
OUTCOMES = (
    (FINISHED, TO_THE_END, "conversion_rate", "converted"),
    (LEFT, NO_FURTHER, "bounce_rate", "bounced"),
)
FOUND_BY = translatable({"cookie": "the cookie", "application": "the web application", "nothing": ""})

TIED_PAGES: Mapping[bool, str] = translatable(  # by whether they are of one delivery
    {
        True: "{whole} pages name this delivery, and the figures above count all of them. The cards below count the "
        "{part} that are tied to one of its messages; the other {rest} cannot be.",
        False: "{whole} pages name these deliveries, and the figures above count all of them. The cards below count "
        "the {part} that are tied to one of their messages; the other {rest} cannot be.",
    }
)


def _rate(heading: str, top: str, bottom: str) -> TableColumn:
    return TableColumn(heading, "share", (top, bottom), NO_RATE)


ATTRIBUTION = {
    "attribution": TableColumn("Tied to a delivery", "word", words=KINDS),
    "visits": TableColumn("This delivery"),
    "share": _rate(translatable("Share"), "visits", "total"),
    "application_pages": TableColumn("In web applications"),
    "outside": TableColumn("Of all, outside a session"),
    "outside_share": _rate(translatable("Share of those"), "outside", "outside_total"),
    "total": TableColumn("Pages of this delivery", "part"),
    "outside_total": TableColumn("All pages outside a session", "part"),
}
CONSENT = {
    "web_application": TableColumn("Web application", "text"),
    "web_choice": TableColumn("Choice about web tracking", "word", words=CHOICES),
    "is_counted": TableColumn("In the figures", "word", words=COUNTED),
    "visitors": TableColumn("Visitors"),
    "share": _rate(translatable("Share of visitors"), "visitors", "total"),
    "pages": TableColumn("Pages displayed"),
    "total": TableColumn("All visitors", "part"),
}
CONVERSION = {
    "web_application": TableColumn("Web application", "text"),
    "goal": TableColumn("Path", "text"),
    "left_out_rate": _rate(translatable("Refused, left out"), "left_out", "everyone"),
    "visitors": TableColumn("Visitors counted"),
    "bounce_rate": _rate(translatable("Left at once (bounce rate)"), "bounced", "started"),
    "conversion_rate": _rate(translatable("Finished (conversion rate)"), "converted", "started"),
    "started": TableColumn("On the first page", "part"),
    "converted": TableColumn("On every page", "part"),
    "bounced": TableColumn("On the first page only", "part"),
    "everyone": TableColumn("All visitors", "part"),
}
FUNNEL = {
    "place": TableColumn("Step"),
    "page": TableColumn("Page", "text"),
    "displayed": TableColumn("Displayed by"),
    "visitors": TableColumn("Came this far"),
    "share": _rate(translatable("Share of those who began"), "visitors", "started"),
    "lost": TableColumn("Lost"),
    "loss_rate": _rate(translatable("Loss since the step before"), "lost", "before"),
    "started": TableColumn("On the first page", "part"),
    "before": TableColumn("At the step before", "part"),
}
SOURCES = {
    "source": TableColumn("Traffic source", "text"),
    "found_by": TableColumn("Found in", "word", words=FOUND_BY),
    "visitors": TableColumn("Visitors"),
    "bar": TableColumn("", "bar"),
    "share": _rate(translatable("Share of visitors"), "visitors", "total"),
    "conversion_rate": _rate(translatable("Conversion rate"), "converted", "started"),
    "total": TableColumn("All visitors", "part"),
    "started": TableColumn("On the first page", "part"),
}


def attribution_table(
    counts: pl.DataFrame, labels: Annotated[Labels | None, OneOf(ATTRIBUTION)] = None, lang: str = "en"
) -> GT | Block:
    """Show how many visits each kind of attribution brought. In: the frame of `web.attribution_counts`.

    Only what is tied to none if all of them follow a click; kinds without any visit have no row.

    >>> visits = tk.consent.with_consent(store, tk.web.attribute_web(store))
    >>> attribution_table(tk.web.attribution_counts(visits)).html.striptags()
    '17 pages of the site are tied to no delivery.'
    """
    figures = pl.col("visits", "application_pages", "outside").fill_null(0)
    kinds = counts.filter(pl.any_horizontal(figures > 0))
    tied = kinds.filter(pl.col("attribution").cast(pl.String) != "none")
    if tied["attribution"].cast(pl.String).to_list() != ["direct"] or not tied["visits"][0]:
        return _shown(kinds, ATTRIBUTION, labels, lang)
    loose = int(counts["outside"].sum() or 0)
    beside = several(
        "{count} page of the site is tied to no delivery.",
        "{count} pages of the site are tied to no delivery.",
        loose,
        lang,
    )
    return Block(Markup('<p class="words">{}</p>').format(beside) if loose else Markup(""))


def tied_pages(total: pl.DataFrame, counted: pl.DataFrame, lang: str = "en", is_one: bool = True) -> Block | None:
    """Say of how many of the pages that name a delivery its other figures are; None if they are of all, or unknown.

    In: two frames of `measure` with one row and `web_visits`: of all, and of the visits tied to the delivery, or to
    several where it `is_one` not.

    >>> total, counted = (tk.measure(store, "web_visits", by=[]) for _ in range(2))
    >>> tied_pages(total, counted) is None
    True
    """
    (whole,), (part,) = total.select("web_visits").row(0), counted.select("web_visits").row(0)
    if whole is None or part is None or whole == part:
        return None
    words = say(
        TIED_PAGES[is_one],
        lang,
        whole=number(whole, lang=lang),
        part=number(part, lang=lang),
        rest=number(whole - part, lang=lang),
    )
    return Block(Markup('<p class="tk-after">{}</p>').format(words))


def consent_table(
    counts: pl.DataFrame, labels: Annotated[Labels | None, OneOf(CONSENT)] = None, lang: str = "en"
) -> GT | Block:
    """Show what visitors chose about web tracking and who is left out. In: the frame of `consent.consent_counts`.

    >>> table = consent_table(tk.webapp.choices(tk.webapp.counted_pages(store)))
    >>> [each["label"] for each in table.data["columns"]][:4]
    ['Web application', 'Choice about web tracking', 'In the figures', 'Visitors']
    """
    return nothing(NOBODY, lang) if counts.is_empty() else _shown(counts, CONSENT, labels, lang)


def conversion_table(
    conversion: pl.DataFrame, labels: Annotated[Labels | None, OneOf(CONVERSION)] = None, lang: str = "en"
) -> GT | Block:
    """Show the conversion and bounce rates of web applications, by path if they have any.

    In: the frame of `webapp.conversion`.

    >>> table = conversion_table(tk.webapp.conversion(tk.webapp.counted_pages(store)))
    >>> [each["label"] for each in table.data["columns"]][:5]
    ['Web application', 'Refused, left out', 'Left out', 'All visitors', 'Visitors counted']
    """
    if conversion.is_empty():
        return nothing(NOBODY, lang)
    has_paths = conversion["goal"].is_not_null().any()
    named = pl.col("goal").fill_null(say(NO_PATH, lang))
    rows = conversion.with_columns(named) if has_paths else conversion.drop("goal")
    return _shown(rows, CONVERSION, labels, lang)


def conversion_figures(conversion: pl.DataFrame, lang: str = "en") -> Block:
    """Show in large type how many of the visitors of each path finished it, and how many left at once.

    In: the frame of `webapp.conversion`, of which the three most visited paths are shown; nothing without any.

    >>> conversion = tk.webapp.conversion(tk.webapp.counted_pages(store))
    >>> conversion_figures(conversion).html.striptags()[:60]
    "Concours d'automne: finished29.6%8 of 27 who began saw every"
    """
    shown = conversion.filter(pl.col("started") > 0).head(MOST_PATHS)
    figures = [
        Large(
            say(name, lang, path=clipped(_path(row), LONGEST)),
            percent(row[rate], lang=lang, of=row["started"]),
            say(beneath, lang, part=number(row[part], lang=lang), whole=number(row["started"], lang=lang)),
        )
        for row in shown.iter_rows(named=True)
        for name, beneath, rate, part in OUTCOMES
    ]
    return large(figures) if figures else Block(Markup(""))


def _path(row: Mapping[str, Any]) -> str:
    return " · ".join(name for name in (row["web_application"], row["goal"]) if name)


def funnel_table(steps: pl.DataFrame, labels: Annotated[Labels | None, OneOf(FUNNEL)] = None, lang: str = "en") -> GT:
    """Show how many visitors reached each step, and how many were lost. In: the frame of `webapp.funnel`.

    >>> pages = tk.webapp.counted_pages(store)
    >>> table = funnel_table(tk.webapp.by_path(tk.webapp.funnel(pages), pages)[0])
    >>> [each["label"] for each in table.data["columns"]][:4]
    ['Step', 'Page', 'Displayed by', 'Came this far']
    """
    return _shown(steps, FUNNEL, labels, lang)


def source_table(
    sources: pl.DataFrame, labels: Annotated[Labels | None, OneOf(SOURCES)] = None, lang: str = "en"
) -> GT:
    """Show where the visitors of one path came from, and what became of them; last those of no known delivery.

    In: the frame of `webapp.traffic_sources` for one path, whose name is in the heading. How a delivery was found is
    only said if some were found in the application.

    >>> pages = tk.webapp.counted_pages(store)
    >>> table = source_table(tk.webapp.by_path(tk.webapp.traffic_sources(store, pages), pages)[0])
    >>> [each["label"] for each in table.data["columns"]][1:4]
    ['Visitors', 'Share of visitors', 'All visitors']
    """
    is_unknown = pl.col("found_by").cast(pl.String) == "nothing"
    rows = sources.with_columns(source=source_name(lang), row=pl.lit("source"))
    rows = rows.sort(is_unknown.fill_null(False), maintain_order=True)
    by_application = (sources["found_by"].cast(pl.String) == "application").any()
    chosen = [name for name, column in SOURCES.items() if column.kind != "part"]
    chosen = [name for name in chosen if name != "found_by" or by_application]
    path = path_title(sources)
    named = {"source": say("Traffic sources of {path}", lang, path=clipped(path, 60))} if path else {}
    own = {"bar": lambda row: bar(row, "share", "others" if row["found_by"] in (None, "nothing") else "1")}
    return column_table(rows, SOURCES, chosen, named | dict(labels or {}), lang, own)


def nobody(applications: Sequence[str], lang: str = "en") -> Block:
    """Say that no web application was visited; nothing when there is one.

    >>> nobody([]).html.striptags()
    'No web application was visited.'
    """
    return Block(Markup("")) if applications else nothing(NOBODY, lang)


def _shown(rows: pl.DataFrame, columns: dict[str, TableColumn], labels: Labels | None, lang: str) -> GT:
    """Show all declared columns that the frame has, except parts."""
    chosen = [name for name, column in columns.items() if column.kind != "part" and name in rows.columns]
    return column_table(rows, columns, chosen, labels, lang)
