"""What people do beside their mail: subscribe and leave, and walk through the shop's web application."""

from pathlib import Path

import numpy as np
import polars as pl

from trackkit.demo.people import FIRST_RECIPIENT, People, Standing, uuids
from trackkit.demo.plan import DAY, NOW, OPT_OUT
from trackkit.demo.scene import HUMAN, SECOND, Scene
from trackkit.demo.tables import SERVICES, instants

PAGES = ("Welcome", "Your details", "Question", "Thank you")
APPLICATION = "Concours d'automne"
LETTER_SERVICE, OFFER_SERVICE = SERVICES


def leave(scene: Scene, hits: pl.DataFrame, standing: Standing) -> pl.DataFrame:
    """Return the (un)subscription rows of those who confirmed an opt-out click; they are denylisted from then on."""
    opt_outs = np.flatnonzero(scene.slots[1] == OPT_OUT)
    clicks = hits.filter((pl.col("kind") == HUMAN) & pl.col("slot").is_in(opt_outs))
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
    rows = pl.concat([
        _acts(LETTER_SERVICE, everyone, 1, joined, 0),
        _acts(OFFER_SERVICE, buyers, 1, joined[buyers], 0),
        _acts(OFFER_SERVICE, gone, 0, joined[gone] + (NOW - joined[gone]) // 2, 0),
        *left,
    ])  # fmt: skip
    rows = rows.sort("date", "recipient-id", "service-id", maintain_order=True)
    rows = rows.with_columns(date=instants(rows["date"].to_numpy()))
    rows.write_csv(folder / "subscription_history.tsv", separator="\t")


def _acts(service: int, recipient: np.ndarray, action: int, at: np.ndarray, delivery: int) -> pl.DataFrame:
    return pl.DataFrame({
        "service-id": np.full(recipient.size, service), "recipient-id": recipient + FIRST_RECIPIENT,
        "action": np.full(recipient.size, action), "date": at, "delivery-id": np.full(recipient.size, delivery),
    }).cast(pl.Int64)  # fmt: skip


def write_page_hits(folder: Path, people: People, deliveries: list[int], seed: int) -> int:
    """`web_page_hit.csv.gz`: tabs, SQL names. Each visitor walks from the first page as far as patience goes."""
    rng = np.random.default_rng([seed, 9])
    visitors = max(30, people.count // 12)
    reached = rng.choice([1, 2, 3, 4], visitors, p=[0.34, 0.2, 0.12, 0.34])
    turn = np.repeat(np.arange(visitors), reached)
    step = np.arange(turn.size) - np.repeat(np.cumsum(reached) - reached, reached)
    start = NOW - (rng.random(visitors) * 45 * DAY).astype(np.int64)
    known = rng.random(visitors) < 0.5
    recipient = np.where(known, rng.integers(0, people.count, visitors) + FIRST_RECIPIENT, 0)
    source = np.where(known, rng.choice(deliveries, visitors), 0)
    consent = pl.Series([None, 0, 1], dtype=pl.Int64).gather(rng.choice(3, visitors, p=[0.6, 0.33, 0.07])[turn])
    frame = pl.DataFrame({
        "tsLog": instants(np.minimum((start[turn] + step * 35 * SECOND), NOW)),
        "sWebAppName": pl.Series([APPLICATION]).gather(np.zeros(turn.size, dtype=np.uint32)),
        "sPageName": pl.Series(PAGES).gather(step), "iStep": step + 1,
        "sSourceId": uuids(rng.integers(1 << 59, 1 << 60, visitors, dtype=np.uint64))[turn],
        "iRecipientId": recipient[turn], "iDeliveryId": source[turn], "iOptOut": consent,
    })  # fmt: skip
    frame.write_csv(folder / "web_page_hit.csv.gz", separator="\t", compression="gzip")
    return frame.height
