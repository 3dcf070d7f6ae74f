"""When things happened after the launch: time to reach each share of the total, cumulated curves, a timeline.

Three series, as in the platform's "Tracking statistics": opens, clicks (on e-mail links only) and transactions. Only
dated events have a place on a time axis, so totals here are those of dated events.
"""

import math
from collections.abc import Sequence
from datetime import datetime, timedelta
from fractions import Fraction
from typing import Annotated, Any, Literal, get_args

import polars as pl

from trackkit.analysis import survival
from trackkit.analysis.delays import FirstEvent, first_hits, watched
from trackkit.clock import STEPS, begins, local, step_of
from trackkit.engine.deliveries import (
    Deliveries,
    asked_about,
    counted_events,
    launches,
    the_one,
    with_launch,
    zone_of,
)
from trackkit.engine.measure import quotient
from trackkit.engine.plausible import plausible
from trackkit.engine.refusals import with_refusals
from trackkit.engine.selection import ACTIVITIES, ALL, Selection
from trackkit.engine.snapshot import Measurable
from trackkit.errors import RequestError, require_word
from trackkit.toml import FROM_1

__all__ = [
    "SERIES",
    "TENTHS",
    "activity",
    "cumulative_activity",
    "every_launch",
    "launched",
    "pareto",
    "time_to_first",
    "time_to_reach",
]

SERIES = {"opens": "opened", "clicks": "clicked", "transactions": "transaction"}
SERIES_TYPE = pl.Enum(list(SERIES))
TIMESCALES = ("1h", "3h", "24h")
TENTHS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
GroupOfMessages = Literal["", "delivery_id", "domain", "country"]
GroupOfHits = Literal["device", "operating_system", "browser", "link_label"]


def time_to_reach(
    tables: Measurable,
    delivery: Deliveries = None,
    shares: Sequence[float] = TENTHS,
    bucket_minutes: int = 10,
    period_hours: float | None = None,
) -> pl.DataFrame:
    """Return how long after the launch each series had reached each share of its total: one row per series and share.

    Over several deliveries, or all, each event counts from the launch of its own.

    Columns: `series`; `share` (fraction of the total); `after` (duration), the end of the first bucket of
    `bucket_minutes` in which the cumulated count is at least share x total, less the launch; `shown`, the same in
    words ("1 h 10 min"); `reached`, the cumulated count there; `total`, the events of the period. An empty
    series has null in all but `total`. Events before the launch are in the first bucket; the period is
    launch <= instant < launch + `period_hours`, all of time by default. Raises RequestError for an unknown delivery,
    a share outside 0-1, or a bucket or period that is not positive.

    >>> time_to_reach(store, delivery, shares=[0.5]).select("series", "shown", "reached", "total").row(0)
    ('opens', '3 h 40 min', 24, 46)
    """
    _require_valid(shares, bucket_minutes, period_hours)
    counts = _buckets(tables, delivery, timedelta(minutes=bucket_minutes), period_hours).collect()
    totals = _totals(counts)
    reached = counts.select("series", "bucket", reached="cumulated").sort("reached")
    return (
        _needed_counts(totals, shares)
        .sort("needed")
        .join_asof(
            reached,
            left_on="needed",
            right_on="reached",
            by="series",
            strategy="forward",
            coalesce=False,
            check_sortedness=False,
        )
        .with_columns(after=(pl.col("bucket") + 1) * pl.lit(timedelta(minutes=bucket_minutes)))
        .sort("series", "order")
        .select("series", "share", "after", _duration_words("after").alias("shown"), "reached", "total")
    )


def pareto(
    tables: Measurable,
    delivery: Deliveries = None,
    shares: Sequence[float] = TENTHS,
    bucket_minutes: int = 10,
    period_hours: Annotated[float | None, FROM_1] = None,
) -> pl.DataFrame:
    """Return `time_to_reach` as the platform prints it: one row per share, one column of words per series.

    Columns: `share`, `opens`, `clicks`, `transactions` ("20 min", "1 h 10 min"; null where the series is empty).

    >>> pareto(store, delivery, shares=[0.5, 0.9]).rows()
    [(0.5, '3 h 40 min', '2 h 40 min', '4 h'), (0.9, '96 h 20 min', '26 h 10 min', '4 h')]
    """
    reached = time_to_reach(tables, delivery, shares, bucket_minutes, period_hours)
    columns = [reached.filter(pl.col("series") == series)["shown"].alias(series) for series in SERIES]
    return pl.DataFrame([pl.Series("share", [float(share) for share in shares], pl.Float64), *columns])


def cumulative_activity(
    tables: Measurable,
    delivery: Deliveries = None,
    every: Annotated[str, TIMESCALES] = "1h",
    period_hours: Annotated[float | None, FROM_1] = None,
) -> pl.DataFrame:
    """Return the growing count of each series since the launch: one row per series and bucket with events.

    Over several deliveries, or all, each event counts from the launch of its own.

    Columns: `hours` (since the launch, at the end of the bucket; 0 is the origin, where nothing had happened);
    `series`; `count` in the bucket; `cumulated`; `total`; `share` (cumulated / total, null for an empty series).
    `every` is a view of the platform: "1h", "3h" or "24h". A bucket where only another series has events is
    included, so that areas can be stacked; buckets without any are not.

    >>> clicks = cumulative_activity(store, delivery).filter(pl.col("series") == "clicks")
    >>> clicks.select("hours", "cumulated", "total").row(-1)
    (329, 12, 12)
    """
    hours = STEPS[step_of(every, TIMESCALES, "timescale")] // 3_600
    _require_valid((), hours, period_hours)
    counts = _buckets(tables, delivery, timedelta(hours=hours), period_hours).collect()
    origin = pl.DataFrame({"bucket": [-1]}, schema={"bucket": pl.Int64})
    grid = pl.concat([origin, counts.select("bucket").unique()]).join(_series_frame(), how="cross")
    running = pl.col("count").cum_sum().over("series", order_by="bucket")
    return (
        grid.join(counts, on=["series", "bucket"], how="left")
        .with_columns(pl.col("count").fill_null(0), hours=(pl.col("bucket") + 1) * hours)
        .with_columns(cumulated=running, total=pl.col("count").sum().over("series"))
        .with_columns(share=quotient("cumulated", "total"))
        .sort("series", "hours")
        .select("hours", "series", "count", "cumulated", "total", "share")
    )


def activity(
    tables: Measurable, delivery: Deliveries = None, every: Annotated[str, TIMESCALES] = "1h", timezone: str = ""
) -> pl.DataFrame:
    """Return what happened when by the clock of `timezone`: one row per series and bucket with events.

    Columns: `starts_at` (start of the bucket, in that zone), `series`, `count`. `every` is "1h", "3h" or "24h";
    the last is a calendar day of the zone, 23 or 25 hours when the clocks change. Undated events are left out.

    >>> activity(store, delivery, every="24h").select("series", "count").row(0)
    ('opens', 27)
    """
    step, zone = step_of(every, TIMESCALES, "timescale"), zone_of(tables, timezone)
    return (
        series_events(tables, asked_about(tables, delivery))
        .group_by(starts_at=begins(local("occurred_at", zone), zone, step), series="series")
        .agg(count=pl.len().cast(pl.Int64))
        .sort("starts_at", "series")
        .collect()
    )


def launched(tables: Measurable, delivery: Deliveries = None) -> datetime | None:
    """Return when a delivery was launched: its first message, else its planned contact, else its first dated event.

    Of several, or of all, it is the first launch. None if nothing is dated. Raises RequestError for an unknown
    delivery.

    >>> launched(store, delivery).isoformat()
    '2026-11-01T17:00:00+00:00'
    """
    return launches(tables, asked_about(tables, delivery)).select(pl.col("launched_at").min()).item()  # type: ignore


def every_launch(tables: Measurable, delivery: Deliveries = None) -> list[datetime]:
    """Return when each of some deliveries was launched, as `launched` does, the first one first; undated ones are none.

    Raises RequestError for an unknown delivery.

    >>> [str(at) for at in every_launch(store, ["7471048", "7471122"])]
    ['2026-11-01 17:00:00+00:00', '2026-11-08 17:00:01+00:00']
    """
    at: list[datetime] = launches(tables, asked_about(tables, delivery))["launched_at"].sort().to_list()
    return at


def time_to_first(
    tables: Measurable,
    event: FirstEvent,
    delivery: Deliveries = None,
    by: GroupOfMessages | GroupOfHits = "",
    activity: Annotated[str, ACTIVITIES] = ALL,
) -> pl.DataFrame:
    """Return by when messages were first opened, clicked …, those not yet counted as unknown: one row per step.

    Without `delivery` it is of all that are not set aside. Columns: the group `by`, if any; `hours` since each
    message's own sending; `at_risk`, messages watched up to there without the event; `events`, messages with it by
    then; `share_so_far`, the estimated share of all messages that have it by then, with its 95 % band `low` to
    `high` (null where it has none); `messages`, those delivered; `borrowed`, those of them whose time counts from
    the delivery's start, since they have no instant of their own.

    A message is watched up to the newest hit known, or, where its delivery is over, up to the deadline if that is
    earlier; later events are left out. The share is Kaplan and Meier's, its band Greenwood's on the log-log scale. By
    a column of hits (device, operating system, browser, link) it is the share that had the event *first* there, of all
    messages (cumulative incidence by Aalen and Johansen); so these shares add up, and their groups share the messages.
    The first row of a group is hour 0; at most 200 are kept. `opened` is any hit, since whoever clicks has opened.
    With `activity="human"` machines are left out as in `measure`: their fetches at the first second are no delay of a
    reader. Raises RequestError for an unknown delivery, event, group or activity, or one that was never marked.

    >>> time_to_first(store, "clicked", delivery).select("at_risk", "events", "messages").row(-1)
    (77, 6, 82)
    """
    require_word("event", event, get_args(FirstEvent))
    require_word("group", by, (*get_args(GroupOfMessages), *get_args(GroupOfHits)))
    ids = asked_about(tables, delivery)
    if require_word("activity", activity, ACTIVITIES) != ALL:
        Selection(tables, ids, None, "UTC").require_activity()
    groups = [by] if by else []
    is_of_hits = by in get_args(GroupOfHits)
    of_message = [name for name in groups if name != "delivery_id" and not is_of_hits]
    messages = first_hits(tables, ids, [event], of_message, groups if is_of_hits else [], activity)
    rows = watched(tables, messages, event).select(*groups, "hours", "is_seen", "is_borrowed").sort(pl.all()).collect()
    return survival.of_hits(rows, by) if is_of_hits else survival.of_messages(rows, groups)


def series_events(tables: Measurable, ids: Sequence[str] | None) -> pl.LazyFrame:
    """Return the dated events (`plausible`) of the three series in the deliveries `asked_about`.

    Columns: `occurred_at`, `series`, `delivery_id`. Transactions of visitors who refused web tracking are left out, as
    in `measure`.
    """
    names = {event_type: name for name, event_type in SERIES.items()}
    event_type = pl.col("event_type").cast(pl.String)
    is_dated = plausible(tables, "event", the_one(ids)).holds()
    dated = counted_events(tables, ids).filter(event_type.is_in(list(names)), is_dated)
    counted: pl.LazyFrame = with_refusals(tables, dated)
    return counted.filter(~pl.col("is_refused").fill_null(False)).select(
        "occurred_at", "delivery_id", series=event_type.replace_strict(names, return_dtype=SERIES_TYPE)
    )


def _buckets(tables: Measurable, delivery: Deliveries, width: timedelta, period_hours: float | None) -> pl.LazyFrame:
    """Count per series and bucket since the launch: `series`, `bucket` (0 the first), `count`, `cumulated`."""
    ids = asked_about(tables, delivery)
    since = (pl.col("occurred_at") - pl.col("launched_at")).dt.total_microseconds()
    events = with_launch(tables, series_events(tables, ids), ids).with_columns(since=since)
    if period_hours is not None:
        events = events.filter(pl.col("since") < min(round(period_hours * 3_600_000_000), 2**62))
    return (
        events.group_by("series", bucket=pl.col("since").clip(lower_bound=0) // (width // timedelta(microseconds=1)))
        .agg(count=pl.len().cast(pl.Int64))
        .with_columns(cumulated=pl.col("count").cum_sum().over("series", order_by="bucket"))
        .sort("series", "bucket")
    )


def _totals(counts: pl.DataFrame) -> dict[str, int]:
    sums = counts.group_by("series").agg(pl.col("count").sum())
    return dict.fromkeys(SERIES, 0) | dict(sums.with_columns(pl.col("series").cast(pl.String)).iter_rows())


def _needed_counts(totals: dict[str, int], shares: Sequence[float]) -> pl.DataFrame:
    """The smallest count that reaches each share of each total; exact, since 0.55 x 100 in floats would give 56."""
    rows = [
        (series, order, float(share), math.ceil(Fraction(str(share)) * total) if total else None, total)
        for series, total in totals.items()
        for order, share in enumerate(shares)
    ]
    columns: dict[str, Any] = {
        "series": SERIES_TYPE,
        "order": pl.Int64,
        "share": pl.Float64,
        "needed": pl.Int64,
        "total": pl.Int64,
    }
    return pl.DataFrame(rows, schema=columns, orient="row")


def _duration_words(column: str) -> pl.Expr:
    """A duration in hours and minutes: "20 min", "1 h", "1 h 10 min"."""
    minutes = pl.col(column).dt.total_minutes()
    hours, minutes_left = pl.format("{} h", minutes // 60), pl.format("{} min", minutes % 60)
    both = pl.concat_str([hours, minutes_left], separator=" ")
    return pl.when(minutes < 60).then(minutes_left).when(minutes % 60 == 0).then(hours).otherwise(both)


def _series_frame() -> pl.DataFrame:
    return pl.DataFrame({"series": list(SERIES)}, schema={"series": SERIES_TYPE})


def _require_valid(shares: Sequence[float], bucket: float, period_hours: float | None) -> None:
    """Refuse invalid parameters before any data is read."""
    invalid = [share for share in shares if not 0 < share <= 1]
    if invalid:
        raise RequestError(f"A share is a fraction above 0 and at most 1, such as 0.5; got {invalid[0]!r}.")
    for name, value in (("bucket", bucket), ("period", period_hours)):
        if value is not None and not 0 < value < math.inf:
            raise RequestError(f"A {name} is a positive time; got {value!r}.")
