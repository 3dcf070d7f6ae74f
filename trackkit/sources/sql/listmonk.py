"""listmonk in its own database: campaigns, subscribers, views, clicks, bounces and who left which list.

There is no log of messages: `campaigns.sent` is all that is known of sending. Where tracking of individuals is off,
a view or click has no subscriber, and so no message. Links are shared by all campaigns: here each has its own.
"""

import polars as pl
import sqlalchemy as sa

from trackkit.sources.maps import Field, TableMap
from trackkit.sources.sql import LISTMONK
from trackkit.sources.sql.queries import Catalogue, Query
from trackkit.sources.values import named

_STATES = {"draft": 0, "scheduled": 45, "running": 55, "paused": 75, "cancelled": 85, "finished": 95}
_CLASSES = {"hard": "hard", "soft": "soft"}
_OTHER_CHANNEL = 120
_OWN = ("campaigns", "subscribers", "campaign_views")  # a database that has these is listmonk's


def _joined(*parts: str) -> pl.Expr:
    """Several ids as one; null where one of them is unknown."""
    return pl.concat_str(*parts, separator=":")


def _numbered(table: str) -> pl.Expr:
    return pl.lit(f"{table}:") + pl.col("event_id")  # ids are those of one table


_CAMPAIGN = TableMap(
    "campaigns", LISTMONK, "delivery", zone="UTC",
    fields=(
        Field("delivery_id", "id", ("id",), required=True), Field("internal_name", "text", ("uuid",)),
        Field("label", "text", ("name",)), Field("subject", "text", ("subject",)),
        Field("state", "code", ("status",), words=_STATES), Field("channel", "text", ("messenger",)),
        Field("contact_at", "instant", ("send_at",)), Field("started_at", "instant", ("started_at",)),
        Field("targeted", "count", ("to_send",)), Field("to_deliver", "count", ("sent",)),
    ),
    derive={
        "contact_at": pl.coalesce("contact_at", "started_at"),
        "message_type": pl.when(pl.col("channel").str.starts_with("email").fill_null(True)).then(0)
        .otherwise(_OTHER_CHANNEL),
        "is_model": pl.lit(False), "is_proof": pl.lit(False),
    },
)  # fmt: skip
_SUBSCRIBER = TableMap(
    "subscribers", LISTMONK, "recipient", zone="UTC",
    fields=(
        Field("recipient_id", "id", ("id",), required=True), Field("email", "text", ("email",)),
        Field("standing", "text", ("status",)),
    ),
    derive={"is_denylisted": pl.col("standing") == "blocklisted"},
)  # fmt: skip
_LIST = TableMap(
    "lists", LISTMONK, "service", (Field("service_id", "id", ("id",), required=True), Field("label", "text", ("name",)))
)
_OF_MESSAGE = (
    Field("event_id", "id", ("id",), required=True), Field("delivery_id", "id", ("campaign_id",)),
    Field("recipient_id", "id", ("subscriber_id",)), Field("occurred_at", "instant", ("created_at",)),
)  # fmt: skip
_MESSAGE_ID = {"message_id": _joined("delivery_id", "recipient_id")}
_VIEW = TableMap(
    "campaign_views", LISTMONK, "event", _OF_MESSAGE, zone="UTC",
    derive={
        **_MESSAGE_ID, "event_id": _numbered("campaign_views"), "reported_type": pl.lit("opened"),
        "raw_event_type": pl.lit("view"),
    },
)  # fmt: skip
_CLICK = TableMap(
    "link_clicks", LISTMONK, "event", zone="UTC",
    fields=(
        *_OF_MESSAGE, Field("link_id", "id", ("link_id",)), Field("url", "text", ("target",), table="link"),
        Field("label", "text", (), table="link"), Field("type_code", "code", (), table="link"),
    ),
    derive={
        **_MESSAGE_ID, "event_id": _numbered("link_clicks"), "reported_type": pl.lit("clicked"),
        "raw_event_type": pl.lit("click"), "link_id": _joined("delivery_id", "link_id"),
        "link.label": pl.col("link.url"), "link.type_code": pl.lit(1),
    },
)  # fmt: skip
_BOUNCE = TableMap(
    "bounces", LISTMONK, "event", zone="UTC",
    fields=(
        *_OF_MESSAGE, Field("raw_event_type", "text", ("type",), required=True),
        Field("bounce_reason", "text", ("type",)), Field("diagnostic", "text", ("meta",)),
    ),
    derive={
        **_MESSAGE_ID, "event_id": _numbered("bounces"),
        "reported_type": pl.when(pl.col("raw_event_type") == "complaint").then(pl.lit("complained"))
        .otherwise(pl.lit("bounced")),
        "bounce_class": named(pl.col("raw_event_type"), _CLASSES),
        "bounce_reason": pl.when(pl.col("reported_type") == "bounced").then("bounce_reason"),
        "diagnostic": pl.when(~pl.col("diagnostic").is_in(["{}", "null"])).then("diagnostic"),
    },
)  # fmt: skip
_LEFT = TableMap(
    "subscriber_lists", LISTMONK, "event", zone="UTC",
    fields=(
        Field("recipient_id", "id", ("subscriber_id",), required=True),
        Field("list", "id", ("list_id",), required=True), Field("occurred_at", "instant", ("updated_at",)),
        Field("raw_event_type", "text", ("status",)),
    ),
    derive={
        "event_id": pl.lit("subscriber_lists:") + _joined("recipient_id", "list"),
        "reported_type": pl.lit("unsubscribed"),
    },
)  # fmt: skip


def _acted(action: int, at: str) -> TableMap:
    return TableMap(
        "subscriber_lists", LISTMONK, "subscription", zone="UTC",
        fields=(
            Field("service_id", "id", ("list_id",), required=True),
            Field("recipient_id", "id", ("subscriber_id",), required=True), Field("occurred_at", "instant", (at,)),
            Field("action", "code", ()),
        ),
        derive={"action": pl.lit(action, pl.Int16)},
    )  # fmt: skip


_APPROXIMATE = "a list was left when its row last changed: listmonk keeps no other instant"


def queries(catalogue: Catalogue, prefix: str | None) -> tuple[list[Query], dict[str, str]]:
    """Return the queries for listmonk's tables, where the database is listmonk's, and why some are not read."""
    if prefix or not set(_OWN) <= set(catalogue.names):
        return [], {}
    wanted = {
        "campaigns": (_CAMPAIGN, ()), "subscribers": (_SUBSCRIBER, ("updated_at",)), "lists": (_LIST, ()),
        "campaign_views": (_VIEW, ("created_at",)), "bounces": (_BOUNCE, ("created_at",)),
    }  # fmt: skip
    found = [catalogue.query(name, *how) for name, how in wanted.items() if name in catalogue.names]
    if {"link_clicks", "links"} <= set(catalogue.names):
        found.append(_clicks(catalogue))
    if "subscriber_lists" in catalogue.names:
        found += _subscriptions(catalogue)
    lacking = {one.name: one.table_map.missing(list(one.statement.selected_columns.keys())) for one in found}
    why = {name: f"without a column for {', '.join(columns)}" for name, columns in lacking.items() if columns}
    return [one for one in found if one.name not in why], why


def _clicks(catalogue: Catalogue) -> Query:
    clicks, links = catalogue.table("link_clicks"), catalogue.table("links")
    one = catalogue.query("link_clicks", _CLICK, ("created_at",), {"target": links.c.url})
    return one.joined(clicks.outerjoin(links, clicks.c.link_id == links.c.id))


def _subscriptions(catalogue: Catalogue) -> list[Query]:
    status = catalogue.text(catalogue.table("subscriber_lists").c.status)
    joined = catalogue.query("subscriber_lists", _acted(1, "created_at"), ("updated_at",), what="joined")
    left = catalogue.query("subscriber_lists", _acted(0, "updated_at"), ("updated_at",), what="left")
    events = catalogue.query("subscriber_lists", _LEFT, ("updated_at",), what="unsubscribed")
    gone = sa.and_(status == "unsubscribed")
    return [joined, left.only(gone, _APPROXIMATE), events.only(gone, _APPROXIMATE)]
