"""Tables that hold further columns of events: read once, and joined to each table of events that comes with them."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import polars as pl

from trackkit.errors import DataError
from trackkit.sources.feeds.feed import Feed
from trackkit.sources.feeds.headers import Headers, names
from trackkit.sources.feeds.tabular import Table
from trackkit.sources.files import Found
from trackkit.sources.maps import plain_name
from trackkit.sources.report import SourceReport
from trackkit.sources.sheets import EXTENSIONS, Sheet, dialect
from trackkit.sources.staging import Staged, quarantine_frame

_ROWS = "rows of id"


@dataclass
class Further:
    """The rows of such tables of a format, as text; a column is called as its header in small letters and digits.

    `unclear` counts the rows of which it is not known whose they are; `places` are the files of the rows, which go when
    nothing holds them.
    """

    feed: Feed
    headers: dict[str, str]
    rows: pl.LazyFrame
    places: list[Path]
    unclear: int = 0

    def join(self, sheet: Sheet) -> None:
        """Give the rows of a table of events the columns that they lack, by the ids that both tables have."""
        events = Headers(sheet.headers).named
        keys = [key for key in _keys(self.feed) if key in events and key in self.headers]
        new = [name for name in self.headers if name not in events]
        if not keys or not new:
            return
        cells = {name: f"c{place}" for place, name in enumerate(new, len(sheet.headers))}
        # An id that stands in no row of this table leaves its cells empty, as an empty cell is.
        sheet.cells = sheet.cells.join(
            self._once(keys, new).rename(cells), how="left", left_on=[events[key] for key in keys], right_on=keys,
            maintain_order="left",
        ).with_columns(pl.col(list(cells.values())).fill_null(""))  # fmt: skip
        sheet.headers = [*sheet.headers, *(self.headers[name] for name in new)]

    def _once(self, keys: list[str], columns: list[str]) -> pl.LazyFrame:
        """One row for each id; ids whose rows differ say nothing, since it is not known whose they are."""
        own = self.rows.filter(pl.all_horizontal(pl.col(keys) != "")).select(*keys, *columns).unique()
        rows = own.group_by(keys).agg(pl.col(columns).first(), pl.len().alias(_ROWS))
        several = rows.filter(pl.col(_ROWS) > 1).select(pl.col(_ROWS).sum())
        self.unclear = several.collect(engine="streaming").item() or 0
        return rows.filter(pl.col(_ROWS) == 1).drop(_ROWS)

    def notes(self) -> list[str]:
        """Return what of the tables no event was given."""
        what = f"{self.unclear:,} rows of further columns differ under one id: it is not known whose they are"
        return [what] if self.unclear else []


def merged(tables: list[Further]) -> list[Further]:
    """Return one for each format: its rows are those of all its files."""
    found: dict[str, Further] = {}
    for one in tables:
        if before := found.get(one.feed.name):
            rows = pl.concat([before.rows, one.rows], how="diagonal").with_columns(pl.all().fill_null(""))
            one = Further(one.feed, before.headers | one.headers, rows, [*before.places, *one.places])
        found[one.feed.name] = one
    return list(found.values())


def stage_further(found: Found, feed: Feed, folder: Path, further: list[Further]) -> Staged:
    """Read a table of further columns, those that the map reads, and put it to the others.

    Its report says so, and what cannot be read.
    """
    table = Table(found, feed, [])
    opened = table.opened(folder)
    read = {cell for cell, _ in filter(None, map(opened.headers.place, [*feed.used(), *feed.attributes, *_by(feed)]))}
    named = {name: cell for name, cell in opened.headers.named.items() if cell in read}
    headers = dict(zip(opened.headers.cells, opened.sheet.headers, strict=True))
    rows = pl.scan_parquet(opened.staged, glob=False).select(**{name: pl.col(cell) for name, cell in named.items()})
    bad, height = sorted([*opened.sheet.ragged, *opened.lost()]), rows.select(pl.len()).collect().item()
    report = SourceReport(found.relative, feed.name, "event", read=len(bad), quarantined=len(bad))
    report.assumptions += [*opened.notes(), f"its {height:,} rows hold further columns of events, and are no events"]
    report.ignored_columns = [header for cell, header in headers.items() if cell not in read]
    further.append(Further(feed, {name: headers[cell] for name, cell in named.items()}, rows, [opened.staged]))
    return Staged(report, {}, quarantine_frame(bad, report))


def _keys(feed: Feed) -> list[str]:
    return list(map(plain_name, _by(feed)))


def _by(feed: Feed) -> list[str]:
    return feed.extension.by if feed.extension else []


def extends(found: Found, feed: Feed) -> bool:
    """Return whether a file is the table of further columns of a format: by its name, and an id among its headers."""
    if not feed.extension or not set(map(plain_name, feed.extension.files)) & set(names(found)):
        return False
    try:
        headers = Headers(dialect(found, lambda some: sum(map(Headers(some).have, _by(feed)))).headers)
    except DataError:  # damaged, which its reader will say
        return False
    return any(map(headers.have, _by(feed)))


def together(files: list[Found], unread: list[Found], feeds: Mapping[str, Feed]) -> list[Found]:
    """Return the files to be read: with one that is new, the tables of its folder that are joined to it.

    Read again, a row is a copy of the one that is there; without its further columns it would be another one.
    """
    known = {plain_name(name) for feed in feeds.values() if feed.extension for name in feed.extension.files}
    folders = {_folder(one) for one in files if known & set(names(one))} & set(map(_folder, unread))
    return [one for one in files if one in unread or (_folder(one) in folders and _is_table(one))]


def _folder(found: Found) -> PurePosixPath:
    return PurePosixPath(found.relative).parent


def _is_table(found: Found) -> bool:
    return found.path.name.lower().endswith(EXTENSIONS)
