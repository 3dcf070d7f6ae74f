"""Adobe Campaign Classic: the content of messages, one file each."""

from pathlib import Path

import polars as pl

from trackkit.sources import files
from trackkit.sources.files import Found
from trackkit.sources.hiding import Hiding, kinds_of
from trackkit.sources.report import SourceReport
from trackkit.sources.staging import Staged, handed_on, quarantine_frame

NAME = "adobe_content"
_SUFFIXES = {".html": "html", ".htm": "html", ".txt": "text"}


def is_content(found: Found) -> bool:
    """Return whether a file is the content of a message: `content/<delivery id>.html` or `.txt`."""
    return found.path.parent.name == "content" and found.path.suffix.lower() in _SUFFIXES


def stage(found: Found, hiding: Hiding) -> Staged:
    """Read the content of one message: one row, or one refusal when the file's name is no delivery id."""
    report = SourceReport(found.relative, NAME, "content", read=1)
    name, refusal = found.path.stem, []
    if not (name.lstrip("0").isdigit() and name.isascii()):
        refusal = [(1, f"the file name {name[:100]!r} is not a delivery id", "")]
        report.quarantined = 1
    row = {
        "delivery_id": name.lstrip("0"),
        "message_format": _SUFFIXES[found.path.suffix.lower()],
        "body": _body(found.path, report),
        "source_file": found.relative,
        "source_row": 1,
    }
    types = {column: pl.Int64 if column == "source_row" else pl.String for column in handed_on("content")}
    content = pl.LazyFrame([] if refusal else [row], schema=types)
    return Staged(report, {"content": hiding.rows(content, kinds_of("content"))}, quarantine_frame(refusal, report))


def _body(path: Path, report: SourceReport) -> str:
    body, encoding = files.text(path)
    if encoding:
        report.assumptions.append(f"the text is not UTF-8 and was read as {encoding}")
    return body
