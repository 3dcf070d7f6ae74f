"""Reports per minute: plain papermill + nbconvert against `trackkit run`'s way, two workers each, imports included.

    python benchmarks/render.py --reports 500 --write benchmarks/RENDERING.md   # both ways in turn, in one run
    python benchmarks/render.py --soak 5000              # ours alone, so many renders in a row: no hang, nothing left

Both render the same reports of the same store. Plain is what one would write without trackkit's engine: two processes,
each executing notebook after notebook in a kernel of its own and exporting it with nbconvert's own template.
"""

import argparse
import itertools
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
from indicators import machine

ROOT = Path(__file__).resolve().parents[1]
WORKERS = 2
Figures = dict[str, list[float]]


def plain(pairs: list[list[str]], store: str, out: Path, worker: int) -> None:
    """Be one of the two plain workers."""
    import papermill
    from nbconvert import HTMLExporter

    for place, (report, delivery) in enumerate(pairs):
        if place % WORKERS != worker:
            continue
        path = out / f"{place}.ipynb"
        given = {"store": store, "delivery": delivery}
        papermill.execute_notebook(
            ROOT / f"notebooks/reports/{report}.ipynb", path, given, kernel_name="python3", progress_bar=False
        )
        path.with_suffix(".html").write_text(HTMLExporter().from_filename(path)[0], encoding="utf-8")


def ours(pairs: list[list[str]], store: str, out: Path) -> list[float]:
    """Render as a run does; return the seconds of each report."""
    from trackkit.report.workers import Renderers

    with Renderers(WORKERS) as renderers, ThreadPoolExecutor(WORKERS) as pool:

        def render(pair: list[str]) -> float:
            started = time.monotonic()
            renderers.render(pair[0], store, out, delivery=pair[1])
            return time.monotonic() - started

        return list(pool.map(render, pairs))


def timed(commands: list[list[str]]) -> tuple[float, float, float]:
    """Run commands side by side; return the seconds until all are done, those of the processors, and the peak in MB."""
    started, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
    running = [subprocess.Popen([sys.executable, __file__, *command], cwd=ROOT) for command in commands]
    peak = [0.0]
    watching = threading.Event()

    def watch() -> None:
        while not watching.wait(1):
            peak[0] = max(peak[0], sum(memory(process.pid) for process in running))

    watcher = threading.Thread(target=watch)
    watcher.start()
    codes = [process.wait() for process in running]
    seconds = time.monotonic() - started
    watching.set()
    watcher.join()
    if any(codes):
        sys.exit(f"a worker failed: exit codes {codes}")
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return seconds, used.ru_utime + used.ru_stime - before.ru_utime - before.ru_stime, peak[0]


def memory(pid: int) -> float:
    """Memory of a process and its descendants in MB; pages that several share are counted once."""
    total = 0.0
    try:
        for process in [(top := psutil.Process(pid)), *top.children(recursive=True)]:
            full = process.memory_full_info()
            total += getattr(full, "pss", full.uss)
    except psutil.Error:
        pass  # one ended meanwhile
    return total / 1e6


def pairs_of(store: str, count: int) -> list[list[str]]:
    """So many reports on one delivery each: all such reports of one delivery, then of the next."""
    from trackkit.report import REPORTS
    from trackkit.runs.due import deliveries
    from trackkit.store import open_store

    reports = [name for name, report in REPORTS.items() if "delivery" in {each.name for each in report.parameters}]
    every = itertools.cycle(itertools.product(deliveries(open_store(store)), reports))
    return [list(reversed(pair)) for pair in itertools.islice(every, count)]


def compare(store: str, count: int, rounds: int, folder: Path) -> str:
    """Return reports per minute of both ways, round by round, and the ratio of the medians."""
    (folder / "pairs.json").write_text(json.dumps(pairs_of(store, count)))
    rates: Figures = {"plain": [], "ours": []}
    peaks: dict[str, float] = {"plain": 0.0, "ours": 0.0}
    processors: Figures = {"plain": [], "ours": []}
    for number in range(rounds):
        for way in rates:
            out = folder / f"{way}{number}"
            out.mkdir()
            common = [store, str(folder / "pairs.json"), str(out)]
            alone = [["--as", "ours", *common]]
            commands = alone if way == "ours" else [["--as", f"plain{each}", *common] for each in range(WORKERS)]
            seconds, used, peak = timed(commands)
            made = len(list(out.glob("*.html")))
            rates[way].append(count / seconds * 60)
            peaks[way] = max(peaks[way], peak)
            processors[way].append(used / count)
            print(f"round {number + 1}, {way}: {count} reports, {made} pages, {seconds:.1f} s", flush=True)
    return result(count, rates, processors, peaks)


def result(count: int, rates: Figures, processors: Figures, peaks: dict[str, float]) -> str:
    """Write the table of both ways, and the ratios of their medians."""
    names = {"plain": "papermill + nbconvert", "ours": "trackkit"}
    times = len(rates["ours"])
    text = [
        f"Machine: {machine()}.", "",
        f"{count} reports, two workers each, imports included; medians of {times} round(s), the ways in turn.", "",
        "| way | reports/min (rounds) | median | processor s each | peak MB |", "|---|---|--:|--:|--:|",
    ]  # fmt: skip
    medians = {way: statistics.median(found) for way, found in rates.items()}
    spent = {way: statistics.median(found) for way, found in processors.items()}
    for way, found in rates.items():
        each = ", ".join(f"{rate:.1f}" for rate in found)
        text.append(f"| {names[way]} | {each} | {medians[way]:.1f} | {spent[way]:.2f} | {peaks[way]:,.0f} |")
    return "\n".join([
        *text, "", f"Reports per minute: {medians['ours'] / medians['plain']:.1f} times as many.",
        f"Processor time: {spent['plain'] / spent['ours']:.1f} times less.",
    ])  # fmt: skip


def write(path: Path, text: str) -> None:
    """Renew what was measured in a file; the words before it stay."""
    head = path.read_text().split("<!-- measured -->")[0] if path.exists() else "# Rendering\n\n"
    path.write_text(f"{head}<!-- measured -->\n\n{text}\n")


def soak(store: str, count: int, folder: Path) -> None:
    """Render so many reports in a row; say how long the slowest took, and what is left."""
    pairs = pairs_of(store, count)
    started, seconds = time.monotonic(), []
    for chunk in range(0, count, 500):
        seconds += ours(pairs[chunk : chunk + 500], store, folder)
        left = psutil.Process().children(recursive=True)
        print(f"{len(seconds)} rendered, {time.monotonic() - started:.0f} s, slowest {max(seconds):.2f} s, "
              f"{len(left)} process(es), {memory(psutil.Process().pid):.0f} MB", flush=True)  # fmt: skip


def main() -> None:
    """Read the command line."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--reports", type=int, default=100)
    options.add_argument("--rounds", type=int, default=1)
    options.add_argument("--soak", type=int, default=0)
    options.add_argument("--store", help="a store that is there [a demo of 40 deliveries, made first]")
    options.add_argument("--write", type=Path, help="a file whose table is renewed")
    options.add_argument("--as", dest="role", help=argparse.SUPPRESS)
    options.add_argument("given", nargs="*", help=argparse.SUPPRESS)
    asked = options.parse_args()
    if asked.role:
        store, pairs, out = asked.given
        listed = json.loads(Path(pairs).read_text())
        ours(listed, store, Path(out)) if asked.role == "ours" else plain(listed, store, Path(out), int(asked.role[-1]))
        return
    with tempfile.TemporaryDirectory() as folder:
        store = asked.store or demo(Path(folder))
        if asked.soak:
            soak(store, asked.soak, Path(folder) / "pages")
        else:
            text = compare(store, asked.reports, asked.rounds, Path(folder))
            print(f"\n{text}")
            if asked.write:
                write(asked.write, text)


def demo(folder: Path) -> str:
    """Make a store of the demo platform."""
    from trackkit.demo import write_demo
    from trackkit.store import open_store

    write_demo(folder / "raw", seed=1, deliveries=40)
    open_store(str(folder / "store")).ingest(str(folder / "raw"))
    return str(folder / "store")


if __name__ == "__main__":
    main()
