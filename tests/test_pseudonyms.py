"""Pseudonyms: no address and no whole IP address in any file of the store, the same person the same in every load."""

import hashlib
import hmac
import json
import re
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from tests.test_cli import trackkit
from tests.test_forget import texts_of
from trackkit.engine.measure import measure
from trackkit.errors import RequestError
from trackkit.runs.retention import forget
from trackkit.sources.hiding import kinds_of
from trackkit.store import open_store
from trackkit.store.pseudonyms import Pseudonyms, require_same_key

KEY = b"a key of more than 16 bytes"


def hidden(
    table: str, truncate_ips: bool = False, key: bytes | None = KEY, **columns: list[str | None]
) -> pl.DataFrame:
    """Rows of a table with what is to be hidden hidden."""
    return Pseudonyms(key, truncate_ips).rows(pl.LazyFrame(columns), kinds_of(table)).collect()


@pytest.fixture(scope="module")
def stores(demo_raw: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The small demo instance as it is, and loaded by the command line with everything hidden."""
    folder = tmp_path_factory.mktemp("pseudonyms")
    (folder / "key").write_bytes(KEY + b"\n")
    open_store(folder / "plain").ingest(demo_raw)
    trackkit("ingest", demo_raw, "--store", folder / "hidden", "--pseudonymise", folder / "key", "--truncate-ips")
    return folder / "plain", folder / "hidden"


def test_no_address_and_no_whole_ip_is_in_any_file(stores: tuple[Path, Path]) -> None:
    plain = open_store(stores[0])
    columns = [("message", "address"), ("recipient", "email"), ("event", "address")]
    values = (
        pl.concat([plain.scan(name).select(value=column) for name, column in columns]).drop_nulls().unique().collect()
    )
    addresses = [value.strip().lower() for value in values["value"]]
    ips = {ip for ip in plain.scan("event").collect()["ip"].drop_nulls() if not ip.endswith(".0")}
    assert len(addresses) > 100 and len(ips) > 10
    for path, text in texts_of(stores[1]):
        assert not [one for one in addresses if one in text], path
        assert not ips.intersection(re.findall(r"(?<![\d.])\d+\.\d+\.\d+\.\d+(?![\d.])", text)), path
    assert not list(stores[1].glob(".staging"))


def test_figures_are_those_of_the_addresses(stores: tuple[Path, Path]) -> None:
    plain, masked = map(open_store, stores)
    for by in ("delivery_id", "domain", "country"):
        assert_frame_equal(measure(plain, by=by), measure(masked, by=by))
    both = [
        store.scan("message").select("message_id", "address").sort("message_id").collect() for store in (plain, masked)
    ]
    expected = [_by_hand(address) for address in both[0]["address"]]
    assert both[1]["address"].to_list() == expected


def _by_hand(address: str | None) -> str | None:
    if address is None:
        return None
    plain = address.strip().lower()
    return hmac.new(KEY, plain.encode(), hashlib.sha256).hexdigest()[:32] + "@" + plain.rpartition("@")[2]


def test_the_key_is_the_same_for_ever_and_nowhere_in_the_store(stores: tuple[Path, Path], tmp_path: Path) -> None:
    _, masked = stores
    assert not [path for path, text in texts_of(masked) if KEY.decode() in text]
    extra = tmp_path / "recipient.csv"
    extra.write_text("iRecipientId,sEmail\n7,seven@post.example\n")
    before = {path: path.stat().st_mtime_ns for path in masked.rglob("*.parquet")}
    (tmp_path / "other").write_text("another key of 16 bytes or more")
    refused = trackkit("ingest", extra, "--store", masked, "--pseudonymise", tmp_path / "other", code=2)
    assert refused.stderr == (
        "Error: This store holds pseudonyms of another key: load with that key, or into a new store.\n"
    )
    assert "same key" in trackkit("ingest", extra, "--store", masked, code=2).stderr
    (tmp_path / "key").write_bytes(KEY)
    into_plain = trackkit("ingest", extra, "--store", stores[0], "--pseudonymise", tmp_path / "key", code=2)
    assert "addresses as they are" in into_plain.stderr
    assert {path: path.stat().st_mtime_ns for path in masked.rglob("*.parquet")} == before


def test_the_key_may_stand_in_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "recipient.csv").write_text("iRecipientId,sEmail\n7, Seven@Post.example\n")
    monkeypatch.setenv("TRACKKIT_KEY", KEY.decode())
    trackkit("ingest", tmp_path / "recipient.csv", "--store", tmp_path / "store")
    stored = open_store(tmp_path / "store").scan("recipient").collect()["email"].item()
    assert stored == _by_hand("seven@post.example")
    said = json.loads(
        trackkit("forget", "--store", tmp_path / "store", "--address", "SEVEN@post.example", "--json").stdout
    )
    assert said["rows"] == {"recipient": 1}


def test_forgetting_by_id_needs_no_key(stores: tuple[Path, Path], tmp_path: Path) -> None:
    (tmp_path / "recipient.csv").write_text("iRecipientId,sEmail\n7,a@post.example\n8,b@post.example\n")
    store = open_store(tmp_path / "store")
    store.ingest(tmp_path / "recipient.csv", pseudonyms=Pseudonyms(KEY))
    assert forget(tmp_path / "store", recipient="7").rows == {"recipient": 1}
    with pytest.raises(RequestError, match="same key"):  # a removal does not make the store forget its key
        store.ingest(tmp_path / "recipient.csv")


@pytest.mark.parametrize(
    ("ip", "short"),
    [
        ("192.0.2.77", "192.0.2.0"), ("255.255.255.255", "255.255.255.0"), ("888.222.444.111", None), ("xxx", None),
        ("", None), (None, None), ("192.0.2", None), ("2001:db8:1:2::7", "2001:db8:1::"), ("2001:DB8::1", "2001:db8::"),
        ("::1", "::"), ("::ffff:192.0.2.77", "192.0.2.0"), ("1:2:3:4:5:6:7:8", "1:2:3::"),
        ("192.0.2.77, 10.0.0.1", None), ("010.1.1.1", None), ("<script>", None),
    ],
)  # fmt: skip
def test_ip_addresses_are_cut(ip: str | None, short: str | None) -> None:
    rows = hidden("event", truncate_ips=True, key=None, ip=[ip, "198.51.100.9"], address=["a@b.example", None])
    assert rows["ip"].to_list() == [short, "198.51.100.0"] and rows["address"].to_list() == ["a@b.example", None]


def test_rows_stay_in_order_and_whatever_holds_an_address_is_hidden() -> None:
    ids = ["7", "Ana@post.example", None, "7"]
    rows = hidden("message", recipient_id=ids, address=["x@y.example", None, "no address", " X@Y.EXAMPLE"])
    assert rows["recipient_id"].to_list() == ["7", _by_hand("ana@post.example"), None, "7"]
    assert rows["address"].to_list()[0] == rows["address"].to_list()[3] == _by_hand("x@y.example")
    assert "no address" not in rows["address"].to_list() and len(rows["address"][2]) == 32
    texts = hidden("event", diagnostic=["550 5.1.1 <ana@post.example>: no such user", None], address=["", None])
    assert texts["diagnostic"].to_list() == ["550 5.1.1 <***@post.example>: no such user", None]
    assert (
        hidden("link", url=["https://a.example/?e=ana%40post.example"])["url"].item()
        == "https://a.example/?e=***%40post.example"
    )


@settings(deadline=None)
@given(st.lists(st.text(max_size=30) | st.emails(), max_size=8))
def test_any_text_has_one_pseudonym_whatever_its_case_and_spaces(texts: list[str]) -> None:
    rows = hidden("recipient", email=[*texts, *(f" {text.strip().lower()} " for text in texts)])["email"].to_list()
    assert rows[: len(texts)] == rows[len(texts) :]


@pytest.mark.parametrize("key", [b"", b"short"])
def test_a_short_key_is_refused(tmp_path: Path, key: bytes) -> None:
    (tmp_path / "key").write_bytes(key)
    with pytest.raises(RequestError, match="at least 16 bytes"):
        Pseudonyms.read(tmp_path / "key")
    with pytest.raises(RequestError, match="cannot be read"):
        Pseudonyms.read(tmp_path / "none")


def test_without_a_key_loads_may_follow_loads_of_before_keys() -> None:
    require_same_key("", ["", None])
    with pytest.raises(RequestError):
        require_same_key("x", [None])


def test_a_key_is_never_an_argument() -> None:
    said = subprocess.run(
        [sys.executable, "-m", "trackkit", "ingest", "--help"], capture_output=True, text=True, check=True
    )
    assert "--pseudonymise KEYFILE" in said.stdout
