"""Reading table files with stray quotes line by line, so that only the damaged rows are lost.

A stray quote makes a CSV reader take the rows after it for one cell. Here the row that opens such a quote is refused
alone, and reading goes on at the next line.
"""

import csv
import re
from collections import deque
from collections.abc import Iterable, Iterator, Set
from dataclasses import dataclass, field
from functools import cached_property
from io import StringIO, TextIOWrapper
from pathlib import Path
from typing import IO

MARK = "\x00"  # begins the line that replaces a refused one; no row contains it
_LONGEST = 1 << 20  # characters of a row; a longer one is refused
LINE_ENDS = 100  # of a cell; one with more is read, and noted
_COMPARED = 20  # lines of a cell that are compared with rows
_SAMPLE = 1000  # lines that show which columns hold numbers or instants
_KEPT = 10_000  # characters of a refused line that are kept
_PLAIN = re.compile("[TZ:.,+/ -]*[0-9][0-9TZ:.,+/ -]*")  # an id, a code, a number, an instant
_STRAY = "a stray quote: it is not closed before another row begins"
_LONG = "the row is longer than 1 MB"


@dataclass
class CarefulReader:
    """Reads the rows of a table of `width` columns line by line.

    The first `named` columns have names: a row may lack those after them, and surplus empty cells are ignored. `flat`
    columns cannot contain line ends. `refused` holds the reason and the text of each refused line, `overlong_cells`
    counts the cells with too many line ends.
    """

    width: int
    named: int
    separator: str
    quote: str
    flat: Set[int] = frozenset()
    refused: list[tuple[str, str]] = field(default_factory=list)
    overlong_cells: int = 0

    def copy(self, source: Path, start: int, target: Path) -> None:
        """Write the rows to another file, with a marked line in place of each refused one."""
        with source.open("rb") as source_file, target.open("w", encoding="utf-8", newline="") as target_file:
            source_file.seek(start)
            lines = _Lines(TextIOWrapper(source_file, encoding="utf-8", newline=""))
            self._find_plain_columns(lines)
            target_file.writelines(self._rows(lines))

    @property
    def notes(self) -> list[str]:
        """What looks wrong but was read."""
        note = f"{self.overlong_cells:,} cells hold more than {LINE_ENDS} line ends, which looks like a stray quote"
        return [note] if self.overlong_cells else []

    def _rows(self, lines: "_Lines") -> Iterator[str]:
        while line := lines.next():
            if len(line) >= _LONGEST and not line.endswith(("\n", "\r")):
                lines.skip_line()
                yield self._refuse(line, _LONG)
            elif self.quote not in line and line.count(self.separator) == self.width - 1:
                yield line
            else:
                yield self._row(line, lines)

    def _row(self, line: str, lines: "_Lines") -> str:
        """Return the row, of one or several lines, that begins on a line, or the mark of a refused line."""
        text, cells, extra_lines = line, self._cells(line), 0
        while cells.is_open:
            following = lines.ahead(extra_lines)
            is_long = not following or len(text) + len(following) > _LONGEST
            if is_long or (extra_lines == _COMPARED and self._are_rows(line, lines, extra_lines)):
                return self._refuse(line, _STRAY)
            text, extra_lines = text + following, extra_lines + 1
            if self.quote in following.replace(self.quote * 2, ""):
                cells = self._cells(text)
        if cells.is_broken or (extra_lines and not self._is_one_row(cells.texts, line, lines, extra_lines)):
            return self._refuse(line, _STRAY)
        lines.skip(extra_lines)
        self.overlong_cells += sum(cell.count("\n") > LINE_ENDS for cell in cells.texts)
        row = self._fit_to_width(cells.texts, text)
        return self._refuse(text, f"{self.width} cells expected, got {len(cells.texts)}") if row is None else row

    def _is_one_row(self, cells: list[str], line: str, lines: "_Lines", extra_lines: int) -> bool:
        """Whether several lines are one row, and not rows joined by a stray quote."""
        if not self.named <= len(cells) <= self.width:
            return False
        if any(_has_line_end(cell) for place, cell in enumerate(cells) if place in self.flat):
            return False
        return not self._are_rows(line, lines, extra_lines)

    def _are_rows(self, line: str, lines: "_Lines", extra_lines: int) -> bool:
        compared = [line, *(lines.ahead(place) for place in range(min(extra_lines, _COMPARED)))]
        return all(map(self._looks_like_row, compared))

    def _looks_like_row(self, line: str) -> bool:
        cells = self._split(line)
        if not self.named <= len(cells) <= self.width:
            return False
        return not any(
            cells[place] and not _is_plain(cells[place]) for place in self.plain_columns if place < len(cells)
        )

    def _find_plain_columns(self, lines: "_Lines") -> None:
        """Find the columns that hold only numbers or instants, from lines without quotes."""
        rows = [self._split(line) for line in lines.peek(_SAMPLE) if self.quote not in line]
        rows = [row for row in rows if len(row) == self.width]
        columns = zip(*rows, strict=True) if len(rows) > 1 else ()
        self.plain_columns = {
            place for place, cells in enumerate(columns) if all(map(_is_plain, filter(None, cells))) and any(cells)
        }

    @cached_property
    def _cell(self) -> re.Pattern[str]:
        """One cell and what ends it: correctly quoted, or else the text up to the next separator."""
        q, s = re.escape(self.quote), re.escape(self.separator)
        return re.compile(rf"(?:{q}([^{q}]*(?:{q}{q}[^{q}]*)*){q}(?!{q})|([^{s}\r\n]*))({s}|\r?\n|\r|$)")

    def _split(self, line: str) -> list[str]:
        """Return the cells of one line; a quote that it does not close counts as an ordinary character."""
        cells, start = [], 0
        while match := self._cell.match(line, start):
            quoted, plain, end = match.groups()
            cells.append(plain if quoted is None else quoted.replace(self.quote * 2, self.quote))
            start = match.end()
            if end != self.separator:
                break
        return cells

    def _cells(self, text: str) -> "_Cells":
        """Return the cells of the beginning of a row, and whether a quote in it is open or misplaced."""
        cells, start = list[str](), 0
        while match := self._cell.match(text, start):
            quoted, plain, end = match.groups()
            if quoted is None and plain.startswith(self.quote):
                return self._misplaced(text, start, cells)
            cells.append(plain if quoted is None else quoted.replace(self.quote * 2, self.quote))
            start = match.end()
            if end != self.separator:
                break
        return _Cells(cells)

    def _misplaced(self, text: str, start: int, cells: list[str]) -> "_Cells":
        """Judge a quoted cell with no separator after it: its quote is open, or followed by text as in `"a"b`."""
        q = re.escape(self.quote)
        quoted = re.compile(rf"{q}([^{q}]*(?:{q}{q}[^{q}]*)*){q}(?!{q})").match(text, start)
        if quoted is None:
            return _Cells(cells, is_open=True)
        if re.search(rf"[{re.escape(self.separator)}\r\n]", quoted.group()):
            return _Cells(cells, is_broken=True)
        line = text.rstrip("\r\n")
        rows = list(csv.reader(StringIO(f"{line}\nx"), delimiter=self.separator, quotechar=self.quote))
        is_open = len(rows) == 1  # another quote on the line is still open: its cell includes the x
        return _Cells(rows[0], is_broken=is_open or _has_line_end(line))

    def _fit_to_width(self, cells: list[str], text: str) -> str | None:
        """Return a row as it is, or padded or cut to the width if only empty cells differ; None if neither fits."""
        if len(cells) == self.width or (self.quote not in text and not self._may_fit(cells)):
            return text if text.endswith(("\n", "\r")) else text + "\n"
        if not self._may_fit(cells):
            return None
        cells = (cells + [""] * self.width)[: self.width]
        row = StringIO(newline="")
        csv.writer(row, delimiter=self.separator, quotechar=self.quote).writerow(cells)
        return row.getvalue()

    def _may_fit(self, cells: list[str]) -> bool:
        return any(cells) and len(cells) >= self.named and not any(cells[self.width :])

    def _refuse(self, line: str, reason: str) -> str:
        self.refused.append((reason, line.rstrip("\r\n")[:_KEPT]))
        return f"{MARK}{len(self.refused) - 1}{self.separator * self.width}\n"


@dataclass
class _Cells:
    texts: list[str]
    is_open: bool = False
    is_broken: bool = False


class _Lines:
    """The physical lines of a text, with lookahead."""

    def __init__(self, text: IO[str]) -> None:
        self._text, self._ahead = text, deque[str]()

    def next(self) -> str:
        return self._ahead.popleft() if self._ahead else self._text.readline(_LONGEST)

    def ahead(self, place: int) -> str:
        while len(self._ahead) <= place and (line := self._text.readline(_LONGEST)):
            self._ahead.append(line)
        return self._ahead[place] if place < len(self._ahead) else ""

    def peek(self, count: int) -> Iterable[str]:
        self.ahead(count - 1)
        return list(self._ahead)[:count]

    def skip(self, count: int) -> None:
        for _ in range(count):
            self._ahead.popleft()

    def skip_line(self) -> None:
        while (part := self.next()) and not part.endswith(("\n", "\r")):
            pass


def _has_line_end(text: str) -> bool:
    return "\n" in text or "\r" in text


def _is_plain(text: str) -> bool:
    return bool(_PLAIN.fullmatch(text))
