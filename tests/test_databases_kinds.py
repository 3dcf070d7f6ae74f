"""Databases as products leave them: tables that are not there, parts, views, several installations, odd URLs.

Every table is made from names and types alone, and every expected figure is worked out by hand.
"""

import json
import subprocess
import sys
import traceback

import phpserialize
import polars as pl
import pytest
import sqlalchemy as sa

import trackkit as tk
from trackkit.analysis.bounces import bounces
from trackkit.analysis.caveats import limits
from trackkit.engine.snapshot import Snapshot
from trackkit.errors import DataError, RequestError
from trackkit.sources.sql import is_database
from trackkit.sources.sql.connection import Database

SENT = ["to_deliver", "processed", "delivered", "failed", "hard_bounces", "soft_bounces", "complaints", "pending"]
RATES = ["delivery_rate", "open_rate", "hard_bounce_rate"]


def _run(engine: sa.Engine, script: str) -> None:
    with engine.begin() as connection:
        for order in filter(str.strip, script.split(";\n")):
            connection.exec_driver_sql(order.replace("%", "%%"))


# listmonk: 1.1 numbers neither views nor clicks and knows no bounces; later versions do.
BASE = """
create table subscribers (id serial primary key, email text, status text, created_at timestamptz default now(),
    updated_at timestamptz default '2026-01-01');
create table lists (id serial primary key, name text);
create table subscriber_lists (subscriber_id int, list_id int, status text, created_at timestamptz default '2026-01-01',
    updated_at timestamptz default '2026-01-01', primary key (subscriber_id, list_id));
create table campaigns (id serial primary key, name text, subject text, status text, messenger text, to_send int,
    sent int, send_at timestamptz, started_at timestamptz);
create table campaign_views ({number} campaign_id int, subscriber_id int, created_at timestamptz);
create table links (id serial primary key, url text);
create table link_clicks ({number} campaign_id int, link_id int, subscriber_id int, created_at timestamptz);
insert into subscribers (id, email, status) values (1, 'ana@a.example', 'enabled'), (2, 'ben@b.example', 'enabled'),
    (3, 'cem@a.example', 'enabled'), (4, 'dan@b.example', 'enabled');
insert into lists values (7, 'News');
insert into subscriber_lists (subscriber_id, list_id, status) values (1, 7, 'confirmed'), (2, 7, 'unsubscribed');
insert into campaigns values (10, 'March', 'Hello', 'finished', 'email', 5, 5, null, '2026-03-01 09:00+00'),
    (11, 'Unseen', 'Hello', 'finished', 'email', 4, 4, null, '2026-03-02 09:00+00'),
    (12, 'Draft', 'Hello', 'draft', 'email', 0, 0, null, null);
insert into campaign_views (campaign_id, subscriber_id, created_at) values (10, 1, '2026-03-01 10:00+00'),
    (10, 1, '2026-03-01 10:00+00'), (10, 2, '2026-03-01 11:00+00');
insert into links values (5, 'https://shop.example/');
insert into link_clicks (campaign_id, link_id, subscriber_id, created_at) values (10, 5, 1, '2026-03-01 10:01+00')
"""
BOUNCES = """
create table bounces (id serial primary key, subscriber_id int, campaign_id int, type text, meta text,
    created_at timestamptz);
insert into bounces values (1, 3, 10, 'hard', '{}', '2026-03-01 09:05+00'),
    (2, 4, 10, 'soft', '{}', '2026-03-01 09:06+00'), (3, 2, 10, 'complaint', '{}', '2026-03-01 12:00+00')
"""


@pytest.fixture
def base(postgres, request):
    """An empty database, and its engine."""
    name = request.node.name.split("[")[0][:50].lower()
    return postgres, name, postgres.engine(name)


def _listmonk(engine: sa.Engine, bounces: bool = True) -> None:
    _run(engine, BASE.replace("{number}", "id bigserial primary key," if bounces else ""))
    if bounces:
        _run(engine, BOUNCES)


def _why(report) -> dict[str, str]:
    return {path.split(" ", 1)[1]: why for path, why in report.ignored_files.items()}


def test_listmonk_counts_by_what_it_sent_and_what_bounced(base, tmp_path):
    server, name, engine = base
    _listmonk(engine)
    store = tk.open_store(tmp_path / "store")
    report = store.ingest(server.url(name))
    assert "counts as delivered" in str(report)
    figures = tk.measure(store, [*SENT, *RATES]).select("delivery_id", *SENT, *RATES)
    # of campaign 10 five were sent, two bounced, two of three were opened; of 11 only what was sent is known
    assert figures.rows() == [
        ("10", 5, 5, 3, 2, 1, 1, 1, None, 0.6, 2 / 3, 0.2), ("11", 4, 4, 4, 0, 0, 0, 0, None, 1.0, 0.0, 0.0),
        ("12", 0, 0, 0, 0, 0, 0, 0, None, None, None, None),
    ]  # fmt: skip
    assert tk.measure(store, SENT, by=[]).select(SENT).rows() == [(9, 9, 7, 2, 1, 1, 1, None)]
    by_domain = tk.measure(store, ["delivered", "unique_opens"], by="domain")
    assert by_domain.rows() == [("a.example", None, 1), ("b.example", None, 1)]
    assert tk.measure(store, "delivered", where="domain = 'a.example'")["delivered"].to_list() == [None] * 3
    of_all = {row["row"]: row["breakdown_of"] for row in bounces(store, "10", by="type").iter_rows(named=True)}
    assert of_all == {"group": 5, "detail": 5, "total": 5}
    by_domain = bounces(store, "10", by="domain").select("row", "domain", "errors", "breakdown_of")
    assert ("total", None, 2, 5) in by_domain.rows()
    assert by_domain.filter(row="group").sort("domain").rows() == [
        ("group", "a.example", 1, None), ("group", "b.example", 1, None),
    ]  # fmt: skip
    assert not {"purged", "only_failures", "unknown_messages"} & {
        *limits(store, "11")["limit"],
        *limits(store, "10")["limit"],
    }


def test_listmonk_s_next_load_sees_what_changes_without_an_instant(base, tmp_path):
    server, name, engine = base
    _listmonk(engine)
    store = tk.open_store(tmp_path / "store")
    store.ingest(server.url(name))
    assert store.ingest(server.url(name)).total("kept") == 0
    _run(engine, "update campaigns set sent = 6 where id = 10;\n"
         "update subscribers set status = 'blocklisted' where id = 1;\n"
         "update subscriber_lists set status = 'unsubscribed' where subscriber_id = 1;\n"
         "insert into bounces values (4, 1, 11, 'hard', '{}', '2026-02-01 09:05+00')")  # fmt: skip
    report = store.ingest(server.url(name))
    assert report.event_types == {"bounced": 1, "unsubscribed": 1}
    names = ["processed", "delivered", "failed"]
    assert tk.measure(store, names).select(names).rows() == [(6, 4, 2), (4, 3, 1), (0, 0, 0)]
    denied = store.scan("recipient").filter("is_denylisted").select("recipient_id").collect()
    assert denied["recipient_id"].to_list() == ["1"]


def test_listmonk_before_2_numbers_no_views_and_knows_no_bounces(base, tmp_path):
    server, name, engine = base
    _listmonk(engine, bounces=False)
    store = tk.open_store(tmp_path / "store")
    report = store.ingest(server.url(name))
    assert _why(report) == {"bounces": "there is no such table"}
    assert report.event_types == {"clicked": 1, "opened": 3, "unsubscribed": 1}
    names = ["delivered", "failed", "complaints", "total_opens", "unique_opens", "total_clicks"]
    figures = tk.measure(store, names).select("delivery_id", *names)
    assert figures.rows() == [("10", None, None, None, 3, 2, 1), ("11", None, None, None, 0, 0, 0),
                              ("12", None, None, None, 0, 0, 0)]  # fmt: skip
    assert store.ingest(server.url(name)).total("kept") == 0
    _run(engine, "insert into campaign_views values (10, 1, '2026-03-01 10:00+00')")
    assert store.ingest(server.url(name)).event_types == {"opened": 1}


def test_a_table_that_is_not_there_leaves_its_counts_unknown(base, tmp_path):
    server, name, engine = base
    _listmonk(engine)
    _run(engine, "drop table link_clicks;\n"
         "alter table campaign_views rename to kept;\ncreate materialized view campaign_views as select * from kept;\n"
         "alter table subscriber_lists drop column list_id")  # fmt: skip
    store = tk.open_store(tmp_path / "store")
    report = store.ingest(server.url(name))
    why = _why(report)
    assert why.pop("subscriber_lists").startswith("without a column for ")
    assert why == {"link_clicks": "there is no such table"}
    names = ["delivered", "total_opens", "total_clicks", "unique_clicks", "unique_opens"]
    figures = tk.measure(store, names).select("delivery_id", *names)
    # without clicks, who opened is not known either: whoever clicks has opened
    assert figures.rows()[0] == ("10", 3, 3, None, None, None)
    assert tk.measure(store, names, by=[]).select(names).rows() == [(7, 3, None, None, None)]


def test_counts_that_sources_state_are_added_to_those_of_logs():
    schema = {"delivery_id": pl.String, "to_deliver": pl.Int64, "sent": pl.Int64, "untold": pl.String,
              "is_proof": pl.Boolean, "is_model": pl.Boolean, "state": pl.Int16, "delete_status": pl.Int16}  # fmt: skip
    rows = [("1", 3, None, None), ("2", 9, 8, "message"), ("3", 9, None, "message"), ("4", 1, None, "nothing")]
    delivery = pl.LazyFrame([(*row, False, False, None, None) for row in rows], schema=schema, orient="row")
    message = pl.LazyFrame(
        [("1", "a", "delivered"), ("1", "b", "failed"), ("2", "c", "failed"), ("4", "d", "delivered")],
        schema={"delivery_id": pl.String, "message_id": pl.String, "status": pl.String}, orient="row",
    ).with_columns(is_seed=pl.lit(False), failure_reason=pl.lit(1, pl.Int16))  # fmt: skip
    tables, names = Snapshot({"delivery": delivery, "message": message}), ["processed", "delivered", "failed"]
    assert tk.measure(tables, names).rows() == [
        ("1", 2, 1, 1), ("2", 8, 7, 1), ("3", None, None, None), ("4", 1, 1, 0),
    ]  # fmt: skip
    assert tk.measure(tables, names, by=[]).rows() == [(None, None, None)]  # of delivery 3 nothing is known
    assert tk.measure(tables, names, by=[], delivery=["1", "2"]).rows() == [(10, 8, 2)]


# Mautic
STATS = """
create table emails (id int primary key, name varchar(191), subject longtext, publish_up datetime);
create table leads (id bigint unsigned primary key, email varchar(191), date_added datetime, date_modified datetime);
create table email_stats (id bigint unsigned primary key, email_id int, lead_id bigint unsigned,
    email_address varchar(191), date_sent datetime, is_read tinyint(1), is_failed tinyint(1), date_read datetime,
    retry_count int, open_count int, last_opened datetime, open_details longtext);
create table page_redirects (id bigint unsigned primary key, url longtext);
create table page_hits (id bigint unsigned primary key, date_hit datetime, email_id int, redirect_id bigint unsigned,
    page_id int, lead_id bigint unsigned, url longtext, user_agent longtext, tracking_id varchar(191));
create table lead_donotcontact (id int primary key, lead_id bigint unsigned, date_added datetime, reason smallint,
    channel varchar(191), channel_id int, comments longtext);
insert into emails values (3, 'Welcome', 'Hi', null);
insert into leads values (1, 'ana@a.example', '2026-01-01', null), (2, 'ben@b.example', '2026-01-01', null);
insert into page_redirects values (8, 'https://shop.example/')
"""


def _mautic(engine: sa.Engine, prefix: str = "") -> None:
    script = STATS
    for table in ("emails", "leads", "email_stats", "page_redirects", "page_hits", "lead_donotcontact"):
        script = script.replace(f" table {table} ", f" table {prefix}{table} ")
        script = script.replace(f"into {table} ", f"into {prefix}{table} ")
    _run(engine, script)


def _stat(engine: sa.Engine, number: int, **values: object) -> None:
    row = {"id": number, "email_id": 3, "lead_id": number, "email_address": f"p{number}@a.example", "is_read": 0,
           "date_sent": "2026-03-01 09:00:00", "is_failed": 0, "retry_count": 0, "open_count": 0} | values  # fmt: skip
    with engine.begin() as connection:
        connection.execute(sa.insert(sa.table("email_stats", *map(sa.column, row))), row)


def _bounce(at: str, reason: str, kind: str | None = None) -> dict[str, str]:
    return {"datetime": at, "reason": reason} | ({"code": "0013", "type": kind} if kind else {})


@pytest.fixture
def stats(mariadb, request):
    """Mautic's tables without messages, and their engine."""
    name = request.node.name.replace("[", "_").strip("]")[-50:].lower()
    _mautic(mariadb.engine(name))
    return mariadb, name, mariadb.engine(name)


@pytest.mark.parametrize("write", [lambda one: phpserialize.dumps(one).decode(), json.dumps], ids=["php", "json"])
def test_bounces_beside_the_opens_are_bounces(stats, write, tmp_path):
    server, name, engine = stats
    opened = {"datetime": "2026-03-01 10:00:00", "useragent": "Firefox", "inBrowser": False}
    away, full = _bounce("2026-03-01 10:01:00", "outofoffice", "soft"), _bounce("2026-03-01 12:00:00", "full", "soft")
    gone, spam = _bounce("2026-03-01 09:05:00", "unknown", "hard"), _bounce("2026-03-01 13:00:00", "spam report")
    other = _bounce("2026-03-01 14:00:00", "550 blocked")
    _stat(engine, 1, is_read=1, date_read="2026-03-01 10:00:00", open_count=1, retry_count=1,
          open_details=write({0: opened, "bounces": [away]}))  # fmt: skip
    _stat(engine, 2, is_failed=1, retry_count=1, open_details=write({"bounces": [gone]}))
    _stat(engine, 3, is_failed=1, retry_count=2, open_details=write({"bounces": [full, full]}))
    _stat(engine, 4, open_details=write({"bounces": [spam]}))  # a webhook's, of a message that did not fail
    _stat(engine, 5, is_failed=1, open_details=write({"bounces": [other]}))
    _run(engine, "insert into lead_donotcontact values (1, 2, '2026-03-01 09:05:00', 2, 'email', 3, 'unknown user')")
    store = tk.open_store(tmp_path / "store")
    report = store.ingest(server.url(name))
    assert report.event_types == {"autoresponded": 1, "bounced": 4, "opened": 1}
    told = ["event_id", "event_type", "message_id", "bounce_class", "bounce_reason", "diagnostic"]
    events = store.scan("event").sort("event_id").select(*told, pl.col("occurred_at").dt.to_string("%H:%M")).collect()
    assert events.rows() == [
        ("email_stats:1:0", "opened", "1", None, None, None, "10:00"),
        ("email_stats:1:bounce 0", "autoresponded", "1", None, "outofoffice", None, "10:01"),
        ("email_stats:2:bounce 0", "bounced", "2", "hard", "unknown", None, "09:05"),
        ("email_stats:3:bounce 0", "bounced", "3", "soft", "full", None, "12:00"),
        ("email_stats:3:bounce 1", "bounced", "3", "soft", "full", None, "12:00"),
        ("email_stats:5:bounce 0", "bounced", "5", "undetermined", None, "550 blocked", "14:00"),
    ]
    names = ["delivered", "failed", "hard_bounces", "soft_bounces", "unique_opens", "total_opens"]
    assert tk.measure(store, names).select(names).rows() == [(2, 3, 1, 1, 1, 1)]


def test_clicks_of_mautic_go_through_a_redirect(stats, tmp_path):
    server, name, engine = stats
    _stat(engine, 1)
    hit = "({}, '2026-03-01 1{}:00:00', {}, {}, {}, 1, 'https://mautic.example/p', 'Firefox', 'T')"
    hits = [(1, 3, 8, "null"), (2, 3, 8, "null"), (3, 3, 8, "null"), (4, 3, 8, "null"), (5, 3, "null", 6),
            (6, 3, "null", 6), (7, 3, "null", "null"), (8, "null", 8, "null")]  # fmt: skip
    _run(engine, "insert into page_hits values " + ", ".join(hit.format(one[0], *one) for one in hits))
    store = tk.open_store(tmp_path / "store")
    report = store.ingest(server.url(name))
    assert report.event_types == {"clicked": 4, "web_visited": 3}
    assert "hits through a redirect are clicks" in str(report)
    assert tk.measure(store, ["total_clicks", "unique_opens"]).rows() == [("3", 4, 1)]
    links = store.scan("link").select("link_id", "type_code").collect().rows()
    assert {("3:8", 1), ("3:page 6", 4)} < set(links)


def test_an_opt_out_that_nobody_clicked_for_is_no_hit(stats, tmp_path):
    server, name, engine = stats
    for number in range(1, 7):
        _stat(engine, number)
    _run(
        engine,
        """insert into lead_donotcontact values
        (1, 1, '2026-03-02', 1, 'email', 3, 'User unsubscribed.'),
        (2, 2, '2026-03-02', 1, 'email', 3, 'Marked as spam'),
        (3, 3, '2026-03-02', 1, 'email', 3, 'Contact unsubscribed via email'), (4, 4, '2026-03-02', 3, 'email', 3, ''),
        (5, 5, '2026-03-02', 1, 'email', null, 'Marked as spam'), (6, 6, '2026-03-02', 2, 'email', 3, '550 unknown')""",
    )
    store = tk.open_store(tmp_path / "store")
    report = store.ingest(server.url(name))
    assert report.event_types == {"bounced": 1, "complained": 2, "unknown": 1, "unsubscribed": 2}
    names = ["unique_opens", "unsubscribe_clicks", "complaints", "failed"]
    assert tk.measure(store, names).rows() == [("3", 1, 1, 1, 1)]
    assert tk.measure(store, names, by=[]).rows() == [(1, 1, 1, 1)]


def test_a_message_that_fails_late_is_read_again(stats, tmp_path):
    server, name, engine = stats
    _stat(engine, 1)
    _stat(engine, 2, date_sent="2026-06-01 09:00:00")
    store = tk.open_store(tmp_path / "store")
    store.ingest(server.url(name))
    gone = phpserialize.dumps({"bounces": {0: _bounce("2026-06-02 09:00:00", "unknown", "hard")}}).decode()
    _run(engine, f"update email_stats set is_failed = 1, retry_count = 1, open_details = '{gone}' where id = 1")
    assert store.ingest(server.url(name)).event_types == {"bounced": 1}
    names = ["delivered", "failed", "hard_bounces"]
    assert tk.measure(store, names).rows() == [("3", 1, 1, 1)]


def test_a_table_of_mautic_that_is_not_there_leaves_its_counts_unknown_until_it_is(stats, tmp_path):
    server, name, engine = stats
    _stat(engine, 1)
    _run(engine, "rename table page_hits to away")
    store = tk.open_store(tmp_path / "store")
    assert _why(store.ingest(server.url(name))) == {"page_hits": "there is no such table"}
    names = ["delivered", "total_opens", "total_clicks"]
    assert tk.measure(store, names).rows() == [("3", 1, 0, None)]
    _run(engine, "rename table away to page_hits")
    assert _why(store.ingest(server.url(name))) == {}
    assert tk.measure(store, names).rows() == [("3", 1, 0, 0)]


def test_two_installations_of_mautic_are_not_mixed(mariadb, tmp_path):
    engine, store = mariadb.engine("twins"), tk.open_store(tmp_path / "store")
    for prefix in ("", "old_", "new_"):
        _mautic(engine, prefix)
    with pytest.raises(RequestError, match=r"several installations of mautic, .*'' \(none\), new_, old_.*'\?prefix='"):
        store.ingest(mariadb.url("twins"))
    with pytest.raises(DataError, match=r"behind the prefix 'odl_'.*Did you mean 'old_'"):
        store.ingest(mariadb.url("twins", prefix="odl_"))
    with pytest.raises(RequestError, match="There is no store"):  # nothing was loaded
        store.loads  # noqa: B018
    for prefix in ("new_", ""):
        report = tk.open_store(tmp_path / f"store{prefix}").ingest(mariadb.url("twins") + f"?prefix={prefix}")
        assert {one.path.split(" ")[1] for one in report.sources if one.table == "delivery"} == {f"{prefix}emails"}


# the platform
PLATFORM = """
create table nmsdelivery (ideliveryid bigint primary key, slabel text, itodeliver int, istate int);
create table nmsbroadlogrcp (ibroadlogid bigint, ideliveryid bigint, irecipientid bigint, saddress text, istatus int,
    tsevent timestamptz) partition by range (tsevent);
create table nmsbroadlogrcp_2026_03 partition of nmsbroadlogrcp for values from ('2026-03-01') to ('2026-04-01');
create table nmsbroadlog partition of nmsbroadlogrcp for values from ('2026-04-01') to ('2026-05-01');
create table nmstrackinglogrcp (itrackinglogid bigint, iurlid bigint, ibroadlogid bigint, ideliveryid bigint,
    irecipientid bigint, ssourceid text, tslog timestamptz);
create table trackinglogrcp () inherits (nmstrackinglogrcp);
create table nmstrackingurl (itrackingurlid bigint primary key, itype int, ssource text, ideliveryid bigint);
create table "NmsTrackingLogSvc" ("iTrackingLogId" bigint, "iUrlId" bigint, "iBroadLogId" bigint, "iDeliveryId" bigint,
    "sSourceId" text, "tsLog" timestamptz);
create table nmsbroadlogsvc (ibroadlogid bigint, ideliveryid bigint, saddress text, istatus int, tsevent timestamptz);
create table nmsbroadlogcus (ibroadlogid bigint, ideliveryid bigint);
create table people (irecipientid bigint, semail text);
create materialized view nmsrecipient as select 5::bigint as irecipientid, 'ana@a.example' as semail;
insert into nmsdelivery values (1, 'A', 2, 95), (2, 'Service', 1, 95), (3, 'Own mapping', 7, 95);
insert into nmstrackingurl values (1, 2, 'open', null), (7, 1, 'https://shop.example/', 1);
insert into nmsbroadlogrcp values (11, 1, 5, 'ana@a.example', 1, '2026-03-05'),
    (12, 1, 6, 'ben@b.example', 2, '2026-04-05');
insert into nmstrackinglogrcp values (100, 1, 11, 1, 5, 's1', '2026-03-06');
insert into trackinglogrcp values (101, 7, 11, 1, 5, 's1', '2026-04-06');
insert into "NmsTrackingLogSvc" values (100, 1, 21, 2, 's2', '2026-03-06');
insert into nmsbroadlogsvc values (21, 2, 'svc@s.example', 1, '2026-03-05');
insert into nmsbroadlogcus values (31, 3)
"""


def test_parts_views_and_logs_of_other_targets_of_the_platform(base, tmp_path):
    server, name, engine = base
    _run(engine, PLATFORM)
    store = tk.open_store(tmp_path / "store")
    report = store.ingest(server.url(name))
    assert {one.path.split(" ")[1]: one.read for one in report.sources} == {
        "nmsdelivery": 3, "nmsbroadlogrcp": 2, "nmstrackinglogrcp": 2, "nmstrackingurl": 2, "NmsTrackingLogSvc": 1,
        "nmsbroadlogsvc": 1, "nmsrecipient": 1,
    }  # fmt: skip
    assert report.total("duplicate") == 0
    assert _why(report) == {
        "nmsbroadlog": "a part of 'nmsbroadlogrcp', with which its rows were read",
        "trackinglogrcp": "a part of 'nmstrackinglogrcp', with which its rows were read",
        "nmsbroadlogcus": "named as a log of the platform, but of no target that is known",
    }
    names = ["delivered", "failed", "total_opens", "total_clicks"]
    assert tk.measure(store, names).rows() == [("1", 1, 1, 1, 1), ("2", 1, 0, 1, 0), ("3", None, None, 0, 0)]


def test_a_table_that_the_user_may_not_read_leaves_its_counts_unknown(base, tmp_path):
    server, name, engine = base
    _run(
        engine,
        PLATFORM
        + """;
drop role if exists guest;
create role guest login password 'guest';
grant select on all tables in schema public to guest;
revoke select on nmstrackinglogrcp, nmstrackingurl from guest""",
    )
    url = sa.make_url(server.url(name)).set(username="guest", password="guest").render_as_string(hide_password=False)
    store = tk.open_store(tmp_path / "store")
    why = _why(store.ingest(url))
    assert {table for table, said in why.items() if "may not read" in said} == {"nmstrackinglogrcp", "nmstrackingurl"}
    names = ["delivered", "total_opens", "total_clicks"]
    assert tk.measure(store, names).rows() == [("1", 1, None, None), ("2", 1, None, None), ("3", None, None, None)]


def test_tables_of_one_kind_in_several_schemas_are_not_chosen_from_in_silence(base, tmp_path):
    server, name, engine = base
    _run(engine, PLATFORM + ';\ncreate schema "Second";\ncreate table "Second".nmsdelivery (ideliveryid bigint)')
    store = tk.open_store(tmp_path / "store")
    with pytest.raises(RequestError, match=r"in the schemas Second, public; .*'\?schema='"):
        store.ingest(server.url(name))
    with pytest.raises(DataError, match=r"no schema 'second' with tables. Did you mean 'Second'"):
        store.ingest(server.url(name, schema="second"))
    assert store.ingest(server.url(name, schema="Second")).total("read") == 0
    _run(engine, "drop table nmsdelivery cascade;\ndrop table nmsbroadlogrcp, nmsbroadlogsvc, nmsbroadlogcus;\n"
         'drop table nmstrackinglogrcp, trackinglogrcp, "NmsTrackingLogSvc"')  # fmt: skip
    with pytest.raises(DataError, match=r"but in 'Second'; write '\?schema=Second'"):
        store.ingest(server.url(name))


def test_products_that_share_a_database_are_not_mixed(base, tmp_path):
    server, name, engine = base
    _listmonk(engine)
    _run(engine, "create table nmsdelivery (ideliveryid bigint)")
    with pytest.raises(RequestError, match="holds tables of adobe_export and of listmonk; say which to read by"):
        tk.open_store(tmp_path / "store").ingest(server.url(name))
    report = tk.open_store(tmp_path / "store").ingest(server.url(name), format="listmonk")
    assert {one.format for one in report.sources} == {"listmonk"}


# URLs
ODD = [
    "p@SECRET", "@SECRET", "p@SECRET/x", "p@x/SECRET", "p@SECRET?a=b", "p@x?SECRET", "p@SECRET#x", "p@SECRET:1",
    "p@x:SECRET", "SECRET@", "p@@SECRET", "p@%SECRET", "p@[SECRET", "p@SECRET]", "/SECRET@x", "p@ SECRET",
    "p@x/y?z=SECRET@w",
]  # fmt: skip


@pytest.mark.parametrize("password", ODD)
@pytest.mark.parametrize("kind", ["postgresql", "mysql", "mariadb+pymysql"])
def test_a_password_is_not_taken_for_a_place(kind, password, tmp_path):
    url = f"{kind}://me:{password}@db.example/crm"
    with pytest.raises(RequestError) as raised:
        tk.open_store(tmp_path / "store").ingest(url)
    assert "SECRET" not in str(raised.value)


@pytest.mark.parametrize("password", ["SEC/RET", "SEC?RET", "SEC#RET", "SEC:RET", "SEC%zzRET", "SEC%40RET"])
def test_letters_that_leave_no_doubt_are_taken_as_they_stand(password):
    assert Database.of(f"postgresql://me:{password}@db.example/crm").shown == "postgresql://db.example/crm"


@pytest.mark.parametrize("url", [
    "postgresql:/me:SECRET@db.example/crm", "postgresql//me:SECRET@db.example/crm", " mysql:me:SECRET@db.example/crm",
    "postgresql://me/SECRET@db.example/crm", "postgresql://db.example:5432/crm?password=p@SECRET",
    "sqlite://me:SECRET@db.example/x", "me:SECRET@x://db.example", "postgresql://me:p@SECRET@/crm",
])  # fmt: skip
def test_a_url_that_is_none_is_not_repeated(url, tmp_path):
    assert is_database(url)
    with pytest.raises(RequestError) as raised:
        tk.open_store(tmp_path / "store").ingest(url, progress=lambda *said: pytest.fail(str(said)))
    assert "SECRET" not in "".join(traceback.format_exception(raised.value))


def test_the_command_line_repeats_no_url(tmp_path):
    for debug in ((), ("--debug",)):
        url, store = "postgresql://me:p@SECRET/x@db.example/crm", str(tmp_path / "store")
        command = [sys.executable, "-m", "trackkit", *debug, "ingest", url, "--store", store]
        said = subprocess.run(command, capture_output=True, text=True, check=False)
        assert said.returncode == 2
        assert "write '@' as '%40'" in said.stderr
        assert "SECRET" not in said.stdout + said.stderr


def test_files_whose_names_only_resemble_urls_are_files():
    assert not any(
        map(is_database, ("mysql-export.csv", "logs/postgresql.log", "mysql/a@b.csv", "me@post.example.csv"))
    )
