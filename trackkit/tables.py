"""Tidy frame in, presentation table out. Every rate shows its numerator and denominator; what is unknown says why.

Tables are `great_tables` objects, to be restyled by their caller. Cells made of HTML go through `Markup`, which escapes
whatever is put into it, so no text of a log can become a tag.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl
from great_tables import GT
from markupsafe import Markup

from trackkit.errors import RequestError, did_you_mean
from trackkit.metrics import CURRENCY, METRICS, PEOPLE, RATIO
from trackkit.wording import figure, instant, number, percent, plain, short

OTHERS, TOTAL, UNKNOWN = "Others", "Total", "(unknown)"
Labels = Mapping[str, str]
# What the cells need where the page's own style is not at hand, as in JupyterLab.
STYLE = """
.tk-of{opacity:.7;font-size:.85em;display:block}.tk-na{opacity:.7;font-style:italic}
.tk-bar{display:block;min-width:60px;height:8px}.tk-bar>span{display:block;height:8px;background:#1f6f8b}
.tk-figures{display:flex;gap:2em;flex-wrap:wrap}.tk-figures strong{font-size:2em;display:block}
"""


@dataclass(frozen=True)
class Block:
    """A piece of a report that is neither chart nor table; its HTML is safe."""

    html: Markup

    def _repr_html_(self) -> str:
        return f'<div class="tk-block"><style>{STYLE}</style>{self.html}</div>'


def metric_table(
    measured: pl.DataFrame,
    metrics: Sequence[str],
    over: str | None = None,
    labels: Labels | None = None,
    lang: str = "en",
) -> GT:
    """Show metrics one below the other: label, value, rate, and the rate's numerator / denominator.

    In: a frame of `measure` with one row that holds `metrics`, and `over` if given: the metric that every count is
    shown as a share of, as the platform does ("every rate / Success"). Raises RequestError for another frame.
    """
    row = _only_row(measured, [*metrics, *([over] if over else [])])
    rows = [_metric_cells(row, name, over, labels or {}, lang) for name in metrics]
    columns = {"label": "Indicator", "value": "Value", "rate": "Rate", "parts": "Numerator / denominator"}
    for empty in [name for name in columns if not any(cells[name] for cells in rows)]:
        del columns[empty]
    return _table([{key: cells[key] for key in columns} for cells in rows], columns, right=("value", "rate", "parts"))


def breakdown_table(
    measured: pl.DataFrame,
    by: str,
    metrics: Sequence[str],
    total: pl.DataFrame | None = None,
    labels: Labels | None = None,
    lang: str = "en",
) -> GT:
    """Show metrics side by side, one row per group; each rate above its numerator / denominator.

    In: a frame of `measure` with the column `by`; `total`, the same metrics in one row measured by themselves, since
    distinct counts do not add up.
    """
    words = {by: by.replace("_", " ").capitalize()} | {name: _label(name) for name in metrics} | dict(labels or {})
    rows = [
        {by: short(UNKNOWN if row[by] is None else row[by]), **_group_cells(row, metrics, lang)}
        for row in measured.iter_rows(named=True)
    ]
    if total is not None:
        rows.append({by: Markup("<b>{}</b>").format(TOTAL), **_group_cells(_only_row(total, metrics), metrics, lang)})
    columns = {name: words[name] for name in (by, *metrics)}
    return _table(rows, columns, right=metrics, titles={name: METRICS[name].definition for name in metrics})


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


def share_table(rows: pl.DataFrame, labels: Labels | None = None, lang: str = "en") -> GT:
    """Show when each share of the total had been reached: one row per share, one column per series.

    In: the frame of `curves.pareto`: `share`, then words such as "1h 10mn", null where a series is empty.
    """
    words = {"share": "Share of the total"} | {name: name.capitalize() for name in rows.columns[1:]}
    nothing = Markup('<span class="tk-na">no event</span>')
    cells = [
        {"share": percent(row["share"], 0, lang)}
        | {name: nothing if row[name] is None else plain(row[name]) for name in rows.columns[1:]}
        for row in rows.iter_rows(named=True)
    ]
    return _table(cells, words | dict(labels or {}), right=rows.columns[1:])


def link_table(links: pl.DataFrame, columns: Sequence[str], labels: Labels | None = None, lang: str = "en") -> GT:
    """Show links with their clicks, a bar, and each one's share over its numerator / denominator.

    In: the frame of `links.link_clicks` or `links.tracked_links`, or of `clickmap.placed_clicks`. `columns` are among
    theirs; `bar` is drawn from `share`. Raises RequestError for a column that is not there.
    """
    _require(columns, [*links.columns, "bar"])
    words = LINK_WORDS | dict(labels or {})
    rows = [{name: _link_cell(row, name, lang) for name in columns} for row in links.iter_rows(named=True)]
    right = [name for name in columns if name in ("rank", "clicks", "recipients", "share", "occurrence")]
    return _table(rows, {name: words.get(name, _headline(name)) for name in columns}, right=right)


def category_table(links: pl.DataFrame, categories: Labels, labels: Labels | None = None, lang: str = "en") -> GT:
    """Show the clicks on links of the categories asked for, in the order asked, 0 where there was none.

    In: the frame of `links.link_clicks(..., by="category")`; `categories` maps a category, whatever its case, to words.
    """
    known = links.filter(pl.col("row").cast(pl.String) == "link")
    folded = known.group_by(pl.col("link").str.strip_chars().str.to_lowercase()).agg(pl.col("clicks").sum())
    clicks = dict(folded.iter_rows())
    words = {"category": "Network", "clicks": "Shares"} | dict(labels or {})
    rows = [
        {"category": name, "clicks": number(clicks.get(category.casefold(), 0), lang=lang)}
        for category, name in categories.items()
    ]
    return _table(rows, words, right=["clicks"])


LINK_WORDS = {
    "rank": "#", "link": "Link", "bar": "", "share": "Share of clicks", "url": "URL", "link_id": "Link id",
    "text": "Words in the message", "reason": "Why", "position": "Place",
}  # fmt: skip


def log_table(
    log: pl.DataFrame, columns: Sequence[str] | None = None, labels: Labels | None = None, timezone: str = "UTC"
) -> GT:
    """Show log rows as they are: instants by the clock of a zone, text shortened, nothing added up.

    In: any frame, such as that of `logs.tracking_log`. Raises RequestError for a column that is not there.
    """
    chosen = list(columns or log.columns)
    _require(chosen, log.columns)
    words = {name: _headline(name) for name in chosen} | dict(labels or {})
    rows = [{name: _log_cell(row[name], timezone) for name in chosen} for row in log.iter_rows(named=True)]
    right = [name for name in chosen if log.schema[name].is_numeric()]
    return _table(rows, {name: words[name] for name in chosen}, right=right)


def figures(rows: pl.DataFrame, labels: Labels | None = None, lang: str = "en") -> Block:
    """Show a few rates large, each with its parts and, beneath, the platform average with its own.

    In: the frame of `links.click_figures`.
    """
    tiles = [_tile(row, labels or {}, lang) for row in rows.iter_rows(named=True)]
    return Block(Markup('<div class="tk-figures">{}</div>').format(Markup("").join(tiles)))


def placement(placed: pl.DataFrame, lang: str = "en") -> Block:
    """Say how much of the clicks a click map shows. In: the frame of `clickmap.placement`."""
    row = placed.row(0, named=True)
    share = percent(row["share"], lang=lang)
    links = f"{number(row['placed_links'], lang=lang)} of {number(row['links'], lang=lang)} tracked links"
    words = Markup("<p><b>{}</b> of the clicks ({}) are placed, on {}.</p>")
    return Block(words.format(share, _fraction(row["placed_clicks"], row["total"], lang), links))


def message(html: str, title: str) -> Block:
    """Show the page of `clickmap.annotated_message` in a frame that runs nothing and shares nothing with its page."""
    frame = Markup('<iframe sandbox srcdoc="{}" title="{}" loading="lazy" referrerpolicy="no-referrer"></iframe>')
    return Block(frame.format(str(html), title))


def _tile(row: Mapping[str, Any], labels: Labels, lang: str) -> Markup:
    label = labels.get(row["metric"], row["label"])
    own = Markup('<strong>{}</strong><span class="tk-of">{}</span>').format(
        figure(row["metric"], row["rate"], lang), _fraction(row["numerator"], row["denominator"], lang)
    )
    if row["platform_average"] is None:
        average = Markup('<span class="tk-average">Platform average <b>n/a</b></span><span class="tk-of">{}</span>')
        average = average.format("no comparable delivery in the six months before")
    else:
        average = Markup('<span class="tk-average">Platform average <b>{}</b></span><span class="tk-of">{}</span>')
        parts = _fraction(row["average_numerator"], row["average_denominator"], lang)
        many = f"{parts}, {number(row['deliveries'], lang=lang)} deliveries"
        average = average.format(figure(row["metric"], row["platform_average"], lang), many)
    return Markup('<div class="tk-figure"><span class="tk-name">{}</span>{}{}</div>').format(label, own, average)


def _metric_cells(
    row: Mapping[str, Any], name: str, over: str | None, labels: Labels, lang: str
) -> dict[str, Markup | str]:
    metric, parts = METRICS[name], _parts(name, over)
    label = Markup('<span title="{}">{}</span>').format(metric.definition, labels.get(name, _label(name)))
    value = "" if metric.unit == RATIO else _value(row, name, lang)
    if not parts:
        return {"label": label, "value": value, "rate": "", "parts": ""}
    top, bottom = row[parts[0]], row[parts[1]]
    shown = _fraction(top, bottom, lang, money=METRICS[parts[0]].unit == CURRENCY)
    fraction = Markup('<span title="{} / {}">{}</span>').format(_label(parts[0]), _label(parts[1]), shown)
    rate = ""
    if metric.unit == RATIO or not metric.denominator:
        rate = _rate(name if metric.unit == RATIO else "", top, bottom, parts[1], lang)
    return {"label": label, "value": value, "rate": rate, "parts": fraction}


def _group_cells(row: Mapping[str, Any], metrics: Sequence[str], lang: str) -> dict[str, Markup | str]:
    return {name: _group_cell(row, name, lang) for name in metrics}


def _group_cell(row: Mapping[str, Any], name: str, lang: str) -> Markup | str:
    metric = METRICS[name]
    if not metric.denominator:
        return _value(row, name, lang)
    top, bottom = row[metric.numerator], row[metric.denominator]
    if row[name] is None:
        return _rate(name, top, bottom, metric.denominator, lang)
    parts = _fraction(top, bottom, lang, money=METRICS[metric.numerator].unit == CURRENCY)
    return Markup('{}<span class="tk-of">{}</span>').format(figure(name, row[name], lang), parts)


def _value(row: Mapping[str, Any], name: str, lang: str) -> Markup | str:
    if row[name] is not None:
        return figure(name, row[name], lang)
    metric = METRICS[name]
    if metric.denominator:
        return _unavailable(_why_no_rate(row[metric.numerator], row[metric.denominator], metric.denominator))
    return _unavailable("not in the data loaded")


def _rate(name: str, top: float | None, bottom: float | None, base: str, lang: str) -> Markup | str:
    if top is None or not bottom:
        return _unavailable(_why_no_rate(top, bottom, base))
    return figure(name, top / bottom, lang) if name else percent(top / bottom, lang=lang)


def _why_no_rate(top: float | None, bottom: float | None, base: str) -> str:
    return "not in the data loaded" if top is None or bottom is None else f"{_label(base)} is 0"


def _unavailable(why: str) -> Markup:
    return Markup('<span class="tk-na">n/a<span class="tk-of">{}</span></span>').format(why)


def _fraction(top: float | None, bottom: float | None, lang: str, money: bool = False) -> str:
    return f"{number(top, 2 if money else 0, lang)} / {number(bottom, 0, lang)}"


def _parts(name: str, over: str | None) -> tuple[str, str] | None:
    metric = METRICS[name]
    if metric.numerator and metric.denominator:
        return metric.numerator, metric.denominator
    return (name, over) if over and name != over else None


def _label(name: str) -> str:
    return METRICS[name].platform_label or METRICS[name].label


def _added(name: str) -> pl.Expr:
    values = pl.col(name)
    known = (values.count() > 0) if METRICS[name].unit != PEOPLE else pl.lit(False)
    return pl.when(known).then(values.sum()).alias(name)


def _divided(name: str) -> pl.Expr:
    bottom = pl.col(METRICS[name].denominator or name)
    return pl.when(bottom > 0).then(pl.col(METRICS[name].numerator or name) / bottom).alias(name)


def _link_cell(row: Mapping[str, Any], name: str, lang: str) -> Markup | str:
    if name == "bar":
        return _bar(row)
    value = row[name]
    if name == "share":
        parts = _fraction(row["clicks"], row["total"], lang)
        return (
            _unavailable("no click")
            if value is None
            else Markup('{}<span class="tk-of">{}</span>').format(percent(value, lang=lang), parts)
        )
    if isinstance(value, int):
        return number(value, lang=lang)
    if name == "link" and row.get("row") in ("others", "total"):
        return Markup("<b>{}</b>").format(value)
    return "" if value is None and name in ("rank", "category", "occurrence") else short(value)


def _bar(row: Mapping[str, Any]) -> Markup:
    """A bar of the share; its colour is that of the link in the chart of days."""
    if row["share"] is None or row.get("row") == "total":
        return Markup("")
    kind = "others" if row.get("row") == "others" else f"{((row.get('rank') or 1) - 1) % 10 + 1}"
    width = f"{100 * row['share']:.1f}"
    return Markup('<span class="tk-bar"><span class="tk-bar-{}" style="width:{}%"></span></span>').format(kind, width)


def _log_cell(value: Any, timezone: str) -> Markup | str:
    if value is None:
        return ""
    if hasattr(value, "isoformat"):
        return instant(value, timezone, seconds=True)
    return short(value, 60) if isinstance(value, str) else str(value)


def _headline(column: str) -> str:
    return column.removesuffix("_at").replace("_", " ").capitalize()


def _only_row(measured: pl.DataFrame, needed: Sequence[str]) -> dict[str, Any]:
    if measured.height != 1:
        raise RequestError(f"A metric table shows one row; the frame has {measured.height}. Filter it, or use by=[].")
    _require(needed, measured.columns)
    return measured.row(0, named=True)


def _require(names: Sequence[str], known: Sequence[str]) -> None:
    for name in names:
        if name not in known:
            raise RequestError(f"The frame has no column {name!r}.{did_you_mean(name, known)}")


def _table(
    rows: list[dict[str, Markup | str]],
    columns: Labels,
    right: Sequence[str] = (),
    titles: Labels | None = None,
) -> GT:
    """Build the presentation table; its id comes from its content, so that the same figures make the same bytes."""
    cells = pl.DataFrame(
        [{name: str(Markup.escape(row[name])) for name in columns} for row in rows],
        schema=dict.fromkeys(columns, pl.String),
    )
    digest = hashlib.sha256(repr((dict(columns), cells.rows())).encode()).hexdigest()[:10]
    table = GT(cells, id=f"tk-{digest}").cols_label(cases={name: plain(word) for name, word in columns.items()})
    table = table.fmt(lambda cell: cell, columns=list(columns)).cols_align("left")
    if numeric := [name for name in columns if name in right]:
        table = table.cols_align("right", columns=numeric)
    return table.tab_options(table_additional_css=STYLE.strip().splitlines(), table_font_size="13px")
