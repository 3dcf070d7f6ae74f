"""The cells of presentation tables: figures, rates with their parts, and unknown values with the reason.

All HTML is made with `Markup`, which escapes inserted text, so that no text of a log can become a tag.
"""

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl
from great_tables import GT, html
from great_tables._gt_data import Body
from markupsafe import Markup

from trackkit.errors import RequestError, did_you_mean
from trackkit.language import said, say, translatable
from trackkit.metrics import CURRENCY, METRICS, PURCHASES, bounds_of, part_of
from trackkit.schema import FAILURE_TYPE_LABELS, FORMAT_LABELS, STATUS_LABELS
from trackkit.show import data as page_data
from trackkit.show.data import DataField
from trackkit.show.wording import NOT_AVAILABLE, between, figure, instant, number, percent, plain, short

Labels = Mapping[str, str]
_WHAT = re.compile(r'<a class="tk-what".*?</a>')  # a mark of a definition


class OneOf(tuple[str, ...]):
    """The names that a parameter of a chart or a table accepts, as its elements or as the keys of its mapping.

    Used in annotations such as `columns: Annotated[Sequence[str], OneOf(LINKS)]`; a single value is a `Literal`. Both
    let `trackkit check` validate a template before anything is drawn.
    """

    __slots__ = ()

    def __new__(cls, *names: Iterable[str]) -> "OneOf":
        return super().__new__(cls, dict.fromkeys(name for group in names for name in group))


RATES = OneOf(name for name, metric in METRICS.items() if metric.is_rate and metric.denominator)
COUNTS = OneOf(name for name, metric in METRICS.items() if not metric.denominator and metric.unit != CURRENCY)
Cell = Markup | str
OTHERS, TOTAL, UNKNOWN = translatable(("Others", "Total", "(unknown)"))
PARTS = translatable("{part} of {whole}")
BOUNDS = ("low", "high")  # of a rate, in frames of one row per metric
NOT_LOADED = translatable("not in the data loaded")
SEVERAL_CURRENCIES = translatable("in several currencies, which are not added")
translatable(("{denominator} is 0", "yes", "no"))
# Columns whose text is our own vocabulary in any frame; all other text is data and never translated.
OURS = ("type", "status", "reason", "failure_type", "device", "message_format", "channel", "rule")
VOCABULARY = {**STATUS_LABELS, **FAILURE_TYPE_LABELS, **FORMAT_LABELS}
# The style of cells outside a report's page, as in JupyterLab.
STYLE = """
.tk-of{opacity:.7;font-size:.85em;display:block}
.tk-range{opacity:.7;font-size:.85em;display:block}
.gt_right>.tk-of{display:inline-block;min-width:8em;margin-left:.6em}.tk-what{margin-left:.3em;text-decoration:none}
.tk-na{opacity:.7;font-style:italic}.tk-bar{display:block;min-width:60px;height:8px}
.tk-bar>span{display:block;height:8px;background:#1f6f8b}
.tk-over{display:block;color:#a2561a;font-weight:600;font-size:.85em}
.tk-figures{display:flex;gap:2em;flex-wrap:wrap}.tk-figures strong{font-size:2em;display:block}
"""


@dataclass(frozen=True)
class Block:
    """A piece of a report that is neither chart nor table; its HTML is safe."""

    html: Markup
    data: dict[str, Any] | None = None  # of `data.table_data`

    def _repr_mimebundle_(self, **_: Any) -> dict[str, Any]:
        return {} if self.data is None else {page_data.MIME: self.data}

    def _repr_html_(self) -> str:
        return f'<div class="tk-block"><style>{STYLE}</style>{self.html}</div>'


class _Ready(GT):
    """A table whose cells are already HTML.

    The public way, `fmt`, calls a formatter for each cell: 2.8 times slower for a table of 200 rows.
    """

    data: dict[str, Any] | None = None  # of `data.table_data`; not a field: a copy that is restyled has it too

    def _repr_mimebundle_(self, **_: Any) -> dict[str, Any]:
        return {} if self.data is None else {page_data.MIME: self.data}

    def _render_formats(self, context: str) -> "_Ready":
        assert isinstance(self._tbl_data, pl.DataFrame)
        body = Body(self._tbl_data.clone())
        for formats in (self._formats, self._substitutions):  # added by an analyst
            body.render_formats(self._tbl_data, formats, context)
        return self._replace(_body=body)


def presented(
    rows: list[dict[str, Cell]], columns: Labels, right: Sequence[str] = (), data: dict[str, Any] | None = None
) -> GT:
    """Build a presentation table of cells; its id is derived from its content, so that the output is reproducible.

    `data` is that of `data.table_data`: the same rows, raw. It travels with the table to the page.
    """
    cells = pl.DataFrame(
        [{name: str(Markup.escape(row[name])) for name in columns} for row in rows],
        schema=dict.fromkeys(columns, pl.String),
    )
    digest = hashlib.sha256(repr((dict(columns), cells.rows())).encode()).hexdigest()[:10]
    ready = _Ready(cells, id=f"tk-{digest}")
    ready.data = data
    table = ready.cols_label(cases={name: _heading(word) for name, word in columns.items()})
    table = table.cols_align("left")
    if numeric := [name for name in columns if name in right]:
        table = table.cols_align("right", columns=numeric)
    return table.tab_options(table_additional_css=STYLE.strip().splitlines(), table_font_size="13px")


def _heading(words: Cell) -> Any:
    return html(str(words)) if isinstance(words, Markup) else plain(words)


def is_open(pace: pl.DataFrame | None) -> bool:
    """Whether a delivery is not over, by the frame of `sending.pace`; not where that is unknown."""
    return pace is not None and pace["phase"][0] in ("running", "paused")


def label_of(name: str, lang: str = "en", labels: Labels | None = None) -> str:
    """Return the words of a metric, the same on every page.

    >>> label_of("delivered"), label_of("delivered", "pt_BR")
    ('Success (without control addresses)', 'Êxito (sem os endereços de controle)')
    """
    return (labels or {}).get(name) or say(METRICS[name].label, lang)


def value_cell(row: Mapping[str, Any], name: str, lang: str, decimals: int | None = None) -> Cell:
    """Show a count, an amount or an average; an average has its parts beneath. `decimals` as in `wording.figure`."""
    metric, value = METRICS[name], row[name]
    if why := why_unseen(row, *(part_of(row, name, part) for part in metric.parents), name):
        return unavailable(why, lang)
    if not metric.denominator:
        return unavailable(_why(row, name), lang) if value is None else figure(name, value, lang, None, decimals)
    return rate_cell(row, metric.numerator or name, metric.denominator, lang, name, decimals)


def rate_cell(
    row: Mapping[str, Any], top: str, bottom: str, lang: str, name: str | None = None, decimals: int | None = None
) -> Cell:
    """Show one metric of a row as a share of another, with both numbers; `name` is the metric of this rate, if any."""
    if why := why_unseen(row, name or top, *(part_of(row, name or top, each) for each in (top, bottom))):
        return unavailable(why, lang)
    is_share = name is None or METRICS[name].is_rate
    part, whole = (row[part_of(row, name or top, each)] for each in (top, bottom))
    parts = fraction(part, whole, lang, money=METRICS[top].unit == CURRENCY, is_share=is_share)
    if part is None or not whole:
        is_known = part is not None and whole is not None
        why = "{denominator} is 0" if is_known else _why(row, top if part is None else bottom)
        return unavailable(why, lang, denominator=label_of(bottom, lang))
    rate = row[name] if name else part / whole
    words = f"{label_of(top, lang)} / {label_of(bottom, lang)}"
    shown = figure(name, rate, lang, whole, decimals) if name else percent(rate, decimals, lang, whole)
    low, high = (row.get(bound) if name else None for bound in bounds_of(name or top))
    return over(shown, parts, words) + bracketed(name or top, rate, low, high, whole, lang, decimals)


def bracketed(
    name: str,
    rate: float | None,
    low: float | None,
    high: float | None,
    of: float,
    lang: str,
    decimals: int | None = None,
) -> Markup:
    """Show the interval of a rate, small and in brackets; nothing if it has none, or cannot be observed."""
    if rate is None or low is None or high is None:
        return Markup("")
    return Markup(' <span class="tk-range">({})</span>').format(between(name, rate, low, high, of, lang, decimals))


def ratio(top: float | None, bottom: float | None) -> float | None:
    """Return a rate of two counts; None if one is unknown, or there is nothing to divide by."""
    return None if top is None or not bottom else top / bottom


def why_unseen(row: Mapping[str, Any], *names: str) -> str:
    """Why a figure of a row, or a part of it, cannot be observed (`analysis.unseen`); empty if it can."""
    return next((row[f"why {name}"] for name in names if row.get(f"why {name}")), "")


def _why(row: Mapping[str, Any], name: str) -> str:
    """Why a count is unknown: known amounts without a sum are in several currencies."""
    is_known = METRICS[name].unit == CURRENCY and any(row.get(part) for part in PURCHASES)
    return SEVERAL_CURRENCIES if is_known else NOT_LOADED


def fraction(top: float | None, bottom: float | None, lang: str, money: bool = False, is_share: bool = True) -> str:
    """Return the parts of a share ("2 of 3") or of an average ("2 / 3") as text.

    >>> fraction(1212, 3206, "en"), fraction(1805.2, 40, "en", money=True, is_share=False)
    ('1,212 of 3,206', '1,805.20 / 40')
    """
    part, whole = number(top, 2 if money else 0, lang), number(bottom, 0, lang)
    return say(PARTS, lang, part=part, whole=whole) if is_share else f"{part} / {whole}"


def over(shown: str, parts: str, title: str = "") -> Markup:
    """Show a figure, and its parts, smaller, beside it (or below it, if it is text)."""
    title_attribute = Markup(' title="{}"').format(title) if title else ""
    return Markup('{}<span class="tk-of"{}>{}</span>').format(shown, title_attribute, parts)


def bold(words: str) -> Markup:
    """Show our own words in bold, such as "Total", to tell them from names of a log."""
    return Markup("<b>{}</b>").format(words)


def nothing(why: str, lang: str = "en") -> Block:
    """Say why there is neither table nor chart; `why` is an English sentence of ours."""
    return Block(Markup('<p class="nothing">{}</p>').format(say(why, lang)))


def headings(columns: Sequence[str], words: Labels, labels: Labels | None, lang: str) -> dict[str, str]:
    """Return the heading of each column: the template's label, else our words, else the column's name."""
    known_words = said(words, lang) | dict(labels or {})
    return {name: known_words[name] if name in known_words else headline(name, lang) for name in columns}


def unavailable(why: str, lang: str = "en", **values: object) -> Markup:
    """Show that a figure is not available, and why: an English sentence of ours with its placeholders' values."""
    cell = Markup('<span class="tk-na">{}<span class="tk-of">{}</span></span>')
    return cell.format(say(NOT_AVAILABLE, lang), say(why, lang, **values))


def briefly(why: str, lang: str = "en") -> Markup:
    """Show that a figure is not available; the reason shows on hover, since it is written once in the total."""
    return Markup('<span class="tk-na" title="{}">{}</span>').format(say(why, lang), say(NOT_AVAILABLE, lang))


def spoken(value: str | None, lang: str = "en") -> str:
    """Translate a word of our own vocabulary (a type, a status, a reason); empty when unknown.

    >>> spoken("in_progress"), spoken("Mirror page", "pt_BR")
    ('In progress', 'Mirror page')
    """
    return say(VOCABULARY.get(value, value), lang) if value else ""


def in_words(rows: pl.DataFrame, words: Labels, lang: str = "en", has_headings: bool = True) -> pl.DataFrame:
    """Return a list of log rows with our own vocabulary in a language, and its headings in place of column names.

    `words` are the English headings of columns; any other is headed by its name.

    >>> in_words(pl.DataFrame({"status": ["Sent"], "domain": ["x.example"]}), {"domain": "Domain"}, "pt_BR").to_dicts()
    [{'Status': 'Enviado', 'Domínio': 'x.example'}]
    """
    ours = {name: rows[name].cast(pl.String).unique().drop_nulls() for name in OURS if name in rows.columns}
    spoken_rows = rows.with_columns(
        pl.col(name).cast(pl.String).replace({word: spoken(word, lang) for word in found})
        for name, found in ours.items()
    )
    return spoken_rows.rename(headings(rows.columns, words, None, lang)) if has_headings else spoken_rows


def bar(row: Mapping[str, Any], share: str | None, colour: str) -> Markup:
    """Draw a share as a bar, no wider than its cell, in a colour of the page's style; none for the total."""
    if share is None or row[share] is None or row.get("row") == "total":
        return Markup("")
    width = f"{100 * min(row[share], 1):.1f}"
    return Markup('<span class="tk-bar"><span class="tk-bar-{}" style="width:{}%"></span></span>').format(colour, width)


def log_cell(value: Any, timezone: str, lang: str = "en", ours: bool = False) -> Cell:
    """Show one value of a log: an instant by the clock of a zone, a number by locale, text shortened.

    `ours`: the value is of our own vocabulary, not text of a log.
    """
    if value is None:
        return ""
    if hasattr(value, "isoformat"):
        return instant(value, timezone, seconds=True, lang=lang)
    if isinstance(value, bool):
        return say("yes" if value else "no", lang)
    if isinstance(value, int | float):
        return number(value, 0 if isinstance(value, int) else 2, lang)
    return short(spoken(value, lang) if ours else value, 48)


def headline(column: str, lang: str = "en") -> str:
    """Return a heading for a column of a log.

    >>> headline("last_hit_at"), headline("last_hit_at", "pt_BR")
    ('Last hit', 'Último acesso')
    """
    return say(column.removesuffix("_at").replace("_", " ").capitalize(), lang)


def shown_text(cell: Cell) -> str:
    """Return the text of a cell without what stands beneath it.

    >>> shown_text(over(bold("Total"), "12 subscribers")), shown_text(Markup('Opened <a class="tk-what">?</a>'))
    ('Total', 'Opened')
    """
    return Markup(_WHAT.sub("", str(Markup.escape(cell)).split('<span class="tk-of"')[0])).striptags()


def metric_field(name: str, label: str) -> DataField:
    """Return how the values of a metric travel in the data of a table."""
    metric = METRICS[name]
    kind: page_data.Kind = "amount" if metric.unit == CURRENCY else "average" if metric.denominator else "count"
    return DataField(name, label, "share" if metric.is_rate else kind)


def metric_fields(names: Sequence[str], columns: Sequence[str], labels: Labels, lang: str) -> list[DataField]:
    """Return the fields of metrics, each rate followed by those of its parts that a frame has.

    A part that a frame counts over fewer deliveries for the rate (`metrics.part_of`) says of which rate it is.
    """
    fields: dict[str, DataField] = {}
    for name in names:
        pair = (METRICS[name].numerator, METRICS[name].denominator)
        parts = [part for part in pair if part and part in columns]
        words = labels.get(name) or label_of(name, lang)
        for each in (name, *parts):
            field, own = metric_field(each, labels.get(each) or label_of(each, lang)), part_of(columns, name, each)
            if own != each:
                field = DataField(own, say("{part}, for {rate}", lang, part=field.label, rate=words), field.kind)
            fields.setdefault(own, field)
        fields |= {each.name: each for each in bound_fields(bounds_of(name), columns, words, lang)}
    return list(fields.values())


def bound_fields(bounds: Sequence[str], columns: Sequence[str], label: str, lang: str) -> list[DataField]:
    """Return the fields of a rate's bounds, if a frame has them."""
    words = say("{rate}, lower bound", lang, rate=label), say("{rate}, upper bound", lang, rate=label)
    return [DataField(*each, "share") for each in zip(bounds, words, strict=True) if each[0] in columns]


def only_row(measured: pl.DataFrame, needed: Sequence[str]) -> dict[str, Any]:
    """Return the one row of a frame that has the columns needed; RequestError for any other frame."""
    if measured.height != 1:
        raise RequestError(f"A metric table shows one row; the frame has {measured.height}. Filter it, or use by=[].")
    require(needed, measured.columns)
    return measured.row(0, named=True)


def require(names: Sequence[str], known: Sequence[str]) -> None:
    """Refuse a column that a frame does not have."""
    for name in names:
        if name not in known:
            raise RequestError(f"The frame has no column {name!r}.{did_you_mean(name, known)}")
