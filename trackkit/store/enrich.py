"""Derived columns of `message` and `event`, from other tables, and the marks of events.

Everything here is a pure function of its frames, enumerations being text; late dimension rows are enriched again.

Marks flag the first hits of their kind in a delivery (`schema.FIRSTS`), so that distinct counts are sums, and number
its messages and people (`schema.NUMBERS`), so that other distinct counts need no text. An added or removed event can
change the marks of its own delivery only, which must then be marked again.
"""

import polars as pl

from trackkit import schema
from trackkit.engine.deliveries import is_counted
from trackkit.engine.snapshot import Tables
from trackkit.store.dedupe import FROM_MESSAGE
from trackkit.store.implied import deliveries_known, message_verdicts, with_implied
from trackkit.store.layout import FILLED, as_texts
from trackkit.store.user_agents import in_one_vocabulary, parse_agents

BORROWED = ("address", "status_at")  # of a message, from its recipient and its delivery
# Derived columns depend on these alone; joins copy every column, so the others stay out of them.
_KEYS = ["delivery_id", "message_id", "recipient_id", "link_id", "event_id", "user_agent", "address", "reported_type"]
_KEYS += [FILLED]
COMPLAINT = 8  # the platform's reason of a failure: "Address on denylist"


def enrich_messages(messages: pl.LazyFrame, tables: Tables, verdicts: pl.LazyFrame | None = None) -> pl.LazyFrame:
    """Fill the derived columns of `message`, and add implied messages; a failure in events overrides "sent"."""
    extra_columns = [name for name in messages.collect_schema() if name not in schema.MESSAGE.schema]
    verdicts = message_verdicts(pl.LazyFrame(schema=as_texts(schema.EVENT.sourced))) if verdicts is None else verdicts
    failures = tables.scan("failure").select("failure_id", "failure_type", "failure_reason")
    rows = with_implied(messages.select(*schema.MESSAGE.sourced, *extra_columns), verdicts)
    return (
        rows.with_columns(status=_status(), domain=pl.coalesce(_domain("address"), _told_domain()))
        .join(_needed(tables, "recipient", "recipient_id", ["country"], rows), on="recipient_id", how="left")
        .join(failures, on="failure_id", how="left")
        .with_columns(_failure("failure_type", "verdict_type"), _failure("failure_reason", "verdict_reason"))
        .with_columns(is_complaint=_is_complaint())
        .select(*schema.MESSAGE.schema, *extra_columns)
    )


def own_messages(stored: pl.LazyFrame) -> pl.LazyFrame:
    """Return stored messages as tables state them: without implied messages and borrowed values."""
    stated = [pl.when(pl.col(FILLED).fill_null(0) == 0).then(name).alias(name) for name in BORROWED]
    return stored.filter(~pl.col("is_implied").fill_null(False)).with_columns(stated)


def with_borrowed(messages: pl.LazyFrame, tables: Tables) -> pl.LazyFrame:
    """Fill address and instant of messages with neither from recipient and delivery; then `filled` is 1."""
    emails = _needed(tables, "recipient", "recipient_id", ["email"], messages)
    starts = _needed(tables, "delivery", "delivery_id", ["started_at"], messages)
    rows = messages.join(emails, on="recipient_id", how="left").join(starts, on="delivery_id", how="left")
    is_bare = pl.all_horizontal(pl.col(BORROWED).is_null())
    is_filled = is_bare & pl.any_horizontal(pl.col("email", "started_at").is_not_null())
    return rows.with_columns(
        address=pl.when(is_bare).then("email").otherwise("address"),
        status_at=pl.when(is_bare).then("started_at").otherwise("status_at"),
        **{FILLED: is_filled.cast(pl.Int32)},
    ).drop("email", "started_at")


def _domain(address: str) -> pl.Expr:
    return pl.col(address).str.strip_chars().str.to_lowercase().str.extract(r"@([^@]+)$")


def _told_domain() -> pl.Expr:
    """The domain that an export without addresses tells; a class of domains, as Others, is none."""
    told = pl.col("told_domain").str.strip_chars().str.to_lowercase()
    return pl.when(told.str.contains(".", literal=True)).then(told)


def _status() -> pl.Expr:
    by_code = pl.col("status_code").replace_strict(schema.STATUSES, default="unknown", return_dtype=pl.String)
    stated = by_code.fill_null("unknown")
    is_open = (stated == "unknown") & pl.col("verdict_status").is_not_null()
    return (
        pl.when(_is_failed_by_events(stated) | is_open | pl.col("is_implied")).then("verdict_status").otherwise(stated)
    )


def _is_failed_by_events(stated: pl.Expr) -> pl.Expr:
    return pl.col("verdict_status").eq_missing("failed") & ~stated.is_in(["failed", "excluded", "cancelled"])


def _failure(name: str, by_events: str) -> pl.Expr:
    """The code of a failure from a table, else from events."""
    return pl.when(pl.col("status") == "failed").then(pl.coalesce(name, by_events)).otherwise(name).alias(name)


def _is_complaint() -> pl.Expr:
    by_failure = (pl.col("status") == "failed") & (pl.col("failure_reason") == COMPLAINT)
    return by_failure.fill_null(False) | pl.col("verdict_complaint").fill_null(False)


def enrich_events(
    events: pl.DataFrame, messages: pl.LazyFrame, tables: Tables, agents: pl.LazyFrame | None = None
) -> pl.DataFrame:
    """Fill the derived columns of `event`; same rows, same order, further columns kept.

    In: `messages`, the enriched messages of the same deliveries; `agents`, from `known_agents`; `tables`, for `link`,
    `recipient` and `web_event`. Link types without meaning here are "unknown".
    """
    keys = events.lazy().select(name for name in _KEYS if name in events.columns)
    links = tables.scan("link").select(
        "link_id", "type_code", link_label="label", link_category="category", url="url", link_tag="tag_id"
    )
    rows = _joined(_with_message(keys, messages), links, "link_id").with_columns(event_type=_event_type())
    rows = _joined(rows, deliveries_known(keys, messages).with_columns(has_messages=True), "delivery_id")
    is_known = pl.when(pl.col("delivery_id").is_not_null()).then(pl.col("has_messages").fill_null(False))
    rows = rows.with_columns(has_messages=is_known)
    rows = _joined(rows, _needed(tables, "recipient", "recipient_id", ["country"], rows), "recipient_id")
    web = _needed(tables, "web_event", "event_id", ["amount", "currency", "articles", "tag_id"], keys)
    agents = known_agents(keys, tables) if agents is None else agents
    rows = _joined(_joined(rows, web, "event_id"), agents, "user_agent")
    rows = rows.with_columns(tag_id=pl.coalesce("tag_id", "link_tag"))  # the hit's own tag, else that of its link
    later = (*schema.MARKS, *schema.ACTIVITY)  # filled by `with_marks`, and by `activity.with_activity`
    derived = [name for name in schema.EVENT.derived if name not in later]
    filled = rows.select("recipient_id", *(name for name in (FILLED,) if name in events.columns), *derived).collect()
    marks = [pl.lit(None, dtype).alias(name) for name, dtype in as_texts(schema.EVENT.schema).items() if name in later]
    extra_columns = [name for name in events.columns if name not in schema.EVENT.schema]
    return events.with_columns(filled.get_columns()).with_columns(marks).select(*schema.EVENT.schema, *extra_columns)


def _joined(rows: pl.LazyFrame, others: pl.LazyFrame, key: str) -> pl.LazyFrame:
    return rows.join(others, on=key, how="left", maintain_order="left")


def _needed(tables: Tables, table: str, key: str, columns: list[str], rows: pl.LazyFrame) -> pl.LazyFrame:
    """The rows of a large table that `rows` refer to: a semi join, so that the large table is streamed."""
    return tables.scan(table).select(key, *columns).join(rows.select(key).unique(), on=key, how="semi")


def _with_message(events: pl.LazyFrame, messages: pl.LazyFrame) -> pl.LazyFrame:
    key = list(schema.MESSAGE.key)
    named = messages.filter(pl.col("message_id").is_not_null())
    named = named.select(*key, message_domain="domain", is_seed="is_seed", message_recipient="recipient_id")
    rows = events.join(named, on=key, how="left", nulls_equal=True, maintain_order="left")
    rows = rows.with_columns(domain=pl.coalesce("message_domain", _domain("address"))).drop("message_domain")
    if FILLED not in events.collect_schema():
        return rows.with_columns(recipient_id=pl.coalesce("recipient_id", "message_recipient"))
    own_recipient = pl.when((pl.col(FILLED) & FROM_MESSAGE) == 0).then("recipient_id")
    is_taken = own_recipient.is_null() & pl.col("message_recipient").is_not_null()
    bits = pl.col(FILLED) & ~pl.lit(FROM_MESSAGE, pl.Int32)
    return rows.with_columns(
        pl.coalesce(own_recipient, "message_recipient").alias("recipient_id"),
        pl.when(is_taken).then(bits | FROM_MESSAGE).otherwise(bits).alias(FILLED),
    )


def _event_type() -> pl.Expr:
    by_link = pl.col("type_code").replace_strict(schema.LINK_TYPES, default=None, return_dtype=pl.String)
    return pl.coalesce("reported_type", by_link, pl.lit("unknown"))


def known_agents(events: pl.LazyFrame, tables: Tables, parsed: pl.DataFrame | None = None) -> pl.LazyFrame:
    """Return one row per user agent of the events, from the platform's table or else parsed (`parse_agents`)."""
    listed = tables.scan("user_agent").select(*schema.USER_AGENT.schema)
    from_table = in_one_vocabulary(listed.join(events.select("user_agent").unique(), on="user_agent", how="semi"))
    parsed = parse_agents(agent_texts(events)) if parsed is None else parsed
    return pl.concat([from_table, parsed.lazy().join(from_table, on="user_agent", how="anti")])


def agent_texts(events: pl.LazyFrame) -> list[str]:
    """Return the distinct user-agent texts, without numbers, which are hashes of the platform."""
    agents = events.select(pl.col("user_agent").unique()).filter(pl.col("user_agent").str.contains(r"[^\d\s-]"))
    return agents.collect().to_series().to_list()


# The earliest is first, an undated one last; the other columns make the choice independent of row order.
_EARLIEST = ("occurred_at", "event_id", "log_server", "source_file", "source_row")
_ROW = "row of all"
MARKED_BY = ("delivery_id", *schema.NUMBERS, *_EARLIEST, "event_type", "is_seed")  # columns that marks depend on


def with_marks(events: pl.DataFrame) -> pl.DataFrame:
    """Return events with `schema.FIRSTS`, each true once for a value that it counts, and `schema.NUMBERS` filled.

    In: every row of `event` of some deliveries, enriched; out: the same rows in the same order. Rows that no figure
    counts (control addresses, sends, bounces) or without the id are never first. All rows are numbered, in order of
    ids. Rows without a delivery are treated as one delivery.

    >>> rows = [{"delivery_id": "7", "message_id": id, "event_type": "opened"} for id in ("b", "a", "b", None)]
    >>> with_marks(pl.DataFrame(rows, schema=schema.EVENT.schema)).select("is_first_hit", "message_number").rows()
    [(True, 2), (True, 1), (False, 2), (False, 0)]
    """
    ranks = [pl.col(column).rank("dense").over("delivery_id").fill_null(0) for column in schema.NUMBERS]
    names = zip(ranks, schema.NUMBERS.values(), strict=True)
    numbered = events.with_columns(rank.cast(pl.Int32).alias(name) for rank, name in names)
    rows = (
        numbered.lazy()
        .select("delivery_id", *schema.NUMBERS.values(), *_EARLIEST, "event_type", "is_seed")
        .with_row_index(_ROW)
        .filter(is_counted())
    )
    firsts = pl.collect_all([_first(rows, *kind) for kind in schema.FIRSTS.values()])
    place = pl.int_range(pl.len(), dtype=pl.UInt32)
    return numbered.with_columns(
        place.is_in(first[_ROW].implode()).alias(flag) for flag, first in zip(schema.FIRSTS, firsts, strict=True)
    )


def _first(rows: pl.LazyFrame, column: str, event_type: str | None) -> pl.LazyFrame:
    kind = pl.lit(True) if event_type is None else pl.col("event_type") == event_type
    value = ["delivery_id", schema.NUMBERS[column]]
    named = rows.filter(kind, pl.col(schema.NUMBERS[column]) > 0).sort(*value, *_EARLIEST, nulls_last=True)
    is_other = pl.any_horizontal(pl.col(name).ne_missing(pl.col(name).shift()) for name in value)
    return named.filter(is_other).select(_ROW)


def later_than_first(rows: pl.LazyFrame, column: str) -> pl.LazyFrame:
    """Return the rows that are not the earliest with their value of a column."""
    value = pl.col(column)
    return rows.sort(column, *_EARLIEST, nulls_last=True).filter(value.eq_missing(value.shift()))
