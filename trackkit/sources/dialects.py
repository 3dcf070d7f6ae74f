"""How a text table is written: its separator, its quotes and its headers, told from its first bytes."""

import codecs
import csv
import io
import re
from collections.abc import Callable
from dataclasses import dataclass

_SEPARATORS = ",;\t|"
_RARE = ":^~#!\x01\x1f"  # tried where none of the others gives a header that is known
_SEP_LINE = re.compile(r'"?sep=(.)"?[;,]*[ \t]*(?:\r\n|\n|\r)', re.IGNORECASE)  # Excel's mark of the separator
_LEAST = 3  # cells of a column, all in single quotes, that say how strings are written


@dataclass(frozen=True)
class Dialect:
    """How a table file is written: its headers, separator and quote, and at which byte its first row begins."""

    headers: list[str]
    separator: str = ""
    start: int = 0
    quote: str = '"'

    @property
    def named(self) -> int:
        """How many columns there are up to the last one with a name."""
        return max((place for place, header in enumerate(self.headers, 1) if header.strip()), default=0)


def dialect_of(first: bytes, knows: Callable[[list[str]], int] = len) -> Dialect:
    """Return how a table is written that begins with such bytes; `knows` rates headers, the higher the better."""
    encoding = "utf-8" if _is_utf8(first) else "latin-1"
    bom = len(codecs.BOM_UTF8) if first.startswith(codecs.BOM_UTF8) else 0
    text = first[bom:].decode(encoding, "replace")
    told = _SEP_LINE.match(text)
    start = told.end() if told else 0
    body = text[start:]
    before = bom + start

    def rated(separators: str) -> tuple[int, int, Dialect]:
        ways = [way for one in separators for way in _ways(body, one, encoding, before)]
        rates = [(knows(way.headers), len(way.headers), -place) for place, way in enumerate(ways)]
        best = max(range(len(ways)), key=rates.__getitem__)
        return rates[best][0], rates[best][1], ways[best]

    if told and told[1] not in '\r\n"' and told[1].isascii():
        return rated(told[1])[2]
    known, columns, best = rated(_SEPARATORS)
    if known > 1 or columns > 1:
        return best
    other = rated(_RARE)
    return other[2] if other[0] > max(known, 1) else best


def _ways(text: str, separator: str, encoding: str, before: int) -> list[Dialect]:
    """Return how the header may be read with a separator: as it stands, and without regard to a quote in it."""
    stream, quote = io.StringIO(text, newline=""), _quote(text, separator)
    try:
        rows = csv.reader(stream, delimiter=separator, quotechar=quote)
        headers = next((record for record in rows if record), [])
    except csv.Error:  # a header of more than 128 KB, or a NUL in it: no table
        headers = []
    read = text[: stream.tell()]
    ways = [Dialect(headers, separator, before + len(read.encode(encoding)), quote)]
    if len(lines := read.strip("\r\n").splitlines(keepends=True)) > 1:  # a name of two lines, or a stray quote
        plain = [cell.strip(quote + " ") for cell in lines[0].rstrip("\r\n").split(separator)]
        start = read.index(lines[0]) + len(lines[0])
        ways.append(Dialect(plain, separator, before + len(read[:start].encode(encoding)), quote))
    return ways


def _quote(text: str, separator: str) -> str:
    """Return the quote of a table: the single one where headers, or all cells of some column, stand in it."""
    if "'" not in text:
        return '"'
    lines = [line.split(separator) for line in text.splitlines() if line.strip()]
    named = [cell for cell in lines[0] if cell] if lines else []
    if named and all(map(_is_single_quoted, named)):
        return "'"
    if '"' in text:
        return '"'
    width = len(lines[0]) if lines else 0
    plain = [line for line in lines[1:-1] if len(line) == width]
    whole = text[: text.rfind("\n") + 1]  # the last line may be cut
    try:
        rows = list(csv.reader(io.StringIO(whole, newline=""), delimiter=separator, quotechar="'"))
    except csv.Error:
        return '"'
    more = sum(len(row) == width for row in rows[1:]) - sum(len(line) == width for line in lines[1:])
    columns = [[cell for cell in column if cell] for column in zip(*plain, strict=True)]
    is_single = any(len(some) >= _LEAST and all(map(_is_single_quoted, some)) for some in columns)
    return "'" if more > 0 or (more >= -1 and is_single) else '"'


def _is_single_quoted(cell: str) -> bool:
    return len(cell) > 1 and cell[0] == cell[-1] == "'"


def _is_utf8(first: bytes) -> bool:
    try:
        codecs.getincrementaldecoder("utf-8")().decode(first)  # not final: the last character may be cut
    except UnicodeDecodeError:
        return False
    return True
