"""listmonk in its own database: what its format (`formats/listmonk.toml`) cannot declare."""

from dataclasses import replace
from typing import Any

import sqlalchemy as sa

from trackkit.sources.sql.installation import Installation
from trackkit.sources.sql.queries import Query
from trackkit.sources.table_formats import TableSection

_COUNTED = (
    "listmonk keeps no log of messages: what it counts as sent and no bounce names counts as delivered, and by domain "
    "that is not known"
)
_NUMBERED = "without a column 'id', which came with listmonk 2.0: rows are numbered by campaign and instant"


class Listmonk(Installation):
    """The tables of listmonk."""

    computed = ("id",)

    def extra(self, table: TableSection) -> dict[str, sa.ColumnElement[Any]]:
        """Return the number sent, which is usable only with all bounces, and ids for rows that have none."""
        if table.name == "campaigns":
            return {"counted sent": self.table("campaigns").c.sent if self._is_counted else sa.null()}
        return {"id": _row_id(self.table(table.name))} if self._is_unnumbered(table) else {}

    def finished(self, table: TableSection, query: Query) -> Query:
        """Return the query with notes on what was counted or numbered."""
        counted = [_COUNTED] if table.name == "campaigns" and self._is_counted else []
        return replace(query, notes=[*query.notes, *counted, *([_NUMBERED] if self._is_unnumbered(table) else [])])

    @property
    def _is_counted(self) -> bool:
        return "sent" in self.table("campaigns").c and "bounces" not in self.missing

    def _is_unnumbered(self, table: TableSection) -> bool:
        return "event_id" in table.columns and "id" not in self.table(table.name).c


def _row_id(events: sa.TableClause) -> sa.ColumnElement[str]:
    """Make ids for rows without one; rows that share all values are numbered in order."""
    shared = [events.c[name] for name in ("campaign_id", "link_id", "created_at") if name in events.c]
    place = sa.func.row_number().over(partition_by=shared, order_by=events.c.subscriber_id)
    return sa.func.concat_ws(":", *(sa.cast(column, sa.String) for column in (*shared, place)))
