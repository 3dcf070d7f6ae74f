"""What every chart starts from: its size and theme, its axes, bars and tooltips, and text of logs made fit to be shown.

Importing this module makes charts draw with the colours of `reports_templates/html/theme.toml`, in JupyterLab and in
a report alike: altair's own renderers either need a network or emit a type that notebooks refuse.
"""

import json
import unicodedata
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Literal

import altair as alt
import polars as pl

from trackkit.clock import ends
from trackkit.errors import RequestError
from trackkit.language import said, translatable
from trackkit.show.charts.ticks import MINUTES, ticks
from trackkit.show.theme import chart_config, theme
from trackkit.show.wording import clipped, instant

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
MOST_ROWS = 20_000  # that a chart draws
# The periods of analyses, as polars writes them.
Period = Literal["1h", "3h", "24h", "half_hour", "hour", "day"]
STEPS: dict[Period, str] = {"1h": "1h", "3h": "3h", "24h": "1d", "half_hour": "30m", "hour": "1h", "day": "1d"}


def _bundle(spec: dict[str, Any], **_: Any) -> dict[str, Any]:
    return {MIME: spec, "text/plain": spec.get("description", "chart")}


@alt.theme.register("trackkit", enable=True)
def _theme() -> alt.theme.ThemeConfig:
    return alt.theme.ThemeConfig(config=chart_config(theme()))  # type: ignore[typeddict-item]


alt.renderers.register("trackkit", _bundle)
alt.renderers.enable("trackkit")
alt.data_transformers.enable("default", max_rows=MOST_ROWS)


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
    lang: str = "en",
    zone: str = "UTC",
    least: str = MINUTES,
) -> alt.Chart:
    """Draw columns by the clock of `zone`, from `starts_at` to `ends_at`, stacked in the order of `place`."""
    if rows.height > MOST_ROWS:
        raise RequestError(f"A chart of {rows.height:,} columns cannot be read: take longer periods.")
    return (
        chart(rows, described)
        .mark_bar(orient="vertical", aria=False, cornerRadiusEnd=0)
        .encode(
            x=time_axis("starts_at", rows, lang, zone, least),
            x2="ends_at",
            y=y,
            color=colour,
            order=alt.Order("place:Q"),
            tooltip=tooltip,
        )
    )


def zone_of(rows: pl.DataFrame, column: str = "starts_at") -> str:
    """Return the zone by whose clock a column is to be read; UTC of days, and of instants without one."""
    return getattr(rows.schema[column], "time_zone", None) or "UTC"


def instants(rows: pl.DataFrame, column: str = "starts_at") -> pl.Expr:
    """Return a column of instants, or of days, as instants of that zone."""
    zone = getattr(rows.schema[column], "time_zone", None)
    at = pl.col(column).cast(pl.Datetime("us", zone))
    return at if zone else at.dt.replace_time_zone("UTC")


def by_the_clock(rows: pl.DataFrame, step: str, lang: str) -> dict[str, pl.Expr]:
    """Return where the column of a period stands, `starts_at` and `ends_at`, and its start in words, `when`.

    In: `starts_at`, the beginnings of periods of `step`; the column of an hour that is 90 minutes long is as long.
    """
    starts, zone = instants(rows), zone_of(rows)
    end = starts + FILLED * (ends(starts, zone, step) - starts)
    return {"starts_at": axis_instant(starts), "ends_at": axis_instant(end), "when": written(starts, lang, zone)}


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


def written(at: pl.Expr, lang: str, zone: str = "UTC") -> pl.Expr:
    """Instants or days as a language writes them; a few thousand at most, since each is a column of a chart."""
    return at.map_elements(lambda value: instant(value, zone, lang=lang, weekday=True), return_dtype=pl.String)


def axis_instant(at: pl.Expr) -> pl.Expr:
    """Where an instant, or a day, stands on a time axis, in milliseconds: at its true distance from all others."""
    return at.dt.epoch("ms")


def time_axis(column: str, rows: pl.DataFrame, lang: str = "en", zone: str = "UTC", least: str = MINUTES) -> alt.X:
    """Return the axis of a column of `axis_instant`, its marks by the clock of `zone`.

    `least` is what they are at least apart: "minutes", "days", "months". They are worked out here: a browser knows its
    own zone and UTC, and would take the one for the other.
    """
    marks = _marks(rows[column].min(), max(rows[column].max(), rows.get_column("ends_at", default=rows[column]).max()),
                   zone, lang, least) if rows.height else []  # fmt: skip
    places, words = [at for at, _ in marks], [word for _, word in marks]
    expression = f"{json.dumps(words)}[indexof({places}, toNumber(datum.value))]"
    # As an expression, since numbers would become dates in a way that only one of Vega's two interpreters knows.
    axis = alt.Axis(values=alt.ExprRef(str(places)), labelExpr=expression, labelOverlap=True)
    return alt.X(f"{column}:T", title=None, scale=alt.Scale(type="utc"), axis=axis)


def _marks(first: int, last: int, zone: str, lang: str, least: str) -> list[tuple[int, str]]:
    start, end = (datetime.fromtimestamp(at / 1_000, UTC) for at in (first, last))
    return [(round(at.timestamp() * 1_000), words) for at, words in ticks(start, end, zone, lang, least)]


def whole_numbers() -> alt.Axis:
    """Return the axis of counts that columns or lines rise along."""
    return alt.Axis(format=WHOLE, tickMinStep=1, tickCount=5, labelExpr=WHOLE_ONLY)


def along(written: str) -> alt.Axis:
    """Return the axis that bars lie along, of counts (WHOLE) or of whole percents ("%")."""
    whole = {"tickMinStep": 1, "labelExpr": WHOLE_ONLY} if written == WHOLE else {}
    return alt.Axis(format=written, tickCount=6, grid=True, **whole)
