"""Complaints, and which mail domains can tell them: a domain without a feedback loop has none in any log."""

from datetime import date
from typing import Annotated, Any

import polars as pl
from pydantic import model_validator

from trackkit import resources, toml
from trackkit.analysis.domains import Domain, domain_list
from trackkit.analysis.unseen import WHY, together
from trackkit.engine.deliveries import Deliveries, asked_about
from trackkit.engine.measure import measure, quotient
from trackkit.engine.snapshot import Measurable
from trackkit.language import translatable
from trackkit.toml import Strict

__all__ = ["rates", "seen"]

LIST = "reports_templates/feedback_loops.toml"
TOLD, UNTOLD, UNKNOWN = FEEDBACK = ("told", "untold", "unknown")
NOT_SEEN = translatable("cannot be seen in these logs")
MOST_NAMED = 5  # domains of a group
RATE = "complaint_rate"
RATES: dict[str, Any] = {"row": pl.Enum(["group", "total"]), "feedback": pl.Enum(FEEDBACK)}
RATES |= {"domains": pl.List(pl.String), "delivered": pl.Int64, "complaints": pl.Int64, RATE: pl.Float64}
RATES |= {WHY.format(RATE): pl.String}


class FeedbackLoops(Strict):
    """The analysts' list: domains that tell who complained, and those that do not."""

    as_of: date
    sources: list[str]
    told: list[Domain]
    untold: list[Domain]

    @model_validator(mode="after")
    def _has_each_domain_once(self) -> "FeedbackLoops":
        if both := sorted(set(self.told) & set(self.untold)):
            raise ValueError(f"{both[0]!r} is in 'told' and in 'untold'")
        return self


def feedback_loops() -> FeedbackLoops:
    """Read the analysts' list, the local copy before the shipped one.

    Raises RequestError naming the file, the key and what would work.

    >>> "gmail.com" in feedback_loops().untold
    True
    """
    return toml.read(resources.find(LIST), FeedbackLoops)


def rates(tables: Measurable, delivery: Deliveries = None) -> Annotated[pl.DataFrame, list(RATES)]:
    """Return the complaints of deliveries by whether the mail domain tells them: one row each, then the total.

    Rows: `feedback` "told" (the domains have a feedback loop), "untold" (they have none) and "unknown" (in neither
    list), each only if it has messages, and `row` "total", the platform's own rate. Columns: `domains` (the five with
    most messages), `delivered`, `complaints`, `complaint_rate` (complaints / delivered). Complaints and their rate are
    null, and `why complaint_rate` says so, where none can be seen: in "untold", unless there are some, and where no
    delivery tells any. Raises RequestError for an unknown delivery, or a wrong list.

    >>> rates(store, delivery).select("row", "feedback", "delivered", "complaints").rows()
    [('group', 'unknown', 82, 0), ('total', None, 82, 0)]
    """
    ids = asked_about(tables, delivery)
    each = measure(tables, ["delivered", "complaints"], by="domain", delivery=ids)
    each = each.with_columns(pl.col("domain").cast(pl.String), feedback=_feedback(pl.col("domain").cast(pl.String)))
    counts = pl.col("delivered", "complaints")
    by_delivered = pl.col("domain").sort_by("delivered", descending=True, maintain_order=True).drop_nulls()
    groups = each.group_by("feedback").agg(by_delivered.head(MOST_NAMED).alias("domains"), counts.sum())
    total = measure(tables, ["delivered", "complaints"], by=[], delivery=ids)
    rows = [groups.with_columns(row=pl.lit("group")), total.with_columns(row=pl.lit("total"))]
    both = pl.concat(rows, how="diagonal").filter((pl.col("delivered") > 0) | (pl.col("row") == "total"))
    is_blind = (pl.col("feedback") == UNTOLD).fill_null(False)
    rate = together(tables, [RATE], ids)
    unobserved = rate[WHY.format(RATE)].item() if WHY.format(RATE) in rate.columns else None
    why = pl.coalesce(pl.lit(unobserved, pl.String), pl.when(is_blind).then(pl.lit(NOT_SEEN)))
    why = pl.when(~(pl.col("complaints") > 0).fill_null(False)).then(why)
    shown = both.with_columns(why.alias(WHY.format(RATE)))
    shown = shown.with_columns(complaints=pl.when(pl.col(WHY.format(RATE)).is_null()).then("complaints"))
    shown = shown.with_columns(quotient("complaints", "delivered").alias(RATE))
    return shown.select(pl.col(name).cast(dtype) for name, dtype in RATES.items()).sort("row", "feedback")


def seen(by_domain: pl.DataFrame) -> pl.DataFrame:
    """Return figures by mail domain, the complaint rate null where it cannot be seen, with the reason beside it.

    In: a frame of `measure` by `domain`, a domain or a class of `domains.by_class`. A class cannot tell if none of its
    domains can. A rate above 0 stays: someone was told.

    >>> by_domain = tk.measure(store, ["complaint_rate"], by="domain", delivery=delivery)
    >>> seen(by_domain).columns[-1]
    'why complaint_rate'
    """
    if RATE not in by_domain.columns:
        return by_domain
    blind = set(feedback_loops().untold)
    classes = [name for name, domains in domain_list().classes.items() if blind.issuperset(domains)]
    is_blind = pl.col("domain").cast(pl.String).is_in([*classes, *blind]).fill_null(False)
    is_unseen = is_blind & (pl.col(RATE) == 0).fill_null(False)
    why = WHY.format(RATE)
    before = pl.col(why) if why in by_domain.columns else pl.lit(None, pl.String)
    return by_domain.with_columns(
        pl.when(~is_unseen).then(RATE).alias(RATE),
        pl.coalesce(before, pl.when(is_unseen).then(pl.lit(NOT_SEEN))).alias(why),
    )


def _feedback(domain: pl.Expr) -> pl.Expr:
    """Whether a mail domain, or the nearest domain above it that is listed, tells complaints."""
    loops = feedback_loops()
    listed = dict.fromkeys(loops.told, TOLD) | dict.fromkeys(loops.untold, UNTOLD)
    names = [domain, *(domain.str.extract(rf"((?:[^.]+\.){{{dots}}}[^.]+)$") for dots in (2, 1))]
    found = [name.replace_strict(listed, default=None, return_dtype=pl.String) for name in names]
    return pl.coalesce(*found, pl.lit(UNKNOWN))
