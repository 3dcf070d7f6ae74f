"""Template + notebook + parameters -> executed notebook -> one self-contained HTML file.

A report is a notebook in `notebooks/reports/` and a TOML of the same stem in `reports_templates/`. Its parameters are
checked before anything runs, and a report that fails leaves the failed notebook beside its place, never half a page.
"""

from __future__ import annotations

import copy
import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trackkit import resources
from trackkit.engine.deliveries import require_timezone
from trackkit.errors import RequestError, did_you_mean
from trackkit.report import fork_server, notebook
from trackkit.report.notebook import Parameter
from trackkit.report.page import Page, open_page
from trackkit.report.template import ParameterChoice, Template, template

if TYPE_CHECKING:
    from nbformat import NotebookNode

__all__ = ["REPORTS", "Page", "Report", "open_page", "render", "report_path", "slug"]

INLINE, SHARED = "inline", "shared"  # where a page has the script that draws its charts


@dataclass(frozen=True)
class Report:
    """One standard report: its name, its title, what it is about, and its parameters."""

    name: str
    title: str
    scope: str
    parameters: tuple[Parameter, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the report as plain data, for `trackkit reports --json`."""
        return asdict(self)


class _Reports(Mapping[str, Report]):
    """The reports whose notebooks are found now: local copies hide the shipped ones."""

    def __getitem__(self, name: str) -> Report:
        return _report(name)[0]

    def __iter__(self) -> Iterator[str]:
        return iter(resources.files(notebook.NOTEBOOKS, "*.ipynb"))

    def __len__(self) -> int:
        return len(resources.files(notebook.NOTEBOOKS, "*.ipynb"))

    def __contains__(self, name: object) -> bool:
        return name in resources.files(notebook.NOTEBOOKS, "*.ipynb")


REPORTS: Mapping[str, Report] = _Reports()


def render(
    report: str,
    store: str | os.PathLike[str],
    out: str | os.PathLike[str],
    delivery: str | None = None,
    lang: str = "en",
    parameters: Mapping[str, Any] | None = None,
    assets: str = INLINE,
) -> Path:
    """Render one report into the folder `out` and return the path of its HTML file, which loads nothing.

    `parameters` are those of the report's notebook beside `delivery` (see `REPORTS`); text is turned into their types.
    With `assets="shared"` the script that draws charts stands once in `out`, in `assets/`, and pages need it there.
    The same inputs give the same bytes but for the stamp "Calculated". Raises RequestError for an unknown report,
    parameter, value, delivery or language; DataError for refused data; ReportError when the notebook fails, which is
    then kept beside as `<name>.failed.ipynb` while no page is written.
    """
    require_assets(assets)
    found, words, book = _report(report, lang)
    given = dict(parameters or {}) | ({} if delivery is None else {"delivery": str(delivery)})
    values = _values(found, given, words)
    path = _path(found, Path(out), values, lang)
    values["timezone"] = values.get("timezone") or _platform_zone(store)
    path.parent.mkdir(parents=True, exist_ok=True)
    failed = path.with_suffix(".failed.ipynb")
    arguments = {"store": str(store), "lang": lang, **values}
    fork_server.start()  # while this process imports, so does that one
    from trackkit.report.execute import execute
    from trackkit.report.html_page import PageFacts, export

    executed = execute(_trimmed(book, words), arguments, failed)
    shown = {name: value for name, value in values.items() if name != "timezone" and value not in ("", None)}
    made = PageFacts(report, shown, values["timezone"], lang, assets == SHARED)
    page = export(executed, words, made)
    if made.shared:
        _share(path.parent)
    resources.write_whole(path, page)
    failed.unlink(missing_ok=True)
    return path


def _platform_zone(store: str | os.PathLike[str]) -> str:
    from trackkit.store import open_store

    return open_store(store).timezone


def require_assets(assets: str) -> str:
    """Return where pages have the script that draws charts: "inline", each in itself, or "shared"; refuse others."""
    if assets not in (INLINE, SHARED):
        raise RequestError(f"Assets are inline or shared, not {assets!r}.{did_you_mean(str(assets), [INLINE, SHARED])}")
    return assets


def require_report(name: str) -> str:
    """Return the name of a report; refuse one that is none."""
    if name not in REPORTS:
        raise RequestError(f"There is no report {name!r}.{did_you_mean(str(name), REPORTS)}")
    return name


def report_path(
    report: str,
    out: str | os.PathLike[str],
    delivery: str | None = None,
    lang: str = "en",
    parameters: Mapping[str, Any] | None = None,
) -> Path:
    """Return where `render` puts a report with these arguments; nothing is run. Raises RequestError as `render`."""
    found, words, _ = _report(report, lang)
    given = dict(parameters or {}) | ({} if delivery is None else {"delivery": str(delivery)})
    return _path(found, Path(out), _values(found, given, words), lang)


def _report(name: str, lang: str = "en") -> tuple[Report, Template, NotebookNode]:
    """Read a report's template and notebook; refuse a name that is none, however it is spelt."""
    require_report(name)
    path = resources.find(f"{notebook.NOTEBOOKS}/{name}.ipynb")
    book, words = notebook.read(path), template(name, lang)
    chosen = [_settled(each, words.parameters.get(each.name)) for each in notebook.parameters(book, path)]
    offered = tuple(each for each in chosen if each.name not in notebook.GIVEN_APART)
    scope = notebook.scope(book, [each.name for each in offered])
    return Report(name, words.title, scope, offered), words, book


def _settled(parameter: Parameter, choice: ParameterChoice | None) -> Parameter:
    if choice is None:
        return parameter
    default = parameter.default if choice.default is None else choice.default
    return replace(parameter, default=parameter.value(default), choices=tuple(choice.choices))


def _values(report: Report, given: Mapping[str, Any], words: Template) -> dict[str, Any]:
    """Return a value for each parameter, of its type; refuse what is unknown, missing or does not fit."""
    known = {parameter.name: parameter for parameter in report.parameters}
    for name in given:
        if name not in known:
            raise RequestError(f"{report.name} has no parameter {str(name)!r}.{did_you_mean(str(name), known)}")
    values = {name: each.value(given[name]) if name in given else each.default for name, each in known.items()}
    if report.scope != "platform" and not any(values.get(name) for name in notebook.IDS):
        needed = " or ".join(name for name in notebook.IDS if name in known)
        raise RequestError(f"{report.name} needs a {needed}: give its id.")
    if values.get("timezone"):
        require_timezone(str(values["timezone"]))
    return values


def _path(report: Report, out: Path, values: Mapping[str, Any], lang: str) -> Path:
    """Name the file from allowed letters and a hash, so that no id leads elsewhere and no two ids share a file."""
    defaults = {parameter.name: parameter.default for parameter in report.parameters}
    told = {name: value for name, value in values.items() if name in notebook.IDS or value != defaults[name]}
    digest = hashlib.sha256(json.dumps([report.name, lang, told], sort_keys=True).encode()).hexdigest()[:8]
    about = "-".join(slug(values[name]) for name in notebook.IDS if values.get(name)) or "platform"
    return out / f"{slug(report.name)}-{about}-{digest}.html"


def slug(text: str) -> str:
    """Return what a file's name says of an id: allowed letters only.

    >>> slug("../7 é")
    '7'
    """
    return re.sub(r"[^A-Za-z0-9_]+", "-", text).strip("-")[:40] or "id"


def _trimmed(book: NotebookNode, words: Template) -> NotebookNode:
    """Leave out the cells of sections that the analyst dropped: they need not run."""
    kept = [cell for cell in book.cells if (name := notebook.section_of(cell)) is None or name in words.names]
    trimmed = copy.copy(book)
    trimmed["cells"] = kept
    return trimmed


def _share(folder: Path) -> None:
    """Write Vega's bundle beside the pages of a folder, once."""
    from trackkit.report.html_page import ASSETS
    from trackkit.report.vega import file_name, vega

    place = folder / ASSETS / file_name()
    if not place.exists():
        place.parent.mkdir(exist_ok=True)
        resources.write_whole(place, vega())
