"""Hits on the shop's pages: visits and purchases that follow a click, and visits outside any session.

The latter are by people who come back another day after a click, who came before their first click, who came by a page
that names the delivery, with whom a reader shared the message, or who are unknown.
"""

import numpy as np
import polars as pl

from trackkit.demo.people import MACHINE_IPS
from trackkit.demo.plan import CLICK, DAY, HOUR, WEB_TAGS
from trackkit.demo.scene import SECOND, Kind, Scene, make_rows
from trackkit.demo.words import NETWORKS


def web_hits(scene: Scene, hits: pl.DataFrame) -> pl.DataFrame:
    """Pages of the shop that people display in the session of their click, and their purchases."""
    rng, (_, types) = scene.rng, scene.slots
    by_people = pl.col("kind").is_in([Kind.HUMAN, Kind.FORWARD])
    clicks = hits.filter(by_people & pl.col("slot").is_in(np.flatnonzero(types == CLICK)))
    visits = clicks.filter(pl.Series(rng.random(clicks.height) < 0.3))
    pages = visits[np.repeat(np.arange(visits.height), 1 + rng.poisson(1.2, visits.height))]
    pages = pages.with_columns(
        at=pl.col("at") + pl.Series(rng.uniform(3, 400, pages.height) * SECOND).cast(pl.Int64),
        slot=pl.Series(scene.first_tag + rng.choice(3, pages.height, p=[0.35, 0.5, 0.15])).cast(pl.Int16),
    )
    return pl.concat([pages, _bought(scene, visits, 0.2)])


def _bought(scene: Scene, visits: pl.DataFrame, share: float) -> pl.DataFrame:
    """The purchases at the end of some visits, minutes later."""
    rng = scene.rng
    buyers = visits.filter(pl.Series(rng.random(visits.height) < share))
    return buyers.with_columns(
        at=pl.col("at") + pl.Series(rng.uniform(410, 1500, buyers.height) * SECOND).cast(pl.Int64),
        slot=pl.lit(scene.slots[1].size - 1, pl.Int16),
        cents=pl.Series(rng.lognormal(np.log(3900), 0.7, buyers.height)).cast(pl.Int64),
        articles=pl.Series(1 + rng.poisson(0.9, buyers.height)).cast(pl.Int64),
    )


def visitors(scene: Scene, hits: pl.DataFrame) -> pl.DataFrame:
    """Visits of the shop outside any session: they belong to no message, and only a few to a delivery."""
    clicks = hits.filter((pl.col("kind") == Kind.HUMAN) & (pl.col("slot") > 0)).unique(
        "person", keep="first", maintain_order=True
    )
    recipient = scene.mailing.recipient[clicks["message"].to_numpy()]
    # People who refuse cookies have another identity when they come back.
    known = clicks.filter(pl.Series(~scene.people.refuses[recipient]))
    later = _outside(scene, known, 0.14, scene.rng.uniform(0.6, 6, known.height) * DAY)
    before = _outside(scene, known, 0.04, scene.rng.uniform(-30, -2, known.height) * HOUR)
    unknown = _unknown(scene)
    named = unknown.filter(pl.Series(scene.rng.random(unknown.height) < 0.3 * scene.mailing.plan.is_real))
    named = named.with_columns(pl.col("at") + 7 * HOUR, person=pl.Series(scene.fresh(named.height)), is_named=True)
    return pl.concat([later, _bought(scene, later, 0.25), before, unknown, named])


def shared_pages(scene: Scene, hits: pl.DataFrame) -> pl.DataFrame:
    """Pages displayed by strangers because a reader shared the message; the page names the delivery."""
    rng, links = scene.rng, scene.mailing.plan.links
    page_of = {
        category: scene.first_tag + place for place, (*_, category, _) in enumerate(WEB_TAGS) if category in NETWORKS
    }
    pages = {slot: page_of[link.category] for slot, link in enumerate(links, 1) if link.category in page_of}
    shares = hits.filter((pl.col("kind") == Kind.HUMAN) & pl.col("slot").is_in(list(pages)))
    seen = shares[np.repeat(np.arange(shares.height), rng.poisson(1.6, shares.height))]
    at = scene.later(seen["at"].to_numpy(), 6 * HOUR, 1.2)
    slot = np.array([pages[place] for place in seen["slot"]], dtype=np.int16)
    client, address = rng.integers(0, scene.people.count, seen.height), rng.integers(0, MACHINE_IPS, seen.height)
    strangers = make_rows(
        Kind.VISITOR, np.full(seen.height, -1), at, slot, scene.fresh(seen.height), scene.people.client[client], address
    )
    return strangers.with_columns(is_named=pl.lit(True))


def _outside(scene: Scene, clicks: pl.DataFrame, share: float, after: np.ndarray) -> pl.DataFrame:
    """A page displayed by some of those who clicked, some time after the click or before it."""
    rng = scene.rng
    moved = clicks.with_columns(
        at=pl.col("at") + pl.Series(after).cast(pl.Int64),
        message=pl.lit(-1, pl.Int64),
        kind=pl.lit(Kind.VISITOR, pl.Int8),
        slot=pl.Series(scene.first_tag + rng.choice(3, clicks.height, p=[0.5, 0.35, 0.15])).cast(pl.Int16),
    )
    return moved.filter(pl.Series(rng.random(clicks.height) < share))


def _unknown(scene: Scene) -> pl.DataFrame:
    """Visits by people who have never clicked in a message."""
    count = max(3, scene.mailing.recipient.size // 300)
    at = scene.later(np.full(count, scene.mailing.plan.start), 20 * HOUR, 1.0)
    slot = scene.first_tag + scene.rng.integers(0, 3, count)
    client = scene.people.client[scene.rng.integers(0, scene.people.count, count)]
    address = scene.rng.integers(0, MACHINE_IPS, count)
    return make_rows(Kind.VISITOR, np.full(count, -1), at, slot, scene.fresh(count), client, address)
