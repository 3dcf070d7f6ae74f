"""Checks of hits by hour and server: silences, and clocks that disagree.

All of them read one small frame, the hits of each hour and server, which takes one pass over the hits.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta

import polars as pl

from trackkit.engine.deliveries import the_one
from trackkit.engine.plausible import plausible
from trackkit.quality.finding import EXAMPLES, CheckResult
from trackkit.quality.hits import Examined
from trackkit.quality.thresholds import FAIL, PASS, WARN, SilenceLimits, SilentServerLimits, SkewLimits, Thresholds

HOUR = timedelta(hours=1)
MOST_HOURS = 14  # the largest difference between time zones that servers are set to
AROUND = 3 * HOUR  # the hours judged around the hits of a load

Window = tuple[datetime, datetime]


def hourly(scope: Examined, window: Window | None = None) -> pl.DataFrame:
    """Return the hits, repeated opens included, of each hour and server: `log_server`, `hour`, `hits`."""
    frames = (scope.hits(), scope.scan("collapsed"))
    rows = pl.concat([frame.select("log_server", "occurred_at") for frame in frames])
    at = pl.col("occurred_at")
    rows = rows.filter(plausible(scope.tables, "event", the_one(scope.deliveries)).holds())
    rows = rows.filter(at.is_between(window[0] - AROUND, window[1] + AROUND)) if window else rows
    return (
        rows.group_by("log_server", hour=at.dt.truncate("1h"))
        .agg(hits=pl.len().cast(pl.Int64))
        .collect(engine="streaming")
    )


def curve_findings(curve: pl.DataFrame, limits: Thresholds) -> Iterator[CheckResult]:
    """Yield findings on an hourly curve (`hourly`): silent hours, silent servers, clocks that disagree."""
    if curve.is_empty():
        return
    yield silent_hours(curve, limits.gap_in_time)
    by_server = curve.filter(pl.col("log_server").is_not_null()).sort("log_server", "hour")
    if by_server["log_server"].n_unique() > 1:
        yield silent_servers(by_server, limits.silent_server)
        yield skewed_clocks(by_server, limits.clock_skew)


def silent_hours(curve: pl.DataFrame, limits: SilenceLimits) -> CheckResult:
    """Count the hours without any hit between two busy ones; a curve that fades out and back in has no gap."""
    hours = curve.group_by("hour").agg(pl.col("hits").sum()).sort("hour")
    ends = hours.with_columns(until=pl.col("hour").shift(-1), after=pl.col("hits").shift(-1))
    is_busy = (pl.col("hits") >= limits.busy) & (pl.col("after") >= limits.busy)
    gaps = ends.filter(is_busy, pl.col("until") - pl.col("hour") > HOUR)
    silent = ((pl.col("until") - pl.col("hour")).dt.total_hours() - 1).alias("silent")
    gaps = gaps.select(silent, since=pl.col("hour") + HOUR, until="until")
    count, first, last = gaps.select(pl.col("silent").sum(), pl.col("since").min(), pl.col("until").max()).row(0)
    span = hours["hour"][-1] - hours["hour"][0] + HOUR
    verdict = FAIL if count >= limits.fail_hours else WARN if count else PASS
    examples = [f"{at:%Y-%m-%dT%H:%MZ}" for at in gaps["since"].head(EXAMPLES)]
    return CheckResult("gap_in_time", verdict, count, span // HOUR, str(limits), first, last, examples)


def silent_servers(by_server: pl.DataFrame, limits: SilentServerLimits) -> CheckResult:
    """Count the servers without hits while the others had many, so that their usual share is missing."""
    total = by_server["log_server"].n_unique()
    is_sudden = (pl.col("before") >= limits.busy) & (pl.col("after").is_null() | (pl.col("after") >= limits.busy))
    is_long = pl.col("until") - pl.col("since") >= limits.day_hours * HOUR
    missed = _silences(by_server).filter(pl.col("expected") >= limits.expected, is_sudden | is_long)
    servers = missed["log_server"].unique().sort().to_list()
    verdict = FAIL if servers and len(servers) >= limits.fail * total else WARN if servers else PASS
    first, last = missed.select(pl.col("since").min(), pl.col("until").max()).row(0)
    return CheckResult("silent_server", verdict, len(servers), total, str(limits), first, last, servers)


def _silences(by_server: pl.DataFrame) -> pl.DataFrame:
    """Each silence of a server after its first hit: its range, how busy the server was, and the hits expected in it.

    `before` and `after` are the busier of two hours with hits, since a silence may begin or end within one; `after` is
    null for a silence that lasts.
    """
    hits, others, server = pl.col("hits"), pl.col("all") - pl.col("hits"), "log_server"
    hours = by_server.group_by("hour").agg(pl.col("hits").sum().alias("all"))
    grid = hours.join(by_server.select(server).unique(), how="cross").join(by_server, on=[server, "hour"], how="left")
    grid = grid.with_columns(hits.fill_null(0)).sort(server, "hour")
    grid = grid.with_columns(turn=(hits > 0).cum_sum().over(server)).filter(pl.col("turn") > 0)
    is_within = pl.col("turn") < pl.col("turn").max().over(server)
    share = (hits.filter(is_within).sum() / others.filter(is_within).sum()).over(server)
    turns = (
        grid.with_columns(share=share)
        .group_by(server, "turn", maintain_order=True)
        .agg(pl.col("hour", "hits", "share").first(), silent=pl.len() - 1, missed=others.filter(hits == 0).sum())
    )
    nearby = turns.with_columns(
        since=pl.col("hour") + HOUR,
        until=pl.col("hour").shift(-1).over(server).fill_null(by_server["hour"].max() + HOUR),  # type: ignore[operator]
        before=pl.max_horizontal(hits, hits.shift(1).over(server)),
        after=pl.max_horizontal(hits.shift(-1).over(server), hits.shift(-2).over(server)),
        expected=pl.col("share") * pl.col("missed"),
    )
    return nearby.filter(pl.col("silent") > 0, pl.col("expected").is_finite())


def skewed_clocks(by_server: pl.DataFrame, limits: SkewLimits) -> CheckResult:
    """Count the servers whose curve matches that of the others only when shifted by whole hours."""
    servers = (
        by_server.group_by("log_server").agg(pl.col("hits").sum()).sort("hits", "log_server", descending=[True, False])
    )
    ids = servers["log_server"].to_list()
    checked = ids[1:] if len(ids) == 2 else ids  # if two disagree, report only the smaller one
    shifts = {server: _shift(by_server, server, limits) for server in checked}
    skewed = sorted(f"{server} {shift:+d} h" for server, shift in shifts.items() if shift)
    verdict = WARN if skewed else PASS
    first, last = _ends(by_server) if skewed else (None, None)
    return CheckResult("clock_skew", verdict, len(skewed), len(ids), str(limits), first, last, skewed)


def _ends(curve: pl.DataFrame) -> Window:
    first, last = curve.select(pl.col("hour").min().alias("first"), pl.col("hour").max()).row(0)
    return first, last


def _shift(by_server: pl.DataFrame, server: str, limits: SkewLimits) -> int:
    """The hours by which a server's clock is ahead of the others'; 0 if there is no evidence."""
    is_server = pl.col("log_server") == server
    this, others = by_server.filter(is_server), by_server.filter(~is_server)
    others = others.group_by("hour").agg(pl.col("hits").sum())
    starts, ends = zip(_ends(this), _ends(others), strict=True)
    start, end = max(starts) - MOST_HOURS * HOUR, min(ends) + MOST_HOURS * HOUR
    this, others = (curve.filter(pl.col("hour").is_between(start, end)) for curve in (this, others))
    if min(this["hits"].sum(), others["hits"].sum()) < limits.least:
        return 0
    fits = _overlaps(this, others)
    best = max(fits, key=lambda shift: (fits[shift], -abs(shift)))
    is_evident = fits[best] >= limits.overlap and fits[best] - fits[0] >= limits.gain
    return best if is_evident else 0


def _overlaps(curve: pl.DataFrame, others: pl.DataFrame) -> dict[int, float]:
    """The overlap of two curves of equal area, by the hours that the first is shifted back."""
    shifts = pl.DataFrame({"shift": range(-MOST_HOURS, MOST_HOURS + 1)}, schema={"shift": pl.Int64})
    curves = {"own": curve, "others": others}
    shares = {
        name: rows.select("hour", (pl.col("hits") / pl.col("hits").sum()).alias(name)) for name, rows in curves.items()
    }
    shifted = shares["own"].join(shifts, how="cross").with_columns(pl.col("hour") - pl.col("shift") * HOUR)
    overlaps = shifted.join(shares["others"], on="hour").group_by("shift").agg(pl.min_horizontal("own", "others").sum())
    # Rounded, so that equal overlaps stay equal in any order of summation.
    return dict.fromkeys(shifts["shift"], 0.0) | dict(overlaps.with_columns(pl.col("own").round(12)).iter_rows())
