"""The platform's own counters of a delivery, as its exports bring them, beside what we compute."""

from typing import Annotated, Any

import polars as pl

from trackkit.engine.counters import CAUSES, COLUMNS, TOLERANCE, differences
from trackkit.engine.deliveries import Deliveries, asked_about, without_aside
from trackkit.engine.measure import quotient
from trackkit.engine.snapshot import Measurable, with_all_hits
from trackkit.language import translatable
from trackkit.schema import COUNTERS

__all__ = ["added", "compare"]

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
ADDED: dict[str, Any] = {"counter": pl.String, "column": pl.String, "metric": pl.String, "reason": pl.Int16}
ADDED |= {"deliveries": pl.Int64, "unknown": pl.Int64, "stored": pl.Float64, "ours": pl.Float64}
ADDED |= {"difference": pl.Float64, "relative": pl.Float64, "differing": pl.Int64}


def compare(
    tables: Measurable, delivery: Deliveries = None, tolerance: float = TOLERANCE
) -> Annotated[pl.DataFrame, COMPARED]:
    """Return the platform's counters of deliveries beside ours: one row per delivery and counter.

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
    tables = with_all_hits(tables)  # the platform knows no machines
    ids = asked_about(tables, delivery)
    rows = differences(tables, ids, tolerance)
    rows = without_aside(tables, rows.lazy()).collect() if ids is None else rows
    cause = pl.col("cause").cast(pl.String).replace_strict(WHY, default=NO_CAUSE, return_dtype=pl.String)
    return rows.with_columns(why=pl.when("differs").then(cause))


def added(compared: pl.DataFrame) -> Annotated[pl.DataFrame, list(ADDED)]:
    """Return the platform's counters of several deliveries added up, beside ours: one row per counter.

    In: the frame of `compare`. Each delivery is compared first, since a sum hides what cancels out: `differing` are the
    deliveries whose counter differs. Columns: `counter`, `column`, `metric`, `reason`; `deliveries`, those in which
    both figures are known, and `unknown`, the others; of the former `stored` and `ours`, added; `difference`,
    `relative`. Recipients who count in two deliveries are two, as the platform adds them.

    >>> added(compare(store)).height  # the demo's export brings no counters
    0
    """
    is_known = pl.all_horizontal(pl.col("stored", "ours").is_not_null())
    rows = compared.group_by("counter", "column", "metric", "reason", maintain_order=True).agg(
        deliveries=is_known.sum(),
        unknown=(~is_known).sum(),
        differing=pl.col("differs").sum(),
        stored=pl.when(is_known.any()).then(pl.col("stored").filter(is_known).sum()),
        ours=pl.when(is_known.any()).then(pl.col("ours").filter(is_known).sum()),
    )
    rows = rows.with_columns(difference=pl.col("ours") - pl.col("stored"))
    rows = rows.with_columns(relative=quotient("difference", "stored"))
    order = pl.col("counter").cast(pl.Enum(list(COUNTERS)))
    return rows.sort(order).select(pl.col(name).cast(dtype) for name, dtype in ADDED.items())
