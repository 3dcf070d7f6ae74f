"""What the figures cannot say: tables that were never loaded, data that is not final, what was left out or is unknown.

A limit is a fact about the data, not an opinion on it: each is one row, with the numbers behind it. Nothing depends on
the clock of the machine: what is final is judged by the newest instant in the data.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import polars as pl

from trackkit import schema
from trackkit.deliveries import Tables, require_delivery
from trackkit.kept import purged, removal_of

WEIGHTS = pl.Enum(["warning", "note"])
RUNNING, ENDED_EARLY, LAST_BEFORE_SENDING = (51, 55, 61, 62, 71, 72, 75), (85, 87), 45
LATE_BOUNCES = timedelta(days=7)  # a server may bounce a message up to a week later (spec, 1.10)
WAITING = ("pending", "in_progress", "prepared")
SCHEMA = {
    "limit": pl.String(), "weight": WEIGHTS, "table": pl.String(), "concerns": pl.List(pl.String()),
    "count": pl.Int64(), "total": pl.Int64(), "code": pl.Int64(), "at": schema.INSTANT, "until": schema.INSTANT,
}  # fmt: skip

# The tables whose absence costs a reader something, in the order told.
TABLES = (
    "delivery", "message", "event", "link", "web_event", "failure", "exclusion", "recipient", "subscription", "service",
    "page_hit", "content",
)  # fmt: skip
_WARNINGS = {
    "delivery", "message", "event", "not_listed", "proof", "model", "not_sent", "running", "ended_early", "valid",
    "late_bounces", "purged", "tracking_missing", "no_hit", "text_only", "unclassified", "deliveries_running",
    "deliveries_untracked", "removed", "kept", "deliveries_removed",
}  # fmt: skip


class Limit(NamedTuple):
    """One limit and the numbers behind it."""

    limit: str
    count: int | None = None
    total: int | None = None
    at: datetime | None = None
    until: datetime | None = None
    code: int | None = None
    table: str | None = None
    concerns: Sequence[str] = ()


def limits(
    tables: Tables,
    delivery: str | None = None,
    recipient: str | None = None,
    needs: Mapping[str, Sequence[str]] | None = None,
) -> pl.DataFrame:
    """Return what a reader must know of the figures of a delivery, a recipient, or everything: one row per limit.

    `needs` says which tables are used, and what for (`{"failure": ["Bounces"]}`); without it a missing table of any
    kind is told. Columns: `limit`, its name ("running", "unknown_links", or "missing" for a table); `weight`, "warning"
    where figures must be read otherwise, else "note"; `table` and `concerns` of a missing table; `count` and `total`
    (hits, messages or deliveries); `code`, the state of the delivery; `at` and `until` (UTC). A report says them in
    words. A limit that does not apply has no row. Raises RequestError for an unknown delivery.

    >>> from trackkit.snapshot import Snapshot
    >>> limits(Snapshot({}), needs={"event": ["Opens"]}).select("limit", "table", "concerns").rows()
    [('missing', 'event', ['Opens'])]
    """
    found = [*_missing(tables, needs), *_of(tables, delivery, recipient)]
    rows = [one._asdict() | {"weight": _weight(one), "concerns": list(one.concerns)} for one in found]
    ranked = pl.DataFrame([{name: row[name] for name in SCHEMA} for row in rows], schema=SCHEMA)
    return ranked.sort("weight", maintain_order=True)


def _weight(one: Limit) -> str:
    return "warning" if (one.table or one.limit) in _WARNINGS else "note"


def _of(tables: Tables, delivery: str | None, recipient: str | None) -> Iterator[Limit]:
    hits, newest = _hits(tables, delivery, recipient)
    if delivery:
        yield from _delivery_limits(tables, require_delivery(tables, delivery), hits, newest)
    elif not recipient:
        yield from _platform_limits(tables, hits)
    yield from _hit_limits(tables, hits, bool(recipient and not delivery))
    lines = tables.scan("quarantine").select(pl.len()).collect().item()
    yield from _counted("quarantined", lines)
    if newest:
        yield Limit("age", at=newest, until=getattr(tables, "as_of", None))
    elif hits["total"]:
        yield Limit("undated_data")


def _missing(tables: Tables, needs: Mapping[str, Sequence[str]] | None) -> Iterator[Limit]:
    for table in TABLES:
        if not tables.has(table) and (needs is None or table in needs):
            yield Limit("missing", table=table, concerns=list((needs or {}).get(table, ())))


def _counted(name: str, count: int | None, total: int | None = None) -> Iterator[Limit]:
    if count:
        yield Limit(name, count, total)


def _hits(tables: Tables, delivery: str | None, recipient: str | None) -> tuple[dict[str, int], datetime | None]:
    """Count the hits asked about, by what is wrong with them; and find the newest one of all."""
    every = tables.scan("event")
    events = every.filter(
        *([pl.col("delivery_id") == delivery] if delivery else []),
        *([pl.col("recipient_id") == recipient] if recipient else []),
    )
    is_open = (pl.col("event_type") == "opened").fill_null(False)
    counts = events.select(
        total=pl.len(),
        seeds=pl.col("is_seed").sum(),
        undated=pl.col("occurred_at").is_null().sum(),
        nameless=pl.col("message_id").is_null().sum(),
        without_delivery=pl.col("delivery_id").is_null().sum(),
        unknown_types=(pl.col("event_type").is_null() | (pl.col("event_type") == "unknown")).sum(),
    )
    frames = pl.collect_all(
        [
            counts,
            _orphans(tables, events.filter(~is_open), "link", "link_id"),
            _unlogged(tables, events, delivery, recipient),
            _orphans(tables, events, "delivery", "delivery_id"),
            every.select(pl.col("occurred_at").max()),
        ]
    )
    names = ("unknown_links", "unknown_messages", "unlisted_deliveries")
    orphans = {name: frame.item() for name, frame in zip(names, frames[1:4], strict=True)}
    return frames[0].row(0, named=True) | orphans, frames[4].item()


def _orphans(
    tables: Tables, events: pl.LazyFrame, table: str, key: str, listed: pl.LazyFrame | None = None
) -> pl.LazyFrame:
    """How many hits name a row that a loaded table, or those of its rows that are `listed`, does not have."""
    if not tables.has(table):
        return pl.LazyFrame({"len": [0]})
    known = (tables.scan(table) if listed is None else listed).select(key)
    by_key = events.filter(pl.col(key).is_not_null()).group_by(key).len()
    return by_key.join(known, on=key, how="anti").select(pl.col("len").sum())


def _unlogged(tables: Tables, events: pl.LazyFrame, delivery: str | None, recipient: str | None) -> pl.LazyFrame:
    """Hits without their message in the delivery log; never for all of them, where it would take longest."""
    if not (delivery or recipient):
        return pl.LazyFrame({"len": [0]})
    log = tables.scan("message")
    listed = log.filter(pl.col("delivery_id") == delivery) if delivery else log
    return _orphans(tables, events, "message", "message_id", listed)


def _hit_limits(tables: Tables, hits: Mapping[str, int], of_recipient: bool) -> Iterator[Limit]:
    total = hits["total"]
    yield from _counted("seed_hits", hits["seeds"], total)
    yield from _counted("unknown_links", hits["unknown_links"], total)
    yield from _counted("unknown_messages", hits["unknown_messages"], total)
    yield from _counted("nameless", hits["nameless"], total)
    yield from _counted("undated", hits["undated"], total)
    yield from _counted("unknown_types" if tables.has("link") else "unclassified", hits["unknown_types"], total)
    if of_recipient:
        yield from _counted("unlisted_deliveries", hits["unlisted_deliveries"], total)


def _delivery_limits(tables: Tables, key: str, hits: Mapping[str, int], newest: datetime | None) -> Iterator[Limit]:
    row = tables.scan("delivery").filter(pl.col("delivery_id") == key).head(1).collect()
    facts = row.row(0, named=True) if row.height else {}
    sent = _messages(tables, key)
    yield from _standing(tables, facts)
    if facts:
        yield from _finality(facts, max(filter(None, (newest, sent["newest"])), default=None))
    yield from _counted("waiting", sent["waiting"], sent["messages"])
    if removal := removal_of(tables, key):
        yield Limit("kept" if removal.is_kept else "removed", at=removal.at)
    else:
        yield from _missing_rows(tables, facts, hits["total"], sent)
    if facts:
        yield from _text(facts.get("text_messages"), facts.get("to_deliver"))
    yield from _counted("seeds", sent["seeds"])


def _missing_rows(tables: Tables, facts: Mapping[str, Any], hits: int, sent: Mapping[str, Any]) -> Iterator[Limit]:
    if tables.has("message") and not sent["messages"] and (hits or facts.get("to_deliver")):
        yield Limit("purged")
    if tables.has("event") and not hits and _is_sent(facts):
        yield Limit("tracking_missing", sent["delivered"]) if sent["delivered"] else Limit("no_hit")


def _messages(tables: Tables, key: str) -> dict[str, Any]:
    seed, status = pl.col("is_seed").fill_null(False), pl.col("status").cast(pl.String)
    messages = tables.scan("message").filter(pl.col("delivery_id") == key)
    counts = messages.select(
        messages=pl.len(),
        seeds=seed.sum(),
        delivered=((status == "delivered") & ~seed).sum(),
        waiting=status.is_in(WAITING).sum(),
        newest=pl.col("status_at").max(),
    )
    return counts.collect().row(0, named=True)


def _standing(tables: Tables, facts: Mapping[str, Any]) -> Iterator[Limit]:
    """Whether the delivery is a real one, and known."""
    if not facts and tables.has("delivery"):
        yield Limit("not_listed")
    if facts.get("is_proof"):
        yield Limit("proof")
    if facts.get("is_model"):
        yield Limit("model")


def _finality(facts: Mapping[str, Any], through: datetime | None) -> Iterator[Limit]:
    """Whether its figures can still change, by its state, its deadline, and how long bounces take."""
    state, last = facts.get("state"), facts.get("ended_at") or facts.get("started_at")
    late = last and last + LATE_BOUNCES
    if facts.get("is_model"):
        return
    if not _is_sent(facts):
        yield Limit("not_sent", code=state)
    elif state in RUNNING:
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
    return not facts.get("is_model") and (state is None or state > LAST_BEFORE_SENDING)


def _text(text: int | None, to_deliver: int | None) -> Iterator[Limit]:
    if text is None:
        yield Limit("text_unknown")
    elif text and text == to_deliver:
        yield Limit("text_only", text, to_deliver)
    else:
        yield from _counted("text_some", text, to_deliver)


def _platform_limits(tables: Tables, hits: Mapping[str, int]) -> Iterator[Limit]:
    deliveries = tables.scan("delivery").with_columns(
        set_aside=pl.any_horizontal(pl.col("is_proof", "is_model").fill_null(False))
    )
    real = deliveries.filter(~pl.col("set_aside"))
    delivered = tables.scan("message").filter(pl.col("status") == "delivered", ~pl.col("is_seed").fill_null(False))
    untracked = (
        real.join(delivered.select("delivery_id").unique(), on="delivery_id", how="semi")
        .join(tables.scan("event").select("delivery_id").unique(), on="delivery_id", how="anti")
        .join(purged(tables).lazy(), on="delivery_id", how="anti")
        .select(pl.len())
    )
    seeds = tables.scan("message").select(pl.col("is_seed").sum())
    counts = real.select(
        real=pl.len(),
        running=pl.col("state").is_in(RUNNING).sum(),
        text_unknown=pl.col("text_messages").is_null().sum(),
    )
    found = pl.collect_all([counts, deliveries.select(pl.len(), pl.col("set_aside").sum()), untracked, seeds])
    of_real, (every, set_aside) = found[0].row(0, named=True), found[1].row(0)
    yield from _counted("deliveries_running", of_real["running"], of_real["real"])
    if tables.has("event"):
        yield from _counted("deliveries_untracked", found[2].item(), of_real["real"])
    yield from _counted("deliveries_set_aside", set_aside, every)
    yield from _counted("deliveries_removed", purged(tables)["delivery_id"].n_unique())
    yield from _counted("deliveries_text_unknown", of_real["text_unknown"], of_real["real"])
    yield from _counted("seeds", found[3].item())
    yield from _counted("without_delivery", hits["without_delivery"], hits["total"])
