"""What the cells of a record mean: text columns named by their paths become canonical events, whole batches at a time.

The one place where a map (`feed`) is applied, for records, tables and log lines alike. A row that cannot be what the
map says gets a reason in `refused`; a word that the map does not know makes the type "unknown".
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property, reduce
from typing import Any

import polars as pl

from trackkit import schema
from trackkit.errors import RequestError, did_you_mean
from trackkit.sources import values
from trackkit.sources.dates import DAY_FIRST, MONTH_FIRST, OTHERWISE, is_otherwise, require_dates
from trackkit.sources.feeds.feed import Condition, Feed, Reading
from trackkit.sources.feeds.paths import alternatives, cell
from trackkit.sources.hiding import kinds_of
from trackkit.sources.values import Clock

DEDUPES = ("exact", "loose", "none")
_IDS = ("delivery_id", "message_id", "recipient_id", "vendor_id")
_FLAGS, _COUNTS = ("is_machine", "is_first"), ("link_position",)
_KEY = ("source", "reported_type", "raw_event_type", "message_id", "own_delivery", "recipient_key", "at", "apart")
_LINK_CODES = {name: code for code, name in schema.LINK_TYPES.items() if name in ("clicked", "unsubscribed")}
_NOTHING = "nothing"
_MOST_TELLING = (*schema.PERSONAL, _NOTHING)
TOLD = ("link.url", "link.label", "delivery.label", "delivery.subject")  # of other tables than `event`


@dataclass(frozen=True)
class Wishes:
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
class Mapping:
    """A map, the clock of its instants, and the caller's wishes: cells in, rows out."""

    feed: Feed
    clock: Clock
    wishes: Wishes

    @cached_property
    def paths(self) -> list[str]:
        """Every single path whose text the rows are made of, constants left out."""
        asked = alternatives(self.wishes.delivery_field) if self.wishes.delivery_field else []
        known = [one for one in (*self.feed.used(), *asked) if not one.startswith("=")]
        return list(dict.fromkeys(known))

    @property
    def order(self) -> str | None:
        """How dates are written that are not ISO: as the caller says, or else the map, where it names an order."""
        declared = [one for one in self._written if one in (DAY_FIRST, MONTH_FIRST)]
        return self.wishes.dates or next(iter(declared), None)

    @property
    def _written(self) -> list[str]:
        """The forms of instants that the map declares."""
        one = self.readings.get("occurred_at")
        given = one.written if one else []
        return [given] if isinstance(given, str) else given

    @cached_property
    def readings(self) -> dict[str, Reading]:
        """The columns that the map reads, tags aside."""
        return {name: one for name, one in self.feed.readings().items() if name != "tags"}

    def kinds(self) -> dict[str, str]:
        """What each cell may hold of a person (schema.PERSONAL): a cell that columns share, the most telling of theirs.

        A cell that only says when, or how many, is left out. The identity of a line is a hash of all of it.
        """
        told: dict[str, list[str]] = {}
        for name, one in self.readings.items():
            table, column = name.split(".") if "." in name else ("event", name)
            for single in one.values():
                told.setdefault(single, []).append(kinds_of(table).get(column, _NOTHING))
        for single in alternatives(self.wishes.delivery_field) if self.wishes.delivery_field else []:
            told.setdefault(single, []).append("id")
        most = {single: min(kinds, key=_MOST_TELLING.index) for single, kinds in told.items()}
        kinds = {single: most.get(single, "text") for single in self.paths}
        cells = {cell(single): kind for single, kind in kinds.items() if kind != _NOTHING}
        return {**cells, "tags": "text", "attributes": "text", "event_id": "hash", "source_file": "id"}

    def rows(self, cells: pl.LazyFrame) -> pl.LazyFrame:
        """Return one row per row of cells: the columns of `event`, what is told of other tables, and the account.

        In: a text column per path, `source_row`, `tags`, `attributes`, `event_id` where the source itself makes one.
        Out: besides, `refused` (the reason, or null), `is_ping`, `local`, `oddity`, `exact` and `loose`.
        """
        words = pl.concat_str([self._text(part) for part in self.feed.word_parts], separator=":", ignore_nulls=True)
        read = cells.with_columns(**{f"{name} text": self._text(one) for name, one in self.readings.items()})
        read = read.with_columns(raw_event_type=pl.when(words != "").then(words))
        read = self._dated(read).with_columns(**self._said(), **self._typed())
        read = read.with_columns(**self._identities()).with_columns(**self._links())
        if "event_id" not in cells.collect_schema():
            read = read.with_columns(event_id=self._event_id())
        read = read.with_columns(
            refused=self._fault(), exact=pl.struct(*_KEY, "vendor_id").hash(), loose=pl.struct(*_KEY).hash()
        )  # fmt: skip
        # A hit counts its message as opened, and what no map knows need not be one.
        is_known = pl.col("reported_type").ne_missing("unknown")
        return read.with_columns(message_id=pl.when(is_known).then("message_id"))

    def _text(self, one: Reading) -> pl.Expr:
        text = _first(one.of, one.nothing)
        if one.until:
            text = text.str.splitn(one.until, 2).struct.field("field_0")
        if one.without:
            text = text.str.strip_chars(one.without)
        if one.hexadecimal:
            value = values.hexadecimal(text)
            text = pl.when(value != 0).then(value).cast(pl.String)
        if one.words:
            text = pl.coalesce(values.named(text, one.words), text)
        text = pl.when(text != "").then(text)
        if one.joined:
            further = [one.joined] if isinstance(one.joined, str) else one.joined
            text = pl.concat_str(text, *map(_first, further), separator=":")
        if one.when:
            text = pl.when(_holds(one.when)).then(text)
        if one.unless:
            text = pl.when(~_any(map(_holds, one.unless))).then(text)
        return pl.lit(one.prefix) + text if one.prefix else text

    def _dated(self, rows: pl.LazyFrame) -> pl.LazyFrame:
        if "occurred_at" not in self.readings:
            return rows.with_columns(
                occurred_at=pl.lit(None, schema.INSTANT), local=False, oddity=pl.lit(None, pl.Int8)
            )
        rows = rows.with_columns(since=values.epoch(pl.col("occurred_at text")))
        rest = pl.when(pl.col("since").is_null()).then("occurred_at text").str.replace(r"([.,][0-9]{6})[0-9]+", "$1")
        local, offset = pl.col("written"), pl.col("written offset")
        orders = {"written": self.order} if self.order else {}
        rows = values.with_instants(rows.with_columns(rest=rest), {"written": "rest"}, orders)
        declared = [
            pl.col("rest").str.to_datetime(form, time_unit="us", strict=False)
            for form in self._written
            if form not in (DAY_FIRST, MONTH_FIRST, self.order)
        ]
        local = pl.coalesce(local, *declared) if self.order else pl.coalesce(*declared, local)
        exact = (local - pl.duration(minutes=offset)).dt.replace_time_zone("UTC")
        is_local = offset.is_null() & local.is_not_null()
        return rows.with_columns(
            occurred_at=pl.coalesce("since", pl.when(is_local).then(self.clock.to_utc(local)).otherwise(exact)),
            local=is_local, oddity=pl.when(is_local).then(self.clock.oddity(local)),
        )  # fmt: skip

    def _said(self) -> dict[str, pl.Expr]:
        """What rules and words say; the first that holds wins, and rules come before words."""
        said: dict[str, list[pl.Expr]] = {}
        for rule in self.feed.rule:
            for name, value in rule.said().items():
                said.setdefault(name, []).append(pl.when(_holds(rule.when)).then(pl.lit(value)))
        raw = pl.col("raw_event_type")
        words = [pl.when(_is(raw, word)).then(pl.lit(kind)) for word, kind in self.feed.words.items()]
        kind = pl.coalesce([*said.pop("event_type", []), *words, pl.lit("unknown")])
        kind = pl.when(kind != "by_link").then(kind) if "by_link" in self.feed.words.values() else kind
        classes = pl.coalesce(said.pop("bounce_class", [pl.lit(None, pl.String)]))
        return {
            "reported_type": kind.cast(schema.EVENT.schema["reported_type"]),
            "bounce_class": pl.when(kind == "bounced").then(classes).cast(schema.EVENT.schema["bounce_class"]),
            **{f"said {name}": pl.coalesce(some) for name, some in said.items()},
        }

    def _typed(self) -> dict[str, pl.Expr]:
        made = {"flag": values.flag, "count": values.whole}
        kinds = dict.fromkeys(_FLAGS, "flag") | dict.fromkeys(_COUNTS, "count")
        special = {"occurred_at"}
        made |= {"address": values.address, "recipient_id": values.person_key}
        kinds |= {"address": "address", "recipient_id": "recipient_id"}
        return {
            name: made[kinds[name]](pl.col(f"{name} text")) if name in kinds else pl.col(f"{name} text")
            for name in self.readings if name not in special
        }  # fmt: skip

    def _identities(self) -> dict[str, pl.Expr]:
        key = self._have("address")
        message = self._have("message_id")
        one = self.readings.get("message_id")
        if one and one.with_address:
            is_shared = _first(one.with_address).is_not_null() & key.is_not_null() & message.is_not_null()
            message = pl.when(is_shared).then(pl.concat_str(message, key, separator=":")).otherwise(message)
        asked = _first(self.wishes.delivery_field) if self.wishes.delivery_field else pl.lit(None, pl.String)
        said = {name: self._decided(name) for name in ("is_machine", "machine_reason", "is_first")}
        return {
            "message_id": message, "recipient_key": key, "own_delivery": self._have("delivery_id"),
            "delivery_id": pl.coalesce(self._have("delivery_id"), asked), "vendor_id": self._have("vendor_id"),
            "link.url": self._have("link.url"), "source": pl.lit(self.feed.name),
            "at": pl.col("occurred_at").dt.epoch("us"), "is_ping": self._ping(), "is_skipped": self._skipped(), **said,
        }  # fmt: skip

    def _decided(self, name: str) -> pl.Expr:
        """What a rule says of a column, else what the record says itself."""
        is_said = any(name in rule.said() for rule in self.feed.rule)
        return pl.coalesce(f"said {name}", self._have(name)) if is_said else self._have(name)

    def _have(self, name: str) -> pl.Expr:
        dtype = pl.Boolean() if name in _FLAGS else pl.String()
        return pl.col(name) if name in self.readings else pl.lit(None, dtype)

    def _links(self) -> dict[str, pl.Expr]:
        url = pl.col("link.url")
        derived = pl.concat_str(pl.col("delivery_id").fill_null(""), values.digest("link.url"), separator=":")
        given = [pl.col("link_id")] if "link_id" in self.readings else []
        ids = [_first(one) for one in self.feed.extension.by] if self.feed.extension else []
        return {
            # Further columns may come later: where they are found by an id, that tells events apart, and not their URL.
            "apart": pl.coalesce([*ids, url]),
            "link_id": pl.coalesce([*given, pl.when(url.is_not_null()).then(derived)]),
            "link.label": pl.coalesce(self._have("link.label"), url),
            "link.type_code": pl.when(url.is_not_null()).then(
                values.named(pl.col("reported_type").cast(pl.String), _LINK_CODES)
            ),
        }

    def _event_id(self) -> pl.Expr:
        further = {"exact": ["vendor_id"], "loose": [], "none": ["vendor_id", "source_file", "source_row"]}
        return pl.lit("sha256:") + values.digest(*_KEY, *further[self.wishes.dedupe])

    def _ping(self) -> pl.Expr:
        asked = _holds(self.feed.ping) if self.feed.ping else pl.lit(False)
        return pl.col("raw_event_type").is_null() & (asked | pl.col("is_empty"))

    def _skipped(self) -> pl.Expr:
        return _any(_holds(one) for one in self.feed.skip)

    def _fault(self) -> pl.Expr:
        reasons = [pl.when(pl.col("raw_event_type").is_null()).then(
            pl.lit(f"no {self._word_paths()}: no record of {self.feed.name}"))]  # fmt: skip
        wrong = {"occurred_at": "an instant that exists", **dict.fromkeys(_FLAGS, "true or false"),
                 **dict.fromkeys(_COUNTS, "a whole number")}  # fmt: skip
        for name in (name for name in wrong if name in self.readings):
            text = pl.col(f"{name} text")
            value = pl.col("occurred_at") if name == "occurred_at" else pl.col(name)
            what = pl.lit(f"' of {name} is not {wrong[name]}")
            if name == "occurred_at" and not self.order:
                what = pl.when(is_otherwise(text)).then(pl.lit(f"' of {name} is {OTHERWISE}")).otherwise(what)
            what = pl.concat_str(pl.lit("'"), text.str.head(100), what)
            reasons.append(pl.when(text.is_not_null() & value.is_null()).then(what))
        for name in (name for name in _IDS if name in self.readings):
            text = pl.col(f"{name} text")
            what = pl.concat_str(pl.lit("'"), text.str.head(100), pl.lit(f"' of {name} is {values.ROUNDED}"))
            reasons.append(pl.when(values.has_rounded_id(text)).then(what))
        names = [name for name in values.NAMES if name in (*self.readings, "delivery_id")]
        reasons += [values.no_name(name, pl.col(name)) for name in names]
        return pl.when(~pl.col("is_ping"), ~pl.col("is_skipped")).then(pl.coalesce(reasons))

    def _word_paths(self) -> str:
        return " or ".join(part.of for part in self.feed.word_parts if not part.of.startswith("="))


def _first(written: str, nothing: Sequence[str] = ()) -> pl.Expr:
    """The first of several paths that has a value."""
    singles = [pl.lit(one[1:]) if one.startswith("=") else pl.col(cell(one)) for one in alternatives(written)]
    return pl.coalesce([pl.when(~one.is_in(nothing)).then(one) for one in singles] if nothing else singles)


def _holds(when: Condition) -> pl.Expr:
    return pl.all_horizontal([meets(paths, wanted) for paths, wanted in when.items()])


def meets(written: str, wanted: Any) -> pl.Expr:
    """Whether the value of a path is what a condition wants: a text (`*` stands for anything), one of several, or any.

    True wants some value, False none; null in a row never meets a text.
    """
    text = _first(written)
    if isinstance(wanted, bool):
        return text.is_not_null() if wanted else text.is_null()
    return _any(_is(text, one) for one in ([wanted] if isinstance(wanted, str) else wanted))


def _any(conditions: Iterable[pl.Expr]) -> pl.Expr:
    return reduce(lambda one, other: one | other, conditions, pl.lit(False))


def _is(text: pl.Expr, wanted: str) -> pl.Expr:
    if "*" not in wanted:
        return (text == wanted).fill_null(False)
    pattern = ".*".join(re.escape(part) for part in wanted.split("*"))
    return text.str.contains(f"(?s)^(?:{pattern})$").fill_null(False)
