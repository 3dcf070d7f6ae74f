"""`trackkit check` of how pages look: templates that jinja refuses, names that no page has, colours hard to read."""

from collections.abc import Iterator
from itertools import product
from pathlib import Path

from jinja2 import Environment, TemplateError, TemplateSyntaxError, nodes
from jinja2.meta import find_undeclared_variables

from trackkit import resources, toml
from trackkit.errors import did_you_mean
from trackkit.report.html_page import skin_environment
from trackkit.report.template import SKIN
from trackkit.show.theme import THEME, Theme
from trackkit.toml import Problem

TEXTS, GROUNDS = ("ink", "muted", "accent", "warn"), ("page", "panel")
LEAST_CONTRAST = 4.5  # of text, by the Web Content Accessibility Guidelines 2.2, level AA


def skin_problems(folder: Path | None) -> Iterator[Problem]:
    """Yield what is wrong with the page's templates: those in use, or those of a folder."""
    places = [folder / SKIN] if folder else resources.folders(SKIN)
    environment = skin_environment()
    paths = {path.name: path for place in reversed(places) for path in place.glob("*.j2")}
    for _, path in sorted(paths.items()):
        yield from _problems(path, environment)


def theme_problems(folder: Path | None) -> Iterator[Problem]:
    """Yield the colours of text in the theme, that in use or that of a folder, that are hard to read."""
    path = folder / THEME if folder else resources.find(THEME)
    chosen, _ = toml.parse(path, Theme) if path.is_file() else (None, [])
    for scheme in ("light", "dark") if chosen else ():
        colours = getattr(chosen, scheme)
        for text, ground in product(TEXTS, GROUNDS):
            found = contrast(getattr(colours, text), getattr(colours, ground))
            if found < LEAST_CONTRAST:
                fault = (
                    f"it is hard to read on {ground!r}: a contrast of {found:.1f}, where {LEAST_CONTRAST} is needed."
                )
                yield Problem(str(path), "", f"{scheme}.{text}", fault)


def contrast(one: str, other: str) -> float:
    """Return how far two colours stand apart, from 1 to 21, as the Web Content Accessibility Guidelines reckon it.

    >>> round(contrast("#000000", "#ffffff"), 1)
    21.0
    """
    darker, lighter = sorted(_luminance(colour) for colour in (one, other))
    return (lighter + 0.05) / (darker + 0.05)


def _luminance(colour: str) -> float:
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


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
