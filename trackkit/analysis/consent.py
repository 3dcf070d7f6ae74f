"""Whose web visits may be counted, by the choice that visitors made about web tracking.

Four things are called opt-out, and keep four names: `web_optout` (the visitor's choice about web tracking, the subject
of this module), `is_denylisted` (no marketing at all), `unsubscribe_clicks` (hits on the opt-out
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
_ALL_VISITS = "everything"
_COUNTED_BY_DEFAULT = {"allowed": True, "undecided": None, "refused": False}  # for any kind of consent


def with_consent(
    tables: Measurable,
    visits: pl.DataFrame,
    consent: Annotated[str, CONSENTS] = "opt-out",
    history: Annotated[str, HISTORIES] = "drop",
) -> pl.DataFrame:
    """Add whether visits may be counted: `web_choice` ("allowed", "undecided", "refused") and `is_counted`.

    In: visits, or page hits, with `person_id`, `recipient_id`, `occurred_at`. Who a visitor is and which choice holds
    when follows `refusals`; the defaults here are what every other figure applies. No known choice is "undecided".
    `consent`: "opt-out" counts all except refusals; "opt-in" only allowed visits. `history`: "drop" uses the visitor's
    latest choice, so that a refusal removes all earlier visits (visits while tracking was refused never count); "keep"
    uses the choice in force at each visit, so that earlier ones stay. Raises RequestError for other values.

    >>> visits = tk.web.attribute_web(store)
    >>> with_consent(store, visits)["is_counted"].sum(), visits.height
    (131, 134)
    """
    require_word("consent", consent, CONSENTS)
    require_word("history", history, HISTORIES)
    own_choice = choice(pl.col("web_optout")) if "web_optout" in visits.columns else pl.lit(None, pl.Int16)
    with_choice = with_choices(tables, visits.lazy().with_columns(visitor(), own_choice=own_choice))
    deciding = "latest" if history == "drop" else "in_force"
    web_choice = (
        pl.when((pl.col("in_force") == 1) | (pl.col(deciding) == 1))
        .then(pl.lit("refused"))
        .when(pl.col(deciding) == 0)
        .then(pl.lit("allowed"))
        .otherwise(pl.lit("undecided"))
    )
    is_counted = pl.col("web_choice") == "allowed" if consent == "opt-in" else pl.col("web_choice") != "refused"
    judged = with_choice.with_columns(web_choice=web_choice.cast(CHOICE)).with_columns(is_counted=is_counted)
    return judged.select(*visits.columns, "web_choice", "is_counted").collect()


def consent_counts(visits: pl.DataFrame, by: str | None = None) -> pl.DataFrame:
    """Return what visitors chose, and who is left out: one row per choice of `CHOICE` (and value of `by`).

    In: visits, or page hits, through `with_consent`, restricted as needed. Columns: `by` if given;
    `web_choice`; `is_counted`, whether that choice is (null for "undecided" when nobody is); `visitors` (distinct),
    `total` (all distinct visitors), `share`; `pages` displayed. Pages without any visitor id are counted, their
    visitors are not.

    >>> visits = with_consent(store, tk.web.attribute_web(store))
    >>> consent_counts(visits).select("web_choice", "visitors", "total").rows()
    [('allowed', 14, 64), ('undecided', 49, 64), ('refused', 1, 64)]
    """
    rows = visits.with_columns(visitor(), **({} if by else {_ALL_VISITS: pl.lit(True)}))
    group = by or _ALL_VISITS
    totals = rows.group_by(group).agg(total=_distinct())
    counts = rows.group_by(group, "web_choice").agg(
        is_counted=pl.col("is_counted").first(), visitors=_distinct(), pages=displays(pl.lit(True))
    )
    choices = pl.DataFrame({"web_choice": CHOICE.categories}, schema={"web_choice": CHOICE})
    if not (by or rows.height):
        totals = pl.DataFrame({_ALL_VISITS: [True], "total": [0]})
    grid = totals.sort(group, nulls_last=True).join(choices, how="cross", maintain_order="left_right")
    counted = grid.join(counts, on=[group, "web_choice"], how="left", nulls_equal=True, maintain_order="left")
    rule = pl.col("web_choice").cast(pl.String).replace_strict(_COUNTED_BY_DEFAULT, return_dtype=pl.Boolean)
    counted = counted.with_columns(pl.col("visitors", "pages").fill_null(0), pl.coalesce("is_counted", rule))
    columns = ("web_choice", "is_counted", "visitors", "total", "share", "pages")
    return counted.with_columns(share=quotient("visitors", "total")).select(*([by] if by else []), *columns)


def displays(which: pl.Expr) -> pl.Expr:
    """Return the number of pages displayed among `which` rows: a page of a web application counts once for all tags.

    >>> pages = tk.webapp.counted_pages(store)
    >>> pages.select(displays(pl.col("is_counted"))).item()
    85
    """
    of_application = pl.col("web_application").is_not_null()
    page = pl.struct("web_application", "page", "occurred_at", "person_id", "recipient_id")
    return (page.filter(which & of_application).n_unique() + (which & ~of_application).sum()).cast(pl.Int64)


def _distinct() -> pl.Expr:
    return pl.col("visitor").drop_nulls().n_unique().cast(pl.Int64)
