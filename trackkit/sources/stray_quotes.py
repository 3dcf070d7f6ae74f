"""The careful reading of a table file in which quotes stand where none belong: line by line, so that none is lost.

A stray quote makes a reader take the rows after it for one cell. Here a row that opens a quote and cannot be a row of
several lines is refused alone, and reading goes on at the next line.
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

MARK = "\x00"  # begins the line that stands in the place of a refused one: it can stand in no row
_LONGEST = 1 << 20  # characters of a row; a longer one is refused
LINE_ENDS = 100  # of a cell; a text with more is read, and said
_LOOKED_AT = 20  # lines of a cell that are compared with rows
_SAMPLE = 1000  # lines from which is learned which columns hold numbers or instants
_KEPT = 10_000  # characters of a refused line that are kept
_PLAIN = re.compile("[TZ:.,+/ -]*[0-9][0-9TZ:.,+/ -]*")  # an id, a code, a number, an instant
_STRAY = "a stray quote: it is not closed before another row begins"
_LONG = "the row is longer than 1 MB"


@dataclass
class CarefulReader:
    """The rows of a text of so many columns, read with care.

    `named` says how many columns have a name: nameless ones at the end may be left out of a row, and empty cells
    beyond the last column mean nothing; `flat` are the columns that can hold no line end. `refused` holds the reason
    and the text of each refused line, `tall` counts the cells with more line ends than one expects.
    """

    width: int
    named: int
    separator: str
    quote: str
    flat: Set[int] = frozenset()
    refused: list[tuple[str, str]] = field(default_factory=list)
    tall: int = 0

    def copy(self, source: Path, start: int, target: Path) -> None:
        """Write the rows to another file; a marked line stands in the place of each refused one."""
        with source.open("rb") as first, target.open("w", encoding="utf-8", newline="") as copy:
            first.seek(start)
            lines = _Lines(TextIOWrapper(first, encoding="utf-8", newline=""))
            self._learn(lines)
            copy.writelines(self._rows(lines))

    @property
    def notes(self) -> list[str]:
        """What was found that looks wrong but was read."""
        many = f"{self.tall:,} cells hold more than {LINE_ENDS} line ends, which looks like a stray quote"
        return [many] if self.tall else []

    def _rows(self, lines: "_Lines") -> Iterator[str]:
        while line := lines.next():
            if len(line) >= _LONGEST and not line.endswith(("\n", "\r")):
                lines.skip_rest_of_line()
                yield self._refuse(line, _LONG)
            elif self.quote not in line and line.count(self.separator) == self.width - 1:
                yield line
            else:
                yield self._row(line, lines)

    def _row(self, line: str, lines: "_Lines") -> str:
        """Return a row that begins on a line, of one line or of several, or what marks the line as refused."""
        text, cells, more = line, self._cells(line), 0
        while cells.is_open:
            following = lines.ahead(more)
            is_long = not following or len(text) + len(following) > _LONGEST
            if is_long or (more == _LOOKED_AT and self._are_rows(line, lines, more)):
                return self._refuse(line, _STRAY)
            text, more = text + following, more + 1
            if self.quote in following.replace(self.quote * 2, ""):
                cells = self._cells(text)
        if cells.is_broken or (more and not self._is_one(cells.texts, line, lines, more)):
            return self._refuse(line, _STRAY)
        lines.pass_over(more)
        self.tall += sum(cell.count("\n") > LINE_ENDS for cell in cells.texts)
        fitted = self._fitted(cells.texts, text)
        return self._refuse(text, f"{self.width} cells expected, got {len(cells.texts)}") if fitted is None else fitted

    def _is_one(self, cells: list[str], line: str, lines: "_Lines", more: int) -> bool:
        """Whether a row of several lines is one, and not several that a stray quote joins."""
        if not self.named <= len(cells) <= self.width:
            return False
        if any(_has_line_end(cell) for place, cell in enumerate(cells) if place in self.flat):
            return False
        return not self._are_rows(line, lines, more)

    def _are_rows(self, line: str, lines: "_Lines", more: int) -> bool:
        each = [line, *(lines.ahead(place) for place in range(min(more, _LOOKED_AT)))]
        return all(map(self._is_like_a_row, each))

    def _is_like_a_row(self, line: str) -> bool:
        cells = self._split(line)
        if not self.named <= len(cells) <= self.width:
            return False
        return not any(cells[place] and not _is_plain(cells[place]) for place in self.plain if place < len(cells))

    def _learn(self, lines: "_Lines") -> None:
        """Learn which columns hold numbers or instants, from lines without quotes."""
        rows = [self._split(line) for line in lines.peek(_SAMPLE) if self.quote not in line]
        rows = [row for row in rows if len(row) == self.width]
        columns = zip(*rows, strict=True) if len(rows) > 1 else ()
        self.plain = {
            place for place, some in enumerate(columns) if all(map(_is_plain, filter(None, some))) and any(some)
        }

    @cached_property
    def _cell(self) -> re.Pattern[str]:
        """One cell and what ends it: in quotes as it should be, or else up to the next separator, as it stands."""
        q, s = re.escape(self.quote), re.escape(self.separator)
        return re.compile(rf"(?:{q}([^{q}]*(?:{q}{q}[^{q}]*)*){q}(?!{q})|([^{s}\r\n]*))({s}|\r?\n|\r|$)")

    def _split(self, line: str) -> list[str]:
        """Return the cells of one line, a quote that is not closed on it being a character like others."""
        cells, place = [], 0
        while found := self._cell.match(line, place):
            quoted, plain, end = found.groups()
            cells.append(plain if quoted is None else quoted.replace(self.quote * 2, self.quote))
            place = found.end()
            if end != self.separator:
                break
        return cells

    def _cells(self, text: str) -> "_Cells":
        """Return the cells of a text that begins a row, and whether a quote in it is still open, or misplaced."""
        cells, place = list[str](), 0
        while found := self._cell.match(text, place):
            quoted, plain, end = found.groups()
            if quoted is None and plain.startswith(self.quote):
                return self._misplaced(text, place, cells)
            cells.append(plain if quoted is None else quoted.replace(self.quote * 2, self.quote))
            place = found.end()
            if end != self.separator:
                break
        return _Cells(cells)

    def _misplaced(self, text: str, place: int, cells: list[str]) -> "_Cells":
        """What a quote is that no separator follows after its end: open, or a whim of who wrote `"a"b`."""
        q = re.escape(self.quote)
        inner = re.compile(rf"{q}([^{q}]*(?:{q}{q}[^{q}]*)*){q}(?!{q})").match(text, place)
        if inner is None:
            return _Cells(cells, is_open=True)
        if re.search(rf"[{re.escape(self.separator)}\r\n]", inner.group()):
            return _Cells(cells, is_broken=True)
        bare = text.rstrip("\r\n")
        rows = list(csv.reader(StringIO(f"{bare}\nx"), delimiter=self.separator, quotechar=self.quote))
        is_open = len(rows) == 1  # a further quote is, on the same line: it has taken the x too
        return _Cells(rows[0], is_broken=is_open or _has_line_end(bare))

    def _fitted(self, cells: list[str], text: str) -> str | None:
        """Return a row as it stands, or with as many cells as there are columns where only empty ones differ."""
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
    """The physical lines of a text, of which those ahead can be looked at."""

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

    def pass_over(self, count: int) -> None:
        for _ in range(count):
            self._ahead.popleft()

    def skip_rest_of_line(self) -> None:
        while (part := self.next()) and not part.endswith(("\n", "\r")):
            pass


def _has_line_end(text: str) -> bool:
    return "\n" in text or "\r" in text


def _is_plain(text: str) -> bool:
    return bool(_PLAIN.fullmatch(text))
