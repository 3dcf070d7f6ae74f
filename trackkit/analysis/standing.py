"""What limits the figures of one delivery: how it stands, what of it is missing, and whether it can still change."""

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

import polars as pl

from trackkit.analysis.limit import Limit, counted
from trackkit.analysis.unlogged import unlogged
from trackkit.engine.completeness import removal_of
from trackkit.engine.deliveries import Tables, has_no_status
from trackkit.engine.plausible import now
from trackkit.schema import DELETED, STATES

RUNNING, ENDED_EARLY, LAST_BEFORE_SENDING = (51, 55, 61, 62, 71, 72, 75), (85, 87), 45
LATE_BOUNCES = timedelta(days=7)  # a server may bounce a message up to a week later (spec, 1.10)
WAITING = ("pending", "in_progress", "prepared")


def of_delivery(tables: Tables, key: str, hits: Mapping[str, int], newest: datetime | None) -> Iterator[Limit]:
    """Yield the limits of one delivery; `hits` are counted as `limits` does, `newest` is the newest hit of all."""
    row = tables.scan("delivery").filter(pl.col("delivery_id") == key).head(1).collect()
    facts = row.row(0, named=True) if row.height else {}
    sent = _messages(tables, key)
    yield from _standing(tables, facts)
    if facts:
        yield from _finality(facts, max(filter(None, (newest, sent["newest"])), default=None), sent["delivered"])
    yield from counted("waiting", sent["waiting"], sent["messages"])
    yield from counted("unknown_statuses", sent["unknown"], sent["messages"])
    if removal := removal_of(tables, key):
        yield Limit("kept" if removal.is_kept else "removed", at=removal.at)
    else:
        yield from _missing_rows(tables, key, facts, hits["total"], sent)
    if facts:
        yield from _text(facts.get("text_messages"), facts.get("to_deliver"))
    yield from counted("seeds", sent["seeds"])


def _missing_rows(
    tables: Tables, key: str, facts: Mapping[str, Any], hits: int, sent: Mapping[str, Any]
) -> Iterator[Limit]:
    is_counted = facts.get("sent") is not None  # its source counts what it sent, and has no log to lose
    is_expected = hits or (facts.get("to_deliver") and _is_sent(facts))  # of what was not sent there is no log
    if tables.has("message") and not sent["messages"] and not is_counted and is_expected:
        yield Limit("purged")
    elif tables.has("message") and key in unlogged(tables, real=False):
        yield Limit("only_failures", sent["messages"])
    if tables.has("event") and not hits and _is_sent(facts):
        delivered = facts.get("sent") or sent["delivered"]
        yield Limit("tracking_missing", delivered) if delivered else Limit("no_hit")


def _messages(tables: Tables, key: str) -> dict[str, Any]:
    seed, status = pl.col("is_seed").fill_null(False), pl.col("status").cast(pl.String)
    messages = tables.scan("message").filter(pl.col("delivery_id") == key)
    counts = messages.select(
        messages=pl.len(),
        seeds=seed.sum(),
        delivered=((status == "delivered") & ~seed).sum(),
        waiting=status.is_in(WAITING).sum(),
        unknown=(has_no_status() & ~pl.col("is_implied").fill_null(False)).sum(),
    )
    return counts.collect().row(0, named=True) | {"newest": now(tables, "message", key)}


def _standing(tables: Tables, facts: Mapping[str, Any]) -> Iterator[Limit]:
    """Whether the delivery is a real one, and known."""
    if not facts and tables.has("delivery"):
        yield Limit("not_listed")
    if is_gone(facts):
        yield Limit("deleted")
    if facts.get("is_proof"):
        yield Limit("proof")
    if facts.get("is_model"):
        yield Limit("model")


def is_gone(facts: Mapping[str, Any]) -> bool:
    """Return whether a delivery is deleted, as `deliveries.is_deleted`."""
    return facts.get("state") == DELETED or bool(facts.get("delete_status"))


def _finality(facts: Mapping[str, Any], through: datetime | None, delivered: int) -> Iterator[Limit]:
    """Whether its figures can still change, by its state, its deadline, and how long bounces take."""
    state, last = facts.get("state"), facts.get("ended_at") or facts.get("started_at")
    late = last and last + LATE_BOUNCES
    if facts.get("is_model"):
        return
    if not _is_sent(facts) and not delivered:
        yield Limit("not_sent", code=state)
    elif state in RUNNING or not _is_sent(facts):
        yield Limit("running", code=state, until=facts.get("validity_at"))
    else:
        if state in ENDED_EARLY:
            yield Limit("ended_early", code=state)
        if through and facts.get("validity_at") and facts["validity_at"] > through:
            yield Limit("valid", at=through, until=facts["validity_at"])
        elif through and late and late > through:
            yield Limit("late_bounces", at=through, until=late)


def _is_sent(facts: Mapping[str, Any]) -> bool:
    state = facts.get("state")
    return not facts.get("is_model") and (state not in STATES or state > LAST_BEFORE_SENDING)


def _text(text: int | None, to_deliver: int | None) -> Iterator[Limit]:
    if text is None:
        yield Limit("text_unknown")
    elif text and text == to_deliver:
        yield Limit("text_only", text, to_deliver)
    else:
        yield from counted("text_some", text, to_deliver)
