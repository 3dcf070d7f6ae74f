"""Charts of a delivery's overview: its first hours, and how its mail domains read it."""

from collections.abc import Mapping, Sequence
from typing import Annotated

import altair as alt
import polars as pl

from trackkit.language import said, say, translatable
from trackkit.metrics import METRICS, part_of
from trackkit.show.cells import OTHERS, RATES, UNKNOWN, OneOf, headline, is_open
from trackkit.show.charts import canvas
from trackkit.show.theme import theme
from trackkit.show.wording import percent

__all__ = ["domain_dots", "first_hours"]

# Their names at the end of a line.
NAMES = translatable({"opens": "Opens", "clicks": "Clicks", "transactions": "Transactions"})
DRAWN = ("opens", "clicks")
BY_HOUR: Mapping[bool, str] = translatable(  # by whether the delivery is not over
    {
        False: "Share of all opens and clicks that had come by each hour after the launch.",
        True: "Share of the opens and clicks so far, by the hour after the launch: 100% is what is known by now.",
    }
)
ROW = 18  # pixels of a domain
SPANS = (4, 12, 24, 48)  # hours that an axis ends at, the first after the last hour known
TICKS = (*range(0, 24), *range(24, 169, 6))
APART = 0.1  # of the axis, between the words at the ends of two lines
LETTER, ACROSS = 8, 370  # pixels: of a letter of their names, and of the narrowest drawing; the axis goes on for them
SHORT = translatable({"open_rate": "Opened", "recipient_click_rate": "Clicked", "click_rate": "Clicked"})


def first_hours(
    cumulated: pl.DataFrame, hours: int = 48, lang: str = "en", pace: pl.DataFrame | None = None
) -> alt.LayerChart | None:
    """Draw the share of all opens and clicks known that had come by each hour after the launch, named on the lines.

    In: the frame of `curves.cumulative_activity` by the hour, and that of `sending.pace`, so that a delivery that is
    not over is said of as it is so far. None where neither has any.

    >>> first_hours(tk.curves.cumulative_activity(store, delivery)).to_dict()["description"]
    'Share of all opens and clicks that had come by each hour after the launch.'
    """
    rows = _first(cumulated, hours, lang)
    if rows.is_empty():
        return None
    names, light = [say(NAMES[series], lang) for series in DRAWN], theme().light
    hours = min(hours, next((each for each in SPANS if each >= rows.select(pl.col("hours").max()).item()), hours))
    axis = alt.Axis(values=[each for each in TICKS if each <= hours and each % (hours / 4) == 0], grid=False)
    axis.labelExpr = f"datum.value + ' {say('h', lang)}'"
    plot = canvas.Plot(
        rows,
        say(BY_HOUR[is_open(pace)], lang),
        x=canvas.Numbers("hours"),
        y=canvas.Numbers("share", None, canvas.PERCENT, is_count=False, stacked=False),
        tips=canvas.tips(
            lang, hours="Hours since the launch", name="Series", share="Share", cumulated="Cumulated", total="Total"
        ),
        series=canvas.Series("name", names, [light.series[0], light.series[1]], legend=None),
        height=150,
    )
    across = alt.X(
        "hours:Q", title=None, axis=axis, scale=alt.Scale(domain=[0, _with_room(rows, hours, lang)], nice=False)
    )
    shares = alt.Axis(format=canvas.PERCENT, values=[0, 0.5, 1])
    up = alt.Y("share:Q", title=None, axis=shares, scale=alt.Scale(domain=[0, 1]))
    line = canvas.lines(plot).encode(x=across, y=up)
    return canvas.layered(plot, line, beside=[_at_the_ends(rows, names, [light.series[0], light.series[1]], lang)])


def _first(cumulated: pl.DataFrame, hours: int, lang: str) -> pl.DataFrame:
    series = pl.col("series").cast(pl.String)
    shown = cumulated.filter(series.is_in(DRAWN), pl.col("total") > 0, pl.col("hours") <= hours).sort("series", "hours")
    name = series.replace_strict(said(NAMES, lang), return_dtype=pl.String).alias("name")
    return shown.select("hours", "cumulated", "total", "share", name)


def _with_room(rows: pl.DataFrame, hours: int, lang: str) -> float:
    """Where the axis of hours ends, so that there is room for the names at the ends of the lines."""
    longest = max(len(words) for words in _words_at_the_ends(rows, lang).values())
    return hours / (1 - min(0.6, LETTER * (longest + 1) / ACROSS))


def _words_at_the_ends(rows: pl.DataFrame, lang: str) -> dict[str, str]:
    last = rows.group_by("name", maintain_order=True).last().to_dicts()
    reached = {row["name"]: percent(row["share"], lang=lang, of=row["total"]) for row in last if row["share"] < 1}
    return {row["name"]: f"{row['name']} {reached.get(row['name'], '')}".rstrip() for row in last}


def _at_the_ends(rows: pl.DataFrame, names: Sequence[str], colours: Sequence[str], lang: str) -> alt.Chart:
    """The name of each line and the share it reaches, if not all, at its end; apart where two would overlap."""
    ends = rows.group_by("name", maintain_order=True).last().sort("share")
    heights: list[float] = []
    for share in ends["share"]:
        heights.append(max(share, heights[-1] + APART) if heights else share)
    over = max(0.0, heights[-1] - 1)
    words = pl.col("name").replace_strict(_words_at_the_ends(rows, lang), return_dtype=pl.String)
    placed = ends.with_columns(place=pl.Series([height - over for height in heights]), words=words)
    marks = canvas.Picture(placed).mark_text(align="left", dx=6, fontWeight=600, aria=False)
    colour = alt.Color("name:N", scale=alt.Scale(domain=list(names), range=list(colours)), legend=None)
    drawn: alt.Chart = marks.encode(x="hours:Q", y="place:Q", text="words:N", color=colour)
    return drawn


def domain_dots(
    measured: pl.DataFrame,
    total: pl.DataFrame,
    rates: Annotated[Sequence[str], RATES],
    labels: Annotated[canvas.Labels | None, OneOf(RATES)] = None,
    lang: str = "en",
) -> alt.LayerChart | None:
    """Draw rates by mail domain as dots on one line each, with a dashed line at each rate of all.

    In: a frame of `measure` by `domain` with the rates and their parts, and the same metrics in one row. None where no
    domain has a rate above 0.

    >>> rates = ["open_rate", "recipient_click_rate"]
    >>> by_domain = tk.measure(store, rates, by="domain", delivery=delivery)
    >>> total = tk.measure(store, rates, by=[], delivery=delivery)
    >>> domain_dots(by_domain, total, rates).to_dict()["description"]
    'Opened, Clicked, by mail domain; dashed: all domains.'
    """
    names = {name: (labels or {}).get(name, say(SHORT.get(name, METRICS[name].label), lang)) for name in rates}
    shown = canvas.readable(measured, "domain")
    rows = pl.concat([_dots_of(shown, name, names[name], lang) for name in rates]).drop_nulls("rate")
    if not (rows["rate"] > 0).any():
        return None
    light, domains = theme().light, rows["domain"].unique(maintain_order=True).to_list()
    colours = {label: light.series[place] for place, label in enumerate(names.values())}
    drawn = [label for label in colours if label in set(rows["name"])]
    series = canvas.Series("name", drawn, [colours[label] for label in drawn])
    plot = canvas.Plot(
        rows,
        say("{rates}, by mail domain; dashed: all domains.", lang, rates=", ".join(names.values())),
        x=canvas.Numbers("rate", None, canvas.PERCENT, is_count=False),
        y=canvas.Names("domain", domains, ROW),
        tips={"domain": headline("domain", lang)}
        | canvas.tips(lang, name="Rate", rate="Value", numerator="Numerator", denominator="Denominator"),
        series=series,
        height=ROW * max(3, len(domains)),
    )
    marks: alt.Chart = canvas.canvas(plot).mark_point(filled=True, size=90, opacity=1)
    marks.encoding.x.axis = alt.Axis(format=canvas.PERCENT, title=None, tickCount=4)
    between = canvas.Picture(marks.data).mark_line(strokeWidth=3, color=light.line, aria=False)
    joined = between.encode(x="rate:Q", y=alt.Y("domain:N", sort=domains), detail="domain:N")
    return canvas.Layers(layer=[joined, marks, _of_all(total, names, series)], description=plot.description)


def _dots_of(measured: pl.DataFrame, name: str, label: str, lang: str) -> pl.DataFrame:
    domain = pl.col("domain").cast(pl.String).replace({OTHERS: say(OTHERS, lang)}).fill_null(say(UNKNOWN, lang) + " ")
    part, whole = (part_of(measured.columns, name, each) for each in METRICS[name].parents)
    return measured.select(domain, name=pl.lit(label), rate=name, numerator=part, denominator=whole)


def _of_all(total: pl.DataFrame, names: canvas.Labels, series: canvas.Series) -> alt.Chart:
    """A dashed line at each rate of all domains together."""
    rows = pl.concat([total.select(name=pl.lit(label), rate=pl.col(name)) for name, label in names.items()])
    colour = alt.Color("name:N", scale=alt.Scale(domain=list(series.names), range=list(series.colours or [])))
    lines = canvas.Picture(rows.drop_nulls("rate")).mark_rule(strokeDash=[4, 3], strokeWidth=1.5, aria=False)
    drawn: alt.Chart = lines.encode(x="rate:Q", color=colour)
    return drawn
