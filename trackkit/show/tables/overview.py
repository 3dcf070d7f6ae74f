"""Tables of a delivery's overview: how far its messages came, what is to be expected, the links of the message."""

from collections.abc import Mapping
from typing import Any

import polars as pl
from great_tables import GT
from markupsafe import Markup

from trackkit.language import said, say, translatable
from trackkit.metrics import METRICS
from trackkit.show.cells import Cell, bar, fraction, label_of, over, unavailable
from trackkit.show.columns import TableColumn, column_table
from trackkit.show.definitions import marked
from trackkit.show.wording import number, percent

__all__ = ["before_table", "forecast_table", "funnel_table", "message_link_table"]

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
SHORT = translatable(
    {
        "delivery_rate": "Delivered",
        "open_rate": "Opened",
        "recipient_click_rate": "Clicked",
        "recipient_unsubscribe_rate": "Opted out",
    }
)
# The rates of a delivery and of the one before it, and whether chance explains their difference.
BEFORE = {
    "metric": TableColumn("Rate", "text"),
    "rate_b": TableColumn("Now", "share", ("part_b", "whole_b")),
    "rate_a": TableColumn("Before", "share", ("part_a", "whole_a")),
    "difference": TableColumn("Points apart", "text"),
    "p_adjusted": TableColumn("Beyond chance?", "text"),
}
YES, NO, MACHINES_TOO = translatable(("yes ({p})", "no ({p})", "machines open too"))


def before_table(compared: pl.DataFrame, lang: str = "en") -> GT | None:
    """Show rates beside those of the delivery before; None if there is none to compare with.

    In: the frame of `overview.beside_previous`. Below each difference stand the bounds of its interval.

    >>> compared = tk.overview.beside_previous(store, "7471122", ["recipient_click_rate"])
    >>> table = before_table(compared)
    >>> [each["label"] for each in table.data["columns"]]
    ['Rate', 'Now', 'Part b', 'Whole b', 'Before', 'Part a', 'Whole a', 'Points apart', 'Beyond chance?']
    """
    if compared.is_empty():
        return None

    words = said(SHORT, lang)

    def points(value: float) -> str:
        shown, sign = number(abs(100 * value), 1, lang), "+" if value > 0 else "\u2212"
        return shown if shown == number(0, 1, lang) else f"{sign}{shown}"

    def difference(row: Mapping[str, Any]) -> Cell:
        if row["low"] is None:
            return points(row["difference"])
        ends = {side: points(row[side]) for side in ("low", "high")}
        return over(points(row["difference"]), say(BETWEEN, lang, **ends))

    def verdict(row: Mapping[str, Any]) -> Cell:
        if row["is_different"] is None:
            return unavailable(MACHINES_TOO, lang) if row["reason"] else ""
        p = row["p_adjusted"]
        return say(YES if row["is_different"] else NO, lang, p=f"p\u00a0{number(p, 3 if p < 0.01 else 2, lang)}")

    def metric(row: Mapping[str, Any]) -> Cell:
        return marked(words.get(row["metric"]) or label_of(row["metric"], lang), row["metric"], lang)

    own = {"metric": metric, "difference": difference, "p_adjusted": verdict}
    return column_table(compared, BEFORE, list(BEFORE), lang=lang, own=own)


def forecast_table(forecast: pl.DataFrame, lang: str = "en") -> GT | None:
    """Show the opens and clicks so far and those to be expected; None where nothing is forecast.

    In: the frame of `maturity.forecast`.

    >>> forecast_table(tk.maturity.forecast(store, "7471233")) is None  # nothing compares
    True
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
    """Show how far the messages came: one row per step, all bars on one scale. In: the frame of `overview.funnel`.

    A share has its parts beside it where they are of some deliveries alone.

    >>> table = funnel_table(tk.overview.funnel(store, delivery))
    >>> [each["label"] for each in table.data["columns"]]
    ['Step', 'Messages', 'Of the step before']
    """

    def step(row: Mapping[str, Any]) -> Cell:
        words = say(STEPS[row["step"]], lang)
        return marked(words, row["step"], lang) if row["step"] in METRICS else words

    def count(row: Mapping[str, Any]) -> Cell:
        if row["count"] is None:
            return unavailable(row["why"] or UNKNOWN_STEP, lang)
        return number(row["count"], lang=lang)

    of_first = pl.when(pl.col("first") > 0).then(pl.col("count") / pl.col("first"))
    steps = funnel.with_columns(earlier=pl.col("count").shift(), bar=of_first)

    def share(row: Mapping[str, Any]) -> Cell:
        if row["share"] is None:
            return ""
        shown = percent(row["share"], lang=lang, of=row["before"])
        is_plain = (row["part"], row["before"]) == (row["count"], row["earlier"])
        return shown if is_plain else over(shown, fraction(row["part"], row["before"], lang))

    drawn = {"step": step, "count": count, "bar": lambda row: bar(row, "bar", "1"), "share": share}
    return column_table(steps, FUNNEL, ["step", "bar", "count", "share"], lang=lang, own=drawn)


def message_link_table(links: pl.DataFrame, lang: str = "en") -> GT | None:
    """Show the links of the message, with clicks and people; None without clicks. In: `clickmap.clicked_links`.

    Bars are on the scale of the longest, all others included. Links of one name go with the number of their badge.

    >>> table = message_link_table(tk.clickmap.clicked_links(store, delivery))
    >>> [each["label"] for each in table.data["columns"]]
    ['Link', 'Clicks', 'People', 'Share']
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
