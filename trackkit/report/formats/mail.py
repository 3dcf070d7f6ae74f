"""A page as an unsent e-mail: its answer, charts as inline images, tables cut short, in HTML and in plain text.

Mail programs drop scripts, SVG and most style sheets, and some cut a message above 100 kB: so simple tables with their
styles inline, and pictures beside them in the same message. It names no sender and no reader, and nobody sends it here.
"""

import hashlib
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from email.message import EmailMessage
from email.policy import SMTP
from functools import lru_cache
from html import unescape
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from lxml.html import fragment_fromstring

from trackkit import resources
from trackkit.errors import ReportError
from trackkit.language import say, several, speech
from trackkit.report.formats.sheets import data_of
from trackkit.report.html_page import Contents
from trackkit.report.picture import png
from trackkit.report.template import SKIN
from trackkit.show.data import shown
from trackkit.show.theme import theme
from trackkit.show.wording import NOT_AVAILABLE, clipped

TEMPLATE = "mail.html.j2"
MOST_BYTES = 95_000  # of HTML: above 100 kB some programs cut a message
ROWS = (15, 8, 4, 0)  # rows of each table: fewer if the message would be too long
MOST_COLUMNS = 6
WIDE, SCALE = 566, 2  # the width of a picture, and its pixels for one of the message
_MARK = re.compile(r'<a class="tk-what".*?</a>')  # of a definition: it leads nowhere here
_PARTS = {
    "name": "span[@class='tk-name']",
    "value": "strong",
    "of": "span[@class='tk-of']",
    "usual": "span[starts-with(@class, 'tk-usual')]",
}
_TAG, _GAPS = re.compile(r"<(style|script|svg)\b.*?</\1>|<[^>]+>", re.DOTALL), re.compile(r"\s+")


def eml(contents: Contents) -> bytes:
    """Return the message: subject, HTML with its pictures, and plain text; `To` is empty and `X-Unsent` is 1.

    The subject is the title of the report and what it is about, on one line whatever a log says. The same page gives
    the same bytes but for "Calculated". Raises ReportError as the page does.
    """
    pictures = dict(_pictures(contents))
    message = EmailMessage(policy=SMTP)
    about = filter(None, dict.fromkeys((contents["title"], contents["header"]["heading"])))
    message["Subject"] = clipped(_GAPS.sub(" ", " · ".join(about)), 200)
    message["To"] = ""
    message["X-Unsent"] = "1"
    message.set_content(as_text(contents))
    message.add_alternative(
        html(contents, {name: _width(picture) for name, picture in pictures.items()}), subtype="html"
    )
    related: Any = list(message.iter_parts())[1]
    for name, picture in pictures.items():
        related.add_related(
            picture, "image", "png", cid=f"<{_cid(name)}>", filename=f"{name}.png", disposition="inline"
        )
    for place, part in enumerate(part for part in message.walk() if part.is_multipart()):
        digest = hashlib.sha256("".join([*pictures, str(message["Subject"])]).encode()).hexdigest()
        part.set_boundary(f"=_{place}_{digest[:32]}")  # else another one each time
    return message.as_bytes()


def _width(png: bytes) -> int:
    """The width that a picture has in the message, by its header."""
    return min(WIDE, int.from_bytes(png[16:20]) // SCALE)


def _cid(name: str) -> str:
    return f"{name}@trackkit.invalid"


def _pictures(contents: Contents) -> Iterator[tuple[str, bytes]]:
    """Yield the charts of a page as pictures in the light colours of the theme, by the id of their piece."""
    for section in contents["sections"]:
        for piece in section["pieces"]:
            if piece["kind"] == "chart" and not piece["empty"]:
                with suppress(ReportError):  # its sentence is shown instead, as on the page
                    yield piece["id"], png(piece["spec"], theme(), contents["locale"], WIDE, SCALE)


def html(contents: Contents, pictures: Mapping[str, int]) -> str:
    """Return the HTML of the message, its tables as long as its size allows; it runs and loads nothing."""
    light, dark = theme().light.named(), theme().dark.named()
    template = _environment(tuple(resources.folders(SKIN)), contents["locale"]).get_template(TEMPLATE)
    for rows in ROWS:
        sections = list(_sections(contents, pictures, rows))
        made = template.render(page=contents, sections=sections, cid=_cid, light=light, dark=dark, fonts=theme().fonts)
        if len(made.encode()) <= MOST_BYTES:
            break
    return made


@lru_cache(maxsize=16)
def _environment(folders: tuple[Path, ...], lang: str) -> Environment:
    loader = FileSystemLoader([str(folder) for folder in folders])
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    environment.globals |= speech(lang)
    return environment


def _sections(contents: Contents, pictures: Mapping[str, int], most: int) -> Iterator[dict[str, Any]]:
    """Yield what a message shows of each section: its heading, its pictures and its tables, cut to some rows."""
    for section in contents["sections"]:
        pieces = [_piece(piece, contents, pictures, most) for piece in section["pieces"]]
        heading = section.get("finding") or section["title"]
        topic = section["title"] if section.get("finding") else ""
        yield {"heading": heading, "topic": topic, "pieces": [piece for piece in pieces if piece]}


def _piece(
    piece: Mapping[str, Any], contents: Contents, pictures: Mapping[str, int], most: int
) -> dict[str, Any] | None:
    lang = contents["locale"]
    if piece["id"] in pictures:
        return {"picture": piece["id"], "words": str(piece["description"]), "width": pictures[piece["id"]]}
    if piece["empty"]:
        is_chart = piece["kind"] == "chart"
        words = say("Nothing to draw: there is no such event.", lang) if is_chart else say("Nothing to list.", lang)
        return {"words": words}
    if piece["kind"] == "chart":
        behind = data_of(piece)
        return _table(behind, contents, most) if behind else {"words": piece["description"]}
    if tiles := _tiles(piece):
        return {"tiles": tiles}
    if piece.get("data"):
        return _table(piece["data"], contents, most)
    words = _words_of(piece)
    return {"words": clipped(words, 600)} if words else None


def _table(data: Mapping[str, Any], contents: Contents, most: int) -> dict[str, Any]:
    columns = data["columns"][:MOST_COLUMNS]
    kinds, zone, lang = [column["kind"] for column in columns], contents["timezone"], contents["locale"]
    rows = [
        _filled([shown(value, kind, zone, lang) for value, kind in zip(row, kinds, strict=False)], lang)
        for row in data["rows"][:most]
    ]
    numeric = [column["kind"] != "text" for column in columns]
    left_out = len(data["rows"]) - len(rows)
    return {"columns": [column["label"] for column in columns], "rows": rows, "numeric": numeric, "left_out": left_out}


def _filled(cells: list[str], lang: str) -> list[str]:
    """Say once that nothing of a row is known, and leave a single cell empty: its column may not apply to the row."""
    unknown = say(NOT_AVAILABLE, lang)
    known = [cell if cell != unknown else "" for cell in cells]
    return known if any(known[1:]) or len(cells) < 2 else [known[0], unknown, *known[2:]]


def _tiles(piece: Mapping[str, Any]) -> list[dict[str, str]]:
    """The large figures of a piece: their name, their value, and what stands beneath."""
    if "tk-tile" not in (html := str(piece.get("html", ""))):
        return []
    root = fragment_fromstring(_MARK.sub("", html), create_parent="div")
    tiles = root.iterfind(".//li[@class='tk-tile']")
    return [{part: _text_at(tile, path) for part, path in _PARTS.items()} for tile in tiles]


def _text_at(tile: Any, path: str) -> str:
    found = tile.xpath(path)
    return _GAPS.sub(" ", found[0].text_content()).strip() if found else ""


def _words_of(piece: Mapping[str, Any]) -> str:
    """Return the words of a piece that is neither chart nor data, without its markup."""
    html = str(piece.get("html") or piece.get("text", ""))
    for mark, words in (("</h3>", ": "), ("</li><li>", "; ")):
        html = html.replace(mark, words)
    return _GAPS.sub(" ", unescape(_TAG.sub(" ", _MARK.sub("", html)))).strip().replace(" :", ":")


def as_text(contents: Contents) -> str:
    """Return the message as plain text: the header, its notes, and each section with its tables."""
    lang, header = contents["locale"], contents["header"]
    facts = " · ".join(f"{name}: {value}" for name, value in header["facts"])
    lines = [
        contents["title"],
        header["heading"],
        header["subtitle"],
        facts,
        *(f"! {note}" for note in header["notes"]),
    ]
    for section in _sections(contents, {}, ROWS[0]):
        lines += ["", section["heading"].upper() if not section["topic"] else section["heading"]]
        lines += [line for piece in section["pieces"] for line in _text_of(piece, lang)]
    lines += ["", f"{say('Calculated', lang)}: {contents['calculated']} ({contents['timezone']})"]
    return "\n".join(line for place, line in enumerate(lines) if line or place > 4) + "\n"


def _text_of(piece: Mapping[str, Any], lang: str) -> Iterator[str]:
    for tile in piece.get("tiles", ()):
        yield f"- {tile['name']}: {tile['value']}" + "".join(
            f", {tile[part]}" for part in ("of", "usual") if tile[part]
        )
    if "words" in piece:
        yield piece["words"]
    if "columns" not in piece:
        return
    for row in piece["rows"]:
        cells = [f"{column}: {cell}" for column, cell in zip(piece["columns"][1:], row[1:], strict=True) if cell]
        yield f"- {row[0]}" + (f" ({'; '.join(cells)})" if cells else "")
    if piece["left_out"]:
        yield several(
            "… and {count} more row on the page", "… and {count} more rows on the page", piece["left_out"], lang
        )
