"""Messages that only events mention: senders without a table of messages say "sent", "delivered", "bounced" one by one.

Everything here is a pure function of the set of events of a delivery, so that no order or split of loads matters.
"""

from collections.abc import Mapping

import polars as pl

from trackkit import schema
from trackkit.store.layout import FILLED, MESSAGE_KEY

# What became of a message by an event of its sending, from the weakest word to the strongest at one instant.
VERDICTS = {"complained": "unknown"} | dict.fromkeys(("queued", "sent", "deferred"), "in_progress")
VERDICTS |= {"rejected": "excluded", "delivered": "delivered", "failed": "failed", "bounced": "failed"}
_SETTLED = ("excluded", "delivered", "failed")
# A bounce in the platform's type and reason: hard counts as hard, soft and block as soft, and the rest as neither.
_CODES = {
    "type": {"hard": 2, "soft": 1, "full": 1, "block": 1},
    "reason": {"hard": 1, "soft": 3, "full": 5, "block": 20},
}
_UNDETERMINED = 0


def silent_on_deliveries(events: pl.LazyFrame, senders: Mapping[str, bool]) -> pl.DataFrame:
    """Return the deliveries in which a sender says sent and never delivered, and the word that stands for it.

    In: events of whole deliveries; `senders`, the formats of feeds, and whether their maps declare that deliveries may
    not be told. Of the others, those deliveries are meant whose messages were opened or clicked all the same. Out:
    `delivery_id`, `source`, `kind`: sent, or queued where the sender does not report what was sent either.
    """
    kind = pl.col("reported_type")
    kinds = {"is_sent": ["sent"], "is_queued": ["queued"], "is_told": ["delivered"], "is_seen": ["opened", "clicked"]}
    words = [word for each in kinds.values() for word in each]
    rows = events.filter(pl.col("source").is_in(list(senders)), kind.is_in(words))
    has_kind = {name: kind.is_in(each).any() for name, each in kinds.items()}
    by_sender = rows.group_by("delivery_id", "source").agg(**has_kind)
    is_declared = pl.col("source").is_in([name for name, is_declared in senders.items() if is_declared])
    is_silent = (is_declared & pl.col("is_sent")) | (pl.col("is_seen") & pl.any_horizontal("is_sent", "is_queued"))
    word = pl.when("is_sent").then(pl.lit("sent")).otherwise(pl.lit("queued"))
    silent = by_sender.filter(~pl.col("is_told"), is_silent).select("delivery_id", "source", kind=word)
    return silent.collect(engine="streaming")


def told_by_events(events: pl.LazyFrame, silent: pl.DataFrame | None = None) -> pl.LazyFrame:
    """Return what events say of messages: one row per delivery and message with an event of sending or a complaint.

    In: events of whole deliveries, one row each (sourced columns). Out: `delivery_id`, `message_id`, the smallest
    `address` and `recipient_id`; `told_status` and `told_at` by the latest verdict (of one instant the worst; a failure
    without a date is the latest), by "rejected" only where the message was neither delivered nor failed, or
    "in_progress" without one; `told_type` and `told_reason`, the codes of a failure; `told_complaint`. Opens and clicks
    say nothing. In the deliveries of `silent` (`silent_on_deliveries`) what was sent is delivered, unless anything
    else settles it, whenever that was.
    """
    kind = pl.col("reported_type")
    columns = ("address", "recipient_id", "occurred_at", "bounce_class", "smtp_status")
    is_told = kind.is_in(list(VERDICTS)) & pl.all_horizontal(pl.col(MESSAGE_KEY).is_not_null())
    rows = events.filter(is_told).select(*MESSAGE_KEY, *columns, "source", kind=kind)
    rows = rows.with_columns(told_status=pl.col("kind").replace_strict(VERDICTS, return_dtype=pl.String))
    rows = rows if silent is None else _with_assumed(rows, silent)
    rows = rows.with_columns(_failure())
    last = pl.col("told_status", "told_at", "told_type", "told_reason").last()
    return (
        rows.with_columns(told_at="occurred_at")
        .sort(_rank(silent is not None))
        .group_by(MESSAGE_KEY, maintain_order=True)
        .agg(pl.col("address", "recipient_id").min(), last, told_complaint=(pl.col("kind") == "complained").any())
    )


def _with_assumed(rows: pl.LazyFrame, silent: pl.DataFrame) -> pl.LazyFrame:
    """Make what was sent delivered where its sender reports no deliveries."""
    silent = silent.with_columns(is_assumed=True)
    rows = rows.join(silent.lazy(), on=["delivery_id", "source", "kind"], how="left")
    is_assumed = pl.col("is_assumed").fill_null(False)
    status = pl.when(is_assumed).then(pl.lit("delivered")).otherwise("told_status")
    return rows.with_columns(is_assumed=is_assumed, told_status=status)


def _rank(has_assumed: bool) -> list[pl.Expr]:
    """The order in which the last event of a message decides; equal ones say the same."""
    is_failure = pl.col("told_status") == "failed"
    at = pl.col("occurred_at").dt.epoch("us")
    strength = pl.col("kind").replace_strict({kind: rank for rank, kind in enumerate(VERDICTS)}, return_dtype=pl.Int8)
    return [
        pl.col("kind") != "complained",
        pl.col("told_status").is_in(_SETTLED),
        *([~pl.col("is_assumed")] if has_assumed else []),
        pl.col("told_status") != "excluded",  # a suppression says what the sender will do, not what became of this
        is_failure & at.is_null(),
        at.fill_null(-(2**63)),
        strength,
        pl.col("told_type").fill_null(-1),
        pl.col("told_reason").fill_null(-1),
    ]


def _failure() -> list[pl.Expr]:
    """The platform's codes of a failure, by the class of the bounce; null for what did not fail."""
    bounce = pl.col("bounce_class")
    is_full = pl.col("smtp_status").str.ends_with(".2.2").fill_null(False)
    class_of = pl.when((bounce == "soft") & is_full).then(pl.lit("full")).otherwise(bounce)
    is_failed = pl.col("told_status").eq_missing("failed")
    return [
        pl.when(is_failed)
        .then(class_of.replace_strict(_CODES[name], default=_UNDETERMINED, return_dtype=pl.Int16))
        .alias(f"told_{name}")
        for name in _CODES
    ]


def with_implied(messages: pl.LazyFrame, told: pl.LazyFrame) -> pl.LazyFrame:
    """Return messages with what events say beside them, and a row for each message that only events mention.

    In: `messages` (sourced columns) of the same deliveries as `told`. Out: sourced columns, those of `told`, and
    `is_implied`. An implied message was sent when its verdict says; the columns that only a table knows are null.
    """
    columns = [*MESSAGE_KEY, "told_status", "told_at", "told_type", "told_reason", "told_complaint"]
    stated = messages.join(told.select(columns), on=MESSAGE_KEY, how="left", nulls_equal=True)
    implied = told.join(messages, on=MESSAGE_KEY, how="anti").with_columns(status_at="told_at", is_implied=True)
    return pl.concat([stated.with_columns(is_implied=False), implied], how="diagonal")


def deliveries_known(events: pl.LazyFrame, messages: pl.LazyFrame) -> pl.LazyFrame:
    """Return the deliveries of which it is known what was sent, one row each.

    By a table of messages, or by events of handing over. Only bounces and complaints, as some senders forward them,
    say what failed, and not of how many.
    """
    handed_over = events.filter(pl.col("reported_type").is_in(schema.HANDED_OVER), pl.col("message_id").is_not_null())
    stated = messages.filter(~pl.col("is_implied").fill_null(False))
    return pl.concat([handed_over.select("delivery_id"), stated.select("delivery_id")]).unique()


ALONE = 1 << 30  # bit of `filled` of a delivery that nothing but its messages mentions: it goes with them
COUNTED = ("to_deliver", "started_at")  # what implied messages say of a delivery, unless a table states it


def recounted(deliveries: pl.DataFrame, messages: pl.LazyFrame, touched: pl.Series) -> pl.DataFrame:
    """Return deliveries with what their messages say where only events mention these; a new one gets a row.

    In: `deliveries` (sourced columns and `filled`), the enriched `messages` and the ids of the deliveries that a load
    touched. Out: the same columns, `to_deliver` being the messages handed over or failed and `started_at` the earliest
    verdict, unless a table states them; null where a table of messages says more, or only failures are known.
    """
    status = pl.col("status")
    is_sent = status != "excluded"
    is_known = pl.col("is_implied").all() & status.is_in(["delivered", "in_progress"]).any()
    by_delivery = messages.filter(pl.col("delivery_id").is_in(touched.implode())).group_by("delivery_id")
    counts = by_delivery.agg(
        known=is_known, to_deliver=is_sent.sum().cast(pl.Int64), started_at=pl.col("status_at").filter(is_sent).min()
    ).filter("known")
    touched_rows = pl.DataFrame({"delivery_id": touched}).with_columns(is_touched=True)
    told_of = touched_rows.join(counts.drop("known").collect(), on="delivery_id", how="left")
    rows = deliveries.join(told_of, on="delivery_id", how="full", coalesce=True, suffix=" told")
    is_told = pl.col("to_deliver told").is_not_null()
    is_alone = pl.col(FILLED).fill_null(ALONE) & ALONE != 0
    rows = rows.filter(is_told | ~is_alone | (pl.col(FILLED).is_not_null() & pl.col("is_touched").is_null()))
    rows = rows.with_columns(pl.col(FILLED).fill_null(ALONE))
    return rows.with_columns(_where_not_stated(list(schema.DELIVERY.sourced))).select(deliveries.columns)


def _where_not_stated(names: list[str]) -> list[pl.Expr]:
    """Each value counted, and its bit of `filled` (see `replace_rows`), where no table states the value."""
    values, bits = [], pl.col(FILLED)
    others = [name for name in names if name not in schema.DELIVERY.key]
    for name in COUNTED:
        bit = pl.lit(1 << others.index(name), pl.Int32)
        is_open = pl.col("is_touched").fill_null(False) & (pl.col(name).is_null() | (pl.col(FILLED) & bit != 0))
        counted = pl.col(f"{name} told")
        values.append(pl.when(is_open).then(counted).otherwise(name).alias(name))
        bits = pl.when(~is_open).then(bits).when(counted.is_null()).then(bits & ~bit).otherwise(bits | bit)
    return [*values, bits.cast(pl.Int32).alias(FILLED)]
