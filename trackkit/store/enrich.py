"""What a log line implies: the columns of `message` and `event` that are filled from the other canonical tables.

Everything here is a pure function of its frames. Late dimension rows are handled by enriching again.
"""

import polars as pl

from trackkit import schema
from trackkit.snapshot import Tables
from trackkit.store.agents import in_one_vocabulary, parse_agents
from trackkit.store.dedupe import FILLED, FROM_MESSAGE


def enrich_messages(messages: pl.LazyFrame, tables: Tables) -> pl.LazyFrame:
    """Fill the derived columns of `message` from `recipient` and `failure`; one row per message in and out."""
    status = pl.col("status_code").replace_strict(schema.STATUSES, default="unknown", return_dtype=pl.String)
    failures = tables.scan("failure").select("failure_id", "failure_type", "failure_reason")
    return (
        messages.select(*schema.MESSAGE.sourced)
        .with_columns(
            status=status.fill_null("unknown").cast(schema.MESSAGE.schema["status"]),
            domain=pl.col("address").str.strip_chars().str.to_lowercase().str.extract(r"@([^@]+)$"),
        )
        .join(_needed(tables, "recipient", "recipient_id", ["country"], messages), on="recipient_id", how="left")
        .join(failures, on="failure_id", how="left")
        .select(*schema.MESSAGE.schema)
    )


def enrich_events(
    events: pl.LazyFrame, messages: pl.LazyFrame, tables: Tables, agents: pl.LazyFrame | None = None
) -> pl.LazyFrame:
    """Fill the derived columns of `event`; one row per event in and out, further columns kept.

    In: `messages`, the enriched messages of the same deliveries; `agents`, the rows of `user_agent` and of
    `parse_agents` for the texts among the events (`known_agents`); `link`, `recipient` and `web_event` from `tables`.
    A message of another delivery says nothing about an event. Link types without meaning here are "unknown".
    """
    links = tables.scan("link").select("link_id", "type_code", link_label="label", link_category="category", url="url")
    further = [name for name in events.collect_schema() if name not in schema.EVENT.schema]
    rows = _with_message(events, messages).join(links, on="link_id", how="left").with_columns(event_type=_event_type())
    rows = rows.join(_needed(tables, "recipient", "recipient_id", ["country"], rows), on="recipient_id", how="left")
    web = _needed(tables, "web_event", "event_id", ["amount", "articles", "tag_id"], events)
    agents = known_agents(events, tables) if agents is None else agents
    return (
        rows.join(web, on="event_id", how="left")
        .join(agents, on="user_agent", how="left")
        .select(*schema.EVENT.schema, *further)
    )


def _needed(tables: Tables, table: str, key: str, columns: list[str], rows: pl.LazyFrame) -> pl.LazyFrame:
    """The rows of a large table that these rows refer to: the large side streams past a small one."""
    return tables.scan(table).select(key, *columns).join(rows.select(key).unique(), on=key, how="semi")


def _with_message(events: pl.LazyFrame, messages: pl.LazyFrame) -> pl.LazyFrame:
    key = ["delivery_id", "message_id"]
    known = messages.filter(pl.col("message_id").is_not_null())
    known = known.select(*key, "domain", "is_seed", message_recipient="recipient_id")
    sourced = [name for name in events.collect_schema() if name not in schema.EVENT.derived]
    rows = events.select(sourced).join(known, on=key, how="left", nulls_equal=True)
    if FILLED not in sourced:
        return rows.with_columns(recipient_id=pl.coalesce("recipient_id", "message_recipient"))
    own = pl.when((pl.col(FILLED) & FROM_MESSAGE) == 0).then("recipient_id")
    is_taken = own.is_null() & pl.col("message_recipient").is_not_null()
    bits = pl.col(FILLED) & ~pl.lit(FROM_MESSAGE, pl.Int32)
    return rows.with_columns(
        pl.coalesce(own, "message_recipient").alias("recipient_id"),
        pl.when(is_taken).then(bits | FROM_MESSAGE).otherwise(bits).alias(FILLED),
    )


def _event_type() -> pl.Expr:
    by_link = pl.col("type_code").replace_strict(schema.LINK_TYPES, default=None, return_dtype=pl.String)
    known = pl.coalesce(pl.col("reported_type").cast(pl.String), by_link, pl.lit("unknown"))
    return known.cast(schema.EVENT.schema["event_type"])


def known_agents(events: pl.LazyFrame, tables: Tables, parsed: pl.DataFrame | None = None) -> pl.LazyFrame:
    """Return one row per user agent among the events: the platform's own words for it, else what its text says.

    `parsed` gives texts that are parsed already (see `parse_agents`).
    """
    told = tables.scan("user_agent").select(*schema.USER_AGENT.schema)
    own = in_one_vocabulary(told.join(events.select("user_agent").unique(), on="user_agent", how="semi"))
    parsed = parse_agents(agent_texts(events)) if parsed is None else parsed
    return pl.concat([own, parsed.lazy().join(own, on="user_agent", how="anti")])


def agent_texts(events: pl.LazyFrame) -> list[str]:
    """Return the distinct user-agent texts; numbers are the platform's hashes, which say nothing by themselves."""
    agents = events.select(pl.col("user_agent").unique()).filter(pl.col("user_agent").str.contains(r"[^\d\s-]"))
    return agents.collect().to_series().to_list()
