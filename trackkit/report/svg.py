"""An SVG as vl-convert writes it -> one for a page: nothing in it but shapes and text, in the page's colours, short."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from html import escape
from typing import Any

from lxml import etree

from trackkit.errors import ReportError

_SPACE = "{http://www.w3.org/2000/svg}"
_SHAPES = ("path", "line", "rect", "circle", "text", "tspan", "stop")
_GROUPS = ("g", "defs", "clipPath", "linearGradient", "radialGradient")
_TAGS = {f"{_SPACE}{name}": name for name in (*_GROUPS, *_SHAPES)} | {f"{_SPACE}a": "g"}  # a link becomes a group
_GEOMETRY = {"transform", "d", "x", "y", "x1", "x2", "y1", "y2", "cx", "cy", "dx", "dy", "r", "width", "height"}
# Attributes that elements take over from the group around them.
_STROKES = ("dasharray", "linecap", "linejoin", "miterlimit", "opacity", "width")
_INHERITED = {"fill", "fill-opacity", "font-size", "font-style", "font-weight", "stroke", "text-anchor"}
_INHERITED |= {f"stroke-{part}" for part in _STROKES}
TIP = "data-words"  # what a mark says when it is pointed at
_OWN = {"clip-path", "gradientUnits", "offset", "opacity", "stop-color", "stop-opacity"}
_ALLOWED = _GEOMETRY | _INHERITED | _OWN
_DEFAULTS = {("opacity", "1"), ("stroke-width", "1"), ("stroke-opacity", "1"), ("fill-opacity", "1"), ("d", "")}
# Texts of the usual size follow the style sheet.
_DEFAULTS |= {("font-size", "13px"), ("transform", "translate(0,0)"), ("font-weight", "normal")}
_SAFE = re.compile(r"[-\w.,#()%\s+]*")
_ADDRESS = re.compile(r"url\((?!#[\w-]+\))", re.IGNORECASE)
_REFERENCE = re.compile(r"url\(#([\w-]+)\)")
_FRACTION = re.compile(r"-?\d+\.\d+(?:e-?\d+)?")
_TRANSLATED = re.compile(r"translate\(([-\d.]+),([-\d.]+)\)")
_CIRCLE = re.compile(r"M([\d.]+),0A\1,\1,0,1,1,-\1,0A\1,\1,0,1,1,\1,0")
_CLASSES = re.compile(r"(mark-[a-z]+ role-(?:mark|axis-label|legend-label|title-text))\b.*")
_MARKS = "m"  # the class of a group of marks that carry their values
_MOST_POINTS = 36  # of a line, that carry their values
_PARSER = etree.XMLParser(resolve_entities=False, no_network=True, remove_comments=True, remove_pis=True)
NARROW = "narrow"  # the shape of a picture whose labels are those of the wide one
Element = Any


@dataclass(slots=True)
class _Node:
    tag: str
    attributes: dict[str, str]
    text: str = ""
    children: "list[_Node]" = field(default_factory=list)

    def write(self) -> str:
        inside = escape(self.text, quote=False) + "".join(child.write() for child in self.children)
        said = "".join(f' {name}="{escape(value)}"' for name, value in self.attributes.items())
        return f"<{self.tag}{said}>{inside}</{self.tag}>" if inside else f"<{self.tag}{said}/>"


def picture(svg: str, colours: Mapping[str, str], label: str, prefix: str, shape: str, by: str) -> str:
    """Return the SVG for a page: its elements and attributes are those that are listed here, and nothing else.

    `colours` has the CSS variable of each colour, `label` is the sentence that stands for the picture, `prefix` begins
    every id. `shape` becomes a class, and `by` says what a tooltip is about. Raises ReportError for what is no SVG.
    """
    try:
        root = etree.fromstring(svg.encode(), _PARSER)
    except etree.XMLSyntaxError as error:
        raise ReportError(f"A chart cannot be drawn: {error}.") from None
    width, height = root.get("width"), root.get("height")
    for group in root.iter(f"{_SPACE}g"):
        kind = group.get("class") or ""
        if "role-mark" in kind:
            _mark(group, shape != NARROW)
        elif "role-title" in kind:  # whose words stand there; "Title text …" would be in English
            group.attrib.pop("aria-label", None)
    said = {"class": shape, "role": "img", "aria-label": label, "viewBox": f"0 0 {width} {height}", "data-by": by}
    said |= {"style": f"max-width:{width}px"} if shape == "own" else {}
    return _Node("svg", said, children=list(_kept(root, _Cleaner(colours, prefix), False))).write()


@dataclass
class _Cleaner:
    """Keeps what is allowed of elements and attributes."""

    colours: Mapping[str, str]
    prefix: str
    ids: dict[str, str] = field(default_factory=dict)  # vl-convert counts on through all pictures of its process

    def node(self, element: Element, tag: str) -> _Node:
        attributes = dict(self._attributes(element))
        if tag == "path" and (found := _CIRCLE.fullmatch(attributes.get("d", ""))):
            at = _TRANSLATED.fullmatch(attributes.pop("transform", "translate(0,0)"))
            del attributes["d"]
            return _Node("circle", ({"cx": at[1], "cy": at[2]} if at else {}) | {"r": found[1]} | attributes)
        return _Node(tag, attributes, element.text or "" if tag in ("text", "tspan") else "")

    def _attributes(self, element: Element) -> Iterator[tuple[str, str]]:
        for name, value in element.items():
            if name == "aria-label":  # which a mark without a role may not have
                yield TIP, value
            elif name == "class" and (found := _CLASSES.fullmatch(value)):
                yield name, found[1] + (f" {_MARKS}" if value.endswith(f" {_MARKS}") else "")
            elif name == "id" and _SAFE.fullmatch(value):
                yield name, self._id(value)
            elif _is_allowed(name, value):
                if name in _GEOMETRY:
                    yield name, _rounded(value) if "." in value else value
                else:
                    yield (
                        name,
                        _REFERENCE.sub(lambda at: f"url(#{self._id(at[1])})", self.colours.get(value.lower(), value)),
                    )

    def _id(self, drawn: str) -> str:
        return self.ids.setdefault(drawn, f"{self.prefix}-{len(self.ids) + 1}")


@lru_cache(maxsize=2_048)
def _is_allowed(name: str, value: str) -> bool:
    is_safe = name in _ALLOWED and _SAFE.fullmatch(value) and not _ADDRESS.search(value)
    return bool(is_safe) and (name, value) not in _DEFAULTS


def _rounded(text: str) -> str:
    return _FRACTION.sub(lambda match: f"{round(float(match[0]), 1) + 0.0:.1f}".removesuffix(".0"), text)


def _mark(group: Element, is_labelled: bool) -> None:
    """Leave values at some points of a line, none at the line itself (they are of its first point), or at no mark."""
    kind = group.get("class").split()
    marks = [each for each in group if each.get("aria-label")]
    if "mark-line" in kind or "mark-area" in kind:
        marks, is_labelled = [], False
    points = [mark for mark in marks if mark.get("opacity") == "0"]
    places = sorted({_place(point) for point in points})
    step = max(1, (len(places) - 1) / (_MOST_POINTS - 1))
    kept = {places[round(step * nth)] for nth in range(min(_MOST_POINTS, len(places)))}
    for point in points:
        if _place(point) not in kept:
            group.remove(point)
    if marks:
        group.set("class", f"{group.get('class')} {_MARKS}")
    for mark in group if not is_labelled else ():
        mark.attrib.pop("aria-label", None)


def _place(point: Element) -> float:
    found = _TRANSLATED.fullmatch(point.get("transform", ""))
    return float(found[1]) if found else 0.0


def _kept(element: Element, cleaner: _Cleaner, is_marks: bool) -> Iterator[_Node]:
    """Yield what is left of the inside of an element: no group that holds nothing, or that says nothing."""
    for child in element:
        tag = _TAGS.get(child.tag)
        if tag is None or _is_idle(child, is_marks):
            continue
        node = cleaner.node(child, tag)
        if len(child):
            node.children = list(_kept(child, cleaner, node.attributes.get("class", "").endswith(f" {_MARKS}")))
            _hoist(node)
        if tag == "g" and not node.attributes:
            yield from node.children
        elif node.children or tag != "g":
            yield node


def _is_idle(element: Element, is_mark: bool) -> bool:
    """Whether nothing of an element is seen, such as a label that would overlap another."""
    if element.get("opacity") == "0" and not is_mark:
        return True
    is_frame = element.get("class") in ("background", "foreground")
    painted = {element.get("fill", "none"), element.get("stroke", "none")} - {"none", "transparent"}
    return element.get("display") == "none" or (is_frame and not painted)


def _hoist(node: _Node) -> None:
    """Say once, at a group, what all its elements have in common."""
    if node.tag != "g" or not node.children:
        return
    common = set(node.children[0].attributes.items())
    for child in node.children:
        common &= child.attributes.items()
    for name, value in sorted(common):
        if name in _INHERITED:
            node.attributes[name] = value
            for child in node.children:
                del child.attributes[name]
