"""Charts of sending: shares of a whole as bars, and how fast messages went out."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

import altair as alt
import polars as pl

from trackkit.clock import STEPS as SECONDS
from trackkit.language import said, say, translatable
from trackkit.show.cells import COUNTS, Block, Labels, OneOf, headline, label_of, nothing, only_row, spoken
from trackkit.show.charts import canvas, shapes
from trackkit.show.charts.clock import FILLED, axis_instant, instants, written, zone_of
from trackkit.show.naming import LAST
from trackkit.show.wording import percent, with_share

__all__ = ["Speed", "metric_bars", "share_bars", "throughput_columns", "whole_bar"]

OUTCOMES = translatable({"success": "Success (with control addresses)", "errors": "Errors"})
Speed = Literal["messages_per_hour", "bits_per_second"]
SPEEDS = translatable({"messages_per_hour": "Messages per hour", "bits_per_second": "Bits per second"})
# For slower sending: units of so many hours, so that the fastest period has at least one message.
SLOWER = translatable({24: "Messages per day", 730.5: "Messages per month", 8_766: "Messages per year"})
FINE, FINER, LITTLE = ",.2f", ".3~r", 0.1  # formats of figures below TEN, and below LITTLE on axes
NO_SIZE = translatable("The size of a message is not in the data loaded, so that bits per second cannot be told.")
MOST_BARS, TEN = 30, 10

DRAWN = translatable(
    {
        "rule": "Recipients left out by each rule, out of all left out.",
        "reaction": "Recipients by what they did at most, out of those reached.",
        "status": "Messages of each status, out of all messages.",
        "type": "Errors of each type, out of all errors.",
        "domain": "Errors in each domain, out of the messages processed of that domain.",
    }
)


def share_bars(
    rows: pl.DataFrame,
    by: str,
    part: str,
    whole: str,
    share: str,
    lang: str = "en",
    description: str = "",
    overall: bool = False,
) -> alt.LayerChart:
    """Draw one bar per group, as long as its share, for the first 30 rows: the longest first, "Others" last.

    In: a frame with a text column `by`, the counts `part` and `whole`, and `share`, part / whole; rows with the value
    "detail" in a column `row` are left out. The total and groups without a name or a share have no bar; with
    `overall`, a line marks the share of the total. `description` is for screen readers.

    >>> by_reason = tk.bounces.failures(store)
    >>> chart = share_bars(by_reason, "reason", "messages", "failed", "share", description="Failures by reason.")
    >>> chart.to_dict()["description"]
    'Failures by reason.'
    """
    groups = rows.filter(pl.col("row").cast(pl.String) != "detail") if "row" in rows.columns else rows
    named = groups.filter(pl.col(by).is_not_null(), pl.col(share).is_not_null()).head(MOST_BARS)
    is_others = pl.col(by).cast(pl.String).is_in(LAST)
    named = named.sort(is_others, share, descending=[False, True], maintain_order=True)
    words = {name: spoken(name, lang) for name in named[by].cast(pl.String).unique()}
    shown = canvas.readable(named.with_columns(pl.col(by).cast(pl.String).replace(words)), by)
    drawn = shown.select(group=by, part=part, whole=whole, share=share)
    drawn = drawn if (drawn["part"] > 0).any() else drawn.clear()
    plot = canvas.Plot(
        drawn,
        description or say(DRAWN.get(by, ""), lang),
        x=canvas.Numbers("share", None, canvas.PERCENT, is_count=False),
        y=canvas.Names("group", drawn["group"].to_list()),
        tips={"group": headline(by, lang)} | canvas.tips(lang, share="Share", part="Numerator", whole="Denominator"),
    )
    said = [with_share(n, share, of, lang) for n, share, of in drawn.select("part", "share", "whole").rows()]
    figures = drawn.select(name="group", end="share", said=pl.Series(said, dtype=pl.String))
    return shapes.labelled_bars(
        plot, figures, _total_line(groups, share, whole, lang) if overall and drawn.height else []
    )


def _total_line(groups: pl.DataFrame, share: str, whole: str, lang: str) -> list[shapes.Mark]:
    """The line at the share of the total, if it is known."""
    totals = groups.filter(pl.col("row").cast(pl.String) == "total", pl.col(share).is_not_null())
    lines = totals.select(share, whole).rows()
    return [shapes.Mark(at, say("All: {rate}", lang, rate=percent(at, lang=lang, of=of))) for at, of in lines]


def metric_bars(
    measured: pl.DataFrame,
    metrics: Annotated[Sequence[str], COUNTS],
    over: str,
    labels: Annotated[Labels | None, COUNTS] = None,
    lang: str = "en",
) -> alt.LayerChart:
    """Draw counts of one row of `measure` as bars, each as long as its share of the count `over`.

    In: a frame of `measure` with one row that holds `metrics` and `over`. An unknown count has no bar.

    >>> measured = tk.measure(store, ["processed", "delivered"], by=[], delivery=delivery)
    >>> metric_bars(measured, ["processed", "delivered"], over="processed").to_dict()["description"]
    'Each count out of: Messages processed.'
    """
    rows, description = _counted(measured, metrics, over, labels, lang)
    return share_bars(rows, "indicator", "count", "whole", "share", lang, description)


def whole_bar(
    measured: pl.DataFrame,
    metrics: Annotated[Sequence[str], COUNTS],
    over: str,
    labels: Annotated[Labels | None, COUNTS] = None,
    lang: str = "en",
) -> alt.Chart | alt.LayerChart:
    """Draw the parts of a count of one row of `measure` as one bar from 0 to 100 %, each with its figures.

    In: a frame of `measure` with one row that holds `metrics` and `over`. A part that is unknown or 0 is left out.
    Counts that are more than the whole together are no parts of it: they are drawn as in `metric_bars`.

    >>> measured = tk.measure(store, ["delivered", "failed", "processed"], by=[], delivery=delivery)
    >>> whole_bar(measured, ["delivered", "failed"], over="processed").to_dict()["description"]
    'Each count out of: Messages processed.'
    """
    rows, description = _counted(measured, metrics, over, labels, lang)
    parts = rows.with_row_index("place").with_columns(pl.col("place").cast(pl.Int64)).drop_nulls("share")
    if parts.height and parts["count"].sum() > parts["whole"][0]:
        return metric_bars(measured, metrics, over, labels, lang)
    return shapes.parts_bar(parts.filter(pl.col("count") > 0), description, lang)


def _counted(
    measured: pl.DataFrame, metrics: Sequence[str], over: str, labels: Labels | None, lang: str
) -> tuple[pl.DataFrame, str]:
    """Counts of one row of `measure` with their shares of `over`, and what a chart of them shows."""
    row = only_row(measured, [*metrics, over])
    words = {name: label_of(name, lang) for name in (*metrics, over)} | dict(labels or {})
    counts = [(words[name], row[name], row[over]) for name in metrics]
    schema = {"indicator": pl.String, "count": pl.Int64, "whole": pl.Int64}
    rows = pl.DataFrame(counts, schema=schema, orient="row").with_columns(
        share=pl.when(pl.col("whole") > 0).then(pl.col("count") / pl.col("whole"))
    )
    return rows, say("Each count out of: {whole}.", lang, whole=words[over])


def throughput_columns(
    throughput: pl.DataFrame,
    speed: Speed = "messages_per_hour",
    labels: Annotated[Labels | None, OneOf(OUTCOMES)] = None,
    lang: str = "en",
) -> alt.Chart | Block:
    """Draw how fast messages went out, by the clock: one column per period, success and errors stacked.

    In: the frame of `sending.throughput`; `speed` is "messages_per_hour" or "bits_per_second". If the size of messages
    is unknown, bits per second are replaced by a sentence that says so.

    >>> throughput_columns(tk.sending.throughput(store, delivery)).to_dict()["description"]
    'Messages per hour in each period, by the clock: success and errors.'
    """
    if throughput.height and throughput[speed].null_count() == throughput.height:
        return nothing(NO_SIZE, lang)
    hours, title = _unit(throughput, speed, lang)
    rows = _periods(throughput, speed, said(OUTCOMES, lang) | dict(labels or {}), lang)
    rows = rows.with_columns(pl.col("speed") * hours)
    fastest = rows.select(pl.col("speed").max().fill_null(0)).item()
    plot = canvas.Plot(
        rows,
        say("{speed} in each period, by the clock: success and errors.", lang, speed=title),
        x=canvas.TimeAxis(zone=zone_of(throughput), lang=lang, step=_step(throughput)),
        y=canvas.Numbers("speed", title, _form(speed, fastest), is_count=False, stacked=True),
        tips=canvas.tips(lang, when="From", name="Series")
        | {"speed": title}
        | canvas.tips(lang, messages="Messages", seconds="Seconds"),
        series=canvas.Series(
            "name", rows.sort("place")["name"].unique(maintain_order=True).to_list(), legend={"columns": 1}
        ),
        height=220,
        written={"speed": FINE if fastest < TEN else canvas.WHOLE},
    )
    return canvas.columns(plot)


def _form(speed: str, fastest: float) -> str:
    """The format of an axis, with enough decimals for distinct marks."""
    if speed == "bits_per_second" and fastest >= 1:
        return canvas.SHORT
    return canvas.WHOLE if fastest >= TEN else FINE if fastest >= LITTLE else FINER


def _unit(throughput: pl.DataFrame, speed: Speed, lang: str) -> tuple[float, str]:
    """The unit of speeds in hours, and its title: one hour, or more if the fastest period sent less than a message."""
    fastest = throughput.select(pl.col(speed).max().fill_null(0)).item()
    if speed == "bits_per_second" or fastest >= 1 or not fastest:
        return 1, say(SPEEDS[speed], lang)
    hours = next((hours for hours in SLOWER if fastest * hours >= 1), max(SLOWER))
    return hours, say(SLOWER[hours], lang)


def _step(throughput: pl.DataFrame) -> str:
    """The length of the periods, which are not all of the same seconds if they are days or months."""
    seconds = throughput.select(pl.col("seconds").max().fill_null(0)).item()
    return min(SECONDS, key=lambda step: abs(SECONDS[step] - seconds))


def _periods(throughput: pl.DataFrame, speed: str, words: Mapping[str, str], lang: str) -> pl.DataFrame:
    zone, starts = zone_of(throughput), instants(throughput)
    filled = pl.duration(microseconds=(FILLED * 1_000_000 * pl.col("seconds")).cast(pl.Int64))
    series = pl.col("series").cast(pl.String)
    return throughput.select(
        "messages",
        "seconds",
        starts_at=axis_instant(starts),
        ends_at=axis_instant(starts + filled),
        when=written(starts, lang, zone),
        name=series.replace_strict(words, return_dtype=pl.String),
        place=series.replace_strict({name: place for place, name in enumerate(OUTCOMES)}, return_dtype=pl.Int64),
        speed=speed,
    )
