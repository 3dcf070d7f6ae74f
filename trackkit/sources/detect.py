"""Detect the format of a file, by its folder and name first, then by its headers or first lines."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from trackkit.errors import DataError
from trackkit.sources import content, files, redirection
from trackkit.sources.feeds import framing, recognise
from trackkit.sources.feeds.feed import Feed
from trackkit.sources.feeds.recognise import near_tables, of_table, siblings
from trackkit.sources.feeds.tabular import extends, names
from trackkit.sources.files import Found
from trackkit.sources.maps import TableMap, called, plain_name
from trackkit.sources.sheets import EXTENSIONS, dialect, is_parquet

_LOG_NAME = re.compile(r"\.log(\.gz|\.zst)?$", re.IGNORECASE)
_JSON_NAME = re.compile(r"\.(json|jsonl|ndjson)(\.gz|\.zst)?$", re.IGNORECASE)
_ZIP = b"PK\x03\x04"
_LEAST_HEADERS = 3  # known headers needed to recognise a table by headers alone


@dataclass(frozen=True)
class Choice:
    """The detected format of a file, or None, with the reason, and the table map of a table file.

    Without a format, `near` returns the nearest one and what is missing; `is_refused` means that by its name the file
    should be readable, so that this is a failure, while other files are ignored.
    """

    format: str | None
    why: str
    table_map: TableMap | None = None
    feed: Feed | None = None
    extends: bool = False  # a table of further columns of the format's events
    near: Callable[[], str] = str
    is_refused: bool = False


def choose(found: Found, maps: Sequence[TableMap], feeds: Mapping[str, Feed], format: str = "auto") -> Choice:
    """Detect the format of a file, among all formats or within the one named."""
    lower = found.path.name.lower()
    if _head(found).startswith(_ZIP):
        is_refused = lower.endswith(EXTENSIONS) or any(name.search(lower) for name in (_LOG_NAME, _JSON_NAME))
        return Choice(None, "a zip archive, as an .xlsx is too: unpack it, or save it as CSV", is_refused=is_refused)
    if format in feeds:
        return _as_requested(found, feeds[format])
    if format in ("auto", redirection.NAME) and (chosen := _as_log(found, format)):
        return chosen
    if format in ("auto", content.NAME) and content.is_content(found):
        return Choice(content.NAME, "a page or text in the folder 'content', named after a delivery")
    if format == "auto" and (chosen := _as_feed(found, feeds)):
        is_called = not chosen.format and lower.endswith(EXTENSIONS) and bool(called(maps, names(found)))
        return replace(chosen, is_refused=chosen.is_refused or is_called)
    if not lower.endswith(EXTENSIONS):
        return _as_none(found)
    of_format = [table_map for table_map in maps if format in ("auto", table_map.format)]
    return _as_table(found, of_format, feeds if format == "auto" else {})


def _as_none(found: Found) -> Choice:
    """Ignore a file, but refuse one that is named JSON and is not."""
    if not found.path.stat().st_size:
        return Choice(None, "it is empty")
    if _JSON_NAME.search(found.path.name) and _head(found).strip():
        return Choice(None, "called JSON, and holds none", is_refused=True)
    return Choice(None, "neither a log, a table nor message content")


def _as_requested(found: Found, feed: Feed) -> Choice:
    is_table = found.path.name.lower().endswith(EXTENSIONS)
    if (chosen := beside(found, Choice(None, "no table"), [feed])).format:
        return chosen
    if feed.engine == "table" and not is_table and not ("json" in feed.also and framing.looks_like(_head(found))):
        return Choice(None, "no table")
    return Choice(feed.name, "as asked", feed=feed)


def beside(found: Found, choice: Choice, feeds: Iterable[Feed]) -> Choice:
    """Reconsider a choice: the file may be a table that accompanies the events of recognised formats.

    It is recognised by its name or, if another format has a table of that name, by more known headers.
    """
    if choice.feed or not found.path.name.lower().endswith(EXTENSIONS):
        return choice
    feeds = list(feeds)
    if (feed := next((candidate for candidate in feeds if extends(found, candidate)), None)) and not choice.format:
        return Choice(feed.name, f"further columns of the events of {feed.name}", feed=feed, extends=True)
    names_of_file = set(names(found))
    tables = [table for feed in feeds for table in siblings(feed) if names_of_file & set(map(plain_name, table.stems))]
    for candidate in tables:
        headers = _headers(found, candidate)
        least = choice.table_map.count_known(headers) if choice.table_map else 0
        if headers and not candidate.missing(headers) and candidate.count_known(headers) > least:
            why = f"named as '{candidate.name}', beside the events of {candidate.format}"
            return Choice(candidate.format, why, candidate)
    return choice


def _head(found: Found) -> bytes:
    return files.head(found.path, 4096)


def _as_log(found: Found, format: str) -> Choice | None:
    if format == redirection.NAME:
        return Choice(redirection.NAME, "as asked")
    is_log = bool(_LOG_NAME.search(found.path.name))
    if is_log and found.path.parent.parts[-2:] == ("redir", "log"):
        return Choice(redirection.NAME, "a log in the folder 'redir/log'")
    if (is_log or found.path.name.lower().endswith((".txt", ".tsv", ".gz", ".zst"))) and redirection.looks_like(
        files.head(found.path)
    ):
        return Choice(redirection.NAME, "its lines have the form of the redirection log")
    return None


def _as_feed(found: Found, feeds: Mapping[str, Feed]) -> Choice | None:
    if is_parquet(found.path):
        return None
    # Lines first: an access log may be JSON, but its hits are unmistakable.
    feed, why = recognise.of_lines(found.path, feeds)
    if feed is None and framing.looks_like(_head(found)):
        try:
            feed, seen = recognise.of_records(found.path, feeds)
        except DataError as error:
            return Choice(None, str(error), is_refused=bool(_JSON_NAME.search(found.path.name)))
        near = partial(recognise.nearest, found.path, feeds)
        return Choice(feed.name if feed else None, seen if feed else why or seen, feed=feed, near=near)
    return Choice(feed.name if feed else None, why, feed=feed) if why else None


def _as_table(found: Found, maps: Sequence[TableMap], feeds: Mapping[str, Feed]) -> Choice:
    candidates = called(maps, names(found))
    complete: list[tuple[int, TableMap]] = []
    for table_map in candidates:
        try:
            headers = dialect(found, table_map.count_known).headers
        except DataError:  # damaged, which its reader will say
            return Choice(table_map.format, f"named as '{table_map.name}'", table_map)
        complete += [] if table_map.missing(headers) else [(table_map.count_known(headers), table_map)]
    if complete:  # of several products, the one whose headers these are
        named = max(complete, key=lambda pair: pair[0])[1]
        return Choice(named.format, f"named as '{named.name}', with its headers", named)
    if feed := of_table(found, feeds):
        return Choice(feed.name, feed.recognised, feed=feed)
    fitting = [(table_map.evidence(_headers(found, table_map)), table_map) for table_map in maps]
    best = max(fitting, key=lambda pair: pair[0], default=(0, None))
    if best[1] and best[0] >= _LEAST_HEADERS:
        return Choice(best[1].format, f"its headers are those of '{best[1].name}'", best[1])
    if candidates:
        return _without_its_columns(found, candidates[0])
    near = partial(_nearest, found, maps, feeds)
    return Choice(None, "its headers are those of no known table", near=near)


def _without_its_columns(found: Found, named: TableMap) -> Choice:
    """Refuse a file that is named like a table but lacks required columns."""
    headers = _headers(found, named)
    lacking = named.missing(headers)
    why = f"named as '{named.name}', but without a column for {', '.join(lacking)}"
    if not headers:  # cut before its first line ends, or never written
        is_refused = found.path.stat().st_size > 0
        return Choice(None, "it has no header" if is_refused else "it is empty", named, is_refused=is_refused)
    return Choice(None, why, named, is_refused=True)


def _nearest(found: Found, maps: Sequence[TableMap], feeds: Mapping[str, Feed]) -> str:
    """Say which table the headers are nearest to and what is missing; an empty text if near to none."""
    counts = [
        (table_map.count_known(headers), table_map, table_map.missing(headers))
        for table_map in maps
        if (headers := _headers(found, table_map))
    ]
    of_maps = [
        (count / len(table_map.fields), count, f"{table_map.format} '{table_map.name}'", lacking)
        for count, table_map, lacking in counts
    ]
    ranked = [rank for rank in [*of_maps, *near_tables(found, feeds)] if rank[1]]
    if not ranked:
        return ""
    _, count, name, lacking = max(ranked, key=lambda rank: (rank[1], rank[0]))
    needs = f"without a column for {', '.join(lacking)}" if lacking else "too few to tell"
    return f"{name}: {count} of its headers, {needs}"


def _headers(found: Found, table_map: TableMap) -> list[str]:
    try:
        return dialect(found, table_map.count_known).headers
    except DataError:
        return []
