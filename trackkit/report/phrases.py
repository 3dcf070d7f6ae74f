"""Every English sentence that a report may show, and the update of the catalogues with them: `make messages`.

    python -m trackkit.report.phrases          # every catalogue there is
    python -m trackkit.report.phrases fr       # a new one, to be translated

Catalogues are written below the current directory; those of `trackkit init --language` are written into the project,
and hold the analyst's own titles too. A new sentence gets an empty translation; one that is no longer used is dropped.
"""

import ast
import sys
from collections.abc import Iterable, Iterator
from io import SEEK_END, BytesIO
from pathlib import Path

from babel.messages.catalog import Catalog
from babel.messages.pofile import write_po
from jinja2 import Environment
from jinja2.ext import extract_from_ast

from trackkit import resources
from trackkit.definition_sets import sentences_of, shipped
from trackkit.language import LOCALES, SOURCE, catalogue_file, languages, read, require_locale
from trackkit.metrics import BREAKDOWNS
from trackkit.report.groups import LIST as GROUPS
from trackkit.report.groups import titles_of
from trackkit.report.headlines import LIST as HEADLINES
from trackkit.report.headlines import labels_of
from trackkit.report.notebook import NOTEBOOKS
from trackkit.report.template import SKIN, TEMPLATES, words_of
from trackkit.show.cells import headline

Phrase = str | tuple[str, str]
TRANSLATING_CALLS = ("say", "unavailable", "TableColumn")  # calls whose first argument is translated
METRIC_WORDS = ("label", "definition", "differs")
HEAD = """# The words of reports in {name}. `make messages` keeps the list of sentences in step with the code.
msgid ""
msgstr ""
"Language: {lang}\\n"
"MIME-Version: 1.0\\n"
"Content-Type: text/plain; charset=utf-8\\n"
"Content-Transfer-Encoding: 8bit\\n"
"Plural-Forms: {plurals}\\n"

"""


def phrases() -> dict[Phrase, list[str]]:
    """Return every sentence with the files that use it; one with a plural is a pair (singular, plural)."""
    files: dict[Phrase, set[str]] = {}
    for phrase, place in [*_of_package(), *_of_templates(), *_of_sets(), *_of_pages(), *_of_headings()]:
        if phrase:
            files.setdefault(phrase, set()).add(place)
    plurals = {phrase[0]: phrase for phrase in files if isinstance(phrase, tuple)}
    return {
        phrase: sorted(paths) for phrase, paths in files.items() if isinstance(phrase, tuple) or phrase not in plurals
    }


def refresh(lang: str, folder: Path = Path()) -> tuple[Path, int]:
    """Write the catalogue of a language below a folder; return its path and the number untranslated.

    Raises RequestError for a name that is no language.
    """
    translations = _translations(lang)
    catalogue = Catalog(locale=require_locale(lang))
    for phrase, places in sorted(phrases().items(), key=lambda entry: (entry[1], str(entry[0]))):
        catalogue.add(phrase, translations.get(phrase) or None, locations=[(place, 0) for place in places])
    path = folder / LOCALES / f"{lang}.po"
    path.parent.mkdir(parents=True, exist_ok=True)
    name = catalogue.locale.english_name if catalogue.locale else lang
    buffer = BytesIO(HEAD.format(name=name, lang=lang, plurals=catalogue.plural_forms).encode())
    buffer.seek(0, SEEK_END)
    write_po(buffer, catalogue, width=120, omit_header=True, include_lineno=False)
    path.write_bytes(buffer.getvalue())
    return path, sum(1 for message in catalogue if message.id and not _is_translated(message.string))


def untranslated(path: Path, lang: str, known: Iterable[Phrase]) -> int:
    """Return how many sentences a catalogue has no words for; RequestError if it is none."""
    told = {_key(message.id) for message in read(path, lang) if message.id and _is_translated(message.string)}
    return sum(1 for phrase in known if phrase not in told)


def _translations(lang: str) -> dict[Phrase, Phrase]:
    if lang not in languages():
        return {}
    path = catalogue_file(lang)
    assert path is not None
    messages = [message for message in read(path, lang) if message.id and not message.fuzzy]
    return {_key(message.id): _key(message.string) for message in messages if message.string}


def _key(words: str | Iterable[str]) -> Phrase:
    return words if isinstance(words, str) else (*words,)  # type: ignore[return-value]


def _is_translated(words: str | Iterable[str] | None) -> bool:
    return bool(words) if isinstance(words, str | None) else all(words)


def _of_package() -> Iterator[tuple[Phrase, str]]:
    """Sentences in the code: calls of `say` and its like, words marked `translatable`, and the words of metrics."""
    package = Path(__file__).resolve().parents[1]
    for path in sorted(package.rglob("*.py")):
        place = f"trackkit/{path.relative_to(package).as_posix()}"
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call):
                yield from ((phrase, place) for phrase in _of_call(node))


def _of_call(call: ast.Call) -> Iterator[Phrase]:
    name = call.func.id if isinstance(call.func, ast.Name) else getattr(call.func, "attr", "")
    if name in TRANSLATING_CALLS and call.args:
        yield from _texts(call.args[0])
    elif name == "several":
        singular, plural = (_texts(argument) for argument in call.args[:2])
        yield from zip(singular, plural, strict=True)
    elif name == "translatable":
        yield from _texts(call.args[0])
    elif name == "tips":
        yield from (text for part in call.keywords for text in _texts(part.value))
    elif name == "Metric":
        yield from (text for part in call.keywords if part.arg in METRIC_WORDS for text in _texts(part.value))


def _texts(node: ast.expr) -> list[str]:
    """The literal texts of an expression: both of a conditional, all of a list, the values of a mapping."""
    match node:
        case ast.Constant(value=str(text)):
            return [text]
        case ast.IfExp(body=body, orelse=orelse):
            return _texts(body) + _texts(orelse)
        case ast.Tuple(elts=parts) | ast.List(elts=parts) | ast.Dict(values=parts):
            return [text for part in parts for text in _texts(part)]
    return []


def _of_templates() -> Iterator[tuple[Phrase, str]]:
    """The titles of groups, the labels of the index, and of the report templates the words and headings of columns."""
    yield from ((title, GROUPS) for title in titles_of(resources.find(GROUPS)))
    yield from ((label, HEADLINES) for label in labels_of(resources.find(HEADLINES)))
    for report, path in resources.files(TEMPLATES, "*.toml").items():
        if report in resources.files(NOTEBOOKS, "*.ipynb"):
            words, columns = words_of(path)
            yield from ((text, f"{TEMPLATES}/{path.name}") for text in [*words, *map(headline, columns)])


def _of_sets() -> Iterator[tuple[Phrase, str]]:
    """The sentences of the definition sets."""
    for name, path in shipped().items():
        yield from ((text, f"trackkit/definition_sets/{name}.toml") for text in sentences_of(path))


def _of_pages() -> Iterator[tuple[Phrase, str]]:
    for name in sorted({path.name for folder in resources.folders(SKIN) for path in folder.glob("*.j2")}):
        page = Environment().parse(resources.find(f"{SKIN}/{name}").read_text("utf-8"))
        for _, call, message in extract_from_ast(page, ("say", "several")):
            texts = [message] if isinstance(message, str) else [text for text in message or () if text]
            yield (texts[0] if call == "say" else (texts[0], texts[1])), f"{SKIN}/{name}"


def _of_headings() -> Iterator[tuple[Phrase, str]]:
    yield from ((headline(column), "trackkit/metrics.py") for column in BREAKDOWNS)


def main(langs: list[str]) -> None:
    """Refresh the given catalogues, or all; print how much is left to translate."""
    for lang in langs or [lang for lang in languages() if lang != SOURCE]:
        path, untranslated = refresh(lang)
        print(f"{path}: {untranslated} {'sentence' if untranslated == 1 else 'sentences'} to translate.")


if __name__ == "__main__":
    main(sys.argv[1:])
