"""The timeline of one recipient or one delivery: sent, opened, clicked, bought, left.

Only plausibly dated acts are included. Pages of web applications are not: they belong to visitors, who may have refused
tracking.
"""

import polars as pl

from trackkit.analysis.links import event_label
from trackkit.analysis.messages import with_label
from trackkit.engine.deliveries import (
    Deliveries,
    asked_about,
    is_of,
    require_timezone,
    still_there,
    the_one,
    unnamed_if_deleted,
)
from trackkit.engine.plausible import plausible
from trackkit.engine.snapshot import Measurable
from trackkit.errors import RequestError
from trackkit.language import translatable
from trackkit.schema import MESSAGE

__all__ = ["ACT_LABELS", "gathered", "timeline"]

# In the order shown.
ACT_LABELS = translatable(
    {
        "sent": "Sent",
        "failed": "Failed",
        "opened": "Opened",
        "clicked": "Clicked",
        "visited": "Visited the site",
        "bought": "Bought",
        "joined": "Joined",
        "left": "Left",
        "other": "Other hits",
    }
)
ACTS = pl.Enum(list(ACT_LABELS))
_OF_EVENTS = {
    **dict.fromkeys(("sent", "delivered"), "sent"),
    **dict.fromkeys(("bounced", "rejected", "failed"), "failed"),
    **dict.fromkeys(("clicked", "mirror_page"), "clicked"),
    **dict.fromkeys(("unsubscribed", "complained"), "left"),
    **{"opened": "opened", "web_visited": "visited", "transaction": "bought", "subscribed": "joined"},
}
_LEFT_OUT = ("queued", "deferred", "autoresponded")
_OF_MESSAGES = {"delivered": "sent", "failed": "failed"}
COLUMNS = ("occurred_at", "act", "type", "label", "document", "amount", "currency", "delivery_id", "recipient_id")


def timeline(tables: Measurable, recipient: str | None = None, delivery: Deliveries = None) -> pl.DataFrame:
    """Return what happened to a recipient over all deliveries, or in some of them: one row per act, the oldest first.

    Columns: `occurred_at` (UTC), `act` (a name of `ACT_LABELS`), `type` (the platform's word), `label` (of the link, or
    of the service joined or left), `document` (label of the delivery), `amount` and `currency` of a purchase,
    `delivery_id`, `recipient_id`. The sending comes from the delivery log, else from events; joining and leaving also
    from the history of subscriptions. Undated acts are left out, and so is what a recipient did in
    deleted deliveries. Raises RequestError when neither id is given, or the delivery is unknown.

    >>> timeline(store, delivery=delivery).group_by("act").len().sort("act").rows()[:2]
    [('sent', 85), ('opened', 50)]
    """
    ids = asked_about(tables, delivery)
    if recipient is None and ids is None:
        raise RequestError("A timeline is that of a recipient or of a delivery; say which.")
    conditions = [] if recipient is None else [pl.col("recipient_id") == recipient]
    conditions += [] if ids is None else [is_of(ids)]
    scanned = {name: tables.scan(name) for name in ("message", "event")}
    acts = _of_subscriptions(tables, conditions)
    if ids is None:
        scanned = {name: still_there(tables, rows) for name, rows in scanned.items()}
        acts = acts.with_columns(unnamed_if_deleted(tables))
    sent = _of_messages(scanned["message"].filter(*conditions))
    hits = _of_events(scanned["event"].filter(*conditions), sent)
    by_table = {"message": sent, "event": hits, "subscription": acts}
    dated = [rows.filter(plausible(tables, table, the_one(ids)).holds()) for table, rows in by_table.items()]
    return (
        with_label(tables, pl.concat(dated, how="diagonal"), "document")
        .sort("occurred_at", "act", "label", "delivery_id", "recipient_id", nulls_last=True)
        .select(COLUMNS)
        .collect()
    )


def _of_messages(messages: pl.LazyFrame) -> pl.LazyFrame:
    status = pl.col("status").cast(pl.String)
    return messages.filter(status.is_in(list(_OF_MESSAGES))).select(
        "delivery_id",
        "recipient_id",
        "message_id",
        occurred_at="status_at",
        act=status.replace_strict(_OF_MESSAGES, return_dtype=ACTS),
        type=event_label(status.replace({"delivered": "sent"})),
    )


def _of_events(events: pl.LazyFrame, sent: pl.LazyFrame) -> pl.LazyFrame:
    """The acts of events, without those that the delivery log already has for the same message.

    A suppression is also dropped if its message was sent or failed, since it then concerns later messages.
    """
    kind = pl.col("event_type").cast(pl.String)
    acts = events.filter(~kind.is_in(_LEFT_OUT).fill_null(False)).select(
        "occurred_at",
        "delivery_id",
        "recipient_id",
        "message_id",
        "amount",
        "currency",
        act=kind.replace_strict(_OF_EVENTS, default="other", return_dtype=ACTS),
        type=event_label(kind),
        label=pl.coalesce("link_label", "url"),
    )
    is_sending = pl.col("act").is_in(["sent", "failed"])
    logged = sent.filter(pl.col("message_id").is_not_null()).select(*MESSAGE.key, "act").unique()
    reported = acts.filter(is_sending).join(logged, on=[*MESSAGE.key, "act"], how="anti", nulls_equal=True)
    is_suppressed = pl.col("type") == event_label(pl.lit("rejected"))
    with_outcome = logged.select(MESSAGE.key).unique()
    suppressed = reported.filter(is_suppressed).join(with_outcome, on=MESSAGE.key, how="anti", nulls_equal=True)
    return pl.concat([acts.filter(~is_sending), reported.filter(~is_suppressed), suppressed])


def _of_subscriptions(tables: Measurable, conditions: list[pl.Expr]) -> pl.LazyFrame:
    services = tables.scan("service").select("service_id", label="label")
    has_joined = pl.col("action") == 1
    return (
        tables.scan("subscription")
        .filter(*conditions)
        .join(services, on="service_id", how="left")
        .select(
            "occurred_at",
            "delivery_id",
            "recipient_id",
            label=pl.coalesce("label", "service_id"),
            act=pl.when(has_joined).then(pl.lit("joined", ACTS)).otherwise(pl.lit("left", ACTS)),
            type=event_label(pl.when(has_joined).then(pl.lit("subscribed")).otherwise(pl.lit("unsubscribed"))),
        )
    )


def gathered(acts: pl.DataFrame, periods: int = 90, timezone: str = "UTC", share: float = 1) -> pl.DataFrame:
    """Group acts of a timeline that are too close to be drawn separately: one row per act and period.

    In: the frame of `timeline`. The time in which a `share` of what readers did has happened, by default its whole
    span, is cut into `periods`; later ones are as long. Columns: `act`, `at` (the mean of the
    instants), `first_at`, `last_at`, by the clock of `timezone`; `count`; `documents`, how many deliveries; `document`,
    if there is only one. Only equal acts within one period share a row.

    >>> from datetime import UTC, datetime
    >>> days = [datetime(2026, 1, day, tzinfo=UTC) for day in (1, 1, 9)]
    >>> acts = pl.DataFrame({"occurred_at": days, "act": "sent", "document": list("ABB"), "delivery_id": list("122")})
    >>> gathered(acts).select("act", "count", "documents", "document").rows()
    [('sent', 2, 2, None), ('sent', 1, 1, 'B')]
    """
    instant = pl.col("occurred_at").dt.convert_time_zone(require_timezone(timezone))
    elapsed = (pl.col("occurred_at") - pl.col("occurred_at").min()).dt.total_microseconds()
    of_readers = elapsed.filter(~pl.col("act").cast(pl.String).is_in(["sent", "failed"]))
    span = elapsed.max() if share == 1 else of_readers.quantile(share, "lower").fill_null(elapsed.max()).cast(pl.Int64)
    period = (elapsed * periods // (span + 1)).alias("period")
    is_one_delivery = pl.col("delivery_id").drop_nulls().n_unique() == 1
    return (
        acts.with_columns(period, instant)
        .group_by("act", "period")
        .agg(
            at=pl.col("occurred_at").mean(),
            first_at=pl.col("occurred_at").min(),
            last_at=pl.col("occurred_at").max(),
            count=pl.len().cast(pl.Int64),
            documents=pl.col("delivery_id").drop_nulls().n_unique().cast(pl.Int64),
            document=pl.when(is_one_delivery).then(pl.col("document").drop_nulls().first()),
        )
        .sort("first_at", "act")
        .drop("period")
    )
