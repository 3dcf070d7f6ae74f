"""The canonical tables as of one instant: what a store, or a load in memory, gives to every question."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple, Protocol, TypeVar

import polars as pl

from trackkit import schema
from trackkit.engine import described, sql
from trackkit.engine.described import Extent
from trackkit.errors import require_word
from trackkit.listing import Listing

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


T = TypeVar("T")


def with_all_hits(tables: T) -> T:
    """Return tables with every hit, machines' included: themselves, unless they hold those of people alone."""
    return getattr(tables, "whole", None) or tables


class Traced(Measurable, Protocol):
    """Tables that know where they come from: those of a store, or of a load in memory."""

    @property
    def loads(self) -> Sequence[dict[str, Any]]: ...
    @property
    def versions(self) -> Mapping[str, int]: ...
    @property
    def watermarks(self) -> Mapping[str, str]: ...


@dataclass(frozen=True, repr=False)
class Snapshot:
    """Named lazy frames, one per canonical table that was loaded, and the reports of the loads behind them.

    Shown, it lists its tables; `["event"]` is one of them, `describe` says what is in it, `sql` asks about several.

    `texts` are the same frames with enumerations still as text, if a store keeps them so. `timezone` is the platform's,
    used for days, hours and instants unless a question names another.
    """

    frames: Mapping[str, pl.LazyFrame]
    as_of: datetime | None = None
    loads: tuple[dict[str, Any], ...] = field(default=(), repr=False)
    texts: Mapping[str, pl.LazyFrame] = field(default_factory=dict, repr=False)
    timezone: str = "UTC"
    # The tables with every hit, if these hold those of people alone (`trackkit.engine.selection.of_people`).
    whole: "Snapshot | None" = field(default=None, repr=False, compare=False)
    # Deliveries known to be mentioned.
    seen: set[str] = field(default_factory=set, init=False, repr=False, compare=False)
    # The ids of deleted deliveries, as one series once they were asked for.
    deleted: list[pl.Series] = field(default_factory=list, init=False, repr=False, compare=False)
    # Every delivery with the groups that it is in (`trackkit.engine.scope.Directory`), once it was asked for.
    directory: list[Any] = field(default_factory=list, init=False, repr=False, compare=False)
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
        require_word("table", table, schema.TABLES)
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

    @property
    def watermarks(self) -> Mapping[str, str]:
        """By delivery, the load that last changed anything about it; empty for tables in memory."""
        return getattr(self.texts, "watermarks", {})

    def counted(self) -> Counted | None:
        """Return the counts stored with event files, and the events of files without; None for tables in memory."""
        return getattr(self.texts, "counted", None) if self.has("event") else None

    def __getitem__(self, table: str) -> pl.LazyFrame:
        """Return the lazy frame of a table, as `scan` does.

        >>> Snapshot({})["delivery"].collect_schema().names()[:2]
        ['delivery_id', 'internal_name']
        """
        return self.scan(table)

    def describe(self, table: str | None = None) -> pl.DataFrame:
        """Describe the columns of a table, or, without one, the tables.

        Columns of a table: `column`, `type` (that of polars), `unit`, `meaning`, `values` (the words of an
        enumeration), `derived` (computed from other tables at each load) and `personal` (the personal data that it may
        hold: address, ip, url, person, id, or in text all of these). Tables: `table`, `rows`, `first` and `last` (of
        its first column of instants; null without one, or in a store under a URL), `bytes` (null in memory), `grain`.
        Raises RequestError for an unknown table.

        >>> Snapshot({}).describe("event").row(2, named=True)["unit"]
        'UTC'
        """
        if table is None:
            return described.tables({name: self.extent(name) for name in schema.TABLES if name in self.frames})
        return described.columns(schema.TABLES[require_word("table", table, schema.TABLES)])

    def extent(self, table: str) -> Extent:
        """Return the rows of a table, from when to when they are, and its bytes on disk."""
        kept = getattr(self.texts, "extent", None)
        return described.extent(self.scan(table), schema.TABLES[table].dated_by) if kept is None else kept(table)

    def sql(self, query: str) -> pl.LazyFrame:
        """Return the lazy answer to a SELECT over the tables that were loaded, in polars' SQL.

        Enumerations are text. Rows are read when it is collected: `sql("...").collect()`. Raises RequestError for a
        table or column that is not there, and for what is no SELECT.

        >>> clicks = pl.LazyFrame({"delivery_id": ["7", "7"], "event_type": ["clicked", "opened"]})
        >>> Snapshot({"event": clicks}).sql("SELECT count(*) FROM event WHERE event_type = 'clicked'").collect().item()
        1
        """
        return sql.answer(query, {name: self.stored(name) for name in schema.TABLES if name in self.frames})

    def _ipython_key_completions_(self) -> list[str]:
        return list(self.frames)

    def listing(self, head: str) -> Listing:
        """Return the tables as they are shown, below a sentence."""
        return described.listing(head, self.describe(), self.timezone)

    def __repr__(self) -> str:
        return str(self.listing(self._sentence()))

    def _repr_html_(self) -> str:
        return self.listing(self._sentence())._repr_html_()

    def _sentence(self) -> str:
        return f"{len(self.frames)} tables" + (f", loaded {self.as_of:%Y-%m-%d %H:%M} UTC" if self.as_of else "")
