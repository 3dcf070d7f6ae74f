"""The verdict on one load, as its report carries it; and what the reports of all loads say of lines and files."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import polars as pl

from trackkit.engine.plausible import plausible
from trackkit.engine.snapshot import Tables
from trackkit.quality.curves import Window, curve_findings, hourly
from trackkit.quality.finding import EXAMPLES, Finding, frame, reason, verdict, worst
from trackkit.quality.hits import Scope, hit_findings
from trackkit.quality.sequence import Gap, Judged, sequence
from trackkit.quality.thresholds import FAIL, PASS, WARN, FileLimits, ShareLimits, Thresholds, thresholds
from trackkit.sources.redirection import NAME as RAW_LOG

Source = Mapping[str, Any]  # one file's entry in a load report


def nothing_new() -> dict[str, Any]:
    """Return the quality of a load that brought nothing."""
    return {"verdict": PASS, "reasons": [], "servers": [], "gaps": []}


def judge_load(
    tables: Tables, sources: Sequence[Source], earlier: Iterable[Source], touched: Sequence[str], hits: pl.LazyFrame
) -> dict[str, Any]:
    """Return the quality of a load as its report carries it: `verdict`, `reasons`, `servers`, `gaps`.

    `tables` are those after the load, `sources` its files and `earlier` those of the loads before, as their reports
    tell of them; `touched` are the deliveries it changed, and `hits` the rows it brought (`log_server`, `occurred_at`).
    `reasons` are the checks that did not pass; `gaps` are those in the log ids of the `servers` that it brought lines
    of. What it brought is judged, with the hours around it: an older gap is not told again.
    """
    limits = thresholds()
    scope = Scope(tables, limits, touched)
    at = pl.col("occurred_at")
    dated = at.filter(plausible(tables).holds())
    ends = hits.select(pl.col("log_server").unique().drop_nulls().sort().implode(), first=dated.min(), last=dated.max())
    servers, *window = ends.collect(engine="streaming").row(0)
    found = [*file_findings(sources, earlier, limits), *hit_findings(scope)]
    gaps: list[Gap] = []
    if window[0]:
        found += curve_findings(hourly(scope, (window[0], window[1])), limits)
        judged = sequence(tables, limits.gap_in_sequence, servers) if servers else None
        gaps = judged.gaps if judged else []
        found += [_of_window(judged, (window[0], window[1]), limits)] if judged else []
    table, written = frame(found), [_written(gap) for gap in gaps]
    return {"verdict": verdict(table), "reasons": reasons(table), "servers": servers, "gaps": written}


def _of_window(judged: Judged, window: Window, limits: Thresholds) -> Finding:
    """The finding, told where a gap touches the time of what the load brought."""
    met = [gap for gap in judged.gaps if gap.first and gap.last and gap.first <= window[1] and gap.last >= window[0]]
    missing = sum(gap.missing for gap in met)
    at = limits.gap_in_sequence
    decided = at.judge(missing, judged.finding.total or 0)
    decided = WARN if decided == PASS and any(gap.missing >= at.jump for gap in met) else decided
    first, last = (met[0].first, met[0].last) if met else (None, None)
    servers = sorted({gap.server for gap in met})[:EXAMPLES]
    return replace(judged.finding, verdict=decided, count=missing, first=first, last=last, examples=servers)


def file_findings(sources: Iterable[Source], earlier: Iterable[Source], limits: Thresholds) -> Iterator[Finding]:
    """Yield what the files of load reports say: lines that could not be read, lines that were forwarded again.

    A raw line whose row an export has told of before is a duplicate too, and nothing tells it from one that was
    forwarded again: where events of another format were loaded earlier, the second check is not made.
    """
    files = list(sources)
    if not files:
        return
    yield _corrupt_lines(files, limits.corrupt_lines)
    if unknown := _unknown_values(files, limits.unknown_values):
        yield unknown
    raw = [one for one in files if one["format"] == RAW_LOG]
    if raw and not any(one["table"] == "event" and one["format"] != RAW_LOG for one in earlier):
        yield _of_files("duplicated_forwarding", raw, "duplicate", limits.duplicated_forwarding)


def _corrupt_lines(files: Sequence[Source], limits: FileLimits) -> Finding:
    """Judge the lines that could not be read over all files, and file by file: a small one is not lost among large."""
    found = _of_files("corrupt_lines", files, "quarantined", limits)
    return replace(found, verdict=worst([found.verdict, *(_of_file(one, limits) for one in files)]))


def _of_file(one: Source, limits: FileLimits) -> str:
    if one.get("unreadable"):
        return FAIL
    known = limits.judge_file(one["quarantined"], one["read"])
    return worst([known, WARN]) if one.get("cut") else known


def _unknown_values(files: Sequence[Source], limits: FileLimits) -> Finding | None:
    """Judge the words and codes that are not known, each column of each file on its own; None where there are none."""
    tallies: list[tuple[int, int, str, str]] = [
        (sum(words.values()), one["read"] - one["quarantined"], column, one["path"])
        for one in files
        for column, words in (_unknown_words(one) | _strange_types(one)).items()
    ]
    if not tallies:
        return None
    decided = worst([_of_words(limits, count, total, column) for count, total, column, _ in tallies])
    count, total = sum(count for count, *_ in tallies), sum(total for _, total, *_ in tallies)
    examples = [f"{column} in {path}" for _, _, column, path in sorted(tallies, reverse=True)]
    return Finding("unknown_values", decided, count, total, str(limits), examples=examples[:EXAMPLES])


def _unknown_words(one: Source) -> dict[str, dict[str, int]]:
    """The words that are not known, by column; of links their types, whose hits are judged by what they are."""
    types = {"type_code": one["unknown_types"]} if one["table"] == "link" and one["unknown_types"] else {}
    values: dict[str, dict[str, int]] = one.get("unknown_values", {})
    return values | types


def _strange_types(one: Source) -> dict[str, dict[str, int]]:
    """The words of a feed where most are of no known type: it may be of something else than e-mails."""
    types = one["unknown_types"] if one["table"] == "event" else {}
    is_strange = 2 * sum(types.values()) > one["read"] - one["quarantined"]
    return {"event_type": types} if types and is_strange else {}


def _of_words(limits: FileLimits, count: int, total: int, column: str) -> str:
    if column != "event_type":
        return limits.judge_file(count, total)
    return FAIL if count >= total else WARN  # a feed may tell of orders and visits too, but not of them alone


def _of_files(check: str, files: Sequence[Source], what: str, limits: ShareLimits) -> Finding:
    count, total = (sum(one[name] for one in files) for name in (what, "read"))
    most = sorted((one for one in files if one[what]), key=lambda one: (-one[what], one["path"]))
    examples = [one["path"] for one in most[:EXAMPLES]]
    return Finding(check, limits.judge(count, total), count, total, str(limits), examples=examples)


def reasons(found: pl.DataFrame) -> list[dict[str, Any]]:
    """Return the checks that did not pass as JSON can hold them, each with its sentence."""
    rows = found.filter(pl.col("verdict") != PASS).iter_rows(named=True)
    return [row | {"first": _iso(row["first"]), "last": _iso(row["last"]), "reason": _sentence(row)} for row in rows]


def _sentence(row: Mapping[str, Any]) -> str:
    at = {name: f"{row[name]:%Y-%m-%d %H:%M} UTC" if row[name] else "?" for name in ("first", "last")}
    numbers = {name: f"{row[name] or 0:,}" for name in ("count", "total")}
    return reason(row["check"], row["total"]).format(**numbers, **at, examples=", ".join(row["examples"]))


def _iso(at: datetime | None) -> str | None:
    return at.astimezone(UTC).isoformat() if at else None


def _written(gap: Gap) -> dict[str, Any]:
    return gap._asdict() | {"first": _iso(gap.first), "last": _iso(gap.last)}


def known_gaps(loads: Sequence[Mapping[str, Any]]) -> list[Gap]:
    """Return the gaps in the log ids of each server as the last load that brought lines of it found them."""
    found: dict[str, list[Gap]] = {}
    for load in loads:
        quality = load.get("report", {}).get("quality") or {}
        for server in quality.get("servers", ()):
            found[server] = [_read(gap) for gap in quality["gaps"] if gap["server"] == server]
    return [gap for gaps in found.values() for gap in gaps]


def _read(gap: Mapping[str, Any]) -> Gap:
    first, last = (gap[name] and datetime.fromisoformat(gap[name]) for name in ("first", "last"))
    return Gap(gap["server"], gap["missing"], first, last)
