"""The truth about the demo: what every hit really was, and what a correct load must count."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow.parquet as pq

from trackkit.demo.logs import SERVERS, amounts
from trackkit.demo.plan import NOW
from trackkit.demo.scene import KINDS, Scene
from trackkit.schema import LINK_TYPES


@dataclass(frozen=True)
class DemoSummary:
    """What one demo holds, and so what a load of its whole folder must report.

    `log_lines` = `corrupt_lines` + `duplicate_lines` (a line written twice) + hits in the raw logs. `kinds` and `types`
    count the events to keep, after `duplicates` (second copies, and hits in both logs and table) and `repeated_opens`.
    """

    folder: Path
    seed: int
    now: datetime
    deliveries: int
    proofs: int
    recipients: int
    messages: int
    exclusions: int
    page_hits: int
    log_lines: int
    corrupt_lines: int
    duplicate_lines: int
    late_lines: int
    table_rows: int
    rows_in_both: int
    repeated_opens: int
    undated: int
    events: int
    kinds: dict[str, int]
    types: dict[str, int]

    @property
    def duplicates(self) -> int:
        """How many lines and rows repeat a hit that is in another one."""
        return self.duplicate_lines + self.rows_in_both

    @classmethod
    def of(cls, folder: Path, seed: int, counts: Mapping[str, int]) -> "DemoSummary":
        """Return the summary of what was counted while writing."""
        plain = {name: counts.get(name, 0) for name in cls.__annotations__ if cls.__annotations__[name] is int}
        groups: dict[str, Any] = {"kinds": {}, "types": {}}
        for name, count in sorted(counts.items()):
            group, _, kind = name.partition(":")
            if kind:
                groups[group][kind] = count
        return cls(folder=folder, now=datetime.fromtimestamp(NOW / 1000, UTC), **groups | plain | {"seed": seed})

    def to_dict(self) -> dict[str, Any]:
        """Return the counts as JSON can hold them, without the folder: the same for the same seed."""
        return {**asdict(self), "now": self.now.isoformat(), "duplicates": self.duplicates} | {"folder": "."}

    def __str__(self) -> str:
        kinds = ", ".join(f"{name} {count:,}" for name, count in self.kinds.items())
        return (
            f"{self.folder}: a synthetic instance, seed {self.seed}.\n"
            f"{self.deliveries} deliveries, {self.proofs} proofs, {self.recipients:,} recipients, "
            f"{self.messages:,} messages.\n"
            f"{self.log_lines:,} log lines ({self.corrupt_lines:,} corrupt, {self.duplicate_lines:,} written twice), "
            f"{self.table_rows:,} tracking-log rows ({self.rows_in_both:,} in both) tell of {self.events:,} events and "
            f"{self.repeated_opens:,} repeated opens: {kinds}."
        )


def count_hits(scene: Scene, hits: pl.DataFrame) -> Counter[str]:
    """Count one delivery: its messages, its lines, and its events by kind and type."""
    mailing = scene.mailing
    kept = hits.filter(~pl.col("is_repeat"))
    counts = Counter(deliveries=int(mailing.plan.is_real), proofs=int(mailing.plan.role == "proof"))
    counts.update(messages=mailing.recipient.size, exclusions=mailing.excluded.size, events=kept.height)
    sums = hits.select(
        log_lines=pl.col("raw_lines").sum(),
        duplicate_lines=(pl.col("raw_lines") == 2).sum(),
        late_lines=pl.col("is_late").sum(),
        table_rows=pl.col("in_table").sum(),
        rows_in_both=pl.col("in_table").and_("in_raw").sum(),
        repeated_opens=pl.col("is_repeat").sum(),
        undated=pl.col("is_undated").and_(~pl.col("is_repeat")).sum(),
    )
    counts.update(sums.row(0, named=True))
    counts.update({f"kinds:{KINDS[kind]}": count for kind, count in kept["kind"].value_counts().iter_rows()})
    codes = pl.Series(scene.slots[1]).gather(kept["slot"])
    counts.update({f"types:{LINK_TYPES[code]}": count for code, count in codes.value_counts().iter_rows()})
    return counts


class Truth:
    """The file of the truth, one row group per delivery."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.writer: pq.ParquetWriter | None = None

    def __enter__(self) -> "Truth":
        return self

    def add(self, scene: Scene, hits: pl.DataFrame) -> None:
        """Write the hits of one delivery."""
        rows = truth(scene, hits).to_arrow(compat_level=pl.CompatLevel.oldest())
        self.writer = self.writer or pq.ParquetWriter(self.path, rows.schema, compression="zstd")
        self.writer.write_table(rows)

    def __exit__(self, *_: object) -> None:
        if self.writer:
            self.writer.close()


def truth(scene: Scene, hits: pl.DataFrame) -> pl.DataFrame:
    """Return one row per hit: its keys after a load, its true kind, and where it was written."""
    types, bought = scene.slots[1][hits["slot"].to_numpy()], pl.col("cents") > 0
    names = pl.Series([LINK_TYPES.get(code) for code in range(max(LINK_TYPES) + 1)])
    at = pl.from_epoch("at", "ms").dt.replace_time_zone("UTC").dt.cast_time_unit("us")
    return hits.select(
        "log_id",
        pl.Series("log_server", SERVERS).gather(hits["server"]),
        pl.col("number").cast(pl.String).alias("event_id"),
        pl.col("delivery_id", "message_id").replace(0, None).cast(pl.String),
        pl.when(~pl.col("is_undated")).then(at).alias("occurred_at"),
        pl.col("link_id").cast(pl.String),
        names.gather(types).alias("event_type"),
        pl.Series("kind", KINDS).gather(hits["kind"]),
        "is_repeat",
        "raw_lines",
        "in_table",
        pl.when(bought).then(amounts(hits).cast(pl.Float64)).alias("amount"),
        pl.when(bought & ~pl.col("is_misread")).then("articles").alias("articles"),
    )
