"""A synthetic platform: an instance folder as the platform writes it, generated from a seed, with the truth beside it.

The folder holds every file of the contract's instance folder. `truth/`, which no source reads, says what every hit
really was (`truth/events.parquet`) and what a load must count (`truth/summary.json`). Same seed, same bytes.

In the order of the data: `words` (the invented shop and its messages), `clients` (user agents), `people` (recipients),
`plan` (deliveries and their links), `entities` (what they belong to), `mailing` (messages of a delivery),
`scene` (a delivery with its people), `hits` and `web` (what they do), `acts` (subscriptions, web applications),
`content` (the message), `logs` (raw log files), `tables` (table exports), `summary` (the truth).
"""

import json
import shutil
from collections import Counter
from pathlib import Path

import numpy as np

from trackkit.demo import entities, tables
from trackkit.demo.acts import leave, write_page_hits, write_subscriptions
from trackkit.demo.hits import make_hits
from trackkit.demo.logs import DAILY, FIRST_IDS, WEEKLY, LogFiles, make_lines, route, with_fate, with_ids
from trackkit.demo.mailing import make_mailing
from trackkit.demo.people import People, make_people, make_standing
from trackkit.demo.plan import Plan, plan_deliveries, table_window
from trackkit.demo.scene import KINDS, Scene
from trackkit.demo.summary import DemoSummary, Truth, count_hits
from trackkit.errors import RequestError

__all__ = ["KINDS", "DemoSummary", "write_demo"]
FIRST_MESSAGE = 102_000_001
_FOLDERS = ("redir/log", "broadlog", "tracking_log", "content", "truth")
_TEXTS = ("delivery.csv", "tracking_url.csv", "service.csv", "broadlog_msg.tsv", "web_tracking_log.csv")
_HISTORIES = ("subscription_history.tsv", "web_page_hit.csv.gz", "exclusion.csv.gz", "exclusion.part")
_ENTITIES = ("campaign.csv", "programme.tsv", "folder.csv")
_PEOPLE = ("recipient.csv.zst", "user_agent.parquet")
_MARK = "demo.json"


def write_demo(folder: str | Path, seed: int = 1, deliveries: int = 12, recipients: int = 5_000) -> DemoSummary:
    """Write a synthetic instance folder and return how much of everything it holds.

    `deliveries` counts those sent to the public; two proofs and a template are added. Every role (text only, hostile
    words, read by nobody, running, paused) takes 12 deliveries, and every oddity about 1,000 recipients. Raises
    RequestError if a number is too small or if the folder holds anything but an earlier demo, which is replaced.

    >>> import tempfile
    >>> summary = write_demo(tempfile.mkdtemp(), deliveries=3, recipients=200)
    >>> summary.deliveries, summary.log_lines > 100
    (3, True)
    """
    folder = Path(folder)
    _prepare(folder, {"seed": seed, "deliveries": deliveries, "recipients": recipients})
    try:
        return _write(folder, seed, deliveries, recipients)
    except BaseException:
        _remove_demo(folder)  # else a partial demo could be loaded as if it were complete
        raise


def _write(folder: Path, seed: int, deliveries: int, recipients: int) -> DemoSummary:
    people = make_people(recipients, seed)
    plans = plan_deliveries(deliveries, seed)
    weekly = deliveries * recipients <= 1_000_000
    files = LogFiles(folder / "redir/log", seed, WEEKLY if weekly else DAILY)
    counts = _write_mailings(folder, people, plans, files)
    tables.write_links(folder, plans)
    entities.write(folder)
    counts["page_hits"] = write_page_hits(folder, people, [plan.delivery_id for plan in plans if plan.is_real], seed)
    tables.compress_exclusions(folder)
    counts["log_lines"], counts["corrupt_lines"] = files.age()
    summary = DemoSummary.of(folder, seed, counts)
    (folder / "truth/summary.json").write_text(json.dumps(summary.to_dict(), indent=1) + "\n", "utf-8")
    return summary


def _prepare(folder: Path, request: dict[str, int]) -> None:
    """Create the folder, or remove an earlier demo from it; refuse a folder with anything else."""
    for name, number in request.items():
        if number < (0 if name == "seed" else 1):
            raise RequestError(f"A demo cannot have {number} as {name}; give 1 or more.")
    if folder.exists() and any(folder.iterdir()):
        if not (folder / "truth" / _MARK).is_file():
            raise RequestError(f"{folder} is not empty and holds no earlier demo; name a new or an empty folder.")
        _remove_demo(folder)
    for name in _FOLDERS:
        (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / "truth" / _MARK).write_text(json.dumps(request) + "\n", "utf-8")


def _remove_demo(folder: Path) -> None:
    for name in _FOLDERS:
        shutil.rmtree(folder / name.split("/")[0], ignore_errors=True)
    for name in (*_TEXTS, *_HISTORIES, *_ENTITIES, *_PEOPLE):
        (folder / name).unlink(missing_ok=True)


def _write_mailings(folder: Path, people: People, plans: list[Plan], files: LogFiles) -> Counter[str]:
    """Generate and write one delivery after the other, so that only one is in memory."""
    standing = make_standing(people, files.seed)
    counts: Counter[str] = Counter(recipients=people.count)
    rows, departures, counters, first_message = [], [], list(FIRST_IDS), FIRST_MESSAGE
    window = table_window(plans)
    with Truth(folder / "truth/events.parquet") as truth:
        for plan in plans:
            mailing = make_mailing(plan, people, standing, first_message, files.seed)
            first_message += mailing.recipient.size
            scene = Scene(people, mailing, np.random.default_rng([files.seed, 4, plan.number]), *window)
            hits = with_fate(scene, with_ids(scene, make_hits(scene), counters))
            route(files, hits, make_lines(scene, hits))
            tables.write_hits(folder, scene, hits)
            tables.write_messages(folder, mailing, people)
            truth.add(scene, hits)
            departures.append(leave(scene, hits, standing))
            rows.append(tables.delivery_row(mailing, tables.write_content(folder, mailing)))
            counts += count_hits(scene, hits)
    tables.write_dimensions(folder, people, standing)
    write_subscriptions(folder, people, departures, files.seed)
    tables.write_delivery(folder, rows)
    return counts
