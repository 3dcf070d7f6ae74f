"""Raw files and databases to canonical frames: lazy frames, refused lines and a report of each file."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import mkdtemp

from trackkit.errors import DataError, RequestError, did_you_mean
from trackkit.sources import content, redirection, tables
from trackkit.sources.detect import Choice, beside, choose
from trackkit.sources.feeds import reading
from trackkit.sources.feeds.feed import Feed, all_feeds, read_feed
from trackkit.sources.feeds.mapping import FeedOptions
from trackkit.sources.feeds.tabular import ExtensionTable, merged, stage_extension
from trackkit.sources.files import Found, find, wide_encoding
from trackkit.sources.hiding import Hiding
from trackkit.sources.report import LoadReport, SourceReport
from trackkit.sources.sql import Since, is_database, products
from trackkit.sources.staging import RawLoad, Staged, combine, quarantine_frame
from trackkit.sources.table_formats import TableFormat, all_table_formats, file_maps, is_table_format, read_table_format
from trackkit.sources.values import Clock

__all__ = ["Format", "LoadReport", "RawLoad", "Since", "SourceReport", "formats", "read"]

_SHOWN, _SEEN = 60, 190  # characters of a path and of a reason, in a message of at most three lines
_TRIED = 50  # files compared with formats, if none is recognised
_LOG_COLLAPSE_SECONDS = 60  # as the platform's own importer does, whose exports need no more


@dataclass(frozen=True)
class Format:
    """A format that can be read: its name, what it is, and how it is recognised."""

    name: str
    what: str
    recognised: str


_OWN = {
    own.name: own
    for own in (
        Format(
            redirection.NAME,
            "Adobe Campaign Classic, raw redirection log",
            "'.log' files in 'redir/log', or lines of the published form",
        ),
        Format(
            content.NAME,
            "Adobe Campaign Classic, message content",
            "'content/<delivery id>.html' or '.txt'",
        ),
    )
}


def formats() -> dict[str, Format]:
    """Return every format that can be read, by name: those of the package and the maps of the working folder.

    >>> formats()["amazon_ses"].what
    'Amazon SES events: SNS notifications, raw delivery, Firehose, EventBridge'
    """
    declared = all_table_formats("database") | all_table_formats() | all_feeds()
    return _OWN | {
        name: Format(name, declared_format.what, declared_format.recognised)
        for name, declared_format in declared.items()
    }


def read(
    source: str | Path,
    staging: Path,
    format: str = "auto",
    timezone: str = "UTC",
    collapse_minutes: float | None = None,
    dedupe: str = "exact",
    delivery_field: str | None = None,
    dates: str | None = None,
    progress: Callable[[str], None] | None = None,
    since: Since | None = None,
    hiding: Hiding | None = None,
) -> RawLoad:
    """Read a file, a folder (an instance folder, say), a glob or a database into canonical frames over Parquet.

    They lie in `staging`. A database is named by a SQLAlchemy URL; `since` says how far earlier loads read it.

    `timezone` is the zone of instants without an offset. `collapse_minutes` is the window in which a repeated open
    counts once (default: 1 for raw logs, 0 for all else). `format` is a name, or the path of a TOML file.
    For declared formats, `dedupe` says which copies count once: `exact`, `loose` (the sender's own id may differ) or
    `none`; `delivery_field` names the delivery where the format has no field for it (or `=name`).
    `dates` is the form of dates that are not ISO: `day-first`, `month-first` or one such as `%d/%m/%Y`.
    `progress` is called with each file. `hiding` hides personal data before it is written to disk, except in refused
    lines and the report, which are in memory only.
    Raises RequestError if source, format or zone do not exist; DataError if nothing in the source is recognised. A bad
    line is never an error: it is in `quarantine`.
    """
    options, hiding = FeedOptions(dedupe, delivery_field, dates), hiding or Hiding()
    format, known_feeds, known_tables = _candidates(format)
    _check_request(source, format, [*_OWN, *products(), *known_tables, *known_feeds], collapse_minutes)
    clock = Clock(timezone)
    if is_database(source):
        from trackkit.sources.sql.reading import read_database

        seconds = round(60 * (collapse_minutes or 0))
        folder = _new_folder(staging)
        return read_database(str(source), folder, format, clock, seconds, since or Since(), progress, hiding)
    inside = staging.resolve()
    files = [file for file in find(source) if inside not in file.path.resolve().parents]
    maps = file_maps(known_tables.values())
    chosen = _with_siblings([(file, choose(file, maps, known_feeds, format)) for file in files])
    recognised = [(file, choice) for file, choice in chosen if choice.format or choice.is_refused]
    if not any(choice.format for _, choice in recognised):
        raise DataError(_nothing_recognised(source, chosen, format))
    load = _Load(_new_folder(staging), clock, collapse_minutes, options, hiding, is_single=len(files) == 1)
    staged = []
    for file, choice in sorted(recognised, key=lambda pair: not pair[1].extends):  # tables of further columns first
        if progress:
            progress(file.relative)
        staged.append(load.stage(Found(file.path, hiding.name(file.relative)), choice))
    reading.copies_note(staged, options)
    ignored = {file.relative: choice.why for file, choice in chosen if not (choice.format or choice.is_refused)}
    return combine(staged, LoadReport([part.report for part in staged], ignored_files=ignored))


def _with_siblings(chosen: list[tuple[Found, Choice]]) -> list[tuple[Found, Choice]]:
    """Also choose the tables that accompany the events of a recognised format."""
    present = {choice.feed.name: choice.feed for _, choice in chosen if choice.feed}
    return [(file, beside(file, choice, present.values())) for file, choice in chosen]


def _candidates(format: str) -> tuple[str, dict[str, Feed], dict[str, TableFormat]]:
    """Return the requested format, which may be a TOML file of the user's, and the feeds and tables to try."""
    if not format.endswith(".toml"):
        return format, all_feeds(), all_table_formats()
    if is_table_format(place := Path(format)):
        own = read_table_format(place)
        return own.name, all_feeds(), {own.name: own}
    feed = read_feed(place)
    return feed.name, {feed.name: feed}, all_table_formats()


def _check_request(source: str | Path, format: str, known_formats: list[str], collapse_minutes: float | None) -> None:
    if format not in ("auto", *known_formats):
        raise RequestError(f"There is no format {format!r}.{did_you_mean(format, [*known_formats, 'auto'])}")
    if is_database(source) and format not in ("auto", *products()):
        raise RequestError(f"{format!r} is no format of databases; {', '.join(products())} are.")
    if collapse_minutes is not None and not 0 <= collapse_minutes <= 1440:
        raise RequestError(f"Opens can be collapsed within 0 to 1440 minutes, not {collapse_minutes}.")


def _new_folder(staging: Path) -> Path:
    staging.mkdir(parents=True, exist_ok=True)
    return Path(mkdtemp(prefix="load-", dir=staging))


@dataclass
class _Load:
    """How the files of one load are read, and where their rows are put."""

    folder: Path
    clock: Clock
    collapse_minutes: float | None
    options: FeedOptions
    hiding: Hiding
    is_single: bool  # its fault is then the load's
    further: list[ExtensionTable] = field(default_factory=list)

    def stage(self, found: Found, choice: Choice) -> Staged:
        if choice.is_refused:
            return _unreadable(found, choice, choice.why)
        try:
            staged = self._read(found, choice)
        except DataError as error:  # a damaged file does not stop the others
            if self.is_single:
                raise
            return _unreadable(found, choice, str(error))
        if wide := wide_encoding(found.path):
            staged.report.assumptions.append(f"the text is {wide}")
        return staged

    def _read(self, found: Found, choice: Choice) -> Staged:
        how = (self.folder, self.clock, self._collapse_seconds(choice))
        if choice.feed and choice.extends:
            return stage_extension(found, choice.feed, self.folder, self.further)
        if choice.feed:
            further = [table for table in merged(self.further) if table.feed.name == choice.feed.name]
            return reading.stage(found, choice.feed, *how, self.options, self.hiding, further)
        if choice.table_map:
            return tables.stage(found, choice.table_map, *how, self.hiding, self.options.dates)
        if choice.format == content.NAME:
            return content.stage(found, self.hiding)
        return redirection.stage(found, *how, self.hiding)

    def _collapse_seconds(self, choice: Choice) -> int:
        if self.collapse_minutes is not None:
            return round(60 * self.collapse_minutes)
        if choice.feed:
            return choice.feed.collapse_seconds
        return _LOG_COLLAPSE_SECONDS if choice.format == redirection.NAME else 0


def _unreadable(found: Found, choice: Choice, reason: str) -> Staged:
    table = choice.table_map.table if choice.table_map else "event"
    name = choice.format or (choice.table_map.format if choice.table_map else "")
    report = SourceReport(found.relative, name, table, read=1, quarantined=1)
    return Staged(report, {}, quarantine_frame([(1, reason, "")], report))


def _nothing_recognised(source: str | Path, chosen: list[tuple[Found, Choice]], format: str) -> str:
    """Say which file is nearest to which format, and why it does not match."""
    head = f"Nothing in {_end(str(source))} is of a format that can be read"
    if not chosen:
        return f"{head}: it holds no files."
    # Not all of many files are compared, since each is read again for that.
    compared = [(choice.is_refused, choice.near(), file, choice) for file, choice in chosen[:_TRIED]]
    _, near, file, choice = max(compared, key=lambda rank: (rank[0], bool(rank[1])))
    reason = f"{choice.why}; nearest is {near}" if near else choice.why
    more = f" ({len(chosen)} files, none nearer)" if len(chosen) > 1 else ""
    known = formats()
    advice = (
        f"Recognised are {format}: {known[format].recognised}."
        if format in known
        else "`trackkit formats` lists what can be read."
    )
    return f"{head}. {_end(file.relative)}: {reason[:_SEEN]}{more}. {advice}"


def _end(name: str) -> str:
    return repr(name if len(name) <= _SHOWN else f"…{name[-_SHOWN:]}")
