"""Charts of the audience: when it acts, what it opens with, which browsers and systems it uses day by day."""

from typing import Annotated, Literal

import altair as alt
import polars as pl
from babel.dates import get_day_names

from trackkit.language import said, say, translatable
from trackkit.schema import MAIL_PROXY
from trackkit.show.cells import OTHERS, UNKNOWN, OneOf
from trackkit.show.charts.canvas import (
    IN_LEGENDS,
    SERIES,
    SHARE,
    WHOLE,
    Labels,
    along,
    axis_instant,
    bars,
    chart,
    instants,
    named_series,
    readable,
    series_colour,
    short_labels,
    time_axis,
    tip,
    whole_numbers,
    written,
)
from trackkit.show.theme import theme

Slot = Literal["half_hour", "hour", "day"]
Measured = Literal["share", "count"]
KINDS = translatable({"computer": "Computer", "mobile": "Mobile", "unknown": "Unknown device"})


def slot_names(every: Slot, lang: str = "en") -> list[str]:
    """Return the words of the slots of a folded clock: weekdays from Monday, hours or half-hours from midnight.

    >>> slot_names("day")[0], slot_names("half_hour")[3]
    ('Monday', '01:30')
    """
    if every == "day":
        days = get_day_names("wide", "stand-alone", locale=lang)
        return [str(days[number]).capitalize() for number in range(7)]
    minutes = 60 if every == "hour" else 30
    return [f"{start // 60:02}:{start % 60:02}" for start in range(0, 24 * 60, minutes)]


def slots_named(folded: pl.DataFrame, every: Slot, lang: str = "en") -> dict[int, str]:
    """Return the words of the slots of `activities.folded_activity`, those twice on one day marked as such."""
    names, slots = slot_names(every, lang), dict(folded.select("slot", "twice").unique().sort("slot").iter_rows())
    return {
        slot: say("{time} (twice)", lang, time=names[slot]) if twice else names[slot] for slot, twice in slots.items()
    }


def folded_columns(
    folded: pl.DataFrame,
    every: Slot,
    measured: Measured = "share",
    labels: Annotated[Labels | None, OneOf(SERIES)] = None,
    lang: str = "en",
) -> alt.Chart:
    """Draw when in the week or the day each series happens, its columns side by side.

    In: the frame of `activities.folded_activity`. `measured` is "share", of the total of each series, so that few
    transactions show beside many opens; or "count". A series without events is not drawn.
    """
    words = slots_named(folded, every, lang)
    names = list(words.values())
    rows = named_series(folded.filter(pl.col("total") > 0), labels, lang).with_columns(
        when=pl.col("slot").replace_strict(words, return_dtype=pl.String)
    )
    values = {"share": ("Share of the total", alt.Axis(format="%", tickCount=5)), "count": ("Events", whole_numbers())}
    title, axis = values[measured]
    shown = alt.Axis(labelAngle=0, labelOverlap=True)
    return (
        chart(rows, say("When each series happens, by the clock of the report.", lang))
        .mark_bar(aria=False, cornerRadiusEnd=0)
        .encode(
            x=alt.X("when:N", title=None, sort=names, scale=alt.Scale(domain=names, paddingInner=0.2), axis=shown),
            xOffset=alt.XOffset("place:O"),
            y=alt.Y(f"{measured}:Q", title=say(title, lang), axis=axis),
            color=series_colour("name", labels, lang),
            tooltip=[
                tip("when", say("When", lang)),
                tip("name", say("Series", lang)),
                tip("count", say("Events", lang), WHOLE),
                tip("total", say("Total", lang), WHOLE),
                tip("share", say("Share", lang), SHARE),
            ],
        )
    )


translatable(("Share of the total", "Events"))


def opens_bars(
    opens: pl.DataFrame, labels: Annotated[Labels | None, OneOf(KINDS)] = None, lang: str = "en"
) -> alt.Chart:
    """Draw opens by name, the most first, each bar divided into computers, mobiles and unknown devices.

    In: the frame of `audience.opens_by`.
    """
    words = said(KINDS, lang) | dict(labels or {})
    named = _with_names(opens.filter(pl.col("row").cast(pl.String) != "total"), lang)
    rows = named.unpivot(list(KINDS), index=["label", "opens", "total"], variable_name="kind", value_name="count")
    rows = rows.filter(pl.col("count") > 0).with_columns(
        place=pl.col("kind").replace_strict({kind: place for place, kind in enumerate(KINDS)}, return_dtype=pl.Int64),
        kind=pl.col("kind").replace_strict(words, return_dtype=pl.String),
    )
    kinds, colours = [words[kind] for kind in KINDS], theme().light.series
    scale = alt.Scale(domain=kinds, range=[colours[0], colours[1], colours[-1]])
    described = say("Opens of each name, on computers, on mobiles and on unknown devices.", lang)
    x = alt.X("count:Q", title=say("Sum of opens", lang), stack="zero", axis=along(WHOLE))
    drawn = bars(rows, described, x, "label", named["label"].to_list(), 26).mark_bar(size=16, aria=False)
    return drawn.encode(
        color=alt.Color("kind:N", scale=scale, legend=alt.Legend(columns=2)),
        order=alt.Order("place:Q"),
        tooltip=[
            tip("label", say("Name", lang)),
            tip("kind", say("Device", lang)),
            tip("count", say("Value", lang), WHOLE),
            tip("opens", say("Opens of the name", lang), WHOLE),
            tip("total", say("Sum of opens", lang), WHOLE),
        ],
    )


def usage_history(history: pl.DataFrame, lang: str = "en") -> alt.LayerChart:
    """Draw the share of the visitors that each name had: a dot per day, the larger the more visitors, a line per week.

    In: the frame of `audience.history`.
    """
    rows = _with_names(history, lang).with_columns(
        starts_at=axis_instant(instants(history, "day")), when=written(pl.col("day"), lang)
    )
    title = say("Share of the day's visitors", lang)
    names = rows.sort("rank").unique("label", maintain_order=True)["label"].to_list()
    legend = alt.Legend(symbolOpacity=1, columns=3, **short_labels(names, IN_LEGENDS))
    base = chart(rows.drop("day", "name"), say("Share of the visitors of each day, by name.", lang)).encode(
        x=time_axis("starts_at", rows, lang, least="days"),
        y=alt.Y("rate:Q", title=title, axis=alt.Axis(format="%", tickCount=5)),
        color=alt.Color("label:N", scale=alt.Scale(domain=names), legend=legend),
        tooltip=[
            tip("when", say("Day", lang)),
            tip("label", say("Name", lang)),
            tip("visitors", say("Visitors", lang), WHOLE),
            tip("day_visitors", say("Visitors of the day", lang), WHOLE),
            tip("rate", say("Share", lang), SHARE),
            tip("week_rate", say("Share, last seven days", lang), SHARE),
        ],
    )
    # The line is that of the last seven days: a day of one visitor is at 0 % or 100 %, and its dot is small.
    line = base.mark_line(aria=False).encode(y=alt.Y("week_rate:Q", title=title))
    dots = base.mark_circle(aria=False, opacity=0.5)
    dots = dots.encode(size=alt.Size("day_visitors:Q", scale=alt.Scale(range=[6, 160]), legend=None))
    return alt.layer(dots, line, description=base.description)


def _with_names(rows: pl.DataFrame, lang: str) -> pl.DataFrame:
    """Add `label`, the name as shown; our own words end in a space, since a browser may itself be called "Others"."""
    is_others = pl.col("row").cast(pl.String) == "others" if "row" in rows.columns else pl.lit(False)
    label = pl.when(is_others).then(pl.lit(say(OTHERS, lang) + " ")).otherwise("name")
    rows = rows.with_columns(pl.col("name").replace({MAIL_PROXY: say(MAIL_PROXY, lang)}))
    return readable(rows, "name").with_columns(label=label.fill_null(say(UNKNOWN, lang) + " "))
