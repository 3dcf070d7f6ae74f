"""Paths of web applications and tags of their pages are kept apart; cumulative figures by class of mail domain."""

from pathlib import Path

import polars as pl
import pytest

from tests.notebooks import run, texts
from tests.parity import Row, changed, instance
from trackkit.analysis import webapp
from trackkit.analysis.consent import with_consent
from trackkit.analysis.links import link_clicks
from trackkit.analysis.web import attribute_web, attribution_counts
from trackkit.engine.snapshot import Snapshot
from trackkit.sources.table_formats import built_in
from trackkit.store import load


@pytest.fixture(scope="module")
def goals(tmp_path_factory: pytest.TempPathFactory) -> Snapshot:
    """One application with two paths: v1 orders in three steps; v2 subscribes; v3 only begins to."""
    return load(instance(tmp_path_factory.mktemp("goal") / "raw", "goal"))


def test_each_path_has_its_own_rates(goals: Snapshot) -> None:
    found = webapp.conversion(webapp.counted_pages(goals))
    columns = ("web_application", "goal", "pages", "visitors", "steps", "started", "converted", "bounced")
    assert found.select(columns).rows() == [
        ("APP", "Order", 3, 1, 3, 1, 1, 0), ("APP", "Subscribe", 3, 2, 2, 2, 1, 1),
    ]  # fmt: skip
    assert found.select("conversion_rate", "bounce_rate").rows() == [(1.0, 0.0), (0.5, 0.5)]


def test_each_path_has_its_own_funnel_and_sources(goals: Snapshot) -> None:
    pages = webapp.counted_pages(goals)
    order, subscribe = webapp.by_path(webapp.funnel(pages), pages)
    assert order.select("place", "page", "visitors").rows() == [(1, "home", 1), (2, "basket", 1), (3, "paid", 1)]
    assert subscribe.select("place", "page", "visitors", "lost").rows() == [(1, "home", 2, None), (2, "form", 1, 1)]
    sources = webapp.by_path(webapp.traffic_sources(goals, pages), pages)
    assert [one.select("goal", "source", "visitors", "total", "converted").row(0) for one in sources] == [
        ("Order", "Maio oferta", 1, 1, 1), ("Subscribe", "Maio oferta", 2, 2, 1),
    ]  # fmt: skip


def test_the_source_of_a_visitor_is_that_of_the_application(tmp_path: Path) -> None:
    def change(rows: list[Row]) -> list[Row]:  # v3 came with a delivery in the cookie, and walks on without one
        return [*rows, rows[-1] | {"sGoal": "Order", "iDeliveryId": "", "tsLog": "2026-05-04 10:40:00"}]

    raw = instance(tmp_path / "raw", "goal")
    changed(raw / "web_page_hit.csv", change)
    given = load(raw)
    found = webapp.traffic_sources(given, webapp.counted_pages(given)).filter(goal="Order")
    assert found.select("found_by", "delivery_id", "visitors", "started", "converted").rows() == [
        ("cookie", "100", 2, 2, 1)
    ]


def test_the_page_tells_them_apart(goals: Snapshot) -> None:
    shown = run("web_application", store=goals)
    said = {section: " ".join(texts(value) for name, value in shown if name == section) for section, _ in shown}
    assert ">Path</th>" in said["conversion"] and ">Subscribe</td>" in said["conversion"]
    for section in ("funnel", "traffic_sources"):
        assert "APP · Order" in said[section] and "APP · Subscribe" in said[section]


def test_an_application_without_goals_is_shown_as_ever(tmp_path: Path) -> None:
    given = load(instance(tmp_path / "raw"))
    shown = " ".join(texts(value) for section, value in run("web_application", store=given) if section)
    assert ">Path</th>" not in shown and "(no path)" not in shown
    found = webapp.conversion(webapp.counted_pages(given))
    assert found.select("goal", "visitors", "started", "converted").rows() == [(None, 3, 3, 1)]  # v4 refused


def test_pages_on_no_path_of_an_application_with_paths(tmp_path: Path) -> None:
    raw = instance(tmp_path / "raw", "goal")
    changed(raw / "web_page_hit.csv", lambda rows: [*rows, rows[0] | {"sGoal": "", "iStep": "", "sPageName": "help"}])
    given = load(raw)
    pages = webapp.counted_pages(given)
    assert webapp.conversion(pages).select("goal", "visitors", "started").row(2) == (None, 1, 0)
    assert [one["goal"][0] for one in webapp.by_path(webapp.traffic_sources(given, pages), pages)] == [
        "Order",
        "Subscribe",
    ]
    shown = " ".join(texts(value) for section, value in run("web_application", store=given) if section == "conversion")
    assert "(no path)" in shown


def _with_tags(raw: Path) -> Path:
    """Give the page `home` of the application two more tags, and that of the site a second one, told by its name."""

    def of_pages(rows: list[Row]) -> list[Row]:
        tagged = [row | {"sTagId": "t1"} for row in rows]
        more = [rows[0] | {"sGoal": "Subscribe", "sTagId": "t2"}, rows[0] | {"sTagId": "", "sTrackerName": "TRK3"}]
        return [*tagged, *more]

    def of_links(rows: list[Row]) -> list[Row]:
        tags = {"21": {"sTagId": "home", "sTrackerName": "TRK1"}}
        home = next(row for row in rows if row["iTrackingUrlId"] == "21")
        return [*(row | tags.get(row["iTrackingUrlId"], {}) for row in rows),
                home | {"iTrackingUrlId": "23", "sTrackerName": "TRK2"}]  # fmt: skip

    def of_hits(rows: list[Row]) -> list[Row]:
        return [*rows, next(row for row in rows if row["iUrlId"] == "21") | {"iTrackingLogId": "99", "iUrlId": "23"}]

    for name, change in (("web_page_hit", of_pages), ("tracking_url", of_links), ("tracking_log", of_hits)):
        changed(raw / f"{name}.csv", change)
    return raw


def test_tags_of_one_page_are_kept_apart_and_the_page_is_one(tmp_path: Path) -> None:
    given = load(_with_tags(instance(tmp_path / "raw", "goal")))
    tags = given.scan("page_hit").filter(pl.col("page") == "home", pl.col("person_id") == "v1")
    assert sorted(tags.select("goal", "tag_id").collect().rows()) == [
        ("Order", "TRK3"), ("Order", "t1"), ("Subscribe", "t2"),
    ]  # fmt: skip
    pages = webapp.counted_pages(given)
    assert webapp.conversion(pages).select("goal", "pages", "visitors", "started", "converted", "bounced").rows() == [
        ("Order", 3, 1, 1, 1, 0), ("Subscribe", 4, 3, 3, 1, 2),
    ]  # fmt: skip
    assert webapp.choices(pages)["pages"].sum() == 6  # as many as without the further tags
    visits = with_consent(given, attribute_web(given))
    assert attribution_counts(visits, "100")["application_pages"].sum() == 6
    found = link_clicks(given, "100", by="tag").filter(pl.col("link") != "Others")
    assert {"home": 2, "TRK2": 1}.items() <= dict(found.select("link", "clicks").iter_rows()).items()


def test_a_tag_is_that_of_the_hit_else_that_of_its_link(tmp_path: Path) -> None:
    raw = _with_tags(instance(tmp_path / "raw", "goal"))
    changed(raw / "web_tracking_log.csv", lambda rows: [*rows, {"iTrackingLogId": "20", "sTagId": "own"}])
    tags = load(raw).scan("event").select("event_id", "tag_id").drop_nulls().collect()
    assert dict(tags.sort("event_id").iter_rows()) == {"20": "own", "21": "home", "99": "TRK2"}


def test_paths_and_tags_have_the_names_of_the_model() -> None:
    table = built_in("adobe_export").maps["web_page_hit"]
    heads = {"sWebAppName": "web_application", "@goal": "goal", "Target action": "goal", "@trackerName": "tag_id"}
    assert {header: next(iter(table.match([header]))).column for header in heads} == heads


def test_cumulative_figures_are_by_class_of_domain(tmp_path: Path) -> None:
    given = load(instance(tmp_path / "raw"))
    page = " ".join(texts(value) for section, value in run("cumulative", store=given) if section)
    # 100, 200, 210, 300 and 600: of outlook.com, live.com and hotmail.com one class of three messages
    assert ">Hotmail/Outlook</td>" in page and ">Gmail</td>" in page
    assert not any(f">{domain}</td>" in page for domain in ("gmail.com", "outlook.com", "live.com", "yahoo.com"))
