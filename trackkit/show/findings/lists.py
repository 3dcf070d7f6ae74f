"""Of lists of log rows: how many are shown, and what they have in common."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Literal

import polars as pl

from trackkit.language import say, several, translatable
from trackkit.show.cells import spoken
from trackkit.show.findings.finding import LEAST, Finding
from trackkit.show.wording import elapsed, number

Listed = Literal["hits", "messages", "recipients"]
# Which rows a list shows, by what they are and by what they are ordered by first.
_CUT: Mapping[tuple[Listed, str], str] = translatable(
    {
        ("hits", "newest"): "The newest {shown} of {count} hits",
        ("hits", "oldest"): "The oldest {shown} of {count} hits",
        ("hits", ""): "{shown} of {count} hits, the first in the order asked for",
        ("messages", "newest"): "The {shown} of {count} messages whose status changed last",
        ("messages", "oldest"): "The {shown} of {count} messages whose status changed first",
        ("messages", ""): "{shown} of {count} messages, the first in the order asked for",
        ("recipients", ""): "{shown} of {count} recipients left out, in the order of the rules",
    }
)
_NARROWED: Mapping[str, str] = translatable(
    {
        "hits": "{count} of {whole} hits, as asked for",
        "messages": "{count} of {whole} messages, as asked for",
        "recipients": "{count} of {whole} recipients left out, as asked for",
    }
)
# The times that lists are ordered by: a `-` puts the newest first.
_TIMES = {"-occurred_at": "newest", "-status_at": "newest", "occurred_at": "oldest", "status_at": "oldest"}


def listed(
    rows: pl.DataFrame,
    count: int,
    lang: str = "en",
    of: Listed = "hits",
    whole: int = 0,
    order: str = "",
) -> Finding | None:
    """Say which rows a list shows of the `count` asked for, and these of how many; None if it shows all of them.

    `whole` is how many there are without a filter, if there is one; `order` names the columns that rows are ordered by,
    by commas, each descending with a `-`, as they were asked for. Hits come newest first without one.

    >>> listed(pl.DataFrame({"id": [1, 2]}), 5, of="messages", order="-status_at,id").text
    'The 2 of 5 messages whose status changed last'
    """
    figures = {"shown": rows.height, "count": count, "whole": max(whole, count)}
    words = {name: number(value, lang=lang) for name, value in figures.items()}
    narrowed = say(_NARROWED[of], lang, **words) if count < whole else ""
    by = "newest" if of == "hits" and not order else _TIMES.get(order.split(",")[0].strip(), "")
    cut = say(_CUT[of, by], lang, **words) if rows.height < count else ""
    return Finding(" · ".join(filter(None, [narrowed, cut]))) if narrowed or cut else None


def statuses_counted(statuses: pl.DataFrame, lang: str = "en") -> Finding | None:
    """Say how many messages have each status; None without a log of messages. In: the frame of `messages.statuses`.

    >>> statuses_counted(tk.messages.statuses(store, delivery)).text
    '85 messages: Sent 85'
    """
    rows = statuses.filter(pl.col("row") == "status").rows(named=True)
    words = [f"{spoken(row['status'], lang)} {number(row['messages'], lang=lang)}" for row in rows]
    if not words:
        return None
    count = rows[0]["of"]
    return Finding(
        several("{count} message: {parts}", "{count} messages: {parts}", count, lang, parts=" · ".join(words))
    )


def opened_of(sent: pl.DataFrame, lang: str = "en") -> Finding | None:
    """Say how many of the messages of one recipient were opened and clicked; None for those of several.

    In: the frame of `messages.messages`.

    >>> opened_of(tk.messages.messages(store, recipient="300095")).text
    'Of 3 messages, 0 were opened and 1 clicked'
    """
    if not {"recipient_id", "opens", "clicks"} <= set(sent.columns) or sent["recipient_id"].n_unique() != 1:
        return None
    if sent.height < 2:
        return None
    opened, clicked = (number(sent.filter(pl.col(name) > 0).height, lang=lang) for name in ("opens", "clicks"))
    words = {"opened": opened, "clicked": clicked, "sent": number(sent.height, lang=lang)}
    return Finding(say("Of {sent} messages, {opened} were opened and {clicked} clicked", lang, **words))


def acts_counted(acts: pl.DataFrame, labels: Mapping[str, str], lang: str = "en") -> Finding | None:
    """Say how often each kind of act happened; None without any. In: the frame of `story.timeline`.

    >>> acts_counted(tk.story.timeline(store, delivery=delivery), tk.story.ACT_LABELS).text
    'Sent 85 · Opened 50 · Clicked 19 · Visited the site 13 · Bought 1'
    """
    counts = dict(acts.select(pl.col("act").cast(pl.String).value_counts()).unnest("act").iter_rows())
    words = [f"{say(word, lang)} {number(counts[act], lang=lang)}" for act, word in labels.items() if act in counts]
    return Finding(" · ".join(words)) if words else None


def half_of_acts(acts: pl.DataFrame, launched: datetime | None, lang: str = "en") -> Finding | None:
    """Say how soon after the launch half of what readers did had happened; None below 30 acts.

    In: the frame of `story.timeline` of a delivery.

    >>> acts = tk.story.timeline(store, delivery=delivery)
    >>> half_of_acts(acts, tk.curves.launched(store, delivery)).text
    'Half of what readers did happened within 3 h 19 min of the launch'
    """
    read = acts.filter(~pl.col("act").cast(pl.String).is_in(["sent", "failed"]))["occurred_at"].sort()
    if launched is None or len(read) < LEAST:
        return None
    time = elapsed(max(read[(len(read) - 1) // 2] - launched, timedelta()), lang)
    return Finding(say("Half of what readers did happened within {time} of the launch", lang, time=time))


def shown_of(rows: pl.DataFrame, count: int, lang: str = "en") -> Finding | None:
    """Say how many of all messages a list shows; None if it shows all of them.

    >>> shown_of(tk.messages.messages(store, delivery, limit=20), 85).text
    'The 20 messages acted on last, of 85'
    """
    if rows.height >= count:
        return None
    words = {"shown": number(rows.height, lang=lang), "count": number(count, lang=lang)}
    return Finding(say("The {shown} messages acted on last, of {count}", lang, **words))
