"""Implied messages, known only from events: some senders have no table of messages, but events "sent", "bounced" ….

Everything here is a pure function of the set of events of a delivery, so that no order or split of loads matters.
"""

from collections.abc import Mapping

import polars as pl

from trackkit import schema
from trackkit.store.layout import FILLED, MESSAGE_KEY

# The status of a message by type of event, from the weakest to the strongest at one instant.
VERDICTS = {"complained": "unknown"} | dict.fromkeys(("queued", "sent", "deferred"), "in_progress")
VERDICTS |= {"rejected": "excluded", "delivered": "delivered", "failed": "failed", "bounced": "failed"}
_SETTLED = ("excluded", "delivered", "failed")
# The platform's codes for classes of bounces; other classes are neither hard nor soft.
_CODES = {
    "type": {"hard": 2, "soft": 1, "full": 1, "block": 1},
    "reason": {"hard": 1, "soft": 3, "full": 5, "block": 20},
}
_UNDETERMINED = 0


def silent_on_deliveries(events: pl.LazyFrame, senders: Mapping[str, bool]) -> pl.DataFrame:
    """Return the deliveries for which a sender never reports "delivered": (delivery_id, source, kind).

    In: events of whole deliveries; `senders`: formats of feeds, and whether their maps declare that deliveries may go
    unreported. Without a declaration, a delivery must have opens or clicks. `kind` is the event to count as delivered:
    sent, or queued where sent is not reported either.
    """
    kind = pl.col("reported_type")
    kinds = {
        "is_sent": ["sent"],
        "is_queued": ["queued"],
        "is_reported": ["delivered"],
        "is_seen": ["opened", "clicked"],
    }
    words = [word for each in kinds.values() for word in each]
    rows = events.filter(pl.col("source").is_in(list(senders)), kind.is_in(words))
    has_kind = {name: kind.is_in(each).any() for name, each in kinds.items()}
    by_sender = rows.group_by("delivery_id", "source").agg(**has_kind)
    is_declared = pl.col("source").is_in([name for name, is_declared in senders.items() if is_declared])
    is_silent = (is_declared & pl.col("is_sent")) | (pl.col("is_seen") & pl.any_horizontal("is_sent", "is_queued"))
    word = pl.when("is_sent").then(pl.lit("sent")).otherwise(pl.lit("queued"))
    silent = by_sender.filter(~pl.col("is_reported"), is_silent).select("delivery_id", "source", kind=word)
    return silent.collect(engine="streaming")


def message_verdicts(events: pl.LazyFrame, silent: pl.DataFrame | None = None) -> pl.LazyFrame:
    """Return the verdict of events on each message with an event of sending or a complaint, one row per message.

    In: events of whole deliveries (sourced columns). Out: key; the smallest `address` and `recipient_id`;
    `verdict_status` and `verdict_at` of the latest final event (at one instant the worst; an undated failure is the
    latest; "rejected" only if neither delivered nor failed), else "in_progress"; `verdict_type` and `verdict_reason` of
    a failure; `verdict_complaint`. In deliveries of `silent` (see above), sent counts as delivered unless another event
    is final.
    """
    kind = pl.col("reported_type")
    columns = ("address", "recipient_id", "occurred_at", "bounce_class", "smtp_status")
    has_verdict = kind.is_in(list(VERDICTS)) & pl.all_horizontal(pl.col(MESSAGE_KEY).is_not_null())
    rows = events.filter(has_verdict).select(*MESSAGE_KEY, *columns, "source", kind=kind)
    rows = rows.with_columns(verdict_status=pl.col("kind").replace_strict(VERDICTS, return_dtype=pl.String))
    rows = rows if silent is None else _with_assumed(rows, silent)
    rows = rows.with_columns(_failure())
    last = pl.col("verdict_status", "verdict_at", "verdict_type", "verdict_reason").last()
    return (
        rows.with_columns(verdict_at="occurred_at")
        .sort(_rank(silent is not None))
        .group_by(MESSAGE_KEY, maintain_order=True)
        .agg(pl.col("address", "recipient_id").min(), last, verdict_complaint=(pl.col("kind") == "complained").any())
    )


def _with_assumed(rows: pl.LazyFrame, silent: pl.DataFrame) -> pl.LazyFrame:
    """Count sent as delivered where the sender reports no deliveries."""
    silent = silent.with_columns(is_assumed=True)
    rows = rows.join(silent.lazy(), on=["delivery_id", "source", "kind"], how="left")
    is_assumed = pl.col("is_assumed").fill_null(False)
    status = pl.when(is_assumed).then(pl.lit("delivered")).otherwise("verdict_status")
    return rows.with_columns(is_assumed=is_assumed, verdict_status=status)


def _rank(has_assumed: bool) -> list[pl.Expr]:
    """Sort keys by which the last event of a message decides; events that tie agree."""
    is_failure = pl.col("verdict_status") == "failed"
    at = pl.col("occurred_at").dt.epoch("us")
    strength = pl.col("kind").replace_strict({kind: rank for rank, kind in enumerate(VERDICTS)}, return_dtype=pl.Int8)
    return [
        pl.col("kind") != "complained",
        pl.col("verdict_status").is_in(_SETTLED),
        *([~pl.col("is_assumed")] if has_assumed else []),
        pl.col("verdict_status") != "excluded",  # a suppression concerns future messages, not this one
        is_failure & at.is_null(),
        at.fill_null(-(2**63)),
        strength,
        pl.col("verdict_type").fill_null(-1),
        pl.col("verdict_reason").fill_null(-1),
    ]


def _failure() -> list[pl.Expr]:
    """The platform's codes of a failure by the class of the bounce; null without failure."""
    bounce = pl.col("bounce_class")
    is_full = pl.col("smtp_status").str.ends_with(".2.2").fill_null(False)
    class_of = pl.when((bounce == "soft") & is_full).then(pl.lit("full")).otherwise(bounce)
    is_failed = pl.col("verdict_status").eq_missing("failed")
    return [
        pl.when(is_failed)
        .then(class_of.replace_strict(_CODES[name], default=_UNDETERMINED, return_dtype=pl.Int16))
        .alias(f"verdict_{name}")
        for name in _CODES
    ]


def with_implied(messages: pl.LazyFrame, verdicts: pl.LazyFrame) -> pl.LazyFrame:
    """Return messages with the columns of their verdicts and `is_implied`, and a row for each implied message.

    In: sourced columns, of the same deliveries. An implied message was sent at its verdict; its other columns are null.
    """
    columns = [*MESSAGE_KEY, "verdict_status", "verdict_at", "verdict_type", "verdict_reason", "verdict_complaint"]
    stated = messages.join(verdicts.select(columns), on=MESSAGE_KEY, how="left", nulls_equal=True)
    implied = verdicts.join(messages, on=MESSAGE_KEY, how="anti").with_columns(status_at="verdict_at", is_implied=True)
    return pl.concat([stated.with_columns(is_implied=False), implied], how="diagonal")


def deliveries_known(events: pl.LazyFrame, messages: pl.LazyFrame) -> pl.LazyFrame:
    """Return the deliveries with known messages: from a table, or from events of handing over, not bounces alone."""
    handed_over = events.filter(pl.col("reported_type").is_in(schema.HANDED_OVER), pl.col("message_id").is_not_null())
    stated = messages.filter(~pl.col("is_implied").fill_null(False))
    return pl.concat([handed_over.select("delivery_id"), stated.select("delivery_id")]).unique()


ALONE = 1 << schema.BITS  # bit of `filled`: a delivery mentioned only by its messages, removed with them
COUNTED = ("to_deliver", "started_at")  # columns of a delivery filled from implied messages unless stated


def recounted(deliveries: pl.DataFrame, messages: pl.LazyFrame, touched: pl.Series) -> pl.DataFrame:
    """Return deliveries with `COUNTED` filled from their implied messages, unless stated; a new delivery gets a row.

    In: `deliveries` (sourced columns and `filled`), enriched `messages`, ids of touched deliveries. `to_deliver` counts
    messages handed over or failed, `started_at` is the earliest; null if there are stated messages, or only failures.
    """
    status = pl.col("status")
    is_sent = status != "excluded"
    is_known = pl.col("is_implied").all() & status.is_in(["delivered", "in_progress"]).any()
    by_delivery = messages.filter(pl.col("delivery_id").is_in(touched.implode())).group_by("delivery_id")
    counts = by_delivery.agg(
        known=is_known, to_deliver=is_sent.sum().cast(pl.Int64), started_at=pl.col("status_at").filter(is_sent).min()
    ).filter("known")
    touched_rows = pl.DataFrame({"delivery_id": touched}).with_columns(is_touched=True)
    counted = touched_rows.join(counts.drop("known").collect(), on="delivery_id", how="left")
    rows = deliveries.join(counted, on="delivery_id", how="full", coalesce=True, suffix=" counted")
    is_counted = pl.col("to_deliver counted").is_not_null()
    is_alone = pl.col(FILLED).fill_null(ALONE) & ALONE != 0
    rows = rows.filter(is_counted | ~is_alone | (pl.col(FILLED).is_not_null() & pl.col("is_touched").is_null()))
    rows = rows.with_columns(pl.col(FILLED).fill_null(ALONE))
    return rows.with_columns(_where_not_stated()).select(deliveries.columns)


def _where_not_stated() -> list[pl.Expr]:
    """Fill the counted values where no table states them, and set their bits of `filled` (see `replace_rows`)."""
    values, bits = [], pl.col(FILLED)
    for name in COUNTED:
        bit = pl.lit(1 << schema.DELIVERY.gleaned.index(name), pl.Int32)
        is_open = pl.col("is_touched").fill_null(False) & (pl.col(name).is_null() | (pl.col(FILLED) & bit != 0))
        counted = pl.col(f"{name} counted")
        values.append(pl.when(is_open).then(counted).otherwise(name).alias(name))
        bits = pl.when(~is_open).then(bits).when(counted.is_null()).then(bits & ~bit).otherwise(bits | bit)
    return [*values, bits.cast(pl.Int32).alias(FILLED)]
