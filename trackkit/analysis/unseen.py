"""What cannot be observed of a delivery, and why: cases where a count of 0 would be misleading.

`measure` keeps the platform's formulas, by which a text-only delivery has 0 opens; pages and the index ask here, and
show n/a with the reason. What is unobservable is given by kind: a type of event, "estimate" (opens scaled up for text
messages) or "reason" (why messages failed). A kind that was seen even once is observable.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any

import polars as pl

from trackkit import schema
from trackkit.analysis.curves import SERIES
from trackkit.engine.completeness import kept_deliveries, purged
from trackkit.engine.deliveries import Deliveries, asked_about, is_of, the_one
from trackkit.engine.measure import measure
from trackkit.engine.plausible import now
from trackkit.engine.selection import ALL
from trackkit.engine.snapshot import Measurable, with_all_hits
from trackkit.language import translatable
from trackkit.metrics import METRICS, Estimate, bounds_of, lineage
from trackkit.sources.feeds.feed import can_tell

__all__ = ["measure_observed", "observed", "partly_seen", "together", "unseen"]

Kinds = Mapping[str, str]  # what cannot be observed -> why, an English sentence to be translated
WHY = "why {}"  # the column with the reason beside a figure that cannot be observed
ALL_TEXT = translatable("only text was sent: its opens cannot be seen")
NO_SUCH_CHANNEL = translatable("this channel does not tell it")
NOT_TOLD = translatable("its source does not tell it")
NOT_OPENS = translatable("clicks are known and not one open: opens were not tracked")
NO_LINK = translatable("no link of this delivery was tracked")
NO_HIT = translatable("not one hit is known: tracking was off, or its logs are missing")
NO_PAGE = translatable("no page of the site is tracked")
NO_PURCHASE = translatable("no purchase is tracked")
NO_REASON = translatable("why messages failed is not in the data loaded")
SEVERAL_REASONS = translatable("none of these deliveries tells it, for several reasons")
# The metric that shows whether a kind was seen.
SEEN_BY = {
    **{"opened": "total_opens", "clicked": "total_clicks", "unsubscribed": "unsubscribe_clicks"},
    **{"mirror_page": "mirror_page_clicks", "web_visited": "web_visits", "transaction": "transactions"},
    **{"complained": "complaints", "reason": "hard_bounces"},
}
BOUNDED = {bound: name for name in METRICS for bound in bounds_of(name)}  # the rate that each bound is of
_ALWAYS_COUNTED, _FAILURE_KINDS = ("delivered", "unique_clicks"), ("complained", "reason")
EMAIL, WITHOUT_LINKS = 0, (2, 3, 4)  # channels: phone, direct mail and fax have no links
IN_MESSAGE, ON_SITE = ("clicked", "unsubscribed", "mirror_page"), ("web_visited", "transaction")
CLICKERS = 5  # clickers nearly always load images: with this many, at least one open would be known
MESSAGES, SILENCE = 50, timedelta(hours=24)  # this many messages always have a hit after this long


def unseen(
    tables: Measurable, deliveries: Iterable[str] | None, figures: Iterable[str] | None = None
) -> dict[str, Kinds]:
    """Return what cannot be observed of each delivery: kinds with their reasons, empty if all can be.

    `deliveries` are ids, or None for all that are not set aside. `figures` are the metrics asked about, all by default;
    if none counts failures or complaints, these are not checked. Raises RequestError for an unknown delivery.

    >>> from trackkit.engine.snapshot import Snapshot
    >>> text = pl.LazyFrame({"delivery_id": ["7"], "to_deliver": [9], "text_messages": [9]})
    >>> unseen(Snapshot({"delivery": text}), ["7"])["7"]["opened"]
    'only text was sent: its opens cannot be seen'
    """
    tables = with_all_hits(tables)  # a hit of a machine shows as well that hits were tracked
    keys = None if deliveries is None else list(dict.fromkeys(deliveries))
    if keys == []:
        return {}
    cached: dict[Any, dict[str, Kinds]] = getattr(tables, "unseen", {})  # a snapshot does not change
    place = keys and tuple(keys), tuple(counted := _counts_behind(figures))
    if place not in cached:
        cached[place] = _unseen(tables, keys, counted)
    return cached[place]


def _unseen(tables: Measurable, keys: list[str] | None, counted: list[str]) -> dict[str, Kinds]:
    counts = measure(tables, counted, delivery=keys).drop_nulls("delivery_id")
    known = counts["delivery_id"].to_list()
    if not known:
        return {}
    facts = counts.join(_delivery_facts(tables, known), on="delivery_id", how="left").to_dicts()
    context = _Surroundings(tables, known)
    return {fact["delivery_id"]: _unseen_of(fact, context) for fact in facts}


def _counts_behind(figures: Iterable[str] | None) -> list[str]:
    """The counts that show what was seen; those of failures and complaints only if figures need them."""
    names = [figures] if isinstance(figures, str) else figures or METRICS
    kinds = {kind for name in names for part in lineage(name) for kind in _kinds_of(part)}
    if kinds & set(_FAILURE_KINDS):
        return [*SEEN_BY.values(), *_ALWAYS_COUNTED, "failed", "soft_bounces"]
    return [*(name for kind, name in SEEN_BY.items() if kind not in _FAILURE_KINDS), *_ALWAYS_COUNTED]


def observed(frame: pl.DataFrame, unseen_by_delivery: Mapping[str, Kinds]) -> pl.DataFrame:
    """Return a frame of figures with unobservable ones set to null and their reasons in columns beside them.

    In: a frame of `measure`, or one with columns or rows of series (`curves.SERIES`); and the result of `unseen` for
    the deliveries of its rows, or for those that all of it is about: what can be observed in any of these stays
    (`measure_observed` measures it over these alone). A rate depends on its parts, its bounds on it.

    >>> observed(pl.DataFrame({"total_opens": [0]}), {"7": {"opened": "SMS"}}).row(0)
    (None, 'SMS')
    """
    if "series" in frame.columns:
        return _observed_series(frame, unseen_by_delivery)
    for name in frame.columns:
        by_delivery = {
            delivery: _reason(BOUNDED.get(name, name), kinds) for delivery, kinds in unseen_by_delivery.items()
        }
        reasons = {delivery: reason for delivery, reason in by_delivery.items() if reason}
        if reasons and "delivery_id" in frame.columns:
            why = pl.col("delivery_id").replace_strict(reasons, default=None, return_dtype=pl.String)
        elif reasons and len(reasons) == len(unseen_by_delivery):
            why = pl.lit(_common(reasons.values()), pl.String)
        else:
            continue
        frame = frame.with_columns(pl.when(why.is_null()).then(name).alias(name), why.alias(WHY.format(name)))
    return frame


def _observed_series(frame: pl.DataFrame, unseen_by_delivery: Mapping[str, Kinds]) -> pl.DataFrame:
    known = list(unseen_by_delivery.values())
    is_hidden = {name: bool(known) and all(kind in kinds for kinds in known) for name, kind in SERIES.items()}
    reasons = {name: _common(kinds[SERIES[name]] for kinds in known) for name, hidden in is_hidden.items() if hidden}
    reason = pl.col("series").cast(pl.String).replace_strict(reasons, default=None, return_dtype=pl.String)
    counts = [name for name, dtype in frame.schema.items() if dtype.is_numeric() and name != "slot"]
    values = [pl.when(reason.is_null()).then(name).alias(name) for name in counts]
    return frame.with_columns(*values, reason.alias(WHY.format("series")))


def _common(reasons: Iterable[str]) -> str:
    """The reason that all of some deliveries share, or that there are several."""
    first, *others = dict.fromkeys(reasons)
    return SEVERAL_REASONS if others else first


def measure_observed(
    tables: Measurable,
    metrics: Sequence[str],
    hidden: Mapping[str, Kinds],
    by: Sequence[str] = (),
    delivery: Deliveries = None,
    interval: float | None = None,
    activity: str = ALL,
    join: Mapping[str, Any] | None = None,
) -> pl.DataFrame:
    """Measure metrics over deliveries, each over those in which it can be observed: rows of `measure`.

    `hidden` is the result of `unseen` for these deliveries. What can be observed in none of them is null (`observed`).
    What can be observed in some (`partly_seen`) is that of these, numerator and denominator alike: where the row counts
    a part of it over more deliveries, it has a column of its own, such as "delivered of open_rate" (`metrics.part_of`).
    The platform's formulas, over all, are those of `measure`. Raises RequestError as `measure`.
    """
    figures = observed(measure(tables, metrics, by, delivery, interval=interval, activity=activity, join=join), hidden)
    if "delivery_id" in by:
        return figures
    wholes = [name for name in figures.columns if name in METRICS and METRICS[name].source == "message"]
    for unknown, why, names in _seen_alike(hidden, figures.columns):
        seen = _named(tables, [each for each in hidden if each not in unknown], delivery, by)
        asked = list(dict.fromkeys([*names, *wholes]))
        alone = measure(tables, asked, by, seen, interval=interval, activity=activity, join=join)
        figures = _with_own(figures, alone, names, wholes, by, why)
    return figures


def _seen_alike(hidden: Mapping[str, Kinds], columns: Iterable[str]) -> Iterator[tuple[list[str], str, list[str]]]:
    """Yield the deliveries in which metrics cannot be observed, why, and these metrics."""
    partly = partly_seen(hidden, [name for name in columns if name in METRICS])
    alike = partly.group_by("unknown", maintain_order=True).agg(pl.col("why").first(), "metric")
    yield from alike.select("unknown", "why", "metric").iter_rows()


def _named(tables: Measurable, seen: list[str], delivery: Deliveries, by: Sequence[str]) -> list[str]:
    """The deliveries to measure; of all, without those that removed rows leave out (one that is named makes null)."""
    if delivery:
        return seen
    removed = set(purged(tables)["delivery_id"]) - (set() if by else kept_deliveries(tables))
    return [each for each in seen if each not in removed]


def _with_own(
    figures: pl.DataFrame, alone: pl.DataFrame, names: Sequence[str], wholes: Sequence[str], by: Sequence[str], why: str
) -> pl.DataFrame:
    """Replace metrics by those of some deliveries, with parts of their own; one in no group of these has why."""
    replaced = [each for name in names for each in (name, *bounds_of(name)) if each in figures.columns]
    own = {each: pl.col(each) for each in replaced}
    for name in names:
        parts = [part for part in dict.fromkeys((*METRICS[name].parents, *wholes)) if part not in names]
        own |= {f"{part} of {name}": pl.col(part) for part in parts}
    found = alone.select(*by, **own, is_seen=pl.lit(True))
    others = figures.drop(replaced)
    joined = (
        others.join(found, on=list(by), how="left", nulls_equal=True, maintain_order="left")
        if by
        else pl.concat([others, found], how="horizontal")
    )
    reason = pl.when(pl.col("is_seen").is_null()).then(pl.lit(why))
    reasons = {WHY.format(name): reason for name in names} if joined["is_seen"].null_count() else {}
    order = [*figures.columns, *(name for name in own if name not in replaced), *reasons]
    return joined.with_columns(**reasons).select(order)


def together(tables: Measurable, metrics: Sequence[str], delivery: Deliveries = None) -> pl.DataFrame:
    """Return metrics over deliveries together, in one row, as `measure_observed`; that of one has its `delivery_id`.

    Raises RequestError as `measure`.
    """
    ids = asked_about(tables, delivery)
    by = ["delivery_id"] if the_one(ids) else []
    return measure_observed(tables, metrics, unseen(tables, ids, metrics), by, ids)


def partly_seen(hidden: Mapping[str, Kinds], metrics: Iterable[str]) -> pl.DataFrame:
    """Return the metrics that can be observed in some of several deliveries only: one row each, in their order.

    In: the result of `unseen` for these deliveries. Columns: `metric`; `unknown`, the deliveries in which it cannot be
    observed, `deliveries`, how many they are of, and `why`, the reason. Empty for one delivery.

    >>> partly_seen({"7": {"opened": "SMS"}, "8": {}}, ["total_opens", "total_clicks"]).rows()
    [('total_opens', ['7'], 2, 'SMS')]
    """
    columns: dict[str, Any] = {
        "metric": pl.String,
        "unknown": pl.List(pl.String),
        "deliveries": pl.Int64,
        "why": pl.String,
    }
    by_metric = {
        name: {delivery: why for delivery, kinds in hidden.items() if (why := _reason(name, kinds))} for name in metrics
    }
    rows = [
        (name, list(reasons), len(hidden), _common(reasons.values()))
        for name, reasons in by_metric.items()
        if 0 < len(reasons) < len(hidden)
    ]
    return pl.DataFrame(rows, columns, orient="row")


def _reason(name: str, kinds: Kinds) -> str:
    """Why a column cannot be observed, or "" if it can be."""
    parts = (
        [_kinds_of(part) for part in lineage(name)] if name in METRICS else [{SERIES[name]}] if name in SERIES else []
    )
    return next((kinds[min(part)] for part in parts if part and part <= kinds.keys()), "")


def _kinds_of(name: str) -> set[str]:
    """The kinds that a metric counts; it is unobservable if all of them are."""
    metric = METRICS[name]
    where = getattr(metric.formula, "where", {})
    if isinstance(metric.formula, Estimate):
        return {"estimate"}
    if metric.source == "event":  # a recipient with any hit has opened
        return set(where.get("event_type", ("opened",)))
    kinds = {"is_complaint": "complained", "failure_reason": "reason"}
    return {kinds[column] for column in where if column in kinds}


def _delivery_facts(tables: Measurable, keys: list[str]) -> pl.DataFrame:
    rows = tables.scan("delivery").filter(is_of(keys))
    available, types = rows.collect_schema(), schema.DELIVERY.schema
    names = ("delivery_id", "message_type", "text_messages", "to_deliver", "untold", "started_at", "ended_at")
    columns = [pl.col(name) if name in available else pl.lit(None, types[name]).alias(name) for name in names]
    return rows.select(columns).unique("delivery_id").collect()


class _Surroundings:
    """Facts from other tables about deliveries, each looked up once and only if needed."""

    def __init__(self, tables: Measurable, keys: list[str]) -> None:
        self.tables, self.keys = tables, keys
        self.events = tables.scan("event").filter(is_of(keys))

    @cached_property
    def newest(self) -> datetime | None:
        """The newest instant in the data."""
        return now(self.tables)

    @cached_property
    def reported(self) -> dict[str, frozenset[str]]:
        """The event types that the senders of each delivery report; only deliveries whose sources are all feeds."""
        rows = self.events.select("delivery_id", "source").unique().collect()
        senders: dict[str, set[str] | None] = {}
        for delivery, source in rows.iter_rows():
            known, types = senders.get(delivery, set()), can_tell(source)
            senders[delivery] = None if known is None or types is None else known | types
        return {delivery: frozenset(types) for delivery, types in senders.items() if types is not None}

    @cached_property
    def linked(self) -> set[str | None]:
        """The deliveries with a link in the message (no open, no page of the site); None for links shared by all."""
        links = self.tables.scan("link").filter(~pl.col("type_code").is_in([2, 4, 5]).fill_null(False))
        return set(links.select("delivery_id").unique().collect()["delivery_id"])

    @cached_property
    def tracked(self) -> set[str]:
        """The types of hits tracked on the site, for any delivery: those of a tag or a hit."""
        links = self.tables.scan("link").select(pl.col("type_code").drop_nulls().unique()).collect()["type_code"]
        by_tag = {schema.LINK_TYPES[code] for code in links if code in schema.LINK_TYPES} & set(ON_SITE)
        hits = self.tables.scan("event").select(pl.col("event_type").cast(pl.String).unique())
        return by_tag if len(by_tag) == len(ON_SITE) else by_tag | set(hits.collect()["event_type"]) & set(ON_SITE)

    @cached_property
    def explained(self) -> set[str]:
        """The deliveries in which any message has a failure reason."""
        messages = self.tables.scan("message").filter(is_of(self.keys), pl.col("failure_reason").is_not_null())
        return set(messages.select("delivery_id").unique().collect()["delivery_id"])


def _unseen_of(fact: Mapping[str, Any], context: _Surroundings) -> dict[str, str]:
    """What cannot be observed of a delivery, with the first reason that applies."""
    reasons: dict[str, str] = {}
    for why, kinds in (*_by_nature(fact), *_by_source(fact, context)):
        reasons |= {kind: why for kind in kinds if kind not in reasons and not fact.get(SEEN_BY.get(kind, ""))}
    for why, kinds in _by_data(fact, context):  # only for counts of 0: an unknown count needs no reason
        reasons |= {kind: why for kind in kinds if kind not in reasons and fact[SEEN_BY[kind]] == 0}
    return reasons


def _by_nature(fact: Mapping[str, Any]) -> Iterator[tuple[str, Iterable[str]]]:
    """Reasons from the delivery itself: its channel, its format."""
    if fact["message_type"] not in (None, EMAIL):
        yield NO_SUCH_CHANNEL, ("opened", "complained")
    if fact["message_type"] in WITHOUT_LINKS:
        yield NO_SUCH_CHANNEL, IN_MESSAGE
    if fact["to_deliver"] and (fact["text_messages"] or 0) >= fact["to_deliver"]:
        yield ALL_TEXT, ("opened", "estimate")


def _by_source(fact: Mapping[str, Any], context: _Surroundings) -> Iterator[tuple[str, Iterable[str]]]:
    """Reasons from its source: a table that was not read, or a type of event that the sender does not report."""
    yield NOT_TOLD, set((fact["untold"] or "").split()) & set(SEEN_BY)
    if (reported := context.reported.get(fact["delivery_id"])) is not None:
        yield NOT_TOLD, {*IN_MESSAGE, "opened", "complained"} - reported


def _by_data(fact: Mapping[str, Any], context: _Surroundings) -> Iterator[tuple[str, Iterable[str]]]:
    """Reasons from the data: no hit at all, clicks but no open, no link, no page of the site, no failure reason."""
    hits = [fact[SEEN_BY[kind]] for kind in ("opened", *IN_MESSAGE, *ON_SITE)]
    if not any(hits) and None not in hits and (fact["delivered"] or 0) >= MESSAGES and _is_long_ago(fact, context):
        yield NO_HIT, ("opened", *IN_MESSAGE)
    if (fact["unique_clicks"] or 0) >= CLICKERS:
        yield NOT_OPENS, ("opened",)
    is_feed = fact["delivery_id"] in context.reported
    if context.linked and not is_feed and not {fact["delivery_id"], None} & context.linked:
        yield NO_LINK, IN_MESSAGE
    if context.tables.has("event"):
        yield NO_PURCHASE if context.tracked else NO_PAGE, set(ON_SITE) - context.tracked
    if not fact.get("failed"):
        return
    if not (fact["hard_bounces"] or fact["soft_bounces"] or fact["delivery_id"] in context.explained):
        yield NO_REASON, ("reason", "complained")


def _is_long_ago(fact: Mapping[str, Any], context: _Surroundings) -> bool:
    last = fact["ended_at"] or fact["started_at"]
    return last is None or context.newest is None or context.newest - last >= SILENCE
