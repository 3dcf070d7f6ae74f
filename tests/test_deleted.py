"""Deleted deliveries: nowhere but where they are named, as if they had never been; and back when they are undeleted."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from bs4 import BeautifulSoup

from tests.notebooks import run as run_notebook
from tests.notebooks import texts
from tests.parity import Row, changed, instance
from tests.test_cli import trackkit
from trackkit import schema
from trackkit.analysis import audience, logs, messages, recipes, sharing, story, subscriptions, web, webapp
from trackkit.analysis.caveats import limits
from trackkit.analysis.several import chosen_deliveries, side_by_side
from trackkit.engine.deliveries import comparable
from trackkit.engine.measure import measure
from trackkit.engine.snapshot import Snapshot
from trackkit.metrics import BREAKDOWNS, METRICS, breakdowns_of
from trackkit.quality import quality
from trackkit.report import REPORTS
from trackkit.report.header import Header
from trackkit.report.page import Page
from trackkit.runs.due import deliveries, run
from trackkit.store import Store, load, open_store

GONE, OTHERS = "200", ["100", "600", "300", "210", "500"]  # the others by launch, the latest first; 400 is a proof
OF_IT = ("broadlog", "delivery", "exclusion", "tracking_log", "tracking_url")


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> tuple[Snapshot, Snapshot]:
    """The instance with a deleted delivery, and one in which it never was."""
    folder = tmp_path_factory.mktemp("deleted")
    never = instance(folder / "never", "del")
    for name in OF_IT:
        changed(never / f"{name}.csv", lambda rows: [row for row in rows if row["iDeliveryId"] != GONE])
    return load(instance(folder / "with", "del")), load(never)


def test_every_figure_is_as_if_it_had_never_been(both: tuple[Snapshot, Snapshot]) -> None:
    given, never = both
    assert given.scan("message").filter(delivery_id=GONE).collect().height == 10
    for column in ((), *((one,) for one in BREAKDOWNS), ("day", "domain")):
        names = [name for name in METRICS if set(column) <= set(breakdowns_of(name))]
        assert measure(given, names, by=column).equals(measure(never, names, by=column)), column
    assert measure(given, by=[], where="domain = 'gmail.com'", metrics="delivered")["delivered"].item() == 8 + 5 + 4 + 4
    assert GONE not in measure(given)["delivery_id"]


def test_it_answers_where_it_is_named(both: tuple[Snapshot, Snapshot]) -> None:
    given, _ = both
    for by in ([], "delivery_id", "domain"):
        found = measure(given, ["delivered", "unique_opens"], by=by, delivery=GONE)
        assert found.select(pl.col("delivered", "unique_opens").sum()).row(0) == (10, 6)
    assert measure(given, "delivered", by=[], delivery=[GONE, "210"])["delivered"].item() == 15
    assert side_by_side(given, ["delivered"], GONE).total["delivered"].item() == 10
    assert logs.tracking_log(given, delivery=GONE).height == 12
    assert messages.messages(given, GONE, "1").height == story.timeline(given, "1", GONE).filter(act="sent").height == 1
    told = limits(given, GONE).rows_by_key("limit", named=True)
    assert told["deleted"][0]["weight"] == "warning" and "deliveries_deleted" not in told


def test_no_list_over_all_deliveries_has_it(both: tuple[Snapshot, Snapshot]) -> None:
    given, never = both
    assert chosen_deliveries(given)["delivery_id"].to_list() == OTHERS[:-1]
    assert comparable(given, "100")["delivery_id"].to_list() == ["210"]
    for ask in (
        lambda one: logs.tracking_log(one, recipient="1"),
        lambda one: logs.clicked_urls(one, recipient="1"),
        lambda one: logs.clicked_urls(one, address="r1@gmail.com"),
        lambda one: messages.messages(one, recipient="1"),
        lambda one: story.timeline(one, "1"),
        lambda one: recipes.no_open_in(one, 90),
        lambda one: recipes.hits_per_recipient(one),
        lambda one: sharing.social_sharing(one),
        lambda one: sharing.sharing_activity(one),
        lambda one: audience.opens_by(one, "device"),
        lambda one: quality(one).filter(check="tracking_missing"),
        lambda one: web.attribute_web(one, "anonymous").drop("event_id"),
    ):
        assert ask(given).equals(ask(never))
    assert GONE not in logs.tracking_log(given, recipient="1", columns=["delivery_id"])["delivery_id"]


def _sections(report: str, tables: Snapshot, **parameters: str) -> list[str]:
    shown = run_notebook(report, store=tables, **parameters)
    return [texts(value) for _, value in shown if not isinstance(value, Page | Header)]


@pytest.mark.parametrize("report", sorted(REPORTS))
def test_every_page_is_as_if_it_had_never_been(report: str, both: tuple[Snapshot, Snapshot]) -> None:
    given, never = both
    about = {"recipient": "1"} if report == "recipient_tracking" else {"delivery": "100"}
    asked = {} if REPORTS[report].scope == "platform" else about
    assert _sections(report, given, **asked) == _sections(report, never, **asked)


def test_pages_say_what_they_leave_out(both: tuple[Snapshot, Snapshot]) -> None:
    header = run_notebook("cumulative", store=both[0])[0][1].header
    assert "left out of totals, averages and lists: 1 of 7 deliveries." in " ".join(header.remarks)
    assert "left out of averages and totals: 1 of 7 deliveries." in " ".join(header.remarks)  # the proof
    assert dict(header.facts)["Hits"] == str(23 + 4 + 4 + 4)  # of 100, 210, 300 and 600: 500 is too old
    assert "not on this page: 1 of 5" in " ".join(header.remarks)
    header = run_notebook("recipient_tracking", store=both[0], recipient="1")[0][1].header
    assert "left out here: 1." in " ".join(header.remarks)
    assert dict(header.facts)["Messages prepared"] == "6"
    header = run_notebook("bounces", store=both[0], delivery=GONE)[0][1].header
    assert "This delivery was deleted" in " ".join(header.notes)


def test_acts_and_visits_stay_and_do_not_name_it(tmp_path: Path) -> None:
    raw = instance(tmp_path / "raw", "del")
    for name in ("subscription_history", "web_page_hit"):
        changed(raw / f"{name}.csv", lambda rows: [{**row, "iDeliveryId": GONE} for row in rows])
    given = load(raw)
    assert subscriptions.acts_by_delivery(given).select("delivery_id", "unsubscriptions").rows() == [(None, 2)]
    pages = webapp.counted_pages(given)
    sources = webapp.traffic_sources(given, pages)
    assert sources.select("found_by", "delivery_id", "source", "visitors").rows() == [("nothing", None, None, 3)]
    joined = story.timeline(given, "1").filter(act="joined")
    assert joined.select("delivery_id", "document").rows() == [(None, None)]


def _as(columns: Row) -> Any:
    def change(rows: list[Row]) -> list[Row]:
        for row in rows:
            row.pop("iDeleteStatus", None)
            row["iState"] = "95"
            row.update(columns if row["iDeliveryId"] == GONE else dict.fromkeys(columns.keys() - {"iState"}, ""))
        return rows

    return change


@pytest.mark.parametrize(
    "columns",
    [
        {"iState": "100"}, {"iState": "Deleted"}, {"iState": "Excluída"}, {"iState": "Supprimé"},
        {"iDeleteStatus": "1"},
        {"@deleteStatus": "Yes"}, {"[@deleteStatus]": "Recycled"}, {"idelete_status": "2"}, {"Deletion status": "Sim"},
        {"iDeleteStatus": "7"}, {"iDeleteStatus": "true"}, {"iState": "100", "iDeleteStatus": "0"},
    ],
    ids=str,
)  # fmt: skip
def test_deletion_has_many_spellings(columns: Row, tmp_path: Path) -> None:
    raw = instance(tmp_path / "raw")
    changed(raw / "delivery.csv", _as(columns))
    assert measure(load(raw), "delivered", by=[])["delivered"].item() == 32


@pytest.mark.parametrize(
    "columns", [{"iDeleteStatus": "0"}, {"iDeleteStatus": ""}, {"@deleteStatus": "Não"}, {"iDeleteStatus": "Whatever"}],
    ids=str,
)  # fmt: skip
def test_what_is_not_deleted_counts(columns: Row, tmp_path: Path) -> None:
    raw = instance(tmp_path / "raw")
    changed(raw / "delivery.csv", _as(columns))
    assert measure(load(raw), "delivered", by=[])["delivered"].item() == 42


def test_a_log_that_names_the_state_of_its_delivery_tells_it_too(tmp_path: Path) -> None:
    def change(rows: list[Row]) -> list[Row]:
        return [{**row, "[delivery/@state]": "Deleted" if row["iDeliveryId"] == GONE else "Finished"} for row in rows]

    for name in ("broadlog", "tracking_log"):
        raw = instance(tmp_path / name)
        (raw / "delivery.csv").unlink()
        changed(raw / f"{name}.csv", change)
        assert measure(load(raw), "delivered", by=[])["delivered"].item() == 34  # the proof counts: nothing tells of it


def test_a_campaign_that_the_warehouse_marks_as_deleted(tmp_path: Path) -> None:
    (tmp_path / "campaign.csv").write_text(
        "id,_fivetran_deleted,title,send_time,status\n"
        "c1,FALSE,One,2026-01-01 10:00:00,sent\nc2,TRUE,Two,2026-01-02 10:00:00,sent\n"
    )
    (tmp_path / "campaign_recipient.csv").write_text("campaign_id,member_id\nc1,m1\nc2,m1\nc2,m2\n")
    assert measure(load(tmp_path), "delivered").rows() == [("c1", 1)]


def _delivered(store: Path) -> int:
    return measure(open_store(store), "delivered", by=[])["delivered"].item()


def test_a_later_load_deletes_and_a_later_one_brings_back(tmp_path: Path) -> None:
    raw, store = instance(tmp_path / "raw"), tmp_path / "store"
    open_store(store).ingest(raw)
    assert _delivered(store) == 42
    asked: dict[str, Any] = {"reports": ["urls_and_click_streams"]}
    assert len(run(store, tmp_path / "out", **asked).rendered) == 6
    table = raw / "delivery.csv"
    whole = table.read_bytes()
    changed(table, _as({"iState": "100", "iDeleteStatus": "1"}))
    open_store(store).ingest(table)
    assert _delivered(store) == 32 and deliveries(open_store(store)) == OTHERS
    # Its page is not made again, but those of later deliveries are, with whose averages it is compared.
    again = run(store, tmp_path / "out", **asked).rendered
    assert sorted(again) == [f"{key}/urls_and_click_streams/en" for key in ("100", "300", "600")]
    page = BeautifulSoup((tmp_path / "out" / "index.html").read_text("utf-8"), "lxml")
    listed = [key.get_text() for key in page.select("#deliveries .key")]
    assert listed == OTHERS
    for loaded, left in ((_as({"iState": "95", "iDeleteStatus": "0"}), 42), (_as({"iState": "100"}), 32)):
        table.write_bytes(whole)
        changed(table, loaded)
        open_store(store).ingest(table)
        assert _delivered(store) == left


def test_the_prompt_and_files_that_tell_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = tmp_path / "store"
    trackkit("ingest", instance(tmp_path / "raw", "del"), "--store", store)
    asked = ("measure", "--store", store, "--metrics", "delivered,total_opens", "--output", "json")
    assert json.loads(trackkit(*asked, "--by", "").stdout) == [{"delivered": 32, "total_opens": 8}]
    assert json.loads(trackkit(*asked, "--delivery", GONE).stdout)[0]["total_opens"] == 6
    assert ",Marco," not in trackkit("recipient", "1", "--store", store, "--output", "csv").stdout
    stored = Store.stored
    monkeypatch.setattr(Store, "stored", lambda *asked: stored(*asked) if asked[1] != "event" else pytest.fail("rows"))
    found = measure(open_store(store), ["unique_opens", "total_opens"])
    assert dict(found.select("delivery_id", "unique_opens").iter_rows()) == {
        "100": 8, "210": 2, "300": 4, "500": 4, "600": 4,
    }  # fmt: skip


def test_a_purge_of_a_deleted_delivery_changes_no_total(tmp_path: Path) -> None:
    store = open_store(tmp_path / "store")
    store.ingest(instance(tmp_path / "raw", "del"))
    before = measure(store, ["delivered", "total_opens"], by=[])
    row = {"delivery_id": GONE, "purged_table": "event", "purged_at": datetime(2026, 6, 1, tzinfo=UTC)}
    gone = pl.DataFrame([row], schema=schema.PURGE.schema)
    tables = store.snapshot()
    purged = Snapshot({**{name: tables.scan(name) for name in tables.frames}, "purge": gone.lazy()})
    assert measure(purged, ["delivered", "total_opens"], by=[]).equals(before)
    assert "deliveries_removed" not in limits(purged)["limit"].to_list()
