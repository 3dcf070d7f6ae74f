"""OpenDocument spreadsheets: the sheets that `exports.write_workbook` writes for Excel, for LibreOffice and the like.

Written row by row. The libraries for this format have not been released for years, or hold a whole document in memory
and leave the styles of numbers to be written as here.
"""

import zipfile
from collections.abc import Iterable, Iterator, Sequence
from datetime import date, datetime
from typing import IO, Any

from lxml import etree

from trackkit.show.exports import FIRST_YEAR, LARGEST_NUMBER, Facts, Worksheet

Cell = tuple[dict[str, str], list[str]]  # its attributes, and its lines of text
_KIND = "application/vnd.oasis.opendocument.spreadsheet"
_OASIS = "urn:oasis:names:tc:opendocument:xmlns"
_SPACES = {
    "office": f"{_OASIS}:office:1.0",
    "table": f"{_OASIS}:table:1.0",
    "text": f"{_OASIS}:text:1.0",
    "style": f"{_OASIS}:style:1.0",
    "number": f"{_OASIS}:datastyle:1.0",
    "fo": f"{_OASIS}:xsl-fo-compatible:1.0",
    "meta": f"{_OASIS}:meta:1.0",
    "manifest": f"{_OASIS}:manifest:1.0",
}
_EPOCH = (1980, 1, 1, 0, 0, 0)
_DATE = "<number:year number:style='long'/><number:text>-</number:text><number:month number:style='long'/>" + (
    "<number:text>-</number:text><number:day number:style='long'/>"
)
_CLOCK = "<number:text> </number:text>" + "<number:text>:</number:text>".join(
    f"<number:{part} number:style='long'/>" for part in ("hours", "minutes", "seconds")
)
# The styles of cells by how numbers are written; those of the dates have no such form.
_STYLES = {"#,##0": "count", "0.00%": "share", "#,##0.00": "average"}
_WRITTEN = {
    "count": ("number-style", "<number:number number:decimal-places='0' number:grouping='true'/>"),
    "share": (
        "percentage-style",
        "<number:number number:decimal-places='2' number:min-decimal-places='2'/><number:text>%</number:text>",
    ),
    "average": (
        "number-style",
        "<number:number number:decimal-places='2' number:min-decimal-places='2' number:grouping='true'/>",
    ),
    "day": ("date-style", _DATE),
    "instant": ("date-style", _DATE + _CLOCK),
}


def write_ods(file: IO[bytes], about: str, facts: Facts, sheets: Sequence[Worksheet], made_at: datetime) -> None:
    """Write a workbook as `exports.write_workbook` does: text is text, counts and rates are numbers, instants dates."""
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(zipfile.ZipInfo("mimetype", _EPOCH), _KIND)  # first, and stored
        archive.writestr(_entry("META-INF/manifest.xml"), _manifest())
        archive.writestr(_entry("meta.xml"), _meta(made_at))
        with archive.open(_entry("content.xml"), "w") as stream, etree.xmlfile(stream, encoding="utf-8") as xml:
            _write_content(xml, about, facts, sheets)


def _entry(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name, _EPOCH)
    entry.compress_type = zipfile.ZIP_DEFLATED
    return entry


def _name(qualified: str) -> str:
    """Return a name as lxml writes it.

    >>> _name("text:p")
    '{urn:oasis:names:tc:opendocument:xmlns:text:1.0}p'
    """
    space, _, name = qualified.partition(":")
    return f"{{{_SPACES[space]}}}{name}"


def _names(attributes: dict[str, str]) -> dict[str, str]:
    return {_name(qualified): value for qualified, value in attributes.items()}


def _manifest() -> bytes:
    root = etree.Element(_name("manifest:manifest"), _names({"manifest:version": "1.2"}), nsmap=_SPACES)
    for path, kind in (("/", _KIND), ("content.xml", "text/xml"), ("meta.xml", "text/xml")):
        attributes = {"manifest:full-path": path, "manifest:media-type": kind}
        etree.SubElement(root, _name("manifest:file-entry"), _names(attributes))
    return bytes(etree.tostring(root, xml_declaration=True, encoding="utf-8"))


def _meta(made_at: datetime) -> bytes:
    root = etree.Element(_name("office:document-meta"), _names({"office:version": "1.2"}), nsmap=_SPACES)
    meta = etree.SubElement(root, _name("office:meta"))
    etree.SubElement(meta, _name("meta:generator")).text = "trackkit"
    etree.SubElement(meta, _name("meta:creation-date")).text = f"{made_at:%Y-%m-%dT%H:%M:%S}"
    return bytes(etree.tostring(root, xml_declaration=True, encoding="utf-8"))


def _write_content(xml: Any, about: str, facts: Facts, sheets: Sequence[Worksheet]) -> None:
    with xml.element(_name("office:document-content"), _names({"office:version": "1.2"}), nsmap=_SPACES):
        xml.write(_automatic_styles())
        with xml.element(_name("office:body")), xml.element(_name("office:spreadsheet")):
            rows = ((name, str(value)) for name, value in facts if value not in (None, ""))
            _write_table(xml, about, [{"table:style-name": "wide"}] * 2, [], rows, [])
            for sheet in sheets:
                forms = [_STYLES.get(sheet.forms.get(name, ""), "") for name in sheet.frame.columns]
                widths = [{"table:style-name": "wide"}] * sheet.frame.width
                _write_table(xml, sheet.name, widths, sheet.frame.columns, sheet.frame.iter_rows(), forms)


def _write_table(
    xml: Any,
    name: str,
    columns: list[dict[str, str]],
    headings: Sequence[str],
    rows: Iterable[Sequence[Any]],
    styles: Sequence[str],
) -> None:
    with xml.element(_name("table:table"), _names({"table:name": name})):
        for attributes in columns:
            with xml.element(_name("table:table-column"), _names(attributes)):
                pass
        if headings:
            with xml.element(_name("table:table-header-rows")):
                _write_row(xml, (_text(heading, "heading") for heading in headings))
        for row in rows:
            _write_row(xml, _cells(row, styles))


def _write_row(xml: Any, cells: Iterable[Cell]) -> None:
    with xml.element(_name("table:table-row")):
        for attributes, lines in cells:
            with xml.element(_name("table:table-cell"), _names(attributes)):
                for line in lines:
                    with xml.element(_name("text:p")):
                        xml.write(line)


def _cells(row: Sequence[Any], styles: Sequence[str]) -> Iterator[Cell]:
    for place, value in enumerate(row):
        match value:
            case None:
                yield {}, []
            case datetime() | date() if value.year >= FIRST_YEAR:
                has_clock = isinstance(value, datetime)
                clock = value.replace(tzinfo=None) if isinstance(value, datetime) else value
                yield _cell("date", "instant" if has_clock else "day", {"office:date-value": clock.isoformat()})
            case int() | float() if not isinstance(value, bool) and abs(value) < LARGEST_NUMBER:
                style = styles[place] if place < len(styles) else ""
                kind = "percentage" if style == "share" else "float"
                yield _cell(kind, style, {"office:value": repr(value)})
            case _:
                yield _text(str(value))


def _cell(kind: str, style: str, value: dict[str, str]) -> Cell:
    named = {"table:style-name": style} if style else {}
    return {"office:value-type": kind, **value, **named}, []


def _text(words: str, style: str = "") -> Cell:
    """A cell of text: one paragraph for each of its lines."""
    return _cell("string", style, {})[0], words.split("\n")


def _automatic_styles() -> Any:
    styles = "".join(
        f"<number:{kind} style:name='n-{name}'>{written}</number:{kind}>"
        f"<style:style style:name='{name}' style:family='table-cell' style:data-style-name='n-{name}'/>"
        for name, (kind, written) in _WRITTEN.items()
    )
    heading = (
        "<style:style style:name='heading' style:family='table-cell'><style:text-properties fo:font-weight='bold'/>"
        "</style:style><style:style style:name='wide' style:family='table-column'>"
        "<style:table-column-properties style:column-width='4cm'/></style:style>"
    )
    spaces = " ".join(f"xmlns:{space}='{uri}'" for space, uri in _SPACES.items())
    return etree.fromstring(f"<office:automatic-styles {spaces}>{heading}{styles}</office:automatic-styles>")
