"""Charts of any frame of `measure`: tiles of two breakdowns, lines along an axis, dots of two metrics, intervals.

They draw the columns that they are told, in our style; `.properties(...)` and `.encode(...)` of altair restyle them.
"""

from collections.abc import Sequence
from typing import Any

import altair as alt
import polars as pl
import polars.selectors as cs

from trackkit.errors import RequestError, did_you_mean
from trackkit.language import say
from trackkit.metrics import METRICS, bounds_of
from trackkit.show.cells import UNKNOWN, headline, label_of
from trackkit.show.charts.canvas import HEIGHT, MOST_ROWS, PERCENT, SHARE, WHOLE, WIDTH, Layers, Picture, readable
from trackkit.show.theme import theme

AMOUNT = ",.2f"
TILE = 26  # pixels of height


def bars(measured: pl.DataFrame, by: str, metric: str, lang: str = "en") -> alt.Chart:
    """Draw a metric by one breakdown: a bar for each group, in the order of the frame; an unknown value has none.

    In: a frame of `measure` with these columns. Raises RequestError for a column that is not there.

    >>> rows = pl.DataFrame({"domain": ["a", "b"], "delivered": [40, 20]})
    >>> bars(rows, "domain", "delivered").to_dict()["mark"]["type"]
    'bar'
    """
    rows = _rows(measured, (by, metric), (by,), lang)
    chart = _chart(rows, say("{rates}, by {group}.", lang, rates=label_of(metric, lang), group=headline(by, lang)))
    drawn: alt.Chart = chart.mark_bar(color=theme().light.accent).encode(
        x=alt.X(f"{metric}:Q", title=label_of(metric, lang), axis=alt.Axis(format=_axis(metric), tickCount=5)),
        y=alt.Y(f"{by}:N", title=headline(by, lang), sort=None),
        tooltip=_tips(rows, (by,), (metric,), lang),
    )
    return drawn.properties(height=alt.Step(TILE))


def heatmap(measured: pl.DataFrame, x: str, y: str, metric: str, lang: str = "en") -> alt.Chart:
    """Draw a metric by two breakdowns: a tile for each pair, the darker the higher; an unknown value has none.

    In: a frame of `measure` with the columns `x`, `y` and `metric`, in the order to be drawn. Raises RequestError for a
    column that is not there.

    >>> rows = pl.DataFrame({"domain": ["a", "b"], "country": ["FR", "BR"], "open_rate": [0.5, 0.25]})
    >>> heatmap(rows, "country", "domain", "open_rate").to_dict()["encoding"]["color"]["field"]
    'open_rate'
    """
    rows = _rows(measured, (x, y, metric), (x, y), lang)
    light = theme().light
    shade = alt.Scale(range=[light.soft, light.accent])
    colour = alt.Color(
        f"{metric}:Q", title=label_of(metric, lang), scale=shade, legend=alt.Legend(format=_axis(metric))
    )
    chart = _chart(rows, say("{rates}, by {group}.", lang, rates=label_of(metric, lang), group=_and(x, y, lang)))
    drawn: alt.Chart = chart.mark_rect().encode(
        x=alt.X(f"{x}:N", title=headline(x, lang), sort=None, axis=alt.Axis(labelAngle=0, labelOverlap=True)),
        y=alt.Y(f"{y}:N", title=headline(y, lang), sort=None),
        color=colour,
        tooltip=_tips(rows, (x, y), (metric,), lang),
    )
    return drawn.properties(height=TILE * max(3, rows[y].n_unique()))


def lines(measured: pl.DataFrame, x: str, metric: str, series: str = "", lang: str = "en") -> alt.Chart:
    """Draw a metric along a breakdown such as `day` or `hour`, a line for each value of `series`, if given.

    In: a frame of `measure` with these columns. Instants are those of the clock that they were measured
    in; a line breaks where its value is null, not where a row is missing. Raises RequestError for a
    column that is not there, and for more series than there are colours.

    >>> from datetime import date
    >>> rows = pl.DataFrame({"day": [date(2026, 5, 1), date(2026, 5, 2)], "total_clicks": [3, 1]})
    >>> lines(rows, "day", "total_clicks").to_dict()["encoding"]["x"]["type"]
    'temporal'
    """
    names = [series] if series else []
    rows = _rows(measured, (x, metric, *names), [name for name in (x, *names) if not _is_ordered(measured, name)], lang)
    kind = "T" if rows.schema[x].is_temporal() else "Q" if rows.schema[x].is_numeric() else "N"
    if series and rows[series].n_unique() > len(theme().light.series):
        raise RequestError(
            f"{rows[series].n_unique()} lines cannot be told apart by {len(theme().light.series)} colours: "
            f"keep the {series} values that matter."
        )
    along = alt.X(f"{x}:{kind}", title=headline(x, lang))
    legend = alt.Legend(columns=5)
    colour: dict[str, Any] = (
        {"color": alt.Color(f"{series}:N", title=headline(series, lang), legend=legend)} if series else {}
    )
    chart = _chart(rows, say("{rates}, by {group}.", lang, rates=label_of(metric, lang), group=_and(x, series, lang)))
    drawn: alt.Chart = chart.mark_line(point=True).encode(
        x=along if kind != "N" else along.sort(None),
        y=alt.Y(f"{metric}:Q", title=label_of(metric, lang), axis=alt.Axis(format=_axis(metric))),
        tooltip=_tips(rows, (x, *names), (metric,), lang),
        **colour,
    )
    return drawn


def dots(measured: pl.DataFrame, x: str, y: str, by: str, size: str = "", lang: str = "en") -> alt.Chart:
    """Draw a dot for each group, at its values of two metrics; its area is the count `size`, if given.

    In: a frame of `measure` with the column `by` and the metrics. A group of which one is unknown has no dot. Raises
    RequestError for a column that is not there.

    >>> rows = pl.DataFrame({"domain": ["a"], "open_rate": [0.5], "click_rate": [0.1], "delivered": [40]})
    >>> dots(rows, "open_rate", "click_rate", by="domain", size="delivered").to_dict()["encoding"]["size"]["field"]
    'delivered'
    """
    sizes = [size] if size else []
    rows = _rows(measured, (x, y, by, *sizes), (by,), lang).drop_nulls([x, y])
    legend, near = alt.Legend(symbolType="circle", titleLimit=WIDTH), alt.Scale(zero=False)
    area: dict[str, Any] = {"size": alt.Size(f"{size}:Q", title=label_of(size, lang), legend=legend)} if size else {}
    chart = _chart(rows, say("{rates}, by {group}.", lang, rates=_and(x, y, lang), group=headline(by, lang)))
    drawn: alt.Chart = chart.mark_circle(opacity=0.8, size=90).encode(
        x=alt.X(f"{x}:Q", title=label_of(x, lang), axis=alt.Axis(format=_axis(x), tickCount=6), scale=near),
        y=alt.Y(f"{y}:Q", title=label_of(y, lang), axis=alt.Axis(format=_axis(y), tickCount=5), scale=near),
        tooltip=_tips(rows, (by,), (x, y, *sizes), lang),
        **area,
    )
    return drawn


def intervals(measured: pl.DataFrame, by: str, rate: str, lang: str = "en") -> alt.LayerChart:
    """Draw the rate of each group as a dot, on a line from the lower to the upper bound of its interval.

    In: a frame of `measure(..., interval=0.95)` with the column `by`, the rate and its bounds, in the order to be
    drawn; or one of `compare`, `by` "metric" and the rate "difference": a line marks where nothing differs. A group
    without an interval has no line. Raises RequestError for a column that is not there.

    >>> rows = pl.DataFrame({"domain": ["a"], "open_rate": [0.5], "open_rate_low": [0.4], "open_rate_high": [0.6]})
    >>> [layer["mark"]["type"] for layer in intervals(rows, "domain", "open_rate").to_dict()["layer"]]
    ['rule', 'circle']
    """
    low, high = bounds_of(rate) if rate in METRICS else ("low", "high")
    rows = _rows(measured, (by, rate, low, high), (by,), lang).drop_nulls(rate)
    if by == "metric":
        rows = rows.with_columns(pl.col(by).replace({name: label_of(name, lang) for name in METRICS}))
    title = label_of(rate, lang) if rate in METRICS else headline(rate, lang)
    colour, line = theme().light.accent, theme().light.muted
    y = alt.Y(f"{by}:N", title=None if by == "metric" else headline(by, lang), sort=None)
    tips = [_tip(rows, by, headline(by, lang)), alt.Tooltip(f"{rate}:Q", title=title, format=SHARE)]
    tips += [
        alt.Tooltip(f"{name}:Q", title=words, format=SHARE)
        for name, words in ((low, say("From", lang)), (high, say("To", lang)))
    ]
    tips += [_tip(rows, part, label_of(part, lang)) for part in _parts(rate) if part in rows.columns]
    base = alt.Chart(rows).encode(y=y, tooltip=tips)
    axis = alt.X(f"{low}:Q", title=title, axis=alt.Axis(format=PERCENT, tickCount=6), scale=alt.Scale(zero=False))
    spans = base.mark_rule(color=colour, strokeWidth=2, opacity=0.6).encode(x=axis, x2=f"{high}:Q")
    dots = base.mark_circle(color=colour, size=90, opacity=1).encode(x=f"{rate}:Q")
    none = [] if rate in METRICS else [alt.Chart(rows).mark_rule(color=line, strokeDash=[4, 4]).encode(x=alt.datum(0))]
    return Layers(
        layer=[*none, spans, dots],
        description=say("{rates}, by {group}.", lang, rates=title, group=headline(by, lang)),
        width=WIDTH,
        height=TILE * max(3, rows.height),
    )


def _rows(measured: pl.DataFrame, columns: Sequence[str], names: Sequence[str], lang: str) -> pl.DataFrame:
    """The columns to be drawn, names of groups made presentable, and the parts of rates for tooltips."""
    for column in columns:
        if column not in measured.columns:
            raise RequestError(f"The frame has no column {column!r}.{did_you_mean(column, measured.columns)}")
    if measured.height > MOST_ROWS:
        raise RequestError(f"A chart of {measured.height:,} marks cannot be read: measure fewer groups.")
    parts = [part for name in columns if name in METRICS for part in METRICS[name].parents if part in measured.columns]
    rows = measured.select(*dict.fromkeys([*columns, *parts]))
    rows = rows.with_columns(cs.datetime(time_zone="*").dt.replace_time_zone(None))  # a browser only knows its own zone
    for name in names:
        rows = readable(rows, name).with_columns(pl.col(name).fill_null(say(UNKNOWN, lang) + " "))
    return rows


def _is_ordered(measured: pl.DataFrame, name: str) -> bool:
    return name in measured.columns and (measured.schema[name].is_temporal() or measured.schema[name].is_numeric())


def _chart(rows: pl.DataFrame, description: str) -> Picture:
    return Picture(rows, description=description, width=WIDTH, height=HEIGHT)


def _and(first: str, second: str, lang: str) -> str:
    return ", ".join(
        headline(name, lang) if name not in METRICS else label_of(name, lang) for name in (first, second) if name
    )


def _axis(metric: str) -> str:
    return PERCENT if metric in METRICS and METRICS[metric].is_rate else "~s"


def _tips(rows: pl.DataFrame, groups: Sequence[str], metrics: Sequence[str], lang: str) -> list[alt.Tooltip]:
    """The groups, then each metric, a rate with its parts."""
    listed = [name for metric in metrics for name in (metric, *_parts(metric)) if name in rows.columns]
    tips = [_tip(rows, name, headline(name, lang)) for name in groups]
    return [*tips, *(_tip(rows, name, label_of(name, lang)) for name in dict.fromkeys(listed))]


def _parts(metric: str) -> tuple[str, ...]:
    return METRICS[metric].parents if metric in METRICS else ()


def _tip(rows: pl.DataFrame, name: str, title: str) -> alt.Tooltip:
    dtype = rows.schema[name]
    if dtype.is_temporal():
        return alt.Tooltip(f"{name}:T", title=title)
    if dtype.is_numeric():
        written = SHARE if name in METRICS and METRICS[name].is_rate else WHOLE if dtype.is_integer() else AMOUNT
        return alt.Tooltip(f"{name}:Q", title=title, format=written)
    return alt.Tooltip(f"{name}:N", title=title)
