"""The figures behind a chart, read from its Vega-Lite spec: as a table for downloads, and as words at each mark.

Both follow the chart's tooltips, so that a chart made with altair alone has them too.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from trackkit.language import say
from trackkit.show.cells import PARTS
from trackkit.show.wording import NOT_AVAILABLE

SHOWN, DECIMALS = "_shown", "_decimals"  # end the names of columns beside a share: rounded, and its decimals in words
WHEN = "when"  # a column of instants in words, beside the instants of the axis
BETWEEN = " · "  # the parts of the words at a mark
_EPSILON = 1e-12  # more than the binary error of a share: Vega would round 0.145 % down
_HOLE = "\u241f"
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
    return value.rstrip() if isinstance(value, str) else value  # a name of ours may end in a space


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
    words = f" + {json.dumps(BETWEEN)} + ".join(_phrases(kept, tips, lang))
    return kept | {"description": {"value": {"expr": words}}}


def _phrases(encoding: Spec, tips: Sequence[Spec], lang: str) -> Iterator[str]:
    """Vega expressions of the words at a mark: "mail.example", "Opened: 42.7% (61 of 143)".

    What is named on an axis or by a colour, or comes first, needs no heading; a rate over its parts, or a single
    figure, is headed by the name of its series.
    """
    known = {channel.get("field") for channel in encoding.values() if isinstance(channel, dict)}
    figures = [nth for nth, field in enumerate(tips) if field.get("type") == "quantitative"]
    rates = [nth for nth in figures if _is_rate(tips, nth)]
    named = {nth - 1 for nth in figures if nth in rates or figures == [nth]}
    named = {nth for nth in named if nth >= 0 and tips[nth]["field"] == encoding.get("color", {}).get("field")}
    for nth, field in enumerate(tips):
        if nth in named or {nth - 1, nth - 2} & set(rates):
            continue
        is_plain = nth in rates or (nth not in figures and (nth == 0 or field["field"] in known))
        heading = "" if is_plain else json.dumps(title(field) + ": ") + " + "
        heading = f"{_shown(tips[nth - 1], lang)} + ': ' + " if nth - 1 in named else heading
        yield heading + (_with_parts(tips[nth : nth + 3], lang) if nth in rates else _shown(field, lang))


def _is_rate(tips: Sequence[Spec], nth: int) -> bool:
    """Whether a column of a tooltip is a share over the two counts that follow it."""
    return [_kind(field, False) for field in tips[nth : nth + 3]] == ["share", "count", "count"]


def _with_parts(fields: Sequence[Spec], lang: str) -> str:
    """A Vega expression of a rate over its parts; one that is unknown has none."""
    rate, *parts = (_shown(field, lang) for field in fields)
    before, between, after = map(json.dumps, f" ({say(PARTS, lang, part=_HOLE, whole=_HOLE)})".split(_HOLE))
    over = f"{before} + {parts[0]} + {between} + {parts[1]} + {after}"
    return f"{rate} + (isValid({_datum(fields[0])}) ? {over} : '')"


def _datum(field: Spec) -> str:
    return f"datum[{json.dumps(field['field'])}]"


def _shown(field: Spec, lang: str) -> str:
    """A Vega expression of the value of a field; a share of ours has the decimals that its row says."""
    value, written, name = _datum(field), json.dumps(field.get("format") or "%Y-%m-%d %H:%M"), field["field"]
    shown = value
    if field.get("type") == "temporal":
        shown = f"utcFormat({value}, {written})"
    elif name.endswith(SHOWN):
        share, decimals = (f"datum[{json.dumps(name.removesuffix(SHOWN) + end)}]" for end in ("", DECIMALS))
        shown = f"format({share} + {_EPSILON}, '.' + {decimals} + '%')"
    elif "format" in field:
        shown = f"format({value}, {written})"
    return f"(isValid({value}) ? {shown} : {json.dumps(say(NOT_AVAILABLE, lang))})"
