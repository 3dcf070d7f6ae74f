"""The command line as its callers use it: exit codes, JSON shapes, error manners, nothing but the answer on stdout."""

import csv
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from trackkit.metrics import METRICS
from trackkit.schema import TABLES


def trackkit(*arguments: object, code: int = 0, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own, and check its exit code."""
    command = [sys.executable, "-m", "trackkit", *map(str, arguments)]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).resolve().parents[1])}
    done = subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=environment, timeout=280)
    assert done.returncode == code, done.stderr
    return done


@pytest.fixture(scope="module")
def deliveries(demo_store):
    measured = trackkit("measure", "--store", demo_store, "--metrics", "unique_opens", "--output", "json")
    return [row["delivery_id"] for row in json.loads(measured.stdout)]


def test_help_and_version():
    assert "ingest" in trackkit("--help").stdout
    assert trackkit("--version").stdout.strip()[0].isdigit()


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["measure"], 2, "--store"),
        (["mesure"], 2, "mesure"),
        (["measure", "--store", "nowhere"], 2, "nowhere"),
        (["ingest", "nothing-here", "--store", "store"], 2, "nothing-here"),
        (["render", "open_rates", "--store", "nowhere", "--out", "out"], 2, "open_rates"),
        (["check", "no-such-folder"], 2, "no-such-folder"),
    ],
)
def test_errors_are_one_sentence_and_no_traceback(tmp_path, arguments, code, words):
    done = trackkit(*arguments, code=code, cwd=tmp_path)
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1 and "Traceback" not in done.stderr
    assert words in done.stderr


def test_debug_shows_where(tmp_path):
    done = trackkit("--debug", "measure", "--store", "nowhere", code=2, cwd=tmp_path)
    assert "Traceback" in done.stderr


def test_unknown_words_are_answered_with_the_nearest(demo_store):
    done = trackkit("measure", "--store", demo_store, "--metrics", "open_rat", code=2)
    assert done.stderr == "Error: There is no metric 'open_rat'. Did you mean 'open_rate'?\n"


def test_ingest_reports_every_line(tmp_path, demo_raw):
    first = json.loads(trackkit("ingest", demo_raw, "--store", tmp_path / "store", "--json").stdout)
    keys = {
        "path", "format", "read", "kept", "duplicate", "collapsed", "quarantined", "unknown_types", "undated",
        "assumptions",
    }  # fmt: skip
    assert all(keys <= set(source) for source in first["sources"])
    for source in first["sources"]:
        parts = source["kept"] + source["duplicate"] + source["collapsed"] + source["quarantined"]
        assert source["read"] == parts, source
    raw = [source for source in first["sources"] if source["path"].endswith(".log")]
    assert sum(source["kept"] for source in raw) > 0 and sum(source["quarantined"] for source in raw) > 0
    assert first["event_types"]["clicked"] > 0
    before = trackkit("measure", "--store", tmp_path / "store", "--output", "csv").stdout
    again = json.loads(trackkit("ingest", demo_raw, "--store", tmp_path / "store", "--json").stdout)
    assert sum(source["kept"] for source in again["sources"]) == 0
    assert trackkit("measure", "--store", tmp_path / "store", "--output", "csv").stdout == before


def test_measure_prints_the_same_figures_in_every_output(demo_store):
    asked = ["measure", "--store", demo_store, "--metrics", "delivered,unique_opens,open_rate", "--by", "domain"]
    records = json.loads(trackkit(*asked, "--output", "json").stdout)
    rows = list(csv.DictReader(io.StringIO(trackkit(*asked, "--output", "csv").stdout)))
    assert rows[0].keys() == {"domain", "delivered", "unique_opens", "open_rate"}
    for record, row in zip(records, rows, strict=True):
        assert row["delivered"] == str(record["delivered"])
        assert row["open_rate"] == ("" if record["open_rate"] is None else repr(record["open_rate"]))
    raw = subprocess.run(
        [sys.executable, "-m", "trackkit", *map(str, asked), "--output", "parquet"], capture_output=True, check=True
    )
    assert pl.read_parquet(io.BytesIO(raw.stdout)).to_dicts() == records
    assert records[0]["domain"] in trackkit(*asked).stdout


def test_several_deliveries_follow_one_option(demo_store, deliveries):
    first, second = deliveries[:2]
    spaced = trackkit("measure", "--delivery", first, second, "--store", demo_store, "--output", "csv").stdout
    repeated = trackkit(
        "measure", "--delivery", first, "--delivery", second, "--store", demo_store, "--output", "csv"
    ).stdout
    assert spaced == repeated and len(spaced.splitlines()) == 3


def test_where_and_total(demo_store):
    done = trackkit("measure", "--store", demo_store, "--by", "", "--metrics", "total_clicks", "--output", "json",
                    "--where", "event_type = 'x'", code=2)  # fmt: skip
    assert "column to filter by" in done.stderr
    total = json.loads(trackkit("measure", "--store", demo_store, "--by", "", "--metrics", "total_clicks",
                                "--output", "json").stdout)  # fmt: skip
    each = json.loads(
        trackkit("measure", "--store", demo_store, "--metrics", "total_clicks", "--output", "json").stdout
    )
    assert total == [{"total_clicks": sum(row["total_clicks"] for row in each)}]


def test_measure_with_an_interval(demo_store):
    asked = ["measure", "--store", demo_store, "--metrics", "open_rate", "--by", "", "--output", "json", "--interval"]
    (row,) = json.loads(trackkit(*asked, "0.95").stdout)
    assert row["open_rate_low"] < row["open_rate"] < row["open_rate_high"]
    assert "Did you mean 0.95?" in trackkit(*asked, "95", code=2).stderr


def test_metrics():
    records = json.loads(trackkit("metrics", "--json").stdout)
    assert [record["name"] for record in records] == list(METRICS)
    assert {"name", "label", "unit", "source", "formula", "definition", "reference"} <= set(records[0])
    assert "open_rate" in trackkit("metrics").stdout


def test_metrics_page_is_current():
    page = Path(__file__).resolve().parents[1] / "METRICS.md"
    assert trackkit("metrics", "--markdown").stdout == page.read_text("utf-8"), "run `make metrics`"


def test_schema():
    records = json.loads(trackkit("schema", "--json").stdout)
    assert {record["table"] for record in records} == set(TABLES)
    assert "key of the service" in trackkit("schema", "service").stdout
    assert "one row per information service" in trackkit("schema").stdout
    assert "Did you mean 'service'?" in trackkit("schema", "servce", code=2).stderr


def test_schema_page_is_current():
    page = Path(__file__).resolve().parents[1] / "SCHEMA.md"
    assert trackkit("schema", "--markdown").stdout == page.read_text("utf-8"), "run `make schema`"


def test_formats_and_reports():
    assert {"name"} <= set(json.loads(trackkit("formats", "--json").stdout)[0])
    reports = json.loads(trackkit("reports", "--json").stdout)
    assert {"name", "title", "scope", "parameters"} <= set(reports[0])
    assert {
        "tracking_indicators", "tracking_statistics", "urls_and_click_streams", "hot_clicks", "delivery_tracking",
        "recipient_tracking",
    } <= {report["name"] for report in reports}  # fmt: skip


def test_tracking_tabs(demo_store, deliveries):
    hits = [
        json.loads(trackkit("tracking", delivery, "--store", demo_store, "--output", "json").stdout)
        for delivery in deliveries
    ]
    busiest = max(hits, key=len)
    assert busiest
    instants = [row["occurred_at"] for row in busiest if row["occurred_at"]]
    assert instants == sorted(instants, reverse=True)
    recipient = next(row["recipient_id"] for row in busiest if row["recipient_id"])
    own = json.loads(trackkit("recipient", recipient, "--store", demo_store, "--output", "json").stdout)
    assert own
    assert "Did you mean" in trackkit("recipient", recipient, "--store", demo_store, "--columns", "ulr", code=2).stderr


def test_messages_and_tabs_in_words_and_without_addresses(demo_store, deliveries):
    store = ("--store", demo_store)
    counted = json.loads(trackkit("messages", deliveries[0], *store, "--tab", "statuses", "--output", "json").stdout)
    assert sum(row["messages"] for row in counted[:-1]) == counted[-1]["messages"] > 0
    listed = json.loads(trackkit("messages", deliveries[0], *store, "--limit", 2, "--output", "json").stdout)
    assert [*listed[0]] == ["recipient_id", "status", "status_at", "reason", "domain"] and len(listed) == 2
    every = json.loads(trackkit("messages", deliveries[0], *store, "--addresses", "--output", "json").stdout)
    row = next(row for row in every if row["recipient_id"] and row["address"])
    own, options = row["recipient_id"], ("--columns", "status,document", "--lang", "pt_BR", "--output", "csv")
    tab = trackkit("recipient", own, *store, "--tab", "deliveries", *options).stdout.splitlines()
    assert tab[0] == "Status,Documento" and tab[1].split(",")[0] in ("Enviado", "Falha", "Pendente")
    by_address = trackkit("recipient", "--address", row["address"], *store, "--tab", "deliveries", "--output", "csv")
    assert row["address"] not in by_address.stdout and by_address.stdout.count("\n") > 1
    assert "Name one recipient" in trackkit("recipient", *store, code=2).stderr
    refused = trackkit("recipient", own, *store, "--tab", "deliveries", "--type", "Open", code=2).stderr
    assert "--type narrows hits" in refused


def test_check_is_content_with_what_is_shipped():
    assert "in order" in trackkit("check").stdout


def test_piping_into_something_that_stops_early(demo_store):
    command = f"{sys.executable} -m trackkit metrics --json | head -1"
    done = subprocess.run(["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True)
    assert done.stdout == "[\n" and "Traceback" not in done.stderr
