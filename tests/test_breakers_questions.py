r"""Questions, files and names that a breaker tried: each is answered as it is written, or refused in a sentence."""

import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from tests.spec.golden import DELIVERY_ID, golden, tables
from tests.spec.test_clickmap import message
from trackkit.analysis.clickmap import annotated_message
from trackkit.analysis.sanitize import too_heavy
from trackkit.copies import copy_out
from trackkit.engine.conditions import conditions
from trackkit.engine.measure import measure
from trackkit.errors import DataError, RequestError
from trackkit.report.checks import check
from trackkit.runs import retention
from trackkit.store import open_store

COLUMNS = {name: () for name in ("domain", "delivery_id", "day", "failure_reason")}


def kept(where: str, domains: list[str]) -> list[str]:
    """The domains of which a condition is true."""
    rows = pl.DataFrame({"domain": domains, "delivery_id": "701"})
    return rows.filter(conditions(where, COLUMNS, "UTC"))["domain"].to_list()


@pytest.mark.parametrize(
    ("like", "found"),
    [
        (r"a\_b", ["a_b"]),
        ("a_b", ["a_b", "axb"]),
        (r"10\%", ["10%"]),
        (r"c\\d", [r"c\d"]),
        ("%\\", []),
        ("a.b", []),
    ],
)
def test_a_backslash_takes_a_mark_of_like_as_it_is(like: str, found: list[str]) -> None:
    assert kept(f"domain LIKE '{like}'", ["a_b", "axb", "10%", "100", r"c\d"]) == found


@pytest.mark.parametrize("where", ["domain::varchar(3) = 'pos'", "CAST(domain AS VARCHAR(3)) = 'pos'"])
def test_a_cast_that_would_cut_is_refused(where: str) -> None:
    with pytest.raises(RequestError, match="cannot be worked out of a row"):
        conditions(where, COLUMNS, "UTC")


@pytest.mark.parametrize("where", ["'abc'::int = failure_reason", "1.5::int = failure_reason"])
def test_a_constant_that_is_no_whole_number_is_refused(where: str) -> None:
    with pytest.raises(RequestError, match="is no whole number"):
        conditions(where, COLUMNS, "UTC")


def test_many_values() -> None:
    many = ", ".join(f"'{place}'" for place in range(20_000))
    assert kept(f"domain IN ({many}, 'x')", ["x", "y"]) == ["x"]
    assert kept(f"domain NOT IN ({many}, 'x')", ["x", "y"]) == ["y"]
    assert kept(" OR ".join(["domain = 'a'"] * 300 + ["domain = 'x'"]), ["x", "y"]) == ["x"]
    with pytest.raises(RequestError, match=r"^.{200,400}nested too deeply; many values are tested as domain IN"):
        conditions(" OR ".join(["domain = 'a'"] * 3_000), COLUMNS, "UTC")


def test_a_number_beside_text_is_told_how_it_is_written() -> None:
    with pytest.raises(RequestError, match=re.escape("701 is not; write it as '701'")):
        conditions("delivery_id = 701", COLUMNS, "UTC")


@pytest.mark.parametrize("where", [5, b"domain = 'x'"])
def test_what_is_no_text_is_no_condition(where) -> None:
    with pytest.raises(RequestError, match="it is no text"):
        measure(tables(), "delivered", where=where)


def test_a_number_of_numpy_names_a_delivery() -> None:
    assert measure(golden(), "delivered", delivery=np.int64(DELIVERY_ID))["delivery_id"].to_list() == [DELIVERY_ID]
    with pytest.raises(RequestError, match="There is no delivery 'nan'"):
        measure(golden(), "delivered", delivery=float("nan"))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of one message."""
    raw = tmp_path_factory.mktemp("whole")
    (raw / "broadlog.csv").write_text("iBroadLogId,iDeliveryId,iStatus,sAddress\n1,101,1,a@example.com\n", "utf-8")
    opened = open_store(raw / "store")
    opened.ingest(raw / "broadlog.csv")
    assert measure(opened, "delivered", by=[]).item() == 1
    return raw


@pytest.fixture
def made(whole: Path, tmp_path: Path) -> Path:
    shutil.copytree(whole, tmp_path / "made")
    return tmp_path / "made"


@pytest.mark.parametrize("is_url", [False, True])
def test_an_empty_entry_of_a_log_is_damage(made: Path, is_url: bool) -> None:
    """A power cut leaves it; Delta reads it as a change of nothing, and the question would be answered with 0."""
    last = max((made / "store/message/_delta_log").glob("*.json"))
    last.write_bytes(b"")
    location = (made / "store").as_uri() if is_url else str(made / "store")
    with pytest.raises(DataError, match=f"message/_delta_log/{last.name} is empty"):
        measure(open_store(location), "delivered", by=[])
    with pytest.raises(DataError, match="is empty"):
        open_store(location).ingest(made / "broadlog.csv")


@pytest.mark.parametrize("is_folder", [False, True])
def test_a_lease_that_cannot_be_read_says_what_to_do(made: Path, is_folder: bool) -> None:
    place = made / "store/.lease"
    if is_folder:
        (place / "_delta_log").mkdir(parents=True)
        place = place / "_delta_log/00000000000000000000.json"
    place.write_text("x", "utf-8")
    store = open_store((made / "store").as_uri())
    with pytest.raises(RequestError, match=r"\.lease in it: .*delete it while no machine writes there"):
        store.ingest(made / "broadlog.csv")
    assert measure(store, "delivered", by=[]).item() == 1


@pytest.mark.parametrize(
    "location", ["file://", "file:///", "file://store", "file:/data/store", "s3:/b/store", "s3://"]
)
def test_a_url_that_names_no_place_is_refused(location: str) -> None:
    """`file://` was a store in the root folder, and `file:/data/store` one in two places."""
    with pytest.raises(RequestError, match=r"names no (folder|bucket)"):
        open_store(location).loads  # noqa: B018


def test_a_file_under_a_url_is_no_store(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x", "utf-8")
    with pytest.raises(RequestError, match="is a file; a store is a folder or a URL"):
        open_store((tmp_path / "file").as_uri()).ingest(tmp_path / "file")


@pytest.mark.parametrize(("cut", "said"), [("msgstr", "gettext catalogue"), ("{count}", "names in braces: count")])
def test_check_reads_the_catalogues(tmp_path: Path, cut: str, said: str) -> None:
    """`run --lang` refused what `trackkit check` had called in order."""
    copy_out(tmp_path)
    catalogue = tmp_path / "reports_templates/locales/pt_BR.po"
    assert check(tmp_path) == []
    head, tail = catalogue.read_text("utf-8").split('msgid "About the data: {count}"', 1)
    before, place, after = tail.partition(cut)
    catalogue.write_text(f'{head}msgid "About the data: {{count}}"{before}{place[:-2]}{after}', "utf-8")
    assert [problem.path for problem in check(tmp_path)] == [str(catalogue)]
    assert said in str(check(tmp_path)[0])


@pytest.mark.parametrize("body", ["<b>" * 60_000 + "</p>" * 60_000, "<p><div></p>" * 60_000, "<b></p>" * 60_000])
def test_stray_end_tags_take_no_minutes(body: str) -> None:
    """Each is looked for among all that is open: 4 s of processor time at 200 kB, 16 at 400."""
    assert too_heavy(body)
    began = time.process_time()
    assert "too large" in annotated_message(message(body), "230")
    assert time.process_time() - began < 3


@pytest.mark.parametrize(
    "row", ["<tr><td><p>x</p><br></td></tr>", "<td><a href='x'><img src='y'></a>", "<li>x", "<p>a<b>b</b>"]
)
def test_large_messages_that_are_none_of_those_are_shown(row: str) -> None:
    assert not too_heavy(f"<table>{row * 10_000}</table>")


THREADS = """
import sys, threading
from trackkit.store import open_store
at, load = sys.argv[1:]
stores = [open_store(f"{at}/{name}") for name in "abc"]
acts = [lambda: stores[0].ingest(load), lambda: stores[1].forget(recipient="9")]
acts.append(lambda: stores[2].set("timezone", "UTC"))
threads = [threading.Thread(target=act) for act in acts]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
"""


def test_threads_may_be_the_first_to_load_and_to_forget(whole: Path, tmp_path: Path) -> None:
    """They import what they need at once, and found modules half made."""
    for name in "abc":
        shutil.copytree(whole / "store", tmp_path / name)
    asked = [sys.executable, "-c", THREADS, str(tmp_path), str(whole / "broadlog.csv")]
    done = subprocess.run(asked, capture_output=True, text=True, check=True)
    assert "Error" not in done.stderr


def test_check_reads_the_periods(tmp_path: Path) -> None:
    assert retention.check(tmp_path) == []
    (tmp_path / "retention.toml").write_text('[periods]\nmesage = "6 months"\n', "utf-8")
    assert "key 'periods.mesage': there is no such key. Did you mean 'message'?" in str(retention.check(tmp_path)[0])
