"""Tables that are not cut by delivery, put together portion by portion: rows of one key are in one portion."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import polars as pl

from trackkit.schema import Table
from trackkit.store.partition import spread, spread_rows
from trackkit.store.replace import Replaced, replace_rows

PORTION_ROWS = 1_000_000
_MOST = 64  # portions: each is a file that is open at once
_PORTION, _PART, _PLACE = "portion", "part", "place"


def portions(rows: int) -> int:
    """Return in how many portions so many rows are put together."""
    return min(-(-rows // PORTION_ROWS), _MOST)


def replaced_in_portions(
    table: Table, stored: pl.LazyFrame | None, new: Sequence[pl.LazyFrame], count: int, folder: Path
) -> Iterator[Replaced]:
    """Yield what `replace_rows` makes of each portion; `new` are the new rows in parts, as they were read."""
    numbered = [
        part.with_row_index(_PLACE).with_columns(pl.lit(number, pl.UInt32).alias(_PART))
        for number, part in enumerate(new)
    ]
    key = pl.concat_str(pl.col(table.key).cast(pl.String).fill_null(""), separator="\x1f")
    placed = (key.hash() % count).cast(pl.Int32).alias(_PORTION)
    for name, parts in {"new": numbered, "stored": [] if stored is None else [stored]}.items():
        spread(parts, _PORTION, folder / name, lambda batch: batch.with_columns(placed))
    for portion in range(count):
        brought = spread_rows(folder / "new", portion, numbered[0].collect_schema())
        known = None if stored is None else spread_rows(folder / "stored", portion, stored.collect_schema())
        rows = numbered[0].limit(0) if brought is None else brought
        rows = rows.collect().sort(_PART, _PLACE).drop(_PART, _PLACE)
        yield replace_rows(table, None if known is None else known.collect(), rows)
