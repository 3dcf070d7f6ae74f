"""Web applications: conversion, bounces, the funnel with its losses, traffic sources, and who is left out."""

import random
from datetime import timedelta

import duckdb
import polars as pl
import pytest

from tests.spec.golden import at, tables
from trackkit.analysis.webapp import (
    UNNAMED,
    applications,
    choices,
    conversion,
    counted_pages,
    funnel,
    of_application,
    traffic_sources,
)
from trackkit.engine.snapshot import Snapshot
from trackkit.errors import RequestError
from trackkit.show.charts.web import funnel_bars
from trackkit.show.tables.web import consent_table, conversion_figures, conversion_table, funnel_table, source_table


def hit(minute: int, person: str | None, step: int | None, **more):
    return {
        "occurred_at": at(12, minute), "web_application": "Order", "page": f"Page {step}", "step": step,
        "person_id": person, **more,
    }  # fmt: skip


# Ann walks to the end, Bob stops on the second page, Cid sees the first only, Dan jumps to the third, Eve refused.
WALKS = [
    hit(1, "ann", 1), hit(2, "ann", 2), hit(3, "ann", 3), hit(4, "ann", 3),
    hit(1, "bob", 1, delivery_id="7"), hit(2, "bob", 2, delivery_id="8"), hit(1, "cid", 1, delivery_id="7"),
    hit(2, "cid", 1), hit(1, "dan", 1), hit(5, "dan", 3),
    hit(1, "eve", 1, delivery_id="7"), hit(2, "eve", 2, web_optout=1), hit(3, "eve", 3),
    hit(9, None, 1, recipient_id="5"), hit(9, None, 1),
]  # fmt: skip
PAGES = tables(page_hit=WALKS, delivery=[{"delivery_id": "7", "label": "Letter"}])


def test_conversion_and_bounces_are_out_of_the_visitors_of_the_first_page():
    # ann, bob, cid, dan and recipient 5 began; ann saw every page; cid and recipient 5 saw no later one
    assert conversion(counted_pages(PAGES)).row(0, named=True) == {
        "web_application": "Order", "goal": None, "pages": 12, "visitors": 5, "steps": 3, "started": 5,
        "converted": 1, "conversion_rate": 1 / 5, "bounced": 2, "bounce_rate": 2 / 5,
        "left_out": 1, "everyone": 6, "left_out_rate": 1 / 6,
    }  # fmt: skip


def test_the_funnel_loses_visitors_from_step_to_step():
    assert funnel(counted_pages(PAGES)).drop("web_application", "goal").rows() == [
        (1, 1, "Page 1", 5, 5, 5, 1.0, None, None, None),
        (2, 2, "Page 2", 2, 2, 5, 2 / 5, 5, 3, 3 / 5),
        (3, 3, "Page 3", 2, 1, 5, 1 / 5, 2, 1, 1 / 2),  # dan displayed it, but not the second
    ]


def test_strict_order_asks_for_each_page_at_or_after_the_one_before():
    backwards = [hit(5, "ann", 1), hit(4, "ann", 2), hit(6, "bob", 1), hit(6, "bob", 2), hit(7, "ann", 2)]
    pages = counted_pages(tables(page_hit=[*backwards, hit(1, "cid", 1), hit(1, "cid", 2) | {"occurred_at": None}]))
    assert funnel(pages)["visitors"].to_list() == [3, 3]
    assert funnel(pages, "strict")["visitors"].to_list() == [3, 1]
    assert conversion(pages, "strict")["converted"].item() == 1
    with pytest.raises(RequestError, match=r"no order 'stict'.*strict"):
        funnel(pages, "stict")


def test_steps_need_not_be_numbered_from_one_and_pages_of_a_step_share_it():
    rows = [hit(1, "ann", 10), hit(2, "ann", 20, page="A"), hit(3, "bob", 20, page="B"), hit(4, "bob", None)]
    found = funnel(counted_pages(tables(page_hit=rows)))
    assert found.select("place", "step", "page", "displayed", "visitors").rows() == [
        (1, 10, "Page 10", 1, 1), (2, 20, "A / B", 2, 1),
    ]  # fmt: skip


def test_sources_are_the_first_delivery_in_the_cookie_then_the_external_one():
    columns = ("rank", "found_by", "delivery_id", "source", "visitors", "total", "started", "converted")
    found = traffic_sources(PAGES, counted_pages(PAGES)).select(columns)
    assert found.rows() == [
        (1, "nothing", None, None, 3, 5, 3, 1), (2, "cookie", "7", "Letter", 2, 5, 2, 0),
    ]  # fmt: skip
    external = traffic_sources(PAGES, counted_pages(PAGES), external_delivery="99").select(columns)
    assert external.row(0) == (1, "application", "99", "99", 3, 5, 3, 1)
    (name,) = counted_pages(PAGES)["web_application"].unique()
    for asked, source in {f"{name}=98, 99": "98", f"99,{name}=98": "98", "99,": "99"}.items():
        own = traffic_sources(PAGES, counted_pages(PAGES), external_delivery=asked)
        assert own.select("found_by", "delivery_id").row(0) == ("application", source)
    with pytest.raises(RequestError, match="no web application 'Other'"):
        traffic_sources(PAGES, counted_pages(PAGES), external_delivery="Other=98")
    others = traffic_sources(PAGES, counted_pages(PAGES), top=1).select(columns)
    assert others.row(1) == (None, None, None, None, 2, 5, 2, 0)
    with pytest.raises(RequestError, match="whole number from 1"):
        traffic_sources(PAGES, counted_pages(PAGES), top=0)


def test_who_refused_is_in_no_numerator_and_no_denominator():
    without = tables(page_hit=[row for row in WALKS if row["person_id"] != "eve"], delivery=[{"delivery_id": "7"}])
    refused, never = counted_pages(PAGES), counted_pages(without)
    assert funnel(refused).equals(funnel(never))
    kept = ("visitors", "started", "converted", "bounced", "conversion_rate", "bounce_rate")
    assert conversion(refused).select(kept).equals(conversion(never).select(kept))
    left_out = choices(refused).filter(pl.col("web_choice") == "refused")
    assert left_out.select("is_counted", "visitors", "total", "pages").row(0) == (False, 1, 6, 3)


def test_only_who_allowed_it_counts_when_consent_is_asked_for():
    rows = [*WALKS, hit(20, "ann", None, web_optout=0)]
    found = conversion(counted_pages(tables(page_hit=rows), consent="opt-in")).row(0, named=True)
    assert (found["visitors"], found["started"], found["converted"], found["left_out"]) == (1, 1, 1, 5)


def test_a_step_that_only_refusing_visitors_saw_is_there():
    pages = counted_pages(tables(page_hit=[hit(1, "ann", 1), hit(1, "eve", 1, web_optout=1), hit(2, "eve", 2)]))
    assert funnel(pages)["visitors"].to_list() == [1, 0] and conversion(pages)["conversion_rate"].item() == 0.0
    nobody = counted_pages(tables(page_hit=[hit(1, "eve", 1, web_optout=1)]))
    assert conversion(nobody).select("started", "conversion_rate", "bounce_rate").row(0) == (0, None, None)


def test_applications_are_chosen_by_name():
    rows = [*WALKS, hit(1, "ann", 1, web_application="Quiz"), hit(1, "ann", 1, web_application=None)]
    given = tables(page_hit=rows)
    assert applications(given) == ["Order", UNNAMED, "Quiz"]
    assert conversion(counted_pages(given))["web_application"].to_list() == ["Order", UNNAMED, "Quiz"]
    assert counted_pages(given, "Quiz").height == 1 == of_application(counted_pages(given), "Quiz").height
    with pytest.raises(RequestError, match=r"no web application 'Quizz'.*Quiz"):
        counted_pages(given, "Quizz")


def test_nothing_loaded_is_nothing_shown():
    pages = counted_pages(Snapshot({}))
    frames = (conversion(pages), funnel(pages), traffic_sources(Snapshot({}), pages), choices(pages))
    assert all(frame.is_empty() for frame in frames) and applications(Snapshot({})) == []


# ---- the same by a second implementation ------------------------------------------------------------------------

SECOND = """
with hit as (select rowid, *, coalesce(person_id, 'recipient ' || recipient_id) as visitor from page_hit),
refused as (select visitor from (select visitor, web_optout, row_number() over (partition by visitor
    order by occurred_at desc nulls last, web_optout desc) as nth from hit
    where web_optout is not null and visitor is not null)
    where nth = 1 and web_optout = 1),
shut as (select h.* from hit h where (select web_optout from hit c where c.visitor = h.visitor
    and c.web_optout is not null and c.occurred_at <= h.occurred_at
    order by c.occurred_at desc, web_optout desc limit 1) = 1),
counted as (select * from hit where visitor is not null and visitor not in (select visitor from refused)
    and rowid not in (select rowid from shut)),
first as (select web_application, visitor, step, min(occurred_at) as moment from counted where step is not null
    group by all)
select p.web_application, p.step,
    (select count(*) from first f where f.web_application = p.web_application and f.step = p.step
        and (select count(distinct g.step) from first g where g.web_application = f.web_application
             and g.visitor = f.visitor and g.step <= f.step)
          = (select count(distinct step) from hit s where s.web_application = p.web_application and s.step <= p.step)
        and ({any_order} or not exists (select 1 from first a join first b on a.visitor = b.visitor
             and a.web_application = b.web_application and b.step > a.step and b.step <= f.step
             and a.visitor = f.visitor and a.web_application = f.web_application
             and not coalesce(b.moment >= a.moment, false)))) as visitors,
    (select count(*) from first f where f.web_application = p.web_application and f.step = p.step) as displayed
from (select distinct web_application, step from hit where step is not null) p order by 1, 2
"""


@pytest.mark.parametrize("seed", range(6))
def test_the_funnel_agrees_with_sql(seed):
    chance = random.Random(seed)
    choice = {person: chance.choice([(None,), (None, 0), (None, 1), (None, 0, 1)]) for person in [*"abcdefghij", None]}
    rows = [
        hit(0, person := chance.choice([*"abcdefghij", None]), chance.choice([1, 1, 2, 2, 4, None]),
            web_application=chance.choice(["Order", "Quiz"]), recipient_id=chance.choice([None, "1", "2"]),
            web_optout=chance.choice(choice[person]))
        | {"occurred_at": at(0) + timedelta(seconds=chance.randint(0, 200))}
        for _ in range(90)
    ]  # fmt: skip
    given = tables(page_hit=rows)
    pages = counted_pages(given)
    with duckdb.connect(":memory:") as base:
        base.execute("set timezone = 'UTC'")
        base.register("given", given.scan("page_hit").collect().to_arrow())
        base.execute("create table page_hit as select * from given")
        for order, any_order in (("any", "true"), ("strict", "false")):
            expected = base.execute(SECOND.format(any_order=any_order))
            found = funnel(pages, order).select("web_application", "step", "visitors", "displayed").rows()
            assert found == expected.fetchall(), order


# ---- shown -------------------------------------------------------------------------------------------------------


def test_bars_and_tables_show_each_source_and_step_once():
    deliveries = [{"delivery_id": key, "label": "<b>Letter"} for key in ("7", "8")]
    rows = [hit(1, "ann", 1, delivery_id="7"), hit(1, "bob", 1, delivery_id="8"), hit(2, "bob", 2)]
    given = tables(page_hit=rows, delivery=deliveries)
    pages = counted_pages(given)
    drawn = funnel_bars(funnel(pages)).to_dict()["datasets"].values()
    shown = [(row["name"], row["said"]) for rows in drawn for row in rows if "said" in row]
    assert shown == [("1. Page 1", "2 (100.0%)"), ("2. Page 2 · 1 lost (50.0%)", "1 (50.0%)")]
    html = source_table(traffic_sources(given, pages)).as_raw_html()
    assert html.count("&lt;b&gt;Letter") == 2 and "<b>Letter" not in html and "50.0%" in html and "1 of 2" in html
    assert "Traffic sources of Order" in html and "Found in" not in html
    steps = funnel_table(funnel(pages)).as_raw_html()
    assert "Loss since the step before" in steps and "1 of 2" in steps and "n/a" not in steps
    large = conversion_figures(conversion(pages))._repr_html_()
    assert "Order: finished</span><strong>50.0%" in large and "1 of 2 who began saw every page" in large


def test_sources_that_are_unknown_come_last():
    rows = [hit(1, "ann", 1), hit(1, "bob", 1), hit(1, "cid", 1, delivery_id="7")]
    given = tables(page_hit=rows, delivery=[{"delivery_id": "7", "label": "Letter"}])
    sources = traffic_sources(given, counted_pages(given))
    assert sources["visitors"].to_list() == [2, 1]
    html = source_table(sources).as_raw_html()
    assert html.index("Letter") < html.index("(no delivery known)")
    applied = source_table(traffic_sources(given, counted_pages(given), "7")).as_raw_html()
    assert "Found in" in applied and "the web application" in applied


def test_a_rate_of_nobody_says_why():
    nobody = counted_pages(tables(page_hit=[hit(1, "eve", 1, web_optout=1)]))
    html = conversion_table(conversion(nobody)).as_raw_html()
    assert html.count("On the first page is 0") == 2 and "100.0%" in html
    assert "who began" not in conversion_figures(conversion(nobody))._repr_html_()
    empty = counted_pages(Snapshot({}))
    assert "No web application was visited." in conversion_table(conversion(empty))._repr_html_()
    assert "No web application was visited." in consent_table(choices(empty))._repr_html_()
