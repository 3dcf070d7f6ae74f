"""What one check found, and the frame of many."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import NamedTuple

import polars as pl

from trackkit import schema
from trackkit.quality.thresholds import PASS, VERDICTS

EXAMPLES = 5  # named of what a check found
VERDICT = pl.Enum(VERDICTS)
SCHEMA = {
    "check": pl.String(), "verdict": VERDICT, "count": pl.Int64(), "total": pl.Int64(), "share": pl.Float64(),
    "first": schema.INSTANT, "last": schema.INSTANT, "examples": pl.List(pl.String()), "threshold": pl.String(),
}  # fmt: skip


class Finding(NamedTuple):
    """One check that was made, whatever came of it."""

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
        """The part that `count` is of `total`."""
        return self.count / self.total if self.total else None


def frame(found: Iterable[Finding]) -> pl.DataFrame:
    """Return findings as a frame, the worst first, otherwise in the order of the checks."""
    rows = [one._asdict() | {"share": one.share, "examples": list(one.examples)[:EXAMPLES]} for one in found]
    shaped = pl.DataFrame([{name: row[name] for name in SCHEMA} for row in rows], schema=SCHEMA)
    return shaped.sort("verdict", descending=True, maintain_order=True)


def verdict(found: pl.DataFrame) -> str:
    """Return the worst verdict of a frame of checks; "pass" when none was made.

    >>> verdict(frame([Finding("undated", "pass", 0, 9, ""), Finding("unknown_links", "warn", 1, 9, "")]))
    'warn'
    """
    return found["verdict"].cast(pl.Enum(VERDICTS)).max() or PASS  # type: ignore[return-value]
