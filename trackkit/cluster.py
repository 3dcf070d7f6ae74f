"""The reports of a run, rendered by the workers of a dask.distributed cluster: `run --scheduler tcp://host:port`.

Workers see the same store and the same output folder, under the same names. They are told names and tell back a status,
a path, a digest and seconds; no row of data travels. Each worker process keeps one fork server of reports, started by
its first report, which ends with it. A worker that dies is dask's affair: its reports are given to others, as often as
the scheduler's `allowed-failures` says.
"""

import asyncio
import os
import queue
import secrets
import threading
from collections.abc import Iterator
from contextlib import chdir, contextmanager, nullcontext, suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trackkit import __version__
from trackkit.errors import RequestError, TrackkitError
from trackkit.executors import Result, failed, rendered
from trackkit.manifest import Job, made_of
from trackkit.report.workers import Renderers
from trackkit.store import open_store

if TYPE_CHECKING:
    from distributed import Client

SCHEMES = ("tcp://", "tls://", "ws://", "wss://")
CONNECT_SECONDS, LOOK_SECONDS = 5, 60
ALONE_SECONDS = 60  # how long a run waits for a worker when the last one is gone
_STARTING = threading.Lock()
_renderers: Renderers | None = None  # in a worker: made by its first report


def by_cluster(jobs: list[Job], store: str, folder: Path, address: str) -> Iterator[tuple[Job, Result]]:
    """Render jobs into `folder` on the workers of the scheduler at `address`; yield each with its result when done.

    Raises RequestError before anything is rendered where the scheduler is not reached, has no worker, or a worker runs
    another trackkit, or sees another store, output folder, notebook or template.
    """
    require_dask(address)
    if not jobs:
        return
    asked = {
        "version": __version__, "store": store if "://" in store else str(Path(store).resolve()),
        "out": str(folder.resolve()), "folder": os.getcwd(),
    }  # fmt: skip
    with _connected(address) as client:
        _require_like(client, asked, jobs)
        yield from _finished(client, asked, jobs)


def require_dask(address: str) -> None:
    """Refuse what is no address of a scheduler, and a place where dask.distributed is not installed."""
    if not address.startswith(SCHEMES):
        raise RequestError(f"--scheduler takes an address such as tcp://host:8786, not {address!r}.")
    try:
        import distributed  # noqa: F401
    except ModuleNotFoundError:
        raise RequestError("--scheduler needs dask.distributed: pip install 'trackkit[dask]' brings it.") from None


@contextmanager
def _connected(address: str) -> Iterator["Client"]:
    from distributed import Client

    try:
        client = Client(address, timeout=CONNECT_SECONDS, set_as_default=False)
    except (OSError, ValueError) as error:
        said = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise RequestError(f"No dask scheduler answers at {address} ({said}); start one, or leave it out.") from None
    try:
        yield client
    finally:
        with suppress(Exception):  # the scheduler may be gone
            client.run(rest, on_error="ignore")
        client.close(timeout=CONNECT_SECONDS)


def _require_like(client: "Client", asked: dict[str, str], jobs: list[Job]) -> None:
    """Refuse a cluster without workers, and any worker that would not render as this process would."""
    mark = Path(asked["out"]) / f".probe-{secrets.token_hex(8)}"
    made = {report: made_of(report, jobs[0].lang) for report in {job.report for job in jobs}}
    seen = {
        "mark": mark.name,
        "lang": jobs[0].lang,
        "made": made,
        "load": open_store(asked["store"]).loads[-1]["load_id"],
    }
    mark.touch()
    try:
        found = client.run(look, asked | seen, on_error="return")
    finally:
        mark.unlink(missing_ok=True)
    if not found:
        raise RequestError(f"The dask scheduler at {client.scheduler.address} has no workers: start some.")
    for worker, said in sorted(found.items()):
        if isinstance(said, ImportError | AttributeError):
            said = f"does not have this trackkit, {__version__}: {said}"
        elif isinstance(said, BaseException):
            said = f"could not be asked: {str(said) or type(said).__name__}"
        if said:
            raise RequestError(f"The worker {worker} {said}.")


def _finished(client: "Client", asked: dict[str, str], jobs: list[Job]) -> Iterator[tuple[Job, Result]]:
    done: queue.SimpleQueue[Any] = queue.SimpleQueue()
    run = f"trackkit-{secrets.token_hex(4)}"
    futures = {}
    for place, job in enumerate(jobs):
        future = client.submit(work, asked, asdict(job), key=(run, place), pure=False)
        futures[future.key] = (future, job)
        future.add_done_callback(done.put)
    try:
        while futures:
            key = _next(client, done)
            for each in [key] if key else list(futures):
                future, job = futures.pop(each)
                yield (
                    job,
                    _result(future) if key else failed("The report was not rendered: the cluster has no workers."),
                )
    finally:
        client.cancel([future for future, _ in futures.values()])


def _next(client: "Client", done: "queue.SimpleQueue[Any]") -> Any:
    """Return the key of the next future that is done; None when no worker is left, and none came for a while."""
    alone = 0
    while alone < ALONE_SECONDS:
        try:
            return done.get(timeout=5).key
        except queue.Empty:
            alone = 0 if _has_workers(client) else alone + 5
    return None


def _has_workers(client: "Client") -> bool:
    try:
        return bool(client.nthreads())
    except Exception:  # the scheduler is gone, and its workers with it
        return False


def _result(future: Any) -> Result:
    from distributed import KilledWorker

    try:
        return future.result()
    except KilledWorker as error:
        deaths, last = error.allowed_failures + 1, error.last_worker.address
        return failed(f"The report stopped with the workers that rendered it ({deaths}, the last {last}).")
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
        if open_store(asked["store"]).loads[-1]["load_id"] != asked["load"]:
            return f"sees another store at {asked['store']}"
        with chdir(_place(asked)) if _place(asked) != os.getcwd() else nullcontext():
            other = [report for report, made in asked["made"].items() if made_of(report, asked["lang"]) != made]
    except (OSError, IndexError, TrackkitError) as error:
        return f"cannot render: {error}"
    return f"has other notebooks, templates or words for {', '.join(sorted(other))}" if other else None


def _place(asked: dict[str, Any]) -> str:
    """The folder whose notebooks and templates win: that of whoever asks, where this worker sees it."""
    return asked["folder"] if Path(asked["folder"]).is_dir() else os.getcwd()


def work(asked: dict[str, str], job: dict[str, Any]) -> Result:
    """On a worker: render one job and return its result; a worker of another version, which came later, refuses."""
    from distributed import get_worker

    if asked["version"] != __version__:
        return failed(f"The worker {get_worker().address} runs trackkit {__version__}, not {asked['version']}.")
    ours = _warm(get_worker().state.nthreads)
    return rendered(ours, asked["store"], Job(**job), Path(asked["out"]), at=_place(asked))


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
