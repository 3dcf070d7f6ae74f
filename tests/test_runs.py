"""Unattended runs: what is due, that nothing is done twice, that one failure stops no other, what the index says."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from bs4 import BeautifulSoup

from trackkit import resources
from trackkit.errors import RequestError
from trackkit.runs.due import deliveries, run
from trackkit.store import open_store

TWO = ["tracking_statistics", "delivery_tracking"]


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty working directory, whose local notebooks and templates win."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "trackkit.toml").touch()
    return tmp_path


@pytest.fixture
def one(demo_store):
    """The id of one ordinary delivery of the demo."""
    return deliveries(open_store(str(demo_store)))[0]


def test_a_second_run_renders_nothing(here, demo_store, one):
    first = run(demo_store, here / "out", reports=TWO, delivery=[one])
    pages = {path: path.read_bytes() for path in (here / "out").glob("*-*.html")}
    assert len(first.rendered) == len(pages) == 2 and not first.failed
    second = run(demo_store, here / "out", reports=TWO, delivery=[one])
    assert second.rendered == [] and sorted(second.unchanged) == sorted(first.rendered)
    assert all(path.read_bytes() == content for path, content in pages.items())

    next(iter(pages)).unlink()
    third = run(demo_store, here / "out", reports=TWO, delivery=[one])
    assert len(third.rendered) == 1, "a page that was removed is made again"

    template = here / "reports_templates" / "delivery_tracking.toml"
    template.parent.mkdir()
    shipped = resources.find("reports_templates/delivery_tracking.toml").read_text("utf-8")
    template.write_text(re.sub(r'^title = ".*"', 'title = "Who did what"', shipped, count=1, flags=re.MULTILINE))
    fourth = run(demo_store, here / "out", reports=TWO, delivery=[one])
    assert fourth.rendered == [f"{one}/delivery_tracking/en"], "a changed template makes its reports due"
    page = next((here / "out").glob("delivery_tracking*.html")).read_text("utf-8")
    assert "Who did what" in page


def test_a_late_hit_makes_the_reports_of_its_delivery_due_and_no_other(here, demo_store):
    store = here / "store"
    shutil.copytree(demo_store, store)
    first, second, *_ = deliveries(open_store(str(store)))
    asked = {"reports": ["delivery_tracking"], "delivery": [first, second]}
    assert len(run(store, here / "out", **asked).rendered) == 2
    line = f"50x00000000FFFFFFF1\t2026-11-15T12:00:00.00\t0\t{int(second):x}\t1\t0\t\th\t-\tlate\t192.0.2.1\n"
    (here / "late.log").write_text(line)
    report = open_store(str(store)).ingest(str(here / "late.log"))
    assert report.sources[0].kept == 1
    assert run(store, here / "out", **asked).rendered == [f"{second}/delivery_tracking/en"]


def test_a_late_bounce_of_a_feed_makes_the_reports_of_its_delivery_due_and_no_other(here):
    head = "action,campaign_id,member_id,timestamp,bounce_type,url\n"
    folder = here / "raw"
    folder.mkdir()
    (folder / "campaign.csv").write_text("id,title,send_time,status\n" + "".join(
        f"c{one},Campaign {one},2026-01-0{one} 10:00:00,sent\n" for one in (1, 2)))  # fmt: skip
    sends = "".join(f"c{one},m{one}\n" for one in (1, 2))
    (folder / "campaign_recipient.csv").write_text(f"campaign_id,member_id\n{sends}")
    opened = "".join(f"open,c{one},m{one},2026-01-0{one} 11:00:00,,\n" for one in (1, 2))
    (folder / "campaign_recipient_activity.csv").write_text(head + opened)
    store = open_store(str(here / "store"))
    store.ingest(folder)
    asked = {"reports": ["delivery_tracking"]}
    assert len(run(here / "store", here / "out", **asked).rendered) == 2
    (here / "late").mkdir()
    late = here / "late" / "campaign_recipient_activity.csv"
    late.write_text(f"{head}bounce,c2,m2,2026-01-09 10:00:00,hard,\n")
    store.ingest(late)
    assert run(here / "store", here / "out", **asked).rendered == ["c2/delivery_tracking/en"]
    store.ingest(late.rename(here / "campaign_recipient_activity.csv"))  # a copy is nothing new
    assert run(here / "store", here / "out", **asked).rendered == []


def test_one_failure_stops_no_other(here, demo_store, one):
    broken = here / "notebooks" / "reports" / "delivery_tracking.ipynb"
    broken.parent.mkdir(parents=True)
    book = json.loads(resources.find("notebooks/reports/delivery_tracking.ipynb").read_text("utf-8"))
    opening = next(cell for cell in book["cells"] if "open_page" in "".join(cell["source"]))
    opening["source"] = "raise ValueError('as told')"
    broken.write_text(json.dumps(book))
    command = [sys.executable, "-m", "trackkit", "run", "--store", str(demo_store), "--out", "out", "--delivery", one,
               "--reports", ",".join(TWO)]  # fmt: skip
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).resolve().parents[1])}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 4 and "as told" in done.stdout
    manifest = json.loads((here / "out" / "manifest.json").read_text("utf-8"))["reports"]
    assert {name.split("/")[1]: entry["status"] for name, entry in manifest.items()} == {
        "tracking_statistics": "done", "delivery_tracking": "failed",
    }  # fmt: skip
    assert len(list((here / "out").glob("delivery_tracking*.html"))) == 0
    assert len(list((here / "out").glob("delivery_tracking*.failed.ipynb"))) == 1

    shutil.rmtree(here / "notebooks")
    assert run(demo_store, here / "out", reports=TWO, delivery=[one]).rendered == [f"{one}/delivery_tracking/en"]
    assert not list((here / "out").glob("*.failed.ipynb")), "a mended report takes its failed notebook away"


def test_a_typo_in_one_template_fails_its_report_alone(here, demo_store, one):
    template = here / "reports_templates" / "tracking_indicators.toml"
    template.parent.mkdir()
    shipped = resources.find("reports_templates/tracking_indicators.toml").read_text("utf-8")
    template.write_text(shipped.replace("metrics =", "metric =", 1))
    reports = ["tracking_indicators", "delivery_tracking"]  # the first is what the fork server warms up with
    made = run(demo_store, here / "out", reports=reports, delivery=[one])
    assert made.rendered == [f"{one}/delivery_tracking/en"]
    where = f"{template}, section 'open_and_click_through', key 'metric'"
    said = {"platform/tracking_indicators/en": f"{where}: there is no such key. Did you mean 'metrics'?"}
    assert made.failed == said
    assert run(demo_store, here / "out", reports=reports, delivery=[one]).failed == said
    template.unlink()
    assert run(demo_store, here / "out", reports=reports, delivery=[one]).rendered == [f"{one}/tracking_indicators/en"]
    manifest = json.loads((here / "out" / "manifest.json").read_text("utf-8"))["reports"]
    assert {entry["status"] for entry in manifest.values()} == {"done"}, "what failed once is forgotten"


@pytest.mark.parametrize(
    ("name", "before", "after"),
    [("quality.toml", "least = 10", "leest = 10"), ("html/theme.toml", "ink =", "inc =")],
)
def test_what_no_page_can_do_without_is_refused_before_any_is_rendered(here, demo_store, one, name, before, after):
    path = here / "reports_templates" / name
    path.parent.mkdir(parents=True)
    shipped = resources.find(f"reports_templates/{name}").read_text("utf-8")
    path.write_text(shipped.replace(before, after, 1), encoding="utf-8")
    with pytest.raises(RequestError, match=rf"{path.name}, .*Did you mean '{before.split()[0]}'"):
        run(demo_store, here / "out", reports=TWO, delivery=[one])
    assert not list(here.glob("out/*.html"))


def test_the_index_lists_deliveries_with_figures_and_links(here, demo_store, one):
    run(demo_store, here / "out", reports=TWO, delivery=[one])
    page = BeautifulSoup((here / "out" / "index.html").read_text("utf-8"), "lxml")
    rows = page.select("#deliveries tbody tr")
    assert len(rows) == 1 and rows[0].select_one(".key").get_text() == one
    (link,) = [link["href"] for link in rows[0].select("a")]
    pages = [path.name for path in (here / "out").glob("*.html")]
    assert link in pages and all(name in (here / "out" / link).read_text("utf-8") for name in pages)
    policy = page.find("meta", {"http-equiv": "Content-Security-Policy"})["content"]
    assert "default-src 'none'" in policy and "unsafe-eval" not in policy
    assert not page.select("[src], link, [onclick]")


def test_a_report_about_all_deliveries_is_made_once(here, demo_store, one):
    made = run(demo_store, here / "out", reports=["subscription_tracking", "browsers"], delivery=[one], jobs=1)
    assert sorted(made.rendered) == ["platform/browsers/en", "platform/subscription_tracking/en"] and not made.failed
    page = BeautifulSoup((here / "out" / "index.html").read_text("utf-8"), "lxml")
    titles = [link.get_text(strip=True) for link in page.select(".platform a")]
    assert titles == ["Browsers", "Subscription tracking"], "in the order of the groups, whichever was finished first"
    assert run(demo_store, here / "out", reports=["subscription_tracking", "browsers"]).rendered == []


def test_the_index_lists_only_deliveries_of_the_store(here, demo_store, one):
    run(demo_store, here / "out", reports=["delivery_tracking"], delivery=[one])
    (here / "other.log").write_text("50x01\t2026-11-15T12:00:00.00\t1\tff\t1\t0\t\th\t-\tagent\t192.0.2.1\n")
    open_store(str(here / "other")).ingest(str(here / "other.log"))
    assert run(here / "other", here / "out", reports=["delivery_tracking"]).rendered == ["255/delivery_tracking/en"]
    page = BeautifulSoup((here / "out" / "index.html").read_text("utf-8"), "lxml")
    assert [key.get_text() for key in page.select("#deliveries .key")] == ["255"]


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"reports": ["hot_click"]}, "Did you mean 'hot_clicks'?"),
        ({"delivery": ["nobody"]}, "There is no delivery 'nobody'"),
        ({"since": "last monday"}, "2026-11-01"),
    ],
)
def test_wrong_requests(here, demo_store, wrong, words):
    with pytest.raises(RequestError, match=re.escape(words)):
        run(demo_store, here / "out", **wrong)


def test_proofs_and_models_are_left_out_unless_named(demo_store):
    store = open_store(str(demo_store))
    unsent = store.scan("delivery").filter("is_proof").collect()["delivery_id"].to_list()
    assert unsent and not set(unsent) & set(deliveries(store))
    assert deliveries(store, unsent[:1]) == unsent[:1]


def test_since_keeps_the_later_deliveries(demo_store):
    store = open_store(str(demo_store))
    launched = dict(store.scan("delivery").select("delivery_id", "started_at").collect().drop_nulls().iter_rows())
    every = deliveries(store)
    border = sorted(launched[name] for name in every if name in launched)[1].date()
    kept = deliveries(store, since=border)
    assert kept == [name for name in every if name in launched and launched[name].date() >= border]
    assert 0 < len(kept) < len(every)


@pytest.mark.browser
def test_search_hides_the_other_deliveries(here, demo_store, browser):
    run(demo_store, here / "out", reports=["delivery_tracking"])
    page = browser.new_page()
    requests = []
    page.on("request", lambda request: requests.append(request.url))
    page.goto((here / "out" / "index.html").as_uri())
    every = page.locator("#deliveries tbody tr:visible").count()
    wanted = deliveries(open_store(str(demo_store)))[-1]
    page.fill("#search", wanted)
    assert page.locator("#deliveries tbody tr:visible").count() == 1 < every
    assert page.locator("#found").text_content() == f"1 of {every} shown"
    assert all(url.startswith("file:") for url in requests)
