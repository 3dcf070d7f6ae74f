"""The engine for tables of declared formats: rows (`sheets`) become cells, named by the paths of a map (`headers`).

Every cell stays text, so that no id passes through a number. What no column of an event holds is kept as attributes.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path as FilePath
from typing import Any

import polars as pl

from trackkit.errors import DataError
from trackkit.sources import files
from trackkit.sources.dates import is_not_iso, order_of
from trackkit.sources.feeds import framing
from trackkit.sources.feeds.headers import FILE, Headers, called
from trackkit.sources.feeds.paths import ENVELOPE, Path, Rows, alternatives, as_json, cell, lists, path, series, texts
from trackkit.sources.feeds.records import Batch, Source
from trackkit.sources.files import NOT_UTF8
from trackkit.sources.sheets import Sheet, is_parquet, open_again, open_sheet
from trackkit.sources.staging import STAGED, nameless_path
from trackkit.sources.values import is_missing

ROWS = 50_000  # laid side by side at once
_LOOKED_AT = 1000  # dates that say whether the way in which they are written needs finding out
_BROKEN = object()
_FLAT = ("occurred_at",)  # columns of an event that can hold no line end; the ids of other senders are any text


class Table(Source):
    """The rows of one table file, numbered from 1, the header left out."""

    def batches(self, folder: FilePath) -> Iterator[Batch]:
        """Yield the rows as cells, then what is no row of the table.

        Of a file that is not UTF-8 or cut short, what can be read is read from a copy.
        Errors: DataError for damaged Parquet, or a file without headers.
        """
        table = self.opened(folder)
        self.notes += [*table.notes(), *(note for one in self.further for note in one.notes())]
        self.notes += [] if is_parquet(self.found.path) else files.hole_at_head(self.found.path)
        self.order = table.order()
        for rows in _slices(table.staged):
            yield table.batch(rows)
        yield Batch(None, [*table.sheet.ragged, *table.lost()])
        table.staged.unlink()

    def opened(self, folder: FilePath) -> "_Opened":
        """Return the file with its cells on disk, mended where it is not UTF-8 or cut short."""
        table = self._staged(open_sheet(self.found, self._known, self._flat), folder)
        if not table.sheet.trouble or is_parquet(self.found.path):
            return table
        table.staged.unlink()
        table = self._staged(open_again(self.found, folder, self._known, self._flat), folder)
        table.sheet.close()
        return table

    def _known(self, headers: list[str]) -> int:
        return Headers(headers).known(self.feed)

    def _flat(self, headers: list[str]) -> set[int]:
        readings = self.feed.columns.readings()
        written = [one for name in _FLAT if name in readings for one in alternatives(readings[name].of)]
        places = filter(None, map(Headers(headers).place, written))
        return {int(column[1:]) for column, inner in places if inner is None}

    def _staged(self, sheet: Sheet, folder: FilePath) -> "_Opened":
        """Write the text cells of a file to Parquet: only after its last row is known whether all of it can be read."""
        staged = nameless_path(folder, "parquet")
        if not sheet.headers:
            raise DataError(f"{self.found.relative} has no headers; the first line of a table names its columns.")
        for one in self.further:
            one.join(sheet)
        try:
            sheet.cells.sink_parquet(staged, **STAGED)
        except (pl.exceptions.PolarsError, OSError) as error:
            if sheet.separator:  # text is never at fault here
                raise
            raise DataError(f"The Parquet file is damaged: {str(error).splitlines()[0]}") from None
        return _Opened(self, sheet, staged)


def _slices(staged: FilePath) -> Iterator[pl.DataFrame]:
    rows = pl.scan_parquet(staged, glob=False)
    height = rows.select(pl.len()).collect().item()
    for start in range(0, height, ROWS):
        yield rows.slice(start, ROWS).collect()


@dataclass
class _Opened:
    """A table file opened, its cells on disk."""

    source: Source
    sheet: Sheet
    staged: FilePath
    parsed: dict[str, list[Any]] = field(default_factory=dict)

    @cached_property
    def headers(self) -> Headers:
        return Headers(self.sheet.headers)

    @cached_property
    def json_cells(self) -> list[str]:
        """The cells that hold JSON text of which the map reads a part."""
        written = [*self.source.paths, *self.tags, *self.source.feed.attributes]
        places = filter(None, map(self.headers.place, written))
        return list(dict.fromkeys(column for column, inner in places if inner))

    @cached_property
    def tags(self) -> list[str]:
        one = self.source.feed.columns.readings().get("tags")
        return alternatives(one.of) if one else []

    def lost(self) -> list[tuple[int, str, str]]:
        """Return what stopped the reading of the whole file, as broken rows after the last one."""
        last = pl.scan_parquet(self.staged, glob=False).select(pl.col("source_row").max()).collect().item() or 0
        return self.sheet.lost(max(last, *(row for row, *_ in self.sheet.ragged), 0) + 1)

    def order(self) -> str | None:
        """Return how the dates of events are written where that is beyond doubt, None where ISO or in doubt."""
        one = self.source.feed.columns.readings().get("occurred_at")
        places = [self.headers.place(written) for written in (alternatives(one.of) if one else [])]
        cells = {place[0] for place in places if place and place[1] is None}
        rows = pl.scan_parquet(self.staged, glob=False)
        for cell_ in sorted(cells):
            few = rows.select(cell_).filter(pl.col(cell_) != "").head(_LOOKED_AT)
            if few.select(is_not_iso(pl.col(cell_)).any()).collect().item():
                return order_of(rows, cell_)
        return None

    def notes(self) -> list[str]:
        """Return what was assumed of the file, and what of it is not read."""
        said = self.sheet.assumptions()
        if is_parquet(self.source.found.path):
            whole = pl.read_parquet_schema(self.source.found.path)
            inner = [name for name in whole if name not in self.sheet.headers]
            said += [f"columns of lists, structures or bytes are not read: {', '.join(inner)}"] if inner else []
        return said

    def batch(self, rows: pl.DataFrame) -> Batch:
        """Return rows as cells; those that are no UTF-8 or no JSON are broken."""
        text = pl.concat_str(self.headers.cells, separator=self.sheet.separator or ",").alias("as it stood")
        rows = rows.with_columns(text).with_columns(pl.when(~is_missing(pl.col(self.headers.cells))).then(
            pl.col(self.headers.cells)).name.keep())  # fmt: skip
        self.parsed = {column: [_parsed(value) for value in rows[column]] for column in self.json_cells}
        rows = rows.with_columns(self._wrong())
        is_sound = rows["wrong"].is_null()
        self.parsed = {
            column: [v for v, keep in zip(some, is_sound, strict=True) if keep] for column, some in self.parsed.items()
        }
        broken = rows.filter(~is_sound).select("source_row", "wrong", "as it stood").rows()
        rows = rows.filter(is_sound)
        return Batch(self._cells(rows), broken, rows["as it stood"])

    def _wrong(self) -> pl.Expr:
        reasons = []
        if self.sheet.mended:
            marked = pl.any_horizontal(pl.col(self.headers.cells).str.contains(NOT_UTF8, literal=True))
            reasons.append(pl.when(marked).then(pl.lit("not UTF-8")))
        for column, some in self.parsed.items():
            header = self.sheet.headers[self.headers.cells.index(column)]
            is_bad = pl.lit(pl.Series([value is _BROKEN for value in some], dtype=pl.Boolean))
            reasons.append(pl.when(is_bad).then(pl.lit(f"no JSON in column '{header[:100]}'")))
        return pl.coalesce([*reasons, pl.lit(None, pl.String)]).alias("wrong")

    def _cells(self, rows: pl.DataFrame) -> pl.DataFrame:
        own = pl.repeat(called(self.source.feed, self.source.found), rows.height, dtype=pl.String, eager=True)
        columns = {cell(one): own if one == FILE else self._texts(rows, one) for one in self.source.paths}
        no = pl.repeat(False, rows.height, dtype=pl.Boolean, eager=True)
        return pl.DataFrame(
            {"source_row": rows["source_row"], **columns, "is_shared": no, "is_empty": no, "tags": self._tags(rows),
             "attributes": self._attributes(rows)}
        )  # fmt: skip

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
        # As envelopes: unlike records, they may be something else than an object, or nothing.
        return Rows([], self.parsed[column]).values(inner or Path("", ENVELOPE, ()))

    def _tags(self, rows: pl.DataFrame) -> pl.Series:
        tags: list[str | None] = [None] * rows.height
        for one in self.tags:
            tags = [old or new for old, new in zip(tags, lists(self._values(rows, one)), strict=True)]
        return series(tags)

    def _attributes(self, rows: pl.DataFrame) -> pl.Series:
        """Return what no column of an event holds: the other columns, and what the map names besides, as JSON."""
        asked = [one for one in self.source.feed.attributes if self.headers.place(one)]
        further = {self._last(one): self._members(rows, one) for one in asked}
        known = {column for column, _ in filter(None, map(self.headers.place, [*self.source.paths, *self.tags]))}
        for column, header in zip(self.headers.cells, self.sheet.headers, strict=True):
            if column not in known and header not in further:
                further[header] = rows.select(_member(pl.col(column), header)).to_series()
        if not further:
            return pl.repeat(None, rows.height, dtype=pl.String, eager=True)
        whole = pl.DataFrame({f"m{place}": some for place, some in enumerate(further.values())})
        inner = pl.concat_str(pl.all(), separator=",", ignore_nulls=True)
        return whole.select(pl.when(inner != "").then(pl.concat_str(pl.lit("{"), inner, pl.lit("}")))).to_series()

    def _members(self, rows: pl.DataFrame, written: str) -> pl.Series:
        """Return the value of a path as a member of a JSON object; what is JSON already, as it stands."""
        name, (column, inner) = self._last(written), self.headers.place(written) or ("", None)
        if inner:
            values = self._values(rows, written)
            return series([None if value is None else f"{as_json(name)}:{as_json(value)}" for value in values])
        is_json = pl.Series([value is not None for value in self.parsed.get(column, [])] or [False], dtype=pl.Boolean)
        whole = pl.concat_str(pl.lit(f"{as_json(name)}:"), pl.col(column))
        return rows.select(pl.when(is_json).then(whole).otherwise(_member(pl.col(column), name))).to_series()

    @staticmethod
    def _last(written: str) -> str:
        return next(str(step) for step in reversed(path(written).steps) if isinstance(step, str))


def _parsed(text: str | None) -> Any:
    """Return the value of JSON text in a cell; None for other text, `_BROKEN` for what only begins like JSON."""
    if text is None or text.lstrip()[:1] not in ("{", "["):
        return None
    try:
        return framing.loads(text)
    except (ValueError, RecursionError):
        return _BROKEN


def _member(column: pl.Expr, name: str) -> pl.Expr:
    written = pl.struct(column.alias(name)).struct.json_encode().str.slice(1).str.head(-1)
    return pl.when(column.is_not_null()).then(written)
