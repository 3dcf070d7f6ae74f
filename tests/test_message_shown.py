"""The message of hot clicks on a page: whole, scaled to its card, closed to the page, without a script."""

from collections.abc import Iterator

import pytest
from markupsafe import Markup
from playwright.sync_api import Browser, Page
from selectolax.lexbor import LexborHTMLParser

from tests.spec.test_clickmap import BODY
from tests.spec.test_clickmap import message as of_message
from trackkit.analysis.clickmap import marked_message, message_links
from trackkit.show.tables import link_table, message
from trackkit.show.tables.message import ON_PAGE

WIDE = '<table width="600" style="width:600px"><tr><td style="height:4000px">long</td></tr></table>'
STYLED = '<p style="margin:-500px 0 0 -500px;width:3000px;height:50px;color:red">over the page</p>'


def on_page(html: str) -> str:
    return str(message(html, "The message")._repr_mimebundle_()[ON_PAGE])


@pytest.fixture
def quiet(browser: Browser) -> Iterator[Page]:
    """A page on a telephone, without scripts."""
    context = browser.new_context(viewport={"width": 340, "height": 600}, java_script_enabled=False)
    yield context.new_page()
    context.close()


def test_a_message_is_shown_whole_and_no_wider_than_its_card(quiet: Page) -> None:
    quiet.set_content(f'<body style="margin:0"><main style="width:330px">{on_page(WIDE)}</main>')
    sheet, table = quiet.locator(".sheet").bounding_box(), quiet.locator(".sheet table").bounding_box()
    assert sheet and table
    assert sheet["width"] == pytest.approx(330, abs=1)
    scale = 330 / 640  # 600 pixels and 20 beside them are less than the usual 640
    assert table["width"] == pytest.approx(600 * scale, rel=0.02) and table["x"] + table["width"] <= 330
    assert sheet["height"] >= 4000 * scale


def test_no_style_of_a_message_reaches_the_page(quiet: Page) -> None:
    quiet.set_content(
        f'<body style="margin:0"><p id="above">ours</p><main>{on_page(STYLED)}</main><p id="below">ours</p>'
    )
    sheet, above = quiet.locator(".sheet").bounding_box(), quiet.locator("#above").bounding_box()
    assert sheet and above and sheet["y"] >= above["y"] + above["height"]
    assert sheet["x"] >= 0 and sheet["x"] + sheet["width"] <= 340  # what is wider is cut


def test_a_message_cannot_end_its_template(quiet: Page) -> None:
    hostile = '</template></div><script>document.title="ran"</script><form action="https://x.example"><input></form>'
    html = on_page(marked_message(of_message(BODY.replace("</p>", f"{hostile}</p>")), "230"))
    assert html.count("<template") == html.count("</template>") == 1
    assert not any(word in html for word in ("<script", "<form", "<input", "https://x.example"))
    for text in (html, message(Markup("<p>x</p>"), '"><script>')._repr_html_()):
        assert not LexborHTMLParser(text).css("script")


def test_the_list_has_the_marks_of_the_message() -> None:
    links = message_links(of_message(BODY), "230")
    table = LexborHTMLParser(link_table(links, ["number", "text", "message_share"]).as_raw_html())
    marks = [(mark.text(), mark.attributes["class"], mark.attributes["data-link"]) for mark in table.css("a.tk-mark")]
    assert marks == [("1", "tk-mark heat-3", "1"), ("2", "tk-mark heat-2", "2"), ("3", "tk-mark heat-1", "3")]
    assert "Nothing to list." in link_table(links.clear(), ["number"])._repr_html_()


def test_without_content_a_message_says_so() -> None:
    assert "No HTML content was loaded for this delivery." in on_page(marked_message(of_message(None), "230"))
