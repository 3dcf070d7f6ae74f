"""The platform's time zone: set once, it is the clock of every question and page."""

from datetime import UTC, date, datetime
from pathlib import Path

import polars as pl
import pytest
from selectolax.lexbor import LexborHTMLParser

from tests.test_cli import trackkit
from trackkit.engine.measure import measure
from trackkit.errors import RequestError
from trackkit.report.glossary import glossary_name
from trackkit.runs.due import deliveries
from trackkit.store import load, open_store

# A platform seven hours ahead of UTC sends one letter at six in the morning of 10 March: still 9 March in UTC.
DELIVERY = "iDeliveryId,sLabel,iState,tsBroadStart,iToDeliver\n101,Morning letter,95,2026-03-10 06:00:00,2\n"
HITS = (
    "iTrackingLogId,tsLog,iUrlId,iBroadLogId,iDeliveryId\n"
    "1,2026-03-10 06:21:00,1,1,101\n"
    "2,2026-03-10 23:50:00,1,2,101\n"
)
ZONE, BOTH_DAYS = "Asia/Bangkok", [date(2026, 3, 9), date(2026, 3, 10)]


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    folder = tmp_path / "raw"
    folder.mkdir()
    (folder / "delivery.csv").write_text(DELIVERY, "utf-8")
    (folder / "tracking_log.csv").write_text(HITS, "utf-8")
    return folder


def test_a_new_store_keeps_the_zone_of_its_first_load(raw: Path, tmp_path: Path) -> None:
    store = open_store(tmp_path / "store")
    assert store.timezone == "UTC"
    store.ingest(raw, timezone=ZONE)
    assert open_store(store.location).timezone == ZONE
    by_day = measure(store, "total_opens", by="day")
    assert by_day.select("day", "total_opens").rows() == [(date(2026, 3, 10), 2)]
    assert measure(store, "total_opens", by=[], where="day = '2026-03-10'")["total_opens"].item() == 2
    assert measure(store, "total_opens", by="day", timezone="UTC")["day"].to_list() == [
        date(2026, 3, 9),
        date(2026, 3, 10),
    ]


def test_a_later_load_is_read_by_that_clock_and_does_not_change_it(raw: Path, tmp_path: Path) -> None:
    store = open_store(tmp_path / "store")
    store.ingest(raw, timezone=ZONE)
    (raw / "tracking_log.csv").write_text(HITS.replace("\n2,", "\n3,"), "utf-8")
    store.ingest(raw)
    at = store.scan("event").filter(pl.col("event_id") == "3").select("occurred_at").collect().item()
    assert at == datetime(2026, 3, 10, 16, 50, tzinfo=UTC)
    (raw / "tracking_log.csv").write_text(HITS.replace("\n2,", "\n4,"), "utf-8")
    store.ingest(raw, timezone="UTC")
    assert store.timezone == ZONE


def test_the_zone_can_be_changed(raw: Path, tmp_path: Path) -> None:
    store = open_store(tmp_path / "store")
    with pytest.raises(RequestError, match="no store"):
        store.set("timezone", ZONE)
    store.ingest(raw, timezone=ZONE)
    before = store.scan("event").collect()
    done = trackkit("store", "set", "timezone=America/Lima", "--store", store.location)
    assert done.stdout == "timezone is America/Lima.\n"
    assert open_store(store.location).timezone == "America/Lima"
    assert open_store(store.location).scan("event").collect().equals(before)
    assert measure(open_store(store.location), "total_opens", by="day")["day"].to_list() == [
        date(2026, 3, 9),
        date(2026, 3, 10),
    ]
    trackkit("store", "set", "timezone=America/Lime", "--store", store.location, code=2)
    trackkit("store", "set", "zone=UTC", "--store", store.location, code=2)
    assert len(open_store(store.location).loads) == 2
    store.forget(address="nobody@post.example")
    assert open_store(store.location).timezone == "America/Lima", "a removal keeps the settings"


def test_since_and_pages_go_by_it(raw: Path, tmp_path: Path) -> None:
    store = open_store(tmp_path / "store")
    store.ingest(raw, timezone=ZONE)
    assert deliveries(store, since=date(2026, 3, 10)) == ["101"]
    assert deliveries(store, since=date(2026, 3, 11)) == []
    options = ["--store", store.location, "--out", tmp_path / "out", "--reports", "delivery_summary"]
    assert "1 rendered" in trackkit("run", *options).stdout
    pages = {path.name: path.read_text("utf-8") for path in (tmp_path / "out").glob("*.html")}
    assert pages.pop(glossary_name("en")), "which says what the figures mean, and no instant"
    assert len(pages) == 2
    for page in pages.values():
        assert ZONE in page and "2026-03-09" not in page
    launched = LexborHTMLParser(pages.pop("index.html")).css_first("td.when").text(separator=" ")
    assert "2026-03-10 06:00" in launched
    (page,) = pages.values()
    assert "2026-03-10 06:00" in page
    trackkit("store", "set", "timezone=UTC", "--store", store.location)
    assert "1 rendered" in trackkit("run", *options).stdout, "another clock, another page"


def test_tables_in_memory_know_it_too(raw: Path) -> None:
    tables = load(raw, timezone=ZONE)
    assert tables.timezone == ZONE
    assert measure(tables, "total_opens", by="day")["day"].to_list() == [date(2026, 3, 10)]
