"""What `trackkit check` looks at: templates, notebooks, the theme, lists and catalogues; nothing is rendered."""

from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel

from trackkit import resources, toml
from trackkit.analysis.domains import LIST as DOMAINS
from trackkit.analysis.domains import DomainList
from trackkit.errors import RequestError, TrackkitError
from trackkit.language import LOCALES, require_catalogue
from trackkit.quality.thresholds import LIST as THRESHOLDS
from trackkit.quality.thresholds import Thresholds
from trackkit.report import notebook
from trackkit.report.choices import Call, calls, parameter_misfits, section_misfits
from trackkit.report.template import TEMPLATES, Template, misfits
from trackkit.show.theme import THEME, Theme
from trackkit.toml import Problem

# What analysts edit beside the reports, and what it may hold.
LISTS: dict[str, type[BaseModel]] = {THEME: Theme, DOMAINS: DomainList, THRESHOLDS: Thresholds}


def check(folder: str | Path | None = None) -> list[Problem]:
    """Validate report templates, notebooks, the theme, lists and catalogues; return what is wrong, in file order.

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
        one, other = _of_report(stem, templates.get(stem), notebooks.get(stem))
        of_templates += one
        of_notebooks += other
    problems = [*of_templates, *of_notebooks, *_of_lists(folder), *_of_catalogues(folder)]
    return list(dict.fromkeys(problems))


def _files(folder: str | Path | None, relative: str, pattern: str) -> dict[str, Path]:
    if folder is None:
        return resources.files(relative, pattern)
    return {path.stem: path for path in sorted((Path(folder) / relative).glob(pattern))}


def _of_report(stem: str, path: Path | None, place: Path | None) -> tuple[list[Problem], list[Problem]]:
    """What is wrong with the template at `path` and with the notebook at `place`; one that is None is not checked."""
    try:
        at = place or resources.find(f"{notebook.NOTEBOOKS}/{stem}.ipynb")
        book = notebook.read(at)
        faults = notebook.faults(book, at)
        called, wrong = ([], []) if faults else calls(book, at)
        if path is None:
            resources.find(f"{TEMPLATES}/{stem}.toml")
    except TrackkitError as error:
        faults, wrong, called, book = [str(error)], [], [], None
    of_notebook = [Problem(str(place), "", "", fault) for fault in (*faults, *wrong)] if place else []
    if path is None:
        return [], of_notebook
    words, problems = toml.parse(path, Template)
    if words is not None:
        problems = misfits(words, path, place, book)
        if not problems and book is not None:
            problems = [
                Problem(str(path), *misfit) for misfit in _of_choices(words, notebook.parameters(book, at), called)
            ]
    return problems, of_notebook


def _of_choices(
    words: Template, declared: tuple[notebook.Parameter, ...], called: list[Call]
) -> Iterator[tuple[str, str, str]]:
    """What the notebook would do with the choices of a template that has no other fault: section, key, and what."""
    for parameter in declared:
        if choice := words.parameters.get(parameter.name):
            for fault in parameter_misfits(parameter, choice, called):
                yield "", f"parameters.{parameter.name}", fault
    for section in words.section:
        yield from ((section.name, key, fault) for key, fault in section_misfits(section, called))


def _of_lists(folder: str | Path | None) -> Iterator[Problem]:
    for place, model in LISTS.items():
        path = Path(folder) / place if folder else resources.find(place)
        found, problems = toml.parse(path, model) if path.exists() else (None, [])
        yield from problems
        if isinstance(found, Theme) and len(found.light.series) != len(found.dark.series):
            yield Problem(str(path), "", "series", "light and dark must have as many colours.")


def _of_catalogues(folder: str | Path | None) -> Iterator[Problem]:
    for path in _files(folder, LOCALES, "*.po").values():
        try:
            require_catalogue(path)
        except RequestError as error:
            yield Problem(str(path), "", "", str(error).removeprefix(f"{path}: "))
