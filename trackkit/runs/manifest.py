"""The jobs of a run, one per page, and the manifest of a folder of reports: what each page was made from."""

import hashlib
import json
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from trackkit import __version__, resources
from trackkit.copies import facts_of
from trackkit.engine.scope import resolve
from trackkit.engine.selection import ALL
from trackkit.engine.snapshot import Snapshot
from trackkit.project import current
from trackkit.quality import quality, verdict
from trackkit.report import OF_FOLDER, sources_of
from trackkit.report.formats import HTML, beside
from trackkit.report.notebook import PLATFORM, SCOPE
from trackkit.runs.leaves import about

MANIFEST = "manifest.json"
KEPT = ("path", "sha256", "rendered_at", "warnings", "bar")  # of the last good page, when it fails now


@dataclass(frozen=True)
class Job:
    """One report on one delivery, a scope (in `parameters`), or all; `key` is the fingerprint of its inputs."""

    report: str
    delivery: str
    lang: str
    parameters: dict[str, Any]
    key: str
    formats: Sequence[str] = (HTML,)

    @property
    def scope(self) -> str:
        """The scope that it is about, "" for one delivery or a report on the whole platform."""
        return str(self.parameters.get(SCOPE, ""))

    @property
    def name(self) -> str:
        """Its name in the manifest."""
        return f"{about(self.delivery, self.scope) or PLATFORM}/{self.report}/{self.lang}"

    def in_zone(self, timezone: str) -> "Job":
        """Return the job with its hours, days and instants in a zone; as it is for ""."""
        if not timezone:
            return self
        key = hashlib.sha256(f"{self.key} {timezone}".encode()).hexdigest()
        return replace(self, parameters={**self.parameters, "timezone": timezone}, key=key)


class Manifest:
    """The reports in a folder and what each was made from; saved during the run, so that it can be resumed."""

    def __init__(self, folder: Path, entries: dict[str, dict[str, Any]], lang: str = "") -> None:
        self.folder, self.entries, self._saved = folder, entries, time.monotonic()
        self.lang = lang or _last_language(entries)  # of the last run, and of the index
        self.activity = ALL  # whose hits the last run, and the index, counted
        self.project: dict[str, str] | None = None  # of the last run: where it is from this folder, and a digest
        self.notes: list[str] = []  # on what was wrong with the file
        self.settled: set[str] = set()  # deliveries whose pages stay as they are

    @classmethod
    def read(cls, folder: Path) -> "Manifest":
        """Read the manifest of a folder; an empty one if there is none, and with a note if it cannot be read."""
        path = folder / MANIFEST
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            manifest = cls(
                folder, {name: dict(entry) for name, entry in content["reports"].items()}, content.get("lang", "")
            )
            manifest.project, manifest.activity = content.get("project"), content.get("activity", ALL)
        except FileNotFoundError:
            manifest = cls(folder, {})
        except (ValueError, KeyError, TypeError, AttributeError):  # everything is due
            manifest = cls(folder, {})
            manifest.notes = [f"{path} was broken: every page was made again, and it is written anew."]
        return manifest

    def holds(self, job: Job) -> bool:
        """Return whether the page of a job exists and is up to date."""
        entry = self.entries.get(job.name, {})
        is_settled = job.delivery in self.settled
        is_current = entry.get("status") == "done" and (entry.get("key") == job.key or is_settled)
        if not is_current or not (page := self.folder / entry["path"]).is_file():
            return False
        made = _formats(entry)
        return is_settled or all(name in made and beside(page, name).is_file() for name in job.formats)

    def completed(self, job: Job) -> Job:
        """Return a job that also makes the formats that its page has: they go only when the page changes."""
        entry = self.entries.get(job.name, {})
        kept = _formats(entry) if entry.get("key") == job.key and entry.get("status") == "done" else ()
        return replace(job, formats=tuple(dict.fromkeys([*job.formats, *kept])))

    def record(self, job: Job, result: dict[str, Any]) -> None:
        """Record the result of a job; a failed one keeps the last good page, with the instant when it was made."""
        at = datetime.now(UTC).isoformat()
        entry = {**asdict(job), **result, "rendered_at": at}
        last = self.entries.get(job.name, {})
        if result["status"] == "failed" and last.get("path") and (self.folder / last["path"]).is_file():
            entry |= {name: last[name] for name in KEPT if name in last} | {"failed_at": at}
        self.entries[job.name] = entry
        self.save_now_and_then()

    def forget_failures(self, planned: list[Job]) -> None:
        """Forget failures of a report as a whole (its files were wrong) if it is now planned for each delivery."""
        names, reports = {job.name for job in planned}, {job.report for job in planned}
        for name, entry in list(self.entries.items()):
            is_whole = not entry.get("delivery") and not entry.get("parameters", {}).get(SCOPE)
            failed = entry.get("status") == "failed" and is_whole
            if failed and name not in names and entry.get("report") in reports:
                del self.entries[name]

    def judged(self, tables: Snapshot, planned: list[Job], due: list[Job]) -> dict[str, str]:
        """Return the verdict on the logs of every planned delivery and scope ("": of all), recorded with its reports.

        Verdicts of reports that are not due are taken from the manifest.
        """
        jobs = {about(job.delivery, job.scope): job for job in planned}
        changed = {about(job.delivery, job.scope) for job in due}
        known = {name: self.entries[job.name].get("quality") for name, job in jobs.items() if name not in changed}
        verdicts = {name: known.get(name) or _judged(tables, job) for name, job in jobs.items()}
        for job in planned:
            self.entries[job.name]["quality"] = verdicts[about(job.delivery, job.scope)]
        return verdicts

    def save_now_and_then(self) -> None:
        """Write the manifest, at most once a second."""
        if time.monotonic() - self._saved > 1:
            self.write()

    def write(self) -> None:
        """Write the manifest, in one step."""
        content: dict[str, Any] = {"trackkit": __version__, "lang": self.lang, "project": self.project}
        content |= {"activity": self.activity} if self.activity != ALL else {}
        content |= {"reports": dict(sorted(self.entries.items()))}
        resources.write_whole(self.folder / MANIFEST, json.dumps(content, ensure_ascii=False, indent=1))
        self._saved = time.monotonic()


def _judged(tables: Snapshot, job: Job) -> str:
    chosen = job.delivery or (resolve(tables, job.scope).chosen if job.scope else None)
    return verdict(quality(tables, chosen))


def project_of(folder: Path) -> dict[str, str] | None:
    """Return what a manifest in `folder` says of the project: its path from there and a digest; None without one."""
    project = current()
    return {"path": os.path.relpath(project.folder, folder.resolve()), **facts_of(project)} if project else None


def _formats(entry: Mapping[str, Any]) -> Sequence[str]:
    return tuple(entry.get("formats", (HTML,)))


def _last_language(entries: dict[str, dict[str, Any]]) -> str:
    last = max(entries.values(), key=lambda entry: entry.get("rendered_at", ""), default={})
    return str(last.get("lang", "en"))


def made_of(report: str, lang: str) -> str:
    """Return the fingerprint of the files behind a report: notebook, template, page skin, translations."""
    digest = hashlib.sha256()
    for path in sources_of(report, lang):
        if path.name not in OF_FOLDER:
            digest.update(path.read_bytes())
    return digest.hexdigest()
