"""Mailchimp activity exports: messages from sends, events with derived ids, links made unique per delivery."""

from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from trackkit import sources
from trackkit.store import open_store

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data" / "mailchimp"
FILES = {
    "campaign.csv": "id,_synced,title,subject_line,send_time,status\n"
    "c1,x,Release,Hello 👓,2024-03-01 10:00:00,sent\nc2,x,Later,,,save\n",
    "campaign_recipient.csv": "campaign_id,member_id,list_id\nc1,m1,l\nc1,m2,l\nc1,m3,l\nc2,m1,l\n",
    "mailchimp_campaign_recipient_activity.csv": "action,campaign_id,member_id,timestamp,bounce_type,ip,url\n"
    "open,c1,m1,2024-03-01 11:00:00,,10.0.0.1,\n"
    "click,c1,m1,2024-03-01 11:00:05,,10.0.0.1,https://a.example\n"
    "click,c1,m1,2024-03-01 11:00:05,,10.0.0.1,https://b.example\n"
    "click,c2,m1,2024-03-02 11:00:05,,10.0.0.1,https://a.example\n"
    "bounce,c1,m2,2024-03-01 10:01:00,hard,,\n"
    "wave,c1,m1,2024-03-01 11:00:00,,,\n"
    "open,c1,,2024-03-01 11:00:00,,,\n",
    "member.csv": "id,email_address,email_type,status,country_code\nm1,a@x.example,html,subscribed,FR\n"
    "m2,b@y.example,text,cleaned,\n",
    "unsubscribe.csv": "campaign_id,member_id,timestamp,reason\nc1,m3,2024-03-05 09:00:00,bored\n",
}  # fmt: skip


@pytest.fixture
def load(tmp_path: Path) -> sources.RawLoad:
    for name, text in FILES.items():
        (tmp_path / "in").mkdir(exist_ok=True)
        (tmp_path / "in" / name).write_text(text)
    return sources.read(tmp_path / "in", tmp_path / "staging", timezone="Europe/Paris")


def rows(load: sources.RawLoad, table: str, *columns: str) -> list[tuple]:
    return load.frames[table].select(columns).collect().sort(columns, nulls_last=True).rows()


def test_events_have_types_links_and_ids_of_their_own(load: sources.RawLoad) -> None:
    events = load.frames["event"].collect()
    assert events.select("reported_type", "raw_event_type", "message_id").sort(pl.all()).rows() == [
        ("bounced", "bounce:hard", "c1:m2"), ("opened", "open", "c1:m1"), ("clicked", "click", "c1:m1"),
        ("clicked", "click", "c1:m1"), ("clicked", "click", "c2:m1"), ("unsubscribed", "unsubscribe", "c1:m3"),
        ("unknown", "wave", "c1:m1"),
    ]  # fmt: skip
    assert events["event_id"].n_unique() == 7
    assert events["event_id"].str.contains("^sha256:[0-9a-f]{32}$").all()
    assert events.filter(pl.col("link_id").is_null())["raw_event_type"].sort().to_list() == [
        "bounce:hard", "open", "unsubscribe", "wave",
    ]  # fmt: skip
    assert load.report.total("quarantined") == 1
    assert load.quarantine["reason"].to_list() == ["no recipient_id (column 'member_id')"]
    assert {word for one in load.report.sources for word in one.unknown_types} == {"wave"}


def test_instants_are_utc_whatever_the_zone_asked_for(load: sources.RawLoad) -> None:
    assert rows(load, "delivery", "delivery_id", "subject", "state", "started_at") == [
        ("c1", "Hello 👓", 95, datetime(2024, 3, 1, 10, tzinfo=UTC)), ("c2", None, 0, None),
    ]  # fmt: skip


def test_the_same_url_is_another_link_in_another_delivery(load: sources.RawLoad) -> None:
    links = rows(load, "link", "delivery_id", "url", "type_code")
    assert links == [("c1", "https://a.example", 1), ("c1", "https://b.example", 1), ("c2", "https://a.example", 1)]
    assert load.frames["link"].collect()["link_id"].n_unique() == 3


def test_sends_are_messages_and_a_bounced_one_failed(load: sources.RawLoad, tmp_path: Path) -> None:
    sent = datetime(2024, 3, 1, 10, tzinfo=UTC)
    assert rows(load, "message", "message_id", "address", "status_code", "status_at") == [
        ("c1:m1", None, 1, None), ("c1:m2", None, 1, None), ("c1:m3", None, 1, None), ("c2:m1", None, 1, None),
    ]  # fmt: skip
    assert "failure" not in load.frames
    store = open_store(tmp_path / "store")
    for name in sorted(FILES):  # the sends before the members, and the activity last
        store.ingest(tmp_path / "in" / name)
    columns = ("message_id", "address", "status", "status_at", "failure_type", "failure_reason", "is_implied")
    assert store.scan("message").select(columns).sort("message_id").collect().rows() == [
        ("c1:m1", "a@x.example", "delivered", sent, None, None, False),
        ("c1:m2", "b@y.example", "failed", sent, 2, 1, False),
        ("c1:m3", None, "delivered", sent, None, None, False),
        ("c2:m1", "a@x.example", "delivered", None, None, None, False),
    ]  # fmt: skip
    assert rows(load, "recipient", "recipient_id", "email_format", "is_denylisted") == [
        ("m1", 2, False), ("m2", 1, True),
    ]  # fmt: skip


def test_derived_ids_do_not_depend_on_where_a_row_stands(load: sources.RawLoad, tmp_path: Path) -> None:
    name = "campaign_recipient_activity.csv"
    header, *lines = FILES[f"mailchimp_{name}"].splitlines()
    (tmp_path / name).write_text("\n".join([header, *reversed(lines)]))
    other = sources.read(tmp_path / name, tmp_path / "staging")
    first = load.frames["event"].filter(pl.col("reported_type") != "unsubscribed")
    assert rows(other, "event", "event_id") == first.select("event_id").collect().sort("event_id").rows()


def test_the_emails_of_an_automation_are_of_one_campaign(tmp_path: Path) -> None:
    text = "id,automation_id,title,subject_line,send_time,status\ne1,a7,Welcome,Hello,,sent\ne2,a7,Again,Hi,,sent\n"
    (tmp_path / "mailchimp_automation_email.csv").write_text(text)
    load = sources.read(tmp_path / "mailchimp_automation_email.csv", tmp_path / "staging")
    assert rows(load, "delivery", "delivery_id", "campaign_id") == [("e1", "a7"), ("e2", "a7")]


@pytest.mark.skipif(not SHARED.is_dir(), reason="the shared sample of real exports is not beside this checkout")
def test_the_real_sample(tmp_path: Path) -> None:
    load = sources.read(SHARED, tmp_path)
    # Counted by hand: 17 + 8 activity rows and 1 unsubscribe; 10 sends; 1 campaign and 2 automation e-mails.
    events = load.frames["event"].collect()
    assert (events.height, load.quarantine.height) == (26, 0)
    assert events["event_id"].n_unique() == 26
    assert rows(load, "message", "status_code") == [(1,)] * 10
    assert "Welcome to the community! 👓" in load.frames["delivery"].collect()["subject"].to_list()
