"""What cannot be observed of a delivery, and why: where a count of 0 would say that nothing happened.

`measure` keeps the platform's formulas, by which a delivery of text alone has 0 opens; pages and the index ask here,
and show n/a with the reason. What is unseen goes by kind: a type of event, "estimate" (opens scaled up for text
messages) or "reason" (why messages failed). What was seen even once can be seen.
"""

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any

import polars as pl

from trackkit import schema
from trackkit.analysis.curves import SERIES
from trackkit.engine.believed import now
from trackkit.engine.measure import measure
from trackkit.engine.snapshot import Measurable
from trackkit.language import translatable
from trackkit.metrics import METRICS, Estimate, lineage
from trackkit.sources.feeds.feed import can_tell

Kinds = Mapping[str, str]  # what cannot be observed, and why: an English sentence, to be said
WHY = "why {}"  # the column beside a figure that is null since it cannot be observed
ALL_TEXT = translatable("only text was sent: its opens cannot be seen")
NO_SUCH_CHANNEL = translatable("this channel does not tell it")
NOT_TOLD = translatable("its source does not tell it")
NOT_OPENS = translatable("clicks are known and not one open: opens were not tracked")
NO_LINK = translatable("no link of this delivery was tracked")
NO_HIT = translatable("not one hit is known: tracking was off, or its logs are missing")
NO_PAGE = translatable("no page of the site is tracked")
NO_PURCHASE = translatable("no purchase is tracked")
NO_REASON = translatable("why messages failed is not in the data loaded")
# The count that says whether a kind was seen.
SEEN_BY = {
    **{"opened": "total_opens", "clicked": "total_clicks", "unsubscribed": "unsubscribe_clicks"},
    **{"mirror_page": "mirror_page_clicks", "web_visited": "web_visits", "transaction": "transactions"},
    **{"complained": "complaints", "reason": "hard_bounces"},
}
_ALSO, _OF_FAILURES = ("delivered", "unique_clicks"), ("complained", "reason")
EMAIL, WITHOUT_LINKS = 0, (2, 3, 4)  # channels: phone, direct mail and fax carry none
IN_MESSAGE, ON_SITE = ("clicked", "unsubscribed", "mirror_page"), ("web_visited", "transaction")
CLICKERS = 5  # whoever clicks has nearly always loaded the images: of so many, one open at least would be known
MESSAGES, SILENCE = 50, timedelta(hours=24)  # so many messages, so long ago, are never without any hit


def unseen(tables: Measurable, deliveries: Iterable[str], figures: Iterable[str] | None = None) -> dict[str, Kinds]:
    """Return what cannot be observed of each delivery: its kinds with their reasons, none where all can be.

    `figures` are the metrics asked about, all by default; where none counts failures or complaints, whether these can
    be observed is not looked at. Raises RequestError for an unknown delivery.

    >>> from trackkit.engine.snapshot import Snapshot
    >>> text = pl.LazyFrame({"delivery_id": ["7"], "to_deliver": [9], "text_messages": [9]})
    >>> unseen(Snapshot({"delivery": text}), ["7"])["7"]["opened"]
    'only text was sent: its opens cannot be seen'
    """
    keys = list(dict.fromkeys(deliveries))
    if not keys:
        return {}
    asked = None if figures is None else set().union(*(_kinds_of(part) for name in figures for part in lineage(name)))
    of_failures = [] if asked is not None and not asked & set(_OF_FAILURES) else ["failed", "soft_bounces"]
    seen_by = [name for kind, name in SEEN_BY.items() if of_failures or kind not in _OF_FAILURES]
    counts = measure(tables, [*seen_by, *_ALSO, *of_failures], delivery=keys)
    facts = counts.join(_declared(tables, keys), on="delivery_id", how="left").to_dicts()
    around = _Around(tables, keys)
    return {fact["delivery_id"]: _of_one(fact, around) for fact in facts}


def observed(frame: pl.DataFrame, found: Mapping[str, Kinds]) -> pl.DataFrame:
    """Return a frame of figures where those that cannot be observed are null, their reasons in columns beside them.

    In: a frame of `measure`, or one with columns or rows of series (`curves.SERIES`); and what `unseen` found of the
    deliveries of its rows, or of the one that all of it is about. A rate goes by its parts.

    >>> observed(pl.DataFrame({"total_opens": [0]}), {"7": {"opened": "SMS"}}).row(0)
    (None, 'SMS')
    """
    if "series" in frame.columns:
        return _observed_series(frame, found)
    for name in frame.columns:
        whys = {delivery: why for delivery, kinds in found.items() if (why := _why(name, kinds))}
        if whys and "delivery_id" in frame.columns:
            reason = pl.col("delivery_id").replace_strict(whys, default=None, return_dtype=pl.String)
        elif len(whys) == len(found) == 1:
            reason = pl.lit(next(iter(whys.values())), pl.String)
        else:
            continue
        frame = frame.with_columns(pl.when(reason.is_null()).then(name).alias(name), reason.alias(WHY.format(name)))
    return frame


def _observed_series(frame: pl.DataFrame, found: Mapping[str, Kinds]) -> pl.DataFrame:
    kinds = next(iter(found.values()), {}) if len(found) == 1 else {}
    whys = {name: kinds[kind] for name, kind in SERIES.items() if kind in kinds}
    why = pl.col("series").cast(pl.String).replace_strict(whys, default=None, return_dtype=pl.String)
    counts = [name for name, dtype in frame.schema.items() if dtype.is_numeric() and name != "slot"]
    blanked = [pl.when(why.is_null()).then(name).alias(name) for name in counts]
    return frame.with_columns(*blanked, why.alias(WHY.format("series")))


def _why(name: str, kinds: Kinds) -> str:
    """Why a column cannot be observed; nothing where it can be."""
    parts = (
        [_kinds_of(part) for part in lineage(name)] if name in METRICS else [{SERIES[name]}] if name in SERIES else []
    )
    return next((kinds[min(part)] for part in parts if part and part <= kinds.keys()), "")


def _kinds_of(name: str) -> set[str]:
    """The kinds that a metric counts; where none of them can be observed, it cannot be."""
    metric = METRICS[name]
    where = getattr(metric.formula, "where", {})
    if isinstance(metric.formula, Estimate):
        return {"estimate"}
    if metric.source == "event":  # a recipient with any hit has opened
        return set(where.get("event_type", ("opened",)))
    kinds = {"is_complaint": "complained", "failure_reason": "reason"}
    return {kinds[column] for column in where if column in kinds}


def _declared(tables: Measurable, keys: list[str]) -> pl.DataFrame:
    rows = tables.scan("delivery").filter(pl.col("delivery_id").is_in(keys))
    there, types = rows.collect_schema(), schema.DELIVERY.schema
    wanted = ("delivery_id", "message_type", "text_messages", "to_deliver", "untold", "started_at", "ended_at")
    columns = [pl.col(name) if name in there else pl.lit(None, types[name]).alias(name) for name in wanted]
    return rows.select(columns).unique("delivery_id").collect()


class _Around:
    """What the tables around deliveries can tell of them, each looked at once, and only where it matters."""

    def __init__(self, tables: Measurable, keys: list[str]) -> None:
        self.tables, self.keys = tables, keys
        self.events = tables.scan("event").filter(pl.col("delivery_id").is_in(keys))

    @cached_property
    def newest(self) -> datetime | None:
        """The instant that the data goes to."""
        return now(self.tables)

    @cached_property
    def told(self) -> dict[str, frozenset[str]]:
        """What the senders of a delivery can tell, by delivery; none where one of them is no feed."""
        rows = self.events.select("delivery_id", "source").unique().collect()
        senders: dict[str, set[str] | None] = {}
        for delivery, source in rows.iter_rows():
            known, words = senders.get(delivery, set()), can_tell(source)
            senders[delivery] = None if known is None or words is None else known | words
        return {delivery: frozenset(words) for delivery, words in senders.items() if words is not None}

    @cached_property
    def linked(self) -> set[str | None]:
        """The deliveries that have a link which is no open and no page of the site; null for links shared by all."""
        links = self.tables.scan("link").filter(~pl.col("type_code").is_in([2, 4, 5]).fill_null(False))
        return set(links.select("delivery_id").unique().collect()["delivery_id"])

    @cached_property
    def tracked(self) -> set[str]:
        """What is tracked of the site, of any delivery: by a tag, or by a hit."""
        links = self.tables.scan("link").select(pl.col("type_code").drop_nulls().unique()).collect()["type_code"]
        by_tag = {schema.LINK_TYPES[code] for code in links if code in schema.LINK_TYPES} & set(ON_SITE)
        hits = self.tables.scan("event").select(pl.col("event_type").cast(pl.String).unique())
        return by_tag if len(by_tag) == len(ON_SITE) else by_tag | set(hits.collect()["event_type"]) & set(ON_SITE)

    @cached_property
    def explained(self) -> set[str]:
        """The deliveries of which it is known of any message why it failed."""
        of_keys = pl.col("delivery_id").is_in(self.keys)
        messages = self.tables.scan("message").filter(of_keys, pl.col("failure_reason").is_not_null())
        return set(messages.select("delivery_id").unique().collect()["delivery_id"])


def _of_one(fact: Mapping[str, Any], around: _Around) -> dict[str, str]:
    """What cannot be observed of a delivery; of several reasons the first."""
    found: dict[str, str] = {}
    for why, kinds in (*_declared_so(fact), *_not_told(fact, around)):
        found |= {kind: why for kind in kinds if kind not in found and not fact.get(SEEN_BY.get(kind, ""))}
    for why, kinds in _not_tracked(fact, around):  # of what is counted as 0; where nothing is known, nothing is said
        found |= {kind: why for kind in kinds if kind not in found and fact[SEEN_BY[kind]] == 0}
    return found


def _declared_so(fact: Mapping[str, Any]) -> Iterator[tuple[str, Iterable[str]]]:
    """By what the delivery is: its channel, its format."""
    if fact["message_type"] not in (None, EMAIL):
        yield NO_SUCH_CHANNEL, ("opened", "complained")
    if fact["message_type"] in WITHOUT_LINKS:
        yield NO_SUCH_CHANNEL, IN_MESSAGE
    if fact["to_deliver"] and (fact["text_messages"] or 0) >= fact["to_deliver"]:
        yield ALL_TEXT, ("opened", "estimate")


def _not_told(fact: Mapping[str, Any], around: _Around) -> Iterator[tuple[str, Iterable[str]]]:
    """By its source: a table that was not read, or a sender whose events have no word for it."""
    yield NOT_TOLD, set((fact["untold"] or "").split()) & set(SEEN_BY)
    if (told := around.told.get(fact["delivery_id"])) is not None:
        yield NOT_TOLD, {*IN_MESSAGE, "opened", "complained"} - told


def _not_tracked(fact: Mapping[str, Any], around: _Around) -> Iterator[tuple[str, Iterable[str]]]:
    """By what is there: nothing at all, clicks without any open, no link, no page of the site, no reason."""
    hits = [fact[SEEN_BY[kind]] for kind in ("opened", *IN_MESSAGE, *ON_SITE)]
    if not any(hits) and None not in hits and (fact["delivered"] or 0) >= MESSAGES and _is_long_ago(fact, around):
        yield NO_HIT, ("opened", *IN_MESSAGE)
    if (fact["unique_clicks"] or 0) >= CLICKERS:
        yield NOT_OPENS, ("opened",)
    is_feed = fact["delivery_id"] in around.told
    if around.linked and not is_feed and not {fact["delivery_id"], None} & around.linked:
        yield NO_LINK, IN_MESSAGE
    if around.tables.has("event"):
        yield NO_PURCHASE if around.tracked else NO_PAGE, set(ON_SITE) - around.tracked
    if not fact.get("failed"):
        return
    if not (fact["hard_bounces"] or fact["soft_bounces"] or fact["delivery_id"] in around.explained):
        yield NO_REASON, ("reason", "complained")


def _is_long_ago(fact: Mapping[str, Any], around: _Around) -> bool:
    last = fact["ended_at"] or fact["started_at"]
    return last is None or around.newest is None or around.newest - last >= SILENCE
