"""Breakdowns of one's own: frames joined by a key that rows carry, each further column a breakdown.

A segment of recipients is on messages and hits alike, so that a rate's denominator is that of the segment. What is
joined to deliveries says what a delivery is, as its campaign does (`engine.attributes`).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import polars as pl

from trackkit import schema
from trackkit.errors import RequestError, did_you_mean
from trackkit.frames import in_polars
from trackkit.metrics import BREAKDOWNS, METRICS, OF_DELIVERIES, bounds_of

# What frames can be joined by, and the sources whose rows carry it.
KEYS: Mapping[str, tuple[str, ...]] = {"recipient_id": ("message", "event")} | {
    name: BREAKDOWNS[name] for name in ("delivery_id", "domain", "country", "link_id", "link_label", "link_category")
}
# Columns that counting adds beside the groups.
_INNER = ("all", "first", "is_all", "is_kept", "is_known", "is_theirs", "is_unknown", "messages", "n", "unreported")
_TAKEN = {*BREAKDOWNS, *_INNER, *METRICS, *(bound for name in METRICS for bound in bounds_of(name))}
_TAKEN |= {column for table in (schema.DELIVERY, schema.MESSAGE, schema.EVENT) for column in table.schema}
_NESTED = (pl.List, pl.Array, pl.Struct, pl.Object, pl.Binary)


@dataclass(frozen=True)
class Joins:
    """Frames by the key that they are joined by, checked: the key, as text, is in one row each."""

    frames: Mapping[str, pl.DataFrame] = field(default_factory=dict)

    @classmethod
    def of(cls, given: Mapping[str, Any] | None) -> "Joins":
        """Check the frames of a question, of polars, pandas or pyarrow; RequestError says what is wrong with which."""
        if given is not None and not isinstance(given, Mapping):
            raise RequestError(f"`join` is a key and a frame, as {{'recipient_id': crm}}, not {type(given).__name__}.")
        frames: dict[str, pl.DataFrame] = {}
        for key, frame in (given or {}).items():
            if key not in KEYS:
                raise RequestError(f"Nothing can be joined by {key!r}.{did_you_mean(str(key), KEYS)}")
            frames[key] = _with_text_key(_in_memory(frame, key), key)
            _refuse_names(frames, key)
        return cls(frames)

    @cached_property
    def breakdowns(self) -> Mapping[str, tuple[str, ...]]:
        """All breakdowns, those joined at the end, with the sources that have them."""
        own = {name: KEYS[key] for key, frame in self.frames.items() for name in frame.columns[1:]}
        return {**BREAKDOWNS, **own} if own else BREAKDOWNS

    @cached_property
    def types(self) -> Mapping[str, pl.DataType]:
        """The types of the columns joined."""
        return {name: frame.schema[name] for frame in self.frames.values() for name in frame.columns[1:]}

    @cached_property
    def of_deliveries(self) -> tuple[str, ...]:
        """The breakdowns that say what a delivery is."""
        frame = self.frames.get("delivery_id")
        return OF_DELIVERIES if frame is None else (*OF_DELIVERIES, *frame.columns[1:])

    def joined(self, rows: Any, names: Any) -> Any:
        """Rows with those of `names` that are joined to rows, null where the key is in no row of the frame."""
        for key, frame in self.frames.items():
            known = rows.collect_schema()
            lacking = [name for name in frame.columns[1:] if name in names and name not in known]
            if lacking and key != "delivery_id":
                chosen = frame.select(key, *lacking)
                others = chosen if isinstance(rows, pl.DataFrame) else chosen.lazy()
                rows = rows.join(others, on=key, how="left", maintain_order="left")
        return rows


UNJOINED = Joins()


def read(given: Mapping[str, str]) -> dict[str, pl.DataFrame]:
    """Return frames read from files, by key: CSV, whose keys stay text, or Parquet; RequestError for others.

    >>> read({})
    {}
    """
    return {key: _read(key, path) for key, path in given.items()}


def _read(key: str, path: str) -> pl.DataFrame:
    kind = path.rpartition(".")[2].lower()
    if kind not in ("csv", "parquet"):
        raise RequestError(f"{path!r} cannot be joined: a CSV or a Parquet file can, as crm.csv.")
    try:
        if kind == "parquet":
            return pl.read_parquet(path, glob=False)
        names = pl.read_csv(path, n_rows=0, glob=False).columns
        keys = {key: pl.String()} if key in names else None  # 007 stays 007
        return pl.read_csv(path, schema_overrides=keys, infer_schema_length=None, try_parse_dates=True, glob=False)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise RequestError(f"{path!r} cannot be joined: {str(error).splitlines()[0][:200]}.") from None


def _in_memory(given: Any, key: str) -> pl.DataFrame:
    frame = in_polars(given)
    if not isinstance(frame, pl.DataFrame):
        raise RequestError(f"What is joined by {key!r} is a frame of polars, pandas or pyarrow, not {_kind(given)}.")
    if key not in frame.columns:
        raise RequestError(f"The frame joined by {key!r} has no such column; it has {', '.join(frame.columns)}.")
    if frame.width == 1:
        raise RequestError(f"The frame joined by {key!r} has no further column to break down by.")
    return frame.select(key, pl.exclude(key))


def _kind(given: Any) -> str:
    return type(given).__name__


def _with_text_key(frame: pl.DataFrame, key: str) -> pl.DataFrame:
    """The frame with its key as text, each once; rows without a key are of nobody. Categories become text."""
    keys = frame[key]
    if keys.dtype.is_float():  # of pandas, beside unknown ones
        keys = keys.fill_nan(None)
        if keys.drop_nulls().ne(keys.drop_nulls().round()).any():
            raise RequestError(f"The keys {key!r} of the frame joined are fractions; ids are whole numbers or text.")
        keys = keys.cast(pl.Int64)
    if isinstance(keys.dtype, _NESTED):
        raise RequestError(f"The keys {key!r} of the frame joined are {keys.dtype}; ids are whole numbers or text.")
    frame = frame.with_columns(keys.cast(pl.String)).filter(pl.col(key).is_not_null())
    repeated = frame.filter(pl.col(key).is_duplicated())[key]
    if repeated.len():
        raise RequestError(
            f"The frame joined by {key!r} has {repeated.n_unique():,} keys in several rows, as {repeated[0]!r}; "
            "one row each says which segment it is in."
        )
    return frame.with_columns(_plain(frame[name]) for name in frame.columns[1:])


def _plain(values: pl.Series) -> pl.Series:
    """The values of a breakdown: categories as text, NaN as unknown."""
    if isinstance(values.dtype, _NESTED):
        raise RequestError(f"Column {values.name!r} of the frame joined is {values.dtype}; a breakdown is one value.")
    if isinstance(values.dtype, pl.Enum | pl.Categorical | pl.Null):
        return values.cast(pl.String)
    return values.fill_nan(None) if values.dtype.is_float() else values


def _refuse_names(frames: Mapping[str, pl.DataFrame], key: str) -> None:
    earlier = {name for other, frame in frames.items() if other != key for name in frame.columns[1:]}
    for name in frames[key].columns[1:]:
        if name in BREAKDOWNS:
            raise RequestError(f"The frame joined by {key!r} has {name!r}, which is a breakdown already: rename it.")
        if name in _TAKEN or name in earlier or " of " in name or name.startswith("in "):
            raise RequestError(f"The frame joined by {key!r} has {name!r}, a name that is taken already: rename it.")
