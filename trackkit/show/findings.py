"""What a card says first: one sentence made of the figures that its chart or table shows.

Each function takes a tidy frame of `analysis` or `measure` and returns a `Finding`, or None if there is nothing worth
saying: too few cases, or no difference beyond chance. A notebook displays it in the section of its card.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import polars as pl

from trackkit.language import say, translatable
from trackkit.metrics import METRICS, beyond_chance
from trackkit.show.cells import OTHERS, label_of, require
from trackkit.show.wording import clipped, elapsed, number, percent

__all__ = ["LEAST", "Finding", "above", "fastest_half", "highest", "lowest", "strongest_link"]

MIME = "application/vnd.trackkit.finding+json"
LEAST = 30  # fewer cases than this prove nothing
LONGEST = 60  # letters of a name in a sentence
ADDED_ROWS = ("others", "total", "seven")  # rows that are no groups, in frames with a column `row`
Side = Literal["highest", "lowest"]

# What a group does most and least of all, by metric.
_MOST: Mapping[str, str] = translatable(
    {
        "open_rate": "{name} opens most: {rate} ({part} of {whole})",
        "recipient_click_rate": "{name} clicks most: {rate} ({part} of {whole})",
        "click_rate": "{name} clicks most: {rate} ({part} of {whole})",
        "click_to_open_rate": "{name} clicks most of those who opened: {rate} ({part} of {whole})",
        "failure_rate": "{name} fails most: {rate} ({part} of {whole})",
        "hard_bounce_rate": "{name} has most hard bounces: {rate} ({part} of {whole})",
        "soft_bounce_rate": "{name} has most soft bounces: {rate} ({part} of {whole})",
        "unsubscribe_rate": "{name} has most opt-out clicks: {rate} ({part} of {whole})",
        "recipient_unsubscribe_rate": "{name} opts out most: {rate} ({part} of {whole})",
        "": "{label}: highest at {name}, {rate} ({part} of {whole})",
    }
)
_LEAST: Mapping[str, str] = translatable(
    {
        "open_rate": "{name} opens least: {rate} ({part} of {whole})",
        "recipient_click_rate": "{name} clicks least: {rate} ({part} of {whole})",
        "click_rate": "{name} clicks least: {rate} ({part} of {whole})",
        "click_to_open_rate": "{name} clicks least of those who opened: {rate} ({part} of {whole})",
        "delivery_rate": "{name} receives least: {rate} ({part} of {whole})",
        "acceptance_rate": "{name} receives least: {rate} ({part} of {whole})",
        "": "{label}: lowest at {name}, {rate} ({part} of {whole})",
    }
)
_HALF: Mapping[str, str] = translatable(
    {
        "opens": "Half of the opens came within {time}",
        "clicks": "Half of the clicks came within {time}",
        "transactions": "Half of the transactions came within {time}",
    }
)


@dataclass(frozen=True)
class Finding:
    """The heading of a card, in the reader's language; text of logs in it is clipped and `plain`."""

    text: str

    def _repr_mimebundle_(self, **_: Any) -> dict[str, Any]:
        return {MIME: {"text": self.text}, "text/plain": self.text}


def lowest(rows: pl.DataFrame, column: str, metric: str, lang: str = "en") -> Finding | None:
    """Say which group has the lowest rate; None if none is lower than the others beyond chance.

    In: a frame of `measure` by `column`, with the rate and its two parts. Groups of fewer than 30, the unnamed one and
    "Others" are left out. A group differs if its rate is three standard errors or more from the median of the groups'
    rates. Raises RequestError for a column that the frame does not have.

    >>> names, opens = ["x.example", "y.example", "z.example"], [40, 41, 5]
    >>> rows = pl.DataFrame({"domain": names, "unique_opens": opens, "delivered": [100] * 3})
    >>> rows = rows.with_columns(open_rate=pl.col("unique_opens") / pl.col("delivered"))
    >>> lowest(rows, "domain", "open_rate").text
    'z.example opens least: 5.0% (5 of 100)'
    """
    return _extreme(rows, column, metric, "lowest", lang)


def highest(rows: pl.DataFrame, column: str, metric: str, lang: str = "en") -> Finding | None:
    """Say which group has the highest rate, as `lowest` does."""
    return _extreme(rows, column, metric, "highest", lang)


def above(rows: pl.DataFrame, column: str, metric: str, ceiling: float, lang: str = "en") -> Finding | None:
    """Say which groups have a rate above what is advised, the highest first; or that none has.

    In: a frame as for `lowest`. Groups of fewer than 30 are left out; None if no other is there.
    """
    groups = _groups(rows, column, metric)
    if groups.is_empty():
        return None
    label, limit = label_of(metric, lang), percent(ceiling, 0 if 100 * ceiling % 1 == 0 else 1, lang)
    over = groups.filter(pl.col("rate") > ceiling)
    if over.is_empty():
        return Finding(say("{label}: nowhere above the advised {limit}", lang, label=label, limit=limit))
    words = {"label": label, "limit": limit, **_words(over.row(0, named=True), lang)}
    if over.height == 1:
        return Finding(say("{label}: {rate} at {name}, advised at most {limit}", lang, **words))
    words["others"] = number(over.height - 1, lang=lang)
    return Finding(say("{label}: {rate} at {name} and {others} more above the advised {limit}", lang, **words))


def fastest_half(
    reached: pl.DataFrame, series: Literal["opens", "clicks", "transactions"], lang: str = "en"
) -> Finding | None:
    """Say within which time half of a series came; None below 30 events.

    In: the frame of `curves.time_to_reach`, with the share 0.5.
    """
    require(["series", "share", "after", "total"], reached.columns)
    half = reached.filter(pl.col("series").cast(pl.String) == series, pl.col("share") == 0.5)
    if half.is_empty() or half["after"][0] is None or half["total"][0] < LEAST:
        return None
    return Finding(say(_HALF[series], lang, time=elapsed(half["after"][0], lang)))


def strongest_link(links: pl.DataFrame, lang: str = "en") -> Finding | None:
    """Say which link took most of the clicks; None below 30 clicks, or if the first place is shared by more than two.

    In: the frame of `links.link_clicks`.

    >>> clicks = {"row": ["link", "link", "total"], "link": ["Shop", "Help", "Total"], "clicks": [30, 10, 40]}
    >>> strongest_link(pl.DataFrame(clicks).with_columns(total=40)).text
    '“Shop” took 75.0% of the clicks (30 of 40)'
    """
    require(["row", "link", "clicks", "total"], links.columns)
    ranked = links.filter(pl.col("row").cast(pl.String) == "link")
    first = ranked.filter(pl.col("clicks") == pl.col("clicks").max())
    if first.is_empty() or first["total"][0] < LEAST or first.height > 2:
        return None
    names = [clipped(name, LONGEST) for name in first["link"]]
    clicks, total = first["clicks"][0], first["total"][0]
    words = {
        "share": percent(clicks / total, lang=lang, of=total),
        "clicks": number(clicks, lang=lang),
        "total": number(total, lang=lang),
    }
    if len(names) == 2:
        both = {"first": names[0], "second": names[1]}
        return Finding(say("“{first}” and “{second}” took {share} of the clicks each", lang, **both, **words))
    return Finding(say("“{name}” took {share} of the clicks ({clicks} of {total})", lang, name=names[0], **words))


def _extreme(rows: pl.DataFrame, column: str, metric: str, side: Side, lang: str) -> Finding | None:
    groups = _groups(rows, column, metric)
    groups = groups.reverse() if side == "lowest" else groups
    if groups.height < 3 or groups["rate"][0] == groups["rate"][1]:
        return None
    first, middle = groups.row(0, named=True), groups["rate"].median()
    if not isinstance(middle, float) or not beyond_chance(first["rate"], middle, first["whole"]):
        return None
    sentences = _MOST if side == "highest" else _LEAST
    words = {"label": label_of(metric, lang)} if metric not in sentences else {}
    return Finding(say(sentences.get(metric, sentences[""]), lang, **words, **_words(first, lang)))


def _groups(rows: pl.DataFrame, column: str, metric: str) -> pl.DataFrame:
    """The groups that are large enough, by falling rate: `name`, `rate`, `part`, `whole`."""
    part, whole = METRICS[metric].parents
    require([column, metric, part, whole], rows.columns)
    name = pl.col(column).cast(pl.String)
    is_added = pl.col("row").cast(pl.String).is_in(ADDED_ROWS) if "row" in rows.columns else pl.lit(False)
    return (
        rows.filter(~is_added, name != OTHERS, pl.col(whole) >= LEAST, pl.col(metric).is_not_null())
        .select(name=name, rate=metric, part=part, whole=whole)
        .sort("rate", "name", descending=[True, False])
    )


def _words(row: Mapping[str, Any], lang: str) -> dict[str, str]:
    shown = {"rate": percent(row["rate"], lang=lang, of=row["whole"]), "name": clipped(row["name"], LONGEST)}
    return shown | {part: number(row[part], lang=lang) for part in ("part", "whole")}
