"""What is sent and when: every delivery of the demo with its role, theme and tracked links."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np

from trackkit.demo.words import HOSTILE, LETTERS, NETWORKS, OFFERS, SILENT, SITE, Motif

HOUR, DAY = 3_600_000, 86_400_000
NOW = int(datetime(2026, 11, 15, 20, tzinfo=UTC).timestamp()) * 1000  # the demo's "now": a constant, never the clock
FIRST = NOW - 70 * DAY
LETTER, OFFER = 11, 12  # the two typologies
OPEN_ID = 1
PERSONAL = f"{SITE}/account?hello=<%= escapeUrl(recipient.firstName) %>"
CLICK, OPEN, OPT_OUT, WEB, TRANSACTION, MIRROR = 1, 2, 3, 4, 5, 6
# link_id, type, label, category, tag: rows shared by all deliveries
WEB_TAGS = (
    (21, WEB, "Shop home", "web", "home"),
    (22, WEB, "Product page", "web", "product"),
    (23, WEB, "Basket", "web", "basket"),
    (25, WEB, "Shared on Facebook", "facebook", "facebook"),
    (26, WEB, "Shared on Twitter", "twitter", "twitter"),
    (24, TRANSACTION, "Order confirmed", "order", "order"),
)


@dataclass(frozen=True)
class TrackedLink:
    """One tracked link of a delivery; `weight` is its share of people's clicks."""

    link_id: int
    type_code: int
    label: str
    category: str
    url: str
    occurrence: int
    weight: float


@dataclass(frozen=True)
class Plan:
    """One delivery to generate: `role` says what is special about it, `share` the part of all recipients targeted."""

    number: int
    delivery_id: int
    role: str
    theme: Motif
    label: str
    start: int
    typology: int
    share: float
    links: tuple[TrackedLink, ...]

    @property
    def is_real(self) -> bool:
        """Whether it is sent to the public: neither a proof nor a template."""
        return self.role not in ("proof", "model")


def plan_deliveries(deliveries: int, seed: int) -> list[Plan]:
    """Return the plans in order of time: `deliveries` real ones, two proofs and a template around them."""
    offers = deliveries // 3
    letters = deliveries - offers
    drafts = _letters(letters) + _offers(offers)
    tested = [drafts[letters // 2], drafts[-1]]
    for _, theme, label, start, typology, _ in tested:
        drafts.append(("proof", theme, f"PROOF of {label}", start - DAY, typology, 0.0))
    drafts.append(("model", LETTERS[0], "Template of the weekly letter", FIRST, LETTER, 0.0))
    drafts.sort(key=lambda draft: (draft[3], draft[0]))
    return [_plan(number, draft, seed) for number, draft in enumerate(drafts)]


def table_window(plans: Sequence[Plan]) -> tuple[int, int]:
    """Return two instants: hits before the first are only in the table export, those until the second are in both."""
    first = min(plan.start for plan in plans if plan.is_real)
    return first + min(12 * HOUR, (NOW - first) // 40), first + (NOW - first) * 3 // 10


Draft = tuple[str, Motif, str, int, int, float]


def _letters(count: int) -> list[Draft]:
    """Weekly on Sunday evenings, the latest still running; more than ten share ten weeks, in Zipf sizes."""
    step = 7 * DAY if count <= 10 else 63 * DAY // (count - 1)
    shares = _sizes(count, 10, 0.75)
    last = NOW - 3 * HOUR - (count == 1) * 7 * DAY
    drafts = []
    for place in range(count):
        theme, start = LETTERS[place % len(LETTERS)], last - (count - 1 - place) * step
        label = _numbered(theme, place, len(LETTERS))
        drafts.append((_letter_role(place, count), theme, label, start, LETTER, shares[place]))
    return drafts


def _letter_role(place: int, count: int) -> str:
    if place == count - 1 and count > 1:
        return "running"
    return "text" if place == 1 else "letter"


def _offers(count: int) -> list[Draft]:
    roles = _offer_roles(count)
    shares = _sizes(count, 9, 0.55)
    first, last = NOW - 68 * DAY - 8 * HOUR, NOW - 29 * HOUR
    themes = {"hostile": HOSTILE, "silent": SILENT}
    drafts, plain = [], count - sum(role in themes for role in roles)
    for place, role in enumerate(roles):
        turn = max(0, place - (count - plain))  # the first ones may have special roles
        theme = themes.get(role, OFFERS[turn % len(OFFERS)])
        label = theme.label if role in themes else _numbered(theme, turn, len(OFFERS))
        start = last - (count - 1 - place) * (last - first) // max(count - 1, 1)
        share = 0.02 if role == "silent" else shares[place]
        drafts.append((role, theme, label, start, OFFER, share))
    return drafts


def _offer_roles(count: int) -> Sequence[str]:
    special = {0: (), 1: ("offer",), 2: ("offer", "paused"), 3: ("hostile", "offer", "paused")}
    return special.get(count) or ("hostile", "silent", *["offer"] * (count - 3), "paused") if count else ()


def _sizes(count: int, weeks: int, largest: float) -> list[float]:
    """Shares of all recipients: equal for one delivery a week, Zipf within a week if there are more."""
    weekly = max(1, count // weeks)
    return [largest / (1 + place * 7 % weekly) ** 0.45 for place in range(count)]


def _numbered(theme: Motif, place: int, themes: int) -> str:
    return theme.label if place < themes else f"{theme.label} ({place // themes + 1})"


def _plan(number: int, draft: Draft, seed: int) -> Plan:
    role, theme, label, start, typology, share = draft
    rng = np.random.default_rng([seed, 7, number])
    links = tuple(_links(theme, role, 7_480_000 + number * 40, rng))
    return Plan(number, 7_471_011 + number * 37, role, theme, label, start, typology, share, links)


def _links(theme: Motif, role: str, first_id: int, rng: np.random.Generator) -> list[TrackedLink]:
    """The tracked links: one URL twice (occurrence 2), one label on two URLs, one personalised URL, shares, service."""
    hero, shelf = f"{SITE}/stories/{first_id % 977}", f"{SITE}/shelf?from=mail&week={first_id % 53}"
    products = zip(range(4), theme.products, (0.16, 0.11, 0.07, 0.05), strict=True)
    networks = list(NETWORKS.items())[: 7 if role == "offer" else 4]
    rows = [
        (CLICK, theme.title, "story", hero, 1, 0.22),
        (CLICK, theme.title, "story", hero, 2, 0.09),
        *((CLICK, name, "product", f"{SITE}/p/{first_id + place}", 1, weight) for place, name, weight in products),
        (CLICK, "See the collection", "collection", shelf, 1, 0.08),
        (CLICK, "See the collection", "collection", f"{SITE}/collections/new", 1, 0.06),
        (CLICK, "Your account, déjà vu", "account", PERSONAL, 1, 0.04),
        *((CLICK, f"Share: {name}", name, f"https://{name}.example/share?u={first_id}", 1, w) for name, w in networks),
        (OPT_OUT, "Unsubscribe", "service", f"{SITE}/unsubscribe", 1, 0.012),
        (MIRROR, "Mirror page", "service", f"{SITE}/mirror", 1, 0.03),
    ]
    mood = rng.uniform(0.6, 1.6, len(rows))
    return [TrackedLink(first_id + place, *row[:5], row[5] * mood[place]) for place, row in enumerate(rows)]
