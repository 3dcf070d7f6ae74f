"""What the reports of one delivery or one scope have in common: computed once by their renderer and handed to each.

It comes from the store alone, untouched by the cells of other reports. A report that is run alone, or whose store has
changed since, computes it by itself: the figures are the same.
"""

import pickle
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import polars as pl

from trackkit.analysis import caveats
from trackkit.analysis.caveats import Caveat
from trackkit.analysis.usual import totals, usual
from trackkit.engine.scope import Scope, resolve
from trackkit.engine.selection import ACTIVITIES, ALL, of_people
from trackkit.engine.snapshot import Snapshot
from trackkit.errors import require_word
from trackkit.quality import quality
from trackkit.quality.thresholds import thresholds

MOST = 8  # deliveries and scopes that a renderer keeps: reports come delivery by delivery
# The metrics of the shipped templates' tiles, measured once for all reports of a delivery.
HEADLINES = (
    *("delivery_rate", "open_rate", "recipient_click_rate", "click_to_open_rate", "recipient_unsubscribe_rate"),
    *("acceptance_rate", "failure_rate", "processed_failure_rate", "rejection_rate"),
    *("hard_bounce_rate", "soft_bounce_rate"),
    *("total_opens", "sales_amount", "sales", "estimated_click_to_open_rate"),
)
_handed: dict[Any, "Common"] = {}
_packed: dict[Any, bytes] = {}
_scopes: dict[tuple[str, ...], Scope] = {}  # that were handed
_newest: dict[str, Snapshot] = {}  # of the store of the last report


Chosen = str | list[str] | None  # what a page is about: a delivery, several, all


class Common(NamedTuple):
    """The caveats of the figures, how well the logs were forwarded (None for a recipient), and the `HEADLINES`.

    `scope` is the one that a page is about.
    """

    limits: list[Caveat]
    quality: pl.DataFrame | None
    usual: pl.DataFrame | None = None
    scope: Scope | None = None


def newest(store: Any) -> Snapshot:
    """Return the newest tables of a store: those of the report before, and what it looked up, if nothing was loaded."""
    from trackkit.store import open_store

    tables, last = open_store(store).snapshot(), _newest.get(str(store))
    if last is None or _state(last) != _state(tables):
        _newest.clear()
        _newest[str(store)] = last = tables
    return last


def _state(tables: Snapshot) -> tuple[Any, ...]:
    return tables.as_of, tables.timezone, dict(tables.versions)


def scope_of(tables: Snapshot, store: Any, text: str) -> Scope:
    """Return the scope that a text names: what was handed to this process for these tables of a store, else resolved.

    Raises RequestError as `resolve`.
    """
    handed = _scopes.get(_key(tables, store, text)) if _scopes else None
    return handed or resolve(tables, text)


def tables_of(whole: Snapshot, activity: str) -> Snapshot:
    """Return tables with the hits that are to be counted; RequestError for an unknown activity, as `of_people`."""
    require_word("activity", activity, ACTIVITIES)
    return whole if activity == ALL else of_people(whole)


def common(tables: Snapshot, store: Any, chosen: Chosen, recipient: str = "", activity: str = ALL) -> Common:
    """Return what was handed to this process for these tables of a store, else compute it.

    `tables` have all hits; of what is shared, the figures alone follow the `activity`.
    """
    if _handed and not recipient and (handed := _handed.get(_key(tables, store, chosen, activity))):
        return handed
    limits = list(caveats.of_data(tables, chosen, recipient or None))
    return Common(limits, None if recipient else quality(tables, chosen))


def headline(tables: Snapshot, metrics: Sequence[str], chosen: Chosen) -> pl.DataFrame:
    """Return metrics of a delivery beside the usual ones, or totals of several, in the columns of `analysis.usual`."""
    return usual(tables, metrics, chosen) if isinstance(chosen, str) else totals(tables, metrics, chosen)


def _key(tables: Snapshot, store: Any, about: Chosen, activity: str = ALL) -> tuple[str, ...]:
    return str(store), str(tables.as_of), repr(about), activity, repr(thresholds())


def packed(arguments: Mapping[str, Any]) -> bytes:
    """Return what a report with these arguments shares with others, pickled for `take`; empty if nothing."""
    delivery, scope = arguments.get("delivery"), arguments.get("scope")
    if not (delivery or scope) or arguments.get("recipient"):
        return b""
    try:
        tables = newest(arguments["store"])
        over = resolve(tables, scope) if scope else None
        chosen = over.chosen if over else delivery
        activity = arguments.get("activity") or ALL
        key = _key(tables, arguments["store"], chosen, activity)
        if key not in _packed:
            shared = common(tables, arguments["store"], chosen)
            usual = headline(tables_of(tables, activity), HEADLINES, chosen)
            shared = shared._replace(usual=usual, scope=over)
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
        if shared.scope:
            store, at, _, _, judged_by = key
            _scopes[store, at, repr(shared.scope.text), ALL, judged_by] = shared.scope
