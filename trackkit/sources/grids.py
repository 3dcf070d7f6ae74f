"""Tables of declared formats: the columns that a map names become cells, however their headers are written."""

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import polars as pl

from trackkit.errors import DataError
from trackkit.sources import files
from trackkit.sources.feed import Feed
from trackkit.sources.files import NOT_UTF8, Found
from trackkit.sources.maps import plain_name
from trackkit.sources.paths import cell
from trackkit.sources.records import Batch, Source
from trackkit.sources.sheets import Sheet, dialect, is_parquet, open_sheet
from trackkit.sources.staging import STAGED, staged_path
from trackkit.sources.values import is_missing

FILE = "file"  # the cell that holds the name of the file, in letters and digits
_ROWS = 100_000  # taken at once


def places(feed: Feed, headers: list[str]) -> dict[str, str]:
    """Return the cell of each path that a header names, the first such header counting."""
    known: dict[str, str] = {}
    for place, header in enumerate(headers):
        known.setdefault(plain_name(header), f"c{place}")
    return {one: known[name] for one in feed.used() if (name := plain_name(one)) in known and one != FILE}


def fits(feed: Feed, found: Found) -> int:
    """Return how many columns of a table file a map knows; 0 where one that it needs is missing."""
    try:
        headers = dialect(found, lambda some: len(places(feed, some))).headers
    except DataError:
        return 0
    plain = {plain_name(header) for header in headers}
    marks = feed.recognise

    def has(written: str) -> bool:
        return any(plain_name(one) in plain for one in written.split("|"))

    is_it = all(map(has, marks.all)) and (not marks.any or any(map(has, marks.any))) and not any(map(has, marks.none))
    is_named = not marks.files or plain_name(stem(found)) in map(plain_name, marks.files)
    return len(places(feed, headers)) if is_it and is_named else 0


def stem(found: Found) -> str:
    """Return the name of a file without its endings."""
    return PurePosixPath(found.relative).name.split(".")[0]


class Grid(Source):
    """The rows of one table file, numbered from 1, the header left out."""

    def batches(self, folder: Path) -> Iterator[Batch]:
        """Yield the rows as cells, then those that are no rows of the table."""
        target, lost = staged_path(folder, "parquet"), []
        sheet = open_sheet(self.found, self._knows)
        sheet.cells.sink_parquet(target, **STAGED)
        if sheet.trouble and not is_parquet(self.found.path):  # not UTF-8, or cut short: again, from a readable copy
            mended = files.mend(self.found.path, staged_path(folder, "csv"), allow_latin1=True)
            sheet = open_sheet(Found(mended.path, self.found.relative), self._knows)
            sheet.cells.sink_parquet(target, **STAGED)
            self.notes += ["the text is not UTF-8 and was read as Latin-1"] if mended.is_latin1 else []
            lost += [f"the file is cut here and the rest of it is lost: {mended.reason}"] if mended.reason else []
            mended.path.unlink()
        rows = pl.scan_parquet(target, glob=False)
        count = rows.select(pl.len()).collect().item()
        for start in range(0, count, _ROWS):
            yield self._batch(sheet, rows.slice(start, _ROWS).collect())
        lost += [f"the rest of the file cannot be read: {trouble}" for trouble in sheet.trouble]
        ends = [(count + len(sheet.ragged) + place, reason, "") for place, reason in enumerate(lost, 1)]
        yield Batch(None, [*sheet.ragged, *ends])

    def _knows(self, headers: list[str]) -> int:
        return len(places(self.feed, headers))

    def _batch(self, sheet: Sheet, rows: pl.DataFrame) -> Batch:
        found = places(self.feed, sheet.headers)
        is_marked = _text(sheet).str.contains(NOT_UTF8, literal=True)
        marked = rows.filter(is_marked).select("source_row", pl.lit("not UTF-8"), _text(sheet).str.replace("\x00", ""))
        rows = rows.filter(~is_marked)
        self.ignored = [header for place, header in enumerate(sheet.headers) if f"c{place}" not in found.values()]
        own = {cell(one): pl.lit(plain_name(stem(self.found))) for one in self.paths if one == FILE}
        texts = {cell(one): pl.when(~is_missing(pl.col(c))).then(c) for one, c in found.items()}
        lacking = {cell(one): pl.lit(None, pl.String) for one in self.paths if one not in found}
        lacking |= {name: pl.lit(None, pl.String) for name in ("tags", "attributes")}
        cells = rows.select("source_row", **(lacking | texts | own), is_shared=pl.lit(False), is_empty=pl.lit(False))
        return Batch(cells, marked.rows(), rows.select(_text(sheet)).to_series().to_list())


def _text(sheet: Sheet) -> pl.Expr:
    names = [f"c{place}" for place in range(len(sheet.headers))]
    return pl.concat_str(names, separator=sheet.separator or ",", ignore_nulls=True).alias("text")
