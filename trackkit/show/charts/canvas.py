"""What every chart is made of: a `Plot` declares what is drawn, one of four marks draws it.

The marks: `bars` lie, one for each name; `columns` stand, one for each period; `lines` and `dots` go along an axis. A
plot knows nothing of altair, which starts at `canvas`.

Importing this module makes charts draw with the colours of `reports_templates/html/theme.toml`, in JupyterLab and in
a report alike: altair's own renderers either need a network or emit a type that notebooks refuse.
"""

import dataclasses
import json
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import altair as alt
import polars as pl

from trackkit.errors import RequestError
from trackkit.language import said, translatable
from trackkit.show.charts.clock import MINUTES, time_labels
from trackkit.show.theme import chart_config, theme
from trackkit.show.wording import clipped

Labels = Mapping[str, str]
MIME = "application/vnd.vegalite.v5+json"
# Pixels, in JupyterLab; a report's page widens charts to its own. Never "container": JupyterLab then draws for ever.
WIDTH, HEIGHT = 620, 260
LONGEST_NAME = 80
# Columns that a name may take beside a bar and in a legend; tooltips and tables show more of it.
BESIDE_BARS, IN_LEGENDS = 40, 44
# What every JavaScript object has: Vega looks names and titles up in plain objects, and would find these there.
TAKEN = [
    "constructor",
    "hasOwnProperty",
    "isPrototypeOf",
    "propertyIsEnumerable",
    "toLocaleString",
    "toString",
    "valueOf",
    "__proto__",
    "__defineGetter__",
    "__defineSetter__",
    "__lookupGetter__",
    "__lookupSetter__",
]
WHOLE, SHARE, PERCENT = ",.0f", ".2%", "%"  # how counts and fractions are written, and fractions on an axis
WHOLE_ONLY = "datum.value % 1 ? '' : datum.label"  # up to a count of 1 the least step still lets a half through
SERIES = translatable({"opens": "Sum of opens", "clicks": "Cumulated clicks", "transactions": "Transactions"})
MOST_ROWS = 20_000  # that a chart draws


@dataclass(frozen=True)
class Numbers:
    """An axis of figures: of counts, unless `is_count` says otherwise.

    `stacked` puts the marks of one place on each other (True), over each other (False), or leaves it to the mark. The
    axis ends at `most`, if given, and then has no lines: figures are written beside the bars.
    """

    field: str
    title: str | None = None
    written: str = WHOLE
    is_count: bool = True
    stacked: bool | None = None
    most: float | None = None


@dataclass(frozen=True)
class TimeAxis:
    """An axis of instants (`clock.axis_instant`) by the clock of `zone`, its labels at least `least` apart."""

    field: str = "starts_at"
    zone: str = "UTC"
    lang: str = "en"
    least: str = MINUTES
    padding: int = 0


@dataclass(frozen=True)
class Names:
    """An axis of names in this order, each `size` pixels high where bars lie."""

    field: str
    names: Sequence[str]
    size: int = 0


@dataclass(frozen=True)
class Series:
    """What colours tell apart: `names`, in the theme's colours or in these; `legend` has options, or is left out."""

    field: str
    names: Sequence[str]
    colours: Sequence[str] | None = None
    legend: Mapping[str, Any] | None = dataclasses.field(default_factory=dict)


Axis = Numbers | TimeAxis | Names


@dataclass(frozen=True)
class Plot:
    """A chart, declared: its rows, what it shows in words (for a screen reader), what stands where, and its tooltips.

    `tips` are the lines of a tooltip: columns with their titles. Whole numbers are shown as counts and fractions as
    percentages, unless `written` has another format for the column. Marks are stacked in the order of the column
    `order`; those of different values of `beside` stand side by side.
    """

    rows: pl.DataFrame
    description: str
    x: Axis
    y: Axis
    tips: Mapping[str, str]
    series: Series | None = None
    order: str = ""
    beside: str = ""
    height: int = HEIGHT
    title: str | None = None
    written: Mapping[str, str] = dataclasses.field(default_factory=dict)


def bars(plot: Plot, size: int | None = None, **options: Any) -> alt.Chart:
    """Draw bars that lie, one above the other, by the names of the axis `y`."""
    assert isinstance(plot.y, Names)
    options |= {"size": size} if size else {}
    high = replace(plot, height=plot.y.size * max(2, len(plot.y.names)))
    drawn: alt.Chart = canvas(high).mark_bar(aria=False, **options)
    return drawn


def columns(plot: Plot) -> alt.Chart:
    """Draw columns that stand: one for each name of the axis `x`, or by the clock, from `starts_at` to `ends_at`.

    Those by the clock are stacked in the order of `place`.
    """
    if plot.rows.height > MOST_ROWS:
        raise RequestError(f"A chart of {plot.rows.height:,} columns cannot be read: take longer periods.")
    if isinstance(plot.x, Names):
        by_name: alt.Chart = canvas(plot).mark_bar(aria=False, cornerRadiusEnd=0)
        return by_name
    stacked = canvas(replace(plot, order="place"))
    by_the_clock: alt.Chart = stacked.mark_bar(orient="vertical", aria=False, cornerRadiusEnd=0).encode(x2="ends_at")
    return by_the_clock


def lines(plot: Plot, area: float | None = None, **options: Any) -> alt.Chart:
    """Draw lines; with `area`, the surface beneath instead, of that opacity."""
    base = canvas(plot)
    drawn: alt.Chart = (
        base.mark_line(aria=False, **options) if area is None else base.mark_area(aria=False, opacity=area)
    )
    return drawn


def dots(plot: Plot, sized_by: str, scale: alt.Scale, **options: Any) -> alt.Chart:
    """Draw dots, as large as the column `sized_by` is on its scale."""
    size = alt.Size(f"{sized_by}:Q", scale=scale, legend=None)
    drawn: alt.Chart = canvas(plot).mark_circle(aria=False, **options).encode(size=size)
    return drawn


def layered(plot: Plot, *charts: alt.Chart, beside: Sequence[alt.Chart] = ()) -> alt.LayerChart:
    """Lay charts of one plot over each other, and those `beside` it, which have rows of their own."""
    for chart in charts:
        chart.data = charts[0].data  # the same, so that the rows stand in the page once
        chart.title = alt.Undefined
    return alt.LayerChart(layer=[*charts, *beside], description=plot.description, **_titled(plot))


def tips(lang: str, /, **titles: str) -> dict[str, str]:
    """Return the titles of columns in tooltips, given in English, in a language."""
    return said(titles, lang)


def canvas(plot: Plot) -> alt.Chart:
    """Return what a plot declares as an altair chart that has no mark yet."""
    floats = [name for name, dtype in plot.rows.schema.items() if dtype == pl.Float64]
    rows = plot.rows.with_columns(_half_up(name) for name in floats)
    channels: dict[str, Any] = {
        "x": _channel(plot, plot.x, alt.X),
        "y": _channel(plot, plot.y, alt.Y),
    }
    if plot.tips:
        channels["tooltip"] = [_tooltip(plot, name) for name in plot.tips]
    if plot.series:
        channels["color"] = _colour(plot.series)
    if plot.order:
        channels["order"] = alt.Order(f"{plot.order}:Q")
    if plot.beside:
        offset = alt.XOffset if isinstance(plot.x, Names) else alt.YOffset
        channels[offset.__name__[0].lower() + "Offset"] = offset(f"{plot.beside}:O")
    chart = alt.Chart(rows, description=plot.description, width=WIDTH, height=plot.height, **_titled(plot))
    return chart.encode(**channels)


def _half_up(fraction: str) -> pl.Expr:
    """A fraction as tooltips show it. Vega would round 0.145 % down, since it is a little less in binary."""
    tiny = 1e-9  # more than binary is off by, less than a fraction of two counts can be
    return ((10_000 * pl.col(fraction) + 0.5 + tiny).floor() / 10_000).alias(f"{fraction}_shown")


def _tooltip(plot: Plot, name: str) -> alt.Tooltip:
    dtype, title = plot.rows.schema[name], plot.tips[name]
    if name in plot.written or dtype.is_integer():
        return alt.Tooltip(f"{name}:Q", title=title, format=plot.written.get(name, WHOLE))
    if dtype.is_float():
        return alt.Tooltip(f"{name}_shown:Q", title=title, format=SHARE)
    return alt.Tooltip(f"{name}:N", title=title)


def _channel(plot: Plot, axis: Axis, channel: type[alt.X] | type[alt.Y]) -> Any:
    match axis:
        case TimeAxis():
            return _time_axis(axis, plot.rows)
        case Names(name, names) if channel is alt.Y:
            labels = alt.Axis(grid=False, labelLimit=300, **short_labels(names, BESIDE_BARS))
            return channel(f"{name}:N", title=None, sort=list(names), axis=labels)
        case Names(name, names):
            scale = alt.Scale(domain=list(names), paddingInner=0.2)
            labels = alt.Axis(labelAngle=0, labelOverlap=True)
            return channel(f"{name}:N", title=None, sort=list(names), scale=scale, axis=labels)
    return _number_axis(axis, channel)


def _number_axis(axis: Numbers, channel: type[alt.X] | type[alt.Y]) -> Any:
    lies = channel is alt.X and axis.most is None
    labels: dict[str, Any] = {"format": axis.written, "tickCount": 6, "grid": True} if lies else {"tickCount": 5}
    labels |= {"format": axis.written} | ({"tickMinStep": 1, "labelExpr": WHOLE_ONLY} if axis.is_count else {})
    options: dict[str, Any] = {} if axis.stacked is None else {"stack": "zero" if axis.stacked else None}
    options |= {} if axis.most is None else {"scale": alt.Scale(domainMax=axis.most, nice=False)}
    return channel(f"{axis.field}:Q", title=axis.title, axis=alt.Axis(**labels), **options)


def _time_axis(axis: TimeAxis, rows: pl.DataFrame) -> alt.X:
    """The axis of a clock, with its labels worked out: a browser knows its own zone and UTC, and would mix them up."""
    ends = [name for name in (axis.field, "ends_at") if name in rows.columns]
    first, last = rows.select(first=pl.col(axis.field).min(), last=pl.max_horizontal(pl.col(ends).max())).row(0)
    labels = time_labels(first, last, axis.zone, axis.lang, axis.least) if rows.height else []
    places, words = [at for at, _ in labels], [word for _, word in labels]
    expression = f"{json.dumps(words)}[indexof({places}, toNumber(datum.value))]"
    # As an expression, since numbers would become dates in a way that only one of Vega's two interpreters knows.
    marks = alt.Axis(values=alt.ExprRef(str(places)), labelExpr=expression, labelOverlap=True)
    scale = alt.Scale(type="utc", padding=axis.padding) if axis.padding else alt.Scale(type="utc")
    return alt.X(f"{axis.field}:T", title=None, scale=scale, axis=marks)


def _colour(series: Series) -> alt.Color:
    colours: dict[str, Any] = {} if series.colours is None else {"range": list(series.colours)}
    legend: dict[str, Any] = {}
    if series.legend is None or series.legend:
        legend = {"legend": None if series.legend is None else alt.Legend(**series.legend)}
    return alt.Color(f"{series.field}:N", scale=alt.Scale(domain=list(series.names), **colours), **legend)


def named_series(rows: pl.DataFrame, labels: Labels | None, lang: str) -> pl.DataFrame:
    """Add the words of each series, and its place, which is fixed so that its colour is."""
    names = series_names(labels, lang)
    places = {name: place for place, name in enumerate(names)}
    series = pl.col("series").cast(pl.String)
    return rows.with_columns(
        name=series.replace_strict(names, return_dtype=pl.String),
        place=series.replace_strict(places, return_dtype=pl.Int64),
    ).drop("series")


def series_names(labels: Labels | None, lang: str) -> dict[str, str]:
    """Return the words of opens, clicks and transactions, which have the same colours whatever is drawn."""
    return said(SERIES, lang) | dict(labels or {})


def series_colours(labels: Labels | None, lang: str) -> Series:
    """Return the colours of opens, clicks and transactions."""
    return Series("name", list(series_names(labels, lang).values()), legend={"symbolOpacity": 1})


def readable(rows: pl.DataFrame, column: str) -> pl.DataFrame:
    """Make log text fit to be shown: without unseen letters, shortened, and still one text for each one before."""
    texts = rows[column].cast(pl.String).unique().drop_nulls().sort()
    shown: dict[str, str] = {}
    for text in texts:
        words = name_shown(text)
        shown[text] = words if words not in shown.values() else f"{words} ({len(shown) + 1})"
    return rows.with_columns(pl.col(column).cast(pl.String).replace(shown))


def name_shown(text: str) -> str:
    """Return one name of a log as charts take it: fit to be shown, shortened, and none of Vega's own."""
    words = clipped(text, LONGEST_NAME)
    return f"{words} " if words in TAKEN else words


def _titled(plot: Plot) -> dict[str, Any]:
    return {} if plot.title is None else {"title": alt.Title(name_shown(plot.title), anchor="start")}


def short_labels(names: Sequence[str], widest: int) -> dict[str, Any]:
    """Return the labels of an axis or a legend, shortened where they are too wide: Vega would cut within an emoji."""
    short = {name: cut for name in names if (cut := _narrow(name, widest)) != name}
    return {"labelExpr": f"{json.dumps(short)}[datum.label] || datum.label"} if short else {}


def _narrow(name: str, widest: int) -> str:
    taken = 0.0
    for place, letter in enumerate(name):
        taken += _width(letter)
        if taken > widest:
            return clipped(name, place)
    return name


def _width(letter: str) -> float:
    if letter >= "\U0001f000":
        return 2.6
    return 2 if unicodedata.east_asian_width(letter) in "WF" else unicodedata.category(letter)[0] not in "MC"


def _bundle(spec: dict[str, Any], **_: Any) -> dict[str, Any]:
    return {MIME: spec, "text/plain": spec.get("description", "chart")}


@alt.theme.register("trackkit", enable=True)
def _theme() -> alt.theme.ThemeConfig:
    return alt.theme.ThemeConfig(config=chart_config(theme()))  # type: ignore[typeddict-item]


alt.renderers.register("trackkit", _bundle)
alt.renderers.enable("trackkit")
alt.data_transformers.enable("default", max_rows=MOST_ROWS)
