"""Runs of uniform JSON records, read at once by pyarrow into typed columns, which is faster than Python objects.

The shape of the records is learned from those read one by one. pyarrow refuses a run with a name or kind of value that
the shape lacks; it is then read one by one, and learned from. What pyarrow would read less exactly is refused here, so
the records are the same either way.
"""

import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property, reduce
from typing import Any, TypeAlias

import orjson
import polars as pl
import pyarrow as pa
import pyarrow.json as pajson

from trackkit.sources.feeds.json_paths import JsonPath, Step

_TRIES, _MOST = 16, 400  # refused runs, and values in a record, after which a file is not alike enough
_DEPTH = 32  # of nested objects and lists; deeper ones are read one by one

_SCALARS = {str: pa.string(), bool: pa.bool_(), int: pa.int64(), float: pa.float64(), type(None): pa.null()}
Kind: TypeAlias = (
    "pa.DataType | dict[str, Kind] | list[Kind]"  # an object by its names, a list as [kind of its elements]
)


class NotUniform(ValueError):
    """Values of two kinds in one place, or values that do not fit one column."""


@dataclass
class RecordRun(Sequence[Any]):
    """Records read at once, as columns and, one by one, as objects."""

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

    def column(self, path: JsonPath) -> pl.Series | None:
        """Return the values that a path leads to; None where it leads nowhere in any record."""
        column = _follow(self.rows, path.steps)
        if path.without is not None and column is not None and column.null_count() < len(column):
            raise NotUniform
        return None if column is None or column.null_count() == len(column) else column

    def values(self, path: JsonPath) -> list[Any]:
        """Return the texts, or lists of texts, that a path leads to; NotUniform for anything else."""
        column = self.column(path)
        if column is None:
            return [None] * len(self)
        if column.dtype not in (pl.String, pl.List(pl.String)):
            raise NotUniform
        return column.to_list()

    def firsts(self, many: list[JsonPath]) -> pl.Series | None:
        """Return the only text of the first of several lists that has one; NotUniform for more, or for other values."""
        firsts = None
        for column in map(self.column, many):
            if column is None:
                continue
            if column.dtype != pl.List(pl.String) or (column.list.len() > 1).any():
                raise NotUniform
            first = column.list.first()
            if ((column.list.len() == 1) & first.is_null()).any():
                raise NotUniform
            firsts = first if firsts is None else firsts.zip_with(firsts.is_not_null(), first)
        return firsts


@dataclass
class Chained(Sequence[Any]):
    """Records of several parts, each looked up only when it is asked for."""

    parts: list[Sequence[Any] | pl.Series]

    def __len__(self) -> int:
        return sum(map(len, self.parts))

    def __getitem__(self, place: Any) -> Any:
        part = next(part for part in self.parts if (place := place - len(part)) < 0)
        return part[place + len(part)]


@dataclass
class RecordShape:
    """The names and kinds of values that the records of a file have had."""

    kinds: dict[str, Kind] = field(default_factory=dict)
    tries: int = _TRIES

    def learn(self, records: Iterable[Any]) -> None:
        """Take in records that were read one by one."""
        if not self.tries:
            return
        try:
            for record in records:
                self.kinds = _merged_objects(self.kinds, {name: _kind(value) for name, value in record.items()})
            self.tries = self.tries if sum(map(_size, self.kinds.values())) <= _MOST else 0
        except NotUniform:
            self.tries = 0

    def read(self, text: str) -> RecordRun | None:
        """Return the records of a text, a line each; None where it holds anything else, or what has another shape."""
        if not self.tries or not self.kinds:
            return None
        text = text.strip("\n")
        run = self._read(text)
        if run is None or not _is_exact(run):
            self.tries -= 1
            return None
        return run

    def _read(self, text: str) -> RecordRun | None:
        lines = text.count("\n") + 1
        if text.count("}\n{") != lines - 1:
            return None
        written = text.encode()
        strictly = pajson.ParseOptions(
            explicit_schema=pa.schema(_fields(self.kinds)), unexpected_field_behavior="error"
        )
        whole = pajson.ReadOptions(use_threads=False, block_size=len(written) + 1)
        try:
            table = pajson.read_json(io.BytesIO(written), whole, strictly)
        except pa.ArrowException:
            return None
        return RecordRun(pl.DataFrame(pl.from_arrow(table)), text) if table.num_rows == lines else None


# pyarrow's own `infer_type` takes values of two kinds for the first, and imports pandas.
def _kind(value: Any, depth: int = _DEPTH) -> Kind:
    if not depth or value == {}:
        raise NotUniform
    if type(value) is dict:
        return {name: _kind(inner, depth - 1) for name, inner in value.items()}
    if type(value) is list:
        return [reduce(_merged, (_kind(one, depth - 1) for one in value), pa.null())]
    return _SCALARS[type(value)]


def _merged(one: Kind, other: Kind) -> Kind:
    if one == other or other == pa.null():
        return one
    if one == pa.null():
        return other
    if type(one) is dict and type(other) is dict:
        return _merged_objects(one, other)
    if type(one) is list and type(other) is list:
        return [_merged(one[0], other[0])]
    raise NotUniform


def _merged_objects(one: dict[str, Kind], other: dict[str, Kind]) -> dict[str, Kind]:
    return one | {name: _merged(one[name], kind) if name in one else kind for name, kind in other.items()}


def _fields(kinds: dict[str, Kind]) -> list[tuple[str, pa.DataType]]:
    return [(name, _arrow(kind)) for name, kind in kinds.items()]


def _arrow(kind: Kind) -> pa.DataType:
    if isinstance(kind, dict):
        return pa.struct(_fields(kind))
    return pa.list_(_arrow(kind[0])) if isinstance(kind, list) else kind


def _size(kind: Kind) -> int:
    return 1 + sum(map(_size, kind.values() if isinstance(kind, dict) else kind if isinstance(kind, list) else ()))


def _is_exact(run: RecordRun) -> bool:
    """Return whether nothing was lost: no record without any value, no whole number among fractions, none that is
    written in several ways."""
    numbers = [column for column in _leaves(run.rows) if column.dtype == pl.Float64]
    empty = run.frame.select(pl.all_horizontal(pl.all().is_null()).any()).item()
    return not empty and all(map(_is_plain, numbers))


def _is_plain(numbers: pl.Series) -> bool:
    values = numbers.drop_nulls()
    return bool(
        (values.is_finite() & (values.abs() >= 1e-3) & (values.abs() < 1e15) & (values != values.floor())).all()
    )


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
        elif isinstance(rows.dtype, pl.Struct) and step in [field.name for field in rows.dtype.fields]:
            rows = rows.struct.field(str(step))
        elif isinstance(rows.dtype, pl.Struct) and step == "*":
            raise NotUniform
        else:
            return None
    return rows


def texts(column: pl.Series) -> pl.Series:
    """Return values as texts, of a list its first; NotUniform for objects, whose text is their JSON."""
    if isinstance(column.dtype, pl.List):
        return texts(column.list.get(0, null_on_oob=True))
    if isinstance(column.dtype, pl.Struct):
        raise NotUniform
    return column.cast(pl.String)
