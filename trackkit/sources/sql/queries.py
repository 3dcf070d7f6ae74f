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

    The newest instant in the `dated` columns (by their names in the result) is the watermark. Rows that meet an
    `always` condition are read by every load, since they change without an instant. `expand` turns the rows read into
    the rows for the map, and returns its assumptions.
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
        """Return the query for rows with an instant at or after `first` or with none, and those of `always`."""
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

    def newest(self, rows: Path, last_mark: str | None) -> str | None:
        """Return the newest instant of the rows read, or the last mark if that is newer; never one in the future.

        A single row dated next year would hide all rows until then.
        """
        if not self.dated:
            return None
        texts = [pl.col(name).str.extract(f"({_MARK})").str.replace("T", " ").max() for name in self.dated]
        newest = pl.scan_parquet(rows, glob=False).select(pl.max_horizontal(texts)).collect().item()
        candidates = [mark for mark in (newest, last_mark) if mark]
        return min(max(candidates), f"{datetime.now(UTC):{_FORMAT}}") if candidates else None


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

    `parts` maps partitions and the like to the tables they belong to, `denied` are tables that the user may not read,
    and `schemas` lists the tables of each schema, where a database has several.
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
        own_schema = self.schema or self._inspector.default_schema_name
        for schema, name, parent, is_readable in connection.execute(sa.text(_RELATIONS)):
            self.schemas.setdefault(schema, []).append(name)
            if parent and schema == own_schema:
                self.parts[name] = parent
            if not is_readable and schema == own_schema:
                self.denied.add(name)
        self.names = sorted(set(self.schemas.get(own_schema or "", [])) - self.denied)

    def why_missing(self, name: str) -> str:
        """Return why a table is not among those that can be read."""
        return "the user of the URL may not read it" if name in self.denied else "there is no such table"

    def is_part(self, name: str, others: Collection[str]) -> bool:
        """Whether a table is a part of one of the others, which then include its rows."""
        seen = set()
        while name in self.parts and name not in seen:
            seen.add(name)
            name = self.parts[name]
            if name in others:
                return True
        return False

    def _table(self, name: str) -> sa.TableClause:
        types = self._types(name)
        if self.dialect == "sqlite":  # the declared types of its columns do not bind their values
            types = dict.fromkeys(types, sa.String())
        return sa.table(name, *(sa.column(*column) for column in types.items()), schema=self.schema)

    def _types(self, name: str) -> dict[str, Any]:
        return {column["name"]: column["type"] for column in self._inspector.get_columns(name, self.schema)}

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
        text = sa.cast(column, sa.String)
        is_utc = self.dialect in ("mysql", "mariadb") and isinstance(column.type, sa.TIMESTAMP)
        return sa.func.concat(text, "Z") if is_utc else text

    def query(
        self,
        name: str,
        table_map: TableMap,
        dated: Sequence[str] = (),
        extra: Mapping[str, sa.ColumnElement[Any]] | None = None,
        what: str = "",
    ) -> Query:
        """Return the query for the columns of a table that a map knows, with `extra` ones from elsewhere by name.

        `dated` are columns that say when a row came or changed (`a | b`: the first that exists); if one of them is
        missing or holds no instants, there is no watermark and the whole table is read. `what` distinguishes several
        readings of one table.
        """
        table, headers = self.table(name), self.headers(name)
        used_headers = {headers[place] for place in table_map.match(headers).values()} - set(extra or {})
        date_columns = [_first_header(headers, written) for written in dated]
        marks = {column: table.c[column] for column in date_columns if column is not None}
        is_dated = None not in date_columns and all(self._holds_instants(column) for column in marks.values())
        marks = marks if is_dated else {}
        cells = {column: table.c[column] for column in headers if column in used_headers or column in marks} | dict(
            extra or {}
        )
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
    """Return the first of the columns `a | b` that a table has, in any spelling."""
    column = Field("at", "instant", tuple(written.split(" | ")))
    places = TableMap("", "", "", (column,)).match(headers)
    return headers[places[column]] if places else None
