"""A soak of the store: loads of mixed logs, killed, repeated and late, end in the figures of one clean load.

    python benchmarks/soak.py --ingests 200 --events 200000

Leaves with exit code 1 when a figure, or a row of the store, differs. Prints what it did and how long loads took.
"""

import argparse
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import polars as pl
from mixed import write

from trackkit import schema
from trackkit.engine.measure import measure
from trackkit.store import Store, open_store

KILLED, REPEATED = 0.3, 0.3  # how often a load is killed, and a file that was loaded before is loaded again
OPTIONS = ("--delivery-field", "mail.tags.campaign[0]")
PLACE = ("source_file", "source_row")  # of copies, which one stays depends on what came first


def ingest(store: Path, *sources: Path, seconds: float | None = None) -> bool:
    """Load files in a process of its own; return whether it ended by itself."""
    command = [sys.executable, "-m", "trackkit", "ingest", *map(str, sources), "--store", str(store), *OPTIONS]
    load = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        _, said = load.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        load.send_signal(signal.SIGKILL)
        load.communicate()
        return False
    if load.returncode:
        sys.exit(f"A load failed: {said}")
    return True


def soak(folder: Path, ingests: int, events: int, seed: int) -> None:
    """Load and kill as asked; then compare with one clean load."""
    chance = random.Random(seed)
    raw, store = folder / "raw", folder / "store"
    written = write(raw, events, seed, size=max(200, events // 100))
    waiting = sorted(path for path in raw.rglob("*") if path.is_file())
    chance.shuffle(waiting)  # days late, in any order
    known: list[Path] = []
    killed, seconds = 0, [1.5]
    for number in range(ingests):
        share = -(-len(waiting) // (ingests - number))
        again = chance.sample(known, min(len(known), 2)) if chance.random() < REPEATED else []
        now, waiting = waiting[:share] + again, waiting[share:]
        if not now:
            now = chance.sample(known, min(len(known), 3))
        until = chance.uniform(0, 1.5 * sorted(seconds)[len(seconds) // 2]) if chance.random() < KILLED else None
        began = time.monotonic()
        if not ingest(store, *now, seconds=until):
            killed += 1
            waiting += now  # it comes again, later
            continue
        seconds.append(time.monotonic() - began)
        known += now
    if waiting:
        ingest(store, *waiting)
    print(f"{ingests} loads of {sum(written.values()):,} events, {killed} killed; a load took "
          f"{sorted(seconds)[len(seconds) // 2]:.1f} s in the middle, {max(seconds):.1f} s at most")  # fmt: skip
    began = time.monotonic()
    ingest(folder / "clean", raw)
    print(f"One clean load: {time.monotonic() - began:.1f} s")
    compare(open_store(store), open_store(folder / "clean"))


def compare(one: Store, other: Store) -> None:
    """Leave with 1 unless two stores hold the same rows and give the same figures."""
    differing = [f"measure by {by}" for by in ("delivery_id", "domain", "day", "link_id", "browser", "")
                 if not measure(one, by=by or []).equals(measure(other, by=by or []))]  # fmt: skip
    for table in schema.TABLES:
        frames = [_rows(store, table) for store in (one, other)]
        if not frames[0].equals(frames[1]):
            differing.append(f"table {table}: {frames[0].height:,} and {frames[1].height:,} rows")
    print("Differing: " + "; ".join(differing) if differing else "Every figure and every row is the same.")
    sys.exit(bool(differing))


def _rows(store: Store, table: str) -> pl.DataFrame:
    rows = store.scan(table).drop(PLACE, strict=False)
    return rows.collect().sort(pl.all(), nulls_last=True)


if __name__ == "__main__":
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--ingests", type=int, default=200)
    asked.add_argument("--events", type=int, default=200_000)
    asked.add_argument("--seed", type=int, default=1)
    given = asked.parse_args()
    with tempfile.TemporaryDirectory(prefix="trackkit-soak-") as place:
        soak(Path(place), given.ingests, given.events, given.seed)
