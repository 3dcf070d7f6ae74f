"""Unattended work: which reports are due, rendering them side by side, and the index and manifest of what is there.

A report is due when what it is made of has changed since the manifest last saw it made: its notebook, its template, the
page's skin, its parameters, this version of trackkit, or a load that changed its delivery.
"""

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import polars as pl
from filelock import FileLock, Timeout

from trackkit import __version__, resources
from trackkit.errors import RequestError, did_you_mean
from trackkit.index import write_index
from trackkit.language import catalogue_file, require_language
from trackkit.report import INLINE, REPORTS, SHARED, require_assets
from trackkit.report.workers import Renderers
from trackkit.store import Store, open_store

MANIFEST, INDEX, LOCK = "manifest.json", "index.html", ".lock"
PLATFORM = "platform"
Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class Job:
    """One report of one delivery, or of all (delivery ""), and the fingerprint of all that it is made of."""

    report: str
    delivery: str
    lang: str
    parameters: dict[str, Any]
    key: str
    assets: str = INLINE

    @property
    def name(self) -> str:
        """Its name in the manifest."""
        return f"{self.delivery or PLATFORM}/{self.report}/{self.lang}"


@dataclass
class RunSummary:
    """What a run did: names of jobs rendered, left as they were, and failed with why."""

    index: Path
    rendered: list[str] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        counts = f"{len(self.rendered)} rendered, {len(self.unchanged)} unchanged, {len(self.failed)} failed"
        failures = [f"  {name}: {error}" for name, error in self.failed.items()]
        return "\n".join([f"Reports: {counts}.", *failures, str(self.index)])


def run(
    store: str | os.PathLike[str],
    out: str | os.PathLike[str],
    reports: list[str] | None = None,
    delivery: list[str] | None = None,
    since: str | date | None = None,
    jobs: int | None = None,
    lang: str = "en",
    progress: Progress | None = None,
    assets: str = INLINE,
) -> RunSummary:
    """Render every due delivery × report, and each report about all deliveries once, with an index and a manifest.

    Proofs and models are left out unless named in `delivery`; `since` keeps deliveries launched on or after a date,
    UTC; `jobs` reports are rendered at once (by default one per core, four at most); `assets` is as for `render`. A
    failed report does not stop the others. Raises RequestError for an unknown report, delivery, date, language or kind
    of assets, or when another run writes to the same folder.
    """
    require_language(lang)
    require_assets(assets)
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(folder / LOCK, timeout=0):
            return _run(
                open_store(store), folder, _chosen(reports), delivery, _day(since), jobs, lang, assets, progress
            )
    except Timeout:
        raise RequestError(f"Another run is writing to {folder}; wait for it, or give another --out.") from None


def _run(
    store: Store,
    folder: Path,
    reports: list[str],
    delivery: list[str] | None,
    since: date | None,
    jobs: int | None,
    lang: str,
    assets: str,
    progress: Progress | None,
) -> RunSummary:
    manifest = _Manifest.read(folder)
    planned = list(_planned(store, reports, deliveries(store, delivery, since), lang, assets))
    due = [job for job in planned if not manifest.holds(job)]
    summary = RunSummary(folder / INDEX, unchanged=[job.name for job in planned if manifest.holds(job)])
    at_once = min(jobs or min(os.cpu_count() or 1, 4), max(len(due), 1))
    with Renderers(at_once if due else 0) as renderers, ThreadPoolExecutor(at_once) as pool:
        rendering = {pool.submit(_rendered, renderers, store, job, folder): job for job in due}
        for done, finished in enumerate(as_completed(rendering), start=1):
            _note(manifest, summary, rendering[finished], finished.result())
            if progress:
                progress(done, len(due), rendering[finished].name)
    manifest.write()
    write_index(store.snapshot(), folder, manifest.entries, lang)
    return summary


def _rendered(renderers: Renderers, store: Store, job: Job, folder: Path) -> dict[str, Any]:
    """Render one job; an error is an answer, so that the others go on."""
    started = time.monotonic()
    try:
        asked = {"delivery": job.delivery or None, "lang": job.lang, "parameters": job.parameters, "assets": job.assets}
        path = renderers.render(job.report, store.location, folder, **asked)
    except Exception as error:  # whatever it is, a full disk included, the others go on
        return {"status": "failed", "error": str(error) or type(error).__name__}
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    seconds = round(time.monotonic() - started, 3)
    return {"status": "done", "path": path.relative_to(folder).as_posix(), "sha256": digest, "seconds": seconds}


def _note(manifest: "_Manifest", summary: RunSummary, job: Job, result: dict[str, Any]) -> None:
    manifest.entries[job.name] = {**asdict(job), **result, "rendered_at": datetime.now(UTC).isoformat()}
    manifest.save_now_and_then()
    if result["status"] == "done":
        summary.rendered.append(job.name)
    else:
        summary.failed[job.name] = result["error"]


class _Manifest:
    """What is in the folder, and from what each report was made; saved as the run goes, so that it can be resumed."""

    def __init__(self, folder: Path, entries: dict[str, dict[str, Any]]) -> None:
        self.folder, self.entries, self._saved = folder, entries, time.monotonic()

    @classmethod
    def read(cls, folder: Path) -> "_Manifest":
        try:
            entries = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["reports"]
        except (OSError, ValueError, KeyError, TypeError):  # none yet, or not ours: everything is due
            entries = {}
        return cls(folder, entries)

    def holds(self, job: Job) -> bool:
        entry = self.entries.get(job.name, {})
        made = entry.get("status") == "done" and entry.get("key") == job.key and (self.folder / entry["path"]).is_file()
        return made and (job.assets == INLINE or any((self.folder / "assets").glob("*.js")))

    def save_now_and_then(self) -> None:
        if time.monotonic() - self._saved > 1:
            self.write()

    def write(self) -> None:
        content = {"trackkit": __version__, "reports": dict(sorted(self.entries.items()))}
        beside = self.folder / f"{MANIFEST}.part"
        beside.write_text(json.dumps(content, ensure_ascii=False, indent=1), encoding="utf-8")
        beside.replace(self.folder / MANIFEST)
        self._saved = time.monotonic()


def deliveries(store: Store, named: list[str] | None = None, since: date | None = None) -> list[str]:
    """Return the deliveries to report on, latest launch first: those named, else all but proofs and models."""
    launched = pl.coalesce("started_at", "contact_at")
    unsent = pl.any_horizontal(pl.col("is_proof", "is_model").fill_null(False))
    rows = store.scan("delivery").select("delivery_id", launched=launched, unsent=unsent).collect()
    mentioned = [store.scan(table).select("delivery_id").unique() for table in ("message", "event")]
    others = pl.concat(pl.collect_all(mentioned)).unique().join(rows, "delivery_id", how="anti").drop_nulls()
    known = pl.concat([rows, others], how="diagonal").sort("launched", "delivery_id", descending=True, nulls_last=True)
    if named is not None:
        return [_require(name, known["delivery_id"].to_list()) for name in named]
    kept = known.filter(~pl.col("unsent").fill_null(False))
    return (kept if since is None else kept.filter(pl.col("launched").dt.date() >= since))["delivery_id"].to_list()


def _require(name: str, known: list[str]) -> str:
    if name not in set(known):
        raise RequestError(f"There is no delivery {name!r} in the store.{did_you_mean(name, known[:1000])}")
    return name


def _planned(store: Store, reports: list[str], names: list[str], lang: str, assets: str) -> Iterator[Job]:
    """One job per delivery and report; one in all of a report about the whole platform, due after every load."""
    made_of = {report: _made_of(report, lang) for report in reports}
    loaded, last = store.watermarks, store.loads[-1]["load_id"]
    wide = [report for report in reports if REPORTS[report].scope == PLATFORM]
    for delivery, load, about in [("", last, wide), *((name, loaded.get(name, ""), reports) for name in names)]:
        for report in about:
            if delivery and report in wide:
                continue
            parts = [__version__, made_of[report], lang, load, *([assets] if assets == SHARED else [])]
            yield Job(report, delivery, lang, {}, hashlib.sha256(json.dumps(parts).encode()).hexdigest(), assets)


def _made_of(report: str, lang: str) -> str:
    """Fingerprint of the files behind a report: notebook, template, the page's skin and the words of the language."""
    digest = hashlib.sha256()
    skin = resources.folder("reports_templates/html")
    for path in (
        resources.find(f"notebooks/reports/{report}.ipynb"),
        resources.find(f"reports_templates/{report}.toml"),
        resources.find("reports_templates/domains.toml"),
        *sorted(path for path in skin.rglob("*") if path.is_file()),
        *filter(None, [catalogue_file(lang)]),
    ):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _chosen(reports: list[str] | None) -> list[str]:
    """Return the reports asked for; a template or notebook that is wrong is refused before anything runs."""
    return [REPORTS[name].name for name in (REPORTS if reports is None else reports)]


def _day(since: str | date | None) -> date | None:
    if since is None or isinstance(since, date):
        return since
    try:
        return date.fromisoformat(since)
    except ValueError:
        raise RequestError(f"--since takes a date such as 2026-11-01, not {since!r}.") from None
