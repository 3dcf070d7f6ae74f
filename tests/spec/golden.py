"""The platform's own example (John, Marie, Florian, Henry) as canonical, enriched tables; and a way to write others."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import polars as pl

from trackkit import schema
from trackkit.engine.snapshot import Snapshot

DELIVERY_ID = "230"
FLORIAN, HIS_FRIEND = "fe37a503-77e8-4394-bf88-51ee39edc13b", "9ab648f9-5c73-4502-9527-dcb0b71d89d3"
HENRY = (
    "f44e71d4-8382-4c60-8ed0-ce75bb19ec19", "1bdaf3e8-a38f-464b-af5b-f1dbdac0130a",
    "e6bc3ab5-0144-4819-92ec-b05bc51c0901", "37f3cad6-511f-4491-9750-d68eddb9b686",
)  # fmt: skip
# minute after 15:00 on 2012-02-20, message, link, person: nineteen hits, in the order of their log ids
HITS: tuple[tuple[int, str, str, str | None], ...] = (
    (1, "3", "1", None),
    *((4, "3", link, FLORIAN) for link in ("11", "12", "13", "11", "11", "12", "13", "13", "13")),
    (9, "3", "1", None), (9, "3", "11", HIS_FRIEND), (9, "3", "12", HIS_FRIEND),
    (6, "4", "1", "730edcc9-1f2c-4c75-ba3a-889bc666c6c7"),
    (6, "4", "13", HENRY[0]), (6, "4", "13", HENRY[1]), (7, "4", "12", HENRY[2]), (7, "4", "11", HENRY[3]),
    (14, "2", "1", None),
)  # fmt: skip
Links = Mapping[str, tuple[str | None, int, str | None, str | None]]
LINKS: Links = {
    "1": (None, 2, "Open", None),
    "11": (DELIVERY_ID, 1, "Home", "https://shop.example/"),
    "12": (DELIVERY_ID, 1, "Offers", "https://shop.example/offers"),
    "13": (DELIVERY_ID, 1, "Boutique", "https://boutique.example/"),
}
PEOPLE = {"1": "john.davis", "2": "marie.stuart", "3": "florian.david", "4": "henry.macdonald"}


def at(hour: int, minute: int = 0, second: int = 0, day: int = 20) -> datetime:
    """An instant of February 2012, UTC: the month of the example."""
    return datetime(2012, 2, day, hour, minute, second, tzinfo=UTC)


def tables(**rows: Sequence[Mapping[str, Any]]) -> Snapshot:
    """A snapshot of the named canonical tables, each given as rows; columns left out are null."""
    frames = {name: pl.LazyFrame(list(given), schema=schema.TABLES[name].schema) for name, given in rows.items()}
    return Snapshot(frames)


def hit(
    event_id: int, occurred_at: datetime | None, message_id: str | None, link_id: str, links: Links = LINKS, **more: Any
) -> dict[str, Any]:  # fmt: skip
    """One enriched row of `event`, its type, label and URL taken from its link."""
    _, type_code, label, url = links[link_id]
    return {
        "delivery_id": DELIVERY_ID, "event_id": str(event_id), "message_id": message_id, "occurred_at": occurred_at,
        "link_id": link_id, "event_type": schema.LINK_TYPES[type_code], "link_label": label, "url": url,
        "recipient_id": message_id and f"10{message_id}", "is_seed": False, "collapse_seconds": 0, "source": "tests",
        "domain": "example.com", **more,
    }  # fmt: skip


def golden() -> Snapshot:
    """Four recipients, three links, nineteen hits: 2, 6, 3, 15, 4, 4 and 2/3 (contract, section 5)."""
    delivery = {
        "delivery_id": DELIVERY_ID, "internal_name": "DM230", "label": "Golden", "subject": "Four recipients",
        "message_type": 0, "state": 95, "is_model": False, "is_proof": False, "typology_id": "1",
        "contact_at": at(15), "started_at": at(15), "targeted": 4, "rejected": 0, "to_deliver": 4, "text_messages": 0,
    }  # fmt: skip
    messages = [
        {"delivery_id": DELIVERY_ID, "message_id": key, "recipient_id": f"10{key}", "address": f"{name}@example.com",
         "status_code": 1, "status_at": at(15), "is_seed": False, "status": "delivered", "domain": "example.com"}
        for key, name in PEOPLE.items()
    ]  # fmt: skip
    events = [
        hit(number, at(15, minute), message_id, link_id, person_id=person_id)
        for number, (minute, message_id, link_id, person_id) in enumerate(HITS, start=1)
    ]
    return tables(
        delivery=[delivery],
        link=[
            {"link_id": key, "delivery_id": owner, "type_code": code, "label": label, "url": url, "occurrence": 1}
            for key, (owner, code, label, url) in LINKS.items()
        ],
        message=messages,
        event=events,
        recipient=[{"recipient_id": f"10{key}", "email": f"{name}@example.com"} for key, name in PEOPLE.items()],
    )
