"""Bold, emphasis and links in the texts of templates: a small part of Markdown, and never in a text of a log."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from markupsafe import Markup

SCHEMES = ("https", "http", "mailto")
_MARKED = re.compile(r"\*|\]\(")  # what has neither is plain, and is not parsed
_TAGS = {"strong": "strong", "emphasis": "em"}
Token = Mapping[str, Any]


def paragraphs(text: str) -> list[str]:
    """Return the paragraphs of a template's text, which blank lines divide: plain text, or HTML where it is marked.

    >>> paragraphs("Ask **us** at [the desk](https://example.com).")[0]
    Markup('Ask <strong>us</strong> at <a href="https://example.com" rel="noopener noreferrer">the desk</a>.')
    """
    parts = [part.strip() for part in text.split("\n\n")]
    return [_html(_tokens(part)) if _MARKED.search(part) else part for part in parts if part]


def require_links(text: str) -> str:
    """Return a text; ValueError if it has a picture, or a link to anything but a page or a mail address."""
    if _MARKED.search(text):
        for token in _every(_tokens(text)):
            if token["type"] == "image":
                raise ValueError("a text has no pictures: ![…] is one")
            if token["type"] == "link" and not _is_allowed(token["attrs"]["url"]):
                raise ValueError(
                    f"the link {token['attrs']['url'][:60]!r} is not one: it starts with https://, http:// or mailto:"
                )
    return text


def _is_allowed(url: str) -> bool:
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return parts.scheme in SCHEMES and bool(parts.path if parts.scheme == "mailto" else parts.netloc)


def _tokens(text: str) -> Sequence[Token]:
    from mistune import InlineParser  # only where a template uses it

    parser = InlineParser()
    parser.rules = ["escape", "emphasis", "link", "link_close"]
    state = parser.state_cls({"ref_links": {}})
    state.src = text
    return parser.render(state)


def _every(tokens: Sequence[Token]) -> Iterator[Token]:
    for token in tokens:
        yield token
        yield from _every(token.get("children", ()))


def _html(tokens: Sequence[Token]) -> Markup:
    """Write tokens as HTML; whatever is not bold, emphasis or a link is its text, escaped."""
    return Markup("").join(_element(token) for token in tokens)


def _element(token: Token) -> Markup:
    inner = _html(token["children"]) if "children" in token else Markup.escape(token.get("raw", " "))
    if tag := _TAGS.get(token["type"]):
        return Markup(f"<{tag}>{{}}</{tag}>").format(inner)
    if token["type"] == "link" and _is_allowed(token["attrs"]["url"]):
        return Markup('<a href="{}" rel="noopener noreferrer">{}</a>').format(token["attrs"]["url"], inner)
    return inner
