"""An instance folder in which every text that a sender or a reader controls attacks the page that shows it."""

import csv
from pathlib import Path

CANARY = "pwned"
RUN = f"document.title='{CANARY}'"
ATTACKS = (
    f"<script>{RUN}</script>",
    f"</script><script>{RUN}</script>",
    f'<img src=x onerror="{RUN}">',
    f"\"><svg onload={RUN}>",
    f"' onmouseover='{RUN}' x='",
    "<!--<script>",
    "]]>",
    f'data:image/svg+xml,x" onerror="{RUN}',
    "line\u2028and\u2029paragraph",
    "{{7*7}} {% raw %} ${7*7} $& \\1",
    f"[x](javascript:{RUN})",
    "right\u202eto left",
    "__proto__", "constructor", "a.b[0]'c\"d",
    "=HYPERLINK(\"http://evil.test\")",
    "<iframe srcdoc='<script>parent." + RUN + "</script>'>",
    "<style>body{display:none}</style><base href=//evil.test>",
    "très long " * 100_000,
)  # fmt: skip
URLS = (
    f"javascript:{RUN}", f"JaVaScRiPt:{RUN}", f"\x01javascript:{RUN}", f"data:text/html,<script>{RUN}</script>",
    "//evil.test/x", "file:///etc/passwd", f'https://shop.example/"onload="{RUN}',
    "https://shop.example/?email=john.doe@mail.example",
)  # fmt: skip
DELIVERY, RECIPIENT = "666", "5001"
ADDRESSES = [f"victim{number}@d{number}.example" for number in range(1, 31)]


def write_hostile(folder: Path) -> Path:
    """Write one delivery whose labels, subject, links, domains, persons and content are attacks."""
    folder.mkdir(parents=True)
    subject = f"<b>{ATTACKS[1]}</b> {ATTACKS[2]}"
    _table(folder, "delivery", "iDeliveryId,sLabel,sSubject,iState,iMessageType,tsBroadStart,iToDeliver,iText",
           [[DELIVERY, f"{ATTACKS[0]} {ATTACKS[4]}", subject, 95, 0, "2026-03-01 06:00:00", 30, 0]])  # fmt: skip
    links = [[1, 0, 2, "Open", "", "", 1]] + [
        [100 + place, DELIVERY, 1, label, ATTACKS[-1 - place % 15], URLS[place % len(URLS)], 1 + place]
        for place, label in enumerate(ATTACKS)
    ]  # fmt: skip
    _table(folder, "tracking_url", "iTrackingUrlId,iDeliveryId,iType,sLabel,sCategory,sSource,iOccurrence", links)
    domains = [f"mail.example{attack[:60]}" for attack in ATTACKS]
    _table(folder, "broadlog", "iBroadLogId,iDeliveryId,iRecipientId,sAddress,iStatus,tsEvent,iIsSeed", [
        [number, DELIVERY, 5000 + number,
         ADDRESSES[number - 1] if number % 2 else f"victim@{domains[number % len(domains)]}", 1,
         "2026-03-01 06:00:00", 0]
        for number in range(1, 31)
    ])  # fmt: skip
    _table(folder, "recipient", "iRecipientId,sEmail",
           [[5000 + number, address] for number, address in enumerate(ADDRESSES, start=1)])  # fmt: skip
    _table(folder, "tracking_log", "iTrackingLogId,tsLog,iUrlId,iBroadLogId,iDeliveryId,sSourceId", [
        [number, f"2026-03-0{1 + number % 3} {6 + number % 12:02}:00:00",
         1 if number % 3 == 0 else 100 + number % len(ATTACKS), 1 + number % 30, DELIVERY,
         ATTACKS[number % 6] if number % 4 == 0 else f"person{number % 9}"]
        for number in range(1, 301)
    ])  # fmt: skip
    anchors = "".join(
        f'<p onclick="{RUN}"><a data-url-id="{100 + place}" href="{URLS[place % len(URLS)]}" onmouseover="{RUN}">'
        f"{attack[:200]}</a></p>" for place, attack in enumerate(ATTACKS)
    )  # fmt: skip
    body = f'<html><head><script>parent.{RUN}</script></head><body onload="{RUN}">{anchors}<img src=//evil.test></body>'
    (folder / "content").mkdir()
    (folder / "content" / f"{DELIVERY}.html").write_text(body, encoding="utf-8")
    (folder / "content" / f"{DELIVERY}.txt").write_text("\n".join(ATTACKS[:-1]), encoding="utf-8")
    return folder


def _table(folder: Path, name: str, header: str, rows: list) -> None:
    with (folder / f"{name}.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header.split(","), *rows])
