"""Languages: catalogues are whole, every report says every word in each of them, and a new one is only a file."""

import ast
import inspect
import json
import re
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from functools import reduce
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from nbformat import NotebookNode
from nbformat.v4 import new_output
from selectolax.lexbor import LexborHTMLParser, LexborNode

import trackkit as tk
from tests.conftest import about
from trackkit import resources
from trackkit.analysis.clickmap import annotated_message
from trackkit.errors import RequestError
from trackkit.language import SOURCE, catalogue_file, holes, languages, read, said, say, several, tag
from trackkit.report import REPORTS, notebook, render, report_path
from trackkit.report.html_page import PageFacts, export
from trackkit.report.phrases import phrases, refresh
from trackkit.report.template import template
from trackkit.runs.dossier import Dossiers
from trackkit.runs.due import run
from trackkit.runs.index import write_index
from trackkit.schema import TABLES
from trackkit.show.charts.canvas import cut
from trackkit.show.charts.shapes import BESIDE_DOTS
from trackkit.show.wording import elapsed, figure, instant, number, percent, plain, short
from trackkit.store import open_store

TRANSLATED = [lang for lang in languages() if lang != SOURCE]
NAMES = sorted(REPORTS)
# Words that Brazilians write as the English do, or that are names: the only translations that may equal their source.
SAME = {
    "CSV", "Delicious", "Digg", "E-mail", "Facebook", "Google", "HTML", "Hot clicks", "Link", "LinkedIn", "Log", "Logs",
    "Mirror page", "Opt-out", "SMS", "Status",
    "Tag", "Total", "Twitter", "URL", "URLs", "Web", "e-mail", "fax", "h", "logs:", "push", "xlsx",
    "{what} {before} → {after}", "{points} pp", "{question}: {why}.",
    "{days} d", "{days} d {hours} h", "{days} d {minutes} min", "{hours} h", "{hours} h {minutes} min", "{minutes} min",
    "{minutes} min {seconds} s", "{seconds} s",
}  # fmt: skip
SENDERS = {"Adobe Campaign Classic", "Mailchimp", "Salesforce", "SendGrid", "SparkPost"}
PROGRAMS = {"Apple Mail"} | SENDERS  # what user agents say beyond what is in a table
# What a page shows that is neither data nor words: names of programs, rules, zones and units, and addresses.
NAMED = re.compile(
    rf"https?://\S+|trackkit [\d.]+ · ({'|'.join(NAMES)}).*|UTC|[OCV]\d(, [OCV]\d)*|"
    r"\d+(\.\d+)?( [dh]|k| min)|(\d+ h )?\d+ min",
    re.DOTALL,
)


def _catalogue(lang: str) -> Any:
    path = catalogue_file(lang)
    assert path
    return read(path, lang)


def _texts(words: Any) -> list[str]:
    return [words] if isinstance(words, str) else list(words)


@pytest.mark.parametrize("lang", TRANSLATED)
def test_every_sentence_is_translated_and_no_other(lang: str) -> None:
    messages = {m.id if isinstance(m.id, str) else tuple(m.id): m for m in _catalogue(lang) if m.id}
    spoken = phrases()
    new, stale = (
        sorted(map(str, one.keys() - other.keys())) for one, other in ((spoken, messages), (messages, spoken))
    )
    assert new == [], "new sentences: `make messages`, then translate them"
    assert sorted(map(str, stale)) == [], "sentences that nobody says any more: `make messages`"
    assert [key for key, message in messages.items() if message.fuzzy or not all(_texts(message.string))] == []


@pytest.mark.parametrize("lang", TRANSLATED)
def test_a_translation_has_the_holes_of_its_sentence(lang: str) -> None:
    for message in _catalogue(lang):
        wanted = set().union(*map(holes, _texts(message.id)))
        assert not message.id or all(holes(text) == wanted for text in _texts(message.string) if text), message.id


def test_a_translation_is_not_its_source() -> None:
    same = {message.id for message in _catalogue("pt_BR") if message.id and message.string == message.id}
    assert same <= SAME, "translate it, or list it among the words that both languages share"


def _calls(name: str) -> Iterator[tuple[str, ast.Call]]:
    path = resources.find(f"{notebook.NOTEBOOKS}/{name}.ipynb")
    for cell in notebook.code_cells(notebook.read(path)):
        for node in ast.walk(ast.parse(cell.source)):
            if isinstance(node, ast.Call) and re.fullmatch(r"tk(\.\w+)+", ast.unparse(node.func)):
                yield ast.unparse(node.func), node


@pytest.mark.parametrize("name", NAMES)
def test_report_notebooks_pass_their_language_on(name: str) -> None:
    for called, call in _calls(name):
        function = reduce(getattr, called.split(".")[1:], tk)
        if "lang" in inspect.signature(function).parameters:
            given = [*call.args, *(keyword.value for keyword in call.keywords)]
            assert "lang" in map(ast.unparse, given), f"{called}(...) of {name} is not told the language"


# ---- what pages say ----


@pytest.fixture(scope="session")
def delivery(demo_store: Path) -> str:
    """The delivery of the small demo with the most hits."""
    counts = open_store(demo_store).scan("event").drop_nulls("delivery_id").group_by("delivery_id").len()
    return counts.sort("len", "delivery_id").collect()["delivery_id"][-1]


def _executed(name: str, arguments: dict[str, Any]) -> NotebookNode:
    """The notebook with its outputs, run here, where a kernel for each of forty pages would take minutes."""
    book = notebook.read(resources.find(f"{notebook.NOTEBOOKS}/{name}.ipynb"))
    space: dict[str, Any] = {}
    for cell in notebook.code_cells(book):
        shown: list[Any] = []
        space["display"] = lambda *pieces, shown=shown: shown.extend(pieces)
        *body, last = ast.parse(cell.source).body or [ast.Pass()]
        is_shown = isinstance(last, ast.Expr)
        exec(compile(ast.Module([*body] if is_shown else [*body, last], []), name, "exec"), space)
        if is_shown:
            shown.append(eval(compile(ast.Expression(last.value), name, "eval"), space))
        cell.outputs = [new_output("display_data", _bundle(each)) for each in shown if each is not None]
        if notebook.PARAMETERS in notebook.tags(cell):
            space |= {parameter: value for parameter, value in arguments.items() if parameter in space}
    return book


def _bundle(shown: Any) -> dict[str, Any]:
    """What IPython makes of an object: all that it says of itself, and its HTML."""
    html = {"text/html": shown._repr_html_()} if hasattr(shown, "_repr_html_") else {"text/plain": str(shown)}
    if hasattr(shown, "_repr_mimebundle_"):
        found = shown._repr_mimebundle_(include=None, exclude=None)
        return html | (found[0] if isinstance(found, tuple) else found)
    return html


def _page(name: str, store: Path, delivery: str, lang: str) -> LexborHTMLParser:
    about = {} if REPORTS[name].scope == "platform" else {"delivery": delivery}
    executed = _executed(name, {"store": str(store), "lang": lang, **about})
    return LexborHTMLParser(export(executed, template(name, lang), PageFacts(name, about, "UTC", lang)))


def _said(page: LexborHTMLParser) -> set[str]:
    """Every text of a page that a reader may see, hear or hover, those of its charts included."""
    specs = [json.loads(node.text()) for node in page.css("script[type='application/json']")]
    titles = {text for spec in specs for text in _titles(spec)}
    for node in page.css("script, style, iframe, body [lang='en']"):  # names, as those of parameters, say that they are
        node.decompose()
    body = page.body
    assert body
    hovered = {
        value or "" for node in body.css("*") for name, value in node.attributes.items()
        if name in ("title", "aria-label", "placeholder", "alt") or name.startswith("data-words")
    }  # fmt: skip
    return {text.strip() for text in [*_written(body), *hovered, *titles]}


def _written(node: LexborNode) -> Iterator[str]:
    for child in node.iter(include_text=True):
        yield from [child.text(deep=True)] if child.tag == "-text" else _written(child)


def _titles(part: Any) -> Iterator[str]:
    if isinstance(part, dict):
        yield from (part[key] for key in ("title", "description") if isinstance(part.get(key), str))
        yield from (text for key, value in part.items() if key != "datasets" for text in _titles(value))
    elif isinstance(part, list):
        yield from (text for value in part for text in _titles(value))


@pytest.fixture(scope="session")
def data(demo_store: Path) -> set[str]:
    """Every text of the store, as tables and charts may show it."""
    store, found = open_store(demo_store), set()
    for name in TABLES:
        texts = store.scan(name).select(pl.selectors.string()).collect() if store.has(name) else pl.DataFrame()
        found |= {text for column in texts for text in column.drop_nulls().unique()}
    shortened = {LexborHTMLParser(str(short(text, longest))).text() for text in found for longest in (48, 80)}
    found |= {load["load_id"] for load in store.snapshot().loads}
    found |= {text for body in store.scan("content").collect()["body"] for text in _content(body)}
    return (
        PROGRAMS
        | {plain(text)[:600] for text in found}
        | shortened
        | {cut(plain(text), widest) for text in found for widest in (79, BESIDE_DOTS)}
        | {f"{text[:8]}…" for text in found if len(text) > 16}
    )


def _content(body: str) -> set[str]:
    page = LexborHTMLParser(body)
    return {" ".join(node.text().split()) for node in page.css("a")}


def _is_data(text: str, data: set[str]) -> bool:
    return (
        text.startswith("https://")
        or text in data
        or all(part.strip() in data or not _has_words(part) for part in re.split(r"[,/·]| \(|^\d+\. | \d+$", text))
    )


def _has_words(text: str) -> bool:
    return bool(re.search(r"[^\W\d_]", text)) and not NAMED.fullmatch(text.strip())


@pytest.mark.parametrize("name", NAMES)
def test_no_word_of_a_page_stays_english(
    demo_store: Path, demo_pages: Path, delivery: str, data: set[str], name: str
) -> None:
    english = LexborHTMLParser(report_path(name, demo_pages, about(name, delivery)).read_text("utf-8"))
    other = _page(name, demo_store, delivery, "pt_BR")
    assert other.css_first("html").attributes["lang"] == "pt-BR"
    alike = {text for text in _said(english) & _said(other) if _has_words(text) and not _is_data(text, data)}
    assert alike <= SAME, "these stand in both languages: say() them"


def test_a_run_in_another_language_end_to_end(
    demo_store: Path, delivery: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    english = run(demo_store, "out", ["tracking_statistics"], [delivery])
    summary = run(demo_store, "out", ["tracking_indicators", "tracking_statistics"], [delivery], lang="pt_BR")
    assert summary.failed == {} and english.failed == {}
    assert sorted(summary.rendered) == [
        f"{delivery}/tracking_indicators/pt_BR", f"{delivery}/tracking_statistics/pt_BR",
    ]  # fmt: skip
    index = LexborHTMLParser(Path("out/index.html").read_text("utf-8"))
    assert index.css_first("html").attributes["lang"] == "pt-BR"
    assert index.css_first("h1").text() == "Relatórios de entregas"
    assert [node.text() for node in index.css("a.lang")] == ["English"], "all languages stand in one index"
    glossaries = [node.attributes["href"] for node in index.css("footer a")]
    assert glossaries == ["glossary-pt_BR.html", "glossary.html"]
    pages = [path.read_text("utf-8") for path in sorted(Path("out").glob("tracking_*.html"))]
    assert [re.search(r'<html lang="([\w-]+)"', page)[1] for page in pages].count("pt-BR") == 2
    (indicators,) = [page for page in pages if "<title>" in page and "Indicadores de rastreamento</title>" in page]
    cells = [node.text() for node in LexborHTMLParser(indicators).css(".gt_table td")]
    assert any(re.match(r"\d+,\d+%", cell) for cell in cells) and not any(re.match(r"\d+\.\d+%", c) for c in cells)
    again = run(demo_store, "out", ["tracking_statistics"], [delivery], lang="pt_BR")
    assert again.rendered == []


def test_charts_write_numbers_and_days_as_their_language_does(demo_store: Path, delivery: str, browser: Any) -> None:
    html = _page("urls_and_click_streams", demo_store, delivery, "pt_BR").html
    page = browser.new_page()
    page.set_content(html)
    axis = page.locator("svg .role-axis-label text").all_text_contents()
    months = ("jan", "fev", "mar", "abr", "mai", "jun", "jul", "ago", "set", "out", "nov", "dez")
    assert any(month in label for label in axis for month in months), axis
    assert "X-axis" not in page.content()


# ---- a language is a file ----

FRENCH = """
msgid ""
msgstr ""
"Content-Type: text/plain; charset=utf-8\\n"
"Plural-Forms: nplurals=2; plural=(n > 1);\\n"

msgid "Tracking indicators"
msgstr "Indicateurs de suivi"

msgid "Visited pages"
msgstr "Pages visitées"

msgid "{count} delivery"
msgid_plural "{count} deliveries"
msgstr[0] "{count} diffusion"
msgstr[1] "{count} diffusions"
"""


@pytest.fixture
def locales(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder of catalogues in a working directory of its own."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "trackkit.toml").touch()
    folder = tmp_path / "reports_templates" / "locales"
    folder.mkdir(parents=True)
    return folder


def test_a_catalogue_is_all_that_a_language_needs(locales: Path, demo_store: Path, delivery: str) -> None:
    (locales / "fr.po").write_text(FRENCH, "utf-8")
    assert languages() == ["en", "fr", "pt_BR"]
    page = LexborHTMLParser(render("tracking_indicators", demo_store, "out", delivery, "fr").read_text("utf-8"))
    assert page.css_first("html").attributes["lang"] == "fr"
    assert page.css_first(".kicker").text() == "Indicateurs de suivi"
    for mark in page.css(".tk-what"):
        mark.decompose()
    cells = [node.text().strip() for node in page.css(".gt_table td, .gt_table th")]
    assert "Pages visitées" in cells and any(re.match(r"\d+,\d\xa0%", cell) for cell in cells)
    assert "Indicator" in cells, "what the catalogue lacks is said in English"
    assert several("{count} delivery", "{count} deliveries", 0, "fr") == "0 diffusion"
    assert several("{count} delivery", "{count} deliveries", 1200, "fr") == "1\u202f200 diffusions"


def test_a_local_catalogue_wins(locales: Path) -> None:
    assert say("Opens", "pt_BR") == "Aberturas"
    (locales / "pt_BR.po").write_text(FRENCH.replace("Pages visitées", "Páginas vistas"), "utf-8")
    assert say("Visited pages", "pt_BR") == "Páginas vistas" and say("Opens", "pt_BR") == "Opens"


def test_a_new_catalogue_is_written_to_be_filled_in_and_keeps_what_is_there(locales: Path) -> None:
    path, lacking = refresh("es")
    assert lacking == len(phrases()) and "es" in languages() and say("Opens", "es") == "Opens"
    filled = path.read_text("utf-8").replace('msgid "Opens"\nmsgstr ""', 'msgid "Opens"\nmsgstr "Aperturas"')
    path.write_text(filled + '\nmsgid "Said no more"\nmsgstr "Ya no"\n', "utf-8")
    assert say("Opens", "es") == "Aperturas"
    assert refresh("es") == (path, lacking - 1) and path.read_text("utf-8") == filled


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        (FRENCH.replace('"{count} diffusions"', '"diffusions"'), r"fr\.po: the translation 'diffusions' must have"),
        (FRENCH.replace('"Pages visitées"', '"{0.__class__}"'), r"must have these names in braces: none"),
        (FRENCH.replace('"Pages visitées"', '"Pages }"'), "must have these names in braces"),
        (FRENCH + "\nmsgid nothing", "is not a gettext catalogue"),
    ],
)
def test_a_catalogue_that_would_break_a_page_is_refused(locales: Path, wrong: str, why: str) -> None:
    (locales / "fr.po").write_text(wrong, "utf-8")
    with pytest.raises(RequestError, match=why):
        say("Visited pages", "fr")


@pytest.mark.parametrize("lang", ["pt_Br", "pt-BR", "xx", "", "../pt_BR", "en/../pt_BR", "p\0"])
def test_an_unknown_language_is_refused_before_anything_runs(demo_store: Path, tmp_path: Path, lang: str) -> None:
    for ask in (
        lambda: render("tracking_indicators", demo_store, tmp_path / "out", "1", lang),
        lambda: run(demo_store, tmp_path / "out", lang=lang),
        lambda: say("Opens", lang),
    ):
        with pytest.raises(RequestError, match=r"no words in .*(Did you mean 'pt_BR'|Known: en, )"):
            ask()
    assert not (tmp_path / "out").exists()


# ---- numbers, dates, sentences ----


def test_figures_as_brazilians_write_them() -> None:
    assert number(1234567.891, 2, "pt_BR") == "1.234.567,89" and number(None, lang="pt_BR") == "n/d"
    assert percent(0.1296, lang="pt_BR") == "12,96%" and figure("complaint_rate", 0.00123, "pt_BR") == "0,123%"
    at = datetime(2026, 11, 23, 14, 5, 9, tzinfo=UTC)
    assert instant(at, "America/Sao_Paulo", lang="pt_BR") == "23/11/2026 11:05"
    assert instant(at, seconds=True, lang="pt_BR") == "23/11/2026 14:05:09"
    assert instant(date(2026, 2, 1), lang="pt_BR") == "01/02/2026" and instant(None, lang="pt_BR") == ""
    assert instant(date(2026, 2, 1)) == "2026-02-01"
    assert elapsed(timedelta(hours=1500), "pt_BR") == "62 d 12 h"


def test_plurals_follow_the_language() -> None:
    assert [several("{count} click", "{count} clicks", n) for n in (0, 1, 2)] == ["0 clicks", "1 click", "2 clicks"]
    assert [several("{count} click", "{count} clicks", n, "pt_BR") for n in (0, 1, 2000)] == [
        "0 clique", "1 clique", "2.000 cliques",
    ]  # fmt: skip


def test_what_is_not_in_the_catalogue_is_said_in_english_and_text_of_a_log_is_never_a_pattern() -> None:
    assert say("{never} translated", "pt_BR", never="Not") == "Not translated"
    assert say("a { brace", "pt_BR") == "a { brace" and say("", "pt_BR") == ""
    assert say("{found} of {all}", "pt_BR", found="{all}", all="{0}") == "{all} de {0}"
    assert said({"a": "Opens"}, "pt_BR") == {"a": "Aberturas"} and tag("pt_BR") == "pt-BR"


def test_labels_of_the_analyst_are_translated_by_their_own_catalogue(locales: Path) -> None:
    shipped = resources.find("reports_templates/hot_clicks.toml").read_text("utf-8")
    (locales.parent / "hot_clicks.toml").write_text(shipped.replace('title = "The message"', 'title = "Our letter"'))
    assert ("Our letter" in phrases()) and template("hot_clicks", "pt_BR")["html_message"].title == "Our letter"
    path, _ = refresh("pt_BR")
    translated = path.read_text("utf-8").replace('msgid "Our letter"\nmsgstr ""', 'msgid "Our letter"\nmsgstr "Carta"')
    path.write_text(translated, "utf-8")
    assert template("hot_clicks", "pt_BR")["html_message"].title == "Carta"
    assert template("hot_clicks", "pt_BR").title == "Hot clicks"


def test_the_message_frame_and_an_empty_index_speak_too(demo_store: Path, delivery: str, tmp_path: Path) -> None:
    tables = open_store(demo_store).snapshot()
    html = annotated_message(tables, delivery, "html", "pt_BR")
    assert "clique" in html or "Nenhum conteúdo" in html
    page = write_index(tables, Dossiers(tables, tmp_path, []), "pt_BR").read_text("utf-8")
    assert "Não há entrega para relatar." in page and "There is" not in page
