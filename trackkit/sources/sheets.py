"""A table file as text cells: CSV in its dialects, plain or packed, and Parquet, streamed, its rows numbered from 1.

pyarrow's CSV reader is used because it alone hands back every ragged row with its number and text, keeps an empty
cell apart from a missing one, and takes quotes as they come; polars' own reader fills ragged rows silently. What it
reads is watched: where a quote may have swallowed rows, the file is read again with care (`stray_quotes`).
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

ROW = "trackkit source row"  # a Parquet column that says which row of a database each row is
_PACKED = ("", ".gz", ".zst")
EXTENSIONS = (".parquet", *(f".{kind}{packed}" for kind in ("csv", "tsv", "txt") for packed in _PACKED))
_BLOCK = 1 << 23
_SUSPECT = "a quote may have swallowed rows"

Flat = Callable[[list[str]], Set[int]]


def _none(headers: list[str]) -> Set[int]:
    return frozenset()


@dataclass
class Sheet:
    """A table file opened for reading: its cells as text in columns c0, c1, …, with `source_row`.

    `ragged` (row, reason, text), `notes` (what was found and read all the same) and `trouble` (what stopped the
    reading) are filled while `cells` is collected. `mended` says what was done to a file that was read from a copy.
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
        """Return what stopped the reading of the whole file, as refused rows from a number on."""
        lost = [f"{files.LOST}: {trouble}" for trouble in self.trouble]
        if self.mended and self.mended.cut is not None:
            lost.append(f"{files.CUT}: {self.mended.reason}")
        text = (self.mended.cut if self.mended else None) or ""
        return [(row + place, reason, text) for place, reason in enumerate(lost)]

    def assumptions(self) -> list[str]:
        """Return what was assumed of the file, and what was found in it."""
        of_copy = self.mended.notes if self.mended else []
        return [*of_copy, *self.notes, *(self.careful.notes if self.careful else [])]

    def close(self) -> None:
        """Delete the copy that was read."""
        if self.mended:
            self.mended.path.unlink()


def is_parquet(path: Path) -> bool:
    """Return whether a file is named as Parquet."""
    return path.name.lower().endswith(".parquet")


def dialect(found: Found, knows: Callable[[list[str]], int] = len) -> Dialect:
    """Return how a table file is written; of the separators, the one whose headers `knows` rates highest."""
    if is_parquet(found.path):
        return Dialect([name for name, kind in _parquet_schema(found).items() if _is_flat(kind)])
    return dialect_of(files.head(found.path), knows)


def open_sheet(found: Found, knows: Callable[[list[str]], int] = len, flat: Flat = _none) -> Sheet:
    """Open a table file; nothing but its header is read until `cells` is collected.

    `flat` says of headers which columns can hold no line end: there, one tells of a quote too many.
    """
    if is_parquet(found.path):
        return _open_parquet(found)
    way = dialect(found, knows)
    sheet = Sheet(way.headers, pl.LazyFrame(), way.separator, flat=flat(way.headers))
    sheet.cells = _Reader(found.path, sheet, way, knows).cells()
    return sheet


def open_again(found: Found, folder: Path, knows: Callable[[list[str]], int] = len, flat: Flat = _none) -> Sheet:
    """Open a text table in which something was wrong: a copy of what can be read of it, made with care in `folder`.

    Raises DataError where not even its header is whole.
    """
    mended = files.mend(found.path, nameless_path(folder, "csv"), allow_latin1=True)
    way = dialect(Found(mended.path, found.relative), knows)
    if not way.headers:
        mended.path.unlink()
        raise DataError(f"{found.relative} is cut within its header: {mended.reason or 'it has no whole line'}.")
    careful = CarefulReader(len(way.headers), way.named, way.separator, way.quote, flat(way.headers))
    rows = nameless_path(folder, "csv")
    careful.copy(mended.path, way.start, rows)
    mended.path.unlink()
    sheet = Sheet(way.headers, pl.LazyFrame(), way.separator, mended=replace(mended, path=rows), careful=careful)
    sheet.cells = _Reader(rows, sheet, replace(way, start=0), knows).cells()
    return sheet


class _Reader:
    """The well-formed rows of a text table with their numbers; ragged rows and what stopped it go to the sheet."""

    def __init__(self, path: Path, sheet: Sheet, way: Dialect, knows: Callable[[list[str]], int]) -> None:
        self.path, self.sheet, self.way = path, sheet, way
        self.names = [f"c{place}" for place in range(len(way.headers))]
        self.layout = pa.schema([*((name, pa.string()) for name in self.names), ("source_row", pa.int64())])
        self.headings = Headings(way.headers, knows)
        self.ragged: list[int] = []
        self.has_tall = False

    def cells(self) -> pl.LazyFrame:
        reader = pa.RecordBatchReader.from_batches(self.layout, self._batches())
        return pl.scan_arrow_c_stream(reader)

    def _batches(self) -> Iterator[pa.RecordBatch]:
        given, last = 0, None
        try:
            with files.Utf8Stream(self.path) as stream:
                files.skip(stream, self.way.start)
                for batch in self._opened(stream):
                    if self.sheet.trouble or self._is_suspect(batch):
                        break
                    rows = np.arange(given + 1, given + batch.num_rows + 1)
                    given += batch.num_rows
                    # A row's number is its place among the well-formed ones, and one more for each ragged row before.
                    before = np.array([row - place for place, row in enumerate(self.ragged)], dtype=np.int64)
                    rows += np.searchsorted(before, rows, side="right")
                    last = pa.RecordBatch.from_arrays([*batch.columns, numbers(rows)], schema=self.layout)
                    yield from self.headings.followed(last, self.sheet.ragged)
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
            if "Empty CSV" not in str(error):  # nothing after the header
                self.sheet.trouble.append(str(error).split("\n")[0])
        if last is not None and not self.sheet.trouble:
            self._look_at_end(last)
        self.sheet.notes += self.headings.notes

    def _is_suspect(self, batch: pa.RecordBatch) -> bool:
        """Note where a quote may have swallowed rows: by a cell with a line end, or one and a row that is ragged."""
        if self.sheet.careful:  # looked at already
            return False
        tall = {place: column for place, column in enumerate(batch.columns) if _has_line_end(column)}
        self.has_tall = self.has_tall or bool(tall)
        is_wrong = (self.has_tall and self.ragged) or not tall.keys().isdisjoint(self.sheet.flat)
        if is_wrong or any(map(self._has_swallowed, tall.values())):
            self.sheet.trouble.append(_SUSPECT)
        return bool(self.sheet.trouble)

    def _has_swallowed(self, column: pa.Array) -> bool:
        """Whether a cell with a line end has as many separators as a row, or more line ends than one expects."""
        tall = column.filter(pc.match_substring_regex(column, "[\\r\\n]"))
        most = [pc.max(pc.count_substring(tall, one)).as_py() or 0 for one in (self.way.separator, "\n")]
        return most[0] >= len(self.names) - 1 or most[1] > LINE_ENDS

    def _look_at_end(self, last: pa.RecordBatch) -> None:
        """Note a last cell that runs over lines to the end of the file without a closing quote."""
        cell = last.column(len(self.names) - 1)[-1].as_py() if last.num_rows else ""
        is_closed = files.tail(self.path).rstrip(b"\r\n").endswith(self.way.quote.encode()) if _has_end(cell) else True
        if not is_closed and not self.sheet.careful:
            self.sheet.trouble.append(_SUSPECT)

    def _set_aside(self, row: Any) -> str:
        text, width = row.text, len(self.names)
        self.ragged.append(row.number)
        if self.sheet.careful and text.startswith(MARK):
            reason, text = self.sheet.careful.refused[int(text[1:].split(self.way.separator)[0])]
        else:
            reason = f"{width} cells expected, got {row.actual_columns}"
            if not self.sheet.careful and (_has_end(text) or self._may_fit(text, row.actual_columns)):
                self.sheet.trouble.append(_SUSPECT)
        if not self.headings.is_nothing(text, self.way.separator):
            self.sheet.ragged.append((row.number, reason, text))
        return "skip"

    def _may_fit(self, text: str, cells: int) -> bool:
        """Whether a row may only lack nameless columns, or have empty cells beyond the last column."""
        width = len(self.names)
        return text.endswith(self.way.separator) if cells > width else self.way.named <= cells

    def _opened(self, stream: files.Utf8Stream) -> Iterator[pa.RecordBatch]:
        text = {name: pa.string() for name in self.names}
        reader: Iterator[pa.RecordBatch] = pacsv.open_csv(
            stream,
            # Not in parallel: only then are ragged rows numbered.
            read_options=pacsv.ReadOptions(use_threads=False, block_size=_BLOCK, column_names=self.names),
            parse_options=pacsv.ParseOptions(
                delimiter=self.way.separator,
                quote_char=self.way.quote,
                newlines_in_values=True,
                invalid_row_handler=self._set_aside,
            ),
            convert_options=pacsv.ConvertOptions(column_types=text, strings_can_be_null=False),
        )
        return reader


def _has_end(text: str) -> bool:
    return "\n" in text or "\r" in text


def _has_line_end(column: pa.Array) -> bool:
    """Whether a text column holds a line end; told from its bytes, in which it is fast to see."""
    written = column.buffers()[2]
    found = b"" if written is None else written.to_pybytes()
    return b"\n" in found or b"\r" in found


def _parquet_schema(found: Found) -> dict[str, pl.DataType]:
    try:
        return dict(pl.read_parquet_schema(found.path))
    except (pl.exceptions.PolarsError, OSError) as error:
        raise DataError(f"{found.relative} cannot be read as Parquet: {str(error).splitlines()[0]}") from None


def _is_flat(kind: pl.DataType) -> bool:
    return not kind.is_nested() and kind not in (pl.Binary, pl.Object)


def _open_parquet(found: Found) -> Sheet:
    flat = {name: kind for name, kind in _parquet_schema(found).items() if _is_flat(kind)}
    is_numbered = flat.pop(ROW, None)
    cells = {f"c{i}": _as_text(pl.col(name), kind).fill_null("") for i, (name, kind) in enumerate(flat.items())}
    rows = pl.scan_parquet(found.path, glob=False)
    rows = rows.rename({ROW: "source_row"}) if is_numbered else rows.with_row_index("source_row", offset=1)
    return Sheet(list(flat), rows.select(pl.col("source_row").cast(pl.Int64), **cells), separator="")


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
