"""Recipients as arrays: their addresses, reading habits and browser identities."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from trackkit.demo import clients
from trackkit.demo.words import COUNTRIES, DOMAINS, FIRST_NAMES, GOOGLE_PROXIED, LAST_NAMES, SCANNED, YAHOO_PROXIED

FIRST_RECIPIENT = 300_001
SEEDS = ("control.a@seed.test", "control.b@seed.test", "contrôle.c@seed.test")
NO_PROXY, GOOGLE, YAHOO, APPLE = 0, 1, 2, 3
_HEX = pl.Series([f"{value:04x}" for value in range(1 << 16)])
IP_COUNT, MACHINE_IPS = 20_000, 18_000


@dataclass(frozen=True)
class People:
    """Arrays with one entry per recipient; persons are numbers that `uuids` formats, 0 is no identity."""

    email: pl.Series
    country: np.ndarray
    email_format: np.ndarray
    hours: np.ndarray
    fondness: np.ndarray
    client: np.ndarray
    second_client: np.ndarray
    refuses: np.ndarray
    proxy: np.ndarray
    is_scanned: np.ndarray
    person: np.ndarray
    address: np.ndarray

    @property
    def count(self) -> int:
        """How many recipients."""
        return self.country.size


@dataclass
class Standing:
    """The state of recipients, which changes with deliveries: no address, denylisted, in quarantine."""

    without_address: np.ndarray
    denylisted: np.ndarray
    quarantined: np.ndarray


def make_people(count: int, seed: int) -> People:
    """Return `count` recipients; the same for the same seed."""
    rng = np.random.default_rng([seed, 1])
    domain = _zipf(rng, len(DOMAINS), count)
    country = rng.choice(len(COUNTRIES), count, p=np.array([share for _, share, _ in COUNTRIES]))
    shares = np.array([client.share for client in clients.CLIENTS])
    client, second = (rng.choice(shares.size, count, p=shares / shares.sum()) for _ in range(2))
    return People(
        email=_emails(domain),
        country=country,
        email_format=rng.choice([0, 1, 2], count, p=[0.25, 0.07, 0.68]),
        hours=np.array([hours for _, _, hours in COUNTRIES])[country],
        fondness=rng.beta(1.3, 2.4, count),
        client=client,
        second_client=second,
        refuses=rng.random(count) < 0.08,
        proxy=_proxies(rng, domain, client),
        is_scanned=_is_in(domain, SCANNED),
        person=_persons(rng, count),
        address=rng.integers(0, MACHINE_IPS, count),
    )


def make_standing(people: People, seed: int) -> Standing:
    """Return the state of recipients before the first delivery."""
    rng = np.random.default_rng([seed, 2])
    without, denylisted, quarantined = (rng.random(people.count) < share for share in (0.004, 0.02, 0.012))
    return Standing(without, denylisted, quarantined)


def uuids(persons: np.ndarray) -> pl.Series:
    """Return the identity of each person as a UUID, `""` for 0: a fixed scramble of its number."""
    high, low = _scramble(persons * np.uint64(2)), _scramble(persons * np.uint64(2) + np.uint64(1))
    high = (high & np.uint64(0xFFFFFFFFFFFF0FFF)) | np.uint64(0x4000)
    low = (low & np.uint64(0x3FFFFFFFFFFFFFFF)) | np.uint64(0x8000000000000000)
    chunks = [_chunk(word, place) for word in (high, low) for place in (3, 2, 1, 0)]
    text = pl.select(pl.format("{}{}-{}-{}-{}-{}{}{}", *map(pl.lit, chunks))).to_series()
    return text.set(pl.Series(persons == 0), "")


def hexadecimal(values: np.ndarray, width: int | None = None) -> pl.Series:
    """Return numbers in lower-case hexadecimal, `0` for 0, or padded to 8 or 16 digits.

    >>> import numpy as np
    >>> hexadecimal(np.array([0, 255, 7471011], dtype=np.uint64)).to_list()
    ['0', 'ff', '71ffa3']
    """
    values = values.astype(np.uint64)
    places = (3, 2, 1, 0) if (width or 16) > 8 else (1, 0)
    text = pl.select(pl.concat_str(*(pl.lit(_chunk(values, place)) for place in places))).to_series()
    return text if width else text.str.strip_chars_start("0").replace("", "0")


def addresses() -> pl.Series:
    """Return the network addresses that hits come from, some with a forwarded-for chain; the last are of machines."""
    plain = [f"198.18.{value >> 8 & 255}.{value & 255}" for value in range(MACHINE_IPS)]
    plain = [f"2001:db8::{place:x}" if place % 11 == 5 else text for place, text in enumerate(plain)]
    for place, text in enumerate(plain):
        if place % 13 == 3:
            plain[place] = f"{text}\t203.0.113.{place % 250}"
        elif place % 17 == 4:
            plain[place] = f"{text},203.0.113.{place % 250}, 192.0.2.7"
    return pl.Series(plain + [f"203.0.113.{place % 256}" for place in range(IP_COUNT - MACHINE_IPS)])


def _chunk(values: np.ndarray, place: int) -> pl.Series:
    return _HEX.gather(((values >> np.uint64(16 * place)) & np.uint64(0xFFFF)).astype(np.uint32))


def _scramble(values: np.ndarray) -> np.ndarray:
    """Splitmix64: neighbouring numbers give unrelated bits."""
    mixed = values.astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))


def _zipf(rng: np.random.Generator, kinds: int, count: int) -> np.ndarray:
    weights = 1 / np.arange(1, kinds + 1) ** 1.1
    return rng.choice(kinds, count, p=weights / weights.sum())


def _is_in(domain: np.ndarray, names: Sequence[str]) -> np.ndarray:
    return np.isin(domain, [DOMAINS.index(name) for name in names])


def _emails(domain: np.ndarray) -> pl.Series:
    """`first.last.number@domain`, without accents; every fiftieth in capitals, as people type them."""
    number = np.arange(domain.size)
    first = _ascii(FIRST_NAMES).gather(number * 7 % len(FIRST_NAMES))
    last = _ascii(LAST_NAMES).gather(number * 11 % len(LAST_NAMES))
    parts = (first, last, pl.Series(number), pl.Series(DOMAINS).gather(domain))
    text = pl.select(pl.format("{}.{}.{}@{}", *map(pl.lit, parts))).to_series()
    return text.str.to_uppercase().zip_with(pl.Series(number % 50 == 7), text)


def _ascii(names: Sequence[str]) -> pl.Series:
    return pl.Series(names).str.normalize("NFKD").str.replace_all(r"[^A-Za-z]", "").str.to_lowercase()


def _proxies(rng: np.random.Generator, domain: np.ndarray, client: np.ndarray) -> np.ndarray:
    """The proxy that fetches each recipient's images: the mail provider's, or Apple's privacy protection."""
    proxy = np.full(domain.size, NO_PROXY, dtype=np.int8)
    in_apple_mail = np.array([agent.is_apple_mail for agent in clients.CLIENTS])[client]
    proxy[in_apple_mail & (rng.random(domain.size) < 0.7)] = APPLE
    proxy[_is_in(domain, GOOGLE_PROXIED)] = GOOGLE
    proxy[_is_in(domain, YAHOO_PROXIED)] = YAHOO
    return proxy


def _persons(rng: np.random.Generator, count: int) -> np.ndarray:
    """A number for each recipient's browser; some households share one, so that a person may be two recipients."""
    person = np.arange(1, count + 1, dtype=np.uint64) * np.uint64(2)
    shared = np.flatnonzero(rng.random(count) < 0.03)
    shared = shared[shared > 0]
    person[shared] = person[shared - 1]
    return person
