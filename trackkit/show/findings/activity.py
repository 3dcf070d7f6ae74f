"""Of time: when most happened, how soon half of it came, how far it will go."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Literal
from zoneinfo import ZoneInfo

import polars as pl

from trackkit.language import say, translatable
from trackkit.show.cells import is_open, require
from trackkit.show.findings.finding import LEAST, Finding, first_place
from trackkit.show.naming import Slot, slot_names
from trackkit.show.wording import elapsed, instant, number, percent

_HALF: Mapping[str, str] = translatable(
    {
        "opens": "Half of the opens came within {time}",
        "clicks": "Half of the clicks came within {time}",
        "transactions": "Half of the transactions came within {time}",
    }
)
_HALF_SO_FAR: Mapping[str, str] = translatable(
    {
        "opens": "Half of the opens so far came within {time}",
        "clicks": "Half of the clicks so far came within {time}",
        "transactions": "Half of the transactions so far came within {time}",
    }
)
# What is expected of a delivery that is not finished, by what is counted.
_AHEAD: Mapping[str, str] = translatable(
    {
        "unique_opens": "In the end {low} to {high} will have opened; at the newest hit known, {age} after the launch, "
        "{expected} of the final opens are expected to be in",
        "unique_clicks": "In the end {low} to {high} will have clicked; at the newest hit known, {age} after the "
        "launch, {expected} of the final clicks are expected to be in",
        "": "At the newest hit known, {age} after the launch, what it will come to cannot be said: {why}",
    }
)
_HOURS: Mapping[str, str] = translatable(
    {
        "opens": "{slot} is the busiest time for opens: {rate} ({part} of {whole})",
        "clicks": "{slot} is the busiest time for clicks: {rate} ({part} of {whole})",
        "transactions": "{slot} is the busiest time for transactions: {rate} ({part} of {whole})",
    }
)
_AT_LAUNCH: Mapping[str, str] = translatable(
    {
        "opens": "{slot}, the time of the launch, is the busiest for opens: {rate} ({part} of {whole})",
        "clicks": "{slot}, the time of the launch, is the busiest for clicks: {rate} ({part} of {whole})",
        "transactions": "{slot}, the time of the launch, is the busiest for transactions: {rate} ({part} of {whole})",
    }
)
_BUSIEST: Mapping[str, str] = translatable(
    {
        "opens": "The busiest hour for opens is {name}: {share} ({part} of {whole})",
        "clicks": "The busiest hour for clicks is {name}: {share} ({part} of {whole})",
    }
)
_STARTS: Mapping[str, str] = translatable(
    {
        "1h": "Busiest hour for clicks: from {name}, {share} ({part} of {whole})",
        "1d": "Busiest day for clicks: {name}, {share} ({part} of {whole})",
    }
)


def fastest_half(
    reached: pl.DataFrame,
    series: Literal["opens", "clicks", "transactions"],
    lang: str = "en",
    pace: pl.DataFrame | None = None,
) -> Finding | None:
    """Say within which time half of a series came; None below 30 events.

    In: the frame of `curves.time_to_reach`, with the share 0.5; and that of `sending.pace`, so that a delivery that is
    not over is said of as it is so far.

    >>> fastest_half(tk.curves.time_to_reach(store, delivery, [0.5]), "opens").text
    'Half of the opens came within 3 h 40 min'
    """
    require(["series", "share", "after", "total"], reached.columns)
    half = reached.filter(pl.col("series").cast(pl.String) == series, pl.col("share") == 0.5)
    if half.is_empty() or half["after"][0] is None or half["total"][0] < LEAST:
        return None
    return Finding(say((_HALF_SO_FAR if is_open(pace) else _HALF)[series], lang, time=elapsed(half["after"][0], lang)))


def how_far(forecast: pl.DataFrame, lang: str = "en") -> Finding | None:
    """Say which share of the final opens, or else clicks, is expected by now, and how many there will be in the end.

    In: the frame of `maturity.forecast`. None for a finished delivery, and for one of which nothing was sent.

    >>> how_far(tk.maturity.forecast(store, "7471233")) is None  # nothing compares
    False
    """
    open_ended = forecast.filter(pl.col("maturity").ne_missing("final"), pl.col("comparable").is_not_null())
    if open_ended.is_empty() or open_ended["age"][0] is None:
        return None
    row = open_ended.sort(pl.col("rate").is_null(), maintain_order=True).row(0, named=True)
    words = {"age": elapsed(row["age"], lang)}
    if row["rate"] is None:
        return Finding(say(_AHEAD[""], lang, **words, why=say(row["reason"], lang)))
    words |= {name: percent(row[f"rate_{name}"], lang=lang, of=row["messages"]) for name in ("low", "high")}
    return Finding(say(_AHEAD[row["metric"]], lang, **words, expected=percent(row["expected"], 0, lang)))


def reached_by_age(curves: pl.DataFrame, lang: str = "en") -> Finding | None:
    """Say what messages had reached at the greatest age known, since their own sending; None where nothing happened.

    In: the frame of `maturity.growing`.

    >>> reached_by_age(tk.maturity.growing(store, "7471233")).text
    '27.5% opened and 10.0% clicked within 1 h 37 min of being sent'
    """
    last = curves.filter(pl.col("share_so_far") > 0).group_by("series").agg(pl.all().sort_by("hours").last())
    rows = {row["series"]: row for row in last.iter_rows(named=True)}
    if set(rows) != {"opens", "clicks"}:
        return None
    words = {
        name: percent(rows[name]["share_so_far"], lang=lang, of=rows[name]["messages"]) for name in ("opens", "clicks")
    }
    time = elapsed(timedelta(hours=min(row["hours"] for row in rows.values())), lang)
    return Finding(say("{opens} opened and {clicks} clicked within {time} of being sent", lang, time=time, **words))


def last_share(reached: pl.DataFrame, lang: str = "en", pace: pl.DataFrame | None = None) -> Finding | None:
    """Say within which time the largest share of the clicks came; None without clicks.

    In: the frame of `curves.pareto`, and that of `sending.pace`.

    >>> last_share(tk.curves.pareto(store, delivery)).text
    '90% of the clicks came within 26 h 10 min'
    """
    if reached.is_empty() or reached["clicks"][-1] is None:
        return None
    words = {"share": percent(reached["share"][-1], 0, lang), "time": reached["clicks"][-1]}
    if is_open(pace):
        return Finding(say("{share} of the clicks so far came within {time}", lang, **words))
    return Finding(say("{share} of the clicks came within {time}", lang, **words))


def busiest(
    folded: pl.DataFrame,
    every: Slot,
    series: str,
    lang: str = "en",
    launched: datetime | None = None,
    timezone: str = "UTC",
) -> Finding | None:
    """Say in which hour of the day a series happens most, and if it is that of the launch; None below 30 events.

    In: the frame of `activities.folded_activity`. If it has another series only, that one is meant. None for weekdays:
    most happens on the day of the launch, whichever it is.

    >>> folded = tk.activities.folded_activity(store, delivery, "hour")
    >>> busiest(folded, "hour", "opens").text
    '17:00 is the busiest time for opens: 32.6% (15 of 46)'
    """
    if every == "day":
        return None
    names = folded["series"].cast(pl.String).unique(maintain_order=True).to_list()
    chosen = series if series in names or not names else names[0]
    is_known = (pl.col("series").cast(pl.String) == chosen) & pl.col("count").is_not_null()
    slots = folded.filter(is_known).sort("count", descending=True)
    if slots.height < 2 or (slots["total"][0] or 0) < LEAST or slots["count"][0] == slots["count"][1]:
        return None
    slot, count, total = slots.select("slot", "count", "total").row(0)
    words = {"slot": slot_names(every, lang)[slot], "part": number(count, lang=lang), "whole": number(total, lang=lang)}
    sentences = _AT_LAUNCH if launched and slot == _slot_of(launched, every, timezone) else _HOURS
    return Finding(say(sentences[chosen], lang, rate=percent(count / total, lang=lang, of=total), **words))


def busiest_hour(weekly: pl.DataFrame, series: Literal["opens", "clicks"], lang: str = "en") -> Finding | None:
    """Say in which hour of the week most happened; None below 30 events, or if two hours had as many.

    In: the frame of `activities.weekly_activity`.

    >>> weekly = tk.activities.weekly_activity(store, series="opens")
    >>> busiest_hour(weekly, "opens").text
    'The busiest hour for opens is Sunday 17:00: 23.8% (19 of 80)'
    """
    rows = weekly.filter(pl.col("series").cast(pl.String) == series)
    days, hours = slot_names("day", lang), slot_names("hour", lang)
    names = pl.Series(
        [f"{days[day]} {hours[hour]}" for day, hour in rows.select("weekday", "hour").rows()], dtype=pl.String
    )
    first = first_place(rows.with_columns(name=names), "count", "total", "name")
    return first and Finding(say(_BUSIEST[series], lang, **first(lang)))


def busiest_start(clicks: pl.DataFrame, every: Literal["1h", "1d"] = "1h", lang: str = "en") -> Finding | None:
    """Say in which hour, or on which day, most clicks came; None below 30, or if two had as many.

    In: the frame of `curves.activity`, or of `links.clicks_per_day` by the hour. One day alone is said by its hours.

    >>> activity = tk.curves.activity(store, delivery, "1h").with_columns(pl.col("count") * 30)
    >>> busiest_start(activity, "1h").text
    'Busiest hour for clicks: from Sun, 2026-11-01 19:00, 33.3% (120 of 360)'
    """
    named = clicks if "count" in clicks.columns else clicks.rename({"clicks": "count"})
    rows = named.filter(pl.col("series").cast(pl.String) == "clicks") if "series" in named.columns else named
    start = pl.col("starts_at").dt.truncate
    period = every if rows.select(start("1d").n_unique()).item() > 1 else "1h"
    starts = rows.group_by(start(period)).agg(pl.col("count").sum()).sort("starts_at")
    days = starts["starts_at"] if period == "1h" else starts["starts_at"].dt.date()
    zone = str(getattr(starts.schema["starts_at"], "time_zone", None) or "UTC")
    names = pl.Series([instant(at, zone, lang=lang, weekday=True) for at in days], dtype=pl.String)
    first = first_place(starts.with_columns(name=names, total=pl.col("count").sum()), "count", "total", "name")
    return None if first is None or starts.height < 2 else Finding(say(_STARTS[period], lang, **first(lang)))


def first_days(activity: pl.DataFrame, lang: str = "en") -> Finding | None:
    """Say how many of the opens and of the clicks came on the busiest day; None on one day alone, or below 30 of each.

    In: the frame of `activities.activity_over_time`.

    >>> activity = tk.activities.activity_over_time(store, delivery, "half_hour")
    >>> first_days(activity.with_columns(pl.col("count") * 30)).text
    '58.7% of the opens and 83.3% of the clicks came on Sun, 2026-11-01'
    """
    day, series = pl.col("starts_at").dt.date(), pl.col("series").cast(pl.String)
    days = activity.group_by(day=day, name=series).agg(pl.col("count").sum()).sort("day")
    busiest_day = days.group_by("day").agg(pl.col("count").sum()).sort("count", "day", descending=[True, False])
    totals = dict(days.group_by("name").agg(pl.col("count").sum()).iter_rows())
    if busiest_day.height < 2 or min(totals.get(name, 0) for name in ("opens", "clicks")) < LEAST:
        return None
    at = busiest_day["day"][0]
    on_day = dict(days.filter(pl.col("day") == at).select("name", "count").iter_rows())
    shares = {
        name: percent(on_day.get(name, 0) / totals[name], lang=lang, of=totals[name]) for name in ("opens", "clicks")
    }
    when = instant(at, lang=lang, weekday=True)
    return Finding(say("{opens} of the opens and {clicks} of the clicks came on {when}", lang, when=when, **shares))


def _slot_of(at: datetime, every: Slot, timezone: str) -> int:
    """The hour, or half-hour, of a day by the clock of a zone."""
    clock = at.astimezone(ZoneInfo(timezone))
    return (60 * clock.hour + clock.minute) // (60 if every == "hour" else 30)
