"""Headers of tables by declared formats: which format a table is of, and which column each path of a map is.

A path names a header, whatever its case and punctuation (`createdAt` is `created_at`), or a value of the JSON text in
a cell (`attributes.Link`). `^.file` is what the file, or a folder around it, is called.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath

import polars as pl

from trackkit import schema
from trackkit.errors import DataError
from trackkit.sources.feeds.feed import Feed, Sibling
from trackkit.sources.feeds.paths import ENVELOPE, RECORD, Path, alternatives, path
from trackkit.sources.files import Found
from trackkit.sources.maps import Field, TableMap, plain_name
from trackkit.sources.sheets import dialect

FILE = "^.file"
# Possessive: a name may be made of many digits, and is looked at from each of them.
_PART = re.compile(r"(?:[-_. ]*+(?:part|chunk)?+[-_. ]*+\d[\d_.T:-]*+)++$", re.IGNORECASE)
_EXTENSIONS = re.compile(r"(?i)(\.(csv|tsv|txt|parquet|gz|zst|snappy))+$")


def names(found: Found) -> list[str]:
    """Return the names that may say what a file is: its own, then those of its folders, a folder of parts being one."""
    whole = PurePosixPath(found.relative)
    given = [whole.name, *reversed(whole.parts[:-1]), found.path.parent.name]
    stems = [_EXTENSIONS.sub("", name) for name in given]
    return [plain_name(name) for stem in stems for name in (stem, _PART.sub("", stem)) if plain_name(name)]


def called(feed: Feed, found: Found) -> str:
    """Return which of the names that the map knows a file has, or else its own, in letters and digits."""
    known, own = [plain_name(name) for name in feed.recognise.files], names(found)
    return next((name for name in own if name in known), own[0] if own else "")


def of_table(found: Found, feeds: Mapping[str, Feed]) -> Feed | None:
    """Return the format whose marks the headers of a table file bear, that which knows most of them; None for none."""
    known = {name: _fitting(found, feed) for name, feed in feeds.items() if feed.engine == "table"}
    best = max(known, key=lambda name: known[name], default="")
    return feeds[best] if best and known[best] else None


def near_tables(found: Found, feeds: Mapping[str, Feed]) -> Iterator[tuple[float, int, str, list[str]]]:
    """Yield how near a table file comes to each format: the share and number of headers known, and what it lacks."""
    for name, feed in feeds.items():
        try:
            headers = Headers(dialect(found, lambda some, feed=feed: Headers(some).known(feed)).headers)
        except DataError:
            continue
        if feed.engine == "table" and (count := headers.known(feed)):
            lacking = [one for one in feed.recognise.all if not headers.have(one)]
            either = feed.recognise.any if not any(map(headers.have, feed.recognise.any)) else []
            lacking += [" or ".join(either)] if either else []
            yield count / max(len(feed.used()), 1), count, f"{name!r}", [one for one in lacking if one]


def siblings(feed: Feed) -> list[TableMap]:
    """Return the maps of the tables that come with the events of a format."""
    return [
        TableMap(one.files[0], feed.name, one.table, tuple(_field(one, name) for name in one.columns),
                 tuple(one.files), zone=feed.zone)
        for one in feed.sibling
    ]  # fmt: skip


def _field(sibling: Sibling, name: str) -> Field:
    table = schema.TABLES[sibling.table]
    kinds = {schema.INSTANT: "instant", pl.Boolean(): "flag", pl.Int64(): "count", pl.Int16(): "code"}
    headers = tuple(alternatives(sibling.columns[name]))
    return Field(name, kinds.get(table.schema[name], "text"), headers, required=name == table.key[0])


def _fitting(found: Found, feed: Feed) -> int:
    try:
        headers = Headers(dialect(found, lambda some: Headers(some).known(feed)).headers)
    except DataError:
        return 0
    marks = feed.recognise
    is_named = called(feed, found) in map(plain_name, marks.files)
    has_any = is_named or any(map(headers.have, marks.any)) or not (marks.any or marks.files)
    fits = has_any and all(map(headers.have, marks.all)) and not any(map(headers.have, marks.none))
    return headers.known(feed) if fits else 0


class Headers:
    """The headers of a table file, and where the value of a path stands among its cells (c0, c1, …)."""

    def __init__(self, headers: list[str]) -> None:
        self.headers = headers
        self.cells = [f"c{place}" for place in range(len(headers))]
        self.named: dict[str, str] = {}
        for cell, header in zip(self.cells, headers, strict=True):
            self.named.setdefault(plain_name(header), cell)
        self.named.pop("", None)

    def place(self, written: str) -> tuple[str, Path | None] | None:
        """Return the cell of a path, and the path inside its JSON text where it is a part of it; None without one."""
        one = path(written)
        if one.scope != RECORD:
            return None
        if (cell := self.named.get(plain_name(written))) is not None:
            return cell, None
        cell = self.named.get(plain_name(str(one.steps[0])))
        return (cell, Path(written, ENVELOPE, one.steps[1:])) if cell and len(one.steps) > 1 else None

    def have(self, written: str) -> bool:
        """Return whether one of the paths has a place."""
        return any(self.place(one) for one in alternatives(written) if not one.startswith("="))

    def known(self, feed: Feed) -> int:
        """Return how many columns the map reads."""
        given = (self.place(one) for one in feed.used() if not one.startswith("="))
        return len({cell for cell, _ in filter(None, given)})
