"""A run: finds the reports that are due, renders them side by side, and writes the manifest and the index.

A report is due if any of its inputs changed since it was last rendered: its notebook, its template, the page's skin,
its parameters, this version of trackkit, or a load that changed its delivery.
"""

import hashlib
import json
import os
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl
from filelock import FileLock, Timeout

from trackkit import __version__, resources
from trackkit.analysis.provenance import changes
from trackkit.clock import Asked, ago, moment
from trackkit.definition_sets import definition_set
from trackkit.engine.completeness import purged
from trackkit.engine.deliveries import AVERAGE_MONTHS, is_deleted, is_set_aside, planned_launch, require_timezone
from trackkit.engine.scope import Scope, each_of
from trackkit.engine.selection import ACTIVITIES, ALL
from trackkit.engine.snapshot import Snapshot
from trackkit.errors import RequestError, TrackkitError, did_you_mean, require_word
from trackkit.language import require_language
from trackkit.metrics import ADOBE
from trackkit.quality.thresholds import thresholds
from trackkit.report import REPORTS, require_report
from trackkit.report.common import tables_of
from trackkit.report.formats import HTML, PROVENANCE, others, provenance_beside, require_formats
from trackkit.report.glossary import write_glossary
from trackkit.report.groups import groups
from trackkit.report.notebook import PLATFORM
from trackkit.report.provenance import SCRIPT
from trackkit.runs.archive import Archive, archived
from trackkit.runs.dossier import Dossiers, takes_scopes, without_bar, write_bars
from trackkit.runs.executors import Result, failed, locally
from trackkit.runs.history import RunSummary, recorded
from trackkit.runs.index import write_index
from trackkit.runs.leaves import NO_REPORTS, leaves
from trackkit.runs.manifest import Job, Manifest, made_of, project_of
from trackkit.runs.prune import gone, known_deliveries, known_scopes, remove
from trackkit.show.theme import theme
from trackkit.store import Store, answered, open_store

INDEX, LOCK = NO_REPORTS[0], ".lock"
DEFINITIONS, ACTIVITY = "definitions", "activity"  # parameters of reports
Progress = Callable[[int, int, str, Result], None]  # done, of how many, the page, and what became of it
Executor = Callable[[list[Job], str, Path], Generator[tuple[Job, Result], None, None]]


@dataclass(frozen=True)
class _Wish:
    """What is asked of a run beside its reports: see `run`."""

    delivery: list[str] | None
    since: Asked | None
    scope: Sequence[str]
    langs: Sequence[str]
    keep: int | None
    timezone: str
    prune: bool
    is_dry: bool
    activity: str
    progress: Progress | None


class _By(NamedTuple):
    """Whose definitions figures follow, and whose hits they count."""

    definitions: str
    activity: str


def run(
    store: str | os.PathLike[str],
    out: str | os.PathLike[str],
    reports: list[str] | None = None,
    delivery: list[str] | None = None,
    since: Asked | None = None,
    jobs: int | None = None,
    lang: str | Sequence[str] = "en",
    progress: Progress | None = None,
    scheduler: str | None = None,
    formats: str | Sequence[str] = HTML,
    keep: int | None = None,
    definitions: str = ADOBE,
    timezone: str = "",
    scope: Sequence[str] = (),
    prune: bool = False,
    dry_run: bool = False,
    activity: str = ALL,
) -> RunSummary:
    """Render every due delivery × report, and each report about all deliveries once, with an index and a manifest.

    `scope` names selections that get pages too, such as "campaign:12" (`engine.scope`), or "campaign", "programme" or
    "folder" for all of these: every report that can be about several deliveries. Proofs, models and deleted deliveries
    are left out, and pages of a delivery whose logs were since removed by retention stay as they are, unless the
    delivery is named in `delivery`. `since` keeps deliveries launched on or after a date by the platform's clock, or an
    instant (either may be ISO text), or "yesterday", or "7d" for the last seven days. `lang` is the language of the
    pages, or several; the index is in the first. `jobs` reports are rendered at once (by default one per core, four at
    most), or, with the address of a dask `scheduler`, one per thread of its workers. `formats` are as for `render`; a
    page that lacks one is due. With `keep`, so many earlier versions of each page are kept (`archive`). Reports with
    the parameter `definitions` follow that set, those with `activity` ("human": the hits of people alone) that one, and
    so does the index. `timezone` is that of the pages' hours, days and instants, by default the store's. With `prune`,
    pages of deliveries that the store no longer has, of scopes in which none counts any more, and of reports that there
    are no more, are removed. A dry run says what is due and what would be removed. A failed report does not stop the
    others, and each run leaves a line in `runs.jsonl`. Raises RequestError for an unknown report, delivery, scope,
    date, format, language, zone or set, if another run writes to the same folder, or if a worker is not fit.
    """
    langs = [lang] if isinstance(lang, str) else list(dict.fromkeys(lang))
    for each in langs:
        require_language(each)
        groups(each)
    wanted = require_formats(formats, printing=scheduler is None)
    definition_set(definitions)
    require_word("activity", activity, ACTIVITIES)
    if timezone:
        require_timezone(timezone)
    theme(), thresholds()  # every page needs them, and groups: report an error once, before anything is rendered
    execute = _executor(jobs, scheduler)
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder):
        asked = {"reports": _selected(reports), "formats": wanted, "by": _By(definitions, activity)}
        planning = partial(_planned, **asked)  # type: ignore[arg-type]
        wish = _Wish(delivery, since, scope, langs, keep, timezone, prune, dry_run, activity, progress)
        return recorded(folder, lambda: _run(open_store(store), folder, planning, execute, wish))


def _executor(jobs: int | None, scheduler: str | None) -> Executor:
    """Return the executor: this machine, or a cluster, whose library is imported only if needed."""
    if scheduler is None:
        return partial(locally, at_once=jobs)
    if jobs is not None:
        raise RequestError("--jobs is for this machine: with --scheduler, each thread of a worker renders one report.")
    from trackkit.runs.cluster import by_cluster, require_dask

    require_dask(scheduler)
    return partial(by_cluster, address=scheduler)


def _run(
    store: Store, folder: Path, planning: Callable[..., Iterator[Job]], execute: Executor, wish: _Wish
) -> RunSummary:
    answered(store, Store.require_whole)
    answered(store, lambda now: tables_of(now.snapshot(), wish.activity))  # refuses hits that nobody marked
    manifest = Manifest.read(folder)
    manifest.project = project_of(folder)
    # A page of a delivery whose logs were removed since cannot be rendered again.
    manifest.settled = set() if wish.delivery else set(answered(store, purged)["delivery_id"])
    planned = _jobs(store, planning, wish)
    due = [manifest.completed(job) for job in planned if not manifest.holds(job)]
    removed = answered(store, lambda now: _gone(now, manifest)) if wish.prune else []
    summary = RunSummary(folder / INDEX, unchanged=[job.name for job in planned if manifest.holds(job)], pruned=removed)
    summary.notes += [*manifest.notes, *_not_following({job.report for job in planned}, wish.activity)]
    if wish.is_dry:
        summary.due = [job.name for job in due]
        return summary
    manifest.forget_failures(planned)
    archive = Archive(folder, wish.langs[0], store.timezone, wish.keep)
    remove(manifest, archive, removed)
    _render(manifest, archive, summary, due, execute(due, store.location, folder), wish.progress)
    summary.quality = answered(store, lambda now: manifest.judged(now.snapshot(), planned, due))
    manifest.lang, manifest.activity = wish.langs[0], wish.activity
    for other in wish.langs[1:]:
        write_glossary(folder, other)
    answered(store, lambda now: _joined(now.snapshot(), manifest))
    return summary


def _gone(store: Store, manifest: Manifest) -> list[str]:
    return gone(manifest, known_deliveries(store), known_scopes(store.snapshot(), manifest))


def _jobs(store: Store, planning: Callable[..., Iterator[Job]], wish: _Wish) -> list[Job]:
    """The jobs of a run in every language asked for."""
    delivery_ids = answered(store, lambda now: deliveries(now, wish.delivery, wish.since))
    over = answered(store, lambda now: each_of(now.snapshot(), wish.scope))
    zone = wish.timezone if wish.timezone != store.timezone else ""
    return answered(
        store,
        lambda now: [job.in_zone(zone) for lang in wish.langs for job in planning(now, delivery_ids, over, lang=lang)],
    )


def _render(
    manifest: Manifest,
    archive: Archive,
    summary: RunSummary,
    due: list[Job],
    executed: Generator[tuple[Job, Result], None, None],
    progress: Progress | None,
) -> None:
    """Render the pages that are due, and record each as soon as it is there."""
    folder = manifest.folder
    traced = _traced(folder, [manifest.entries[job.name]["path"] for job in due if _has_page(manifest, job)])
    archive.set_aside(manifest.entries[job.name] for job in due if job.name in manifest.entries)
    with closing(executed) as results:
        for done, (job, result) in enumerate(results, start=1):
            kept = _record(manifest, summary, job, archive.keep(result, job.lang))
            if progress:
                progress(done, len(due), job.name, kept)
    archive.finish()
    summary.because = _because(traced, _traced(folder, traced))
    finished = {*summary.rendered, *summary.failed}
    for job in due:
        if job.name not in finished:  # whatever the executor does, a due page is rendered or has failed
            _record(manifest, summary, job, failed("Nobody rendered it."))


def _has_page(manifest: Manifest, job: Job) -> bool:
    return bool(manifest.entries.get(job.name, {}).get("path"))


def _traced(folder: Path, pages: Iterable[str]) -> dict[str, str]:
    """The provenance beside pages, as text, by the name of the page."""
    known = {page: provenance_beside(folder / page) for page in pages}
    return {page: path.read_text("utf-8") for page, path in known.items() if path.is_file()}


def _because(before: Mapping[str, str], after: Mapping[str, str]) -> dict[str, int]:
    """On how many pages figures changed, by cause, the most frequent first."""
    found: Counter[str] = Counter()
    for page, text in after.items():
        if text != before[page]:
            causes = changes(json.loads(before[page]), json.loads(text))["causes"]
            found.update(set(causes.explode().drop_nulls()))
    return dict(found.most_common())


def _joined(tables: Snapshot, manifest: Manifest) -> None:
    """Let the pages of a folder hang together: write its glossary, its index, and the bars that changed."""
    counted = tables_of(tables, manifest.activity)
    dossiers = Dossiers(tables, manifest.folder, leaves(manifest.folder, manifest.entries))
    write_glossary(manifest.folder, manifest.lang)
    write_bars(dossiers, glossary=manifest.lang)
    write_index(counted, dossiers, manifest.lang)
    manifest.write()


def join(store: str | os.PathLike[str], out: str | os.PathLike[str]) -> None:
    """Write the bars of pages that were rendered into a folder one by one, so that each reaches the others.

    If a run is writing to the folder, nothing is done: it does so at its end.
    """
    folder = Path(out)
    with suppress(RequestError), locked(folder):
        manifest = Manifest.read(folder)
        tables = open_store(store).snapshot()
        write_bars(Dossiers(tables, folder, leaves(folder, manifest.entries)), index=(folder / INDEX).exists())
        if manifest.entries:
            manifest.write()


def _record(manifest: Manifest, summary: RunSummary, job: Job, result: Result) -> Result:
    """Record what became of a job, and return it."""
    if result["status"] == "done" and not (manifest.folder / result["path"]).is_file():
        result = failed("It was rendered, but its page is not in the output folder.")
    manifest.record(job, result)
    if result["status"] == "done":
        summary.rendered.append(job.name)
    else:
        summary.failed[job.name] = result["error"]
    return result


def withdraw(
    store: str | os.PathLike[str],
    out: str | os.PathLike[str],
    is_concerned: Callable[[Path, str], bool],
    dry_run: bool = False,
) -> list[str]:
    """Delete the pages and failed notebooks of a folder for which `is_concerned(path, text)`; return their names.

    Their other formats go with them, what is beside them of their provenance (which is not named), and earlier versions
    of any page for which it is true.

    The manifest and the index lose them too, so that a run renders them again. Raises RequestError as `run`.
    """
    folder = Path(out)
    with locked(folder):
        manifest = Manifest.read(folder)
        withdrawn = list(_withdrawn(folder, is_concerned))
        named = [path for path in withdrawn if not path.name.endswith(PROVENANCE)]
        names = sorted(path.relative_to(folder).as_posix() for path in named)
        if dry_run or not withdrawn:
            return names
        archive = Archive(folder, manifest.lang, open_store(store).timezone, None)
        archive.erase(withdrawn)
        entries = manifest.entries.items()
        manifest.entries = {name: archive.keep(entry) for name, entry in entries if entry.get("path") not in names}
        manifest.write()
        _joined(open_store(store).snapshot(), manifest)
        return names


def _withdrawn(folder: Path, is_concerned: Callable[[Path, str], bool]) -> Iterator[Path]:
    """Yield the files that `is_concerned` is true of: pages with their other formats, notebooks, earlier versions.

    What a file of another format says cannot be told: it goes with its page, and if that is gone, too.
    """
    ours = [path for path in folder.iterdir() if path.suffix in (".html", ".ipynb", ".part")]
    files = [path for path in ours if path.name not in NO_REPORTS]
    concerned = {path for path in files if is_concerned(path, without_bar(_text(path)))}
    yield from sorted(concerned)
    yield from (path for path, page in others(folder) if page in concerned or not page.exists())
    yield from (path for path, page in archived(folder) if is_concerned(page, without_bar(_text(path))))


def _text(path: Path) -> str:
    """What a file says, without its provenance, whose numbers could be taken for somebody's id."""
    return SCRIPT.sub("", path.read_text("utf-8", errors="replace"))


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a folder of reports for one writer; RequestError while another does."""
    try:
        with FileLock(folder / LOCK, timeout=0):
            yield
    except Timeout:
        raise RequestError(f"Another run is writing to {folder}; wait for it, or give another --out.") from None


def deliveries(store: Store, named: list[str] | None = None, since: Asked | None = None) -> list[str]:
    """Return the deliveries to report on, the latest launch first: the named ones, else all but those set aside."""
    launched = planned_launch()
    begin = None if since is None else moment(ago(since, store.timezone), store.timezone, "--since")
    rows = store.scan("delivery").select("delivery_id", launched=launched, is_aside=is_set_aside()).collect()
    mentioned = [store.scan(table).select("delivery_id").unique() for table in ("message", "event")]
    unlisted = pl.concat(pl.collect_all(mentioned)).unique().join(rows, "delivery_id", how="anti").drop_nulls()
    unsorted = pl.concat([rows, unlisted], how="diagonal")
    all_rows = unsorted.sort("launched", "delivery_id", descending=True, nulls_last=True)
    if named is not None:
        return [_require(name, all_rows["delivery_id"].to_list()) for name in named]
    public = all_rows.filter(~pl.col("is_aside").fill_null(False))
    recent = public if begin is None else public.filter(pl.col("launched") >= begin.astimezone(UTC))
    return recent["delivery_id"].to_list()


def latest_delivery(store: str | os.PathLike[str], report: str) -> str | None:
    """Return the id of the latest delivery that a report may be about; None for a report about all of them."""
    names = [parameter.name for parameter in REPORTS[require_report(report)].parameters]
    if _is_platform_wide(report) or "delivery" not in names or "recipient" in names:
        return None
    return next(iter(deliveries(open_store(store))), None)


def _require(name: str, delivery_ids: list[str]) -> str:
    if name not in set(delivery_ids):
        raise RequestError(f"There is no delivery {name!r} in the store.{did_you_mean(name, delivery_ids[:1000])}")
    return name


def _planned(
    store: Store,
    delivery_ids: list[str],
    over: Sequence[Scope],
    reports: list[str],
    lang: str,
    formats: Sequence[str],
    by: _By,
) -> Iterator[Job]:
    """Yield one job per delivery and report, and per scope and report; but one for a report on the whole platform.

    That is due after every load; the others when their deliveries change, or the names of what these belong to.
    """
    files = {report: made_of(report, lang) for report in reports}
    chosen = {report: _chosen_for(report, by) for report in reports}
    every_one = list(dict.fromkeys([*delivery_ids, *(each for scope in over for each in scope.deliveries)]))
    left_out, watermarks = _left_out_of_averages(store, every_one), store.watermarks
    named = _campaigns(store)
    platform_wide = [report for report in reports if _is_platform_wide(report)]
    averaging = {report for report in reports if left_out and report not in platform_wide and _has_averages(report)}

    def job(report: str, delivery: str, load: Any, others: Iterable[str], **parameters: str) -> Job:
        parts = [__version__, files[report], lang, store.timezone, load]
        parts += sorted({gone for name in others for gone in left_out.get(name, [])}) if report in averaging else []
        names = chosen[report].items()
        parts += [definition_set(value).model_dump_json() if name == DEFINITIONS else value for name, value in names]
        key = hashlib.sha256(json.dumps(parts).encode()).hexdigest()
        return Job(report, delivery, lang, chosen[report] | parameters, key, formats)

    for report in platform_wide:
        yield job(report, "", store.loads[-1]["load_id"], ())
    for delivery in [*delivery_ids, *_named_alone(over, delivery_ids)]:
        load: Any = watermarks.get(delivery, "")
        load = [load, named[delivery]] if delivery in named else load
        yield from (job(report, delivery, load, [delivery]) for report in reports if report not in platform_wide)
    scoped = [report for report in reports if takes_scopes(report)] if over else []
    for scope in (each for each in over if each.kind != "delivery"):
        made = [scope.text, scope.label, [(name, watermarks.get(name, "")) for name in scope.deliveries]]
        for report in scoped:
            if not (scope.kind == PLATFORM and report in platform_wide):  # that is its page without a scope
                yield job(report, "", made, scope.deliveries, scope=scope.text)


def _named_alone(scopes: Sequence[Scope], delivery_ids: Sequence[str]) -> list[str]:
    """The deliveries that scopes name by their ids alone: their pages are those of any delivery."""
    return [each.deliveries[0] for each in scopes if each.kind == "delivery" and each.deliveries[0] not in delivery_ids]


def _campaigns(store: Store) -> dict[str, str]:
    """The label of the campaign of each delivery that has one: it stands on its pages."""
    labels = store.scan("campaign").select("campaign_id", campaign="label")
    rows = store.scan("delivery").drop_nulls("campaign_id").join(labels, on="campaign_id", how="left")
    return dict(rows.select("delivery_id", pl.coalesce("campaign", "campaign_id")).collect().iter_rows())


def _left_out_of_averages(store: Store, delivery_ids: list[str]) -> dict[str, list[str]]:
    """Return, for each delivery, the deleted ones that its averages leave out: they may be restored."""
    at = planned_launch()
    launched = store.scan("delivery").select("delivery_id", is_gone=is_deleted(), at=at).collect().drop_nulls()
    start = pl.col("at").dt.offset_by(f"-{AVERAGE_MONTHS}mo")
    planned = launched.filter(pl.col("delivery_id").is_in(delivery_ids))
    averaged = planned.select(name="delivery_id", start=start, end="at")
    deleted = launched.filter("is_gone").sort("delivery_id")
    pairs = averaged.join_where(deleted, pl.col("at") >= pl.col("start"), pl.col("at") < pl.col("end"))
    return dict(pairs.group_by("name").agg(pl.col("delivery_id").sort()).iter_rows())


def _has_averages(report: str) -> bool:
    return "click_figures" in resources.find(f"notebooks/reports/{report}.ipynb").read_text("utf-8")


def _chosen_for(report: str, by: _By) -> dict[str, str]:
    """The parameters of a report that choose a definition set and whose hits count, but the defaults'."""
    asked = [(DEFINITIONS, by.definitions, ADOBE), (ACTIVITY, by.activity, ALL)]
    return {name: value for name, value, default in asked if value != default and _takes(report, name)}


def _takes(report: str, parameter: str) -> bool:
    text = resources.find(f"notebooks/reports/{report}.ipynb").read_text("utf-8")
    return f"{parameter}: str" in text


def _not_following(reports: Iterable[str], activity: str) -> list[str]:
    """A note on the reports of the user's own that do not know whose hits are asked for."""
    others = [] if activity == ALL else sorted(report for report in reports if not _takes(report, ACTIVITY))
    return [f"{', '.join(others)}: no parameter 'activity', so all hits count there."] if others else []


def _is_platform_wide(report: str) -> bool:
    try:
        return REPORTS[report].scope == PLATFORM
    except TrackkitError:  # its template or notebook is wrong: it fails once, by itself
        return True


def _selected(reports: list[str] | None) -> list[str]:
    return [require_report(name) for name in (REPORTS if reports is None else reports)]
