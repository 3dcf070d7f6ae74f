"""Settle deliveries: merge copies, enrich rows, set repeated opens aside, mark hits.

Several small deliveries are one piece; a large one has several, so that memory holds one piece and the delivery's
people. A piece is a run of messages in order of their ids, so that the pieces in turn are in the store's order. Copies
of an event that name different messages must be settled together: these mixed rows, with all rows of their messages,
are settled first and the result distributed. Rows without message have the first pieces, which keep copies together.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import polars as pl

from trackkit import schema
from trackkit.engine.snapshot import Tables
from trackkit.store.activity import crowds_of, facts_of, marked, signs_of, with_activity
from trackkit.store.dedupe import merge_copies, replace_rows, set_repeats_aside
from trackkit.store.enrich import (
    agent_texts,
    enrich_events,
    enrich_messages,
    known_agents,
    later_than_first,
    own_messages,
    with_borrowed,
    with_marks,
)
from trackkit.store.implied import message_verdicts, silent_on_deliveries
from trackkit.store.layout import BY_DELIVERY, FILLED, ORDER, in_order
from trackkit.store.partition import NUMBER, Partitions, partitioned, spilled
from trackkit.store.user_agents import parse_agents

SAMPLE = 64  # one row in so many is sampled to choose the cuts
IDS_AT_ONCE = 20_000_000
_PIECE, _ROW = "piece of delivery", "row of piece"
_MIXED = -1


class Unsettled(NamedTuple):
    """All rows of some deliveries or messages: old and new events, stored messages, arriving messages."""

    events: pl.LazyFrame
    stored: pl.LazyFrame
    arriving: pl.LazyFrame


class Settled(NamedTuple):
    """The same rows after the load, in the store's order, unmarked; `kept` counts messages by file."""

    event: pl.DataFrame
    collapsed: pl.DataFrame
    message: pl.DataFrame
    kept: dict[int, int]


@dataclass
class Settling:
    """What settling needs: the store after the load, and the user agents parsed so far."""

    now: Tables
    agents: pl.DataFrame = field(default_factory=lambda: parse_agents([]))
    senders: Mapping[str, bool] = field(default_factory=dict)  # see `silent_on_deliveries`
    silent: pl.DataFrame | None = None

    def find_silent(self, events: pl.LazyFrame) -> None:
        """Find the deliveries without any report of delivery, which no single piece can show."""
        self.silent = silent_on_deliveries(events, self.senders) if self.senders else None

    def unreported(self) -> list[str]:
        """For each silent delivery, its format, unless the map declares that deliveries go unreported."""
        silent = [] if self.silent is None else self.silent.drop_nulls("delivery_id")["source"].to_list()
        return [name for name in silent if not self.senders[name]]

    def settle(self, rows: Unsettled) -> Settled:
        """Settle old and new rows alike."""
        messages = replace_rows(schema.MESSAGE, own_messages(rows.stored).collect(), rows.arriving.collect())
        events = in_order("event", merge_copies(rows.events.collect()))
        stated = with_borrowed(messages.rows.lazy().drop(FILLED), self.now)
        verdicts = message_verdicts(events.lazy(), self.silent)
        enriched = enrich_messages(stated, self.now, verdicts).sort(ORDER["message"]).collect()
        hits = enrich_events(events, enriched.lazy(), self.now, self._agents(events.lazy()))
        del events  # frees memory
        return Settled(*set_repeats_aside(hits), enriched, messages.kept)

    def _agents(self, events: pl.LazyFrame) -> pl.LazyFrame:
        unknown = sorted(set(agent_texts(events)).difference(self.agents["user_agent"]))
        self.agents = pl.concat([self.agents, parse_agents(unknown)])
        return known_agents(events, self.now, self.agents)


@dataclass(frozen=True)
class Cut:
    """How a delivery is cut into pieces."""

    nameless: int = 0  # pieces of rows without message
    fences: pl.Series = field(default_factory=lambda: pl.Series(dtype=pl.String))  # first messages of further pieces
    events: pl.Series = field(default_factory=lambda: pl.Series(dtype=pl.UInt64))  # hashes of mixed log ids
    messages: pl.Series = field(default_factory=lambda: pl.Series(dtype=pl.UInt64))  # hashes of their messages

    @property
    def pieces(self) -> range:
        """The numbers of the pieces, in order."""
        return range(self.nameless + self.fences.len() + 1)

    def placed(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Add the number of the piece to which each row's message belongs."""
        named = self.fences.search_sorted(rows["message_id"].fill_null(""), side="right").cast(pl.Int64) + self.nameless
        copies = _hash("event_id") if "event_id" in rows.columns else pl.lit(None, pl.UInt64)
        nameless = copies.fill_null(pl.int_range(pl.len(), dtype=pl.UInt64)) % self.nameless
        piece = pl.when(pl.col("message_id").is_not_null()).then(named).otherwise(nameless.cast(pl.Int64))
        return rows.with_columns(piece.cast(pl.Int32).alias(NUMBER))

    def apart(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Add the number of the piece in which each row is settled."""
        placed = self.placed(rows)
        if self.events.is_empty():
            return placed
        is_mixed = _hash("message_id").is_in(self.messages.implode()).fill_null(False)
        if "event_id" in rows.columns:
            is_mixed |= _hash("event_id").is_in(self.events.implode()).fill_null(False)
        return placed.with_columns(pl.when(is_mixed).then(_MIXED).otherwise(NUMBER).cast(pl.Int32).alias(NUMBER))


def cut_of(rows: Unsettled, pieces: int, total: int) -> Cut:
    """Choose how to cut a delivery of `total` rows into about so many pieces."""
    if pieces == 1:
        return Cut()
    texts = pl.concat([part.select("message_id") for part in rows]).with_row_index(_ROW)
    sample = texts.filter(pl.col(_ROW) % SAMPLE == 0).collect(engine="streaming")["message_id"]
    named = sample.drop_nulls().sort()
    nameless = max(1, round(pieces * sample.null_count() / max(sample.len(), 1)))
    others = max(1, pieces - nameless)
    places = [named.len() * number // others for number in range(1, others)] if named.len() else []
    fences = named.gather(places).unique().sort()
    return Cut(nameless, fences, *_mixed_ids(rows.events, -(-total // IDS_AT_ONCE)))


def _mixed_ids(events: pl.LazyFrame, parts: int) -> tuple[pl.Series, pl.Series]:
    """Hashes of log ids with several messages, and of these messages; collisions do no harm."""
    ids = events.filter(pl.col("event_id").is_not_null()).select(event=_hash("event_id"), message=_hash("message_id"))
    event, message = pl.col("event"), pl.col("message")
    is_other = (event == event.shift()) & message.ne_missing(message.shift())
    mixed_by_part = []
    for part in range(parts):
        of_part = ids.filter(event % parts == part).collect(engine="streaming").sort("event", "message")
        mixed_by_part.append(of_part.join(of_part.filter(is_other).select("event").unique(), on="event", how="semi"))
    mixed = pl.concat(mixed_by_part)
    return mixed["event"].unique(), mixed["message"].drop_nulls().unique()


def _hash(column: str) -> pl.Expr:
    return pl.when(pl.col(column).is_not_null()).then(pl.col(column).hash())


@dataclass
class Pieces:
    """Deliveries settled piece by piece."""

    settling: Settling
    columns: Mapping[str, list[str]]  # stored, by table
    folder: Path
    count: Callable[[Settled], None]  # called with each settled piece
    rows: dict[str, list[pl.LazyFrame]] = field(default_factory=lambda: {name: [] for name in BY_DELIVERY})
    messages: list[int] = field(default_factory=list)
    people: pl.Series = field(default_factory=lambda: pl.Series(dtype=pl.String))
    later: pl.DataFrame = field(default_factory=pl.DataFrame)
    is_known: bool = False

    def settle(self, rows: Unsettled, pieces: int, total: int) -> None:
        """Settle `total` rows in about so many pieces; `parts` returns the result."""
        cut = cut_of(rows, pieces, total)
        partitions = [
            partitioned([part], len(cut.pieces), self.folder / name, cut.apart)
            for name, part in zip(rows._fields, rows, strict=True)
        ]
        mixed = self._mixed(cut, partitions) if cut.events.len() else {}
        for piece in cut.pieces:
            self._keep(self.settling.settle(Unsettled(*(part.rows(piece) for part in partitions))), piece, cut, mixed)
        if len(cut.pieces) > 1:
            self._find_activity()
            self._number()

    def _mixed(self, cut: Cut, partitions: list[Partitions]) -> dict[str, Partitions]:
        """Settle the mixed rows, and distribute the result to the pieces."""
        settled = self.settling.settle(Unsettled(*(part.rows(_MIXED) for part in partitions)))
        self.count(settled)
        tables = {name: getattr(settled, name).select(self.columns[name]).lazy() for name in BY_DELIVERY}
        return {
            name: partitioned([rows], len(cut.pieces), self.folder / f"mixed {name}", cut.placed)
            for name, rows in tables.items()
        }

    def _keep(self, settled: Settled, piece: int, cut: Cut, mixed: Mapping[str, Partitions]) -> None:
        """Keep a settled piece, its events marked within it."""
        self.count(settled)
        tables = {name: getattr(settled, name).select(self.columns[name]) for name in BY_DELIVERY}
        del settled  # a second copy of what is written below
        for name, partitions in mixed.items():
            mixed_rows = partitions.rows(piece).collect()
            tables[name] = in_order(name, pl.concat([tables[name], mixed_rows])) if mixed_rows.height else tables[name]
        tables["event"] = with_marks(tables["event"])
        if len(cut.pieces) == 1:
            tables["event"] = with_activity(tables["event"], tables["message"])
        has_table = [tables[name]["has_messages"].any() for name in ("event", "collapsed")]
        self.is_known |= any(has_table) or not tables["message"]["is_implied"].fill_null(False).all()
        self.messages.append(tables["event"].select(pl.col("message_number").max().fill_null(0)).item())
        for name in BY_DELIVERY:
            file = self.folder / f"{name} {piece}.settled" if len(cut.pieces) > 1 else None
            self.rows[name].append(spilled(tables.pop(name), file))

    def _find_activity(self) -> None:
        """Find who was behind each hit, by evidence from all pieces."""
        events, messages = self.rows["event"], self.rows["message"]
        facts = facts_of(events, messages)
        pieces = list(zip(events, messages, strict=True))
        signs = [signs_of(hits.collect(), sent.collect(), facts) for hits, sent in pieces]
        crowds = crowds_of(signs)
        for piece, sign in enumerate(signs):
            rows = marked(events[piece].collect(), sign, crowds)
            events[piece] = spilled(rows, self.folder / f"event {piece}.active")
            (self.folder / f"event {piece}.settled").unlink()

    def _number(self) -> None:
        """List the people of all pieces, and find first clicks of a person in a piece that are later ones overall."""
        person = pl.col("person_id")
        people_by_piece = pl.concat(rows.select(person.drop_nulls().unique()).collect() for rows in self.rows["event"])
        people = people_by_piece["person_id"].sort()
        is_again = (people == people.shift()).fill_null(False)
        in_several, self.people = people.filter(is_again).unique(), people.filter(~is_again)
        is_candidate = pl.col("is_first_click_of_person") & person.is_in(in_several.implode())
        candidates = [
            rows.with_row_index(_ROW).filter(is_candidate).with_columns(pl.lit(piece).alias(_PIECE))
            for piece, rows in enumerate(self.rows["event"])
        ]
        self.later = later_than_first(pl.concat(candidates), "person_id").select(_PIECE, _ROW).collect()

    def parts(self, name: str) -> Iterator[pl.DataFrame]:
        """Yield the final rows of a table, piece by piece, in the store's order."""
        if len(self.rows[name]) == 1:
            yield self.rows[name][0].collect()
            return
        before = 0
        for piece, rows in enumerate(self.rows[name]):
            if "has_messages" in self.columns[name]:
                is_known = pl.when(pl.col("delivery_id").is_not_null()).then(self.is_known)
                rows = rows.with_columns(has_messages=is_known)
            yield self._marked(piece, rows.collect(), before) if name == "event" else rows.collect()
            before += self.messages[piece]

    def _marked(self, piece: int, rows: pl.DataFrame, before: int) -> pl.DataFrame:
        """Turn marks within a piece into marks within its delivery."""
        later = self.later.filter(pl.col(_PIECE) == piece)[_ROW]
        place = self.people.search_sorted(rows["person_id"].fill_null("")).cast(pl.Int32) + 1
        number = pl.col("message_number")
        return rows.with_columns(
            pl.when(number > 0).then(number + before).otherwise(0).cast(pl.Int32).alias("message_number"),
            pl.when(pl.col("person_id").is_not_null()).then(place).otherwise(0).cast(pl.Int32).alias("person_number"),
            pl.col("is_first_click_of_person") & ~pl.int_range(pl.len()).cast(later.dtype).is_in(later.implode()),
        )
