"""Which declared format a file is of, and why: JSON records, lines of access logs and tables.

Records belong to the format whose marks most of the first ones have, lines to the one with most hits in them, tables
to the one that knows most of their headers.
"""

from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import polars as pl

from trackkit import schema
from trackkit.errors import DataError
from trackkit.sources.feeds import access_logs, framing
from trackkit.sources.feeds.feed import Feed, Sibling
from trackkit.sources.feeds.json_paths import ENVELOPE, alternatives, follow, json_path, singles
from trackkit.sources.feeds.records import opened
from trackkit.sources.feeds.request_lines import Requests
from trackkit.sources.feeds.tabular import Headers, called
from trackkit.sources.files import Found
from trackkit.sources.lines import Lines
from trackkit.sources.maps import Field, TableMap, plain_name
from trackkit.sources.sheets import dialect

_SAMPLE = 50  # records looked at
_FIRST = 2_000  # lines that decide whether a file is an access log
_KEYS = 100  # characters of the keys of unknown records that are shown


def of_records(file: Path, feeds: Mapping[str, Feed]) -> tuple[Feed | None, str]:
    """Return the format of a file of JSON records and why; None, and what was seen, if none fits.

    Raises DataError for a file without a sound record.
    """
    first = list(islice(framing.records(file), _SAMPLE))
    sample = [record for record in first if isinstance(record, dict)]
    if first and not sample:
        raise DataError(f"JSON of which nothing can be read: {first[0].reason}")
    counts = {name: _count_marked(sample, feed) for name, feed in feeds.items() if _reads_records(feed)}
    best = max(counts, key=lambda name: counts[name], default="")
    if not best or not counts[best]:
        keys = ", ".join(list(sample[0])[:6]) if sample else "none"
        return None, f"JSON, but its records are those of no known format (keys: {keys[:_KEYS]})"
    return feeds[best], feeds[best].recognised


def nearest(file: Path, feeds: Mapping[str, Feed]) -> str:
    """Return the format whose marks the first records come nearest to, and the marks they lack; "" if none."""
    sample = [record for record in islice(framing.records(file), _SAMPLE) if isinstance(record, dict)]
    feeds_of_records = {name: feed for name, feed in feeds.items() if _reads_records(feed)}
    attempts = [
        (*_share_of_marks(*pair, feed), name)
        for name, feed in feeds_of_records.items()
        for pair in _inner_records(sample, feed)
    ]
    share, lacking, name = max(attempts, key=lambda attempt: (attempt[0], -len(attempt[1])), default=(0.0, [], ""))
    if not share:
        return ""
    return f"{name}: its records lack {', '.join(lacking)}" if lacking else f"{name}: its records have what another has"


def _reads_records(feed: Feed) -> bool:
    return "json" in (feed.engine, *feed.also)


def _share_of_marks(record: Any, envelope: Any, feed: Feed) -> tuple[float, list[str]]:
    """Return the share of a format's marks that a record has, and those that it lacks."""
    lacking = [written for written in feed.recognise.all if not _has(record, envelope, written)]
    either = feed.recognise.any
    has_any = any(_has(record, envelope, written) for written in either)
    lacking += [] if has_any or not either else [" or ".join(either)]
    marks = len(feed.recognise.all) + bool(either)
    return (marks - len(lacking)) / marks if marks else 0.0, lacking


def of_lines(file: Path, feeds: Mapping[str, Feed]) -> tuple[Feed | None, str]:
    """Return the format of an access log and why; None, and what was seen, if none fits.

    The first lines decide whether it is one. If they hold no hits, reading goes on to the first lines that do. The
    reason is empty if the file is no access log.
    """
    requests, is_log = Requests(), False
    for lines in Lines(file).frames():
        for part in (lines,) if is_log else (lines.head(_FIRST), lines.slice(_FIRST)):
            rows = requests.read(part)
            is_log = is_log or access_logs.looks_like(rows) > 0
            if feed := _of_hits(rows, feeds):
                return feed, feed.recognised
            if not is_log:
                return None, ""
    return None, "an access log, but without tracked hits of a known platform" if is_log else ""


def _of_hits(rows: pl.DataFrame, feeds: Mapping[str, Feed]) -> Feed | None:
    """Return the format with most hits among these requests, None if there are none."""
    counts = [(access_logs.hits_of(rows, feed).height, feed) for feed in feeds.values() if feed.engine == "access_log"]
    count, best = max(counts, key=lambda pair: pair[0], default=(0, None))
    return best if count else None


def _count_marked(sample: list[dict[str, Any]], feed: Feed) -> int:
    return sum(_has_marks(record, envelope, feed) for record, envelope in _inner_records(sample, feed))


def _inner_records(sample: list[dict[str, Any]], feed: Feed) -> list[tuple[Any, Any]]:
    """Return the inner records of a sample, each with its envelope."""
    steps = [json_path(written) for written in feed.unwrap]
    return [pair for record in sample for pair in islice(opened(record, steps), _SAMPLE)]


def _has_marks(record: Any, envelope: Any, feed: Feed) -> bool:
    marks = feed.recognise
    has_all = all(_has(record, envelope, written) for written in marks.all)
    has_any = not (marks.any or marks.words) or any(_has(record, envelope, written) for written in marks.any)
    has_any = has_any or any(_text(record, envelope, part.of) in marks.words for part in feed.word)
    return has_all and has_any and not any(_has(record, envelope, written) for written in marks.none)


def _text(record: Any, envelope: Any, written: str) -> str | None:
    return next((value for value in _values(record, envelope, written) if isinstance(value, str)), None)


def _has(record: Any, envelope: Any, written: str) -> bool:
    return any(value is not None for value in _values(record, envelope, written))


def _values(record: Any, envelope: Any, written: str) -> list[Any]:
    """Return the values of the paths of `a | b`, constants left out."""
    return [follow(envelope if path.scope == ENVELOPE else record, path) for path in singles(written)]


def of_table(found: Found, feeds: Mapping[str, Feed]) -> Feed | None:
    """Return the format whose marks a table file has and that knows most of its headers; None if none fits."""
    counts = {name: _count_fitting(found, feed) for name, feed in feeds.items() if feed.engine == "table"}
    best = max(counts, key=lambda name: counts[name], default="")
    return feeds[best] if best and counts[best] else None


def near_tables(found: Found, feeds: Mapping[str, Feed]) -> Iterator[tuple[float, int, str, list[str]]]:
    """Yield for each format the share and number of headers known, its name, and the marks that the file lacks."""
    for name, feed in feeds.items():
        if feed.engine == "table" and (count := (headers := _headers(found, feed)).known(feed)):
            marks = feed.recognise
            lacking = [mark for mark in marks.all if not headers.have(mark)]
            lacking += [" or ".join(marks.any)] if marks.any and not any(map(headers.have, marks.any)) else []
            yield count / max(len(feed.used()), 1), count, repr(name), lacking


def _headers(found: Found, feed: Feed) -> Headers:
    """Return the headers of a table file, none of a damaged one."""
    try:
        return Headers(dialect(found, lambda headers: Headers(headers).known(feed)).headers)
    except DataError:
        return Headers([])


def _count_fitting(found: Found, feed: Feed) -> int:
    """Return how many headers of a table file a format knows, 0 if the file lacks its marks."""
    headers, marks = _headers(found, feed), feed.recognise
    is_named = called(feed, found) in map(plain_name, marks.files)
    has_any = is_named or any(map(headers.have, marks.any)) or not (marks.any or marks.files)
    fits = has_any and all(map(headers.have, marks.all)) and not any(map(headers.have, marks.none))
    return headers.known(feed) if fits else 0


def siblings(feed: Feed) -> list[TableMap]:
    """Return the maps of the tables that come with the events of a format."""
    return [
        TableMap(sibling.files[0], feed.name, sibling.table, _fields(sibling), tuple(sibling.files), zone=feed.zone)
        for sibling in feed.sibling
    ]


def _fields(sibling: Sibling) -> tuple[Field, ...]:
    table = schema.TABLES[sibling.table]
    kinds = {schema.INSTANT: "instant", pl.Boolean(): "flag", pl.Int64(): "count", pl.Int16(): "code"}
    return tuple(
        Field(name, kinds.get(table.schema[name], "text"), tuple(alternatives(headers)), required=name == table.key[0])
        for name, headers in sibling.columns.items()
    )
