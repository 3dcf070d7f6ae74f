"""How well the logs were forwarded: checks of a load, a delivery or everything, and one verdict: pass, warn or fail.

A check compares a count with a threshold that the analysts edit (`reports_templates/quality.toml`). Only the instants
of loads come from the machine's clock: lateness is judged by the newest plausible instant in the data.
"""

from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any

import polars as pl

from trackkit.engine.deliveries import Deliveries, asked_about, the_one
from trackkit.engine.plausible import plausible
from trackkit.engine.snapshot import Measurable
from trackkit.quality.curves import curve_findings, hourly
from trackkit.quality.finding import CheckResult, frame, verdict, worst
from trackkit.quality.hits import Examined, hit_findings
from trackkit.quality.loads import file_findings, known_gaps
from trackkit.quality.sequence import nearby, sequence
from trackkit.quality.thresholds import VERDICTS, thresholds

__all__ = ["VERDICTS", "quality", "verdict", "worst"]
MOST_READ = 0.9  # share of hits that ends the time of reading: weeks later, single hits would meet any gap


def quality(tables: Measurable, delivery: Deliveries = None) -> pl.DataFrame:
    """Return one row for each possible check of the logs of a delivery, of several, or of everything; the worst first.

    Columns: `check`; `verdict` ("pass", "warn", "fail"); `count` of problems and the `total` it is out of (log
    ids, hours, servers, hits, deliveries, lines; null without one); `share`, count / total; `first` and `last`
    (UTC), when; `examples`, at most five servers, files, ids or instants; `threshold`, as the analysts' list has it.

    For one delivery only its own rows are read; lines missing on a server during that time come from the reports of
    the loads. For several, nothing is said of hours and servers: what is silent between two deliveries is no gap. For
    several and for everything, `before_send` compares with the start of the delivery, not with each message.
    Raises RequestError for an unknown delivery, or a wrong list of thresholds.

    >>> from trackkit.engine.snapshot import Snapshot
    >>> verdict(quality(Snapshot({})))
    'pass'
    """
    ids = asked_about(tables, delivery)
    scope = Examined(tables, thresholds(), ids)
    if ids is None:
        return frame(_all_findings(scope))
    return frame(_findings_of_one(scope) if scope.is_one else hit_findings(scope))


def _all_findings(scope: Examined) -> Iterator[CheckResult]:
    judged = sequence(scope.tables, scope.limits.gap_in_sequence)
    if judged:
        yield judged.finding
    yield from curve_findings(hourly(scope), scope.limits)
    yield from hit_findings(scope)
    yield from file_findings(*_files(_loads(scope)), scope.limits)


def _findings_of_one(scope: Examined) -> Iterator[CheckResult]:
    gaps = known_gaps(_loads(scope))
    at = pl.col("occurred_at")
    dated = scope.hits().filter(plausible(scope.tables, "event", the_one(scope.deliveries)).holds())
    ends = dated.select(first=at.min(), last=at.quantile(MOST_READ, "nearest")).collect()
    since, until = ends.row(0)
    if gaps and since:
        yield nearby(gaps, since, until, scope.limits.gap_in_sequence)
    yield from curve_findings(hourly(scope), scope.limits)
    yield from hit_findings(scope)


def _loads(scope: Examined) -> Sequence[dict[str, Any]]:
    return getattr(scope.tables, "loads", ())


def _files(loads: Sequence[dict[str, Any]]) -> tuple[list[Any], list[Any]]:
    """The files of all loads, and those of all but the last load."""
    sources = [load.get("report", {}).get("sources", []) for load in loads]
    return list(chain.from_iterable(sources)), list(chain.from_iterable(sources[:-1]))


def __dir__() -> list[str]:  # the front door, which sees to the other modules, is not asked for a package beside it
    return list(__all__)
