"""Rows laid out by number: one pass over them, a file for each number, and one batch of them in memory.

polars' own sink by key would hold rows for each file that is open, and all inputs of a union at once.
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
    """Rows by number; `folder` is None where there is one number only, whose rows stay where they are."""

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
    """Lay rows out by the column `NUMBER`, in files of a new folder if there is more than one number.

    `numbered` gives rows that column, where they do not have it. The order of the rows is kept only if asked.
    """
    whole = pl.concat(parts)
    if count == 1:
        return Partitions(whole, None)
    folder.mkdir(parents=True)
    options = pa.ipc.IpcWriteOptions(compression="lz4")
    with ExitStack() as held:
        writers: dict[object, pa.RecordBatchFileWriter] = {}
        for batch in map(numbered, _batches(parts, in_order)):
            for (number,), part in batch.partition_by(NUMBER, as_dict=True, include_key=False).items():
                table = part.to_arrow(compat_level=pl.CompatLevel.oldest())
                if number not in writers:
                    file = pa.ipc.new_file(_file(folder, number), table.schema, options=options)
                    writers[number] = held.enter_context(file)
                writers[number].write_table(table)
    return Partitions(whole.drop(NUMBER, strict=False), folder)


def _batches(parts: Iterable[pl.LazyFrame], in_order: bool) -> Iterator[pl.DataFrame]:
    for rows in parts:
        yield from rows.collect_batches(chunk_size=BATCH_ROWS, maintain_order=in_order, engine="streaming")


def _file(folder: Path, number: object) -> Path:
    return folder / f"{number}.arrow"


def set_down(rows: pl.DataFrame, file: Path | None) -> pl.LazyFrame:
    """Write rows to a file, if there is one, to be read again; else they stay in memory."""
    if file is None:
        return rows.lazy()
    rows.write_ipc(file, compression="lz4")
    return pl.scan_ipc(file, glob=False)
