"""Bounces on two axes: permanence and cause, worked out by hand for real kinds of answers, all written by us."""

import time
from pathlib import Path

import polars as pl
import pytest

import trackkit as tk
from trackkit.analysis.causes import cause_list, with_axes
from trackkit.engine.snapshot import Snapshot
from trackkit.errors import RequestError

P, T, U = "permanent", "persistent_transient", "unknown"
# What the server said, and by hand: permanence, cause, the code.
SAID = [
    ("550 5.1.1 <ana@shop.example>: Recipient address rejected: User unknown in virtual table", P, "address", "5.1.1"),
    ("550-5.1.1 The email account that you tried to reach does not exist.", P, "address", "5.1.1"),
    ("550 5.1.10 RESOLVER.ADR.RecipientNotFound; Recipient not found", P, "address", "5.1.10"),
    ("553 5.1.2 Bad destination host", P, "address", "5.1.2"),
    ("553 5.1.3 The recipient address is not a valid RFC address", P, "address", "5.1.3"),
    ("556 5.1.10 Recipient domain has a null MX", P, "address", "5.1.10"),
    ("553 5.1.8 Sender domain does not resolve", P, "policy", "5.1.8"),
    ("552 5.2.2 Over quota", P, "mailbox", "5.2.2"),
    ("452 4.2.2 The recipient's inbox is out of storage space", T, "mailbox", "4.2.2"),
    ("550 5.2.1 The account that you tried to reach is disabled", P, "mailbox", "5.2.1"),
    ("450 4.2.1 The user you write to receives mail at too high a rate", T, "mailbox", "4.2.1"),
    ("552 5.2.3 Message exceeds the limit of this mailbox", P, "content", "5.2.3"),
    ("552 5.3.4 Message size exceeds fixed limit", P, "content", "5.3.4"),
    ("452 4.3.1 Insufficient system storage", T, "system", "4.3.1"),
    ("451 4.3.0 Temporary lookup failure", T, "system", "4.3.0"),
    ("421 4.3.2 System not accepting network messages", T, "system", "4.3.2"),
    ("421 4.4.2 Connection dropped", T, "network", "4.4.2"),
    ("450 4.4.1 No answer from host", T, "network", "4.4.1"),
    ("550 5.4.4 Unable to route: no MX", P, "network", "5.4.4"),
    ("554 5.4.6 Too many hops", P, "network", "5.4.6"),
    ("550 4.4.7 QUEUE.Expired; message expired", T, "network", "4.4.7"),
    ("550 5.4.1 Recipient address rejected: Access denied. AS(2012)", P, "address", "5.4.1"),  # Exchange Online
    ("503 5.5.1 Bad sequence of commands", P, "protocol", "5.5.1"),
    ("452 4.5.3 Too many recipients", T, "protocol", "4.5.3"),
    ("550 5.6.0 Message is malformed", P, "content", "5.6.0"),
    ("554 5.7.1 Service unavailable; Client host [192.0.2.5] blocked using zen.dnsbl.example", P, "policy", "5.7.1"),
    ("550 5.7.26 This mail is unauthenticated: SPF and DKIM did not pass", P, "policy", "5.7.26"),
    ("421 4.7.0 [192.0.2.1] Our system has detected an unusual rate of mail", T, "policy", "4.7.0"),
    ("451 4.7.1 Greylisted, please try again in 300 seconds", T, "policy", "4.7.1"),
    ("550 5.7.1 Unable to relay for bo@b.example", P, "policy", "5.7.1"),
    ("550 5.7.1 User unknown; rejected by the gateway", P, "address", "5.7.1"),  # a policy's code, and no such user
    (
        "550 5.1.1 Rejected: sending address is listed at spamhaus",
        P,
        "policy",
        "5.1.1",
    ),  # an address' code, and a DNSBL
    ("550 5.5.0 Requested action not taken: mailbox unavailable", P, "address", "5.5.0"),
    ("550 5.0.0 Command rejected", P, "unclassified", "5.0.0"),  # a class without a subject
    ("554 5.0.0 Blocked: poor reputation", P, "policy", "5.0.0"),
    ("smtp;550 No such user here", P, "address", "550"),
    ("550 Requested action not taken", P, "unclassified", "550"),
    (
        "550 Mail from 203.0.113.9 refused, see https://rbl.example/5.1.1",
        P,
        "policy",
        "550",
    ),  # a place on the web is no code
    (
        "host mx.example[203.0.113.5] said: 554 Your message looks like spam (in reply to end of DATA)",
        P,
        "content",
        "554",
    ),
    ("552 Mailbox is full", P, "mailbox", "552"),
    ("552 Requested mail action aborted", P, "mailbox", "552"),  # RFC 5321: storage allocation exceeded
    ("421 Service not available, closing transmission channel", T, "system", "421"),
    ("451 Requested action aborted: local error in processing", T, "system", "451"),
    ("450 Requested mail action not taken", T, "mailbox", "450"),
    ("500 Syntax error, command unrecognized", P, "protocol", "500"),
    ("535 Authentication credentials invalid", P, "policy", "535"),
    ("551 User not local", P, "address", "551"),
    ("Domain name does not exist", U, "address", None),
    ("Name service error for name=nowhere.example type=MX: Host not found", U, "address", None),
    ("Connection timed out", U, "network", None),
    ("Complaint received through the feedback loop", U, "policy", None),
    ("A caixa de entrada cheia", U, "mailbox", None),
    ("Utilisateur inconnu", U, "address", None),
    ("Remote MTA 10.5.1.1 gave 5.1.1.7", U, "unclassified", None),  # addresses of machines are no codes
    ("5.1.1@numbers.example could not be served", U, "unclassified", None),  # nor are those of people
    ("Quota of 500 tickets", U, "unclassified", None),
    ("", U, "unclassified", None),
    (None, U, "unclassified", None),
]


@pytest.mark.parametrize(("said", "permanence", "cause", "code"), SAID)
def test_each_kind_of_answer(said: str | None, permanence: str, cause: str, code: str | None) -> None:
    rows = pl.LazyFrame({"smtp_status": [None], "text": [said]}, schema={"smtp_status": pl.String, "text": pl.String})
    assert with_axes(rows).select("permanence", "cause", "code").collect().row(0) == (permanence, cause, code)


def test_a_status_of_its_own_comes_before_the_text_and_a_bare_one_after() -> None:
    rows = {"smtp_status": ["5.2.2", " 4.4.2 ", "550", "rubbish"], "text": ["550 5.1.1 no", None, "user unknown", "x"]}
    assert with_axes(pl.LazyFrame(rows)).select("permanence", "cause", "code", "reasons").collect().rows() == [
        (P, "mailbox", "5.2.2", [5]),
        (T, "network", "4.4.2", [3]),
        (P, "address", "550", [1]),
        (U, "unclassified", None, None),
    ]


def test_no_text_takes_long() -> None:
    """Repetitions, on which a backtracking engine would never end."""
    hostile = ["a " * 50_000, "5.1." * 40_000, "(" * 100_000, "does not have a" + " a" * 50_000, "<script>" * 9_000]
    rows = pl.LazyFrame({"smtp_status": [None] * 5, "text": hostile}, schema_overrides={"smtp_status": pl.String})
    begun = time.monotonic()
    assert with_axes(rows).collect().height == 5
    assert time.monotonic() - begun < 2


def _store() -> Snapshot:
    """Seven failures: three full mailboxes of which the platform calls one unknown, and four others."""
    failures = {"failure_id": ["a", "b", "c", "d", "e"], "failure_type": [2, 1, 2, 2, 0]}
    failures["failure_reason"] = [1, 5, 1, 20, 0]
    texts = ["550 5.1.1 no such user", "452 4.2.2 full", "552 5.2.2 full", "550 <b>refused</b>", "?"]
    ids = ["a", "b", "b", "c", "d", "d", "e", None]
    messages = {
        "delivery_id": ["7"] * 8,
        "message_id": [str(n) for n in range(8)],
        "failure_id": ids,
        "status": ["failed"] * 7 + ["delivered"],
        "failure_reason": [1, 5, 5, 1, 20, 20, 0, None],
    }
    events = {"delivery_id": ["7"] * 2, "message_id": ["5"] * 2, "event_type": ["bounced", "bounced"]}
    events |= {"smtp_status": ["4.7.1", "5.7.1"], "diagnostic": [None, None], "occurred_at": [1, 2]}
    schema = {"smtp_status": pl.String, "diagnostic": pl.String}
    frames = {
        "message": pl.LazyFrame(messages),
        "failure": pl.LazyFrame(failures | {"first_text": texts}),
        "event": pl.LazyFrame(events, schema_overrides=schema),
    }
    return Snapshot(frames)


def test_axes_by_hand() -> None:
    assert tk.bounces.axes(_store(), "7").rows() == [
        (P, "address", 1, 7, 1 / 7, ["5.1.1"], 1, 0, []),
        (P, "mailbox", 1, 7, 1 / 7, ["5.2.2"], 0, 1, ["User unknown"]),
        (P, "policy", 1, 7, 1 / 7, ["5.7.1"], 1, 0, []),  # by its last bounce, which knows more than the text
        (P, "unclassified", 1, 7, 1 / 7, ["550"], 0, 0, []),
        (T, "mailbox", 2, 7, 2 / 7, ["4.2.2"], 2, 0, []),
        (U, "unclassified", 1, 7, 1 / 7, [], 0, 0, []),
    ]


def test_nothing_known_and_nothing_failed() -> None:
    none = tk.bounces.axes(Snapshot({"event": pl.LazyFrame({"delivery_id": ["7"]})}), "7")
    assert none.height == 1 and none.row(0) == (None,) * 9
    store = _store()
    fine = Snapshot(dict(store.frames) | {"message": store.scan("message").with_columns(status=pl.lit("delivered"))})
    assert tk.bounces.axes(fine, "7").height == 0


def test_analysts_may_change_the_list(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "reports_templates"
    folder.mkdir()
    shipped = Path("reports_templates/bounce_causes.toml").read_text("utf-8")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "trackkit.toml").touch()
    path = folder / "bounce_causes.toml"
    path.write_text(shipped.replace('"2.2" = { cause = "mailbox"', '"2.2" = { cause = "system"'))
    assert cause_list().codes["2.2"].cause == "system"
    path.write_text(shipped.replace("words = '\\b(not connected)\\b'", "words = '('"))
    with pytest.raises(RequestError, match="is no pattern"):
        cause_list()
    path.write_text(shipped.replace('cause = "mailbox", reasons = [4, 5]', 'cause = "mailbax", reasons = [4, 5]'))
    with pytest.raises(RequestError, match="mailbox"):
        cause_list()
