"""Messages and their outcome: a delivery's list of messages, its exclusions, or a recipient's deliveries.

A status is the platform's own name of its code; where a log of events says more than the code, it is the class of
what they say ("Failed"). E-mail addresses are a column only on request.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Annotated, Any

import polars as pl

from trackkit.analysis.listing import (
    Words,
    asked_words,
    chosen_columns,
    in_order,
    in_period,
    limited,
    named,
    of_whom,
    order_columns,
)
from trackkit.analysis.sending import named_rule
from trackkit.clock import Asked
from trackkit.engine.deliveries import Deliveries, asked_about, is_hit, of_deliveries, the_one, zone_of
from trackkit.engine.measure import quotient
from trackkit.engine.plausible import plausible
from trackkit.engine.snapshot import Measurable
from trackkit.errors import RequestError, did_you_mean, require_word
from trackkit.language import say, translatable
from trackkit.schema import (
    FAILURE_REASONS,
    FAILURE_TYPE_LABELS,
    FAILURE_TYPES,
    MESSAGE,
    MESSAGE_TYPES,
    STATUS_LABELS,
    STATUS_WORDS,
    STATUSES,
)
from trackkit.toml import FROM_1

__all__ = [
    "COLUMNS",
    "EXCLUDED_COLUMNS",
    "count",
    "count_excluded",
    "excluded",
    "headings",
    "message_tab",
    "messages",
    "statuses",
]

# Name -> heading, the platform's where it has one.
COLUMNS: Mapping[str, str] = MappingProxyType(
    translatable(
        {
            "recipient_id": "Recipient",
            "document": "Document",
            "status_at": "Date",
            "status": "Status",
            "opens": "Opens",
            "clicks": "Clicks",
            "hits": "Hits",
            "last_hit_at": "Last hit",
            "reason": "Reason",
            "failure_type": "Failure type",
            "first_text": "First text received",
            "domain": "Domain",
            "country": "Country",
            "channel": "Channel",
            "address": "E-mail address",
            "delivery_id": "Delivery",
            "message_id": "Message",
            "is_seed": "Control address",
        }
    )
)
USUAL = ("recipient_id", "document", "status_at", "status", "opens", "clicks", "hits", "last_hit_at")
DELIVERY_COLUMNS = ("recipient_id", "status", "status_at", "reason", "domain")
RECIPIENT_COLUMNS = ("document", "channel", "status_at", "status", "reason")
EXCLUDED_COLUMNS: Mapping[str, str] = MappingProxyType(
    translatable({"recipient_id": "Recipient", "document": "Document", "rule": "Rule", "address": "E-mail address"})
)
STATUS_COLUMNS = ("row", "status", "messages", "of", "share")
STATUS_ROWS = pl.Enum(["status", "total"])
# The sub-tabs of a delivery's messages, and the options of each; those of messages that are not asked for.
TABS = {
    "messages": ("columns", "status", "domain", "since", "until", "order", "limit", "addresses"),
    "statuses": (),
    "exclusions": ("columns", "rule", "limit", "addresses"),
}
OF_DELIVERY: Mapping[str, Any] = MappingProxyType({"columns": DELIVERY_COLUMNS, "order": "-status_at"})
OF_HITS = ("opens", "clicks", "hits", "last_hit_at")
KNOWN_STATUSES = {word: word for word in (*STATUS_WORDS.values(), *STATUS_LABELS.values())}


def messages(
    tables: Measurable,
    delivery: Deliveries = None,
    recipient: str | None = None,
    limit: Annotated[int | None, FROM_1] = None,
    columns: Annotated[Sequence[str] | None, COLUMNS] = None,
    status: Words = "",
    domain: Words = "",
    since: Asked = "",
    until: Asked = "",
    order: Words = "-last_hit_at,-status_at",
    timezone: str = "",
    address: str | None = None,
    addresses: bool = False,
) -> Annotated[pl.DataFrame, COLUMNS]:
    """Return the messages of deliveries, of a recipient, or of both: one row per message, the latest acted on first.

    `columns` are names of `COLUMNS` (whose values are the headings), by default `recipient_id`, `document` (label of
    the delivery), `status_at`, `status` (the platform's name), `opens`, `clicks` (e-mail links only), `hits` (of any
    kind), `last_hit_at`. Others: `reason` and `failure_type` of a failure, in the platform's words, and `first_text`,
    what the mail server said; `domain`, `country`, `channel`, `address`. `addresses` adds the last one. Instants are in
    `timezone`.

    `status` (names as shown, several by commas) and `domain` keep some; `since` and `until`, those whose status last
    changed then; `order` names columns, each descending with a `-`; `limit` keeps the first, which all deliveries
    together need. `address` names a recipient by their address in the tables. Messages missing from the delivery log
    are left out, and so are those of a deleted delivery that is not named. Raises RequestError when neither a
    delivery, a recipient nor a limit is given, for an unknown delivery, status, domain, column or order, and for what
    is no date.

    >>> messages(store, delivery, columns=["status", "opens", "clicks"], limit=1).rows()
    [('Sent', 2, 0)]
    """
    ids = asked_about(tables, delivery)
    if ids is None and recipient is None and address is None and limit is None:
        raise RequestError("Messages are those of a delivery or of a recipient: say which, or give a limit.")
    chosen = with_addresses(chosen_columns(columns, USUAL, COLUMNS, "list of messages"), addresses)
    by = order_columns(order, COLUMNS)
    zone = zone_of(tables, timezone)
    sent = _asked(tables, ids, recipient, address, status, domain, since, until, zone)
    rows = _described(tables, sent, {*chosen, *by}, ids)
    ordered = in_order(rows, by, ("message_id", "delivery_id"))
    instants = [pl.col(name).dt.convert_time_zone(zone) for name in ("status_at", "last_hit_at") if name in chosen]
    return limited(ordered, limit).with_columns(instants).select(chosen).collect()


def count(
    tables: Measurable,
    delivery: Deliveries = None,
    recipient: str | None = None,
    status: Words = "",
    domain: Words = "",
    since: Asked = "",
    until: Asked = "",
    timezone: str = "",
    address: str | None = None,
) -> int:
    """Return how many rows `messages` has without a limit. Raises RequestError as it does.

    >>> count(store, delivery), count(store, delivery, status="Sent")
    (85, 85)
    """
    zone = zone_of(tables, timezone)
    sent = _asked(tables, asked_about(tables, delivery), recipient, address, status, domain, since, until, zone)
    return int(sent.select(pl.len()).collect().item())


def statuses(tables: Measurable, delivery: Deliveries = None) -> Annotated[pl.DataFrame, STATUS_COLUMNS]:
    """Return how many messages of deliveries have each status, most first, then the total, counted by itself.

    Columns: `row` ("status" or "total"), `status` (the platform's name), `messages`, `of` (all messages of the log),
    `share` (messages / of). Control addresses count. Without a log of messages the total is null. Raises RequestError
    for an unknown delivery.

    >>> statuses(store, delivery).select("status", "messages", "of").rows()
    [('Sent', 85, 85), (None, 85, 85)]
    """
    sent = of_deliveries(tables, "message", asked_about(tables, delivery))
    by_status = sent.group_by(status=status_word()).agg(messages=pl.len().cast(pl.Int64)).collect()
    whole = int(sent.select(pl.len()).collect().item()) if tables.has("message") else None
    total = pl.DataFrame({"messages": [whole]}, schema={"messages": pl.Int64}).with_columns(row=pl.lit("total"))
    rows = by_status.sort("messages", "status", descending=[True, False]).with_columns(row=pl.lit("status"))
    return (
        pl.concat([rows, total], how="diagonal")
        .with_columns(pl.col("row").cast(STATUS_ROWS), of=pl.lit(whole, pl.Int64))
        .with_columns(share=quotient("messages", "of"))
        .select(STATUS_COLUMNS)
    )


def excluded(
    tables: Measurable,
    delivery: Deliveries = None,
    rule: str = "",
    limit: Annotated[int | None, FROM_1] = None,
    columns: Annotated[Sequence[str] | None, EXCLUDED_COLUMNS] = None,
    addresses: bool = False,
) -> Annotated[pl.DataFrame, EXCLUDED_COLUMNS]:
    """Return who was left out of deliveries at analysis, and by which rule: one row per delivery, recipient and rule.

    `columns` are names of `EXCLUDED_COLUMNS`, by default `recipient_id` and `rule` (in the platform's words); with
    `addresses` also `address`, the recipient's. `document` is the label of the delivery. They are in the order of the
    rules and then of the ids. `rule` keeps one; `limit` the first, which all deliveries together need. Raises
    RequestError for an unknown delivery, column or rule, and without a delivery or a limit.

    >>> excluded(store, delivery, columns=["rule"]).rows()[0]
    ('Address in quarantine',)
    """
    ids = asked_about(tables, delivery)
    if ids is None and limit is None:
        raise RequestError("Those left out are those of a delivery: say which, or give a limit.")
    usual = ("recipient_id", "rule")
    chosen = with_addresses(chosen_columns(columns, usual, EXCLUDED_COLUMNS, "list of exclusions"), addresses)
    rows = _left_out(tables, ids, rule)
    rows = with_label(tables, rows, "document") if "document" in chosen else rows
    if "address" in chosen:
        recipients = tables.scan("recipient").select("recipient_id", address="email")
        rows = rows.join(recipients, on="recipient_id", how="left")
    number = pl.col("recipient_id").cast(pl.Int64, strict=False)
    ordered = rows.sort("rule", number, "recipient_id", "delivery_id", nulls_last=True)
    return limited(ordered, limit).select(chosen).collect()


def count_excluded(tables: Measurable, delivery: Deliveries = None, rule: str = "") -> int:
    """Return how many rows `excluded` has without a limit. Raises RequestError as it does.

    >>> count_excluded(store, delivery)
    8
    """
    return int(_left_out(tables, asked_about(tables, delivery), rule).select(pl.len()).collect().item())


def message_tab(tables: Measurable, tab: str = "messages", delivery: Deliveries = None, **options: Any) -> pl.DataFrame:
    """Return a sub-tab of the messages of deliveries by its name: "messages", "statuses" or "exclusions".

    `options` are those of `messages`, `statuses` or `excluded`. Raises RequestError for another name or option, and as
    those functions do.

    >>> message_tab(store, "statuses", delivery).height
    2
    """
    accepted = TABS[require_word("tab", tab, TABS)]
    given = {name: value for name, value in options.items() if value not in ("", None, False) and name != "timezone"}
    for name in given:
        if name not in accepted:
            raise RequestError(f"The tab {tab!r} has no option {name!r}.{did_you_mean(name, accepted)}")
    match tab:
        case "messages":
            return messages(tables, delivery, timezone=options.get("timezone", ""), **dict(OF_DELIVERY) | given)
        case "statuses":
            return statuses(tables, delivery)
    return excluded(tables, delivery, **given)


def headings(frame: pl.DataFrame, lang: str = "en") -> dict[str, str]:
    """Return the heading of each column of a list of messages, or of exclusions.

    >>> headings(pl.DataFrame(schema=["status", "rule"]))
    {'status': 'Status', 'rule': 'Rule'}
    """
    words = {**COLUMNS, **EXCLUDED_COLUMNS}
    return {column: say(words[column], lang) for column in frame.columns}


def with_addresses(columns: list[str], addresses: bool) -> list[str]:
    """Return the columns, with that of the address if it is asked for."""
    return [*columns, "address"] if addresses and "address" not in columns else columns


def status_word() -> pl.Expr:
    """Return the platform's name of a message's status: of its code, or of its class where events say otherwise."""
    code, status = pl.col("status_code"), pl.col("status").cast(pl.String)
    agrees = code.replace_strict(STATUSES, default=None, return_dtype=pl.String) == status
    by_code = code.replace_strict(STATUS_WORDS, default=None, return_dtype=pl.String)
    by_class = status.replace_strict(STATUS_LABELS, default=None, return_dtype=pl.String)
    return pl.when(agrees).then(by_code).otherwise(by_class).alias("status")


def with_label(tables: Measurable, rows: pl.LazyFrame, column: str) -> pl.LazyFrame:
    """Add a column with the name of each row's delivery: its label, else its internal name, else its id."""
    labels = tables.scan("delivery").select("delivery_id", pl.coalesce("label", "internal_name").alias(column))
    labelled = rows.join(labels.unique("delivery_id", keep="any"), on="delivery_id", how="left", maintain_order="left")
    return labelled.with_columns(pl.coalesce(column, "delivery_id").alias(column))


def _asked(
    tables: Measurable,
    ids: Sequence[str] | None,
    recipient: str | None,
    address: str | None,
    status: Words,
    domain: Words,
    since: Asked,
    until: Asked,
    zone: str,
) -> pl.LazyFrame:
    """The messages asked for, each with its status in the platform's words."""
    sent = of_whom(tables, "message", ids, None if recipient is None else str(recipient), address)
    if domains := [name.lower() for name in asked_words(domain)]:
        sent = _of_domains(sent, domains)
    sent = in_period(sent.with_columns(status_word()), "status_at", since, until, zone)
    chosen = named(status, KNOWN_STATUSES, "status")
    return sent.filter(pl.col("status").is_in(chosen)) if chosen else sent


def _of_domains(sent: pl.LazyFrame, domains: list[str]) -> pl.LazyFrame:
    known = sent.select("domain").unique().collect()["domain"].drop_nulls()
    for name in domains:
        if name not in known:
            raise RequestError(f"No message went to the domain {name[:80]!r}.{did_you_mean(name, known)}")
    return sent.filter(pl.col("domain").is_in(domains))


def _described(tables: Measurable, sent: pl.LazyFrame, needed: set[str], ids: Sequence[str] | None) -> pl.LazyFrame:
    """Add the columns that a message itself does not have, if they are needed."""
    rows = sent.with_columns(
        reason=pl.col("failure_reason").replace_strict(FAILURE_REASONS, default=None, return_dtype=pl.String),
        failure_type=pl.col("failure_type").replace_strict(_TYPE_WORDS, default=None, return_dtype=pl.String),
    )
    rows = with_label(tables, rows, "document") if "document" in needed else rows
    rows = _with_channel(tables, rows) if "channel" in needed else rows
    if "first_text" in needed:
        texts = tables.scan("failure").select("failure_id", "first_text")
        rows = rows.join(texts, on="failure_id", how="left")
    if "address" in needed:
        recipients = tables.scan("recipient").select("recipient_id", "email")
        rows = rows.join(recipients, on="recipient_id", how="left").with_columns(
            address=pl.coalesce("address", "email")
        )
    if not needed & set(OF_HITS):
        return rows
    hits = tables.scan("event") if ids is None else of_deliveries(tables, "event", ids)
    hits = hits.join(sent.select(MESSAGE.key), on=MESSAGE.key, how="semi", nulls_equal=True)
    is_dated = plausible(tables, "event", the_one(ids)).holds()
    with_hits = rows.join(_hit_counts(hits, is_dated), on=MESSAGE.key, how="left", nulls_equal=True)
    return with_hits.with_columns(pl.col("opens", "clicks", "hits").fill_null(0))


_TYPE_WORDS = {code: FAILURE_TYPE_LABELS[name] for code, name in FAILURE_TYPES.items()}


def _with_channel(tables: Measurable, rows: pl.LazyFrame) -> pl.LazyFrame:
    types = tables.scan("delivery").select("delivery_id", "message_type").unique("delivery_id", keep="any")
    joined = rows.join(types, on="delivery_id", how="left")
    words = pl.col("message_type").replace_strict(MESSAGE_TYPES, default=None, return_dtype=pl.String)
    return joined.with_columns(channel=pl.coalesce(words, pl.col("message_type").cast(pl.String)))


def _left_out(tables: Measurable, ids: Sequence[str] | None, rule: str) -> pl.LazyFrame:
    """The exclusions of deliveries: `delivery_id`, `recipient_id`, `rule`."""
    rows = of_deliveries(tables, "exclusion", ids).select("delivery_id", "recipient_id", rule=named_rule()).unique()
    if not rule:
        return rows
    known = rows.select("rule").unique().collect()["rule"].to_list()
    if rule not in known:
        raise RequestError(f"Nobody was left out by the rule {rule[:80]!r}.{did_you_mean(rule, known)}")
    return rows.filter(pl.col("rule") == rule)


def _hit_counts(events: pl.LazyFrame, is_dated: pl.Expr) -> pl.LazyFrame:
    kind = pl.col("event_type").cast(pl.String)
    return (
        events.filter(pl.col("message_id").is_not_null(), is_hit())
        .group_by(MESSAGE.key)
        .agg(
            opens=(kind == "opened").sum().cast(pl.Int64),
            clicks=(kind == "clicked").sum().cast(pl.Int64),
            hits=pl.len().cast(pl.Int64),
            last_hit_at=pl.col("occurred_at").filter(is_dated).max(),
        )
    )
