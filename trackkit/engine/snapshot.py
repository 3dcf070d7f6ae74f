"""The canonical tables as of one instant: what a store, or a load in memory, gives to every question."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple, Protocol

import polars as pl

from trackkit import schema
from trackkit.errors import RequestError, did_you_mean

# The columns by which stored counts of events are grouped.
COUNTED_BY = ("delivery_id", "event_type", "is_seed")


class Counted(NamedTuple):
    """Stored counts of events (`store.datafile.read_counts`), and the rows without."""

    counts: pl.DataFrame
    uncounted: pl.LazyFrame


class Tables(Protocol):
    """What every question reads, and enrichment too: a `Snapshot`, an open store, or its tables as a load sees them."""

    def scan(self, table: str) -> pl.LazyFrame: ...
    def has(self, table: str) -> bool: ...


class Measurable(Tables, Protocol):
    """Tables that `measure` can read, also in their stored form and as stored counts."""

    @property
    def timezone(self) -> str: ...
    def stored(self, table: str) -> pl.LazyFrame: ...
    def counted(self) -> Counted | None: ...


class Traced(Measurable, Protocol):
    """Tables that know where they come from: those of a store, or of a load in memory."""

    @property
    def loads(self) -> Sequence[dict[str, Any]]: ...
    @property
    def versions(self) -> Mapping[str, int]: ...


@dataclass(frozen=True)
class Snapshot:
    """Named lazy frames, one per canonical table that was loaded, and the reports of the loads behind them.

    `texts` are the same frames with enumerations still as text, if a store keeps them so. `timezone` is the platform's,
    used for days, hours and instants unless a question names another.
    """

    frames: Mapping[str, pl.LazyFrame]
    as_of: datetime | None = None
    loads: tuple[dict[str, Any], ...] = field(default=(), repr=False)
    texts: Mapping[str, pl.LazyFrame] = field(default_factory=dict, repr=False)
    timezone: str = "UTC"
    # Deliveries known to be mentioned.
    seen: set[str] = field(default_factory=set, init=False, repr=False, compare=False)
    # The ids of deleted deliveries, as one series once they were asked for.
    deleted: list[pl.Series] = field(default_factory=list, init=False, repr=False, compare=False)
    # Plausible ranges of instants, by table and delivery (`trackkit.engine.plausible`).
    plausible: dict[Any, Any] = field(default_factory=dict, init=False, repr=False, compare=False)
    # What cannot be observed (`trackkit.analysis.unseen`), by the deliveries and counts asked about.
    unseen: dict[Any, Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    def has(self, table: str) -> bool:
        """Return whether any load brought this table; counts of a missing one are null, never 0."""
        return table in self.frames

    def scan(self, table: str) -> pl.LazyFrame:
        """Return the lazy frame of a canonical table, empty (with its columns) when no load brought it.

        >>> Snapshot({}).scan("delivery").collect().height
        0
        """
        if table not in schema.TABLES:
            raise RequestError(f"There is no table {table!r}.{did_you_mean(table, schema.TABLES)}")
        return self.frames[table] if table in self.frames else pl.LazyFrame(schema=schema.TABLES[table].schema)

    def stored(self, table: str) -> pl.LazyFrame:
        """Return the lazy frame of a table as stored: enumerations may be text, which saves a pass over them."""
        return self.texts[table] if table in self.texts else self.scan(table)

    def files(self, table: str) -> list[str] | None:
        """Return the Parquet files with the rows of a table; None for tables in memory."""
        listed = getattr(self.texts, "files", None)
        return None if listed is None else listed(table)

    @property
    def versions(self) -> Mapping[str, int]:
        """The version of each table in its store; empty for tables in memory."""
        return getattr(self.texts, "versions", {})

    def counted(self) -> Counted | None:
        """Return the counts stored with event files, and the events of files without; None for tables in memory."""
        return getattr(self.texts, "counted", None) if self.has("event") else None

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td>{name}</td><td>{schema.TABLES[name].grain}</td>"
            f"<td style='text-align:right'>{frame.select(pl.len()).collect().item():,}</td></tr>"
            for name, frame in self.frames.items()
        )
        return f"<table><tr><th>table</th><th>grain</th><th>rows</th></tr>{rows}</table>"
