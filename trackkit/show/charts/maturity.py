"""Charts of a delivery that is not finished: what had happened by which time since each message's own sending."""

import altair as alt
import polars as pl

from trackkit.language import said, say
from trackkit.show.charts import canvas
from trackkit.show.charts.overview import NAMES
from trackkit.show.theme import theme

__all__ = ["growth"]

DRAWN = ("opens", "clicks")
STEPS = 60  # of each curve that are drawn: more cannot be told apart


def growth(curves: pl.DataFrame, lang: str = "en") -> alt.LayerChart | None:
    """Draw the share of messages opened and clicked by each time since their own sending, with a band of 95 %.

    In: the frame of `maturity.growing`. None where it has no event.

    >>> growth(tk.maturity.growing(store, "7471233")).to_dict()["description"]
    "Share of messages opened and clicked, by time since each message's own sending; band: 95%."
    """
    if curves.filter(pl.col("events") > 0).is_empty():
        return None
    name = pl.col("series").replace_strict(said(NAMES, lang), return_dtype=pl.String).alias("name")
    place = (STEPS * pl.col("hours") / pl.col("hours").max()).cast(pl.Int64)
    rows = curves.filter(pl.struct("series", place).is_last_distinct() | (pl.col("hours") == 0)).with_columns(name)
    names, light = [say(NAMES[series], lang) for series in DRAWN if series in set(curves["series"])], theme().light
    series = canvas.Series("name", names, [light.series[place] for place in range(len(names))])
    plot = canvas.Plot(
        rows,
        say("Share of messages opened and clicked, by time since each message's own sending; band: 95%.", lang),
        x=canvas.Numbers("hours", say("Hours since its own sending", lang), ".2~f", is_count=False),
        y=canvas.Numbers("share_so_far", None, canvas.PERCENT, is_count=False, stacked=False),
        tips=canvas.tips(
            lang,
            name="Series",
            hours="Hours since its own sending",
            share_so_far="Share so far",
            low="At least",
            high="At most",
            events="Messages so far",
            at_risk="Messages still watched",
        ),
        series=series,
        written={"hours": ".2f"},
    )
    return canvas.layered(plot, canvas.lines(plot, interpolate="step-after"), beside=[_band(rows, series)])


def _band(rows: pl.DataFrame, series: canvas.Series) -> alt.Chart:
    colour = alt.Color("name:N", scale=alt.Scale(domain=list(series.names), range=list(series.colours or [])))
    known = rows.drop_nulls("low").select("hours", "low", "high", "name")
    band = canvas.Picture(known).mark_area(opacity=0.15, interpolate="step-after", aria=False)
    drawn: alt.Chart = band.encode(x="hours:Q", y="low:Q", y2="high:Q", color=colour)
    return drawn
