"""What a load did, file by file: how many lines were read, and what became of each of them."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import polars as pl

from trackkit.listing import Listing
from trackkit.plain import one_line

_MOST_FILES = 10  # that are shown unasked in a notebook
_COUNTS = ("read", "kept", "duplicate", "collapsed", "quarantined", "undated")


@dataclass
class SourceReport:
    """One file: `read` = `kept` + `duplicate` + `collapsed` + `quarantined`, once the store has de-duplicated it.

    Counts are lines (raw logs; blank lines are not lines), rows (tables; the header is not a row) or events (records;
    one may hold several). `not_events` counts apart, outside `read`, the sound lines of an access log that are no
    tracked hits. `unknown_values` counts, by column, the words that are in no list of the platform: their rows are
    kept, with an unknown value. `unreadable` says why nothing of a file could be read, `cut` why its rest is lost.
    A source fills `read`, `quarantined`, `undated`, `not_events` and what it assumed; de-duplication the others.
    """

    path: str
    format: str
    table: str
    read: int = 0
    kept: int = 0
    duplicate: int = 0
    collapsed: int = 0
    quarantined: int = 0
    undated: int = 0
    not_events: int = 0
    unknown_types: dict[str, int] = field(default_factory=dict)
    unknown_values: dict[str, dict[str, int]] = field(default_factory=dict)
    assumptions: list[str] = field(default_factory=list)
    ignored_columns: list[str] = field(default_factory=list)
    sent_is_delivered: bool = False  # the format may lack deliveries: what was sent and did not bounce counts
    unreadable: str = ""
    cut: str = ""

    @property
    def accepted(self) -> int:
        """Rows handed on for the file's own table."""
        return self.read - self.quarantined

    @property
    def is_settled(self) -> bool:
        """Whether every line is accounted for."""
        return self.read == self.kept + self.duplicate + self.collapsed + self.quarantined

    def to_dict(self) -> dict[str, Any]:
        """Return the file's entry of the load report, in the shape that `trackkit ingest --json` prints."""
        return asdict(self)


@dataclass(repr=False)
class LoadReport:
    """A load of one or several sources; the store fills what concerns all of them.

    Shown, it begins with the verdict and the total; `print` lists every file, and ends with them.

    `event_types` counts the kept events by type; `quality` is the verdict on the load (`quality.loads.judge_load`);
    `unreadable` says why nothing of a source could be read; `rules` is the version of the rules about machines by which
    hits were marked.

    >>> report = LoadReport([SourceReport("a.log", "adobe_redirection_log", "event", read=3, kept=2, quarantined=1)])
    >>> report.total("read"), report.is_settled
    (3, True)
    >>> print(report)
    a.log  adobe_redirection_log -> event: 3 read = 2 kept + 0 duplicate + 0 collapsed + 1 quarantined
    """

    sources: list[SourceReport] = field(default_factory=list)
    event_types: dict[str, int] = field(default_factory=dict)
    ignored_files: dict[str, str] = field(default_factory=dict)
    quality: dict[str, Any] = field(default_factory=dict)
    unreadable: dict[str, str] = field(default_factory=dict)
    rules: str = ""

    @property
    def failures(self) -> dict[str, str]:
        """The sources and files of which nothing could be read, and why."""
        return self.unreadable | {source.path: source.unreadable for source in self.sources if source.unreadable}

    @property
    def is_settled(self) -> bool:
        """Whether every line of every file is accounted for."""
        return all(source.is_settled for source in self.sources)

    def total(self, count: str) -> int:
        """Return one count (`read`, `kept`, `duplicate`, `collapsed`, `quarantined`, `undated`) over all files."""
        return sum(getattr(source, count) for source in self.sources)

    def to_dict(self) -> dict[str, Any]:
        """Return the report in the shape that `trackkit ingest --json` prints."""
        return asdict(self)

    @classmethod
    def from_dict(cls, written: Mapping[str, Any]) -> "LoadReport":
        """Rebuild a report from what `to_dict` gave."""
        sources = [SourceReport(**source) for source in written["sources"]]
        ignored, quality, unreadable = (
            dict(written.get(name, {})) for name in ("ignored_files", "quality", "unreadable")
        )
        return cls(sources, dict(written["event_types"]), ignored, quality, unreadable, written.get("rules", ""))

    @classmethod
    def merged(cls, reports: Iterable["LoadReport"]) -> "LoadReport":
        """Return one report of several loads, their files in order; the verdict on each is left out."""
        merged_report, types = cls(), Counter[str]()
        for report in reports:
            merged_report.sources += report.sources
            merged_report.ignored_files |= report.ignored_files
            merged_report.unreadable |= report.unreadable
            types.update(report.event_types)
        merged_report.event_types = dict(types)
        return merged_report

    def __str__(self) -> str:
        lines = [line for source in self.sources for line in _source_lines(source)]
        lines += [one_line(f"{path}  nothing could be read: {why}") for path, why in self.unreadable.items()]
        lines += [one_line(f"{path}  not read: {why}") for path, why in self.ignored_files.items()]
        if len(self.sources) > 1:
            lines.append(f"{len(self.sources)} files: {_sum({name: self.total(name) for name in _COUNTS})}")
        if self.event_types:
            lines.append("events: " + ", ".join(f"{count:,} {name}" for name, count in self.event_types.items()))
        return "\n".join([*lines, *self._judgement()]) or "nothing was read"

    def _judgement(self) -> list[str]:
        """The verdict and its reasons, a line each."""
        if not self.quality:
            return []
        reasons = [f"    {one_line(reason['reason'])}" for reason in self.quality["reasons"]]
        return [f"quality: {self.quality['verdict']}", *reasons]

    def _head(self) -> list[str]:
        """The verdict with its reasons, the total, and the kept events by type."""
        files = f"{len(self.sources)} file{'s' * (len(self.sources) != 1)}"
        events = ", ".join(f"{count:,} {name}" for name, count in self.event_types.items())
        total = f"{files}: {_sum({name: self.total(name) for name in _COUNTS})}"
        return [*self._judgement(), total, *([f"events: {events}"] if events else [])]

    def __repr__(self) -> str:
        unread = len(self.failures)
        return "\n".join([*self._head(), *([f"{unread} not read"] if unread else []), "print() lists every file."])

    def _repr_html_(self) -> str:
        rows = [
            (source.path, source.format, source.table, *(getattr(source, name) for name in _COUNTS), _noted(source))
            for source in self.sources
        ]
        unread = (self.unreadable | self.ignored_files).items()
        head = [*self._head(), *(f"Not read: {path}: {why}" for path, why in unread)]
        files = Listing([], ["file", "format", "table", *_COUNTS, "notes"], rows)._repr_html_()
        folded = f"<details><summary>Every file</summary>{files}</details>" if len(rows) > _MOST_FILES else files
        return Listing(head, [], [])._repr_html_() + folded


def _noted(source: SourceReport) -> str:
    return "; ".join(_notes(source))


def _sum(counts: Mapping[str, int]) -> str:
    parts = " + ".join(f"{counts[name]:,} {name}" for name in _COUNTS[1:5])
    return f"{counts['read']:,} read = {parts}"


def _source_lines(source: SourceReport) -> list[str]:
    head = f"{source.path}  {source.format} -> {source.table}: {_sum(vars(source))}"
    return [one_line(head), *(f"    {note}" for note in _notes(source))]


def _notes(source: SourceReport) -> list[str]:
    notes = [f"nothing could be read: {source.unreadable}"] if source.unreadable else []
    notes += [source.cut] if source.cut else []
    notes += source.assumptions
    if source.not_events:
        what = "requests that are no tracked hits, or records of no message sent"
        notes.append(f"{source.not_events:,} lines besides are {what}")
    if source.undated:
        notes.append(f"{source.undated:,} undated")
    if source.unknown_types:
        words = ", ".join(f"{word!r} {count:,}" for word, count in source.unknown_types.items())
        notes.append(f"unknown types: {words}")
    notes += [f"unknown {name}: {_word_counts(words)}" for name, words in source.unknown_values.items()]
    if source.ignored_columns:
        more = f" and {len(source.ignored_columns) - 8} more" if len(source.ignored_columns) > 8 else ""
        notes.append("columns not used: " + ", ".join(source.ignored_columns[:8]) + more)
    return [one_line(note) for note in notes]


MOST_WORDS = 20  # unknown words of a column that are listed one by one


def most_frequent(tally: pl.DataFrame) -> dict[str, int]:
    """Return the most frequent words of a tally (`word`, `len`); the others are counted under the empty word."""
    ranked = tally.sort("len", "word", descending=[True, False])
    listed = dict(ranked.head(MOST_WORDS).iter_rows())
    other_count = ranked["len"].slice(MOST_WORDS).sum()
    return listed | ({"": other_count} if other_count else {})


def _word_counts(words: Mapping[str, int]) -> str:
    return ", ".join(f"{word!r} {count:,}" if word else f"other words {count:,}" for word, count in words.items())
