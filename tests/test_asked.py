"""What is asked for as people write it: dates in three ways, ids as numbers; what cannot be is said in a sentence."""

import json
from datetime import UTC, date, datetime
from pathlib import Path

import nbformat
import papermill
import pytest

from tests.notebooks import run, texts
from tests.spec.golden import tables
from tests.test_cli import trackkit
from trackkit import resources
from trackkit.analysis.recipes import hits_per_recipient
from trackkit.analysis.subscriptions import subscription_progress
from trackkit.engine.deliveries import require_delivery
from trackkit.engine.measure import measure
from trackkit.errors import RequestError
from trackkit.report import REPORTS, render, report_path
from trackkit.report.execute import NAME
from trackkit.runs.due import deliveries
from trackkit.runs.retention import cuts_of, forget
from trackkit.store import Store, open_store

ZONE = "Asia/Bangkok"  # seven hours ahead of UTC
DAY = [date(2026, 3, 10), datetime(2026, 3, 10), datetime(2026, 3, 9, 17, tzinfo=UTC), "2026-03-10",
       "2026-03-10T00:00", "2026-03-09T17:00Z"]  # fmt: skip
WRONG = ["the day before", "10/03/2026", 5.5, True, b"2026-03-10"]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A letter sent at six in the morning of 10 March, and opened at 06:21."""
    raw = tmp_path_factory.mktemp("asked")
    head = "iDeliveryId,sLabel,iState,tsBroadStart,iToDeliver\n"
    (raw / "delivery.csv").write_text(f"{head}101,Morning letter,95,2026-03-10 06:00:00,1\n", "utf-8")
    head = "iTrackingLogId,tsLog,iUrlId,iBroadLogId,iDeliveryId,iRecipientId\n"
    (raw / "tracking_log.csv").write_text(f"{head}1,2026-03-10 06:21:00,1,1,101,5\n", "utf-8")
    opened = open_store(raw / "store")
    opened.ingest(raw / "delivery.csv", raw / "tracking_log.csv", timezone=ZONE)
    return opened


@pytest.mark.parametrize("asked", DAY)
def test_a_day_of_the_platform_in_all_its_forms(store: Store, asked) -> None:
    assert deliveries(store, since=asked) == ["101"]
    removed = forget(store.location, before=asked, dry_run=True).to_dict()
    assert not sum(removed["rows"].values()), "nothing is older than that day"
    assert hits_per_recipient(store, since=asked).height == 1 and hits_per_recipient(store, until=asked).height == 0


@pytest.mark.parametrize("later", ["2026-03-10 06:30", datetime(2026, 3, 9, 23, 30, tzinfo=UTC), "2026-03-11"])
def test_instants_cut_within_a_day(store: Store, later) -> None:
    assert deliveries(store, since=later) == []
    assert sum(forget(store.location, before=later, dry_run=True).to_dict()["rows"].values()) >= 1


@pytest.mark.parametrize("wrong", WRONG)
def test_what_is_no_date_is_told_what_would_be(store: Store, wrong, tmp_path: Path) -> None:
    periods = tmp_path / "periods.toml"
    periods.write_text('[periods]\nevent = "1 year"\n', "utf-8")
    for ask in (
        lambda: deliveries(store, since=wrong), lambda: forget(store.location, before=wrong, dry_run=True),
        lambda: forget(store.location, retention=periods, as_of=wrong), lambda: cuts_of(periods, wrong),
        lambda: subscription_progress(store, as_of=wrong), lambda: hits_per_recipient(store, until=wrong),
        lambda: store.forget(before={"event": wrong}, dry_run=True),
    ):  # fmt: skip
        with pytest.raises(RequestError, match="takes a date such as 2026-11-01, or an instant such as"):
            ask()


def test_periods_are_counted_back_from_a_day_of_the_platform(tmp_path: Path) -> None:
    periods = tmp_path / "periods.toml"
    periods.write_text('[periods]\nevent = "1 day"\n', "utf-8")
    for asked in DAY:
        assert cuts_of(periods, asked, ZONE) == {"event": datetime(2026, 3, 8, 17, tzinfo=UTC)}


def test_the_command_line_takes_them_too(store: Store, tmp_path: Path) -> None:
    where = ["--store", store.location]
    for asked in ("2026-03-10", "2026-03-10 06:00", "2026-03-09T23:00Z"):
        assert trackkit("forget", *where, "--before", asked, "--dry-run").stdout
    options = [*where, "--out", tmp_path / "out", "--reports", "delivery_summary"]
    done = trackkit("run", *options, "--since", "soon", code=2)
    assert done.stderr.startswith("Error: --since takes a date such as") and done.stderr.count("\n") == 1


def test_a_parameter_that_is_a_date_or_a_number(store: Store, tmp_path: Path) -> None:
    def path(name: str, **parameters) -> str:
        return report_path(name, tmp_path, parameters=parameters).name

    named = path("subscription_tracking", as_of="2026-03-10")
    assert path("subscription_tracking", as_of=date(2026, 3, 10)) == named
    assert path("delivery_summary", delivery=101) == path("delivery_summary", delivery="101")
    with pytest.raises(RequestError, match="Parameter as_of is of type str"):
        path("subscription_tracking", as_of=True)
    with pytest.raises(RequestError, match="as_of takes a date such as"):
        render("subscription_tracking", store.location, tmp_path, parameters={"as_of": "tomorrow"})


@pytest.mark.parametrize("report", sorted(REPORTS))
def test_numbers_are_ids_for_every_report(report: str, demo_store: Path) -> None:
    """As papermill's `-p delivery 701` gives them, against the same as text."""
    given = open_store(demo_store).snapshot()
    row = given.scan("message").select("delivery_id", "recipient_id").head(1).collect().row(0)
    ids = {"delivery": row[0], "deliveries": row[0], "as_of": "20261101"}
    ids["service"] = given.scan("service").select("service_id").head(1).collect().item()
    ids |= {"recipient": row[1]} if report == "recipient_tracking" else {}
    shown = [
        [texts(value) for _, value in run(report, store=given, **values)]
        for values in (ids, {name: int(key) for name, key in ids.items()})
    ]
    assert shown[0] == shown[1] and shown[0]


@pytest.mark.parametrize("engine", [NAME, None])
def test_papermill_itself_gives_numbers(engine: str | None, demo_store: Path, tmp_path: Path) -> None:
    """In the engine of trackkit, and in papermill's own with a kernel."""
    key = open_store(demo_store).scan("message").select("delivery_id").head(1).collect().item()
    notebook = resources.find("notebooks/reports/delivery_summary.ipynb")
    values = {"store": str(demo_store), "delivery": int(key)}
    options = {} if engine is None else {"engine_name": engine}
    kernel = {"kernel_name": "python3"} if engine is None else {}
    papermill.execute_notebook(
        str(notebook), str(tmp_path / "out.ipynb"), values, progress_bar=False, **options, **kernel
    )
    made = nbformat.read(tmp_path / "out.ipynb", as_version=4)
    assert key in json.dumps(made) and not any(
        output.output_type == "error" for cell in made.cells for output in cell.get("outputs", [])
    )


def test_a_number_that_lost_its_zeros_is_told_how_to_keep_them() -> None:
    given = tables(delivery=[{"delivery_id": "0012"}])
    assert require_delivery(given, "0012") == "0012"
    with pytest.raises(RequestError, match=r"There is no delivery '12'.*-r delivery 007"):
        require_delivery(given, 12)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "asked", [{"by": "failure_reason", "where": "device = 'PC'"}, {"by": ["failure_reason", "device"]}]
)
def test_what_no_metric_has_is_said_by_source(asked) -> None:
    with pytest.raises(RequestError, match=r"event rows have no failure_reason; message rows have no device"):
        measure(tables(delivery=[{"delivery_id": "1"}]), **asked)
