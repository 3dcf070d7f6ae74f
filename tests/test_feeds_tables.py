"""Tables of declared formats: every dialect and packing gives the same events, and every row is accounted for."""

import gzip
import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.feeds import PACKINGS, events, read, table, told
from tests.hostile import ATTACKS, URLS
from trackkit import open_store
from trackkit.errors import DataError, RequestError
from trackkit.sources import formats
from trackkit.sources.feeds.feed import read_feed

COLUMNS = ("event_id", "source_row", "occurred_at", "message_id", "delivery_id", "recipient_id", "link_id", "vendor_id")


def activity(number: int, **more: Any) -> dict[str, Any]:
    """Return a click; ids beyond 2^53, of which a float would make two the same."""
    return {
        "marketoGUID": str(9007199254740992 + number), "leadId": str(2**53 + number), "campaignId": "7",
        "activityDate": f"2023-11-14T22:13:{20 + number}Z", "activityTypeId": "11",
        "primaryAttributeValueId": "9007199254740993", "primaryAttributeValue": "Été; 50 %, \"neu\"\nand\tmore",
        "attributes": json.dumps({"Link": f"https://shop.example/é?n={number}", "Big": 2**53 + 1}, ensure_ascii=False),
        **more,
    }  # fmt: skip


ROWS = [activity(number) for number in range(7)]


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> list[tuple]:
    load = read(tmp_path_factory.mktemp("plain") / "in", table(ROWS), "a.csv")
    rows = events(load, *COLUMNS)
    assert rows[3][1:6] + rows[3][7:] == (
        4, datetime(2023, 11, 14, 22, 13, 23, tzinfo=UTC), "9007199254740993:7:0:9007199254740995", "9007199254740993",
        "9007199254740995", "9007199254740995",
    )  # fmt: skip
    assert len(set(rows)) == 7
    assert told(load, "delivery", "label") == [('Été; 50 %, "neu"\nand\tmore',)]
    assert json.loads(events(load, "attributes")[0][0])["attributes"]["Big"] == 9007199254740993
    return rows


@pytest.mark.parametrize("packing", PACKINGS)
@pytest.mark.parametrize(("separator", "end"), [(",", "\n"), (";", "\r\n"), ("\t", "\n")])
def test_every_dialect_and_packing_gives_the_same_events(
    separator: str, end: str, packing: str, tmp_path: Path, expected: list[tuple]
) -> None:
    raw = PACKINGS[packing](table(ROWS, separator, end).encode())
    name = {"gzip": "a.csv.gz", "two gzip members": "a.csv.gz", "zstd": "a.csv.zst"}.get(packing, "a.csv")
    assert events(read(tmp_path / "in", raw, name), *COLUMNS) == expected


def test_parquet_gives_the_same_events(tmp_path: Path, expected: list[tuple]) -> None:
    frame = pl.DataFrame(ROWS).with_columns(
        pl.col("marketoGUID", "leadId", "campaignId", "activityTypeId", "primaryAttributeValueId").cast(pl.Int64),
        pl.col("activityDate").str.to_datetime(time_zone="UTC"), further=pl.lit([1, 2]),
    )  # fmt: skip
    frame.write_parquet(tmp_path / "a.parquet")
    load = read(tmp_path / "in", (tmp_path / "a.parquet").read_bytes(), "a.parquet")
    assert events(load, *COLUMNS) == expected
    assert load.report.sources[0].assumptions == ["columns of lists, structures or bytes are not read: further"]


@pytest.mark.parametrize("spelled", [str.lower, str.upper, lambda header: header.replace("Id", "_ID"), "[{}]".format])
def test_headers_are_compared_by_letters_and_digits(spelled: Any, tmp_path: Path, expected: list[tuple]) -> None:
    rows = [{spelled(name): value for name, value in row.items()} for row in ROWS]
    assert events(read(tmp_path / "in", table(rows), "a.csv"), *COLUMNS) == expected


def test_latin1_is_read_and_said(tmp_path: Path) -> None:
    load = read(tmp_path / "in", table(ROWS).encode("latin-1"), "a.csv")
    assert load.report.sources[0].assumptions == ["the text is not UTF-8 and was read as Latin-1"]
    assert told(load, "link", "url")[0] == ("https://shop.example/é?n=0",)


def test_damaged_text_spoils_only_its_row(tmp_path: Path) -> None:
    lines = table([activity(number, primaryAttributeValue="Été") for number in range(4)]).encode().split(b"\n")
    lines[2] = lines[2].replace("é".encode(), b"\xe9", 1)
    load = read(tmp_path / "in", b"\n".join(lines), "a.csv")
    assert load.quarantine.select("source_row", "reason").rows() == [(2, "not UTF-8")]
    assert events(load, "source_row") == [(1,), (3,), (4,)]


def test_bad_rows_are_set_aside_with_their_numbers(tmp_path: Path) -> None:
    rows = [
        activity(0), activity(1, activityDate="yesterday"), activity(2, activityTypeId=""),
        activity(3, attributes="{'Link': 'x'}"), activity(4, attributes="{\"Is Bot Activity\": \"perhaps\"}"),
        activity(5, primaryAttributeValue="one line"), activity(6, attributes="words"), activity(7, activityDate=""),
    ]  # fmt: skip
    for row in rows:
        row["primaryAttributeValue"] = "News"
    lines = table(rows).splitlines(keepends=True)
    lines[6] = lines[6].replace("\n", ",one cell too many\n")
    load = read(tmp_path / "in", "".join(lines), "a.csv")
    assert load.quarantine.sort("source_row").select("source_row", "reason").rows() == [
        (2, "'yesterday' of occurred_at is not an instant that exists"),
        (3, "no activityTypeId: no record of marketo"), (4, "no JSON in column 'attributes'"),
        (5, "'perhaps' of is_machine is not true or false"), (6, "8 cells expected, got 9"),
    ]  # fmt: skip
    assert events(load, "source_row", "link_id") == [
        (1, events(load, "link_id")[0][0]), (7, None), (8, events(load, "link_id")[2][0])
    ]  # fmt: skip
    (said,) = load.report.sources
    assert (said.read, said.quarantined, said.undated) == (8, 5, 1)
    assert load.quarantine["text"][1].startswith("9007199254740994,")


def test_a_file_cut_short_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    whole = table([activity(number % 40, leadId=str(number)) for number in range(3000)]).encode()
    load = read(tmp_path / "in", gzip.compress(whole)[:-200], "a.csv.gz")
    (said,) = load.report.sources
    assert 0 < said.quarantined < 3 and 2000 < said.read < 3001
    assert load.quarantine["reason"][-1].startswith("the file is cut here and the rest of it is lost")


def test_more_rows_than_are_read_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trackkit.sources.feeds.tabular.ROWS", 3)
    rows = [activity(number) for number in range(8)]
    rows[4]["attributes"] = "{no"
    load = read(tmp_path / "in", table(rows), "a.csv")
    assert [row for (row,) in events(load, "source_row")] == [1, 2, 3, 4, 6, 7, 8]
    assert load.quarantine["source_row"].to_list() == [5]


@pytest.mark.parametrize("text", [*ATTACKS, *URLS])
def test_hostile_cells_come_through_as_they_are(text: str, tmp_path: Path) -> None:
    hostile = activity(0, leadId=text, primaryAttributeValue=text, attributes=json.dumps({"Link": text, text: text}))
    load = read(tmp_path / "in", table([{**hostile, f"x {text[:50]}": text}]), "a.csv")
    ((recipient, attributes),) = events(load, "recipient_id", "attributes")
    assert recipient == text
    assert told(load, "link", "url") == told(load, "delivery", "label") == [(text,)]
    assert list(json.loads(attributes).values()) == [{"Link": text, text: text}, text]


def test_a_table_without_rows_or_headers(tmp_path: Path) -> None:
    load = read(tmp_path / "in", table(ROWS).splitlines()[0] + "\n", "a.csv")
    assert (load.report.sources[0].read, events(load, "event_id")) == (0, [])
    with pytest.raises(DataError, match="has no headers"):
        read(tmp_path / "none", "", "b.csv", format="marketo")


def test_reading_twice_changes_nothing(tmp_path: Path) -> None:
    for name in ("a.csv", "b.csv"):
        (tmp_path / name).write_text(table(ROWS), "utf-8")
    store = open_store(tmp_path / "store")
    first = store.ingest(str(tmp_path / "a.csv"))
    again = store.ingest(str(tmp_path / "b.csv"))
    assert (first.total("kept"), again.total("kept"), again.total("duplicate")) == (7, 0, 7)
    assert first.is_settled and again.is_settled


def test_a_user_adds_a_table_with_a_map(tmp_path: Path) -> None:
    guide = (Path(__file__).parents[1] / "docs" / "formats.md").read_text("utf-8")
    example = next(block for block in re.findall(r"```toml\n(.*?)```", guide, re.DOTALL) if "warehouse" in block)
    (tmp_path / "own.toml").write_text(example)
    rows = [{"person": "p", "at": "24.12.2023 18:30", "mailing": "m", "labels": "[\"a\", \"b\"]", "wave": ""},
            {"person": "q", "at": "24.12.2023 18:31", "mailing": "", "labels": "one", "wave": "2"}]  # fmt: skip
    load = read(
        tmp_path / "in", table(rows), "opens_2023-12.csv", format=str(tmp_path / "own.toml"), timezone="Europe/Berlin"
    )
    assert events(load, "reported_type", "occurred_at", "delivery_id", "message_id", "tags") == [
        ("opened", datetime(2023, 12, 24, 17, 30, tzinfo=UTC), "m", "m:1:p", '["a","b"]'),
        ("opened", datetime(2023, 12, 24, 17, 31, tzinfo=UTC), None, None, '["one"]'),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ('columns = { id = "id" }', "there is no column 'id' of delivery"),
        ('columns = { label = "name" }', "'columns' names no delivery_id"),
        ('columns = { delivery_id = "a..b" }', "'a..b' is no path"),
    ],
)
def test_a_sibling_that_cannot_be_read_is_said(written: str, said: str, tmp_path: Path) -> None:
    marks = 'name = "own"\nwhat = ""\nengine = "table"\nword = ["kind"]\ncolumns = {}\nrecognise = { all = ["kind"] }\n'
    (tmp_path / "own.toml").write_text(f'{marks}[[sibling]]\ntable = "delivery"\nfiles = ["mailings"]\n{written}\n')
    with pytest.raises(RequestError, match=re.escape(said)):
        read_feed(tmp_path / "own.toml")


def test_formats_are_listed() -> None:
    known = formats()
    for name in ("salesforce_marketing_cloud", "marketo", "iterable", "klaviyo", "pardot"):
        assert known[name].what and known[name].recognised


_TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\x00\r"), max_size=12)


@settings(max_examples=40, deadline=None)
@given(
    cells=st.lists(st.tuples(_TEXT, _TEXT), min_size=1, max_size=6), separator=st.sampled_from(",;\t"),
    size=st.integers(1, 4),
)  # fmt: skip
def test_any_text_in_any_cell_is_kept(
    cells: list[tuple[str, str]], separator: str, size: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    rows = [activity(place, leadId=f"p{one}", further=other) for place, (one, other) in enumerate(cells)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("trackkit.sources.feeds.tabular.ROWS", size)
        load = read(tmp_path_factory.mktemp("any") / "in", table(rows, separator), "a.csv")
    kept = {
        number: (person, json.loads(rest))
        for number, person, rest in events(load, "source_row", "recipient_id", "attributes")
    }
    assert load.report.sources[0].read == len(rows)
    for number, (one, other) in enumerate(cells, 1):
        if number in kept:
            assert kept[number][0] == f"p{one}"
            assert kept[number][1].get("further", other) == other
