"""Checks a template's choices against the annotations of the functions that its notebook calls; nothing is run.

`Literal["area", "line"]` declares the valid values, as does `Annotated[str, NAMES]` with any container of them, such as
a mapping or a range; `-> Annotated[pl.DataFrame, NAMES]` declares the columns of a frame.
"""

import ast
import inspect
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args, get_origin, get_type_hints

import trackkit
from trackkit.engine.deliveries import require_timezone
from trackkit.errors import RequestError, did_you_mean
from trackkit.metrics import ARTICLES, CURRENCY, METRICS, breakdowns_of
from trackkit.report import notebook
from trackkit.report.notebook import Parameter
from trackkit.report.page import Page
from trackkit.report.template import OPTIONS, ParameterChoice, Section

if TYPE_CHECKING:
    from nbformat import NotebookNode

Misfit = tuple[str, str]  # a key, and what is wrong with it
DRAWN = "bar"  # a column that tables draw and no frame has
# Arguments whose words `labels` may replace.
HEADED = {"columns", "metrics", "metric", "rates", "ceilings", "floors"}
LABEL = "label"  # the column of labels, which every table of metrics shows
IN_ONE_CALL = ("labels", "categories")  # choices of which each word needs to fit only one call of the section
SHOWN_BY = {"chart": "tk.charts.", "table": "tk.tables."}
OURS = re.compile(r"tk(\.\w+)+|page\.measure")


@dataclass(frozen=True)
class Call:
    """A call of one of our functions in a cell, unevaluated."""

    section: str | None
    name: str
    function: Callable[..., Any]
    arguments: Mapping[str, ast.expr]
    names: Mapping[str, ast.expr]  # the expressions assigned to names in the cell

    def valid_values(self, argument: str) -> Collection[Any] | None:
        """Return the valid values of an argument; None if they are not declared."""
        declared = _declared(self.function).get(argument)
        frame = self._columns(next(iter(self.arguments.values()))) if argument == "columns" else None
        if frame is None:
            return declared
        return frame if declared is None else [name for name in declared if name in (*frame, DRAWN)]

    def reads(self, node: ast.expr) -> Iterator[tuple[str | None, str]]:
        """Yield (section, key) of each choice that an expression passes on; a parameter's section is None."""
        match node:
            case ast.Attribute(value=ast.Name(id=name), attr=key) if name in self.names:
                if section := notebook.section_read(self.names[name]):
                    yield section, key
            case ast.Attribute(value=ast.Subscript() as page, attr=key) if section := notebook.section_read(page):
                yield section, key
            case ast.Name(id=name) if name not in self.names:
                yield None, name
            case ast.BoolOp(values=parts) | ast.List(elts=parts) | ast.Dict(values=parts):
                for part in parts:
                    yield from self.reads(part)
            case ast.Starred(value=part) | ast.Call(func=ast.Attribute(value=ast.Name(id="page")), args=[part]):
                yield from self.reads(part)  # as of `page.varying(words.columns)`

    def values(self, node: ast.expr, section: Section) -> Iterator[Any]:
        """Yield the values of an argument: constants in the cell, and those read from the section."""
        yield from (part.value for part in ast.walk(node) if isinstance(part, ast.Constant))
        for _, key in self.reads(node):
            if key in OPTIONS:
                yield from _as_list(getattr(section, key))

    def _columns(self, node: ast.expr) -> Collection[Any] | None:
        """The columns of the frame that an expression returns, as declared by the function that it calls."""
        match node:
            case ast.Name(id=name) if name in self.names:
                return self._columns(self.names[name])
            case ast.Call(func=func) if function := _function(func):
                return _declared(function).get("return")
            case ast.Call(func=ast.Attribute(value=ast.Name(id="page")), args=[frame]):  # `page.observed(frame)`
                return self._columns(frame)
            case ast.Call(func=ast.Attribute(value=frame)):  # `frame.filter(…)`
                return self._columns(frame)
        return None


def calls(book: "NotebookNode", path: Path) -> tuple[list[Call], list[str]]:
    """Return the valid calls of our functions in a notebook, and a sentence on each invalid one."""
    valid_calls: list[Call] = []
    faults: list[str] = []
    shared: dict[str, ast.expr] = {}
    for cell in notebook.code_cells(book):
        section, tree = notebook.section_of(cell), notebook.tree_of(cell, path)
        names = shared | notebook.assigned(tree)
        shared = shared if section or notebook.PARAMETERS in notebook.tags(cell) else names
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and OURS.fullmatch(name := ast.unparse(node.func)):
                try:
                    valid_calls.append(Call(section, name, *_function_and_arguments(node), names))
                    faults += _invalid_constants(valid_calls[-1], node)
                except (AttributeError, TypeError) as error:
                    faults.append(f"'{ast.unparse(node)}': {error}.")
    return valid_calls, faults


def section_misfits(section: Section, called: list[Call]) -> Iterator[Misfit]:
    """Yield the choices of a section whose words or units its calls do not accept."""
    own_calls = [call for call in called if call.section == section.name]
    for key in sorted(section.model_fields_set & OPTIONS):
        value = getattr(section, key)
        uses = [
            (call, argument)
            for call in own_calls
            for argument, node in call.arguments.items()
            if (section.name, key) in call.reads(node)
        ]
        valid = [_valid_values(call, argument, section) for call, argument in uses]
        if key in IN_ONE_CALL:
            valid = [None if None in valid else {word for words in valid for word in words or ()}]
        yield from ((key, text) for words in valid if words is not None for text in _unknown(_as_list(value), words))
        yield from (
            (key, text)
            for call, argument in uses
            if argument == "metrics"
            for name in value
            if name in METRICS and (text := _metric_misfit(name, call))
        )
    yield from _limits(section)
    for kind in section.show:
        if not any(call.name.startswith(SHOWN_BY[kind]) for call in own_calls):
            yield "show", f"this section has no {kind}."


def parameter_misfits(parameter: Parameter, choice: ParameterChoice, called: list[Call]) -> Iterator[str]:
    """Yield what is wrong with a template's default and choices for a parameter of the notebook."""
    if parameter.name in notebook.GIVEN_APART:
        yield "a template does not settle it: it is given with each report."
        return
    try:
        values = [parameter.value(value) for value in (choice.default, *choice.choices) if value is not None]
        default = parameter.default if choice.default is None else parameter.value(choice.default)
        for zone in values if parameter.name == "timezone" else ():
            require_timezone(str(zone))
    except RequestError as error:
        yield str(error)
        return
    if choice.choices and default not in values[len(values) - len(choice.choices) :]:
        yield f"its default {default!r} is not among its choices."
    for call in called:
        for argument, node in call.arguments.items():
            if (None, parameter.name) in call.reads(node) and (valid := call.valid_values(argument)) is not None:
                yield from _unknown([value for value in values if value or not isinstance(node, ast.BoolOp)], valid)


def _valid_values(call: Call, argument: str, section: Section) -> Collection[Any] | None:
    """The valid values of an argument; labels name the columns and metrics that the call shows, if it lists any."""
    if argument == "labels" and not HEADED.isdisjoint(call.arguments):
        shown = [call.arguments[name] for name in (*HEADED, "by", "over") if name in call.arguments]
        always = [word for word in call.valid_values(argument) or () if word == LABEL]
        return [*always, *(word for node in shown for word in call.values(node, section))]
    return call.valid_values(argument)


def _unknown(values: list[Any], valid: Collection[Any]) -> Iterator[str]:
    for value in values:
        if value is None:
            continue
        if not isinstance(valid, range):
            if value not in valid:
                yield f"{value!r} is not known here.{did_you_mean(str(value), map(str, valid))}"
        elif not (isinstance(value, int) and value in valid):  # `in` would search a range to its end for another type
            yield f"{value!r} is not a whole number from {valid.start}."


def _as_list(choice: Any) -> list[Any]:
    return list(choice) if isinstance(choice, list | dict) else [choice]


def _metric_misfit(name: str, call: Call) -> str:
    """Say why a call cannot measure or show a metric; empty if it can."""
    metric = METRICS[name]
    by, over = call.arguments.get("by"), call.arguments.get("over")
    if (
        call.function in (trackkit.measure, Page.measure)
        and isinstance(by, ast.Constant)
        and by.value not in breakdowns_of(name)
    ):
        return f"{name!r} cannot be broken down by {by.value!r}."
    if over and metric.unit in (CURRENCY, ARTICLES) and not metric.denominator:
        return f"{name!r} is no share of {ast.unparse(over)}."
    return ""


def _limits(section: Section) -> Iterator[Misfit]:
    """Yield limits of metrics that are no rates or are not shown, so that nothing would be marked."""
    charted = section.metrics or [] if section.charted is None else section.charted
    ceilings, floors = section.ceilings or {}, section.floors or {}
    for key, name in [*(("ceilings", name) for name in ceilings), *(("floors", name) for name in floors)]:
        if name not in METRICS:
            continue
        if not METRICS[name].is_rate:
            yield key, f"{name!r} is no rate."
        elif name not in (charted if key == "ceilings" else section.metrics or []):
            among = "metrics" if section.charted is None or key == "floors" else "charted"
            yield key, f"{name!r} is not among the {among} of this section."
        elif key == "floors" and floors[name] > ceilings.get(name, 1):
            yield key, f"{name!r} would be below {floors[name]} or above {ceilings[name]}: the floor is the lower one."


def _function_and_arguments(call: ast.Call) -> tuple[Callable[..., Any], Mapping[str, ast.expr]]:
    """Return the function of a call and its arguments by name; AttributeError or TypeError if they do not fit."""
    function = _function(call.func)
    if function is None:
        raise AttributeError(f"there is no {ast.unparse(call.func)}")
    if any(isinstance(value, ast.Starred) for value in call.args) or any(each.arg is None for each in call.keywords):
        return function, {}
    by_name = {each.arg: each.value for each in call.keywords if each.arg}
    page = [call.func] if function is Page.measure else []  # its own
    return function, inspect.signature(function).bind(*page, *call.args, **by_name).arguments


def _invalid_constants(call: Call, node: ast.Call) -> Iterator[str]:
    """Yield constants in a cell that the function does not accept."""
    for argument, value in call.arguments.items():
        if isinstance(value, ast.Constant) and (valid := call.valid_values(argument)) is not None:
            yield from (f"'{ast.unparse(node)}': {text}" for text in _unknown([value.value], valid))


def _function(node: ast.expr) -> Callable[..., Any] | None:
    """Return the function that an expression such as `tk.tables.metric_table` names; None if it names none."""
    if not OURS.fullmatch(name := ast.unparse(node)):
        return None
    value: Any = trackkit if name.startswith("tk.") else Page
    for part in name.split(".")[1:]:
        value = getattr(value, part, None)
    return value if callable(value) else None


@cache
def _declared(function: Callable[..., Any]) -> Mapping[str, Collection[Any]]:
    """The valid values that a function declares for its arguments and its return value."""
    valid = {name: _values_of(hint) for name, hint in get_type_hints(function, include_extras=True).items()}
    return {name: words for name, words in valid.items() if words is not None}


def _values_of(hint: Any) -> Collection[Any] | None:
    """The valid values in an annotation, however deep they are nested."""
    if get_origin(hint) is Literal:
        return get_args(hint)
    if get_origin(hint) is Annotated:
        base, *notes = get_args(hint)
        containers = [note for note in notes if isinstance(note, Collection) and not isinstance(note, str)]
        return containers[0] if containers else _values_of(base)
    return next((words for part in get_args(hint) if (words := _values_of(part)) is not None), None)
