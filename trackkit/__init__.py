"""trackkit: raw e-mail tracking logs to exact indicators and reports. The front door.

    import trackkit as tk
    store = tk.open_store("store")
    tk.measure(store, ["delivered", "unique_opens", "open_rate"])

Names load when they are first used, so that a question at the prompt does not wait for the plotting libraries.
"""

from importlib import import_module
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
    from trackkit.analysis.provenance import changes, provenance
    from trackkit.engine.measure import measure
    from trackkit.metrics import METRICS
    from trackkit.report import open_page
    from trackkit.runs.alone import render
    from trackkit.show import charts, findings, tables, tiles
    from trackkit.store import load, open_store

__version__ = "0.1.0"
__all__ = ["METRICS", "charts", "findings", "load", "measure", "open_page", "open_store", "quality", "render"]
__all__ += ["changes", "provenance", "tables", "tiles"]
__all__ += ["activities", "audience", "bounces", "clickmap", "complaints", "consent", "counters"]
__all__ += ["curves", "definitions", "domains", "limits", "links", "logs"]
__all__ += ["compare", "intervals"]
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
    "load": "store",
    "measure": "engine.measure",
    "open_page": "report",
    "open_store": "store",
    "render": "runs.alone",
}
_MODULES = {
    "limits": "analysis.caveats",
    "quality": "quality",
    **{name: f"show.{name}" for name in ("charts", "findings", "tables", "tiles")},
}

if not TYPE_CHECKING:  # for a type checker, any name would then be one of the package

    def __getattr__(name: str) -> Any:
        if name in _ATTRIBUTES:
            return getattr(import_module(f"trackkit.{_ATTRIBUTES[name]}"), name)
        if name in __all__:
            return import_module(f"trackkit.{_MODULES.get(name, f'analysis.{name}')}")
        raise AttributeError(f"trackkit has no {name!r}; it has {', '.join(__all__)}.")


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
