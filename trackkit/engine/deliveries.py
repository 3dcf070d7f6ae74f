"""Facts about deliveries that several analyses need: which are asked about, their rows, their launch, their like."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import polars as pl

from trackkit import schema
from trackkit.engine.plausible import EARLIEST, plausible
from trackkit.engine.snapshot import Measurable, Tables, with_all_hits
from trackkit.errors import RequestError, did_you_mean

AVERAGE_MONTHS = 6  # the platform average looks back this many calendar months
Deliveries = str | Sequence[str] | None  # one delivery, several, or (None, or an empty text) all not set aside


class Launch(NamedTuple):
    """When a delivery was launched, and which column or table gives that."""

    at: datetime | None
    basis: str | None


def asked_about(tables: Tables, delivery: Deliveries) -> list[str] | None:
    """Return the ids of the deliveries that a question is about, each once; None for all that are not set aside.

    Raises RequestError as `require_deliveries`.
    """
    is_all = delivery is None or (isinstance(delivery, str) and not delivery)
    return None if is_all else require_deliveries(tables, delivery)  # type: ignore[arg-type]


def listed(deliveries: str | Iterable[str]) -> list[str]:
    """Return one id, or several, as a list; papermill makes a number of a numeric one."""
    is_several = isinstance(deliveries, Iterable) and not isinstance(deliveries, str)
    return list(deliveries) if is_several else [deliveries]  # type: ignore[list-item]


def the_one(ids: Sequence[str] | None) -> str:
    """Return the id of the only delivery that a question is about; an empty text if it is about several or all."""
    return ids[0] if ids is not None and len(ids) == 1 else ""


def is_of(ids: Sequence[str]) -> pl.Expr:
    """True for rows of some deliveries."""
    key = pl.col("delivery_id")
    return key == ids[0] if len(ids) == 1 else key.is_in(list(ids))


def of_deliveries(tables: Tables, table: str, ids: Sequence[str] | None) -> pl.LazyFrame:
    """Return the rows of some deliveries in a table that has `delivery_id`, or of all that are not set aside."""
    rows = tables.scan(table)
    return without_aside(tables, rows.drop_nulls("delivery_id")) if ids is None else rows.filter(is_of(ids))


def counted_events(tables: Tables, ids: Sequence[str] | None) -> pl.LazyFrame:
    """Return the events that `measure` counts, of the deliveries `asked_about`: hits, except of control addresses."""
    return of_deliveries(tables, "event", ids).filter(is_counted())


def without_aside(tables: Tables, rows: pl.LazyFrame) -> pl.LazyFrame:
    """Return rows with `delivery_id`, without those of deliveries that are set aside."""
    return rows.join(tables.scan("delivery").filter(is_set_aside()), on="delivery_id", how="anti")


def is_set_aside(api: Any = pl) -> Any:
    """True for deliveries that count only if they are named: proofs, models and deleted ones.

    `api` is the module whose expression is returned: polars, or narwhals.
    """
    is_unsent = api.col("is_proof").fill_null(False) | api.col("is_model").fill_null(False)
    return is_unsent | is_deleted(api)


def is_deleted(api: Any = pl) -> Any:
    """True for deliveries deleted on the platform, by their state or by their delete status."""
    by_state, by_status = api.col("state") == schema.DELETED, api.col("delete_status") != 0
    return by_state.fill_null(False) | by_status.fill_null(False)


def deleted(tables: Tables) -> pl.Series:
    """Return the ids of deleted deliveries; cached on a snapshot, which does not change."""
    cached: list[pl.Series] = getattr(tables, "deleted", [])
    if not cached:
        cached.append(tables.scan("delivery").filter(is_deleted()).select("delivery_id").collect().to_series())
    return cached[0]


def still_there(tables: Tables, rows: pl.LazyFrame) -> pl.LazyFrame:
    """Return rows with `delivery_id`, without those of deleted deliveries, for lists over all deliveries."""
    deleted_ids = deleted(tables)
    return rows.filter(~_is_in(deleted_ids)) if deleted_ids.len() else rows  # usually there are none


def unnamed_if_deleted(tables: Tables) -> pl.Expr:
    """Return `delivery_id`, null for deleted deliveries: their acts and visits stay without naming them."""
    return pl.when(~_is_in(deleted(tables))).then("delivery_id").alias("delivery_id")


def _is_in(ids: pl.Series) -> pl.Expr:
    return pl.col("delivery_id").is_in(ids.implode()).fill_null(False)


def is_hit(api: Any = pl) -> Any:
    """True for what recipients did, unknown event types included; false for sends and bounces.

    `api` is the module whose expression is returned: polars, or narwhals.
    """
    return ~api.col("event_type").is_in(list(schema.NO_HITS)).fill_null(False)


def is_public(api: Any = pl) -> Any:
    """True for events and messages of no control address, or where that is unknown."""
    return ~api.col("is_seed").fill_null(False)


def has_no_status(api: Any = pl) -> Any:
    """True for messages of unknown status."""
    return (api.col("status") == "unknown").fill_null(False)


def is_counted(api: Any = pl) -> Any:
    """True for events that count: hits, except those of control addresses."""
    return is_public(api) & is_hit(api)


def is_human(api: Any = pl) -> Any:
    """True for hits by people, also through a proxy that fetches when they read (`schema.READ_RULES`)."""
    is_read = api.col("activity_rule").is_in(list(schema.READ_RULES)).fill_null(False)
    return (api.col("activity").cast(api.String) == "human").fill_null(False) | is_read


def is_link_hit() -> pl.Expr:
    """True for every hit on a link that is no open; an e-mail click counts even without a link."""
    event_type = pl.col("event_type").cast(pl.String)
    return event_type.ne_missing("opened") & (pl.col("link_id").is_not_null() | event_type.eq_missing("clicked"))


def statuses_are_unknown(tables: Tables, ids: Sequence[str] | None) -> bool:
    """Return whether there are messages of the deliveries `asked_about`, all of unknown status."""
    all_unknown = of_deliveries(tables, "message", ids).select(has_no_status().all() & (pl.len() > 0))
    return bool(all_unknown.collect().item())


def require_delivery(tables: Tables, delivery: str) -> str:
    """Return the id as text, or refuse a delivery that no table mentions.

    Raises RequestError naming the nearest known id: an empty report for a mistyped id would look like a fact.
    """
    key = str(delivery)
    seen: set[str] = getattr(tables, "seen", set())  # cached: a snapshot does not change
    if key in seen:
        return key
    if any(_mentions(with_all_hits(tables), table, key) for table in ("delivery", "event", "message", "link", "purge")):
        seen.add(key)
        return key
    known_ids = tables.scan("delivery").select("delivery_id").collect().to_series()
    near = did_you_mean(key, known_ids.head(1000))
    raise RequestError(f"There is no delivery {key!r} in these tables.{near}{number_hint(delivery)}")


def number_hint(given: object) -> str:
    """Return a hint for an unknown id that was given as a number, which papermill makes of `-p delivery 007`.

    >>> number_hint("007"), number_hint(7)
    ('', ' It was given as a number: text keeps its zeros, as in `papermill … -r delivery 007`.')
    """
    if isinstance(given, str):
        return ""
    return " It was given as a number: text keeps its zeros, as in `papermill … -r delivery 007`."


def require_deliveries(tables: Tables, deliveries: str | Iterable[str]) -> list[str]:
    """Return one id, or several, as text, each once; they are looked up at once.

    Raises RequestError as `require_delivery`, and for an empty list: it names no delivery, which is not all of them.
    """
    named = {str(name): name for name in listed(deliveries)}
    if not named:
        raise RequestError("No delivery is named: the list of ids is empty. None, or an empty text, means all of them.")
    known = set[str]()
    if len(named) > 1:
        declared = tables.scan("delivery").filter(is_of(list(named))).select("delivery_id").collect()
        known = set(declared["delivery_id"])
    return [key if key in known else require_delivery(tables, name) for key, name in named.items()]


def _mentions(tables: Tables, table: str, delivery: str) -> bool:
    return of_deliveries(tables, table, [delivery]).select("delivery_id").head(1).collect().height > 0


def require_timezone(timezone: str) -> str:
    """Return the name of a time zone, or refuse one that the zone database does not hold.

    >>> require_timezone("Europe/Paris")
    'Europe/Paris'
    """
    try:
        ZoneInfo(timezone)
    except (KeyError, ValueError, OSError, TypeError) as error:
        raise RequestError(f"There is no time zone {timezone!r}; try 'Europe/Paris' or 'UTC'.") from error
    return timezone


def zone_of(tables: Measurable, timezone: str) -> str:
    """Return the time zone asked for, by default the platform's; refuse an unknown one."""
    return require_timezone(timezone or tables.timezone)


def launch(tables: Tables, delivery: str) -> Launch:
    """Return when a delivery was launched: its first message, else its planned contact, else its first dated event.

    `basis` is "started_at", "contact_at" or "first_event"; implausibly early dates are skipped.
    Both fields are None if nothing is dated. Raises RequestError when the delivery is unknown.
    """
    key = require_delivery(tables, delivery)
    planned = of_deliveries(tables, "delivery", [key]).select("started_at", "contact_at").head(1).collect()
    for basis in planned.columns if planned.height else ():
        if (instant := planned.item(0, basis)) is not None and instant >= EARLIEST:
            return Launch(instant, basis)
    hits = counted_events(tables, [key]).filter(plausible(tables, "event", key).holds())
    first = hits.select(pl.col("occurred_at").min()).collect().item()
    return Launch(first, None if first is None else "first_event")


def planned_launch() -> pl.Expr:
    """When deliveries were launched, by their own table; implausibly early dates are skipped."""
    dates = [pl.when(pl.col(at) >= pl.lit(EARLIEST, schema.INSTANT)).then(at) for at in ("started_at", "contact_at")]
    return pl.coalesce(dates)


def launches(tables: Tables, ids: Sequence[str] | None) -> pl.DataFrame:
    """Return when each delivery `asked_about` was launched, as `launch` does: (delivery_id, launched_at).

    A delivery of which nothing is dated has no row.
    """
    if key := the_one(ids):
        row = {"delivery_id": [key], "launched_at": [launch(tables, key).at]}
        return pl.DataFrame(row, {"delivery_id": pl.String, "launched_at": schema.INSTANT}).drop_nulls()
    declared = of_deliveries(tables, "delivery", ids).unique("delivery_id", keep="first", maintain_order=True)
    dated = declared.select("delivery_id", launched_at=planned_launch()).drop_nulls().collect()
    if ids is not None and dated.height == len(ids):
        return dated
    others = counted_events(tables, ids).join(dated.lazy(), on="delivery_id", how="anti")
    hits = others.filter(plausible(tables).holds()).group_by("delivery_id")
    return pl.concat([dated, hits.agg(launched_at=pl.col("occurred_at").min()).collect()])


def with_launch(tables: Tables, rows: pl.LazyFrame, ids: Sequence[str] | None) -> pl.LazyFrame:
    """Add to rows of the deliveries `asked_about` when their own delivery was launched, as `launched_at`."""
    if key := the_one(ids):
        return rows.with_columns(launched_at=pl.lit(launch(tables, key).at, schema.INSTANT))
    return rows.join(launches(tables, ids).lazy(), on="delivery_id", how="left")


def comparable(tables: Tables, delivery: Deliveries) -> pl.DataFrame:
    """Return the deliveries that make up the platform average for this one: one row each, with `launched_at`.

    They were launched in the six calendar months before this delivery: launch - 6 months <= theirs < launch (a day
    that the earlier month lacks becomes its last day). They have the same typology and channel, null equal to null.
    This delivery itself, those set aside (`is_set_aside`) and undated ones are left out.

    Of several deliveries, they are those that compare with any of them, and are none of them; so of all there are none.
    """
    ids, kinds, launched = asked_about(tables, delivery), ["typology_id", "message_type"], pl.col("launched_at")
    deliveries = tables.scan("delivery").with_columns(launched_at=planned_launch())
    if ids is None:
        return deliveries.clear().collect()
    own = of_deliveries(tables, "delivery", ids).unique("delivery_id", keep="first", maintain_order=True)
    spans = own.select("delivery_id", *kinds).join(launches(tables, ids).lazy(), on="delivery_id")
    spans = spans.select(*kinds, since=launched.dt.offset_by(f"-{AVERAGE_MONTHS}mo"), until=launched).unique()
    is_other = ~is_of(ids) & ~is_set_aside()
    return (
        deliveries.with_row_index("row")
        .filter(is_other)
        .join(spans, on=kinds, how="inner", nulls_equal=True)
        .filter(launched >= pl.col("since"), launched < pl.col("until"))
        .unique("row")
        .sort("launched_at", "delivery_id")
        .drop("row", "since", "until")
        .collect()
    )
