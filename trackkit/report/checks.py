"""`trackkit check`: validates templates, notebooks, the theme, lists and catalogues; nothing is rendered."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel

from trackkit import resources, toml
from trackkit.analysis.causes import LIST as CAUSES
from trackkit.analysis.causes import CauseList
from trackkit.analysis.complaints import LIST as LOOPS
from trackkit.analysis.complaints import FeedbackLoops
from trackkit.analysis.domains import LIST as DOMAINS
from trackkit.analysis.domains import DomainList
from trackkit.definition_sets import shipped
from trackkit.errors import RequestError, TrackkitError, did_you_mean
from trackkit.language import LOCALES, languages, require_catalogue
from trackkit.metrics import ADOBE
from trackkit.project import Project, current
from trackkit.quality.thresholds import LIST as THRESHOLDS
from trackkit.quality.thresholds import Thresholds
from trackkit.report import notebook
from trackkit.report.check_skin import skin_problems, theme_problems
from trackkit.report.choices import Call, calls, parameter_misfits, section_misfits
from trackkit.report.formats import ENDINGS, HTML
from trackkit.report.groups import LIST as GROUPS
from trackkit.report.groups import Groups
from trackkit.report.groups import misfits as group_misfits
from trackkit.report.headlines import LIST as HEADLINES
from trackkit.report.headlines import Headlines
from trackkit.report.phrases import phrases, untranslated
from trackkit.report.template import TEMPLATES, Template, misfits
from trackkit.rules import LIST as MACHINES
from trackkit.rules import Rules
from trackkit.settings import Settings
from trackkit.show.logo import logo
from trackkit.show.theme import THEME, Theme
from trackkit.toml import Problem

if TYPE_CHECKING:
    from nbformat import NotebookNode

# The files that analysts edit beside the reports, with their models.
LISTS: dict[str, type[BaseModel]] = {THEME: Theme, DOMAINS: DomainList, THRESHOLDS: Thresholds, GROUPS: Groups}
LISTS |= {CAUSES: CauseList, LOOPS: FeedbackLoops, MACHINES: Rules, HEADLINES: Headlines}


def check(folder: str | Path | None = None) -> list[Problem]:
    """Validate report templates, notebooks, the theme, lists and catalogues; return the problems, file by file.

    Without `folder`, the ones that `render` would use; with it, those of a folder written by `trackkit init`.
    Raises RequestError for a folder that holds none.
    """
    lists = {Path(place).stem for place in LISTS}
    templates = {stem: path for stem, path in _files(folder, TEMPLATES, "*.toml").items() if stem not in lists}
    notebooks = _files(folder, notebook.NOTEBOOKS, "*.ipynb")
    if not (templates or notebooks):
        raise RequestError(f"{folder} holds no notebook or template to check; `trackkit init {folder}` writes them.")
    of_templates, of_notebooks = [], []
    for stem in sorted({*templates, *notebooks}):
        of_template, of_notebook = _of_report(stem, templates.get(stem), notebooks.get(stem))
        of_templates += of_template
        of_notebooks += of_notebook
    problems = [*of_templates, *of_notebooks, *_of_lists(folder), *_of_catalogues(folder), *_of_project(folder)]
    problems += [*skin_problems(Path(folder) if folder else None), *theme_problems(Path(folder) if folder else None)]
    return list(dict.fromkeys(problems))


def problems_of(report: str, lang: str = "en") -> list[Problem]:
    """Return what is wrong with the files that a report is rendered from, in the folder where this runs."""
    template, book = (
        resources.files(where, pattern).get(report)
        for where, pattern in ((TEMPLATES, "*.toml"), (notebook.NOTEBOOKS, "*.ipynb"))
    )
    of_template, of_notebook = _of_report(report, template, book)
    catalogues = [problem for problem in _of_catalogues(None) if Path(problem.path).stem == lang]
    return list(dict.fromkeys([*of_template, *of_notebook, *_of_lists(None), *catalogues]))


def missing_words(folder: str | Path | None = None) -> list[str]:
    """Return a sentence on each catalogue that lacks words: they are said in English."""
    known = phrases()
    told = []
    for lang, path in _files(folder, LOCALES, "*.po").items():
        with suppress(RequestError):  # it cannot be read, which is a problem by itself
            if lacking := untranslated(path, lang, known):
                told.append(f"{path} lacks {lacking:,} of {len(known):,} sentences: they are said in English.")
    return told


def _files(folder: str | Path | None, relative: str, pattern: str) -> dict[str, Path]:
    if folder is None:
        return resources.files(relative, pattern)
    return {path.stem: path for path in sorted((Path(folder) / relative).glob(pattern))}


def _of_report(stem: str, path: Path | None, notebook_path: Path | None) -> tuple[list[Problem], list[Problem]]:
    """Check the template at `path` and the notebook at `notebook_path`; one that is None is not checked."""
    try:
        found_path = notebook_path or resources.find(f"{notebook.NOTEBOOKS}/{stem}.ipynb")
        book = notebook.read(found_path)
        faults = notebook.faults(book, found_path, is_ours=found_path.is_relative_to(resources.shipped()))
        valid_calls, invalid_calls = ([], []) if faults else calls(book, found_path)
        faults += _of_others(book, found_path, stem)
        if path is None:
            resources.find(f"{TEMPLATES}/{stem}.toml")
    except TrackkitError as error:
        faults, invalid_calls, valid_calls, book = [str(error)], [], [], None
    faults = [*faults, *invalid_calls] if notebook_path else []
    of_notebook = [Problem(str(notebook_path), "", "", fault) for fault in faults]
    if path is None:
        return [], of_notebook
    words, problems = toml.parse(path, Template)
    if words is not None:
        problems = misfits(words, path, notebook_path, book)
        if not problems and book is not None:
            parameters = notebook.parameters(book, found_path)
            problems = [Problem(str(path), *misfit) for misfit in _of_choices(words, parameters, valid_calls)]
    return problems, of_notebook


def _of_others(book: "NotebookNode", path: Path, stem: str) -> list[str]:
    """Say where a notebook opens the template of another report, as a copy under a new name does."""
    named = notebook.opened(book, path)
    return [
        f"it opens the template of {name!r}: write tk.open_page(store=store, …) without a name, and it opens {stem!r}."
        for name in sorted(named - {stem})
    ]


def _of_choices(
    words: Template, declared: tuple[notebook.Parameter, ...], called: list[Call]
) -> Iterator[tuple[str, str, str]]:
    """Yield the choices that the notebook's calls do not accept: section, key, and the fault."""
    for parameter in declared:
        if choice := words.parameters.get(parameter.name):
            for fault in parameter_misfits(parameter, choice, called):
                yield "", f"parameters.{parameter.name}", fault
    for section in words.section:
        yield from ((section.name, key, fault) for key, fault in section_misfits(section, called))


def _of_lists(folder: str | Path | None) -> Iterator[Problem]:
    for list_path, model in LISTS.items():
        path = Path(folder) / list_path if folder else resources.find(list_path)
        parsed, problems = toml.parse(path, model) if path.exists() else (None, [])
        yield from problems
        if isinstance(parsed, Theme) and len(parsed.light.series) != len(parsed.dark.series):
            yield Problem(str(path), "", "series", "light and dark must have as many colours.")
        if isinstance(parsed, Theme):
            try:
                logo(parsed)
            except RequestError as error:
                yield Problem(str(path), "", "logo.file", str(error))
        if isinstance(parsed, Groups):
            known = {*_files(None, notebook.NOTEBOOKS, "*.ipynb"), *_files(folder, notebook.NOTEBOOKS, "*.ipynb")}
            yield from group_misfits(parsed, path, known)


def _of_project(folder: str | Path | None) -> Iterator[Problem]:
    """Check the words of a `trackkit.toml` that the commands would refuse one by one."""
    project = Project(Path(folder)) if folder else current()
    if project is None or not project.file.is_file():
        return
    settled, problems = toml.parse(project.file, Settings)
    yield from problems
    if settled is None:
        return
    for key, asked, known in (
        ("languages", settled.languages, [*languages(), *_files(folder, LOCALES, "*.po")]),
        ("formats", settled.formats, [HTML, *ENDINGS]),
        ("definitions", [settled.definitions or ADOBE], shipped()),
    ):
        for name in asked or ():
            if name not in known and not name.endswith(".toml"):
                yield Problem(str(project.file), "", key, f"{name!r} is not known.{did_you_mean(name, known)}")


def _of_catalogues(folder: str | Path | None) -> Iterator[Problem]:
    for path in _files(folder, LOCALES, "*.po").values():
        try:
            require_catalogue(path)
        except RequestError as error:
            yield Problem(str(path), "", "", str(error).removeprefix(f"{path}: "))
