"""Rows of a query to Parquet, streamed in bounded memory: by ADBC where it can, else in batches through SQLAlchemy."""

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql.base import PGDialect

from trackkit.sources.sheets import ROW
from trackkit.sources.sql.connection import ORDERS, Database

BATCH = 50_000  # rows held at once, as Python's own values
_ADBC = "adbc_driver_postgresql"
_ORDERS = ("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY", *ORDERS["postgresql"][1:])


class Stream(NamedTuple):
    """How rows come out of a database: `write(statement, target)`, and the words for it in the load report."""

    write: Callable[[sa.Select[Any], Path], None]
    how: str


@contextmanager
def stream(database: Database, connection: sa.Connection) -> Iterator[Stream]:
    """Open the fastest stream that the URL allows; all its queries see one snapshot of the database."""
    how = f"read through SQLAlchemy ({connection.dialect.driver})"
    if database.dialect == "postgresql" and not database.names_driver and find_spec(_ADBC):
        with _through_adbc(database) as write:
            yield Stream(write, "read through ADBC, the fastest driver for PostgreSQL")
        return
    if database.dialect == "postgresql" and not database.names_driver:
        how += "; `pip install 'trackkit[postgres]'` brings ADBC, which is faster"
    yield Stream(lambda statement, target: _through_sqlalchemy(connection, statement, target), how)


@contextmanager
def _through_adbc(database: Database) -> Iterator[Callable[[sa.Select[Any], Path], None]]:
    from adbc_driver_postgresql import dbapi
    from psycopg.conninfo import make_conninfo

    # libpq reads URLs more strictly than SQLAlchemy writes them.
    connection_arguments = database.url.translate_connect_args(username="user", database="dbname")
    arguments: dict[str, Any] = {**connection_arguments, **database.url.query}
    conninfo = make_conninfo(**arguments)
    with closing(dbapi.connect(conninfo)) as adbc, closing(adbc.cursor()) as cursor:
        for order in _ORDERS:
            cursor.execute(order)

        def write(statement: sa.Select[Any], target: Path) -> None:
            cursor.execute(_literal(statement))
            rows = cursor.fetch_record_batch()
            with pq.ParquetWriter(target, rows.schema, compression="lz4", write_statistics=False) as file:
                for batch in rows:
                    file.write_batch(batch)

        yield write


def _literal(statement: sa.Select[Any]) -> str:
    """The SQL of a query with its values inline; they are all trackkit's own."""
    # The usual style would double each percent sign.
    dialect = PGDialect(paramstyle="named")  # type: ignore[no-untyped-call]  # SQLAlchemy leaves its dialects untyped
    return str(statement.compile(dialect=dialect, compile_kwargs={"literal_binds": True}))


def _through_sqlalchemy(connection: sa.Connection, statement: sa.Select[Any], target: Path) -> None:
    names = [column.key for column in statement.selected_columns]
    layout = pa.schema([(name, pa.int64() if name == ROW else pa.string()) for name in names])
    rows = connection.execution_options(stream_results=True, yield_per=BATCH).execute(statement)
    with closing(rows), pq.ParquetWriter(target, layout, compression="lz4", write_statistics=False) as file:
        for part in rows.partitions():
            columns = zip(layout, zip(*part, strict=True), strict=True)
            cells = [pa.array(values, field.type) for field, values in columns]
            file.write_batch(pa.RecordBatch.from_arrays(cells, schema=layout))
