"""The lines of a log, plain or packed, in batches of bounded memory, however long a line or a hole is.

A line that is too long is set aside, and so is the line in which a file is cut.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa

from trackkit.sources import files
from trackkit.sources.staging import TEXT_LIMIT

LONGEST = 1 << 20  # bytes of one line
LAYOUT = pa.schema([("line", pa.large_string()), ("source_row", pa.int64())])
_BLOCK = 1 << 21  # bytes of a batch


@dataclass
class Lines:
    """A log being read: what was set aside (row, reason, text) and the holes are known after the last batch."""

    path: Path
    longest: int = LONGEST
    aside: list[tuple[int, str, str]] = field(default_factory=list)
    holes: files.Holes = field(default_factory=files.Holes)
    count: int = 0  # lines so far

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Yield the lines, each with its end, and their numbers from 1; bytes that are not UTF-8 become `NOT_UTF8`."""
        trouble, unfinished = files.Trouble(holes=self.holes), b""
        for block in files.blocks(self.path, trouble, (_BLOCK, 4096, 1)):
            end = block.rfind(b"\n") + 1
            if end:
                yield self._batch(unfinished + block[:end])
                unfinished = block[end:]
            elif len(unfinished) <= self.longest + 1:
                unfinished += block
            unfinished = unfinished[
                : self.longest + 2
            ]  # more than the longest line and its end: enough to recognise it as too long
        if trouble.reason is not None:
            reason = f"{files.CUT}: {trouble.reason}"
            self.aside.append((self.count + 1, reason, _shown(unfinished)))
        elif unfinished:
            yield self._batch(unfinished + b"\n")

    def frames(self) -> Iterator[pl.DataFrame]:
        """Yield the lines without their ends and without a byte-order mark, and their numbers; blank ones left out."""
        for batch in self.batches():
            frame = pl.DataFrame(pl.from_arrow(batch)).with_columns(bare("line"))
            yield frame.filter(pl.col("line").str.contains(r"\S"))

    def _batch(self, data: bytes) -> pa.RecordBatch:
        offsets = _line_ends(data)
        lengths = np.diff(offsets)
        too_long = np.flatnonzero(lengths > self.longest + 1)  # with its end
        rows = np.arange(self.count + 1, self.count + len(lengths) + 1)
        self.count += len(lengths)
        self.aside += [
            (int(rows[index]), f"the line is longer than {self.longest:,} bytes", _shown(data[offsets[index] :]))
            for index in too_long.tolist()
        ]
        if len(too_long):
            data = b"".join(
                data[offsets[index] : offsets[index + 1]] for index in np.flatnonzero(lengths <= self.longest + 1)
            )
            rows = np.delete(rows, too_long)
        data = _as_utf8(data)
        text = pa.LargeStringArray.from_buffers(len(rows), pa.py_buffer(_line_ends(data)), pa.py_buffer(data))
        return pa.RecordBatch.from_arrays([text, numbers(rows)], schema=LAYOUT)


def numbers(rows: np.ndarray) -> pa.Array:
    """Return whole numbers for Arrow; `pa.array` would import pandas, which takes as long as reading a small file."""
    return pa.Int64Array.from_buffers(pa.int64(), len(rows), [None, pa.py_buffer(rows.astype(np.int64, copy=False))])


def is_ordinary(path: Path, longest: int = LONGEST) -> bool:
    """Return whether a log has no holes and no overlong lines and is complete, so that a faster reader can take it."""
    open_line = 0  # bytes of the unfinished line
    try:
        with pa.input_stream(str(path), compression=files.packing(path)) as stream:
            while block := stream.read(longest):
                end = block.find(b"\n")
                if b"\x00" in block or open_line + (end if end >= 0 else len(block)) > longest:
                    return False
                open_line = len(block) - 1 - block.rfind(b"\n") if end >= 0 else open_line + len(block)
    except (OSError, pa.ArrowException):
        return False
    return True


def bare(name: str) -> pl.Expr:
    """Return a line without its end, and without the byte-order mark that a joined file has in the middle too."""
    return pl.col(name).str.strip_chars_end("\r\n").str.strip_prefix("\ufeff")


def _line_ends(data: bytes) -> np.ndarray:
    ends = np.flatnonzero(np.frombuffer(data, np.uint8) == 10) + 1
    return np.concatenate([np.zeros(1, np.int64), ends.astype(np.int64)])


def _as_utf8(data: bytes) -> bytes:
    if data.isascii():  # the usual case, and fast
        return data
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode("utf-8", "trackkit-mark").encode()
    return data


def _shown(text: bytes) -> str:
    return text[: 4 * TEXT_LIMIT].split(b"\n", 1)[0].decode("utf-8", "replace")[:TEXT_LIMIT].replace("\x00", "")
