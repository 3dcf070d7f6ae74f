"""The synthetic platform: the same bytes for a seed, every oddity really there, and a truth that joins the lines.

Everything is counted from the files, read here with plain Python or polars, never through the generator.
"""

import csv
import gzip
import hashlib
import io
import os
import re
import subprocess
import sys
from collections import Counter, defaultdict
from datetime import datetime, timedelta
from functools import cache
from ipaddress import ip_address, ip_network
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qs

import polars as pl
import pytest
from polars.testing import assert_frame_equal
from selectolax.lexbor import LexborHTMLParser as HTMLParser

from trackkit.analysis.consent import with_consent
from trackkit.analysis.web import attribute_web
from trackkit.demo import DemoSummary, write_demo
from trackkit.errors import RequestError
from trackkit.store import Store, open_store

SIZE = {"deliveries": 12, "recipients": 2_500}
# The published check of a line, POSIX classes written out for Python.
CHECK = re.compile(
    r"[0-9A-Za-z]{2}x[0-9A-Za-z]*\t[0-9T:.-]*\t[0-9a-fA-F]*\t[0-9a-fA-F]*\t[0-9a-fA-F]*\t[0-9A-Za-z]*\t[0-9A-Za-z-]*"
    r"\t[^\t]*\t[^\t]*\t[^\t]*\t([0-9a-fA-F.:]*|[0-9a-fA-F.:]*\t[^\t]*|[0-9a-fA-F.:]*,[^\t]*)"
)
FILES = {
    "delivery.csv", "tracking_url.csv", "broadlog", "broadlog_msg.tsv", "exclusion.csv.gz", "recipient.csv.zst",
    "tracking_log", "user_agent.parquet", "web_tracking_log.csv", "subscription_history.tsv", "service.csv",
    "web_page_hit.csv.gz", "campaign.csv", "programme.tsv", "folder.csv", "content", "redir", "truth",
}  # fmt: skip


class Line(NamedTuple):
    """A sound line of the raw logs."""

    log_id: str
    at: datetime | None
    message: int
    delivery: int
    link: int
    person: str
    letter: str
    extra: str
    agent: str
    address: str
    file: str


def _line(text: str, file: str) -> Line:
    log_id, at, message, delivery, link, _, person, letter, extra, agent, address = text.split("\t", 10)
    ids = (int(part, 16) for part in (message, delivery, link))
    return Line(
        log_id, datetime.fromisoformat(at) if at else None, *ids, person.lower(), letter, extra, agent, address, file
    )


class Demo(NamedTuple):
    """The demo under test, with its files read once."""

    folder: Path
    summary: DemoSummary
    deliveries: dict[int, dict[str, str]]
    links: dict[int, dict[str, str]]
    messages: pl.DataFrame
    lines: list[Line]
    corrupt: list[bytes]
    truth: pl.DataFrame


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Demo:
    folder = tmp_path_factory.mktemp("demo")
    summary = write_demo(folder, seed=1, **SIZE)
    sound, corrupt = [], []
    for path in sorted((folder / "redir/log").glob("*.log")):
        for raw in path.read_bytes().removesuffix(b"\n").split(b"\n"):
            text = raw.decode(errors="replace")
            sound.append(_line(text, path.name)) if CHECK.fullmatch(text) else corrupt.append(raw)
    return Demo(
        folder, summary,
        {int(row["iDeliveryId"]): row for row in _csv((folder / "delivery.csv").read_text("utf-8-sig"), ",")},
        {int(row["itrackingurlid"]): row for row in _csv((folder / "tracking_url.csv").read_text("latin-1"), ";")},
        pl.read_parquet(folder / "broadlog/*.parquet"), sound, corrupt,
        pl.read_parquet(folder / "truth/events.parquet"),
    )  # fmt: skip


def _csv(text: str, separator: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text), delimiter=separator))


@cache
def _recipients(folder: Path) -> dict[int, dict[str, Any]]:
    frame = pl.read_csv(folder / "recipient.csv.zst", separator="\t")
    return {row["iRecipientId"]: row for row in frame.iter_rows(named=True)}


@cache
def _table(folder: Path) -> pl.DataFrame:
    return pl.concat(pl.read_csv(path) for path in sorted((folder / "tracking_log").iterdir()))


def _number(log_id: str) -> int:
    return int(log_id[3:], 16)


def _first_copies(demo: Demo) -> dict[str, Line]:
    return {line.log_id: line for line in demo.lines}


def _of_kind(demo: Demo, kind: str) -> list[Line]:
    wanted = set(demo.truth.filter(pl.col("kind") == kind)["log_id"])
    return [line for log_id, line in _first_copies(demo).items() if log_id in wanted]


# ---- the same bytes -------------------------------------------------------------------------------------------------


def _digest(folder: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        digest.update(path.relative_to(folder).as_posix().encode() + path.read_bytes())
    return digest.hexdigest()


def test_same_bytes_in_other_processes(demo: Demo, tmp_path: Path) -> None:
    code = f"from trackkit.demo import write_demo; import sys; write_demo(sys.argv[1], seed=1, **{SIZE})"
    for hashing, threads in (("0", "1"), ("77", "3")):
        environment = os.environ | {"PYTHONHASHSEED": hashing, "POLARS_MAX_THREADS": threads, "TZ": "Asia/Tokyo"}
        subprocess.run([sys.executable, "-c", code, str(tmp_path / hashing)], check=True, env=environment)
        assert _digest(tmp_path / hashing) == _digest(demo.folder)


def test_another_seed_is_another_demo(tmp_path: Path) -> None:
    for seed in (1, 2):
        write_demo(tmp_path / str(seed), seed=seed, deliveries=3, recipients=100)
    assert _digest(tmp_path / "1") != _digest(tmp_path / "2")


def test_a_second_demo_replaces_the_first_and_nothing_else(tmp_path: Path) -> None:
    write_demo(tmp_path / "a", deliveries=6, recipients=300)
    (tmp_path / "a" / "mine.txt").write_text("keep")
    write_demo(tmp_path / "a", deliveries=2, recipients=100)
    assert (tmp_path / "a" / "mine.txt").read_text() == "keep"
    (tmp_path / "a" / "mine.txt").unlink()
    write_demo(tmp_path / "b", deliveries=2, recipients=100)
    assert _digest(tmp_path / "a") == _digest(tmp_path / "b")


def test_refuses_a_folder_with_other_things_in_it(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(RequestError, match="not empty"):
        write_demo(tmp_path)
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


@pytest.mark.parametrize("request_", [{"deliveries": 0}, {"recipients": 0}, {"seed": -1}])
def test_refuses_impossible_numbers(tmp_path: Path, request_: dict[str, int]) -> None:
    with pytest.raises(RequestError, match=next(iter(request_))):
        write_demo(tmp_path / "x", **request_)


@pytest.mark.parametrize("deliveries", [1, 2, 3, 4, 5, 30])
def test_small_and_odd_sizes(tmp_path: Path, deliveries: int) -> None:
    summary = write_demo(tmp_path, deliveries=deliveries, recipients=40)
    rows = _csv((tmp_path / "delivery.csv").read_text("utf-8-sig"), ",")
    assert sum(row["iFCP"] == "0" and row["iIsModel"] == "0" for row in rows) == deliveries == summary.deliveries
    assert {path.name for path in tmp_path.iterdir()} == FILES


# ---- files and their variants ---------------------------------------------------------------------------------------


def test_products_of_mailings_of_offers_are_offers_that_end_after_two_days(demo: Demo) -> None:
    offers = [link for link in demo.links.values() if link["iofferid"]]
    started = {key: datetime.fromisoformat(row["tsContact"]) for key, row in demo.deliveries.items()}
    assert offers and {link["scategory"] for link in offers} == {"product"}
    for link in offers:
        delivery = int(link["ideliveryid"])
        assert datetime.fromisoformat(link["tsvalidity"]) - started[delivery] == timedelta(days=2)


def test_every_file_in_its_own_variant(demo: Demo) -> None:
    folder = demo.folder
    assert {path.name for path in folder.iterdir()} == FILES
    assert (folder / "delivery.csv").read_bytes().startswith(b"\xef\xbb\xbfiDeliveryId,")
    with pytest.raises(UnicodeDecodeError):
        (folder / "tracking_url.csv").read_text("utf-8")
    assert b"itrackingurlid;ideliveryid;" in (folder / "tracking_url.csv").read_bytes()
    assert len(list((folder / "broadlog").glob("*.parquet"))) > 10
    assert _table(folder).columns[:3] == ["@id", "@logDate", "[@url-id]"]
    assert (folder / "subscription_history.tsv").read_text().startswith("service-id\trecipient-id\taction\tdate\t")
    assert gzip.decompress((folder / "exclusion.csv.gz").read_bytes()).startswith(b"ideliveryid,irecipientid,srule\n")
    assert gzip.decompress((folder / "web_page_hit.csv.gz").read_bytes()).startswith(b"tsLog\tsWebAppName\t")
    assert "préférée" in (folder / "service.csv").read_text("latin-1")
    servers = Counter(path.name[:4] for path in (folder / "redir/log").iterdir())
    assert set(servers) == {"0x50", "0x51"} and min(servers.values()) >= 8


def test_what_deliveries_belong_to(demo: Demo) -> None:
    """Counted by hand from the plan: 8 letters, of which themes 3 and 4 are in other languages; a model has neither."""
    campaigns = {row["iOperationId"]: row for row in _csv((demo.folder / "campaign.csv").read_text("utf-8"), ";")}
    programmes = {row["@id"] for row in _csv((demo.folder / "programme.tsv").read_text("utf-8"), "\t")}
    folders = {row["iFolderId"]: row for row in _csv((demo.folder / "folder.csv").read_text("utf-8"), ",")}
    deliveries = [row for row in demo.deliveries.values() if row["iFCP"] == row["iIsModel"] == "0"]
    assert Counter(row["iOperationId"] for row in deliveries) == {"301": 6, "302": 2, "303": 2, "304": 1, "0": 1}
    assert {row["iProgramId"] for row in campaigns.values()} == programmes and len(programmes) == 2
    assert {row["iFolderId"] for row in demo.deliveries.values()} <= set(folders)
    above = {key: folders[row["iParentId"]]["iParentId"] for key, row in folders.items() if row["iParentId"] != "0"}
    assert {key for key, top in above.items() if top == "401"} == {"404", "405", "406"}
    assert {row["sFromAddress"] for row in deliveries} == {
        f"{name}@pebblewick.example" for name in ("letter", "offers")
    }


def test_nothing_points_to_a_real_person_or_place(demo: Demo) -> None:
    hosts = {row["sEmail"].rpartition("@")[2].lower() for row in _recipients(demo.folder).values() if row["sEmail"]}
    hosts |= {address.rpartition("@")[2].lower() for address in demo.messages["sAddress"]}
    for path in [*(demo.folder / "content").iterdir(), demo.folder / "tracking_url.csv"]:
        hosts |= set(re.findall(r"https?://([^/\"\s;&]+)", path.read_text("latin-1")))
    assert {host.rpartition(".")[2] for host in hosts} == {"example", "test"}
    reserved = [ip_network(net) for net in ("198.18.0.0/15", "203.0.113.0/24", "192.0.2.0/24", "2001:db8::/32")]
    addresses = {part for line in demo.lines for part in re.split(r"[\t, ]+", line.address)}
    assert all(any(ip_address(one) in net for net in reserved) for one in addresses)


# ---- deliveries and messages ----------------------------------------------------------------------------------------


def test_deliveries_of_two_kinds_over_eight_weeks_and_more(demo: Demo) -> None:
    real = [row for row in demo.deliveries.values() if row["iFCP"] == "0" and row["iIsModel"] == "0"]
    assert len(real) == SIZE["deliveries"]
    starts = [datetime.fromisoformat(row["tsBroadStart"]) for row in real]
    assert max(starts) < datetime(2026, 11, 15, 20) and len({start.isocalendar()[:2] for start in starts}) >= 8
    assert Counter(row["iTypologyId"] for row in real) == {"11": 8, "12": 4}
    assert Counter(row["iState"] for row in real) == {"95": 10, "55": 1, "75": 1}
    assert sum(row["iFCP"] == "1" for row in demo.deliveries.values()) == demo.summary.proofs == 2
    assert sum(row["iIsModel"] == "1" for row in demo.deliveries.values()) == 1
    words = " ".join(row["sLabel"] + row["sSubject"] for row in demo.deliveries.values())
    assert "é" in words and "ã" in words and re.search("[\U0001f300-\U0001faff]", words)
    assert "<script>" in words and '=HYPERLINK("' in words


def test_counters_of_a_delivery_agree_with_its_rows(demo: Demo) -> None:
    excluded = Counter(row["ideliveryid"] for row in _exclusions(demo))
    formats = {key: row["iEmailFormat"] for key, row in _recipients(demo.folder).items()}
    hard = {int(row["iBroadLogMsgId"]) for row in _failures(demo) if row["iFailureType"] == "2"}
    for key, row in demo.deliveries.items():
        mine = demo.messages.filter(pl.col("iDeliveryId") == key)
        assert int(row["iToDeliver"]) == mine.height
        assert int(row["iReject"]) == excluded[str(key)]
        assert int(row["iTotalTarget"]) == int(row["iReject"]) + int(row["iToDeliver"])
        in_text = sum(formats.get(recipient) == 1 for recipient in mine["iRecipientId"])
        all_text = mine.height and not (demo.folder / f"content/{key}.html").exists()
        assert int(row["iText"]) == (mine.height if all_text else in_text)
        lost = mine.filter(pl.col("iMsgId").is_in(hard) & (pl.col("iMsgId") != _complaint(demo)))
        assert int(row["iNewQuarantine"]) == lost.height
    assert demo.summary.messages == demo.messages.height == demo.messages["iBroadLogId"].n_unique()
    assert demo.summary.exclusions == sum(excluded.values())


def _exclusions(demo: Demo) -> list[dict[str, str]]:
    return _csv(gzip.decompress((demo.folder / "exclusion.csv.gz").read_bytes()).decode(), ",")


def _failures(demo: Demo) -> list[dict[str, str]]:
    return _csv((demo.folder / "broadlog_msg.tsv").read_text("utf-8"), "\t")


def _complaint(demo: Demo) -> int:
    return next(int(row["iBroadLogMsgId"]) for row in _failures(demo) if row["iFailureReason"] == "8")


def test_every_failure_and_every_exclusion(demo: Demo) -> None:
    reason = {int(row["iBroadLogMsgId"]): int(row["iFailureReason"]) for row in _failures(demo)}
    failed = demo.messages.filter(pl.col("iStatus") == 2)
    assert {reason[key] for key in failed["iMsgId"]} == {0, 1, 2, 3, 4, 5, 6, 8, 20, 25}
    assert set(demo.messages.filter(pl.col("iStatus") != 2)["iMsgId"]) == {0}
    assert set(demo.messages["iStatus"]) == {1, 2, 3, 6, 7}
    assert {row["srule"] for row in _exclusions(demo)} == {
        "Address not specified", "Address on denylist", "Address in quarantine", "Double", "Excluded by SQL rule",
        "Excluded after arbitration", "Bad-quality address", "Unqualified address", "Not eligible for the offers",
        "Target limited in size", "Control address",
    }  # fmt: skip
    people = _recipients(demo.folder)
    without = [row for row in _exclusions(demo) if row["srule"] == "Address not specified"]
    assert without and all(people[int(row["irecipientid"])]["sEmail"] is None for row in without)
    assert demo.messages["sAddress"].null_count() == 0


def test_several_mail_domains_of_unequal_size(demo: Demo) -> None:
    domains = Counter(address.rpartition("@")[2].lower() for address in demo.messages["sAddress"]).most_common()
    assert len(domains) > 20 and domains[0][1] > 2 * domains[3][1] > 4 * domains[-1][1]
    assert len({row["sCountryCode"] for row in _recipients(demo.folder).values()}) >= 8
    assert any(address != address.lower() for address in demo.messages["sAddress"])


def test_seeds_and_proofs_are_read_by_the_team(demo: Demo) -> None:
    seeds = demo.messages.filter(pl.col("iIsSeed") == 1)
    proofs = [key for key, row in demo.deliveries.items() if row["iFCP"] == "1"]
    assert set(seeds["iRecipientId"]) == {0} and set(demo.messages.filter(iIsSeed=0)["iRecipientId"]) & {0} == set()
    proofed = seeds.filter(pl.col("iDeliveryId").is_in(proofs))["iBroadLogId"]
    assert {int(key) for key in demo.truth.filter(kind="proof")["message_id"]} <= set(proofed)
    assert {int(key) for key in demo.truth.filter(kind="seed")["message_id"]} <= set(seeds["iBroadLogId"]) - set(
        proofed
    )


# ---- lines: how they are damaged, repeated and late -----------------------------------------------------------------


def test_corrupt_lines_of_several_kinds(demo: Demo) -> None:
    assert len(demo.corrupt) == demo.summary.corrupt_lines
    assert len(demo.corrupt) + len(demo.lines) == demo.summary.log_lines
    kinds = Counter(_damage(raw) for raw in demo.corrupt)
    assert set(kinds) == {"binary", "truncated", "missing field", "bad hexadecimal"}


def _damage(raw: bytes) -> str:
    if b"\xff" in raw:
        return "binary"
    fields = raw.decode().split("\t")
    if len(fields) > 10:
        return "bad hexadecimal" if "zz" in fields[2] else "?"
    return "missing field" if re.search(r"\t[0-9.]+$", raw.decode()) and len(fields) == 10 else "truncated"


def test_written_twice_and_in_both_places(demo: Demo) -> None:
    files = defaultdict(set)
    for line in demo.lines:
        files[line.log_id].add(line.file)
    twice = [key for key, names in files.items() if len(names) == 2]
    assert len(demo.lines) - len(files) == len(twice) == demo.summary.duplicate_lines > 10
    ids = Counter(_number(log_id) for log_id in files)
    table = _table(demo.folder)
    both = sum(ids[number] for number in table["@id"])
    assert table.height == demo.summary.table_rows == table["@id"].n_unique()
    assert 100 < both == demo.summary.rows_in_both < table.height < len(files)
    assert demo.summary.duplicates == len(twice) + both
    twins = [number for number, count in ids.items() if count == 2]
    assert twins and not set(twins) & set(table["@id"])  # one id on both servers: two different hits
    assert max(table["@id"]) > 2**53


def test_late_and_out_of_order_lines(demo: Demo) -> None:
    late = disordered = 0
    for name in {line.file for line in demo.lines}:
        start = datetime.strptime(name[5:16], "%Y%m%dT%H")
        instants = [line.at for line in demo.lines if line.file == name and line.at]
        late += sum(at < start for at in instants)
        disordered += sum(later < earlier for earlier, later in pairwise(instants))
    assert late > 10 and disordered > 50


def test_repeated_opens_are_those_that_the_rule_collapses(demo: Demo) -> None:
    """Greedy, in plain Python: an open less than 60 s after the last counted one of that message and person."""
    table = {row[0]: row for row in _table(demo.folder).iter_rows()}
    opens = [
        (line.message, line.person, line.at, _number(line.log_id) in table, line.log_id)
        for line in _first_copies(demo).values()
        if line.link == 1 and line.at
    ]
    in_raw = {_number(log_id) for *_, log_id in opens}
    for number, at, link, message, _, _, person, *_ in table.values():
        if link == 1 and number not in in_raw:
            opens.append((message, (person or "").lower(), datetime.fromisoformat(at[:-1]), True, str(number)))
    counted: dict[tuple[int, str], datetime] = {}
    collapsed = set()
    for message, person, at, exported, log_id in sorted(opens):
        last = counted.get((message, person))
        if exported or last is None or at - last >= timedelta(minutes=1):
            counted[message, person] = at
        else:
            collapsed.add(log_id)
    assert collapsed == set(demo.truth.filter("is_repeat")["log_id"])
    assert len(collapsed) == demo.summary.repeated_opens > 50


# ---- the truth ------------------------------------------------------------------------------------------------------


def test_truth_joins_every_line(demo: Demo) -> None:
    copies = Counter(line.log_id for line in demo.lines)
    told = {row["log_id"]: row for row in demo.truth.iter_rows(named=True)}
    assert len(told) == demo.truth.height
    assert copies == {log_id: row["raw_lines"] for log_id, row in told.items() if row["raw_lines"]}
    assert set(_table(demo.folder)["@id"]) == {int(row["event_id"]) for row in told.values() if row["in_table"]}
    for line in demo.lines:
        row = told[line.log_id]
        assert row["occurred_at"] == (line.at and line.at.replace(tzinfo=row["occurred_at"].tzinfo))
        assert (row["log_server"], int(row["event_id"])) == (line.log_id[:2], _number(line.log_id))
        assert int(row["message_id"] or 0) == line.message and int(row["delivery_id"] or 0) == line.delivery
        assert int(row["link_id"]) == line.link


def test_summary_counts_the_truth(demo: Demo) -> None:
    kept = demo.truth.filter(~pl.col("is_repeat"))
    summary = demo.summary
    assert summary.events == kept.height == sum(summary.kinds.values()) == sum(summary.types.values())
    assert summary.kinds == dict(Counter(kept["kind"])) and summary.types == dict(Counter(kept["event_type"]))
    assert summary.undated == kept["occurred_at"].null_count() > 0
    sound = summary.log_lines - summary.corrupt_lines + summary.table_rows
    assert sound == summary.events + summary.repeated_opens + summary.duplicates


# ---- who did it -----------------------------------------------------------------------------------------------------


def test_messages_in_text_leave_the_letter_t_and_no_opens(demo: Demo) -> None:
    in_text = {line.message for line in demo.lines if line.letter == "t"}
    assert len(in_text) > 20
    assert not any(line.link == 1 for line in demo.lines if line.message in in_text)
    key = next(key for key in demo.deliveries if (demo.folder / f"content/{key}.txt").exists()
               and not (demo.folder / f"content/{key}.html").exists())  # fmt: skip
    row = demo.deliveries[key]
    assert row["iText"] == row["iToDeliver"] and row["iState"] == "95"
    mine = demo.truth.filter(delivery_id=str(key))
    assert mine.height > 50 and "opened" not in set(mine["event_type"])


def test_one_finished_delivery_has_no_event(demo: Demo) -> None:
    hit = {int(key) for key in demo.truth["delivery_id"].drop_nulls()}
    silent = [row for key, row in demo.deliveries.items() if key not in hit and row["iIsModel"] == "0"]
    assert [(row["iState"], int(row["iToDeliver"]) > 20) for row in silent] == [("95", True)]


def test_refused_cookies_make_a_new_person_per_click(demo: Demo) -> None:
    clicks = defaultdict(list)
    for line in _of_kind(demo, "human"):
        if demo.links[line.link]["itype"] == "1":
            clicks[line.message].append(line.person)
    many = [persons for persons in clicks.values() if len(persons) >= 3]
    assert sum(len(set(persons)) == len(persons) for persons in many) > 5
    assert sum(len(set(persons)) == 1 for persons in many) > 5 * 5  # and most keep theirs


def test_forwards_come_from_other_browsers(demo: Demo) -> None:
    own = defaultdict(set)
    for line in _of_kind(demo, "human"):
        own[line.message].add(line.person)
    forwards = _of_kind(demo, "forward")
    assert {line.link == 1 for line in forwards} == {True, False}
    assert all(line.person and line.person not in own[line.message] for line in forwards)
    assert any(own[line.message] for line in forwards)


def test_some_people_share_a_browser(demo: Demo) -> None:
    recipient = dict(demo.messages.select("iBroadLogId", "iRecipientId").iter_rows())
    owners = defaultdict(set)
    for line in _of_kind(demo, "human"):
        if line.person and line.message:
            owners[line.person].add(recipient[line.message])
    assert sum(len(found) > 1 for found in owners.values()) > 5
    assert any(line.person == "" for line in demo.lines if line.link == 1)


def test_scanners_click_everything_within_seconds_of_delivery(demo: Demo) -> None:
    sent = dict(demo.messages.select("iBroadLogId", "tsEvent").iter_rows())
    owned = Counter(int(row["ideliveryid"]) for row in demo.links.values())
    bursts = defaultdict(list)
    for line in _of_kind(demo, "scanner"):
        bursts[line.message].append(line)
    assert len(bursts) > 5
    for message, lines in bursts.items():
        assert len({line.link for line in lines}) == len(lines) == owned[lines[0].delivery]
        waits = [line.at - sent[message] for line in lines if line.at]
        if demo.messages.filter(iBroadLogId=message)["iStatus"].item() != 2:  # a complaint moves the status later
            assert min(waits) > timedelta(0) and max(waits) < timedelta(seconds=40)
        known = [line.person for line in lines if line.person]
        assert len(set(known)) == len(known)


def test_mail_proxies_and_prefetches(demo: Demo) -> None:
    proxied = {line.agent for line in _of_kind(demo, "proxy_open")}
    assert {"GoogleImageProxy" in agent for agent in proxied} == {True, False}
    assert all("GoogleImageProxy" in agent or "YahooMailProxy" in agent for agent in proxied)
    fetched = _of_kind(demo, "prefetch")
    assert {"Mozilla/5.0"} < {line.agent for line in fetched} and {line.link for line in fetched} == {1}
    people = {line.agent for line in _of_kind(demo, "human")}
    for name in ("iPhone", "iPad", "Android", "Windows", "Macintosh", "Outlook", "Thunderbird", "Firefox", "Edg/"):
        assert any(name in agent for agent in people), name
    assert len(people) >= 40 and any("<script>" in agent for agent in people)
    agents = pl.read_parquet(demo.folder / "user_agent.parquet")
    assert (
        set(_table(demo.folder)["@userAgent"]) <= set(agents["iHashKey"])
        and agents["iHashKey"].n_unique() == agents.height
    )


def test_responses_follow_the_day_and_fade(demo: Demo) -> None:
    """Of a finished letter: half of the opens come within a day, some after a week; nights are quiet."""
    letter = next(key for key, row in demo.deliveries.items()
                  if row["iTypologyId"] == "11" and row["iState"] == "95" and int(row["iToDeliver"]) > 500)  # fmt: skip
    start = datetime.fromisoformat(demo.deliveries[letter]["tsBroadStart"])
    opens = demo.truth.filter(delivery_id=str(letter), event_type="opened")["occurred_at"].dt.replace_time_zone(None)
    waits = sorted((at - start).total_seconds() / 3600 for at in opens)
    assert 1 < waits[len(waits) // 4] < waits[len(waits) // 2] < 30 and waits[-1] > 7 * 24
    hours = Counter(at.hour for at in demo.truth["occurred_at"].drop_nulls())
    assert sum(hours[hour] for hour in (17, 18, 19, 20)) > 3 * sum(hours[hour] for hour in (2, 3, 4, 5))


# ---- links, content, web --------------------------------------------------------------------------------------------


def test_links_of_every_sort(demo: Demo) -> None:
    by_type = Counter(row["itype"] for row in demo.links.values())
    assert set(by_type) == {"1", "2", "3", "4", "5", "6"} and by_type["2"] == 1 and demo.links[1]["itype"] == "2"
    networks = {row["scategory"] for row in demo.links.values()}
    assert {"facebook", "twitter", "linkedin", "email", "google", "delicious", "digg"} <= networks
    for key in demo.deliveries:
        mine = [row for row in demo.links.values() if int(row["ideliveryid"]) == key]
        twice = [row["ioccurrence"] for row in mine if [other["ssource"] for other in mine].count(row["ssource"]) == 2]
        assert sorted(twice) == ["1", "2"]
        assert len({row["ssource"] for row in mine if row["slabel"] == "See the collection"}) == 2
        assert sum("<%=" in row["ssource"] for row in mine) == 1
    assert {line.link for line in demo.lines} <= set(demo.links)


def test_personalised_links_carry_their_value(demo: Demo) -> None:
    values = [line.extra for line in demo.lines if "<%=" in demo.links[line.link]["ssource"]]
    assert len(values) > 10 and all(value.startswith("p1=") for value in values)
    assert any("%C3" in value for value in values) and any(line.extra == "-" for line in demo.lines)


def test_content_shows_every_link_of_its_delivery(demo: Demo) -> None:
    ways = Counter()
    for path in sorted((demo.folder / "content").glob("*.html")):
        key, page = int(path.stem), HTMLParser(path.read_text("utf-8"))
        mine = {link: row for link, row in demo.links.items() if int(row["ideliveryid"]) == key}
        found = [_identity(node.attributes, key, mine, ways) for node in page.css("a")]
        assert {link for link in found if link} | {row for row in mine if mine[row]["ioccurrence"] == "2"} == set(mine)
        pictures = [node.attributes["src"] or "" for node in page.css("img")]
        pixels = [source for source in pictures if not source.startswith("data:")]
        assert len(pixels) == 1 and re.fullmatch(
            rf"https://t\.pebblewick\.example/r/\?id=h[0-9a-f]+,{key:x},1", pixels[0]
        )
        assert not page.css("script")
    assert set(ways) == {"redirect", "data-url-id", "target"}


def _identity(node: dict[str, str | None], key: int, mine: dict[int, dict[str, str]], ways: Counter) -> int | None:
    """The link that an anchor stands for, by the three ways of the contract."""
    href = node["href"] or ""
    if "data-url-id" in node:
        ways["data-url-id"] += 1
        assert href == mine[int(node["data-url-id"] or 0)]["ssource"]
        return int(node["data-url-id"] or 0)
    if decoded := re.search(rf"/r/\?id=h[0-9a-f]+,{key:x},([0-9a-f]+)", href):
        ways["redirect"] += 1
        return int(decoded[1], 16)
    ways["target"] += 1
    return next(link for link, row in mine.items() if row["ssource"] == href)


def test_text_content_has_every_link(demo: Demo) -> None:
    for key in demo.deliveries:
        body = (demo.folder / f"content/{key}.txt").read_text("utf-8")
        decoded = re.findall(rf"/r/\?id=t[0-9a-f]+,{key:x},([0-9a-f]+)", body)
        assert {int(link, 16) for link in decoded} == {
            link for link, row in demo.links.items() if int(row["ideliveryid"]) == key
        }


def test_visits_and_purchases(demo: Demo) -> None:
    web = [line for line in demo.lines if demo.links[line.link]["itype"] in "45"]
    for line in web:
        assert parse_qs(line.extra)["tagid"] == [demo.links[line.link]["stagid"]]
        assert ("amount" in parse_qs(line.extra)) == (demo.links[line.link]["itype"] == "5")
    assert {bool(line.delivery) for line in web} == {True, False}
    assert all(line.message == 0 for line in web if not line.delivery)
    assert any(parse_qs(line.extra).get("article", [""])[0].endswith("l") for line in web)  # as the platform's samples


def test_amounts_are_the_same_in_logs_and_tables(demo: Demo) -> None:
    rows = {int(row["iTrackingLogId"]): row for row in _csv((demo.folder / "web_tracking_log.csv").read_text(), ";")}
    assert set(rows) <= set(_table(demo.folder)["@id"])
    shared = [line for line in demo.lines if _number(line.log_id) in rows]
    for line in shared:
        told, row = parse_qs(line.extra), rows[_number(line.log_id)]
        assert (told.get("amount", [""])[0], told.get("article", [""])[0]) == (row["dAmount"], row["iArticle"])
    assert sum(bool(rows[_number(line.log_id)]["dAmount"]) for line in shared) > 3
    amounts = demo.truth.filter(event_type="transaction")["amount"]
    assert amounts.null_count() == 0 and 20 < amounts.median() < 80


def test_subscriptions_and_web_application(demo: Demo) -> None:
    acts = _csv((demo.folder / "subscription_history.tsv").read_text(), "\t")
    assert {row["action"] for row in acts} == {"0", "1"}
    led = [row for row in acts if row["delivery-id"] != "0"]
    assert led and {int(row["delivery-id"]) for row in led} <= set(demo.deliveries)
    assert all(_recipients(demo.folder)[int(row["recipient-id"])]["iBlackList"] == 1 for row in led)
    pages = _csv(gzip.decompress((demo.folder / "web_page_hit.csv.gz").read_bytes()).decode(), "\t")
    steps = Counter(row["iStep"] for row in pages)
    assert steps["1"] > steps["2"] > steps["3"] > steps["4"] > 10 and len(pages) == demo.summary.page_hits
    assert {row["iOptOut"] for row in pages} == {"0", "1", ""}


# ---- loaded ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def load(demo: Demo, tmp_path_factory: pytest.TempPathFactory) -> tuple[Store, list[dict[str, Any]]]:
    """A store of the whole demo, and what its load reported of each source."""
    store = open_store(str(tmp_path_factory.mktemp("store") / "store"))
    return store, store.ingest(str(demo.folder)).to_dict()["sources"]


def test_a_load_reports_what_the_summary_says(demo: Demo, load: tuple[Store, list[dict[str, Any]]]) -> None:
    _, sources = load
    for source in sources:
        parts = [source[name] for name in ("kept", "duplicate", "collapsed", "quarantined")]
        assert source["read"] == sum(parts), source["path"]
    hits = [source for source in sources if source["path"].startswith(("redir/log", "tracking_log"))]
    totals = {name: sum(source[name] for source in hits) for name in ("read", "kept", "duplicate", "collapsed")}
    summary = demo.summary
    assert totals == {
        "read": summary.log_lines + summary.table_rows, "kept": summary.events, "duplicate": summary.duplicates,
        "collapsed": summary.repeated_opens,
    }  # fmt: skip
    assert sum(source["quarantined"] for source in sources) == summary.corrupt_lines
    assert sum(source["undated"] for source in hits) == summary.undated
    assert sum(source["kept"] for source in sources if source["path"].startswith("broadlog/")) == summary.messages


def test_a_load_finds_the_true_events(demo: Demo, load: tuple[Store, list[dict[str, Any]]]) -> None:
    store, _ = load
    key = ["event_id", "log_server"]
    values = ["event_type", "message_id", "occurred_at", "link_id", "amount", "articles"]
    in_raw = pl.when(pl.col("raw_lines") > 0).then("log_server").alias("log_server")  # the table names no server
    told = demo.truth.filter(~pl.col("is_repeat")).select("event_id", in_raw, *values).sort(key)
    found = store.scan("event").select(*key, *values).collect().sort(key)
    assert_frame_equal(found.cast({"event_type": pl.String}), told, check_exact=True)


def test_visits_of_every_attribution_and_every_choice(load: tuple[Store, list[dict[str, Any]]]) -> None:
    store, _ = load
    last, forced = (attribute_web(store.snapshot(), "anonymous", option) for option in ("last", "forced"))
    assert set(last["attribution"]) | set(forced["attribution"]) == {"direct", "forced", "last", "retro", "none"}
    bought = last.filter(attribution="last", event_type="transaction")
    assert bought.height > 3 and bought["amount"].null_count() == 0  # as Florence, the day after
    site = with_consent(store.snapshot(), last).filter(origin="site")
    assert set(site["web_choice"]) == {"allowed", "undecided", "refused"}
