"""Mailchimp activity exports: campaigns and automations, their recipients, members, activity and unsubscribes.

No event has an id: one is derived from everything that tells two events apart, the URL included (two clicks in one
second are normal). Instants carry no offset and are UTC. A message is a campaign and a member; its address and instant
are those of the member and the campaign, which settling knows whatever was loaded first.
"""

from collections.abc import Mapping

import polars as pl

from trackkit.sources.maps import Field, TableMap
from trackkit.sources.values import digest, named

NAME = "mailchimp"
_STATES = {"save": 0, "schedule": 45, "sending": 55, "paused": 75, "sent": 95}
_FORMATS = {"text": 1, "html": 2}
_DELETED = {"false": 0, "true": 1}
_BOUNCES = {"soft": "soft", "hard": "hard"}
_CAMPAIGN, _MEMBER = ("campaign_id", "automation_email_id"), ("member_id", "email_id")


def _delivery(name: str) -> TableMap:
    return TableMap(
        name, NAME, "delivery", stems=(name, f"mailchimp_{name}"), zone="UTC",
        fields=(
            Field("delivery_id", "text", ("id",), required=True), Field("label", "text", ("title",)),
            Field("subject", "text", ("subject_line",)), Field("state", "code", ("status",), words=_STATES),
            Field("started_at", "instant", ("send_time",)),
            Field("delete_status", "code", ("_fivetran_deleted",), words=_DELETED),  # deleted at the sender
        ),
        derive={
            "contact_at": pl.col("started_at"), "message_type": pl.lit(0), "is_model": pl.lit(False),
            "is_proof": pl.lit(False),
        },
    )  # fmt: skip


_OF_MESSAGE = (
    Field("delivery_id", "text", _CAMPAIGN, required=True),
    Field("recipient_id", "text", _MEMBER, required=True),
)
_MESSAGE_ID = {"message_id": pl.concat_str("delivery_id", "recipient_id", separator=":")}


def _message(name: str) -> TableMap:
    sent = {"status_code": pl.lit(1), "is_seed": pl.lit(False)}
    return TableMap(
        name, NAME, "message", _OF_MESSAGE, (name, f"mailchimp_{name}"), derive=_MESSAGE_ID | sent, zone="UTC"
    )


def _with_url(value: pl.Expr) -> pl.Expr:
    return pl.when(pl.col("link.url").is_not_null()).then(value)


def _event(name: str, *fields: Field, derive: Mapping[str, pl.Expr]) -> TableMap:
    identity = digest("reported_type", "raw_event_type", "message_id", "occurred_at", "link.url")
    return TableMap(
        name, NAME, "event", stems=(name, f"mailchimp_{name}"), zone="UTC",
        fields=(
            *_OF_MESSAGE, Field("occurred_at", "instant", ("timestamp",)), Field("ip", "text", ("ip",)),
            Field("url", "text", ("url",), table="link"), Field("label", "text", (), table="link"),
            Field("type_code", "code", (), table="link"), *fields,
        ),
        derive={
            **_MESSAGE_ID, **derive,
            "link_id": _with_url(pl.concat_str("delivery_id", digest("link.url"), separator=":")),
            "link.label": pl.col("link.url"), "link.type_code": _with_url(pl.lit(1)),
            "event_id": pl.lit("sha256:") + identity,
        },
        unknown_type=pl.when(pl.col("reported_type") == "unknown").then(pl.col("raw_event_type")),
    )  # fmt: skip


_ACTIVITY = (Field("action", "text", ("action",), required=True), Field("bounce", "text", ("bounce_type",)))
_WORDS = {
    "raw_event_type": pl.concat_str("action", "bounce", separator=":", ignore_nulls=True),
    "reported_type": named(pl.col("action"), {"open": "opened", "click": "clicked", "bounce": "bounced"}).fill_null(
        "unknown"
    ),
    "bounce_class": pl.when(pl.col("action") == "bounce").then(named(pl.col("bounce"), _BOUNCES)),
}
_LEFT = {"raw_event_type": pl.lit("unsubscribe"), "reported_type": pl.lit("unsubscribed")}
_MEMBERS = TableMap(
    "member", NAME, "recipient", stems=("member", "mailchimp_member", "list_member"), zone="UTC",
    fields=(
        Field("recipient_id", "text", ("id",), required=True), Field("email", "text", ("email_address",)),
        Field("email_format", "code", ("email_type",), words=_FORMATS), Field("country", "text", ("country_code",)),
        Field("standing", "text", ("status",)),
    ),
    derive={"is_denylisted": pl.col("standing").is_in(["unsubscribed", "cleaned"])},
)  # fmt: skip
MAPS = (
    _delivery("campaign"), _delivery("automation_email"), _message("campaign_recipient"),
    _message("automation_recipient"), _MEMBERS,
    _event("campaign_recipient_activity", *_ACTIVITY, derive=_WORDS),
    _event("automation_recipient_activity", *_ACTIVITY, derive=_WORDS),
    _event("unsubscribe", derive=_LEFT),
)  # fmt: skip
