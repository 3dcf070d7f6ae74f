"""Rules of removal: rows older than a date by table (`Old`), or of one person (`Person`). Nothing here writes.

Both have `marked(table, buckets)`: the rows of a table with `goes`, and `altered` for rows that stay with changes.
"""

import base64
import hashlib
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from functools import cached_property
from urllib.parse import quote

import polars as pl

from trackkit import schema
from trackkit.sources.values import address as bare_address
from trackkit.sources.values import plain_address
from trackkit.store.dedupe import FROM_MESSAGE
from trackkit.store.lake import StoredTables
from trackkit.store.layout import EVENTS, FILLED, MESSAGE_KEY

GOES, ALTERED = "goes", "altered"
_ADDRESS_COLUMNS = {
    name: column
    for name, table in schema.TABLES.items()
    for column, kind in table.personal.items()
    if kind == "address"
}
BLANK = "(removed)"  # in place of an address in a text that stays
_OF_REMOVED = "of_removed_message"


class Old:
    """Rows older than the cutoff of their table; tables without one keep their rows.

    A row without an instant, or dated in the future, goes with the last dated row of its delivery in that table, or
    else if the delivery ended (or began, or was planned) before the cutoff.
    """

    def __init__(self, tables: StoredTables, cutoffs: Mapping[str, datetime], files: pl.DataFrame) -> None:
        self.tables, self.cutoffs, self.files = tables, dict(cutoffs), files
        for name, dependents in {
            "event": ("collapsed", "web_event"),
            "delivery": ("link", "content", "counter"),
        }.items():
            if name in cutoffs:
                self.cutoffs |= dict.fromkeys(dependents, cutoffs[name])
        self._undated_at: dict[str, pl.DataFrame] = {}
        self._latest = datetime.now(UTC) + timedelta(days=1)  # tolerates clocks that are fast

    def marked(self, table: str, buckets: list[int] | None = None) -> pl.LazyFrame:
        """Return the rows of a table, all or of some buckets, with `goes` and `altered`."""
        rows = self.tables.scan(table, buckets)
        if table in EVENTS:
            return self._events(table, rows, buckets)
        if table not in self.cutoffs:
            return rows.with_columns(pl.lit(False).alias(GOES), pl.lit(False).alias(ALTERED))
        rules: dict[str, Callable[[pl.LazyFrame], pl.LazyFrame]] = {
            "message": self._messages,
            "web_event": self._web_events,
            "page_hit": self._page_hits,
            "subscription": self._subscriptions,
            "exclusion": self._exclusions,
            "quarantine": self._quarantine,
            **dict.fromkeys(("delivery", "link", "content", "counter"), self._of_deliveries),
        }
        return rules[table](rows).with_columns(pl.col(GOES).fill_null(False), pl.lit(False).alias(ALTERED))

    def undated(self) -> int:
        """Count the events and messages without an instant that stay."""
        at = {"event": "occurred_at", "message": "status_at"}
        kept = [
            self.marked(name).filter(pl.col(column).is_null(), ~pl.col(GOES)).select(pl.len())
            for name, column in at.items()
            if name in self.cutoffs
        ]
        return sum(frame.item() for frame in pl.collect_all(kept))

    def load_text(self, text: str) -> str:
        """Return a text of a load report unchanged."""
        return text

    def names(self, column: str) -> pl.Expr:
        """False: persons do not matter here."""
        return pl.lit(False)

    def _before(self, table: str, at: pl.Expr) -> pl.Expr:
        return (at < pl.lit(self.cutoffs[table])).fill_null(False)

    def _dates(self) -> pl.LazyFrame:
        return self.tables.scan("delivery").select(
            "delivery_id", date=pl.coalesce("ended_at", "started_at", "contact_at")
        )

    def _past(self, column: str) -> pl.Expr:
        return pl.when(pl.col(column) <= pl.lit(self._latest)).then(column)

    def _last(self, table: str, column: str) -> pl.LazyFrame:
        """By delivery, the instant that stands for the missing ones of its rows in a table."""
        if table not in self._undated_at:
            dated = self.tables.scan(table).group_by("delivery_id").agg(last=self._past(column).max())
            both = dated.join(self._dates(), on="delivery_id", how="left").filter(pl.col("delivery_id").is_not_null())
            self._undated_at[table] = both.select("delivery_id", last=pl.coalesce("last", "date")).collect()
        return self._undated_at[table].lazy()

    def _dated(self, table: str, rows: pl.LazyFrame, column: str) -> pl.LazyFrame:
        dated = rows.join(self._last(table, column), on="delivery_id", how="left", maintain_order="left")
        return dated.with_columns(at=pl.coalesce(self._past(column), "last")).drop("last")

    def _messages(self, rows: pl.LazyFrame) -> pl.LazyFrame:
        goes = self._before("message", pl.col("at")).alias(GOES)
        return self._dated("message", rows, "status_at").with_columns(goes).drop("at")

    def _events(self, table: str, rows: pl.LazyFrame, buckets: list[int] | None) -> pl.LazyFrame:
        """Mark hits, also those that depend on removed messages.

        Hits of control addresses go with their message, which alone marks them as such; the recipient that other hits
        have from it becomes their own. A repeated open goes with the open it repeats.
        """
        goes = pl.lit(False)
        if table in self.cutoffs:
            rows = self._dated(table, rows, "occurred_at")
            window = pl.duration(seconds=pl.col("collapse_seconds").fill_null(0))
            goes = self._before(table, pl.col("at") - window if table == "collapsed" else pl.col("at"))
        if "message" not in self.cutoffs:
            marks = {GOES: goes, ALTERED: pl.lit(False)}
            return rows.with_columns(**marks).drop("at", strict=False)
        removed = self.marked("message", buckets).filter(GOES).select(MESSAGE_KEY).unique()
        removed = removed.with_columns(pl.lit(True).alias(_OF_REMOVED))
        is_of_removed = pl.col(_OF_REMOVED).fill_null(False)
        goes = goes | (is_of_removed & pl.col("is_seed").fill_null(False))
        is_taken = is_of_removed & ((pl.col(FILLED).fill_null(0) & FROM_MESSAGE) != 0)
        filled = pl.when(is_taken).then(pl.col(FILLED) & ~pl.lit(FROM_MESSAGE, pl.Int32)).otherwise(FILLED)
        marked = rows.join(removed, on=MESSAGE_KEY, how="left", maintain_order="left")
        marks = {GOES: goes, ALTERED: is_taken & ~goes, FILLED: filled}
        return marked.with_columns(**marks).drop("at", _OF_REMOVED, strict=False)

    def _web_events(self, rows: pl.LazyFrame) -> pl.LazyFrame:
        return rows.join(_orphaned(self), on="event_id", how="left", maintain_order="left")

    def _page_hits(self, rows: pl.LazyFrame) -> pl.LazyFrame:
        return rows.with_columns(self._before("page_hit", pl.col("occurred_at")).alias(GOES))

    def _subscriptions(self, rows: pl.LazyFrame) -> pl.LazyFrame:
        """Mark acts, but keep the one by which somebody is subscribed now."""
        subscriber = ["service_id", "recipient_id"]
        is_last = pl.col("occurred_at") == pl.col("occurred_at").max().over(subscriber)
        in_force = (is_last & (pl.col("action") == 1)).fill_null(False)
        return rows.with_columns((self._before("subscription", pl.col("occurred_at")) & ~in_force).alias(GOES))

    def _exclusions(self, rows: pl.LazyFrame) -> pl.LazyFrame:
        """Mark exclusions by the date of their delivery; they have none of their own."""
        dated = rows.join(self._dates(), on="delivery_id", how="left", maintain_order="left")
        return dated.with_columns(self._before("exclusion", pl.col("date")).alias(GOES)).drop("date")

    def _quarantine(self, rows: pl.LazyFrame) -> pl.LazyFrame:
        """Mark refused lines by the last load of their file; their own instants were not read."""
        dated = rows.join(self.files.lazy(), on="source_file", how="left", maintain_order="left")
        return dated.with_columns(self._before("quarantine", pl.col("loaded_at")).alias(GOES)).drop("loaded_at")

    def _of_deliveries(self, rows: pl.LazyFrame) -> pl.LazyFrame:
        """Mark deliveries without remaining rows or kept counts, and their links and contents."""
        remaining = [self.marked(name).filter(~pl.col(GOES)).select("delivery_id") for name in (*EVENTS, "message")]
        remaining.append(self.tables.scan("kept_count").select("delivery_id"))
        old = self._dates().filter(self._before("delivery", pl.col("date"))).select("delivery_id")
        removed = old.join(pl.concat(remaining).unique(), on="delivery_id", how="anti").with_columns(
            pl.lit(True).alias(GOES)
        )
        return rows.join(removed.unique(), on="delivery_id", how="left", maintain_order="left")


class Person:
    """Rows of one recipient: by id, by address, and by message, whose hits are theirs whomever they name.

    Recipients with one address, however written, are one person. Rows whose ids hold the address go too, and links that
    only this person hit; in other texts of remaining rows the address is blanked. Anonymous hits that only share a
    browser stay. A hit without delivery that names nobody goes if any of the person's messages has its id.
    """

    def __init__(self, tables: StoredTables, recipient: str | None, address: str | None) -> None:
        self.tables = tables
        self.ids = {recipient} if recipient else set()
        self.addresses = {plain_address(address)} - {""} if address else set()
        self._resolve()
        self.messages = self._messages().collect()

    def marked(self, table: str, buckets: list[int] | None = None) -> pl.LazyFrame:
        """Return the rows of a table, all or of some buckets, with `goes` and `altered`."""
        rows = self._with_goes(table, self.tables.scan(table, buckets))
        if not self.addresses:
            return rows.with_columns(pl.lit(False).alias(ALTERED))
        columns = set(rows.collect_schema())
        kinds = {name: kind for name, kind in schema.TABLES[table].personal.items() if name in columns}
        ids = [name for name, kind in kinds.items() if kind in ("person", "id") and name not in _NAMES_OF_FILES]
        rows = rows.with_columns(pl.any_horizontal(GOES, *map(self.names, ids)).alias(GOES))
        texts = [name for name, kind in kinds.items() if kind in ("text", "url", "mention") or name in _NAMES_OF_FILES]
        blank = {f"blank {name}": self._blank(name) for name in texts}
        is_other = pl.any_horizontal(False, *(pl.col(name).ne_missing(pl.col(f"blank {name}")) for name in texts))
        altered = (is_other & ~pl.col(GOES)).alias(ALTERED)
        blanked = [pl.col(f"blank {name}").alias(name) for name in texts]
        return rows.with_columns(**blank).with_columns(altered).with_columns(blanked).drop(blank)

    def _with_goes(self, table: str, rows: pl.LazyFrame) -> pl.LazyFrame:
        """Mark the rows of a table that are theirs by id, address or message."""
        if table in (*EVENTS, "message"):
            keys = self.messages.lazy().with_columns(pl.lit(True).alias(_OF_REMOVED))
            rows = rows.join(keys, on=MESSAGE_KEY, how="left", maintain_order="left")
            goes = self._is_theirs(table) | pl.col(_OF_REMOVED).fill_null(False)
            goes |= self._may_be_theirs() if table in EVENTS else False
            return rows.with_columns(goes.alias(GOES)).drop(_OF_REMOVED)
        if table in _BY_HITS:
            key = _BY_HITS[table]
            rows = rows.join(_orphaned(self, key), on=key, how="left", maintain_order="left")
            stays = pl.col(key).str.contains(_PLATFORM_ID) if table == "link" else pl.lit(False)
            return rows.with_columns((pl.col(GOES) & ~stays).fill_null(False).alias(GOES))
        if "recipient_id" in schema.TABLES[table].schema:
            return rows.with_columns(self._is_theirs(table).alias(GOES))
        return self._lines(rows) if table == "quarantine" else rows.with_columns(pl.lit(False).alias(GOES))

    def names(self, column: str) -> pl.Expr:
        """Whether a column holds one of their addresses."""
        if not self.addresses:
            return pl.lit(False)
        return self._candidates(column).str.contains(f"(?i){self._any_address()}").fill_null(False)

    def _blank(self, column: str) -> pl.Expr:
        """The text of a column without their addresses."""
        blank = self._candidates(column).str.replace_all(f"(?i){self._any_address()}", f"${{1}}{BLANK}${{2}}")
        return pl.coalesce(blank, column)

    def _candidates(self, column: str) -> pl.Expr:
        """The texts that hold an address in any form: few, for which a pattern is not too slow."""
        return pl.when(pl.col(column).str.contains_any(self._forms, ascii_case_insensitive=True)).then(column)

    def names_address(self, text: str) -> bool:
        """Whether a text holds one of their addresses."""
        return bool(self.addresses and re.search(self._any_address(), text, re.IGNORECASE))

    def names_id(self, text: str) -> bool:
        """Whether a text holds one of their ids, as a word."""
        return any(re.search(rf"(?<!\w){re.escape(id_)}(?!\w)", text, re.IGNORECASE) for id_ in self.ids)

    def undated(self) -> int:
        """Return 0: instants do not matter here."""
        return 0

    def load_text(self, text: str) -> str:
        """Return a text of a load report without their addresses."""
        return re.sub(self._any_address(), rf"\1{BLANK}\2", text, flags=re.IGNORECASE) if self.addresses else text

    def _resolve(self) -> None:
        """Find the addresses of the id, and the ids of the addresses."""
        addresses = [
            self.tables.scan(name)
            .filter(pl.col("recipient_id").is_in(list(self.ids)))
            .select(bare_address(pl.col(column)))
            for name, column in _ADDRESS_COLUMNS.items()
        ]
        self.addresses |= _values(addresses)
        twins = self.tables.scan("recipient").filter(bare_address(pl.col("email")).is_in(list(self.addresses)))
        self.ids |= _values([twins.select("recipient_id")])
        if not self.ids:  # the address is in no table of recipients
            ids = [self.tables.scan(name).filter(self._is_theirs(name)).select("recipient_id") for name in _LOGS]
            self.ids |= _values(ids)

    def _is_theirs(self, table: str) -> pl.Expr:
        column = _ADDRESS_COLUMNS.get(table)
        theirs = pl.col("recipient_id").is_in(list(self.ids))
        theirs = (
            theirs
            if column is None
            else theirs.fill_null(False) | bare_address(pl.col(column)).is_in(list(self.addresses))
        )
        return theirs.fill_null(False)

    def _may_be_theirs(self) -> pl.Expr:
        """Hits of one of their message ids that name no delivery and nobody."""
        is_nobodys = pl.all_horizontal(pl.col("delivery_id", "recipient_id", "address").is_null())
        return is_nobodys & pl.col("message_id").is_in(self.messages["message_id"].implode()).fill_null(False)

    def _messages(self) -> pl.LazyFrame:
        """Their messages, also those that only a hit gives them, unless the log of messages names another."""
        theirs = [self.tables.scan(name).filter(self._is_theirs(name)).select(MESSAGE_KEY) for name in _LOGS]
        log = self.tables.scan("message")
        others = log.filter(pl.col("recipient_id").is_not_null(), ~self._is_theirs("message")).select(MESSAGE_KEY)
        messages = pl.concat(theirs).filter(pl.col("message_id").is_not_null()).unique()
        return messages.join(others, on=MESSAGE_KEY, how="anti", nulls_equal=True)

    def _lines(self, rows: pl.LazyFrame) -> pl.LazyFrame:
        """Mark refused lines with their address or id, and raw log lines of their messages."""
        words = [rf"(?:^|\W){re.escape(id_)}(?:\W|$)" for id_ in self.ids]
        words += [self._any_address()] if self.addresses else []
        names_them = pl.col("text").str.contains(f"(?i){'|'.join(words)}")
        is_raw = pl.col("source") == "adobe_redirection_log"
        message, delivery = _hexadecimal(2), _hexadecimal(3).replace("0", None)
        of_message = message.is_in(self.messages["message_id"].implode()) & delivery.is_null()
        pairs = self.messages.select(pl.concat_str(MESSAGE_KEY, separator=",")).to_series()
        of_message |= pl.concat_str(delivery, message, separator=",").is_in(pairs.implode()).fill_null(False)
        goes = names_them.fill_null(False) | (is_raw & of_message).fill_null(False)
        return rows.with_columns(goes.alias(GOES))

    @cached_property
    def _forms(self) -> list[str]:
        """The spellings of their addresses: plain, in a URL, in HTML or JSON, in Base64, as a hash."""
        return sorted({form for address in self.addresses for form in _forms_of(address)}, key=len, reverse=True)

    def _any_address(self) -> str:
        """A pattern of their addresses in all forms; its two groups are the characters around one."""
        after = rf"($|[^\w.-]|\.(?:$|\W|{_ENDING}))"
        return rf"(^|%[0-9a-f]{{2}}|[^\w.+%-])(?:{'|'.join(map(re.escape, self._forms))}){after}"


_LOGS = ("message", *EVENTS)
_ENDING = r"(?:csv|tsv|txt|jsonl?|ndjson|log|gz|zst|xml|html?|parquet)(?:$|\W)"  # of file names, not domains
_NAMES_OF_FILES = ("source_file",)  # a file holds rows of many
_BY_HITS = {"web_event": "event_id", "link": "link_id"}  # rows that exist because of hits
# The platform's own ids: such links are from a table, exist without hits, and are needed by later ones.
_PLATFORM_ID = r"^(?:\d+|[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})$"


def _forms_of(address: str) -> set[str]:
    quoted, encoded = quote(address, safe=""), base64.b64encode(address.encode())
    at = {address.replace("@", sign) for sign in ("%40", "%2540", "&#64;", "&commat;", "\\u0040")}
    hashes = {hashlib.new(name, address.encode()).hexdigest() for name in ("md5", "sha1", "sha256", "sha512")}
    in_base64 = {text.decode().rstrip("=") for text in (encoded, base64.urlsafe_b64encode(address.encode()))}
    return {address, *at, quoted, quote(quoted, safe=""), quote(address, safe="@+"), *in_base64, *hashes}


def _orphaned(rule: Old | Person, key: str = "event_id") -> pl.LazyFrame:
    """The log ids or links without any remaining hit: (key, goes)."""
    hits = pl.concat([rule.marked(name).select(key, GOES) for name in EVENTS])
    removed = hits.filter(GOES, pl.col(key).is_not_null()).select(key).unique()
    remaining = hits.filter(~pl.col(GOES)).join(removed, on=key, how="semi")
    return removed.join(remaining, on=key, how="anti").with_columns(pl.lit(True).alias(GOES))


def _hexadecimal(index: int) -> pl.Expr:
    """A hexadecimal cell of a refused raw log line as a decimal text; null if unreadable."""
    cell = pl.col("text").str.split("\t").list.get(index, null_on_oob=True)
    return cell.str.to_integer(base=16, dtype=pl.UInt64, strict=False).cast(pl.String)


def _values(frames: Iterable[pl.LazyFrame]) -> set[str]:
    """The distinct known values of frames of one column."""
    columns = pl.collect_all([frame.unique() for frame in frames])
    return {value for frame in columns for value in frame.to_series().drop_nulls() if value}
