"""The pages of what is gone: deliveries that the store no longer has, scopes that name nothing, reports no more."""

from collections.abc import Collection
from pathlib import Path
from typing import Any

import polars as pl

from trackkit.engine.scope import resolve
from trackkit.engine.snapshot import Snapshot
from trackkit.errors import RequestError
from trackkit.report import REPORTS
from trackkit.report.formats import others
from trackkit.report.notebook import SCOPE
from trackkit.runs.archive import Archive, archived
from trackkit.runs.manifest import Manifest
from trackkit.store import Store

_OF_DELIVERIES = ("delivery", "message", "event")


def known_deliveries(store: Store) -> set[str]:
    """Return the ids of all deliveries that any table of a store mentions."""
    tables = [store.scan(name).select("delivery_id").unique() for name in _OF_DELIVERIES]
    return set(pl.concat(pl.collect_all(tables)).drop_nulls()["delivery_id"])


def known_scopes(tables: Snapshot, manifest: Manifest) -> set[str]:
    """Return the scopes of a manifest's pages in which a delivery still counts."""
    return {text for text in map(_scope_of, manifest.entries.values()) if text and _names_something(tables, text)}


def _names_something(tables: Snapshot, text: str) -> bool:
    try:
        return bool(resolve(tables, text).deliveries)
    except RequestError:
        return False


def _scope_of(entry: dict[str, Any]) -> str:
    return str(entry.get("parameters", {}).get(SCOPE, ""))


def gone(manifest: Manifest, deliveries: Collection[str], scopes: Collection[str]) -> list[str]:
    """Return the entries of a manifest of a delivery or a scope not among these, or of a report that is no more."""
    reports = set(REPORTS)
    entries = manifest.entries.items()
    return [name for name, entry in entries if not _is_there(entry, deliveries, scopes, reports)]


def _is_there(
    entry: dict[str, Any], deliveries: Collection[str], scopes: Collection[str], reports: Collection[str]
) -> bool:
    delivery, scope = entry.get("delivery"), _scope_of(entry)
    is_known = (not delivery or delivery in deliveries) and (not scope or scope in scopes)
    return entry.get("report") in reports and is_known


def remove(manifest: Manifest, archive: Archive, names: Collection[str]) -> None:
    """Delete the pages of entries with all that lies beside them and their earlier versions, and forget the entries."""
    folder = manifest.folder
    named = [str(manifest.entries[name].get("path", "")) for name in names]
    pages = {folder / name for name in named if name and Path(name).name == name}
    beside = [path for path, page in others(folder) if page in pages]
    versions = [path for path, page in archived(folder) if page in pages]
    archive.erase([*pages, *beside, *versions])
    for name in names:
        del manifest.entries[name]
