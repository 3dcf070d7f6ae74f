"""The pages of what is gone: of deliveries that the store no longer has, and of reports that there are no more."""

from collections.abc import Collection
from pathlib import Path
from typing import Any

import polars as pl

from trackkit.report import REPORTS
from trackkit.report.formats import others
from trackkit.runs.archive import Archive, archived
from trackkit.runs.manifest import Manifest
from trackkit.store import Store

_OF_DELIVERIES = ("delivery", "message", "event")


def known_deliveries(store: Store) -> set[str]:
    """Return the ids of all deliveries that any table of a store mentions."""
    tables = [store.scan(name).select("delivery_id").unique() for name in _OF_DELIVERIES]
    return set(pl.concat(pl.collect_all(tables)).drop_nulls()["delivery_id"])


def gone(manifest: Manifest, deliveries: Collection[str]) -> list[str]:
    """Return the entries of a manifest of a delivery not among `deliveries`, or of a report that is no more."""
    reports = set(REPORTS)
    entries = manifest.entries.items()
    return [name for name, entry in entries if not _is_there(entry, deliveries, reports)]


def _is_there(entry: dict[str, Any], deliveries: Collection[str], reports: Collection[str]) -> bool:
    delivery = entry.get("delivery")
    return entry.get("report") in reports and (not delivery or delivery in deliveries)


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
