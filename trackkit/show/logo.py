"""A logo above every page: a small SVG or PNG beside the theme, written into the page, since a page loads nothing."""

import base64
import re

import lxml.etree
from markupsafe import Markup

from trackkit import resources
from trackkit.errors import RequestError
from trackkit.show.theme import SKIN, Logo, Theme

LARGEST = 50_000  # bytes: it stands in every page
PNG = b"\x89PNG\r\n\x1a\n"
_OUTSIDE = re.compile(r"url\(\s*['\"]?(?!#)|@import|javascript:", re.IGNORECASE)


def logo(chosen: Theme) -> Markup:
    """Return the picture of a theme's logo, "" without one; RequestError if it is large, broken or does anything."""
    if chosen.logo is None:
        return Markup("")
    data, kind = _checked(chosen.logo), "png" if chosen.logo.file.endswith(".png") else "svg+xml"
    picture = Markup('<img class="logo" height="{}" src="data:image/{};base64,{}" alt="{}">\n  ')
    return picture.format(chosen.logo.height, kind, base64.b64encode(data).decode(), chosen.logo.words)


def _checked(mark: Logo) -> bytes:
    path = resources.find(f"{SKIN}/{mark.file}")
    data = path.read_bytes()
    if len(data) > LARGEST:
        raise RequestError(f"{path} has {len(data):,} bytes: it stands in every page, so at most {LARGEST:,}.")
    if mark.file.endswith(".png"):
        if not data.startswith(PNG):
            raise RequestError(f"{path} is not a PNG.")
    elif fault := _fault(data):
        raise RequestError(f"{path} {fault}.")
    return data


def _fault(svg: bytes) -> str:
    """Say what an SVG has that a still picture does not need; "" if nothing."""
    parser = lxml.etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False)
    try:
        root = lxml.etree.fromstring(svg, parser)
    except lxml.etree.XMLSyntaxError:
        return "is not an SVG"
    if root.tag != "{http://www.w3.org/2000/svg}svg":
        return "is not an SVG"
    if root.getroottree().docinfo.doctype:
        return "has a document type, which a picture does not need"
    for element in root.iter(lxml.etree.Element):
        name = lxml.etree.QName(element).localname
        if name in ("script", "foreignObject", "iframe", "image", "a"):
            return f"has <{name}>, which a still picture does not need"
        for key, value in element.attrib.items():
            local = lxml.etree.QName(key).localname
            if local.startswith("on") or (local == "href" and not value.startswith("#")) or _OUTSIDE.search(value):
                return f"has {local}={value[:40]!r}: it may run and load nothing"
        if name == "style" and _OUTSIDE.search(element.text or ""):
            return "has a style that loads something"
    return ""
