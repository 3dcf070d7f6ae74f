"""The metrics listed for people and programs: METRICS.md and `trackkit metrics` both come from here."""

from collections.abc import Iterable

from trackkit.metrics import (
    BOOTSTRAP,
    BREAKDOWNS,
    METRICS,
    OF_DELIVERIES,
    WILSON,
    Metric,
    breakdowns_of,
    sources_of,
    version_of,
)

_HEAD = """# Metrics

Made from `trackkit/metrics.py` by `make metrics`; a test fails when this page is out of date. Counts are whole numbers,
rates fractions that may exceed 1, and a rate on an empty denominator is null. *Measured on* names the rows counted:
`delivery` one row per delivery, `message` one per message prepared, `event` one per counted hit (hits of control
addresses left out). *Higher is* tells the direction.
"""
_OF_DELIVERIES = """What a delivery is ({}) is a breakdown of everything that is measured: ids, with labels beside them;
`channel` is a word, `sender` an address, else a name. A week is its Monday, a month its first day, a weekday a number
from 1, Monday. A delivery is launched when its first message is sent, else when that was planned. Days and hours are
the platform's. People in several deliveries are counted again, never added."""
_INTERVALS = {
    WILSON: "Wilson's, of a share of messages",
    BOOTSTRAP: "bootstrap, messages drawn again with all their events",
    "": "none: a planned count, an estimate, no count of messages is in it, or its parts overlap only in part",
}


def records() -> list[dict[str, object]]:
    """Return one record per metric: name, label, unit, source, formula, definition, reference, breakdowns and more.

    >>> records()[0]["name"]
    'targeted'
    """
    return [_record(metric) for metric in METRICS.values()]


def _record(metric: Metric) -> dict[str, object]:
    return {
        "name": metric.name,
        "label": metric.label,
        "platform_label": metric.platform_label or None,
        "unit": metric.unit,
        "source": metric.source or " and ".join(sorted(sources_of(metric.name))),
        "formula": str(metric.formula),
        "definition": metric.definition,
        "reference": metric.cited,
        "higher_is": metric.higher_is,
        "numerator": metric.numerator,
        "denominator": metric.denominator,
        "interval": metric.interval or None,
        "breakdowns": list(breakdowns_of(metric.name)),
        "version": version_of(metric.name),
    }


def page() -> str:
    """Return METRICS.md: a summary table, then one section per metric, then the breakdowns."""
    rows = [f"| [`{m.name}`](#{m.name}) | {m.label} | {m.platform_label} | {m.unit} |" for m in METRICS.values()]
    summary = ["| name | label | platform's label | unit |", "|---|---|---|---|", *rows]
    return "\n".join([_HEAD, *summary, "", *(_section(metric) for metric in METRICS.values()), _breakdowns()])


def _section(metric: Metric) -> str:
    record = _record(metric)
    facts = [
        f"- **formula**: {record['formula']}",
        f"- **measured on**: {record['source']}",
        f"- **unit**: {metric.unit}; higher is {metric.higher_is}",
        f"- **broken down by**: {', '.join(_listed(breakdowns_of(metric.name)))}",
        *([f"- **interval**: {_INTERVALS[metric.interval]}"] if metric.denominator else []),
        f"- **reference**: {metric.cited}",
    ]
    return "\n".join([f"## {metric.name}", "", f"**{metric.label}.** {metric.definition}", "", *facts, ""])


def _listed(columns: Iterable[str]) -> list[str]:
    """The breakdowns, those that say what a delivery is in one word."""
    named = ("[what its delivery is](#breakdowns)" if name in OF_DELIVERIES else name for name in columns)
    return list(dict.fromkeys(named))


def _breakdowns() -> str:
    rows = [f"| `{column}` | {', '.join(carriers)} |" for column, carriers in BREAKDOWNS.items()]
    head = ["## Breakdowns", "", _OF_DELIVERIES.format(", ".join(f"`{name}`" for name in OF_DELIVERIES)), ""]
    return "\n".join([*head, "| column | rows that carry it |", "|---|---|", *rows, ""])
