"""What the cells of a record mean: text columns named by their paths become canonical events, whole batches at a time.

The one place where a map (`feed`) is applied, for records, tables and log lines alike. A row that cannot be what the
map says gets a reason in `refused`; a word that the map does not know makes the type "unknown".
"""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property, reduce

import polars as pl

from trackkit import schema
from trackkit.errors import RequestError, did_you_mean
from trackkit.sources import values
from trackkit.sources.dates import AMBIGUOUS, DAY_FIRST, MONTH_FIRST, is_ambiguous, require_dates
from trackkit.sources.feeds.feed import Condition, Feed, Reading
from trackkit.sources.feeds.json_paths import alternatives, cell
from trackkit.sources.hiding import kinds_of
from trackkit.sources.values import Clock

DEDUPES = ("exact", "loose", "none")
_IDS = ("delivery_id", "message_id", "recipient_id", "vendor_id")
_FLAGS, _COUNTS = ("is_machine", "is_first"), ("link_position",)
_TYPED: dict[str, Callable[[pl.Expr], pl.Expr]] = {
    **dict.fromkeys(_FLAGS, values.flag),
    **dict.fromkeys(_COUNTS, values.whole),
    "address": values.address,
    "recipient_id": values.person_key,
}
_EXPECTED = {  # what the text of a column must be, in words
    "occurred_at": "an instant that exists",
    **dict.fromkeys(_FLAGS, "true or false"),
    **dict.fromkeys(_COUNTS, "a whole number"),
}
_KEY = ("source", "reported_type", "raw_event_type", "message_id", "own_delivery", "recipient_key", "at", "apart")
_LINK_CODES = {name: code for code, name in schema.LINK_TYPES.items() if name in ("clicked", "unsubscribed")}
_ORDERS = (DAY_FIRST, MONTH_FIRST)
_NOTHING = "nothing"
_MOST_TELLING = (*schema.PERSONAL, _NOTHING)
# Of other tables than `event`.
TOLD = ("link.url", "link.label", "delivery.label", "delivery.subject", "delivery.campaign_id", "campaign.label")


@dataclass(frozen=True)
class FeedOptions:
    """What a caller may choose: which copies count once, what names the delivery where the map does not, and how dates
    are written that are not ISO."""

    dedupe: str = "exact"
    delivery_field: str | None = None
    dates: str | None = None

    def __post_init__(self) -> None:
        if self.dedupe not in DEDUPES:
            raise RequestError(f"Copies are told by {self.dedupe!r}?{did_you_mean(self.dedupe, DEDUPES)}")
        alternatives(self.delivery_field or "=")
        require_dates(self.dates)


@dataclass(frozen=True)
class EventMapper:
    """Maps cells to rows, by a feed's map, the clock of its instants, and the caller's options."""

    feed: Feed
    clock: Clock
    options: FeedOptions

    @cached_property
    def paths(self) -> list[str]:
        """All paths that rows are made from, without constants."""
        delivery_paths = alternatives(self.options.delivery_field) if self.options.delivery_field else []
        paths = [path for path in (*self.feed.used(), *delivery_paths) if not path.startswith("=")]
        return list(dict.fromkeys(paths))

    @property
    def order(self) -> str | None:
        """The form of dates that are not ISO: the caller's, else the map's if it names an order."""
        return self.options.dates or next((form for form in self._forms if form in _ORDERS), None)

    @property
    def _forms(self) -> list[str]:
        """The forms of instants that the map declares."""
        occurred_at = self.feed.columns.occurred_at
        return occurred_at.written if occurred_at else []

    @cached_property
    def readings(self) -> dict[str, Reading]:
        """The columns that the map reads, tags aside."""
        return {name: reading for name, reading in self.feed.readings().items() if name != "tags"}

    def kinds(self) -> dict[str, str]:
        """The kind of personal data in each cell (schema.PERSONAL); of a shared cell, the most revealing kind.

        Cells of instants or counts are left out. The identity of a line is a hash of all of it.
        """
        kinds_by_path: dict[str, list[str]] = {}
        for name, reading in self.readings.items():
            table, column = name.split(".") if "." in name else ("event", name)
            for path in reading.values():
                kinds_by_path.setdefault(path, []).append(kinds_of(table).get(column, _NOTHING))
        for path in alternatives(self.options.delivery_field) if self.options.delivery_field else []:
            kinds_by_path.setdefault(path, []).append("id")
        kind_by_path = {path: min(kinds, key=_MOST_TELLING.index) for path, kinds in kinds_by_path.items()}
        kinds = {path: kind_by_path.get(path, "text") for path in self.paths}
        cells = {cell(path): kind for path, kind in kinds.items() if kind != _NOTHING}
        return {**cells, "tags": "text", "attributes": "text", "event_id": "hash", "source_file": "id"}

    def rows(self, cells: pl.LazyFrame) -> pl.LazyFrame:
        """Return one row per row of cells: the columns of `event` and of other tables (`TOLD`), and tallies.

        In: a text column per path, `source_row`, `tags`, `attributes`, and `event_id` if the source makes one.
        Out: also `refused` (the reason, or null), `is_ping`, `local`, `oddity`, `exact` and `loose`.
        """
        words = pl.concat_str(map(self._text, self.feed.word), separator=":", ignore_nulls=True)
        rows = cells.with_columns(**{f"{name} text": self._text(reading) for name, reading in self.readings.items()})
        rows = rows.with_columns(raw_event_type=pl.when(words != "").then(words))
        rows = self._dated(rows).with_columns(**self._classified(), **self._typed())
        rows = rows.with_columns(**self._identities()).with_columns(**self._links())
        if "event_id" not in cells.collect_schema():
            rows = rows.with_columns(event_id=self._event_id())
        exact, loose = pl.struct(*_KEY, "vendor_id").hash(), pl.struct(*_KEY).hash()
        rows = rows.with_columns(refused=self._fault(), exact=exact, loose=loose)
        # A hit counts its message as opened; an event of unknown type need not be a hit.
        is_known = pl.col("reported_type").ne_missing("unknown")
        return rows.with_columns(message_id=pl.when(is_known).then("message_id"))

    def _text(self, reading: Reading) -> pl.Expr:
        text = _first(reading.of, reading.nothing)
        if reading.until:
            text = text.str.splitn(reading.until, 2).struct.field("field_0")
        if reading.without:
            text = text.str.strip_chars(reading.without)
        if reading.hexadecimal:
            value = values.hexadecimal(text)
            text = pl.when(value != 0).then(value).cast(pl.String)
        if reading.words:
            text = pl.coalesce(values.named(text, reading.words), text)
        text = pl.when(text != "").then(text)
        if reading.joined:
            text = pl.concat_str(text, *map(_first, reading.joined), separator=":")
        if reading.when:
            text = pl.when(_holds(reading.when)).then(text)
        if reading.unless:
            text = pl.when(~_any(map(_holds, reading.unless))).then(text)
        return pl.lit(reading.prefix) + text if reading.prefix else text

    def _dated(self, rows: pl.LazyFrame) -> pl.LazyFrame:
        if "occurred_at" not in self.readings:
            undated = pl.lit(None, schema.INSTANT)
            return rows.with_columns(occurred_at=undated, local=False, oddity=pl.lit(None, pl.Int8))
        rows = rows.with_columns(since=values.epoch(pl.col("occurred_at text")))
        text = pl.when(pl.col("since").is_null()).then("occurred_at text").str.replace(r"([.,][0-9]{6})[0-9]+", "$1")
        local, offset = pl.col("written"), pl.col("written offset")
        orders = {"written": self.order} if self.order else {}
        rows = values.with_instants(rows.with_columns(text.alias("date text")), {"written": "date text"}, orders)
        declared = [
            pl.col("date text").str.to_datetime(form, time_unit="us", strict=False)
            for form in self._forms
            if form not in (*_ORDERS, self.order)
        ]
        local = pl.coalesce(local, *declared) if self.order else pl.coalesce(*declared, local)
        exact = (local - pl.duration(minutes=offset)).dt.replace_time_zone("UTC")
        is_local = offset.is_null() & local.is_not_null()
        at = pl.when(is_local).then(self.clock.to_utc(local)).otherwise(exact)
        oddity = pl.when(is_local).then(self.clock.oddity(local))
        return rows.with_columns(occurred_at=pl.coalesce("since", at), local=is_local, oddity=oddity)

    def _classified(self) -> dict[str, pl.Expr]:
        """The values that rules and words assign: the first match wins, rules before words."""
        by_column: dict[str, list[pl.Expr]] = {}
        for rule in self.feed.rule:
            for name, value in rule.assigned().items():
                by_column.setdefault(name, []).append(pl.when(_holds(rule.when)).then(pl.lit(value)))
        raw = pl.col("raw_event_type")
        words = [pl.when(_is(raw, word)).then(pl.lit(kind)) for word, kind in self.feed.words.items()]
        kind = pl.coalesce([*by_column.pop("event_type", []), *words, pl.lit("unknown")])
        kind = pl.when(kind != "by_link").then(kind) if "by_link" in self.feed.words.values() else kind
        classes = pl.coalesce(by_column.pop("bounce_class", [pl.lit(None, pl.String)]))
        return {
            "reported_type": kind.cast(schema.EVENT.schema["reported_type"]),
            "bounce_class": pl.when(kind == "bounced").then(classes).cast(schema.EVENT.schema["bounce_class"]),
            **{f"ruled {name}": pl.coalesce(expressions) for name, expressions in by_column.items()},
        }

    def _typed(self) -> dict[str, pl.Expr]:
        texts = {name: pl.col(f"{name} text") for name in self.readings if name != "occurred_at"}
        return {name: _TYPED[name](text) if name in _TYPED else text for name, text in texts.items()}

    def _identities(self) -> dict[str, pl.Expr]:
        key = self._have("address")
        message = self._have("message_id")
        reading = self.feed.columns.message_id
        if reading and reading.with_address:
            is_shared = _first(reading.with_address).is_not_null() & key.is_not_null() & message.is_not_null()
            message = pl.when(is_shared).then(pl.concat_str(message, key, separator=":")).otherwise(message)
        given_delivery = _first(self.options.delivery_field) if self.options.delivery_field else pl.lit(None, pl.String)
        decided = {name: self._decided(name) for name in ("is_machine", "machine_reason", "is_first")}
        return {
            "message_id": message,
            "recipient_key": key,
            "own_delivery": self._have("delivery_id"),
            "delivery_id": pl.coalesce(self._have("delivery_id"), given_delivery),
            "vendor_id": self._have("vendor_id"),
            "link.url": self._have("link.url"),
            "source": pl.lit(self.feed.name),
            "at": pl.col("occurred_at").dt.epoch("us"),
            "is_ping": self._ping(),
            "is_skipped": _any(map(_holds, self.feed.skip)),
            **decided,
        }

    def _decided(self, name: str) -> pl.Expr:
        """A column by rule, else from the record itself."""
        has_rule = any(name in rule.assigned() for rule in self.feed.rule)
        return pl.coalesce(f"ruled {name}", self._have(name)) if has_rule else self._have(name)

    def _have(self, name: str) -> pl.Expr:
        dtype = pl.Boolean() if name in _FLAGS else pl.String()
        return pl.col(name) if name in self.readings else pl.lit(None, dtype)

    def _links(self) -> dict[str, pl.Expr]:
        url = pl.col("link.url")
        derived = pl.concat_str(pl.col("delivery_id").fill_null(""), values.digest("link.url"), separator=":")
        link_id = pl.coalesce(self._have("link_id"), pl.when(url.is_not_null()).then(derived))
        type_code = values.named(pl.col("reported_type").cast(pl.String), _LINK_CODES)
        ids = [_first(path) for path in self.feed.extension.by] if self.feed.extension else []
        return {
            # Further columns may come later; if they are joined by an id, it distinguishes events, not the URL.
            "apart": pl.coalesce([*ids, url]),
            "link_id": link_id,
            "link.label": pl.coalesce(self._have("link.label"), url),
            "link.type_code": pl.when(url.is_not_null()).then(type_code),
        }

    def _event_id(self) -> pl.Expr:
        extra_columns = {"exact": ["vendor_id"], "loose": [], "none": ["vendor_id", "source_file", "source_row"]}
        return pl.lit("sha256:") + values.digest(*_KEY, *extra_columns[self.options.dedupe])

    def _ping(self) -> pl.Expr:
        is_declared = _holds(self.feed.ping) if self.feed.ping else pl.lit(False)
        return pl.col("raw_event_type").is_null() & (is_declared | pl.col("is_empty"))

    def _fault(self) -> pl.Expr:
        """Why a row is refused, by its first fault; null for a valid row or one that is no event."""
        word = pl.lit(f"no {self._word_paths()}: no record of {self.feed.name}")
        faults: list[pl.Expr] = [pl.when(pl.col("raw_event_type").is_null()).then(word)]
        faults += [self._mistyped(name, expected) for name, expected in _EXPECTED.items() if name in self.readings]
        for name in (name for name in _IDS if name in self.readings):
            text = pl.col(f"{name} text")
            faults.append(pl.when(values.has_rounded_id(text)).then(_quoted(text, f"' of {name} is {values.ROUNDED}")))
        names = [name for name in values.NAMES if name in (*self.readings, "delivery_id")]
        faults += [values.no_name(name, pl.col(name)) for name in names]
        return pl.when(~pl.col("is_ping"), ~pl.col("is_skipped")).then(pl.coalesce(faults))

    def _mistyped(self, name: str, expected: str) -> pl.Expr:
        text, fault = pl.col(f"{name} text"), pl.lit(f"' of {name} is not {expected}")
        if name == "occurred_at" and not self.order:
            fault = pl.when(is_ambiguous(text)).then(pl.lit(f"' of {name} is {AMBIGUOUS}")).otherwise(fault)
        return pl.when(text.is_not_null() & pl.col(name).is_null()).then(_quoted(text, fault))

    def _word_paths(self) -> str:
        return " or ".join(part.of for part in self.feed.word if not part.of.startswith("="))


def _quoted(text: pl.Expr, fault: pl.Expr | str) -> pl.Expr:
    return pl.concat_str(pl.lit("'"), text.str.head(100), pl.lit(fault) if isinstance(fault, str) else fault)


def _first(written: str, nothing: Sequence[str] = ()) -> pl.Expr:
    """The first of several paths that has a value."""
    columns = [pl.lit(path[1:]) if path.startswith("=") else pl.col(cell(path)) for path in alternatives(written)]
    if nothing:
        return pl.coalesce([pl.when(~column.is_in(nothing)).then(column) for column in columns])
    return pl.coalesce(columns)


def _holds(when: Condition) -> pl.Expr:
    return pl.all_horizontal([_meets(paths, expected) for paths, expected in when.items()])


def _meets(written: str, expected: str | list[str] | bool) -> pl.Expr:
    """Whether the value of a path is what a condition wants: a text (`*` stands for anything), one of several, or any.

    True wants some value, False none; null in a row never meets a text.
    """
    text = _first(written)
    if isinstance(expected, bool):
        return text.is_not_null() if expected else text.is_null()
    return _any(_is(text, word) for word in ([expected] if isinstance(expected, str) else expected))


def _any(conditions: Iterable[pl.Expr]) -> pl.Expr:
    return reduce(lambda one, other: one | other, conditions, pl.lit(False))


def _is(text: pl.Expr, word: str) -> pl.Expr:
    if "*" not in word:
        return (text == word).fill_null(False)
    pattern = ".*".join(re.escape(part) for part in word.split("*"))
    return text.str.contains(f"(?s)^(?:{pattern})$").fill_null(False)
