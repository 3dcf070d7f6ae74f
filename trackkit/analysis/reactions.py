"""The reactivity of deliveries: how many recipients reacted, and how: the report "Reactivity rate".

The platform's documentation says of it only that it has the reactivity rate of a delivery and the breakdown of the
reactions. A reaction is a hit that counts: no machine is left out, control addresses are. A recipient counts once in
each delivery.
"""

from typing import Annotated

import polars as pl

from trackkit.analysis.sharing import NETWORKS
from trackkit.engine.deliveries import Deliveries, asked_about, counted_events, is_public, of_deliveries
from trackkit.engine.measure import measure_together, quotient
from trackkit.engine.snapshot import Measurable
from trackkit.language import translatable
from trackkit.schema import MESSAGE

__all__ = ["breakdown", "kinds"]

BREAKDOWN = "row reaction recipients delivered share"
KINDS = "reaction recipients hits delivered share"
ROWS = pl.Enum(["reaction", "total"])
# What a recipient did at most, from the strongest; each counts in one alone.
BOUGHT, CLICKED, OPENED, NOTHING = translatable(
    ("Bought", "Clicked, did not buy", "Opened, did not click", "No reaction")
)
STRONGEST = {3: BOUGHT, 2: CLICKED, 1: OPENED, 0: NOTHING}
# What a recipient did at all; each may count in several.
OPENS = translatable("Open or any other reaction")
SHARED = translatable("Shared to a network")
EVENTS = translatable(
    {
        "clicked": "Email click",
        "mirror_page": "Mirror page",
        "unsubscribed": "Opt-out",
        "web_visited": "Web",
        "transaction": "Transaction",
    }
)


def breakdown(tables: Measurable, delivery: Deliveries = None) -> Annotated[pl.DataFrame, BREAKDOWN.split()]:
    """Return what the recipients reached did at most: one row per reaction from the strongest, then the total.

    Columns: `row` ("reaction" or "total"); `reaction` ("Bought", "Clicked, did not buy", "Opened, did not click", which
    is any other hit, "No reaction"); `recipients`, messages delivered, each in one row; `delivered`, all of them,
    measured by themselves; `share` = recipients / delivered. A reaction to a message that is not known as delivered is
    in none. All is null where the messages delivered are not known. Raises RequestError for an unknown delivery.

    >>> breakdown(store, delivery).select("reaction", "recipients", "delivered").row(0)
    ('Bought', 1, 82)
    """
    ids = asked_about(tables, delivery)
    whole = measure_together(tables, ["delivered"], ids)["delivered"].item()
    is_sent = (pl.col("status").cast(pl.String) == "delivered") & is_public()
    sent = of_deliveries(tables, "message", ids).filter(is_sent).select(MESSAGE.key)
    step = _kind().replace_strict({"transaction": 3, "clicked": 2}, default=1, return_dtype=pl.Int8)
    done = counted_events(tables, ids).group_by(MESSAGE.key).agg(step=step.max())
    both = sent.join(done, on=MESSAGE.key, how="left", nulls_equal=True).with_columns(pl.col("step").fill_null(0))
    counts = dict(both.group_by("step").len().collect().rows())
    rows = [("reaction", name, int(counts.get(rank, 0))) for rank, name in STRONGEST.items()]
    known = [row if whole is not None else (*row[:2], None) for row in [*rows, ("total", None, whole)]]
    frame = pl.DataFrame(known, schema={"row": ROWS, "reaction": pl.String, "recipients": pl.Int64}, orient="row")
    return _with_share(frame, whole).select(BREAKDOWN.split())


def kinds(tables: Measurable, delivery: Deliveries = None) -> Annotated[pl.DataFrame, KINDS.split()]:
    """Return how many recipients reacted in each way: one row per way, in which a recipient may be several times.

    Columns: `reaction`, the platform's word of the hit, "Shared to a network" (clicks on links whose category is one),
    or first any of them; `recipients` (distinct messages) and `hits`; `delivered`, the messages delivered, null if not
    known; `share` = recipients / delivered. Raises RequestError for an unknown delivery.

    >>> kinds(store, delivery).select("reaction", "recipients", "hits").row(0)
    ('Open or any other reaction', 26, 73)
    """
    ids = asked_about(tables, delivery)
    whole = measure_together(tables, ["delivered"], ids)["delivered"].item()
    is_of_network = pl.col("link_category").str.strip_chars().str.to_lowercase().is_in(NETWORKS)
    is_share = is_of_network & ~_kind().is_in(["opened", "web_visited", "transaction"])  # displays of a shared page
    ways = {OPENS: pl.lit(True)} | {name: _kind() == kind for kind, name in EVENTS.items()} | {SHARED: is_share}
    hits = counted_events(tables, ids)
    counted = [hits.filter(way).select(_messages(), hits=pl.len().cast(pl.Int64)) for way in ways.values()]
    rows = pl.concat(pl.collect_all(counted)).with_columns(reaction=pl.Series(list(ways)))
    return _with_share(rows, whole).select(KINDS.split())


def _kind() -> pl.Expr:
    return pl.col("event_type").cast(pl.String)


def _messages() -> pl.Expr:
    """Distinct messages: an id is that of one within its delivery only."""
    known = pl.struct(MESSAGE.key).filter(pl.col("message_id").is_not_null())
    return known.n_unique().cast(pl.Int64).alias("recipients")


def _with_share(rows: pl.DataFrame, whole: int | None) -> pl.DataFrame:
    of_all = rows.with_columns(delivered=pl.lit(whole, pl.Int64))
    return of_all.with_columns(share=quotient("recipients", "delivered"))
