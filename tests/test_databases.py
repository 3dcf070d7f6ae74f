"""SQL sources on real servers: the platform's own tables, watermarks, killed loads, secrets, errors."""

import subprocess
import sys
from datetime import datetime
from pathlib import Path

import polars as pl
import pytest
import sqlalchemy as sa
from polars.testing import assert_frame_equal

import trackkit as tk
from tests import databases
from tests.databases import NAMES, PASSWORD, fill
from tests.instance import write_instance
from trackkit.errors import DataError, RequestError
from trackkit.sources.sql.connection import Database

HITS = "nmstrackinglogrcp"


@pytest.fixture(scope="module")
def instance(tmp_path_factory):
    """Tables of the platform alone: the raw log and the pages of a web application are left out."""
    folder = write_instance(tmp_path_factory.mktemp("instance"), seed=5, messages=300, hits=1_500)
    (folder / "redir" / "log" / "0x0001.log").unlink()
    (folder / "web_page_hit.csv").unlink()
    return folder


@pytest.fixture(scope="module")
def crm(postgres, instance):
    """The same instance in PostgreSQL."""
    fill(postgres.engine("crm"), instance)
    return postgres


def _tables(store) -> dict[str, pl.DataFrame]:
    snapshot, own = store.snapshot(), ["source_file", "source_row"]
    return {
        name: frame.drop(own, strict=False).collect().sort(pl.all())
        for name, frame in snapshot.frames.items() if name != "quarantine"
    }  # fmt: skip


def _assert_same(one, other) -> None:
    left, right = _tables(one), _tables(other)
    assert {name for name in left if left[name].height} == {name for name in right if right[name].height}
    for name, frame in left.items():
        if frame.height:
            assert_frame_equal(frame, right[name])


def _count(server, database: str, table: str, where: str = "true") -> int:
    with server.engine(database).connect() as connection:
        return connection.scalar(sa.text(f"select count(*) from {table} where {where}"))


def _by_table(report) -> dict[str, object]:
    return {one.path.split(" ", 1)[1]: one for one in report.sources}


def test_the_platform_s_tables_give_the_same_as_its_files_by_every_driver(crm, instance, tmp_path):
    files, adbc, plain = (tk.open_store(tmp_path / name) for name in ("files", "adbc", "plain"))
    files.ingest(instance)
    report = adbc.ingest(crm.url("crm"))
    slow = plain.ingest(crm.url("crm").replace("postgresql:", "postgresql+psycopg:"))
    for name in NAMES.values():
        rows = _count(crm, "crm", name)
        assert (_by_table(report)[name].read, _by_table(slow)[name].read) == (rows, rows)
    assert report.is_settled
    assert {one.path.split(" ")[0] for one in report.sources} == {crm.shown("crm")}
    assert "ADBC" in str(report)
    assert "SQLAlchemy (psycopg)" in str(slow)
    for store in (adbc, plain):
        _assert_same(files, store)
        for by in ("delivery_id", "domain", "link_id", "device"):
            wanted = tk.measure(files, by=by).sort(pl.all())
            assert_frame_equal(tk.measure(store, by=by).sort(pl.all()), wanted)
    # a row is found again by the key it has in its table
    event = adbc.scan("event").filter(pl.col("event_id") == "7").collect()
    assert event["source_row"].to_list() == [7] * event.height
    assert event["source_file"].unique().to_list() == [f"{crm.shown('crm')} {HITS}"] * bool(event.height)


@pytest.fixture
def own(postgres, instance, request):
    """A database that the test may change, and its engine."""
    name = request.node.name[:50].lower()
    engine = postgres.engine(name)
    fill(engine, instance)
    return postgres, name, engine


def _add(engine, **values: object) -> None:
    columns = {"iurlid": 1, "ibroadlogid": 1, "ideliveryid": 1, "irecipientid": 0, "ssourceid": "late"} | values
    table = sa.table(HITS, *(sa.column(name) for name in columns))
    with engine.begin() as connection:
        connection.execute(sa.insert(table), columns)


def test_a_watermark_reads_the_new_the_late_and_no_more(own, tmp_path):
    server, name, engine = own
    store, url = tk.open_store(tmp_path / "store"), server.url(name)
    store.ingest(url)
    before, marked, first = _tables(store), store.watermarks, store.scan("event").collect().height
    again = store.ingest(url, overlap_days=0.5)
    assert again.total("kept") == 0
    with engine.connect() as connection:
        newest = connection.scalar(sa.text(f"select max(tslog) from {HITS}"))
    recent = _count(server, name, HITS, f"tslog >= timestamp '{newest}' - interval '12 hours'")
    assert _by_table(again)[HITS].read == _by_table(again)[HITS].duplicate == recent < first
    assert (store.watermarks, _tables(store).keys()) == (marked, before.keys())
    for table, frame in _tables(store).items():
        assert_frame_equal(frame, before[table])

    _add(engine, itrackinglogid=90_001, tslog=datetime(2026, 3, 9))  # new
    _add(engine, itrackinglogid=90_002, tslog=newest.replace(day=2, hour=1))  # late, inside the overlap
    _add(engine, itrackinglogid=90_003, tslog=datetime(2026, 2, 1))  # later than the overlap allows
    _add(engine, itrackinglogid=90_004, tslog=None)  # undated: always read
    third = store.ingest(url)
    assert _by_table(third)[HITS].kept == 3
    assert store.ingest(url, overlap_days=0).total("kept") == 0
    assert store.ingest(url, overlap_days=None).total("kept") == 1
    assert store.scan("event").collect().height == first + 4
    # other options are another reading
    assert _by_table(store.ingest(url, timezone="Europe/Paris"))[HITS].read == _count(server, name, HITS)


def test_a_hit_dated_in_the_future_does_not_hide_those_to_come(own, tmp_path):
    server, name, engine = own
    store, url = tk.open_store(tmp_path / "store"), server.url(name)
    _add(engine, itrackinglogid=90_001, tslog=datetime(2999, 1, 1))
    store.ingest(url)
    today = datetime.now().replace(microsecond=0)
    _add(engine, itrackinglogid=90_002, tslog=today)
    assert _by_table(store.ingest(url))[HITS].kept == 1


KILLED = """
import os, sys
from trackkit.store import open_store
open_store(sys.argv[1]).ingest(sys.argv[2], progress=lambda done, total, label: "nmsuseragent" in label and os._exit(9))
"""


def test_a_killed_load_goes_on_from_the_last_commit(own, tmp_path):
    server, name, engine = own
    url, whole, killed = server.url(name), tk.open_store(tmp_path / "whole"), tk.open_store(tmp_path / "killed")
    killed.ingest(url)
    _add(engine, itrackinglogid=90_001, tslog=datetime(2026, 3, 9))
    said = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path / "killed"), url], check=False)
    assert said.returncode == 9
    assert killed.ingest(url).total("kept") == 1
    whole.ingest(url)
    _assert_same(whole, killed)


def _cli(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "trackkit", *arguments], capture_output=True, text=True, check=False)


def test_a_password_is_said_nowhere_and_kept_nowhere(crm, tmp_path):
    store = str(tmp_path / "store")
    good, wrong = crm.url("crm"), crm.url("crm", PASSWORD + "no")
    urls = (good, wrong, wrong.replace("postgresql:", "postgresql+psycopg:"), good.replace(f":{crm.port}/", ":1/"),
            good.replace("/crm", "/nothing_here"), good.replace("postgresql:", "postgre:"), good + "?schema=none",
            good + "?sslmode=nonsense")  # fmt: skip
    said = [_cli("--debug", "ingest", url, "--store", store) for url in urls]
    said += [_cli("ingest", url, "--store", store, "--json") for url in (good, wrong, urls[5])]
    assert [one.returncode for one in said] == [0, 3, 3, 3, 3, 2, 3, 3, 0, 3, 2]
    secrets = Database.of(good).secrets() | {PASSWORD, PASSWORD.split()[1], "p%40ss"}
    for one in said:
        assert not [secret for secret in secrets if secret in one.stdout + one.stderr]
    assert all("Traceback" in one.stderr for one in said[1 : len(urls)])
    assert [one.stderr.count("\n") for one in said[-2:]] == [1, 1]
    loads = tk.open_store(store).loads
    everything = str([load["report"] for load in loads]) + str(tk.open_store(store)._lake.loads("fingerprints").rows())
    everything += str(tk.open_store(store).scan("event").collect().to_dicts())
    kept = b"".join(path.read_bytes() for path in Path(store).rglob("*") if path.is_file())
    assert not [secret for secret in secrets if secret in everything or secret.encode() in kept]
    assert databases.READER not in everything


@pytest.mark.parametrize(("url", "error", "said"), [
    ("postgre://u@h/d", RequestError, "Did you mean 'postgresql'"),
    ("s3://bucket/logs", RequestError, "no kind of database"),
    ("://", RequestError, "is the URL of a database"),
    ("postgresql://u:p@h:port/d", RequestError, "is the URL of a database"),
    ("postgresql+asyncpg_none://u@h/d", RequestError, "no kind of database"),
    ("mysql+mysqldb://u@h/d", RequestError, "driver 'MySQLdb' of mysql://h/d is missing"),
    ("sqlite:///nowhere.db", RequestError, "no SQLite file 'nowhere.db'"),
    ("postgresql://u@127.0.0.1:1/d", DataError, "check host, name, user and password"),
])  # fmt: skip
def test_what_cannot_be_reached_is_said_in_one_sentence(url, error, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error) as raised:
        tk.open_store(tmp_path / "store").ingest(url)
    assert said in str(raised.value)
    assert not (tmp_path / "nowhere.db").exists()


def test_formats_of_files_are_not_asked_of_databases(tmp_path):
    with pytest.raises(RequestError, match="'mailchimp' is no format of databases; adobe_export, listmonk, mautic are"):
        tk.open_store(tmp_path / "store").ingest("postgresql://u@h/d", format="mailchimp")


def test_names_values_and_types_may_be_anything(postgres, tmp_path):
    engine, schema = postgres.engine("odd"), 'odd"; drop table x; --%s %(a)s :b'
    with engine.begin() as connection:
        quoted = '"' + schema.replace('"', '""') + '"'
        for order in (
            f"create schema {quoted}",
            f'create table {quoted}."Nms""Delivery" ("iDeliveryId" numeric(30), "sLabel" text, "tsContact" timestamptz,'
            ' "iState" int, "blob" bytea)',
            f"insert into {quoted}.\"Nms\"\"Delivery\" values (9007199254740993, '=cmd|''x''!A0 <b>%s :b', "
            "'2026-03-01 12:00:00+02', 95, '\\x00'), (null, 'none', null, null, null), "
            "(3, 'late', 'infinity', 95, null)",
        ):
            connection.exec_driver_sql(order.replace("%", "%%"))
    store, url = tk.open_store(tmp_path / "store"), postgres.url("odd", schema=schema)
    report = store.ingest(url)
    delivery = store.scan("delivery").collect()
    assert delivery.select("delivery_id", "label", "state").rows() == [("9007199254740993", "=cmd|'x'!A0 <b>%s :b", 95)]
    assert str(delivery["contact_at"][0]) == "2026-03-01 10:00:00+00:00"
    assert (report.total("read"), report.total("quarantined"), report.is_settled) == (3, 2, True)
    assert report.sources[0].ignored_columns == ["blob"]
    reasons = store.quarantine["reason"].sort().to_list()
    assert reasons == ["'infinity' in column 'tsContact' is not an instant that exists",
                       "no delivery_id (column 'iDeliveryId')"]  # fmt: skip


def test_sqlite_is_read_by_the_same_code_and_never_written(instance, tmp_path):
    path = tmp_path / "crm#% 1.db"
    url = sa.URL.create("sqlite", database=str(path)).render_as_string()
    fill(sa.create_engine(url, poolclass=sa.NullPool), instance)
    path.chmod(0o400)
    files, store = tk.open_store(tmp_path / "files"), tk.open_store(tmp_path / "store")
    files.ingest(instance)
    report, again = store.ingest(url), store.ingest(url, overlap_days=0.25)
    _assert_same(files, store)
    hits = [one for load in (report, again) for one in load.sources if one.path == f"sqlite:///{path.name} {HITS}"]
    assert [one.is_settled for one in hits] == [True, True]
    assert (again.total("kept"), hits[1].read < hits[0].read) == (0, True)
    assert [one.name for one in tmp_path.iterdir() if one.is_file()] == [path.name]


def test_mariadb_tells_instants_with_a_zone_from_those_without(mariadb, tmp_path):
    engine = mariadb.engine("zones")
    with engine.begin() as connection:
        connection.exec_driver_sql("set time_zone = '+05:00'")
        connection.exec_driver_sql(
            "create table nmsdelivery (iDeliveryId bigint, tsContact timestamp null, tsBroadStart datetime(6))"
        )
        connection.exec_driver_sql("insert into nmsdelivery values (1, '2026-03-01 12:00:00', '2026-03-01 12:00:00.5')")
    store = tk.open_store(tmp_path / "store")
    store.ingest(mariadb.url("zones"), timezone="Europe/Paris")
    row = store.scan("delivery").select("contact_at", "started_at").collect().row(0)
    assert [str(one) for one in row] == ["2026-03-01 07:00:00+00:00", "2026-03-01 11:00:00.500000+00:00"]
