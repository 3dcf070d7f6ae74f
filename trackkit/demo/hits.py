"""The hits of one delivery: people read, click and forward, machines open and click; each hit has its true kind."""

import numpy as np
import polars as pl

from trackkit.demo import clients
from trackkit.demo.people import APPLE, GOOGLE, IP_COUNT, MACHINE_IPS, YAHOO
from trackkit.demo.plan import HOUR, NOW
from trackkit.demo.scene import MINUTE, OPENED, SCHEMA, SECOND, Kind, Scene, make_rows
from trackkit.demo.web import shared_pages, visitors, web_hits


def make_hits(scene: Scene) -> pl.DataFrame:
    """Return every hit up to the demo's "now", in order of time; none for a delivery that nobody read."""
    role = scene.mailing.plan.role
    if role in ("silent", "model"):
        return pl.DataFrame(schema=SCHEMA)
    clicks = [scanner_clicks(scene)]
    if role == "proof":
        opens, clicks = [], [control_hits(scene, Kind.PROOF)]
    else:
        readers, first = _readers(scene)
        opens = [people_opens(scene, readers, first), prefetched_opens(scene)]
        clicks += [
            people_clicks(scene, readers, first),
            forwards(scene, readers, first),
            control_hits(scene, Kind.SEED),
        ]
    hits = pl.concat([*opens, *clicks])
    hits = pl.concat([hits, web_hits(scene, hits), visitors(scene, hits), shared_pages(scene, hits)])
    hits = hits.with_columns(pl.col("at") // 10 * 10)
    hits = with_repeats(scene, hits).filter(
        (pl.col("at") <= NOW) & ((pl.col("at") >= scene.table_only) | ~pl.col("is_repeat"))
    )
    return hits.sort("at", "message", "slot", "person", maintain_order=True)


def _readers(scene: Scene) -> tuple[np.ndarray, np.ndarray]:
    """Messages that are read, and when first, including text messages, whose opens are invisible."""
    mailing = scene.mailing
    delivered = np.flatnonzero(mailing.is_read & (mailing.recipient >= 0))
    recipient = mailing.recipient[delivered]
    interest = {"offer": 0.8, "hostile": 0.75, "text": 0.8}.get(mailing.plan.role, 1.0)
    is_read = scene.rng.random(delivered.size) < scene.people.fondness[recipient] * interest
    readers, recipient = delivered[is_read], recipient[is_read]
    return readers, scene.later(mailing.sent_at[readers], 3.2 * HOUR, 1.5, scene.people.hours[recipient])


def people_opens(scene: Scene, readers: np.ndarray, first: np.ndarray) -> pl.DataFrame:
    """Opens by people: in their own client, or through the proxy of their mail provider."""
    people, rng = scene.people, scene.rng
    recipient = scene.mailing.recipient[readers]
    # Apple's protection shows the prefetched picture, so that most own opens of its users leave no trace.
    is_seen = ~scene.mailing.is_text[readers] & ((people.proxy[recipient] != APPLE) | (rng.random(readers.size) < 0.2))
    readers, first = readers[is_seen], first[is_seen]
    reopened = np.repeat(np.arange(readers.size), rng.poisson(0.7, readers.size))
    message = np.concatenate([readers, readers[reopened]])
    recipient = scene.mailing.recipient[message]
    at = np.concatenate([first, scene.later(first[reopened], 20 * HOUR, 1.4, people.hours[recipient[readers.size :]])])
    return _opens_as(scene, message, recipient, at)


def _opens_as(scene: Scene, message: np.ndarray, recipient: np.ndarray, at: np.ndarray) -> pl.DataFrame:
    people, rng = scene.people, scene.rng
    proxy = people.proxy[recipient]
    is_proxied = np.isin(proxy, (GOOGLE, YAHOO))
    on_second_device = rng.random(message.size) < 0.18
    client = np.where(on_second_device, people.second_client[recipient], people.client[recipient])
    client[proxy == GOOGLE], client[proxy == YAHOO] = clients.GOOGLE, clients.YAHOO
    if scene.mailing.plan.role == "hostile":
        is_hostile = ~is_proxied & (rng.random(message.size) < 0.05)
        client[is_hostile] = clients.HOSTILE + np.arange(is_hostile.sum()) % 2
    has_cookie = (rng.random(message.size) < 0.5) & ~is_proxied & ~people.refuses[recipient]
    person = np.where(has_cookie, people.person[recipient] + on_second_device.astype(np.uint64), 0).astype(np.uint64)
    refused = people.refuses[recipient] & ~is_proxied & (rng.random(message.size) < 0.4)
    person[refused] = scene.fresh(int(refused.sum()))
    address = np.where(is_proxied, MACHINE_IPS + recipient % 400, people.address[recipient])
    return make_rows(np.where(is_proxied, Kind.PROXY_OPEN, Kind.HUMAN), message, at, OPENED, person, client, address)


def people_clicks(scene: Scene, readers: np.ndarray, first: np.ndarray) -> pl.DataFrame:
    """Clicks by people, seconds after reading; those who refuse cookies get a new identity with each click."""
    people, rng, plan = scene.people, scene.rng, scene.mailing.plan
    share = {"offer": 0.22, "hostile": 0.22}.get(plan.role, 0.26)
    has_clicked = rng.random(readers.size) < np.where(scene.mailing.is_text[readers], 0.12, share)
    readers, first = readers[has_clicked], first[has_clicked]
    turn = np.repeat(np.arange(readers.size), 1 + rng.poisson(1.1, readers.size))
    message = readers[turn]
    recipient = scene.mailing.recipient[message]
    at = first[turn] + (rng.exponential(90, turn.size) * SECOND).astype(np.int64) + 4 * SECOND
    on_second_device = (rng.random(readers.size) < 0.12)[turn]
    person = people.person[recipient] + on_second_device.astype(np.uint64)
    refused = people.refuses[recipient]
    person[refused] = scene.fresh(int(refused.sum()))
    client = np.where(on_second_device, people.second_client[recipient], people.client[recipient])
    client = np.array(clients.CLICK_CLIENTS)[client]
    return make_rows(Kind.HUMAN, message, at, scene.links(message.size), person, client, people.address[recipient])


def forwards(scene: Scene, readers: np.ndarray, first: np.ndarray) -> pl.DataFrame:
    """Forwarded messages: another browser opens the message and may click, under the same message id."""
    rng = scene.rng
    is_forwarded = rng.random(readers.size) < np.where(scene.mailing.is_text[readers], 0, 0.03)
    readers = readers[is_forwarded]
    at = scene.later(first[is_forwarded], 5 * HOUR, 1.2)
    person, address = scene.fresh(readers.size), rng.integers(0, MACHINE_IPS, readers.size)
    client = scene.people.client[rng.integers(0, scene.people.count, readers.size)]
    turn = np.repeat(np.arange(readers.size), rng.choice([0, 1, 2, 3], readers.size, p=[0.5, 0.2, 0.2, 0.1]))
    wait = (rng.uniform(5, 300, turn.size) * SECOND).astype(np.int64)
    opens = make_rows(Kind.FORWARD, readers, at, OPENED, person, client, address)
    slots, browser = scene.links(turn.size), np.array(clients.CLICK_CLIENTS)[client[turn]]
    clicks = make_rows(Kind.FORWARD, readers[turn], at[turn] + wait, slots, person[turn], browser, address[turn])
    return pl.concat([opens, clicks])


def prefetched_opens(scene: Scene) -> pl.DataFrame:
    """Opens by machines: Apple's prefetch within hours of sending, Google's within seconds."""
    mailing, people = scene.mailing, scene.people
    html = np.flatnonzero(mailing.is_read & ~mailing.is_text & (mailing.recipient >= 0))
    proxy = people.proxy[mailing.recipient[html]]
    apple = scene.choose(0.85, html[proxy == APPLE])
    google = scene.choose(0.03, html[proxy == GOOGLE])
    message = np.concatenate([apple, google])
    hours, seconds = scene.rng.lognormal(np.log(40 * MINUTE), 1.2, apple.size), scene.rng.uniform(1, 6, google.size)
    delay = np.concatenate([hours, seconds * SECOND])
    client = np.repeat([clients.APPLE, clients.PREFETCH], [apple.size, google.size])
    address = MACHINE_IPS + 400 + mailing.recipient[message] % 600
    return make_rows(
        Kind.PREFETCH, message, mailing.sent_at[message] + delay.astype(np.int64), OPENED, 0, client, address
    )


def scanner_clicks(scene: Scene) -> pl.DataFrame:
    """Security gateways click every link seconds after delivery, with no cookie or a new one for each click."""
    mailing, rng = scene.mailing, scene.rng
    delivered = np.flatnonzero(mailing.is_read & (mailing.recipient >= 0))
    scanned = scene.choose(0.08, delivered[scene.people.is_scanned[mailing.recipient[delivered]]])
    links = len(mailing.plan.links)
    turn = np.repeat(np.arange(scanned.size), links)
    at = (mailing.sent_at[scanned] + rng.uniform(1, 25, scanned.size) * SECOND)[turn]
    at = (at + np.tile(np.arange(links), scanned.size) * 150 + rng.uniform(0, 100, turn.size)).astype(np.int64)
    person = np.where((rng.random(scanned.size) < 0.5)[turn], scene.fresh(turn.size), 0).astype(np.uint64)
    client = clients.SCANNER + rng.choice(3, scanned.size, p=[0.6, 0.25, 0.15])[turn]
    address = (IP_COUNT - 40 + rng.integers(0, 40, scanned.size))[turn]
    slot = np.tile(np.arange(1, links + 1), scanned.size)
    return make_rows(Kind.SCANNER, scanned[turn], at, slot, person, client, address)


def control_hits(scene: Scene, kind: int) -> pl.DataFrame:
    """The team reads its control addresses and proofs: an open and two clicks each."""
    mailing = scene.mailing
    message = np.flatnonzero((mailing.recipient < 0) & mailing.is_read)
    at = mailing.sent_at[message] + (scene.rng.uniform(1, 20, message.size) * MINUTE).astype(np.int64)
    person = np.arange(1, message.size + 1, dtype=np.uint64) + np.uint64(1 << 60)
    html = ~mailing.is_text[message]
    opens = make_rows(kind, message[html], at[html], OPENED, person[html], 30, 3)
    turn = np.repeat(np.arange(message.size), 2)
    wait = (scene.rng.uniform(5, 90, turn.size) * SECOND).astype(np.int64)
    return pl.concat(
        [opens, make_rows(kind, message[turn], at[turn] + wait, scene.links(turn.size), person[turn], 30, 3)]
    )


def with_repeats(scene: Scene, hits: pl.DataFrame) -> pl.DataFrame:
    """Add repeated opens within a minute, which count once, and some just beyond it, which count again.

    Other opens of a message are kept three minutes apart, so that it is known which ones collapse: a repeat 5 to 50 s
    after its open does; one 70 s after it counts, even 40 s after a repeat that collapsed.
    """
    is_open = pl.col("slot") == OPENED
    opens = hits.filter(is_open).sort("message", "at", maintain_order=True)
    opens = opens.filter(((pl.col("at").diff() > 3 * MINUTE) | (pl.col("message").diff() != 0)).fill_null(True))
    dice = scene.rng.random(opens.height)
    repeats = _shifted(scene, opens.filter(pl.Series(dice < 0.04)), (5, 50), True)
    chain_starts = opens.filter(pl.Series(dice > 0.985))
    chains = [_shifted(scene, chain_starts, (30, 45), True), _shifted(scene, chain_starts, (70, 75), False)]
    return pl.concat([hits.filter(~is_open), opens, repeats, *chains])


def _shifted(scene: Scene, opens: pl.DataFrame, seconds: tuple[int, int], repeat: bool) -> pl.DataFrame:
    wait = pl.Series(scene.rng.uniform(*seconds, opens.height) * 100).cast(pl.Int64) * 10
    return opens.with_columns(at=pl.col("at") + wait, is_repeat=pl.lit(repeat))
