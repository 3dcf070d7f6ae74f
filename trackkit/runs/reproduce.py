"""Making a page again, from the version of the store that it was made from, and comparing it byte by byte.

What stands on a page and is not of the store is left out of the comparison: the bar and where links to other pages
lead, the stamp "Calculated", and the list of earlier versions (`archive.content`).
"""

import os
import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

from trackkit.analysis.provenance import software
from trackkit.errors import DataError, RequestError
from trackkit.report import digests_of, render
from trackkit.report.formats import PROVENANCE
from trackkit.report.provenance import read
from trackkit.runs.archive import content
from trackkit.store import open_store
from trackkit.store.lake import pinned

__all__ = ["Reproduction", "reproduce"]
_SECTION = re.compile(r'(?=<section id="[\w-]+")')
_NAME = re.compile(r'<section id="([\w-]+)"')
OF_ITS_TIME = ("software", "report", "rules")  # compared apart: they say what it was made with


@dataclass(frozen=True)
class Reproduction:
    """What came of making a page again: `differing` is the first difference, "" if there is none.

    `notes` say what is not as it was: the software, the files of the report, and where the page itself was not there.
    """

    page: str
    version: int
    differing: str
    notes: tuple[str, ...] = ()

    @property
    def is_same(self) -> bool:
        """Whether the bytes are the same."""
        return not self.differing

    def __str__(self) -> str:
        result = "the same bytes" if self.is_same else f"not the same: {self.differing}"
        return "\n".join([f"{self.page}: {result}, from version {self.version} of the store.", *self.notes])


def reproduce(page: str | os.PathLike[str], store: str | os.PathLike[str]) -> Reproduction:
    """Render a page again from the version of the store that it names, into a temporary folder, and compare the bytes.

    `page` is an HTML page of `render` or `run`, or the `.provenance.json` beside one; if the page is gone, only the
    figures are compared. Raises RequestError for a page without provenance or of another store, DataError if that
    version of the store was deleted since, and what `render` raises.
    """
    path = Path(page)
    known = read(path)
    report, version = known["report"], int(known["store"]["load"])
    then = _require_version(os.fspath(store), version, str(known["store"]["load_id"]))
    html = path.with_name(path.name.removesuffix(PROVENANCE) + ".html") if path.name.endswith(PROVENANCE) else path
    with tempfile.TemporaryDirectory(prefix="tk-") as folder:
        again = render(report["name"], then, folder, lang=report["lang"], parameters=report["parameters"])
        texts = [each.read_text("utf-8") for each in (html, again) if each.is_file()]
        differing = _differing(known, read(again), texts)
    notes = [*_other_means(known), *([f"{html.name} is gone: its figures were compared."] if len(texts) < 2 else [])]
    return Reproduction(html.name, version, differing, tuple(notes))


def _require_version(store: str, version: int, load_id: str) -> str:
    """Return the name of a version of a store whose files are all there; refuse another store, or a deleted version."""
    now, then = open_store(store), pinned(store, version)
    now.require_whole()
    loads = {load["number"]: load for load in now.snapshot().loads}
    if loads.get(version, {}).get("load_id") != load_id:
        raise RequestError(f"The page was not made from the store at {store!r}: that has no load {load_id}.")
    try:
        open_store(then).require_whole()
    except DataError:
        removals = [number for number, load in loads.items() if number > version and "forgotten" in load["report"]]
        why = f"load {removals[0]} removed rows for good" if removals else "files of older versions go after a week"
        raise DataError(
            f"Version {version} of the store at {store!r} is there no more ({why}): the page cannot be made again. "
            "Render it anew, and compare the two with trackkit.changes."
        ) from None
    return then


def _other_means(known: Mapping[str, Any]) -> list[str]:
    """What a page would be made with today that is not as it was."""
    report = known["report"]
    files = _others(report["made_of"], digests_of(report["name"], report["lang"]))
    versions = _others(known["software"], software())
    kinds = [change.split()[0] for change in files]
    notes = [f"Made with another {', '.join(kinds)} of the report than now."] if kinds else []
    return notes + ([f"Made with other software: {', '.join(versions)}."] if versions else [])


def _others(then: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    return [f"{name} {then.get(name)} → {now.get(name)}" for name in {**then, **now} if then.get(name) != now.get(name)]


def _differing(known: Mapping[str, Any], made: Mapping[str, Any], texts: list[str]) -> str:
    """The first difference: a figure, what else is known of their provenance, a section or a line of the page."""
    figures, again = known["figures"], made["figures"]
    for name, figure in figures.items():
        value = again.get(name, {}).get("value")
        if value != figure["value"]:
            return f"the figure {name} was {figure['value']} and is {value}"
    if len(texts) == 2 and (place := _first_place(*map(content, texts))):
        return place
    others = [name for name in known if name not in (*OF_ITS_TIME, "figures", "inputs") and known[name] != made[name]]
    return f"its provenance ({others[0]})" if others else ""


def _first_place(before: str, after: str) -> str:
    """Where two pages first differ; "" if they do not."""
    for old, new in zip_longest(_SECTION.split(before), _SECTION.split(after), fillvalue=""):
        if old != new:
            name = _NAME.match(old or new)
            pairs = zip_longest(old.splitlines(), new.splitlines(), fillvalue="")
            lines = next((pair for pair in pairs if pair[0] != pair[1]), ("", ""))
            words = " and is ".join(repr(line.strip()[:80]) for line in lines)
            return f"{f'the section {name[1]!r}' if name else 'the head'} was {words}"
    return ""
