"""A campaign beside its deliveries: the time to measure it and to render its Overview, over the sum for each of them.

    python benchmarks/scopes.py STORE --campaign 12

The store is one of `benchmarks/stores.py`. A campaign that takes longer than all its deliveries one by one would be
slower than the number of its rows suggests. Processor seconds are those of this process and of all that it started.
"""

import argparse
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import polars as pl

import trackkit as tk
from trackkit.engine.scope import Scope
from trackkit.report.workers import Renderers

METRICS = ["total_opens", "unique_opens", "total_clicks", "unique_clicks", "unique_people_clicks", "transactions"]
Seconds = tuple[float, float]  # by the wall, by the processor


def timed(work: Callable[[], object], rounds: int) -> Seconds:
    """Return the median time of some rounds."""
    found = sorted(_once(work) for _ in range(rounds))
    return found[len(found) // 2]


def _once(work: Callable[[], object]) -> Seconds:
    began, used = time.perf_counter(), _processor()
    work()
    return time.perf_counter() - began, _processor() - used


def _processor() -> float:
    both = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(used.ru_utime + used.ru_stime for used in both)


def measured(store: str, scope: Scope, rounds: int) -> tuple[Seconds, list[Seconds]]:
    """Return the time to measure a scope, and each of its deliveries, in a process that has measured before."""
    tables = tk.open_store(store).snapshot()

    def measure(deliveries: list[str]) -> Callable[[], object]:
        return lambda: tk.measure(tables, METRICS, by=[], delivery=deliveries)

    measure(list(scope.deliveries[:1]))()
    whole = timed(measure(list(scope.deliveries)), rounds)
    return whole, [timed(measure([each]), rounds) for each in scope.deliveries]


def rendered(store: str, scope: Scope, rounds: int) -> tuple[Seconds, list[Seconds]]:
    """Return the time to render the Overview of a scope, and of each of its deliveries, by a renderer that stays."""
    with tempfile.TemporaryDirectory() as folder, Renderers(1) as renderers:

        def render(**about: str) -> Callable[[], object]:
            return lambda: renderers.render("overview", store, Path(folder), **about)

        render(delivery=scope.deliveries[0])()
        whole = timed(render(scope=scope.text), rounds)
        return whole, [timed(render(delivery=each), rounds) for each in scope.deliveries]


def told(what: str, whole: Seconds, parts: list[Seconds], has_processor: bool) -> str:
    """Return a line of the table."""
    wall, processor = (sum(part[place] for part in parts) for place in (0, 1))
    used = f"{whole[1]:.2f} | {processor:.2f} | {whole[1] / processor:.2f}" if has_processor else "| |"
    return f"| {what} | {whole[0]:.2f} | {wall:.2f} | {whole[0] / wall:.2f} | {used} |"


if __name__ == "__main__":
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("store")
    asked.add_argument("--campaign", default="1")
    asked.add_argument("--rounds", type=int, default=3)
    given = asked.parse_args()
    tables = tk.open_store(given.store).snapshot()
    scope = tk.scope(tables, f"campaign:{given.campaign}")
    rows = tables.scan("event").filter(pl.col("delivery_id").is_in(list(scope.deliveries))).select(pl.len())
    print(f"{scope.text}: {len(scope.deliveries)} deliveries, {rows.collect().item():,} events")
    print(
        "| | campaign, s | sum of deliveries, s | ratio | campaign, processor s | sum | ratio |\n"
        "|---|--:|--:|--:|--:|--:|--:|"
    )
    print(told("measure", *measured(given.store, scope, given.rounds), has_processor=True))
    # A renderer's children are not ours to ask for their processor time.
    print(told("Overview", *rendered(given.store, scope, given.rounds), has_processor=False))
