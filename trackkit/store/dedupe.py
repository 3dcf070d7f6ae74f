"""One thing that happened counts once: copies of an event merge, repeated opens are set aside.

Events settle in any order, and settling settled rows again, with or without new ones, gives what settling everything
at once gives: so a store settles only the deliveries that a load touches.
"""

from typing import NamedTuple

import numpy as np
import polars as pl

from trackkit import schema
from trackkit.store.layout import by_column

IS_NEW = "is_new"  # the row came with this load; rows without the column are all new
FILE = "file"  # number of the file, in its load, that is about the row; null: gleaned elsewhere, or there before
FILLED = "filled"  # which values of a row are not its own: bit i of an event from an export's copy, of FILLABLE[i]
FILLABLE = ("message_id", "occurred_at", "recipient_id", "person_id", "link_id", "reported_type", "raw_event_type",
            "message_format", "user_agent", "ip")  # fmt: skip
FROM_MESSAGE = 1 << 30  # bit of FILLED: the recipient is the message's, and enrichment will take it again
_GROUP = ["delivery_id", "event_id"]
_KEY = [*_GROUP, "log_server"]
_MESSAGE = list(schema.MESSAGE.key)
_WHOSE = [*_MESSAGE, "person_id"]
_TIME = ["occurred_at", "event_id", "log_server"]
_PLACE = ["source_file", "source_row", "source", FILE]  # where a row was read stays together


class Settled(NamedTuple):
    """Events that count, repeated opens set aside, and how many rows were copies of another."""

    kept: pl.DataFrame
    collapsed: pl.DataFrame
    duplicates: int


def settle_events(events: pl.DataFrame) -> Settled:
    """Merge copies and set repeated opens aside; any order or repetition of the rows gives the same result.

    In: rows of `event` (sourced columns; `event_type` where enriched, else `reported_type`, says what is an open).
    Out: one row per log id and server of a delivery, with `is_new` and `filled`; rules: `merge_copies`,
    `set_repeats_aside`.

    >>> from trackkit import schema
    >>> row = {"delivery_id": "7", "event_id": "1", "log_server": "50", "message_id": "a", "reported_type": "opened"}
    >>> settled = settle_events(pl.DataFrame([row, row], schema=schema.EVENT.sourced))
    >>> settled.kept.height, settled.duplicates
    (1, 1)
    """
    unique = merge_copies(events)
    duplicates = events.height - unique.height
    return Settled(*set_repeats_aside(unique), duplicates)


def merge_copies(events: pl.DataFrame) -> pl.DataFrame:
    """Return one row per log id and server within a delivery; `is_new` holds where no copy was there before.

    A row without delivery belongs to the one that its log id has elsewhere, if that is one. Copies that differ (a
    damaged line) give the smallest value of each column. A row of a table export has no server: it is a copy of the raw
    row with its log id, fills the nulls of that row, and its smaller `collapse_seconds` holds. Where two servers used
    that log id, it cannot say which it means and fills neither. Rows without log id are copies of nothing.
    """
    rows = events
    for name, default in ((IS_NEW, pl.lit(True)), (FILLED, pl.lit(0, pl.Int32))):
        rows = rows.with_columns((pl.col(name).fill_null(default) if name in rows.columns else default).alias(name))
    if rows["delivery_id"].null_count():
        least, largest = (pl.col("delivery_id").min(), pl.col("delivery_id").max())
        elsewhere = pl.when(_has_id() & (least == largest).over("event_id")).then(least.over("event_id"))
        rows = rows.with_columns(delivery_id=pl.coalesce("delivery_id", elsewhere))
    if not rows.select((_has_id() & pl.col("event_id").hash().is_duplicated()).any()).item():  # seen at once
        return rows
    is_copied = _has_id() & (pl.len().over(_GROUP) > 1)
    single, copied = rows.filter(~is_copied), rows.filter(is_copied)
    return pl.concat([single, _merged(copied).select(rows.columns)]) if copied.height else rows


def _has_id() -> pl.Expr:
    return pl.col("event_id").is_not_null()


def _merged(copied: pl.DataFrame) -> pl.DataFrame:
    values = [name for name in copied.columns if name not in (*_KEY, *_PLACE, IS_NEW)]
    place = [name for name in _PLACE if name in copied.columns]
    first = pl.col(place).sort_by("source_file", "source_row", nulls_last=True).first()
    aggregates = [pl.col(values).min(), first, pl.col(IS_NEW).all()]
    single = pl.concat([_own_part(copied), _export_part(copied)]).group_by(_KEY).agg(aggregates)
    single = single.with_columns(
        collapse_seconds=pl.col("collapse_seconds").min().over(_GROUP),
        servers=pl.col("log_server").drop_nulls().n_unique().over(_GROUP),
    )
    is_export = pl.col("log_server").is_null()
    exports, raw = single.filter(is_export), single.filter(~is_export)
    alone = exports.filter(pl.col("servers") == 0)
    return pl.concat([alone, _filled(raw, exports.filter(pl.col("servers") == 1))])


def _is_filled(name: str) -> pl.Expr:
    bits = 1 << FILLABLE.index(name) | (FROM_MESSAGE if name == "recipient_id" else 0)
    return (pl.col(FILLED) & bits) != 0


def _own_part(rows: pl.DataFrame) -> pl.DataFrame:
    """Rows as their own source gave them: without what an export or a message has filled in."""
    own = [pl.when(~_is_filled(name)).then(name).alias(name) for name in FILLABLE]
    return rows.with_columns(*own, pl.lit(0, pl.Int32).alias(FILLED))


def _export_part(rows: pl.DataFrame) -> pl.DataFrame:
    """What exports gave to rows that were merged before, as the rows of an export."""
    bits = pl.col(FILLED) & ~pl.lit(FROM_MESSAGE, pl.Int32)
    given = [pl.when((bits & 1 << i) != 0).then(name).alias(name) for i, name in enumerate(FILLABLE)]
    part = rows.filter(bits != 0).with_columns(*given, pl.lit(None, pl.String).alias("log_server"))
    return part.with_columns(pl.lit(0, pl.Int32).alias(FILLED))


def _filled(raw: pl.DataFrame, exports: pl.DataFrame) -> pl.DataFrame:
    given = exports.select(*_GROUP, **{f"given {name}": name for name in (*FILLABLE, IS_NEW)})
    both = raw.join(given, on=_GROUP, how="left", nulls_equal=True)
    is_given = [pl.col(name).is_null() & pl.col(f"given {name}").is_not_null() for name in FILLABLE]
    bits = [pl.when(given).then(pl.lit(1 << i, pl.Int32)).otherwise(0) for i, given in enumerate(is_given)]
    return both.with_columns(
        *(pl.coalesce(name, f"given {name}").alias(name) for name in FILLABLE),
        pl.sum_horizontal(bits).cast(pl.Int32).alias(FILLED),
        (pl.col(IS_NEW) & pl.col(f"given {IS_NEW}").fill_null(True)).alias(IS_NEW),
    ).select(raw.columns)


def set_repeats_aside(events: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Split events, which are taken away, into those that count and the repeated opens, each in the order of the rows.

    Per message of a delivery and person (an unknown person is one person), in order of time: an open less than its
    `collapse_seconds` after the last open that counts does not count. Opens without message or instant always count.
    Of opens of one instant the least log id counts, then server, then the least of all else: any choice
    would do that is the same in any order of the rows.
    """
    is_repeat = _repeated_opens(events)
    collapsed = events.filter(is_repeat)
    kept = by_column(events, lambda column: column.filter(~is_repeat)) if collapsed.height else events
    return kept, collapsed


def _repeated_opens(events: pl.DataFrame) -> pl.Series:
    """Which of the events are repeated opens."""
    kind = "event_type" if "event_type" in events.columns else "reported_type"
    is_open = (pl.col(kind) == "opened") & pl.col("message_id").is_not_null() & pl.col("occurred_at").is_not_null()
    lean = events.lazy().select(*_MESSAGE, "occurred_at", "collapse_seconds", is_open=is_open)
    lean = lean.with_row_index("row").filter("is_open")
    near = _near(lean.sort(*_MESSAGE, "occurred_at"))
    rows = lean.join(near, on=_MESSAGE, how="semi", nulls_equal=True).select("row").collect()["row"]
    opens = events[rows].with_columns(rows)
    others = [name for name in schema.EVENT.sourced if not opens.schema[name].is_nested()]
    opens = opens.sort(*dict.fromkeys([*_WHOSE, *_TIME, *others]))
    is_repeat = np.zeros(events.height, dtype=bool)
    is_repeat[opens["row"].filter(_repeats(opens)).to_numpy()] = True
    return pl.Series(is_repeat)


def _near(opens: pl.LazyFrame) -> pl.LazyFrame:
    """The messages with two opens, of whomever, within the longest window: the few that can have a repeated open.

    In: opens in order of message and time, which costs next to nothing where the events are in the store's order.
    """
    is_same = pl.all_horizontal(pl.col(name).eq_missing(pl.col(name).shift()) for name in _MESSAGE)
    longest = pl.duration(seconds=pl.col("collapse_seconds").max().fill_null(0))
    return opens.filter(is_same & (pl.col("occurred_at").diff() < longest)).select(_MESSAGE).unique()


def _repeats(opens: pl.DataFrame) -> pl.Series:
    """Which of the sorted opens do not count: all that the chain of counted opens jumps over."""
    if opens.is_empty():
        return pl.Series(dtype=pl.Boolean)
    is_first = pl.any_horizontal(pl.col(name).ne_missing(pl.col(name).shift()) for name in _WHOSE)
    gaps = opens.select(pl.col("occurred_at").dt.epoch("us").diff().fill_null(0)).to_series().to_numpy()
    first = opens.select(is_first).to_series().to_numpy().copy()
    first[0] = True
    window = opens.select(pl.col("collapse_seconds").fill_null(0).cast(pl.Int64) * 1_000_000).to_series().to_numpy()
    # Beyond the longest window a distance need not be exact; a border between persons is such a distance.
    far = window.max() + 1
    clock = np.cumsum(np.where(first, far, np.minimum(gaps, far)))
    counted = first | (gaps >= window)
    return pl.Series(~_reached(counted, _successors(clock, window)))


def _successors(clock: np.ndarray, window: np.ndarray) -> np.ndarray:
    """For each open, the next that counts if it counts: the first later one at least its own window away."""
    size = len(clock)
    following = np.full(size + 1, size)
    for width in np.unique(window):
        members = np.flatnonzero(window == width)
        if width > 0:
            place = np.searchsorted(clock[members], clock + width)
        else:
            place = np.searchsorted(members, np.arange(size), side="right")
        following[:size] = np.minimum(following[:size], np.append(members, size)[place])
    return following


def _reached(counted: np.ndarray, following: np.ndarray) -> np.ndarray:
    """Everything that chains from the opens known to count reach, by doubling the jump: no step per open."""
    reached, jump = np.append(counted, False), following
    while True:
        targets = jump[:-1][reached[:-1]]
        if reached[targets[targets < len(counted)]].all():
            return reached[:-1]
        reached[targets] = True
        jump = jump[jump]
