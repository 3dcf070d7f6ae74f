"""How far along a delivery is: which share of its final opens and clicks to expect by now, and how many in the end.

A chain ladder by default: comparable deliveries that are finished (`analysis.usual`) show which share of their final
count had come by each time since a message's own sending. Applied to the ages of this delivery's messages, those still
pending as not yet sent, each of them says what share to expect by now. Their log-odds are combined by a random-effects
model (Paule and Mandel). The interval is one for the next delivery: it has the spread between deliveries, the error of
their mean, and the chance in this delivery's own count.

The check is a cure model of this delivery alone: some messages are never opened, the others after a lognormal delay.
"""

import math
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Literal

import numpy as np
import polars as pl

from trackkit.analysis.caveats import WAITING
from trackkit.analysis.curves import time_to_first
from trackkit.analysis.delays import HOUR, FirstEvent, first_hits, is_over
from trackkit.analysis.survival import STEP
from trackkit.analysis.unseen import WHY, observed, unseen
from trackkit.analysis.usual import KIND, declared, is_settled
from trackkit.engine.deliveries import AVERAGE_MONTHS, comparable, is_public, launch, of_deliveries, require_delivery
from trackkit.engine.measure import measure
from trackkit.engine.plausible import now
from trackkit.engine.snapshot import Measurable
from trackkit.errors import require_word
from trackkit.language import translatable
from trackkit.schema import INSTANT

__all__ = ["AGES", "FIGURES", "backtest", "forecast", "growing", "stamp"]

FEWEST = 3  # comparable deliveries: fewer have no spread
MOST = 24  # comparable deliveries, the latest: more take time and change little
INTERVAL = 0.90
YOUNG = 0.10  # of the final count expected by now: below, a forecast says little
CURE_FEWEST = 30  # events that a cure model is fitted to
EVERYBODY = 0.99  # the share from which a cure model has found no limit
SECOND = 1 / 3600  # the shortest delay of the cure model, in hours
AGES = (1, 3, 6, 24, 48)  # hours after the launch at which finished deliveries are replayed
FIGURES: Mapping[str, FirstEvent] = {"unique_opens": "opened", "unique_clicks": "clicked"}
SERIES: Mapping[str, FirstEvent] = {"opens": "opened", "clicks": "clicked"}
LEAST_AT_RISK = 30  # messages: with fewer, one open moves a curve by several points
TOO_YOUNG, MATURING, FINAL = "too young", "maturing", "final"
FEW = translatable("fewer than three comparable deliveries are finished")
NO_LOG = translatable("when its messages were sent is not known")
NONE_YET = translatable("none is known yet")
FORECAST: dict[str, Any] = {
    **{"metric": pl.String, "maturity": pl.String, "as_of": INSTANT},
    **dict.fromkeys(("age", "median_age"), pl.Duration("us")),
    **dict.fromkeys(("delivered", "pending", "seen"), pl.Int64),
    "expected": pl.Float64,
    **dict.fromkeys(("final", "low", "high", "messages"), pl.Int64),
    **dict.fromkeys(("rate", "rate_low", "rate_high"), pl.Float64),
    **{"comparable": pl.Int64, "cure": pl.Int64, "agrees": pl.Boolean, "reason": pl.String},
}
STAMP = ("maturity", "as_of", "age", "median_age", "delivered", "pending", "comparable", "reason")
BACKTEST: dict[str, Any] = {
    **{"delivery_id": pl.String, "metric": pl.String, "hours": pl.Float64, "comparable": pl.Int64, "seen": pl.Int64},
    "expected": pl.Float64,
    **dict.fromkeys(("final", "low", "high", "actual"), pl.Int64),
    **{"is_covered": pl.Boolean, "error": pl.Float64},
}


def stamp(tables: Measurable, delivery: str) -> pl.DataFrame:
    """Return how far along a delivery is, in one row.

    Columns: `maturity` ("too young": less than a tenth of the final count is expected by now, "maturing", "final", or
    null where that is unknown); `as_of`, the newest hit known; `age`, since the launch, and `median_age`, since the
    sending of the median message; messages `delivered`, and `pending` ones that are expected to be; `unique_opens` and
    `unique_clicks` so far; `opens_expected` and `clicks_expected`, the share of the final count expected by now;
    `comparable`, the deliveries that say so; `reason`, why nothing can be said. Opens decide where they can be seen,
    else clicks. Raises RequestError for an unknown delivery.

    >>> stamp(store, "7471233").select("maturity", "delivered", "pending", "reason").rows()
    [(None, 40, 0, 'fewer than three comparable deliveries are finished')]
    """
    opens, clicks = forecast(tables, delivery).iter_rows(named=True)
    main = clicks if opens["maturity"] is None and clicks["maturity"] else opens
    counts = {"unique_opens": opens["seen"], "unique_clicks": clicks["seen"]}
    shares = {"opens_expected": opens["expected"], "clicks_expected": clicks["expected"]}
    types = {**{name: FORECAST[name] for name in STAMP}, **dict.fromkeys(counts, pl.Int64)}
    return pl.DataFrame(
        [{name: main[name] for name in STAMP} | counts | shares], schema=types | dict.fromkeys(shares, pl.Float64)
    )


def forecast(tables: Measurable, delivery: str) -> pl.DataFrame:
    """Return how many recipients will have opened and clicked in the end: one row for each of `FIGURES`.

    Columns: `metric`, and those of `stamp` up to `pending`; `seen`, the count so far; `expected`, the share of the
    final count expected by now; `final`, the count in the end, and its 90 % prediction interval, `low` to `high`;
    `messages`, delivered + pending; `rate`, `rate_low` and `rate_high`, those counts / messages; `comparable`, the
    deliveries behind the forecast; `cure`, the final count by a cure model of this delivery alone (null where it fits
    none), and `agrees`, whether that is within the interval; `reason`, why there is no forecast, or why the count
    cannot be observed. Fewer than three comparable deliveries give no forecast; a finished delivery (over or of unknown
    state, and launched three days or more before the newest hit) needs none, and its `final` is what was seen. Raises
    RequestError for an unknown delivery.

    >>> forecast(store, "7471233").select("metric", "seen", "delivered", "pending").rows()
    [('unique_opens', 12, 40, 0), ('unique_clicks', 4, 40, 0)]
    """
    key = require_delivery(tables, delivery)
    counts = observed(measure(tables, list(FIGURES), delivery=key), unseen(tables, [key], FIGURES))
    count = counts.row(0, named=True) if counts.height else {}
    messages = _messages(tables, [key])
    state = _state(tables, key, messages)
    is_final = state["maturity"] == FINAL
    delays = {} if is_final else _delays(tables, _messages(tables, _peers(tables, key)))
    rows = []
    for name, event in FIGURES.items():
        seen, why = count.get(name), count.get(WHY.format(name))
        row = {"metric": name, "seen": seen} | state
        if why:
            row |= {"maturity": None, "reason": why}
        elif is_final:
            row |= {"final": seen, "messages": state["delivered"]}
        else:
            row |= _outlook(messages, event, seen, state, delays[name])
        rows.append(row)
    return pl.DataFrame(rows, schema=FORECAST).with_columns(_rates())


def _rates() -> list[pl.Expr]:
    counts = {"rate": "final", "rate_low": "low", "rate_high": "high"}
    return [
        pl.when(pl.col("messages") > 0).then(pl.col(count) / pl.col("messages")).alias(rate)
        for rate, count in counts.items()
    ]


def growing(tables: Measurable, delivery: str) -> pl.DataFrame:
    """Return `curves.time_to_first` of opens and clicks for a delivery that is not finished; for others, no row.

    Columns: `series` ("opens", "clicks", those that can be observed) and those of `time_to_first`, up to the last step
    with 30 messages at risk. Raises RequestError for an unknown delivery.

    >>> growing(store, delivery).height, growing(store, "7471233").height > 0  # one is over, one is not
    (0, True)
    """
    key = require_delivery(tables, delivery)
    cannot, asked = unseen(tables, [key], FIGURES)[key], {} if _is_final(tables, key) else SERIES
    seen = {name: event for name, event in asked.items() if event not in cannot}
    curves = [
        time_to_first(tables, event, key).select(pl.lit(name).alias("series"), pl.all()) for name, event in seen.items()
    ]
    schema = {"series": pl.String} | STEP
    return pl.concat([pl.DataFrame(schema=schema), *curves]).filter(pl.col("at_risk") >= LEAST_AT_RISK)


def backtest(
    tables: Measurable, ages: Sequence[float] = AGES, others: Literal["all", "earlier"] = "all"
) -> pl.DataFrame:
    """Replay finished deliveries at some ages, in hours since the launch: one row per delivery, metric and age.

    Columns: `delivery_id`, `metric`, `hours`; `comparable`, `seen`, `expected`, `final`, `low` and `high`, the forecast
    from the events up to that age; `actual`, the final count known; `is_covered`, whether it is within the interval;
    `error`, final / actual - 1. All other finished deliveries of the kind within six months compare ("all": leave one
    out), or only those launched before, as `forecast` has them ("earlier"). Which of the messages not yet sent will be
    delivered is taken as known. A delivery without a forecast at an age has no row. Raises RequestError for another
    word of `others`.

    >>> backtest(store, ages=[24]).height  # three comparable finished ones are needed
    0
    """
    require_word("choice of others", others, ("all", "earlier"))
    known = declared(tables).filter("is_real", pl.col("launched_at").is_not_null()).filter(is_settled(tables))
    messages = _messages(tables, known["delivery_id"].to_list())
    delays, rows = _delays(tables, messages), []
    for launched in known.sort("launched_at", "delivery_id").iter_rows(named=True):
        own = messages.filter(pl.col("delivery_id") == launched["delivery_id"])
        peers = known.filter(_is_peer(launched, others)).select("delivery_id")
        theirs = {name: frame.join(peers, on="delivery_id", how="semi") for name, frame in delays.items()}
        visible = {name for name, frame in delays.items() if launched["delivery_id"] in frame["delivery_id"]}
        rows += [
            {"delivery_id": launched["delivery_id"], "metric": name, "hours": age}
            | _replayed(own, FIGURES[name], launched["launched_at"] + timedelta(hours=age), theirs[name])
            for name in FIGURES
            if name in visible
            for age in ages
        ]
    return pl.DataFrame(rows, schema=BACKTEST).filter(pl.col("final").is_not_null())


def _is_peer(launched: Mapping[str, Any], others: str) -> pl.Expr:
    """True for deliveries that compare with one when it is replayed."""
    at, months = pl.col("launched_at"), f"{AVERAGE_MONTHS}mo"
    own = pl.lit(launched["launched_at"], INSTANT)
    last = own if others == "earlier" else own.dt.offset_by(months)
    is_alike = [pl.col(name).eq_missing(pl.lit(launched[name])) for name in KIND]
    in_time = at.is_between(own.dt.offset_by(f"-{months}"), last, closed="left")
    return pl.all_horizontal(*is_alike, in_time, pl.col("delivery_id") != launched["delivery_id"])


def _replayed(messages: pl.DataFrame, event: FirstEvent, until: datetime, delays: pl.DataFrame) -> dict[str, Any]:
    """The forecast of a count from what had happened until an instant, beside what came of it."""
    seen, actual = messages.select(seen=(pl.col(event) <= until).sum(), actual=pl.col(event).is_not_null().sum()).row(0)
    projected = _projected(_ages(messages, until), seen, messages.height, delays)
    final, low, high = (projected.get(name) for name in ("final", "low", "high"))
    is_covered = None if final is None else low <= actual <= high
    error = final / actual - 1 if final and actual else None
    return projected | {"seen": seen, "actual": actual, "is_covered": is_covered, "error": error}


# ---- what is known by now ----


def _messages(tables: Measurable, deliveries: Sequence[str]) -> pl.DataFrame:
    return first_hits(tables, deliveries, list(FIGURES.values())).sort("delivery_id", "sent_at").collect()


def _state(tables: Measurable, delivery: str, messages: pl.DataFrame) -> dict[str, Any]:
    """How old a delivery and its messages are; `maturity` is "final" or, as yet, null."""
    newest, launched = now(tables), launch(tables, delivery).at
    deadline, ended = _end(tables, delivery)
    # As `sending.pace` says that a deadline has passed: what is pending after it will not be sent.
    latest = max(filter(None, [newest, getattr(tables, "as_of", None)]), default=None)
    is_waiting = not ended and not (deadline and latest and deadline <= latest)
    delivered, pending = _sent(tables, delivery)
    return {
        "maturity": FINAL if _is_final(tables, delivery) else None,
        "as_of": newest,
        "age": newest - launched if newest and launched else None,
        "median_age": messages.select((pl.lit(newest, INSTANT) - pl.col("sent_at")).median()).item(),
        "delivered": delivered,
        "pending": pending if is_waiting else 0,
    }


def _end(tables: Measurable, delivery: str) -> tuple[datetime | None, bool]:
    """The deadline of a delivery, and whether it is over; one that is not listed is."""
    described = of_deliveries(tables, "delivery", [delivery]).select("validity_at", is_over=is_over()).head(1).collect()
    return described.row(0) if described.height else (None, True)


def _is_final(tables: Measurable, delivery: str) -> bool:
    """Whether a delivery is finished, as those are that it may be compared with."""
    own = {"launched_at": [launch(tables, delivery).at], "is_over": [_end(tables, delivery)[1]]}
    return bool(pl.DataFrame(own, schema_overrides={"launched_at": INSTANT}).select(is_settled(tables)).item())


def _sent(tables: Measurable, delivery: str) -> tuple[int | None, int]:
    """The messages delivered, and how many of those waiting will be, if as many of them fail as so far."""
    counted = measure(tables, ["delivered", "failed"], delivery=delivery)
    delivered, failed = counted.select("delivered", "failed").row(0) if counted.height else (None, None)
    is_waiting = pl.col("status").cast(pl.String).is_in(WAITING) & is_public()
    waiting = of_deliveries(tables, "message", [delivery]).select(is_waiting.sum()).collect().item()
    processed = (delivered or 0) + (failed or 0)
    return delivered, round(waiting * ((delivered or 0) / processed if processed else 1))


def _peers(tables: Measurable, delivery: str) -> list[str]:
    """The latest comparable deliveries that are finished."""
    others = comparable(tables, delivery).with_columns(is_over=is_over()).filter(is_settled(tables))
    return others["delivery_id"].tail(MOST).to_list()


def _delays(tables: Measurable, messages: pl.DataFrame) -> dict[str, pl.DataFrame]:
    """For each figure, the hours from the sending of each message to it, in deliveries where it can be observed."""
    cannot = unseen(tables, messages["delivery_id"].unique(maintain_order=True), FIGURES)
    delays = {}
    for name, event in FIGURES.items():
        blind = [delivery for delivery, kinds in cannot.items() if event in kinds]
        known = messages.filter(pl.col(event).is_not_null(), ~pl.col("delivery_id").is_in(blind))
        delays[name] = known.select("delivery_id", hours=_hours(pl.col(event) - pl.col("sent_at")).clip(0))
    return delays


def _hours(duration: pl.Expr) -> pl.Expr:
    return duration.dt.total_microseconds() / HOUR


def _ages(messages: pl.DataFrame, until: datetime, pending: int = 0) -> pl.Series:
    """The hours for which each message has been out; below 0 for one not yet sent."""
    ages = messages.select(hours=_hours(pl.lit(until, INSTANT) - pl.col("sent_at")))["hours"]
    return ages.append(pl.repeat(-1.0, pending, dtype=pl.Float64, eager=True))


# ---- what to expect ----


def _outlook(
    messages: pl.DataFrame, event: FirstEvent, seen: int | None, state: Mapping[str, Any], delays: pl.DataFrame
) -> dict[str, Any]:
    """The forecast of one count of a delivery that is not finished."""
    if messages.is_empty() or state["as_of"] is None:
        return {"reason": NO_LOG}
    most, ages = (state["delivered"] or 0) + state["pending"], _ages(messages, state["as_of"], state["pending"])
    projected = _projected(ages, seen or 0, most, delays)
    if "final" not in projected:
        return projected
    share = _cure(messages, event, state["as_of"])
    cure = None if share is None else round(share * most)
    agrees = None if cure is None else projected["low"] <= cure <= projected["high"]
    word = TOO_YOUNG if projected["expected"] < YOUNG else MATURING
    return projected | {"maturity": word, "messages": most, "cure": cure, "agrees": agrees}


def _projected(ages: pl.Series, seen: int, most: int, delays: pl.DataFrame) -> dict[str, Any]:
    """The final count, at most so many, by the delays of comparable deliveries; or the reason why it is not known."""
    from scipy.stats import t
    from statsmodels.stats.meta_analysis import combine_effects

    by_peer = expected_by_peer(ages, delays)
    count = by_peer.height
    if count < FEWEST or not seen:
        return {"comparable": count, "reason": FEW if count < FEWEST else NONE_YET}
    with np.errstate(divide="ignore"):  # of a figure that is not used, where the deliveries do not differ
        pooled = combine_effects(by_peer["effect"].to_numpy(), by_peer["variance"].to_numpy(), method_re="iterated")
    expected = 1 / (1 + math.exp(-pooled.mean_effect_re))
    variance = pooled.tau2 + pooled.sd_eff_w_re**2 + 1 / (seen * (1 - expected))
    width = t.ppf((1 + INTERVAL) / 2, count - 1) * math.sqrt(variance)
    final, low, high = (seen * (1 + math.exp(side * width - pooled.mean_effect_re)) for side in (0, -1, 1))
    highest = max(most, seen)
    bounds = {"low": min(math.floor(low), highest), "high": min(math.ceil(high), highest)}
    return {"comparable": count, "expected": expected, "final": min(round(final), highest), **bounds}


def expected_by_peer(ages: pl.Series, delays: pl.DataFrame) -> pl.DataFrame:
    """Return the share of the final count expected by now, by each comparable delivery: one row each.

    In: the hours for which each message has been out (below 0: not sent yet), and for each message of the others that
    came to it the hours that it took. Columns: `delivery_id`; `share`, how many of its events would have been seen with
    messages of these ages; `effect`, the log-odds of that share, and their `variance`. Half an event is added to those
    seen and to those not seen, so that all or none has log-odds too.

    >>> delays = pl.DataFrame({"delivery_id": ["a"] * 4, "hours": [0.5, 1.0, 3.0, 9.0]})
    >>> expected_by_peer(pl.Series([2.0, -1.0]), delays)["share"].item()  # seen: 2 of 4, by half of the messages
    0.3
    """
    reached = ages.len() - ages.sort().search_sorted(delays["hours"], "left")
    part, more = pl.col("part"), pl.len() + 1
    share, square = pl.col("share"), (part.pow(2).sum() + 0.5) / more
    return (
        delays.with_columns(part=reached / ages.len())
        .group_by("delivery_id", maintain_order=True)
        .agg(share=(part.sum() + 0.5) / more, square=square, more=more)
        .select(
            "delivery_id",
            "share",
            effect=(share / (1 - share)).log(),
            variance=(pl.col("square") - share**2) / pl.col("more") / (share * (1 - share)) ** 2,
        )
    )


def _cure(messages: pl.DataFrame, event: FirstEvent, until: datetime) -> float | None:
    """The share of messages that will come to an event, by a cure model of what is known; None where it fits none."""
    age, delay = (_hours(end - pl.col("sent_at")) for end in (pl.lit(until, INSTANT), pl.col(event)))
    rows = messages.select(age=age, delay=delay.clip(0)).filter(pl.col("age") > 0)
    seen = rows.filter(pl.col("delay") <= pl.col("age"))["delay"].clip(SECOND)
    waiting = rows.filter((pl.col("delay") > pl.col("age")) | pl.col("delay").is_null())["age"]
    return cured_share(seen, waiting) if seen.len() >= CURE_FEWEST else None


def cured_share(delays: pl.Series, waiting: pl.Series) -> float | None:
    """Return the share of messages that will ever have an event: a split-population lognormal model, fitted by scipy.

    In: the hours that those with the event took, and those for which the others have been watched. None if it says no
    more than that everybody may come to it, as it does while too little is known.
    """
    from scipy.optimize import minimize
    from scipy.special import expit, logit, ndtr

    logs = delays.log().to_numpy()
    ages = waiting.rename("hours").round(2).value_counts().sort("hours")  # by 36 seconds: a few thousand at most
    at, weights = np.log(np.maximum(ages["hours"].to_numpy(), SECOND)), ages["count"].to_numpy()

    def loss(parameters: np.ndarray[Any, Any]) -> float:
        share, mean, spread = expit(parameters[0]), parameters[1], math.exp(parameters[2])
        of_seen = len(logs) * (math.log(share) - parameters[2]) - (((logs - mean) / spread) ** 2).sum() / 2
        return -float(of_seen + (weights * np.log1p(-share * ndtr((at - mean) / spread))).sum())

    start = [logit(min(0.9, 1.5 * len(logs) / (len(logs) + waiting.len()))), logs.mean(), math.log(logs.std() or 1)]
    fit = minimize(loss, start, method="Nelder-Mead", options={"maxiter": 2_000})
    share = float(expit(fit.x[0]))
    return share if fit.success and share < EVERYBODY else None
