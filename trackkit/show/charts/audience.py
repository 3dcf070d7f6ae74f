"""Charts of the audience: when people act, on which devices they open, which browsers and systems they use by week."""

import itertools
import json
from collections.abc import Sequence
from typing import Annotated, Literal

import altair as alt
import polars as pl

from trackkit.language import said, say, several, translatable
from trackkit.schema import MAIL_PROXY
from trackkit.show.cells import OTHERS, UNKNOWN, OneOf
from trackkit.show.charts import canvas, shapes
from trackkit.show.charts.clock import axis_instant, instants, written
from trackkit.show.charts.labels import ends
from trackkit.show.naming import ENOUGH, SERIES, Slot, enough_weeks, slot_names, slots_named, version_label
from trackkit.show.theme import theme
from trackkit.show.wording import number, with_share

WEEK_WIDTH = 7 * 24 * 3_600_000  # of the axis, in milliseconds

__all__ = [
    "Measured",
    "folded_columns",
    "is_spread",
    "kinds_bar",
    "opens_bars",
    "usage_history",
    "usage_lines",
    "week_tiles",
]

WHEN = translatable(
    {
        "day": "On which day of the week each series happens.",
        "hour": "In which hour of the day each series happens, by the clock of the report.",
        "half_hour": "In which half-hour of the day each series happens, by the clock of the report.",
    }
)
Measured = Literal["share", "count"]
Heat = Literal["opens", "clicks", "transactions"]
WEEK = 7  # days
STEPS = 5  # of heat, besides none
PALE, FULL = 0.04, (0.24, 0.43, 0.62, 0.81, 1.0)  # opacities of no event, and of the steps
HEAT = translatable(
    {
        "opens": "Opens by weekday and hour, by the clock of the report.",
        "clicks": "Clicks by weekday and hour, by the clock of the report.",
        "transactions": "Transactions by weekday and hour, by the clock of the report.",
    }
)
KINDS = translatable({"computer": "Computer", "mobile": "Mobile", "unknown": "Unknown device"})


def is_spread(folded: pl.DataFrame, every: Slot, activity: pl.DataFrame) -> bool:
    """Whether a folded activity is worth drawing: by the hour from the second day on, by weekday after a week.

    In: the frames of `activities.folded_activity` and `activities.activity_over_time`. What has no event is shown, with
    the reason.

    >>> folded = tk.activities.folded_activity(store, delivery, every="hour")
    >>> is_spread(folded, "hour", tk.activities.activity_over_time(store, delivery, every="hour"))
    True
    """
    if activity.is_empty():
        return every != "day"
    days = activity.select((pl.col("starts_at").max() - pl.col("starts_at").min()).dt.total_hours() / 24).item()
    is_of_one = folded.filter(pl.col("count") > 0)["slot"].n_unique() == 1
    return bool(days >= WEEK and not is_of_one) if every == "day" else bool(days >= 1)


def folded_columns(
    folded: pl.DataFrame,
    every: Slot,
    measured: Measured = "share",
    labels: Annotated[canvas.Labels | None, OneOf(SERIES)] = None,
    lang: str = "en",
) -> alt.LayerChart:
    """Draw when in the week or the day each series happens, in a panel for each series.

    In: the frame of `activities.folded_activity`. `measured` is "share" (of the total of each series, so that few
    transactions are visible beside many opens) or "count". A series without events is not drawn.

    >>> folded = tk.activities.folded_activity(store, delivery, every="hour")
    >>> folded_columns(folded, "hour").to_dict()["description"]
    'In which hour of the day each series happens, by the clock of the report.'
    """
    words = slots_named(folded, every, lang)
    names = list(words.values())
    rows = canvas.named_series(folded.filter(pl.col("total") > 0), labels, lang).with_columns(
        when=pl.col("slot").replace_strict(words, return_dtype=pl.String)
    )
    axes = {
        "share": canvas.Numbers("share", None, canvas.PERCENT, is_count=False),
        "count": canvas.Numbers("count"),
    }
    plot = canvas.Plot(
        rows,
        say(WHEN[every], lang),
        x=canvas.Names("when", names),
        y=axes[measured],
        tips=canvas.tips(lang, when="When", name="Series", share="Share", count="Events", total="Total"),
        series=canvas.series_colours(labels, lang),
    )
    return shapes.panels(plot, _with_totals(rows, measured, lang), False, lang)


def _with_totals(rows: pl.DataFrame, measured: Measured, lang: str) -> dict[str, str]:
    """What stands above the panel of each series: of how many events it shows the shares."""
    totals = rows.select("name", "total").unique().rows()
    if measured == "count":
        return {name: name for name, _ in totals}
    return {
        name: say("{series}, share of {total}", lang, series=name, total=number(n, lang=lang)) for name, n in totals
    }


def opens_bars(
    opens: pl.DataFrame, labels: Annotated[canvas.Labels | None, OneOf(KINDS)] = None, lang: str = "en"
) -> alt.LayerChart:
    """Draw opens by name, the most first, what is unknown last, divided into computers, mobiles and unknown devices.

    In: the frame of `audience.opens_by`.

    >>> opens_bars(tk.audience.opens_by(store, "device", delivery)).to_dict()["description"]
    'Opens of each name, on computers, on mobiles and on unknown devices.'
    """
    words = said(KINDS, lang) | dict(labels or {})
    kind = pl.col("row").cast(pl.String)
    is_unknown = pl.col("name").is_null() & (kind == "group")
    named = _with_names(opens.filter(kind != "total").sort(is_unknown, maintain_order=True), lang)
    rows = named.unpivot(list(KINDS), index=["label", "opens", "total"], variable_name="kind", value_name="count")
    rows = rows.filter(pl.col("count") > 0).with_columns(
        share=pl.col("count") / pl.col("total"),
        place=pl.col("kind").replace_strict({kind: place for place, kind in enumerate(KINDS)}, return_dtype=pl.Int64),
        kind=pl.col("kind").replace_strict(words, return_dtype=pl.String),
    )
    colours = theme().light.series
    plot = canvas.Plot(
        rows,
        say("Opens of each name, on computers, on mobiles and on unknown devices.", lang),
        x=canvas.Numbers("count", stacked=True),
        y=canvas.Names("label", named["label"].to_list()),
        tips=canvas.tips(lang, label="Name", kind="Device", share="Share", count="Opens", total="Sum of opens"),
        series=canvas.Series("kind", [words[kind] for kind in KINDS], [colours[0], colours[1], colours[-1]]),
        order="place",
    )
    said_beside = [
        with_share(opens, opens / total, total, lang) for opens, total in named.select("opens", "total").rows()
    ]
    figures = named.select(name="label", end="opens", said=pl.Series(said_beside, dtype=pl.String))
    return shapes.labelled_bars(plot, figures)


def kinds_bar(
    opens: pl.DataFrame, labels: Annotated[canvas.Labels | None, OneOf(KINDS)] = None, lang: str = "en"
) -> alt.Chart:
    """Draw the opens on computers, on mobiles and on unknown devices as one bar from 0 to 100 %.

    In: the frame of `audience.opens_by`.

    >>> kinds_bar(tk.audience.opens_by(store, "device", delivery)).to_dict()["description"]
    'Opens on computers, on mobiles and on unknown devices.'
    """
    words = said(KINDS, lang) | dict(labels or {})
    total = opens.filter(pl.col("row").cast(pl.String) == "total", pl.col("total") > 0)
    parts = total.unpivot(list(KINDS), index="total", variable_name="indicator", value_name="count")
    parts = parts.select(
        place=pl.int_range(pl.len()),
        indicator=pl.col("indicator").replace_strict(words, return_dtype=pl.String),
        count="count",
        whole="total",
        share=pl.col("count") / pl.col("total"),
    )
    return shapes.parts_bar(parts, say("Opens on computers, on mobiles and on unknown devices.", lang), lang)


def usage_history(history: pl.DataFrame, lang: str = "en") -> alt.LayerChart:
    """Draw each name's share of the visitors: a dot per day, sized by visitors, and a line for the last seven days.

    In: the frame of `audience.history`.

    >>> usage_history(tk.audience.history(store, "browser")).to_dict()["description"]
    'Share of the visitors of each day, by name.'
    """
    rows = _with_names(history, lang).with_columns(
        starts_at=axis_instant(instants(history, "day")), when=written(pl.col("day"), lang)
    )
    names = rows.sort("rank").unique("label", maintain_order=True)["label"].to_list()
    axis = canvas.Numbers("rate", say("Share of the day's visitors", lang), canvas.PERCENT, is_count=False)
    plot = canvas.Plot(
        rows.drop("day", "name"),
        say("Share of the visitors of each day, by name.", lang),
        x=canvas.TimeAxis(least="days", lang=lang),
        y=axis,
        tips=canvas.tips(
            lang,
            when="Day",
            label="Name",
            rate="Share",
            visitors="Visitors",
            day_visitors="Visitors of the day",
            week_rate="Share, last seven days",
        ),
        series=canvas.Series(
            "label", names, legend={"symbolOpacity": 1, "columns": 3, **canvas.short_labels(names, canvas.IN_LEGENDS)}
        ),
    )
    days = canvas.dots(plot, "day_visitors", alt.Scale(range=[6, 160]), opacity=0.5)
    # The line covers seven days, since a day with one visitor is at 0 % or 100 %; its dot is small.
    weeks = canvas.lines(plot).encode(y=alt.Y("week_rate:Q", title=axis.title))
    return canvas.layered(plot, days, weeks)


def usage_lines(weekly: pl.DataFrame, lang: str = "en") -> alt.LayerChart:
    """Draw each name's share of the visitors of a week as a line, with its name at the end.

    In: the frame of `audience.weekly`, of names or of versions, of which the others together are no line. Weeks of
    fewer than 20 visitors are only in the tables, unless there are no others; the description says how many.

    >>> usage_lines(tk.audience.weekly(store, "browser")).to_dict()["description"]
    'Share of the visitors of each week, by name.'
    """
    weeks = enough_weeks(weekly)
    few = weekly["week"].n_unique() - weeks["week"].n_unique()
    is_split = weekly["version"].is_not_null().any()
    drawn = weeks.filter(pl.col("row").cast(pl.String) != "others") if is_split else weeks
    rows = _named_lines(drawn, lang)
    names = rows.sort("place").unique("label", maintain_order=True)["label"].to_list()
    colours = [*theme().light.series[: len(names)]]
    colours[-1:] = [theme().light.series[-1]] if rows["is_others"].any() else colours[-1:]
    top = rows.select((pl.col("share").max().fill_null(1) * 10).ceil().clip(1) / 10).item()
    plot = canvas.Plot(
        _in_runs(rows).drop("is_others"),
        _weeks_described(few, is_split, lang),
        x=canvas.TimeAxis(least="days", lang=lang),
        y=canvas.Numbers(
            "share", say("Share of the week's visitors", lang), canvas.PERCENT, is_count=False, stacked=False, most=top
        ),
        tips=canvas.tips(
            lang,
            when="Week from",
            label="Name",
            share="Share",
            visitors="Visitors",
            week_visitors="Visitors of the week",
        ),
        series=canvas.Series("label", names, colours, legend=None),
    )
    words = ends(rows, "starts_at", "share", "label", canvas.HEIGHT, top)
    chart = canvas.with_ends(plot, words, names, colours, point=alt.OverlayMarkDef(size=24))
    chart.layer[0] = chart.layer[0].encode(detail="run:O")
    return chart


def _weeks_described(few: int, is_split: bool, lang: str) -> str:
    words = say("Share of the visitors of each week, by name.", lang)
    if is_split:
        words = say("Share of the visitors of each week who use the most common versions.", lang)
    if not few:
        return words
    return several(
        "{words} {count} week of fewer than {least} visitors is not drawn.",
        "{words} {count} weeks of fewer than {least} visitors are not drawn.",
        few,
        lang,
        words=words,
        least=ENOUGH,
    )


def _in_runs(rows: pl.DataFrame) -> pl.DataFrame:
    """Number in `run` the weeks that follow each other: lines break between runs, where a week is not drawn."""
    weeks = rows.select(pl.col("starts_at").unique().sort())
    is_new = pl.col("starts_at").diff() > WEEK_WIDTH
    return rows.join(weeks.with_columns(run=is_new.fill_null(False).cum_sum()), on="starts_at", maintain_order="left")


def _named_lines(weekly: pl.DataFrame, lang: str) -> pl.DataFrame:
    """The rows of lines: named, the others last."""
    is_others = pl.col("row").cast(pl.String) == "others"
    unknown = pl.lit(say(UNKNOWN, lang))
    version = pl.when(pl.col("version").is_not_null()).then(version_label())
    is_split = weekly["version"].is_not_null().any()
    plain_name = pl.format("{} {}", "name", unknown) if is_split else pl.col("name")
    proxies = weekly.with_columns(pl.col("name").replace({MAIL_PROXY: say(MAIL_PROXY, lang)}).fill_null(unknown))
    named = canvas.readable(proxies.with_columns(label=pl.coalesce(version, plain_name)), "label")
    return named.select(
        "visitors",
        "week_visitors",
        "share",
        label=pl.when(is_others).then(pl.lit(say(OTHERS, lang) + " ")).otherwise("label"),
        place=pl.col("rank").fill_null(pl.col("rank").max().fill_null(0) + 1),
        is_others=is_others,
        starts_at=axis_instant(instants(weekly, "week")),
        when=written(pl.col("week"), lang),
    )


def week_tiles(weekly: pl.DataFrame, series: Heat = "clicks", lang: str = "en") -> alt.Chart:
    """Draw how much happens in each hour of the week: a tile per weekday and hour, the fuller the more events.

    In: the frame of `activities.weekly_activity`. Each step reaches three times as far as the one before, the last to
    the busiest hour, which has a frame; the legend has their counts. An hour that clocks never showed has no tile.

    >>> week_tiles(tk.activities.weekly_activity(store, delivery)).to_dict()["description"]
    'Clicks by weekday and hour, by the clock of the report.'
    """
    rows = weekly.filter(pl.col("series").cast(pl.String) == series)
    rows = rows if rows["count"].sum() else rows.clear()
    days, hours = slot_names("day", lang), slot_names("hour", lang)
    most = rows.select(pl.col("count").max().fill_null(0)).item()
    hour = pl.col("hour").replace_strict(dict(enumerate(hours)), return_dtype=pl.String)
    day = pl.col("weekday").replace_strict(dict(enumerate(days)), return_dtype=pl.String)
    twice = say("{time} (twice)", lang, time="{} {}")
    named = rows.select(
        "count",
        "total",
        "share",
        day=day,
        hour=hour,
        when=pl.when("twice").then(pl.format(twice, day, hour)).otherwise(pl.format("{} {}", day, hour)),
        is_busiest=(pl.col("count") == most).cast(pl.Int8),
    )
    plot = canvas.Plot(
        named,
        say(HEAT[series], lang),
        x=canvas.Names("hour", hours),
        y=canvas.Names("day", days),
        tips=canvas.tips(lang, when="When", share="Share", count="Events", total="Total"),
        height=24 * len(days),
    )
    return _heated(canvas.tiles(plot, strokeWidth=1), _heat_steps(most), hours, lang)


def _heat_steps(most: int) -> list[int]:
    """The largest count of each step, from none to the most: each is three times the one before, since hours differ so.

    >>> _heat_steps(2018), _heat_steps(4), _heat_steps(0)
    ([0, 25, 75, 225, 673, 2018], [0, 1, 2, 4], [0])
    """
    return sorted({0, *(-(-most // 3**step) for step in range(STEPS))})


def _step_names(ends: Sequence[int], lang: str) -> list[str]:
    """The counts of each step in words.

    >>> _step_names([0, 1, 2, 4], "en")
    ['0', '1', '2', '3–4']
    """
    ranges = [(0, 0), *((before + 1, end) for before, end in itertools.pairwise(ends))]
    return ["–".join(number(end, lang=lang) for end in sorted({first, last})) for first, last in ranges]


def _heated(chart: alt.Chart, ends_of: Sequence[int], hours: list[str], lang: str) -> alt.Chart:
    """Colour tiles by their step, frame the busiest, and label every third hour."""
    opacities = [PALE, *FULL[len(FULL) - len(ends_of) + 1 :]]
    starts = [end + 1 for end in ends_of[:-1]]
    scale = alt.Scale(type="threshold", domain=starts or [1], range=opacities if starts else [PALE, 1])
    names = f"{json.dumps(_step_names(ends_of, lang))}[datum.index]"
    legend = alt.Legend(type="symbol", symbolType="square", symbolSize=140, labelExpr=names, columns=3)
    axis = alt.Axis(
        values=hours[::3],
        labelExpr="slice(datum.label, 0, 2)",
        labelAngle=0,
        labelOverlap=False,
        ticks=False,
        domain=False,
        grid=False,
    )
    light = theme().light
    drawn: alt.Chart = chart.encode(
        x=alt.X("hour:N", title=None, sort=hours, scale=alt.Scale(domain=hours, padding=0), axis=axis),
        opacity=alt.Opacity("count:Q", scale=scale, legend=legend),
        stroke=alt.condition(alt.datum.is_busiest == 1, alt.value(light.ink), alt.value(light.panel)),
    )
    return drawn


def _with_names(rows: pl.DataFrame, lang: str) -> pl.DataFrame:
    """Add `label`, the name as shown; our own words end in a space, since a browser may be called "Others"."""
    is_others = pl.col("row").cast(pl.String) == "others" if "row" in rows.columns else pl.lit(False)
    label = pl.when(is_others).then(pl.lit(say(OTHERS, lang) + " ")).otherwise("name")
    rows = rows.with_columns(pl.col("name").replace({MAIL_PROXY: say(MAIL_PROXY, lang)}))
    return canvas.readable(rows, "name").with_columns(label=label.fill_null(say(UNKNOWN, lang) + " "))
