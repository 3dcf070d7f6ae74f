"""Every kind of page for everybody: axe-core finds nothing, the keyboard reaches all, a phone and paper hold it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import sync_playwright

from tests.conftest import BROWSER_FLAGS
from trackkit.metrics import METRICS
from trackkit.report.glossary import write_glossary
from trackkit.runs.due import run

pytestmark = pytest.mark.browser
BRIEF = {"iframes": False, "resultTypes": ["violations"]}  # of what passes, to name every node takes half of the time
RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"], **BRIEF}
COLOURS = {"runOnly": ["color-contrast", "link-in-text-block"], **BRIEF}  # dark pages differ in them alone
# What a sender wrote is theirs, and hidden from screen readers; our badges in it are not.
PARTS = {
    "include": [["html"], {"fromShadowDom": [".tk-message", ".click-share"]}],
    "exclude": [{"fromShadowDom": [".tk-message", ".sheet"]}],
}
OPEN_ALL = "document.querySelectorAll('details').forEach((each) => { each.open = true; })"
FOCUS = "document.activeElement"


@pytest.fixture(scope="module")
def chrome(chromium: str) -> Iterator[Any]:
    """One browser for all pages."""
    with sync_playwright() as playwright:
        flags = [f"--{flag}" for flag in (*BROWSER_FLAGS, "no-sandbox")]
        launched = playwright.chromium.launch(executable_path=chromium, args=flags)
        yield launched
        launched.close()


@pytest.fixture(scope="module")
def pages(demo_pages: Path, demo_store: Path, delivery: str, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Every report, the page of definitions, and an index."""
    folder = tmp_path_factory.mktemp("access")
    run(demo_store, folder, ["delivery_summary"], [delivery], jobs=1)
    return [*sorted(demo_pages.glob("*.html")), write_glossary(folder), folder / "index.html"]


def _opened(chrome: Any, path: Path, **options: Any) -> Any:
    page = chrome.new_context(**options).new_page()
    page.goto(path.as_uri())
    return page


def _each(chrome: Any, paths: list[Path], **options: Any) -> Iterator[tuple[Path, Any]]:
    """Open one page after the other in one tab: a tab of its own would cost each more than all that is asked of it."""
    page = chrome.new_context(**options).new_page()
    for path in paths:
        page.goto(path.as_uri())
        yield path, page
    page.context.close()


@pytest.mark.timeout(900)  # axe takes seconds a page
def test_axe_finds_nothing_on_any_page_with_everything_opened(chrome: Any, pages: list[Path]) -> None:
    found = {}
    for path, page in _each(chrome, pages, viewport={"width": 1280, "height": 900}):
        page.evaluate(OPEN_ALL)
        for scheme, rules in (("light", RULES), ("dark", COLOURS)):
            page.emulate_media(color_scheme=scheme)
            done = Axe().run(page, context=PARTS, options=rules).response
            assert {rule["id"] for rule in done["passes"]} & {*rules["runOnly"], "color-contrast"}, "it was looked at"
            for each in done["violations"]:
                found[path.name, scheme, each["id"]] = (len(each["nodes"]), each["nodes"][0]["html"][:200])
    assert found == {}


def test_a_phone_shows_every_page_without_scrolling_sideways(chrome: Any, pages: list[Path]) -> None:
    wide = {}
    for path, page in _each(chrome, pages, viewport={"width": 390, "height": 844}):
        width = page.evaluate("document.documentElement.scrollWidth")
        if width > 390:
            wide[path.name] = width
    assert wide == {}


def _of(pages: list[Path], report: str) -> Path:
    return next(path for path in pages if path.name.startswith(f"{report}-"))


def test_a_definition_opens_beside_its_label_by_keyboard_and_closes_by_escape(chrome: Any, pages: list[Path]) -> None:
    page = _opened(chrome, _of(pages, "tracking_indicators"), viewport={"width": 1280, "height": 900})
    mark = page.locator("a.tk-what[data-metric=open_rate]:visible").first
    box = page.locator("#meaning")
    for key in ("Enter", " "):
        mark.focus()
        page.keyboard.press(key)
        assert box.is_visible() and METRICS["open_rate"].definition in box.inner_text()
        assert mark.get_attribute("aria-expanded") == "true"
        above, below = mark.bounding_box(), box.bounding_box()
        assert abs(below["y"] - above["y"] - above["height"]) < 40, "beside it"
        page.keyboard.press("Escape")
        assert not box.is_visible() and mark.evaluate(f"mark => mark === {FOCUS}")
        assert mark.get_attribute("aria-expanded") == "false"
    mark.click()
    assert box.is_visible()
    mark.click()
    assert not box.is_visible()
    page.context.close()


def test_without_scripts_a_definition_is_in_the_glossary(chrome: Any, pages: list[Path]) -> None:
    path = _of(pages, "tracking_indicators")
    page = _opened(chrome, path, java_script_enabled=False, viewport={"width": 1280, "height": 900})
    page.locator("a.tk-what[data-metric=open_rate]:visible").first.click()
    assert page.url.endswith("#what-open_rate")
    entry = page.locator("#what-open_rate dd")
    assert entry.is_visible() and METRICS["open_rate"].definition in entry.inner_text()
    page.context.close()


def test_the_keyboard_reaches_everything_once_and_in_order(chrome: Any, pages: list[Path]) -> None:
    page = _opened(chrome, _of(pages, "delivery_tracking"), viewport={"width": 1280, "height": 900})
    selector = "a[href], button, input, summary, [tabindex='0']"
    expected = page.evaluate(f"[...document.querySelectorAll({selector!r})].filter(e => e.checkVisibility()).length")
    page.evaluate("window.reached = []; window.beyond = 0")
    for _ in range(expected):
        page.keyboard.press("Tab")
        page.evaluate(f"window.reached.includes({FOCUS}) ? beyond++ : reached.push({FOCUS})")
    assert page.evaluate("beyond") == 0 and page.evaluate("reached.length") == expected > 10
    assert page.evaluate("reached[0].className") == "skip"
    order = "reached.slice(1).every((e, n) => reached[n].compareDocumentPosition(e) & Node.DOCUMENT_POSITION_FOLLOWING)"
    assert page.evaluate(order), "as they stand"
    page.context.close()


def test_a_heading_sorts_its_column_up_down_and_back(chrome: Any, pages: list[Path]) -> None:
    page = _opened(chrome, _of(pages, "delivery_tracking"), viewport={"width": 1280, "height": 900})
    section = page.locator("section:has(th.clicks)").first

    def texts() -> list[int]:
        return [int(text.replace(",", "")) for text in section.locator("tbody td.clicks").all_text_contents()]

    before, heading = texts(), section.locator("th.clicks")
    assert len(before) > 3
    heading.locator("button").press("Enter")
    assert heading.get_attribute("aria-sort") == "descending" and texts() == sorted(before, reverse=True)
    heading.locator("button").press("Enter")
    assert heading.get_attribute("aria-sort") == "ascending" and texts() == sorted(before)
    heading.locator("button").press("Enter")
    assert heading.get_attribute("aria-sort") is None and texts() == before
    page.context.close()


def test_a_long_table_is_filtered_by_words(chrome: Any, pages: list[Path]) -> None:
    page = _opened(chrome, _of(pages, "delivery_tracking"), viewport={"width": 1280, "height": 900})
    section = page.locator("section:has(.scroll.long)").first
    every = section.locator("tbody tr").all_inner_texts()
    word = section.locator("tbody tr").nth(2).locator("td:not(:empty)").last.inner_text().split()[0]
    section.locator(".filter input").fill(word)
    left = section.locator("tbody tr:visible").all_inner_texts()
    assert left == [text for text in every if word.lower() in text.lower()] and 0 < len(left) < len(every)
    assert str(len(left)) in section.locator(".filter [role=status]").inner_text()
    section.locator(".filter input").fill("no row has this")
    assert section.locator("tbody tr:visible").count() == 0
    page.context.close()


def test_every_table_has_a_name_and_every_row_a_heading(chrome: Any, pages: list[Path]) -> None:
    for path, page in _each(chrome, pages[:-2]):
        tables = page.locator("table.gt_table")
        assert tables.evaluate_all("tables => tables.every(table => table.caption && table.caption.textContent)")
        rows = "tables => tables.flatMap(t => [...t.tBodies[0].rows]).filter(r => !r.querySelector('th[scope=row]'))"
        assert tables.evaluate_all(f"tables => ({rows})(tables).length") == 0, path.name
