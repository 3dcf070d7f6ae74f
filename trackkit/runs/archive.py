"""Earlier versions of the pages of a run: kept in `archive/<page>/`, listed at the foot of the page that replaced them.

A page that differs from the one before in more than the stamp "Calculated" makes that one an earlier version, named by
the instant (UTC) it was made at. The foot says which figures changed since the last one.
"""

import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from markupsafe import Markup

from trackkit import resources
from trackkit.analysis.provenance import CAUSES, reasons
from trackkit.language import say, several, translatable
from trackkit.report.provenance import SCRIPT, held
from trackkit.runs.executors import Result
from trackkit.show.data import shown
from trackkit.show.wording import clipped, instant, percent

ARCHIVE = "archive"
SHOWN_CHANGES = 5
_ASIDE = ".earlier.html"  # the page that is being replaced
_NAMED = "%Y-%m-%dT%H-%M-%SZ"
_MARKED = re.compile(r"<!--(archive|bar)-->.*?<!--/\1-->", re.DOTALL)
_FOOT = re.compile(r"(<!--archive-->).*?(<!--/archive-->)", re.DOTALL)
_STAMP = re.compile(r'<time class="calculated">.*?</time>', re.DOTALL)
_LEADS = re.compile(
    r'(<a data-report="\w+"(?: data-(?:delivery|scope)="[^"]*")?) href="[^"]*"'
)  # given by a run, when the page is there
_LINK = re.compile(r'\b(href|src)="(?![a-zA-Z][\w+.-]*:|[#/"])')
_DATA = re.compile(r'<script type="application/json" id="data-[\w-]+">(.*?)</script>', re.DOTALL)
_FIGURES = ("share", "count", "average", "amount")  # the most telling first
CHANGE = translatable("{what} {before} → {after}")

Figure = tuple[str, str, float | None]  # its label, its kind and its value


class Archive:
    """The earlier versions of the pages in a folder: at most `keep` of each (None: none is added or removed)."""

    def __init__(self, folder: Path, lang: str, timezone: str, keep: int | None) -> None:
        self._folder, self._lang, self._timezone, self._keep = folder, lang, timezone, keep
        self._made_at: dict[str, datetime] = {}

    def set_aside(self, entries: Iterable[Mapping[str, Any]]) -> None:
        """Hold on to the pages of a manifest's entries, which are about to be replaced."""
        for entry in entries:
            page = self._folder / entry.get("path", "")
            if self._keep is None or not page.is_file():
                continue
            self._made_at[page.stem] = datetime.fromisoformat(entry["rendered_at"])
            aside = self._of(page) / _ASIDE
            aside.parent.mkdir(parents=True, exist_ok=True)
            aside.unlink(missing_ok=True)
            try:
                os.link(page, aside)  # the new page is another file under this name
            except OSError:
                shutil.copyfile(page, aside)

    def keep(self, result: Result, lang: str | None = None) -> Result:
        """Keep the page that was replaced if the new one differs, and list the versions at the new one's foot.

        `lang` is the language of the page, by default that of the archive.
        """
        self._lang = lang or self._lang
        if result["status"] != "done" or not (page := self._folder / result["path"]).is_file():
            return result
        aside = self._of(page) / _ASIDE
        if self._keep is not None and aside.exists():
            before = aside.read_text("utf-8")
            if content(before) != content(page.read_text("utf-8")):
                self._add(page, before)
            self.erase([aside])
        return {**result, "sha256": self.list_versions(page)}

    def finish(self) -> None:
        """Let go of pages that were set aside and not replaced."""
        for path in (self._folder / ARCHIVE).glob(f"*/{_ASIDE}"):
            self.erase([path])

    def list_versions(self, page: Path) -> str:
        """Write the earlier versions of a page into its foot, if that changes it; return the digest of the page."""
        text, versions = page.read_text("utf-8"), self._versions(page)
        foot = self._foot(page, text, versions) if versions else Markup("")
        listed = _FOOT.sub(lambda marks: marks[1] + str(foot) + marks[2], text, count=1)
        if listed != text:
            resources.write_whole(page, listed)
        return hashlib.sha256(listed.encode()).hexdigest()

    def erase(self, paths: Iterable[Path]) -> None:
        """Delete files, and the folders of versions that are then empty."""
        for path in paths:
            path.unlink(missing_ok=True)
            for folder in (path.parent, path.parent.parent):
                with suppress(OSError):  # it holds others
                    if ARCHIVE in (folder.name, folder.parent.name):
                        folder.rmdir()

    def _of(self, page: Path) -> Path:
        return self._folder / ARCHIVE / page.stem

    def _versions(self, page: Path) -> list[Path]:
        """The versions of a page, the newest first."""
        return sorted((path for path in self._of(page).glob("*.html") if path.name != _ASIDE), reverse=True)

    def _add(self, page: Path, before: str) -> None:
        made_at = self._made_at.get(page.stem, datetime.now(UTC)).astimezone(UTC)
        words = say("This is an earlier version, of {instant}.", self._lang, instant=self._shown(made_at))
        link = Markup('<a href="../../{}">{}</a>').format(page.name, say("The page as it is now", self._lang))
        notice = Markup('<!--archive--><p class="archive">{} {}</p><!--/archive-->').format(words, link)
        text = _FOOT.sub("", _LINK.sub(r'\1="../../', before), count=1)
        resources.write_whole(self._of(page) / f"{made_at:{_NAMED}}.html", _with_notice(text, str(notice)))
        for oldest in self._versions(page)[self._keep :]:
            oldest.unlink()

    def _shown(self, at: datetime) -> str:
        return instant(at, self._timezone, lang=self._lang)

    def _foot(self, page: Path, text: str, versions: Sequence[Path]) -> Markup:
        links = Markup(", ").join(
            Markup('<a href="{}/{}/{}">{}</a>').format(ARCHIVE, page.stem, path.name, self._shown(made_at(path)))
            for path in versions
        )
        before = versions[0].read_text("utf-8")
        changed = changes(before, text, self._lang)
        said = Markup('<p class="archive">{} {}</p>').format(say("Earlier versions:", self._lang), links)
        why = because(held(before), held(text), self._lang) if changed else ""
        words = " ".join(filter(None, [_summary(changed, self._lang), why]))
        return said + Markup('<p class="archive">{}</p>').format(words)


def archived(folder: Path) -> Iterator[tuple[Path, Path]]:
    """Yield every version that a folder of reports keeps, with the page that it is a version of."""
    for path in sorted((folder / ARCHIVE).glob("*/*.html")):  # one set aside when a run was stopped, too
        yield path, folder / f"{path.parent.name}.html"


def changes(before: str, after: str, lang: str = "en") -> list[str]:
    """Return the figures that differ between two versions of a page, as sentences; one for each row of its tables.

    Rows are compared by table and by their text; curves over time only if no other figure differs.
    """
    old, new = _figures(before), _figures(after)
    differing = [place for place in new if place in old and _differs(old[place], new[place])]
    lasting = [place for place in differing if not place[0][1]] or differing
    return [_change(place, old[place], new[place], lang) for place in lasting]


def because(before: Mapping[str, Any], after: Mapping[str, Any], lang: str = "en") -> str:
    """Say why the figures of two versions of a page differ, by their provenance; empty if that is not known."""
    found = reasons(before, after) if before and after else {}
    words = [f"{say(CAUSES[cause], lang)} ({clipped(detail, 160)})" for cause, detail in found.items()]
    return say("Because of: {causes}.", lang, causes="; ".join(words)) if words else ""


Place = tuple[tuple[Any, ...], tuple[Any, ...]]


def _figures(html: str) -> dict[Place, list[Figure]]:
    """The figures of a page's tables, by table and row; each table and row that occurs again has a number."""
    figures: dict[Place, list[Figure]] = {}
    for text in _DATA.findall(html):
        data = json.loads(text)
        kinds = [column["kind"] for column in data["columns"]]
        names = tuple(column["name"] for column in data["columns"])
        table = _again((data["name"], "instant" in kinds, names), {place[0] for place in figures})
        for row in data["rows"]:
            words = tuple(str(value) for value, kind in zip(row, kinds, strict=True) if kind in ("text", "instant"))
            place = table, _again(words, {place[1] for place in figures if place[0] == table} if words else ())
            figures[place] = [
                (column["label"], column["kind"], value)
                for column, value in zip(data["columns"], row, strict=True)
                if column["kind"] in _FIGURES
            ]
    return figures


def _again(name: tuple[Any, ...], taken: Iterable[tuple[Any, ...]]) -> tuple[Any, ...]:
    used = set(taken)
    return next(numbered for count in range(len(used) + 2) if (numbered := (*name, count)) not in used)


def _differs(old: Sequence[Figure], new: Sequence[Figure]) -> bool:
    return [figure[2] for figure in old] != [figure[2] for figure in new] and len(old) == len(new)


def _change(place: Place, old: Sequence[Figure], new: Sequence[Figure], lang: str) -> str:
    """Say how a row changed, by its first rate that did, else its first count."""
    pairs = [(one, other) for one, other in zip(old, new, strict=True) if one[2] != other[2]]
    (_, _, before), (label, kind, after) = min(pairs, key=lambda pair: _FIGURES.index(pair[1][1]))
    texts = [shown(value, kind, "UTC", lang) for value in (before, after)]
    if texts[0] == texts[1] and kind == "share":
        texts = [percent(value, 2, lang) for value in (before, after)]
    words = " · ".join(filter(None, [*place[1][:1]])) if len(place[1]) > 1 else ""
    what = f"{words}, {label}" if words and len(new) > 1 else words or label
    return say(CHANGE, lang, what=clipped(what, 120), before=texts[0], after=texts[1])


def _summary(changed: Sequence[str], lang: str) -> str:
    if not changed:
        return say("Since the last one, no figure of a table changed.", lang)
    figures = "; ".join(changed[:SHOWN_CHANGES])
    if rest := len(changed) - SHOWN_CHANGES:
        more = several("and {count} more", "and {count} more", max(rest, 0), lang) if rest > 0 else ""
        figures = "; ".join(filter(None, [figures, more]))
    return say("Changed since the last one: {figures}.", lang, figures=figures)


def content(html: str) -> str:
    """A page without what changes by itself or is compared apart.

    These are the stamp, the bar, the list of its versions, where facts lead, and its provenance.
    """
    return _LEADS.sub(r"\1", _STAMP.sub("", _MARKED.sub("", SCRIPT.sub("", html))))


def _with_notice(html: str, notice: str) -> str:
    """Put a notice above a page's header."""
    head, body, rest = html.partition("<header")
    return f"{head}{notice}{body}{rest}" if body else html


def made_at(version: Path) -> datetime:
    """Return when a version was made, by its name; ValueError for another file."""
    return datetime.strptime(version.stem, _NAMED).replace(tzinfo=UTC)
