"""Whose web visits may be counted: the choice that visitors made about web tracking.

Four notions are called opt-out by one or the other, and keep four names: `web_optout` (the visitor's choice about web
tracking, which this module is about), `is_denylisted` (no marketing at all), `unsubscribe_clicks` (hits on the opt-out
link of a message) and `subscription.action` (leaving one service). Web choices change no figure of e-mail.
"""

import polars as pl

from trackkit.deliveries import Tables
from trackkit.engine import quotient
from trackkit.errors import RequestError, did_you_mean

CONSENTS, HISTORIES = ("opt-out", "opt-in"), ("drop", "keep")
CHOICE = pl.Enum(["allowed", "undecided", "refused"])
_ALL = "everything"
_RULE = {"allowed": True, "undecided": None, "refused": False}  # whatever kind of consent is asked for
_BEGINNING = pl.datetime(1, 1, 1, time_unit="us", time_zone="UTC")


def with_consent(tables: Tables, visits: pl.DataFrame, consent: str = "opt-out", history: str = "drop") -> pl.DataFrame:
    """Add whose visits may be counted: `web_choice` ("allowed", "undecided", "refused") and `is_counted`.

    In: visits, or page hits, with `person_id`, `recipient_id`, `occurred_at`. A visitor is a `person_id`, else a
    `recipient_id`; what they chose is told by `page_hit.web_optout` (0 allowed, 1 refused), from its instant until the
    next choice; where two disagree at one instant, the refusal holds. Nothing told is "undecided". `consent`:
    "opt-out" counts all but refusals; "opt-in" the allowed only. `history`: "drop" goes by the visitor's latest choice,
    so that one who refuses takes all earlier visits away (visits while tracking was refused never count); "keep" goes
    by the choice in force at each visit, so that earlier ones stay. Raises RequestError for other words.
    """
    require_word("consent", consent, CONSENTS)
    require_word("history", history, HISTORIES)
    own = _choice_column(pl.col("web_optout")) if "web_optout" in visits.columns else pl.lit(None, pl.Int16)
    choices = _choices(tables)
    latest = choices.group_by("visitor").agg(latest=pl.col("choice").sort_by("occurred_at", "choice").last())
    known = visits.lazy().with_columns(visitor(), own=own)
    known = known.join(latest, on="visitor", how="left", maintain_order="left")
    known = _in_force(known.with_columns(latest=pl.coalesce("latest", "own")), choices)
    decisive = "latest" if history == "drop" else "in_force"
    choice = (
        pl.when((pl.col("in_force") == 1) | (pl.col(decisive) == 1)).then(pl.lit("refused"))
        .when(pl.col(decisive) == 0).then(pl.lit("allowed"))
        .otherwise(pl.lit("undecided"))
    )  # fmt: skip
    counted = pl.col("web_choice") == "allowed" if consent == "opt-in" else pl.col("web_choice") != "refused"
    chosen = known.with_columns(web_choice=choice.cast(CHOICE)).with_columns(is_counted=counted)
    return chosen.select(*visits.columns, "web_choice", "is_counted").collect()


def visitor() -> pl.Expr:
    """Return `visitor`, who a visitor is: the browser identity, else the recipient; null for a visit without either."""
    return pl.coalesce("person_id", pl.format("recipient {}", "recipient_id")).alias("visitor")


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
        is_counted=pl.col("is_counted").first(), visitors=_distinct(), pages=pl.len().cast(pl.Int64)
    )
    choices = pl.DataFrame({"web_choice": CHOICE.categories}, schema={"web_choice": CHOICE})
    if not (by or rows.height):
        totals = pl.DataFrame({_ALL: [True], "total": [0]})
    grid = totals.sort(group, nulls_last=True).join(choices, how="cross", maintain_order="left_right")
    found = grid.join(counts, on=[group, "web_choice"], how="left", nulls_equal=True, maintain_order="left")
    rule = pl.col("web_choice").cast(pl.String).replace_strict(_RULE, return_dtype=pl.Boolean)
    found = found.with_columns(pl.col("visitors", "pages").fill_null(0), pl.coalesce("is_counted", rule))
    columns = ("web_choice", "is_counted", "visitors", "total", share("visitors", "total"), "pages")
    return found.select(*([by] if by else []), *columns)


def share(part: str, whole: str) -> pl.Expr:
    """Return `share`, a part out of a whole; null when the whole is 0."""
    return quotient(part, whole).alias("share")


def _distinct() -> pl.Expr:
    return pl.col("visitor").drop_nulls().n_unique().cast(pl.Int64)


def _choices(tables: Tables) -> pl.LazyFrame:
    """What each visitor chose, and when: `visitor`, `occurred_at`, `choice`; one undated holds from the beginning."""
    chosen = tables.scan("page_hit").select(
        visitor(), pl.col("occurred_at").fill_null(_BEGINNING), choice=_choice_column(pl.col("web_optout"))
    )
    return chosen.drop_nulls().group_by("visitor", "occurred_at").agg(pl.col("choice").max())


def _choice_column(value: pl.Expr) -> pl.Expr:
    return pl.when(value.is_in([0, 1])).then(value).cast(pl.Int16)


def _in_force(visits: pl.LazyFrame, choices: pl.LazyFrame) -> pl.LazyFrame:
    """Add `in_force`, the choice at the instant of each visit; of an undated one, the latest."""
    dated = visits.filter(pl.col("occurred_at").is_not_null()).with_row_index("place").sort("occurred_at")
    choices = choices.rename({"choice": "in_force"}).sort("occurred_at")
    joined = dated.join_asof(choices, on="occurred_at", by="visitor", strategy="backward", check_sortedness=False)
    joined = joined.with_columns(in_force=pl.coalesce("in_force", "own")).sort("place").drop("place")
    undated = visits.filter(pl.col("occurred_at").is_null()).with_columns(in_force=pl.coalesce("latest", "own"))
    return pl.concat([joined, undated], how="diagonal_relaxed")


def require_word(what: str, word: str, known: tuple[str, ...]) -> None:
    """Refuse a word that is not among the known ones; RequestError naming the nearest."""
    if word not in known:
        raise RequestError(f"There is no {what} {str(word)[:80]!r}.{did_you_mean(str(word), known)}")
