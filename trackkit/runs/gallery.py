"""The figures of the index: of each delivery, of the last 30 days, and how opens came after each launch."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import polars as pl

from trackkit.analysis.delays import is_over
from trackkit.analysis.sending import pace
from trackkit.analysis.unseen import measure_observed, unseen
from trackkit.analysis.usual import usual
from trackkit.engine.deliveries import is_counted, is_set_aside
from trackkit.engine.measure import measure
from trackkit.engine.plausible import now
from trackkit.engine.snapshot import Snapshot
from trackkit.schema import INSTANT

RATES = ("delivery_rate", "open_rate", "recipient_click_rate", "click_to_open_rate")
TILES = ("delivery_rate", "open_rate", "recipient_click_rate")
HOURS, RECENT_DAYS = 48, 30
Figures = dict[str, dict[str, dict[str, Any]]]


def figures(tables: Snapshot, deliveries: Sequence[str], rates: Sequence[str] = RATES) -> Figures:
    """Return rates of each delivery, by delivery and rate, beside what is usual (`analysis.usual`)."""
    each: Figures = {delivery: {} for delivery in deliveries}
    for row in usual(tables, rates, deliveries).drop("recent").iter_rows(named=True) if deliveries else ():
        each[row["delivery_id"]][row["metric"]] = row
    return each


def progress(tables: Snapshot, deliveries: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return how many messages of each delivery are to deliver and how many are processed, by delivery."""
    measured = measure(tables, ["to_deliver", "processed"], delivery=deliveries) if deliveries else pl.DataFrame()
    return {row["delivery_id"]: row for row in measured.iter_rows(named=True)}


def selected(
    tables: Snapshot, scopes: Mapping[str, Sequence[str]], rates: Sequence[str] = TILES
) -> dict[str, dict[str, Any]]:
    """Return rates over the deliveries of each scope together, with their parts; None for what nobody can tell.

    Scopes that share no delivery are measured at once: all campaigns in one pass, folders in one for each level.
    """
    hidden = unseen(tables, (name for deliveries in scopes.values() for name in deliveries), rates)
    facts: dict[str, dict[str, Any]] = {}
    for scope_of in _disjoint(scopes):
        parts = pl.DataFrame({"delivery_id": list(scope_of), "scope": list(scope_of.values())})
        ids, unknown = list(scope_of), {name: hidden.get(name, {}) for name in scope_of}
        measured = measure_observed(tables, rates, unknown, ["scope"], ids, join={"delivery_id": parts})
        facts |= {row["scope"]: row for row in measured.iter_rows(named=True)}
    return facts


def _disjoint(scopes: Mapping[str, Sequence[str]]) -> list[dict[str, str]]:
    """The scopes in as few parts as can be told at a glance, in each of which a delivery has one scope."""
    parts: list[dict[str, str]] = []
    for scope in sorted(scopes, key=lambda each: -len(scopes[each])):
        fitting = next((part for part in parts if part.keys().isdisjoint(scopes[scope])), None)
        if fitting is None:
            parts.append(fitting := {})
        fitting |= dict.fromkeys(scopes[scope], scope)
    return parts


def opens_by_hour(tables: Snapshot, launches: pl.DataFrame) -> dict[str, list[int]]:
    """Return the opens in each of the first 48 hours after the launch, by delivery; those without opens are left out.

    `launches` has (delivery_id, launched_at). Opens before the launch, or without an instant, are not counted.
    """
    launched = launches.lazy().select("delivery_id", "launched_at").drop_nulls()
    opens = tables.scan("event").filter(is_counted() & (pl.col("event_type").cast(pl.String) == "opened"))
    hour = ((pl.col("occurred_at") - pl.col("launched_at")).dt.total_seconds() // 3_600).alias("hour")
    dated = opens.select("delivery_id", "occurred_at").join(launched, on="delivery_id")
    first = dated.select("delivery_id", hour).filter(pl.col("hour").is_between(0, HOURS - 1))
    counted = first.group_by("delivery_id", "hour").len().collect(engine="streaming")
    hours: dict[str, list[int]] = {}
    for delivery, place, count in counted.iter_rows():
        hours.setdefault(delivery, [0] * HOURS)[place] = count
    return hours


def sent_to_readers(tables: Snapshot, rows: pl.DataFrame) -> pl.DataFrame:
    """Return the rows of deliveries that count in totals: no proofs and models."""
    aside = tables.scan("delivery").filter(is_set_aside()).select("delivery_id").collect()
    return rows.join(aside, on="delivery_id", how="anti")


def newest(tables: Snapshot, rows: pl.DataFrame) -> datetime | None:
    """Return the instant that "the last days" end at: the newest one in the data, or else the last launch."""
    last = rows["launched_at"].max()
    return now(tables) or (last if isinstance(last, datetime) else None)


def recent(rows: pl.DataFrame, until: datetime | None) -> list[str]:
    """Return the deliveries launched in the 30 days up to an instant."""
    if until is None:
        return []
    since = until - timedelta(days=RECENT_DAYS)
    return rows.filter(pl.col("launched_at").is_between(since, until, closed="right"))["delivery_id"].to_list()


def together(
    tables: Snapshot, each: Figures, deliveries: Sequence[str], rates: Sequence[str] = TILES
) -> dict[str, pl.DataFrame]:
    """Return, by rate, the one row of it over some deliveries, measured over all of them in which it can be known.

    Rates of the same deliveries are measured together: opens of text messages, say, count in neither part.
    """
    seen = {name: tuple(each_id for each_id in deliveries if not each[each_id][name]["why"]) for name in rates}
    frames = {
        ids: measure(tables, [name for name in rates if seen[name] == ids], by=[], delivery=list(ids))
        for ids in dict.fromkeys(seen.values())
        if ids
    }
    return {name: frames[ids] for name, ids in seen.items() if ids}


def overdue(tables: Snapshot, deliveries: Sequence[str]) -> list[str]:
    """Return the deliveries whose deadline had passed at the newest load with messages pending (`sending.pace`)."""
    is_open = pl.col("delivery_id").is_in(list(deliveries)) & ~is_over()
    is_past = pl.col("validity_at") < pl.lit(tables.as_of, INSTANT)
    ids = tables.scan("delivery").filter(is_open, is_past).select("delivery_id").collect()["delivery_id"]
    return [each for each in ids if pace(tables, each)["outlook"].item() == "overdue"]
