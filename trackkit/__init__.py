"""trackkit: raw e-mail tracking logs to exact indicators and reports. The front door.

    import trackkit as tk
    store = tk.open_store("store")
    tk.measure(store, ["delivered", "unique_opens", "open_rate"])

Names load when they are first used, so that a question at the prompt does not wait for the plotting libraries.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trackkit import quality
    from trackkit.analysis import (
        activities,
        audience,
        bounces,
        clickmap,
        consent,
        curves,
        domains,
        links,
        logs,
        messages,
        sending,
        several,
        sharing,
        subscriptions,
        web,
        webapp,
    )
    from trackkit.engine.measure import measure
    from trackkit.metrics import METRICS
    from trackkit.report import open_page, render
    from trackkit.show import charts, tables
    from trackkit.store import load, open_store

__version__ = "0.1.0"

# name -> (module, attribute), an attribute of "" being the module itself
_DOORS = {
    "load": ("store", "load"),
    "open_store": ("store", "open_store"),
    "measure": ("engine.measure", "measure"),
    "METRICS": ("metrics", "METRICS"),
    "render": ("report", "render"),
    "open_page": ("report", "open_page"),
    "links": ("analysis.links", ""),
    "curves": ("analysis.curves", ""),
    "clickmap": ("analysis.clickmap", ""),
    "logs": ("analysis.logs", ""),
    "domains": ("analysis.domains", ""),
    "sending": ("analysis.sending", ""),
    "bounces": ("analysis.bounces", ""),
    "messages": ("analysis.messages", ""),
    "story": ("analysis.story", ""),
    "recipes": ("analysis.recipes", ""),
    "limits": ("analysis.caveats", ""),
    "quality": ("quality", ""),
    "activities": ("analysis.activities", ""),
    "audience": ("analysis.audience", ""),
    "several": ("analysis.several", ""),
    "sharing": ("analysis.sharing", ""),
    "subscriptions": ("analysis.subscriptions", ""),
    "consent": ("analysis.consent", ""),
    "web": ("analysis.web", ""),
    "webapp": ("analysis.webapp", ""),
    "charts": ("show.charts", ""),
    "tables": ("show.tables", ""),
}
__all__ = [
    "METRICS", "activities", "audience", "bounces", "charts", "clickmap", "consent", "curves", "domains", "limits",
    "links", "load", "logs", "measure", "messages", "open_page", "open_store", "quality", "recipes", "render",
    "sending", "several", "sharing", "story", "subscriptions", "tables", "web", "webapp",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in _DOORS:
        raise AttributeError(f"trackkit has no {name!r}; it has {', '.join(_DOORS)}.")
    module, attribute = _DOORS[name]
    found = import_module(f"trackkit.{module}")
    return getattr(found, attribute) if attribute else found


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
