"""The bar on every page of a folder, by which all of them are reached from each: one delivery is one dossier.

The bar is written between two marks of a page, without rendering the page again. What it was made from is kept in the
manifest, so that a page whose bar is still right is not even opened.
"""

import hashlib
import json
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import date, datetime
from functools import cached_property
from html import escape, unescape
from itertools import groupby
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template

from trackkit import resources
from trackkit.engine.scope import Part, Scope, resolve
from trackkit.engine.snapshot import Snapshot
from trackkit.errors import RequestError, TrackkitError
from trackkit.language import catalogue_file, languages, say, speech, tag
from trackkit.report import REPORTS
from trackkit.report.glossary import glossary_name
from trackkit.report.groups import OVERVIEW, groups
from trackkit.report.notebook import SCOPE
from trackkit.report.template import SKIN, template
from trackkit.runs.leaves import BEGIN, END, NO_REPORTS, Leaf, about
from trackkit.runs.listed import listed
from trackkit.show.wording import clipped, instant, plain

BAR = "bar.html.j2"
MOST_OTHERS = 12  # pages of one report beside the manifest's that a bar lists; the index lists all
LONGEST_NAME, LONGEST_ERROR = 40, 200
INDEX = NO_REPORTS[0]
# As pages have them, without a target: to a report on a delivery or a scope, by default the page's own.
_TO_REPORT = re.compile(rb'<a data-report="(\w+)"( data-(delivery|scope)="([^"]*)")?(?: href="[^"]*")?>')
Link = dict[str, Any]


def write_bars(dossiers: "Dossiers", index: bool = True, glossary: str = "") -> list[str]:
    """Write the bar into every page of a folder whose bar changed; return the names of those pages.

    Each is written in one step and keeps its time of change. Pages without the marks, of an earlier version, stay as
    they are. Entries of the manifest are given what their bar was made from. `index` says whether the folder has one,
    and `glossary` is the language of a page of definitions that was just written.
    """
    bars = Bars(dossiers, index)
    if glossary:
        bars.write_in_glossary(glossary)
    return [leaf.path for leaf in dossiers.present if leaf.path and bars.write(leaf)]


def titles(lang: str) -> dict[str, str]:
    """Return the titles of all reports; one whose template is wrong goes by its name: the run has reported that."""
    said = {}
    for report in REPORTS:
        said[report] = report
        with suppress(TrackkitError):
            said[report] = template(report, lang).title
    return said


def scopes() -> dict[str, str]:
    """Return what each report is about: "platform" (all deliveries), or one delivery or recipient."""
    known = {}
    for report in REPORTS:
        known[report] = "platform"
        with suppress(TrackkitError):
            known[report] = REPORTS[report].scope
    return known


def takes_scopes(report: str) -> bool:
    """Return whether a report can be about several deliveries; not if its template or notebook is wrong."""
    with suppress(TrackkitError):
        return any(parameter.name == SCOPE for parameter in REPORTS[report].parameters)
    return False


def without_bar(text: str) -> str:
    """Return a page's text without its bar, which names other pages."""
    before, begin, rest = text.partition(BEGIN.decode())
    _, end, after = rest.partition(END.decode())
    return before + after if begin and end else text


@dataclass
class Words:
    """What bars say in one language: the template, the titles of groups and reports, and a digest of all."""

    lang: str
    groups: list[Any] = field(default_factory=list)
    titles: dict[str, str] = field(default_factory=dict)

    @cached_property
    def template(self) -> Template:
        """The template of the bar."""
        loader = FileSystemLoader([str(place) for place in resources.folders(SKIN)])
        environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True)
        environment.globals |= speech(self.lang)
        return environment.get_template(BAR)

    @cached_property
    def digest(self) -> str:
        """A digest of the files behind the words of a bar."""
        files = [resources.find(f"{SKIN}/{BAR}"), *filter(None, [catalogue_file(self.lang)])]
        return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()


class Dossiers:
    """The pages of a folder by delivery and report, and the links that bars and the index make of them."""

    def __init__(self, tables: Snapshot, folder: Path, present: list[Leaf]) -> None:
        self.folder, self.present, self.timezone = folder, present, tables.timezone
        self.by_subject: dict[str, dict[str, list[Leaf]]] = {}
        for leaf in present:
            self.by_subject.setdefault(leaf.about, {}).setdefault(leaf.report, []).append(leaf)
        self.listed = listed(tables, [leaf.delivery for leaf in present if leaf.delivery])
        names = self.listed.select("delivery_id", "label")
        self.labels = {name: plain(label or name) for name, label in names.iter_rows()}
        campaigns = self.listed.drop_nulls("campaign_id").select("delivery_id", "campaign_id").iter_rows()
        self.campaigns = {name: about("", Part("campaign", (campaign,)).text) for name, campaign in campaigns}
        self._launches = dict(self.listed.select("delivery_id", "launched_at").iter_rows())
        with_pages = [name for name in self.labels if any(leaf.path for leaf in self.leaves_of(name))]
        self.neighbours = {
            name: (earlier, later)
            for name, later, earlier in zip(with_pages, ["", *with_pages], [*with_pages[1:], ""], strict=False)
        }
        self.scopes = scopes()
        self.selections = dict(_selections(tables, present))
        self.scoped = {report for report in self.scopes if takes_scopes(report)} if self.selections else set()
        self.labels |= {name: clipped(scope.label, 120) for name, scope in self.selections.items()}
        self._words: dict[str, Words] = {}

    def leaves_of(self, subject: str) -> list[Leaf]:
        """Return all pages about a subject: a delivery, a scope, or all deliveries (""), as `Leaf.about` has it."""
        return [leaf for some in self.by_subject.get(subject, {}).values() for leaf in some]

    def day(self, delivery: str) -> date | None:
        """Return the day of a delivery's launch by the clock of the platform; None if it is unknown."""
        at = self._launches.get(delivery)
        return at.astimezone(ZoneInfo(self.timezone)).date() if at else None

    def shared_warnings(self, subject: str) -> int:
        """Return how many warnings stand on every page about a subject: they are about all of it.

        On pages about all ("") they stand on most: reports that read other tables need not say them.
        """
        counts = [leaf.warnings for leaf in self.leaves_of(subject) if leaf.path]
        with_some = [count for count in counts if count]
        is_shared = not subject and 2 * len(with_some) > len(counts)
        return min(with_some if is_shared else counts, default=0)

    def words(self, lang: str) -> Words:
        """Return what is said in a language; in English if its catalogue is gone."""
        if lang not in self._words:
            known = lang if lang in languages() else "en"
            self._words[lang] = Words(known, groups(known), titles(known))
        return self._words[lang]

    def best(self, subject: str, report: str, lang: str) -> Leaf | None:
        """Return the page of a report: in the language, else in another; else how it failed; else None."""
        some = [leaf for leaf in self.by_subject.get(subject, {}).get(report, []) if not leaf.title]
        return min(some, key=lambda leaf: (not leaf.path, leaf.lang != lang, leaf.lang), default=None)

    def first(self, subject: str, lang: str, report: str = OVERVIEW) -> Leaf | None:
        """Return the page that leads to a subject: of the report, else its Overview, else any."""
        preferred = [self.best(subject, name, lang) for name in (report, OVERVIEW)]
        order = [name for group in self.words(lang).groups for name in group.reports]
        others = sorted(
            self.leaves_of(subject),
            key=lambda each: (
                bool(each.title),
                each.lang != lang,
                order.index(each.report) if each.report in order else -1,
                each.path,
            ),
        )
        return next((leaf for leaf in [*preferred, *others] if leaf and leaf.path), None)

    def groups(self, subject: str, lang: str) -> list[Link]:
        """Return the groups of the reports about a subject ("": of those on all), each with its links.

        Their warnings are those that do not stand on every page.
        """
        made, shared = [], self.shared_warnings(subject)
        for group in self.words(lang).groups:
            links = [link for report in group.reports for link in self.links(subject, report, lang)]
            links = [link | {"warnings": max(0, link["warnings"] - shared)} for link in links]
            reached = [link for link in links if link["href"]]
            first = reached[0]["href"] if reached else ""
            warnings = max((link["warnings"] for link in links), default=0)
            words = {"title": group.title, "reports": group.reports}
            made += [words | {"links": links, "href": first, "warnings": warnings}] if links else []
        return made

    def links(self, subject: str, report: str, lang: str) -> list[Link]:
        """Return the links of a report: its page, or why there is none, and such pages that no manifest lists."""
        title = self.words(lang).titles.get(report, report)
        leaf = self.best(subject, report, lang)
        loose = [other for other in self.by_subject.get(subject, {}).get(report, []) if other.title]
        loose = [other for other in loose if other.lang == lang] or loose
        is_here = self._is_made_for(report, subject)
        main = [self.link(leaf, title, lang)] if leaf or (is_here and not loose and self._is_of_run(report)) else []
        only = len(loose) == 1 and not main
        return main + [self.link(other, title if only else other.title, lang) for other in loose[:MOST_OTHERS]]

    def _is_made_for(self, report: str, subject: str) -> bool:
        """Whether pages of a report are about such a subject."""
        if subject in self.selections:
            return report in self.scoped
        return (self.scopes.get(report) == "platform") == (not subject)

    def _is_of_run(self, report: str) -> bool:
        """Whether a run makes pages of a report; nobody misses a recipient's."""
        return self.scopes.get(report) != "recipient"

    def link(self, leaf: Leaf | None, title: str, lang: str) -> Link:
        """Return a link to a page, in words why there is none, and whether its last attempt failed."""
        if leaf is None:
            return {
                "title": title,
                "href": "",
                "lang": "",
                "why": say("not made yet", lang),
                "stale": "",
                "warnings": 0,
            }
        error = clipped(leaf.error, LONGEST_ERROR) if leaf.error else ""
        return {
            "title": clipped(title, 120),
            "href": leaf.path,
            "lang": tag(leaf.lang) if leaf.lang != lang else "",
            "why": say("failed: {error}", lang, error=error) if error and not leaf.path else "",
            "stale": self.stale(leaf, lang) if error and leaf.path else "",
            "warnings": leaf.warnings,
        }

    def stale(self, leaf: Leaf, lang: str) -> str:
        """Say that the last attempt at a page failed and the page is an earlier one."""
        made, at = (self._moment(text, lang) for text in (leaf.rendered_at, leaf.failed_at))
        return say("failed on {failed}; this is the page of {made}", lang, failed=at, made=made)

    def _moment(self, text: str, lang: str) -> str:
        return instant(datetime.fromisoformat(text), self.timezone, lang=lang) if text else say("n/a", lang)


def _selections(tables: Snapshot, present: Iterable[Leaf]) -> Iterator[tuple[str, Scope]]:
    """The scopes with pages that name something in the store, by what their pages are about."""
    for leaf in {leaf.about: leaf for leaf in present if leaf.about and not leaf.delivery}.values():
        with suppress(RequestError):
            yield leaf.about, resolve(tables, leaf.scope)


class Bars:
    """Makes the bar of each page of a folder, and writes those that changed."""

    def __init__(self, dossiers: Dossiers, index: bool) -> None:
        self._dossiers, self._folder = dossiers, dossiers.folder
        self._index = INDEX if index else ""
        self._shared: dict[tuple[str, str], tuple[Link, str]] = {}
        self._overview_digests: dict[str, str] = {}

    def write_in_glossary(self, lang: str) -> None:
        """Write the bar of the page of definitions in a language, which is that of the reports on all deliveries."""
        page = self._folder / glossary_name(lang)
        if page.is_file():
            nothing: Link = {
                "previous": None,
                "next": None,
                "languages": [],
                "files": [],
                "failure": "",
                "current": None,
            }
            shared = self._of_dossier("", lang)[0]
            groups = [group | {"warnings": 0} for group in shared["groups"]]
            bar = shared | nothing | {"path": page.name, "groups": groups, "warnings": 0}
            html = self._dossiers.words(lang).template.render(bar=bar).strip()
            resources.write_whole(page, _with_bar(page.read_bytes(), html))

    def write(self, leaf: Leaf) -> bool:
        """Write the bar of a page if it is not the right one; return whether it was written."""
        page, made_of = self._folder / leaf.path, self.digest(leaf)
        try:
            if leaf.entry.get("bar", {}).items() >= _mark(page, made_of).items():
                return False
            before = page.stat()
            old = page.read_bytes()
        except OSError:  # removed since
            return False
        new = self._with_links(_with_bar(old, self.html(leaf)), leaf)
        if new != old:
            resources.write_whole(page, new)
            os.utime(page, ns=(before.st_atime_ns, before.st_mtime_ns))
        if leaf.entry:
            has_none = {"none": True} if BEGIN not in new else {}
            leaf.entry.update(bar=_mark(page, made_of) | has_none, sha256=hashlib.sha256(new).hexdigest())
        return new != old

    def _with_links(self, page: bytes, leaf: Leaf) -> bytes:
        """Let the links of a page to other reports, on its subject or one that they name, lead to those there are."""

        def linked(link: re.Match[bytes]) -> bytes:
            report, named = link[1].decode(), unescape(link[4].decode()) if link[2] else ""
            subject = (about("", named) if link[3] == b"scope" else named) if link[2] else leaf.about
            target = self._dossiers.best(subject, report, leaf.lang)
            href = f' href="{escape(target.path)}"' if target and target.path else ""
            return b'<a data-report="%b"%b%b>' % (link[1], link[2] or b"", href.encode())

        return _TO_REPORT.sub(linked, page)

    def digest(self, leaf: Leaf) -> str:
        """Return a digest of everything that the bar of a page says, and of where its links lead."""
        _, shared = self._of_dossier(leaf.about, leaf.lang)
        return _digest([shared, self._own(leaf), self._led_to(leaf)])

    def _led_to(self, leaf: Leaf) -> str:
        """What tells where the links of a page lead: of a delivery to its campaign, of several to each of them."""
        if not leaf.delivery:
            return self._overviews(leaf.lang)
        campaign = self._dossiers.best(self._dossiers.campaigns.get(leaf.delivery, "scope"), OVERVIEW, leaf.lang)
        return campaign.path if campaign else ""

    def _overviews(self, lang: str) -> str:
        """A digest of the pages that reports on all deliveries lead to."""
        if lang not in self._overview_digests:
            found = [self._dossiers.best(name, OVERVIEW, lang) for name in self._dossiers.labels]
            self._overview_digests[lang] = _digest([leaf.path for leaf in found if leaf])
        return self._overview_digests[lang]

    def html(self, leaf: Leaf) -> str:
        """Return the bar of a page."""
        context = self._of_dossier(leaf.about, leaf.lang)[0] | self._own(leaf)
        current = [group for group in context["groups"] if leaf.report in group["reports"]]
        words = self._dossiers.words(leaf.lang)
        return words.template.render(bar=context | {"current": current[0] if current else None}).strip()

    def _of_dossier(self, subject: str, lang: str) -> tuple[Link, str]:
        """What the bars of all pages about a subject in one language share, and its digest."""
        if (subject, lang) not in self._shared:
            dossiers = self._dossiers
            words = dossiers.words(lang)
            overview = dossiers.best(subject, OVERVIEW, lang)
            is_missed = subject and OVERVIEW in words.titles
            title = words.titles.get(OVERVIEW, "")
            shared = {
                "overview": dossiers.link(overview, title, lang) if overview or is_missed else None,
                "groups": dossiers.groups(subject, lang),
                "warnings": dossiers.shared_warnings(subject) if subject else 0,  # the box on the page says them
                "about": dossiers.labels.get(subject, subject) or say("All deliveries", lang),
                "index": self._index,
                "glossary": name if (self._folder / (name := glossary_name(lang))).exists() else "",
            }
            self._shared[subject, lang] = shared, _digest([shared, words.digest])
        return self._shared[subject, lang]

    def _own(self, leaf: Leaf) -> Link:
        """What only the bar of this page says."""
        alike = self._dossiers.by_subject[leaf.about][leaf.report]
        others = [one for one in alike if one.path and one.lang != leaf.lang and bool(one.title) == bool(leaf.title)]
        others.sort(key=lambda one: (one.lang, one.path))
        earlier, later = self._dossiers.neighbours.get(leaf.delivery, ("", ""))
        return {
            "path": leaf.path,
            "previous": self._neighbour(earlier, leaf),
            "next": self._neighbour(later, leaf),
            "languages": [_language(next(some)) for _, some in groupby(others, key=lambda one: one.lang)],
            "files": [{"href": name, "kind": name.partition(".")[2]} for name in leaf.files],
            "failure": self._failure(leaf),
        }

    def _neighbour(self, delivery: str, leaf: Leaf) -> Link | None:
        page = self._dossiers.first(delivery, leaf.lang, leaf.report) if delivery else None
        if page is None:
            return None
        label, day = self._dossiers.labels[delivery], instant(self._dossiers.day(delivery), lang=leaf.lang)
        return {"href": page.path, "label": label, "short": day or clipped(label, LONGEST_NAME)}

    def _failure(self, leaf: Leaf) -> str:
        if not leaf.error:
            return ""
        stale = self._dossiers.stale(leaf, leaf.lang)
        error = clipped(leaf.error, LONGEST_ERROR)
        return say("This report {failed}. The error: {error}", leaf.lang, failed=stale, error=error)


def _language(leaf: Leaf) -> dict[str, str]:
    return {"tag": tag(leaf.lang), "href": leaf.path}


def _digest(parts: Iterable[Any]) -> str:
    text = json.dumps(list(parts), ensure_ascii=False, sort_keys=True, default=dict)
    return hashlib.sha256(text.encode("utf-8", errors="surrogatepass")).hexdigest()[:20]


def _mark(page: Path, made_of: str) -> dict[str, Any]:
    """What tells that a page holds the bar made from these facts: nobody wrote it since."""
    facts = page.stat()
    return {"made_of": made_of, "size": facts.st_size, "changed": facts.st_mtime_ns}


def _with_bar(page: bytes, bar: str) -> bytes:
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    return b"".join([before, begin, bar.encode("utf-8"), end, after]) if begin and end else page
