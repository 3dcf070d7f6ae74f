"""Numbers that are missing from the log ids of the redirection servers.

Each server numbers its log lines one after the other, so a number that never arrived is a line that was not forwarded.
A line that came twice, was set aside as a repeated open, refused, or known from an export only, has arrived. The ids
are counted in blocks, in one pass, and never sorted: how full each block is and what lies between two is looked at.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

import polars as pl

from trackkit.engine.snapshot import Tables
from trackkit.quality.finding import EXAMPLES, Finding
from trackkit.quality.thresholds import PASS, WARN, SequenceLimits

BLOCK_BITS = 8  # a block is 256 numbers: two neighbours with a long run missing between them show it exactly
BATCH_ROWS = 4_000_000
MOST_GAPS = 50  # kept of a load
_LOG_ID = r"^([0-9A-Za-z]{2})x0*([0-9a-fA-F]{1,15})\t"  # of a refused line; a longer number is left out


class Gap(NamedTuple):
    """Numbers that one server gave and nobody received, and the instants of the lines around them."""

    server: str
    missing: int
    first: datetime | None
    last: datetime | None


class Judged(NamedTuple):
    """The finding of the check, and its gaps, the longest first."""

    finding: Finding
    gaps: list[Gap]


def sequence(tables: Tables, limits: SequenceLimits, servers: Sequence[str] | None = None) -> Judged | None:
    """Count the numbers that are missing from the log ids of servers (all by default); None when no server is known."""
    blocks = _without_strays(_blocks(_numbers(tables, servers)), limits.least)
    blocks = blocks.filter(_density().median().over("log_server") >= limits.dense)
    if blocks.is_empty():
        return None
    holes = _filled(_holes(blocks, limits.restart), tables).filter(pl.col("missing") > 0)
    holes = holes.sort("missing", "log_server", "start", descending=[True, False, False])
    missing = int(holes["missing"].sum())
    total = missing + int(blocks["len"].sum())
    verdict = limits.judge(missing, total)
    verdict = WARN if verdict == PASS and (holes["missing"] >= limits.jump).any() else verdict
    gaps = [Gap(*row) for row in holes.select("log_server", "missing", "first", "last").head(MOST_GAPS).rows()]
    first, last = (gaps[0].first, gaps[0].last) if gaps else (None, None)
    named = list(dict.fromkeys(gap.server for gap in gaps))[:EXAMPLES]
    return Judged(Finding("gap_in_sequence", verdict, missing, total, str(limits), first, last, named), gaps)


def nearby(gaps: Sequence[Gap], since: datetime, until: datetime, limits: SequenceLimits) -> Finding:
    """Say which gaps fell into the time in which a delivery was read: no failure, as its part in them is unknown."""
    met = [gap for gap in gaps if gap.first and gap.last and gap.first <= until and gap.last >= since]
    missing = sum(gap.missing for gap in met)
    first = min((gap.first for gap in met if gap.first), default=None)
    last = max((gap.last for gap in met if gap.last), default=None)
    verdict = WARN if missing >= limits.least else PASS
    servers = sorted({gap.server for gap in met})
    return Finding("gap_in_sequence", verdict, missing, None, str(limits), first, last, servers)


def _numbers(tables: Tables, servers: Sequence[str] | None) -> pl.LazyFrame:
    """Every log id of a server that has arrived in whatever way: `log_server`, `number`, `occurred_at`."""
    kept = pl.concat(
        [tables.scan(name).select("log_server", "event_id", "occurred_at") for name in ("event", "collapsed")]
    )
    kept = kept.select("log_server", pl.col("event_id").cast(pl.UInt64, strict=False).alias("number"), "occurred_at")
    parts = tables.scan("quarantine").select(part=pl.col("text").str.extract_groups(_LOG_ID)).unnest("part")
    number = pl.col("2").str.to_integer(base=16, strict=False).cast(pl.UInt64)
    undated = pl.lit(None, kept.collect_schema()["occurred_at"])
    refused = parts.select(log_server="1", number=number, occurred_at=undated)
    rows = pl.concat([kept, refused.unique()]).filter(pl.all_horizontal(pl.col("log_server", "number").is_not_null()))
    return rows if servers is None else rows.filter(pl.col("log_server").is_in(list(servers)))


def _blocks(numbers: pl.LazyFrame) -> pl.DataFrame:
    """Count numbers by server and block, batch after batch: one pass over numbers in no order holds a part of each."""
    number, at = pl.col("number"), pl.col("occurred_at")
    block, one = number // 2**BLOCK_BITS, pl.lit(1, pl.Int64)
    rows = numbers.select("log_server", block=block, len=one, lowest=number, highest=number, first=at, last=at)
    found = rows.limit(0).collect()
    for batch in rows.collect_batches(chunk_size=BATCH_ROWS, maintain_order=False, engine="streaming"):
        found = _together(pl.concat([found, _together(batch)]))
    return found.sort("log_server", "block")


def _together(blocks: pl.DataFrame) -> pl.DataFrame:
    lowest, highest = pl.col("lowest", "first").min(), pl.col("highest", "last").max()
    counted = blocks.lazy().group_by("log_server", "block").agg(pl.col("len").sum(), lowest, highest)
    return counted.select(blocks.columns).collect(engine="streaming")  # in half the time of the other engine


def _without_strays(blocks: pl.DataFrame, least: int) -> pl.DataFrame:
    """Leave out a few numbers far from all others: another counter's, or damaged ones, and no end of a gap."""
    far = pl.col("block").diff().over("log_server").fill_null(2) > 1
    runs = blocks.with_columns(run=far.cum_sum().over("log_server"))
    return runs.filter(pl.col("len").sum().over("log_server", "run") >= least).drop("run")


def _density() -> pl.Expr:
    return pl.col("len") / (pl.col("highest") - pl.col("lowest") + 1)


def _holes(blocks: pl.DataFrame, restart: int) -> pl.DataFrame:
    """Intervals of numbers with some missing: inside a block, and between one and the next; a restart is none."""
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


def _filled(holes: pl.DataFrame, tables: Tables) -> pl.DataFrame:
    """Take out of the holes the numbers that only an export tells of; it does not say of which server they are."""
    if holes.is_empty():
        return holes
    number = pl.col("event_id").cast(pl.UInt64, strict=False)
    exported = tables.scan("event").filter(pl.col("log_server").is_null()).select(number=number)
    start, end = holes.select(pl.col("start").min(), pl.col("end").max()).row(0)
    within = exported.filter(pl.col("number").is_between(start, end)).unique().sort("number")
    told = within.collect(engine="streaming")
    return pl.concat(_less(of_server, told) for of_server in holes.partition_by("log_server"))


def _less(holes: pl.DataFrame, told: pl.DataFrame) -> pl.DataFrame:
    found = told.join_asof(holes.sort("start"), left_on="number", right_on="start", strategy="backward")
    counts = found.filter(pl.col("number") <= pl.col("end")).group_by("start").agg(told=pl.len().cast(pl.Int64))
    less = (pl.col("missing") - pl.col("told").fill_null(0)).clip(0)
    return holes.join(counts, on="start", how="left").with_columns(missing=less).drop("told")
