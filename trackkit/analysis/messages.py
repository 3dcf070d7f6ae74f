"""Messages and their outcome: a recipient's deliveries, or the recipients of a delivery."""

from typing import Annotated

import polars as pl

from trackkit.engine.deliveries import is_hit, require_delivery, still_there
from trackkit.engine.plausible import plausible
from trackkit.engine.snapshot import Measurable
from trackkit.errors import RequestError
from trackkit.schema import MESSAGE
from trackkit.toml import FROM_1

COLUMNS = ("recipient_id", "document", "status_at", "status", "opens", "clicks", "hits", "last_hit_at")

__all__ = ["messages"]


def messages(
    tables: Measurable,
    delivery: str | None = None,
    recipient: str | None = None,
    limit: Annotated[int | None, FROM_1] = None,
) -> Annotated[pl.DataFrame, COLUMNS]:
    """Return the messages of a delivery, of a recipient, or of both: one row per message, the latest acted on first.

    Columns: `recipient_id`, `document` (label of the delivery), `status_at` (UTC), `status`, `opens`, `clicks` (e-mail
    links only), `hits` (of any kind), `last_hit_at` (UTC). Messages missing from the delivery log are left out,
    and so are those of a deleted delivery that is not named. `limit` keeps the first. Raises RequestError when
    neither id is given, or the delivery is unknown.
    """
    if delivery is None and recipient is None:
        raise RequestError("Messages are those of a delivery or of a recipient; say which.")
    sent, hits = tables.scan("message"), tables.scan("event")
    if delivery is not None:
        key = pl.col("delivery_id") == require_delivery(tables, delivery)
        sent, hits = sent.filter(key), hits.filter(key)
    else:
        sent = still_there(tables, sent)
    if recipient is not None:
        sent = sent.filter(pl.col("recipient_id") == recipient)
    hits = hits.join(sent.select(MESSAGE.key), on=MESSAGE.key, how="semi", nulls_equal=True)
    is_dated = plausible(tables, "event", delivery or "").holds()
    labelled = with_label(tables, sent, "document").with_columns(pl.col("status").cast(pl.String))
    with_hits = labelled.join(_hit_counts(hits, is_dated), on=MESSAGE.key, how="left", nulls_equal=True)
    rows = with_hits.with_columns(pl.col("opens", "clicks", "hits").fill_null(0)).sort(
        "last_hit_at", "status_at", "message_id", "delivery_id", descending=True, nulls_last=True
    )
    return (rows if limit is None else rows.head(limit)).select(COLUMNS).collect()


def with_label(tables: Measurable, rows: pl.LazyFrame, column: str) -> pl.LazyFrame:
    """Add a column with the name of each row's delivery: its label, else its internal name, else its id."""
    labels = tables.scan("delivery").select("delivery_id", pl.coalesce("label", "internal_name").alias(column))
    labelled = rows.join(labels.unique("delivery_id", keep="any"), on="delivery_id", how="left", maintain_order="left")
    return labelled.with_columns(pl.coalesce(column, "delivery_id").alias(column))


def _hit_counts(events: pl.LazyFrame, is_dated: pl.Expr) -> pl.LazyFrame:
    kind = pl.col("event_type").cast(pl.String)
    return (
        events.filter(pl.col("message_id").is_not_null(), is_hit())
        .group_by(MESSAGE.key)
        .agg(
            opens=(kind == "opened").sum().cast(pl.Int64),
            clicks=(kind == "clicked").sum().cast(pl.Int64),
            hits=pl.len().cast(pl.Int64),
            last_hit_at=pl.col("occurred_at").filter(is_dated).max(),
        )
    )
