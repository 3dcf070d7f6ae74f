"""What a commit holds, each part opened when it is first asked for."""

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, overload

import polars as pl

from trackkit import schema
from trackkit.engine.snapshot import Counted
from trackkit.store.commits import Commit
from trackkit.store.counts import read_counts
from trackkit.store.lake import Lake
from trackkit.store.tables import as_declared


class Frames(Mapping[str, pl.LazyFrame]):
    """The tables of a commit as they are kept, each opened when it is first asked for."""

    def __init__(self, lake: Lake, commit: Commit) -> None:
        self._lake = lake
        self._versions = {name: version for name, version in commit.versions.items() if name in schema.TABLES}
        self._opened: dict[str, pl.LazyFrame] = {}

    def __getitem__(self, table: str) -> pl.LazyFrame:
        if table not in self._opened:
            rows = self._lake.stored(table, self._versions[table])
            self._opened[table] = rows.select(*schema.TABLES[table].schema)
        return self._opened[table]

    def files(self, table: str) -> list[str]:
        """Return the files of a table; none of one that no load brought."""
        return self._lake.files(table, self._versions[table]) if table in self else []

    @cached_property
    def counted(self) -> Counted | None:
        """Events as far as their files tell counts of them, and the others; None where files are far."""
        if not self._lake.is_local:
            return None
        told = read_counts(self.files("event"))
        rest = self._lake.stored("event", self._versions["event"], but=told)
        return Counted(pl.concat(told.values()), rest.select(*schema.EVENT.schema)) if told else None

    def __contains__(self, table: object) -> bool:
        return table in self._versions

    def __iter__(self) -> Iterator[str]:
        return iter(self._versions)

    def __len__(self) -> int:
        return len(self._versions)


class Declared(Mapping[str, pl.LazyFrame]):
    """The same tables with their columns of the types that the schema declares."""

    def __init__(self, texts: Frames) -> None:
        self._texts = texts

    def __getitem__(self, table: str) -> pl.LazyFrame:
        return self._texts[table].with_columns(as_declared(table))

    def __contains__(self, table: object) -> bool:
        return table in self._texts

    def __iter__(self) -> Iterator[str]:
        return iter(self._texts)

    def __len__(self) -> int:
        return len(self._texts)


class Loads(Sequence[dict[str, Any]]):
    """The loads up to a commit, read when they are first looked at."""

    def __init__(self, lake: Lake, commit: Commit) -> None:
        self._lake, self._commit = lake, commit
        self._rows: list[dict[str, Any]] | None = None

    def _read(self) -> list[dict[str, Any]]:
        if self._rows is None:
            rows = self._lake.loads("number", "load_id", "loaded_at", "timezone", "report")
            assert rows is not None
            known = rows.filter(pl.col("number") <= self._commit.number).to_dicts()
            self._rows = [row | {"report": json.loads(row["report"])} for row in known]
        return self._rows

    @overload
    def __getitem__(self, place: int) -> dict[str, Any]: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[dict[str, Any]]: ...
    def __getitem__(self, place: int | slice) -> Any:
        return self._read()[place]

    def __len__(self) -> int:
        return len(self._read())
