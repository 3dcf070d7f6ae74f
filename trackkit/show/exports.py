"""A frame written for other programs and for the prompt: no cell becomes a formula or moves the cursor."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import IO, Any

import polars as pl

from trackkit.clock import is_twice
from trackkit.errors import RequestError
from trackkit.plain import ESCAPES, in_json

_FORMULA = r"^\s*[=+\-@\t\r\n＝＋－＠]"
# A spreadsheet of another locale cuts a cell at these, and runs what stands behind.
_INNER_FORMULA = r"((?:^[;|]|[^\s;|]\s*[;|\t\r\n])[\s\";|]*)([=+\-@＝＋－＠])"
_NUMBER = r"^[+-]?\d+(\.\d+)?$"
_INSTANT = "%Y-%m-%dT%H:%M:%S%.f%:z"
# What a worksheet holds: rows under its head; digits of a number; the first day it can date.
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
_NOT_XML = r"[\x00-\x08\x0b\x0c\x0e-\x1f\x{fffe}\x{ffff}]"


def spreadsheet_safe(frame: pl.DataFrame) -> pl.DataFrame:
    """Return the frame with what a spreadsheet would run in text cells led by an apostrophe; numbers stay numbers.

    >>> spreadsheet_safe(pl.DataFrame({"label": ["=1+1", "-5", "Home;=1+1"]}))["label"].to_list()
    ["'=1+1", '-5', "Home;'=1+1"]
    """
    return frame.with_columns(_led(pl.col(name)) for name, dtype in frame.schema.items() if dtype == pl.String)


def _led(text: pl.Expr) -> pl.Expr:
    risky = text.str.contains(_FORMULA) & ~text.str.contains(_NUMBER)
    inside = text.str.replace_all(_INNER_FORMULA, "$1'$2")
    return pl.when(risky).then(pl.concat_str(pl.lit("'"), inside)).otherwise(inside).name.keep()


def write_csv(frame: pl.DataFrame, file: IO[bytes]) -> None:
    """Write CSV: instants as ISO 8601 with their offset, null as nothing, text made safe for spreadsheets."""
    spreadsheet_safe(_flat(frame)).write_csv(file, datetime_format=_INSTANT)


def write_json(frame: pl.DataFrame, file: IO[bytes]) -> None:
    """Write a JSON array of records: null as null, instants as ISO 8601 with their offset."""
    instants = pl.col(pl.Datetime("us", "*")).dt.to_string(_INSTANT)
    file.write(in_json(_plain(frame).with_columns(instants).write_json()).encode() + b"\n")


def write_xlsx(frame: pl.DataFrame, file: IO[bytes], about: Mapping[str, object] | None = None) -> None:
    """Write a workbook: the rows in a sheet "Data", and `about` (what, when, which filters) in a sheet "About".

    Text is text, never a formula, a link or a number; counts and rates are numbers; instants are dates by the clock of
    their own time zone, which About names. Where some are shown twice there, in the night when clocks are put back, a
    column beside them tells their offset. Raises RequestError for more rows than a worksheet holds.
    """
    if frame.height > MOST_ROWS:
        raise RequestError(f"A worksheet holds {MOST_ROWS:,} rows; there are {frame.height:,}. Try csv or parquet.")
    from xlsxwriter import Workbook  # 50 ms, that only this output spends

    made = datetime.now(UTC)
    with Workbook(file, _SHEET) as book:
        book.set_properties({"title": "trackkit", "created": made})
        sheet = book.add_worksheet("Data")
        _fill(book, sheet, _with_offsets(_flat(frame)))
        zone = {"Time zone": zones} if (zones := _zones(frame)) else {}
        facts = {**(about or {}), **zone, "Rows": frame.height, "Made at": f"{made:%Y-%m-%d %H:%M} UTC"}
        _tell(book, book.add_worksheet("About"), facts)


def _with_offsets(frame: pl.DataFrame) -> pl.DataFrame:
    """Add the offset beside each column of instants that holds one that its clocks show twice."""
    columns: list[pl.Expr] = []
    for name, dtype in frame.schema.items():
        columns.append(pl.col(name))
        zone = dtype.time_zone if isinstance(dtype, pl.Datetime) else None
        if zone and frame.select(is_twice(pl.col(name), zone).any()).item():
            columns.append(pl.col(name).dt.to_string("%:z").alias(f"{name} {_OFFSET}"))
    return frame.select(columns)


def _fill(book: Any, sheet: Any, frame: pl.DataFrame) -> None:
    head = book.add_format({"bold": True, "bottom": 1})
    shown = frame.with_columns(_that_fits(pl.col(name)) for name, dtype in frame.schema.items() if dtype == pl.String)
    for place, name in enumerate(shown.columns):
        sheet.set_column(place, place, _width(shown[name]))
        sheet.write_string(0, place, name, head)
    sheet.freeze_panes(1, 0)
    if shown.width:
        sheet.autofilter(0, 0, max(1, shown.height), shown.width - 1)
    cells = [_cell(book, sheet, dtype) for dtype in shown.dtypes]
    for row, values in enumerate(shown.iter_rows(), start=1):  # by rows, since a sheet is written that way
        for place, value in enumerate(values):
            if value is not None:
                cells[place](row, place, value)


def _that_fits(written: pl.Expr) -> pl.Expr:
    """Text that a cell holds: what XML knows, cut where it is too long in units of 16 bits (an emoji is two)."""
    text = written.str.replace_all(_NOT_XML, "\ufffd")
    units = text.str.len_chars() + text.str.count_matches(_BEYOND_16_BITS)
    cut = pl.concat_str(text.str.head((LONGEST_CELL - len(_CUT)) // 2), pl.lit(_CUT))
    is_long = text.str.len_bytes() > LONGEST_CELL
    return pl.when(is_long & (pl.when(is_long).then(units) > LONGEST_CELL)).then(cut).otherwise(text).name.keep()


def _cell(book: Any, sheet: Any, dtype: pl.DataType) -> Callable[[int, int, Any], object]:
    """How the cells of a column are written, by its type."""
    if dtype == pl.Boolean:
        return lambda row, place, value: sheet.write_boolean(row, place, value)
    if dtype.is_numeric():
        return lambda row, place, value: _number(sheet, row, place, value)
    if dtype in (pl.Date, pl.Datetime):
        form = book.add_format({"num_format": "yyyy-mm-dd" if dtype == pl.Date else "yyyy-mm-dd hh:mm:ss"})
        return lambda row, place, value: _instant(sheet, row, place, value, form)
    return lambda row, place, value: sheet.write_string(row, place, str(value))


def _number(sheet: Any, row: int, place: int, value: float) -> None:
    """A number, or its digits as text where a spreadsheet would change them."""
    exact = abs(value) < LARGEST_NUMBER  # false for what is not a number, too
    sheet.write_number(row, place, value) if exact else sheet.write_string(row, place, str(value))


def _instant(sheet: Any, row: int, place: int, value: Any, form: Any) -> None:
    if value.year < FIRST_YEAR:
        sheet.write_string(row, place, value.isoformat())
    else:
        sheet.write_datetime(row, place, value.replace(tzinfo=None) if isinstance(value, datetime) else value, form)


def _width(column: pl.Series) -> float:
    lengths = column.head(200).cast(pl.String, strict=False).str.len_chars().to_list()
    return min(60, max(10, len(column.name) + 3, 1 + max((length or 0 for length in lengths), default=0)))


def _zones(frame: pl.DataFrame) -> str:
    zones = {dtype.time_zone or "UTC" for dtype in frame.dtypes if isinstance(dtype, pl.Datetime)}
    return ", ".join(sorted(zones))


def _tell(book: Any, sheet: Any, facts: Mapping[str, object]) -> None:
    sheet.set_column(0, 0, 16, book.add_format({"bold": True}))
    sheet.set_column(1, 1, 100, book.add_format({"text_wrap": True}))
    for row, (name, value) in enumerate((name, value) for name, value in facts.items() if value not in (None, "")):
        sheet.write_string(row, 0, name)
        sheet.write_string(row, 1, str(value))


def as_text(frame: pl.DataFrame) -> str:
    """Return the whole frame as a text table whose cells cannot hold terminal control codes."""
    shown = on_one_line(_flat(frame))
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
    """Return the frame with escapes for what controls a terminal, as `plain.one_line` has them."""
    return frame.with_columns(pl.col(pl.String).str.replace_many(ESCAPES))


def _flat(frame: pl.DataFrame) -> pl.DataFrame:
    """Lists of words in one cell, for what has no lists."""
    return _plain(frame).with_columns(pl.col(pl.List(pl.String)).list.join(", "))


def _plain(frame: pl.DataFrame) -> pl.DataFrame:
    """Words of an enumeration are text to everybody else."""
    return frame.with_columns(pl.col(pl.Enum, pl.Categorical).cast(pl.String))
