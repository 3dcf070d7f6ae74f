"""A table file as text cells: CSV in its dialects, plain or packed, and Parquet, streamed, its rows numbered from 1.

pyarrow's CSV reader is used because it alone hands back every ragged row with its number and text, keeps an empty
cell apart from a missing one, and takes quotes as they come; polars' own reader fills ragged rows silently. What it
reads is checked: where a quote may have swallowed rows, the file is read again line by line (`stray_quotes`).
"""

from collections.abc import Callable, Iterator, Set
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv

from trackkit.errors import DataError
from trackkit.sources import files
from trackkit.sources.dialects import Dialect, dialect_of
from trackkit.sources.files import Found, Mended
from trackkit.sources.headings import Headings
from trackkit.sources.lines import numbers
from trackkit.sources.staging import nameless_path
from trackkit.sources.stray_quotes import LINE_ENDS, MARK, CarefulReader

ROW = "trackkit source row"  # a Parquet column with the number that each row has in its database
_PACKED = ("", ".gz", ".zst")
EXTENSIONS = (".parquet", *(f".{kind}{packed}" for kind in ("csv", "tsv", "txt") for packed in _PACKED))
_BLOCK = 1 << 23
_SUSPECT = "a quote may have swallowed rows"

Flat = Callable[[list[str]], Set[int]]


def _no_columns(headers: list[str]) -> Set[int]:
    return frozenset()


@dataclass
class Sheet:
    """A table file opened for reading: its cells as text in columns c0, c1, …, with `source_row`.

    `ragged` (row, reason, text), `notes` (oddities that did not prevent reading) and `trouble` (what stopped the
    reading) are filled while `cells` is collected. `mended` says how the copy of a damaged file was made.
    """

    headers: list[str]
    cells: pl.LazyFrame
    separator: str = ","
    ragged: list[tuple[int, str, str]] = field(default_factory=list)
    trouble: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    mended: Mended | None = None
    careful: CarefulReader | None = None
    flat: Set[int] = frozenset()

    def lost(self, row: int) -> list[tuple[int, str, str]]:
        """Return what stopped the reading, as refused rows numbered from `row`."""
        reasons = [f"{files.LOST}: {trouble}" for trouble in self.trouble]
        if self.mended and self.mended.cut is not None:
            reasons.append(f"{files.CUT}: {self.mended.reason}")
        text = (self.mended.cut if self.mended else None) or ""
        return [(row + position, reason, text) for position, reason in enumerate(reasons)]

    def assumptions(self) -> list[str]:
        """Return what was assumed about the file and the oddities found in it."""
        copy_notes = self.mended.notes if self.mended else []
        return [*copy_notes, *self.notes, *(self.careful.notes if self.careful else [])]

    def close(self) -> None:
        """Delete the copy that was read."""
        if self.mended:
            self.mended.path.unlink()


def is_parquet(path: Path) -> bool:
    """Return whether a file name ends in .parquet."""
    return path.name.lower().endswith(".parquet")


def dialect(found: Found, knows: Callable[[list[str]], int] = len) -> Dialect:
    """Return the dialect of a table file, with the separator that gives the most known headers."""
    if is_parquet(found.path):
        return Dialect([name for name, kind in _parquet_schema(found).items() if _is_flat(kind)])
    return dialect_of(files.head(found.path), knows)


def open_sheet(found: Found, knows: Callable[[list[str]], int] = len, flat: Flat = _no_columns) -> Sheet:
    """Open a table file; nothing but its header is read until `cells` is collected.

    `flat` returns the columns that cannot contain line ends: one in such a column shows a stray quote.
    """
    if is_parquet(found.path):
        return _open_parquet(found)
    file_dialect = dialect(found, knows)
    sheet = Sheet(file_dialect.headers, pl.LazyFrame(), file_dialect.separator, flat=flat(file_dialect.headers))
    sheet.cells = _Reader(found.path, sheet, file_dialect, knows).cells()
    return sheet


def open_again(found: Found, folder: Path, knows: Callable[[list[str]], int] = len, flat: Flat = _no_columns) -> Sheet:
    """Open a damaged text table through a copy in `folder` that holds what can be read of it.

    Raises DataError if the file is cut within its header.
    """
    mended = files.mend(found.path, nameless_path(folder, "csv"), allow_latin1=True)
    file_dialect = dialect(Found(mended.path, found.relative), knows)
    if not file_dialect.headers:
        mended.path.unlink()
        raise DataError(f"{found.relative} is cut within its header: {mended.reason or 'it has no whole line'}.")
    careful = CarefulReader(
        len(file_dialect.headers),
        file_dialect.named,
        file_dialect.separator,
        file_dialect.quote,
        flat(file_dialect.headers),
    )
    rows = nameless_path(folder, "csv")
    careful.copy(mended.path, file_dialect.start, rows)
    mended.path.unlink()
    sheet = Sheet(
        file_dialect.headers, pl.LazyFrame(), file_dialect.separator, mended=replace(mended, path=rows), careful=careful
    )
    sheet.cells = _Reader(rows, sheet, replace(file_dialect, start=0), knows).cells()
    return sheet


class _Reader:
    """Reads the well-formed rows of a text table, numbered; ragged rows and failures are added to the sheet."""

    def __init__(self, path: Path, sheet: Sheet, file_dialect: Dialect, knows: Callable[[list[str]], int]) -> None:
        self.path, self.sheet, self.dialect = path, sheet, file_dialect
        self.names = [f"c{place}" for place in range(len(file_dialect.headers))]
        self.layout = pa.schema([*((name, pa.string()) for name in self.names), ("source_row", pa.int64())])
        self.headings = Headings(file_dialect.headers, knows)
        self.ragged: list[int] = []
        self.has_multiline = False

    def cells(self) -> pl.LazyFrame:
        reader = pa.RecordBatchReader.from_batches(self.layout, self._batches())
        return pl.scan_arrow_c_stream(reader)

    def _batches(self) -> Iterator[pa.RecordBatch]:
        row_count, last = 0, None
        try:
            with files.Utf8Stream(self.path) as stream:
                files.skip(stream, self.dialect.start)
                for batch in self._open(stream):
                    if self.sheet.trouble or self._is_suspect(batch):
                        break
                    rows = np.arange(row_count + 1, row_count + batch.num_rows + 1)
                    row_count += batch.num_rows
                    # pyarrow omits ragged rows from its batches: each one shifts the numbers of the rows after it.
                    ragged_before = np.array([row - place for place, row in enumerate(self.ragged)], dtype=np.int64)
                    rows += np.searchsorted(ragged_before, rows, side="right")
                    last = pa.RecordBatch.from_arrays([*batch.columns, numbers(rows)], schema=self.layout)
                    yield from self.headings.rows(last, self.sheet.ragged)
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
            if "Empty CSV" not in str(error):  # nothing after the header
                self.sheet.trouble.append(str(error).split("\n")[0])
        if last is not None and not self.sheet.trouble:
            self._check_end(last)
        self.sheet.notes += self.headings.notes

    def _is_suspect(self, batch: pa.RecordBatch) -> bool:
        """Record whether a quote may have swallowed rows, judging by line ends in cells and by ragged rows."""
        if self.sheet.careful:  # already checked
            return False
        multiline = {place: column for place, column in enumerate(batch.columns) if _has_line_end(column)}
        self.has_multiline = self.has_multiline or bool(multiline)
        is_broken = (self.has_multiline and self.ragged) or not multiline.keys().isdisjoint(self.sheet.flat)
        if is_broken or any(map(self._has_swallowed, multiline.values())):
            self.sheet.trouble.append(_SUSPECT)
        return bool(self.sheet.trouble)

    def _has_swallowed(self, column: pa.Array) -> bool:
        """Whether a cell with a line end has as many separators as a row, or too many line ends."""
        multiline = column.filter(pc.match_substring_regex(column, "[\\r\\n]"))
        highest = [pc.max(pc.count_substring(multiline, sign)).as_py() or 0 for sign in (self.dialect.separator, "\n")]
        return highest[0] >= len(self.names) - 1 or highest[1] > LINE_ENDS

    def _check_end(self, last: pa.RecordBatch) -> None:
        """Record a last cell of several lines that is not closed before the file ends."""
        cell = last.column(len(self.names) - 1)[-1].as_py() if last.num_rows else ""
        is_closed = (
            files.tail(self.path).rstrip(b"\r\n").endswith(self.dialect.quote.encode()) if _has_end(cell) else True
        )
        if not is_closed and not self.sheet.careful:
            self.sheet.trouble.append(_SUSPECT)

    def _refuse(self, row: Any) -> str:
        text, width = row.text, len(self.names)
        self.ragged.append(row.number)
        if self.sheet.careful and text.startswith(MARK):
            reason, text = self.sheet.careful.refused[int(text[1:].split(self.dialect.separator)[0])]
        else:
            reason = f"{width} cells expected, got {row.actual_columns}"
            if not self.sheet.careful and (_has_end(text) or self._may_fit(text, row.actual_columns)):
                self.sheet.trouble.append(_SUSPECT)
        if not self.headings.is_blank(text, self.dialect.separator):
            self.sheet.ragged.append((row.number, reason, text))
        return "skip"

    def _may_fit(self, text: str, cells: int) -> bool:
        """Whether a row may only lack unnamed columns, or end in surplus empty cells."""
        width = len(self.names)
        return text.endswith(self.dialect.separator) if cells > width else self.dialect.named <= cells

    def _open(self, stream: files.Utf8Stream) -> Iterator[pa.RecordBatch]:
        text = {name: pa.string() for name in self.names}
        reader: Iterator[pa.RecordBatch] = pacsv.open_csv(
            stream,
            # Not in parallel: only then are ragged rows numbered.
            read_options=pacsv.ReadOptions(use_threads=False, block_size=_BLOCK, column_names=self.names),
            parse_options=pacsv.ParseOptions(
                delimiter=self.dialect.separator,
                quote_char=self.dialect.quote,
                newlines_in_values=True,
                invalid_row_handler=self._refuse,
            ),
            convert_options=pacsv.ConvertOptions(column_types=text, strings_can_be_null=False),
        )
        return reader


def _has_end(text: str) -> bool:
    return "\n" in text or "\r" in text


def _has_line_end(column: pa.Array) -> bool:
    """Whether a text column holds a line end; searching its bytes is fast."""
    buffer = column.buffers()[2]
    data = b"" if buffer is None else buffer.to_pybytes()
    return b"\n" in data or b"\r" in data


def _parquet_schema(found: Found) -> dict[str, pl.DataType]:
    try:
        return dict(pl.read_parquet_schema(found.path))
    except (pl.exceptions.PolarsError, OSError) as error:
        raise DataError(f"{found.relative} cannot be read as Parquet: {str(error).splitlines()[0]}") from None


def _is_flat(kind: pl.DataType) -> bool:
    return not kind.is_nested() and kind not in (pl.Binary, pl.Object)


def _open_parquet(found: Found) -> Sheet:
    kinds = {name: kind for name, kind in _parquet_schema(found).items() if _is_flat(kind)}
    is_numbered = kinds.pop(ROW, None)
    cells = {f"c{i}": _as_text(pl.col(name), kind).fill_null("") for i, (name, kind) in enumerate(kinds.items())}
    rows = pl.scan_parquet(found.path, glob=False)
    rows = rows.rename({ROW: "source_row"}) if is_numbered else rows.with_row_index("source_row", offset=1)
    return Sheet(list(kinds), rows.select(pl.col("source_row").cast(pl.Int64), **cells), separator="")


def _as_text(column: pl.Expr, kind: pl.DataType) -> pl.Expr:
    """Return a typed column as the text that a CSV export would hold."""
    if isinstance(kind, pl.Datetime):
        utc = column.dt.convert_time_zone("UTC").dt.replace_time_zone(None) if kind.time_zone else column
        return utc.dt.strftime("%Y-%m-%d %H:%M:%S.%6f") + ("Z" if kind.time_zone else "")
    if kind.is_float():  # a column of ids that had gaps was often made a float; below 2^53 nothing is lost
        is_whole = column.is_finite() & (column == column.round()) & (column.abs() < 2**53)
        whole = pl.when(is_whole).then(column).cast(pl.Int64, strict=False)
        return pl.coalesce(whole.cast(pl.String), column.cast(pl.String))
    return column.cast(pl.String)
