"""Tidy frame in, presentation table out. Every rate shows its numerator and denominator; what is unknown says why.

Here are the tables of any subject; those of one stand in a module of its name, as in `tables.audience.name_table`.
Tables are `great_tables` objects, to be restyled by their caller.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import polars as pl
from great_tables import GT
from markupsafe import Markup

from trackkit.language import said, say, several, translatable
from trackkit.metrics import BREAKDOWNS, METRICS, PEOPLE
from trackkit.show.cells import (
    OTHERS,
    OURS,
    RATES,
    TOTAL,
    UNKNOWN,
    VOCABULARY,
    Block,
    Cell,
    Labels,
    OneOf,
    bar,
    bold,
    briefly,
    fraction,
    headings,
    headline,
    label_of,
    log_cell,
    nothing,
    only_row,
    presented,
    rate_cell,
    require,
    unavailable,
    value_cell,
    why_unseen,
)
from trackkit.show.charts.canvas import SERIES
from trackkit.show.columns import TableColumn, column_table
from trackkit.show.tables import audience, platform, sending, web
from trackkit.show.wording import figure, number, percent, plain, short

__all__ = ["audience", "breakdown_table", "figures", "largest", "link_table", "log_table", "message",
           "metric_table", "placement", "platform", "sending", "share_table", "web"]  # fmt: skip
NO_EVENT, NOTHING_COMPARES, NO_LINK, NO_CLICK = translatable(
    ("no event", "no comparable delivery", "Nothing to list.", "no click")
)
LINKS = {
    "rank": TableColumn("#"),
    "link": TableColumn("Link", "group"),
    "bar": TableColumn("", "bar"),
    "share": TableColumn("Share of clicks", "share", ("clicks", "total"), NO_CLICK, NO_CLICK),
    "url": TableColumn("URL", "text"),
    "link_id": TableColumn("Link id", "text"),
    "clicks": TableColumn("Link clicks"),
    "text": TableColumn("Words in the message", "text"),
    "reason": TableColumn("Why", "word", words=VOCABULARY),
    "position": TableColumn("Place"),
    "places": TableColumn("Places"),
    "label": TableColumn(kind="text"),
    "category": TableColumn(kind="text"),
    "type": TableColumn(kind="word", words=VOCABULARY),
    "occurrence": TableColumn(),
    "recipients": TableColumn(),
    "matched_by": TableColumn(kind="text"),
    "percent": TableColumn(),
}
METRIC_WORDS = translatable({"label": "Indicator", "value": "Value", "rate": "Rate, numerator / denominator"})


SHORT_PAGE = 1_000  # letters of HTML


def metric_table(
    measured: pl.DataFrame,
    metrics: Annotated[Sequence[str], OneOf(METRICS)],
    over: str | None = None,
    labels: Annotated[Labels | None, OneOf(METRICS)] = None,
    lang: str = "en",
) -> GT:
    """Show metrics one below the other: label, value, rate beside its numerator / denominator.

    In: a frame of `measure` with one row that holds `metrics`, and `over` if given: the metric that every count is
    shown as a share of, as the platform does ("every rate / Success"). Raises RequestError for another frame.
    """
    row = only_row(measured, [*metrics, *([over] if over else [])])
    rows = [_metric_cells(row, name, over, labels or {}, lang) for name in metrics]
    shown = {name: words for name, words in said(METRIC_WORDS, lang).items() if any(cells[name] for cells in rows)}
    return presented(rows, shown, right=("value", "rate"))


def _metric_cells(row: Mapping[str, Any], name: str, over: str | None, labels: Labels, lang: str) -> dict[str, Cell]:
    metric = METRICS[name]
    label = Markup('<span title="{}">{}</span>').format(
        say(metric.definition, lang), labels.get(name, label_of(name, lang))
    )
    if metric.is_rate:
        rate = rate_cell(row, metric.numerator or name, metric.denominator or name, lang, name, beside=True)
        return {"label": label, "value": "", "rate": rate}
    shared = over is not None and name != over and not metric.denominator and not row.get(f"why {name}")
    rate = rate_cell(row, name, over or name, lang, beside=True) if shared else ""
    return {"label": label, "value": value_cell(row, name, lang), "rate": rate}


def breakdown_table(
    measured: pl.DataFrame,
    by: str,
    metrics: Annotated[Sequence[str], OneOf(METRICS)],
    total: pl.DataFrame | None = None,
    labels: Annotated[Labels | None, OneOf(METRICS, BREAKDOWNS)] = None,
    lang: str = "en",
    ceilings: Annotated[Mapping[str, float] | None, RATES] = None,
) -> GT:
    """Show metrics side by side, one row per group; each rate above its numerator / denominator.

    In: a frame of `measure` with the column `by`; `total`, the same metrics in one row measured by themselves, since
    distinct counts do not add up; there it stands once why something cannot be observed. A rate above its one of
    `ceilings` is marked, in words and not by colour alone.
    """
    highest = ceilings or {}
    words = {by: headline(by, lang)} | {name: label_of(name, lang) for name in metrics} | dict(labels or {})
    rows = [
        {by: short(group(row[by], lang)), **_group_cells(row, metrics, highest, lang, brief=total is not None)}
        for row in measured.iter_rows(named=True)
    ]
    if total is not None:
        cells = _group_cells(only_row(total, metrics), metrics, highest, lang)
        rows.append({by: bold(say(TOTAL, lang)), **cells})
    return presented(rows, {name: words[name] for name in (by, *metrics)}, right=metrics)


def group(name: str | None, lang: str = "en") -> str:
    """Return the words of a group: those of the others and of an unknown one in a language, any other as it is."""
    return say(UNKNOWN if name is None else OTHERS, lang) if name in (None, OTHERS) else str(name)


def _group_cells(
    row: Mapping[str, Any], metrics: Sequence[str], ceilings: Mapping[str, float], lang: str, brief: bool = False
) -> dict[str, Cell]:
    cells = {
        name: briefly(why, lang) if brief and (why := why_unseen(row, name)) else value_cell(row, name, lang)
        for name in metrics
    }
    over = {name: limit for name, limit in ceilings.items() if name in cells and (row[name] or 0) > limit}
    return cells | {name: _marked(cells[name], limit, lang) for name, limit in over.items()}


def _marked(cell: Cell, ceiling: float, lang: str) -> Cell:
    words = say("above {ceiling}", lang, ceiling=percent(ceiling, 0 if ceiling * 100 % 1 == 0 else 2, lang))
    return Markup('{}<span class="tk-over">▲ {}</span>').format(cell, words)


def largest(measured: pl.DataFrame, by: str, top: int) -> pl.DataFrame:
    """Keep the `top` groups with the largest first count, and add the others up in one row.

    In and out: a frame of `measure`. Rates of the others are worked out from their added parts; people, who may belong
    to several groups, do not add up, so theirs are null.
    """
    counts = [name for name in measured.columns if name in METRICS and not METRICS[name].denominator]
    ranked = measured.sort(counts[0], descending=True, nulls_last=True, maintain_order=True)
    if ranked.height <= top + 1:
        return ranked
    sums = ranked.slice(top).select(pl.lit(OTHERS).alias(by), *(_added(name) for name in counts))
    others = sums.with_columns(_divided(name) for name in measured.columns if name in METRICS and name not in counts)
    return pl.concat([ranked.head(top), others.select(measured.columns)], how="vertical_relaxed")


def _added(name: str) -> pl.Expr:
    values = pl.col(name)
    known = (values.count() > 0) if METRICS[name].unit != PEOPLE else pl.lit(False)
    return pl.when(known).then(values.sum()).alias(name)


def _divided(name: str) -> pl.Expr:
    bottom = pl.col(METRICS[name].denominator or name)
    return pl.when(bottom > 0).then(pl.col(METRICS[name].numerator or name) / bottom).alias(name)


def share_table(
    rows: pl.DataFrame, labels: Annotated[Labels | None, OneOf(["share"], SERIES)] = None, lang: str = "en"
) -> GT:
    """Show when each share of the total had been reached: one row per share, one column per series.

    In: the frame of `curves.pareto`: `share`, then words such as "1 h 10 min", null where a series is empty.
    """
    series = [name for name in rows.columns[1:] if not name.startswith("why ")]
    words = headings(["share", *series], SERIES, labels, lang)
    cells = [
        {"share": percent(row["share"], 0, lang)} | {name: _reached(row, name, place, lang) for name in series}
        for place, row in enumerate(rows.iter_rows(named=True))
    ]
    return presented(cells, words, right=series)


def _reached(row: Mapping[str, Any], name: str, place: int, lang: str) -> Cell:
    """A time; where the series cannot be observed, why in the first row."""
    if why := why_unseen(row, name):
        return briefly(why, lang) if place else unavailable(why, lang)
    none = Markup('<span class="tk-na">{}</span>').format(say(NO_EVENT, lang))
    return none if row[name] is None else plain(row[name])


def link_table(
    links: pl.DataFrame,
    columns: Annotated[Sequence[str], OneOf(LINKS)],
    labels: Annotated[Labels | None, OneOf(LINKS)] = None,
    lang: str = "en",
) -> GT | Block:
    """Show links with their clicks, a bar, and each one's share over its numerator / denominator.

    In: the frame of `links.link_clicks` or `links.tracked_links`, or of `clickmap.placed_clicks`. `columns` are among
    theirs; `bar` is drawn from `share`; where no link was clicked it is a sentence. Raises RequestError for a column
    that is not there.
    """
    table = column_table(links, LINKS, columns, labels, lang, {"bar": _link_bar})
    is_empty = "row" in links.columns and not (links["row"].cast(pl.String) == "link").any()
    return nothing(NO_LINK, lang) if is_empty else table


def _link_bar(row: Mapping[str, Any]) -> Markup:
    """A bar of the share, in the colour of the link in the chart of days."""
    return bar(row, "share", "others" if row.get("row") == "others" else f"{((row.get('rank') or 1) - 1) % 10 + 1}")


def log_table(
    log: pl.DataFrame,
    columns: Sequence[str] | None = None,
    labels: Labels | None = None,
    timezone: str = "UTC",
    lang: str = "en",
) -> GT:
    """Show log rows as they are: instants by the clock of a zone, text shortened, nothing added up.

    In: any frame, such as that of `logs.tracking_log`. Raises RequestError for a column that is not there.
    """
    chosen = list(columns or log.columns)
    require(chosen, log.columns)
    rows = [
        {name: log_cell(row[name], timezone, lang, name in OURS) for name in chosen}
        for row in log.iter_rows(named=True)
    ]
    numeric = [name for name in chosen if log.schema[name].is_numeric()]
    return presented(rows, headings(chosen, {}, labels, lang), right=numeric)


def figures(rows: pl.DataFrame, labels: Annotated[Labels | None, RATES] = None, lang: str = "en") -> Block:
    """Show a few rates large, each with its parts and, beneath, the platform average with its own.

    In: the frame of `links.click_figures`.
    """
    tiles = [_tile(row, labels or {}, lang) for row in rows.iter_rows(named=True)]
    return Block(Markup('<div class="tk-figures">{}</div>').format(Markup("").join(tiles)))


def _tile(row: Mapping[str, Any], labels: Labels, lang: str) -> Markup:
    average = figure(row["metric"], row["platform_average"], lang)
    parts = fraction(row["average_numerator"], row["average_denominator"], lang)
    many = several("{parts}, {count} delivery", "{parts}, {count} deliveries", row["deliveries"], lang, parts=parts)
    basis = many if row["platform_average"] is not None else say(NOTHING_COMPARES, lang)
    return Markup(
        '<div class="tk-figure"><span class="tk-name">{}</span><strong>{}</strong><span class="tk-of">{}</span>'
        '<span class="tk-average">{} <b>{}</b></span><span class="tk-of">{}</span></div>'
    ).format(
        labels.get(row["metric"], label_of(row["metric"], lang)),
        figure(row["metric"], row["rate"], lang),
        say(row["why"], lang) if row["why"] else fraction(row["numerator"], row["denominator"], lang),
        say("Platform average", lang),
        average,
        basis,
    )


def placement(placed: pl.DataFrame, lang: str = "en") -> Block:
    """Say how much of the clicks a click map shows. In: the frame of `clickmap.placement`."""
    row = placed.row(0, named=True)
    words = say(
        "{share} of the clicks ({parts}) are placed, on {placed} of {all} tracked links.", lang,
        share=percent(row["share"], lang=lang), parts=fraction(row["placed_clicks"], row["total"], lang),
        placed=number(row["placed_links"], lang=lang), all=number(row["links"], lang=lang),
    )  # fmt: skip
    return Block(Markup("<p>{}</p>").format(words))


def message(html: str, title: str, lines: int = 40) -> Block:
    """Show the page of `clickmap.annotated_message` in a frame that runs and shares nothing.

    The frame is `lines` high, or low where there is hardly a message: one sentence in a large frame looks broken.
    """
    lines = lines if len(html) > SHORT_PAGE else 4
    frame = Markup('<iframe sandbox srcdoc="{}" title="{}" style="height:{}em"></iframe>')
    return Block(frame.format(str(html), title, round(lines * 1.2)))
