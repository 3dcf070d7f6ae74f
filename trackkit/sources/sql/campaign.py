"""Adobe Campaign Classic in a database: the platform's own tables, read by the maps of its exports."""

from trackkit.sources import adobe
from trackkit.sources.maps import TableMap, called, plain_name
from trackkit.sources.sql.queries import Catalogue, Query, dated_column

# Columns that say when a row came or last changed, the best first. Tables without one are read wholly.
_DATED = {
    "broadlog": ("tsLastModified", "tsEvent"), "exclusion": ("tsLastModified", "tsEvent"),
    "recipient": ("tsLastModified",), "tracking_log": ("tsLastModified", "tsLog"), "web_tracking_log": ("tsLog",),
    "subscription_history": ("tsDate",), "web_page_hit": ("tsLog",),
}  # fmt: skip


def queries(catalogue: Catalogue, prefix: str | None) -> tuple[list[Query], dict[str, str]]:
    """Return a query for each table that is one of the platform's, and why others of these names are not read."""
    found, lacking = [], {}
    for name in catalogue.names:
        one = _named(name, prefix or "")
        if one is None:
            continue
        headers = catalogue.headers(name)
        if missing := one.missing(headers):
            lacking[name] = f"named as '{one.name}', but without a column for {', '.join(missing)}"
        else:
            found.append(catalogue.query(name, one, dated_column(headers, _DATED.get(one.name, ()))))
    return found, lacking


def _named(name: str, prefix: str) -> TableMap | None:
    bare = name.removeprefix(prefix)
    one = next(iter(called(adobe.MAPS, [plain_name(bare)])), None)
    # A partition or a copy of a table (`nmsbroadlogrcp_2026`) is no further table.
    is_exact = one is not None and plain_name(bare) in map(plain_name, one.stems)
    return one if is_exact or bare.isalpha() else None
