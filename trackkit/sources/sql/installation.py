"""One installation of a product in a database: queries for its tables, as a format (`table_formats`) declares them."""

from dataclasses import replace
from functools import cached_property
from typing import Any

import sqlalchemy as sa

from trackkit import schema
from trackkit.sources.sql.queries import Catalogue, Query
from trackkit.sources.table_formats import JoinedTable, TableFormat, TableSection

_UNTOLD = "untold"


class Installation:
    """The tables of one installation, behind its prefix; a product whose format needs more subclasses it."""

    computed: tuple[str, ...] = ()  # required columns that the product computes

    def __init__(self, catalogue: Catalogue, format: TableFormat, prefix: str = "") -> None:
        self.catalogue, self.format, self.prefix = catalogue, format, prefix

    def extra(self, table: TableSection) -> dict[str, sa.ColumnElement[Any]]:
        """Return further columns of a table's rows, by name; products override it."""
        return {}

    def finished(self, table: TableSection, query: Query) -> Query:
        """Return the completed query for a table; products override it."""
        return query

    def has(self, name: str) -> bool:
        """Return whether the installation has a table that can be read."""
        return self.prefix + name in self.catalogue.names

    def table(self, name: str) -> sa.TableClause:
        """Return a table by its name without the prefix."""
        return self.catalogue.table(self.prefix + name)

    def queries(self) -> tuple[list[Query], dict[str, str]]:
        """Return a query for each table that can be read, and why others cannot."""
        queries = [self._query(section) for section in self.format.table if section.name not in self.missing]
        return queries, {self.prefix + name: why for name, why in self._lacking().items()}

    @cached_property
    def missing(self) -> dict[str, str]:
        """Why each of the missing readings is missing."""
        reasons = {section.name: self._why_missing(section) for section in self.format.table}
        return {name: reason for name, reason in reasons.items() if reason}

    def _lacking(self) -> dict[str, str]:
        """The reasons by table, or by reading if other readings of the table are possible."""
        readings: dict[str, list[str]] = {}
        for section in self.format.table:
            readings.setdefault(_table_name(section), []).append(section.name)
        unreadable = {
            name
            for name, readings_of_table in readings.items()
            if all(reading in self.missing for reading in readings_of_table)
        }
        names = {
            reading: table if table in unreadable else reading
            for table, readings_of_table in readings.items()
            for reading in readings_of_table
        }
        return {names[reading]: reason for reading, reason in self.missing.items()}

    def _why_missing(self, section: TableSection) -> str:
        name = _table_name(section)
        if not self.has(name):
            return self.catalogue.why_missing(self.prefix + name)
        headers = self.catalogue.headers(self.prefix + name)
        joined = [column for join in section.join for column in join.columns]
        columns = [column for column in (*section.needed, *section.where) if column not in headers]
        columns = columns or self.format.maps[section.name].missing([*headers, *joined, *self.computed])
        return f"without a column for {', '.join(columns)}" if columns else ""

    def _query(self, section: TableSection) -> Query:
        name = _table_name(section)
        table = self.table(name)
        tables, extra = self._joined(table, section.join)
        if _UNTOLD in section.columns:
            extra[_UNTOLD] = sa.literal(self._untold(), sa.String())
        extra |= self.extra(section)
        what = section.name.removeprefix(name).strip()
        query = self.catalogue.query(self.prefix + name, self.format.maps[section.name], section.dated, extra, what)
        query = replace(query.joined(tables), notes=section.notes)
        for column, value in section.where.items():
            text = self.catalogue.text(table.c[column])
            query = query.only(text == value if isinstance(value, str) else table.c[column].is_not(None))
        return self.finished(section, query)

    def _joined(
        self, table: sa.TableClause, joins: list[JoinedTable]
    ) -> tuple[sa.FromClause, dict[str, sa.ColumnElement[Any]]]:
        """Return a table joined with those that exist, and their columns under their new names."""
        tables: sa.FromClause = table
        columns: dict[str, sa.ColumnElement[Any]] = {}
        for join in joins:
            if self.has(join.table) and set(join.on) <= set(table.c.keys()):
                other = self.table(join.table)
                conditions = [table.c[column] == other.c[key] for column, key in join.on.items()]
                tables = tables.outerjoin(other, sa.and_(*conditions))
                columns |= {name: other.c[column] for name, column in join.columns.items()}
        return tables, columns

    def _untold(self) -> str:
        """What is unknown of deliveries: what no table holds, and what the missing tables would hold."""
        untold = [self.format.untold, *(section.tells for section in self.format.table if section.name in self.missing)]
        return " ".join(filter(None, untold)) or schema.ALL_TOLD


def _table_name(section: TableSection) -> str:
    return section.name.split(" ")[0]
