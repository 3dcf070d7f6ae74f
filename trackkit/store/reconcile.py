"""Deliveries as they are after a load: copies merged, rows enriched, repeated opens set aside.

Settled are whole deliveries, or of one all rows of some messages: but for marks, and for whether it is known what a
delivery sent (`pieces`), nothing here looks beyond a message and the copies of its rows.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import polars as pl

from trackkit import schema
from trackkit.engine.snapshot import Tables
from trackkit.store.dedupe import FILLED, merge_copies, set_repeats_aside
from trackkit.store.enrich import (
    agent_texts,
    enrich_events,
    enrich_messages,
    known_agents,
    own_messages,
    with_borrowed,
)
from trackkit.store.implied import silent_on_deliveries, told_by_events
from trackkit.store.layout import ORDER, in_order
from trackkit.store.replace import replace_rows
from trackkit.store.user_agents import parse_agents


class Unsettled(NamedTuple):
    """Rows of the same deliveries or messages: events, old and new; messages as stored, and the new ones."""

    events: pl.LazyFrame
    stored: pl.LazyFrame
    arriving: pl.LazyFrame


class Settled(NamedTuple):
    """The same rows after the load, in the store's order; events lack their marks. `kept` counts messages, by file."""

    event: pl.DataFrame
    collapsed: pl.DataFrame
    message: pl.DataFrame
    kept: dict[int, int]


@dataclass
class Settling:
    """What settling needs of a store, as it is after the load, and the user agents that were parsed before.

    `senders` are the formats of feeds, and whether their maps say that deliveries may be untold; of the deliveries
    settled next, `silent` are those where they are.
    """

    now: Tables
    agents: pl.DataFrame = field(default_factory=lambda: parse_agents([]))
    senders: Mapping[str, bool] = field(default_factory=dict)
    silent: pl.DataFrame | None = None

    def look_at(self, events: pl.LazyFrame) -> None:
        """Note of whole deliveries what no piece of one could tell: where nothing is said to be delivered."""
        self.silent = silent_on_deliveries(events, self.senders) if self.senders else None

    def untold(self) -> list[str]:
        """The formats whose maps do not say that deliveries may be untold, one for each delivery where they are."""
        silent = [] if self.silent is None else self.silent.drop_nulls("delivery_id")["source"].to_list()
        return [name for name in silent if not self.senders[name]]

    def settle(self, rows: Unsettled) -> Settled:
        """Settle rows; those there were before and those that are new count the same."""
        messages = replace_rows(schema.MESSAGE, own_messages(rows.stored).collect(), rows.arriving.collect())
        events = in_order("event", merge_copies(rows.events.collect()))
        known = with_borrowed(messages.rows.lazy().drop(FILLED), self.now)
        told = told_by_events(events.lazy(), self.silent)
        known = enrich_messages(known, self.now, told).sort(ORDER["message"]).collect()
        enriched = enrich_events(events, known.lazy(), self.now, self._agents(events.lazy()))
        del events
        return Settled(*set_repeats_aside(enriched), known, messages.kept)

    def _agents(self, events: pl.LazyFrame) -> pl.LazyFrame:
        unknown = sorted(set(agent_texts(events)).difference(self.agents["user_agent"]))
        self.agents = pl.concat([self.agents, parse_agents(unknown)])
        return known_agents(events, self.now, self.agents)
