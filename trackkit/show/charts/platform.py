"""Charts beyond one delivery: sharing by network and over time, and subscriptions to services."""

from datetime import date
from typing import Annotated, Literal, get_args

import altair as alt
import polars as pl
from babel.dates import format_skeleton

from trackkit.clock import CALLED
from trackkit.language import said, say, translatable
from trackkit.show.cells import OneOf
from trackkit.show.charts import canvas
from trackkit.show.charts.clock import axis_instant, instants, written
from trackkit.show.theme import theme
from trackkit.show.wording import instant

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


def network_bars(sharing: pl.DataFrame, networks: canvas.Labels, lang: str = "en") -> alt.Chart:
    """Draw the sharing activities on each network, with the opens of shared pages below them if they are known.

    In: the frame of `sharing.social_sharing`. If nothing was shared, nothing is drawn.
    """
    words = said(SHARING, lang)
    named = sharing.filter(pl.col("row").cast(pl.String) == "network").with_columns(
        name=pl.col("network").replace(dict(networks))
    )
    rows = named.unpivot(["shares", "opens"], index=["name"], variable_name="kind", value_name="count").drop_nulls()
    rows = rows if rows["count"].sum() else rows.clear()
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
        y=canvas.Names("name", named["name"].to_list(), 30),
        tips=canvas.tips(lang, name="Network", kind="Series", count="Value", total="Total", share="Share"),
        series=canvas.Series("kind", kinds),
        beside="place",
    )
    return canvas.bars(plot)


def sharing_columns(
    activity: pl.DataFrame,
    every: CalendarPeriod = "month",
    labels: Annotated[canvas.Labels | None, OneOf(ACTIVITY)] = None,
    lang: str = "en",
) -> alt.Chart:
    """Draw sharing activities, opens of shared pages and new contacts over time, side by side in each period.

    In: the frame of `sharing.sharing_activity`. All opens are only in the table: there are a hundred times as many. An
    activity that is unknown, or never happened, is not drawn.
    """
    words = said(ACTIVITY, lang) | dict(labels or {})
    kinds = {name: words[name] for name in ACTIVITY}
    rows = activity.drop_nulls("starts_on").unpivot(
        list(kinds), index="starts_on", variable_name="kind", value_name="count"
    )
    rows = rows.filter(pl.col("count") > 0)
    drawn = [label for kind, label in kinds.items() if kind in rows["kind"].to_list()]
    rows = rows.with_columns(kind=pl.col("kind").replace_strict(kinds, return_dtype=pl.String))
    colours = [theme().light.series[place] for place, label in enumerate(kinds.values()) if label in drawn]
    plot = canvas.Plot(
        _side_by_side(rows, drawn, every, lang),
        say("What sharing brought in each period.", lang),
        x=canvas.TimeAxis(least="months" if every == "month" else "days", lang=lang),
        y=canvas.Numbers("count", stacked=False),
        tips=canvas.tips(lang, when="Period", kind="Series", count="Value"),
        series=canvas.Series("kind", drawn, colours),
    )
    return canvas.columns(plot)


def _side_by_side(rows: pl.DataFrame, kinds: list[str], every: CalendarPeriod, lang: str) -> pl.DataFrame:
    """Add the position of each kind's column within its period."""
    places = {label: place for place, label in enumerate(kinds)} or {"": 0}
    place = pl.col("kind").replace_strict(places, return_dtype=pl.Int64)
    clock = instants(rows, "starts_on")
    slot = (clock.dt.offset_by(LENGTHS[every]) - clock) * 0.95 / max(1, len(kinds))
    return rows.with_columns(
        place=place,
        starts_at=axis_instant(clock + slot * place),
        ends_at=axis_instant(clock + slot * (place + 1)),
        when=pl.Series([period_name(day, every, lang) for day in rows["starts_on"]], dtype=pl.String),
    ).drop("starts_on")


def subscription_charts(
    curves: pl.DataFrame, labels: Annotated[canvas.Labels | None, OneOf(SUBSCRIPTIONS)] = None, lang: str = "en"
) -> list[alt.Chart]:
    """Draw cumulated subscriptions and unsubscriptions: one chart per service, or an empty one without any.

    In: the frame of `subscriptions.subscription_curves`.
    """
    services = [of_service for _, of_service in curves.group_by("service_id", maintain_order=True)]
    return [_curves(of_service, labels or {}, lang) for of_service in services or [curves]]


def _curves(curves: pl.DataFrame, labels: canvas.Labels, lang: str) -> alt.Chart:
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
    plot = canvas.Plot(
        rows,
        say("Who joined and left {service} since the period began.", lang, service=title),
        x=canvas.TimeAxis(least="days", lang=lang),
        y=canvas.Numbers("cumulated", say("Cumulated", lang)),
        tips=canvas.tips(lang, when="Day", name="Series", count="Of the day", cumulated="Cumulated"),
        series=canvas.Series("name", list(words.values())),
        height=200,
        title=title,
    )
    return canvas.lines(plot, interpolate="step-after")


def period_name(day: date, every: CalendarPeriod, lang: str = "en") -> str:
    """Return the name of a period that starts on a day.

    >>> period_name(date(2026, 11, 1), "month"), period_name(date(2026, 11, 2), "week")
    ('November 2026', 'Week of 2026-11-02')
    """
    if every == "month":
        return str(format_skeleton("yMMMM", day, locale=lang))
    shown = instant(day, lang=lang, weekday=every == "day")
    return say(WEEK, lang, day=shown) if every == "week" else shown
