"""What the figures cannot say: tables never loaded, data that is not final, what was left out or is unknown.

A caveat is a fact about the data, not an opinion on it: each is one row, with the numbers behind it. Nothing depends on
the clock of the machine: what is final is judged by the newest instant in the data. Which tables an analysis reads is
recorded from its runs (`reads.toml`), and never listed by hand.
"""

import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import polars as pl

from trackkit import schema
from trackkit.engine.believed import now
from trackkit.engine.deliveries import (
    deleted,
    has_no_status,
    is_deleted,
    is_hit,
    is_public,
    is_set_aside,
    require_delivery,
    still_there,
    without_aside,
)
from trackkit.engine.refusals import is_visit, with_refusals
from trackkit.engine.retained import purged, removal_of
from trackkit.engine.snapshot import Measurable
from trackkit.metrics import METRICS, Distinct, Known, Total, lineage, made_of, sources_of

__all__ = ["TABLES", "Caveat", "limits", "metric_needs", "table_needs"]

WEIGHTS = pl.Enum(["warning", "note"])
NAMED = 5  # how many deliveries a caveat names
SCHEMA: dict[str, Any] = {
    "limit": pl.String(),
    "weight": WEIGHTS,
    "table": pl.String(),
    "concerns": pl.List(pl.String()),
    **dict.fromkeys(("count", "total", "code"), pl.Int64()),
    **dict.fromkeys(("at", "until"), schema.INSTANT),
}
# The tables whose absence costs a reader something, in the order told.
_TABLES = "delivery message event link web_event failure exclusion recipient subscription service page_hit content"
TABLES = tuple(_TABLES.split())
# Caveats that change how the figures must be read; a missing table goes by its name.
_WARNINGS = """
    delivery message event not_listed proof model not_sent running ended_early valid late_bounces purged
    tracking_missing no_hit text_only unclassified deliveries_running deliveries_untracked only_failures
    deliveries_unlogged removed kept deliveries_removed unknown_statuses currencies deleted
"""
# The table that a load fills a column of another one from.
FILLED_FROM = {
    "event_type": "link",
    "amount": "web_event",
    "articles": "web_event",
    "is_refused": "page_hit",
    **dict.fromkeys(("failure_reason", "failure_type", "is_complaint"), "failure"),
}
RUNNING, ENDED_EARLY, LAST_BEFORE_SENDING = (51, 55, 61, 62, 71, 72, 75), (85, 87), 45
LATE_BOUNCES = timedelta(days=7)  # a server may bounce a message up to a week later (spec, 1.10)
WAITING = ("pending", "in_progress", "prepared")


@dataclass(frozen=True)
class Caveat:
    """One caveat, by the name of its sentence, and the numbers behind it."""

    limit: str
    count: int | None = None
    total: int | None = None
    at: datetime | None = None
    until: datetime | None = None
    code: int | None = None
    table: str | None = None
    concerns: Sequence[str] = ()


def limits(
    tables: Measurable,
    delivery: str | None = None,
    recipient: str | None = None,
    needs: Mapping[str, Sequence[str]] | None = None,
) -> pl.DataFrame:
    """Return what a reader must know of the figures of a delivery, a recipient, or everything: one row per caveat.

    `needs` says which tables are used, and by which sections (`{"failure": ["Bounces"]}`); without it every missing
    table has a row. Columns: `limit`, the caveat's name ("running", "unknown_links", or "missing" for a table);
    `weight`, "warning" where figures must be read otherwise, else "note"; `table`, the missing one; `concerns`, the
    sections that miss it, or the first of the deliveries or currencies meant; `count` and `total` (hits, messages or
    deliveries); `code`, the state of the delivery; `at` and `until` (UTC). A caveat that does not apply has no row.
    Raises RequestError for an unknown delivery.

    >>> from trackkit.engine.snapshot import Snapshot
    >>> limits(Snapshot({}), needs={"event": ["Opens"]}).select("limit", "table", "concerns").rows()
    [('missing', 'event', ['Opens'])]
    """
    return as_frame(tables, of_data(tables, delivery, recipient), needs)


def as_frame(
    tables: Measurable, caveats: Iterable[Caveat], needs: Mapping[str, Sequence[str]] | None = None
) -> pl.DataFrame:
    """Return the missing tables, then the caveats of the data (`of_data`), as the frame of `limits`."""
    warnings = set(_WARNINGS.split())
    rows = [
        asdict(caveat) | {"weight": "warning" if (caveat.table or caveat.limit) in warnings else "note"}
        for caveat in (*_missing(tables, needs), *caveats)
    ]
    return pl.DataFrame(rows, schema=SCHEMA).sort("weight", maintain_order=True)


def of_data(tables: Measurable, delivery: str | None, recipient: str | None) -> Iterator[Caveat]:
    """Yield the caveats of the rows that were loaded, which are the same whatever is shown."""
    hits, newest = _hits(tables, delivery, recipient)
    if delivery:
        yield from _delivery_limits(tables, require_delivery(tables, delivery), hits, newest)
    elif recipient:
        yield from _if_any("deliveries_left_out", _deleted_of(tables, recipient))
    else:
        yield from _platform_limits(tables, hits)
    yield from _hit_limits(tables, hits, bool(recipient and not delivery))
    lines = tables.scan("quarantine").select(pl.len()).collect().item()
    yield from _if_any("quarantined", lines)
    if newest:
        yield Caveat("age", at=newest, until=getattr(tables, "as_of", None))
    elif hits["total"]:
        yield Caveat("undated_data")


def of_last_months(others: int, chosen: int) -> Iterator[Caveat]:
    """Yield what a page on all deliveries of the last months leaves out."""
    yield from _if_any("deliveries_earlier", others, others + chosen)


def _if_any(name: str, count: int | None, total: int | None = None) -> Iterator[Caveat]:
    if count:
        yield Caveat(name, count, total)


def _missing(tables: Measurable, needs: Mapping[str, Sequence[str]] | None) -> Iterator[Caveat]:
    for table in TABLES:
        is_missing = not tables.has(table) and not (table == "failure" and _reasons_are_told(tables))
        if is_missing and (needs is None or table in needs):
            yield Caveat("missing", table=table, concerns=list((needs or {}).get(table, ())))


def _hits(tables: Measurable, delivery: str | None, recipient: str | None) -> tuple[dict[str, Any], datetime | None]:
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
            _unlogged_hits(tables, events, delivery, recipient),
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
    unnamed = (sold & currency.is_null()).sum()
    return {"purchases": bought.sum(), "amounts": sold.sum(), "unnamed": unnamed, "currencies": names.implode()}


def _deleted_of(tables: Measurable, recipient: str) -> int:
    """How many deleted deliveries a recipient was in."""
    gone = deleted(tables)
    if gone.is_empty():
        return 0
    is_meant = pl.col("recipient_id") == recipient, pl.col("delivery_id").is_in(gone.implode())
    rows = [tables.scan(name).filter(*is_meant).select("delivery_id").unique() for name in ("message", "event")]
    return pl.concat(pl.collect_all(rows)).n_unique()


def _orphans(tables: Measurable, events: pl.LazyFrame, table: str, listed: pl.LazyFrame | None = None) -> pl.LazyFrame:
    """How many hits name a row that a loaded table, or those of its rows that are `listed`, does not have."""
    if not tables.has(table):
        return pl.LazyFrame({"len": [0]})
    key = schema.TABLES[table].key
    known = (tables.scan(table) if listed is None else listed).select(key)
    by_key = events.filter(pl.col(key[-1]).is_not_null()).group_by(key).len()
    return by_key.join(known, on=key, how="anti", nulls_equal=True).select(pl.col("len").sum())


def _unlogged_hits(
    tables: Measurable, events: pl.LazyFrame, delivery: str | None, recipient: str | None
) -> pl.LazyFrame:
    """Hits without their message in the delivery log; never for all of them, where it would take longest."""
    if not (delivery or recipient) or (delivery and _is_counted_only(tables, delivery)):
        return pl.LazyFrame({"len": [0]})
    log = tables.scan("message")
    listed = log.filter(pl.col("delivery_id") == delivery) if delivery else log
    return _orphans(tables, events, "message", listed)


def _amount_limits(tables: Measurable, hits: Mapping[str, Any]) -> Iterator[Caveat]:
    """What the amounts of purchases do not say: their currency, or anything."""
    names = hits["currencies"]
    if len(names) > 1:
        yield Caveat("currencies", len(names), concerns=names[:NAMED])
    elif names and hits["unnamed"]:
        yield Caveat("currency_taken", hits["unnamed"], hits["amounts"], concerns=names)
    elif names:
        yield Caveat("currency", concerns=names)
    if tables.has("web_event"):
        yield from _if_any("unknown_amounts", hits["purchases"] - hits["amounts"], hits["purchases"])


def _hit_limits(tables: Measurable, hits: Mapping[str, Any], of_recipient: bool) -> Iterator[Caveat]:
    total = hits["total"]
    yield from _amount_limits(tables, hits)
    yield from _if_any("seed_hits", hits["seeds"], total)
    yield from _if_any("refused_visits", hits["refused"], hits["visits"])
    for name in ("unknown_links", "unknown_messages", "nameless", "undated"):
        yield from _if_any(name, hits[name], total)
    yield from _if_any("unknown_types" if tables.has("link") else "unclassified", hits["unknown_types"], total)
    if of_recipient:
        yield from _if_any("unlisted_deliveries", hits["unlisted_deliveries"], total)


def _platform_limits(tables: Measurable, hits: Mapping[str, Any]) -> Iterator[Caveat]:
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
    counted, sized, untracked_ones = pl.collect_all([counts, sizes, untracked])
    of_real, (every, unsent_ones, deleted_ones) = counted.row(0, named=True), sized.row(0)
    yield from _if_any("deliveries_running", of_real["running"], of_real["real"])
    if tables.has("event"):
        yield from _if_any("deliveries_untracked", untracked_ones.item(), of_real["real"])
    if tables.has("message") and len(unlogged := _unlogged_deliveries(tables)):
        yield Caveat("deliveries_unlogged", len(unlogged), _with_events(tables), concerns=list(unlogged[:NAMED]))
    yield from _if_any("deliveries_set_aside", unsent_ones, every)
    yield from _if_any("deliveries_deleted", deleted_ones, every)
    removed = still_there(tables, purged(tables).lazy()).collect()
    yield from _if_any("deliveries_removed", removed["delivery_id"].n_unique())
    yield from _if_any("deliveries_text_unknown", of_real["text_unknown"], of_real["real"])
    yield from _message_limits(tables)
    yield from _if_any("without_delivery", hits["without_delivery"], hits["total"])


def _message_limits(tables: Measurable) -> Iterator[Caveat]:
    is_unknown = has_no_status() & ~pl.col("is_implied").fill_null(False)
    messages = still_there(tables, tables.scan("message"))
    counts = messages.select(pl.col("is_seed").sum(), is_unknown.sum().alias("unknown"), pl.len())
    seeds, unknown, total = counts.collect().row(0)
    yield from _if_any("unknown_statuses", unknown, total)
    yield from _if_any("seeds", seeds)


def _delivery_limits(
    tables: Measurable, key: str, hits: Mapping[str, Any], newest: datetime | None
) -> Iterator[Caveat]:
    """How a delivery stands, what of it is missing, and whether it can change; `newest` is the newest hit of all."""
    row = tables.scan("delivery").filter(pl.col("delivery_id") == key).head(1).collect()
    facts = row.row(0, named=True) if row.height else {}
    sent = _messages(tables, key)
    yield from _standing(tables, facts)
    if facts:
        yield from _finality(facts, max(filter(None, (newest, sent["newest"])), default=None), sent["delivered"])
    yield from _if_any("waiting", sent["waiting"], sent["messages"])
    yield from _if_any("unknown_statuses", sent["unknown"], sent["messages"])
    if removal := removal_of(tables, key):
        yield Caveat("kept" if removal.is_kept else "removed", at=removal.at)
    else:
        yield from _missing_rows(tables, key, facts, hits["total"], sent)
    if facts:
        yield from _text(facts.get("text_messages"), facts.get("to_deliver"))
    yield from _if_any("seeds", sent["seeds"])


def _missing_rows(
    tables: Measurable, key: str, facts: Mapping[str, Any], hits: int, sent: Mapping[str, Any]
) -> Iterator[Caveat]:
    is_counted = facts.get("sent") is not None  # its source counts what it sent, and has no log to lose
    is_expected = hits or (facts.get("to_deliver") and _is_sent(facts))  # of what was not sent there is no log
    if tables.has("message") and not sent["messages"] and not is_counted and is_expected:
        yield Caveat("purged")
    elif tables.has("message") and key in _unlogged_deliveries(tables, real=False):
        yield Caveat("only_failures", sent["messages"])
    if tables.has("event") and not hits and _is_sent(facts):
        delivered = facts.get("sent") or sent["delivered"]
        yield Caveat("tracking_missing", delivered) if delivered else Caveat("no_hit")


def _messages(tables: Measurable, key: str) -> dict[str, Any]:
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


def _standing(tables: Measurable, facts: Mapping[str, Any]) -> Iterator[Caveat]:
    """Whether the delivery is a real one, and known."""
    if not facts and tables.has("delivery"):
        yield Caveat("not_listed")
    if facts.get("state") == schema.DELETED or facts.get("delete_status"):
        yield Caveat("deleted")
    if facts.get("is_proof"):
        yield Caveat("proof")
    if facts.get("is_model"):
        yield Caveat("model")


def _finality(facts: Mapping[str, Any], through: datetime | None, delivered: int) -> Iterator[Caveat]:
    """Whether its figures can still change, by its state, its deadline, and how long bounces take."""
    state, last = facts.get("state"), facts.get("ended_at") or facts.get("started_at")
    late = last and last + LATE_BOUNCES
    if facts.get("is_model"):
        return
    if not _is_sent(facts) and not delivered:
        yield Caveat("not_sent", code=state)
    elif state in RUNNING or not _is_sent(facts):
        yield Caveat("running", code=state, until=facts.get("validity_at"))
    else:
        if state in ENDED_EARLY:
            yield Caveat("ended_early", code=state)
        if through and facts.get("validity_at") and facts["validity_at"] > through:
            yield Caveat("valid", at=through, until=facts["validity_at"])
        elif through and late and late > through:
            yield Caveat("late_bounces", at=through, until=late)


def _is_sent(facts: Mapping[str, Any]) -> bool:
    state = facts.get("state")
    return not facts.get("is_model") and (state is None or state not in schema.STATES or state > LAST_BEFORE_SENDING)


def _text(text: int | None, to_deliver: int | None) -> Iterator[Caveat]:
    if text is None:
        yield Caveat("text_unknown")
    elif text and text == to_deliver:
        yield Caveat("text_only", text, to_deliver)
    else:
        yield from _if_any("text_some", text, to_deliver)


def _unlogged_deliveries(tables: Measurable, real: bool = True) -> pl.Series:
    """The deliveries with events of which it is not known what was sent, in order; `real`: none set aside."""
    unknown = tables.scan("event").filter(~pl.col("has_messages")).select("delivery_id").unique()
    deliveries = tables.scan("delivery")
    if "sent" in deliveries.collect_schema():  # its source counts what it sent
        unknown = unknown.join(deliveries.filter(pl.col("sent").is_not_null()), on="delivery_id", how="anti")
    if real:
        unknown = without_aside(tables, unknown)
    return unknown.sort("delivery_id").collect()["delivery_id"]


def _is_counted_only(tables: Measurable, delivery: str) -> bool:
    """Return whether the source of a delivery counts what it sent, and keeps no log of it."""
    deliveries = tables.scan("delivery")
    if "sent" not in deliveries.collect_schema():
        return False
    counted = deliveries.filter(pl.col("delivery_id") == delivery, pl.col("sent").is_not_null())
    return counted.select("sent").head(1).collect().height > 0


def has_log(tables: Measurable, delivery: str) -> bool:
    """Return whether a log tells of all messages of a delivery: not where only events do, or a count of its source."""
    events = tables.scan("event")
    if "has_messages" in events.collect_schema():
        without = events.filter(pl.col("delivery_id") == delivery, ~pl.col("has_messages"))
        if without.select("delivery_id").head(1).collect().height:
            return False
    return not _is_counted_only(tables, delivery)


def _with_events(tables: Measurable) -> int:
    """Return how many deliveries have events, those set aside left out."""
    named = tables.scan("event").select("delivery_id").drop_nulls().unique()
    return int(without_aside(tables, named).select(pl.len()).collect().item())


def _reasons_are_told(tables: Measurable) -> bool:
    """Return whether it is known of any message why it failed: by a table of failures, or by the bounces themselves."""
    return bool(tables.scan("message").select(pl.col("failure_reason").is_not_null().any()).collect().item())


@cache
def _recorded() -> dict[str, dict[str, list[str]]]:
    return tomllib.loads(Path(__file__).with_name("reads.toml").read_text("utf-8"))


def table_needs(module: str, function: str = "") -> tuple[str, ...]:
    """Return the tables that a function of an analysis reads; without its name, those that any function there reads.

    >>> table_needs("subscriptions", "services")
    ('subscription', 'service')
    """
    recorded = _recorded().get(module, {})
    read = {table for name, tables in recorded.items() if function in ("", name) for table in tables}
    return tuple(table for table in TABLES if table in read)


def metric_needs(name: str) -> frozenset[str]:
    """Return the tables that a metric is made of, those included that only describe its rows.

    >>> sorted(metric_needs("hard_bounce_rate"))
    ['failure', 'message']
    """
    formulas = [METRICS[part].formula for part in lineage(name)]
    columns = {formula.column for formula in formulas if isinstance(formula, Distinct)}
    columns |= {made for one in formulas if isinstance(one, Total | Known) for made in made_of(one.column)}
    columns |= {column for formula in formulas for column in getattr(formula, "where", ())}
    return sources_of(name) | {FILLED_FROM[column] for column in columns if column in FILLED_FROM}
