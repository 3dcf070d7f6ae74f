"""The jobs of a run, one per page, and the manifest of a folder of reports: what each page was made from."""

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from trackkit import __version__, resources
from trackkit.engine.snapshot import Snapshot
from trackkit.quality import quality, verdict
from trackkit.report import INLINE, sources_of
from trackkit.report.formats import HTML, beside

MANIFEST = "manifest.json"
PLATFORM = "platform"


@dataclass(frozen=True)
class Job:
    """One report on one delivery, or on all (delivery ""); `key` is the fingerprint of its inputs."""

    report: str
    delivery: str
    lang: str
    parameters: dict[str, Any]
    key: str
    assets: str = INLINE
    formats: Sequence[str] = (HTML,)

    @property
    def name(self) -> str:
        """Its name in the manifest."""
        return f"{self.delivery or PLATFORM}/{self.report}/{self.lang}"


class Manifest:
    """The reports in a folder and what each was made from; saved during the run, so that it can be resumed."""

    def __init__(self, folder: Path, entries: dict[str, dict[str, Any]]) -> None:
        self.folder, self.entries, self._saved = folder, entries, time.monotonic()
        self.settled: set[str] = set()  # deliveries whose pages stay as they are

    @classmethod
    def read(cls, folder: Path) -> "Manifest":
        """Read the manifest of a folder; an empty one if there is none, or if it is not ours."""
        try:
            entries = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["reports"]
        except (OSError, ValueError, KeyError, TypeError):  # none yet, or not ours: everything is due
            entries = {}
        return cls(folder, entries)

    def holds(self, job: Job) -> bool:
        """Return whether the page of a job exists and is up to date."""
        entry = self.entries.get(job.name, {})
        is_settled = job.delivery in self.settled
        is_current = entry.get("status") == "done" and (entry.get("key") == job.key or is_settled)
        page = self.folder / entry["path"] if is_current else None
        if page is None or not page.is_file():
            return False
        has_formats = is_settled or all(
            name in _formats(entry) and beside(page, name).is_file() for name in job.formats
        )
        return has_formats and (job.assets == INLINE or any((self.folder / "assets").glob("*.js")))

    def completed(self, job: Job) -> Job:
        """Return a job that also makes the formats that its page has: they are lost only where the page changes."""
        entry = self.entries.get(job.name, {})
        kept = _formats(entry) if entry.get("key") == job.key and entry.get("status") == "done" else ()
        return replace(job, formats=tuple(dict.fromkeys([*job.formats, *kept])))

    def forget_failures(self, planned: list[Job]) -> None:
        """Forget failures of a report as a whole (its files were wrong) if it is now planned for each delivery."""
        names, reports = {job.name for job in planned}, {job.report for job in planned}
        for name, entry in list(self.entries.items()):
            failed = entry.get("status") == "failed" and not entry.get("delivery")
            if failed and name not in names and entry.get("report") in reports:
                del self.entries[name]

    def judged(self, tables: Snapshot, planned: list[Job], due: list[Job]) -> dict[str, str]:
        """Return the verdict on the logs of every planned delivery ("": of all), and record it with its reports.

        Verdicts of reports that are not due are taken from the manifest.
        """
        changed = {job.delivery for job in due}
        known = {job.delivery: self.entries[job.name].get("quality") for job in planned if job.delivery not in changed}
        verdicts = {
            name: known.get(name) or verdict(quality(tables, name or None))
            for name in dict.fromkeys(job.delivery for job in planned)
        }
        for job in planned:
            self.entries[job.name]["quality"] = verdicts[job.delivery]
        return verdicts

    def save_now_and_then(self) -> None:
        """Write the manifest, at most once a second."""
        if time.monotonic() - self._saved > 1:
            self.write()

    def write(self) -> None:
        """Write the manifest, in one step."""
        content = {"trackkit": __version__, "reports": dict(sorted(self.entries.items()))}
        resources.write_whole(self.folder / MANIFEST, json.dumps(content, ensure_ascii=False, indent=1))
        self._saved = time.monotonic()


def _formats(entry: Mapping[str, Any]) -> Sequence[str]:
    return tuple(entry.get("formats", (HTML,)))


def made_of(report: str, lang: str) -> str:
    """Return the fingerprint of the files behind a report: notebook, template, page skin, translations."""
    digest = hashlib.sha256()
    for path in sources_of(report, lang):
        digest.update(path.read_bytes())
    return digest.hexdigest()
