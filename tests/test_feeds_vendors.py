"""What each sender's events mean: payloads of the documented shapes, invented; results worked out by hand."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote_plus

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.feeds import PACKINGS, events, read, told
from trackkit import open_store

# ---------------------------------------------------------------- SendGrid


def sendgrid(event: str, **more: Any) -> dict[str, Any]:
    return {
        "email": "Ann@Mail.example", "timestamp": 1700000000, "smtp-id": "<14c5.1@sender.example>", "event": event,
        "sg_event_id": f"id of {event}", "sg_message_id": "14c5d75ce93.filter0001.16648.5515E0B88.0", **more,
    }  # fmt: skip


SENDGRID = [
    sendgrid("processed", category="cat facts"),
    sendgrid("deferred", response="400 try again later", attempt="5", category=["cat facts", "b"]),
    sendgrid("delivered", response="250 OK"),
    sendgrid("open", useragent="Mozilla/5.0", ip="192.0.2.1", sg_machine_open=True, sg_content_type="html"),
    sendgrid("open", useragent="Mozilla/5.0", ip="192.0.2.1", sg_machine_open=False, timestamp=1700000001),
    sendgrid("click", url="https://a.example/?x=1&y=2", url_offset={"index": 2, "type": "html"}, ip="192.0.2.1"),
    sendgrid("bounce", type="bounce", status="5.1.1", reason="550 no such user", bounce_classification="Invalid"),
    sendgrid("bounce", type="bounce", status="4.2.2", reason="mailbox full", sg_event_id="b2"),
    sendgrid("bounce", type="blocked", status="5.7.1", reason="550 blocked", sg_event_id="b3"),
    sendgrid("dropped", reason="Bounced Address", status="5.0.0"),
    sendgrid("spamreport"),
    {"email": "ann@mail.example", "timestamp": 1700000002, "event": "unsubscribe"},
    {"email": "ann@mail.example", "timestamp": 1700000003, "event": "group_unsubscribe", "asm_group_id": 10},
    sendgrid("group_resubscribe", asm_group_id=10, marketing_campaign_id=12345, marketing_campaign_name="June"),
    sendgrid("account_status_change", type="compliance_suspend"),
]


def test_sendgrid(tmp_path: Path) -> None:
    load = read(tmp_path / "in", SENDGRID)
    assert events(load, "reported_type", "delivery_id", "bounce_class", "is_machine", "smtp_status") == [
        ("queued", "cat facts", None, None, None), ("deferred", "cat facts", None, None, None),
        ("delivered", None, None, None, None), ("opened", None, None, True, None), ("opened", None, None, False, None),
        ("clicked", None, None, None, None), ("bounced", None, "hard", None, "5.1.1"),
        ("bounced", None, "soft", None, "4.2.2"), ("bounced", None, "block", None, "5.7.1"),
        ("rejected", None, None, None, "5.0.0"), ("complained", None, None, None, None),
        ("unsubscribed", None, None, None, None), ("unsubscribed", None, None, None, None),
        ("subscribed", "12345", None, None, None), ("unknown", None, None, None, None),
    ]  # fmt: skip
    assert load.report.sources[0].unknown_types == {"account_status_change": 1}
    rows = events(load, "message_id", "vendor_id", "address", "tags", "attributes", "machine_reason", "diagnostic")
    assert rows[1] == (
        "14c5d75ce93:ann@mail.example", "id of deferred", "ann@mail.example", '["cat facts","b"]',
        '{"smtp-id":"<14c5.1@sender.example>","attempt":"5"}', None, "400 try again later",
    )  # fmt: skip
    assert rows[3][4:] == (
        '{"smtp-id":"<14c5.1@sender.example>","sg_content_type":"html"}', "sg_machine_open", None,
    )  # fmt: skip
    assert rows[12] == (None, None, "ann@mail.example", None, '{"asm_group_id":10}', None, None)
    assert events(load, "link_position", "ip")[5] == (2, "192.0.2.1")
    assert told(load, "link", "url", "delivery_id") == [("https://a.example/?x=1&y=2", None)]
    assert told(load, "delivery", "delivery_id", "label") == [("12345", "June")]
    assert len(set(events(load, "event_id"))) == 15


def test_sendgrid_recipients_of_one_request_are_messages_of_their_own(tmp_path: Path) -> None:
    load = read(tmp_path / "in", [sendgrid("open", email=f"p{i}@mail.example") for i in range(3)])
    assert [one for (one,) in events(load, "message_id")] == [f"14c5d75ce93:p{i}@mail.example" for i in range(3)]


# ---------------------------------------------------------------- Amazon SES


def ses(kind: str, body: dict[str, Any] | None = None, to: tuple[str, ...] = ("ann@mail.example",)) -> dict[str, Any]:
    key = {"Rendering Failure": "failure", "DeliveryDelay": "deliveryDelay"}.get(kind, kind.lower())
    mail = {
        "timestamp": "2023-11-14T22:13:20.000Z", "messageId": "0100-abc", "source": "News <news@sender.example>",
        "destination": list(to), "commonHeaders": {"subject": "Été à Paris ☀", "to": list(to)},
        "tags": {"ses:configuration-set": ["main"], "campaign": ["june"]},
    }  # fmt: skip
    return {"eventType": kind, "mail": mail, key: body or {}}


INNER = "2023-11-15T08:00:00.123Z"
BOTH = ("ann@mail.example", "Bob <bob@mail.example>")
SES = [
    ses("Send"),
    ses("Delivery", {"timestamp": INNER, "recipients": ["ann@mail.example"], "smtpResponse": "250 ok"}),
    ses("Open", {"timestamp": INNER, "ipAddress": "192.0.2.1", "userAgent": "UA"}),
    ses("Click", {"timestamp": INNER, "ipAddress": "192.0.2.1", "userAgent": "UA", "link": "https://a.example",
                  "linkTags": {"shop": ["shoes"]}}),
    ses("Bounce", {"timestamp": INNER, "bounceType": "Permanent", "bounceSubType": "OnAccountSuppressionList",
                   "feedbackId": "f1", "bouncedRecipients": [{"emailAddress": "ann@mail.example", "action": "failed",
                                                              "status": "5.1.1", "diagnosticCode": "smtp; 550"}]}),
    ses("Bounce", {"timestamp": INNER, "bounceType": "Transient", "bounceSubType": "MailboxFull", "feedbackId": "f2",
                   "bouncedRecipients": [{"emailAddress": "ann@mail.example"}]}),
    ses("Bounce", {"timestamp": INNER, "bounceType": "Undetermined", "bounceSubType": "Undetermined",
                   "feedbackId": "f3", "bouncedRecipients": [{"emailAddress": "ann@mail.example"}]}),
    ses("Complaint", {"timestamp": INNER, "feedbackId": "f4", "userAgent": "AnyISP", "complaintFeedbackType": "abuse",
                      "complainedRecipients": [{"emailAddress": "ann@mail.example"}]}),
    ses("Reject", {"reason": "Bad content"}),
    ses("Rendering Failure", {"errorMessage": "Attribute 'name' is missing", "templateName": "t"}),
    ses("DeliveryDelay", {"timestamp": INNER, "delayType": "MailboxFull", "delayedRecipients": [
        {"emailAddress": "ann@mail.example", "status": "4.2.2", "diagnosticCode": "smtp; 452"}]}),
    ses("Subscription", {"timestamp": INNER, "source": "UnsubscribeHeader",
                         "newTopicPreferences": {"unsubscribeAll": True}}),
    ses("Subscription", {"timestamp": INNER, "newTopicPreferences": {
        "unsubscribeAll": False, "topicSubscriptionStatus": [{"topicName": "t", "subscriptionStatus": "OptOut"}]}}),
]  # fmt: skip
SENT, AT = datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC), datetime(2023, 11, 15, 8, 0, 0, 123000, tzinfo=UTC)
SES_ROWS = [
    ("sent", SENT, None, None), ("delivered", AT, None, None), ("opened", AT, None, None), ("clicked", AT, None, None),
    ("bounced", AT, "hard", "OnAccountSuppressionList"), ("bounced", AT, "soft", "MailboxFull"),
    ("bounced", AT, "undetermined", "Undetermined"), ("complained", AT, None, None), ("rejected", SENT, None, None),
    ("failed", SENT, None, None), ("deferred", AT, None, "MailboxFull"), ("unsubscribed", AT, None, None),
    ("unsubscribed", AT, None, None),
]  # fmt: skip
FEEDBACK = {4: "f1", 5: "f2", 6: "f3", 7: "f4"}  # bounces and complaints have an identity, however they are told
SES_COLUMNS = ("reported_type", "occurred_at", "bounce_class", "bounce_reason")


def test_ses_as_firehose_and_raw_delivery_give_it(tmp_path: Path) -> None:
    load = read(tmp_path / "in", "".join(map(json.dumps, SES)))
    assert events(load, *SES_COLUMNS) == SES_ROWS
    assert events(load, "smtp_status", "diagnostic", "vendor_id")[4] == ("5.1.1", "smtp; 550", "f1")
    assert {one for (one,) in events(load, "message_id")} == {"0100-abc"}
    assert {one for (one,) in events(load, "address")} == {"ann@mail.example"}
    assert told(load, "link", "url", "label") == [("https://a.example", "shoes")]
    assert events(load, "is_machine", "machine_reason")[2] == (None, None)
    assert '"campaign":["june"]' in events(load, "attributes")[0][0]


def sns(record: dict[str, Any], number: int) -> dict[str, Any]:
    return {
        "Type": "Notification", "MessageId": f"sns-{number}", "TopicArn": "arn:aws:sns:eu-west-1:1:ses",
        "Message": json.dumps(record), "Timestamp": "2023-11-16T00:00:00.000Z", "SignatureVersion": "1",
    }  # fmt: skip


def test_ses_in_sns_envelopes_with_the_identity_of_the_envelope(tmp_path: Path) -> None:
    confirmation = {"Type": "SubscriptionConfirmation", "MessageId": "x", "Message": "You have chosen to subscribe"}
    load = read(tmp_path / "in", [confirmation, *(sns(one, number) for number, one in enumerate(SES))])
    assert events(load, *SES_COLUMNS) == SES_ROWS
    assert [one for (one,) in events(load, "vendor_id")] == [FEEDBACK.get(n, f"sns-{n}") for n in range(13)]
    assert "1 records are the sender's own tests or confirmations and tell of no event" in (
        load.report.sources[0].assumptions
    )
    assert load.report.total("read") == 13


def test_ses_on_eventbridge_and_in_a_queue(tmp_path: Path) -> None:
    bridge = [{"version": "0", "id": f"eb-{n}", "detail-type": "Email", "source": "aws.ses",
               "time": "2023-11-16T00:00:00Z", "detail": one} for n, one in enumerate(SES)]  # fmt: skip
    load = read(tmp_path / "a", bridge)
    assert events(load, *SES_COLUMNS) == SES_ROWS
    assert [one for (one,) in events(load, "vendor_id")] == [FEEDBACK.get(n, f"eb-{n}") for n in range(13)]
    queue = {"Records": [{"messageId": "q", "body": json.dumps(sns(one, n))} for n, one in enumerate(SES)]}
    assert events(read(tmp_path / "b", queue), *SES_COLUMNS) == SES_ROWS


def test_ses_events_of_the_older_notifications(tmp_path: Path) -> None:
    older = [{("notificationType" if name == "eventType" else name): v for name, v in one.items()} for one in SES]
    assert events(read(tmp_path / "in", older), *SES_COLUMNS) == SES_ROWS


def test_ses_tells_of_each_recipient_where_it_can(tmp_path: Path) -> None:
    bounce = {"timestamp": INNER, "bounceType": "Permanent", "feedbackId": "f",
              "bouncedRecipients": [{"emailAddress": "bob@mail.example", "status": "5.1.1"}]}  # fmt: skip
    delivery = {"timestamp": INNER, "recipients": ["ann@mail.example"]}
    opened = {"timestamp": INNER, "userAgent": "UA"}
    records = [
        ses("Send", to=BOTH),
        ses("Delivery", delivery, BOTH),
        ses("Bounce", bounce, BOTH),
        ses("Open", opened, BOTH),
    ]
    load = read(tmp_path / "in", records)
    assert events(load, "source_row", "reported_type", "address", "message_id") == [
        (1, "sent", "ann@mail.example", "0100-abc:ann@mail.example"),
        (1, "sent", "bob@mail.example", "0100-abc:bob@mail.example"),
        (2, "delivered", "ann@mail.example", "0100-abc:ann@mail.example"),
        (3, "bounced", "bob@mail.example", "0100-abc:bob@mail.example"),
        (4, "opened", None, "0100-abc"),
    ]  # fmt: skip
    assert "1 events are of messages to several recipients and do not say whose; the address is empty" in (
        load.report.sources[0].assumptions
    )


def test_ses_deliveries_are_a_tag_that_the_user_names(tmp_path: Path) -> None:
    load = read(tmp_path / "in", SES, delivery_field="mail.tags.campaign")
    assert {one for (one,) in events(load, "delivery_id")} == {"june"}
    assert told(load, "delivery", "delivery_id", "subject") == [("june", "Été à Paris ☀")]


# ---------------------------------------------------------------- Mailgun


def mailgun(event: str, **more: Any) -> dict[str, Any]:
    return {
        "event": event, "timestamp": 1534108637.153125, "id": f"G9Bn5sl1TC6nu79C8C0bwg {event}",
        "recipient": "ann@mail.example", "log-level": "info",
        "tags": ["june", "vip"], "campaigns": [], "user-variables": {"my_var": "x"},
        "message": {"headers": {"message-id": "2018.1@sender.example", "subject": "Été",
                                "to": "Ann <ann@mail.example>"}},
        **more,
    }  # fmt: skip


def failed(severity: str, reason: str, **status: Any) -> dict[str, Any]:
    return mailgun("failed", severity=severity, reason=reason, **{"delivery-status": status or None})


MAILGUN = [
    mailgun("accepted"),
    mailgun("delivered", **{"delivery-status": {"code": 250, "message": "OK"}}),
    failed("temporary", "generic", code=452, message="4.2.2 full\nsecond line"),
    failed("permanent", "bounce", code=550, message="", description="No such user", **{"enhanced-code": "5.1.1"}),
    failed("permanent", "suppress-bounce", code=605),
    failed("permanent", "espblock", code=554),
    failed("permanent", "generic"),
    mailgun("opened", ip="192.0.2.1", message={"headers": {"message-id": "2018.1@sender.example"}},
            **{"client-info": {"user-agent": "UA", "bot": "apple", "client-name": "Mail"}}),
    mailgun("opened", ip="192.0.2.1", **{"client-info": {"user-agent": "UA", "bot": ""}}),
    mailgun("clicked", url="https://a.example", campaigns=[{"id": "camp1", "name": "Camp"}], message={"headers": {}}),
    mailgun("unsubscribed"), mailgun("complained"),
    {name: value for name, value in mailgun("rejected", reject={"reason": "Sandbox"}).items() if name != "recipient"},
    mailgun("stored"),
]  # fmt: skip
MAILGUN_ROWS = [
    ("queued", None, None, None), ("delivered", None, None, None), ("deferred", None, None, None),
    ("bounced", "hard", None, None), ("rejected", None, None, None), ("bounced", "block", None, None),
    ("bounced", None, None, None), ("opened", None, True, "apple"), ("opened", None, None, None),
    ("clicked", None, None, None), ("unsubscribed", None, None, None), ("complained", None, None, None),
    ("rejected", None, None, None), ("unknown", None, None, None),
]  # fmt: skip
MAILGUN_COLUMNS = ("reported_type", "bounce_class", "is_machine", "machine_reason")


def test_mailgun_pages_of_events(tmp_path: Path) -> None:
    pages = [
        {"items": MAILGUN[:9], "paging": {"next": "https://api.sender.example"}},
        {"items": MAILGUN[9:]},
        {"items": []},
    ]
    load = read(tmp_path / "in", pages)
    assert events(load, *MAILGUN_COLUMNS) == MAILGUN_ROWS
    at = datetime(2018, 8, 12, 21, 17, 17, 153125, tzinfo=UTC)
    assert {one for (one,) in events(load, "occurred_at")} == {at}
    rows = events(load, "message_id", "delivery_id", "address", "diagnostic", "smtp_status", "raw_event_type")
    assert rows[2] == (
        "2018.1@sender.example:ann@mail.example", "june", "ann@mail.example", "4.2.2 full\nsecond line", "452",
        "failed:temporary",
    )  # fmt: skip
    assert rows[3][3:5] == ("No such user", "5.1.1")
    assert rows[9][:2] == (None, "camp1")
    assert rows[12][2] == "ann@mail.example"
    assert rows[12][0] == "2018.1@sender.example:ann@mail.example"
    assert '"user-variables":{"my_var":"x"}' in events(load, "attributes")[0][0]
    assert load.report.sources[0].unknown_types == {"stored": 1}
    assert told(load, "delivery", "delivery_id", "label", "subject") == [("camp1", "Camp", None), ("june", None, "Été")]


def test_mailgun_webhooks_are_the_same_events(tmp_path: Path) -> None:
    hooks = [{"signature": {"token": f"t{n}", "timestamp": "1", "signature": "s"}, "event-data": one}
             for n, one in enumerate(MAILGUN)]  # fmt: skip
    load = read(tmp_path / "a", hooks)
    assert events(load, *MAILGUN_COLUMNS) == MAILGUN_ROWS
    assert events(load, "event_id") == events(read(tmp_path / "b", MAILGUN), "event_id")


def test_mailgun_forms_of_before_2018(tmp_path: Path) -> None:
    common = (
        "recipient=ann%40mail.example&timestamp=1500000000&signature=s&domain=d.example&Message-Id=%3Cm%40d.example%3E"
    )
    forms = [
        f"event=bounced&{common}&token=t1&code=550&error=No+such+user",
        f"event=clicked&{common}&token=t2&url=https%3A%2F%2Fa.example%2F%3Fx%3D1&user-agent=UA&tag=june",
    ]
    load = read(tmp_path / "in", "\n".join(forms), "posted.txt")
    assert events(load, "reported_type", "bounce_class", "message_id", "delivery_id", "diagnostic") == [
        ("bounced", "hard", "m@d.example:ann@mail.example", None, "No such user"),
        ("clicked", None, "m@d.example:ann@mail.example", "june", None),
    ]  # fmt: skip
    assert told(load, "link", "url") == [("https://a.example/?x=1",)]


# ---------------------------------------------------------------- Mandrill, Mailchimp


def mandrill(event: str, **more: Any) -> dict[str, Any]:
    msg = {"ts": 1365109999, "_id": "abc", "email": "ann@mail.example", "subject": "Hello",
           "sender": "s@sender.example", "tags": ["june"], "metadata": {"campaign": "c7"}, "opens": [{"ts": 1}],
           "clicks": [{"ts": 2, "url": "x"}]}  # fmt: skip
    return {"event": event, "_id": "abc", "ts": 1384954004, "msg": msg | more.pop("msg", {}), **more}


MANDRILL = [
    mandrill("send"), mandrill("deferral", msg={"diag": "451 4.3.5"}),
    mandrill("hard_bounce", msg={"bounce_description": "bad_mailbox", "diag": "smtp;550 5.1.1"}),
    mandrill("soft_bounce", msg={"bounce_description": "mailbox_full"}),
    mandrill("open", ip="192.0.2.1", user_agent="UA", location={"country": "FR"}),
    mandrill("click", ip="192.0.2.1", user_agent="UA", url="https://a.example"),
    mandrill("spam"), mandrill("unsub"), mandrill("reject"),
    {"type": "blacklist", "action": "add", "reject": {"email": "bob@mail.example", "reason": "hard-bounce"}},
]  # fmt: skip
MANDRILL_ROWS = [
    ("sent", None), ("deferred", None), ("bounced", "hard"), ("bounced", "soft"), ("opened", None), ("clicked", None),
    ("complained", None), ("unsubscribed", None), ("rejected", None), ("unknown", None),
]  # fmt: skip


def test_mandrill(tmp_path: Path) -> None:
    load = read(tmp_path / "a", MANDRILL, delivery_field="msg.metadata.campaign")
    assert events(load, "reported_type", "bounce_class") == MANDRILL_ROWS
    assert events(load, "message_id", "delivery_id", "tags", "occurred_at", "bounce_reason", "diagnostic")[2] == (
        "abc", "c7", '["june"]', datetime(2013, 11, 20, 13, 26, 44, tzinfo=UTC), "bad_mailbox", "smtp;550 5.1.1",
    )  # fmt: skip
    assert told(load, "link", "url") == [("https://a.example",)]
    assert (load.report.total("undated"), load.report.sources[0].unknown_types) == (1, {"blacklist": 1})
    assert events(load, "address")[9] == ("bob@mail.example",)


def test_mandrill_as_it_is_posted(tmp_path: Path) -> None:
    form = "mandrill_events=" + quote_plus(json.dumps(MANDRILL))
    assert events(read(tmp_path / "a", form, "hook.txt"), "reported_type", "bounce_class") == MANDRILL_ROWS
    kept = [{"mandrill_events": json.dumps(MANDRILL[:4])}, {"mandrill_events": json.dumps(MANDRILL[4:])}]
    assert events(read(tmp_path / "b", kept), "reported_type", "bounce_class") == MANDRILL_ROWS


def test_mailchimp_activity_of_the_api(tmp_path: Path) -> None:
    at = "2024-03-01T11:00:05"
    clicks = [{"action": "click", "timestamp": at, "url": f"https://{x}.example", "ip": "192.0.2.1"} for x in "ab"]
    page = {"campaign_id": "c1", "total_items": 3, "emails": [
        {"campaign_id": "c1", "list_id": "l", "email_id": "m1", "email_address": "ann@mail.example", "activity": [
            {"action": "open", "timestamp": "2024-03-01T11:00:00+00:00", "ip": "192.0.2.1"}, *clicks]},
        {"campaign_id": "c1", "list_id": "l", "email_id": "m2", "email_address": "bob@mail.example", "activity": [
            {"action": "bounce", "type": "hard", "timestamp": at},
            {"action": "bounce", "type": "soft", "timestamp": at}]},
        {"campaign_id": "c1", "list_id": "l", "email_id": "m3", "email_address": "eve@mail.example", "activity": []},
    ]}  # fmt: skip
    load = read(tmp_path / "in", page, timezone="Europe/Paris")
    assert events(load, "reported_type", "raw_event_type", "message_id", "recipient_id", "bounce_class") == [
        ("opened", "open", "c1:m1", "m1", None), ("clicked", "click", "c1:m1", "m1", None),
        ("clicked", "click", "c1:m1", "m1", None), ("bounced", "bounce:hard", "c1:m2", "m2", "hard"),
        ("bounced", "bounce:soft", "c1:m2", "m2", "soft"),
    ]  # fmt: skip
    assert len(set(events(load, "event_id"))) == 5
    assert events(load, "occurred_at")[1] == (datetime(2024, 3, 1, 11, 0, 5, tzinfo=UTC),)
    assert told(load, "recipient", "recipient_id", "email") == [("m1", "ann@mail.example"), ("m2", "bob@mail.example")]


# ---------------------------------------------------------------- access logs

UA = '"-" "Mozilla/5.0 \\"quoted\\" (X11)"'
ADOBE_LOG = [
    f'192.0.2.1 - - [14/Nov/2023:23:13:20 +0100] "GET /r/?id=h617791,71ffa3,1&p1=x HTTP/1.1" 200 43 {UA}',
    f'192.0.2.1 - - [14/Nov/2023:23:13:21 +0100] "GET /r/?id=t617791,71ffa3,71ffa8 HTTP/1.1" 302 0 {UA} "10.0.0.1"',
    f'192.0.2.1 - - [14/Nov/2023:23:13:21 +0100] "GET /r/?id=t617791,71ffa3,71ffa8 HTTP/1.1" 302 0 {UA} "10.0.0.1"',
    f'192.0.2.1 - - [14/Nov/2023:23:13:22 +0100] "HEAD /r/?id=h617791,71ffa3,71ffa8 HTTP/1.1" 302 0 {UA}',
    f'192.0.2.1 - - [14/Nov/2023:23:13:23 +0100] "GET /r/?id=h617791,71ffa3,71ffa8 HTTP/1.1" 404 0 {UA}',
    f'192.0.2.1 - - [14/Nov/2023:23:13:24 +0100] "GET /style.css HTTP/1.1" 200 100 {UA}',
    f'192.0.2.1 - - [31/Feb/2023:23:13:24 +0100] "GET /r/?id=h1,2,1 HTTP/1.1" 200 100 {UA}',
    "not a line of such a log <script>",
    "",
]


def test_an_access_log_of_the_platform(tmp_path: Path) -> None:
    load = read(tmp_path / "in", "\n".join(ADOBE_LOG), "access.log", timezone="Asia/Tokyo")
    assert events(load, "source_row", "reported_type", "message_id", "delivery_id", "link_id", "message_format") == [
        (1, "opened", "6387601", "7471011", "1", "html"), (2, None, "6387601", "7471011", "7471016", "text"),
        (3, None, "6387601", "7471011", "7471016", "text"),
    ]  # fmt: skip
    assert events(load, "occurred_at", "ip", "user_agent")[0] == (
        datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC), "192.0.2.1", 'Mozilla/5.0 \\"quoted\\" (X11)',
    )  # fmt: skip
    report = load.report.sources[0]
    assert (report.read, report.quarantined, report.not_events) == (5, 2, 3)
    assert not any("repeat another" in note for note in report.assumptions)
    assert "3 lines besides are requests that are no tracked hits" in str(load.report)
    assert load.quarantine.select("source_row", "reason").rows() == [
        (7, "the instant '31/Feb/2023:23:13:24 +0100' does not exist"),
        (8, "no line of an access log in the combined form"),
    ]  # fmt: skip


def test_identical_lines_all_count_and_a_second_load_adds_none(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "access.log").write_text("\n".join(ADOBE_LOG))
    store = open_store(tmp_path / "store")
    assert store.ingest(tmp_path / "in").total("kept") == 3
    (tmp_path / "in" / "access.log").write_text("\n".join([*ADOBE_LOG[:-1], ADOBE_LOG[2], ""]))  # the log has grown
    again = store.ingest(tmp_path / "in")
    assert (again.total("kept"), again.total("duplicate"), again.total("read")) == (1, 3, 6)
    (tmp_path / "in" / "tracking_url.csv").write_text("iTrackingUrlId,iDeliveryId,iType,sSource\n7471016,7471011,1,u\n")
    store.ingest(tmp_path / "in")
    kinds = store.scan("event").group_by("event_type").len().collect()
    assert dict(kinds.iter_rows()) == {"opened": 1, "clicked": 3}


OTHERS = {
    "sparkpost_access_log": (
        ["/q/abc123~~/AAAA", "/f/a/Zm9v~~/AAAA"], [("opened", None, None), ("clicked", None, None)]
    ),
    "listmonk_access_log": (
        [f"/campaign/{'c' * 36}/{'5' * 36}/px.png", f"/link/{'1' * 36}/{'c' * 36}/{'5' * 36}"],
        [("opened", "c" * 36, "5" * 36), ("clicked", "c" * 36, "5" * 36)],
    ),
    "mautic_access_log": (
        ["/email/5f3a9c.gif", "/r/9a8b7c?ct=YTo1", "/r/?id=h1,2,3"], [("opened", None, None), ("clicked", None, None)]
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", OTHERS)
def test_access_logs_of_others(name: str, tmp_path: Path) -> None:
    paths, expected = OTHERS[name]
    lines = [
        f'192.0.2.1 - - [14/Nov/2023:23:13:2{n} +0000] "GET {x} HTTP/2.0" 200 43 {UA}' for n, x in enumerate(paths)
    ]
    load = read(tmp_path / "in", "\n".join(lines), "nginx.log", format=name)
    assert events(load, "reported_type", "delivery_id", "recipient_id") == expected
    assert {one.format for one in load.report.sources} == {name}
    if name != "mautic_access_log":
        assert read(tmp_path / "auto", "\n".join(lines), "nginx.log").report.sources[0].format == name


# ---------------------------------------------------------------- Postmark


def postmark(kind: str, at: str, **more: Any) -> dict[str, Any]:
    return {"RecordType": kind, "MessageID": "00000000-0000", "MessageStream": "outbound", "Tag": "welcome",
            "Recipient": "ann@mail.example", "Metadata": {"a": "b"},
            at: "2019-11-05T11:33:54.1234567-05:00", **more}  # fmt: skip


POSTMARK = [
    postmark("Delivery", "DeliveredAt", Details="250 OK"),
    postmark("Open", "ReceivedAt", FirstOpen=True, UserAgent="UA", Geo={"IP": "192.0.2.1"}, ReadSeconds=5),
    postmark("Open", "ReceivedAt", FirstOpen=False, ReceivedAt="2019-11-05T16:40:00Z"),
    postmark("Click", "ReceivedAt", OriginalLink="https://a.example", ClickLocation="HTML"),
    *(postmark("Bounce", "BouncedAt", Type=kind, ID=692560173 + n, Details=f"smtp;{kind}") for n, kind in enumerate((
        "HardBounce", "SoftBounce", "Transient", "DnsError", "Blocked", "BadEmailAddress", "ManuallyDeactivated",
        "SpamNotification", "AutoResponder", "AddressChange", "ChallengeVerification", "Unsubscribe", "Subscribe",
        "OpenRelayTest"))),
    postmark("SpamComplaint", "BouncedAt", Type="SpamComplaint", ID=692560173, Email="ann@mail.example"),
    *(postmark("SubscriptionChange", "ChangedAt", SuppressSending=reason is not None, SuppressionReason=reason)
      for reason in (None, "ManualSuppression", "HardBounce", "SpamComplaint")),
]  # fmt: skip


def test_postmark(tmp_path: Path) -> None:
    load = read(tmp_path / "in", "\n".join(map(json.dumps, POSTMARK)))
    assert [one for (one,) in events(load, "reported_type")] == [
        "delivered", "opened", "opened", "clicked", "bounced", "bounced", "deferred", "deferred",
        "rejected", "rejected",
        "rejected", "complained", "autoresponded", "autoresponded", "autoresponded", "unsubscribed", "subscribed",
        "deferred", "complained", "subscribed", "unsubscribed", "rejected", "rejected",
    ]  # fmt: skip
    assert [one for (one,) in events(load, "bounce_class")][4:6] == ["hard", "soft"]
    assert load.report.sources[0].unknown_types == {}
    assert events(load, "occurred_at", "is_first", "delivery_id", "ip", "is_machine", "message_id")[1] == (
        datetime(2019, 11, 5, 16, 33, 54, 123456, tzinfo=UTC), True, "welcome", "192.0.2.1", None,
        "00000000-0000:ann@mail.example",
    )  # fmt: skip
    assert len(set(events(load, "event_id"))) == 23  # the bounce and the complaint of one ID stay apart
    assert events(load, "attributes")[1] == ('{"MessageStream":"outbound","Metadata":{"a":"b"},"ReadSeconds":5}',)
    assert not any("total opens are unknown" in note for note in load.report.sources[0].assumptions)


def test_postmark_that_posts_only_first_opens_says_so(tmp_path: Path) -> None:
    first = [POSTMARK[1], POSTMARK[1] | {"Recipient": "bob@mail.example"}]
    (note,) = read(tmp_path / "in", first).report.sources[0].assumptions
    assert note == "every open is the first of its message: the sender kept no later ones, and total opens are unknown"


# ---------------------------------------------------------------- SparkPost


def sparkpost(kind: str, **more: Any) -> dict[str, Any]:
    return {"type": kind, "timestamp": "1454442600", "event_id": "92356927693813856",
            "message_id": "000443ee14578172be22",
            "transmission_id": "65832150921904138", "campaign_id": "Example Campaign", "rcpt_to": "ann@mail.example",
            "raw_rcpt_to": "Ann@Mail.example", "subject": "Summer", "rcpt_tags": ["male", "US"], **more}  # fmt: skip


SPARKPOST = [
    sparkpost("injection"), sparkpost("delivery"), sparkpost("bounce", bounce_class="10", raw_reason="550 no"),
    sparkpost("bounce", bounce_class=22, event_id="2"), sparkpost("out_of_band", bounce_class="52"),
    sparkpost("bounce", bounce_class="1", event_id="3"), sparkpost("delay", bounce_class="21"),
    sparkpost("spam_complaint"),
    sparkpost("policy_rejection", bounce_class="25"), sparkpost("generation_rejection"),
    sparkpost("generation_failure"),
    sparkpost("initial_open", user_agent_parsed={"is_prefetched": True, "is_proxy": True}),
    sparkpost("open", timestamp="2016-02-02T20:50:00.000Z", user_agent_parsed={"is_prefetched": False}),
    sparkpost("click", target_link_url="https://a.example", target_link_name="Shop", campaign_id=""),
    sparkpost("list_unsubscribe"), sparkpost("link_unsubscribe"), sparkpost("sms_status"),
]  # fmt: skip
SPARKPOST_ROWS = [
    ("queued", None), ("delivered", None), ("bounced", "hard"), ("bounced", "soft"), ("bounced", "block"),
    ("bounced", "undetermined"), ("deferred", None), ("complained", None), ("rejected", None), ("rejected", None),
    ("failed", None), ("opened", None), ("opened", None), ("clicked", None), ("unsubscribed", None),
    ("unsubscribed", None), ("unknown", None),
]  # fmt: skip


def test_sparkpost_webhooks_with_pings(tmp_path: Path) -> None:
    kinds = ("message_event", "track_event", "gen_event")
    batch = [{"msys": {}}, *({"msys": {kinds[n % 3]: one}} for n, one in enumerate(SPARKPOST)), {"msys": {}}]
    load = read(tmp_path / "in", batch)
    assert events(load, "reported_type", "bounce_class") == SPARKPOST_ROWS
    assert "2 records are the sender's own tests or confirmations and tell of no event" in (
        load.report.sources[0].assumptions
    )
    assert events(load, "address", "delivery_id", "is_machine", "machine_reason")[11:14] == [
        ("ann@mail.example", "Example Campaign", True, "prefetched"),
        ("ann@mail.example", "Example Campaign", False, None), ("ann@mail.example", "65832150921904138", None, None),
    ]  # fmt: skip
    assert events(load, "occurred_at")[11] == (datetime(2016, 2, 2, 19, 50, tzinfo=UTC),)
    assert told(load, "link", "url", "label") == [("https://a.example", "Shop")]
    assert len(set(events(load, "event_id"))) == 17  # though most share an event_id of the sender


def test_sparkpost_events_api(tmp_path: Path) -> None:
    load = read(tmp_path / "in", {"results": SPARKPOST, "total_count": 17, "links": {}})
    assert events(load, "reported_type", "bounce_class") == SPARKPOST_ROWS


def test_both_pixels_of_one_display_are_one_open(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    shown = [
        sparkpost("initial_open"),
        sparkpost("open", timestamp="1454442601"),
        sparkpost("open", timestamp="1454449000"),
    ]
    (tmp_path / "in" / "events.json").write_text(json.dumps(shown))
    report = open_store(tmp_path / "store").ingest(tmp_path / "in")
    assert (report.total("kept"), report.total("collapsed")) == (2, 1)


# ---------------------------------------------------------------- Brevo


def brevo(event: str, **more: Any) -> dict[str, Any]:
    return {"event": event, "email": "ann@mail.example", "id": 26224, "date": "2020-10-09 00:00:00", "ts": 1604933619,
            "ts_event": 1604933654, "ts_epoch": 1604933654123, "message-id": "<2020@smtp.sender.example>",
            "subject": "Hello", "tag": '["june"]', **more}  # fmt: skip


def test_brevo(tmp_path: Path) -> None:
    words = ("request", "delivered", "hard_bounce", "soft_bounce", "invalid_email", "blocked", "spam",
             "complaint", "error",
             "deferred", "opened", "unique_opened", "proxy_open", "unique_proxy_open", "unsubscribe",
             "wave")  # fmt: skip
    records = [*map(brevo, words), brevo("click", link="https://a.example"),
               {"event": "opened", "email": "ann@mail.example", "date": "2020-10-09 02:00:00", "camp_id": 4,
                "campaign name": "June", "ts_event": 1602194400}]  # fmt: skip
    load = read(tmp_path / "in", records, timezone="Europe/Paris")
    assert events(load, "reported_type", "bounce_class", "is_machine", "is_first") == [
        ("queued", None, None, None), ("delivered", None, None, None), ("bounced", "hard", None, None),
        ("bounced", "soft", None, None), ("bounced", "hard", None, None), ("rejected", None, None, None),
        ("complained", None, None, None), ("complained", None, None, None), ("failed", None, None, None),
        ("deferred", None, None, None), ("opened", None, None, None), ("opened", None, None, True),
        ("opened", None, True, None), ("opened", None, True, True), ("unsubscribed", None, None, None),
        ("unknown", None, None, None), ("clicked", None, None, None), ("opened", None, None, None),
    ]  # fmt: skip
    assert events(load, "occurred_at", "delivery_id", "tags")[::17] == [
        (datetime(2020, 11, 9, 14, 54, 14, 123000, tzinfo=UTC), None, '["june"]'),
        # its date is by the account's clock
        (datetime(2020, 10, 8, 22, 0, tzinfo=UTC), "4", None),
    ]  # fmt: skip
    assert events(load, "message_id")[0] == ("2020@smtp.sender.example:ann@mail.example",)
    assert told(load, "delivery", "delivery_id", "label") == [("4", "June")]
    assert '"id":26224' in events(load, "attributes")[0][0]


def test_brevo_seconds_under_either_name(tmp_path: Path) -> None:
    older = {name: value for name, value in brevo("opened").items() if name != "ts_epoch"}
    load = read(tmp_path / "in", [brevo("opened", ts_epoch=1604933654), older | {"s_epoch": 1604933655}])
    assert events(load, "occurred_at") == [
        (datetime(2020, 11, 9, 14, 54, 14, tzinfo=UTC),), (datetime(2020, 11, 9, 14, 54, 15, tzinfo=UTC),),
    ]  # fmt: skip


# ---------------------------------------------------------------- Mailjet, Resend


def mailjet(event: str, **more: Any) -> dict[str, Any]:
    return {"event": event, "time": 1433333949, "MessageID": 1152921507291203249, "email": "ann@mail.example",
            "mj_campaign_id": 7257, "mj_contact_id": 4, "customcampaign": "June", "CustomID": "x",
            "Payload": "", **more}  # fmt: skip


def test_mailjet(tmp_path: Path) -> None:
    records = [
        mailjet("sent", smtp_reply="250 ok"), mailjet("open", agent="UA", ip="192.0.2.1", geo="FR"),
        mailjet("click", url="https://a.example", mj_campaign_id=0),
        mailjet("bounce", hard_bounce=True, error="user unknown"),
        mailjet("bounce", hard_bounce=False, error="mailbox full"),
        mailjet("bounce", hard_bounce=False, error="greylisted"),
        mailjet("bounce", hard_bounce=True, error="greylisted"),
        mailjet("blocked", error="preblocked"), mailjet("spam"),
        mailjet("unsub", mj_campaign_id=0, customcampaign="", mj_contact_id=0), mailjet("wave"),
    ]  # fmt: skip
    load = read(tmp_path / "in", records)
    assert events(load, "reported_type", "bounce_class", "delivery_id") == [
        ("delivered", None, "7257"), ("opened", None, "7257"), ("clicked", None, "June"), ("bounced", "hard", "7257"),
        ("bounced", "soft", "7257"), ("deferred", None, "7257"), ("bounced", "hard", "7257"),
        ("rejected", None, "7257"),
        ("complained", None, "7257"), ("unsubscribed", None, None), ("unknown", None, "7257"),
    ]  # fmt: skip
    named = events(load, "message_id")
    assert named == [("1152921507291203249",)] * 10 + [(None,)]  # of an unknown word no message is known
    assert [one for (one,) in events(load, "recipient_id")][8:] == ["4", None, "4"]
    alone = read(tmp_path / "alone", records[1])  # a bare object, as without grouping
    assert events(alone, "event_id") == events(load, "event_id")[1:2]


def resend(kind: str, **data: Any) -> dict[str, Any]:
    return {"type": kind, "created_at": "2024-11-22T23:41:12.126Z", "data": {
        "email_id": "56761188", "created_at": "2024-11-22T23:41:11.894719+00:00", "from": "News <n@sender.example>",
        "to": ["ann@mail.example"], "subject": "Hello", "broadcast_id": "8b146471",
        "tags": {"category": "c"}, **data}}  # fmt: skip


def test_resend(tmp_path: Path) -> None:
    bounce = {"message": "no such mailbox", "subType": "General", "type": "Permanent"}
    link = {
        "link": "https://a.example",
        "ipAddress": "192.0.2.1",
        "userAgent": "UA",
        "timestamp": "2024-11-24T05:00:57.163Z",
    }
    records = [
        resend("email.sent"), resend("email.scheduled"), resend("email.delivered"), resend("email.delivery_delayed"),
        resend("email.bounced", bounce=bounce), resend("email.bounced", bounce=bounce | {"type": "Transient"}),
        resend("email.suppressed"), resend("email.failed", failed={"reason": "quota"}), resend("email.complained"),
        resend("email.opened"), resend("email.clicked", click=link),
        resend("email.opened", to=["a@b.example", "c@d.example"]),
        resend("contact.created"),
    ]  # fmt: skip
    load = read(tmp_path / "in", records)
    assert events(load, "reported_type", "bounce_class", "address") == [
        (kind, bounced, "ann@mail.example") for kind, bounced in (
            ("sent", None), ("queued", None), ("delivered", None), ("deferred", None), ("bounced", "hard"),
            ("bounced", "soft"), ("rejected", None), ("failed", None), ("complained", None), ("opened", None),
            ("clicked", None))
    ] + [("opened", None, None), ("unknown", None, "ann@mail.example")]  # fmt: skip
    assert events(load, "occurred_at", "ip", "delivery_id", "message_id")[10] == (
        datetime(2024, 11, 24, 5, 0, 57, 163000, tzinfo=UTC), "192.0.2.1", "8b146471", "56761188",
    )  # fmt: skip
    assert load.report.sources[0].unknown_types == {"contact.created": 1}


# ---------------------------------------------------------------- whatever stands in the place of a value

SAMPLES = {
    "sendgrid": SENDGRID, "amazon_ses": SES, "mailgun": MAILGUN, "mandrill": MANDRILL, "postmark": POSTMARK,
    "sparkpost": SPARKPOST, "brevo": [brevo("opened", link="https://a.example")],
    "mailjet": [mailjet("bounce", hard_bounce=True)], "resend": [resend("email.clicked", click={"link": "u"})],
}  # fmt: skip
_ODD = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5),
    st.sampled_from(["", "0", "\x00", "<b>", "=1+1", "9" * 40, "2024-02-30", [], {}, [[]], [None], [{}], {"a": []}]),
)  # fmt: skip


def _changed(value: Any, draw: Any, odds: int) -> Any:
    """A record in which some values, at any depth, are others of any kind."""
    if draw(st.integers(0, odds)) == 0:
        return draw(_ODD)
    if isinstance(value, dict):
        return {name: _changed(inner, draw, odds) for name, inner in value.items()}
    return [_changed(inner, draw, odds) for inner in value] if isinstance(value, list) else value


@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
@pytest.mark.parametrize("name", SAMPLES)
def test_any_value_in_any_place_is_read_or_set_aside(
    name: str, data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    records = [_changed(one, data.draw, 15) for one in SAMPLES[name]]
    load = read(tmp_path_factory.mktemp("odd") / "in", records, format=name)  # which also checks that it balances
    told_of = load.frames["event"].select("event_id", "reported_type", "source_row").collect()
    assert told_of.null_count().row(0) == (0, 0, 0)


@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@given(odd=st.lists(st.text(st.characters(exclude_categories=["Cs", "Cc", "Zs", "Zl", "Zp"])), max_size=5))
def test_any_line_of_an_access_log_is_accounted_for(odd: list[str], tmp_path_factory: pytest.TempPathFactory) -> None:
    lines = [*ADOBE_LOG[:3], *odd]
    load = read(tmp_path_factory.mktemp("log") / "in", "\r\n".join(lines), "a.log", format="adobe_access_log")
    report = load.report.sources[0]
    assert report.read + report.not_events == 3 + sum(map(bool, odd))
    assert len(events(load, "event_id")) == 3


@pytest.mark.parametrize("packing", PACKINGS)
def test_packed_access_logs_give_the_same_hits(packing: str, tmp_path: Path) -> None:
    plain = read(tmp_path / "plain", "\n".join(ADOBE_LOG), "access.log")
    load = read(tmp_path / "in", PACKINGS[packing]("\r\n".join(ADOBE_LOG).encode()), "access.log.1")
    assert events(load, "event_id", "source_row") == events(plain, "event_id", "source_row")
    assert load.report.sources[0].format == "adobe_access_log"


def test_bytes_that_are_no_utf8_and_a_cut_in_an_access_log(tmp_path: Path) -> None:
    raw = "\n".join(ADOBE_LOG[:3]).encode().replace(b"X11", b"X\xff1", 1)
    load = read(tmp_path / "in", raw, "access.log")
    assert load.quarantine.select("source_row", "reason").rows() == [(1, "not UTF-8")]
    many = [
        f'192.0.2.1 - - [14/Nov/2023:23:13:20 +0100] "GET /r/?id=h{n:x},2,1 HTTP/1.1" 200 43 {UA}'
        for n in range(1, 999)
    ]
    cut = read(tmp_path / "cut", PACKINGS["gzip"]("\n".join(many).encode())[:-20], "access.log.gz")
    assert "the file is cut here" in cut.quarantine["reason"].to_list()[-1]
