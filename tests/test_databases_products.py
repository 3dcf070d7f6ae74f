"""listmonk in PostgreSQL and Mautic in MariaDB: small databases, every expected figure worked out by hand."""

import json
import sys

import phpserialize
import polars as pl
import pytest

import trackkit as tk
from trackkit.errors import DataError, RequestError
from trackkit.sources.sql.mautic_opens import expand

LISTMONK = """
create type subscriber_status as enum ('enabled', 'disabled', 'blocklisted');
create type subscription_status as enum ('unconfirmed', 'confirmed', 'unsubscribed');
create type campaign_status as enum ('draft', 'running', 'scheduled', 'paused', 'cancelled', 'finished');
create type bounce_type as enum ('soft', 'hard', 'complaint');
create table subscribers (id serial primary key, uuid uuid, email text, name text, attribs jsonb,
    status subscriber_status, created_at timestamptz, updated_at timestamptz);
create table lists (id serial primary key, uuid uuid, name text);
create table subscriber_lists (subscriber_id int, list_id int, status subscription_status, created_at timestamptz,
    updated_at timestamptz, primary key (subscriber_id, list_id));
create table campaigns (id serial primary key, uuid uuid, name text, subject text, send_at timestamptz,
    status campaign_status, tags varchar(100)[], messenger text, to_send int, sent int, started_at timestamptz);
create table campaign_views (id bigserial primary key, campaign_id int, subscriber_id int, created_at timestamptz);
create table links (id serial primary key, uuid uuid, url text);
create table link_clicks (id bigserial primary key, campaign_id int, link_id int, subscriber_id int,
    created_at timestamptz);
create table bounces (id serial primary key, subscriber_id int, campaign_id int, type bounce_type, source text,
    meta jsonb, created_at timestamptz);
create table settings (key text, value jsonb);
insert into subscribers values
    (1, gen_random_uuid(), 'ana@a.example', 'Ana', '{}', 'enabled', '2026-01-01', '2026-01-01'),
    (2, gen_random_uuid(), 'ben@b.example', 'Ben', '{}', 'blocklisted', '2026-01-01', '2026-01-01'),
    (3, gen_random_uuid(), 'cem@a.example', 'Cem', '{}', 'disabled', '2026-01-01', '2026-01-01');
insert into lists values (7, gen_random_uuid(), 'News');
insert into subscriber_lists values
    (1, 7, 'confirmed', '2026-01-01 10:00+00', '2026-01-01 10:00+00'),
    (2, 7, 'unsubscribed', '2026-01-02 10:00+00', '2026-03-02 10:00+02');
insert into campaigns values
    (10, gen_random_uuid(), 'March', 'Hello', null, 'finished', '{a}', 'email', 3, 3, '2026-03-01 09:00+00'),
    (11, gen_random_uuid(), 'Private', 'Nobody known', null, 'running', '{}', 'email', 5, 4, '2026-03-03 09:00+00'),
    (12, gen_random_uuid(), 'Text', 'By SMS', '2026-04-01', 'draft', '{}', 'sms', 0, 0, null);
-- in both tables an id 1, of different things
insert into campaign_views values (1, 10, 1, '2026-03-01 10:00+00'), (2, 10, 1, '2026-03-01 10:00:05+00'),
    (3, 10, 2, '2026-03-01 11:00+00'), (4, 11, null, '2026-03-03 10:00+00'), (5, 11, null, '2026-03-03 10:00+00');
insert into links values (5, gen_random_uuid(), 'https://shop.example/?a=1&b=2'),
    (6, gen_random_uuid(), 'https://shop.example/');
insert into link_clicks values (1, 10, 5, 1, '2026-03-01 10:01+00'), (2, 10, 6, 1, '2026-03-01 10:02+00'),
    (3, 11, 5, null, '2026-03-03 11:00+00');
insert into bounces values (1, 3, 10, 'hard', 'ses', '{"code": 550}', '2026-03-01 09:05+00'),
    (2, 2, 10, 'complaint', 'api', '{}', '2026-03-01 12:00+00'),
    (3, 3, null, 'soft', 'mailbox', '{}', '2026-03-04 12:00+00');
"""


def _run(engine, script: str) -> None:
    with engine.begin() as connection:
        for order in filter(str.strip, script.split(";\n")):
            connection.exec_driver_sql(order.replace("%", "%%"))


@pytest.fixture(scope="module")
def listmonk(postgres, tmp_path_factory):
    _run(postgres.engine("listmonk"), LISTMONK)
    store = tk.open_store(tmp_path_factory.mktemp("listmonk") / "store")
    return store, store.ingest(postgres.url("listmonk")), postgres


def _rows(store, table: str, *columns: str) -> list[tuple]:
    return store.scan(table).select(columns).sort(pl.all()).collect().rows()


def test_listmonk_s_events_links_and_subscriptions(listmonk):
    store, report, server = listmonk
    assert report.is_settled
    assert report.event_types == {"bounced": 2, "clicked": 3, "complained": 1, "opened": 5, "unsubscribed": 1}
    kept = {one.path.removeprefix(server.shown("listmonk") + " "): one.kept for one in report.sources}
    assert kept == {
        "campaigns": 3, "subscribers": 3, "lists": 1, "campaign_views": 5, "bounces": 3, "link_clicks": 3,
        "subscriber_lists joined": 2, "subscriber_lists left": 1, "subscriber_lists unsubscribed": 1,
    }  # fmt: skip
    opens = store.scan("event").filter(pl.col("event_type") == "opened").collect()
    assert opens.sort("event_id")["event_id"].to_list() == [f"campaign_views:{number}" for number in range(1, 6)]
    assert opens.sort("event_id")["message_id"].to_list() == ["10:1", "10:1", "10:2", None, None]
    assert _rows(store, "link", "link_id", "delivery_id", "url") == [
        ("10:5", "10", "https://shop.example/?a=1&b=2"), ("10:6", "10", "https://shop.example/"),
        ("11:5", "11", "https://shop.example/?a=1&b=2"),
    ]  # fmt: skip
    bounces = store.scan("event").filter(pl.col("event_id").str.starts_with("bounces:")).sort("event_id").collect()
    assert bounces.select("event_type", "bounce_class", "bounce_reason", "diagnostic", "message_id").rows() == [
        ("bounced", "hard", "hard", '{"code": 550}', "10:3"), ("complained", None, None, None, "10:2"),
        ("bounced", "soft", "soft", None, None),
    ]  # fmt: skip
    acts = store.scan("subscription").sort("occurred_at").select("recipient_id", "action", "occurred_at").collect()
    assert [(who, action, str(at)) for who, action, at in acts.rows()] == [
        ("1", 1, "2026-01-01 10:00:00+00:00"), ("2", 1, "2026-01-02 10:00:00+00:00"),
        ("2", 0, "2026-03-02 08:00:00+00:00"),
    ]  # fmt: skip
    assert _rows(store, "service", "service_id", "label") == [("7", "News")]
    assert _rows(store, "recipient", "recipient_id", "is_denylisted") == [("1", False), ("2", True), ("3", False)]
    assert _rows(store, "delivery", "delivery_id", "state", "message_type", "targeted", "to_deliver") == [
        ("10", 95, 0, 3, 3), ("11", 55, 0, 5, 4), ("12", 0, 120, 0, 0),
    ]  # fmt: skip


def test_listmonk_s_indicators_without_a_log_of_messages(listmonk):
    store, _, _ = listmonk
    names = ["to_deliver", "delivered", "total_opens", "unique_clicks", "total_clicks", "open_rate"]
    # 3 were sent and one bounced; 2 subscribers viewed
    assert tk.measure(store, names, delivery="10").select(names).rows() == [(3, 2, 3, 1, 2, 1.0)]
    private = tk.measure(store, ["total_opens", "total_clicks", "open_rate"], delivery="11")
    assert private.select("total_opens", "total_clicks", "open_rate").rows() == [(2, 1, None)]


def test_listmonk_s_next_load_reads_what_is_new(listmonk):
    store, _, server = listmonk
    assert store.ingest(server.url("listmonk")).total("kept") == 0
    _run(server.engine("listmonk"), "insert into campaign_views values (6, 10, 3, '2026-03-06 10:00+00')")
    report = store.ingest(server.url("listmonk"))
    assert report.event_types == {"opened": 1}
    views = next(one for one in report.sources if one.path.endswith("campaign_views"))
    # the last view was on 3 March at 10:00: two days before that, all of 1 March from 10:00 on
    assert (views.read, views.duplicate, views.kept) == (6, 5, 1)


OPENS = phpserialize.dumps([
    {"datetime": "2026-03-01 10:00:00", "useragent": "Firefox \"é\"", "inBrowser": False},
    {"datetime": "2026-03-05 10:00:00", "useragent": None, "inBrowser": True},
]).decode()  # fmt: skip
MAUTIC = """
create table m_emails (id int primary key, name varchar(191), subject longtext, publish_up datetime, is_published bool);
create table m_leads (id bigint unsigned primary key, email varchar(191), date_added datetime, date_modified datetime,
    points int);
create table m_email_stats (id bigint unsigned primary key, email_id int, lead_id bigint unsigned,
    email_address varchar(191), date_sent datetime, is_read tinyint(1), is_failed tinyint(1), date_read datetime,
    open_count int, last_opened datetime, open_details longtext, key (email_id, lead_id));
create table m_page_redirects (id bigint unsigned primary key, url longtext);
create table m_page_hits (id bigint unsigned primary key, date_hit datetime, email_id int, redirect_id bigint unsigned,
    page_id int, lead_id bigint unsigned, url longtext, user_agent longtext, tracking_id varchar(191), code int);
create table m_lead_donotcontact (id int primary key, lead_id bigint unsigned, date_added datetime, reason smallint,
    channel varchar(191), channel_id int, comments longtext);
create table m_unrelated (id int);
insert into m_emails values (3, 'Welcome', 'Hi 👓', '2026-02-01 00:00:00', 1), (4, 'Never sent', 'x', null, 0);
insert into m_leads values (1, 'ana@a.example', '2026-01-01', null, 5), (2, 'ben@b.example', '2026-01-01', null, 0),
    (3, 'cem@a.example', '2026-01-01', null, 0);
insert into m_email_stats values
    (100, 3, 1, 'ana@a.example', '2026-03-01 09:00:00', 1, 0, '2026-03-01 10:00:00', 3, '2026-03-05 10:00:00',
        '{opens}'),
    (101, 3, 2, 'ben@b.example', '2026-03-01 09:00:01', 1, 0, '2026-03-01 11:00:00', 0, null, 'a:0:{}'),
    (102, 3, 3, 'cem@a.example', '2026-03-01 09:00:02', 0, 1, null, 0, null, null),
    (103, 3, 1, 'ana@a.example', '2026-04-01 09:00:00', 1, 0, '2026-04-01 10:00:00', 1, null, 'broken'),
    (104, null, 1, 'ana@a.example', '2026-04-01 09:00:00', 0, 0, null, 0, null, null);
insert into m_page_redirects values (8, 'https://shop.example/');
insert into m_page_hits values
    (1, '2026-03-01 10:05:00', 3, 8, null, 1, 'https://mautic.example/r/8', 'Firefox', 'T1', 200),
    (2, '2026-04-02 10:05:00', 3, 8, null, 1, 'https://mautic.example/r/8', 'Firefox', 'T1', 200),
    (3, '2026-03-01 11:00:00', 3, null, 6, 2, 'https://mautic.example/page', 'Safari', 'T2', 200),
    (4, '2026-03-01 12:00:00', null, null, 6, 2, 'https://mautic.example/page', 'Safari', 'T2', 200),
    (5, '2026-02-01 12:00:00', 3, 8, null, 2, 'https://mautic.example/r/8', 'Safari', 'T2', 200);
insert into m_lead_donotcontact values (1, 2, '2026-03-02 10:00:00', 1, 'email', 3, 'by link'),
    (2, 3, '2026-03-01 09:10:00', 2, 'email', 3, '550 no such user'), (3, 1, '2026-05-01', 3, 'email', null, 'by hand'),
    (4, 1, '2026-05-01', 1, 'sms', null, '')
"""


@pytest.fixture(scope="module")
def mautic(mariadb, tmp_path_factory):
    _run(mariadb.engine("mautic"), MAUTIC.replace("{opens}", OPENS))
    store = tk.open_store(tmp_path_factory.mktemp("mautic") / "store")
    return store, store.ingest(mariadb.url("mautic"), timezone="Europe/Paris"), mariadb


def test_mautic_s_messages_opens_clicks_and_opt_outs(mautic):
    store, report, server = mautic
    assert report.is_settled
    assert report.event_types == {"bounced": 1, "clicked": 3, "opened": 4, "unknown": 1, "unsubscribed": 1,
                                  "web_visited": 1}  # fmt: skip
    counts = {one.path.removeprefix(server.shown("mautic") + " "): (one.read, one.kept, one.quarantined)
              for one in report.sources}  # fmt: skip
    assert counts == {
        "m_emails": (2, 2, 0), "m_email_stats": (5, 4, 1), "m_email_stats opened": (4, 4, 0),
        "m_email_stats bounced": (0, 0, 0), "m_leads": (3, 3, 0),
        "m_page_hits": (4, 4, 0), "m_lead_donotcontact": (3, 3, 0),
    }  # fmt: skip
    assert store.quarantine["reason"].to_list() == ["no delivery_id (column 'email_id')"]
    opens = next(one for one in report.sources if one.path.endswith("opened"))
    assert {note.split(" ", 1)[1] for note in opens.assumptions[1:4]} == {
        "messages were read without an open being kept: one open each, when they were read",
        "texts of opens could not be read", "further opens are counted by Mautic, but without an instant: left out",
    }  # fmt: skip
    events = store.scan("event").sort("event_id").collect()
    at = pl.col("occurred_at").dt.to_string("%d %H:%M")
    found = events.filter(pl.col("event_type") == "opened").select(
        "event_id", "message_id", "user_agent", "raw_event_type", at
    )
    assert found.rows() == [
        ("email_stats:100:0", "100", 'Firefox "é"', "open", "01 10:00"),  # UTC, whatever the time zone asked for
        ("email_stats:100:1", "100", None, "open", "05 10:00"),
        ("email_stats:101:0", "101", None, "read", "01 11:00"),
        ("email_stats:103:0", "103", None, "read", "01 10:00"),
    ]
    hits = events.filter(pl.col("event_type").cast(pl.String).is_in(["clicked", "web_visited"]))
    clicks = hits.select("event_id", "message_id", "link_id", "url")
    assert clicks.rows() == [
        ("page_hits:1", "100", "3:8", "https://shop.example/"),
        ("page_hits:2", "103", "3:8", "https://shop.example/"),
        ("page_hits:3", "101", "3:page 6", "https://mautic.example/page"),
        ("page_hits:5", None, "3:8", "https://shop.example/"),  # before any message
    ]
    others = events.filter(pl.col("event_id").str.starts_with("lead_")).select(
        "event_type", "raw_event_type", "message_id", "bounce_class", "diagnostic"
    )
    assert others.rows() == [("unsubscribed", "unsubscribed", "101", None, None),
                             ("bounced", "bounced", "102", "undetermined", "550 no such user"),
                             ("unknown", "manual", None, None, None)]  # fmt: skip
    delivery = store.scan("delivery").filter(pl.col("delivery_id") == "3").collect().row(0, named=True)
    assert (delivery["subject"], delivery["to_deliver"], str(delivery["started_at"])) == (
        "Hi 👓",
        4,
        "2026-03-01 09:00:00+00:00",
    )


def test_mautic_s_indicators(mautic):
    store, _, _ = mautic
    names = ["to_deliver", "delivered", "failed", "unique_opens", "total_opens", "unique_clicks", "total_clicks"]
    # 100, 101 and 103 were sent and opened; 102 failed; of 101 somebody came to a page, which is no click
    assert tk.measure(store, names, delivery="3").select(names).rows() == [(4, 3, 1, 3, 4, 2, 3)]


def test_an_old_message_opened_anew_is_read_again(mautic):
    store, _, server = mautic
    url = server.url("mautic")
    assert store.ingest(url, timezone="Europe/Paris").total("kept") == 0
    now = phpserialize.dumps([{"datetime": "2026-04-05 10:00:00", "useragent": "x", "inBrowser": False}]).decode()
    _run(server.engine("mautic"), f"update m_email_stats set is_read = 1, date_read = '2026-04-05 10:00:00', "
         f"last_opened = '2026-04-05 10:00:00', open_count = 1, open_details = '{now}' where id = 102")  # fmt: skip
    assert store.ingest(url, timezone="Europe/Paris").event_types == {"opened": 1}


def test_a_prefix_that_nothing_has_is_refused(mautic, tmp_path):
    _, _, server = mautic
    store = tk.open_store(tmp_path / "store")
    with pytest.raises(DataError, match=r"holds no table that can be read: found m_email_stats, .*'\?prefix='"):
        store.ingest(server.url("mautic", prefix="other_"))
    assert store.ingest(server.url("mautic", prefix="m_"), format="mautic").total("kept") > 0


@pytest.mark.parametrize("details", [
    "", "N;", "a:0:{}", "a:1:{i:0;", "a:999999999999:{i:0;i:1;}", "s:99999999999:\"x\";", "i:5;", "b:1;", "[1, 2]",
    "{}", "O:8:\"stdClass\":0:{}", "a:1:{" + "i:0;a:1:{" * 20_000, "[" * 100_000, "\x00\ud7ff",
    "a:1:{i:0;a:1:{s:8:\"datetime\";i:1;}}",
])  # fmt: skip
def test_texts_of_opens_may_be_anything(details, tmp_path):
    row = {"id": "1", "email_id": "2", "lead_id": "3", "date_read": "2026-01-01 00:00:00", "open_count": "1",
           "open_details": details, "trackkit source row": 1}  # fmt: skip
    pl.DataFrame([row]).write_parquet(tmp_path / "read.parquet")
    expand(tmp_path / "read.parquet", tmp_path / "opens.parquet")
    opens = pl.read_parquet(tmp_path / "opens.parquet")
    assert opens.height == 1
    assert opens["event_id"].to_list() == ["email_stats:1:0"]


def test_opens_written_as_json_are_read_too(tmp_path):
    details = json.dumps([{"datetime": "2026-01-02 00:00:00", "useragent": "a"}, {"datetime": "2026-01-03 00:00:00"}])
    row = {"id": "1", "email_id": "2", "lead_id": "3", "date_read": "2026-01-01 00:00:00", "open_count": "2",
           "open_details": details, "trackkit source row": 1}  # fmt: skip
    pl.DataFrame([row]).write_parquet(tmp_path / "read.parquet")
    assert expand(tmp_path / "read.parquet", tmp_path / "opens.parquet") == []
    assert pl.read_parquet(tmp_path / "opens.parquet")["agent"].to_list() == ["a", None]


def test_without_phpserialize_it_is_said_what_brings_it(tmp_path, monkeypatch):
    row = {"id": "1", "email_id": "2", "lead_id": "3", "date_read": "2026-01-01 00:00:00", "open_count": "1",
           "open_details": OPENS, "trackkit source row": 1}  # fmt: skip
    pl.DataFrame([row]).write_parquet(tmp_path / "read.parquet")
    monkeypatch.setitem(sys.modules, "phpserialize", None)
    with pytest.raises(RequestError, match=r"it is missing, and `pip install 'trackkit\[mysql\]'` brings it"):
        expand(tmp_path / "read.parquet", tmp_path / "opens.parquet")
