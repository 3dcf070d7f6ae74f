"""A Vega-Lite chart -> SVG for a page, drawn by vl-convert, checked and shortened by `svg`.

The first drawing of a process starts threads, which a process forked from it would wait for in vain: it is never called
in the fork server, and renderers, which draw, do not fork.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import vl_convert

from trackkit.errors import ReportError
from trackkit.language import SOURCE
from trackkit.report.svg import picture
from trackkit.show.charts.behind import described, units
from trackkit.show.charts.canvas import BESIDE_BARS, BESIDE_LINES, WIDTH
from trackkit.show.theme import Theme, by_variable
from trackkit.show.wording import chart_locale

# Widths drawn for, in pixels: of a section as wide as the page, of one of two beside each other, and of a phone.
WIDE, HALF, NARROW = 860, 420, 340
# Text is laid out for this font, which vl-convert brings, in a size a little larger than style sheets show it in: the
# fonts of readers differ in width.
MEASURED, SIZE, TITLE_SIZE = "Liberation Sans", 13, 13
LABEL_ROOM = 18  # pixels for the name above a bar, on a phone
LETTER = 7  # pixels of a letter, on the average
BESIDE_NUMBERS = 70  # pixels beside an axis of numbers, for its labels and its title
NAMED = ("bar", "rule", "point")  # marks with a name to the left of each, which stands above it on a phone
KEY = 34  # pixels of a legend's symbol and the room around it


def drawings(spec: Mapping[str, Any], colours: Theme, lang: str, half: bool, prefix: str) -> list[str]:
    """Draw a chart for each width of a section: one SVG if it is half as wide as the page, or has a width of its own.

    `prefix` makes the ids in the SVG unique in a page. Raises ReportError for a chart that cannot be drawn.
    """
    names = by_variable(colours)
    widths = [None] if spec.get("width") != WIDTH else [HALF] if half else [WIDE, NARROW]
    label, by = str(spec.get("description", "")), _hovered(spec)
    shapes = {None: "own", HALF: "half", WIDE: "wide", NARROW: "narrow"}
    return [
        picture(_svg(_for_page(spec, width, lang)), names, label, f"{prefix}-{shapes[width]}", shapes[width], by)
        for width in widths
    ]


def png(spec: Mapping[str, Any], colours: Theme, lang: str, width: int, scale: int) -> bytes:
    """Draw a chart in light colours as PNG, `width` × `scale` pixels wide; ReportError if it cannot be drawn."""
    drawn = _for_page(spec, width if spec.get("width") == WIDTH else None, lang) | {"background": colours.light.panel}
    try:
        return bytes(vl_convert.vegalite_to_png(json.dumps(drawn), scale=scale, allowed_base_urls=[]))
    except ValueError as error:
        raise _undrawn(error) from None


def _svg(spec: Mapping[str, Any]) -> str:
    try:
        svg: str = vl_convert.vegalite_to_svg(json.dumps(spec), allowed_base_urls=[])
    except ValueError as error:
        raise _undrawn(error) from None
    return svg


def _loads(part: Any) -> bool:
    """Whether a spec names an address: vl-convert would even read files of this machine."""
    if isinstance(part, list):
        return any(map(_loads, part))
    return isinstance(part, dict) and (
        "url" in part or any(_loads(each) for key, each in part.items() if key != "values")
    )


def _undrawn(error: ValueError) -> ReportError:
    return ReportError(f"A chart cannot be drawn: {str(error).strip().splitlines()[0]}")


def _for_page(spec: Mapping[str, Any], width: int | None, lang: str) -> dict[str, Any]:
    """The chart with its values in words at its marks, in the page's text size, about `width` pixels wide."""
    if _loads({key: value for key, value in spec.items() if key != "datasets"}):
        raise ReportError(
            "A chart cannot be drawn: its data or a picture in it is elsewhere, and a page loads nothing."
        )
    page = {key: value for key, value in described(spec, lang).items() if key not in ("$schema", "usermeta")}
    page |= {"background": None, "config": _config(spec.get("config", {}), lang, _names(spec)), "padding": 2}
    if width is None:
        return page
    # The width of the inside: to fit the whole would lay out each chart twice.
    names = max((_width(name) for name in _beside(spec)), default=BESIDE_NUMBERS)
    narrow = width == NARROW
    beside = 10 if narrow and _beside(spec) and _mark(spec) in NAMED else names
    right = spec.get("usermeta", {}).get(BESIDE_LINES, 2)
    page |= {"width": max(100, round(width - beside - right - 12))}
    return _narrowed(page) if narrow else page


def _names(spec: Mapping[str, Any]) -> list[str]:
    """All names on axes and in legends, if the chart lists them."""
    listed = [
        names
        for unit in units(spec)
        for channel in ("x", "y", "color")
        if isinstance(described := unit.get("encoding", {}).get(channel), dict)
        for names in (described.get("sort"), (described.get("scale") or {}).get("domain"))
    ]
    return [str(name) for names in listed if isinstance(names, list) for name in names]


def _beside(spec: Mapping[str, Any]) -> list[str]:
    """The names beside the bars of a chart."""
    channels = [unit.get("encoding", {}).get("y", {}) for unit in units(spec)]
    return [
        str(_shortened(channel).get(name, name))
        for channel in channels
        if _is_list(channel)
        for name in channel["sort"]
    ]


def _shortened(channel: Mapping[str, Any]) -> dict[str, str]:
    """The names that an axis shows in place of those that are too long, as `canvas.short_labels` writes them."""
    expression = str((channel.get("axis") or {}).get("labelExpr", ""))
    short: dict[str, str] = json.JSONDecoder().raw_decode(expression)[0] if expression.startswith("{") else {}
    return short


def _width(name: str) -> int:
    return 12 + LETTER * min(len(name), BESIDE_BARS)


def _config(config: Mapping[str, Any], lang: str, names: list[str]) -> dict[str, Any]:
    words: dict[str, Any] = {"labelFontSize": SIZE, "titleFontSize": SIZE, "aria": False, "titleLimit": 0}
    if all(len(name) <= BESIDE_BARS for name in names):
        words["labelLimit"] = 0  # else each label is measured again
    sized = {part: {**config.get(part, {}), **words} for part in ("axis", "legend")}
    text = {"text": {**config.get("text", {}), "fontSize": SIZE}}
    title = {"title": {**config.get("title", {}), "fontSize": TITLE_SIZE, "aria": False}}
    locale = {"locale": chart_locale(lang)} if lang != SOURCE else {}
    return {**config, "font": MEASURED, **sized, **text, **title, **locale}


def _hovered(spec: Mapping[str, Any]) -> str:
    """What a tooltip is about: the marks at one place of an axis ("x" or "y"), or one mark."""
    encoding: dict[str, Any] = next((unit["encoding"] for unit in units(spec) if "encoding" in unit), {})
    x, y = (encoding.get(channel, {}).get("type", "quantitative") for channel in ("x", "y"))
    if y == "quantitative":
        return "x" if x in ("temporal", "nominal", "ordinal") or _mark(spec) in ("line", "area") else "mark"
    return "y" if x == "quantitative" else "mark"


def _mark(unit: Mapping[str, Any]) -> str:
    mark = next((each["mark"] for each in units(unit) if "mark" in each), "")
    return str(mark.get("type", "")) if isinstance(mark, dict) else str(mark)


def _narrowed(spec: Mapping[str, Any]) -> dict[str, Any]:
    """The chart for a phone: names stand above bars, keys of a legend below each other where they need it."""
    bars = [unit for unit in units(spec) if unit.get("encoding", {}).get("y", {}).get("type") == "nominal"]
    names = len(next((unit["encoding"]["y"]["sort"] for unit in bars if _is_list(unit["encoding"]["y"])), []))
    height = spec.get("height")
    step = height / max(2, names) if names and isinstance(height, int) and _mark(spec) in NAMED else None
    narrow = _with_encoding(spec, lambda encoding: encoding | dict(_narrow(encoding, step, _thickest(bars))))
    return narrow | ({"height": round((step + LABEL_ROOM) * max(2, names))} if step else {})


def _is_list(channel: Mapping[str, Any]) -> bool:
    return isinstance(channel.get("sort"), list)


def _thickest(bars: list[dict[str, Any]]) -> int:
    return max((unit["mark"].get("size", 0) for unit in bars if _mark(unit) == "bar"), default=0)


def _with_encoding(spec: Mapping[str, Any], change: Any) -> dict[str, Any]:
    changed = dict(spec)
    if "encoding" in spec:
        changed["encoding"] = change(spec["encoding"])
    if "layer" in spec:
        changed["layer"] = [_with_encoding(layer, change) for layer in spec["layer"]]
    return changed


def _narrow(encoding: Mapping[str, Any], step: float | None, thickness: int) -> Iterator[tuple[str, Any]]:
    x, y, colour = encoding.get("x", {}), encoding.get("y", {}), encoding.get("color", {})
    if x.get("type") == "quantitative" and x.get("axis", {}) is not None and "values" not in x.get("axis", {}):
        yield "x", {**x, "axis": {**x.get("axis", {}), "tickCount": 4, "labelOverlap": "greedy", "labelSeparation": 8}}
    if step and _is_list(y) and y.get("axis", {}) is not None:
        padding = LABEL_ROOM / (step + LABEL_ROOM)
        above = -((thickness or step * 0.9) / 2 + 2)
        labels = {"zindex": 1, "labelAlign": "left", "labelBaseline": "bottom", "labelPadding": 0, "labelOffset": above}
        scale = {**(y.get("scale") or {}), "paddingInner": padding, "paddingOuter": padding / 2}
        yield "y", {**y, "axis": {**y.get("axis", {}), **labels, "labelLimit": NARROW - 10}, "scale": scale}
    domain = (colour.get("scale") or {}).get("domain") if isinstance(colour, dict) else None
    if isinstance(domain, list) and colour.get("legend", {}) is not None:
        longest = max((min(len(str(name)), 44) for name in domain), default=1)
        own = colour.get("legend", {})
        columns = min(own.get("columns", len(domain)), max(1, NARROW // (KEY + LETTER * longest)))
        yield "color", {**colour, "legend": {**own, "columns": columns, "labelLimit": NARROW - KEY}}
