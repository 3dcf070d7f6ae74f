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
from trackkit.report.choices import calls, parameter_misfits, section_misfits
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
    problems = [problem for path in templates.values() for problem in _of_template(path, notebooks.get(path.stem))]
    problems += [problem for stem, path in notebooks.items() for problem in _of_notebook(stem, path, templates)]
    return [*dict.fromkeys([*problems, *_of_lists(folder), *_of_catalogues(folder)])]


def _files(folder: str | Path | None, relative: str, pattern: str) -> dict[str, Path]:
    if folder is None:
        return resources.files(relative, pattern)
    return {path.stem: path for path in sorted((Path(folder) / relative).glob(pattern))}


def _of_template(path: Path, place: Path | None) -> list[Problem]:
    words, problems = toml.parse(path, Template)
    if words is None:
        return problems
    problems = misfits(words, path, place)
    return problems or list(
        _of_choices(words, path, place or resources.find(f"{notebook.NOTEBOOKS}/{path.stem}.ipynb"))
    )


def _of_choices(words: Template, path: Path, place: Path) -> Iterator[Problem]:
    """What the notebook would do with the choices of a template that has no other fault."""
    book = notebook.read(place)
    called, _ = calls(book, place)
    for parameter in notebook.parameters(book, place):
        if choice := words.parameters.get(parameter.name):
            for fault in parameter_misfits(parameter, choice, called):
                yield Problem(str(path), "", f"parameters.{parameter.name}", fault)
    for section in words.section:
        yield from (Problem(str(path), section.name, *misfit) for misfit in section_misfits(section, called))


def _of_notebook(stem: str, path: Path, templates: dict[str, Path]) -> list[Problem]:
    try:
        book = notebook.read(path)
        faults = notebook.faults(book, path) or calls(book, path)[1]
        if stem not in templates:
            resources.find(f"{TEMPLATES}/{stem}.toml")
    except TrackkitError as error:
        faults = [str(error)]
    return [Problem(str(path), "", "", fault) for fault in faults]


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
