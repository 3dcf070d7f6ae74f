"""The Tracking tabs: every hit of a delivery, of several, or of a recipient, newest first.

A log includes hits of control addresses, though figures leave them out. IP addresses are never a column; e-mail
addresses are one only on request.
"""

from collections.abc import Container, Mapping, Sequence
from types import MappingProxyType
from typing import Annotated, Any

import polars as pl

from trackkit.analysis.links import EVENT_LABELS, TRACKED, event_label, kept, tracked_links
from trackkit.analysis.listing import (
    Words,
    chosen_columns,
    in_order,
    limited,
    of_whom,
    order_columns,
)
from trackkit.analysis.messages import RECIPIENT_COLUMNS as RECIPIENT_MESSAGES
from trackkit.analysis.messages import messages, with_label
from trackkit.clock import Asked, local
from trackkit.engine.deliveries import Deliveries, asked_about, the_one, zone_of
from trackkit.engine.plausible import plausible
from trackkit.engine.snapshot import Measurable
from trackkit.errors import RequestError, require_word
from trackkit.language import say, translatable
from trackkit.schema import MESSAGE
from trackkit.toml import FROM_1

__all__ = ["COLUMNS", "URL_COLUMNS", "clicked_urls", "count", "headings", "tracking_log", "tracking_tab"]

# Name -> heading, the platform's where it has one.
COLUMNS: Mapping[str, str] = MappingProxyType(
    translatable(
        {
            "occurred_at": "Date",
            "label": "Label",
            "type": "Type",
            "recipient_id": "Recipient",
            "person_id": "Requester UUID",
            "url": "URL",
            "document": "Document",
            "category": "Category",
            "email": "E-mail address",
            "domain": "Domain",
            "country": "Country",
            "delivery_id": "Delivery",
            "message_id": "Message",
            "event_id": "Log",
            "log_server": "Log server",
            "link_id": "Tracked link",
            "message_format": "Format",
            "device": "Device",
            "operating_system": "Operating system",
            "browser": "Browser",
            "browser_version": "Browser version",
            "amount": "Amount",
            "currency": "Currency",
            "articles": "Articles",
            "tag_id": "Tag",
            "is_seed": "Control address",
        }
    )
)
DELIVERY_COLUMNS = ("occurred_at", "label", "type", "recipient_id", "person_id")
RECIPIENT_COLUMNS = ("label", "url", "occurred_at", "document", "type")
# The same for the URLs tab of a recipient.
URL_COLUMNS: Mapping[str, str] = MappingProxyType(
    translatable(
        {
            "label": "Label",
            "url": "URL",
            "type": "Type",
            "category": "Category",
            "clicks": "Clicks",
            "deliveries": "Deliveries",
            "latest_document": "Latest document",
            "first_hit_at": "First click",
            "last_hit_at": "Last click",
            "recipients": "Recipients",
        }
    )
)
TABS = ("logs", "urls", "deliveries")
COMPUTED = {
    "label": pl.col("link_label"),
    "category": pl.col("link_category"),
    "type": event_label(pl.col("event_type")),
}


def tracking_log(
    tables: Measurable,
    delivery: Deliveries = None,
    recipient: str | None = None,
    columns: Annotated[Sequence[str] | None, COLUMNS] = None,
    limit: Annotated[int | None, FROM_1] = None,
    timezone: str = "",
    address: str | None = None,
    type: Words = "",
    since: Asked = "",
    until: Asked = "",
    link: str = "",
    device: Words = "",
    order: Words = "",
) -> Annotated[pl.DataFrame, COLUMNS]:
    """Return the Tracking tab of deliveries, or of a recipient over all deliveries still there: one row per hit.

    The newest comes first; a deleted delivery has a tab only if it is named. Without a recipient, all deliveries are
    those that are not set aside.

    `columns` are names of `COLUMNS` (whose values are the headings), by default the platform's: for a delivery date,
    label, type, recipient and requester UUID; for a recipient label, URL, date, document (the delivery's label) and
    type. `occurred_at` is in `timezone`; undated hits come last. `limit` keeps the first. `address` names a
    recipient by their address in the tables.

    Some hits are kept by `type` (as shown, "Email click", or "clicked"; several by commas), by `since` and `until`, by
    the id, label or URL of a `link`, and by `device`; `order` names columns, each descending with a `-`. Raises
    RequestError without a delivery, a recipient or a limit, for an unknown one, an unknown column, type or order, a
    link or device of none of the hits, and what is no date.

    >>> tracking_log(store, delivery, columns=["type", "label"], limit=1).rows()
    [('Open', 'Open')]
    """
    if limit is None:
        _require_some(delivery, recipient, address)
    chosen = chosen_columns(
        columns, DELIVERY_COLUMNS if recipient is None and address is None else RECIPIENT_COLUMNS, COLUMNS
    )
    by, zone = order_columns(order, COLUMNS), zone_of(tables, timezone)
    hits = _newest_first(kept(_hits(tables, delivery, recipient, address), type, since, until, link, device, zone))
    needed = {*chosen, *by}
    rows = _with_email(tables, _with_document(tables, hits if by else limited(hits, limit), needed), needed)
    described = rows.with_columns(**COMPUTED, occurred_at=local("occurred_at", zone))
    return limited(_ordered(described, by), limit).select(chosen).collect()


def count(
    tables: Measurable,
    delivery: Deliveries = None,
    recipient: str | None = None,
    timezone: str = "",
    address: str | None = None,
    type: Words = "",
    since: Asked = "",
    until: Asked = "",
    link: str = "",
    device: Words = "",
) -> int:
    """Return how many hits the Tracking tab of deliveries or of a recipient has. Raises RequestError as it does.

    >>> count(store, delivery)
    83
    """
    zone = zone_of(tables, timezone)
    hits = kept(_hits(tables, delivery, recipient, address), type, since, until, link, device, zone)
    return int(hits.select(pl.len()).collect().item())


def clicked_urls(
    tables: Measurable,
    delivery: Deliveries = None,
    recipient: str | None = None,
    columns: Annotated[Sequence[str] | None, URL_COLUMNS] = None,
    limit: Annotated[int | None, FROM_1] = None,
    timezone: str = "",
    address: str | None = None,
    type: Words = "",
    since: Asked = "",
    until: Asked = "",
    link: str = "",
    device: Words = "",
    order: Words = "-clicks,-last_hit_at",
) -> Annotated[pl.DataFrame, URL_COLUMNS]:
    """Return every tracked URL that a recipient clicked, or that was clicked in some deliveries: one row per URL.

    `columns` are names of `URL_COLUMNS`, by default all but `recipients`: label, URL, type and category (together what
    a row is), `clicks` (hits that are no opens), `deliveries` (how many), `latest_document` (its label),
    `first_hit_at` and `last_hit_at` in `timezone`, `recipients` (how many, for a delivery). Most clicked first, then
    the latest. `limit` keeps the first; clicks are kept as by `tracking_log`. Raises RequestError as `tracking_log`.

    >>> clicked_urls(store, delivery).select("label", "clicks").row(0)
    ('First frost, warm desks', 8)
    """
    if limit is None:
        _require_some(delivery, recipient, address)
    zone = zone_of(tables, timezone)
    by = order_columns(order, URL_COLUMNS)
    hits = kept(_hits(tables, delivery, recipient, address), type, since, until, link, device, zone)
    chosen = chosen_columns(columns, [name for name in URL_COLUMNS if name != "recipients"], URL_COLUMNS)
    clicks = hits.filter(pl.col("event_type").cast(pl.String).ne_missing("opened"))
    labelled = _with_document(tables, clicks, ["document"]).with_columns(**COMPUTED)
    dated = pl.col("occurred_at").filter(plausible(tables, "event", the_one(asked_about(tables, delivery))).holds())
    urls = labelled.group_by("label", "url", "type", "category").agg(
        clicks=pl.len().cast(pl.Int64),
        deliveries=pl.col("delivery_id").drop_nulls().n_unique().cast(pl.Int64),
        recipients=pl.col("recipient_id").drop_nulls().n_unique().cast(pl.Int64),
        latest_document=pl.col("document").sort_by("occurred_at", "event_id", nulls_last=False).last(),
        first_hit_at=dated.min(),
        last_hit_at=dated.max(),
    )
    zoned = pl.col("first_hit_at", "last_hit_at").dt.convert_time_zone(zone)
    ranked = in_order(urls, by, ("label", "url", "type", "category")).with_columns(zoned)
    return limited(ranked, limit).select(chosen).collect()


def tracking_tab(
    tables: Measurable,
    tab: str = "logs",
    delivery: Deliveries = None,
    recipient: str | None = None,
    columns: Sequence[str] | None = None,
    timezone: str = "",
    address: str | None = None,
    **options: Any,
) -> pl.DataFrame:
    """Return a sub-tab by its name: "logs" (`tracking_log`), "urls", or a recipient's "deliveries".

    The URLs are those that a recipient clicked (`clicked_urls`), or all tracked links of deliveries, never clicked ones
    included (`links.tracked_links`). The deliveries are a recipient's messages (`messages.messages`). `options` are
    those of these functions: filters, order and limit. Raises RequestError for another name, and as those functions do.

    >>> tracking_tab(store, "urls", delivery).height
    18
    """
    asked = {name: value for name, value in options.items() if value not in ("", None)}
    who: dict[str, Any] = {"recipient": recipient, "address": address, "timezone": timezone}
    is_of_recipient = recipient is not None or address is not None
    if "limit" not in asked:
        _require_some(delivery, recipient, address)
    match require_word("tab", tab, TABS[:2] if delivery else TABS):
        case "logs":
            return tracking_log(tables, delivery, columns=columns, **who, **asked)
        case "deliveries":
            if recipient is not None:
                _require_recipient(tables, recipient)
            return messages(tables, columns=columns or RECIPIENT_MESSAGES, **{"order": "-status_at"} | who | asked)
    if is_of_recipient:
        return clicked_urls(tables, delivery, columns=columns, **who, **asked)
    order, limit = order_columns(asked.pop("order", ""), TRACKED.split()), asked.pop("limit", None)
    links = tracked_links(tables, delivery, timezone=timezone, **asked)
    chosen = chosen_columns(columns, links.columns, links.columns)
    return limited(_ordered(links.lazy(), order), limit).select(chosen).collect()


def headings(frame: pl.DataFrame, lang: str = "en") -> dict[str, str]:
    """Return the heading of each column of a tracking log, or of a recipient's URLs.

    >>> headings(pl.DataFrame(schema=["occurred_at", "type"]))
    {'occurred_at': 'Date', 'type': 'Type'}
    """
    words = {**COLUMNS, **URL_COLUMNS}
    return {column: say(words[column], lang) for column in frame.columns}


def _require_some(delivery: Deliveries, recipient: str | None, address: str | None) -> None:
    if not delivery and recipient is None and address is None:
        raise RequestError("A Tracking tab is that of a delivery or of a recipient: say which, or give a limit.")


def _hits(tables: Measurable, delivery: Deliveries, recipient: str | None, address: str | None) -> pl.LazyFrame:
    """The hits of the tracking log: opens and hits on links, not what mail servers report."""
    is_tracked = pl.col("event_type").cast(pl.String).is_in(list(EVENT_LABELS)) | pl.col("link_id").is_not_null()
    ids = asked_about(tables, delivery)
    key = None if recipient is None else _require_recipient(tables, recipient)
    return of_whom(tables, "event", ids, key, address).filter(is_tracked)


def _ordered(rows: pl.LazyFrame, by: Mapping[str, bool]) -> pl.LazyFrame:
    """The rows in the order asked for, else as they are; rows that tie stay as they are."""
    if not by:
        return rows
    return rows.sort(list(by), descending=list(by.values()), nulls_last=True, maintain_order=True)


def _require_recipient(tables: Measurable, recipient: str) -> str:
    key = str(recipient)
    seen: set[str] = getattr(tables, "seen", set())  # cached: a snapshot does not change
    rows = [
        tables.scan(table).filter(pl.col("recipient_id") == key).select("recipient_id").head(1)
        for table in ("recipient", "message", "event")
    ]
    if f"recipient {key}" not in seen and not any(frame.height for frame in pl.collect_all(rows)):
        raise RequestError(f"There is no recipient {key!r} in these tables; give the id of one, not an address.")
    seen.add(f"recipient {key}")
    return key


def _newest_first(hits: pl.LazyFrame) -> pl.LazyFrame:
    """Newest first; hits of one instant by their log id, so that the order is stable."""
    keys = [pl.col("occurred_at"), pl.col("event_id").str.len_chars(), pl.col("event_id"), pl.col("log_server")]
    return hits.sort(keys, descending=True, nulls_last=True)


def _with_document(tables: Measurable, hits: pl.LazyFrame, chosen: Container[str]) -> pl.LazyFrame:
    return with_label(tables, hits, "document") if "document" in chosen else hits


def _with_email(tables: Measurable, hits: pl.LazyFrame, chosen: Container[str]) -> pl.LazyFrame:
    """Add `email`: the recipient's address, else the one that the message was sent to, else that of the hit."""
    if "email" not in chosen:
        return hits
    recipients = tables.scan("recipient").select("recipient_id", "email").unique("recipient_id", keep="any")
    messages = tables.scan("message").select(*MESSAGE.key, sent_to="address")
    joined = hits.join(recipients, on="recipient_id", how="left", maintain_order="left")
    joined = joined.join(messages, on=MESSAGE.key, how="left", maintain_order="left")
    return joined.with_columns(email=pl.coalesce("email", "sent_to", "address"))
