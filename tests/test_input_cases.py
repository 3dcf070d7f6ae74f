"""Logs as they are in the world: each case of tests/cases, loaded as a user would, gives the figures worked out."""

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tests.test_cli import trackkit
from trackkit.engine.measure import measure
from trackkit.store import Store, open_store

CASES = sorted(path.parent for path in (Path(__file__).parent / "cases").glob("*/expected.json"))
SUMS = ("read", "kept", "quarantined", "not_events", "duplicate")


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_case_comes_out_right(case: Path, tmp_path: Path) -> None:
    written = json.loads((case / "expected.json").read_text("utf-8"))
    expected: dict[str, Any] = written["expected"]
    inputs = [case / one for one in written["input"]]
    options = written.get("ingest_options", [])
    done = trackkit(
        "ingest", *inputs, "--store", tmp_path / "store", "--json", *options, code=expected.get("exit", 0)
    )  # fmt: skip
    if "says" in expected:
        assert expected["says"].casefold() in (done.stdout + done.stderr).casefold()
    if expected.get("exit", 0) == 0:
        found = _outcome(open_store(tmp_path / "store"), json.loads(done.stdout), expected)
        wanted = {name: value for name, value in expected.items() if name not in ("says", "exit")}
        assert {name: found[name] for name in wanted} == wanted


def _outcome(store: Store, report: dict[str, Any], expected: dict[str, Any]) -> dict[str, Any]:
    found = {name: sum(one[name] for one in report["sources"]) for name in SUMS}
    found["types"] = {name: report["event_types"].get(name, 0) for name in expected.get("types", {})}
    found["figures"] = _figures(store, list(expected.get("figures", {})))
    found["verdict"] = report["quality"]["verdict"]
    if "label" in expected:
        found["label"] = dict(store.scan("delivery").select("delivery_id", "label").collect().iter_rows())
    for key, column in {"addresses": "address", "domains": "domain"}.items():
        found[key] = sorted({*_values(store, "event", column), *_values(store, "message", column)})
    found["links"] = len(_values(store, "link", "link_id"))
    return found


def _figures(store: Store, metrics: list[str]) -> dict[str, Any]:
    return measure(store, metrics, by=[]).select(metrics).row(0, named=True) if metrics else {}


def _values(store: Store, table: str, column: str) -> list[str]:
    return store.scan(table).select(pl.col(column).drop_nulls().unique()).collect()[column].to_list()
