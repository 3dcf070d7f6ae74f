"""A table file as text cells: CSV in its dialects, plain or packed, and Parquet, streamed, its rows numbered from 1.

pyarrow's CSV reader is used because it alone hands back every ragged row with its number and text, keeps an empty
cell apart from a missing one, and takes quotes as they come; polars' own reader fills ragged rows silently.
"""

import codecs
import csv
import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.csv as pacsv

from trackkit.errors import DataError
from trackkit.sources import files
from trackkit.sources.files import Found

SEPARATORS = (",", ";", "\t")
ROW = "trackkit source row"  # a Parquet column that says which row of a database each row is
_PACKED = ("", ".gz", ".zst")
EXTENSIONS = (".parquet", *(f".{kind}{packed}" for kind in ("csv", "tsv", "txt") for packed in _PACKED))
_BLOCK = 1 << 23
_UNCLOSED = "a quote is never closed: the rest of the file stands inside it"
_LONG = "a quote is never closed, or one row is longer than 8 MB"


@dataclass(frozen=True)
class Dialect:
    """How a table file is written: its headers, the separator, and at which byte its first row begins."""

    headers: list[str]
    separator: str = ""
    start: int = 0


@dataclass
class Sheet:
    """A table file opened for reading: its cells as text in columns c0, c1, …, with `source_row`.

    `ragged` (row, reason, text) and `trouble` (what stopped the reading) are filled while `cells` is collected.
    """

    headers: list[str]
    cells: pl.LazyFrame
    separator: str = ","
    ragged: list[tuple[int, str, str]] = field(default_factory=list)
    trouble: list[str] = field(default_factory=list)


def is_parquet(path: Path) -> bool:
    """Return whether a file is named as Parquet."""
    return path.name.lower().endswith(".parquet")


def dialect(found: Found, knows: Callable[[list[str]], int] = len) -> Dialect:
    """Return how a table file is written; of the separators, the one whose headers `knows` rates highest."""
    if is_parquet(found.path):
        return Dialect([name for name, kind in _parquet_schema(found).items() if _is_flat(kind)])
    first = files.head(found.path)
    if first.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise DataError(f"{found.relative} is UTF-16 text; save it as UTF-8 and load it again.")
    ways = [_dialect(first, separator) for separator in SEPARATORS]
    return max(ways, key=lambda way: (knows(way.headers), len(way.headers)))


def _dialect(first: bytes, separator: str) -> Dialect:
    bom = len(codecs.BOM_UTF8) if first.startswith(codecs.BOM_UTF8) else 0
    encoding = "utf-8" if _is_utf8(first) else "latin-1"
    text = io.StringIO(first[bom:].decode(encoding, "replace"), newline="")
    try:
        headers = next((record for record in csv.reader(text, delimiter=separator) if record), [])
    except csv.Error:  # a header of more than 128 KB, or a NUL in it: no table
        headers = []
    return Dialect(headers, separator, bom + len(text.getvalue()[: text.tell()].encode(encoding)))


def _is_utf8(first: bytes) -> bool:
    try:
        codecs.getincrementaldecoder("utf-8")().decode(first)  # not final: the last character may be cut
    except UnicodeDecodeError:
        return False
    return True


def open_sheet(found: Found, knows: Callable[[list[str]], int] = len) -> Sheet:
    """Open a table file; nothing but its header is read until `cells` is collected."""
    if is_parquet(found.path):
        return _open_parquet(found)
    way = dialect(found, knows)
    sheet = Sheet(way.headers, pl.LazyFrame(), way.separator)
    names = [f"c{place}" for place in range(len(way.headers))]
    layout = pa.schema([*((name, pa.string()) for name in names), ("source_row", pa.int64())])
    reader = pa.RecordBatchReader.from_batches(layout, _batches(found.path, sheet, way.start, layout))
    sheet.cells = pl.scan_arrow_c_stream(reader)
    return sheet


def _batches(path: Path, sheet: Sheet, start: int, layout: pa.Schema) -> Iterator[pa.RecordBatch]:
    """Yield the well-formed rows with their numbers; ragged rows and what stopped the reading go to the sheet."""
    given, last = 0, None
    try:
        with files.Utf8Stream(path) as stream:
            files.skip(stream, start)
            for batch in _reader(stream, sheet, layout.names[:-1]):
                if last is not None:
                    yield last
                rows = np.arange(given + 1, given + batch.num_rows + 1)
                given += batch.num_rows
                # A row's number is its place among the well-formed ones, and one more for each ragged row before it.
                before = np.array([row - place for place, (row, _, _) in enumerate(sheet.ragged)], dtype=np.int64)
                rows += np.searchsorted(before, rows, side="right")
                last = pa.RecordBatch.from_arrays([*batch.columns, pa.array(rows)], schema=layout)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        if "Empty CSV" not in str(error):  # nothing after the header
            sheet.trouble.append(_LONG if "straddling" in str(error) else str(error).split("\n")[0])
    if last is not None:
        yield _without_open_end(last, path, sheet)


def _without_open_end(last: pa.RecordBatch, path: Path, sheet: Sheet) -> pa.RecordBatch:
    """Set the last row aside when its last cell runs over lines to the end of the file without a closing quote."""
    *cells, row = last.slice(last.num_rows - 1).to_pylist()[0].values() if last.num_rows else (0,)
    if not cells or "\n" not in cells[-1] or files.tail(path).rstrip(b"\r\n").endswith(b'"'):
        return last
    sheet.ragged.append((row, _UNCLOSED, sheet.separator.join(cells)))
    return last.slice(0, last.num_rows - 1)


def _reader(stream: files.Utf8Stream, sheet: Sheet, names: list[str]) -> Iterator[pa.RecordBatch]:
    def set_aside(row: Any) -> str:
        sheet.ragged.append((row.number, f"{len(names)} cells expected, got {row.actual_columns}", row.text))
        return "skip"

    text = {name: pa.string() for name in names}
    return pacsv.open_csv(
        stream,
        # Not in parallel: only then are ragged rows numbered.
        read_options=pacsv.ReadOptions(use_threads=False, block_size=_BLOCK, column_names=names),
        parse_options=pacsv.ParseOptions(
            delimiter=sheet.separator, newlines_in_values=True, invalid_row_handler=set_aside
        ),
        convert_options=pacsv.ConvertOptions(column_types=text, strings_can_be_null=False),
    )


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
