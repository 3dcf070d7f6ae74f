"""Whose web visits may be counted: the choice that visitors made about web tracking.

Four notions are called opt-out by one or the other, and keep four names: `web_optout` (the visitor's choice about web
tracking, which this module is about), `is_denylisted` (no marketing at all), `unsubscribe_clicks` (hits on the opt-out
link of a message) and `subscription.action` (leaving one service). Web choices change no figure of e-mail.
"""

from typing import Annotated

import polars as pl

from trackkit.engine.measure import quotient
from trackkit.engine.refusals import choice, visitor, with_choices
from trackkit.engine.snapshot import Measurable
from trackkit.errors import require_word

__all__ = ["consent_counts", "displays", "with_consent"]

CONSENTS, HISTORIES = ("opt-out", "opt-in"), ("drop", "keep")
CHOICE = pl.Enum(["allowed", "undecided", "refused"])
_ALL = "everything"
_RULE = {"allowed": True, "undecided": None, "refused": False}  # whatever kind of consent is asked for


def with_consent(
    tables: Measurable,
    visits: pl.DataFrame,
    consent: Annotated[str, CONSENTS] = "opt-out",
    history: Annotated[str, HISTORIES] = "drop",
) -> pl.DataFrame:
    """Add whose visits may be counted: `web_choice` ("allowed", "undecided", "refused") and `is_counted`.

    In: visits, or page hits, with `person_id`, `recipient_id`, `occurred_at`. Who a visitor is and which choice holds
    when is the rule of `refusals`, which every other figure applies as this does by default. Nothing told is
    "undecided". `consent`: "opt-out" counts all but refusals; "opt-in" the allowed only. `history`: "drop" goes by the
    visitor's latest choice, so that one who refuses takes all earlier visits away (visits while tracking was refused
    never count); "keep" goes by the choice in force at each visit, so that earlier ones stay. Raises RequestError for
    other words.
    """
    require_word("consent", consent, CONSENTS)
    require_word("history", history, HISTORIES)
    own = choice(pl.col("web_optout")) if "web_optout" in visits.columns else pl.lit(None, pl.Int16)
    known = with_choices(tables, visits.lazy().with_columns(visitor(), own=own))
    decisive = "latest" if history == "drop" else "in_force"
    web_choice = (
        pl.when((pl.col("in_force") == 1) | (pl.col(decisive) == 1))
        .then(pl.lit("refused"))
        .when(pl.col(decisive) == 0)
        .then(pl.lit("allowed"))
        .otherwise(pl.lit("undecided"))
    )
    counted = pl.col("web_choice") == "allowed" if consent == "opt-in" else pl.col("web_choice") != "refused"
    chosen = known.with_columns(web_choice=web_choice.cast(CHOICE)).with_columns(is_counted=counted)
    return chosen.select(*visits.columns, "web_choice", "is_counted").collect()


def consent_counts(visits: pl.DataFrame, by: str | None = None) -> pl.DataFrame:
    """Return what visitors chose, and who is left out: one row per choice (and value of `by`), as in `CHOICE`.

    In: visits, or page hits, through `with_consent`, restricted to what is asked about. Columns: `by` if given;
    `web_choice`; `is_counted`, whether that choice is (null for "undecided" when nobody is); `visitors` (distinct),
    `total` (all distinct visitors), `share`; `pages` displayed. Pages without any visitor id are counted, their
    visitors are not.
    """
    rows = visits.with_columns(visitor(), **({} if by else {_ALL: pl.lit(True)}))
    group = by or _ALL
    totals = rows.group_by(group).agg(total=_distinct())
    counts = rows.group_by(group, "web_choice").agg(
        is_counted=pl.col("is_counted").first(), visitors=_distinct(), pages=displays(pl.lit(True))
    )
    choices = pl.DataFrame({"web_choice": CHOICE.categories}, schema={"web_choice": CHOICE})
    if not (by or rows.height):
        totals = pl.DataFrame({_ALL: [True], "total": [0]})
    grid = totals.sort(group, nulls_last=True).join(choices, how="cross", maintain_order="left_right")
    found = grid.join(counts, on=[group, "web_choice"], how="left", nulls_equal=True, maintain_order="left")
    rule = pl.col("web_choice").cast(pl.String).replace_strict(_RULE, return_dtype=pl.Boolean)
    found = found.with_columns(pl.col("visitors", "pages").fill_null(0), pl.coalesce("is_counted", rule))
    columns = ("web_choice", "is_counted", "visitors", "total", "share", "pages")
    return found.with_columns(share=quotient("visitors", "total")).select(*([by] if by else []), *columns)


def displays(which: pl.Expr) -> pl.Expr:
    """Return how many pages were displayed, among `which` rows: a page of a web application once, whatever its tags."""
    of_application = pl.col("web_application").is_not_null()
    page = pl.struct("web_application", "page", "occurred_at", "person_id", "recipient_id")
    return (page.filter(which & of_application).n_unique() + (which & ~of_application).sum()).cast(pl.Int64)


def _distinct() -> pl.Expr:
    return pl.col("visitor").drop_nulls().n_unique().cast(pl.Int64)
