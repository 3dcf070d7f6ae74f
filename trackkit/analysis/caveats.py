"""Caveats: tables that were never loaded, data that is not final, what was left out or is unknown.

A caveat is a fact about the data, not an opinion: each is one row, with the numbers behind it. Whether data is final is
judged by the newest instant in it, never by the machine's clock. The tables that an analysis reads are recorded from
its runs (`reads.toml`), never listed by hand.
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
from trackkit.analysis.several import chosen_deliveries
from trackkit.analysis.unseen import unseen
from trackkit.engine.completeness import purged, removal_of
from trackkit.engine.counters import differences
from trackkit.engine.deliveries import (
    Deliveries,
    asked_about,
    deleted,
    has_no_status,
    is_deleted,
    is_hit,
    is_of,
    is_public,
    is_set_aside,
    of_deliveries,
    still_there,
    the_one,
)
from trackkit.engine.plausible import now
from trackkit.engine.refusals import is_visit, with_refusals
from trackkit.engine.snapshot import Measurable
from trackkit.metrics import METRICS, Distinct, Known, Total, lineage, made_of, sources_of

__all__ = ["TABLES", "Caveat", "limits", "metric_needs", "table_needs"]

WEIGHTS = pl.Enum(["warning", "note"])
MAX_NAMED = 5  # how many deliveries a caveat names
SCHEMA: dict[str, Any] = {
    "limit": pl.String(),
    "weight": WEIGHTS,
    "table": pl.String(),
    "concerns": pl.List(pl.String()),
    **dict.fromkeys(("count", "total", "code"), pl.Int64()),
    **dict.fromkeys(("at", "until"), schema.INSTANT),
}
# The tables whose absence is reported, in that order.
_TABLES = "delivery message event link web_event failure exclusion recipient subscription service page_hit content"
TABLES = tuple(_TABLES.split())
# Caveats that change how figures must be read; a missing table is listed by its name.
_WARNINGS = """
    delivery message event not_listed proof model not_sent running late late_unknown ended_early valid late_bounces
    purged tracking_missing no_hit text_only unclassified deliveries_running deliveries_untracked only_failures
    deliveries_unlogged removed kept deliveries_removed chosen_removed opens_unseen unknown_statuses currencies deleted
"""
# The table from which a load fills a column of another one.
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
    delivery: Deliveries = None,
    recipient: str | None = None,
    needs: Mapping[str, Sequence[str]] | None = None,
) -> pl.DataFrame:
    """Return the caveats on the figures of a delivery, several, a recipient, or everything: one row each.

    `needs` gives the tables used and the sections that use them (`{"failure": ["Bounces"]}`); without it every missing
    table has a row. Columns: `limit`, the caveat's name ("running", "unknown_links", or "missing" for a table);
    `weight`, "warning" if it changes how figures must be read, else "note"; `table`, the missing one; `concerns`, the
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
        for caveat in (*_missing_tables(tables, needs), *caveats)
    ]
    return pl.DataFrame(rows, schema=SCHEMA).sort("weight", maintain_order=True)


def of_data(tables: Measurable, delivery: Deliveries, recipient: str | None) -> Iterator[Caveat]:
    """Yield the caveats of the loaded rows, which do not depend on what is shown."""
    ids = asked_about(tables, delivery)
    hits, newest = _hits(tables, ids, recipient)
    if key := the_one(ids):
        yield from _delivery_limits(tables, key, hits, newest)
    elif ids is None and recipient:
        yield from _if_any("deliveries_left_out", _deleted_of(tables, recipient))
    else:
        yield from _limits_together(tables, ids, hits)
    yield from _hit_limits(tables, hits, bool(recipient and ids is None))
    lines = tables.scan("quarantine").select(pl.len()).collect().item()
    yield from _if_any("quarantined", lines)
    if newest:
        yield Caveat("age", at=newest, until=getattr(tables, "as_of", None))
    elif hits["total"]:
        yield Caveat("undated_data")


def of_last_months(others: int, chosen: int) -> Iterator[Caveat]:
    """Yield the caveat about deliveries that a page on the last months leaves out."""
    yield from _if_any("deliveries_earlier", others, others + chosen)


def _if_any(name: str, count: int | None, total: int | None = None) -> Iterator[Caveat]:
    if count:
        yield Caveat(name, count, total)


def _missing_tables(tables: Measurable, needs: Mapping[str, Sequence[str]] | None) -> Iterator[Caveat]:
    for table in TABLES:
        is_missing = not tables.has(table) and not (table == "failure" and _has_failure_reasons(tables))
        if is_missing and (needs is None or table in needs):
            yield Caveat("missing", table=table, concerns=list((needs or {}).get(table, ())))


def _hits(
    tables: Measurable, ids: Sequence[str] | None, recipient: str | None
) -> tuple[dict[str, Any], datetime | None]:
    """Count the hits asked about, and those with each fault; also return the newest instant of all hits."""
    all_events = tables.scan("event")
    events = (all_events if ids else still_there(tables, all_events)).filter(
        is_hit(),
        *([is_of(ids)] if ids else []),
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
            _unlogged_hits(tables, events, ids, recipient),
            _orphans(tables, events, "delivery"),
        ]
    )
    links, messages, deliveries = (frame.item() for frame in frames[1:4])
    orphans = {"unknown_links": links, "unknown_messages": messages, "unlisted_deliveries": deliveries}
    return frames[0].row(0, named=True) | orphans, now(tables)


def _purchases() -> dict[str, pl.Expr]:
    """Counted purchases, those of known amount, those of them without a currency, and the currencies."""
    is_refused, is_known = pl.col("is_refused").fill_null(False), pl.col("amount").abs() < schema.LARGEST_AMOUNT
    is_purchase = (pl.col("event_type") == "transaction").fill_null(False) & is_public() & ~is_refused
    has_amount, currency = is_purchase & is_known.fill_null(False), pl.col("currency")
    currencies = currency.filter(has_amount).drop_nulls().unique().sort()
    unnamed = (has_amount & currency.is_null()).sum()
    counts = {"purchases": is_purchase.sum(), "amounts": has_amount.sum(), "unnamed": unnamed}
    return counts | {"currencies": currencies.implode()}


def _deleted_of(tables: Measurable, recipient: str) -> int:
    """How many deleted deliveries a recipient was in."""
    deleted_ids = deleted(tables)
    if deleted_ids.is_empty():
        return 0
    conditions = pl.col("recipient_id") == recipient, pl.col("delivery_id").is_in(deleted_ids.implode())
    rows = [tables.scan(name).filter(*conditions).select("delivery_id").unique() for name in ("message", "event")]
    return pl.concat(pl.collect_all(rows)).n_unique()


def _orphans(tables: Measurable, events: pl.LazyFrame, table: str, listed: pl.LazyFrame | None = None) -> pl.LazyFrame:
    """The number of hits that refer to a row missing from a loaded table, or from its `listed` rows."""
    if not tables.has(table):
        return pl.LazyFrame({"len": [0]})
    key = schema.TABLES[table].key
    rows = (tables.scan(table) if listed is None else listed).select(key)
    by_key = events.filter(pl.col(key[-1]).is_not_null()).group_by(key).len()
    return by_key.join(rows, on=key, how="anti", nulls_equal=True).select(pl.col("len").sum())


def _unlogged_hits(
    tables: Measurable, events: pl.LazyFrame, ids: Sequence[str] | None, recipient: str | None
) -> pl.LazyFrame:
    """Hits without their message in the delivery log; skipped over all deliveries, where it takes longest."""
    if ids is None:
        return _orphans(tables, events, "message") if recipient else pl.LazyFrame({"len": [0]})
    logged = [delivery for delivery in ids if delivery not in _counted_only(tables, ids)]
    return _orphans(tables, events.filter(is_of(logged)), "message", of_deliveries(tables, "message", logged))


def _amount_limits(tables: Measurable, hits: Mapping[str, Any]) -> Iterator[Caveat]:
    """Caveats about amounts of purchases: their currencies, and unknown amounts."""
    names = hits["currencies"]
    if len(names) > 1:
        yield Caveat("currencies", len(names), concerns=names[:MAX_NAMED])
    elif names and hits["unnamed"]:
        yield Caveat("currency_taken", hits["unnamed"], hits["amounts"], concerns=names)
    elif names:
        yield Caveat("currency", concerns=names)
    elif hits["amounts"]:
        yield Caveat("currency_unnamed", hits["amounts"])
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


def _limits_together(tables: Measurable, ids: Sequence[str] | None, hits: Mapping[str, Any]) -> Iterator[Caveat]:
    """The caveats of several deliveries, or of all."""
    real = of_deliveries(tables, "delivery", ids)
    frames = pl.collect_all([_real_counts(real), _untracked(tables, real)])
    counts, untracked = (frame.row(0, named=True) for frame in frames)
    if counts["running"]:
        yield Caveat("deliveries_running", counts["running"], counts["real"], concerns=counts["names"])
    if tables.has("event"):
        yield from _if_any("deliveries_untracked", untracked["len"], counts["real"])
    if tables.has("message") and len(unlogged := _unlogged_deliveries(tables, ids)):
        names = list(unlogged[:MAX_NAMED])
        yield Caveat("deliveries_unlogged", len(unlogged), _with_events(tables, ids), concerns=names)
    yield from _opens_unseen(tables, ids)
    if ids is None:
        yield from _left_out(tables)
    removed = purged(tables).lazy()
    removed = still_there(tables, removed) if ids is None else removed.filter(is_of(ids))
    name = "deliveries_removed" if ids is None else "chosen_removed"
    yield from _if_any(name, removed.collect()["delivery_id"].n_unique())
    yield from _if_any("deliveries_text_unknown", counts["text_unknown"], counts["real"])
    yield from _message_limits(tables, ids)
    yield from _if_any("without_delivery", hits["without_delivery"], hits["total"])


def _untracked(tables: Measurable, real: pl.LazyFrame) -> pl.LazyFrame:
    """How many of some deliveries have messages delivered and not one hit, though retention removed none."""
    delivered = tables.scan("message").filter(pl.col("status") == "delivered", is_public())
    return (
        real.join(delivered.select("delivery_id").unique(), on="delivery_id", how="semi")
        .join(tables.scan("event").filter(is_hit()).select("delivery_id").unique(), on="delivery_id", how="anti")
        .join(purged(tables).lazy(), on="delivery_id", how="anti")
        .select(pl.len())
    )


def _left_out(tables: Measurable) -> Iterator[Caveat]:
    """The deliveries that totals leave out."""
    is_unsent = is_set_aside() & ~is_deleted()
    sizes = tables.scan("delivery").select(pl.len(), unsent=is_unsent.sum(), deleted=is_deleted().sum()).collect()
    every, unsent, gone = sizes.row(0)
    yield from _if_any("deliveries_set_aside", unsent, every)
    yield from _if_any("deliveries_deleted", gone, every)


def _opens_unseen(tables: Measurable, ids: Sequence[str] | None) -> Iterator[Caveat]:
    """The deliveries whose opens cannot be observed, where those of others can."""
    hidden = unseen(tables, ids, ["open_rate"])
    unknown = sorted(delivery for delivery, kinds in hidden.items() if "opened" in kinds)
    if 0 < len(unknown) < len(hidden):
        names = chosen_deliveries(tables, unknown)["delivery"].to_list()
        yield Caveat("opens_unseen", len(unknown), len(hidden), concerns=names[:MAX_NAMED])


def _real_counts(real: pl.LazyFrame) -> pl.LazyFrame:
    """Count the deliveries that are not set aside, in all, running, or of unknown texts, and name running ones."""
    name, is_running = pl.coalesce("label", "internal_name", "delivery_id"), pl.col("state").is_in(RUNNING)
    return real.select(
        real=pl.len(),
        running=is_running.sum(),
        names=name.filter(is_running).sort().head(MAX_NAMED).implode(),
        text_unknown=pl.col("text_messages").is_null().sum(),
    )


def _message_limits(tables: Measurable, ids: Sequence[str] | None) -> Iterator[Caveat]:
    is_unknown = has_no_status() & ~pl.col("is_implied").fill_null(False)
    messages = tables.scan("message")
    messages = still_there(tables, messages) if ids is None else messages.filter(is_of(ids))
    counts = messages.select(pl.col("is_seed").sum(), is_unknown.sum().alias("unknown"), pl.len())
    seeds, unknown, total = counts.collect().row(0)
    yield from _if_any("unknown_statuses", unknown, total)
    yield from _if_any("seeds", seeds)


def _delivery_limits(
    tables: Measurable, key: str, hits: Mapping[str, Any], newest: datetime | None
) -> Iterator[Caveat]:
    """The state of a delivery, its missing rows, and whether it can change; `newest` is the newest hit of all."""
    row = tables.scan("delivery").filter(pl.col("delivery_id") == key).head(1).collect()
    facts = row.row(0, named=True) if row.height else {}
    sent = _message_counts(tables, key)
    yield from _identity_limits(tables, facts)
    yield from _counter_limits(tables, key)
    if facts:
        yield from _finality_limits(
            facts, max(filter(None, (newest, sent["newest"])), default=None), sent, getattr(tables, "as_of", None)
        )
    yield from _if_any("waiting", sent["waiting"], sent["messages"])
    yield from _if_any("unknown_statuses", sent["unknown"], sent["messages"])
    if removal := removal_of(tables, key):
        yield Caveat("kept" if removal.is_kept else "removed", at=removal.at)
    else:
        yield from _missing_row_limits(tables, key, facts, hits["total"], sent)
    if facts:
        yield from _text_limits(facts.get("text_messages"), facts.get("to_deliver"))
    yield from _if_any("seeds", sent["seeds"])


def _counter_limits(tables: Measurable, key: str) -> Iterator[Caveat]:
    """Whether the platform's own counters of a delivery agree with ours, where an export brings any."""
    if not tables.has("counter"):
        return
    rows = differences(tables, [key])
    differing = int(rows["differs"].sum())
    if rows.height:
        yield Caveat("counters_differ" if differing else "counters_agree", differing or rows.height, rows.height)


def _missing_row_limits(
    tables: Measurable, key: str, facts: Mapping[str, Any], hits: int, sent: Mapping[str, Any]
) -> Iterator[Caveat]:
    is_counted = facts.get("sent") is not None  # its source only states totals, and has no log to lose
    is_expected = hits or (facts.get("to_deliver") and _is_sent(facts))  # what was not sent has no log
    if tables.has("message") and not sent["messages"] and not is_counted and is_expected:
        yield Caveat("purged")
    elif tables.has("message") and key in _unlogged_deliveries(tables, [key]):
        yield Caveat("only_failures", sent["messages"])
    if tables.has("event") and not hits and _is_sent(facts):
        delivered = facts.get("sent") or sent["delivered"]
        yield Caveat("tracking_missing", delivered) if delivered else Caveat("no_hit")


def _message_counts(tables: Measurable, key: str) -> dict[str, Any]:
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


def _identity_limits(tables: Measurable, facts: Mapping[str, Any]) -> Iterator[Caveat]:
    """Whether the delivery is listed, and a real one."""
    if not facts and tables.has("delivery"):
        yield Caveat("not_listed")
    if facts.get("state") == schema.DELETED or facts.get("delete_status"):
        yield Caveat("deleted")
    if facts.get("is_proof"):
        yield Caveat("proof")
    if facts.get("is_model"):
        yield Caveat("model")


def _finality_limits(
    facts: Mapping[str, Any], newest: datetime | None, sent: Mapping[str, Any], as_of: datetime | None
) -> Iterator[Caveat]:
    """Whether its figures can still change, by its state, its deadline, and how long bounces take."""
    state, last_sent = facts.get("state"), facts.get("ended_at") or facts.get("started_at")
    bounces_until = last_sent and last_sent + LATE_BOUNCES
    if facts.get("is_model"):
        return
    if not _is_sent(facts) and not sent["delivered"]:
        yield Caveat("not_sent", code=state)
    elif state in RUNNING or not _is_sent(facts):
        deadline = facts.get("validity_at")
        is_late = bool(as_of and deadline and as_of > deadline and sent["waiting"])
        is_known = newest is None or deadline is None or newest >= deadline
        limit = ("late" if is_known else "late_unknown") if is_late else "running"
        yield Caveat(limit, code=state, at=newest, until=deadline)
    else:
        if state in ENDED_EARLY:
            yield Caveat("ended_early", code=state)
        if newest and facts.get("validity_at") and facts["validity_at"] > newest:
            yield Caveat("valid", at=newest, until=facts["validity_at"])
        elif newest and bounces_until and bounces_until > newest:
            yield Caveat("late_bounces", at=newest, until=bounces_until)


def _is_sent(facts: Mapping[str, Any]) -> bool:
    state = facts.get("state")
    return not facts.get("is_model") and (state is None or state not in schema.STATES or state > LAST_BEFORE_SENDING)


def _text_limits(text: int | None, to_deliver: int | None) -> Iterator[Caveat]:
    if text is None:
        yield Caveat("text_unknown")
    elif text and text == to_deliver:
        yield Caveat("text_only", text, to_deliver)
    else:
        yield from _if_any("text_some", text, to_deliver)


def _unlogged_deliveries(tables: Measurable, ids: Sequence[str] | None) -> pl.Series:
    """The deliveries asked about with events but without their messages, sorted."""
    unknown = of_deliveries(tables, "event", ids).filter(~pl.col("has_messages")).select("delivery_id").unique()
    deliveries = tables.scan("delivery")
    if "sent" in deliveries.collect_schema():  # its source states what it sent
        unknown = unknown.join(deliveries.filter(pl.col("sent").is_not_null()), on="delivery_id", how="anti")
    return unknown.sort("delivery_id").collect()["delivery_id"]


def _counted_only(tables: Measurable, ids: Sequence[str] | None) -> set[str]:
    """The deliveries asked about whose source states what it sent instead of logging it."""
    deliveries = of_deliveries(tables, "delivery", ids)
    if "sent" not in deliveries.collect_schema():
        return set()
    return set(deliveries.filter(pl.col("sent").is_not_null()).select("delivery_id").collect()["delivery_id"])


def without_log(tables: Measurable, ids: Sequence[str] | None) -> set[str]:
    """Return the deliveries `asked_about` whose messages are implied by events or stated as a total, not all logged."""
    events = of_deliveries(tables, "event", ids)
    if "has_messages" not in events.collect_schema():
        return _counted_only(tables, ids)
    implied = events.filter(~pl.col("has_messages")).select("delivery_id").unique().collect()
    return {*implied["delivery_id"], *_counted_only(tables, ids)}


def _with_events(tables: Measurable, ids: Sequence[str] | None) -> int:
    """Return how many of the deliveries asked about have events."""
    rows = of_deliveries(tables, "event", ids)
    return int(rows.select(pl.col("delivery_id").n_unique()).collect().item())


def _has_failure_reasons(tables: Measurable) -> bool:
    """Return whether any message has a failure reason, from a table of failures or from its bounce."""
    return bool(tables.scan("message").select(pl.col("failure_reason").is_not_null().any()).collect().item())


@cache
def _reads() -> dict[str, dict[str, list[str]]]:
    return tomllib.loads(Path(__file__).with_name("reads.toml").read_text("utf-8"))


def table_needs(module: str, function: str = "") -> tuple[str, ...]:
    """Return the tables that a function of an analysis reads, or without its name, those that any of them reads.

    >>> table_needs("subscriptions", "services")
    ('subscription', 'service')
    """
    functions = _reads().get(module, {})
    tables_read = {table for name, tables in functions.items() if function in ("", name) for table in tables}
    return tuple(table for table in TABLES if table in tables_read)


def metric_needs(name: str) -> frozenset[str]:
    """Return the tables that a metric is made of, including those that only describe its rows.

    >>> sorted(metric_needs("hard_bounce_rate"))
    ['failure', 'message']
    """
    formulas = [METRICS[part].formula for part in lineage(name)]
    columns = {formula.column for formula in formulas if isinstance(formula, Distinct)}
    values = {formula.column for formula in formulas if isinstance(formula, Total | Known)}
    columns |= {column for value in values for column in made_of(value)}
    columns |= {column for formula in formulas for column in getattr(formula, "where", ())}
    return sources_of(name) | {FILLED_FROM[column] for column in columns if column in FILLED_FROM}
