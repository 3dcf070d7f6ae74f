"""Paths into JSON records: which values of a JSON record a map means, evaluated over many records at once.

`a.b` is the value `b` of the value `a`; `a[0]` the first of a list; `a.*` the only value of an object, whatever its
name; `"a.b"` a name with a dot. `^.a` is `a` of the envelope that the record came in, `@` the recipient it is about
(`@.a` a value of it), `=a` the text `a` itself. `a | b` is the first of them that has a value. `a without b` is what
the list `a` holds and the list `b` does not.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from itertools import chain
from typing import Any
from uuid import uuid4

import orjson
import polars as pl

from trackkit.errors import RequestError

_STEP = re.compile(r'"([^"]+)"|\[(\d{1,4})\]|([^.\[\]"|]+)')
_WHOLE = re.compile(rf"(?:{_STEP.pattern})(?:\.?(?:{_STEP.pattern}))*(?:\[\])?")
RECORD, ENVELOPE, RECIPIENT = "", "^", "@"
_WITHOUT = " without "
Step = str | int
_PLAIN, _LISTS, _WHOLES = {str, type(None)}, {list, type(None)}, {int, type(None)}
_MARK = uuid4().hex
_SMALL = re.compile(r"[:\[,]-?(?:0\.0000|[0-9.]+e-)")  # a number that encoders write in several ways
_ENCODE = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


@dataclass(frozen=True)
class JsonPath:
    """One path: where it begins (the record, its envelope, its recipient), its steps, and the text as written."""

    written: str
    scope: str
    steps: tuple[Step, ...]
    explodes: bool = False
    without: "JsonPath | None" = None


@cache
def json_path(written: str) -> JsonPath:
    """Return a path as written; RequestError when it is none.

    >>> json_path("mail.tags.campaign[0]").steps, json_path("^.MessageId").scope, json_path("items[]").explodes
    (('mail', 'tags', 'campaign', 0), '^', True)
    """
    if _WITHOUT in written:
        kept, left_out = written.split(_WITHOUT, 1)
        return replace(json_path(kept), written=written.strip(), without=json_path(left_out))
    text = written.strip()
    scope = text[:1] if text[:1] in (ENVELOPE, RECIPIENT) else RECORD
    inner = text.removeprefix(scope).removeprefix(".") if scope else text
    if (not inner and scope != RECIPIENT) or (inner and not _WHOLE.fullmatch(inner)):
        raise RequestError(f"{written!r} is no path; write one as 'name', 'name.inner', 'list[0]' or '^.name'.")
    explodes = inner.endswith("[]")
    parts = _STEP.findall(inner.removesuffix("[]"))
    steps = tuple(quoted or (int(place) if place else name) for quoted, place, name in parts)
    return JsonPath(text, scope, steps, explodes)


def cell(written: str) -> str:
    """Return the name of the column that holds the texts of a single path, which no other column has."""
    return f"/{written}"


def alternatives(written: str) -> list[str]:
    """Return the single paths of `a | b`, in order; a constant `=a` is one of them.

    >>> alternatives("open.timestamp | ^.Timestamp"), alternatives("=daily")
    (['open.timestamp', '^.Timestamp'], ['=daily'])
    """
    parts = [written.strip()] if written.strip().startswith("=") else [part.strip() for part in written.split("|")]
    for part in parts:
        if not part.startswith("="):
            json_path(part)
    return parts


def singles(written: str | None) -> list[JsonPath]:
    """Return the paths of `a | b`, in order, constants left out; none for None."""
    return [json_path(path) for path in alternatives(written) if not path.startswith("=")] if written else []


@dataclass
class RecordRows:
    """Records of one batch, side by side with their envelopes and the recipients they are about."""

    records: list[Any]
    envelopes: list[Any]
    recipients: list[Any] = field(default_factory=list)
    _known: dict[tuple[str, tuple[Step, ...]], list[Any]] = field(default_factory=dict)

    @cached_property
    def names(self) -> set[str]:
        """The names that the records have at their outside."""
        return set().union(*self.records)

    @cached_property
    def nothing(self) -> list[Any]:
        """The values of a path without a value in any record; compared by identity."""
        return [None] * len(self.envelopes)

    def values(self, path: JsonPath) -> list[Any]:
        """Return the value of a path in each record, None where there is none."""
        whole = {RECORD: self.records, ENVELOPE: self.envelopes, RECIPIENT: self.recipients}[path.scope]
        values = self._followed(path.scope, path.steps, whole)
        if path.without is None or values is self.nothing:
            return values
        return [_rest(kept, left_out) for kept, left_out in zip(values, self.values(path.without), strict=True)]

    def _followed(self, scope: str, steps: tuple[Step, ...], whole: list[Any]) -> list[Any]:
        if not steps:
            return whole
        if (scope, steps) not in self._known:
            inner = self._followed(scope, steps[:-1], whole)
            self._known[scope, steps] = self._next(inner, steps[-1])
        return self._known[scope, steps]

    def texts(self, path: JsonPath) -> pl.Series | None:
        """Return the values of a path as texts; None where no record has any."""
        values = self.values(path)
        return None if values is self.nothing else _column(values)

    def _next(self, inner: list[Any], step: Step) -> list[Any]:
        if inner is self.nothing:
            return inner
        are_objects = inner is self.records
        if are_objects and step != "*" and step not in self.names:
            return self.nothing
        values = _stepped(inner, step, are_objects)
        return self.nothing if values.count(None) == len(values) else values


def _rest(kept: Any, left_out: Any) -> str | None:
    """Return the elements of a list that another has not, as JSON; None where nothing is left."""
    others = left_out if type(left_out) is list else []
    remaining = [element for element in kept if element not in others] if type(kept) is list else []
    return as_json(remaining) if remaining else None


def _stepped(values: Sequence[Any], step: Step, are_objects: bool = False) -> list[Any]:
    if are_objects and type(step) is str and step != "*":
        return [v.get(step) for v in values]
    if step == "*":
        return [next(iter(v.values())) if type(v) is dict and len(v) == 1 else None for v in values]
    if isinstance(step, int):
        return [v[step] if type(v) is list and len(v) > step else None for v in values]
    return [v.get(step) if type(v) is dict else None for v in values]


def follow(value: Any, path: JsonPath) -> Any:
    """Return the value of a path in one record, None where there is none."""
    for step in path.steps:
        value = _stepped([value], step)[0]
    return value


def _column(values: list[Any]) -> pl.Series:
    kinds = {*map(type, values)}
    if list in kinds and kinds <= _LISTS:
        return _column([v[0] if v else None for v in values])
    if kinds <= _WHOLES:
        try:
            return pl.Series(values, dtype=pl.Int64).cast(pl.String)
        except TypeError:  # larger than 64 bits
            pass
    return series(texts(values))


def texts(values: list[Any]) -> list[str | None]:
    """Return JSON values as text: numbers exactly, of a list its first, an object as JSON, None for nothing."""
    if {*map(type, values)} <= _PLAIN:
        return values
    return [v if type(v) is str else None if v is None else str(v) if type(v) is int else _text(v) for v in values]


def series(values: list[str | None]) -> pl.Series:
    """Return texts as a column; half of a surrogate pair, which JSON can write and no text can hold, becomes `?`."""
    try:
        return pl.Series(values, dtype=pl.String)
    except UnicodeEncodeError:
        return pl.Series([v if v is None else v.encode("utf-8", "replace").decode() for v in values], dtype=pl.String)


def _text(value: Any) -> str | None:
    if isinstance(value, str):
        return value or None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return _text(value[0]) if value and value[0] is not None else None
    return as_json(value) if isinstance(value, dict) else repr(value)


def as_json(value: Any) -> str:
    """Return a value as JSON text, as it is read by people."""
    return _ENCODE(value)


def can_be_written(record: Any) -> bool:
    """Return whether a value is not nested too deeply to be written as JSON."""
    try:
        as_json([[record]])
    except RecursionError:
        return False
    return True


def each_as_json(values: list[dict[str, Any]]) -> list[str | None]:
    """Return objects as JSON texts, None for an empty one.

    >>> each_as_json([{"a": 1}, {}, {"b": ["x", None]}])
    ['{"a":1}', None, '{"b":["x",null]}']

    In one call of the encoder, most of whose time goes into being called; a mark that no text can hold parts them.
    """
    whole = _encoded([part for value in values for part in (value, _MARK)]).removesuffix(f',"{_MARK}"]')
    return [None if text == "{}" else text for text in whole[1:].split(f',"{_MARK}",')] if values else []


def _encoded(value: Any) -> str:
    """Return a value as `as_json` does, by a faster encoder where that writes the same."""
    try:
        text = orjson.dumps(value).decode()
    except (TypeError, RecursionError):  # halves of surrogate pairs, large numbers, deep nesting
        return as_json(value)
    is_alike = "e-" not in text and "0.0000" not in text  # fast, and nearly always true
    return text if is_alike or not _SMALL.search(text) else as_json(value)


def lists(values: list[Any]) -> list[str | None]:
    """Return tags as JSON arrays: of a list its texts, of one text an array of one, None for nothing.

    >>> lists([["a", None, 5], "a", '["b"]', [], "", None])
    ['["a","5"]', '["a"]', '["b"]', None, None, None]
    """
    if values.count(None) == len(values):
        return values
    if {*map(type, values)} <= _LISTS and {*map(type, chain.from_iterable(filter(None, values)))} <= {str}:
        marks = [tuple(v) if v else None for v in values]
        written = {mark: as_json(mark) for mark in {*marks} if mark}  # the same few tags come again and again
        return [written[mark] if mark else None for mark in marks]
    known: dict[str, str | None] = {"": None, "[]": None}
    return [None if v is None else _array(v, v if type(v) is str else repr(v), known) for v in values]


def _array(value: Any, mark: str, known: dict[str, str | None]) -> str | None:
    if mark not in known:
        known[mark] = as_json(_tags(value))
    return known[mark]


def _tags(value: Any) -> list[Any]:
    if isinstance(value, str) and value.startswith("["):
        try:
            value = json.loads(value)
        except ValueError:
            return [value]
    tags = value if isinstance(value, list) else [value]
    return [tag if isinstance(tag, str) else _text(tag) for tag in tags if tag is not None]
