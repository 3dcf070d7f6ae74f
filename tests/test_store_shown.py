"""A store as a thing: what it shows of itself, its tables by name, the words of its columns, SQL."""

import html
from pathlib import Path

import polars as pl
import pytest
from deltalake import DeltaTable

import trackkit as tk
from trackkit import schema
from trackkit.errors import RequestError


@pytest.fixture(scope="module")
def store(demo_store):
    return tk.open_store(demo_store)


def _opens(folder: Path, *instants: str) -> Path:
    """An export of the platform with an open of delivery 7 at each instant."""
    folder.mkdir(exist_ok=True)
    (folder / "tracking_url.csv").write_text("iTrackingUrlId,iDeliveryId,iType,sLabel\n1,0,2,Open\n")
    hits = [f"{place},{at},1,{place},7,{place}" for place, at in enumerate(instants, 1)]
    header = "iTrackingLogId,tsLog,iUrlId,iBroadLogId,iDeliveryId,iRecipientId"
    (folder / "tracking_log.csv").write_text("\n".join([header, *hits, ""]))
    return folder


def _texts(shown: str) -> list[list[str]]:
    """The cells of an HTML table, row by row."""
    rows = shown.split("<tr>")[1:]
    return [
        [html.unescape(cell.partition(">")[2].partition("</")[0]) for cell in row.split("<t")[1:] if "</t" in cell]
        for row in rows
    ]


def test_it_shows_every_table_with_what_a_scan_counts(store):
    cells = {row[0]: row for row in _texts(store._repr_html_())}
    assert set(cells) == {"table", *(name for name in schema.TABLES if store.has(name))}
    for name in ("event", "message", "delivery", "user_agent"):
        assert cells[name][1] == f"{store.scan(name).select(pl.len()).collect().item():,}"
    first, last = store["event"].select(first=pl.col("occurred_at").min(), last=pl.col("occurred_at").max()).collect()
    assert cells["event"][2:4] == [f"{first.item():%Y-%m-%d}", f"{last.item():%Y-%m-%d}"]
    assert cells["user_agent"][2:4] == ["", ""]


def test_at_the_prompt_it_is_one_line_a_table(store):
    lines = repr(store).splitlines()
    assert lines[0].startswith(f"Store {store.location!r}: ") and "the last 20" in lines[0] and "time zone" in lines[0]
    assert [line.split()[0] for line in lines[2:-1]] == list(store.describe()["table"])
    assert 'store["event"]' in lines[-1] and max(map(len, lines[1:-1])) <= 140


def test_its_size_is_that_of_its_files(store):
    sizes = dict(store.describe().select("table", "bytes").iter_rows())
    assert sizes["event"] == sum(Path(path).stat().st_size for path in store.files("event"))


def test_showing_reads_no_rows(store):
    """The files lie where nobody can read them but their footers: a scan of any column would fail."""
    now = tk.open_store(store.location).snapshot()
    now.frames._opened |= {name: pl.LazyFrame({"unread": []}) for name in schema.TABLES}
    assert now.describe().equals(store.describe())


def test_days_are_those_of_the_stores_zone(tmp_path):
    log = _opens(tmp_path / "raw", "2026-05-31 23:30:00")
    for zone, day in (("UTC", "2026-05-31"), ("Europe/Paris", "2026-06-01")):
        place = tmp_path / zone.replace("/", "-")
        tk.open_store(place).ingest(log, timezone="UTC")
        assert day in next(line for line in repr(tk.open_store(place, zone)).splitlines() if line.startswith("event "))


def test_a_store_that_is_not_there_or_is_damaged_shows_why(tmp_path):
    assert repr(tk.open_store(tmp_path / "none")).endswith("nothing was loaded yet.")
    broken = tk.open_store(tmp_path / "broken")
    broken.ingest(_opens(tmp_path / "raw", "2026-05-01 10:00:00"))
    next(Path(tmp_path, "broken", "event").glob("**/*.parquet")).unlink()
    again = tk.open_store(tmp_path / "broken")
    assert "damaged" in repr(again) and "damaged" in again._repr_html_()


def test_a_table_by_its_name(store):
    assert store["event"].collect_schema() == store.scan("event").collect_schema()
    clicks = store["event"].filter(pl.col("event_type") == "clicked").select(pl.len()).collect().item()
    assert clicks == store.sql("SELECT count(*) FROM event WHERE event_type = 'clicked'").collect().item() > 0
    with pytest.raises(RequestError, match="Did you mean 'event'"):
        store["evnt"]
    assert "event" in store._ipython_key_completions_()


def test_the_words_of_every_column(store):
    for name, table in schema.TABLES.items():
        told = store.describe(name)
        assert told["column"].to_list() == list(table.schema)
        assert told["derived"].sum() == len(table.derived)
    event = {row["column"]: row for row in store.describe("event").iter_rows(named=True)}
    assert event["occurred_at"] | {"meaning": ""} == {
        "column": "occurred_at", "type": "Datetime", "unit": "UTC", "meaning": "", "values": None, "derived": False,
        "personal": None,
    }  # fmt: skip
    assert event["activity"]["values"] == ["human", "proxy", "scanner"]
    assert (event["ip"]["personal"], event["url"]["personal"], event["collapse_seconds"]["unit"]) == (
        "ip", "url", "seconds",
    )  # fmt: skip
    with pytest.raises(RequestError, match="Did you mean 'message'"):
        store.describe("mesage")


def test_a_description_is_shown_whole(store):
    longest = max((column.meaning for column in schema.EVENT.columns), key=len)
    assert longest in html.unescape(store.describe("event")._repr_html_())
    assert str(store.describe("event")).count("activity_rule") == 1


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("SELECT * FROM evnt", "no table 'evnt'. Did you mean 'event'?"),
        ("SELECT * FROM counter", "No load brought the table 'counter'"),
        ("SELECT event_typ FROM event", "no column 'event_typ' in event. Did you mean 'event_type'?"),
        ("SELECT e.event_typ FROM event AS e", "Did you mean 'event_type'?"),
        ("DROP TABLE event", "not 'DROP'"),
        ("DELETE FROM event", "not 'DELETE'"),
        ("TRUNCATE TABLE event", "not 'TRUNCATE'"),
        ("/* SELECT */ UPDATE event SET ip = ''", "not 'UPDATE'"),
        ("SELECT 1; DROP TABLE event", "not understood"),
        ("SELECT count(* FROM event", "not understood"),
        ("SELECT * FROM read_csv('x.csv')", "leave 'read_csv(' out"),
        ("  ", "The query is empty"),
    ],
)
def test_sql_refuses_in_one_sentence(store, query, words):
    with pytest.raises(RequestError) as refused:
        store.sql(query)
    assert words in str(refused.value)


def test_sql_is_lazy_and_joins(store):
    asked = store.sql("""
        WITH opens AS (SELECT delivery_id, message_id FROM event WHERE event_type = 'opened')
        SELECT m.status, count(*) AS opens FROM opens o JOIN message m USING (delivery_id, message_id)
        GROUP BY m.status ORDER BY opens DESC
    """)
    assert isinstance(asked, pl.LazyFrame)
    opens = store["event"].filter(pl.col("event_type") == "opened")
    joined = opens.join(store["message"], on=["delivery_id", "message_id"]).group_by(pl.col("status").cast(pl.String))
    assert sorted(asked.collect().rows()) == sorted(joined.agg(pl.len()).collect().rows())


def test_a_load_in_memory_answers_too(tmp_path):
    tables = tk.load(_opens(tmp_path / "raw", "2026-05-01 10:00:00", "2026-05-03 10:00:00"))
    assert tables.sql("SELECT DISTINCT event_type FROM event").collect().item() == "opened"
    assert tables.describe().filter(table="event").select("rows", "bytes").row(0) == (2, None)
    assert "event" in repr(tables) and "2026-05-01" in repr(tables)


def test_delta_tables_hold_the_meaning_of_their_columns_after_several_loads(tmp_path):
    store = tk.open_store(tmp_path / "store")
    for day in (1, 2):
        store.ingest(_opens(tmp_path / f"raw{day}", f"2026-05-0{day} 10:00:00"))
    for name in ("event", "link"):
        fields = DeltaTable(tmp_path / "store" / name).schema().fields
        comments = {field.name: field.metadata.get("comment", "") for field in fields}
        assert [comments[column.name] for column in schema.TABLES[name].columns] == [
            column.comment for column in schema.TABLES[name].columns
        ]
    assert comments["filled"] == ""
