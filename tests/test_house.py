"""The rules of the house, executed: imports, sizes, docstrings, clean notebooks, no traces of one machine."""

import ast
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "trackkit"
BODY, MODULE = 30, 400  # lines; a function aims at 8, a module is as long as its subject

# The layers, each room (a module, or a folder of like ones) with what it may import. A new room needs a line here.
GROUND = {"errors", "plain", "schema", "snapshot"}
SHOWN = {"charts", "tables", "cells", "wording", "theme"}
MAY_IMPORT: dict[str, set[str]] = {
    "plain": set(),
    "errors": {"plain"},
    "toml": {"errors"},  # whoever reads a TOML file that people write may use it: see the end of this table
    "schema": {"errors"},
    "snapshot": {"errors", "schema"},
    "resources": {"errors"},
    "exports": {"errors", "plain"},
    "failures": {"errors"},
    "language": {"errors", "resources"},  # whoever has words for readers may use it: see the end of this table
    # data in: raw logs to the canonical store
    "sources": GROUND,
    "quality": GROUND
    | {"resources", "sources", "believed", "deliveries"},  # judges a load too, so it stands below the store
    "store": GROUND | {"sources", "quality", "deliveries"},
    "demo": GROUND,
    # numbers: the registry never sees data, and only the engine and the analyses do
    "startup": set(),
    "metrics": {"errors", "schema"},
    "catalogue": {"metrics"},
    "clock": {"errors"},  # whoever cuts, shows or is asked for a time may use it: see the end of this table
    "believed": GROUND,
    "deliveries": GROUND | {"believed"},
    "frames": GROUND,
    "conditions": {"errors", "schema"},
    "spark": GROUND | {"frames"},
    "refusals": GROUND | {"frames"},
    "kept": GROUND | {"metrics"},
    "rollup": {"schema", "metrics", "frames"},
    "rows": GROUND | {"metrics", "deliveries", "frames"},
    "distinct": {"schema", "deliveries", "frames", "metrics", "rollup", "rows"},
    "stated": {"schema", "metrics", "rows"},
    "engine": GROUND | {"conditions", "metrics", "deliveries", "frames", "spark", "refusals", "kept"},
    "currencies": GROUND | {"metrics", "engine"},
    "analysis": GROUND
    | {"resources", "metrics", "believed", "deliveries", "refusals", "kept", "engine"}
    | {"sources"},  # what a sender can tell
    # shown: a frame and the registry in, never a load or a measurement
    "theme": {"errors", "resources"},
    "wording": {"errors", "metrics"},
    "charts": {"errors", "schema", "metrics"} | SHOWN,
    "cells": {"errors", "schema", "metrics"} | SHOWN,
    "tables": {"errors", "schema", "metrics"} | SHOWN,
}
MAY_IMPORT["engine"] |= {"rollup", "rows", "distinct", "stated"}
# reports: page by page, then the run of many; the front door only for the version and where the package is
MAY_IMPORT["report"] = {
    "__init__",
    *GROUND,
    "resources",
    "metrics",
    "believed",
    "deliveries",
    "quality",
    "analysis",
    "store",
}
MAY_IMPORT["report"] |= SHOWN | {"startup"}
MAY_IMPORT["index"] = {"__init__", *GROUND, "resources", "metrics", "engine", "deliveries", "report"} | SHOWN
MAY_IMPORT["index"] |= {"analysis"}
MAY_IMPORT["manifest"] = {"__init__", *GROUND, "resources", "language", "quality", "report"}
MAY_IMPORT["executors"] = {"manifest", "report"}
MAY_IMPORT["cluster"] = {"__init__", "errors", "executors", "manifest", "report", "store"}
MAY_IMPORT["runs"] = {"__init__", *GROUND, "resources", "deliveries", "engine", "kept", "quality", "store", "report"}
MAY_IMPORT["runs"] |= {"index", "manifest", "executors", "cluster"}
MAY_IMPORT["retention"] = {*GROUND, "metrics", "engine", "report", "runs", "store"}
MAY_IMPORT["__init__"] = {"store", "engine", "metrics", "quality", "analysis", "report"} | SHOWN
for room in ("schema", "metrics", "quality", "analysis", *SHOWN, "report", "index", "runs"):
    MAY_IMPORT[room].add("language")
for room in ("theme", "quality", "analysis", "sources", "report", "retention"):
    MAY_IMPORT[room].add("toml")
for room in ("conditions", "analysis", *SHOWN, "exports", "runs", "retention", "store"):
    MAY_IMPORT[room].add("clock")
MAY_IMPORT["phrases"] = {"resources", "language", "metrics", "cells", "report"}
MAY_IMPORT["cli"] = set(MAY_IMPORT)
MAY_IMPORT["__main__"] = {"cli"}

# Larger than the house aims at, each with its reason. An entry that is no longer true must go.
LARGE_MODULES = {
    "metrics.py": "data only: one block per metric",
    "cli.py": "one short function per command, most of it the words of --help",
}
LONG_FUNCTIONS: dict[str, str] = {}


@cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"))


def _modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def _room(path: Path) -> str:
    """The module, or the folder of many like modules, that a file belongs to."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def _ids(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def _tracked() -> list[Path]:
    """Every file that is, or is about to be, in a commit."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [path for name in listed.split("\0") if name and (path := ROOT / name).is_file()]


def _internal_imports(path: Path) -> Iterator[str]:
    """Rooms of trackkit that a file imports, wherever in the file it does."""
    for node in ast.walk(_tree(path)):
        if isinstance(node, ast.ImportFrom) and node.level:
            yield from _relative(path, node)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from _rooms(f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from _rooms(alias.name for alias in node.names)


def _relative(path: Path, node: ast.ImportFrom) -> Iterator[str]:
    package = ("trackkit", *path.relative_to(PACKAGE).parent.parts)
    base = ".".join((*package[: len(package) - node.level + 1], *([node.module] if node.module else [])))
    yield from _rooms(f"{base}.{alias.name}" for alias in node.names)


def _rooms(names: Iterator[str]) -> Iterator[str]:
    for name in names:
        top, *rest = name.split(".")
        if top == "trackkit":
            is_room = rest and ((PACKAGE / f"{rest[0]}.py").exists() or (PACKAGE / rest[0]).is_dir())
            yield rest[0] if is_room else "__init__"


@pytest.mark.parametrize("path", _modules(), ids=_ids)
def test_imports_point_only_as_the_layers_say(path: Path) -> None:
    room = _room(path)
    assert room in MAY_IMPORT, f"{room} is new: give it a line in MAY_IMPORT, saying what it may import"
    beyond = set(_internal_imports(path)) - MAY_IMPORT[room] - {room}
    assert not beyond, f"{room} may not import {', '.join(sorted(beyond))}"


def test_nothing_imports_the_notebooks() -> None:
    for path in _modules():
        named = {getattr(node, "module", None) or "" for node in ast.walk(_tree(path))}
        assert not any(name.split(".")[0] == "notebooks" for name in named), path


def test_importing_the_front_door_is_light() -> None:
    heavy = {"papermill", "jupyterlab", "nbconvert", "pandas", "altair", "great_tables", "vl_convert"}
    code = f"import sys, trackkit; print(*sorted(set({sorted(heavy)!r}) & set(sys.modules)))"
    loaded = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert loaded.split() == [], "these are loaded when first needed, so that a question at the prompt answers at once"


def _functions(path: Path) -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    for node in ast.walk(_tree(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield f"{_ids(path)}:{node.name}", node


def _length(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    body = node.body[1:] if ast.get_docstring(node) is not None else node.body
    return (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0


def test_no_function_is_long_without_a_reason() -> None:
    long = {name for path in _modules() for name, node in _functions(path) if _length(node) > BODY}
    assert long == set(LONG_FUNCTIONS), "shorten it, or list it in LONG_FUNCTIONS with the reason"


def test_no_module_is_large_without_a_reason() -> None:
    lines = {path.relative_to(PACKAGE).as_posix(): path.read_text("utf-8").count("\n") for path in _modules()}
    large = {name: count for name, count in lines.items() if count > MODULE}
    assert set(large) == set(LARGE_MODULES), f"divide it, or list it in LARGE_MODULES with the reason: {large}"


@pytest.mark.parametrize("path", _modules(), ids=_ids)
def test_what_is_public_has_a_docstring(path: Path) -> None:
    tree = _tree(path)
    missing = [] if ast.get_docstring(tree) else ["the module"]
    classes = [node for node in tree.body if isinstance(node, ast.ClassDef) and not node.name.startswith("_")]
    for owner in (tree, *classes):
        missing += [
            node.name
            for node in owner.body
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
            and not node.name.startswith("_")
            and not ast.get_docstring(node)
            and not _is_declaration(node)
        ]
    assert missing == []


def _is_declaration(node: ast.stmt) -> bool:
    """A method of a Protocol, whose class says what it is."""
    body = getattr(node, "body", [])
    return len(body) == 1 and isinstance(body[0], ast.Expr) and getattr(body[0].value, "value", None) is ...


NOTEBOOKS = sorted((ROOT / "notebooks").rglob("*.ipynb"))


@pytest.mark.parametrize("path", [path for path in NOTEBOOKS if ".ipynb_checkpoints" not in path.parts], ids=_ids)
def test_notebooks_are_stripped_and_enter_by_the_front_door(path: Path) -> None:
    notebook = json.loads(path.read_text("utf-8"))
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert not any(cell["outputs"] or cell["execution_count"] for cell in code), "commit notebooks without outputs"
    assert set(notebook["metadata"]) <= {"kernelspec", "language_info", "trackkit"}
    imports = [
        line for cell in code for line in "".join(cell["source"]).splitlines() if re.match(r"(from|import) ", line)
    ]
    assert not [line for line in imports if re.match(r"(from trackkit\.|import trackkit\.)", line)]


HOSTS = [".".join(parts) for parts in (("pypi", "org"), ("pythonhosted", "org"), ("npmjs", "org"), ("debian", "org"),
                                        ("anaconda", "org"))]  # fmt: skip
NOT_OURS = {
    "a path of one machine": re.compile(r"(?<![\w.~$}])/(root|wo" + r"rk|farm|home/[a-z]+|Users/[a-z]+)/(?!\*)"),
    "an index option": re.compile("--(?:extra-)?index-" + "url|--find-" + "links|--trusted-" + "host"),
    "a registry host": re.compile("|".join(map(re.escape, HOSTS))),
}


@pytest.mark.parametrize("what", NOT_OURS)
def test_nothing_of_one_machine_is_committed(what: str) -> None:
    found = []
    for path in _tracked():
        if path.suffix in {".png", ".parquet", ".gz", ".zst"}:
            continue
        lines = path.read_text("utf-8", errors="replace").splitlines()
        found += [f"{_ids(path)}:{place}" for place, line in enumerate(lines, 1) if NOT_OURS[what].search(line)]
    assert found == []


LOADS = re.compile(
    r"""(?:src|href|action|data)\s*=\s*["']?\s*(?:https?:)?//|url\(\s*["']?(?:https?:)?//|@import""", re.I
)


def test_no_template_loads_anything_from_the_network() -> None:
    templates = [path for path in (ROOT / "reports_templates").rglob("*") if path.is_file()]
    assert templates
    assert [_ids(path) for path in templates if LOADS.search(path.read_text("utf-8"))] == []


def test_ruff_is_content() -> None:
    ruff = shutil.which("ruff", path=str(Path(sys.executable).parent)) or shutil.which("ruff")
    assert ruff, "ruff is in the lock: run the tests in the environment that make builds"
    for check in (["check"], ["format", "--check"]):
        said = subprocess.run([ruff, *check, "."], cwd=ROOT, capture_output=True, text=True, check=False)
        assert said.returncode == 0, said.stdout + said.stderr
