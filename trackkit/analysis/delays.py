"""When each message was sent, and when it was first opened, clicked …: the rows behind curves and forecasts.

Time counts from each message's own sending, never from the launch: messages of one delivery go out over hours.
"""

from collections.abc import Sequence
from typing import Literal

import polars as pl

from trackkit import schema
from trackkit.analysis.sending import OVER, PHASES
from trackkit.engine.deliveries import counted_events, is_human, is_public, of_deliveries, planned_launch
from trackkit.engine.plausible import now, plausible
from trackkit.engine.refusals import VISITS, with_refusals
from trackkit.engine.selection import ALL
from trackkit.engine.snapshot import Measurable

HOUR = 3_600_000_000  # microseconds
# The events that curves are about; any hit is an opening, since whoever clicks has opened (metric `unique_opens`).
FirstEvent = Literal["opened", "clicked", "unsubscribed", "mirror_page", "web_visited", "transaction"]


def first_hits(
    tables: Measurable,
    ids: Sequence[str] | None,
    events: Sequence[FirstEvent],
    of_message: Sequence[str] = (),
    of_hit: Sequence[str] = (),
    activity: str = ALL,
) -> pl.LazyFrame:
    """Return the messages delivered in the deliveries `asked_about`, without control addresses: one row per message.

    Columns: `delivery_id`; `sent_at`, when it was sent; `is_borrowed`, whether that is the delivery's start, because
    the message has no instant of its own; each of `events`, the instant of the first such hit, null without one; the
    columns `of_message`; and those `of_hit`, of the first hit, if only one event is asked for. Messages of which
    neither instant is known are left out. With `activity="human"` hits of machines are no first hits, as in `measure`.
    """
    starts = tables.scan("delivery").select("delivery_id", started=planned_launch()).unique("delivery_id")
    own = pl.when(plausible(tables, "message").holds("status_at")).then("status_at")
    return (
        of_deliveries(tables, "message", ids)
        .filter(pl.col("status").cast(pl.String) == "delivered", is_public())
        .join(starts, on="delivery_id", how="left")
        .with_columns(sent_at=pl.coalesce(own, "started"), is_borrowed=own.is_null())
        .filter(pl.col("sent_at").is_not_null())
        .join(_first(_hits(tables, ids, events, activity), events, of_hit), on=schema.MESSAGE.key, how="left")
        .select("delivery_id", "sent_at", "is_borrowed", *events, *of_message, *of_hit)
    )


def _hits(tables: Measurable, ids: Sequence[str] | None, events: Sequence[FirstEvent], activity: str) -> pl.LazyFrame:
    """The dated hits that count, of people alone if asked."""
    hits = counted_events(tables, ids).filter(plausible(tables).holds())
    hits = hits if activity == ALL else hits.filter(is_human())
    if not set(events) & set(VISITS):
        return hits
    counted: pl.LazyFrame = with_refusals(tables, hits)
    return counted.filter(~pl.col("is_refused").fill_null(False))


def _first(hits: pl.LazyFrame, events: Sequence[FirstEvent], of_hit: Sequence[str]) -> pl.LazyFrame:
    """The first instant of each event of each message; `of_hit` are columns of the first hit of the only event."""
    counted = hits if len(events) > 1 else hits.filter(_is(events[0]))
    instants = {name: pl.when(_is(name)).then("occurred_at").min() for name in events}
    firsts = [pl.col(name).sort_by("occurred_at", "event_id").first() for name in of_hit]
    return counted.group_by(schema.MESSAGE.key).agg(*firsts, **instants)


def _is(event: FirstEvent) -> pl.Expr:
    is_any = event == "opened"
    return pl.col("message_id").is_not_null() if is_any else pl.col("event_type").cast(pl.String).eq_missing(event)


def watched(tables: Measurable, messages: pl.LazyFrame, event: FirstEvent) -> pl.LazyFrame:
    """Return for how long each message of `first_hits` was watched for its first event: `hours` and `is_seen`.

    `hours` ends at the event (`is_seen`) or at the end of the watch: the newest hit known, or the deadline of a
    delivery that is over, if earlier. Without a dated hit nothing was watched, and there is no row.
    """
    newest = pl.lit(now(tables), schema.INSTANT)
    deadlines = tables.scan("delivery").filter(is_over()).select("delivery_id", deadline="validity_at")
    until = pl.min_horizontal(newest, pl.when(pl.col("deadline") > pl.col("sent_at")).then("deadline"))
    known = messages.join(deadlines.unique("delivery_id"), on="delivery_id", how="left").filter(newest.is_not_null())
    length, delay = ((end - pl.col("sent_at")).clip(pl.duration()) for end in (until, pl.col(event)))
    is_seen = (delay <= length).fill_null(False)
    spent = pl.when(is_seen).then(delay).otherwise(length)
    return known.with_columns(hours=spent.dt.total_microseconds() / HOUR, is_seen=is_seen)


def is_over() -> pl.Expr:
    """True for deliveries that are over, or whose state is unknown."""
    phase = pl.col("state").replace_strict(PHASES, default=None, return_dtype=pl.String)
    return phase.eq_missing(OVER) | phase.is_null()
