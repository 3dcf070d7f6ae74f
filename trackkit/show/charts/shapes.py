"""Shapes of charts that several subjects draw: panels, bars with their figures, one bar of a whole, dots on a line.

All of them are single views with one axis of each kind, so that they are drawn alike in JupyterLab and on a page of any
width: names stand above bars and panels, where the narrowest screen has room for them.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import altair as alt
import polars as pl

from trackkit.language import say, translatable
from trackkit.show.charts import canvas, clock
from trackkit.show.theme import theme
from trackkit.show.wording import number, percent, with_share

PALE = 0.45  # the opacity of a period that is not whole
PANEL, FILLED = 92, 0.7  # pixels of height, and the part of it that the highest column fills
ROW, BAR = 26, 14  # pixels from bar to bar, and of a bar
ROOM = 1.4  # the axis extends beyond the longest bar, for the figure beside it
ABOVE_NAMES = 20  # pixels from a plot to the words of its lines: on a phone the first name stands between them
LANE, DOTS = 26, [170, 70, 50, 40]  # pixels from name to name, and the areas of dots: each shows on the one before
BESIDE_DOTS = 26  # letters of a name beside dots
NOTE_HEIGHT = 15  # pixels of a line above a plot
MOST_LAUNCHES = 24  # lines in the width of a chart
NEAR = timedelta(hours=1)  # from the launch to the first event
SHAPES = ["circle", "diamond", "square", "triangle-up"]

translatable(("Launch", "Launches"))


@dataclass(frozen=True)
class Mark:
    """A line across a plot at a value of its axis, with words above it."""

    at: float
    words: str
    is_limit: bool = False


def panels(
    plot: canvas.Plot, heads: Mapping[str, str], common: bool, lang: str, launched: Sequence[datetime] = ()
) -> alt.LayerChart:
    """Draw columns of several series, each in a panel of its own below its head; nothing is stacked.

    The plot's axis `y` names the column of the figures and how they are written; its series are the panels, from the
    top down, with the words of `heads`. All panels have the same scale if `common`, else each its own. Lines mark the
    instants `launched`. Columns whose `is_whole` is false are paler.
    """
    assert isinstance(plot.y, canvas.Numbers) and plot.series
    names = [name for name in plot.series.names if name in set(plot.rows["name"])]
    rows = _in_panels(plot.rows, plot.y.field, names, common)
    tall = replace(plot, rows=rows, y=canvas.Numbers("top", is_count=False), height=PANEL * max(1, len(names)) + 12)
    series = replace(plot.series, legend=None)
    base = canvas.canvas(replace(tall, series=series))
    ends = {"x2": "ends_at"} if isinstance(plot.x, canvas.TimeAxis) else {}
    y = alt.Y("bottom:Q", title=plot.y.title, axis=_panel_axis(rows, names, plot.y, lang), scale=_panel_scale(names))
    drawn = base.mark_bar(orient="vertical", cornerRadiusEnd=0).encode(y=y, y2="top:Q", **ends)
    if "is_whole" in rows.columns:
        drawn = drawn.encode(opacity=alt.condition("datum.is_whole === false", alt.value(PALE), alt.value(1)))
    words = pl.DataFrame(
        {"at": [len(names) - place - 0.17 for place in range(len(names))], "head": [heads[name] for name in names]},
        schema={"at": pl.Float64, "head": pl.String},
    )
    lines = launches(launched, lang) if launched else []
    above = canvas.Picture(words).encode(x=alt.value(0), y="at:Q", text="head:N")
    heads_drawn = [above.mark_text(align="left", fontWeight=600, aria=False, **around) for around in (halo(), {})]
    chart: alt.LayerChart = canvas.layered(tall, drawn, beside=[*lines, *heads_drawn])
    return chart


def halo() -> dict[str, Any]:
    """What a text looks like behind itself, so that no line crosses it."""
    return {"stroke": theme().light.panel, "strokeWidth": 5}


def near(periods: pl.DataFrame, launched: Sequence[datetime]) -> list[datetime]:
    """Return the instants of launches that are near `periods` (`starts_at`), so that an axis can show both.

    None of them where they are too many to be told apart.
    """
    if periods.is_empty():
        return []
    first, last = periods.select(at=clock.instants(periods))["at"].sort()[[0, -1]]
    begin, end = first - max((last - first) / 10, NEAR), last + timedelta(days=1)
    found = [at for at in sorted(set(launched)) if begin <= at <= end]
    return found if len(found) <= MOST_LAUNCHES else []


def launches(at: Sequence[datetime], lang: str) -> list[alt.Chart]:
    """Return a line at each launch, the first one with their name above the panels."""
    words = say("Launch" if len(at) == 1 else "Launches", lang)
    rows = pl.DataFrame({"at": [round(each.timestamp() * 1_000) for each in at]})
    rule = canvas.Picture(rows).mark_rule(strokeDash=[2, 3], strokeWidth=1.5, aria=False).encode(x="at:T")
    first = canvas.Picture(rows.head(1).with_columns(said=pl.lit(words)))
    named = first.mark_text(align="left", dx=-2, aria=False).encode(x="at:T", y=alt.value(-8), text="said:N")
    return [rule, named]


def _in_panels(rows: pl.DataFrame, value: str, names: Sequence[str], common: bool) -> pl.DataFrame:
    """Add where each column begins and ends, in panels that are 1 high, the first one on top."""
    places = {name: float(len(names) - place - 1) for place, name in enumerate(names)}
    largest = pl.col(value).max() if common else pl.col(value).max().over("name")
    bottom = pl.col("name").replace_strict(list(places), list(places.values()), default=None, return_dtype=pl.Float64)
    return rows.with_columns(bottom=bottom, top=bottom + FILLED * pl.col(value).fill_null(0) / largest)


def _panel_axis(rows: pl.DataFrame, names: Sequence[str], axis: canvas.Numbers, lang: str) -> alt.Axis:
    """The marks of each panel: 0, and one or two round values up to the highest one drawn."""
    written = number if axis.is_count else percent
    marks: list[tuple[float, str]] = []
    for place, name in enumerate(names):
        bottom, of_panel = float(len(names) - place - 1), rows.filter(pl.col("name") == name).sort("top")
        top, highest = of_panel["top"][-1] - bottom, of_panel[axis.field][-1] or 0
        for value in [0, *(_round_values(highest, axis.is_count) if top > 0 else ())]:
            marks.append((round(bottom + top * value / (highest or 1), 4), written(value, 0, lang)))
    places, words = [at for at, _ in marks], [text for _, text in marks]
    expression = f"{words}[indexof({places}, datum.value)]".replace("'", '"')
    return alt.Axis(values=places, tickCount=len(places), labelExpr=expression, labelOverlap=False)


def _round_values(highest: float, is_count: bool) -> list[float]:
    """Two or three round values evenly apart, up to the highest one; of a count of 1, that.

    >>> _round_values(459, True), _round_values(7, True), _round_values(1, True), _round_values(0.35, False)
    ([200, 400], [3.0, 6.0], [1], [0.1, 0.2, 0.3])
    """
    power = math.floor(math.log10(highest)) - 1
    steps = [digit * 10**power for digit in (50, 40, 30, 25, 20, 10, 5) if digit * 10**power <= highest / 2]
    step = next((each for each in steps if not is_count or (each >= 1 and each == int(each))), 1)
    return [round(nth * step, 6) for nth in range(1, int(highest / step) + 1)]


def _panel_scale(names: Sequence[str]) -> alt.Scale:
    return alt.Scale(domain=[0, max(1, len(names))], nice=False)


def labelled_bars(
    plot: canvas.Plot, figures: pl.DataFrame, marks: Sequence[Mark] = (), **options: Any
) -> alt.LayerChart:
    """Draw horizontal bars, each with its figure at its end; `marks` are lines across them.

    `figures` has a row for each name of the axis `y`: `name`, `end` (of the bar, on the axis) and `said`.
    """
    assert isinstance(plot.x, canvas.Numbers) and isinstance(plot.y, canvas.Names)
    longest = max([*figures["end"].drop_nulls(), *(mark.at for mark in marks)], default=0) or 1
    sized = replace(plot, x=replace(plot.x, most=ROOM * longest, title=None), y=replace(plot.y, size=ROW))
    bars = canvas.bars(sized, BAR, **options)
    bars.encoding.x.axis = None
    by_name = canvas.Picture(figures.rename({"name": plot.y.field})).encode(x="end:Q", y=bars.encoding.y, text="said:N")
    around_words: tuple[dict[str, Any], ...] = (halo(), {}) if marks else ({},)
    beside = [by_name.mark_text(align="left", dx=6, aria=False, **around) for around in around_words]
    chart: alt.LayerChart = canvas.layered(
        sized, bars, beside=[*lines_at(marks, ABOVE_NAMES), *beside] if len(figures) else []
    )
    return chart


def parts_bar(parts: pl.DataFrame, description: str, lang: str) -> alt.Chart:
    """Draw parts of a whole as one bar from 0 to 100 %, in order, each with a line of the legend that says its figures.

    In: a row for each part: `place`, `indicator` (its name), `count`, `whole`, `share`. The part at place 2 is grey.
    """
    said = [
        f"{name}: {with_share(count, share, of, lang)}"
        for name, count, share, of in parts.select("indicator", "count", "share", "whole").rows()
    ]
    rows = parts.with_columns(part=pl.Series(said, dtype=pl.String), whole_bar=pl.lit(""))
    series = theme().light.series
    colours = [series[0], series[1], series[-1], *series[2:-1]]
    plot = canvas.Plot(
        rows,
        description,
        x=canvas.Numbers("share", None, canvas.PERCENT, is_count=False),
        y=canvas.Names("whole_bar", [""]),
        tips=canvas.tips(lang, indicator="Indicator", share="Share", count="Numerator", whole="Denominator"),
        series=canvas.Series("part", said, [colours[place] for place in parts["place"]] or [colours[0]]),
    )
    return _whole_bar(plot)


def _whole_bar(plot: canvas.Plot) -> alt.Chart:
    assert plot.series
    series = replace(plot.series, legend={"orient": "bottom", "columns": 1, "labelLimit": 320, "symbolOpacity": 1})
    one = replace(plot, series=series, order="place", height=34)
    bar = canvas.canvas(one).mark_bar(cornerRadiusEnd=0, size=28)
    scale = alt.Scale(domain=[0, 1], nice=False)
    axis = alt.Axis(format=canvas.PERCENT, values=[0, 0.25, 0.5, 0.75, 1], grid=False)
    assert isinstance(plot.x, canvas.Numbers)
    x = alt.X(f"{plot.x.field}:Q", title=None, stack="zero", scale=scale, axis=axis)
    drawn: alt.Chart = bar.encode(x=x, y=alt.Y("whole_bar:N", title=None, axis=None))
    return drawn


def dot_plot(plot: canvas.Plot, marks: Sequence[Mark] = (), labels: Mapping[str, str] | None = None) -> alt.LayerChart:
    """Draw a dot for each row, and a line from the lowest to the highest dot of each name; `marks` cross them all.

    The plot's axis `x` is of figures, `y` of names, for which the axis says `labels`, if given. Rows have a column
    `over`, words beside a dot, or null.
    """
    assert isinstance(plot.x, canvas.Numbers) and isinstance(plot.y, canvas.Names) and plot.series
    legend = {
        **(plot.series.legend or {}),
        "offset": NOTE_HEIGHT * (1 + max(_rows_of(marks), default=-1)) + ABOVE_NAMES,
    }
    sized = replace(plot, height=LANE * max(2, len(plot.y.names)), series=replace(plot.series, legend=legend))
    base = canvas.canvas(sized)
    short = canvas.relabelled(labels) if labels else canvas.short_labels(plot.y.names, BESIDE_DOTS)
    axis = alt.Axis(grid=False, domain=False, **short)
    y = alt.Y(f"{plot.y.field}:N", title=None, sort=list(plot.y.names), axis=axis)
    x = plot.x.field
    shapes = alt.Shape(f"{plot.series.field}:N", scale=alt.Scale(domain=list(plot.series.names), range=SHAPES))
    area = alt.Scale(domain=list(plot.series.names), range=DOTS[: len(plot.series.names)])
    size = {"size": alt.Size(f"{plot.series.field}:N", scale=area, legend=None)} if len(plot.series.names) > 1 else {}
    dots = base.mark_point(filled=True, opacity=1, size=DOTS[1]).encode(y=y, shape=shapes, **size)
    dots.encoding.x.scale = alt.Scale(domainMin=0)
    span = canvas.Picture(base.data).mark_rule(strokeWidth=3, color=theme().light.soft, aria=False)
    span = span.transform_aggregate(low=f"min({x})", high=f"max({x})", groupby=[plot.y.field])
    span = span.encode(x="low:Q", x2="high:Q", y=y)
    words = canvas.Picture(base.data).transform_filter(alt.datum.over != None)  # noqa: E711
    words = words.mark_text(align="left", dx=9, fontWeight=600, color=theme().light.warn, aria=False)
    words = words.encode(x=f"{x}:Q", y=y, text="over:N")
    chart: alt.LayerChart = canvas.layered(sized, span, dots, words, beside=lines_at(marks, ABOVE_NAMES))
    return chart


def lines_at(marks: Sequence[Mark], above: int = 8) -> list[alt.Chart]:
    """Lines across a plot of numbers, each with its words so many pixels above the plot."""
    if not marks:
        return []
    colours, rows = theme().light, _rows_of(marks)
    drawn = []
    for place, mark in zip(rows, marks, strict=True):
        colour = colours.warn if mark.is_limit else colours.muted
        row = canvas.Picture(pl.DataFrame({"at": [mark.at], "said": [mark.words]}))
        rule = row.mark_rule(strokeDash=[4, 3], strokeWidth=1.5, color=colour, aria=False).encode(x="at:Q")
        words = row.mark_text(color=colour, aria=False)
        drawn += [rule, words.encode(x="at:Q", y=alt.value(-above - NOTE_HEIGHT * place), text="said:N")]
    return drawn


def _rows_of(marks: Sequence[Mark]) -> list[int]:
    """The rows of the marks' words above a plot: the first one, or the second next to one that is near."""
    most = max((mark.at for mark in marks), default=0)
    rows: list[int] = []
    for nth, mark in enumerate(marks):
        near = [row for row, other in zip(rows, marks[:nth], strict=True) if abs(other.at - mark.at) < most / 5]
        rows.append(1 + max(near, default=-1))
    return rows
