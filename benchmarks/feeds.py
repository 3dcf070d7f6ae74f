"""Cost of reading JSON feeds, beside polars reading the same lines into Parquet, in one run.

    python benchmarks/feeds.py --events 200000

The peer infers types and keeps the records as they are; trackkit makes canonical events of them. Each reading is a
process of its own, so that its memory is its own.
"""

import argparse
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

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


def canonical(file: Path, folder: Path) -> None:
    """Read the file as trackkit does, and write its events once more."""
    sources.read(file, folder).frames["event"].sink_parquet(folder / "out.parquet")


def peer(file: Path, folder: Path) -> None:
    """Read the file as polars does, and write its records."""
    pl.scan_ndjson(file).sink_parquet(folder / "out.parquet")


SHAPES: dict[str, Callable[[pl.DataFrame, int], list[str]]] = {
    "sendgrid": mixed.sendgrid, "amazon_ses": mixed.ses, "mailgun": mailgun
}  # fmt: skip
READERS = {"trackkit": canonical, "polars": peer}


def measure(reader: str, file: Path, events: int) -> str:
    """Return what reading the file once costs."""
    with TemporaryDirectory() as folder:
        cpu, wall = time.process_time(), time.perf_counter()
        READERS[reader](file, Path(folder))
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    return (
        f"{reader:9} {file.stem:11} {cpu / events * 1e6:6.1f} µs CPU an event {events / wall:10,.0f} events/s"
        f" {memory:5,} MiB at most"
    )


def main() -> None:
    """Write the feeds and read each of them in a process for each reader."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--events", type=int, default=200_000)
    asked.add_argument("--read", nargs=2)
    given = asked.parse_args()
    if given.read:
        return print(measure(given.read[0], Path(given.read[1]), given.events))
    with TemporaryDirectory() as folder:
        for name, shape in SHAPES.items():
            file = Path(folder) / f"{name}.ndjson"
            file.write_text("\n".join(shape(mixed.draw(np.random.default_rng(1), 0, given.events), 1)) + "\n", "utf-8")
            for reader in READERS:
                command = [sys.executable, __file__, "--events", str(given.events), "--read", reader, str(file)]
                subprocess.run(command, check=True)


if __name__ == "__main__":
    main()
