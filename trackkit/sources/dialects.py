"""How a text table is written: its separator, quotes and headers, detected from its first bytes."""

import codecs
import csv
import io
import re
from collections.abc import Callable
from dataclasses import dataclass

_SEPARATORS = ",;\t|"
_RARE = ":^~#!\x01\x1f"  # tried if no other separator gives a known header
_SEP_LINE = re.compile(r'"?sep=(.)"?[;,]*[ \t]*(?:\r\n|\n|\r)', re.IGNORECASE)  # Excel's separator line
_LEAST = 3  # least number of cells in a column, all in single quotes, that prove the quote


@dataclass(frozen=True)
class Dialect:
    """How a table file is written: its headers, separator and quote, and at which byte its first row begins."""

    headers: list[str]
    separator: str = ""
    start: int = 0
    quote: str = '"'

    @property
    def named(self) -> int:
        """The number of columns up to the last one with a name."""
        return max((place for place, header in enumerate(self.headers, 1) if header.strip()), default=0)


def dialect_of(first: bytes, knows: Callable[[list[str]], int] = len) -> Dialect:
    """Return the dialect of a table from its first bytes; `knows` rates headers, higher is better."""
    encoding = "utf-8" if _is_utf8(first) else "latin-1"
    bom = len(codecs.BOM_UTF8) if first.startswith(codecs.BOM_UTF8) else 0
    text = first[bom:].decode(encoding, "replace")
    separator_line = _SEP_LINE.match(text)
    start = separator_line.end() if separator_line else 0
    body = text[start:]
    header_start = bom + start

    def best_reading(separators: str) -> tuple[int, int, Dialect]:
        readings = [
            reading for separator in separators for reading in _readings(body, separator, encoding, header_start)
        ]
        rates = [(knows(reading.headers), len(reading.headers), -position) for position, reading in enumerate(readings)]
        best = max(range(len(readings)), key=rates.__getitem__)
        return rates[best][0], rates[best][1], readings[best]

    if separator_line and separator_line[1] not in '\r\n"' and separator_line[1].isascii():
        return best_reading(separator_line[1])[2]
    known_headers, columns, best = best_reading(_SEPARATORS)
    if known_headers > 1 or columns > 1:
        return best
    rare = best_reading(_RARE)
    return rare[2] if rare[0] > max(known_headers, 1) else best


def _readings(text: str, separator: str, encoding: str, header_start: int) -> list[Dialect]:
    """Return the possible readings of the header with a separator: with its quotes, and ignoring them."""
    stream, quote = io.StringIO(text, newline=""), _quote(text, separator)
    try:
        rows = csv.reader(stream, delimiter=separator, quotechar=quote)
        headers = next((record for record in rows if record), [])
    except csv.Error:  # a header of more than 128 KB, or a NUL in it: no table
        headers = []
    read = text[: stream.tell()]
    readings = [Dialect(headers, separator, header_start + len(read.encode(encoding)), quote)]
    if len(lines := read.strip("\r\n").splitlines(keepends=True)) > 1:  # a name of two lines, or a stray quote
        plain = [cell.strip(quote + " ") for cell in lines[0].rstrip("\r\n").split(separator)]
        start = read.index(lines[0]) + len(lines[0])
        readings.append(Dialect(plain, separator, header_start + len(read[:start].encode(encoding)), quote))
    return readings


def _quote(text: str, separator: str) -> str:
    """Return the quote of a table: the single one if headers, or all cells of some column, are in it."""
    if "'" not in text:
        return '"'
    lines = [line.split(separator) for line in text.splitlines() if line.strip()]
    headers = [cell for cell in lines[0] if cell] if lines else []
    if headers and all(map(_is_single_quoted, headers)):
        return "'"
    if '"' in text:
        return '"'
    width = len(lines[0]) if lines else 0
    plain = [line for line in lines[1:-1] if len(line) == width]
    whole_lines = text[: text.rfind("\n") + 1]  # the last line may be cut
    try:
        rows = list(csv.reader(io.StringIO(whole_lines, newline=""), delimiter=separator, quotechar="'"))
    except csv.Error:
        return '"'
    gained_rows = sum(len(row) == width for row in rows[1:]) - sum(len(line) == width for line in lines[1:])
    columns = [[cell for cell in column if cell] for column in zip(*plain, strict=True)]
    has_single_quoted_column = any(len(cells) >= _LEAST and all(map(_is_single_quoted, cells)) for cells in columns)
    return "'" if gained_rows > 0 or (gained_rows >= -1 and has_single_quoted_column) else '"'


def _is_single_quoted(cell: str) -> bool:
    return len(cell) > 1 and cell[0] == cell[-1] == "'"


def _is_utf8(first: bytes) -> bool:
    try:
        codecs.getincrementaldecoder("utf-8")().decode(first)  # not final: the last character may be cut
    except UnicodeDecodeError:
        return False
    return True
