"""Hits on the shop's pages: visits and purchases that follow a click, and visitors who come from nowhere."""

import numpy as np
import polars as pl

from trackkit.demo.people import MACHINE_IPS
from trackkit.demo.plan import CLICK, HOUR, WEB_TAGS
from trackkit.demo.scene import FORWARD, HUMAN, SECOND, VISITOR, Scene, make_rows


def web_hits(scene: Scene, hits: pl.DataFrame) -> pl.DataFrame:
    """Pages of the shop that clickers see in the same session, and their purchases."""
    rng, (_, types) = scene.rng, scene.slots
    by_people = pl.col("kind").is_in([HUMAN, FORWARD])
    clicks = hits.filter(by_people & pl.col("slot").is_in(np.flatnonzero(types == CLICK)))
    visits = clicks.filter(pl.Series(rng.random(clicks.height) < 0.3))
    first_tag = types.size - len(WEB_TAGS)
    pages = visits[np.repeat(np.arange(visits.height), 1 + rng.poisson(1.2, visits.height))]
    pages = pages.with_columns(
        at=pl.col("at") + pl.Series(rng.uniform(3, 400, pages.height) * SECOND).cast(pl.Int64),
        slot=pl.Series(first_tag + rng.choice(3, pages.height, p=[0.35, 0.5, 0.15])).cast(pl.Int16),
    )
    buyers = visits.filter(pl.Series(rng.random(visits.height) < 0.2))
    bought = buyers.with_columns(
        at=pl.col("at") + pl.Series(rng.uniform(410, 1500, buyers.height) * SECOND).cast(pl.Int64),
        slot=pl.lit(types.size - 1, pl.Int16),
        cents=pl.Series(rng.lognormal(np.log(3900), 0.7, buyers.height)).cast(pl.Int64),
        articles=pl.Series(1 + rng.poisson(0.9, buyers.height)).cast(pl.Int64),
    )
    return pl.concat([pages, bought])


def visitors(scene: Scene) -> pl.DataFrame:
    """Visits of the shop outside any session: they belong to no message and no delivery."""
    count = max(3, scene.mailing.recipient.size // 300)
    at = scene.later(np.full(count, scene.mailing.plan.start), 20 * HOUR, 1.0)
    slot = scene.slots[1].size - len(WEB_TAGS) + scene.rng.integers(0, 3, count)
    client = scene.people.client[scene.rng.integers(0, scene.people.count, count)]
    address = scene.rng.integers(0, MACHINE_IPS, count)
    return make_rows(VISITOR, np.full(count, -1), at, slot, scene.fresh(count), client, address)
