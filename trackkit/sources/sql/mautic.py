"""Mautic in its own database: e-mails, a row per message, opens, clicks, and who is not to be contacted.

Instants carry no zone and are UTC. A hit or an opt-out names the e-mail and the contact but not the message: it belongs
to the last message of that e-mail which the contact had been sent by then.
"""

from collections.abc import Iterable
from typing import Any

import polars as pl
import sqlalchemy as sa

from trackkit.sources.mailchimp import digest
from trackkit.sources.maps import Field, TableMap
from trackkit.sources.sql import MAUTIC
from trackkit.sources.sql.mautic_opens import expand
from trackkit.sources.sql.queries import Catalogue, Query
from trackkit.sources.values import named

_OWN = ("emails", "email_stats")  # a database that has these, behind one prefix, is Mautic's
_REASONS = {"1": "unsubscribed", "2": "bounced"}
_WORDS = {"0": "contactable", "1": "unsubscribed", "2": "bounced", "3": "manual"}

_EMAIL = TableMap(
    "emails", MAUTIC, "delivery", zone="UTC",
    fields=(
        Field("delivery_id", "id", ("id",), required=True), Field("label", "text", ("name",)),
        Field("subject", "text", ("subject",)), Field("contact_at", "instant", ("publish_up",)),
        Field("started_at", "instant", ("first sent",)), Field("ended_at", "instant", ("last sent",)),
        Field("to_deliver", "count", ("messages",)),
    ),
    derive={
        "targeted": pl.col("to_deliver"), "message_type": pl.lit(0), "is_model": pl.lit(False),
        "is_proof": pl.lit(False),
    },
)  # fmt: skip
_CONTACT = TableMap(
    "leads", MAUTIC, "recipient",
    (Field("recipient_id", "id", ("id",), required=True), Field("email", "text", ("email",))),
)  # fmt: skip
_OF_MESSAGE = (
    Field("delivery_id", "id", ("email_id",), required=True), Field("recipient_id", "id", ("lead_id",)),
)  # fmt: skip
_STAT = TableMap(
    "email_stats", MAUTIC, "message", zone="UTC",
    fields=(
        *_OF_MESSAGE, Field("message_id", "id", ("id",), required=True), Field("address", "text", ("email_address",)),
        Field("status_at", "instant", ("date_sent",)), Field("failed", "flag", ("is_failed",)),
    ),
    derive={
        "status_code": pl.when("failed").then(2).otherwise(1).cast(pl.Int16), "is_seed": pl.lit(False),
    },
)  # fmt: skip
_OPEN = TableMap(
    "email_stats opened", MAUTIC, "event", zone="UTC",
    fields=(
        *_OF_MESSAGE, Field("event_id", "text", ("event_id",), required=True), Field("message_id", "id", ("id",)),
        Field("occurred_at", "instant", ("opened_at",)), Field("user_agent", "text", ("agent",)),
        Field("raw_event_type", "text", ("word",)),
    ),
    derive={"reported_type": pl.lit("opened")},
)  # fmt: skip
_TARGET = (
    pl.when(pl.col("redirect_id").is_not_null()).then(pl.col("redirect_id"))
    .when(pl.col("page_id").is_not_null()).then(pl.lit("page ") + pl.col("page_id"))
    .otherwise(digest("link.url"))
)  # fmt: skip
_HIT = TableMap(
    "page_hits", MAUTIC, "event", zone="UTC",
    fields=(
        *_OF_MESSAGE, Field("event_id", "id", ("id",), required=True), Field("message_id", "id", ("message",)),
        Field("occurred_at", "instant", ("date_hit",)), Field("user_agent", "text", ("user_agent",)),
        Field("redirect_id", "id", ("redirect_id",)), Field("page_id", "id", ("page_id",)),
        Field("person_id", "text", ("tracking_id",)),
        Field("url", "text", ("target",), table="link"), Field("url", "text", ("url",), table="link"),
        Field("label", "text", (), table="link"), Field("type_code", "code", (), table="link"),
    ),
    derive={
        "event_id": pl.lit("page_hits:") + pl.col("event_id"), "reported_type": pl.lit("clicked"),
        "raw_event_type": pl.lit("hit"), "link_id": pl.concat_str("delivery_id", _TARGET, separator=":"),
        "link.label": pl.col("link.url"), "link.type_code": pl.lit(1),
    },
)  # fmt: skip
_OPT_OUT = TableMap(
    "lead_donotcontact", MAUTIC, "event", zone="UTC",
    fields=(
        Field("event_id", "id", ("id",), required=True), Field("delivery_id", "id", ("channel_id",)),
        Field("recipient_id", "id", ("lead_id",)), Field("message_id", "id", ("message",)),
        Field("occurred_at", "instant", ("date_added",)), Field("raw_event_type", "text", ("reason",)),
        Field("diagnostic", "text", ("comments",)),
    ),
    derive={
        "event_id": pl.lit("lead_donotcontact:") + pl.col("event_id"),
        "reported_type": named(pl.col("raw_event_type"), _REASONS).fill_null("unknown"),
        "raw_event_type": pl.coalesce(named(pl.col("raw_event_type"), _WORDS), "raw_event_type"),
        "bounce_class": pl.when(pl.col("reported_type") == "bounced").then(pl.lit("undetermined")),
        "diagnostic": pl.when(pl.col("reported_type") == "bounced").then("diagnostic"),
    },
    unknown_type=pl.when(pl.col("reported_type") == "unknown").then(pl.col("raw_event_type")),
)  # fmt: skip


def prefixes(names: Iterable[str]) -> set[str]:
    """Return the prefixes behind which tables of Mautic are."""
    known = set(names)
    fitting = {name.removesuffix(_OWN[1]) for name in known if name.endswith(_OWN[1])}
    return {one for one in fitting if one + _OWN[0] in known}


def queries(catalogue: Catalogue, prefix: str | None) -> tuple[list[Query], dict[str, str]]:
    """Return the queries for Mautic's tables behind a prefix, which need not be told where only one fits."""
    found, lacking = [], {}
    for one in sorted(one for one in prefixes(catalogue.names) if prefix in (None, one)):
        for query in _Mautic(catalogue, one).queries():
            headers = list(query.statement.selected_columns.keys())
            missing = [] if query.expand else query.table_map.missing(headers)
            if missing:
                lacking[query.name] = f"without a column for {', '.join(missing)}"
            else:
                found.append(query)
    return found, lacking


class _Mautic:
    """The tables of one installation, behind its prefix."""

    def __init__(self, catalogue: Catalogue, prefix: str) -> None:
        self.catalogue, self.prefix = catalogue, prefix
        self.stats = self.table("email_stats")

    def has(self, *names: str) -> bool:
        return all(self.prefix + name in self.catalogue.names for name in names)

    def table(self, name: str) -> sa.TableClause:
        return self.catalogue.table(self.prefix + name)

    def queries(self) -> list[Query]:
        found = [self._emails(), self._messages(), self._opens()]
        if self.has("leads"):
            found.append(self.catalogue.query(f"{self.prefix}leads", _CONTACT, ("date_added", "date_modified")))
        if self.has("page_hits"):
            found.append(self._hits())
        if self.has("lead_donotcontact"):
            found.append(self._opt_outs())
        return found

    def _emails(self) -> Query:
        emails, stats = self.table("emails"), self.stats
        first, last = sa.func.min(stats.c.date_sent), sa.func.max(stats.c.date_sent)
        sent = sa.select(
            stats.c.email_id, first.label("first"), last.label("last"), sa.func.count().label("messages")
        ).group_by(stats.c.email_id).subquery()  # fmt: skip
        extra = {"first sent": sent.c.first, "last sent": sent.c.last, "messages": sent.c.messages}
        one = self.catalogue.query(f"{self.prefix}emails", _EMAIL, extra=extra)
        return one.joined(emails.outerjoin(sent, emails.c.id == sent.c.email_id))

    def _messages(self) -> Query:
        return self.catalogue.query(f"{self.prefix}email_stats", _STAT, self._touched())

    def _touched(self) -> tuple[str, ...]:
        """A message changes when it is opened, long after it was sent."""
        return tuple(one for one in ("date_sent", "date_read", "last_opened") if one in self.stats.c)

    def _opens(self) -> Query:
        wanted = ("id", "date_read", "open_count", "open_details")
        extra = {name: self.stats.c[name] for name in wanted if name in self.stats.c}
        extra |= {name: sa.null() for name in wanted if name not in self.stats.c}
        one = self.catalogue.query(f"{self.prefix}email_stats", _OPEN, self._touched(), extra, what="opened")
        return one.only(self.stats.c.is_read != 0).expanded(expand)

    def _hits(self) -> Query:
        hits, extra = self.table("page_hits"), {}
        tables: Any = hits
        if self.has("page_redirects"):
            redirects = self.table("page_redirects")
            extra["target"] = redirects.c.url
            tables = hits.outerjoin(redirects, hits.c.redirect_id == redirects.c.id)
        extra["message"] = self._message(hits.c.email_id, hits.c.lead_id, hits.c.date_hit)
        one = self.catalogue.query(f"{self.prefix}page_hits", _HIT, ("date_hit",), extra).joined(tables)
        return one.only(hits.c.email_id.is_not(None), "hits that no e-mail led to are not read")

    def _opt_outs(self) -> Query:
        kept = self.table("lead_donotcontact")
        extra = {"message": self._message(kept.c.channel_id, kept.c.lead_id, kept.c.date_added)}
        one = self.catalogue.query(f"{self.prefix}lead_donotcontact", _OPT_OUT, ("date_added",), extra)
        return one.only(kept.c.channel == "email", "only the channel 'email' is read")

    def _message(self, email: sa.ColumnElement, lead: sa.ColumnElement, at: sa.ColumnElement) -> sa.ColumnElement:
        sent = self.stats.alias("sent")
        is_theirs = sa.and_(sent.c.email_id == email, sent.c.lead_id == lead, sent.c.date_sent <= at)
        return sa.select(sa.func.max(sent.c.id)).where(is_theirs).scalar_subquery()
