"""What cannot be observed is n/a with its reason on pages and the index, where 0 would say that nothing happened."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
from bs4 import BeautifulSoup

import trackkit as tk
from tests import notebooks
from trackkit.analysis import machines, overview, unseen, usual
from trackkit.metrics import METRICS, part_of
from trackkit.report.glossary import subject_of, write_glossary
from trackkit.report.page import Page
from trackkit.runs.dossier import Dossiers
from trackkit.runs.due import run
from trackkit.runs.index import write_index
from trackkit.show import tiles
from trackkit.store import open_store

Once = Callable[[str, Callable[[Path], None]], Path]
TEXT, SMS, CLICKS_ALONE, NO_LINKS, UNEXPLAINED, SILENT, MIXED, MAIL = "1", "2", "3", "4", "5", "6", "7", "8"
HEADS = {
    "delivery": "iDeliveryId,sLabel,iState,iMessageType,tsBroadStart,iToDeliver,iText",
    "broadlog": "@id,[@delivery-id],[@recipient-id],@address,@status,@eventDate,[msg/@failureReason]",
    "tracking_url": "iTrackingUrlId,iDeliveryId,iType,sLabel",
    "tracking_log": "@id,@logDate,[@url-id],[@broadLog-id],[@delivery-id],@sourceId",
}
SIZES = {TEXT: 20, SMS: 20, CLICKS_ALONE: 20, NO_LINKS: 20, UNEXPLAINED: 20, SILENT: 60, MIXED: 20, MAIL: 20}
TEXTS = {TEXT: 20, MIXED: 10}
CLICKERS = {TEXT: 3, SMS: 2, CLICKS_ALONE: 6, UNEXPLAINED: 1, MIXED: 2, MAIL: 2}
OPENERS = {NO_LINKS: 4, UNEXPLAINED: 3, MIXED: 4, MAIL: 5}


def _rows() -> dict[str, list[str]]:
    rows: dict[str, list[str]] = {name: [] for name in HEADS}
    rows["tracking_url"].append("1,0,2,Open")
    for delivery, size in SIZES.items():
        channel, link = int(delivery == SMS), int(delivery) + 10
        rows["delivery"].append(
            f"{delivery},D{delivery},95,{channel},2026-05-01 10:00:00,{size},{TEXTS.get(delivery, 0)}"
        )
        if delivery != NO_LINKS:
            rows["tracking_url"].append(f"{link},{delivery},1,Shop")
        for one in range(size):
            failed = delivery == UNEXPLAINED and one < 2
            message = f"{int(delivery) * 1000 + one},{delivery},{one + 1},p{one}@one.example"
            rows["broadlog"].append(f"{message},{2 if failed else 1},2026-05-01 10:01:00,")
        hits = [(1, one) for one in range(OPENERS.get(delivery, 0))]
        hits += [(link, one) for one in range(CLICKERS.get(delivery, 0))]
        for url, one in hits:
            number, message = len(rows["tracking_log"]) + 1, int(delivery) * 1000 + one
            rows["tracking_log"].append(
                f"{number},2026-05-02 11:{number % 60:02}:00,{url},{message},{delivery},b{message}"
            )
    return rows


@pytest.fixture(scope="session")
def store(once: Once) -> Path:
    """A store of eight deliveries, of each of which something else cannot be observed; of the last one all can."""

    def make(folder: Path) -> None:
        raw = folder / "raw"
        raw.mkdir(parents=True)
        for name, rows in _rows().items():
            (raw / f"{name}.csv").write_text("\n".join([HEADS[name], *rows]) + "\n", "utf-8")
        open_store(folder / "store").ingest(str(raw))

    return once("unseen", make) / "store"


def _unseen(store: Path, delivery: str) -> dict[str, str]:
    found = dict(unseen.unseen(open_store(store).snapshot(), [delivery])[delivery])
    assert found.pop("web_visited") == found.pop("transaction") == unseen.NO_PAGE  # of the whole store
    return found


@pytest.mark.parametrize(
    ("delivery", "kinds"),
    [
        (TEXT, {"opened": unseen.ALL_TEXT, "estimate": unseen.ALL_TEXT}),
        (SMS, {"opened": unseen.NO_SUCH_CHANNEL, "complained": unseen.NO_SUCH_CHANNEL}),
        (CLICKS_ALONE, {"opened": unseen.NOT_OPENS}),
        (NO_LINKS, dict.fromkeys(("clicked", "unsubscribed", "mirror_page"), unseen.NO_LINK)),
        (UNEXPLAINED, {"reason": unseen.NO_REASON, "complained": unseen.NO_REASON}),
        (SILENT, dict.fromkeys(("opened", "clicked", "unsubscribed", "mirror_page"), unseen.NO_HIT)),
        (MIXED, {}),
        (MAIL, {}),
    ],
)
def test_each_kind_has_its_reason(store: Path, delivery: str, kinds: dict[str, str]) -> None:
    assert _unseen(store, delivery) == kinds


def test_a_rate_goes_by_its_parts_and_measure_does_not_change(store: Path) -> None:
    tables = open_store(store).snapshot()
    names = ["open_rate", "click_to_open_rate", "recipient_click_rate", "estimated_total_opens", "hard_bounce_rate"]
    measured = tk.measure(tables, names, delivery=TEXT)
    assert measured.select("open_rate", "click_to_open_rate", "estimated_total_opens").row(0) == (0.15, 1.0, 0)
    seen = unseen.observed(measured, unseen.unseen(tables, [TEXT]))
    assert seen.select("open_rate", "click_to_open_rate", "estimated_total_opens").row(0) == (None, None, None)
    assert seen.select("recipient_click_rate", "hard_bounce_rate").row(0) == (0.15, 0.0)
    assert seen["why click_to_open_rate"].item() == unseen.ALL_TEXT and "why recipient_click_rate" not in seen.columns


def test_rows_of_several_deliveries_go_each_by_its_own(store: Path) -> None:
    tables = open_store(store).snapshot()
    measured = tk.measure(tables, "open_rate", delivery=[TEXT, SMS, MAIL])
    seen = unseen.observed(measured, unseen.unseen(tables, [TEXT, SMS, MAIL]))
    assert seen.select("delivery_id", "open_rate", "why open_rate").rows() == [
        (TEXT, None, unseen.ALL_TEXT), (SMS, None, unseen.NO_SUCH_CHANNEL), (MAIL, 0.25, None),
    ]  # fmt: skip


def test_over_several_a_rate_is_of_the_deliveries_in_which_it_can_be_observed(store: Path) -> None:
    """Of MAIL 5 of 20 opened and 2 clicked; of TEXT, whose opens nobody sees, 3 of 20 clicked."""
    tables, both = open_store(store).snapshot(), [TEXT, MAIL]
    names = ["open_rate", "click_to_open_rate", "recipient_click_rate", "delivered"]
    plain = tk.measure(tables, names, [], both).row(0, named=True)
    assert [plain[name] for name in names] == [8 / 40, 5 / 8, 5 / 40, 40], "the platform's own formulas"
    row = unseen.together(tables, names, both).row(0, named=True)
    assert [row[name] for name in names] == [5 / 20, 2 / 5, 5 / 40, 40]
    parts = {name: [row[part_of(row, name, part)] for part in METRICS[name].parents] for name in names[:3]}
    assert list(parts.values()) == [[5, 20], [2, 5], [5, 40]]
    alone = unseen.together(tables, names, [MAIL]).row(0, named=True)
    assert alone["open_rate"] == 5 / 20 and list(alone) == tk.measure(tables, names, delivery=MAIL).columns
    hidden = unseen.unseen(tables, [SMS, *both], ["open_rate"])
    by_channel = unseen.measure_observed(tables, ["open_rate"], hidden, ["channel"], [SMS, *both])
    rows = {row["channel"]: row for row in by_channel.iter_rows(named=True)}
    assert rows["e-mail"]["open_rate"] == 5 / 20 and rows["e-mail"]["delivered of open_rate"] == 20
    assert [row["why open_rate"] for row in rows.values() if row["open_rate"] is None] == [unseen.SEVERAL_REASONS]
    totals = usual.totals(tables, ["open_rate", "recipient_click_rate"], both)
    assert totals.select("value", "part", "whole", "deliveries", "unknown").rows() == [
        (0.25, 5, 20, 2, 1), (0.125, 5, 40, None, None),
    ]  # fmt: skip
    steps = overview.funnel(tables, both).filter(pl.col("step").is_in(["unique_opens", "unique_clicks"]))
    assert steps.select("count", "part", "before", "share").rows() == [(5, 5, 20, 0.25), (5, 2, 5, 0.4)]
    people = machines.people(tables, both, unseen.unseen(tables, both))
    assert people.select("counted", "delivered").rows()[:2] == [(5, 20), (5, 40)]
    left = machines.funnel(tables, both, unseen.unseen(tables, both)).row(0, named=True)
    assert (left["openers"], left["clickers"]) == (5, 5)
    traced = tk.provenance(tables, "open_rate", both)["figures"]["open_rate"]
    assert (traced["denominator"], traced["unknown_in"]) == (["delivered", 20], [TEXT])
    page = tk.open_page("overview", tables, scope=f"{TEXT},{MAIL}")
    assert page.known("open_rate") == [MAIL] and page.known("recipient_click_rate") == page.chosen
    assert "5 of 20" in page_tile(page) and "1 of 2 deliveries; unknown in 1" in page_tile(page)


def page_tile(page: Page) -> str:
    """The large figure of opens, as text."""
    return BeautifulSoup(tiles.row(page, ["open_rate"])._repr_html_(), "lxml").get_text(" ", strip=True)


def test_no_page_of_a_delivery_of_text_shows_opens(store: Path) -> None:
    for report in ("tracking_indicators", "delivery_statistics", "urls_and_click_streams", "user_activities"):
        shown = notebooks.run(report, store=str(store), delivery=TEXT)
        page = " ".join(notebooks.texts(value) for _, value in shown if not hasattr(value, "to_dict"))
        assert unseen.ALL_TEXT in page
    cells = {}
    for _, value in notebooks.run("tracking_indicators", store=str(store), delivery=TEXT):
        if hasattr(value, "as_raw_html"):
            rows = BeautifulSoup(value.as_raw_html().replace(">?<", "><"), "lxml").select("tbody tr")
            texts = [[cell.get_text(" ", strip=True) for cell in row.find_all("td")] for row in rows]
            cells = {row[0]: row for row in texts} | cells  # of two totals the first: that of the domains
    reason = f"n/a {unseen.ALL_TEXT}"
    assert cells["Distinct opens for the population reached"][1] == reason
    assert cells["Estimated recipient reactivity"][2] == reason
    assert cells["Visited pages"][1] == f"n/a {unseen.NO_PAGE}"
    assert cells["Total"][1:] == ["20", "0.000% 0 of 20 (0.000–16.113%)", reason, "15.0% 3 of 20 (5.2–36.0%)", reason]
    assert cells["one.example"][3] == "n/a", "a row says n/a, the total why"


@pytest.mark.parametrize(("lang", "value", "short", "why"), [
    ("en", "n/a", "text only", "only text was sent: its opens cannot be seen"),
    ("pt_BR", "n/d", "só texto", "só texto foi enviado: aberturas não detectáveis"),
])  # fmt: skip
def test_the_index_says_why_too(store: Path, tmp_path: Path, lang: str, value: str, short: str, why: str) -> None:
    run(store, tmp_path, reports=["delivery_tracking"], delivery=[TEXT], lang=lang)
    page = BeautifulSoup((tmp_path / "index.html").read_text("utf-8"), "lxml")
    shown = [cell.get_text(" ", strip=True) for cell in page.select("#deliveries tbody td.number:not(.processed)")]
    assert shown[1] == f"{value} {short}" and shown[3] == f"{value} {short}"
    assert {cell["title"] for cell in page.select("#deliveries .why")} == {why}
    assert shown[0].startswith("100") and re.search(r"\b3 (of|de) 20$", shown[2])


def test_a_sender_without_a_word_for_complaints_cannot_tell_them(tmp_path: Path) -> None:
    """Marketo's activities know deliveries, opens and clicks, but no complaint; SendGrid's events know all."""
    told = {"marketo": False, "sendgrid": True, "postal": False}
    assert {name: "complained" in (unseen.can_tell(name) or ()) for name in told} == told
    event = {"email": "a@one.example", "sg_message_id": "m1", "singlesend_id": "9", "singlesend_name": "Letter"}
    events = [
        event | {"event": "delivered", "sg_event_id": "1", "timestamp": 1777629600},
        event | {"event": "open", "sg_event_id": "2", "timestamp": 1777629700},
    ]
    (tmp_path / "events.json").write_text(json.dumps(events), "utf-8")
    store = open_store(tmp_path / "store")
    store.ingest(str(tmp_path / "events.json"))
    tables = store.snapshot()
    (delivery,) = tables.scan("event").select("delivery_id").unique().collect()["delivery_id"]
    assert unseen.unseen(tables, [delivery])[delivery].keys() == {"mirror_page", "web_visited", "transaction"}
    of_postal = tables.scan("event").with_columns(source=pl.lit("postal"))
    found = unseen.unseen(replace(tables, frames={**tables.frames, "event": of_postal}), [delivery])[delivery]
    assert {kind for kind, why in found.items() if why == unseen.NOT_TOLD} == {
        "mirror_page", "complained", "unsubscribed",
    }  # fmt: skip


def test_the_glossary_is_by_subject_and_every_metric_keeps_its_anchor(tmp_path: Path) -> None:
    page = BeautifulSoup(write_glossary(tmp_path).read_text("utf-8"), "lxml")
    found = {entry["id"]: section["id"] for section in page.select("section") for entry in section.select("dl > div")}
    assert found == {f"what-{name}": subject_of(name) for name in METRICS}
    assert [link["href"][1:] for link in page.select(".sections a")] == [each["id"] for each in page.select("section")]
    subjects = {"failed": "sending", "click_to_open_rate": "clicks", "complaint_rate": "refusals", "sales": "site"}
    assert {name: subject_of(name) for name in subjects} == subjects


def test_an_empty_index_needs_no_observation(store: Path, tmp_path: Path) -> None:
    assert unseen.unseen(open_store(store).snapshot(), []) == {}
    tables = open_store(store).snapshot()
    assert write_index(tables, Dossiers(tables, tmp_path, [])).exists()
