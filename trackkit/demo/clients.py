"""The user agents of the synthetic platform, from `clients.csv`: of people, then of machines, then hostile ones."""

import csv
from importlib.resources import files
from typing import NamedTuple


class Client(NamedTuple):
    """One user agent: its text, and the platform's parse of it; `share` is its weight among people's clients."""

    share: float
    device: str
    system: str
    browser: str
    version: str
    is_apple_mail: bool
    text: str


def _read() -> list[Client]:
    rows = csv.DictReader(files("trackkit.demo").joinpath("clients.csv").read_text("utf-8").splitlines())
    return [
        Client(**row | {"share": float(row["share"]), "is_apple_mail": row["is_apple_mail"] == "1"}) for row in rows
    ]


CLIENTS = _read()
PEOPLE_CLIENTS = [client for client in CLIENTS if client.share]
GOOGLE, YAHOO, APPLE, PREFETCH, SCANNER, HOSTILE = (len(PEOPLE_CLIENTS) + step for step in (0, 1, 2, 3, 4, 7))


def _at(device: str, system: str, browser: str) -> int:
    return [client[1:4] for client in CLIENTS].index((device, system, browser))


def _click_client(place: int, client: Client) -> int:
    """The client of a click: a mail program opens links in the browser of the device."""
    if client.is_apple_mail:
        return _at(client.device, client.system, "Safari")
    if client.browser in ("Outlook", "Mozilla Thunderbird"):
        return _at("PC", "Linux", "Firefox") if client.system == "Linux" else _at("PC", "Windows 10", "Microsoft Edge")
    return place


CLICK_CLIENTS = [_click_client(place, client) for place, client in enumerate(CLIENTS)]
