"""The opens of Mautic: one column of each message holds them all, as a serialised PHP array (or, later, as JSON).

The same column holds bounces, under a key of their own.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from trackkit.errors import RequestError
from trackkit.sources.sheets import ROW

BOUNCES = "bounces"
_BATCH = 50_000  # messages
_OPENS = pl.List(pl.Struct({"opened_at": pl.String, "agent": pl.String}))
_OPEN_COLUMNS = ("email_id", "lead_id", "id", "event_id", "opened_at", "agent", "word")
_BOUNCES = pl.List(pl.Struct(dict.fromkeys(("bounced_at", "word", "reason", "said"), pl.String)))
_BOUNCE_COLUMNS = ("email_id", "lead_id", "id", "email_address", "event_id", "bounced_at", "word", "reason", "said")


def expand(read: Path, target: Path) -> list[str]:
    """Write a row for each open of the messages read, and return what was assumed.

    A message that was read, but whose opens were not kept, has one open, at the instant when it was read; its word is
    `read`, since a click sets it too.
    """
    return _expand(read, target, _OPEN_COLUMNS, _opened)


def expand_bounces(read: Path, target: Path) -> list[str]:
    """Write a row for each bounce of the messages read, and return what was assumed.

    Bounces from mailboxes have a type. An entry without one came by a webhook: it is a bounce if the message failed,
    else an opt-out or a complaint, which the table of opt-outs holds too.
    """
    return _expand(read, target, _BOUNCE_COLUMNS, _bounced)


def _expand(
    read: Path, target: Path, columns: Sequence[str], rows_of: Callable[[pl.DataFrame, Counter[str]], pl.DataFrame]
) -> list[str]:
    tally: Counter[str] = Counter()
    layout = pa.schema([*((name, pa.string()) for name in columns), (ROW, pa.int64())])
    with pq.ParquetWriter(target, layout, compression="lz4", write_statistics=False) as file:
        for batch in pq.ParquetFile(read).iter_batches(_BATCH):
            rows = rows_of(pl.DataFrame(batch), tally)
            present = [
                pl.col(name) if name in rows.columns else pl.lit(None, pl.String).alias(name) for name in columns
            ]
            file.write_table(rows.select(*present, ROW).to_arrow().cast(layout))
    return list(_notes(tally))


def _opened(messages: pl.DataFrame, tally: Counter[str]) -> pl.DataFrame:
    distinct = messages["open_details"].unique()
    opens = pl.DataFrame(
        {"open_details": distinct, "opens": pl.Series([_opens(details, tally) for details in distinct], dtype=_OPENS)}
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
    )


def _bounced(messages: pl.DataFrame, tally: Counter[str]) -> pl.DataFrame:
    distinct = messages["open_details"].unique()
    bounces = pl.DataFrame(
        {
            "open_details": distinct,
            "bounces": pl.Series([_bounces(details, tally) for details in distinct], dtype=_BOUNCES),
        }
    )
    rows = messages.join(bounces, on="open_details", how="left", nulls_equal=True)
    rows = rows.filter(pl.col("bounces").list.len() > 0)
    # Bounces too are only ever added at the end.
    rows = rows.with_columns(place=pl.int_ranges(pl.col("bounces").list.len())).explode("bounces", "place")
    rows = rows.unnest("bounces").with_columns(event_id=pl.format("email_stats:{}:bounce {}", "id", "place"))
    is_failed = pl.col("is_failed").is_in(["1", "true", "t"])
    is_other = pl.col("word").is_null() & ~is_failed.fill_null(False)
    tally["others"] += rows.select(is_other.sum()).item()
    return rows.filter(~is_other)


def _opens(details: str | None, tally: Counter[str]) -> list[dict[str, str | None]]:
    entries = [entry for key, entry in _entries(details, tally) if key != BOUNCES]
    opens = [entry for entry in entries if isinstance(entry, dict)]
    tally["unreadable"] += len(entries) - len(opens)
    return [{"opened_at": _text(entry.get("datetime")), "agent": _text(entry.get("useragent"))} for entry in opens]


def _bounces(details: str | None, tally: Counter[str]) -> list[dict[str, str | None]]:
    value = next((entry for key, entry in _entries(details, tally) if key == BOUNCES), None)
    entries = list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else []
    bounces = []
    for entry in entries:
        if not isinstance(entry, dict):
            tally["unreadable"] += 1
            continue
        word, reason = _text(entry.get("type")), _text(entry.get("reason"))
        explanation = {"reason": reason, "said": None} if word else {"reason": None, "said": reason}
        bounces.append({"bounced_at": _text(entry.get("datetime")), "word": word, **explanation})
    return bounces


def _entries(details: str | None, tally: Counter[str]) -> list[tuple[Any, Any]]:
    """The entries of the column, each with its key; none if it cannot be read, whatever the cause."""
    if not details:
        return []
    try:
        parsed = json.loads(details) if details[:1] in "[{" else _from_php(details)
        return list(parsed.items() if isinstance(parsed, dict) else enumerate(parsed))
    except RequestError:
        raise
    except Exception:
        tally["unreadable"] += 1
        return []


def _from_php(details: str) -> Any:
    try:
        import phpserialize
    except ModuleNotFoundError:
        remedy = "it is missing, and `pip install 'trackkit[mysql]'` brings it"
        raise RequestError(f"Mautic keeps opens as PHP writes them, which phpserialize reads; {remedy}.") from None
    return phpserialize.loads(details.encode(), decode_strings=True, errors="replace") or {}


def _text(value: Any) -> str | None:
    return str(value) if isinstance(value, str | int) and value != "" else None


def _notes(tally: Counter[str]) -> Iterator[str]:
    if tally["implied"]:
        yield f"{tally['implied']:,} messages were read without an open being kept: one open each, when they were read"
    if tally["unreadable"]:
        yield f"{tally['unreadable']:,} texts of opens could not be read"
    if tally["beyond"]:
        yield f"{tally['beyond']:,} further opens are counted by Mautic, but without an instant: left out"
    if tally["others"]:
        yield f"{tally['others']:,} reports of webhooks about messages that did not fail are no bounces: left out"
