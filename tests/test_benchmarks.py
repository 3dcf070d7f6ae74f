"""The generated store that benchmarks measure is what loading its raw logs would have made."""

import os
import subprocess
import sys
from pathlib import Path

import polars as pl

from trackkit import open_store
from trackkit.store import Store

MAKER = Path(__file__).resolve().parents[1] / "benchmarks" / "stores.py"


def counted(store: Store) -> pl.DataFrame:
    """What happened in each delivery, and to how many, counted from the rows."""
    groups = store.scan("event").group_by("delivery_id", "event_type")
    distinct = [pl.col(name).n_unique() for name in ("message_id", "person_id", "link_id", "user_agent")]
    return groups.agg(pl.len(), *distinct).sort("delivery_id", "event_type").collect()


def test_the_generated_store_is_what_its_raw_logs_load_to(tmp_path: Path) -> None:
    command = [sys.executable, str(MAKER), str(tmp_path / "made"), "--raw", str(tmp_path / "raw")]
    said = subprocess.run(
        [*command, "--events", "20000", "--deliveries", "9"],
        env=os.environ | {"PYTHONPATH": str(MAKER.parents[1])},
        capture_output=True,
        text=True,
        check=True,
    )
    made, loaded = open_store(tmp_path / "made"), open_store(tmp_path / "loaded")
    report = loaded.ingest(tmp_path / "raw", collapse_minutes=0)
    assert said.stdout == f"{counted(made)['len'].sum():,} events\n" and report.total("quarantined") == 0
    assert counted(loaded).equals(counted(made))
