"""Tidy frame in, altair chart out. Every chart says in words what it shows, and can be restyled by its caller.

Importing this module makes charts draw with the colours of `reports_templates/html/theme.toml`, in JupyterLab and in
a report alike: altair's own renderers either need a network or emit a type that notebooks refuse.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

import altair as alt
import polars as pl

from trackkit.cells import headline
from trackkit.language import said, say, several, translatable
from trackkit.metrics import METRICS
from trackkit.theme import chart_config, theme
from trackkit.wording import instant, plain

MIME = "application/vnd.vegalite.v5+json"
# Pixels, in JupyterLab; a report's page widens charts to its own. Never "container": JupyterLab then draws for ever.
WIDTH = 620
SERIES = translatable({"opens": "Opens", "clicks": "Clicks", "transactions": "Transactions"})
# Hours up to four days, whole days beyond: launches are remembered in hours, campaigns in days.
ELAPSED_LABEL = "datum.value % 24 == 0 && datum.value > 0 ? {days} : {hours}"
SQUARE_ROOT = alt.Scale(type="sqrt", nice=False)
LONGEST_NAME = 80
OTHERS_PLACE = 1_000_000
LENGTHS = {f"{hours}h": timedelta(hours=hours) for hours in (1, 3, 24)}
LENGTHS |= {"half_hour": timedelta(minutes=30), "hour": timedelta(hours=1), "day": timedelta(days=1)}
OTHERS, UNKNOWN = translatable(("Others", "(unknown)"))
ELAPSED_TICKS = (0, 1, 3, 6, 12, 24, 48, 96, 168, 336, 504, 672, 1_344, 2_016, 4_032, 8_064)


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
    return alt.Chart(rows, description=description, width=WIDTH, height=260)


def pareto_curve(
    cumulated: pl.DataFrame, kind: str = "area", labels: Mapping[str, str] | None = None, lang: str = "en"
) -> alt.LayerChart:
    """Draw which share of each series' total had happened how long after the launch.

    In: the frame of `curves.cumulative_activity` (`hours`, `series`, `cumulated`, `total`, `share`). `kind` is "area"
    or "line". A series without events is not drawn.
    """
    rows = named_series(cumulated.filter(pl.col("total") > 0), labels, lang)
    base = chart(rows, say("Share of the total of each series, by time since the launch.", lang)).encode(
        # Half of all clicks come within hours, the last after weeks: on a straight axis the curve is a corner.
        x=alt.X(
            "hours:Q", title=say("Time since the launch", lang), axis=_elapsed(rows["hours"], lang), scale=SQUARE_ROOT
        ),
        y=alt.Y("share:Q", title=say("Share of the total", lang), stack=None, axis=alt.Axis(format=".0%", tickCount=5)),
        color=series_colour("name", labels, lang),
        tooltip=[
            alt.Tooltip("name:N", title=say("Series", lang)),
            alt.Tooltip("hours:Q", title=say("Hours since the launch", lang), format=",.0f"),
            alt.Tooltip("cumulated:Q", title=say("Cumulated", lang), format=",.0f"),
            alt.Tooltip("total:Q", title=say("Total", lang), format=",.0f"),
            alt.Tooltip("share:Q", title=say("Share", lang), format=".2%"),
        ],
    )
    area = base.mark_area(opacity=0.1 if kind == "area" else 0.0, aria=False)
    return alt.layer(area, base.mark_line(aria=False), description=base.description)


def activity_columns(
    activity: pl.DataFrame,
    every: str = "1h",
    days: int | None = None,
    labels: Mapping[str, str] | None = None,
    lang: str = "en",
) -> alt.Chart:
    """Draw what happened when, by the clock: one column per period of `every`, one colour per series.

    In: the frame of `curves.activity` or `activities.activity_over_time` (`starts_at`, in the zone shown; `series`,
    `count`). With `days`, only the first
    ones are drawn, and the description says how many events came later.
    """
    drawn = activity if days is None else activity.filter(_within(days))
    later = activity["count"].sum() - drawn["count"].sum()
    starts = pl.col("starts_at").dt.replace_time_zone(None)
    rows = named_series(drawn, labels, lang).with_columns(
        starts_at=clock_instant(starts),
        ends_at=clock_instant(starts + 0.92 * LENGTHS[every]),
        when=written(starts, lang),
    )
    return (
        chart(rows, _activity_described(later, lang))
        .mark_bar(orient="vertical", aria=False, cornerRadiusEnd=0)
        .encode(
            x=time_axis("starts_at", rows),
            x2="ends_at",
            y=alt.Y("count:Q", title=say("Events", lang), stack="zero", axis=whole_numbers()),
            color=series_colour("name", labels, lang),
            order=alt.Order("place:Q"),
            tooltip=[
                alt.Tooltip("when:N", title=say("From", lang)),
                alt.Tooltip("name:N", title=say("Series", lang)),
                alt.Tooltip("count:Q", title=say("Events", lang), format=",.0f"),
            ],
        )
    )


def _activity_described(later: int, lang: str) -> str:
    described = say("Opens, clicks and transactions of each period, by the clock.", lang)
    if not later:
        return described
    return several(
        "Opens, clicks and transactions of each period, by the clock. {count} later event is not drawn.",
        "Opens, clicks and transactions of each period, by the clock. {count} later events are not drawn.",
        later, lang,
    )  # fmt: skip


def click_days(per_day: pl.DataFrame, labels: Mapping[str, str] | None = None, lang: str = "en") -> alt.Chart:
    """Draw the clicks of each day, one colour per link of the table and the last one for the others.

    In: the frame of `links.clicks_per_day` (`day`, `rank`, `row`, `link`, `clicks`).
    """
    day = pl.col("day").cast(pl.Datetime("ms"))
    rows = (
        readable(per_day, "link")
        .select(
            "link",
            "clicks",
            # The others come last, even if a link is itself called "Others".
            place=pl.col("rank").cast(pl.Int64).fill_null(OTHERS_PLACE),
            starts_at=clock_instant(day),
            ends_at=clock_instant(day + timedelta(hours=22)),
            when=written(pl.col("day"), lang),
        )
        .with_columns(key=_link_key(labels, lang))
    )
    return (
        chart(rows.drop("link"), say("Clicks of each day, by link.", lang))
        .mark_bar(orient="vertical", aria=False, cornerRadiusEnd=0)
        .encode(
            x=time_axis("starts_at", rows, daily=True),
            x2="ends_at",
            y=alt.Y("clicks:Q", title=say("Clicks", lang), stack="zero", axis=whole_numbers()),
            color=alt.Color("key:N", scale=_link_colours(rows), legend=alt.Legend(orient="bottom", columns=2)),
            order=alt.Order("place:Q"),
            tooltip=[
                alt.Tooltip("when:N", title=say("Day", lang)),
                alt.Tooltip("key:N", title=say("Link", lang)),
                alt.Tooltip("clicks:Q", title=say("Clicks", lang), format=",.0f"),
            ],
        )
    )


def rate_bars(
    measured: pl.DataFrame,
    by: str,
    rates: Sequence[str],
    lang: str = "en",
    ceilings: Mapping[str, float] | None = None,
) -> alt.LayerChart:
    """Draw rates by group, the first as a wide pale bar, the others as thinner bars over it, largest group first.

    In: a frame of `measure` with the column `by`, the rates and their parts. A rate that is null has no bar,
    and where all are 0 nothing is drawn. A dashed line stands at the one of `ceilings` of a rate.
    """
    shown = readable(measured, by)
    wide = pl.concat([_one_rate(shown, by, name, place, lang) for place, name in enumerate(rates)])
    wide = wide if (wide["rate"] > 0).any() else wide.clear()
    names = [say(METRICS[name].label, lang) for name in rates]
    described = say("{rates}, by {group}.", lang, rates=", ".join(names), group=headline(by, lang).lower())
    base = chart(wide, described).encode(
        x=alt.X("rate:Q", title=None, axis=alt.Axis(format="%", tickCount=6, grid=True)),
        y=alt.Y("group:N", title=None, sort=_groups(wide), axis=alt.Axis(grid=False)),
        color=alt.Color("name:N", scale=alt.Scale(domain=names)),
        tooltip=[
            alt.Tooltip("group:N", title=headline(by, lang)),
            alt.Tooltip("name:N", title=say("Rate", lang)),
            alt.Tooltip("rate:Q", title=say("Value", lang), format=".2%"),
            alt.Tooltip("numerator:Q", title=say("Numerator", lang), format=",.0f"),
            alt.Tooltip("denominator:Q", title=say("Denominator", lang), format=",.0f"),
        ],
    )
    bars = [
        base.transform_filter(alt.datum.place == place).mark_bar(size=max(4, 18 - 9 * place), aria=False)
        for place in range(len(rates))
    ]
    lines = [_ceilings(ceilings, names, lang)] if ceilings and wide.height else []
    layers = alt.layer(*bars, *lines, description=base.description)
    return layers.properties(width=WIDTH, height=26 * measured.height)


def _ceilings(ceilings: Mapping[str, float], names: Sequence[str], lang: str) -> alt.Chart:
    """A dashed line at the ceiling of each rate, in the colour of its bars."""
    labels = [say(METRICS[name].label, lang) for name in ceilings]
    rows = pl.DataFrame({"name": labels, "rate": list(ceilings.values())})
    colour = alt.Color("name:N", scale=alt.Scale(domain=names))
    return alt.Chart(rows).mark_rule(strokeDash=[4, 3], strokeWidth=1.5, aria=False).encode(x="rate:Q", color=colour)


def named_series(rows: pl.DataFrame, labels: Mapping[str, str] | None, lang: str) -> pl.DataFrame:
    """Add the words of each series, and its place, which is fixed so that its colour is."""
    names = said(SERIES, lang) | dict(labels or {})
    places = {name: place for place, name in enumerate(names)}
    series = pl.col("series").cast(pl.String)
    return rows.with_columns(
        name=series.replace_strict(names, return_dtype=pl.String),
        place=series.replace_strict(places, return_dtype=pl.Int64),
    ).drop("series")


def series_colour(field: str, labels: Mapping[str, str] | None, lang: str) -> alt.Color:
    """Return the colour of each series, the same whatever is drawn."""
    names = list((said(SERIES, lang) | dict(labels or {})).values())
    return alt.Color(f"{field}:N", scale=alt.Scale(domain=names), legend=alt.Legend(symbolOpacity=1))


def readable(rows: pl.DataFrame, column: str) -> pl.DataFrame:
    """Make log text fit to be shown: without unseen letters, shortened, and still one text for each one before."""
    texts = rows[column].cast(pl.String).unique().drop_nulls().sort()
    shown: dict[str, str] = {}
    for text in texts:
        words = plain(text)
        words = words if len(words) <= LONGEST_NAME else f"{words[: LONGEST_NAME - 1]}…"
        shown[text] = words if words not in shown.values() else f"{words} ({len(shown) + 1})"
    return rows.with_columns(pl.col(column).cast(pl.String).replace(shown))


def _link_key(labels: Mapping[str, str] | None, lang: str) -> pl.Expr:
    """The words of a link in the legend; the others' end in a space, since a link may itself be called "Others"."""
    others = pl.lit((labels or {}).get("others", say(OTHERS, lang)) + " ")
    return pl.when(pl.col("place") == OTHERS_PLACE).then(others).otherwise("link")


def _link_colours(rows: pl.DataFrame) -> alt.Scale:
    """One colour per link in the order of rank; the theme's last colour for the others."""
    series = theme().light.series
    keys = rows.sort("place").unique("key", maintain_order=True).select("key", "place")
    colours = [
        series[-1] if place == OTHERS_PLACE else series[rank % (len(series) - 1)]
        for rank, place in enumerate(keys["place"])
    ]
    return alt.Scale(domain=keys["key"].to_list(), range=colours)


def _one_rate(measured: pl.DataFrame, by: str, name: str, place: int, lang: str) -> pl.DataFrame:
    metric = METRICS[name]
    return measured.with_row_index("order").select(
        pl.col("order").cast(pl.Int64),
        group=_group(by, lang),
        name=pl.lit(say(metric.label, lang)),
        place=pl.lit(place),
        rate=name,
        numerator=metric.numerator,
        denominator=metric.denominator,
    )


def _group(by: str, lang: str) -> pl.Expr:
    """The words of a group: our own for the others and the unknown, in a language; any other text is data."""
    return pl.col(by).cast(pl.String).replace({OTHERS: say(OTHERS, lang)}).fill_null(say(UNKNOWN, lang))


def written(clock: pl.Expr, lang: str) -> pl.Expr:
    """Instants or days as a language writes them; a few thousand at most, since each is a column of a chart."""
    return clock.map_elements(lambda value: instant(value, lang=lang, weekday=True), return_dtype=pl.String)


def _groups(wide: pl.DataFrame) -> list[str]:
    return wide.sort("order").unique("group", maintain_order=True)["group"].to_list()


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


def _within(days: int) -> pl.Expr:
    return pl.col("starts_at") < pl.col("starts_at").min() + timedelta(days=days)


def whole_numbers() -> alt.Axis:
    """Return an axis of counts."""
    return alt.Axis(format=",.0f", tickMinStep=1, tickCount=5)


def _elapsed(hours: pl.Series, lang: str) -> alt.Axis:
    longest = int(hours.max() or 1)
    ticks = [tick for tick in ELAPSED_TICKS if tick <= longest]
    days = _expression(say("{days} d", lang), "{days}", "format(datum.value / 24, ',')")
    short = _expression(say("{hours} h", lang), "{hours}", "datum.value")
    return alt.Axis(values=ticks, labelExpr=ELAPSED_LABEL.format(days=days, hours=short), labelOverlap=True)


def _expression(words: str, hole: str, value: str) -> str:
    """Words with one hole as a Vega expression."""
    before, _, after = words.partition(hole)
    return f"{json.dumps(before)} + {value} + {json.dumps(after)}"
