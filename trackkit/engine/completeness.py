"""Counts that rows cannot give: unknown ones, those that a source states, and those kept when rows were removed.

`delivery.sent` is what a source without a message log says it sent: whatever did not fail counts as delivered.
`delivery.untold` names what the source does not report: `message` for the message log, or types of events. A count that
needs it is null, never 0. Where retention removed rows of a delivery, its counts are those kept, or null.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import polars as pl

from trackkit import schema
from trackkit.engine.deliveries import has_no_status, is_public
from trackkit.engine.selection import Selection
from trackkit.engine.snapshot import Tables
from trackkit.metrics import METRICS, Count, Distinct, Metric, Ratio, where_of

PURGES = {"delivery_id": pl.String(), "source": pl.String()}
MESSAGE = "message"
_PROCESSED = ("prepared", "failed", "delivered")  # what counts as processed


def completed(selection: Selection, counted: pl.DataFrame, metrics: list[Metric], groups: list[str]) -> pl.DataFrame:
    """Complete counts of rows with those that rows cannot give; null where they are unknown."""
    counted = _with_stated(selection, _with_unknown(selection, counted, metrics, groups), metrics, groups)
    is_whole = groups == ["delivery_id"] and selection.is_unfiltered
    return _with_kept(selection.tables, counted, metrics, is_whole) if "delivery_id" in groups else counted


# ---- counts that are unknown ----


def _with_unknown(
    selection: Selection, counted: pl.DataFrame, metrics: list[Metric], groups: list[str]
) -> pl.DataFrame:
    """Make counts that cannot be known null, rather than 0 or too low."""
    shared = [column for column in groups if "event" in selection.joins.breakdowns[column]]
    stated = selection.stated.drop_nulls("sent")["delivery_id"].to_list() if _is_whole(selection, groups) else ()
    for source in ("message", "event"):
        names = [metric.name for metric in metrics if metric.source == source and _needs_all_rows(metric)]
        unknown = _unknown_groups(selection, source, shared, stated if source == "message" else ()) if names else None
        if unknown is None or unknown.is_empty():
            continue
        is_known = pl.lit(False)
        if shared:
            counted = counted.join(unknown, on=shared, how="left", nulls_equal=True, maintain_order="left")
            is_known = pl.col("is_unknown").is_null()
        counted = counted.with_columns(pl.when(is_known).then(name).alias(name) for name in names)
        counted = counted.drop("is_unknown", strict=False)
    return counted


def _needs_all_rows(metric: Metric) -> bool:
    """Whether missing rows make a count too low: any count of messages, and of events all but opens."""
    return metric.source == "message" or bool(set(where_of(metric.formula).get("event_type", ())) - {"opened"})


def _unknown_groups(
    selection: Selection, source: str, groups: list[str], but: Sequence[str] = ()
) -> pl.DataFrame | None:
    """The groups in which counts of a source are unknown, one row each; None where they are known everywhere.

    For messages: groups with events of a delivery whose messages were not loaded, and groups of a delivery whose
    messages are all of unknown status. For events: groups with hits that only a list of links could classify, when
    none was loaded. Events of the deliveries `but` are left out.
    """
    frames = [_with_incomplete_events(selection, source, groups, but)]
    frames += [_without_status(selection, groups)] if source == "message" and selection.has("message") else []
    unknown = [frame for frame in frames if frame is not None]
    return pl.concat(unknown).unique() if unknown else None


def _without_status(selection: Selection, groups: list[str]) -> pl.DataFrame | None:
    """The groups of deliveries whose messages are all of unknown status."""
    backend, api = selection.backend, selection.backend.api
    messages = selection.in_scope(selection.of_deliveries("message"))
    if not {"status", "delivery_id"} <= set(messages.collect_schema()):
        return None
    # First, deliveries with any such message: usually there are none.
    unknown = backend.collect(messages.filter(has_no_status(api)).select("delivery_id").unique())
    if unknown.is_empty():
        return None
    key, candidates = api.col("delivery_id"), unknown["delivery_id"].drop_nulls().to_list()
    others = messages.filter(key.is_in(candidates), ~has_no_status(api))
    with_status = backend.collect(others.select("delivery_id").unique())
    rows = messages.filter(key.is_in(sorted(set(candidates) - set(with_status["delivery_id"]))))
    return _groups_of(selection, rows, groups, selection.where)


def _with_incomplete_events(
    selection: Selection, source: str, groups: list[str], but: Sequence[str]
) -> pl.DataFrame | None:
    """The groups with events that show that a source's counts are incomplete."""
    if not (selection.has("event") and selection.has(source)) or (source == "event" and selection.has("link")):
        return None
    api, where = selection.backend.api, selection.where
    events = selection.timed(selection.in_scope(selection.of_deliveries("event")))
    tests = _tests_of_completeness(source, api)
    if not tests.keys() <= set(events.collect_schema()):
        return None
    revealing = events.filter(*tests.values())
    if but:
        revealing = revealing.filter(~api.col("delivery_id").is_in(list(but)))
    is_of_events = where is not None and all(
        "event" in selection.joins.breakdowns[name] for name in where.meta.root_names()
    )
    return _groups_of(selection, revealing, groups, where if is_of_events else None)


def _tests_of_completeness(source: str, api: Any) -> dict[str, Any]:
    """Tests of events that show that a source's counts are incomplete, by the column each looks at."""
    if source == "message":
        return {"has_messages": ~api.col("has_messages")}
    event_type = api.col("event_type")
    return {
        "is_seed": is_public(api),
        "reported_type": api.col("reported_type").is_null(),
        "event_type": event_type.is_null() | (event_type == "unknown"),
    }


def _groups_of(selection: Selection, rows: Any, groups: list[str], where: pl.Expr | None) -> pl.DataFrame:
    """The groups with rows that meet a condition, marked as unknown."""
    matching = rows if where is None else selection.meeting_condition(rows)
    marked = selection.joins.joined(matching, groups).with_columns(is_unknown=selection.backend.api.lit(True))
    found = selection.backend.collect(marked.select(*selection.keyed(groups), "is_unknown").unique())
    described: pl.DataFrame = selection.described(found, groups)
    return described.select(*groups, "is_unknown").unique()


# ---- counts that a source made itself ----


def _is_whole(selection: Selection, groups: list[str]) -> bool:
    """Whether counts of whole deliveries are asked for: sources that only state totals have no others."""
    return selection.where is None and selection.keyed(groups) in ([], ["delivery_id"])


def _with_stated(selection: Selection, counted: pl.DataFrame, metrics: list[Metric], groups: list[str]) -> pl.DataFrame:
    """Add the messages that sources only state, and make null what a source does not report."""
    if selection.stated.is_empty():
        return counted
    is_whole = _is_whole(selection, groups)
    if is_whole:
        counted = _with_sent(selection, counted, [metric for metric in metrics if metric.source == MESSAGE], groups)
    for metric in metrics:
        unknown = selection.stated.filter(_is_unknown(metric, is_whole))["delivery_id"]
        if unknown.len():
            counted = without_groups(selection, counted, metric.name, unknown, groups)
    return counted


def without_groups(
    selection: Selection, counted: pl.DataFrame, name: str, deliveries: pl.Series, groups: list[str]
) -> pl.DataFrame:
    """Make a count null in the groups that deliveries are in: all, unless the groups say so."""
    keys = [group for group in groups if group == "delivery_id" or group in selection.joins.of_deliveries]
    if not keys:
        return counted.with_columns(pl.lit(None, counted.schema[name]).alias(name))
    theirs: pl.DataFrame = selection.described(deliveries.to_frame(), keys).select(keys).unique()
    marked = theirs.with_columns(is_theirs=pl.lit(True))
    counted = counted.join(marked, on=keys, how="left", nulls_equal=True, maintain_order="left")
    return counted.with_columns(pl.when(pl.col("is_theirs").is_null()).then(name).alias(name)).drop("is_theirs")


def _is_unknown(metric: Metric, is_whole: bool) -> pl.Expr:
    where = where_of(metric.formula)
    untold = pl.col("untold").str.split(" ").fill_null([])
    if metric.source == "event":
        types = set(where.get("event_type", schema.HITS))
        return untold.list.eval(pl.element().is_in(list(types))).list.any()
    if metric.source != MESSAGE:
        return pl.lit(False)
    statuses = set(where.get("status", _PROCESSED))
    is_counted = is_whole and bool(statuses & set(_PROCESSED))
    return untold.list.contains(MESSAGE) & (pl.col("sent").is_null() | ~pl.lit(is_counted))


def _with_sent(selection: Selection, counted: pl.DataFrame, metrics: list[Metric], groups: list[str]) -> pl.DataFrame:
    """Add messages known only to have been sent to the counts of delivered ones."""
    sent = selection.stated.drop_nulls("sent").select("delivery_id", "sent")
    status = pl.col("status").cast(pl.String)
    messages = selection.tables.scan(MESSAGE).filter(pl.col("delivery_id").is_in(sent["delivery_id"].implode()))
    processed = messages.filter(status.is_in(_PROCESSED)).group_by("delivery_id").agg(processed=pl.len().cast(pl.Int64))
    unreported = sent.join(processed.collect(), on="delivery_id", how="left").select(
        "delivery_id", unreported=(pl.col("sent") - pl.col("processed").fill_null(0)).clip(0)
    )
    if "delivery_id" in groups:
        counted = counted.join(unreported, on="delivery_id", how="left", maintain_order="left")
        is_stated = pl.col("unreported").is_not_null()
    else:
        counted = joined_to(counted, _unreported_by(selection, unreported, groups), groups)
        # Without a message table, the stated ones are all.
        is_stated = pl.col("is_all") if not selection.has(MESSAGE) else pl.lit(False)
    for metric in metrics:
        value = pl.when(is_stated).then(pl.col(metric.name).fill_null(0)).otherwise(metric.name)
        extra = pl.col("unreported").fill_null(0) if _counts_delivered(metric) else 0
        counted = counted.with_columns((value + extra).alias(metric.name))
    return counted.drop("unreported", "is_all", strict=False)


def _unreported_by(selection: Selection, unreported: pl.DataFrame, groups: list[str]) -> pl.DataFrame:
    """The messages only stated in each group, and whether sources state those of all its deliveries (`is_all`)."""
    every = selection.described(selection.deliveries().join(unreported, on="delivery_id", how="left"), groups)
    value = pl.col("unreported")
    sums = {"is_all": value.is_not_null().all(), "unreported": value.sum()}
    by_group: pl.DataFrame = every.group_by(groups).agg(**sums) if groups else every.select(**sums)
    return by_group


def joined_to(counted: pl.DataFrame, others: pl.DataFrame, groups: list[str]) -> pl.DataFrame:
    """Counts with the columns of another frame of the same groups."""
    if not groups:
        return pl.concat([counted, others], how="horizontal")
    return counted.join(others, on=groups, how="left", nulls_equal=True, maintain_order="left")


def _counts_delivered(metric: Metric) -> bool:
    """Whether a message delivered to an address that is no control address counts in a metric."""
    where = metric.formula.where if isinstance(metric.formula, Count) else {}
    return "delivered" in where.get("status", ()) and set(where) <= {"status", "is_seed"}


# ---- counts kept when retention removed rows ----


class LastRemoval(NamedTuple):
    """When retention last removed rows of a delivery, and whether its counts were kept."""

    at: datetime
    is_kept: bool


def purged(tables: Tables) -> pl.DataFrame:
    """Return the deliveries and sources whose rows were removed: (delivery_id, source).

    >>> from trackkit.engine.snapshot import Snapshot
    >>> purged(Snapshot({})).height
    0
    """
    if not tables.has("purge"):
        return pl.DataFrame(schema=PURGES)
    return tables.scan("purge").select("delivery_id", source="purged_table").collect()


def removal_of(tables: Tables, delivery: str) -> LastRemoval | None:
    """Return the last removal of rows of a delivery, or None if none were removed."""
    purge, kept = (tables.scan(name).filter(pl.col("delivery_id") == delivery) for name in ("purge", "kept_count"))
    at = purge.select(pl.col("purged_at").max()).collect().item()
    return None if at is None else LastRemoval(at, kept.head(1).collect().height > 0)


def kept_deliveries(tables: Tables) -> set[str]:
    """Return the deliveries with kept counts."""
    return set(tables.scan("kept_count").select(pl.col("delivery_id").unique()).collect().to_series())


def kept_currencies(tables: Tables, deliveries: Iterable[str]) -> set[str]:
    """Return the currencies of the sums kept of some deliveries."""
    kept = tables.scan("kept_count").filter(pl.col("delivery_id").is_in(list(deliveries)))
    return set(kept.select(pl.col("currency").drop_nulls().unique()).collect().to_series())


def _with_kept(tables: Tables, measured: pl.DataFrame, metrics: Sequence[Metric], is_whole: bool) -> pl.DataFrame:
    """Replace counts of removed rows, by `delivery_id`, with those kept or null; never count what remains.

    `is_whole` says that each row is a whole delivery; counts are kept only for those.
    """
    purges = purged(tables)
    if purges.is_empty():
        return measured
    names = [metric.name for metric in metrics]
    kept = tables.scan("kept_count").filter(pl.col("metric").is_in(names)).collect() if is_whole else None
    for metric in metrics:
        ids = purges.filter(source=metric.source)["delivery_id"]
        if ids.len():
            measured = measured.with_columns(_kept_or_null(metric.name, ids, kept, measured.schema[metric.name]))
    return measured


def _kept_or_null(name: str, purged_ids: pl.Series, kept: pl.DataFrame | None, dtype: pl.DataType) -> pl.Expr:
    values = None if kept is None else kept.filter(metric=name).select("delivery_id", "value")
    value = pl.lit(None, dtype)
    if values is not None and values.height:
        ids, numbers = values
        value = pl.col("delivery_id").replace_strict(ids, numbers, default=None, return_dtype=pl.Float64).cast(dtype)
    return pl.when(pl.col("delivery_id").is_in(purged_ids.implode())).then(value).otherwise(pl.col(name)).alias(name)


def add_deliveries(total: pl.DataFrame, each: pl.DataFrame, names: Iterable[str], groups: list[str]) -> pl.DataFrame:
    """Return totals with whole deliveries added: counts of messages and hits add up, those of people do not.

    In: `total`, one row per group, and `each`, one row per delivery with its group. Out: the groups and the counts
    among `names`; one that is null in all rows of a group stays null.
    """
    counts = [name for name in names if not isinstance(METRICS[name].formula, Ratio)]
    rows = [total.select(*groups, *counts, is_kept=pl.lit(False)), each.select(*groups, *counts, is_kept=pl.lit(True))]
    sums = [_sum_of_deliveries(name) for name in counts]
    both = pl.concat(rows, how="vertical_relaxed")
    return both.group_by(groups).agg(sums) if groups else both.select(sums)


def _sum_of_deliveries(name: str) -> pl.Expr:
    formula, is_known = METRICS[name].formula, pl.col(name).count() > 0
    if isinstance(formula, Distinct) and "delivery_id" not in schema.IDENTITY[formula.column]:
        is_known &= ~pl.col("is_kept").any()
    return pl.when(is_known).then(pl.col(name).sum()).alias(name)
