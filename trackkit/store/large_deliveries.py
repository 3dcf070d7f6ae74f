"""A delivery too large to be settled at once: cut by message, settled piece by piece, marked when all are settled.

A piece is a run of messages in order of their ids, so that the pieces, one after the other, lie in the store's order.
Copies of an event that name different messages must be settled together: they, with all rows of these messages, are
settled first, and what comes of them goes to the pieces of its messages. Rows without message, of which only copies
belong together, have pieces of their own, the first ones. Memory holds one piece, and of the whole delivery its people.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from trackkit.store.flags import later_than_first, with_marks
from trackkit.store.layout import in_order
from trackkit.store.partition import spread, spread_rows
from trackkit.store.reconcile import Settled, Settling, Unsettled
from trackkit.store.tables import BY_DELIVERY

PIECE_ROWS = 500_000
SAMPLE = 64  # one row of so many says where messages are cut
IDS_AT_ONCE = 20_000_000
_PIECE, _ROW = "piece of delivery", "row of piece"
_MIXED = -1


@dataclass(frozen=True)
class Cut:
    """Where a delivery is cut: how many pieces hold rows without message, and the first message of the others.

    `events` and `messages` are hashes of the log ids whose copies name different messages, and of those messages.
    """

    nameless: int
    fences: pl.Series
    events: pl.Series
    messages: pl.Series

    @property
    def pieces(self) -> range:
        """The numbers of the pieces, in order."""
        return range(self.nameless + self.fences.len() + 1)

    def placed(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Give each row the piece of its message."""
        named = self.fences.search_sorted(rows["message_id"].fill_null(""), side="right").cast(pl.Int64) + self.nameless
        copies = _hash("event_id") if "event_id" in rows.columns else pl.lit(None, pl.UInt64)
        nameless = copies.fill_null(pl.int_range(pl.len(), dtype=pl.UInt64)) % self.nameless
        piece = pl.when(pl.col("message_id").is_not_null()).then(named).otherwise(nameless.cast(pl.Int64))
        return rows.with_columns(piece.cast(pl.Int32).alias(_PIECE))

    def apart(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Give each row its piece before it is settled."""
        placed = self.placed(rows)
        if self.events.is_empty():
            return placed
        is_mixed = _hash("message_id").is_in(self.messages.implode()).fill_null(False)
        if "event_id" in rows.columns:
            is_mixed |= _hash("event_id").is_in(self.events.implode()).fill_null(False)
        return placed.with_columns(pl.when(is_mixed).then(_MIXED).otherwise(_PIECE).cast(pl.Int32).alias(_PIECE))


def cut_of(rows: Unsettled, total: int) -> Cut:
    """Find where to cut a delivery of so many rows."""
    texts = pl.concat([part.select("message_id") for part in rows]).with_row_index(_ROW)
    sample = texts.filter(pl.col(_ROW) % SAMPLE == 0).collect(engine="streaming")["message_id"]
    named, wanted = sample.drop_nulls().sort(), -(-total // PIECE_ROWS)
    nameless = max(1, round(wanted * sample.null_count() / max(sample.len(), 1)))
    others = max(1, wanted - nameless)
    places = [named.len() * number // others for number in range(1, others)] if named.len() else []
    fences = named.gather(places).unique().sort()
    return Cut(nameless, fences, *_mixed(rows.events, -(-total // IDS_AT_ONCE)))


def _mixed(events: pl.LazyFrame, parts: int) -> tuple[pl.Series, pl.Series]:
    """The hashes of log ids that stand with different messages, and of these messages; a few too many do no harm."""
    ids = events.filter(pl.col("event_id").is_not_null()).select(event=_hash("event_id"), message=_hash("message_id"))
    found = []
    for part in range(parts):
        some = ids.filter(pl.col("event") % parts == part).collect(engine="streaming").sort("event", "message")
        is_other = (pl.col("event") == pl.col("event").shift()) & pl.col("message").ne_missing(
            pl.col("message").shift()
        )
        found.append(some.join(some.filter(is_other).select("event").unique(), on="event", how="semi"))
    mixed = pl.concat(found)
    return mixed["event"].unique(), mixed["message"].drop_nulls().unique()


def _hash(column: str) -> pl.Expr:
    """A number for each text; null where there is none."""
    return pl.when(pl.col(column).is_not_null()).then(pl.col(column).hash())


@dataclass
class Pieces:
    """One delivery on its way through a load; `columns` are those that each table is stored with."""

    settling: Settling
    columns: Mapping[str, list[str]]
    folder: Path
    messages: list[int] = field(default_factory=list)
    people: pl.Series = field(default_factory=lambda: pl.Series(dtype=pl.String))
    later: pl.DataFrame = field(default_factory=pl.DataFrame)
    is_known: bool = False

    def settle(self, rows: Unsettled, total: int) -> Iterator[Settled]:
        """Settle piece after piece, and show what came of each; `parts` has the rows when all were shown."""
        cut = cut_of(rows, total)
        for name, part in zip(rows._fields, rows, strict=True):
            spread([part], _PIECE, self.folder / name, cut.apart)
        if cut.events.len():
            mixed = self.settling.settle(self._unsettled(rows, _MIXED))
            yield mixed
            for name in BY_DELIVERY:
                found = getattr(mixed, name).select(self.columns[name])
                spread([found.lazy()], _PIECE, self.folder / f"mixed {name}", cut.placed)
        people = []
        for piece in cut.pieces:
            settled = self.settling.settle(self._unsettled(rows, piece))
            yield settled
            people.append(self._keep(piece, settled))
        self._number(people)

    def _unsettled(self, rows: Unsettled, piece: int) -> Unsettled:
        found = []
        for name, part in zip(rows._fields, rows, strict=True):
            placed = spread_rows(self.folder / name, piece, part.collect_schema())
            found.append(part.limit(0) if placed is None else placed)
        return Unsettled(*found)

    def _keep(self, piece: int, settled: Settled) -> pl.Series:
        """Write what came of a piece, its events marked within it; return its people."""
        found = {}
        for name in BY_DELIVERY:
            rows = getattr(settled, name).select(self.columns[name])
            mixed = spread_rows(self.folder / f"mixed {name}", piece, rows.schema)
            found[name] = rows if mixed is None else in_order(name, pl.concat([rows, mixed.collect()]))
        found["event"] = with_marks(found["event"])
        for name, rows in found.items():
            rows.write_ipc(self._place(name, piece), compression="lz4")
        is_told = [rows["has_messages"].any() for rows in (found["event"], found["collapsed"])]
        self.is_known |= any(is_told) or not found["message"]["is_implied"].fill_null(False).all()
        self.messages.append(found["event"]["message_number"].max() or 0)
        return found["event"]["person_id"].drop_nulls().unique()

    def _number(self, people: Iterable[pl.Series]) -> None:
        """Find the people of all pieces, and of those in several the clicks that come after their first one."""
        together = pl.concat(people).sort()
        is_again = (together == together.shift()).fill_null(False)
        shared, self.people = together.filter(is_again).unique(), together.filter(~is_again)
        is_rival = pl.col("is_first_click_of_person") & pl.col("person_id").is_in(shared.implode())
        rivals = [
            rows.with_row_index(_ROW).filter(is_rival).with_columns(pl.lit(piece).alias(_PIECE))
            for piece, rows in enumerate(self._scanned("event"))
        ]
        self.later = later_than_first(pl.concat(rivals), "person_id").select(_PIECE, _ROW).collect()

    def parts(self, name: str) -> Iterator[pl.DataFrame]:
        """Return the rows of a table, piece after piece, in the store's order, complete."""
        before = 0
        for piece, rows in enumerate(self._scanned(name)):
            if "has_messages" in self.columns[name]:
                is_known = pl.when(pl.col("delivery_id").is_not_null()).then(self.is_known)
                rows = rows.with_columns(has_messages=is_known)
            yield self._marked(piece, rows.collect(), before) if name == "event" else rows.collect()
            before += self.messages[piece]

    def has_rows(self, name: str) -> bool:
        """Return whether a table has any row."""
        return any(rows.select(pl.len()).collect().item() for rows in self._scanned(name))

    def _marked(self, piece: int, rows: pl.DataFrame, before: int) -> pl.DataFrame:
        """Make the marks of a piece those of its delivery."""
        later = self.later.filter(pl.col(_PIECE) == piece)[_ROW]
        place = self.people.search_sorted(rows["person_id"].fill_null("")).cast(pl.Int32) + 1
        number = pl.col("message_number")
        return rows.with_columns(
            pl.when(number > 0).then(number + before).otherwise(0).cast(pl.Int32).alias("message_number"),
            pl.when(pl.col("person_id").is_not_null()).then(place).otherwise(0).cast(pl.Int32).alias("person_number"),
            pl.col("is_first_click_of_person") & ~pl.int_range(pl.len()).cast(later.dtype).is_in(later.implode()),
        )

    def _scanned(self, name: str) -> list[pl.LazyFrame]:
        return [pl.scan_ipc(self._place(name, piece), glob=False) for piece in range(len(self.messages))]

    def _place(self, name: str, piece: int) -> Path:
        return self.folder / f"{name} {piece}.settled"
