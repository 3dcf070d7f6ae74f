"""Figures by what deliveries are: campaign, channel, launch …, worked out by hand on three deliveries."""

from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tests.test_forget import CUT, add, message_of, old_and_new, open_of
from trackkit import schema
from trackkit.engine.measure import measure
from trackkit.engine.selection import Selection
from trackkit.engine.snapshot import Snapshot
from trackkit.errors import RequestError
from trackkit.runs.retention import forget
from trackkit.store import open_store

AT = datetime(2026, 10, 4, 22, 30, tzinfo=UTC)  # a Sunday evening, and Monday the 5th in Paris
DELIVERIES = [
    {"delivery_id": "1", "campaign_id": "12", "folder_id": "5", "message_type": 0, "started_at": AT, "to_deliver": 4},
    {"delivery_id": "2", "campaign_id": "12", "message_type": 1, "contact_at": AT, "to_deliver": 6},
    {"delivery_id": "3", "campaign_id": "13", "message_type": 77, "sender_name": "Ann", "to_deliver": 1},
    {"delivery_id": "4", "campaign_id": "12", "is_proof": True, "to_deliver": 100},
]
CAMPAIGNS = [{"campaign_id": "12", "label": "Spring", "programme_id": "9"}]
# delivery, message, person, type: ann clicks in 1 and 2, bob in 1 and 3; delivery 0 is in no table
HITS = [("1", "a", "ann", "clicked"), ("1", "b", "bob", "clicked"), ("2", "a", "ann", "clicked")]
HITS += [("3", "a", "bob", "clicked"), ("0", "a", "eve", "clicked"), ("4", "a", "zoe", "clicked")]


def _tables(**more: list[dict[str, Any]]) -> Snapshot:
    hits = [
        dict(zip(("delivery_id", "message_id", "person_id", "event_type"), hit, strict=True), occurred_at=AT)
        for hit in HITS
    ]
    rows = {"delivery": DELIVERIES, "campaign": CAMPAIGNS, "event": hits} | more
    frames = {name: pl.LazyFrame(each, schema=schema.TABLES[name].schema) for name, each in rows.items()}
    return Snapshot(frames, timezone="Europe/Paris")


def _by(by: str | list[str], metrics: str = "unique_people_clicks", **how: Any) -> list[tuple[Any, ...]]:
    return measure(_tables(), metrics, by=by, **how).rows()


def test_people_of_a_campaign_are_counted_again() -> None:
    assert _by("delivery_id") == [("0", 1), ("1", 2), ("2", 1), ("3", 1)]
    assert _by("campaign") == [("12", 2), ("13", 1), (None, 1)]
    assert _by("campaign", "unique_clicks") == [("12", 3), ("13", 1), (None, 1)]
    assert _by("campaign", "to_deliver") == [("12", 10), ("13", 1)]


def test_what_deliveries_are() -> None:
    assert _by("channel", "to_deliver") == [("77", 1), ("SMS", 6), ("e-mail", 4)]
    assert _by(["campaign", "campaign_label", "programme"]) == [("12", "Spring", "9", 2), ("13", None, None, 1),
                                                                (None, None, None, 1)]  # fmt: skip
    assert _by(["delivery_id", "folder", "sender"]) == [("0", None, None, 1), ("1", "5", None, 2),
                                                        ("2", None, None, 1), ("3", None, "Ann", 1)]  # fmt: skip
    monday, sunday = date(2026, 10, 5), date(2026, 10, 4)
    assert _by(["launch_day", "launch_week"], "to_deliver") == [(monday, monday, 10), (None, None, 1)]
    assert _by(["launch_day", "launch_week"], "to_deliver", timezone="UTC") == [(sunday, date(2026, 9, 28), 10),
                                                                                (None, None, 1)]  # fmt: skip


def test_when_hits_were_made() -> None:
    clock = ["week", "month", "weekday", "hour_of_day"]
    assert _by(clock, "total_clicks") == [(date(2026, 10, 5), date(2026, 10, 1), 1, 0, 5)]
    assert _by(clock, "total_clicks", timezone="UTC") == [(date(2026, 9, 28), date(2026, 10, 1), 7, 22, 5)]
    assert _by([], "total_clicks", where="weekday = 1 AND hour_of_day < 3 AND week = '2026-10-05'") == [(5,)]


def test_conditions_on_deliveries_choose_whole_ones() -> None:
    assert _by("delivery_id", where="campaign = '12'") == [("1", 2), ("2", 1)]
    assert _by([], where="campaign = '12' AND channel = 'e-mail'") == [(2,)]
    assert _by([], where="campaign = '12' OR campaign_label IS NULL") == [(3,)], "those in no table too"
    assert _by("delivery_id", where="launch_week >= '2026-10-05'", metrics="to_deliver") == [("1", 4), ("2", 6)]
    assert _by("delivery_id", where="campaign = '12'", delivery=["4", "3"]) == [("4", 1)], "a proof, since it is named"
    assert _by("delivery_id", where="campaign IS NULL", delivery=["0", "3"]) == [("0", 1)]
    assert _by([], where="campaign = 'nobody'", metrics="total_clicks") == [(0,)]
    with pytest.raises(RequestError, match="text, and 12 is not; write it as '12'"):
        _by([], where="campaign = 12")


def test_messages_only_stated_are_added_within_their_campaign() -> None:
    stated = [{**row, "sent": 50, "untold": "message"} if row["delivery_id"] == "2" else row for row in DELIVERIES]
    tables = _tables(delivery=stated)
    assert measure(tables, "delivered", by="channel").rows() == [("77", None), ("SMS", 50), ("e-mail", None)]
    assert measure(tables, "delivered", by="campaign").rows()[0] == ("12", None), "of delivery 1 nothing is known"
    assert measure(tables, "total_clicks", by="campaign").rows()[0] == ("12", 3)
    untold = [{**row, "untold": "clicked"} if row["delivery_id"] == "3" else row for row in DELIVERIES]
    rows = measure(_tables(delivery=untold), "total_clicks", by="campaign").rows()
    assert rows == [("12", 3), ("13", None), (None, 1)]


def test_kept_counts_answer_for_their_campaign(tmp_path: Path) -> None:
    tables = old_and_new()
    tables["delivery"] = [{**row, "campaign_id": "12" if row["delivery_id"] != "9" else "13"}
                          for row in tables["delivery"]]  # fmt: skip
    add(tmp_path, **tables)
    names = ["unique_opens", "total_opens", "delivered", "unique_people_clicks"]
    before = measure(open_store(tmp_path), names, by="campaign").rows_by_key("campaign", named=True, unique=True)
    forget(tmp_path, before=CUT, keep_counts=True)
    after = measure(open_store(tmp_path), names, by="campaign").rows_by_key("campaign", named=True, unique=True)
    people = {"unique_people_clicks": None}
    assert after == {"12": before["12"] | people, "13": before["13"]}, "people cannot be told apart any more"
    scoped = measure(open_store(tmp_path), names, by=[], where="campaign = '12'").rows(named=True)
    assert scoped == [before["12"] | people]


def test_named_deliveries_without_rows_make_the_counts_of_their_campaign_unknown(tmp_path: Path) -> None:
    rows = old_and_new()
    campaigns = {"7": "12", "8": "12", "9": "13"}
    rows["delivery"] = [one | {"campaign_id": campaigns[one["delivery_id"]]} for one in rows["delivery"]]
    add(tmp_path, **rows)
    forget(tmp_path, before=CUT)
    named = measure(open_store(tmp_path), ["to_deliver", "unique_opens"], by="campaign", delivery=["7", "8", "9"])
    assert named.rows() == [("12", 5, None), ("13", 1, 1)]


def test_stored_counts_and_marks_answer(tmp_path: Path) -> None:
    add(
        tmp_path,
        event=[open_of("1", "7", "a"), open_of("2", "8", "a"), open_of("3", "8", "b"), open_of("4", "8", "b", 900)],
        message=[message_of("a", "7"), message_of("a", "8"), message_of("b", "8")],
        delivery=[{"delivery_id": "7", "campaign_id": "12"}, {"delivery_id": "8", "campaign_id": "12"}],
    )
    opened, names = open_store(tmp_path), ["unique_opens", "total_opens"]
    assert measure(opened, names, by="campaign").rows() == [("12", 3, 4)]
    assert measure(opened, names, by=[], where="campaign = '12'").rows() == [(3, 4)]
    assert Selection.asked(opened.snapshot(), None, [pl.col("campaign") == "12"], "UTC").has_firsts(["delivery_id"])
