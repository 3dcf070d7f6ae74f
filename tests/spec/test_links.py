"""Most visited links, clicks per day, header figures with their platform average, the URLs tab."""

from datetime import UTC, date, datetime

import duckdb
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.spec.golden import DELIVERY_ID, at, golden, hit, tables
from tests.spec.randomised import randomised
from trackkit.analysis.links import click_figures, clicks_per_day, link_clicks, tracked_links
from trackkit.engine.snapshot import Snapshot
from trackkit.errors import RequestError

SCREEN = {  # spec 3.4: clicks and whole shares as printed
    "facebook": (8968, 10.55), "Mirror page": (8232, 9.69), "offer2": (8053, 9.48), "offer1": (7067, 8.32),
    "Details": (6168, 7.26), "WEB Agency subscription": (5226, 6.15), "Offer 2": (3767, 4.43), "Offer 1": (3756, 4.42),
    "twitter": (3415, 4.02), "Discount Left": (2696, 3.17),
}  # fmt: skip


def table(tables_, **options) -> list[tuple]:
    return link_clicks(tables_, DELIVERY_ID, **options).select("rank", "row", "link", "clicks", "share").rows()


def test_golden_links_by_label_url_and_category():
    # L1 L2 L3 L1 L1 L2 L3 L3 L3, then L1 L2, then L3 L3 L2 L1: five, four and six
    last = [(None, "others", "Others", 4, 4 / 15), (None, "total", "Total", 15, 1.0)]
    assert table(golden(), top=2) == [(1, "link", "Boutique", 6, 6 / 15), (2, "link", "Home", 5, 5 / 15), *last]
    assert [row[2] for row in table(golden(), by="url", top=2)[:2]] == [
        "https://boutique.example/",
        "https://shop.example/",
    ]
    assert table(golden(), by="category")[0] == (1, "link", "(no category)", 15, 1.0)


def test_clicks_in_the_message_are_e_mail_clicks():
    kinds = ["clicked", "clicked", "unsubscribed", "mirror_page", "web_visited", "transaction"]
    events = [
        {"delivery_id": DELIVERY_ID, "event_type": kind, "link_id": "1", "link_label": kind, "occurred_at": at(9)}
        for kind in kinds
    ]
    given = tables(event=events)
    assert table(given, in_message=True) == [
        (1, "link", "clicked", 2, 1.0),
        (None, "others", "Others", 0, 0.0),
        (None, "total", "Total", 2, 1.0),
    ]
    assert table(given)[-1] == (None, "total", "Total", 6, 1.0)
    per_day = clicks_per_day(given, DELIVERY_ID, in_message=True)
    assert per_day.select("link", "clicks").rows() == [("clicked", 2)]


def test_the_screen_of_the_platform():
    rest = {f"other {number}": 1381 if number < 19 else 1380 for number in range(20)}
    clicks = {label: count for label, (count, _) in SCREEN.items()} | rest
    labels = pl.DataFrame({"link_label": list(clicks), "clicks": list(clicks.values())})
    events = labels.lazy().select(pl.col("link_label").repeat_by("clicks").explode()).with_columns(
        delivery_id=pl.lit("230"), link_id=pl.lit("5"), event_type=pl.lit("clicked"), is_seed=pl.lit(False),
        url=pl.lit(None, pl.String), occurred_at=pl.lit(at(15)),
    )  # fmt: skip
    found = link_clicks(Snapshot({"event": events}), "230")
    assert found["link"].to_list() == [*SCREEN, "Others", "Total"]
    assert found["clicks"].to_list() == [*(count for count, _ in SCREEN.values()), 27619, 84967]
    shares = [round(100 * share, 2) for share in found["share"]]
    assert shares == [*(share for _, share in SCREEN.values()), 32.51, 100.0]


LINKS = {
    "1": (None, 2, "Open", None), "21": ("230", 1, "Home", "https://a.example/"), "22": ("230", 3, "Leave", None),
    "23": ("230", 6, "Mirror page", None), "24": ("230", 4, None, "https://a.example/page"),
    "25": ("230", 5, None, None), "26": ("230", 1, "home", "https://a.example/"),
    "27": ("230", 1, "Unclicked", "https://z.example/"),
}  # fmt: skip


def hits(*given_, **more) -> Snapshot:
    """Hits given as (link, instant), each of its own message."""
    rows = [hit(number, instant, str(number), link, LINKS, **more) for number, (link, instant) in enumerate(given_, 1)]
    links = [
        {"link_id": key, "delivery_id": owner, "type_code": code, "label": label, "url": url}
        for key, (owner, code, label, url) in LINKS.items()
    ]
    return tables(event=rows, link=links, delivery=[{"delivery_id": "230", "started_at": at(12)}])


def test_every_hit_that_is_no_open_is_in_the_list_and_in_the_total():
    given_ = hits(("1", at(13)), *((link, at(13)) for link in ("21", "22", "23", "24", "25", "26", "21")))
    assert [(row[2], row[3]) for row in table(given_)] == [
        ("Home", 2), ("25", 1), ("Leave", 1), ("Mirror page", 1), ("home", 1), ("https://a.example/page", 1),
        ("Others", 0), ("Total", 7),
    ]  # fmt: skip
    by_url = {row[2]: row[3] for row in table(given_, by="url")}
    assert by_url["https://a.example/"] == 3  # two links of one address are summed


def test_control_addresses_and_other_deliveries_are_left_out():
    seed = hits(("21", at(13)), is_seed=True)
    assert table(seed) == [(None, "others", "Others", 0, None), (None, "total", "Total", 0, None)]


def test_time_filter_ends_before_launch_plus_hours_and_begins_with_the_first_hit():
    given_ = hits(("21", at(11)), ("21", at(17, 59, 59)), ("21", at(18)), ("21", None))
    assert table(given_, hours=6)[-1][3] == 2
    assert table(given_)[-1][3] == 4


def test_clicks_per_day_in_the_zone_of_the_report():
    given_ = hits(("21", at(23, 30)), ("21", at(22, 30)), ("22", at(23, 30)), ("21", None), ("21", at(1)))
    found = clicks_per_day(given_, "230", top=1, timezone="Europe/Paris")
    assert found.rows() == [
        (date(2012, 2, 20), 1, "link", "Home", 2),  # 01:00 and 22:30 UTC are 02:00 and 23:30 in Paris
        (date(2012, 2, 21), 1, "link", "Home", 1),
        (date(2012, 2, 21), None, "others", "Others", 1),
    ]
    by_month = clicks_per_day(given_, "230", top=1, every="month")
    assert by_month.rows() == [
        (date(2012, 2, 1), 1, "link", "Home", 3),
        (date(2012, 2, 1), None, "others", "Others", 1),
    ]


def test_tracked_links_of_the_urls_tab():
    given_ = hits(("21", at(13)), ("21", at(13)), ("22", at(13)), ("1", at(13)))
    found = tracked_links(given_, "230")
    assert found.select("link_id", "type", "clicks", "recipients", "share").rows() == [
        ("21", "Email click", 2, 2, 2 / 3), ("22", "Opt-out", 1, 1, 1 / 3), ("23", "Mirror page", 0, 0, 0.0),
        ("24", "Web", 0, 0, 0.0), ("25", "Transaction", 0, 0, 0.0), ("26", "Email click", 0, 0, 0.0),
        ("27", "Email click", 0, 0, 0.0),
    ]  # fmt: skip


def test_tracked_links_hold_what_no_list_of_links_declares():
    rows = [{"delivery_id": "230", "event_id": str(n), "link_id": link, "event_type": kind, "message_id": "1"}
            for n, (link, kind) in enumerate([("99", "unknown"), (None, "clicked"), (None, "bounced")])]  # fmt: skip
    found = tracked_links(tables(event=rows), "230")
    assert found.select("link_id", "type", "clicks").rows() == [("99", "Unknown", 1), (None, "Email click", 1)]


def peer(key: str, launched: datetime | None, **more) -> dict[str, object]:
    return {"delivery_id": key, "started_at": launched, "typology_id": "1", "message_type": 0, "to_deliver": 4,
            "text_messages": 0, "is_proof": False, "is_model": False} | more  # fmt: skip


def instance_of_peers(*peers: dict[str, object]) -> Snapshot:
    """Each peer delivered 10 messages; the nth has n clicks by n people on n messages."""
    here = peer("230", datetime(2012, 8, 31, 12, tzinfo=UTC))
    messages = [{"delivery_id": row["delivery_id"], "message_id": f"{row['delivery_id']}-{n}", "status": "delivered",
                 "is_seed": False} for row in (here, *peers) for n in range(10)]  # fmt: skip
    clicks = [{"delivery_id": row["delivery_id"], "event_id": f"{place}{n}", "message_id": f"{row['delivery_id']}-{n}",
               "person_id": f"p{place}{n}", "event_type": "clicked", "link_id": "5", "is_seed": False}
              for place, row in enumerate((here, *peers), start=1) for n in range(place)]  # fmt: skip
    return tables(delivery=[here, *peers], message=messages, event=clicks)


def test_platform_average_is_over_six_calendar_months_before_the_launch():
    given_ = instance_of_peers(
        peer("a", datetime(2012, 2, 29, 12, tzinfo=UTC)),  # six months before 31 August: the last day of February, in
        peer("b", datetime(2012, 2, 29, 11, 59, 59, tzinfo=UTC)),  # a second too early
        peer("c", datetime(2012, 8, 31, 11, 59, 59, tzinfo=UTC)),  # in
        peer("d", datetime(2012, 8, 31, 12, tzinfo=UTC)),  # launched together: out
        peer("e", None, contact_at=datetime(2012, 5, 1, tzinfo=UTC)),  # by its planned contact: in
        peer("f", None),  # never dated
        peer("g", datetime(2012, 5, 1, tzinfo=UTC), is_proof=True),
        peer("h", datetime(2012, 5, 1, tzinfo=UTC), is_model=True),
        peer("i", datetime(2012, 5, 1, tzinfo=UTC), typology_id="2"),
        peer("j", datetime(2012, 5, 1, tzinfo=UTC), message_type=1),
        peer("k", datetime(2012, 5, 1, tzinfo=UTC), typology_id=None),
    )
    figures = click_figures(given_, "230").rows_by_key("metric", named=True, unique=True)
    cumulated = figures["total_click_rate"]
    assert (cumulated["label"], cumulated["numerator"], cumulated["denominator"]) == ("Click rate (all clicks)", 1, 10)
    assert cumulated["rate"] == 0.1
    # a, c and e have 2, 4 and 6 clicks on ten messages each
    assert (cumulated["deliveries"], cumulated["average_numerator"], cumulated["average_denominator"]) == (3, 12, 30)
    assert cumulated["platform_average"] == 12 / 30
    assert figures["estimated_click_to_open_rate"]["platform_average"] == 1.0


def test_average_of_sums_and_mean_of_rates_differ():
    given_ = instance_of_peers(*(peer(key, datetime(2012, 6, 1, tzinfo=UTC)) for key in "ab"))
    messages = given_.scan("message").filter(~pl.col("message_id").is_in([f"a-{n}" for n in range(2, 10)]))
    found = click_figures(Snapshot({**given_.frames, "message": messages}), "230").row(2, named=True)
    assert found["platform_average"] == (2 + 3) / (2 + 10)
    assert found["mean_of_rates"] == pytest.approx((2 / 2 + 3 / 10) / 2)


def test_golden_figures_have_their_parts_and_no_average():
    rows = click_figures(golden(), DELIVERY_ID).select("label", "numerator", "denominator", "rate", "deliveries").rows()
    assert rows == [
        ("Estimated recipient reactivity", 2, 3, 2 / 3, 0),
        ("Click rate (people)", 6, 4, 1.5, 0),
        ("Click rate (all clicks)", 15, 4, 3.75, 0),
    ]
    assert click_figures(golden(), DELIVERY_ID)["platform_average"].to_list() == [None] * 3


SECOND = """
    select coalesce(nullif({0}, ''), {1}) as link, count(*) as clicks from event
    where delivery_id = '7' and not coalesce(is_seed, false) and event_type is distinct from 'opened'
      and (link_id is not null or coalesce(event_type, '') = 'clicked') and ({2})
    group by 1 order by clicks desc, link
"""
FIRST = "select min(occurred_at) from event where delivery_id = '7' and not coalesce(is_seed, false)"
NAMES = {
    "label": ("link_label", "nullif(url, ''), link_id, '(unknown link)'"),
    "url": ("url", "nullif(link_label, ''), link_id, '(unknown link)'"),
    "category": ("link_category", "'(no category)'"),
}


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("by", NAMES)
@pytest.mark.parametrize("hours", [None, 5])
def test_the_same_by_a_second_implementation(seed, by, hours):
    given_ = randomised(seed)
    with duckdb.connect(":memory:") as database:
        database.execute("set timezone = 'UTC'")
        database.register(
            "event", given_.scan("event").with_columns(pl.col("event_type").cast(pl.String)).collect().to_arrow()
        )
        database.register("delivery", given_.scan("delivery").collect().to_arrow())
        launched = f"(select coalesce(started_at, contact_at, ({FIRST})) from delivery where delivery_id = '7')"
        within = f"occurred_at < {launched} + interval {hours} hour" if hours else "true"
        expected = database.execute(SECOND.format(*NAMES[by], within)).fetchall()
    found = link_clicks(given_, "7", by=by, top=3, hours=hours)
    assert found.filter(pl.col("row") == "link").select("link", "clicks").rows() == expected[:3]
    assert found["clicks"].to_list()[-2:] == [sum(n for _, n in expected[3:]), sum(n for _, n in expected)]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(list(LINKS)), st.integers(0, 23)), max_size=40), st.integers(1, 6))
def test_shares_add_up_and_days_add_up(given_, top):
    found = hits(*((link, at(hour)) for link, hour in given_))
    shown = link_clicks(found, "230", top=top)
    parts, total = shown.filter(pl.col("row") != "total"), shown["clicks"][-1]
    assert parts["clicks"].sum() == total == sum(link != "1" for link, _ in given_)
    assert parts["share"].sum() == pytest.approx(1) if total else parts["share"].null_count() == parts.height
    assert parts.height <= top + 1 and parts["clicks"][:-1].is_sorted(descending=True)
    assert clicks_per_day(found, "230", top=top, timezone="Asia/Tokyo")["clicks"].sum() == total
    assert tracked_links(found, "230")["clicks"].sum() == total


@pytest.mark.parametrize(
    ("options", "words"),
    [({"by": "labels"}, "Did you mean 'label'"), ({"top": 0}, "got 0"), ({"hours": -1}, "got -1"),
     ({"hours": float("nan")}, "got nan"), ({"top": 1.5}, "got 1.5")],
)  # fmt: skip
def test_what_has_no_answer_is_refused(options, words):
    with pytest.raises(RequestError, match=words):
        link_clicks(golden(), DELIVERY_ID, **options)


def test_unknown_deliveries_zones_and_periods_are_refused():
    for ask in (link_clicks, tracked_links, click_figures, clicks_per_day):
        with pytest.raises(RequestError, match=r"no delivery '23'.*Did you mean '230'"):
            ask(golden(), "23")
    with pytest.raises(RequestError, match="no time zone 'Paris'"):
        clicks_per_day(golden(), "230", timezone="Paris")
    with pytest.raises(RequestError, match="Did you mean 'day'"):
        clicks_per_day(golden(), "230", every="days")
