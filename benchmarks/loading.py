"""Loading beside bare readers of the same files, how its cost grows, and what a late file costs a large store.

    python benchmarks/loading.py --events 2000000 --rounds 3
    python benchmarks/loading.py --events 0 --linear 1000000,10000000
    python benchmarks/loading.py --events 0 --late STORE --deliveries 5

`trackkit ingest` makes a store of redirection logs, of the exported table of hits and of a SendGrid feed; the
bare readers, polars and DuckDB, only put the columns of the same files into Parquet (zstd), their types declared. Each
way is a process of its own, the ways in turn, round after round; medians are shown.
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import mixed
import numpy as np
import polars as pl

PER_FILE = 1_000_000
HITS = ["log_id", "instant", "message", "delivery", "link", "flags", "person", "format", "parameters", "agent", "ip"]
EXPORT = ["iTrackingLogId", "tsLog", "iUrlId", "iBroadLogId", "iDeliveryId", "iRecipientId", "sSourceId", "sUserAgent"]
FEED = (["email", "event", "sg_event_id", "sg_message_id", "useragent", "url"], ["timestamp", "marketing_campaign_id"])


class Cost(NamedTuple):
    """What one process needed: seconds by the wall and of processors, and its largest memory in MB."""

    wall: float
    cpu: float
    peak: float


def export(rows: pl.DataFrame, part: int) -> list[str]:
    """Return lines of the platform's table of hits."""
    at = pl.from_epoch("at").dt.strftime("%Y-%m-%d %H:%M:%S")
    link = pl.when("open").then(1).otherwise(pl.col("delivery") * 16 + pl.col("link"))
    person = pl.col("message").cast(pl.String).str.zfill(12)
    named = rows.select(
        pl.format("{},{},{},{},{},{},person-{},{}", "id", at, link, "message", "delivery", "message", person, "agent")
    )
    return named.to_series().to_list()


# The files of a kind, how a slice of them is written, and what stands above its lines.
KINDS: dict[str, tuple[str, Callable[[pl.DataFrame, int], list[str]], str]] = {
    "raw": ("redir/log/{}.log", mixed.redirection, ""),
    "csv": ("tracking_log/{}.csv", export, ",".join(EXPORT) + "\n"),
    "ndjson": ("sendgrid/{}.ndjson", mixed.sendgrid, ""),
}
TITLES = {"raw": "Raw redirection logs", "csv": "Table export, CSV", "ndjson": "SendGrid's feed, NDJSON"}


def write(kind: str, folder: Path, events: int) -> Path:
    """Write the files of a kind, slice by slice, and return their folder; the same size writes the same bytes."""
    name, lines_of, head = KINDS[kind]
    chance = np.random.default_rng(7)
    for first in range(0, events, mixed.SLICE):
        path = folder / name.format(f"{first // PER_FILE:06d}")
        path.parent.mkdir(parents=True, exist_ok=True)
        rows = mixed.draw(chance, first, min(mixed.SLICE, events - first))
        with path.open("a", encoding="utf-8") as file:
            file.write(head if first % PER_FILE == 0 else "")
            file.writelines(f"{line}\n" for line in lines_of(rows, first // mixed.SLICE))
    return folder


def by_polars(kind: str, files: str, target: Path) -> None:
    """Put the columns into Parquet with polars."""
    texts = dict.fromkeys(FEED[0], pl.String()) | dict.fromkeys(FEED[1], pl.Int64())
    if kind == "ndjson":
        rows = pl.scan_ndjson(files, schema=texts | {"category": pl.List(pl.String)})
    else:
        is_raw = kind == "raw"
        columns = dict.fromkeys(HITS if is_raw else EXPORT, pl.String)
        rows = pl.scan_csv(files, schema=columns, has_header=not is_raw, separator="\t" if is_raw else ",",
                           quote_char=None if is_raw else '"')  # fmt: skip
    rows.sink_parquet(target, compression="zstd", compression_level=1)


def by_duckdb(kind: str, files: str, target: Path) -> None:
    """Put the columns into Parquet with DuckDB."""
    import duckdb

    columns = dict.fromkeys(HITS if kind == "raw" else EXPORT, "VARCHAR")
    if kind == "ndjson":
        columns = dict.fromkeys(FEED[0], "VARCHAR") | dict.fromkeys(FEED[1], "BIGINT") | {"category": "VARCHAR[]"}
        source = f"read_ndjson('{files}', columns={columns})"
    else:
        how = "delim='\\t', header=false, quote=''" if kind == "raw" else "header=true"
        source = f"read_csv('{files}', columns={columns}, auto_detect=false, {how})"
    duckdb.sql(f"COPY (FROM {source}) TO '{target}' (FORMAT parquet, COMPRESSION zstd, COMPRESSION_LEVEL 1)")


READERS = {"polars": by_polars, "DuckDB": by_duckdb}


def run(*command: str) -> Cost:
    """Return what a Python of its own needed."""
    began = time.perf_counter()
    process = subprocess.Popen([sys.executable, *command], stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"This failed: {' '.join(command)}")
    return Cost(time.perf_counter() - began, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024)


def load(kind: str, way: str, source: Path) -> Cost:
    """Load a source once, in one of the ways, into a place that is removed afterwards."""
    with tempfile.TemporaryDirectory(dir=source.parent) as place:
        if way == "trackkit":
            return run("-m", "trackkit", "ingest", str(source), "--store", f"{place}/store")
        files = source / KINDS[kind][0].format("*")
        return run(__file__, "--read", kind, way, str(files), f"{place}/rows.parquet")


def medians(costs: list[Cost]) -> Cost:
    """Return the median of each figure."""
    return Cost(*(statistics.median(figures) for figures in zip(*costs, strict=True)))


def beside_readers(folder: Path, events: int, rounds: int) -> Iterator[str]:
    """Yield a table for each kind of file: trackkit beside the bare readers."""
    for kind in KINDS:
        source = write(kind, folder / f"{kind}{events}", events)
        size = sum(path.stat().st_size for path in source.rglob("*") if path.is_file()) / 1e6
        turns = [{way: load(kind, way, source) for way in ("trackkit", *READERS)} for _ in range(rounds)]
        found = {way: medians([turn[way] for turn in turns]) for way in turns[0]}
        fastest = Cost(*map(min, zip(*(found[way] for way in READERS), strict=True)))
        yield f"\n### {TITLES[kind]}: {events:,} events, {size:,.0f} MB\n"
        yield "| way | wall s | of the fastest reader's speed | processor s | of the most frugal one's | peak MB |"
        yield "|---|--:|--:|--:|--:|--:|"
        for way, cost in found.items():
            shares = f"{cost.wall:.1f} | {fastest.wall / cost.wall:.2f} | {cost.cpu:.1f} | {fastest.cpu / cost.cpu:.2f}"
            yield f"| {way} | {shares} | {cost.peak:,.0f} |"
        shutil.rmtree(source)


def linear(folder: Path, sizes: list[int]) -> Iterator[str]:
    """Yield a table of what loading redirection logs costs an event at each size."""
    yield "\n### Redirection logs of several sizes\n"
    yield "| events | wall s | µs an event | processor s | µs an event | peak MB |"
    yield "|--:|--:|--:|--:|--:|--:|"
    for events in sizes:
        source = write("raw", folder / f"linear{events}", events)
        cost = load("raw", "trackkit", source)
        each = [seconds / events * 1e6 for seconds in (cost.wall, cost.cpu)]
        yield f"| {events:,} | {cost.wall:.1f} | {each[0]:.2f} | {cost.cpu:.1f} | {each[1]:.2f} | {cost.peak:,.0f} |"
        shutil.rmtree(source)


def late(store: Path, events: int, deliveries: int) -> Iterator[str]:
    """Yield what a late redirection log of hits of a few deliveries costs a store, and what it writes again."""
    with tempfile.TemporaryDirectory(dir=store.parent) as place:
        copy = Path(place) / "store"
        shutil.copytree(store, copy, copy_function=os.link)  # a store only adds files and removes them
        rows = _hits_of(store, events, deliveries)
        log = Path(place) / "late.log"
        log.write_text("".join(f"{line}\n" for line in mixed.redirection(rows, 0)), "utf-8")
        before = {path.name for path in (copy / "event").rglob("*.parquet")}
        cost = run("-m", "trackkit", "ingest", str(log), "--store", str(copy))
        written = [path for path in (copy / "event").rglob("*.parquet") if path.name not in before]
        size = sum(path.stat().st_size for path in written) / 1e6
    yield f"\n### A late log of {events:,} hits of {deliveries} deliveries\n"
    yield "| wall s | processor s | peak MB | files written | of | MB written |"
    yield "|--:|--:|--:|--:|--:|--:|"
    yield f"| {cost.wall:.1f} | {cost.cpu:.1f} | {cost.peak:,.0f} | {len(written)} | {len(before)} | {size:,.1f} |"


def _hits_of(store: Path, events: int, deliveries: int) -> pl.DataFrame:
    """Draw hits of messages of some deliveries of a store made by `stores.py`; their log ids are new."""
    from trackkit.store import open_store

    chance = np.random.default_rng(3)
    known = open_store(store).scan("delivery").select(pl.col("delivery_id").cast(pl.Int64)).collect().to_series()
    chosen = chance.choice(known.sort().to_numpy(), deliveries, replace=False)
    rows = mixed.draw(chance, 2**40, events).with_columns(delivery=chance.choice(chosen, events))
    return rows.with_columns(message=(pl.col("delivery") - 10_000) * 1_000_000 + pl.col("message") % 1_000)


def tables(asked: argparse.Namespace) -> Iterator[str]:
    """Yield the lines of the Markdown tables that were asked for."""
    with tempfile.TemporaryDirectory(prefix="trackkit-", dir=asked.folder) as place:
        if asked.events:
            yield from beside_readers(Path(place), asked.events, asked.rounds)
        if asked.linear:
            yield from linear(Path(place), [int(size) for size in asked.linear.split(",")])
    if asked.late:
        yield from late(asked.late, asked.hits, asked.deliveries)


def main() -> None:
    """Print the tables, or read once as a peer."""
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--events", type=int, default=2_000_000, help="beside the bare readers; 0: not")
    asked.add_argument("--rounds", type=int, default=3)
    asked.add_argument("--linear", default="", help="sizes, separated by commas")
    asked.add_argument("--late", type=Path, help="a large store, which stays as it is")
    asked.add_argument("--hits", type=int, default=1_000)
    asked.add_argument("--deliveries", type=int, default=5)
    asked.add_argument("--folder", type=Path, help="where the files lie meanwhile")
    asked.add_argument("--read", nargs=4, help=argparse.SUPPRESS)
    given = asked.parse_args()
    if given.read:
        kind, way, files, target = given.read
        return READERS[way](kind, files, Path(target))
    for line in tables(given):
        print(line, flush=True)


if __name__ == "__main__":
    main()
