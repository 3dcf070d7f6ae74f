"""The reports of a run, rendered by the workers of a dask.distributed cluster: `run --scheduler tcp://host:port`.

Workers see the same store and the same output folder under the same names. They receive names, and return a status, a
path, a digest and seconds; no data is sent. Each worker process keeps one fork server, started by its first report,
which ends with it. If a worker dies, dask gives its reports to others, up to the scheduler's `allowed-failures`. Every
worker is checked before it renders (one that joins later: with its first report). Reports that it refuses are given to
others, and the pages that it renders must appear in the output folder here.
"""

import asyncio
import hashlib
import json
import logging
import os
import queue
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import chdir, contextmanager, nullcontext, suppress
from dataclasses import asdict
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

from trackkit import __version__
from trackkit.errors import RequestError, TrackkitError
from trackkit.project import current
from trackkit.report.formats import require_formats
from trackkit.report.workers import Renderers
from trackkit.runs.executors import Result, Results, failed, rendered
from trackkit.runs.manifest import Job, made_of
from trackkit.store import open_store

Client = Any  # of distributed, which is imported only if needed and has few types
SCHEMES = ("tcp://", "tls://", "ws://", "wss://")
CONNECT_SECONDS, LOOK_SECONDS = 5, 60
ALONE_SECONDS = 60  # how long a run waits for a new worker after the last one is gone
TICK_SECONDS, SEEN_SECONDS = 5, 10  # between two looks at the workers; until a page must be visible here
TRIES = 3  # for a report that workers refuse
PROBE = ".probe-"
_STARTING = threading.Lock()
_renderers: Renderers | None = None  # in a worker: created by its first report


def by_cluster(jobs: list[Job], store: str, folder: Path, address: str) -> Results:
    """Render jobs into `folder` on the workers of the scheduler at `address`; yield each with its result when done.

    Raises RequestError before anything is rendered if the scheduler cannot be reached or has no workers, or if a worker
    runs another trackkit or sees another store, output folder, notebook or template. Such a worker that joins later is
    left out.
    """
    require_dask(address)
    if not jobs:
        return
    location = store if "://" in store else str(Path(store).resolve())
    asked = sorted({(job.report, job.lang) for job in jobs})
    with _connected(address) as client, _probe(folder.resolve()) as probe:
        request = {
            "version": __version__,
            "store": location,
            "out": str(folder.resolve()),
            "folder": _folder_of_files(),
            "mark": probe,
            "formats": list(jobs[0].formats),
            "made": [[report, lang, made_of(report, lang)] for report, lang in asked],
            "load": open_store(location).loads[-1]["load_id"],
        }
        crew = Crew(client, request)
        crew.require_fit()
        yield from _Sending(client, crew, request, folder).results(jobs)


def require_dask(address: str) -> None:
    """Refuse anything but the address of a scheduler, and require dask.distributed to be installed."""
    if not address.startswith(SCHEMES):
        raise RequestError(f"--scheduler takes an address such as tcp://host:8786, not {address!r}.")
    try:
        import distributed  # noqa: F401
    except ModuleNotFoundError:
        raise RequestError("--scheduler needs dask.distributed: pip install 'trackkit[dask]' brings it.") from None


@contextmanager
def _connected(address: str) -> Iterator[Client]:
    try:
        client: Client = import_module("distributed").Client(address, timeout=CONNECT_SECONDS, set_as_default=False)
    except (OSError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise RequestError(f"No dask scheduler answers at {address} ({reason}); start one, or leave it out.") from None
    try:
        yield client
    finally:
        with suppress(Exception):  # the scheduler may be gone
            client.run(end_idle_renderers, on_error="ignore")
        client.close(timeout=CONNECT_SECONDS)


@contextmanager
def _probe(folder: Path) -> Iterator[str]:
    """Keep a file in the output folder during the run, by which workers recognise it; yield its name."""
    for stale in folder.glob(f"{PROBE}*"):  # left by a run that was killed
        stale.unlink(missing_ok=True)
    probe = folder / f"{PROBE}{secrets.token_hex(8)}"
    probe.touch()
    try:
        yield probe.name
    finally:
        probe.unlink(missing_ok=True)


class Crew:
    """The workers of a cluster, with the reason why each checked one is not fit (None if it is)."""

    def __init__(self, client: Client, request: dict[str, Any]) -> None:
        self._client, self._request = client, request
        self._reasons: dict[str, str | None] = {}

    def present(self) -> set[str]:
        """Return the addresses of the workers present; none if the scheduler is gone."""
        try:
            return set(self._client.nthreads())
        except Exception:
            return set()

    def fit(self) -> set[str]:
        """Return the fit workers present, after checking those that are new."""
        present = self.present()
        if new := sorted(present - self._reasons.keys()):
            for worker, reason in self._client.run(check_worker, self._request, workers=new, on_error="return").items():
                self.leave_out(worker, _as_text(reason)) if reason else self._reasons.setdefault(worker, None)
        return {worker for worker in present if self._reasons.get(worker, "") is None}

    def require_fit(self) -> None:
        """Refuse a cluster without workers, or with a worker that would render differently from this process."""
        if not self.present():
            raise RequestError(f"The dask scheduler at {self._client.scheduler.address} has no workers: start some.")
        reasons = self._client.run(check_worker, self._request, on_error="return")
        for worker, reason in sorted(reasons.items()):
            if reason:
                raise RequestError(f"The worker {worker} {_as_text(reason)}.")
        self._reasons = dict.fromkeys(reasons)

    def leave_out(self, worker: str, why: str) -> None:
        """Give a worker no more jobs, and log it once."""
        if not self._reasons.get(worker):
            logging.getLogger(__name__).warning("The worker %s is left out: it %s.", worker, why)
        self._reasons[worker] = why


def _as_text(reason: str | BaseException) -> str:
    if isinstance(reason, ImportError | AttributeError):
        return f"does not have this trackkit, {__version__}: {reason}"
    if isinstance(reason, BaseException):
        return f"could not be asked: {str(reason) or type(reason).__name__}"
    return reason


class _Submission(NamedTuple):
    """A submitted job: `workers` may render it (any if empty); `times` counts its submissions."""

    job: Job
    future: Any
    workers: set[str]
    times: int


class _Sending:
    """Submits jobs to a cluster until each is rendered or no fit worker is left."""

    def __init__(self, client: Client, crew: Crew, request: dict[str, Any], folder: Path) -> None:
        self._client, self._crew, self._request, self._folder = client, crew, request, folder
        self._run, self._done = f"trackkit-{secrets.token_hex(4)}", queue.SimpleQueue[Any]()
        self._submissions: dict[Any, _Submission] = {}
        self._count = 0

    def results(self, jobs: list[Job]) -> Iterator[tuple[Job, Result]]:
        """Yield each job with its result when it is done."""
        seconds_alone = 0
        for job in jobs:
            self._send(job, set(), 1)
        try:
            while self._submissions:
                with suppress(queue.Empty):
                    submission = self._submissions.pop(self._done.get(timeout=TICK_SECONDS).key, None)
                    if submission and (result := self._final_result(submission)):  # None: sent again
                        yield submission.job, result
                    continue
                present = self._crew.present()
                seconds_alone = 0 if present else seconds_alone + TICK_SECONDS
                stuck = [key for key, sent in self._submissions.items() if self._is_stuck(sent, present, seconds_alone)]
                for key in stuck:
                    submission = self._submissions.pop(key)
                    submission.future.cancel()
                    if result := self._resend(submission, "The report was not rendered: the cluster has no workers."):
                        yield submission.job, result
        finally:
            self._client.cancel([submission.future for submission in self._submissions.values()])

    def _send(self, job: Job, workers: set[str], times: int) -> None:
        self._count += 1
        options = {"workers": sorted(workers)} if workers else {}
        key = (self._run, self._count)
        future = self._client.submit(render_job, self._request, asdict(job), key=key, pure=False, **options)
        self._submissions[future.key] = _Submission(job, future, workers, times)
        future.add_done_callback(self._done.put)

    @staticmethod
    def _is_stuck(submission: _Submission, present: set[str], seconds_alone: int) -> bool:
        """Whether no worker is present that may render a job, or none at all for too long."""
        allowed = submission.workers
        return seconds_alone >= ALONE_SECONDS or bool(allowed and present and not allowed & present)

    def _final_result(self, submission: _Submission) -> Result | None:
        result = _result(submission.future)
        if result["status"] == "refused":
            if worker := result.get("worker"):
                self._crew.leave_out(worker, result["error"])
            return self._resend(submission, f"No worker is fit for the report; one {result['error']}.")
        return self._verified(result) if result["status"] == "done" else result

    def _resend(self, submission: _Submission, why: str) -> Result | None:
        """Submit a job again to fit workers; return its failure if there are none or it was refused too often."""
        fit = self._crew.fit() if submission.times < TRIES else set()
        if not fit:
            return failed(why)
        self._send(submission.job, fit, submission.times + 1)
        return None

    def _verified(self, result: Result) -> Result:
        """Wait until a rendered page is visible here, unchanged; return the result, or a failure if it never is."""
        deadline, page = time.monotonic() + SEEN_SECONDS, self._folder / result["path"]
        while True:
            with suppress(OSError):
                if hashlib.sha256(page.read_bytes()).hexdigest() == result["sha256"]:
                    return result
            if time.monotonic() > deadline:
                return failed(f"A worker rendered {result['path']}, but it is not in the output folder here.")
            time.sleep(0.2)


def _result(future: Any) -> Result:
    from distributed import KilledWorker

    try:
        result: Result = future.result()
        return result
    except KilledWorker as error:
        deaths, last = error.allowed_failures + 1, error.last_worker.address
        return failed(f"The report stopped with the workers that rendered it ({deaths}, the last {last}).")
    except (ImportError, AttributeError) as error:  # the worker cannot unpickle the request
        return {"status": "refused", "error": _as_text(error)}
    except Exception as error:  # such as cancelled with its scheduler
        return failed(f"The report stopped: {str(error) or type(error).__name__}")


async def check_worker(request: dict[str, Any]) -> str | None:
    """On a worker: return why it would render differently from the run; None if it would not."""
    return await asyncio.wait_for(asyncio.to_thread(_why_unfit, request), LOOK_SECONDS)


def _why_unfit(request: dict[str, Any]) -> str | None:
    if request["version"] != __version__:
        return f"runs trackkit {__version__}, not {request['version']}"
    out = Path(request["out"])
    if not (out / request["mark"]).exists():
        return f"does not see the output folder {out}: it must be shared"
    try:
        require_formats(request["formats"])
        trial = out / f"{request['mark']}-{secrets.token_hex(4)}"
        trial.touch()
        trial.unlink()
        loads = [load["load_id"] for load in open_store(request["store"]).loads]
        if request["load"] not in loads:  # newer ones may follow
            return f"sees another store at {request['store']}"
        with chdir(_working_folder(request)) if _working_folder(request) != os.getcwd() else nullcontext():
            differing = {report for report, lang, made in request["made"] if made_of(report, lang) != made}
    except (OSError, IndexError, TrackkitError) as error:
        return f"cannot render: {error}"
    return f"has other notebooks, templates or words for {', '.join(sorted(differing))}" if differing else None


def _folder_of_files() -> str:
    project = current()
    return str(project.folder) if project else os.getcwd()


def _working_folder(request: dict[str, Any]) -> str:
    """The folder whose notebooks and templates win: the run's, if this worker sees it."""
    return request["folder"] if Path(request["folder"]).is_dir() else os.getcwd()


def render_job(request: dict[str, Any], job: dict[str, Any]) -> Result:
    """On a worker: render one job and return its result; a worker that is not fit refuses, with the reason."""
    from distributed import get_worker

    with _STARTING:
        reason = _cached_check(json.dumps(request))
    if reason:
        return {"status": "refused", "error": reason, "worker": get_worker().address}
    renderers = _shared_renderers(get_worker().state.nthreads)
    return rendered(renderers, request["store"], Job(**job), Path(request["out"]), at=_working_folder(request))


@cache
def _cached_check(request: str) -> str | None:
    return _why_unfit(json.loads(request))


def end_idle_renderers() -> None:
    """On a worker: end the idle renderers; the fork server stays for the next run."""
    if _renderers:
        _renderers.end_idle()


def _shared_renderers(count: int) -> Renderers:
    global _renderers
    with _STARTING:
        if _renderers is None:
            _renderers = Renderers(count).__enter__()
    return _renderers
