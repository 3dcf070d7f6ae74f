"""The engine of declared formats: any framing and packing gives the same events, and every record is accounted for."""

import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.feeds import FRAMINGS, PACKINGS, events, read, told
from trackkit import load as load_store
from trackkit import open_store, sources
from trackkit.errors import DataError, RequestError
from trackkit.sources.feeds import framing
from trackkit.sources.feeds.feed import all_feeds, check_maps, read_feed


def click(number: int, **more: Any) -> dict[str, Any]:
    return {
        "event": "click", "timestamp": 1700000000 + number, "email": f"p{number}@mail.example",
        "sg_event_id": f"e{number}", "sg_message_id": f"m{number}.filter.0",
        "url": f"https://shop.example/é?n={number}", "category": ["spring"],
        **more,
    }  # fmt: skip


RECORDS = [click(number, note="a\n}{ [b]", big=9007199254740993 + number) for number in range(7)]
COLUMNS = ("event_id", "source_row", "occurred_at", "message_id", "delivery_id", "address", "attributes", "link_id")


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> list[tuple]:
    rows = events(read(tmp_path_factory.mktemp("plain") / "in", RECORDS), *COLUMNS)
    assert len(rows) == 7
    assert rows[3][1:7] == (
        4, datetime(2023, 11, 14, 22, 13, 23, tzinfo=UTC), "m3:p3@mail.example", "spring", "p3@mail.example",
        '{"note":"a\\n}{ [b]","big":9007199254740996}',
    )  # fmt: skip
    return rows


@pytest.mark.parametrize("framing", FRAMINGS)
@pytest.mark.parametrize("packing", PACKINGS)
def test_every_framing_and_packing_gives_the_same_events(
    framing: str, packing: str, tmp_path: Path, expected: list[tuple]
) -> None:
    raw = PACKINGS[packing](FRAMINGS[framing](RECORDS).encode())
    assert events(read(tmp_path / "in", raw), *COLUMNS) == expected


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
_RECORDS = st.lists(st.dictionaries(st.text(min_size=1), _VALUES, max_size=4), min_size=1, max_size=8)


@settings(max_examples=60, deadline=None)
@given(records=_RECORDS, name=st.sampled_from(sorted(FRAMINGS)), block=st.integers(1, 50))
def test_framing_gives_back_any_records(records: list, name: str, block: int) -> None:
    text = FRAMINGS[name](records)
    blocks = (text[i : i + block] for i in range(0, len(text), block))
    assert list(framing.frames(blocks)) == records


@settings(max_examples=20, deadline=None)
@given(order=st.permutations(range(7)), name=st.sampled_from(sorted(FRAMINGS)))
def test_any_order_gives_the_same_events(
    order: list[int], name: str, tmp_path_factory: pytest.TempPathFactory, expected: list[tuple]
) -> None:
    read_back = read(tmp_path_factory.mktemp("order") / "in", FRAMINGS[name]([RECORDS[i] for i in order]))
    assert sorted(row[:1] + row[2:] for row in events(read_back, *COLUMNS)) == sorted(
        row[:1] + row[2:] for row in expected
    )


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        ('{"event": "click", "times', "no JSON: "),
        ('{"event": "click" "timestamp": 1}', "no JSON: Expecting ',' delimiter"),
        ("what is this", "no JSON: Expecting value"),
        ('"a text"', "no JSON object"),
        ("17", "no JSON object"),
        ('{"event": NaN, "timestamp": 1}', "no JSON: NaN is no JSON"),
        ('{"hello": 1}', "no event: no record of sendgrid"),
        ('{"event": "open", "timestamp": "yesterday", "email": "a@b.example"}', "'yesterday' of occurred_at is not"),
        ('{"event": "open", "timestamp": 1772350000, "sg_machine_open": "perhaps"}', "'perhaps' of is_machine is not"),
        ('{"a":' * 100_000, "no JSON: nested too deeply"),
    ],
)
@pytest.mark.parametrize("name", ["lines", "run on lines"])
def test_a_broken_record_is_set_aside_and_the_others_are_read(
    broken: str, reason: str, name: str, tmp_path: Path
) -> None:
    lines = [json.dumps(one) for one in RECORDS[:4]]
    lines.insert(2, broken)
    load = read(tmp_path / "in", "\n".join(lines) if name == "lines" else "[" + ",\n".join(lines) + "]")
    (row,) = load.quarantine.rows(named=True)
    assert (row["source_row"], row["source_file"], row["source"]) == (3, "events.json", "sendgrid")
    assert row["reason"].startswith(reason)
    assert row["text"][:7] == broken[:7]
    assert [number for (number,) in events(load, "source_row")] == [1, 2, 4, 5]


def test_bytes_that_are_no_utf8_spoil_only_their_record(tmp_path: Path) -> None:
    lines = [json.dumps(one).encode() for one in RECORDS[:3]]
    load = read(tmp_path / "in", b"\n".join([lines[0], lines[1].replace(b"shop", b"sh\xffp"), lines[2]]))
    assert load.quarantine.select("source_row", "reason").rows() == [(2, "not UTF-8")]
    assert "sh\ufffdp" in load.quarantine["text"][0]


def test_a_file_cut_short_says_so(tmp_path: Path) -> None:
    raw = PACKINGS["gzip"](FRAMINGS["lines"](RECORDS).encode())
    load = read(tmp_path / "in", raw[:-40])
    assert "the file is cut here" in load.quarantine["reason"].to_list()[-1]
    assert load.report.total("read") == len(events(load, "event_id")) + load.report.total("quarantined")


def test_a_record_cut_at_the_end_is_refused(tmp_path: Path) -> None:
    load = read(tmp_path / "in", FRAMINGS["array"](RECORDS)[:-30])
    assert len(events(load, "event_id")) == 6
    assert load.quarantine["reason"].to_list() == ["no JSON: Unterminated string starting at"]


HOSTILE = ["<script>alert(1)</script>", "=HYPERLINK(\"http://evil.test\")", "../../etc/passwd", "\x1b[2J", "\x00",
           "\ud800", "right\u202eto left", "a" * 100_000, "NULL", "NaN"]  # fmt: skip


def test_hostile_texts_are_kept_as_they_are(tmp_path: Path) -> None:
    records = [click(i, url=text, useragent=text, **{text: text}) for i, text in enumerate(HOSTILE)]
    load = read(tmp_path / "in", records)
    kept = [text.encode("utf-8", "replace").decode() for text in HOSTILE]
    assert [agent for (agent,) in events(load, "user_agent")] == kept
    assert {url for (url,) in told(load, "link", "url")} == set(kept)


def test_numbers_are_kept_to_the_last_digit(tmp_path: Path) -> None:
    one = click(1, sg_event_id=2**63 + 1, marketing_campaign_id=2**70 + 1, timestamp="1534108637.153125", wild=1e400)
    text = json.dumps(one).replace("Infinity", "1e400")
    ((vendor, delivery, at, further),) = events(
        read(tmp_path / "in", text), "vendor_id", "delivery_id", "occurred_at", "attributes"
    )
    assert (vendor, delivery) == (str(2**63 + 1), str(2**70 + 1))
    assert at == datetime(2018, 8, 12, 21, 17, 17, 153125, tzinfo=UTC)
    assert further == '{"wild":"1e400"}'


@pytest.mark.parametrize(
    ("written", "instant"),
    [
        (1534108637, datetime(2018, 8, 12, 21, 17, 17, tzinfo=UTC)),
        ("1534108637.153125", datetime(2018, 8, 12, 21, 17, 17, 153125, tzinfo=UTC)),
        (1534108637153, datetime(2018, 8, 12, 21, 17, 17, 153000, tzinfo=UTC)),
        (1534108637153125, datetime(2018, 8, 12, 21, 17, 17, 153125, tzinfo=UTC)),
        ("2018-08-12T21:17:17.1531259Z", datetime(2018, 8, 12, 21, 17, 17, 153125, tzinfo=UTC)),
        ("2018-08-12T16:17:17.1531259-05:00", datetime(2018, 8, 12, 21, 17, 17, 153125, tzinfo=UTC)),
        ("2018-08-12 23:17:17", datetime(2018, 8, 12, 21, 17, 17, tzinfo=UTC)),
        ("", None),
        (None, None),
    ],
)
def test_instants_in_every_form(written: Any, instant: datetime | None, tmp_path: Path) -> None:
    load = read(tmp_path / "in", [click(1), click(2, timestamp=written)], timezone="Europe/Paris")
    assert events(load, "occurred_at")[1] == (instant,)
    assert load.report.total("undated") == (instant is None)
    zoned = "instants carry no offset and were read as Europe/Paris"
    assert (zoned in load.report.sources[0].assumptions) == (written == "2018-08-12 23:17:17")


def test_unknown_words_are_counted_and_kept(tmp_path: Path) -> None:
    load = read(tmp_path / "in", [click(1), click(2, event="wave"), click(3, event="wave"), click(4, event="Open")])
    assert load.report.sources[0].unknown_types == {"Open": 1, "wave": 2}
    assert [kind for (kind,) in events(load, "reported_type")] == ["clicked", "unknown", "unknown", "unknown"]


def copies(tmp_path: Path, dedupe: str) -> tuple[int, int, list[str]]:
    again = click(1, sg_event_id="e1 retried")  # a retry with an id of its own
    later = click(1, timestamp=1700000009)  # another click, of another second
    load = load_store(_written(tmp_path, [click(1), click(1), again, later]), dedupe=dedupe)
    source = load.loads[-1]["report"]["sources"][0]
    return source["kept"], source["duplicate"], [note for note in source["assumptions"] if "rows of this load" in note]


def _written(folder: Path, records: list, name: str = "events.json") -> Path:
    (folder / name).write_text(json.dumps(records))
    return folder


def test_copies_are_told_by_the_whole_key(tmp_path: Path) -> None:
    assert copies(tmp_path, "exact") == (3, 1, [
        "1 rows of this load repeat another exactly: counted once (--dedupe exact)",
        "1 rows of this load differ from another only in the sender's own id: each counted (--dedupe exact)",
    ])  # fmt: skip


def test_a_retry_with_another_id_counts_once_if_asked(tmp_path: Path) -> None:
    kept, duplicate, notes = copies(tmp_path, "loose")
    assert (kept, duplicate) == (2, 2)
    assert "only in the sender's own id: counted once (--dedupe loose)" in notes[1]


def test_every_copy_counts_if_asked(tmp_path: Path) -> None:
    kept, duplicate, notes = copies(tmp_path, "none")
    assert (kept, duplicate) == (4, 0)
    assert "repeat another exactly: each counted" in notes[0]


@pytest.mark.parametrize("dedupe", ["exact", "loose", "none"])
def test_loading_again_changes_nothing(dedupe: str, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    store = open_store(tmp_path / "store")
    first = store.ingest(_written(tmp_path / "in", RECORDS), dedupe=dedupe)
    again = store.ingest(_written(tmp_path / "in", [*RECORDS, click(99)]), dedupe=dedupe)
    assert (first.total("kept"), again.total("kept"), again.total("duplicate")) == (7, 1, 7)
    assert store.scan("event").select(pl.len()).collect().item() == 8


def test_pages_that_overlap_across_files_count_once(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    _written(tmp_path / "in", RECORDS[:5], "a.json")
    _written(tmp_path / "in", RECORDS[3:], "b.json")
    assert load_store(tmp_path / "in").scan("event").select(pl.len()).collect().item() == 7


def test_the_delivery_is_a_field_of_the_sender_or_a_name(tmp_path: Path) -> None:
    records = [click(1, category=None, run={"name": "may"}), click(2, category=None), click(3)]
    silent = read(tmp_path / "a", records)
    assert [one for (one,) in events(silent, "delivery_id")] == [None, None, "spring"]
    said = "2 of 3 events name no delivery; --delivery-field says which field does"
    assert said in silent.report.sources[0].assumptions
    asked = read(tmp_path / "b", records, delivery_field="run.name")
    assert [one for (one,) in events(asked, "delivery_id")] == ["may", None, "spring"]
    named = read(tmp_path / "c", records, delivery_field="=newsletter 7")
    assert [one for (one,) in events(named, "delivery_id")] == ["newsletter 7", "newsletter 7", "spring"]
    assert events(silent, "event_id") == events(asked, "event_id")


def test_a_url_without_a_delivery_is_a_link_too(tmp_path: Path) -> None:
    load = read(tmp_path / "in", [click(1, category=None, url="https://a.example"), click(2, url="https://a.example")])
    assert told(load, "link", "delivery_id", "url", "label", "type_code") == [
        ("spring", "https://a.example", "https://a.example", 1), (None, "https://a.example", "https://a.example", 1),
    ]  # fmt: skip


def test_records_of_no_format_are_refused_with_what_was_seen(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"those of no known format \(keys: a, b\)"):
        read(tmp_path / "in", [{"a": 1, "b": 2}])


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_records_in_utf_16_are_read_and_it_is_said(encoding: str, tmp_path: Path) -> None:
    plain = read(tmp_path / "plain", RECORDS)
    wide = read(tmp_path / "wide", json.dumps(RECORDS).encode(encoding))
    assert wide.frames["event"].collect().equals(plain.frames["event"].collect())
    assert any(one.startswith("the text is UTF-") for one in wide.report.sources[0].assumptions)


def test_wrong_wishes_say_what_would_work(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="Did you mean 'loose'"):
        read(tmp_path / "in", RECORDS, dedupe="lose")
    with pytest.raises(RequestError, match="is no path"):
        read(tmp_path / "in", RECORDS, delivery_field="a..b")
    with pytest.raises(RequestError, match="Did you mean 'sendgrid'"):
        read(tmp_path / "in", RECORDS, format="sendgird")


@pytest.mark.parametrize("name", sorted(all_feeds()))
def test_every_map_says_what_it_is(name: str) -> None:
    one = sources.formats()[name]
    assert one.name == name
    assert one.what and one.recognised


OWN = """
name = "own"
what = "Our sender"
engine = "json"
word = ["kind"]
[recognise]
all = ["kind", "moment"]
[words]
seen = "opened"
[columns]
occurred_at = "moment"
"""


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            ('= "moment"', '= "moment"\nadress = "who"'),
            r"key 'columns\.adress': there is no such key\. Did you mean 'address'",
        ),
        (('"opened"', '"openned"'), r"key 'words\.seen': 'openned' is not known\. Did you mean 'opened'"),
        (('"json"', '"jsn"'), r"key 'engine': 'jsn' is not known\. Did you mean 'json'"),
        (("all = [", "al = ["), r"key 'recognise\.al': there is no such key\. Did you mean 'all'"),
        (('"moment"\n', '"moment..x"\n'), r"key 'columns\.occurred_at': 'moment\.\.x' is no path"),
        (("[words]", 'zone = "Mars"\n[words]'), "zone"),
        (("[words]", "[words"), "it is not TOML"),
    ],
)
def test_a_wrong_map_is_told_by_file_key_and_nearest_word(change: tuple[str, str], said: str, tmp_path: Path) -> None:
    place = tmp_path / "own.toml"
    place.write_text(OWN.replace(*change))
    with pytest.raises(RequestError, match=said) as error:
        read_feed(place)
    assert "own.toml" in str(error.value)


ROOT = Path(__file__).resolve().parents[1]
EXAMPLE = (ROOT / "docs" / "formats.md").read_text("utf-8").partition("```toml\n")[2].partition("```")[0]
POST_OFFICE = [
    {"sent_at": "2024-07-01T10:00:00", "events": [
        {"kind": "posted", "moment": 1719820800, "letter": "L1.x", "people": ["ann@mail.example", "bob@mail.example"],
         "campaign": {"id": 7, "name": "July"}},
        {"kind": "failed", "moment": "2024-07-01 10:00:00", "letter": "L1.x", "campaign": {"id": 7},
         "people": [{"mail": "ann@mail.example"}, {"mail": "bob@mail.example"}],
         "detail": {"severity": "hard", "code": 550, "text": "no such user", "extra": {"n": 1}}},
        {"kind": "seen", "moment": "", "letter": "L1.x", "people": ["a@b.example", "c@d.example"],
         "shared": 1, "robot": "yes"},
    ]},
    {"events": [{"kind": "followed up", "moment": "2024-07-02T00:00:00Z", "letter": "L2",
                 "people": ["ann@mail.example"],
                 "target": "https://a.example",
                 "target_name": "Shop", "labels": "vip", "mood": "good"}]},
    {"events": []},
]  # fmt: skip


def post_office(load: sources.RawLoad) -> None:
    assert events(load, "reported_type", "message_id", "delivery_id", "address", "bounce_class", "is_machine") == [
        ("sent", "L1:ann@mail.example", "7", "ann@mail.example", None, None),
        ("sent", "L1:bob@mail.example", "7", "bob@mail.example", None, None),
        ("bounced", "L1:ann@mail.example", "7", "ann@mail.example", "hard", None),
        ("bounced", "L1:bob@mail.example", "7", "bob@mail.example", "hard", None),
        ("opened", "L1", None, None, None, True),
        ("clicked", "L2", None, "ann@mail.example", None, None),
    ]  # fmt: skip
    assert [at for (at,) in events(load, "occurred_at")][2:] == [
        datetime(2024, 7, 1, 8, tzinfo=UTC), datetime(2024, 7, 1, 8, tzinfo=UTC), datetime(2024, 7, 1, 8, tzinfo=UTC),
        datetime(2024, 7, 2, tzinfo=UTC),
    ]  # fmt: skip
    assert events(load, "attributes", "tags")[2:] == [
        ('{"extra":{"n":1}}', None), ('{"extra":{"n":1}}', None), ('{"shared":1}', None),
        ('{"mood":"good"}', '["vip"]'),
    ]  # fmt: skip
    assert told(load, "link", "url", "label", "type_code") == [("https://a.example", "Shop", 1)]
    assert told(load, "delivery", "delivery_id", "label") == [("7", "July")]
    assert "instants carry no offset and were read as Europe/Paris" in load.report.sources[0].assumptions


def test_the_example_of_the_page_is_read_by_its_path(tmp_path: Path) -> None:
    (tmp_path / "own.toml").write_text(EXAMPLE)
    post_office(read(tmp_path / "in", POST_OFFICE, format=str(tmp_path / "own.toml")))


def test_a_map_in_the_working_folder_is_found_listed_and_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "formats").mkdir()
    (tmp_path / "formats" / "own.toml").write_text(EXAMPLE)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "trackkit.toml").touch()
    load = read(tmp_path / "in", POST_OFFICE)
    post_office(load)
    assert load.report.sources[0].format == "post_office"
    assert sources.formats()["post_office"].recognised == "records with kind, moment and letter"
    assert check_maps() == []
    (tmp_path / "formats" / "wrong.toml").write_text(OWN.replace("moment", "momment").replace("[words]", "[wrds]"))
    (problem,) = check_maps()
    assert "wrong.toml" in problem and "key 'wrds': there is no such key. Did you mean 'words'?" in problem
    with pytest.raises(RequestError, match="wrds"):
        sources.formats()


def test_a_changed_map_reads_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "formats").mkdir()
    monkeypatch.chdir(tmp_path)
    (tmp_path / "trackkit.toml").touch()
    (tmp_path / "in").mkdir()
    _written(tmp_path / "in", [{"kind": "seen", "moment": 1700000000}])
    (tmp_path / "formats" / "own.toml").write_text(OWN.replace('seen = "opened"', ""))
    store = open_store(tmp_path / "store")
    assert store.ingest(tmp_path / "in").sources[0].unknown_types == {"seen": 1}
    assert "was not read again" in str(store.ingest(tmp_path / "in"))
    (tmp_path / "formats" / "own.toml").write_text(OWN)
    assert store.ingest(tmp_path / "in").sources[0].unknown_types == {}


def test_formats_of_the_package_are_listed_at_the_prompt() -> None:
    said = subprocess.run(
        [sys.executable, "-m", "trackkit", "formats", "--json"], capture_output=True, text=True, check=True, cwd=ROOT
    )
    listed = {one["name"]: one for one in json.loads(said.stdout)}
    assert {"adobe_redirection_log", "adobe_export", "mailchimp", *all_feeds()} <= set(listed)
    assert all(one["what"] and one["recognised"] for one in listed.values())


def test_the_options_of_the_prompt_reach_the_reader(tmp_path: Path) -> None:
    _written(tmp_path, [click(1, category=None), click(1, category=None, sg_event_id="retried")])
    asked = ["ingest", str(tmp_path / "events.json"), "--store", str(tmp_path / "store"), "--json"]
    said = subprocess.run(
        [sys.executable, "-m", "trackkit", *asked, "--dedupe", "loose", "--delivery-field", "=june"],
        capture_output=True, text=True, check=True, cwd=ROOT,
    )  # fmt: skip
    (source,) = json.loads(said.stdout)["sources"]
    assert (source["kept"], source["duplicate"], source["not_events"]) == (1, 1, 0)
    event = open_store(tmp_path / "store").scan("event").collect()
    assert event["delivery_id"].to_list() == ["june"]


@pytest.mark.parametrize("depth", [900, 960, 970, 980, 985, 990, 995, 1000, 3000])
def test_no_depth_of_nesting_stops_a_file(depth: int, tmp_path: Path) -> None:
    deep = json.dumps(click(2))[:-1] + f', "deep": {"[" * depth}{"]" * depth}}}'
    load = read(tmp_path / "in", "\n".join([json.dumps(click(1)), deep, json.dumps(click(3))]))
    assert [one for (one,) in events(load, "vendor_id") if one != "e2"] == ["e1", "e3"]
    assert set(load.quarantine["reason"]) <= {"no JSON: nested too deeply"}


@settings(max_examples=100, deadline=None)
@given(text=st.text() | st.text('{}[]",:\n a1=&%'), block=st.integers(1, 20))
def test_framing_ends_on_any_text(text: str, block: int) -> None:
    blocks = [text[i : i + block] for i in range(0, len(text), block)]
    kept = list(framing.frames(blocks))
    assert all(isinstance(one, dict | framing.Broken) for one in kept)
