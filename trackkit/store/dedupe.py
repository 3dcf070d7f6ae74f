"""Deduplication: everything counts once, however often and in whichever order files are loaded.

Copies of an event are merged, and repeated opens set aside. Settling is idempotent and incremental, so that a load
settles only the deliveries that it touches.

In all other tables newer rows replace older ones. A value stated by a table's own file wins over one gleaned from
another file (an event names the URL of its link). Only between files that state the same row does the last load win.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl

from trackkit import schema
from trackkit.schema import Table
from trackkit.store.layout import FILLED, MESSAGE_KEY, by_column
from trackkit.store.partition import NUMBER, partitioned

IS_NEW = "is_new"  # the row is from this load; without the column, all are
FILE = "file"  # number, in its load, of the file that states the row; null: gleaned, or stored before
# Bit i of `filled` of an event: its FILLABLE[i] is from an export's copy.
FILLABLE = ["message_id", "occurred_at", "recipient_id", "person_id", "link_id", "reported_type", "raw_event_type"]
FILLABLE += ["message_format", "user_agent", "ip", "source_type", "external_id"]  # in this order: it is stored
FROM_MESSAGE = 1 << 30  # bit of `filled`: the recipient is the message's (enrichment sets it)
_GROUP = ["delivery_id", "event_id"]
_KEY = [*_GROUP, "log_server"]
_WHOSE = [*MESSAGE_KEY, "person_id"]
_TIME = ["occurred_at", "event_id", "log_server"]
_ORIGIN = ["source_file", "source_row", "source", FILE]  # taken together, from one copy
# The least value of an enumeration is the first declared.
_ENUMS = {name: dtype for name, dtype in schema.EVENT.sourced.items() if isinstance(dtype, pl.Enum)}


def merge_copies(events: pl.DataFrame) -> pl.DataFrame:
    """Return one row per log id and server within a delivery; `is_new` means that no copy was stored before.

    A row without delivery takes the only one that its log id has elsewhere. Where copies differ (a damaged line), the
    smallest value of each column is taken. A row of a table export has no server: it fills the nulls of the raw row
    with its log id, unless two servers used that id, and the smaller `collapse_seconds` holds.
    """
    rows = events
    for name, default in ((IS_NEW, pl.lit(True)), (FILLED, pl.lit(0, pl.Int32))):
        rows = rows.with_columns((pl.col(name).fill_null(default) if name in rows.columns else default).alias(name))
    if rows["delivery_id"].null_count():
        least, largest = pl.col("delivery_id").min(), pl.col("delivery_id").max()
        of_copies = pl.when(_has_id() & (least == largest).over("event_id")).then(least.over("event_id"))
        rows = rows.with_columns(delivery_id=pl.coalesce("delivery_id", of_copies))
    if not rows.select((_has_id() & pl.col("event_id").hash().is_duplicated()).any()).item():  # fast path
        return rows
    is_copied = _has_id() & (pl.len().over(_GROUP) > 1)
    single, copied = rows.filter(~is_copied), rows.filter(is_copied)
    return pl.concat([single, _merged(copied).select(rows.columns).cast(rows.schema)]) if copied.height else rows


def _has_id() -> pl.Expr:
    return pl.col("event_id").is_not_null()


def _merged(copied: pl.DataFrame) -> pl.DataFrame:
    values = [name for name in copied.columns if name not in (*_KEY, *_ORIGIN, IS_NEW)]
    origin = [name for name in _ORIGIN if name in copied.columns]
    copied = copied.with_columns(pl.col(name).cast(dtype) for name, dtype in _ENUMS.items())
    first = pl.col(origin).sort_by("source_file", "source_row", nulls_last=True).first()
    aggregates = [pl.col(values).min(), first, pl.col(IS_NEW).all()]
    single = pl.concat([_own_part(copied), _export_part(copied)]).group_by(_KEY).agg(aggregates)
    single = single.with_columns(
        collapse_seconds=pl.col("collapse_seconds").min().over(_GROUP),
        servers=pl.col("log_server").drop_nulls().n_unique().over(_GROUP),
    )
    is_export = pl.col("log_server").is_null()
    exports, raw = single.filter(is_export), single.filter(~is_export)
    unmatched = exports.filter(pl.col("servers") == 0)
    return pl.concat([unmatched, _filled(raw, exports.filter(pl.col("servers") == 1))])


def _is_filled(name: str) -> pl.Expr:
    bits = 1 << FILLABLE.index(name) | (FROM_MESSAGE if name == "recipient_id" else 0)
    return (pl.col(FILLED) & bits) != 0


def _own_part(rows: pl.DataFrame) -> pl.DataFrame:
    """Rows as their own source has them, without values filled in from an export or a message."""
    values = [pl.when(~_is_filled(name)).then(name).alias(name) for name in FILLABLE]
    return rows.with_columns(*values, pl.lit(0, pl.Int32).alias(FILLED))


def _export_part(rows: pl.DataFrame) -> pl.DataFrame:
    """The values that exports filled into rows merged before, as rows of an export."""
    bits = pl.col(FILLED) & ~pl.lit(FROM_MESSAGE, pl.Int32)
    exported = [pl.when((bits & 1 << i) != 0).then(name).alias(name) for i, name in enumerate(FILLABLE)]
    part = rows.filter(bits != 0).with_columns(*exported, pl.lit(None, pl.String).alias("log_server"))
    return part.with_columns(pl.lit(0, pl.Int32).alias(FILLED))


def _filled(raw: pl.DataFrame, exports: pl.DataFrame) -> pl.DataFrame:
    exported = exports.select(*_GROUP, **{f"exported {name}": name for name in (*FILLABLE, IS_NEW)})
    both = raw.join(exported, on=_GROUP, how="left", nulls_equal=True)
    fills = [pl.col(name).is_null() & pl.col(f"exported {name}").is_not_null() for name in FILLABLE]
    bits = [pl.when(is_filled).then(pl.lit(1 << i, pl.Int32)).otherwise(0) for i, is_filled in enumerate(fills)]
    return both.with_columns(
        *(pl.coalesce(name, f"exported {name}").alias(name) for name in FILLABLE),
        pl.sum_horizontal(bits).cast(pl.Int32).alias(FILLED),
        (pl.col(IS_NEW) & pl.col(f"exported {IS_NEW}").fill_null(True)).alias(IS_NEW),
    ).select(raw.columns)


def set_repeats_aside(events: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Split events into those that count and repeated opens, in their order; the frame passed in is emptied.

    Per message and person (unknown counts as one person), an open less than its `collapse_seconds` after the last
    counted open does not count. Opens without message or instant always count. Ties are broken by log id, server and
    the other columns, so that the order of rows does not matter.
    """
    is_repeat = _repeated_opens(events)
    collapsed = events.filter(is_repeat)
    kept = by_column(events, lambda column: column.filter(~is_repeat)) if collapsed.height else events
    return kept, collapsed


def _repeated_opens(events: pl.DataFrame) -> pl.Series:
    """A mask of the repeated opens among events."""
    kind = "event_type" if "event_type" in events.columns else "reported_type"
    is_open = (pl.col(kind) == "opened") & pl.col("message_id").is_not_null() & pl.col("occurred_at").is_not_null()
    lean = events.lazy().select(*MESSAGE_KEY, "occurred_at", "collapse_seconds", is_open=is_open)
    lean = lean.with_row_index("row").filter("is_open")
    candidates = _close_opens(lean.sort(*MESSAGE_KEY, "occurred_at"))
    rows = lean.join(candidates, on=MESSAGE_KEY, how="semi", nulls_equal=True).select("row").collect()["row"]
    opens = events[rows].with_columns(rows)
    others = [name for name in schema.EVENT.sourced if not opens.schema[name].is_nested()]
    opens = opens.sort(*dict.fromkeys([*_WHOSE, *_TIME, *others]))
    is_repeat = np.zeros(events.height, dtype=bool)
    is_repeat[opens["row"].filter(_repeats(opens)).to_numpy()] = True
    return pl.Series(is_repeat)


def _close_opens(opens: pl.LazyFrame) -> pl.LazyFrame:
    """The few messages with two opens within the longest window; in: opens in order of message and time."""
    is_same = pl.all_horizontal(pl.col(name).eq_missing(pl.col(name).shift()) for name in MESSAGE_KEY)
    longest = pl.duration(seconds=pl.col("collapse_seconds").max().fill_null(0))
    return opens.filter(is_same & (pl.col("occurred_at").diff() < longest)).select(MESSAGE_KEY).unique()


def _repeats(opens: pl.DataFrame) -> pl.Series:
    """A mask of the sorted opens that do not count: those that the chain of counted opens jumps over."""
    if opens.is_empty():
        return pl.Series(dtype=pl.Boolean)
    is_first = pl.any_horizontal(pl.col(name).ne_missing(pl.col(name).shift()) for name in _WHOSE)
    gaps = opens.select(pl.col("occurred_at").dt.epoch("us").diff().fill_null(0)).to_series().to_numpy()
    first = opens.select(is_first).to_series().to_numpy().copy()
    first[0] = True
    window = opens.select(pl.col("collapse_seconds").fill_null(0).cast(pl.Int64) * 1_000_000).to_series().to_numpy()
    # Gaps beyond the longest window need not be exact; borders between persons are such gaps.
    far = window.max() + 1
    clock = np.cumsum(np.where(first, far, np.minimum(gaps, far)))
    counted = first | (gaps >= window)
    return pl.Series(~_reached(counted, _successors(clock, window)))


def _successors(clock: np.ndarray, window: np.ndarray) -> np.ndarray:
    """For each open, the one that counts next if it counts: the first later one at least its own window away."""
    size = len(clock)
    following = np.full(size + 1, size)
    for width in np.unique(window):
        members = np.flatnonzero(window == width)
        if width > 0:
            position = np.searchsorted(clock[members], clock + width)
        else:
            position = np.searchsorted(members, np.arange(size), side="right")
        following[:size] = np.minimum(following[:size], np.append(members, size)[position])
    return following


def _reached(counted: np.ndarray, following: np.ndarray) -> np.ndarray:
    """A mask of all opens on chains from those known to count; jumps double, so there is no step per open."""
    reached, jump = np.append(counted, False), following
    while True:
        targets = jump[:-1][reached[:-1]]
        if reached[targets[targets < len(counted)]].all():
            return reached[:-1]
        reached[targets] = True
        jump = jump[jump]


# These replace each other together; other values of a message stay when a later status lacks them.
_STATUS = ("status_code", "status_at", "failure_id")
PORTION_ROWS = 1_000_000  # rows of a table merged at once
MOST_PORTIONS = 64  # each needs an open file


class Replaced(NamedTuple):
    """A table after a load."""

    rows: pl.DataFrame
    changed: pl.DataFrame  # the rows with a new or changed value
    kept: dict[int, int]  # by file, how many rows changed a value
    is_changed: bool  # whether any row differs, if only in `filled`


def replace_rows(table: Table, stored: pl.DataFrame | None, new: pl.DataFrame) -> Replaced:
    """Replace rows of a table other than events by new rows with the same key.

    In: sourced columns; `new`, in the order read, with `file` (null: gleaned); `stored` with `filled`. Out: one row per
    key. The last stated row wins, but nulls erase nothing; a value never stated is the largest gleaned, marked by bit i
    of `filled` (i counts `Table.gleaned`). Of a message, the latest `status_at` wins with its failure.
    """
    key, names = list(table.key), list(table.sourced)
    others = [name for name in names if name not in key]
    stored_rows = known_rows(table, stored)
    arriving = _arriving(new, key, others)
    before = stored_rows.with_columns(is_known=pl.lit(True))
    joined = arriving.join(before, on=key, how="left", nulls_equal=True, suffix=" before")
    is_new = pl.col("is_known").is_null()
    is_changed = [pl.col(name).ne_missing(pl.col(f"{name} before")) for name in others]
    merged = joined.with_columns(_of_message(others) if "status_at" in names else _values(others))
    merged = merged.with_columns(is_changed=pl.any_horizontal(is_new, *is_changed))
    differing = merged.filter(pl.col("is_changed") | pl.col(FILLED).ne_missing(pl.col(f"{FILLED} before")))
    unchanged = stored_rows.join(differing, on=key, how="anti", nulls_equal=True)
    changed = differing.filter("is_changed")
    by_file = changed.filter(pl.col(FILE).is_not_null()).group_by(FILE).len()
    written = differing.select(*names, FILLED)
    rows = pl.concat([unchanged, written]) if unchanged.height else written
    return Replaced(rows, changed.select(names), dict(by_file.iter_rows()), differing.height > 0)


def known_rows(table: Table, stored: pl.DataFrame | None) -> pl.DataFrame:
    """Return the sourced columns and `filled` of stored rows; 0 in a store from before there was one."""
    if stored is None:
        return pl.DataFrame(schema=table.sourced | {FILLED: pl.Int32()})
    filled = pl.col(FILLED).fill_null(0) if FILLED in stored.columns else pl.lit(0, pl.Int32).alias(FILLED)
    return stored.select(*table.sourced, filled)


def _arriving(new: pl.DataFrame, key: list[str], others: list[str]) -> pl.DataFrame:
    """One row per key: the last stated values, their file, and beside each the largest gleaned value."""
    is_stated = pl.col(FILE).is_not_null()
    stated = _last(new.filter(is_stated), key, others)
    gleaned = new.filter(~is_stated).group_by(key).agg(pl.col(others).max().name.suffix(" gleaned"))
    both = stated.join(gleaned, on=key, how="full", coalesce=True, nulls_equal=True, maintain_order="left_right")
    return both.with_columns(pl.lit(0, pl.Int32).alias(FILLED))


def _last(rows: pl.DataFrame, key: list[str], others: list[str]) -> pl.DataFrame:
    """One row per key: the last non-null value of each column, and the file of the last row."""
    rows = rows.select(*key, *others, FILE)
    rows = rows.sort("status_at", maintain_order=True) if "status_at" in others else rows
    is_single = pl.len().over(key) == 1
    single, repeated = rows.filter(is_single), rows.filter(~is_single)
    last = {name: pl.col(name).last(ignore_nulls=True) for name in rows.columns if name not in key}
    if "status_code" in others:
        with_status = pl.col("status_code").is_not_null()
        last |= {name: pl.col(name).filter(with_status).last() for name in _STATUS}
    merged = repeated.group_by(key, maintain_order=True).agg(**last).select(rows.columns)
    return pl.concat([single, merged]) if repeated.height else rows


def _values(columns: list[str]) -> list[pl.Expr]:
    """Each value after a load, stated or else gleaned, and `filled`."""
    values, bits = [], [pl.lit(0, pl.Int32)]
    for i, name in enumerate(columns[: schema.BITS]):
        before, gleaned = pl.col(f"{name} before"), pl.col(f"{name} gleaned")
        was_gleaned = (pl.col(f"{FILLED} before").fill_null(0) & (1 << i)) != 0
        stated = pl.coalesce(name, pl.when(~was_gleaned).then(before))
        is_larger = was_gleaned & (before > gleaned).fill_null(before.is_not_null())
        values.append(pl.coalesce(stated, pl.when(is_larger).then(before).otherwise(gleaned)).alias(name))
        is_gleaned = stated.is_null() & (gleaned.is_not_null() | (was_gleaned & before.is_not_null()))
        bits.append(pl.when(is_gleaned).then(pl.lit(1 << i, pl.Int32)).otherwise(0))
    stated_only = [pl.coalesce(name, f"{name} before").alias(name) for name in columns[schema.BITS :]]
    return [*values, *stated_only, pl.sum_horizontal(bits).cast(pl.Int32).alias(FILLED)]


def _of_message(columns: list[str]) -> list[pl.Expr]:
    """Each value of a message after a load: the new one, unless null or of an earlier status."""
    before, at = pl.col("status_at before"), pl.col("status_at")
    is_later = pl.col("status_code").is_not_null() & (before.is_null() | (at >= before).fill_null(False))
    return [
        pl.when(is_later)
        .then(name if name in _STATUS else pl.coalesce(name, f"{name} before"))
        .otherwise(pl.coalesce(f"{name} before", *([] if name in _STATUS else [name])))
        .alias(name)
        for name in columns
    ]


@dataclass
class Replacement:
    """A table replaced in portions, each with all rows of its keys; the fields are those of `Replaced`."""

    table: Table
    columns: list[str]  # of `changed`
    changed: list[pl.DataFrame] = field(default_factory=list)
    kept: Counter[int] = field(default_factory=Counter)
    is_changed: bool = False

    def portions(
        self, stored: pl.LazyFrame, new: Sequence[pl.LazyFrame], most: int, folder: Path
    ) -> Iterator[tuple[pl.DataFrame, Path | None]]:
        """Yield the rows after a load by portion, with a file to spill each to; `new` has at most `most` rows."""
        rows = most + stored.select(pl.len()).collect().item()
        count = max(1, min(-(-rows // PORTION_ROWS), MOST_PORTIONS))
        key = pl.concat_str(pl.col(self.table.key).cast(pl.String).fill_null(""), separator="\x1f")
        number = (key.hash() % count).cast(pl.Int32).alias(NUMBER)
        new_rows, stored_rows = (
            partitioned(parts, count, folder / name, lambda batch: batch.with_columns(number), in_order=True)
            for name, parts in (("new", new), ("stored", [stored]))
        )
        for portion in range(count):
            replaced = replace_rows(self.table, stored_rows.rows(portion).collect(), new_rows.rows(portion).collect())
            self.changed.append(replaced.changed.select(self.columns))
            self.kept.update(replaced.kept)
            self.is_changed |= replaced.is_changed
            yield replaced.rows, folder / f"{portion}.replaced" if count > 1 else None
