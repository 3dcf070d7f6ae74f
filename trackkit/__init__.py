"""trackkit: raw e-mail tracking logs to exact indicators and reports. The front door.

    import trackkit as tk
    store = tk.open_store("store")
    tk.measure(store, ["delivered", "unique_opens", "open_rate"])

Names load when they are first used, so that a question at the prompt does not wait for the plotting libraries.
"""

from importlib import import_module
from types import FunctionType, ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # the same names, for editors and type checkers
    from trackkit import quality
    from trackkit.analysis import (
        activities,
        audience,
        bounces,
        clickmap,
        complaints,
        consent,
        counters,
        curves,
        definitions,
        domains,
        intervals,
        links,
        logs,
        machines,
        maturity,
        messages,
        overview,
        reactions,
        recipes,
        sending,
        several,
        sharing,
        story,
        subscriptions,
        usual,
        web,
        webapp,
    )
    from trackkit.analysis import caveats as limits
    from trackkit.analysis.compare import compare
    from trackkit.analysis.console import deliveries
    from trackkit.analysis.provenance import changes, provenance
    from trackkit.engine.measure import measure
    from trackkit.engine.scope import resolve as scope
    from trackkit.metrics import METRICS
    from trackkit.own_metrics import metric
    from trackkit.panel import explore
    from trackkit.report import open_page
    from trackkit.runs.alone import render
    from trackkit.show import charts, findings, tables, tiles
    from trackkit.store import load, open_store

__version__ = "0.1.0"
__all__ = ["METRICS", "charts", "findings", "load", "measure", "metric", "open_page", "open_store", "quality", "render"]
__all__ += ["changes", "provenance", "tables", "tiles"]
__all__ += ["activities", "audience", "bounces", "clickmap", "complaints", "consent", "counters"]
__all__ += ["curves", "definitions", "domains", "limits", "links", "logs"]
__all__ += ["compare", "deliveries", "explore", "intervals", "scope"]
__all__ += [
    "machines",
    "maturity",
    "messages",
    "overview",
    "reactions",
    "recipes",
    "sending",
    "several",
    "sharing",
    "story",
    "subscriptions",
    "usual",
    "web",
    "webapp",
]

# Where a name comes from; every other one is a module of `analysis`.
_ATTRIBUTES = {
    "changes": "analysis.provenance",
    "provenance": "analysis.provenance",
    "METRICS": "metrics",
    "compare": "analysis.compare",
    "deliveries": "analysis.console",
    "explore": "panel",
    "load": "store",
    "measure": "engine.measure",
    "metric": "own_metrics",
    "open_page": "report",
    "open_store": "store",
    "render": "runs.alone",
    "scope": "engine.scope",
}
_CALLED = {"scope": "resolve"}  # where it comes from, by another name
_OF_PROJECT = ("METRICS", "measure")  # those that know the metrics of a project
_MODULES = {
    "limits": "analysis.caveats",
    "quality": "quality",
    **{name: f"show.{name}" for name in ("charts", "findings", "tables", "tiles")},
}

if not TYPE_CHECKING:  # for a type checker, any name would then be one of the package

    def __getattr__(name: str) -> Any:
        if name in _ATTRIBUTES:
            if name in _OF_PROJECT:
                _know_project()
            return getattr(import_module(f"trackkit.{_ATTRIBUTES[name]}"), _CALLED.get(name, name))
        if name in __all__:
            return _shown(import_module(f"trackkit.{_MODULES.get(name, f'analysis.{name}')}"))
        raise AttributeError(f"trackkit has no {name!r}; it has {', '.join(__all__)}.")


def _know_project() -> None:
    """Know the metrics of the project that this process works in, as the command line and reports do."""
    from trackkit.metrics import METRICS
    from trackkit.project import current

    project = current()
    has_own = project is not None and any((project.templates / "metrics").glob("*.toml"))
    if has_own or METRICS.has_own:
        METRICS.adopt(import_module("trackkit.own_metrics").of_project() if has_own else {})


def _shown(module: ModuleType) -> ModuleType:
    """Let completion show only what a module, and each of its own, says is public; what is shown takes any frame."""
    if "__dir__" in vars(module):
        return module
    vars(module)["__dir__"] = lambda: list(module.__all__)
    for name in module.__all__:
        own = vars(module).get(name)
        if isinstance(own, ModuleType):
            _shown(own)
        elif isinstance(own, FunctionType) and module.__name__.startswith("trackkit.show."):
            vars(module)[name] = import_module("trackkit.frames").any_frame(own)
    return module


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
