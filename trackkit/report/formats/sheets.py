"""The data of a page as frames: a workbook (xlsx, ods), comma-separated files, or one tidy Parquet file.

Each table and each chart of a page carries its data: columns with a kind, and raw values (rates as fractions, instants
in UTC, null where unknown).
"""

import io
import json
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import polars as pl

from trackkit.language import say, translatable
from trackkit.metrics import METRICS
from trackkit.report.html_page import Contents
from trackkit.show.definitions import entries, used_in
from trackkit.show.exports import MOST_ROWS, Worksheet, fitting, sheet_name, with_offsets, write_csv, write_workbook
from trackkit.show.ods import write_ods

FORMS: Mapping[str, str] = {"count": "#,##0", "share": "0.00%", "average": "#,##0.00", "amount": "#,##0.00"}
ABOUT = translatable("About")
CUT = translatable("A sheet holds {most} rows, the table has {rows}: the last ones are left out.")
_IN_UTC = pl.Datetime("us", "UTC")
_EPOCH = (1980, 1, 1, 0, 0, 0)  # of files in an archive, so that the same page gives the same bytes


@dataclass(frozen=True)
class PageTable:
    """The data of one table or chart of a page: `columns` have a name, a label and a kind, `rows` their raw values."""

    section: str
    title: str
    name: str
    columns: Sequence[Mapping[str, str]]
    rows: Sequence[Sequence[Any]]

    def series(self, place: int) -> pl.Series:
        """Return a column with values of its kind: whole numbers, fractions, instants in UTC (or days), or text."""
        kind, values = self.columns[place]["kind"], [row[place] for row in self.rows]
        match kind:
            case "instant":
                moments = [None if value is None else datetime.fromisoformat(value) for value in values]
                has_clock = any(moment.tzinfo for moment in moments if moment)
                series = pl.Series(moments, dtype=_IN_UTC if has_clock else pl.Datetime("us"))
                return series if has_clock else series.cast(pl.Date)
            case "text":
                return pl.Series([None if value is None else str(value) for value in values], dtype=pl.String)
        is_whole = kind == "count" and all(value is None or float(value).is_integer() for value in values)
        return pl.Series(values, dtype=pl.Int64 if is_whole else pl.Float64, strict=False)

    def frame(self, timezone: str) -> pl.DataFrame:
        """Return the table with its labels as headings, each once, and instants by the clock of a zone."""
        columns: dict[str, pl.Series] = {}
        for place, column in enumerate(self.columns):
            series = self.series(place)
            in_zone = series.dt.convert_time_zone(timezone) if series.dtype == _IN_UTC else series
            columns[_distinct(column["label"], columns)] = in_zone
        return pl.DataFrame(columns)

    def forms(self) -> dict[str, str]:
        """Return how a workbook writes the numbers of the frame's columns."""
        forms: dict[str, str] = {}
        for place, column in enumerate(self.columns):
            is_average = column["kind"] == "count" and self.series(place).dtype == pl.Float64  # beside counts
            forms[_distinct(column["label"], forms)] = FORMS.get("average" if is_average else column["kind"], "")
        return forms


def _distinct(label: str, taken: Mapping[str, Any]) -> str:
    """Return a heading unlike those taken."""
    label = label or "-"
    endings = ["", *(f" ({count})" for count in range(2, len(taken) + 3))]
    return next(label + ending for ending in endings if label + ending not in taken)


def tables(contents: Contents) -> list[PageTable]:
    """Return the data of a page, table by table, in its order; what carries none is left out.

    Of a chart with a table behind it, it is the table's, as in the downloads of the page.
    """
    return [
        PageTable(section["name"], section["title"], data["name"], data["columns"], data["rows"])
        for section in contents["sections"]
        for piece in section["pieces"]
        if (data := data_of(piece)) and data["rows"]
    ]


def data_of(piece: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return the data of a piece of a page, or of the table behind it."""
    data: Mapping[str, Any] | None = (piece.get("table") or {}).get("data") or piece.get("data")
    return data


def facts(contents: Contents) -> Iterator[tuple[str, str]]:
    """Yield what a page says about itself, name and value: its header, notes, parameters and definitions."""
    lang, header = contents["locale"], contents["header"]
    yield say("Report", lang), contents["title"]
    yield say("About", lang), " · ".join(filter(None, (header["heading"], header["subtitle"])))
    yield from header["facts"]
    yield say("Data through", lang), header["data_through"]
    yield say("Time zone", lang), contents["timezone"]
    yield say("Calculated", lang), contents["calculated"]
    yield from ((name, str(value)) for name, value in contents["parameters"].items())
    yield from ((say("Note", lang), note) for note in [*header["notes"], *header["remarks"]])
    yield from ((entry.label, entry.definition) for entry in entries(metrics_shown(contents), lang))
    yield "trackkit", contents["version"]


def metrics_shown(contents: Contents) -> list[str]:
    """Return the metrics that a page shows: those marked in its pieces, and those that are columns of its data."""
    pieces = [piece for section in contents["sections"] for piece in section["pieces"]]
    columns = [column["name"] for piece in pieces if (data := data_of(piece)) for column in data["columns"]]
    every = [*pieces, *(piece["table"] for piece in pieces if piece.get("table"))]
    marked = used_in("".join(str(piece.get("html", "")) for piece in every))
    return [name for name in dict.fromkeys([*marked, *columns]) if name in METRICS]


def xlsx(contents: Contents) -> bytes:
    """Return a workbook: a sheet about the page, then one for each table and chart; figures are numbers."""
    file = io.BytesIO()
    about, rows, sheets = _workbook(contents)
    write_workbook(file, about, rows, sheets, contents["calculated_at"])
    return file.getvalue()


def ods(contents: Contents) -> bytes:
    """Return the workbook of `xlsx` as an OpenDocument spreadsheet."""
    file = io.BytesIO()
    about, rows, sheets = _workbook(contents)
    write_ods(file, about, rows, sheets, contents["calculated_at"])
    return file.getvalue()


def _workbook(contents: Contents, most: int = MOST_ROWS) -> tuple[str, list[tuple[str, str]], list[Worksheet]]:
    """Return the name and the rows of the first sheet, and the other sheets, none longer than a worksheet may be."""
    lang, zone = contents["locale"], contents["timezone"]
    about = sheet_name(say(ABOUT, lang), [])
    rows, sheets = list(facts(contents)), [Worksheet(about, pl.DataFrame())]
    for table in tables(contents):
        name = sheet_name(table.title, [sheet.name for sheet in sheets])
        frame = table.frame(zone)
        if frame.height > most:
            rows.append((name, say(CUT, lang, most=f"{most:,}", rows=f"{frame.height:,}")))
        sheets.append(Worksheet(name, fitting(with_offsets(frame.head(most))), table.forms()))
    return about, rows, sheets[1:]


def csv_zip(contents: Contents) -> bytes:
    """Return an archive with `00-about.csv` (name, value), then one comma-separated file for each table and chart.

    The headings are the page's; rates are fractions, instants have the offset of the report's zone, unknown is empty,
    and no cell is a formula.
    """
    about = pl.DataFrame(list(facts(contents)), schema={"name": pl.String, "value": pl.String}, orient="row")
    frames = {"00-about.csv": about}
    for place, table in enumerate(tables(contents), start=1):
        frames[f"{place:02}-{table.section}.csv"] = table.frame(contents["timezone"])
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as files:
        for name, frame in frames.items():
            text = io.BytesIO()
            write_csv(frame, text)
            files.writestr(zipfile.ZipInfo(name, _EPOCH), text.getvalue(), zipfile.ZIP_DEFLATED)
    return archive.getvalue()


def parquet(contents: Contents) -> bytes:
    """Return one tidy Parquet table: one row for each cell of each table and chart.

    Columns: report, lang, delivery, recipient; section and its table, counted from 1; row, counted from 1; column,
    label and kind; the value as number (a count, a fraction, an average, an amount), text, or instant in UTC: two of
    the three are null, and all three where a figure is unknown. A day without a clock is text, as ISO 8601 has it. The
    file's metadata says what the page says of itself.
    """
    about = {name: contents["parameters"].get(name) for name in ("delivery", "recipient")}
    of_page = {"report": contents["report"], "lang": contents["locale"], **about}
    counts: dict[str, int] = {}
    parts = [_NO_CELLS]
    for table in tables(contents):
        counts[table.section] = counts.get(table.section, 0) + 1
        of_table = {**of_page, "table": counts[table.section]}
        columns = [_cells(table, place, of_table) for place in range(len(table.columns))]
        parts.append(pl.concat([_NO_CELLS, *columns]).sort("row", maintain_order=True))
    frame = pl.concat(parts)
    file = io.BytesIO()
    frame.write_parquet(file, metadata={"trackkit": json.dumps(list(facts(contents)), ensure_ascii=False)})
    return file.getvalue()


_NO_CELLS = pl.DataFrame(
    schema={
        "report": pl.String,
        "lang": pl.String,
        "delivery": pl.String,
        "recipient": pl.String,
        "section": pl.String,
        "table": pl.Int64,
        "row": pl.Int64,
        "column": pl.String,
        "label": pl.String,
        "kind": pl.String,
        "number": pl.Float64,
        "text": pl.String,
        "instant": _IN_UTC,
    }
)


def _cells(table: PageTable, place: int, of_page: Mapping[str, Any]) -> pl.DataFrame:
    """Return the cells of one column, one row each."""
    column, values = table.columns[place], table.series(place)
    values = values.cast(pl.String) if values.dtype == pl.Date else values
    where = {"text": values.dtype == pl.String, "instant": values.dtype == _IN_UTC, "number": values.dtype.is_numeric()}
    fixed = {
        **of_page,
        "section": table.section,
        "column": column["name"],
        "label": column["label"],
        "kind": column["kind"],
    }
    cells = pl.DataFrame({"row": pl.int_range(1, values.len() + 1, eager=True)})
    given = [pl.lit(value, _NO_CELLS.schema[name]).alias(name) for name, value in fixed.items()]
    value = [
        (pl.lit(values) if is_here else pl.lit(None)).cast(_NO_CELLS.schema[name]).alias(name)
        for name, is_here in where.items()
    ]
    return cells.with_columns(*given, *value).select(_NO_CELLS.columns)
