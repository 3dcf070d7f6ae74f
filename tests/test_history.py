"""What scheduled runs leave and say: codes, lines, JSON, metrics, history; and the pages of what is gone."""

import json
import re
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import click
import pytest

from tests.test_project import trackkit
from trackkit import cli
from trackkit.clock import ago
from trackkit.runs.due import run
from trackkit.runs.history import RunSummary, write_metrics
from trackkit.runs.manifest import Manifest

REPORT = "delivery_tracking"


def history(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "runs.jsonl").read_text("utf-8").splitlines()]


def samples(path: Path) -> dict[str, float]:
    """The samples of a file of metrics, by an independent reading of the format."""
    found = [re.fullmatch(r'([a-z_]+(?:\{[a-z_]+="\w+"\})?) ([0-9.]+)', line) for line in path.read_text().splitlines()]
    return {match[1]: float(match[2]) for match in found if match}


def test_a_run_in_two_languages_tells_machines_what_it_did(demo_store: Path, delivery: str, tmp_path: Path) -> None:
    asked = ("run", "--store", demo_store, "--out", "out", "--reports", REPORT, "--delivery", delivery)
    zone = ("--timezone", "Asia/Kathmandu")
    made = trackkit(tmp_path, *asked, *zone, "--lang", "en", "--lang", "pt_BR", "--json", "--metrics-file", "m.prom")
    both = [f"{delivery}/{REPORT}/en", f"{delivery}/{REPORT}/pt_BR"]
    said = json.loads(made.stdout)
    assert sorted(said["rendered"]) == both and said["failed"] == {} and said["quality"] == {delivery: said["verdict"]}
    lines = [json.loads(line) for line in made.stderr.splitlines()]
    assert [(line["done"], line["of"], line["status"]) for line in lines] == [(1, 2, "done"), (2, 2, "done")]
    assert sorted(line["page"] for line in lines) == both
    entries = json.loads((tmp_path / "out/manifest.json").read_text("utf-8"))
    pages = {name: (tmp_path / "out" / entry["path"]).read_text("utf-8") for name, entry in entries["reports"].items()}
    assert all("Asia/Kathmandu" in page for page in pages.values()) and entries["project"] is None
    assert 'lang="en"' in pages[both[0]] and 'lang="pt-BR"' in pages[both[1]] and entries["lang"] == "en"
    assert {"glossary.html", "glossary-pt_BR.html"} <= {path.name for path in (tmp_path / "out").glob("*.html")}
    measured = samples(tmp_path / "m.prom")
    assert measured["trackkit_run_exit_code"] == 0 and measured['trackkit_run_pages{status="rendered"}'] == 2
    assert measured[f'trackkit_run_subjects{{verdict="{said["verdict"]}"}}'] == 1

    again = trackkit(tmp_path, *asked, *zone)
    first, *logs, index = again.stdout.splitlines()
    assert (first, index, again.stderr) == ("Reports: 0 rendered, 1 unchanged, 0 failed.", "out/index.html", "")
    assert [line.startswith("Logs: 1 ") for line in logs] == [True]
    counts = [(line["exit_code"], line["rendered"], line["unchanged"]) for line in history(tmp_path / "out")]
    assert counts == [(0, 2, 0), (0, 0, 1)]

    # the work is done, and the logs are not good enough; then a manifest that a full disk cut short
    verdict = said["verdict"]
    trackkit(tmp_path, *asked, *zone, "--fail-on", "warn", code=0 if verdict == "pass" else 5)
    (tmp_path / "out/manifest.json").write_text('{"reports": {"a": ')
    healed = trackkit(tmp_path, *asked, *zone)
    assert "manifest.json was broken: every page was made again" in healed.stdout and "1 rendered" in healed.stdout
    assert re.fullmatch(rf"1/1 {delivery}/{REPORT}/en: [0-9.]+ s\n", healed.stderr)


def test_pages_of_what_is_gone_are_removed_when_asked(demo_store: Path, delivery: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(demo_store, out, [REPORT], [delivery], jobs=1)
    manifest = Manifest.read(out)
    name = f"{delivery}/{REPORT}/en"
    page = out / manifest.entries[name]["path"]
    for other, path in (("gone", f"{REPORT}-gone-00000000.html"), ("far", "../far.html"), ("failed", "")):
        manifest.entries[f"{other}/{REPORT}/en"] = {**manifest.entries[name], "delivery": other, "path": path}
    for text in ("campaign:none", "platform"):
        entry = {**manifest.entries[name], "delivery": "", "path": "", "parameters": {"scope": text}}
        manifest.entries[f"scope {text}/{REPORT}/en"] = entry
    manifest.write()
    kept = out / "archive" / f"{REPORT}-gone-00000000"
    kept.mkdir(parents=True)
    shutil.copy(page, kept / "2026-01-01T00-00-00Z.html")
    shutil.copy(page, out / f"{REPORT}-gone-00000000.html")
    shutil.copy(page, tmp_path / "far.html")
    (out / f"{REPORT}-gone-00000000.xlsx").write_text("x")
    before = sorted(path.name for path in out.rglob("*"))

    dry = run(demo_store, out, [REPORT], [delivery], prune=True, dry_run=True)
    gone = ("failed", "far", "gone", "scope campaign:none")
    assert dry.due == [] and sorted(dry.pruned) == [f"{other}/{REPORT}/en" for other in gone]
    assert "Would be removed: 4 pages." in str(dry) and sorted(path.name for path in out.rglob("*")) == before
    assert len(run(demo_store, out, [REPORT], [delivery]).pruned) == 0
    assert "Removed: 4 pages of what is gone." in str(run(demo_store, out, [REPORT], [delivery], prune=True))
    assert (
        list(Manifest.read(out).entries) == [name, f"scope platform/{REPORT}/en"]
        and page.exists()
        and (tmp_path / "far.html").exists()
    )
    assert not [path.name for path in out.rglob("*gone*")]


def test_metrics_of_a_run_that_was_refused_are_not_those_of_the_last_good_one(tmp_path: Path) -> None:
    write_metrics(tmp_path / "m.prom", RunSummary(tmp_path, rendered=["a"]), 0)
    trackkit(tmp_path, "run", "--store", "none", "--out", "out", "--metrics-file", "m.prom", code=2)
    measured = samples(tmp_path / "m.prom")
    assert measured["trackkit_run_exit_code"] == 2 and 'trackkit_run_pages{status="rendered"}' not in measured
    assert [line["exit_code"] for line in history(tmp_path / "out")] == [2]


def test_every_help_lists_the_exit_codes() -> None:
    def texts(command: click.Command, name: str) -> list[str]:
        inner = command.commands if isinstance(command, click.Group) else {}
        own = command.get_help(click.Context(command, info_name=name))
        return [own, *(text for word, each in inner.items() for text in texts(each, word))]

    helps = texts(cli.app, "trackkit")
    assert len(helps) > 20
    for text in helps:
        plain = " ".join(text.split())
        assert all(f"{code} " in plain.partition("Exit codes:")[2] for code in (0, 1, 2, 3, 4, 5, 130)), text


@pytest.mark.parametrize(("asked", "days"), [("today", 0), ("yesterday", 1), ("7d", 7), (" 2W ", 14)])
def test_days_ago_are_counted_in_the_platforms_zone(asked: str, days: int) -> None:
    for zone in ("Pacific/Kiritimati", "Pacific/Pago_Pago"):  # 25 hours apart
        assert ago(asked, zone) == (datetime.now(UTC).astimezone(ZoneInfo(zone)) - timedelta(days=days)).date()
    assert ago("7 days", "UTC") == "7 days"
