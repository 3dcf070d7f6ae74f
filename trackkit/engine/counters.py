"""The platform's own counters of a delivery beside what we compute, and why they differ, found from data.

A cause is named only where allowing for it brings our figure to the platform's, within the tolerance; of several, the
first in the order of `CAUSES`. The rest have none.
"""

from collections.abc import Iterator, Sequence

import polars as pl

from trackkit import schema
from trackkit.engine.completeness import purged
from trackkit.engine.deliveries import is_public
from trackkit.engine.measure import measure, quotient
from trackkit.engine.plausible import now
from trackkit.engine.snapshot import Measurable, Snapshot

TOLERANCE = 0.01  # the platform does not refresh its counters while less is pending (trackingIgnorePercent)
# Why a counter differs; those that mean that rows are missing here come last.
LATER, SEEDS, ESTIMATE, EARLIER_EXPORT = "later", "seeds", "estimate", "earlier_export"
REPEATS, UNREADABLE, LOGS_END, REMOVED = "repeats", "unreadable", "logs_end", "removed"
CAUSES = (LATER, SEEDS, ESTIMATE, EARLIER_EXPORT, REPEATS, UNREADABLE, LOGS_END, REMOVED)
BENIGN = (LATER, SEEDS, ESTIMATE, EARLIER_EXPORT, REPEATS)  # both figures are right
KEY = ["delivery_id", "counter"]
COLUMNS: dict[str, pl.DataType] = {"delivery_id": pl.String(), "counter": pl.String(), "column": pl.String()}
COLUMNS |= {"stored": pl.Float64(), "metric": pl.String(), "reason": pl.Int16(), "ours": pl.Float64()}
COLUMNS |= {"difference": pl.Float64(), "relative": pl.Float64(), "differs": pl.Boolean()}
COLUMNS |= {"computed_at": schema.INSTANT, "cause": pl.Enum(CAUSES), "allowed": pl.Float64()}
_RAW = "adobe_redirection_log"
# The metric that a counter would be if its estimate, or the messages to control addresses, were taken otherwise.
_OTHERWISE = {
    SEEDS: {"delivered": "delivered_with_seeds", "delivered_with_seeds": "delivered"},
    ESTIMATE: {
        "unique_opens": "estimated_unique_opens",
        "total_opens": "estimated_total_opens",
        "estimated_unique_opens": "unique_opens",
        "estimated_total_opens": "total_opens",
    },
}


def differences(
    tables: Measurable, deliveries: Sequence[str] | None = None, tolerance: float = TOLERANCE
) -> pl.DataFrame:
    """Return the platform's counters beside ours: one row per delivery and counter, of some deliveries or of all.

    Columns: `COLUMNS`; see `analysis.counters.compare`. Empty where no export brought counters.
    """
    stored = tables.scan("counter").filter(pl.col("counter").is_in(list(schema.COUNTERS)))
    if deliveries is not None:
        stored = stored.filter(pl.col("delivery_id").is_in(list(deliveries)))
    every = stored.select(*KEY, "computed_at", stored="value").sort("computed_at", nulls_last=False).collect()
    if every.is_empty():
        return pl.DataFrame(schema=COLUMNS)
    latest = every.group_by(KEY, maintain_order=True).last()
    rows = _judged(latest.join(_measured(tables, latest), on=KEY, how="left"), "ours", tolerance)
    allowed = list(_allowances(tables, rows.filter("differs"), every, tolerance))
    causes = pl.concat(allowed, how="vertical").unique(KEY, keep="first", maintain_order=True) if allowed else None
    rows = rows.with_columns(cause=None, allowed=None) if causes is None else rows.join(causes, on=KEY, how="left")
    order = pl.col("counter").cast(pl.Enum(list(schema.COUNTERS)))
    facts = {name: {key: getattr(each, name) for key, each in schema.COUNTERS.items()} for name in _FACTS}
    named = {
        name: pl.col("counter").replace_strict(values, return_dtype=COLUMNS[name]) for name, values in facts.items()
    }
    return (
        rows.sort("delivery_id", order)
        .with_columns(**named)
        .select(pl.col(name).cast(dtype) for name, dtype in COLUMNS.items())
    )


_FACTS = ("column", "metric", "reason")


def _judged(rows: pl.DataFrame, ours: str, tolerance: float) -> pl.DataFrame:
    """Add `difference`, `relative`, and `differs`: by more than the tolerance; an unknown figure does not differ."""
    difference = pl.col(ours) - pl.col("stored")
    is_beyond = difference.abs() > tolerance * pl.col("stored").abs()
    return rows.with_columns(difference=difference, differs=is_beyond.fill_null(False)).with_columns(
        relative=quotient("difference", "stored")
    )


def _measured(tables: Measurable, asked: pl.DataFrame, other: dict[str, str] | None = None) -> pl.DataFrame:
    """What we compute for the counters asked for: (delivery_id, counter, ours); `other` metrics instead of theirs."""
    counters = {name: each for name, each in schema.COUNTERS.items() if name in set(asked["counter"])}
    metrics = {name: (other or {}).get(each.metric, each.metric) for name, each in counters.items()}
    keys = asked["delivery_id"].unique().sort().to_list()
    figures = measure(tables, list(dict.fromkeys(metrics.values())), delivery=keys)
    values = [
        figures.select("delivery_id", counter=pl.lit(name), ours=pl.col(metric).cast(pl.Float64))
        for name, metric in metrics.items()
        if counters[name].reason is None
    ]
    if reasons := {each.reason: name for name, each in counters.items() if each.reason is not None}:
        values.append(_by_reason(tables, figures, keys, reasons))
    return pl.concat(values)


def _by_reason(tables: Measurable, figures: pl.DataFrame, keys: list[str], reasons: dict[int, str]) -> pl.DataFrame:
    """The failed messages of each reason; 0 where none failed for it, null where failures are unknown."""
    failed = measure(tables, "failed", by=["delivery_id", "failure_reason"], delivery=keys)
    names = pl.DataFrame({"failure_reason": list(reasons), "counter": list(reasons.values())})
    grid = figures.select("delivery_id", all="failed").join(names, how="cross")
    each = failed.with_columns(pl.col("failure_reason").cast(pl.Int64))
    both = grid.join(each, on=["delivery_id", "failure_reason"], how="left")
    known = pl.when(pl.col("all").is_not_null()).then(pl.col("failed").fill_null(0))
    return both.select(*KEY, ours=known.cast(pl.Float64))


# ---- causes ----


def _allowances(
    tables: Measurable, differing: pl.DataFrame, every: pl.DataFrame, tolerance: float
) -> Iterator[pl.DataFrame]:
    """Yield the counters that each cause explains, in the order of `CAUSES`: (delivery_id, counter, cause, allowed)."""
    if differing.is_empty():
        return
    figures = {
        LATER: _as_of(tables, differing),
        SEEDS: _with_seeds(tables, differing),
        ESTIMATE: _measured(tables, differing, _OTHERWISE[ESTIMATE]),
        EARLIER_EXPORT: differing.select(*KEY, "ours"),
        REPEATS: _with_repeats(tables, differing),
    }
    earlier = every.join(differing.select(*KEY, latest="computed_at"), on=KEY)
    earlier = earlier.filter(pl.col("computed_at").ne_missing(pl.col("latest"))).select(*KEY, "stored")
    for cause, ours in figures.items():
        stored = earlier if cause == EARLIER_EXPORT else differing.select(*KEY, "stored")
        both = stored.join(ours.select(*KEY, allowed="ours"), on=KEY).drop_nulls()
        met = _judged(both, "allowed", tolerance).filter(~pl.col("differs"))
        yield met.select(*KEY, cause=pl.lit(cause), allowed="allowed")
    yield from _lacking(tables, differing)


def _lacking(tables: Measurable, differing: pl.DataFrame) -> Iterator[pl.DataFrame]:
    """Yield the counters that are larger on the platform, since rows are missing here."""
    fewer = differing.filter(pl.col("difference") < 0)
    unreadable = fewer.join(_unreadable(tables, fewer), on="delivery_id")
    yield _named(unreadable.filter(-pl.col("difference") <= pl.col("lines")), UNREADABLE)
    newest = now(tables)
    is_after = pl.lit(False) if newest is None else pl.col("computed_at") > pl.lit(newest, schema.INSTANT)
    yield _named(fewer.filter(is_after.fill_null(False)), LOGS_END)
    yield _named(differing.join(purged(tables), on="delivery_id", how="semi"), REMOVED)


def _named(rows: pl.DataFrame, cause: str) -> pl.DataFrame:
    return rows.select(*KEY, cause=pl.lit(cause), allowed=pl.lit(None, pl.Float64))


def _as_of(tables: Measurable, differing: pl.DataFrame) -> pl.DataFrame:
    """What we compute from what had happened when the platform computed its counters."""
    times = differing.drop_nulls("computed_at").group_by("delivery_id").agg(until=pl.col("computed_at").max())
    if times.is_empty():
        return differing.clear().select(*KEY, "ours")
    ended = tables.scan("delivery").select("delivery_id", "ended_at").unique("delivery_id")
    until = times.lazy().join(ended, on="delivery_id", how="left")
    events = tables.scan("event").join(until, on="delivery_id")
    events = events.filter((pl.col("occurred_at") <= pl.col("until")).fill_null(True))
    is_later = (pl.col("status_at") > pl.col("until")).fill_null(False)
    # A message that failed after the delivery was over had been a success until it came back.
    had_been = pl.when((pl.col("status") == "failed") & (pl.col("until") >= pl.col("ended_at")).fill_null(False))
    before = had_been.then(pl.lit("delivered")).otherwise(pl.lit("pending"))
    status = pl.when(is_later).then(before).otherwise(pl.col("status").cast(pl.String)).alias("status")
    messages = tables.scan("message").join(until, on="delivery_id").with_columns(status)
    asked = differing.join(times, on="delivery_id", how="semi")
    return _measured(_changed(tables, event=events.drop("until", "ended_at"), message=messages), asked)


def _with_seeds(tables: Measurable, differing: pl.DataFrame) -> pl.DataFrame:
    """What we compute if control addresses count in hits, and in successes the other way round."""
    ids = differing["delivery_id"].unique().implode()
    of_theirs = pl.col("delivery_id").is_in(ids)
    events = tables.scan("event").filter(of_theirs).with_columns(is_seed=pl.lit(False))
    return _measured(_changed(tables, event=events), differing, _OTHERWISE[SEEDS])


def _changed(tables: Measurable, **frames: pl.LazyFrame) -> Snapshot:
    """The tables with some frames instead, counted row by row, since stored marks are of the frames as they were."""
    kept = {name: tables.scan(name) for name in schema.TABLES if tables.has(name)}
    changed = {name: rows.drop(*schema.FIRSTS, strict=False) for name, rows in frames.items() if name in kept}
    return Snapshot(kept | changed, getattr(tables, "as_of", None), timezone=tables.timezone)


def _with_repeats(tables: Measurable, differing: pl.DataFrame) -> pl.DataFrame:
    """Our opens with the repeated ones that were set aside."""
    aside = tables.scan("collapsed").filter(is_public()).group_by("delivery_id").agg(repeats=pl.len())
    opens = differing.filter(pl.col("counter") == "total_recipient_open")
    both = opens.join(aside.collect(), on="delivery_id", how="inner")
    return both.select(*KEY, ours=pl.col("ours") + pl.col("repeats"))


def _unreadable(tables: Measurable, rows: pl.DataFrame) -> pl.DataFrame:
    """The lines of each delivery that could not be read: (delivery_id, lines)."""
    is_raw, text = pl.col("source") == _RAW, pl.col("text")
    key = text.str.split("\t").list.get(3, null_on_oob=True).str.to_integer(base=16, dtype=pl.UInt64, strict=False)
    words = pl.when(is_raw).then(pl.concat_list(key.cast(pl.String))).otherwise(text.str.extract_all(r"[\w-]+"))
    named = tables.scan("quarantine").select(delivery_id=words.list.unique()).explode("delivery_id")
    ids = rows["delivery_id"].unique().implode()
    return named.filter(pl.col("delivery_id").is_in(ids)).group_by("delivery_id").agg(lines=pl.len()).collect()
