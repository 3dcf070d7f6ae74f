"""Tables of a delivery's overview: how far its messages came, what is to be expected, the links of the message."""

from collections.abc import Mapping
from typing import Any

import polars as pl
from great_tables import GT
from markupsafe import Markup

from trackkit.language import say, translatable
from trackkit.metrics import METRICS
from trackkit.show.cells import Cell, bar, over, unavailable
from trackkit.show.columns import TableColumn, column_table
from trackkit.show.definitions import marked
from trackkit.show.wording import number, percent

__all__ = ["forecast_table", "funnel_table", "message_link_table"]

STEPS = translatable(
    {
        "to_deliver": "To deliver",
        "delivered": "Delivered",
        "unique_opens": "Opened",
        "unique_clicks": "Clicked",
        "buyers": "Bought",
    }
)
UNKNOWN_STEP = translatable("not in the data loaded")
LINKS = {
    "link": TableColumn("Link", "group", longest=28),
    "bar": TableColumn("", "bar"),
    "clicks": TableColumn("Clicks"),
    "people": TableColumn("People"),
    "share": TableColumn("Share", "share"),
}
FUNNEL = {
    "step": TableColumn("Step", "word", words=STEPS),
    "bar": TableColumn("", "bar"),
    "count": TableColumn("Messages", "count", why_unknown=UNKNOWN_STEP),
    "share": TableColumn("Of the step before", "share"),
}
# What is expected of a delivery that is not finished: the last column only where it contradicts.
FORECAST = {
    "metric": TableColumn("", "word", words=STEPS),
    "seen": TableColumn("So far"),
    "expected": TableColumn("Expected by now, of the final count", "share"),
    "rate": TableColumn("In the end", "share", ("final", "messages")),
    "interval": TableColumn("In nine of ten such cases", "text"),
    "comparable": TableColumn("Comparable deliveries"),
    "cure": TableColumn("By this delivery alone, which contradicts", "share"),
}
BETWEEN = translatable("{low} to {high}")


def forecast_table(forecast: pl.DataFrame, lang: str = "en") -> GT | None:
    """Show the opens and clicks so far and those to be expected; None where nothing is forecast.

    In: the frame of `maturity.forecast`.
    """
    rows = forecast.filter(pl.col("rate_low").is_not_null())
    if rows.is_empty():
        return None

    def interval(row: Mapping[str, Any]) -> Cell:
        rates = (percent(row[f"rate_{side}"], lang=lang, of=row["messages"]) for side in ("low", "high"))
        counts = (number(row[side], lang=lang) for side in ("low", "high"))
        return over(*(say(BETWEEN, lang, low=low, high=high) for low, high in (rates, counts)))

    def expected(row: Mapping[str, Any]) -> Cell:
        return percent(row["expected"], 0, lang)

    contradicts = rows.filter(~pl.col("agrees")).height > 0
    chosen = [name for name in FORECAST if name != "cure" or contradicts]
    cure = pl.when(~pl.col("agrees")).then(pl.col("cure") / pl.col("messages"))
    shown = rows.with_columns(cure=cure, interval=pl.format("{} to {}", "low", "high"))
    return column_table(shown, FORECAST, chosen, lang=lang, own={"interval": interval, "expected": expected})


def funnel_table(funnel: pl.DataFrame, lang: str = "en") -> GT:
    """Show how far the messages came: one row per step, all bars on one scale. In: the frame of `overview.funnel`."""

    def step(row: Mapping[str, Any]) -> Cell:
        words = say(STEPS[row["step"]], lang)
        return marked(words, row["step"], lang) if row["step"] in METRICS else words

    def count(row: Mapping[str, Any]) -> Cell:
        if row["count"] is None:
            return unavailable(row["why"] or UNKNOWN_STEP, lang)
        return number(row["count"], lang=lang)

    of_first = funnel.with_columns(bar=pl.when(pl.col("first") > 0).then(pl.col("count") / pl.col("first")))

    def share(row: Mapping[str, Any]) -> Cell:
        return "" if row["share"] is None else percent(row["share"], lang=lang, of=row["before"])

    drawn = {"step": step, "count": count, "bar": lambda row: bar(row, "bar", "1"), "share": share}
    return column_table(of_first, FUNNEL, ["step", "bar", "count", "share"], lang=lang, own=drawn)


def message_link_table(links: pl.DataFrame, lang: str = "en") -> GT | None:
    """Show the links of the message, with clicks and people; None without clicks. In: `clickmap.clicked_links`.

    Bars are on the scale of the longest, all others included. Links of one name go with the number of their badge.
    """
    if links.is_empty() or not links["total"][0]:
        return None
    largest = pl.col("clicks").filter(pl.col("row").cast(pl.String) != "total").max()
    is_alike = pl.col("link").is_duplicated() & pl.col("number").is_not_null()
    name = pl.when(is_alike).then(pl.format("{} ({})", "link", "number")).otherwise("link")
    rows = links.filter(pl.col("row").cast(pl.String) != "total").with_columns(
        bar=pl.col("clicks") / largest, link=name
    )

    def drawn(row: Mapping[str, Any]) -> Markup:
        return bar(row, "bar", "others" if row["row"] == "others" else "1")

    def share(row: Mapping[str, Any]) -> Cell:
        return percent(row["share"], lang=lang, of=row["total"])

    return column_table(rows, LINKS, list(LINKS), lang=lang, own={"bar": drawn, "share": share})
