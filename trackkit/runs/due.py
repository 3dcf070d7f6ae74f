"""Unattended work: which reports are due, rendering them side by side, and the index and manifest of what is there.

A report is due when what it is made of has changed since the manifest last saw it made: its notebook, its template, the
page's skin, its parameters, this version of trackkit, or a load that changed its delivery.
"""

import hashlib
import json
import os
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import polars as pl
from filelock import FileLock, Timeout

from trackkit import __version__, resources
from trackkit.clock import Asked, moment
from trackkit.engine.completeness import purged
from trackkit.engine.deliveries import AVERAGE_MONTHS, is_deleted, is_set_aside
from trackkit.errors import RequestError, TrackkitError, did_you_mean
from trackkit.language import require_language
from trackkit.plain import one_line
from trackkit.quality import worst
from trackkit.quality.thresholds import thresholds
from trackkit.report import INLINE, REPORTS, require_assets, require_report
from trackkit.runs.executors import Result, failed, locally
from trackkit.runs.index import write_index
from trackkit.runs.manifest import PLATFORM, Job, Manifest, made_of
from trackkit.show.theme import theme
from trackkit.store import Store, answered, open_store

INDEX, LOCK = "index.html", ".lock"
Progress = Callable[[int, int, str], None]
Executor = Callable[[list[Job], str, Path], Generator[tuple[Job, Result], None, None]]


@dataclass
class RunSummary:
    """What a run did: names of jobs rendered, left as they were, and failed with why; `quality` by delivery."""

    index: Path
    rendered: list[str] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    quality: dict[str, str] = field(default_factory=dict)

    @property
    def verdict(self) -> str:
        """The worst verdict on the logs behind the reports."""
        return worst(list(self.quality.values()))

    def __str__(self) -> str:
        counts = f"{len(self.rendered)} rendered, {len(self.unchanged)} unchanged, {len(self.failed)} failed"
        failures = [one_line(f"  {name}: {error}") for name, error in self.failed.items()]
        return "\n".join([f"Reports: {counts}.", *failures, one_line(self.index)])


def run(
    store: str | os.PathLike[str],
    out: str | os.PathLike[str],
    reports: list[str] | None = None,
    delivery: list[str] | None = None,
    since: Asked | None = None,
    jobs: int | None = None,
    lang: str = "en",
    progress: Progress | None = None,
    assets: str = INLINE,
    scheduler: str | None = None,
) -> RunSummary:
    """Render every due delivery × report, and each report about all deliveries once, with an index and a manifest.

    Proofs, models and deleted deliveries are left out unless named in `delivery`; pages of a delivery whose logs
    retention removed since stay as they are, unless it is named. `since` keeps deliveries launched on or after a date
    by the platform's clock, or an instant (ISO text of either will do); `jobs` reports are rendered at once (by default
    one per core, four at most), or, with the address of a dask `scheduler`, one per thread of its workers; `assets` is
    as for `render`. A failed report does not stop the others. Raises RequestError for an unknown report, delivery,
    date, language or kind of assets, when another run writes to the same folder, or when the cluster is not fit for it.
    """
    require_language(lang)
    require_assets(assets)
    theme(), thresholds()  # every page needs both: what is wrong with them is said once, before any is rendered
    execute = _executor(jobs, scheduler)
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    with _alone(folder):
        return _run(open_store(store), folder, _chosen(reports), delivery, since, execute, lang, assets, progress)


def _executor(jobs: int | None, scheduler: str | None) -> Executor:
    """Return who renders: this machine, or a cluster, whose library is imported only then."""
    if scheduler is None:
        return partial(locally, at_once=jobs)
    if jobs is not None:
        raise RequestError("--jobs is for this machine: with --scheduler, each thread of a worker renders one report.")
    from trackkit.runs.cluster import by_cluster, require_dask

    require_dask(scheduler)
    return partial(by_cluster, address=scheduler)


def _run(
    store: Store,
    folder: Path,
    reports: list[str],
    delivery: list[str] | None,
    since: Asked | None,
    execute: Executor,
    lang: str,
    assets: str,
    progress: Progress | None,
) -> RunSummary:
    answered(store, Store.require_whole)
    manifest = Manifest.read(folder)
    # What a page shows of a delivery whose logs were removed since cannot be worked out again.
    manifest.settled = set() if delivery else set(answered(store, purged)["delivery_id"])
    about = answered(store, lambda now: deliveries(now, delivery, since))
    planned = answered(store, lambda now: list(_planned(now, reports, about, lang, assets)))
    manifest.forget_failures(planned)
    due = [job for job in planned if not manifest.holds(job)]
    summary = RunSummary(folder / INDEX, unchanged=[job.name for job in planned if manifest.holds(job)])
    with closing(execute(due, store.location, folder)) as results:
        for done, (job, result) in enumerate(results, start=1):
            _note(manifest, summary, job, result)
            if progress:
                progress(done, len(due), job.name)
    told = {*summary.rendered, *summary.failed}
    for job in due:
        if job.name not in told:  # whoever renders: a page that is due is there, or has failed
            _note(manifest, summary, job, failed("Nobody rendered it."))
    summary.quality = answered(store, lambda now: manifest.judged(now.snapshot(), planned, due))
    manifest.write()
    answered(store, lambda now: write_index(now.snapshot(), folder, manifest.entries, lang))
    return summary


def _note(manifest: Manifest, summary: RunSummary, job: Job, result: Result) -> None:
    if result["status"] == "done" and not (manifest.folder / result["path"]).is_file():
        result = failed("It was rendered, but its page is not in the output folder.")
    manifest.entries[job.name] = {**asdict(job), **result, "rendered_at": datetime.now(UTC).isoformat()}
    manifest.save_now_and_then()
    if result["status"] == "done":
        summary.rendered.append(job.name)
    else:
        summary.failed[job.name] = result["error"]


def withdraw(
    store: str | os.PathLike[str],
    out: str | os.PathLike[str],
    is_concerned: Callable[[Path, str], bool],
    dry_run: bool = False,
) -> list[str]:
    """Delete the pages and failed notebooks of a folder that `is_concerned(path, text)` holds of; return their names.

    They leave the manifest and the index too, so that a run makes them again. Raises RequestError as `run`.
    """
    folder = Path(out)
    with _alone(folder):
        manifest = Manifest.read(folder)
        files = [
            path for path in folder.iterdir() if path.suffix in (".html", ".ipynb", ".part") and path.name != INDEX
        ]
        gone = sorted(path for path in files if is_concerned(path, path.read_text("utf-8", errors="replace")))
        if dry_run or not gone:
            return [path.name for path in gone]
        for path in gone:
            path.unlink()
        names = {path.name for path in gone}
        left = {name: entry for name, entry in manifest.entries.items() if entry.get("path") not in names}
        lang = max(manifest.entries.values(), key=lambda entry: entry["rendered_at"], default={"lang": "en"})["lang"]
        manifest.entries = left
        manifest.write()
        write_index(open_store(store).snapshot(), folder, left, lang)
        return sorted(names)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    try:
        with FileLock(folder / LOCK, timeout=0):
            yield
    except Timeout:
        raise RequestError(f"Another run is writing to {folder}; wait for it, or give another --out.") from None


def deliveries(store: Store, named: list[str] | None = None, since: Asked | None = None) -> list[str]:
    """Return the deliveries to report on, latest launch first: those named, else all but those set aside."""
    launched = pl.coalesce("started_at", "contact_at")
    begin = None if since is None else moment(since, store.timezone, "--since")
    rows = store.scan("delivery").select("delivery_id", launched=launched, is_aside=is_set_aside()).collect()
    mentioned = [store.scan(table).select("delivery_id").unique() for table in ("message", "event")]
    others = pl.concat(pl.collect_all(mentioned)).unique().join(rows, "delivery_id", how="anti").drop_nulls()
    known = pl.concat([rows, others], how="diagonal").sort("launched", "delivery_id", descending=True, nulls_last=True)
    if named is not None:
        return [_require(name, known["delivery_id"].to_list()) for name in named]
    kept = known.filter(~pl.col("is_aside").fill_null(False))
    asked = kept if begin is None else kept.filter(pl.col("launched") >= begin.astimezone(UTC))
    return asked["delivery_id"].to_list()


def _require(name: str, known: list[str]) -> str:
    if name not in set(known):
        raise RequestError(f"There is no delivery {name!r} in the store.{did_you_mean(name, known[:1000])}")
    return name


def _planned(store: Store, reports: list[str], names: list[str], lang: str, assets: str) -> Iterator[Job]:
    """One job per delivery and report; one in all of a report about the whole platform, due after every load."""
    made, gone = {report: made_of(report, lang) for report in reports}, _left_out_of_averages(store, names)
    loaded, last = store.watermarks, store.loads[-1]["load_id"]
    wide = [report for report in reports if _is_wide(report)]
    averaging = {report for report in reports if gone and report not in wide and _has_averages(report)}
    for delivery, load, about in [("", last, wide), *((name, loaded.get(name, ""), reports) for name in names)]:
        for report in about:
            if delivery and report in wide:
                continue
            parts = [__version__, made[report], lang, store.timezone, load, *([assets] if assets != INLINE else [])]
            parts += gone.get(delivery, []) if report in averaging else []
            yield Job(report, delivery, lang, {}, hashlib.sha256(json.dumps(parts).encode()).hexdigest(), assets)


def _left_out_of_averages(store: Store, names: list[str]) -> dict[str, list[str]]:
    """Return, of each delivery, the deleted ones that its averages do without: they may come back."""
    at = pl.coalesce("started_at", "contact_at")
    launched = store.scan("delivery").select("delivery_id", is_gone=is_deleted(), at=at).collect().drop_nulls()
    start = pl.col("at").dt.offset_by(f"-{AVERAGE_MONTHS}mo")
    own = launched.filter(pl.col("delivery_id").is_in(names)).select(name="delivery_id", start=start, end="at")
    gone = launched.filter("is_gone").sort("delivery_id")
    pairs = own.join_where(gone, pl.col("at") >= pl.col("start"), pl.col("at") < pl.col("end"))
    return dict(pairs.group_by("name").agg(pl.col("delivery_id").sort()).iter_rows())


def _has_averages(report: str) -> bool:
    return "click_figures" in resources.find(f"notebooks/reports/{report}.ipynb").read_text("utf-8")


def _is_wide(report: str) -> bool:
    try:
        return REPORTS[report].scope == PLATFORM
    except TrackkitError:  # its template or notebook is wrong: it fails alone, and says so once
        return True


def _chosen(reports: list[str] | None) -> list[str]:
    return [require_report(name) for name in (REPORTS if reports is None else reports)]
