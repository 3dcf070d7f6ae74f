"""Two machines that load at once: both land, one after the other; what counts is never a half of anything."""

import subprocess
import sys
from collections.abc import Collection
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from deltalake.exceptions import CommitFailedError

from tests.test_store import add, assert_same, contents, message_of, open_of
from trackkit.store import open_store
from trackkit.store.lake import Lake, OvertakenError

ROUNDS = 4
# A machine of its own as far as the store can tell: nothing is shared but the store.
MACHINE = """
import sys
from trackkit.store import open_store
folder, side, rounds = sys.argv[1], sys.argv[2], int(sys.argv[3])
for number in range(rounds):
    open_store(f"file://{folder}/store").ingest(f"{folder}/{side}/{number}")
"""


def write_rounds(folder: Path, side: str, first: int) -> None:
    """Each round brings a delivery of its own and a hit in one that all share, each with its message and its link."""
    for number in range(ROUNDS):
        place = folder / side / str(number)
        (place / "redir" / "log").mkdir(parents=True)
        own, line = first + number, "50x{:X}\t2026-01-01T00:{:02}:00.00\t{:x}\t{:x}\t{:x}\t0\tp\th\t\tagent\t1.2.3.4\n"
        hits = [(own * 10, number, own, own, own), (own * 10 + 1, number, own + 5000, 7, 1)]
        (place / "redir" / "log" / "a.log").write_text("".join(line.format(*hit) for hit in hits))
        rows = f"{own},{own},1,2026-01-01 00:00:00\n{own + 5000},7,1,2026-01-01 00:00:00\n"
        (place / "broadlog.csv").write_text(f"iBroadLogId,iDeliveryId,iStatus,tsEvent\n{rows}")
        (place / "tracking_url.csv").write_text(f"iTrackingUrlId,iDeliveryId,iType\n{own},{own},1\n")


def test_two_machines_load_at_once_for_many_rounds(tmp_path: Path) -> None:
    write_rounds(tmp_path, "one", 100)
    write_rounds(tmp_path, "other", 1100)
    running = []
    for side in ("one", "other"):
        own = tmp_path / f"tmp_{side}"  # the lock of a store under a URL lies in the machine's own folder
        own.mkdir()
        command = [sys.executable, "-c", MACHINE, str(tmp_path), side, str(ROUNDS)]
        running.append(subprocess.Popen(command, env={"TMPDIR": str(own)}, stdout=subprocess.PIPE))
    told = [machine.communicate(timeout=500)[0] for machine in running]
    assert [machine.returncode for machine in running] == [0, 0], told
    both = open_store((tmp_path / "store").as_uri())
    assert [load["number"] for load in both.loads] == list(range(1, 2 * ROUNDS + 1))
    alone = open_store(tmp_path / "alone")
    alone.ingest(*(tmp_path / side / str(number) for side in ("one", "other") for number in range(ROUNDS)))
    places = ["source_file", "source_row"]
    one, other = (
        {name: rows.drop(places, strict=False).sort(pl.all().cast(pl.String)) for name, rows in contents(store).items()}
        for store in (both, alone)
    )
    assert_same(one, other)


class _Between(Lake):
    """A lake in which another machine does something just before the n-th write."""

    def __init__(self, location: str, at: int, act: Any) -> None:
        super().__init__(location)
        self.left, self.act = at, act

    def _write(self, name: str, rows: pl.DataFrame, **how: Any) -> None:
        self._count()
        super()._write(name, rows, **how)

    def _put(self, name: str, rows: pl.DataFrame, buckets: Collection[int]) -> None:
        self._count()
        super()._put(name, rows, buckets)

    def _count(self) -> None:
        self.left -= 1
        if self.left == 0:
            self.act()


@pytest.mark.parametrize("at", range(1, 6))
def test_wherever_another_load_comes_between_it_wins_and_the_loser_changed_nothing(tmp_path: Path, at: int) -> None:
    first = {"event": [open_of("1", "7", "a")], "message": [message_of("a", "7")]}
    won = {"event": [open_of("2", "7", "b"), open_of("3", "8", "c")], "message": [message_of("b", "7")]}
    lost = {"event": [open_of("4", "7", "a", 900), open_of("5", "9", "d")], "message": [message_of("d", "9")],
            "delivery": [{"delivery_id": "9", "label": "Nine"}]}  # fmt: skip
    add(tmp_path / "store", **first)
    expected = tmp_path / "expected"
    add(expected, **first)
    add(expected, **won)
    lake = _Between(str(tmp_path / "store"), at, lambda: add(tmp_path / "store", **won))
    with pytest.raises((OvertakenError, CommitFailedError)):
        add(tmp_path / "store", lake, **lost)
    assert_same(contents(open_store(tmp_path / "store")), contents(open_store(expected)))
    add(tmp_path / "store", **lost)
    add(expected, **lost)
    assert_same(contents(open_store(tmp_path / "store")), contents(open_store(expected)))
    assert [load["number"] for load in open_store(tmp_path / "store").loads] == [1, 2, 3]


def test_a_load_that_another_overtakes_says_what_to_do(tmp_path: Path) -> None:
    sentence = str(OvertakenError(str(tmp_path)))
    assert sentence.startswith("Another load wrote to ") and sentence.endswith("load again.")
    assert OvertakenError(str(tmp_path)).exit_code == 2
