"""The set-up agrees with itself: what is declared, locked, offered to conda, imported, and what the Makefile says."""

import ast
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
LOCKS = ("requirements.txt", "requirements-uv.txt", "requirements-spark.txt", "requirements-docs.txt")
CONDA_NAMES = {"playwright-python": "playwright", "python-duckdb": "duckdb"}
# Declared, and used without an import: each with its reason.
NOT_IMPORTED = {
    "ipykernel": "the kernel that runs every notebook",
    "pandas": "what `.to_pandas()` gives",
}
EXTRAS = ("lab", "mysql", "pdf", "postgres", "dask")
INDEX_OPTION = re.compile(r"^\s*(-i|-f|--(extra-|no-)?index(-url)?|--find-" + "links|--trusted-" + "host)", re.M)


def _requirements(*groups: str) -> Iterator[Requirement]:
    project, named = PROJECT["project"], PROJECT["dependency-groups"]
    for group in groups:
        lines = project["dependencies"] if group == "core" else project["optional-dependencies"].get(group)
        yield from map(Requirement, lines or named[group])


def _declared(*groups: str) -> dict[str, Requirement]:
    return {canonicalize_name(one.name): one for one in _requirements(*groups)}


def _locked() -> dict[str, list[str]]:
    versions: dict[str, list[str]] = {}
    for name, version in re.findall(r"^([\w.-]+)==([\w.]+)", (ROOT / "requirements.txt").read_text("utf-8"), re.M):
        versions.setdefault(canonicalize_name(name), []).append(version)
    return versions


@pytest.mark.parametrize("lock", LOCKS)
def test_every_locked_package_is_pinned_and_hashed_and_no_host_is_named(lock: str) -> None:
    text = (ROOT / lock).read_text("utf-8")
    entries = [entry for entry in re.split(r"\n(?=[\w-])", re.sub(r"^\s*#.*\n", "", text, flags=re.M)) if entry.strip()]
    assert entries
    unhashed = [entry.splitlines()[0] for entry in entries if not re.match(r"\S+==\S+ .*--hash=sha256:", entry, re.S)]
    assert unhashed == []
    assert not re.search(r"\w+://|file:|@ ", text)
    assert not INDEX_OPTION.search(text)


def test_the_lock_holds_all_that_is_declared_in_the_range_declared() -> None:
    locked = _locked()
    for name, requirement in _declared("core", *EXTRAS, "test", "dev", "build").items():
        assert name in locked, f"{name} is not in requirements.txt: `make lock` renews it"
        assert all(requirement.specifier.contains(version) for version in locked[name]), name


def test_environment_yml_agrees_with_pyproject() -> None:
    given = yaml.safe_load((ROOT / "environment.yml").read_text("utf-8"))
    from_pip = next(entry["pip"] for entry in given["dependencies"] if isinstance(entry, dict))
    lines = [line for line in [*given["dependencies"], *from_pip] if isinstance(line, str) and line != "-e ."]
    offered = {line.split(" ")[0]: Requirement(line.replace("_", "-")) for line in lines}
    assert str(offered.pop("python").specifier) == PROJECT["project"]["requires-python"]
    assert offered.pop("pip").specifier == ""
    conda = {
        canonicalize_name(CONDA_NAMES.get(name, one.name)): (one.specifier, one.extras) for name, one in offered.items()
    }
    declared = _declared("core", *EXTRAS, "spark", "test", "dev", "build")
    assert conda == {name: (one.specifier, one.extras) for name, one in declared.items()}
    assert all("/" not in channel for channel in given["channels"])


def _imported(folder: str) -> set[str]:
    found: set[str] = set()
    for path in (ROOT / folder).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Import):
                found |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                found.add(node.module.split(".")[0])
    return found - set(sys.stdlib_module_names) - {"trackkit", "tests", "benchmarks"}


def _distributions(imported: set[str]) -> set[str]:
    by_module = packages_distributions()
    return {canonicalize_name(by_module[name][0]) if name in by_module else name for name in imported}


def test_what_the_package_imports_is_declared_and_what_is_declared_is_used() -> None:
    imported, declared = _distributions(_imported("trackkit")), set(_declared("core"))
    beyond = imported - declared - set(_declared("lab", "mysql", "pdf", "postgres", "dask", "spark"))
    assert beyond == set(), "imported, but not among the dependencies of pyproject.toml"
    assert declared - imported == set(NOT_IMPORTED) - imported, "declared, but neither imported nor explained above"


def test_what_the_tests_import_is_declared() -> None:
    assert _distributions(_imported("tests")) - set(_declared("core", *EXTRAS, "test", "dev")) == set()


def test_the_python_versions_are_declared() -> None:
    classifiers = [line.rpartition(" ")[2] for line in PROJECT["project"]["classifiers"] if ":: 3." in line]
    assert classifiers == ["3.11", "3.12", "3.13", "3.14"]
    assert PROJECT["project"]["requires-python"] == ">=3.11"


def _make(*arguments: str) -> subprocess.CompletedProcess[str]:
    plain = {key: value for key, value in os.environ.items() if not key.startswith("MAKE")}
    return subprocess.run(["make", *arguments], cwd=ROOT, env=plain, capture_output=True, text=True, check=False)


def test_make_alone_says_what_there_is() -> None:
    said = _make()
    assert said.returncode == 0, said.stderr
    assert all(f"make {target}" in said.stdout for target in ("report", "test", "lab", "lint", "lock", "clean", "help"))


def test_too_old_a_python_is_refused_in_one_sentence() -> None:
    said = _make("env", "VENV=/nowhere/venv", "PYTHON=false")
    assert said.returncode == 2
    assert "needs Python 3.11 or later" in said.stderr
    assert "Traceback" not in said.stderr


def test_ci_calls_make_test_and_cannot_skip_browser_databases_or_spark() -> None:
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    assert subprocess.run(["bash", "-n", script], check=False).returncode == 0
    text = script.read_text("utf-8")
    assert "set -euo pipefail" in text
    assert "TRACKKIT_REQUIRE_BROWSER=1" in text
    assert "TRACKKIT_REQUIRE_DATABASES=1" in text
    assert "TRACKKIT_REQUIRE_SPARK=1" in text
    assert re.search(r"make .*test", text)
