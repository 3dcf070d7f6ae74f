"""Sharing to social networks: which networks messages were shared on, the resulting opens, and when.

A share is a hit on a link whose category is the name of a network, in any case, except opens and pages of the site. An
open of a shared message is a hit on a page of the site whose link has such a category, by someone who was not sent the
message and did not refuse web tracking. If no such page is tracked, opens of shared messages are unknown, not 0.
"""

from collections.abc import Sequence
from typing import Annotated

import polars as pl

from trackkit.clock import step_of
from trackkit.engine.deliveries import Deliveries, asked_about, is_of, is_public, without_aside, zone_of
from trackkit.engine.measure import measure, quotient
from trackkit.engine.plausible import plausible
from trackkit.engine.refusals import VISITS, with_refusals
from trackkit.engine.snapshot import Measurable

__all__ = ["NETWORKS", "sharing_activity", "social_sharing"]

NETWORKS = ("email", "facebook", "twitter", "delicious", "digg", "google", "linkedin")
NETWORK_ROWS, PERIOD_ROWS = pl.Enum(["network", "total"]), pl.Enum(["period", "undated", "total"])
EVERY = ("day", "week", "month")
PAGE_LINKS = (4, 5)
COLUMNS = """
    network row shares total_shares share_breakdown to_deliver sharing_rate targeted targeted_rate opens total_opens
    open_breakdown open_rate added_open_rates
"""
ACTIVITIES = ("new_contacts", "shared_opens", "opens", "shares")
PERIOD_COLUMNS = ("starts_on", "row", *ACTIVITIES, "is_whole")


def social_sharing(
    tables: Measurable, delivery: Deliveries = None, networks: Sequence[str] = NETWORKS
) -> Annotated[pl.DataFrame, COLUMNS.split()]:
    """Return the shares of one delivery, several or all, and their opens: one row per network, then the total.

    Columns: `network` (as asked; null in the total), `row` ("network" or "total"); `shares`, `total_shares`,
    `share_breakdown` (shares / total_shares); `to_deliver`, `sharing_rate` (shares / to_deliver); `targeted`,
    `targeted_rate` (shares / targeted, the platform's own formula); `opens` (displays of a shared page),
    `total_opens`, `open_breakdown` (opens / total_opens); `open_rate` (opens / shares); `added_open_rates`, only in
    the total: the sum of the networks' rates, which the platform prints there. A rate out of 0 is null, and so is an
    unknown count. Without `delivery`, proofs, models and deleted deliveries are left out. Raises
    RequestError for an unknown delivery.

    >>> social_sharing(store, delivery).select("network", "shares").row(0)
    ('email', 1)
    """
    ids = asked_about(tables, delivery)
    network_keys = _network_keys(networks)
    hits = _hits(tables, ids, network_keys).group_by("network", "kind").agg(pl.len().cast(pl.Int64)).collect()
    counted = network_keys.with_columns(
        _count_of(hits, "shares", _shares_are_known(tables)),
        _count_of(hits, "opens", _displays_are_known(tables, network_keys)),
        row=pl.lit("network", NETWORK_ROWS),
    ).with_columns(network="name")
    total = counted.select(_sum_if_known("shares"), _sum_if_known("opens"), row=pl.lit("total", NETWORK_ROWS))
    population = measure(tables, ["to_deliver", "targeted"], by=[], delivery=ids)
    rows = pl.concat([counted, total], how="diagonal").with_columns(
        total_shares=pl.lit(total["shares"].item(), pl.Int64), total_opens=pl.lit(total["opens"].item(), pl.Int64)
    )
    return _with_rates(rows.join(population, how="cross"))


def sharing_activity(
    tables: Measurable,
    delivery: Deliveries = None,
    every: Annotated[str, EVERY] = "month",
    timezone: str = "",
    networks: Sequence[str] = NETWORKS,
    last: int | None = None,
) -> Annotated[pl.DataFrame, PERIOD_COLUMNS]:
    """Return sharing over time: one row per day, week or month with activity, and one for the total.

    Columns: `starts_on` (first day of the period in `timezone`; weeks start on Monday), `row` ("period", "undated" or
    "total"); `new_contacts`, distinct recipients seen on a shared page who were not sent the message; `shared_opens`,
    displays of a shared page; `opens`, all opens; `shares`; `is_whole`, whether all of the period is between the first
    and the last of these hits, null for other rows. A contact in two months counts once in the total. `last`
    keeps the newest periods; the total is of all. Raises RequestError for an unknown delivery, period or time zone.

    >>> sharing_activity(store, delivery).select("row", "shares").rows()[-1]
    ('total', 1)
    """
    step = step_of(every, EVERY, "period")
    at = pl.when(plausible(tables).holds()).then(pl.col("occurred_at"))
    local = at.dt.convert_time_zone(zone_of(tables, timezone)).dt.date()
    network_keys, ids = _network_keys(networks), asked_about(tables, delivery)
    opens = _events(tables, ids).filter(_is_type("opened"), pl.col("delivery_id").is_not_null())
    hits = pl.concat(
        [
            acts.select("recipient_id", "kind", day=local, starts_on=local.dt.truncate(step))
            for acts in (
                _hits(tables, ids, network_keys).with_columns(kind=pl.col("kind").replace("opens", "shared_opens")),
                opens.with_columns(kind=pl.lit("opens")),
            )
        ]
    ).collect()
    counts = _activity_counts(tables, network_keys)
    periods = hits.group_by("starts_on").agg(counts).sort("starts_on")
    whole = _is_whole(step, hits["day"].min(), hits["day"].max())
    dated = periods.drop_nulls("starts_on").with_columns(row=pl.lit("period", PERIOD_ROWS), is_whole=whole)
    undated = periods.filter(pl.col("starts_on").is_null()).with_columns(row=pl.lit("undated", PERIOD_ROWS))
    total = hits.select(counts).with_columns(row=pl.lit("total", PERIOD_ROWS))
    newest = dated if last is None else dated.tail(last)
    return pl.concat([newest, undated, total], how="diagonal").select(PERIOD_COLUMNS)


def _is_whole(step: str, first: object, last: object) -> pl.Expr:
    """Whether a period lies within the days with hits, the first and the last."""
    starts = pl.col("starts_on")
    return (starts >= pl.lit(first, pl.Date)) & (starts.dt.offset_by(step).dt.offset_by("-1d") <= pl.lit(last, pl.Date))


def _network_keys(networks: Sequence[str]) -> pl.DataFrame:
    """The networks asked for: `name`, and `network`, the key that categories are compared with."""
    names = pl.DataFrame({"name": list(networks)}, schema={"name": pl.String})
    return names.with_columns(network=_folded("name")).unique("network", keep="first", maintain_order=True)


def _folded(column: str) -> pl.Expr:
    return pl.col(column).str.strip_chars().str.to_lowercase()


def _is_type(*types: str) -> pl.Expr:
    return pl.col("event_type").cast(pl.String).is_in(types).fill_null(False)


def _hits(tables: Measurable, ids: list[str] | None, networks: pl.DataFrame) -> pl.LazyFrame:
    """The hits on links of the networks, with `network` and `kind`: "shares", or "opens" of a shared page."""
    of_networks = (
        _events(tables, ids)
        .with_columns(network=_folded("link_category"))
        .filter(pl.col("network").is_in(networks["network"].to_list()))
    )
    shares = of_networks.filter(~_is_type("opened", *VISITS), pl.col("delivery_id").is_not_null())
    sent = tables.scan("message").select("delivery_id", "recipient_id").drop_nulls().unique()
    visits = of_networks.filter(_is_type(*VISITS), pl.col("message_id").is_null())
    displays: pl.LazyFrame = with_refusals(tables, visits)
    displays = displays.filter(~pl.col("is_refused").fill_null(False)).drop("is_refused")
    by_others = displays.join(sent, on=["delivery_id", "recipient_id"], how="anti")
    return pl.concat([shares.with_columns(kind=pl.lit("shares")), by_others.with_columns(kind=pl.lit("opens"))])


def _events(tables: Measurable, ids: list[str] | None) -> pl.LazyFrame:
    """The events of some deliveries, or of all except those set aside."""
    events = tables.scan("event").filter(is_public())
    if ids is not None:
        return events.filter(is_of(ids))
    return without_aside(tables, events)


def _shares_are_known(tables: Measurable) -> bool:
    """Whether hits and links, whose categories identify shares, were loaded."""
    return tables.has("event") and tables.has("link")


def _displays_are_known(tables: Measurable, networks: pl.DataFrame) -> bool:
    """Whether a page of the site is tracked for any of the networks."""
    of_network = _folded("category").is_in(networks["network"].to_list())
    pages = tables.scan("link").filter(pl.col("type_code").is_in(PAGE_LINKS), of_network).head(1)
    return tables.has("event") and pages.collect().height > 0


def _activity_counts(tables: Measurable, networks: pl.DataFrame) -> list[pl.Expr]:
    """The activities of a group of hits, each null if it cannot be known."""
    kind, pages = pl.col("kind"), _displays_are_known(tables, networks)
    contacts = pl.col("recipient_id").filter(kind == "shared_opens").drop_nulls().n_unique()
    counts = [contacts, *((kind == name).sum() for name in ACTIVITIES[1:])]
    knowable = [pages, pages, tables.has("event"), _shares_are_known(tables)]
    return [
        (count if is_known else pl.lit(None)).cast(pl.Int64).alias(name)
        for name, count, is_known in zip(ACTIVITIES, counts, knowable, strict=True)
    ]


def _count_of(hits: pl.DataFrame, kind: str, is_known: bool) -> pl.Expr:
    if not is_known:
        return pl.lit(None, pl.Int64).alias(kind)
    counts = hits.filter(pl.col("kind") == kind)
    network = pl.col("network")
    return network.replace_strict(counts["network"], counts["len"], default=0, return_dtype=pl.Int64).alias(kind)


def _sum_if_known(column: str) -> pl.Expr:
    return pl.when(pl.col(column).count() == pl.len()).then(pl.col(column).sum()).alias(column)


def _with_rates(rows: pl.DataFrame) -> pl.DataFrame:
    rated = rows.with_columns(
        share_breakdown=quotient("shares", "total_shares"),
        sharing_rate=quotient("shares", "to_deliver"),
        targeted_rate=quotient("shares", "targeted"),
        open_breakdown=quotient("opens", "total_opens"),
        open_rate=quotient("opens", "shares"),
    )
    rates = rated.filter(pl.col("row").cast(pl.String) == "network")["open_rate"].drop_nulls()
    is_total = pl.col("row").cast(pl.String) == "total"
    added_rates = pl.when(is_total).then(pl.lit(rates.sum() if rates.len() else None, pl.Float64))
    return rated.with_columns(added_open_rates=added_rates).select(COLUMNS.split())
