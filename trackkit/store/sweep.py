"""Files of a table that no commit needs: found in its folder, deleted, and their bounds taken out of the log."""

import json
from collections.abc import Callable, Collection
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from deltalake.fs import DeltaStorageHandler


def written_at(table: str, version: int) -> datetime:
    """Return when an entry of a table's log was written, by the clock of the store."""
    return listed(table)[f"_delta_log/{version:020}.json"]


def sweep(
    table: str, needed: Collection[str], until: datetime, known: Collection[str], require_hold: Callable[[], None]
) -> tuple[set[str], int]:
    """Delete the files of a table written before an instant, by the clock of the store, but those needed.

    A bucket's clock shows seconds: of files of that very second, those that were `known` before it go.
    Out: the files that are left, and how many went. Whatever raises in `require_hold` stops it.
    """
    files = {path: at for path, at in listed(table).items() if not path.startswith("_delta_log/")}
    gone = {path for path, at in files.items() if (at < until or path in known) and path not in needed}
    store = _store(table)
    for path in sorted(gone):
        require_hold()
        store.delete_file(path)
    return files.keys() - gone, len(gone)


def without_bounds(log: Path, left: Collection[str]) -> None:
    """Take out of a log the bounds of files that are not left: they are ids. (In a bucket they stay for a while.)"""
    for entry in (path for path in log.glob("*.json") if path.stem.isdigit()):
        lines = entry.read_text("utf-8").splitlines()
        kept = [_without_bounds(line, left) for line in lines]
        if kept != lines:
            beside = entry.with_suffix(".part")
            beside.write_text("\n".join(kept) + "\n", "utf-8")
            beside.replace(entry)


def _without_bounds(line: str, left: Collection[str]) -> str:
    """A line of a log without the bounds of a file that it adds and that is no longer there."""
    action = json.loads(line) if '"stats"' in line else {}
    gone = [one for one in (action.get("add"), action.get("remove")) if one and one["path"] not in left]
    if not any(one.pop("stats", None) for one in gone):
        return line
    return json.dumps(action, separators=(",", ":"))


def listed(table: str) -> dict[str, datetime]:
    """Every file in the folder of a table, and when it was written."""
    from pyarrow.fs import FileSelector

    chosen = FileSelector("", allow_not_found=True, recursive=True)
    return {one.path: one.mtime for one in _store(table).get_file_info_selector(chosen) if one.is_file}


def _store(table: str) -> "DeltaStorageHandler":
    from deltalake.fs import DeltaStorageHandler  # brings pyarrow, which only a removal needs

    return DeltaStorageHandler(table)
