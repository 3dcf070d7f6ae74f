"""Template + notebook + parameters -> executed notebook -> one self-contained HTML file.

A report is a notebook in `notebooks/reports/` and a TOML of the same stem in `reports_templates/`. Parameters are
checked before anything runs; a report that fails leaves its failed notebook and no page.

In the order of the data: `notebook` (the parameters and sections that a notebook declares), `template` (the analyst's
TOML), `execute` (runs a notebook: `forked` is papermill's engine, `fork_server` and `preload` start the process where
`shell` runs the cells), `page` (what a notebook opens: tables, template, header), `header` (what a report is about, how
far the data goes), `notes` (caveats as sentences), `common` (shared by the reports of one delivery),
`html_page`, `picture` and `svg` (the page and its charts), `workers` (reports side by side), `formats` (the same page
as other files), `preview` (one report, again after each change).
Beside them: `checks` and `choices` (`trackkit check`), `phrases` (the sentences to translate).
"""

from __future__ import annotations

import copy
import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trackkit import resources
from trackkit.definition_sets import definition_set
from trackkit.engine.deliveries import require_timezone
from trackkit.engine.selection import ACTIVITIES, ALL
from trackkit.errors import RequestError, did_you_mean, require_word
from trackkit.language import catalogue_file
from trackkit.metrics import ADOBE
from trackkit.report import fork_server, notebook
from trackkit.report.common import newest
from trackkit.report.formats import HTML, require_formats, write
from trackkit.report.notebook import Parameter
from trackkit.report.page import Page, asked_scope, of_delivery, open_page
from trackkit.report.template import SKIN, TEMPLATES, ParameterChoice, Template, by_definitions, template

if TYPE_CHECKING:
    from nbformat import NotebookNode

__all__ = ["REPORTS", "Page", "Report", "open_page", "render", "report_path", "slug"]


# No page is rendered from these.
OF_FOLDER = ("bar.html.j2", "runs.html.j2", "search.js", "runs.css", "preview.html.j2", "preview.js")
_KINDS = {".ipynb": "notebook", ".toml": "template", ".po": "words"}


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
    """The reports by name, read anew each time: local copies hide the shipped ones."""

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
    formats: str | Sequence[str] = HTML,
    scope: str | None = None,
) -> Path:
    """Render one report into the folder `out` and return the path of its HTML file, which loads nothing.

    `scope` names several deliveries instead of one, such as "campaign:12" (`engine.scope`). `parameters` are those of
    the report's notebook beside `delivery` and `scope` (see `REPORTS`); text is turned into their types. `formats` are
    further files beside the page, of the same stem: "pdf", "xlsx", "ods", "csv", "parquet", "eml", as a list or
    separated by commas; those of an earlier rendering that are not named are removed. Where the figures come
    from stands beside the page in `<name>.provenance.json`.
    The same inputs give the same bytes but for the stamp "Calculated". Raises RequestError for an unknown report,
    parameter, value, delivery, scope, format or language, or for pdf without a browser; DataError for refused data;
    ReportError when the notebook fails: it is then kept as `<name>.failed.ipynb`, and no page is written.
    """
    chosen = require_formats(formats)
    definition, words, book = _report(report, lang)
    requested = dict(parameters or {}) | ({} if delivery is None else {"delivery": str(delivery)})
    requested |= {} if scope is None else {"scope": scope}
    values = _values(definition, _scoped(definition, store, requested), words)
    words = _of_kind(words, store, str(values.get("delivery", "")))
    words = by_definitions(words, str(values.get("definitions", ADOBE)))
    path = _path(definition, Path(out), values, lang)
    values["timezone"] = values.get("timezone") or _platform_zone(store)
    path.parent.mkdir(parents=True, exist_ok=True)
    failed = path.with_suffix(".failed.ipynb")
    arguments = {"store": str(store), "lang": lang, **values}
    fork_server.start()  # it imports while this process does
    from trackkit.report.execute import execute
    from trackkit.report.html_page import PageFacts, contents, written
    from trackkit.report.provenance import of_page

    executed = execute(_trimmed(book, words), arguments, failed, report)
    unsaid = {"timezone": values["timezone"], "definitions": ADOBE, "activity": ALL}
    shown_parameters = {name: value for name, value in values.items() if value not in ("", None, unsaid.get(name))}
    page = contents(executed, words, PageFacts(report, shown_parameters, values["timezone"], lang))
    page |= of_page(page, str(store), values, digests_of(report, lang))
    write(page, written(page), path, chosen)
    failed.unlink(missing_ok=True)
    return path


def _of_kind(words: Template, store: str | os.PathLike[str], delivery: str) -> Template:
    """The template with the variant of a delivery's kind; the store is opened only if there are variants."""
    return of_delivery(words, newest(store), delivery) if words.variant else words


def _scoped(report: Report, store: str | os.PathLike[str], requested: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters asked for, with a scope in its one spelling; what is one delivery, or all, is not a scope."""
    others = {name: value for name, value in requested.items() if name != "scope"}
    declared = [parameter.name for parameter in report.parameters]
    if not requested.get("scope"):
        return dict(requested) if "scope" in declared else others
    found = asked_scope(newest(store), store, str(others.get("delivery") or ""), str(requested["scope"]))
    if found and found.kind == "delivery" and "delivery" in declared:
        return others | {"delivery": found.chosen}
    if found and found.kind == notebook.PLATFORM == report.scope:
        return others
    if found and notebook.SCOPE not in declared:
        about = f"one {report.scope}" if report.scope != notebook.PLATFORM else "all deliveries"
        raise RequestError(f"{report.name} is about {about}, so it has no scope; got {requested['scope']!r}.")
    return others | ({"scope": found.text} if found else {})


def _platform_zone(store: str | os.PathLike[str]) -> str:
    from trackkit.store import open_store

    return open_store(store).timezone


def require_report(name: str) -> str:
    """Return the name of a report; refuse an unknown one."""
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
    definition, words, _ = _report(report, lang)
    requested = dict(parameters or {}) | ({} if delivery is None else {"delivery": str(delivery)})
    return _path(definition, Path(out), _values(definition, requested, words), lang)


def sources_of(report: str, lang: str = "en") -> list[Path]:
    """Return the files that a page is made of, as they are now: notebook, template, lists, page skin, translations."""
    names = [f"{notebook.NOTEBOOKS}/{report}.ipynb"]
    names += [f"{TEMPLATES}/{name}.toml" for name in ("bounce_causes", "domains", "feedback_loops", "quality", report)]
    paths = []
    for name in names:
        with suppress(RequestError):  # a missing file is an error when the report is rendered
            paths.append(resources.find(name))
    skin = sorted(path for path in resources.folder(SKIN).rglob("*") if path.is_file())
    return [*paths, *skin, *filter(None, [catalogue_file(lang)])]


def digests_of(report: str, lang: str = "en") -> dict[str, str]:
    """Return a digest for each kind of file behind a page: its notebook, template, page skin and translations."""
    kinds: dict[str, Any] = {}
    for path in sources_of(report, lang):
        if path.name not in OF_FOLDER:
            kind = _KINDS.get(path.suffix, "skin") if path.name != "theme.toml" else "skin"
            kinds.setdefault(kind, hashlib.sha256()).update(path.read_bytes())
    return {kind: digest.hexdigest()[:12] for kind, digest in kinds.items()}


def _report(name: str, lang: str = "en") -> tuple[Report, Template, NotebookNode]:
    """Read a report's template and notebook; refuse an unknown name."""
    require_report(name)
    path = resources.find(f"{notebook.NOTEBOOKS}/{name}.ipynb")
    book, words = notebook.read(path), template(name, lang)
    declared = [_with_choice(each, words.parameters.get(each.name)) for each in notebook.parameters(book, path)]
    offered = tuple(each for each in declared if each.name not in notebook.GIVEN_APART)
    scope = notebook.scope(book, [each.name for each in offered])
    return Report(name, words.title, scope, offered), words, book


def _with_choice(parameter: Parameter, choice: ParameterChoice | None) -> Parameter:
    if choice is None:
        return parameter
    default = parameter.default if choice.default is None else choice.default
    return replace(parameter, default=parameter.value(default), choices=tuple(choice.choices))


def _values(report: Report, arguments: Mapping[str, Any], words: Template) -> dict[str, Any]:
    """Return a value of the right type for each parameter; refuse one that is unknown, missing or does not fit."""
    declared = {parameter.name: parameter for parameter in report.parameters}
    for name in arguments:
        if name not in declared:
            raise RequestError(f"{report.name} has no parameter {str(name)!r}.{did_you_mean(str(name), declared)}")
    values = {name: parameter.default for name, parameter in declared.items()}
    values |= {name: declared[name].value(argument) for name, argument in arguments.items()}
    if report.scope != notebook.PLATFORM and not any(values.get(name) for name in (*notebook.IDS, notebook.SCOPE)):
        needed = " or ".join(name for name in notebook.IDS if name in declared)
        several = ', or a scope of several, such as "campaign:12" or "platform"' if notebook.SCOPE in declared else ""
        raise RequestError(f"{report.name} needs a {needed}: give its id{several}.")
    if values.get("timezone"):
        require_timezone(str(values["timezone"]))
    if "definitions" in values:
        definition_set(str(values["definitions"]))
    if "activity" in values:
        require_word("activity", str(values["activity"]), ACTIVITIES)
    return values


def _path(report: Report, out: Path, values: Mapping[str, Any], lang: str) -> Path:
    """Name the file with safe letters and a hash: no id leaves the folder, no two ids share a file."""
    defaults = {parameter.name: parameter.default for parameter in report.parameters}
    identifying = {name: value for name, value in values.items() if name in notebook.IDS or value != defaults[name]}
    digest = hashlib.sha256(json.dumps([report.name, lang, identifying], sort_keys=True).encode()).hexdigest()[:8]
    named = (*notebook.IDS, notebook.SCOPE)
    subject = "-".join(slug(values[name]) for name in named if values.get(name)) or notebook.PLATFORM
    return out / f"{slug(report.name)}-{subject}-{digest}.html"


def slug(text: str) -> str:
    """Return an id as part of a file name: safe letters only.

    >>> slug("../7 é")
    '7'
    """
    return re.sub(r"[^A-Za-z0-9_]+", "-", text).strip("-")[:40] or "id"


def _trimmed(book: NotebookNode, words: Template) -> NotebookNode:
    """Drop the cells of sections that the template leaves out."""
    kept = [cell for cell in book.cells if (name := notebook.section_of(cell)) is None or name in words.names]
    trimmed = copy.copy(book)
    trimmed["cells"] = kept
    return trimmed
