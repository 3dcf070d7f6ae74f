"""One file of a declared format, read: its batches of cells become events on disk, and every row is accounted for."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import polars as pl

from trackkit import schema
from trackkit.sources import dates, files
from trackkit.sources.feeds import framing
from trackkit.sources.feeds.access_logs import AccessLogSource
from trackkit.sources.feeds.feed import Feed
from trackkit.sources.feeds.json_paths import cell
from trackkit.sources.feeds.mapping import TOLD, EventMapper, FeedOptions
from trackkit.sources.feeds.records import Batch, JsonSource, Source
from trackkit.sources.feeds.tabular import ExtensionTable, TableSource
from trackkit.sources.files import Found
from trackkit.sources.hiding import Hiding
from trackkit.sources.report import SourceReport
from trackkit.sources.sheets import is_parquet
from trackkit.sources.staging import Staged, handed_on, quarantine_frame, staged_path
from trackkit.sources.values import Clock

SENT_IS_DELIVERED = "what was sent and did not bounce counts as delivered"
_ACCOUNT = ("link.type_code", "recipient_key", "local", "oddity", "is_shared", "exact", "loose")
_NEEDED = [*schema.EVENT.sourced, *TOLD, *_ACCOUNT]


def stage(
    found: Found,
    feed: Feed,
    folder: Path,
    clock: Clock,
    collapse_seconds: int,
    options: FeedOptions,
    hiding: Hiding,
    further: Sequence[ExtensionTable] = (),
) -> Staged:
    """Read one file by its map into Parquet in `folder`: events, what is gleaned of deliveries, links and recipients.

    Streamed: memory does not grow with the file. `further` are tables with further columns of its events.
    """
    report = SourceReport(found.relative, feed.name, "event")
    mapper = EventMapper(feed, Clock(feed.zone) if feed.zone else clock, options)
    mapping = _FileMapping(mapper, report, folder, collapse_seconds, hiding)
    source = _source(found, feed, mapper.paths, list(further))
    for batch in source.batches(folder):
        if source.order and not options.dates:
            mapping.mapper = replace(mapper, options=replace(options, dates=source.order))
        mapping.take(batch)
    return mapping.hand_on(source)


def _source(found: Found, feed: Feed, paths: list[str], further: list[ExtensionTable]) -> Source:
    """Return the source for the engine of a map; a table map may read JSON records of the same names too."""
    if feed.engine == "access_log":
        return AccessLogSource(found, feed, paths)
    may_be_json = feed.engine == "json" or ("json" in feed.also and not is_parquet(found.path))
    if may_be_json and (feed.engine == "json" or framing.looks_like(files.head(found.path, 4096))):
        return JsonSource(found, feed, paths)
    return TableSource(found, feed, paths, further=further)


@dataclass
class _FileMapping:
    """Maps the batches of a file to events and writes each as a Parquet part."""

    mapper: EventMapper
    report: SourceReport
    folder: Path
    collapse_seconds: int
    hiding: Hiding

    def __post_init__(self) -> None:
        self.parts: list[Path] = []
        self.refused: list[tuple[int, str, str]] = []
        self.pings, self.skipped = 0, 0
        self.kinds = self.mapper.kinds()

    def take(self, batch: Batch) -> None:
        """Map a batch, write its events and record the other rows."""
        self.refused += batch.broken
        if batch.cells is None:
            return
        cells = batch.cells.lazy().with_columns(
            source_file=pl.lit(self.report.path), collapse_seconds=pl.lit(self.collapse_seconds, pl.Int32)
        )
        rows = self.mapper.rows(self.hiding.rows(cells, self.kinds)).with_row_index("place").collect()
        refused = rows.filter(pl.col("refused").is_not_null()).select("source_row", "refused", "place")
        self.refused += [(row, reason, batch.text(place)) for row, reason, place in refused.iter_rows()]
        self.pings += rows.filter(pl.col("is_ping") & ~pl.col("is_skipped")).height
        self.skipped += rows.filter(pl.col("is_skipped")).height
        kept = rows.filter(pl.col("refused").is_null() & ~pl.col("is_ping") & ~pl.col("is_skipped"))
        part = staged_path(self.folder, "parquet")
        _complete(kept).write_parquet(part, compression="lz4", statistics=False)
        self.parts.append(part)

    def hand_on(self, source: Source) -> Staged:
        """Return the events, the rows gleaned for other tables, the refused rows and the report."""
        self.report.not_events, self.report.ignored_columns = source.not_events + self.skipped, source.ignored
        self.report.assumptions += source.notes
        if not self.parts:
            self.take(Batch(_no_cells(self.mapper)))
        rows = pl.scan_parquet(self.parts, glob=False)
        quarantine = quarantine_frame(sorted(self.refused), self.report)
        self._account(rows)
        events = {"event": rows.select(handed_on("event"))}
        copies = rows.select("exact", "loose") if self.mapper.feed.engine != "access_log" else None  # every line counts
        return Staged(
            self.report, events, quarantine, _gleaned(rows, "delivery.campaign_id" in self.mapper.readings), copies
        )

    def _account(self, rows: pl.LazyFrame) -> None:
        report, oddity, kind = self.report, pl.col("oddity"), pl.col("reported_type")
        counted = {
            "undated": pl.col("occurred_at").is_null(),
            "local": pl.col("local"),
            "twice": oddity == 1,
            "skipped": oddity == 2,
            "shared": pl.col("is_shared"),
            "without_delivery": pl.col("delivery_id").is_null(),
            "by_link": kind.is_null(),
            "sent": kind == "sent",
            "delivered": kind == "delivered",
            "opens": kind == "opened",
            "later_opens": (kind == "opened") & ~pl.col("is_first").fill_null(False),
        }
        sums = rows.select(pl.len().alias("kept"), **{name: condition.sum() for name, condition in counted.items()})
        counts: dict[str, int] = sums.collect(engine="streaming").row(0, named=True)
        report.quarantined, report.sent_is_delivered = len(self.refused), bool(self.mapper.feed.delivered)
        report.read, report.undated = counts["kept"] + report.quarantined, counts["undated"]
        report.assumptions += self.mapper.clock.notes(counts["local"], counts["twice"], counts["skipped"])
        report.assumptions += self._notes(counts)
        if self.mapper.options.dates:
            report.assumptions.append(dates.note("events", self.mapper.options.dates))
        unknown = rows.filter(pl.col("reported_type") == "unknown").group_by("raw_event_type").len()
        report.unknown_types = dict(unknown.sort("raw_event_type").collect().iter_rows())

    def _notes(self, counts: dict[str, int]) -> Iterator[str]:
        if self.pings:
            yield f"{self.pings:,} records are the sender's own tests or confirmations and tell of no event"
        if self.skipped:
            yield f"{self.skipped:,} records are notices, tests or mail that came in: no event of an e-mail sent"
        if self.mapper.feed.delivered and counts["sent"] and not counts["delivered"]:
            yield f"{counts['sent']:,} events say sent and none delivered: {SENT_IS_DELIVERED}"
        if shared := counts["shared"]:
            yield f"{shared:,} events are of messages to several recipients and do not say whose; the address is empty"
        if by_link := counts["by_link"]:
            yield f"{by_link:,} events are of the type that the table of links says; load it too"
        if counts["opens"] > 1 and not counts["later_opens"]:
            yield "every open is the first of its message: the sender kept no later ones, and total opens are unknown"
        if unknown := counts["without_delivery"]:
            yield f"{unknown:,} of {counts['kept']:,} events name no delivery; --delivery-field says which field does"


def copies_note(staged: list[Staged], options: FeedOptions) -> None:
    """Say, in the report of the first file of each format, how many rows each rule for copies removes or would."""
    by_format: dict[str, list[Staged]] = {}
    for file in staged:
        if file.copies is not None:
            by_format.setdefault(file.report.format, []).append(file)
    for files_of_format in by_format.values():
        copies = pl.concat([file.copies for file in files_of_format if file.copies is not None])
        rows, exact, loose = (
            copies.select(pl.len(), pl.col("exact", "loose").n_unique()).collect(engine="streaming").row(0)
        )
        files_of_format[0].report.assumptions += _of_copies(rows, exact, loose, options.dedupe)


def _of_copies(rows: int, exact: int, loose: int, dedupe: str) -> Iterator[str]:
    if rows > exact:
        counted = "each counted" if dedupe == "none" else "counted once"
        yield f"{rows - exact:,} rows of this load repeat another exactly: {counted} (--dedupe {dedupe})"
    if exact > loose:
        counted = "counted once" if dedupe == "loose" else "each counted"
        yield (
            f"{exact - loose:,} rows of this load differ from another only in the sender's own id: "
            f"{counted} (--dedupe {dedupe})"
        )


def _complete(rows: pl.DataFrame) -> pl.DataFrame:
    types = schema.EVENT.sourced | {name: pl.String() for name in TOLD}
    columns = {name: pl.col(name) if name in rows.columns else pl.lit(None) for name in _NEEDED}
    return rows.select(
        **{name: column.cast(types[name]) if name in types else column for name, column in columns.items()}
    )


def _no_cells(mapper: EventMapper) -> pl.DataFrame:
    types = dict.fromkeys([*map(cell, mapper.paths), "tags", "attributes"], pl.String)
    return pl.DataFrame(schema=types | {"source_row": pl.Int64, "is_shared": pl.Boolean, "is_empty": pl.Boolean})


def _gleaned(rows: pl.LazyFrame, has_campaigns: bool) -> dict[str, pl.LazyFrame]:
    delivery = {name: f"delivery.{name}" for name in ("label", "subject", "campaign_id")}
    is_told = pl.any_horizontal(pl.col(list(delivery.values())).is_not_null())
    has_delivery, has_campaign = (pl.col(name).is_not_null() for name in ("delivery_id", "delivery.campaign_id"))
    link = {"link_id": "link_id", "delivery_id": "delivery_id", "type_code": "link.type_code"}
    link |= {"label": "link.label", "url": "link.url"}
    delivery |= {"delivery_id": "delivery_id"}
    campaign = {"campaign_id": "delivery.campaign_id", "label": "campaign.label"}
    recipient = {"recipient_id": "recipient_id", "email": "recipient_key"}
    told = {
        "link": _as_handed_on("link", rows.filter(pl.col("link.url").is_not_null()), link),
        "delivery": _as_handed_on("delivery", rows.filter(has_delivery & is_told), delivery),
        "recipient": _as_handed_on("recipient", rows.filter(pl.col("recipient_id").is_not_null()), recipient),
    }
    if has_campaigns:
        told["campaign"] = _as_handed_on("campaign", rows.filter(has_delivery & has_campaign), campaign)
    return told


def _as_handed_on(table: str, rows: pl.LazyFrame, sources: Mapping[str, str]) -> pl.LazyFrame:
    """Return the columns of a table: those in `sources` from columns of the events, the others null."""
    types = schema.TABLES[table].schema
    columns = {name: pl.col(sources[name]) if name in sources else pl.lit(None) for name in types}
    columns |= {name: pl.col(name) for name in ("source_file", "source_row")}
    return rows.select(
        (columns[name].cast(types[name]) if name in types else columns[name]).alias(name) for name in handed_on(table)
    )
