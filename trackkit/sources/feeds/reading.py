"""One file of a declared format, read: its batches of cells become events on disk, and every row is accounted for."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import polars as pl

from trackkit import schema
from trackkit.sources import dates, files
from trackkit.sources.feeds import framing
from trackkit.sources.feeds.extension import Further
from trackkit.sources.feeds.feed import Feed
from trackkit.sources.feeds.hits import Hits
from trackkit.sources.feeds.mapping import TOLD, Mapping, Wishes
from trackkit.sources.feeds.paths import cell
from trackkit.sources.feeds.records import Batch, Records, Source
from trackkit.sources.feeds.tabular import Table
from trackkit.sources.files import Found
from trackkit.sources.hiding import Hiding
from trackkit.sources.report import SourceReport
from trackkit.sources.sheets import is_parquet
from trackkit.sources.staging import Staged, handed_on, quarantine_frame, staged_path
from trackkit.sources.values import Clock

ENGINES: dict[str, type[Source]] = {"json": Records, "table": Table, "access_log": Hits}
SENT_IS_DELIVERED = "what was sent and did not bounce counts as delivered"
_NEEDED = [*schema.EVENT.sourced, *TOLD, "link.type_code", "recipient_key", "local", "oddity", "is_shared",
           "exact", "loose"]  # fmt: skip


def stage(
    found: Found,
    feed: Feed,
    folder: Path,
    clock: Clock,
    collapse_seconds: int,
    wishes: Wishes,
    hiding: Hiding,
    further: Sequence[Further] = (),
) -> Staged:
    """Read one file by its map into Parquet in `folder`: events, what is gleaned of deliveries, links and recipients.

    Streamed: memory does not grow with the file. `further` are tables with further columns of its events.
    """
    report = SourceReport(found.relative, feed.name, "event")
    mapping = Mapping(feed, Clock(feed.zone) if feed.zone else clock, wishes)
    work = _Work(mapping, report, folder, collapse_seconds, hiding)
    source = ENGINES[_engine(found, feed)](found, feed, mapping.paths, further=list(further))
    for batch in source.batches(folder):
        if source.order and not wishes.dates:
            work.mapping = replace(mapping, wishes=replace(wishes, dates=source.order))
        work.take(batch)
    return work.hand_on(source)


def _engine(found: Found, feed: Feed) -> str:
    """Return the engine for a file: a table map may read records of the same names too."""
    if "json" not in feed.also or is_parquet(found.path):
        return feed.engine
    return "json" if framing.looks_like(files.head(found.path, 4096)) else feed.engine


@dataclass
class _Work:
    """A file on its way to disk, a part for each batch."""

    mapping: Mapping
    report: SourceReport
    folder: Path
    collapse_seconds: int
    hiding: Hiding

    def __post_init__(self) -> None:
        self.parts: list[Path] = []
        self.bad: list[tuple[int, str, str]] = []
        self.pings, self.skipped = 0, 0
        self.kinds = self.mapping.kinds()

    def take(self, batch: Batch) -> None:
        """Map a batch and write what is an event; note the rest."""
        self.bad += batch.broken
        if batch.cells is None:
            return
        cells = batch.cells.lazy().with_columns(
            source_file=pl.lit(self.report.path), collapse_seconds=pl.lit(self.collapse_seconds, pl.Int32)
        )
        rows = self.mapping.rows(self.hiding.rows(cells, self.kinds)).with_row_index("place").collect()
        wrong = rows.filter(pl.col("refused").is_not_null()).select("source_row", "refused", "place")
        self.bad += [(row, reason, batch.text(place)) for row, reason, place in wrong.iter_rows()]
        self.pings += (rows["is_ping"] & ~rows["is_skipped"]).sum()
        self.skipped += rows["is_skipped"].sum()
        kept = rows.filter(pl.col("refused").is_null() & ~pl.col("is_ping") & ~pl.col("is_skipped"))
        part = staged_path(self.folder, "parquet")
        _complete(kept).write_parquet(part, compression="lz4", statistics=False)
        self.parts.append(part)

    def hand_on(self, source: Source) -> Staged:
        """Return the events and what they tell of other tables, with what was refused and the account."""
        self.report.not_events, self.report.ignored_columns = source.not_events + self.skipped, source.ignored
        self.report.assumptions += source.notes
        if not self.parts:
            self.take(Batch(_no_cells(self.mapping)))
        rows = pl.scan_parquet(self.parts, glob=False)
        quarantine = quarantine_frame(sorted(self.bad), self.report)
        self._account(rows)
        events = {"event": rows.select(handed_on("event"))}
        copies = rows.select("exact", "loose") if self.mapping.feed.engine != "access_log" else None  # there all count
        return Staged(self.report, events, quarantine, _gleaned(rows), copies)

    def _account(self, rows: pl.LazyFrame) -> None:
        report, odd, is_open = self.report, pl.col("oddity"), pl.col("reported_type") == "opened"
        counts = rows.select(
            kept=pl.len(), undated=pl.col("occurred_at").is_null().sum(), local=pl.col("local").sum(),
            twice=(odd == 1).sum(), skipped=(odd == 2).sum(), shared=pl.col("is_shared").sum(),
            homeless=pl.col("delivery_id").is_null().sum(), by_link=pl.col("reported_type").is_null().sum(),
            sent=(pl.col("reported_type") == "sent").sum(), told=(pl.col("reported_type") == "delivered").sum(),
            opens=is_open.sum(), later=(is_open & ~pl.col("is_first").fill_null(False)).sum(),
        ).collect(engine="streaming").row(0, named=True)  # fmt: skip
        report.quarantined, report.sent_is_delivered = len(self.bad), bool(self.mapping.feed.delivered)
        report.read, report.undated = counts["kept"] + report.quarantined, counts["undated"]
        report.assumptions += self.mapping.clock.notes(counts["local"], counts["twice"], counts["skipped"])
        report.assumptions += self._notes(**counts)
        if self.mapping.wishes.dates:
            report.assumptions.append(dates.note("events", self.mapping.wishes.dates))
        unknown = rows.filter(pl.col("reported_type") == "unknown").group_by("raw_event_type").len()
        report.unknown_types = dict(unknown.sort("raw_event_type").collect().iter_rows())

    def _notes(
        self, kept: int, shared: int, homeless: int, by_link: int, opens: int, later: int, sent: int, told: int,
        **_: int,
    ) -> Iterator[str]:  # fmt: skip
        if self.pings:
            yield f"{self.pings:,} records are the sender's own tests or confirmations and tell of no event"
        if self.skipped:
            yield f"{self.skipped:,} records are notices, tests or mail that came in: no event of an e-mail sent"
        if self.mapping.feed.delivered and sent and not told:
            yield f"{sent:,} events say sent and none delivered: {SENT_IS_DELIVERED}"
        if shared:
            yield f"{shared:,} events are of messages to several recipients and do not say whose; the address is empty"
        if by_link:
            yield f"{by_link:,} events are of the type that the table of links says; load it too"
        if opens > 1 and not later:
            yield "every open is the first of its message: the sender kept no later ones, and total opens are unknown"
        if homeless:
            yield f"{homeless:,} of {kept:,} events name no delivery; --delivery-field says which field does"


def copies_note(staged: list[Staged], wishes: Wishes) -> None:
    """Say, in the report of the first file of each format, how many rows each rule for copies removes or would."""
    by_format: dict[str, list[Staged]] = {}
    for one in staged:
        if one.copies is not None:
            by_format.setdefault(one.report.format, []).append(one)
    for same in by_format.values():
        copies = pl.concat([one.copies for one in same if one.copies is not None])
        counts = copies.select(pl.len(), pl.col("exact", "loose").n_unique()).collect(engine="streaming").row(0)
        same[0].report.assumptions += _of_copies(*counts, wishes.dedupe)


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
    return rows.select(
        (pl.col(name) if name in rows.columns else pl.lit(None, types[name])).cast(types[name]).alias(name)
        if name in types else pl.col(name)
        for name in _NEEDED
    )  # fmt: skip


def _no_cells(mapping: Mapping) -> pl.DataFrame:
    types = dict.fromkeys([*map(cell, mapping.paths), "tags", "attributes"], pl.String)
    return pl.DataFrame(schema=types | {"source_row": pl.Int64, "is_shared": pl.Boolean, "is_empty": pl.Boolean})


def _gleaned(rows: pl.LazyFrame) -> dict[str, pl.LazyFrame]:
    is_told = pl.any_horizontal(pl.col("delivery.label", "delivery.subject").is_not_null())
    of = {
        "link": rows.filter(pl.col("link.url").is_not_null()).select(
            "link_id", "delivery_id", "source_file", "source_row", type_code="link.type_code", label="link.label",
            url="link.url",
        ),
        "delivery": rows.filter(pl.col("delivery_id").is_not_null() & is_told).select(
            "delivery_id", "source_file", "source_row", label="delivery.label", subject="delivery.subject"
        ),
        "recipient": rows.filter(pl.col("recipient_id").is_not_null()).select(
            "recipient_id", "source_file", "source_row", email="recipient_key"
        ),
    }  # fmt: skip
    return {table: _as_handed_on(table, frame) for table, frame in of.items()}


def _as_handed_on(table: str, frame: pl.LazyFrame) -> pl.LazyFrame:
    types, known = schema.TABLES[table].schema, frame.collect_schema()
    return frame.select(
        (pl.col(name) if name in known else pl.lit(None)).cast(types.get(name, known.get(name))).alias(name)
        for name in handed_on(table)
    )
