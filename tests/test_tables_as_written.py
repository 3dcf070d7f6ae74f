"""Table files as others write them: stray quotes, headers that stand again, encodings, dialects, dates of a locale."""

import csv
import io
from pathlib import Path

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.feeds import read as read_feed
from trackkit import sources

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


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
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
