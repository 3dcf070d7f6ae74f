"""`trackkit check` of the page's own templates (`*.html.j2`): what jinja refuses, and names that no page has."""

from collections.abc import Iterator
from pathlib import Path

from jinja2 import Environment, TemplateError, TemplateSyntaxError, nodes
from jinja2.meta import find_undeclared_variables

from trackkit import resources
from trackkit.errors import did_you_mean
from trackkit.report.html_page import skin_environment
from trackkit.report.template import SKIN
from trackkit.toml import Problem


def skin_problems(folder: Path | None) -> Iterator[Problem]:
    """Yield what is wrong with the page's templates: those in use, or those of a folder."""
    places = [folder / SKIN] if folder else resources.folders(SKIN)
    environment = skin_environment()
    paths = {path.name: path for place in reversed(places) for path in place.glob("*.j2")}
    for _, path in sorted(paths.items()):
        yield from _problems(path, environment)


def _problems(path: Path, environment: Environment) -> Iterator[Problem]:
    try:
        tree = environment.parse(path.read_text("utf-8"))
    except (TemplateError, UnicodeDecodeError) as error:
        where = f"line {error.lineno}: " if isinstance(error, TemplateSyntaxError) else ""
        yield Problem(str(path), "", "", f"{where}{error}")
        return
    for what, used, there in (
        ("filter", {node.name for node in tree.find_all(nodes.Filter)}, environment.filters),
        ("test", {node.name for node in tree.find_all(nodes.Test)}, environment.tests),
    ):
        for name in sorted(used - set(there)):
            yield Problem(str(path), "", "", f"there is no {what} {name!r}.{did_you_mean(name, there)}")
    original = resources.shipped() / SKIN / path.name
    if not original.is_file() or original == path:
        return  # a page of the analyst's own, included by another
    as_shipped = environment.parse(original.read_text("utf-8"))
    known = _names(as_shipped) | {node.name for node in as_shipped.find_all(nodes.Name)}
    for name in sorted(_names(tree) - known - set(environment.globals)):
        yield Problem(str(path), "", "", f"there is no {name!r} here.{did_you_mean(name, known)}")


def _names(tree: nodes.Template) -> set[str]:
    """The variables that a template reads, and what it reads of the page, as `page.title`."""
    of_page = {
        f"page.{node.attr}"
        for node in tree.find_all(nodes.Getattr)
        if isinstance(node.node, nodes.Name) and node.node.name == "page"
    }
    return find_undeclared_variables(tree) | of_page
