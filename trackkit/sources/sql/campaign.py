"""Adobe Campaign Classic in a database: the platform's own tables, read by the maps of its exports."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import polars as pl
import sqlalchemy as sa

from trackkit.sources.maps import Field, TableMap, plain_name
from trackkit.sources.sql.queries import Catalogue, Query
from trackkit.sources.table_formats import ADOBE_EXPORT, TableSection, built_in

_IDENTIFYING = ("delivery", "broadlog", "tracking_log")  # a database that has one of these is the platform's


def _maps() -> dict[str, TableMap]:
    return built_in(ADOBE_EXPORT).maps


def _section(table_map: TableMap) -> TableSection:
    return built_in(ADOBE_EXPORT).tables[table_map.name]


def prefixes(names: Iterable[str]) -> set[str]:
    """Return the prefixes behind which the platform's tables are."""
    ends = [stem for kind in _IDENTIFYING for stem in _maps()[kind].stems if stem.startswith("nms")]
    matches = [(name, next((end for end in ends if name.lower().endswith(end)), "")) for name in names]
    unprefixed = {"" for name in names if (table_map := _map_of(name)) and table_map.name in _IDENTIFYING}
    return {name[: len(name) - len(end)] for name, end in matches if end} | unprefixed


def queries(catalogue: Catalogue, prefix: str | None) -> tuple[list[Query], dict[str, str]]:
    """Return a query for each table of the platform, and why others with such names are not read."""
    prefix = prefix or ""
    maps = {name: _map_of(name.removeprefix(prefix)) for name in catalogue.names if name.startswith(prefix)}
    known = {name: table_map for name, table_map in maps.items() if table_map}
    queries, reasons, unread = {}, {}, {}
    for name, table_map in maps.items():
        if table_map is None:
            if (log := _log_of_unknown_target(name, prefix)) and not catalogue.is_part(name, known):
                reasons[name], unread[name] = "named as a log of the platform, but of no target that is known", log
            continue
        headers = catalogue.headers(name)
        if catalogue.is_part(name, known):
            reasons[name] = f"a part of '{catalogue.parts[name]}', with which its rows were read"
        elif missing := table_map.missing(headers):
            reasons[name] = f"named as '{table_map.name}', but without a column for {', '.join(missing)}"
            unread |= {name: table_map} if _section(table_map).tells else {}
        else:
            queries[name] = catalogue.query(name, table_map, _section(table_map).dated)
    for name in sorted(name for name in catalogue.denied if name.startswith(prefix)):
        if (table_map := _map_of(name.removeprefix(prefix))) and not catalogue.is_part(name, known):
            reasons[name] = catalogue.why_missing(name)
            unread |= {name: table_map} if _section(table_map).tells else {}
    for name, query in queries.items():
        if query.table_map.name == "delivery" and unread:
            queries[name] = _with_untold(catalogue, name, query.table_map, unread)
    return list(queries.values()), reasons


def _with_untold(catalogue: Catalogue, name: str, table_map: TableMap, unread: dict[str, TableMap]) -> Query:
    """The deliveries, marking those whose logs were not read: those that a log names, or all if it cannot tell."""
    tables: sa.FromClause = catalogue.table(name)
    words: sa.ColumnElement[str] = sa.literal("", sa.String())
    for log, log_map in unread.items():
        word: sa.ColumnElement[str] = sa.literal(f"{_section(log_map).tells} ", sa.String())
        column = None if log in catalogue.denied else _delivery_column(catalogue, log, log_map)
        if column is not None:
            logged = sa.select(column.label("delivery")).distinct().subquery()
            tables = tables.outerjoin(logged, logged.c.delivery == _delivery_column(catalogue, name, table_map))
            word = sa.case((logged.c.delivery.is_not(None), word), else_=sa.literal("", sa.String()))
        words = words.concat(word)
    untold = replace(table_map, fields=(*table_map.fields, Field("untold", "text", ("untold by logs",))))
    return catalogue.query(name, untold, extra={"untold by logs": words}).joined(tables)


def _delivery_column(catalogue: Catalogue, name: str, table_map: TableMap) -> sa.ColumnElement[Any] | None:
    headers = catalogue.headers(name)
    position = next((index for field, index in table_map.match(headers).items() if field.inner == "delivery_id"), None)
    return None if position is None else catalogue.table(name).c[headers[position]]


def _map_of(name: str) -> TableMap | None:
    """Return the map of a table, by its name or as the log of another target than recipients."""
    plain = plain_name(name)
    of_target = (table_map for table_map in _maps().values() if plain in map(plain_name, _section(table_map).targets))
    if log := next(of_target, None):
        return _of_target(log, plain)
    return next((table_map for table_map in _maps().values() if plain in map(plain_name, table_map.stems)), None)


def _of_target(table_map: TableMap, plain: str) -> TableMap:
    """A log of another target: its hits are numbered on their own."""
    if table_map.name != "tracking_log":
        return table_map
    return replace(table_map, derive={**table_map.derive, "event_id": pl.format("{}:{}", pl.lit(plain), "event_id")})


def _log_of_unknown_target(name: str, prefix: str) -> TableMap | None:
    plain = plain_name(name.removeprefix(prefix))
    kinds = {"broadlog": "broadlog", "trackinglog": "tracking_log"}
    return next((_maps()[kind] for word, kind in kinds.items() if word in plain), None)
