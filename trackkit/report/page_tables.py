"""A table's HTML -> the same on a page: caption, row headers, labels for phones, room to scroll.

Our tables are great_tables objects, which analysts restyle; so this works on the HTML that they give.
"""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

import lxml.html
from lxml.html import HtmlElement
from markupsafe import Markup

_OURS = re.compile(r'\s*<div id="tk-[0-9a-f]{10}"')
_STYLE = re.compile(r"<style>.*?</style>", re.DOTALL)
_BLOCK = re.compile(r'\s*<div class="tk-block"')
WIDE = 3  # columns; with more of them a table is a list on a phone, unless they are narrow
FIGURES = 3  # columns of figures beside a name, which still fit there
FEW = 2  # rows; with more of them a table can be sorted
LONG = 20  # rows; with more of them a table scrolls by itself and has a box to filter it
BENEATH = ("tk-of", "tk-range")  # what stands beneath a figure
_NOISE = {"gt_row", "gt_left", "gt_col_heading", "gt_columns_bottom_border", "gt_center"}


def on_page(html: str, title: str, data: Mapping[str, Any] | None = None) -> Markup:
    """Return a displayed piece of HTML as it stands on a page: a table with its caption, anything else as it is.

    `title` names the table; `data` is that of `show.data.table_data`, if it has any.
    """
    if _BLOCK.match(html):
        return Markup(_STYLE.sub("", html, count=1))
    if not _OURS.match(html):  # of another library: it keeps its own style
        return Markup('<div class="scroll" tabindex="0" role="group" aria-label="{}">{}</div>').format(
            title, Markup(html)
        )
    frame = lxml.html.fragment_fromstring(_STYLE.sub("", html, count=1))
    table = frame.find(".//table")
    rows = table.findall("./tbody/tr")
    _set_head(table, title)
    _set_rows(table, rows)
    is_grouped = any(_is_heading(row) for row in rows)
    is_metrics = (data or {}).get("name") == "metrics"  # of several units, which cannot be compared
    heads = table.findall("./thead/tr/*") if is_metrics else []
    _align_parts(table, heads, [row for row in rows if not _is_heading(row)])
    if len(rows) > FEW and not is_grouped and not is_metrics:
        table.set("class", f"{table.get('class')} sortable")
    size = "scroll long" if len(rows) > LONG else "scroll"
    html = lxml.html.tostring(table, encoding="unicode", with_tail=False)
    scroll = Markup('<div class="{}" tabindex="0" role="group" aria-label="{}">{}</div>')
    return scroll.format(size, title, Markup(html))


def is_table(html: str) -> bool:
    """Whether a displayed piece is a table of ours, and not figures in large type or a sentence."""
    return bool(_OURS.match(html))


def _set_head(table: HtmlElement, title: str) -> None:
    """Give the table its caption; a heading without words is no heading."""
    table.attrib.clear()
    table.set("class", "gt_table")
    caption = lxml.html.Element("caption")
    caption.text, caption.attrib["class"] = title, "unseen"
    table.insert(0, caption)
    for heading in table.findall("./thead/tr/th"):
        name = heading.get("id", "").split("-", 2)[-1]
        heading.attrib["class"] = _classes(heading, name)
        for attribute in ("rowspan", "colspan", "id"):
            if heading.get(attribute) in ("1", heading.get("id")):
                heading.attrib.pop(attribute, None)
        if not heading.text_content().strip():
            heading.tag = "td"
            heading.attrib.pop("scope", None)


def _set_rows(table: HtmlElement, rows: Sequence[HtmlElement]) -> None:
    """Say which cell heads each row, and, where there are many columns, which column each cell is of."""
    headings = table.findall("./thead/tr")[-1] if table.findall("./thead/tr") else []
    labels = [_label(heading) for heading in headings]
    classes = [heading.get("class", "") for heading in headings]
    at = _heading_column(rows, classes)
    is_listed = len(labels) > WIDE
    if is_listed:
        table.set("class", "gt_table few" if _is_narrow(classes) else "gt_table listed")
        is_listed = not _is_narrow(classes)
    named = ""
    for row in rows:
        cells = list(row)
        if _is_heading(row):
            cells[0].tag = "th"
            cells[0].attrib.update({"scope": "rowgroup", "class": "group"})
            continue
        for place, cell in enumerate(cells):
            cell.attrib.pop("headers", None)
            name = classes[place] if place < len(classes) else ""
            cell.attrib["class"] = name or "c"
            if is_listed and place < len(labels) and place != at and labels[place]:
                cell.set("data-label", labels[place])
        if at is not None and at < len(cells):
            named = _set_row_heading(row, cells[at], named)


def _is_narrow(classes: Sequence[str]) -> bool:
    """Whether columns fit on a phone: a rank, one of names, a bar, which is left out there, and three of figures."""
    kinds = [set(names.split()) for names in classes]
    figures = [names for names in kinds if "n" in names and "rank" not in names]
    words = [names for names in kinds if not names & {"n", "rank", "bar"}]
    return len(words) == 1 and len(figures) <= FIGURES


def _set_row_heading(row: HtmlElement, cell: HtmlElement, before: str) -> str:
    """Let a cell head its row, and return its words; one that is blank is headed as the row above, if that is."""
    bold = cell.find("./b")
    if bold is not None and not bold.find("./span") and cell.find("./span") is None:
        row.set("class", "sum")
    parts = [cell.text or "", *(part.text_content() for part in cell if part.get("class") not in BENEATH)]
    words = " ".join("".join(parts).split())
    if words or before:
        cell.tag = "th"
        cell.set("scope", "row")
    if not words and before:
        again = lxml.html.Element("span")
        again.text, again.attrib["class"] = before, "unseen"
        cell.append(again)
    return words or before


def _align_parts(table: HtmlElement, heads: Sequence[HtmlElement], rows: Sequence[HtmlElement]) -> None:
    """Give the parts of a column's rates one width, that of the widest, so that the rates stand below each other.

    Figures without parts, and `heads`, get the room for them. The style sheet writes the widest text unseen below each:
    `data-widest` in a column, `--widest` on a phone, where the columns of a row stand below each other.
    """
    every = [""]
    for column in zip(*(list(row) for row in ([heads] if heads else []) + list(rows)), strict=False):
        figures = [cell for cell in column if cell.get("class", "").split()[:1] == ["n"]]
        parts = {cell: part for cell in figures if (part := cell.find("./span[@class='tk-of']")) is not None}
        widest = max((part.text_content() for part in parts.values()), key=len, default="")
        every.append(widest)
        for cell in figures if widest else ():
            if cell not in parts and cell.find("./span") is None and cell.text_content().strip():
                parts[cell] = lxml.html.Element("span", {"class": "tk-of"})
                cell.append(parts[cell])
            if cell in parts and len(parts[cell].text_content()) < len(widest):
                parts[cell].set("data-widest", widest)
    if "listed" in table.get("class", "") and any(every):
        table.set("style", f"--widest:{json.dumps(max(every, key=len), ensure_ascii=False)}")


def _is_heading(row: HtmlElement) -> bool:
    """Whether a row is the heading of the rows below it."""
    return len(row) == 1 and int(row[0].get("colspan", "1")) > 1


def _heading_column(rows: Sequence[HtmlElement], classes: Sequence[str]) -> int | None:
    """The first column of text, which names the rows."""
    texts = [place for place, names in enumerate(classes) if "n" not in names.split()]
    return texts[0] if texts and rows else None


def _label(heading: HtmlElement) -> str:
    """The words of a heading, without the "?" that explains it."""
    marks = heading.findall(".//a")
    words = heading.text_content()
    for mark in marks:
        words = words.replace(mark.text_content(), "")
    return " ".join(words.split())


def _classes(cell: HtmlElement, name: str) -> str:
    """`n` for figures, which stand at the right, then the name of the column."""
    classes = ["n" if each == "gt_right" else each for each in cell.get("class", "").split() if each not in _NOISE]
    return " ".join([*classes, *([name] if name else [])])
