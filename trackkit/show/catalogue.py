"""Metrics and tables listed for people and programs: METRICS.md, SCHEMA.md, `trackkit metrics` and `schema`."""

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
from trackkit.schema import TABLES, Column, Table

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
        "of": None if METRICS.is_shipped(metric.name) else metric.reference,
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


_SCHEMA = """# Schema

Made from `trackkit/schema.py` by `make schema`; a test fails when this page is out of date.
`store.describe("event")` and `trackkit schema event` say the same, as do the comments of columns in the Delta tables.

Types are those of polars; instants are UTC, ids text, amounts in the currency beside them, and null means unknown. A
*derived* column is computed from other tables at each load. *Personal* says which personal data a column may hold: an
e-mail address or an IP address as a whole, a URL in its query, the id of a person, an id as such, any other text all of
these.
"""


def columns_of(table: str) -> list[dict[str, object]]:
    """Return a record for each column of a table: table, column, type, unit, meaning, values, derived, personal.

    >>> columns_of("service")[0]["meaning"]
    'key of the service'
    """
    return [_column(TABLES[table], column) for column in TABLES[table].columns]


def _column(table: Table, column: Column) -> dict[str, object]:
    return {
        "table": table.name,
        "column": column.name,
        "type": column.type_name,
        "unit": column.measured_in or None,
        "meaning": column.meaning,
        "values": list(column.words),
        "derived": column.derived,
        "personal": table.personal.get(column.name),
    }


def schema_page() -> str:
    """Return SCHEMA.md: the tables, then the columns of each."""
    rows = [f"| [`{name}`](#{name}) | {table.grain} | {', '.join(table.key)} |" for name, table in TABLES.items()]
    summary = ["| table | what is in it | key |", "|---|---|---|", *rows]
    return "\n".join([_SCHEMA, *summary, *(_table_section(table) for table in TABLES.values()), ""])


def _table_section(table: Table) -> str:
    rows = [_schema_row(record) for record in columns_of(table.name)]
    head = ["| column | type | unit | meaning | derived | personal |", "|---|---|---|---|---|---|"]
    return "\n".join(["", f"## {table.name}", "", f"{table.grain[0].upper()}{table.grain[1:]}.", "", *head, *rows])


def _schema_row(record: dict[str, object]) -> str:
    values: object = record["values"]
    words = f" ({', '.join(values)})" if isinstance(values, list) and values else ""
    cells = (f"{record['meaning']}{words}", "yes" if record["derived"] else "", record["personal"] or "")
    return f"| `{record['column']}` | {record['type']} | {record['unit'] or ''} | {' | '.join(map(str, cells))} |"
