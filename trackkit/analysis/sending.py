"""How deliveries are sent: who was excluded and why, how fast messages go out, and whether the rest will be in time."""

import math
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Annotated, Any

import polars as pl

from trackkit.clock import STEPS, begins, ends, local, step_of
from trackkit.engine.deliveries import Deliveries, asked_about, of_deliveries, the_one, with_launch, zone_of
from trackkit.engine.measure import measure, measure_together, quotient
from trackkit.engine.plausible import plausible
from trackkit.engine.snapshot import Measurable
from trackkit.errors import RequestError
from trackkit.language import translatable
from trackkit.schema import FAILURE_REASONS, INSTANT
from trackkit.toml import FROM_1

__all__ = ["exclusions", "named_rule", "pace", "throughput"]

PACE: dict[str, Any] = {
    "phase": pl.String,
    **dict.fromkeys(("to_deliver", "processed", "pending", "cancelled"), pl.Int64),
    **{"started_at": INSTANT, "last_at": INSTANT, "sent": pl.Int64, "messages_per_hour": pl.Float64},
    **{"busiest_hour": pl.Int64, "hours_needed": pl.Float64},
    **dict.fromkeys(("ends_at", "validity_at", "as_of"), INSTANT),
    "outlook": pl.String,
}
OUTCOMES = {"delivered": "success", "failed": "errors"}
OUTCOME = pl.Enum(["success", "errors"])
TIMESCALES = ("1m", "10m", "1h", "3h", "24h", "1w", "1mo", "1y")
MOST_BUCKETS = 72  # with "auto"
HOUR = 3_600_000_000  # microseconds
EXCLUSION_ROWS = pl.Enum(["rule", "unlisted", "total"])
UNLISTED = translatable("(rule not in the data loaded)")
UNNAMED = translatable("(no rule named)")
# The labels of rules by their code, and by a label that stores of older versions hold.
RULES = {str(code): reason for code, reason in FAILURE_REASONS.items()} | {"Denylisted address": FAILURE_REASONS[8]}
NOT_STARTED, RUNNING, PAUSED, OVER = "not started", "running", "paused", "over"
PHASES: Mapping[int, str] = (
    dict.fromkeys((0, 11, 12, 13, 15, 21, 22, 25, 37, 45, 51), NOT_STARTED)
    | dict.fromkeys((55, 61, 62), RUNNING)
    | dict.fromkeys((71, 72, 75), PAUSED)
    | dict.fromkeys((85, 87, 95, 100), OVER)
)


def exclusions(tables: Measurable, delivery: Deliveries = None) -> pl.DataFrame:
    """Return who was excluded at analysis, and why: one row per rule, most recipients first, then the rest and a total.

    Columns: `row` ("rule"; "unlisted", those rejected according to their delivery but not listed by rule; "total"),
    `rule`, `recipients`; `rejected` (all of them) and `contribution` (recipients / rejected); `targeted` (the initial
    population, null if unknown) and `share` (recipients / targeted). A rule that is the code of a failure reason is
    replaced by its label. Those not listed are found for each delivery, then added. Recipients are null when neither
    the delivery nor a list of exclusions was loaded. Raises RequestError for an unknown delivery.

    >>> exclusions(store, delivery).select("rule", "recipients", "rejected").row(0)
    ('Address in quarantine', 2, 8)
    """
    ids = asked_about(tables, delivery)
    listed, stated = _listed(tables, ids), measure(tables, ["rejected", "targeted"], delivery=ids)
    total, targeted = (
        _rejected(tables, stated, listed),
        stated["targeted"].sum() if stated["targeted"].count() else None,
    )
    listed = _by_rule(listed)
    listed_total = int(listed["recipients"].sum()) if tables.has("exclusion") else None
    unlisted = [] if not total or total == listed_total else [("unlisted", UNLISTED, total - (listed_total or 0))]
    ending = pl.DataFrame([*unlisted, ("total", None, total)], schema=listed.schema, orient="row")
    return (
        pl.concat([listed, ending])
        .with_columns(rejected=pl.lit(total, pl.Int64), targeted=pl.lit(targeted, pl.Int64))
        .with_columns(contribution=quotient("recipients", "rejected"), share=quotient("recipients", "targeted"))
    )


def _rejected(tables: Measurable, stated: pl.DataFrame, listed: pl.DataFrame) -> int | None:
    """The recipients rejected: of each delivery what it states, or those listed if they are more."""
    by_delivery = listed.group_by("delivery_id").agg(listed=pl.col("recipients").sum())
    each = stated.join(by_delivery, on="delivery_id", how="full", coalesce=True)
    most = each.select(pl.max_horizontal("rejected", "listed").alias("most"))["most"]
    return int(most.sum()) if most.count() else 0 if tables.has("exclusion") else None


def throughput(
    tables: Measurable,
    delivery: Deliveries = None,
    every: Annotated[str, ("auto", *TIMESCALES)] = "auto",
    hours: Annotated[float | None, FROM_1] = None,
    timezone: str = "",
) -> pl.DataFrame:
    """Return how fast messages went out, by the clock of `timezone`: one row per period and outcome with messages.

    Columns: `starts_at` (start of the period, in that zone), `seconds` (its length), `series` ("success" or "errors"),
    `messages`; `messages_per_hour` (messages x 3600 / seconds); `bits_per_second` (messages x size x 8 / seconds), null
    when the size of a message is unknown. `every` is "1m", "10m", "1h", "3h", "24h" (a calendar day, 23 or 25 hours
    when the clocks change), "1w", "1mo" or "1y" (a week from Monday, a calendar month, a year) or "auto": the shortest
    that makes no more than 72 periods, or "1y". Only messages before launch + `hours` are included; without `hours`,
    those up to the last success, since bounces trickle in for days: launch and last success of their own delivery. A
    message is in the period of its last change of status, and as large as those of its delivery. Raises RequestError
    for an unknown delivery, zone or `every`, or `hours` that are not positive.

    >>> throughput(store, delivery, every="1h").select("series", "messages").rows()
    [('success', 85)]
    """
    zone = zone_of(tables, timezone)
    dated = _in_span(tables, asked_about(tables, delivery), hours).collect()
    step = _step(dated, every)
    clock = begins(local("status_at", zone), zone, step)
    seconds = (ends(pl.col("starts_at"), zone, step) - pl.col("starts_at")).dt.total_seconds()
    sizes = tables.scan("delivery").select("delivery_id", size="message_size").unique("delivery_id", keep="first")
    messages, is_sized = pl.col("messages"), pl.col("size").null_count() == 0
    return (
        dated.group_by("delivery_id", starts_at=clock, series="series")
        .agg(messages=pl.len().cast(pl.Int64))
        .join(sizes.collect(), on="delivery_id", how="left")
        .group_by("starts_at", "series")
        .agg(messages.sum(), bytes=pl.when(is_sized).then((messages * pl.col("size")).sum()))
        .with_columns(seconds=seconds)
        .with_columns(
            messages_per_hour=messages * 3_600 / pl.col("seconds"),
            bits_per_second=pl.col("bytes") * 8 / pl.col("seconds"),
        )
        .sort("starts_at", "series")
        .select("starts_at", "seconds", "series", "messages", "messages_per_hour", "bits_per_second")
    )


def pace(tables: Measurable, delivery: Deliveries = None) -> pl.DataFrame:
    """Return how far a delivery is, how fast it goes and when it will be done, against its deadline: one row.

    Counts (null without a log of messages): `to_deliver`, `processed`, `pending`, `cancelled`. Instants (UTC):
    `started_at`, the first message; `last_at`, the last success known; `validity_at`, the deadline; `as_of`, the newest
    load. `sent`, the messages whose outcome is dated up to `last_at`; `messages_per_hour`, sent / (last_at -
    started_at); `busiest_hour`, the most messages of any 60 minutes. `phase` is "not started", "running", "paused",
    "over" or null, by the state of the delivery; one with messages sent has started, whatever its state says. While
    messages are pending and the pace is known: `hours_needed`, pending / messages_per_hour; and, unless paused,
    `ends_at`, last_at + hours_needed, a projection that holds only while the pace does. `outlook` compares: "in time"
    and "late" with the deadline; "overdue" when the deadline had passed at the newest load, "behind" when the
    projected end had, and messages are still pending; null when that cannot be said. What the data itself has refuted
    is not projected.

    Of several deliveries, counts are added, `messages_per_hour` is out of the hours that each was sent in, added,
    `started_at` is the first and `last_at` the last of all, and `phase` is "running" if any is, else "paused", "not
    started" or "over". They have no common deadline, so what is compared with one is null. Raises RequestError for an
    unknown delivery.

    >>> pace(store, delivery).select("phase", "to_deliver", "processed", "pending").row(0)
    ('over', 85, 85, 0)
    """
    ids = asked_about(tables, delivery)
    metrics = ["to_deliver", "processed", "pending", "cancelled"]
    row: dict[str, Any] = dict.fromkeys(metrics) | measure_together(tables, metrics, ids).row(0, named=True)
    row |= _speed(tables, ids) | {"as_of": getattr(tables, "as_of", None), "phase": _phase(tables, ids)}
    if key := the_one(ids):
        deadlines = of_deliveries(tables, "delivery", [key]).select("validity_at").head(1).collect()
        row |= {"validity_at": deadlines.item() if deadlines.height else None}
        row |= _projection(row)
    return pl.DataFrame([{name: row.get(name) for name in PACE}], schema=PACE)


def _phase(tables: Measurable, ids: Sequence[str] | None) -> str | None:
    """How far deliveries are, by their states: the phase of that which has most yet to come."""
    states = of_deliveries(tables, "delivery", ids).select("delivery_id", "state").collect()
    each = measure(tables, ["processed"], delivery=ids).join(states, on="delivery_id")
    phase = pl.col("state").replace_strict(PHASES, default=None, return_dtype=pl.String)
    has_started = (phase == NOT_STARTED) & (pl.col("processed") > 0)
    phases = set(each.select(pl.when(has_started).then(pl.lit(RUNNING)).otherwise(phase)).to_series())
    return next((name for name in (RUNNING, PAUSED, NOT_STARTED, OVER) if name in phases), None)


def _listed(tables: Measurable, ids: Sequence[str] | None) -> pl.DataFrame:
    """The listed exclusions: `delivery_id`, `rule`, `recipients`."""
    rows = of_deliveries(tables, "exclusion", ids).select("delivery_id", "recipient_id", rule=named_rule())
    each = rows.unique()  # a rule may have been stored under its older label too
    return each.group_by("delivery_id", "rule").agg(recipients=pl.len().cast(pl.Int64)).collect()


def _by_rule(listed: pl.DataFrame) -> pl.DataFrame:
    """The listed exclusions by rule: `row`, `rule`, `recipients`."""
    rows = listed.group_by("rule", row=pl.lit("rule", EXCLUSION_ROWS)).agg(pl.col("recipients").sum())
    return rows.select("row", "rule", "recipients").sort("recipients", "rule", descending=[True, False])


def named_rule() -> pl.Expr:
    """Return the rule of an exclusion in the platform's words; its code is replaced by its label.

    >>> pl.DataFrame({"rule": ["1"]}).select(named_rule()).item()
    'User unknown'
    """
    rule = pl.col("rule").str.strip_chars().replace(RULES)
    return pl.when(rule != "").then(rule).otherwise(pl.lit(UNNAMED)).alias("rule")


def _in_span(tables: Measurable, ids: Sequence[str] | None, hours: float | None) -> pl.LazyFrame:
    """The messages whose outcome is known and dated, within so many hours or until the last success of their delivery.

    Columns: `delivery_id`, `status_at`, `series`.
    """
    if hours is not None and not 0 < hours < math.inf:
        raise RequestError(f"A period is a positive number of hours; got {hours!r}.")
    status, at = pl.col("status").cast(pl.String), pl.col("status_at")
    rows = of_deliveries(tables, "message", ids).select(
        "delivery_id", "status_at", series=status.replace_strict(OUTCOMES, default=None, return_dtype=OUTCOME)
    )
    is_dated = plausible(tables, "message", the_one(ids)).holds("status_at")
    outcomes = rows.filter(pl.col("series").is_not_null(), is_dated)
    first, last = at.min(), at.filter(pl.col("series") == "success").max()
    if not the_one(ids):
        first, last = first.over("delivery_id"), last.over("delivery_id")
    if hours is None:
        return outcomes.filter((at <= last).fill_null(True))
    start = pl.coalesce("launched_at", first)
    ends_at = start + pl.duration(microseconds=min(round(hours * 3_600_000_000), 2**60))
    return with_launch(tables, outcomes, ids).filter(at < ends_at)


def _step(dated: pl.DataFrame, every: str) -> str:
    """The length of a period in polars' notation; a day is a calendar day."""
    step = step_of(every, ("auto", *TIMESCALES), "timescale")
    if step != "auto":
        return step
    last, first = dated["status_at"].max(), dated["status_at"].min()
    span = (last - first).total_seconds() if isinstance(last, datetime) and isinstance(first, datetime) else 0
    steps = [step_of(name, TIMESCALES, "timescale") for name in TIMESCALES]
    return next((step for step in steps if span / STEPS[step] < MOST_BUCKETS), steps[-1])


def _speed(tables: Measurable, ids: Sequence[str] | None) -> dict[str, Any]:
    """The first and last message, the number of messages, and the two paces."""
    dated = _in_span(tables, ids, None).sort("status_at").collect()
    starts = of_deliveries(tables, "delivery", ids).select("delivery_id", "started_at").unique("delivery_id")
    at, started = pl.col("status_at"), pl.col("started_at")
    each = dated.group_by("delivery_id").agg(earliest=at.min(), last=at.filter(pl.col("series") == "success").max())
    each = each.join(starts.collect(), on="delivery_id", how="full", coalesce=True)
    hours = (pl.col("last") - pl.col("first")).clip(pl.duration()).dt.total_microseconds() / HOUR
    spans = each.with_columns(first=pl.coalesce(started, "earliest")).with_columns(hours=hours)
    first, last, hours_sent = spans.select(pl.col("first").min(), pl.col("last").max(), pl.col("hours").sum()).row(0)
    busiest_hour = dated.rolling("status_at", period="1h").agg(pl.len())["len"].max() if dated.height else None
    pace = {"messages_per_hour": dated.height / hours_sent if hours_sent > 0 else None, "busiest_hour": busiest_hour}
    return {"started_at": first, "last_at": last, "sent": dated.height if tables.has("message") else None} | pace


def _projection(row: Mapping[str, Any]) -> dict[str, Any]:
    """When the rest will be sent at the current pace, and how that compares with the deadline."""
    if not row["pending"] or row["phase"] == OVER:
        return {"hours_needed": None, "ends_at": None, "outlook": None}
    hours = row["pending"] / row["messages_per_hour"] if row["messages_per_hour"] else None
    ends = None if hours is None or row["phase"] == PAUSED else _later(row["last_at"], hours)
    outlook = _outlook(ends, row["validity_at"], row["as_of"])
    is_refuted = outlook in ("overdue", "behind")
    return {"hours_needed": hours, "ends_at": None if is_refuted else ends, "outlook": outlook}


def _later(instant: datetime, hours: float) -> datetime | None:
    try:
        return instant + timedelta(hours=hours)
    except OverflowError:  # at this pace, it ends after the year 9999
        return None


def _outlook(ends: datetime | None, deadline: datetime | None, as_of: datetime | None) -> str | None:
    if as_of is not None and deadline is not None and as_of > deadline:
        return "overdue"
    if as_of is not None and ends is not None and as_of > ends:
        return "behind"
    return None if ends is None or deadline is None else "in time" if ends <= deadline else "late"
