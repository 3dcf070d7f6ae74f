"""Table files: one content gives the same rows in every variant of header, separator, encoding, packing and parts."""

import csv
import gzip
import io
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trackkit import sources

SQL = ("iTrackingUrlId", "iDeliveryId", "iType", "sLabel", "sCategory", "sSource", "sTagId", "iOccurrence", "sExtra")
HEADERS = {
    "SQL": SQL,
    "lower": tuple(name.lower() for name in SQL),
    "plain": ("tracking-url-id", "delivery-id", "type", "label", "category", "source", "tag-id", "occurrence", "extra"),
    "xpath": ("@id", "[@delivery-id]", "@type", "[@label]", "@category", "@source", "[@tag-id]", "@occurrence", "@x"),
    "prefixed": ("ID", "[delivery/@id]", "[url/@type]", "url/@label", "URL / CATEGORY", "[url/@source]", "@tagId",
                 "i_occurrence", "extra"),
}  # fmt: skip


def read(folder: Path, name: str, content: bytes | str, **options: object) -> sources.RawLoad:
    path = folder / "in" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return sources.read(path, folder / "staging", **options)  # type: ignore[arg-type]


def table(headers: Iterable[str], rows: Iterable[Iterable[str]], separator: str = ",", **dialect: object) -> str:
    text = io.StringIO(newline="")
    csv.writer(text, delimiter=separator, **dialect).writerows([headers, *rows])  # type: ignore[arg-type]
    return text.getvalue()


def values(load: sources.RawLoad, name: str) -> pl.DataFrame:
    frame = load.frames[name].select(pl.exclude("source_file", "source_row")).collect()
    return frame.sort(frame.columns)


IDS = st.one_of(st.integers(1, 2**63).map(str), st.sampled_from(["0", "007", "9007199254740993", "x", "1e5", ""]))
CELLS = st.text(st.characters(max_codepoint=255, exclude_categories=["Cc"]) | st.sampled_from(",;\t\n\"'|"), max_size=9)
ROWS = st.lists(
    st.tuples(IDS, IDS, st.sampled_from(["1", "2", "10", "Email click", "open", "", "what"]), CELLS, CELLS, CELLS,
              CELLS, st.sampled_from(["1", "", "2.0", "many", "-3"]), CELLS),
    min_size=1, max_size=8,
)  # fmt: skip
VARIANTS = st.tuples(
    st.sampled_from(sorted(HEADERS)), st.sampled_from(",;\t"), st.sampled_from(["utf-8", "utf-8-sig", "latin-1"]),
    st.sampled_from(["", ".gz", ".zst", "parquet"]), st.booleans(), st.sampled_from(["\n", "\r\n"]),
    st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
)  # fmt: skip
PACK = {"": bytes, ".gz": gzip.compress, ".zst": zstandard.compress}


def write_variant(folder: Path, rows: list[tuple[str, ...]], variant: tuple) -> Path:
    header, separator, encoding, packing, in_parts, line_end, quoting = variant
    folder.mkdir(parents=True, exist_ok=True)
    parts = [rows[: len(rows) // 2], rows[len(rows) // 2 :]] if in_parts else [rows]
    for number, part in enumerate(parts):
        stem = folder / (f"tracking_url/part-{number}" if in_parts else "tracking_url")
        stem.parent.mkdir(exist_ok=True)
        if packing == "parquet":
            pl.DataFrame(part, schema=HEADERS[header], orient="row").write_parquet(f"{stem}.parquet")
        else:
            text = table(HEADERS[header], part, separator, lineterminator=line_end, quoting=quoting)
            Path(f"{stem}.csv{packing}").write_bytes(PACK[packing](text.encode(encoding)))
    return folder


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=ROWS, variant=VARIANTS)
def test_every_variant_of_a_file_gives_the_same_rows(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, ...]], variant: tuple
) -> None:
    folder = tmp_path_factory.mktemp("variants")
    plain = ("SQL", ",", "utf-8", "", False, "\n", csv.QUOTE_MINIMAL)
    first = sources.read(write_variant(folder / "a", rows, plain), folder / "staging")
    other = sources.read(write_variant(folder / "b", rows, variant), folder / "staging")
    assert values(first, "link").equals(values(other, "link"))
    assert first.report.total("read") == other.report.total("read") == len(rows)
    assert first.report.total("quarantined") == other.report.total("quarantined")
    assert first.quarantine.height == first.report.total("quarantined")
    sound = [row for row in rows if row[0] not in ("0", "x", "1e5", "") and row[1] not in ("x", "1e5")]
    sound = [row for row in sound if row[7] != "many"]
    kept = first.frames["link"].sort("source_row").collect()
    codes = {"": None, "what": None, "Email click": 1, "open": 2}
    assert kept["type_code"].to_list() == [codes[row[2]] if row[2] in codes else int(row[2]) for row in sound]
    assert kept["link_id"].to_list() == [row[0].lstrip("0") for row in sound]
    assert kept["delivery_id"].to_list() == [row[1].lstrip("0") or None for row in sound]
    assert kept["label"].to_list() == [row[3] or None for row in sound]
    assert kept["source_row"].to_list() == [place for place, row in enumerate(rows, 1) if row in sound]


def test_ids_beyond_2_to_the_53_are_exact(tmp_path: Path) -> None:
    ids = [str(2**53 + 1), str(2**63), str(2**64 - 1), "123456789012345678901234567890", "-5"]
    load = read(tmp_path, "delivery.csv", table(["iDeliveryId"], [[one] for one in ids]))
    assert load.frames["delivery"].collect()["delivery_id"].to_list() == ids


def test_ids_may_be_uuids_but_never_mangled_numbers(tmp_path: Path) -> None:
    rows = [["123E4567-E89B-12D3-A456-426614174000"], ["1.23E+15"], ["12.0"], ["9007199254740993.0"], ["1 2"]]
    load = read(tmp_path, "delivery.csv", table(["uDeliveryId"], rows))
    assert load.frames["delivery"].collect()["delivery_id"].to_list() == ["123e4567-e89b-12d3-a456-426614174000", "12"]
    rounded = (
        "a rounded number, as a spreadsheet writes a long one: its last digits may be lost; export the table again"
    )
    assert load.quarantine.select("source_row", "reason").rows() == [
        (2, f"'1.23E+15' in column 'uDeliveryId' is {rounded}"),
        (4, "'9007199254740993.0' in column 'uDeliveryId' is neither a whole number nor a UUID"),
        (5, "'1 2' in column 'uDeliveryId' is neither a whole number nor a UUID"),
    ]


def test_ragged_rows_bad_numbers_and_missing_keys_are_refused_with_their_row(tmp_path: Path) -> None:
    text = (
        "iBroadLogId;iDeliveryId;iStatus;tsEvent;sAddress\n"
        "1;7;1;2024-01-02 03:04:05;a@x\n"
        "2;7;1\n"
        "\n"
        '3;7;many;2024-01-02;"b;\n@x"\n'
        ";7;1;2024-01-02;c@x\n"
        "5;0;1;2024-01-02;d@x\n"
        "6;7;1;2024-02-30;e@x\n"
        "7;7;1;2024-01-02;f@x;more\n"
        "8;7;Sent;2024-01-02 03:04:05.5+02:00;g@x"
    )
    load = read(tmp_path, "broadlog.csv", text)
    kept = load.frames["message"].collect()
    assert kept.select("message_id", "status_code", "status_at", "source_row").rows() == [
        ("1", 1, datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC), 1),
        ("3", None, datetime(2024, 1, 2, tzinfo=UTC), 3),
        ("8", 1, datetime(2024, 1, 2, 1, 4, 5, 500_000, UTC), 8),
    ]
    assert load.quarantine.select("source_row", "reason", "text").rows() == [
        (2, "5 cells expected, got 3", "2;7;1"),
        (4, "no message_id (column 'iBroadLogId')", ";7;1;2024-01-02;c@x"),
        (5, "no delivery_id (column 'iDeliveryId')", "5;0;1;2024-01-02;d@x"),
        (6, "'2024-02-30' in column 'tsEvent' is not an instant that exists", "6;7;1;2024-02-30;e@x"),
        (7, "5 cells expected, got 6", "7;7;1;2024-01-02;f@x;more"),
    ]
    assert (load.report.total("read"), load.report.total("quarantined")) == (8, 5)
    assert load.report.sources[0].unknown_values == {"status_code": {"many": 1}}


def test_row_numbers_hold_across_blocks_of_a_large_file(tmp_path: Path) -> None:
    wide = "x" * 1000
    rows = [f"{number},{wide}" if number % 1000 else f"{number}" for number in range(1, 30_001)]
    load = read(tmp_path, "delivery.csv", "iDeliveryId,sLabel\n" + "\n".join(rows))
    kept = load.frames["delivery"].collect()
    assert kept["source_row"].cast(pl.String).equals(kept["delivery_id"])
    assert load.quarantine["source_row"].to_list() == list(range(1000, 30_001, 1000))
    assert load.report.total("read") == 30_000


def test_typed_parquet_gives_what_text_gives(tmp_path: Path) -> None:
    at = datetime(2024, 5, 6, 7, 8, 9, 120_000)
    typed = pl.DataFrame(
        {"iTrackingLogId": [2**60 + 1, 2], "tsLog": [at, None], "iUrlId": [1.0, 7.0], "iDeliveryId": [5, 0],
         "tags": [["a"], ["b"]]}, schema_overrides={"tsLog": pl.Datetime("us")},
    )  # fmt: skip
    typed.write_parquet(tmp_path / "tracking_log.parquet")
    load = sources.read(tmp_path / "tracking_log.parquet", tmp_path / "staging", timezone="Europe/Paris")
    assert load.frames["event"].collect().select("event_id", "occurred_at", "link_id", "delivery_id").rows() == [
        (str(2**60 + 1), datetime(2024, 5, 6, 5, 8, 9, 120_000, UTC), "1", "5"), ("2", None, "7", None),
    ]  # fmt: skip
    assert load.report.total("undated") == 1


@pytest.mark.parametrize("pack", [gzip.compress, zstandard.compress])
def test_a_packed_table_cut_short_is_read_up_to_the_cut(tmp_path: Path, pack: object) -> None:
    rows = [f"{number},{number * 7919 % 10007}" for number in range(1, 50_000)]
    packed = pack(("iDeliveryId,sLabel\n" + "\n".join(rows)).encode())  # type: ignore[operator]
    load = read(tmp_path, "delivery.csv.gz", packed[: len(packed) // 2])
    ids = load.frames["delivery"].collect()["delivery_id"].to_list()
    assert 0 < len(ids) < len(rows)
    assert ids == [str(number) for number in range(1, len(ids) + 1)]
    assert load.quarantine["source_row"].to_list() == [len(ids) + 1]
    assert load.quarantine["reason"][0].startswith("the file is cut here and the rest of it is lost")
    assert load.report.total("read") == len(ids) + 1


def test_one_bad_byte_in_utf8_spoils_its_row_only(tmp_path: Path) -> None:
    rows = "iDeliveryId,sLabel\n1,café\n2,b?d\n3,€ 👓\n".encode().replace(b"?", b"\xff")
    load = read(tmp_path, "delivery.csv", rows)
    assert load.frames["delivery"].collect()["label"].to_list() == ["café", "€ 👓"]
    assert load.quarantine.select("source_row", "reason").rows() == [(2, "not UTF-8")]


def test_latin_1_is_assumed_aloud(tmp_path: Path) -> None:
    load = read(tmp_path, "delivery.csv", "iDeliveryId;sLabel\n1;Été à la mer\n".encode("latin-1"))
    assert load.frames["delivery"].collect()["label"].to_list() == ["Été à la mer"]
    assert "the text is not UTF-8 and was read as Latin-1" in load.report.sources[0].assumptions


def test_a_quote_that_is_never_closed_loses_no_row_silently(tmp_path: Path) -> None:
    text = "iDeliveryId,sLabel\n" + "".join(f"{number},a\n" for number in range(1, 5)) + '5,"never\n6,b\n7,c\n'
    load = read(tmp_path, "delivery.csv", text)
    assert load.frames["delivery"].collect()["delivery_id"].to_list() == ["1", "2", "3", "4", "6", "7"]
    assert load.quarantine.select("source_row", "reason", "text").rows() == [
        (5, "a stray quote: it is not closed before another row begins", '5,"never')
    ]


def test_unknown_columns_are_listed_and_unknown_types_counted(tmp_path: Path) -> None:
    load = read(tmp_path, "tracking_url.csv", table(SQL, [["1", "2", "10", *[""] * 6], ["2", "2", "11", *[""] * 6]]))
    assert load.report.sources[0].ignored_columns == ["sExtra"]
    assert load.report.sources[0].unknown_types == {"10": 1, "11": 1}


@pytest.mark.parametrize("text", ["", "iDeliveryId,sLabel", "iDeliveryId,sLabel\n", "\n\niDeliveryId,sLabel\r\n\r\n"])
def test_a_file_without_rows(tmp_path: Path, text: str) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "broadlog.csv").write_text("iBroadLogId,iDeliveryId\n1,2\n")
    (tmp_path / "in" / "delivery.csv").write_text(text)
    load = sources.read(tmp_path / "in", tmp_path / "staging")
    assert load.report.total("read") == 1
    assert load.quarantine.height == 0
