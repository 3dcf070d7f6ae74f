"""Machines that share nothing but a store under a URL: whoever comes first, nothing committed is lost, no figure wrong.

Each machine is a process with a folder for temporary files of its own, the store a folder named by a URL or a bucket.
"""

import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tests.bucket import Bucket, serving
from tests.test_store import add, assert_same, contents, message_of, open_of
from trackkit.engine.measure import measure
from trackkit.errors import RequestError
from trackkit.runs import retention
from trackkit.store import Store, answered, locking, open_store
from trackkit.store.forget import Fence, listed, sweep
from trackkit.store.lake import Lake, OvertakenError, among_others
from trackkit.store.locking import alone

ROOT = Path(__file__).resolve().parents[1]
ROUNDS = int(os.environ.get("TRACKKIT_RACES", "1"))  # of each race; a soak asks for more
# A machine does what it is told, a line at a time, after a part of a while, so that each comes first sometimes.
MACHINE = """
import json, random, sys, time, traceback
from trackkit.runs import retention
from trackkit.store import open_store
from trackkit.store.lake import Lake
quick = Lake.own_version
for line in sys.stdin:
    folder, store, head, act = json.loads(line)
    time.sleep(head * random.random())
    try:
        exec(act)
        said = ""
    except BaseException:
        said = traceback.format_exc()
    Lake.own_version = quick
    print("told: " + json.dumps(said), flush=True)
"""
LOAD = "open_store(store).ingest(f'{folder}/new')"
LOAD_MORE = "open_store(store).ingest(f'{folder}/more')"
FORGET = "retention.forget(store, before='2026-01-01')"
FORGET_KEEPING = "retention.forget(store, before='2026-01-01', keep_counts=True)"
FORGET_ONE = "retention.forget(store, recipient='7')"
SET = "open_store(store).set('timezone', 'Europe/Paris')"
# As a load of millions of rows would be, between what it writes and what it looks at.
SLOWLY = """
Lake.own_version = lambda lake, name: (time.sleep(0.1), quick(lake, name))[1]
"""
MEASURE = """
from trackkit.engine.measure import measure
from trackkit.store import answered
for _ in range(8):
    found = answered(open_store(store), lambda tables: measure(tables, "total_clicks"))
    assert found.rows() in ({0}, {1}), found
"""


def _logs(place: Path, year: int, deliveries: range) -> Path:
    """Hits of some deliveries, each with its message, its link and who received it."""
    (place / "redir" / "log").mkdir(parents=True)
    line = "50x{:X}\t{}-02-01T00:{:02}:00.00\t{:x}\t{:x}\t{:x}\t0\tp\th\t\tagent\t1.2.3.4\n"
    hits = [line.format(one * 10 + n, year, n, one * 10 + n, one, one) for one in deliveries for n in range(5)]
    (place / "redir" / "log" / "a.log").write_text("".join(hits))
    rows = [f"{one * 10 + n},{one},1,{year}-02-01 00:00:00,{n + 5}\n" for one in deliveries for n in range(5)]
    (place / "broadlog.csv").write_text("iBroadLogId,iDeliveryId,iStatus,tsEvent,iRecipientId\n" + "".join(rows))
    links = [f"{one},{one},1\n" for one in deliveries]
    (place / "tracking_url.csv").write_text("iTrackingUrlId,iDeliveryId,iType\n" + "".join(links))
    return place


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a store, its hits of 2025 and 2026, and what is loaded into it meanwhile."""
    folder = tmp_path_factory.mktemp("machines")
    old, now = _logs(folder / "old", 2025, range(1, 4)), _logs(folder / "now", 2026, range(3, 6))
    open_store(folder / "store").ingest(old, now)
    _logs(folder / "new", 2026, range(5, 8))
    _logs(folder / "more", 2026, range(7, 9))
    return folder


@pytest.fixture(scope="module")
def bucket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bucket]:
    """An object store."""
    with serving(tmp_path_factory.mktemp("bucket")) as made, pytest.MonkeyPatch.context() as patch:
        for name, value in made.environment.items():
            patch.setenv(name, value)
        yield made


# How far a load has come when something else happens: in a bucket every place in a soak, else one.
FAR = [
    pytest.param(place, at, id=f"{place}-{at}")
    for place, at in itertools.product(("folder", "bucket"), (1, 3, 5))
    if place == "folder" or ROUNDS > 1 or at == 3
]


@pytest.fixture(params=["folder", "bucket"])
def placed(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[Path, str], str]:
    """`placed(store, name)`: a copy of a store under a URL of that name."""
    if request.param == "bucket":
        return request.getfixturevalue("bucket").upload

    def copied(store: Path, name: str) -> str:
        return Path(shutil.copytree(store, tmp_path / "stores" / name)).as_uri()

    return copied


def _machine(folder: Path, side: str, *told: str) -> subprocess.Popen[str]:
    own = folder / f"tmp_{side}"
    own.mkdir(exist_ok=True)
    environment = os.environ | {"TMPDIR": str(own), "PYTHONPATH": os.environ.get("TRACKKIT_RACES_OF", str(ROOT))}
    log = (folder / f"{side}.log").open("w")
    command = [sys.executable, "-c", *told]
    return subprocess.Popen(
        command, cwd=folder, env=environment, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log
    )


@pytest.fixture(scope="module")
def machines(tmp_path_factory: pytest.TempPathFactory, bucket: Bucket) -> Iterator[list[subprocess.Popen[str]]]:
    """Two machines that do what they are told, race after race."""
    folder = tmp_path_factory.mktemp("two")
    running = [_machine(folder, side, MACHINE) for side in ("one", "other")]
    yield running
    for machine in running:
        machine.communicate(timeout=60)


def _tell(machine: subprocess.Popen[str], *told: object) -> None:
    """Let a machine do an act: folder of logs, store, seconds of which a random part passes first, act."""
    assert machine.stdin
    machine.stdin.write(json.dumps(told) + "\n")
    machine.stdin.flush()


def _answer(machine: subprocess.Popen[str]) -> str:
    """What a machine says of its act: nothing, or how it failed."""
    assert machine.stdout
    killer = threading.Timer(280, machine.kill)
    killer.start()
    try:
        said = next((line for line in machine.stdout if line.startswith("told: ")), None)
    finally:
        killer.cancel()
    return "the machine is gone" if said is None else str(json.loads(said.removeprefix("told: ")))


def _race(
    machines: list[subprocess.Popen[str]], url: str, acts: Sequence[str], heads: Sequence[float], given: Path
) -> list[str]:
    """Let both machines do their act at once; return what failed."""
    for machine, act, head in zip(machines, acts, heads, strict=True):
        _tell(machine, str(given), url, head, act)
    return [said for said in map(_answer, machines) if said]


def _figures(found: dict[str, pl.DataFrame]) -> dict[str, pl.DataFrame]:
    """What a store holds, but for when it was forgotten."""
    return {name: rows.drop("purged_at", "measured_at", strict=False) for name, rows in found.items() if rows.height}


def _in_turn(folder: Path, given: Path, *acts: str) -> dict[str, pl.DataFrame]:
    """What the store holds when one does this after the other."""
    store = str(shutil.copytree(given / "store", folder / "store"))
    for act in acts:
        exec(
            act.replace(SLOWLY, ""),
            {"store": store, "folder": str(given), "open_store": open_store, "retention": retention},
        )
    return _figures(contents(open_store(store)))


@pytest.fixture(scope="module")
def in_turn(tmp_path_factory: pytest.TempPathFactory, given: Path) -> Callable[..., dict[str, pl.DataFrame]]:
    """What the store holds when one does this after the other, worked out once."""
    return cache(lambda *acts: _in_turn(tmp_path_factory.mktemp("turn"), given, *acts))


RACES = {
    "load and forget": (LOAD, FORGET),
    "loads and removals again and again": (f"{SLOWLY}{LOAD}; {LOAD_MORE}", "; ".join([FORGET] * 4)),
    "load and forget, counts kept": (LOAD, FORGET_KEEPING),
    "load and forget one person": (LOAD_MORE, FORGET_ONE),
    "two loads": (LOAD, LOAD_MORE),
    "two removals": (FORGET, FORGET_ONE),
    "forget and a setting": (FORGET, SET),
}


def _races() -> Iterator[Any]:
    """Each race in a folder in either order; in a bucket in turn, but in a soak."""
    orders = ("in this order", "the other way round")
    for number, race in enumerate(RACES):
        for first, place in itertools.product((0, 1), ("folder", "bucket")):
            if place == "folder" or ROUNDS > 1 or first == number % 2:
                yield pytest.param(place, race, first, id=f"{place}-{race}-{orders[first]}")


@pytest.mark.parametrize(("placed", "race", "first"), list(_races()), indirect=["placed"])
def test_whatever_two_machines_do_at_once_the_store_is_as_if_one_had_waited(
    placed: Callable[[Path, str], str],
    tmp_path: Path,
    given: Path,
    machines: list[subprocess.Popen[str]],
    in_turn: Callable[..., dict[str, pl.DataFrame]],
    race: str,
    first: int,
) -> None:
    acts = RACES[race]
    heads = (0.0, 0.3) if first == 0 else (0.3, 0.0)
    expected = [in_turn(*acts), in_turn(*acts[::-1])]
    for number in range(ROUNDS):
        url = placed(given / "store", f"{tmp_path.name}-{number}")
        assert _race(machines, url, acts, heads, given) == []
        found = _figures(contents(open_store(url)))
        assert _same(found, expected[0]) or _same(found, expected[1]), url
        assert len(open_store(url).loads) == (4 if "again" in race else 3)
        _all_is_there(url)


def test_who_reads_while_another_machine_forgets_has_the_figures_of_before_or_after(
    placed: Callable[[Path, str], str], tmp_path: Path, given: Path, machines: list[subprocess.Popen[str]]
) -> None:
    after = Path(shutil.copytree(given / "store", tmp_path / "after"))
    retention.forget(after, before="2026-01-01")
    known = [measure(open_store(one), "total_clicks").rows() for one in (given / "store", after)]
    assert known[0] != known[1]
    for number in range(ROUNDS):
        url = placed(given / "store", f"{tmp_path.name}-{number}")
        assert _race(machines, url, (MEASURE.format(*known), FORGET), (0.0, 0.3), given) == []
        assert measure(open_store(url), "total_clicks").rows() == known[1]


def test_a_question_whose_files_are_deleted_meanwhile_is_asked_again(
    placed: Callable[[Path, str], str], tmp_path: Path, given: Path
) -> None:
    url, asked = placed(given / "store", f"{tmp_path.name}-again"), []
    store = open_store(url)

    def clicks(now: Store) -> list[tuple[Any, ...]]:
        asked.append(now.files("event"))
        if len(asked) == 1:
            retention.forget(url, before="2026-01-01")
        return measure(now, "total_clicks").rows()

    assert answered(store, clicks) == measure(open_store(url), "total_clicks").rows()
    assert len(asked) == 2 and asked[0] != asked[1]

    def missing(now: Store) -> None:
        raise FileNotFoundError("of whatever else")

    with pytest.raises(FileNotFoundError, match="whatever else"):
        answered(store, missing)


def _same(one: dict[str, pl.DataFrame], other: dict[str, pl.DataFrame]) -> bool:
    loose = {"load_id", "source_row"}
    return one.keys() == other.keys() and all(
        rows.drop(loose, strict=False).equals(other[name].drop(loose, strict=False)) for name, rows in one.items()
    )


def _all_is_there(url: str) -> None:
    """Every file that the committed versions name can be read, the store's own tables too."""
    lake = Lake(url)
    commit = lake.last_commit()
    assert commit is not None
    for name, version in commit.versions.items():
        lake.scan(name, version).collect()


FIRST = {"event": [open_of("1", "7", "a", recipient_id="1"), open_of("2", "8", "b")], "message": [message_of("a", "7")]}
NEXT = {"event": [open_of("3", "7", "a", 900), open_of("4", "9", "d")], "message": [message_of("d", "9")],
        "delivery": [{"delivery_id": "9", "label": "Nine"}]}  # fmt: skip


class _Between(Lake):
    """A lake of a machine that others take for dead: something happens just before its n-th write."""

    def __init__(self, location: str, at: int, act: Callable[[], Any]) -> None:
        super().__init__(location)
        self.left, self.act = at, act

    def _count(self) -> None:
        self.left -= 1
        if self.left == 0:
            self.act()

    def _write(self, name: str, rows: pl.DataFrame, **how: Any) -> None:
        self._count()
        super()._write(name, rows, **how)

    def replace(self, name: str, parts: Any, buckets: Any) -> None:
        self._count()
        super().replace(name, parts, buckets)


@pytest.mark.parametrize(("placed", "at"), FAR, indirect=["placed"])
def test_a_removal_in_the_middle_of_a_load_refuses_it_and_loses_nothing(
    placed: Callable[[Path, str], str], tmp_path: Path, at: int
) -> None:
    add(tmp_path / "given", **FIRST)
    url = placed(tmp_path / "given", f"middle{at}")
    with pytest.raises((OvertakenError, FileNotFoundError)):
        add(tmp_path, _Between(url, at, lambda: retention.forget(url, recipient="1")), **NEXT)
    retention.forget(tmp_path / "given", recipient="1")
    assert_same(contents(open_store(url)), contents(open_store(tmp_path / "given")))
    _all_is_there(url)
    add(tmp_path, Lake(url), **NEXT)
    add(tmp_path / "given", **NEXT)
    assert_same(contents(open_store(url)), contents(open_store(tmp_path / "given")))


@pytest.mark.parametrize(("placed", "at"), FAR, indirect=["placed"])
@pytest.mark.parametrize("dies", [False, True], ids=["lands", "dies"])
def test_a_load_in_the_middle_of_the_clearing_away_lands_or_leaves_what_was_committed(
    placed: Callable[[Path, str], str], tmp_path: Path, at: int, dies: bool
) -> None:
    add(tmp_path / "given", **FIRST)
    url = placed(tmp_path / "given", f"clearing{at}{dies}")
    clearing = Lake(url)
    fence = Fence(clearing)

    def clear() -> None:
        for name in (*clearing.present(), "load"):
            fence.delete_history(name)
        if dies:
            raise SystemExit

    try:
        add(tmp_path, _Between(url, at, clear), **NEXT)
    except SystemExit:
        _all_is_there(url)
        assert_same(contents(open_store(url)), contents(open_store(tmp_path / "given")))
        add(tmp_path, Lake(url), **NEXT)
    add(tmp_path / "given", **NEXT)
    _all_is_there(url)
    assert_same(contents(open_store(url)), contents(open_store(tmp_path / "given")))


def test_a_removal_that_another_commit_overtakes_begins_again_on_top_of_it(tmp_path: Path) -> None:
    from trackkit.store.forget import _removed
    from trackkit.store.removal import Person

    add(tmp_path / "given", **FIRST)
    url = Path(shutil.copytree(tmp_path / "given", tmp_path / "store")).as_uri()
    lake = _Between(url, 2, lambda: add(tmp_path, Lake(url), **NEXT))
    rule = lambda tables, files: Person(tables, "1", None)  # noqa: E731
    among_others(lake, lambda: _removed(lake, rule, None, False))
    add(tmp_path / "given", **NEXT)
    retention.forget(tmp_path / "given", recipient="1")
    assert_same(contents(open_store(url)), contents(open_store(tmp_path / "given")))


def test_what_a_killed_load_left_goes_with_a_removal(placed: Callable[[Path, str], str], tmp_path: Path) -> None:
    add(tmp_path / "given", **FIRST)
    url = placed(tmp_path / "given", "killed")

    def die() -> None:
        raise SystemExit

    with pytest.raises(SystemExit):
        add(tmp_path, _Between(url, 5, die), **NEXT)
    lake = Lake(url)
    written = {name: lake.open(name).version() for name in lake.present()}
    assert any(version > lake.last_commit().versions.get(name, -1) for name, version in written.items())
    retention.forget(url, before="2020-01-01")
    commit = lake.last_commit()
    for name in lake.present():
        kept = set(lake.listed(name, commit.versions[name])["path"]) if name in commit.versions else set()
        assert {path for path in listed(f"{url}/{name}") if not path.startswith("_delta_log")} == kept


def test_of_files_of_the_very_second_of_a_fence_only_those_of_before_it_go(tmp_path: Path) -> None:
    """A bucket's clock shows seconds: a load that begins in the fence's has files of the same instant."""
    at = datetime(2026, 1, 1, 12, tzinfo=UTC)
    for name, late in (("left", 0), ("needed", 0), ("older", -1), ("new", 0), ("newer", 1)):
        (tmp_path / name).write_text("rows")
        os.utime(tmp_path / name, (at.timestamp() + late,) * 2)
    known = {"left", "needed"}  # `older` is of a load that wrote between the listing and the fence
    assert sweep(tmp_path.as_uri(), {"needed"}, at, known, lambda: None) == ({"needed", "new", "newer"}, 2)


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leases of seconds."""
    for name, seconds in (("BEAT", 0.2), ("SILENCE", 2.0), ("LOOK", 0.05), ("_MARGIN", 0.5)):
        monkeypatch.setattr(locking, name, seconds)


def test_a_store_is_held_by_one_machine_and_named_to_who_waits_too_long(
    placed: Callable[[Path, str], str], tmp_path: Path, short: None
) -> None:
    add(tmp_path / "given", **FIRST)
    url = placed(tmp_path / "given", "held")
    order: list[str] = []
    with locking.Lease(url, "one").held(1):
        with pytest.raises(RequestError, match=r"Another machine \(.*process \d+\) has been writing to .* for 3 sec"):
            locking.Lease(url, "other").take(3)  # longer than a silence: who holds it gives signs of life
        waiting = threading.Thread(target=lambda: [locking.Lease(url, "other").take(9), order.append("taken")])
        waiting.start()
        time.sleep(0.5)
        order.append("let go")
    waiting.join()
    assert order == ["let go", "taken"]


def test_who_died_is_told_by_silence_on_another_machine_and_at_once_on_its_own(
    placed: Callable[[Path, str], str], tmp_path: Path, short: None
) -> None:
    add(tmp_path / "given", **FIRST)
    url = placed(tmp_path / "given", "dead")
    locking.Lease(url, "one").take(1)  # and never gives a sign of life
    locking.Lease(url, "one").take(0)
    lost = locking.Lease(url, "one")
    lost.take(0)
    time.sleep(1.6)
    lost.require()  # late, but nobody took it
    began = time.monotonic()
    locking.Lease(url, "other").take(5)
    assert 1.9 < time.monotonic() - began < 5
    lost.keep()  # finds that it was taken
    with pytest.raises(locking.LostError, match="no sign of life for 2 seconds"):
        lost.require()


def test_who_lost_the_store_neither_commits_nor_deletes(tmp_path: Path) -> None:
    add(tmp_path / "store", **FIRST)
    before = sorted((tmp_path / "store").rglob("*.parquet"))
    lake = Lake((tmp_path / "store").as_uri())

    def lost() -> None:
        raise locking.LostError(lake.location)

    lake.require_hold = lost
    with pytest.raises(locking.LostError):
        add(tmp_path, lake, **NEXT)
    with pytest.raises(locking.LostError):
        Fence(lake)
    assert set(before) <= set((tmp_path / "store").rglob("*.parquet"))
    assert len(open_store(tmp_path / "store").loads) == 1


def test_a_load_that_is_killed_holding_the_store_is_in_nobodys_way(given: Path, tmp_path: Path, short: None) -> None:
    url = Path(shutil.copytree(given / "store", tmp_path / "store0")).as_uri()
    machine = _machine(tmp_path, "one", MACHINE)
    _tell(machine, str(given), url, 0, f"{SLOWLY.replace('0.1', '30')}{LOAD}")
    until = time.monotonic() + 60
    while not any(Lake(url).open("load").version() or Lake(url).open(name).version() > version
                  for name, version in Lake(url).last_commit().versions.items()):  # fmt: skip
        assert machine.poll() is None and time.monotonic() < until
        time.sleep(0.05)
    machine.send_signal(signal.SIGKILL)
    machine.wait()
    assert open_store(url).forget(before={"event": datetime(2026, 1, 1, tzinfo=UTC)}).rows["event"] == 15
    _all_is_there(url)
    with alone(Lake(url)), alone(Lake(given.as_uri() + "/elsewhere")):
        pass


def test_a_folder_named_by_its_path_and_by_a_url_is_one_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locking, "LOCK_SECONDS", 0.3)
    add(tmp_path / "store", **FIRST)
    for one, other in itertools.permutations((str(tmp_path / "store"), (tmp_path / "store").as_uri())):
        with alone(Lake(one)), pytest.raises(RequestError, match="Another load has been writing"), alone(Lake(other)):
            pass
