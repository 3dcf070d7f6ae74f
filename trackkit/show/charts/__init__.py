"""Tidy frame in, altair chart out. Every chart says in words what it shows, and can be restyled by its caller.

Here are the charts of one delivery's figures; each subject has a module, as in `charts.audience.opens_bars`. All of
them are based on `charts.canvas`.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Annotated, Literal

import altair as alt
import polars as pl

from trackkit.language import say, several
from trackkit.metrics import METRICS
from trackkit.show.cells import OTHERS, RATES, UNKNOWN, OneOf, headline
from trackkit.show.charts import audience, canvas, overview, platform, sending, story, web
from trackkit.show.charts.clock import STEPS, Period, by_the_clock, in_steps, per, step_that_fits, written, zone_of
from trackkit.show.theme import theme

__all__ = [
    "CurveKind",
    "activity_columns",
    "audience",
    "click_days",
    "overview",
    "pareto_curve",
    "platform",
    "rate_bars",
    "sending",
    "story",
    "web",
]
CurveKind = Literal["area", "line"]
# Labels in hours for parts of a day, in days for whole days.
ELAPSED_LABEL = "datum.value % 24 == 0 && datum.value > 0 ? {days} : {hours}"
ELAPSED_TICKS = (
    0,
    1,
    3,
    6,
    12,
    *(24 * days for days in (1, 2, 4, 7, 14, 21, 28, 56, 84, 168, 365, 730, 1095, 1825, 3650)),
)
SQUARE_ROOT = alt.Scale(type="sqrt", nice=False)
OTHERS_PLACE = 1_000_000
MOST_POINTS = 1_000  # of a curve
MOST_DAYS = 366  # that are drawn as days


def pareto_curve(
    cumulated: pl.DataFrame,
    kind: CurveKind = "area",
    labels: Annotated[canvas.Labels | None, OneOf(canvas.SERIES)] = None,
    lang: str = "en",
) -> alt.LayerChart:
    """Draw the share of each series' total that had happened by each time after the launch.

    In: the frame of `curves.cumulative_activity` (`hours`, `series`, `cumulated`, `total`, `share`). `kind` is "area"
    or "line". A series without events is not drawn.
    """
    rows = canvas.named_series(_thinned(cumulated.filter(pl.col("total") > 0)), labels, lang)
    plot = canvas.Plot(
        rows,
        say("Share of the total of each series, by time since the launch.", lang),
        x=canvas.Numbers("hours"),
        y=canvas.Numbers("share", say("Share of the total", lang), ".0%", is_count=False, stacked=False),
        tips=canvas.tips(
            lang, name="Series", hours="Hours since the launch", cumulated="Cumulated", total="Total", share="Share"
        ),
        series=canvas.series_colours(labels, lang),
    )
    # Half of all clicks come within hours, the last after weeks: on a linear axis the curve would be a corner.
    hours = alt.X(
        "hours:Q", title=say("Time since the launch", lang), axis=_elapsed(rows["hours"], lang), scale=SQUARE_ROOT
    )
    area, line = canvas.lines(plot, area=0.1 if kind == "area" else 0.0), canvas.lines(plot)
    return canvas.layered(plot, area.encode(x=hours), line.encode(x=hours))


def _thinned(cumulated: pl.DataFrame) -> pl.DataFrame:
    """If there are too many points, keep the last one at each of a thousand places along the axis."""
    if cumulated.height <= 3 * MOST_POINTS:
        return cumulated
    place = (MOST_POINTS * (pl.col("hours") / pl.col("hours").max()).sqrt()).cast(pl.Int64)
    last = pl.struct("series", place).is_last_distinct()
    return cumulated.filter(last | (pl.col("hours") == 0))


def activity_columns(
    activity: pl.DataFrame,
    every: Period = "1h",
    days: int | None = None,
    labels: Annotated[canvas.Labels | None, OneOf(canvas.SERIES)] = None,
    lang: str = "en",
) -> alt.Chart:
    """Draw what happened when, by the clock: one column per period of `every`, one colour per series.

    In: the frame of `curves.activity` or `activities.activity_over_time` (`starts_at`, in the zone shown; `series`,
    `count`). With `days`, only the first ones are drawn, and the description says how many events came later; if most
    came later, all are drawn, in longer periods if needed.
    """
    drawn, step = _first_days(activity, STEPS[every], days)
    later = _total(activity) - _total(drawn)
    rows = canvas.named_series(drawn, labels, lang).with_columns(**by_the_clock(drawn, step, lang))
    events = say("Events", lang)
    plot = canvas.Plot(
        rows,
        _activity_described(later, lang),
        x=canvas.TimeAxis(zone=zone_of(drawn), lang=lang),
        y=canvas.Numbers("count", per(step, events, lang), stacked=True),
        tips=canvas.tips(lang, when="From", name="Series") | {"count": events},
        series=canvas.series_colours(labels, lang),
    )
    return canvas.columns(plot)


def _first_days(activity: pl.DataFrame, step: str, days: int | None) -> tuple[pl.DataFrame, str]:
    """Return the part of an activity that is drawn, and the length of its periods."""
    drawn = activity if days is None else activity.filter(_within(days))
    if days is not None and 2 * _total(drawn) >= _total(activity):
        return drawn, step
    longer = step_that_fits(activity, step) if days is not None or drawn.height > canvas.MOST_ROWS else step
    return (activity, step) if longer == step else (in_steps(activity, longer, ["count"]), longer)


def _total(activity: pl.DataFrame) -> int:
    return int(activity["count"].sum())


def _activity_described(later: int, lang: str) -> str:
    described = say("Opens, clicks and transactions of each period, by the clock.", lang)
    if not later:
        return described
    return several(
        "Opens, clicks and transactions of each period, by the clock. {count} later event is not drawn.",
        "Opens, clicks and transactions of each period, by the clock. {count} later events are not drawn.",
        later,
        lang,
    )


def click_days(
    per_day: pl.DataFrame, labels: Annotated[canvas.Labels | None, OneOf(["others"])] = None, lang: str = "en"
) -> alt.Chart:
    """Draw the clicks of each day, one colour per link of the table and the last one for the others.

    In: the frame of `links.clicks_per_day` (`day`, `rank`, `row`, `link`, `clicks`).
    """
    days = per_day.rename({"day": "starts_at"})
    step = step_that_fits(days, "1d", MOST_DAYS)
    drawn = in_steps(days, step, ["clicks"]) if step != "1d" else days
    rows = (
        canvas.readable(drawn, "link")
        .select(
            "link",
            "clicks",
            # The others come last, even if a link is called "Others" too.
            place=pl.col("rank").cast(pl.Int64).fill_null(OTHERS_PLACE),
            **by_the_clock(drawn, step, lang) | {"when": written(pl.col("starts_at").cast(pl.Date), lang)},
        )
        .with_columns(key=_link_key(labels, lang))
    )
    clicks = say("Link clicks", lang)
    keys, colours = _link_colours(rows)
    legend = {"orient": "bottom", "columns": 2, **canvas.short_labels(keys, canvas.IN_LEGENDS)}
    plot = canvas.Plot(
        rows.drop("link"),
        say("Clicks of each day, by link.", lang),
        x=canvas.TimeAxis(least="days", lang=lang),
        y=canvas.Numbers("clicks", clicks if step == "1d" else per(step, clicks, lang), stacked=True),
        tips=canvas.tips(lang, when="Day", key="Link") | {"clicks": clicks},
        series=canvas.Series("key", keys, colours, legend),
    )
    return canvas.columns(plot)


def rate_bars(
    measured: pl.DataFrame,
    by: str,
    rates: Annotated[Sequence[str], RATES],
    lang: str = "en",
    ceilings: Annotated[Mapping[str, float] | None, RATES] = None,
) -> alt.LayerChart:
    """Draw rates by group, the first as a wide pale bar, the others as thinner bars over it, largest group first.

    In: a frame of `measure` with the column `by`, the rates and their parts. A rate that is null has no bar,
    and if all are 0 nothing is drawn. A dashed line marks each rate's ceiling in `ceilings`.
    """
    shown = canvas.readable(measured, by)
    rows = pl.concat([_rate_rows(shown, by, name, place, lang) for place, name in enumerate(rates)])
    rows = rows if (rows["rate"] > 0).any() else rows.clear()
    names = [say(METRICS[name].label, lang) for name in rates]
    description = say("{rates}, by {group}.", lang, rates=", ".join(names), group=headline(by, lang).lower())
    plot = canvas.Plot(
        rows,
        description,
        x=canvas.Numbers("rate", None, canvas.PERCENT, is_count=False),
        y=canvas.Names("group", _groups(rows), 26),
        tips={"group": headline(by, lang)}
        | canvas.tips(lang, name="Rate", rate="Value", numerator="Numerator", denominator="Denominator"),
        series=canvas.Series("name", names),
    )
    drawn = [
        canvas.bars(plot, max(4, 18 - 9 * place)).transform_filter(alt.datum.place == place)
        for place in range(len(rates))
    ]
    limits = [_ceilings(ceilings, names, lang)] if ceilings and rows.height else []
    return canvas.layered(plot, *drawn, beside=limits)


def _ceilings(ceilings: Mapping[str, float], names: Sequence[str], lang: str) -> alt.Chart:
    """A dashed line at the ceiling of each rate, in the colour of its bars."""
    labels = [say(METRICS[name].label, lang) for name in ceilings]
    rows = pl.DataFrame({"name": labels, "rate": list(ceilings.values())})
    colour = alt.Color("name:N", scale=alt.Scale(domain=names))
    lines_at = alt.Chart(rows).mark_rule(strokeDash=[4, 3], strokeWidth=1.5, aria=False)
    drawn: alt.Chart = lines_at.encode(x="rate:Q", color=colour)
    return drawn


def _link_key(labels: canvas.Labels | None, lang: str) -> pl.Expr:
    """The name of a link in the legend; our own "Others" ends in a space, since a link may have that name."""
    others = pl.lit((labels or {}).get("others", say(OTHERS, lang)) + " ")
    return pl.when(pl.col("place") == OTHERS_PLACE).then(others).otherwise("link")


def _link_colours(rows: pl.DataFrame) -> tuple[list[str], list[str]]:
    """The links by rank, with a colour each; the theme's last colour is for the others."""
    series = theme().light.series
    keys = rows.sort("place").unique("key", maintain_order=True).select("key", "place")
    colours = [
        series[-1] if place == OTHERS_PLACE else series[rank % (len(series) - 1)]
        for rank, place in enumerate(keys["place"])
    ]
    return keys["key"].to_list(), colours


def _rate_rows(measured: pl.DataFrame, by: str, name: str, place: int, lang: str) -> pl.DataFrame:
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
    """The name of a group: data, except our own words for the others and the unknown, which are translated.

    Our "(unknown)" ends in a space, since a group may have that name.
    """
    return pl.col(by).cast(pl.String).replace({OTHERS: say(OTHERS, lang)}).fill_null(say(UNKNOWN, lang) + " ")


def _groups(rows: pl.DataFrame) -> list[str]:
    return rows.sort("order").unique("group", maintain_order=True)["group"].to_list()


def _within(days: int) -> pl.Expr:
    return pl.col("starts_at") < pl.col("starts_at").min() + timedelta(days=days)


def _elapsed(hours: pl.Series, lang: str) -> alt.Axis:
    longest = hours.to_frame().select(pl.max(hours.name).fill_null(0)).item() or 1
    ticks = [tick for tick in ELAPSED_TICKS if tick <= longest]
    days = _expression(say("{days} d", lang), "{days}", "format(datum.value / 24, ',')")
    short = _expression(say("{hours} h", lang), "{hours}", "datum.value")
    return alt.Axis(values=ticks, labelExpr=ELAPSED_LABEL.format(days=days, hours=short), labelOverlap=True)


def _expression(words: str, placeholder: str, value: str) -> str:
    """Return words with one placeholder as a Vega expression."""
    before, _, after = words.partition(placeholder)
    return f"{json.dumps(before)} + {value} + {json.dumps(after)}"
