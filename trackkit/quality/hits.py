"""Checks of hits: references to missing rows, implausible dates, and deliveries without any hit."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta

import polars as pl

from trackkit.engine.counters import BENIGN, differences
from trackkit.engine.deliveries import has_no_status, is_hit, is_of, is_public, is_set_aside
from trackkit.engine.plausible import BEFORE, EARLIEST, TIMES, now
from trackkit.engine.snapshot import Measurable
from trackkit.quality.finding import EXAMPLES, CheckResult
from trackkit.quality.thresholds import FAIL, PASS, FileLimits, ShareLimits, Thresholds
from trackkit.schema import MESSAGE


@dataclass(frozen=True)
class Examined:
    """The deliveries to check: one (message by message), several, or all (None)."""

    tables: Measurable
    limits: Thresholds
    deliveries: Sequence[str] | None = None

    @property
    def is_one(self) -> bool:
        """Whether a single delivery is checked."""
        return self.deliveries is not None and len(self.deliveries) == 1

    def scan(self, table: str) -> pl.LazyFrame:
        """Return the rows of a table in these deliveries."""
        rows = self.tables.scan(table)
        if self.deliveries is None:
            return rows
        return rows.filter(is_of(self.deliveries))

    def hits(self) -> pl.LazyFrame:
        """Return the hits in these deliveries: acts of readers, without the sends and bounces of an event feed."""
        return self.scan("event").filter(is_hit())


def hit_findings(scope: Examined) -> Iterator[CheckResult]:
    """Yield a finding for each check of hits and messages that the tables allow."""
    yield from _unknown_statuses(scope)
    yield from _stored_counters(scope)
    if not scope.tables.has("event"):
        return
    events = scope.hits()
    counts = events.select(pl.len(), opens=_is_open().sum())
    tallies = dict(_tallies(scope, events))
    # One after the other: together, polars would keep the hits in memory to read them once.
    sizes, *tallied = (rows.collect(engine="streaming") for rows in (counts, *tallies.values()))
    hits, opens = sizes.row(0)
    for check, tally in zip(tallies, tallied, strict=True):
        total = opens + tally["len"].sum() if check == "repeated_opens" else hits
        yield _share_finding(scope, check, tally, total)
    yield from _unknown_messages(scope, events, hits)
    yield from _before_send(scope, events)
    yield from _misdated(scope)
    yield from _tracking_missing(scope, hits)


def _unknown_statuses(scope: Examined) -> Iterator[CheckResult]:
    """Messages with an unknown or missing status in their table."""
    if not scope.tables.has("message"):
        return
    messages = scope.scan("message").filter(~pl.col("is_implied").fill_null(False))
    tally = messages.filter(has_no_status()).group_by(example="delivery_id").agg(pl.len()).collect(engine="streaming")
    total = messages.select(pl.len()).collect(engine="streaming").item()
    limits, count = scope.limits.unknown_statuses, int(tally["len"].sum())
    examples = tally.sort("len", "example", descending=[True, False])["example"].drop_nulls().head(EXAMPLES)
    yield CheckResult(
        "unknown_statuses", limits.judge(count, total), count, total, str(limits), examples=examples.to_list()
    )


def _stored_counters(scope: Examined) -> Iterator[CheckResult]:
    """Counters of the platform that differ from ours, unless a cause is found by which both are right."""
    if not scope.tables.has("counter"):
        return
    limits = scope.limits.stored_counters
    rows = differences(scope.tables, scope.deliveries, limits.tolerance)
    if rows.is_empty():
        return
    wrong = rows.filter("differs", ~pl.col("cause").cast(pl.String).is_in(BENIGN).fill_null(False))
    named = "column" if scope.is_one else pl.format("{} of {}", "column", "delivery_id").alias("column")
    yield CheckResult(
        "stored_counters",
        limits.judge(wrong.height, rows.height),
        wrong.height,
        rows.height,
        str(limits),
        examples=wrong.select(named)["column"].head(EXAMPLES).to_list(),
    )


def _is_of_feed() -> pl.Expr:
    """Whether a hit has no id of the platform: such feeds come without a list of deliveries."""
    return pl.col("event_id").str.starts_with("sha256:").fill_null(False)


def _is_open() -> pl.Expr:
    return (pl.col("event_type").cast(pl.String) == "opened").fill_null(False)


def _tallies(scope: Examined, events: pl.LazyFrame) -> Iterator[tuple[str, pl.LazyFrame]]:
    """Yield for each check the number of its hits by example."""
    for check, table, key, rows in (
        ("unknown_deliveries", "delivery", "delivery_id", events.filter(~_is_of_feed())),
        ("unknown_links", "link", "link_id", events.filter(~_is_open())),
    ):
        if scope.tables.has(table) and not (scope.is_one and table == "delivery"):  # for one delivery it is a caveat
            listed = scope.tables.scan(table).select(example=key)
            counts = _count_by_example(rows.filter(pl.col(key).is_not_null()), key)
            yield check, counts.join(listed, on="example", how="anti")
    event_type = pl.col("event_type").cast(pl.String)
    is_unknown = event_type.is_null() | (event_type == "unknown")
    if not scope.tables.has("link"):  # then the platform's hits have no type, but senders' words can be checked
        unknown_words = events.filter((pl.col("reported_type").cast(pl.String) == "unknown").fill_null(False))
        if unknown_words.head(1).collect().height:
            yield "unknown_types", _count_by_example(unknown_words, "raw_event_type")
    else:
        # A hit on an unknown link has no type either, but is reported as an unknown link.
        links = scope.tables.scan("link").select("link_id", is_listed=True)
        untyped = events.filter(is_unknown).join(links, on="link_id", how="left")
        untyped = untyped.filter(pl.col("is_listed").fill_null(False) | pl.col("link_id").is_null())
        yield "unknown_types", _count_by_example(untyped, pl.coalesce("raw_event_type", "link_id"))
    yield "undated", _count_by_example(events.filter(pl.col("occurred_at").is_null()), "source_file")
    if scope.tables.has("collapsed"):
        yield "repeated_opens", _count_by_example(scope.scan("collapsed"), "source_file")


def _count_by_example(rows: pl.LazyFrame, example: str | pl.Expr) -> pl.LazyFrame:
    by = pl.col(example) if isinstance(example, str) else example
    at = pl.col("occurred_at")
    return rows.group_by(by.alias("example")).agg(pl.len(), first=at.min(), last=at.max())


def _share_finding(scope: Examined, check: str, tally: pl.DataFrame, total: int) -> CheckResult:
    limits: ShareLimits = getattr(scope.limits, check)
    count = int(tally["len"].sum())
    examples = tally.sort("len", "example", descending=[True, False])["example"].drop_nulls().head(EXAMPLES)
    first, last = tally.select(pl.col("first").min(), pl.col("last").max()).row(0)
    judge = limits.judge_file if isinstance(limits, FileLimits) else limits.judge  # small logs have limits of their own
    return CheckResult(check, judge(count, total), count, total, str(limits), first, last, examples.to_list())


def _unknown_messages(scope: Examined, events: pl.LazyFrame, hits: int) -> Iterator[CheckResult]:
    """Hits without their message, except where the delivery has none at all: they are purged after some months."""
    if not scope.tables.has("message"):
        return
    # Columns copied from the message show that it exists: only the few other hits are looked up.
    candidates = events.filter(
        pl.col("message_id").is_not_null() & pl.all_horizontal(pl.col("is_seed", "domain").is_null())
    )
    at = pl.col("occurred_at")
    key = list(MESSAGE.key)
    tally = candidates.group_by(key).agg(pl.len(), first=at.min(), last=at.max())
    tally = tally.collect(engine="streaming").lazy()
    messages = scope.scan("message").join(tally.select("delivery_id").unique(), on="delivery_id", how="semi")
    listed = messages.select("delivery_id").unique()
    orphans = tally.join(messages, on=key, how="anti").join(listed, on="delivery_id", how="semi")
    orphans = orphans.rename({"message_id": "example"})
    yield _share_finding(scope, "unknown_messages", orphans.collect(engine="streaming"), hits)


def _before_send(scope: Examined, events: pl.LazyFrame) -> Iterator[CheckResult]:
    """Hits before their message was sent, or, for many deliveries, before the first message of the delivery."""
    limits = scope.limits.before_send
    # Within one delivery the message id is a sufficient key.
    table, key, sent = (
        ("message", "message_id", "status_at") if scope.is_one else ("delivery", "delivery_id", "started_at")
    )
    if not scope.tables.has(table):
        return
    sendings = scope.scan(table).filter(pl.col(sent).is_not_null())
    sendings = sendings.filter(pl.col("status").cast(pl.String) == "delivered") if scope.is_one else sendings
    hits = events.filter(pl.col("occurred_at").is_not_null()).join(sendings.select(key, sent=sent), on=key)
    early = (pl.col("sent") - pl.col("occurred_at")).dt.total_seconds()
    is_early = early > limits.seconds
    at = pl.col("occurred_at").filter(is_early)
    count, total, median, first, last = (
        hits.select(is_early.sum(), pl.len(), median=early.filter(is_early).median(), first=at.min(), last=at.max())
        .collect(engine="streaming")
        .row(0)
    )
    examples = [] if median is None else [f"{int(median / 60 + 0.5)} min"]
    yield CheckResult("before_send", limits.judge(count, total), count, total, str(limits), first, last, examples)


def _misdated(scope: Examined) -> Iterator[CheckResult]:
    """Rows dated after the load that brought them, or long before their delivery or any.

    If most rows are, the clock of the machine that loaded them is in doubt, and none are reported.
    """
    limits, dated_tables = scope.limits.misdated, [table for table in TIMES if scope.tables.has(table)]
    totals = pl.concat(_misdated_counts(scope, table).collect(engine="streaming") for table in dated_tables)
    total, early, late = totals.select(pl.col("all", "early", "late").sum()).row(0)
    count = sum(number for number in (early, late) if 2 * number < total)
    first, last = totals.select(pl.col("first").min(), pl.col("last").max()).row(0) if count else (None, None)
    examples = [f"{at:%Y-%m-%d}" for at in sorted({first, last} - {None})]
    yield CheckResult("misdated", limits.judge(count, total), count, total, str(limits), first, last, examples)


def _misdated_counts(scope: Examined, table: str) -> pl.LazyFrame:
    """The number of dated rows of a table, of those too early and too late, and the range of the latter two."""
    at, loaded = pl.col(TIMES[table]), getattr(scope.tables, "as_of", None)
    starts = scope.scan("delivery").group_by("delivery_id").agg(start=pl.col("started_at").min())
    of_deliveries = table in ("event", "message") or scope.is_one  # subscriptions and pages mostly name no delivery
    rows = (scope.scan(table) if of_deliveries else scope.tables.scan(table)).select("delivery_id", TIMES[table])
    is_early = at < pl.lit(EARLIEST)
    if table == "event":  # subscriptions and pages before a delivery are normal
        rows = rows.join(starts, on="delivery_id", how="left")
        is_early = is_early | (at < pl.col("start") - BEFORE).fill_null(False)
    is_late = at > pl.lit(loaded + timedelta(seconds=scope.limits.misdated.seconds)) if loaded else pl.lit(False)
    wrong = at.filter(is_early | is_late)
    return rows.select(
        all=at.count(), early=is_early.sum(), late=is_late.fill_null(False).sum(), first=wrong.min(), last=wrong.max()
    )


def _tracking_missing(scope: Examined, hits: int) -> Iterator[CheckResult]:
    """Deliveries whose messages were delivered long enough ago, without any hit."""
    limits = scope.limits.tracking_missing
    if not scope.tables.has("message") or (scope.is_one and hits):
        return
    newest = now(scope.tables)
    if newest is None:
        return
    sent = _delivered_counts(scope).filter(
        pl.col("html") >= limits.messages, pl.col("last") <= newest - timedelta(hours=limits.hours)
    )
    tracked = scope.hits().select("delivery_id").unique()
    untracked = sent.join(tracked, on="delivery_id", how="anti").sort("delivered", descending=True)
    total = sent.select(pl.len()).collect(engine="streaming").item()
    silent = untracked.collect(engine="streaming")
    ids = silent["delivery_id"].to_list()
    first, last = silent.select(pl.col("last").min().alias("first"), pl.col("last").max()).row(0)
    if not scope.is_one:
        yield CheckResult(
            "tracking_missing", limits.judge(len(ids), total), len(ids), total, str(limits), first, last, ids
        )
    elif total:
        delivered = int(silent["delivered"].sum())
        yield CheckResult("tracking_missing", FAIL if ids else PASS, delivered, None, str(limits), first, last, ids)


def _delivered_counts(scope: Examined) -> pl.LazyFrame:
    """For each delivery not set aside: messages delivered, those not in text, and when the last was sent."""
    deliveries = scope.scan("delivery").select("delivery_id", "text_messages", is_aside=is_set_aside())
    sent = scope.scan("message").filter(pl.col("status").cast(pl.String) == "delivered", is_public())
    counts = sent.group_by("delivery_id").agg(delivered=pl.len().cast(pl.Int64), last=pl.col("status_at").max())
    return (
        counts.join(deliveries, on="delivery_id", how="left")
        .filter(~pl.col("is_aside").fill_null(False))
        .join(scope.scan("purge"), on="delivery_id", how="anti")  # retention removed their hits
        .with_columns(html=pl.col("delivered") - pl.col("text_messages").fill_null(0))
    )
