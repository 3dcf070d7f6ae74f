"""What happens by week, and by weekday and hour: counted by hand, through clock changes, and drawn."""

from datetime import UTC, date, datetime
from typing import Any

import polars as pl
import pytest

from tests.spec.golden import tables
from trackkit.analysis.activities import weekly_activity
from trackkit.analysis.audience import usage, weekly
from trackkit.engine.snapshot import Snapshot
from trackkit.errors import RequestError
from trackkit.show.charts.audience import usage_lines, version_label, week_tiles
from trackkit.show.findings import leads
from trackkit.show.theme import theme

Row = dict[str, Any]
PARIS = "Europe/Paris"


def hits(*rows: Row) -> Snapshot:
    common = {"delivery_id": "7", "event_type": "clicked", "link_id": "5", "is_seed": False}
    events = [{"event_id": str(n), "message_id": f"m{n}"} | common | row for n, row in enumerate(rows)]
    return tables(event=events, delivery=[{"delivery_id": "7"}, {"delivery_id": "8"}])


def opened(*when: datetime, delivery: str = "7") -> list[Row]:
    return [{"occurred_at": at, "event_type": "opened", "link_id": "1", "delivery_id": delivery} for at in when]


def utc(month: int, day: int, hour: int, minute: int = 30) -> datetime:
    return datetime(2026, month, day, hour, minute, tzinfo=UTC)


def of_opens(activity: pl.DataFrame) -> dict[tuple[int, int], tuple[int, bool]]:
    rows = activity.filter(pl.col("series") == "opens")
    return {
        (weekday, hour): (count, twice)
        for weekday, hour, count, twice in rows.select("weekday", "hour", "count", "twice").rows()
    }


def test_hours_of_the_week_are_by_the_clock_of_the_zone() -> None:
    # Tuesday 3 November: 23:30 in UTC is 00:30 on Wednesday in Paris
    activity = weekly_activity(
        hits(*opened(utc(11, 3, 9), utc(11, 3, 9, 59), utc(11, 3, 23))), timezone=PARIS, series="opens"
    )
    assert activity.height == 168 and activity["total"].unique().to_list() == [3]
    found = {at: count for at, (count, _) in of_opens(activity).items() if count}
    assert found == {(1, 10): 2, (2, 0): 1}
    assert activity.filter(weekday=1, hour=10)["share"].item() == pytest.approx(2 / 3)


def test_the_hour_that_comes_twice_is_one_and_says_so() -> None:
    # on Sunday 25 October 2026 clocks in Paris showed 02:30 at 00:30 and again at 01:30 UTC
    found = of_opens(weekly_activity(hits(*opened(utc(10, 25, 0), utc(10, 25, 1), utc(10, 25, 2))), timezone=PARIS))
    assert found[6, 2] == (2, True) and found[6, 3] == (1, False) and len(found) == 168
    assert [at for at, (_, twice) in found.items() if twice] == [(6, 2)]


def test_the_hour_that_is_skipped_is_missing_only_if_no_other_such_day_is_there() -> None:
    # on Sunday 29 March 2026 clocks in Paris went from 02:00 to 03:00
    alone = of_opens(weekly_activity(hits(*opened(utc(3, 29, 0), utc(3, 29, 1))), timezone=PARIS))
    assert alone[6, 1] == (1, False) and alone[6, 3] == (1, False) and (6, 2) not in alone and len(alone) == 167
    both = of_opens(weekly_activity(hits(*opened(utc(3, 22, 12), utc(3, 29, 1))), timezone=PARIS))
    assert both[6, 2] == (0, False) and len(both) == 168


def test_one_several_and_all_deliveries() -> None:
    given = hits(*opened(utc(11, 3, 9)), *opened(utc(11, 3, 9), delivery="8"))
    totals = [weekly_activity(given, asked, series="opens")["total"][0] for asked in ("", "7", ["7", "8"], ["8"])]
    assert totals == [2, 1, 2, 1]
    with pytest.raises(RequestError, match="list of ids is empty"):
        weekly_activity(given, [])
    with pytest.raises(RequestError, match="Did you mean 'opens'"):
        weekly_activity(given, series="open")
    with pytest.raises(RequestError, match="no delivery '9'"):
        weekly_activity(given, "9")


def test_tiles_have_steps_of_three_and_a_frame_for_the_busiest() -> None:
    noon = [utc(11, 3, 12, minute) for minute in range(27)]
    chart = week_tiles(weekly_activity(hits(*opened(*noon, utc(11, 4, 8)))), "opens").to_dict()
    (rows,) = chart["datasets"].values()
    assert len(rows) == 168 and sum(row["count"] for row in rows) == 28
    assert [row["when"] for row in rows if row["is_busiest"]] == ["Tuesday 12:00"]
    scale = chart["encoding"]["opacity"]["scale"]
    assert scale["domain"] == [1, 2, 4, 10] and len(scale["range"]) == 5  # up to 1, 3, 9 and 27 events, and none
    assert '["0", "1", "2\\u20133", "4\\u20139", "10\\u201327"]' in chart["encoding"]["opacity"]["legend"]["labelExpr"]
    assert next(iter(week_tiles(weekly_activity(hits()), "opens").to_dict()["datasets"].values())) == []


def used(message: str, day: int, browser: str | None, version: str | None = None) -> Row:
    return {"message_id": message, "occurred_at": utc(11, day, 12), "browser": browser, "browser_version": version}


WEEKS = (
    used("a", 3, "Firefox", "145"), used("a", 3, "Firefox", "145"), used("b", 3, "Firefox", "144"),
    used("c", 3, "Opera"), used("a", 4, "Firefox", "145"), used("a", 10, "Safari", "26"),
    used("b", 10, "Firefox", "144"),
)  # fmt: skip


def test_shares_of_a_week_are_parts_of_a_whole() -> None:
    # in the week of Monday 2 November a and b on the 3rd and a on the 4th with Firefox, c with Opera
    found = weekly(hits(*WEEKS), "browser", top=1)
    first, second = date(2026, 11, 2), date(2026, 11, 9)
    assert found.rows() == [
        (first, 1, "group", "Firefox", None, 3, 4, 0.75), (first, None, "others", None, None, 1, 4, 0.25),
        (second, 1, "group", "Firefox", None, 1, 2, 0.5), (second, None, "others", None, None, 1, 2, 0.5),
    ]  # fmt: skip
    visitors = dict(usage(hits(*WEEKS), "browser").filter(pl.col("row") == "group").select("name", "visitors").rows())
    assert visitors["Firefox"] == found.filter(name="Firefox")["visitors"].sum() == 4
    assert weekly(hits(), "browser").is_empty()


def test_versions_by_week_and_a_week_without_one() -> None:
    found = weekly(hits(*WEEKS), "browser", top=2, of="versions").select("week", "rank", "name", "version", "visitors")
    monday, next_monday = date(2026, 11, 2), date(2026, 11, 9)
    assert found.rows() == [
        (monday, 1, "Firefox", "144", 1), (monday, 2, "Firefox", "145", 2), (monday, None, None, None, 1),
        (next_monday, 1, "Firefox", "144", 1), (next_monday, 2, "Firefox", "145", 0),
        (next_monday, None, None, None, 1),
    ]  # fmt: skip
    with pytest.raises(RequestError, match="Did you mean 'versions'"):
        weekly(hits(), "browser", of="version")


def test_the_leader_of_the_weeks_is_said_and_the_other_versions_are_no_line() -> None:
    # Firefox is ahead in the first and the third week, Safari in the second; Opera's visitor is another version
    days = {3: ("Firefox", 2, 1), 10: ("Firefox", 0, 2), 17: ("Firefox", 3, 2)}
    rows = [used(f"f{day}{n}", day, "Firefox", "145") for day, (_, count, _) in days.items() for n in range(count)]
    rows += [used(f"s{day}{n}", day, "Safari", "26") for day, (*_, count) in days.items() for n in range(count)]
    one, two = (
        weekly(hits(*rows, used("o", 17, "Opera", "9")), "browser", top=2, of=of) for of in ("names", "versions")
    )
    (first, second) = (leads(frame) for frame in (one, two))
    assert first and first.text == "Firefox leads in 2 of 3 weeks"
    assert second and second.text == "Firefox 145 leads in 2 of 3 weeks"
    drawn = usage_lines(two).to_dict()
    assert {row["label"] for rows in drawn["datasets"].values() for row in rows} == {"Firefox 145", "Safari 26"}
    assert leads(weekly(hits(*WEEKS[:4]), "browser")) is None, "a single week"


def test_a_version_that_stands_for_later_ones_says_so() -> None:
    versions = {"name": ["Windows", "Mac OS", "iOS"], "version": ["10", "10.15", "10"]}
    assert pl.DataFrame(versions).select(version_label()).to_series().to_list() == [
        "Windows 10+", "Mac OS 10.15+", "iOS 10",
    ]  # fmt: skip


def test_lines_leave_out_weeks_of_few_and_name_themselves() -> None:
    many = [used(f"m{n}", 3, "Firefox" if n < 15 else "Opera") for n in range(20)]
    frame = weekly(
        hits(*many, *(used(f"x{n}", 17, "Firefox") for n in range(20)), used("z", 10, "Safari")), "browser", top=1
    )
    chart = usage_lines(frame).to_dict()
    assert "1 week of fewer than 20 visitors is not drawn." in chart["description"]
    rows, words = (rows for rows in chart["datasets"].values())
    drawn, ends = (rows, words) if "share" in rows[0] else (words, rows)
    assert {(row["when"], row["label"].strip(), row["visitors"]) for row in drawn} == {
        ("Mon, 2026-11-02", "Firefox", 15), ("Mon, 2026-11-02", "Others", 5),
        ("Mon, 2026-11-16", "Firefox", 20), ("Mon, 2026-11-16", "Others", 0),
    }  # fmt: skip
    assert {row["label"].strip() for row in ends} == {"Firefox", "Others"}
    colours = chart["layer"][0]["encoding"]["color"]["scale"]["range"]
    assert colours == [theme().light.series[0], theme().light.series[-1]]
    few = weekly(hits(used("a", 3, "Firefox")), "browser")
    assert "not drawn" not in usage_lines(few).to_dict()["description"]  # there is nothing else to draw
