"""What was wrong with maps of senders on other people's logs, each fault with what is right, worked out by hand."""

import json
import random
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.feeds import events, read, read_tables, table, told
from tests.test_feeds_tables_vendors import extract, iterable
from tests.test_feeds_vendors import _changed, brevo, mailjet
from tests.test_pieces import cut_small
from trackkit.engine.measure import measure
from trackkit.sources.detect import choose
from trackkit.sources.feeds.feed import all_feeds
from trackkit.sources.files import Found
from trackkit.store import open_store

CASES = Path(__file__).parent / "cases"
ASSUMED = "what was sent and did not bounce counts as delivered"
FIGURES = ["processed", "delivered", "failed", "pending"]
Row = dict[str, Any]


def figures(folder: Path, names: list[str] = FIGURES) -> tuple:
    """Return totals of a store."""
    return measure(open_store(folder), names, by=[]).select(names).row(0)


def load(folder: Path, name: str, content: Any, **options: Any) -> Any:
    """Load one file into the store of a folder."""
    place = folder / "in" / name
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(content if isinstance(content, str) else json.dumps(content), "utf-8")
    return open_store(folder / "store").ingest(place, **options)


# ---------------------------------------------------------------- senders that tell no deliveries (fault 1)


def mandrill(event: str, who: str, minutes: int) -> Row:
    return {
        "event": event, "ts": 1741161600 + 60 * minutes, "_id": f"id-{who}",
        "msg": {"_id": f"id-{who}", "email": f"{who}@post.example", "subject": "June", "tags": ["june"]},
    }  # fmt: skip


SENT = [mandrill("send", who, 0) for who in "abcdef"]
LATER = [mandrill("hard_bounce", "a", -1), mandrill("reject", "g", 0), mandrill("deferral", "h", 0)]


@pytest.mark.parametrize("seed", range(4))
def test_sent_and_not_bounced_is_delivered_in_any_order_of_loads(tmp_path: Path, seed: int) -> None:
    parts = [SENT[:2], SENT[2:], LATER[:1], LATER[1:]]
    random.Random(seed).shuffle(parts)
    for number, part in enumerate(parts):
        load(tmp_path, f"{number}.json", part, delivery_field="msg.tags")
    # a bounced, though by the clock of its server before it was sent; g was never tried; h waits
    assert figures(tmp_path / "store") == (6, 5, 1, 1)


@pytest.mark.parametrize("is_large", [False, True])
def test_where_a_delivery_is_told_no_other_is_assumed(tmp_path: Path, monkeypatch, is_large: bool) -> None:
    if is_large:
        cut_small(monkeypatch)
    first = load(tmp_path, "1.json", SENT + LATER, delivery_field="msg.tags")
    assert ASSUMED in " ".join(first.sources[0].assumptions) and figures(tmp_path / "store") == (6, 5, 1, 1)
    other = [one | {"msg": one["msg"] | {"tags": ["july"]}, "_id": f"july-{number}"} for number, one in enumerate(SENT)]
    load(tmp_path, "2.json", other, delivery_field="msg.tags")
    second = load(tmp_path, "3.json", [mandrill("delivered", "b", 1)], delivery_field="msg.tags")
    assert ASSUMED not in " ".join(second.sources[0].assumptions)
    by_delivery = measure(open_store(tmp_path / "store"), FIGURES).select("delivery_id", *FIGURES).rows()
    assert sorted(by_delivery) == [("july", 6, 6, 0, 0), ("june", 2, 1, 1, 5)]


def test_a_map_of_ones_own_that_declares_it_counts_so_for_good(tmp_path: Path) -> None:
    own = tmp_path / "own.toml"
    own.write_text("""
name = "own"
what = "Our post"
engine = "table"
word = ["what"]
delivered = "sent"
[recognise]
all = ["what", "letter"]
[words]
out = "sent"
back = "bounced"
[columns]
delivery_id = "mailing"
message_id = "letter"
recipient_id = "person"
occurred_at = "at"
""")
    rows = [{"what": what, "letter": letter, "mailing": "7", "person": letter, "at": "2025-03-05 08:00:00"}
            for what, letter in (("out", "1"), ("out", "2"), ("back", "2"))]  # fmt: skip
    load(tmp_path, "letters.csv", table(rows), format=str(own))
    assert figures(tmp_path / "store") == (2, 1, 1, 0)
    # A later load without the map touches the same delivery: nothing changes.
    load(tmp_path, "recipient.csv", table([{"iRecipientId": "1", "sEmail": "a@post.example"}]))
    load(tmp_path, "delivery.csv", table([{"iDeliveryId": "7", "sLabel": "June", "iState": "95"}]))
    assert figures(tmp_path / "store") == (2, 1, 1, 0)


def test_a_sender_that_tells_deliveries_is_counted_as_before(tmp_path: Path) -> None:
    sent = [{"eventType": "Send", "mail": {"messageId": str(n), "timestamp": "2025-03-05T08:00:00Z",
                                           "destination": [f"{n}@post.example"], "tags": {"campaign": ["june"]}}}
            for n in range(3)]  # fmt: skip
    load(tmp_path, "ses.json", sent, delivery_field="mail.tags.campaign")
    assert figures(tmp_path / "store") == (0, 0, 0, 3)


# ---------------------------------------------------------------- Brevo (2, 7, 22)


def test_brevo_marketing_names_messages_by_campaign_and_address(tmp_path: Path) -> None:
    one = {"event": "opened", "email": "Ann@Post.example", "camp_id": 12, "campaign_name": "June", "id": 7,
           "date_event": "2025-07-01 10:00:00", "ts_event": 1751356800, "ts": 1751364000}  # fmt: skip
    loaded = read(tmp_path / "in", [one, one | {"event": "list_addition", "camp_id": None}], timezone="Europe/Paris")
    assert events(loaded, "reported_type", "message_id", "occurred_at") == [
        ("opened", "12:ann@post.example", datetime(2025, 7, 1, 8, tzinfo=UTC)),
        ("subscribed", None, datetime(2025, 7, 1, 8, tzinfo=UTC)),
    ]
    assert told(loaded, "delivery", "delivery_id", "label") == [("12", "June")]


def test_brevo_has_an_instant_of_its_own_that_wins(tmp_path: Path) -> None:
    loaded = read(tmp_path / "in", [brevo("opened"), brevo("opened", ts_epoch=None)])
    assert events(loaded, "occurred_at") == [
        (datetime(2020, 11, 9, 14, 54, 14, 123000, tzinfo=UTC),), (datetime(2020, 11, 9, 14, 54, 14, tzinfo=UTC),),
    ]  # fmt: skip


# ---------------------------------------------------------------- Iterable (9, 13, and where the address stands)


@pytest.mark.parametrize(
    ("fields", "machine"),
    [
        ({"isBot": False}, (False, None)), ({"isBot": True}, (True, None)), ({}, (None, None)),
        ({"proxySource": "Apple"}, (True, "apple")), ({"proxySource": "Apple", "isBot": False}, (True, "apple")),
        ({"proxySource": "Google"}, (None, None)),
    ],
)  # fmt: skip
def test_iterable_says_which_opens_are_of_machines(fields: Row, machine: tuple, tmp_path: Path) -> None:
    loaded = read(tmp_path / "in", [iterable("emailOpen", 1, **fields)])
    assert events(loaded, "is_machine", "machine_reason") == [machine]


def test_iterable_addresses_of_other_events_are_no_links(tmp_path: Path) -> None:
    rows = [iterable("emailClick", 1, url="https://a.example/1"), iterable("emailOpen", 2, url="https://a.example/2"),
            iterable("pushOpen", 3, url="https://a.example/3"),
            iterable("emailClick", 4, linkUrl="https://a.example/4")]  # fmt: skip
    assert told(read(tmp_path / "in", rows), "link", "url") == [("https://a.example/1",), ("https://a.example/4",)]


def extended(*numbers: int) -> dict[str, list[Row]]:
    return {
        "event.csv": [
            {"_fivetran_id": f"f{n}", "email": f"{n}@post.example", "campaign_id": "7", "message_id": f"m{n}",
             "event_name": "emailClick", "created_at": f"2025-03-05 08:00:{n:02}.000"} for n in numbers
        ],
        "event_extension.csv": [
            {"_fivetran_id": f"f{n}", "link_url": f"https://a.example/{n % 3}", "proxy_source": "", "locale": "fr"}
            for n in numbers
        ],
    }  # fmt: skip


@pytest.mark.parametrize("first", ["event.csv", "event_extension.csv"])
def test_further_columns_reach_the_events_whichever_file_grows_or_comes_first(tmp_path: Path, first: str) -> None:
    place = tmp_path / "in"
    place.mkdir()
    for numbers in ((1, 2), (1, 2, 3, 4)):
        for name, rows in sorted(extended(*numbers).items(), key=lambda pair: pair[0] != first):
            (place / name).write_text(table(rows), "utf-8")
            if (place / "event.csv").exists():
                report = open_store(tmp_path / "store").ingest(place)
    assert report.is_settled and report.total("quarantined") == 0
    store = open_store(tmp_path / "store")
    assert figures(tmp_path / "store", ["total_clicks"]) == (4,)
    clicked = store.scan("event").select("message_id", "url").collect()
    assert sorted(clicked.rows()) == [(f"m{n}", f"https://a.example/{n % 3}") for n in (1, 2, 3, 4)]


def test_further_columns_come_to_every_part_of_the_events(tmp_path: Path) -> None:
    (one, many), (two, more) = extended(1, 2).values(), extended(3, 4).values()
    files = {"event_1.csv": one, "event_2.csv": two, "event_extension_1.csv": many, "event_extension_2.csv": more}
    loaded = read_tables(tmp_path / "in", files)
    assert {row[0] for row in told(loaded, "link", "url")} == {f"https://a.example/{n}" for n in range(3)}
    said = {one.path: one for one in loaded.report.sources}
    assert said["event_extension_1.csv"].read == 0 and said["event_1.csv"].read == 2
    assert said["event_extension_1.csv"].ignored_columns == ["locale"]


def test_further_columns_of_an_id_that_two_share_are_nobodys(tmp_path: Path) -> None:
    files = extended(1, 2)
    files["event_extension.csv"].append(files["event_extension.csv"][0] | {"link_url": "https://a.example/other"})
    loaded = read_tables(tmp_path / "in", files)
    assert told(loaded, "link", "url") == [("https://a.example/2",)]
    notes = " ".join(note for one in loaded.report.sources for note in one.assumptions)
    assert "2 rows of further columns differ under one id: it is not known whose they are" in notes


def test_a_table_of_further_columns_that_is_damaged_says_so(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    events_of, more = extended(1).values()
    (tmp_path / "in" / "event.csv").write_text(table(events_of))
    (tmp_path / "in" / "event_extension.csv").write_text(table(more) + "f2,too,many,cells,here\n")
    report = open_store(tmp_path / "store").ingest(tmp_path / "in")
    assert (report.total("read"), report.total("kept"), report.total("quarantined")) == (2, 1, 1)
    assert report.is_settled


# ---------------------------------------------------------------- Mailjet (14), Marketing Cloud (25), Klaviyo (27, 29)


@pytest.mark.parametrize(
    ("told_of", "kind"),
    [
        ({"hard_bounce": False, "error_related_to": "spam", "error": "content blocked"}, "block"),
        ({"hard_bounce": False, "error_related_to": "content", "error": "x"}, "block"),
        ({"hard_bounce": False, "error": "policy issue"}, "block"), ({"error": "user unknown"}, "hard"),
        ({"error": "quota exceeded"}, "soft"), ({"hard_bounce": True, "error": "user unknown"}, "hard"),
        ({"hard_bounce": False, "error_related_to": "recipient", "error": "user unknown"}, "soft"),
        ({"error": "?"}, None),
    ],
)  # fmt: skip
def test_mailjet_says_why_it_bounced(told_of: Row, kind: str | None, tmp_path: Path) -> None:
    assert events(read(tmp_path / "in", [mailjet("bounce", **told_of)]), "bounce_class") == [(kind,)]


def test_marketing_cloud_bounces_carry_code_and_text(tmp_path: Path) -> None:
    told_of = [{"SMTPCode": "550", "SMTPBounceReason": "5.1.1 unknown"}, {"SMTPCode": "0", "SMTPBounceReason": ""}]
    rows = [extract("Bounce", "7/1/2023 11:59:59 PM", BounceCategory="Hard bounce", **one) for one in told_of]
    loaded = read(tmp_path / "in", table(rows), "Bounces.csv")
    assert events(loaded, "smtp_status", "diagnostic") == [("550", "5.1.1 unknown"), (None, None)]


def test_marketing_cloud_dates_as_a_query_writes_them(tmp_path: Path) -> None:
    forms = ["Nov 14 2023  4:13PM", "Nov  4 2023 12:05AM", "2023-11-14 16:13:00", "11/14/2023 4:13:00 PM"]
    rows = [extract("Sent", at, SubscriberKey=str(number)) for number, at in enumerate(forms)]
    loaded = read(tmp_path / "in", table(rows), "Sent.csv")
    afternoon = datetime(2023, 11, 14, 22, 13, tzinfo=UTC)  # this platform's clock is 6 hours behind
    assert events(loaded, "occurred_at") == [(one,) for one in (
        afternoon, datetime(2023, 11, 4, 6, 5, tzinfo=UTC), afternoon, afternoon)]  # fmt: skip


def klaviyo_page(**more: Any) -> Row:
    event = {"type": "event", "id": "e", "relationships": {"metric": {"data": {"type": "metric", "id": "M"}}},
             "attributes": {"datetime": "2025-03-05T08:00:00+00:00", "event_properties": more}}  # fmt: skip
    return {"data": [event, event | {"id": "f", "relationships": {"metric": {"data": {"id": "N"}}}}],
            "included": [{"type": "metric", "id": "M", "attributes": {"name": "Bounced Email"}}]}  # fmt: skip


@pytest.mark.parametrize(("written", "kind"), [("HARD", "hard"), ("soft", "soft"), ("Other", "undetermined")])
def test_klaviyo_names_come_from_beside_the_events(written: str, kind: str, tmp_path: Path) -> None:
    loaded = read(tmp_path / "in", klaviyo_page(**{"Bounce Type": written}))
    assert events(loaded, "reported_type", "bounce_class") == [("bounced", kind)]
    assert loaded.quarantine["reason"].to_list() == ["no ^.metric.attributes.name: no record of klaviyo_api"]


@pytest.mark.parametrize(
    "included", [None, {}, "x", [None], [{"id": {}}], [{"id": "M"}], [{"id": "M", "attributes": 5}]]
)
def test_whatever_stands_beside_klaviyos_events_they_are_accounted_for(included: Any, tmp_path: Path) -> None:
    page = klaviyo_page() | {"included": included}
    loaded = read(tmp_path / "in", page, format="klaviyo_api")
    assert loaded.report.sources[0].quarantined == 2


# ---------------------------------------------------------------- who is who


@pytest.mark.parametrize(
    ("case", "name"),
    [
        ("mailersend", "mailersend"), ("mailtrap", "mailtrap"), ("postal", "postal"), ("unisender-go", "unisender_go"),
        ("brevo-marketing", "brevo"), ("brevo-report", "brevo"), ("salesforce-notifications", "salesforce_ens"),
        ("klaviyo-included", "klaviyo_api"), ("mailchimp-webhooks", "mailchimp_webhooks"),
        ("iterable-by-user-id", "iterable"), ("mailjet-refusals", "mailjet"), ("mandrill-with-deliveries", "mandrill"),
    ],
)  # fmt: skip
def test_each_sender_is_recognised_by_what_only_it_has(case: str, name: str) -> None:
    (place,) = (one for one in (CASES / case).iterdir() if one.name != "expected.json")
    mine = ("mailersend", "mailtrap", "postal", "unisender_go", "brevo", "salesforce_ens", "klaviyo_api", "iterable",
            "klaviyo", "mailchimp_webhooks", "mailjet")  # fmt: skip
    known = all_feeds()
    assert choose(Found(place, place.name), [], known).format == name
    own = {one: known[one] for one in mine if one != name}
    assert choose(Found(place, place.name), [], own).format is None


@pytest.mark.parametrize(
    "record",
    [
        {"userId": "u", "createdAt": "2025-03-05", "eventName": "Page Viewed"},  # a product's own events
        {"type": "user.created", "created_at": "2025-03-05T08:00:00Z", "data": {"id": "u"}},
        {"event": "signup", "email": "a@post.example", "id": 5},
        {"event": "push", "timestamp": 1741161600, "payload": {"id": 7}},
        {"status": "ok", "email": "a@post.example", "event_time": "2025-03-05 08:00:00"},
    ],
)
def test_records_of_others_are_none_of_these(record: Row, tmp_path: Path) -> None:
    (tmp_path / "events.json").write_text(json.dumps(record))
    mine = ("mailersend", "mailtrap", "postal", "unisender_go", "brevo", "salesforce_ens", "klaviyo_api", "iterable")
    known = {one: all_feeds()[one] for one in mine}
    assert choose(Found(tmp_path / "events.json", "events.json"), [], known).format is None


SHAPES = {"mailersend": "mailersend", "mailtrap": "mailtrap", "postal": "postal", "unisender-go": "unisender_go",
          "salesforce-notifications": "salesforce_ens", "klaviyo-included": "klaviyo_api"}  # fmt: skip


@settings(max_examples=6, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
@pytest.mark.parametrize("case", SHAPES)
def test_any_value_in_any_place_is_read_set_aside_or_skipped(
    case: str, data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    (place,) = (one for one in (CASES / case).iterdir() if one.name != "expected.json")
    text = place.read_text("utf-8")
    records = json.loads(text) if place.suffix == ".json" else [json.loads(line) for line in text.splitlines()]
    odd = [_changed(one, data.draw, 15) for one in (records if isinstance(records, list) else [records])]
    loaded = read(tmp_path_factory.mktemp("odd") / "in", odd, format=SHAPES[case])  # which also checks that it balances
    told_of = loaded.frames["event"].select("event_id", "reported_type", "source_row").collect()
    assert told_of.null_count().row(0) == (0, 0, 0)


# ---------------------------------------------------------------- Postal


@pytest.mark.parametrize(
    ("status", "details", "kind", "bounce_class"),
    [
        ("HardFail", "Permanent SMTP delivery error when sending", "bounced", "hard"),
        ("HardFail", "Maximum number of delivery attempts (18) has been reached.", "bounced", "soft"),
        ("HardFail", "Message's domain no longer exist", "failed", None),
        ("Held", "Recipient (a@post.example) is on the suppression list", "rejected", None),
        ("Held", "Server is in development mode.", "queued", None), ("SoftFail", "later", "deferred", None),
    ],
)  # fmt: skip
def test_postal_says_what_it_did_in_words(status: str, details: str, kind: str, bounce_class, tmp_path: Path) -> None:
    event = {"Held": "MessageHeld", "SoftFail": "MessageDelayed"}.get(status, "MessageDeliveryFailed")
    message = {"id": 9, "token": "t", "direction": "outgoing", "to": "A <a@post.example>"}
    one = {"event": event, "timestamp": 1606753101.961181, "uuid": "u",
           "payload": {"message": message, "status": status, "details": details}}  # fmt: skip
    loaded = read(tmp_path / "in", [one])
    assert events(loaded, "reported_type", "bounce_class", "message_id", "occurred_at") == [
        (kind, bounce_class, "9:t", datetime(2020, 11, 30, 16, 18, 21, 961181, tzinfo=UTC))
    ]
