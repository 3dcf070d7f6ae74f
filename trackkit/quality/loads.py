"""The verdict on one load, stored in its report; and checks of lines and files from the reports of all loads."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import polars as pl

from trackkit.engine.plausible import plausible
from trackkit.engine.snapshot import Measurable
from trackkit.quality.curves import Window, curve_findings, hourly
from trackkit.quality.finding import EXAMPLES, CheckResult, frame, reason, verdict, worst
from trackkit.quality.hits import Examined, hit_findings
from trackkit.quality.sequence import Gap, Judged, sequence
from trackkit.quality.thresholds import FAIL, PASS, WARN, FileLimits, ShareLimits, Thresholds, thresholds
from trackkit.sources.redirection import NAME as RAW_LOG

Source = Mapping[str, Any]  # one file's entry in a load report


def nothing_new() -> dict[str, Any]:
    """Return the quality of an empty load."""
    return {"verdict": PASS, "reasons": [], "servers": [], "gaps": []}


def judge_load(
    tables: Measurable, sources: Sequence[Source], earlier: Iterable[Source], touched: Sequence[str], hits: pl.LazyFrame
) -> dict[str, Any]:
    """Return the quality of a load for its report: `verdict`, `reasons`, `servers`, `gaps`.

    `tables` are those after the load, `sources` its files and `earlier` those of previous loads, as in their reports;
    `touched` are the deliveries it changed, and `hits` the rows it brought (`log_server`, `occurred_at`). `reasons` are
    the checks that did not pass; `gaps` are those in the log ids of the `servers` whose lines it brought. Only the time
    of these hits and the hours around it are judged: an older gap is not reported again.
    """
    limits = thresholds()
    scope = Examined(tables, limits, touched)
    at = pl.col("occurred_at")
    dated = at.filter(plausible(tables).holds())
    ends = hits.select(pl.col("log_server").unique().drop_nulls().sort().implode(), first=dated.min(), last=dated.max())
    servers, *window = ends.collect(engine="streaming").row(0)
    findings = [*file_findings(sources, earlier, limits), *hit_findings(scope)]
    gaps: list[Gap] = []
    if window[0]:
        findings += curve_findings(hourly(scope, (window[0], window[1])), limits)
        judged = sequence(tables, limits.gap_in_sequence, servers) if servers else None
        gaps = judged.gaps if judged else []
        findings += [_in_window(judged, (window[0], window[1]), limits)] if judged else []
    table, written = frame(findings), [_gap_to_json(gap) for gap in gaps]
    return {"verdict": verdict(table), "reasons": reasons(table), "servers": servers, "gaps": written}


def _in_window(judged: Judged, window: Window, limits: Thresholds) -> CheckResult:
    """The finding, restricted to gaps that overlap the time of the load's hits."""
    start, end = window
    overlapping = [gap for gap in judged.gaps if gap.first and gap.last and gap.first <= end and gap.last >= start]
    missing = sum(gap.missing for gap in overlapping)
    shares = limits.gap_in_sequence
    decision = shares.judge(missing, judged.finding.total or 0)
    decision = WARN if decision == PASS and any(gap.missing >= shares.jump for gap in overlapping) else decision
    first, last = (overlapping[0].first, overlapping[0].last) if overlapping else (None, None)
    servers = sorted({gap.server for gap in overlapping})[:EXAMPLES]
    return replace(judged.finding, verdict=decision, count=missing, first=first, last=last, examples=servers)


def file_findings(sources: Iterable[Source], earlier: Iterable[Source], limits: Thresholds) -> Iterator[CheckResult]:
    """Yield findings on the files of load reports: unreadable lines, unknown values, lines that were forwarded again.

    A raw line whose row is already known from an export is a duplicate too, and cannot be distinguished from one that
    was forwarded again: if events of another format were loaded earlier, that check is skipped.
    """
    files = list(sources)
    if not files:
        return
    yield _corrupt_lines(files, limits.corrupt_lines)
    if unknown := _unknown_values(files, limits.unknown_values):
        yield unknown
    raw = [file for file in files if file["format"] == RAW_LOG]
    if raw and not any(file["table"] == "event" and file["format"] != RAW_LOG for file in earlier):
        yield _file_finding("duplicated_forwarding", raw, "duplicate", limits.duplicated_forwarding)


def _corrupt_lines(files: Sequence[Source], limits: FileLimits) -> CheckResult:
    """Judge unreadable lines over all files and file by file, so that a small file is not lost among large ones."""
    finding = _file_finding("corrupt_lines", files, "quarantined", limits)
    return replace(finding, verdict=worst([finding.verdict, *(_file_verdict(file, limits) for file in files)]))


def _file_verdict(file: Source, limits: FileLimits) -> str:
    if file.get("unreadable"):
        return FAIL
    decision = limits.judge_file(file["quarantined"], file["read"])
    return worst([decision, WARN]) if file.get("cut") else decision


def _unknown_values(files: Sequence[Source], limits: FileLimits) -> CheckResult | None:
    """Judge unknown words and codes separately for each column of each file; None if there are none."""
    tallies: list[tuple[int, int, str, str]] = [
        (sum(words.values()), file["read"] - file["quarantined"], column, file["path"])
        for file in files
        for column, words in (_unknown_words(file) | _foreign_types(file)).items()
    ]
    if not tallies:
        return None
    decision = worst([_words_verdict(limits, count, total, column) for count, total, column, _ in tallies])
    count, total = sum(count for count, *_ in tallies), sum(total for _, total, *_ in tallies)
    examples = [f"{column} in {path}" for _, _, column, path in sorted(tallies, reverse=True)]
    return CheckResult("unknown_values", decision, count, total, str(limits), examples=examples[:EXAMPLES])


def _unknown_words(file: Source) -> dict[str, dict[str, int]]:
    """The unknown words by column; for links, their types, since events are judged by type elsewhere."""
    types = {"type_code": file["unknown_types"]} if file["table"] == "link" and file["unknown_types"] else {}
    values: dict[str, dict[str, int]] = file.get("unknown_values", {})
    return values | types


def _foreign_types(file: Source) -> dict[str, dict[str, int]]:
    """The event types of a feed if most are unknown: it may not be about e-mails."""
    types = file["unknown_types"] if file["table"] == "event" else {}
    is_strange = 2 * sum(types.values()) > file["read"] - file["quarantined"]
    return {"event_type": types} if types and is_strange else {}


def _words_verdict(limits: FileLimits, count: int, total: int, column: str) -> str:
    if column != "event_type":
        return limits.judge_file(count, total)
    return FAIL if count >= total else WARN  # a feed may also hold orders and visits, but not only these


def _file_finding(check: str, files: Sequence[Source], column: str, limits: ShareLimits) -> CheckResult:
    count, total = (sum(file[name] for file in files) for name in (column, "read"))
    affected = sorted((file for file in files if file[column]), key=lambda file: (-file[column], file["path"]))
    examples = [file["path"] for file in affected[:EXAMPLES]]
    return CheckResult(check, limits.judge(count, total), count, total, str(limits), examples=examples)


def reasons(findings: pl.DataFrame) -> list[dict[str, Any]]:
    """Return the checks that did not pass, ready for JSON, each with its sentence."""
    rows = findings.filter(pl.col("verdict") != PASS).iter_rows(named=True)
    return [row | {"first": _iso(row["first"]), "last": _iso(row["last"]), "reason": _sentence(row)} for row in rows]


def _sentence(row: Mapping[str, Any]) -> str:
    at = {name: f"{row[name]:%Y-%m-%d %H:%M} UTC" if row[name] else "?" for name in ("first", "last")}
    numbers = {name: f"{row[name] or 0:,}" for name in ("count", "total")}
    return reason(row["check"], row["total"]).format(**numbers, **at, examples=", ".join(row["examples"]))


def _iso(at: datetime | None) -> str | None:
    return at.astimezone(UTC).isoformat() if at else None


def _gap_to_json(gap: Gap) -> dict[str, Any]:
    return gap._asdict() | {"first": _iso(gap.first), "last": _iso(gap.last)}


def known_gaps(loads: Sequence[Mapping[str, Any]]) -> list[Gap]:
    """Return the gaps in the log ids of each server, from the last load that brought lines of it."""
    gaps_by_server: dict[str, list[Gap]] = {}
    for load in loads:
        quality = load.get("report", {}).get("quality") or {}
        for server in quality.get("servers", ()):
            gaps_by_server[server] = [_gap_from_json(gap) for gap in quality["gaps"] if gap["server"] == server]
    return [gap for gaps in gaps_by_server.values() for gap in gaps]


def _gap_from_json(gap: Mapping[str, Any]) -> Gap:
    first, last = (gap[name] and datetime.fromisoformat(gap[name]) for name in ("first", "last"))
    return Gap(gap["server"], gap["missing"], first, last)
