"""Where figures come from, by hand; pages made again from the version they came from; what changed, because of what."""

import json
import re
import shutil
import subprocess
import sys
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import trackkit as tk
from tests.spec.golden import tables
from tests.test_activity import with_rules
from trackkit import resources, rules
from trackkit.analysis.provenance import causes_of, reasons
from trackkit.errors import DataError, RequestError
from trackkit.metrics import METRICS, Count, version_of
from trackkit.report.formats import provenance_beside as beside
from trackkit.report.provenance import SCRIPT, held, read
from trackkit.runs.archive import because
from trackkit.runs.due import run, withdraw
from trackkit.runs.reproduce import _differing, reproduce
from trackkit.store import open_store

REPORT = "tracking_indicators"
OPEN, CLICK = 1, 71


def _hit(number: int, at: str, message: int, link: int, delivery: int = 7) -> str:
    return f"50x{number:016X}\t2026-03-02T{at}.00\t{message:x}\t{delivery:x}\t{link:x}\t0\t\th\t-\tagent\t192.0.2.1\n"


def _instance(folder: Path) -> Path:
    """Delivery 7: three delivered, one failed, one control address; and delivery 8, a proof."""
    files = {
        "delivery.csv": "iDeliveryId,sLabel,iState,iIsModel,iFCP,iTotalTarget,iToDeliver,tsBroadStart\n"
        "7,Seven,95,0,0,5,5,2026-03-02 08:00:00\n8,Proof,95,0,1,1,1,2026-03-02 07:00:00\n",
        "tracking_url.csv": f"iTrackingUrlId,iDeliveryId,iType,sLabel,sSource\n{OPEN},0,2,Open,\n"
        f"{CLICK},7,1,Shop,https://shop.example/\n",
        "broadlog.csv": "iBroadLogId,iDeliveryId,iRecipientId,sAddress,iStatus,iMsgId,tsEvent,iIsSeed\n"
        + "".join(
            f"{n},7,{100 + n},r{n}@a.example,{2 if n == 4 else 1},0,2026-03-02 08:00:00,{int(n == 5)}\n"
            for n in range(1, 6)
        ),
        # Message 1 opens twice within a minute and clicks, 2 opens, the control address opens; one line is corrupt.
        "redir/log/day.log": _hit(1, "09:00:00", 1, OPEN)
        + _hit(2, "09:00:20", 1, OPEN)
        + _hit(3, "09:05:00", 1, CLICK)
        + _hit(4, "10:00:00", 2, OPEN)
        + _hit(5, "11:00:00", 5, OPEN)
        + "not a line\n",
    }
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the instance in `raw`, its `store`, and a page in `out` (read only)."""
    folder = tmp_path_factory.mktemp("provenance")
    open_store(str(folder / "store")).ingest(_instance(folder / "raw"))
    tk.render(REPORT, str(folder / "store"), folder / "out", "7")
    return folder


@pytest.fixture
def store(made: Path, tmp_path: Path) -> str:
    """A copy of all that is made."""
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    return str(tmp_path / "store")


@pytest.fixture
def page(store: str, tmp_path: Path) -> Path:
    (path,) = (tmp_path / "out").glob("*.html")
    return path


def _late(store: str, tmp_path: Path) -> None:
    """Message 3 opens, a day late."""
    (tmp_path / "late.log").write_text(_hit(6, "23:00:00", 3, OPEN))
    open_store(store).ingest(tmp_path / "late.log")


# ---- the record ----


def test_a_rate_has_its_parts_and_every_row_is_accounted_for(store: str) -> None:
    record = tk.provenance(open_store(store), "open_rate", delivery="7")
    assert {name: figure["value"] for name, figure in record["figures"].items()} == {
        "unique_opens": 2,
        "delivered": 3,
        "open_rate": 2 / 3,
    }
    rate = record["figures"]["open_rate"]
    assert rate["numerator"] == ["unique_opens", 2] and rate["denominator"] == ["delivered", 3]
    assert rate["formula"] == "unique_opens / delivered" and rate["definition"] == version_of("open_rate")
    assert record["rows"] == {
        "delivery": {"rows": 1, "counted": 1, "left_out": {}},
        "message": {"rows": 5, "counted": 4, "left_out": {"control_addresses": 1}},
        "event": {"rows": 4, "counted": 3, "left_out": {"control_addresses": 1}, "collapsed": 1},
    }
    inputs = record["inputs"]
    assert inputs["files"] == 4 and inputs["hits_from"] == [["day.log", 4]]
    assert sorted(name for name, _ in inputs["newest"]) == [
        "broadlog.csv",
        "day.log",
        "delivery.csv",
        "tracking_url.csv",
    ]
    assert (inputs["loads"]["collapsed"], inputs["loads"]["quarantined"]) == (1, 1)
    assert record["store"]["load"] == 1 and record["store"]["tables"]["event"] >= 1
    assert record["software"]["polars"] == pl.__version__ and record["software"]["trackkit"] == tk.__version__
    frame = record.frame()
    assert frame.filter(metric="open_rate").select("numerator_value", "denominator_value").row(0) == (2, 3)
    assert "unique_opens / delivered" in record._repr_html_()


def test_over_all_deliveries_those_set_aside_are_counted_as_left_out(store: str) -> None:
    record = tk.provenance(open_store(store), ["open_rate"])
    assert record["rows"]["delivery"] == {"rows": 2, "counted": 1, "left_out": {"proofs_models_deleted": 1}}
    assert record["rows"]["event"]["counted"] == 3
    narrowed = tk.provenance(open_store(store), ["total_opens"], delivery="7", where="domain = 'b.example'")
    assert narrowed["rows"]["event"] == {"rows": 0, "counted": 0, "left_out": {}, "collapsed": 0}
    assert narrowed["figures"]["total_opens"]["value"] == 0 and narrowed["asked"]["where"] == "domain = 'b.example'"


def test_visits_of_those_who_refused_are_left_out() -> None:
    hits = [("clicked", "a", "p"), ("web_visited", None, "p"), ("web_visited", None, "q"), ("bounced", "b", None)]
    event = [
        {"delivery_id": "7", "event_type": kind, "message_id": message, "person_id": person, "is_seed": False}
        for kind, message, person in hits
    ]
    found = tables(event=event, page_hit=[{"delivery_id": "7", "person_id": "p", "web_optout": 1}])
    rows = tk.provenance(found, "web_visits", delivery="7")["rows"]["event"]
    assert rows == {"rows": 4, "counted": 2, "left_out": {"no_hits": 1, "refused_visits": 1}, "collapsed": 0}


def test_the_version_of_a_definition_follows_its_formula_and_those_of_its_parts() -> None:
    other = dict(METRICS) | {"delivered": replace(METRICS["delivered"], formula=Count({"status": ("delivered",)}))}
    assert version_of("open_rate", other) != version_of("open_rate"), "its denominator is another"
    assert version_of("unique_opens", other) == version_of("unique_opens")
    words = dict(METRICS) | {"delivered": replace(METRICS["delivered"], definition="In other words.")}
    assert version_of("open_rate", words) == version_of("open_rate")
    assert len({version_of(name) for name in METRICS}) == len(METRICS)


def test_an_unknown_metric_is_refused(store: str) -> None:
    with pytest.raises(RequestError, match="open_rate"):
        tk.provenance(open_store(store), "open_rat")


def test_machines_left_out_are_counted_and_bounds_stand_beside_a_rate() -> None:
    event = [
        {
            "delivery_id": "7",
            "event_type": "clicked",
            "message_id": each,
            "is_seed": False,
            "activity": who,
            "activity_rule": None,
        }
        for each, who in (("a", "human"), ("b", "scanner"), ("c", "human"))
    ]
    found = tables(
        event=event, message=[{"delivery_id": "7", "message_id": each, "status": "delivered"} for each in "abcd"]
    )
    record = tk.provenance(found, "recipient_click_rate", delivery="7", activity="human", interval=0.95)
    assert record["rows"]["event"]["left_out"] == {"machines": 1} and record["rows"]["event"]["counted"] == 2
    rate = record["figures"]["recipient_click_rate"]
    assert (rate["numerator"], rate["denominator"]) == (["unique_clicks", 2], ["delivered", 4])
    assert rate["low"] < rate["value"] == 0.5 < rate["high"] and record["asked"]["interval"] == 0.95


# ---- versions of a store ----


def test_an_earlier_version_is_read_and_never_written(store: str, tmp_path: Path) -> None:
    _late(store, tmp_path)
    counts = [
        tk.measure(open_store(f"{store}{at}"), "unique_opens")["unique_opens"].item() for at in ("@v1", "@v2", "")
    ]
    assert counts == [2, 3, 3]
    assert len(open_store(f"{store}@v1").loads) == 1
    with pytest.raises(RequestError, match="no version 9; its newest is 2"):
        open_store(f"{store}@v9").snapshot()
    for write in (lambda old: old.ingest(tmp_path / "late.log"), lambda old: old.set("timezone", "Europe/Paris")):
        with pytest.raises(RequestError, match="can only be read"):
            write(open_store(f"{store}@v1"))
    shutil.copytree(store, tmp_path / "copy@v1")
    assert len(open_store(tmp_path / "copy@v1").loads) == 2, "a folder of that name is that folder"


# ---- on and beside a page ----


def test_a_page_says_where_its_figures_come_from_and_so_does_the_file_beside_it(page: Path, tmp_path: Path) -> None:
    text, full = page.read_text("utf-8"), json.loads(beside(page).read_text("utf-8"))
    short = held(text)
    assert len(SCRIPT.findall(text)[0].encode()) <= 6_000
    assert full["figures"]["open_rate"]["value"] == short["figures"]["open_rate"]["value"] == 2 / 3
    assert short["rows"] == full["rows"] and "newest" in full["inputs"] and "newest" not in short["inputs"]
    assert full["report"]["made_of"].keys() == {"notebook", "template", "skin"}
    for record in (SCRIPT.findall(text)[0], beside(page).read_text("utf-8")):
        assert "@" not in record and str(tmp_path) not in record and "/raw" not in record
    assert "In all: 2 / 3 · definition " + version_of("open_rate") in text
    assert "<dt>Events counted</dt><dd>3 of 4 · control addresses 1 · repeats counted once 1</dd>" in text


def test_the_object_in_a_notebook_says_the_same(store: str) -> None:
    opened = tk.open_page(REPORT, store, delivery="7")
    assert opened.provenance("open_rate") == tk.provenance(open_store(store), "open_rate", delivery="7")


def test_it_goes_with_its_page_and_is_no_page(page: Path, store: str) -> None:
    names = withdraw(store, page.parent, lambda path, _: path == page)
    assert names == [page.name] and not page.exists() and not beside(page).exists()


# ---- made again ----


def test_a_page_is_made_again_after_more_was_loaded_but_not_after_rows_were_removed(
    page: Path, store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "trackkit.toml").touch()
    _late(store, tmp_path)
    outcome = reproduce(page, store)
    assert outcome.is_same and outcome.notes == () and outcome.version == 1, str(outcome)

    template = tmp_path / "reports_templates" / f"{REPORT}.toml"
    template.parent.mkdir()
    shipped = resources.find(f"reports_templates/{REPORT}.toml").read_text("utf-8")
    template.write_text(re.sub(r'^title = ".*"', 'title = "Other words"', shipped, count=1, flags=re.MULTILINE))
    outcome = reproduce(page, store)
    assert not outcome.is_same and "Other words" in outcome.differing and outcome.differing.startswith("the head was")
    assert outcome.notes == ("Made with another template of the report than now.",)

    open_store(store).forget(recipient="101")
    with pytest.raises(DataError, match="load 3 removed rows for good"):
        reproduce(page, store)


def test_a_version_whose_files_are_gone_and_another_store_are_refused(page: Path, store: str, tmp_path: Path) -> None:
    open_store(str(tmp_path / "other")).ingest(tmp_path / "raw")
    with pytest.raises(RequestError, match="was not made from the store"):
        reproduce(page, tmp_path / "other")
    old = set(open_store(store).files("event") or ())
    _late(store, tmp_path)
    for path in old - set(open_store(store).files("event") or ()):
        Path(path).unlink()
    with pytest.raises(DataError, match="files of older versions go after a week"):
        reproduce(page, store)
    (tmp_path / "plain.html").write_text("<html></html>")
    with pytest.raises(RequestError, match="says nothing of its provenance"):
        reproduce(tmp_path / "plain.html", store)
    (tmp_path / "cut.provenance.json").write_text("{")
    with pytest.raises(RequestError, match="cannot be read: it is not ours"):
        reproduce(tmp_path / "cut.provenance.json", store)


def test_a_page_that_is_gone_is_compared_by_its_figures(page: Path, store: str) -> None:
    page.unlink()
    outcome = reproduce(beside(page), store)
    assert outcome.is_same and outcome.notes == (f"{page.name} is gone: its figures were compared.",)


def test_the_first_difference_is_named(page: Path) -> None:
    text, known = page.read_text("utf-8"), read(page)
    hidden = text.replace("<h2", "<h2 hidden", 1)
    assert _differing(known, known, [text, text]) == ""
    assert _differing(known, known, [hidden, text]).startswith("the section '")
    assert _differing(known, known, [text.replace('class="calculated">', 'class="calculated">at '), text]) == ""
    assert _differing(known, {**known, "rows": {}}, [text, text]) == "its provenance (rows)"


def test_the_command_says_by_its_exit_code_whether_the_bytes_are_the_same(page: Path, store: str) -> None:
    command = [sys.executable, "-m", "trackkit", "reproduce", str(page), "--store", store]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, f"{page.name}: the same bytes, from version 1 of the store.")
    known = read(page)
    known["figures"]["open_rate"]["value"] = 0.5
    known["software"]["polars"] = "0.1"
    text = page.read_text("utf-8")
    page.write_text(SCRIPT.sub(f'<script type="application/json" id="provenance">{json.dumps(known)}</script>\n', text))
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "the figure open_rate was 0.5 and is 0.66" in done.stdout
    assert f"Made with other software: polars 0.1 → {pl.__version__}." in done.stdout


# ---- what changed, because of what ----


@pytest.fixture
def record(store: str) -> dict[str, Any]:
    return dict(tk.provenance(open_store(store), "open_rate", delivery="7"))


def test_late_events_change_what_they_are_part_of(store: str, tmp_path: Path, record: dict[str, Any]) -> None:
    _late(store, tmp_path)
    after = tk.provenance(open_store(store), "open_rate", delivery="7")
    found = tk.changes(record, after)
    assert found.select("metric", "before", "after", "causes").rows() == [
        ("unique_opens", 2.0, 3.0, ["late events"]),
        ("open_rate", 2 / 3, 1.0, ["late events"]),
    ]
    assert found["because"].to_list() == ["late events: event 3 → 4, late.log"] * 2
    assert because(record, after) == "Because of: late events (event 3 → 4, late.log)."
    assert tk.changes(after, after).is_empty() and reasons(after, after) == {}


def test_rules_are_those_of_the_loads_that_marked_the_hits(
    store: str, tmp_path: Path, record: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def rules_of(delivery: str) -> str:
        return str(tk.provenance(open_store(store), "open_rate", delivery=delivery)["rules"]["machines"])

    shipped = rules.version()
    with_rules(tmp_path / "project", monkeypatch, ("enough = 1.0", "enough = 2.0"))
    assert rules.version() != shipped and rules_of("7") == record["rules"]["machines"] == shipped
    _late(store, tmp_path)
    assert rules_of("7") == f"{shipped}, {rules.version()}" and rules_of("8") == shipped
    (row, *_) = tk.changes(record, tk.provenance(open_store(store), "unique_opens", delivery="7")).to_dicts()
    assert row["causes"] == ["rules", "late events"]
    assert causes_of({**record, "rules": {"machines": ""}}, record, "open_rate") == {}  # of an earlier version


@pytest.mark.parametrize(
    ("cause", "where", "value"),
    [
        ("definition", ("figures", "open_rate", "definition"), "0badc0de"),
        ("parameters", ("asked", "timezone"), "Asia/Tokyo"),
        ("rules", ("rules",), {"machines": "0badc0de"}),
        ("removal", ("rows", "event", "counted"), 2),
        ("new data", ("rows", "message", "counted"), 9),
        ("new data", ("inputs", "digest"), "0badc0de"),
        ("software", ("software", "polars"), "99"),
        ("unknown", ("format",), 2),
    ],
)
def test_each_cause_is_named(record: dict[str, Any], cause: str, where: tuple[str, ...], value: Any) -> None:
    after = deepcopy(record)
    place = after
    for name in where[:-1]:
        place = place[name]
    place[where[-1]] = value
    after["figures"]["open_rate"]["value"] = 0.5
    (row,) = tk.changes(record, after).to_dicts()
    assert (row["metric"], row["after"], row["causes"]) == ("open_rate", 0.5, [cause])


def test_a_definition_of_one_figure_is_no_cause_of_another(record: dict[str, Any]) -> None:
    after = deepcopy(record)
    after["figures"]["delivered"] |= {"definition": "0badc0de", "formula": "count of rows", "value": 4}
    after["figures"]["unique_opens"]["value"] = 9
    causes = dict(tk.changes(record, after).select("metric", pl.col("causes").list.first()).iter_rows())
    assert causes == {"unique_opens": "unknown", "delivered": "definition"}
    assert "count of rows (0badc0de)" in causes_of(record, after, "delivered")["definition"]


def test_a_run_says_on_how_many_pages_figures_changed_and_why(store: str, tmp_path: Path) -> None:
    asked: dict[str, Any] = {"reports": [REPORT], "delivery": ["7"], "keep": 2}
    out = tmp_path / "pages"
    first = run(store, out, **asked)
    (page,) = out.glob(f"{REPORT}*.html")
    (given,) = (tmp_path / "out").glob("*.json")
    assert first.because == {} and given.read_bytes() == beside(page).read_bytes(), (
        "the same inputs give the same bytes"
    )
    assert run(store, out, **asked).rendered == []
    _late(store, tmp_path)
    summary = run(store, out, **asked)
    assert summary.because == {"late events": 1}
    assert "Figures changed because of: late events (1 page)." in str(summary)
    assert "Because of: late events (event 3 → 4)." in page.read_text("utf-8")
    assert reproduce(page, store).is_same, "the list of earlier versions is left out"
    (earlier,) = (out / "archive").glob("*/*.html")
    assert reproduce(earlier, store).is_same
