"""Short tables by which our objects show themselves: as text at the prompt, as HTML in a notebook."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from trackkit.plain import one_line

_WIDEST = 60  # letters of a cell at the prompt
_SIZES = ("B", "kB", "MB", "GB", "TB")


@dataclass(frozen=True)
class Listing:
    """A table of texts and whole numbers, between sentences; None is an empty cell, `columns` may be nameless.

    >>> print(Listing(["2 tables"], ["table", "rows"], [["event", 12345], ["link", None]]))
    2 tables
    table    rows
    event  12,345
    link
    """

    head: Sequence[str]
    columns: Sequence[str]
    rows: Sequence[Sequence[str | int | None]]
    foot: Sequence[str] = ()

    def __str__(self) -> str:
        lines_of = (self.columns, *self.rows) if any(self.columns) else self.rows
        cells = [[_clipped(_written(cell)) for cell in row] for row in lines_of]
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        sides = [str.rjust if is_number else str.ljust for is_number in self._are_numbers()]
        lines = [
            "  ".join(side(cell, width) for side, cell, width in zip(sides, row, widths, strict=True)).rstrip()
            for row in cells
        ]
        return "\n".join([*map(one_line, self.head), *(lines if self.rows else []), *map(one_line, self.foot)])

    def _repr_html_(self) -> str:
        sides = ["right" if is_number else "left" for is_number in self._are_numbers()]
        rows = [_row(row, "td", sides) for row in self.rows]
        head = f"<thead>{_row(self.columns, 'th', sides)}</thead>" if any(self.columns) else ""
        table = f"<table>{head}<tbody>{''.join(rows)}</tbody></table>"
        return _sentences(self.head) + (table if rows else "") + _sentences(self.foot)

    def _are_numbers(self) -> list[bool]:
        return [any(isinstance(row[place], int) for row in self.rows) for place in range(len(self.columns))]


def _row(cells: Sequence[str | int | None], tag: str, sides: Sequence[str]) -> str:
    written = [
        f'<{tag} style="text-align:{side}">{escape(_written(cell))}</{tag}>'
        for cell, side in zip(cells, sides, strict=True)
    ]
    return f"<tr>{''.join(written)}</tr>"


def _sentences(sentences: Sequence[str]) -> str:
    return "".join(f"<p>{escape(one_line(sentence))}</p>" for sentence in sentences)


def _written(cell: str | int | None) -> str:
    return "" if cell is None else f"{cell:,}" if isinstance(cell, int) else one_line(cell)


def _clipped(text: str) -> str:
    return text if len(text) <= _WIDEST else f"{text[: _WIDEST - 1]}…"


def in_bytes(size: int) -> str:
    """Return a size in words.

    >>> in_bytes(950), in_bytes(25_415_000)
    ('950 B', '25.4 MB')
    """
    value, place = float(size), 0
    while value >= 999.5 and place + 1 < len(_SIZES):
        value, place = value / 1000, place + 1
    return f"{value:.1f} {_SIZES[place]}" if place else f"{size} B"
