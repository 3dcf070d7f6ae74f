"""The platform's own counters beside ours: what differs, and why, on an instance worked out by hand."""

from pathlib import Path

import polars as pl
import pytest

import trackkit as tk
from trackkit import schema
from trackkit.engine.counters import BENIGN, CAUSES
from trackkit.quality import quality
from trackkit.store import Store

SENT, LATE, AS_OF = "2026-03-01 08:00:00", "2026-03-03 10:00:00", "2026-03-02 00:00:00"
# Delivery 10 was over on the first of March; its counters are of the second, as its export says.
COUNTED = {
    **{"iProcessed": 11, "iSuccess": 10, "iError": 1, "iUnknownUser": 1, "iMailBoxFull": 0},
    **{"iRecipientOpen": 3, "iTotalRecipientOpen": 4, "iRecipientClick": 1, "iTotalRecipientClick": 2},
    **{"iOptOut": 7, "iMirrorPage": 0},
}
DELIVERIES: list[dict[str, object]] = [
    {"iDeliveryId": 10, "iToDeliver": 11, "iText": 0, "tsLastTrackingComputation": AS_OF} | COUNTED,
    # 20: half of it is text, one open is repeated, two lines cannot be read; its export has no date.
    {"iDeliveryId": 20, "iToDeliver": 10, "iText": 5, "iRecipientOpen": 8}
    | {"iTotalRecipientOpen": 5, "iRecipientClick": 2},
    {"iDeliveryId": 30, "iToDeliver": 1, "tsLastTrackingComputation": "2026-03-09 00:00:00", "iRecipientOpen": 9},
    {"iDeliveryId": 40, "iToDeliver": 1, "tsLastTrackingComputation": "2026-03-03 00:00:00", "iRecipientOpen": 1},
]
OPEN, CLICK, OPT_OUT = 1, 101, 102
HITS = [
    (1, "2026-03-01 10:00:00", OPEN, 1, 10),
    (2, "2026-03-01 10:01:00", CLICK, 1, 10),
    (3, "2026-03-01 11:00:00", OPEN, 2, 10),
    (4, "2026-03-03 09:00:00", OPEN, 3, 10),  # after the counters were computed
    (5, "2026-03-01 12:00:00", OPEN, 11, 10),  # 11 is a control address
    (6, "2026-03-01 12:01:00", CLICK, 11, 10),
    (7, "2026-03-01 13:00:00", OPT_OUT, 4, 10),
    *((20 + n, f"2026-03-04 10:0{n}:00", OPEN, 100 + n, 20) for n in range(1, 5)),
    (25, "2026-03-04 10:01:20", OPEN, 101, 20),  # repeated within a minute
    (26, "oops", CLICK, 103, 20),
    (27, "oops", CLICK, 104, 20),
    (30, "2026-03-04 11:00:00", OPEN, 201, 30),
    (40, "2026-03-02 11:00:00", OPEN, 301, 40),
]


def _write(folder: Path, name: str, rows: list[dict[str, object]]) -> None:
    pl.DataFrame(rows, infer_schema_length=None).write_csv(folder / f"{name}.csv")


def _instance(folder: Path, deliveries: list[dict[str, object]]) -> Path:
    folder.mkdir()
    ended = {"iState": 95, "tsBroadStart": SENT, "tsBroadEnd": "2026-03-01 09:00:00"}
    _write(folder, "delivery", [ended | row for row in deliveries])
    names = ["iBroadLogId", "iDeliveryId", "sAddress", "iStatus", "iMsgId", "tsEvent", "iIsSeed"]
    messages = [(n, 10, "a@x.example", 1, 0, SENT, 0) for n in range(1, 9)]
    messages += [(9, 10, "a@x.example", 2, 1, SENT, 0), (10, 10, "a@x.example", 2, 2, LATE, 0)]  # the latter came back
    messages += [(11, 10, "seed@x.example", 1, 0, SENT, 1)]
    messages += [(100 + n, 20, "a@x.example", 1, 0, SENT, 0) for n in range(1, 11)]
    messages += [(201, 30, "a@x.example", 1, 0, SENT, 0), (301, 40, "a@x.example", 1, 0, SENT, 0)]
    _write(folder, "broadlog", [dict(zip(names, row, strict=True)) for row in messages])
    failures = [(1, 2, 1, "550 5.1.1 no"), (2, 1, 5, "452 4.2.2 full")]
    names = ["iBroadLogMsgId", "iFailureType", "iFailureReason", "sFirstText"]
    _write(folder, "broadlog_msg", [dict(zip(names, row, strict=True)) for row in failures])
    links = [(OPEN, 0, 2), (CLICK, 10, 1), (OPT_OUT, 10, 3)]
    names = ["iTrackingUrlId", "iDeliveryId", "iType"]
    _write(folder, "tracking_url", [dict(zip(names, row, strict=True)) for row in links])
    names = ["iTrackingLogId", "tsLog", "iUrlId", "iBroadLogId", "iDeliveryId"]
    _write(folder, "tracking_log", [dict(zip(names, row, strict=True)) | {"sSourceId": f"p{row[3]}"} for row in HITS])
    return folder


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    folder = tmp_path_factory.mktemp("counters")
    store = tk.open_store(folder / "store")
    report = store.ingest(_instance(folder / "raw", DELIVERIES), collapse_minutes=1)
    assert report.is_settled
    lines = {source.path: (source.read, source.kept) for source in report.sources}
    assert lines["delivery.csv"] == (4, 4)  # counters are no lines of their own
    again = tmp_path_factory.mktemp("later")
    _write(
        again, "delivery", [DELIVERIES[3] | {"iRecipientOpen": 5, "tsLastTrackingComputation": "2026-03-04 00:00:00"}]
    )
    assert store.ingest(again).is_settled
    return store


def test_each_counter_by_hand(store: Store) -> None:
    """As of the second of March message 10 was a success, and 3 had not opened."""
    rows = tk.counters.compare(store, "10")
    found = rows.select("column", "stored", "metric", "ours", "difference", "differs", "cause", "allowed").rows()
    assert found == [
        ("iProcessed", 11, "processed", 11, 0, False, None, None),
        ("iSuccess", 10, "delivered_with_seeds", 9, -1, True, "later", 10),
        ("iError", 1, "failed", 2, 1, True, "later", 1),
        ("iUnknownUser", 1, "failed", 1, 0, False, None, None),
        ("iMailBoxFull", 0, "failed", 1, 1, True, "later", 0),
        ("iRecipientOpen", 3, "unique_opens", 4, 1, True, "later", 3),
        ("iTotalRecipientOpen", 4, "total_opens", 3, -1, True, "seeds", 4),
        ("iRecipientClick", 1, "unique_clicks", 1, 0, False, None, None),
        ("iTotalRecipientClick", 2, "total_clicks", 1, -1, True, "seeds", 2),
        ("iOptOut", 7, "unsubscribe_clicks", 1, -6, True, None, None),
        ("iMirrorPage", 0, "mirror_page_clicks", 0, 0, False, None, None),
    ]
    assert rows["relative"].to_list()[1] == -0.1 and rows["relative"].to_list()[4] is None  # over 0
    assert rows.filter(column="iOptOut")["why"].item() == "no cause found"
    assert rows.filter(column="iProcessed")["why"].item() is None
    assert rows.filter(column="iMailBoxFull")["reason"].item() == 5
    assert rows["computed_at"].unique().dt.strftime("%F %T").to_list() == [AS_OF]


@pytest.mark.parametrize(
    ("delivery", "causes"),
    [
        ("20", {"recipient_open": "estimate", "total_recipient_open": "repeats", "recipient_click": "unreadable"}),
        ("30", {"recipient_open": "logs_end"}),
        ("40", {"recipient_open": "earlier_export"}),
    ],
)
def test_causes_are_found_from_data(store: Store, delivery: str, causes: dict[str, str]) -> None:
    rows = tk.counters.compare(store, delivery)
    assert dict(rows.select("counter", "cause").rows()) == causes


def test_all_deliveries_at_once_are_each_of_them(store: Store) -> None:
    each = [tk.counters.compare(store, delivery) for delivery in ("10", "20", "30", "40")]
    assert tk.counters.compare(store).equals(pl.concat(each))
    assert tk.counters.compare(store, "10", tolerance=1.0).filter("differs")["counter"].to_list() == ["mail_box_full"]


def test_the_latest_computation_counts_in_whatever_order_exports_come(tmp_path: Path) -> None:
    row = {"iDeliveryId": 7, "sLabel": "x"}
    for name, at, value in (("new", "2026-03-05 00:00:00", 9), ("old", "2026-03-01 00:00:00", 4)):
        (tmp_path / name).mkdir()
        _write(tmp_path / name, "delivery", [row | {"tsLastModified": at, "iSuccess": value}])
    store = tk.open_store(tmp_path / "store")
    for name in ("new", "old"):
        store.ingest(tmp_path / name)
    assert tk.counters.compare(store, "7").select("stored", "ours").row(0) == (9, None)  # nothing is known of messages
    assert not tk.counters.compare(store, "7")["differs"].any()


def test_a_counter_that_is_none_refuses_nothing(tmp_path: Path) -> None:
    _write(
        tmp_path, "delivery", [{"iDeliveryId": 7, "sLabel": "x", "[indicators/@success]": "n/a ?", "dAmount": "2,5"}]
    )
    tables = tk.load(tmp_path)
    assert tables.scan("delivery").collect()["label"].to_list() == ["x"]
    assert tables.scan("counter").select("counter", "value", "computed_at").collect().rows() == [("amount", 2.5, None)]
    assert tables.loads[-1]["report"]["sources"][0]["unknown_values"] == {"success": {"n/a ?": 1}}


def test_without_counters_there_is_nothing(tmp_path: Path) -> None:
    _write(tmp_path, "delivery", [{"iDeliveryId": 7, "sLabel": "x", "tsLastModified": AS_OF}])
    tables = tk.load(tmp_path)
    assert tk.counters.compare(tables).is_empty() and not tables.scan("counter").collect().height
    assert "stored_counters" not in quality(tables)["check"].to_list()


def test_every_counter_is_of_a_metric_and_every_cause_has_words() -> None:
    assert {each.metric for each in schema.COUNTERS.values()} <= set(tk.METRICS)
    assert set(BENIGN) < set(CAUSES)
