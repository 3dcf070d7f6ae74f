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


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("cell", ['"UA', 'U"A', 'UA"', '"UA" x', '"U;A"x'])
def test_a_misplaced_quote_leaves_the_rows_around_it(cell: str, end: str, tmp_path: Path) -> None:
    rows = [hit(number, agent=cell if number in (1, 7, 12) else "UA") for number in range(1, 13)]
    load = read(tmp_path, end.join([HEAD, *rows]))
    found = {number for (number,) in kept(load, "event_id")}
    assert found >= {str(number) for number in range(1, 13) if number not in (1, 7, 12)}
    assert load.report.total("read") == 12


def test_two_quotes_far_apart_and_near_the_end_of_a_block(tmp_path: Path) -> None:
    """The reader takes 8 MB at once: a quote just before and one far behind join two blocks."""
    rows = [hit(number, agent="x" * 200) for number in range(1, 60_001)]
    for number in (35_000, 55_000):
        rows[number - 1] = hit(number, agent='"' + "x" * 200)
    load = read(tmp_path, "\n".join([HEAD, *rows]))
    assert load.report.total("read") == 60_000
    assert load.quarantine.select("source_row", "reason").rows() == [(35_000, STRAY), (55_000, STRAY)]


def test_texts_of_several_lines_stay_one_row(tmp_path: Path) -> None:
    """As failures are told: with commas, quotes and line ends, and a stray quote besides."""
    smtp = '"550-5.1.1 The account, that you tried, does\n550 5.1.1 ""not exist"", see, https://mail.example"'
    text = (
        f'iBroadLogMsgId,iFailureType,iFailureReason,sFirstText\n1,2,1,{smtp}\n2,1,5,"full\n3,1,5,busy\n4,2,1,{smtp}\n'
    )
    load = read(tmp_path, text, "broadlog_msg.csv")
    assert [one for (one,) in kept(load, "failure_id", table="failure")] == ["1", "3", "4"]
    assert kept(load, "first_text", table="failure")[0][0].endswith('"not exist", see, https://mail.example')
    assert load.quarantine.select("source_row", "reason", "text").rows() == [(2, STRAY, '2,1,5,"full')]


def test_a_text_of_very_many_lines_is_read_and_said(tmp_path: Path) -> None:
    text = "\n".join(f"line {number}" for number in range(150))
    load = read(tmp_path, f'iDeliveryId;sLabel\n1;a\n2;"{text}"\n3;b\n', "delivery.csv")
    assert kept(load, "label", table="delivery") == [("a",), (text,), ("b",)]
    assert "1 cells hold more than 100 line ends, which looks like a stray quote" in notes(load)


def test_a_quote_too_many_in_the_header(tmp_path: Path) -> None:
    load = read(tmp_path, "\n".join([HEAD.replace("iUrlId", '"iUrlId'), hit(1), hit(2)]))
    assert [one for (one,) in kept(load, "link_id")] == ["1", "1"]


def test_a_stray_quote_in_a_table_of_another_sender(tmp_path: Path) -> None:
    head = (
        "SendID,SubscriberKey,EmailAddress,SubscriberID,ListID,EventDate,EventType,BatchID,TriggeredSendExternalKey\n"
    )
    rows = [f"5,p{n},p{n}@post.example,7,8,3/5/2025 8:00:00 AM,Open,1,\n" for n in range(1, 40)]
    rows[9] = rows[9].replace("p10@", '"p10@')
    load = read(tmp_path, head + "".join(rows), "Opens.csv")
    assert (load.report.total("read"), load.quarantine["source_row"].to_list()) == (39, [10])


ORDERED = "iTrackingLogId;tsLog;iBroadLogId;iUrlId;iDeliveryId;sUserAgent"


def test_a_header_that_stands_again_is_no_row_and_is_followed(tmp_path: Path) -> None:
    turned = "2;2025-03-05 08:00:01;102;7;50;UA"
    load = read(tmp_path, "\n".join([HEAD, hit(1), HEAD, hit(3), ORDERED, turned, "\ufeff" + HEAD, hit(4)]))
    assert kept(load, "event_id", "link_id", "message_id", "source_row") == [
        ("1", "1", "101", 1), ("3", "1", "103", 3), ("2", "7", "102", 5), ("4", "1", "104", 7),
    ]  # fmt: skip
    assert load.quarantine.is_empty()
    assert "the header stands again 3 times and was read as no row" in notes(load)
    assert "1 times with its columns in another order, which was followed" in notes(load)


def test_what_stands_below_another_header_is_refused_aloud(tmp_path: Path) -> None:
    other = HEAD.replace("iUrlId", "iOther")
    load = read(tmp_path, "\n".join([HEAD, hit(1), other, hit(2), hit(3), HEAD, hit(4)]))
    assert [one for (one,) in kept(load, "event_id")] == ["1", "4"]
    assert load.quarantine["source_row"].to_list() == [3, 4]
    assert load.quarantine["reason"][0].startswith("a header with other columns stands above: iTrackingLogId")


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-8-sig"])
def test_every_encoding_gives_the_same_rows(encoding: str, tmp_path: Path) -> None:
    text = "\n".join([HEAD, *(hit(number, agent="Été 👓") for number in range(1, 200))])
    load = read(tmp_path, text.encode(encoding))
    assert kept(load, "event_id", "user_agent")[-1] == ("199", "Été 👓")
    wide = any(one.startswith("the text is UTF-") for one in notes(load))
    assert wide is (encoding != "utf-8-sig")


def test_raw_logs_and_content_in_utf_16(tmp_path: Path) -> None:
    line = "50x00000000fd7ec80\t2025-03-05T08:00:01.00\t64\t32\t1\t0\t\th\t\tUA\t198.51.100.7\n"
    for encoding in ("utf-16", "utf-16-le"):
        load = read(tmp_path / encoding, (line * 2).replace("80\t", "81\t", 1).encode(encoding), "0x1.log",
                    format="adobe_redirection_log")  # fmt: skip
        assert load.report.total("read") == 2 and load.quarantine.is_empty(), encoding
    for encoding, said in {
        "utf-16": "the text is UTF-16",
        "cp1252": "the text is not UTF-8 and was read as Windows-1252",
    }.items():
        path = tmp_path / encoding / "content" / "50.html"
        path.parent.mkdir(parents=True)
        path.write_bytes("<p>Soldes – 50 €</p>".encode(encoding))
        load = sources.read(path, tmp_path / "staging")
        assert load.frames["content"].collect()["body"].to_list() == ["<p>Soldes – 50 €</p>"]
        assert said in notes(load)


def test_half_a_character_of_utf_16_spoils_its_row_only(tmp_path: Path) -> None:
    whole = "\n".join([HEAD, hit(1), hit(2, agent="x?y"), hit(3)]).encode("utf-16-le")
    load = read(tmp_path, b"\xff\xfe" + whole.replace("?".encode("utf-16-le"), b"\x00\xd8"))
    assert [one for (one,) in kept(load, "event_id")] == ["1", "3"]
    assert load.quarantine.select("source_row", "reason").rows() == [(2, "not UTF-8")]


def test_bytes_that_windows_1252_does_not_have_are_refused(tmp_path: Path) -> None:
    rows = b"iDeliveryId;sLabel\n1;\x80 50\n2;\x81\n3;\xe9t\xe9\n"
    load = read(tmp_path, rows, "delivery.csv")
    assert kept(load, "delivery_id", "label", table="delivery") == [("1", "€ 50"), ("3", "été")]
    assert load.quarantine.select("source_row", "reason").rows() == [(2, "not UTF-8")]


@pytest.mark.parametrize("separator", [";", ",", "\t", "|", "^", "~", "#", "\x01"])
@pytest.mark.parametrize("quote", ["", '"', "'"])
def test_separators_and_quotes_as_an_export_assistant_offers_them(separator: str, quote: str, tmp_path: Path) -> None:
    rows = [line.split(";") for line in [HEAD, hit(1), hit(2), hit(3)]]
    rows[2][-1] = f"U{separator if quote else ''}A"
    text = "\n".join(separator.join(quote + cell + quote for cell in row) for row in rows)
    load = read(tmp_path, text, "tracking_log.txt")
    assert kept(load, "event_id", "link_id") == [("1", "1"), ("2", "1"), ("3", "1")]
    assert kept(load, "user_agent")[1] == (rows[2][-1],)


def test_strings_alone_in_single_quotes(tmp_path: Path) -> None:
    load = read(tmp_path, "\n".join([HEAD, *(hit(number, agent="'it''s; one'") for number in range(1, 6))]))
    assert kept(load, "user_agent") == [("it's; one",)] * 5


@pytest.mark.parametrize("first", ["sep=;", "SEP=;", '"sep=;"', "\ufeffsep=;", "sep=;;;;"])
def test_the_line_with_which_excel_names_the_separator(first: str, tmp_path: Path) -> None:
    load = read(tmp_path, "\r\n".join([first, HEAD, hit(1), hit(2)]))
    assert [one for (one,) in kept(load, "event_id")] == ["1", "2"]


def test_a_table_that_a_spreadsheet_saved_again(tmp_path: Path) -> None:
    rows = [
        HEAD + ";;",
        hit(1) + ";;",
        hit(2),
        "3E+08;2025-03-05 08:00:00;1;103;50;UA;;",
        ";;;;;;;",
        ";;",
        hit(5) + ";;;;",
    ]
    load = read(tmp_path, "\r\n".join(rows))
    assert [one for (one,) in kept(load, "event_id")] == ["1", "2", "5"]
    [reason] = load.quarantine["reason"]
    assert reason.startswith("'3E+08' in column 'iTrackingLogId' is a rounded number, as a spreadsheet writes")
    assert "2 rows of nothing but separators were left out" in notes(load)


def test_a_large_table_beside_the_events_is_put_together_in_portions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def table(tag: str) -> str:
        rows = [f"{number % 700};{tag}{number}@post.example" for number in range(1, 1001)]
        return "\n".join(["iRecipientId;sEmail", *rows])

    stores = {}
    for size in (10, 10**6):
        monkeypatch.setattr("trackkit.store.dedupe.PORTION_ROWS", size)
        stores[size] = open_store(tmp_path / str(size))
        for number, tag in enumerate("abb"):
            path = tmp_path / f"{number}" / "recipient.csv"
            path.parent.mkdir(exist_ok=True)
            path.write_text(table(tag), "utf-8")
            report = stores[size].ingest(path, collapse_minutes=number)
            # Number 0 and number 700 have no id: of the others the last row with an id counts.
            assert (report.total("quarantined"), report.total("kept")) == (1, 699 if tag == "a" or number == 1 else 0)
    found = [one.scan("recipient").sort("recipient_id").collect() for one in stores.values()]
    assert found[0].equals(found[1])
    assert found[0].filter(pl.col("recipient_id") == "5")["email"].to_list() == ["b705@post.example"]
