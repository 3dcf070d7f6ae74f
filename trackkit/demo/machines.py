"""Hits without a person behind them: pictures fetched ahead, links clicked by security gateways."""

import numpy as np
import polars as pl

from trackkit.demo import clients
from trackkit.demo.people import APPLE, GOOGLE, IP_COUNT, MACHINE_IPS
from trackkit.demo.scene import MINUTE, OPENED, PREFETCH, SCANNED, SECOND, Scene, make_rows


def prefetched_opens(scene: Scene) -> pl.DataFrame:
    """Opens without a person: Apple's prefetch within hours of sending, Google's within seconds."""
    mailing, people = scene.mailing, scene.people
    html = np.flatnonzero(mailing.is_read & ~mailing.is_text & (mailing.recipient >= 0))
    proxy = people.proxy[mailing.recipient[html]]
    apple = scene.choose(0.85, html[proxy == APPLE])
    google = scene.choose(0.03, html[proxy == GOOGLE])
    message = np.concatenate([apple, google])
    delay = np.concatenate([
        scene.rng.lognormal(np.log(40 * MINUTE), 1.2, apple.size), scene.rng.uniform(1, 6, google.size) * SECOND,
    ])  # fmt: skip
    client = np.repeat([clients.APPLE, clients.PREFETCH], [apple.size, google.size])
    address = MACHINE_IPS + 400 + mailing.recipient[message] % 600
    return make_rows(PREFETCH, message, mailing.sent_at[message] + delay.astype(np.int64), OPENED, 0, client, address)


def scanner_clicks(scene: Scene) -> pl.DataFrame:
    """Security gateways click every link seconds after delivery and keep no cookie: none, or a new one per click."""
    mailing, rng = scene.mailing, scene.rng
    public = np.flatnonzero(mailing.is_read & (mailing.recipient >= 0))
    checked = scene.choose(0.08, public[scene.people.is_scanned[mailing.recipient[public]]])
    links = len(mailing.plan.links)
    turn = np.repeat(np.arange(checked.size), links)
    at = (mailing.sent_at[checked] + rng.uniform(1, 25, checked.size) * SECOND)[turn]
    at = (at + np.tile(np.arange(links), checked.size) * 150 + rng.uniform(0, 100, turn.size)).astype(np.int64)
    person = np.where((rng.random(checked.size) < 0.5)[turn], scene.fresh(turn.size), 0).astype(np.uint64)
    client = clients.SCANNER + rng.choice(3, checked.size, p=[0.6, 0.25, 0.15])[turn]
    address = (IP_COUNT - 40 + rng.integers(0, 40, checked.size))[turn]
    slot = np.tile(np.arange(1, links + 1), checked.size)
    return make_rows(SCANNED, checked[turn], at, slot, person, client, address)
