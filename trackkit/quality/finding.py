"""The result of one check, as a row of a frame and as a sentence."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

import polars as pl

from trackkit import schema
from trackkit.language import translatable
from trackkit.quality.thresholds import PASS, VERDICTS

EXAMPLES = 5  # of a finding, at most
VERDICT = pl.Enum(VERDICTS)
SCHEMA = {
    "check": pl.String(),
    "verdict": VERDICT,
    "count": pl.Int64(),
    "total": pl.Int64(),
    "share": pl.Float64(),
    "first": schema.INSTANT,
    "last": schema.INSTANT,
    "examples": pl.List(pl.String()),
    "threshold": pl.String(),
}


@dataclass(frozen=True)
class CheckResult:
    """The result of one check, passed or not."""

    check: str
    verdict: str
    count: int
    total: int | None
    threshold: str
    first: datetime | None = None
    last: datetime | None = None
    examples: Sequence[str] = ()

    @property
    def share(self) -> float | None:
        """The fraction count / total."""
        return self.count / self.total if self.total else None


def frame(findings: Iterable[CheckResult]) -> pl.DataFrame:
    """Return findings as a frame, the worst first, otherwise in the order of the checks."""
    rows = [vars(row) | {"share": row.share, "examples": list(row.examples)[:EXAMPLES]} for row in findings]
    ordered = pl.DataFrame([{name: row[name] for name in SCHEMA} for row in rows], schema=SCHEMA)
    return ordered.sort("verdict", descending=True, maintain_order=True)


def verdict(findings: pl.DataFrame) -> str:
    """Return the worst verdict of a frame of checks; "pass" if there are none.

    >>> verdict(frame([CheckResult("undated", "pass", 0, 9, ""), CheckResult("unknown_links", "warn", 1, 9, "")]))
    'warn'
    """
    return worst(findings["verdict"].to_list())


def worst(verdicts: Iterable[str]) -> str:
    """Return the worst of several verdicts; "pass" if there are none.

    >>> worst(["warn", "pass"]), worst([])
    ('warn', 'pass')
    """
    return max(verdicts, key=VERDICTS.index, default=PASS)


# Placeholders: {count}, {total}, {first}, {last}, {examples}. Some are also used by caveats on the figures.
REASONS = translatable(
    {
        "gap_in_sequence": "Numbers are missing from the log ids of the redirection servers: {count} of {total}, the "
        "longest run between {first} and {last} ({examples}). Hits may be lost.",
        "gap_nearby": "While this delivery was read, log lines of the redirection servers were lost, between {first} "
        "and {last} ({examples}): {count}. Some may have been its hits.",
        "gap_in_time": "Hours without any hit between busy ones: {count}, from {first} to {last}. Hits may be lost.",
        "silent_server": "Redirection servers that fell silent while others went on: {examples}, from {first} to "
        "{last}. Hits may be lost.",
        "clock_skew": "Redirection servers whose clock differs from the others' by whole hours: {examples}. Their logs "
        "may have been read with the wrong time zone.",
        "before_send": "Hits before their message was sent: {count} of {total}, half of them by {examples} or more. A "
        "clock or a time zone may be wrong.",
        "misdated": "Dates that cannot be, after the load that brought them or long before their delivery: {count} of "
        "{total}, {examples}. Such hits count in totals, and in no period, curve or age.",
        "unknown_deliveries": "Hits in deliveries that are in no table of deliveries: {count} of {total}.",
        "unknown_links": "Hits on links that no list of links names: {count} of {total}.",
        "unknown_messages": "Hits whose message is not in the delivery log: {count} of {total}. They count in totals.",
        "unknown_types": "Events of an unknown type: {count} of {total}. The platform's hits count as opened only.",
        "unknown_statuses": "Messages whose status is unknown: {count} of {total}. Success and errors leave them out.",
        "unknown_values": "Words or codes that are none of the platform's, kept as unknown: {count} of {total} "
        "({examples}).",
        "undated": "Hits without a date: {count} of {total}. They count in totals, and in no curve.",
        "tracking_missing": "Tracking is missing: {count} messages were delivered and not one hit is known. Opens and "
        "clicks of 0 mean unknown here.",
        "deliveries_untracked": "Deliveries with success and no hit, where tracking is missing: {count} of {total}.",
        "repeated_opens": "Opens set aside as repeated: {count} of {total}. Hits may be logged twice.",
        "duplicated_forwarding": "Log lines that were forwarded again: {count} of {total}. They count once.",
        "stored_counters": "Counters of the platform that differ from ours, because rows are missing here or without a "
        "cause that was found: {count} of {total} ({examples}).",
        "corrupt_lines": "Lines that could not be read, kept apart: {count} of {total}.",
    }
)


def reason(check: str, total: int | None) -> str:
    """Return the sentence of a check, for one delivery (no total) or for many.

    >>> reason("tracking_missing", 3)[:10]
    'Deliveries'
    """
    if check == "tracking_missing" and total is not None:
        return REASONS["deliveries_untracked"]
    return REASONS["gap_nearby"] if check == "gap_in_sequence" and total is None else REASONS[check]
