"""How good forecasts of final opens and clicks are: finished deliveries replayed while they were young.

    python benchmarks/maturity.py [STORE …]

Without a store, 60 simulated deliveries of known truth: a share of recipients opens after a lognormal delay, at night
less, and share, speed and spread of the delays differ between deliveries. The other deliveries of the kind compare
(leave one out). Printed by metric and age: forecasts, the share of them whose 90 % interval held the final count, the
mean absolute error of the point, and the mean width of the interval, both as shares of the final count.
"""

import argparse
import sys
from datetime import UTC, datetime

import numpy as np
import polars as pl

import trackkit as tk
from trackkit import schema
from trackkit.engine.snapshot import Measurable, Snapshot

LAUNCH = datetime(2026, 1, 5, 6, tzinfo=UTC)
DAY = 24.0
CLICKERS = 0.25  # of openers


def simulated(seed: int = 1, deliveries: int = 60, messages: int = 2_000) -> Snapshot:
    """Return deliveries three days apart, sent at differing hours over 1 to 12 hours, and long finished."""
    chance = np.random.default_rng(seed)
    frames = [_simulated(chance, number, messages) for number in range(deliveries)]
    names = ("delivery", "message", "event")
    rows = {
        name: pl.concat([frame[place] for frame in frames], how="diagonal_relaxed") for place, name in enumerate(names)
    }
    return Snapshot({name: _whole(name, frame) for name, frame in rows.items()})


def _simulated(
    chance: np.random.Generator, number: int, messages: int
) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    key, start = str(1_000 + number), 3 * DAY * number + chance.uniform(0, 14)  # hours since the first launch
    opening, speed = 0.3 * np.exp(chance.normal(0, 0.2)), 4 * np.exp(chance.normal(0, 0.15))
    spread, duration = 1.6 * np.exp(chance.normal(0, 0.05)), chance.uniform(1, 12)
    sent = start + np.sort(chance.uniform(0, duration, messages))
    opened = _by_day(sent + speed * np.exp(spread * chance.normal(size=messages)))
    clicked = opened + np.exp(chance.normal(-2.0, 1.0, messages))
    is_opener = chance.random(messages) < opening
    is_clicker = is_opener & (chance.random(messages) < CLICKERS)
    ids = np.arange(messages)
    message = pl.DataFrame({"message_id": ids, "status_at": sent}).with_columns(status=pl.lit("delivered"))
    kinds = {"opened": (opened, is_opener), "clicked": (clicked, is_clicker)}
    events = [
        pl.DataFrame({"message_id": ids[chosen], "occurred_at": at[chosen]}).with_columns(event_type=pl.lit(kind))
        for kind, (at, chosen) in kinds.items()
    ]
    event = pl.concat(events).with_row_index("event_id")
    delivery = pl.DataFrame({"started_at": [sent[0]], "ended_at": [sent[-1]], "to_deliver": [messages], "state": [95]})
    return tuple(frame.with_columns(delivery_id=pl.lit(key)) for frame in (delivery, message, event))  # type: ignore[return-value]


def _by_day(at: np.ndarray) -> np.ndarray:
    """Move two of three acts between midnight and six into the morning, by the clock of `LAUNCH` (06:00)."""
    hour = (at + 6) % DAY
    is_night = (hour < 6) & ((at * 1_000).astype(np.int64) % 3 > 0)
    return np.where(is_night, at + 6 - hour / 6, at)


def _whole(name: str, frame: pl.DataFrame) -> pl.LazyFrame:
    """A canonical table of some of its columns: hours become instants, the others are null."""
    instants = [column for column, dtype in schema.TABLES[name].schema.items() if dtype == schema.INSTANT]
    hours = [column for column in instants if column in frame.columns]
    frame = frame.with_columns(
        (pl.lit(LAUNCH) + pl.duration(microseconds=pl.col(column) * 3_600_000_000)).alias(column) for column in hours
    )
    columns = {
        column: pl.col(column) if column in frame.columns else pl.lit(None) for column in schema.TABLES[name].schema
    }
    return frame.lazy().select(
        columns[column].cast(dtype).alias(column) for column, dtype in schema.TABLES[name].schema.items()
    )


def summary(tables: Measurable, others: str = "all") -> pl.DataFrame:
    """Return how good the forecasts were: one row per metric and age."""
    rows = tk.maturity.backtest(tables, others=others)
    width = (pl.col("high") - pl.col("low")) / pl.col("actual")
    measures = {
        "forecasts": pl.len(),
        "coverage": pl.col("is_covered").mean(),
        "mean_absolute_error": pl.col("error").abs().mean(),
    }
    return (
        rows.group_by("metric", "hours")
        .agg(**measures, mean_width=width.mean())
        .sort("metric", "hours", descending=[True, False])
    )


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stores", nargs="*")
    asked = parser.parse_args().stores
    sets = {f"{store}": tk.open_store(store).snapshot() for store in asked} or {"60 simulated deliveries": simulated()}
    with pl.Config(tbl_rows=-1, tbl_hide_dataframe_shape=True, tbl_hide_column_data_types=True, float_precision=3):
        for name, tables in sets.items():
            sys.stdout.write(f"{name}: all others compare\n{summary(tables)}\n")
            sys.stdout.write(f"{name}: only earlier ones compare\n{summary(tables, 'earlier')}\n")


if __name__ == "__main__":
    main()
