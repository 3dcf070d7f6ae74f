"""The reports of a run, rendered by the workers of a dask.distributed cluster: `run --scheduler tcp://host:port`.

Workers see the same store and the same output folder, under the same names. They are told names and tell back a status,
a path, a digest and seconds; no row of data travels. Each worker process keeps one fork server of reports, started by
its first report, which ends with it. A worker that dies is dask's affair: its reports are given to others, as often as
the scheduler's `allowed-failures` says. Every worker is looked at before it renders, one that joins later by its first
report: what it refuses is given to others, and what it renders must lie in the folder here.
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
from trackkit.report.workers import Renderers
from trackkit.runs.executors import Result, Results, failed, rendered
from trackkit.runs.manifest import Job, made_of
from trackkit.store import open_store

Client = Any  # of distributed, which is imported when it is needed and has few types
SCHEMES = ("tcp://", "tls://", "ws://", "wss://")
CONNECT_SECONDS, LOOK_SECONDS = 5, 60
ALONE_SECONDS = 60  # how long a run waits for a worker when the last one is gone
TICK_SECONDS, SEEN_SECONDS = 5, 10  # between two looks at who is there; until a page is seen in a shared folder
TRIES = 3  # of a report that workers refuse
PROBE = ".probe-"
_STARTING = threading.Lock()
_renderers: Renderers | None = None  # in a worker: made by its first report


def by_cluster(jobs: list[Job], store: str, folder: Path, address: str) -> Results:
    """Render jobs into `folder` on the workers of the scheduler at `address`; yield each with its result when done.

    Raises RequestError before anything is rendered where the scheduler is not reached, has no worker, or a worker runs
    another trackkit, or sees another store, output folder, notebook or template. A worker of that kind that joins later
    is left out.
    """
    require_dask(address)
    if not jobs:
        return
    place, lang = store if "://" in store else str(Path(store).resolve()), jobs[0].lang
    with _connected(address) as client, _probe(folder.resolve()) as mark:
        asked = {
            "version": __version__,
            "store": place,
            "out": str(folder.resolve()),
            "folder": os.getcwd(),
            "mark": mark,
            "lang": lang,
            "made": {report: made_of(report, lang) for report in {job.report for job in jobs}},
            "load": open_store(place).loads[-1]["load_id"],
        }
        crew = Crew(client, asked)
        crew.require_fit()
        yield from _Sending(client, crew, asked, folder).results(jobs)


def require_dask(address: str) -> None:
    """Refuse what is no address of a scheduler, and a place where dask.distributed is not installed."""
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
        said = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise RequestError(f"No dask scheduler answers at {address} ({said}); start one, or leave it out.") from None
    try:
        yield client
    finally:
        with suppress(Exception):  # the scheduler may be gone
            client.run(rest, on_error="ignore")
        client.close(timeout=CONNECT_SECONDS)


@contextmanager
def _probe(folder: Path) -> Iterator[str]:
    """A file by which workers know the output folder, for as long as the run goes on; return its name."""
    for left in folder.glob(f"{PROBE}*"):  # by a run that was killed
        left.unlink(missing_ok=True)
    mark = folder / f"{PROBE}{secrets.token_hex(8)}"
    mark.touch()
    try:
        yield mark.name
    finally:
        mark.unlink(missing_ok=True)


class Crew:
    """The workers of a cluster that were looked at, and what keeps each from rendering as this process would."""

    def __init__(self, client: Client, asked: dict[str, Any]) -> None:
        self._client, self._asked = client, asked
        self._said: dict[str, str | None] = {}

    def present(self) -> set[str]:
        """Return the addresses of the workers that are there; none when the scheduler is gone, its workers with it."""
        try:
            return set(self._client.nthreads())
        except Exception:
            return set()

    def fit(self) -> set[str]:
        """Return the workers there that are fit; those that nobody has looked at yet are looked at."""
        present = self.present()
        if new := sorted(present - self._said.keys()):
            for worker, said in self._client.run(look, self._asked, workers=new, on_error="return").items():
                self.leave_out(worker, _words(said)) if said else self._said.setdefault(worker, None)
        return {worker for worker in present if self._said.get(worker, "") is None}

    def require_fit(self) -> None:
        """Refuse a cluster without workers, and any worker that would not render as this process would."""
        if not self.present():
            raise RequestError(f"The dask scheduler at {self._client.scheduler.address} has no workers: start some.")
        found = self._client.run(look, self._asked, on_error="return")
        for worker, said in sorted(found.items()):
            if said:
                raise RequestError(f"The worker {worker} {_words(said)}.")
        self._said = dict.fromkeys(found)

    def leave_out(self, worker: str, why: str) -> None:
        """Give a worker nothing any more, and say so once."""
        if not self._said.get(worker):
            logging.getLogger(__name__).warning("The worker %s is left out: it %s.", worker, why)
        self._said[worker] = why


def _words(said: str | BaseException) -> str:
    if isinstance(said, ImportError | AttributeError):
        return f"does not have this trackkit, {__version__}: {said}"
    if isinstance(said, BaseException):
        return f"could not be asked: {str(said) or type(said).__name__}"
    return said


class _Sent(NamedTuple):
    """A job on its way: `workers` are those that may have it, all when empty; it has been sent so many times."""

    job: Job
    future: Any
    workers: set[str]
    times: int


class _Sending:
    """Jobs given to a cluster, each until it is rendered or nobody fit is left to render it."""

    def __init__(self, client: Client, crew: Crew, asked: dict[str, Any], folder: Path) -> None:
        self._client, self._crew, self._asked, self._folder = client, crew, asked, folder
        self._run, self._done = f"trackkit-{secrets.token_hex(4)}", queue.SimpleQueue[Any]()
        self._sent: dict[Any, _Sent] = {}
        self._count = 0

    def results(self, jobs: list[Job]) -> Iterator[tuple[Job, Result]]:
        """Yield each job with its result when it is done."""
        alone = 0
        for job in jobs:
            self._send(job, set(), 1)
        try:
            while self._sent:
                with suppress(queue.Empty):
                    one = self._sent.pop(self._done.get(timeout=TICK_SECONDS).key, None)
                    if one and (result := self._settled(one)):  # None: sent again
                        yield one.job, result
                    continue
                present = self._crew.present()
                alone = 0 if present else alone + TICK_SECONDS
                for key in [key for key, one in self._sent.items() if self._is_stuck(one, present, alone)]:
                    one = self._sent.pop(key)
                    one.future.cancel()
                    if result := self._sent_again(one, "The report was not rendered: the cluster has no workers."):
                        yield one.job, result
        finally:
            self._client.cancel([one.future for one in self._sent.values()])

    def _send(self, job: Job, workers: set[str], times: int) -> None:
        self._count += 1
        how = {"workers": sorted(workers)} if workers else {}
        key = (self._run, self._count)
        future = self._client.submit(work, self._asked, asdict(job), key=key, pure=False, **how)
        self._sent[future.key] = _Sent(job, future, workers, times)
        future.add_done_callback(self._done.put)

    @staticmethod
    def _is_stuck(one: _Sent, present: set[str], alone: int) -> bool:
        """Whether nobody is there who may have a job, be it that nobody was for a while."""
        return alone >= ALONE_SECONDS or bool(one.workers and present and not one.workers & present)

    def _settled(self, one: _Sent) -> Result | None:
        result = _result(one.future)
        if result["status"] == "refused":
            if worker := result.get("worker"):
                self._crew.leave_out(worker, result["error"])
            return self._sent_again(one, f"No worker is fit for the report; one {result['error']}.")
        return self._seen(result) if result["status"] == "done" else result

    def _sent_again(self, one: _Sent, why: str) -> Result | None:
        """Give a job to those who are fit; return its failure where nobody is, or too many were not."""
        fit = self._crew.fit() if one.times < TRIES else set()
        if not fit:
            return failed(why)
        self._send(one.job, fit, one.times + 1)
        return None

    def _seen(self, result: Result) -> Result:
        """The result of a worker whose page lies here, as it was written; others may take a moment to be seen."""
        until, page = time.monotonic() + SEEN_SECONDS, self._folder / result["path"]
        while True:
            with suppress(OSError):
                if hashlib.sha256(page.read_bytes()).hexdigest() == result["sha256"]:
                    return result
            if time.monotonic() > until:
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
    except (ImportError, AttributeError) as error:  # the worker cannot even read what it is asked
        return {"status": "refused", "error": _words(error)}
    except Exception as error:  # cancelled with its scheduler, say
        return failed(f"The report stopped: {str(error) or type(error).__name__}")


async def look(asked: dict[str, Any]) -> str | None:
    """On a worker: say what keeps it from rendering as whoever asks would; None when nothing does."""
    return await asyncio.wait_for(asyncio.to_thread(_looked, asked), LOOK_SECONDS)


def _looked(asked: dict[str, Any]) -> str | None:
    if asked["version"] != __version__:
        return f"runs trackkit {__version__}, not {asked['version']}"
    out = Path(asked["out"])
    if not (out / asked["mark"]).exists():
        return f"does not see the output folder {out}: it must be shared"
    try:
        mine = out / f"{asked['mark']}-{secrets.token_hex(4)}"
        mine.touch()
        mine.unlink()
        if asked["load"] not in [
            load["load_id"] for load in open_store(asked["store"]).loads
        ]:  # newer ones may be there
            return f"sees another store at {asked['store']}"
        with chdir(_place(asked)) if _place(asked) != os.getcwd() else nullcontext():
            other = [report for report, made in asked["made"].items() if made_of(report, asked["lang"]) != made]
    except (OSError, IndexError, TrackkitError) as error:
        return f"cannot render: {error}"
    return f"has other notebooks, templates or words for {', '.join(sorted(other))}" if other else None


def _place(asked: dict[str, Any]) -> str:
    """The folder whose notebooks and templates win: that of whoever asks, where this worker sees it."""
    return asked["folder"] if Path(asked["folder"]).is_dir() else os.getcwd()


def work(asked: dict[str, Any], job: dict[str, Any]) -> Result:
    """On a worker: render one job and return its result; one that came later and is not fit refuses, and says why."""
    from distributed import get_worker

    with _STARTING:
        why = _kept_look(json.dumps(asked))
    if why:
        return {"status": "refused", "error": why, "worker": get_worker().address}
    ours = _warm(get_worker().state.nthreads)
    return rendered(ours, asked["store"], Job(**job), Path(asked["out"]), at=_place(asked))


@cache
def _kept_look(asked: str) -> str | None:
    return _looked(json.loads(asked))


def rest() -> None:
    """On a worker: end the renderers that nobody uses; the fork server stays for the next run."""
    if _renderers:
        _renderers.rest()


def _warm(count: int) -> Renderers:
    global _renderers
    with _STARTING:
        if _renderers is None:
            _renderers = Renderers(count).__enter__()
    return _renderers
