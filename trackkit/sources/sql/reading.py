"""Reading a database: each known table is streamed to Parquet and read by its map."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from trackkit.errors import DataError
from trackkit.sources import tables
from trackkit.sources.files import Found
from trackkit.sources.hiding import Hiding
from trackkit.sources.report import LoadReport
from trackkit.sources.sql import Since, products
from trackkit.sources.sql.connection import Database, clean_errors
from trackkit.sources.sql.products import products_in
from trackkit.sources.sql.queries import Catalogue, Query, instant
from trackkit.sources.sql.stream import Stream, stream
from trackkit.sources.staging import RawLoad, Staged, combine, nameless_path
from trackkit.sources.values import Clock


def read_database(
    source: str,
    folder: Path,
    format: str,
    clock: Clock,
    collapse_seconds: int,
    since: Since,
    progress: Callable[[str], None] | None,
    hiding: Hiding,
) -> RawLoad:
    """Read the known tables of a database, named by a SQLAlchemy URL, into canonical frames over Parquet in `folder`.

    Of a table with dates, only rows at or after the mark of the earlier load, less the overlap, are read. Errors:
    RequestError for no such database, driver or file; DataError when it cannot be read or holds no known table. None
    of them shows a password.
    """
    database = Database.of(source)
    with clean_errors(database), database.connect() as connection:
        catalogue = Catalogue(connection, database.schema)
        queries, ignored = _queries(catalogue, database, format)
        with stream(database, connection) as rows:
            load = _TableLoad(database, folder, rows, since, hiding)
            staged = []
            for query in queries:
                if progress:
                    progress(f"{database.shown} {query.name}")
                staged.append(load.stage(query, clock, collapse_seconds))
    ignored = {f"{database.shown} {name}": why for name, why in ignored.items()}
    raw = combine(staged, LoadReport([one.report for one in staged], ignored_files=ignored))
    raw.marks = load.marks
    return raw


def _queries(catalogue: Catalogue, database: Database, format: str) -> tuple[list[Query], dict[str, str]]:
    queries: list[Query] = []
    ignored: dict[str, str] = {}
    for product in products_in(catalogue, database, format):
        product_queries, lacking = product.queries(catalogue, database.prefix)
        queries, ignored = [*queries, *product_queries], ignored | lacking
    if not queries:
        tables_found = ", ".join(catalogue.names[:5]) or "none"
        more = f" and {len(catalogue.names) - 5:,} more" if len(catalogue.names) > 5 else ""
        more += f" ({len(catalogue.denied):,} besides may not be read by its user)" if catalogue.denied else ""
        known_formats = ", ".join(products()) if format == "auto" else format
        raise DataError(
            f"{database.shown} holds no table that can be read: found {tables_found}{more}. Known are the tables of "
            f"{known_formats}; '?schema=' and '?prefix=' in the URL say where they are."
        )
    return queries, ignored


@dataclass
class _TableLoad:
    """One database being read."""

    database: Database
    folder: Path
    rows: Stream
    since: Since
    hiding: Hiding
    marks: dict[str, str] = field(default_factory=dict)

    def stage(self, query: Query, clock: Clock, collapse_seconds: int) -> Staged:
        key = f"{self.database.identity} {query.name}"
        last_mark = self.since.marks.get(key) if query.dated else None
        first = instant(last_mark) - self.since.overlap if last_mark else None
        raw, name = nameless_path(self.folder, "parquet"), f"{self.database.shown} {query.name}"
        self.rows.write((query.after(first) if first else query).statement, raw)
        if newest := query.newest(raw, last_mark):
            self.marks[key] = newest
        notes, source = [self.rows.how, *query.notes], raw
        if query.expand:
            source = nameless_path(self.folder, "parquet")
            notes += query.expand(raw, source)
        staged = tables.stage(Found(source, name), query.table_map, self.folder, clock, collapse_seconds, self.hiding)
        for path in {raw, source}:
            path.unlink()
        staged.report.assumptions = [*notes, *_extent(query, first, last_mark), *staged.report.assumptions]
        staged.report.ignored_columns = list(query.ignored)
        return staged


def _extent(query: Query, first: object, last_mark: str | None) -> list[str]:
    columns = " or ".join(query.dated)
    if first:
        others = "or empty" if not query.always else "or empty, or that failed or were tried again"
        return [
            f"only rows whose {columns} is at or after {first} ({others}) were read: the last load reached {last_mark}"
        ]
    return [] if columns else ["read wholly: no column says when its rows came or changed"]
