"""Message content made safe to display: nothing runs, nothing is fetched, no link leads anywhere.

`nh3` (an HTML5 parser and allow-list) has the last word; inline styles pass a CSS parser (`tinycss2`) first. The page
also has its own content-security policy, and is meant for a sandboxed frame.
"""

import re
from collections import Counter
from functools import lru_cache
from html import escape
from typing import Any

import nh3
import tinycss2

__all__ = ["page", "safe_fragment", "safe_style", "sentence", "too_heavy"]

BADGE = "click-share"


def _words(text: str) -> set[str]:
    return set(text.split())


_TAG = re.compile(r"<(/?)([A-Za-z][A-Za-z0-9]{0,30})")
_VOID = _words("area base br col embed hr img input link meta param source wbr")
# A hostile message must not hang a report: nh3 is quadratic in ampersands, and mail readers cut messages far sooner.
MOST_CHARACTERS, MOST_AMPERSANDS = 8_000_000, 200_000
MOST_STEPS = 1_000_000_000  # takes lxml seconds: it searches all open elements for each end tag
TAGS = _words("""
    a abbr address article aside b big blockquote br caption center cite code col colgroup dd del div dl dt em
    figcaption figure font footer h1 h2 h3 h4 h5 h6 header hr i img ins kbd li main mark nav ol p pre q s samp section
    small span strike strong sub sup table tbody td tfoot th thead tr tt u ul var wbr
""")
# Removed with their content.
DROPPED = _words("iframe math noembed noframes noscript script select style svg template textarea title")
ATTRIBUTES = {
    "*": _words("align bgcolor dir height lang style title valign width"),
    "col": {"span"},
    "colgroup": {"span"},
    "td": _words("colspan nowrap rowspan"),
    "th": _words("colspan nowrap rowspan"),
    "font": _words("color face size"),
    "img": _words("alt border src"),
    "ol": _words("start type"),
    "table": _words("border cellpadding cellspacing"),
}
SIDES = [f"-{side}" for side in ("top", "right", "bottom", "left")]
PROPERTIES = _words("""
    background background-color border-collapse border-radius border-spacing box-sizing clear color direction display
    float font font-family font-size font-style font-variant font-weight height letter-spacing line-height
    list-style-type max-height max-width min-height min-width overflow table-layout text-align text-decoration
    text-indent text-transform vertical-align visibility white-space width word-break word-spacing word-wrap
""")
PROPERTIES |= {f"{name}{side}" for name in ("border", "margin", "padding") for side in ["", *SIDES]}
PROPERTIES |= {f"border{side}-{what}" for side in ["", *SIDES] for what in ("color", "style", "width")}
FUNCTIONS = _words("rgb rgba hsl hsla")
VALUES = _words("ident number percentage dimension hash string whitespace literal")
IMAGES = tuple(f"data:image/{kind};base64," for kind in ("png", "gif", "jpeg", "jpg", "webp"))
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
STYLE = (
    ":root{color-scheme:light;background:#fff;color:#222;font-family:sans-serif;print-color-adjust:exact}"
    "a{color:#0b57d0;text-decoration:underline}pre{white-space:pre-wrap;overflow-wrap:anywhere}"
    f".{BADGE}{{display:inline-block;margin:0 .3em;padding:.1em .5em;border-radius:1em;background:#b00020;color:#fff;"
    "font:bold 12px/1.4 sans-serif;text-decoration:none;white-space:nowrap;vertical-align:middle}"
)


def safe_fragment(html: str) -> str:
    """Return HTML without scripts, handlers, forms, frames, comments, external resources or link targets.

    Raster images embedded as `data:` stay, and so do layout and inline styles with known properties and values.

    >>> safe_fragment('<a href="https://x.example" onclick="f()" style="color:red;behavior:url(x)">hello</a>')
    '<a style="color:red">hello</a>'
    >>> safe_fragment('<img src="https://x.example/open.gif" alt="Spring"><script>f()</script>')
    '<img alt="Spring">'
    """
    return nh3.clean(
        html,
        tags=TAGS,
        clean_content_tags=DROPPED,
        attributes=ATTRIBUTES,
        attribute_filter=_safe_attribute,
        allowed_classes={"span": {BADGE}},
        url_schemes={"data"},
        url_relative="deny",
        link_rel=None,
    )


def page(fragment: str) -> str:
    """Return a whole document around a safe fragment, to be shown in `<iframe sandbox srcdoc>`."""
    policy = f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
    head = f'<meta charset="utf-8">{policy}<title>Message</title><style>{STYLE}</style>'
    return f'<!doctype html><html lang="en"><head>{head}</head><body>{fragment}</body></html>'


def too_heavy(html: str) -> bool:
    """Return whether content is larger than any real message, so that making it safe could take minutes."""
    return len(html) > MOST_CHARACTERS or html.count("&") > MOST_AMPERSANDS or _closing_steps(html) > MOST_STEPS


def _closing_steps(html: str) -> int:
    """An upper bound of the open elements at each end tag, summed; in well-formed HTML, their depth."""
    unclosed, open_count, steps = Counter[str](), 0, 0
    for is_end, name in _TAG.findall(html):
        tag = name.lower()
        steps += open_count if is_end else 0
        if not is_end and tag not in _VOID:
            unclosed[tag] += 1
            open_count += 1
        elif is_end and unclosed[tag]:
            unclosed[tag] -= 1
            open_count -= 1
    return steps


def sentence(text: str) -> str:
    """Return one paragraph of plain text as a safe page.

    >>> "<p>1 &lt; 2</p>" in sentence("1 < 2")
    True
    """
    return page(f"<p>{escape(text)}</p>")


def _safe_attribute(tag: str, name: str, value: str) -> str | None:
    if name == "style":
        return safe_style(value) or None
    if name == "src":
        return value if value.lower().startswith(IMAGES) else None
    return value


@lru_cache(maxsize=4096)
def safe_style(css: str) -> str:
    r"""Return the declarations of an inline style that cannot load, run or cover anything.

    >>> safe_style("COLOR: #fff; background: red u\\72l(//x) no-repeat; position: fixed; width: expression(f())")
    'color:#fff;background:red  no-repeat'
    """
    if len(css) > 10_000:
        return ""
    nodes = tinycss2.parse_blocks_contents(css, skip_comments=True, skip_whitespace=True)
    allowed = [node for node in nodes if node.type == "declaration" and node.lower_name in PROPERTIES]
    values = [(node, _safe_value(node)) for node in allowed]
    return ";".join(f"{node.lower_name}:{value}{' !important' * node.important}" for node, value in values if value)


def _safe_value(declaration: Any) -> str:
    return str(tinycss2.serialize([token for token in declaration.value if _is_safe(token)])).strip()


def _is_safe(token: Any) -> bool:
    """A plain token, or a colour function of plain tokens; never a URL, a block or another function."""
    if token.type == "function":
        return token.lower_name in FUNCTIONS and all(argument.type in VALUES for argument in token.arguments)
    return token.type in VALUES
