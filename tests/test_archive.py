"""Earlier versions of pages: which are kept, what the foot says of them, and that forgetting forgets them too."""

import hashlib
import json
import re
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from bs4 import BeautifulSoup

from tests.test_cli import trackkit
from trackkit import resources
from trackkit.errors import RequestError
from trackkit.report import render
from trackkit.report.formats import beside
from trackkit.report.html_page import script_json
from trackkit.runs.archive import Archive, archived, changes
from trackkit.runs.due import deliveries, run, withdraw
from trackkit.runs.retention import forget
from trackkit.runs.versions import delete_versions, versions
from trackkit.store import open_store

AT = datetime(2026, 11, 1, 8, tzinfo=UTC)


def _data(rows: list[list[Any]], *kinds: str, name: str = "table") -> str:
    columns = [{"name": f"c{nth}", "label": f"Column {nth}", "kind": kind} for nth, kind in enumerate(kinds)]
    data = script_json({"name": name, "columns": columns, "rows": rows})
    return f'<script type="application/json" id="data-s1-1">{data}</script>'


def _page(body: str, stamp: str = "now") -> str:
    return (
        f'<html><body><!--bar--><a href="other.html">x</a><!--/bar--><header>h</header><a href="#here">y</a>{body}'
        f'<footer><time class="calculated">{stamp}</time><!--archive--><!--/archive--></footer></body></html>'
    )


# --- what changed


def test_figures_that_changed_are_told_by_the_words_of_their_row_and_the_first_rate():
    kinds = ("text", "count", "share", "count")
    before = _data([["Opened", 378, 0.378, 1000], ["Clicked", 9, 0.009, 1000], ["Gone", 1, None, 5]], *kinds)
    after = _data([["Opened", 381, 0.381, 1000], ["Clicked", 9, 0.009, 1000], ["New", 1, None, 5]], *kinds)
    assert changes(before, after) == ["Opened, Column 2 37.8% → 38.1%"]
    assert changes(before, before) == []
    closer = _data([["Opened", 378, 0.3784, 1000]], *kinds)
    assert changes(before, closer) == ["Opened, Column 2 37.80% → 37.84%"], "as many decimals as show it"
    unknown = _data([["Opened", 378, None, 1000]], *kinds)
    assert changes(before, unknown) == ["Opened, Column 2 37.8% → n/a"]


def test_rows_that_say_the_same_are_told_apart_by_their_order():
    before = _data([["a", 1], ["a", 2]], "text", "count") + _data([["a", 3]], "text", "count")
    after = _data([["a", 1], ["a", 5]], "text", "count") + _data([["a", 3]], "text", "count")
    assert changes(before, after) == ["a 2 → 5"]


def test_curves_over_time_are_compared_only_if_no_other_figure_changed():
    curve = _data([["2026-11-01T00:00:00Z", 1]], "instant", "count", name="curve")
    more = _data([["2026-11-01T00:00:00Z", 2]], "instant", "count", name="curve")
    one, two = (_data([["Total", nth]], "text", "count") for nth in (1, 2))
    assert changes(one + curve, two + more) == ["Total 1 → 2"]
    assert changes(one + curve, one + more) == ["2026-11-01T00:00:00Z 1 → 2"]


# --- what is kept


def _replace(folder: Path, body: str, at: datetime, keep: int | None, stamp: str = "now") -> str:
    """Let a run replace the page `p.html`; return the page."""
    page, archive = folder / "p.html", Archive(folder, "en", "Europe/Paris", keep)
    archive.set_aside([{"path": "p.html", "rendered_at": at.isoformat()}])
    resources.write_whole(page, _page(body, stamp))
    result = archive.keep({"status": "done", "path": "p.html"})
    archive.finish()
    assert len(result["sha256"]) == 64
    return page.read_text()


def _kept(folder: Path) -> list[str]:
    return [path.name for path, _ in archived(folder)]


def test_the_last_versions_are_kept_and_listed_with_what_changed(tmp_path):
    resources.write_whole(tmp_path / "p.html", _page(_data([["Total", 0]], "text", "count")))
    for nth in range(1, 4):
        text = _replace(tmp_path, _data([["Total", nth]], "text", "count"), AT + timedelta(hours=nth), keep=2)
    assert _kept(tmp_path) == ["2026-11-01T10-00-00Z.html", "2026-11-01T11-00-00Z.html"]
    foot = BeautifulSoup(text, "lxml").find("footer")
    links = {link.get_text(): link["href"] for link in foot.find_all("a")}
    assert links == {
        "2026-11-01 12:00": "archive/p/2026-11-01T11-00-00Z.html",
        "2026-11-01 11:00": "archive/p/2026-11-01T10-00-00Z.html",
    }  # fmt: skip
    assert "Changed since the last one: Total 2 → 3." in foot.get_text()
    newest = (tmp_path / "archive/p/2026-11-01T11-00-00Z.html").read_text()
    old = BeautifulSoup(newest, "lxml")
    hrefs = [link["href"] for link in old.find_all("a")]
    assert hrefs == ["../../other.html", "../../p.html", "#here"], "links still lead where they led"
    assert "This is an earlier version, of 2026-11-01 12:00." in old.get_text() and "Total" in newest


def test_a_page_that_differs_in_its_stamp_alone_is_no_new_version(tmp_path):
    fact = '<a data-report="bounces"{}>2 % bounced</a>'
    resources.write_whole(tmp_path / "p.html", _page(fact.format(' href="b.html"'), "yesterday"))
    text = _replace(tmp_path, fact.format(""), AT, keep=5)
    assert not (tmp_path / "archive").exists() and "<!--archive--><!--/archive-->" in text


def test_without_keep_nothing_is_added_and_what_is_there_stays_listed(tmp_path):
    resources.write_whole(tmp_path / "p.html", _page("first"))
    _replace(tmp_path, "second", AT, keep=5)
    text = _replace(tmp_path, "third", AT + timedelta(hours=1), keep=None)
    assert _kept(tmp_path) == ["2026-11-01T08-00-00Z.html"] and "archive/p/2026-11-01T08-00-00Z.html" in text
    assert "no figure of a table changed" in text


def test_six_figures_are_five_and_one_more(tmp_path):
    rows = [[f"row {nth}", nth] for nth in range(6)]
    resources.write_whole(tmp_path / "p.html", _page(_data(rows, "text", "count")))
    text = _replace(tmp_path, _data([[word, count + 1] for word, count in rows], "text", "count"), AT, keep=1)
    assert "row 4 4 → 5; and 1 more." in BeautifulSoup(text, "lxml").get_text()


def test_a_failed_report_keeps_its_page_and_no_version(tmp_path):
    resources.write_whole(tmp_path / "p.html", _page("first"))
    archive = Archive(tmp_path, "en", "UTC", 3)
    archive.set_aside([{"path": "p.html", "rendered_at": AT.isoformat()}])
    archive.keep({"status": "failed", "error": "x"})
    archive.finish()
    assert not (tmp_path / "archive").exists() and (tmp_path / "p.html").exists()


# --- runs, and forgetting


@pytest.fixture
def made(demo_store, once, tmp_path, monkeypatch):
    """A folder with a page, as CSV too, and an earlier version of it; the store, the folder and what was asked."""
    delivery = deliveries(open_store(str(demo_store)))[0]
    asked = {"reports": ["delivery_tracking"], "delivery": [delivery], "jobs": 1}

    def make(folder: Path) -> None:
        folder.mkdir()
        monkeypatch.chdir(folder)
        (folder / "trackkit.toml").touch()
        shutil.copytree(demo_store, folder / "store")
        assert len(run("store", "out", **asked, formats="csv,parquet", keep=3).rendered) == 1
        assert run("store", "out", **asked, keep=3).rendered == [], "html alone is there"
        template = folder / "reports_templates" / "delivery_tracking.toml"
        template.parent.mkdir()
        shipped = resources.find("reports_templates/delivery_tracking.toml").read_text("utf-8")
        template.write_text(re.sub(r'^title = ".*"', 'title = "Who did what"', shipped, count=1, flags=re.MULTILINE))
        assert len(run("store", "out", **asked, formats="csv", keep=3).rendered) == 1

    shutil.copytree(once("archived", make), tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "store", tmp_path / "out", delivery, asked


def test_a_run_keeps_versions_and_makes_a_format_that_is_missing(made):
    store, out, _, asked = made
    (page,) = out.glob("delivery_tracking*.html")
    ((version, of),) = archived(out)
    assert of == page and "Who did what" in page.read_text("utf-8") and "Who did what" not in version.read_text("utf-8")
    assert f"archive/{page.stem}/{version.name}" in page.read_text("utf-8")
    assert beside(page, "csv").exists() and not beside(page, "parquet").exists(), "it showed the earlier page"
    assert run(store, out, **asked, formats="csv").rendered == []
    beside(page, "csv").unlink()
    assert run(store, out, **asked).rendered == [], "html alone is there"
    assert len(run(store, out, **asked, formats="eml").rendered) == 1
    assert beside(page, "eml").exists() and beside(page, "csv").exists(), "the page did not change: both are its own"
    assert len(_kept(out)) == 1 and version.name in page.read_text("utf-8")


def test_who_is_forgotten_goes_from_earlier_versions_and_other_formats(made):
    store, out, delivery, asked = made
    (page,) = out.glob("delivery_tracking*.html")
    hits = open_store(str(store)).scan("event").filter(delivery_id=delivery).collect()
    recipient = next(name for name in hits["recipient_id"].drop_nulls() if name in page.read_text("utf-8"))
    run(store, out, **(asked | {"reports": ["delivery_summary"]}), formats="csv")
    stays = sorted(path.name for path in out.glob("delivery_summary*"))
    orphan = out / "delivery_tracking-7-0123abcd.xlsx"
    orphan.write_bytes(b"whatever it says")
    (out / "budget.xlsx").write_bytes(b"not ours")
    would = forget(store, recipient=recipient, out=[out], dry_run=True)
    report = forget(store, recipient=recipient, out=[out])
    ((version, _),) = [(out / name, name) for name in report.pages if name.startswith("archive/")]
    assert would.pages == report.pages
    assert set(report.pages) == {
        page.name, beside(page, "csv").name, orphan.name, version.relative_to(out).as_posix(),
    }  # fmt: skip
    assert not (out / "archive").exists() and not page.exists() and (out / "budget.xlsx").exists()
    assert sorted(path.name for path in out.glob("delivery_summary*")) == stays


def test_a_version_may_go_while_its_page_stays(made):
    store, out, _, _ = made
    (page,) = out.glob("delivery_tracking*.html")
    ((version, _),) = archived(out)
    gone = withdraw(store, out, lambda path, text: "Who did what" not in text and path.suffix == ".html")
    assert gone == [version.relative_to(out).as_posix()]
    assert page.exists() and version.name not in page.read_text("utf-8"), "the foot no longer leads there"


def test_versions_are_listed_and_deleted_and_the_page_and_manifest_say_so(made):
    _, out, delivery, _ = made
    (page,) = out.glob("delivery_tracking*.html")
    (row,) = versions(out).rows(named=True)
    assert (row["report"], row["delivery"], row["lang"]) == ("delivery_tracking", delivery, "en")
    assert row["bytes"] == (out / row["path"]).stat().st_size and row["path"].startswith(f"archive/{page.stem}/")
    assert abs(datetime.now(UTC) - row["made_at"]) < timedelta(hours=1)
    assert versions(out, "delivery_tracking", delivery).height == 1 and versions(out, before="2020-01-01").is_empty()
    with pytest.raises(RequestError, match="Did you mean 'delivery_tracking'"):
        versions(out, "delivery_traking")
    with pytest.raises(RequestError, match="delivery 'x'"):
        versions(out, delivery="x")
    with pytest.raises(RequestError, match="Say which"):
        delete_versions(out)
    before = page.read_bytes()
    assert delete_versions(out, delivery=delivery, dry_run=True).height == 1 and page.read_bytes() == before
    assert delete_versions(out, before="2020-01-01").is_empty() and len(_kept(out)) == 1
    done = trackkit("archive", "--out", out, "--delete", "--report", "delivery_tracking", "--output", "csv")
    assert "1 versions deleted" in done.stderr and f"delivery_tracking,{delivery},en," in done.stdout
    text = page.read_text("utf-8")
    assert not (out / "archive").exists() and "<!--archive--><!--/archive-->" in text
    (entry,) = json.loads((out / "manifest.json").read_text("utf-8"))["reports"].values()
    assert entry["sha256"] == hashlib.sha256(page.read_bytes()).hexdigest()
    assert versions(out).is_empty()


def test_render_alone_keeps_no_version(demo_store, tmp_path):
    for _ in range(2):
        render("browsers", demo_store, tmp_path)
    assert not (tmp_path / "archive").exists()
