"""The pages of a folder: those of its manifest, whether they exist or not, and those that lie there besides.

A page says what it is in the `<meta name="trackkit:…">` tags of its head, so that one that `render` wrote, or a
recipient's, hangs together with the others although no manifest lists it.
"""

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from html import unescape
from pathlib import Path
from typing import Any

from trackkit.errors import TrackkitError
from trackkit.report import REPORTS, report_path
from trackkit.report.formats import ENDINGS, HTML
from trackkit.report.notebook import PLATFORM, SCOPE

NO_REPORTS = ("index.html", "glossary.html")
HEAD = 4_096  # bytes of a page that hold its facts
BEGIN, END = b"<!--bar-->", b"<!--/bar-->"  # between these a page has its bar
_FACT = re.compile(r'<meta name="trackkit:(\w+)" content="([^"]*)">')
_LANGUAGE = re.compile(r'<html lang="([\w-]+)"')
_TITLE = re.compile(r"<title>(.*?)</title>", re.DOTALL)


@dataclass(frozen=True)
class Leaf:
    """One report on a delivery or scope (else on all) in a language: its page, if there is one, and how it fared last.

    `path` is "" without a page; `error` is that of the last attempt, if it failed, at `failed_at`; `title` is that of
    a page which no manifest lists, with parameters of its own; `files` are the same figures in other formats.
    """

    report: str
    delivery: str
    lang: str
    path: str = ""
    error: str = ""
    rendered_at: str = ""
    failed_at: str = ""
    warnings: int = 0
    title: str = ""
    files: tuple[str, ...] = ()
    scope: str = ""
    entry: dict[str, Any] = field(default_factory=dict, compare=False, repr=False)  # of the manifest

    @property
    def about(self) -> str:
        """What it is about: pages about the same are one dossier."""
        return about(self.delivery, self.scope)


def about(delivery: str, scope: str) -> str:
    """Return what pages are about: the id of a delivery, "scope …", or "" for all deliveries.

    >>> about("7", ""), about("", "campaign:12"), about("", "platform")
    ('7', 'scope campaign:12', '')
    """
    return delivery or (f"scope {scope}" if scope not in ("", PLATFORM) else "")


def leaves(folder: Path, entries: Mapping[str, dict[str, Any]]) -> list[Leaf]:
    """Return the pages of a folder, the manifest's first; entries of reports that no longer exist are left out."""
    names = {item.name for item in os.scandir(folder) if item.is_file()} if folder.is_dir() else set()
    known = set(REPORTS)
    listed = [_listed(entry, names) for entry in entries.values() if entry["report"] in known]
    taken = {entry.get("path") for entry in entries.values()} | set(NO_REPORTS)
    pages = sorted(name for name in names - taken if name.endswith(".html") and not name.startswith("."))
    return [*listed, *_loose(folder, pages, names, known)]


def _listed(entry: dict[str, Any], names: set[str]) -> Leaf:
    path = entry.get("path", "")
    path = path if path in names else ""
    is_failed = entry["status"] != "done"
    made = "" if is_failed and not path else entry.get("rendered_at", "")
    return Leaf(
        entry["report"],
        entry["delivery"],
        entry["lang"],
        path=path,
        error=entry.get("error", "") if is_failed else "",
        rendered_at=made,
        failed_at=entry.get("failed_at", "") or entry.get("rendered_at", "") if is_failed else "",
        warnings=entry.get("warnings", 0),
        files=_files(path, names),
        scope=entry.get("parameters", {}).get(SCOPE, ""),
        entry=entry,
    )


def _files(path: str, names: set[str]) -> tuple[str, ...]:
    stem = path.removesuffix(ENDINGS[HTML])
    endings = [ending for kind, ending in ENDINGS.items() if kind != HTML]
    return tuple(name for ending in endings if path and (name := stem + ending) in names)


def _loose(folder: Path, pages: Iterable[str], names: set[str], known: set[str]) -> Iterator[Leaf]:
    """Yield the pages that no manifest lists and that say which report they are."""
    for name in pages:
        with (folder / name).open("rb") as file:
            head = file.read(HEAD).decode("utf-8", errors="replace")
        facts, lang, title = facts_of(head), _LANGUAGE.search(head), _TITLE.search(head)
        if facts.get("report") in known and lang and title:
            of = facts["report"], facts.get("delivery", ""), lang[1].replace("-", "_")
            scope = facts.get(SCOPE, "")
            own_title = "" if _is_usual(name, *of, scope) else unescape(title[1])
            found = {"title": own_title, "files": _files(name, names), "scope": scope}
            yield Leaf(*of, path=name, warnings=warnings_of(head), **found)  # type: ignore[arg-type]


def _is_usual(name: str, report: str, delivery: str, lang: str, scope: str) -> bool:
    """Whether a page has the name of one without parameters of its own, as a run makes it."""
    with suppress(TrackkitError):
        return name == report_path(report, "", delivery or None, lang, {SCOPE: scope} if scope else None).name
    return False


def facts_of(head: str) -> dict[str, str]:
    """Return the facts in the head of a page.

    >>> facts_of('<meta name="trackkit:delivery" content="7&amp;8"><meta name="trackkit:warnings" content="2">')
    {'delivery': '7&8', 'warnings': '2'}
    """
    return {name: unescape(value) for name, value in _FACT.findall(head)}


def warnings_of(page: str | bytes) -> int:
    """Return how many warnings a page says it has; 0 if it says nothing."""
    head = page[:HEAD]
    said = facts_of(head.decode("utf-8", errors="replace") if isinstance(head, bytes) else head).get("warnings", "")
    return int(said) if said.isdecimal() else 0
