"""Which declared format records are of: that whose marks most of the first records bear; and the reason in words."""

from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import polars as pl

from trackkit.errors import DataError
from trackkit.sources.feeds import framing, hits
from trackkit.sources.feeds.envelopes import opened
from trackkit.sources.feeds.feed import Feed
from trackkit.sources.feeds.paths import ENVELOPE, alternatives, follow, path
from trackkit.sources.feeds.requests import Requests
from trackkit.sources.lines import Lines

_SAMPLE = 50  # records looked at
_FIRST = 2_000  # lines that say whether a file is an access log
_KEYS = 100  # characters of their keys that are told


def of_records(file: Path, feeds: Mapping[str, Feed]) -> tuple[Feed | None, str]:
    """Return the format of a file of JSON records and why; None, and what was seen, where none fits.

    Raises DataError for a file without a sound record.
    """
    first = list(islice(framing.records(file), _SAMPLE))
    sample = [one for one in first if isinstance(one, dict)]
    if first and not sample:
        raise DataError(f"JSON of which nothing can be read: {first[0].reason}")
    marks = {name: _bearing(sample, feed) for name, feed in feeds.items() if _reads_records(feed)}
    best = max(marks, key=lambda name: marks[name], default="")
    if not best or not marks[best]:
        keys = ", ".join(list(sample[0])[:6]) if sample else "none"
        return None, f"JSON, but its records are those of no known format (keys: {keys[:_KEYS]})"
    return feeds[best], feeds[best].recognised


def nearest(file: Path, feeds: Mapping[str, Feed]) -> str:
    """Say of which format the first records bear most marks, and which they lack; nothing where none bears any."""
    sample = [one for one in islice(framing.records(file), _SAMPLE) if isinstance(one, dict)]
    known = {name: feed for name, feed in feeds.items() if _reads_records(feed)}
    tried = [(*_marked(*pair, feed), name) for name, feed in known.items() for pair in _inner(sample, feed)]
    share, lacking, name = max(tried, key=lambda one: (one[0], -len(one[1])), default=(0.0, [], ""))
    if not share:
        return ""
    return f"{name}: its records lack {', '.join(lacking)}" if lacking else f"{name}: its records have what another has"


def _reads_records(feed: Feed) -> bool:
    return "json" in (feed.engine, *feed.also)


def _marked(record: Any, envelope: Any, feed: Feed) -> tuple[float, list[str]]:
    """Return the share of a format's marks that a record bears, and those that it lacks."""
    lacking = [written for written in feed.recognise.all if not _has(record, envelope, written)]
    either = feed.recognise.any
    has_any = any(_has(record, envelope, written) for written in either)
    lacking += [] if has_any or not either else [" or ".join(either)]
    marks = len(feed.recognise.all) + bool(either)
    return (marks - len(lacking)) / marks if marks else 0.0, lacking


def of_lines(file: Path, feeds: Mapping[str, Feed]) -> tuple[Feed | None, str]:
    """Return the format of an access log and why; None, and what was seen, where none fits.

    The first lines say whether it is one. If they hold no hits, the others are read up to the first that do. The reason
    is empty where the lines are those of no access log.
    """
    requests, is_log = Requests(), False
    for lines in Lines(file).frames():
        for some in (lines,) if is_log else (lines.head(_FIRST), lines.slice(_FIRST)):
            rows = requests.read(some)
            is_log = is_log or hits.looks_like(rows) > 0
            if feed := _of_hits(rows, feeds):
                return feed, feed.recognised
            if not is_log:
                return None, ""
    return None, "an access log, but without tracked hits of a known platform" if is_log else ""


def _of_hits(rows: pl.DataFrame, feeds: Mapping[str, Feed]) -> Feed | None:
    """Return the map that knows most of these requests as hits, None where none knows any."""
    known = [(hits.hits_of(rows, feed).height, feed) for feed in feeds.values() if feed.engine == "access_log"]
    count, best = max(known, key=lambda pair: pair[0], default=(0, None))
    return best if count else None


def _bearing(sample: list[dict[str, Any]], feed: Feed) -> int:
    return sum(_bears(record, envelope, feed) for record, envelope in _inner(sample, feed))


def _inner(sample: list[dict[str, Any]], feed: Feed) -> list[tuple[Any, Any]]:
    """Return the records inside those of a sample, each with what it came in."""
    steps = [path(written) for written in feed.unwrap]
    return [pair for record in sample for pair in islice(opened(record, steps), _SAMPLE)]


def _bears(record: Any, envelope: Any, feed: Feed) -> bool:
    marks = feed.recognise
    has_all = all(_has(record, envelope, written) for written in marks.all)
    has_any = not (marks.any or marks.words) or any(_has(record, envelope, written) for written in marks.any)
    has_any = has_any or any(_text(record, envelope, part.of) in marks.words for part in feed.word_parts)
    return has_all and has_any and not any(_has(record, envelope, written) for written in marks.none)


def _text(record: Any, envelope: Any, written: str) -> str | None:
    singles = [path(one) for one in alternatives(written) if not one.startswith("=")]
    values = [follow(envelope if one.scope == ENVELOPE else record, one) for one in singles]
    return next((one for one in values if isinstance(one, str)), None)


def _has(record: Any, envelope: Any, written: str) -> bool:
    singles = map(path, alternatives(written))
    return any(follow(envelope if one.scope == ENVELOPE else record, one) is not None for one in singles)
