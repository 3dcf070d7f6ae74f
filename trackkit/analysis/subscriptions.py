"""Who joined and left the information services: the platform's "Subscription tracking", and its curves.

Figures come from the history of acts alone, and distinguish acts from people: someone who leaves three times made
three acts, and is one person who left. A subscription starts with the act that began it, so subscribing again while
subscribed changes nothing; at one instant, leaving comes after joining. Someone whose first act is to leave was
subscribed before the history began. Acts without an instant, a service or a known action are left out; those without a
recipient count as acts, but make nobody a subscriber.
"""

from datetime import UTC, datetime, timedelta
from typing import Annotated

import polars as pl

from trackkit.analysis.messages import with_label
from trackkit.clock import Asked, moment
from trackkit.engine.deliveries import number_hint, unnamed_if_deleted, zone_of
from trackkit.engine.measure import quotient
from trackkit.engine.plausible import now as newest
from trackkit.engine.snapshot import Measurable
from trackkit.errors import RequestError, did_you_mean, require_word
from trackkit.schema import INSTANT

__all__ = [
    "acts_by_delivery",
    "acts_by_week",
    "services",
    "subscription_curves",
    "subscription_progress",
    "subscription_totals",
    "with_rates",
]

# The platform's periods: hours by the clock, months by the calendar (UTC).
PERIODS = {"24H": "-24h", "48H": "-48h", "1 week": "-168h", "2 weeks": "-336h", "1 month": "-1mo", "6 months": "-6mo"}
PERIOD = pl.Enum(list(PERIODS))
ACTIONS = {1: "subscriptions", 0: "unsubscriptions"}
SERIES = pl.Enum(list(ACTIONS.values()))
_SUBSCRIBER = ("service_id", "recipient_id")
COUNTS = ("subscribers", "registered", "subscriptions", "unsubscriptions")
RATES = ("evolution", "evolution_rate", "remaining", "kept", "loyalty")
_CHANGES = ("joins", "leaves")  # acts that changed something
PEOPLE = ("at_start", "joined", "left")
OF_PEOPLE = ("everybody", "change", "loss_rate")
PROGRESS = ("service_id", "service", "period", "starts_at", "as_of", *COUNTS, *RATES, *PEOPLE, *OF_PEOPLE)
TOTALS = ("period", "services", "subscribers", *PEOPLE, *OF_PEOPLE)
BY_DELIVERY = "delivery_id delivery subscriptions unsubscriptions total share"


def subscription_progress(
    tables: Measurable, service: str = "", as_of: Asked = "", timezone: str = ""
) -> Annotated[pl.DataFrame, PROGRESS]:
    """Return how each service gained and lost subscribers: one row per service and period before `as_of`.

    Columns: `service_id`, `service` (label, else id), `period`, `starts_at`, `as_of` (UTC), `subscribers` (at `as_of`),
    `registered` (those subscribed since before `starts_at`), `subscriptions` and `unsubscriptions` (acts with
    `starts_at` < instant <= `as_of`), then those of `with_rates`, from the acts that changed something. Of people:
    `at_start`, subscribed when the period began; `joined`, the others who were subscribed at some time in it; `left`,
    subscribed in it but not at `as_of`; `everybody`, at_start + joined; `change`, joined - left, the net growth;
    `loss_rate`, left / everybody, null if nobody. The service with most subscribers comes first.

    Without a history of acts every figure is null. `as_of` is an instant, or the end of a date; one
    without a zone is in `timezone`. By default it is the last `plausible` act of all services, never the current
    time. Raises RequestError for an unknown service or time zone, and for an `as_of` that is neither.

    >>> subscription_progress(store).select("period", "registered", "subscriptions", "unsubscriptions").row(0)
    ('24H', 119, 1, 0)
    """
    acts = _acts(tables)
    zone = zone_of(tables, timezone)
    now = newest(tables, "subscription", rows=acts) if as_of in ("", None) else _instant(as_of, zone)
    past = acts.filter(pl.col("occurred_at") <= pl.lit(now, INSTANT))
    people, periods = _people(past), _periods(now)
    counted = [
        _period_counts(people, past, start).with_columns(period=pl.lit(name, PERIOD)) for name, start in periods.items()
    ]
    grid = pl.LazyFrame({"period": list(periods)}, schema={"period": PERIOD})
    rows = services(tables, service).lazy().join(grid, how="cross")
    progress = rows.join(pl.concat(counted), on=["service_id", "period"], how="left").collect()
    unknown = pl.lit(0 if tables.has("subscription") else None, pl.Int64)
    return (
        _with_rates_of_changes(progress.with_columns(pl.col(*COUNTS, *PEOPLE, *_CHANGES).fill_null(unknown)))
        .with_columns(everybody=pl.col("at_start") + pl.col("joined"), change=pl.col("joined") - pl.col("left"))
        .with_columns(
            loss_rate=quotient("left", "everybody"),
            as_of=pl.lit(now, INSTANT),
            starts_at=pl.col("period").replace_strict(periods, return_dtype=INSTANT),
        )
        .sort("subscribers", "service", "service_id", "period", descending=[True, False, False, False])
        .select(PROGRESS)
    )


def subscription_totals(progress: pl.DataFrame) -> Annotated[pl.DataFrame, TOTALS]:
    """Return the subscriptions to all services together: one row per period, in the order of the frame.

    In: the frame of `subscription_progress`. Columns: `period`, `services`, and the sums of `subscribers`, `at_start`,
    `joined`, `left`, `everybody` and `change`, of subscriptions: who is subscribed to two services is in them twice;
    `loss_rate`, left / everybody. All are null without a history of acts.

    >>> subscription_totals(subscription_progress(store)).select("period", "joined", "left").row(0)
    ('24H', 2, 0)
    """
    counts = ["subscribers", *PEOPLE, "everybody", "change"]
    sums = [pl.when(pl.col(name).count() > 0).then(pl.col(name).sum()).alias(name) for name in counts]
    totals = progress.group_by("period", maintain_order=True).agg(pl.len().cast(pl.Int64).alias("services"), *sums)
    return totals.with_columns(loss_rate=quotient("left", "everybody")).select(TOTALS)


def with_rates(counted: pl.DataFrame) -> pl.DataFrame:
    """Add the platform's figures from `registered`, `subscriptions` and `unsubscriptions`, at any grain.

    `evolution`, subscriptions less unsubscriptions, signed; `evolution_rate`, evolution / registered; `remaining`,
    registered + evolution; `kept`, remaining less unsubscriptions; `loyalty`, kept / remaining, which is the platform's
    1 - unsubscriptions / remaining. A rate is null unless its denominator is above 0; loyalty is below 0 if more
    left than remain.

    >>> counts = pl.DataFrame({"registered": [200], "subscriptions": [10], "unsubscriptions": [10]})
    >>> with_rates(counts).select("evolution", "evolution_rate", "loyalty").rows()
    [(0, 0.0, 0.95)]
    """
    evolution = pl.col("subscriptions") - pl.col("unsubscriptions")
    remaining = pl.col("registered") + evolution
    kept = remaining - pl.col("unsubscriptions")
    return counted.with_columns(evolution=evolution, remaining=remaining, kept=kept).with_columns(
        evolution_rate=quotient("evolution", "registered"), loyalty=quotient("kept", "remaining")
    )


def _with_rates_of_changes(counted: pl.DataFrame) -> pl.DataFrame:
    """Add the rates of acts that changed something: leaving again does not reduce the subscribers."""
    changes = counted.select("registered", subscriptions="joins", unsubscriptions="leaves")
    return counted.hstack(with_rates(changes).select(RATES))


def subscription_curves(
    tables: Measurable,
    service: str = "",
    as_of: Asked = "",
    period: Annotated[str, PERIODS] = "6 months",
    timezone: str = "",
    top: int | None = None,
) -> pl.DataFrame:
    """Return the cumulated number of those who joined or left in a period: a row per service, series and day of acts.

    An act that changes nothing, as leaving again, is left out.

    Columns: `service_id`, `service`, `series` ("subscriptions" or "unsubscriptions"), `day` (date in `timezone`),
    `count` (of the day), `cumulated` (since the period began). Each series of a service starts at 0 on the day before
    the period and lasts to the day of `as_of`. `top` keeps the services with most subscribers. Raises RequestError as
    `subscription_progress`, and for an unknown period.

    >>> subscription_curves(store).select("series", "day", "count", "cumulated").row(0)
    ('subscriptions', datetime.date(2026, 5, 9), 0, 0)
    """
    zone = zone_of(tables, timezone)
    chosen = _of_period(subscription_progress(tables, service, as_of, zone), period)
    shown = chosen.drop_nulls(["subscribers", "as_of"]).head(chosen.height if top is None else top)
    acts = _acts_in(tables, shown).select(
        "service_id", "service", _day("occurred_at", zone), series="kind", count=pl.lit(1, pl.Int64)
    )
    return (
        pl.concat([acts, *_end_points(shown, zone)])
        .group_by("service_id", "service", "day", series=pl.col("series").cast(SERIES))
        .agg(pl.col("count").sum())
        .with_columns(cumulated=pl.col("count").cum_sum().over("service_id", "series", order_by="day"))
        .join(shown.lazy().with_row_index("place").select("service_id", "place"), on="service_id")
        .sort("place", "series", "day")
        .select("service_id", "service", "series", "day", "count", "cumulated")
        .collect()
    )


def acts_by_week(curves: pl.DataFrame) -> pl.DataFrame:
    """Return the acts of each calendar week: one row per service, series and week with acts.

    In: the frame of `subscription_curves`. Columns: `service_id`, `service`, `series`, `starts_on` (a Monday), `count`
    (of the week), `cumulated` (at its end, since the period began), `is_whole` (whether the week is all in the period).

    >>> acts_by_week(subscription_curves(store)).select("series", "starts_on", "count").row(0)
    ('subscriptions', datetime.date(2026, 5, 4), 3)
    """
    first, last = pl.col("day").min() + timedelta(days=2), pl.col("day").max()  # the period begins within a day
    weeks = curves.with_columns(starts_on=pl.col("day").dt.truncate("1w"), first=first, last=last)
    is_whole = (pl.col("starts_on") >= pl.col("first")) & (pl.col("starts_on") + timedelta(days=6) <= pl.col("last"))
    return (
        weeks.group_by("service_id", "service", "series", "starts_on", maintain_order=True)
        .agg(pl.col("count").sum(), pl.col("cumulated").last(), pl.col("first", "last").first())
        .with_columns(is_whole=is_whole)
        .filter(pl.col("count") > 0)
        .drop("first", "last")
    )


def acts_by_delivery(
    tables: Measurable,
    service: str = "",
    as_of: Asked = "",
    period: Annotated[str, PERIODS] = "6 months",
    timezone: str = "",
) -> Annotated[pl.DataFrame, BY_DELIVERY.split()]:
    """Return the deliveries from which people joined or left in a period: one row each, most unsubscriptions first.

    An act that changes nothing, as leaving again, is left out.

    Columns: `delivery_id` (null for acts that name none, or one that was deleted), `delivery` (its label, else its id),
    `subscriptions`, `unsubscriptions`, `total` (the unsubscriptions of all rows), `share` (unsubscriptions / total,
    null when 0). Raises RequestError as `subscription_curves`.

    >>> acts_by_delivery(store).select("delivery_id", "subscriptions", "unsubscriptions").row(0)
    (None, 154, 0)
    """
    chosen = _of_period(subscription_progress(tables, service, as_of, timezone), period)
    acts = _acts_in(tables, chosen).with_columns(unnamed_if_deleted(tables)).group_by("delivery_id")
    counted = acts.agg(_kind_count(kind).alias(kind) for kind in ACTIONS.values())
    return (
        with_label(tables, counted, "delivery")
        .with_columns(total=pl.col("unsubscriptions").sum())
        .with_columns(share=quotient("unsubscriptions", "total"))
        .sort("unsubscriptions", "subscriptions", "delivery_id", descending=[True, True, False], nulls_last=True)
        .select(BY_DELIVERY.split())
        .collect()
    )


def services(tables: Measurable, service: str = "") -> pl.DataFrame:
    """Return the services, or the one asked for: one row each, with `service_id` and `service`, its label, else its id.

    Services that only acts name are included. Raises RequestError for an unknown service.

    >>> services(store)["service"].to_list()
    ['Promoções & offres', 'Weekly letter: la lettre préférée']
    """
    as_given, service = service, str(service)
    labelled = tables.scan("service").select("service_id", service="label")
    of_acts = _acts(tables).select("service_id", service=pl.lit(None, pl.String)).unique()
    rows = pl.concat([labelled, of_acts.join(labelled, on="service_id", how="anti")])
    listed = rows.with_columns(service=pl.coalesce("service", "service_id")).unique("service_id").collect()
    if service and service not in listed["service_id"]:
        hint = did_you_mean(service, listed["service_id"].head(1000))
        raise RequestError(f"There is no service {service[:80]!r} in these tables.{hint}{number_hint(as_given)}")
    return listed.filter(pl.col("service_id") == service) if service else listed.sort("service", "service_id")


def _acts(tables: Measurable) -> pl.LazyFrame:
    """The acts that count, with `kind`, "subscriptions" or "unsubscriptions"."""
    kind = pl.col("action").replace_strict(ACTIONS, default=None, return_dtype=pl.String)
    acts = tables.scan("subscription").with_columns(kind=kind)
    return acts.drop_nulls(["service_id", "occurred_at", "kind"])


def _changes(acts: pl.LazyFrame) -> pl.LazyFrame:
    """The acts that change something: those that differ from the person's act before.

    Acts without a recipient are all kept.
    """
    # "unsubscriptions" sorts after "subscriptions": at one instant, leaving comes after joining
    ordered = acts.sort("service_id", "recipient_id", "occurred_at", "kind")
    is_same = pl.all_horizontal(pl.col(name) == pl.col(name).shift() for name in (*_SUBSCRIBER, "kind"))
    return ordered.filter(~is_same.fill_null(False))


def _people(acts: pl.LazyFrame) -> pl.LazyFrame:
    """The subscribers after these acts: `service_id`, `recipient_id`, `since`."""
    of_person = _changes(acts.drop_nulls("recipient_id")).group_by(_SUBSCRIBER, maintain_order=True)
    latest = of_person.agg(pl.col("kind").last(), since=pl.col("occurred_at").last())
    return latest.filter(pl.col("kind") == "subscriptions").drop("kind")


def _period_counts(people: pl.LazyFrame, acts: pl.LazyFrame, start: datetime | None) -> pl.LazyFrame:
    """The counts of a period that begins at an instant, of acts and of people."""
    people_counts = _people_counts(acts, start)
    return _act_counts(people, acts, start).join(people_counts, on="service_id", how="full", coalesce=True)


def _people_counts(acts: pl.LazyFrame, start: datetime | None) -> pl.LazyFrame:
    """How many people were subscribed at an instant, joined since, and left without coming back."""
    kind, is_past = pl.col("kind"), pl.col("occurred_at") <= pl.lit(start, INSTANT)
    joins = kind == "subscriptions"
    of_person = _changes(acts.drop_nulls("recipient_id")).group_by(_SUBSCRIBER, maintain_order=True)
    by_person = of_person.agg(
        # before the first act it was the opposite
        was_in=pl.when(is_past.any()).then(joins.filter(is_past).last()).otherwise(~joins.first()),
        has_joined=(joins & ~is_past).any(),
        is_in=joins.last(),
    )
    was_in, has_joined, is_in = pl.col("was_in"), pl.col("has_joined"), pl.col("is_in")
    counts = {"at_start": was_in, "joined": has_joined & ~was_in, "left": (was_in | has_joined) & ~is_in}
    return by_person.group_by("service_id").agg(**{name: who.sum().cast(pl.Int64) for name, who in counts.items()})


def _act_counts(people: pl.LazyFrame, acts: pl.LazyFrame, start: datetime | None) -> pl.LazyFrame:
    start_at = pl.lit(start, INSTANT)
    before = (pl.col("since") < start_at).sum().cast(pl.Int64)
    subscribers = people.group_by("service_id").agg(subscribers=pl.len().cast(pl.Int64), registered=before)
    later_acts = acts.filter(pl.col("occurred_at") > start_at).group_by("service_id")
    all_acts = later_acts.agg(_kind_count(kind).alias(kind) for kind in ACTIONS.values())
    later_changes = _changes(acts).filter(pl.col("occurred_at") > start_at).group_by("service_id")
    names = zip(_CHANGES, ACTIONS.values(), strict=True)
    changes = later_changes.agg(_kind_count(kind).alias(name) for name, kind in names)
    counts = subscribers.join(all_acts, on="service_id", how="full", coalesce=True)
    return counts.join(changes, on="service_id", how="full", coalesce=True)


def _kind_count(kind: str) -> pl.Expr:
    return (pl.col("kind") == kind).sum().cast(pl.Int64)


def _periods(now: datetime | None) -> dict[str, datetime | None]:
    """The instant at which each period begins."""
    instant = pl.lit(now, INSTANT)
    starts = pl.select(instant.dt.offset_by(back).alias(period) for period, back in PERIODS.items())
    return starts.row(0, named=True)


def _of_period(progress: pl.DataFrame, period: str) -> pl.DataFrame:
    return progress.filter(pl.col("period") == require_word("period", period, PERIODS))


def _acts_in(tables: Measurable, progress: pl.DataFrame) -> pl.LazyFrame:
    """The acts that changed something, for the services and period of rows of progress."""
    within = (pl.col("occurred_at") > pl.col("starts_at")) & (pl.col("occurred_at") <= pl.col("as_of"))
    return _changes(_acts(tables)).join(progress.lazy(), on="service_id").filter(within)


def _end_points(services: pl.DataFrame, timezone: str) -> list[pl.LazyFrame]:
    """Rows of 0 on the day before the period and on its last day, where each series begins and ends."""
    series = services.lazy().join(pl.LazyFrame({"series": SERIES.categories}), how="cross")
    days = (_day("starts_at", timezone) - timedelta(days=1), _day("as_of", timezone))
    return [series.select("service_id", "service", day, "series", count=pl.lit(0, pl.Int64)) for day in days]


def _day(column: str, timezone: str) -> pl.Expr:
    return pl.col(column).dt.convert_time_zone(timezone).dt.date().alias("day")


def _instant(as_of: Asked, timezone: str) -> datetime:
    """The instant asked for; a date stands for its end, the last microsecond of the day."""
    return moment(as_of, timezone, "as_of", end_of_day=True).astimezone(UTC)
