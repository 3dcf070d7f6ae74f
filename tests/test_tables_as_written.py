"""Table files as others write them: stray quotes, headers that stand again, encodings, dialects, dates of a locale."""

import csv
import io
from pathlib import Path

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trackkit import sources
from trackkit.errors import RequestError
from trackkit.store import open_store

HEAD = "iTrackingLogId;tsLog;iUrlId;iBroadLogId;iDeliveryId;sUserAgent"
STRAY = "a stray quote: it is not closed before another row begins"


def read(folder: Path, content: bytes | str, name: str = "tracking_log.csv", **options: object) -> sources.RawLoad:
    """Write a file and read it; every file must balance."""
    path = folder / "in" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    load = sources.read(path, folder / "staging", **options)  # type: ignore[arg-type]
    (said,) = load.report.sources
    assert said.quarantined == load.quarantine.height
    assert said.read == said.quarantined + load.frames[said.table].select(pl.len()).collect().item()
    return load


def kept(load: sources.RawLoad, *columns: str, table: str = "event") -> list[tuple]:
    return load.frames[table].sort("source_row").select(columns).collect().rows()


def notes(load: sources.RawLoad) -> list[str]:
    return load.report.sources[0].assumptions


def hit(number: int, link: str = "1", agent: str = "UA") -> str:
    return f"{number};2025-03-05 08:00:00;{link};{100 + number};50;{agent}"


WORD = st.text(st.sampled_from('ab ,;é"\n'), max_size=8)
LABELS = st.lists(st.tuples(WORD, st.booleans()), min_size=2, max_size=25)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(labels=LABELS, strays=st.sets(st.integers(0, 24), max_size=3), ends=st.sampled_from(["\n", "\r\n"]),
       column=st.integers(0, 4))  # fmt: skip
def test_stray_quotes_cost_their_own_row_and_no_other(
    labels: list[tuple[str, bool]], strays: set[int], ends: str, column: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Rows of a label that may have several lines; a quote too many stands before a cell of some one-line rows."""
    lines, sound, damaged = ["iDeliveryId;sLabel;sSubject;iState;tsContact"], [], 0
    for number, (label, is_tall) in enumerate(labels, 1):
        cells = [str(number), label if is_tall else "plain", "", "95", "2025-03-05 08:00:00"]
        text = io.StringIO(newline="")
        csv.writer(text, delimiter=";", lineterminator="\r\n").writerow(cells)
        if number - 1 in strays and not (is_tall and label):
            cells[column] = '"' + cells[column]
            lines.append(";".join(cells))
            damaged += 1
        else:
            lines.append(text.getvalue().removesuffix("\r\n"))
            sound.append((str(number), cells[1] or None))
    load = read(tmp_path_factory.mktemp("stray"), ends.join(lines), "delivery.csv")
    found = kept(load, "delivery_id", "label", table="delivery")
    assert set(sound) <= set(found)
    assert load.report.total("read") == len(labels)
    assert len(found) + load.quarantine.height == len(labels)
    assert load.quarantine.height <= damaged


def dated(*dates: str) -> str:
    rows = [f"{number};{date};1;{100 + number};50;UA" for number, date in enumerate(dates, 1)]
    return "\n".join([HEAD, *rows])


def at(load: sources.RawLoad) -> list[str]:
    return [f"{one:%Y-%m-%d %H:%M:%S}" for (one,) in kept(load, "occurred_at")]


@pytest.mark.parametrize(
    ("dates", "instants"),
    [
        (["25/03/2025 08:00:00", "04/03/2025 08:00"], ["2025-03-25 08:00:00", "2025-03-04 08:00:00"]),
        (["03/25/2025 8:05 PM", "3/4/2025 12:00 AM"], ["2025-03-25 20:05:00", "2025-03-04 00:00:00"]),
        (["04.03.2025 08:00:01", "5.3.2025"], ["2025-03-04 08:00:01", "2025-03-05 00:00:00"]),
        (["25-03-2025 8:00", "2025-03-04 07:00:00"], ["2025-03-25 08:00:00", "2025-03-04 07:00:00"]),
        (["2025/3/4 8:00", "2025.03.05 08:00:01.5"], ["2025-03-04 08:00:00", "2025-03-05 08:00:01"]),
        (["5 Mar 2025 08:00", "Mar 6, 2025 8:00 PM"], ["2025-03-05 08:00:00", "2025-03-06 20:00:00"]),
        (["5 de março de 2025", "05-fev-2025 09:00"], ["2025-03-05 00:00:00", "2025-02-05 09:00:00"]),
        (["25/03/2025 08:00:00 +02:00", "04/03/2025, 08:00"], ["2025-03-25 06:00:00", "2025-03-04 08:00:00"]),
    ],
)
def test_dates_that_leave_no_doubt_are_read_and_it_is_said(
    dates: list[str], instants: list[str], tmp_path: Path
) -> None:
    load = read(tmp_path, dated(*dates))
    assert at(load) == instants
    assert any(one.startswith("dates of column 'tsLog' were read") for one in notes(load))


def test_dates_in_doubt_are_refused_and_the_option_is_named(tmp_path: Path) -> None:
    load = read(tmp_path, dated("05/03/2025 08:00", "2025-03-05 08:00:00"))
    [reason] = load.quarantine["reason"]
    assert "'05/03/2025 08:00' in column 'tsLog' is written in another way" in reason
    assert "--dates day-first" in reason
    mixed = read(tmp_path, dated("25/03/2025", "03/25/2025"))
    assert mixed.quarantine.height == 2


@pytest.mark.parametrize(
    ("asked", "written", "instant"),
    [
        ("day-first", "05/03/2025 08:00", "2025-03-05 08:00:00"),
        ("month-first", "05/03/2025 08:00", "2025-05-03 08:00:00"),
        ("day-first", "05/03/25 08:00", "2025-03-05 08:00:00"),
        ("%y%m%d-%H%M", "250305-0800", "2025-03-05 08:00:00"),
        ("%d/%m/%Y", "05/03/2025", "2025-03-05 00:00:00"),
        ("%d.%m.%Y %H:%M:%S%z", "05.03.2025 08:00:00+0200", "2025-03-05 06:00:00"),
        ("month-first", "2025-03-05 08:00:00", "2025-03-05 08:00:00"),
    ],
)
def test_dates_are_read_as_asked(asked: str, written: str, instant: str, tmp_path: Path) -> None:
    assert at(read(tmp_path, dated(written), dates=asked)) == [instant]


def test_what_is_no_date_as_asked_is_refused(tmp_path: Path) -> None:
    for asked, written in [("month-first", "25/03/2025"), ("%d/%m/%Y", "05/03/25"), ("day-first", "31/02/2025"),
                           ("day-first", "05/03/2025 13:00 PM"), ("day-first", "05/03/2025 24:01")]:  # fmt: skip
        assert read(tmp_path, dated(written), dates=asked).quarantine.height == 1, (asked, written)
    with pytest.raises(RequestError, match="Dates are not written 'european'"):
        read(tmp_path, dated("05/03/2025"), dates="european")


def test_each_column_is_judged_by_its_own_dates(tmp_path: Path) -> None:
    text = "iDeliveryId;tsContact;tsBroadStart\n1;25/03/2025;05/03/2025\n2;26/03/2025;06/03/2025\n3;27/03/2025;\n"
    load = read(tmp_path, text, "delivery.csv")
    assert [one for (one,) in kept(load, "delivery_id", table="delivery")] == ["3"]
    assert all("tsBroadStart" in one for one in load.quarantine["reason"])


def test_dates_of_events_of_other_senders(tmp_path: Path) -> None:
    """Marketing Cloud's extracts are written month first, says its map; a file that can only be day first wins."""
    text = "SendID,SubscriberKey,EmailAddress,SubscriberID,ListID,EventDate,EventType,BatchID,"
    text += "TriggeredSendExternalKey\n"
    row = "5,p,p@post.example,7,8,{},Open,1,\n"
    assert at(read(tmp_path, text + row.format("3/5/2025 8:00:00 AM"), "Opens.csv", timezone="UTC")) == [
        "2025-03-05 14:00:00"
    ]
    both = row.format("25/3/2025 8:00:00 AM") + row.format("5/3/2025 8:00:00 AM")
    load = read(tmp_path, text + both, "Opens.csv")
    assert at(load) == ["2025-03-25 14:00:00", "2025-03-05 14:00:00"]
    assert "dates of events were read with the day first, as 25/03/2025" in notes(load)


def test_a_file_read_with_another_order_of_dates_is_read_again(tmp_path: Path) -> None:
    path, store = tmp_path / "tracking_log.csv", open_store(tmp_path / "store")
    path.write_text(dated("05/03/2025 08:00"), "utf-8")
    assert store.ingest(path).total("quarantined") == 1
    assert store.ingest(path, dates="day-first").total("kept") == 1
    assert store.ingest(path, dates="day-first").total("duplicate") == 1
