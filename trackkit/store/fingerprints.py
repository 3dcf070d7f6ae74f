"""Which files a store holds already, known by their bytes, so that loading a growing folder reads only what is new.

Nothing depends on it but time: rows that are read again are copies of those that are there.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trackkit.sources.feeds.feed import maps_behind
from trackkit.sources.files import Found
from trackkit.sources.report import LoadReport, SourceReport
from trackkit.store.lake import Lake

MARKS = "marks"  # beside the fingerprints of a load: how far it read each table of a database, by the options it had


class Fingerprints:
    """What was loaded before with the same options: files, by their bytes and their place in the source.

    `marks` says how far each table of a database was read.
    """

    def __init__(self, lake: Lake, asked: Mapping[str, Any]) -> None:
        maps = [place.read_text("utf-8", "replace") for place in maps_behind(str(asked["format"]))]
        # Left out where nothing is asked: stores from before there was the option know their files by the others.
        options = {name: asked[name] for name in sorted(asked) if name != "dates" or asked[name]}
        self.asked = json.dumps([options, *maps])
        self.loads: dict[str, dict[str, Any]] = {}
        self.seen: dict[str, tuple[str, Any]] = {}
        self.marks: dict[str, str] = {}
        loads = lake.loads("load_id", "loaded_at", "report", "fingerprints")
        for row in [] if loads is None else loads.iter_rows(named=True):
            self.loads[row["load_id"]] = row
            prints = json.loads(row["fingerprints"])
            self.marks |= prints.pop(MARKS, {}).get(self.asked, {})
            self.seen |= {mark: (row["load_id"], what) for mark, what in prints.items()}

    def of(self, file: Found) -> str:
        """Return the fingerprint of a file."""
        with file.path.open("rb") as content:
            digest = hashlib.file_digest(content, "blake2b")
        digest.update(f"\0{file.relative}\0{self.asked}".encode(errors="surrogateescape"))
        return digest.hexdigest()[:40]

    def unread(self, files: list[Found], prints: Mapping[str, str]) -> list[Found]:
        """Return the files to be read."""
        return [one for one in files if prints[one.relative] not in self.seen]

    def report(self, mark: str, path: str) -> LoadReport:
        """Return the report of a file that was loaded before: every line is a copy of one that is there."""
        load_id, what = self.seen[mark]
        if isinstance(what, str):
            return LoadReport(ignored_files={path: what})
        load = self.loads[load_id]
        when = f"{load['loaded_at']:%Y-%m-%d %H:%M} UTC"
        note = f"the same file was loaded on {when} (load {load_id}); it was not read again"
        written = LoadReport.from_dict(json.loads(load["report"]))
        return LoadReport([_as_duplicate(written.sources[number], note) for number in what])


def _as_duplicate(source: SourceReport, note: str) -> SourceReport:
    return SourceReport(
        source.path, source.format, source.table, read=source.read, duplicate=source.accepted,
        quarantined=source.quarantined, not_events=source.not_events, assumptions=[note],
        unreadable=source.unreadable, cut=source.cut,
    )  # fmt: skip


def view(folder: Path, files: list[Found]) -> Path:
    """Make a folder that shows only some files of a source, each at its place."""
    for one in files:
        link = folder / one.relative
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(one.path.resolve())
    return folder
