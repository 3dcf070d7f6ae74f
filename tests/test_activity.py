"""People, proxies and scanners: hits written by hand, and who was behind each; an unknown one stays a person's.

Messages are delivered at START unless they say otherwise; `verdicts` gives the activity and the rule of each hit.
"""

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tests.test_pieces import cut_small
from tests.test_store import START, Row, add, assert_same, contents, message_of, open_of
from trackkit import resources, schema
from trackkit.engine.measure import measure
from trackkit.engine.snapshot import Snapshot
from trackkit.errors import RequestError
from trackkit.rules import LIST, MEANINGS, Rules
from trackkit.store import open_store, reconcile
from trackkit.store.ranges import Range, are_in, ranges_of

HOURS = 3600.0
CHROME = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36"
)
GMAIL = "Mozilla/5.0 (Windows NT 5.1; rv:11.0) Gecko Firefox/11.0 (via ggpht.com GoogleImageProxy)"
AHEAD = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/42.0.2311.135 "
    "Safari/537.36 Edge/12.246 Mozilla/5.0"
)
YAHOO = "YahooMailProxy; https://help.example/"
LINKS = [{"link_id": str(number), "type_code": 1} for number in range(2, 9)] + [{"link_id": "9", "type_code": 3}]


def opened(seconds: float, agent: str | None = CHROME, message: str | None = "m", **more: Any) -> Row:
    return open_of(f"o{message}{seconds}", "7", message, seconds, user_agent=agent, collapse_seconds=0) | more


def clicked(seconds: float, link: int = 2, agent: str | None = CHROME, message: str | None = "m", **more: Any) -> Row:
    row = open_of(f"c{message}{link}{seconds}", "7", message, seconds, user_agent=agent, link_id=str(link))
    return row | {"reported_type": None} | more


def burst(seconds: float, links: Sequence[int], message: str = "m", pace: float = 0.5, **more: Any) -> list[Row]:
    return [clicked(seconds + place * pace, link, message=message, **more) for place, link in enumerate(links)]


def verdicts(folder: Path, *rows: Row, messages: Sequence[Row] = ()) -> list[tuple[str | None, str | None]]:
    """The activity and the rule of each hit, in the order given."""
    stored = list(messages) or [
        message_of(name, "7") for name in sorted({row["message_id"] or "" for row in rows} - {""})
    ]
    add(folder, event=list(rows), message=stored, link=LINKS)
    events = open_store(folder).scan("event").select("event_id", *schema.ACTIVITY).collect()
    found = {name: (activity, rule) for name, activity, rule in events.iter_rows()}
    return [found[row["event_id"]] for row in rows]


def test_proxies_are_recognised_before_any_list_of_bots(tmp_path: Path) -> None:
    """Lists of bots hold Gmail's proxy and not Apple's: what they say is the opposite of what is true."""
    agents = [GMAIL, YAHOO, "Mozilla/5.0", AHEAD, "python-requests/2.32.3", CHROME]
    rows = [opened(HOURS + place, agent) for place, agent in enumerate(agents)]
    expected = [("proxy", "O3"), ("proxy", "O5"), ("proxy", "O1"), ("proxy", "O4"), ("scanner", "C4"), ("human", None)]
    assert verdicts(tmp_path, *rows) == expected
    # Gmail's and Yahoo's proxies carry a person, as the sixth does; Apple's prefetch is nobody.
    store = open_store(tmp_path)
    assert measure(store, "total_opens", [], activity="human").item() == 3
    assert measure(store, "total_opens", []).item() == 6
    assert measure(store, "delivered", [], activity="human").item() == measure(store, "delivered", []).item() == 1


def test_gmails_proxy_is_no_scanner_whatever_is_beside_it(tmp_path: Path) -> None:
    rows = [opened(2, GMAIL), *burst(3, range(2, 9))]
    found = verdicts(tmp_path, *rows)
    assert found[0] == ("proxy", "O3") and set(found[1:]) == {("scanner", "C2")}


def test_apples_prefetch_is_exactly_that_user_agent_and_never_a_click(tmp_path: Path) -> None:
    iphone = (
        "Mozilla/5.0 (iPhone; CPU iPhone OS 26_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148"
    )
    rows = [opened(HOURS, iphone), opened(HOURS + 1, "Mozilla/5.0 "), clicked(2 * HOURS, agent="Mozilla/5.0")]
    assert verdicts(tmp_path, *rows) == [("human", None)] * 3


def test_a_desktop_client_that_opens_and_clicks_at_once_is_a_person(tmp_path: Path) -> None:
    rows = [opened(HOURS, ip="192.0.2.7"), clicked(HOURS + 0.02, ip="192.0.2.7")]
    assert verdicts(tmp_path, *rows) == [("human", None)] * 2


def test_a_click_without_an_open_is_a_person(tmp_path: Path) -> None:
    assert verdicts(tmp_path, clicked(HOURS)) == [("human", None)]


def test_neither_of_these_two_is_a_rule() -> None:
    """A click without an open, an open and a click at the same instant: no rule reads one kind of hit for the other."""
    assert not {"X1", "X2"} & ({*MEANINGS} | {*Rules.model_fields})
    assert {*MEANINGS} == {*Rules.model_fields} - {"enough"}


def test_most_links_within_seconds_are_a_scanner(tmp_path: Path) -> None:
    """Eight links were clicked by anybody, so 7 (80 % of 8, rounded up) within ten seconds are a burst; 6 are not."""
    others = [clicked(9 * HOURS, link, message="all") for link in (8, 9)]
    scanned = burst(HOURS, [2, 3, 4, 5, 6, 7, 9], "scanned")
    hurried = burst(HOURS, [2, 3, 4, 5, 6, 7], "hurried")
    slow = burst(HOURS, [2, 3, 4, 5, 6, 7, 9], "slow", pace=2)  # twelve seconds from the first to the last
    found = verdicts(tmp_path, *scanned, *hurried, *slow, *others)
    assert found[:7] == [("scanner", "C2")] * 6 + [("scanner", "C8")]  # the opt-out is no wish of the recipient
    assert set(found[7:]) == {("human", None)}


def test_a_window_slides_and_leaves_what_is_beside_it(tmp_path: Path) -> None:
    """A person's click a minute before and after the burst stays a person's."""
    rows = [clicked(HOURS - 60, 3), *burst(HOURS, [2, 3, 4, 2, 2]), clicked(HOURS + 60, 2)]
    assert verdicts(tmp_path, *rows) == [("human", None), *[("scanner", "C2")] * 5, ("human", None)]


def test_one_link_clicked_again_and_again_is_no_burst(tmp_path: Path) -> None:
    rows = burst(HOURS, [2] * 9)
    assert set(verdicts(tmp_path, *rows)) == {("human", None)}
    two = burst(HOURS, [2, 3] * 4)
    assert set(verdicts(tmp_path / "two", *two)) == {("human", None)}


def test_a_click_seconds_after_its_own_sending_is_a_scanner(tmp_path: Path) -> None:
    """Messages a to e are sent a minute apart; 10 s are the limit, and a click before the sending proves nothing."""
    messages = [message_of(name, "7", status_at=START + timedelta(minutes=place)) for place, name in enumerate("abcde")]
    waits = [9.5, 10.5, -5, HOURS]
    rows = [
        clicked(place * 60 + wait, message=name) for place, (name, wait) in enumerate(zip("abcd", waits, strict=True))
    ]
    found = verdicts(tmp_path, *rows, messages=messages)
    assert found == [("scanner", "C1"), *[("human", None)] * 3]


def test_instants_of_batches_and_of_deliveries_prove_little(tmp_path: Path) -> None:
    """Twelve messages of one instant, alone in an hour, were stamped together: a click seconds later is weak."""
    batch = [message_of(f"b{number}", "7") for number in range(12)]
    alone = message_of("x", "7", status_at=START + timedelta(hours=1))
    rows = [clicked(3, message="b1"), clicked(HOURS + 3, message="x")]
    assert verdicts(tmp_path, *rows, messages=[*batch, alone]) == [("human", None), ("scanner", "C1")]
    # A sending instant borrowed from the delivery is none of the message's own.
    delivery = {"delivery_id": "7", "started_at": START}
    people = [{"recipient_id": "r", "email": "a@post.example"}]
    add(
        tmp_path / "bare", event=[clicked(3)], link=LINKS, delivery=[delivery], recipient=people,
        message=[{"delivery_id": "7", "message_id": "m", "status_code": 1, "recipient_id": "r"}],
    )  # fmt: skip
    bare = open_store(tmp_path / "bare")
    assert bare.scan("message").collect()["status_at"].to_list() == [START]
    assert bare.scan("event").collect()["activity"].to_list() == ["human"]


def office(
    count: int, wait: float, first: str = "192.0.2.", domain: str = "office.example"
) -> tuple[list[Row], list[Row]]:
    """Clicks of colleagues from one network, each so many seconds after its own message; messages are 12 s apart."""
    messages = [
        message_of(f"n{n}", "7", status_at=START + timedelta(seconds=12 * n), address=f"p{n}@{domain}")
        for n in range(count)
    ]
    rows = [clicked(12 * n + wait, message=f"n{n}", ip=f"{first}{n + 1}") for n in range(count)]
    return messages, rows


def test_colleagues_behind_one_address_are_people(tmp_path: Path) -> None:
    """Many click within minutes from one network, an hour after sending: an office, not a scanner."""
    messages, rows = office(8, HOURS)
    assert set(verdicts(tmp_path, *rows, messages=messages)) == {("human", None)}


def test_a_network_that_clicks_for_many_half_a_minute_after_sending_is_a_scanner(tmp_path: Path) -> None:
    """Thirty seconds are weak evidence, and one network for five of a domain is too: together they are enough."""
    messages, rows = office(5, 30)
    assert set(verdicts(tmp_path, *rows, messages=messages)) == {("scanner", "C7")}
    messages, rows = office(4, 30)
    assert set(verdicts(tmp_path / "four", *rows, messages=messages)) == {("human", None)}
    messages, rows = office(5, 30)
    nowhere = [row | {"ip": None} for row in rows]
    assert set(verdicts(tmp_path / "hidden", *nowhere, messages=messages)) == {("human", None)}


def test_an_open_seconds_after_sending_is_weak_and_needs_a_scanners_click(tmp_path: Path) -> None:
    messages = [message_of(name, "7", status_at=START + timedelta(minutes=n)) for n, name in enumerate("ab")]
    rows = [
        opened(2, message="a"),
        opened(62, message="b"),
        *burst(64, [2, 3, 4], "b"),
        opened(62 + HOURS, message="b"),
    ]
    found = verdicts(tmp_path, *rows, messages=messages)
    assert found == [("human", None), ("scanner", "O6"), *[("scanner", "C2")] * 3, ("human", None)]


@pytest.mark.parametrize(
    ("row", "verdict"),
    [
        (opened(HOURS, is_machine=True, machine_reason="apple"), ("proxy", "V1")),
        (opened(HOURS, is_machine=True), ("proxy", "V1")),
        (opened(HOURS, is_machine=True, machine_reason="generic"), ("scanner", "V2")),
        (opened(HOURS, "Mozilla/5.0", is_machine=True, machine_reason="sg_machine_open"), ("proxy", "O1")),
        (opened(HOURS, "Mozilla/5.0", is_machine=False), ("human", None)),
        (opened(HOURS, GMAIL, is_machine=False), ("proxy", "O3")),
        (opened(HOURS, GMAIL, is_machine=True, machine_reason="gmail"), ("proxy", "O3")),
        (opened(HOURS, GMAIL, is_machine=True, machine_reason="generic"), ("proxy", "O3")),
        (opened(HOURS, GMAIL, is_machine=True, machine_reason="prefetched"), ("proxy", "V1")),
        (clicked(HOURS, is_machine=True, machine_reason="bot_click"), ("scanner", "V2")),
        (clicked(HOURS, is_machine=True, machine_reason="apple"), ("scanner", "V2")),
        (clicked(3, is_machine=False), ("human", None)),
        (clicked(3), ("scanner", "C1")),
    ],
)  # fmt: skip
def test_the_senders_word_is_taken_and_silence_is_left_to_the_rules(
    tmp_path: Path, row: Row, verdict: tuple[str, str | None]
) -> None:
    assert verdicts(tmp_path, row) == [verdict]


def test_what_is_no_hit_has_no_activity(tmp_path: Path) -> None:
    sent = open_of("s", "7", "m", reported_type="delivered")
    assert verdicts(tmp_path, sent, opened(HOURS)) == [(None, None), ("human", None)]


def test_hashes_of_exports_are_read_by_the_platforms_names_and_nothing_is_guessed(tmp_path: Path) -> None:
    agents = [
        {"user_agent": "11", "browser": "Mozilla", "browser_version": "5"},
        {"user_agent": "-12", "browser": "Firefox", "browser_version": "11", "operating_system": "Windows XP"},
        {"user_agent": "13", "browser": "Unknown"},
    ]
    rows = [opened(HOURS + place, agent) for place, agent in enumerate(["11", "-12", "13", None])]
    add(tmp_path, event=rows, message=[message_of("m", "7")], link=LINKS, user_agent=agents)
    found = open_store(tmp_path).scan("event").sort("occurred_at").select(*schema.ACTIVITY).collect().rows()
    assert found == [("proxy", "O1"), ("proxy", "O3"), ("human", None), ("human", None)]


# ---- rules that need the user's files ----


def with_rules(folder: Path, monkeypatch: pytest.MonkeyPatch, *changes: tuple[str, str]) -> None:
    """Work in a folder with a changed copy of the rules."""
    text = resources.find(LIST).read_text("utf-8")
    for old, new in changes:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    (folder / "reports_templates").mkdir(parents=True)
    (folder / LIST).write_text(text, "utf-8")
    monkeypatch.chdir(folder)
    (folder / "trackkit.toml").touch()


def test_apples_ranges_are_the_users_dated_file_and_never_for_clicks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "apple.csv").write_text("172.224.224.0/27,GB,GB-EN,London,\n2a02:26f7:c9c8::/45,US,,,\n")
    safari = CHROME.replace("Chrome/142.0.0.0", "Version/26.0")
    rows = [
        opened(HOURS, ip="172.224.224.31"), opened(HOURS + 1, ip="172.224.224.32"),
        opened(HOURS + 2, ip="2a02:26f7:c9c8:1::1"),
        opened(HOURS + 3, safari, ip="172.224.224.1"), clicked(HOURS + 4, ip="172.224.224.1"), opened(HOURS + 5),
    ]  # fmt: skip
    assert set(verdicts(tmp_path / "without", *rows)) == {("human", None)}
    with_rules(tmp_path, monkeypatch, ('file = ""', 'file = "apple.csv"\nas_of = 2026-11-01'))
    person, apple = ("human", None), ("proxy", "O2")
    assert verdicts(tmp_path / "with", *rows) == [apple, person, apple, person, person, person]


def test_a_file_of_ranges_has_a_date(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with_rules(tmp_path, monkeypatch, ('file = ""', 'file = "apple.csv"'))
    with pytest.raises(RequestError, match="key 'O2': ranges change: give the date of the file"):
        verdicts(tmp_path / "store", opened(HOURS))


def test_ranges_hold_what_lies_in_them(tmp_path: Path) -> None:
    file = tmp_path / "ranges.txt"
    file.write_text("# scanners\n192.0.2.0/25\n192.0.2.64/26\n\n198.51.100.0/23 # two\n2001:db8::/32\n")
    ranges = ranges_of(str(file))
    assert ranges is not None and ranges[0] == (Range(0xC0000200, 0xC000027F), Range(0xC6336400, 0xC63365FF))
    # 192.0.2.0 may be any address of its /24, of which only half is in the range; that of 198.51.100.0 is whole.
    addresses = ["192.0.2.127", "192.0.2.128", "192.0.2.0", "198.51.100.0", "198.51.102.1", "2001:db8:1::", "x", None]
    assert are_in(pl.Series(addresses), ranges).to_list() == [True, False, False, True, False, True, False, False]
    file.write_text("192.0.2.0/24\nnonsense\n")
    with pytest.raises(RequestError, match="line 2: 'nonsense' is no range"):
        ranges_of(str(file))


def test_networks_of_scanners_decide_and_data_centres_need_a_second_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "vendor.txt").write_text("203.0.113.0/24\n")
    (tmp_path / "cloud.txt").write_text("198.51.100.0/24\n")
    with_rules(
        tmp_path,
        monkeypatch,
        ('scanners = ""', 'scanners = "vendor.txt"'),
        ('datacentres = ""', 'datacentres = "cloud.txt"'),
    )
    rows = [
        clicked(HOURS, message="v", ip="203.0.113.9"), clicked(HOURS, message="d", ip="198.51.100.9"),
        clicked(HOURS, message="two", ip="198.51.100.9"), clicked(HOURS + 4, 3, message="two", ip="192.0.2.1"),
    ]  # fmt: skip
    assert verdicts(tmp_path / "store", *rows) == [
        ("scanner", "C5"),
        ("human", None),
        ("scanner", "C6"),
        ("human", None),
    ]


def test_a_link_that_no_reader_sees_betrays_the_clicks_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_rules(tmp_path, monkeypatch, ("links = []", 'links = ["8"]'))
    rows = [
        clicked(HOURS, 8, ip="192.0.2.1"), clicked(HOURS + 9, 2, ip="192.0.2.1"),
        clicked(HOURS + 2, 3, ip="192.0.2.99"),
        clicked(HOURS + 11, 4, ip="192.0.2.1"), clicked(HOURS, 2, message="other", ip="192.0.2.1"),
    ]  # fmt: skip
    assert verdicts(tmp_path / "store", *rows) == [*[("scanner", "C3")] * 2, *[("human", None)] * 3]


# ---- loads, stores and questions ----


def test_pieces_and_late_loads_come_to_what_the_whole_comes_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Evidence from over the whole delivery: links hit by others, instants of batches, one network for many."""
    messages, rows = office(6, 30)
    rows += [
        *burst(HOURS, [2, 3, 4, 5, 6, 7, 8], "scanned"),
        *burst(HOURS, [2, 3, 4], "hurried"),
        opened(3, "Mozilla/5.0"),
    ]
    messages += [message_of(name, "7") for name in ("scanned", "hurried", "m")]
    add(tmp_path / "whole", event=rows, message=messages, link=LINKS)
    add(tmp_path / "late", event=rows[3:], message=messages[:4], link=LINKS)
    add(tmp_path / "late", event=rows[:3], message=messages[4:])
    with pytest.MonkeyPatch.context() as patched:
        cut_small(patched)
        add(tmp_path / "cut", event=rows, message=messages, link=LINKS)
    whole = contents(open_store(tmp_path / "whole"))
    found = whole["event"].group_by("activity_rule").len().sort("activity_rule", nulls_last=True).rows()
    assert found == [("C2", 7), ("C7", 6), ("O1", 1), (None, 3)]
    assert_same(contents(open_store(tmp_path / "cut")), whole)
    assert (
        contents(open_store(tmp_path / "late"))["event"]
        .select(schema.ACTIVITY)
        .equals(whole["event"].select(schema.ACTIVITY))
    )


def unmarked(tables: Snapshot) -> Snapshot:
    """The same tables as a store written before had them."""
    nothing = [pl.lit(None, schema.EVENT.schema[name]).alias(name) for name in schema.ACTIVITY]
    return Snapshot({**tables.frames, "event": tables.scan("event").with_columns(nothing)})


def test_a_store_written_before_is_read_and_says_what_to_do(tmp_path: Path) -> None:
    verdicts(tmp_path, opened(HOURS, GMAIL), clicked(3))
    store = open_store(tmp_path)
    old = unmarked(store.snapshot())
    lacking = Snapshot({"event": store.scan("event").drop(schema.ACTIVITY)})
    assert measure(old, ["total_opens", "total_clicks"]).equals(measure(store, ["total_opens", "total_clicks"]))
    for tables in (old, lacking):
        for asked in ({"activity": "human"}, {"by": "activity"}, {"where": "activity_rule = 'C1'"}):
            with pytest.raises(RequestError, match=r"hits of 1 deliveries is unknown \(7 .*`trackkit store mark"):
                measure(tables, "total_clicks", **asked)  # type: ignore[arg-type]
    with pytest.raises(RequestError, match="There is no activity 'humans'"):
        measure(store, "total_clicks", activity="humans")


def test_a_filter_by_activity_is_that_of_any_breakdown(tmp_path: Path) -> None:
    verdicts(tmp_path, opened(HOURS, GMAIL), opened(HOURS + 1, "Mozilla/5.0"), clicked(3), clicked(HOURS, 4))
    store, names = open_store(tmp_path), ["total_opens", "total_clicks", "unique_opens"]
    by_rule = measure(store, names, ["activity", "activity_rule"]).rows()
    assert by_rule == [
        ("human", None, 0, 1, 1), ("proxy", "O1", 1, 0, 1), ("proxy", "O3", 1, 0, 1), ("scanner", "C1", 0, 1, 1)
    ]  # fmt: skip
    assert measure(store, names, [], where="activity = 'scanner'").row(0) == (0, 1, 1)
    assert measure(store, names, [], activity="human").row(0) == (1, 1, 1)
    assert measure(store, names, [], where="activity = 'scanner'", activity="human").row(0) == (0, 0, 0)
    assert measure(store, names, activity="human").row(0) == ("7", 1, 1, 1)


def test_a_store_written_before_is_marked_where_it_lies(tmp_path: Path) -> None:
    rows = [opened(HOURS, GMAIL), *burst(HOURS, [2, 3, 9]), clicked(2 * HOURS)]
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(reconcile, "with_activity", lambda events, messages: events)
        add(tmp_path / "old", event=rows, message=[message_of("m", "7")], link=LINKS)
    add(tmp_path / "new", event=rows, message=[message_of("m", "7")], link=LINKS)
    old = open_store(tmp_path / "old")
    with pytest.raises(RequestError, match="`trackkit store mark"):
        measure(old, "total_opens", activity="human")
    assert (old.mark(), old.mark()) == (1, 0)
    assert_same(contents(old), contents(open_store(tmp_path / "new")))
    assert measure(old, "total_clicks", [], activity="human").item() == 1
