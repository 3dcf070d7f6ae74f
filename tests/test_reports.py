"""Every standard report, end to end on a real store: what a reader sees, and what no log can make a page do."""

import base64
import copy
import hashlib
import html
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import papermill
import polars as pl
import pytest
from nbformat.v4 import new_code_cell, new_notebook
from selectolax.lexbor import LexborHTMLParser

import trackkit as tk
from tests.conftest import about, render_all
from tests.hostile import ADDRESSES, CANARY, DELIVERY, RECIPIENT, write_hostile
from trackkit import resources
from trackkit.report import REPORTS, digests_of, notebook, render, report_path
from trackkit.report import _report as report_of
from trackkit.report import _trimmed as trimmed
from trackkit.report import _values as values_of
from trackkit.report.html_page import PageFacts, contents, written
from trackkit.report.provenance import of_page
from trackkit.report.template import template
from trackkit.store import open_store

NAMES = sorted(REPORTS)
MARKS = "svg:not(.narrow) .role-mark > *"
WITHOUT_CHARTS = {"delivery_tracking", "hot_clicks", "mirror_page"}  # and where the small demo has nothing to draw
WITHOUT_CHARTS |= {"bounces", "delivery_statistics"}
ABOUT_ONE = [name for name in NAMES if REPORTS[name].scope != "platform"]
Once = Callable[[str, Callable[[Path], None]], Path]


@pytest.fixture(scope="session")
def hostile_store(once: Once) -> Path:
    """A store of the instance whose every text attacks."""
    raw = once("hostile_raw", lambda folder: write_hostile(folder) and None)
    return once("hostile_store", lambda folder: open_store(folder).ingest(str(raw)) and None)


@pytest.fixture(scope="session")
def hostile_pages(hostile_store: Path, once: Once) -> Path:
    """All reports of its delivery, and the tracking of one recipient."""

    def make(folder: Path) -> None:
        render_all(hostile_store, folder, DELIVERY)
        render("recipient_tracking", hostile_store, folder, parameters={"recipient": RECIPIENT})

    return once("hostile_pages", make)


def _page(folder: Path, name: str, delivery: str) -> str:
    return report_path(name, folder, about(name, delivery)).read_text("utf-8")


def _table(page: LexborHTMLParser, section: str) -> list[list[str]]:
    for mark in page.css(".tk-what"):
        mark.decompose()
    rows = page.css(f"section#{section} .gt_table tbody tr")
    return [[cell.text(separator=" ", strip=True) for cell in row.css("td, th")] for row in rows]


def test_the_reports_of_the_contract_are_there() -> None:
    """Those that outside callers rely on; there may be more."""
    contract = {
        "bounces", "breakdown_of_opens", "browsers", "cumulative", "delivery_dashboard", "delivery_statistics",
        "delivery_summary", "delivery_throughput", "delivery_tracking", "hot_clicks", "message_list", "mirror_page",
        "operating_systems", "reactivity_rate", "recipient_tracking", "sharing_activity", "social_sharing",
        "subscription_tracking", "tracking_indicators",
        "tracking_statistics", "urls_and_click_streams", "user_activities", "web_application", "web_tracking",
    }  # fmt: skip
    assert contract <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_sections_stand_in_the_order_and_words_of_the_template(demo_pages: Path, delivery: str, name: str) -> None:
    page = LexborHTMLParser(_page(demo_pages, name, delivery))
    words = template(name)
    of_recipients = ("logs", "urls") if name == "recipient_tracking" else ()  # of a delivery, another report shows them
    of_young = ("maturity", "growth")  # this delivery is finished
    # The demo has no counters of the platform, no offers, no links that end, and no mail domains of which it is known
    # whether they tell complaints. No domain of this small one is unlike the others, and no delivery compares.
    nothing_there = {
        "delivery_dashboard": ("counters",), "tracking_indicators": ("complaints", "unlike_others", "before"),
        "hot_clicks": ("offers",), "urls_and_click_streams": ("validity",),
        "overview": ("deliveries",), "web_tracking": ("deliveries",),  # of several
    }  # fmt: skip
    left_out = (*of_recipients, *of_young, *nothing_there.get(name, ()))
    sections = [section for section in words.section if section.name not in left_out]
    assert [node.attributes["id"] for node in page.css("section")] == [section.name for section in sections]
    topics = [node.css_first(".topic") or node.css_first("h2") for node in page.css("section")]
    assert [topic.text() for topic in topics] == [section.title for section in sections]
    shown = "table, figure, .tk-message, .tk-figures, .tk-tiles, .tk-lead, .tk-block > .words, .nothing"
    assert all(node.css(shown) for node in page.css("section"))
    title = page.css_first("header .kicker") or page.css_first("h1")  # pages on many are headed by it
    assert title.text() == words.title
    if name in ABOUT_ONE:
        assert f"delivery {delivery}" in page.css_first("header .line").text()


@pytest.mark.parametrize("name", NAMES)
def test_a_page_loads_nothing_and_says_so_in_its_policy(demo_pages: Path, delivery: str, name: str) -> None:
    text = _page(demo_pages, name, delivery)
    page = LexborHTMLParser(text)
    policy = page.css_first('meta[http-equiv="Content-Security-Policy"]').attributes["content"] or ""
    assert "default-src 'none'" in policy
    assert not re.search(r"unsafe-eval|script-src[^;]*unsafe|https?:|\*", policy)
    for script in page.css("script:not([type])"):
        digest = base64.b64encode(hashlib.sha256(script.text().encode()).digest()).decode()
        assert f"'sha256-{digest}'" in policy
    for node in page.css("*"):
        for attribute, value in node.attributes.items():
            assert not attribute.startswith("on"), (node.tag, attribute)
            assert attribute not in ("src", "href", "action", "data") or (value or "").startswith("#"), (
                node.tag,
                value,
            )
    assert not page.css("link, object, embed, base, form")
    assert "Calculated: " in page.css_first("footer").text()
    assert "time zone UTC" in page.css_first("footer").text()


@pytest.mark.parametrize("name", NAMES)
def test_a_chart_has_words_and_the_table_behind_it(demo_pages: Path, delivery: str, name: str) -> None:
    page = LexborHTMLParser(_page(demo_pages, name, delivery))
    figures = page.css("figure")
    assert figures or name in WITHOUT_CHARTS
    for figure in figures:
        pictures = figure.css("svg")
        sentence = figure.css_first(".sentence").text()
        assert sentence and [(each.attributes["role"], each.attributes["aria-label"]) for each in pictures] == (
            [("img", sentence)] * len(pictures)
        )
        assert pictures and pictures[0].css(".m > [data-words]"), "its marks carry their values"
        assert not re.search(r"#1f6f8b|NaN|undefined", pictures[0].html or ""), "colours are variables"
        data = json.loads(figure.css_first("script").text())
        assert data["rows"] and all(len(row) == len(data["columns"]) for row in data["rows"])
        assert figure.css("details tbody tr")


def test_the_figures_are_those_of_measure(demo_pages: Path, demo_store: Path, delivery: str) -> None:
    page = LexborHTMLParser(_page(demo_pages, "tracking_indicators", delivery))
    names = ["to_deliver", "delivered", "estimated_unique_opens", "estimated_total_opens", "unsubscribe_clicks",
             "mirror_page_clicks", "estimated_forwards", "unique_people_clicks", "total_clicks", "unique_clicks",
             "web_visits", "transactions"]  # fmt: skip
    row = tk.measure(tk.open_store(demo_store), names, delivery=delivery).row(0, named=True)
    sections = ("delivery_statistics", "reception_statistics", "click_streams", "web_tracking")
    shown = {cells[0]: cells[1:] for section in sections for cells in _table(page, section)}
    for name in names:
        assert shown[tk.METRICS[name].label][0].split(" ")[0] == f"{row[name]:,}", name
    top, bottom = row["total_clicks"], row["delivered"]
    assert shown["Cumulated clicks"][1] == f"{top / bottom:.1%} {top:,} of {bottom:,}"


def test_the_domains_and_the_total_add_up(demo_pages: Path, delivery: str) -> None:
    rows = _table(LexborHTMLParser(_page(demo_pages, "tracking_indicators", delivery)), "open_and_click_through")
    *domains, total = [[cell.replace(",", "") for cell in row] for row in rows]
    assert total[0] == "Total"
    assert sum(int(row[1]) for row in domains) == int(total[1])
    opens = [row[3].split(" ")[1] if "n/a" not in row[3] else "0" for row in domains]
    assert sum(map(int, opens)) == int(total[3].split(" ")[1]) > 0


@pytest.mark.parametrize("name", NAMES)
def test_no_address_of_a_recipient_or_a_network_is_shown(
    demo_pages: Path, demo_store: Path, delivery: str, name: str
) -> None:
    text = html.unescape(_page(demo_pages, name, delivery)).lower()
    store = open_store(demo_store)
    addresses = store.scan("recipient").select(pl.col("email").str.to_lowercase()).collect()["email"].drop_nulls()
    ips = store.scan("event").select(pl.col("ip").unique()).collect()["ip"].drop_nulls()
    assert addresses.len() > 50 and ips.len() > 10
    assert [address for address in addresses if "@" in address and address in text] == []
    assert [ip for ip in ips if len(ip) > 6 and ip in text] == []


def test_the_same_inputs_give_the_same_bytes(demo_pages: Path, demo_store: Path, delivery: str, tmp_path: Path) -> None:
    again = render("urls_and_click_streams", demo_store, tmp_path, delivery=delivery)
    pages = [again.read_text("utf-8"), _page(demo_pages, "urls_and_click_streams", delivery)]
    first, second = (re.sub(r"Calculated: <time[^<]*</time>", "", page) for page in pages)
    assert first == second


@pytest.mark.parametrize(("lang", "turn"), [("en", 0), ("pt_BR", 1)])
def test_every_page_is_what_a_plain_kernel_of_papermill_gives(
    demo_pages: Path, demo_store: Path, delivery: str, tmp_path: Path, lang: str, turn: int
) -> None:
    names = NAMES[turn::2]  # each in one language
    given = {name: {"delivery": delivery} if about(name, delivery) else {} for name in names}
    found = {name: report_of(name, lang) for name in names}
    cells, ends = [new_code_cell("")], {}
    for name, (report, words, book) in found.items():
        values = {"store": str(demo_store), "lang": lang, **values_of(report, given[name], words)}
        for cell in trimmed(book, words).cells:
            cells.append(copy.deepcopy(cell))
            if notebook.PARAMETERS in notebook.tags(cell):
                cells.append(new_code_cell("\n".join(f"{key} = {value!r}" for key, value in values.items())))
        ends[name] = len(cells)
    every = new_notebook(cells=cells, metadata=found[names[0]][2].metadata)
    executed = papermill.execute_notebook(every, None, kernel_name="python3", progress_bar=False)
    start = 1
    for name, (report, words, _) in found.items():
        part, start = new_notebook(cells=executed.cells[start : ends[name]]), ends[name]
        values = values_of(report, given[name], words)
        values["timezone"] = values["timezone"] or "UTC"
        unsaid = ("", None, "UTC", "adobe")
        told = {key: value for key, value in values.items() if value not in unsaid and key != "activity"}
        shown = contents(part, words, PageFacts(name, told, values["timezone"], lang))
        plain = written(shown | of_page(shown, str(demo_store), values, digests_of(name, lang)))
        if lang == "en":
            ours = _page(demo_pages, name, delivery)
        else:
            ours = render(name, demo_store, tmp_path, lang=lang, parameters=given[name]).read_text("utf-8")
        stamp = r"(Calculated|Calculado em|Calculado): <time[^<]*</time>"
        assert re.sub(stamp, "", ours) == re.sub(stamp, "", plain), name


def test_a_recipient_has_a_report_of_their_own(hostile_pages: Path) -> None:
    path = report_path("recipient_tracking", hostile_pages, parameters={"recipient": RECIPIENT})
    page = LexborHTMLParser(path.read_text("utf-8"))
    assert page.css_first("h1").text() == f"Recipient {RECIPIENT}"
    logs = _table(page, "logs")  # hits n of 1-300 whose message 1 + n % 30 is theirs: all opens, as n % 3 = 0
    hours = sorted((6 + number % 12 for number in range(30, 301, 30)), reverse=True)
    assert [row[:2] for row in logs] == [[f"2026-03-01 {hour:02}:00:00", "Open"] for hour in hours]
    assert not page.css("#logs .recipient"), "who it is stands in the title"


@pytest.mark.parametrize("name", NAMES)
def test_no_text_of_a_log_becomes_an_element(hostile_pages: Path, name: str) -> None:
    text = _page(hostile_pages, name, DELIVERY)
    page = LexborHTMLParser(text)
    scripts = page.css("script:not([type])")
    assert not any(CANARY in script.text() for script in scripts)
    assert not page.css("svg :is(a, script, style, image, foreignObject, use, animate, set), [href^=javascript]")
    assert not page.css("img, base, object, embed, form, input, link, meta[http-equiv=refresh]")
    assert len(page.css("style")) == 1 and not page.css("iframe")
    for node in page.css("*"):
        assert not [attribute for attribute in node.attributes if attribute.startswith("on")], node.html
    for data in page.css('script[type="application/json"]'):
        assert not re.search(r"[<>&\u2028\u2029]", data.text())
        json.loads(data.text())
    messages = re.findall(r'(?s)<template shadowrootmode="open">(.*?)</template>', text)
    assert len(messages) == len(page.css("template")) == (2 if name in ("hot_clicks", "mirror_page") else 0)
    for inside in map(LexborHTMLParser, messages):  # the browser runs what stands there, and parsers pass it over
        assert len(inside.css("style")) == 1 and CANARY in inside.css_first(".sheet").text()
        assert not inside.css("script, iframe, form, input, base, link, meta, object, embed, template, [href]")
        for node in inside.css("*"):
            assert not [attribute for attribute in node.attributes if attribute.startswith("on")], node.html
    outside = re.sub(r"(?s)<template.*?</template>", "", text)
    assert "\u202e" not in outside, "nothing turns the text around it"
    if name in ABOUT_ONE:
        assert "49" not in page.css_first("header").text(), "no template language runs on the data"
    assert not [address for address in ADDRESSES if address in html.unescape(text)]
    assert len(text) < 3_000_000, "a label of a megabyte is shortened"


@pytest.mark.browser
@pytest.mark.parametrize("which", ["demo_pages", "hostile_pages"])
def test_in_a_browser_every_chart_is_drawn_and_nothing_else_happens(
    request: pytest.FixtureRequest, browser: Any, which: str
) -> None:
    folder: Path = request.getfixturevalue(which)
    scheme = "dark" if which == "demo_pages" else "light"  # each report is in both folders
    context = browser.new_context(
        color_scheme=scheme, reduced_motion="reduce", offline=True, viewport={"width": 1000, "height": 900}
    )
    page = context.new_page()  # one for all: each of its own would take longer than all that is done in it
    said, asked = _overheard(page)
    for path in sorted(folder.glob("*.html")):
        said.clear()
        asked.clear()
        _look_at(page, path, said, asked)
    context.close()


def _overheard(page: Any) -> tuple[list[str], list[str]]:
    """What a page says on its console, and what it asks for, from now on."""
    said: list[str] = []
    asked: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    return said, asked


def _look_at(page: Any, path: Path, said: list[str], asked: list[str]) -> None:
    page.goto(path.as_uri())
    title = page.title()
    marks = page.evaluate(f"[...document.querySelectorAll('figure')].map(f => f.querySelectorAll({MARKS!r}).length)")
    assert all(count > 0 for count in marks), (path.name, marks)
    for plot in page.query_selector_all("figure svg:not(.narrow)")[:2]:
        plot.focus()
        page.keyboard.press("ArrowRight")
        assert page.query_selector(".tip").inner_text().strip(), path.name
    assert page.title() == title and CANARY not in title.split(" · ")[-1], path.name
    own = [url for url in asked if url != path.as_uri() and not url.startswith("about:")]
    assert own == [], path.name
    assert said == [], path.name
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth"), path.name


def test_every_notebook_has_its_template_and_every_template_its_notebook() -> None:
    lists = {"bounce_causes", "domains", "dossier", "feedback_loops", "index", "machines", "quality"}
    templates = {path.stem for path in resources.folder("reports_templates").glob("*.toml")} - lists
    assert templates == set(resources.files(notebook.NOTEBOOKS, "*.ipynb"))
