"""What people do beside their mail: subscribe and leave, and walk through the shop's web application."""

from pathlib import Path

import numpy as np
import polars as pl

from trackkit.demo.people import FIRST_RECIPIENT, People, Standing, uuids
from trackkit.demo.plan import DAY, NOW, OPT_OUT
from trackkit.demo.scene import SECOND, Kind, Scene
from trackkit.demo.tables import SERVICES, instants

# Each web application with its pages, and how far visitors walk on it.
APPLICATIONS = {
    "Concours d'automne": (("Welcome", "Your details", "Question", "Thank you"), (0.34, 0.2, 0.12, 0.34)),
    "Preference centre": (("Sign in", "Your preferences", "Saved"), (0.22, 0.3, 0.48)),
}
LETTER_SERVICE, OFFER_SERVICE = SERVICES


def leave(scene: Scene, hits: pl.DataFrame, standing: Standing) -> pl.DataFrame:
    """Return the (un)subscription rows of those who confirmed an opt-out click; they are denylisted from then on."""
    opt_outs = np.flatnonzero(scene.slots[1] == OPT_OUT)
    clicks = hits.filter((pl.col("kind") == Kind.HUMAN) & pl.col("slot").is_in(opt_outs))
    clicks = clicks.unique("message", keep="first", maintain_order=True)
    clicks = clicks.filter(pl.Series(scene.rng.random(clicks.height) < 0.8))
    recipient = scene.mailing.recipient[clicks["message"].to_numpy()]
    standing.denylisted[recipient] = True
    at = clicks["at"].to_numpy() + 40 * SECOND
    return _acts(LETTER_SERVICE, recipient, 0, at, scene.mailing.plan.delivery_id)


def write_subscriptions(folder: Path, people: People, left: list[pl.DataFrame], seed: int) -> None:
    """`subscription_history.tsv`: tabs, plain names; arrivals, departures, and those that a delivery led to."""
    rng = np.random.default_rng([seed, 8])
    everyone = np.arange(people.count)
    joined = NOW - (rng.beta(1.2, 1.0, people.count) * 200 * DAY).astype(np.int64)
    gone = everyone[rng.random(people.count) < 0.03]
    buyers = everyone[rng.random(people.count) < 0.4]
    came = [_acts(LETTER_SERVICE, everyone, 1, joined, 0), _acts(OFFER_SERVICE, buyers, 1, joined[buyers], 0)]
    went = _acts(OFFER_SERVICE, gone, 0, joined[gone] + (NOW - joined[gone]) // 2, 0)
    rows = pl.concat([*came, went, *left])
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
    """`web_page_hit.csv.gz`: tabs, SQL names. Each visitor walks from the first page as far as patience goes."""
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
    """The pages that visitors of one web application display; some come in by the second, from a bookmark."""
    pages, patience = APPLICATIONS[application]
    begun = (rng.random(visitors) < 0.04).astype(np.int64)
    shown = np.minimum(rng.choice(len(pages), visitors, p=patience) + 1, len(pages) - begun)
    turn = np.repeat(np.arange(visitors), shown)
    nth = np.arange(turn.size) - np.repeat(np.cumsum(shown) - shown, shown)
    step = begun[turn] + nth
    start = NOW - (rng.random(visitors) * 45 * DAY).astype(np.int64)
    # Half come by a link of a delivery and are known; the others are nobody's, with a cookie of their own.
    known = rng.random(visitors) < 0.5
    number = rng.integers(0, people.count, visitors)
    person = np.where(known, people.person[number], rng.integers(1 << 59, 1 << 60, visitors, dtype=np.uint64))
    return pl.select(
        tsLog=pl.Series(np.minimum(start[turn] + nth * 35 * SECOND, NOW)),
        sWebAppName=pl.lit(application),
        sPageName=pl.Series(pages).gather(step),
        iStep=pl.Series(step + 1),
        sSourceId=uuids(person)[turn],
        iRecipientId=pl.Series(np.where(known, number + FIRST_RECIPIENT, 0)[turn]),
        iDeliveryId=pl.Series(np.where(known, rng.choice(deliveries, visitors), 0)[turn]),
        iOptOut=_choices(rng, turn, nth, visitors),
    )


def _choices(rng: np.random.Generator, turn: np.ndarray, nth: np.ndarray, visitors: int) -> pl.Series:
    """What the opt-out cookie says at each page: some choose in the banner of the first page, most never."""
    choice = rng.choice(3, visitors, p=[0.6, 0.32, 0.08])
    decided = nth >= rng.integers(0, 2, visitors)[turn]
    return pl.Series([None, 0, 1], dtype=pl.Int64).gather(np.where(decided, choice[turn], 0))
