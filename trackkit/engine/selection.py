"""The rows that a question is about, and whether stored flags answer it and sources report all of it."""

from collections import ChainMap
from collections.abc import Collection, Iterable, Iterator, Sequence
from copy import copy
from dataclasses import dataclass, field, replace
from functools import cached_property, reduce
from operator import and_
from typing import Any

import polars as pl

from trackkit import schema
from trackkit.engine.attributes import attributes, keyed
from trackkit.engine.backends import POLARS, Backend
from trackkit.engine.deliveries import is_hit, is_human, is_set_aside
from trackkit.engine.joins import UNJOINED, Joins
from trackkit.engine.snapshot import Counted, Measurable, Snapshot
from trackkit.errors import RequestError

ALL, HUMAN = ACTIVITIES = ("all", "human")  # whose hits are counted
UNMARKED = (
    "Who was behind the hits of {:,} deliveries is unknown ({} …): they were loaded before trackkit marked machines. "
    "`trackkit store mark --store STORE` marks them; a question without `activity` needs none of it."
)
HELD = 4_000_000  # events kept in memory at most, about 50 bytes each in the columns needed


@dataclass
class Selection:
    """The rows that a question is about: of each source, those of some deliveries that meet a condition."""

    tables: Measurable
    delivery: list[str] | None
    where: pl.Expr | None
    timezone: str
    backend: Backend = POLARS
    left_out: Sequence[str] = ()
    tests: Sequence[Any] = ()
    in_memory: pl.DataFrame | None = None
    span: tuple[str, str] | None = None
    events: int = 0  # in the span, with or without meeting the condition
    flagged: dict[tuple[str, ...], bool] = field(default_factory=dict)
    activity: str = ALL
    is_named: bool = True  # `delivery` were asked for; else they are all that meet a condition on deliveries
    joins: Joins = UNJOINED

    @classmethod
    def asked(
        cls,
        tables: Measurable,
        delivery: list[str] | None,
        tests: Sequence[pl.Expr],
        timezone: str,
        backend: Backend = POLARS,
        activity: str = ALL,
        joins: Joins = UNJOINED,
    ) -> "Selection":
        """The rows that meet tests; those that only look at what deliveries are choose whole deliveries."""
        chooses = [bool(_names(test)) and _names(test) <= set(joins.of_deliveries) for test in tests]
        of_deliveries = [test for test, is_choice in zip(tests, chooses, strict=True) if is_choice]
        others = [test for test, is_choice in zip(tests, chooses, strict=True) if not is_choice]
        where = reduce(and_, others) if others else None
        selection = cls(tables, delivery, where, timezone, backend, activity=activity, joins=joins)
        return selection._of_kind(reduce(and_, of_deliveries)) if of_deliveries else selection

    def _of_kind(self, test: pl.Expr) -> "Selection":
        """The same question about the deliveries that meet a test; of one that no table tells of, nothing is known."""
        known = self.attributes
        meeting = set(known.filter(test)["delivery_id"])
        is_met_by_unknown = known.clear(1).filter(test).height > 0
        if self.delivery is not None:
            unknown = set(self.delivery) - set(known["delivery_id"]) if is_met_by_unknown else set()
            return self._replace(delivery=[key for key in self.delivery if key in meeting | unknown])
        if is_met_by_unknown:
            return self._replace(left_out=sorted(set(known["delivery_id"]) - meeting))
        aside = set(self.backend.collect(self.set_aside()).to_series())
        return self._replace(delivery=sorted(meeting - aside), is_named=False)

    @cached_property
    def attributes(self) -> pl.DataFrame:
        """What every delivery is (`engine.attributes`), by columns joined to deliveries too."""
        known = attributes(self.tables, self.timezone).collect()
        own = self.joins.frames.get("delivery_id")
        if own is None:
            return known
        untold = own.join(known, on="delivery_id", how="anti")["delivery_id"]
        rows = [self.tables.scan(name).select("delivery_id") for name in ("message", "event") if self.has(name)]
        ids = [each.filter(pl.col("delivery_id").is_in(untold.implode())) for each in rows]
        hit = pl.concat([untold.clear().to_frame().lazy(), *ids]).unique().collect()
        return pl.concat([known, hit], how="diagonal").join(own, on="delivery_id", how="left")

    def keyed(self, groups: Sequence[str]) -> list[str]:
        """Groups with the delivery instead of what only says what it is."""
        return keyed(groups, self.joins.of_deliveries)

    def described(self, rows: Any, names: Collection[str]) -> Any:
        """Rows or counts with `delivery_id`, with those of `names` that are joined or say what their delivery is."""
        rows, having = self.joins.joined(rows, names), self.joins.of_deliveries
        lacking = [name for name in names if name in having and name not in rows.collect_schema()]
        if not lacking:
            return rows
        known = self.attributes.select("delivery_id", *lacking)
        others = known if isinstance(rows, pl.DataFrame) else self.backend.from_polars(known)
        return rows.join(others, on="delivery_id", how="left")

    def only(self, delivery: list[str]) -> "Selection":
        """The same question about some deliveries."""
        return self._about(delivery)

    def without(self, delivery: Iterable[str]) -> "Selection":
        """The same question, leaving out some deliveries."""
        excluded = sorted(delivery)
        included = None if self.delivery is None else [name for name in self.delivery if name not in set(excluded)]
        return self._about(included, excluded)

    def _about(self, delivery: list[str] | None, left_out: Sequence[str] = ()) -> "Selection":
        options = self.where, self.timezone, self.backend, sorted({*self.left_out, *left_out})
        return Selection(
            self.tables, delivery, *options, activity=self.activity, is_named=self.is_named, joins=self.joins
        )

    def meeting(self, tests: Sequence[Any]) -> "Selection":
        """The rows that also meet tests, which are expressions of the backend."""
        return self._replace(tests=tests)

    def _replace(self, **changes: Any) -> "Selection":
        """A copy with some fields changed, keeping what was already looked up."""
        changed = copy(self)
        vars(changed).update(changes)
        return changed

    def held(self, columns: set[str]) -> "Selection":
        """The same question with its events in memory if they are few, so that they are read once for all counts."""
        if not self.backend.is_local or (self.where is None and self.delivery is None):
            return self
        events = self.joins.joined(self.of("event"), columns)
        needed = [name for name in events.collect_schema() if name in columns]
        in_memory = self.backend.collect(events.select(needed).head(HELD + 1))
        return self if in_memory.height > HELD else self._replace(in_memory=in_memory)

    def portions(self, columns: set[str]) -> Iterator["Selection"]:
        """The same question in portions of whole deliveries, each `held`, if the condition keeps less than half.

        The first portion shows how much it keeps. If it is more, it is faster for each count to read what it needs.
        """
        first, *others = [self] if self.where is None else self.parts(HELD // 3)
        sample = first.held(columns)
        if not others:
            yield sample
        elif sample.in_memory is None or 2 * sample.in_memory.height > first.events:
            yield self
        else:
            share = max(sample.in_memory.height, 1) / first.events
            yield from (part.held(columns) for part in self.parts(int(HELD / 2 / share)))

    def parts(self, most: int) -> list["Selection"]:
        """The same question in parts of whole deliveries of about `most` events, if there are more.

        Counting within deliveries then needs memory for one part; in a sorted store each part reads its own files.
        """
        is_planned = self.in_memory is not None or self.span is not None
        if is_planned or not self.backend.is_local or self._length <= most:
            return [self]
        sized = self._sizes.sort("delivery_id").group_by(part=pl.col("rows").cum_sum() // most, maintain_order=True)
        key = pl.col("delivery_id")
        spans = sized.agg(key.first().alias("first"), key.last().alias("last"), pl.col("rows").sum()).drop("part")
        parts = [self._replace(span=(first, last), events=events) for first, last, events in spans.iter_rows()]
        return parts or [self]

    @cached_property
    def _length(self) -> int:
        """The number of events of all deliveries."""
        return int(self.tables.stored("event").select(pl.len()).collect().item())

    @cached_property
    def _sizes(self) -> pl.DataFrame:
        """The number of events of each delivery, with or without meeting the condition."""
        counted = self._counted_beforehand()
        events, key = self.of_deliveries("event") if counted is None else counted.uncounted, ["delivery_id"]
        sizes = [events.group_by(key).agg(rows=pl.len().cast(pl.Int64))]
        sizes += [] if counted is None else [counted.counts.lazy().group_by(key).agg(pl.col("rows").sum())]
        return self.backend.collect(pl.concat(sizes).group_by(key).agg(pl.col("rows").sum()).drop_nulls(key))

    def has(self, source: str) -> bool:
        """Whether any load brought this table."""
        return self.tables.has(source)

    def of(self, source: str) -> Any:
        """Rows that meet the condition, of all deliveries if none is named; `in_scope` leaves out those set aside."""
        rows = self._all(source) if self.in_memory is None or source != "event" else self.in_memory.lazy()
        return rows.filter(*self.tests) if self.tests else rows

    def _all(self, source: str) -> Any:
        rows = self.of_deliveries(source)
        if source == "event":
            rows = self.timed(rows if self.activity == ALL else rows.filter(is_human(self.backend.api)))
        return self.meeting_condition(rows)

    def meeting_condition(self, rows: Any) -> Any:
        """Rows that meet the condition."""
        if self.where is None:
            return rows
        return self.backend.filtered(self.described(rows, _names(self.where)), self.where)

    def counted(self, groups: list[str]) -> Counted | None:
        """Stored counts of events, and events without; None if they cannot answer: other groups, or a condition."""
        return self._counted_beforehand() if groups == ["delivery_id"] and self.is_unfiltered else None

    @property
    def is_unfiltered(self) -> bool:
        """Whether every row of the deliveries is asked about, so that counts made beforehand may answer."""
        return self.where is None and self.activity == ALL

    def _counted_beforehand(self) -> Counted | None:
        # For few deliveries, reading the rows is faster than opening all files.
        if not self.backend.is_local or (self.delivery is not None and self.is_named):
            return None
        counted = self.tables.counted()
        if counted is None or self.delivery is None:
            return counted
        is_asked = pl.col("delivery_id").is_in(self.delivery)
        return Counted(counted.counts.filter(is_asked), counted.uncounted.filter(is_asked))

    def has_firsts(self, groups: list[str]) -> bool:
        """Whether stored flags answer distinct counts, which takes whole deliveries with every event flagged.

        Flags hold only within a delivery, and not under a filter, which may drop the flagged hit. A mail domain or a
        country is no fixed attribute of a message: where the message table is missing, each hit has its own.
        """
        columns = {*groups, *(self.where.meta.root_names() if self.where is not None else ())}
        is_whole = groups == ["delivery_id"] and columns == {"delivery_id"} and self.activity == ALL
        return is_whole and self._is_flagged(*schema.FIRSTS)

    def grain(self, column: str, groups: list[str]) -> list[str]:
        """The groups within which a column identifies its values; if finer than `groups`, counts are then added up.

        Messages of two deliveries differ, whatever their ids (`schema.IDENTITY`).
        """
        if self._is_within(groups) or "delivery_id" not in schema.IDENTITY[column]:
            return groups
        return list(dict.fromkeys([*self.keyed(groups), "delivery_id"]))

    def _is_within(self, groups: list[str]) -> bool:
        """Whether each group is of one delivery."""
        return "delivery_id" in groups or (self.delivery is not None and len(self.delivery) == 1)

    def has_numbers(self, groups: list[str]) -> bool:
        """Whether stored numbers identify messages and persons within each group: each is of one delivery."""
        return self._is_within(groups) and self._is_flagged("message_number")

    def _is_flagged(self, *flags: str) -> bool:
        if flags not in self.flagged:
            self.flagged[flags] = self.has("event") and self._has_flags(flags)
        return self.flagged[flags]

    def _has_flags(self, flags: tuple[str, ...]) -> bool:
        counted, api = self._counted_beforehand(), self.backend.api
        # Counted events are flagged.
        events = self.backend.scan(self.tables, "event") if counted is None else counted.uncounted
        if not set(flags) <= set(events.collect_schema()):
            return False
        rows = events if self.delivery is None else events.filter(api.col("delivery_id").is_in(self.delivery))
        unflagged = self.backend.collect(rows.select(*(api.col(flag).null_count() for flag in flags))).row(0)
        return not any(unflagged)

    def require_activity(self) -> None:
        """Refuse hits of which nothing says who was behind them."""
        ids = self.unmarked()
        if ids:
            raise RequestError(UNMARKED.format(len(ids), ", ".join(ids[:5])))

    def unmarked(self) -> list[str]:
        """The deliveries with hits that were loaded before trackkit marked who was behind them."""
        events, api = self.of_deliveries("event"), self.backend.api
        if not self.has("event"):
            return []
        unknown = events
        if "activity" in events.collect_schema():
            is_unknown = api.col("activity").is_null()
            if not self.backend.collect(events.filter(is_unknown).select("delivery_id").head(1)).height:
                return []
            unknown = events.filter(is_unknown, is_hit(api))
        ids = self.backend.collect(unknown.select("delivery_id").unique()).to_series()
        return list(ids.drop_nulls().sort())

    @cached_property
    def stated(self) -> pl.DataFrame:
        """What sources state instead of a log, for the deliveries asked about: `delivery_id`, `sent` and `untold`."""
        deliveries = self.tables.scan("delivery")
        columns = {"delivery_id": pl.String(), "sent": pl.Int64(), "untold": pl.String()}
        if not columns.keys() <= set(deliveries.collect_schema()):
            return pl.DataFrame(schema=columns)
        is_stated = pl.col("sent").is_not_null() | (pl.col("untold") != schema.ALL_TOLD)
        is_asked = ~is_set_aside() & ~pl.col("delivery_id").is_in(self.left_out)
        if self.delivery is not None:
            is_asked = pl.col("delivery_id").is_in(self.delivery)
        return deliveries.filter(is_stated, is_asked).select(*columns).collect()

    def deliveries(self) -> pl.DataFrame:
        """Every delivery asked about, including those where nothing happened."""
        if self.delivery is not None:
            return pl.DataFrame({"delivery_id": self.delivery}, schema={"delivery_id": pl.String}).unique()
        sources = [name for name in ("delivery", "purge") if name == "delivery" or self.has(name)]
        ids = [self.in_scope(self.of_deliveries(name)).select("delivery_id") for name in sources]
        return self.backend.collect(self.backend.api.concat(ids).unique())

    def of_deliveries(self, source: str) -> Any:
        """Rows of the named deliveries, or of all if none is named, with or without meeting the condition."""
        rows, key = self.backend.scan(self.tables, source), self.backend.api.col("delivery_id")
        if self.span and source == "event":
            rows = rows.filter(key.is_between(*map(pl.lit, self.span)))
        return rows if self.delivery is None else rows.filter(key.is_in(self.delivery))

    def in_scope(self, rows: Any) -> Any:
        """Rows or groups with `delivery_id` that belong to the deliveries asked about."""
        if self.delivery is not None:
            return rows
        key = self.backend.api.col("delivery_id")
        rows = rows.filter(~key.is_null(), ~key.is_in(self.left_out))
        return rows.join(self.set_aside(), on="delivery_id", how="anti")

    def set_aside(self) -> Any:
        """The deliveries that count only if they are named."""
        return self.backend.scan(self.tables, "delivery").filter(is_set_aside(self.backend.api)).select("delivery_id")

    def timed(self, events: Any) -> Any:
        """Events with the columns of `backends.CLOCK`, in the time zone asked for."""
        return self.backend.timed(events, self.timezone) if "occurred_at" in events.collect_schema() else events


def of_people(tables: Snapshot) -> Snapshot:
    """Return tables whose hits are those of people, as `measure` counts them by `activity="human"`.

    So every question asked of them follows, also one that knows no `activity`. Flags and counts that were stored with
    the hits are left out: they are of all. Raises RequestError where hits are not marked.
    """
    if not tables.has("event"):
        return replace(tables, whole=tables)
    Selection(tables, None, None, "UTC").require_activity()

    def left(rows: pl.LazyFrame) -> pl.LazyFrame:
        return rows.filter(is_human() | ~is_hit()).drop(*schema.FIRSTS, strict=False)

    frames = ChainMap({"event": left(tables.scan("event"))}, tables.frames)  # type: ignore[arg-type]
    texts = ChainMap({"event": left(tables.stored("event"))}, tables.texts)  # type: ignore[arg-type]
    return replace(tables, frames=frames, texts=texts, whole=tables)


def _names(test: pl.Expr) -> set[str]:
    """The columns that a test looks at."""
    return set(test.meta.root_names())
