"""listmonk in its own database: campaigns, subscribers, views, clicks, bounces and who left which list.

There is no log of messages: `campaigns.sent` says how many were sent, and bounces which of them failed. Where tracking
of individuals is off, a view or click has no subscriber, and so no message. Links are shared by all campaigns: here
each has its own.
"""

from collections.abc import Iterable
from dataclasses import replace

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
# What the tables tell that may be missing: bounces came with 2.0.
_TELL = {"campaign_views": "opened", "link_clicks": "clicked", "bounces": "bounced complained"}


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
        Field("sent", "count", ("counted sent",)), Field("untold", "text", ("untold",)),
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
    Field("event_id", "text", ("id",), required=True), Field("delivery_id", "id", ("campaign_id",)),
    Field("recipient_id", "id", ("subscriber_id",)), Field("occurred_at", "instant", ("created_at",)),
    Field("address", "text", ("address",)),
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
_COUNTED = (
    "listmonk keeps no log of messages: what it counts as sent and no bounce names counts as delivered, and by domain "
    "that is not known"
)
_NUMBERED = "without a column 'id', which came with listmonk 2.0: rows are numbered by campaign and instant"


def prefixes(names: Iterable[str]) -> set[str]:
    """Return the one prefix of listmonk's tables, which is empty, where they are there."""
    return {""} if set(_OWN) <= set(names) else set()


def queries(catalogue: Catalogue, prefix: str | None) -> tuple[list[Query], dict[str, str]]:
    """Return the queries for listmonk's tables, where the database is listmonk's, and why some are not read."""
    if prefix or not prefixes(catalogue.names):
        return [], {}
    return _Listmonk(catalogue).queries()


class _Listmonk:
    """The tables of one installation. What has a status is read wholly: it changes without an instant."""

    def __init__(self, catalogue: Catalogue) -> None:
        self.catalogue = catalogue

    def queries(self) -> tuple[list[Query], dict[str, str]]:
        wanted = {
            "subscribers": lambda: [self.catalogue.query("subscribers", _SUBSCRIBER)],
            "lists": lambda: [self.catalogue.query("lists", _LIST)],
            "campaign_views": lambda: [self._of_messages("campaign_views", _VIEW, ("created_at",))],
            "link_clicks": lambda: [self._of_messages("link_clicks", _CLICK, ("created_at",))],
            # Who reports a bounce dates it, and may do so late.
            "bounces": lambda: [self._of_messages("bounces", _BOUNCE, ())],
            "subscriber_lists": self._subscriptions,
        }  # fmt: skip
        found, lacking = [], {}
        for name, make in wanted.items():
            if name not in self.catalogue.names:
                lacking[name] = self.catalogue.why_missing(name)
                continue
            for one in make():
                if missing := one.table_map.missing(list(one.statement.selected_columns.keys())):
                    lacking[name] = f"without a column for {', '.join(missing)}"
                else:
                    found.append(one)
        return [self._campaigns([what for name, what in _TELL.items() if name in lacking]), *found], lacking

    def _campaigns(self, untold: list[str]) -> Query:
        """The campaigns: what was sent is known where all bounces are, and says how many were delivered."""
        campaigns = self.catalogue.table("campaigns")
        is_counted = "sent" in campaigns.c and _TELL["bounces"] not in untold
        extra = {
            "counted sent": campaigns.c.sent if is_counted else sa.null(),
            "untold": sa.literal(" ".join(["message", *untold]), sa.String()),
        }
        one = self.catalogue.query("campaigns", _CAMPAIGN, extra=extra)
        return replace(one, notes=(_COUNTED,)) if is_counted else one

    def _of_messages(self, name: str, table_map: TableMap, dated: tuple[str, ...]) -> Query:
        """What befell messages, with the addresses of their subscribers, and of clicks with the URLs."""
        events, subscribers = self.catalogue.table(name), self.catalogue.table("subscribers")
        extra, tables = (
            {"address": subscribers.c.email},
            events.outerjoin(subscribers, events.c.subscriber_id == subscribers.c.id),
        )
        if "link_id" in events.c and "links" in self.catalogue.names:
            links = self.catalogue.table("links")
            extra["target"], tables = links.c.url, tables.outerjoin(links, events.c.link_id == links.c.id)
        notes = []
        if "id" not in events.c:
            extra["id"], notes = _made_id(events), [_NUMBERED]
        one = self.catalogue.query(name, table_map, dated, extra).joined(tables)
        return replace(one, notes=notes)

    def _subscriptions(self) -> list[Query]:
        gone = self.catalogue.text(self.catalogue.table("subscriber_lists").c.status) == "unsubscribed"
        joined = self.catalogue.query("subscriber_lists", _acted(1, "created_at"), what="joined")
        left = self.catalogue.query("subscriber_lists", _acted(0, "updated_at"), what="left")
        events = self.catalogue.query("subscriber_lists", _LEFT, what="unsubscribed")
        return [joined, left.only(gone, _APPROXIMATE), events.only(gone, _APPROXIMATE)]


def _made_id(events: sa.TableClause) -> sa.ColumnElement:
    """Number rows that have no number: those that are alike are told apart by their order, which is one."""
    alike = [events.c[name] for name in ("campaign_id", "link_id", "created_at") if name in events.c]
    place = sa.func.row_number().over(partition_by=alike, order_by=events.c.subscriber_id)
    return sa.func.concat_ws(":", *(sa.cast(one, sa.String) for one in (*alike, place)))
