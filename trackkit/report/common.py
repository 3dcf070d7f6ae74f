"""What the reports of one delivery have in common: computed once by their renderer and handed to each.

It comes from the store alone, untouched by the cells of other reports. A report that is run alone, or whose store has
changed since, computes it by itself: the figures are the same.
"""

import pickle
from collections.abc import Mapping
from typing import Any, NamedTuple

import polars as pl

from trackkit.analysis import caveats
from trackkit.analysis.caveats import Caveat
from trackkit.analysis.usual import usual
from trackkit.engine.snapshot import Snapshot
from trackkit.quality import quality
from trackkit.quality.thresholds import thresholds

MOST = 8  # deliveries that a renderer keeps: reports come delivery by delivery
# The metrics of the shipped templates' tiles, measured once for all reports of a delivery.
HEADLINES = (
    *("delivery_rate", "open_rate", "recipient_click_rate", "click_to_open_rate", "recipient_unsubscribe_rate"),
    *("acceptance_rate", "failure_rate", "processed_failure_rate", "rejection_rate"),
    *("hard_bounce_rate", "soft_bounce_rate"),
    *("total_opens", "sales_amount", "sales", "estimated_click_to_open_rate"),
)
_handed: dict[Any, "Common"] = {}
_packed: dict[Any, bytes] = {}


class Common(NamedTuple):
    """The caveats of the figures, how well the logs were forwarded (None for a recipient), and the `HEADLINES`."""

    limits: list[Caveat]
    quality: pl.DataFrame | None
    usual: pl.DataFrame | None = None


def common(tables: Snapshot, store: Any, delivery: str, recipient: str) -> Common:
    """Return what was handed to this process for these tables of a store, else compute it."""
    if _handed and not recipient and (handed := _handed.get(_key(tables, store, delivery))):
        return handed
    limits = list(caveats.of_data(tables, delivery or None, recipient or None))
    return Common(limits, None if recipient else quality(tables, delivery or None))


def _key(tables: Snapshot, store: Any, delivery: str) -> tuple[str, ...]:
    return str(store), str(tables.as_of), delivery, repr(thresholds())


def packed(arguments: Mapping[str, Any]) -> bytes:
    """Return what a report with these arguments shares with others, pickled for `take`; empty if nothing."""
    from trackkit.store import open_store

    delivery = arguments.get("delivery")
    if not delivery or arguments.get("recipient"):
        return b""
    try:
        tables = open_store(arguments["store"]).snapshot()
        key = _key(tables, arguments["store"], delivery)
        if key not in _packed:
            shared = common(tables, arguments["store"], delivery, "")
            shared = shared._replace(usual=usual(tables, HEADLINES, delivery))
            for oldest in list(_packed)[: len(_packed) + 1 - MOST]:
                del _packed[oldest]
            _packed[key] = pickle.dumps((key, shared))
        return _packed[key]
    except Exception:  # whatever is wrong, the report will meet it too and report it
        return b""


def take(handed: bytes) -> None:
    """Keep what the renderer handed to this process of a report."""
    if handed:
        key, shared = pickle.loads(handed)
        _handed[key] = shared
