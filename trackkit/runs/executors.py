"""Who renders the reports of a run: here, the cores of this machine; `trackkit.runs.cluster` is the other one.

An executor is given the jobs that are due and yields each with its result as it is done, in any order. All else of a
run (what is due, the manifest, the index) knows nothing of where a report was rendered.
"""

import hashlib
import os
import time
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

from trackkit.report.workers import Renderers
from trackkit.runs.manifest import Job

Results = Generator[tuple["Job", "Result"], None, None]
Result = dict[str, Any]  # what the manifest keeps of a rendered job: status, and path, sha256, seconds or error


def locally(jobs: list[Job], store: str, folder: Path, at_once: int | None = None) -> Results:
    """Render jobs into `folder`, so many at once (one per core, four at most); yield each with its result when done."""
    if not jobs:
        return
    count = min(at_once or min(os.cpu_count() or 1, 4), len(jobs))
    with Renderers(count) as renderers, ThreadPoolExecutor(count) as pool:
        rendering = {pool.submit(rendered, renderers, store, job, folder): job for job in jobs}
        try:
            for finished in as_completed(rendering):
                yield rendering[finished], finished.result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)  # interrupted: what has not begun is not begun


def rendered(renderers: Renderers, store: str, job: Job, folder: Path, at: str | None = None) -> Result:
    """Render one job, with the notebooks and templates found from the folder `at`; an error is an answer too.

    A report whose files of the store are gone is rendered once more: something was forgotten while it read them.
    """
    started = time.monotonic()
    asked = {"delivery": job.delivery or None, "lang": job.lang, "parameters": job.parameters, "assets": job.assets}
    for is_last in (False, True):
        try:
            path = renderers.render(job.report, store, folder, at=at, **asked)
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
        except Exception as error:  # whatever it is, a full disk included, the others go on
            said = str(error) or type(error).__name__
            if is_last or ".parquet" not in said:
                return failed(said)
        else:
            break
    seconds = round(time.monotonic() - started, 3)
    return {"status": "done", "path": path.relative_to(folder).as_posix(), "sha256": digest, "seconds": seconds}


def failed(why: str) -> Result:
    """Return the result of a job that could not be rendered."""
    return {"status": "failed", "error": why}
