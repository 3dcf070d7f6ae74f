"""The basis of every chart: a `Plot` declares what is drawn, and one of four marks draws it.

The marks: `bars` are horizontal, one for each name; `columns` are vertical, one for each period; `lines` and `dots` go
along an axis. A plot is independent of altair; `canvas` turns it into an altair chart.

Charts bring our theme (`reports_templates/html/theme.toml`), their limit of rows and their own way of being shown, in
JupyterLab and in reports alike: altair's own renderers need a network, or emit a type that notebooks refuse. Charts
that others make with altair are theirs, unless they call `use_everywhere`.
"""

import dataclasses
import json
import threading
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import altair as alt
import polars as pl

from trackkit.errors import RequestError
from trackkit.language import said
from trackkit.show.charts import behind
from trackkit.show.charts.clock import MINUTES, band_labels, time_labels
from trackkit.show.data import MIME as DATA
from trackkit.show.naming import SERIES
from trackkit.show.theme import chart_config, theme
from trackkit.show.wording import clipped, decimals_of

Labels = Mapping[str, str]
MIME = "application/vnd.vegalite.v5+json"
# Pixels, in JupyterLab; a report's page fits charts to its width. Not "container": JupyterLab would redraw for ever.
WIDTH, HEIGHT = 620, 260
LONGEST_NAME = 80
# The widths of names beside bars and in legends, in letters; tooltips and tables show more.
BESIDE_LINES = "room"  # in a chart's `usermeta`: pixels of words at the right, outside its axes
BESIDE_BARS, IN_LEGENDS = 42, 44
# Properties of every JavaScript object: Vega looks names up in plain objects, and would find these.
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
WHOLE, SHARE, PERCENT = ",.0f", ".2%", "%"  # formats of counts, of fractions, and of fractions on an axis
WHOLE_ONLY = "datum.value % 1 ? '' : datum.label"  # if counts only go up to 1, tickMinStep still lets 0.5 through
SHORT, PLAIN_ZERO = "~s", "datum.value ? datum.label : '0'"  # "20k", but not "0k"
MOST_ROWS = 20_000  # that a chart draws


@alt.theme.register("trackkit", enable=False)
def _theme() -> alt.theme.ThemeConfig:
    return alt.theme.ThemeConfig(config=chart_config(theme()))  # type: ignore[typeddict-item]


_ONE_AT_A_TIME = threading.RLock()  # altair's settings are those of the process: ours hold while a chart is written


class Ours(alt.TopLevelMixin):
    """A chart with our theme and limit of rows, whatever altair is set to, and as reports and notebooks take it."""

    def to_dict(self, *args: Any, context: dict[str, Any] | None = None, **options: Any) -> dict[str, Any]:
        """Return the Vega-Lite spec; arguments are those of altair."""
        if not (context or {}).get("top_level", True):
            return super().to_dict(*args, context=context, **options)
        with _ONE_AT_A_TIME, alt.theme.enable("trackkit"), alt.data_transformers.enable("default", max_rows=MOST_ROWS):
            return super().to_dict(*args, context=context, **options)

    def _repr_mimebundle_(self, *_: Any, **__: Any) -> dict[str, Any]:
        return bundle(self.to_dict())


class Picture(Ours, alt.Chart):
    """A chart of one mark."""

    def __add__(self, other: Any) -> "Layers":
        return Layers(layer=[self, other])


class Layers(Ours, alt.LayerChart):
    """Charts one over the other."""


def bundle(spec: dict[str, Any]) -> dict[str, Any]:
    """Return a chart for JupyterLab, its figures for pages, and its sentence."""
    return {MIME: spec, DATA: behind.table(spec), "text/plain": spec.get("description", "chart")}


alt.renderers.register("trackkit", lambda spec, **_: bundle(spec))


def use_everywhere() -> None:
    """Give the charts that you make with altair yourself our theme, renderer and limit of rows, in this process.

    Without it nothing of altair is changed. Processes of our own that render reports call it.

    >>> use_everywhere()
    >>> alt.theme.active, alt.renderers.active
    ('trackkit', 'trackkit')
    >>> _ = alt.theme.enable("default"), alt.renderers.enable("default"), alt.data_transformers.enable("default")
    """
    alt.theme.enable("trackkit")
    alt.renderers.enable("trackkit")
    alt.data_transformers.enable("default", max_rows=MOST_ROWS)


@dataclass(frozen=True)
class Numbers:
    """An axis of figures: of counts, unless `is_count` says otherwise.

    `stacked`: marks at the same place are stacked (True), overlaid (False), or as the mark does by default (None). The
    axis ends at `most`, if given, and then has no grid: figures are written beside the bars.
    """

    field: str
    title: str | None = None
    written: str = WHOLE
    is_count: bool = True
    stacked: bool | None = None
    most: float | None = None


@dataclass(frozen=True)
class TimeAxis:
    """An axis of instants (`clock.axis_instant`) by the clock of `zone`; its labels are at least `least` apart.

    With `step`, the length of the periods that columns stand for, labels name periods, and always the first one.
    """

    field: str = "starts_at"
    zone: str = "UTC"
    lang: str = "en"
    least: str = MINUTES
    padding: int = 0
    step: str = ""


@dataclass(frozen=True)
class Names:
    """An axis of names in this order; horizontal bars are `size` pixels apart."""

    field: str
    names: Sequence[str]
    size: int = 0


@dataclass(frozen=True)
class Series:
    """The series told apart by colours (by default the theme's); `legend` has options, or None for no legend."""

    field: str
    names: Sequence[str]
    colours: Sequence[str] | None = None
    legend: Mapping[str, Any] | None = dataclasses.field(default_factory=dict)


Axis = Numbers | TimeAxis | Names


@dataclass(frozen=True)
class Plot:
    """A declared chart: its rows, a description (for screen readers), its axes, series and tooltips.

    `tips` are the lines of a tooltip: columns with their titles. Whole numbers are shown as counts and fractions as
    percentages, unless `written` has another format for the column; a fraction that two counts follow is shown over
    them, as in "42.7% (61 of 143)". Marks are stacked in the order of the column
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
    """Draw horizontal bars, one for each name of the axis `y`."""
    assert isinstance(plot.y, Names)
    options |= {"size": size} if size else {}
    sized = replace(plot, height=plot.y.size * max(2, len(plot.y.names)))
    chart: alt.Chart = canvas(sized).mark_bar(**options)
    return chart


def columns(plot: Plot) -> alt.Chart:
    """Draw vertical columns: one for each name of the axis `x`, or by the clock, from `starts_at` to `ends_at`.

    Columns by the clock are stacked in the order of `place`.
    """
    if plot.rows.height > MOST_ROWS:
        raise RequestError(f"A chart of {plot.rows.height:,} columns cannot be read: take longer periods.")
    if isinstance(plot.x, Names):
        by_name: alt.Chart = canvas(plot).mark_bar(cornerRadiusEnd=0)
        return by_name
    stacked = canvas(replace(plot, order="place"))
    by_the_clock: alt.Chart = stacked.mark_bar(orient="vertical", cornerRadiusEnd=0).encode(x2="ends_at")
    return by_the_clock


def lines(plot: Plot, area: float | None = None, **options: Any) -> alt.Chart:
    """Draw lines, whose points carry their values unseen, or, with `area`, the areas below them with that opacity."""
    base = canvas(plot)
    points = alt.OverlayMarkDef(opacity=0, size=60)
    chart: alt.Chart = (
        base.mark_line(**({"point": points} | options)) if area is None else base.mark_area(aria=False, opacity=area)
    )
    return chart


def dots(plot: Plot, sized_by: str, scale: alt.Scale, **options: Any) -> alt.Chart:
    """Draw dots, sized by the column `sized_by` on a scale."""
    size = alt.Size(f"{sized_by}:Q", scale=scale, legend=None)
    chart: alt.Chart = canvas(plot).mark_circle(**options).encode(size=size)
    return chart


def tiles(plot: Plot, **options: Any) -> alt.Chart:
    """Draw a tile for each name of the axis `x` and each of the axis `y`."""
    chart: alt.Chart = canvas(plot).mark_rect(**options)
    return chart


def layered(plot: Plot, *charts: alt.Chart, beside: Sequence[alt.Chart] = ()) -> alt.LayerChart:
    """Layer charts of one plot, and those in `beside`, which have rows of their own."""
    for chart in charts:
        chart.data = charts[0].data  # the same object, so that the page holds the rows once
        chart.title = alt.Undefined
    return Layers(layer=[*charts, *beside], description=plot.description, **_titled(plot))


def with_ends(
    plot: Plot, ends: pl.DataFrame, names: Sequence[str], colours: Sequence[str], **options: Any
) -> alt.LayerChart:
    """Draw lines with the name of each at its end, after a dot in its colour, in place of a legend.

    In: the frame of `labels.ends` of the plot's rows.
    """
    assert isinstance(plot.x, TimeAxis)
    chart = layered(plot, lines(plot, **options), beside=at_ends(ends, f"{plot.x.field}:T", names, colours))
    return with_room(chart, ends)


def at_ends(ends: pl.DataFrame, x: str, names: Sequence[str], colours: Sequence[str]) -> list[alt.Chart]:
    """Return the names of lines at their ends, each after a dot in its colour. In: the frame of `labels.ends`."""
    if ends.is_empty():
        return []
    base = Picture(ends).encode(x=x, y="label_y:Q")
    colour = alt.Color("name:N", scale=alt.Scale(domain=list(names), range=list(colours)), legend=None)
    mark: dict[str, Any] = {"align": "left", "baseline": "middle", "aria": False}
    spots = base.mark_text(dx=5, fontSize=13, text="●", **mark).encode(color=colour)
    words = base.mark_text(dx=17, **mark).encode(text="label:N")
    return [spots, words]


def with_room(chart: alt.LayerChart, ends: pl.DataFrame) -> alt.LayerChart:
    """Leave room beside a chart for the names of `at_ends`."""
    longest = max((len(label) for label in ends["label"]), default=0)
    room: alt.LayerChart = chart.properties(usermeta={BESIDE_LINES: 24 + 7 * longest})
    return room


def tips(lang: str, /, **titles: str) -> dict[str, str]:
    """Translate the English titles of columns in tooltips."""
    return said(titles, lang)


def canvas(plot: Plot) -> alt.Chart:
    """Turn a plot into an altair chart without a mark."""
    floats = [name for name, dtype in plot.rows.schema.items() if dtype == pl.Float64]
    shares = [name for name in floats if name in plot.tips and name not in plot.written]
    rows = plot.rows.with_columns(*(_half_up(name) for name in floats), *(_decimals(plot, name) for name in shares))
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
    chart = Picture(rows, description=plot.description, width=WIDTH, height=plot.height, **_titled(plot))
    return chart.encode(**channels)


def _half_up(fraction: str) -> pl.Expr:
    """A fraction, rounded for tooltips: Vega would round 0.145 % down, since its binary value is a little less."""
    epsilon = 1e-9  # more than the binary error, less than any difference between two shares
    return ((10_000 * pl.col(fraction) + 0.5 + epsilon).floor() / 10_000).alias(f"{fraction}_shown")


def _decimals(plot: Plot, name: str) -> pl.Series:
    """The decimals of a share in words, by its denominator, if its two parts follow it in the tooltip."""
    shown = [*plot.tips, "", ""]
    part, whole = shown[shown.index(name) + 1 :][:2]
    has_parts = all(plot.rows.schema[each].is_integer() for each in (part, whole) if each) and bool(whole)
    of = plot.rows[whole] if has_parts else [None] * plot.rows.height
    decimals = [decimals_of(share or 0, count) for share, count in zip(plot.rows[name], of, strict=True)]
    return pl.Series(name + behind.DECIMALS, decimals, dtype=pl.Int64)


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
            labels = alt.Axis(grid=False, **short_labels(names, BESIDE_BARS))
            return channel(f"{name}:N", title=None, sort=list(names), axis=labels)
        case Names(name, names):
            scale = alt.Scale(domain=list(names), paddingInner=0.2)
            labels = alt.Axis(labelAngle=0, labelOverlap=True, labelSeparation=8)
            return channel(f"{name}:N", title=None, sort=list(names), scale=scale, axis=labels)
    return _number_axis(axis, channel)


def _number_axis(axis: Numbers, channel: type[alt.X] | type[alt.Y]) -> Any:
    has_grid = channel is alt.X and axis.most is None
    labels: dict[str, Any] = {"format": axis.written, "tickCount": 6, "grid": True} if has_grid else {"tickCount": 5}
    labels |= {"format": axis.written} | ({"tickMinStep": 1, "labelExpr": WHOLE_ONLY} if axis.is_count else {})
    labels |= {"labelExpr": PLAIN_ZERO} if axis.written == SHORT else {}
    options: dict[str, Any] = {} if axis.stacked is None else {"stack": "zero" if axis.stacked else None}
    options |= {} if axis.most is None else {"scale": alt.Scale(domainMax=axis.most, nice=False)}
    return channel(f"{axis.field}:Q", title=axis.title, axis=alt.Axis(**labels), **options)


def _time_axis(axis: TimeAxis, rows: pl.DataFrame) -> alt.X:
    """A time axis with computed labels: a browser only knows its own zone and UTC."""
    ends = [name for name in (axis.field, "ends_at") if name in rows.columns]
    first, last = rows.select(first=pl.col(axis.field).min(), last=pl.max_horizontal(pl.col(ends).max())).row(0)
    labels: list[tuple[int, str]] = []
    if rows.height and axis.step:
        labels = band_labels(first, rows[axis.field].max(), axis.step, axis.zone, axis.lang)  # type: ignore[arg-type]
    elif rows.height:
        labels = time_labels(first, last, axis.zone, axis.lang, axis.least)
    places, words = [at for at, _ in labels], [word for _, word in labels]
    expression = f"{json.dumps(words)}[indexof({places}, toNumber(datum.value))]"
    # An expression, since one of Vega's two interpreters does not convert numbers to dates.
    overlap: Any = "greedy" if axis.step else True
    marks = alt.Axis(
        values=alt.ExprRef(str(places)),
        labelExpr=expression,
        labelOverlap=overlap,
        labelSeparation=8 if axis.step else 0,
        labelFlush=False,  # a first label that is moved aside would stand upon the next
    )
    scale = alt.Scale(type="utc", padding=axis.padding) if axis.padding else alt.Scale(type="utc")
    return alt.X(f"{axis.field}:T", title=None, scale=scale, axis=marks)


def _colour(series: Series) -> alt.Color:
    colours: dict[str, Any] = {} if series.colours is None else {"range": list(series.colours)}
    legend: dict[str, Any] = {}
    if series.legend is None or series.legend:
        legend = {"legend": None if series.legend is None else alt.Legend(**series.legend)}
    return alt.Color(f"{series.field}:N", scale=alt.Scale(domain=list(series.names), **colours), **legend)


def named_series(rows: pl.DataFrame, labels: Labels | None, lang: str) -> pl.DataFrame:
    """Add the name of each series, and its place, which is fixed so that its colour is too."""
    names = series_names(labels, lang)
    places = {name: place for place, name in enumerate(names)}
    series = pl.col("series").cast(pl.String)
    return rows.with_columns(
        name=series.replace_strict(names, return_dtype=pl.String),
        place=series.replace_strict(places, return_dtype=pl.Int64),
    ).drop("series")


def series_names(labels: Labels | None, lang: str) -> dict[str, str]:
    """Return the names of opens, clicks and transactions, which have the same colours in every chart."""
    return said(SERIES, lang) | dict(labels or {})


def series_colours(labels: Labels | None, lang: str) -> Series:
    """Return the colours of opens, clicks and transactions."""
    return Series("name", list(series_names(labels, lang).values()), legend={"symbolOpacity": 1})


def readable(rows: pl.DataFrame, column: str) -> pl.DataFrame:
    """Make log text presentable: without invisible letters, shortened, and still distinct."""
    texts = rows[column].cast(pl.String).unique().drop_nulls().sort()
    shown: dict[str, str] = {}
    for text in texts:
        words = name_shown(text)
        shown[text] = words if words not in shown.values() else f"{words} ({len(shown) + 1})"
    return rows.with_columns(pl.col(column).cast(pl.String).replace(shown))


def name_shown(text: str) -> str:
    """Return a name of a log for charts: presentable, shortened, and not one of JavaScript's own."""
    words = clipped(text, LONGEST_NAME)
    return f"{words} " if words in TAKEN else words


def _titled(plot: Plot) -> dict[str, Any]:
    return {} if plot.title is None else {"title": alt.Title(name_shown(plot.title), anchor="start")}


def short_labels(names: Sequence[str], widest: int) -> dict[str, Any]:
    """Return options that shorten labels that are too wide: Vega itself would cut inside an emoji."""
    return relabelled({name: narrow for name in names if (narrow := cut(name, widest)) != name})


def relabelled(words: Labels) -> dict[str, Any]:
    """Return options that show words in place of names."""
    return {"labelExpr": f"{json.dumps(words)}[datum.label] || datum.label"} if words else {}


def cut(name: str, widest: int) -> str:
    """Return a name cut to a width in letters, wide ones counted as two; not inside an emoji."""
    width = 0.0
    for position, letter in enumerate(name):
        width += _width(letter)
        if width > widest:
            return clipped(name, position)
    return name


def _width(letter: str) -> float:
    if letter >= "\U0001f000":
        return 2.6
    return 2 if unicodedata.east_asian_width(letter) in "WF" else unicodedata.category(letter)[0] not in "MC"
