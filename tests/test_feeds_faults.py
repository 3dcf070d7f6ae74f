"""What senders' events were taken for wrongly: each fault of an audit of the maps, worked out by hand."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.feeds import events, read, told
from tests.test_feeds_vendors import (
    INNER,
    failed,
    mailgun,
    mandrill,
    postmark,
    resend,
    sendgrid,
    ses,
    sns,
    sparkpost,
)
from trackkit import open_store
from trackkit.analysis.story import timeline
from trackkit.engine.measure import measure
from trackkit.errors import DataError

OURS = ("sendgrid", "mailgun", "mailgun_legacy", "amazon_ses", "postmark", "sparkpost", "resend", "mandrill")


def kinds(folder: Path, *records: dict[str, Any], **options: Any) -> list[tuple]:
    """The type and the class of each event."""
    return events(read(folder, list(records), **options), "reported_type", "bounce_class")


def formats(folder: Path, *records: dict[str, Any]) -> set[str]:
    """The formats that a file of these records is taken for."""
    try:
        return {one.format for one in read(folder, list(records)).report.sources}
    except DataError:
        return set()


def figures(folder: Path, records: list[dict[str, Any]], *metrics: str, **options: Any) -> dict[str, Any]:
    """The figures of a store of these records, all in one."""
    folder.mkdir()
    (folder / "events.json").write_text(json.dumps(records))
    open_store(folder / "store").ingest(folder / "events.json", **options)
    return measure(open_store(folder / "store"), list(metrics), by=[]).select(metrics).row(0, named=True)


# ---------------------------------------------------------------- whose records these are


LOOK_ALIKES = {
    "a product's own": {"event": "signup", "timestamp": 1700000000, "email": "ann@mail.example"},
    "a product's own of opens": {"event": "open", "timestamp": 1700000000, "email": "ann@mail.example"},
    "a product's own with an id": {"event": "opened", "timestamp": 1, "id": "7", "recipient": "ann@mail.example"},
    "mailtrap": {"event": "delivery", "timestamp": 1700000000, "email": "ann@mail.example", "message_id": "m",
                 "sending_stream": "bulk", "event_id": "e"},
    "tencent": {"event": "delivered", "timestamp": 1700000000, "email": "ann@mail.example", "bulkId": "b"},
    "mailersend": {"type": "activity.sent", "created_at": "2024-01-01T00:00:00.000000Z", "domain_id": "d",
                   "webhook_id": "w", "data": {"object": "activity", "id": "a", "type": "sent", "email": {
                       "id": "e", "recipient": {"id": "r", "email": "ann@mail.example"}}}},
    "clerk": {"type": "user.created", "object": "event", "timestamp": 1, "created_at": 1, "data": {
        "id": "u", "email_addresses": [{"email_address": "ann@mail.example"}]}},
    "stripe": {"id": "evt_1", "object": "event", "type": "invoice.paid", "created": 1, "data": {"object": {"id": "i"}}},
    "knock": {"type": "message.delivered", "created_at": "2024-01-01T00:00:00Z", "data": {"id": "m", "status": "sent"}},
    "emailit": {"type": "email.delivered", "event_id": "e", "created_at": "2024-01-01T00:00:00Z",
                "data": {"object": {"id": "em_1", "to": "ann@mail.example"}}},
    "posthog": {"event": "$pageview", "timestamp": "2024-01-01T00:00:00Z", "distinct_id": "u", "uuid": "x",
                "properties": {"$current_url": "https://a.example"}},
    "segment": {"type": "track", "event": "Email Opened", "timestamp": "2024-01-01T00:00:00Z", "messageId": "m",
                "userId": "u", "properties": {}, "context": {}},
    "smtp2go": {"event": "delivered", "time": "2024-01-01T00:00:00Z", "rcpt": "ann@mail.example", "email_id": "e"},
    "socketlabs": {"Type": "Delivered", "DateTime": "2024-01-01T00:00:00Z", "MessageId": "m", "ServerId": 1,
                   "Address": "ann@mail.example"},
    "customer.io": {"event_id": "e", "metric": "opened", "object_type": "email", "timestamp": 1, "data": {"a": 1}},
    "lines of a program's log": {"level": 30, "time": 1700000000, "msg": "request completed", "event": "request"},
    "a queue of one's own": {"type": "order.shipped", "timestamp": "2024-01-01T00:00:00Z", "data": {"id": 1}},
}  # fmt: skip


@pytest.mark.parametrize("name", LOOK_ALIKES)
def test_records_that_look_alike_are_taken_for_none_of_these_senders(name: str, tmp_path: Path) -> None:
    assert formats(tmp_path / "in", LOOK_ALIKES[name]).isdisjoint(OURS)


def test_a_name_that_only_the_sender_has_is_enough(tmp_path: Path) -> None:
    bare = {name: value for name, value in mailgun("opened").items() if name in ("event", "timestamp", "recipient")}
    hook = {"signature": {"token": "t", "timestamp": "1", "signature": "s"}, "event-data": bare}
    assert formats(tmp_path / "mailgun", hook) == {"mailgun"}
    assert events(read(tmp_path / "ids", hook), "vendor_id", "reported_type") == [("t", "opened")]
    plain = {"type": "delivery", "timestamp": "1454442600", "message_id": "m", "event_id": "e"}
    assert formats(tmp_path / "sparkpost", {"msys": {"message_event": plain}}) == {"sparkpost"}
    assert formats(tmp_path / "resend", {"type": "email.sent", "created_at": "2024-01-01T00:00:00Z",
                                         "data": {"email_id": "e"}}) == {"resend"}  # fmt: skip
    mail = {"destination": ["ann@mail.example"], "timestamp": INNER}
    assert formats(tmp_path / "ses", {"eventType": "Send", "mail": mail}) == {"amazon_ses"}
    assert formats(tmp_path / "old", {"event": "opened", "token": "t", "signature": "s"}) == {"mailgun_legacy"}
    allowed = {"type": "whitelist", "action": "add", "entry": {"email": "ann@mail.example"}}
    assert formats(tmp_path / "mandrill", allowed) == {"mandrill"}


def test_one_record_with_a_name_of_sendgrids_speaks_for_the_file(tmp_path: Path) -> None:
    bare = {"email": "ann@mail.example", "timestamp": 1700000002, "event": "unsubscribe"}
    assert formats(tmp_path / "one", bare, bare, sendgrid("open")) == {"sendgrid"}
    assert formats(tmp_path / "none", bare) == set()
    assert formats(tmp_path / "word", bare | {"event": "group_unsubscribe"}) == {"sendgrid"}
    assert kinds(tmp_path / "asked", bare, format="sendgrid") == [("unsubscribed", None)]


# ---------------------------------------------------------------- SendGrid


def test_sendgrid_classes_of_bounces_without_a_status(tmp_path: Path) -> None:
    told_by = [
        {"type": "bounce"}, {"type": "blocked"}, {"type": "expired"}, {"type": "expired", "status": "5.4.7"},
        {"type": "bounce", "status": "4.2.2"}, {"reason": "550 5.1.1 unknown"}, {"reason": "452 mailbox full"},
        {"bounce_classification": "Invalid Address"}, {"bounce_classification": "Reputation"},
        {"bounce_classification": "Mailbox Unavailable"}, {"bounce_classification": "Unclassified"}, {},
    ]  # fmt: skip
    records = [sendgrid("bounce", sg_event_id=str(n), **one) for n, one in enumerate(told_by)]
    classes = ["hard", "block", "soft", "soft", "soft", "hard", "soft", "hard", "block", "soft", None, None]
    assert kinds(tmp_path / "in", *records) == [("bounced", one) for one in classes]


# ---------------------------------------------------------------- Mailgun


def routed(event: str, **more: Any) -> dict[str, Any]:
    """Mail that came in and is passed on to a web page."""
    return mailgun(
        event, id=f"routed {event}", recipient="https://shop.example/hook", flags={"is-routed": True}, **more
    )


def test_mailgun_leaves_out_what_came_in(tmp_path: Path) -> None:
    http = {"envelope": {"transport": "http", "targets": "https://shop.example/hook"}}
    forwarded = mailgun("delivered", id="f", recipient="bob@mail.example", **http)
    came_in = mailgun("accepted", id="r", routes=[{"expression": "match_recipient('.*')", "actions": ["stop()"]}])
    sent = [mailgun("accepted", routes=[]), mailgun("delivered")]
    records = [*sent, routed("accepted"), routed("delivered", **http), forwarded, came_in]
    assert kinds(tmp_path / "in", {"items": records}) == [
        ("queued", None), ("delivered", None), *[("unknown", None)] * 4
    ]  # fmt: skip
    assert events(read(tmp_path / "who", records), "address")[2:4] == [(None,), (None,)]
    found = figures(tmp_path / "store", [*records, mailgun("opened")], "processed", "delivered", "unique_opens")
    assert found == {"processed": 1, "delivered": 1, "unique_opens": 1}


def test_mailgun_failures(tmp_path: Path) -> None:
    late = failed("permanent", "generic", **{"bounce-code": "5.4.14"}) | {"flags": {"is-delayed-bounce": True}}
    bare = {name: value for name, value in failed("", "").items() if name not in ("severity", "reason")}
    records = [
        late, bare, failed("permanent", "generic", code=550), failed("permanent", "generic", code=452),
        failed("permanent", "old", code=452), failed("permanent", "espblock", code=550),
        failed("permanent", "generic", code=605), failed("permanent", "suppress-unsubscribe", code=606),
        failed("temporary", "generic", code=452),
    ]  # fmt: skip
    assert kinds(tmp_path / "in", *records) == [
        ("bounced", "hard"), ("bounced", None), ("bounced", "hard"), ("bounced", "soft"), ("bounced", "soft"),
        ("bounced", "block"), ("rejected", None), ("rejected", None), ("deferred", None),
    ]  # fmt: skip
    assert events(read(tmp_path / "code", records), "smtp_status", "raw_event_type")[:2] == [
        ("5.4.14", "failed:permanent"), (None, "failed")
    ]  # fmt: skip


def test_mailgun_forms_of_what_was_dropped(tmp_path: Path) -> None:
    def form(event: str, token: int, **more: str) -> dict[str, Any]:
        return {"event": event, "token": str(token), "signature": "s", "recipient": "ann@mail.example", **more}

    records = [
        form("dropped", 1, reason="old", code="452"), form("dropped", 2, reason="hardfail", code="550"),
        form("dropped", 3, reason="hardfail", code="605"), form("dropped", 4, reason="hardfail", code="452"),
        form("dropped", 5, reason="espblock"), form("bounced", 6), form("bounced", 7, code="4.2.2"),
    ]  # fmt: skip
    assert kinds(tmp_path / "in", *records) == [
        ("bounced", "soft"), ("bounced", "hard"), ("rejected", None), ("bounced", "soft"), ("rejected", None),
        ("bounced", "hard"), ("bounced", "soft"),
    ]  # fmt: skip


# ---------------------------------------------------------------- Amazon SES


def complaint(*candidates: str, to: tuple[str, ...] = ("ann@mail.example",), **more: Any) -> dict[str, Any]:
    body = {
        "timestamp": INNER,
        "feedbackId": "f",
        "complainedRecipients": [{"emailAddress": one} for one in candidates],
    }
    return ses("Complaint", body | more, to)


def test_ses_complaints_that_are_none(tmp_path: Path) -> None:
    records = [
        complaint("ann@mail.example", feedbackId=str(n), **more)
        for n, more in enumerate([
            {"complaintFeedbackType": "abuse"}, {}, {"complaintFeedbackType": "fraud"},
            {"complaintFeedbackType": "not-spam"}, {"complaintFeedbackType": "auth-failure"},
            {"complaintSubType": "OnAccountSuppressionList"},
            {"complaintFeedbackType": "abuse", "complaintSubType": "OnAccountSuppressionList"},
        ])
    ]  # fmt: skip
    load = read(tmp_path / "in", records)
    assert [one for (one,) in events(load, "reported_type")] == [
        "complained", "complained", "complained", "unknown", "unknown", "rejected", "rejected",
    ]  # fmt: skip
    assert load.report.sources[0].unknown_types == {"Complaint:auth-failure": 1, "Complaint:not-spam": 1}
    both = ("ann@mail.example", "bob@mail.example")
    delivered = ses("Delivery", {"timestamp": INNER, "recipients": list(both)}, both)
    other = ses("Open", {"timestamp": INNER}) | {"mail": ses("Open")["mail"] | {"messageId": "other"}}
    names, options = ("delivered", "complaints", "unique_opens"), {"delivery_field": "mail.tags.campaign"}
    assert figures(tmp_path / "none", [delivered, other, *records[3:]], *names, **options) == {
        "delivered": 2, "complaints": 0, "unique_opens": 1,
    }  # fmt: skip


def test_ses_one_complaint_that_lists_several_counts_once(tmp_path: Path) -> None:
    to = tuple(f"p{n}@mail.example" for n in range(3))
    delivered = ses("Delivery", {"timestamp": INNER, "recipients": list(to)}, to)
    several, one = complaint(*to, to=to), complaint(to[1], to=to, feedbackId="g")
    assert events(read(tmp_path / "in", [several, one]), "address", "message_id") == [
        (None, "0100-abc"), ("p1@mail.example", "0100-abc:p1@mail.example")
    ]  # fmt: skip
    names = ("delivered", "complaints")
    options = {"delivery_field": "mail.tags.campaign"}
    assert figures(tmp_path / "a", [delivered, several], *names, **options) == {"delivered": 3, "complaints": 1}
    assert figures(tmp_path / "b", [delivered, several, one], *names, **options) == {"delivered": 3, "complaints": 2}


def preferences(out_of_all: Any, **topics: str) -> dict[str, Any]:
    given = [{"topicName": name, "subscriptionStatus": status} for name, status in topics.items()]
    return {"unsubscribeAll": out_of_all, "topicSubscriptionStatus": given}


IN, OUT = "OptIn", "OptOut"


@pytest.mark.parametrize(
    ("old", "new", "kind"),
    [
        (preferences(False, A=IN, B=IN), preferences(True, A=OUT, B=OUT), "unsubscribed"),
        (preferences(False, A=IN, B=IN), preferences("true"), "unsubscribed"),
        (preferences(False, A=IN, B=IN), preferences(False, A=IN, B=OUT), "unsubscribed"),
        (preferences(False, A=IN, B=IN), preferences(False, B=IN, A=OUT), "unsubscribed"),
        (preferences(False, A=OUT, B=OUT), preferences(False, A=OUT, B=IN), "subscribed"),  # A stays as it was
        (preferences(False, A=OUT, B=IN), preferences(False, A=IN, B=OUT), "unsubscribed"),  # one left, one joined
        (preferences(True, A=OUT), preferences(False, A=OUT), "subscribed"),
        (preferences(False, A=OUT), preferences(False, A=OUT), "unknown"),  # nothing changed
        (None, preferences(False, A=IN, B=OUT), "unsubscribed"),
        (None, preferences(False, A=IN), "subscribed"),
    ],
)
def test_ses_topics_that_somebody_left(old: Any, new: Any, kind: str, tmp_path: Path) -> None:
    body = {"timestamp": INNER, "newTopicPreferences": new} | ({"oldTopicPreferences": old} if old else {})
    assert kinds(tmp_path / "in", ses("Subscription", body)) == [(kind, None)]


def test_ses_topics_are_read_alike_in_long_files(tmp_path: Path) -> None:
    body = {"timestamp": INNER, "newTopicPreferences": preferences(False, A=IN, B=OUT),
            "oldTopicPreferences": preferences(False, A=IN, B=IN)}  # fmt: skip
    lines = [json.dumps(ses("Subscription", body) | {"n": n}) for n in range(3_000)]
    assert set(kinds(tmp_path / "a", *map(json.loads, lines[:1]))) == {("unsubscribed", None)}
    assert set(events(read(tmp_path / "b", "\n".join(lines)), "reported_type")) == {("unsubscribed",)}


def test_ses_a_bounce_told_by_identity_and_by_configuration_set_is_one(tmp_path: Path) -> None:
    body = {"timestamp": INNER, "bounceType": "Permanent", "bounceSubType": "General", "feedbackId": "f",
            "bouncedRecipients": [{"emailAddress": "ann@mail.example", "status": "5.1.1"}]}  # fmt: skip
    published = ses("Bounce", body)
    notified = {"notificationType": "Bounce", "mail": published["mail"], "bounce": body}
    load = read(tmp_path / "in", [sns(published, 1), sns(notified, 2)])
    assert len(set(events(load, "event_id"))) == 1
    assert any(note.startswith("1 rows of this load repeat another") for note in load.report.sources[0].assumptions)


def test_ses_as_a_queue_is_received_by_the_command_line(tmp_path: Path) -> None:
    body = {"timestamp": INNER, "recipients": ["ann@mail.example"]}
    bodies = {"q1": sns(ses("Send"), 1), "q2": ses("Delivery", body)}
    received = {
        "Messages": [{"MessageId": name, "ReceiptHandle": "r", "Body": json.dumps(one)} for name, one in bodies.items()]
    }
    load = read(tmp_path / "in", received)
    assert events(load, "reported_type", "vendor_id") == [("sent", "sns-1"), ("delivered", "q2")]


# ---------------------------------------------------------------- Postmark


def test_postmark_rarer_types(tmp_path: Path) -> None:
    types = ("VirusNotification", "Unconfirmed", "OpenRelayTest", "SMTPApiError", "Blocked", "DMARCPolicy", "Unknown",
             "InboundError")  # fmt: skip
    records = [postmark("Bounce", "BouncedAt", Type=one, ID=n) for n, one in enumerate(types)]
    assert kinds(tmp_path / "in", *records) == [
        ("bounced", "block"), ("rejected", None), ("deferred", None), ("rejected", None), ("rejected", None),
        ("bounced", "block"), ("bounced", "undetermined"), ("unknown", None),
    ]  # fmt: skip


def test_postmark_before_records_had_a_type_and_pages_of_its_bounces(tmp_path: Path) -> None:
    at = "2014-08-01T13:28:10.2735393-04:00"
    bounce = {"ID": 42, "Type": "HardBounce", "TypeCode": 1, "MessageID": "m", "Email": "ann@mail.example",
              "BouncedAt": at, "Subject": "S"}  # fmt: skip
    older = [
        bounce, bounce | {"ID": 43, "Type": "SpamComplaint"},
        {"ServerId": 23, "MessageID": "m", "Recipient": "ann@mail.example", "Tag": "t", "DeliveredAt": at},
        {"FirstOpen": False, "MessageID": "m", "Recipient": "ann@mail.example", "ReceivedAt": at, "UserAgent": "UA"},
        {"OriginalLink": "https://a.example", "MessageID": "m", "Recipient": "ann@mail.example", "ReceivedAt": at},
    ]  # fmt: skip
    load = read(tmp_path / "in", older)
    assert events(load, "reported_type", "raw_event_type", "bounce_class") == [
        ("bounced", "Bounce:HardBounce", "hard"), ("complained", "Bounce:SpamComplaint", None),
        ("delivered", "Delivery", None), ("opened", "Open", None), ("clicked", "Click", None),
    ]  # fmt: skip
    assert told(load, "link", "url") == [("https://a.example",)]
    page = {"TotalCount": 1, "Bounces": [bounce]}
    newer = bounce | {"RecordType": "Bounce"}
    one = events(read(tmp_path / "page", page), "event_id")
    assert one == events(read(tmp_path / "newer", newer), "event_id") == events(load, "event_id")[:1]


def test_postmark_an_address_that_the_sender_itself_took_off(tmp_path: Path) -> None:
    change = postmark("SubscriptionChange", "ChangedAt", SuppressSending=True, SuppressionReason="ManualSuppression")
    records = [change | {"Origin": origin} for origin in ("Recipient", "Customer", "Admin")]
    assert kinds(tmp_path / "in", *records) == [("unsubscribed", None), ("rejected", None), ("rejected", None)]


# ---------------------------------------------------------------- SparkPost


def test_sparkpost_complaints_that_are_none(tmp_path: Path) -> None:
    records = [sparkpost("spam_complaint", fbtype=one) for one in ("abuse", "not-spam", "auth-failure")]
    load = read(tmp_path / "in", records)
    assert [one for (one,) in events(load, "reported_type")] == ["complained", "unknown", "unknown"]
    assert load.report.sources[0].unknown_types == {"spam_complaint:auth-failure": 1, "spam_complaint:not-spam": 1}


def test_sparkpost_answers_that_are_no_bounces(tmp_path: Path) -> None:
    classes = ("60", "100", "80", "90", 60, "10", "26", "1")
    records = [sparkpost("out_of_band", bounce_class=one, event_id=str(n)) for n, one in enumerate(classes)]
    records += [sparkpost("bounce", bounce_class="90"), sparkpost("delay", bounce_class="60")]
    assert kinds(tmp_path / "in", *records) == [
        ("autoresponded", None), ("autoresponded", None), ("subscribed", None), ("unsubscribed", None),
        ("autoresponded", None), ("bounced", "hard"), ("bounced", None), ("bounced", "undetermined"),
        ("unsubscribed", None), ("deferred", None),
    ]  # fmt: skip


# ---------------------------------------------------------------- Resend


def test_resend_bounces_without_a_type_and_contacts_that_left(tmp_path: Path) -> None:
    contact = {"id": "c", "audience_id": "a", "email": "bob@mail.example", "unsubscribed": True}
    left = {"type": "contact.updated", "created_at": "2024-10-11T23:47:56.678Z", "data": contact}
    stays = left | {"data": contact | {"unsubscribed": False}}
    load = read(tmp_path / "in", [resend("email.bounced"), left, stays, left | {"type": "contact.created"}])
    assert events(load, "reported_type", "bounce_class", "address") == [
        ("bounced", "hard", "ann@mail.example"), ("unsubscribed", None, "bob@mail.example"),
        ("unknown", None, "bob@mail.example"), ("unknown", None, "bob@mail.example"),
    ]  # fmt: skip
    assert formats(tmp_path / "alone", left) == {"resend"}


# ---------------------------------------------------------------- what a sender will do later


SUPPRESSED = {
    "postmark": (
        postmark("Delivery", "DeliveredAt"),
        postmark("Bounce", "BouncedAt", Type="HardBounce", ID=1),
        postmark("SubscriptionChange", "ChangedAt", SuppressSending=True, SuppressionReason="HardBounce",
                 ChangedAt="2019-11-05T18:00:00Z"),
        {},
    ),
    "sendgrid": (
        sendgrid("delivered", category="c"),
        sendgrid("bounce", category="c", type="bounce", status="5.1.1"),
        sendgrid("dropped", category="c", timestamp=1700009999),
        {},
    ),
    "mailgun": (
        mailgun("delivered"),
        failed("permanent", "bounce", code=550),
        failed("permanent", "suppress-bounce", code=605) | {"id": "later", "timestamp": 1534209999.5},
        {},
    ),
    "amazon_ses": (
        ses("Delivery", {"timestamp": INNER, "recipients": ["ann@mail.example"]}),
        ses("Bounce", {"timestamp": INNER, "bounceType": "Permanent", "feedbackId": "b",
                       "bouncedRecipients": [{"emailAddress": "ann@mail.example"}]}),
        complaint("ann@mail.example", complaintSubType="OnAccountSuppressionList", timestamp="2023-11-16T00:00:00Z"),
        {"delivery_field": "mail.tags.campaign"},
    ),
    "resend": (
        resend("email.delivered"),
        resend("email.bounced"),
        resend("email.suppressed") | {"created_at": "2024-11-23T00:00:00Z"},
        {},
    ),
    "sparkpost": (
        sparkpost("delivery"),
        sparkpost("bounce", bounce_class="10"),
        sparkpost("policy_rejection", timestamp="1454449999"),
        {},
    ),
    "mandrill": (mandrill("delivered"), mandrill("hard_bounce"), mandrill("reject", ts=1384999999),
                 {"delivery_field": "=c"}),
}  # fmt: skip


@pytest.mark.parametrize("name", SUPPRESSED)
def test_a_suppression_undoes_neither_a_delivery_nor_a_bounce(name: str, tmp_path: Path) -> None:
    delivered, bounced, suppressed, options = SUPPRESSED[name]
    names = ("processed", "delivered", "failed", "hard_bounces")
    one = figures(tmp_path / "a", [suppressed, delivered], *names, **options)
    assert one == {"processed": 1, "delivered": 1, "failed": 0, "hard_bounces": 0}
    both = figures(tmp_path / "b", [delivered, bounced, suppressed], "delivered", "failed", "hard_bounces", **options)
    assert both == {"delivered": 0, "failed": 1, "hard_bounces": 1}


def test_the_story_of_a_message_tells_no_failure_after_it_was_delivered(tmp_path: Path) -> None:
    delivered, bounced, suppressed, _ = SUPPRESSED["postmark"]
    never_tried = postmark("Bounce", "BouncedAt", Type="SMTPApiError", ID=2) | {"MessageID": "other"}
    figures(tmp_path / "a", [delivered, suppressed, never_tried], "delivered")
    told_of = timeline(open_store(tmp_path / "a" / "store"), delivery="welcome")
    assert told_of.select("act", "type").rows() == [("sent", "Sent"), ("failed", "Rejected by the sender")]
    figures(tmp_path / "b", [delivered, bounced, suppressed], "delivered")
    bounced_later = timeline(open_store(tmp_path / "b" / "store"), delivery="welcome")
    assert bounced_later["type"].to_list().count("Rejected by the sender") == 0
