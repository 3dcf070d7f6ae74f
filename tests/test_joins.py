"""Segments of one's own, joined: worked out by hand on four recipients, and by SQL on a random instance."""

import json
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import polars as pl
import pytest

from tests.test_forget import add, message_of, open_of
from trackkit import schema
from trackkit.cli import app
from trackkit.engine.measure import measure
from trackkit.engine.snapshot import Snapshot
from trackkit.errors import RequestError
from trackkit.store import open_store

AT = datetime(2026, 10, 4, 22, 30, tzinfo=UTC)
CRM = pl.DataFrame({"recipient_id": [1, 2, 3, 99], "segment": ["vip", "vip", "new", "new"], "age": [40, 50, 20, 20]})
# message: delivery, message, recipient; 4 is in no row of the CRM, and one message has no recipient
SENT = [("7", "a", "1"), ("7", "b", "2"), ("7", "c", "3"), ("7", "d", "4"), ("7", "e", None)]
SENT += [("8", "a", "1"), ("8", "b", "3")]
HITS = [("7", "a", "1", "opened"), ("7", "a", "1", "clicked"), ("7", "c", "3", "opened"), ("7", "d", "4", "opened")]
HITS += [("7", "e", None, "opened"), ("8", "a", "1", "opened"), ("8", "b", "3", "clicked")]


def _tables(**more: list[dict[str, Any]]) -> Snapshot:
    key = ("delivery_id", "message_id", "recipient_id")
    rows: dict[str, list[dict[str, Any]]] = {
        "delivery": [{"delivery_id": "7", "to_deliver": 5}, {"delivery_id": "8", "to_deliver": 2}],
        "message": [dict(zip(key, each, strict=True), status="delivered", domain="x.example") for each in SENT],
        "event": [
            dict(zip((*key, "event_type"), hit, strict=True), person_id=f"recipient {hit[2]}", occurred_at=AT,
                 domain="x.example", activity="human", has_messages=True, reported_type=1)
            for hit in HITS
        ],
    }  # fmt: skip
    rows |= more
    return Snapshot({name: pl.LazyFrame(each, schema=schema.TABLES[name].schema) for name, each in rows.items()})


def _by(by: str | list[str], metrics: str | list[str], crm: Any = CRM, **how: Any) -> list[tuple[Any, ...]]:
    return measure(_tables(), metrics, by=by, join={"recipient_id": crm}, **how).rows()


def test_denominators_are_those_of_the_segment() -> None:
    assert _by("segment", ["open_rate", "unique_clicks"]) == [
        ("new", 1.0, 1, 2, 2),  # 3 opened in 7, and clicked in 8, which is an open
        ("vip", 2 / 3, 1, 2, 3),
        (None, 1.0, 0, 2, 2),  # 4, and the message of nobody
    ]
    assert _by("age", "delivered") == [(20, 2), (40, 2), (50, 1), (None, 2)]
    assert _by(["segment", "age"], "delivered")[1:] == [("vip", 40, 2), ("vip", 50, 1), (None, None, 2)]
    assert _by("segment", "unique_people_clicks") == [("new", 1), ("vip", 1), (None, 0)]


def test_with_other_breakdowns_deliveries_and_conditions() -> None:
    assert _by(["delivery_id", "segment"], "delivered") == [
        ("7", "new", 1), ("7", "vip", 2), ("7", None, 2), ("8", "new", 1), ("8", "vip", 1)
    ]  # fmt: skip
    assert _by(["segment", "day"], "total_opens", delivery="8") == [
        ("new", date(2026, 10, 4), 0), ("vip", date(2026, 10, 4), 1)
    ]  # fmt: skip
    assert _by([], "delivered", where="segment = 'vip' AND age > 40") == [(1,)]
    assert _by([], "delivered", where=pl.col("segment").is_null() & (pl.col("domain") == "x.example")) == [(2,)]
    assert _by("delivery_id", "unique_opens", where="segment = 'vip'") == [("7", 1), ("8", 1)]
    assert _by("segment", "unique_opens", activity="human") == [("new", 2), ("vip", 2), (None, 2)]
    low, high = measure(_tables(), "open_rate", by="segment", join={"recipient_id": CRM}, interval=0.95).row(1)[2:4]
    assert 0.2 < low < 2 / 3 < high < 0.95
    words = measure(_tables(), "open_rate", by="segment", join={"recipient_id": CRM}, definitions="sendgrid")
    assert words["segment"].to_list() == ["new", "vip", None]
    assert "delivered" in measure(_tables(), by="segment", join={"recipient_id": CRM}).columns


def test_frames_of_other_libraries_and_types() -> None:
    usual = _by("segment", "delivered")
    pandas = CRM.to_pandas()
    with_gap = pd.concat([pandas, pd.DataFrame({"segment": ["lost"]})])  # its ids become 1.0, and one is unknown
    categories = pandas.astype({"segment": "category"})
    for crm in (pandas, with_gap, categories, CRM.to_arrow(), CRM.lazy(), CRM.cast({"recipient_id": pl.String})):
        assert _by("segment", "delivered", crm) == usual
    vips = CRM.select("recipient_id", vip=pl.col("segment") == "vip")
    assert _by("vip", "delivered", vips) == [(False, 2), (True, 3), (None, 2)]
    assert _by([], "delivered", vips, where="vip") == _by([], "delivered", vips, where="vip = TRUE") == [(3,)]
    assert _by([], "delivered", vips, where="vip IS NOT TRUE") == [(4,)]
    with pytest.raises(RequestError, match="column 'vip' is true or false, and 'yes' is not; write it as TRUE"):
        _by([], "delivered", vips, where="vip = 'yes'")


def test_what_is_joined_to_deliveries_says_what_they_are() -> None:
    plans = {"delivery_id": pl.DataFrame({"delivery_id": [7, 55], "plan": ["spring", "ghost"]})}
    several = measure(_tables(), ["to_deliver", "delivered", "unique_people_clicks"], by="plan", join=plans)
    assert several.rows() == [("spring", 5, 5, 1), (None, 2, 2, 1)], "and none for a delivery that is not here"
    of_spring = measure(_tables(), "to_deliver", where="plan = 'spring'", join=plans)
    assert of_spring.rows() == [("7", 5)]
    assert measure(_tables(), "to_deliver", where="plan = 'ghost'", join=plans).rows() == []
    both = plans | {"recipient_id": CRM}
    rows = measure(_tables(), "delivered", by=["plan", "segment"], join=both).rows()
    assert rows == [("spring", "new", 1), ("spring", "vip", 2), ("spring", None, 2), (None, "new", 1), (None, "vip", 1)]
    unloaded = Snapshot({name: frame for name, frame in _tables().frames.items() if name != "delivery"})
    assert measure(unloaded, "delivered", by="plan", join=plans).rows() == [("spring", 5), (None, 2)]


def test_what_is_joined_to_domains() -> None:
    owners = {"domain": pl.DataFrame({"domain": ["x.example"], "owner": ["Example"]})}
    assert measure(_tables(), "delivered", by="owner", join=owners).rows() == [("Example", 7)]


@pytest.mark.parametrize(
    ("join", "says"),
    [
        (CRM, "`join` is a key and a frame"),
        ({"recipient": CRM}, "Nothing can be joined by 'recipient'. Did you mean 'recipient_id'"),
        ({"recipient_id": "crm.csv"}, "a frame of polars, pandas or pyarrow, not str"),
        ({"recipient_id": CRM.drop("recipient_id")}, "no such column; it has segment, age"),
        ({"recipient_id": CRM.select("recipient_id")}, "no further column"),
        ({"recipient_id": pl.concat([CRM, CRM.head(2)])}, "has 2 keys in several rows, as '1'"),
        ({"recipient_id": CRM.rename({"segment": "campaign"})}, "'campaign', which is a breakdown already"),
        ({"recipient_id": CRM.rename({"segment": "status"})}, "'status', a name that is taken"),
        ({"recipient_id": CRM.rename({"segment": "open_rate"})}, "'open_rate', a name that is taken"),
        ({"recipient_id": CRM, "domain": CRM.select(domain="segment", age="age").head(1)}, "'age', a name that is"),
        ({"recipient_id": CRM.with_columns(pl.col("recipient_id") / 2)}, "are fractions"),
        ({"recipient_id": CRM.with_columns(segment=pl.concat_list("age"))}, "a breakdown is one value"),
    ],
)
def test_what_cannot_be_joined(join: Any, says: str) -> None:
    with pytest.raises(RequestError, match=says):
        measure(_tables(), "delivered", by=[], join=join)


def test_metrics_whose_rows_lack_the_key() -> None:
    with pytest.raises(RequestError, match="to_deliver is measured on delivery rows, which have no segment"):
        _by("segment", "to_deliver")
    with pytest.raises(RequestError, match=r"There is no breakdown 'segmen'\. Did you mean 'segment'"):
        _by("segmen", "delivered")


def test_a_store_and_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    hits = [{**open_of(str(i), "7", each), "recipient_id": None} for i, each in enumerate("ab", 1)]
    sent = [message_of(each, "7") | {"recipient_id": f"00{each}"} for each in "abc"]
    add(tmp_path / "store", event=hits, message=sent, delivery=[{"delivery_id": "7"}])
    (tmp_path / "crm.csv").write_text("recipient_id,segment\n00a,vip\n00c,vip\n")
    command = ["measure", "--store", str(tmp_path / "store"), "--metrics", "delivered,unique_opens,total_opens"]
    command += ["--by", "segment", "--join", f"recipient_id={tmp_path / 'crm.csv'}", "--output", "json"]
    app.main(command, standalone_mode=False)
    by_segment = {row.pop("segment"): list(row.values()) for row in json.loads(capsys.readouterr().out)}
    assert by_segment == {"vip": [2, 1, 1], None: [1, 1, 1]}, "hits have the recipient of their message"
    pl.read_csv(tmp_path / "crm.csv").write_parquet(tmp_path / "crm.parquet")
    app.main([word.replace("crm.csv", "crm.parquet") for word in command], standalone_mode=False)
    assert json.loads(capsys.readouterr().out)[0]["delivered"] == 2
    for name, says in (("crm.txt", "a CSV or a Parquet file can"), ("none.csv", "cannot be joined")):
        with pytest.raises(RequestError, match=says):
            app.main([word.replace("crm.csv", name) for word in command], standalone_mode=False)


def test_sql_says_the_same(demo_store: Path) -> None:
    store = open_store(demo_store)
    ids = store["recipient"].select("recipient_id").collect().to_series().sort()
    crm = pl.DataFrame({"recipient_id": ids, "segment": [f"s{i % 4}" for i in range(len(ids))]})
    crm = crm.filter(pl.col("segment") != "s1")
    frames = {name: store[name].collect() for name in ("delivery", "message", "event")}
    with duckdb.connect() as sql:
        for name, frame in (frames | {"crm": crm}).items():
            sql.register(f"{name}s", frame.to_arrow(compat_level=pl.CompatLevel.oldest()))
        counted = "NOT coalesce(is_seed, false) AND delivery_id NOT IN (SELECT delivery_id FROM deliverys WHERE "
        counted += "coalesce(is_proof, false) OR coalesce(is_model, false) OR state = 100 OR delete_status <> 0)"
        expected = sql.execute(f"""
            SELECT * FROM (SELECT segment, count(*) FILTER (status = 'delivered') AS delivered
                FROM messages LEFT JOIN crms USING (recipient_id) WHERE {counted} GROUP BY segment) AS sent
            FULL JOIN (SELECT segment, count(DISTINCT (delivery_id, message_id)) AS unique_clicks,
                count(DISTINCT person_id) AS unique_people_clicks
                FROM events LEFT JOIN crms USING (recipient_id)
                WHERE {counted} AND event_type = 'clicked' GROUP BY segment) AS hit
            ON sent.segment IS NOT DISTINCT FROM hit.segment ORDER BY 1 NULLS LAST
        """).fetchall()
    names = ["delivered", "unique_clicks", "unique_people_clicks"]
    measured = measure(store, names, by="segment", join={"recipient_id": crm}).rows()
    assert measured == [(row[0], row[1], *row[3:]) for row in expected] and len(measured) == 4
