"""Charts beyond one delivery: sharing by network and over time, and subscriptions to services."""

from dataclasses import replace
from datetime import date
from typing import Annotated, Literal, get_args

import altair as alt
import polars as pl
from babel.dates import format_skeleton

from trackkit.clock import CALLED
from trackkit.language import said, say, translatable
from trackkit.show.cells import OneOf
from trackkit.show.charts import canvas, shapes
from trackkit.show.charts.clock import axis_instant, by_the_clock, instants, written
from trackkit.show.charts.labels import ends
from trackkit.show.theme import theme
from trackkit.show.wording import instant, number

__all__ = ["CalendarPeriod", "network_bars", "period_name", "sharing_columns", "subscription_charts"]

SHARING = translatable({"shares": "Sharing activities", "opens": "Opens of shared pages"})
ACTIVITY = translatable(
    {
        "shares": "Sharing activities",
        "shared_opens": "Opens of shared pages",
        "new_contacts": "New contacts",
    }
)
SUBSCRIPTIONS = translatable({"subscriptions": "Subscriptions", "unsubscriptions": "Unsubscriptions"})
CalendarPeriod = Literal["day", "week", "month"]
LENGTHS: dict[CalendarPeriod, str] = {every: CALLED[every] for every in get_args(CalendarPeriod)}
WEEK = translatable("Week of {day}")
CURVES = 200  # pixels of height


def network_bars(sharing: pl.DataFrame, networks: canvas.Labels, lang: str = "en") -> alt.LayerChart:
    """Draw the sharing activities on each network, with the opens of shared pages below them if they are known.

    In: the frame of `sharing.social_sharing`. The network with most comes first; one without either is only in the
    table.
    """
    words = said(SHARING, lang)
    named = sharing.filter(pl.col("row").cast(pl.String) == "network").with_columns(
        name=pl.col("network").replace(dict(networks))
    )
    named = named.sort("shares", descending=True, nulls_last=True, maintain_order=True)
    rows = named.unpivot(["shares", "opens"], index=["name"], variable_name="kind", value_name="count").drop_nulls()
    is_shared = pl.col("count").sum().over("name") > 0
    rows = rows.filter(is_shared) if rows.height else rows
    totals = rows.group_by("kind").agg(total=pl.col("count").sum())
    rows = rows.join(totals, on="kind", maintain_order="left").with_columns(
        share=pl.when(pl.col("total") > 0).then(pl.col("count") / pl.col("total")),
        place=(pl.col("kind") == "opens").cast(pl.Int64),
        kind=pl.col("kind").replace_strict(words, return_dtype=pl.String),
    )
    kinds = [words[name] for name in words if words[name] in rows["kind"].to_list()]
    plot = canvas.Plot(
        rows,
        say("Sharing activities, and opens of shared pages, by network.", lang),
        x=canvas.Numbers("count"),
        y=canvas.Names("name", rows["name"].unique(maintain_order=True).to_list(), 34),
        tips=canvas.tips(lang, name="Network", kind="Series", share="Share", count="Value", total="Total"),
        series=canvas.Series("kind", kinds),
        beside="place",
    )
    bars = canvas.bars(plot)
    words = canvas.bars(replace(plot, tips={}, series=None)).mark_text(align="left", dx=5, aria=False)
    chart: alt.LayerChart = canvas.layered(plot, bars, words.encode(text=alt.Text("count:Q", format=canvas.WHOLE)))
    return chart


def sharing_columns(
    activity: pl.DataFrame,
    every: CalendarPeriod = "month",
    labels: Annotated[canvas.Labels | None, OneOf(ACTIVITY)] = None,
    lang: str = "en",
) -> alt.LayerChart:
    """Draw sharing activities, opens of shared pages and new contacts over time, each in a panel on its own scale.

    In: the frame of `sharing.sharing_activity`. All opens are only in the table: there are a hundred times as many. An
    activity that is unknown, or never happened, is not drawn.
    """
    words = said(ACTIVITY, lang) | dict(labels or {})
    kinds = {name: words[name] for name in ACTIVITY}
    rows = activity.drop_nulls("starts_on").unpivot(
        list(kinds), index="starts_on", variable_name="kind", value_name="count"
    )
    rows = rows.filter(pl.col("count") > 0).rename({"starts_on": "starts_at"})
    drawn = [label for kind, label in kinds.items() if kind in rows["kind"].to_list()]
    colours = [theme().light.series[place] for place, label in enumerate(kinds.values()) if label in drawn]
    named = rows.select(
        "count",
        name=pl.col("kind").replace_strict(kinds, return_dtype=pl.String),
        **by_the_clock(rows, LENGTHS[every], lang)
        | {"when": pl.Series([period_name(day, every, lang) for day in rows["starts_at"]], dtype=pl.String)},
    )
    plot = canvas.Plot(
        named,
        say("What sharing brought in each period.", lang),
        x=canvas.TimeAxis(lang=lang, step=LENGTHS[every]),
        y=canvas.Numbers("count"),
        tips=canvas.tips(lang, when="Period", name="Series", count="Value"),
        series=canvas.Series("name", drawn, colours),
    )
    return shapes.panels(plot, {label: label for label in drawn}, False, lang)


def subscription_charts(
    curves: pl.DataFrame, labels: Annotated[canvas.Labels | None, OneOf(SUBSCRIPTIONS)] = None, lang: str = "en"
) -> list[alt.LayerChart]:
    """Draw cumulated subscriptions and unsubscriptions: one chart per service, or an empty one without any.

    In: the frame of `subscriptions.subscription_curves`.
    """
    services = [of_service for _, of_service in curves.group_by("service_id", maintain_order=True)]
    return [_curves(of_service, labels or {}, lang) for of_service in services or [curves]]


def _curves(curves: pl.DataFrame, labels: canvas.Labels, lang: str) -> alt.LayerChart:
    words = said(SUBSCRIPTIONS, lang) | dict(labels)
    series = pl.col("series").cast(pl.String)
    rows = curves.select(
        "count",
        "cumulated",
        name=series.replace_strict(words, return_dtype=pl.String),
        starts_at=axis_instant(instants(curves, "day")),
        when=written(pl.col("day"), lang),
    )
    title = canvas.name_shown(str(curves["service"].first() or ""))
    sums = rows.group_by("name").agg(pl.col("cumulated").max())
    totals = {name: f"{name}: {number(count, lang=lang)}" for name, count in sums.iter_rows()}
    top = 1.1 * max(1, sums.select(pl.col("cumulated").max().fill_null(0)).item())
    plot = canvas.Plot(
        rows,
        say("Who joined and left {service} since the period began.", lang, service=title),
        x=canvas.TimeAxis(least="days", lang=lang),
        y=canvas.Numbers("cumulated", say("Cumulated", lang), most=top),
        tips=canvas.tips(lang, when="Day", name="Series", count="Of the day", cumulated="Cumulated"),
        series=canvas.Series("name", list(words.values()), legend=None),
        height=CURVES,
        title=title,
    )
    places = ends(rows, "starts_at", "cumulated", "name", CURVES, top).with_columns(
        label=pl.col("name").replace(totals)
    )
    colours = theme().light.series[: len(words)]
    return canvas.with_ends(plot, places, list(words.values()), colours, interpolate="step-after")


def period_name(day: date, every: CalendarPeriod, lang: str = "en") -> str:
    """Return the name of a period that starts on a day.

    >>> period_name(date(2026, 11, 1), "month"), period_name(date(2026, 11, 2), "week")
    ('November 2026', 'Week of 2026-11-02')
    """
    if every == "month":
        return str(format_skeleton("yMMMM", day, locale=lang))
    shown = instant(day, lang=lang, weekday=every == "day")
    return say(WEEK, lang, day=shown) if every == "week" else shown
