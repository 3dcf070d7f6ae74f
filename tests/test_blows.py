"""Blows that cost little to deal: content that takes the square of the time, names that command a terminal, and stores
and places that are damaged, full or closed."""

import json
import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from tests.spec.test_clickmap import badges, message
from trackkit.analysis.clickmap import annotated_message, placed_clicks
from trackkit.analysis.content import read_content
from trackkit.demo import write_demo
from trackkit.errors import DataError, RequestError
from trackkit.failures import refused_by_system
from trackkit.plain import in_json, one_line
from trackkit.resources import write_whole
from trackkit.show.exports import as_text
from trackkit.store import Store, open_store

LINE = "50x{:X}\t2026-01-01T00:0{}:00.00\t{:x}\t7\t1\t0\tp\th\t\tagent\t1.2.3.4\n"
LINK = '<a href="https://b.example/">x</a>'


# Content


@pytest.mark.parametrize(
    "body",
    [
        "<a " + " ".join(f"x{n}=1" for n in range(130_000)) + ' href="https://b.example/">x</a>',
        "<a " + " ".join(f"x{n}" for n in range(150_000)) + f">{LINK}",
        "".join(f"<html x{n}=1>" for n in range(70_000)) + LINK,
        "<table>" + "<br>x" * 200_000 + LINK,
        "<table>" + "<a href=x>x<table>" * 55_000 + LINK,
        "<ul><li>" * 120_000 + LINK,
        "<b><i></b></i>" * 70_000 + LINK,
        "<map>" * 1_000 + "<area href='https://b.example/'>" * 30_000 + LINK,
    ],
    ids=["attributes", "no values", "of html", "before a table", "tables in tables", "lists", "misnested", "maps"],
)
def test_a_megabyte_of_anything_is_read_in_the_time_of_its_length(body: str) -> None:
    started = time.process_time()  # the trees of before took the square of the time: minutes
    page = annotated_message(message(body), "230")
    assert time.process_time() - started < 10
    assert "17%" in page


def test_content_is_read_once_for_all_that_a_page_shows() -> None:
    read_content.cache_clear()
    tables = message(LINK)
    annotated_message(tables, "230")
    placed_clicks(tables, "230")
    assert read_content.cache_info().misses == 1


def test_what_stands_between_cells_goes_before_the_table_and_cells_stay_in_it() -> None:
    html = read_content(f"<table>a{LINK}<form><tr>b<td>c{LINK}</td></tr></form></table>d", "html").fragment
    mark = '<span class="click-share" title="{}"></span>'
    row = f"<table><tbody><tr><td>c<a>x</a>{mark.format(1)}</td></tr></tbody></table>"
    assert html == f"<div><div>a<a>x</a>{mark.format(0)}b{row}d</div></div>"


def test_what_is_nested_too_deep_is_shown_flat_with_its_links() -> None:
    places = read_content("<div>" * 5_000 + LINK, "html").places
    assert [place.url for place in places] == ["https://b.example/"]
    page = annotated_message(message("<div>" * 5_000 + LINK), "230")
    assert badges(page) == [("17%", "2 clicks")] and page.count("<div>") < 600


# Names


def test_one_line_is_one_line_and_letters_of_any_script_stay() -> None:
    assert one_line("a\nquality: pass\r\x1b[2J\x9b1m\u2028\u202eb\x7f") == (
        r"a\nquality: pass\r\x1b[2J\x9b1m\u2028\u202eb\x7f"
    )
    kept = "שלום \u200fنص 👨\u200d👩\u200d👧 Ünï\u00a0x"
    assert one_line(kept) == kept
    assert one_line(os.fsdecode(b"c\xff")) == r"c\udcff"


def test_json_keeps_its_meaning_and_holds_no_controls() -> None:
    value = {"na\u202eme": "\x9b2J\x1b\x7f\u2028 שלום"}
    written = in_json(json.dumps(value, ensure_ascii=False))
    assert json.loads(written) == value and "שלום" in written
    assert not {"\x9b", "\x7f", "\u2028", "\u202e"}.intersection(written)


def test_tables_for_a_terminal_show_controls_and_keep_marks_of_scripts() -> None:
    shown = as_text(pl.DataFrame({"label": ["a\nb\x1b[2J\u202ec", "שלום\u200f!"]}))
    assert r"a\nb\x1b[2J\u202ec" in shown and "שלום\u200f!" in shown


def trackkit(*words: object, **how: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "trackkit", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False, **how)  # type: ignore[call-overload]


def test_names_of_files_and_columns_command_no_terminal(tmp_path: Path) -> None:
    logs = tmp_path / "raw" / "redir" / "log"
    logs.mkdir(parents=True)
    for number, name in enumerate([b"a\nquality: fail.log", b"b\x1b[2J.log", b"c\xff.log", "\u202ed.log".encode()]):
        (logs / os.fsdecode(name)).write_text(LINE.format(number + 1, number * 2, number + 1))
    (tmp_path / "raw" / "delivery.csv").write_text("iDeliveryId,sLabel,he\x1b[1mad\n7,La\x1b[2Jbel,x\n")
    done = trackkit("ingest", tmp_path / "raw", "--store", tmp_path / "store")
    assert done.returncode == 0, done.stderr
    verdicts = [line for line in done.stdout.splitlines() if line.startswith("quality")]
    assert len(verdicts) == 1 and verdicts[0] != "quality: fail.log"
    assert r"redir/log/a\nquality: fail.log" in done.stdout and r"c\udcff.log" in done.stdout
    assert r"he\x1b[1mad" in done.stdout
    assert not {"\x1b", "\u202e"}.intersection(done.stdout + done.stderr)
    assert open_store(tmp_path / "store").scan("event").select(pl.len()).collect().item() == 4
    said = trackkit("measure", "--store", tmp_path / "store", "--delivery", "\x1b[2J")
    assert said.returncode == 2 and "\x1b" not in said.stderr and len(said.stderr.splitlines()) == 1


# Stores


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A store of two loads."""
    for name in ("one", "two"):
        (tmp_path / name / "redir" / "log").mkdir(parents=True)
        (tmp_path / name / "redir" / "log" / f"{name}.log").write_text(LINE.format(len(name), 1, 1))
    (tmp_path / "two" / "redir" / "log" / "two.log").write_text(LINE.format(9, 5, 2))
    (tmp_path / "one" / "delivery.csv").write_text("iDeliveryId,sLabel\n7,Spring\n")
    made = open_store(str(tmp_path / "store"))
    made.ingest(tmp_path / "one")
    made.ingest(tmp_path / "two")
    return made


def _file(place: Path, table: str) -> Path:
    """The newest data file of a table, which the last commit needs."""
    files = [path for path in (place / table).rglob("*.parquet") if "_delta_log" not in path.parts]
    return max(files, key=lambda path: path.stat().st_mtime_ns)


def _log(place: Path, table: str, number: int) -> Path:
    return sorted((place / table / "_delta_log").glob("*.json"))[number]


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _newer(path: Path) -> None:
    written = path.read_text("utf-8").replace('"minReaderVersion":1', '"minReaderVersion":9')
    assert "9" in written
    path.write_text(written, "utf-8")


DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "a file is missing": (lambda place: _file(place, "event").unlink(), r"event/.*\.parquet is missing"),
    "a file is cut": (lambda place: _cut(_file(place, "delivery")), r"delivery/.*\.parquet is of .* bytes instead of"),
    "a file is empty": (lambda place: _file(place, "fence").write_bytes(b""), r"fence/.*\.parquet is of 0 bytes"),
    "a file is of zeros": (lambda place: _file(place, "event").write_bytes(bytes(_file(place, "event").stat().st_size)),
                           r"event/.*\.parquet is no Parquet"),
    "a table is lost": (lambda place: shutil.rmtree(place / "event"), "the table 'event' is lost"),
    "a log is lost": (lambda place: shutil.rmtree(place / "delivery" / "_delta_log"), "the table 'delivery' is lost"),
    "an entry is cut": (lambda place: _cut(_log(place, "event", -1)), r"event/_delta_log/0+\d+\.json cannot be read"),
    "an entry is missing": (lambda place: _log(place, "event", 0).unlink(), r"of which 0+\.json is missing"),
    "loads are cut": (lambda place: _cut(_file(place, "load")), r"load/.*\.parquet is of .* bytes instead of"),
    "loads without a log": (lambda place: shutil.rmtree(place / "load" / "_delta_log"), "the table 'load' is lost"),
    "loads are lost": (lambda place: shutil.rmtree(place / "load"), "is newer than the list of loads"),
    "a newer make": (lambda place: _newer(_log(place, "event", 0)), "written by a newer trackkit"),
}  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_store_is_refused_and_what_is_damaged_named(store: Store, tmp_path: Path, damage: str) -> None:
    do, said = DAMAGE[damage]
    do(tmp_path / "store")
    before = sorted(path.name for path in (tmp_path / "store").rglob("*.parquet"))
    with pytest.raises(DataError, match=said):
        open_store(tmp_path / "store").ingest(tmp_path / "two")
    assert sorted(path.name for path in (tmp_path / "store").rglob("*.parquet")) == before
    if damage != "loads are lost":
        with pytest.raises(DataError, match=said):
            open_store(tmp_path / "store").forget(recipient="1")


def test_a_question_says_which_file_of_its_tables_is_damaged(store: Store, tmp_path: Path) -> None:
    _cut(_file(tmp_path / "store", "event"))
    said = trackkit("measure", "--store", tmp_path / "store", "--metrics", "total_opens")
    assert said.returncode == 3 and len(said.stderr.splitlines()) == 1
    assert "is damaged: its file event/" in said.stderr


def test_what_is_garbled_within_a_file_is_found_by_verify(store: Store, tmp_path: Path) -> None:
    assert "The store is whole" in trackkit("store", "verify", "--store", tmp_path / "store").stdout
    place = _file(tmp_path / "store", "event")
    content = bytearray(place.read_bytes())
    content[100:400] = b"\xff" * 300
    place.write_bytes(content)
    said = trackkit("store", "verify", "--store", tmp_path / "store")
    assert said.returncode == 3 and f"{place.name} cannot be read" in said.stderr


def test_a_store_whose_tables_no_load_finished_is_told_from_none(store: Store, tmp_path: Path) -> None:
    shutil.rmtree(tmp_path / "store" / "load")
    with pytest.raises(RequestError, match="no load into it was finished"):
        open_store(tmp_path / "store").scan("event")


# Places


def _no_file_over_4_kb() -> None:
    os.environ.pop("COVERAGE_PROCESS_CONFIG", None)  # `make coverage` could not write its own file
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))


def test_what_cannot_be_written_leaves_what_was_there(store: Store, tmp_path: Path) -> None:
    before = open_store(tmp_path / "store").scan("event").collect()
    more = tmp_path / "more" / "redir" / "log"
    more.mkdir(parents=True)
    (more / "more.log").write_text("".join(LINE.format(n + 20, 3, n + 10) for n in range(2_000)))
    said = trackkit("ingest", tmp_path / "more", "--store", tmp_path / "store", preexec_fn=_no_file_over_4_kb)
    assert said.returncode == 2 and "what was there before still counts" in said.stderr, said.stderr
    assert open_store(tmp_path / "store").scan("event").collect().equals(before)
    assert trackkit("ingest", tmp_path / "more", "--store", tmp_path / "store").returncode == 0


def test_half_a_demo_does_not_stay(tmp_path: Path) -> None:
    said = trackkit("demo", tmp_path / "raw", "--deliveries", 3, "--recipients", 200, preexec_fn=_no_file_over_4_kb)
    assert said.returncode == 2 and len(said.stderr.splitlines()) == 1
    assert [path for path in (tmp_path / "raw").rglob("*") if path.is_file()] == []
    assert write_demo(tmp_path / "raw", deliveries=3, recipients=200).deliveries == 3


def test_half_a_file_does_not_stay(tmp_path: Path) -> None:
    write_whole(tmp_path / "a.html", "before")
    with pytest.raises(UnicodeEncodeError):
        write_whole(tmp_path / "a.html", "after \udcff")
    assert [path.read_text() for path in tmp_path.iterdir()] == ["before"]


@pytest.mark.parametrize("output", ["table", "csv", "json", "xlsx", "parquet"])
def test_a_full_disk_behind_the_output_is_one_sentence(store: Store, tmp_path: Path, output: str) -> None:
    command = [sys.executable, "-m", "trackkit", "measure", "--store", str(tmp_path / "store"), "--output", output]
    with open("/dev/full", "w") as full:
        said = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert said.returncode == 2 and len(said.stderr.splitlines()) == 1 and "no space left" in said.stderr
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as closed:
        said = subprocess.run(command, stdout=closed, stderr=subprocess.PIPE, text=True, check=False)
    assert (said.returncode, said.stderr) == (0, "")


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (PermissionError(13, "Permission denied", "/x/.lock"), "There is no permission for '/x/.lock'"),
        (OSError(30, "Read-only file system", "/x"), "Nothing can be written to '/x', which is read only"),
        (RuntimeError("Generic error: No space left on device (os error 28)"), "There is no space left"),
        (RuntimeError(OSError(28, "No space left on device")), "There is no space left"),
        (pl.exceptions.ComputeError("cannot open /x/y.parquet: Permission denied (os error 13)"), "'/x/y.parquet'"),
    ],
)  # fmt: skip
def test_what_the_system_refuses_is_said_with_what_to_do(error: Exception, said: str) -> None:
    refused = refused_by_system(error)
    assert refused is not None and said in str(refused) and refused.exit_code == 2
    assert refused_by_system(ValueError("no")) is None
