"""The checks of quality: each found and not found on a case worked out by hand, and the counts against SQL."""

import random
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import duckdb
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.spec.golden import DELIVERY_ID, golden, tables
from trackkit.engine.snapshot import Snapshot
from trackkit.errors import RequestError
from trackkit.quality import quality, verdict
from trackkit.quality.finding import REASONS
from trackkit.quality.thresholds import CHECKS, LIST, thresholds
from trackkit.report.notes import PASSED, sentences
from trackkit.resources import find

T0 = datetime(2026, 11, 1, 8, tzinfo=UTC)
HOUR = timedelta(hours=1)
MESSAGE = {"delivery_id": "1", "message_id": "m", "status": "delivered", "status_at": T0, "is_seed": False}
DELIVERY = {"delivery_id": "1", "state": 95, "started_at": T0, "ended_at": T0, "text_messages": 0}


def hits(
    ids: Sequence[int], at: Sequence[datetime] | datetime = T0, server: str | None = "50", **more: Any
) -> list[dict]:
    """Hits of delivery 1 with these log ids, at these instants (or all at one)."""
    times = [at] * len(ids) if isinstance(at, datetime) else at
    row = {"delivery_id": "1", "message_id": "m", "link_id": "1", "event_type": "opened", "is_seed": False}
    return [row | {"event_id": str(number), "log_server": server, "occurred_at": when} | more
            for number, when in zip(ids, times, strict=True)]  # fmt: skip


def by_hour(*counts: int) -> list[datetime]:
    """Instants: so many in each hour from eight o'clock on, a second apart."""
    return [T0 + hour * HOUR + timedelta(seconds=n) for hour, count in enumerate(counts) for n in range(count)]


def timed(*counts: int, server: str | None = "50", first: int = 1, later: timedelta = timedelta()) -> list[dict]:
    times = [when + later for when in by_hour(*counts)]
    return hits(range(first, first + len(times)), times, server)


def found(check: str, *rows: list[dict], delivery: str | None = None, **more: Any) -> tuple | None:
    """Verdict, count, total and examples of one check."""
    given = tables(**({"event": [row for part in rows for row in part]} | more))
    frame = quality(given, delivery).filter(check=check).select("verdict", "count", "total", "examples")
    return frame.row(0) if frame.height else None


# ---- the sequence of log ids ------------------------------------------------------------------------------------


def test_numbers_that_no_line_brought_are_missing() -> None:
    assert found("gap_in_sequence", hits(range(1, 101)), hits(range(131, 231))) == ("fail", 30, 230, ["50"])
    assert found("gap_in_sequence", hits(range(1, 996)), hits(range(1001, 1006))) == ("pass", 5, 1005, ["50"])
    other = hits(range(1, 2001), server="51")
    # 30 of 230 and of 2,000 more: 1.35 %
    assert found("gap_in_sequence", hits(range(1, 101)), hits(range(131, 231)), other) == ("warn", 30, 2230, ["50"])


def test_a_long_run_of_missing_numbers_warns_whatever_its_share() -> None:
    rows = [{"delivery_id": "1", "event_id": str(number), "log_server": "50", "occurred_at": T0 + number * HOUR / 9999}
            for number in range(200_000) if not 60_000 <= number < 61_200]  # fmt: skip
    given = tables(event=rows)
    row = quality(given).filter(check="gap_in_sequence").row(0, named=True)
    assert (row["verdict"], row["count"], row["total"]) == ("warn", 1200, 200_000)
    assert row["first"] <= T0 + 60_000 * HOUR / 9999 and row["last"] >= T0 + 61_199 * HOUR / 9999
    assert row["last"] - row["first"] < timedelta(minutes=15), "the lines around the gap, a block at most away"


def test_lines_that_arrived_in_another_way_are_not_missing() -> None:
    lost, around = range(101, 131), (hits(range(1, 101)), hits(range(131, 231)))
    assert found("gap_in_sequence", *around, collapsed=hits(lost))[1] == 0
    assert found("gap_in_sequence", *around, hits(lost, server=None))[1] == 0, "an export tells of them"
    assert found("gap_in_sequence", *around, hits(range(101, 111), server=None))[1] == 20
    assert found("gap_in_sequence", *around, hits(lost, server="51"))[1] == 30, "another server's are other lines"
    refused = [{"source_file": "a.log", "source_row": n, "text": f"50x{n:016X}\tnoon\t"} for n in lost]
    assert found("gap_in_sequence", *around, quarantine=refused)[1] == 0
    # copies of one id in two deliveries count as one line here or there, and never make up for another
    assert found("gap_in_sequence", *around, hits(range(131, 141), delivery_id="2"))[1] <= 30


@pytest.mark.parametrize(
    "rows",
    [
        [hits(range(1, 400)), hits(range(9_000_000, 9_000_400))],  # a counter that began anew
        [hits(range(1, 400)), hits(range(7_000, 7_003))],  # three numbers of another counter
        [hits(range(1, 3000, 3))],  # a counter that other programs use as well
        [hits(range(2**63, 2**63 + 50))],
    ],
)  # fmt: skip
def test_other_ways_of_counting_are_no_gap(rows: list[list[dict]]) -> None:
    assert (found("gap_in_sequence", *rows) or ("pass",))[0] == "pass"
    assert found("gap_in_sequence", hits(range(5), server=None)) is None, "exports have no sequence"


# ---- hours and servers ------------------------------------------------------------------------------------------


def test_silent_hours_between_busy_ones() -> None:
    assert found("gap_in_time", timed(30, 25, 0, 0, 40, 3)) == ("warn", 2, 6, ["2026-11-01T10:00Z"])
    assert found("gap_in_time", timed(30, *[0] * 6, 40))[:2] == ("fail", 6)
    assert found("gap_in_time", timed(30, 0, 30, server=None))[:2] == ("warn", 1), "an export too"


@pytest.mark.parametrize(
    "counts",
    [(30, 12, 2, 0, 0, 0, 1, 9, 30), (300, 40, 5, 1, 0, 0, 0, 0, 500, 300), (19, 0, 0, 19), (1, 0, 0, 0, 1), (30, 30)],
)  # fmt: skip
def test_quiet_nights_waves_and_small_deliveries_are_no_gap(counts: tuple[int, ...]) -> None:
    assert found("gap_in_time", timed(*counts))[0] == "pass"


def test_a_server_that_stops_while_the_others_go_on() -> None:
    goes_on, stops = timed(*[40] * 16), timed(*[20] * 10, server="51")
    # its share was a half of the others', who had 240 hits since
    assert found("silent_server", goes_on, stops) == ("fail", 1, 2, ["51"])
    third = timed(*[40] * 16, server="52")
    assert found("silent_server", goes_on, stops, third) == ("warn", 1, 3, ["51"])
    comes_back = timed(*[20] * 5, *[0] * 4, *[20] * 7, server="51")
    assert found("silent_server", goes_on, third, comes_back)[:2] == ("warn", 1)
    slowly = timed(*[20] * 6, 8, 2, server="51")
    assert found("silent_server", goes_on, third, slowly)[1] == 0, "the night of a server's own readers"
    assert found("silent_server", timed(*[40] * 40), slowly)[1] == 1, "but no night lasts a day"


def test_one_server_new_servers_and_fading_deliveries_are_not_silent() -> None:
    assert found("silent_server", timed(*[40] * 9)) is None
    assert found("silent_server", timed(*[40] * 9), timed(0, 0, 0, 0, *[40] * 5, server="51"))[1] == 0
    fading = (400, 200, 90, 30, 9, 4, 1, 1, 0, 1, 0, 0, 1)
    assert found("silent_server", timed(*fading), timed(*fading[:9], server="51"))[1] == 0


def test_a_clock_that_is_off_by_whole_hours() -> None:
    curve, other = (200, 120, 60, 30, 12, 5, 2), (100, 62, 29, 16, 6, 2, 1)
    assert found("clock_skew", timed(*curve), timed(*other, server="51", later=2 * HOUR)) == ("warn", 1, 2, ["51 +2 h"])
    assert found("clock_skew", timed(*curve), timed(*other, server="51", later=-HOUR))[3] == ["51 -1 h"]
    three = (timed(*curve), timed(*curve, server="52"), timed(*other, server="51", later=3 * HOUR))
    assert found("clock_skew", *three)[3] == ["51 +3 h"]
    assert found("clock_skew", timed(*curve), timed(*other, server="51"))[:2] == ("pass", 0)
    few = timed(20, 10, server="51", later=2 * HOUR)
    assert found("clock_skew", timed(*curve), few)[1] == 0, "too few to tell"


@pytest.mark.parametrize("seed", range(8))
def test_chance_makes_no_clock_wrong_and_no_server_silent(seed: int) -> None:
    chance = random.Random(seed)
    times = [T0 + timedelta(hours=min(chance.lognormvariate(1, 1.4), 200)) for _ in range(900)]
    parts: dict[str, list[datetime]] = {"50": [], "51": [], "52": []}
    for when in sorted(times):
        parts[chance.choice(["50", "50", "51", "52"])].append(when)
    rows = [hits(range(1, len(part) + 1), part, server) for server, part in parts.items()]
    assert [found(check, *rows)[0] for check in ("clock_skew", "silent_server", "gap_in_time")] == ["pass"] * 3


# ---- what hits name -----------------------------------------------------------------------------------------------


def test_hits_before_their_message_was_sent() -> None:
    early, edge = hits(range(12), T0 - timedelta(minutes=61)), hits(range(12, 20), T0 - timedelta(seconds=60))
    late = hits(range(20, 40), T0 + HOUR)
    of_one = found("before_send", early, edge, late, delivery="1", message=[MESSAGE])
    assert of_one == ("fail", 12, 40, ["61 min"])
    moved = [MESSAGE | {"status": "failed", "status_at": T0 + 9 * HOUR}]  # a bounce days after the opens
    assert found("before_send", early, delivery="1", message=moved)[1] == 0
    assert found("before_send", hits(range(4), T0 - HOUR), late, delivery="1", message=[MESSAGE])[0] == "pass"


def test_of_everything_hits_before_the_start_of_their_delivery() -> None:
    given = tables(event=hits(range(10), T0 - HOUR) + hits(range(10, 40), T0 + HOUR), delivery=[DELIVERY])
    row = quality(given).filter(check="before_send").row(0, named=True)
    assert (row["verdict"], row["count"], row["total"]) == ("fail", 10, 40)


def test_hits_on_what_no_table_knows() -> None:
    known = {"link": [{"link_id": "9"}], "delivery": [DELIVERY], "message": [MESSAGE]}
    sound = hits(range(100), event_type="clicked", link_id="9")
    for check, odd in (
        ("unknown_links", {"event_type": "clicked", "link_id": "8"}),
        ("unknown_deliveries", {"delivery_id": "2"}),
        ("unknown_messages", {"message_id": "n", "is_seed": None}),
        ("unknown_types", {"event_type": "unknown", "link_id": "9", "raw_event_type": "10"}),
        ("undated", {"occurred_at": None, "source_file": "a.log"}),
    ):
        example = next(iter(odd.values())) if check != "undated" else "a.log"
        example = {"unknown_links": "8", "unknown_types": "10"}.get(check, example)
        for count, said in ((0, "pass"), (9, "pass"), (10, "warn"), (12, "fail")):
            rows = sound[: 100 - count] if count == 12 else sound * (1 if count < 10 else 2)
            rows = rows + hits(range(500, 500 + count), **odd)
            given = tables(event=rows, **known)
            row = quality(given).filter(check=check).select("verdict", "count", "total", "examples").row(0)
            assert row == (said, count, len(rows), [example] if count else []), check


def test_a_purged_delivery_log_makes_no_orphans_and_a_missing_table_no_check() -> None:
    rows = hits(range(50), message_id="n", is_seed=None)
    assert found("unknown_messages", rows, message=[MESSAGE | {"delivery_id": "2"}])[1] == 0
    assert found("unknown_messages", rows, message=[MESSAGE])[:2] == ("fail", 50)
    made = set(quality(tables(event=rows))["check"])
    assert not made & {"unknown_messages", "unknown_links", "unknown_types", "unknown_deliveries", "before_send"}
    assert quality(Snapshot({})).height == 0


def sent(delivery: str, messages: int, at: datetime = T0, **more: Any) -> list[dict]:
    return [MESSAGE | {"delivery_id": delivery, "message_id": f"{delivery}-{n}", "status_at": at} | more
            for n in range(messages)]  # fmt: skip


@pytest.mark.parametrize(
    ("messages", "hours", "facts", "said"),
    [(50, 24, {}, "fail"), (49, 24, {}, None), (50, 23, {}, None), (80, 99, {"text_messages": 31}, None),
     (80, 99, {"is_proof": True}, None)],
)  # fmt: skip
def test_tracking_is_missing_when_many_messages_had_a_day_and_nobody_opened(
    messages: int, hours: int, facts: dict, said: str | None
) -> None:
    given = tables(
        event=hits([1], T0 + hours * HOUR, delivery_id="2"), delivery=[DELIVERY | facts, {"delivery_id": "2"}],
        message=sent("1", messages) + sent("2", 60),
    )  # fmt: skip
    row = quality(given, "1").filter(check="tracking_missing").select("verdict", "count", "total", "examples").rows()
    assert row == ([(said, messages, None, ["1"])] if said else [])
    everything = quality(given).filter(check="tracking_missing").select("verdict", "count").row(0)
    assert everything == (("fail", 1) if said else ("pass", 0))


def test_the_golden_example_passes() -> None:
    frame = quality(golden(), DELIVERY_ID)
    assert verdict(frame) == "pass" and verdict(quality(golden())) == "pass"
    assert frame.filter(pl.col("count") > 0)["check"].to_list() == []


def test_an_unknown_delivery_is_refused() -> None:
    with pytest.raises(RequestError, match="no delivery '231'"):
        quality(golden(), "231")


# ---- a second implementation --------------------------------------------------------------------------------------

SQL = {
    "gap_in_sequence": """
        with numbers as (select log_server s, event_id::hugeint n from event where log_server is not null
                         union select log_server, event_id::hugeint from collapsed where log_server is not null),
        holes as (select s, lag(n) over (partition by s order by n) + 1 a, n - 1 z from numbers),
        real as (select * from holes where z >= a and z - a < 1000000)
        select coalesce((select sum(z - a + 1) from real), 0) - (select count(*) from real
          join (select distinct event_id::hugeint n from event where log_server is null) on n between a and z)""",
    "gap_in_time": """
        with hours as (select date_trunc('hour', occurred_at) h, count(*) c from
                       (select occurred_at from event union all select occurred_at from collapsed)
                       where occurred_at is not null group by 1),
        pairs as (select h, c, lead(h) over (order by h) h2, lead(c) over (order by h) c2 from hours)
        select coalesce(sum(date_diff('hour', h, h2) - 1), 0) from pairs where c >= 20 and c2 >= 20""",
    "undated": "select count(*) from event where occurred_at is null",
    "unknown_types": """select count(*) from event where (event_type is null or event_type = 'unknown')
        and (link_id is null or link_id in (select link_id from link))""",
    "unknown_links": """select count(*) from event where event_type is distinct from 'opened' and link_id is not null
        and link_id not in (select link_id from link)""",
    "unknown_deliveries": """select count(*) from event where delivery_id is not null
        and delivery_id not in (select delivery_id from delivery)""",
    "unknown_messages": """select count(*) from event e where message_id is not null
        and not exists (from message m where m.message_id = e.message_id and m.delivery_id = e.delivery_id)
        and exists (from message m where m.delivery_id = e.delivery_id)""",
    "before_send": """select count(*) from event join delivery using (delivery_id)
        where occurred_at < started_at - interval 61 second + interval 1 microsecond""",
    "repeated_opens": "select count(*) from collapsed",
}  # fmt: skip
OF_ONE = """select count(*) from event join message using (delivery_id, message_id)
    where delivery_id = '1' and status = 'delivered' and occurred_at <= status_at - interval 61 second"""


def _random(seed: int) -> Snapshot:
    chance = random.Random(seed)
    ids = [n for n in range(3_000) if chance.random() < 0.93 or n > 2_900] + [5_000_000 + n for n in range(300)]
    rows = [_random_hit(chance, number) for number in ids]
    # the hits of one hour are lost
    rows = [row for row in rows if row["occurred_at"] is None or not 5 <= (row["occurred_at"] - T0) / HOUR < 6]
    for row in rows:
        row["is_seed"] = None if row["message_id"] in ("98", "99") else False
    listed = [{"delivery_id": key, "message_id": str(n), "status": chance.choice(["delivered", "failed"]),
               "status_at": T0 + chance.random() * 3 * HOUR} for n in range(98) for key in ("1", "2")]  # fmt: skip
    return tables(
        event=rows[:-200], collapsed=rows[-200:], message=listed, link=[{"link_id": "7"}, {"link_id": "1"}],
        delivery=[DELIVERY | {"started_at": T0 + HOUR}, {"delivery_id": "2", "started_at": T0}],
    )  # fmt: skip


def _random_hit(chance: random.Random, number: int) -> dict[str, Any]:
    when = T0 + timedelta(seconds=int(chance.random() * 12 * 3600)) if chance.random() < 0.97 else None
    return {
        "event_id": str(number), "log_server": chance.choice(["50", "50", "50", "50", "50", None]),
        "delivery_id": chance.choice(["1", "2", "3", None]), "message_id": chance.choice([str(number % 100), None]),
        "occurred_at": when, "link_id": chance.choice(["7", "8", "1", None]),
        "event_type": chance.choice(["opened", "clicked", "unknown", None]),
    }  # fmt: skip


@pytest.mark.parametrize("seed", range(6))
def test_counts_agree_with_sql_on_random_data(seed: int) -> None:
    given = _random(seed)
    counts = dict(quality(given).select("check", "count").rows())
    with duckdb.connect(":memory:") as database:
        database.execute("set timezone = 'UTC'")
        for name in given.frames:
            rows = given.scan(name).with_columns(pl.col(pl.Enum).cast(pl.String)).collect().to_arrow()
            database.register(name, rows)
        assert {check: counts[check] for check in SQL} == {
            check: database.execute(sql).fetchone()[0] for check, sql in SQL.items()
        }
        early = quality(given, "1").filter(check="before_send")["count"].item()
        assert early == database.execute(OF_ONE).fetchone()[0]
    assert counts["gap_in_time"] == 1


# ---- one delivery does not spoil another --------------------------------------------------------------------------

instants = st.lists(st.integers(-2 * 3600, 40 * 3600), max_size=60)


@settings(deadline=None, max_examples=40)
@given(instants, instants, st.integers(1, 90))
def test_hits_of_another_delivery_never_worsen_the_verdict(own: list[int], others: list[int], step: int) -> None:
    mine = hits([1 + step * n for n in range(len(own))], [T0 + timedelta(seconds=n) for n in own], "50")
    theirs = hits(range(90_000, 90_000 + len(others)), [T0 + timedelta(seconds=n) for n in others], "51")
    theirs = [row | {"delivery_id": "2", "message_id": "m2"} for row in theirs]
    more = {"message": [MESSAGE, MESSAGE | {"delivery_id": "2", "message_id": "m2"}], "delivery": [DELIVERY]}
    alone = quality(tables(event=mine, **more), "1")
    assert alone.equals(quality(tables(event=mine + theirs, **more), "1"))


# ---- thresholds and words -----------------------------------------------------------------------------------------


def test_the_list_of_thresholds_names_what_is_wrong_with_it(tmp_path) -> None:
    shipped = find(LIST).read_text("utf-8")
    path = tmp_path / "quality.toml"
    for change, words in (
        (("least = 200", "leest = 200"), "key 'clock_skew.leest': there is no such key. Did you mean 'least'?"),
        (("[undated]", "[undatet]"), "key 'undatet': there is no such key. Did you mean 'undated'?"),
        (("busy = 20 ", "busy = 0 "), "key 'gap_in_time.busy'"), (("warn = 0.01", "warn = 3"), "got '3'"),
        (("warn = 0.01\n", ""), "key 'gap_in_sequence.warn': it is needed"), (("[undated]", "[undated"), "is not TOML"),
    ):  # fmt: skip
        path.write_text(shipped.replace(*change, 1), "utf-8")
        with pytest.raises(RequestError) as refused:
            thresholds(path)
        assert words in str(refused.value)


def test_a_local_list_of_thresholds_is_used(tmp_path, monkeypatch) -> None:
    rows = hits(range(1, 101)), hits(range(131, 231))
    assert found("gap_in_sequence", *rows)[0] == "fail"
    (tmp_path / "reports_templates").mkdir()
    text = find(LIST).read_text("utf-8").replace("fail = 0.10", "fail = 0.50", 1)
    (tmp_path / LIST).write_text(text, "utf-8")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "trackkit.toml").touch()
    assert found("gap_in_sequence", *rows)[0] == "warn"


def _every_row() -> Iterator[dict[str, Any]]:
    for check in CHECKS:
        for total in (9, None):
            yield {"check": check, "verdict": "warn", "count": 3, "total": total, "first": T0, "last": T0 + HOUR,
                   "examples": ["51"]}  # fmt: skip


@pytest.mark.parametrize("lang", ["en", "pt_BR"])
def test_every_check_has_words_and_every_word_a_check(lang: str) -> None:
    assert set(REASONS) == {*CHECKS, "gap_nearby", "deliveries_untracked"}
    frame = pl.DataFrame(list(_every_row()))
    none = pl.DataFrame(schema={"limit": pl.String, "weight": pl.String})
    said, remarks = sentences(none, "Europe/Paris", lang, frame)
    assert len(said) == 1 + frame.height and len(set(said)) > len(REASONS) and remarks == []
    assert str(frame.height) in said[0] and "{" not in " ".join(said) and "51" in " ".join(said)


def test_what_a_limit_says_too_is_told_once() -> None:
    limits = pl.DataFrame(
        [{"limit": name, "weight": "note", "count": 30, "total": 90, "at": None, "until": None, "code": None,
          "concerns": []} for name in ("unknown_links", "undated", "tracking_missing")]
    )  # fmt: skip
    row = {"verdict": "warn", "count": 30, "total": 90, "first": T0, "last": T0, "examples": ["8"]}
    frame = pl.DataFrame([{"check": "unknown_links"} | row, {"check": "undated"} | row | {"verdict": "pass"}])
    warnings, remarks = sentences(limits, quality=frame)
    assert warnings == [
        "Quality of the logs: warning, for 1 reason:", "Hits on links that no list of links names: 30 of 90."
    ]  # fmt: skip
    assert remarks == [
        "Hits without a date: 30 of 90. They count in totals, and in no curve.",
        "No hit has been recorded: opens and clicks are 0.",
    ]
    calm = frame.filter(verdict="pass")
    assert sentences(limits, quality=calm)[1][0] == PASSED and sentences(limits, quality=calm)[0] == []
