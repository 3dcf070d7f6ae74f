"""A hit of 2036, or of 1970: told, counted in totals, and not "now", nor the end of any period or axis."""

import csv
import json
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from tests import drawn
from tests.spec.golden import tables
from trackkit.analysis import caveats
from trackkit.analysis.activities import activity_over_time
from trackkit.analysis.audience import period, usage
from trackkit.analysis.curves import activity, cumulative_activity
from trackkit.analysis.links import clicks_per_day
from trackkit.analysis.recipes import no_open_in
from trackkit.analysis.sending import pace, throughput
from trackkit.analysis.several import chosen_deliveries
from trackkit.analysis.story import timeline
from trackkit.analysis.subscriptions import subscription_curves, subscription_progress
from trackkit.engine.deliveries import launch
from trackkit.engine.measure import measure
from trackkit.engine.plausible import now, plausible
from trackkit.engine.snapshot import Snapshot
from trackkit.quality import quality
from trackkit.report import open_page
from trackkit.show import charts
from trackkit.store import load, open_store

CASE = Path(__file__).parent / "cases" / "output" / "22-future-hit"
LOADED = datetime(2026, 4, 1, tzinfo=UTC)


def read(folder: Path) -> Snapshot:
    found = load(folder)
    return Snapshot(found.frames, LOADED, found.loads)


@pytest.fixture(scope="module")
def both() -> tuple[Snapshot, Snapshot]:
    return read(CASE / "clean"), read(CASE / "future")


def test_it_is_named_by_quality(both: tuple[Snapshot, Snapshot]) -> None:
    clean, future = ({row["check"]: row for row in quality(one).to_dicts()}["misdated"] for one in both)
    assert (clean["verdict"], clean["count"]) == ("pass", 0)
    # One of 101 hits, none of 80 messages, one of 11 acts.
    assert (future["verdict"], future["count"], future["total"]) == ("warn", 2, 192)
    assert future["examples"] == ["2036-01-01", "2036-03-09"]
    one = quality(both[1], "2").filter(pl.col("check") == "misdated").to_dicts()[0]
    assert (one["count"], one["total"], one["examples"]) == (1, 91, ["2036-03-09"])
    page = open_page("tracking_statistics", both[1], "2")
    assert any("Dates that cannot be" in note and "1 of 91, 2036-03-09" in note for note in page.header.notes)


def test_a_load_says_so(tmp_path: Path) -> None:
    report = open_store(tmp_path / "store").ingest(CASE / "future")
    (reason,) = [one for one in report.quality["reasons"] if one["check"] == "misdated"]
    assert reason["count"] == 2 and "2036-03-09" in reason["reason"]


@pytest.mark.parametrize(
    "figure",
    [
        lambda t: subscription_progress(t), lambda t: subscription_curves(t), lambda t: period(t),
        lambda t: usage(t, "browser"), lambda t: activity(t, "2"), lambda t: activity_over_time(t, "2"),
        lambda t: cumulative_activity(t, "2").select("hours").max(), lambda t: clicks_per_day(t, "2"),
        lambda t: throughput(t, "2"), lambda t: pace(t, "2"), lambda t: chosen_deliveries(t),
        lambda t: launch(t, "2"), lambda t: no_open_in(t, 30).height, lambda t: now(t),
        lambda t: timeline(t, None, "2"),
        lambda t: caveats.limits(t).filter(limit="age"), lambda t: open_page("browsers", t, "2").header.data_through,
        lambda t: open_page("subscription_tracking", t, service="").header.facts[2:],
        lambda t: quality(t, "2").filter(pl.col("check") == "gap_in_time"),
    ],
)  # fmt: skip
def test_whatever_hangs_on_time_stays_as_it_was(both: tuple[Snapshot, Snapshot], figure) -> None:
    clean, future = (figure(one) for one in both)
    same = clean.equals(future) if isinstance(clean, pl.DataFrame) else clean == future
    assert same, (clean, future)


def test_it_counts_in_totals_as_an_undated_one_does(both: tuple[Snapshot, Snapshot]) -> None:
    assert [measure(one, "total_clicks", by=[])["total_clicks"].item() for one in both] == [20, 21]


def test_no_axis_goes_there(both: tuple[Snapshot, Snapshot]) -> None:
    words = str(drawn.encoding(charts.activity_columns(activity(both[1], "2")))["x"]["axis"])
    assert "2036" not in words and "09" in words


OPENED = {"delivery_id": "7", "event_type": "opened", "is_seed": False, "message_id": "a", "link_id": "1"}
START = datetime(2026, 3, 2, 9, tzinfo=UTC)


def hits(*when: datetime, **delivery) -> Snapshot:
    rows = [OPENED | {"event_id": str(number), "occurred_at": at} for number, at in enumerate(when)]
    found = tables(event=rows, delivery=[{"delivery_id": "7"} | delivery])
    return Snapshot(found.frames, LOADED)


@pytest.mark.parametrize("odd", [datetime(1970, 1, 1, tzinfo=UTC), datetime(1999, 12, 31, tzinfo=UTC)])
@pytest.mark.parametrize("started", [START, None])
def test_a_hit_of_the_far_past_spoils_nothing(odd: datetime, started: datetime | None) -> None:
    given = hits(odd, START + timedelta(minutes=5), START + timedelta(minutes=65), started_at=started)
    assert launch(given, "7").at == (started or START + timedelta(minutes=5))
    assert activity(given, "7").height == 2 and cumulative_activity(given, "7")["hours"].max() == 2
    assert period(given, "7", 0).days == 1
    assert measure(given, "total_opens")["total_opens"].item() == 3
    found = quality(given, "7").filter(pl.col("check") == "misdated").to_dicts()[0]
    assert (found["count"], found["examples"], found["verdict"]) == (1, [f"{odd:%Y-%m-%d}"], "fail")


def test_a_hit_of_years_before_its_delivery_is_one_of_them_but_one_of_a_proof_is_not() -> None:
    given = hits(START - timedelta(days=800), START - timedelta(days=20), *[START] * 3, started_at=START)
    assert activity(given, "7")["count"].to_list() == [1, 3]
    assert quality(given, "7").filter(pl.col("check") == "misdated")["count"].item() == 1


def test_a_clock_that_is_a_little_fast_is_believed_but_is_not_now() -> None:
    ahead = LOADED + timedelta(hours=5)
    given = hits(*[LOADED - timedelta(days=1)] * 4, ahead)
    assert now(given) == LOADED and activity(given, "7")["count"].to_list() == [4, 1]
    assert quality(given, "7").filter(pl.col("check") == "misdated")["count"].item() == 1
    assert period(given, "7").last == date(2026, 4, 1)


def test_where_most_is_of_the_future_it_is_the_clock_of_the_load_that_is_not_believed() -> None:
    given = hits(*[LOADED + timedelta(days=300, minutes=n) for n in range(3)])
    assert plausible(given).last is None and now(given) == LOADED + timedelta(days=300, minutes=2)
    assert activity(given, "7")["count"].to_list() == [3]
    assert quality(given, "7").filter(pl.col("check") == "misdated")["count"].item() == 0


def test_a_delivery_that_is_planned_for_later_is_no_latest_launch() -> None:
    rows = [{"delivery_id": "1", "started_at": START}, {"delivery_id": "2", "contact_at": LOADED + timedelta(days=400)}]
    given = Snapshot(tables(delivery=rows, event=[OPENED | {"delivery_id": "1", "occurred_at": START}]).frames, LOADED)
    assert chosen_deliveries(given)["delivery_id"].to_list() == ["1"]


def test_hits_of_a_feed_too(tmp_path: Path) -> None:
    events = [
        {"event": "open", "email": "a@mail.example", "timestamp": at, "sg_event_id": str(at), "sg_message_id": "m.x",
         "newsletter": {"newsletter_id": "77"}}
        for at in (946684799, 1772442000, 1772445600, 2088680400)  # 1999, 2026-03-02 09:00 and 10:00, 2036-03-09
    ]  # fmt: skip
    (tmp_path / "events.json").write_text(json.dumps(events), "utf-8")
    found = load(tmp_path / "events.json", delivery_field="newsletter.newsletter_id")
    given = Snapshot(found.frames, LOADED)
    assert launch(given, "77").at == datetime(2026, 3, 2, 9, tzinfo=UTC)
    assert activity(given, "77")["count"].to_list() == [1, 1]
    assert quality(given).filter(pl.col("check") == "misdated")["examples"].to_list() == [["1999-12-31", "2036-03-09"]]


def test_the_case_is_what_it_says() -> None:
    one, other = ((CASE / name / "tracking_log.csv").read_text("utf-8").splitlines() for name in ("clean", "future"))
    (added,) = csv.reader(other[len(one) :])
    assert other[: len(one)] == one and added[1] == "2036-03-09 11:00:00"
