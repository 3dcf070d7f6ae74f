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
from trackkit.analysis import unseen
from trackkit.runs.dossier import Dossiers
from trackkit.runs.due import run
from trackkit.runs.index import write_index
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


def test_an_empty_index_needs_no_observation(store: Path, tmp_path: Path) -> None:
    assert unseen.unseen(open_store(store).snapshot(), []) == {}
    tables = open_store(store).snapshot()
    assert write_index(tables, Dossiers(tables, tmp_path, [])).exists()
