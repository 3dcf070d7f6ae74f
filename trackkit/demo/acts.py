"""What people do beside reading mail: subscribe, unsubscribe, and visit the shop's web applications."""

from pathlib import Path

import numpy as np
import polars as pl

from trackkit.demo.people import FIRST_RECIPIENT, People, Standing, uuids
from trackkit.demo.plan import DAY, NOW, OPT_OUT
from trackkit.demo.scene import SECOND, Kind, Scene
from trackkit.demo.tables import SERVICES, instants

# The pages of each web application, and the share of visitors that leave after each page.
APPLICATIONS = {
    "Concours d'automne": (("Welcome", "Your details", "Question", "Thank you"), (0.34, 0.2, 0.12, 0.34)),
    "Preference centre": (("Sign in", "Your preferences", "Saved"), (0.22, 0.3, 0.48)),
}
LETTER_SERVICE, OFFER_SERVICE = SERVICES


def leave(scene: Scene, hits: pl.DataFrame, standing: Standing) -> pl.DataFrame:
    """Return the unsubscriptions of those who confirmed an opt-out click, and denylist them."""
    opt_outs = np.flatnonzero(scene.slots[1] == OPT_OUT)
    clicks = hits.filter((pl.col("kind") == Kind.HUMAN) & pl.col("slot").is_in(opt_outs))
    clicks = clicks.unique("message", keep="first", maintain_order=True)
    clicks = clicks.filter(pl.Series(scene.rng.random(clicks.height) < 0.8))
    recipient = scene.mailing.recipient[clicks["message"].to_numpy()]
    standing.denylisted[recipient] = True
    at = clicks["at"].to_numpy() + 40 * SECOND
    return _acts(LETTER_SERVICE, recipient, 0, at, scene.mailing.plan.delivery_id)


def write_subscriptions(folder: Path, people: People, by_delivery: list[pl.DataFrame], seed: int) -> None:
    """`subscription_history.tsv`: tabs, plain names; joins, departures, and departures caused by a delivery."""
    rng = np.random.default_rng([seed, 8])
    everyone = np.arange(people.count)
    joined = NOW - (rng.beta(1.2, 1.0, people.count) * 200 * DAY).astype(np.int64)
    leavers = everyone[rng.random(people.count) < 0.03]
    buyers = everyone[rng.random(people.count) < 0.4]
    joins = [_acts(LETTER_SERVICE, everyone, 1, joined, 0), _acts(OFFER_SERVICE, buyers, 1, joined[buyers], 0)]
    leaves = _acts(OFFER_SERVICE, leavers, 0, joined[leavers] + (NOW - joined[leavers]) // 2, 0)
    rows = pl.concat([*joins, leaves, *by_delivery])
    rows = rows.sort("date", "recipient-id", "service-id", maintain_order=True)
    rows = rows.with_columns(date=instants(rows["date"].to_numpy()))
    rows.write_csv(folder / "subscription_history.tsv", separator="\t")


def _acts(service: int, recipient: np.ndarray, action: int, at: np.ndarray, delivery: int) -> pl.DataFrame:
    return pl.select(
        pl.lit(service, pl.Int64).alias("service-id"),
        pl.Series("recipient-id", recipient + FIRST_RECIPIENT),
        pl.lit(action, pl.Int64).alias("action"),
        pl.Series("date", at),
        pl.lit(delivery, pl.Int64).alias("delivery-id"),
    )


def write_page_hits(folder: Path, people: People, deliveries: list[int], seed: int) -> int:
    """`web_page_hit.csv.gz`: tabs, SQL names. Each visitor goes on from the first page until patience ends."""
    rng = np.random.default_rng([seed, 9])
    visitors = max(30, people.count // 12)
    counts = zip(APPLICATIONS, (visitors, max(10, visitors // 3)), strict=True)
    frame = pl.concat(_walks(rng, people, deliveries, application, count) for application, count in counts)
    frame = frame.with_columns(tsLog=instants(frame["tsLog"].to_numpy()))
    frame.write_csv(folder / "web_page_hit.csv.gz", separator="\t", compression="gzip")
    return frame.height


def _walks(
    rng: np.random.Generator, people: People, deliveries: list[int], application: str, visitors: int
) -> pl.DataFrame:
    """The pages that visitors of one web application display; some start on the second, from a bookmark."""
    pages, patience = APPLICATIONS[application]
    first_page = (rng.random(visitors) < 0.04).astype(np.int64)
    shown = np.minimum(rng.choice(len(pages), visitors, p=patience) + 1, len(pages) - first_page)
    visitor = np.repeat(np.arange(visitors), shown)
    nth_page = np.arange(visitor.size) - np.repeat(np.cumsum(shown) - shown, shown)
    step = first_page[visitor] + nth_page
    start = NOW - (rng.random(visitors) * 45 * DAY).astype(np.int64)
    # Half come by a link of a delivery and are known; the others are unknown, with a cookie of their own.
    is_known = rng.random(visitors) < 0.5
    number = rng.integers(0, people.count, visitors)
    person = np.where(is_known, people.person[number], rng.integers(1 << 59, 1 << 60, visitors, dtype=np.uint64))
    return pl.select(
        tsLog=pl.Series(np.minimum(start[visitor] + nth_page * 35 * SECOND, NOW)),
        sWebAppName=pl.lit(application),
        sPageName=pl.Series(pages).gather(step),
        iStep=pl.Series(step + 1),
        sSourceId=uuids(person)[visitor],
        iRecipientId=pl.Series(np.where(is_known, number + FIRST_RECIPIENT, 0)[visitor]),
        iDeliveryId=pl.Series(np.where(is_known, rng.choice(deliveries, visitors), 0)[visitor]),
        iOptOut=_choices(rng, visitor, nth_page, visitors),
    )


def _choices(rng: np.random.Generator, visitor: np.ndarray, nth_page: np.ndarray, visitors: int) -> pl.Series:
    """The opt-out cookie at each page: some choose in the banner of the first page, most never do."""
    choice = rng.choice(3, visitors, p=[0.6, 0.32, 0.08])
    decided = nth_page >= rng.integers(0, 2, visitors)[visitor]
    return pl.Series([None, 0, 1], dtype=pl.Int64).gather(np.where(decided, choice[visitor], 0))
