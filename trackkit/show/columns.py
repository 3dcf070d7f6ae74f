"""Declared presentation tables: a frame, and some of the columns declared for its subject.

A `TableColumn` declares what a column shows, its parts, and why a cell may be empty, without any HTML. Below it are the
functions that make a cell of each kind.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import polars as pl
from great_tables import GT
from markupsafe import Markup

from trackkit.language import say, translatable
from trackkit.show import data as page_data
from trackkit.show.cells import (
    OTHERS,
    TOTAL,
    Cell,
    Labels,
    bold,
    fraction,
    headings,
    over,
    presented,
    require,
    shown_text,
    unavailable,
)
from trackkit.show.data import DataField, table_data
from trackkit.show.wording import NOT_AVAILABLE, number, percent, short

Row = Mapping[str, Any]
Kind = Literal["count", "change", "share", "growth", "average", "text", "word", "group", "bar", "part"]
NUMBERS = ("count", "change", "share", "growth", "average")
DATA_KINDS: Mapping[str, page_data.Kind] = {
    "share": "share",
    "growth": "share",
    "average": "average",
    "change": "count",
    "text": "text",
    "word": "text",
    "group": "text",
}  # the others by the type of their values
UNKNOWN_TEXT = translatable("unknown")  # shown without a reason, as n/a is
DOUBLED = translatable("more than doubled")  # a growth rate of hundreds of per cent says only that it began with few
SEVEN = translatable("The platform's seven types")
# The rows that are not groups: their names in the column `row`, and their words.
ROWS = {"total": TOTAL, "others": OTHERS, "seven": SEVEN}


@dataclass(frozen=True)
class TableColumn:
    """One column of a table: its English heading (by default the column's own name), and what it shows.

    Kinds of figures: "count", a whole number; "change", one with its sign; "share", a fraction shown as a percentage;
    "growth", one with its sign, up to 100 %; "average". Kinds of text: "text" of a log; "word", one of our own `words`;
    "group", the row's group, or "Total" and the like in a row that we added; "bar", a share as a bar. A "part" is never
    shown: its heading names the denominator of a share.

    `parts` are the columns of numerator and denominator. `why_empty` says why known parts give no figure, `why_unknown`
    why a figure or a part is unknown; a cell without a reason is empty.
    """

    heading: str | None = None
    kind: Kind = "count"
    parts: tuple[str, str] | None = None
    why_empty: str = ""
    why_unknown: str = ""
    words: Labels = field(default_factory=dict)
    longest: int = 80


Columns = Mapping[str, TableColumn]
OwnCells = Mapping[str, Callable[[Row], Cell]]


def column_table(
    rows: pl.DataFrame,
    columns: Columns,
    chosen: Sequence[str],
    labels: Labels | None = None,
    lang: str = "en",
    own: OwnCells | None = None,
    brief: bool = False,
) -> GT:
    """Show a frame row by row, with the `chosen` ones of the declared columns, in that order.

    `own` has functions that make the cells of certain columns. With `brief`, only the total says why a figure is
    missing. Raises RequestError for a column that the frame does not have.
    """
    words = column_headings(columns, chosen, labels, lang)
    cells = column_cells(rows, columns, chosen, words, lang, own, brief)
    right = [name for name in chosen if columns.get(name, TableColumn()).kind in NUMBERS]
    data = column_data(rows, columns, chosen, words, lang, cells)
    return presented(cells, {name: words[name] for name in chosen}, right, data)


def column_data(
    rows: pl.DataFrame,
    columns: Columns,
    chosen: Sequence[str],
    words: Labels,
    lang: str,
    cells: Sequence[Mapping[str, Cell]],
) -> dict[str, Any]:
    """Return the raw values of a table's columns, each share followed by its parts; text is as the cells show it."""
    listed = [name for name in chosen if columns.get(name, TableColumn()).kind != "bar"]
    names = dict.fromkeys(
        each for name in listed for each in (name, *((columns[name].parts or ()) if name in columns else ()))
    )
    fields = [
        DataField(name, words.get(name, name), _data_kind(rows, name, columns.get(name)))
        for name in names
        if name in rows.columns
    ]
    texts = {field.name for field in fields if field.kind == "text"}
    values = [
        row | {name: _text_value(row[name], cell[name]) for name in texts & set(chosen)}
        for row, cell in zip(rows.iter_rows(named=True), cells, strict=True)
    ]
    return table_data("table", fields, values)


def _data_kind(rows: pl.DataFrame, name: str, column: TableColumn | None) -> page_data.Kind:
    if column and column.kind in DATA_KINDS:
        return DATA_KINDS[column.kind]
    dtype = rows.schema[name]
    return "count" if dtype.is_numeric() else "instant" if dtype.is_temporal() else "text"


def _text_value(value: Any, cell: Cell) -> Any:
    """The words of a cell, or the value itself where the cell is shortened or left blank."""
    if value is None and "tk-na" in cell:
        return None
    shown = shown_text(cell)
    return value if value is not None and (not shown or "…" in shown) else shown or None


def column_headings(columns: Columns, chosen: Sequence[str], labels: Labels | None, lang: str) -> dict[str, str]:
    """Return the headings of the chosen columns and of their parts."""
    parts = [part for name in chosen if name in columns for part in columns[name].parts or ()]
    heading_of = {name: column.heading for name, column in columns.items() if column.heading is not None}
    return headings([*chosen, *parts], heading_of, labels, lang)


def column_cells(
    rows: pl.DataFrame,
    columns: Columns,
    chosen: Sequence[str],
    words: Labels,
    lang: str,
    own: OwnCells | None = None,
    brief: bool = False,
) -> list[dict[str, Cell]]:
    """Return the cells of a table, row by row; `words` are the headings of its columns and of their parts."""
    own = own or {}
    require(chosen, [*rows.columns, *own])
    denominators = {part for part, column in columns.items() if column.kind == "part"}

    def cell(row: Row, name: str) -> Cell:
        if name in own:
            return own[name](row)
        column = columns.get(name) or TableColumn(kind="count" if rows.schema[name].is_numeric() else "text")
        if column.kind not in NUMBERS:
            return _text(row, name, column, lang)
        if row[name] is None:
            return _missing(row, name, column, words, lang, brief and row["row"] != "total")
        return _figure(row, name, column, words if column.parts and column.parts[1] in denominators else {}, lang)

    return [{name: cell(row, name) for name in chosen} for row in rows.iter_rows(named=True)]


def _text(row: Row, name: str, column: TableColumn, lang: str) -> Cell:
    if column.kind == "group" and row.get("row") in ROWS:
        return bold(say(ROWS[row["row"]], lang))
    if row[name] is None:
        return bare(column.why_unknown, lang) if column.why_unknown else ""
    text = str(row[name])
    return short(say(column.words.get(text, text), lang) if column.words else text, column.longest, lang)


def _figure(row: Row, name: str, column: TableColumn, words: Labels, lang: str) -> Cell:
    if not column.parts:
        return _formatted(row[name], column.kind, lang)
    top, bottom = column.parts
    title = f"{words[top]} / {words[bottom]}" if words else ""
    parts = fraction(row[top], row[bottom], lang, is_share=column.kind == "share")
    return over(_formatted(row[name], column.kind, lang, row[bottom]), parts, title)


def _formatted(value: float, kind: Kind, lang: str, of: float | None = None) -> str:
    match kind:
        case "share":
            return percent(value, lang=lang, of=of)
        case "growth":
            return say(DOUBLED, lang) if value > 1 else f"{'+' if value > 0 else ''}{percent(value, lang=lang, of=of)}"
        case "average":
            return number(value, 2, lang)
        case "change":
            return signed(value, lang)
    return number(value, lang=lang)


def _missing(row: Row, name: str, column: TableColumn, words: Labels, lang: str, brief: bool) -> Cell:
    """Say why a figure is missing: it cannot be observed, has no value for its parts, or is unknown."""
    if brief:
        return bare(NOT_AVAILABLE, lang) if column.parts or column.kind != "share" else ""
    is_known = column.parts and all(row[part] is not None for part in column.parts)
    why = row.get(f"why {name}") or (column.why_empty if is_known else column.why_unknown)
    if why in ("", NOT_AVAILABLE):
        return bare(why, lang) if why else ""
    return unavailable(why, lang, denominator=words[column.parts[1]] if column.parts else "")


def bare(word: str, lang: str) -> Markup:
    """Show a word for what is missing, without a reason."""
    return Markup('<span class="tk-na">{}</span>').format(say(word, lang))


def signed(value: float, lang: str = "en") -> str:
    """Return a difference with its sign; 0 has none.

    >>> signed(1200), signed(-3), signed(0)
    ('+1,200', '-3', '0')
    """
    return f"{'+' if value > 0 else ''}{number(value, lang=lang)}"
