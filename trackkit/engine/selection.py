"""The rows that a question is about, and what is known of them: whether marks answer it, whether all was told."""

from collections.abc import Iterable, Iterator, Sequence
from copy import copy
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import polars as pl

from trackkit import schema
from trackkit.engine.backends import POLARS, Backend
from trackkit.engine.deliveries import is_set_aside
from trackkit.engine.snapshot import Counted, Measurable

HELD = 4_000_000  # events in memory at most, in the columns asked for: some 50 bytes each


@dataclass
class Selection:
    """The rows that a question is about: each source, restricted to deliveries, control addresses and a condition."""

    tables: Measurable
    delivery: list[str] | None
    where: pl.Expr | None
    timezone: str
    backend: Backend = POLARS
    left_out: Sequence[str] = ()
    tests: Sequence[Any] = ()
    kept: pl.DataFrame | None = None
    span: tuple[str, str] | None = None
    events: int = 0  # in the span, whether or not they meet the condition
    marked: dict[tuple[str, ...], bool] = field(default_factory=dict)

    def only(self, delivery: list[str]) -> "Selection":
        """The same question about some deliveries."""
        return Selection(self.tables, delivery, self.where, self.timezone, self.backend)

    def without(self, delivery: Iterable[str]) -> "Selection":
        """The same question, leaving out some deliveries."""
        out = sorted(delivery)
        rest = None if self.delivery is None else [name for name in self.delivery if name not in set(out)]
        return Selection(self.tables, rest, self.where, self.timezone, self.backend, out)

    def meeting(self, tests: Sequence[Any]) -> "Selection":
        """The rows among them that meet tests, in the words of who goes through them."""
        return self._but(tests=tests)

    def _but(self, **changes: Any) -> "Selection":
        """The same in all else, with what was already looked up."""
        changed = copy(self)
        vars(changed).update(changes)
        return changed

    def held(self, columns: set[str]) -> "Selection":
        """The same question, its events in memory where it leaves few: they are then read once for all counts."""
        if not self.backend.is_local or (self.where is None and self.delivery is None):
            return self
        events = self.of("event")
        needed = [name for name in events.collect_schema() if name in columns]
        kept = self.backend.collect(events.select(needed).head(HELD + 1))
        return self if kept.height > HELD else self._but(kept=kept)

    def portions(self, columns: set[str]) -> Iterator["Selection"]:
        """The same question in portions of whole deliveries, each `held`, where a condition leaves less than half.

        How much it leaves is seen of a first portion. Where it is more, counts that each read what they need take less.
        """
        first, *others = [self] if self.where is None else self.parts(HELD // 3)
        seen = first.held(columns)
        if not others:
            yield seen
        elif seen.kept is None or 2 * seen.kept.height > first.events:
            yield self
        else:
            share = max(seen.kept.height, 1) / first.events
            yield from (part.held(columns) for part in self.parts(int(HELD / 2 / share)))

    def parts(self, most: int) -> list["Selection"]:
        """The same question in parts of whole deliveries, of about so many events, where there are more.

        What is counted within deliveries then needs the memory of one part; of a sorted store each reads its own files.
        """
        is_planned = self.kept is not None or self.span is not None
        if is_planned or not self.backend.is_local or self._length <= most:
            return [self]
        of_each = self._sizes.sort("delivery_id").group_by(part=pl.col("rows").cum_sum() // most, maintain_order=True)
        key = pl.col("delivery_id")
        spans = of_each.agg(key.first().alias("first"), key.last().alias("last"), pl.col("rows").sum()).drop("part")
        found = [self._but(span=(first, last), events=events) for first, last, events in spans.iter_rows()]
        return found or [self]

    @cached_property
    def _length(self) -> int:
        """All events, whoever is asked about."""
        return int(self.tables.stored("event").select(pl.len()).collect().item())

    @cached_property
    def _sizes(self) -> pl.DataFrame:
        """The events of each delivery, whether or not they meet the condition."""
        counted = self._counted_beforehand()
        events, key = self.of_deliveries("event") if counted is None else counted.rest, ["delivery_id"]
        sizes = [events.group_by(key).agg(rows=pl.len().cast(pl.Int64))]
        sizes += [] if counted is None else [counted.counts.lazy().group_by(key).agg(pl.col("rows").sum())]
        return self.backend.collect(pl.concat(sizes).group_by(key).agg(pl.col("rows").sum()).drop_nulls(key))

    def has(self, source: str) -> bool:
        """Whether any load brought this table."""
        return self.tables.has(source)

    def of(self, source: str) -> Any:
        """Rows that meet the condition: of every delivery, `asked` or not, where none is named, and counted or not."""
        rows = self._all(source) if self.kept is None or source != "event" else self.kept.lazy()
        return rows.filter(*self.tests) if self.tests else rows

    def _all(self, source: str) -> Any:
        rows = self.of_deliveries(source)
        if source == "event":
            rows = self.timed(rows)
        return rows if self.where is None else self.backend.filtered(rows, self.where)

    def counted(self, groups: list[str]) -> Counted | None:
        """The events, counted beforehand as far as they are; None where that does not answer: by more, or filtered."""
        return self._counted_beforehand() if groups == ["delivery_id"] and self.where is None else None

    def _counted_beforehand(self) -> Counted | None:
        # Of few deliveries reading the rows takes less than looking into all files.
        return self.tables.counted() if self.backend.is_local and self.delivery is None else None

    def has_firsts(self, groups: list[str]) -> bool:
        """Whether stored flags answer distinct counts: of whole deliveries, each of whose events is marked.

        Only within a delivery do they hold, and not under a filter, which may leave the marked hit out. A mail domain
        or a country is no fixed attribute of a message: where its table is missing, each hit has its own.
        """
        columns = {*groups, *(self.where.meta.root_names() if self.where is not None else ())}
        return groups == ["delivery_id"] and columns == {"delivery_id"} and self._is_marked(*schema.FIRSTS)

    def grain(self, column: str, groups: list[str]) -> list[str]:
        """The groups within which a column tells its values apart; where they are finer than `groups`, counts add up.

        Messages of two deliveries are two, whatever their ids (`schema.IDENTITY`).
        """
        is_told = self._is_within(groups) or "delivery_id" not in schema.IDENTITY[column]
        return groups if is_told else [*groups, "delivery_id"]

    def _is_within(self, groups: list[str]) -> bool:
        """Whether each group is of one delivery."""
        return "delivery_id" in groups or (self.delivery is not None and len(self.delivery) == 1)

    def has_numbers(self, groups: list[str]) -> bool:
        """Whether stored numbers tell messages and persons apart within each group: each is of one delivery."""
        return self._is_within(groups) and self._is_marked("message_number")

    def _is_marked(self, *marks: str) -> bool:
        if marks not in self.marked:
            self.marked[marks] = self.has("event") and self._has_all(marks)
        return self.marked[marks]

    def _has_all(self, marks: tuple[str, ...]) -> bool:
        counted, api = self._counted_beforehand(), self.backend.api
        events = self.backend.scan(self.tables, "event") if counted is None else counted.rest  # the others are marked
        if not set(marks) <= set(events.collect_schema()):
            return False
        named = events if self.delivery is None else events.filter(api.col("delivery_id").is_in(self.delivery))
        unmarked = self.backend.collect(named.select(*(api.col(mark).null_count() for mark in marks))).row(0)
        return not any(unmarked)

    @cached_property
    def stated(self) -> pl.DataFrame:
        """What the sources of deliveries asked about state instead of a log: `delivery_id`, `sent` and `untold`."""
        told = self.tables.scan("delivery")
        columns = {"delivery_id": pl.String(), "sent": pl.Int64(), "untold": pl.String()}
        if not columns.keys() <= set(told.collect_schema()):
            return pl.DataFrame(schema=columns)
        named = pl.col("sent").is_not_null() | (pl.col("untold") != schema.ALL_TOLD)
        is_asked = ~is_set_aside() & ~pl.col("delivery_id").is_in(self.left_out)
        if self.delivery is not None:
            is_asked = pl.col("delivery_id").is_in(self.delivery)
        return told.filter(named, is_asked).select(*columns).collect()

    def deliveries(self) -> pl.DataFrame:
        """Every delivery asked about, so that one where nothing happened still has its row."""
        if self.delivery is not None:
            return pl.DataFrame({"delivery_id": self.delivery}, schema={"delivery_id": pl.String}).unique()
        told = [name for name in ("delivery", "purge") if name == "delivery" or self.has(name)]
        named = [self.in_scope(self.of_deliveries(name)).select("delivery_id") for name in told]
        return self.backend.collect(self.backend.api.concat(named).unique())

    def of_deliveries(self, source: str) -> Any:
        """Rows of the deliveries that are named, of all where none is, whether or not they meet the condition."""
        rows, key = self.backend.scan(self.tables, source), self.backend.api.col("delivery_id")
        if self.span and source == "event":
            rows = rows.filter(key.is_between(*map(pl.lit, self.span)))
        return rows if self.delivery is None else rows.filter(key.is_in(self.delivery))

    def in_scope(self, rows: Any) -> Any:
        """Of rows, or groups, with `delivery_id`, those of the deliveries asked about."""
        if self.delivery is not None:
            return rows
        key = self.backend.api.col("delivery_id")
        rows = rows.filter(~key.is_null(), ~key.is_in(self.left_out))
        return rows.join(self.set_aside(), on="delivery_id", how="anti")

    def set_aside(self) -> Any:
        """The deliveries that count only where they are named."""
        return self.backend.scan(self.tables, "delivery").filter(is_set_aside(self.backend.api)).select("delivery_id")

    def timed(self, events: Any) -> Any:
        """Events with `hour` and `day`, in the time zone asked for."""
        return self.backend.timed(events, self.timezone) if "occurred_at" in events.collect_schema() else events
