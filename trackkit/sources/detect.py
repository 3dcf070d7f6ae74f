"""Which format a file is of, by its place and name first, then by its headers or its first lines; and why."""

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
_LEAST_HEADERS = 3  # so many headers must be known before headers alone name a table


@dataclass(frozen=True)
class Choice:
    """What a file is: a format, the table map for a table file, and the reason; no format when it is not known.

    Without a format, `near` says, where it is asked, which one comes nearest and what it would need; `is_refused` is a
    file that by its name is a table which it cannot be read as: a failure, where other files are just left alone.
    """

    format: str | None
    why: str
    table_map: TableMap | None = None
    feed: Feed | None = None
    extends: bool = False  # a table of further columns of the format's events
    near: Callable[[], str] = str
    is_refused: bool = False


def choose(found: Found, maps: Sequence[TableMap], feeds: Mapping[str, Feed], format: str = "auto") -> Choice:
    """Return what a file is, among all formats or within the one named."""
    lower = found.path.name.lower()
    if _head(found).startswith(_ZIP):
        is_refused = lower.endswith(EXTENSIONS) or any(name.search(lower) for name in (_LOG_NAME, _JSON_NAME))
        return Choice(None, "a zip archive, as an .xlsx is too: unpack it, or save it as CSV", is_refused=is_refused)
    if format in feeds:
        return _as_asked(found, feeds[format])
    if format in ("auto", redirection.NAME) and (chosen := _as_log(found, format)):
        return chosen
    if format in ("auto", content.NAME) and content.is_content(found):
        return Choice(content.NAME, "a page or text in the folder 'content', named after a delivery")
    if format == "auto" and (chosen := _as_feed(found, feeds)):
        is_called = not chosen.format and lower.endswith(EXTENSIONS) and bool(called(maps, names(found)))
        return replace(chosen, is_refused=chosen.is_refused or is_called)
    if not lower.endswith(EXTENSIONS):
        return _as_none(found)
    return _as_table(found, [one for one in maps if format in ("auto", one.format)], feeds if format == "auto" else {})


def _as_none(found: Found) -> Choice:
    """Leave a file alone; one that is called JSON, and holds something else, is a failure."""
    if not found.path.stat().st_size:
        return Choice(None, "it is empty")
    if _JSON_NAME.search(found.path.name) and _head(found).strip():
        return Choice(None, "called JSON, and holds none", is_refused=True)
    return Choice(None, "neither a log, a table nor message content")


def _as_asked(found: Found, feed: Feed) -> Choice:
    is_table = found.path.name.lower().endswith(EXTENSIONS)
    if (chosen := beside(found, Choice(None, "no table"), [feed])).format:
        return chosen
    if feed.engine == "table" and not is_table and not ("json" in feed.also and framing.looks_like(_head(found))):
        return Choice(None, "no table")
    return Choice(feed.name, "as asked", feed=feed)


def beside(found: Found, choice: Choice, feeds: Iterable[Feed]) -> Choice:
    """Return what a file is, chosen anew among the tables that come with the events of the formats that are there.

    Such a table is told by its name, and where another format knows the name too, by more known headers.
    """
    if choice.feed or not found.path.name.lower().endswith(EXTENSIONS):
        return choice
    feeds = list(feeds)
    if (feed := next((one for one in feeds if extends(found, one)), None)) and not choice.format:
        return Choice(feed.name, f"further columns of the events of {feed.name}", feed=feed, extends=True)
    own = set(names(found))
    for one in [one for feed in feeds for one in siblings(feed) if own & set(map(plain_name, one.stems))]:
        headers = _headers(found, one)
        least = choice.table_map.count_known(headers) if choice.table_map else 0
        if headers and not one.missing(headers) and one.count_known(headers) > least:
            return Choice(one.format, f"named as '{one.name}', beside the events of {one.format}", one)
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
    feed, why = recognise.of_lines(found.path, feeds)  # first, as an access log may be JSON too: hits leave no doubt
    if feed is None and framing.looks_like(_head(found)):
        try:
            feed, seen = recognise.of_records(found.path, feeds)
        except DataError as error:
            return Choice(None, str(error), is_refused=bool(_JSON_NAME.search(found.path.name)))
        near = partial(recognise.nearest, found.path, feeds)
        return Choice(feed.name if feed else None, seen if feed else why or seen, feed=feed, near=near)
    return Choice(feed.name if feed else None, why, feed=feed) if why else None


def _as_table(found: Found, maps: Sequence[TableMap], feeds: Mapping[str, Feed]) -> Choice:
    named = called(maps, names(found))
    for one in named:
        try:
            headers = dialect(found, one.count_known).headers
        except DataError:  # damaged, which its reader will say
            return Choice(one.format, f"named as '{one.name}'", one)
        if not one.missing(headers):
            return Choice(one.format, f"named as '{one.name}', with its headers", one)
    if feed := of_table(found, feeds):
        return Choice(feed.name, feed.recognised, feed=feed)
    fitting = [(one.evidence(_headers(found, one)), one) for one in maps]
    best = max(fitting, key=lambda pair: pair[0], default=(0, None))
    if best[1] and best[0] >= _LEAST_HEADERS:
        return Choice(best[1].format, f"its headers are those of '{best[1].name}'", best[1])
    if named:
        return _without_its_columns(found, named[0])
    near = partial(_nearest, found, maps, feeds)
    return Choice(None, "its headers are those of no known table", near=near)


def _without_its_columns(found: Found, named: TableMap) -> Choice:
    """Refuse a file that is called as a table of the platform is, and has not what each of its rows must have."""
    headers = _headers(found, named)
    lacking = named.missing(headers)
    why = f"named as '{named.name}', but without a column for {', '.join(lacking)}"
    if not headers:  # cut before its first line ends, or never written
        is_refused = found.path.stat().st_size > 0
        return Choice(None, "it has no header" if is_refused else "it is empty", named, is_refused=is_refused)
    return Choice(None, why, named, is_refused=True)


def _nearest(found: Found, maps: Sequence[TableMap], feeds: Mapping[str, Feed]) -> str:
    """Say which table the headers come nearest to, and what it would need; nothing where they come near to none."""
    known = [(one.count_known(headers), one, one.missing(headers)) for one in maps if (headers := _headers(found, one))]
    of_maps = [(count / len(one.fields), count, f"{one.format} '{one.name}'", lacking) for count, one, lacking in known]
    ranked = [one for one in [*of_maps, *near_tables(found, feeds)] if one[1]]
    if not ranked:
        return ""
    _, count, name, lacking = max(ranked, key=lambda one: (one[1], one[0]))
    needs = f"without a column for {', '.join(lacking)}" if lacking else "too few to tell"
    return f"{name}: {count} of its headers, {needs}"


def _headers(found: Found, table_map: TableMap) -> list[str]:
    try:
        return dialect(found, table_map.count_known).headers
    except DataError:
        return []
