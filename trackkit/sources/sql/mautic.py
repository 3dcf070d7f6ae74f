"""Mautic in its own database: what its format (`formats/mautic.toml`) cannot declare.

A hit or an opt-out names the e-mail and the contact but not the message: it is assigned to the last message of that
e-mail sent to the contact before it.
"""

from dataclasses import replace
from functools import cached_property
from typing import Any

import sqlalchemy as sa

from trackkit.sources.sql.installation import Installation
from trackkit.sources.sql.mautic_opens import BOUNCES, expand, expand_bounces
from trackkit.sources.sql.queries import Query
from trackkit.sources.table_formats import TableSection

_UNKNOWN_LAYOUT = "a layout of Mautic that is not known: opens and bounces in it are lacking"
_DETAILS = "email_stats_open_details"
_EXPANDED = {  # columns from which `mautic_opens` makes rows
    "email_stats opened": "id date_read open_count open_details",
    "email_stats bounced": "id is_failed open_details",
}
_STAT_KEYS = {"id", "email_id", "lead_id", "date_sent", "is_failed"}


class Mautic(Installation):
    """The tables of Mautic."""

    computed = ("event_id",)

    def queries(self) -> tuple[list[Query], dict[str, str]]:
        """Return a query for each table that can be read, and why others cannot."""
        queries, reasons = super().queries()
        return queries, reasons | ({self.prefix + _DETAILS: _UNKNOWN_LAYOUT} if self.has(_DETAILS) else {})

    def extra(self, table: TableSection) -> dict[str, sa.ColumnElement[Any]]:
        """Return the counts of an e-mail, the message of a hit or opt-out, and the columns that opens are made from."""
        stats = self._stats.c
        if table.name == "emails" and {"email_id", "date_sent"} <= set(stats.keys()):
            sent = self._sent.c
            return {"first sent": sent.first, "last sent": sent.last, "messages": sent.messages}
        if table.name == "page_hits":
            hits = self.table("page_hits").c
            return {"message": self._message(hits.email_id, hits.lead_id, hits.date_hit)}
        if table.name == "lead_donotcontact":
            optouts = self.table("lead_donotcontact").c
            return {"message": self._message(optouts.channel_id, optouts.lead_id, optouts.date_added)}
        return {name: stats.get(name, sa.null()) for name in _EXPANDED.get(table.name, "").split()}

    def finished(self, table: TableSection, query: Query) -> Query:
        """Return the query with the rows that change without an instant, and the expansion of opens and bounces."""
        stats = self._stats.c
        if table.name.startswith("email_stats"):
            # Failures and retries of messages have no instant.
            query = replace(query, always=[stats[name] != 0 for name in ("is_failed", "retry_count") if name in stats])
        if table.name == "emails" and "messages" in query.statement.selected_columns:
            emails = self.table("emails")
            return query.joined(emails.outerjoin(self._sent, emails.c.id == self._sent.c.email_id))
        if table.name == "email_stats opened":
            return replace(query.only(stats.is_read != 0), expand=expand)
        if table.name == "email_stats bounced":
            return replace(query.only(stats.open_details.contains(BOUNCES)), expand=expand_bounces)
        if table.name == "lead_donotcontact" and "open_details" in stats:
            # A bounce whose message has its class and reason is not read twice.
            optouts = self.table("lead_donotcontact")
            is_same_message = sa.and_(stats.email_id == optouts.c.channel_id, stats.lead_id == optouts.c.lead_id)
            is_known = sa.exists().where(is_same_message, stats.open_details.contains(BOUNCES)).correlate(optouts)
            return query.only(sa.or_(optouts.c.reason != 2, ~is_known), "bounces that messages tell of are read there")
        return query

    @cached_property
    def _stats(self) -> sa.TableClause:
        return self.table("email_stats")

    @cached_property
    def _sent(self) -> sa.Subquery:
        """The messages of each e-mail: how many, and when the first and the last were sent."""
        stats = self._stats.c
        first, last = sa.func.min(stats.date_sent).label("first"), sa.func.max(stats.date_sent).label("last")
        count = sa.func.count().label("messages")
        return sa.select(stats.email_id, first, last, count).group_by(stats.email_id).subquery()

    def _message(
        self, email: sa.ColumnElement[Any], lead: sa.ColumnElement[Any], at: sa.ColumnElement[Any]
    ) -> sa.ColumnElement[Any]:
        if not set(self._stats.c.keys()) >= _STAT_KEYS:
            return sa.null()
        sent = self._stats.alias("sent").c
        is_earlier = sa.and_(sent.email_id == email, sent.lead_id == lead, sent.date_sent <= at)
        return sa.select(sa.func.max(sent.id)).where(is_earlier).scalar_subquery()
