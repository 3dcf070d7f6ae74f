"""Who refused web tracking, and since when: the one rule behind every figure of visits to the site.

A visitor is a browser identity, else a recipient. Their choice is in `page_hit.web_optout` (0 allowed, 1 refused) and
holds from its instant until the next one; if two disagree at one instant, the refusal holds. Refusals concern the web
only: opens and clicks in messages count regardless.
"""

from typing import Any

import polars as pl

from trackkit.engine.backends import POLARS, Backend
from trackkit.engine.snapshot import Tables

VISITS = ("web_visited", "transaction")
_BEGINNING = pl.datetime(1, 1, 1, time_unit="us", time_zone="UTC")


def with_refusals(tables: Tables, events: Any, backend: Backend = POLARS) -> Any:
    """Add `is_refused`: whether a hit is a visit to the site that must not count because its visitor refused.

    In: rows of `event`; out: the same, in any order. It is true for all pages and transactions of visitors whose latest
    choice is a refusal, and for those made while a refusal held that was later withdrawn. It is null for all if no
    `page_hit` was loaded. If nobody refused, only `page_hit` is read.
    """
    api = backend.api
    if not tables.has("page_hit"):
        return events.with_columns(is_refused=api.lit(None, api.Boolean))
    periods = _periods(tables)
    if periods.is_empty():
        return events.with_columns(is_refused=api.lit(False))
    names, is_site_visit = list(events.collect_schema()), is_visit(api).fill_null(False)
    other_hits = events.filter(~is_site_visit).with_columns(is_refused=api.lit(False))
    visits = events.filter(is_site_visit).with_columns(visitor(api))
    visits = visits.join(backend.from_polars(periods), on="visitor", how="left")
    since, until, at = api.col("since"), api.col("until"), api.col("occurred_at")
    applies = (since.is_null() | (since <= at)).fill_null(False) & (until.is_null() | (at < until)).fill_null(False)
    visits = visits.filter(api.col("is_refused").is_null() | applies | (at.is_null() & until.is_null()))
    visits = visits.with_columns(api.col("is_refused").fill_null(False))
    return api.concat([other_hits.select(*names, "is_refused"), visits.select(*names, "is_refused")])


def is_visit(api: Any = pl) -> Any:
    """True for page views on the site, transactions included."""
    return api.col("event_type").cast(api.String).is_in(list(VISITS))


def visitor(api: Any = pl) -> Any:
    """Return `visitor`, who a visitor is: the browser identity, else the recipient; null for a visit without either."""
    recipient = api.concat_str([api.lit("recipient "), api.col("recipient_id")])
    return api.coalesce(api.col("person_id"), recipient).alias("visitor")


def choice(value: pl.Expr) -> pl.Expr:
    """Return a choice, 0 or 1; null for anything else."""
    return pl.when(value.is_in([0, 1])).then(value).cast(pl.Int16)


def with_choices(tables: Tables, visits: pl.LazyFrame) -> pl.LazyFrame:
    """Add visitors' choices: `latest`, and `in_force` at the instant of each visit (for an undated one, the latest).

    In: visits or page hits with `visitor`, `occurred_at` and `own_choice`, the choice used if no other is known.
    Out: 0 allowed, 1 refused, null unknown.
    """
    choices = _choices(tables)
    latest = choices.group_by("visitor").agg(latest=pl.col("choice").sort_by("occurred_at", "choice").last())
    with_latest = visits.join(latest, on="visitor", how="left", maintain_order="left")
    with_latest = with_latest.with_columns(latest=pl.coalesce("latest", "own_choice"))
    dated = with_latest.filter(pl.col("occurred_at").is_not_null()).with_row_index("place").sort("occurred_at")
    choices = choices.rename({"choice": "in_force"}).sort("occurred_at")
    with_choice = dated.join_asof(choices, on="occurred_at", by="visitor", strategy="backward", check_sortedness=False)
    with_choice = with_choice.with_columns(in_force=pl.coalesce("in_force", "own_choice")).sort("place").drop("place")
    undated = with_latest.filter(pl.col("occurred_at").is_null())
    undated = undated.with_columns(in_force=pl.coalesce("latest", "own_choice"))
    return pl.concat([with_choice, undated], how="diagonal_relaxed")


def _periods(tables: Tables) -> pl.DataFrame:
    """Return consecutive periods of all who ever refused: `visitor`, `since`, `until` (null: open), `is_refused`.

    A current refusal applies to all of the past.
    """
    choices = _choices(tables).collect().sort("visitor", "occurred_at")
    choices = choices.filter((pl.col("choice") == 1).any().over("visitor"))
    refuses_now = pl.col("choice").last().over("visitor") == 1
    until = pl.col("occurred_at").shift(-1).over("visitor")
    is_refused = refuses_now | (pl.col("choice") == 1)
    periods = choices.select("visitor", since="occurred_at", until=until, is_refused=is_refused)
    before = periods.group_by("visitor").agg(until=pl.col("since").min(), is_refused=pl.col("is_refused").all())
    return pl.concat([before, periods], how="diagonal").select(periods.columns)


def _choices(tables: Tables) -> pl.LazyFrame:
    """Each visitor's choices: `visitor`, `occurred_at`, `choice`; an undated one holds from the beginning."""
    choices = tables.scan("page_hit").select(
        visitor(), pl.col("occurred_at").fill_null(_BEGINNING), choice=choice(pl.col("web_optout"))
    )
    return choices.drop_nulls().group_by("visitor", "occurred_at").agg(pl.col("choice").max())
