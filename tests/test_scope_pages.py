"""Every report over several deliveries: what its page says it is about, and its figures worked out by hand."""

import csv
import json
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest
from bs4 import BeautifulSoup

import trackkit as tk
from trackkit.analysis.unseen import together
from trackkit.errors import RequestError
from trackkit.report import REPORTS, report_path
from trackkit.report.workers import Renderers
from trackkit.runs.due import run
from trackkit.runs.gallery import selected
from trackkit.runs.manifest import Manifest

Page = Callable[..., BeautifulSoup]
Once = Callable[[str, Callable[[Path], None]], Path]
OVER = sorted(name for name, report in REPORTS.items() if any(each.name == "scope" for each in report.parameters))
PLATFORM_WIDE = {name for name in OVER if REPORTS[name].scope == "platform"}
# What each is called in its heading and in its line, and its deliveries.
SCOPES = {
    "campaign:12": ("Autumn <b>letters</b>", "campaign 12 · 2 deliveries · 2026-10-01 – 2026-10-08", ["2", "1"]),
    "1,2,3": ("3 deliveries", "2026-10-01 – 2026-10-15", ["3", "2", "1"]),
    "folder:3": ("Letters", "folder 3, with those in it · 3 deliveries", ["3", "2", "1"]),
    "platform": ("All deliveries", "4 deliveries · 2026-10-01 – 2026-10-20", ["4", "3", "2", "1"]),
}
# Delivered of those to deliver, opened and clicked of those delivered: A opened 1, 2 and 3, B opened 2, A clicked in 2.
FIGURES = {
    "campaign:12": [("80.0%", "4 of 5"), ("75.0%", "3 of 4"), ("25.0%", "1 of 4")],
    "1,2,3": [("83.3%", "5 of 6"), ("80.0%", "4 of 5"), ("20.0%", "1 of 5")],
    "folder:3": [("83.3%", "5 of 6"), ("80.0%", "4 of 5"), ("20.0%", "1 of 5")],
    "platform": [("85.7%", "6 of 7"), ("66.7%", "4 of 6"), ("16.7%", "1 of 6")],
}
BY_HAND = ("overview", "bounces", "delivery_summary")  # in English, for their figures
# Each report about a campaign and the platform; about the ids and the folder, which choose the same three, in turn.
PAGES = [
    (name, scope, "en" if name in BY_HAND else ("en", "pt_BR")[(first + second) % 2])
    for first, scope in enumerate(SCOPES)
    for second, name in enumerate(OVER)
    if (scope != "platform" or name not in PLATFORM_WIDE)
    and (scope not in ("1,2,3", "folder:3") or name in BY_HAND or (first + second) % 2)
]


def write(folder: Path, name: str, columns: str, rows: list[list[object]]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f"{name}.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([columns.split(","), *rows])


def write_raw(folder: Path) -> None:
    """Four deliveries and a proof, to three people; the campaign 12 has two of them, the folders 3 > 4 > 5 three."""
    columns = "iDeliveryId,sLabel,iState,iFCP,tsBroadStart,iTotalTarget,iReject,iToDeliver,iText,iOperationId,iFolderId"
    rows: list[list[object]] = [
        [1, "First letter", 95, 0, "2026-10-01 09:00:00", 4, 1, 3, 0, 12, 3],
        [2, "Second letter", 95, 0, "2026-10-08 09:00:00", 2, 0, 2, 0, 12, 4],
        [3, "An offer", 95, 0, "2026-10-15 09:00:00", 1, 0, 1, 0, 13, 5],
        [4, "Alone", 95, 0, "2026-10-20 09:00:00", 1, 0, 1, 0, "", ""],
        [9, "A proof", 95, 1, "2026-09-30 09:00:00", 1, 0, 1, 0, 12, 3],
    ]
    write(folder, "delivery", columns, rows)
    write(folder, "campaign", "iOperationId,sLabel", [[12, "Autumn <b>letters</b>"], [13, "Offers"]])
    write(folder, "folder", "iFolderId,iParentId,sLabel", [[3, "", "Letters"], [4, 3, "Old"], [5, 4, "Older"]])
    people = {1: "a@one.example", 2: "b@two.example", 3: "c@two.example"}
    sent = [(1, 1, 1), (1, 2, 1), (1, 3, 2), (2, 1, 1), (2, 2, 1), (3, 1, 1), (4, 3, 1), (9, 1, 1)]
    at = {1: "2026-10-01", 2: "2026-10-08", 3: "2026-10-15", 4: "2026-10-20", 9: "2026-09-30"}
    columns = "iBroadLogId,iDeliveryId,iRecipientId,sAddress,iStatus,iMsgId,tsEvent,iIsSeed"
    messages = [
        [
            delivery * 10 + person,
            delivery,
            person,
            people[person],
            status,
            int(status == 2),
            f"{at[delivery]} 09:01:00",
            0,
        ]
        for delivery, person, status in sent
    ]
    write(folder, "broadlog", columns, messages)
    write(folder, "broadlog_msg", "iBroadLogMsgId,iFailureType,iFailureReason,sFirstText", [[1, 2, 1, "550 unknown"]])
    links = [[1, 0, 2, "Open", ""]] + [[100 + each, each, 1, "Shop", "https://shop.example"] for each in at]
    write(folder, "tracking_url", "iTrackingUrlId,iDeliveryId,iType,sLabel,sSource", links)
    hits = [(1, 1, 1), (2, 1, 1), (2, 2, 1), (3, 1, 1), (2, 1, 102), (2, 1, 102), (9, 1, 1)]
    columns = "iTrackingLogId,tsLog,iUrlId,iBroadLogId,iDeliveryId,iRecipientId"
    logged = [
        [number, f"{at[delivery]} 10:{number:02}:00", link, delivery * 10 + person, delivery, person]
        for number, (delivery, person, link) in enumerate(hits, start=1)
    ]
    write(folder, "tracking_log", columns, logged)


@pytest.fixture(scope="session")
def scope_store(once: Once) -> Path:
    """The store of these deliveries."""
    raw = once("scope_raw", write_raw)
    return once("scope_store", lambda folder: tk.open_store(str(folder)).ingest(str(raw)) and None)


@pytest.fixture(scope="session")
def page(scope_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """`page(report, scope)`: a page, rendered once by a process that stays."""
    folder = tmp_path_factory.mktemp("pages")
    with Renderers(1) as renderers:

        @cache
        def made(name: str, scope: str, lang: str = "en") -> BeautifulSoup:
            path = renderers.render(name, str(scope_store), folder, lang=lang, scope=scope)
            return BeautifulSoup(path.read_text("utf-8"), "lxml")

        yield made


def text(node: object) -> str:
    return " ".join(node.get_text(" ").split()) if node else ""  # type: ignore[attr-defined]


@pytest.mark.parametrize(("name", "scope", "lang"), PAGES)
def test_a_page_says_what_it_is_about(page: Page, name: str, scope: str, lang: str) -> None:
    made = page(name, scope, lang)
    heading, line, deliveries = SCOPES[scope]
    assert made.select_one('meta[name="trackkit:scope"]')["content"] == scope
    assert [each["data-delivery"] for each in made.select(".members a")] == deliveries
    assert made.select("main section")
    if lang == "en":
        assert text(made.select_one("h1")) == heading and line in text(made.select_one("header .line"))
        assert "people count once" in text(made.select_one("header .about"))
    else:
        assert "entregas" in text(made.select_one("header")) and "cada pessoa conta uma vez" in text(made)


@pytest.mark.parametrize("scope", SCOPES)
def test_the_overview_of_several_by_hand(page: Page, scope: str) -> None:
    made = page("overview", scope)
    tiles = made.select(".tk-tile")[:3]
    shown = [(text(tile.select_one("strong")), text(tile.select_one(".tk-of")).partition(" (")[0]) for tile in tiles]
    assert shown == FIGURES[scope]
    assert made.select_one("#maturity") is None  # several have no common forecast


def test_the_causes_of_failure_of_several_by_hand(page: Page) -> None:
    tiles = [text(tile) for tile in page("bounces", "campaign:12").select(".tk-tile")]
    assert any("1 of 5" in tile and "20.0%" in tile for tile in tiles), tiles
    summary = text(page("delivery_summary", "campaign:12").select_one("#initial_population"))
    assert "1 of 6" in summary  # rejected of those targeted


def test_the_figures_of_nested_scopes_on_the_index_are_those_of_each_by_itself(scope_store: Path) -> None:
    tables, rates = tk.open_store(str(scope_store)).snapshot(), ["open_rate", "click_rate"]
    texts = ["campaign:12", "campaign:13", "folder:3", "folder:4", "folder:5", "platform"]
    scopes = {text: tk.scope(tables, text).deliveries for text in texts}
    found = selected(tables, scopes, rates)
    assert {text: fact["open_rate"] for text, fact in found.items()} == {
        **{"campaign:12": 3 / 4, "campaign:13": 1, "folder:3": 4 / 5, "folder:4": 1, "folder:5": 1, "platform": 4 / 6}
    }
    for text, deliveries in scopes.items():
        assert (
            found[text].items()
            >= together(tables, rates, deliveries).drop("delivery_id", strict=False).row(0, named=True).items()
        )


def test_a_page_of_several_has_a_safe_and_steady_name(scope_store: Path, tmp_path: Path) -> None:
    assert report_path("overview", "", parameters={"scope": "campaign:12"}).name.startswith("overview-campaign-12-")
    assert report_path("overview", "", parameters={"scope": "1,2,3"}).name.startswith("overview-1-2-3-")
    again = tk.render("social_sharing", scope_store, tmp_path, scope='campaign:"autumn <B>letters</b>"')
    assert again == report_path("social_sharing", tmp_path, parameters={"scope": "campaign:12"})


def test_one_delivery_is_no_scope_and_all_are_none_for_a_report_on_all(scope_store: Path, tmp_path: Path) -> None:
    one = tk.render("delivery_summary", scope_store, tmp_path, scope="1")
    assert one == report_path("delivery_summary", tmp_path, "1")
    everything = tk.render("browsers", scope_store, tmp_path, scope="platform")
    assert everything == report_path("browsers", tmp_path)


@pytest.mark.parametrize("name", ["hot_clicks", "mirror_page", "recipient_tracking", "subscription_tracking"])
def test_a_report_on_one_message_or_person_has_no_scope(scope_store: Path, tmp_path: Path, name: str) -> None:
    with pytest.raises(RequestError, match="no scope"):
        tk.render(name, scope_store, tmp_path, scope="campaign:12")


def test_a_delivery_and_a_scope_at_once_are_refused(scope_store: Path, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="a delivery or a scope"):
        tk.render("overview", scope_store, tmp_path, delivery="1", scope="campaign:12")
    with pytest.raises(RequestError, match="or a scope of several"):
        tk.render("overview", scope_store, tmp_path)


def test_a_run_renders_scopes_once_and_again_when_a_member_or_a_label_changes(tmp_path: Path) -> None:
    raw, store, out = tmp_path / "raw", tmp_path / "store", tmp_path / "out"
    write_raw(raw)
    tk.open_store(str(store)).ingest(str(raw))

    def ran() -> list[str]:
        return sorted(run(store, out, ["overview"], scope=["campaign", "folder:3"]).rendered)

    scopes = [f"scope {name}/overview/en" for name in ("campaign:12", "campaign:13", "folder:3")]
    assert ran() == sorted([*(f"{each}/overview/en" for each in "1234"), *scopes])
    assert ran() == []
    assert run(store, out, ["overview"]).rendered == []  # a run without scopes leaves their pages
    assert Manifest.read(out).entries[scopes[0]]["parameters"] == {"scope": "campaign:12"}
    write(raw, "campaign", "iOperationId,sLabel", [[12, "Autumn letters"], [13, "Offers"]])
    tk.open_store(str(store)).ingest(str(raw / "campaign.csv"))
    assert ran() == sorted(["1/overview/en", "2/overview/en", scopes[0]])  # whose pages name it
    index = BeautifulSoup((out / "index.html").read_text("utf-8"), "lxml")
    links = {text(each): str(each["href"]) for each in index.select(".selections > li > a")}
    assert sorted(links) == ["Autumn letters", "Letters", "Offers"]
    campaign = BeautifulSoup((out / links["Autumn letters"]).read_text("utf-8"), "lxml")
    members = {text(each): str(each["href"]) for each in campaign.select(".members a")}
    assert sorted(members) == ["First letter", "Second letter"]
    letter = BeautifulSoup((out / members["First letter"]).read_text("utf-8"), "lxml")
    assert letter.select_one("header .line a")["href"] == links["Autumn letters"]
    assert [text(each) for each in index.select("td.processed")] == ["1 of 1", "1 of 1", "2 of 2", "3 of 3"]
    assert json.loads((out / "manifest.json").read_text("utf-8"))["reports"][scopes[0]]["quality"] == "pass"
