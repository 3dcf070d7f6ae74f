"""Machines among the hits: what each rule leaves, where scanners click, opt-outs, and open rates under mail privacy.

The rules are those of `trackkit.rules`, applied as deliveries were loaded. A rule can only speak of hits that have what
it looks at (a user agent, an address, a sending instant of the message's own): `funnel` counts them, `looked_at`.

Every function is about one delivery, several, or all that are not set aside, of which messages are counted together:
assumptions about readers are of all of them. It raises RequestError for an unknown delivery. What only the marks can
tell is null where hits were loaded before trackkit marked them: `trackkit store mark` marks them.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from trackkit import schema
from trackkit.analysis.unseen import measure_observed, partly_seen
from trackkit.engine.deliveries import Deliveries, asked_about, counted_events, is_human, of_deliveries
from trackkit.engine.measure import measure, quotient
from trackkit.engine.selection import Selection
from trackkit.engine.snapshot import Measurable, with_all_hits
from trackkit.metrics import METRICS, part_of
from trackkit.rules import MEANINGS, rules

__all__ = ["band", "by_domain", "funnel", "opt_outs", "opt_outs_together", "people"]

KEPT = len(MEANINGS) + 1  # the step of a hit that no rule removes
COUNTS = ("opens", "openers", "clicks", "clickers")
FIGURES = ("open_rate", "recipient_click_rate", "unsubscribe_rate")
_PEOPLE = ("counted", "people", "delivered")
CONFIRMED_HOURS = 48
PREFETCH_OF_READERS = ("O1", "O2", "V1")  # of clients that show what they fetched: later opens leave no trace


def _asked(tables: Measurable, delivery: Deliveries) -> tuple[Measurable, list[str] | None, bool]:
    """The tables with every hit, the deliveries asked about, and whether their hits are there and marked."""
    tables = with_all_hits(tables)  # on a page of people alone, too
    ids = asked_about(tables, delivery)
    return tables, ids, tables.has("event") and not Selection(tables, ids, None, "UTC").unmarked()


def people(
    tables: Measurable, delivery: Deliveries = None, hidden: Mapping[str, Mapping[str, str]] | None = None
) -> pl.DataFrame:
    """Return what was opened, clicked and opted out of, as it is counted and by people alone: one row per `metric`.

    Columns: `metric` (of `FIGURES`, a rate), `counted` (its numerator, machines included) and `people` (that of
    `measure(..., activity="human")`), `machines` (the difference: of opens and clicks, messages that only machines
    opened or clicked), `delivered`, each of the deliveries in which it can be observed (`hidden`, that of `unseen`);
    `rate` and `people_rate` (of those delivered), `machine_share` (machines of those counted); `why`, where a figure
    cannot be observed.

    >>> people(store, delivery).select("metric", "counted", "people", "delivered").row(0)
    ('open_rate', 26, 21, 82)
    """
    tables, ids, is_marked = _asked(tables, delivery)
    counted = measure_observed(tables, FIGURES, hidden or {}, [], ids)
    by_people = counted.clear(1)
    if is_marked:
        by_people = measure_observed(tables, FIGURES, hidden or {}, [], ids, activity="human")
    rows = [_compared(name, counted.row(0, named=True), by_people.row(0, named=True)) for name in FIGURES]
    schema_of = {"metric": pl.String, **dict.fromkeys(_PEOPLE, pl.Int64), "why": pl.String}
    frame = pl.DataFrame(rows, schema=schema_of).with_columns(machines=pl.col("counted") - pl.col("people"))
    shares = {"rate": ("counted", "delivered"), "people_rate": ("people", "delivered")}
    shares |= {"machine_share": ("machines", "counted")}
    return frame.with_columns(quotient(*parts).alias(name) for name, parts in shares.items())


def _compared(name: str, counted: Mapping[str, Any], by_people: Mapping[str, Any]) -> dict[str, Any]:
    top, bottom = METRICS[name].parents
    why = counted.get(f"why {name}") or counted.get(f"why {top}")
    whole = None if why else counted[top]
    part = None if why else by_people[top]
    delivered = counted[part_of(counted, name, bottom)]
    return {"metric": name, "counted": whole, "people": part, "delivered": delivered, "why": why}


def funnel(
    tables: Measurable, delivery: Deliveries = None, hidden: Mapping[str, Mapping[str, str]] | None = None
) -> pl.DataFrame:
    """Return opens, openers, clicks and clickers as they are left by each rule in turn.

    One row for all hits (`rule` null), then one for each rule, in the order in which they are tried. `opens` and
    `clicks` are hits, `openers` and `clickers` messages, as `total_opens`, `unique_opens`, `total_clicks` and
    `unique_clicks` count them; `opens_removed` … are the difference to the row before. `looked_at` counts the hits with
    what the rule needs; it is 0 where its file is not given. `meaning` says what the rule is about. O3 and O5 remove
    nothing: they name proxies that fetch when a person reads. The last row is `measure(..., activity="human")`; with
    `hidden`, that of `unseen`, openers are those of the deliveries whose opens can be observed. Without a delivery,
    proofs, models and deleted ones are left out. All counts are null where no hits were loaded.

    >>> funnel(store, delivery).select("rule", "openers", "clickers").rows()[:2]
    [(None, 26, 6), ('O1', 21, 6)]
    """
    tables, ids, is_marked = _asked(tables, delivery)
    events = counted_events(tables, ids)
    removing = [rule for rule in MEANINGS if rule not in schema.READ_RULES]
    step = pl.col("activity_rule").replace_strict(removing, range(len(removing)), default=KEPT, return_dtype=pl.Int32)
    hits = events.select("delivery_id", "message_id", pl.col("event_type").cast(pl.String), step=step)
    unknown = partly_seen(hidden or {}, ["unique_opens"])["unknown"].explode().to_list()
    left = _left(hits, removing, unknown) if is_marked else pl.DataFrame({"step": range(-1, len(removing))})
    left = left.with_columns(pl.lit(None, pl.Int64).alias(name) for name in COUNTS if name not in left.columns)
    tried = pl.DataFrame({"rule": [None, *removing], "meaning": [None, *(MEANINGS[rule] for rule in removing)]})
    removed = [(pl.col(name).shift() - pl.col(name)).alias(f"{name}_removed") for name in COUNTS]
    looked = tried.join(_looked_at(tables, events, ids), on="rule", how="left", maintain_order="left")
    return pl.concat([looked, left.drop("step")], how="horizontal").with_columns(removed)


def _left(hits: pl.LazyFrame, removing: Sequence[str], unknown: Sequence[str]) -> pl.DataFrame:
    """The counts left after each step: a hit is left until its step, a message until the last of its hits.

    Openers are those of other deliveries than the `unknown` ones.
    """
    is_of = {"opens": pl.col("event_type") == "opened", "clicks": pl.col("event_type") == "clicked"}
    named = hits.filter(pl.col("message_id").is_not_null())
    readers = named.filter(~pl.col("delivery_id").is_in(list(unknown)).fill_null(False))
    messages = {"openers": readers, "clickers": named.filter(is_of["clicks"])}
    frames = {name: hits.filter(test).select("step") for name, test in is_of.items()}
    frames |= {
        name: rows.group_by("delivery_id", "message_id").agg(pl.col("step").max()).select("step")
        for name, rows in messages.items()
    }
    sizes = pl.collect_all([frames[name].group_by("step").agg(pl.len().cast(pl.Int64)) for name in COUNTS])
    counted = pl.DataFrame({"step": [*range(-1, len(removing)), KEPT]}, schema={"step": pl.Int32})
    for name, size in zip(COUNTS, sizes, strict=True):
        rows = counted.select("step").join(size, on="step", how="left", maintain_order="left")["len"].fill_null(0)
        counted = counted.with_columns((rows.sum() - rows.cum_sum()).alias(name))
    return counted.filter(pl.col("step") < KEPT)


def _looked_at(tables: Measurable, events: pl.LazyFrame, ids: Sequence[str] | None) -> pl.DataFrame:
    """How many hits have what each rule needs: (rule, looked_at)."""
    known = rules()
    is_open, is_link = pl.col("event_type") == "opened", pl.col("event_type").is_in(list(schema.LINK_HITS))
    agent = pl.col("user_agent").str.contains(r"[^\d\s-]") | pl.col("browser").is_not_null()
    message, at, ip = (pl.col(name).is_not_null() for name in ("message_id", "occurred_at", "ip"))
    burst, flag = is_link & message & at & pl.col("link_id").is_not_null(), pl.col("is_machine").is_not_null()
    sent = pl.col("is_sent").fill_null(False) & at
    has_ranges, has_hidden = bool(known.C5.scanners or known.C5.datacentres), bool(known.C3.links)
    has_data = {
        **dict.fromkeys(("O1", "O4"), is_open & agent),
        "O2": is_open & ip & bool(known.O2.file),
        "V1": is_open & flag,
        "V2": flag,
        "C4": agent,
        "C3": is_link & message & has_hidden,
        **dict.fromkeys(("C8", "C2"), burst),
        "C1": is_link & sent,
        "C5": is_link & ip & has_ranges,
        "C6": is_link & ip & at & bool(known.C5.datacentres),
        "C7": is_link & ip & at & pl.col("domain").is_not_null(),
        "O6": is_open & sent,
    }
    rows = events.with_columns(pl.col("event_type").cast(pl.String))
    rows = rows.join(_sent(tables, ids), on=["delivery_id", "message_id"], how="left")
    counts = rows.select(test.fill_null(False).sum().cast(pl.Int64).alias(name) for name, test in has_data.items())
    return counts.collect().unpivot(variable_name="rule", value_name="looked_at")


def _sent(tables: Measurable, ids: Sequence[str] | None) -> pl.LazyFrame:
    """Delivered messages with a sending instant of their own; one borrowed from the delivery is its start."""
    messages = of_deliveries(tables, "message", ids)
    starts = tables.scan("delivery").select("delivery_id", "started_at")
    rows = messages.filter(pl.col("status") == "delivered", pl.col("message_id").is_not_null())
    rows = rows.join(starts, on="delivery_id", how="left")
    own = pl.col("status_at").is_not_null() & (pl.col("status_at") != pl.col("started_at")).fill_null(True)
    return rows.filter(own).select("delivery_id", "message_id", is_sent=True)


def by_domain(tables: Measurable, delivery: Deliveries = None) -> pl.DataFrame:
    """Return the clicks of each mail domain, and those of scanners: one row per domain, most scanner clicks first.

    Columns: `domain` (null: unknown), `clicks`, `scanner_clicks`, `scanner_share` (of the clicks), `clickers`,
    `machine_clickers` (messages that only scanners clicked), `machine_share` (of the clickers). Shares are null without
    clicks.

    >>> by_domain(store, delivery).select("domain", "clicks", "scanner_clicks").row(0)
    ('mail.example', 8, 0)
    """
    (tables, ids, is_marked), names = _asked(tables, delivery), ["total_clicks", "unique_clicks"]
    everything = measure(tables, names, "domain", ids)
    by_people = measure(tables, names, "domain", ids, activity="human") if is_marked else everything.clear()
    by_people = by_people.rename({name: f"people {name}" for name in names})
    both = everything.join(by_people, on="domain", how="left", nulls_equal=True)
    if is_marked:
        both = both.with_columns(pl.col(f"people {name}").fill_null(pl.min_horizontal(0, name)) for name in names)
    rows = both.select(
        "domain",
        clicks="total_clicks",
        scanner_clicks=pl.col("total_clicks") - pl.col("people total_clicks"),
        clickers="unique_clicks",
        machine_clickers=pl.col("unique_clicks") - pl.col("people unique_clicks"),
    )
    shares = {
        "scanner_share": quotient("scanner_clicks", "clicks"),
        "machine_share": quotient("machine_clickers", "clickers"),
    }
    order = ["domain", "clicks", "scanner_clicks", "scanner_share", "clickers", "machine_clickers", "machine_share"]
    found = rows.filter(pl.col("clicks") > 0).with_columns(**shares).select(order)
    return found.sort("scanner_clicks", "clicks", "domain", descending=[True, True, False], nulls_last=True)


def opt_outs(tables: Measurable, delivery: Deliveries = None, hours: int = CONFIRMED_HOURS) -> pl.DataFrame:
    """Return clicks on opt-out links: as clicked, by scanners, by people, and confirmed; one row per delivery.

    Columns: `delivery_id`; `clicks` (as `unsubscribe_clicks`), `scanner_clicks`, `people_clicks`; `recipients` who
    clicked themselves, and how many of them then left a service (`confirmed`); `scanned`, recipients for whom only a
    scanner clicked, and how many of those left (`scanned_confirmed`: an opt-out nobody may have wanted). Left means an
    unsubscription of the same recipient in the subscription history, for this delivery or for none named, from a
    minute before to `hours` after the click. Both counts are null where no history was loaded.

    >>> opt_outs(store).select("delivery_id", "clicks", "scanner_clicks", "people_clicks").rows()
    [('7471122', 1, 1, 0), ('7471233', 1, 1, 0)]
    """
    tables, ids, is_marked = _asked(tables, delivery)
    clicks = counted_events(tables, ids).filter(pl.col("event_type").cast(pl.String) == "unsubscribed")
    clicks = clicks.with_columns(is_scanner=pl.col("activity").cast(pl.String) == "scanner")
    totals = clicks.group_by("delivery_id").agg(
        clicks=pl.len().cast(pl.Int64),
        scanner_clicks=pl.col("is_scanner").sum().cast(pl.Int64),
        people_clicks=(~pl.col("is_scanner")).sum().cast(pl.Int64),
    )
    people = _with_departures(tables, clicks, hours)
    by_people, has_left = ~pl.col("only_scanner"), pl.col("has_left")
    confirmed = people.group_by("delivery_id").agg(
        recipients=by_people.sum().cast(pl.Int64),
        confirmed=(by_people & has_left).sum().cast(pl.Int64),
        scanned=pl.col("only_scanner").sum().cast(pl.Int64),
        scanned_confirmed=(pl.col("only_scanner") & has_left).sum().cast(pl.Int64),
    )
    rows = totals.join(confirmed, on="delivery_id", how="left").with_columns(
        pl.col("recipients", "confirmed", "scanned", "scanned_confirmed").fill_null(0)
    )
    by_history = [] if tables.has("subscription") else ["confirmed", "scanned_confirmed"]
    unknown = by_history if is_marked else _BY_MARKS
    rows = rows.with_columns(pl.lit(None, pl.Int64).alias(name) for name in unknown)
    return rows.sort(pl.col("delivery_id").cast(pl.Int64, strict=False), "delivery_id").collect()


def opt_outs_together(tables: Measurable, delivery: Deliveries = None) -> pl.DataFrame:
    """Return `opt_outs` of deliveries together: one row without `delivery_id`, none if nobody clicked such a link.

    A recipient counts once for each delivery. What is unknown of one of them is null.

    >>> opt_outs_together(store).select("clicks", "scanner_clicks", "people_clicks").rows()
    [(2, 2, 0)]
    """
    rows = opt_outs(tables, delivery).drop("delivery_id")
    whole = [pl.when(pl.col(name).null_count() == 0).then(pl.col(name).sum()) for name in rows.columns]
    return rows.select(whole) if rows.height else rows


_BY_MARKS = ["scanner_clicks", "people_clicks", "recipients", "confirmed", "scanned", "scanned_confirmed"]


def _with_departures(tables: Measurable, clicks: pl.LazyFrame, hours: int) -> pl.LazyFrame:
    """The recipients of each delivery who clicked: whether only a scanner did, and whether they then left a service."""
    key = ["delivery_id", "recipient_id"]
    hits = clicks.filter(pl.col("recipient_id").is_not_null()).select(*key, "occurred_at", "is_scanner")
    left = tables.scan("subscription").filter(pl.col("action") == 0)
    left = left.select("recipient_id", of="delivery_id", left_at="occurred_at")
    wait = pl.col("left_at") - pl.col("occurred_at")
    is_in_time = wait.is_between(pl.duration(minutes=-1), pl.duration(hours=hours))
    is_of = pl.col("of").is_null() | (pl.col("of") == pl.col("delivery_id"))
    both = hits.join(left, on="recipient_id", how="left").with_columns(has_left=(is_in_time & is_of).fill_null(False))
    return both.group_by(key).agg(only_scanner=pl.col("is_scanner").all(), has_left=pl.col("has_left").any())


def band(tables: Measurable, delivery: Deliveries = None) -> pl.DataFrame:
    """Return the open rate under mail privacy protection: what is known of it, and under which assumption.

    The messages delivered are split: *protected* ones, whose images a machine fetched (rules O1, O2, V1), so that it is
    not seen whether anybody read them, and the others, *trackable*. One row per `assumption`, in this order: `bounds`
    (at least those protected of which a person's hit is seen, at most all); `alike` (the protected open as the
    trackable do); `by_clicks` (the protected click as often after opening as the trackable do); then what is counted:
    `strict` (`measure(..., activity="human")`: the lower bound) and `lenient` (all hits, as the platform counts).
    Columns: `openers_low`, `openers_high` (messages; one number but for the bounds, and null where an assumption has
    nothing to go by), `rate_low`, `rate_high` (of `delivered`), and the counts behind them: `delivered`, `trackable`,
    `protected`, `trackable_openers`, `trackable_clickers`, `protected_seen`, `protected_clickers`.
    A protected message that was never fetched looks trackable and unread, so `alike` is rather too low.

    >>> band(store, delivery).select("assumption", "openers_low", "openers_high", "delivered").rows()[:2]
    [('bounds', 21, 26, 82), ('alike', 22, 22, 82)]
    """
    tables, ids, is_marked = _asked(tables, delivery)
    known = measure(tables, ["delivered", "unique_opens"], [], ids)
    counts = (
        _of_messages(tables, ids, is_marked)
        .with_columns(known)
        .with_columns(trackable=pl.col("delivered") - pl.col("protected"))
    )
    a, b, seen = pl.col("trackable_openers"), pl.col("protected"), pl.col("protected_seen")
    alike = _share(b, a, pl.col("trackable"))
    by_clicks = _share(pl.col("protected_clickers"), a, pl.col("trackable_clickers"))
    sizes = {
        "bounds": (a + seen, a + b),
        "alike": (a + alike.clip(seen, b),) * 2,
        "by_clicks": (a + by_clicks.clip(seen, b),) * 2,
        "strict": (a + seen,) * 2,
        "lenient": (pl.col("unique_opens"),) * 2,
    }
    rows = pl.concat(
        counts.select(pl.lit(name).alias("assumption"), low.alias("openers_low"), high.alias("openers_high"), *_COUNTED)
        for name, (low, high) in sizes.items()
    )
    rates = {f"rate_{end}": quotient(f"openers_{end}", "delivered") for end in ("low", "high")}
    ends = ["openers_low", "openers_high", "rate_low", "rate_high"]
    return rows.with_columns(**rates).select("assumption", *ends, *_COUNTED)


_SPLIT = ["trackable_openers", "trackable_clickers", "protected", "protected_seen", "protected_clickers"]
_COUNTED = ["delivered", "trackable", "protected", *[name for name in _SPLIT if name != "protected"]]


def _share(part: pl.Expr, of: pl.Expr, whole: pl.Expr) -> pl.Expr:
    """part * of / whole, rounded half up in whole numbers; null where there is no whole."""
    return pl.when(whole > 0).then((2 * part * of + whole) // (2 * whole))


def _of_messages(tables: Measurable, ids: Sequence[str] | None, is_marked: bool) -> pl.DataFrame:
    """The counts of messages by whether a machine fetched their images: one row."""
    hits = counted_events(tables, ids).filter(pl.col("message_id").is_not_null())
    is_clicked = is_human() & (pl.col("event_type").cast(pl.String) == "clicked")
    messages = hits.group_by("delivery_id", "message_id").agg(
        fetched=pl.col("activity_rule").is_in(list(PREFETCH_OF_READERS)).fill_null(False).any(),
        seen=is_human().any(),
        clicked=is_clicked.any(),
    )
    fetched, seen, clicked = pl.col("fetched"), pl.col("seen"), pl.col("clicked")
    sums: dict[str, Any] = dict(
        zip(_SPLIT, [~fetched & seen, ~fetched & clicked, fetched, fetched & seen, fetched & clicked], strict=True)
    )
    counted = messages.select(test.sum().cast(pl.Int64).alias(name) for name, test in sums.items()).collect()
    unknown = [pl.lit(None, pl.Int64).alias(name) for name in _SPLIT if not is_marked]
    return counted.with_columns(unknown)
