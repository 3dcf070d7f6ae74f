"""The front door: what runs, what a type checker knows and what completion shows are the same names."""

import ast
import inspect
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest
from mypy import api

import trackkit as tk

ROOT = Path(__file__).resolve().parents[1]  # its configuration is strict, and its cache is that of `make lint`
USER = """
import trackkit as tk
store = tk.open_store("store")
reveal_type(tk.measure(store, ["delivered", "open_rate"]))
reveal_type(tk.METRICS["open_rate"])
reveal_type(tk.links.link_clicks(store, "7"))
reveal_type(tk.charts.rate_bars)
tk.measures(store)
"""
FRAME = "polars.dataframe.frame.DataFrame"


def _declared() -> dict[str, tuple[str, str]]:
    """What stands under `if TYPE_CHECKING`: name -> (module it is imported from, its name there)."""
    tree = ast.parse(inspect.getsource(tk))
    block = next(node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING")
    return {
        alias.asname or alias.name: (node.module or "", alias.name)
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }


def test_everything_that_loads_is_declared() -> None:
    assert set(_declared()) == set(tk.__all__) == set(dir(tk)) - {"__version__"}
    assert len(tk.__all__) == len(set(tk.__all__))


@pytest.mark.parametrize("name", tk.__all__)
def test_what_loads_is_what_is_declared(name: str) -> None:
    module, attribute = _declared()[name]
    declared = getattr(import_module(module), attribute, None) or import_module(f"{module}.{attribute}")
    assert getattr(tk, name) is declared


def test_a_type_checker_knows_the_front_door(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    script = tmp_path / "user.py"
    script.write_text(USER)
    output, _, _ = api.run(["--no-error-summary", "--no-pretty", str(script)])
    lines = [line.split(": ", 1)[1] for line in output.splitlines() if "user.py:" in line]
    revealed = [line.split('"')[1] for line in lines if "Revealed type" in line]
    assert revealed[:3] == [FRAME, "trackkit.metrics.Metric", FRAME]
    assert revealed[3].startswith("def (") and revealed[3].endswith("Chart")
    (error,) = (line for line in lines if "error" in line)
    assert error.startswith('error: Module has no attribute "measures"')


def _functions(name: str, value: object) -> Iterator[tuple[str, Callable[..., object]]]:
    """A function by its name, or the public ones of a module and of its own modules."""
    if isinstance(value, ModuleType):
        for each in value.__all__:
            yield from _functions(f"{name}.{each}", getattr(value, each))
    elif inspect.isfunction(value):
        yield name, inspect.unwrap(value)


@pytest.mark.parametrize("name", tk.__all__)
def test_every_function_has_an_example(name: str) -> None:
    """Those in docstrings run as doctests."""
    lacking = [each for each, function in _functions(name, getattr(tk, name)) if ">>>" not in (function.__doc__ or "")]
    assert lacking == []


def test_the_package_says_that_it_is_typed() -> None:
    assert Path(tk.__file__).with_name("py.typed").is_file()
