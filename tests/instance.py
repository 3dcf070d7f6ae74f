"""A small random instance folder, written without trackkit, for comparison with an independent implementation."""

import csv
import random
from datetime import datetime, timedelta
from pathlib import Path

START = datetime(2026, 3, 1, 6)
LINK_TYPES = (1, 1, 1, 1, 3, 4, 5, 6, 10)
DOMAINS = ("d0.example", "news.d0.example", "d1.example", "d2.example", "gmail.com", "googlemail.com", "orange.fr")
AGENTS = {
    11: ("Safari", "17", "iOS 17", "iPhone"), 12: ("Google Chrome", "129", "Windows 10", "PC"),
    13: ("Firefox", "131", "Unix", "PC"), 14: ("Safari", "18", "Mac OS", "PC"),
    15: ("Safari", "18", "Mac OS X", "Mac"), 16: ("MS Internet Explorer", "8", "Windows XP", "PC"),
}  # fmt: skip


def write_instance(
    folder: Path, seed: int, deliveries: int = 5, messages: int = 400, hits: int = 4_000, is_shared: bool = False
) -> Path:
    """Write deliveries, links, messages, recipients and hits; hits in raw logs, in the table, or in both.

    With `is_shared`, most messages have an id that messages of other deliveries have too.
    """
    chance = random.Random(seed)
    recipients = [(number, f"r{number}@{chance.choice(DOMAINS)}", chance.choice(["FR", "BR", "", "XX"]))
                  for number in range(1, 80)]  # fmt: skip
    links = [[1, 0, 2, "Open", "", "", "", 1]] + [
        [100 * delivery + number, delivery, chance.choice(LINK_TYPES), chance.choice(["Home", "Offre é", "a,b", ""]),
         chance.choice(["shop", "", "facebook"]), f"https://shop.example/{number}", "", 1]
        for delivery in range(1, deliveries + 1) for number in range(1, 7)
    ]  # fmt: skip
    message_rows = [_message(chance, number, deliveries, recipients) for number in range(1, messages + 1)]
    message_rows = _with_shared_ids(message_rows) if is_shared else message_rows
    hit_rows = [_hit(chance, number, message_rows, links, deliveries) for number in range(1, hits + 1)]
    in_table = [row for row in hit_rows if row["place"] in ("table", "both")]
    _table(folder, "delivery", "iDeliveryId,sLabel,iIsModel,iFCP,iTypologyId,tsBroadStart,iTotalTarget,iReject,"
           "iToDeliver,iText,iNewQuarantine,iOperationId,iFolderId,iMessageType,sSubject,sFromName,sFromAddress,tsContact",
           [_delivery(chance, key) for key in range(1, deliveries + 1)])  # fmt: skip
    _table(folder, "campaign", "iOperationId,sLabel,iProgramId", [[12, "Spring", 31], [13, "Autumn", ""]])
    _table(folder, "programme", "iProgramId,sLabel", [[31, "The year"]])
    _table(folder, "folder", "iFolderId,iParentId,sLabel", [[20, 0, "All"], [21, 20, "Letters"]])
    columns = "iTrackingUrlId,iDeliveryId,iType,sLabel,sCategory,sSource,sTagId,iOccurrence"
    _table(folder, "tracking_url", columns, links)
    columns = "iBroadLogId,iDeliveryId,iRecipientId,sAddress,iStatus,iMsgId,tsEvent,iIsSeed"
    _table(folder, "broadlog", columns, message_rows)
    _table(folder, "broadlog_msg", "iBroadLogMsgId,iFailureType,iFailureReason,sFirstText",
           [[key, 2, reason, "said no"] for key, reason in enumerate((1, 2, 3, 5, 8, 20, 0), start=1)])  # fmt: skip
    _table(folder, "recipient", "iRecipientId,sEmail,iEmailFormat,iBlackList,sCountryCode",
           [[key, address, 2, 0, country] for key, address, country in recipients])  # fmt: skip
    _table(folder, "user_agent", "iHashKey,sBrowserName,sBrowserVersion,sOSName,sDevice",
           [[key, *words] for key, words in AGENTS.items()])  # fmt: skip
    columns = "iTrackingLogId,tsLog,iUrlId,iBroadLogId,iDeliveryId,iRecipientId,sSourceId,iUserAgent"
    _table(folder, "tracking_log", columns, [
        [row["id"], f"{row['at']:%Y-%m-%d %H:%M:%S}", row["url"], row["message"], row["delivery"], 0, row["person"],
         row["agent"]] for row in in_table
    ])  # fmt: skip
    _table(
        folder,
        "web_tracking_log",
        "iTrackingLogId,dAmount,iArticle,sTagId,sCurrency",
        [
            [row["id"], chance.randint(-40, 400) / 4, chance.randint(1, 5), "buy", _currency(row["id"])]
            for row in in_table
            if row["id"] % 3
        ],
    )
    _raw_log(folder, [row for row in hit_rows if row["place"] in ("raw", "both")])
    _table(folder, "web_page_hit", "tsLog,sWebAppName,sPageName,iStep,sSourceId,iRecipientId,iDeliveryId,iOptOut",
           [_page_hit(chance, number) for number in range(60)])  # fmt: skip
    return folder


def _currency(number: int) -> str:
    return "JPY" if number % 40 == 0 else "EUR" if number % 5 else ""


def _delivery(chance: random.Random, key: int) -> list[object]:
    to_deliver = chance.choice([100, 137, 50, ""])
    return [key, f"Delivery {key}", 0, int(key == 3), 1, "" if key == 4 else "2026-03-01 06:00:00",
            chance.randint(100, 200), chance.choice([0, 7, ""]), to_deliver, chance.choice([0, 13, 50, ""]),
            chance.choice([0, 2, ""]), *_belonging(key)]  # fmt: skip


def _belonging(key: int) -> list[object]:
    """Two campaigns, one delivery of none; channels, one of an unknown code; senders, one known by name only."""
    started = "2026-02-27 23:30:00" if key == 4 else ""  # the last hours of a Friday, and of a week in Kolkata no more
    return [(12, 13, 12, 12, 0)[key % 5], 20 + key % 2, (0, 0, 1, 77, "")[key % 5], ("Été", "=1+1", "")[key % 3],
            "Ann" if key % 2 else "", "" if key % 5 == 1 else f"{'ab'[key % 2]}@shop.example", started]  # fmt: skip


def _message(chance: random.Random, number: int, deliveries: int, recipients: list) -> list[object]:
    status = chance.choices([1, 2, 3, 6, 7, 0, 8, 42], [70, 15, 3, 3, 2, 2, 3, 2])[0]
    key, address, _ = chance.choice([*recipients, (0, "Nobody@D9.EXAMPLE", "")])
    return [number, chance.randint(1, deliveries), key, chance.choice([address, address.upper(), ""]), status,
            chance.randint(1, 8) if status == 2 else 0, "2026-03-01 06:00:00", int(chance.random() < 0.05)]  # fmt: skip


def _with_shared_ids(messages: list[list[object]]) -> list[list[object]]:
    """Number the messages of each delivery from 1, so that ids are unique only within a delivery."""
    last_id: dict[object, int] = {}
    for row in messages:
        row[0] = last_id[row[1]] = last_id.get(row[1], 0) + 1
    return messages


def _hit(chance: random.Random, number: int, sent: list, links: list, deliveries: int) -> dict[str, object]:
    message, delivery = chance.choice([(row[0], row[1]) for row in sent] + [(0, chance.randint(1, deliveries))] * 20)
    link_ids = [row[0] for row in links if row[1] == delivery]
    person = chance.choice(["", "-", f"p{chance.randint(1, 30)}", f"P{chance.randint(1, 30)}", f"m{message}"])
    return {
        "id": number, "message": message, "delivery": delivery, "url": chance.choice([1, *link_ids, 999_999]),
        "person": person, "at": START + timedelta(seconds=chance.randint(0, 40 * 3600)),
        "agent": chance.choice([*AGENTS, 0]),
        "format": chance.choice("hht"), "place": chance.choice(["raw", "table", "both"]),
    }  # fmt: skip


def _page_hit(chance: random.Random, number: int) -> list[object]:
    """A page hit: few visitors refuse, some temporarily; some are known only by recipient, some are undated."""
    at = START + timedelta(seconds=chance.randint(-3600, 40 * 3600))
    person = chance.choice(["", "-", *(f"{chance.choice('pP')}{chance.randint(1, 12)}" for _ in range(4))])
    return [chance.choice(["", *[f"{at:%Y-%m-%d %H:%M:%S}"] * 9]), "form", f"page {number}", 1, person,
            chance.choice([0, chance.randint(1, 79)]), 0, chance.choices(["", 0, 1, 7], [4, 3, 2, 1])[0]]  # fmt: skip


def _table(folder: Path, name: str, header: str, rows: list) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f"{name}.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header.split(","), *rows])


def _raw_log(folder: Path, hits: list[dict[str, object]]) -> None:
    log = folder / "redir" / "log" / "0x0001.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    lines = [
        f"50x{row['id']:016X}\t{row['at']:%Y-%m-%dT%H:%M:%S}.00\t{row['message']:x}\t{row['delivery']:x}\t{row['url']:x}\t0\t"
        f"{row['person']}\t{row['format']}\t-\t{row['agent']}\t192.0.2.1"
        for row in hits
    ]
    log.write_text("\n".join([*lines, lines[0], ""]), encoding="utf-8")  # one line forwarded twice
