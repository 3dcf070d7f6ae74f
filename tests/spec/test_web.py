"""Web tracking: which delivery a visit is tied to in each mode, and whose visits count."""

import random
from datetime import timedelta

import duckdb
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from tests.spec.golden import at, tables
from trackkit.analysis.activities import folded_activity
from trackkit.analysis.caveats import limits
from trackkit.analysis.consent import consent_counts, with_consent
from trackkit.analysis.curves import activity
from trackkit.analysis.web import (
    MODES,
    OPTIONS,
    attribute_web,
    attribution_counts,
    counted_tables,
    of_delivery,
    visit_activity,
)
from trackkit.engine.measure import measure
from trackkit.engine.refusals import with_refusals
from trackkit.engine.snapshot import Snapshot
from trackkit.errors import RequestError

FLORENCE, PAUL = "aaaa-florence", "bbbb-paul"


def event(number: int, day: int, kind: str, person: str | None = FLORENCE, sent: tuple | None = ("7", "1"), **more):
    """A hit at noon of a day; `sent` is the delivery and the message that its row states."""
    delivery, message = sent or (None, None)
    return {
        "event_id": str(number), "occurred_at": at(12, number % 60, day=day), "event_type": kind, "person_id": person,
        "delivery_id": delivery, "message_id": message, "recipient_id": message and f"r{message}", "link_id": "5",
        "is_seed": False if message else None, **more,
    }  # fmt: skip


def page(minute: int, person: str | None = FLORENCE, optout: int | None = None, **more):
    return {
        "occurred_at": at(12, minute), "web_application": "A", "page": "P", "step": 1, "person_id": person,
        "web_optout": optout, **more,
    }  # fmt: skip


def attributed(given: Snapshot, mode: str, option: str = "last") -> list[tuple]:
    rows = attribute_web(given, mode, option)
    return rows.select("event_id", "attribution", "delivery_id", "message_id").rows()


# Spec 3.14: Florence clicks in the mail and browses; next day she comes back directly and buys.
GOLDEN = tables(
    event=[
        event(1, 20, "clicked"), event(2, 20, "web_visited"),
        event(3, 21, "transaction", sent=None, amount=40.0, articles=2, tag_id="order"),
    ],
    delivery=[{"delivery_id": "7", "to_deliver": 10}],
)  # fmt: skip


def test_florence_buys_the_next_day():
    browsed = ("2", "direct", "7", "1")
    assert attributed(GOLDEN, "session") == [browsed, ("3", "none", None, None)]
    assert attributed(GOLDEN, "permanent") == [browsed, ("3", "last", "7", "1")]
    assert attributed(GOLDEN, "anonymous") == [browsed, ("3", "last", "7", "1")]


@pytest.mark.parametrize(
    ("mode", "expected"), [("session", (1, 0, 0.0, None, 0.0)), ("permanent", (2, 1, 40.0, 2.0, 4.0))]
)
def test_the_indicators_of_web_tracking_follow_the_attribution(mode, expected):
    averages = ["average_articles_per_transaction", "amount_per_message"]
    metrics = ["web_visits", "transactions", "transaction_amount", *averages]
    visits = with_consent(GOLDEN, attribute_web(GOLDEN, mode))
    assert measure(counted_tables(GOLDEN, visits), metrics, delivery="7").select(metrics).row(0) == expected


def test_the_last_delivery_before_is_taken_never_one_after():
    given = tables(event=[
        event(1, 1, "opened", sent=("7", "1")), event(2, 3, "clicked", sent=("8", "2")),
        event(3, 5, "clicked", sent=("9", "3")),
        event(11, 2, "web_visited", sent=None), event(12, 4, "web_visited", sent=None),
        event(13, 6, "web_visited", sent=None), event(14, 6, "web_visited", PAUL, sent=None),
    ])  # fmt: skip
    ties = [("11", "last", "7", "1"), ("12", "last", "8", "2"), ("13", "last", "9", "3"), ("14", "none", None, None)]
    assert attributed(given, "permanent") == ties


def test_a_hit_at_the_same_instant_comes_before_and_of_several_the_last_log():
    moment = {"occurred_at": at(12)}
    given = tables(event=[
        event(9, 20, "clicked", sent=("8", "2"), **moment), event(10, 20, "clicked", sent=("9", "3"), **moment),
        event(3, 20, "web_visited", sent=None, **moment),
    ])  # fmt: skip
    assert attributed(given, "permanent") == [("3", "last", "9", "3")]


def test_a_forced_delivery_is_the_one_that_the_row_names():
    given = tables(event=[
        event(1, 1, "clicked", sent=("7", "1")), event(2, 2, "web_visited", sent=("99", None)),
        event(3, 3, "web_visited", sent=None),
    ])  # fmt: skip
    assert attributed(given, "session") == [("2", "none", None, None), ("3", "none", None, None)]
    assert attributed(given, "permanent", "forced") == [("2", "forced", "99", None), ("3", "none", None, None)]
    assert attributed(given, "permanent", "last") == [("2", "last", "7", "1"), ("3", "last", "7", "1")]


def test_anonymous_visits_are_filled_in_when_the_visitor_later_clicks_in_a_message():
    given = tables(event=[
        event(1, 1, "web_visited", sent=None), event(2, 2, "opened", sent=("7", "1")),
        event(3, 3, "clicked", sent=("8", "2")), event(4, 4, "web_visited", PAUL, sent=None),
        event(5, 5, "transaction", PAUL, sent=("9", "3")),
    ])  # fmt: skip
    assert attributed(given, "permanent")[0] == ("1", "none", None, None)
    # the open on day 2 is no click; Paul's own visit on day 5 is no click in a message
    assert attributed(given, "anonymous")[:2] == [("1", "retro", "8", "2"), ("4", "none", None, None)]


def test_undated_and_nameless_visits_are_tied_by_what_they_state_alone():
    given = tables(event=[
        event(1, 1, "clicked"), event(2, 2, "web_visited", None, sent=None),
        event(3, 3, "web_visited", sent=None, occurred_at=None), event(4, 4, "web_visited", None, sent=("7", "1")),
    ])  # fmt: skip
    found = {row[0]: row[1] for row in attributed(given, "anonymous")}
    assert found == {"2": "none", "3": "none", "4": "direct"}


def test_pages_of_web_applications_are_visits_too():
    given = tables(
        event=[event(1, 19, "clicked")],
        page_hit=[page(1, delivery_id="8"), page(2), page(3, PAUL)],
    )
    found = attribute_web(given, "permanent")
    assert found.select("origin", "attribution", "delivery_id").rows() == [
        ("web_application", "direct", "8"), ("web_application", "last", "7"), ("web_application", "none", None),
    ]  # fmt: skip


def test_a_visit_tied_to_a_control_address_is_one_of_a_control_address():
    given = tables(event=[event(1, 1, "clicked", is_seed=True), event(2, 2, "web_visited", sent=None)])
    visits = with_consent(given, attribute_web(given, "permanent"))
    assert visits["is_seed"].to_list() == [True] and of_delivery(visits, "7").is_empty()
    assert measure(counted_tables(given, visits), "web_visits")["web_visits"].sum() == 0


def test_the_store_is_not_changed_and_words_are_checked():
    before = GOLDEN.scan("event").collect()
    attribute_web(GOLDEN, "anonymous")
    assert_frame_equal(GOLDEN.scan("event").collect(), before)
    with pytest.raises(RequestError, match=r"no mode 'sesion'.*session"):
        attribute_web(GOLDEN, "sesion")
    with pytest.raises(RequestError, match="no option"):
        attribute_web(GOLDEN, "session", "first")
    with pytest.raises(RequestError, match=r"no consent 'optin'.*opt-in"):
        with_consent(GOLDEN, attribute_web(GOLDEN), "optin")


# ---- who may be counted ------------------------------------------------------------------------------------------

VISITS = [event(number, 20, "web_visited", person) for number, person in enumerate((FLORENCE,) * 4, start=1)]
REFUSED_AT_2 = [page(2, optout=1), page(0, None, 0, recipient_id="r1")]  # another visitor: the recipient without cookie


def choice(given: Snapshot, **options) -> list[tuple]:
    visits = with_consent(given, attribute_web(given), **options).filter(pl.col("origin") == "site")
    return visits.select("event_id", "web_choice", "is_counted").rows()


def test_who_refuses_is_in_no_figure_and_takes_the_history_away():
    given = tables(event=VISITS, page_hit=REFUSED_AT_2)
    assert choice(given) == [(str(number), "refused", False) for number in (1, 2, 3, 4)]
    kept = [("1", "undecided", True), *((str(number), "refused", False) for number in (2, 3, 4))]
    assert choice(given, history="keep") == kept
    visits = with_consent(given, attribute_web(given))
    assert measure(counted_tables(given, visits, "7"), "web_visits", delivery="7")["web_visits"].item() == 0
    assert attribution_counts(visits, "7")["total"].to_list() == [0] * 5


def test_a_choice_holds_until_the_next_one_and_the_latest_decides_on_the_history():
    given = tables(event=VISITS, page_hit=[page(2, optout=1), page(3, optout=0)])
    # refused at minute 2 only; allowed again at 3, so the visit before the refusal counts
    assert choice(given) == [
        ("1", "allowed", True), ("2", "refused", False), ("3", "allowed", True), ("4", "allowed", True),
    ]  # fmt: skip
    assert choice(given, history="keep")[0] == ("1", "undecided", True)
    assert choice(given, history="keep", consent="opt-in")[0] == ("1", "undecided", False)
    assert [row[2] for row in choice(given, consent="opt-in")] == [True, False, True, True]


def test_undecided_counts_unless_consent_is_asked_for():
    given = tables(event=VISITS[:1], page_hit=[page(1, optout=None), page(2, optout=7)])
    assert choice(given) == [("1", "undecided", True)]
    assert choice(given, consent="opt-in") == [("1", "undecided", False)]
    assert choice(tables(event=VISITS[:1])) == [("1", "undecided", True)]


def test_two_choices_at_one_instant_are_a_refusal_and_an_undated_refusal_holds_from_the_beginning():
    twice = tables(event=VISITS[2:3], page_hit=[page(1, optout=0), page(1, optout=1, page="Q")])
    assert choice(twice)[0][1] == "refused"
    undated = tables(event=VISITS[:1], page_hit=[page(1, optout=1) | {"occurred_at": None}])
    assert choice(undated, history="keep")[0][1] == "refused"


def test_a_page_without_visitor_has_its_own_choice():
    given = tables(page_hit=[page(1, None, 1), page(2, None, 0), page(3, None)])
    visits = with_consent(given, attribute_web(given))
    assert visits["web_choice"].to_list() == ["refused", "allowed", "undecided"]
    counts = consent_counts(visits)
    assert counts.select("visitors", "total", "share", "pages").rows() == [(0, 0, None, 1)] * 3


def test_choices_are_told_apart_and_those_left_out_are_counted():
    given = tables(
        event=[*VISITS, event(9, 20, "web_visited", PAUL), event(10, 20, "web_visited", "c"), event(11, 20, "clicked")],
        page_hit=[page(2, optout=1), page(3, PAUL, 0)],
    )
    visits = with_consent(given, attribute_web(given))
    assert consent_counts(of_delivery(visits, "7")).rows() == [
        ("allowed", True, 1, 3, 1 / 3, 1), ("undecided", True, 1, 3, 1 / 3, 1), ("refused", False, 1, 3, 1 / 3, 4),
    ]  # fmt: skip
    # web opt-out is neither the opt-out click nor the denylist: figures of e-mail are as they were
    assert measure(given, "total_clicks", delivery="7")["total_clicks"].item() == 1


def test_visits_by_the_clock_of_a_zone():
    given = tables(event=[
        event(1, 20, "web_visited", occurred_at=at(23, 30)), event(2, 20, "transaction", occurred_at=at(23, 40)),
        event(3, 20, "web_visited", occurred_at=None),
    ])  # fmt: skip
    visits = with_consent(given, attribute_web(given))
    found = visit_activity(visits, "7", "24h", "Europe/Paris")
    assert found.select(pl.col("starts_at").dt.date().cast(str), "series", "count").rows() == [
        ("2012-02-21", "pages", 1), ("2012-02-21", "transactions", 1),
    ]  # fmt: skip


def test_nothing_loaded_is_nothing_counted():
    visits = with_consent(Snapshot({}), attribute_web(Snapshot({}), "anonymous"))
    assert visits.is_empty() and consent_counts(visits)["visitors"].to_list() == [0, 0, 0]
    assert attribution_counts(visits, "7")["share"].null_count() == 5
    assert measure(counted_tables(Snapshot({}), visits), "web_visits", by=[])["web_visits"].item() is None


FIGURES = ["web_visits", "transactions", "transaction_amount", "average_transaction_amount", "refused_visits"]
# Florence opens, clicks, displays two pages and buys for 40; Paul buys for 7; a recipient without cookie sees a page.
BOTH = [
    event(1, 20, "opened"), event(2, 20, "clicked"), event(3, 20, "web_visited"), event(4, 20, "web_visited"),
    event(5, 20, "transaction", amount=40.0), event(6, 20, "transaction", PAUL, ("7", "2"), amount=7.0),
    event(7, 20, "web_visited", None, ("7", "3")),
]  # fmt: skip
MAIL = ["unique_opens", "total_opens", "unique_clicks", "total_clicks", "unique_people_clicks", "click_to_open_rate"]


@pytest.mark.parametrize(
    ("choices", "expected"),
    [
        ([], (5, 2, 47.0, 23.5, 0)),
        ([page(59, optout=0), page(59, PAUL)], (5, 2, 47.0, 23.5, 0)),
        ([page(59, optout=1)], (2, 1, 7.0, 7.0, 3)),  # refused after all visits: the history goes too
        ([page(59, None, 1, recipient_id="r3")], (4, 2, 47.0, 23.5, 1)),
        ([page(0, optout=1), page(4, optout=0)], (4, 2, 47.0, 23.5, 1)),  # refused until minute 4, then allowed
        ([page(0, PAUL, 0), page(0, PAUL, 1)], (4, 1, 40.0, 40.0, 1)),  # two choices at one instant
        ([page(1, PAUL, 0), page(0, PAUL, 1) | {"occurred_at": None}], (5, 2, 47.0, 23.5, 0)),
    ],
)
def test_who_refused_is_in_no_web_figure_and_in_every_figure_of_e_mail(choices, expected):
    given, untold = tables(event=BOTH, page_hit=choices), tables(event=BOTH)
    assert measure(given, FIGURES, delivery="7").select(FIGURES).row(0) == expected
    assert measure(given, MAIL).equals(measure(untold, MAIL))
    # the same as the report on web tracking by default, and as the curves
    visits = with_consent(given, attribute_web(given))
    assert measure(counted_tables(given, visits), FIGURES[:4]).select(FIGURES[:4]).row(0) == expected[:4]
    over_time = dict(activity(given, "7", "24h").select(pl.col("series").cast(str), "count").rows())
    assert over_time == {"opens": 1, "clicks": 1, "transactions": expected[1]}
    folded = folded_activity(given, "7", series="transactions").filter(pl.col("count") > 0)
    assert folded["count"].to_list() == [expected[1]]


def test_how_many_are_left_out_is_unknown_without_the_pages_that_tell():
    assert measure(tables(event=BOTH), FIGURES).select(FIGURES).row(0) == (5, 2, 47.0, 23.5, None)
    given = tables(event=[*BOTH, event(8, 20, "web_visited", is_seed=True)], page_hit=[page(59, optout=1)])
    told = limits(given, "7").filter(pl.col("limit") == "refused_visits")
    assert told.select("count", "total", "weight").rows() == [(3, 5, "note")]
    assert limits(tables(event=BOTH, page_hit=[page(59)]), "7").filter(pl.col("limit") == "refused_visits").is_empty()


def test_a_choice_of_consent_is_not_taken_twice():
    given = tables(event=VISITS, page_hit=REFUSED_AT_2)
    kept = with_consent(given, attribute_web(given), history="keep")
    assert measure(counted_tables(given, kept, "7"), "web_visits", delivery="7")["web_visits"].item() == 1


@pytest.mark.parametrize("seed", range(6))
def test_refusals_agree_with_the_default_of_consent(seed):
    given = randomised(seed)
    flagged = with_refusals(given, given.scan("event")).filter("is_refused").collect()
    visits = with_consent(given, attribute_web(given)).filter(pl.col("origin") == "site", ~pl.col("is_counted"))
    assert sorted(flagged["event_id"]) == sorted(visits["event_id"]) and flagged.height > 0


# ---- the same by a second implementation ------------------------------------------------------------------------

IDENTIFIED = (
    "(select * from event where delivery_id is not null and message_id is not null and person_id is not null "
    "and occurred_at is not null)"
)
NEWEST = "order by i.occurred_at {0}, length(i.event_id) desc, i.event_id desc limit 1"
SECOND = """
with visit as (
    select event_id, occurred_at, person_id, delivery_id, message_id, 'site' as origin from event
    where event_type in ('web_visited', 'transaction')
    union all by name select occurred_at, person_id, delivery_id, 'web_application' as origin from page_hit),
told as (select v.*, delivery_id is not null and (message_id is not null or origin = 'web_application') as direct,
    (select i.delivery_id from {identified} i where i.person_id = v.person_id and i.occurred_at <= v.occurred_at {back})
        as before,
    (select i.delivery_id from {identified} i where i.person_id = v.person_id and i.occurred_at >= v.occurred_at
        and i.event_type in ('clicked', 'unsubscribed', 'mirror_page') {forth}) as after from visit v),
tied as (select *, case when direct then 'direct'
    when '{mode}' <> 'session' and '{option}' = 'forced' and delivery_id is not null then 'forced'
    when '{mode}' <> 'session' and '{option}' = 'last' and before is not null then 'last'
    when '{mode}' = 'anonymous' and after is not null then 'retro' else 'none' end as attribution from told)
select attribution, case attribution when 'last' then before when 'retro' then after when 'none' then null
    else delivery_id end as delivery, count(*) from tied group by all order by all
"""


def randomised(seed: int) -> Snapshot:
    chance = random.Random(seed)
    people = [None, *"abcdefgh"]

    def moment():
        return chance.choice([None, *[at(0) + timedelta(minutes=chance.randint(0, 300))] * 12])

    kinds = ("opened", "clicked", "web_visited", "web_visited", "transaction", "unsubscribed", "unknown")
    hits = [
        event(number, 1, chance.choice(kinds), chance.choice(people),
              chance.choice([None, ("7", "1"), ("8", "2"), ("9", None), ("9", "4")]), occurred_at=moment())
        for number in range(150)
    ]  # fmt: skip
    pages = [
        page(1, chance.choice(people), chance.choice([None, None, 0, 1]), delivery_id=chance.choice([None, "7"]))
        | {"occurred_at": moment(), "recipient_id": chance.choice([None, "r1", "r2"]), "page": str(number)}
        for number in range(30)
    ]
    return tables(event=hits, page_hit=pages)


def database(given: Snapshot) -> duckdb.DuckDBPyConnection:
    found = duckdb.connect(":memory:")
    found.execute("set timezone = 'UTC'")
    texts = pl.col("event_type").cast(pl.String)
    found.register("event", given.scan("event").with_columns(texts).collect().to_arrow())
    found.register("page_hit", given.scan("page_hit").collect().to_arrow())
    return found


@pytest.mark.parametrize("seed", range(6))
def test_attribution_agrees_with_sql(seed):
    given = randomised(seed)
    with database(given) as base:
        for mode in MODES:
            for option in OPTIONS:
                expected = base.execute(SECOND.format(
                    mode=mode, option=option, identified=IDENTIFIED, back=NEWEST.format("desc"),
                    forth=NEWEST.format("asc"),
                )).fetchall()  # fmt: skip
                found = attribute_web(given, mode, option).group_by("attribution", "delivery_id").len()
                rows = found.with_columns(pl.col("attribution").cast(pl.String)).rows()
                assert sorted(rows, key=str) == sorted(expected, key=str), (mode, option)


CHOICES = """
with visit as (
    select coalesce(person_id, 'recipient ' || recipient_id) as visitor, occurred_at, null as own from event
    where event_type in ('web_visited', 'transaction')
    union all select coalesce(person_id, 'recipient ' || recipient_id), occurred_at, web_optout from page_hit),
choice as (select coalesce(person_id, 'recipient ' || recipient_id) as visitor,
    coalesce(occurred_at, timestamptz '0001-01-01') as since, web_optout as chosen from page_hit
    where web_optout is not null and coalesce(person_id, recipient_id) is not null),
known as (select v.*, coalesce((select chosen from choice c where c.visitor = v.visitor order by since desc, chosen desc
    limit 1), own) as latest from visit v),
forced as (select k.*, case when occurred_at is null then latest else coalesce((select chosen from choice c
    where c.visitor = k.visitor and c.since <= k.occurred_at order by since desc, chosen desc limit 1), own) end
    as holds
    from known k)
select case when holds = 1 or {decisive} = 1 then 'refused' when {decisive} = 0 then 'allowed' else 'undecided' end
    as choice, count(distinct visitor), count(*) from forced group by 1 order by 1
"""


@pytest.mark.parametrize("seed", range(6))
def test_choices_agree_with_sql(seed):
    given = randomised(seed)
    visits = attribute_web(given)
    with database(given) as base:
        for history, decisive in (("drop", "latest"), ("keep", "holds")):
            expected = base.execute(CHOICES.format(decisive=decisive)).fetchall()
            counts = consent_counts(with_consent(given, visits, history=history))
            rows = counts.filter(pl.col("pages") > 0).select(pl.col("web_choice").cast(pl.String), "visitors", "pages")
            assert sorted(rows.rows()) == expected


@pytest.mark.parametrize("seed", range(4))
def test_reading_one_delivery_gives_the_same_figures_as_reading_all(seed):
    given = randomised(seed)
    for mode in MODES:
        for option in OPTIONS:
            every = with_consent(given, attribute_web(given, mode, option))
            one = with_consent(given, attribute_web(given, mode, option, delivery="7"))
            assert_frame_equal(of_delivery(one, "7"), of_delivery(every, "7"), check_row_order=False)
            assert attribution_counts(one, "7").equals(attribution_counts(every, "7"))


def test_visits_outside_a_session_are_shared_out_over_the_kinds():
    given = tables(event=[
        event(1, 1, "clicked"), event(2, 2, "web_visited"), event(3, 3, "web_visited", sent=None),
        event(4, 3, "web_visited", PAUL, sent=None), event(5, 3, "transaction", PAUL, sent=("8", "2")),
    ])  # fmt: skip
    visits = with_consent(given, attribute_web(given, "permanent", delivery="7"))
    counts = attribution_counts(visits, "7").select("attribution", "visits", "share", "outside", "outside_share")
    assert counts.rows() == [
        ("direct", 1, 1 / 2, None, None), ("forced", 0, 0.0, 0, 0.0), ("last", 1, 1 / 2, 1, 1 / 2),
        ("retro", 0, 0.0, 0, 0.0), ("none", 0, 0.0, 1, 1 / 2),
    ]  # fmt: skip
