"""Mautic in its own database: what its format (`formats/mautic.toml`) cannot say.

A hit or an opt-out names the e-mail and the contact but not the message: it belongs to the last message of that e-mail
which the contact had been sent by then.
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
_EXPANDED = {  # what `mautic_opens` makes rows of
    "email_stats opened": "id date_read open_count open_details",
    "email_stats bounced": "id is_failed open_details",
}
_STAT_KEYS = {"id", "email_id", "lead_id", "date_sent", "is_failed"}


class Mautic(Installation):
    """The tables of Mautic."""

    computed = ("event_id",)

    def queries(self) -> tuple[list[Query], dict[str, str]]:
        """Return a query for each table that can be read, and why others cannot."""
        found, lacking = super().queries()
        return found, lacking | ({self.prefix + _DETAILS: _UNKNOWN_LAYOUT} if self.has(_DETAILS) else {})

    def extra(self, table: TableSection) -> dict[str, sa.ColumnElement[Any]]:
        """Return what is counted of an e-mail, of which message a hit or opt-out is, and what opens are made of."""
        stats = self._stats.c
        if table.name == "emails" and {"email_id", "date_sent"} <= set(stats.keys()):
            sent = self._sent.c
            return {"first sent": sent.first, "last sent": sent.last, "messages": sent.messages}
        if table.name == "page_hits":
            hits = self.table("page_hits").c
            return {"message": self._message(hits.email_id, hits.lead_id, hits.date_hit)}
        if table.name == "lead_donotcontact":
            kept = self.table("lead_donotcontact").c
            return {"message": self._message(kept.channel_id, kept.lead_id, kept.date_added)}
        return {name: stats.get(name, sa.null()) for name in _EXPANDED.get(table.name, "").split()}

    def finished(self, table: TableSection, query: Query) -> Query:
        """Return the query with its rows that change without an instant, and with what makes opens of messages."""
        stats = self._stats.c
        if table.name.startswith("email_stats"):
            # Messages that failed or were tried again have no instant of it.
            query = replace(query, always=[stats[name] != 0 for name in ("is_failed", "retry_count") if name in stats])
        if table.name == "emails" and "messages" in query.statement.selected_columns:
            emails = self.table("emails")
            return query.joined(emails.outerjoin(self._sent, emails.c.id == self._sent.c.email_id))
        if table.name == "email_stats opened":
            return replace(query.only(stats.is_read != 0), expand=expand)
        if table.name == "email_stats bounced":
            return replace(query.only(stats.open_details.contains(BOUNCES)), expand=expand_bounces)
        if table.name == "lead_donotcontact" and "open_details" in stats:
            # A bounce that its message tells of with class and reason is not told again.
            kept = self.table("lead_donotcontact")
            theirs = sa.and_(stats.email_id == kept.c.channel_id, stats.lead_id == kept.c.lead_id)
            is_known = sa.exists().where(theirs, stats.open_details.contains(BOUNCES)).correlate(kept)
            return query.only(sa.or_(kept.c.reason != 2, ~is_known), "bounces that messages tell of are read there")
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
        is_theirs = sa.and_(sent.email_id == email, sent.lead_id == lead, sent.date_sent <= at)
        return sa.select(sa.func.max(sent.id)).where(is_theirs).scalar_subquery()
