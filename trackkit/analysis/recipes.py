"""Segments of recipients that users build in the platform's query editor: who opened nothing, did what, is most active.

Each function returns recipients, to be joined or exported, without their addresses. Proofs, models, deleted deliveries
and messages to control addresses are left out.
"""

from datetime import UTC, timedelta

import polars as pl

from trackkit.clock import Asked, moment
from trackkit.engine.deliveries import counted_events, is_public, of_deliveries, require_delivery, without_aside
from trackkit.engine.plausible import now
from trackkit.engine.snapshot import Measurable
from trackkit.errors import RequestError
from trackkit.schema import MESSAGE

__all__ = ["behaviour", "hits_per_recipient", "no_open_in"]

BEHAVIOURS = pl.Enum(["clicked", "opened", "inactive"])
_HITS = ("opened", "clicked", "unsubscribed", "mirror_page", "web_visited", "transaction")


def no_open_in(tables: Measurable, days: float, until: Asked | None = None) -> pl.DataFrame:
    """Return the recipients who opened nothing in the last `days` days: one row per recipient, by id.

    Columns: `recipient_id`, `messages` (delivered to them in those days), `last_open_at` (UTC, the latest one before;
    null when they never opened). A hit on the open pixel counts, as on the platform; a click without one does not.
    `until` is the end of the days (the end of a date; an instant; or ISO text of either), by default the newest
    `plausible` instant of the tracking log. Raises RequestError if `days` is not positive, or if nothing is dated and
    `until` is missing.

    >>> no_open_in(store, days=30).height
    83
    """
    if not days > 0:
        raise RequestError(f"A number of days is positive; got {days!r}.")
    zone = getattr(tables, "timezone", "UTC")
    end = now(tables) if until is None else moment(until, zone, "until", end_of_day=True).astimezone(UTC)
    if end is None:
        raise RequestError("No hit carries a date, so there are no last days; give `until`.")
    start = end - timedelta(days=days)
    is_open = (pl.col("event_type").cast(pl.String) == "opened") & (pl.col("occurred_at") <= end)
    opens = _real_rows(tables, "event").filter(is_open)
    opened = opens.group_by("recipient_id").agg(last_open_at=pl.col("occurred_at").max())
    delivered = _delivered(_real_rows(tables, "message")).filter(pl.col("status_at").is_between(start, end))
    counts = delivered.group_by("recipient_id").agg(messages=pl.len().cast(pl.Int64))
    return (
        _all_recipients(tables)
        .join(opened, on="recipient_id", how="left")
        .filter((pl.col("last_open_at") < start).fill_null(True))
        .join(counts, on="recipient_id", how="left")
        .select("recipient_id", pl.col("messages").fill_null(0), "last_open_at")
        .sort(pl.col("recipient_id").cast(pl.Int64, strict=False), "recipient_id")
        .collect()
    )


def behaviour(tables: Measurable, delivery: str) -> pl.DataFrame:
    """Return what each recipient of a delivery did with it: one row per message delivered, by message.

    Columns: `recipient_id`, `message_id`, `behaviour`: "clicked" (on an e-mail link), "opened" (any other hit, since
    it shows that the message was displayed) or "inactive". The three add up to the success.
    Raises RequestError for an unknown delivery.

    >>> behaviour(store, delivery)["behaviour"].value_counts().sort("count").rows()
    [('clicked', 6), ('opened', 20), ('inactive', 56)]
    """
    ids = [require_delivery(tables, delivery)]
    kind = pl.col("event_type").cast(pl.String)
    acts = (
        counted_events(tables, ids)
        .filter(pl.col("message_id").is_not_null())
        .group_by(MESSAGE.key)
        .agg(clicked=(kind == "clicked").any())
    )
    act = (
        pl.when(pl.col("clicked")).then(pl.lit("clicked")).when(pl.col("clicked").is_not_null()).then(pl.lit("opened"))
    )
    return (
        _delivered(of_deliveries(tables, "message", ids))
        .join(acts, on=MESSAGE.key, how="left")
        .select("recipient_id", "message_id", behaviour=act.otherwise(pl.lit("inactive")).cast(BEHAVIOURS))
        .sort(pl.col("message_id").cast(pl.Int64, strict=False), "message_id")
        .collect()
    )


def hits_per_recipient(
    tables: Measurable, since: Asked | None = None, until: Asked | None = None, label_contains: str = ""
) -> pl.DataFrame:
    """Return how many hits each recipient has, the most active first: one row per recipient with at least one.

    `since` <= the hit < `until`, where given, each a date, an instant, or ISO text of either; `label_contains` keeps
    deliveries whose label contains that text, in any case. Columns: `recipient_id`, `hits`, `opens`, `clicks`,
    `deliveries`, `last_hit_at` (UTC).

    >>> hits_per_recipient(store).drop(pl.selectors.temporal()).row(0)
    ('300095', 15, 0, 13, 1)
    """
    kind = pl.col("event_type").cast(pl.String)
    hits = _real_rows(tables, "event").filter(kind.is_in(_HITS) | pl.col("link_id").is_not_null())
    zone, at = getattr(tables, "timezone", "UTC"), pl.col("occurred_at")
    if since is not None:
        hits = hits.filter(at >= moment(since, zone, "since").astimezone(UTC))
    if until is not None:
        hits = hits.filter(at < moment(until, zone, "until").astimezone(UTC))
    if label_contains:
        label = pl.col("label").str.to_lowercase().str.contains(label_contains.lower(), literal=True)
        hits = hits.join(tables.scan("delivery").filter(label), on="delivery_id", how="semi")
    return (
        hits.filter(pl.col("recipient_id").is_not_null())
        .group_by("recipient_id")
        .agg(
            hits=pl.len().cast(pl.Int64),
            opens=(kind == "opened").sum().cast(pl.Int64),
            clicks=(kind == "clicked").sum().cast(pl.Int64),
            deliveries=pl.col("delivery_id").drop_nulls().n_unique().cast(pl.Int64),
            last_hit_at=pl.col("occurred_at").max(),
        )
        .sort(
            "hits", pl.col("recipient_id").cast(pl.Int64, strict=False), "recipient_id", descending=[True, False, False]
        )
        .collect()
    )


def _real_rows(tables: Measurable, table: str) -> pl.LazyFrame:
    """Rows of deliveries that are not set aside, without control addresses."""
    return without_aside(tables, tables.scan(table).filter(is_public()))


def _delivered(messages: pl.LazyFrame) -> pl.LazyFrame:
    return messages.filter(pl.col("status").cast(pl.String) == "delivered", is_public())


def _all_recipients(tables: Measurable) -> pl.LazyFrame:
    ids = [tables.scan("recipient").select("recipient_id"), _real_rows(tables, "message").select("recipient_id")]
    return pl.concat(ids).filter(pl.col("recipient_id").is_not_null()).unique()
