"""Of sharing on social networks: where and when most was shared."""

from collections.abc import Mapping

import polars as pl

from trackkit.language import say, translatable
from trackkit.show.findings.finding import LEAST, LONGEST, Finding, first_place, is_ahead, part_words
from trackkit.show.naming import CalendarPeriod, period_name
from trackkit.show.wording import clipped

_MOST_SHARED: Mapping[CalendarPeriod, str] = translatable(
    {
        "day": "Most was shared on {name}: {share} of the sharing activities ({part} of {whole})",
        "week": "{name} had most: {share} of the sharing activities ({part} of {whole})",
        "month": "Most was shared in {name}: {share} of the sharing activities ({part} of {whole})",
    }
)


def most_shared_on(sharing: pl.DataFrame, networks: Mapping[str, str], lang: str = "en") -> Finding | None:
    """Say on which network most was shared, or that none is ahead beyond chance; None below 30 sharing activities.

    In: the frame of `sharing.social_sharing`; `networks` maps each network to words.

    >>> sharing = tk.sharing.social_sharing(store).with_columns(pl.col("shares", "total_shares") * 30)
    >>> most_shared_on(sharing, {"email": "E-mail", "facebook": "Facebook"}).text
    'No network is clearly ahead: E-mail has 90 of 270 sharing activities (33.3%)'
    """
    named = sharing.filter(pl.col("row").cast(pl.String) == "network", pl.col("shares") > 0)
    ranked = named.with_columns(pl.col("network").replace(networks)).sort("shares", descending=True)
    if ranked.is_empty() or ranked["total_shares"][0] < LEAST:
        return None
    words = part_words(clipped(ranked["network"][0], LONGEST), ranked["shares"][0], ranked["total_shares"][0], lang)
    if is_ahead(ranked["shares"]):
        return Finding(say("Shared most by {name}: {part} of {whole} sharing activities ({share})", lang, **words))
    return Finding(
        say("No network is clearly ahead: {name} has {part} of {whole} sharing activities ({share})", lang, **words)
    )


def most_shared_in(activity: pl.DataFrame, every: CalendarPeriod = "month", lang: str = "en") -> Finding | None:
    """Say in which period most was shared; None below 30 sharing activities or in a single period.

    In: the frame of `sharing.sharing_activity`. Periods that are not whole say nothing.

    >>> months = pl.select(starts_on=pl.date_range(pl.date(2026, 5, 1), pl.date(2026, 6, 1), "1mo"))
    >>> months = months.with_columns(shares=pl.Series([40, 10]), is_whole=True)
    >>> most_shared_in(months).text
    'Most was shared in May 2026: 80.0% of the sharing activities (40 of 50)'
    """
    periods = activity.filter("is_whole")
    names = pl.Series([period_name(day, every, lang) for day in periods["starts_on"]], dtype=pl.String)
    total = activity.drop_nulls("starts_on")["shares"].sum()
    first = first_place(periods.with_columns(name=names, total=pl.lit(total)), "shares", "total", "name")
    if first is None or periods.height < 2:
        return None
    return Finding(say(_MOST_SHARED[every], lang, **first(lang)))
