"""A new report made of sections of others: its notebook and its template, which are the analyst's from then on."""

import ast
import copy
import io
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING

from trackkit import resources
from trackkit.errors import RequestError, did_you_mean
from trackkit.project import Project
from trackkit.report import REPORTS, notebook
from trackkit.report.page import open_page
from trackkit.report.template import TEMPLATES

if TYPE_CHECKING:
    from nbformat import NotebookNode

_NAME = re.compile(r"[a-z][a-z0-9_]{0,59}")
_TABLE = re.compile(r"(?m)^(?=\[)")  # where a table of TOML begins
_SUBJECTS = ("delivery", "deliveries", "recipient", "service", "web_application")


@dataclass(frozen=True)
class Original:
    """A report whose sections are taken."""

    name: str
    path: Path
    book: "NotebookNode"

    @property
    def parameters(self) -> dict[str, notebook.Parameter]:
        """The parameters of the report, by name."""
        return {each.name: each for each in notebook.parameters(self.book, self.path)}

    @property
    def subject(self) -> set[str]:
        """What the report is about: those of its parameters that name it."""
        return set(_SUBJECTS) & set(self.parameters)

    @property
    def is_platform_wide(self) -> bool:
        """Whether it needs no delivery."""
        return bool(self.book.metadata.get("trackkit", {}).get("scope") == notebook.PLATFORM)

    def cells(self, section: str) -> list[str]:
        """The code of a section."""
        return [cell.source for cell in notebook.code_cells(self.book) if notebook.section_of(cell) == section]

    def prepared(self) -> dict[str, str]:
        """What is assigned for several sections, by name: the statements of cells without a tag, but for the page."""
        assigned: dict[str, str] = {}
        for cell in notebook.code_cells(self.book):
            for statement in [] if notebook.tags(cell) else notebook.tree_of(cell, self.path).body:
                for name in _names(statement.targets) if isinstance(statement, ast.Assign) else ():
                    assigned[name] = "\n".join(
                        [*([assigned[name]] if name in assigned else []), ast.unparse(statement)]
                    )
        return {name: code for name, code in assigned.items() if name != "page"}

    @cached_property
    def tables(self) -> list[str]:
        """The tables of the template, each with those below it; first what stands before them."""
        blocks: list[str] = []
        for block in _TABLE.split(resources.find(f"{TEMPLATES}/{self.name}.toml").read_text("utf-8")):
            if blocks and re.match(r"\[+section\.", block):
                blocks[-1] += block
            else:
                blocks.append(block)
        return blocks


def compose(project: Project, name: str, wanted: Sequence[str]) -> list[Path]:
    """Write a report made of sections, each given as "bounces:by_domain", into a project; return its two files.

    The sections keep their words and choices, which the template holds to be edited; one whose name is taken gets that
    of its report before it. Tiles are those of the first report named. Raises RequestError for a name that is taken or
    cannot be one, an unknown report or section, reports about different things, and parameters of one name that differ.
    """
    if not _NAME.fullmatch(name) or name in REPORTS:
        why = "is one already" if name in REPORTS else "cannot be one: small letters, digits and _, as in 'monthly'"
        raise RequestError(f"A new report needs a name of its own; {name!r} {why}.")
    pairs = [_pair(each) for each in wanted]
    sources = {report: _source(report) for report, _ in pairs}
    for report, section in pairs:
        known = notebook.sections(sources[report].book)
        if section not in known:
            raise RequestError(f"The report {report!r} has no section {section!r}.{did_you_mean(section, known)}")
    _require_alike(list(sources.values()))
    names = _section_names(pairs)
    book = _book(name, sources, names)
    written = io.StringIO()
    notebook.write(book, written)
    files = {
        f"{notebook.NOTEBOOKS}/{name}.ipynb": written.getvalue() + "\n",
        f"{TEMPLATES}/{name}.toml": _template(name, sources, names, notebook.parameters(book, Path(name))),
    }
    for relative in files:
        (project.templates / relative).parent.mkdir(parents=True, exist_ok=True)
    return [resources.write_whole(project.templates / relative, content) for relative, content in files.items()]


def _pair(word: str) -> tuple[str, str]:
    report, _, section = word.strip().partition(":")
    if report not in REPORTS:
        raise RequestError(f"There is no report {report!r}.{did_you_mean(report, list(REPORTS))}")
    if not section:
        known = ", ".join(notebook.sections(_source(report).book))
        raise RequestError(f"Which section of {report!r}? Write {report}:SECTION, one of {known}.")
    return report, section


def _source(report: str) -> Original:
    path = resources.find(f"{notebook.NOTEBOOKS}/{report}.ipynb")
    return Original(report, path, notebook.read(path))


def _require_alike(sources: Sequence[Original]) -> None:
    """Reports about one thing, with parameters that mean the same, and nothing prepared under one name twice."""
    first = sources[0]
    known, prepared = dict[str, tuple[str, notebook.Parameter]](), dict[str, str]()
    for source in sources:
        if source.subject != first.subject:
            about = [" and ".join(sorted(each.subject)) or "the platform" for each in (first, source)]
            raise RequestError(
                f"{first.name!r} is about {about[0]} and {source.name!r} about {about[1]}: a report is about one thing."
            )
        for name, parameter in source.parameters.items():
            other = known.setdefault(name, (source.name, parameter))
            if (other[1].type, other[1].default) != (parameter.type, parameter.default):
                raise RequestError(
                    f"{other[0]!r} and {source.name!r} both have a parameter {name!r}, with the defaults "
                    f"{other[1].default!r} and {parameter.default!r}: make two reports of them."
                )
        for name in source.prepared():
            if prepared.setdefault(name, source.name) != source.name:
                raise RequestError(f"{prepared[name]!r} and {source.name!r} both prepare {name!r}: make two reports.")


def _section_names(pairs: Sequence[tuple[str, str]]) -> dict[tuple[str, str], str]:
    """A name for each section; if two have one, the later gets that of its report before it."""
    names: dict[tuple[str, str], str] = {}
    for report, section in pairs:
        if (report, section) in names:
            raise RequestError(f"The section {report}:{section} is named twice.")
        names[report, section] = f"{report}_{section}" if section in names.values() else section
    return names


def _book(name: str, sources: dict[str, Original], names: dict[tuple[str, str], str]) -> "NotebookNode":
    bodies = {key: _renamed("\n".join(sources[key[0]].cells(key[1])), key[1], new) for key, new in names.items()}
    prepared = {each: text for source in sources.values() for each, text in source.prepared().items()}
    shared = _needed("\n".join(bodies.values()), prepared)
    parameters = _parameters(list(sources.values()), "\n".join([*bodies.values(), *shared]))
    given = [each for each in signature(open_page).parameters if each in parameters and each != "store"]
    opening = f'page = tk.open_page("{name}", store, {", ".join(f"{each}={each}" for each in given)})\npage'
    cells = [
        _cell("markdown", f"# {_title(name)}\n\nMade of sections of {', '.join(sources)}."),
        _cell("code", "import trackkit as tk"),
        _cell("code", "\n".join(parameters.values()), notebook.PARAMETERS),
        _cell("code", opening),
        *([_cell("code", "\n".join(shared))] if shared else []),
        *(_cell("code", bodies[key], f"{notebook.SECTION}{new}") for key, new in names.items()),
    ]
    for number, cell in enumerate(cells):
        cell.id = f"{name}-{number}"
    book = copy.deepcopy(next(iter(sources.values())).book)
    book.cells = cells
    if not all(source.is_platform_wide for source in sources.values()):
        book.metadata.pop("trackkit", None)
    return book


def _cell(kind: str, source: str, tag: str = "") -> "NotebookNode":
    from nbformat import NotebookNode

    made: Callable[..., NotebookNode] = NotebookNode  # which has no types
    cell = {"cell_type": kind, "id": "", "metadata": {"tags": [tag]} if tag else {}, "source": source}
    return made(cell | ({"execution_count": None, "outputs": []} if kind == "code" else {}))


def _renamed(code: str, section: str, new: str) -> str:
    return code.replace(f'page["{section}"]', f'page["{new}"]')


def _needed(code: str, prepared: dict[str, str]) -> list[str]:
    """The assignments of what some code uses, and of what those use, in their order."""
    needed: set[str] = set()
    while more := (prepared.keys() - needed) & _used(code):
        needed |= more
        code += "".join(f"\n{prepared[name]}" for name in more)
    return list(dict.fromkeys(text for name, text in prepared.items() if name in needed))


def _parameters(sources: Sequence[Original], code: str) -> dict[str, str]:
    """The lines of the parameters that the sections use, that every report has, or that say what it is about.

    A choice of several deliveries, which `open_page` takes, only if every report has it.
    """
    used, lines = _used(code), dict[str, str]()
    opening = set(signature(open_page).parameters) - {notebook.SCOPE}
    if all(notebook.SCOPE in source.parameters for source in sources):
        opening.add(notebook.SCOPE)
    for source in sources:
        (cell,) = [each for each in notebook.code_cells(source.book) if notebook.PARAMETERS in notebook.tags(each)]
        for line in cell.source.splitlines():
            name = line.partition(":")[0]
            if name in used | opening | set(notebook.ALWAYS) | set(_SUBJECTS):
                lines.setdefault(name, line)
    last = {name: lines.pop(name) for name in notebook.ALWAYS[1:]}
    return lines | last


def _template(
    name: str,
    sources: dict[str, Original],
    names: dict[tuple[str, str], str],
    parameters: Sequence[notebook.Parameter],
) -> str:
    """The words of the new report: the tables of the templates that its sections, tiles and parameters are in."""
    title = _title(name)
    parts = [f'# Words, order and choices of the report "{title}".\ntitle = "{title}"\n']
    first, known = next(iter(sources.values())), {each.name for each in parameters}
    head, *tables = first.tables
    parts[0] += "".join(line + "\n" for line in head.splitlines() if line.startswith("interval"))
    kept = "tile|look|lead" if (first.name, "lead") in names else "tile"
    parts += [table for table in tables if re.match(rf"\[+({kept})\b", table)]
    choices: dict[str, str] = {}
    for source in sources.values():
        for table in source.tables:
            found = re.match(r"\[parameters\.(\w+)", table)
            if found and found[1] in known:
                choices.setdefault(found[1], table)
    parts += choices.values()
    for (report, section), new in names.items():
        mark = re.compile(rf'^name = "{section}"', re.MULTILINE)
        (table,) = [each for each in sources[report].tables if each.startswith("[[section]]") and mark.search(each)]
        parts.append(mark.sub(f'name = "{new}"', table, count=1))
    return "\n".join(re.sub(r"(\n#[^\n]*)+\n*$", "\n", part).rstrip() + "\n" for part in parts)


def _title(name: str) -> str:
    return name.replace("_", " ").capitalize()


def _names(targets: Sequence[ast.expr]) -> list[str]:
    return [node.id for target in targets for node in ast.walk(target) if isinstance(node, ast.Name)]


def _used(code: str) -> set[str]:
    return {node.id for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Name)}
