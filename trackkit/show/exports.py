"""Frames written for other programs and for the terminal: no cell becomes a formula or moves the cursor."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import IO, Any

import polars as pl

from trackkit.clock import is_twice
from trackkit.errors import RequestError
from trackkit.plain import ESCAPES, in_json

_FORMULA = r"^\s*[=+\-@\t\r\n＝＋－＠]"
# In some locales a spreadsheet splits a cell at these, and runs what follows as a formula.
_INNER_FORMULA = r"((?:^[;|]|[^\s;|]\s*[;|\t\r\n])[\s\";|]*)([=+\-@＝＋－＠])"
_NUMBER = r"^[+-]?\d+(\.\d+)?$"
_INSTANT = "%Y-%m-%dT%H:%M:%S%.f%:z"
# The limits of a worksheet: rows below the header, exact whole numbers, years, letters in a cell.
MOST_ROWS, LARGEST_NUMBER, FIRST_YEAR, LONGEST_CELL = 1_048_575, 10**15, 1900, 32_767
_BEYOND_16_BITS = r"[\x{10000}-\x{10ffff}]"
_CUT = " … (cut here: a cell holds 32,767 letters)"
_OFFSET = "UTC offset"
_SHEET = {
    "strings_to_formulas": False,
    "strings_to_urls": False,
    "strings_to_numbers": False,
    "constant_memory": True,
}
LONGEST_NAME, _NOT_IN_NAMES = 31, r"[\[\]:*?/\\\x00-\x1f\x7f]"  # of a worksheet
_NOT_XML = r"[\x00-\x08\x0b\x0c\x0e-\x1f\x{fffe}\x{ffff}]"


def spreadsheet_safe(frame: pl.DataFrame) -> pl.DataFrame:
    """Prefix with an apostrophe what a spreadsheet would run as a formula in text cells; numbers stay numbers.

    >>> spreadsheet_safe(pl.DataFrame({"label": ["=1+1", "-5", "Home;=1+1"]}))["label"].to_list()
    ["'=1+1", '-5', "Home;'=1+1"]
    """
    return frame.with_columns(_escaped(pl.col(name)) for name, dtype in frame.schema.items() if dtype == pl.String)


def _escaped(text: pl.Expr) -> pl.Expr:
    risky = text.str.contains(_FORMULA) & ~text.str.contains(_NUMBER)
    inside = text.str.replace_all(_INNER_FORMULA, "$1'$2")
    return pl.when(risky).then(pl.concat_str(pl.lit("'"), inside)).otherwise(inside).name.keep()


def write_csv(frame: pl.DataFrame, file: IO[bytes]) -> None:
    """Write CSV: instants as ISO 8601 with their offset, null as empty, text safe for spreadsheets."""
    spreadsheet_safe(_without_lists(frame)).write_csv(file, datetime_format=_INSTANT)


def write_json(frame: pl.DataFrame, file: IO[bytes]) -> None:
    """Write a JSON array of records: null as null, instants as ISO 8601 with their offset."""
    instants = pl.col(pl.Datetime("us", "*")).dt.to_string(_INSTANT)
    file.write(in_json(_enums_as_text(frame).with_columns(instants).write_json()).encode() + b"\n")


def write_xlsx(frame: pl.DataFrame, file: IO[bytes], about: Mapping[str, object] | None = None) -> None:
    """Write a workbook: the rows in a sheet "Data", and `about` (what, when, which filters) in a sheet "About".

    Text is text, never a formula, a link or a number; counts and rates are numbers; instants are dates by the clock of
    their own time zone, which About names. If some are ambiguous there (the clock was put back), a column beside them
    has their offset. Raises RequestError for more rows than a worksheet holds.
    """
    if frame.height > MOST_ROWS:
        raise RequestError(f"A worksheet holds {MOST_ROWS:,} rows; there are {frame.height:,}. Try csv or parquet.")
    created = datetime.now(UTC)
    with _workbook(file, created) as book:
        _fill(book, book.add_worksheet("Data"), Worksheet("Data", with_offsets(_without_lists(frame))))
        zone = {"Time zone": zones} if (zones := _zones(frame)) else {}
        facts = {**(about or {}), **zone, "Rows": frame.height, "Made at": f"{created:%Y-%m-%d %H:%M} UTC"}
        _write_about(book, book.add_worksheet("About"), facts.items())


@dataclass(frozen=True)
class Worksheet:
    """A sheet of a workbook: its name, its rows, and how numbers of some columns are written ("0.00%")."""

    name: str
    frame: pl.DataFrame
    forms: Mapping[str, str] = field(default_factory=dict)


Facts = Iterable[tuple[str, object]]


def write_workbook(file: IO[bytes], about: str, facts: Facts, sheets: Sequence[Worksheet], made_at: datetime) -> None:
    """Write a workbook: `facts`, name and value, in a first sheet of the name `about`, then the other sheets.

    Cells are as in `write_xlsx`. The same sheets and `made_at` give the same bytes.
    """
    with _workbook(file, made_at) as book:
        _write_about(book, book.add_worksheet(about), facts)
        for sheet in sheets:
            _fill(book, book.add_worksheet(sheet.name), sheet)


def _workbook(file: IO[bytes], made_at: datetime) -> Any:
    from xlsxwriter import Workbook  # takes 50 ms, only for this output

    book = Workbook(file, _SHEET)
    book.set_properties({"title": "trackkit", "created": made_at})
    return book


def sheet_name(title: str, taken: Iterable[str]) -> str:
    """Return a name for a worksheet: 31 letters at most, none of `[]:*?/\\`, unlike those taken in any case.

    >>> sheet_name("Opens: by hour/day", []), sheet_name("About", ["about"])
    ('Opens by hour day', 'About (2)')
    """
    safe = " ".join(re.sub(_NOT_IN_NAMES, " ", title).split()).strip("' ") or "Table"
    used = {name.casefold() for name in (*taken, "History")}  # the last is a spreadsheet's own
    endings = ["", *(f" ({count})" for count in range(2, len(used) + 3))]
    names = (safe[: LONGEST_NAME - len(ending)].rstrip("' ") + ending for ending in endings)
    return next(name for name in names if name.casefold() not in used)


def with_offsets(frame: pl.DataFrame) -> pl.DataFrame:
    """Add the offset beside each column of instants in which some local time is ambiguous."""
    columns: list[pl.Expr] = []
    for name, dtype in frame.schema.items():
        columns.append(pl.col(name))
        zone = dtype.time_zone if isinstance(dtype, pl.Datetime) else None
        if zone and frame.select(is_twice(pl.col(name), zone).any()).item():
            columns.append(pl.col(name).dt.to_string("%:z").alias(f"{name} {_OFFSET}"))
    return frame.select(columns)


def fitting(frame: pl.DataFrame) -> pl.DataFrame:
    """Return a frame whose text fits in the cells of a worksheet."""
    return frame.with_columns(_fitting(pl.col(name)) for name, dtype in frame.schema.items() if dtype == pl.String)


def _fill(book: Any, sheet: Any, content: Worksheet) -> None:
    header_format = book.add_format({"bold": True, "bottom": 1})
    shown = fitting(content.frame)
    for column, name in enumerate(shown.columns):
        sheet.set_column(column, column, _width(shown[name]))
        sheet.write_string(0, column, name, header_format)
    sheet.freeze_panes(1, 0)
    if shown.width:
        sheet.autofilter(0, 0, max(1, shown.height), shown.width - 1)
    cells = [_cell_writer(book, sheet, dtype, content.forms.get(name)) for name, dtype in shown.schema.items()]
    for row, values in enumerate(shown.iter_rows(), start=1):  # by rows, as xlsxwriter's constant_memory requires
        for column, value in enumerate(values):
            if value is not None:
                cells[column](row, column, value)


def _fitting(column: pl.Expr) -> pl.Expr:
    """Text that fits in a cell: valid in XML, and cut if too long in 16-bit units (an emoji has two)."""
    text = column.str.replace_all(_NOT_XML, "\ufffd")
    units = text.str.len_chars() + text.str.count_matches(_BEYOND_16_BITS)
    cut = pl.concat_str(text.str.head((LONGEST_CELL - len(_CUT)) // 2), pl.lit(_CUT))
    is_long = text.str.len_bytes() > LONGEST_CELL
    return pl.when(is_long & (pl.when(is_long).then(units) > LONGEST_CELL)).then(cut).otherwise(text).name.keep()


def _cell_writer(book: Any, sheet: Any, dtype: pl.DataType, form: str | None) -> Callable[[int, int, Any], object]:
    """Return the function that writes the cells of a column of this type, its numbers in this form."""
    if dtype == pl.Boolean:
        return lambda row, place, value: sheet.write_boolean(row, place, value)
    if dtype.is_numeric():
        style = book.add_format({"num_format": form}) if form else None
        return lambda row, place, value: _write_number(sheet, row, place, value, style)
    if dtype in (pl.Date, pl.Datetime):
        style = book.add_format({"num_format": "yyyy-mm-dd" if dtype == pl.Date else "yyyy-mm-dd hh:mm:ss"})
        return lambda row, place, value: _write_instant(sheet, row, place, value, style)
    return lambda row, place, value: sheet.write_string(row, place, str(value))


def _write_number(sheet: Any, row: int, place: int, value: float, style: Any) -> None:
    """Write a number, or its digits as text if a spreadsheet would change them."""
    is_exact = abs(value) < LARGEST_NUMBER  # false for NaN, too
    sheet.write_number(row, place, value, style) if is_exact else sheet.write_string(row, place, str(value))


def _write_instant(sheet: Any, row: int, place: int, value: Any, style: Any) -> None:
    if value.year < FIRST_YEAR:
        sheet.write_string(row, place, value.isoformat())
    else:
        sheet.write_datetime(row, place, value.replace(tzinfo=None) if isinstance(value, datetime) else value, style)


def _width(column: pl.Series) -> float:
    lengths = column.head(200).cast(pl.String, strict=False).str.len_chars().to_list()
    return min(60, max(10, len(column.name) + 3, 1 + max((length or 0 for length in lengths), default=0)))


def _zones(frame: pl.DataFrame) -> str:
    zones = {dtype.time_zone or "UTC" for dtype in frame.dtypes if isinstance(dtype, pl.Datetime)}
    return ", ".join(sorted(zones))


def _write_about(book: Any, sheet: Any, facts: Facts) -> None:
    sheet.set_column(0, 0, 16, book.add_format({"bold": True}))
    sheet.set_column(1, 1, 100, book.add_format({"text_wrap": True}))
    for row, (name, value) in enumerate((name, value) for name, value in facts if value not in (None, "")):
        sheet.write_string(row, 0, name)
        sheet.write_string(row, 1, str(value))


def as_text(frame: pl.DataFrame) -> str:
    """Return the whole frame as a text table without terminal control codes."""
    shown = on_one_line(_without_lists(frame))
    with pl.Config(
        tbl_rows=-1,
        tbl_cols=-1,
        tbl_width_chars=10_000,
        fmt_str_lengths=100,
        tbl_hide_column_data_types=True,
        tbl_hide_dataframe_shape=True,
        tbl_formatting="UTF8_FULL_CONDENSED",
    ):
        return str(shown)


def on_one_line(frame: pl.DataFrame) -> pl.DataFrame:
    """Escape terminal control codes in the frame, as `plain.one_line` does."""
    return frame.with_columns(pl.col(pl.String).str.replace_many(ESCAPES))


def _without_lists(frame: pl.DataFrame) -> pl.DataFrame:
    """Join lists into one text, for formats without lists."""
    return _enums_as_text(frame).with_columns(pl.col(pl.List(pl.String)).list.join(", "))


def _enums_as_text(frame: pl.DataFrame) -> pl.DataFrame:
    """Turn enumerations into text."""
    return frame.with_columns(pl.col(pl.Enum, pl.Categorical).cast(pl.String))
