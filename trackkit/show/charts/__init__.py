"""Tidy frame in, altair chart out. Every chart says in words what it shows, and can be restyled by its caller.

Here are the charts of one delivery's figures; each subject has a module, as in `charts.audience.opens_bars`. All of
them are based on `charts.canvas`.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal

import altair as alt
import polars as pl
from babel.dates import format_date

from trackkit.clock import CALLED
from trackkit.language import say, translatable
from trackkit.metrics import METRICS, part_of
from trackkit.show.cells import OTHERS, RATES, UNKNOWN, OneOf, headline, is_open, label_of
from trackkit.show.charts import audience, canvas, maturity, overview, platform, sending, shapes, story, web
from trackkit.show.charts.canvas import use_everywhere
from trackkit.show.charts.clock import (
    APART,
    MOST,
    SHORTENED,
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
from trackkit.show.charts.labels import ends
from trackkit.show.charts.measured import bars, dots, heatmap, intervals, lines
from trackkit.show.findings.finding import CASES
from trackkit.show.naming import SERIES
from trackkit.show.theme import theme
from trackkit.show.wording import elapsed, percent, round_percent

__all__ = [
    "CurveKind",
    "LinkPeriod",
    "activity_columns",
    "audience",
    "bars",
    "click_days",
    "dots",
    "heatmap",
    "intervals",
    "lines",
    "maturity",
    "overview",
    "pareto_curve",
    "platform",
    "rate_bars",
    "sending",
    "story",
    "use_everywhere",
    "web",
]
CurveKind = Literal["area", "line"]
LinkPeriod = Literal["hour", "day", "month"]
# Labels in hours for parts of a day, in days for whole days.
ELAPSED_LABEL = "datum.value % 24 == 0 && datum.value > 0 ? {days} : {hours}"
ELAPSED_TICKS = (
    0,
    1,
    3,
    6,
    12,
    *(24 * days for days in (1, 2, 4, 7, 14, 21, 28, 56, 84, 168, 365, 730, 1095, 1825, 3650)),
)
SQUARE_ROOT = alt.Scale(type="sqrt", nice=False)
OTHERS_PLACE = 1_000_000
RATE_ROWS = {
    **{"order": pl.Int64, "group": pl.String, "name": pl.String, "place": pl.Int64, "rate": pl.Float64},
    **{"numerator": pl.Int64, "denominator": pl.Int64, "over": pl.String},
}
ADVISED, AT_LEAST, OF_ALL = translatable(
    ("{label}, advised up to {rate}", "{label}, at least {rate}", "{label}, all: {rate}")
)
APART_FROM_DAY = " · "
MOST_NAMED = 3  # deliveries that a chart does not draw
SINCE_LAUNCH: Mapping[bool, str] = translatable(  # by whether the delivery is not over
    {
        False: "Share of the total of each series, by time since the launch.",
        True: "Share of the total so far of each series, by time since the launch: 100% is what is known by now.",
    }
)
FAR = 1.5  # a line further away than this, in terms of the highest rate, is only in the legend
MOST_LINKS = 4  # with a colour of their own
MOST_POINTS = 1_000  # of a curve
MOST_DAYS = 366  # that are drawn as days


def pareto_curve(
    cumulated: pl.DataFrame,
    kind: CurveKind = "line",
    labels: Annotated[canvas.Labels | None, OneOf(SERIES)] = None,
    lang: str = "en",
    pace: pl.DataFrame | None = None,
) -> alt.LayerChart:
    """Draw the share of each series' total that had happened by each time after the launch.

    In: the frame of `curves.cumulative_activity` (`hours`, `series`, `cumulated`, `total`, `share`). `kind` is "line"
    or "area". A series without events is not drawn; the axis ends when each series has reached 95 %. With the frame of
    `sending.pace`, a delivery that is not over is said of as it is so far.

    >>> pareto_curve(tk.curves.cumulative_activity(store, delivery)).to_dict()["description"]
    'Share of the total of each series, by time since the launch. The last events came after 13 d 17 h.'
    """
    rows = canvas.named_series(_thinned(cumulated.filter(pl.col("total") > 0)), labels, lang)
    drawn = rows.filter(pl.col("hours") <= _mostly_over(rows))
    series, colours = canvas.series_colours(labels, lang), theme().light.series
    described = say(SINCE_LAUNCH[is_open(pace)], lang)
    plot = canvas.Plot(
        drawn,
        f"{described} {_later(rows, drawn, lang)}".rstrip(),
        x=canvas.Numbers("hours"),
        y=canvas.Numbers("share", None, ".0%", is_count=False, stacked=False),
        tips=canvas.tips(
            lang, hours="Hours since the launch", name="Series", share="Share", cumulated="Cumulated", total="Total"
        ),
        series=canvas.Series("name", series.names, legend=None),
    )
    # Half of all clicks come within hours, the last after weeks: on a linear axis the curve would be a corner.
    hours = alt.X("hours:Q", title=None, axis=_elapsed(drawn["hours"], lang), scale=SQUARE_ROOT)
    area, line = canvas.lines(plot, area=0.1 if kind == "area" else 0.0), canvas.lines(plot)
    whole = alt.Y("share:Q", title=None, axis=alt.Axis(format=".0%", tickCount=5), scale=alt.Scale(domain=[0, 1]))
    curves = [area.encode(x=hours), line.encode(x=hours, y=whole)][kind == "line" :]
    named = ends(drawn, "hours", "share", "name", canvas.HEIGHT, 1.0)
    beside = canvas.at_ends(named, "hours:Q", series.names, colours[: len(series.names)])
    return canvas.with_room(canvas.layered(plot, *curves, beside=beside), named)


def _mostly_over(rows: pl.DataFrame) -> int:
    """The hour at which each series has reached 95 % of its total, if that is early; else the last one."""
    reached = rows.filter(pl.col("share") >= MOST).group_by("name").agg(pl.col("hours").min())
    last, mostly = (frame.select(pl.col("hours").max().fill_null(0)).item() for frame in (rows, reached))
    return int(mostly if mostly <= SHORTENED * last else last)


def _later(rows: pl.DataFrame, drawn: pl.DataFrame, lang: str) -> str:
    """Until when the events came that are not drawn."""
    if rows.height == drawn.height:
        return ""
    last = elapsed(timedelta(hours=int(rows["hours"].max())), lang)  # type: ignore[arg-type]
    return say("The last events came after {time}.", lang, time=last)


def _thinned(cumulated: pl.DataFrame) -> pl.DataFrame:
    """If there are too many points, keep the last one at each of a thousand places along the axis."""
    if cumulated.height <= 3 * MOST_POINTS:
        return cumulated
    place = (MOST_POINTS * (pl.col("hours") / pl.col("hours").max()).sqrt()).cast(pl.Int64)
    last = pl.struct("series", place).is_last_distinct()
    return cumulated.filter(last | (pl.col("hours") == 0))


def activity_columns(
    activity: pl.DataFrame,
    every: Period = "1h",
    days: int | None = None,
    labels: Annotated[canvas.Labels | None, OneOf(SERIES)] = None,
    lang: str = "en",
    launched: Sequence[datetime] = (),
) -> alt.LayerChart:
    """Draw what happened when, by the clock: a panel for each series, each on a scale of its own.

    In: the frame of `curves.activity` or `activities.activity_over_time` (`starts_at`, in the zone shown; `series`,
    `count`), in periods of `every` or shorter ones; what is within three days is drawn by the hour. The chart ends when
    95 % of the events have happened, at the latest after `days`, and says how many came later; if most came after
    `days`, they are drawn in longer periods. Lines mark the instants `launched`.

    >>> activity = tk.curves.activity(store, delivery, every="24h")
    >>> activity_columns(activity, every="24h").to_dict()["description"]
    'Opens, clicks and transactions of each period, by the clock. Not drawn: 2 later events until Sun, 2026-11-15.'
    """
    activity, step = periods_that_fit(activity, STEPS[every], ["count"])
    drawn, step = _first_days(activity, step, days)
    drawn = until_most(drawn, step, "count", _total(activity))
    rows = canvas.named_series(drawn, labels, lang).with_columns(**by_the_clock(drawn, step, lang))
    later = later_words(activity, drawn, lang)
    described = say("Opens, clicks and transactions of each period, by the clock.", lang)
    plot = canvas.Plot(
        rows,
        f"{described} {later}".rstrip(),
        x=canvas.TimeAxis(zone=zone_of(drawn), lang=lang, step=step),
        y=canvas.Numbers("count"),
        tips=canvas.tips(lang, when="From", name="Series") | {"count": say("Events", lang)},
        series=canvas.series_colours(labels, lang),
    )
    return shapes.panels(plot, _heads(rows, step, lang), False, lang, shapes.near(drawn, launched))


def _heads(rows: pl.DataFrame, step: str, lang: str) -> dict[str, str]:
    """What stands above each panel, such as "Sum of opens per day"."""
    return {name: per(step, name, lang) for name in rows["name"].unique()}


def _first_days(activity: pl.DataFrame, step: str, days: int | None) -> tuple[pl.DataFrame, str]:
    """Return the part of an activity that is drawn, and the length of its periods."""
    drawn = activity if days is None else activity.filter(_within(days))
    if days is not None and 2 * _total(drawn) >= _total(activity):
        return drawn, step
    longer = step_that_fits(activity, step) if days is not None or drawn.height > canvas.MOST_ROWS else step
    return (activity, step) if longer == step else (in_steps(activity, longer, ["count"]), longer)


def _total(activity: pl.DataFrame) -> int:
    return int(activity["count"].sum())


def click_days(
    per_day: pl.DataFrame,
    labels: Annotated[canvas.Labels | None, OneOf(["others"])] = None,
    lang: str = "en",
    every: LinkPeriod = "day",
) -> alt.Chart:
    """Draw the clicks of each day, one colour for each of the four links clicked most, and one for the others.

    In: the frame of `links.clicks_per_day` (`day` or, of hours, `starts_at`; `rank`, `row`, `link`, `clicks`), in
    periods of `every` or shorter ones; hours within three days are drawn as they are. The chart ends when 95 % of the
    clicks have happened, and says how many came later.

    >>> per_day = tk.links.clicks_per_day(store, delivery)
    >>> click_days(per_day).to_dict()["description"]
    'Clicks of each day, by link.'
    """
    named = _four_links(per_day).rename({"clicks": "count"})
    shown, step = periods_that_fit(named, CALLED[every], ["count"])
    step = step_that_fits(shown, step, MOST_DAYS)
    in_all = shown if step == CALLED[every] else in_steps(shown, step, ["count"])
    kept = until_most(in_all, step, "count", _total(in_all))
    later, clicks = later_words(in_all, kept, lang), say("Link clicks", lang)
    rows = _links_by_the_clock(kept.rename({"count": "clicks"}), step, labels, lang)
    keys, colours = _link_colours(rows)
    legend = {"orient": "bottom", "columns": 1, **canvas.short_labels(keys, canvas.IN_LEGENDS)}
    plot = canvas.Plot(
        rows.drop("link"),
        f"{say('Clicks of each day, by link.' if step == '1d' else 'Clicks by link.', lang)} {later}".rstrip(),
        x=canvas.TimeAxis(zone=zone_of(shown), step=step, lang=lang),
        y=canvas.Numbers("clicks", clicks if step == "1d" else per(step, clicks, lang), stacked=True),
        tips=canvas.tips(lang, when="Day" if step == "1d" else "From", key="Link") | {"clicks": clicks},
        series=canvas.Series("key", keys, colours, legend),
    )
    return canvas.columns(plot)


def _links_by_the_clock(drawn: pl.DataFrame, step: str, labels: canvas.Labels | None, lang: str) -> pl.DataFrame:
    """The clicks of links with their places on the axis, in tooltips and in the legend."""
    days = {"when": written(pl.col("starts_at").cast(pl.Date), lang)} if step in APART else {}
    shown = canvas.readable(drawn, "link").select(
        "link",
        "clicks",
        # The others come last, even if a link is called "Others" too.
        place=pl.col("rank").cast(pl.Int64).fill_null(OTHERS_PLACE),
        **by_the_clock(drawn, step, lang) | days,
    )
    return shown.with_columns(key=_link_key(labels, lang))


def _four_links(per_day: pl.DataFrame) -> pl.DataFrame:
    """The clicks of the four links clicked most, and of all others together."""
    is_other = pl.col("rank").is_null() | (pl.col("rank") > MOST_LINKS)
    others = {"rank": None, "row": "others", "link": OTHERS}
    starts = per_day if "starts_at" in per_day.columns else per_day.rename({"day": "starts_at"})
    named = starts.with_columns(
        pl.when(~is_other).then(pl.col(name)).otherwise(pl.lit(word)).cast(starts.schema[name])
        for name, word in others.items()
    )
    sums = named.group_by("starts_at", "rank", "row", "link", maintain_order=True).agg(pl.col("clicks").sum())
    return sums.sort("starts_at", "rank", nulls_last=True)


def rate_bars(
    measured: pl.DataFrame,
    by: str,
    rates: Annotated[Sequence[str] | None, RATES],
    lang: str = "en",
    ceilings: Annotated[Mapping[str, float] | None, RATES] = None,
    total: pl.DataFrame | None = None,
    timezone: str = "UTC",
    floors: Annotated[Mapping[str, float] | None, RATES] = None,
    labels: canvas.Labels | None = None,
) -> alt.LayerChart:
    """Draw rates by group, a dot for each rate, in the order of the frame.

    In: a frame of `measure` with the column `by`, the rates and their parts, or of `several.side_by_side`: names of
    deliveries are followed by the day of the launch. A rate that is null has no dot, which the description explains if
    the frame does; if all are 0, or there are none, nothing is drawn. A dashed line marks each rate's ceiling in
    `ceilings`, or its floor in `floors`, and what is above or below is written beside its dot; or else a line marks the
    rates of `total`, a frame of `measure` with one row. `labels` are the words for rates, by default their own.

    >>> by_domain = tk.measure(store, "open_rate", by="domain", delivery=delivery)
    >>> rate_bars(by_domain, "domain", ["open_rate"]).to_dict()["description"]
    'Open rate (recipients), by domain.'
    """
    shown, rates = canvas.readable(measured, by), rates or []
    drawn = [
        _rate_rows(shown, by, name, place, label_of(name, lang, labels), lang, ceilings, floors)
        for place, name in enumerate(rates)
    ]
    rows = pl.concat([pl.DataFrame(schema=RATE_ROWS), *drawn], how="vertical_relaxed")
    rows = (rows if (rows["rate"] > 0).any() else rows.clear()).drop_nulls("rate")
    names = [label_of(name, lang, labels) for name in rates]
    lines = _lines(rates, {**(floors or {}), **(ceilings or {})}, total, lang)
    words = _limits_in_words(rates, names, lines, floors or {}, ceilings or {}, lang)
    description = say("{rates}, by {group}.", lang, rates=", ".join(names), group=headline(by, lang).lower())
    plot = canvas.Plot(
        rows,
        " ".join(
            [description, *(_undrawn(shown, by, dict(zip(rates, names, strict=True)), lang) if rows.height else [])]
        ),
        x=canvas.Numbers("rate", None, canvas.PERCENT, is_count=False),
        y=canvas.Names("group", _groups(rows), 26),
        tips={"group": headline(by, lang)}
        | canvas.tips(lang, name="Rate", rate="Value", numerator="Numerator", denominator="Denominator"),
        series=canvas.Series("name", names, legend=_rate_legend(names, words)),
    )
    furthest = FAR * rows.select(pl.col("rate").max().fill_null(0)).item()
    near = [mark for mark in lines.values() if mark.at <= furthest] if rows.height else []
    dated = _with_days(shown, by, timezone, lang) if "launched_at" in shown.columns else None
    return shapes.dot_plot(plot, near, dated)


def _limits_in_words(
    rates: Sequence[str],
    names: Sequence[str],
    lines: Mapping[str, Any],
    floors: Mapping[str, float],
    ceilings: Mapping[str, float],
    lang: str,
) -> list[str]:
    """The name of each rate in the legend, with its limit or what it is of all."""
    said_of = dict.fromkeys(floors, AT_LEAST) | dict.fromkeys(ceilings, ADVISED)
    return [
        say(said_of.get(name, OF_ALL), lang, label=label, rate=lines[name].words) if name in lines else label
        for name, label in zip(rates, names, strict=True)
    ]


def _with_days(measured: pl.DataFrame, by: str, timezone: str, lang: str) -> dict[str, str]:
    """The names of deliveries beside an axis, by name: as long as there is room before the day of the launch."""
    launched = pl.col("launched_at").dt.convert_time_zone(timezone).dt.date()
    days = {name: format_date(day, "d MMM", locale=lang) for name, day in measured.select(by, launched).rows() if day}
    room = canvas.BESIDE_BARS - max(map(len, days.values()), default=0) - len(APART_FROM_DAY)
    return {name: f"{canvas.cut(name, room)}{APART_FROM_DAY}{day}" for name, day in days.items()}


def _undrawn(measured: pl.DataFrame, by: str, rates: Mapping[str, str], lang: str) -> Iterator[str]:
    """Yield which groups lack the dot of a rate, or all, and why, as far as the frame says so."""
    known = [name for name in rates if f"why {name}" in measured.columns]
    is_missing = pl.all_horizontal(pl.col(known).is_null()) if known == list(rates) and known else pl.lit(False)
    for metric in known:
        why = pl.col(f"why {metric}")
        rows = measured.filter(pl.col(metric).is_null(), why.is_not_null(), ~is_missing).select(by, why).rows()
        if rows:
            names = _with_reasons(rows, lang)
            yield say("{label} is unknown: {names}.", lang, label=rates[metric], names=names)
    if missing := measured.filter(is_missing).select(by, f"why {known[0]}").rows() if known else []:
        yield say("Not drawn: {names}.", lang, names=_with_reasons(missing, lang))


def _with_reasons(rows: Sequence[tuple[str, str | None]], lang: str) -> str:
    """The first few names, each with the reason why a figure of it is unknown."""
    named = [f"{name} – {say(why, lang)}" if why else name for name, why in rows[:MOST_NAMED]]
    return "; ".join([*named, "…"] if len(rows) > MOST_NAMED else named)


def _lines(
    rates: Sequence[str], limits: Mapping[str, float], total: pl.DataFrame | None, lang: str
) -> dict[str, shapes.Mark]:
    """The lines, by rate: at the limits, or at the rates of all groups together where they are known."""
    if limits or total is None or total.is_empty():
        limits = {name: at for name, at in limits.items() if name in rates}
        words = {name: round_percent(at, lang) for name, at in limits.items()}
        return {name: shapes.Mark(at, words[name], is_limit=True) for name, at in limits.items()}
    row = total.row(0, named=True)
    known = {name: row[name] for name in rates if row[name] is not None}
    wholes = {name: row.get(part_of(row, name, METRICS[name].denominator or "")) for name in known}
    return {name: shapes.Mark(at, percent(at, lang=lang, of=wholes[name])) for name, at in known.items()}


def _rate_legend(names: Sequence[str], words: Sequence[str]) -> dict[str, Any]:
    """A legend that says at each rate what its line is."""
    longer = json.dumps(dict(zip(names, words, strict=True)), ensure_ascii=False)
    return {"orient": "top", "columns": 1, "labelExpr": f"{longer}[datum.label]"}


def _link_key(labels: canvas.Labels | None, lang: str) -> pl.Expr:
    """The name of a link in the legend; our own "Others" ends in a space, since a link may have that name."""
    others = pl.lit((labels or {}).get("others", say(OTHERS, lang)) + " ")
    return pl.when(pl.col("place") == OTHERS_PLACE).then(others).otherwise("link")


def _link_colours(rows: pl.DataFrame) -> tuple[list[str], list[str]]:
    """The links by rank, with a colour each; the theme's last colour is for the others."""
    series = theme().light.series
    keys = rows.sort("place").unique("key", maintain_order=True).select("key", "place")
    colours = [
        series[-1] if place == OTHERS_PLACE else series[rank % (len(series) - 1)]
        for rank, place in enumerate(keys["place"])
    ]
    return keys["key"].to_list(), colours


def _rate_rows(
    measured: pl.DataFrame,
    by: str,
    name: str,
    place: int,
    label: str,
    lang: str,
    ceilings: Mapping[str, float] | None,
    floors: Mapping[str, float] | None,
) -> pl.DataFrame:
    """The rows of one rate; `over` is the rate in words where it is above its ceiling or below its floor.

    Fewer than three cases are above nothing, as in findings.
    """
    ceiling, floor = (ceilings or {}).get(name), (floors or {}).get(name)
    part, whole = (part_of(measured.columns, name, each) for each in METRICS[name].parents)
    over = [
        f"▲ {percent(rate, lang=lang, of=of)}"
        if ceiling and rate and rate > ceiling and cases >= CASES
        else f"▼ {percent(rate, lang=lang, of=of)}"
        if floor and rate is not None and rate < floor
        else None
        for rate, cases, of in measured.select(name, cases=part, of=whole).rows()
    ]
    return measured.with_row_index("order").select(
        pl.col("order").cast(pl.Int64),
        group=_group(by, lang),
        name=pl.lit(label),
        place=pl.lit(place, pl.Int64),
        rate=name,
        numerator=part,
        denominator=whole,
        over=pl.Series(over, dtype=pl.String),
    )


def _group(by: str, lang: str) -> pl.Expr:
    """The name of a group: data, except our own words for the others and the unknown, which are translated.

    Our "(unknown)" ends in a space, since a group may have that name.
    """
    return pl.col(by).cast(pl.String).replace({OTHERS: say(OTHERS, lang)}).fill_null(say(UNKNOWN, lang) + " ")


def _groups(rows: pl.DataFrame) -> list[str]:
    return rows.sort("order").unique("group", maintain_order=True)["group"].to_list()


def _within(days: int) -> pl.Expr:
    return pl.col("starts_at") < pl.col("starts_at").min() + timedelta(days=days)


def _elapsed(hours: pl.Series, lang: str) -> alt.Axis:
    longest = hours.to_frame().select(pl.max(hours.name).fill_null(0)).item() or 1
    ticks = [tick for tick in ELAPSED_TICKS if tick <= longest]
    days = _expression(say("{days} d", lang), "{days}", "format(datum.value / 24, ',')")
    short = _expression(say("{hours} h", lang), "{hours}", "datum.value")
    return alt.Axis(
        values=ticks, labelExpr=ELAPSED_LABEL.format(days=days, hours=short), labelOverlap=True, labelSeparation=12
    )


def _expression(words: str, placeholder: str, value: str) -> str:
    """Return words with one placeholder as a Vega expression."""
    before, _, after = words.partition(placeholder)
    return f"{json.dumps(before)} + {value} + {json.dumps(after)}"
