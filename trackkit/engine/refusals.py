"""Who refused web tracking, and since when: the one rule behind every figure of visits to the site.

A visitor is a browser identity, else a recipient. What they chose is told by `page_hit.web_optout` (0 allowed, 1
refused), from its instant until the next choice; where two disagree at one instant, the refusal holds. Refusals are
about the web: opens and clicks in messages count whoever refused.
"""

from typing import Any

import polars as pl

from trackkit.engine.backends import POLARS, Backend
from trackkit.engine.snapshot import Tables

VISITS = ("web_visited", "transaction")
_BEGINNING = pl.datetime(1, 1, 1, time_unit="us", time_zone="UTC")


def with_refusals(tables: Tables, events: Any, backend: Backend = POLARS) -> Any:
    """Add `is_refused`: whether a hit is a visit to the site that must not count, since its visitor refused.

    In: rows of `event`; out: the same, in any order. It is true for the pages and transactions of whoever's latest
    choice is a refusal, earlier ones included, and for those made while a refusal held that was taken back since;
    null for all where no `page_hit` was loaded. Where nobody refused, only `page_hit` is looked at.
    """
    api = backend.api
    if not tables.has("page_hit"):
        return events.with_columns(is_refused=api.lit(None, api.Boolean))
    periods = _periods(tables)
    if periods.is_empty():
        return events.with_columns(is_refused=api.lit(False))
    names, asked = list(events.collect_schema()), is_visit(api).fill_null(False)
    others = events.filter(~asked).with_columns(is_refused=api.lit(False))
    visits = (
        events.filter(asked).with_columns(visitor(api)).join(backend.from_polars(periods), on="visitor", how="left")
    )
    since, until, at = api.col("since"), api.col("until"), api.col("occurred_at")
    is_then = (since.is_null() | (since <= at)).fill_null(False) & (until.is_null() | (at < until)).fill_null(False)
    visits = visits.filter(api.col("is_refused").is_null() | is_then | (at.is_null() & until.is_null()))
    visits = visits.with_columns(api.col("is_refused").fill_null(False))
    return api.concat([others.select(*names, "is_refused"), visits.select(*names, "is_refused")])


def is_visit(api: Any = pl) -> Any:
    """True for a page of the site displayed, transactions included."""
    return api.col("event_type").cast(api.String).is_in(list(VISITS))


def visitor(api: Any = pl) -> Any:
    """Return `visitor`, who a visitor is: the browser identity, else the recipient; null for a visit without either."""
    recipient = api.concat_str([api.lit("recipient "), api.col("recipient_id")])
    return api.coalesce(api.col("person_id"), recipient).alias("visitor")


def choice(value: pl.Expr) -> pl.Expr:
    """Return a choice, 0 or 1; anything else is none."""
    return pl.when(value.is_in([0, 1])).then(value).cast(pl.Int16)


def with_choices(tables: Tables, visits: pl.LazyFrame) -> pl.LazyFrame:
    """Add what visitors chose: `latest`, and `in_force` at the instant of each visit (of an undated one, the latest).

    In: visits, or page hits, with `visitor`, `occurred_at`, and `own`, the choice that holds where no other is known.
    Out: 0 allowed, 1 refused, null never told.
    """
    choices = _choices(tables)
    latest = choices.group_by("visitor").agg(latest=pl.col("choice").sort_by("occurred_at", "choice").last())
    known = visits.join(latest, on="visitor", how="left", maintain_order="left")
    known = known.with_columns(latest=pl.coalesce("latest", "own"))
    dated = known.filter(pl.col("occurred_at").is_not_null()).with_row_index("place").sort("occurred_at")
    choices = choices.rename({"choice": "in_force"}).sort("occurred_at")
    joined = dated.join_asof(choices, on="occurred_at", by="visitor", strategy="backward", check_sortedness=False)
    joined = joined.with_columns(in_force=pl.coalesce("in_force", "own")).sort("place").drop("place")
    undated = known.filter(pl.col("occurred_at").is_null()).with_columns(in_force=pl.coalesce("latest", "own"))
    return pl.concat([joined, undated], how="diagonal_relaxed")


def _periods(tables: Tables) -> pl.DataFrame:
    """Return, of whoever ever refused, all of time in periods: `visitor`, `since`, `until` (open: null), `is_refused`.

    Who refuses now is refused throughout.
    """
    choices = _choices(tables).collect().sort("visitor", "occurred_at")
    choices = choices.filter((pl.col("choice") == 1).any().over("visitor"))
    refuses = pl.col("choice").last().over("visitor") == 1
    until = pl.col("occurred_at").shift(-1).over("visitor")
    is_refused = refuses | (pl.col("choice") == 1)
    then = choices.select("visitor", since="occurred_at", until=until, is_refused=is_refused)
    before = then.group_by("visitor").agg(until=pl.col("since").min(), is_refused=pl.col("is_refused").all())
    return pl.concat([before, then], how="diagonal").select(then.columns)


def _choices(tables: Tables) -> pl.LazyFrame:
    """What each visitor chose, and when: `visitor`, `occurred_at`, `choice`; one undated holds from the beginning."""
    chosen = tables.scan("page_hit").select(
        visitor(), pl.col("occurred_at").fill_null(_BEGINNING), choice=choice(pl.col("web_optout"))
    )
    return chosen.drop_nulls().group_by("visitor", "occurred_at").agg(pl.col("choice").max())
