"""The console's list of deliveries."""

import polars as pl

from trackkit import schema
from trackkit.clock import moment
from trackkit.engine.attributes import attributes, within
from trackkit.engine.deliveries import is_deleted, is_set_aside, planned_launch, require_timezone
from trackkit.engine.measure import measure
from trackkit.engine.snapshot import Measurable, Tables
from trackkit.errors import RequestError, did_you_mean

__all__ = ["deliveries"]

_COUNTS = {"to_deliver": "to_deliver", "processed": "processed", "success": "delivered_with_seeds"}
_COLUMNS = ("delivery_id", "label", "kind", "state", "channel", "campaign", "campaign_label", "launched_at", *_COUNTS)


def deliveries(
    tables: Measurable,
    since: str = "",
    state: str = "",
    channel: str = "",
    campaign: str = "",
    folder: str = "",
    every: bool = False,
    timezone: str = "",
) -> pl.DataFrame:
    """Return the console's list of deliveries: one row each, the last launched first, those without a launch last.

    Columns: `delivery_id`; `label`, else the internal name; `kind` ("proof", "model" or "deleted", else null); `state`,
    the platform's word; `channel`; `campaign`, its id, and `campaign_label`; `launched_at`, when the first message was
    sent, else planned; and the counts `to_deliver`, `processed` and `success`, with control addresses, as the console
    counts it. Counts are null where they are unknown.

    `since` is a day of the platform, or an instant; `state` and `channel` are words as in the list; `campaign` is an
    id, `folder` one too, and the folders below it count. `every` lists proofs, models and deleted deliveries too.
    Raises RequestError for a state, a channel, a campaign or a folder that no delivery has.

    >>> from trackkit.engine.snapshot import Snapshot
    >>> rows = [{"delivery_id": "7", "label": "June", "state": 95}, {"delivery_id": "8", "is_proof": True}]
    >>> listed = deliveries(Snapshot({"delivery": pl.LazyFrame(rows, schema=schema.DELIVERY.schema)}))
    >>> listed.select("delivery_id", "label", "state").rows()
    [('7', 'June', 'Finished')]
    """
    zone = require_timezone(timezone or tables.timezone)
    listed = _described(tables, zone).join(_counted(tables, every), on="delivery_id", how="full", coalesce=True)
    listed = listed if every else listed.filter(pl.col("kind").is_null())
    rows = listed
    for name, asked in {"state": state, "channel": channel, "campaign": campaign}.items():
        rows = rows.filter(pl.col(name) == _word(listed[name], name, asked)) if asked else rows
    if folder:
        key = _word(pl.concat([listed["folder"], _folders(tables)]), "folder", folder)
        rows = rows.filter(pl.col("folder").is_in(within(tables, [key])))
    if since:
        rows = rows.filter(pl.col("launched_at") >= moment(since, zone, "since"))
    return rows.sort("launched_at", "delivery_id", descending=True, nulls_last=True).select(_COLUMNS)


def _described(tables: Measurable, zone: str) -> pl.DataFrame:
    """Every delivery that a table lists, or that only has messages or hits."""
    stated = tables.scan("delivery").unique("delivery_id", keep="last")
    kind = pl.when(is_deleted()).then(pl.lit("deleted")).when(is_set_aside() & pl.col("is_model").fill_null(False))
    state = pl.col("state").replace_strict(
        schema.STATES, default=pl.col("state").cast(pl.String), return_dtype=pl.String
    )
    known = stated.select(
        "delivery_id",
        label=pl.coalesce("label", "internal_name"),
        kind=kind.then(pl.lit("model")).when(is_set_aside()).then(pl.lit("proof")),
        state=state,
        launched_at=planned_launch().dt.convert_time_zone(zone),
    ).join(attributes(tables, zone), on="delivery_id", how="left")
    return known.collect()


def _counted(tables: Measurable, every: bool) -> pl.DataFrame:
    """The counts of each delivery, also of those that no table lists; of those that are set aside only with `every`."""
    counted = [measure(tables, list(_COUNTS.values()))]
    if every:
        aside = tables.scan("delivery").filter(is_set_aside()).select("delivery_id").collect()["delivery_id"].to_list()
        counted += [measure(tables, list(_COUNTS.values()), delivery=aside)] if aside else []
    return pl.concat(counted).drop_nulls("delivery_id").select("delivery_id", **_COUNTS)


def _folders(tables: Tables) -> pl.Series:
    return tables.scan("folder").select(folder="folder_id").collect().to_series()


def _word(words: pl.Series, column: str, asked: str) -> str:
    """The word of the list that is asked for, in any case; refuse one that is not there."""
    known: list[str] = words.drop_nulls().unique().sort().to_list()
    word = next((word for word in known if word.casefold() == str(asked).casefold()), None)
    if word is None:
        raise RequestError(f"No delivery of the list has {asked!r} as {column}.{did_you_mean(str(asked), known)}")
    return word
