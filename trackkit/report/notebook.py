"""What a report notebook declares: its parameters, its sections and what each section lets an analyst choose.

Everything is read from the notebook's text; nothing is run.
"""

from __future__ import annotations

import ast
import io
import json
import re
import tokenize
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trackkit.errors import RequestError

if TYPE_CHECKING:  # loading it takes a second or two, which the kernels of reports need not spend
    from nbformat import NotebookNode

NOTEBOOKS = "notebooks/reports"
PARAMETERS = "parameters"
SECTION = "section:"
ALWAYS = ("store", "timezone", "lang")  # parameters of every report
TYPES: dict[str, type] = {"str": str, "int": int, "float": float, "bool": bool}


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
        return self.default == ""


def read(path: Path) -> NotebookNode:
    """Read a notebook; RequestError when it is not one."""
    import nbformat

    try:
        return nbformat.read(path, as_version=4)
    except (OSError, ValueError, nbformat.ValidationError) as error:
        raise RequestError(f"{path} is not a notebook: {type(error).__name__}: {error}.") from None


def code_cells(notebook: NotebookNode) -> list[NotebookNode]:
    """Return the cells that hold code."""
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def tags(cell: NotebookNode) -> list[str]:
    """Return the tags of a cell."""
    return list(cell.metadata.get("tags", []))


def section_of(cell: NotebookNode) -> str | None:
    """Return the section that a cell belongs to, by its tag `section:<name>`; None for a cell that prepares."""
    return next((tag.removeprefix(SECTION) for tag in tags(cell) if tag.startswith(SECTION)), None)


def sections(notebook: NotebookNode) -> list[str]:
    """Return the sections of a notebook in its own order, each once."""
    return list(dict.fromkeys(name for cell in code_cells(notebook) if (name := section_of(cell))))


def section_texts(path: Path) -> dict[str, str]:
    """Return the text of each section's cells, after the lines of cells of no section that make what they use.

    It is read without the library that checks notebooks, as kernels need it.
    """
    texts: dict[str, str] = {}
    shared: dict[str, str] = {}  # by the name that a line assigns
    for cell in json.loads(path.read_text("utf-8"))["cells"]:
        tags = cell["metadata"].get("tags", []) if cell["cell_type"] == "code" else [PARAMETERS]
        names, source = [tag.removeprefix(SECTION) for tag in tags if tag.startswith(SECTION)], "".join(cell["source"])
        for name in names:
            texts[name] = texts.get(name, "") + source + "\n"
        for assigned, line in re.findall(r"^((\w+) = .*)$", source, re.M) if not (names or PARAMETERS in tags) else ():
            shared[line] = shared.get(line, "") + assigned + "\n"
    return {name: _with_shared(text, shared) for name, text in texts.items()}


def _with_shared(text: str, shared: dict[str, str]) -> str:
    """Add the lines that make the names used in a text, and those used in these lines in their turn."""
    used = {name for name in re.findall(r"\w+", text) if name in shared}
    added = "".join(shared[name] for name in sorted(used))
    return (
        _with_shared(added, {name: line for name, line in shared.items() if name not in used}) + text if used else text
    )


def scope(notebook: NotebookNode, names: Iterable[str]) -> str:
    """Return what a report is about, by its metadata or else by its parameters: a recipient, a delivery, or all.

    "platform" in the metadata `trackkit.scope` says that no id is needed, even where one may be given.
    """
    declared = notebook.metadata.get("trackkit", {}).get("scope")
    return declared or next((name for name in ("recipient", "delivery") if name in set(names)), "platform")


def parameters(notebook: NotebookNode, path: Path) -> tuple[Parameter, ...]:
    """Return the parameters of a notebook, in order; RequestError for one without a type, a default or a comment."""
    cells = [cell for cell in code_cells(notebook) if PARAMETERS in tags(cell)]
    if len(cells) != 1:
        raise RequestError(f"{path} has {len(cells)} cells tagged 'parameters'; it needs exactly one.")
    comments = _comments(cells[0].source)
    return tuple(_parameter(line, comments, path) for line in _tree(cells[0], path).body)


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
    """Return, for each section, the choices that its cells read.

    `page["links"].top`, or `words = page["links"]` and then `words.top` in the same cell, reads `top` of `links`.
    """
    used: dict[str, set[str]] = {name: set() for name in sections(notebook)}
    for cell in code_cells(notebook):
        tree = _tree(cell, path)
        names = _section_names(tree)
        for node in ast.walk(tree):
            match node:
                case ast.Attribute(value=ast.Subscript(slice=ast.Constant(value=str(section))), attr=option):
                    used.setdefault(section, set()).add(option)
                case ast.Attribute(value=ast.Name(id=name), attr=option) if name in names:
                    used.setdefault(names[name], set()).add(option)
    return used


def _section_names(tree: ast.Module) -> dict[str, str]:
    """The names that a cell gives to sections: `words = page["links"]`."""
    names = {}
    for node in tree.body:
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.Subscript(slice=ast.Constant(value=str(section)))):
                names[name] = section
    return names


def _tree(cell: NotebookNode, path: Path) -> ast.Module:
    try:
        return ast.parse(cell.source)
    except SyntaxError as error:
        raise RequestError(f"{path}: a cell is not Python: {error.msg}: {(error.text or '').strip()!r}.") from None


def faults(notebook: NotebookNode, path: Path) -> list[str]:
    """Return what is wrong with a report notebook, one sentence each: outputs, imports, arithmetic, tied sections."""
    try:
        declared = {parameter.name for parameter in parameters(notebook, path)}
        trees = [(cell, _tree(cell, path)) for cell in code_cells(notebook)]
    except RequestError as error:
        return [str(error)]
    found = [f"it has no parameter {name!r}." for name in ALWAYS if name not in declared]
    if any(cell.outputs or cell.execution_count for cell, _ in trees):
        found.append("it holds outputs; strip them before committing it.")
    for cell, tree in trees:
        found += [fault for node in ast.walk(tree) if (fault := _unwelcome(node))]
        found += [f"a cell has two section tags: {tags(cell)}."] * (len([t for t in tags(cell) if SECTION in t]) > 1)
    return found + _ties(trees)


def _unwelcome(node: ast.AST) -> str | None:
    """Report notebooks say what is shown; what is worked out belongs in the package."""
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


def _ties(trees: list[tuple[NotebookNode, ast.Module]]) -> list[str]:
    """A section must stand alone, since an analyst may drop or move any other."""
    made: dict[str, str | None] = {}
    for cell, tree in trees:
        made.update({name: section_of(cell) for name in _names(tree, ast.Store) if made.get(name, "") is not None})
    return [
        f"section {section_of(cell)!r} reads '{name}', which section {made[name]!r} makes; make it in an untagged cell."
        for cell, tree in trees
        for name in sorted(_names(tree, ast.Load) - _names(tree, ast.Store))
        if made.get(name) and made[name] != section_of(cell)
    ]


def _names(tree: ast.Module, context: type[ast.expr_context]) -> set[str]:
    return {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, context)}
