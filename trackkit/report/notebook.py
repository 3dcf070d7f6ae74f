"""What a report notebook declares: its parameters, its sections and what each section lets an analyst choose.

Everything is read from the notebook's text; nothing is run.
"""

from __future__ import annotations

import ast
import io
import json
import math
import os
import re
import tokenize
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any
from unicodedata import category

from pydantic import TypeAdapter

from trackkit.errors import RequestError

if TYPE_CHECKING:  # it takes a second or two to import, and kernels do not need it
    from nbformat import NotebookNode

NOTEBOOKS = "notebooks/reports"
PARAMETERS = "parameters"
REPORT = "TRACKKIT_REPORT"  # in the environment of the cells: the name of their report
SECTION = "section:"
ALWAYS = ("store", "timezone", "lang")  # parameters of every report
GIVEN_APART = ("store", "lang")  # arguments of `render` that are not in its `parameters`
IDS = ("delivery", "recipient")
SCOPE = "scope"  # the parameter of reports that take several deliveries instead of one
PLATFORM = "platform"
Value = bool | int | float | str
TYPES: dict[str, type[Value]] = {"str": str, "int": int, "float": float, "bool": bool}
_CONVERTERS = {name: TypeAdapter(kind) for name, kind in TYPES.items()}
_UNFIT = ("Cc", "Cs")  # control characters (a name may hold a tab), and lone surrogates


@dataclass(frozen=True)
class Parameter:
    """One parameter of a report; a text parameter whose default is empty must be given."""

    name: str
    type: str
    default: Any
    help: str
    choices: tuple[Any, ...] = ()

    @property
    def required(self) -> bool:
        """Whether the report cannot run without a value for it."""
        return bool(self.default == "")

    def value(self, raw: Any) -> Value:
        """Convert a value to the parameter's type; RequestError if it does not fit."""
        shown = str(raw)[:80]
        if self.type == "str":
            raw = _as_text(raw)
        try:
            value: Value = _CONVERTERS[self.type].validate_python(raw)
            if not _is_sound(value) or (isinstance(raw, bool) and self.type != "bool"):
                raise ValueError
        except ValueError:  # pydantic's errors are ValueErrors
            kind = "str without control characters" if self.type == "str" else self.type
            raise RequestError(f"Parameter {self.name} is of type {kind}; got {repr(raw)[:80]}.") from None
        if self.choices and value not in self.choices:
            choices = ", ".join(map(str, self.choices))
            raise RequestError(f"Parameter {self.name} is one of {choices}; got {shown!r}.")
        return value


def _as_text(value: Any) -> Any:
    """Return a number (as of an id) or a date as text, and anything else as it is."""
    if isinstance(value, date):
        return value.isoformat()
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


def _is_sound(value: Value) -> bool:
    match value:
        case bool():
            return True
        case int():
            return abs(value) < 2**63
        case float():
            return math.isfinite(value)
    return len(value) <= 10_000 and not any(letter != "\t" and category(letter) in _UNFIT for letter in value)


def own_name() -> str:
    """Return the name of the report whose notebook runs here, in a run or in JupyterLab; RequestError if unknown."""
    name = os.environ.get(REPORT) or Path(os.environ.get("JPY_SESSION_NAME", "")).stem
    if not name:
        raise RequestError("Which report is not known here: name it, as in tk.open_page('overview', store).")
    return name


def read(path: Path) -> NotebookNode:
    """Read a notebook; RequestError if it cannot be read."""
    import nbformat

    reader: Callable[..., NotebookNode] = nbformat.read  # which has no types
    try:
        return reader(path, as_version=4)
    except (OSError, ValueError, nbformat.ValidationError) as error:
        raise RequestError(f"{path} is not a notebook: {type(error).__name__}: {error}.") from None


def write(book: NotebookNode, file: IO[str]) -> None:
    """Write a notebook."""
    import nbformat

    writer: Callable[..., None] = nbformat.write
    writer(book, file)


def code_cells(notebook: NotebookNode) -> list[NotebookNode]:
    """Return the cells that hold code."""
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def tags(cell: NotebookNode) -> list[str]:
    """Return the tags of a cell."""
    return list(cell.metadata.get("tags", []))


def section_of(cell: NotebookNode) -> str | None:
    """Return the section of a cell, by its tag `section:<name>`; None for one that prepares data for several."""
    return next((tag.removeprefix(SECTION) for tag in tags(cell) if tag.startswith(SECTION)), None)


def sections(notebook: NotebookNode) -> list[str]:
    """Return the sections of a notebook in its own order, each once."""
    return list(dict.fromkeys(name for cell in code_cells(notebook) if (name := section_of(cell))))


def section_texts(path: Path) -> dict[str, str]:
    """Return the code of each section's cells, preceded by the assignments of untagged cells that they use.

    Read without nbformat, since kernels need it quickly.
    """
    texts: dict[str, str] = {}
    shared: dict[str, str] = {}  # assignments of untagged cells, by name
    for cell in json.loads(path.read_text("utf-8"))["cells"]:
        tags = cell["metadata"].get("tags", []) if cell["cell_type"] == "code" else [PARAMETERS]
        names, source = [tag.removeprefix(SECTION) for tag in tags if tag.startswith(SECTION)], "".join(cell["source"])
        for name in names:
            texts[name] = texts.get(name, "") + source + "\n"
        for assigned, line in re.findall(r"^((\w+) = .*)$", source, re.M) if not (names or PARAMETERS in tags) else ():
            shared[line] = shared.get(line, "") + assigned + "\n"
    return {name: _with_shared(text, shared) for name, text in texts.items()}


def _with_shared(text: str, shared: dict[str, str]) -> str:
    """Prepend the assignments of names used in a text, recursively."""
    used = {name for name in re.findall(r"\w+", text) if name in shared}
    if not used:
        return text
    assignments = "".join(shared[name] for name in sorted(used))
    return _with_shared(assignments, {name: line for name, line in shared.items() if name not in used}) + text


def scope(notebook: NotebookNode, names: Iterable[str]) -> str:
    """Return what a report is about, by its metadata, else by its parameters: "recipient", "delivery" or "platform".

    With "platform" in the metadata `trackkit.scope` no id is needed, even if the report has such a parameter.
    """
    declared = notebook.metadata.get("trackkit", {}).get("scope")
    return declared or next((name for name in ("recipient", "delivery") if name in set(names)), PLATFORM)


def parameters(notebook: NotebookNode, path: Path) -> tuple[Parameter, ...]:
    """Return the parameters of a notebook, in order; RequestError for one without a type, a default or a comment."""
    cells = [cell for cell in code_cells(notebook) if PARAMETERS in tags(cell)]
    if len(cells) != 1:
        raise RequestError(f"{path} has {len(cells)} cells tagged 'parameters'; it needs exactly one.")
    comments = _comments(cells[0].source)
    return tuple(_parameter(line, comments, path) for line in tree_of(cells[0], path).body)


def _comments(source: str) -> dict[int, str]:
    lines = io.StringIO(source).readline
    tokens = tokenize.generate_tokens(lines)
    return {token.start[0]: token.string.lstrip("# ").strip() for token in tokens if token.type == tokenize.COMMENT}


def _parameter(line: ast.stmt, comments: dict[int, str], path: Path) -> Parameter:
    text = ast.unparse(line)
    if not isinstance(line, ast.AnnAssign) or not isinstance(line.target, ast.Name) or line.value is None:
        raise RequestError(f"{path}: parameter {text!r} must be written 'name: type = default  # help'.")
    kind = ast.unparse(line.annotation)
    if kind not in TYPES:
        raise RequestError(f"{path}: parameter {line.target.id} is of type {kind}; known: {', '.join(TYPES)}.")
    if not comments.get(line.lineno):
        raise RequestError(f"{path}: parameter {line.target.id} has no comment, which is its help.")
    try:
        default = ast.literal_eval(line.value)
    except ValueError:
        raise RequestError(f"{path}: the default of {line.target.id} must be a plain value.") from None
    return Parameter(line.target.id, kind, default, comments[line.lineno])


def options_used(notebook: NotebookNode, path: Path) -> dict[str, set[str]]:
    """Return, for each section, the options that its cells read.

    `page["links"].top`, or `words = page["links"]` and then `words.top` in the same cell, reads `top` of `links`.
    """
    used: dict[str, set[str]] = {name: set() for name in sections(notebook)}
    for cell in code_cells(notebook):
        tree = tree_of(cell, path)
        names = assigned(tree)
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute):
                owner = names.get(node.value.id, node.value) if isinstance(node.value, ast.Name) else node.value
                if section := section_read(owner):
                    used.setdefault(section, set()).add(node.attr)
    return used


def section_read(node: ast.expr) -> str | None:
    """Return the section that an expression such as `page["links"]` reads; None for any other."""
    match node:
        case ast.Subscript(slice=ast.Constant(value=str(section))):
            return section
    return None


def assigned(tree: ast.Module) -> dict[str, ast.expr]:
    """Return the expression that a cell assigns to each name."""
    return {
        target.id: node.value
        for node in tree.body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }


def tree_of(cell: NotebookNode, path: Path) -> ast.Module:
    """Parse the code of a cell; RequestError when it is not Python."""
    try:
        return ast.parse(str(cell.source))
    except SyntaxError as error:
        raise RequestError(f"{path}: a cell is not Python: {error.msg}: {(error.text or '').strip()!r}.") from None


def opened(notebook: NotebookNode, path: Path) -> set[str]:
    """Return the reports whose templates a notebook opens by name, as in `tk.open_page("bounces", store)`."""
    return {
        str(node.args[0].value)
        for cell in code_cells(notebook)
        for node in ast.walk(tree_of(cell, path))
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("open_page")
        if node.args and isinstance(node.args[0], ast.Constant)
    }


def faults(notebook: NotebookNode, path: Path, is_ours: bool = True) -> list[str]:
    """Return what is wrong with a report notebook, one sentence each: outputs, imports, arithmetic, tied sections.

    The rules of the house (no outputs, imports or arithmetic) are for the notebooks of the package alone.
    """
    try:
        declared = {parameter.name for parameter in parameters(notebook, path)}
        trees = [(cell, tree_of(cell, path)) for cell in code_cells(notebook)]
    except RequestError as error:
        return [str(error)]
    problems = [f"it has no parameter {name!r}." for name in ALWAYS if name not in declared]
    if is_ours and any(cell.outputs or cell.execution_count for cell, _ in trees):
        problems.append("it holds outputs; strip them before committing it.")
    for cell, tree in trees:
        problems += [fault for node in ast.walk(tree) if is_ours and (fault := _forbidden(node))]
        problems += [f"a cell has two section tags: {tags(cell)}."] * (len([t for t in tags(cell) if SECTION in t]) > 1)
    return problems + _dependent_sections(trees)


def _forbidden(node: ast.AST) -> str | None:
    """Say why a report notebook may not hold this node: computations belong in the package."""
    match node:
        case ast.Import(names=[ast.alias(name="trackkit", asname="tk")]):
            return None
        case ast.Import() | ast.ImportFrom():
            return f"'{ast.unparse(node)}': only 'import trackkit as tk' is allowed."
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef() | ast.Lambda():
            return f"'{ast.unparse(node).splitlines()[0]}': a report notebook defines nothing; put it in the package."
        case ast.BinOp() | ast.AugAssign():
            return f"'{ast.unparse(node)}': a report notebook does no arithmetic; declare a metric instead."
    return None


def _dependent_sections(trees: list[tuple[NotebookNode, ast.Module]]) -> list[str]:
    """Find sections that use names of others: an analyst may drop or move any section."""
    sources: dict[str, str | None] = {}
    for cell, tree in trees:
        sources.update(
            {name: section_of(cell) for name in _names(tree, ast.Store) if sources.get(name, "") is not None}
        )
    return [
        f"section {section_of(cell)!r} reads '{name}', which section {sources[name]!r} makes; "
        "make it in an untagged cell."
        for cell, tree in trees
        for name in sorted(_names(tree, ast.Load) - _names(tree, ast.Store))
        if sources.get(name) and sources[name] != section_of(cell)
    ]


def _names(tree: ast.Module, context: type[ast.expr_context]) -> set[str]:
    return {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, context)}
