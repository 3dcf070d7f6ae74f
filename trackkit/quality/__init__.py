"""How well the logs were forwarded: checks of a load, a delivery or everything, and one verdict: pass, warn or fail.

A check compares a count with a threshold that the analysts edit (`reports_templates/quality.toml`). Nothing depends on
the clock of the machine but when loads were made: what is late is judged by the newest instant that is believed.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import polars as pl

from trackkit.engine.deliveries import require_delivery
from trackkit.engine.plausible import plausible
from trackkit.engine.snapshot import Tables
from trackkit.quality.curves import curve_findings, hourly
from trackkit.quality.finding import Finding, frame, verdict, worst
from trackkit.quality.hits import Scope, hit_findings
from trackkit.quality.loads import file_findings, known_gaps
from trackkit.quality.sequence import nearby, sequence
from trackkit.quality.thresholds import VERDICTS, thresholds

__all__ = ["VERDICTS", "quality", "verdict", "worst"]
MOST_READ = 0.9  # a delivery is being read up to this share of its hits: weeks later a single hit meets any gap


def quality(tables: Tables, delivery: str | None = None) -> pl.DataFrame:
    """Return one row for each check that could be made on the logs of a delivery, or of everything; the worst first.

    Columns: `check`; `verdict` ("pass", "warn", "fail"); `count` of what was found and the `total` it is out of (log
    ids, hours, servers, hits, deliveries, lines; null where there is none); `share`, count / total; `first` and `last`
    (UTC), when; `examples`, at most five servers, files, ids or instants; `threshold`, as the analysts' list has it.

    Of one delivery only its own rows are read; what went missing on a server while it was read is taken from the
    reports of the loads. Of everything, `before_send` compares with the start of the delivery, not with each message.
    Raises RequestError for an unknown delivery, or a wrong list of thresholds.

    >>> from trackkit.engine.snapshot import Snapshot
    >>> verdict(quality(Snapshot({})))
    'pass'
    """
    limits = thresholds()
    if delivery is None:
        return frame(_of_all(Scope(tables, limits)))
    return frame(_of_one(Scope(tables, limits, [require_delivery(tables, delivery)])))


def _of_all(scope: Scope) -> Iterator[Finding]:
    judged = sequence(scope.tables, scope.limits.gap_in_sequence)
    if judged:
        yield judged.finding
    yield from curve_findings(hourly(scope), scope.limits)
    yield from hit_findings(scope)
    yield from file_findings(*_files(_loads(scope)), scope.limits)


def _of_one(scope: Scope) -> Iterator[Finding]:
    gaps = known_gaps(_loads(scope))
    at = pl.col("occurred_at")
    dated = scope.hits().filter(plausible(scope.tables, "event", (scope.deliveries or [""])[0]).holds())
    ends = dated.select(first=at.min(), last=at.quantile(MOST_READ, "nearest")).collect()
    since, until = ends.row(0)
    if gaps and since:
        yield nearby(gaps, since, until, scope.limits.gap_in_sequence)
    yield from curve_findings(hourly(scope), scope.limits)
    yield from hit_findings(scope)


def _loads(scope: Scope) -> Sequence[dict[str, Any]]:
    return getattr(scope.tables, "loads", ())


def _files(loads: Sequence[dict[str, Any]]) -> tuple[list[Any], list[Any]]:
    """The files of all loads, and those of all but the last: what an export told of before raw lines came."""
    sources = [load.get("report", {}).get("sources", []) for load in loads]
    return [one for files in sources for one in files], [one for files in sources[:-1] for one in files]
