"""The opens of Mautic: one column of each message holds all of them, as PHP writes an array (or, later, as JSON).

Beside the opens, and under a name of their own, it holds what Mautic learnt of bounces.
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
_COLUMNS = ("email_id", "lead_id", "id", "event_id", "opened_at", "agent", "word")
_BOUNCES = pl.List(pl.Struct(dict.fromkeys(("bounced_at", "word", "reason", "said"), pl.String)))
_OF_BOUNCE = ("email_id", "lead_id", "id", "email_address", "event_id", "bounced_at", "word", "reason", "said")


def expand(read: Path, target: Path) -> list[str]:
    """Write a row for each open of the messages read, and return what was assumed.

    A message that was read, but whose opens were not kept, has one open, at the instant when it was read; its word is
    `read`, since a click says so too.
    """
    return _expanded(read, target, _COLUMNS, _opened)


def expand_bounces(read: Path, target: Path) -> list[str]:
    """Write a row for each bounce that the messages read tell of, and return what was assumed.

    Mautic's mailboxes say of what type a bounce is. An entry without a type came by a webhook: a bounce where the
    message failed, else an opt-out or a complaint, of which the table of opt-outs tells.
    """
    return _expanded(read, target, _OF_BOUNCE, _bounced)


def _expanded(
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
    )


def _bounced(messages: pl.DataFrame, tally: Counter[str]) -> pl.DataFrame:
    known = messages["open_details"].unique()
    bounces = pl.DataFrame(
        {"open_details": known, "bounces": pl.Series([_bounces(one, tally) for one in known], dtype=_BOUNCES)}
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
    entries = [one for key, one in _entries(details, tally) if key != BOUNCES]
    opens = [one for one in entries if isinstance(one, dict)]
    tally["unreadable"] += len(entries) - len(opens)
    return [{"opened_at": _text(one.get("datetime")), "agent": _text(one.get("useragent"))} for one in opens]


def _bounces(details: str | None, tally: Counter[str]) -> list[dict[str, str | None]]:
    held = next((one for key, one in _entries(details, tally) if key == BOUNCES), None)
    entries = list(held.values()) if isinstance(held, dict) else held if isinstance(held, list) else []
    found = []
    for one in entries:
        if not isinstance(one, dict):
            tally["unreadable"] += 1
            continue
        word, reason = _text(one.get("type")), _text(one.get("reason"))
        told = {"reason": reason, "said": None} if word else {"reason": None, "said": reason}
        found.append({"bounced_at": _text(one.get("datetime")), "word": word, **told})
    return found


def _entries(details: str | None, tally: Counter[str]) -> list[tuple[Any, Any]]:
    """The entries of the column, each with its key; none where it cannot be read, whatever is wrong with it."""
    if not details:
        return []
    try:
        written = json.loads(details) if details[:1] in "[{" else _from_php(details)
        return list(written.items() if isinstance(written, dict) else enumerate(written))
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


def _said(tally: Counter[str]) -> Iterator[str]:
    if tally["implied"]:
        yield f"{tally['implied']:,} messages were read without an open being kept: one open each, when they were read"
    if tally["unreadable"]:
        yield f"{tally['unreadable']:,} texts of opens could not be read"
    if tally["beyond"]:
        yield f"{tally['beyond']:,} further opens are counted by Mautic, but without an instant: left out"
    if tally["others"]:
        yield f"{tally['others']:,} reports of webhooks about messages that did not fail are no bounces: left out"
