"""Which tables each analysis and each metric reads, so that a report can say what a missing one costs it."""

from collections.abc import Mapping
from types import MappingProxyType

from trackkit.metrics import METRICS, Distinct, Known, Total, lineage, made_of, sources_of

# By module, or by function where one reads other tables than the rest of its module.
NEEDS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "links": ("event", "link"),
        "links.click_figures": ("delivery", "message", "event", "link"),
        "curves": ("event", "link"),
        "clickmap": ("event", "link", "content"),
        "logs": ("event", "link"),
        "messages": ("message", "event", "link"),
        "web": ("event", "link", "page_hit"),
        "webapp": ("page_hit",),
        "consent": ("page_hit",),
        "story": ("message", "event", "link"),
        "sending": ("delivery", "message"),
        "sending.exclusions": ("delivery", "exclusion"),
        "bounces": ("message", "failure"),
        "activities": ("event", "link"),
        "audience": ("event", "link"),
        "sharing": ("event", "link"),
        "several": ("delivery",),
        "subscriptions": ("subscription", "service"),
        "domains": (),
    }
)
_BEHIND = {
    "failure_reason": "failure", "failure_type": "failure", "amount": "web_event", "articles": "web_event",
    "event_type": "link", "is_refused": "page_hit", "is_complaint": "failure",
}  # fmt: skip


def metric_needs(name: str) -> set[str]:
    """Return the tables that a metric is made of, those included that only describe its rows.

    >>> sorted(metric_needs("hard_bounce_rate"))
    ['failure', 'message']
    """
    formulas = [METRICS[part].formula for part in lineage(name)]
    columns = {formula.column for formula in formulas if isinstance(formula, Distinct)}
    columns |= {made for one in formulas if isinstance(one, Total | Known) for made in made_of(one.column)}
    columns |= {column for formula in formulas for column in getattr(formula, "where", ())}
    return sources_of(name) | {_BEHIND[column] for column in columns if column in _BEHIND}
