"""Which hits are the first of their kind in their delivery, so that a distinct count is a sum: `schema.FIRSTS`.

A late or removed event can change which hit is first, but only inside its delivery: whoever settles deliveries whole,
or takes rows away, marks them again.
"""

import numpy as np
import polars as pl

from trackkit import schema
from trackkit.deliveries import is_hit

# The earliest counts, an undated one last; the rest only makes the choice the same in any order of the rows.
_EARLIEST = ("occurred_at", "event_id", "log_server", "source_file", "source_row")


def with_firsts(events: pl.DataFrame) -> pl.DataFrame:
    """Return events with their columns of `schema.FIRSTS` filled: true once for each value that a flag counts.

    In: every row of `event` of some deliveries, enriched; out: the same rows, in the same order. Rows that no figure
    counts (of control addresses, sends and bounces) are false, and so are those that do not say whose they are.
    Without a delivery, rows are taken for those of one.

    >>> rows = [{"delivery_id": "7", "message_id": one, "event_type": "opened"} for one in ("a", "a", "b", None)]
    >>> with_firsts(pl.DataFrame(rows, schema=schema.EVENT.schema))["is_first_hit"].to_list()
    [True, False, True, False]
    """
    counted = ~pl.col("is_seed").fill_null(False) & is_hit()
    keys = dict.fromkeys(column for column, _ in schema.FIRSTS.values())
    rows = (
        events.lazy()
        .select("delivery_id", *keys, *_EARLIEST, "event_type", counted=counted)
        .with_row_index("row")
        .filter("counted")
        .sort(_EARLIEST, nulls_last=True)
    )
    found = pl.collect_all([_first(rows, *kind) for kind in schema.FIRSTS.values()])
    return events.with_columns(
        _marked(flag, first["row"], events.height) for flag, first in zip(schema.FIRSTS, found, strict=True)
    )


def _first(rows: pl.LazyFrame, column: str, event_type: str | None) -> pl.LazyFrame:
    kind = pl.lit(True) if event_type is None else pl.col("event_type") == event_type
    return rows.filter(kind, pl.col(column).is_not_null()).unique(["delivery_id", column], keep="first").select("row")


def _marked(flag: str, places: pl.Series, height: int) -> pl.Series:
    is_first = np.zeros(height, dtype=bool)
    is_first[places.to_numpy()] = True
    return pl.Series(flag, is_first, dtype=pl.Boolean)
