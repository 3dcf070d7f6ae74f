"""JSON records to cells: envelopes are opened, lists of recipients spread, and the values of paths laid side by side.

The parser is Python's own, in C, since it alone keeps what the formats need: whole numbers beyond 2^53, keys that no
map knows, and the rest of a file of which one record is broken. From the cells on, work is done on whole columns.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path as FilePath
from typing import Any

import polars as pl

from trackkit.sources.feeds import framing
from trackkit.sources.feeds.feed import Feed
from trackkit.sources.feeds.framing import Broken
from trackkit.sources.feeds.paths import (
    RECORD,
    Path,
    Rows,
    alternatives,
    as_json,
    cell,
    each_as_json,
    follow,
    lists,
    path,
    texts,
)
from trackkit.sources.files import Found

BATCH = 20_000  # records mapped at once
_LAID = 1_000  # records laid side by side at once: few enough to stay in the processor's cache
_TOO_DEEP = "no JSON: nested too deeply"
_SHAPES = 10_000  # sets of names of records that are remembered


@dataclass
class Batch:
    """Some rows of a source as text cells, the rows that could not be read, and how to show a row as it stood."""

    cells: pl.DataFrame | None
    broken: list[tuple[int, str, str]] = field(default_factory=list)
    originals: Sequence[Any] | pl.Series = ()

    def text(self, place: int) -> str:
        """Return the text of a row, by its place in `cells`."""
        one = self.originals[place]
        return one if isinstance(one, str) else as_json(one).encode("utf-8", "replace").decode()


@dataclass
class Source:
    """One file being read by a map: the cells that are asked for, and what there is to say of it at the end."""

    found: Found
    feed: Feed
    paths: list[str]
    not_events: int = 0
    ignored: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def batches(self, folder: FilePath) -> Iterator[Batch]:
        """Yield the file as cells; `folder` is for what cannot be held in memory."""
        raise NotImplementedError


class Records(Source):
    """A file of JSON records, numbered from 1 in the order in which they stand, broken ones included."""

    def batches(self, folder: FilePath) -> Iterator[Batch]:
        """Yield the records as cells."""
        spread = _Spread(self.feed, self.paths)
        found = framing.records(self.found.path)
        while parts := [spread.batch(chunk) for chunk in _chunks(islice(found, BATCH))]:
            yield _joined(parts)


def _chunks(found: Iterator[Any]) -> Iterator[list[Any]]:
    while chunk := list(islice(found, _LAID)):
        yield chunk


def _joined(parts: list[Batch]) -> Batch:
    cells = pl.concat([part.cells for part in parts if part.cells is not None])
    texts = [name for name, kind in cells.schema.items() if kind == pl.String]
    cells = cells.with_columns(pl.when(pl.col(name) != "").then(name).alias(name) for name in texts)
    broken = [one for part in parts for one in part.broken]
    return Batch(cells, broken, [one for part in parts for one in part.originals])


def opened(record: Any, steps: list[Path], envelope: Any = None) -> Iterator[tuple[Any, Any]]:
    """Yield the records inside a record, each with its envelope: what stood around it, the innermost first.

    >>> list(opened({"id": 1, "items": [{"a": 1}, {"a": 2}]}, [path("items[]")]))
    [({'a': 1}, {'id': 1}), ({'a': 2}, {'id': 1})]
    """
    for place, step in enumerate(steps):
        inner = _inside(record, step)
        if inner is None:
            continue
        head = step.steps[0]
        envelope = {**(envelope or {}), **{name: value for name, value in record.items() if name != head}}
        if step.explodes:
            for one in inner:
                yield from opened(one, steps[place + 1 :], envelope)
            return
        record = inner
    yield record, envelope


def _inside(record: Any, step: Path) -> Any:
    """Return what a step leads to: an object, or a list where it explodes, also as JSON text; None for neither."""
    if type(record) is not dict or step.steps[0] not in record:
        return None
    value = follow(record, step)
    if value is None and step.steps[-1] == "*":
        return {} if follow(record, Path("", RECORD, step.steps[:-1])) == {} else None
    if isinstance(value, str) and value.lstrip()[:1] in ("{", "["):
        try:
            value = framing.loads(value)
        except (ValueError, RecursionError):
            return None
    return value if isinstance(value, list if step.explodes else dict) else None


class _Spread:
    """A map made ready for laying records side by side, and the number of the last one."""

    def __init__(self, feed: Feed, paths: list[str]) -> None:
        self.steps = [path(written) for written in feed.unwrap]
        self.paths = {written: path(written) for written in paths}
        self.number = 0
        self.shapes: dict[tuple[str, ...], list[str]] = {}
        tags = feed.columns.readings().get("tags")
        self.tags = [path(one) for one in alternatives(tags.of)] if tags else []
        self.attributes = [path(one) for one in feed.attributes]
        given = feed.recipients
        self.of = [path(one) for one in alternatives(given.of)] if given else []
        self.unless = [path(one) for one in alternatives(given.unless)] if given and given.unless else []
        used = [path(one) for one in feed.used() if not one.startswith("=")]
        self.known = {one.steps[0] for one in (*used, *self.tags, *self.of) if one.scope == RECORD}

    def batch(self, chunk: list[Any]) -> Batch:
        """Return records as cells; one that can be read but is nested too deeply to be written again is broken."""
        before = self.number
        try:
            return self._batch(chunk)
        except RecursionError:
            self.number = before
            return self._batch([one if _can_be_written(one) else Broken(_TOO_DEEP, "") for one in chunk])

    def _batch(self, chunk: list[Any]) -> Batch:
        records, envelopes, numbers, broken = [], [], [], []
        for record in chunk:
            for one, envelope in (
                [(record, None)] if not self.steps or type(record) is Broken else opened(record, self.steps)
            ):
                self.number += 1
                if type(one) is dict:
                    records.append(one)
                    envelopes.append(envelope)
                    numbers.append(self.number)
                else:
                    broken.append((self.number, *_refusal(one)))
        rows, numbers, shared = self._of_recipients(Rows(records, envelopes), numbers)
        return Batch(self._cells(rows, numbers, shared), broken, rows.records)

    def _of_recipients(self, rows: Rows, numbers: list[int]) -> tuple[Rows, list[int], list[bool]]:
        if not self.of:
            return rows, numbers, [False] * len(numbers)
        whom = [rows.values(one) for one in self.of]
        hidden = [rows.values(one) for one in self.unless]
        out, counted, shared = Rows([], [], []), [], []
        for place, (record, envelope) in enumerate(zip(rows.records, rows.envelopes, strict=True)):
            people = next((many[place] for many in whom if many[place] and type(many[place]) is list), [None])
            is_shared = len(people) > 1 and any(one[place] is not None for one in hidden)
            for person in [None] if is_shared else people:
                out.records.append(record)
                out.envelopes.append(envelope)
                out.recipients.append(person)
                counted.append(numbers[place])
                shared.append(is_shared)
        return out, counted, shared

    def _cells(self, rows: Rows, numbers: list[int], shared: list[bool]) -> pl.DataFrame:
        if not rows.recipients:
            rows.recipients = [None] * len(rows.records)
        columns = {cell(written): texts(rows.values(one)) for written, one in self.paths.items()}
        tags = [None] * len(numbers)
        for one in reversed(self.tags):
            tags = [new or old for new, old in zip(lists(rows.values(one)), tags, strict=True)]
        columns |= {"tags": tags, "attributes": self._attributes(rows)}
        series = [_series(name, values) for name, values in columns.items()]
        return pl.DataFrame(series).with_columns(
            source_row=pl.Series(numbers, dtype=pl.Int64), is_shared=pl.Series(shared, dtype=pl.Boolean),
            is_empty=pl.Series([not one for one in rows.records], dtype=pl.Boolean),
        )  # fmt: skip

    def _attributes(self, rows: Rows) -> list[str | None]:
        rest = [{name: record[name] for name in self._further(record)} for record in rows.records]
        for one in self.attributes:
            name = next(step for step in reversed(one.steps) if isinstance(step, str))
            for further, value in zip(rest, rows.values(one), strict=True):
                if value is not None:
                    further.setdefault(name, value)
        return each_as_json(rest)

    def _further(self, record: dict[str, Any]) -> list[str]:
        """Return the names in a record that the map does not know; records of the same names are asked once."""
        names = tuple(record)
        if names not in self.shapes:
            if len(self.shapes) > _SHAPES:
                self.shapes.clear()
            self.shapes[names] = [name for name in names if name not in self.known]
        return self.shapes[names]


def _can_be_written(record: Any) -> bool:
    try:
        as_json([[record]])
    except RecursionError:
        return False
    return True


def _refusal(one: Any) -> tuple[str, str]:
    return (one.reason, one.text) if type(one) is Broken else ("no JSON object", as_json(one))


def _series(name: str, values: list[str | None]) -> pl.Series:
    try:
        return pl.Series(name, values, dtype=pl.String)
    except UnicodeEncodeError:  # half of a surrogate pair, which JSON can write and no text can hold
        whole = [v if v is None else v.encode("utf-8", "replace").decode() for v in values]
        return pl.Series(name, whole, dtype=pl.String)
