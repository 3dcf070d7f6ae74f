"""Tables of a database as queries: every cell as text, as a table file would hold it, and only rows new enough."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import polars as pl
import sqlalchemy as sa

from trackkit.sources.maps import Field, TableMap
from trackkit.sources.sheets import ROW

_MARK = r"^\d{4}-\d{2}-\d{2}[ T]\d{2}:\d{2}:\d{2}(?:\.\d{1,6})?"
_FORMAT = "%Y-%m-%d %H:%M:%S"


@dataclass(frozen=True, eq=False)
class Query:
    """One reading of a table, whose rows go through one map.

    `dated` are the columns, by their names in the result, of which the newest is the watermark; `always` are conditions
    of rows that every load reads, since they change without an instant; `expand` makes the rows for the map of those
    that were read, and returns what it assumed.
    """

    name: str
    table_map: TableMap
    statement: sa.Select[Any]
    dated: Mapping[str, sa.ColumnElement[Any]]
    ignored: Sequence[str] = ()
    notes: Sequence[str] = ()
    expand: Callable[[Path, Path], list[str]] | None = None
    always: Sequence[sa.ColumnElement[bool]] = ()

    def after(self, first: datetime) -> "Query":
        """Return the query for rows of which some instant is at or after `first`, or which have none, or `always`."""
        columns = list(self.dated.values())
        undated = sa.and_(*(column.is_(None) for column in columns))
        recent = [_is_after(column, first) for column in columns]
        return replace(self, statement=self.statement.where(sa.or_(*recent, undated, *self.always)))

    def only(self, condition: sa.ColumnElement[bool], *notes: str) -> "Query":
        """Return the query for the rows that meet a condition, with what the load report says of it."""
        return replace(self, statement=self.statement.where(condition), notes=[*self.notes, *notes])

    def joined(self, tables: sa.FromClause) -> "Query":
        """Return the query over a join of its table with others."""
        columns, where = self.statement.selected_columns, self.statement.whereclause
        statement = sa.select(*columns).select_from(tables)
        return replace(self, statement=statement if where is None else statement.where(where))

    def newest(self, rows: Path, known: str | None) -> str | None:
        """Return the newest instant of the rows read, or the one known before; never one that is still to come.

        (A single row dated next year would hide all rows until then.)
        """
        if not self.dated:
            return None
        texts = [pl.col(name).str.extract(f"({_MARK})").str.replace("T", " ").max() for name in self.dated]
        newest = pl.scan_parquet(rows, glob=False).select(pl.max_horizontal(texts)).collect().item()
        told = [one for one in (newest, known) if one]
        return min(max(told), f"{datetime.now(UTC):{_FORMAT}}") if told else None


def instant(mark: str) -> datetime:
    """Return a mark as an instant without a zone, cut to the second."""
    return datetime.strptime(mark[:19], _FORMAT)


def _is_after(column: sa.ColumnElement[Any], first: datetime) -> sa.ColumnElement[bool]:
    if isinstance(column.type, sa.DateTime):
        return column >= sa.literal(first.replace(tzinfo=UTC) if column.type.timezone else first, column.type)
    return sa.cast(column, sa.String) >= f"{first:%Y-%m-%d}"  # text, of which every spelling begins with the day


# Everything that holds rows (materialized views and foreign tables too), and of which table it is a part.
_RELATIONS = """
    select n.nspname, c.relname, p.relname, has_table_privilege(c.oid, 'SELECT')
    from pg_class c join pg_namespace n on n.oid = c.relnamespace
    left join pg_inherits i on i.inhrelid = c.oid
    left join pg_class p on p.oid = i.inhparent and p.relnamespace = c.relnamespace
    where c.relkind in ('r', 'p', 'v', 'm', 'f') and has_schema_privilege(n.oid, 'USAGE')
    and n.nspname <> 'information_schema' and n.nspname not like 'pg\\_%'
"""


class Catalogue:
    """The tables and views of one schema of a database, their columns read when first asked for.

    `parts` says of which table of the schema another one is a part (a partition, say), `denied` which ones the user may
    not read, and `schemas` what tables each schema holds, where a database has several.
    """

    def __init__(self, connection: sa.Connection, schema: str | None) -> None:
        self.dialect, self.schema = connection.dialect.name, schema
        self._inspector = sa.inspect(connection)
        self.parts: dict[str, str] = {}
        self.denied: set[str] = set()
        self.schemas: dict[str, list[str]] = {}
        if self.dialect == "postgresql":
            self._read_relations(connection)
        else:
            self.names = sorted({*self._inspector.get_table_names(schema), *self._inspector.get_view_names(schema)})
        self.table = cache(self._table)

    def _read_relations(self, connection: sa.Connection) -> None:
        own = self.schema or self._inspector.default_schema_name
        for schema, name, whole, is_readable in connection.execute(sa.text(_RELATIONS)):
            self.schemas.setdefault(schema, []).append(name)
            if whole and schema == own:
                self.parts[name] = whole
            if not is_readable and schema == own:
                self.denied.add(name)
        self.names = sorted(set(self.schemas.get(own or "", [])) - self.denied)

    def why_missing(self, name: str) -> str:
        """Return why a table is not among those that can be read."""
        return "the user of the URL may not read it" if name in self.denied else "there is no such table"

    def is_part(self, name: str, others: Collection[str]) -> bool:
        """Whether a table is a part of one of the others, whose rows are its own too."""
        seen = set()
        while name in self.parts and name not in seen:
            seen.add(name)
            name = self.parts[name]
            if name in others:
                return True
        return False

    def _table(self, name: str) -> sa.TableClause:
        types = self._types(name)
        if self.dialect == "sqlite":  # what its columns are declared to be says nothing of what they hold
            types = dict.fromkeys(types, sa.String())
        return sa.table(name, *(sa.column(*one) for one in types.items()), schema=self.schema)

    def _types(self, name: str) -> dict[str, Any]:
        return {one["name"]: one["type"] for one in self._inspector.get_columns(name, self.schema)}

    def headers(self, name: str) -> list[str]:
        """Return the names of a table's columns."""
        return list(self.table(name).c.keys())

    def key(self, name: str) -> sa.ColumnElement[Any] | None:
        """Return the column that numbers the rows of a table, where one whole number does."""
        keys = self._inspector.get_pk_constraint(name, self.schema)["constrained_columns"]
        is_whole = len(keys) == 1 and isinstance(self._types(name)[keys[0]], sa.Integer)
        return self.table(name).c[keys[0]] if is_whole else None

    def text(self, column: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
        """Return a column as text, in which no id passes through a float."""
        if self.dialect != "sqlite" and isinstance(column.type, sa.String) and not isinstance(column.type, sa.Enum):
            return column
        written = sa.cast(column, sa.String)
        is_exact = self.dialect in ("mysql", "mariadb") and isinstance(column.type, sa.TIMESTAMP)
        return sa.func.concat(written, "Z") if is_exact else written

    def query(
        self,
        name: str,
        table_map: TableMap,
        dated: Sequence[str] = (),
        extra: Mapping[str, sa.ColumnElement[Any]] | None = None,
        what: str = "",
    ) -> Query:
        """Return the query for the columns of a table that a map knows, with `extra` ones from elsewhere by name.

        `dated` are columns that say when a row came or changed (`a | b` the first that is there); where one of them is
        missing or holds no instants, there is no watermark and the table is read wholly. `what` tells several readings
        of one table apart.
        """
        table, headers = self.table(name), self.headers(name)
        used = {headers[place] for place in table_map.match(headers).values()} - set(extra or {})
        present = [_first_header(headers, written) for written in dated]
        marks = {column: table.c[column] for column in present if column is not None}
        is_dated = None not in present and all(self._holds_instants(column) for column in marks.values())
        marks = marks if is_dated else {}
        cells = {column: table.c[column] for column in headers if column in used or column in marks} | dict(extra or {})
        key = self.key(name)
        number = sa.null() if key is None else key
        statement = sa.select(
            *(self.text(column).label(label) for label, column in cells.items()),
            sa.cast(number, sa.BigInteger).label(ROW),
        ).select_from(table)
        ignored = [column for column in headers if column not in cells]
        return Query(f"{name} {what}".strip(), table_map, statement, marks, ignored)

    def _holds_instants(self, column: sa.ColumnElement[Any]) -> bool:
        is_text = isinstance(column.type, sa.String) and self.dialect == "sqlite"
        return isinstance(column.type, sa.DateTime | sa.Date) or is_text


def _first_header(headers: list[str], written: str) -> str | None:
    """Return the first of the columns `a | b`, however it is written, that a table has."""
    column = Field("at", "instant", tuple(written.split(" | ")))
    places = TableMap("", "", "", (column,)).match(headers)
    return headers[places[column]] if places else None
