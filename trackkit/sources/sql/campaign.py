"""Adobe Campaign Classic in a database: the platform's own tables, read by the maps of its exports."""

from collections.abc import Iterable
from dataclasses import replace

import polars as pl

from trackkit.sources import adobe
from trackkit.sources.maps import TableMap, plain_name
from trackkit.sources.sql.queries import Catalogue, Query, dated_column

# Columns that say when a row came or last changed, the best first. Tables without one are read wholly.
_DATED = {
    "broadlog": ("tsLastModified", "tsEvent"), "exclusion": ("tsLastModified", "tsEvent"),
    "recipient": ("tsLastModified",), "tracking_log": ("tsLastModified", "tsLog"), "web_tracking_log": ("tsLog",),
    "subscription_history": ("tsDate",), "web_page_hit": ("tsLog",),
}  # fmt: skip
_MAPS = {one.name: one for one in adobe.MAPS}
# The logs of other targets than recipients, which the platform keeps in tables of their own.
_TARGETS = ("svc", "mid", "visitor", "appsubrcp", "rtevent", "batchevent")
_LOGS = {"nmsbroadlog": "broadlog", "nmstrackinglog": "tracking_log", "nmsexcludelog": "exclusion"}
_OWN = ("delivery", "broadlog", "tracking_log")  # a database that has one of these is the platform's


def prefixes(names: Iterable[str]) -> set[str]:
    """Return the prefixes behind which the platform's tables are."""
    ends = [stem for one in _OWN for stem in _MAPS[one].stems if stem.startswith("nms")]
    lower = [(name, next((end for end in ends if name.lower().endswith(end)), "")) for name in names]
    exact = {"" for name in names if (one := _named(name)) and one.name in _OWN}
    return {name[: len(name) - len(end)] for name, end in lower if end} | exact


def queries(catalogue: Catalogue, prefix: str | None) -> tuple[list[Query], dict[str, str]]:
    """Return a query for each table that is one of the platform's, and why others of these names are not read."""
    prefix = prefix or ""
    named = {name: _named(name.removeprefix(prefix)) for name in catalogue.names if name.startswith(prefix)}
    known = {name: one for name, one in named.items() if one}
    found, lacking = [], _of_unknown_targets(named, prefix)
    for name, one in known.items():
        headers = catalogue.headers(name)
        if catalogue.is_part(name, known):
            lacking[name] = f"a part of '{catalogue.parts[name]}', with which its rows were read"
        elif missing := one.missing(headers):
            lacking[name] = f"named as '{one.name}', but without a column for {', '.join(missing)}"
        else:
            found.append(catalogue.query(name, one, dated_column(headers, _DATED.get(one.name, ()))))
    return found, lacking


def _named(name: str) -> TableMap | None:
    plain = plain_name(name)
    for log, kind in _LOGS.items():
        if plain.removeprefix(log) in _TARGETS and plain.startswith(log):
            return _of_target(_MAPS[kind], plain)
    return next((one for one in adobe.MAPS if plain in map(plain_name, one.stems)), None)


def _of_target(one: TableMap, plain: str) -> TableMap:
    """A log of another target: its hits are numbered on their own."""
    if one.name != "tracking_log":
        return one
    return replace(one, derive={**one.derive, "event_id": pl.format("{}:{}", pl.lit(plain), "event_id")})


def _of_unknown_targets(named: dict[str, TableMap | None], prefix: str) -> dict[str, str]:
    rest = [name for name, one in named.items() if one is None]
    logs = [name for name in rest if any(word in plain_name(name) for word in ("broadlog", "trackinglog"))]
    return {name: "named as a log of the platform, but of no target that is known" for name in logs}
