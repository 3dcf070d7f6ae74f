"""Counts over messages that were never told are unknown, and never 0: the same by SQL in DuckDB, written apart."""

import random
from itertools import product
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pytest

from tests.spec.golden import tables
from tests.test_implied import bounced, sending
from tests.test_store import add, message_of, open_of
from trackkit.analysis.caveats import limits
from trackkit.engine.measure import measure
from trackkit.engine.snapshot import Snapshot
from trackkit.report.notes import sentences
from trackkit.store import open_store

DOMAINS, COUNTRIES = ("a.example", "b.example", None), ("FR", "BR", None)
STATUSES = ("delivered", "failed", "excluded", "in_progress")


@pytest.fixture
def three(tmp_path: Path) -> Any:
    """A table tells of delivery 1, the events of delivery 2, and of delivery 3 only two failures and hits are told."""
    add(
        tmp_path,
        event=[
            open_of("1", "1", "a"), open_of("2", "1", "x", domain=None),
            sending("delivered", "b", delivery_id="2"), sending("opened", "b", 1, delivery_id="2"),
            bounced("hard", "c", delivery_id="3"), sending("complained", "d", delivery_id="3"),
            sending("opened", "e", 1, delivery_id="3"),
        ],
        message=[message_of("a", "1", address="a@mail.example")],
    )  # fmt: skip
    return open_store(tmp_path)


def test_a_delivery_of_failures_only_has_no_rates(three: Any) -> None:
    names = ["delivered", "failed", "complaints", "unique_opens", "open_rate", "hard_bounce_rate"]
    assert measure(three, names).select("delivery_id", *names).rows() == [
        ("1", 1, 0, 0, 2, 2.0, 0.0), ("2", 1, 0, 0, 1, 1.0, 0.0), ("3", None, None, None, 1, None, None)
    ]  # fmt: skip
    assert measure(three, names, by=[]).select(names).row(0) == (None, None, None, 4, None, None)
    assert measure(three, names, by=[], delivery=["1", "2"]).select(names).row(0) == (2, 0, 0, 3, 1.5, 0.0)
    # the domain of a hit may be that of its own address; what a group cannot hold leaves it known
    by_domain = measure(three, ["delivered", "unique_opens"], by="domain").rows()
    assert by_domain == [("mail.example", None, 3), (None, 0, 1)]
    only_one = measure(three, "delivered", by="domain", delivery="2").rows()
    assert only_one == [("mail.example", 1)]


def test_a_report_says_which_deliveries_are_unknown(three: Any) -> None:
    found = limits(three.snapshot(), needs={"failure": []}).filter(pl.col("limit") != "age")
    row = found.row(by_predicate=pl.col("limit") == "deliveries_unlogged", named=True)
    assert (row["count"], row["total"], row["concerns"], row["weight"]) == (1, 3, ["3"], "warning")
    assert "missing" not in found["limit"].to_list(), "the bounces themselves say why messages failed"
    warnings, _ = sentences(found)
    assert "Deliveries of which it is unknown what was sent: 1 of 3 (3)." in " ".join(warnings)
    assert "1 de 3 (3)" in " ".join(sentences(found, lang="pt_BR")[0])
    of_one = limits(three.snapshot(), "3", needs={})
    assert of_one.filter(limit="only_failures")["count"].to_list() == [2]
    assert "only_failures" not in limits(three.snapshot(), "2", needs={})["limit"].to_list()


def test_names_of_deliveries_in_a_sentence_are_only_text() -> None:
    hostile = [f"<b>{number}\u202e{'x' * 300}" for number in range(7)]
    events = [{"delivery_id": name, "has_messages": False, "event_type": "opened"} for name in hostile]
    warnings, _ = sentences(limits(tables(event=events, message=[]), needs={}))
    (said,) = [words for words in warnings if "7 of 7" in words]
    assert "\u202e" not in said and "…)" in said and len(said) < 600


def test_without_a_list_of_links_what_a_hit_was_is_unknown(tmp_path: Path) -> None:
    hits = [open_of("1", "7", "a"), open_of("2", "7", "b", reported_type=None, link_id="5", person_id="q"),
            open_of("3", "8", "c")]  # fmt: skip
    add(tmp_path, event=hits)
    names = ["unique_opens", "total_opens", "unique_clicks", "total_clicks", "transactions", "estimated_forwards",
             "click_to_open_rate"]  # fmt: skip
    store = open_store(tmp_path)
    assert measure(store, names).select("delivery_id", *names).rows() == [
        ("7", 2, 1, None, None, None, None, None), ("8", 1, 1, 0, 0, 0, 0, 0.0)
    ]  # fmt: skip
    assert measure(store, names, by=[]).select(names).row(0) == (3, 2, None, None, None, None, None)
    add(tmp_path, link=[{"link_id": "5", "delivery_id": "7", "type_code": 1}])
    assert measure(open_store(tmp_path), names, delivery="7").select(names).row(0) == (2, 1, 1, 1, 0, 0, 0.5)


def _random(seed: int) -> Snapshot:
    """Deliveries whose messages are known or not, with hits and bounces in domains and countries of both kinds."""
    chance = random.Random(seed)
    known = {str(key): chance.random() < 0.7 for key in range(6)}
    places = list(product(DOMAINS, COUNTRIES))
    events, messages = [], []
    for number in range(150):
        key, (domain, country) = chance.choice(list(known)), chance.choice(places)
        events.append({
            "delivery_id": key, "event_id": str(number), "message_id": f"{key}-{number % 9}", "domain": domain,
            "country": country, "has_messages": known[key],
            "event_type": chance.choice(["opened", "clicked", "unknown", None, "bounced", "delivered"]),
            "reported_type": chance.choice(["unknown", "unknown", "unknown", None]),
        })  # fmt: skip
        key, (domain, country) = chance.choice(list(known)), chance.choice(places)
        messages.append({
            "delivery_id": key, "message_id": f"{key}-m{number}", "domain": domain, "country": country,
            "status": chance.choice(STATUSES), "failure_reason": chance.choice([1, 3, 8, None]),
            "is_complaint": chance.random() < 0.1, "is_seed": False,
        })  # fmt: skip
    return tables(event=events, message=messages)


SQL = """
WITH holes AS (SELECT DISTINCT {keys} FROM event WHERE has_messages = false),
sums AS (SELECT {keys}, count(*) FILTER (status = 'delivered') AS delivered,
    count(*) FILTER (is_complaint) AS complaints FROM message GROUP BY ALL),
hits AS (SELECT {keys}, count(DISTINCT message_id) AS unique_opens,
    CASE WHEN count(*) FILTER ((event_type IS NULL OR event_type = 'unknown') AND reported_type IS NULL) = 0
    THEN count(*) FILTER (event_type = 'clicked') END AS total_clicks
    FROM event WHERE event_type IS NULL OR event_type NOT IN ('bounced', 'delivered') GROUP BY ALL)
SELECT {either}, CASE WHEN holes.one IS NULL THEN coalesce(delivered, 0) END AS delivered,
    CASE WHEN holes.one IS NULL THEN coalesce(complaints, 0) END AS complaints,
    coalesce(unique_opens, 0) AS unique_opens, CASE WHEN hits.one IS NULL THEN 0 ELSE total_clicks END AS total_clicks
FROM sums FULL JOIN hits ON {match} LEFT JOIN holes ON {hole}
"""


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("keys", [("delivery_id",), ("domain",), ("delivery_id", "domain"), ("domain", "country")])
def test_unknown_counts_agree_with_sql(seed: int, keys: tuple[str, ...]) -> None:
    given = _random(seed)
    event, message = (given.scan(name).collect().with_columns(pl.col(pl.Enum).cast(pl.String)).to_arrow()
                      for name in ("event", "message"))  # fmt: skip
    connection = duckdb.connect()
    connection.register("event", event)
    connection.register("message", message)
    either = ", ".join(f"coalesce(sums.{key}, hits.{key}) AS {key}" for key in keys)
    match = " AND ".join(f"sums.{key} IS NOT DISTINCT FROM hits.{key}" for key in keys)
    hole = " AND ".join(f"coalesce(sums.{key}, hits.{key}) IS NOT DISTINCT FROM holes.{key}" for key in keys)
    asked = SQL.format(keys=", ".join(("1 AS one", *keys)), either=either, match=match, hole=hole)
    names = ["delivered", "complaints", "unique_opens", "total_clicks"]
    expected = connection.sql(f"SELECT {', '.join((*keys, *names))} FROM ({asked})").fetchall()
    measured = measure(given, names, by=list(keys)).select(*keys, *names).rows()
    assert sorted(measured, key=str) == sorted(expected, key=str)
