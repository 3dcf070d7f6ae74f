"""Words in the reader's language: the English sentence in the code is the key of a gettext catalogue.

    from trackkit.language import say, several, translatable

    say("Time since the launch", lang)
    say("{rate} of the clicks are placed", lang, rate=percent(share, lang=lang))
    several("{count} delivery", "{count} deliveries", count, lang)        # {count} by locale
    SERIES = translatable({"opens": "Opens"})                             # then say(SERIES[name], lang)

A language is a file `reports_templates/locales/<lang>.po`; a local copy wins. `make messages` collects the text in
`say("...")`, `several("...", "...")`, `translatable(...)`, labels of metrics, templates and the page's own template. So
write whole sentences with named placeholders, never parts of one, and never `say(f"...")`. Text from logs is data and
is never translated. Without a translation, text stays English.

Functions whose output people read (charts, tables) take `lang: str = "en"`, last; notebooks pass `lang=lang`.
"""

from __future__ import annotations

import re
import string
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from gettext import GNUTranslations, NullTranslations
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from trackkit import resources
from trackkit.errors import RequestError, did_you_mean

if TYPE_CHECKING:  # imported only when a language is read, since most modules import this one
    from babel.messages.catalog import Catalog, Message

SOURCE = "en"
LOCALES = "reports_templates/locales"
_ENGLISH = NullTranslations()
_LINE = re.compile(r'(#.*|((msgid|msgid_plural|msgctxt|msgstr(\[\d\])?)\s+)?"([^"\\]|\\.)*"|)')
Words = TypeVar("Words", str, Mapping[Any, str], Iterable[str])


def translatable(words: Words) -> Words:
    """Mark text (a sentence, the values of a mapping, or a list) for translation; return it unchanged.

    >>> translatable({"opens": "Opens"})["opens"]
    'Opens'
    """
    return words


def say(text: str, lang: str = SOURCE, /, **values: object) -> str:
    """Return a sentence in a language with its placeholders filled; in English if it has no translation.

    >>> say("Others", "pt_BR"), say("{of} of {all}", "en", of=2, all=3)
    ('Outros', '2 of 3')
    """
    translated = _catalogue(lang).gettext(text) if text else ""
    return translated.format(**values) if values else translated


def several(one: str, many: str, count: int, lang: str = SOURCE, /, **values: object) -> str:
    """Return the sentence for a number of things, by the language's plural rule; {count} is the number.

    >>> several("{count} delivery", "{count} deliveries", 1), several("{count} delivery", "{count} deliveries", 1200)
    ('1 delivery', '1,200 deliveries')
    """
    from babel.numbers import format_decimal

    translated = _catalogue(lang).ngettext(one, many, count)
    return translated.format(count=format_decimal(count, locale=lang), **values)


def speech(lang: str) -> dict[str, Callable[..., str]]:
    """Return the functions for a page's template: `say("...")` and `several("...", "...", count)`."""

    def plural(one: str, many: str, count: int, **values: object) -> str:
        return several(one, many, count, lang, **values)

    return {"say": lambda text, **values: say(text, lang, **values), "several": plural}


def said(words: Mapping[str, str], lang: str = SOURCE) -> dict[str, str]:
    """Return a mapping with its values in a language.

    >>> said({"opens": "Opens"}, "pt_BR")
    {'opens': 'Aberturas'}
    """
    return {name: say(text, lang) for name, text in words.items()}


def languages() -> list[str]:
    """Return the languages available: English, and one for each catalogue.

    >>> {"en", "pt_BR"} <= set(languages())
    True
    """
    return sorted({SOURCE, *(resources.files(LOCALES, "*.po") if resources.folders(LOCALES) else ())})


def require_language(lang: str) -> str:
    """Return the name of a language, or refuse one that has no catalogue.

    >>> require_language("pt")
    Traceback (most recent call last):
    trackkit.errors.RequestError: There are no words in 'pt'. Known: en, ...
    """
    if lang not in languages():
        raise RequestError(f"There are no words in {str(lang)[:40]!r}.{did_you_mean(str(lang), languages())}")
    return lang


def tag(lang: str) -> str:
    """Return a language's tag in HTML.

    >>> tag("pt_BR")
    'pt-BR'
    """
    return lang.replace("_", "-")


def holes(text: str) -> set[str]:
    """Return the placeholders of a sentence, each as it is written; an unbalanced brace makes the whole sentence one.

    >>> sorted(holes("{of} of {all}")), holes("{all:d}"), holes("100 }")
    (['all', 'of'], {'all:d'}, {'100 }'})
    """
    try:
        parsed = [part for part in string.Formatter().parse(text) if part[1] is not None]
        return {
            f"{name}{f'!{turned}' if turned else ''}{f':{form}' if form else ''}" for _, name, form, turned in parsed
        }
    except ValueError:
        return {text}


def catalogue_file(lang: str) -> Path | None:
    """Return the catalogue of a language, the local copy before the shipped one; None for English, the source."""
    if lang == SOURCE:
        return None
    try:
        return resources.find(f"{LOCALES}/{lang}.po")
    except RequestError:
        require_language(lang)
        raise


def require_catalogue(path: Path) -> None:
    """Refuse a file `<language>.po` that is no catalogue, or whose placeholders differ from the sentences'."""
    _compile(path, path.stem, path.stat().st_mtime_ns)


def _catalogue(lang: str) -> NullTranslations:
    path = catalogue_file(lang)
    return _ENGLISH if path is None else _compile(path, lang, path.stat().st_mtime_ns)


@lru_cache(maxsize=16)
def _compile(path: Path, lang: str, changed_at: int) -> GNUTranslations:
    """Compile a catalogue in memory; refuse one with wrong placeholders before any page is rendered."""
    from babel.messages.mofile import write_mo

    catalogue = read(path, lang)
    for message in catalogue:
        if fault := _placeholder_error(message):
            raise RequestError(f"{path}: {fault}")
    compiled = BytesIO()
    write_mo(compiled, catalogue)
    compiled.seek(0)
    return GNUTranslations(compiled)


def read(path: Path, lang: str) -> Catalog:
    """Read a gettext catalogue; RequestError if the file is none, or there is no such locale."""
    from babel.messages.pofile import PoFileError, read_po

    try:
        require_locale(lang)
        _require_whole_lines(path)
        with path.open("rb") as file:
            return read_po(file, locale=lang, abort_invalid=True)
    except (PoFileError, UnicodeDecodeError) as error:
        raise RequestError(f"{path} is not a gettext catalogue: {error}.") from None
    except RequestError as error:
        raise RequestError(f"{path}: {error}") from None


def _require_whole_lines(path: Path) -> None:
    """Refuse a line whose quotes do not close: its words would be cut there, and published so."""
    for place, line in enumerate(path.read_text("utf-8-sig").splitlines(), start=1):
        if not _LINE.fullmatch(line.strip()):
            raise RequestError(
                f'it is not a gettext catalogue: line {place} is not keyword "words": a quote in words is written \\".'
            )


def require_locale(lang: str) -> str:
    """Return the name of a language if there is such a one, whether it has a catalogue or not.

    >>> require_locale("french")
    Traceback (most recent call last):
    trackkit.errors.RequestError: 'french' is no language and country such as 'pt_BR' or 'fr'.
    """
    from babel import Locale, UnknownLocaleError

    try:
        Locale.parse(lang)
    except (UnknownLocaleError, ValueError):
        raise RequestError(f"{lang[:40]!r} is no language and country such as 'pt_BR' or 'fr'.") from None
    return lang


def _placeholder_error(message: Message) -> str:
    """The error if a translation's placeholders are not those of the English sentence; else ""."""
    if not message.id:  # the catalogue's header
        return ""
    expected = set().union(*(holes(text) for text in _texts(message.id)))
    for text in filter(None, _texts(message.string)):
        if holes(text) != expected:
            names = ", ".join(sorted(expected)) or "none"
            return f"the translation {text[:80]!r} must have these names in braces: {names}."
    return ""


def _texts(words: str | Iterable[str] | None) -> list[str]:
    return [words] if isinstance(words, str) else list(words or ())
