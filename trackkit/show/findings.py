"""What a card says first: one sentence made of the figures that its chart or table shows.

Each function takes a tidy frame of `analysis` or `measure` and returns a `Finding`, or None if there is nothing worth
saying: too few cases, or no difference beyond chance. A notebook displays it in the section of its card.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

import polars as pl

from trackkit.definition_sets import QUESTION_LABELS
from trackkit.language import say, several, translatable
from trackkit.metrics import METRICS, beyond_chance
from trackkit.show.cells import OTHERS, RATES, is_open, label_of, require, spoken
from trackkit.show.naming import PERIODS, CalendarPeriod, Slot, enough_weeks, period_name, slot_names, version_label
from trackkit.show.wording import clipped, elapsed, instant, number, percent, precisely, round_percent

__all__ = [
    "LEAST",
    "Finding",
    "above",
    "above_average",
    "acts_counted",
    "below",
    "brought_most",
    "busiest",
    "busiest_hour",
    "busiest_start",
    "by_people",
    "clicked_most",
    "clicked_times",
    "counted_of",
    "counters_differ",
    "definitions_apart",
    "fails_most",
    "fastest",
    "fastest_half",
    "first_day",
    "first_days",
    "furthest",
    "grown",
    "half_of_acts",
    "highest",
    "how_far",
    "in_message",
    "invalid_addresses",
    "joined_lately",
    "largest",
    "largest_loss",
    "last_share",
    "leads",
    "left_by_rules",
    "left_from",
    "left_out",
    "limits_kept",
    "listed",
    "loses_most",
    "lowest",
    "machines",
    "most_clicked",
    "most_shared_in",
    "most_shared_on",
    "most_tagged",
    "most_used",
    "most_used_version",
    "most_visited",
    "on_mobiles",
    "opened_between",
    "opened_of",
    "opted_out",
    "opted_out_by_people",
    "outcome",
    "outlier",
    "outside_message",
    "pages_and_sales",
    "reached_by_age",
    "refused",
    "scanned",
    "sent_within",
    "shown_of",
    "stands_out",
    "strongest_in_message",
    "strongest_link",
    "tied_by",
    "together",
    "unlike_before",
    "unlike_others",
]

MIME = "application/vnd.trackkit.finding+json"
LEAST = 30  # fewer cases than this prove nothing
CASES = 3  # a group above what is advised has at least as many: one or two are chance
RECENT = 4  # weeks, beside as many before
LONGEST = 60  # letters of a name in a sentence
ADDED_ROWS = ("others", "total", "seven")  # rows that are no groups, in frames with a column `row`
NO_GROUPS = ("others", "total", "seven", "detail", "unlisted")
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
_REACHED: Mapping[str, str] = translatable(
    {
        "unique_opens": "Of {messages} messages, {count} were opened",
        "unique_clicks": "Of {messages} messages, {count} were clicked",
        "buyers": "Of {messages} messages, {count} had a buyer",
    }
)
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
APART = 1.05  # one rate is so many times another: worth a sentence
# What differs between the lowest and the highest rate, by whether they have the numerator, and the denominator, alike.
_DIFFERS: Mapping[tuple[bool, bool], str] = translatable(
    {
        (True, False): "{question}: between {low} and {high}, by definition: what differs is the denominator",
        (False, True): "{question}: between {low} and {high}, by definition: what differs is what is counted",
        (False, False): "{question}: between {low} and {high}, by definition: what is counted differs, and out of what",
    }
)
# What is expected of a delivery that is not finished, by what is counted.
_AHEAD: Mapping[str, str] = translatable(
    {
        "unique_opens": "At the newest hit known, {age} after the launch, {expected} of the final opens are expected "
        "to be in; in the end {low} to {high} will have opened",
        "unique_clicks": "At the newest hit known, {age} after the launch, {expected} of the final clicks are expected "
        "to be in; in the end {low} to {high} will have clicked",
        "": "At the newest hit known, {age} after the launch, what it will come to cannot be said: {why}",
    }
)
# The largest part of a whole, by what is counted.
_LARGEST: Mapping[str, str] = translatable(
    {
        "recipients": "{name}: {part} of {whole} left out ({rate})",
        "errors": "{name}: {part} of {whole} errors ({rate})",
        "messages": "“{name}”: {part} of {whole} errors ({rate})",
        "opens": "{name}: {part} of {whole} opens ({rate})",
    }
)
# Where the unnamed are more than the largest part.
_LARGEST_KNOWN: Mapping[str, str] = translatable(
    {"opens": "{name}: {part} of the {whole} opens where it is known ({rate})"}
)
_CUT: Mapping[str, str] = translatable(
    {
        "hits": "The first {shown} of {count} hits",
        "messages": "The first {shown} of {count} messages",
        "recipients": "The first {shown} of {count} recipients left out",
    }
)
_NARROWED: Mapping[str, str] = translatable(
    {
        "hits": "{count} of {whole} hits, as asked for",
        "messages": "{count} of {whole} messages, as asked for",
        "recipients": "{count} of {whole} recipients left out, as asked for",
    }
)
_NARROWED_AND_CUT: Mapping[str, str] = translatable(
    {
        "hits": "{count} of {whole} hits, as asked for; here are the first {shown}",
        "messages": "{count} of {whole} messages, as asked for; here are the first {shown}",
        "recipients": "{count} of {whole} recipients left out, as asked for; here are the first {shown}",
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
_MOST_SHARED: Mapping[CalendarPeriod, str] = translatable(
    {
        "day": "Most was shared on {name}: {share} of the sharing activities ({part} of {whole})",
        "week": "{name} had most: {share} of the sharing activities ({part} of {whole})",
        "month": "Most was shared in {name}: {share} of the sharing activities ({part} of {whole})",
    }
)
_GREW = translatable("{name} grew by {change} to {subscribers} subscribers in {period}: {joined} joined, {left} left")
_SHRANK = translatable("{name} lost {change} to {subscribers} subscribers in {period}: {joined} joined, {left} left")


# What became of the messages, out of those to deliver or processed.
_OUTCOMES: Mapping[str, str] = translatable(
    {
        "to_deliver": "{part} of {whole} messages were delivered ({rate})",
        "with_seeds": "{part} of {whole} messages were delivered, control addresses included ({rate})",
        "processed": "{part} of {whole} messages processed were delivered ({rate})",
        "pending": "{part} of {whole} messages were delivered ({rate}), {pending} are pending",
        "pending_with_seeds": "{part} of {whole} messages were delivered, control addresses included ({rate}); "
        "{pending} are pending",
    }
)
_FASTEST: Mapping[str, str] = translatable(
    {
        "messages_per_hour": "At most {speed} messages per hour, from {when} on",
        "bits_per_second": "At most {speed} bits per second, from {when} on",
    }
)
# The period that most messages went out in, by its seconds.
_MOST_SENT: Mapping[int, str] = translatable(
    {
        60: "Busiest minute: {messages} messages ({when})",
        600: "Busiest ten minutes: {messages} messages (from {when})",
        3_600: "Busiest hour: {messages} messages (from {when})",
    }
)
_STARTS: Mapping[str, str] = translatable(
    {
        "1h": "Busiest hour for clicks: from {name}, {share} ({part} of {whole})",
        "1d": "Busiest day for clicks: {name}, {share} ({part} of {whole})",
    }
)


# Which delivery has most and least, by the rate, whether two share the first place, and whether some are not finished.
_MOST_AND_LEAST: Mapping[str, str] = translatable(
    {
        "open_rate": "Opened most: “{first}”, {most}; least: “{last}”, {least}",
        "open_rate, two": "Opened most: “{first}” and “{second}”, {most}; least: “{last}”, {least}",
        "open_rate, finished": "Of what is finished, opened most: “{first}”, {most}; least: “{last}”, {least}",
        "open_rate, two, finished": "Of what is finished, opened most: “{first}” and “{second}”, {most}; "
        "least: “{last}”, {least}",
        "recipient_click_rate": "Clicked most: “{first}”, {most}; least: “{last}”, {least}",
        "recipient_click_rate, two": "Clicked most: “{first}” and “{second}”, {most}; least: “{last}”, {least}",
        "recipient_click_rate, finished": "Of what is finished, clicked most: “{first}”, {most}; "
        "least: “{last}”, {least}",
        "recipient_click_rate, two, finished": "Of what is finished, clicked most: “{first}” and “{second}”, {most}; "
        "least: “{last}”, {least}",
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
    rates. Raises RequestError for a column that the frame does not have; None for the metric "".

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


def stands_out(rows: pl.DataFrame, column: str, metric: str, lang: str = "en") -> Finding | None:
    """Say which group is lowest, or else highest, as `lowest` does; or else that none stands out.

    None if fewer than three groups have 30 cases, or all rates are 0.
    """
    found = lowest(rows, column, metric, lang) or highest(rows, column, metric, lang)
    groups = _groups(rows, column, metric)
    if found or groups.height < 3 or not groups["rate"][0]:
        return found
    label = label_of(metric, lang)
    shown = [percent(groups["rate"][at], lang=lang, of=groups["whole"][at]) for at in (-1, 0)]
    words = {"label": label, "lowest": shown[0], "highest": shown[1]}
    if column == "domain":
        return Finding(say("No domain stands out: {label} {lowest} to {highest}, within chance", lang, **words))
    return Finding(say("None stands out: {label} {lowest} to {highest}, within chance", lang, **words))


def furthest(steps: pl.DataFrame, lang: str = "en") -> Finding | None:
    """Say how many messages came to the last step that any came to; None if none was opened.

    In: the frame of `overview.funnel`.
    """
    require(["step", "count"], steps.columns)
    reached = steps.filter(pl.col("count") > 0, pl.col("step").is_in(list(_REACHED)))
    first = steps["count"][0] if steps.height else None
    if reached.is_empty() or not first:
        return None
    step, count = reached.select("step", "count").row(-1)
    words = {"messages": number(first, lang=lang), "count": number(count, lang=lang)}
    return Finding(say(_REACHED[step], lang, **words))


def above(rows: pl.DataFrame, column: str, metric: str, ceiling: float, lang: str = "en") -> Finding | None:
    """Say which groups have a rate above what is advised, the highest first; or that none has.

    In: a frame as for `lowest`. Groups of fewer than 30 are left out; None if no other is there. Fewer than 3 cases are
    not above.
    """
    groups = _groups(rows, column, metric)
    if groups.is_empty():
        return None
    label, limit = label_of(metric, lang), round_percent(ceiling, lang)
    over = groups.filter(pl.col("rate") > ceiling, pl.col("part") >= CASES)
    if over.is_empty():
        return Finding(say("{label}: nowhere above the advised {limit}", lang, label=label, limit=limit))
    words = {"label": label, "limit": limit, **_words(over.row(0, named=True), lang)}
    if over.height == 1:
        return Finding(say("{label}: {rate} at {name}, advised at most {limit}", lang, **words))
    words["others"] = number(over.height - 1, lang=lang)
    return Finding(say("{label}: {rate} at {name} and {others} more above the advised {limit}", lang, **words))


def below(rows: pl.DataFrame, column: str, metric: str, floor: float, lang: str = "en") -> Finding | None:
    """Say which groups have a rate below what is wanted, the lowest first; or that none has.

    In: a frame as for `lowest`. Groups of fewer than 30 are left out; None if no other is there.
    """
    groups = _groups(rows, column, metric)
    if groups.is_empty():
        return None
    label, limit = label_of(metric, lang), round_percent(floor, lang)
    under = groups.filter(pl.col("rate") < floor).sort("rate")
    if under.is_empty():
        return Finding(say("{label}: nowhere below {limit}", lang, label=label, limit=limit))
    words = {"label": label, "limit": limit, **_words(under.row(0, named=True), lang)}
    if under.height == 1:
        return Finding(say("{label}: {rate} at {name}, wanted at least {limit}", lang, **words))
    words["others"] = number(under.height - 1, lang=lang)
    return Finding(say("{label}: {rate} at {name} and {others} more below {limit}", lang, **words))


def fastest_half(
    reached: pl.DataFrame,
    series: Literal["opens", "clicks", "transactions"],
    lang: str = "en",
    pace: pl.DataFrame | None = None,
) -> Finding | None:
    """Say within which time half of a series came; None below 30 events.

    In: the frame of `curves.time_to_reach`, with the share 0.5; and that of `sending.pace`, so that a delivery that is
    not over is said of as it is so far.
    """
    require(["series", "share", "after", "total"], reached.columns)
    half = reached.filter(pl.col("series").cast(pl.String) == series, pl.col("share") == 0.5)
    if half.is_empty() or half["after"][0] is None or half["total"][0] < LEAST:
        return None
    return Finding(say((_HALF_SO_FAR if is_open(pace) else _HALF)[series], lang, time=elapsed(half["after"][0], lang)))


def how_far(forecast: pl.DataFrame, lang: str = "en") -> Finding | None:
    """Say which share of the final opens, or else clicks, is expected by now, and how many there will be in the end.

    In: the frame of `maturity.forecast`. None for a finished delivery, and for one of which nothing was sent.
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


def strongest_link(links: pl.DataFrame, lang: str = "en") -> Finding | None:
    """Say which link took most of the clicks; None below 30 clicks, or if the first place is shared by more than two.

    In: the frame of `links.link_clicks` or `clickmap.clicked_links`.

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


def strongest_in_message(links: pl.DataFrame, lang: str = "en") -> Finding | None:
    """Say which link took most of the clicks in the message; None below 30 clicks, or if two took as many.

    In: the frame of `clickmap.message_links`.
    """
    first = _first(links, "clicks", "message_clicks", "text")
    if first is None:
        return None
    return Finding(say("“{name}” took {share} of the clicks in the message ({part} of {whole})", lang, **first(lang)))


def most_visited(pages: pl.DataFrame, lang: str = "en") -> Finding | None:
    """Say which page was displayed most; None below 30 pages, or if two were as often.

    In: the frame of `links.link_clicks` of the site's pages.
    """
    first = _first(pages.filter(pl.col("row").cast(pl.String) == "link"), "clicks", "total", "link")
    return first and Finding(say("“{name}” is {share} of the pages displayed ({part} of {whole})", lang, **first(lang)))


def most_used(usage: pl.DataFrame, lang: str = "en") -> Finding | None:
    """Say which browser or system most visitors use; None below 30 visitors, or if two are used as much.

    In: the frame of `audience.usage`.
    """
    first = _first(usage.filter(pl.col("row").cast(pl.String) == "group"), "visitors", "total", "name")
    return first and Finding(say("{name} is used most: {share} of visitors ({part} of {whole})", lang, **first(lang)))


def most_used_version(versions: pl.DataFrame, lang: str = "en") -> Finding | None:
    """Say which version most visitors use, as `most_used` does. In: the frame of `audience.versions`."""
    known = versions.filter(pl.col("row").cast(pl.String) == "group", pl.col("version").is_not_null())
    named = known.with_columns(label=version_label())
    first = _first(named, "visitors", "total", "label")
    return first and Finding(say("{name} is used most: {share} of visitors ({part} of {whole})", lang, **first(lang)))


def leads(weekly: pl.DataFrame, lang: str = "en") -> Finding | None:
    """Say in how many weeks the most used name, or version, was ahead of all others; None of fewer than two weeks.

    In: the frame of `audience.weekly`. Weeks of fewer than 20 visitors are left out, unless there are no others.
    """
    groups = enough_weeks(weekly).filter(pl.col("row").cast(pl.String) == "group")
    is_split = groups["version"].is_not_null().any()
    first = groups.filter(pl.col("rank") == 1, pl.col("version" if is_split else "name").is_not_null())
    if first.height < 2:
        return None
    ahead = first.join(groups.group_by("week").agg(most=pl.col("visitors").max()), on="week")
    count = ahead.filter(pl.col("visitors") == pl.col("most")).height
    name = clipped(first.select(version_label() if is_split else "name").item(0, 0), LONGEST)
    words = {"name": name, "weeks": number(first.height, lang=lang), "count": number(count, lang=lang)}
    if count == first.height:
        return Finding(say("{name} leads in each of the {weeks} weeks", lang, **words))
    return Finding(say("{name} leads in {count} of {weeks} weeks", lang, **words))


def most_shared_on(sharing: pl.DataFrame, networks: Mapping[str, str], lang: str = "en") -> Finding | None:
    """Say on which network most was shared, or that none is ahead beyond chance; None below 30 sharing activities.

    In: the frame of `sharing.social_sharing`; `networks` maps each network to words.
    """
    named = sharing.filter(pl.col("row").cast(pl.String) == "network", pl.col("shares") > 0)
    ranked = named.with_columns(pl.col("network").replace(networks)).sort("shares", descending=True)
    if ranked.is_empty() or ranked["total_shares"][0] < LEAST:
        return None
    words = _parts(clipped(ranked["network"][0], LONGEST), ranked["shares"][0], ranked["total_shares"][0], lang)
    if _is_ahead(ranked["shares"]):
        return Finding(say("Shared most by {name}: {part} of {whole} sharing activities ({share})", lang, **words))
    return Finding(
        say("No network is clearly ahead: {name} has {part} of {whole} sharing activities ({share})", lang, **words)
    )


def most_shared_in(activity: pl.DataFrame, every: CalendarPeriod = "month", lang: str = "en") -> Finding | None:
    """Say in which period most was shared; None below 30 sharing activities or in a single period.

    In: the frame of `sharing.sharing_activity`. Periods that are not whole say nothing.
    """
    periods = activity.filter("is_whole")
    names = pl.Series([period_name(day, every, lang) for day in periods["starts_on"]], dtype=pl.String)
    total = activity.drop_nulls("starts_on")["shares"].sum()
    first = _first(periods.with_columns(name=names, total=pl.lit(total)), "shares", "total", "name")
    if first is None or periods.height < 2:
        return None
    return Finding(say(_MOST_SHARED[every], lang, **first(lang)))


def busiest_hour(weekly: pl.DataFrame, series: Literal["opens", "clicks"], lang: str = "en") -> Finding | None:
    """Say in which hour of the week most happened; None below 30 events, or if two hours had as many.

    In: the frame of `activities.weekly_activity`.
    """
    rows = weekly.filter(pl.col("series").cast(pl.String) == series)
    days, hours = slot_names("day", lang), slot_names("hour", lang)
    names = pl.Series(
        [f"{days[day]} {hours[hour]}" for day, hour in rows.select("weekday", "hour").rows()], dtype=pl.String
    )
    first = _first(rows.with_columns(name=names), "count", "total", "name")
    return first and Finding(say(_BUSIEST[series], lang, **first(lang)))


def together(
    rows: pl.DataFrame,
    total: pl.DataFrame,
    lang: str = "en",
    unfinished: Sequence[str] = (),
    opened: str = "open_rate",
    clicked: str = "recipient_click_rate",
) -> Finding | None:
    """Say which delivery was opened most and which least; of fewer than three, how many people opened and clicked.

    In: the two frames of `several.side_by_side`, with the rates `opened` and `clicked` and `delivered`. Deliveries of
    fewer than 30, those of unknown opens and the `unfinished` (by id) are not compared. None if nothing is known, or
    where the page's definitions have no such rate ("").
    """
    require([*filter(None, [opened, clicked]), "delivered"], total.columns)
    found = _most_and_least(rows, opened, "open_rate", lang, unfinished)
    return found or (_opened_together(rows, total, opened, clicked, lang) if opened and clicked else None)


def clicked_most(
    rows: pl.DataFrame, lang: str = "en", unfinished: Sequence[str] = (), clicked: str = "recipient_click_rate"
) -> Finding | None:
    """Say which delivery was clicked most and which least, as `together` does of opens; None of fewer than three."""
    return _most_and_least(rows, clicked, "recipient_click_rate", lang, unfinished)


def _most_and_least(
    rows: pl.DataFrame, metric: str, meaning: str, lang: str, unfinished: Sequence[str]
) -> Finding | None:
    if not metric:
        return None
    over = rows.filter(~pl.col("delivery_id").is_in(list(unfinished))) if unfinished else rows
    known = over.filter(pl.col("delivered") >= LEAST, pl.col(metric).is_not_null())
    ranked = known.sort(metric, descending=True)
    if ranked.height < 3 or ranked[metric][0] == ranked[metric][-1]:
        return None
    rates = [percent(rate, lang=lang, of=of) for rate, of in ranked.select(metric, "delivered").rows()]
    names = [clipped(name, LONGEST) for name in ranked["delivery"]]
    words = {"first": names[0], "last": names[-1], "most": rates[0], "least": rates[-1]}
    is_shared = rates[0] == rates[1] != rates[2]  # as they are shown
    kind = [meaning, *(["two"] if is_shared else []), *(["finished"] if unfinished else [])]
    return Finding(say(_MOST_AND_LEAST[", ".join(kind)], lang, **words, second=names[1]))


def _opened_together(rows: pl.DataFrame, total: pl.DataFrame, opened: str, clicked: str, lang: str) -> Finding | None:
    values = total.select(opened=opened, clicked=clicked).row(0, named=True)
    if None in values.values():
        return None
    delivered = total["delivered"].item()
    rates = {name: percent(value, lang=lang, of=delivered) for name, value in values.items()}
    return Finding(
        several(
            "{count} delivery: {opened} opened, {clicked} clicked",
            "{count} deliveries: {opened} opened, {clicked} clicked",
            rows.height,
            lang,
            **rates,
        )
    )


def grown(progress: pl.DataFrame, period: str, lang: str = "en") -> Finding | None:
    """Say how the largest service grew or shrank over a period; None if nobody joined or left.

    In: the frame of `subscriptions.subscription_progress`.
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
    """
    is_period = pl.col("period").cast(pl.String) == period
    rows = progress.filter(is_period, pl.col("everybody") >= LEAST).sort("loss_rate", descending=True)
    if rows.height < 2 or rows["left"][0] < CASES:
        return grown(progress, period, lang)
    first = rows.row(0, named=True)
    left, everybody = rows[1:].select("left", "everybody").sum().row(0)
    if not beyond_chance(first["loss_rate"], left / everybody, first["everybody"]):
        return grown(progress, period, lang)
    words = _parts(clipped(first["service"], LONGEST), first["left"], first["everybody"], lang)
    words["period"] = say(PERIODS[period], lang)
    return Finding(say("{name} loses most: {share} left in {period} ({part} of {whole})", lang, **words))


def joined_lately(weeks: pl.DataFrame, lang: str = "en") -> Finding | None:
    """Say how many joined and left in the last four whole weeks, and in the four before; None with fewer weeks.

    In: the frame of `subscriptions.acts_by_week`; all services are added up.
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


def pages_and_sales(measured: pl.DataFrame, lang: str = "en") -> Finding | None:
    """Say how many pages were displayed and what was sold; None if a figure is unknown or nothing was displayed.

    In: a frame of `measure` with one row, and `web_visits`, `sales` and `sales_amount`.
    """
    row = measured.row(0, named=True)
    if not row.get("web_visits") or row.get("sales") is None or row.get("sales_amount") is None:
        return None
    pages, amount = number(row["web_visits"], lang=lang), number(row["sales_amount"], 2, lang)
    words = {"pages": pages, "amount": amount}
    return Finding(
        several(
            "{pages} pages displayed, {count} sale worth {amount}",
            "{pages} pages displayed, {count} sales worth {amount}",
            row["sales"],
            lang,
            **words,
        )
    )


def counted_of(conversion: pl.DataFrame, lang: str = "en") -> Finding | None:
    """Say how many of the visitors of the most visited path count, and how many began; None without visitors.

    In: the frame of `webapp.conversion`.
    """
    if conversion.is_empty() or not conversion["everyone"][0]:
        return None
    row = conversion.row(0, named=True)
    counts = {name: number(row[name], lang=lang) for name in ("everyone", "visitors", "started")}
    return Finding(
        say(
            "{name}: of {everyone} visitors, {visitors} are counted, of whom {started} began",
            lang,
            name=_path_name(row),
            **counts,
        )
    )


def largest_loss(steps: pl.DataFrame, lang: str = "en") -> Finding | None:
    """Say at which step the largest part is lost, and, if that is another, at which most people are.

    None if no step was reached by 30 or lost anybody.

    In: the frame of `webapp.funnel`.
    """
    rows = steps.filter(pl.col("before") >= LEAST, pl.col("lost") > 0)
    if rows.is_empty():
        return None
    row = rows.sort("loss_rate", "lost", descending=True).row(0, named=True)
    most = rows.sort("lost", "loss_rate", descending=True).row(0, named=True)
    words = _parts(clipped(row["page"] or "", LONGEST), row["lost"], row["before"], lang) | {"path": _path_name(row)}
    if most["lost"] == row["lost"]:
        return Finding(say("Most are lost before “{name}” of {path}: {share} ({part} of {whole})", lang, **words))
    people = {"most": number(most["lost"], lang=lang), "all": number(most["before"], lang=lang)}
    people |= {"other": clipped(most["page"] or "", LONGEST), "other_path": _path_name(most)}
    return Finding(
        say(
            "Largest loss: {share} before “{name}” of {path} ({part} of {whole}); "
            "most people: {most} of {all}, before “{other}” of {other_path}",
            lang,
            **words,
            **people,
        )
    )


def brought_most(sources: pl.DataFrame, lang: str = "en") -> Finding | None:
    """Say which delivery brought most visitors of one path, or that none is ahead beyond chance; None below 30 known.

    In: the frame of `webapp.traffic_sources` for one path.
    """
    known = sources.filter(pl.col("found_by").cast(pl.String).fill_null("others") != "nothing")
    ranked = known.filter(pl.col("rank").is_not_null(), pl.col("source").is_not_null())
    rows = ranked.with_columns(of=pl.lit(known["visitors"].sum()))
    first = _first(rows, "visitors", "of", "source")
    if first and rows.height > 1 and not _is_ahead(rows["visitors"]):
        whole = sources["total"][0]
        counts = _parts(_path_name(sources.row(0, named=True)), whole - known["visitors"].sum(), whole, lang)
        return Finding(
            say(
                "{name}: no delivery is clearly ahead; {part} of {whole} visitors name none ({share})",
                lang,
                **counts,
            )
        )
    return first and Finding(
        say("“{name}” brought most: {part} of the {whole} visitors whose delivery is known", lang, **first(lang))
    )


def refused(choices: pl.DataFrame, lang: str = "en") -> Finding | None:
    """Say how many visitors refused web tracking; None without visitors.

    In: the frame of `consent.consent_counts`; visitors of several applications are in it once for each.
    """
    whole = int(choices["visitors"].sum())
    if not whole:
        return None
    part = int(choices.filter(pl.col("web_choice").cast(pl.String) == "refused")["visitors"].sum())
    words = _parts("", part, whole, lang)
    if not part:
        return Finding(say("No visitor of {whole} refused web tracking", lang, whole=words["whole"]))
    return Finding(say("{share} refused web tracking ({part} of {whole})", lang, **words))


def first_day(activity: pl.DataFrame, lang: str = "en") -> Finding | None:
    """Say how much of a delivery's pages were displayed on the first day, or, of one day, in the busiest hour.

    None below 30 pages, or if two hours of the one day had as many.

    In: the frame of `web.visit_activity`.
    """
    whole = int(activity["count"].sum())
    if whole < LEAST:
        return None
    day = pl.col("starts_at").dt.date()
    if activity.select(day.n_unique()).item() == 1:
        return _busiest_hour_of(activity, lang)
    part = int(activity.filter(day == day.min())["count"].sum())
    words = _parts("", part, whole, lang)
    return Finding(say("{share} of the pages were displayed on the first day ({part} of {whole})", lang, **words))


def first_days(activity: pl.DataFrame, lang: str = "en") -> Finding | None:
    """Say how many of the opens and of the clicks came on the busiest day; None on one day alone, or below 30 of each.

    In: the frame of `activities.activity_over_time`.
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


def _busiest_hour_of(activity: pl.DataFrame, lang: str) -> Finding | None:
    """In which hour of one day most pages were displayed."""
    hours = activity.group_by(pl.col("starts_at").dt.truncate("1h")).agg(pl.col("count").sum()).sort("starts_at")
    names = hours["starts_at"].dt.strftime("%H:%M")
    first = _first(hours.with_columns(name=names, total=pl.col("count").sum()), "count", "total", "name")
    if first is None or hours.height == 1:
        return None
    return Finding(
        say("Busiest hour so far: from {name}, {share} of the pages ({part} of {whole})", lang, **first(lang))
    )


def opened_of(sent: pl.DataFrame, lang: str = "en") -> Finding | None:
    """Say how many of the messages of one recipient were opened and clicked; None for those of several.

    In: the frame of `messages.messages`.
    """
    if not {"recipient_id", "opens", "clicks"} <= set(sent.columns) or sent["recipient_id"].n_unique() != 1:
        return None
    if sent.height < 2:
        return None
    opened, clicked = (number(sent.filter(pl.col(name) > 0).height, lang=lang) for name in ("opens", "clicks"))
    words = {"opened": opened, "clicked": clicked, "sent": number(sent.height, lang=lang)}
    return Finding(say("Of {sent} messages, {opened} were opened and {clicked} clicked", lang, **words))


def acts_counted(acts: pl.DataFrame, labels: Mapping[str, str], lang: str = "en") -> Finding | None:
    """Say how often each kind of act happened; None without any. In: the frame of `story.timeline`."""
    counts = dict(acts.select(pl.col("act").cast(pl.String).value_counts()).unnest("act").iter_rows())
    words = [f"{say(word, lang)} {number(counts[act], lang=lang)}" for act, word in labels.items() if act in counts]
    return Finding(" · ".join(words)) if words else None


def outcome(measured: pl.DataFrame, over: Literal["to_deliver", "processed"], lang: str = "en") -> Finding | None:
    """Say how many of the messages to deliver, or of those processed, were delivered; None if that is unknown.

    In: a frame of `measure` with one row, and `over`, `delivered_with_seeds` or `delivered`, and maybe `pending`.
    """
    row = measured.row(0, named=True)
    part, whole = row.get("delivered_with_seeds", row.get("delivered")), row[over]
    is_open = over == "to_deliver" and row.get("pending")
    words = {"pending": number(row["pending"], lang=lang)} if is_open else {}
    kind: str = "pending" if is_open else over
    if over == "to_deliver" and "delivered_with_seeds" in row:
        kind = "pending_with_seeds" if is_open else "with_seeds"
    return _of(say(_OUTCOMES[kind], lang), part, whole, lang, **words)


def left_out(measured: pl.DataFrame, lang: str = "en") -> Finding | None:
    """Say how many recipients of the initial population were left out; None if that is unknown.

    In: a frame of `measure` with one row, and `rejected` and `targeted`.
    """
    row = measured.row(0, named=True)
    sentence = say("{part} of {whole} recipients were left out before sending ({rate})", lang)
    return _of(sentence, row["rejected"], row["targeted"], lang)


def sent_within(pace: pl.DataFrame, lang: str = "en") -> Finding | None:
    """Say how fast messages went out, and how many are pending; None below one message an hour, or if unknown.

    In: the frame of `sending.pace`.
    """
    row = pace.row(0, named=True)
    if not row["last_at"] or not row["started_at"] or (row["messages_per_hour"] or 0) < 1:
        return None
    spent, speed = precisely(row["last_at"] - row["started_at"], lang), number(row["messages_per_hour"], lang=lang)
    words = {"spent": spent, "speed": speed, "pending": number(row["pending"], lang=lang)}
    if row["pending"]:
        return Finding(say("{pending} messages are pending after {spent} at {speed} an hour", lang, **words))
    return Finding(say("Sent within {spent}, at {speed} messages an hour", lang, **words))


def fastest(
    throughput: pl.DataFrame,
    speed: Literal["messages_per_hour", "bits_per_second"] = "messages_per_hour",
    lang: str = "en",
) -> Finding | None:
    """Say when the sending was fastest, and how fast; None below 1, or if unknown. In: `sending.throughput`."""
    starts = throughput.group_by("starts_at").agg(pl.col(speed, "messages").sum(), pl.col("seconds").max())
    starts = starts.sort(speed, "starts_at", descending=[True, False])
    if starts.is_empty() or starts[speed][0] < 1:
        return None
    at, seconds = starts["starts_at"][0], starts["seconds"][0]
    words = {"speed": number(starts[speed][0], lang=lang), "when": instant(at, str(at.tzinfo), lang=lang, weekday=True)}
    if speed == "messages_per_hour" and seconds in _MOST_SENT:
        words["messages"] = number(starts["messages"][0], lang=lang)
        return Finding(say(_MOST_SENT[seconds], lang, **words))
    return Finding(say(_FASTEST[speed], lang, **words))


def on_mobiles(opens: pl.DataFrame, lang: str = "en") -> Finding | None:
    """Say how many of the opens on known devices were on mobiles; None below 30 of them.

    In: the frame of `audience.opens_by`.
    """
    total = opens.filter(pl.col("row").cast(pl.String) == "total").select("computer", "mobile")
    computer, mobile = total.row(0) if total.height else (0, 0)
    if (computer or 0) + (mobile or 0) < LEAST:
        return None
    sentence = say("{rate} of the opens on known devices were on mobiles ({part} of {whole})", lang)
    return _of(sentence, mobile, computer + mobile, lang)


def above_average(figures: pl.DataFrame, lang: str = "en") -> Finding | None:
    """Say how many of those who opened clicked, beside the platform average; None if that is unknown.

    In: the frame of `links.click_figures`.
    """
    row = figures.row(0, named=True)
    if row["platform_average"] is None:
        return _of(
            say("{part} of the estimated {whole} who opened clicked ({rate})", lang),
            row["numerator"],
            row["denominator"],
            lang,
        )
    average = percent(row["platform_average"], lang=lang, of=row["denominator"])
    sentence = say(
        "{part} of the estimated {whole} who opened clicked ({rate}); the platform average is {average}", lang
    )
    return _of(sentence, row["numerator"], row["denominator"], lang, average=average)


def clicked_times(measured: pl.DataFrame, lang: str = "en") -> Finding | None:
    """Say how many recipients clicked how often; None if that is unknown, or nobody did.

    In: a frame of `measure` with one row, and `unique_clicks` and `total_clicks`.
    """
    people, clicks = measured.select("unique_clicks", "total_clicks").row(0)
    if not people or not clicks:
        return None
    recipients = number(people, lang=lang)
    return Finding(
        several(
            "{recipients} recipients clicked {count} time",
            "{recipients} recipients clicked {count} times",
            clicks,
            lang,
            recipients=recipients,
        )
    )


def busiest_start(clicks: pl.DataFrame, every: Literal["1h", "1d"] = "1h", lang: str = "en") -> Finding | None:
    """Say in which hour, or on which day, most clicks came; None below 30, or if two had as many.

    In: the frame of `curves.activity`, or of `links.clicks_per_day` by the hour. One day alone is said by its hours.
    """
    named = clicks if "count" in clicks.columns else clicks.rename({"clicks": "count"})
    rows = named.filter(pl.col("series").cast(pl.String) == "clicks") if "series" in named.columns else named
    start = pl.col("starts_at").dt.truncate
    period = every if rows.select(start("1d").n_unique()).item() > 1 else "1h"
    starts = rows.group_by(start(period)).agg(pl.col("count").sum()).sort("starts_at")
    days = starts["starts_at"] if period == "1h" else starts["starts_at"].dt.date()
    zone = str(getattr(starts.schema["starts_at"], "time_zone", None) or "UTC")
    names = pl.Series([instant(at, zone, lang=lang, weekday=True) for at in days], dtype=pl.String)
    first = _first(starts.with_columns(name=names, total=pl.col("count").sum()), "count", "total", "name")
    return None if first is None or starts.height < 2 else Finding(say(_STARTS[period], lang, **first(lang)))


def last_share(reached: pl.DataFrame, lang: str = "en", pace: pl.DataFrame | None = None) -> Finding | None:
    """Say within which time the largest share of the clicks came; None without clicks.

    In: the frame of `curves.pareto`, and that of `sending.pace`.
    """
    if reached.is_empty() or reached["clicks"][-1] is None:
        return None
    words = {"share": percent(reached["share"][-1], 0, lang), "time": reached["clicks"][-1]}
    if is_open(pace):
        return Finding(say("{share} of the clicks so far came within {time}", lang, **words))
    return Finding(say("{share} of the clicks came within {time}", lang, **words))


def most_clicked(links: pl.DataFrame, lang: str = "en") -> Finding | None:
    """Say which tracked link took most of all clicks; None below 30, or if two took as many.

    In: the frame of `links.tracked_links`, or of `links.link_clicks`.
    """
    if "link" in links.columns:
        named = links.filter(pl.col("row").cast(pl.String) == "link").with_columns(name="link")
    else:
        named = links.with_columns(name=pl.coalesce("label", "url"))
    first = _first(named, "clicks", "total", "name")
    return first and Finding(say("“{name}” took {share} of all clicks ({part} of {whole})", lang, **first(lang)))


def in_message(placement: pl.DataFrame, lang: str = "en") -> Finding | None:
    """Say how many of all clicks were on links of the message; None without clicks. In: `clickmap.placement`."""
    row = placement.row(0, named=True)
    sentence = say("{part} of {whole} clicks were on links of the message ({rate})", lang)
    return _of(sentence, row["placed_clicks"], row["total"], lang)


def outside_message(placement: pl.DataFrame, lang: str = "en") -> Finding | None:
    """Say how many of all clicks were on other links; None without clicks. In: `clickmap.placement`."""
    row = placement.row(0, named=True)
    sentence = say("{part} of {whole} clicks were elsewhere ({rate})", lang)
    return _of(sentence, row["total"] - row["placed_clicks"], row["total"], lang)


def half_of_acts(acts: pl.DataFrame, launched: datetime | None, lang: str = "en") -> Finding | None:
    """Say how soon after the launch half of what readers did had happened; None below 30 acts.

    In: the frame of `story.timeline` of a delivery.
    """
    read = acts.filter(~pl.col("act").cast(pl.String).is_in(["sent", "failed"]))["occurred_at"].sort()
    if launched is None or len(read) < LEAST:
        return None
    time = elapsed(max(read[(len(read) - 1) // 2] - launched, timedelta()), lang)
    return Finding(say("Half of what readers did happened within {time} of the launch", lang, time=time))


def shown_of(rows: pl.DataFrame, count: int, lang: str = "en") -> Finding | None:
    """Say how many of all messages a list shows; None if it shows all of them."""
    if rows.height >= count:
        return None
    words = {"shown": number(rows.height, lang=lang), "count": number(count, lang=lang)}
    return Finding(say("The {shown} messages acted on last, of {count}", lang, **words))


def _of(sentence: str, part: int | None, whole: int | None, lang: str, **words: str) -> Finding | None:
    """A translated sentence with a count, its whole and their rate; None if one is unknown, or the whole is 0."""
    if part is None or not whole:
        return None
    counts = {"part": number(part, lang=lang), "whole": number(whole, lang=lang)}
    return Finding(sentence.format(**counts, rate=percent(part / whole, lang=lang, of=whole), **words))


def _first(rows: pl.DataFrame, count: str, total: str, name: str) -> Callable[[str], dict[str, str]] | None:
    """The words about the row with most of at least 30 cases: unnamed rows and ties say nothing."""
    ordered = rows.sort(count, descending=True, nulls_last=True)
    if ordered.is_empty() or ordered[name][0] is None or (ordered[total][0] or 0) < LEAST:
        return None
    if ordered.height > 1 and ordered[count][0] == ordered[count][1]:
        return None
    row = ordered.row(0, named=True)
    return lambda lang: _parts(clipped(row[name], LONGEST), row[count], row[total], lang)


def _is_ahead(counts: pl.Series) -> bool:
    """Whether the largest count is ahead of the next one by more than chance, which shares cases out in halves."""
    first, second = [*counts.sort(descending=True)[:2], 0][:2]
    return bool(beyond_chance(first / (first + second), 0.5, first + second))


def _parts(name: str, part: int, whole: int, lang: str) -> dict[str, str]:
    share = percent(part / whole, lang=lang, of=whole)
    return {"name": name, "share": share, "part": number(part, lang=lang), "whole": number(whole, lang=lang)}


def _path_name(row: Mapping[str, Any]) -> str:
    return clipped(" · ".join(word for word in (row["web_application"], row["goal"]) if word), LONGEST)


def outlier(
    rows: pl.DataFrame, column: str, metrics: Annotated[Sequence[str] | None, RATES], lang: str = "en"
) -> Finding | None:
    """Say which group has a rate that is lower, or else higher, than the others beyond chance: the first such rate.

    Else that none of the first rate has, as `stands_out` does. In: a frame as for `lowest`, with all the metrics.
    """
    each = (side(rows, column, metric, lang) for metric in metrics or [] for side in (lowest, highest))
    return next(filter(None, each), None) or (stands_out(rows, column, metrics[0], lang) if metrics else None)


def limits_kept(
    rows: pl.DataFrame,
    column: str,
    ceilings: Annotated[Mapping[str, float] | None, RATES],
    lang: str = "en",
    floors: Annotated[Mapping[str, float] | None, RATES] = None,
) -> Finding | None:
    """Say which groups have a rate above its ceiling or below its floor, for the first such rate; or that none has.

    In: a frame as for `above`, with the rates of `ceilings` and `floors`.
    """
    limits, least = dict(ceilings or {}), dict(floors or {})
    is_over = [metric for metric, at in limits.items() if (_groups(rows, column, metric)["rate"] > at).any()]
    if is_over:
        return above(rows, column, is_over[0], limits[is_over[0]], lang)
    is_under = [metric for metric, at in least.items() if (_groups(rows, column, metric)["rate"] < at).any()]
    if is_under:
        return below(rows, column, is_under[0], least[is_under[0]], lang)
    checked = [metric for metric in [*limits, *least] if _groups(rows, column, metric).height]
    if not checked or column != "domain":
        return None
    return Finding(say("No domain is beyond what is advised" if least else "No domain is above what is advised", lang))


def largest(rows: pl.DataFrame, column: str, part: str, whole: str, lang: str = "en") -> Finding | None:
    """Say which group is the largest part of a whole; None below 30 cases, or if the first place is shared.

    In: a frame with a name in `column` and the counts `part` and `whole`, as of `sending.exclusions`,
    `bounces.bounces`, `bounces.failures` or `audience.opens_by`. Further rows, such as the total, and the unnamed are
    left out; opens are out of the named ones where the unnamed are more than the largest part.

    >>> rows = pl.DataFrame({"rule": ["Denylisted", "Double"], "recipients": [30, 10], "rejected": 40})
    >>> largest(rows, "rule", "recipients", "rejected").text
    'Denylisted: 30 of 40 left out (75.0%)'
    """
    require([column, part, whole], rows.columns)
    is_group = ~pl.col("row").cast(pl.String).is_in(NO_GROUPS) if "row" in rows.columns else pl.lit(True)
    groups = rows.filter(is_group, pl.col(whole) >= LEAST).sort(part, descending=True, nulls_last=True)
    groups = groups.filter(pl.col(column).cast(pl.String) != OTHERS, pl.col(part) > 0)
    if groups.is_empty() or (groups.height > 1 and groups[part][0] == groups[part][1]):
        return None
    name, counted, of = groups.select(pl.col(column).cast(pl.String), part, whole).row(0)
    unnamed = rows.filter(is_group, pl.col(column).is_null())[part].sum() or 0
    sentences = _LARGEST_KNOWN if part in _LARGEST_KNOWN and unnamed > counted else _LARGEST
    of -= unnamed if sentences is _LARGEST_KNOWN else 0
    shown = {"part": number(counted, lang=lang), "whole": number(of, lang=lang)}
    shown |= {"rate": percent(counted / of, lang=lang, of=of)}
    return Finding(say(sentences[part], lang, name=clipped(spoken(name, lang), LONGEST), **shown))


def counters_differ(compared: pl.DataFrame, lang: str = "en") -> Finding | None:
    """Say how many of the platform's counters differ from ours. In: the frame of `counters.compare`."""
    if compared.is_empty():
        return None
    count, total = (number(n, lang=lang) for n in (int(compared["differs"].sum()), compared.height))
    if not compared["differs"].any():
        return Finding(
            several(
                "{count} counter of the platform agrees",
                "All {count} counters of the platform agree",
                compared.height,
                lang,
            )
        )
    return Finding(say("{count} of {total} counters of the platform differ", lang, count=count, total=total))


def fails_most(bounces: pl.DataFrame, lang: str = "en") -> Finding | None:
    """Say in which mail domain messages fail most, as `highest` does, or else that no domain stands out.

    In: the frame of `bounces.bounces` by domain. Where the highest rate is of a domain too small to say, no other one
    is said to fail most.
    """
    part, whole = METRICS["failure_rate"].parents
    require(["row", "domain", "errors", "breakdown_of", "breakdown"], bounces.columns)
    groups = bounces.filter(pl.col("row").cast(pl.String) == "group")
    names = {"errors": part, "breakdown_of": whole, "breakdown": "failure_rate"}
    first = groups.sort("breakdown", descending=True, nulls_last=True).head(1)
    rates = groups.select("domain", *names).rename(names)
    if first.is_empty() or (first["breakdown_of"][0] or 0) < LEAST:
        return None
    return highest(rates, "domain", "failure_rate", lang) or stands_out(rates, "domain", "failure_rate", lang)


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


def _slot_of(at: datetime, every: Slot, timezone: str) -> int:
    """The hour, or half-hour, of a day by the clock of a zone."""
    clock = at.astimezone(ZoneInfo(timezone))
    return (60 * clock.hour + clock.minute) // (60 if every == "hour" else 30)


def listed(
    rows: pl.DataFrame,
    count: int,
    lang: str = "en",
    of: Literal["hits", "messages", "recipients"] = "hits",
    whole: int = 0,
) -> Finding | None:
    """Say how many rows a list shows of the `count` asked for, and these of how many; None if it shows all of them.

    `whole` is how many there are without a filter, if there is one.
    """
    figures = {"shown": rows.height, "count": count, "whole": max(whole, count)}
    words = {name: number(value, lang=lang) for name, value in figures.items()}
    if count < whole:
        return Finding(say(_NARROWED[of] if rows.height >= count else _NARROWED_AND_CUT[of], lang, **words))
    return None if rows.height >= count else Finding(say(_CUT[of], lang, **words))


def reacted(breakdown: pl.DataFrame, lang: str = "en") -> Finding | None:
    """Say how many of the recipients reached reacted at all; None if that is unknown.

    In: the frame of `reactions.breakdown`.
    """
    silent, whole = breakdown.row(-2, named=True)["recipients"], breakdown.row(-1, named=True)["recipients"]
    part = None if silent is None else whole - silent
    return _of(say("{part} of {whole} recipients reacted ({rate})", lang), part, whole, lang)


def on_offers(offers: pl.DataFrame, lang: str = "en") -> Finding | None:
    """Say what share of all clicks was on offers; None without a click. In: the frame of `clickmap.offer_links`."""
    whole = offers["total"].max() if offers.height else None
    sentence = say("{rate} of all clicks were on offers ({part} of {whole})", lang)
    return _of(sentence, int(offers["clicks"].sum()), whole, lang)  # type: ignore[arg-type]


def after_validity(late: pl.DataFrame, lang: str = "en") -> Finding | None:
    """Say how many clicks came after the validity of their link; None without one. In: `links.late_clicks`."""
    row = late.row(-1, named=True)
    if not row["late"] and row["clicks"]:
        return Finding(say("No click came after the validity of its link", lang))
    sentence = say("{part} of {whole} clicks came after the validity of their link ({rate})", lang)
    return _of(sentence, row["late"], row["clicks"], lang)


def statuses_counted(statuses: pl.DataFrame, lang: str = "en") -> Finding | None:
    """Say how many messages have each status; None without a log of messages. In: the frame of `messages.statuses`."""
    rows = statuses.filter(pl.col("row") == "status").rows(named=True)
    words = [f"{spoken(row['status'], lang)} {number(row['messages'], lang=lang)}" for row in rows]
    if not words:
        return None
    count = rows[0]["of"]
    return Finding(
        several("{count} message: {parts}", "{count} messages: {parts}", count, lang, parts=" · ".join(words))
    )


def definitions_apart(compared: pl.DataFrame, lang: str = "en") -> Finding | None:
    """Say between what a rate lies under several definitions, and what differs; None if none differs by a twentieth.

    In: the frame of `definitions.side_by_side`. Of the questions whose answers differ that much, it is the first.
    """
    require(["question", "rate", "numerator_metric", "denominator_metric"], compared.columns)
    known = compared.filter(pl.col("rate").is_not_null(), pl.col("denominator") >= LEAST)
    for _, rows in known.group_by("question", maintain_order=True):
        ends = rows.sort("rate")
        low, high = ends.row(0, named=True), ends.row(-1, named=True)
        if high["rate"] > low["rate"] * APART:
            alike = tuple(low[part] == high[part] for part in ("numerator_metric", "denominator_metric"))
            rates = {
                name: percent(end["rate"], lang=lang, of=end["denominator"])
                for name, end in (("low", low), ("high", high))
            }
            return Finding(say(_DIFFERS[alike], lang, question=say(QUESTION_LABELS[low["question"]], lang), **rates))
    return None


_MACHINES: Mapping[str, str] = translatable(
    {
        "open_rate": "{rate} of those who opened are machines alone: {part} of {whole}",
        "recipient_click_rate": "{rate} of those who clicked are machines alone: {part} of {whole}",
        "unsubscribe_rate": "{rate} of the clicks on opt-out links are scanners': {part} of {whole}",
    }
)


def machines(people: pl.DataFrame, lang: str = "en") -> Finding | None:
    """Say which figure owes most to machines; None below three cases. In: the frame of `machines.people`."""
    rows = people.filter(pl.col("machines") >= CASES).sort("machine_share", descending=True, maintain_order=True)
    if rows.is_empty():
        return None
    row = rows.row(0, named=True)
    words = _parts("", row["machines"], row["counted"], lang)
    return Finding(say(_MACHINES[row["metric"]], lang, rate=words["share"], part=words["part"], whole=words["whole"]))


def scanned(domains: pl.DataFrame, lang: str = "en") -> Finding | None:
    """Say which part of the clicks scanners made; None below three. In: the frame of `machines.by_domain`, whole."""
    part, whole = (int(domains[name].sum()) for name in ("scanner_clicks", "clicks"))
    if part < CASES:
        return None
    words = _parts("", part, whole, lang)
    shown = {name: words[name] for name in ("share", "part", "whole")}
    at = domains.filter(pl.col("scanner_clicks") > 0).height
    return Finding(
        several(
            "Scanners made {share} of the clicks: {part} of {whole}, at {count} domain",
            "Scanners made {share} of the clicks: {part} of {whole}, at {count} domains",
            at,
            lang,
            **shown,
        )
    )


def _extreme(rows: pl.DataFrame, column: str, metric: str, side: Side, lang: str) -> Finding | None:
    if not metric:
        return None
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


def unlike_others(anomalies: pl.DataFrame, lang: str = "en") -> Finding | None:
    """Say which group has a rate unlike the others', the least likely by chance; None if there is none.

    In: the frame of `intervals.anomalies`. What is added up as Others is left out.

    >>> row = {"name": "x.example", "metric": "open_rate", "part": 5, "whole": 100, "rate": 0.05, "usual": 0.4}
    >>> unlike_others(pl.DataFrame([row | {"is_unusual": True}])).text
    'x.example: Open rate (recipients) 5.0% (5 of 100), where 40.0% is usual'
    """
    unusual = anomalies.filter("is_unusual")
    if unusual.is_empty():
        return None
    row = unusual.row(0, named=True)
    words = {
        "name": clipped(row["name"], LONGEST),
        "label": label_of(row["metric"], lang),
        "rate": percent(row["rate"], lang=lang, of=row["whole"]),
        "usual": percent(row["usual"], lang=lang, of=row["whole"]),
        "part": number(row["part"], lang=lang),
        "whole": number(row["whole"], lang=lang),
    }
    return Finding(say("{name}: {label} {rate} ({part} of {whole}), where {usual} is usual", lang, **words))


def by_people(people: pl.DataFrame, lang: str = "en") -> Finding | None:
    """Say what was opened and clicked by people alone, beside what is counted; None if a figure is unknown.

    In: the frame of `machines.people`. Where no machine is among them, that is what is said.
    """
    rows = {row["metric"]: row for row in people.iter_rows(named=True)}
    opened, clicked = rows["open_rate"], rows["recipient_click_rate"]
    names = {"opened": (opened, "people_rate"), "clicked": (clicked, "people_rate")}
    names |= {"opened_in_all": (opened, "rate"), "clicked_in_all": (clicked, "rate")}
    if any(row[column] is None for row, column in names.values()):
        return None
    words = {name: percent(row[column], lang=lang, of=row["delivered"]) for name, (row, column) in names.items()}
    if not opened["machines"] + clicked["machines"]:
        return Finding(say("{opened} opened and {clicked} clicked; no machine is among them", lang, **words))
    return Finding(
        say(
            "{opened} opened and {clicked} clicked by people alone; with machines {opened_in_all} and {clicked_in_all}",
            lang,
            **words,
        )
    )


def opened_between(band: pl.DataFrame, lang: str = "en") -> Finding | None:
    """Say between what the open rate lies under mail privacy; None if unknown. In: the frame of `machines.band`."""
    bounds = band.filter(pl.col("assumption") == "bounds").row(0, named=True)
    if bounds["rate_low"] is None or bounds["rate_high"] is None:
        return None
    low, high = (percent(bounds[name], lang=lang, of=bounds["delivered"]) for name in ("rate_low", "rate_high"))
    if low == high:
        return Finding(say("{rate} opened, machines aside", lang, rate=low))
    return Finding(say("Between {low} and {high} opened, machines aside", lang, low=low, high=high))


def opted_out_by_people(opt_outs: pl.DataFrame, lang: str = "en") -> Finding | None:
    """Say how many clicks on opt-out links are people's; None without any. In: `machines.opt_outs` of a delivery."""
    if opt_outs.is_empty():
        return None
    row, sentence = opt_outs.row(0, named=True), say("{part} of {whole} clicks on opt-out links are people's", lang)
    return _of(sentence, row["people_clicks"], row["clicks"], lang)


def left_by_rules(funnel: pl.DataFrame, lang: str = "en") -> Finding | None:
    """Say how many of those who opened and clicked are left by all rules; None if unknown. In: `machines.funnel`."""
    counts = {
        "openers": funnel["openers"][-1],
        "clickers": funnel["clickers"][-1],
        "all_openers": funnel["openers"][0],
        "all_clickers": funnel["clickers"][0],
    }
    if None in counts.values() or not counts["all_openers"]:
        return None
    words = {name: number(count, lang=lang) for name, count in counts.items()}
    return Finding(
        say(
            "The rules leave {openers} of {all_openers} who opened, and {clickers} of {all_clickers} who clicked",
            lang,
            **words,
        )
    )


def opted_out(measured: pl.DataFrame, lang: str = "en") -> Finding | None:
    """Say how many recipients opted out; None if unknown.

    In: a frame of `measure` with one row, and `unsubscribed_recipients` and `delivered`.
    """
    part, whole = measured.select("unsubscribed_recipients", "delivered").row(0)
    return _of(say("{part} of {whole} recipients opted out ({rate})", lang), part, whole, lang)


def unlike_before(compared: pl.DataFrame, lang: str = "en") -> Finding | None:
    """Say which rate differs most surely from the delivery before, or that none does beyond chance.

    In: the frame of `overview.beside_previous`; None if it is empty.
    """
    if compared.is_empty():
        return None
    name = clipped(compared["name"][0], LONGEST)
    surely = compared.filter(pl.col("is_different").fill_null(False)).sort("p_adjusted", maintain_order=True)
    if surely.is_empty():
        return Finding(say("As in “{name}” before it: no rate differs beyond chance", lang, name=name))
    row = surely.row(0, named=True)
    words = {
        "label": label_of(row["metric"], lang),
        "rate": percent(row["rate_b"], lang=lang, of=row["whole_b"]),
        "before": percent(row["rate_a"], lang=lang, of=row["whole_a"]),
    }
    return Finding(say("{label}: {rate}, after {before} in “{name}”", lang, name=name, **words))


def invalid_addresses(axes: pl.DataFrame, lang: str = "en") -> Finding | None:
    """Say how many errors mean that an address is invalid for good; None without errors. In: `bounces.axes`."""
    if not axes["messages"].count():
        return None
    is_invalid = (pl.col("cause") == "address") & (pl.col("permanence") == "permanent")
    part, whole = int(axes.filter(is_invalid)["messages"].sum()), axes["failed"][0]
    return _of(say("{part} of {whole} errors say that the address is invalid ({rate})", lang), part, whole, lang)


def tied_by(counts: pl.DataFrame, lang: str = "en") -> Finding | None:
    """Say how many pages of a delivery follow a click in its message; None without pages.

    In: the frame of `web.attribution_counts`.
    """
    tied = counts.filter(pl.col("attribution").cast(pl.String) != "none")
    direct = tied.filter(pl.col("attribution").cast(pl.String) == "direct")
    part, whole = (int(rows["visits"].sum()) for rows in (direct, tied))
    if part == whole > 0:
        return Finding(
            several(
                "The {count} page follows a click in the message",
                "All {count} pages follow a click in the message",
                whole,
                lang,
            )
        )
    return _of(say("{part} of {whole} pages follow a click in the message ({rate})", lang), part, whole, lang)


def most_tagged(links: pl.DataFrame, lang: str = "en") -> Finding | None:
    """Say which tag was seen most; None below 30, or if two were as often. In: `links.link_clicks` by tag."""
    first = _first(links.filter(pl.col("row").cast(pl.String) == "link"), "clicks", "total", "link")
    return first and Finding(say("Tag “{name}”: {share} of the pages ({part} of {whole})", lang, **first(lang)))


def reached_by_age(curves: pl.DataFrame, lang: str = "en") -> Finding | None:
    """Say what messages had reached at the greatest age known, since their own sending; None where nothing happened.

    In: the frame of `maturity.growing`.
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
