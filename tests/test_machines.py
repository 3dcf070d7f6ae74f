"""Machines that share nothing but a store under a URL: whoever comes first, nothing committed is lost, no figure wrong.

Each machine is a process with a folder for temporary files of its own, the store a folder named by a URL or a bucket.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import polars as pl
import pytest

from tests.bucket import Bucket, serving
from tests.test_store import contents
from trackkit import retention
from trackkit.store import open_store
from trackkit.store.lake import Lake

ROOT = Path(__file__).resolve().parents[1]
ROUNDS = int(os.environ.get("TRACKKIT_RACES", "1"))  # of each race; a soak asks for more
# What one machine does in each round, once the other is there too: after a while, so that each comes first sometimes.
MACHINE = """
import random, sys, time
from pathlib import Path
from trackkit import retention
from trackkit.store import open_store
folder, url, side, other, head, rounds, act = sys.argv[1:]
for number in range(int(rounds)):
    store = f"{url}{number}"
    (Path(folder) / f"{side}{number}").touch()
    while not (Path(folder) / f"{other}{number}").exists():
        time.sleep(0.005)
    time.sleep(float(head) * random.random())
    exec(act)
    print(number, flush=True)
"""
LOAD = "open_store(store).ingest(f'{folder}/new')"
LOAD_MORE = "open_store(store).ingest(f'{folder}/more')"
FORGET = "retention.forget(store, before='2026-01-01')"
FORGET_KEEPING = "retention.forget(store, before='2026-01-01', keep_counts=True)"
FORGET_ONE = "retention.forget(store, recipient='7')"
SET = "open_store(store).set('timezone', 'Europe/Paris')"
MEASURE = """
import polars as pl
from trackkit.engine import measure
from trackkit.store import asked
for _ in range(6):
    found = asked(open_store(store), lambda tables: measure(tables, ["hits", "opens"], "delivery_id"))
    assert found.rows() in (WITH, WITHOUT), found
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


@pytest.fixture(params=["folder", "bucket"])
def placed(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[Path, str], str]:
    """`placed(store, name)`: a copy of a store under a URL of that name."""
    if request.param == "bucket":
        return request.getfixturevalue("bucket").upload

    def copied(store: Path, name: str) -> str:
        return Path(shutil.copytree(store, tmp_path / "stores" / name)).as_uri()

    return copied


def _machine(folder: Path, side: str, *told: str) -> subprocess.Popen[bytes]:
    own = folder / f"tmp_{side}"
    own.mkdir(exist_ok=True)
    environment = os.environ | {"TMPDIR": str(own), "PYTHONPATH": os.environ.get("TRACKKIT_RACES_OF", str(ROOT))}
    return subprocess.Popen(
        [sys.executable, "-c", *told], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )


def _race(folder: Path, url: str, one: tuple[str, float], other: tuple[str, float], given: Path) -> list[str]:
    """Let two machines do their act in each round, each after a random part of its seconds; return what failed."""
    for name in ("new", "more"):
        (folder / name).symlink_to(given / name)
    sides = {"one": ("other", *one), "other": ("one", *other)}
    running = [
        _machine(folder, side, MACHINE, str(folder), url, side, away, str(head), str(ROUNDS), act)
        for side, (away, act, head) in sides.items()
    ]
    said = [machine.communicate(timeout=280)[0].decode() for machine in running]
    return [text for machine, text in zip(running, said, strict=True) if machine.returncode]


def _figures(found: dict[str, pl.DataFrame]) -> dict[str, pl.DataFrame]:
    """What a store holds, but for when it was forgotten."""
    return {name: rows.drop("purged_at", "measured_at", strict=False) for name, rows in found.items() if rows.height}


def _in_turn(folder: Path, given: Path, *acts: str) -> dict[str, pl.DataFrame]:
    """What the store holds when one does this after the other."""
    store = str(shutil.copytree(given / "store", folder / f"turn{len(list(folder.glob('turn*')))}"))
    for act in acts:
        exec(act, {"store": store, "folder": str(given), "open_store": open_store, "retention": retention})
    return _figures(contents(open_store(store)))


RACES = {
    "load and forget": (LOAD, FORGET),
    "loads and removals again and again": (f"{LOAD}; {LOAD_MORE}", "; ".join([FORGET] * 4)),
    "load and forget, counts kept": (LOAD, FORGET_KEEPING),
    "load and forget one person": (LOAD_MORE, FORGET_ONE),
    "two loads": (LOAD, LOAD_MORE),
    "two removals": (FORGET, FORGET_ONE),
    "forget and a setting": (FORGET, SET),
}


@pytest.mark.parametrize("first", [0, 1], ids=["in this order", "the other way round"])
@pytest.mark.parametrize("race", RACES)
def test_whatever_two_machines_do_at_once_the_store_is_as_if_one_had_waited(
    placed: Callable[[Path, str], str], tmp_path: Path, given: Path, race: str, first: int
) -> None:
    acts = RACES[race]
    urls = [placed(given / "store", f"{tmp_path.name}-{number}") for number in range(ROUNDS)]
    heads = (0.0, 0.3) if first == 0 else (0.3, 0.0)
    failed = _race(tmp_path, urls[0][:-1], (acts[0], heads[0]), (acts[1], heads[1]), given)
    expected = [_in_turn(tmp_path, given, *order) for order in (acts, acts[::-1])]
    assert failed == []
    for url in urls:
        found = _figures(contents(open_store(url)))
        assert _same(found, expected[0]) or _same(found, expected[1]), url
        assert len(open_store(url).loads) == (4 if "again" in race else 3)
        _all_is_there(url)


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
