"""A page in other formats: what each file says is read back from it and compared with what the notebook showed."""

import email
import email.policy
import io
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
import zipfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from bs4 import BeautifulSoup

from trackkit.errors import RequestError
from trackkit.report import render
from trackkit.report.formats import ENDINGS, beside, require_formats
from trackkit.report.formats import provenance_beside as provenance_of
from trackkit.report.formats.mail import MOST_BYTES, eml
from trackkit.report.formats.sheets import _workbook, csv_zip, facts, ods, parquet, tables, xlsx
from trackkit.runs.due import deliveries
from trackkit.show.exports import sheet_name
from trackkit.store import open_store

FORMULA = "=HYPERLINK(1)"
COLUMNS = [
    {"name": "label", "label": "Link", "kind": "text"},
    {"name": "clicks", "label": "Clicks", "kind": "count"},
    {"name": "click_rate", "label": "Rate", "kind": "share"},
    {"name": "average", "label": "Average", "kind": "average"},
    {"name": "amount", "label": "Amount", "kind": "amount"},
    {"name": "at", "label": "At", "kind": "instant"},
    {"name": "other", "label": "Clicks", "kind": "count"},
]
ROWS = [
    ["Home", 1200, 0.375, 2.5, 10.25, "2026-11-01T23:30:00Z", 1],
    [FORMULA, None, None, None, None, None, None],
]


def _contents(**more: Any) -> dict[str, Any]:
    """What a page shows: two tables under one title, one without data, and a chart that has nothing to draw."""
    table = {"kind": "table", "empty": False, "html": "", "data": {"name": "table", "columns": COLUMNS, "rows": ROWS}}
    words = {**table, "data": None, "html": '<p>Delivered <b data-metric="delivered">3</b><style>x</style></p>'}
    chart = {"kind": "chart", "empty": True, "pictures": [], "description": "Opens", "data": None, "spec": {}}
    section = {"name": "links", "title": "Links: by [hour]/day, of all that were ever sent", "finding": "", "text": []}
    pieces = [{**piece, "id": f"s1-{nth}"} for nth, piece in enumerate([table, table, words, chart], 1)]
    header = {
        "heading": "Ink <day>\r\nBcc: all@a.example", "subtitle": "Six blues", "facts": [["Delivery", "7"]],
        "notes": ["Still running"], "remarks": ["In EUR"], "data_through": "2026-11-02", "loads": [],
    }  # fmt: skip
    return {
        "title": "Links", "header": header, "sections": [{**section, "pieces": pieces}], "report": "links",
        "lang": "en", "locale": "en", "version": "1", "intervals": "", "timezone": "Europe/Paris",
        "parameters": {"delivery": "7"},
        "calculated": "2026-11-03 10:00:00", "calculated_at": datetime(2026, 11, 3, 9, tzinfo=UTC), **more,
    }  # fmt: skip


# --- which formats


@pytest.mark.parametrize(
    ("asked", "chosen"),
    [("html", ("html",)), ("", ("html",)), ("XLSX, csv,xlsx", ("html", "xlsx", "csv")), (["eml"], ("html", "eml"))],
)
def test_the_page_itself_is_always_made(asked, chosen):
    assert require_formats(asked) == chosen


def test_an_unknown_format_is_refused_with_the_nearest():
    with pytest.raises(RequestError, match=r"There is no format 'xls'\. Did you mean 'xlsx'\?"):
        require_formats("html,xls")


def test_pdf_without_a_browser_is_refused_in_one_sentence_before_anything_is_rendered(tmp_path, demo_store):
    code = "from trackkit.cli import main; main()"
    command = [sys.executable, "-c", code, "render", "browsers", "--store", str(demo_store), "--out", "out"]
    environment = {"PATH": str(tmp_path), "PYTHONPATH": str(Path(__file__).parents[1]), "HOME": str(tmp_path)}
    environment["PLAYWRIGHT_BROWSERS_PATH"] = str(tmp_path)
    for more, said in (({}, "pdf needs Chromium, Chrome or Edge"), ({"TRACKKIT_CHROMIUM": "nix"}, "names 'nix'")):
        done = subprocess.run([*command, "--format", "pdf"], cwd=tmp_path, env=environment | more,
                              capture_output=True, text=True)  # fmt: skip
        assert done.returncode == 2 and said in done.stderr and done.stderr.count("\n") == 1, done.stderr
    assert not (tmp_path / "out").exists()


# --- workbooks


def _xlsx_sheets(content: bytes) -> dict[str, list[list[tuple[str, str]]]]:
    """The cells of a workbook by sheet, row by row: the value and the form of numbers, empty for text."""
    space = {"m": "http://schemas.openxmlformats.org/spreadsheetml/2006/main"}
    with zipfile.ZipFile(io.BytesIO(content)) as book:
        parts = {name: ET.fromstring(book.read(name)) for name in book.namelist() if name.endswith(".xml")}
    styles = parts["xl/styles.xml"]
    own = {form.get("numFmtId"): form.get("formatCode") for form in styles.iterfind(".//m:numFmt", space)}
    forms = [own.get(xf.get("numFmtId"), xf.get("numFmtId")) for xf in styles.iterfind("m:cellXfs/m:xf", space)]
    names = [sheet.get("name") for sheet in parts["xl/workbook.xml"].iterfind(".//m:sheet", space)]
    shared = [text.text for text in parts.get("xl/sharedStrings.xml", ET.Element("x")).iterfind(".//m:t", space)]
    sheets = {}
    for nth, name in enumerate(names, 1):
        rows = []
        for row in parts[f"xl/worksheets/sheet{nth}.xml"].iterfind(".//m:row", space):
            cells = []
            for cell in row.iterfind("m:c", space):
                assert cell.find("m:f", space) is None, "no cell is a formula"
                text = cell.find(".//m:t", space)
                if cell.get("t") == "s":
                    cells.append((shared[int(cell.find("m:v", space).text)], ""))
                elif text is not None:
                    cells.append((text.text, ""))
                else:
                    cells.append((cell.find("m:v", space).text, forms[int(cell.get("s", 0))]))
            rows.append(cells)
        sheets[name] = rows
    return sheets


def test_a_workbook_has_a_sheet_about_the_page_and_one_for_each_table():
    sheets = _xlsx_sheets(xlsx(_contents()))
    assert list(sheets) == ["About", "Links by hour day, of all that", "Links by hour day, of all t (2)"]
    about = {name: value for (name, _), (value, _) in sheets["About"]}
    assert about["Delivery"] == "7" and about["Time zone"] == "Europe/Paris" and about["Data through"] == "2026-11-02"
    assert about["Success (without control addresses)"].startswith("Messages"), "the metrics that are named are defined"
    first = sheets["Links by hour day, of all that"]
    assert [value for value, _ in first[0]] == ["Link", "Clicks", "Rate", "Average", "Amount", "At", "Clicks (2)"]
    # 2 November 2026, 00:30 in Paris, is day 46328 of a spreadsheet, and half an hour
    assert [form for _, form in first[1]] == [
        "", "#,##0", "0.00%", "#,##0.00", "#,##0.00", "yyyy-mm-dd hh:mm:ss", "#,##0",
    ]  # fmt: skip
    assert [float(value) for value, _ in first[1][1:]] == pytest.approx([1200, 0.375, 2.5, 10.25, 46328 + 1 / 48, 1])
    assert first[2] == [(FORMULA, "")], "text is text, and what is unknown is empty"


def test_an_opendocument_sheet_has_the_same_cells():
    with zipfile.ZipFile(io.BytesIO(ods(_contents()))) as book:
        assert book.namelist()[0] == "mimetype" and book.getinfo("mimetype").compress_type == zipfile.ZIP_STORED
        assert book.read("mimetype") == b"application/vnd.oasis.opendocument.spreadsheet"
        content = ET.fromstring(book.read("content.xml"))
    oasis = "{urn:oasis:names:tc:opendocument:xmlns:"
    sheets = {table.get(f"{oasis}table:1.0}}name"): table for table in content.iter(f"{oasis}table:1.0}}table")}
    assert list(sheets) == ["About", "Links by hour day, of all that", "Links by hour day, of all t (2)"]
    rows = list(sheets["Links by hour day, of all that"].iter(f"{oasis}table:1.0}}table-row"))
    values = [f"{oasis}office:1.0}}{name}" for name in ("value", "date-value")]
    cells = [
        [next(filter(None, map(cell.get, values)), "".join(cell.itertext())) for cell in row] for row in rows
    ]  # fmt: skip
    assert cells[1] == ["Home", "1200", "0.375", "2.5", "10.25", "2026-11-02T00:30:00", "1"]
    assert cells[2] == [FORMULA, "", "", "", "", "", ""]
    kinds = [cell.get(f"{oasis}office:1.0}}value-type") for cell in rows[1]]
    assert kinds == ["string", "float", "percentage", "float", "float", "date", "float"]


def test_the_same_page_gives_the_same_bytes():
    for write in (xlsx, ods, csv_zip, parquet, eml):
        assert write(_contents()) == write(_contents()), write.__name__


@pytest.mark.parametrize(
    ("title", "taken", "name"),
    [("a" * 40, [], "a" * 31), ("a" * 40, ["A" * 31], "a" * 27 + " (2)"), ("'[]'", [], "Table"),
     ("History", [], "History (2)"), ("Opens\n& clicks", ["x"], "Opens & clicks")],
)  # fmt: skip
def test_names_of_sheets(title, taken, name):
    assert sheet_name(title, taken) == name


def test_more_rows_than_a_sheet_holds_are_left_out_and_that_is_said():
    _, rows, sheets = _workbook(_contents(), most=1)
    said = "A sheet holds 1 rows, the table has 2: the last ones are left out."
    assert [sheet.frame.height for sheet in sheets] == [1, 1] and [value for _, value in rows].count(said) == 2


# --- files for programs


def test_comma_separated_files_are_one_for_each_table_and_safe():
    with zipfile.ZipFile(io.BytesIO(csv_zip(_contents()))) as archive:
        assert archive.namelist() == ["00-about.csv", "01-links.csv", "02-links.csv"]
        lines = archive.read("01-links.csv").decode().splitlines()
    assert lines == [
        "Link,Clicks,Rate,Average,Amount,At,Clicks (2)",
        "Home,1200,0.375,2.5,10.25,2026-11-02T00:30:00+01:00,1",
        "'=HYPERLINK(1),,,,,,",
    ]


def test_a_tidy_table_has_one_row_for_each_cell():
    frame = pl.read_parquet(io.BytesIO(parquet(_contents())))
    assert frame.height == 2 * len(ROWS) * len(COLUMNS)
    assert frame.columns == ["report", "lang", "delivery", "recipient", "section", "table", "row", "column", "label",
                             "kind", "number", "text", "instant"]  # fmt: skip
    second = frame.filter(pl.col("table") == 2, pl.col("row") == 1).select("column", "number", "text", "instant")
    assert second.rows() == [
        ("label", None, "Home", None), ("clicks", 1200.0, None, None), ("click_rate", 0.375, None, None),
        ("average", 2.5, None, None), ("amount", 10.25, None, None),
        ("at", None, None, datetime(2026, 11, 1, 23, 30, tzinfo=UTC)), ("other", 1.0, None, None),
    ]  # fmt: skip
    assert frame["delivery"].unique().to_list() == ["7"] and frame["recipient"].null_count() == frame.height
    assert parquet(_contents(sections=[])) and facts(_contents())


def test_days_without_a_clock_stay_days():
    contents = _contents()
    contents["sections"][0]["pieces"][0]["data"] = {
        "name": "t", "columns": [{"name": "day", "label": "Day", "kind": "instant"}], "rows": [["2026-11-01"], [None]],
    }  # fmt: skip
    first = tables(contents)[0].frame("America/New_York")
    assert [str(value) for value in first["Day"]] == ["2026-11-01", "None"]
    cells = pl.read_parquet(io.BytesIO(parquet(contents))).filter(pl.col("column") == "day")
    assert cells["text"].to_list() == ["2026-11-01", None] and cells["instant"].to_list() == [None, None]


# --- the e-mail


def _message(content: bytes) -> Any:
    return email.message_from_bytes(content, policy=email.policy.default)


def test_an_email_is_unsent_and_names_nobody_and_no_log_adds_a_header():
    content = eml(_contents())
    message = _message(content)
    assert message["Subject"] == "Links · Ink <day> Bcc: a***@a.example"
    assert message["To"] == "" and message["X-Unsent"] == "1"
    assert [name for name in message.keys() if name in ("From", "Bcc", "Cc", "Date")] == []  # noqa: SIM118
    assert message.get_content_type() == "multipart/alternative"
    assert b"\n" not in content.replace(b"\r\n", b"")


def test_an_email_says_the_same_in_html_and_in_words():
    message = _message(eml(_contents()))
    words, html = (message.get_body((kind,)).get_content() for kind in ("plain", "html"))
    page = BeautifulSoup(html, "lxml")
    assert page.find("h1").get_text(strip=True).startswith("Ink <day>")
    assert not page.find(["script", "link", "iframe", "svg", "form"]) and not re.search(r"https?://|@import", html)
    table = page.find("table", style=re.compile("collapse"))
    cells = [[cell.get_text() for cell in row.find_all(["th", "td"])] for row in table.find_all("tr")]
    assert cells == [
        ["Link", "Clicks", "Rate", "Average", "Amount", "At"],
        ["Home", "1,200", "37.5%", "2.50", "10.25", "2026-11-02 00:30"],
        [FORMULA, "n/a", "", "", "", ""],
    ]
    assert "- Home (Clicks: 1,200; Rate: 37.5%; Average: 2.50; Amount: 10.25; At: 2026-11-02 00:30)" in words
    assert "Still running" in words and "Delivered 3" in words and "Nothing to draw" in words


def test_long_tables_of_an_email_are_cut_below_what_mail_programs_show():
    contents = _contents()
    piece = contents["sections"][0]["pieces"][0]
    long = {**piece, "data": {**piece["data"], "rows": [[f"{nth} " + "é" * 80, *ROWS[0][1:]] for nth in range(400)]}}
    contents["sections"] *= 25
    contents["sections"] = [{**section, "pieces": [long]} for section in contents["sections"]]
    html = _message(eml(contents)).get_body(("html",)).get_content()
    assert 10_000 < len(html.encode()) <= MOST_BYTES and "more rows on the page" in html


# --- of real reports


@pytest.fixture(scope="session")
def every_format(demo_store: Path, once: Any) -> Path:
    """One report with charts in every format that needs no browser."""

    def make(folder: Path) -> None:
        delivery = deliveries(open_store(str(demo_store)))[1]
        render("tracking_indicators", demo_store, folder, delivery, "pt_BR", formats="xlsx,ods,csv,parquet,eml")

    return once("every_format", make)


def test_the_formats_lie_beside_the_page_and_tell_the_same_figures(every_format):
    (page,) = every_format.glob("*.html")
    made = {path.name for path in every_format.iterdir()}
    assert made == {beside(page, name).name for name in ENDINGS if name != "pdf"} | {provenance_of(page).name}
    frame = pl.read_parquet(beside(page, "parquet"))
    opens = frame.filter(section="reception_statistics", kind="count").filter(pl.col("number") > 0)["number"]
    with zipfile.ZipFile(beside(page, "csv")) as archive:
        names = archive.namelist()
    sheets = _xlsx_sheets(beside(page, "xlsx").read_bytes())
    assert len(names) == len(sheets) and next(iter(sheets)) == "Sobre"
    shown = BeautifulSoup(page.read_text("utf-8"), "lxml").get_text(" ")
    assert opens.len() and all(f"{int(value):,}".replace(",", ".") in shown for value in opens)
    by_section = frame.select("section", "table").unique().height
    assert by_section == len(names) - 1


def test_charts_of_an_email_are_pictures_in_it(every_format):
    message = _message(next(every_format.glob("*.eml")).read_bytes())
    html = message.get_body(("html",)).get_content()
    shown = set(re.findall(r'src="cid:([^"]+)"', html))
    pictures = {part["Content-ID"].strip("<>"): part.get_content() for part in message.walk() if part["Content-ID"]}
    assert shown and shown == set(pictures) and all(png.startswith(b"\x89PNG") for png in pictures.values())
    widths = {int(width) for width in re.findall(r'<img [^>]*width="(\d+)"', html)}
    assert {int.from_bytes(png[16:20]) // 2 for png in pictures.values()} == widths, "two pixels for one of the message"
    assert max(widths) <= 566
    assert len(html.encode()) < 100_000 and '<img src="cid:' in html and "alt=" in html


def test_other_formats_of_an_earlier_rendering_go(every_format, demo_store, tmp_path):
    folder = tmp_path / "out"
    shutil.copytree(every_format, folder)
    delivery = deliveries(open_store(str(demo_store)))[1]
    page = render("tracking_indicators", demo_store, folder, delivery, "pt_BR", formats="csv")
    assert {path.name for path in folder.iterdir()} == {
        page.name,
        beside(page, "csv").name,
        provenance_of(page).name,
    }


@pytest.mark.browser
def test_an_email_fits_600_pixels(every_format, browser):
    message = _message(next(every_format.glob("*.eml")).read_bytes())
    page = browser.new_page(viewport={"width": 600, "height": 800})
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.set_content(message.get_body(("html",)).get_content())
    assert page.evaluate("document.documentElement.scrollWidth") <= 600
    assert [url for url in asked if not url.startswith(("cid:", "about:"))] == []


@pytest.mark.browser
@pytest.mark.parametrize("alone", [False, True], ids=["one browser for all pages", "one for each"])
def test_a_page_is_printed_on_a4_with_its_title(chromium, every_format, alone, monkeypatch):
    from trackkit.report.formats import browser

    monkeypatch.setenv("TRACKKIT_CHROMIUM", chromium)
    if alone:
        monkeypatch.setitem(sys.modules, "playwright", None)  # as if it were not installed
        monkeypatch.setitem(sys.modules, "playwright.sync_api", None)
        browser._playwright.cache_clear()
        browser._browser.cache_clear()
    html = next(every_format.glob("*.html")).read_text("utf-8")
    pdf = browser.printed(html)
    assert pdf.startswith(b"%PDF-") and 20_000 < len(pdf) < 2_000_000
    boxes = re.findall(rb"/MediaBox\s*\[0 0 ([\d.]+) ([\d.]+)\]", pdf)
    sizes = {(round(float(width)), round(float(height))) for width, height in boxes}
    assert sizes and sizes <= {(595, 842), (596, 843)}, "A4"
    assert 1 <= len(boxes) <= 12 and b"/Title" in pdf
