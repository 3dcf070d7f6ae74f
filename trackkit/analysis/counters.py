"""The platform's own counters of a delivery, as its exports bring them, beside what we compute."""

from typing import Annotated

import polars as pl

from trackkit.engine.counters import CAUSES, COLUMNS, TOLERANCE, differences
from trackkit.engine.deliveries import require_delivery
from trackkit.engine.snapshot import Measurable
from trackkit.language import translatable

__all__ = ["compare"]

WHY = translatable(
    {
        "later": "what happened after the platform computed its counters",
        "seeds": "hits of, or messages to, control addresses",
        "estimate": "opens scaled up for text messages",
        "earlier_export": "the logs are as old as an earlier export of the counters",
        "repeats": "repeated opens, which count once here",
        "unreadable": "lines of this delivery that could not be read",
        "logs_end": "the logs end before the platform computed its counters",
        "removed": "retention removed logs of this delivery",
    }
)
assert tuple(WHY) == CAUSES
NO_CAUSE = translatable("no cause found")
COMPARED = [*COLUMNS, "why"]


def compare(tables: Measurable, delivery: str = "", tolerance: float = TOLERANCE) -> Annotated[pl.DataFrame, COMPARED]:
    """Return the platform's counters of a delivery, or of all, beside ours: one row per delivery and counter.

    Columns: `counter`, our name for it, and `column`, the platform's; `stored`, its value there by the latest export;
    `metric` (and `reason` of the failures counted) and `ours`, what we compute, null if unknown; `difference`, ours -
    stored; `relative`, difference / stored, null where that is 0; `differs`, by more than `tolerance` of the stored
    value; `computed_at` (UTC), when the platform computed it or else last changed the delivery; `cause` of
    `engine.counters.CAUSES` and `why`, the same in words, null where nothing differs; `allowed`, our figure once the
    cause is allowed for. Causes are found from data; "no cause found" otherwise. Empty where no export has counters.
    Raises RequestError for an unknown delivery.

    >>> from trackkit.engine.snapshot import Snapshot
    >>> compare(Snapshot({})).height
    0
    """
    keys = [require_delivery(tables, delivery)] if delivery else None
    rows = differences(tables, keys, tolerance)
    cause = pl.col("cause").cast(pl.String).replace_strict(WHY, default=NO_CAUSE, return_dtype=pl.String)
    return rows.with_columns(why=pl.when("differs").then(cause))
