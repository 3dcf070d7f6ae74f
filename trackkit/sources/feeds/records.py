"""JSON records to cells: envelopes opened, lists of recipients expanded, and the values of paths as columns.

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
    """Rows of a source as text cells, the unreadable rows, and the original text of each row."""

    cells: pl.DataFrame | None
    broken: list[tuple[int, str, str]] = field(default_factory=list)
    originals: Sequence[Any] | pl.Series = ()

    def text(self, index: int) -> str:
        """Return the text of a row, by its place in `cells`."""
        original = self.originals[index]
        return original if isinstance(original, str) else as_json(original).encode("utf-8", "replace").decode()


@dataclass
class Source:
    """A file read by a map: the requested cells, and notes on it at the end."""

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
        chunks = _chunks(framing.records(self.found.path, reader.shape, trouble))
        while parts := _uncollected(lambda: [reader.batch(chunk) for chunk in _up_to_batch(chunks)]):
            yield _joined(parts, names)
        self.notes += trouble.holes.notes


def _uncollected(work: Callable[[], list[Batch]]) -> list[Batch]:
    """Run work without garbage collection, which took half the time; JSON has no cycles."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        return work()
    finally:
        if was_on:
            gc.enable()


def _chunks(records: Iterator[Any]) -> Iterator[list[Any] | RecordRun]:
    chunk: list[Any] = []
    for record in records:
        if chunk and (type(record) is RecordRun or len(chunk) == _LAID):
            yield chunk
            chunk = []
        if type(record) is RecordRun:
            yield record
        else:
            chunk.append(record)
    if chunk:
        yield chunk


def _up_to_batch(chunks: Iterator[list[Any] | RecordRun]) -> Iterator[list[Any] | RecordRun]:
    count = 0
    while count < BATCH and (chunk := next(chunks, None)) is not None:
        yield chunk
        count += len(chunk)


def _joined(parts: list[Batch], names: list[str]) -> Batch:
    """Concatenate batches, with all columns, also those without any value."""
    cells = pl.concat([part.cells for part in parts if part.cells is not None], how="diagonal")
    missing = {name: pl.lit(None, pl.String) for name in names if name not in cells.columns}
    cells = cells.with_columns(**missing)
    cells = cells.with_columns(pl.when(pl.col(name) != "").then(name).alias(name) for name in names)
    broken = [row for part in parts for row in part.broken]
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
        """Return records as cells; a record nested too deeply to be written again is broken."""
        if isinstance(chunk, RecordRun):
            return self._of_run(chunk)
        first_number = self.number
        try:
            return self._batch(chunk)
        except RecursionError:
            self.number = first_number
            return self._batch(
                [
                    record if type(record) is Broken or can_be_written(record) else Broken(_TOO_DEEP, "")
                    for record in chunk
                ]
            )

    def _of_run(self, run: RecordRun) -> Batch:
        """Return uniform records as cells at once; others one by one."""
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
        by_cell = {cell(written): run.column(path) for written, path in self.paths.items() if path.scope == RECORD}
        columns = {name: texts(column) for name, column in by_cell.items() if column is not None}
        recipients = run.firsts(self.of)
        columns |= {cell(RECIPIENT): recipients} if recipients is not None and RECIPIENT in self.paths else {}
        tags = self._tags(run.values, [None] * len(run))
        names = {*run.frame.columns}
        attributes: list[str | None] = [None] * len(run)
        if names - self.known or any(run.column(path) is not None for path in self.attributes):
            attributes = self._attributes(RecordRows(list(run), [None] * len(run)))
        columns |= {"tags": series(tags), "attributes": series(attributes)}
        return pl.DataFrame(columns).with_columns(is_shared=False, is_empty=False)

    def _tags(self, values: Callable[[JsonPath], list[Any]], nothing: list[Any]) -> list[Any]:
        """Return the tags of each record, of the first path that gives some."""
        tags = nothing
        for path in reversed(self.tags):
            new_tags = lists(values(path))
            tags = new_tags if tags is nothing else [new or old for new, old in zip(new_tags, tags, strict=True)]
        return tags

    def _batch(self, chunk: list[Any]) -> Batch:
        rows, numbers, broken = self._opened(chunk)
        rows, numbers, shared = self._of_recipients(rows, numbers)
        return Batch(self._cells(rows, numbers, shared), broken, rows.records)

    def _opened(self, chunk: list[Any]) -> tuple[RecordRows, list[int], list[tuple[int, str, str]]]:
        """Return the records inside envelopes, their numbers, and what is no record."""
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
        lists_of_recipients = [many for many in map(rows.values, self.of) if many is not rows.nothing]
        recipients = lists_of_recipients[0] if lists_of_recipients else rows.nothing
        for others in lists_of_recipients[1:]:
            recipients = [
                first if first and type(first) is list else other
                for first, other in zip(recipients, others, strict=True)
            ]
        recipients_by_record = [many if many and type(many) is list else [None] for many in recipients]
        if max(map(len, recipients_by_record), default=1) == 1:
            rows.recipients = [first for (first,) in recipients_by_record]
            return rows, numbers, [False] * len(numbers)
        return self._of_several(rows, numbers, recipients_by_record)

    def _of_several(
        self, rows: RecordRows, numbers: list[int], recipients_by_record: list[list[Any]]
    ) -> tuple[RecordRows, list[int], list[bool]]:
        exceptions = [values for values in map(rows.values, self.unless) if values is not rows.nothing]
        spread, counted, shared = RecordRows([], []), [], []
        for index, (record, envelope) in enumerate(zip(rows.records, rows.envelopes, strict=True)):
            is_shared = len(recipients_by_record[index]) > 1 and any(values[index] is not None for values in exceptions)
            for person in [None] if is_shared else recipients_by_record[index]:
                spread.records.append(record)
                spread.envelopes.append(envelope)
                spread.recipients.append(person)
                counted.append(numbers[index])
                shared.append(is_shared)
        return spread, counted, shared

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
        unknown_names = rows.names - self.known
        by_path = {path: rows.values(path) for path in self.attributes}
        by_path = {path: values for path, values in by_path.items() if values is not rows.nothing}
        if not unknown_names and not by_path:
            return rows.nothing
        attributes: list[dict[str, Any]] = [{} for _ in rows.records]
        if unknown_names:
            attributes = [{name: record[name] for name in record if name in unknown_names} for record in rows.records]
        for path, values in by_path.items():
            name = next(step for step in reversed(path.steps) if isinstance(step, str))
            for kept, value in zip(attributes, values, strict=True):
                if value is not None:
                    kept.setdefault(name, value)
        return each_as_json(attributes)


def _refusal(value: Any) -> tuple[str, str]:
    return (value.reason, value.text) if type(value) is Broken else ("no JSON object", as_json(value))


def opened(record: Any, steps: list[JsonPath], envelope: Any = None) -> Iterator[tuple[Any, Any]]:
    """Yield the records inside a record, each with its envelope: all that stood around it, the innermost first.

    >>> from trackkit.sources.feeds.json_paths import json_path
    >>> list(opened({"id": 1, "items": [{"a": 1}, {"a": 2}]}, [json_path("items[]")]))
    [({'a': 1}, {'id': 1, 'items': [{'a': 1}, {'a': 2}]}), ({'a': 2}, {'id': 1, 'items': [{'a': 1}, {'a': 2}]})]
    """
    for depth, step in enumerate(steps):
        inner = _inside(record, step)
        if inner is None:
            continue
        envelope = {**(envelope or {}), **record}
        if step.explodes:
            for item in inner:
                yield from opened(item, steps[depth + 1 :], envelope)
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
        elements = {}
        for name, of, by in self.referred:
            if type(key := follow(record, by)) in (str, int):
                elements[name] = self._elements(of, envelope.get(of)).get(key)
        return {**envelope, **elements}

    def _elements(self, of: str, elements: Any) -> dict[Any, Any]:
        if of not in self.seen or self.seen[of][0] is not elements:
            objects = [element for element in elements if type(element) is dict] if type(elements) is list else []
            by_id = {element["id"]: element for element in objects if type(element.get("id")) in (str, int)}
            self.seen[of] = elements, by_id
        return self.seen[of][1]


def _inside(record: Any, step: JsonPath) -> Any:
    """Return the object, or list if the step explodes, at a step, also from JSON text; else None."""
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
