"""JSON records to cells: envelopes are opened, lists of recipients spread, and the values of paths laid side by side.

Records are parsed to Python's objects (`framing`), which alone keep what the formats need: whole numbers beyond 2^53,
keys that no map knows, null beside nothing. Each path is then one pass over a thousand of them, or none where no record
has its first name; from the cells on, work is done on whole columns.
"""

import gc
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from trackkit.sources.feeds import framing
from trackkit.sources.feeds.arrow_json import Chained, NotUniform, RecordRun, RecordShape, texts
from trackkit.sources.feeds.feed import Feed
from trackkit.sources.feeds.framing import Broken
from trackkit.sources.feeds.json_paths import (
    RECIPIENT,
    RECORD,
    JsonPath,
    RecordRows,
    as_json,
    can_be_written,
    cell,
    each_as_json,
    follow,
    json_path,
    lists,
    series,
    singles,
)
from trackkit.sources.files import Found, Trouble

BATCH = 20_000  # records mapped at once
_LAID = 1_000  # records laid side by side at once: few enough to stay in the processor's cache
_TOO_DEEP = "no JSON: nested too deeply"


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
    order: str | None = None  # how dates are written that are not ISO, where the file leaves no doubt

    def batches(self, folder: Path) -> Iterator[Batch]:
        """Yield the file as cells; `folder` is for what cannot be held in memory."""
        raise NotImplementedError


class JsonSource(Source):
    """A file of JSON records, numbered from 1 in the order in which they stand, broken ones included."""

    def batches(self, folder: Path) -> Iterator[Batch]:
        """Yield the records as cells."""
        reader, names = _RecordReader(self.feed, self.paths), [*map(cell, self.paths), "tags", "attributes"]
        trouble = Trouble()
        found = _chunks(framing.records(self.found.path, reader.shape, trouble))
        while parts := _uncollected(lambda: [reader.batch(chunk) for chunk in _up_to_batch(found)]):
            yield _joined(parts, names)
        self.notes += trouble.holes.notes


def _uncollected(work: Callable[[], list[Batch]]) -> list[Batch]:
    """Return what work returns; meanwhile nobody looks for cycles, of which JSON has none: that took half the time."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        return work()
    finally:
        if was_on:
            gc.enable()


def _chunks(found: Iterator[Any]) -> Iterator[list[Any] | RecordRun]:
    chunk: list[Any] = []
    for one in found:
        if chunk and (type(one) is RecordRun or len(chunk) == _LAID):
            yield chunk
            chunk = []
        if type(one) is RecordRun:
            yield one
        else:
            chunk.append(one)
    if chunk:
        yield chunk


def _up_to_batch(found: Iterator[list[Any] | RecordRun]) -> Iterator[list[Any] | RecordRun]:
    taken = 0
    while taken < BATCH and (chunk := next(found, None)) is not None:
        yield chunk
        taken += len(chunk)


def _joined(parts: list[Batch], names: list[str]) -> Batch:
    """Return one batch with all columns, those too that no record has a value of."""
    cells = pl.concat([part.cells for part in parts if part.cells is not None], how="diagonal")
    lacking = {name: pl.lit(None, pl.String) for name in names if name not in cells.columns}
    cells = cells.with_columns(**lacking)
    cells = cells.with_columns(pl.when(pl.col(name) != "").then(name).alias(name) for name in names)
    broken = [one for part in parts for one in part.broken]
    return Batch(cells, broken, Chained([part.originals for part in parts]))


class _RecordReader:
    """Lays the records of a file side by side as cells, and numbers them."""

    def __init__(self, feed: Feed, paths: list[str]) -> None:
        self.steps = [json_path(written) for written in feed.unwrap]
        self.heads = {step.steps[0] for step in self.steps}
        self.paths = {written: json_path(written) for written in paths}
        self.number = 0
        self.shape = RecordShape()
        self.tags = singles(feed.columns.tags.of if feed.columns.tags else None)
        self.attributes = [json_path(one) for one in feed.attributes]
        self.references = References([(one.name, one.of, json_path(one.by)) for one in feed.referred])
        self.of = singles(feed.recipients.of if feed.recipients else None)
        self.unless = singles(feed.recipients.unless if feed.recipients else None)
        used = [one for written in feed.used() for one in singles(written)]
        self.known = {one.steps[0] for one in (*used, *self.tags, *self.of) if one.scope == RECORD}

    def batch(self, chunk: list[Any] | RecordRun) -> Batch:
        """Return records as cells; one that can be read but is nested too deeply to be written again is broken."""
        if isinstance(chunk, RecordRun):
            return self._of_run(chunk)
        before = self.number
        try:
            return self._batch(chunk)
        except RecursionError:
            self.number = before
            return self._batch(
                [one if type(one) is Broken or can_be_written(one) else Broken(_TOO_DEEP, "") for one in chunk]
            )

    def _of_run(self, run: RecordRun) -> Batch:
        """Return records read at once as cells; where their values need more than a column, one by one."""
        try:
            cells = self._columns(run)
        except NotUniform:
            self.shape.tries -= 1
            return self._batch(list(run))
        self.number += len(run)
        return Batch(cells.with_columns(source_row=pl.int_range(self.number - len(run) + 1, self.number + 1)), [], run)

    def _columns(self, run: RecordRun) -> pl.DataFrame:
        if not self.heads.isdisjoint(run.frame.columns):
            raise NotUniform
        found = {cell(written): run.column(one) for written, one in self.paths.items() if one.scope == RECORD}
        columns = {name: texts(column) for name, column in found.items() if column is not None}
        whom = run.firsts(self.of)
        columns |= {cell(RECIPIENT): whom} if whom is not None and RECIPIENT in self.paths else {}
        tags = self._tags(run.values, [None] * len(run))
        names = {*run.frame.columns}
        rest: list[str | None] = [None] * len(run)
        if names - self.known or any(run.column(one) is not None for one in self.attributes):
            rest = self._attributes(RecordRows(list(run), [None] * len(run)))
        columns |= {"tags": series(tags), "attributes": series(rest)}
        return pl.DataFrame(columns).with_columns(is_shared=False, is_empty=False)

    def _tags(self, values: Callable[[JsonPath], list[Any]], nothing: list[Any]) -> list[Any]:
        """Return the tags of each record, of the first path that gives some."""
        tags = nothing
        for one in reversed(self.tags):
            given = lists(values(one))
            tags = given if tags is nothing else [new or old for new, old in zip(given, tags, strict=True)]
        return tags

    def _batch(self, chunk: list[Any]) -> Batch:
        rows, numbers, broken = self._opened(chunk)
        rows, numbers, shared = self._of_recipients(rows, numbers)
        return Batch(self._cells(rows, numbers, shared), broken, rows.records)

    def _opened(self, chunk: list[Any]) -> tuple[RecordRows, list[int], list[tuple[int, str, str]]]:
        """Return the records inside, their numbers, and what is none."""
        if self._is_plain(chunk):
            self.number += len(chunk)
            numbers = list(range(self.number - len(chunk) + 1, self.number + 1))
            return RecordRows(chunk, [None] * len(chunk)), numbers, []
        rows, numbers, broken = RecordRows([], []), [], []
        for record in chunk:
            for one, envelope in [(record, None)] if type(record) is Broken else opened(record, self.steps):
                self.number += 1
                if type(one) is dict:
                    rows.records.append(one)
                    rows.envelopes.append(self.references.put(one, envelope))
                    numbers.append(self.number)
                else:
                    broken.append((self.number, *_refusal(one)))
        return rows, numbers, broken

    def _is_plain(self, chunk: list[Any]) -> bool:
        """Return whether no record has anything to open."""
        return {*map(type, chunk)} == {dict} and self.heads.isdisjoint(set().union(*chunk) if self.heads else ())

    def _of_recipients(self, rows: RecordRows, numbers: list[int]) -> tuple[RecordRows, list[int], list[bool]]:
        if not self.of:
            return rows, numbers, [False] * len(numbers)
        given = [many for many in map(rows.values, self.of) if many is not rows.nothing]
        whom = given[0] if given else rows.nothing
        for further in given[1:]:
            whom = [one if one and type(one) is list else other for one, other in zip(whom, further, strict=True)]
        people = [many if many and type(many) is list else [None] for many in whom]
        if max(map(len, people), default=1) == 1:
            rows.recipients = [one for (one,) in people]
            return rows, numbers, [False] * len(numbers)
        return self._of_several(rows, numbers, people)

    def _of_several(
        self, rows: RecordRows, numbers: list[int], people: list[list[Any]]
    ) -> tuple[RecordRows, list[int], list[bool]]:
        hidden = [one for one in map(rows.values, self.unless) if one is not rows.nothing]
        out, counted, shared = RecordRows([], []), [], []
        for place, (record, envelope) in enumerate(zip(rows.records, rows.envelopes, strict=True)):
            is_shared = len(people[place]) > 1 and any(one[place] is not None for one in hidden)
            for person in [None] if is_shared else people[place]:
                out.records.append(record)
                out.envelopes.append(envelope)
                out.recipients.append(person)
                counted.append(numbers[place])
                shared.append(is_shared)
        return out, counted, shared

    def _cells(self, rows: RecordRows, numbers: list[int], shared: list[bool]) -> pl.DataFrame:
        if not rows.recipients:
            rows.recipients = rows.nothing
        columns = {cell(written): rows.texts(one) for written, one in self.paths.items()}
        tags = self._tags(rows.values, rows.nothing)
        for name, values in {"tags": tags, "attributes": self._attributes(rows)}.items():
            columns[name] = None if values is rows.nothing else series(values)
        numbered = {
            "source_row": pl.Series(numbers, dtype=pl.Int64),
            "is_shared": pl.Series(shared, dtype=pl.Boolean),
            "is_empty": pl.Series([not one for one in rows.records], dtype=pl.Boolean),
        }
        return pl.DataFrame(numbered | {name: column for name, column in columns.items() if column is not None})

    def _attributes(self, rows: RecordRows) -> list[str | None]:
        further = rows.names - self.known
        asked = {one: rows.values(one) for one in self.attributes}
        asked = {one: values for one, values in asked.items() if values is not rows.nothing}
        if not further and not asked:
            return rows.nothing
        rest: list[dict[str, Any]] = [{} for _ in rows.records]
        if further:
            rest = [{name: value for name, value in one.items() if name in further} for one in rows.records]
        for one, values in asked.items():
            name = next(step for step in reversed(one.steps) if isinstance(step, str))
            for kept, value in zip(rest, values, strict=True):
                if value is not None:
                    kept.setdefault(name, value)
        return each_as_json(rest)


def _refusal(one: Any) -> tuple[str, str]:
    return (one.reason, one.text) if type(one) is Broken else ("no JSON object", as_json(one))


def opened(record: Any, steps: list[JsonPath], envelope: Any = None) -> Iterator[tuple[Any, Any]]:
    """Yield the records inside a record, each with its envelope: all that stood around it, the innermost first.

    >>> from trackkit.sources.feeds.json_paths import json_path
    >>> list(opened({"id": 1, "items": [{"a": 1}, {"a": 2}]}, [json_path("items[]")]))
    [({'a': 1}, {'id': 1, 'items': [{'a': 1}, {'a': 2}]}), ({'a': 2}, {'id': 1, 'items': [{'a': 1}, {'a': 2}]})]
    """
    for place, step in enumerate(steps):
        inner = _inside(record, step)
        if inner is None:
            continue
        envelope = {**(envelope or {}), **record}
        if step.explodes:
            for one in inner:
                yield from opened(one, steps[place + 1 :], envelope)
            return
        record = inner
    yield record, envelope


class References:
    """Which elements of the lists around a record it names by their `id`; each list is gone through once.

    >>> from trackkit.sources.feeds.json_paths import json_path
    >>> beside = References([("metric", "included", json_path("metric_id"))])
    >>> beside.put({"metric_id": "7"}, {"included": [{"id": "7", "name": "Opened"}]})["metric"]
    {'id': '7', 'name': 'Opened'}
    """

    def __init__(self, referred: list[tuple[str, str, JsonPath]]) -> None:
        self.referred = referred
        self.seen: dict[str, tuple[Any, dict[Any, Any]]] = {}

    def put(self, record: Any, envelope: Any) -> Any:
        """Return the envelope of a record with the elements that it names, each under its name."""
        if not self.referred or not envelope:
            return envelope
        named = {}
        for name, of, by in self.referred:
            if type(key := follow(record, by)) in (str, int):
                named[name] = self._elements(of, envelope.get(of)).get(key)
        return {**envelope, **named}

    def _elements(self, of: str, many: Any) -> dict[Any, Any]:
        if of not in self.seen or self.seen[of][0] is not many:
            some = [one for one in many if type(one) is dict] if type(many) is list else []
            self.seen[of] = many, {one["id"]: one for one in some if type(one.get("id")) in (str, int)}
        return self.seen[of][1]


def _inside(record: Any, step: JsonPath) -> Any:
    """Return what a step leads to: an object, or a list where it explodes, also as JSON text; None for neither."""
    if type(record) is not dict or step.steps[0] not in record:
        return None
    value = follow(record, step)
    if value is None and step.steps[-1] == "*":
        return {} if follow(record, JsonPath("", RECORD, step.steps[:-1])) == {} else None
    if isinstance(value, str) and value.lstrip()[:1] in ("{", "["):
        try:
            value = framing.loads(value)
        except (ValueError, RecursionError):
            return None
    return value if isinstance(value, list if step.explodes else dict) else None
