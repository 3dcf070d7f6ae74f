"""Numbers that are missing from the log ids of the redirection servers.

Each server numbers its log lines consecutively, so a missing number is a line that was not forwarded. A line that came
twice, was set aside as a repeated open, was refused, or is known only from an export has arrived. The ids are counted
in blocks, in one pass without sorting; gaps are found within blocks and between them.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

import polars as pl

from trackkit.engine.snapshot import Tables
from trackkit.quality.finding import EXAMPLES, CheckResult
from trackkit.quality.thresholds import PASS, WARN, SequenceLimits

BLOCK_BITS = 8  # a block is 256 numbers; a long gap between two blocks is still exact
BATCH_ROWS = 4_000_000
MOST_GAPS = 50  # kept for a load
_LOG_ID = r"^([0-9A-Za-z]{2})x0*([0-9a-fA-F]{1,15})\t"  # of a refused line, up to 15 digits


class Gap(NamedTuple):
    """Missing numbers of one server, and the instants of the lines around them."""

    server: str
    missing: int
    first: datetime | None
    last: datetime | None


class Judged(NamedTuple):
    """The finding of the check, and its gaps, the longest first."""

    finding: CheckResult
    gaps: list[Gap]


def sequence(tables: Tables, limits: SequenceLimits, servers: Sequence[str] | None = None) -> Judged | None:
    """Count the numbers missing from the log ids of servers (all by default); None if no server is known."""
    blocks = _without_strays(_blocks(_numbers(tables, servers)), limits.least)
    blocks = blocks.filter(_density().median().over("log_server") >= limits.dense)
    if blocks.is_empty():
        return None
    holes = _without_exported(_holes(blocks, limits.restart), tables).filter(pl.col("missing") > 0)
    holes = holes.sort("missing", "log_server", "start", descending=[True, False, False])
    missing = int(holes["missing"].sum())
    total = missing + int(blocks["len"].sum())
    verdict = limits.judge(missing, total)
    verdict = WARN if verdict == PASS and (holes["missing"] >= limits.jump).any() else verdict
    gaps = [Gap(*row) for row in holes.select("log_server", "missing", "first", "last").head(MOST_GAPS).rows()]
    first, last = (gaps[0].first, gaps[0].last) if gaps else (None, None)
    servers_named = list(dict.fromkeys(gap.server for gap in gaps))[:EXAMPLES]
    return Judged(
        CheckResult("gap_in_sequence", verdict, missing, total, str(limits), first, last, servers_named), gaps
    )


def nearby(gaps: Sequence[Gap], since: datetime, until: datetime, limits: SequenceLimits) -> CheckResult:
    """Report gaps during the time a delivery was read; at most a warning, since its part in them is unknown."""
    overlapping = [gap for gap in gaps if gap.first and gap.last and gap.first <= until and gap.last >= since]
    missing = sum(gap.missing for gap in overlapping)
    first = min((gap.first for gap in overlapping if gap.first), default=None)
    last = max((gap.last for gap in overlapping if gap.last), default=None)
    verdict = WARN if missing >= limits.least else PASS
    servers = sorted({gap.server for gap in overlapping})
    return CheckResult("gap_in_sequence", verdict, missing, None, str(limits), first, last, servers)


def _numbers(tables: Tables, servers: Sequence[str] | None) -> pl.LazyFrame:
    """Every log id of a server that has arrived in any way: `log_server`, `number`, `occurred_at`."""
    loaded = pl.concat(
        [tables.scan(name).select("log_server", "event_id", "occurred_at") for name in ("event", "collapsed")]
    )
    log_number = pl.col("event_id").cast(pl.UInt64, strict=False).alias("number")
    loaded = loaded.select("log_server", log_number, "occurred_at")
    parts = tables.scan("quarantine").select(part=pl.col("text").str.extract_groups(_LOG_ID)).unnest("part")
    number = pl.col("2").str.to_integer(base=16, strict=False).cast(pl.UInt64)
    undated = pl.lit(None, loaded.collect_schema()["occurred_at"])
    refused = parts.select(log_server="1", number=number, occurred_at=undated)
    rows = pl.concat([loaded, refused.unique()]).filter(pl.all_horizontal(pl.col("log_server", "number").is_not_null()))
    return rows if servers is None else rows.filter(pl.col("log_server").is_in(list(servers)))


def _blocks(numbers: pl.LazyFrame) -> pl.DataFrame:
    """Count numbers by server and block, in batches to bound the memory for unsorted numbers."""
    number, at = pl.col("number"), pl.col("occurred_at")
    block, count = number // 2**BLOCK_BITS, pl.lit(1, pl.Int64)
    rows = numbers.select("log_server", block=block, len=count, lowest=number, highest=number, first=at, last=at)
    blocks = rows.limit(0).collect()
    for batch in rows.collect_batches(chunk_size=BATCH_ROWS, maintain_order=False, engine="streaming"):
        blocks = _merge(pl.concat([blocks, _merge(batch)]))
    return blocks.sort("log_server", "block")


def _merge(blocks: pl.DataFrame) -> pl.DataFrame:
    lowest, highest = pl.col("lowest", "first").min(), pl.col("highest", "last").max()
    counted = blocks.lazy().group_by("log_server", "block").agg(pl.col("len").sum(), lowest, highest)
    return counted.select(blocks.columns).collect(engine="streaming")  # twice as fast as the in-memory engine


def _without_strays(blocks: pl.DataFrame, least: int) -> pl.DataFrame:
    """Drop a few numbers far from all others: they are damaged or from another counter, not the end of a gap."""
    far = pl.col("block").diff().over("log_server").fill_null(2) > 1
    runs = blocks.with_columns(run=far.cum_sum().over("log_server"))
    return runs.filter(pl.col("len").sum().over("log_server", "run") >= least).drop("run")


def _density() -> pl.Expr:
    return pl.col("len") / (pl.col("highest") - pl.col("lowest") + 1)


def _holes(blocks: pl.DataFrame, restart: int) -> pl.DataFrame:
    """Intervals with missing numbers, within a block or between two; a restart of the counter is none."""
    span = (pl.col("highest") - pl.col("lowest") + 1).cast(pl.Int64)
    columns = ["log_server", "start", "end", "missing", "first", "last"]
    inside = blocks.with_columns(start="lowest", end="highest", missing=span - pl.col("len")).select(columns)
    following = pl.col("lowest", "first").shift(-1).over("log_server").name.prefix("next_")
    between = blocks.with_columns(following).filter(pl.col("next_lowest") > pl.col("highest") + 1)
    between = between.with_columns(
        start=pl.col("highest") + 1, end=pl.col("next_lowest") - 1, first="last", last="next_first"
    ).with_columns(missing=pl.col("end") - pl.col("start") + 1)
    between = between.filter(pl.col("missing") <= restart).with_columns(pl.col("missing").cast(pl.Int64))
    return pl.concat([inside, between.select(columns)]).filter(pl.col("missing") > 0)


def _without_exported(holes: pl.DataFrame, tables: Tables) -> pl.DataFrame:
    """Subtract from the holes the numbers known only from an export, which does not name the server."""
    if holes.is_empty():
        return holes
    number = pl.col("event_id").cast(pl.UInt64, strict=False)
    exported = tables.scan("event").filter(pl.col("log_server").is_null()).select(number=number)
    start, end = holes.select(pl.col("start").min(), pl.col("end").max()).row(0)
    in_range = exported.filter(pl.col("number").is_between(start, end)).unique().sort("number")
    exported_numbers = in_range.collect(engine="streaming")
    return pl.concat(_subtract(of_server, exported_numbers) for of_server in holes.partition_by("log_server"))


def _subtract(holes: pl.DataFrame, exported: pl.DataFrame) -> pl.DataFrame:
    matched = exported.join_asof(holes.sort("start"), left_on="number", right_on="start", strategy="backward")
    counts = matched.filter(pl.col("number") <= pl.col("end")).group_by("start").agg(exported=pl.len().cast(pl.Int64))
    still_missing = (pl.col("missing") - pl.col("exported").fill_null(0)).clip(0)
    return holes.join(counts, on="start", how="left").with_columns(missing=still_missing).drop("exported")
