"""The bar by which every page of a folder is reached from every other, and the groups that analysts choose for it."""

import csv
import json
import os
import re
import shutil
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from bs4 import BeautifulSoup

import trackkit as tk
from trackkit import resources
from trackkit.engine.snapshot import Snapshot
from trackkit.errors import RequestError
from trackkit.report.checks import check
from trackkit.report.glossary import write_glossary
from trackkit.report.groups import groups
from trackkit.runs.dossier import Dossiers, without_bar, write_bars
from trackkit.runs.drawings import WIDTHS, trend
from trackkit.runs.due import run, withdraw
from trackkit.runs.index import write_index
from trackkit.runs.leaves import leaves
from trackkit.schema import DELIVERY
from trackkit.store import open_store

REPORTS = ("delivery_summary", "bounces", "hot_clicks", "delivery_tracking")
HOSTILE = '</a><script>alert(1)</script><!--/bar--> "x" \u202e'
PAGE = """<!doctype html>
<html lang="{tag}">
<head>
<meta name="trackkit:report" content="{report}">
<meta name="trackkit:delivery" content="{delivery}">
<meta name="trackkit:warnings" content="{warnings}">
<title>{title}</title>
</head>
<body><a class="skip" href="#content">Skip</a>
<!--bar--><!--/bar-->
<main id="content">&lt;!--bar--&gt; stays</main></body></html>
"""


class Folder:
    """A folder of pages written by hand, with a store of as many deliveries in memory."""

    def __init__(self, path: Path, labels: dict[str, str]) -> None:
        path.mkdir(exist_ok=True)
        self.path, self.labels, self.entries, self.states = path, labels, {}, {}

    @property
    def tables(self) -> Snapshot:
        """Deliveries launched one day after the other, in the order of their labels."""
        rows = {
            "delivery_id": list(self.labels),
            "label": list(self.labels.values()),
            "state": [self.states.get(name, 95) for name in self.labels],
            "started_at": [datetime(2026, 10, 1 + place, 10, tzinfo=UTC) for place in range(len(self.labels))],
        }
        common = {"message_type": 0}
        nothing = dict.fromkeys(DELIVERY.schema.keys() - rows.keys() - common.keys())
        frame = pl.LazyFrame(rows).with_columns(**{name: pl.lit(value) for name, value in (common | nothing).items()})
        return Snapshot({"delivery": frame.select(pl.col(name).cast(kind) for name, kind in DELIVERY.schema.items())})

    def add(self, report: str, delivery: str, lang: str = "en", **entry: Any) -> str:
        """Write a page and list it in the manifest; return its name."""
        name = f"{report}-{delivery or 'platform'}-{lang}.html"
        words = {"report": report, "delivery": delivery, "warnings": entry.get("warnings", 0), "title": report}
        (self.path / name).write_text(PAGE.format(tag=lang.replace("_", "-"), **words), "utf-8")
        common = {"report": report, "delivery": delivery, "lang": lang, "status": "done", "path": name}
        at = {"rendered_at": "2026-11-02T08:00:00+00:00"}
        self.entries[f"{delivery or 'platform'}/{report}/{lang}"] = common | at | entry
        return name

    def join(self) -> list[str]:
        """Write the bars and the index, as a run does at its end; return the pages written."""
        dossiers = Dossiers(self.tables, self.path, leaves(self.path, self.entries))
        written = write_bars(dossiers)
        write_index(self.tables, dossiers)
        return sorted(written)

    def page(self, name: str) -> BeautifulSoup:
        """Return a page."""
        return BeautifulSoup((self.path / name).read_text("utf-8"), "lxml")

    def bar(self, name: str) -> str:
        """Return the text of a page's bar."""
        return " ".join(self.page(name).select_one("nav.bar").get_text(" ").split())

    def pages(self) -> set[str]:
        """Return the names of all pages."""
        return {path.name for path in self.path.glob("*.html")}

    def bytes(self) -> dict[str, bytes]:
        """Return every page as it is."""
        return {name: (self.path / name).read_bytes() for name in self.pages()}


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    """Three deliveries with four reports each, one report about all."""
    made = Folder(tmp_path / "out", {"11": "First letter", "12": "Second letter", "13": HOSTILE})
    for delivery in made.labels:
        for report in REPORTS:
            made.add(report, delivery)
    made.add("browsers", "")
    return made


def reached(path: Path, start: str) -> set[str]:
    """Return the pages that links lead to from a page, one after the other."""
    seen, waiting = {start}, [start]
    while waiting:
        links = BeautifulSoup((path / waiting.pop()).read_text("utf-8"), "lxml").select("a[href]")
        new = {link["href"].partition("#")[0] for link in links} - seen - {""}
        seen |= new
        waiting += [name for name in new if name.endswith(".html")]
    return seen


def all_reach_all(path: Path, names: Iterable[str]) -> bool:
    pages = {page.name for page in path.glob("*.html")}
    assert all((path / name).is_file() for start in names for name in reached(path, start)), "no link leads nowhere"
    return all(reached(path, start) >= pages for start in names)


def test_every_page_reaches_every_other(folder: Folder) -> None:
    assert folder.join() == sorted(folder.pages() - {"index.html"})
    assert all_reach_all(folder.path, ["bounces-11-en.html", "hot_clicks-13-en.html", "browsers-platform-en.html"])
    assert folder.bar("bounces-12-en.html") == (
        "← All deliveries Overview not made yet Delivery & bounces Opens & devices not made yet Clicks & map Timing "
        "not made yet Site & sales not made yet Logs ‹ Previous delivery: 2026-10-01 , First letter Next delivery: "
        '2026-10-03 , </a><script>alert(1)</script><!--/bar--> "x" \ufffd › Download This page (HTML) Delivery summary '
        "Delivery dashboard not made yet Delivery statistics not made yet Non-deliverables and bounces"
    )


def _reports() -> list[str]:
    return sorted(resources.files("notebooks/reports", "*.ipynb"))


def test_previous_and_next_lead_to_the_same_report_by_launch(folder: Folder) -> None:
    folder.join()
    bar = folder.page("bounces-12-en.html").select_one("nav.bar")
    assert bar.select_one("[rel=prev]")["href"] == "bounces-11-en.html"
    assert bar.select_one("[rel=next]")["href"] == "bounces-13-en.html"
    earlier = bar.select_one("[rel=prev]")
    assert earlier.select_one(".bar-date").get_text() == "2026-10-01" and earlier["title"] == "First letter"
    assert folder.page("bounces-11-en.html").select("[rel=prev]") == []
    (folder.path / "bounces-13-en.html").unlink()
    del folder.entries["13/bounces/en"]
    folder.join()
    other = folder.page("bounces-12-en.html").select_one("[rel=next]")["href"]
    assert other.startswith(REPORTS) and "-13-" in other, "without that report, another page of the delivery"
    assert [link["href"] for link in folder.page("bounces-12-en.html").select("[aria-current=page]")] == [
        "bounces-12-en.html"
    ]


def test_a_hostile_label_is_text(folder: Folder) -> None:
    folder.join()
    for name in folder.pages():
        page = folder.page(name)
        assert "alert(1)" not in " ".join(script.get_text() for script in page.select("script")), name
        assert name == "index.html" or len(page.select("nav.bar")) == 1
    once = folder.bytes()
    folder.join()
    assert folder.bytes() == once, "a label with the mark of a bar's end ends no bar"
    assert "&lt;!--bar--&gt; stays" in (folder.path / "bounces-12-en.html").read_text("utf-8")


def test_a_second_time_nothing_is_written_or_even_opened(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in folder.pages():
        os.utime(folder.path / name, ns=(10**18, 10**18))
    folder.join()
    pages = folder.pages() - {"index.html"}
    assert {(folder.path / name).stat().st_mtime_ns for name in pages} == {10**18}, "bars change no time"
    once, opened = folder.bytes(), []
    read = Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda path: opened.append(path.name) or read(path))
    assert folder.join() == [] and not pages & set(opened)
    monkeypatch.undo()
    assert folder.bytes() == once


def test_a_new_delivery_changes_its_neighbours_alone(folder: Folder) -> None:
    folder.join()
    folder.labels |= {"14": "Fourth letter"}
    new = [folder.add(report, "14") for report in REPORTS]
    assert folder.join() == sorted([*new, *(f"{report}-13-en.html" for report in REPORTS)])
    assert all_reach_all(folder.path, new[:1])


def test_a_page_written_anew_gets_its_bar_again(folder: Folder) -> None:
    folder.join()
    name = "bounces-12-en.html"
    (folder.path / name).write_text(PAGE.format(tag="en", report="bounces", delivery="12", warnings=0, title="b"))
    assert folder.join() == [name] and "All deliveries" in folder.bar(name)


@pytest.mark.parametrize("kept", [("bounces",), ("hot_clicks", "delivery_tracking")])
def test_part_of_a_run_hangs_together(tmp_path: Path, kept: tuple[str, ...]) -> None:
    folder = Folder(tmp_path / "out", {"11": "One", "12": "Two", "13": "Three"})
    names = [folder.add(report, delivery) for report in kept for delivery in ("11", "13")]
    folder.join()
    assert all_reach_all(folder.path, names)


def test_another_language_is_offered_and_stands_in(folder: Folder) -> None:
    other = folder.add("bounces", "12", "pt_BR")
    folder.join()
    page = folder.page("bounces-12-en.html").select_one("nav.bar")
    assert [(link["href"], link["hreflang"]) for link in page.select("[rel=alternate]")] == [(other, "pt-BR")]
    bar = folder.page(other).select_one("nav.bar")
    assert "Todas as entregas" in bar.get_text()
    summary = bar.select_one('.bar-reports a[href="delivery_summary-12-en.html"]')
    assert summary["hreflang"] == "en" and bar.select_one("[rel=prev]")["href"] == "bounces-11-en.html"
    row = next(row for row in folder.page("index.html").select("#deliveries tbody tr") if "Second" in row.get_text())
    assert [link["href"] for link in row.select("a.lang")] == [other]
    assert all_reach_all(folder.path, [other])


def test_a_failure_is_grey_with_its_error_and_a_good_page_stays_linked(folder: Folder) -> None:
    at = "2026-11-03T09:30:00+00:00"
    folder.entries["12/delivery_dashboard/en"] = {
        "report": "delivery_dashboard", "delivery": "12", "lang": "en", "status": "failed",
        "error": "KeyError: <b>sent</b>", "rendered_at": at,
    }  # fmt: skip
    folder.entries["12/bounces/en"] |= {"status": "failed", "error": "ValueError: as told", "failed_at": at}
    folder.join()
    bar = folder.page("delivery_summary-12-en.html").select_one("nav.bar")
    grey = " ".join(bar.select_one(".bar-reports .bar-none").get_text().split())
    assert grey == "Delivery dashboard failed: KeyError: <b>sent</b>" and not bar.select("b")
    assert bar.select_one('a[href="bounces-12-en.html"]')
    said = "failed on 2026-11-03 09:30; this is the page of 2026-11-02 08:00"
    assert said in bar.get_text()
    assert f"This report {said}. The error: ValueError: as told" in folder.bar("bounces-12-en.html")
    row = next(row for row in folder.page("index.html").select("#deliveries tbody tr") if "Second" in row.get_text())
    words = " ".join(row.select_one(".status").get_text(" ").split())
    assert "2 pages failed" in words and said in words and "KeyError: <b>sent</b>" in words
    assert row.select_one('.status a[href="bounces-12-en.html"]')


def test_names_of_deliveries_lead_to_the_overviews_that_there_are(folder: Folder) -> None:
    page = folder.path / folder.add("cumulative", "")
    links = "".join(f'<a data-report="overview" data-delivery="{name}">{name}</a>' for name in (11, 12))
    page.write_text(page.read_text("utf-8").replace("</main>", f"{links}</main>"), "utf-8")
    folder.join()
    leads = 'a[data-delivery="{}"]'.format
    assert not [link for link in folder.page(page.name).select("a[data-delivery]") if link.get("href")]
    name = folder.add("overview", "12")
    assert page.name in folder.join(), "an Overview that came later"
    assert folder.page(page.name).select_one(leads(12))["href"] == name
    assert not folder.page(page.name).select_one(leads(11)).get("href")


def test_a_warning_on_every_page_stands_once_and_others_on_their_group(folder: Folder) -> None:
    folder.add("overview", "12", warnings=1)
    for report in REPORTS:
        folder.add(report, "12", warnings=3 if report == "bounces" else 1)
    folder.add("browsers", "", warnings=1)
    folder.join()

    def badges(page: str) -> list[str]:
        return [" ".join(item.parent.get_text(" ").split()) for item in folder.page(page).select(".bar-badge")]

    assert badges("hot_clicks-12-en.html") == ["Overview 1 warning", "Delivery & bounces 2 warnings"]
    assert badges("bounces-12-en.html")[2:] == ["Non-deliverables and bounces 2 warnings"]
    assert badges("hot_clicks-11-en.html") == badges("browsers-platform-en.html") == []
    write_glossary(folder.path)
    write_bars(Dossiers(folder.tables, folder.path, leaves(folder.path, folder.entries)), glossary="en")
    assert badges("glossary.html") == []


def test_a_page_of_an_earlier_version_stays_and_is_listed_in_the_index(folder: Folder) -> None:
    old = folder.path / "bounces-12-en.html"
    old.write_text("<html><body>of an earlier version</body></html>")
    folder.join()
    assert old.read_text() == "<html><body>of an earlier version</body></html>"
    row = next(row for row in folder.page("index.html").select("#deliveries tbody tr") if "Second" in row.get_text())
    assert row.select_one('details a[href="bounces-12-en.html"]')


def test_pages_that_no_manifest_lists_hang_together_too(folder: Folder) -> None:
    words = {"tag": "en", "warnings": 0}
    lone = {
        "recipient_tracking-9.html": ("recipient_tracking", "", "Recipient 9 · Recipient tracking"),
        "bounces-12-paris.html": ("bounces", "12", "Second letter · Non-deliverables and bounces"),
        "nothing.html": ("no_such_report", "", "Not ours"),
    }
    for name, (report, delivery, title) in lone.items():
        (folder.path / name).write_text(PAGE.format(report=report, delivery=delivery, title=title, **words), "utf-8")
    folder.join()
    assert folder.page("bounces-12-en.html").select_one('a[href="bounces-12-paris.html"]')
    assert folder.page("recipient_tracking-9.html").select_one('a[href="browsers-platform-en.html"]')
    assert {"recipient_tracking-9.html", "bounces-12-paris.html"} <= reached(folder.path, "hot_clicks-11-en.html")
    assert folder.page("nothing.html").select("nav") == []


def test_what_stands_beside_a_page_is_offered(folder: Folder) -> None:
    (folder.path / "bounces-12-en.pdf").write_bytes(b"%PDF")
    folder.join()
    links = folder.page("bounces-12-en.html").select(".bar-files a[download]")
    assert [link["href"] for link in links] == ["bounces-12-en.html", "bounces-12-en.pdf"]


def test_a_text_without_its_bar() -> None:
    assert without_bar("a<!--bar-->names<!--/bar-->b") == "ab" and without_bar("a<!--bar-->b") == "a<!--bar-->b"


def test_the_trend_names_days_and_says_where_a_rate_is_unknown() -> None:
    days = [f"{day} Oct" for day in range(1, 31)]
    rates = [None if day in (3, 4, 10) else 0.4 for day in range(30)]
    tips = [[f"{day}: n/a" for day in days]]
    drawn = {width: trend([("Opened", rates)], tips, days, str, "Rates", "n/a", width) for width in WIDTHS}
    pages = {width: BeautifulSoup(svg, "lxml") for width, svg in drawn.items()}
    dates = {
        width: [t.get_text() for t in page.select("text.middle") if "Oct" in t.contents[0]]
        for width, page in pages.items()
    }
    # 1,140 - 40 - 84 pixels over 29 steps are 35 each, and a date needs 72; on the phone 216 pixels hold one in ten.
    assert dates["wide"][-1] == dates["narrow"][-1] == "30 Oct"
    assert len(dates["wide"]) == 10 and dates["narrow"] == ["10 Oct", "20 Oct", "30 Oct"]
    gaps = {width: [t.get_text() for t in page.select("text.middle:has(title)")] for width, page in pages.items()}
    assert gaps["wide"] == ["n/a4 Oct: n/a", "n/a5 Oct: n/a", "n/a11 Oct: n/a"]
    assert gaps["narrow"] == ["n/a4 Oct: n/a", "n/a11 Oct: n/a"], "what would stand upon another is left out"
    assert len(pages["wide"].select("circle")) == 27


# --- the groups


def test_the_shipped_groups_hold_every_report_once() -> None:
    listed = [report for group in groups() for report in group.reports]
    assert sorted({*listed, "overview"}) == sorted({*_reports(), "overview"}) and len(listed) == len(set(listed))
    assert [group.title for group in groups("pt_BR")][3] == "Horários"


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ('"bounces"', '"bounce"', "key 'reports': there is no report 'bounce'. Did you mean 'bounces'?"),
        ('"bounces"', '"hot_clicks"', "the report 'hot_clicks' stands there twice"),
        ('"bounces"', '"overview"', "section 'delivery', key 'reports': 'overview' stands before the groups by itself"),
        ('title = "Timing"', 'titel = "Timing"', "section 'timing', key 'titel': there is no such key. Did you mean"),
        ('name = "timing"', 'name = "opens"', "the group 'opens' stands there twice"),
    ],
)  # fmt: skip
def test_wrong_groups_are_refused_and_checked(
    tmp_path: Path, demo_store: Path, monkeypatch: pytest.MonkeyPatch, before: str, after: str, words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "trackkit.toml").touch()
    path = tmp_path / "reports_templates" / "dossier.toml"
    path.parent.mkdir()
    shipped = resources.find("reports_templates/dossier.toml").read_text("utf-8")
    path.write_text(shipped.replace(before, after, 1), "utf-8")
    with pytest.raises(RequestError, match=re.escape(words)):
        run(demo_store, tmp_path / "out", reports=["bounces"])
    assert any(words in str(problem) for problem in check())
    assert not list(tmp_path.glob("out/*.html"))


def test_reports_that_no_group_lists_are_under_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "trackkit.toml").touch()
    path = tmp_path / "reports_templates" / "dossier.toml"
    path.parent.mkdir()
    path.write_text('[[group]]\nname = "mine"\ntitle = "My own"\nreports = ["hot_clicks", "bounces"]\n', "utf-8")
    folder = Folder(tmp_path / "out", {"11": "One"})
    for report in REPORTS:
        folder.add(report, "11")
    folder.join()
    items = [item.get_text(strip=True) for item in folder.page("bounces-11-en.html").select(".bar-row li")]
    assert items[-2:] == ["My own", "More"]


# --- runs


@pytest.mark.parametrize("way", ["render", "python", "withdraw"])
def test_a_folder_hangs_together_after_a_page_is_made_or_withdrawn_alone(
    demo_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    from click.testing import CliRunner

    from trackkit.cli import app
    from trackkit.runs.due import deliveries

    monkeypatch.chdir(tmp_path)
    first, second, *_ = deliveries(open_store(str(demo_store)))
    run(demo_store, "out", ["bounces"], [first, second], jobs=1)
    assert all_reach_all(Path("out"), ["index.html"])
    if way == "render":
        command = ["render", "hot_clicks", "--store", str(demo_store), "--out", "out", "--delivery", first]
        assert CliRunner().invoke(app, command).exit_code == 0
        assert len(list(Path("out").glob("hot_clicks-*.html"))) == 1
    elif way == "python":
        made = tk.render("hot_clicks", demo_store, "out", first)
        assert "All deliveries" in BeautifulSoup(made.read_text("utf-8"), "lxml").select_one("nav.bar").get_text()
    else:
        gone = withdraw(demo_store, "out", lambda path, text: first in path.name)
        assert len(gone) == 1 and first not in Path("out/index.html").read_text("utf-8")
    pages = [path.name for path in Path("out").glob("*.html")]
    assert all_reach_all(Path("out"), pages)
    manifest = json.loads(Path("out/manifest.json").read_text("utf-8"))
    assert manifest["lang"] == "en"


def test_a_failing_page_keeps_the_last_good_one(
    demo_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from trackkit.runs.due import deliveries

    monkeypatch.chdir(tmp_path)
    (tmp_path / "trackkit.toml").touch()
    one = deliveries(open_store(str(demo_store)))[0]
    (made,) = run(demo_store, "out", ["bounces"], [one], jobs=1).rendered
    before = json.loads(Path("out/manifest.json").read_text("utf-8"))["reports"][made]
    broken = tmp_path / "notebooks" / "reports" / "bounces.ipynb"
    broken.parent.mkdir(parents=True)
    book = json.loads(resources.find("notebooks/reports/bounces.ipynb").read_text("utf-8"))
    opening = next(cell for cell in book["cells"] if "open_page" in "".join(cell["source"]))
    opening["source"] = "raise ValueError('as told')"
    broken.write_text(json.dumps(book))
    for _ in range(2):  # a failed one is due again
        assert list(run(demo_store, "out", ["bounces"], [one], jobs=1).failed) == [made]
    entry = json.loads(Path("out/manifest.json").read_text("utf-8"))["reports"][made]
    assert entry["status"] == "failed" and "as told" in entry["error"] and entry["failed_at"] > entry["rendered_at"]
    assert entry["path"] == before["path"] and entry["rendered_at"] == before["rendered_at"]
    page = BeautifulSoup(Path("out", entry["path"]).read_text("utf-8"), "lxml")
    assert "as told" in page.select_one(".bar-failure").get_text()
    assert "1 page failed" in Path("out/index.html").read_text("utf-8")
    shutil.rmtree(tmp_path / "notebooks")
    assert run(demo_store, "out", ["bounces"], [one], jobs=1).rendered == [made]
    page = BeautifulSoup(Path("out", entry["path"]).read_text("utf-8"), "lxml")
    assert not page.select(".bar-failure") and "page failed" not in Path("out/index.html").read_text("utf-8")


# --- in a browser

GROUPS = ("bounces", "tracking_indicators", "hot_clicks", "tracking_statistics", "web_tracking", "delivery_tracking")
WALKED = ("overview", *GROUPS, "browsers")


@pytest.fixture(scope="session")
def walked(demo_store: Path, once: Any) -> Path:
    """A folder of a run: two deliveries with one report of every group, and one report about all."""
    from trackkit.runs.due import deliveries

    def make(folder: Path) -> None:
        assert not run(demo_store, folder, list(WALKED), deliveries(open_store(str(demo_store)))[-2:]).failed

    return once("walked", make)


@pytest.mark.browser
def test_a_walk_through_a_folder(walked: Path, browser: Any, tmp_path: Path) -> None:
    page = browser.new_context(accept_downloads=True).new_page()
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on(
        "request", lambda request: said.append(request.url) if not request.url.startswith(("file:", "blob:")) else None
    )
    page.goto((walked / "index.html").as_uri())
    page.click("#deliveries tbody tr:nth-child(2) th a")
    assert page.locator("nav.bar [aria-current=page]").inner_text() == "Overview"
    earlier = page.locator("h1").inner_text()
    tabs = page.locator(".bar-row li")
    for place, report in enumerate(GROUPS, 1):
        page.locator(".bar-row li").nth(place).locator("a").click()
        assert page.url.rpartition("/")[2].startswith(report)
        assert tabs.nth(place).locator("a").get_attribute("aria-current") == "true"
        assert page.locator("h1").inner_text() == earlier
    page.click("nav.bar [rel=next]")
    assert page.url.rpartition("/")[2].startswith("delivery_tracking") and page.locator("h1").inner_text() != earlier
    page.click("nav.bar [rel=prev]")
    assert page.locator("h1").inner_text() == earlier
    page.click(".bar-row >> text=Overview")
    page.locator("a.tk-what[data-metric=open_rate]").first.focus()
    page.keyboard.press("Enter")
    assert "Recipients who opened out of delivered messages." in page.locator("#meaning").inner_text()
    page.keyboard.press("Escape")
    page.click(".bar-row >> text=Delivery & bounces")
    with page.expect_download() as started:
        page.locator("button[data-as=csv]:visible").first.click()
    started.value.save_as(tmp_path / "figures.csv")
    rows = list(csv.reader((tmp_path / "figures.csv").read_text("utf-8-sig").splitlines()))
    assert len(rows) > 1 and all(len(row) == len(rows[0]) for row in rows)
    for close in (lambda: page.keyboard.press("Escape"), lambda: page.mouse.click(300, 400)):
        page.locator(".bar-files button").click()
        assert page.locator(".bar-files a").first.is_visible()
        close()
        assert not page.locator(".bar-files a").first.is_visible()
    page.click(".bar-all")
    assert page.url.endswith("index.html")
    assert said == []


@pytest.mark.browser
def test_the_index_sorts_finds_and_filters(tmp_path: Path, browser: Any) -> None:
    labels = {"11": "Été à Paris", "12": "Second letter", "13": "Third letter"}
    folder = Folder(tmp_path / "out", labels)
    for delivery in labels:
        folder.add("bounces", delivery)
    folder.entries["12/bounces/en"] |= {
        "status": "failed",
        "error": "as told",
        "failed_at": "2026-11-03T09:30:00+00:00",
    }
    folder.entries["13/bounces/en"]["quality"] = "warn"
    folder.states["11"] = 75
    folder.join()
    page = browser.new_page()
    page.goto((folder.path / "index.html").as_uri())

    def shown() -> list[str]:
        return page.locator("#deliveries tbody tr:visible .key").all_inner_texts()

    assert shown() == ["13", "12", "11"] and page.locator("#found").inner_text() == "3 of 3 shown"
    page.click("thead >> text=Launched")
    assert shown() == ["11", "12", "13"]
    assert page.locator("th.when").first.get_attribute("aria-sort") == "ascending"
    page.click("thead >> text=Delivery")
    assert shown() == ["11", "12", "13"] and page.locator("thead [aria-sort]").count() == 1
    page.locator("thead button").first.focus()
    page.keyboard.press("Enter")
    assert shown() == ["13", "12", "11"]
    found = {
        "ete": ["11"],
        "PARÍS": ["11"],
        "friday, october": ["12"],
        "friday": ["12"],
        "13 third": ["13"],
        "bounces": [],
    }
    for words, expected in found.items():
        page.fill("#search", words)
        assert shown() == expected, words
    assert page.locator("#found").inner_text() == "0 of 3 shown"
    assert "No delivery matches." in page.locator("#none").inner_text()
    page.select_option("[data-filter=problem]", "pages failed")
    page.click("#none >> text=Clear filters")
    assert shown() == ["13", "12", "11"] and page.locator("#search").input_value() == ""
    assert not page.locator("#none").is_visible()
    page.select_option("[data-filter=problem]", "pages failed")
    assert shown() == ["12"]
    page.select_option("[data-filter=problem]", "")
    states = page.locator("[data-filter=state] option").all_inner_texts()
    assert states == ["all", "Finished", "Paused"], "a verdict on logs is no state"
    page.select_option("[data-filter=state]", "Paused")
    assert shown() == ["11"] and page.locator("tbody tr:visible .status").inner_text().split() == ["Paused"]
    page.select_option("[data-filter=state]", "")
    page.select_option("[data-filter=verdict]", "logs: warning")
    assert shown() == ["13"]
    page.select_option("[data-filter=verdict]", "")
    page.select_option("[data-filter=day]", "2026 2026-99")
    assert shown() == ["13", "12", "11"]
    without = browser.new_context(java_script_enabled=False).new_page()
    without.goto((folder.path / "index.html").as_uri())
    assert without.locator("#deliveries tbody tr:visible").count() == 3 and not without.locator("#filters").is_visible()


@pytest.mark.browser
def test_no_page_with_a_bar_is_wider_than_its_window(walked: Path, browser: Any) -> None:
    page = browser.new_page()
    for width in (1280, 390):
        page.set_viewport_size({"width": width, "height": 800})
        page.goto((walked / "index.html").as_uri())
        rows = page.locator("#deliveries tbody tr").evaluate_all("rows => rows.map(row => row.offsetHeight)")
        assert max(rows) <= (80 if width == 1280 else 180), rows
        assert page.locator(".trend:visible").count() == page.locator(".trend").count() // 2
        for path in [walked / "index.html", *walked.glob("hot_clicks-*.html")]:
            page.goto(path.as_uri())
            assert page.evaluate("document.documentElement.scrollWidth") <= width, path.name


@pytest.mark.browser
def test_on_a_phone_the_way_back_the_neighbours_and_the_downloads_stay_in_sight(walked: Path, browser: Any) -> None:
    page = browser.new_page(viewport={"width": 390, "height": 844})
    last = sorted(walked.glob("delivery_tracking-*.html"))
    for path in last:
        page.goto(path.as_uri())
        ends = page.locator(".bar-all, .bar-ends a:visible, .bar-files button, .bar-row [aria-current]")
        boxes = [end.bounding_box() for end in ends.all()]
        assert len(boxes) == 4 and all(box["x"] >= 0 and box["x"] + box["width"] <= 390 for box in boxes)
        assert all(box["width"] >= 24 and box["height"] >= 24 for box in boxes)
        assert page.locator("nav.bar").bounding_box()["height"] < 90
