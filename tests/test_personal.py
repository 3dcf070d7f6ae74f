"""What tells of one person: hidden before a source writes it, forgotten whole, masked on pages; names that are kept.

The inputs of cases 32 and 33 stand in tests/cases.
"""

import base64
import hashlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tests.test_cli import trackkit
from tests.test_forget import holding, texts_of
from tests.test_store import Row, add, message_of, open_of, raw_load
from trackkit import schema
from trackkit.runs.retention import forget
from trackkit.sources.hiding import kinds_of
from trackkit.store import open_store
from trackkit.store.ingest import Load
from trackkit.store.lake import Lake
from trackkit.store.pseudonyms import Pseudonyms, require_same_key

CASES = Path(__file__).parent / "cases"
ROOT = Path(__file__).resolve().parents[1]
KEY = b"a key of more than 16 bytes"
SG = CASES / "33-address-in-url" / "sg"
PEOPLE = ("ana@x", "bob@y", "bob%40y", "eve@z")
SECRETS = (*PEOPLE, "SECRET0", "SECRET1", "SECRET2", "203.0.113.77")


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with the key."""
    path = tmp_path_factory.mktemp("key") / "key"
    path.write_bytes(KEY)
    return path


# --- case 33: addresses and tokens in URLs


@pytest.fixture(scope="module")
def hidden_store(key: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The store of case 33, everything hidden."""
    store = tmp_path_factory.mktemp("hidden") / "store"
    trackkit("ingest", SG, "--store", store, "--pseudonymise", key, "--truncate-ips")
    return store


def test_no_byte_of_the_store_tells_of_anybody(hidden_store: Path) -> None:
    assert holding(hidden_store, *SECRETS) == []
    labels = trackkit("measure", "--store", hidden_store, "--by", "link_label", "--output", "json").stdout
    assert not [one for one in SECRETS if one in labels]
    told = {row["link_label"] for row in json.loads(labels)} - {None}
    assert len(told) == 3, "links are told apart as in a store of addresses"


def test_ids_cannot_be_worked_out_from_a_guessed_address(hidden_store: Path, tmp_path: Path) -> None:
    open_store(tmp_path / "plain").ingest(SG)
    plain, masked = (
        {value for name in ("event_id", "link_id") for value in store.scan("event").collect()[name].drop_nulls()}
        for store in (open_store(tmp_path / "plain"), open_store(hidden_store))
    )
    assert plain and not plain & masked
    url = "https://shop.example/offer?email=ana@x.example&token=SECRET0"
    lengths = f"{len(url)} : {url}"
    guessed = [hashlib.sha256(text.encode()).hexdigest()[:32] for text in (url, lengths)]
    assert f"spring:{guessed[1]}" in plain, "the guess is how such an id is made without a key"
    assert holding(hidden_store, *guessed) == []


def test_loading_again_with_the_key_changes_nothing(hidden_store: Path, key: Path, tmp_path: Path) -> None:
    before = open_store(hidden_store).scan("event").collect()
    (tmp_path / "sg").mkdir()
    lines = (SG / "feed.json").read_text()
    (tmp_path / "sg" / "feed.json").write_text(lines + "\n")  # other bytes: the file is read again
    again = trackkit(
        "ingest", tmp_path / "sg", "--store", hidden_store, "--json", "--pseudonymise", key, "--truncate-ips"
    )  # fmt: skip
    (source,) = json.loads(again.stdout)["sources"]
    assert (source["read"], source["kept"], source["duplicate"]) == (12, 0, 12)
    assert open_store(hidden_store).scan("event").collect().equals(before)


@pytest.mark.parametrize("is_hidden", [True, False])
def test_forgetting_leaves_nothing_of_the_person(is_hidden: bool, tmp_path: Path) -> None:
    pseudonyms = Pseudonyms(KEY) if is_hidden else Pseudonyms()
    open_store(tmp_path / "s").ingest(SG, pseudonyms=pseudonyms)
    own = open_store(tmp_path / "s").scan("event").filter(pl.col("address") == pseudonyms.of("ana@x.example")).collect()
    theirs = [*own["event_id"], *own["message_id"], *own["link_id"].drop_nulls(), *own["url"].drop_nulls()]
    assert own.height == 4
    report = forget(tmp_path / "s", address="Ana Lee <mailto:ANA@x.example>", pseudonyms=pseudonyms)
    assert (report.rows["event"], report.rows["link"]) == (4, 1)
    assert holding(tmp_path / "s", *theirs, "ana@x", "SECRET0", pseudonyms.of("ana@x.example")) == []
    assert open_store(tmp_path / "s").scan("link").collect().height == 2


# --- every text column


SPELLINGS = ("ann@hidden.example", "ann%40hidden.example", "ann%2540hidden.example", "ANN@Hidden.example")


def _row_of(table: str, hidden: str) -> Row:
    """A row whose every text column holds the address, ids included."""
    names = [name for name, kind in schema.TABLES[table].sourced.items() if kind == pl.String()]
    row: dict[str, Any] = {name: f"https://h.example/p?{name}={hidden}&token=T0KEN {hidden}" for name in names}
    exact = {name: hidden for name, kind in kinds_of(table).items() if kind in ("address", "ip") and name in row}
    return row | exact


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_no_text_column_of_any_table_lets_an_address_through(spelling: str, tmp_path: Path) -> None:
    sourced = [name for name in schema.TABLES if name not in ("collapsed", "purge", "kept_count", "quarantine")]
    rows = {name: [_row_of(name, spelling)] for name in sourced}
    raw = raw_load(**rows)
    line = {name: spelling for name, kind in schema.QUARANTINE.schema.items() if kind == pl.String()}
    raw.quarantine = pl.DataFrame([{"source_row": 1, **line}], schema=schema.QUARANTINE.schema)
    raw.report.sources[0].assumptions.append(f"seen {spelling}")
    raw.report.sources[0].unknown_types[spelling] = 1
    raw.report.ignored_files[f"{spelling}.bin"] = spelling
    (tmp_path / "store" / ".staging").mkdir(parents=True)
    asked = {"format": "auto", "timezone": "UTC", "collapse_minutes": None}
    hiding = Pseudonyms(KEY, truncate_ips=True)
    work = Load(Lake(str(tmp_path / "store")), tmp_path / "store" / ".staging", asked, lambda *_: None, None, hiding)
    parts = {name: [hiding.rows(rows, kinds_of(name)) for rows in same] for name, same in raw.parts.items()}
    work.take(hiding.report_hidden(replace(raw, parts=parts)), {})
    work.commit()
    store = open_store(tmp_path / "store")
    for name in sourced:
        assert store.scan(name).collect().height == 1, name
    assert holding(tmp_path / "store", *SPELLINGS, "T0KEN") == []


def test_what_a_column_may_hold_follows_from_the_schema() -> None:
    for table in schema.TABLES.values():
        texts = {name for name, kind in table.schema.items() if kind == pl.String()}
        assert set(table.personal) == texts and set(table.personal.values()) <= set(schema.PERSONAL)
    shared: dict[str, set[str]] = {}  # columns of one name are joined: they are hidden alike
    for table in schema.TABLES.values():
        for name, kind in table.personal.items():
            shared.setdefault(name, set()).add(kind)
    assert {name for name, kinds in shared.items() if len(kinds) > 1} == set()


@pytest.mark.parametrize(
    ("text", "kind", "hidden"),
    [
        ("bounce+ann=post.example@mx.example", "text", "***@mx.example"),
        ('"Ann Lee"@post.example', "text", "***@post.example"),
        ("ann&#64;post.example", "text", "***&#64;post.example"),
        ("550 ann&#064;post.example", "text", "550 ***&#064;post.example"),
        ("ann&commat;post.example", "text", "***&commat;post.example"),
        ("https://s.example/u/ann&#64;post.example", "url", "https://s.example/u/***@post.example"),
        ("https://me:pw@shop.example/x", "url", "https://***@shop.example/x"),
        ("shop.example/x?utm=", "url", "shop.example/x?utm="),
        ("https://shop.example/?u={{contact.id}}", "url", "https://shop.example/?u={{contact.id}}"),
        ("Read & go? 50% off #1", "text", "Read & go? 50% off #1"),
        ("at 08:01:00, [2001:db8:1:2::7] 203-0-113-77.isp.example", "text",
         "at 08:01:00, [2001:db8:1::] 203-0-113-0.isp.example"),
        ("Mozilla/5.0 (abuse@bot.example)", "text", "Mozilla/5.0 (***@bot.example)"),
    ],
)  # fmt: skip
def test_texts_keep_what_tells_of_nobody(text: str, kind: str, hidden: str) -> None:
    rows = Pseudonyms(KEY, True).rows(pl.LazyFrame({"one": [text, None, "x"]}), {"one": kind})
    assert rows.collect()["one"].to_list() == [hidden, None, "x"]


def test_tokens_are_told_apart_by_the_key_alone() -> None:
    urls = [f"https://s.example/?t={place}#f{place}" for place in (1, 2, 1)] + ["https://s.example/YW5uQHguZXhhbXBsZQ"]
    one, other = (
        Pseudonyms(key, False).rows(pl.LazyFrame({"url": urls}), {"url": "url"}).collect()["url"].to_list()
        for key in (KEY, KEY + b"!")
    )
    assert one[0] == one[2] != one[1] and not set(one) & set(other)
    assert "YW5u" not in one[3], "an address in Base64"


@pytest.mark.parametrize("path", ["/avatar/{}", "/avatar/{}.png", "/u-{}", "s.example/u/{}"])
def test_no_path_tells_the_hash_of_an_address_or_its_base64(path: str) -> None:
    words = [hashlib.new(name, b"ann@post.example").hexdigest() for name in ("md5", "sha1", "sha256")]
    words += [words[0].upper(), base64.b64encode(b"ann@post.example").decode().rstrip("=")]
    urls = [path.format(word) if path.startswith("s.") else f"https://s.example{path.format(word)}" for word in words]
    shown = Pseudonyms(KEY).rows(pl.LazyFrame({"url": urls}), {"url": "url"}).collect()["url"]
    assert shown.n_unique() == len(words)
    assert not [url for url in shown for word in words if word in url]


def test_an_id_that_is_the_hash_of_an_address_is_hashed_with_the_key(key: Path, tmp_path: Path) -> None:
    """Mailchimp's member id is the MD5 of the address in lower case."""
    member = hashlib.md5(b"ann@hidden.example").hexdigest()
    (tmp_path / "mc").mkdir()
    (tmp_path / "mc" / "member.csv").write_text(f"id,email_address\n{member},Ann@hidden.example\n")
    (tmp_path / "mc" / "campaign_recipient.csv").write_text(f"campaign_id,member_id\nc,{member}\n")
    act = "campaign_id,email_id,timestamp,action,ip,url\n"
    click = f"c,{member},2026-03-01 00:00:00,click,,https://s.example/{member}\n"
    (tmp_path / "mc" / "campaign_recipient_activity.csv").write_text(act + click)
    trackkit("ingest", tmp_path / "mc", "--store", tmp_path / "s", "--pseudonymise", key)
    assert holding(tmp_path / "s", member) == []
    (hit,) = open_store(tmp_path / "s").scan("event").collect().iter_rows(named=True)
    assert (hit["domain"], hit["event_type"]) == ("hidden.example", "clicked"), "it still finds its message"


def test_forgetting_finds_hashes_of_the_address_and_names_of_files(tmp_path: Path) -> None:
    hashed = hashlib.md5(b"ann@hidden.example").hexdigest()
    lines = [
        {"email": f"{name}@hidden.example", "event": "click", "timestamp": 1772350000, "sg_event_id": name,
         "sg_message_id": f"{name}.x", "category": "spring", "url": f"https://s.example/{hashed}"}
        for name in ("ann", "bob")
    ]  # fmt: skip
    file = tmp_path / "clicks ann@hidden.example.ndjson"
    file.write_text("\n".join(map(json.dumps, lines)))
    open_store(tmp_path / "s").ingest(file)
    forget(tmp_path / "s", address="ann@hidden.example")
    assert holding(tmp_path / "s", "ann@", hashed) == []
    assert open_store(tmp_path / "s").scan("event").collect()["address"].to_list() == ["bob@hidden.example"]


def test_ids_stay_apart() -> None:
    ids = ["m-203.0.113.77", "m-203.0.113.78", "order ann@x.example", "order bob@x.example", "plain", None]
    rows = Pseudonyms(KEY, True).rows(pl.LazyFrame({"id": ids}), {"id": "id"}).collect()["id"]
    assert rows.n_unique() == 6 and rows.to_list()[4:] == ["plain", None]
    assert not [one for one in rows.drop_nulls() if "113.77" in one or "ann@" in one or "bob@" in one]


def test_a_store_of_an_earlier_release_says_why_it_takes_no_more() -> None:
    hiding = Pseudonyms(KEY)
    require_same_key(hiding.mark, [hiding.mark], hiding.earlier_mark)
    with pytest.raises(Exception, match="as an earlier release made them"):
        require_same_key(hiding.mark, [hiding.earlier_mark], hiding.earlier_mark)


# --- a load that is killed


KILL = """
import os, signal, sys
from importlib import import_module
module, _, name = sys.argv[1].partition(":")
owner = import_module(module)
*path, last = name.split(".")
for one in path:
    owner = getattr(owner, one)
getattr(owner, last)  # a name that is gone would kill nothing
setattr(owner, last, lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL))
from trackkit.store import open_store
from trackkit.store.pseudonyms import Pseudonyms
open_store(sys.argv[2]).ingest(*sys.argv[3:], pseudonyms=Pseudonyms(b"a key of more than 16 bytes", True))
"""
LINE = "50x{:X}\t2026-01-01T00:00:00.00\t1\t2\t64\t0\tp\th\t\tMozilla (ann@hidden.example)\t203.0.113.77\n"
POINTS = {
    "after everything was read": "trackkit.store.ingest:Load.commit",
    "before the commit": "trackkit.store.lake:Lake.commit",
    "while cells of a vendor's table are read": "trackkit.sources.feeds.tabular:_Opened.batch",
    "while a mended table is read": "trackkit.sources.tables:_Reading.hand_on",
    "while a mended log is read": "trackkit.sources.redirection:_count",
    "while a database is read": "trackkit.sources.sql.reading:tables.stage",
}


@pytest.fixture(scope="module")
def telling(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Sources of every engine whose every cell tells of somebody, some of them damaged."""
    folder = tmp_path_factory.mktemp("telling")
    address, ip = "ann@hidden.example", "203.0.113.77"
    (folder / "feed.json").write_text((SG / "feed.json").read_text().replace("ana@x.example", address))
    (folder / "bad.ndjson").write_text(
        f'{{"event": "open", "email": "{address}", "sg_event_id": "1", "timestamp": "?"}}\n'
    )
    recipients = f"iRecipientId,sEmail\n7,{address}\nbad {address},x\n".encode() + b"8,\xff\xfe@x.example\n"
    (folder / "recipient.csv").write_bytes(recipients)
    (folder / "campaign_recipient_activity.csv").write_text(
        f"campaign_id,email_id,timestamp,action,ip,url\nc,{address},2026-01-01 00:00:00,click,{ip},https://s.example/?e={address}\n"
    )
    (folder / "zz.csv").write_text(
        "marketoGUID,leadId,activityDate,activityTypeId,campaignId,primaryAttributeValueId,primaryAttributeValue,attributes\n"
        f'1,{address},2026-01-01T00:00:00Z,11,2,3,n,"{{""Email"":""{address}"",""Link"":""https://s.example/?t=SECRET0""}}"\n'
    )
    (folder / "redir").mkdir()
    (folder / "redir" / "a.log").write_bytes(
        (LINE.format(1) + LINE.format(2)).encode() + b"\xff bad ann@hidden.example\n"
    )
    with sqlite3.connect(folder / "crm.sqlite") as base:
        base.execute("create table recipient (iRecipientId integer primary key, sEmail text)")
        base.execute("insert into recipient values (9, ?)", [f"Ann <{address}>"])
    return [str(folder), f"sqlite:///{folder / 'crm.sqlite'}"]


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="files without a name are Linux's")
@pytest.mark.parametrize("point", POINTS)
def test_a_killed_load_leaves_no_address(point: str, telling: list[str], tmp_path: Path) -> None:
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", KILL, POINTS[point], str(tmp_path / "store"), *telling]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=200)
    assert done.returncode == -signal.SIGKILL, done.stderr
    left = list(texts_of(tmp_path / "store"))
    assert [path for path, _ in left if path.suffix == ".parquet"], "some of it was written"
    clear = [
        (path.name, one) for path, text in left for one in ("ann@hidden", "203.0.113.77", "secret0") if one in text
    ]
    assert clear == []


# --- one person, however the address is written


PERSON = "Ann@Post.example"


def _everywhere(folder: Path) -> list[str]:
    """One person in senders' events, tables and a database, each time written in another way."""
    folder.mkdir()
    spelt = [
        "Ann Lee <ann@post.example>",
        "mailto:ANN@post.example",
        ' "Lee, Ann" <ann@Post.example>',
        "<ann@post.example>",
    ]
    events = [
        {
            "email": one,
            "event": "open",
            "timestamp": 1772350000 + place,
            "sg_event_id": f"e{place}",
            "sg_message_id": "m.x",
        }
        for place, one in enumerate([*spelt, "bo@post.example"])
    ]
    (folder / "sg.ndjson").write_text("\n".join(map(json.dumps, events)))
    (folder / "recipient.csv").write_text('iRecipientId;sEmail\n7;"Ann Lee <ann@post.example>"\n8;bo@post.example\n')
    (folder / "broadlog.csv").write_text(
        "iBroadLogId,iDeliveryId,sAddress,iStatus\n1,5, ANN@post.example ,1\n2,5,bo@post.example,1\n"
    )
    with sqlite3.connect(folder / "crm.sqlite") as base:
        base.execute("create table recipient (iRecipientId integer primary key, sEmail text)")
        base.execute("insert into recipient values (9, 'Ann <mailto:ann@post.example>')")
    return [str(folder), f"sqlite:///{folder / 'crm.sqlite'}"]


@pytest.mark.parametrize("is_hidden", [False, True])
def test_one_person_has_one_address_and_is_forgotten_whole(is_hidden: bool, tmp_path: Path) -> None:
    pseudonyms = Pseudonyms(KEY) if is_hidden else Pseudonyms()
    store = open_store(tmp_path / "store")
    store.ingest(*_everywhere(tmp_path / "in"), pseudonyms=pseudonyms)
    columns = {"event": "address", "message": "address", "recipient": "email"}
    found = {value for name, column in columns.items() for value in store.scan(name).collect()[column].drop_nulls()}
    assert found == {pseudonyms.of("ann@post.example"), pseudonyms.of("bo@post.example")}
    assert {*store.scan("event").collect()["domain"], *store.scan("message").collect()["domain"]} == {"post.example"}
    report = forget(tmp_path / "store", address=f"Somebody <{PERSON}>", pseudonyms=pseudonyms)
    assert {name: report.rows[name] for name in ("event", "recipient")} == {"event": 4, "recipient": 2}
    assert holding(tmp_path / "store", "ann@post", pseudonyms.of(PERSON)) == []
    assert open_store(tmp_path / "store").scan("recipient").collect()["recipient_id"].to_list() == ["8"]


def test_a_recipient_is_found_by_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    open_store(tmp_path / "store").ingest(*_everywhere(tmp_path / "in"))
    shown = trackkit("recipient", "Ann <ANN@post.example>", "--store", tmp_path / "store", "--output", "json").stdout
    assert len(json.loads(shown)) == 4
    open_store(tmp_path / "hidden").ingest(tmp_path / "in", pseudonyms=Pseudonyms(KEY))
    refused = trackkit("recipient", PERSON, "--store", tmp_path / "hidden", code=2).stderr
    assert "No recipient has this address" in refused
    monkeypatch.setenv("TRACKKIT_KEY", KEY.decode())
    shown = trackkit("recipient", PERSON, "--store", tmp_path / "hidden", "--output", "json").stdout
    assert len(json.loads(shown)) == 4


def test_forgetting_blanks_every_text_that_stays_and_keeps_links_of_tables(tmp_path: Path) -> None:
    ann = "ann@post.example"
    add(
        tmp_path,
        delivery=[{"delivery_id": "7", "label": f"for {ann}"}, {"delivery_id": f"own {ann}"}],
        message=[message_of("a", "7", recipient_id="1", address=ann), message_of("b", "7", address="bo@post.example")],
        event=[
            open_of("1", "7", "a", link_id="7:x", reported_type="clicked"),
            open_of("2", "7", "a", link_id="64", reported_type="clicked"),
            open_of("3", "7", "b", link_id="7:y", reported_type="clicked", attributes=json.dumps({"by": ann}),
                    user_agent=f"bot ({ann})"),
            open_of("4", "7", "a", link_id="7:y", reported_type="clicked"),
        ],
        link=[
            {"link_id": "7:x", "url": "https://s.example/?t=1"}, {"link_id": "64", "url": "https://s.example/"},
            {"link_id": "7:y", "url": f"https://s.example/?of={ann.replace('@', '%40')}&x=1", "label": ann},
        ],
        content=[{"delivery_id": "7", "message_format": "html", "body": f"<a href='mailto:{ann}'>us</a>"}],
        service=[{"service_id": "s", "label": f"news of {ann}"}],
    )  # fmt: skip
    report = forget(tmp_path, address=ann)
    assert (report.rows["event"], report.rows["link"], report.rows["delivery"]) == (3, 1, 1)
    assert holding(tmp_path, ann, "ann%40post") == []
    store = open_store(tmp_path)
    assert sorted(store.scan("link").collect()["link_id"]) == ["64", "7:y"], "64 is listed by a table of links"
    assert store.scan("event").collect().select("event_id", "url").rows() == [
        ("3", "https://s.example/?of=(removed)&x=1")
    ]


# --- pages and names


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Every report of the deliveries of case 32, with the clicks of case 33 in one and a bounce that tells of an IP."""
    folder = tmp_path_factory.mktemp("pages")
    names = (CASES / "32-names-from-data" / "f.json").read_text()
    clicks = (SG / "feed.json").read_text().replace('"spring"', '"tab\\there"')
    told = "550 client host [203.0.113.77] and 2001:db8:1:2::7 blocked, gil@q.example"
    bounce = {
        "email": "gil@q.example", "event": "bounce", "timestamp": 1772350003, "sg_event_id": "b",
        "sg_message_id": "m9.x", "category": "tab\there", "reason": told, "status": "5.7.1", "type": "bounce",
    }  # fmt: skip
    (folder / "in").mkdir()
    (folder / "in" / "f.json").write_text(f"{names}\n{clicks}\n{json.dumps(bounce)}\n")
    loaded = trackkit("ingest", folder / "in", "--store", folder / "store", "--json")
    assert sum(one["quarantined"] for one in json.loads(loaded.stdout)["sources"]) == 2, "the name with an escape"
    said = trackkit("run", "--store", folder / "store", "--out", folder / "out").stdout
    assert "0 failed" in said
    return folder / "store", folder / "out"


def test_every_name_of_the_data_has_every_report_in_a_file_of_its_own(pages: tuple[Path, Path]) -> None:
    store, out = pages
    names = open_store(store).scan("delivery").collect()["delivery_id"].to_list()
    assert sorted(names) == sorted(
        ["Soldes d\u2019hiver\xa0!", "\U0001f469\u200d\U0001f4bb news", "soft\xadhyphen", "tab\there"]
    )
    reports = [one for one in json.loads(trackkit("reports", "--json").stdout) if one["scope"] == "delivery"]
    files = [path.name for path in out.glob("*.html")]
    for report in reports:
        assert len([one for one in files if one.startswith(f"{report['name']}-")]) == len(names), report["name"]
    assert all(name.isascii() and name.isprintable() for name in files)


def test_names_that_differ_unseen_have_pages_of_their_own(pages: tuple[Path, Path], tmp_path: Path) -> None:
    from trackkit.report import report_path

    names = ["soft\xadhyphen", "softhyphen", "soft\u200dhyphen", "soft hyphen", "soft\xa0hyphen", "soft\thyphen"]
    assert len({report_path("tracking_indicators", tmp_path, name) for name in names}) == 6
    shown = trackkit("tracking", "tab\there", "--store", pages[0], "--output", "json").stdout
    assert len(json.loads(shown)) > 3
    refused = trackkit(
        "render", "tracking_indicators", "--store", pages[0], "--out", tmp_path, "--delivery", "a\x1bb", code=2
    )
    assert "of type str without control characters" in refused.stderr


def test_pages_tell_no_token_no_whole_ip_and_no_address(pages: tuple[Path, Path]) -> None:
    telling = ("SECRET", "203.0.113.77", "2001:db8:1:2::7", "gil@q", *PEOPLE)
    assert holding(pages[1], *telling) == []
    assert holding(pages[1], "token=***"), "the rest of the texts is shown"


def test_the_answers_of_mail_servers_tell_no_whole_ip(tmp_path: Path) -> None:
    told = "550 host [203.0.113.77] and 2001:db8:1:2::7 blocked, gil@q.example, https://bl.example/?token=SECRET0"
    (tmp_path / "broadlog.csv").write_text(f'iBroadLogId,iDeliveryId,iStatus,iFailureType,sMessage\n1,5,2,2,"{told}"\n')
    trackkit("ingest", tmp_path / "broadlog.csv", "--store", tmp_path / "s")
    trackkit("render", "bounces", "--store", tmp_path / "s", "--delivery", "5", "--out", tmp_path / "out")
    assert holding(tmp_path / "out", "203.0.113.77", "2001:db8:1:2::7", "gil@q", "SECRET0") == []
    assert {word for _, word in holding(tmp_path / "out", "203.0.113.***", "token=***")} == {
        "203.0.113.***",
        "token=***",
    }
