"""Of the sending: what became of the messages, how fast they went out, whom it left out."""

from collections.abc import Mapping
from typing import Literal

import polars as pl

from trackkit.language import say, several, translatable
from trackkit.show.findings.finding import Finding, share_of
from trackkit.show.wording import instant, number, precisely

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
        60: "Busiest minute: {messages} messages, {speed} an hour ({when})",
        600: "Busiest ten minutes: {messages} messages, {speed} an hour (from {when})",
        3_600: "Busiest hour: {messages} messages (from {when})",
    }
)


def outcome(measured: pl.DataFrame, over: Literal["to_deliver", "processed"], lang: str = "en") -> Finding | None:
    """Say how many of the messages to deliver, or of those processed, were delivered; None if that is unknown.

    In: a frame of `measure` with one row, and `over`, `delivered_with_seeds` or `delivered`, and maybe `pending`.

    >>> outcome(tk.measure(store, ["delivered", "failed", "processed"], by=[]), "processed").text
    '260 of 275 messages processed were delivered (94.5%)'
    """
    row = measured.row(0, named=True)
    part, whole = row.get("delivered_with_seeds", row.get("delivered")), row[over]
    is_open = over == "to_deliver" and row.get("pending")
    words = {"pending": number(row["pending"], lang=lang)} if is_open else {}
    kind: str = "pending" if is_open else over
    if over == "to_deliver" and "delivered_with_seeds" in row:
        kind = "pending_with_seeds" if is_open else "with_seeds"
    return share_of(say(_OUTCOMES[kind], lang), part, whole, lang, **words)


def left_out(measured: pl.DataFrame, lang: str = "en") -> Finding | None:
    """Say how many recipients of the initial population were left out; None if that is unknown.

    In: a frame of `measure` with one row, and `rejected` and `targeted`.

    >>> left_out(tk.measure(store, ["rejected", "targeted"], by=[])).text
    '32 of 348 recipients were left out before sending (9.2%)'
    """
    row = measured.row(0, named=True)
    sentence = say("{part} of {whole} recipients were left out before sending ({rate})", lang)
    return share_of(sentence, row["rejected"], row["targeted"], lang)


def sent_within(pace: pl.DataFrame, lang: str = "en") -> Finding | None:
    """Say how fast messages went out, and how many are pending; None below one message an hour, or if unknown.

    In: the frame of `sending.pace`.

    >>> sent_within(tk.sending.pace(store, delivery)).text
    'Sent within 1 min 7 s, at 4,592 messages an hour'
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
    """Say when the sending was fastest, and how fast; None below 1, or if unknown. In: `sending.throughput`.

    >>> fastest(tk.sending.throughput(store, delivery), "messages_per_hour").text
    'Busiest minute: 84 messages, 5,040 an hour (Sun, 2026-11-01 17:00)'
    """
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


def counters_differ(compared: pl.DataFrame, lang: str = "en") -> Finding | None:
    """Say how many of the platform's counters differ from ours. In: the frame of `counters.compare`.

    >>> counters_differ(tk.counters.compare(store)) is None  # the demo brings no counters
    True
    """
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
