"""What deliveries are (campaign, channel, launch …), as columns to break figures down by: one row per delivery.

They are no columns of rows. Whatever adds up is counted by delivery first, from stored counts where there are such, and
then added; only people, who may be in several deliveries, are counted again over rows to which these are joined.
"""

from collections.abc import Iterable, Mapping, Sequence

import polars as pl

from trackkit import schema
from trackkit.engine.deliveries import planned_launch
from trackkit.engine.snapshot import Tables
from trackkit.metrics import OF_DELIVERIES

_DELIVERY = (
    "delivery_id",
    "campaign_id",
    "folder_id",
    "typology_id",
    "message_type",
    "subject",
    "sender_address",
    "sender_name",
    "started_at",
    "contact_at",
)


def keyed(groups: Sequence[str], of_deliveries: Sequence[str] = OF_DELIVERIES) -> list[str]:
    """Return groups with the delivery instead of what only says what it is.

    >>> keyed(["campaign", "day", "channel"]), keyed(["day"])
    (['day', 'delivery_id'], ['day'])
    """
    others = [name for name in groups if name not in of_deliveries]
    return others if len(others) == len(groups) or "delivery_id" in others else [*others, "delivery_id"]


def attributes(tables: Tables, timezone: str) -> pl.LazyFrame:
    """Return one row per delivery of the table `delivery`: `delivery_id` and `OF_DELIVERIES`, null where not known.

    `channel` is a word of `schema.MESSAGE_TYPES`, or an unknown code; `sender` an address, else a name. A delivery was
    launched when its first message was sent, else when that was planned; `launch_day` is a day in `timezone`, and
    `launch_week` the Monday of its week.

    >>> from trackkit.engine.snapshot import Snapshot
    >>> deliveries = pl.LazyFrame({"delivery_id": ["7"], "campaign_id": ["12"], "message_type": [1]})
    >>> attributes(Snapshot({"delivery": deliveries}), "UTC").select("campaign", "channel", "folder").collect().row(0)
    ('12', 'SMS', None)
    """
    rows = columns_of(tables, "delivery", _DELIVERY).unique("delivery_id", keep="last", maintain_order=True)
    campaigns = columns_of(tables, "campaign", ("campaign_id", "label", "programme_id")).unique("campaign_id")
    rows = rows.join(campaigns.rename({"label": "campaign_label"}), on="campaign_id", how="left")
    for name in ("programme", "folder"):
        key = f"{name}_id"
        named = columns_of(tables, name, (key, "label")).unique(key).rename({"label": f"{name}_label"})
        rows = rows.join(named, on=key, how="left")
    code = pl.col("message_type")
    day = planned_launch().dt.convert_time_zone(timezone).dt.date()
    return rows.with_columns(
        campaign="campaign_id",
        programme="programme_id",
        folder="folder_id",
        typology="typology_id",
        channel=code.replace_strict(schema.MESSAGE_TYPES, default=code.cast(pl.String), return_dtype=pl.String),
        sender=pl.coalesce("sender_address", "sender_name"),
        launch_day=day,
        launch_week=day.dt.truncate("1w"),
    ).select("delivery_id", *OF_DELIVERIES)


def columns_of(tables: Tables, table: str, columns: Sequence[str]) -> pl.LazyFrame:
    """Return some columns of a table, null where its rows have none."""
    rows, types = tables.scan(table), schema.TABLES[table].schema
    known = rows.collect_schema()
    return rows.select(
        (pl.col(name) if name in known else pl.lit(None)).cast(types[name]).alias(name) for name in columns
    )


def within(tables: Tables, folders: Iterable[str]) -> list[str]:
    """Return folders and all those below them, by id; those that lie in each other are each listed once.

    >>> from trackkit.engine.snapshot import Snapshot
    >>> tree = pl.LazyFrame({"folder_id": ["1", "2", "3"], "parent_id": [None, "1", "2"]})
    >>> within(Snapshot({"folder": tree}), ["2"])
    ['2', '3']
    """
    tree = columns_of(tables, "folder", ("folder_id", "parent_id")).drop_nulls().group_by("parent_id").agg("folder_id")
    return below(dict(tree.collect().iter_rows()), folders)


def below(tree: Mapping[str, Iterable[str]], folders: Iterable[str]) -> list[str]:
    """Return folders and all those below them in a tree of those right in each; each is listed once.

    >>> below({"1": ["2"], "2": ["3", "1"]}, ["2"])
    ['2', '1', '3']
    """
    found = newest = dict.fromkeys(folders)
    while newest:
        children = sorted({child for folder in newest for child in tree.get(folder, ())})
        newest = dict.fromkeys(child for child in children if child not in found)
        found = found | newest
    return list(found)
