"""A chart of a recipient's story, from the frame of `analysis.story`."""

from collections.abc import Mapping
from datetime import datetime

import altair as alt
import polars as pl

from trackkit.language import said, say, several
from trackkit.show.charts import canvas, shapes
from trackkit.show.charts.clock import axis_instant, later_words, until_most, written, zone_of
from trackkit.show.theme import theme

__all__ = ["act_timeline"]

LANE, SMALLEST, LARGEST = 40, 60, 260  # pixels of height, and of area
MANY = 10  # acts that the largest dot stands for, at least


def act_timeline(
    acts: pl.DataFrame, labels: canvas.Labels, lang: str = "en", launched: datetime | None = None
) -> alt.Chart | alt.LayerChart:
    """Draw a story as a timeline: one lane per kind of act, one dot per moment, sized by the number of acts.

    In: the frame of `story.gathered` (`act`, `at`, `first_at`, `last_at`, `count`, `documents`, `document`); `labels`
    are the words of the acts, in the order of the lanes. A lane where nothing happened is not drawn. Where the instant
    `launched` is given, a line marks it, and the chart begins there and ends when 95 % of what readers did has
    happened; it says how many acts are not drawn.

    >>> moments = tk.story.gathered(tk.story.timeline(store, delivery=delivery))
    >>> act_timeline(moments, tk.story.ACT_LABELS).to_dict()["description"]
    'What happened when: sent, opened, clicked, bought, left.'
    """
    words = said(labels, lang)
    drawn, later = (acts, "") if launched is None else _until_most(*_since(acts, launched, lang), lang)
    rows = _moments(drawn, words, lang)
    lanes = [word for word in words.values() if word in set(rows["name"])]
    plot = canvas.Plot(
        rows,
        f"{say('What happened when: sent, opened, clicked, bought, left.', lang)} {later}".rstrip(),
        x=canvas.TimeAxis("at", zone_of(acts, "at"), padding=20, lang=lang),
        y=canvas.Names("name", lanes),
        tips=canvas.tips(lang, name="Act", since="From", until="To", count="Times", document="Document"),
        series=canvas.Series("name", list(words.values()), [_colour(act) for act in labels], legend=None),
        height=LANE * max(2, len(lanes)) + LANE // 2,
    )
    area = alt.Scale(
        type="sqrt", domain=[1, rows.select(pl.max_horizontal(pl.max("count"), MANY)).item()], range=[SMALLEST, LARGEST]
    )
    y = alt.Y("name:N", title=None, sort=lanes, axis=alt.Axis(grid=True, domain=False))
    dots = canvas.dots(plot, "count", area, opacity=0.75, stroke=theme().light.panel, strokeWidth=1).encode(y=y)
    at = [] if launched is None else shapes.near(drawn.rename({"at": "starts_at"}), [launched])
    return canvas.layered(plot, dots, beside=shapes.launches(at, lang)) if at else dots


def _since(acts: pl.DataFrame, launched: datetime, lang: str) -> tuple[pl.DataFrame, str]:
    """The acts from an hour before the launch on, and how many came earlier: all of them if none did."""
    is_since = pl.col("last_at") >= launched - shapes.NEAR
    since, before = acts.filter(is_since), acts.filter(~is_since)
    if since.is_empty() or before.is_empty():
        return acts, ""
    many = int(before["count"].sum())
    return since, several("{count} event came before the launch.", "{count} events came before the launch.", many, lang)


def _until_most(acts: pl.DataFrame, earlier: str, lang: str) -> tuple[pl.DataFrame, str]:
    """The acts until 95 % of what readers did has happened, and how many came earlier and later."""
    named = acts.rename({"at": "starts_at"})
    read = named.filter(~pl.col("act").cast(pl.String).is_in(["sent", "failed"]))
    if read.is_empty():
        return acts, earlier
    mostly = until_most(read, "1h", "count", int(read["count"].sum()))
    last = named["starts_at"].max() if mostly.height == read.height else mostly["starts_at"].max()
    kept = named.filter(pl.col("starts_at") <= last)
    return kept.rename({"starts_at": "at"}), f"{earlier} {later_words(named, kept, lang)}".strip()


def _colour(act: str) -> str:
    """What the reader did has the accent, what went wrong or ended the colour of limits; the sending is grey."""
    light = theme().light
    return {"sent": light.muted, "other": light.muted}.get(
        act, light.warn if act in ("failed", "left") else light.accent
    )


def _moments(acts: pl.DataFrame, words: Mapping[str, str], lang: str) -> pl.DataFrame:
    """The dots with their tooltips; a dot of several deliveries says how many."""
    delivery_counts = [several("{count} delivery", "{count} deliveries", count, lang) for count in acts["documents"]]
    zone = zone_of(acts, "at")
    name = pl.col("act").cast(pl.String).replace_strict(words, return_dtype=pl.String)
    named = canvas.readable(acts, "document").with_columns(name=name)
    return named.select(
        "name",
        "count",
        at=axis_instant(pl.col("at")),
        since=written(pl.col("first_at"), lang, zone),
        until=written(pl.col("last_at"), lang, zone),
        document=pl.coalesce("document", pl.Series(delivery_counts, dtype=pl.String)),
    )
