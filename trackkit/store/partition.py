"""Partition rows by number: one pass, one file per number, one batch in memory.

polars' own partitioned sink would buffer rows for each open file, and all inputs of a union at once.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pyarrow as pa

BATCH_ROWS = 250_000
NUMBER = "number of the partition"


@dataclass(frozen=True)
class Partitions:
    """Rows by number; `folder` is None if there is only one number, whose rows stay where they are."""

    whole: pl.LazyFrame
    folder: Path | None

    def rows(self, number: int) -> pl.LazyFrame:
        """Return the rows of one number."""
        if self.folder is None:
            return self.whole
        file = _file(self.folder, number)
        return pl.scan_ipc(file, glob=False) if file.exists() else self.whole.limit(0)


def partitioned(
    parts: Sequence[pl.LazyFrame],
    count: int,
    folder: Path,
    numbered: Callable[[pl.DataFrame], pl.DataFrame] = lambda batch: batch,
    in_order: bool = False,
) -> Partitions:
    """Partition rows by the column `NUMBER` (added by `numbered`), in files of a new folder unless `count` is 1."""
    whole = pl.concat(parts)
    if count == 1:
        return Partitions(whole, None)
    folder.mkdir(parents=True)
    options = pa.ipc.IpcWriteOptions(compression="lz4")
    with ExitStack() as stack:
        writers: dict[object, pa.RecordBatchFileWriter] = {}
        for batch in map(numbered, _batches(parts, in_order)):
            for (number,), part in batch.partition_by(NUMBER, as_dict=True, include_key=False).items():
                table = part.to_arrow(compat_level=pl.CompatLevel.oldest())
                if number not in writers:
                    file = pa.ipc.new_file(_file(folder, number), table.schema, options=options)
                    writers[number] = stack.enter_context(file)
                writers[number].write_table(table)
    return Partitions(whole.drop(NUMBER, strict=False), folder)


def _batches(parts: Iterable[pl.LazyFrame], in_order: bool) -> Iterator[pl.DataFrame]:
    for rows in parts:
        yield from rows.collect_batches(chunk_size=BATCH_ROWS, maintain_order=in_order, engine="streaming")


def _file(folder: Path, number: object) -> Path:
    return folder / f"{number}.arrow"


def spilled(rows: pl.DataFrame, file: Path | None) -> pl.LazyFrame:
    """Write rows to a file to be scanned again; without a file they stay in memory."""
    if file is None:
        return rows.lazy()
    rows.write_ipc(file, compression="lz4")
    return pl.scan_ipc(file, glob=False)
