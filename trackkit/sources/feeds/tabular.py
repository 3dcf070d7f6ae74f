"""The engine for tables of declared formats: rows (`sheets`) become cells, named by the paths of a map.

A path names a header, whatever its case and punctuation (`createdAt` is `created_at`), or a value of the JSON text in
a cell (`attributes.Link`). `^.file` is what the file, or a folder around it, is called. Every cell stays text, so that
no id passes through a number. What no column of an event holds is kept as attributes.

A format may have tables with further columns of its events (`Extension`): they are read once, and joined to each table
of events that comes with them.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

import polars as pl

from trackkit.errors import DataError
from trackkit.sources import files
from trackkit.sources.dates import is_not_iso, order_of
from trackkit.sources.feeds import framing
from trackkit.sources.feeds.feed import Feed
from trackkit.sources.feeds.json_paths import (
    ENVELOPE,
    RECORD,
    JsonPath,
    RecordRows,
    alternatives,
    as_json,
    cell,
    json_path,
    lists,
    series,
    texts,
)
from trackkit.sources.feeds.records import Batch, Source
from trackkit.sources.files import NOT_UTF8, Found
from trackkit.sources.maps import plain_name
from trackkit.sources.report import SourceReport
from trackkit.sources.sheets import EXTENSIONS, Sheet, dialect, is_parquet, open_again, open_sheet
from trackkit.sources.staging import STAGED, Staged, nameless_path, quarantine_frame
from trackkit.sources.values import is_missing

FILE = "^.file"
# Possessive: a name of many digits would be scanned from each of them.
_PART = re.compile(r"(?:[-_. ]*+(?:part|chunk)?+[-_. ]*+\d[\d_.T:-]*+)++$", re.IGNORECASE)
_EXTENSIONS = re.compile(r"(?i)(\.(csv|tsv|txt|parquet|gz|zst|snappy))+$")
ROWS = 50_000  # per batch
_DATES_SAMPLED = 1000  # dates sampled to see whether their form must be detected
_BROKEN = object()
_ROWS = "rows of id"


def names(found: Found) -> list[str]:
    """Return the names by which a file may be recognised: its own, then those of its folders."""
    path = PurePosixPath(found.relative)
    candidates = [path.name, *reversed(path.parts[:-1]), found.path.parent.name]
    stems = [_EXTENSIONS.sub("", name) for name in candidates]
    return [plain_name(name) for stem in stems for name in (stem, _PART.sub("", stem)) if plain_name(name)]


def called(feed: Feed, found: Found) -> str:
    """Return the name of a file that the map knows, or else its own, as `plain_name` writes it."""
    known_names, names_of_file = [plain_name(name) for name in feed.recognise.files], names(found)
    return next((name for name in names_of_file if name in known_names), names_of_file[0] if names_of_file else "")


class Headers:
    """The headers of a table file, and where the value of a path stands among its cells (c0, c1, …)."""

    def __init__(self, headers: list[str]) -> None:
        self.headers = headers
        self.cells = [f"c{place}" for place in range(len(headers))]
        self.named: dict[str, str] = {}
        for column, header in zip(self.cells, headers, strict=True):
            self.named.setdefault(plain_name(header), column)
        self.named.pop("", None)

    def place(self, written: str) -> tuple[str, JsonPath | None] | None:
        """Return the cell of a path, and the path inside its JSON text if it leads there; None if there is no cell."""
        path = json_path(written)
        if path.scope != RECORD:
            return None
        if (column := self.named.get(plain_name(written))) is not None:
            return column, None
        column = self.named.get(plain_name(str(path.steps[0])))
        return (column, JsonPath(written, ENVELOPE, path.steps[1:])) if column and len(path.steps) > 1 else None

    def have(self, written: str) -> bool:
        """Return whether one of the paths has a place."""
        return any(self.place(path) for path in alternatives(written) if not path.startswith("="))

    def known(self, feed: Feed) -> int:
        """Return how many columns the map reads."""
        places = (self.place(path) for path in feed.used() if not path.startswith("="))
        return len({cell for cell, _ in filter(None, places)})


@dataclass
class ExtensionTable:
    """The rows of the extension tables of a format, as text; columns are named by `plain_name` of their headers.

    `unclear` counts the rows that differ under one id; `places` are the open files of the rows, kept until released.
    """

    feed: Feed
    headers: dict[str, str]
    rows: pl.LazyFrame
    places: list[Path]
    unclear: int = 0

    def join(self, sheet: Sheet) -> None:
        """Join the columns that a table of events lacks, by the ids that both tables have."""
        events = Headers(sheet.headers).named
        keys = [key for key in _keys(self.feed) if key in events and key in self.headers]
        new = [name for name in self.headers if name not in events]
        if not keys or not new:
            return
        cells = {name: f"c{place}" for place, name in enumerate(new, len(sheet.headers))}
        # Events without a row in this table get empty cells.
        extra_columns = self._once(keys, new).rename(cells)
        on = [events[key] for key in keys]
        joined = sheet.cells.join(extra_columns, how="left", left_on=on, right_on=keys, maintain_order="left")
        sheet.cells = joined.with_columns(pl.col(list(cells.values())).fill_null(""))
        sheet.headers = [*sheet.headers, *(self.headers[name] for name in new)]

    def _once(self, keys: list[str], columns: list[str]) -> pl.LazyFrame:
        """One row for each id; ids with differing rows are ambiguous and left out."""
        identified = self.rows.filter(pl.all_horizontal(pl.col(keys) != "")).select(*keys, *columns).unique()
        rows = identified.group_by(keys).agg(pl.col(columns).first(), pl.len().alias(_ROWS))
        ambiguous = rows.filter(pl.col(_ROWS) > 1).select(pl.col(_ROWS).sum())
        self.unclear = ambiguous.collect(engine="streaming").item() or 0
        return rows.filter(pl.col(_ROWS) == 1).drop(_ROWS)

    def notes(self) -> list[str]:
        """Return a note on the rows that were joined to no event."""
        note = f"{self.unclear:,} rows of further columns differ under one id: it is not known whose they are"
        return [note] if self.unclear else []


@dataclass
class TableSource(Source):
    """The rows of one table file, numbered from 1, the header left out; `further` are joined to them."""

    further: list[ExtensionTable] = field(default_factory=list)

    def batches(self, folder: Path) -> Iterator[Batch]:
        """Yield the rows as cells, then what is no row of the table.

        A file that is not UTF-8 or cut short is read from a repaired copy.
        Errors: DataError for damaged Parquet, or a file without headers.
        """
        table = self.open(folder)
        self.notes += [*table.notes(), *(note for one in self.further for note in one.notes())]
        self.notes += [] if is_parquet(self.found.path) else files.hole_at_head(self.found.path)
        self.order = table.order()
        for rows in _slices(table.staged):
            yield table.batch(rows)
        yield Batch(None, [*table.sheet.ragged, *table.lost()])
        table.staged.unlink()

    def open(self, folder: Path) -> "_Opened":
        """Return the file with its cells on disk, mended where it is not UTF-8 or cut short."""
        table = self._stage(open_sheet(self.found, self._count_known, self.flat), folder)
        if not table.sheet.trouble or is_parquet(self.found.path):
            return table
        table.staged.unlink()
        table = self._stage(open_again(self.found, folder, self._count_known, self.flat), folder)
        table.sheet.close()
        return table

    def _count_known(self, headers: list[str]) -> int:
        return Headers(headers).known(self.feed)

    def flat(self, headers: list[str]) -> set[int]:
        """Return the places of instants, which hold no line ends; ids may be any text."""
        places = filter(None, map(Headers(headers).place, self._dates))
        return {int(column[1:]) for column, inner in places if inner is None}

    @property
    def _dates(self) -> list[str]:
        occurred_at = self.feed.columns.occurred_at
        return alternatives(occurred_at.of) if occurred_at else []

    def _stage(self, sheet: Sheet, folder: Path) -> "_Opened":
        """Write the text cells of a file to Parquet: only after its last row is it known whether all can be read."""
        staged = nameless_path(folder, "parquet")
        if not sheet.headers:
            raise DataError(f"{self.found.relative} has no headers; the first line of a table names its columns.")
        for one in self.further:
            one.join(sheet)
        try:
            sheet.cells.sink_parquet(staged, **STAGED)
        except (pl.exceptions.PolarsError, OSError) as error:
            if sheet.separator:  # only Parquet can be damaged here
                raise
            raise DataError(f"The Parquet file is damaged: {str(error).splitlines()[0]}") from None
        return _Opened(self, sheet, staged)


def _slices(staged: Path) -> Iterator[pl.DataFrame]:
    rows = pl.scan_parquet(staged, glob=False)
    height = rows.select(pl.len()).collect().item()
    for start in range(0, height, ROWS):
        yield rows.slice(start, ROWS).collect()


@dataclass
class _Opened:
    """A table file opened, its cells on disk."""

    source: TableSource
    sheet: Sheet
    staged: Path
    parsed: dict[str, list[Any]] = field(default_factory=dict)

    @cached_property
    def headers(self) -> Headers:
        return Headers(self.sheet.headers)

    @cached_property
    def json_cells(self) -> list[str]:
        """The cells with JSON text from which the map reads a part."""
        written = [*self.source.paths, *self.tags, *self.source.feed.attributes]
        places = filter(None, map(self.headers.place, written))
        return list(dict.fromkeys(column for column, inner in places if inner))

    @cached_property
    def tags(self) -> list[str]:
        tags = self.source.feed.columns.tags
        return alternatives(tags.of) if tags else []

    def lost(self) -> list[tuple[int, str, str]]:
        """Return what stopped the reading, as broken rows after the last one."""
        last = pl.scan_parquet(self.staged, glob=False).select(pl.col("source_row").max()).collect().item() or 0
        return self.sheet.lost(max(last, *(row for row, *_ in self.sheet.ragged), 0) + 1)

    def order(self) -> str | None:
        """Return the order of day and month in the dates of events; None for ISO or if in doubt."""
        rows = pl.scan_parquet(self.staged, glob=False)
        for dates in sorted(f"c{place}" for place in self.source.flat(self.sheet.headers)):
            sample = rows.select(dates).filter(pl.col(dates) != "").head(_DATES_SAMPLED)
            if sample.select(is_not_iso(pl.col(dates)).any()).collect().item():
                return order_of(rows, dates)
        return None

    def notes(self) -> list[str]:
        """Return what was assumed about the file, and which columns are not read."""
        notes = self.sheet.assumptions()
        if is_parquet(self.source.found.path):
            columns = pl.read_parquet_schema(self.source.found.path)
            inner = [name for name in columns if name not in self.sheet.headers]
            notes += [f"columns of lists, structures or bytes are not read: {', '.join(inner)}"] if inner else []
        return notes

    def batch(self, rows: pl.DataFrame) -> Batch:
        """Return rows as cells; rows that are not UTF-8 or not JSON are broken."""
        raw_text = pl.concat_str(self.headers.cells, separator=self.sheet.separator or ",").alias("as it stood")
        cells = pl.col(self.headers.cells)
        rows = rows.with_columns(raw_text).with_columns(pl.when(~is_missing(cells)).then(cells).name.keep())
        self.parsed = {column: [_parsed(value) for value in rows[column]] for column in self.json_cells}
        rows = rows.with_columns(self._fault())
        is_sound = rows["wrong"].is_null()
        self.parsed = {
            column: [value for value, keep in zip(values, is_sound, strict=True) if keep]
            for column, values in self.parsed.items()
        }
        broken = rows.filter(~is_sound).select("source_row", "wrong", "as it stood").rows()
        rows = rows.filter(is_sound)
        return Batch(self._cells(rows), broken, rows["as it stood"])

    def _fault(self) -> pl.Expr:
        reasons = []
        if self.sheet.mended:
            is_not_utf8 = pl.any_horizontal(pl.col(self.headers.cells).str.contains(NOT_UTF8, literal=True))
            reasons.append(pl.when(is_not_utf8).then(pl.lit("not UTF-8")))
        for column, values in self.parsed.items():
            header = self.sheet.headers[self.headers.cells.index(column)]
            is_broken = pl.lit(pl.Series([value is _BROKEN for value in values], dtype=pl.Boolean))
            reasons.append(pl.when(is_broken).then(pl.lit(f"no JSON in column '{header[:100]}'")))
        return pl.coalesce([*reasons, pl.lit(None, pl.String)]).alias("wrong")

    def _cells(self, rows: pl.DataFrame) -> pl.DataFrame:
        file_name = pl.repeat(called(self.source.feed, self.source.found), rows.height, dtype=pl.String, eager=True)
        columns = {cell(path): file_name if path == FILE else self._texts(rows, path) for path in self.source.paths}
        false = pl.repeat(False, rows.height, dtype=pl.Boolean, eager=True)
        further = {
            "is_shared": false,
            "is_empty": false,
            "tags": self._tags(rows),
            "attributes": self._attributes(rows),
        }
        return pl.DataFrame({"source_row": rows["source_row"], **columns, **further})

    def _texts(self, rows: pl.DataFrame, written: str) -> pl.Series:
        place = self.headers.place(written)
        if place is None:
            return pl.repeat(None, rows.height, dtype=pl.String, eager=True)
        return rows[place[0]] if place[1] is None else series(texts(self._values(rows, written)))

    def _values(self, rows: pl.DataFrame, written: str) -> list[Any]:
        """Return the values of a path: JSON where the cell holds some, else the text of the cell."""
        place = self.headers.place(written)
        if place is None:
            return [None] * rows.height
        column, inner = place
        if column not in self.parsed:
            return rows[column].to_list()
        # Passed as envelopes, which unlike records need not be objects.
        return RecordRows([], self.parsed[column]).values(inner or JsonPath("", ENVELOPE, ()))

    def _tags(self, rows: pl.DataFrame) -> pl.Series:
        tags: list[str | None] = [None] * rows.height
        for path in self.tags:
            tags = [earlier or value for earlier, value in zip(tags, lists(self._values(rows, path)), strict=True)]
        return series(tags)

    def _attributes(self, rows: pl.DataFrame) -> pl.Series:
        """Return the unmapped columns, and the attributes that the map names, as JSON."""
        paths = [path for path in self.source.feed.attributes if self.headers.place(path)]
        members = {self._last(path): self._members(rows, path) for path in paths}
        used_cells = {column for column, _ in filter(None, map(self.headers.place, [*self.source.paths, *self.tags]))}
        for column, header in zip(self.headers.cells, self.sheet.headers, strict=True):
            if column not in used_cells and header not in members:
                members[header] = rows.select(_member(pl.col(column), header)).to_series()
        if not members:
            return pl.repeat(None, rows.height, dtype=pl.String, eager=True)
        columns = pl.DataFrame({f"m{place}": values for place, values in enumerate(members.values())})
        joined = pl.concat_str(pl.all(), separator=",", ignore_nulls=True)
        return columns.select(pl.when(joined != "").then(pl.concat_str(pl.lit("{"), joined, pl.lit("}")))).to_series()

    def _members(self, rows: pl.DataFrame, written: str) -> pl.Series:
        """Return the value of a path as a member of a JSON object; JSON text is kept as it is."""
        name, (column, inner) = self._last(written), self.headers.place(written) or ("", None)
        if inner:
            values = self._values(rows, written)
            return series([None if value is None else f"{as_json(name)}:{as_json(value)}" for value in values])
        is_json = pl.Series([value is not None for value in self.parsed.get(column, [])] or [False], dtype=pl.Boolean)
        member = pl.concat_str(pl.lit(f"{as_json(name)}:"), pl.col(column))
        return rows.select(pl.when(is_json).then(member).otherwise(_member(pl.col(column), name))).to_series()

    @staticmethod
    def _last(written: str) -> str:
        return next(str(step) for step in reversed(json_path(written).steps) if isinstance(step, str))


def _parsed(text: str | None) -> Any:
    """Return the value of JSON text in a cell; None for other text, `_BROKEN` for what only begins like JSON."""
    if text is None or text.lstrip()[:1] not in ("{", "["):
        return None
    try:
        return framing.loads(text)
    except (ValueError, RecursionError):
        return _BROKEN


def _member(column: pl.Expr, name: str) -> pl.Expr:
    json_text = pl.struct(column.alias(name)).struct.json_encode().str.slice(1).str.head(-1)
    return pl.when(column.is_not_null()).then(json_text)


def merged(tables: list[ExtensionTable]) -> list[ExtensionTable]:
    """Return one table per format, with the rows of all its files."""
    by_format: dict[str, ExtensionTable] = {}
    for table in tables:
        if earlier := by_format.get(table.feed.name):
            rows = pl.concat([earlier.rows, table.rows], how="diagonal").with_columns(pl.all().fill_null(""))
            table = ExtensionTable(table.feed, earlier.headers | table.headers, rows, [*earlier.places, *table.places])
        by_format[table.feed.name] = table
    return list(by_format.values())


def stage_extension(found: Found, feed: Feed, folder: Path, further: list[ExtensionTable]) -> Staged:
    """Read the mapped columns of an extension table and add it to `further`; its report says what cannot be read."""
    source = TableSource(found, feed, [])
    opened = source.open(folder)
    used_cells = {
        cell for cell, _ in filter(None, map(opened.headers.place, [*feed.used(), *feed.attributes, *_by(feed)]))
    }
    cell_by_name = {name: cell for name, cell in opened.headers.named.items() if cell in used_cells}
    headers = dict(zip(opened.headers.cells, opened.sheet.headers, strict=True))
    rows = pl.scan_parquet(opened.staged, glob=False).select(
        **{name: pl.col(cell) for name, cell in cell_by_name.items()}
    )
    refused, height = sorted([*opened.sheet.ragged, *opened.lost()]), rows.select(pl.len()).collect().item()
    report = SourceReport(found.relative, feed.name, "event", read=len(refused), quarantined=len(refused))
    report.assumptions += [*opened.notes(), f"its {height:,} rows hold further columns of events, and are no events"]
    report.ignored_columns = [header for cell, header in headers.items() if cell not in used_cells]
    further.append(
        ExtensionTable(feed, {name: headers[cell] for name, cell in cell_by_name.items()}, rows, [opened.staged])
    )
    return Staged(report, {}, quarantine_frame(refused, report))


def _keys(feed: Feed) -> list[str]:
    return list(map(plain_name, _by(feed)))


def _by(feed: Feed) -> list[str]:
    return feed.extension.by if feed.extension else []


def extends(found: Found, feed: Feed) -> bool:
    """Return whether a file is an extension table of a format, by its name and an id among its headers."""
    if not feed.extension or not set(map(plain_name, feed.extension.files)) & set(names(found)):
        return False
    try:
        headers = Headers(dialect(found, lambda some: sum(map(Headers(some).have, _by(feed)))).headers)
    except DataError:  # damaged: reading it reports that
        return False
    return any(map(headers.have, _by(feed)))


def together(files: list[Found], unread: list[Found], feeds: Mapping[str, Feed]) -> list[Found]:
    """Return the files to read: those not yet read and, if their folder has an extension table, its other tables.

    A row read again is a copy of the stored one; read without its further columns it would be a different row.
    """
    extension_names = {plain_name(name) for feed in feeds.values() if feed.extension for name in feed.extension.files}
    folders = {_folder(found) for found in files if extension_names & set(names(found))} & set(map(_folder, unread))
    return [found for found in files if found in unread or (_folder(found) in folders and _is_table(found))]


def _folder(found: Found) -> PurePosixPath:
    return PurePosixPath(found.relative).parent


def _is_table(found: Found) -> bool:
    return found.path.name.lower().endswith(EXTENSIONS)
