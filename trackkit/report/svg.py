"""An SVG as vl-convert writes it -> one for a page: nothing in it but shapes and text, in the page's colours, short."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from lxml import etree

from trackkit.errors import ReportError

_SPACE = "{http://www.w3.org/2000/svg}"
_SHAPES = ("path", "line", "rect", "circle", "text", "tspan", "stop")
_TAGS = {
    f"{_SPACE}{name}": f"{_SPACE}{name}"
    for name in ("g", "defs", "clipPath", "linearGradient", "radialGradient", *_SHAPES)
} | {f"{_SPACE}a": f"{_SPACE}g"}
_GEOMETRY = {"transform", "d", "x", "y", "x1", "x2", "y1", "y2", "cx", "cy", "dx", "dy", "r", "width", "height"}
# Attributes that elements take over from the group around them.
_INHERITED = {
    "fill",
    "fill-opacity",
    "font-size",
    "font-style",
    "font-weight",
    "stroke",
    "stroke-dasharray",
    "stroke-linecap",
    "stroke-linejoin",
    "stroke-miterlimit",
    "stroke-opacity",
    "stroke-width",
    "text-anchor",
}
TIP = "data-words"  # what a mark says when it is pointed at
_OWN = {"class", "clip-path", "gradientUnits", "id", "offset", "opacity", "stop-color", "stop-opacity"}
_ALLOWED = _GEOMETRY | _INHERITED | _OWN
_DEFAULTS = {("opacity", "1"), ("stroke-width", "1"), ("stroke-opacity", "1"), ("fill-opacity", "1"), ("d", "")}
# Texts of this size follow the style sheet.
_DEFAULTS |= {("font-size", "13px"), ("transform", "translate(0,0)"), ("font-weight", "normal")}
_SAFE = re.compile(r"[-\w.,#()%\s+\"']*")
_ADDRESS = re.compile(r"url\((?:\"|')?(?!#)", re.IGNORECASE)
_REFERENCE = re.compile(r"url\(#([\w-]+)\)")
_FRACTION = re.compile(r"-?\d+\.\d+(?:e-?\d+)?")
_TRANSLATED = re.compile(r"translate\(([-\d.]+),([-\d.]+)\)")
_CIRCLE = re.compile(r"M([\d.]+),0A\1,\1,0,1,1,-\1,0A\1,\1,0,1,1,\1,0")
_MARKS = "m"  # the class of a group of marks that carry their values
_CLASSES = re.compile(r"(mark-[a-z]+ role-(?:mark|axis-label|legend-label|title-text))\b.*")
_MOST_POINTS = 36  # of a line, that carry their values
Element = Any
NARROW = "narrow"  # the shape of a picture whose labels are those of the wide one
_PARSER = etree.XMLParser(resolve_entities=False, no_network=True, remove_comments=True, remove_pis=True)


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
        _mark(group, shape != NARROW)
    _clean(root, colours, prefix)
    _hoist(root)
    root.attrib.clear()
    root.attrib.update({"class": shape, "role": "img", "aria-label": label, "viewBox": f"0 0 {width} {height}"})
    root.attrib.update({"data-by": by, "style": f"max-width:{width}px"} if shape == "own" else {"data-by": by})
    etree.cleanup_namespaces(root)
    return str(etree.tostring(root, encoding="unicode")).replace(' xmlns="http://www.w3.org/2000/svg"', "", 1)


def _mark(group: Element, is_labelled: bool) -> None:
    """Leave values at some points of a line, none at the line itself (they are of its first point), or at no mark."""
    kind = (group.get("class") or "").split()
    marks = [each for each in group if each.get("aria-label")] if "role-mark" in kind else []
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


def _clean(element: Element, colours: Mapping[str, str], prefix: str) -> None:
    """Remove what is not allowed or not seen, from the inside out; a link becomes a group."""
    is_marks = (element.get("class") or "").endswith(f" {_MARKS}")
    for child in list(element):
        child.tag = _TAGS.get(child.tag, "")
        if child.tag and not _is_idle(child, is_marks):
            _clean(child, colours, prefix)
            if child.tag != f"{_SPACE}g" or len(child):
                continue
        element.remove(child)
    if found := _CIRCLE.fullmatch(element.get("d", "")):
        element.tag = f"{_SPACE}circle"
        del element.attrib["d"]
        element.set("r", found[1])
        if at := _TRANSLATED.fullmatch(element.get("transform", "")):
            del element.attrib["transform"]
            element.attrib.update({"cx": at[1], "cy": at[2]})
    kept = dict(_attributes(element, colours, prefix))
    element.attrib.clear()
    element.attrib.update(kept)


def _is_idle(element: Element, is_mark: bool) -> bool:
    """Whether nothing of an element is seen, such as a label that would overlap another."""
    is_frame = element.get("class") in ("background", "foreground")
    painted = {element.get("fill", "none"), element.get("stroke", "none")} - {"none", "transparent"}
    is_unseen = element.get("opacity") == "0" and not is_mark
    return element.get("display") == "none" or is_unseen or (is_frame and not painted)


def _attributes(element: Element, colours: Mapping[str, str], prefix: str) -> Iterator[tuple[str, str]]:
    for name, value in element.attrib.items():
        if name == "aria-label":  # which a mark without a role may not have
            yield TIP, value
        if name not in _ALLOWED or not _SAFE.fullmatch(value) or _ADDRESS.search(value) or (name, value) in _DEFAULTS:
            continue
        if name in _GEOMETRY:
            yield name, _FRACTION.sub(_rounded, value)
        elif name == "id":
            yield name, f"{prefix}-{value}"
        elif name == "class":
            marks = f" {_MARKS}" if value.endswith(f" {_MARKS}") else ""
            yield from [(name, found[1] + marks)] if (found := _CLASSES.fullmatch(value)) else []
        else:
            yield name, _REFERENCE.sub(rf"url(#{prefix}-\1)", colours.get(value.lower(), value))


def _rounded(match: re.Match[str]) -> str:
    return f"{round(float(match[0]), 1) + 0.0:.1f}".removesuffix(".0")


def _hoist(element: Element) -> None:
    """Say once, at a group, what all its elements have in common, and drop groups that say nothing."""
    for child in list(element):
        _hoist(child)
    if len(element) and element.tag == f"{_SPACE}g":
        common = set(element[0].attrib.items())
        for child in element:
            common &= set(child.attrib.items())
        for name, value in common:
            if name in _INHERITED:
                element.set(name, value)
                for child in element:
                    del child.attrib[name]
    if element.tag == f"{_SPACE}g" and not element.attrib:
        _unwrap(element)


def _unwrap(group: Element) -> None:
    parent = group.getparent()
    place = parent.index(group)
    parent[place : place + 1] = list(group)
