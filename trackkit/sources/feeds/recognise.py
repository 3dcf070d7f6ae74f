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

_SAMPLE = 50  # records looked at
_KEYS = 100  # characters of their keys that are told
_MOSTLY = 0.5  # of the first lines have the form of an access log, where a file is one


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


def of_lines(first: bytes, feeds: Mapping[str, Feed]) -> tuple[Feed | None, str]:
    """Return the format of an access log by its first lines and why; None, and what was seen, where none fits.

    The reason is empty where the lines are those of no access log.
    """
    lines = pl.Series(first.decode("utf-8", "replace").splitlines()[:-1] or [""])
    if hits.looks_like(lines) < _MOSTLY:
        return None, ""
    known = {name: hits.count(lines, feed) for name, feed in feeds.items() if feed.engine == "access_log"}
    best = max(known, key=lambda name: known[name], default="")
    if not best or not known[best]:
        return None, "an access log, but its first lines hold no tracked hits of a known platform"
    return feeds[best], feeds[best].recognised


def _bearing(sample: list[dict[str, Any]], feed: Feed) -> int:
    return sum(_bears(record, envelope, feed) for record, envelope in _inner(sample, feed))


def _inner(sample: list[dict[str, Any]], feed: Feed) -> list[tuple[Any, Any]]:
    """Return the records inside those of a sample, each with what it came in."""
    steps = [path(written) for written in feed.unwrap]
    return [pair for record in sample for pair in islice(opened(record, steps), _SAMPLE)]


def _bears(record: Any, envelope: Any, feed: Feed) -> bool:
    marks = feed.recognise
    has_all = all(_has(record, envelope, written) for written in marks.all)
    has_any = not marks.any or any(_has(record, envelope, written) for written in marks.any)
    return has_all and has_any and not any(_has(record, envelope, written) for written in marks.none)


def _has(record: Any, envelope: Any, written: str) -> bool:
    singles = map(path, alternatives(written))
    return any(follow(envelope if one.scope == ENVELOPE else record, one) is not None for one in singles)
