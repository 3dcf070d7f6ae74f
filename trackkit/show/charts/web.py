"""Web tracking and web applications drawn, from the frames of `analysis.web` and `analysis.webapp`."""

from typing import Annotated, Any

import altair as alt
import polars as pl

from trackkit.language import said, say, translatable
from trackkit.show.cells import OTHERS, OneOf
from trackkit.show.charts.canvas import (
    SHARE,
    STEPS,
    WHOLE,
    Labels,
    Period,
    bars,
    by_the_clock,
    columns,
    readable,
    tip,
    titled,
    whole_numbers,
    written,
    zone_of,
)
from trackkit.show.charts.steps import in_steps, per, step_that_fits
from trackkit.show.wording import number, percent

SERIES = translatable({"pages": "Pages", "transactions": "Transactions"})
NO_SOURCE = translatable("(no delivery known)")
MOST_PERIODS = 1_000  # that are drawn as they were asked for
ROOM = 1.25  # the axis goes further than the longest bar, for the figure written beside it


def visit_columns(
    activity: pl.DataFrame,
    every: Period = "24h",
    labels: Annotated[Labels | None, OneOf(SERIES)] = None,
    lang: str = "en",
) -> alt.Chart:
    """Draw the pages displayed and the transactions of each period, by the clock. In: `web.visit_activity`."""
    names, zone = said(SERIES, lang) | dict(labels or {}), zone_of(activity)
    step = step_that_fits(activity, STEPS[every], MOST_PERIODS)
    drawn = activity if step == STEPS[every] else in_steps(activity, step, ["count"])
    daily = step not in ("1h", "3h")
    days = {"when": written(pl.col("starts_at").dt.date(), lang)} if daily else {}
    rows = drawn.select(
        "count",
        name=pl.col("series").cast(pl.String).replace(names),
        place=pl.col("series").to_physical(),
        **by_the_clock(drawn, step, lang) | days,
    )
    pages = say("Pages displayed", lang)
    return columns(
        rows,
        say("Pages and transactions of each period, by the clock.", lang),
        alt.Y(
            "count:Q",
            title=pages if step == STEPS[every] else per(step, pages, lang),
            stack="zero",
            axis=whole_numbers(),
        ),
        alt.Color("name:N", scale=alt.Scale(domain=list(names.values()))),
        [tip("when", say("From", lang)), tip("name", say("Series", lang)), tip("count", pages, WHOLE)],
        lang,
        zone,
        "days" if daily else "minutes",
    )


def funnel_bars(steps: pl.DataFrame, lang: str = "en") -> alt.LayerChart:
    """Draw how many visitors of one web application got how far, and, paler, who were lost since the step before.

    In: the frame of `webapp.funnel`, of one path, whose name, after that of its application, is the title.
    """
    kept, lost = say("Came this far", lang), say("Lost since the step before", lang)
    shown = readable(steps, "page").with_columns(
        step=pl.format("{}. {}", "place", pl.col("page").fill_null("")),
        said=_beside("visitors", "share", lang),
    )
    columns = ("place", "step", "share", "started", "loss_rate", "said")
    long = pl.concat([
        shown.select(*columns, name=pl.lit(kept), nth=pl.lit(0), count="visitors"),
        shown.drop_nulls("lost").select(*columns, name=pl.lit(lost), nth=pl.lit(1), count="lost"),
    ])  # fmt: skip
    base = _bars(long, say("Visitors at each step of the path, and those lost since the step before.", lang), "step")
    drawn = base.mark_bar(size=22, aria=False, cornerRadiusEnd=0).encode(
        color=alt.Color("name:N", scale=alt.Scale(domain=[kept, lost]), legend=alt.Legend(orient="top", labelLimit=0)),
        opacity=alt.condition(alt.datum.nth == 1, alt.value(0.35), alt.value(1)),
        order=alt.Order("nth:Q"),
        tooltip=[
            tip("step", say("Step", lang)),
            tip("name", say("Series", lang)),
            tip("count", say("Visitors", lang), WHOLE),
            tip("share", say("Share of those who began", lang), SHARE),
        ],
    )
    return _with_words(drawn, base, alt.datum.nth == 0, steps)


def source_bars(sources: pl.DataFrame, lang: str = "en") -> alt.LayerChart:
    """Draw where the visitors of one web application came from. In: the frame of `webapp.traffic_sources`."""
    # Numbered as in the table, since two deliveries may have one label, and one delivery may be found in two ways.
    name = source_name(lang)
    numbered = pl.when(pl.col("rank").is_null()).then("source").otherwise(pl.format("{}. {}", "rank", "source"))
    rows = readable(sources.with_columns(source=name), "source").select(
        place=pl.int_range(pl.len()), source=numbered, count="visitors", share="share",
        said=_beside("visitors", "share", lang),
    )  # fmt: skip
    base = _bars(rows, say("Visitors by traffic source.", lang), "source")
    drawn = base.mark_bar(size=16, aria=False).encode(
        tooltip=[
            tip("source", say("Traffic source", lang)),
            tip("count", say("Visitors", lang), WHOLE),
            tip("share", say("Share of visitors", lang), SHARE),
        ],
    )
    return _with_words(drawn, base, alt.datum.count >= 0, sources)


def _bars(rows: pl.DataFrame, described: str, group: str) -> alt.Chart:
    longest = max(1, rows.group_by(group).agg(pl.col("count").sum())["count"].max() or 0)
    groups = rows.sort("place").unique(group, maintain_order=True)[group].to_list()
    room = alt.Scale(domainMax=ROOM * longest, nice=False)
    return bars(rows, described, alt.X("count:Q", title=None, axis=whole_numbers(), scale=room), group, groups, 34)


def _with_words(drawn: alt.Chart, base: alt.Chart, which: Any, rows: pl.DataFrame) -> alt.LayerChart:
    """Bars with the figure written at the end of each, under the names of the web application and of its path."""
    text = base.transform_filter(which).mark_text(align="left", dx=5, aria=False).encode(text="said:N")
    named = rows.select("web_application", "goal").unique().drop_nulls("web_application").rows()
    title = " · ".join(name for name in named[0] if name) if len(named) == 1 else ""
    layers = alt.layer(drawn, text, description=base.description)
    return layers.properties(title=titled(title))


def _beside(count: str, share: str, lang: str) -> pl.Expr:
    """A count and its share as words; a few rows, each a bar."""
    return pl.struct(count, share).map_elements(
        lambda row: f"{number(row[count], lang=lang)} ({percent(row[share], 1, lang)})", return_dtype=pl.String
    )


def source_name(lang: str) -> pl.Expr:
    """The label of the source delivery; our own words for the others and for no source."""
    nowhere, others = pl.lit(say(NO_SOURCE, lang)), pl.lit(say(OTHERS, lang))
    return pl.when(pl.col("rank").is_null()).then(others).otherwise(pl.coalesce("source", nowhere))
