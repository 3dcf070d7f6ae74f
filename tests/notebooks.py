"""Runs a report's notebook in this process, without a kernel, and collects what its cells show."""

import ast
from pathlib import Path
from typing import Any

from trackkit import resources
from trackkit.report import notebook


def run(report: str, **parameters: Any) -> list[tuple[str | None, Any]]:
    """Run the code cells of a report with these parameters (`store` may be a Snapshot); return (section, output)s."""
    path = Path(resources.find(f"{notebook.NOTEBOOKS}/{report}.ipynb"))
    outputs: list[tuple[str | None, Any]] = []
    names: dict[str, Any] = {}
    declared = {parameter.name for parameter in notebook.parameters(notebook.read(path), path)}
    for cell in notebook.code_cells(notebook.read(path)):
        section = notebook.section_of(cell)
        names["display"] = lambda value, section=section: None if value is None else outputs.append((section, value))
        value = run_cell(cell.source, names)
        if value is not None:
            outputs.append((section, value))
        if notebook.PARAMETERS in notebook.tags(cell):
            names |= {name: value for name, value in parameters.items() if name in declared}
    return outputs


def run_cell(source: str, names: dict[str, Any]) -> Any:
    """Run a cell, and return the value of its last expression."""
    tree = ast.parse(source)
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, "<cell>", "exec"), names)
    return eval(compile(ast.Expression(last.value), "<cell>", "eval"), names) if last else None


def texts(value: Any) -> str:
    """The text of an output: the HTML of a table, or the specification and data of a chart."""
    if hasattr(value, "to_dict"):
        return str(value.to_dict())
    if hasattr(value, "as_raw_html"):
        return value.as_raw_html()
    return value._repr_html_() if hasattr(value, "_repr_html_") else str(value._repr_mimebundle_())
