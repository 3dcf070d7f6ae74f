"""A delivery's list of messages: the platform's own statuses, reasons, filters and order; and who was left out."""

from datetime import UTC, datetime
from typing import Any

import duckdb
import polars as pl
import pytest

from tests.spec.golden import at, tables
from trackkit import schema
from trackkit.analysis.logs import count as count_hits
from trackkit.analysis.logs import tracking_log, tracking_tab
from trackkit.analysis.messages import count, excluded, message_tab, messages, statuses
from trackkit.engine.snapshot import Snapshot
from trackkit.errors import RequestError
from trackkit.language import say

# id, recipient, address, code, class, reason, minute
SENT: tuple[tuple[str, str | None, str, int | None, str, int | None, int], ...] = (
    ("1", "11", "ann@post.example", 1, "delivered", None, 1),
    ("2", "12", "ben@post.example", 3, "delivered", None, 2),
    ("3", "13", "cid@mail.example", 2, "failed", 5, 5),
    ("4", "14", "dan@mail.example", 2, "failed", 20, 4),
    ("5", "15", "eve@mail.example", 6, "pending", None, 3),
    ("6", "16", "fay@mail.example", 7, "cancelled", None, 3),
    ("7", "17", "gus@post.example", 1, "failed", 1, 9),  # sent, and bounced later: events say so
    ("8", None, "hal@post.example", None, "delivered", None, 1),  # a sender without codes
    ("9", "19", "ida@post.example", 77, "unknown", None, 1),
)


def given(**more: Any) -> Snapshot:
    rows = [
        {"delivery_id": "7", "message_id": key, "recipient_id": who, "address": address, "status_code": code,
         "status": status, "failure_reason": reason, "failure_type": 2 if reason else None,
         "domain": address.split("@")[1], "status_at": at(12, minute), "is_seed": False}
        for key, who, address, code, status, reason, minute in SENT
    ]  # fmt: skip
    deliveries = [{"delivery_id": "7", "label": "Letter", "message_type": 0}]
    return tables(delivery=deliveries, message=rows, **more)


def test_statuses_are_the_platforms_own_names_and_add_up() -> None:
    assert statuses(given(), "7").select("row", "status", "messages", "of").rows() == [
        ("status", "Failed", 3, 9), ("status", "Delivered", 1, 9), ("status", "Delivery canceled", 1, 9),
        ("status", "Delivery pending", 1, 9), ("status", "Sent", 1, 9),
        ("status", "Taken into account by the service provider", 1, 9), ("status", "Unknown", 1, 9),
        ("total", None, 9, 9),
    ]  # fmt: skip
    assert statuses(given(), "7").filter(row="status")["messages"].sum() == 9
    nothing = statuses(tables(delivery=[{"delivery_id": "7"}]), "7")
    assert nothing.select("row", "messages", "share").rows() == [("total", None, None)]


def test_every_code_has_a_name_in_both_languages() -> None:
    assert set(schema.STATUS_WORDS) == set(schema.STATUSES)
    portuguese = {code: say(word, "pt_BR") for code, word in schema.STATUS_WORDS.items()}
    assert portuguese[1] == "Enviado" and portuguese[7] == "Entrega cancelada" and portuguese[8] == "Preparado"
    assert len(set(portuguese.values())) == len(portuguese)


def test_a_row_says_status_date_and_reason_in_the_platforms_words() -> None:
    columns = ["recipient_id", "status", "status_at", "reason", "failure_type", "domain", "channel"]
    rows = messages(given(), "7", columns=columns, order="-status_at", limit=3)
    assert rows.rows() == [
        ("17", "Failed", at(12, 9), "User unknown", "Hard", "post.example", "e-mail"),
        ("13", "Failed", at(12, 5), "Inbox full", "Hard", "mail.example", "e-mail"),
        ("14", "Failed", at(12, 4), "Rejected", "Hard", "mail.example", "e-mail"),
    ]
    assert str(messages(given(), "7", timezone="Asia/Tokyo").schema["status_at"]).endswith("time_zone='Asia/Tokyo')")


def test_addresses_are_there_on_request_only() -> None:
    assert "address" not in messages(given(), "7").columns
    for shown in (messages(given(), "7", addresses=True), message_tab(given(), delivery="7", addresses=True)):
        assert set(shown["address"]) == {address for _, _, address, *_ in SENT}
    left = given(exclusion=[{"delivery_id": "7", "recipient_id": "99", "rule": "9"}],
                 recipient=[{"recipient_id": "99", "email": "zoe@post.example"}])  # fmt: skip
    assert excluded(left, "7").rows() == [("99", "Address in quarantine")]
    assert excluded(left, "7", addresses=True).rows() == [("99", "Address in quarantine", "zoe@post.example")]


@pytest.mark.parametrize(
    ("asked", "ids"),
    [({"status": "failed"}, "347"), ({"status": "Sent, Delivery Pending"}, "15"), ({"domain": "POST.example"}, "12789"),
     ({"status": "Failed", "domain": "mail.example"}, "34"),
     ({"since": "2012-02-20 12:04", "until": "2012-02-20"}, "347"),
     ({"until": datetime(2012, 2, 20, 12, 2, tzinfo=UTC)}, "1289"), ({"address": "ann@post.example"}, "1")],
)  # fmt: skip
def test_messages_are_kept_by_status_domain_and_period(asked: dict[str, Any], ids: str) -> None:
    assert messages(given(), "7", columns=["message_id"], order="message_id", **asked)["message_id"].to_list() == [*ids]
    assert count(given(), "7", **asked) == len(ids)


def test_order_is_by_any_column_and_stable() -> None:
    found = messages(given(), "7", columns=["message_id"], order="domain,-status_at")["message_id"].to_list()
    assert found == ["3", "4", "5", "6", "7", "2", "1", "8", "9"]


@pytest.mark.parametrize(
    ("asked", "said"),
    [({"status": "Faild"}, "no status 'Faild'. Did you mean 'Failed'"), ({"domain": "pst.example"}, "'post.example'"),
     ({"order": "-date"}, "cannot be ordered by 'date'"), ({"columns": ["adress"]}, "Did you mean 'address'"),
     ({"since": "soon"}, "since takes a date"), ({"since": "2012-03-01", "until": "2012-02-01"}, "ends before"),
     ({"limit": 0}, "from 1")],
)  # fmt: skip
def test_what_is_wrong_is_said(asked: dict[str, Any], said: str) -> None:
    with pytest.raises(RequestError, match=said):
        messages(given(), "7", **asked)


def test_a_tab_refuses_the_options_of_another() -> None:
    with pytest.raises(RequestError, match="'statuses' has no option 'status'"):
        message_tab(given(), "statuses", "7", status="Sent")
    with pytest.raises(RequestError, match=r"Nobody was left out by the rule 'Doble'\. Did you mean 'Double'"):
        excluded(given(exclusion=[{"delivery_id": "7", "recipient_id": "1", "rule": "10"}]), "7", "Doble")


def test_exclusions_by_rule_whatever_the_spelling() -> None:
    spellings = ["10", "Double", "Denylisted address", "8", "Own rule"]
    rows = [{"delivery_id": "7", "recipient_id": str(nth), "rule": rule} for nth, rule in enumerate(spellings)]
    rows.append({"delivery_id": "7", "recipient_id": "2", "rule": "Address on denylist"})  # loaded again, new label
    found = excluded(given(exclusion=rows), "7")
    assert found.rows() == [
        ("2", "Address on denylist"), ("3", "Address on denylist"), ("0", "Double"), ("1", "Double"), ("4", "Own rule"),
    ]  # fmt: skip
    assert excluded(given(exclusion=rows), "7", "Double", limit=1).rows() == [("0", "Double")]


@pytest.mark.parametrize("status", sorted(schema.STATUS_CLASSES))
def test_the_second_implementation_counts_the_same(status: str) -> None:
    """In SQL, by the class of the status and the code."""
    frame = given().scan("message").collect().with_columns(pl.col("status").cast(pl.String))
    names = pl.DataFrame({"code": list(schema.STATUS_WORDS), "word": list(schema.STATUS_WORDS.values()),
                          "class": [schema.STATUSES[code] for code in schema.STATUS_WORDS]})  # fmt: skip
    found = duckdb.sql(
        'SELECT coalesce(n.word, $other) AS word, count(*) FROM frame m LEFT JOIN names n '
        'ON n.code = m.status_code AND n."class" = m.status WHERE m.status = $status GROUP BY 1',
        params={"status": status, "other": schema.STATUS_LABELS[status]},
    )  # fmt: skip
    for word, total in found.fetchall():
        listed = messages(given(), "7", columns=["message_id", "status"], status=word)
        ids = {key for key, _, _, _, known, *_ in SENT if known == status}
        assert listed.filter(pl.col("message_id").is_in(ids)).height == total
    assert names.height == 10 and frame.height == 9


# --- hits

HITS = [
    ("1", "opened", "1", "Open", None, "PC", 1), ("2", "clicked", "5", "Shop", "https://s.example/", "PC", 2),
    ("3", "clicked", "6", "News", "https://n.example/", "iPhone", 3),
    ("4", "clicked", "5", "Shop", "https://s.example/", "iPhone", 4),
    ("5", "unsubscribed", "9", "Leave", None, None, 5),
]  # fmt: skip


def hits() -> Snapshot:
    rows = [
        {"event_id": key, "delivery_id": "7", "message_id": "1", "recipient_id": "11", "event_type": kind,
         "link_id": link, "link_label": label, "url": url, "device": device, "occurred_at": at(12, minute),
         "is_seed": False}
        for key, kind, link, label, url, device, minute in HITS
    ]  # fmt: skip
    return given(event=rows)


@pytest.mark.parametrize(
    ("asked", "ids"),
    [({"type": "email click"}, "432"), ({"type": "Open,opt-out"}, "51"), ({"type": "clicked"}, "432"),
     ({"link": "5"}, "42"), ({"link": "News"}, "3"), ({"link": "https://s.example/"}, "42"),
     ({"device": "iPhone"}, "43"),
     ({"since": "2012-02-20 12:03", "type": "Email click"}, "43"), ({"until": "2012-02-20 12:02"}, "21"),
     ({"order": "link_id,-occurred_at"}, "14235"), ({"order": "type"}, "43215")],
)  # fmt: skip
def test_hits_are_kept_and_ordered(asked: dict[str, Any], ids: str) -> None:
    for who in ({"delivery": "7"}, {"recipient": "11"}):
        assert tracking_log(hits(), columns=["event_id"], **who, **asked)["event_id"].to_list() == [*ids]
    kept = {name: value for name, value in asked.items() if name != "order"}
    assert count_hits(hits(), "7", **kept) == len(ids)


def test_urls_count_the_clicks_that_are_kept() -> None:
    urls = tracking_tab(hits(), "urls", "7", columns=["link_id", "clicks", "share"], device="iPhone", order="link_id")
    assert urls.rows() == [("5", 1, 0.5), ("6", 1, 0.5)]
    assert tracking_tab(hits(), "urls", "7", columns=["link_id"], order="-link_id", limit=2)["link_id"].to_list() == [
        "9", "6"
    ]  # fmt: skip


def test_the_deliveries_tab_of_a_recipient() -> None:
    tab = tracking_tab(hits(), "deliveries", recipient="11")
    assert tab.rows() == [("Letter", "e-mail", at(12, 1), "Sent", None)]
    by_address = tracking_tab(hits(), "deliveries", address="cid@mail.example")
    assert by_address.select("status", "reason").rows() == [("Failed", "Inbox full")]
    with pytest.raises(RequestError, match="no tab 'deliveries'"):
        tracking_tab(hits(), "deliveries", "7")


@pytest.mark.parametrize(
    ("asked", "said"),
    [({"type": "klick"}, "no type of hit 'klick'"), ({"link": "Shopp"}, "Did you mean 'Shop'"),
     ({"device": "iphone"}, "Did you mean 'iPhone'"), ({"order": "when"}, "cannot be ordered")],
)  # fmt: skip
def test_an_unknown_filter_is_no_empty_list(asked: dict[str, Any], said: str) -> None:
    with pytest.raises(RequestError, match=said):
        tracking_log(hits(), "7", **asked)
