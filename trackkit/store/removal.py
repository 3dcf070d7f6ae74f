"""Which rows go: those older than a date, table by table, or those of one person. Nothing here writes.

Both rules answer `marked(table, buckets)`: the rows of a table with `goes`, and with `altered` where a row stays but
not as it was.
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
from trackkit.sources.values import address as bare
from trackkit.sources.values import plain_address
from trackkit.store.dedupe import FROM_MESSAGE
from trackkit.store.lake import StoredTables
from trackkit.store.layout import EVENTS, FILLED, MESSAGE_KEY

GOES, ALTERED = "goes", "altered"
# The column of each table that holds an address.
_ADDRESS_OF = {
    name: column
    for name, table in schema.TABLES.items()
    for column, kind in table.personal.items()
    if kind == "address"
}
BLANK = "(removed)"  # what stands where an address stood in a text that stays
_OF_GONE = "of_gone"


class Old:
    """Rows of before a date, which each table may have its own of; a table without a date keeps its rows.

    A row without an instant, or dated in the future, goes with its delivery: when the last dated row of the delivery in
    that table goes, else when the delivery ended (or began, or was planned) before the date.
    """

    def __init__(self, tables: StoredTables, cuts: Mapping[str, datetime], files: pl.DataFrame) -> None:
        self.tables, self.cuts, self.files = tables, dict(cuts), files
        if "event" in self.cuts:
            self.cuts |= {"collapsed": self.cuts["event"], "web_event": self.cuts["event"]}
        if "delivery" in self.cuts:
            self.cuts |= {"link": self.cuts["delivery"], "content": self.cuts["delivery"]}
        self._lasts: dict[str, pl.DataFrame] = {}
        self._latest = datetime.now(UTC) + timedelta(days=1)  # clocks may be fast by less

    def marked(self, table: str, buckets: list[int] | None = None) -> pl.LazyFrame:
        """Return the rows of a table, all or of some buckets, with what becomes of each."""
        rows = self.tables.scan(table, buckets)
        if table in EVENTS:
            return self._events(table, rows, buckets)
        if table not in self.cuts:
            return _unmarked(rows)
        rules: dict[str, Callable[[pl.LazyFrame], pl.LazyFrame]] = {
            "message": self._messages,
            "web_event": self._web_events,
            "page_hit": self._page_hits,
            "subscription": self._subscriptions,
            "exclusion": self._exclusions,
            "quarantine": self._quarantine,
            **dict.fromkeys(("delivery", "link", "content"), self._of_deliveries),
        }
        return rules[table](rows).with_columns(pl.col(GOES).fill_null(False), pl.lit(False).alias(ALTERED))

    def undated(self) -> int:
        """Count the events and messages without an instant that stay."""
        at = {"event": "occurred_at", "message": "status_at"}
        kept = [
            self.marked(name).filter(pl.col(column).is_null(), ~pl.col(GOES)).select(pl.len())
            for name, column in at.items()
            if name in self.cuts
        ]
        return sum(frame.item() for frame in pl.collect_all(kept))

    def load_text(self, text: str) -> str:
        """Return a text of a load report as it stays: as it is."""
        return text

    def names(self, column: str) -> pl.Expr:
        """Whether the text of a column is somebody's: no matter here."""
        return pl.lit(False)

    def _before(self, table: str, at: pl.Expr) -> pl.Expr:
        return (at < pl.lit(self.cuts[table])).fill_null(False)

    def _dates(self) -> pl.LazyFrame:
        return self.tables.scan("delivery").select(
            "delivery_id", date=pl.coalesce("ended_at", "started_at", "contact_at")
        )

    def _past(self, column: str) -> pl.Expr:
        return pl.when(pl.col(column) <= pl.lit(self._latest)).then(column)

    def _last(self, table: str, column: str) -> pl.LazyFrame:
        """Return, by delivery, what its undated rows of a table go by."""
        if table not in self._lasts:
            own = self.tables.scan(table).group_by("delivery_id").agg(last=self._past(column).max())
            both = own.join(self._dates(), on="delivery_id", how="left").filter(pl.col("delivery_id").is_not_null())
            self._lasts[table] = both.select("delivery_id", last=pl.coalesce("last", "date")).collect()
        return self._lasts[table].lazy()

    def _dated(self, table: str, rows: pl.LazyFrame, column: str) -> pl.LazyFrame:
        dated = rows.join(self._last(table, column), on="delivery_id", how="left", maintain_order="left")
        return dated.with_columns(at=pl.coalesce(self._past(column), "last")).drop("last")

    def _messages(self, rows: pl.LazyFrame) -> pl.LazyFrame:
        goes = self._before("message", pl.col("at")).alias(GOES)
        return self._dated("message", rows, "status_at").with_columns(goes).drop("at")

    def _events(self, table: str, rows: pl.LazyFrame, buckets: list[int] | None) -> pl.LazyFrame:
        """Hits, and what they have from messages that go.

        Those of control addresses go with their message, since it alone says that they do not count; the recipient that
        others have from it becomes their own. A repeated open goes with the one it repeats.
        """
        goes = pl.lit(False)
        if table in self.cuts:
            rows = self._dated(table, rows, "occurred_at")
            again = pl.duration(seconds=pl.col("collapse_seconds").fill_null(0)) if table == "collapsed" else None
            goes = self._before(table, pl.col("at") if again is None else pl.col("at") - again)
        if "message" not in self.cuts:
            marks = {GOES: goes, ALTERED: pl.lit(False)}
            return rows.with_columns(**marks).drop("at", strict=False)
        removed = self.marked("message", buckets).filter(GOES).select(MESSAGE_KEY).unique()
        removed = removed.with_columns(pl.lit(True).alias(_OF_GONE))
        is_of_gone = pl.col(_OF_GONE).fill_null(False)
        goes = goes | (is_of_gone & pl.col("is_seed").fill_null(False))
        is_taken = is_of_gone & ((pl.col(FILLED).fill_null(0) & FROM_MESSAGE) != 0)
        own = pl.when(is_taken).then(pl.col(FILLED) & ~pl.lit(FROM_MESSAGE, pl.Int32)).otherwise(FILLED)
        marked = rows.join(removed, on=MESSAGE_KEY, how="left", maintain_order="left")
        marks = {GOES: goes, ALTERED: is_taken & ~goes, FILLED: own}
        return marked.with_columns(**marks).drop("at", _OF_GONE, strict=False)

    def _web_events(self, rows: pl.LazyFrame) -> pl.LazyFrame:
        return rows.join(_orphaned(self), on="event_id", how="left", maintain_order="left")

    def _page_hits(self, rows: pl.LazyFrame) -> pl.LazyFrame:
        return rows.with_columns(self._before("page_hit", pl.col("occurred_at")).alias(GOES))

    def _subscriptions(self, rows: pl.LazyFrame) -> pl.LazyFrame:
        """Acts, but the one by which somebody is subscribed now: it is no history yet."""
        who = ["service_id", "recipient_id"]
        is_last = pl.col("occurred_at") == pl.col("occurred_at").max().over(who)
        in_force = (is_last & (pl.col("action") == 1)).fill_null(False)
        return rows.with_columns((self._before("subscription", pl.col("occurred_at")) & ~in_force).alias(GOES))

    def _exclusions(self, rows: pl.LazyFrame) -> pl.LazyFrame:
        """Exclusions have no instant: they go by the date of their delivery."""
        dated = rows.join(self._dates(), on="delivery_id", how="left", maintain_order="left")
        return dated.with_columns(self._before("exclusion", pl.col("date")).alias(GOES)).drop("date")

    def _quarantine(self, rows: pl.LazyFrame) -> pl.LazyFrame:
        """Refused lines have no instant that could be read: they go by the last load of their file."""
        dated = rows.join(self.files.lazy(), on="source_file", how="left", maintain_order="left")
        return dated.with_columns(self._before("quarantine", pl.col("loaded_at")).alias(GOES)).drop("loaded_at")

    def _of_deliveries(self, rows: pl.LazyFrame) -> pl.LazyFrame:
        """Deliveries of which nothing else is left, no kept count either; their links and contents go with them."""
        remaining = [self.marked(name).filter(~pl.col(GOES)).select("delivery_id") for name in (*EVENTS, "message")]
        remaining.append(self.tables.scan("kept_count").select("delivery_id"))
        old = self._dates().filter(self._before("delivery", pl.col("date"))).select("delivery_id")
        removed = old.join(pl.concat(remaining).unique(), on="delivery_id", how="anti").with_columns(
            pl.lit(True).alias(GOES)
        )
        return rows.join(removed.unique(), on="delivery_id", how="left", maintain_order="left")


class Person:
    """Rows of one recipient: by id, by address, and by message, whose hits are theirs whoever they name.

    Recipients with the same address, however it is written, are taken for the same person. Rows whose ids hold their
    address go too, and so do links that only they hit; in every other text of rows that stay their address is blanked.
    Anonymous hits that only share a browser stay. A hit without a delivery may be of any message with its
    id: it goes with theirs where it names nobody.
    """

    def __init__(self, tables: StoredTables, recipient: str | None, address: str | None) -> None:
        self.tables = tables
        self.ids = {recipient} if recipient else set()
        self.addresses = {plain_address(address)} - {""} if address else set()
        self._meet()
        self.messages = self._messages().collect()

    def marked(self, table: str, buckets: list[int] | None = None) -> pl.LazyFrame:
        """Return the rows of a table, all or of some buckets, with what becomes of each."""
        rows = self._going(table, self.tables.scan(table, buckets))
        if not self.addresses:
            return rows.with_columns(pl.lit(False).alias(ALTERED))
        columns = set(rows.collect_schema())
        kinds = {name: kind for name, kind in schema.TABLES[table].personal.items() if name in columns}
        ids = [name for name, kind in kinds.items() if kind in ("person", "id") and name not in _NAMES_OF_FILES]
        rows = rows.with_columns(pl.any_horizontal(GOES, *map(self.names, ids)).alias(GOES))
        texts = [name for name, kind in kinds.items() if kind in ("text", "url") or name in _NAMES_OF_FILES]
        blank = {f"blank {name}": self._blank(name) for name in texts}
        is_other = pl.any_horizontal(False, *(pl.col(name).ne_missing(pl.col(f"blank {name}")) for name in texts))
        altered = (is_other & ~pl.col(GOES)).alias(ALTERED)
        there = [pl.col(f"blank {name}").alias(name) for name in texts]
        return rows.with_columns(**blank).with_columns(altered).with_columns(there).drop(blank)

    def _going(self, table: str, rows: pl.LazyFrame) -> pl.LazyFrame:
        """Say which rows of a table are theirs by id, address or message."""
        if table in (*EVENTS, "message"):
            keys = self.messages.lazy().with_columns(pl.lit(True).alias(_OF_GONE))
            rows = rows.join(keys, on=MESSAGE_KEY, how="left", maintain_order="left")
            goes = self._is_theirs(table) | pl.col(_OF_GONE).fill_null(False)
            goes |= self._may_be_theirs() if table in EVENTS else False
            return rows.with_columns(goes.alias(GOES)).drop(_OF_GONE)
        if table in _BY_HITS:
            key = _BY_HITS[table]
            rows = rows.join(_orphaned(self, key), on=key, how="left", maintain_order="left")
            stays = pl.col(key).str.contains(_OF_A_TABLE) if table == "link" else pl.lit(False)
            return rows.with_columns((pl.col(GOES) & ~stays).fill_null(False).alias(GOES))
        if "recipient_id" in schema.TABLES[table].schema:
            return rows.with_columns(self._is_theirs(table).alias(GOES))
        return self._lines(rows) if table == "quarantine" else rows.with_columns(pl.lit(False).alias(GOES))

    def names(self, column: str) -> pl.Expr:
        """Whether the text of a column holds one of their addresses; only few texts are looked at closely."""
        if not self.addresses:
            return pl.lit(False)
        near = pl.when(pl.col(column).str.contains_any(self._forms, ascii_case_insensitive=True)).then(column)
        return near.str.contains(f"(?i){self._any_address()}").fill_null(False)

    def _blank(self, column: str) -> pl.Expr:
        """The text of a column without their addresses."""
        near = pl.when(pl.col(column).str.contains_any(self._forms, ascii_case_insensitive=True)).then(column)
        blank = near.str.replace_all(f"(?i){self._any_address()}", f"${{1}}{BLANK}${{2}}")
        return pl.coalesce(blank, column)

    def names_address(self, text: str) -> bool:
        """Whether a text holds one of their addresses."""
        return bool(self.addresses and re.search(self._any_address(), text, re.IGNORECASE))

    def names_id(self, text: str) -> bool:
        """Whether a text holds one of their ids, as a word."""
        return any(re.search(rf"(?<!\w){re.escape(one)}(?!\w)", text, re.IGNORECASE) for one in self.ids)

    def undated(self) -> int:
        """Return 0: whether a row has an instant does not matter here."""
        return 0

    def load_text(self, text: str) -> str:
        """Return a text of a load report without their addresses."""
        return re.sub(self._any_address(), rf"\1{BLANK}\2", text, flags=re.IGNORECASE) if self.addresses else text

    def _meet(self) -> None:
        """Find the addresses of the id, and the ids of the addresses."""
        asked = [
            self.tables.scan(name).filter(pl.col("recipient_id").is_in(list(self.ids))).select(_plain(column))
            for name, column in _ADDRESS_OF.items()
        ]
        self.addresses |= _values(asked)
        twins = self.tables.scan("recipient").filter(_plain("email").is_in(list(self.addresses)))
        self.ids |= _values([twins.select("recipient_id")])
        if not self.ids:  # no table of recipients knows the address
            named = [self.tables.scan(name).filter(self._is_theirs(name)).select("recipient_id") for name in _LOGS]
            self.ids |= _values(named)

    def _is_theirs(self, table: str) -> pl.Expr:
        column = _ADDRESS_OF.get(table)
        theirs = pl.col("recipient_id").is_in(list(self.ids))
        theirs = theirs if column is None else theirs.fill_null(False) | _plain(column).is_in(list(self.addresses))
        return theirs.fill_null(False)

    def _may_be_theirs(self) -> pl.Expr:
        """Hits that name one of their messages, but no delivery and nobody."""
        is_nobodys = pl.all_horizontal(pl.col("delivery_id", "recipient_id", "address").is_null())
        return is_nobodys & pl.col("message_id").is_in(self.messages["message_id"].implode()).fill_null(False)

    def _messages(self) -> pl.LazyFrame:
        """Their messages; one that only a hit calls theirs is, unless the log says it is somebody else's."""
        found = [self.tables.scan(name).filter(self._is_theirs(name)).select(MESSAGE_KEY) for name in _LOGS]
        log = self.tables.scan("message")
        others = log.filter(pl.col("recipient_id").is_not_null(), ~self._is_theirs("message")).select(MESSAGE_KEY)
        known = pl.concat(found).filter(pl.col("message_id").is_not_null()).unique()
        return known.join(others, on=MESSAGE_KEY, how="anti", nulls_equal=True)

    def _lines(self, rows: pl.LazyFrame) -> pl.LazyFrame:
        """Refused lines that name them by address or id, or, a raw log line, one of their messages."""
        words = [rf"(?:^|\W){re.escape(one)}(?:\W|$)" for one in self.ids]
        words += [self._any_address()] if self.addresses else []
        named = pl.col("text").str.contains(f"(?i){'|'.join(words)}")
        is_raw = pl.col("source") == "adobe_redirection_log"
        message, delivery = _hexadecimal(2), _hexadecimal(3).replace("0", None)
        of_message = message.is_in(self.messages["message_id"].implode()) & delivery.is_null()
        pairs = self.messages.select(pl.concat_str(MESSAGE_KEY, separator=",")).to_series()
        of_message |= pl.concat_str(delivery, message, separator=",").is_in(pairs.implode()).fill_null(False)
        goes = named.fill_null(False) | (is_raw & of_message).fill_null(False)
        return rows.with_columns(goes.alias(GOES))

    @cached_property
    def _forms(self) -> list[str]:
        """How their addresses may be written in a text: plain, in a URL, in HTML or JSON, in Base64, as a hash."""
        return sorted({form for one in self.addresses for form in _forms_of(one)}, key=len, reverse=True)

    def _any_address(self) -> str:
        """A pattern of one of their addresses, written plain or in a URL, with what stands around it as two groups."""
        after = rf"($|[^\w.-]|\.(?:$|\W|{_ENDING}))"
        return rf"(^|%[0-9a-f]{{2}}|[^\w.+%-])(?:{'|'.join(map(re.escape, self._forms))}){after}"


_LOGS = ("message", *EVENTS)
_ENDING = r"(?:csv|tsv|txt|jsonl?|ndjson|log|gz|zst|xml|html?|parquet)(?:$|\W)"  # of a file's name, and no domain's
_NAMES_OF_FILES = ("source_file",)  # a file holds rows of many
_BY_HITS = {"web_event": "event_id", "link": "link_id"}  # rows that are there because of hits
# Links that a table lists, by the platform's own ids: they are there without any hit, and those to come need them.
_OF_A_TABLE = r"^(?:\d+|[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})$"


def _forms_of(address: str) -> set[str]:
    coded, plain = quote(address, safe=""), base64.b64encode(address.encode())
    at = {address.replace("@", sign) for sign in ("%40", "%2540", "&#64;", "&commat;", "\\u0040")}
    hashes = {hashlib.new(name, address.encode()).hexdigest() for name in ("md5", "sha1", "sha256", "sha512")}
    kept = {text.decode().rstrip("=") for text in (plain, base64.urlsafe_b64encode(address.encode()))}
    return {address, *at, coded, quote(coded, safe=""), quote(address, safe="@+"), *kept, *hashes}


def _unmarked(rows: pl.LazyFrame) -> pl.LazyFrame:
    return rows.with_columns(pl.lit(False).alias(GOES), pl.lit(False).alias(ALTERED))


def _orphaned(rule: Old | Person, key: str = "event_id") -> pl.LazyFrame:
    """The log ids, or the links, whose last hit goes: (key, goes)."""
    hits = pl.concat([rule.marked(name).select(key, GOES) for name in EVENTS])
    removed = hits.filter(GOES, pl.col(key).is_not_null()).select(key).unique()
    remaining = hits.filter(~pl.col(GOES)).join(removed, on=key, how="semi")
    return removed.join(remaining, on=key, how="anti").with_columns(pl.lit(True).alias(GOES))


def _hexadecimal(place: int) -> pl.Expr:
    """A number of a refused line of a raw log, as text; null where it cannot be read."""
    cell = pl.col("text").str.split("\t").list.get(place, null_on_oob=True)
    return cell.str.to_integer(base=16, dtype=pl.UInt64, strict=False).cast(pl.String)


def _plain(column: str) -> pl.Expr:
    return bare(pl.col(column))


def _values(frames: Iterable[pl.LazyFrame]) -> set[str]:
    """The distinct known values of frames of one column."""
    columns = pl.collect_all([frame.unique() for frame in frames])
    return {value for frame in columns for value in frame.to_series().drop_nulls() if value}
