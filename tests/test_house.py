"""The rules of the house, executed: imports, sizes, docstrings, clean notebooks, no traces of one machine."""

import ast
import builtins
import importlib
import json
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import trackkit as tk

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "trackkit"
BODY = 30  # lines; a function aims at 8, a module is as long as its subject

# The rooms, each (a module, or a folder of modules) with what it may import, in the order of the data.
MAY_IMPORT: dict[str, set[str]] = {
    "startup": set(),
    "plain": set(),
    "listing": {"plain"},
    "errors": {"plain"},
    "failures": {"errors"},
    "clock": {"errors"},
    "toml": {"errors"},
    "settings": {"errors", "toml"},
    "project": {"errors", "settings"},
    "resources": {"errors", "project"},
    "copies": {"__init__", "errors", "project", "resources"},
    "language": {"errors", "resources"},  # whoever has words for readers may use it
    "schema": {"errors", "language"},
    "metrics": {"listing", "errors", "schema", "language"},
    "frames": {"metrics"},
    "own_metrics": {"errors", "toml", "project", "schema", "metrics"},
    "definition_sets": {"errors", "toml", "language", "metrics"},
    # raw logs in: to the canonical store, each load judged
    "demo": {"errors", "schema"},
    "sources": {"plain", "listing", "errors", "toml", "project", "schema"},
    "engine": {"listing", "errors", "clock", "schema", "metrics", "frames", "definition_sets"},
    "rules": {"errors", "toml", "resources", "language"},  # how machines are told from people
    "quality": {"errors", "toml", "resources", "language", "schema", "sources", "engine"},
    "store": {"plain", "listing", "errors", "clock", "schema", "rules", "sources", "engine", "quality"},
    # figures out: asked for, shown, put on a page, many pages
    "analysis": {"errors", "clock", "toml", "resources", "language", "schema", "metrics", "rules", "sources", "engine"},
    "show": {"plain", "errors", "clock", "toml", "resources", "language", "schema", "metrics"},
}
MAY_IMPORT["analysis"] |= {"__init__", "definition_sets"}  # the first for its version
MAY_IMPORT["show"] |= {"definition_sets"}
MAY_IMPORT["report"] = {"__init__", "startup", "rules", "quality", "store", "engine", "analysis", "show"} | MAY_IMPORT[
    "show"
]
MAY_IMPORT["report"] |= {"project", "settings", "own_metrics"}
MAY_IMPORT["panel"] = {"errors", "failures", "metrics", "engine", "analysis", "show"}  # what a notebook asks by hand
MAY_IMPORT["runs"] = MAY_IMPORT["report"] | {"report", "copies"}
MAY_IMPORT["__init__"] = {"project", "metrics", "own_metrics", "engine", "quality", "store"}
MAY_IMPORT["__init__"] |= {"analysis", "show", "report", "runs", "panel"}
MAY_IMPORT["project_options"] = {"metrics", "own_metrics", "errors", "project", "resources", "copies", "report"}
MAY_IMPORT["arguments"] = {"errors", "engine", "store", "project_options"}
MAY_IMPORT["terminal"] = {"arguments", "plain", "errors", "language", "store", "analysis", "show", "report"}
MAY_IMPORT["exit_codes"] = {"errors", "failures", "quality", "store", "terminal"}
MAY_IMPORT["cli"] = set(MAY_IMPORT)
MAY_IMPORT["__main__"] = {"cli"}
# The modules whose functions users call.
_OTHERS = set(tk.__all__) - {*tk._ATTRIBUTES, *tk._MODULES}
FRONT_DOOR = sorted({*tk._ATTRIBUTES.values(), *tk._MODULES.values(), *(f"analysis.{name}" for name in _OTHERS)})

# Longer than the house allows, each with its reason. An entry that is no longer true must go.
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


def _name(path: Path) -> str:
    """The module's name below trackkit, as `store.lake`; a package's own is that of its folder."""
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__")


@cache
def _internal_imports(path: Path) -> frozenset[str]:
    """Modules of trackkit that a file imports, wherever in the file it does."""
    found: set[str] = set()
    for node in _runs(_tree(path)):
        if isinstance(node, ast.ImportFrom):
            assert not node.level, f"{_ids(path)}:{node.lineno}: import by the whole name"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return frozenset(_module(name.split(".")[1:]) for name in found if name.split(".")[0] == "trackkit")


def _runs(tree: ast.AST) -> Iterator[ast.AST]:
    """Every node but what stands under `if TYPE_CHECKING`, which is never run."""
    for node in ast.iter_child_nodes(tree):
        if not (isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)):
            yield node
            yield from _runs(node)


def _module(parts: list[str]) -> str:
    while parts and not ((PACKAGE.joinpath(*parts).with_suffix(".py")).exists() or PACKAGE.joinpath(*parts).is_dir()):
        parts = parts[:-1]
    return ".".join(parts) or "__init__"


@pytest.mark.parametrize("path", _modules(), ids=_ids)
def test_imports_point_only_as_the_layers_say(path: Path) -> None:
    room = _room(path)
    assert room in MAY_IMPORT, f"{room} is new: give it a line in MAY_IMPORT, saying what it may import"
    beyond = {name for name in _internal_imports(path) if name.split(".")[0] not in MAY_IMPORT[room] | {room}}
    assert not beyond, f"{room} may not import {', '.join(sorted(beyond))}"


def test_no_imports_go_in_a_circle() -> None:
    """Inside rooms too, and whether an import stands at the head of a file or in a function."""
    graph = {_name(path): set(_internal_imports(path)) - {"__init__", _name(path)} for path in _modules()}
    TopologicalSorter(graph).prepare()  # raises CycleError, which names the circle


def test_nothing_imports_the_notebooks() -> None:
    for path in _modules():
        named = {getattr(node, "module", None) or "" for node in ast.walk(_tree(path))}
        assert not any(name.split(".")[0] == "notebooks" for name in named), path


def test_importing_the_front_door_is_light() -> None:
    heavy = {
        "papermill",
        "jupyterlab",
        "ipywidgets",
        "itables",
        "nbconvert",
        "pandas",
        "altair",
        "great_tables",
        "vl_convert",
    }
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


def test_the_formatter_is_obeyed() -> None:
    """What it makes ugly is usually data that wants another shape."""
    found = Counter(_room(path) for path in _modules() for line in _lines(path) if line.endswith("# fmt: skip"))
    assert found == {}


def _lines(path: Path) -> list[str]:
    return path.read_text("utf-8").splitlines()


def _classes() -> list[str]:
    return [node.name for path in _modules() for node in ast.walk(_tree(path)) if isinstance(node, ast.ClassDef)]


def test_classes_are_named_once() -> None:
    assert [name for name, count in Counter(_classes()).items() if count > 1] == []


def test_no_class_hides_one_of_the_standard_library() -> None:
    """None of the names that are always there, and no exception but SQLite's, which are those of any database."""
    modules = sys.stdlib_module_names - {"sqlite3"}
    exceptions = {error.__name__ for error in _errors(BaseException) if error.__module__.split(".")[0] in modules}
    assert set(_classes()) & (set(dir(builtins)) | exceptions) == set()


def _errors(of: type[BaseException]) -> Iterator[type[BaseException]]:
    for error in type.__subclasses__(of):
        yield error
        yield from _errors(error)


def _defined(tree: ast.Module) -> set[str]:
    """The names that a module itself defines at its top level."""
    found = set()
    for node in tree.body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        found |= {getattr(node, "name", "")} | {target.id for target in targets if isinstance(target, ast.Name)}
    return found


@pytest.mark.parametrize("module", FRONT_DOOR)
def test_modules_of_the_front_door_say_what_is_public(module: str) -> None:
    """So that completion shows what is ours. A package may name what its modules define; ruff sees that it is there."""
    place = PACKAGE.joinpath(*module.split("."))
    path = place / "__init__.py" if place.is_dir() else place.with_suffix(".py")
    tree = _tree(path)
    assert "__all__" in _defined(tree), f"{_ids(path)} names nothing in __all__"
    public = importlib.import_module(f"trackkit.{module}").__all__
    assert path.name == "__init__.py" or set(public) <= _defined(tree)
    assert not [name for name in public if name.startswith("_")]


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
