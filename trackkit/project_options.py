"""What the command line does with a project: its settings as defaults, and a sentence on whose files count."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from trackkit.copies import begin, own_files
from trackkit.errors import RequestError
from trackkit.project import FILE, VARIABLE, Project, current, named_project
from trackkit.resources import not_used

_MOST_NAMED = 3  # files in the sentence on a project
_ZONE_OF_DATA = ("ingest",)  # there --timezone is that of the logs, which a project does not know


@contextmanager
def working_in(folder: Path | None) -> Iterator[None]:
    """Work in a project for a while, with all child processes; None: the one that is found."""
    before = os.environ.get(VARIABLE)
    if folder is not None:
        os.environ[VARIABLE] = str(named_project(folder).folder)
    try:
        yield
    finally:
        os.environ.pop(VARIABLE, None)
        if before is not None:
            os.environ[VARIABLE] = before


@contextmanager
def knowing_metrics() -> Iterator[None]:
    """Know the metrics of the current project for a while; RequestError, naming file and key, if not in order."""
    project = current()
    if project is None or not any((project.templates / "metrics").glob("*.toml")):
        yield
        return
    from trackkit.metrics import METRICS
    from trackkit.own_metrics import of_project

    METRICS.adopt(of_project())
    try:
        yield
    finally:
        METRICS.adopt({})


def found() -> Path:
    """Return the folder of the current project; RequestError if there is none."""
    project = current()
    if project is None:
        raise RequestError(f"There is no {FILE} here or above: name the project's folder, as in `trackkit init DIR`.")
    return project.folder


def setting(name: str) -> Any:
    """Return what the current project settles, paths from the working folder; None if nothing, or not in order."""
    try:
        project = current()
        return _values(project).get(name) if project else None
    except RequestError:
        return None


def defaults(commands: click.Group) -> dict[str, Any]:
    """Return the settings of the current project as defaults of the commands that have such options."""
    project = current()
    return _defaults(commands, _values(project)) if project else {}


def told(is_verbose: bool) -> Iterator[str]:
    """Yield what is to be said: whose files count, unless all are as shipped, and files that are not used."""
    project = current()
    own = own_files(project) if project else []
    if project and (own or is_verbose):
        yield f"Project {project.folder}: {_named(own) or 'notebooks and templates as shipped'}."
    elif is_verbose:
        yield "No project: notebooks and templates as shipped."
    if ignored := not_used():
        yield ignored


def begin_language(folder: Path, lang: str) -> str:
    """Write the catalogue of a language into a project, with what is translated already; return what was done."""
    from trackkit.report.phrases import refresh

    begin(folder)
    with working_in(folder):
        path, untranslated = refresh(lang, named_project(folder).templates)
    return f"{path}: {untranslated:,} sentences to translate; until then they are said in English."


def begin_report(folder: Path, asked: str) -> list[Path]:
    """Write a new report into a project, asked for as "mine=overview:headline,bounces:by_domain"; return its files."""
    from trackkit.report.compose import compose

    name, _, sections = asked.partition("=")
    if not sections:
        raise RequestError(
            f"--new takes NAME=REPORT:SECTION,…, as mine=overview:lead,bounces:by_domain; got {asked!r}."
        )
    begin(folder)
    with working_in(folder):
        return compose(named_project(folder), name.strip(), sections.split(","))


def _named(own: list[str]) -> str:
    shown, more = own[:_MOST_NAMED], len(own) - _MOST_NAMED
    return f"its own {', '.join(shown)}{f' and {more:,} more' if more > 0 else ''}" if own else ""


def _values(project: Project) -> dict[str, Any]:
    """The settings by the name of the option's parameter, without those that are not settled."""
    settled = project.settings
    places = {"store": settled.store, "out": settled.out, "retention": settled.retention}
    values: dict[str, Any] = {name: project.path(place) for name, place in places.items() if place}
    listed = {"lang": settled.languages, "formats": settled.formats and ",".join(settled.formats)}
    plain = {"timezone": settled.timezone, "definitions": _definitions(project), "keep": settled.keep}
    return values | {name: value for name, value in {**listed, **plain}.items() if value}


def _definitions(project: Project) -> str | None:
    """A set's name, or the path of a set of the project's own."""
    named = project.settings.definitions
    return project.path(named) if named and named.endswith(".toml") else named


def _defaults(group: click.Group, values: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            found[name] = _defaults(command, values)
        else:
            found[name] = dict(_of_command(name, command, values))
    return found


def _of_command(name: str, command: click.Command, values: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield the defaults of one command: of places only those that it cannot do without."""
    for option in command.params:
        value = values.get(option.name or "")
        if value is None or not isinstance(option, click.Option):
            continue
        is_place, is_of_data = option.name in ("store", "out"), option.name == "timezone" and name in _ZONE_OF_DATA
        if option.name == "retention" or is_of_data or (is_place and not option.required):
            continue
        yield str(option.name), value if option.multiple or not isinstance(value, list) else value[0]
