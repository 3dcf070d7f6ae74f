"""Charts of web tracking and web applications, from the frames of `analysis.web` and `analysis.webapp`."""

from collections.abc import Mapping
from typing import Annotated, Any

import altair as alt
import polars as pl

from trackkit.language import said, say, several, translatable
from trackkit.show.cells import OneOf
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
from trackkit.show.naming import path_title
from trackkit.show.wording import percent, with_share

__all__ = ["funnel_bars", "visit_columns"]

SERIES = translatable({"pages": "Other pages", "transactions": "Transactions"})
MOST_PERIODS = 1_000  # more are merged into longer periods
SHORT = 190  # pixels of height, beside a short table
LONGEST_STEP = 25  # letters of a step, beside the visitors lost before it


def visit_columns(
    activity: pl.DataFrame,
    every: Period = "24h",
    labels: Annotated[canvas.Labels | None, OneOf(SERIES)] = None,
    lang: str = "en",
) -> alt.Chart:
    """Draw the pages displayed and the transactions of each period, by the clock, until 95 % have happened.

    In: the frame of `web.visit_activity`, in periods of `every` or shorter ones; what is within three days is drawn by
    the hour.

    >>> visits = tk.consent.with_consent(store, tk.web.attribute_web(store))
    >>> visit_columns(tk.web.visit_activity(visits)).to_dict()["description"]
    'Pages and transactions of each period, by the clock.'
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
        height=SHORT,
    )
    return canvas.columns(plot)


def funnel_bars(steps: pl.DataFrame, lang: str = "en") -> alt.LayerChart:
    """Draw the share of those who began that reached each step of a path, with how many were lost before it in words.

    In: the frame of `webapp.funnel` for one path; the title names the application and the path.

    >>> steps = tk.webapp.funnel(tk.webapp.counted_pages(store))
    >>> funnel_bars(tk.webapp.by_path(steps, tk.webapp.counted_pages(store))[0]).to_dict()["description"]
    'Visitors who came as far as each step, out of those who began.'
    """
    rows = canvas.readable(steps, "page").sort("place")
    shown = rows.with_columns(
        step=pl.format("{}. {}", "place", pl.col("page").fill_null("")),
        name=pl.Series([_step(row, lang) for row in rows.iter_rows(named=True)], dtype=pl.String),
        said=pl.Series([_beside(row, lang) for row in rows.iter_rows(named=True)], dtype=pl.String),
    )
    plot = canvas.Plot(
        shown.select("step", "name", "visitors", "share", "lost", "loss_rate"),
        say("Visitors who came as far as each step, out of those who began.", lang),
        x=canvas.Numbers("share", written=canvas.PERCENT, is_count=False),
        y=canvas.Names("name", shown["name"].to_list()),
        tips=canvas.tips(
            lang,
            step="Step",
            visitors="Came this far",
            share="Share of those who began",
            lost="Lost",
            loss_rate="Loss since the step before",
        ),
        title=path_title(steps),
    )
    return shapes.labelled_bars(plot, shown.select("name", "said", end="share"))


def _step(row: Mapping[str, Any], lang: str) -> str:
    """A step, and how many were lost before it."""
    name = canvas.cut(f"{row['place']}. {row['page'] or ''}", LONGEST_STEP)
    if row["lost"] is None:
        return name
    share = percent(row["loss_rate"] or 0, 1, lang)
    return f"{name} · {several('{count} lost ({share})', '{count} lost ({share})', row['lost'], lang, share=share)}"


def _beside(row: Mapping[str, Any], lang: str) -> str:
    return with_share(row["visitors"], row["share"] or 0, row["started"], lang)
