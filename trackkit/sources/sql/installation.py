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
    """The tables of one installation, behind its prefix; a product whose format cannot say everything adds to it."""

    computed: tuple[str, ...] = ()  # required columns that the product makes

    def __init__(self, catalogue: Catalogue, format: TableFormat, prefix: str = "") -> None:
        self.catalogue, self.format, self.prefix = catalogue, format, prefix

    def extra(self, table: TableSection) -> dict[str, sa.ColumnElement[Any]]:
        """Return further columns of a table's rows, by name; for products to say."""
        return {}

    def finished(self, table: TableSection, query: Query) -> Query:
        """Return the query for a table with what else it needs; for products to say."""
        return query

    def has(self, name: str) -> bool:
        """Return whether the installation has a table that can be read."""
        return self.prefix + name in self.catalogue.names

    def table(self, name: str) -> sa.TableClause:
        """Return a table by its name without the prefix."""
        return self.catalogue.table(self.prefix + name)

    def queries(self) -> tuple[list[Query], dict[str, str]]:
        """Return a query for each table that can be read, and why others cannot."""
        found = [self._query(one) for one in self.format.table if one.name not in self.missing]
        return found, {self.prefix + name: why for name, why in self._lacking().items()}

    @cached_property
    def missing(self) -> dict[str, str]:
        """Why each of the readings that cannot be, cannot be."""
        why = {one.name: self._why_missing(one) for one in self.format.table}
        return {name: reason for name, reason in why.items() if reason}

    def _lacking(self) -> dict[str, str]:
        """The reasons by table; by reading where a table can be read in other ways."""
        readings: dict[str, list[str]] = {}
        for one in self.format.table:
            readings.setdefault(_table_name(one), []).append(one.name)
        whole = {name for name, ways in readings.items() if all(way in self.missing for way in ways)}
        names = {way: table if table in whole else way for table, ways in readings.items() for way in ways}
        return {names[way]: why for way, why in self.missing.items()}

    def _why_missing(self, one: TableSection) -> str:
        name = _table_name(one)
        if not self.has(name):
            return self.catalogue.why_missing(self.prefix + name)
        headers = self.catalogue.headers(self.prefix + name)
        joined = [column for join in one.join for column in join.columns]
        columns = [column for column in (*one.needed, *one.where) if column not in headers]
        columns = columns or self.format.maps[one.name].missing([*headers, *joined, *self.computed])
        return f"without a column for {', '.join(columns)}" if columns else ""

    def _query(self, one: TableSection) -> Query:
        name = _table_name(one)
        table = self.table(name)
        tables, extra = self._joined(table, one.join)
        if _UNTOLD in one.columns:
            extra[_UNTOLD] = sa.literal(self._untold(), sa.String())
        extra |= self.extra(one)
        what = one.name.removeprefix(name).strip()
        query = self.catalogue.query(self.prefix + name, self.format.maps[one.name], one.dated, extra, what)
        query = replace(query.joined(tables), notes=one.notes)
        for column, wanted in one.where.items():
            text = self.catalogue.text(table.c[column])
            query = query.only(text == wanted if isinstance(wanted, str) else table.c[column].is_not(None))
        return self.finished(one, query)

    def _joined(
        self, table: sa.TableClause, joins: list[JoinedTable]
    ) -> tuple[sa.FromClause, dict[str, sa.ColumnElement[Any]]]:
        """Return a table joined with those that are there, and their columns, named as in its rows."""
        tables: sa.FromClause = table
        columns: dict[str, sa.ColumnElement[Any]] = {}
        for join in joins:
            if self.has(join.table) and set(join.on) <= set(table.c.keys()):
                other = self.table(join.table)
                same = [table.c[own] == other.c[key] for own, key in join.on.items()]
                tables = tables.outerjoin(other, sa.and_(*same))
                columns |= {name: other.c[column] for name, column in join.columns.items()}
        return tables, columns

    def _untold(self) -> str:
        """What is not known of deliveries: what no table tells, and what those that are not read would."""
        untold = [self.format.untold, *(one.tells for one in self.format.table if one.name in self.missing)]
        return " ".join(filter(None, untold)) or schema.ALL_TOLD


def _table_name(one: TableSection) -> str:
    return one.name.split(" ")[0]
