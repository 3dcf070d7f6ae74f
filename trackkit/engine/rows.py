"""The rows that a question is about, and what is known of them: whether marks answer it, whether all was told."""

from collections.abc import Iterable, Iterator, Sequence
from copy import copy
from functools import cached_property
from typing import Any

import polars as pl

from trackkit import schema
from trackkit.engine.deliveries import has_no_status, is_public, is_set_aside
from trackkit.engine.frames import HERE, Frames
from trackkit.engine.snapshot import Counted, Measurable
from trackkit.metrics import BREAKDOWNS

HELD = 4_000_000  # events in memory at most, in the columns asked for: some 50 bytes each


def _is_untold(source: str, api: Any) -> dict[str, Any]:
    """What tells that counts of a source are not all told: tests of events, by the column each looks at."""
    if source == "message":
        return {"has_messages": ~api.col("has_messages")}
    kind = api.col("event_type")
    return {
        "is_seed": is_public(api),
        "reported_type": api.col("reported_type").is_null(),
        "event_type": kind.is_null() | (kind == "unknown"),
    }


class Rows:
    """The rows that a question is about: each source, restricted to deliveries, control addresses and a condition."""

    def __init__(
        self, tables: Measurable, delivery: list[str] | None, where: pl.Expr | None, timezone: str, on: Frames = HERE
    ) -> None:
        self.tables, self.delivery, self.where, self.timezone, self.on = tables, delivery, where, timezone, on
        self.left_out: list[str] = []
        self.tests: list[Any] = []
        self.kept: pl.DataFrame | None = None
        self.marked: dict[tuple[str, ...], bool] = {}
        self.span: tuple[str, str] | None = None
        self.events = 0  # in the span, whether or not they meet the condition

    def only(self, delivery: list[str]) -> "Rows":
        """The same question about some deliveries."""
        return Rows(self.tables, delivery, self.where, self.timezone, self.on)

    def without(self, delivery: Iterable[str]) -> "Rows":
        """The same question, leaving out some deliveries."""
        rest = None if self.delivery is None else [name for name in self.delivery if name not in set(delivery)]
        rows = Rows(self.tables, rest, self.where, self.timezone, self.on)
        rows.left_out = sorted(delivery)
        return rows

    def held(self, columns: set[str]) -> "Rows":
        """The same question, its events in memory where it leaves few: they are then read once for all counts."""
        if not self.on.is_here or (self.where is None and self.delivery is None):
            return self
        events = self.of("event")
        asked = [name for name in events.collect_schema() if name in columns]
        found = self.on.collect(events.select(asked).head(HELD + 1))
        if found.height > HELD:
            return self
        rows = copy(self)
        rows.kept = found
        return rows

    def portions(self, columns: set[str]) -> Iterator["Rows"]:
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

    def that(self, tests: list[Any]) -> "Rows":
        """The rows among them that meet tests, in the words of who goes through them."""
        rows = copy(self)
        rows.tests = tests
        return rows

    def parts(self, most: int) -> list["Rows"]:
        """The same question in parts of whole deliveries, of about so many events, where there are more.

        What is counted within deliveries then needs the memory of one part; of a sorted store each reads its own files.
        """
        is_planned = self.kept is not None or self.span is not None
        if is_planned or not self.on.is_here or self._length <= most:
            return [self]
        of_each = self._sizes.sort("delivery_id").group_by(part=pl.col("rows").cum_sum() // most, maintain_order=True)
        key = pl.col("delivery_id")
        spans = of_each.agg(key.first().alias("first"), key.last().alias("last"), pl.col("rows").sum())
        return [self._within(*span) for span in spans.select("first", "last", "rows").iter_rows()] or [self]

    @cached_property
    def _length(self) -> int:
        """All events, whoever is asked about."""
        return int(self.tables.stored("event").select(pl.len()).collect().item())

    @cached_property
    def _sizes(self) -> pl.DataFrame:
        """The events of each delivery, whether or not they meet the condition."""
        told = self._told()
        events, key = self._named("event") if told is None else told.rest, ["delivery_id"]
        sizes = [events.group_by(key).agg(rows=pl.len().cast(pl.Int64))]
        sizes += [] if told is None else [told.counts.lazy().group_by(key).agg(pl.col("rows").sum())]
        return self.on.collect(pl.concat(sizes).group_by(key).agg(pl.col("rows").sum()).drop_nulls(key))

    def _within(self, first: str, last: str, events: int) -> "Rows":
        rows = copy(self)
        rows.span, rows.events = (first, last), events
        return rows

    def has(self, source: str) -> bool:
        """Whether any load brought this table."""
        return self.tables.has(source)

    def of(self, source: str) -> Any:
        """Rows that meet the condition: of every delivery, `asked` or not, where none is named, and counted or not."""
        rows = self._all(source) if self.kept is None or source != "event" else self.kept.lazy()
        return rows.filter(*self.tests) if self.tests else rows

    def _all(self, source: str) -> Any:
        rows = self._named(source)
        if source == "event":
            rows = self._timed(rows)
        return rows if self.where is None else self.on.meeting(rows, self.where)

    def counted(self, groups: list[str]) -> Counted | None:
        """The events, counted beforehand as far as they are; None where that does not answer: by more, or filtered."""
        return self._told() if groups == ["delivery_id"] and self.where is None else None

    def _told(self) -> Counted | None:
        # Of few deliveries reading the rows takes less than looking into all files.
        return self.tables.counted() if self.on.is_here and self.delivery is None else None

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
        told, api = self._told(), self.on.api
        events = self.on.scan(self.tables, "event") if told is None else told.rest  # the others are marked
        if not set(marks) <= set(events.collect_schema()):
            return False
        named = events if self.delivery is None else events.filter(api.col("delivery_id").is_in(self.delivery))
        return sum(self.on.collect(named.select(*(api.col(mark).null_count() for mark in marks))).row(0)) == 0

    def unknown(self, source: str, groups: list[str], but: Sequence[str] = ()) -> pl.DataFrame | None:
        """The groups in which counts of a source are unknown, one row each; None where they are known everywhere.

        Of messages: those with events of a delivery of which it is not known what was sent, and those of a delivery of
        none of whose messages it is known what became of them. Of events: those with hits that only a list of links
        could classify, where none was loaded. Events of the deliveries `but` are left out.
        """
        found = [self._untold(source, groups, but)]
        found += [self._without_status(groups)] if source == "message" and self.has("message") else []
        known = [one for one in found if one is not None]
        return pl.concat(known).unique() if known else None

    def _without_status(self, groups: list[str]) -> pl.DataFrame | None:
        """The groups of deliveries whose messages are all of unknown status."""
        messages = self.asked(self._named("message"))
        if not {"status", "delivery_id"} <= set(messages.collect_schema()):
            return None
        # First those with any such message: there are hardly ever any.
        odd = self.on.collect(messages.filter(has_no_status(self.on.api)).select("delivery_id").unique())
        if odd.is_empty():
            return None
        key, ids = self.on.api.col("delivery_id"), odd["delivery_id"].drop_nulls().to_list()
        told = messages.filter(key.is_in(ids), ~has_no_status(self.on.api)).select("delivery_id").unique()
        untold = sorted(set(ids) - set(self.on.collect(told)["delivery_id"]))
        rows = messages.filter(key.is_in(untold))
        if self.where is not None:
            rows = self.on.meeting(rows, self.where)
        return self.on.collect(
            rows.with_columns(is_unknown=self.on.api.lit(True)).select(*groups, "is_unknown").unique()
        )

    def _untold(self, source: str, groups: list[str], but: Sequence[str]) -> pl.DataFrame | None:
        """The groups with events that tell that counts of a source are not all told."""
        if not (self.has("event") and self.has(source)) or (source == "event" and self.has("link")):
            return None
        events, tests = self._timed(self.asked(self._named("event"))), _is_untold(source, self.on.api)
        if not tests.keys() <= set(events.collect_schema()):
            return None
        found = events.filter(*tests.values())
        if len(but):
            found = found.filter(~self.on.api.col("delivery_id").is_in(list(but)))
        if self.where is not None and all("event" in BREAKDOWNS[name] for name in self.where.meta.root_names()):
            found = self.on.meeting(found, self.where)
        return self.on.collect(
            found.with_columns(is_unknown=self.on.api.lit(True)).select(*groups, "is_unknown").unique()
        )

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
        named = [self.asked(self._named(name)).select("delivery_id") for name in told]
        return self.on.collect(self.on.api.concat(named).unique())

    def _named(self, source: str) -> Any:
        rows, key = self.on.scan(self.tables, source), self.on.api.col("delivery_id")
        if self.span and source == "event":
            rows = rows.filter(key.is_between(*map(pl.lit, self.span)))
        return rows if self.delivery is None else rows.filter(key.is_in(self.delivery))

    def asked(self, rows: Any) -> Any:
        """Of rows, or groups, with `delivery_id`, those of the deliveries asked about."""
        if self.delivery is not None:
            return rows
        key = self.on.api.col("delivery_id")
        rows = rows.filter(~key.is_null(), ~key.is_in(self.left_out))
        return rows.join(self.set_aside(), on="delivery_id", how="anti")

    def set_aside(self) -> Any:
        """The deliveries that count only where they are named."""
        return self.on.scan(self.tables, "delivery").filter(is_set_aside(self.on.api)).select("delivery_id")

    def _timed(self, events: Any) -> Any:
        return self.on.timed(events, self.timezone) if "occurred_at" in events.collect_schema() else events
