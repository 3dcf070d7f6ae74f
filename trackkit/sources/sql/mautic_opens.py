"""The opens of Mautic: one column of each message holds all of them, as PHP writes an array (or, later, as JSON)."""

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import phpserialize
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from trackkit.sources.sheets import ROW

_BATCH = 50_000  # messages
_OPENS = pl.List(pl.Struct({"opened_at": pl.String, "agent": pl.String}))
_COLUMNS = ("email_id", "lead_id", "id", "event_id", "opened_at", "agent", "word")
_LAYOUT = pa.schema([*((name, pa.string()) for name in _COLUMNS), (ROW, pa.int64())])


def expand(read: Path, target: Path) -> list[str]:
    """Write a row for each open of the messages read, and return what was assumed.

    A message that was read, but whose opens were not kept, has one open, at the instant when it was read; its word is
    `read`, since a click says so too.
    """
    tally: Counter[str] = Counter()
    with pq.ParquetWriter(target, _LAYOUT, compression="lz4", write_statistics=False) as file:
        for batch in pq.ParquetFile(read).iter_batches(_BATCH):
            file.write_table(_opened(pl.DataFrame(batch), tally).to_arrow().cast(_LAYOUT))
    return list(_said(tally))


def _opened(messages: pl.DataFrame, tally: Counter[str]) -> pl.DataFrame:
    known = messages["open_details"].unique()
    opens = pl.DataFrame(
        {"open_details": known, "opens": pl.Series([_opens(one, tally) for one in known], dtype=_OPENS)}
    )
    rows = messages.join(opens, on="open_details", how="left", nulls_equal=True)
    kept = pl.col("opens").list.len().fill_null(0)
    beyond = (pl.col("open_count").cast(pl.Int64, strict=False) - pl.max_horizontal(kept, 1)).clip(0)
    tally["beyond"] += rows.select(beyond.sum()).item() or 0
    tally["implied"] += rows.select((kept == 0).sum()).item()
    # Opens are only ever added at the end: an open keeps its number.
    rows = rows.with_columns(place=pl.int_ranges(pl.max_horizontal(kept, 1)), kept=kept)
    rows = rows.with_columns(opens=pl.when(kept > 0).then("opens").otherwise(pl.lit([None], _OPENS)))
    rows = rows.explode("opens", "place").unnest("opens")
    return rows.with_columns(
        event_id=pl.format("email_stats:{}:{}", "id", "place"),
        opened_at=pl.when(pl.col("kept") > 0).then("opened_at").otherwise("date_read"),
        word=pl.when(pl.col("kept") > 0).then(pl.lit("open")).otherwise(pl.lit("read")),
    ).select(*_COLUMNS, ROW)


def _opens(details: str | None, tally: Counter[str]) -> list[dict[str, str | None]]:
    if not details:
        return []
    try:
        written = json.loads(details) if details[:1] in "[{" else _from_php(details)
        entries = written.values() if isinstance(written, dict) else written
        return [{"opened_at": _text(one.get("datetime")), "agent": _text(one.get("useragent"))} for one in entries]
    except Exception:  # whatever is wrong with such a text, the message was read once at least
        tally["unreadable"] += 1
        return []


def _from_php(details: str) -> Any:
    return phpserialize.loads(details.encode(), decode_strings=True, errors="replace") or {}


def _text(value: Any) -> str | None:
    return str(value) if isinstance(value, str | int) and value != "" else None


def _said(tally: Counter[str]) -> Iterator[str]:
    if tally["implied"]:
        yield f"{tally['implied']:,} messages were read without an open being kept: one open each, when they were read"
    if tally["unreadable"]:
        yield f"{tally['unreadable']:,} texts of opens could not be read"
    if tally["beyond"]:
        yield f"{tally['beyond']:,} further opens are counted by Mautic, but without an instant: left out"
