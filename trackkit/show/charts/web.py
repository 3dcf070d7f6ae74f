"""Charts of web tracking and web applications, from the frames of `analysis.web` and `analysis.webapp`."""

from dataclasses import replace
from typing import Annotated, Any

import altair as alt
import polars as pl

from trackkit.language import said, say, translatable
from trackkit.show.cells import OTHERS, OneOf
from trackkit.show.charts import canvas, shapes
from trackkit.show.charts.clock import (
    STEPS,
    Period,
    by_the_clock,
    in_steps,
    later_words,
    per,
    periods_that_fit,
    step_that_fits,
    until_most,
    written,
    zone_of,
)
from trackkit.show.wording import number, percent

__all__ = ["funnel_bars", "source_bars", "source_name", "visit_columns"]

SERIES = translatable({"pages": "Pages", "transactions": "Transactions"})
NO_SOURCE = translatable("(no delivery known)")
MOST_PERIODS = 1_000  # more are merged into longer periods
ROOM = 1.25  # the axis extends beyond the longest bar, for the figure written beside it


def visit_columns(
    activity: pl.DataFrame,
    every: Period = "24h",
    labels: Annotated[canvas.Labels | None, OneOf(SERIES)] = None,
    lang: str = "en",
) -> alt.Chart:
    """Draw the pages displayed and the transactions of each period, by the clock, until 95 % have happened.

    In: the frame of `web.visit_activity`, in periods of `every` or shorter ones; what is within three days is drawn by
    the hour.
    """
    names, zone = said(SERIES, lang) | dict(labels or {}), zone_of(activity)
    shown, step = periods_that_fit(activity, STEPS[every], ["count"])
    longer = step_that_fits(shown, step, MOST_PERIODS)
    in_all, step = (shown if longer == step else in_steps(shown, longer, ["count"])), longer
    drawn = until_most(in_all, step, "count", int(in_all["count"].sum()))
    later = later_words(in_all, drawn, lang)
    daily = step not in ("1h", "3h")
    days = {"when": written(pl.col("starts_at").dt.date(), lang)} if daily else {}
    rows = drawn.select(
        "count",
        name=pl.col("series").cast(pl.String).replace(names),
        place=pl.col("series").to_physical(),
        **by_the_clock(drawn, step, lang) | days,
    )
    pages = say("Pages displayed", lang)
    plot = canvas.Plot(
        rows,
        f"{say('Pages and transactions of each period, by the clock.', lang)} {later}".rstrip(),
        x=canvas.TimeAxis(zone=zone, least="days" if daily else "minutes", lang=lang, step=step),
        y=canvas.Numbers("count", per(step, pages, lang), stacked=True),
        tips=canvas.tips(lang, when="From", name="Series") | {"count": pages},
        series=canvas.Series("name", list(names.values())),
    )
    return canvas.columns(plot)


def funnel_bars(steps: pl.DataFrame, lang: str = "en") -> alt.LayerChart:
    """Draw how many visitors of one web application reached each step, and, paler, how many were lost before it.

    In: the frame of `webapp.funnel` for one path; the title names the application and the path.
    """
    kept, lost = say("Came this far", lang), say("Lost since the step before", lang)
    shown = canvas.readable(steps, "page").with_columns(
        step=pl.format("{}. {}", "place", pl.col("page").fill_null("")),
        said=_beside("visitors", "share", lang),
    )
    chosen = ("place", "step", "share", "started", "loss_rate", "said")
    came = shown.select(*chosen, name=pl.lit(kept), nth=pl.lit(0), count="visitors")
    went = shown.drop_nulls("lost").select(*chosen, name=pl.lit(lost), nth=pl.lit(1), count="lost")
    plot = _plot(
        pl.concat([came, went]),
        say("Visitors at each step of the path, and those lost since the step before.", lang),
        "step",
        tips=canvas.tips(lang, step="Step", name="Series", count="Visitors", share="Share of those who began"),
        of=steps,
    )
    series = canvas.Series("name", [kept, lost], legend={"orient": "top", "labelLimit": 0})
    pale = alt.condition(alt.datum.nth == 1, alt.value(0.35), alt.value(1))
    drawn = canvas.bars(replace(plot, series=series, order="nth"), 22, cornerRadiusEnd=0).encode(opacity=pale)
    return _with_words(drawn, plot, alt.datum.nth == 0)


def source_bars(sources: pl.DataFrame, lang: str = "en") -> alt.LayerChart:
    """Draw where the visitors of one web application came from. In: the frame of `webapp.traffic_sources`."""
    # Numbered as in the table, since two deliveries may have the same label, and one may be found in two ways.
    name = source_name(lang)
    numbered = pl.when(pl.col("rank").is_null()).then("source").otherwise(pl.format("{}. {}", "rank", "source"))
    rows = canvas.readable(sources.with_columns(source=name), "source").select(
        place=pl.int_range(pl.len()),
        source=numbered,
        count="visitors",
        share="share",
        said=_beside("visitors", "share", lang),
    )
    plot = _plot(
        rows,
        say("Visitors by traffic source.", lang),
        "source",
        tips=canvas.tips(lang, source="Traffic source", count="Visitors", share="Share of visitors"),
        of=sources,
    )
    return shapes.labelled_bars(plot, rows.select(name="source", end="count", said="said"))


def _plot(rows: pl.DataFrame, description: str, group: str, tips: dict[str, str], of: pl.DataFrame) -> canvas.Plot:
    """A plot of counts by group with room for a figure beside each bar, titled with the web application and path."""
    longest = rows.group_by(group).agg(pl.col("count").sum()).select(pl.col("count").max().fill_null(0)).item()
    groups = rows.sort("place").unique(group, maintain_order=True)[group].to_list()
    named = of.select("web_application", "goal").unique().drop_nulls("web_application").rows()
    title = " · ".join(name for name in named[0] if name) if len(named) == 1 else ""
    axis = canvas.Numbers("count", most=ROOM * max(1, longest))
    return canvas.Plot(rows, description, x=axis, y=canvas.Names(group, groups, 34), tips=tips, title=title)


def _with_words(drawn: alt.Chart, plot: canvas.Plot, labelled: Any) -> alt.LayerChart:
    """Add a figure at the end of each bar."""
    text = canvas.bars(replace(plot, tips={})).transform_filter(labelled).mark_text(align="left", dx=5, aria=False)
    return canvas.layered(plot, drawn, text.encode(text="said:N"))


def _beside(count: str, share: str, lang: str) -> pl.Expr:
    """A count and its share as text; there are only a few rows, one for each bar."""
    return pl.struct(count, share).map_elements(
        lambda row: f"{number(row[count], lang=lang)} ({percent(row[share], 1, lang)})", return_dtype=pl.String
    )


def source_name(lang: str) -> pl.Expr:
    """The label of the source delivery; our own words for the others and for an unknown source."""
    nowhere, others = pl.lit(say(NO_SOURCE, lang)), pl.lit(say(OTHERS, lang))
    return pl.when(pl.col("rank").is_null()).then(others).otherwise(pl.coalesce("source", nowhere))
