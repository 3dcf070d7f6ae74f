"""What the figures cannot say: tables that were never loaded, data that is not final, what was left out or is unknown.

A limit is a fact about the data, not an opinion on it: each is one row, with the numbers behind it. Nothing depends on
the clock of the machine: what is final is judged by the newest instant in the data.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

import polars as pl

from trackkit import schema
from trackkit.analysis.limit import Limit, counted
from trackkit.analysis.standing import RUNNING, of_delivery
from trackkit.analysis.unlogged import is_counted_only, reasons_are_told, unlogged, with_events
from trackkit.engine.completeness import purged
from trackkit.engine.deliveries import (
    Tables,
    deleted,
    has_no_status,
    is_deleted,
    is_hit,
    is_public,
    is_set_aside,
    require_delivery,
    still_there,
)
from trackkit.engine.plausible import now
from trackkit.engine.refusals import is_visit, with_refusals

WEIGHTS = pl.Enum(["warning", "note"])
NAMED = 5  # as many deliveries are named by a limit
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
    "deliveries_untracked", "only_failures", "deliveries_unlogged", "removed", "kept", "deliveries_removed",
    "unknown_statuses", "currencies", "deleted",
}  # fmt: skip


def limits(
    tables: Tables,
    delivery: str | None = None,
    recipient: str | None = None,
    needs: Mapping[str, Sequence[str]] | None = None,
) -> pl.DataFrame:
    """Return what a reader must know of the figures of a delivery, a recipient, or everything: one row per limit.

    `needs` says which tables are used, and what for (`{"failure": ["Bounces"]}`); without it a missing table of any
    kind is told. Columns: `limit`, its name ("running", "unknown_links", or "missing" for a table); `weight`, "warning"
    where figures must be read otherwise, else "note"; `table` of a missing table; `concerns`, the sections that miss
    it, or the first of the deliveries meant; `count` and `total` (hits, messages or deliveries); `code`, the state of
    the delivery; `at` and `until` (UTC). A report says them in words. A limit that does not apply has no row. Raises
    RequestError for an unknown delivery.

    >>> from trackkit.engine.snapshot import Snapshot
    >>> limits(Snapshot({}), needs={"event": ["Opens"]}).select("limit", "table", "concerns").rows()
    [('missing', 'event', ['Opens'])]
    """
    return as_frame(tables, of_data(tables, delivery, recipient), needs)


def as_frame(tables: Tables, found: Iterable[Limit], needs: Mapping[str, Sequence[str]] | None = None) -> pl.DataFrame:
    """Return limits of the data (`of_data`) as the frame of `limits`, after those of missing tables."""
    found = [*_missing(tables, needs), *found]
    rows = [one._asdict() | {"weight": _weight(one), "concerns": list(one.concerns)} for one in found]
    ranked = pl.DataFrame([{name: row[name] for name in SCHEMA} for row in rows], schema=SCHEMA)
    return ranked.sort("weight", maintain_order=True)


def _weight(one: Limit) -> str:
    return "warning" if (one.table or one.limit) in _WARNINGS else "note"


def of_data(tables: Tables, delivery: str | None, recipient: str | None) -> Iterator[Limit]:
    """Yield the limits of the rows that there are; whatever is shown, they are the same."""
    hits, newest = _hits(tables, delivery, recipient)
    if delivery:
        yield from of_delivery(tables, require_delivery(tables, delivery), hits, newest)
    elif recipient:
        yield from counted("deliveries_left_out", _deleted_of(tables, recipient))
    else:
        yield from _platform_limits(tables, hits)
    yield from _hit_limits(tables, hits, bool(recipient and not delivery))
    lines = tables.scan("quarantine").select(pl.len()).collect().item()
    yield from counted("quarantined", lines)
    if newest:
        yield Limit("age", at=newest, until=getattr(tables, "as_of", None))
    elif hits["total"]:
        yield Limit("undated_data")


def of_last_months(others: int, chosen: int) -> Iterator[Limit]:
    """Yield what a page on all deliveries of the last months leaves out."""
    yield from counted("deliveries_earlier", others, others + chosen)


def _missing(tables: Tables, needs: Mapping[str, Sequence[str]] | None) -> Iterator[Limit]:
    for table in TABLES:
        is_missing = not tables.has(table) and not (table == "failure" and reasons_are_told(tables))
        if is_missing and (needs is None or table in needs):
            yield Limit("missing", table=table, concerns=list((needs or {}).get(table, ())))


def _hits(tables: Tables, delivery: str | None, recipient: str | None) -> tuple[dict[str, Any], datetime | None]:
    """Count the hits asked about, by what is wrong with them; and find the newest one of all."""
    every = tables.scan("event")
    events = (every if delivery else still_there(tables, every)).filter(
        is_hit(),
        *([pl.col("delivery_id") == delivery] if delivery else []),
        *([pl.col("recipient_id") == recipient] if recipient else []),
    )
    is_open = (pl.col("event_type") == "opened").fill_null(False)
    visits = is_visit() & is_public()
    counts = with_refusals(tables, events).select(
        **_purchases(),
        visits=visits.sum(),
        refused=(visits & pl.col("is_refused")).sum(),
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
            _orphans(tables, events.filter(~is_open), "link"),
            _unlogged(tables, events, delivery, recipient),
            _orphans(tables, events, "delivery"),
        ]
    )
    links, messages, deliveries = (frame.item() for frame in frames[1:4])
    orphans = {"unknown_links": links, "unknown_messages": messages, "unlisted_deliveries": deliveries}
    return frames[0].row(0, named=True) | orphans, now(tables)


def _purchases() -> dict[str, pl.Expr]:
    """Purchases that count, those of known amount, those of them that name no currency, and the currencies named."""
    is_refused, is_known = pl.col("is_refused").fill_null(False), pl.col("amount").abs() < schema.LARGEST_AMOUNT
    bought = (pl.col("event_type") == "transaction").fill_null(False) & is_public() & ~is_refused
    sold, currency = bought & is_known.fill_null(False), pl.col("currency")
    names = currency.filter(sold).drop_nulls().unique().sort()
    return {
        "purchases": bought.sum(), "amounts": sold.sum(), "unnamed": (sold & currency.is_null()).sum(),
        "currencies": names.implode(),
    }  # fmt: skip


def _deleted_of(tables: Tables, recipient: str) -> int:
    """How many deleted deliveries a recipient was in."""
    gone = deleted(tables)
    if gone.is_empty():
        return 0
    of_them = pl.col("recipient_id") == recipient, pl.col("delivery_id").is_in(gone.implode())
    found = [tables.scan(name).filter(*of_them).select("delivery_id").unique() for name in ("message", "event")]
    return pl.concat(pl.collect_all(found)).n_unique()


def _orphans(tables: Tables, events: pl.LazyFrame, table: str, listed: pl.LazyFrame | None = None) -> pl.LazyFrame:
    """How many hits name a row that a loaded table, or those of its rows that are `listed`, does not have."""
    if not tables.has(table):
        return pl.LazyFrame({"len": [0]})
    key = schema.TABLES[table].key
    known = (tables.scan(table) if listed is None else listed).select(key)
    by_key = events.filter(pl.col(key[-1]).is_not_null()).group_by(key).len()
    return by_key.join(known, on=key, how="anti", nulls_equal=True).select(pl.col("len").sum())


def _unlogged(tables: Tables, events: pl.LazyFrame, delivery: str | None, recipient: str | None) -> pl.LazyFrame:
    """Hits without their message in the delivery log; never for all of them, where it would take longest."""
    if not (delivery or recipient) or (delivery and is_counted_only(tables, delivery)):
        return pl.LazyFrame({"len": [0]})
    log = tables.scan("message")
    listed = log.filter(pl.col("delivery_id") == delivery) if delivery else log
    return _orphans(tables, events, "message", listed)


def _amount_limits(tables: Tables, hits: Mapping[str, Any]) -> Iterator[Limit]:
    """What the amounts of purchases do not say: their currency, or anything."""
    names = hits["currencies"]
    if len(names) > 1:
        yield Limit("currencies", len(names), concerns=names[:NAMED])
    elif names and hits["unnamed"]:
        yield Limit("currency_taken", hits["unnamed"], hits["amounts"], concerns=names)
    elif names:
        yield Limit("currency", concerns=names)
    if tables.has("web_event"):
        yield from counted("unknown_amounts", hits["purchases"] - hits["amounts"], hits["purchases"])


def _hit_limits(tables: Tables, hits: Mapping[str, Any], of_recipient: bool) -> Iterator[Limit]:
    total = hits["total"]
    yield from _amount_limits(tables, hits)
    yield from counted("seed_hits", hits["seeds"], total)
    yield from counted("refused_visits", hits["refused"], hits["visits"])
    yield from counted("unknown_links", hits["unknown_links"], total)
    yield from counted("unknown_messages", hits["unknown_messages"], total)
    yield from counted("nameless", hits["nameless"], total)
    yield from counted("undated", hits["undated"], total)
    yield from counted("unknown_types" if tables.has("link") else "unclassified", hits["unknown_types"], total)
    if of_recipient:
        yield from counted("unlisted_deliveries", hits["unlisted_deliveries"], total)


def _platform_limits(tables: Tables, hits: Mapping[str, Any]) -> Iterator[Limit]:
    deliveries = tables.scan("delivery")
    real = deliveries.filter(~is_set_aside())
    delivered = tables.scan("message").filter(pl.col("status") == "delivered", is_public())
    untracked = (
        real.join(delivered.select("delivery_id").unique(), on="delivery_id", how="semi")
        .join(tables.scan("event").filter(is_hit()).select("delivery_id").unique(), on="delivery_id", how="anti")
        .join(purged(tables).lazy(), on="delivery_id", how="anti")
        .select(pl.len())
    )
    counts = real.select(
        real=pl.len(),
        running=pl.col("state").is_in(RUNNING).sum(),
        text_unknown=pl.col("text_messages").is_null().sum(),
    )
    is_unsent = is_set_aside() & ~is_deleted()
    sizes = deliveries.select(pl.len(), unsent=is_unsent.sum(), deleted=is_deleted().sum())
    found = pl.collect_all([counts, sizes, untracked])
    of_real, (every, unsent_ones, deleted_ones) = found[0].row(0, named=True), found[1].row(0)
    yield from counted("deliveries_running", of_real["running"], of_real["real"])
    if tables.has("event"):
        yield from counted("deliveries_untracked", found[2].item(), of_real["real"])
    if tables.has("message") and len(unsent := unlogged(tables)):
        yield Limit("deliveries_unlogged", len(unsent), with_events(tables), concerns=list(unsent[:NAMED]))
    yield from counted("deliveries_set_aside", unsent_ones, every)
    yield from counted("deliveries_deleted", deleted_ones, every)
    removed = still_there(tables, purged(tables).lazy()).collect()
    yield from counted("deliveries_removed", removed["delivery_id"].n_unique())
    yield from counted("deliveries_text_unknown", of_real["text_unknown"], of_real["real"])
    yield from _message_limits(tables)
    yield from counted("without_delivery", hits["without_delivery"], hits["total"])


def _message_limits(tables: Tables) -> Iterator[Limit]:
    is_unknown = has_no_status() & ~pl.col("is_implied").fill_null(False)
    messages = still_there(tables, tables.scan("message"))
    counts = messages.select(pl.col("is_seed").sum(), is_unknown.sum().alias("unknown"), pl.len())
    seeds, unknown, total = counts.collect().row(0)
    yield from counted("unknown_statuses", unknown, total)
    yield from counted("seeds", seeds)
