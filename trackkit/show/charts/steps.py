"""Longer periods, where there is too much time for the shorter ones to be seen."""

from collections.abc import Sequence

import polars as pl

from trackkit.clock import begins
from trackkit.language import say, translatable
from trackkit.show.charts.canvas import instants, zone_of

MOST = 120  # periods in the width of a chart
SECONDS = {"30m": 1_800, "1h": 3_600, "3h": 10_800, "1d": 86_400, "1w": 604_800, "1mo": 2_629_800, "1y": 31_557_600}
EACH = translatable(
    {
        "1d": "{what} per day", "1w": "{what} per week", "1mo": "{what} per month", "1y": "{what} per year",
    }
)  # fmt: skip


def step_that_fits(rows: pl.DataFrame, step: str, most: int = MOST) -> str:
    """Return the shortest period, from `step` on, that leaves no more than `most` of them from first to last."""
    span = (rows["starts_at"].max() - rows["starts_at"].min()).total_seconds() if rows.height else 0  # type: ignore
    return next((one for one, length in SECONDS.items() if length >= SECONDS[step] and span < most * length), "1y")


def in_steps(rows: pl.DataFrame, step: str, counts: Sequence[str]) -> pl.DataFrame:
    """Add up the counts of what begins in the same period, and is the same otherwise, in order."""
    zone, others = zone_of(rows), [name for name in rows.columns if name not in ("starts_at", *counts)]
    start = begins(instants(rows), zone, step)
    added = rows.group_by(*others, start.alias("starts_at"), maintain_order=True).agg(pl.col(*counts).sum())
    return added.sort("starts_at", maintain_order=True).select(rows.columns)


def per(step: str, what: str, lang: str) -> str:
    """Return the title of counts in longer periods: "Events per week"; of shorter ones just what they are of."""
    return say(EACH[step], lang, what=what) if step in EACH else what
