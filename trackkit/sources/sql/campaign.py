"""Adobe Campaign Classic in a database: the platform's own tables, read by the maps of its exports."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import polars as pl
import sqlalchemy as sa

from trackkit.sources.maps import Field, TableMap, plain_name
from trackkit.sources.sql.queries import Catalogue, Query
from trackkit.sources.table_formats import ADOBE_EXPORT, TableSection, built_in

_OWN = ("delivery", "broadlog", "tracking_log")  # a database that has one of these is the platform's


def _maps() -> dict[str, TableMap]:
    return built_in(ADOBE_EXPORT).maps


def _table(one: TableMap) -> TableSection:
    return built_in(ADOBE_EXPORT).tables[one.name]


def prefixes(names: Iterable[str]) -> set[str]:
    """Return the prefixes behind which the platform's tables are."""
    ends = [stem for one in _OWN for stem in _maps()[one].stems if stem.startswith("nms")]
    lower = [(name, next((end for end in ends if name.lower().endswith(end)), "")) for name in names]
    exact = {"" for name in names if (one := _named(name)) and one.name in _OWN}
    return {name[: len(name) - len(end)] for name, end in lower if end} | exact


def queries(catalogue: Catalogue, prefix: str | None) -> tuple[list[Query], dict[str, str]]:
    """Return a query for each table that is one of the platform's, and why others of these names are not read."""
    prefix = prefix or ""
    named = {name: _named(name.removeprefix(prefix)) for name in catalogue.names if name.startswith(prefix)}
    known = {name: one for name, one in named.items() if one}
    found, lacking, unread = {}, {}, {}
    for name, one in named.items():
        if one is None:
            if (log := _log_of_unknown_target(name, prefix)) and not catalogue.is_part(name, known):
                lacking[name], unread[name] = "named as a log of the platform, but of no target that is known", log
            continue
        headers = catalogue.headers(name)
        if catalogue.is_part(name, known):
            lacking[name] = f"a part of '{catalogue.parts[name]}', with which its rows were read"
        elif missing := one.missing(headers):
            lacking[name] = f"named as '{one.name}', but without a column for {', '.join(missing)}"
            unread |= {name: one} if _table(one).tells else {}
        else:
            found[name] = catalogue.query(name, one, _table(one).dated)
    for name in sorted(name for name in catalogue.denied if name.startswith(prefix)):
        if (one := _named(name.removeprefix(prefix))) and not catalogue.is_part(name, known):
            lacking[name] = catalogue.why_missing(name)
            unread |= {name: one} if _table(one).tells else {}
    for name, query in found.items():
        if query.table_map.name == "delivery" and unread:
            found[name] = _with_untold(catalogue, name, query.table_map, unread)
    return list(found.values()), lacking


def _with_untold(catalogue: Catalogue, name: str, one: TableMap, unread: dict[str, TableMap]) -> Query:
    """The deliveries, saying of which a log was not read: of those that it names, or of all where it tells of none."""
    tables: sa.FromClause = catalogue.table(name)
    words: sa.ColumnElement[str] = sa.literal("", sa.String())
    for log, log_map in unread.items():
        word: sa.ColumnElement[str] = sa.literal(f"{_table(log_map).tells} ", sa.String())
        column = None if log in catalogue.denied else _delivery_column(catalogue, log, log_map)
        if column is not None:
            named = sa.select(column.label("delivery")).distinct().subquery()
            tables = tables.outerjoin(named, named.c.delivery == _delivery_column(catalogue, name, one))
            word = sa.case((named.c.delivery.is_not(None), word), else_=sa.literal("", sa.String()))
        words = words.concat(word)
    untold = replace(one, fields=(*one.fields, Field("untold", "text", ("untold by logs",))))
    return catalogue.query(name, untold, extra={"untold by logs": words}).joined(tables)


def _delivery_column(catalogue: Catalogue, name: str, one: TableMap) -> sa.ColumnElement[Any] | None:
    headers = catalogue.headers(name)
    place = next((at for field, at in one.match(headers).items() if field.inner == "delivery_id"), None)
    return None if place is None else catalogue.table(name).c[headers[place]]


def _named(name: str) -> TableMap | None:
    """Return the map of a table: by its own name, or as the log of another target than recipients."""
    plain = plain_name(name)
    of_target = (one for one in _maps().values() if plain in map(plain_name, _table(one).targets))
    if log := next(of_target, None):
        return _of_target(log, plain)
    return next((one for one in _maps().values() if plain in map(plain_name, one.stems)), None)


def _of_target(one: TableMap, plain: str) -> TableMap:
    """A log of another target: its hits are numbered on their own."""
    if one.name != "tracking_log":
        return one
    return replace(one, derive={**one.derive, "event_id": pl.format("{}:{}", pl.lit(plain), "event_id")})


def _log_of_unknown_target(name: str, prefix: str) -> TableMap | None:
    plain = plain_name(name.removeprefix(prefix))
    kinds = {"broadlog": "broadlog", "trackinglog": "tracking_log"}
    return next((_maps()[kind] for word, kind in kinds.items() if word in plain), None)
