"""Mautic in its own database: e-mails, a row per message, opens, clicks, and who is not to be contacted.

Instants carry no zone and are UTC. A hit or an opt-out names the e-mail and the contact but not the message: it belongs
to the last message of that e-mail which the contact had been sent by then. A hit is a click where it went through a
redirect, as Mautic's own trackables count it; else somebody came to a page.
"""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import polars as pl
import sqlalchemy as sa

from trackkit import schema
from trackkit.sources.maps import Field, TableMap
from trackkit.sources.sql import MAUTIC
from trackkit.sources.sql.mautic_opens import BOUNCES, expand, expand_bounces
from trackkit.sources.sql.queries import Catalogue, Query
from trackkit.sources.values import digest, named

_OWN = ("emails", "email_stats")  # a database that has these, behind one prefix, is Mautic's
_REASONS = {"1": "unsubscribed", "2": "bounced"}
# Comments of opt-outs that nobody clicked for: a feedback loop reports spam, or a mail asks for it.
_COMPLAINT, _BY_MAIL = "(?i)spam|complain|abuse|feedback|junk", "(?i)via e-?mail"
_WORDS = {"0": "contactable", "1": "unsubscribed", "2": "bounced", "3": "manual"}

# The types of Mautic's bounces, and the categories of reports that are none.
_CLASSES = {"hard": "hard", "soft": "soft", "temporary": "soft", "blocked": "block"}
_NO_BOUNCES = {
    "autoreply": "autoresponded", "outofoffice": "autoresponded",
    "defer": "deferred", "delayed": "deferred", "warning": "deferred",
}  # fmt: skip

_EMAIL = TableMap(
    "emails", MAUTIC, "delivery", zone="UTC",
    fields=(
        Field("delivery_id", "id", ("id",), required=True), Field("label", "text", ("name",)),
        Field("subject", "text", ("subject",)), Field("contact_at", "instant", ("publish_up",)),
        Field("started_at", "instant", ("first sent",)), Field("ended_at", "instant", ("last sent",)),
        Field("to_deliver", "count", ("messages",)), Field("untold", "text", ("untold",)),
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
_STAT_BOUNCE = TableMap(
    "email_stats bounced", MAUTIC, "event", zone="UTC",
    fields=(
        *_OF_MESSAGE, Field("event_id", "text", ("event_id",), required=True), Field("message_id", "id", ("id",)),
        Field("occurred_at", "instant", ("bounced_at",)), Field("raw_event_type", "text", ("word",)),
        Field("bounce_reason", "text", ("reason",)), Field("diagnostic", "text", ("said",)),
        Field("address", "text", ("email_address",)),
    ),
    derive={
        "reported_type": named(pl.col("bounce_reason"), _NO_BOUNCES).fill_null("bounced"),
        "bounce_class": pl.when(pl.col("reported_type") == "bounced")
        .then(named(pl.col("raw_event_type"), _CLASSES).fill_null("undetermined")),
    },
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
        "event_id": pl.lit("page_hits:") + pl.col("event_id"),
        "reported_type": pl.when(pl.col("redirect_id").is_not_null()).then(pl.lit("clicked"))
        .otherwise(pl.lit("web_visited")),
        "raw_event_type": pl.lit("hit"), "link_id": pl.concat_str("delivery_id", _TARGET, separator=":"),
        "link.label": pl.col("link.url"),
        "link.type_code": pl.when(pl.col("redirect_id").is_not_null()).then(1).otherwise(4),
    },
)  # fmt: skip
_SAID = pl.col("diagnostic").fill_null("")
_KIND = (
    pl.when((pl.col("raw_event_type") == "1") & _SAID.str.contains(_COMPLAINT)).then(pl.lit("complained"))
    .otherwise(named(pl.col("raw_event_type"), _REASONS).fill_null("unknown"))
)  # fmt: skip
# Nobody had the message before them: by mail, by an operator or by a way that is not known.
_IS_NO_HIT = (pl.col("reported_type") == "unknown") | (
    (pl.col("reported_type") == "unsubscribed") & _SAID.str.contains(_BY_MAIL)
)
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
        "reported_type": _KIND,
        **{name: pl.when(~_IS_NO_HIT).then(name) for name in ("delivery_id", "message_id")},
        "raw_event_type": pl.coalesce(named(pl.col("raw_event_type"), _WORDS), "raw_event_type"),
        "bounce_class": pl.when(pl.col("reported_type") == "bounced").then(pl.lit("undetermined")),
        "diagnostic": pl.when(pl.col("reported_type") == "bounced").then("diagnostic"),
    },
    unknown_type=pl.when(pl.col("reported_type") == "unknown").then(pl.col("raw_event_type")),
)  # fmt: skip


# The columns without which a reading cannot be, and what is then not told.
_STAT_KEY = ("id", "email_id", "lead_id", "date_sent")
_NEEDED = {
    "leads": ("id", "email"), "email_stats": (*_STAT_KEY, "is_failed"), "email_stats opened": (*_STAT_KEY, "is_read"),
    "email_stats bounced": (*_STAT_KEY, "open_details"),
    "page_hits": ("id", "email_id", "lead_id", "redirect_id", "date_hit"),
    "lead_donotcontact": ("id", "lead_id", "channel", "channel_id", "reason", "date_added"),
}  # fmt: skip
_TELL = {
    "email_stats": "message", "email_stats opened": "opened", "email_stats bounced": "bounced",
    "page_hits": "clicked web_visited", "lead_donotcontact": "unsubscribed complained",
}  # fmt: skip


def prefixes(names: Iterable[str]) -> set[str]:
    """Return the prefixes behind which tables of Mautic are."""
    known = set(names)
    fitting = {name.removesuffix(_OWN[1]) for name in known if name.endswith(_OWN[1])}
    return {one for one in fitting if one + _OWN[0] in known}


def queries(catalogue: Catalogue, prefix: str | None) -> tuple[list[Query], dict[str, str]]:
    """Return the queries for Mautic's tables behind a prefix, which need not be told where only one fits."""
    fitting = sorted(one for one in prefixes(catalogue.names) if prefix in (None, one))
    return _Mautic(catalogue, fitting[0]).queries() if fitting else ([], {})


class _Mautic:
    """The tables of one installation, behind its prefix."""

    def __init__(self, catalogue: Catalogue, prefix: str) -> None:
        self.catalogue, self.prefix = catalogue, prefix
        self.stats = self.table("email_stats")

    def has(self, *names: str) -> bool:
        return all(self.prefix + name in self.catalogue.names for name in names)

    def table(self, name: str) -> sa.TableClause:
        return self.catalogue.table(self.prefix + name)

    def queries(self) -> tuple[list[Query], dict[str, str]]:
        wanted = {
            "leads": self._contacts, "email_stats": self._messages, "email_stats opened": self._opens,
            "email_stats bounced": self._bounces, "page_hits": self._hits, "lead_donotcontact": self._opt_outs,
        }  # fmt: skip
        found, lacking = [], {}
        for name, make in wanted.items():
            if missing := self._missing(name):
                lacking[name] = missing
            else:
                found.append(make())
        if self.has("email_stats_open_details"):
            lacking["email_stats_open_details"] = (
                "a layout of Mautic that is not known: opens and bounces in it are lacking"
            )
        untold = " ".join(what for name, what in _TELL.items() if name in lacking) or schema.ALL_TOLD
        return [self._emails(untold), *found], {self.prefix + name: why for name, why in lacking.items()}

    def _missing(self, name: str) -> str:
        """Why a table cannot be read, or nothing."""
        table = name.split(" ")[0]
        if not self.has(table):
            return self.catalogue.why_missing(self.prefix + table)
        columns = [one for one in _NEEDED[name] if one not in self.table(table).c]
        return f"without a column for {', '.join(columns)}" if columns else ""

    def _emails(self, untold: str) -> Query:
        emails, stats = self.table("emails"), self.stats
        is_sent = {"email_id", "date_sent"} <= set(stats.c.keys())
        extra: dict[str, Any] = {"untold": sa.literal(untold, sa.String())}
        if not is_sent:
            return self.catalogue.query(f"{self.prefix}emails", _EMAIL, extra=extra)
        first, last = sa.func.min(stats.c.date_sent), sa.func.max(stats.c.date_sent)
        sent = sa.select(
            stats.c.email_id, first.label("first"), last.label("last"), sa.func.count().label("messages")
        ).group_by(stats.c.email_id).subquery()  # fmt: skip
        extra |= {"first sent": sent.c.first, "last sent": sent.c.last, "messages": sent.c.messages}
        one = self.catalogue.query(f"{self.prefix}emails", _EMAIL, extra=extra)
        return one.joined(emails.outerjoin(sent, emails.c.id == sent.c.email_id))

    def _contacts(self) -> Query:
        return self.catalogue.query(f"{self.prefix}leads", _CONTACT, ("date_added", "date_modified"))

    def _messages(self) -> Query:
        return self._of_stats(_STAT, {}, "")

    def _of_stats(self, table_map: TableMap, extra: dict[str, Any], what: str) -> Query:
        """Messages: dated by sending and by opens, long after; those that failed have no instant of it."""
        stats = self.stats.c
        touched = tuple(one for one in ("date_sent", "date_read", "last_opened") if one in stats)
        flags = [stats[name] != 0 for name in ("is_failed", "retry_count") if name in stats]
        one = self.catalogue.query(f"{self.prefix}email_stats", table_map, touched, extra, what)
        return replace(one, always=flags)

    def _opens(self) -> Query:
        wanted = ("id", "date_read", "open_count", "open_details")
        extra = {name: self.stats.c.get(name, sa.null()) for name in wanted}
        return self._of_stats(_OPEN, extra, "opened").only(self.stats.c.is_read != 0).expanded(expand)

    def _bounces(self) -> Query:
        extra = {name: self.stats.c.get(name, sa.null()) for name in ("id", "is_failed", "open_details")}
        query = self._of_stats(_STAT_BOUNCE, extra, "bounced").only(self.stats.c.open_details.contains(BOUNCES))
        return query.expanded(expand_bounces)

    def _hits(self) -> Query:
        hits, extra = self.table("page_hits"), {}
        tables: Any = hits
        if self.has("page_redirects"):
            redirects = self.table("page_redirects")
            extra["target"] = redirects.c.url
            tables = hits.outerjoin(redirects, hits.c.redirect_id == redirects.c.id)
        extra["message"] = self._message(hits.c.email_id, hits.c.lead_id, hits.c.date_hit)
        one = self.catalogue.query(f"{self.prefix}page_hits", _HIT, ("date_hit",), extra).joined(tables)
        how = "hits through a redirect are clicks, as Mautic's trackables count them; hits on pages are visits"
        return one.only(hits.c.email_id.is_not(None), "hits that no e-mail led to are not read", how)

    def _opt_outs(self) -> Query:
        kept = self.table("lead_donotcontact")
        extra = {"message": self._message(kept.c.channel_id, kept.c.lead_id, kept.c.date_added)}
        one = self.catalogue.query(f"{self.prefix}lead_donotcontact", _OPT_OUT, ("date_added",), extra)
        one = one.only(kept.c.channel == "email", "only the channel 'email' is read; what an operator did, a mail or a "
                       "feedback loop asked for is no click on the opt-out link")  # fmt: skip
        if "open_details" not in self.stats.c:
            return one
        # A bounce that its message tells of with class and reason is not told again.
        theirs = sa.and_(self.stats.c.email_id == kept.c.channel_id, self.stats.c.lead_id == kept.c.lead_id)
        is_known = sa.exists().where(theirs, self.stats.c.open_details.contains(BOUNCES)).correlate(kept)
        return one.only(sa.or_(kept.c.reason != 2, ~is_known), "bounces that messages tell of are read there")

    def _message(self, email: sa.ColumnElement, lead: sa.ColumnElement, at: sa.ColumnElement) -> sa.ColumnElement:
        if not set(_NEEDED["email_stats"]) <= set(self.stats.c.keys()):
            return sa.null()
        sent = self.stats.alias("sent")
        is_theirs = sa.and_(sent.c.email_id == email, sent.c.lead_id == lead, sent.c.date_sent <= at)
        return sa.select(sa.func.max(sent.c.id)).where(is_theirs).scalar_subquery()
