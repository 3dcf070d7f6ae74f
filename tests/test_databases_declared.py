"""A database of another product is read by a TOML alone: an invented one in SQLite, every expected row by hand."""

import sqlite3
from pathlib import Path

import polars as pl
import pytest

import trackkit as tk
from trackkit import schema
from trackkit.errors import RequestError
from trackkit.sources.table_formats import ADOBE_EXPORT, built_in

SHOPMAIL = """
name = "shopmail"
what = "Shopmail's database"
engine = "database"
zone = "UTC"
ids = ["delivery_id", "recipient_id"]
untold = "message"

[recognise]
because = "a database with the tables 'mailings' and 'contacts', behind any prefix"
tables = ["mailings", "contacts"]
prefixed = true

[[table]]
name = "mailings"
table = "delivery"
required = ["delivery_id"]

[table.columns]
delivery_id = ["id"]
label = ["title"]
untold = ["untold"]

[[table]]
name = "clicks"
table = "event"
required = ["event_id"]
dated = ["seen_at | clicked_at"]
where = { kind = "mail" }
tells = "clicked"
notes = ["clicks in the shop are not read"]

[[table.join]]
table = "contacts"
on = { contact = "id" }
columns = { address = "email" }

[table.columns]
event_id = ["id"]
delivery_id = ["mailing"]
occurred_at = ["clicked_at"]
address = ["address"]

[table.derive]
event_id = "'clicks:' || event_id"
reported_type = "=clicked"

[[table]]
name = "opens"
table = "event"
needed = ["id", "opened_at"]
tells = "opened"

[table.columns]
event_id = ["id"]
"""
TABLES = """
create table sm_mailings (id integer primary key, title text);
create table sm_contacts (id integer primary key, email text);
create table sm_clicks (id integer primary key, mailing int, contact int, clicked_at text, kind text);
create table sm_opens (id integer primary key);
insert into sm_mailings values (1, 'March');
insert into sm_contacts values (7, 'ana@a.example');
insert into sm_clicks values (1, 1, 7, '2026-03-01 10:00:00', 'mail'), (2, 1, 7, '2026-03-01 10:00:05', 'shop'),
    (3, 1, 8, '2026-03-02 10:00:00', 'mail');
"""


@pytest.fixture
def database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "formats").mkdir()
    (tmp_path / "formats" / "shopmail.toml").write_text(SHOPMAIL)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "trackkit.toml").touch()
    with sqlite3.connect(tmp_path / "shop.db") as connection:
        connection.executescript(TABLES)
    return tmp_path / "shop.db"


def test_another_product_s_tables_are_joined_chosen_and_dated_as_its_format_says(database: Path) -> None:
    store = tk.open_store(database.parent / "store")
    report = store.ingest(f"sqlite:///{database}")
    events = store.scan("event").select("event_id", "event_type", "delivery_id", "address").sort("event_id").collect()
    assert events.rows() == [("clicks:1", "clicked", "1", "ana@a.example"), ("clicks:3", "clicked", "1", None)]
    assert {path.split(" ")[1]: why for path, why in report.ignored_files.items()} == {
        "sm_opens": "without a column for opened_at"
    }
    clicks = next(one for one in report.sources if one.path.endswith("sm_clicks"))
    assert "clicks in the shop are not read" in clicks.assumptions
    assert store.scan("delivery").select("label", "untold").collect().rows() == [("March", "message opened")]
    with sqlite3.connect(database) as connection:  # older than the overlap of two days, and newer
        connection.executescript("""
            insert into sm_clicks values (4, 1, 7, '2026-02-01 10:00:00', 'mail'), (5, 1, 7, '2026-03-03', 'mail')""")
    store.ingest(f"sqlite:///{database}")
    kept = store.scan("event").select("event_id").collect()["event_id"].sort().to_list()
    assert kept == ["clicks:1", "clicks:3", "clicks:5"]


def test_a_format_of_databases_says_by_which_tables_it_is_known(database: Path) -> None:
    place = database.parent / "formats" / "shopmail.toml"
    place.write_text(SHOPMAIL.replace('tables = ["mailings", "contacts"]\n', ""))
    with pytest.raises(RequestError, match="a database needs 'tables' in 'recognise'"):
        tk.open_store(database.parent / "store").ingest(f"sqlite:///{database}")


def test_a_log_of_the_platform_tells_all_kinds_of_hits() -> None:
    assert built_in(ADOBE_EXPORT).tables["tracking_log"].tells.split() == list(schema.HITS)


def test_a_log_of_another_target_is_named_in_one_table_only() -> None:
    targets = [name for one in built_in(ADOBE_EXPORT).table for name in one.targets]
    assert len(targets) == 18 and pl.Series(targets).is_unique().all()
