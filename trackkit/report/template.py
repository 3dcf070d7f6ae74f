"""What an analyst writes: one TOML per report that chooses, orders and words its sections. It can define no formula."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, StringConstraints, ValidationInfo

from trackkit import resources, toml
from trackkit.analysis.domains import LIST as DOMAINS
from trackkit.analysis.domains import domain_list
from trackkit.errors import RequestError, TrackkitError, did_you_mean
from trackkit.language import LOCALES, require_catalogue, require_language, say
from trackkit.metrics import METRICS
from trackkit.quality.thresholds import LIST as THRESHOLDS
from trackkit.quality.thresholds import thresholds
from trackkit.report import notebook
from trackkit.show.theme import THEME, theme
from trackkit.toml import Problem, Strict

TEMPLATES = "reports_templates"
SKIN = f"{TEMPLATES}/html"  # the page around a report, and the index
# What analysts edit beside the reports, and who reads it.
LISTS = {DOMAINS: domain_list, THRESHOLDS: thresholds}
Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*$", max_length=60)]


def _in_language(text: str, info: ValidationInfo) -> str:
    """Say words as they are read, where the reader of the template gives a way to say them."""
    return info.context["say"](text) if info.context else text


# What readers see, and so is translated; every other text of a template is a name.
Words = Annotated[str, StringConstraints(min_length=1, max_length=200), AfterValidator(_in_language)]
Prose = Annotated[str, StringConstraints(max_length=4_000), AfterValidator(_in_language)]


class ParameterChoice(Strict):
    """What the analyst settles for one parameter of the notebook: its default, and the values allowed."""

    default: bool | int | float | str | None = None
    choices: list[bool | int | float | str] = []


class Section(Strict):
    """One section of a report: its words, and those choices that the notebook's section offers."""

    name: Name
    title: Words
    text: Prose = ""
    width: Literal["full", "half"] = "full"
    show: list[Literal["chart", "table"]] = []
    # What follows is read by notebooks, each section reading some of it.
    metrics: list[str] | None = None
    charted: list[str] | None = None
    columns: list[str] | None = None
    labels: dict[str, Words] = {}
    categories: dict[str, Words] | None = None
    top: Annotated[int, Field(ge=1, le=1_000)] | None = None
    shares: list[Annotated[float, Field(gt=0, le=1)]] | None = None
    chart: Literal["area", "line", "share", "count"] | None = None
    days: Annotated[int, Field(ge=1, le=400)] | None = None
    lines: Annotated[int, Field(ge=5, le=400)] | None = None
    ceilings: dict[str, Annotated[float, Field(gt=0, le=1)]] | None = None


PAGE_OPTIONS = {"name", "title", "text", "width", "show"}
OPTIONS = set(Section.model_fields) - PAGE_OPTIONS


class Template(Strict):
    """The words and choices of one report; `template["links"]` is the section of that name."""

    title: Words
    text: Prose = ""
    parameters: dict[str, ParameterChoice] = {}
    section: list[Section] = Field(min_length=1)

    def __getitem__(self, name: str) -> Section:
        """Return a section by name; RequestError when the template does not list it."""
        for section in self.section:
            if section.name == name:
                return section
        raise RequestError(f"The template lists no section {name!r}.{did_you_mean(name, self.names)}")

    @property
    def names(self) -> list[str]:
        """The names of the sections, in the analyst's order."""
        return [section.name for section in self.section]


def template(report: str, lang: str = "en") -> Template:
    """Return the template of a report; RequestError naming file, section, key and the nearest valid word.

    The local copy in `reports_templates/` wins over the shipped one. `lang` is the language of its words, in English
    where the catalogue has none. RequestError also for an unknown language.

    >>> template("tracking_indicators").title, template("tracking_indicators", "pt_BR").title
    ('Tracking indicators', 'Indicadores de rastreamento')
    """
    require_language(lang)
    path = resources.find(f"{TEMPLATES}/{report}.toml")
    found, problems = _parsed(path, lambda text: say(text, lang))
    problems += _misfits(found, path) if found else []
    if problems:
        raise RequestError(str(problems[0]))
    assert found
    return found


def words_of(path: Path) -> tuple[list[str], list[str]]:
    """Return what a template says to readers, sentence by sentence, and the columns that it chooses."""
    said: list[str] = []
    found, _ = _parsed(path, lambda text: said.append(text) or text)
    return said, [column for section in (found.section if found else []) for column in section.columns or []]


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
    problems = [problem for path in templates.values() for problem in _template_problems(path, notebooks)]
    problems += [problem for stem, path in notebooks.items() for problem in _notebook_problems(stem, path, templates)]
    return problems + _theme_problems(folder) + _list_problems(folder) + _catalogue_problems(folder)


def _files(folder: str | Path | None, relative: str, pattern: str) -> dict[str, Path]:
    if folder is None:
        return resources.files(relative, pattern)
    return {path.stem: path for path in sorted((Path(folder) / relative).glob(pattern))}


def _template_problems(path: Path, notebooks: dict[str, Path]) -> list[Problem]:
    found, problems = _parsed(path)
    return problems + (_misfits(found, path, notebooks.get(path.stem)) if found else [])


def _notebook_problems(stem: str, path: Path, templates: dict[str, Path]) -> list[Problem]:
    try:
        faults = notebook.faults(notebook.read(path), path)
        if stem not in templates:
            resources.find(f"{TEMPLATES}/{stem}.toml")
    except TrackkitError as error:
        faults = [str(error)]
    return [Problem(str(path), "", "", fault) for fault in faults]


def _theme_problems(folder: str | Path | None) -> list[Problem]:
    path = Path(folder) / THEME if folder else None
    try:
        found = theme(path if path and path.exists() else None)
    except RequestError as error:
        return [Problem(str(path or THEME), "", "", str(error))]
    if len(found.light.series) != len(found.dark.series):
        return [Problem(str(path or THEME), "", "series", "light and dark must have as many colours.")]
    return []


def _list_problems(folder: str | Path | None) -> list[Problem]:
    problems = []
    for place, read in LISTS.items():
        path = Path(folder) / place if folder else None
        try:
            read(path if path and path.exists() else None)
        except RequestError as error:
            problems.append(Problem(str(path or place), "", "", str(error)))
    return problems


def _catalogue_problems(folder: str | Path | None) -> list[Problem]:
    problems = []
    for path in _files(folder, LOCALES, "*.po").values():
        try:
            require_catalogue(path)
        except RequestError as error:
            problems.append(Problem(str(path), "", "", str(error).removeprefix(f"{path}: ")))
    return problems


def _parsed(path: Path, say: Callable[[str], str] | None = None) -> tuple[Template | None, list[Problem]]:
    found, problems = toml.parse(path, Template, say and {"say": say})
    return found, _doubles(found, path) if found else problems


def _doubles(found: Template, path: Path) -> list[Problem]:
    names = found.names
    twice = sorted({name for name in names if names.count(name) > 1})
    return [Problem(str(path), name, "name", "this section is listed twice.") for name in twice]


def _misfits(found: Template, path: Path, place: Path | None = None) -> list[Problem]:
    """Compare a template with its notebook: sections, parameters and choices that the notebook does not have."""
    try:
        place = place or resources.find(f"{notebook.NOTEBOOKS}/{path.stem}.ipynb")
        book = notebook.read(place)
        used, declared = notebook.options_used(book, place), notebook.parameters(book, place)
    except RequestError as error:
        return [Problem(str(path), "", "", f"its notebook cannot be read: {error}")]
    problems = [
        Problem(str(path), "", f"parameters.{name}", f"there is no such parameter.{_near(name, declared)}")
        for name in found.parameters
        if name not in {parameter.name for parameter in declared}
    ]
    for section in found.section:
        problems += [Problem(str(path), section.name, key, text) for key, text in _section_misfits(section, used)]
    return problems


def _near(name: str, declared: Iterable[notebook.Parameter]) -> str:
    return did_you_mean(name, [parameter.name for parameter in declared])


def _section_misfits(section: Section, used: dict[str, set[str]]) -> list[tuple[str, str]]:
    if section.name not in used:
        return [("name", f"the notebook has no such section.{did_you_mean(section.name, used)}")]
    offered = used[section.name] & OPTIONS
    given = section.model_fields_set & OPTIONS
    problems = [
        (key, f"this section does not offer it; it offers: {', '.join(sorted(offered)) or 'nothing'}.")
        for key in sorted(given - offered)
    ]
    problems += [(key, "this section needs it.") for key in sorted(offered - given - {"labels"})]
    problems += [
        (key, f"there is no metric {name!r}.{did_you_mean(name, METRICS)}")
        for key, names in (("metrics", section.metrics), ("charted", section.charted), ("ceilings", section.ceilings))
        for name in names or []
        if name not in METRICS
    ]
    wrong = [name for name in section.charted or [] if name not in (section.metrics or [])]
    return problems + [("charted", f"{name!r} is not among the metrics of this section.") for name in wrong]
