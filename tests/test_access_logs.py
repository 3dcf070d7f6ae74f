"""Access logs and logs at large: what a map may say of requests, holes of NUL bytes, and lines without end."""

import gzip
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.feeds import events, read
from trackkit.errors import RequestError
from trackkit.sources.feeds.feed import read_feed
from trackkit.sources.files import Holes
from trackkit.sources.lines import LONGEST, Lines

HEAD = "198.51.100.1 - - [05/Mar/2025:08:00:00 +0100]"
MAP = """
name = "own"
what = "Our own"
engine = "access_log"
word = ["hit"]
[recognise]
because = "/t/<id>"
[words]
seen = "opened"
[columns]
occurred_at = "time"
recipient_id = "who"
[[hit]]
path = '^/t/(?P<who>[0-9a-z]+)$'
word = "seen"
"""


def line(path: str, status: int = 200, method: str = "GET") -> str:
    return f'{HEAD} "{method} {path} HTTP/1.1" {status} 43 "-" "Mozilla/5.0"'


def counted(folder: Path, said: str, lines: list[str]) -> list[str | None]:
    """Return whom the hits name, by a map that says more of its hit."""
    (folder / "own.toml").write_text(MAP + said)
    load = read(folder / "in", "\n".join(lines), "access.log", format=str(folder / "own.toml"))
    return [who for (who,) in events(load, "recipient_id")]


def test_a_map_says_which_methods_and_statuses_count(tmp_path: Path) -> None:
    lines = [line("/t/a"), line("/t/b", 302), line("/t/c", 404), line("/t/d", 404, "HEAD"), line("/t/e", 307, "POST")]
    assert counted(tmp_path, "", lines) == ["a", "b"]
    assert counted(tmp_path, 'statuses = ["404"]', lines) == ["c"]
    assert counted(tmp_path, 'methods = ["GET", "HEAD"]\nstatuses = ["302", "4xx"]', lines) == ["b", "c", "d"]


def test_a_map_says_what_may_stand_before_a_path(tmp_path: Path) -> None:
    paths = ["/t/a", "//t/b", "/shop/t/c", "/shop//app.php/t/d", "/other/t/e", "/workshop/t/f", "/x?y=/t/g", "/shopt/h"]
    lines = [line(path) for path in paths]
    assert counted(tmp_path, "", lines) == ["a", "b"]
    assert counted(tmp_path, 'before = ["shop", "app.php"]', lines) == ["a", "b", "c", "d"]
    assert counted(tmp_path, 'before = "any"', lines) == ["a", "b", "c", "d", "e", "f"]


def test_a_map_says_which_texts_are_nothing(tmp_path: Path) -> None:
    assert counted(tmp_path, 'nothing = ["0"]', [line("/t/0"), line("/t/a")]) == [None, "a"]


@pytest.mark.parametrize(
    ("said", "complaint"),
    [
        ('statuses = ["3x"]', "'3x' is no status; write one as '302', or all of a kind as '3xx'"),
        ("statuses = []", "at least 1"),
        ('methods = ["GTE"]', "'GTE' is not known. Did you mean 'GET'"),
        ('before = "ani"', "'ani' is not known; write 'any', or list parts"),
        ('before = ["/shop"]', "'/shop' is no part of a path; write it without '/'"),
        ('statusses = ["200"]', "key 'hit.0.statusses': there is no such key. Did you mean 'statuses'"),
    ],
)
def test_what_a_hit_cannot_say_is_named(said: str, complaint: str, tmp_path: Path) -> None:
    (tmp_path / "own.toml").write_text(MAP + said)
    with pytest.raises(RequestError, match=re.escape(complaint)):
        read_feed(tmp_path / "own.toml")


def _as_written(data: bytes) -> bytes:
    """Return bytes without holes, by the rule itself, the whole file at once."""

    def filled(run: re.Match[bytes]) -> bytes:
        before = data[run.start() - 1 : run.start()] if run.start() else b"\n"
        after = data[run.end() : run.end() + 1] or b"\n"
        if len(run.group()) < 2:
            return run.group()
        return b"" if b"\n" in (before, after) else b"\n" if len(run.group()) >= 16 else run.group()

    return re.sub(rb"\x00+", filled, data)


@settings(deadline=None)
@given(st.lists(st.sampled_from([b"\0", b"\0\0", b"\0" * 20, b"a", b"bc\n", b"\n"])), st.lists(st.integers(0, 9)))
def test_holes_are_the_same_however_a_file_is_read(parts: list[bytes], sizes: list[int]) -> None:
    data, holes, place, found = b"".join(parts), Holes(), 0, b""
    for size in [*sizes, len(data)]:
        found += holes.passed_over(data[place : place + size])
        place += size
    assert found + holes.rest() == _as_written(data)


def test_a_line_that_is_too_long_is_refused_with_its_number(tmp_path: Path) -> None:
    whole = line("/r/?id=h3e9,32,1")
    longest = line("/r/?id=h3e9,32,1&x=" + "y" * (LONGEST - len(line("/r/?id=h3e9,32,1&x="))))
    texts = [whole, longest, longest.replace("&x=", "&xy="), "z" * 9_000_000, whole]
    load = read(tmp_path / "in", gzip.compress("\n".join(texts).encode()), "access.log.gz")
    assert [row for (row,) in events(load, "source_row")] == [1, 2, 5]
    assert load.quarantine.select("source_row", "reason").rows() == [
        (row, "the line is longer than 1,048,576 bytes") for row in (3, 4)
    ]


def test_a_redirection_log_goes_on_after_a_line_that_is_too_long(tmp_path: Path) -> None:
    hit = "50x{0:016X}\t2025-03-05T08:00:00.00\t1f\t32\t1\t0\te5155671-0\th\t\tUA\t198.51.100.1\n"
    raw = hit.format(1) + "z" * 5_000_000 + "\n" + hit.format(2)
    load = read(tmp_path / "in", raw, "a.log")
    assert load.report.sources[0].format == "adobe_redirection_log"
    assert events(load, "source_row", "event_id") == [(1, "1"), (3, "2")]
    assert load.quarantine.select("source_row", "reason").rows() == [(2, "the line is longer than 1,048,576 bytes")]
    assert load.quarantine["text"].str.len_chars().to_list() == [10_000]


def test_lines_are_those_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "a.log").write_bytes("\ufeffone\r\n\n\u00fc\u2028two\n \nthree".encode() + b"\xff")
    log = Lines(tmp_path / "a.log")
    rows = [row for frame in log.frames() for row in frame.select("source_row", "line").rows()]
    assert rows == [(1, "one"), (3, "\u00fc\u2028two"), (5, "three\ufffd\x00")]


MEASURED = """
import resource, sys
from pathlib import Path
from trackkit import sources
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
load = sources.read(sys.argv[1], Path(sys.argv[2]))
one = load.report.sources[0]
print(one.read, one.quarantined, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


@pytest.mark.parametrize("kind", ["access", "redirection"])
def test_a_small_file_of_one_enormous_line_takes_little_memory(kind: str, tmp_path: Path) -> None:
    first = {
        "access": line("/r/?id=h3e9,32,1"),
        "redirection": "50x00000000000000A1\t2025-03-05T08:00:00.00\t1f\t32\t1\t0\te5-0\th\t\tUA\t198.51.100.1",
    }[kind]
    with gzip.open(tmp_path / "a.log.gz", "wb", 1) as file:
        file.write(first.encode() + b"\n")
        for _ in range(200):
            file.write(b"z" * 1_000_000)
        file.write(b"\n" + first.encode())
    command = [sys.executable, "-c", MEASURED, str(tmp_path / "a.log.gz"), str(tmp_path / "staging")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    read_rows, refused, megabytes = map(int, done.stdout.split())
    assert (read_rows, refused) == (3, 1)
    assert megabytes < 200  # less than the line itself; it took a gigabyte and more


def test_a_json_record_that_is_too_long_is_refused_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trackkit.sources.feeds.framing.LONGEST", 6_000_000)
    record = {"email": "ann@mail.example", "timestamp": 1700000000, "event": "open", "sg_message_id": "m"}
    records = [json.dumps(record | {"sg_event_id": f"e{n}"}) for n in (1, 2)]
    for between in ("\n", ""):
        text = between.join([records[0], '{"email": "' + "z" * 30_000_000 + '"}', records[1]])
        load = read(tmp_path / f"in{len(between)}", text)
        assert [one for (one,) in events(load, "vendor_id")] == ["e1", "e2"]
        assert load.quarantine["reason"].to_list() == ["the record is longer than 6,000,000 characters"]
