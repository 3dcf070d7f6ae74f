"""Rows laid out by chunk: one pass over them, a file for each chunk, and one batch of them in memory.

polars' own sink by key would hold rows for each file that is open, and all inputs of a union at once.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path

import polars as pl
import pyarrow as pa

BATCH_ROWS = 250_000


def spread(
    parts: Iterable[pl.LazyFrame],
    key: str,
    folder: Path,
    placed: Callable[[pl.DataFrame], pl.DataFrame] = lambda batch: batch,
) -> None:
    """Write rows, without `key`, to a file of the folder for each value of it; `spread_rows` reads them.

    `placed` gives rows their `key` where they do not have it. Which rows come first is not kept.
    """
    folder.mkdir()
    options = pa.ipc.IpcWriteOptions(compression="lz4")
    with ExitStack() as held:
        writers: dict[object, pa.RecordBatchFileWriter] = {}
        for batch in map(placed, _batches(parts)):
            for (value,), part in batch.partition_by(key, as_dict=True, include_key=False).items():
                table = part.with_columns(_as_text(part)).to_arrow(compat_level=pl.CompatLevel.oldest())
                if value not in writers:
                    file = pa.ipc.new_file(_place(folder, value), table.schema, options=options)
                    writers[value] = held.enter_context(file)
                writers[value].write_table(table)


def _batches(parts: Iterable[pl.LazyFrame]) -> Iterator[pl.DataFrame]:
    for rows in parts:
        yield from rows.collect_batches(chunk_size=BATCH_ROWS, maintain_order=False, engine="streaming")


def spread_rows(folder: Path, value: object, schema: pl.Schema) -> pl.LazyFrame | None:
    """Return the rows of one value, or None where there is none; `schema` is that of the rows before."""
    place = _place(folder, value)
    return pl.scan_ipc(place, glob=False).cast(dict(schema)) if place.exists() else None


def _as_text(rows: pl.DataFrame) -> list[pl.Expr]:
    """Enumerations as text: Arrow's dictionaries would have to be the same in all batches of a file."""
    return [pl.col(name).cast(pl.String) for name, dtype in rows.schema.items() if isinstance(dtype, pl.Enum)]


def _place(folder: Path, value: object) -> Path:
    return folder / f"{value}.arrow"
