"""Content of a message, read once: its links in order, and a safe copy with a marker where a badge may stand.

`lxml` parses HTML as browsers do and reports events. No tree is built, since that is quadratic where a tag has many
attributes; only what is shown is written, nested no deeper than in browsers.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from html import escape
from typing import Any, NamedTuple

import lxml.etree

from trackkit.analysis.sanitize import ATTRIBUTES, BADGE, DROPPED, TAGS, safe_fragment, too_heavy

__all__ = ["Content", "Place", "read_content"]

TEXT_URL = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]{0,20}://[^\s<>\"]+")
TRAILING = ".,;:!?'"  # punctuation after an address, not part of it
CLOSING = {"(": ")", "[": "]", "{": "}"}
DEEPEST, LONGEST_WORDS = 512, 200
BLOCKS = dict.fromkeys(("html", "head", "body"), "div") | dict.fromkeys(("plaintext", "xmp"), "pre")
EMPTY = {"br", "col", "hr", "img", "wbr"}
# Content between cells belongs before the table. nh3 would also move it there, but in quadratic time.
OF_TABLES = {"caption", "col", "colgroup", "tbody", "td", "tfoot", "th", "thead", "tr"}
BETWEEN_CELLS = {"table", "thead", "tbody", "tfoot", "tr", "colgroup"}
BLANK = " \t\n\f\r"
MARK = f'<span class="{BADGE}" title="%d"></span>'  # no message can contain it: classes are removed
_MARKS = re.compile(re.escape(MARK).replace("%d", "([0-9]+)"))


class Place(NamedTuple):
    """One link of the content: its address, its `data-url-id`, and its text."""

    url: str
    link_id: str | None = None
    text: str = ""


class Content(NamedTuple):
    """The links of a message in order, and its safe fragment with a marker for the badge of each."""

    places: tuple[Place, ...]
    fragment: str

    def with_badges(self, badges: Sequence[str | None]) -> str:
        """Return the fragment with a badge, or nothing, at each place."""
        return _MARKS.sub(lambda mark: badges[int(mark[1])] or "", self.fragment)


@lru_cache(maxsize=4)
def read_content(body: str | None, format: str) -> Content:
    """Read HTML or plain text; empty if the content is too heavy to be shown."""
    if not body or too_heavy(body):
        return Content((), "")
    if format == "text":
        return _read_text(body)
    reader = _MessageReader()
    parser = lxml.etree.HTMLParser(encoding="utf-8", huge_tree=True, target=reader)
    lxml.etree.fromstring(body.encode("utf-8", "replace"), parser)
    return Content(tuple(reader.places()), safe_fragment("".join(_flatten(reader.written))))


def _read_text(body: str) -> Content:
    places, parts, last, opened = list[Place](), list[str](), 0, list[str]()
    while match := TEXT_URL.search(body, last):
        opened = _unclosed(body[last : match.start()], opened)
        url = _ended(match.group(), opened)
        end = match.start() + len(url)
        parts += [escape(body[last:end]), MARK % len(places)]
        places.append(Place(url))
        last = end
    return Content(tuple(places), safe_fragment(f"<pre>{''.join(parts)}{escape(body[last:])}</pre>"))


def _unclosed(text: str, opened: list[str]) -> list[str]:
    """The closing delimiters that are awaited after a text, those `opened` before it included; a paragraph ends all."""
    *ended, last = re.split(r"\n\s*\n", text)
    awaited = [] if ended else list(opened)
    for letter in re.findall(r"[()\[\]{}]", last):
        if letter in CLOSING:
            awaited.append(CLOSING[letter])
        elif letter in awaited:
            del awaited[len(awaited) - 1 - awaited[::-1].index(letter) :]
    return awaited[-DEEPEST:]


def _ended(url: str, opened: list[str]) -> str:
    """The address without what follows it: from a closing delimiter that was opened before it, and punctuation.

    >>> _ended("https://x.example/a).", [")"]), _ended("https://x.example/a_(b),", [])
    ('https://x.example/a', 'https://x.example/a_(b)')
    """
    inner, strays = list[str](), list[int]()
    for place, letter in enumerate(url):
        if letter in CLOSING:
            inner.append(CLOSING[letter])
        elif letter in CLOSING.values() and inner and inner[-1] == letter:
            inner.pop()
        elif letter in CLOSING.values() and letter in opened:
            url = url[:place]
            break
        elif letter in CLOSING.values():
            strays.append(place)
    end = len(url)
    while end and (url[end - 1] in TRAILING or end - 1 in strays):
        end -= 1
    return url[:end]


class _Link(NamedTuple):
    """A link, and the range of its content among all texts and among all alternative texts of images."""

    attributes: Mapping[str, str]
    begins: tuple[int, int]
    ends: tuple[int, int]


class _Element(NamedTuple):
    """An open element: its tag (its parent's if nested too deep), how and where it is written, its link's number."""

    tag: str
    name: str | None
    into: list[Any]
    link: int | None


class _Table(NamedTuple):
    """An open table: what is written into it, before it, and after it."""

    within: list[Any]
    before: list[Any]
    after: list[Any]


class _MessageReader:
    """Receives the parser's events, ordered and balanced, and writes what may be shown."""

    def __init__(self) -> None:
        self.written: list[Any] = []
        self.links: list[_Link] = []
        self._texts: list[str] = []
        self._alts: list[str] = []
        self._open = [_Element("", None, self.written, None)]
        self._tables: list[_Table] = []
        self._dropped = 0  # depth within an element left out with its content
        self._maps, self._of_map = 0, list[int]()  # links of an image map, whose badges stand after it

    def start(self, tag: str, attributes: Mapping[str, str]) -> None:
        """An element begins."""
        if self._dropped or tag in DROPPED:
            self._dropped += 1
            return
        link, into = self._link(tag, attributes), self._target_for(tag)
        self._maps += tag == "map"
        if len(self._open) > DEEPEST:
            self._open.append(_Element(self._open[-1].tag, None, into, link))
            return
        name = BLOCKS.get(tag, tag if tag in TAGS else None)
        self._open.append(_Element(tag, name, into, link))
        if tag == "table":
            self._tables.append(_Table(into, [], []))
            into.append(self._tables[-1].before)
        if name:
            into.append(f"<{name}{_attributes(tag, name, attributes)}>")

    def end(self, tag: str) -> None:
        """The innermost element ends."""
        if self._dropped:
            self._dropped -= 1
            return
        _, name, into, link = self._open.pop()
        if name and name not in EMPTY:
            into.append(f"</{name}>")
        if name == "table":
            into.append(self._tables.pop().after)
        if link is not None:
            self.links[link] = self.links[link]._replace(ends=(len(self._texts), len(self._alts)))
            self._of_map.append(link) if tag == "area" and self._maps else into.append(MARK % link)
        if tag == "map":
            self._maps -= 1
            into.extend(MARK % link for link in self._of_map)
            self._of_map = []

    def data(self, text: str) -> None:
        """Text of the innermost element."""
        if self._dropped:
            return
        into = self._target_for("") if text.strip(BLANK) else self._open[-1].into
        into.append(escape(text, quote=False))
        words = re.sub(r"\s+", " ", text)[: 2 * LONGEST_WORDS]
        if words != " " or not (self._texts and self._texts[-1].endswith(" ")):
            self._texts.append(words)

    def close(self) -> None:
        """The message ends."""

    def places(self) -> Iterator[Place]:
        """Yield the links that were read."""
        for attributes, (text, alt), (text_end, alt_end) in self.links:
            words = " ".join("".join(self._texts[text : min(text_end, text + 2 * LONGEST_WORDS)]).split())
            words = words or attributes.get("alt", "") or " ".join(self._alts[alt : min(alt_end, alt + LONGEST_WORDS)])
            link_id = attributes.get("data-url-id", "").strip() or None
            yield Place(attributes["href"].strip(), link_id, words[:LONGEST_WORDS])

    def _target_for(self, tag: str) -> list[Any]:
        """Where to write an element, or text (""): by HTML's rules, content between cells goes before the table."""
        parent = self._open[-1]
        if tag in OF_TABLES and self._tables:
            return self._tables[-1].within
        if parent.tag not in BETWEEN_CELLS or not self._tables:
            return parent.into
        return self._tables[-1].after if tag == "table" else self._tables[-1].before

    def _link(self, tag: str, attributes: Mapping[str, str]) -> int | None:
        begins = (len(self._texts), len(self._alts))
        if tag == "img" and "alt" in attributes:
            self._alts.append(attributes["alt"][:LONGEST_WORDS])
        if tag not in ("a", "area") or "href" not in attributes:
            return None
        self.links.append(_Link(attributes, begins, begins))
        return len(self.links) - 1


def _attributes(tag: str, name: str, attributes: Mapping[str, str]) -> str:
    """The attributes that may be shown; a body, written as a block, keeps its colour."""
    allowed = ATTRIBUTES["*"] | ATTRIBUTES.get(name, set())
    kept = {key: value for key, value in attributes.items() if key in allowed}
    if BLOCKS.get(tag) == "div" and kept.get("bgcolor"):
        kept["style"] = f"background-color:{kept['bgcolor']};{kept.get('style', '')}"
    return "".join(f' {key}="{escape(value)}"' for key, value in kept.items())


def _flatten(parts: Iterable[Any]) -> Iterator[str]:
    """Yield the texts of nested parts in order, without recursion."""
    stack = [iter(parts)]
    while stack:
        for part in stack[-1]:
            if isinstance(part, str):
                yield part
            else:
                stack.append(iter(part))
                break
        else:
            stack.pop()
