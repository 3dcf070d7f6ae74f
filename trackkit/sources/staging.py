"""What a source hands on: the rows of each file in Parquet, the refused rows, and the raw load of all files."""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Literal, TypedDict
from uuid import uuid4

import polars as pl

from trackkit import schema
from trackkit.sources import files
from trackkit.sources.report import LoadReport, SourceReport

_REASON = 300  # characters of the reason why nothing of a file could be read
TEXT_LIMIT = 10_000  # characters of a refused line that are kept
_OPEN_FILES = Path("/proc/self/fd")  # Linux: the files that this process has open, by number


class _ParquetOptions(TypedDict):
    compression: Literal["lz4"]
    statistics: bool


# Parquet files in staging are read once, soon, and thrown away: the fastest codec, not the smallest.
STAGED: _ParquetOptions = {"compression": "lz4", "statistics": False}


@dataclass
class Staged:
    """One file of a source, read: frames over Parquet in the staging folder, refused lines, and its report."""

    report: SourceReport
    frames: dict[str, pl.LazyFrame]
    quarantine: pl.DataFrame
    secondary: dict[str, pl.LazyFrame] = field(default_factory=dict)
    # Keys that identify copies of an event, `exact` and `loose`, where rows have no id.
    copies: pl.LazyFrame | None = None


@dataclass
class RawLoad:
    """Canonical frames as a source gives them (sourced columns, `source_file`, `source_row`), not yet de-duplicated.

    `parts` has the rows of each table file by file, since polars starts all inputs of a union at once. `unread` has the
    empty tables of files of which nothing could be read. `quarantine` holds the
    refused lines (schema.QUARANTINE); `report` accounts for every line of every file. `marks` says how far each table
    of a database was read: its newest instant.
    """

    parts: dict[str, list[pl.LazyFrame]]
    quarantine: pl.DataFrame
    report: LoadReport
    marks: dict[str, str] = field(default_factory=dict)
    unread: dict[str, list[pl.LazyFrame]] = field(default_factory=dict)

    @property
    def frames(self) -> dict[str, pl.LazyFrame]:
        """The rows of each table as one frame."""
        return {table: pl.concat(same) for table, same in (self.unread | self.parts).items()}


def handed_on(table: str) -> list[str]:
    """Return the columns that a source hands on: the sourced ones and the origin of each row."""
    columns = schema.TABLES[table].sourced
    return [*columns, *(name for name in ("source_file", "source_row") if name not in columns)]


def quarantine_frame(rows: Iterable[tuple[int, str, str]], report: SourceReport) -> pl.DataFrame:
    """Return refused lines given as (row, reason, text), in the shape of schema.QUARANTINE."""
    columns = {"source_row": pl.Int64, "reason": pl.String, "text": pl.String}
    return refused(pl.DataFrame(list(rows), schema=columns, orient="row"), report)


def refused(lines: pl.DataFrame, report: SourceReport) -> pl.DataFrame:
    """Complete refused lines (`source_row`, `reason`, `text`) with where they came from."""
    return lines.select(
        source_file=pl.lit(report.path),
        source_row=pl.col("source_row").cast(pl.Int64),
        source=pl.lit(report.format),
        reason="reason",
        text=pl.col("text").str.head(TEXT_LIMIT),
    )


def staged_path(folder: Path, kind: str) -> Path:
    """Return a new path in the staging folder."""
    return folder / f"{uuid4().hex}.{kind}"


class _Nameless(type(Path())):  # type: ignore[misc]
    """A link to an open, unnamed file, which disappears with the process, however it ends."""

    file: BinaryIO | None = None

    def unlink(self, *how: Any, **named: Any) -> None:
        """Remove the link, and with it the file."""
        super().unlink(*how, **named)
        if self.file:
            self.file.close()


def nameless_path(folder: Path, kind: str) -> Path:
    """Return a new path for raw text of a source, of which nothing remains if the load is killed.

    The path is a link to an open, unnamed file, until it is unlinked; on systems without /proc it is an ordinary file.
    """
    path = staged_path(folder, kind)
    if not _OPEN_FILES.is_dir():
        return path
    link = _Nameless(path)
    link.file = path.open("w+b")
    path.unlink()
    link.symlink_to(f"/proc/{os.getpid()}/fd/{link.file.fileno()}")  # dangling once the process ends
    return link


def combine(staged: list[Staged], report: LoadReport) -> RawLoad:
    """Join the frames of all files; rows gleaned from other tables follow those of a table's own files.

    The store distinguishes them by `source_file`: a table's own file wins over gleaned values. A file of which nothing
    could be read brings no table: its rows are unknown, not absent.
    """
    for file in staged:
        file.report.unreadable = _unreadable(file)
        file.report.cut = _cut(file)
    parts = _listed(file.frames for file in staged if not file.report.unreadable)
    for table, gleaned in _listed(file.secondary for file in staged if not file.report.unreadable).items():
        parts.setdefault(table, []).append(_single(pl.concat(gleaned), table))
    quarantined = [file.quarantine for file in staged if file.quarantine.height]
    quarantine = pl.concat(quarantined) if quarantined else pl.DataFrame(schema=schema.QUARANTINE.schema)
    return RawLoad(parts, quarantine, report, unread=_listed(file.frames for file in staged if file.report.unreadable))


def _unreadable(file: Staged) -> str:
    """Return why nothing of a file could be read, by the most frequent reason; empty if some rows were read."""
    if not file.report.read or file.report.accepted:
        return ""
    reasons = file.quarantine.group_by("reason").len().sort("len", "reason", descending=[True, False])
    reason_text, count = reasons.row(0) if reasons.height else ("", 0)
    reason = str(reason_text or "no row of it is one")[:_REASON]
    if file.report.quarantined == 1:
        return reason
    return f"all its {file.report.quarantined:,} rows were refused, {count:,} as: {reason}"


def _cut(file: Staged) -> str:
    """Return why the rest of a file is lost; empty if the file is complete."""
    is_end = pl.any_horizontal(pl.col("reason").str.starts_with(prefix) for prefix in (files.CUT, files.LOST))
    ends = file.quarantine.filter(is_end)["reason"]
    return str(ends[0])[:_REASON] if ends.len() else ""


def _listed(parts: Iterable[Mapping[str, pl.LazyFrame]]) -> dict[str, list[pl.LazyFrame]]:
    frames: dict[str, list[pl.LazyFrame]] = {}
    for part in parts:
        for table, frame in part.items():
            frames.setdefault(table, []).append(frame)
    return frames


def _single(gleaned: pl.LazyFrame, table: str) -> pl.LazyFrame:
    key = list(schema.TABLES[table].key)
    others = [name for name in handed_on(table) if name not in key]
    # One key is gleaned from many rows: the largest value wins, so the order of files does not matter.
    return gleaned.group_by(key).agg(pl.col(others).max()).select(handed_on(table))
