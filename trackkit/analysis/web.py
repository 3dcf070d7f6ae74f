"""Web tracking: which delivery brought a visit to the site, and the visits that a delivery brought.

A visit is a page displayed: a hit of link type 4 (page of the site) or 5 (transaction), or a page of a web application.
"""

from collections.abc import Sequence
from typing import Annotated, Literal

import polars as pl

from trackkit import schema
from trackkit.analysis.consent import displays
from trackkit.clock import begins, local, step_of
from trackkit.engine.deliveries import (
    Deliveries,
    asked_about,
    deleted,
    is_of,
    is_public,
    is_set_aside,
    listed,
    require_timezone,
)
from trackkit.engine.measure import quotient
from trackkit.engine.plausible import plausible
from trackkit.engine.refusals import is_visit
from trackkit.engine.snapshot import Measurable, Snapshot
from trackkit.errors import require_word

__all__ = ["attribute_web", "attribution_counts", "counted_tables", "of_delivery", "visit_activity"]

MODES = ("session", "permanent", "anonymous")
OPTIONS = ("last", "forced")
ATTRIBUTION = pl.Enum(["direct", "forced", "last", "retro", "none"])
ORIGIN = pl.Enum(["site", "web_application"])
TIMESCALES = ("1h", "3h", "24h")
SERIES = pl.Enum(["pages", "transactions"])
ATTRIBUTED = "attribution visits total share application_pages outside outside_total outside_share"

# Columns about how a row was read, which say nothing about the visit.
_PROVENANCE = {"source", "source_file", "source_row", "reported_type", "raw_event_type", "collapse_seconds", "ip"}
# Flags of firsts are dropped, since visits are assigned to other deliveries here.
_OF_EVENT = [name for name in schema.EVENT.schema if name not in _PROVENANCE.union(schema.MARKS)]
_OF_PAGE = ("web_application", "goal", "page", "step", "web_optout")
_IN_MESSAGE = ("clicked", "unsubscribed", "mirror_page")  # clicks that are only possible in a message
# What a visit copies from the hit that it is tied to.
_COPIED = ("delivery_id", "message_id", "recipient_id", "is_seed", "domain", "country")


def attribute_web(
    tables: Measurable,
    mode: Annotated[str, MODES] = "session",
    option: Annotated[str, OPTIONS] = "last",
    delivery: Deliveries = None,
) -> pl.DataFrame:
    """Tie every visit to the delivery that brought it: one row per visit, in order of time; the store is not changed.

    Out: the columns of `event`, except those about how a row was read; `origin` ("site", or "web_application" for a
    `page_hit`, whose `web_application`, `goal`, `page`, `step` and `web_optout` follow); `attribution`. `delivery_id`
    and `message_id` are those tied to, both null for "none". With `delivery`, visits in sessions of others
    are left out and not read; all visits outside a session are included. Each mode includes the one before:

    - "session": "direct", the row itself states delivery and message (of a web application, the delivery), as the
      session cookie does;
    - "permanent": by the permanent cookie, that is the same `person_id`. With `option` "last" the visit takes the
      delivery and message of the latest hit of that person, before or at its instant, that states both; "forced": the
      delivery that the row names without a message, as the page's tag does;
    - "anonymous": "retro", a visit still untied takes those of the person's first later click in a message.

    Undated visits and those without `person_id` are tied only by what they state. Those tied to a deleted delivery that
    is not asked for are left out, and of all deliveries those tied to a proof or a model too. Raises RequestError for
    another mode or option, or an unknown delivery.

    >>> visits = attribute_web(store)
    >>> visits["attribution"].value_counts().sort("count").rows()
    [('none', 66), ('direct', 68)]
    """
    require_word("mode", mode, MODES)
    require_word("option", option, OPTIONS)
    has_delivery = pl.col("delivery_id").is_not_null()
    ids = asked_about(tables, delivery)
    of_session = has_delivery if ids is None else is_of(ids)
    direct = _visits(tables, of_session & pl.col("message_id").is_not_null(), of_session)
    untied = _visits(tables, ~has_delivery | pl.col("message_id").is_null(), ~has_delivery)
    tied = [direct.with_columns(_attribution("direct"))]
    if mode != "session" and option == "forced":
        tied.append(untied.filter(has_delivery).with_columns(_attribution("forced")))
        untied = untied.filter(~has_delivery)
    untied = untied.with_columns(pl.lit(None, pl.String).alias(name) for name in ("delivery_id", "message_id"))
    untied = untied.with_columns(_attribution("none"))
    if mode != "session" and option == "last":
        untied = _tied_by_person(untied, _identifying_hits(tables, untied), "last", "backward")
    if mode == "anonymous":
        untied = _tied_by_person(untied, _identifying_hits(tables, untied, _IN_MESSAGE), "retro", "forward")
    visits = pl.concat([*tied, untied]).sort(_time_order(), nulls_last=True)
    return visits.filter(~pl.col("delivery_id").is_in(_left_out(tables, ids).implode()).fill_null(False))


def _left_out(tables: Measurable, ids: Sequence[str] | None) -> pl.Series:
    """The deliveries whose visits are left out: deleted ones that are not named, or all that are set aside."""
    if ids is None:
        return tables.scan("delivery").filter(is_set_aside()).select("delivery_id").collect()["delivery_id"]
    return deleted(tables).filter(~deleted(tables).is_in(ids))


def counted_tables(tables: Measurable, visits: pl.DataFrame, delivery: Deliveries = None) -> Snapshot:
    """Return the tables with the counted visits to the site as their only events, to `measure` web metrics on.

    In: `visits` of `attribute_web`, through `with_consent`, which has decided whose visits count; `page_hit`, with the
    refusals, is therefore left out. Other tables are unchanged, except that `delivery` is listed even if only its
    e-mail events, which are not here, mention it. Raises RequestError if nothing does.

    >>> visits = tk.consent.with_consent(store, attribute_web(store))
    >>> counted = counted_tables(store, visits, delivery)
    >>> tk.measure(counted, "web_visits", by=[], delivery=delivery).item()
    14
    """
    counted = visits.lazy().filter(pl.col("is_counted"), pl.col("origin") == "site")
    frames = {name: tables.scan(name) for name in schema.TABLES if tables.has(name) and name != "page_hit"}
    frames |= {"event": counted.select(_OF_EVENT)} if tables.has("event") else {}
    if ids := asked_about(tables, delivery):
        deliveries = tables.scan("delivery")
        unlisted = pl.LazyFrame({"delivery_id": ids}).join(deliveries, on="delivery_id", how="anti")
        frames["delivery"] = pl.concat([deliveries, unlisted], how="diagonal")
    return Snapshot(frames, getattr(tables, "as_of", None), timezone=getattr(tables, "timezone", "UTC"))


def attribution_counts(visits: pl.DataFrame, delivery: Deliveries = None) -> pl.DataFrame:
    """Return how many counted visits each kind of attribution brought: one row per kind, in the order of `ATTRIBUTION`.

    In: `visits` through `with_consent`. Columns: `attribution`; of these deliveries `visits` to the site, their `total`
    and `share`, and `application_pages` of web applications; of all deliveries and of none, the visits to the site
    outside a session: `outside`, `outside_total`, `outside_share`, null for "direct". Control addresses are left out; a
    share out of 0 is null.

    >>> visits = tk.consent.with_consent(store, attribute_web(store))
    >>> attribution_counts(visits)[:, :3].rows()[:2]
    [('direct', 29, 29), ('forced', 0, 29)]
    """
    counted = visits.filter("is_counted", is_public())
    is_site, is_of_delivery = pl.col("origin") == "site", _is_tied(delivery)
    counts = counted.group_by("attribution").agg(
        visits=(is_site & is_of_delivery).sum().cast(pl.Int64),
        application_pages=displays(~is_site & is_of_delivery),
        outside=is_site.sum().cast(pl.Int64),
    )
    kinds = pl.DataFrame({"attribution": ATTRIBUTION.categories}, schema={"attribution": ATTRIBUTION})
    outside = pl.when(pl.col("attribution") != "direct").then(pl.col("outside").fill_null(0))
    rows = kinds.join(counts, on="attribution", how="left", maintain_order="left").with_columns(
        pl.col("visits", "application_pages").fill_null(0), outside=outside
    )
    return (
        rows.with_columns(total=pl.col("visits").sum(), outside_total=pl.col("outside").sum())
        .with_columns(share=quotient("visits", "total"), outside_share=quotient("outside", "outside_total"))
        .select(ATTRIBUTED.split())
    )


def visit_activity(
    visits: pl.DataFrame, delivery: Deliveries = None, every: Annotated[str, TIMESCALES] = "24h", timezone: str = "UTC"
) -> pl.DataFrame:
    """Return the counted visits of deliveries by the clock of `timezone`: one row per period of `every` and series.

    In: `visits` through `with_consent`. Columns: `starts_at` (in that zone), `series` ("pages", without transactions;
    "transactions"), `count`. `every` is "1h", "3h" or "24h", a calendar day. Undated visits are left out.

    >>> visits = tk.consent.with_consent(store, attribute_web(store))
    >>> visit_activity(visits, delivery).select("series", "count").rows()[:2]
    [('pages', 13), ('transactions', 1)]
    """
    step = step_of(every, TIMESCALES, "timescale")
    starts = begins(local("occurred_at", require_timezone(timezone)), timezone, step)
    is_transaction = pl.col("event_type").cast(pl.String) == "transaction"
    series = pl.when(is_transaction).then(pl.lit("transactions")).otherwise(pl.lit("pages")).cast(SERIES)
    return (
        of_delivery(visits, delivery)
        .filter("is_counted", pl.col("origin") == "site", pl.col("occurred_at").is_not_null())
        .group_by(starts_at=starts, series=series)
        .agg(count=pl.len().cast(pl.Int64))
        .sort("starts_at", "series")
    )


def of_delivery(visits: pl.DataFrame, delivery: Deliveries = None) -> pl.DataFrame:
    """Return the visits tied to deliveries, those of control addresses left out, as every count does.

    >>> of_delivery(attribute_web(store), delivery).height
    30
    """
    return visits.filter(_is_tied(delivery), is_public())


def _is_tied(delivery: Deliveries) -> pl.Expr:
    """True for visits tied to a delivery, to one of several, or to any; of an empty list to none."""
    if delivery is None or (isinstance(delivery, str) and not delivery):
        return pl.col("delivery_id").is_not_null()
    return is_of([str(name) for name in listed(delivery)])


def _visits(tables: Measurable, of_site: pl.Expr, of_pages: pl.Expr) -> pl.DataFrame:
    """The visits that meet a condition: hits on pages of the site, and pages of web applications."""
    kind = schema.EVENT.schema["event_type"]
    hits = tables.scan("event").filter(of_site).filter(is_visit()).select(*_OF_EVENT, origin=_origin("site"))
    origin, columns = _origin("web_application"), ("occurred_at", "person_id", "recipient_id", "delivery_id", "tag_id")
    displayed = tables.scan("page_hit").filter(of_pages)
    pages = displayed.select(*columns, *_OF_PAGE, event_type=pl.lit("web_visited").cast(kind), origin=origin)
    hits, pages = (
        rows.with_columns(occurred_at=pl.when(plausible(tables, table).holds()).then("occurred_at"))
        for table, rows in (("event", hits), ("page_hit", pages))
    )
    both = pl.concat([hits.cast({"event_type": kind}), pages], how="diagonal")
    return both.select(*_OF_EVENT, "origin", *_OF_PAGE).collect()


def _identifying_hits(tables: Measurable, visits: pl.DataFrame, kinds: tuple[str, ...] = ()) -> pl.DataFrame:
    """The hits that identify untied visitors: dated, with delivery, message and person."""
    untied = visits.filter(pl.col("attribution") == "none", pl.col("occurred_at").is_not_null())
    persons = untied["person_id"].drop_nulls().unique()
    # A list of persons, not a join: it is pushed down to the file, so that only their rows are read.
    hits = tables.scan("event").filter(pl.col("person_id").is_in(persons.implode()))
    is_complete = pl.all_horizontal(pl.col("occurred_at", "delivery_id", "message_id").is_not_null())
    of_kind = pl.col("event_type").cast(pl.String).is_in(kinds) if kinds else pl.lit(True)
    columns = ("person_id", "occurred_at", "event_id", "log_server", *_COPIED)
    return (hits if persons.len() else hits.clear()).filter(is_complete, of_kind).select(columns).collect()


def _tied_by_person(
    visits: pl.DataFrame, hits: pl.DataFrame, kind: str, strategy: Literal["backward", "forward"]
) -> pl.DataFrame:
    """Tie untied visits to the person's nearest hit, earlier or later; of several at one instant, the last."""
    nearest = hits.sort(_time_order()).unique(["person_id", "occurred_at"], keep="last", maintain_order=True)
    hit_columns = {name: f"hit_{name}" for name in _COPIED}
    nearest = nearest.select("person_id", "occurred_at", *_COPIED).rename(hit_columns).sort("occurred_at")
    can_follow = (pl.col("attribution") == "none") & pl.all_horizontal(pl.col("person_id", "occurred_at").is_not_null())
    dated = visits.filter(can_follow).sort("occurred_at")
    joined = dated.join_asof(nearest, on="occurred_at", by="person_id", strategy=strategy, check_sortedness=False)
    is_found = pl.col("hit_delivery_id").is_not_null()
    copied = [pl.coalesce(name, hit_columns[name]).alias(name) for name in _COPIED]
    tied = joined.with_columns(
        *copied, attribution=pl.when(is_found).then(pl.lit(kind)).otherwise(pl.lit("none")).cast(ATTRIBUTION)
    )
    return pl.concat([visits.filter(~can_follow), tied.drop(hit_columns.values())])


def _origin(name: str) -> pl.Expr:
    return pl.lit(name).cast(ORIGIN)


def _time_order() -> list[pl.Expr]:
    return [pl.col("occurred_at"), pl.col("event_id").str.len_chars(), pl.col("event_id"), pl.col("log_server")]


def _attribution(kind: str) -> pl.Expr:
    return pl.lit(kind).cast(ATTRIBUTION).alias("attribution")
