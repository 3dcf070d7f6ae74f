"""Spark gives the figures of polars, to the last digit: every metric, breakdown and condition, over the same store."""

import os
import random
import shutil
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from tests.parity import instance
from tests.spec.golden import golden
from tests.spec.test_web import randomised
from tests.test_store import add, message_of, open_of
from trackkit.demo import write_demo
from trackkit.engine.measure import measure
from trackkit.engine.refusals import with_refusals
from trackkit.engine.snapshot import Snapshot
from trackkit.errors import RequestError
from trackkit.metrics import BREAKDOWNS, METRICS, breakdowns_of, lineage
from trackkit.store import Store, open_store

SHARED = ("7", "8", "9")
KINDS = ("opened", "clicked", "clicked", "unsubscribed", "mirror_page", "web_visited", "transaction", "transaction",
         "sent", None)  # fmt: skip
# Compiling what small tables ask for takes Spark longer than the answer.
SMALL = {"spark.sql.codegen.wholeStage": "false", "spark.sql.codegen.factoryMode": "NO_CODEGEN",
         "spark.sql.adaptive.enabled": "false", "spark.sql.shuffle.partitions": "2"}  # fmt: skip


@pytest.fixture(scope="module")
def spark() -> Iterator[Any]:
    """The session, for small tables; skips without Spark or Java, unless CI says that they must be there."""
    if not (os.environ.get("JAVA_HOME") or shutil.which("java")):
        _cannot("There is no Java, which Spark needs.")
    try:
        from trackkit.engine import spark
    except ModuleNotFoundError as error:
        _cannot(f"Spark is not installed: {error}.")
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("JAVA_TOOL_OPTIONS", "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC")
        session = spark.session()
    for name, value in SMALL.items():
        session.conf.set(name, value)
    yield session


def _cannot(why: str) -> None:
    if os.environ.get("TRACKKIT_REQUIRE_SPARK") == "1":
        pytest.fail(why)
    pytest.skip(why)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """The demo, and three deliveries whose hits share messages and persons, some of nobody; a path like a pattern."""
    folder = tmp_path_factory.mktemp("spark")
    write_demo(folder / "raw", deliveries=3, recipients=60)
    made = open_store(folder / "store")
    made.ingest(folder / "raw")
    chance = random.Random(1)
    events = [_hit(chance, number) for number in range(150)]
    bought = [_bought(chance, row["event_id"]) for row in events if row["reported_type"] == "transaction"]
    messages = [message_of("c", "8", is_seed=True), message_of("a", "7")]
    add(Path(made.location), event=events, message=messages, web_event=bought)
    return open_store(Path(made.location).rename(folder / "a [store] {of} 7"))


def _hit(chance: random.Random, number: int) -> dict[str, Any]:
    kind = chance.choice(KINDS)
    return open_of(
        f"9{number}", chance.choice([*SHARED, None]), chance.choice(["a", "b", "c", None]), chance.randrange(9000),
        person_id=chance.choice(["p", "q", "r", None]), reported_type=kind, user_agent=chance.choice(["x", None]),
        address=chance.choice(["a@post.example", "b@mail.example", None]),
    )  # fmt: skip


def _bought(chance: random.Random, event_id: str) -> dict[str, Any]:
    """A purchase or a refund, in a currency, another one or none, its amount or its articles unknown now and then."""
    return {"event_id": event_id, "amount": chance.choice([12.5, 0.1, 0.0, -3.35, -7.0, None]),
            "articles": chance.choice([3, 0, -1, None]), "currency": chance.choice(["EUR", "JPY", None])}  # fmt: skip


def assert_same(tables: Any, **asked: Any) -> pl.DataFrame:
    """Ask both engines; return the answer."""
    expected = measure(tables, **asked)
    assert_frame_equal(measure(tables, engine="spark", **asked), expected, check_exact=True)
    return expected


def _of(columns: tuple[str, ...]) -> dict[str, Any]:
    metrics = [name for name in METRICS if set(columns) <= set(breakdowns_of(name))]
    return {"by": list(columns), "timezone": "Asia/Kolkata", "metrics": metrics}


def _alike() -> Iterator[tuple[str, ...]]:
    """All breakdowns, up to six at once that the same metrics can have."""
    alike: dict[tuple[str, ...], list[str]] = {}
    for column in BREAKDOWNS:
        alike.setdefault(tuple(name for name in METRICS if column in breakdowns_of(name)), []).append(column)
    return (tuple(columns[first : first + 6]) for columns in alike.values() for first in range(0, len(columns), 6))


@pytest.mark.timeout(1200)
def test_every_metric_by_every_breakdown(spark: Any, store: Store) -> None:
    seen = set[str]()
    for place, columns in enumerate(_alike()):
        # In turn of all, under a condition, of one delivery: each is a score of Spark's jobs.
        values = measure(store, **_of(columns))[columns[-1]].drop_nulls().cast(pl.String)
        where = f"CAST({columns[-1]} AS VARCHAR) <> '{values[0]}'"
        turn = ({}, {"where": where}, {"delivery": SHARED[place % 2]})[place % 3]
        found = assert_same(store, **_of(columns), **turn)
        seen |= {name for name in found.columns if found[name].drop_nulls().len()}
    assert seen >= set(METRICS) - {"refused_visits"}
    assert_same(store, by=[])
    assert_same(store, by=[], delivery=SHARED)


CONDITIONS = (
    "domain LIKE 'post%' OR NOT (domain = 'mail.example') AND delivery_id IN ('7', '8')",
    "domain IS NULL AND \"delivery_id\" <> '9'",
    "delivery_id BETWEEN '7' AND '8' AND country IS NULL",
    "domain = 'it''s; DROP TABLE event --'",
)


# Shortly before clocks show an hour twice, half of one twice, and skip half of one.
TURNED = (
    ("Europe/Paris", datetime(2026, 10, 24, 23, 10)),
    ("Australia/Lord_Howe", datetime(2026, 4, 4, 13, 10)),
    ("Australia/Lord_Howe", datetime(2026, 10, 3, 13, 10)),
)


def _from(start: datetime) -> Snapshot:
    """The golden hits, one every twenty minutes from an instant on."""
    given = golden()
    at = pl.lit(start).dt.replace_time_zone("UTC") + pl.int_range(pl.len()) * timedelta(minutes=20)
    return Snapshot({**given.frames, "event": given.scan("event").with_columns(occurred_at=at)})


@pytest.mark.timeout(600)
def test_conditions_zones_memory_and_the_prompt(spark: Any, store: Store) -> None:
    for place, where in enumerate(CONDITIONS):
        found = assert_same(store, metrics=["unique_opens", "delivered"], by=[], where=where)
        assert (found["unique_opens"].item() or 0) > 0 or place == 3
    for zone in ("America/St_Johns", "Australia/Lord_Howe"):
        assert_same(store, metrics="total_opens", by=["hour", "delivery_id"], timezone=zone)
    for zone, at in TURNED:
        hours = assert_same(_from(at), metrics="total_clicks", by="hour", timezone=zone)["hour"]
        assert hours.n_unique() == hours.len() > 4
    machines = assert_same(store, metrics="total_opens", by="activity_rule")
    assert {"O1", "O3"} <= set(machines["activity_rule"])
    assert_same(store, metrics=["unique_opens", "delivered"], by=[], activity="human")
    row = assert_same(golden()).row(0, named=True)
    assert [row[name] for name in ("unique_clicks", "unique_people_clicks", "unique_opens")] == [2, 6, 3]
    assert_same(store, metrics=["open_rate", "click_rate", "total_click_rate"], by="domain", interval=0.95)
    with pytest.raises(RequestError, match="MAX"):
        measure(store, "total_opens", where="domain = MAX(domain)", engine="spark")


@pytest.mark.timeout(600)
def test_deleted_deliveries_are_left_out_there_too(spark: Any, tmp_path: Path) -> None:
    made = open_store(tmp_path / "store")
    made.ingest(instance(tmp_path / "raw", "del"))
    names = ["delivered", "unique_opens", "total_clicks", "estimated_forwards"]
    assert assert_same(made, metrics=names, by=[])["delivered"].item() == 32
    assert "200" not in assert_same(made, metrics=names)["delivery_id"]
    assert_same(made, metrics=["delivered", "unique_opens"], by="domain")
    assert assert_same(made, metrics=names, delivery="200")["delivered"].item() == 10


def test_money_is_never_added_over_currencies_there_either(spark: Any, store: Store) -> None:
    metrics = [name for name, metric in METRICS.items() if {"sales", "refunds"} & {name, *lineage(name)}]
    metrics += ["transaction_amount", "sales_amount", "refunded_amount", "articles_sold"]
    row = assert_same(store, metrics=metrics, by=[]).row(0, named=True)
    assert row["transaction_amount"] is row["sales_amount"] is None and min(row["sales"], row["refunds"]) > 2
    assert assert_same(store, metrics=metrics, by="currency")["sales_amount"].null_count() == 0
    # An amount that is none says nothing of its currency, nor whether its articles were given back.
    told = [("transaction", 12.5, "EUR", 1), ("transaction", 2e15, "JPY", 2), ("transaction", -2e15, "JPY", 4),
            ("transaction", float("nan"), "USD", 8), ("transaction", -2.5, None, 16)]  # fmt: skip
    events = pl.LazyFrame(told, schema=["event_type", "amount", "currency", "articles"], orient="row").with_columns(
        pl.col("articles").cast(pl.String).alias("event_id"),
        *(pl.lit(value).alias(name) for name, value in (("delivery_id", "7"), ("message_id", "a"), ("is_seed", False))),
    )
    row = assert_same(Snapshot({"event": events}), metrics=metrics).row(0, named=True)
    assert (row["transaction_amount"], row["sales"], row["refunds"], row["articles_sold"]) == (10, 1, 1, 15)


def test_refusals_on_spark(spark: Any) -> None:
    from trackkit.engine.spark import Spark

    for seed in range(3):
        given, on = randomised(seed), Spark()
        expected = with_refusals(given, given.scan("event")).select("event_id", "is_refused").collect()
        found = on.collect(with_refusals(given, on.scan(given, "event"), on).select("event_id", "is_refused"))
        assert_frame_equal(found.sort("event_id"), expected.sort("event_id"))
        assert 0 < expected["is_refused"].sum() < expected.height


def test_without_spark_it_is_said_and_help_does_not_ask_for_it() -> None:
    code = "import sys; sys.modules['pyspark'] = None; from trackkit.cli import main; main()"
    command = [sys.executable, "-c", code, "measure", "--store", "nowhere", "--engine", "spark"]
    said = subprocess.run(command, capture_output=True, text=True, check=False)
    assert said.returncode == 2 and "pip install 'trackkit[spark]'" in said.stderr and "Traceback" not in said.stderr
    code = "import sys, trackkit.cli, trackkit.engine.measure; print({'pyspark', 'narwhals'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"
    with pytest.raises(RequestError, match=r"no engine 'sparc'.*spark"):
        measure(golden(), engine="sparc")
