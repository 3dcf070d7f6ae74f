"""Rendering: what is refused before anything runs, what a failure leaves, where files go, what analysts change."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
import pytest
from selectolax.lexbor import LexborHTMLParser

from trackkit import resources
from trackkit.errors import ReportError, RequestError
from trackkit.report import REPORTS, execute, render, report_path

MINE = "mine"
ALWAYS = 'store: str = "store"  # the store\ntimezone: str = "UTC"  # time zone\nlang: str = "en"  # language\n'


@pytest.fixture
def analyst(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """`analyst(cell, ...)`: a folder to work in that holds a report "mine" whose section runs that cell."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "trackkit.toml").touch()

    def write(cell: str, parameters: str = "", section: str = "", name: str = MINE) -> Path:
        cells = [
            nbformat.v4.new_code_cell("import trackkit as tk"),
            nbformat.v4.new_code_cell(
                f'{ALWAYS}delivery: str = ""  # the delivery\n{parameters}', metadata={"tags": ["parameters"]}
            ),
            nbformat.v4.new_code_cell(cell, metadata={"tags": ["section:one"]}),
        ]
        notebooks, templates = tmp_path / "notebooks" / "reports", tmp_path / "reports_templates"
        notebooks.mkdir(parents=True, exist_ok=True)
        templates.mkdir(exist_ok=True)
        nbformat.write(nbformat.v4.new_notebook(cells=cells), notebooks / f"{name}.ipynb")
        words = f'title = "Mine"\n[[section]]\nname = "one"\ntitle = "One"\n{section}'
        (templates / f"{name}.toml").write_text(words, encoding="utf-8")
        return tmp_path

    return write


def test_the_registry_tells_each_report_and_its_parameters() -> None:
    found = REPORTS["urls_and_click_streams"].to_dict()
    assert found["title"] == "URLs and click streams" and found["scope"] == "delivery"
    by_name = {parameter["name"]: parameter for parameter in found["parameters"]}
    assert list(by_name) == ["delivery", "scope", "by", "top", "hours", "every", "timezone", "activity"]
    assert by_name["top"] == {
        "name": "top", "type": "int", "default": 10, "help": "how many links to show before the others", "choices": (),
    }  # fmt: skip
    assert by_name["by"]["choices"] == ("link", "label", "url", "category")
    assert {report.scope for report in REPORTS.values()} == {"delivery", "recipient", "platform"}
    assert REPORTS["recipient_tracking"].scope == "recipient"
    json.dumps([report.to_dict() for report in REPORTS.values()])


@pytest.mark.parametrize(
    ("report", "delivery", "parameters", "words"),
    [
        ("tracking_indicator", "1", {}, "Did you mean 'tracking_indicators'"),
        ("../secret", "1", {}, "There is no report"),
        ("tracking_statistics", None, {}, "needs a delivery"),
        ("tracking_statistics", "", {}, "needs a delivery"),
        ("recipient_tracking", None, {}, "needs a delivery or recipient"),
        ("tracking_statistics", "1", {"time_scale": "1h"}, "Did you mean 'timescale'"),
        ("tracking_statistics", "1", {"timescale": "2h"}, "one of 1h, 3h, 24h"),
        ("tracking_statistics", "1", {"period_hours": "abc"}, "of type int"),
        ("tracking_statistics", "1", {"period_hours": "1.5"}, "of type int"),
        ("tracking_statistics", "1", {"period_hours": True}, "of type int"),
        ("tracking_statistics", "1", {"period_hours": 10**400}, "of type int"),
        ("tracking_statistics", "1", {"period_hours": float("nan")}, "of type int"),
        ("tracking_statistics", "1", {"period_hours": {"a": [1]}}, "of type int"),
        ("tracking_statistics", "1", {"timezone": "Mars/Base"}, "no time zone 'Mars/Base'"),
        ("tracking_statistics", "1", {"x=1\nimport os\ny": 1}, "has no parameter"),
        ("tracking_statistics", "1", {"store": "elsewhere"}, "has no parameter 'store'"),
        ("tracking_statistics", "a\0b", {}, "of type str"),
        ("tracking_statistics", "a\nb", {}, "of type str"),
        ("tracking_statistics", "x" * 20_000, {}, "of type str"),
    ],
)
def test_what_cannot_be_rendered_is_refused_before_anything_runs(
    tmp_path: Path, report: str, delivery: str | None, parameters: dict[str, Any], words: str
) -> None:
    with pytest.raises(RequestError, match=words):
        render(report, tmp_path / "no-store", tmp_path / "out", delivery=delivery, parameters=parameters)
    assert not (tmp_path / "out").exists()


def test_only_known_languages() -> None:
    with pytest.raises(RequestError, match="Known: en, "):
        report_path("tracking_statistics", "out", "1", lang="xx")


IDS = ["../x", "/etc/x", "a/b", "CON", ".", "..", "-rf", "A/1", "A_1", "A-1", "ünï", "x" * 300, "1 or 1=1", "{0}",
       "%00", "a.html", "\\\\host\\x", "١"]  # fmt: skip


def test_no_id_leads_elsewhere_and_no_two_share_a_file(tmp_path: Path) -> None:
    paths = [report_path("tracking_statistics", tmp_path, name) for name in IDS]
    assert len({path.name.lower() for path in paths}) == len(IDS)
    for path in paths:
        assert path.parent == tmp_path
        assert path.name.startswith("tracking_statistics-") and path.name.isascii()
        assert len(path.name) < 100 and set(path.name) <= set(LETTERS), path.name


LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-."


def test_what_is_asked_decides_the_file(tmp_path: Path) -> None:
    plain = report_path("tracking_statistics", tmp_path, "7")
    assert plain == report_path("tracking_statistics", tmp_path, "7", parameters={"timescale": "1h"}), "its default"
    assert plain != report_path("tracking_statistics", tmp_path, "7", parameters={"timescale": "3h"})


def test_a_failing_notebook_leaves_itself_and_no_page(analyst: Callable[..., Path]) -> None:
    out = analyst("words = page_that_is_not_there") / "out"
    with pytest.raises(ReportError, match=r"NameError in cell .*failed\.ipynb"):
        render(MINE, "store", out, delivery="1")
    (failed,) = out.iterdir()
    assert failed.name.endswith(".failed.ipynb") and failed.stat().st_mode & 0o077 == 0
    outputs = [output for cell in nbformat.read(failed, 4).cells for output in cell.get("outputs", [])]
    assert any(output.get("ename") == "NameError" for output in outputs)


def test_a_page_that_was_good_stays_when_a_later_run_fails_and_a_success_clears_the_failure(
    analyst: Callable[..., Path],
) -> None:
    out = analyst("'first'") / "out"
    path = render(MINE, "store", out, delivery="1")
    first = path.read_text("utf-8")
    assert '<pre tabindex="0">&#39;first&#39;</pre>' in first
    analyst("raise ValueError('later')")
    with pytest.raises(ReportError, match="ValueError"):
        render(MINE, "store", out, delivery="1")
    assert path.read_text("utf-8") == first and path.with_suffix(".failed.ipynb").exists()
    analyst("'second'")
    assert "second" in render(MINE, "store", out, delivery="1").read_text("utf-8")
    assert [entry.name for entry in out.iterdir()] == [path.name]


def test_a_dead_kernel_and_a_cell_without_end_are_reports_that_failed(
    analyst: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = analyst("import os; os.kill(os.getpid(), 9)") / "out"
    with pytest.raises(ReportError, match="DeadKernelError"):
        render(MINE, "store", out, delivery="1")
    analyst("import time; time.sleep(600)")
    monkeypatch.setattr(execute, "CELL_SECONDS", 2)
    with pytest.raises(ReportError, match="CellTimeoutError"):
        render(MINE, "store", out, delivery="1")
    assert [path for path in out.iterdir() if path.suffix == ".html"] == []


def test_a_wrong_page_template_is_a_report_that_failed(analyst: Callable[..., Path]) -> None:
    folder = analyst("'fine'")
    (folder / "reports_templates" / "html").mkdir()
    skin = folder / "reports_templates" / "html" / "index.html.j2"
    for wrong, said in (("{{ nothing.there }}", "'nothing' is undefined"), ("a\n{% if %}", "line 2")):
        skin.write_text(wrong)
        with pytest.raises(ReportError, match=f"index.html.j2.*{said}"):
            render(MINE, "store", folder / "out", delivery="1")
    assert list((folder / "out").iterdir()) == []


def test_a_request_that_a_cell_refuses_is_a_refused_request(demo_store: Path, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="no delivery 'nobody'"):
        render("delivery_tracking", demo_store, tmp_path, delivery="nobody")
    assert list(tmp_path.iterdir()) == []


def test_a_symlink_in_the_place_of_the_page_is_replaced_not_followed(analyst: Callable[..., Path]) -> None:
    folder = analyst("'here'")
    precious = folder / "precious.txt"
    precious.write_text("mine")
    path = report_path(MINE, folder / "out", "1")
    path.parent.mkdir()
    path.symlink_to(precious)
    assert render(MINE, "store", folder / "out", delivery="1") == path
    assert precious.read_text() == "mine" and not path.is_symlink()


def test_values_of_every_type_arrive_as_given_and_never_as_code(analyst: Callable[..., Path]) -> None:
    declared = 'word: str = "a"  # w\nwhole: int = 1  # i\npart: float = 0.5  # f\nflag: bool = False  # b'
    folder = analyst("print('a printed word'); [word, whole, part, flag]", declared)
    word = '\'; import os; \'""" {{7*7}} </script> é'
    given = {"word": word, "whole": "7", "part": "2", "flag": "true"}
    page = LexborHTMLParser(render(MINE, "store", folder / "out", "1", parameters=given).read_text("utf-8"))
    assert page.css_first("pre").text() == repr([word, 7, 2.0, True])
    assert "a printed word" not in page.html, "what a cell prints is not part of the report"
    assert _made(page)["word"] == word


def test_an_analyst_reorders_renames_drops_and_chooses_without_python(
    demo_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shipped = resources.find("reports_templates/tracking_statistics.toml").read_text("utf-8")
    assert 'name = "activity"' in shipped
    mine = """
    title = "How fast?"
    text = "First words.\\n\\nSecond words & more."
    [parameters.timescale]
    default = "3h"
    [[section]]
    name = "cumulated_activity"
    title = "Running <total>"
    chart = "area"
    labels = {opens = "Ouvertures"}
    [[section]]
    name = "time_to_reach"
    title = "When"
    shares = [0.25, 0.5]
    """
    (tmp_path / "reports_templates" / "html").mkdir(parents=True)
    (tmp_path / "reports_templates" / "tracking_statistics.toml").write_text(mine, encoding="utf-8")
    theme = resources.find("reports_templates/html/theme.toml").read_text("utf-8").replace("#1f6f8b", "#123456")
    (tmp_path / "reports_templates" / "html" / "theme.toml").write_text(theme, encoding="utf-8")
    delivery = _any_delivery(demo_store)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "trackkit.toml").touch()
    page = LexborHTMLParser(render("tracking_statistics", demo_store, "out", delivery).read_text("utf-8"))
    titles = [card.css_first(".topic") or card.css_first("h2") for card in page.css("section.card")]
    assert [title.text() for title in titles] == ["Running <total>", "When"]
    assert [node.text() for node in page.css(".intro")] == ["First words.", "Second words & more."]
    assert [row.css_first("th").text() for row in page.css("#time_to_reach tbody tr")] == ["25%", "50%"]
    assert _made(page)["timescale"] == "3h"
    (figure,) = page.css("figure")
    assert "Ouvertures" in figure.css_first("svg").html and figure.css("svg .mark-area"), (
        "the template ships with lines"
    )
    assert "Ouvertures" in {row[1] for row in json.loads(page.css_first("#cumulated_activity script").text())["rows"]}
    assert "--accent: #123456" in page.css_first("style").text()


def _made(page: LexborHTMLParser) -> dict[str, str]:
    """What the foot of a page says of how its figures were made."""
    return {pair.css_first("dt").text(): pair.css_first("dd").text() for pair in page.css("footer dl div")}


def _any_delivery(store: Path) -> str:
    from trackkit.store import open_store

    hits = open_store(store).scan("event").drop_nulls("delivery_id").select("delivery_id").head(1).collect()
    return str(hits.item())
