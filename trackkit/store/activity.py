"""Who was behind each hit: a person, a proxy or a scanner, by the rules of `trackkit.rules`.

Proxies are recognised first, by their user agent, since lists of bots hold them too. Clicks are judged by evidence:
each rule has a weight, and a scanner is what reaches `Rules.enough`. What a row lacks (an address, an instant, a user
agent that is a hash, a sending instant of its message's own) is no evidence.

A large delivery comes in pieces of whole messages. What no piece shows alone is found over all of them: how many links
a delivery has and which instants are of batches (`Facts`), and which networks click for many recipients.
"""

from collections.abc import Sequence
from typing import NamedTuple

import polars as pl

from trackkit import schema
from trackkit.rules import Rules, rules
from trackkit.store.layout import FILLED
from trackkit.store.ranges import are_in, ranges_of

_ROW = "row of all"
_MESSAGE = ["delivery_id", "message_number"]
_CROWD = ["delivery_id", "domain", "network", "while"]
_TICKS = 10_000  # into which a burst's window is divided
_CLOCKS = 1.0  # seconds that clocks of mail servers and log servers may differ, so that a click may seem too early


class Facts(NamedTuple):
    """Facts of whole deliveries: how many links were hit (`links`), and the instants of batches (`status_at`)."""

    links: pl.DataFrame
    batches: pl.DataFrame


def with_activity(events: pl.DataFrame, messages: pl.DataFrame) -> pl.DataFrame:
    """Return events with `schema.ACTIVITY` filled, null for what is no hit.

    In: every row of `event` of some deliveries, enriched and numbered, and their messages. Out: the same rows.
    """
    facts = facts_of([events.lazy()], [messages.lazy()])
    signs = signs_of(events, messages, facts)
    return marked(events, signs, crowds_of([signs]))


def facts_of(events: Sequence[pl.LazyFrame], messages: Sequence[pl.LazyFrame]) -> Facts:
    """Return the facts of deliveries that come in pieces."""
    links = pl.concat(part.filter(_is_link_hit()).select("delivery_id", "link_id").drop_nulls() for part in events)
    counts = links.unique().group_by("delivery_id").agg(links=pl.len().cast(pl.Int64)).collect()
    return Facts(counts, _batches(messages, rules()))


def _batches(messages: Sequence[pl.LazyFrame], known: Rules) -> pl.DataFrame:
    """The sending instants that many messages share and that no other is near: of a batch, not of its messages."""
    at, apart = pl.col("status_at"), pl.duration(microseconds=int(known.C1.seconds * 1e6))
    sent = pl.concat(_sent(part).select("delivery_id", "status_at") for part in messages)
    sizes = sent.group_by("delivery_id", "status_at").agg(size=pl.len()).sort("delivery_id", "status_at")
    gaps = [(at - at.shift()).over("delivery_id"), (at.shift(-1) - at).over("delivery_id")]
    is_alone = pl.all_horizontal(*((gap > apart).fill_null(True) for gap in gaps))
    batches = sizes.filter(is_alone, pl.col("size") >= known.C1.batch_messages)
    return batches.select("delivery_id", "status_at", is_batch=True).collect()


def _sent(messages: pl.LazyFrame) -> pl.LazyFrame:
    """Delivered messages with a sending instant of their own, neither borrowed nor null."""
    is_own = pl.col(FILLED).fill_null(0) == 0 if FILLED in messages.collect_schema() else pl.lit(True)
    status = pl.col("status").cast(pl.String)
    return messages.filter(status == "delivered", is_own, pl.col("status_at").is_not_null())


def _is_link_hit() -> pl.Expr:
    return pl.col("event_type").is_in(list(schema.LINK_HITS))


# ---- evidence ----


def signs_of(events: pl.DataFrame, messages: pl.DataFrame, facts: Facts) -> pl.DataFrame:
    """Return the hits with evidence of a scanner: the row, what `crowds_of` needs, and the evidence of each rule."""
    known = rules()
    names = [*_MESSAGE, "message_id", "occurred_at", "event_type", "link_id", "domain", "ip", "user_agent", "source"]
    names += ["link_label", "link_category"]
    rows = events.lazy().select(*names).with_row_index(_ROW).filter(_is_link_hit()).collect()
    rows = _with_burst(_with_delay(rows, messages, facts, known), facts, known)
    rows = _with_networks(_with_hidden_link(rows, known), known)
    is_empty = pl.col("user_agent").is_null() & pl.col("source").is_in(list(known.C4.always))
    rows = rows.with_columns(empty=pl.when(is_empty).then(known.C4.empty_weight).otherwise(0.0))
    rows = _with_second_network(rows, events, known)
    evidence = ["C1", "C2", "C3", "C5", "C6", "empty"]
    found = rows.filter(pl.sum_horizontal(evidence) > 0).with_columns(O6=pl.lit(0.0))
    return pl.concat([found, _early_opens(events, messages, found, known)], how="diagonal").select(
        _ROW, *_MESSAGE, "message_id", "occurred_at", "event_type", "domain", _network(), *evidence, "O6"
    )


def _with_delay(rows: pl.DataFrame, messages: pl.DataFrame, facts: Facts, known: Rules) -> pl.DataFrame:
    """Add `C1`: the weight of a click's time since its message was sent."""
    rule = known.C1
    key = list(schema.MESSAGE.key)
    sent = _sent(messages.lazy()).select(*key, "status_at").join(rows.lazy().select(key).unique(), on=key, how="semi")
    delayed = rows.lazy().join(sent, on=key, how="left", maintain_order="left")
    delayed = delayed.join(facts.batches.lazy(), on=["delivery_id", "status_at"], how="left", maintain_order="left")
    weight = pl.when(pl.col("is_batch")).then(rule.batch_weight).otherwise(rule.weight)
    is_late = _since_sent().is_between(rule.seconds, rule.late_seconds) & pl.col("is_batch").is_null()
    near = pl.when(_since_sent().is_between(-_CLOCKS, rule.seconds)).then(weight)
    return delayed.with_columns(C1=near.when(is_late).then(rule.late_weight).otherwise(0.0)).collect()


def _since_sent() -> pl.Expr:
    return (pl.col("occurred_at") - pl.col("status_at")).dt.total_microseconds() / 1e6


def _with_burst(rows: pl.DataFrame, facts: Facts, known: Rules) -> pl.DataFrame:
    """Add `C2`: the weight of a click among most links of its message within seconds."""
    rule = known.C2
    least = (pl.col("links") * rule.share).ceil().clip(rule.links).cast(pl.UInt32)
    hits = rows.lazy().filter(
        pl.col("message_number") > 0, pl.all_horizontal(pl.col("link_id", "occurred_at").is_not_null())
    )
    several = hits.group_by(_MESSAGE).agg(pl.col("link_id").n_unique().alias("hit"))
    several = several.join(facts.links.lazy(), on="delivery_id").with_columns(least=least)
    hits = hits.join(several.filter(pl.col("hit") >= pl.col("least")), on=_MESSAGE)
    at = pl.col("occurred_at").dt.epoch("ms")
    window = (pl.col("links") * rule.pace).clip(rule.seconds) * 1000
    since = at - at.min().over(_MESSAGE)
    hits = hits.with_columns(tick=(since * _TICKS / window).floor().cast(pl.Int64), second=since // 1000)
    hits = hits.sort(*_MESSAGE, "tick", "link_id").collect().lazy()
    # One hit a second of each link is enough, and bounds the work on a message with many thousands.
    once = hits.unique([*_MESSAGE, "link_id", "second"], keep="first", maintain_order=True)
    ahead = once.rolling("tick", period=f"{_TICKS}i", offset="0i", closed="both", group_by=_MESSAGE)
    starts = ahead.agg(pl.col("link_id").n_unique().alias("ahead"), pl.col("least").first())
    starts = starts.filter(pl.col("ahead") >= pl.col("least")).select(*_MESSAGE, "tick", start="tick")
    in_burst = hits.join_asof(starts.sort("tick"), on="tick", by=_MESSAGE, strategy="backward", check_sortedness=False)
    found = in_burst.filter(pl.col("tick") - pl.col("start") <= _TICKS).select(_ROW).collect()[_ROW]
    return rows.with_columns(C2=pl.when(pl.col(_ROW).is_in(found.implode())).then(rule.weight).otherwise(0.0))


def _with_hidden_link(rows: pl.DataFrame, known: Rules) -> pl.DataFrame:
    """Add `C3`: the weight of a click beside one on a link that no reader sees, of the same message and address."""
    rule, hidden = known.C3, list(known.C3.links)
    is_hidden = pl.any_horizontal(pl.col("link_id", "link_label", "link_category").is_in(hidden))
    traps = rows.filter(is_hidden.fill_null(False), pl.col("message_number") > 0)
    return _near(rows, traps, [*_MESSAGE, "ip"], rule.seconds, "C3", rule.weight)


def _near(
    rows: pl.DataFrame, others: pl.DataFrame, by: list[str], seconds: float, name: str, weight: float
) -> pl.DataFrame:
    """Add the weight of rows that have another row with the same values within seconds."""
    if others.is_empty():
        return rows.with_columns(pl.lit(0.0).alias(name))
    beside = others.select(*by, "occurred_at", is_near=True).drop_nulls("occurred_at").sort("occurred_at")
    beside = beside.with_columns(pl.col(by).cast(pl.String).fill_null(""))
    dated = rows.select(_ROW, *by, "occurred_at").drop_nulls("occurred_at").sort("occurred_at")
    near = dated.with_columns(pl.col(by).cast(pl.String).fill_null("")).join_asof(
        beside,
        on="occurred_at",
        by=by,
        strategy="nearest",
        tolerance=f"{int(seconds * 1000)}ms",
        check_sortedness=False,
    )
    found = near.filter("is_near")[_ROW]
    return rows.with_columns(pl.when(pl.col(_ROW).is_in(found.implode())).then(weight).otherwise(0.0).alias(name))


def _with_networks(rows: pl.DataFrame, known: Rules) -> pl.DataFrame:
    """Add `C5`: the weight of the network, by the user's files of ranges."""
    rule = known.C5
    scanners, datacentres = (are_in(rows["ip"], ranges_of(file)) for file in (rule.scanners, rule.datacentres))
    weight = pl.when(scanners).then(rule.weight).when(datacentres).then(rule.datacentre_weight).otherwise(0.0)
    return rows.with_columns(C5=weight)


def _with_second_network(rows: pl.DataFrame, events: pl.DataFrame, known: Rules) -> pl.DataFrame:
    """Add `C6`: the weight of a click from a data centre beside a hit of the same message from elsewhere."""
    rule, datacentres = known.C6, ranges_of(known.C5.datacentres)
    inside = rows.filter(pl.col("C5") == known.C5.datacentre_weight)
    if not datacentres or inside.is_empty():
        return rows.with_columns(C6=pl.lit(0.0))
    hits = events.filter(pl.col("ip").is_not_null(), ~pl.col("event_type").is_in(list(schema.NO_HITS)))
    elsewhere = hits.filter(~are_in(hits["ip"], datacentres))
    near = _near(inside, elsewhere, _MESSAGE, rule.seconds, "C6", rule.weight).select(_ROW, "C6")
    return rows.join(near, on=_ROW, how="left", maintain_order="left").with_columns(pl.col("C6").fill_null(0.0))


def _early_opens(events: pl.DataFrame, messages: pl.DataFrame, found: pl.DataFrame, known: Rules) -> pl.DataFrame:
    """Opens within seconds of sending, of messages that may have been scanned: `O6`."""
    scanned = found.lazy().filter(pl.col("message_number") > 0).select(_MESSAGE).unique()
    opens = (
        events.lazy().select(*_MESSAGE, "message_id", "occurred_at", "event_type", "domain", "ip").with_row_index(_ROW)
    )
    opens = opens.filter(pl.col("event_type") == "opened").join(scanned, on=_MESSAGE, how="semi")
    key = list(schema.MESSAGE.key)
    opens = opens.join(_sent(messages.lazy()).select(*key, "status_at"), on=key)
    early = opens.filter(_since_sent().is_between(-_CLOCKS, known.O6.seconds))
    return early.with_columns(O6=pl.lit(known.O6.weight)).collect()


def _network() -> pl.Expr:
    """The network of an address: /24 of IPv4, the first three groups of IPv6."""
    ip = pl.col("ip")
    return pl.coalesce(ip.str.extract(r"^(\d+\.\d+\.\d+)\.\d+$"), ip.str.extract("^((?:[0-9A-Fa-f]*:){3})")).alias(
        "network"
    )


def crowds_of(signs: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """Return the networks that click for many recipients of one domain within minutes, one row each."""
    rule = rules().C7
    hits = pl.concat(signs, how="vertical_relaxed").lazy().filter(_is_timed()).with_columns(_while())
    counts = hits.drop_nulls(_CROWD).group_by(_CROWD).agg(pl.col("message_id").n_unique())
    return counts.filter(pl.col("message_id") >= rule.recipients).select(_CROWD).collect()


def _is_timed() -> pl.Expr:
    return (pl.col("C1") > 0) | (pl.col("C2") > 0)


def _while() -> pl.Expr:
    return pl.col("occurred_at").dt.truncate(f"{rules().C7.minutes}m").alias("while")


# ---- verdicts ----


def marked(events: pl.DataFrame, signs: pl.DataFrame, crowds: pl.DataFrame) -> pl.DataFrame:
    """Return events with `schema.ACTIVITY` filled, from the evidence of their rows."""
    known = rules()
    scanners = _scanners(signs, crowds, known)
    place = pl.int_range(pl.len(), dtype=pl.UInt32)
    by_evidence = place.replace_strict(scanners[_ROW], scanners["rule"], default=None, return_dtype=pl.String)
    agents = _agents(events, known)
    by_agent = pl.col("user_agent").replace_strict(
        agents["user_agent"], agents["rule"], default=None, return_dtype=pl.String
    )
    rows = events.with_columns(by_agent=by_agent, by_evidence=by_evidence, by_range=_by_range(events, known))
    rows = rows.with_columns(activity_rule=_rule(known))
    rule, is_hit = pl.col("activity_rule"), ~pl.col("event_type").is_in(list(schema.NO_HITS))
    human, proxy, scanner = map(pl.lit, schema.ACTIVITIES)
    kind = pl.when(rule.is_null()).then(human).when(rule.is_in(list(schema.PROXY_RULES))).then(proxy).otherwise(scanner)
    return rows.with_columns(activity=pl.when(is_hit).then(kind)).drop("by_agent", "by_evidence", "by_range")


def _rule(known: Rules) -> pl.Expr:
    """The rule of a row: proxies before the sender's word, the sender's word before our evidence."""
    by_agent, is_machine, reason = pl.col("by_agent"), pl.col("is_machine"), pl.col("machine_reason")
    is_open = pl.col("event_type") == "opened"
    says_machine, says_person = is_machine.fill_null(False), ~is_machine.fill_null(True)
    is_ahead = reason.is_null() | reason.str.to_lowercase().is_in(list(known.V1.reasons))
    is_read, is_prefetch = by_agent.is_in(list(schema.READ_RULES)), by_agent.is_in(["O1", "O4"])
    return (
        pl.when(pl.col("event_type").is_in(list(schema.NO_HITS)))
        .then(None)
        .when(is_open & is_read & ~(says_machine & is_ahead & (reason != "gmail").fill_null(True)))
        .then(by_agent)
        .when(says_person)
        .then(None)
        .when(is_open & is_prefetch)
        .then(by_agent)
        .when(is_open & says_machine & is_ahead)
        .then(pl.lit("V1"))
        .when(says_machine)
        .then(pl.lit("V2"))
        .when(by_agent == "C4")
        .then(pl.when(pl.col("by_evidence") == "C8").then("by_evidence").otherwise(by_agent))
        .when(is_open & pl.col("by_range"))
        .then(pl.lit("O2"))
        .otherwise("by_evidence")
    )


def _agents(events: pl.DataFrame, known: Rules) -> pl.DataFrame:
    """The user agents that a rule names: a row each, (user_agent, rule)."""
    browser = ["browser", "browser_version", "operating_system", "device"]
    each = events.lazy().filter(pl.col("user_agent").is_not_null()).group_by("user_agent").agg(pl.col(browser).first())
    is_hash = ~pl.col("user_agent").str.contains(r"[^\d\s-]")  # of the platform: its table names the browser
    is_bare = (pl.col("browser") == "Mozilla") & pl.all_horizontal(pl.col("operating_system", "device").is_null())
    text = pl.when(is_hash).then("browser").otherwise("user_agent")
    is_of = {name: _has_any(text, getattr(known, name).agents) for name in ("O3", "O4", "O5", "C4")}
    rule = (
        pl.when(pl.col("user_agent").is_in(list(known.O1.agents)) | (is_hash & is_bare))
        .then(pl.lit("O1"))
        .when(is_of["O3"])
        .then(pl.lit("O3"))
        .when(is_of["O4"])
        .then(pl.lit("O4"))
        .when(is_of["O5"])
        .then(pl.lit("O5"))
        .when(is_of["C4"])
        .then(pl.lit("C4"))
    )
    return each.select("user_agent", rule=rule).drop_nulls().collect()


def _has_any(text: pl.Expr, words: Sequence[str]) -> pl.Expr:
    return text.str.contains_any(list(words), ascii_case_insensitive=True) if words else pl.lit(False)


def _by_range(events: pl.DataFrame, known: Rules) -> pl.Series:
    """Whether a row comes from Apple's ranges, by the user's file, and is no Safari."""
    ranges = ranges_of(known.O2.file)
    if not ranges:
        return pl.Series([False], dtype=pl.Boolean).new_from_index(0, events.height)
    is_other = events.select((_has_any(pl.col("user_agent"), known.O2.unless)).fill_null(False)).to_series()
    return are_in(events["ip"], ranges) & ~is_other


def _scanners(signs: pl.DataFrame, crowds: pl.DataFrame, known: Rules) -> pl.DataFrame:
    """The rows whose evidence is enough, each with the rule that decided: (row, rule)."""
    crowd = crowds.with_columns(C7=pl.lit(known.C7.weight))
    judged = signs.with_columns(_while()).join(crowd, on=_CROWD, how="left", maintain_order="left")
    judged = judged.with_columns(C7=pl.when(_is_timed()).then(pl.col("C7").fill_null(0.0)).otherwise(0.0))
    enough = pl.sum_horizontal("C1", "C2", "C3", "C5", "C6", "C7", "empty") >= known.enough
    is_open = pl.col("O6") > 0
    clicks = judged.filter(~is_open, enough).with_columns(rule=_deciding(known.enough))
    opens = judged.filter(is_open, known.O6.weight + known.O6.near_weight >= known.enough)
    opens = _near(opens, clicks, _MESSAGE, known.O6.near, "near", 1.0).filter(pl.col("near") > 0)
    return pl.concat([clicks.select(_ROW, "rule"), opens.select(_ROW, rule=pl.lit("O6"))])


def _deciding(enough: float) -> pl.Expr:
    """The rule that decides: the first that is enough alone, else the first of those that need another."""
    is_opt_out = pl.col("event_type") == "unsubscribed"
    alone = [pl.when(pl.col(name) >= enough).then(pl.lit(name)) for name in ("C3", "C2", "C1", "C5")]
    others = [pl.when(pl.col(name) > 0).then(pl.lit(name)) for name in ("C7", "C6", "C5", "C2")]
    burst = pl.when((pl.col("C2") > 0) & is_opt_out).then(pl.lit("C8"))
    empty = pl.when(pl.col("empty") > 0).then(pl.lit("C4"))
    return pl.coalesce(alone[0], burst, *alone[1:], *others, empty, pl.lit("C1"))
