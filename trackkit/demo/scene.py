"""One delivery with its people, messages and random generator, and the frame of its hits."""

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import polars as pl

from trackkit.demo.mailing import Mailing
from trackkit.demo.people import People
from trackkit.demo.plan import HOUR, OPEN, OPEN_ID, WEB_TAGS

MINUTE, SECOND = 60_000, 1000
OPENED = 0  # the slot of the open; slots of the delivery's links follow, then of the web tags
SCHEMA = pl.Schema(
    dict.fromkeys(("message", "at", "cents", "articles"), pl.Int64())
    | dict.fromkeys(("slot", "client"), pl.Int16())
    | {"person": pl.UInt64(), "address": pl.Int32(), "kind": pl.Int8()}
    | {"is_repeat": pl.Boolean(), "is_named": pl.Boolean()}  # named: by its page, outside any session
)
# Share of the day's activity by local hour.
_DAY = np.array([2, 1, 1, 1, 1, 2, 5, 8, 10, 9, 8, 8, 9, 8, 7, 7, 7, 8, 9, 10, 10, 9, 6, 4]) / 10


class Kind(IntEnum):
    """Who or what made a hit."""

    HUMAN, FORWARD, SEED, PROOF, PROXY_OPEN, PREFETCH, SCANNER, VISITOR = range(8)


KINDS = [kind.name.lower() for kind in Kind]


@dataclass(frozen=True)
class Scene:
    """One delivery with its people and random generator, and the time limits of raw logs and the table export."""

    people: People
    mailing: Mailing
    rng: np.random.Generator
    table_only: int
    table_end: int

    @property
    def slots(self) -> tuple[np.ndarray, np.ndarray]:
        """The link id and the type code of every slot."""
        links = [(link.link_id, link.type_code) for link in self.mailing.plan.links]
        rows = [(OPEN_ID, OPEN), *links, *(tag[:2] for tag in WEB_TAGS)]
        ids, types = zip(*rows, strict=True)
        return np.array(ids), np.array(types)

    @property
    def first_tag(self) -> int:
        """The slot of the first web tag."""
        return 1 + len(self.mailing.plan.links)

    def fresh(self, count: int) -> np.ndarray:
        """Return persons never seen before: new cookies."""
        return self.rng.integers(1 << 61, 1 << 62, count, dtype=np.uint64)

    def choose(self, share: float | np.ndarray, among: np.ndarray) -> np.ndarray:
        """Return a random part of `among`."""
        return among[self.rng.random(among.size) < share]

    def later(self, at: np.ndarray, median: float, spread: float, hours: np.ndarray | int = 0) -> np.ndarray:
        """Return instants a log-normal while after `at`, redrawn when they fall in the local night."""
        drawn = at + self.rng.lognormal(np.log(median), spread, at.size).astype(np.int64)
        hours = np.broadcast_to(hours, at.shape)
        for _ in range(5):
            local = (drawn // HOUR + hours) % 24
            asleep = np.flatnonzero(self.rng.random(at.size) > _DAY[local])
            drawn[asleep] = at[asleep] + self.rng.lognormal(np.log(median), spread, asleep.size).astype(np.int64)
        return drawn

    def links(self, count: int) -> np.ndarray:
        """Return the slots of `count` clicks by people, popular links more often."""
        weights = np.array([link.weight for link in self.mailing.plan.links])
        return 1 + self.rng.choice(weights.size, count, p=weights / weights.sum())


def make_rows(
    kind: int | np.ndarray,
    message: np.ndarray,
    at: np.ndarray,
    slot: int | np.ndarray,
    person: int | np.ndarray,
    client: int | np.ndarray,
    address: int | np.ndarray,
) -> pl.DataFrame:
    """Return hits as a frame, single values repeated."""
    values = dict(message=message, at=at, slot=slot, person=person, client=client, address=address, kind=kind)
    columns = [pl.Series(name, np.broadcast_to(value, message.shape).copy()) for name, value in values.items()]
    none = dict(cents=pl.lit(0), articles=pl.lit(0), is_repeat=pl.lit(False), is_named=pl.lit(False))
    return pl.DataFrame(columns).with_columns(**none).select(list(SCHEMA)).cast(SCHEMA)
