"""The verdict on a load, and how it is told: in its report, in the manifest of a run, on a page, as an exit code."""

import json
import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from trackkit.quality import quality, verdict
from trackkit.report import render
from trackkit.runs.due import run
from trackkit.store import Store, open_store

MONDAY = datetime(2026, 11, 2, 9)


def lines(first: int, count: int, start: datetime, server: str = "50", delivery: int = 1, step: int = 200) -> str:
    """Raw lines with log ids one after the other, `step` seconds apart: by default too few in an hour to be missed."""
    return "".join(
        f"{server}x{number:016X}\t{start + place * timedelta(seconds=step):%Y-%m-%dT%H:%M:%S}.00\t{number:x}"
        f"\t{delivery:x}\t1\t0\t\th\t-\tMozilla\t192.0.2.1\n"
        for place, number in enumerate(range(first, first + count))
    )


def loaded(store: Store, path: Path, text: str) -> dict[str, Any]:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    report = store.ingest(str(path))
    assert report.is_settled
    assert report.to_dict()["quality"] == store.snapshot().loads[-1]["report"]["quality"]
    return report.quality


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(str(tmp_path / "store"))


def reasons(found: dict[str, Any]) -> dict[str, tuple]:
    return {one["check"]: (one["verdict"], one["count"], one["total"]) for one in found["reasons"]}


def test_a_clean_load_passes_and_repeating_it_too(store: Store, tmp_path: Path) -> None:
    found = loaded(store, tmp_path / "a.log", lines(1000, 600, MONDAY))
    assert (found["verdict"], found["reasons"], found["servers"], found["gaps"]) == ("pass", [], ["50"], [])
    again = store.ingest(str(tmp_path / "a.log"))
    assert again.quality["verdict"] == "pass" and len(store.snapshot().loads) == 1
    assert str(again).splitlines()[-1] == "quality: pass"


def test_a_file_that_was_never_forwarded_is_missed_until_it_comes(store: Store, tmp_path: Path) -> None:
    days = [MONDAY + timedelta(days=2 * day) for day in range(4)]
    assert loaded(store, tmp_path / "1.log", lines(1000, 500, days[0]))["verdict"] == "pass"
    third = loaded(store, tmp_path / "3.log", lines(2000, 500, days[2], delivery=3))
    assert reasons(third) == {"gap_in_sequence": ("fail", 500, 1500)}
    (gap,) = third["gaps"]
    assert gap["server"] == "50" and gap["missing"] == 500
    assert gap["first"] == "2026-11-03T12:43:20+00:00" and gap["last"] == "2026-11-06T09:00:00+00:00"
    assert "500 of 1,500" in third["reasons"][0]["reason"] and "quality: fail" in str(store_report(store))
    # the next day is whole: an old gap is not told again, but it is known
    fourth = loaded(store, tmp_path / "4.log", lines(2500, 500, days[3], delivery=4))
    assert fourth["verdict"] == "pass" and fourth["gaps"] == third["gaps"]
    tables = store.snapshot()
    said = {key: quality(tables, key).filter(check="gap_in_sequence").row(0)[1:3] for key in ("1", "3", "4")}
    assert said == {"1": ("pass", 0), "3": ("warn", 500), "4": ("pass", 0)}
    assert verdict(quality(tables)) == "fail"
    # the second day's arrives at last
    assert loaded(store, tmp_path / "2.log", lines(1500, 500, days[1], delivery=2))["verdict"] == "pass"
    assert verdict(quality(store.snapshot())) == "pass"
    assert [verdict(quality(store.snapshot(), key)) for key in "1234"] == ["pass"] * 4


def store_report(store: Store) -> Any:
    from trackkit.sources.report import LoadReport

    return LoadReport.from_dict(store.snapshot().loads[-1]["report"])


def test_the_same_lines_under_another_name_are_told_and_count_once(store: Store, tmp_path: Path) -> None:
    text = lines(1, 400, MONDAY)
    loaded(store, tmp_path / "a.log", text)
    again = loaded(store, tmp_path / "b.log", text + lines(401, 100, MONDAY + timedelta(hours=2)))
    assert reasons(again) == {"duplicated_forwarding": ("warn", 400, 500)}
    assert again["reasons"][0]["examples"] == ["b.log"]
    assert store.scan("event").collect().height == 500


def test_an_export_loaded_before_makes_no_raw_line_a_second_forwarding(store: Store, tmp_path: Path) -> None:
    rows = "".join(f"{n},2026-11-02 09:00:00,1,{n},1\n" for n in range(1, 401))
    (tmp_path / "tracking_log.csv").write_text(f"iTrackingLogId,tsLog,iUrlId,iBroadLogId,iDeliveryId\n{rows}")
    assert store.ingest(str(tmp_path / "tracking_log.csv")).quality["verdict"] == "pass"
    assert loaded(store, tmp_path / "a.log", lines(1, 400, MONDAY))["verdict"] == "pass"


def test_lines_that_cannot_be_read(store: Store, tmp_path: Path) -> None:
    found = loaded(store, tmp_path / "a.log", lines(1, 100, MONDAY) + "nonsense\n" * 9)
    assert found["verdict"] == "pass", "nine lines prove nothing"
    found = loaded(store, tmp_path / "b.log", lines(101, 80, MONDAY + timedelta(hours=1)) + "nonsense\n" * 20)
    assert reasons(found) == {"corrupt_lines": ("fail", 20, 100)}


def test_a_platform_that_logs_every_hit_twice(store: Store, tmp_path: Path) -> None:
    twice = lines(1, 300, MONDAY) + lines(1, 300, MONDAY + timedelta(seconds=2), server="51")
    assert reasons(loaded(store, tmp_path / "a.log", twice)) == {"repeated_opens": ("warn", 300, 600)}


def test_clean_loads_worsen_nothing(store: Store, tmp_path: Path) -> None:
    before: dict[str, str] = {}
    for number in range(1, 6):
        start = MONDAY + timedelta(hours=7 * number)
        servers = [lines(at + 200 * number, 200, start, name, number) for name, at in (("50", 1), ("51", 90_000))]
        assert loaded(store, tmp_path / f"{number}.log", "".join(servers))["reasons"] == []
        now = {str(key): verdict(quality(store.snapshot(), str(key))) for key in range(1, number + 1)}
        assert set(now.values()) == {"pass"} and before.items() <= now.items()
        before = now


def test_a_wrong_list_of_thresholds_stops_a_load_before_it_begins(store: Store, tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "reports_templates").mkdir()
    (tmp_path / "reports_templates/quality.toml").write_text("[undated]\nwarn = 2\n")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "trackkit.toml").touch()
    (tmp_path / "a.log").write_text(lines(1, 30, MONDAY))
    with pytest.raises(Exception, match=r"quality\.toml, key"):
        store.ingest(str(tmp_path / "a.log"))
    assert not (tmp_path / "store").exists()


# ---- told -----------------------------------------------------------------------------------------------------------


def trackkit(*arguments: object, code: int = 0) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "trackkit", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280)
    assert done.returncode == code, done.stderr
    return done


@pytest.fixture(scope="module")
def gapped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a log that has a gap in time and in its ids."""
    folder = tmp_path_factory.mktemp("gapped")
    text = lines(1, 400, MONDAY, step=10) + lines(701, 400, MONDAY + timedelta(hours=5), step=10)
    (folder / "a.log").write_text(text, encoding="utf-8")
    return folder


def test_fail_on_lets_the_data_in_and_leaves_with_five(gapped: Path, tmp_path: Path) -> None:
    asked = ["ingest", gapped / "a.log", "--store", tmp_path / "store", "--json"]
    done = trackkit(*asked, "--fail-on", "warn", code=5)
    told = json.loads(done.stdout)
    assert told["quality"]["verdict"] == "fail" and told["sources"][0]["kept"] == 800
    assert {one["check"] for one in told["quality"]["reasons"]} == {"gap_in_sequence", "gap_in_time"}
    assert done.stderr.count("\n") == 1 and done.stderr.startswith("The data was loaded, and the quality")
    assert trackkit(*asked, "--fail-on", "warn").returncode == 0, "nothing new, nothing wrong with it"
    printed = json.loads(trackkit("quality", "--store", tmp_path / "store", "--output", "json").stdout)
    assert printed[0]["verdict"] == "fail" and isinstance(printed[0]["examples"], list)
    of_one = trackkit("quality", "--store", tmp_path / "store", "--delivery", "1", "--fail-on", "fail").stdout
    assert "gap_in_time" in of_one, "of one delivery a gap in the ids never fails"
    csv = trackkit("quality", "--store", tmp_path / "store", "--output", "csv", "--fail-on", "fail", code=5).stdout
    assert csv.splitlines()[0] == "check,verdict,count,total,share,first,last,examples,threshold"


def test_a_run_notes_the_verdict_and_a_page_says_it_once(gapped: Path, tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "store"))
    store.ingest(str(gapped / "a.log"))
    asked = {"reports": ["tracking_statistics"], "delivery": ["1"]}
    summary = run(store.location, tmp_path / "out", **asked)
    assert summary.quality["1"] == summary.verdict == "warn" and not summary.failed
    noted = json.loads((tmp_path / "out/manifest.json").read_text())["reports"]["1/tracking_statistics/en"]
    assert noted["quality"] == "warn"
    second = run(store.location, tmp_path / "out", **asked)
    assert second.rendered == [] and second.verdict == "warn"
    page = (tmp_path / "out" / noted["path"]).read_text("utf-8")
    assert page.count("Quality of the logs") == 1
    assert (
        "Quality of the logs: warning, for 2 reasons:" in page and "Hours without any hit between busy ones: 3" in page
    )
    said = render("tracking_statistics", store.location, tmp_path / "pt", delivery="1", lang="pt_BR").read_text("utf-8")
    assert "Qualidade dos logs: atenção, por 2 motivos:" in said and "Quality of the logs" not in said


def test_the_demo_passes(demo_store: Path) -> None:
    store = open_store(str(demo_store))
    assert store.snapshot().loads[-1]["report"]["quality"]["verdict"] == "pass"
    assert verdict(quality(store.snapshot())) == "pass"
