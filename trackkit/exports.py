"""A frame written for other programs and for the prompt: no cell becomes a formula or moves the cursor."""

from typing import IO

import polars as pl

_FORMULA = r"^\s*[=+\-@\t\r\n＝＋－＠]"
_NUMBER = r"^[+-]?\d+(\.\d+)?$"
_INSTANT = "%Y-%m-%dT%H:%M:%S%.f%:z"


def spreadsheet_safe(frame: pl.DataFrame) -> pl.DataFrame:
    """Return the frame with text cells that a spreadsheet would run led by an apostrophe; numbers stay numbers.

    >>> spreadsheet_safe(pl.DataFrame({"label": ["=1+1", "-5", "Home"]}))["label"].to_list()
    ["'=1+1", '-5', 'Home']
    """
    return frame.with_columns(_led(pl.col(name)) for name, dtype in frame.schema.items() if dtype == pl.String)


def _led(text: pl.Expr) -> pl.Expr:
    risky = text.str.contains(_FORMULA) & ~text.str.contains(_NUMBER)
    return pl.when(risky).then(pl.concat_str(pl.lit("'"), text)).otherwise(text).name.keep()


def write_csv(frame: pl.DataFrame, file: IO[bytes]) -> None:
    """Write CSV: instants as ISO 8601 with their offset, null as nothing, text made safe for spreadsheets."""
    spreadsheet_safe(_plain(frame)).write_csv(file, datetime_format=_INSTANT)


def write_json(frame: pl.DataFrame, file: IO[bytes]) -> None:
    """Write a JSON array of records: null as null, instants as ISO 8601 with their offset."""
    instants = pl.col(pl.Datetime("us", "*")).dt.to_string(_INSTANT)
    file.write(_plain(frame).with_columns(instants).write_json().encode() + b"\n")


def as_text(frame: pl.DataFrame) -> str:
    """Return the whole frame as a text table whose cells cannot hold terminal control codes."""
    shown = _plain(frame).with_columns(pl.col(pl.String).str.replace_all(r"\p{C}", "�"))
    with pl.Config(
        tbl_rows=-1, tbl_cols=-1, tbl_width_chars=10_000, fmt_str_lengths=100, tbl_hide_column_data_types=True,
        tbl_hide_dataframe_shape=True, tbl_formatting="UTF8_FULL_CONDENSED",
    ):  # fmt: skip
        return str(shown)


def _plain(frame: pl.DataFrame) -> pl.DataFrame:
    """Words of an enumeration are text to everybody else."""
    return frame.with_columns(pl.col(pl.Enum, pl.Categorical).cast(pl.String))
