"""A new report made of sections of others: in order, with the figures of those, and refused in a sentence."""

from pathlib import Path

import pytest
from bs4 import BeautifulSoup

from trackkit.errors import RequestError
from trackkit.project import Project, current
from trackkit.project_options import begin_report
from trackkit.report import REPORTS, render
from trackkit.report.checks import check
from trackkit.report.compose import compose

CHOSEN = ("overview:headline", "bounces:headline", "bounces:by_domain", "overview:funnel", "browsers:usage")


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "trackkit.toml").touch()
    found = current()
    assert found
    return found


def shown(path: Path) -> dict[str, str]:
    """What each section of a page shows in its tables and tiles, by name."""
    page = BeautifulSoup(path.read_text("utf-8"), "lxml")
    return {
        section["id"]: " ".join(each.get_text(" ", strip=True) for each in section.select("table, .tk-tile"))
        for section in page.select("main section[id]")
    }


def test_sections_of_three_reports_are_one_report_with_the_same_figures(
    project: Project, demo_store: Path, demo_pages: Path, delivery: str
) -> None:
    compose(project, "monthly", CHOSEN)
    assert check(project.folder) == []
    page = shown(render("monthly", demo_store, project.folder / "out", delivery=delivery))
    names = ["headline", "bounces_headline", "by_domain", "funnel", "usage"]
    assert [name for name in page if name in names] == names
    originals = {name: shown(next(demo_pages.glob(f"{name}-*.html"))) for name in ("overview", "bounces", "browsers")}
    for name, source in (("funnel", "overview"), ("by_domain", "bounces"), ("usage", "browsers")):
        assert page[name] == originals[source][name] != ""
    assert page["headline"] == page["bounces_headline"], "both are the tiles of the first report"
    assert {each.name for each in REPORTS["monthly"].parameters} >= {"delivery", "scope", "days", "distinct"}


def test_what_several_sections_share_comes_with_them(project: Project) -> None:
    """`visits` of web_tracking is made in two steps, each of which is needed."""
    notebook, _ = compose(project, "visits", ["web_tracking:pages"])
    code = notebook.read_text("utf-8")
    assert "attribute_web(" in code and "with_consent(" in code and "counted_tables(" in code
    assert check(project.folder) == []


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("bounces=overview:funnel", "'bounces' is one already"),
        ("My report=overview:funnel", "small letters"),
        ("mine=overview:funel", "Did you mean 'funnel'?"),
        ("mine=overvew:funnel", "Did you mean 'overview'?"),
        ("mine=overview", "Write overview:SECTION, one of lead, "),
        ("mine", "--new takes NAME=REPORT:SECTION"),
        ("mine=overview:funnel,overview:funnel", "is named twice"),
        ("mine=overview:funnel,web_application:funnel", "a report is about one thing"),
        ("mine=breakdown_of_opens:devices,browsers:usage", "both have a parameter 'days', with the defaults"),
    ],
)
def test_what_cannot_be_one_report_is_refused(project: Project, asked: str, said: str) -> None:
    with pytest.raises(RequestError, match=said.replace("(", "[(]").replace("?", "[?]")):
        begin_report(project.folder, asked)
    assert not (project.folder / "notebooks").exists()
