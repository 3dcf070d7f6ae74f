"""Tables of sending: who was left out, what failed and why, and whether the rest will be in time."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal

import polars as pl
from great_tables import GT
from markupsafe import Markup

from trackkit.language import said, say, several, translatable
from trackkit.schema import FAILURE_TYPES
from trackkit.show.cells import (
    NOT_LOADED,
    TOTAL,
    Block,
    Cell,
    Labels,
    OneOf,
    bold,
    fraction,
    nothing,
    over,
    presented,
    spoken,
    unavailable,
)
from trackkit.show.wording import elapsed, instant, number, percent, short

ErrorGroup = Literal["type", "domain"]
SEVEN = translatable("The platform's seven types")
NOTHING_FAILED, NONE_PROCESSED, NO_FAILURE = translatable(("nothing failed", "no message processed", "Nothing failed."))
NO_ONE_REJECTED, NO_TARGET = translatable(("no one rejected", "the initial population is not in the data loaded"))
EXCLUSION_WORDS = translatable(
    {"rule": "Rule", "recipients": "Recipients left out", "contribution": "Of the rejected", "share": "Of the target"}
)
BOUNCE_WORDS = translatable(
    {
        "type": "Type of error", "domain": "Domain", "errors": "Errors", "contribution": "Contribution",
        "breakdown": "Breakdown",
    }
)  # fmt: skip
FAILURE_WORDS = translatable(
    {
        "reason": "Reason", "failure_type": "Type", "first_text": "First text received", "messages": "Messages",
        "share": "Of the failed",
    }
)  # fmt: skip
FIGURES = translatable(
    {
        "progress": "Progress", "speed": "Pace so far, messages per hour",
        "per_day": "Pace so far, messages per day", "per_month": "Pace so far, messages per month",
        "per_year": "Pace so far, messages per year", "busiest": "Busiest hour, messages",
        "pending": "Messages pending", "ends": "Projected end",
    }
)  # fmt: skip
SLOWER = {"per_day": 24, "per_month": 730.5, "per_year": 8_766}  # hours
OUTLOOKS = translatable(
    {
        "not started": "The sending has not started.",
        "over": "The sending is over.",
        "stopped": "The sending is over; {pending} messages are still pending.",
        "paused": "The delivery is paused: nothing is projected. At the pace so far the rest would need {needed}.",
        "in time": "At the pace so far the last message goes out {margin} before the deadline of {deadline}.",
        "late": "At the pace so far the last message goes out {margin} after the deadline of {deadline}.",
        "overdue": "The deadline of {deadline} had passed when the data was loaded, with {pending} messages pending: "
        "the delivery is late, or what is known of it is old.",
        "behind": "At the pace so far the last message would have gone out before the data was loaded, and {pending} "
        "are still pending: the sending has slowed down, or what is known of it is old.",
        "no deadline": "At the pace so far the rest needs {needed}; the deadline is not in the data loaded.",
        "no pace": "{pending} messages are pending; none was dated as sent yet, so that there is no pace to project.",
        "done": "No message is pending.",
        "unknown": "What became of the messages is not in the data loaded.",
    }
)
UNKNOWN = OUTLOOKS["unknown"]
TEN = 10  # below, a pace has decimals
NO_PACE, NONE_TO_DELIVER = translatable(("too few messages are dated", "no message to deliver"))


def exclusion_table(
    exclusions: pl.DataFrame, labels: Annotated[Labels | None, OneOf(EXCLUSION_WORDS)] = None, lang: str = "en"
) -> GT:
    """Show who was left out at analysis, by rule, with the shares of the rejected and of the target.

    In: the frame of `sending.exclusions`.
    """
    rows = [
        {
            "rule": bold(say(TOTAL, lang)) if row["row"] == "total" else short(spoken(row["rule"], lang)),
            "recipients": _count(row["recipients"], lang),
            "contribution": _share(row, "recipients", "rejected", NO_ONE_REJECTED, lang),
            "share": _share(row, "recipients", "targeted", NO_TARGET, lang),
        }
        for row in exclusions.iter_rows(named=True)
    ]
    return presented(rows, said(EXCLUSION_WORDS, lang) | dict(labels or {}), right=list(EXCLUSION_WORDS)[1:])


def bounce_table(
    bounces: pl.DataFrame,
    by: ErrorGroup = "type",
    labels: Annotated[Labels | None, OneOf(BOUNCE_WORDS)] = None,
    lang: str = "en",
) -> GT:
    """Show the failed messages by type or by domain: errors, their contribution to all, their share of those processed.

    In: the frame of `bounces.bounces(..., by)`; its details are left to `bounce_details`.
    """
    groups = bounces.filter(pl.col("row") != "detail")
    cells, words = _bounces(groups, by, labels or {}, lang)
    return presented(cells, words, right=list(words)[1:])


def bounce_details(
    bounces: pl.DataFrame,
    by: ErrorGroup = "type",
    labels: Annotated[Labels | None, OneOf(BOUNCE_WORDS)] = None,
    lang: str = "en",
) -> Block:
    """Show each type by domain, or each domain by type: a list of groups that failed, each of which opens.

    In: the frame of `bounces.bounces(..., by)`.
    """
    inner = "domain" if by == "type" else "type"
    details = bounces.filter(pl.col("row") == "detail").partition_by(by, maintain_order=True)
    parts = [_detail(rows, by, inner, labels or {}, lang) for rows in details]
    known = bounces.filter(pl.col("row") == "total")["errors"].null_count() == 0
    return Block(Markup("").join(parts)) if parts else nothing(NO_FAILURE if known else UNKNOWN, lang)


def failure_table(
    failures: pl.DataFrame, labels: Annotated[Labels | None, OneOf(FAILURE_WORDS)] = None, lang: str = "en"
) -> GT | Block:
    """Show the mail servers' words behind the failures, the most frequent first.

    In: the frame of `bounces.failures`.
    """
    if not failures["messages"].count():
        return nothing(UNKNOWN if failures.height else NO_FAILURE, lang)
    rows = [
        {
            "reason": short(spoken(row["reason"], lang) or None, lang=lang),
            "failure_type": spoken(FAILURE_TYPES.get(row["failure_type"]), lang),
            "first_text": short(row["first_text"], 160, lang),
            "messages": number(row["messages"], lang=lang),
            "share": _share(row, "messages", "failed", NOTHING_FAILED, lang),
        }
        for row in failures.iter_rows(named=True)
    ]
    return presented(rows, said(FAILURE_WORDS, lang) | dict(labels or {}), right=("messages", "share"))


def pace_figures(pace: pl.DataFrame, timezone: str = "UTC", labels: Labels | None = None, lang: str = "en") -> Block:
    """Show how far a delivery is, how fast it goes, when it will be done, and in a sentence whether that is in time.

    In: the frame of `sending.pace`.
    """
    row = pace.row(0, named=True)
    words = said(FIGURES, lang) | dict(labels or {})
    figures = _figures(row, timezone, lang)
    tiles = [_tile(words[name], value, beneath) for name, (value, beneath) in figures.items()]
    sentence = Markup('<p class="{}">{}</p>').format(_mood(row), _outlook(row, timezone, lang))
    return Block(sentence + Markup('<div class="tk-figures">{}</div>').format(Markup("").join(tiles)))


def _bounces(rows: pl.DataFrame, by: str, labels: Labels, lang: str) -> tuple[list[dict[str, Cell]], dict[str, str]]:
    """The cells of a table of bounces, and its headings."""
    words = said(BOUNCE_WORDS, lang) | dict(labels)
    cells = [
        {
            by: _group(row, by, lang),
            "errors": _count(row["errors"], lang),
            "contribution": _share(row, "errors", "contribution_of", NOTHING_FAILED, lang),
            "breakdown": _share(row, "errors", "breakdown_of", NONE_PROCESSED, lang),
        }
        for row in rows.iter_rows(named=True)
    ]
    return cells, {name: words[name] for name in (by, "errors", "contribution", "breakdown")}


def _detail(rows: pl.DataFrame, by: str, inner: str, labels: Labels, lang: str) -> Markup:
    """One group that opens; its table wears no style of its own, as many stand on a page."""
    name = short(spoken(rows[by][0], lang))
    count = several("{count} error", "{count} errors", rows["errors"].sum(), lang)
    cells, words = _bounces(rows, inner, labels, lang)
    head = Markup("").join(Markup('<th scope="col">{}</th>').format(word) for word in words.values())
    body = Markup("").join(
        Markup("<tr>{}</tr>").format(Markup("").join(Markup("<td>{}</td>").format(row[column]) for column in words))
        for row in cells
    )
    table = Markup('<table class="behind"><thead><tr>{}</tr></thead><tbody>{}</tbody></table>').format(head, body)
    return Markup("<details><summary><span>{}</span> {}</summary>{}</details>").format(name, count, table)


def _group(row: Mapping[str, Any], by: str, lang: str) -> Cell:
    if row["row"] in ("total", "seven"):
        return bold(say(TOTAL if row["row"] == "total" else SEVEN, lang))
    return short(spoken(row[by], lang))


def _count(value: int | None, lang: str) -> Cell:
    return unavailable(NOT_LOADED, lang) if value is None else number(value, lang=lang)


def _share(row: Mapping[str, Any], part: str, whole: str, empty: str, lang: str) -> Cell:
    """A share above its numerator and denominator, or why there is none: nothing to divide by, or nothing loaded."""
    if row[part] is None or not row[whole]:
        known = row[part] is not None and (row[whole] == 0 or empty == NO_TARGET)
        return unavailable(empty if known else NOT_LOADED, lang)
    parts = fraction(row[part], row[whole], lang)
    return over(percent(row[part] / row[whole], lang=lang), parts)


def _figures(row: Mapping[str, Any], timezone: str, lang: str) -> dict[str, tuple[Cell, str]]:
    """What stands large, and beneath it, by name: only what a delivery in this phase has."""
    share = row["processed"] / row["to_deliver"] if row["processed"] is not None and row["to_deliver"] else None
    since = row["last_at"] - row["started_at"] if row["last_at"] and row["started_at"] else None
    spent = several("{count} message in {spent}", "{count} messages in {spent}", row["sent"] or 0, lang,
                    spent=elapsed(since, lang) if since is not None else "") if since is not None else ""  # fmt: skip
    needed = "" if row["hours_needed"] is None else _needs(row, lang)
    parts = fraction(row["processed"], row["to_deliver"], lang)
    none = NONE_TO_DELIVER if row["to_deliver"] == 0 else NOT_LOADED
    undated = NOT_LOADED if row["sent"] is None else NO_PACE
    pace, speed = _pace(row["messages_per_hour"], lang)
    figures: dict[str, tuple[Cell, str]] = {
        "progress": (percent(share, lang=lang), say(none, lang) if share is None else parts),
        pace: (speed, spent if row["messages_per_hour"] else say(undated, lang)),
        "busiest": (number(row["busiest_hour"], lang=lang), "" if row["busiest_hour"] else say(undated, lang)),
        "pending": (number(row["pending"], lang=lang), say(NOT_LOADED, lang) if row["pending"] is None else needed),
    }
    if row["ends_at"] is not None:
        deadline = instant(row["validity_at"], timezone, lang=lang)
        beneath = say("deadline {deadline}", lang, deadline=deadline) if deadline else ""
        when = Markup('<span class="tk-when">{}</span>').format(instant(row["ends_at"], timezone, lang=lang))
        figures["ends"] = (when, beneath)
    return figures


def _pace(an_hour: float | None, lang: str) -> tuple[str, str]:
    """Which figure tells a pace, and its number: by the hour, or by what is long enough for a message."""
    if not an_hour or an_hour >= 1:
        return "speed", number(an_hour, lang=lang)
    name = next((name for name, hours in SLOWER.items() if an_hour * hours >= 1), "per_year")
    value = an_hour * SLOWER[name]
    return name, number(value, 0 if value >= TEN else 1 if value >= 1 else 2, lang)


def _needs(row: Mapping[str, Any], lang: str) -> str:
    return say("{needed} at this pace", lang, needed=_duration(row["hours_needed"], lang))


def _tile(name: str, value: Cell, beneath: str) -> Markup:
    tile = (
        '<div class="tk-figure"><span class="tk-name">{}</span><strong>{}</strong><span class="tk-of">{}</span></div>'
    )
    return Markup(tile).format(name, value, beneath)


def _duration(hours: float, lang: str) -> str:
    return elapsed(timedelta(hours=min(hours, 1e8)), lang)


def _verdict(row: Mapping[str, Any]) -> str:
    """Which sentence of OUTLOOKS says how the delivery stands."""
    if row["phase"] in ("over", "not started"):
        return "stopped" if row["phase"] == "over" and row["pending"] else row["phase"]
    if row["pending"] is None:
        return "unknown"
    if not row["pending"]:
        return "done"
    if row["outlook"] in ("overdue", "behind"):
        return row["outlook"]
    if row["hours_needed"] is None:
        return "no pace"
    return "paused" if row["phase"] == "paused" else row["outlook"] or "no deadline"


def _outlook(row: Mapping[str, Any], timezone: str, lang: str) -> str:
    ends, deadline = row["ends_at"], row["validity_at"]
    margin: Sequence[datetime] = sorted([ends, deadline]) if ends and deadline else ()
    return say(
        OUTLOOKS[_verdict(row)], lang,
        pending=number(row["pending"], lang=lang),
        needed="" if row["hours_needed"] is None else _duration(row["hours_needed"], lang),
        deadline=instant(deadline, timezone, lang=lang),
        margin=elapsed(margin[1] - margin[0], lang) if margin else "",
    )  # fmt: skip


def _mood(row: Mapping[str, Any]) -> str:
    return "note" if _verdict(row) in ("late", "overdue", "behind", "stopped") else "words"
