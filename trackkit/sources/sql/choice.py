"""Whose tables a database holds, and which of several installations is meant: none is chosen in silence."""

from collections.abc import Iterable

from trackkit.errors import DataError, RequestError, did_you_mean
from trackkit.sources.sql import PRODUCTS, campaign, listmonk, mautic
from trackkit.sources.sql.connection import Database
from trackkit.sources.sql.queries import Catalogue

_PREFIXES = dict(zip(PRODUCTS, (campaign.prefixes, listmonk.prefixes, mautic.prefixes), strict=True))


def products(catalogue: Catalogue, database: Database, format: str) -> list[str]:
    """Return whose tables are to be read; all that are asked for where nobody's are found.

    Errors: RequestError where several installations are found and neither schema, prefix nor format says which is
    meant; DataError where the schema or the prefix named is not there.
    """
    asked = [name for name in PRODUCTS if format in ("auto", name)]
    _check_schema(catalogue, database, asked)
    found = {name: _PREFIXES[name](catalogue.names) for name in asked}
    if database.prefix is not None:
        known = set().union(*found.values())
        if known and database.prefix not in known:
            raise DataError(
                f"{database.shown} holds no table that can be read: found {_words(catalogue.names)}, but none behind "
                f"the prefix {database.prefix!r}; '?prefix=' in the URL says which of {_words(known)} is meant."
                f"{did_you_mean(database.prefix, known)}"
            )
        found = {name: behind & {database.prefix} for name, behind in found.items()}
    for name, behind in found.items():
        if len(behind) > 1:
            raise RequestError(
                f"{database.shown} holds several installations of {name}, behind the prefixes {_words(behind)}; say "
                "which to read by '?prefix=' in the URL, and load each into a store of its own."
            )
    present = [name for name, behind in found.items() if behind]
    if len(present) > 1:
        raise RequestError(
            f"{database.shown} holds tables of {' and of '.join(present)}; say which to read by `--format`, and load "
            "each into a store of its own."
        )
    return present or asked


def _check_schema(catalogue: Catalogue, database: Database, asked: list[str]) -> None:
    """Refuse a schema that is not there, and to choose among several that hold tables of one kind."""
    held = {schema: [name for name in asked if _PREFIXES[name](tables)] for schema, tables in catalogue.schemas.items()}
    holders = sorted(schema for schema, names in held.items() if names)
    if database.schema is not None:
        if catalogue.schemas and database.schema not in catalogue.schemas:
            hint = did_you_mean(database.schema, catalogue.schemas)
            raise DataError(f"{database.shown} holds no schema {database.schema!r} with tables.{hint}")
        return
    if len(holders) > 1:
        raise RequestError(
            f"{database.shown} holds tables of {' and '.join(sorted({one for name in holders for one in held[name]}))} "
            f"in the schemas {_words(holders)}; say which to read by '?schema=' in the URL, and load each into a store "
            "of its own."
        )
    if holders and not any(_PREFIXES[name](catalogue.names) for name in asked):
        raise DataError(
            f"{database.shown} holds no table that can be read in its own schema, but in {holders[0]!r}; write "
            f"'?schema={holders[0]}' in the URL."
        )


def _words(names: Iterable[str]) -> str:
    ordered = [name or "'' (none)" for name in sorted(names)]
    more = f" and {len(ordered) - 10:,} more" if len(ordered) > 10 else ""
    return ", ".join(ordered[:10]) + more
