"""Runs of alike JSON records, read at once by pyarrow into typed columns: the fast way past Python's objects.

The shape of the records is learned from those that were read one by one. pyarrow is strict: a name or a kind of value
that the shape has not makes it refuse the whole run, which then is read one by one, and learned from. What it would
read less exactly is refused here. So either way the records are the same.
"""

import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import orjson
import polars as pl
import pyarrow as pa
import pyarrow.json as pajson

from trackkit.sources.feeds.paths import Path, Step

_TRIES, _MOST = 16, 400  # refused runs, and values in a record, after which a file is not alike enough
_DEPTH = 32  # of objects and lists in one another; deeper ones are left to what can refuse them
_SCALARS = {str: pa.string(), bool: pa.bool_(), int: pa.int64(), float: pa.float64(), type(None): pa.null()}
Kind = pa.DataType | dict[str, Any] | list[Any]  # an object by its names, a list as [kind of its elements]


class Unlike(ValueError):
    """Values of two kinds in one place, or such as take more than a column."""


@dataclass
class Run(Sequence[Any]):
    """Records read at once: their columns, and each of them as it stood, an object again."""

    frame: pl.DataFrame
    text: str

    @cached_property
    def rows(self) -> pl.Series:
        """The records as structures."""
        return self.frame.to_struct("record")

    @cached_property
    def lines(self) -> list[str]:
        """The text of each record."""
        return self.text.split("\n")

    def __len__(self) -> int:
        return self.frame.height

    def __getitem__(self, place: Any) -> Any:
        return orjson.loads(self.lines[place])

    def column(self, one: Path) -> pl.Series | None:
        """Return the values that a path leads to; None where it leads nowhere in any record."""
        column = _follow(self.rows, one.steps)
        if one.without is not None and column is not None and column.null_count() < len(column):
            raise Unlike
        return None if column is None or column.null_count() == len(column) else column

    def values(self, one: Path) -> list[Any]:
        """Return the texts, or lists of texts, that a path leads to; Unlike for anything else."""
        column = self.column(one)
        if column is None:
            return [None] * len(self)
        if column.dtype not in (pl.String, pl.List(pl.String)):
            raise Unlike
        return column.to_list()

    def firsts(self, many: list[Path]) -> pl.Series | None:
        """Return the only text of the first of several lists that has one; Unlike for more, or for other values."""
        whom = None
        for column in filter(lambda one: one is not None, map(self.column, many)):
            if column.dtype != pl.List(pl.String) or (column.list.len() > 1).any():
                raise Unlike
            first = column.list.first()
            if ((column.list.len() == 1) & first.is_null()).any():
                raise Unlike
            whom = first if whom is None else whom.zip_with(whom.is_not_null(), first)
        return whom


@dataclass
class Beside(Sequence[Any]):
    """Records of several parts, each looked up only when it is asked for."""

    parts: list[Sequence[Any]]

    def __len__(self) -> int:
        return sum(map(len, self.parts))

    def __getitem__(self, place: Any) -> Any:
        part = next(part for part in self.parts if (place := place - len(part)) < 0)
        return part[place + len(part)]


@dataclass
class Shape:
    """The names and kinds of values that the records of a file have had."""

    kind: Any = field(default_factory=dict)
    tries: int = _TRIES

    def learn(self, records: Iterable[Any]) -> None:
        """Take in records that were read one by one."""
        if not self.tries:
            return
        try:
            for record in records:
                self.kind = _merged(self.kind, _kind(record))
            self.tries = self.tries if _size(self.kind) <= _MOST else 0
        except Unlike:
            self.tries = 0

    def read(self, text: str) -> Run | None:
        """Return the records of a text, a line each; None where it holds anything else, or what has another shape."""
        if not self.tries or not self.kind:
            return None
        text = text.strip("\n")
        run = self._read(text)
        if run is None or not _is_exact(run):
            self.tries -= 1
            return None
        return run

    def _read(self, text: str) -> Run | None:
        lines = text.count("\n") + 1
        if text.count("}\n{") != lines - 1:
            return None
        written = text.encode()
        how = pajson.ParseOptions(explicit_schema=pa.schema(_arrow(self.kind)), unexpected_field_behavior="error")
        size = pajson.ReadOptions(use_threads=False, block_size=len(written) + 1)
        try:
            table = pajson.read_json(io.BytesIO(written), size, how)
        except pa.ArrowException:
            return None
        return Run(pl.DataFrame(pl.from_arrow(table)), text) if table.num_rows == lines else None


def _kind(value: Any, depth: int = _DEPTH) -> Kind:
    if not depth:
        raise Unlike
    if type(value) is dict and value:
        return {name: _kind(inner, depth - 1) for name, inner in value.items()}
    if type(value) is list:
        inner: Kind = pa.null()
        for one in value:
            inner = _merged(inner, _kind(one, depth - 1))
        return [inner]
    if type(value) not in _SCALARS:
        raise Unlike
    return _SCALARS[type(value)]


def _merged(one: Any, other: Any) -> Any:
    if one == other or other == pa.null():
        return one
    if one == pa.null():
        return other
    if type(one) is dict and type(other) is dict:
        return one | {name: _merged(one[name], kind) if name in one else kind for name, kind in other.items()}
    if type(one) is list and type(other) is list:
        return [_merged(one[0], other[0])]
    raise Unlike


def _arrow(kind: Any) -> Any:
    if type(kind) is dict:
        return pa.struct([(name, _arrow(inner)) for name, inner in kind.items()])
    return pa.list_(_arrow(kind[0])) if type(kind) is list else kind


def _size(kind: Any) -> int:
    return 1 + sum(map(_size, kind.values() if type(kind) is dict else kind if type(kind) is list else ()))


def _is_exact(run: Run) -> bool:
    """Return whether nothing was lost: no record without any value, no whole number among fractions, none that is
    written in several ways."""
    numbers = [one for one in _leaves(run.rows) if one.dtype == pl.Float64]
    empty = run.frame.select(pl.all_horizontal(pl.all().is_null()).any()).item()
    return not empty and all(map(_is_plain, numbers))


def _is_plain(numbers: pl.Series) -> bool:
    some = numbers.drop_nulls()
    return bool((some.is_finite() & (some.abs() >= 1e-3) & (some.abs() < 1e15) & (some != some.floor())).all())


def _leaves(rows: pl.Series) -> Iterable[pl.Series]:
    if isinstance(rows.dtype, pl.Struct):
        for inner in rows.struct.unnest().get_columns():
            yield from _leaves(inner)
    elif isinstance(rows.dtype, pl.List):
        yield from _leaves(rows.explode())
    else:
        yield rows


def _follow(rows: pl.Series, steps: tuple[Step, ...]) -> pl.Series | None:
    for step in steps:
        if isinstance(rows.dtype, pl.List) and isinstance(step, int):
            rows = rows.list.get(step, null_on_oob=True)
        elif isinstance(rows.dtype, pl.Struct) and step in (one.name for one in rows.dtype.fields):
            rows = rows.struct.field(str(step))
        elif isinstance(rows.dtype, pl.Struct) and step == "*":
            raise Unlike
        else:
            return None
    return rows


def texts(column: pl.Series) -> pl.Series:
    """Return values as texts, of a list its first; Unlike for objects, whose text is their JSON."""
    if isinstance(column.dtype, pl.List):
        return texts(column.list.get(0, null_on_oob=True))
    if isinstance(column.dtype, pl.Struct):
        raise Unlike
    return column.cast(pl.String)
