"""The deliveries that the bar and the index of a folder name: those with pages that the store still holds."""

from collections.abc import Iterable

import polars as pl

from trackkit.engine.deliveries import deleted, launches
from trackkit.engine.snapshot import Snapshot

FACTS = ("label", "subject", "message_type", "state", "ended_at", "typology_id", "campaign_id", "to_deliver")


def listed(tables: Snapshot, delivery_ids: Iterable[str]) -> pl.DataFrame:
    """Return one row per delivery, the latest launch first: (delivery_id, launched_at) and its facts.

    A folder may hold pages of another store, or of a delivery that was removed or deleted on the platform: these are
    left out.
    """
    asked = pl.LazyFrame({"delivery_id": sorted(set(delivery_ids) - set(deleted(tables)))}, {"delivery_id": pl.String})
    mentioned = [tables.scan(table).select("delivery_id").unique() for table in ("delivery", "message", "event")]
    there = pl.concat(pl.collect_all([asked.join(some, "delivery_id", how="semi") for some in mentioned])).unique()
    facts = tables.scan("delivery").select("delivery_id", *FACTS)
    dated = launches(tables, there["delivery_id"].to_list() or None).lazy()
    rows = there.lazy().join(facts, "delivery_id", how="left").join(dated, "delivery_id", how="left").collect()
    return rows.sort("launched_at", "delivery_id", descending=True, nulls_last=True)
