"""A store that an earlier version of trackkit wrote is read and loaded into; one of a newer version is refused.

`stores/2026-11-30.tar.gz` was written by commit 9bea2f6, before machines were marked and counters kept, from `trackkit
demo --deliveries 1 --recipients 20` of that day; the figures are those that it printed.
"""

import tarfile
from pathlib import Path

import pytest

import trackkit as tk
from trackkit.errors import DataError, RequestError
from trackkit.store import layout, open_store

OLD = Path(__file__).parent / "stores" / "2026-11-30.tar.gz"
PRINTED = {"delivery_id": "7471122", "delivered": 12, "unique_opens": 7, "total_opens": 10, "total_clicks": 0}
METRICS = list(PRINTED)[1:]


@pytest.fixture
def old(tmp_path: Path) -> Path:
    with tarfile.open(OLD) as packed:
        packed.extractall(tmp_path / "store", filter="data")
    return tmp_path / "store"


def test_a_store_of_an_earlier_version_tells_the_same_figures(old: Path) -> None:
    store = open_store(old)
    assert store.verify() > 0
    assert tk.measure(store, METRICS).row(0, named=True) == PRINTED
    with pytest.raises(RequestError, match="`trackkit store mark --store STORE` marks them"):
        tk.measure(store, METRICS, activity="human")


def test_one_command_brings_it_up_to_date_and_loads_go_on(old: Path, tmp_path: Path) -> None:
    store = open_store(old)
    assert store.mark() > 0
    human = tk.measure(store, METRICS, activity="human").row(0, named=True)
    assert human["delivered"] == 12 and human["unique_opens"] <= 7 and human["total_opens"] <= 10
    assert tk.measure(store, METRICS).row(0, named=True) == PRINTED
    (tmp_path / "delivery.csv").write_text("iDeliveryId,sLabel,iState\n99,New,95\n")
    store.ingest(str(tmp_path / "delivery.csv"))
    assert tk.measure(store, METRICS).filter(delivery_id="7471122").row(0, named=True) == PRINTED
    assert store.scan("delivery").collect().filter(delivery_id="99")["label"].to_list() == ["New"]


def test_a_store_of_a_newer_version_is_refused_with_what_to_do(
    old: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "delivery.csv").write_text("iDeliveryId,sLabel,iState\n99,New,95\n")
    with monkeypatch.context() as later:
        for module in ("trackkit.store.ingest", "trackkit.store.lake"):
            later.setattr(f"{module}.LAYOUT", layout.LAYOUT + 1)
        open_store(old).ingest(str(tmp_path / "delivery.csv"))
    for refused in (
        lambda: tk.measure(open_store(old), METRICS),
        lambda: open_store(old).ingest(str(tmp_path / "delivery.csv")),
        lambda: open_store(old).set("timezone", "Europe/Paris"),
    ):
        with pytest.raises((DataError, RequestError), match=r"was written by a newer trackkit .*: update this one\."):
            refused()
