"""Which products and installations a database holds; an ambiguous choice is refused."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial

from trackkit.errors import DataError, RequestError, did_you_mean
from trackkit.sources.sql import campaign
from trackkit.sources.sql.connection import Database
from trackkit.sources.sql.installation import Installation
from trackkit.sources.sql.listmonk import Listmonk
from trackkit.sources.sql.mautic import Mautic
from trackkit.sources.sql.queries import Catalogue, Query
from trackkit.sources.table_formats import ADOBE_EXPORT, TableFormat, all_table_formats

_INSTALLATIONS = {"listmonk": Listmonk, "mautic": Mautic}
Queries = tuple[list[Query], dict[str, str]]  # those for the tables that are read, and why others are not


@dataclass(frozen=True)
class Product:
    """A product whose database can be read: behind which prefixes its tables are, and the queries for them.

    The prefix need not be named where only one fits.
    """

    name: str
    prefixes: Callable[[Iterable[str]], set[str]]
    queries: Callable[[Catalogue, str | None], Queries]


def _products(format: str) -> list[Product]:
    adobe = Product(ADOBE_EXPORT, campaign.prefixes, campaign.queries)
    declared = [
        Product(name, partial(_prefixes, table_format), partial(_queries, table_format))
        for name, table_format in all_table_formats("database").items()
    ]
    return [product for product in (adobe, *declared) if format in ("auto", product.name)]


def _prefixes(format: TableFormat, names: Iterable[str]) -> set[str]:
    known, marks = set(names), format.recognise
    last_table = marks.tables[-1]
    prefixes = (
        {name.removesuffix(last_table) for name in known if name.endswith(last_table)} if marks.prefixed else {""}
    )
    return {prefix for prefix in prefixes if all(prefix + name in known for name in marks.tables)}


def _queries(format: TableFormat, catalogue: Catalogue, prefix: str | None) -> Queries:
    fitting_prefixes = sorted(
        candidate for candidate in _prefixes(format, catalogue.names) if prefix in (None, candidate)
    )
    installation = _INSTALLATIONS.get(format.name, Installation)
    return installation(catalogue, format, fitting_prefixes[0]).queries() if fitting_prefixes else ([], {})


def products_in(catalogue: Catalogue, database: Database, format: str) -> list[Product]:
    """Return the products to be read; all candidates if no tables are found.

    Errors: RequestError where several installations are found and neither schema, prefix nor format says which is
    meant; DataError where the schema or the prefix named is not there.
    """
    candidates = _products(format)
    _check_schema(catalogue, database, candidates)
    prefixes_found = {product.name: product.prefixes(catalogue.names) for product in candidates}
    if database.prefix is not None:
        known = {prefix for prefixes in prefixes_found.values() for prefix in prefixes}
        if known and database.prefix not in known:
            raise DataError(
                f"{database.shown} holds no table that can be read: found {_words(catalogue.names)}, but none behind "
                f"the prefix {database.prefix!r}; '?prefix=' in the URL says which of {_words(known)} is meant."
                f"{did_you_mean(database.prefix, known)}"
            )
        prefixes_found = {name: prefixes & {database.prefix} for name, prefixes in prefixes_found.items()}
    for name, prefixes in prefixes_found.items():
        if len(prefixes) > 1:
            raise RequestError(
                f"{database.shown} holds several installations of {name}, behind the prefixes {_words(prefixes)}; say "
                "which to read by '?prefix=' in the URL, and load each into a store of its own."
            )
    present = [name for name, prefixes in prefixes_found.items() if prefixes]
    if len(present) > 1:
        raise RequestError(
            f"{database.shown} holds tables of {' and of '.join(present)}; say which to read by `--format`, and load "
            "each into a store of its own."
        )
    return [product for product in candidates if product.name in present] or candidates


def _check_schema(catalogue: Catalogue, database: Database, candidates: list[Product]) -> None:
    """Refuse a schema that does not exist, and a choice among several with known tables."""
    products_by_schema = {
        schema: [product.name for product in candidates if product.prefixes(tables)]
        for schema, tables in catalogue.schemas.items()
    }
    holders = sorted(schema for schema, names in products_by_schema.items() if names)
    if database.schema is not None:
        if catalogue.schemas and database.schema not in catalogue.schemas:
            hint = did_you_mean(database.schema, catalogue.schemas)
            raise DataError(f"{database.shown} holds no schema {database.schema!r} with tables.{hint}")
        return
    if len(holders) > 1:
        kinds = sorted({product for name in holders for product in products_by_schema[name]})
        raise RequestError(
            f"{database.shown} holds tables of {' and '.join(kinds)} "
            f"in the schemas {_words(holders)}; say which to read by '?schema=' in the URL, and load each into a store "
            "of its own."
        )
    if holders and not any(product.prefixes(catalogue.names) for product in candidates):
        raise DataError(
            f"{database.shown} holds no table that can be read in its own schema, but in {holders[0]!r}; write "
            f"'?schema={holders[0]}' in the URL."
        )


def _words(names: Iterable[str]) -> str:
    ordered = [name or "'' (none)" for name in sorted(names)]
    more = f" and {len(ordered) - 10:,} more" if len(ordered) > 10 else ""
    return ", ".join(ordered[:10]) + more
