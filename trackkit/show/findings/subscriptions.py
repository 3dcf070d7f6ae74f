"""Of subscriptions: who joined, who left, after which delivery."""

import polars as pl

from trackkit.language import say, translatable
from trackkit.metrics import beyond_chance
from trackkit.show.findings.finding import CASES, LEAST, LONGEST, Finding, part_words
from trackkit.show.naming import PERIODS
from trackkit.show.wording import clipped, number

RECENT = 4  # weeks, beside as many before
_GREW = translatable("{name} grew by {change} to {subscribers} subscribers in {period}: {joined} joined, {left} left")
_SHRANK = translatable("{name} lost {change} to {subscribers} subscribers in {period}: {joined} joined, {left} left")


def grown(progress: pl.DataFrame, period: str, lang: str = "en") -> Finding | None:
    """Say how the largest service grew or shrank over a period; None if nobody joined or left.

    In: the frame of `subscriptions.subscription_progress`.

    >>> progress = tk.subscriptions.subscription_progress(store)
    >>> grown(progress, "1 month").text
    'Weekly letter: la lettre préférée grew by 13 to 120 subscribers in 1 month: 13 joined, 0 left'
    """
    rows = progress.filter(pl.col("period").cast(pl.String) == period).drop_nulls("change")
    if rows.is_empty() or not rows["joined"][0] + rows["left"][0]:
        return None
    row = rows.row(0, named=True)
    counts = {name: number(row[name], lang=lang) for name in ("joined", "left", "subscribers")}
    name = clipped(row["service"], LONGEST)
    sentence = _GREW if row["change"] >= 0 else _SHRANK
    words = {"name": name, "change": number(abs(row["change"]), lang=lang), "period": say(PERIODS[period], lang)}
    return Finding(say(sentence, lang, **words, **counts))


def loses_most(progress: pl.DataFrame, period: str, lang: str = "en") -> Finding | None:
    """Say which service lost the largest part of its subscribers; if chance explains it, what `grown` says.

    In: the frame of `subscriptions.subscription_progress`. Services of fewer than 30 are left out.

    >>> progress = tk.subscriptions.subscription_progress(store)
    >>> loses_most(progress, "6 months").text
    'Weekly letter: la lettre préférée grew by 111 to 120 subscribers in 6 months: 111 joined, 0 left'
    """
    is_period = pl.col("period").cast(pl.String) == period
    rows = progress.filter(is_period, pl.col("everybody") >= LEAST).sort("loss_rate", descending=True)
    if rows.height < 2 or rows["left"][0] < CASES:
        return grown(progress, period, lang)
    first = rows.row(0, named=True)
    left, everybody = rows[1:].select("left", "everybody").sum().row(0)
    if not beyond_chance(first["loss_rate"], left / everybody, first["everybody"]):
        return grown(progress, period, lang)
    words = part_words(clipped(first["service"], LONGEST), first["left"], first["everybody"], lang)
    words["period"] = say(PERIODS[period], lang)
    return Finding(say("{name} loses most: {share} left in {period} ({part} of {whole})", lang, **words))


def joined_lately(weeks: pl.DataFrame, lang: str = "en") -> Finding | None:
    """Say how many joined and left in the last four whole weeks, and in the four before; None with fewer weeks.

    In: the frame of `subscriptions.acts_by_week`; all services are added up.

    >>> weeks = tk.subscriptions.acts_by_week(tk.subscriptions.subscription_curves(store))
    >>> joined_lately(weeks).text
    'Last 4 weeks: 18 joined and 0 left; the 4 before: 28 and 0'
    """
    starts = weeks.filter("is_whole")["starts_on"].unique().sort()
    if starts.len() < 2 * RECENT:
        return None
    series, counts = pl.col("series").cast(pl.String), {}
    for which, first in (("", -RECENT), ("before_", -2 * RECENT)):
        chosen = weeks.filter(pl.col("starts_on").is_in(starts[first:][:RECENT].implode()))
        for name in ("subscriptions", "unsubscriptions"):
            counts[which + name] = number(int(chosen.filter(series == name)["count"].sum()), lang=lang)
    return Finding(
        say(
            "Last 4 weeks: {subscriptions} joined and {unsubscriptions} left; "
            "the 4 before: {before_subscriptions} and {before_unsubscriptions}",
            lang,
            **counts,
        )
    )


def left_from(by_delivery: pl.DataFrame, lang: str = "en") -> Finding | None:
    """Say how many of those who left named a delivery, and which one most did; None if none named one.

    In: the frame of `subscriptions.acts_by_delivery`.

    >>> left_from(tk.subscriptions.acts_by_delivery(store)) is None  # nobody left
    True
    """
    named = by_delivery.filter(pl.col("delivery").is_not_null(), pl.col("unsubscriptions") > 0)
    if named.is_empty():
        return None
    part, whole = int(named["unsubscriptions"].sum()), named["total"][0]
    most = named.filter(pl.col("unsubscriptions") == pl.col("unsubscriptions").max())
    words = {"part": number(part, lang=lang), "whole": number(whole, lang=lang)}
    if most.height > 2:
        return Finding(say("{part} of {whole} departures name a delivery", lang, **words))
    names = [clipped(name, LONGEST // 2) for name in most["delivery"]]
    words["count"] = number(most["unsubscriptions"][0], lang=lang)
    if len(names) == 2:
        return Finding(
            say(
                "{part} of {whole} departures name a delivery; most name “{first}” and “{second}” ({count} each)",
                lang,
                first=names[0],
                second=names[1],
                **words,
            )
        )
    return Finding(
        say("{part} of {whole} departures name a delivery; most name “{name}” ({count})", lang, name=names[0], **words)
    )
