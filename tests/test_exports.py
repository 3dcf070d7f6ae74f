"""Frames handed to other programs: formulas, control codes, instants and nulls."""

import io
import json
import subprocess
import sys
import zipfile
from datetime import UTC, date, datetime
from pathlib import Path

import lxml.etree
import polars as pl
import pytest

from trackkit.analysis.logs import clicked_urls
from trackkit.errors import RequestError
from trackkit.show.exports import MOST_ROWS, as_text, spreadsheet_safe, write_csv, write_json, write_xlsx
from trackkit.store import open_store

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


@pytest.mark.parametrize(
    ("cell", "safe"),
    [(";=1+1", ";'=1+1"), ("a;-cmd", "a;'-cmd"), ('a|"@x', "a|\"'@x"), ("=1;=2", "'=1;'=2"), ("a\n＝1", "a\n'＝1")],
)
def test_formulas_behind_the_separator_of_another_locale_are_led_too(cell, safe):
    assert spreadsheet_safe(pl.DataFrame({"x": [cell]}))["x"].to_list() == [safe]


@pytest.mark.parametrize("cell", ["a; b", "10:00", "-5", "+5.25", "a=1", "", None, "1-2", "Home"])
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


def _workbook(frame: pl.DataFrame, about: dict[str, object] | None = None) -> dict[str, str]:
    """The XML of each sheet of the workbook written, with nothing between a file and what it holds."""
    file = io.BytesIO()
    write_xlsx(frame, file, about)
    with zipfile.ZipFile(file) as book:
        assert book.testzip() is None
        return {
            name: book.read(f"xl/worksheets/sheet{place}.xml").decode() for place, name in ((1, "data"), (2, "about"))
        }


def _cells(sheet: str) -> dict[str, str]:
    """Cell name to its text: inline strings, and numbers as they are written."""
    found = {}
    for cell in lxml.etree.fromstring(sheet.encode()).iter("{*}c"):
        found[cell.get("r")] = "".join(cell.itertext())
    return found


def test_a_workbook_holds_text_that_is_no_formula_and_numbers_that_are():
    sheet = _workbook(FRAME)["data"]
    assert "<f>" not in sheet and "hyperlink" not in sheet.lower().replace("=hyperlink(1)", "")
    cells = _cells(sheet)
    assert [cells[f"{letter}1"] for letter in "ABCD"] == ["label", "at", "rate", "kind"]
    assert cells["A2"] == "=HYPERLINK(1)" and cells["C2"] == "0.1" and "A3" not in cells
    assert cells["A4"] == '\ufffd[2Jé, "quoted"', "no control code"
    # days since the thirtieth of December 1899: 2026-11-01 is 46327; 8:30:00.96 is 0.354178 of a day
    assert float(cells["B2"]) == pytest.approx(46327 + (8.5 * 3600 + 0.96) / 86400, abs=1e-8)


def test_a_workbook_keeps_long_ids_and_says_local_time():
    paris = pl.Series([datetime(2026, 7, 1, 22, 0, tzinfo=UTC)]).dt.convert_time_zone("Europe/Paris")
    frame = pl.DataFrame({
        "id": [2**60], "text": ["0012"], "at": paris, "rate": [float("nan")], "flag": [True], "day": [date(1850, 1, 1)],
        "link": ["https://x.example/"],
    })  # fmt: skip
    cells = _cells(_workbook(frame)["data"])
    assert cells["A2"] == str(2**60) and cells["B2"] == "0012" and cells["D2"] == "nan" and cells["F2"] == "1850-01-01"
    assert cells["G2"] == "https://x.example/"
    assert float(cells["C2"]) == 46205, "midnight of the second of July in Paris"


def test_the_sheet_about_says_what_when_and_which_filters():
    about = _cells(_workbook(FRAME, {"What": "=1+1", "Where": "", "By": "day"})["about"])
    rows = {about[f"A{row}"]: about[f"B{row}"] for row in range(1, len(about) // 2 + 1)}
    assert rows.pop("Made at").endswith(" UTC")
    assert rows == {"What": "=1+1", "By": "day", "Time zone": "UTC", "Rows": "3"}


@pytest.mark.parametrize(("letter", "fitting"), [("a", 32_767), ("é", 32_767), ("😀", 16_383)])
def test_a_cell_that_is_cut_says_so(letter, fitting):
    # Excel counts letters in units of 16 bits, an emoji being two.
    cells = _cells(_workbook(pl.DataFrame({"x": [letter * fitting, letter * (fitting + 1)]}))["data"])
    assert cells["A2"] == letter * fitting
    assert cells["A3"].startswith(letter * 10_000) and cells["A3"].endswith("(cut here: a cell holds 32,767 letters)")
    assert len(cells["A3"].encode("utf-16-le")) // 2 <= 32_767


def test_a_workbook_of_nothing_opens_and_one_that_is_too_long_is_refused():
    assert _cells(_workbook(pl.DataFrame(schema={"a": pl.String}))["data"]) == {"A1": "a"}
    assert _cells(_workbook(pl.DataFrame())["data"]) == {}
    with pytest.raises(RequestError, match="csv or parquet"):
        write_xlsx(pl.DataFrame({"a": pl.zeros(MOST_ROWS + 1, eager=True)}), io.BytesIO())


def test_the_prompt_writes_a_workbook_of_a_tab(demo_store):
    store = open_store(demo_store)
    clicks = store.scan("event").filter(pl.col("event_type").cast(pl.String) == "clicked")
    recipient = clicks.select(pl.col("recipient_id").drop_nulls().min()).collect().item()
    command = [sys.executable, "-m", "trackkit", "recipient", recipient, "--store", str(demo_store), "--tab", "urls",
               "--columns", "label,clicks", "--output", "xlsx"]  # fmt: skip
    done = subprocess.run(command, capture_output=True, cwd=Path(__file__).parents[1], check=True)
    with zipfile.ZipFile(io.BytesIO(done.stdout)) as book:
        cells = _cells(book.read("xl/worksheets/sheet1.xml").decode())
        about = book.read("xl/worksheets/sheet2.xml").decode()
    assert [cells["A1"], cells["B1"]] == ["label", "clicks"]
    total = sum(float(value) for name, value in cells.items() if name.startswith("B") and name != "B1")
    assert total == clicked_urls(store, recipient=recipient)["clicks"].sum() > 0
    assert f"Tracking tab of recipient {recipient}, urls" in about and "The newest hit known" in about
