"""Removal: by date and of one person, with nothing left in any file; what survives of figures; interruption."""

import csv
import itertools
import json
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Collection, Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from tests.instance import write_instance
from tests.test_cli import trackkit
from tests.test_store import START, add, assert_same, contents, message_of, open_of
from trackkit import schema
from trackkit.analysis.caveats import limits
from trackkit.engine.completeness import purged
from trackkit.engine.measure import measure
from trackkit.errors import RequestError
from trackkit.metrics import METRICS, Ratio
from trackkit.report.notes import sentences
from trackkit.runs.dossier import without_bar
from trackkit.runs.due import run
from trackkit.runs.retention import counts, cuts_of, forget
from trackkit.store import forget as forgetting
from trackkit.store import layout, open_store
from trackkit.store.forget import forget as removed_from
from trackkit.store.lake import Lake
from trackkit.store.removal import Person

COUNTS = [name for name, metric in METRICS.items() if not isinstance(metric.formula, Ratio)]
DAY = 24 * 3600


def texts_of(folder: Path) -> Iterator[tuple[Path, str]]:
    """Every file below a folder as text, Parquet files unpacked too, in lower case."""
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        yield path, path.read_bytes().decode("latin-1").lower()
        if path.suffix == ".parquet":
            columns = pl.read_parquet(path).select(pl.selectors.string())
            yield path, "\n".join(text for column in columns for text in column.drop_nulls()).lower()


def holding(folder: Path, *words: str) -> list[tuple[str, str]]:
    """The files that hold one of these words, and which."""
    return [(path.name, word) for path, text in texts_of(folder) for word in words if word.lower() in text]


def two_people() -> dict[str, list[dict[str, Any]]]:
    """Ana (1) and Bia (2) in deliveries 7 and 8, everything that can name them, and a twin record of Ana (11)."""
    address = {"1": "Ana@Post.example", "2": "bia@post.example"}
    return {
        "delivery": [{"delivery_id": name, "state": 95, "ended_at": START} for name in "78"],
        "message": [
            message_of("a", "7", recipient_id="1", address=address["1"]),
            message_of("b", "7", recipient_id="2", address=address["2"]),
            message_of("c", "8", address=" ana@post.example"),
            message_of("d", "8", recipient_id="2", address=address["2"], failure_id="f", status_code=2),
        ],
        "event": [
            open_of("1", "7", "a"), open_of("2", "7", "a", 30), open_of("3", "7", "b"), open_of("4", "8", "c"),
            open_of("5", "8", "d"), open_of("6", "8", None, recipient_id="1"), open_of("7", None, "a", 500),
            open_of("8", "8", None, person_id="q", address="ANA@post.example"), open_of("9", "8", "d", 900),
        ],
        "recipient": [
            {"recipient_id": "1", "email": address["1"]}, {"recipient_id": "2", "email": address["2"]},
            {"recipient_id": "11", "email": "ANA@POST.EXAMPLE "},
        ],
        "failure": [{"failure_id": "f", "failure_reason": 1, "first_text": "550 <ana@post.example>: unknown"}],
        "subscription": [
            {"service_id": "s", "recipient_id": one, "action": 1, "occurred_at": START} for one in ("11", "2")
        ],
        "page_hit": [{"occurred_at": START, "page": "p", "recipient_id": one} for one in ("1", "2")],
        "exclusion": [{"delivery_id": "7", "recipient_id": one, "rule": "r"} for one in ("1", "2")],
        "web_event": [{"event_id": one, "tag_id": "t"} for one in ("1", "3", "77")],
        "quarantine": [
            {"source_file": "x.csv", "source_row": row, "source": "adobe_export", "reason": "r", "text": text}
            for row, text in enumerate(["1;ana@post.example", "id=1;bad", "12;banana@post.example"])
        ],
    }  # fmt: skip


# --- one person


def test_every_row_of_a_person_goes_and_no_other(tmp_path: Path) -> None:
    add(tmp_path, **two_people())
    store = open_store(tmp_path)
    before = contents(store)
    report = store.forget(recipient="1")
    assert report.rows == {
        "message": 2, "event": 5, "collapsed": 1, "web_event": 1, "recipient": 2, "exclusion": 1, "subscription": 1,
        "page_hit": 1, "quarantine": 2,
    }  # fmt: skip
    assert (report.deliveries, report.altered, report.texts) == (["7", "8"], 1, 0) and report.files > 0
    after = contents(store)
    assert after["event"]["event_id"].to_list() == ["3", "5", "9"] and after["message"]["message_id"].to_list() == [
        "b",
        "d",
    ]
    assert after["web_event"]["event_id"].to_list() == ["3", "77"] and after["recipient"]["recipient_id"].to_list() == [
        "2"
    ]
    assert after["quarantine"]["text"].to_list() == ["12;banana@post.example"]
    assert after["failure"]["first_text"].to_list() == ["550 <(removed)>: unknown"]
    for name in before.keys() - {"failure"}:
        columns = [column for column in before[name].columns if column not in schema.MARKS]  # those are made again
        left, there = after[name].select(columns), before[name].select(columns)
        assert_frame_equal(left, there.join(left, on=columns, how="semi", nulls_equal=True))
    assert not holds_ana(tmp_path)


def holds_ana(folder: Path) -> bool:
    """Whether a file holds Ana's address, not banana's."""
    return any("ana@post.example" in text.replace("banana@post.example", "") for _, text in texts_of(folder))


@pytest.mark.parametrize("address", ["ana@post.example", " ANA@post.example"])
def test_an_address_finds_the_same_person(tmp_path: Path, address: str) -> None:
    for name, asked in (("by_id", {"recipient": "1"}), ("by_address", {"address": address})):
        add(tmp_path / name, **two_people())
        forget(tmp_path / name, **asked)
    assert_same(contents(open_store(tmp_path / "by_id")), contents(open_store(tmp_path / "by_address")))


def test_no_file_of_a_store_names_a_forgotten_recipient(demo_store: Path, tmp_path: Path) -> None:
    folder = tmp_path / "store"
    shutil.copytree(demo_store, folder)
    store = open_store(folder)
    known = store.scan("recipient").join(store.scan("event"), on="recipient_id").group_by("recipient_id", "email").len()
    recipient, address, _ = known.sort("len", "recipient_id").tail(1).collect().row(0)
    untouched = store.scan("message").filter(recipient_id=recipient).select("delivery_id").unique().collect()
    figures = measure(store)
    assert holding(folder, address.strip())
    (folder / ".staging").mkdir()  # as a load that was killed leaves it
    (folder / ".staging" / "rows.txt").write_text(address)
    assert forget(folder, recipient=recipient).rows["message"] > 0
    assert holding(folder, address.strip()) == []
    store = open_store(folder)
    ids = [
        store.scan(name).filter(recipient_id=recipient).collect().height for name in ("event", "message", "page_hit")
    ]
    assert ids == [0, 0, 0]
    others = [frame.join(untouched, on="delivery_id", how="anti") for frame in (figures, measure(store))]
    assert_frame_equal(*others)
    assert forget(folder, recipient=recipient).rows == {}, "done already"


def test_the_reports_of_loads_do_not_name_them_either(tmp_path: Path) -> None:
    raw = tmp_path / "ana@post.example.csv"
    raw.write_text("iRecipientId,sEmail,ana@post.example\n1,ana@post.example,x\n")
    store = open_store(tmp_path / "store")
    store.ingest(_as_table(raw))
    assert "ana@post.example" in json.dumps(store.loads[0], default=str)
    assert forget(tmp_path / "store", address="ana@post.example").texts == 1
    assert holding(tmp_path / "store", "ana@post.example") == []
    first, removal = open_store(tmp_path / "store").loads
    assert first["report"]["sources"][0]["read"] == 1 and removal["report"]["forgotten"]["rows"] == {"recipient": 1}


def _as_table(raw: Path) -> Path:
    place = raw.parent / "raw" / raw.stem / "recipient.csv"
    place.parent.mkdir(parents=True)
    shutil.copy(raw, place)
    return place.parent.parent


@pytest.mark.parametrize(("seed", "batch"), [(1, 1_000_000), (2, 30), (3, 200)])
def test_forgetting_a_recipient_is_never_having_had_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int, batch: int
) -> None:
    monkeypatch.setattr(forgetting, "LARGE_ROWS", batch)
    raw = write_instance(tmp_path / "raw", seed, messages=200, hits=1_500, is_shared=seed > 1)
    sent = list(csv.DictReader((raw / "broadlog.csv").open(encoding="utf-8")))
    recipient = random.Random(seed).choice([row["iRecipientId"] for row in sent if row["iRecipientId"] != "0"])
    open_store(tmp_path / "store").ingest(raw)
    forget(tmp_path / "store", recipient=recipient)
    theirs = {(row["iDeliveryId"], row["iBroadLogId"]) for row in sent if row["iRecipientId"] == recipient}
    without = _without(raw, tmp_path / "without", recipient, theirs)
    stores = open_store(tmp_path / "store"), open_store(tmp_path / "never")
    stores[1].ingest(without)
    for by in ("delivery_id", "domain", "country", "hour", "browser", "failure_reason", []):
        assert_frame_equal(*(measure(store, by=by) for store in stores), check_exact=True)
    for name in ("message", "event", "collapsed", "recipient"):  # the row of a line is another where lines are fewer
        one, other = (contents(store)[name].drop("source_row", "filled", strict=False) for store in stores)
        assert_frame_equal(*(rows.sort(pl.all().cast(pl.String)) for rows in (one, other)))


def _without(raw: Path, target: Path, recipient: str, messages: set[tuple[str, str]]) -> Path:
    """An instance folder as it would be if a recipient had never been."""
    shutil.copytree(raw, target)
    for name, columns, gone in (
        ("broadlog", ["iRecipientId"], {(recipient,)}), ("recipient", ["iRecipientId"], {(recipient,)}),
        ("tracking_log", ["iDeliveryId", "iBroadLogId"], messages),
    ):  # fmt: skip
        rows = list(csv.DictReader((raw / f"{name}.csv").open(encoding="utf-8")))
        with (target / f"{name}.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, rows[0].keys())
            writer.writeheader()
            writer.writerows(row for row in rows if tuple(row[column] for column in columns) not in gone)
    log = target / "redir" / "log" / "0x0001.log"
    lines = log.read_text("utf-8").splitlines()
    named = [tuple(str(int(cell, 16)) for cell in reversed(line.split("\t")[2:4])) for line in lines]
    log.write_text("\n".join(line for line, one in zip(lines, named, strict=True) if one not in messages) + "\n")
    return target


# --- by date


def old_and_new() -> dict[str, list[dict[str, Any]]]:
    """Delivery 7, old and of yesterday; 8, all old; 9, all new; dates from START on, the cut being two days later."""

    def at(days: float) -> datetime:
        return START + timedelta(days=days)

    return {
        "delivery": [
            {"delivery_id": "7", "state": 95, "to_deliver": 3, "ended_at": at(3)},
            {"delivery_id": "8", "state": 95, "to_deliver": 2, "ended_at": at(0)},
            {"delivery_id": "9", "state": 55, "to_deliver": 1, "ended_at": at(3)},
        ],
        "message": [
            message_of("a", "7", recipient_id="1"), message_of("s", "7", is_seed=True),
            message_of("b", "7", status_at=at(3)), message_of("c", "8", recipient_id="3"),
            message_of("u", "8", status_at=None), message_of("d", "9", status_at=at(3)),
        ],
        "event": [
            open_of("1", "7", "a"), open_of("2", "7", "a", 3 * DAY, person_id="z"), open_of("3", "7", "s", 3 * DAY),
            open_of("4", "7", "b", 3 * DAY), open_of("5", "8", "c"), open_of("6", "8", "u", occurred_at=None),
            open_of("7", "9", "d", 3 * DAY), open_of("8", "9", "d", occurred_at=None),
            open_of("9", None, "x", occurred_at=None),
            open_of("10", "7", "b", 2 * DAY - 10), open_of("11", "7", "b", 2 * DAY + 20),
        ],
        "web_event": [{"event_id": one, "tag_id": "t"} for one in ("1", "7")],
        "page_hit": [{"occurred_at": at(days), "page": "p", "recipient_id": "1"} for days in (0, 3)],
        "subscription": [
            {"service_id": "s", "recipient_id": who, "action": action, "occurred_at": at(days)}
            for who, action, days in (("1", 1, 0), ("2", 1, 0), ("2", 0, 1), ("3", 0, 0), ("3", 1, 1), ("4", 0, 3))
        ],
        "exclusion": [{"delivery_id": one, "recipient_id": "9", "rule": "r"} for one in ("7", "8")],
        "link": [{"link_id": f"1{one}", "delivery_id": one} for one in "789"],
    }  # fmt: skip


CUT = (START + timedelta(days=2)).date()


def test_rows_of_before_a_date_go_table_by_table(tmp_path: Path) -> None:
    add(tmp_path, **old_and_new())
    store = open_store(tmp_path)
    report = forget(tmp_path, before=CUT.isoformat())
    after = contents(store)
    # a, s, c are old, u goes with 8, whose last dated message is old; 3 was a hit of the control address s
    assert sorted(after["message"]["message_id"]) == ["b", "d"]
    # 6 goes with 8; 8 stays with 9, and 9, of no delivery; 11 repeats 10 and goes with it
    assert sorted(after["event"]["event_id"]) == ["2", "4", "7", "8", "9"] and after["collapsed"].is_empty()
    assert after["web_event"]["event_id"].to_list() == ["7"]
    assert after["page_hit"]["occurred_at"].to_list() == [START + timedelta(days=3)]
    kept_acts = after["subscription"].select("recipient_id", "action").rows()
    assert sorted(kept_acts) == [("1", 1), ("3", 1), ("4", 0)]  # who is subscribed now stays so
    assert after["exclusion"]["delivery_id"].to_list() == ["7"]
    assert after["link"].height == 3 and after["delivery"].height == 3
    assert report.rows == {"message": 4, "event": 5, "collapsed": 1, "web_event": 1, "exclusion": 1, "subscription": 3,
                           "page_hit": 1}  # fmt: skip
    assert (report.deliveries, report.undated) == (["7", "8"], 2)
    gone = purged(store).sort("delivery_id", "source").rows()
    assert gone == [("7", "event"), ("7", "message"), ("8", "event"), ("8", "message")]


def test_a_hit_of_the_future_keeps_nothing_and_goes_with_its_delivery(tmp_path: Path) -> None:
    rows = old_and_new()
    rows["event"] += [open_of("2036", "8", "c", 3_650 * DAY), open_of("2037", "7", "b", 4_015 * DAY)]
    add(tmp_path, **rows)
    forget(tmp_path, before=CUT)
    left = contents(open_store(tmp_path))["event"]["event_id"]
    assert sorted(left) == ["2", "2037", "4", "7", "8", "9"]  # 6 goes with 8 all the same, and so does 2036


def test_what_is_left_keeps_its_recipient_when_its_message_is_gone(tmp_path: Path) -> None:
    add(tmp_path, **old_and_new())
    forget(tmp_path, before=CUT)
    add(tmp_path, event=[open_of("99", "7", "b", 4 * DAY)], link=[{"link_id": "1", "type_code": 2, "label": "Open"}])
    events = open_store(tmp_path).scan("event").filter(delivery_id="7").collect()
    assert dict(events.select("event_id", "recipient_id").rows())["2"] == "1"
    assert sorted(events["event_id"]) == ["2", "4", "99"] and not events["is_seed"].any()


def test_a_delivery_goes_when_nothing_else_of_it_is_left_and_its_period_asks(tmp_path: Path) -> None:
    add(tmp_path / "store", **old_and_new())
    periods = tmp_path / "periods.toml"
    periods.write_text('[periods]\nevent = "1 day"\nmessage = "1 day"\ndelivery = "2 days"\n')
    report = forget(tmp_path / "store", retention=periods, as_of=CUT + timedelta(days=1))
    assert report.rows["delivery"] == report.rows["link"] == 1
    left = contents(open_store(tmp_path / "store"))
    assert sorted(left["delivery"]["delivery_id"]) == ["7", "9"] and sorted(left["link"]["delivery_id"]) == ["7", "9"]
    assert left["page_hit"].height == 2, "a table that is not named keeps its rows"


def test_quarantined_lines_go_by_the_last_load_of_their_file(demo_store: Path, tmp_path: Path) -> None:
    shutil.copytree(demo_store, tmp_path / "store")
    today = datetime.now(UTC).date()
    assert "quarantine" not in forget(tmp_path / "store", before=today - timedelta(days=2)).rows
    assert forget(tmp_path / "store", before=today + timedelta(days=2)).rows["quarantine"] > 0
    assert open_store(tmp_path / "store").quarantine.is_empty()


def test_small_buckets_and_many_deliveries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layout, "BUCKET_ROWS", 4)
    monkeypatch.setattr(layout, "CHUNK_ROWS", 10)
    events = [open_of(str(n), f"d{n % 9}", f"m{n}", n * 3600, recipient_id=str(n % 7)) for n in range(90)]
    add(tmp_path, event=events, message=[message_of(f"m{n}", f"d{n % 9}", recipient_id=str(n % 7)) for n in range(90)])
    forget(tmp_path, recipient="3")
    store = open_store(tmp_path)
    assert sorted(map(int, store.scan("event").collect()["event_id"])) == [n for n in range(90) if n % 7 != 3]
    forget(tmp_path, before=(START + timedelta(days=2)).date())
    left = open_store(tmp_path).scan("event").collect()["event_id"]
    assert sorted(map(int, left)) == [n for n in range(48, 90) if n % 7 != 3]
    add(tmp_path, event=[open_of("900", "d1", "m1", 99 * 3600)])
    assert open_store(tmp_path).scan("event").collect().height == len(left) + 1


# --- what survives of figures


def test_kept_counts_answer_for_what_was_removed(tmp_path: Path) -> None:
    add(tmp_path, **old_and_new())
    store = open_store(tmp_path)
    before, total = measure(store, COUNTS), measure(store, COUNTS, by=[])
    report = forget(tmp_path, before=CUT, keep_counts=True)
    assert report.kept == ["7", "8"]
    store = open_store(tmp_path)
    assert_frame_equal(measure(store, COUNTS), before)
    people = ["unique_people_clicks"]
    assert_frame_equal(measure(store, COUNTS, by=[]).drop(people), total.drop(people))
    assert measure(store, people, by=[]).item() is None, "people cannot be told apart any more"
    one = before.filter(delivery_id="8")
    assert measure(store, "unique_opens", by=[], delivery="8").item() == one["unique_opens"].item() == 2
    add(tmp_path, event=[open_of("99", "7", "b", 4 * DAY)])  # what comes later cannot be told from what was counted
    assert_frame_equal(measure(open_store(tmp_path), COUNTS), before)


def test_breakdowns_of_what_was_removed_are_unknown_never_less(tmp_path: Path) -> None:
    add(tmp_path, **old_and_new())
    forget(tmp_path, before=CUT, keep_counts=True)
    store = open_store(tmp_path)
    by_day = measure(store, "total_opens", by=["delivery_id", "day"])
    assert (
        by_day.filter(delivery_id="7")["total_opens"].to_list() == [None] and by_day.filter(delivery_id="9").height == 2
    )
    assert by_day.filter(delivery_id="9")["total_opens"].to_list() == [1, 1]
    assert measure(store, "total_opens", by="day")["total_opens"].to_list() == [1, 1], "of delivery 9 alone"
    assert measure(store, "total_opens", by="day", delivery="7")["total_opens"].to_list() == [None]
    where = measure(store, "total_opens", by="delivery_id", where="browser IS NULL")
    assert dict(where.rows()) == {"7": None, "8": None, "9": 2}


def test_without_kept_counts_figures_are_unknown_and_totals_leave_them_out(tmp_path: Path) -> None:
    add(tmp_path, **old_and_new())
    forget(tmp_path, before=CUT)
    store = open_store(tmp_path)
    rows = measure(store, ["to_deliver", "delivered", "unique_opens", "open_rate"]).rows()
    assert rows == [("7", 3, None, None, None), ("8", 2, None, None, None), ("9", 1, 1, 1, 1.0)]
    assert measure(store, ["to_deliver", "delivered", "unique_opens"], by=[]).rows() == [(1, 1, 1)]
    assert measure(store, ["to_deliver", "unique_opens"], by=[], delivery=["7", "9"]).rows() == [(4, None)]


def test_a_delivery_that_no_table_lists_any_more_is_still_known(tmp_path: Path) -> None:
    add(tmp_path, event=[open_of("1", "7", "a")], message=[message_of("a", "7")])
    forget(tmp_path, before=CUT, keep_counts=True)
    store = open_store(tmp_path)
    assert measure(store, ["delivered", "unique_opens"]).rows() == [("7", 1, 1)]
    assert measure(store, "unique_opens", delivery="7").rows() == [("7", 1)]


def test_counts_of_a_delivery_that_runs_are_not_kept(tmp_path: Path) -> None:
    add(tmp_path, event=[open_of("1", "7", "a")], delivery=[{"delivery_id": "7", "state": 55}])
    report = forget(tmp_path, before=CUT, keep_counts=True)
    assert report.kept == [] and "not finished" not in str(report) and "not being finished: 1" in str(report)
    assert measure(open_store(tmp_path), "unique_opens").rows() == [("7", None)]


def test_the_limits_say_what_was_removed(tmp_path: Path) -> None:
    for name, kept in (("kept", True), ("removed", False)):
        add(tmp_path / name, **old_and_new())
        forget(tmp_path / name, before=CUT, keep_counts=kept)
        store = open_store(tmp_path / name).snapshot()
        told = limits(store, "8", needs={})
        assert name in told["limit"] and not {"purged", "no_hit", "tracking_missing"} & set(told["limit"])
        assert any("as retention asks" in one for one in sentences(told)[0])
        assert limits(store, needs={}).filter(limit="deliveries_removed")["count"].to_list() == [2]
        assert not {"kept", "removed"} & set(limits(store, "9", needs={})["limit"])


def test_measured_counts_are_those_of_the_engine(demo_store: Path) -> None:
    store = open_store(demo_store).snapshot()
    delivery = measure(store, "unique_opens")["delivery_id"][0]
    told = dict(counts(store, [delivery]).select("metric", "value").rows())
    figures = measure(store, COUNTS, delivery=delivery).row(0, named=True)
    assert told == {name: figures[name] for name in COUNTS if figures[name] is not None}


# --- one commit


def test_a_dry_run_says_the_same_and_changes_nothing(tmp_path: Path) -> None:
    add(tmp_path, **old_and_new())
    files = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    said = forget(tmp_path, before=CUT, keep_counts=True, dry_run=True)
    left = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file() and path.name != ".lock"}
    assert left == files
    done = forget(tmp_path, before=CUT, keep_counts=True)
    assert (said.rows, said.deliveries, said.kept, said.undated) == (
        done.rows,
        done.deliveries,
        done.kept,
        done.undated,
    )
    assert str(said).startswith("Would be removed: 4 rows of message") and said.files == 0 < done.files


class _Failing(Lake):
    """A lake whose n-th change fails, before or after it is done."""

    def __init__(self, location: str, fails_at: int, done: bool) -> None:
        super().__init__(location)
        self.left, self.done = fails_at, done

    def _fail(self, change: Any) -> Any:
        self.left -= 1
        if self.left == 0 and not self.done:
            raise OSError("the disk is full")
        result = change()
        if self.left == 0:
            raise OSError("the disk is full")
        return result

    def _write(self, name: str, rows: pl.DataFrame, **how: Any) -> None:
        self._fail(lambda: super(_Failing, self)._write(name, rows, **how))

    def _put(self, name: str, rows: pl.DataFrame, buckets: Collection[int]) -> None:
        self._fail(lambda: super(_Failing, self)._put(name, rows, buckets))

    def fenced(self, number: int) -> int:
        return self._fail(lambda: super(_Failing, self).fenced(number))


class _FailingFence(forgetting.Fence):
    """A fence that deletes with such a lake."""

    def delete_history(self, name: str) -> int:
        assert isinstance(self.lake, _Failing)
        return self.lake._fail(lambda: super(_FailingFence, self).delete_history(name))


@pytest.mark.parametrize("done", [False, True])
def test_whichever_change_fails_the_store_is_as_it_was_or_as_it_will_be(
    tmp_path: Path, done: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(tmp_path / "given", **two_people())
    before = contents(open_store(tmp_path / "given"))
    shutil.copytree(tmp_path / "given", tmp_path / "whole")
    forget(tmp_path / "whole", recipient="1")
    after = contents(open_store(tmp_path / "whole"))
    seen = set()
    for fails_at in itertools.count(1, 4 if done else 3):
        folder = shutil.copytree(tmp_path / "given", tmp_path / str(fails_at))
        lake = _Failing(str(folder), fails_at, done)
        monkeypatch.setattr(forgetting, "Fence", _FailingFence)
        try:
            removed_from(lake, lambda tables, files: Person(tables, "1", None), None, False)
        except OSError:
            monkeypatch.undo()
            is_committed = len(open_store(folder).loads) == 2
            seen.add(is_committed)
            assert_same(contents(open_store(folder)), after if is_committed else before)
            forget(folder, recipient="1")
        else:
            break
        assert_same(contents(open_store(folder)), after)
        assert not holds_ana(folder)
        shutil.rmtree(folder)
    assert seen == {False, True}


KILLED = """
import sys
from trackkit.runs.retention import forget
print("ready", flush=True)
forget(sys.argv[1], before=sys.argv[2], keep_counts=True)
"""


def test_killed_while_forgetting_the_store_is_old_or_new(tmp_path: Path) -> None:
    open_store(tmp_path / "store").ingest(write_instance(tmp_path / "raw", seed=6, messages=150, hits=800))
    cut = "2026-03-02"
    shutil.copytree(tmp_path / "store", tmp_path / "new")
    start = time.perf_counter()
    forget(tmp_path / "new", before=cut, keep_counts=True)
    whole = time.perf_counter() - start
    old, new = figures(tmp_path / "store"), figures(tmp_path / "new")
    chance, killed = random.Random(7), 0
    for place in range(2):
        folder = tmp_path / f"killed{place}"
        shutil.copytree(tmp_path / "store", folder)
        running = subprocess.Popen([sys.executable, "-c", KILLED, str(folder), cut], stdout=subprocess.PIPE)
        assert running.stdout is not None and running.stdout.readline()
        time.sleep(whole * chance.uniform(0.1, 0.9))
        running.send_signal(signal.SIGKILL)
        killed += running.wait() == -signal.SIGKILL
        assert figures(folder) in (old, new)
        forget(folder, before=cut, keep_counts=True)
        assert figures(folder) == new
    assert killed


def figures(folder: Path) -> dict[str, Any]:
    """What a store tells: its figures, and how many rows it has."""
    store = open_store(folder)
    sizes = {name: rows.height for name, rows in contents(store).items()}
    return {"sizes": sizes, "figures": measure(store).rows(), "kept": sizes.get("kept_count")}


def test_files_loaded_before_are_still_known_and_late_ones_settle(tmp_path: Path) -> None:
    raw = write_instance(tmp_path / "raw", seed=8, messages=60, hits=300)
    store = open_store(tmp_path / "store")
    loaded_at = store.ingest(raw) and store.snapshot().as_of
    forget(tmp_path / "store", recipient="5")
    once = contents(store)
    assert store.snapshot().as_of == loaded_at, "the data is still of the last load"
    again = store.ingest(raw)
    assert again.total("kept") == 0 and all("not read again" in one.assumptions[0] for one in again.sources)
    assert_same(contents(store), once)
    late = tmp_path / "late.log"
    late.write_text("50x1FFFF\t2026-03-02T00:00:00.00\t0\t1\t1\t0\tp\th\t\tagent\t192.0.2.1\n")
    assert open_store(tmp_path / "store").ingest(late).total("kept") == 1


# --- periods and requests


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ('[period]\nevent = "1 year"', "key 'period': there is no such key. Did you mean 'periods'?"),
        ('[periods]\nevnt = "1 year"', "key 'periods.evnt': there is no such key. Did you mean 'event'?"),
        ('[periods]\nevent = "1 moon"', "key 'periods.event': '1 moon' is not a period; say '6 months'"),
        ("[periods]\nevent = 7", "key 'periods.event': '7' is not a period"),
        ('[periods]\nevent = "99999 years"', "leads before all dates"),
        ('periods = "x"', "key 'periods': 'x' is not a section: [periods]"),
        ("[periods", "it is not TOML"),
    ],
)
def test_a_wrong_period_is_named(tmp_path: Path, words: str, said: str) -> None:
    (tmp_path / "r.toml").write_text(words)
    with pytest.raises(RequestError) as error:
        cuts_of(tmp_path / "r.toml", date(2026, 5, 31))
    assert said in str(error.value) and "r.toml" in str(error.value)


def test_periods_are_counted_back_in_the_calendar(tmp_path: Path) -> None:
    (tmp_path / "r.toml").write_text('[periods]\nevent = "3 months"\nmessage = "30 days"\npage_hit = "keep"\n')
    cuts = cuts_of(tmp_path / "r.toml", date(2026, 5, 31))
    assert cuts == {"event": datetime(2026, 2, 28, tzinfo=UTC), "message": datetime(2026, 5, 1, tzinfo=UTC)}
    shipped = cuts_of(Path(__file__).resolve().parents[1] / "retention.toml", date(2026, 8, 31))
    assert shipped["event"] == datetime(2025, 8, 31, tzinfo=UTC) and shipped["message"].month == 2


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({}, "Say what to forget"),
        ({"before": "2026-01-01", "recipient": "1"}, "Say what to forget"),
        ({"before": "yesterday"}, "--before takes a date"),
        ({"before": "2026-01-01", "as_of": "2026-01-01"}, "goes with --retention"),
        ({"recipient": "1", "keep_counts": True}, "what is left is counted"),
        ({"before": "2026-01-01", "out": ["no-such-folder"]}, "no folder of reports"),
        ({"before": "2026-01-01"}, "There is no store"),
    ],
)
def test_a_wrong_request_is_refused(tmp_path: Path, asked: dict[str, Any], said: str) -> None:
    with pytest.raises(RequestError, match=said):
        forget(tmp_path / "nowhere", **asked)
    assert not (tmp_path / "nowhere").exists()


def test_the_command_line(demo_store: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    shutil.copytree(demo_store, store)
    done = trackkit("forget", "--store", store, "--before", "2030-01-01", "--keep-counts", "--dry-run")
    assert done.stdout.startswith("Would be removed: ") and done.stderr == ""
    said = json.loads(trackkit("forget", "--store", store, "--before", "2030-01-01", "--keep-counts", "--json").stdout)
    assert (
        said["rows"]["event"] > 0
        and said["kept"]
        and said["files"] > 0
        and not said["dry_run"]
        and "person" not in said
    )
    refused = trackkit("forget", "--store", store, code=2)
    assert refused.stderr.startswith("Error: Say what to forget") and refused.stderr.count("\n") == 1
    trackkit("init", tmp_path)
    by_file = trackkit("forget", "--store", store, "--retention", tmp_path / "retention.toml", "--as-of", "2030-01-01")
    assert by_file.stdout.startswith("Removed: nothing.")


# --- rendered reports


def test_pages_of_a_forgotten_recipient_and_of_purged_deliveries(demo_store: Path, tmp_path: Path) -> None:
    store, out = tmp_path / "store", tmp_path / "reports"
    shutil.copytree(demo_store, store)
    tables = open_store(store)
    hits = (
        tables.scan("event").filter(pl.col("recipient_id").is_not_null()).group_by("delivery_id", "recipient_id").len()
    )
    delivery, recipient, _ = hits.sort("len", "recipient_id").tail(1).collect().row(0)
    made = run(store, out, ["delivery_summary", "delivery_tracking"], [delivery], jobs=1)
    assert not made.failed
    (out / "delivery_tracking-x-0123abcd.failed.ipynb").write_text(f'"recipient": "{recipient}"')
    (out / "notes.html").write_text("<p>not ours</p>")
    would = forget(store, recipient=recipient, out=[out], dry_run=True)
    assert all((out / page).exists() for page in would.pages)
    report = forget(store, recipient=recipient, out=[out])
    assert (
        sorted(page.split("-")[0] for page in report.pages) == ["delivery_tracking", "delivery_tracking"]
        and would.pages == report.pages
    )
    assert (out / "notes.html").exists() and not any((out / page).exists() for page in report.pages)
    manifest = json.loads((out / "manifest.json").read_text())["reports"]
    assert [entry["report"] for entry in manifest.values()] == ["delivery_summary"]
    assert report.pages[0] not in (out / "index.html").read_text()
    # a page made before a purge is not made anew with less, unless its delivery is named or it is deleted
    forget(store, before="2030-01-01")
    assert run(store, out, ["delivery_summary"], jobs=1, since="2100-01-01").rendered == []
    page = out / next(iter(manifest.values()))["path"]
    stood = without_bar(page.read_text("utf-8"))
    settled = run(store, out, ["delivery_summary"], jobs=1)
    assert f"{delivery}/delivery_summary/en" in settled.unchanged
    assert without_bar(page.read_text("utf-8")) == stood
    gone = forget(store, before="2031-01-01", out=[out])
    assert gone.pages == [], "nothing more was removed, so nothing is concerned"
