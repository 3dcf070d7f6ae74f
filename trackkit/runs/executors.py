"""Executors render the reports of a run: here, on the cores of this machine; in `cluster`, on dask workers.

An executor takes the jobs that are due and yields each with its result when it is done, in any order. The rest of a run
(what is due, the manifest, the index) does not depend on where reports are rendered.
"""

import hashlib
import os
import time
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

from trackkit.report.workers import Renderers
from trackkit.runs.leaves import warnings_of
from trackkit.runs.manifest import Job

Results = Generator[tuple["Job", "Result"], None, None]
Result = dict[str, Any]  # a job's entry in the manifest: status, and path, sha256, seconds and warnings, or error


def locally(jobs: list[Job], store: str, folder: Path, at_once: int | None = None) -> Results:
    """Render jobs into `folder`, `at_once` of them (one per core, four at most); yield each with its result."""
    if not jobs:
        return
    count = min(at_once or min(os.cpu_count() or 1, 4), len(jobs))
    with Renderers(count) as renderers, ThreadPoolExecutor(count) as pool:
        jobs_of = {pool.submit(rendered, renderers, store, job, folder): job for job in jobs}
        try:
            for finished in as_completed(jobs_of):
                yield jobs_of[finished], finished.result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)  # if interrupted, no further job is begun


def rendered(renderers: Renderers, store: str, job: Job, folder: Path, at: str | None = None) -> Result:
    """Render one job with the notebooks and templates of the folder `at`; an error is returned as a result.

    If a file of the store has vanished, the report is rendered once more: data was forgotten while it was read.
    """
    started = time.monotonic()
    arguments = {
        "delivery": job.delivery or None,
        "lang": job.lang,
        "parameters": job.parameters,
        "formats": job.formats,
    }
    for is_last in (False, True):
        try:
            path = renderers.render(job.report, store, folder, at=at, **arguments)
            page = path.read_bytes()
            digest = hashlib.sha256(page).hexdigest()
        except Exception as error:  # whatever it is, even a full disk, the others go on
            message = str(error) or type(error).__name__
            if is_last or ".parquet" not in message:
                return failed(message)
        else:
            break
    seconds = round(time.monotonic() - started, 3)
    made = {"path": path.relative_to(folder).as_posix(), "sha256": digest, "seconds": seconds}
    return {"status": "done", **made, "warnings": warnings_of(page)}


def failed(why: str) -> Result:
    """Return the result of a job that could not be rendered."""
    return {"status": "failed", "error": why}
