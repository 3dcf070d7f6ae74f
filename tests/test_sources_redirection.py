"""The raw redirection log: accepted is what the platform's published check accepts, and every line is counted."""

import gzip
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import polars as pl
import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trackkit import sources

# The published check, with [[:alnum:]] as ASCII letters and digits and [[:print:]] as all but control characters.
PUBLISHED = (
    r"^[[:alnum:]]{2}x[[:alnum:]]*\t[0-9T:\.-]*\t[0-9a-fA-F]*\t[0-9a-fA-F]*\t[0-9a-fA-F]*\t[[:alnum:]]*\t[[:alnum:]-]*"
    r"\t[[:print:]]*\t[[:print:]]*\t[[:print:]]*"
    r"\t([0-9a-fA-F\.:]*|[0-9a-fA-F\.:]*\t[[:print:]]*|[0-9a-fA-F\.:]*,[[:print:]]*)$"
)
CHECK = re.compile(
    PUBLISHED.replace("[[:alnum:]-]", "[0-9A-Za-z-]").replace("[[:alnum:]]", "[0-9A-Za-z]")
    .replace("[[:print:]]", "[^\x00-\x1f\x7f-\x9f\u2028\u2029]")
)  # fmt: skip
GOOD = (
    "50x000000000FD7EC86\t2017-06-24T21:00:50.96\t1f506d71\t1aeab4b6\t1af77020\t0\tE5155671-AB\th\t\tUA 1\t52.46.20.64"
)


def line(**changes: str) -> str:
    """Return the good line with some fields changed."""
    names = ("log", "at", "message", "delivery", "link", "flags", "person", "format", "extra", "agent", "ip")
    fields = dict(zip(names, GOOD.split("\t"), strict=True)) | changes
    return "\t".join(fields[name] for name in names)


def read(folder: Path, content: bytes | str, name: str = "a.log", **options: object) -> sources.RawLoad:
    place = folder / "redir" / "log"
    place.mkdir(parents=True, exist_ok=True)
    (place / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return sources.read(folder / "redir", folder / "staging", **options)  # type: ignore[arg-type]


def events(load: sources.RawLoad) -> pl.DataFrame:
    return load.frames["event"].collect()


def is_instant(text: str) -> bool:
    parts = re.fullmatch(r"(\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2})(?:\.\d*)?", text, re.ASCII)
    try:
        return bool(parts) and 1 <= datetime.fromisoformat(parts[1]).year <= 9998
    except ValueError:
        return False


def is_sound(text: str) -> bool:
    """Return what we accept: the published check, less the semantic refusals, which are these four."""
    if not CHECK.match(text) or text.endswith("\n"):
        return False
    log, at, *ids = text.split("\t")[:5]
    if at and not is_instant(at):  # 1. an instant that does not exist
        return False
    if not re.fullmatch("[0-9a-fA-F]+", log[3:]):  # 2. a log id that is empty or not hexadecimal after its x
        return False
    return all(int(digits or "0", 16) < 2**64 for digits in (log[3:], *ids))  # 3. and 4. ids beyond 64 bits


def test_a_line_becomes_an_event(tmp_path: Path) -> None:
    load = read(tmp_path, GOOD + "\n")
    silent = ("address", "vendor_id", "bounce_class", "bounce_reason", "diagnostic", "smtp_status", "is_machine",
              "machine_reason", "is_first", "link_position", "tags", "attributes", "source_type",
              "external_id")  # fmt: skip
    assert events(load).row(0, named=True) == dict.fromkeys(silent) | {
        "delivery_id": str(0x1AEAB4B6), "message_id": str(0x1F506D71), "event_id": str(0xFD7EC86), "log_server": "50",
        "occurred_at": datetime(2017, 6, 24, 21, 0, 50, 960_000, UTC), "recipient_id": None,
        "person_id": "e5155671-ab", "link_id": str(0x1AF77020), "reported_type": None, "raw_event_type": None,
        "message_format": "html", "user_agent": "UA 1", "ip": "52.46.20.64", "collapse_seconds": 60,
        "source": "adobe_redirection_log", "source_file": "log/a.log", "source_row": 1,
    }  # fmt: skip
    assert load.report.sources[0].assumptions == ["instants carry no offset and were read as UTC"]


def test_nothing_stands_for_no_value(tmp_path: Path) -> None:
    empty = line(message="0", delivery="000", link="", person="", format="-", agent="-", ip="", at="")
    [row] = events(read(tmp_path, empty)).rows(named=True)
    names = ("message_id", "delivery_id", "link_id", "person_id", "message_format", "user_agent", "ip", "occurred_at")
    assert [row[name] for name in names] == [None] * 8


def test_the_published_corrupt_sample_is_refused(tmp_path: Path) -> None:
    sample = "50x000000000FD7EC86 2017-06-24T21:00:50.96 1f506d71 1aeab4b6 1af77020 0 e5155671 h UA 52.46.20.64"
    load = read(tmp_path, GOOD + "\n" + sample.replace(" ", "\t") + "\n")
    assert load.quarantine.rows() == [
        ("log/a.log", 2, "adobe_redirection_log", "11 fields expected, got 10", sample.replace(" ", "\t"))
    ]
    assert (load.report.total("read"), load.report.total("quarantined")) == (2, 1)


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (line(log="5x12"), "the log id '5x12' is not two characters, x and hexadecimal digits"),
        (line(log="50xzz"), "the log id '50xzz' is not two characters, x and hexadecimal digits"),
        (line(log="50x"), "the log id '50x' is not two characters, x and hexadecimal digits"),
        (line(log="50x1" + "0" * 16), "the log id '50x10000000000000000' exceeds 64 bits"),
        (line(at="2017-02-30T00:00:00"), "the instant '2017-02-30T00:00:00' does not exist"),
        (line(at="2017-06-24 21:00:50"), "the instant '2017-06-24 21:00:50' is not digits and T : . -"),
        (line(delivery="xyz"), "the delivery id 'xyz' is not hexadecimal"),
        (line(message="f" * 17), "the broadlog id 'fffffffffffffffff' exceeds 64 bits"),
        (line(agent="a\x00b"), "the line holds a NUL byte"),
        (line(agent="a\x07b"), "the user agent 'a\x07b' is not printable"),
        (line(ip="host.example"), "the IP address 'host.example' is not an address, alone or followed by a comma and "
                                  "the forwarded-for chain"),
        (GOOD + "\tchain\tmore", "11 fields expected, got 13"),
        (GOOD + "\tcha\x01in", "the forwarded-for chain is not printable"),
        ("x" * 1_000_000, "11 fields expected, got 1"),
    ],
)  # fmt: skip
def test_a_refused_line_says_which_field_is_wrong(tmp_path: Path, bad: str, reason: str) -> None:
    load = read(tmp_path, f"{GOOD}\n{bad}\n{GOOD}\n")
    assert load.quarantine.select("source_row", "reason").rows() == [(2, reason)]
    assert load.quarantine["text"].str.len_chars().max() <= 10_000
    assert events(load)["source_row"].to_list() == [1, 3]


@pytest.mark.parametrize("chain", ["", ",1.2.3.4, 5.6.7.8", "\t1.2.3.4, 5.6.7.8", "\t", ","])
def test_a_forwarded_for_chain_may_follow_a_tab_or_a_comma(tmp_path: Path, chain: str) -> None:
    assert events(read(tmp_path, GOOD + chain))["ip"].to_list() == ["52.46.20.64"]


def test_line_ends_blank_lines_and_bom(tmp_path: Path) -> None:
    load = read(tmp_path, "\ufeff".encode() + f"{GOOD}\r\n\r\n{GOOD}\n\nbad\n\n".encode())
    assert events(load)["source_row"].to_list() == [1, 3]
    assert load.quarantine["source_row"].to_list() == [5]
    assert load.report.total("read") == 3


def test_bytes_that_are_not_utf8_spoil_their_line_only(tmp_path: Path) -> None:
    lines = [GOOD, line(agent="caf\u00e9"), GOOD]
    content = "\n".join(lines).encode().replace(b"UA 1\t52", b"U\xff\t52", 1)
    load = read(tmp_path, content)
    assert load.quarantine.select("source_row", "reason").rows() == [(1, "not UTF-8")]
    assert events(load)["user_agent"].to_list() == ["café", "UA 1"]


@pytest.mark.parametrize("pack", [gzip.compress, zstandard.compress])
def test_packed_logs(tmp_path: Path, pack: object) -> None:
    load = read(tmp_path, pack(f"{GOOD}\n".encode() * 1000), name="a.log.gz")  # type: ignore[operator]
    assert (events(load).height, load.report.total("read"), load.quarantine.height) == (1000, 1000, 0)


@pytest.mark.parametrize("pack", [gzip.compress, zstandard.compress])
def test_a_packed_log_cut_short_is_read_up_to_the_cut(tmp_path: Path, pack: object) -> None:
    lines = [line(log=f"50x{number:x}", person=f"{number * 7919:x}") for number in range(1, 20_000)]
    packed = pack("\n".join(lines).encode())  # type: ignore[operator]
    load = read(tmp_path, packed[: len(packed) // 2], name="a.log.gz")
    ids = events(load)["event_id"].to_list()
    assert 0 < len(ids) < len(lines)
    assert ids == [str(number) for number in range(1, len(ids) + 1)]
    [(row, reason, text)] = load.quarantine.select("source_row", "reason", "text").rows()
    assert row == len(ids) + 1
    assert reason.startswith("the file is cut here and the rest of it is lost")
    assert lines[len(ids)].startswith(text)
    assert load.report.total("read") == len(ids) + 1


def test_fractions_of_any_length(tmp_path: Path) -> None:
    written = ["", ".", ".5", ".123456789", ".9999999"]
    load = read(tmp_path, "\n".join(line(at=f"2017-06-24T21:00:50{fraction}") for fraction in written))
    assert [at.microsecond for at in events(load)["occurred_at"]] == [0, 0, 500_000, 123_456, 999_999]


@pytest.mark.parametrize("zone", ["Europe/Paris", "America/Sao_Paulo", "Australia/Lord_Howe", "Pacific/Apia"])
def test_instants_are_read_in_the_zone_named(tmp_path: Path, zone: str) -> None:
    starts = [datetime(2011, 12, 29, 23), datetime(2018, 3, 25), datetime(2018, 10, 6, 20), datetime(2018, 10, 28)]
    locals_ = [start + timedelta(minutes=15 * step) for start in starts for step in range(16 * 4)]
    load = read(tmp_path, "\n".join(line(at=at.isoformat()) for at in locals_), timezone=zone)
    # Python's fold=0: the earlier of two instants, and the offset before a gap.
    expected = [at.replace(tzinfo=ZoneInfo(zone)).astimezone(UTC) for at in locals_]
    assert events(load)["occurred_at"].to_list() == expected


def test_clock_changes_are_counted(tmp_path: Path) -> None:
    times = ["2024-03-31T02:30:00", "2024-10-27T02:30:00", "2024-10-27T02:45:00", "2024-07-01T00:00:00"]
    load = read(tmp_path, "\n".join(line(at=at) for at in times), timezone="Europe/Paris")
    assert load.report.sources[0].assumptions == [
        "instants carry no offset and were read as Europe/Paris",
        "2 instants that the clocks of Europe/Paris showed twice were read as the earlier one",
        "1 instants that the clocks of Europe/Paris skipped were moved on by the gap",
    ]


def test_url_id_1_is_an_open_and_undated_hits_are_counted(tmp_path: Path) -> None:
    load = read(tmp_path, "\n".join([line(link="1"), line(link="01", at=""), line(link="11")]))
    assert events(load)["reported_type"].to_list() == ["opened", "opened", None]
    assert load.report.total("undated") == 1


def test_extra_parameters_make_web_events(tmp_path: Path) -> None:
    extras = [
        "tagid=shop%7Ct&amount=129.90&article=3", "tagid=a&amount=1,5&article=2l", "p1=x&tagid=", "other=1", "-",
        "tagid=b&amount=10&article=" + "1" * 38,
    ]  # fmt: skip
    assert len(extras[-1]) == 64
    load = read(tmp_path, "\n".join(line(log=f"50x{i:x}", extra=extra) for i, extra in enumerate(extras, 1)))
    web = load.frames["web_event"].collect().sort("source_row")
    assert web.select("event_id", "tag_id", "amount", "articles").rows() == [
        ("1", "shop|t", 129.9, 3), ("2", "a", 1.5, None), ("6", "b", 10.0, None),
    ]  # fmt: skip
    assert "1 values of 'article' that are no number were left empty" in load.report.sources[0].assumptions
    assert load.report.total("read") == events(load).height == 6


def test_the_collapse_window(tmp_path: Path) -> None:
    assert events(read(tmp_path, GOOD, collapse_minutes=0.5))["collapse_seconds"].to_list() == [30]
    assert events(read(tmp_path, GOOD, collapse_minutes=0))["collapse_seconds"].to_list() == [0]


HEX = st.text("0123456789abcdefABCDEF", max_size=18)
ODD = st.text(st.characters(exclude_characters="\n", exclude_categories=["Cs"]), max_size=6)
FIELDS = (
    st.one_of(st.builds("{}x{}".format, st.text("aZ0x-", min_size=1, max_size=3), HEX), ODD),
    st.one_of(
        st.datetimes(min_value=datetime(1, 1, 1)).map(lambda at: at.isoformat()),
        st.text("0123456789T:.-", max_size=21), st.just(""), ODD,
        st.from_regex(r"\A20[12]\d-[01]\d-[0-3]\dT[0-2]\d:[0-6]\d:[0-6]\d(\.\d{0,9})?\Z").filter(str.isascii),
    ),
    *[st.one_of(HEX, HEX, HEX, ODD)] * 3,
    st.one_of(st.text("a0Z", max_size=3), ODD), st.one_of(st.text("a0Z-", max_size=9), ODD),
    *[st.one_of(st.text(" aé=&", max_size=9), ODD)] * 3,
    st.one_of(st.text("1a.:", max_size=9), st.text("1a.:, ", max_size=9), ODD),
)  # fmt: skip
LINES = st.lists(
    st.one_of(
        st.tuples(*FIELDS, st.sampled_from(["", "", "\tx", ",y", "\tx\ty"])).map(lambda f: "\t".join(f[:-1]) + f[-1]),
        st.builds(lambda place, text: "\t".join([*GOOD.split("\t")[:place], text, *GOOD.split("\t")[place + 1 :]]),
                  st.integers(0, 10), st.one_of(HEX, ODD)),
        ODD,
    ),
    min_size=1, max_size=30,
)  # fmt: skip


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(lines=LINES)
def test_we_accept_what_the_published_check_accepts(tmp_path: Path, lines: list[str]) -> None:
    written = [text.removesuffix("\r") for text in lines]
    written[0] = written[0].removeprefix("\ufeff")
    load = read(tmp_path, "\n".join(written) + "\n")
    numbered = [(number, text) for number, text in enumerate(written, 1) if text]
    assert events(load)["source_row"].to_list() == [number for number, text in numbered if is_sound(text)]
    assert load.quarantine["source_row"].to_list() == [number for number, text in numbered if not is_sound(text)]
    assert load.report.total("read") == len(numbered)
