"""`trackkit check` on an analyst's own files: what would not render or would mislead is named."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from trackkit import resources
from trackkit.copies import copy_out
from trackkit.errors import RequestError
from trackkit.language import say
from trackkit.report.checks import check, missing_words

BOOK, WORDS = "notebooks/reports/{}.ipynb", "reports_templates/{}.toml"
PO = 'msgid ""\nmsgstr ""\n"Language: fr\\n"\n\n'


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with a copy of one report, under another name."""
    copy_out(tmp_path, ["browsers"])
    for form in (BOOK, WORDS):
        (tmp_path / form.format("browsers")).rename(tmp_path / form.format("mine"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def changed(path: Path, change: Callable[[str], str]) -> None:
    book = json.loads(path.read_text("utf-8"))
    for cell in book["cells"]:
        cell["source"] = change("".join(cell["source"]))
    path.write_text(json.dumps(book), "utf-8")


def opening_its_own(text: str) -> str:
    return text.replace('open_page("browsers", store', "open_page(store=store")


def said(folder: Path) -> list[str]:
    return [str(problem) for problem in check(folder)]


def test_a_copy_that_opens_the_originals_template_is_named(project: Path) -> None:
    (problem,) = said(project)
    assert BOOK.format("mine") in problem and "it opens the template of 'browsers'" in problem
    changed(project / BOOK.format("mine"), opening_its_own)
    assert said(project) == []


def test_the_rules_of_the_house_are_not_asked_of_an_analyst(project: Path) -> None:
    path = project / BOOK.format("mine")
    changed(path, opening_its_own)
    imported = "import polars as pl\nimport trackkit as tk\n1 + 1"
    changed(path, lambda text: text.replace("import trackkit as tk", imported))
    assert said(project) == []
    changed(path, lambda text: text.replace("lang: str", "language: str"))
    assert any("it has no parameter 'lang'" in problem for problem in said(project))


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ("{{ page.title }}", "{{ page.titel }}", "there is no 'page.titel' here. Did you mean 'page.title'?"),
        ("{{ page.title }}", "{{ pagge.title }}", "there is no 'pagge' here. Did you mean 'page'?"),
        ("{{ page.title }}", "{{ page.title | shout }}", "there is no filter 'shout'"),
        ("{{ page.title }}", "{{ page.title", "line "),
    ],
)
def test_faults_in_the_skin_are_named(project: Path, before: str, after: str, words: str) -> None:
    (project / WORDS.format("mine")).unlink()
    (project / BOOK.format("mine")).unlink()
    copy_out(project, ["bounces"])
    skin = project / "reports_templates" / "html" / "index.html.j2"
    skin.parent.mkdir()
    shipped = (resources.shipped() / "reports_templates/html/index.html.j2").read_text("utf-8")
    assert before in shipped
    skin.write_text(shipped, "utf-8")
    assert said(project) == []
    skin.write_text(shipped.replace(before, after, 1), "utf-8")
    assert [problem.startswith(str(skin)) and words in problem for problem in said(project)] == [True]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('msgid "Others"\nmsgstr "Les "autres""\n', "line 6 is not keyword"),
        ('msgid "Others"\nmsgstr "Les autres\n', "line 6 is not keyword"),
        ('msgid "delivery {id}"\nmsgstr "envoi {id:d}"\n', "must have these names in braces: id"),
        ('msgid "delivery {id}"\nmsgstr "envoi {id!x}"\n', "must have these names in braces: id"),
        ('msgid "delivery {id}"\nmsgstr "envoi {id"\n', "must have these names in braces: id"),
    ],
)
def test_words_that_would_be_published_cut_are_refused(project: Path, text: str, words: str) -> None:
    path = project / "reports_templates" / "locales" / "fr.po"
    path.parent.mkdir()
    path.write_text(PO + text, "utf-8")
    assert [words in problem for problem in said(project) if str(path) in problem] == [True]
    with pytest.raises(RequestError, match=r"fr\.po"):
        say("Others", "fr")


def test_a_half_done_catalogue_says_what_it_lacks(project: Path) -> None:
    path = project / "reports_templates" / "locales" / "fr.po"
    path.parent.mkdir()
    path.write_text(PO + 'msgid "Others"\nmsgstr "Autres"\n\nmsgid "Opens"\nmsgstr ""\n', "utf-8")
    (told,) = missing_words(project)
    lacking, known = (int(word.replace(",", "")) for word in told.split() if word.replace(",", "").isdigit())
    assert known - lacking == 1 and known > 800 and len(said(project)) == 1


@pytest.mark.parametrize(
    ("key", "name", "words"),
    [("languages", "fr", "'fr' is not known"), ("formats", "xlxs", "Did you mean 'xlsx'?"),
     ("definitions", "sendgird", "Did you mean 'sendgrid'?")],
)  # fmt: skip
def test_words_of_a_project_are_checked(project: Path, key: str, name: str, words: str) -> None:
    value = f'"{name}"' if key == "definitions" else f'["{name}"]'
    (project / "trackkit.toml").write_text(f"{key} = {value}\n")
    problems = [problem for problem in said(project) if "trackkit.toml" in problem]
    assert len(problems) == 1 and f"key '{key}'" in problems[0] and words in problems[0]


def test_an_amount_is_never_drawn_as_a_rate(project: Path) -> None:
    copy_out(project, ["tracking_indicators"])
    path = project / WORDS.format("tracking_indicators")
    text = path.read_text("utf-8")
    assert text.count("charted = [") >= 1
    path.write_text(text.replace("charted = [", 'charted = ["sales_amount", ', 1), "utf-8")
    assert any("key 'charted': 'sales_amount' is not" in problem for problem in said(project))
