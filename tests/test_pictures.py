"""Charts as pictures: what is left of an SVG, tips and downloads in a browser, and a chart that cannot be drawn."""

import csv
import io
import json
import re
import zipfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import altair as alt
import lxml.etree
import nbformat
import polars as pl
import pytest
from click.testing import CliRunner
from nbformat.v4 import new_code_cell, new_notebook, new_output
from selectolax.lexbor import LexborHTMLParser

from trackkit.cli import app
from trackkit.errors import ReportError
from trackkit.report.html_page import PageFacts, export
from trackkit.report.picture import drawings
from trackkit.report.svg import picture
from trackkit.report.template import Section, Template
from trackkit.show import charts
from trackkit.show.charts import behind, canvas
from trackkit.show.theme import theme

HOUR = 3_600_000
HOSTILE = '</svg><script>document.title="pwned"</script> javascript:alert(1) =1+1'
SPACE = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'


def _activity() -> alt.TopLevelMixin:
    starts = [datetime(2026, 3, 1, hour, tzinfo=UTC) for hour in (6, 6, 7)]
    rows = {"starts_at": starts, "series": ["opens", "clicks", "opens"], "count": [1200, 30, 7]}
    return charts.activity_columns(pl.DataFrame(rows), "1h")


def _rates() -> alt.TopLevelMixin:
    rows = {
        "domain": ["mail.example", HOSTILE],
        "unique_opens": [1, 2],
        "delivered": [8, 3],
        "open_rate": [1 / 8, 2 / 3],
    }
    return charts.rate_bars(pl.DataFrame(rows), "domain", ["open_rate"])


def _plain() -> alt.TopLevelMixin:
    rows = alt.InlineData([{"day": "a", "sent": 5}, {"day": "b", "sent": 1234}])
    tips = [alt.Tooltip("day:N", title="Day"), alt.Tooltip("sent:Q", title="Sent", format=",.0f")]
    return alt.Chart(rows, description="Plain.").mark_bar().encode(x="day:N", y="sent:Q", tooltip=tips)


def _page(*shown: alt.TopLevelMixin | dict[str, Any], lang: str = "en") -> str:
    bundles = [canvas.bundle(chart if isinstance(chart, dict) else chart.to_dict()) for chart in shown]
    outputs = [new_output("display_data", data=json.loads(json.dumps(bundle))) for bundle in bundles]
    cell = new_code_cell("", outputs=outputs, metadata={"tags": ["section:drawn"]})
    book: nbformat.NotebookNode = new_notebook(cells=[cell])
    words = Template(title="Drawn", section=[Section(name="drawn", title="Drawn")])
    return export(book, words, PageFacts("drawn", {}, "UTC", lang))


# ---- what is left of an SVG ----


def test_only_shapes_and_text_are_left_and_ids_are_of_the_page() -> None:
    inside = """<defs><clipPath id="c"><rect width="5" height="5"/></clipPath></defs>
      <g clip-path="url(#c)" onload="x()" style="fill:red"><path d="M0.123,4.567h1Z" fill="#1F6F8B" opacity="1"/></g>
      <script>x()</script><style>*{}</style><image href="data:image/png;base64,x"/><use href="#c"/>
      <foreignObject><div/></foreignObject><animate attributeName="d"/><g><g/></g>
      <a xlink:href="javascript:x()"><text transform="translate(1,2)">a &lt;script&gt; &amp; b</text></a>
      <path d="M0,0h1Z" fill="url(http://evil.test/x)"/><rect fill="url( #c )" width="1"/>"""
    made = picture(
        f"<svg {SPACE} width='9' height='7'>{inside}</svg>", {"#1f6f8b": "var(--accent)"}, "A b.", "s1", "w", "x"
    )
    assert made == (
        '<svg class="w" role="img" aria-label="A b." viewBox="0 0 9 7" data-by="x">'
        '<defs><clipPath id="s1-1"><rect width="5" height="5"/></clipPath></defs>'
        '<g clip-path="url(#s1-1)" fill="var(--accent)"><path d="M0.1,4.6h1Z"/></g>'
        '<text transform="translate(1,2)">a &lt;script&gt; &amp; b</text>'
        '<path d="M0,0h1Z"/><rect width="1"/></svg>'
    )


def test_what_is_no_svg_is_refused() -> None:
    with pytest.raises(ReportError, match="cannot be drawn"):
        picture("<svg", {}, "", "s", "w", "x")


@pytest.mark.parametrize("address", ["http://127.0.0.1:9/x.json", "file:///etc/passwd"])
def test_a_chart_loads_nothing_while_it_is_drawn(address: str) -> None:
    spec = {"mark": "bar", "data": {"url": address}, "encoding": {"x": {"field": "a", "type": "nominal"}}}
    with pytest.raises(ReportError, match="cannot be drawn"):
        drawings(spec, theme(), "en", False, "s1")


def test_a_chart_is_the_same_whatever_its_process_drew_before() -> None:
    rows = alt.InlineData([{"day": "a", "sent": 5}])
    spec = alt.Chart(rows).mark_bar(clip=True).encode(x="day:N", y="sent:Q").to_dict()
    first, second = (drawings(spec, theme(), "en", False, "s") for _ in range(2))
    assert first == second and "url(#s-own-1)" in first[0]


# ---- the words at marks, and the data ----


def test_marks_say_their_values_in_the_language_of_the_page() -> None:
    labels = re.findall(r'<path data-words="([^"]+)"', drawings(_activity().to_dict(), theme(), "en", False, "s")[0])
    assert labels == [
        "Sun, 2026-03-01 06:00 · Sum of opens: 1,200",
        "Sun, 2026-03-01 06:00 · Cumulated clicks: 30",
        "Sun, 2026-03-01 07:00 · Sum of opens: 7",
    ]
    assert "Sum of opens: 1.200" in drawings(_activity().to_dict(), theme(), "pt_BR", False, "s")[0]
    assert "b · Sent: 1,234" in drawings(_plain().to_dict(), theme(), "en", False, "s")[0]
    own = alt.Chart(alt.InlineData([{"day": "a", "sent": 5}])).mark_point().encode(x="day:N", y="sent:Q")
    assert "sent: 5" in drawings(own.to_dict(), theme(), "en", False, "s")[0], "without a tooltip: as Vega-Lite does"


def test_a_rate_stands_over_its_parts_with_the_decimals_of_its_denominator() -> None:
    names, opens, delivered = ["a", "b", "c", "d"], [61, 107, 1, None], [143, 40_000, 3_206, 9]
    rates = [top / bottom if top else None for top, bottom in zip(opens, delivered, strict=True)]
    rows = pl.DataFrame({"domain": names, "unique_opens": opens, "delivered": delivered, "open_rate": rates})
    drawn = charts.rate_bars(rows, "domain", ["open_rate"]).to_dict()
    for lang, wanted in {
        "en": ["a · {}: 42.7% (61 of 143)", "b · {}: 0.27% (107 of 40,000)", "c · {}: 0.03% (1 of 3,206)"],
        "pt_BR": ["a · {}: 42,7% (61 de 143)", "b · {}: 0,27% (107 de 40.000)", "c · {}: 0,03% (1 de 3.206)"],
    }.items():
        words = re.findall(r'data-words="([^"]+)"', drawings(drawn, theme(), lang, True, "s")[0])
        assert words == [each.format("Open rate (recipients)") for each in wanted]


def test_the_data_of_a_chart_is_raw_and_instants_are_in_utc() -> None:
    found = behind.table(_activity().to_dict())
    assert [(column["name"], column["label"], column["kind"]) for column in found["columns"]] == [
        ("starts_at", "From", "instant"), ("name", "Series", "text"), ("count", "Events", "count"),
    ]  # fmt: skip
    assert found["rows"][0] == ["2026-03-01T06:00:00Z", "Sum of opens", 1200]
    rates = behind.table(_rates().to_dict())
    assert next(row for row in rates["rows"] if row[0] == "mail.example")[2] == 0.125


def test_a_chart_has_a_wide_and_a_narrow_picture_and_half_a_page_has_one() -> None:
    spec = _rates().to_dict()
    assert [re.findall(r'^<svg class="(\w+)"', each)[0] for each in drawings(spec, theme(), "en", False, "s")] == [
        "wide", "narrow",
    ]  # fmt: skip
    (half,) = drawings(spec, theme(), "en", True, "s")
    assert half.startswith('<svg class="half"')
    own = drawings(_plain().properties(width=200).to_dict(), theme(), "en", False, "s")
    assert len(own) == 1 and "max-width" in own[0], "a width of its own stays"


def test_a_chart_that_cannot_be_drawn_leaves_its_table_open() -> None:
    broken = _plain().to_dict() | {"mark": {"type": "no such mark"}}
    page = LexborHTMLParser(_page(broken))
    figure = page.css_first("figure")
    assert not figure.css("svg") and "could not be drawn" in figure.css_first(".nothing").text()
    assert "open" in figure.css_first("details").attributes
    assert [cell.text() for cell in figure.css("tbody td")] == ["a", "5", "b", "1,234"]


def test_the_option_for_shared_scripts_is_taken_and_does_nothing(demo_store: Path, tmp_path: Path) -> None:
    asked = ["render", "no_such_report", "--store", str(demo_store), "--out", str(tmp_path), "--assets", "shared"]
    ran = CliRunner().invoke(app, asked)
    assert "--assets does nothing any more" in ran.stderr and not (tmp_path / "assets").exists()


# ---- in a browser ----


@pytest.fixture
def opened(browser: Any, tmp_path: Path) -> Iterator[Any]:
    path = tmp_path / "page.html"
    path.write_text(_page(_activity(), _rates()), encoding="utf-8")
    faults: list[str] = []
    page = browser.new_context(offline=True, color_scheme="dark", reduced_motion="reduce").new_page()
    page.on("console", lambda message: faults.append(message.text))
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.goto(path.as_uri())
    yield page
    assert faults == [] and page.title() == "· Drawn"
    page.context.close()


@pytest.mark.browser
def test_tips_show_all_series_of_a_column_by_pointer_and_by_keyboard(opened: Any) -> None:
    column = opened.locator("svg.wide .m > path").nth(0).bounding_box()
    opened.mouse.move(column["x"] + column["width"] / 2, column["y"] + column["height"] / 2)
    tip = opened.locator(".tip")
    first = "Sun, 2026-03-01 06:00\nSum of opens: 1,200\nCumulated clicks: 30"
    assert tip.inner_text() == first
    opened.mouse.move(2, 2)
    assert tip.is_hidden()
    opened.locator("svg.wide").nth(0).focus()
    opened.keyboard.press("ArrowRight")
    assert tip.inner_text() == first
    box, shown = tip.bounding_box(), opened.locator("svg.wide .on").all()
    assert len(shown) == 2 and all(box["x"] > (at := mark.bounding_box())["x"] + at["width"] for mark in shown), (
        "beside"
    )
    opened.keyboard.press("ArrowRight")
    assert tip.inner_text().split("\n")[0] == "Sun, 2026-03-01 07:00"
    opened.keyboard.press("Escape")
    assert tip.is_hidden()


@pytest.mark.browser
def test_hostile_names_are_text_in_pictures_tips_and_data(opened: Any) -> None:
    opened.locator("svg.wide").nth(1).focus()
    opened.keyboard.press("ArrowDown")
    opened.keyboard.press("ArrowDown")
    assert "<script>" in opened.locator(".tip").inner_text()
    assert opened.locator("svg script, svg a, .tip script").count() == 0


@pytest.mark.browser
def test_colours_follow_the_screen(opened: Any) -> None:
    fill = "(mark) => getComputedStyle(mark).fill"
    red, green, blue = (int(theme().dark.accent[place : place + 2], 16) for place in (1, 3, 5))
    assert opened.locator("svg.wide .m > path").nth(0).evaluate(fill) == f"rgb({red}, {green}, {blue})"


@pytest.mark.browser
def test_downloads_read_back_equal_to_the_data(opened: Any) -> None:
    data = json.loads(opened.locator("figure script").nth(1).text_content())
    heads = [column["label"] for column in data["columns"]]
    found = {}
    for kind in ("csv", "xlsx"):
        with opened.expect_download() as saving:
            opened.locator("figure").nth(1).locator(f"[data-as={kind}]").click()
        assert saving.value.suggested_filename == f"Drawn-Drawn-Open-rate-recipients-by-domain.{kind}", (
            "page, card, chart"
        )
        found[kind] = Path(saving.value.path()).read_bytes()
    read = list(csv.reader(io.StringIO(found["csv"].decode("utf-8"), newline="")))
    assert read == [heads, *[[str(cell) for cell in row] for row in data["rows"]]]
    with zipfile.ZipFile(io.BytesIO(found["xlsx"])) as book:
        assert book.testzip() is None
        rows = lxml.etree.fromstring(book.read("xl/sheet.xml")).iter("{*}row")
        cells = [[cell.findtext("{*}v") or "".join(cell.itertext()) for cell in row] for row in rows]
    assert cells[0] == heads
    assert [[*row[:2], *map(float, row[2:])] for row in cells[1:]] == data["rows"]


@pytest.mark.browser
def test_formulas_are_guarded_and_unknown_cells_are_empty(browser: Any, tmp_path: Path) -> None:
    rows = alt.InlineData([{"day": name, "sent": None} for name in ("=1+1", "-5", "Home;=1+1", 'a "b", c')])
    chart = alt.Chart(rows).mark_bar().encode(x="day:N", y="sent:Q")
    (tmp_path / "page.html").write_text(_page(chart), encoding="utf-8")
    page = browser.new_page()
    page.goto((tmp_path / "page.html").as_uri())
    with page.expect_download() as saving:
        page.locator("[data-as=csv]").click()
    text = Path(saving.value.path()).read_bytes().decode()
    assert text == 'day,sent\r\n\'=1+1,\r\n-5,\r\nHome;\'=1+1,\r\n"a ""b"", c",\r\n'


@pytest.mark.browser
def test_without_scripts_a_page_shows_all_but_buttons(browser: Any, tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text(_page(_activity(), _rates()), encoding="utf-8")
    context = browser.new_context(java_script_enabled=False, viewport={"width": 390, "height": 800})
    page = context.new_page()
    page.goto((tmp_path / "page.html").as_uri())
    assert page.locator("svg.narrow").nth(0).is_visible() and page.locator("svg.wide").nth(0).is_hidden()
    assert page.locator(".downloads").nth(0).is_hidden()
    page.locator("figure summary").nth(0).click()
    assert page.locator("figure table").nth(0).is_visible()
    context.close()
