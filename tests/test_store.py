"""The store: exactly once whatever happens, one snapshot for every reader, and no more rewritten than is touched."""

import itertools
import json
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from filelock import FileLock
from polars.testing import assert_frame_equal

import trackkit.store.locking
from tests.instance import write_instance
from trackkit import schema
from trackkit.errors import DataError, RequestError
from trackkit.sources.report import LoadReport, SourceReport
from trackkit.sources.staging import RawLoad
from trackkit.store import Store, layout, load, open_store
from trackkit.store.ingest import Load
from trackkit.store.lake import Lake

ASKED = {"format": "auto", "timezone": "UTC", "collapse_minutes": None}
START = datetime(2026, 1, 1, tzinfo=UTC)
HOSTILE = ["x' OR 1=1 --", "", "../../etc", "a\0b", "7" * 300, "É\u202e😀", '<b>"', "delivery_id", "NULL", "%27"]
Row = dict[str, Any]


def contents(store: Store) -> dict[str, pl.DataFrame]:
    """Every canonical table, its rows in an order of their own."""
    tables = store.snapshot().frames
    frames = pl.collect_all(list(tables.values()))
    return {name: rows.sort(pl.all().cast(pl.String)) for name, rows in zip(tables, frames, strict=True)}


def assert_same(one: dict[str, pl.DataFrame], other: dict[str, pl.DataFrame]) -> None:
    """Compare all tables, and say which differs."""
    assert one.keys() == other.keys()
    for name, rows in one.items():
        assert_frame_equal(rows, other[name], check_exact=True)


def raw_load(**tables: list[Row]) -> RawLoad:
    """What a source would give: canonical rows, each table from a file of its own."""
    sources, parts = [], {}
    for name, rows in tables.items():
        path = f"{name}.csv"
        sources.append(SourceReport(path, "by hand", name, read=len(rows)))
        shape = schema.TABLES[name].sourced | {"source_file": pl.String(), "source_row": pl.Int64()}
        placed = [{"source_file": path, "source_row": place} | row for place, row in enumerate(rows, 1)]
        parts[name] = [pl.LazyFrame(placed, schema=shape)]
    return RawLoad(parts, pl.DataFrame(schema=schema.QUARANTINE.schema), LoadReport(sources))


def add(folder: Path, lake: Lake | None = None, **tables: list[Row]) -> LoadReport:
    """Load rows written by hand into a store."""
    staging = folder / ".staging"
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir(parents=True)
    work, raw = Load(lake or Lake(str(folder)), staging, ASKED, lambda done, total, label: None), raw_load(**tables)
    work.take(raw, {})
    work.commit()
    return raw.report


def open_of(event_id: str, delivery: str | None, message: str | None = None, seconds: float = 0, **more: Any) -> Row:
    """One raw open."""
    return {
        "delivery_id": delivery, "message_id": message, "event_id": event_id, "log_server": "50", "person_id": "p",
        "occurred_at": START + timedelta(seconds=seconds), "link_id": "1", "reported_type": "opened",
        "collapse_seconds": 60, "source": "by hand", **more,
    }  # fmt: skip


def message_of(message: str, delivery: str, **more: Any) -> Row:
    """One message delivered."""
    return {"delivery_id": delivery, "message_id": message, "status_code": 1, "status_at": START, **more}


def files(folder: Path, table: str) -> dict[str, str]:
    """The files of a table, by bucket, as the last commit names them."""
    lake = Lake(str(folder))
    commit = lake.last_commit()
    assert commit is not None
    actions = pl.DataFrame(lake.open(table, commit.versions[table]).get_add_actions(flatten=True))
    return dict(actions.select(pl.col("min.delivery_id").fill_null("no delivery"), "path").iter_rows())


@pytest.fixture
def one_log(tmp_path: Path) -> Path:
    """A raw log of two opens by two people."""
    line = "50x{:X}\t2026-01-01T00:00:00.00\t{:x}\t2\t1\t0\tp\th\t\tagent\t1.2.3.4\n"
    (tmp_path / "raw.log").write_text(line.format(1, 1) + line.format(2, 2))
    return tmp_path / "raw.log"


@pytest.fixture
def small_buckets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Buckets and chunks of a few rows, so that a few deliveries already make many."""
    monkeypatch.setattr(layout, "BUCKET_ROWS", 4)
    monkeypatch.setattr(layout, "CHUNK_ROWS", 10)


# --- reports and repetition


def test_every_line_is_accounted_for(demo_raw: Path, tmp_path: Path) -> None:
    store = open_store(tmp_path / "store")
    report = store.ingest(demo_raw)
    assert report.is_settled and report.total("quarantined") == store.quarantine.height > 0
    of_events = [source for source in report.sources if source.table == "event"]
    assert sum(source.kept for source in of_events) == store.scan("event").collect().height
    assert sum(source.collapsed for source in of_events) == store.scan("collapsed").collect().height
    assert sum(report.event_types.values()) == store.scan("event").collect().height
    messages = [source for source in report.sources if source.table == "message"]
    assert sum(source.kept for source in messages) == store.scan("message").collect().height
    assert store.loads[0]["report"] == report.to_dict()


def test_loading_again_changes_nothing_known_or_not(demo_raw: Path, tmp_path: Path) -> None:
    store = open_store(tmp_path / "store")
    first, once = store.ingest(demo_raw), contents(store)
    again = store.ingest(demo_raw)
    assert again.is_settled and again.total("kept") == again.total("collapsed") == 0 and again.event_types == {}
    assert again.total("read") == first.total("read") and again.total("quarantined") == first.total("quarantined")
    assert all("was not read again" in source.assumptions[0] for source in again.sources)
    assert again.ignored_files == first.ignored_files and len(store.loads) == 1
    moved = tmp_path / "elsewhere" / "raw"  # the same bytes at another place are read, and are all copies
    shutil.copytree(demo_raw, moved)
    read_again = store.ingest(moved.parent)
    assert read_again.is_settled and read_again.total("kept") == read_again.total("collapsed") == 0
    places = ["source_file", "source_row"]  # of several places of a row, the first by name is told
    for name, rows in contents(store).items():
        if name != "quarantine":  # a refused line is known by its place
            assert_frame_equal(*(one.drop(places, strict=False) for one in (rows, once[name])), check_row_order=False)


def test_a_growing_folder_is_read_only_where_it_grew(demo_raw: Path, tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    shutil.copytree(demo_raw, raw)
    logs = sorted((raw / "redir" / "log").glob("*.log"))
    late = logs[0].rename(tmp_path / "late.log")
    store = open_store(tmp_path / "store")
    store.ingest(raw)
    late.rename(logs[0])
    grown = store.ingest(raw)
    read = [source for source in grown.sources if not any("not read again" in note for note in source.assumptions)]
    assert [Path(source.path).name for source in read] == [logs[0].name] and grown.is_settled
    at_once = open_store(tmp_path / "at_once")
    at_once.ingest(raw)
    assert_same(contents(store), contents(at_once))


def test_late_and_out_of_order_loads_end_in_the_same_store(demo_raw: Path, demo_store: Path, tmp_path: Path) -> None:
    names = sorted(path.relative_to(demo_raw) for path in demo_raw.rglob("*") if path.is_file())
    names = [name for name in names if name.parts[0] != "truth"]
    random.Random(3).shuffle(names)
    store = open_store(tmp_path / "store")
    for number, part in enumerate(names[start : start + 6] for start in range(0, len(names), 6)):
        for name in part:
            place = tmp_path / str(number) / name
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(demo_raw / name, place)
        report = store.ingest(tmp_path / str(number))
        assert report.is_settled
    assert_same(contents(store), contents(open_store(demo_store)))


def test_several_sources_with_files_of_one_name_are_accounted_apart(tmp_path: Path) -> None:
    line = "50x{:X}\t2026-01-01T00:00:0{}.00\t1\t2\t1\t0\tp\th\t\tagent\t1.2.3.4\n"
    for day, numbers in (("mon", (1, 2)), ("tue", (2, 3, 4))):
        place = tmp_path / day / "redir" / "log"
        place.mkdir(parents=True)
        (place / "0x1.log").write_text("".join(line.format(number, 0) for number in numbers))
    report = open_store(tmp_path / "store").ingest(tmp_path / "mon", tmp_path / "tue", collapse_minutes=0)
    # both hold line 2: it is told of the place that comes first by name and row
    assert [(one.kept, one.duplicate) for one in report.sources] == [(1, 1), (3, 0)]


# --- interruption


KILLED = """
import sys
from trackkit.store import open_store
open_store(sys.argv[1]).ingest(sys.argv[2])
"""


def test_killed_at_ten_instants_then_run_once_gives_the_same_store(tmp_path: Path) -> None:
    raw = write_instance(tmp_path / "raw", seed=4, messages=150, hits=800)
    command = [sys.executable, "-c", KILLED, str(tmp_path / "store"), str(raw)]
    undisturbed = tmp_path / "undisturbed"
    start = time.perf_counter()
    subprocess.run([*command[:3], str(undisturbed), str(raw)], check=True)
    whole = time.perf_counter() - start
    chance, killed = random.Random(5), 0
    while killed < 10:
        running = subprocess.Popen(command)
        time.sleep(whole * chance.uniform(0.2, 0.9))
        running.send_signal(signal.SIGKILL)
        if running.wait() == -signal.SIGKILL:
            killed += 1
        else:  # it was done before: a machine that is faster now than when it was timed
            shutil.rmtree(tmp_path / "store")
            whole *= 0.8
    subprocess.run(command, check=True)
    assert_same(contents(open_store(tmp_path / "store")), contents(open_store(undisturbed)))
    assert len(open_store(tmp_path / "store").loads) == 1
    assert not (tmp_path / "store" / ".staging").exists()


class _Failing(Lake):
    """A lake whose n-th write fails, before or after it is done."""

    def __init__(self, location: str, fails_at: int, done: bool) -> None:
        super().__init__(location)
        self.left, self.done = fails_at, done

    def _write(self, name: str, rows: pl.DataFrame, **how: Any) -> None:
        with self._full():
            super()._write(name, rows, **how)

    def _put(self, name: str, parts: Iterable[pl.DataFrame], buckets: Collection[int]) -> None:
        with self._full():
            super()._put(name, parts, buckets)

    @contextmanager
    def _full(self) -> Iterator[None]:
        self.left -= 1
        is_last = self.left == 0
        if is_last and not self.done:
            raise OSError("the disk is full")
        yield
        if is_last:
            raise OSError("the disk is full")


def _two_loads() -> tuple[dict[str, list[Row]], dict[str, list[Row]]]:
    first = {
        "event": [open_of("1", "7", "a"), open_of("2", "7", "a", 30), open_of("3", "8", "b"), open_of("4", None, "c")],
        "message": [message_of("a", "7"), message_of("b", "8")],
        "link": [{"link_id": "1", "type_code": 2, "label": "Open"}],
    }
    second = {
        "event": [open_of("0", "7", "a", -40), open_of("5", "9", "d")],
        "message": [message_of("c", "9"), message_of("a", "7", address="a@x.example")],
        "link": [{"link_id": "1", "type_code": 2, "label": "Opened"}],
        "delivery": [{"delivery_id": "9", "label": "Late"}],
    }
    return first, second


@pytest.mark.parametrize("done", [False, True])
def test_whichever_write_fails_the_store_stands_as_it_stood(tmp_path: Path, done: bool) -> None:
    first, second = _two_loads()
    add(tmp_path / "first", **first)
    before = contents(open_store(tmp_path / "first"))
    add(shutil.copytree(tmp_path / "first", tmp_path / "whole"), **second)
    after = contents(open_store(tmp_path / "whole"))
    for fails_at in itertools.count(1):
        folder = shutil.copytree(tmp_path / "first", tmp_path / str(fails_at))
        try:
            add(folder, _Failing(str(folder), fails_at, done), **second)
        except OSError:
            is_committed = len(open_store(folder).loads) == 2  # the last write is the commit
            assert_same(contents(open_store(folder)), after if is_committed else before)
            add(folder, **second)
        else:
            break
        assert_same(contents(open_store(folder)), after)
    assert fails_at > 6


@pytest.mark.parametrize("name", ["a {b} 'c'", "q?* #1", "naïve"])
def test_a_folder_may_have_nearly_any_name(tmp_path: Path, one_log: Path, name: str) -> None:
    store = open_store(tmp_path / name)
    assert store.ingest(one_log).total("kept") == 2 and store.scan("event").collect().height == 2


@pytest.mark.parametrize("name", ["a [1]", "100%"])
def test_a_name_that_delta_cannot_take_is_refused_before_anything_is_written(
    tmp_path: Path, one_log: Path, name: str
) -> None:
    with pytest.raises(RequestError, match=r"takes no '[\[%]' in a path"):
        open_store(tmp_path / name).ingest(one_log)
    assert not (tmp_path / name).exists()


def test_an_interrupted_first_load_leaves_no_store_and_no_trace(tmp_path: Path) -> None:
    first, _ = _two_loads()
    add(tmp_path / "whole", **first)
    for fails_at in (1, 3, 5):
        with pytest.raises(OSError):
            add(tmp_path / "store", _Failing(str(tmp_path / "store"), fails_at, True), **first)
        with pytest.raises(RequestError, match="There is no store"):
            open_store(tmp_path / "store").scan("event")
    add(tmp_path / "store", **first)
    assert_same(contents(open_store(tmp_path / "store")), contents(open_store(tmp_path / "whole")))


def test_the_log_tells_short_bounds_of_long_ids(tmp_path: Path) -> None:
    longest = "z" * 5_000
    add(tmp_path, event=[open_of("1", "7", "a"), open_of("2", "7", longest)])
    lake = Lake(str(tmp_path))
    actions = pl.DataFrame(lake.open("event").get_add_actions(flatten=True))
    (bounds,) = actions.select("min.message_id", "max.message_id", "num_records").rows()
    assert bounds[0] == "a" and longest < bounds[1] and len(bounds[1]) < 100 and bounds[2] == 2
    assert sorted(open_store(tmp_path).scan("event").collect()["message_id"]) == ["a", longest]


def test_events_lie_in_order_of_delivery_message_and_instant_whatever_came_when(tmp_path: Path) -> None:
    keys = [(str(number * 7 % 5), str(number * 11 % 13)) for number in range(60)]
    rows = [open_of(str(number), *key, 300 * (60 - number)) for number, key in enumerate(keys)]
    for part in (rows[::2], rows[1::2]):
        add(tmp_path, event=part)
    found = open_store(tmp_path).scan("event").select("delivery_id", "message_id", "occurred_at").collect().rows()
    assert len(found) == 60 and found == sorted(found)


class _Watched(Lake):
    """A lake that looks, after every write, at what a reader sees."""

    def __init__(self, location: str) -> None:
        super().__init__(location)
        self.seen: list[dict[str, pl.DataFrame]] = []

    def _write(self, name: str, rows: pl.DataFrame, **how: Any) -> None:
        super()._write(name, rows, **how)
        self.seen.append(contents(open_store(self.location)))

    def _put(self, name: str, parts: Iterable[pl.DataFrame], buckets: Collection[int]) -> None:
        super()._put(name, parts, buckets)
        self.seen.append(contents(open_store(self.location)))


def test_readers_see_the_old_tables_until_the_commit_and_keep_their_snapshot(tmp_path: Path) -> None:
    first, second = _two_loads()
    add(tmp_path, **first)
    reader = open_store(tmp_path)
    pinned, before = reader.snapshot(), contents(reader)
    lake = _Watched(str(tmp_path))
    add(tmp_path, lake, **second)
    assert len(lake.seen) > 5
    for seen in lake.seen[:-1]:
        assert_same(seen, before)
    assert_same(lake.seen[-1], contents(open_store(tmp_path)))
    assert lake.seen[-1]["delivery"].height == 1 and "delivery" not in before
    for name, rows in before.items():
        assert_frame_equal(pinned.scan(name).collect().sort(pl.all().cast(pl.String)), rows)


def test_refused_sources_leave_the_store_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "odd.bin").write_bytes(b"\x00\x01")
    (tmp_path / "even.bin").write_bytes(b"\x00\x02")
    store = open_store(tmp_path / "store")
    with pytest.raises(DataError, match=r"Nothing in .*odd"):
        store.ingest(tmp_path / "odd.bin", tmp_path / "even.bin")
    with pytest.raises(RequestError):
        store.snapshot()


def test_a_refused_source_does_not_hold_up_the_others(one_log: Path, tmp_path: Path) -> None:
    (tmp_path / "odd.bin").write_bytes(b"\x00\x01")
    store = open_store(tmp_path / "store")
    for _ in range(2):
        report = store.ingest(tmp_path / "odd.bin", one_log)
        assert list(report.failures) == [str(tmp_path / "odd.bin")]
        assert LoadReport.from_dict(report.to_dict()) == report
    assert store.scan("event").collect().height == report.total("read") > 0


# --- what a load touches


def _deliveries(count: int) -> list[str]:
    return [f"d{number:02}" for number in range(count)]


def _filled(folder: Path, count: int = 12) -> None:
    """A store of deliveries with two opens and a message each, nearly each in a bucket of its own."""
    ids = _deliveries(count)
    add(
        folder,
        event=[
            row
            for number, one in enumerate(ids)
            for row in (
                open_of(f"{number}1", one, f"m{one}", link_id=f"k{one}", reported_type=None, user_agent=f"{number}"),
                open_of(f"{number}2", one, f"m{one}", 90, link_id="1"),
            )
        ],
        message=[message_of(f"m{one}", one, recipient_id=f"r{one}", failure_id=f"f{one}") for one in ids],
    )


LATE = {
    "link": ({"link_id": "kd05", "type_code": 1, "label": "Late"}, "event", {"event_type": "clicked"}),
    "user_agent": ({"user_agent": "5", "device": "iPhone"}, "event", {"device": "iPhone"}),
    "recipient": ({"recipient_id": "rd05", "country": "FR"}, "event", {"country": "FR"}),
    "web_event": ({"event_id": "51", "amount": 3.5}, "event", {"amount": 3.5}),
    "message": (message_of("md05", "d05", address="A@late.example"), "event", {"domain": "late.example"}),
    "failure": ({"failure_id": "fd05", "failure_type": 2}, "message", {"failure_type": 2}),
}


@pytest.mark.usefixtures("small_buckets")
@pytest.mark.parametrize("table", LATE)
def test_late_rows_reach_their_deliveries_and_rewrite_no_others(tmp_path: Path, table: str) -> None:
    _filled(tmp_path)
    row, changed, expected = LATE[table]
    before = {name: files(tmp_path, name) for name in ("event", "message")}
    assert len(before["event"]) > 4
    report = add(tmp_path, **{table: [row]})
    assert report.is_settled and report.total("kept") == 1
    store = open_store(tmp_path)
    found = store.scan(changed).filter(delivery_id="d05").sort("occurred_at" if changed == "event" else "message_id")
    assert found.collect().row(0, named=True) | expected == found.collect().row(0, named=True)
    for name, old in before.items():
        rewritten = {first for first, path in files(tmp_path, name).items() if old.get(first) != path}
        # only the bucket of d05; of messages only where the message itself says something new
        assert all(first <= "d05" for first in rewritten) and len(rewritten) <= 1, (name, rewritten)
    assert "d05" in store.watermarks and set(store.watermarks.values()) == {one["load_id"] for one in store.loads}
    late = store.loads[-1]["load_id"]
    assert [name for name, load_id in store.watermarks.items() if load_id == late] == ["d05"]


@pytest.mark.usefixtures("small_buckets")
def test_late_events_rewrite_only_their_buckets_and_a_copy_rewrites_nothing(tmp_path: Path) -> None:
    _filled(tmp_path)
    before = files(tmp_path, "event")
    add(tmp_path, event=[open_of("99", "d03", "md03", 500), open_of("98", "zz", "m")])
    after = files(tmp_path, "event")
    assert len(set(before.values()) - set(after.values())) == 2  # the buckets of d03, and of everything beyond the last
    report = add(tmp_path, event=[open_of("99", "d03", "md03", 500)])
    assert report.total("duplicate") == 1 and files(tmp_path, "event") == after


@pytest.mark.usefixtures("small_buckets")
def test_a_question_on_some_deliveries_opens_no_other_file(tmp_path: Path) -> None:
    _filled(tmp_path)
    events, key = open_store(tmp_path).scan("event"), pl.col("delivery_id")
    every = files(tmp_path, "event")
    own = max(first for first in every if first <= "d05")
    spanned, named = key.is_between(pl.lit(own), pl.lit("d05")), pl.col("message_id") == "md05"
    asked = [key == "d05", key.is_in(["d05"]), spanned, named]
    expected = [events.filter(test).collect() for test in asked]
    for path in set(every.values()) - {every[own]}:
        garbled = tmp_path / "event" / path  # a missing one would be told before any question
        garbled.write_bytes(b"\0" * garbled.stat().st_size)
    events = open_store(tmp_path).scan("event")
    assert [events.filter(test).collect().height for test in asked] == [found.height for found in expected]
    assert min(found.height for found in expected) == 2
    with pytest.raises(pl.exceptions.PolarsError):
        events.filter(key == "d01").collect()


@pytest.mark.usefixtures("small_buckets")
def test_the_size_of_buckets_and_chunks_changes_nothing(
    demo_raw: Path, demo_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(layout, "BUCKET_ROWS", 40)
    monkeypatch.setattr(layout, "CHUNK_ROWS", 90)
    store = open_store(tmp_path / "store")
    store.ingest(demo_raw)
    assert len(files(tmp_path / "store", "event")) > 2
    assert_same(contents(store), contents(open_store(demo_store)))
    ordered = store.scan("event").select("delivery_id").collect().to_series().drop_nulls()
    assert ordered.equals(ordered.sort())


@pytest.mark.usefixtures("small_buckets")
def test_deliveries_are_whole_and_apart_whatever_their_ids(tmp_path: Path) -> None:
    rows = [open_of(f"{number}{place}", one, f"m{number}", 100 * place)
            for number, one in enumerate(HOSTILE) for place in range(3)]  # fmt: skip
    add(tmp_path, event=rows, message=[message_of(f"m{number}", one) for number, one in enumerate(HOSTILE)])
    assert len(files(tmp_path, "event")) > 3
    add(tmp_path, event=[open_of("late", HOSTILE[0], "m0", 1000)])
    store = open_store(tmp_path)
    for number, one in enumerate(HOSTILE):
        found = store.scan("event").filter(pl.col("delivery_id") == one).collect()
        assert found.height == (4 if number == 0 else 3), one
        assert found["message_id"].unique().to_list() == [f"m{number}"]


def test_a_late_earlier_open_takes_the_place_of_the_one_that_counted(tmp_path: Path) -> None:
    add(tmp_path, event=[open_of("2", "7", "a", 30)])
    report = add(tmp_path, event=[open_of("1", "7", "a", 0)])
    store = open_store(tmp_path)
    assert store.scan("event").collect()["event_id"].to_list() == ["1"]
    assert store.scan("collapsed").collect()["event_id"].to_list() == ["2"]
    assert report.total("kept") == 1


@pytest.mark.parametrize("later", [False, True])
def test_an_event_without_delivery_finds_it_by_its_copy_or_its_message(tmp_path: Path, later: bool) -> None:
    loose = [open_of("1", None, None), open_of("2", None, "a"), open_of("3", None, "zz")]
    telling = {"event": [open_of("1", "7", "b", log_server=None)], "message": [message_of("a", "8")]}
    loads = [{"event": loose}, telling]
    for one in loads if later else reversed(loads):
        assert add(tmp_path, **one).is_settled
    events = open_store(tmp_path).scan("event").sort("event_id").collect()
    assert events["delivery_id"].to_list() == ["7", "8", None]
    assert events["log_server"].to_list() == ["50"] * 3 and events["message_id"].to_list() == ["b", "a", "zz"]


def test_a_hit_without_log_id_keeps_its_delivery_beside_hits_without_delivery(tmp_path: Path) -> None:
    report = add(tmp_path, event=[open_of(None, "7", "a"), open_of("9", None, None)])
    assert report.is_settled
    assert open_store(tmp_path).scan("event").select("delivery_id").collect().to_series().to_list() == [None, "7"]


def test_a_copy_without_delivery_follows_the_one_whose_message_tells_it(tmp_path: Path) -> None:
    assert add(tmp_path, event=[open_of("1", None, None)]).total("kept") == 1
    assert add(tmp_path, event=[open_of("1", None, "a")], message=[message_of("a", "7")]).is_settled
    events = open_store(tmp_path).scan("event").select("event_id", "delivery_id", "message_id").collect()
    assert events.rows() == [("1", "7", "a")]


# --- reading


def test_reading_a_store_that_does_not_exist_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"no store at '.*nowhere'.*`trackkit ingest"):
        open_store(tmp_path / "nowhere").scan("event")
    assert not (tmp_path / "nowhere").exists()


def test_a_folder_of_other_things_is_not_made_a_store(one_log: Path) -> None:
    with pytest.raises(RequestError, match=r"holds 'raw.log', so it is no store"):
        open_store(one_log.parent).ingest(one_log)
    with pytest.raises(RequestError, match="is a file"):
        open_store(one_log).ingest(one_log)


def test_a_second_load_at_once_waits_then_says_who_was_first(
    one_log: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trackkit.store.locking, "LOCK_SECONDS", 0.2)
    (tmp_path / "store").mkdir()
    with FileLock(tmp_path / "store" / ".lock"), pytest.raises(RequestError, match="Another load"):
        open_store(tmp_path / "store").ingest(one_log)
    assert open_store(tmp_path / "store").ingest(one_log).total("kept") == 2


def test_a_store_under_a_url_is_the_same_store(demo_raw: Path, demo_store: Path, tmp_path: Path) -> None:
    folder = tmp_path / "with space"
    store = open_store(folder.as_uri())
    store.ingest(demo_raw)
    assert_same(contents(store), contents(open_store(demo_store)))
    assert store.ingest(demo_raw).total("kept") == 0
    assert {path.name for path in folder.iterdir()} <= {*schema.TABLES, "load", "fence", "watermark", ".lease", ".lock"}


def test_in_memory_is_the_same_as_in_a_store(demo_raw: Path, demo_store: Path) -> None:
    snapshot = load(demo_raw)
    assert snapshot.loads[0]["report"]["sources"]
    for name, rows in contents(open_store(demo_store)).items():
        assert_frame_equal(snapshot.scan(name).collect().sort(pl.all().cast(pl.String)), rows)


def test_tables_have_the_declared_columns_and_order(demo_store: Path) -> None:
    store = open_store(demo_store)
    for name in store.snapshot().frames:
        assert dict(store.scan(name).collect_schema()) == schema.TABLES[name].schema, name
    assert not store.has("nonsense") and store.scan("event").collect().height > 0
    with pytest.raises(RequestError, match="Did you mean 'event'"):
        store.scan("evnt")


def test_the_history_tells_what_was_loaded_when(tmp_path: Path) -> None:
    first, second = _two_loads()
    add(tmp_path, **first)
    add(tmp_path, **second)
    loads = open_store(tmp_path).loads
    assert [one["number"] for one in loads] == [1, 2] and loads[0]["load_id"] != loads[1]["load_id"]
    assert loads[0]["report"]["event_types"] == {"opened": 3} and loads[-1]["timezone"] == "UTC"
    assert loads[1]["loaded_at"] == open_store(tmp_path).snapshot().as_of
    json.dumps(loads[1]["report"])


def test_a_long_history_stays_in_few_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trackkit.store.ingest, "LOADS_PER_FILE", 3)
    for number in range(7):
        add(tmp_path, delivery=[{"delivery_id": "7", "label": str(number)}])
    store = open_store(tmp_path)
    assert [one["number"] for one in store.loads] == [1, 2, 3, 4, 5, 6, 7]
    assert store.scan("delivery").collect()["label"].to_list() == ["6"]
    assert len(Lake(str(tmp_path)).open("load").file_uris()) == 3  # five loads packed, two since


def test_a_store_shows_itself_without_trusting_its_name(tmp_path: Path) -> None:
    store = open_store(tmp_path / "<b>x")
    assert "&lt;b&gt;x" in store._repr_html_() and "<b>" not in store._repr_html_()
    add(tmp_path / "<b>x", **_two_loads()[0])
    assert "1 load, the last" in store._repr_html_() and "<b>" not in store._repr_html_()


def test_opening_imports_only_what_reading_needs(demo_store: Path) -> None:
    heavy = ["numpy", "pyarrow", "pandas", "altair", "filelock", "ua_parser"]
    heavy += ["trackkit.sources", "trackkit.store.ingest"]
    code = (
        "import sys, polars as pl; from trackkit.store import open_store; "
        f"e = open_store({str(demo_store)!r}).scan('event'); "
        "e.filter(pl.col('delivery_id') == '1').select(pl.len(), pl.col('message_id').n_unique()).collect(); "
        f"print([m for m in {heavy!r} if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_load_tells_how_far_it_is(one_log: Path, tmp_path: Path) -> None:
    said: list[tuple[int, int, str]] = []
    open_store(tmp_path / "store").ingest(one_log, progress=lambda *told: said.append(told))
    assert [label for _, _, label in said] == ["raw.log", "Settling"]
    assert all(done <= total for done, total, _ in said)


def test_a_hit_that_finds_its_delivery_later_counts_once(tmp_path: Path) -> None:
    hit = {"event_id": "1", "log_server": "50", "occurred_at": datetime(2026, 1, 1, tzinfo=UTC)}
    add(tmp_path / "store", event=[hit | {"delivery_id": None}])
    add(tmp_path / "store", event=[hit | {"delivery_id": "7"}])
    events = open_store(tmp_path / "store").scan("event").collect()
    assert events.select("delivery_id", "event_id").rows() == [("7", "1")]
