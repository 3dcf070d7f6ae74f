"""The nights when clocks are changed: two hours 02:00 are two, the missing one is no hole, in every zone.

Expected values are worked out by hand: twenty messages and opens in each hour of two nights in Paris, those of
25 October 2026 (02:00 twice) and of 29 March 2026 (no 02:00).
"""

import io
import os
import re
import subprocess
import sys
import zipfile
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from zoneinfo import ZoneInfo

import lxml.etree
import polars as pl
import pytest

from tests import drawn
from tests.spec.golden import tables
from trackkit.analysis.activities import activity_over_time, folded_activity
from trackkit.analysis.curves import activity
from trackkit.analysis.sending import throughput
from trackkit.clock import begins, day, ends, moment
from trackkit.engine.measure import measure
from trackkit.engine.snapshot import Snapshot
from trackkit.errors import RequestError
from trackkit.quality import quality
from trackkit.show import charts
from trackkit.show.charts.clock import ticks
from trackkit.show.exports import write_csv, write_xlsx
from trackkit.show.tables.audience import folded_table
from trackkit.show.wording import instant
from trackkit.store import load

CASE = Path(__file__).parent / "cases" / "output" / "05-dst-fallback"
PARIS, AUTUMN, SPRING = "Europe/Paris", "201", "202"
AUTUMN_HOURS = ["00:00+02:00", "01:00+02:00", "02:00+02:00", "02:00+01:00", "03:00+01:00", "04:00+01:00"]
SPRING_HOURS = ["00:00+01:00", "01:00+01:00", "03:00+02:00", "04:00+02:00", "05:00+02:00", "06:00+02:00"]


@pytest.fixture(scope="module")
def night() -> Snapshot:
    found = load(CASE / "input2", timezone="UTC")  # as the case is written
    return Snapshot(found.frames, datetime(2026, 12, 1, tzinfo=UTC), found.loads, timezone=PARIS)


def hours(values: pl.Series) -> list[str]:
    return [at.isoformat(timespec="minutes")[11:] for at in values]


def test_each_hour_of_the_night_is_measured_by_itself(night: Snapshot) -> None:
    found = measure(night, "total_opens", by="hour", delivery=AUTUMN)
    assert hours(found["hour"]) == AUTUMN_HOURS and found["total_opens"].to_list() == [20] * 6
    found = measure(night, "total_opens", by="hour", delivery=SPRING)
    assert hours(found["hour"]) == SPRING_HOURS and found["total_opens"].to_list() == [20] * 6
    second = measure(night, "total_opens", by="hour", where="hour = '2026-10-25 02:00+01:00'")
    assert second["total_opens"].to_list() == [20]


@pytest.mark.parametrize(
    ("where", "words"),
    [("hour = '2026-10-25 02:00'", "twice: write '2026-10-25 02:00:00+02:00'"), ("hour < '2026-03-29 02:30'", "never")],
)
def test_an_hour_that_is_none_or_two_is_asked_for_again(night: Snapshot, where: str, words: str) -> None:
    with pytest.raises(RequestError, match=words.replace("+", r"\+")):
        measure(night, "total_opens", by=[], where=where)


@pytest.mark.parametrize(("delivery", "expected"), [(AUTUMN, AUTUMN_HOURS), (SPRING, SPRING_HOURS)])
def test_curves_and_throughput_are_flat(night: Snapshot, delivery: str, expected: list[str]) -> None:
    opens = pl.col("series") == "opens"
    for found in (activity(night, delivery), activity_over_time(night, delivery, "hour")):
        assert hours(found.filter(opens)["starts_at"]) == expected
        assert found.filter(opens)["count"].to_list() == [20] * 6
    sent = throughput(night, delivery, "1h")
    assert hours(sent["starts_at"]) == expected and sent["messages_per_hour"].to_list() == [20.0] * 6
    # Periods of three hours by the clock: one of them is four hours long in autumn, and one two hours in spring.
    longer = throughput(night, delivery, "3h")
    assert longer["seconds"].to_list() == (
        [4 * 3600, 3 * 3600] if delivery == AUTUMN else [2 * 3600, 3 * 3600, 3 * 3600]
    )
    assert longer["messages_per_hour"][0] == 20.0


def test_columns_stand_side_by_side_and_say_their_offset(night: Snapshot) -> None:
    chart = charts.sending.throughput_columns(throughput(night, AUTUMN, "1h"))
    rows = drawn.rows(chart)
    starts = [row["starts_at"] for row in rows]
    assert [later - earlier for earlier, later in pairwise(starts)] == [3_600_000] * 5
    assert starts[0] == datetime(2026, 10, 24, 22, tzinfo=UTC).timestamp() * 1000
    assert {row["ends_at"] - row["starts_at"] for row in rows} == {round(0.92 * 3_600_000)}
    assert [row["when"][-12:] for row in rows[2:4]] == ["02:00 +02:00", "02:00 +01:00"]
    assert not any("+" in row["when"] for row in rows[:2] + rows[4:])
    words = drawn.encoding(chart)["x"]["axis"]["labelExpr"]
    assert '"01:00", "02:00 +02:00", "02:00 +01:00", "03:00"' in words
    spring = drawn.encoding(charts.activity_columns(activity(night, SPRING), "1h"))["x"]["axis"]["labelExpr"]
    assert '["Sun 29 Mar, 00:00", "01:00", "03:00", "04:00"' in spring


def test_a_process_in_any_zone_draws_them_so(night: Snapshot) -> None:
    chart = charts.sending.throughput_columns(throughput(night, AUTUMN, "1h")).to_json()
    drawing = "import sys, vl_convert; print(vl_convert.vegalite_to_svg(sys.stdin.read()))"
    svg = subprocess.run(
        [sys.executable, "-c", drawing],
        input=chart,
        env=os.environ | {"TZ": "America/New_York"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    labels = re.findall(r"<text[^>]*>([^<]*)</text>", svg)
    assert labels[:6] == ["Sun 25 Oct, 00:00", "01:00", "02:00 +02:00", "02:00 +01:00", "03:00", "04:00"]


def test_a_folded_clock_says_which_hour_came_twice_and_leaves_out_the_one_that_never_came(night: Snapshot) -> None:
    autumn, spring = (folded_activity(night, key, "hour", series="opens") for key in (AUTUMN, SPRING))
    assert autumn.filter("twice")["slot"].to_list() == [2] and autumn.height == 24
    assert 2 not in spring["slot"].to_list() and spring.height == 23 and not spring["twice"].any()
    assert "02:00 (twice)" in folded_table(autumn, "hour").as_raw_html()
    assert "02:00" not in folded_table(spring, "hour").as_raw_html()
    assert drawn.encoding(charts.audience.folded_columns(spring, "hour"))["x"]["scale"]["domain"][1:3] == [
        "01:00",
        "03:00",
    ]
    in_autumn = drawn.encoding(charts.audience.folded_columns(autumn, "hour"))["x"]["scale"]["domain"]
    assert in_autumn[1:4] == ["01:00", "02:00 (twice)", "03:00"]


def test_the_missing_hour_is_no_outage(night: Snapshot) -> None:
    for delivery in (AUTUMN, SPRING):
        found = quality(night, delivery)
        assert found.filter(pl.col("check") == "gap_in_time")["count"].item() == 0


def test_a_download_tells_the_hours_apart(night: Snapshot) -> None:
    found = measure(night, "total_opens", by="hour", delivery=AUTUMN)
    written = io.BytesIO()
    write_csv(found, written)
    assert written.getvalue().decode().splitlines()[3:5] == [
        "2026-10-25T02:00:00+02:00,20", "2026-10-25T02:00:00+01:00,20",
    ]  # fmt: skip
    rows = sheet(found)
    assert rows[0] == ["hour", "hour UTC offset", "total_opens"]
    assert [row[1] for row in rows[1:]] == [hour[5:] for hour in AUTUMN_HOURS]
    assert rows[3][0] == rows[4][0] and rows[3] != rows[4]
    assert sheet(measure(night, "total_opens", by="hour", delivery=SPRING))[0] == ["hour", "total_opens"], "not needed"


def sheet(frame: pl.DataFrame) -> list[list[str]]:
    file = io.BytesIO()
    write_xlsx(frame, file)
    with zipfile.ZipFile(file) as book:
        data = lxml.etree.fromstring(book.read("xl/worksheets/sheet1.xml"))
    return [["".join(cell.itertext()) for cell in row.iter("{*}c")] for row in data.iter("{*}row")]


def test_the_events_of_a_feed_too() -> None:
    found = load(CASE / "input", timezone=PARIS, delivery_field="newsletter.newsletter_id")
    opens = measure(found, "total_opens", by="hour").filter(pl.col("total_opens") > 0)
    assert dict(zip(hours(opens["hour"]), opens["total_opens"], strict=True)) == {
        "01:00+02:00": 1, "02:00+02:00": 2, "02:00+01:00": 5, "03:00+01:00": 3, "04:00+01:00": 1,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("zone", "first", "step"),
    [
        (zone, first, step)
        for zone, first in [
            (PARIS, datetime(2026, 3, 28)), (PARIS, datetime(2026, 10, 24)),
            ("Australia/Lord_Howe", datetime(2026, 4, 3)), ("Australia/Lord_Howe", datetime(2026, 10, 2)),
            ("Asia/Kathmandu", datetime(2026, 3, 28)), ("Atlantic/Azores", datetime(2026, 10, 24)),
            ("America/Sao_Paulo", datetime(2018, 11, 3)), ("America/Sao_Paulo", datetime(2018, 2, 16)),
            ("Africa/Cairo", datetime(2026, 4, 22)), ("Asia/Beirut", datetime(2026, 3, 27)),
        ]
        for step in ("10m", "30m", "1h", "3h", "1d")
    ],
)  # fmt: skip
def test_periods_follow_each_other_without_a_hole_and_hold_what_is_in_them(
    zone: str, first: datetime, step: str
) -> None:
    """An event every ten minutes through the change: a period holds as many as it is long."""
    instants = pl.datetime_range(first, first + timedelta(days=3), "10m", time_zone="UTC", closed="left", eager=True)
    events = pl.DataFrame({"at": instants}).with_columns(pl.col("at").dt.convert_time_zone(zone))
    found = events.group_by(start=begins(pl.col("at"), zone, step), maintain_order=True).agg(count=pl.len())
    found = found.with_columns(end=ends(pl.col("start"), zone, step))[1:-1]
    assert (found["end"].shift(1) == found["start"])[1:].all()
    assert ((found["end"] - found["start"]).dt.total_minutes() == 10 * found["count"]).all()


def test_hours_and_days_of_other_zones() -> None:
    def periods(zone: str, first: datetime, step: str, events: int) -> list[str]:
        at = [first.replace(tzinfo=UTC) + timedelta(minutes=30 * n) for n in range(events)]
        local = pl.lit(pl.Series(at)).dt.convert_time_zone(zone)
        return [str(start) for start in pl.select(begins(local, zone, step)).to_series().unique(maintain_order=True)]

    # Lord Howe puts its clocks back from 02:00 to 01:30: the hour 01:00 is ninety minutes long.
    assert periods("Australia/Lord_Howe", datetime(2026, 4, 4, 14), "1h", 5) == [
        "2026-04-05 01:00:00+11:00", "2026-04-05 02:00:00+10:30",
    ]  # fmt: skip
    # In Cairo, Beirut, and once in São Paulo, there is a day that begins at 01:00.
    assert periods("Africa/Cairo", datetime(2026, 4, 23, 21, 30), "1d", 3) == [
        "2026-04-23 00:00:00+02:00", "2026-04-24 01:00:00+03:00",
    ]  # fmt: skip
    assert periods("America/Sao_Paulo", datetime(2018, 11, 4, 2, 30), "1d", 2) == [
        "2018-11-03 00:00:00-03:00", "2018-11-04 01:00:00-02:00",
    ]  # fmt: skip
    assert periods("Asia/Kathmandu", datetime(2026, 1, 1, 18, 0), "1h", 2) == [
        "2026-01-01 23:00:00+05:45", "2026-01-02 00:00:00+05:45",
    ]  # fmt: skip


def test_a_day_without_midnight_can_be_measured_and_asked_for() -> None:
    opened = {"delivery_id": "7", "message_id": "a", "event_type": "opened", "is_seed": False}
    at = [datetime(2026, 4, 23, 21, 59, tzinfo=UTC), datetime(2026, 4, 23, 22, 1, tzinfo=UTC)]  # 23:59, then 01:01
    given = tables(event=[opened | {"occurred_at": one} for one in at], delivery=[{"delivery_id": "7"}])
    found = measure(given, "total_opens", by="day", timezone="Africa/Cairo")
    assert found.select("day", "total_opens").rows() == [(date(2026, 4, 23), 1), (date(2026, 4, 24), 1)]
    assert activity(given, "7", "24h", "Africa/Cairo")["starts_at"].dt.hour().to_list() == [0, 1]
    assert moment("2026-04-24", "Africa/Cairo", "since") == datetime(2026, 4, 23, 22, tzinfo=UTC)
    assert moment(date(2026, 4, 24), "Africa/Cairo", "since", end_of_day=True).date() == date(2026, 4, 24)


def test_what_is_shown_has_its_offset_where_it_is_needed_alone() -> None:
    shown = [instant(datetime(2026, 10, 25, hour, 5, tzinfo=UTC), PARIS, seconds=True) for hour in range(3)]
    assert shown == ["2026-10-25 02:05:00 +02:00", "2026-10-25 02:05:00 +01:00", "2026-10-25 03:05:00"]
    half = [datetime(2026, 4, 4, 14, 45, tzinfo=UTC), datetime(2026, 4, 4, 15, 15, tzinfo=UTC)]
    assert [instant(at, "Australia/Lord_Howe") for at in half] == ["2026-04-05 01:45 +11:00", "2026-04-05 01:45 +10:30"]
    assert instant(half[0], "Australia/Lord_Howe", lang="pt_BR") == "05/04/2026 01:45 +11:00"


def test_marks_of_an_axis_are_by_the_clock_of_the_zone() -> None:
    def words(first: datetime, last: datetime, zone: str, least: str = "minutes") -> list[str]:
        return [word for _, word in ticks(first.replace(tzinfo=UTC), last.replace(tzinfo=UTC), zone, "en", least)]

    assert words(datetime(2026, 1, 1, 18), datetime(2026, 1, 2), "Asia/Kathmandu") == [
        "00:00", "01:00", "02:00", "03:00", "04:00", "05:00",
    ]  # fmt: skip
    assert words(datetime(2026, 10, 20), datetime(2026, 11, 20), PARIS) == ["26 Oct", "02 Nov", "09 Nov", "16 Nov"]
    days = ticks(datetime(2026, 10, 20, tzinfo=UTC), datetime(2026, 11, 20, tzinfo=UTC), PARIS, "en")
    assert all(at.astimezone(ZoneInfo(PARIS)).hour == 0 for at, _ in days), "in summer time and after it"
    assert words(datetime(2025, 3, 1), datetime(2026, 10, 21), "UTC")[::3] == ["Apr 2025", "Jan 2026", "Oct 2026"]
    assert words(datetime(2000, 3, 1), datetime(2026, 10, 21), "UTC")[0] == "2005"
    assert words(datetime(2026, 12, 25), datetime(2027, 1, 20), "UTC") == [
        "28 Dec 2026", "04 Jan 2027", "11 Jan", "18 Jan",
    ]  # fmt: skip
    assert words(datetime(2018, 11, 1), datetime(2018, 11, 7), "America/Sao_Paulo", "days")[1:5] == [
        "02 Nov", "03 Nov", "04 Nov", "05 Nov",
    ]  # fmt: skip


@pytest.mark.parametrize("asked", [date(2026, 11, 15), datetime(2026, 11, 15, 9), "2026-11-15", 20261115,
                                   datetime(2026, 11, 15, 9, tzinfo=UTC), "2026-11-15T08Z", "20261115 "])  # fmt: skip
def test_a_date_is_asked_for_as_one_has_it(asked) -> None:
    assert day(asked, PARIS, "since") == date(2026, 11, 15)


@pytest.mark.parametrize("asked", ["yesterday", "15/11/2026", "2026-13-01", 12.5, True, None, "", 2026, b"2026-11-15"])
def test_anything_else_is_one_sentence(asked) -> None:
    with pytest.raises(RequestError, match=r"^since takes a date such as 2026-11-01, or an instant such as .*; got .*"):
        moment(asked, PARIS, "since")
