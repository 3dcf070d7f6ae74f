"""What every chart starts from: its size and theme, its axes, bars and tooltips, and text of logs made fit to be shown.

Importing this module makes charts draw with the colours of `reports_templates/html/theme.toml`, in JupyterLab and in
a report alike: altair's own renderers either need a network or emit a type that notebooks refuse.
"""

import json
import unicodedata
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

import altair as alt
import polars as pl

from trackkit.language import said, translatable
from trackkit.theme import chart_config, theme
from trackkit.wording import clipped, instant

Labels = Mapping[str, str]
MIME = "application/vnd.vegalite.v5+json"
# Pixels, in JupyterLab; a report's page widens charts to its own. Never "container": JupyterLab then draws for ever.
WIDTH = 620
LONGEST_NAME = 80
# Columns that a name may take beside a bar and in a legend; tooltips and tables show more of it.
BESIDE_BARS, IN_LEGENDS = 40, 44
# What every JavaScript object has: Vega looks names and titles up in plain objects, and would find these there.
TAKEN = (
    "constructor", "hasOwnProperty", "isPrototypeOf", "propertyIsEnumerable", "toLocaleString", "toString", "valueOf",
    "__proto__", "__defineGetter__", "__defineSetter__", "__lookupGetter__", "__lookupSetter__",
)  # fmt: skip
WHOLE, SHARE = ",.0f", ".2%"  # how tooltips write counts and fractions
WHOLE_ONLY = "datum.value % 1 ? '' : datum.label"  # up to a count of 1 the least step still lets a half through
FILLED = 0.92  # of a period, so that columns stand apart
SERIES = translatable({"opens": "Sum of opens", "clicks": "Cumulated clicks", "transactions": "Transactions"})
LENGTHS = {f"{hours}h": timedelta(hours=hours) for hours in (1, 3, 24)}
LENGTHS |= {"half_hour": timedelta(minutes=30), "hour": timedelta(hours=1), "day": timedelta(days=1)}


def _bundle(spec: dict[str, Any], **_: Any) -> dict[str, Any]:
    return {MIME: spec, "text/plain": spec.get("description", "chart")}


@alt.theme.register("trackkit", enable=True)
def _theme() -> alt.theme.ThemeConfig:
    return alt.theme.ThemeConfig(config=chart_config(theme()))  # type: ignore[typeddict-item]


alt.renderers.register("trackkit", _bundle)
alt.renderers.enable("trackkit")
alt.data_transformers.enable("default", max_rows=20_000)


def chart(rows: pl.DataFrame, description: str) -> alt.Chart:
    """Start a chart (a report's page widens it to its own width); `description` is what a screen reader says of it."""
    shown = rows.with_columns(_half_up(name) for name, dtype in rows.schema.items() if dtype == pl.Float64)
    return alt.Chart(shown, description=description, width=WIDTH, height=260)


def _half_up(fraction: str) -> pl.Expr:
    """A fraction as tooltips show it. Vega would round 0.145 % down, since it is a little less in binary."""
    tiny = 1e-9  # more than binary is off by, less than a fraction of two counts can be
    return ((10_000 * pl.col(fraction) + 0.5 + tiny).floor() / 10_000).alias(f"{fraction}_shown")


def tip(field: str, title: str, written: str = "") -> alt.Tooltip:
    """Return one line of a tooltip: text, or a number as `written` says (WHOLE, SHARE)."""
    shown = f"{field}_shown" if written == SHARE else field
    return alt.Tooltip(f"{shown}:Q", title=title, format=written) if written else alt.Tooltip(f"{field}:N", title=title)


def columns(
    rows: pl.DataFrame,
    described: str,
    y: alt.Y,
    colour: alt.Color,
    tooltip: Sequence[alt.Tooltip],
    daily: bool = False,
) -> alt.Chart:
    """Draw columns by the clock, from `starts_at` to `ends_at`, stacked in the order of `place`."""
    return (
        chart(rows, described)
        .mark_bar(orient="vertical", aria=False, cornerRadiusEnd=0)
        .encode(
            x=time_axis("starts_at", rows, daily),
            x2="ends_at",
            y=y,
            color=colour,
            order=alt.Order("place:Q"),
            tooltip=tooltip,
        )
    )


def by_the_clock(starts: pl.Expr, length: timedelta | pl.Expr, lang: str) -> dict[str, pl.Expr]:
    """Return where the column of a period stands, `starts_at` and `ends_at`, and its start in words, `when`."""
    ends = clock_instant(starts + FILLED * length)
    return {"starts_at": clock_instant(starts), "ends_at": ends, "when": written(starts, lang)}


def bars(rows: pl.DataFrame, described: str, x: alt.X, group: str, groups: Sequence[str], each: int) -> alt.Chart:
    """Start a chart of bars by name, in the order of `groups` from above, `each` pixels high."""
    names = alt.Axis(grid=False, labelLimit=300, **short_labels(groups, BESIDE_BARS))
    drawn = chart(rows, described).properties(height=each * max(2, len(groups)))
    return drawn.encode(x=x, y=alt.Y(f"{group}:N", title=None, sort=list(groups), axis=names))


def named_series(rows: pl.DataFrame, labels: Labels | None, lang: str) -> pl.DataFrame:
    """Add the words of each series, and its place, which is fixed so that its colour is."""
    names = said(SERIES, lang) | dict(labels or {})
    places = {name: place for place, name in enumerate(names)}
    series = pl.col("series").cast(pl.String)
    return rows.with_columns(
        name=series.replace_strict(names, return_dtype=pl.String),
        place=series.replace_strict(places, return_dtype=pl.Int64),
    ).drop("series")


def series_colour(field: str, labels: Labels | None, lang: str) -> alt.Color:
    """Return the colour of each series, the same whatever is drawn."""
    names = list((said(SERIES, lang) | dict(labels or {})).values())
    return alt.Color(f"{field}:N", scale=alt.Scale(domain=names), legend=alt.Legend(symbolOpacity=1))


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


def titled(name: str) -> alt.Title:
    """Return the title of a chart that is about something with a name."""
    return alt.Title(name_shown(name), anchor="start")


def short_labels(names: Sequence[str], widest: int) -> dict[str, str]:
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


def written(clock: pl.Expr, lang: str) -> pl.Expr:
    """Instants or days as a language writes them; a few thousand at most, since each is a column of a chart."""
    return clock.map_elements(lambda value: instant(value, lang=lang, weekday=True), return_dtype=pl.String)


def clock_instant(clock: pl.Expr) -> pl.Expr:
    """What the clocks of the zone showed, taken for UTC, in milliseconds: so no reader's own zone can shift it."""
    return clock.dt.replace_time_zone("UTC").dt.epoch("ms")


def time_axis(column: str, rows: pl.DataFrame, daily: bool = False) -> alt.X:
    """Return the axis of a column of clock instants, written as its span asks."""
    span = timedelta(milliseconds=(rows[column].max() - rows[column].min()) if rows.height else 0)
    short = not daily and span < timedelta(hours=20)
    written = "%H:%M" if short else "%d %b" if daily or span > timedelta(days=8) else "%a %d, %H:%M"
    count = "day" if daily and span < timedelta(days=14) else 8
    axis = alt.Axis(format=written, tickCount=count, labelOverlap=True)
    return alt.X(f"{column}:T", title=None, scale=alt.Scale(type="utc"), axis=axis)


def whole_numbers() -> alt.Axis:
    """Return the axis of counts that columns or lines rise along."""
    return alt.Axis(format=WHOLE, tickMinStep=1, tickCount=5, labelExpr=WHOLE_ONLY)


def along(written: str) -> alt.Axis:
    """Return the axis that bars lie along, of counts (WHOLE) or of whole percents ("%")."""
    whole = {"tickMinStep": 1, "labelExpr": WHOLE_ONLY} if written == WHOLE else {}
    return alt.Axis(format=written, tickCount=6, grid=True, **whole)
