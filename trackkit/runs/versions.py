"""The earlier versions of pages that a folder of reports keeps (`run --keep`): listed, and deleted on request."""

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl

from trackkit.clock import Asked, moment
from trackkit.engine.deliveries import require_timezone
from trackkit.errors import RequestError, did_you_mean
from trackkit.report.provenance import held
from trackkit.runs.archive import Archive, archived, made_at
from trackkit.runs.due import locked
from trackkit.runs.leaves import HEAD, facts_of
from trackkit.runs.manifest import Manifest

__all__ = ["delete_versions", "versions"]
SCHEMA: dict[str, Any] = {
    **dict.fromkeys(("report", "delivery", "lang"), pl.String),
    "made_at": pl.Datetime("us", "UTC"),
    **{"bytes": pl.Int64, "path": pl.String},
}


def versions(
    out: str | os.PathLike[str], report: str = "", delivery: str = "", before: Asked = "", timezone: str = "UTC"
) -> pl.DataFrame:
    """Return the earlier versions of pages in a folder: one row each, by report and delivery, the newest first.

    Columns: `report`, `delivery` (null for a page about none), `lang`, `made_at` (UTC), `bytes`, `path` in the folder.
    `report` and `delivery` keep some, and `before` those made before a date in `timezone`, or an instant. Raises
    RequestError for a folder that is not there, a report or delivery without a version, and what is no date.
    """
    folder = Path(out)
    if not folder.is_dir():
        raise RequestError(f"There is no folder of reports {str(out)!r}.")
    rows = pl.DataFrame(
        [row for path, _ in archived(folder) if (row := _row(folder, path))], schema=SCHEMA, orient="row"
    )
    for name, asked in {"report": report, "delivery": str(delivery)}.items():
        if asked and asked not in (known := rows[name].drop_nulls().unique().to_list()):
            raise RequestError(f"No version of the {name} {asked[:80]!r} is kept.{did_you_mean(asked, known)}")
        rows = rows.filter(pl.col(name) == asked) if asked else rows
    if before != "":
        rows = rows.filter(pl.col("made_at") < moment(before, require_timezone(timezone), "--before").astimezone(UTC))
    order = {"report": False, "delivery": False, "made_at": True}
    return rows.sort(list(order), descending=list(order.values()))


def delete_versions(
    out: str | os.PathLike[str],
    report: str = "",
    delivery: str = "",
    before: Asked = "",
    timezone: str = "UTC",
    dry_run: bool = False,
) -> pl.DataFrame:
    """Delete the versions that `versions` lists for the same arguments, and return them.

    The feet of their pages no longer name them, and the manifest has the new digests. A dry run deletes nothing. Raises
    RequestError as `versions`, without any of `report`, `delivery` and `before`, and while a run writes to the folder.
    """
    if not (report or delivery or before):
        raise RequestError("Say which versions to delete: of a report, of a delivery, or those before a date.")
    chosen, folder = versions(out, report, delivery, before, timezone), Path(out)
    if dry_run or chosen.is_empty():
        return chosen
    with locked(folder):
        manifest = Manifest.read(folder)
        Archive(folder, manifest.lang, timezone, None).erase(folder / path for path in chosen["path"])
        pages = {f"{Path(path).parent.name}.html" for path in chosen["path"]}
        digests = {page: _listed_again(folder / page) for page in pages if (folder / page).is_file()}
        for entry in manifest.entries.values():
            if entry.get("path") in digests:
                entry["sha256"] = digests[entry["path"]]
        manifest.write()
    return chosen


def _listed_again(page: Path) -> str:
    """Write the versions that are left into the foot of a page, by its own language and clock; return its digest."""
    text = page.read_text("utf-8")
    zone = held(text).get("report", {}).get("parameters", {}).get("timezone", "UTC")
    return Archive(page.parent, facts_of(text[:HEAD]).get("lang", "en"), zone, None).list_versions(page)


def _row(folder: Path, path: Path) -> tuple[str, str | None, str, datetime, int, str] | None:
    """One version; None for a page that was only set aside while a run replaces it."""
    with path.open("rb") as file:
        facts = facts_of(file.read(HEAD).decode("utf-8", errors="replace"))
    try:
        at = made_at(path)
    except ValueError:
        return None
    delivery, name = facts.get("delivery") or None, path.relative_to(folder).as_posix()
    return facts.get("report", ""), delivery, facts.get("lang", ""), at, path.stat().st_size, name
