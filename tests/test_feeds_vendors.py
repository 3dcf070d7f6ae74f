"""What each sender's events mean: payloads of the documented shapes, invented; results worked out by hand."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.feeds import events, read, told

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
        "14c5d75ce93:ann@mail.example", "id of deferred", "Ann@Mail.example", '["cat facts","b"]',
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
    assert [one for (one,) in events(load, "vendor_id")] == [f"sns-{number}" for number in range(13)]
    assert "1 records are the sender's own tests or confirmations and tell of no event" in (
        load.report.sources[0].assumptions
    )
    assert load.report.total("read") == 13


def test_ses_on_eventbridge_and_in_a_queue(tmp_path: Path) -> None:
    bridge = [{"version": "0", "id": f"eb-{n}", "detail-type": "Email", "source": "aws.ses",
               "time": "2023-11-16T00:00:00Z", "detail": one} for n, one in enumerate(SES)]  # fmt: skip
    load = read(tmp_path / "a", bridge)
    assert events(load, *SES_COLUMNS) == SES_ROWS
    assert [one for (one,) in events(load, "vendor_id")] == [f"eb-{number}" for number in range(13)]
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
        (1, "sent", "Bob <bob@mail.example>", "0100-abc:bob@mail.example"),
        (1, "sent", "ann@mail.example", "0100-abc:ann@mail.example"),
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
