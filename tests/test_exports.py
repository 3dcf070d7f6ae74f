"""Frames handed to other programs: formulas, control codes, instants and nulls."""

import io
import json
from datetime import UTC, datetime

import polars as pl
import pytest

from trackkit.exports import as_text, spreadsheet_safe, write_csv, write_json

FRAME = pl.DataFrame(
    {
        "label": ["=HYPERLINK(1)", None, '\x1b[2Jé, "quoted"'],
        "at": [datetime(2026, 11, 1, 8, 30, 0, 960_000, UTC), None, datetime(2026, 11, 1, tzinfo=UTC)],
        "rate": [0.1, None, 2 / 3],
        "kind": pl.Series(["a", None, "b"], dtype=pl.Enum(["a", "b"])),
    }
)


@pytest.mark.parametrize(
    "cell", ["=1", "+cmd", "-cmd", "@sum", "\t=1", "\r=1", "＝1", "+1+1", "-2-cmd", "  =1", "\n=1"]
)
def test_formulas_are_led_by_an_apostrophe(cell):
    assert spreadsheet_safe(pl.DataFrame({"x": [cell]}))["x"].to_list() == [f"'{cell}"]


@pytest.mark.parametrize("cell", ["-5", "+5.25", "a=1", "", None, "1-2", "Home"])
def test_other_cells_stay(cell):
    assert spreadsheet_safe(pl.DataFrame({"x": pl.Series([cell], dtype=pl.String)}))["x"].to_list() == [cell]


def test_csv():
    file = io.BytesIO()
    write_csv(FRAME, file)
    lines = file.getvalue().decode().splitlines()
    assert lines[0] == "label,at,rate,kind"
    assert lines[1] == "'=HYPERLINK(1),2026-11-01T08:30:00.960+00:00,0.1,a"
    assert lines[2] == ",,,"
    assert lines[3].endswith(",2026-11-01T00:00:00+00:00,0.6666666666666666,b")


def test_json_keeps_values_as_they_are():
    file = io.BytesIO()
    write_json(FRAME, file)
    records = json.loads(file.getvalue())
    assert records[0] == {"label": "=HYPERLINK(1)", "at": "2026-11-01T08:30:00.960+00:00", "rate": 0.1, "kind": "a"}
    assert records[1] == {"label": None, "at": None, "rate": None, "kind": None}


def test_text_cannot_move_the_cursor():
    assert "\x1b" not in as_text(FRAME) and "é" in as_text(FRAME)
