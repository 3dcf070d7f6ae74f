"""Messages and their outcome: a recipient's deliveries, or the recipients of a delivery."""

from typing import Annotated

import polars as pl

from trackkit.engine.deliveries import Deliveries, asked_about, is_hit, of_deliveries, still_there, the_one
from trackkit.engine.plausible import plausible
from trackkit.engine.snapshot import Measurable
from trackkit.errors import RequestError
from trackkit.schema import MESSAGE
from trackkit.toml import FROM_1

COLUMNS = ("recipient_id", "document", "status_at", "status", "opens", "clicks", "hits", "last_hit_at")

__all__ = ["messages"]


def messages(
    tables: Measurable,
    delivery: Deliveries = None,
    recipient: str | None = None,
    limit: Annotated[int | None, FROM_1] = None,
) -> Annotated[pl.DataFrame, COLUMNS]:
    """Return the messages of deliveries, of a recipient, or of both: one row per message, the latest acted on first.

    Columns: `recipient_id`, `document` (label of the delivery), `status_at` (UTC), `status`, `opens`, `clicks` (e-mail
    links only), `hits` (of any kind), `last_hit_at` (UTC). Messages missing from the delivery log are left out,
    and so are those of a deleted delivery that is not named. `limit` keeps the first, which all deliveries together
    need. Raises RequestError when neither an id nor a limit is given, or the delivery is unknown.
    """
    ids = asked_about(tables, delivery)
    if ids is None and recipient is None and limit is None:
        raise RequestError("Messages are those of a delivery or of a recipient: say which, or give a limit.")
    sent, hits = (of_deliveries(tables, name, ids) for name in ("message", "event"))
    if recipient is not None:
        every = still_there(tables, tables.scan("message")) if ids is None else sent
        sent, hits = every.filter(pl.col("recipient_id") == recipient), hits if ids else tables.scan("event")
    hits = hits.join(sent.select(MESSAGE.key), on=MESSAGE.key, how="semi", nulls_equal=True)
    is_dated = plausible(tables, "event", the_one(ids)).holds()
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
