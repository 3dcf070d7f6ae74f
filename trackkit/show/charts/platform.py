"""Charts beyond one delivery: sharing by network and over time, and subscriptions to services."""

from dataclasses import replace
from typing import Annotated, get_args

import altair as alt
import polars as pl

from trackkit.clock import CALLED
from trackkit.language import said, say, translatable
from trackkit.show.cells import OneOf
from trackkit.show.charts import canvas, shapes
from trackkit.show.charts.clock import by_the_clock
from trackkit.show.naming import CalendarPeriod, period_name
from trackkit.show.theme import theme
from trackkit.show.wording import number

__all__ = ["network_bars", "sharing_columns", "subscription_charts"]

SHARING = translatable({"shares": "Sharing activities", "opens": "Opens of shared pages"})
ACTIVITY = translatable(
    {
        "shares": "Sharing activities",
        "shared_opens": "Opens of shared pages",
        "new_contacts": "New contacts",
    }
)
SUBSCRIPTIONS = translatable({"subscriptions": "Subscriptions", "unsubscriptions": "Unsubscriptions"})
LENGTHS: dict[CalendarPeriod, str] = {every: CALLED[every] for every in get_args(CalendarPeriod)}


def network_bars(sharing: pl.DataFrame, networks: canvas.Labels, lang: str = "en") -> alt.LayerChart | None:
    """Draw the sharing activities on each network, with the opens of shared pages below them if they are known.

    In: the frame of `sharing.social_sharing`. The network with most comes first; one without either is only in the
    table. None if nothing was shared.

    >>> shares = tk.sharing.social_sharing(store)
    >>> network_bars(shares, {"email": "E-mail", "facebook": "Facebook"}).to_dict()["description"]
    'Sharing activities, and opens of shared pages, by network.'
    """
    words = said(SHARING, lang)
    named = sharing.filter(pl.col("row").cast(pl.String) == "network").with_columns(
        name=pl.col("network").replace(dict(networks))
    )
    named = named.sort("shares", descending=True, nulls_last=True, maintain_order=True)
    rows = named.unpivot(["shares", "opens"], index=["name"], variable_name="kind", value_name="count").drop_nulls()
    is_shared = pl.col("count").sum().over("name") > 0
    rows = rows.filter(is_shared)
    if rows.is_empty():
        return None
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
) -> alt.LayerChart | None:
    """Draw sharing activities, opens of shared pages and new contacts over time, each in a panel on its own scale.

    In: the frame of `sharing.sharing_activity`. All opens are only in the table: there are a hundred times as many. An
    activity that is unknown, or never happened, is not drawn; a period that is not whole is paler. None if
    all happened in one period.

    >>> by_day = tk.sharing.sharing_activity(store, every="day")
    >>> sharing_columns(by_day, every="day").to_dict()["description"]
    'What sharing brought in each period.'
    """
    words = said(ACTIVITY, lang) | dict(labels or {})
    kinds = {name: words[name] for name in ACTIVITY}
    rows = activity.drop_nulls("starts_on").unpivot(
        list(kinds), index=["starts_on", "is_whole"], variable_name="kind", value_name="count"
    )
    rows = rows.filter(pl.col("count") > 0)
    if rows["starts_on"].n_unique() < 2:
        return None
    drawn = [label for kind, label in kinds.items() if kind in rows["kind"].to_list()]
    colours = [theme().light.series[place] for place, label in enumerate(kinds.values()) if label in drawn]
    name = pl.col("kind").replace_strict(kinds, return_dtype=pl.String)
    plot = canvas.Plot(
        _periods(rows, every, lang).with_columns(name=name),
        " ".join([say("What sharing brought in each period.", lang), *_paler(rows, lang)]),
        x=canvas.TimeAxis(lang=lang, step=LENGTHS[every]),
        y=canvas.Numbers("count"),
        tips=canvas.tips(lang, when="Period", name="Series", count="Value"),
        series=canvas.Series("name", drawn, colours),
    )
    return shapes.panels(plot, {label: label for label in drawn}, False, lang)


def subscription_charts(
    weeks: pl.DataFrame, labels: Annotated[canvas.Labels | None, OneOf(SUBSCRIPTIONS)] = None, lang: str = "en"
) -> list[alt.LayerChart]:
    """Draw who joined and who left in each week, in panels: one chart per service, or an empty one without any.

    In: the frame of `subscriptions.acts_by_week`.

    >>> weeks = tk.subscriptions.acts_by_week(tk.subscriptions.subscription_curves(store))
    >>> len(subscription_charts(weeks))
    2
    """
    services = [of_service for _, of_service in weeks.group_by("service_id", maintain_order=True)]
    return [_weeks(of_service, labels or {}, lang) for of_service in services or [weeks]]


def _weeks(weeks: pl.DataFrame, labels: canvas.Labels, lang: str) -> alt.LayerChart:
    words = said(SUBSCRIPTIONS, lang) | dict(labels)
    names = pl.col("series").cast(pl.String).replace_strict(words, return_dtype=pl.String)
    title = canvas.name_shown(str(weeks["service"].first() or ""))
    plot = canvas.Plot(
        _periods(weeks, "week", lang).with_columns(name=names),
        " ".join([say("Who joined and left {service} in each week.", lang, service=title), *_paler(weeks, lang)]),
        x=canvas.TimeAxis(lang=lang, step=LENGTHS["week"]),
        y=canvas.Numbers("count"),
        tips=canvas.tips(lang, when="Period", name="Series", count="Value", cumulated="Cumulated"),
        series=canvas.Series("name", list(words.values()), theme().light.series[: len(words)]),
        title=title,
    )
    totals = dict(weeks.group_by("series").agg(pl.col("count").sum()).iter_rows())
    heads = {word: f"{word}: {number(totals.get(series, 0), lang=lang)}" for series, word in words.items()}
    return shapes.panels(plot, heads, False, lang)


def _periods(rows: pl.DataFrame, every: CalendarPeriod, lang: str) -> pl.DataFrame:
    """Add where the column of each period stands, and its name, `when`. In: `starts_on`, `is_whole`."""
    named = pl.Series([period_name(day, every, lang) for day in rows["starts_on"]], dtype=pl.String)
    dated = rows.rename({"starts_on": "starts_at"})
    return dated.with_columns(**by_the_clock(dated, LENGTHS[every], lang) | {"when": named})


def _paler(rows: pl.DataFrame, lang: str) -> list[str]:
    """What is said of the periods that are drawn paler, if there are any."""
    return [] if rows["is_whole"].all() else [say("Paler: periods that are not whole.", lang)]
