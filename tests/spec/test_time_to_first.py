"""Time since each message's own sending to its first open or click: by hand, and against SQL."""

import math
from datetime import datetime, timedelta
from typing import Any

import duckdb
import numpy as np
import polars as pl
import pytest

from tests.spec.golden import at, tables
from trackkit.analysis.curves import time_to_first
from trackkit.analysis.delays import first_hits, watched
from trackkit.analysis.maturity import cured_share
from trackkit.analysis.survival import of_messages
from trackkit.engine.snapshot import Snapshot
from trackkit.errors import RequestError

NOW = at(22)  # the newest hit known, of another delivery
RUNNING, FINISHED = 55, 95
Z = 1.959964


def message(key: str, sent: datetime | None, domain: str = "a.example", **more: Any) -> dict[str, Any]:
    known = {"delivery_id": "1", "message_id": key, "status_at": sent, "status": "delivered", "is_seed": False}
    return known | {"domain": domain} | more


def event(key: str, occurred_at: datetime | None, kind: str = "opened", **more: Any) -> dict[str, Any]:
    return {"delivery_id": "1", "message_id": key, "event_id": f"{key}{kind}{occurred_at}", "event_type": kind,
            "occurred_at": occurred_at, "is_seed": False} | more  # fmt: skip


def store(messages: list[dict[str, Any]], events: list[dict[str, Any]], **delivery: Any) -> Snapshot:
    newest = event("z", NOW, delivery_id="2")
    own = {"delivery_id": "1", "started_at": at(12), "state": RUNNING} | delivery
    return tables(delivery=[own, {"delivery_id": "2"}], message=messages, event=[*events, newest])


# Sent, opened after: a 1 h, b 2 h, e 5 h; c, d and f not yet, and watched for 2, 4 and 10 hours.
SIX = [message(key, at(hour)) for key, hour in (("a", 12), ("b", 12), ("c", 20), ("d", 18), ("e", 12), ("f", 12))]
OPENED = [event("a", at(13)), event("b", at(14)), event("e", at(17))]


def test_six_messages_by_hand() -> None:
    curve = time_to_first(store(SIX, OPENED), "opened", "1")
    assert curve.columns == ["hours", "at_risk", "events", "share_so_far", "low", "high", "messages", "borrowed"]
    assert curve["hours"].to_list() == [0, 1, 2, 5]
    # c is watched for exactly 2 hours: still at risk when b opens; at 5 hours only e and f are.
    assert curve["at_risk"].to_list() == [6, 6, 5, 2]
    assert curve["events"].to_list() == [0, 1, 2, 3]
    # 1 - 5/6; 1 - 5/6 × 4/5; 1 - 5/6 × 4/5 × 1/2
    assert curve["share_so_far"].to_list() == pytest.approx([0, 1 / 6, 1 / 3, 2 / 3])
    assert curve["messages"].to_list() == [6] * 4 and curve["borrowed"].to_list() == [0] * 4


def test_the_band_is_greenwoods_on_the_log_log_scale() -> None:
    last = time_to_first(store(SIX, OPENED), "opened", "1").row(-1, named=True)
    greenwood = 1 / (6 * 5) + 1 / (5 * 4) + 1 / (2 * 1)
    spread = Z * math.sqrt(greenwood) / abs(math.log(1 / 3))
    assert last["low"] == pytest.approx(1 - (1 / 3) ** math.exp(-spread), rel=1e-6)
    assert last["high"] == pytest.approx(1 - (1 / 3) ** math.exp(spread), rel=1e-6)
    assert 0 < last["low"] < 2 / 3 < last["high"] < 1


def test_a_click_opens_and_an_open_does_not_click() -> None:
    events = [event("a", at(13), "clicked"), event("b", at(14)), event("b", at(15), "clicked")]
    assert time_to_first(store(SIX, events), "opened", "1")["hours"].to_list() == [0, 1, 2]
    assert time_to_first(store(SIX, events), "clicked", "1")["hours"].to_list() == [0, 1, 3]


def test_what_does_not_count() -> None:
    others = [message("s", at(12), is_seed=True), message("x", at(12), status="failed"), message("n", at(12))]
    events = [event("s", at(13)), event("x", at(13)), event("n", None), event("n", at(13), "delivered")]
    curve = time_to_first(store(SIX + others, OPENED + events), "opened", "1")
    assert curve["messages"][0] == 7 and curve["events"].to_list() == [
        0,
        1,
        2,
        3,
    ]  # n was delivered, and no hit is dated


def test_time_is_borrowed_from_the_start_where_a_message_has_none() -> None:
    curve = time_to_first(store([message("a", None), message("b", at(13))], [event("a", at(15))]), "opened", "1")
    assert curve["hours"].to_list() == [0, 3] and curve["borrowed"].to_list() == [1, 1]


def test_a_hit_before_the_sending_is_at_hour_0() -> None:
    assert time_to_first(store(SIX, [event("c", at(19))]), "opened", "1")["hours"].to_list() == [0, 0]


def test_a_finished_delivery_is_watched_up_to_its_deadline() -> None:
    finished = store(SIX, OPENED, state=FINISHED, validity_at=at(16))
    curve = time_to_first(finished, "opened", "1")
    assert curve["hours"].to_list() == [0, 1, 2]  # e opened an hour after it
    running = time_to_first(store(SIX, OPENED, validity_at=at(16)), "opened", "1")
    assert running["hours"].to_list() == [0, 1, 2, 5]


def test_nothing_was_watched_without_a_dated_hit() -> None:
    blind = tables(delivery=[{"delivery_id": "1", "started_at": at(12)}], message=SIX, event=[event("a", None)])
    assert time_to_first(blind, "opened", "1")["messages"].to_list() == []


def test_by_domain_each_has_its_own_curve() -> None:
    messages = [row | {"domain": "b.example" if row["message_id"] in "bc" else "a.example"} for row in SIX]
    curve = time_to_first(store(messages, OPENED), "opened", "1", by="domain")
    own = {name: rows["share_so_far"].to_list() for (name,), rows in curve.group_by("domain")}
    # b opens at 2 hours, when c is still watched; a at 1 of 4, then e at 5, when d is no longer watched.
    assert own == {"a.example": pytest.approx([0, 1 / 4, 1 - 3 / 4 / 2]), "b.example": [0, pytest.approx(0.5)]}
    assert dict(curve.select("domain", "messages").unique().rows()) == {"a.example": 4, "b.example": 2}


def test_by_device_shares_are_of_all_messages_and_add_up() -> None:
    devices = {"a": "phone", "b": "computer", "e": None}
    events = [row | {"device": devices[row["message_id"]]} for row in OPENED]
    later = event("a", at(14), "clicked", device="computer")  # the first hit decides
    curve = time_to_first(store(SIX, [*events, later]), "opened", "1", by="device")
    last = {name: rows.row(-1, named=True) for (name,), rows in curve.group_by("device")}
    # By Aalen and Johansen: the chance to be still unopened, times the hazard of that device.
    shares = {"phone": 1 / 6, "computer": 5 / 6 * 1 / 5, None: 5 / 6 * 4 / 5 * 1 / 2}
    assert {name: row["share_so_far"] for name, row in last.items()} == pytest.approx(shares)
    assert {row["messages"] for row in last.values()} == {6} and sum(shares.values()) == pytest.approx(2 / 3)
    # While nobody has left the watch, the variance is that of a share: 1/6 × 5/6 / 6.
    spread = Z * math.sqrt(5 / 36 / 6) / (5 / 6 * math.log(5 / 6))
    assert last["phone"]["low"] == pytest.approx(1 - (5 / 6) ** math.exp(spread), rel=1e-6)


def test_several_deliveries_and_unknown_words() -> None:
    both = store([*SIX, message("y", at(20), delivery_id="2")], OPENED)
    assert time_to_first(both, "opened", ["1", "2"])["messages"][0] == 7
    by_delivery = time_to_first(both, "opened", ["1", "2"], by="delivery_id")
    assert dict(by_delivery.select("delivery_id", "messages").unique().rows()) == {"1": 6, "2": 1}
    for wrong in ({"event": "open"}, {"by": "age"}, {"delivery": "9"}):
        with pytest.raises(RequestError):
            time_to_first(both, **({"event": "opened", "delivery": "1"} | wrong))


def random_store(seed: int) -> Snapshot:
    chance = np.random.default_rng(seed)
    sent = [at(12) + timedelta(minutes=int(minutes)) for minutes in chance.integers(0, 300, 400)]
    messages = [message(str(number), start) for number, start in enumerate(sent)]
    kinds = ("opened", "clicked", "unsubscribed", "delivered")
    events = [
        event(str(chance.integers(0, 500)), at(11) + timedelta(minutes=int(chance.integers(0, 660))),
              str(chance.choice(kinds)), event_id=str(number))
        for number in range(300)
    ]  # fmt: skip
    return store(messages, events)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("kind", ["opened", "clicked"])
def test_as_sql_says(seed: int, kind: str) -> None:
    given = random_store(seed)
    messages, events = given.scan("message").collect(), given.scan("event").collect()
    counted = "event_type <> 'delivered'" if kind == "opened" else "event_type = 'clicked'"
    query = f"""
        WITH first AS (SELECT message_id, min(occurred_at) AS at FROM events
                       WHERE delivery_id = '1' AND {counted} GROUP BY 1),
        spent AS (SELECT greatest(0, epoch(coalesce(f.at, TIMESTAMPTZ '2012-02-20 22:00:00+00') - m.status_at)) / 3600
                         AS hours, f.at IS NOT NULL AS seen FROM messages m LEFT JOIN first f USING (message_id)),
        steps AS (SELECT hours, count(*) FILTER (seen) AS d FROM spent GROUP BY 1 HAVING d > 0),
        risks AS (SELECT s.*, (SELECT count(*) FROM spent o WHERE o.hours >= s.hours) AS n FROM steps s)
        SELECT hours, n, sum(d) OVER w, 1 - exp(sum(ln(1 - d / n)) OVER w) FROM risks
        WINDOW w AS (ORDER BY hours) ORDER BY hours"""  # events, messages are the frames
    assert messages.height and events.height
    expected = duckdb.sql(query).fetchall()
    curve = time_to_first(given, kind, "1")[1:]
    assert len(expected) < 199  # none is thinned out
    assert curve.select("at_risk", "events").rows() == [(n, int(d)) for _, n, d, _ in expected]
    assert curve["hours"].to_list() == pytest.approx([hours for hours, *_ in expected])
    assert curve["share_so_far"].to_list() == pytest.approx([share for *_, share in expected])


def test_a_long_curve_keeps_its_ends_in_200_rows() -> None:
    rows = pl.DataFrame({"hours": np.arange(1, 3001) / 100, "is_seen": [True] * 2999 + [False], "is_borrowed": False})
    curve = of_messages(rows, [])
    assert curve.height == 200 and curve["hours"][[0, 1, -1]].to_list() == [0, 0.01, 29.99]
    assert curve["events"][-1] == 2999


def test_a_report_while_messages_go_out_needs_the_correction() -> None:
    """After 6 hours of 12 in which 20,000 go out; 30 % of them will open, half of those within 4 hours."""
    chance = np.random.default_rng(6)
    sent = np.arange(20_000) * 12 / 20_000
    delay = np.where(chance.random(20_000) < 0.3, 4 * np.exp(1.6 * chance.normal(size=20_000)), np.inf)
    out = sent < 6
    age, delay = 6 - sent[out], delay[out]
    seen = delay <= age
    assert out.sum() == 10_000
    assert seen.mean() == pytest.approx(0.12, abs=0.01)  # the naive rate
    assert np.median(delay[seen]) == pytest.approx(1.08, abs=0.15)  # the naive delay: wrong by almost four times
    curve = of_messages(pl.DataFrame({"hours": np.where(seen, delay, age), "is_seen": seen, "is_borrowed": False}), [])
    at_4 = curve.filter(pl.col("hours") <= 4).row(-1, named=True)
    assert at_4["low"] < 0.15 < at_4["high"]  # half of the 30 %
    final = cured_share(pl.Series(delay[seen]), pl.Series(age[~seen]))
    assert final == pytest.approx(0.3, abs=0.03)
    reached = curve.filter(pl.col("share_so_far") >= final / 2)
    assert reached["hours"][0] == pytest.approx(4, abs=0.9)  # the median delay, as the two say it together


def test_watched_says_for_how_long() -> None:
    given = store(SIX, OPENED)
    rows = watched(given, first_hits(given, ["1"], ["opened"]), "opened").collect()
    assert sorted(rows.select("hours", "is_seen").rows()) == [(1, True), (2, False), (2, True), (4, False), (5, True),
                                                              (10, False)]  # fmt: skip
