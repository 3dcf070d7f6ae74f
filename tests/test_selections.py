"""Analyses over one delivery, several, or all: by hand over small deliveries, and against SQL over a random instance.

By hand: "1" and "2" repeat message ids, links alike and a browser, and share a recipient; of "3", all text, no open can
be known; "4" is older; "9" is a proof. Nothing of "2" is wrong if it is told by the message id or the launch of "1".
"""

from datetime import UTC, datetime

import duckdb
import polars as pl
import pytest
from polars.testing import assert_frame_equal

import trackkit as tk
from tests.instance import write_instance
from tests.spec.golden import at, hit, tables
from tests.test_sql import VIEWS
from trackkit.analysis import caveats, counters, unseen
from trackkit.analysis.consent import consent_counts, with_consent
from trackkit.engine.deliveries import comparable
from trackkit.engine.snapshot import Snapshot
from trackkit.errors import RequestError
from trackkit.quality import quality
from trackkit.schema import MESSAGE

TWO, ALL = ["1", "2"], (None, "")
SHOP, THANKS = "https://shop.example/", "https://shop.example/thanks"
LINKS = {
    "1": (None, 2, "Open", None),
    "11": ("1", 1, "Home", SHOP),
    "12": ("1", 1, "Offers", "https://shop.example/offers"),
    "13": ("1", 1, "Home", SHOP),
    "21": ("2", 1, "Home", SHOP),
    "31": ("3", 1, "Home", SHOP),
    "41": ("4", 1, "Home", SHOP),
    "90": (None, 5, "Thanks", THANKS),
    "91": ("9", 1, "Home", SHOP),
}


def _delivery(key: str, label: str, started_at: datetime, to_deliver: int, **more: object) -> dict[str, object]:
    return {
        **{"delivery_id": key, "label": label, "started_at": started_at, "contact_at": started_at, "typology_id": "1"},
        **{"message_type": 0, "state": 95, "is_proof": False, "is_model": False, "to_deliver": to_deliver},
        **{"targeted": to_deliver + 1, "rejected": 1, "text_messages": 0},
        **more,
    }


def _message(delivery: str, key: str, recipient: str, when: datetime, failed: int | None = None) -> dict[str, object]:
    status = {"status": "delivered", "status_code": 1} if failed is None else {"status": "failed", "status_code": 2}
    return {
        **{"delivery_id": delivery, "message_id": key, "recipient_id": recipient, "status_at": when, "is_seed": False},
        **{"failure_reason": failed, "domain": f"{recipient[0]}.example", "is_implied": False},
        **status,
    }


def _hit(number: int, delivery: str, message: str, when: datetime, link: str, person: str = "", **more: object):
    recipient = next(
        row["recipient_id"] for row in MESSAGES if (row["delivery_id"], row["message_id"]) == (delivery, message)
    )
    about = {"delivery_id": delivery, "recipient_id": recipient, "person_id": person or None, "activity": "human"}
    about |= {"domain": f"{recipient[0]}.example", "browser": "Firefox", "device": "PC", "has_messages": True}
    return hit(number, when, message, link, LINKS, **{**about, **more})


DELIVERIES = [
    _delivery("1", "Spring", at(10), 3, message_size=1_000),
    _delivery("2", "Summer", at(12), 2, rejected=2, message_size=2_000, state=55),
    _delivery("3", "Text", at(10, day=21), 3, text_messages=3),
    _delivery("4", "Winter", datetime(2012, 1, 20, 10, tzinfo=UTC), 1),
    _delivery("9", "Proof", at(9), 1, is_proof=True),
]
MESSAGES = [
    _message("1", "1", "a1", at(10)),
    _message("1", "2", "b2", at(12)),
    _message("1", "3", "b3", at(13), failed=1),
    _message("2", "1", "a1", at(12)),
    _message("2", "2", "a4", at(12, 30)),
    _message("3", "1", "c5", at(10, day=21)),
    _message("3", "2", "a1", at(10, day=21)),
    _message("3", "3", "c6", at(10, 1, day=21), failed=5),
    _message("4", "1", "b7", datetime(2012, 1, 20, 10, tzinfo=UTC)),
    _message("9", "1", "c9", at(9)),
]
RECIPIENTS = {(row["delivery_id"], row["message_id"]): str(row["recipient_id"]) for row in MESSAGES}
OLD = datetime(2012, 1, 20, 11, tzinfo=UTC)
EVENTS = [
    _hit(1, "1", "1", at(10, 5), "1"),
    _hit(2, "1", "1", at(10, 10), "11", "px"),
    _hit(3, "1", "1", at(10, 15), "13", "px"),
    _hit(4, "1", "2", at(10, 30), "1"),
    _hit(5, "1", "1", at(11, 30), "90", "px", amount=5.0, currency="EUR"),
    _hit(6, "2", "1", at(12, 5), "1"),
    _hit(7, "2", "1", at(12, 10), "21", "px"),
    _hit(8, "2", "2", at(14), "21", "py", activity="scanner", activity_rule="C4"),
    _hit(9, "2", "1", at(15), "90", "px", amount=7.0, currency="EUR"),
    _hit(10, "3", "1", at(10, 20, day=21), "31", "pz"),
    _hit(11, "4", "1", OLD, "1"),
    _hit(12, "4", "1", OLD, "41", "pw"),
    _hit(13, "9", "1", at(9, 5), "91", "pv"),
    *(
        {"delivery_id": key, "message_id": "3", "event_type": "bounced", "smtp_status": status, "occurred_at": when,
         "is_seed": False, "has_messages": True, "event_id": f"b{key}"}
        for key, status, when in (("1", "5.1.1", at(13)), ("3", "5.2.2", at(11, day=21)))
    ),
]  # fmt: skip


@pytest.fixture(scope="module")
def given() -> Snapshot:
    links = [
        {
            "link_id": key,
            "delivery_id": owner,
            "type_code": code,
            "label": label,
            "url": url,
            "occurrence": 2 if key == "13" else 1,
        }
        for key, (owner, code, label, url) in LINKS.items()
    ]
    excluded = [
        {"delivery_id": delivery, "recipient_id": recipient, "rule": "Too many"}
        for delivery, recipient in (("1", "e1"), ("1", "e2"), ("2", "e1"), ("9", "e1"))
    ]
    return tables(delivery=DELIVERIES, message=MESSAGES, event=EVENTS, link=links, exclusion=excluded,
                  recipient=[], web_event=[], page_hit=[])  # fmt: skip


# ---- which deliveries ----


def test_nothing_named_is_all_that_count_and_an_empty_list_is_refused(given):
    by_id = tk.measure(given, "total_clicks")
    assert dict(by_id.select("delivery_id", "total_clicks").iter_rows()) == {"1": 2, "2": 2, "3": 1, "4": 1}
    for everything in ALL:
        assert tk.measure(given, "total_clicks", by=[], delivery=everything)["total_clicks"].item() == 6
    assert (
        tk.measure(given, "total_clicks", by=[], delivery=["9", "1", "1"])["total_clicks"].item() == 3
    )  # a named proof
    with pytest.raises(RequestError, match="list of ids is empty"):
        tk.measure(given, "total_clicks", delivery=[])


ASKS = [
    tk.bounces.bounces, tk.bounces.axes, tk.bounces.failures, tk.sending.exclusions, tk.sending.throughput,
    tk.sending.pace, tk.links.link_clicks, tk.links.clicks_per_day, tk.links.tracked_links, tk.links.click_figures,
    tk.clickmap.named_links, tk.clickmap.link_names, tk.curves.pareto, tk.curves.activity,
    tk.curves.cumulative_activity, tk.activities.folded_activity, tk.activities.weekly_activity,
    tk.activities.activity_over_time, tk.sharing.social_sharing, tk.sharing.sharing_activity, tk.machines.people,
    tk.machines.funnel, tk.machines.by_domain, tk.machines.opt_outs,
    tk.machines.opt_outs_together, tk.machines.band, tk.definitions.side_by_side,
    tk.complaints.rates, tk.counters.compare, tk.overview.funnel, tk.logs.tracking_log, tk.logs.clicked_urls,
    tk.messages.messages, tk.messages.statuses, tk.messages.count, tk.messages.excluded, tk.messages.count_excluded,
    tk.logs.count, tk.links.late_clicks, tk.clickmap.offer_links, tk.reactions.breakdown, tk.reactions.kinds,
    caveats.limits, quality,
    lambda given, ids: tk.audience.usage(given, "browser", ids),
    lambda given, ids: tk.audience.opens_by(given, "device", ids),
    lambda given, ids: tk.audience.history(given, "browser", ids),
    lambda given, ids: tk.audience.weekly(given, "browser", ids),
    lambda given, ids: tk.audience.versions(given, "browser", ids),
    lambda given, ids: tk.curves.time_to_first(given, "opened", ids),
    lambda given, ids: tk.web.attribute_web(given, delivery=ids),
    lambda given, ids: tk.story.timeline(given, delivery=ids),
    lambda given, ids: tk.usual.usual(given, ["total_opens"], ids),
    lambda given, ids: tk.usual.totals(given, ["total_opens"], ids),
    lambda given, ids: unseen.together(given, ["total_opens"], ids),
]  # fmt: skip


@pytest.mark.parametrize("ask", ASKS)
def test_a_list_of_one_is_that_one_and_an_empty_one_or_an_unknown_id_is_refused(given, ask):
    of_list, of_one = ask(given, ["1"]), ask(given, "1")
    if isinstance(of_one, pl.DataFrame):
        assert_frame_equal(of_list, of_one, check_row_order=False)
    assert isinstance(of_one, pl.DataFrame) or of_list == of_one
    for wrong, words in (([], "empty|say which"), (["1", "111"], "There is no delivery '111'")):
        with pytest.raises(RequestError, match=words):
            ask(given, wrong)


def test_messages_and_those_left_out_are_listed_of_several_and_of_all(given):
    words = ("row", "status", "messages", "share")
    assert tk.messages.statuses(given, TWO).select(words).rows() == [
        ("status", "Sent", 4, 0.8), ("status", "Failed", 1, 0.2), ("total", None, 5, 1.0),
    ]  # fmt: skip
    assert [tk.messages.count(given, of) for of in (TWO, None, "9")] == [5, 9, 1]  # a proof counts if it is named
    assert tk.messages.count(given, TWO, status="Sent") == 4
    newest = tk.messages.messages(given, None, limit=2, columns=["document", "recipient_id"], order="-status_at")
    assert newest.rows() == [("Text", "c6"), ("Text", "c5")]
    left_out = tk.messages.excluded(given, TWO, columns=["recipient_id", "document"])
    assert left_out.rows() == [("e1", "Spring"), ("e1", "Summer"), ("e2", "Spring")]
    assert [tk.messages.count_excluded(given, of) for of in (TWO, None, ["1", "9"])] == [3, 3, 3]
    with pytest.raises(RequestError, match="or give a limit"):
        tk.messages.excluded(given)


def test_reactions_of_several_are_those_of_each_message(given):
    assert tk.reactions.breakdown(given, TWO)["recipients"].to_list() == [2, 1, 1, 0, 4]
    assert tk.reactions.breakdown(given, None)["recipients"].to_list() == [2, 3, 1, 1, 7]  # c5, b7 clicked; a1 of Text
    kinds = tk.reactions.kinds(given, TWO).select("reaction", "recipients", "hits").rows()
    assert kinds[:2] == [("Open or any other reaction", 4, 9), ("Email click", 3, 4)]


def test_hits_of_several_are_narrowed_together(given):
    clicks = tk.links.tracked_links(given, TWO, type="Email click")
    assert clicks.select("label", "clicks", "recipients", "total").rows() == [("Home", 4, 3, 4)]
    assert tk.logs.count(given, TWO, type="Email click") == 4
    log = tk.logs.tracking_log(given, None, None, ["document"], 2, type="clicked", until="2012-02-02")
    assert log["document"].to_list() == ["Winter"]


def test_a_page_hit_in_several_deliveries_ends_when_each_says():
    ends = {"1": at(11), "2": at(12, 5)}
    given = tables(
        delivery=[row | {"web_validity_at": ends.get(str(row["delivery_id"]))} for row in DELIVERIES],
        message=MESSAGES,
        event=EVENTS,
    )
    late = tk.links.late_clicks(given, TWO)
    assert late.select("link_id", "valid_until", "clicks", "late").rows() == [
        ("21", ends["2"], 2, 2), ("90", ends["1"], 1, 1), ("90", ends["2"], 1, 1), ("11", ends["1"], 1, 0),
        ("13", ends["1"], 1, 0), (None, None, 6, 4),
    ]  # fmt: skip


def test_messages_are_added_and_people_counted_again(given):
    figures = tk.measure(given, ["unique_clicks", "unique_people_clicks", "delivered"], by=[], delivery=TWO).row(0)
    assert figures == (3, 2, 4)  # px clicked in both


# ---- sending and bounces ----


def test_bounces_and_what_servers_said_keep_to_their_delivery(given):
    rows = tk.bounces.bounces(given, ["1", "3"]).filter(pl.col("errors") > 0)
    assert rows.select("row", "type", "domain", "errors", "breakdown_of").rows() == [
        ("group", "User unknown", None, 1, 6), ("group", "Inbox full", None, 1, 6),
        ("detail", "User unknown", "b.example", 1, 6), ("detail", "Inbox full", "c.example", 1, 6),
        ("total", None, None, 2, 6),
    ]  # fmt: skip
    # Message 3 of "1" and message 3 of "3" bounced for reasons of their own.
    said = tk.bounces.axes(given, ["1", "3"])
    assert said.select("permanence", "cause", "messages", "codes", "agree").rows() == [
        ("permanent", "address", 1, ["5.1.1"], 1), ("permanent", "mailbox", 1, ["5.2.2"], 1),
    ]  # fmt: skip
    assert tk.bounces.failures(given)["messages"].to_list() == [1, 1]


def test_exclusions_not_listed_are_found_for_each_delivery(given):
    # "1" lists two and states one: two. "2" lists one and states two: one is not listed.
    rows = tk.sending.exclusions(given, TWO)
    assert rows.select("row", "recipients", "rejected", "targeted").rows() == [
        ("rule", 3, 4, 7), ("unlisted", 1, 4, 7), ("total", 4, 4, 7)
    ]  # fmt: skip


def test_throughput_ends_with_each_delivery_and_weighs_its_messages(given):
    rows = tk.sending.throughput(given, TWO, "1h").select("starts_at", "series", "messages", "bits_per_second")
    assert rows.rows() == [
        (at(10), "success", 1, 1_000 * 8 / 3_600), (at(12), "success", 3, 5_000 * 8 / 3_600)
    ]  # the bounce of "1" came after its last success; two messages of "2" are 2,000 bytes each  # fmt: skip
    within = tk.sending.throughput(given, TWO, "1h", 1.5)
    assert within["messages"].to_list() == [1, 2]  # message 2 of "1" went out two hours after its launch
    assert tk.sending.throughput(given, ["1", "3"], "24h")["bits_per_second"].to_list()[-1] is None  # no size


def test_the_pace_of_several_is_over_the_hours_of_each(given):
    row = tk.sending.pace(given, TWO).row(0, named=True)
    assert (row["to_deliver"], row["processed"], row["sent"], row["busiest_hour"]) == (5, 5, 4, 3)
    assert (row["started_at"], row["last_at"], row["phase"]) == (at(10), at(12, 30), "running")
    assert row["messages_per_hour"] == 4 / 2.5  # 2 in two hours, 2 in half an hour
    assert row["validity_at"] is row["ends_at"] is row["outlook"] is None


# ---- links ----


def test_links_alike_are_one_and_hours_count_from_their_own_launch(given):
    clicks = tk.links.link_clicks(given, TWO).select("link", "clicks", "total")
    assert clicks.rows() == [("Home", 4, 6), ("Thanks", 2, 6), ("Others", 0, 6), ("Total", 6, 6)]
    within = tk.links.link_clicks(given, TWO, hours=1).select("link", "clicks")
    assert within.rows()[0] == ("Home", 3) and within.rows()[-1] == ("Total", 3)
    in_message = tk.links.link_clicks(given, TWO, in_message=True).select("link", "clicks", "total")
    assert in_message.rows() == [("Home", 4, 4), ("Others", 0, 4), ("Total", 4, 4)]  # Thanks is a page of the site
    by_day = tk.links.clicks_per_day(given).filter(pl.col("row") == "link").select("day", "link", "clicks")
    assert [(day.day, *row) for day, *row in by_day.rows()] == [
        (20, "Home", 1),
        (20, "Home", 4),
        (20, "Thanks", 2),
        (21, "Home", 1),
    ]


def test_tracked_links_of_several_count_their_recipients_again(given):
    rows = tk.links.tracked_links(given, TWO).select("link_id", "label", "clicks", "recipients", "total")
    assert rows.rows() == [
        (None, "Home", 4, 3, 6),  # message 1 of "1" clicked two links alike; message 1 of "2" is another
        ("90", "Thanks", 2, 2, 6),
        ("12", "Offers", 0, 0, 6),
    ]
    assert tk.clickmap.named_links(given, TWO).equals(tk.links.tracked_links(given, TWO))


def test_links_of_several_are_told_apart_by_their_delivery(given):
    names = tk.clickmap.link_names(given, TWO)
    assert dict(names.iter_rows()) == {
        "11": "Home (Spring) (11)", "12": "Offers", "13": "Home (Spring) (13)", "21": "Home (Summer)"
    }  # fmt: skip
    ranked = tk.links.link_clicks(given, TWO, by="link", names=names).select("link", "clicks")
    assert ranked.head(3).rows() == [("Home (Summer)", 2), ("Thanks", 2), ("Home (Spring) (11)", 1)]


def test_the_average_leaves_the_selection_out(given):
    assert comparable(given, "2")["delivery_id"].to_list() == ["4", "1"]
    assert comparable(given, TWO)["delivery_id"].to_list() == ["4"]
    columns = ("numerator", "denominator", "platform_average", "average_denominator", "deliveries")
    figures = tk.links.click_figures(given, TWO).filter(metric="click_rate").select(columns)
    assert figures.row(0) == (2, 4, 1.0, 1, 1)  # px and py of four; of "4" pw of one
    assert tk.links.click_figures(given).filter(metric="click_rate").select(columns).row(0) == (4, 7, None, 0, 0)


# ---- time, browsers, machines ----


def test_time_counts_from_the_launch_of_its_own_delivery(given):
    reached = tk.curves.time_to_reach(given, TWO, [0.5, 1]).filter(series="clicks")
    assert reached.select("shown", "reached", "total").rows() == [("20 min", 3, 4), ("2 h 10 min", 4, 4)]
    running = tk.curves.cumulative_activity(given, TWO, "1h").filter(series="clicks").select("hours", "cumulated")
    assert running.rows() == [(0, 0), (1, 3), (2, 3), (3, 4), (4, 4)]
    within = tk.curves.cumulative_activity(given, TWO, "1h", 1).filter(series="clicks")
    assert within["total"].to_list()[-1] == 3
    assert tk.curves.launched(given, TWO) == at(10) and tk.curves.every_launch(given, TWO) == [at(10), at(12)]
    first = tk.curves.time_to_first(given, "clicked", TWO).row(-1, named=True)
    assert (first["events"], first["messages"]) == (3, 4)


def test_activity_of_several_goes_by_the_clock(given):
    opens = tk.activities.folded_activity(given, TWO, "hour", series="opens").filter(pl.col("count") > 0)
    assert opens.select("slot", "count", "total").rows() == [(10, 2, 3), (12, 1, 3)]
    assert tk.activities.weekly_activity(given, TWO)["count"].sum() == 3 + 4 + 2
    assert tk.activities.activity_over_time(given, "", "day", series="clicks")["count"].to_list() == [1, 4, 1]
    assert tk.curves.activity(given, TWO, "24h").rows()[1][1:] == ("clicks", 4)


def test_visitors_are_messages_of_their_delivery(given):
    used = tk.audience.usage(given, "browser", TWO).filter(row="group").select("name", "visitors", "pages")
    assert used.rows() == [("Firefox", 3, 6)]
    assert tk.audience.opens_by(given, "device", TWO).select("name", "opens").row(0) == ("PC", 3)
    assert tk.audience.period(given, TWO).days == 1 and tk.audience.period(given).days == 33


def test_people_and_machines_over_several(given):
    row = tk.machines.people(given, TWO).filter(metric="recipient_click_rate").row(0, named=True)
    assert (row["counted"], row["people"], row["machines"], row["delivered"]) == (3, 2, 1, 4)
    left = tk.machines.funnel(given, TWO).select("rule", "clicks", "clickers", "looked_at")
    assert left.row(0) == (None, 4, 3, None) and left.row(-1)[1:3] == (3, 2)
    assert tk.machines.by_domain(given, TWO).select("domain", "clicks", "scanner_clicks").rows() == [
        ("a.example", 4, 1)
    ]
    band = tk.machines.band(given, TWO).filter(assumption="lenient").row(0, named=True)
    assert (band["openers_low"], band["delivered"]) == (4, 4)


def test_domains_and_complaints_are_of_the_selection(given):
    classed = tk.domains.by_class(given, TWO)
    rows = tk.measure(classed, ["delivered", "unique_people_clicks"], by="domain", delivery=TWO)
    named = rows.with_columns(pl.col("domain").cast(pl.String)).select("domain", "delivered", "unique_people_clicks")
    assert _sorted(named.rows()) == [("a.example", 3, 2), ("b.example", 1, 0)]
    assert tk.domains.by_class(given).scan("message").collect().height == 9  # without the proof
    total = tk.complaints.rates(given, TWO).filter(row="total").select("delivered", "complaints").row(0)
    assert total == (4, 0)


# ---- what is unknown ----


def test_what_some_deliveries_do_not_tell_is_said_and_what_none_tells_is_unknown(given):
    names, some = ["total_opens", "total_clicks"], ["1", "3"]
    assert unseen.together(given, names, some).select(names).row(0) == (2, 3)
    partly = unseen.partly_seen(unseen.unseen(given, some, names), names)
    assert partly.drop("why").rows() == [("total_opens", ["3"], 2)]
    limits = caveats.limits(given, some).filter(limit="opens_unseen")
    assert limits.select("weight", "count", "total", "concerns").rows() == [("warning", 1, 2, ["Text"])]
    assert unseen.together(given, names, "3").select("total_opens", "why total_opens").row(0)[0] is None
    hidden = {"7": {"opened": "SMS"}, "8": {"opened": "text"}}
    none = unseen.observed(pl.DataFrame({"total_opens": [0]}), hidden).row(0)
    assert none == (None, unseen.SEVERAL_REASONS)


def test_a_funnel_of_several(given):
    rows = tk.overview.funnel(given, TWO).select("step", "count").rows()
    assert rows == [("to_deliver", 5), ("delivered", 4), ("unique_opens", 4), ("unique_clicks", 3), ("buyers", 2)]
    everything = tk.overview.funnel(given)
    assert everything["count"].to_list() == [9, 7, 5, 5, 2]  # who clicked in "3", a text, is no opener that was seen
    assert everything.select("part", "before").rows()[2:4] == [(5, 5), (4, 5)]


def test_a_sender_s_words_over_several(given):
    rows = tk.definitions.side_by_side(given, TWO, "adobe")
    assert rows.filter(question="click_rate").select("numerator", "denominator").rows() == [(3, 4)]


def test_nothing_is_usual_of_several(given):
    rows = tk.usual.totals(given, ["click_rate"], TWO).select("delivery_id", "value", "n", "median").rows()
    assert rows == [(None, 0.5, None, None)]


def test_caveats_and_checks_of_several(given):
    limits = caveats.limits(given, TWO)
    running = limits.filter(limit="deliveries_running").select("count", "total", "concerns").row(0)
    assert running == (1, 2, ["Summer"])
    assert not set(limits["limit"]) & {"deliveries_set_aside", "running", "proof"}
    checks = quality(given, TWO)
    assert checks.filter(check="unknown_messages")["total"].item() == 9  # hits of the two alone
    assert caveats.limits(given).filter(limit="deliveries_set_aside")["count"].item() == 1


def test_counters_are_compared_by_delivery_then_added(given):
    stored = [
        {"delivery_id": key, "counter": name, "value": value}
        for key, name, value in (
            ("1", "success_without_seeds", 3.0),
            ("2", "success_without_seeds", 1.0),
            ("1", "error", 1.0),
        )
    ]
    counter = pl.LazyFrame(stored, schema=tk.schema.TABLES["counter"].schema)
    compared = counters.compare(Snapshot({**given.frames, "counter": counter}), TWO)
    assert compared.select("counter", "stored", "ours", "differs").rows() == [
        ("success_without_seeds", 3.0, 2.0, True), ("error", 1.0, 1.0, False), ("success_without_seeds", 1.0, 2.0, True)
    ]  # fmt: skip
    rows = counters.added(compared).select("counter", "deliveries", "stored", "ours", "difference", "differing").rows()
    assert rows == [("success_without_seeds", 2, 4.0, 4.0, 0.0, 2), ("error", 1, 1.0, 1.0, 0.0, 0)]


# ---- logs and visits ----


def test_logs_and_messages_of_several(given):
    assert tk.logs.count(given, TWO) == 9 and tk.logs.count(given) == 12
    newest = tk.logs.tracking_log(given, limit=1, columns=["event_id"])
    assert newest["event_id"].to_list() == ["10"]
    urls = tk.logs.clicked_urls(given, TWO, columns=["label", "clicks", "deliveries", "recipients"])
    assert urls.rows() == [("Home", 4, 2, 2), ("Thanks", 2, 2, 1)]  # a1 is one recipient of both
    assert tk.messages.messages(given, TWO).height == 5 and tk.messages.messages(given, limit=50).height == 9
    assert tk.story.timeline(given, delivery=TWO)["delivery_id"].unique().sort().to_list() == TWO


def test_visits_of_several_are_those_tied_to_any_of_them(given):
    visits = with_consent(given, tk.web.attribute_web(given, "session", delivery=TWO))
    counts = tk.web.attribution_counts(visits, TWO).filter(attribution="direct")
    assert counts.select("visits", "total").row(0) == (2, 2)
    chosen = consent_counts(tk.web.of_delivery(visits, TWO)).filter(web_choice="undecided")
    assert chosen.select("visitors", "pages").row(0) == (1, 2)  # px, once
    counted = tk.web.counted_tables(given, visits, TWO)
    assert tk.measure(counted, "web_visits", by=[], delivery=TWO)["web_visits"].item() == 2
    assert tk.web.visit_activity(visits, TWO)["count"].to_list() == [2]
    assert tk.web.attribution_counts(visits, ["4"])["visits"].sum() == 0


# ---- SQL ----


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """A random instance whose deliveries share message ids and begin at other hours: its store, and views on files."""
    folder = write_instance(tmp_path_factory.mktemp("selections") / "raw", seed=2, is_shared=True)
    path = folder / "delivery.csv"
    lines = path.read_text("utf-8").splitlines()
    moved = [line.replace("2026-03-01 06:00:00", f"2026-03-01 0{line[0]}:00:00") for line in lines]
    path.write_text("\n".join([*moved, ""]), "utf-8")
    store = tk.open_store(str(folder.parent / "store"))
    store.ingest(str(folder), collapse_minutes=0)
    connection = duckdb.connect()
    connection.execute(VIEWS.format(folder))
    connection.execute(
        "CREATE TABLE start AS "
        "SELECT iDeliveryId AS delivery_id, coalesce(tsBroadStart, tsContact)::TIMESTAMP AS launch "
        f"FROM read_csv('{folder}/delivery.csv', all_varchar=true)"
    )
    return store.snapshot(), connection


SCOPES = pytest.mark.parametrize("delivery", ["4", ["1", "2"], ["5", "1", "4"], None], ids=str)


def _sql(connection, delivery, query: str) -> list[tuple]:
    """The rows of a query on the hits and messages of deliveries, sorted; the views hold no proof."""
    ids = [delivery] if isinstance(delivery, str) else delivery
    where = "true" if ids is None else f"delivery_id IN ({', '.join(repr(name) for name in ids)})"
    return _sorted(connection.sql(query.format(where=where)).fetchall())


def _sorted(rows: list[tuple]) -> list[tuple]:
    return sorted(rows, key=lambda row: tuple((cell is None, str(cell)) for cell in row))


@SCOPES
def test_links_by_sql(both, delivery):
    snapshot, connection = both
    named = "coalesce(nullif(u.sLabel, ''), nullif(u.sSource, ''), e.link_id)"
    joined = "FROM event e LEFT JOIN url u ON u.iTrackingUrlId = e.link_id WHERE type IS DISTINCT FROM 2 AND {where}"
    clicks = tk.links.link_clicks(snapshot, delivery, top=100).filter(row="link").select("link", "clicks")
    assert _sorted(clicks.rows()) == _sql(connection, delivery, f"SELECT {named}, count(*) {joined} GROUP BY 1")
    texts = [f"coalesce(u.{name}, '')" for name in ("sLabel", "sCategory", "sSource")]
    found = tk.links.tracked_links(snapshot, delivery).filter(pl.col("clicks") > 0)
    if isinstance(delivery, str):  # of one delivery each link is a row
        found = found.group_by("label", "category", "url", "type").agg(pl.col("clicks").sum())
        counted = "count(*)"
    else:
        counted = "count(*), count(DISTINCT msg)"
    rows = found.with_columns(pl.col("label", "category", "url").fill_null("")).drop(
        "type",
        "link_id",
        "occurrence",
        "total",
        "share",
        *(["recipients"] if isinstance(delivery, str) else []),
        strict=False,
    )
    order = ["label", "category", "url", "clicks", *(["recipients"] if "recipients" in rows.columns else [])]
    expected = f"SELECT {', '.join(texts)}, {counted} {joined} GROUP BY 1, 2, 3, type"
    assert _sorted(rows.select(order).rows()) == _sql(connection, delivery, expected)


@SCOPES
def test_curves_and_activity_by_sql(both, delivery):
    snapshot, connection = both
    hours = "greatest(floor(epoch(moment - launch) / 3600), 0)::BIGINT + 1"
    query = (
        f"SELECT {hours}, count(*) FROM event JOIN start USING (delivery_id) WHERE type = 1 AND {{where}} GROUP BY 1"
    )
    found = tk.curves.cumulative_activity(snapshot, delivery).filter(pl.col("count") > 0, series="clicks")
    assert _sorted(found.select("hours", "count").rows()) == _sql(connection, delivery, query)
    query = "SELECT isodow(moment) - 1, hour(moment), count(*) FROM event WHERE type = 1 AND {where} GROUP BY ALL"
    found = tk.activities.weekly_activity(snapshot, delivery, "UTC", "clicks").filter(pl.col("count") > 0)
    assert _sorted(found.select("weekday", "hour", "count").rows()) == _sql(connection, delivery, query)


@SCOPES
def test_visitors_buyers_and_people_by_sql(both, delivery):
    snapshot, connection = both
    query = """SELECT browser, sum(visitors)::BIGINT, sum(pages)::BIGINT FROM (SELECT browser, day,
        count(DISTINCT msg) AS visitors, count(*) AS pages FROM event WHERE type IS DISTINCT FROM 2 AND {where}
        GROUP BY ALL) GROUP BY browser"""
    used = tk.audience.usage(snapshot, "browser", delivery, 0, 100, "UTC").filter(row="group")
    assert _sorted(used.select("name", "visitors", "pages").rows()) == _sql(connection, delivery, query)
    query = "SELECT count(DISTINCT msg) FILTER (type = 5 AND NOT refused), count(DISTINCT person) FILTER (type = 1) " \
            "FROM event WHERE {where}"  # fmt: skip
    people = tk.measure(snapshot, "unique_people_clicks", by=[], delivery=delivery)["unique_people_clicks"].item()
    buyers = tk.overview.funnel(snapshot, delivery)["count"].to_list()[-1]
    assert [(buyers, people)] == _sql(connection, delivery, query)


@SCOPES
def test_failures_by_sql(both, delivery):
    snapshot, connection = both
    query = """SELECT f.failure_reason IN (1, 2, 3, 4, 5, 6, 20) IS TRUE, count(*) FROM message f
        WHERE status = '2' AND {where} GROUP BY 1"""
    rows = tk.bounces.bounces(snapshot, delivery)
    total = rows.filter(row="total")["errors"].item()
    seven = rows.filter(row="seven")["errors"]
    seven = total if seven.is_empty() else seven.item()
    counted = dict(_sql(connection, delivery, query))
    assert (seven, total - seven) == (counted.get(True, 0), counted.get(False, 0))
    assert MESSAGE.key == ("delivery_id", "message_id")
