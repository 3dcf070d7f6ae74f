"""The figures behind a chart, read from its Vega-Lite spec: as a table for downloads, and as words at each mark.

Both follow the chart's tooltips, so that a chart made with altair alone has them too.
"""

import json
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from trackkit.language import say
from trackkit.show.wording import NOT_AVAILABLE

SHOWN = "_shown"  # ends the name of a column that is rounded for tooltips
WHEN = "when"  # a column of instants in words, beside the instants of the axis
BETWEEN = " · "  # the parts of the words at a mark
_WHOLE = re.compile(r",?\.0f|,|d|,d")
# Properties of a spec that hold no part of the chart.
_APART = ("config", "data", "datasets", "encoding", "params", "transform", "usermeta")

Spec = Mapping[str, Any]


def units(spec: Spec) -> Iterator[dict[str, Any]]:
    """Yield the chart and, if it has any, its layers and views; an encoding or data of a whole is that of its parts."""
    shared = {"encoding": spec.get("encoding", {}), "data": spec.get("data")}
    parts = [part for key in ("layer", "hconcat", "vconcat", "concat") for part in spec.get(key, [])]
    parts += [spec["spec"]] if isinstance(spec.get("spec"), dict) else []
    if not parts:
        yield dict(spec)
    for part in parts:
        own = {"encoding": shared["encoding"] | part.get("encoding", {}), "data": part.get("data") or shared["data"]}
        yield from units({**part, **own})


def tooltips(unit: Spec) -> list[dict[str, Any]]:
    """Return the fields of a unit's tooltip, those of which nothing is computed by the chart."""
    listed = unit.get("encoding", {}).get("tooltip")
    listed = listed if isinstance(listed, list) else [listed]
    return [field for field in listed if isinstance(field, dict) and "field" in field and _is_plain(field)]


def _is_plain(field: Spec) -> bool:
    return not {"aggregate", "bin", "timeUnit"} & field.keys()


def told(spec: Spec) -> dict[str, Any]:
    """Return the unit whose figures are the chart's: the first one with a tooltip, or else the first."""
    every = list(units(spec))
    return next((unit for unit in every if tooltips(unit)), every[0] if every else {})


def fields(unit: Spec) -> list[dict[str, Any]]:
    """Return the columns of the figures: those of the tooltip, or of the axes and colours where there is none."""
    channels = [channel for channel in unit.get("encoding", {}).values() if isinstance(channel, dict)]
    plain = {each["field"]: each for each in channels if "field" in each and _is_plain(each)}
    return tooltips(unit) or list(plain.values())


def rows(spec: Spec, unit: Spec) -> list[dict[str, Any]]:
    """Return the rows that a unit draws; none if they are not in the spec."""
    data = unit.get("data") or {}
    values = (spec.get("datasets") or {}).get(data.get("name"), data.get("values", []))
    return [row for row in values if isinstance(row, dict)] if isinstance(values, list) else []


def title(field: Spec) -> str:
    """Return the heading of a column."""
    return str(field.get("title") or field["field"])


def table(spec: Spec) -> dict[str, Any]:
    """Return the figures of a chart as data: `name`, `columns` (`name`, `label`, `kind`) and `rows` of raw values.

    Shares are fractions and instants ISO 8601 in UTC.

    >>> spec = {"description": "Opens.", "encoding": {"tooltip": [{"field": "n", "title": "Opens", "format": ",.0f"}]}}
    >>> table({**spec, "data": {"values": [{"n": 3}]}})["rows"]
    [[3]]
    """
    unit = told(spec)
    axis = unit.get("encoding", {}).get("x", {})
    instants = axis["field"] if isinstance(axis, dict) and axis.get("type") == "temporal" and "field" in axis else ""
    columns = [(_source(field, instants), field) for field in fields(unit)]
    described = [
        {"name": source.removesuffix(SHOWN), "label": title(field), "kind": _kind(field, source == instants)}
        for source, field in columns
    ]
    values = [
        [_value(row, source, column["kind"]) for (source, _), column in zip(columns, described, strict=True)]
        for row in rows(spec, unit)
    ]
    return {"name": str(spec.get("description") or ""), "columns": described, "rows": values}


def _source(field: Spec, instants: str) -> str:
    """The column with the raw values of a column of a tooltip."""
    return instants if instants and field["field"] == WHEN else str(field["field"])


def _kind(field: Spec, is_instant: bool) -> str:
    written = str(field.get("format", ""))
    if is_instant or field.get("type") == "temporal":
        return "instant"
    if field.get("type") != "quantitative":
        return "text"
    return "share" if written.endswith("%") else "count" if _WHOLE.fullmatch(written) else "average"


def _value(row: Spec, source: str, kind: str) -> Any:
    value = row.get(source.removesuffix(SHOWN), row.get(source))
    if kind == "instant" and isinstance(value, int | float):
        return datetime.fromtimestamp(value / 1_000, UTC).isoformat().replace("+00:00", "Z")
    return value


def described(spec: Spec, lang: str) -> dict[str, Any]:
    """Return the chart with its tooltips written at its marks, as `description`, which is no tooltip of a picture."""
    changed = {key: value for key, value in spec.items() if key != "encoding"}
    if "encoding" in spec:
        changed["encoding"] = _described(spec["encoding"], tooltips(spec), lang)
    for key in ("layer", "hconcat", "vconcat", "concat"):
        if key in spec:
            changed[key] = [described(part, lang) for part in spec[key]]
    return changed


def _described(encoding: Spec, tips: list[dict[str, Any]], lang: str) -> dict[str, Any]:
    kept = {channel: value for channel, value in encoding.items() if channel != "tooltip"}
    if not tips or "description" in encoding:
        return kept
    words = f" + {json.dumps(BETWEEN)} + ".join(_expression(field, lang) for field in tips)
    return kept | {"description": {"value": {"expr": words}}}


def _expression(field: Spec, lang: str) -> str:
    """A Vega expression of the title and the value of a field."""
    value, written = f"datum[{json.dumps(field['field'])}]", field.get("format")
    shown = value
    if field.get("type") == "temporal":
        shown = f"utcFormat({value}, {json.dumps(written or '%Y-%m-%d %H:%M')})"
    elif written:
        shown = f"format({value}, {json.dumps(written)})"
    unknown = json.dumps(say(NOT_AVAILABLE, lang))
    return f"{json.dumps(title(field) + ': ')} + (isValid({value}) ? {shown} : {unknown})"
