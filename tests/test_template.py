"""Templates and report notebooks: every mistake is named with its file, section, key and the nearest valid word."""

from collections.abc import Callable
from pathlib import Path

import nbformat
import pytest

from trackkit import resources
from trackkit.errors import RequestError
from trackkit.report import notebook
from trackkit.report.checks import check
from trackkit.report.template import template
from trackkit.show.theme import chart_config, css_variables, theme

GOOD = """
title = "URLs"
[[section]]
name = "figures"
title = "Figures"
[[section]]
name = "top_links"
title = "Links"
columns = ["rank", "link", "clicks"]
"""


@pytest.fixture
def words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """`words(text)`: the analyst's own template of `urls_and_click_streams` in the working folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "trackkit.toml").touch()
    path = tmp_path / "reports_templates" / "urls_and_click_streams.toml"
    path.parent.mkdir()

    def write(text: str) -> Path:
        path.write_text(text, encoding="utf-8")
        return path

    return write


def test_what_is_shipped_is_in_order() -> None:
    assert check() == []
    assert check(resources.folder("notebooks").parent) == []


def test_a_template_may_drop_sections(words: Callable[[str], Path]) -> None:
    words(GOOD)
    assert template("urls_and_click_streams").names == ["figures", "top_links"]
    assert template("urls_and_click_streams")["top_links"].columns == ["rank", "link", "clicks"]
    with pytest.raises(RequestError, match=r"no section 'top_link'\. Did you mean 'top_links'"):
        template("urls_and_click_streams")["top_link"]


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("title = \"Links\"", "titel = \"Links\"", ["section 'top_links'", "key 'titel'", "Did you mean 'title'"]),
        ("title = \"URLs\"", "tittle = \"URLs\"", ["key 'tittle'", "Did you mean 'title'"]),
        ('name = "top_links"', 'name = "top_link"', ["section 'top_link'", "Did you mean 'top_links'"]),
        ('name = "figures"', 'name = "top_links"', ["section 'top_links'", "listed twice"]),
        ('columns = ["rank", "link", "clicks"]', "", ["section 'top_links'", "key 'columns'", "needs it"]),
        ('title = "Figures"', 'title = "Figures"\nmetrics = ["delivered"]', ["key 'metrics'", "does not offer it"]),
        ('title = "Figures"', 'title = "Figures"\nwidth = "third"', ["key 'width'", "'third' is not known. Known:"]),
        ('title = "Figures"', 'title = ""', ["section 'figures'", "key 'title'"]),
        ('title = "URLs"', 'title = "URLs"\nformula = "a / b"', ["key 'formula'", "no such key"]),
        ('title = "URLs"', 'title = "URLs"\n[parameters.tops]\ndefault = 3', ["parameters.tops", "Did you mean 'top'"]),
        ('title = "URLs"', 'title = "URLs', ["not TOML"]),
    ],
)  # fmt: skip
def test_a_mistake_is_named_where_it_is(words: Callable[[str], Path], before: str, after: str, said: list[str]) -> None:
    assert before in GOOD
    path = words(GOOD.replace(before, after, 1))
    with pytest.raises(RequestError) as refused:
        template("urls_and_click_streams")
    for part in [str(path), *said]:
        assert part in str(refused.value)
    assert [str(problem) for problem in check()] == [str(refused.value)] or len(check()) > 1
    assert any(str(problem) == str(refused.value) for problem in check(path.parents[1]))


def test_a_metric_that_is_none_is_named_with_the_nearest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shipped = resources.find("reports_templates/tracking_indicators.toml").read_text("utf-8")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "trackkit.toml").touch()
    path = tmp_path / "reports_templates" / "tracking_indicators.toml"
    path.parent.mkdir()
    path.write_text(shipped.replace('"open_rate", "recipient_click_rate"]\ntop', '"open_rat"]\ntop'), encoding="utf-8")
    with pytest.raises(RequestError, match=r"'open_and_click_through', key 'charted'.*Did you mean 'open_rate'"):
        template("tracking_indicators")


def test_the_theme_is_checked_and_reaches_page_and_charts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shipped = resources.find("reports_templates/html/theme.toml").read_text("utf-8")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "trackkit.toml").touch()
    path = tmp_path / "reports_templates" / "html" / "theme.toml"
    path.parent.mkdir(parents=True)
    path.write_text(shipped.replace("#1f6f8b", "#abcdef"), encoding="utf-8")
    assert chart_config(theme())["mark"] == {"color": "#abcdef"}
    assert "--accent: #abcdef" in css_variables(theme()).split("@media")[0]
    path.write_text(shipped.replace('accent = "#1f6f8b"', 'accent = "red; } body { display: none"'), encoding="utf-8")
    with pytest.raises(RequestError, match=r"light\.accent"):
        theme()
    assert any("light.accent" in str(problem) for problem in check())


def _book(*cells: tuple[str, list[str]]) -> nbformat.NotebookNode:
    made = [nbformat.v4.new_code_cell(source, metadata={"tags": tags}) for source, tags in cells]
    return nbformat.v4.new_notebook(cells=made)


PARAMETERS = ('store: str = ""  # s\ntimezone: str = "UTC"  # z\nlang: str = "en"  # l', ["parameters"])


@pytest.mark.parametrize(
    ("cell", "said"),
    [
        (("import polars as pl", []), "only 'import trackkit as tk'"),
        (("from trackkit import measure", []), "only 'import trackkit as tk'"),
        (("def f():\n    pass", []), "defines nothing"),
        (("rate = clicks / sent", ["section:a"]), "no arithmetic"),
        (("x = 1", ["section:a", "section:b"]), "two section tags"),
        (("word: str = 'a'  # w", ["parameters"]), "2 cells tagged 'parameters'"),
        (("is = python", []), "not Python"),
    ],
)
def test_a_report_notebook_stays_thin(cell: tuple[str, list[str]], said: str) -> None:
    assert notebook.faults(_book(PARAMETERS), Path("x.ipynb")) == []
    assert said in " ".join(notebook.faults(_book(PARAMETERS, cell), Path("x.ipynb")))


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("top = 10  # how many", "must be written 'name: type = default  # help'"),
        ("top: int  # how many", "must be written"),
        ("top: int = 10", "has no comment"),
        ("top: list[int] = 10  # how many", r"is of type list\[int\]"),
        ("top: int = len([1])  # how many", "must be a plain value"),
    ],
)
def test_a_parameter_tells_its_type_its_default_and_its_help(line: str, said: str) -> None:
    with pytest.raises(RequestError, match=said):
        notebook.parameters(_book((line, ["parameters"])), Path("x.ipynb"))


def test_a_section_may_not_lean_on_another_which_an_analyst_may_drop() -> None:
    book = _book(PARAMETERS, ("a = 1\nb = a", ["section:one"]), ("b", ["section:two"]))
    (fault,) = notebook.faults(book, Path("x.ipynb"))
    assert fault.startswith("section 'two' reads 'b', which section 'one' makes")


def test_outputs_are_not_committed() -> None:
    book = _book(PARAMETERS)
    book.cells[0].execution_count = 1
    assert notebook.faults(book, Path("x.ipynb")) == ["it holds outputs; strip them before committing it."]


def test_what_a_section_offers_is_what_its_cells_read() -> None:
    book = _book(("words = page['one']\nwords.top", ["section:one"]), ("page['two'].metrics", ["section:two"]))
    assert notebook.options_used(book, Path("x.ipynb")) == {"one": {"top"}, "two": {"metrics"}}
