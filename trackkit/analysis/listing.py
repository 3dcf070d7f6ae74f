"""What lists of log rows have in common: which columns, which rows, in which order, and how many."""

from collections.abc import Iterable, Mapping, Sequence

import polars as pl

from trackkit.clock import Asked, moment
from trackkit.engine.deliveries import of_deliveries, still_there
from trackkit.engine.snapshot import Measurable
from trackkit.errors import RequestError, did_you_mean
from trackkit.schema import MESSAGE

__all__ = ["asked_words", "chosen_columns", "in_order", "in_period", "limited", "named", "of_whom", "order_columns"]

Words = str | Sequence[str]


def chosen_columns(
    columns: Words | None, default: Iterable[str], known: Iterable[str], what: str = "tracking log"
) -> list[str]:
    """Return the columns asked for, or the default ones; RequestError for an unknown or repeated one, or none."""
    chosen = list(default if columns is None else [columns] if isinstance(columns, str) else columns)
    for name in chosen:
        if name not in known:
            raise RequestError(f"A {what} has no column {name!r}.{did_you_mean(str(name), known)}")
    if not chosen or len(set(chosen)) < len(chosen):
        raise RequestError(f"A {what} needs at least one column, each once; got {chosen!r}.")
    return chosen


def asked_words(words: Words) -> list[str]:
    """Return the words asked for, of a sequence or of a text with commas, each once.

    >>> asked_words("Sent, Failed,"), asked_words(["7"])
    (['Sent', 'Failed'], ['7'])
    """
    parts = words.split(",") if isinstance(words, str) else map(str, words)
    return list(dict.fromkeys(word.strip() for word in parts if word.strip()))


def named(words: Words, known: Mapping[str, str], what: str) -> list[str]:
    """Return what some words stand for, in any case; RequestError for an unknown one.

    >>> named("sent, FAILED", {"Sent": "1", "Failed": "2"}, "status")
    ['1', '2']
    """
    folded = {name.casefold(): value for name, value in known.items()}
    for word in asked_words(words):
        if word.casefold() not in folded:
            raise RequestError(f"There is no {what} {word[:80]!r}.{did_you_mean(word, known)}")
    return list(dict.fromkeys(folded[word.casefold()] for word in asked_words(words)))


def in_period(rows: pl.LazyFrame, column: str, since: Asked, until: Asked, zone: str) -> pl.LazyFrame:
    """Return the rows from `since` up to `until` (of a date, its last instant); "" sets no limit.

    Both are read as by `clock.moment`, in `zone`; undated rows are in no period. Raises RequestError for what is no
    date, and for a period that ends before it begins.
    """
    begin = moment(since, zone, "since") if since != "" else None
    end = moment(until, zone, "until", end_of_day=True) if until != "" else None
    if begin and end and end < begin:
        raise RequestError(f"The period ends before it begins: since {since!s}, until {until!s}.")
    at = pl.col(column).dt.convert_time_zone(zone)
    rows = rows if begin is None else rows.filter(at >= begin)
    return rows if end is None else rows.filter(at <= end)


def order_columns(order: Words, known: Iterable[str]) -> dict[str, bool]:
    """Return the columns that rows are ordered by, and whether each descends, as its `-` says.

    >>> order_columns("status,-status_at", ["status", "status_at"])
    {'status': False, 'status_at': True}
    """
    names = {word.removeprefix("-"): word.startswith("-") for word in asked_words(order)}
    for name in names:
        if name not in known:
            raise RequestError(f"Rows cannot be ordered by {name!r}.{did_you_mean(name, known)}")
    return names


def in_order(rows: pl.LazyFrame, order: Mapping[str, bool], ties: Iterable[str]) -> pl.LazyFrame:
    """Return the rows in order, unknown values last; rows that tie, by the columns of `ties`."""
    keys = {**order, **{name: False for name in ties if name not in order}}
    return rows.sort(list(keys), descending=list(keys.values()), nulls_last=True)


def limited(rows: pl.LazyFrame, limit: int | None) -> pl.LazyFrame:
    """Return the first rows; RequestError for a limit below 1."""
    if limit is not None and limit < 1:
        raise RequestError(f"A limit is a number of rows from 1; got {limit!r}.")
    return rows if limit is None else rows.head(limit)


def of_whom(
    tables: Measurable, table: str, ids: Sequence[str] | None, recipient: str | None, address: str | None
) -> pl.LazyFrame:
    """Return the messages or events of deliveries `asked_about`, of a recipient or of an address, or of both.

    Without a delivery, those of somebody are in all deliveries still there. Raises RequestError for an address that no
    table has; the sentence does not repeat it.
    """
    is_of_somebody = ids is None and not (recipient is None and address is None)
    rows = still_there(tables, tables.scan(table)) if is_of_somebody else of_deliveries(tables, table, ids)
    rows = rows if recipient is None else rows.filter(pl.col("recipient_id") == recipient)
    return rows if address is None else _of_address(tables, rows, address)


def _of_address(tables: Measurable, rows: pl.LazyFrame, address: str) -> pl.LazyFrame:
    """The messages or events with an address, or of a recipient or message with it.

    Senders' logs often identify nobody otherwise.
    """
    columns = {"recipient": "email", "message": "address", "event": "address"}
    with_address = {name: tables.scan(name).filter(_is_address(column, address)) for name, column in columns.items()}
    recipients = pl.concat(found.select("recipient_id") for found in with_address.values()).unique()
    counts = pl.concat(found.select(pl.len()) for found in with_address.values())
    ids, messages, found = pl.collect_all([recipients, with_address["message"].select(MESSAGE.key), counts])
    if not found["len"].sum():
        raise RequestError("No recipient has this address in these tables; for pseudonyms, TRACKKIT_KEY has the key.")
    of_message = messages.filter(pl.col("message_id").is_not_null()).unique().with_columns(is_theirs=True)
    rows = rows.join(of_message.lazy(), on=MESSAGE.key, how="left", nulls_equal=True)
    is_recipient = pl.col("recipient_id").is_in(ids["recipient_id"].drop_nulls().implode())
    return rows.filter(pl.any_horizontal("is_theirs", _is_address("address", address), is_recipient)).drop("is_theirs")


def _is_address(column: str, address: str) -> pl.Expr:
    return pl.col(column).str.strip_chars().str.to_lowercase() == address
