"""Random enriched tables with all that is awkward in one delivery, for comparison with a second implementation."""

import random
from datetime import UTC, datetime, timedelta

from tests.spec.golden import tables
from trackkit import schema
from trackkit.engine.snapshot import Snapshot

LAUNCH = datetime(2026, 10, 24, 21, 7, 13, 250_000, tzinfo=UTC)  # the clocks of Paris go back the night after
LABELS, URLS = (
    ("Home", "home", "Home ", "Été 🌞", "", None),
    ("https://a.example/?x=1&y=2", "https://b.example/", "", None),
)
CATEGORIES, TYPES = ("shop", "Shop", "", None), (1, 1, 1, 3, 4, 5, 6, 10, None)


def randomised(seed: int, events: int = 600) -> Snapshot:
    """Deliveries 7 (asked about) and 8 (noise), links of every type, hits of seeds, undated, early and unknown ones."""
    chance = random.Random(seed)
    links = [
        {"link_id": str(10 + number), "delivery_id": "7", "type_code": chance.choice(TYPES),
         "label": chance.choice(LABELS),
         "category": chance.choice(CATEGORIES), "url": chance.choice(URLS), "occurrence": chance.choice([1, 2, None])}
        for number in range(12)
    ]  # fmt: skip
    rows = [_hit(chance, number, chance.choice([*links, None])) for number in range(events)]
    started = chance.choice([LAUNCH, LAUNCH, None])
    delivery = {
        "delivery_id": "7",
        "started_at": started,
        "contact_at": chance.choice([LAUNCH + timedelta(hours=1), None]),
    }
    return tables(delivery=[delivery, {"delivery_id": "8"}], link=links, event=rows)


def _hit(chance: random.Random, number: int, link: dict[str, object] | None) -> dict[str, object]:
    opened = chance.random() < 0.3
    kind = "opened" if opened else schema.LINK_TYPES.get(link["type_code"], "unknown") if link else None
    after = timedelta(microseconds=int(chance.choice([600e6 * chance.randint(-2, 9), 3600e6 * chance.gauss(8, 12)])))
    hit = {
        "delivery_id": "7" if chance.random() < 0.9 else "8", "event_id": str(number),
        "message_id": str(chance.randint(1, 60)), "is_seed": chance.choice([False] * 9 + [True]),
        "occurred_at": LAUNCH + after if chance.random() < 0.95 else None,
        "event_type": kind or chance.choice(["clicked", "unknown", None, "unsubscribed"]),
    }  # fmt: skip
    if opened:
        return hit | {"link_id": "1", "link_label": "Open"}
    if link is None:
        return hit | {"link_id": chance.choice([None, "999"])}
    return hit | {
        "link_id": link["link_id"],
        "link_label": link["label"],
        "link_category": link["category"],
        "url": link["url"],
    }
