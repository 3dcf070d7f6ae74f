"""Who refused web tracking, and since when: the one rule behind every figure of visits to the site.

A visitor is a browser identity, else a recipient. What they chose is told by `page_hit.web_optout` (0 allowed, 1
refused), from its instant until the next choice; where two disagree at one instant, the refusal holds. Refusals are
about the web: opens and clicks in messages count whoever refused.
"""

import polars as pl

from trackkit.snapshot import Tables

VISITS = ("web_visited", "transaction")
_BEGINNING = pl.datetime(1, 1, 1, time_unit="us", time_zone="UTC")


def with_refusals(tables: Tables, events: pl.LazyFrame) -> pl.LazyFrame:
    """Add `is_refused`: whether a hit is a visit to the site that must not count, since its visitor refused.

    In: rows of `event`; out: the same, in any order. It is true for the pages and transactions of whoever's latest
    choice is a refusal, earlier ones included, and for those made while a refusal held that was taken back since;
    null for all where no `page_hit` was loaded. Where nobody refused, only `page_hit` is looked at.
    """
    if not tables.has("page_hit"):
        return events.with_columns(is_refused=pl.lit(None, pl.Boolean))
    persons, recipients = _refusers(tables)
    of_refuser = pl.col("person_id").is_in(persons) | (
        pl.col("person_id").is_null() & pl.col("recipient_id").is_in(recipients)
    )
    asked = (is_visit() & of_refuser).fill_null(False)
    others = (events.filter(~asked) if persons or recipients else events).with_columns(is_refused=pl.lit(False))
    if not (persons or recipients):
        return others
    visits = with_choices(tables, events.filter(asked).with_columns(visitor(), own=pl.lit(None, pl.Int16)))
    refused = ((pl.col("in_force") == 1) | (pl.col("latest") == 1)).fill_null(False)
    return pl.concat([others, visits.with_columns(is_refused=refused).select(others.collect_schema().names())])


def is_visit() -> pl.Expr:
    """True for a page of the site displayed, transactions included."""
    return pl.col("event_type").cast(pl.String).is_in(list(VISITS))


def visitor() -> pl.Expr:
    """Return `visitor`, who a visitor is: the browser identity, else the recipient; null for a visit without either."""
    return pl.coalesce("person_id", pl.format("recipient {}", "recipient_id")).alias("visitor")


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


def _refusers(tables: Tables) -> tuple[list[str], list[str]]:
    """The browsers that ever refused, and the recipients known by nothing else."""
    pages = tables.scan("page_hit").filter(pl.col("web_optout") == 1)
    found = pages.select("person_id", "recipient_id").unique().collect()
    nameless = found.filter(pl.col("person_id").is_null())
    return [frame.drop_nulls().unique().sort().to_list() for frame in (found["person_id"], nameless["recipient_id"])]


def _choices(tables: Tables) -> pl.LazyFrame:
    """What each visitor chose, and when: `visitor`, `occurred_at`, `choice`; one undated holds from the beginning."""
    chosen = tables.scan("page_hit").select(
        visitor(), pl.col("occurred_at").fill_null(_BEGINNING), choice=choice(pl.col("web_optout"))
    )
    return chosen.drop_nulls().group_by("visitor", "occurred_at").agg(pl.col("choice").max())
