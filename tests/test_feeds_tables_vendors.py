"""What the tables of each sender mean: rows of the documented shapes, invented; results worked out by hand."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

import trackkit as tk
from tests.feeds import events, read, read_tables, table, told
from tests.test_feeds_vendors import SAMPLES
from trackkit import sources
from trackkit.errors import DataError
from trackkit.sources.detect import choose
from trackkit.sources.feeds.feed import all_feeds
from trackkit.sources.feeds.recognise import of_records, of_table
from trackkit.sources.files import Found

# ---------------------------------------------------------------- Salesforce Marketing Cloud


def extract(event: str, at: str, **more: Any) -> dict[str, Any]:
    """Return a row of a tracking extract: month first, by the clock of the platform."""
    return {
        "ClientID": "7002", "SendID": "9007199254740993", "SubscriberKey": "k1", "EmailAddress": "Ann@Mail.example",
        "SubscriberID": "9223372036854775807", "ListID": "31", "EventDate": at, "EventType": event, "BatchID": "0",
        "TriggeredSendExternalKey": "", **more,
    }  # fmt: skip


BOUNCES = [
    extract("Bounce", "7/1/2023 11:59:59 PM", SubscriberKey=f"k{place}", BounceCategory=category, BounceReason=reason)
    for place, (category, reason) in enumerate([
        ("Hard bounce", "5.1.1 (bad-mailbox)"), ("Soft bounce", "4.2.2 full"), ("Block bounce", "refused"),
        ("Technical/Other bounce", ""), ("Unknown bounce", ""),
    ])
]  # fmt: skip
CLICKS = [
    extract("Click", "1/15/2023 6:00:00 AM", URL="https://shop.example/?a=1&b=é", Alias="Header", SendURLID="5"),
    extract("Click", "1/15/2023 6:00:00 AM", URL="https://shop.example/other", Alias="", SendURLID="6"),
]
OPENS = [
    extract("Open", "7/1/2023 12:00:00 PM", IsUnique="True"), extract("Open", "7/1/2023 1:00:00 PM", IsUnique="False"),
]  # fmt: skip
EXTRACTS = {
    "Sent.csv": [extract("Sent", "3/12/2023 2:30:00 AM"), extract("Sent", "3/12/2023 2:30:00 AM", BatchID="77")],
    "Opens.csv": OPENS, "Clicks.csv": CLICKS, "Bounces.csv": BOUNCES,
    "Unsubs.csv": [extract("Unsubscribe", "7/2/2023 1:00:00 AM")],
    "Complaints.csv": [extract("Complaint", "7/2/2023 2:00:00 AM")],
    "NotSent.csv": [extract("NotSent", "7/2/2023 3:00:00 AM", Reason="Held")],
    "Surveys.csv": [extract("Survey", "7/2/2023 4:00:00 AM")],
}  # fmt: skip


def test_marketing_cloud_extracts(tmp_path: Path) -> None:
    load = read_tables(tmp_path / "in", EXTRACTS)
    assert {one.format for one in load.report.sources} == {"salesforce_marketing_cloud"}
    assert events(load, "source_file", "reported_type", "bounce_class", "occurred_at") == [
        *[("Bounces.csv", "bounced", kind, datetime(2023, 7, 2, 5, 59, 59, tzinfo=UTC))
          for kind in ("hard", "soft", "block", "undetermined", "undetermined")],
        *[("Clicks.csv", "clicked", None, datetime(2023, 1, 15, 12, tzinfo=UTC))] * 2,
        ("Complaints.csv", "complained", None, datetime(2023, 7, 2, 8, tzinfo=UTC)),
        ("NotSent.csv", "rejected", None, datetime(2023, 7, 2, 9, tzinfo=UTC)),
        ("Opens.csv", "opened", None, datetime(2023, 7, 1, 18, tzinfo=UTC)),
        ("Opens.csv", "opened", None, datetime(2023, 7, 1, 19, tzinfo=UTC)),
        # Half an hour into what the clocks of Chicago skip: this clock never changes, 6 hours behind UTC.
        *[("Sent.csv", "sent", None, datetime(2023, 3, 12, 8, 30, tzinfo=UTC))] * 2,
        ("Surveys.csv", "unknown", None, datetime(2023, 7, 2, 10, tzinfo=UTC)),
        ("Unsubs.csv", "unsubscribed", None, datetime(2023, 7, 2, 7, tzinfo=UTC)),
    ]  # fmt: skip
    said = {source.path: source for source in load.report.sources}
    assert said["Sent.csv"].assumptions == [
        "instants carry no offset and were read as Etc/GMT+6",
        "2 events say sent and none delivered: what was sent and did not bounce counts as delivered",
    ]
    assert said["Surveys.csv"].unknown_types == {"Survey": 1}
    rows = events(load, "delivery_id", "message_id", "recipient_id", "address", "is_first", "attributes")
    assert {row[0] for row in rows} == {"9007199254740993"}
    assert rows[9][1:5] == ("9007199254740993:0:k1", "k1", "ann@mail.example", True)
    assert rows[12][1] == "9007199254740993:77:k1"  # a triggered send: the same job and person, another message
    assert json.loads(rows[9][5]) == {"ClientID": "7002", "SubscriberID": "9223372036854775807", "ListID": "31"}
    assert events(load, "bounce_reason", "diagnostic")[0] == ("Hard bounce", "5.1.1 (bad-mailbox)")
    assert told(load, "link", "url", "label", "type_code") == [
        ("https://shop.example/?a=1&b=é", "Header", 1), ("https://shop.example/other", "https://shop.example/other", 1),
    ]  # fmt: skip
    assert told(load, "recipient", "recipient_id", "email")[0] == ("k0", "ann@mail.example")
    assert len(set(events(load, "event_id"))) == 15


def data_view(**more: Any) -> dict[str, Any]:
    return {
        "AccountID": "7002", "JobID": "55", "ListID": "31", "BatchID": "9", "SubscriberID": "4",
        "SubscriberKey": "k1", "EventDate": "2023-07-01 00:00:00", "Domain": "mail.example", **more,
    }  # fmt: skip


def test_marketing_cloud_data_views_are_told_by_their_names(tmp_path: Path) -> None:
    click = data_view(URL="https://a.example/%%x%%", LinkName="Top", LinkContent="https://a.example/1", IsUnique="1")
    files = {"Open.csv": [data_view(IsUnique="0")], "Click_2023-07.csv": [click], "Sent.csv": [data_view()],
             "Unsubscribe.csv": [data_view(IsUnique="1")], "Complaint.csv": [data_view()]}  # fmt: skip
    files["Bounce.csv"] = [data_view(BounceCategory="Soft bounce", SMTPBounceReason="full")]
    load = read_tables(tmp_path / "in", files)
    assert events(load, "source_file", "raw_event_type", "reported_type", "bounce_class", "is_first") == [
        ("Bounce.csv", "bounce", "bounced", "soft", None), ("Click_2023-07.csv", "click", "clicked", None, True),
        ("Complaint.csv", "complaint", "complained", None, None), ("Open.csv", "open", "opened", None, False),
        ("Sent.csv", "sent", "sent", None, None), ("Unsubscribe.csv", "unsubscribe", "unsubscribed", None, True),
    ]  # fmt: skip
    assert {row for row in events(load, "message_id", "occurred_at")} == {
        ("55:9:k1", datetime(2023, 7, 1, 6, tzinfo=UTC))
    }
    # The address as the sender wrote it groups clicks; what it became for one reader is kept beside it.
    assert told(load, "link", "url", "label") == [("https://a.example/%%x%%", "Top")]
    assert json.loads(events(load, "attributes")[1][0])["LinkContent"] == "https://a.example/1"


WAREHOUSE = [
    {"event_type": kind, "id": f"{kind}=", "_fivetran_deleted": "FALSE", "batch_id": "0", "bounce_category": "",
     "bounce_type": "", "event_date": "2023-10-05T20:46:35.970000", "send_id": "1491592", "smtp_code": "0",
     "smtp_reason": "", "subscriber_key": "ann@mail.example", "url": ""}
    for kind in ("Sent", "Open", "HardBounce", "OtherBounce", "ForwardedEmail")
]  # fmt: skip


def test_marketing_cloud_warehouse_table(tmp_path: Path) -> None:
    load = read_tables(tmp_path / "in", {"event.csv": WAREHOUSE})
    at = datetime(2023, 10, 6, 2, 46, 35, 970000, tzinfo=UTC)
    assert events(load, "reported_type", "bounce_class", "vendor_id", "message_id", "occurred_at") == [
        ("sent", None, "Sent=", "1491592:0:ann@mail.example", at),
        ("opened", None, "Open=", "1491592:0:ann@mail.example", at),
        ("bounced", "hard", "HardBounce=", "1491592:0:ann@mail.example", at),
        ("bounced", "undetermined", "OtherBounce=", "1491592:0:ann@mail.example", at),
        ("unknown", None, "ForwardedEmail=", None, at),
    ]  # fmt: skip


# ---------------------------------------------------------------- Marketo


def activity(kind: int, number: int, value: str = "2370", label: str = "Invite 3", **further: Any) -> dict[str, Any]:
    return {
        "marketoGUID": str(9007199254740993 + number), "leadId": "1124755", "activityDate": "2023-02-13T14:06:20Z",
        "activityTypeId": str(kind), "campaignId": "2522", "primaryAttributeValueId": value,
        "primaryAttributeValue": label, "attributes": json.dumps({"Campaign Run ID": 758, "Step ID": 5436, **further}),
    }  # fmt: skip


MARKETO = [
    activity(6, 0), activity(7, 1), activity(8, 2, Category="1", Details="550 blocked", Email="Ann@Mail.example"),
    activity(8, 3, Category="2", Details="550 5.1.1 unknown"), activity(8, 4, Category=3), activity(9, 5),
    activity(10, 6, **{"User Agent": "Mozilla/5.0", "Is Bot Activity": True, "Bot Activity Pattern": "N/A"}),
    activity(10, 7, **{"User Agent": "Mozilla/5.0", "Is Bot Activity": False, "Bot Activity Pattern": "N/A"}),
    activity(11, 8, Link="https://shop.example/?a=1,2&b=\"x\""), activity(27, 9, Details="mailbox full"),
    activity(1, 10, value="88", label="Home page", **{"Webpage URL": "/"}), activity(104, 11, value="1670"),
    activity(6, 12, **{"Action Result": "skipped"}), {**activity(10, 13), "campaignId": "null"},
]  # fmt: skip


def test_marketo_bulk_extract(tmp_path: Path) -> None:
    load = read(tmp_path / "in", b"\xef\xbb\xbf" + table(MARKETO).encode(), "activities.csv")
    (said,) = load.report.sources
    assert (said.format, said.read, said.quarantined, said.assumptions) == ("marketo", 14, 0, [
        "2 of 14 events name no delivery; --delivery-field says which field does",
        "2 rows of this load differ from another only in the sender's own id: each counted (--dedupe exact)",
    ])  # fmt: skip
    assert said.unknown_types == {"1": 1, "104": 1}
    assert events(load, "reported_type", "bounce_class", "is_machine", "delivery_id") == [
        ("sent", None, None, "2370"), ("delivered", None, None, "2370"), ("bounced", "block", None, "2370"),
        ("bounced", "hard", None, "2370"), ("bounced", "soft", None, "2370"), ("unsubscribed", None, None, "2370"),
        ("opened", None, True, "2370"), ("opened", None, False, "2370"), ("clicked", None, None, "2370"),
        ("bounced", "soft", None, "2370"), ("unknown", None, None, None), ("unknown", None, None, None),
        ("rejected", None, None, "2370"), ("opened", None, None, "2370"),
    ]  # fmt: skip
    rows = events(load, "vendor_id", "message_id", "recipient_id", "user_agent", "machine_reason", "address")
    assert rows[6] == ("9007199254740999", "2370:2522:758:1124755", "1124755", "Mozilla/5.0", "N/A", None)
    assert rows[7][4] is None and rows[2][5] == "ann@mail.example"
    assert rows[13][1] == "2370:0:758:1124755"
    assert events(load, "bounce_reason", "diagnostic", "occurred_at")[2] == (
        "1", "550 blocked", datetime(2023, 2, 13, 14, 6, 20, tzinfo=UTC),
    )  # fmt: skip
    assert json.loads(events(load, "attributes")[10][0]) == {
        "attributes": {"Campaign Run ID": 758, "Step ID": 5436, "Webpage URL": "/"}
    }
    assert told(load, "delivery", "delivery_id", "label") == [("2370", "Invite 3")]
    assert told(load, "link", "url") == [('https://shop.example/?a=1,2&b="x"',)]


MARKETO_TABLES = {
    "activity_send_email.csv": [
        {"activity_date": "2020-05-11 18:00:04.000", "activity_type_id": "6", "campaign_id": "2821",
         "campaign_run_id": "991", "choice_number": "0", "email_template_id": "2500", "id": str(number),
         "lead_id": "1343039", "primary_attribute_value_id": "2500", "primary_attribute_value": "News",
         "action_result": result}
        for number, result in enumerate(["succeeded", "skipped", ""])
    ],
    "activity_email_bounced.csv": [
        {"activity_date": "2020-05-11 18:45:53.000 +0000", "activity_type_id": "8", "campaign_id": "2821",
         "campaign_run_id": "991", "category": "1", "details": "550 blocked", "email": "ann@mail.example", "id": "7",
         "lead_id": "1343039", "primary_attribute_value": "News", "primary_attribute_value_id": "2500"},
    ],
}  # fmt: skip


def test_marketo_warehouse_tables(tmp_path: Path) -> None:
    load = read_tables(tmp_path / "in", MARKETO_TABLES)
    assert events(load, "source_file", "reported_type", "bounce_class", "message_id", "address") == [
        ("activity_email_bounced.csv", "bounced", "block", "2500:2821:991:1343039", "ann@mail.example"),
        ("activity_send_email.csv", "sent", None, "2500:2821:991:1343039", None),
        ("activity_send_email.csv", "rejected", None, "2500:2821:991:1343039", None),
        ("activity_send_email.csv", "sent", None, "2500:2821:991:1343039", None),
    ]  # fmt: skip


# ---------------------------------------------------------------- Iterable


def iterable(event: str | None, number: int = 0, **more: Any) -> dict[str, Any]:
    given = {
        "createdAt": f"2024-07-16 21:28:{number:02} +00:00", "email": "Ann@Mail.example", "campaignId": 10202758,
        "messageId": "3698fb1456486446fda1f4a620eda70f", "templateId": 12345678, **more,
    }  # fmt: skip
    return given | ({"eventName": event} if event else {})


ITERABLE = [
    iterable("emailSend", 0, campaignName="June", emailSubject="Été ☀"),
    iterable("emailOpen", 1, userAgent="UA", ip="192.0.2.1"),
    iterable("emailClick", 2, linkUrl="https://shop.example/?a=1", hrefIndex=3, isBot=True),
    iterable("emailBounce", 3, recipientState="HardBounce", status="5.1.1", bounceMessage="550 no"),
    iterable("emailBounce", 4, recipientState="SoftBounceMailboxFull", status="4.2.2"),
    iterable("emailBounce", 5, recipientState="MailBlockSpamDetected"),
    iterable("emailBounce", 6, recipientState="DNSFailure"),
    iterable("emailComplaint", 7), iterable("emailUnSubscribe", 8),
    iterable("emailSendSkip", 9), iterable("pushSend", 10),
    {"email": "ann@mail.example", "createdAt": "2024-07-16T21:28:11.000Z", "eventName": "emailSubscribe"},
]  # fmt: skip
ITERABLE_ROWS = [
    ("sent", None, None), ("opened", None, None), ("clicked", None, True), ("bounced", "hard", None),
    ("bounced", "soft", None), ("bounced", "block", None), ("bounced", "undetermined", None),
    ("complained", None, None), ("unsubscribed", None, None), ("rejected", None, None),
    ("unknown", None, None), ("subscribed", None, None),
]  # fmt: skip


def _wide(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    names = dict.fromkeys(name for one in records for name in one)
    return [{name: one.get(name, "") for name in names} for one in records]


@pytest.mark.parametrize("shape", ["table", "lines", "webhooks"])
def test_iterable(shape: str, tmp_path: Path) -> None:
    inner = [
        {name: one.pop(name) for name in ("email", "eventName")} | {"dataFields": one} for one in map(dict, ITERABLE)
    ]
    whole = {
        "table": table(_wide(ITERABLE)),
        "lines": "\n".join(map(json.dumps, ITERABLE)),
        "webhooks": json.dumps(inner),
    }
    load = read(tmp_path / "in", whole[shape], "export.csv" if shape == "table" else "export.json")
    assert {(one.format, one.quarantined) for one in load.report.sources} == {("iterable", 0)}
    assert events(load, "reported_type", "bounce_class", "is_machine") == ITERABLE_ROWS
    rows = events(load, "delivery_id", "message_id", "occurred_at", "smtp_status", "diagnostic", "link_position")
    assert rows[3] == (
        "10202758", "3698fb1456486446fda1f4a620eda70f",
        datetime(2024, 7, 16, 21, 28, 3, tzinfo=UTC), "5.1.1", "550 no", None,
    )  # fmt: skip
    assert rows[2][5] == 3 and rows[11][:3] == (None, None, datetime(2024, 7, 16, 21, 28, 11, tzinfo=UTC))
    assert events(load, "user_agent", "ip")[1] == ("UA", "192.0.2.1")
    assert told(load, "delivery", "delivery_id", "label", "subject") == [("10202758", "June", "Été ☀")]
    assert told(load, "link", "url") == [("https://shop.example/?a=1",)]
    assert load.report.sources[0].unknown_types == {"pushSend": 1}


def test_iterable_exports_are_told_by_their_names(tmp_path: Path) -> None:
    files = {"emailOpen.csv": [iterable(None)], "emailUnSubscribe_2024-07-16.csv": [iterable(None)]}
    load = read_tables(tmp_path / "in", files)
    assert events(load, "raw_event_type", "reported_type") == [
        ("emailopen", "opened"), ("emailunsubscribe", "unsubscribed")
    ]  # fmt: skip


def test_iterable_warehouse_table(tmp_path: Path) -> None:
    rows = [
        {"_fivetran_id": "HFN=", "email": "ann@mail.example", "campaign_id": "7", "message_id": "m",
         "event_name": event,
         "created_at": "2020-06-12 14:42:41.000", "recipient_state": state, "status": "5.1.1", "user_agent": "",
         "additional_properties": json.dumps({"bounceMessage": "550", "linkUrl": url})}
        for event, state, url in [("emailBounce", "HardBounce", None), ("emailClick", "", "https://a.example")]
    ]  # fmt: skip
    load = read_tables(tmp_path / "in", {"event.csv": rows})
    assert events(load, "reported_type", "bounce_class", "smtp_status", "diagnostic", "occurred_at") == [
        ("bounced", "hard", "5.1.1", "550", datetime(2020, 6, 12, 14, 42, 41, tzinfo=UTC)),
        ("clicked", None, None, "550", datetime(2020, 6, 12, 14, 42, 41, tzinfo=UTC)),
    ]  # fmt: skip
    assert told(load, "link", "url") == [("https://a.example",)]


# ---------------------------------------------------------------- Klaviyo


def klaviyo(event: str, number: int, **more: Any) -> dict[str, Any]:
    return {
        "object": "event", "id": f"3g{number}", "statistic_id": "Qfbz2d", "timestamp": 1642928716 + number,
        "event_name": event, "datetime": f"2022-01-23 09:05:{16 + number:02}+00:00",
        "uuid": f"9496ee00-7c2b-11ec-8001-{number:012}", "person": {"id": "QqXc3w", "email": "Ann@Mail.example"},
        "event_properties": {"$ESP": 0, "$event_id": f"UupFUS:{number}", "$message": "UupFUS", "Subject": "C'ya",
                             "$_cohort$message_send_cohort": "1642928713:UupFUS", "Campaign Name": "UGC 1", **more},
    }  # fmt: skip


KLAVIYO = [
    klaviyo("Received Email", 0), klaviyo("Opened Email", 1, machine_open=True, **{"Apple Privacy Open": False}),
    klaviyo("Opened Email", 2, machine_open=False, **{"Apple Privacy Open": True}),
    klaviyo("Opened Email", 3, machine_open=False),
    klaviyo("Opened Email", 4), klaviyo("Clicked Email", 5, URL="https://shop.example", **{"Bot Click": True}),
    klaviyo("Bounced Email", 6, **{"Bounce Type": "Hard"}), klaviyo("Marked Email as Spam", 7),
    klaviyo("Unsubscribed", 8), klaviyo("Dropped Email", 9), klaviyo("Unsubscribed from List", 10),
    klaviyo("Placed Order", 11), klaviyo("Received SMS", 12),
]  # fmt: skip


@pytest.mark.parametrize("shape", ["table", "records"])
def test_klaviyo(shape: str, tmp_path: Path) -> None:
    flat = [{n: json.dumps(v) if isinstance(v, dict) else v for n, v in one.items()} for one in KLAVIYO]
    whole = table(flat) if shape == "table" else json.dumps({"object": "$list", "data": KLAVIYO})
    load = read(tmp_path / "in", whole, "events.csv" if shape == "table" else "events.json")
    assert {(one.format, one.quarantined) for one in load.report.sources} == {("klaviyo", 0)}
    assert events(load, "reported_type", "is_machine", "machine_reason", "bounce_class", "delivery_id") == [
        ("delivered", None, None, None, "UupFUS"), ("opened", True, "machine_open", None, "UupFUS"),
        ("opened", True, "apple", None, "UupFUS"), ("opened", False, None, None, "UupFUS"),
        ("opened", None, None, None, "UupFUS"), ("clicked", True, "bot_click", None, "UupFUS"),
        ("bounced", None, None, "hard", "UupFUS"), ("complained", None, None, None, "UupFUS"),
        ("unsubscribed", None, None, None, "UupFUS"), ("rejected", None, None, None, "UupFUS"),
        ("unknown", None, None, None, None), ("unknown", None, None, None, None), ("unknown", None, None, None, None),
    ]  # fmt: skip
    assert load.report.sources[0].unknown_types == {"Placed Order": 1, "Received SMS": 1, "Unsubscribed from List": 1}
    rows = events(load, "message_id", "vendor_id", "recipient_id", "address", "occurred_at")
    assert rows[1] == (
        "1642928713:UupFUS:QqXc3w", "9496ee00-7c2b-11ec-8001-000000000001", "QqXc3w", "ann@mail.example",
        datetime(2022, 1, 23, 9, 5, 17, tzinfo=UTC),
    )  # fmt: skip
    assert told(load, "delivery", "delivery_id", "label", "subject") == [("UupFUS", "UGC 1", "C'ya")]
    assert json.loads(events(load, "attributes")[1][0])["event_properties"]["$event_id"] == "UupFUS:1"


KLAVIYO_TABLE = [
    {"ID": "3gB", "PERSON_ID": "MCX", "CAMPAIGN_ID": "LyZ", "FLOW_ID": "", "FLOW_MESSAGE_ID": "", "UUID": f"u{number}",
     "DATETIME": "2020-04-05 20:02:45.000", "TIMESTAMP": "2020-04-05 20:02:45.000", "METRIC_ID": "Q4q", "TYPE": kind,
     "PROPERTY_EVENT_ID": "LyZ:325688435042320941348463595497466121544", "PROPERTY_SUBJECT": "new chopsticks",
     "PROPERTY_CAMPAIGN_NAME": "Live", "PROPERTY_COHORT_MESSAGE_SEND_COHORT": "1586116963:LyZ",
     "PROPERTY_MACHINE_OPEN": flag, "PROPERTY_URL": "https://shop.example"}
    for number, (kind, flag) in enumerate([("Received Email", ""), ("Opened Email", "TRUE"), ("Clicked Email", "")])
]  # fmt: skip


def test_klaviyo_warehouse_table(tmp_path: Path) -> None:
    load = read_tables(tmp_path / "in", {"event.csv": KLAVIYO_TABLE})
    at = datetime(2020, 4, 5, 20, 2, 45, tzinfo=UTC)
    assert events(load, "reported_type", "is_machine", "delivery_id", "message_id", "occurred_at") == [
        ("delivered", None, "LyZ", "1586116963:LyZ:MCX", at), ("opened", True, "LyZ", "1586116963:LyZ:MCX", at),
        ("clicked", None, "LyZ", "1586116963:LyZ:MCX", at),
    ]  # fmt: skip
    assert told(load, "link", "url") == [("https://shop.example",)]
    assert json.loads(events(load, "attributes")[0][0])["PROPERTY_EVENT_ID"].endswith("466121544")


# ---------------------------------------------------------------- Account Engagement (Pardot)


def visitor(kind: int, number: int, details: str = "June letter", mail: str = "501", **more: Any) -> dict[str, Any]:
    return {
        "id": str(number), "prospect_id": "9007199254740993", "visitor_id": "44", "campaign_id": "3", "type": str(kind),
        "type_name": "", "details": details, "email_id": mail and "900", "email_template_id": "", "list_email_id": mail,
        "form_id": "", "created_at": "2023-10-29 02:30:00", **more,
    }  # fmt: skip


PARDOT = [
    visitor(6, 1), visitor(11, 2), visitor(1, 3, "https://shop.example/?x=1"), visitor(1, 4, "a redirect", mail=""),
    visitor(13, 5), visitor(14, 6), visitor(12, 7), visitor(16, 8), visitor(35, 9), visitor(36, 10), visitor(37, 11),
    visitor(2, 12, "a form", mail="", form_id="8"), visitor(21, 13, mail=""),
]  # fmt: skip


def test_pardot_reads_local_time_as_it_is_told(tmp_path: Path) -> None:
    load = read(tmp_path / "in", table(PARDOT), "visitor_activity.csv", timezone="Europe/Paris")
    (said,) = load.report.sources
    assert (said.format, said.quarantined, said.unknown_types) == ("pardot", 0, {"1": 1, "2": 1, "21": 1})
    assert said.assumptions == [
        "instants carry no offset and were read as Europe/Paris",
        "13 instants that the clocks of Europe/Paris showed twice were read as the earlier one",
        "1 events say sent and none delivered: what was sent and did not bounce counts as delivered",
        "3 of 13 events name no delivery; --delivery-field says which field does",
    ]
    assert events(load, "reported_type", "delivery_id") == [
        ("sent", "501"), ("opened", "501"), ("clicked", "501"), ("unknown", None), ("bounced", "501"),
        ("complained", "501"), ("unsubscribed", "501"), ("subscribed", "501"), ("unsubscribed", "501"),
        ("bounced", "501"), ("subscribed", "501"), ("unknown", None), ("unknown", None),
    ]  # fmt: skip
    assert events(load, "message_id", "recipient_id", "person_id", "vendor_id", "occurred_at")[0] == (
        "900:9007199254740993", "9007199254740993", "44", "1", datetime(2023, 10, 29, 0, 30, tzinfo=UTC),
    )  # fmt: skip
    assert told(load, "link", "url") == [("https://shop.example/?x=1",)]
    assert told(load, "delivery", "delivery_id", "label") == [("501", "June letter")]


def test_pardot_exports_of_the_interface(tmp_path: Path) -> None:
    rows = [{"id": "1", "visitorId": "44", "prospectId": "7", "type": "11", "typeName": "Open", "emailId": "900",
             "listEmailId": "501", "details": "x", "createdAt": "2023-10-29T02:30:00-05:00"}]  # fmt: skip
    load = read(tmp_path / "in", table(rows), "export.csv")
    assert events(load, "reported_type", "delivery_id", "message_id", "occurred_at") == [
        ("opened", "501", "900:7", datetime(2023, 10, 29, 7, 30, tzinfo=UTC)),
    ]  # fmt: skip


# ---------------------------------------------------------------- tables that come with the events


def test_tables_beside_the_events_tell_of_deliveries_and_people(tmp_path: Path) -> None:
    jobs = [
        {
            "ClientID": "7002",
            "SendID": "9007199254740993",
            "Subject": "Été ☀",
            "EmailName": "June",
            "JobStatus": "Complete",
        }
    ]
    people = [{"ClientID": "7002", "SubscriberKey": "k9", "EmailAddress": "bob@mail.example", "Status": "Active"}]
    load = read_tables(tmp_path / "in", {"Opens.csv": OPENS, "SendJobs.csv": jobs, "Subscribers.csv": people})
    assert {one.path: (one.format, one.table, one.read) for one in load.report.sources} == {
        "Opens.csv": ("salesforce_marketing_cloud", "event", 2),
        "SendJobs.csv": ("salesforce_marketing_cloud", "delivery", 1),
        "Subscribers.csv": ("salesforce_marketing_cloud", "recipient", 1),
    }
    assert told(load, "delivery", "delivery_id", "label", "subject") == [("9007199254740993", "June", "Été ☀")]
    assert told(load, "recipient", "recipient_id", "email") == [("k1", "ann@mail.example"), ("k9", "bob@mail.example")]


def test_a_table_beside_the_events_wins_over_what_events_tell(tmp_path: Path) -> None:
    campaign = [
        {"id": "LyZ", "name": "Campaign", "subject": "S", "send_time": "2020-04-05 20:00:00.000", "status": "sent"}
    ]
    read_tables(tmp_path / "in", {"event.csv": KLAVIYO_TABLE, "campaign.csv": campaign})
    assert told(tk.load(tmp_path / "in"), "delivery", "delivery_id", "label", "subject", "started_at") == [
        ("LyZ", "Campaign", "S", datetime(2020, 4, 5, 20, tzinfo=UTC))
    ]  # fmt: skip


def test_without_events_such_a_table_is_read_only_as_asked(tmp_path: Path) -> None:
    people = table([{"id": "7", "email": "bob@mail.example"}])
    with pytest.raises(DataError, match="no known table"):
        read(tmp_path / "alone", people, "prospect.csv")
    load = sources.read(tmp_path / "alone" / "prospect.csv", tmp_path / "staging", format="pardot")
    assert told(load, "recipient", "recipient_id", "email") == [("7", "bob@mail.example")]


# ---------------------------------------------------------------- none takes what is another's

TABLES = {
    "salesforce_marketing_cloud": [
        ("a.csv", OPENS), ("b.csv", BOUNCES), ("event.csv", WAREHOUSE), ("_Sent.csv", [data_view()]),
    ],
    "marketo": [("a.csv", MARKETO), *MARKETO_TABLES.items()],
    "iterable": [("a.csv", _wide(ITERABLE)), ("emailOpen.csv", [iterable(None)])],
    "klaviyo": [("event.csv", KLAVIYO_TABLE)],
    "pardot": [("visitor_activity.csv", PARDOT)],
}  # fmt: skip
OTHERS = {
    "delivery.csv": "iDeliveryId,sLabel,sSubject,iState,iMessageType,tsBroadStart,iToDeliver",
    "tracking_log.csv": "iTrackingLogId,tsLog,iBroadLogId,iDeliveryId,iRecipientId,iUrlId,iType",
    "campaign_recipient_activity.csv": "action,campaign_id,list_id,member_id,timestamp,url,bounce_type,ip",
    "member.csv": "id,email_address,list_id,status,email_type,timestamp_signup",
    "contacts.csv": "id,email,created_at,name,status",
    "orders.csv": "uuid,email,type,created_at,total",
    "issues.csv": "id,type,created_at,title",
}


@pytest.mark.parametrize(("name", "file", "rows"), [(name, *one) for name, some in TABLES.items() for one in some])
def test_one_map_alone_recognises_a_table(name: str, file: str, rows: list, tmp_path: Path) -> None:
    (tmp_path / file).write_text(table(rows), "utf-8")
    found, known = Found(tmp_path / file, file), all_feeds()
    assert [one for one in known if of_table(found, {one: known[one]})] == [name]
    assert choose(found, [], known).format == name


@pytest.mark.parametrize("file", OTHERS)
def test_no_map_takes_another_table(file: str, tmp_path: Path) -> None:
    (tmp_path / file).write_text(OTHERS[file] + "\n" + ",".join("1" * len(OTHERS[file].split(","))) + "\n")
    assert of_table(Found(tmp_path / file, file), all_feeds()) is None


RECORDS = {"iterable": ITERABLE, "klaviyo": KLAVIYO}


@pytest.mark.parametrize("name", [*RECORDS, *SAMPLES])
def test_records_are_of_one_map_alone(name: str, tmp_path: Path) -> None:
    sample = RECORDS.get(name) or SAMPLES[name]
    (tmp_path / "events.json").write_text(json.dumps(sample))
    known = all_feeds() if name in RECORDS else {one: all_feeds()[one] for one in RECORDS}
    fitting = [one for one in known if of_records(tmp_path / "events.json", {one: known[one]})[0]]
    assert fitting == ([name] if name in RECORDS else [])


# ---------------------------------------------------------------- what a sender calls the campaign of a delivery

KLAVIYO_FLOW = [{**KLAVIYO_TABLE[1], "CAMPAIGN_ID": "", "FLOW_ID": "XyZ9", "FLOW_MESSAGE_ID": "m4"}]


@pytest.mark.parametrize(
    ("name", "rows", "delivery", "campaign", "label"),
    [
        ("event.csv", KLAVIYO_FLOW, "m4", "XyZ9", None),
        ("events.csv", [iterable("emailSend", workflowId=31, workflowName="Welcome")], "10202758", "31", "Welcome"),
        ("activities.csv", [activity(6, 0)], "2370", "2522", None),
        ("export.csv", [visitor(6, 1)], "501", "3", None),
    ],
    ids=["klaviyo", "iterable", "marketo", "pardot"],
)
def test_what_a_sender_calls_the_campaign(
    tmp_path: Path, name: str, rows: list[dict[str, Any]], delivery: str, campaign: str, label: str | None
) -> None:
    load = read(tmp_path / "in", table(rows), name)
    assert told(load, "delivery", "delivery_id", "campaign_id") == [(delivery, campaign)]
    if label:
        assert told(load, "campaign", "campaign_id", "label") == [(campaign, label)]
