"""Cost of reading logs, exports and feeds, beside the barest readers of the same files into Parquet, in one run.

    python benchmarks/feeds.py --events 200000

The peers keep what is written as it is: text cells of logs and tables, records of inferred types. trackkit makes
canonical events of it, which it leaves as Parquet too; what is refused or assumed is told. Each reading is a process of
its own, so that its memory is its own; the middle one of several rounds is printed, and how many times it needs of the
fastest peer's.
"""

import argparse
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import duckdb
import mixed
import numpy as np
import polars as pl

from trackkit import sources


def mailgun(rows: pl.DataFrame, part: int) -> list[str]:
    """Return records of Mailgun's Events API, with members that no map knows."""
    head = pl.struct(pl.format("m{}@x.example", "message").alias("message-id"))
    agent = pl.struct(pl.col("agent").alias("user-agent"), pl.lit("Firefox").alias("client-name"))
    fields = {
        "event": pl.when("open").then(pl.lit("opened")).otherwise(pl.lit("clicked")),
        "timestamp": pl.col("at") + 0.153125, "id": pl.format("mg{}", "id"),
        "recipient": pl.format("g{}@d.example", "message"), "tags": pl.concat_list(pl.lit("news"), pl.lit("weekly")),
        "url": pl.when(~pl.col("open")).then(pl.format("https://shop.example/{}", "link")),
        "message": pl.struct(headers=head), "client-info": agent, "log-level": pl.lit("info"),
        "geolocation": pl.struct(country=pl.lit("US"), city=pl.lit("Austin")),
        "campaigns": pl.concat_list(pl.struct(id=pl.format("c{}", "delivery"))),
    }  # fmt: skip
    return rows.select(pl.struct(**fields).struct.json_encode()).to_series().to_list()


def tracking_log(rows: pl.DataFrame, part: int) -> list[str]:
    """Return the lines of an export of the platform's tracking log, the header first."""
    at = pl.from_epoch("at").dt.strftime("%Y-%m-%d %H:%M:%S.000")
    link = pl.when("open").then(1).otherwise(pl.col("delivery") * 16 + pl.col("link"))
    kind = pl.when("open").then(2).otherwise(1)
    line = pl.format("{},{},{},{},{},{},person-{},{},{}", "id", at, link, "message", "delivery", pl.col("message") + 7,
                     "message", kind, "agent")  # fmt: skip
    head = "iTrackingLogId,tsLog,iUrlId,iBroadLogId,iDeliveryId,iRecipientId,sSourceId,iType,sUserAgent"
    return [head, *rows.select(line).to_series().to_list()]


def canonical(file: Path, folder: Path) -> None:
    """Read the file as trackkit does: canonical events in Parquet files."""
    sources.read(file, folder)


def by_polars(file: Path, folder: Path) -> None:
    """Read the file as polars does, and write its cells or records."""
    if file.suffix == ".ndjson":
        rows = pl.scan_ndjson(file)
    elif file.suffix == ".csv":
        rows = pl.scan_csv(file, infer_schema=False)
    else:
        rows = pl.scan_csv(file, infer_schema=False, separator="\t", quote_char=None, has_header=False)
    rows.sink_parquet(folder / "out.parquet")


def by_duckdb(file: Path, folder: Path) -> None:
    """Read the file as DuckDB does, and write its cells or records."""
    how = {".ndjson": "read_ndjson(?)", ".csv": "read_csv(?, all_varchar = true)"}
    asked = how.get(file.suffix, "read_csv(?, all_varchar = true, delim = '\t', quote = '', header = false)")
    duckdb.execute(f"COPY (FROM {asked}) TO '{folder}/out.parquet' (COMPRESSION zstd)", [str(file)])


# The name of each file, by which it is recognised, and its lines.
FILES: dict[str, Callable[[pl.DataFrame, int], list[str]]] = {
    "redir/log/0x0001.log": mixed.redirection, "tracking_log.csv": tracking_log, "sendgrid.ndjson": mixed.sendgrid,
    "amazon_ses.ndjson": mixed.ses, "mailgun.ndjson": mailgun,
}  # fmt: skip
READERS = {"polars": by_polars, "DuckDB": by_duckdb, "trackkit": canonical}


def measure(reader: str, file: Path) -> str:
    """Return what reading the file once costs: seconds of the processor and of the clock, MiB at most."""
    with TemporaryDirectory() as folder:
        cpu, wall = time.process_time(), time.perf_counter()
        READERS[reader](file, Path(folder))
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    return f"{cpu} {wall} {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10}"


def compare(file: Path, events: int, rounds: int) -> None:
    """Print what each reader needs for the file, beside the fastest peer."""
    costs: dict[str, list[list[float]]] = {reader: [] for reader in READERS}
    for _ in range(rounds):
        for reader, found in costs.items():
            command = [sys.executable, __file__, "--read", reader, str(file)]
            told = subprocess.run(command, check=True, capture_output=True, text=True)
            found.append([float(number) for number in told.stdout.split()])
    middle = {reader: [median(column) for column in zip(*found, strict=True)] for reader, found in costs.items()}
    best = [min(one) for one in zip(*(cost for reader, cost in middle.items() if reader != "trackkit"), strict=True)]
    for reader, (cpu, wall, memory) in middle.items():
        print(f"{file.name:18} {reader:9} {cpu / events * 1e6:6.1f} µs CPU an event ({cpu / best[0]:4.2f} ×)"
              f" {events / wall:10,.0f} events/s ({wall / best[1]:4.2f} ×) {memory:6,.0f} MiB at most")  # fmt: skip


def write(folder: Path, events: int) -> None:
    """Write the files. In a process of its own: what it needs would count as its children's."""
    for name, shape in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        lines = shape(mixed.draw(np.random.default_rng(1), 0, events), 1)
        (folder / name).write_text("\n".join(lines) + "\n", "utf-8")


def main() -> None:
    """Write the files and read each of them in a process for each reader."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--events", type=int, default=200_000)
    asked.add_argument("--rounds", type=int, default=3)
    asked.add_argument("--only", default="", help="part of the names of the files to be read")
    asked.add_argument("--read", nargs=2)
    asked.add_argument("--write", type=Path)
    given = asked.parse_args()
    if given.read:
        return print(measure(given.read[0], Path(given.read[1])))
    if given.write:
        return write(given.write, given.events)
    with TemporaryDirectory() as folder:
        subprocess.run([sys.executable, __file__, "--write", folder, "--events", str(given.events)], check=True)
        for name in FILES:
            if given.only in name:
                compare(Path(folder) / name, given.events, given.rounds)


if __name__ == "__main__":
    main()
