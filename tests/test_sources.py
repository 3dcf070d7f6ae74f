"""Reading a source whole: what is recognised and why, what is refused, and the account of every line."""

import gzip
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from trackkit import schema, sources
from trackkit.errors import DataError, RequestError
from trackkit.sources import LoadReport, SourceReport
from trackkit.store import load as load_in_memory

LOG = "50x{:x}\t2024-01-02T03:04:05.6\t1\t2\t{:x}\t0\tABC\th\t{}\tUA\t10.0.0.1\n"


def write(folder: Path, **files: str) -> Path:
    """Write files given as name=text; `__` in a name is a folder, and the last `_` a dot."""
    for name, text in files.items():
        stem, _, kind = name.replace("__", "/").rpartition("_")
        path = folder / f"{stem}.{kind}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, newline="")
    return folder


def read(source: Path, tmp_path: Path, **options: object) -> sources.RawLoad:
    return sources.read(source, tmp_path / "staging", **options)  # type: ignore[arg-type]


def rows(load: sources.RawLoad, table: str, *columns: str) -> list[tuple]:
    return load.frames[table].select(columns).collect().sort(columns).rows()


@pytest.fixture
def instance(tmp_path: Path) -> Path:
    return write(
        tmp_path / "raw",
        redir__log__a_log=LOG.format(1, 1, "") + LOG.format(2, 5, "tagid=x&amount=2.5&article=1") + "broken\n",
        delivery_csv="iDeliveryId;sLabel;iFCP;iTotalTarget;tsBroadStart;mystery\n2;Offre;0;10;2024-01-01 10:00:00;z\n",
        tracking_url_tsv="iTrackingUrlId\tiDeliveryId\tiType\tsLabel\n1\t0\t2\tOpen\n5\t2\t5\tShop\n6\t2\t12\tOdd\n",
        broadlog_csv="@id,[@delivery-id],[@recipient-id],@address,@status,[@msg-id],@eventDate,@isSeed\n"
        "1,2,7,a@x.example,1,0,2024-01-01,0\n2,2,0,b@x.example,2,3,2024-01-01,1\n",
        broadlog_msg_csv="iBroadLogMsgId,iFailureType,iFailureReason,sFirstText\n3,2,1,no such user\n",
        exclusion_csv="iDeliveryId,iRecipientId,sRule\n2,8,Denylisted address\n",
        recipient_csv="iRecipientId,sEmail,iEmailFormat,iBlackList,sCountryCode\n7,a@x.example,2,0,FR\n8,c@y,1,1,XX\n",
        tracking_log_csv="iTrackingLogId,tsLog,iUrlId,iBroadLogId,iDeliveryId,iRecipientId,sSourceId,iUserAgent\n"
        "2,2024-01-02 03:04:05.6,5,1,2,7,abc,99\n9,2024-01-02 04:00:00,1,1,2,7,ABC,0\n",
        user_agent_csv="iHashKey,sBrowserName,sBrowserVersion,sOSName,sDevice\n99,Firefox,131,Linux,PC\n",
        web_tracking_log_csv="iTrackingLogId,dAmount,iArticle,sTagId\n9,12.5,3,t\n10,oops,1,t\n",
        subscription_history_csv="iServiceId,iRecipientId,iAction,tsDate,iDeliveryId\n4,7,1,2024-01-01,0\n",
        service_csv="iServiceId,sLabel\n4,News\n",
        web_page_hit_csv="tsLog,sWebAppName,sPageName,iStep,sSourceId,iRecipientId,iDeliveryId,iOptOut\n"
        "2024-01-03,Survey,Start,1,ABC,0,2,\n",
        content__2_html="<p>é</p>", content__2_txt="text", content__abc_html="no id",
        notes_md="nothing for us", other_csv="a,b\n1,2\n",
    )  # fmt: skip


def test_an_instance_folder_gives_every_table(instance: Path, tmp_path: Path) -> None:
    load = read(instance, tmp_path)
    none = {"counter", "campaign", "programme", "folder"}  # not in this export
    assert set(load.frames) == set(schema.TABLES) - {"collapsed", "quarantine", "purge", "kept_count"} - none
    for table, frame in load.frames.items():
        wanted = schema.TABLES[table].sourced | {"source_file": pl.String, "source_row": pl.Int64}
        assert frame.collect_schema() == pl.Schema(wanted), table
    assert rows(load, "delivery", "delivery_id", "label", "is_proof", "targeted") == [("2", "Offre", False, 10)]
    assert rows(load, "link", "link_id", "delivery_id", "type_code") == [("1", None, 2), ("5", "2", 5), ("6", "2", 12)]
    assert rows(load, "message", "message_id", "recipient_id", "status_code", "failure_id", "is_seed") == [
        ("1", "7", 1, None, False), ("2", None, 2, "3", True),
    ]  # fmt: skip
    assert rows(load, "event", "event_id", "log_server", "reported_type", "collapse_seconds") == [
        ("1", "50", "opened", 60), ("2", None, None, 0), ("2", "50", None, 60), ("9", None, "opened", 0),
    ]  # fmt: skip
    assert rows(load, "event", "person_id") == [("abc",)] * 4
    assert rows(load, "web_event", "event_id", "amount", "articles", "tag_id") == [
        ("2", 2.5, 1, "x"), ("9", 12.5, 3, "t"),
    ]  # fmt: skip
    assert rows(load, "recipient", "recipient_id", "country", "is_denylisted") == [
        ("7", "FR", False), ("8", None, True),
    ]  # fmt: skip
    assert rows(load, "content", "delivery_id", "message_format", "body") == [
        ("2", "html", "<p>é</p>"), ("2", "text", "text"),
    ]  # fmt: skip
    assert rows(load, "page_hit", "page", "person_id", "recipient_id", "web_optout") == [("Start", "abc", None, None)]
    assert rows(load, "subscription", "service_id", "action", "occurred_at", "delivery_id") == [
        ("4", 1, datetime(2024, 1, 1, tzinfo=UTC), None)
    ]


def test_every_line_is_accounted_for(instance: Path, tmp_path: Path) -> None:
    load = read(instance, tmp_path)
    by_file = {one.path: one for one in load.report.sources}
    assert len(by_file) == 16
    for one in by_file.values():
        lines = load.quarantine.filter(pl.col("source_file") == one.path)
        given = load.frames[one.table].filter(pl.col("source_file") == one.path).select(pl.len()).collect().item()
        assert (one.quarantined, one.accepted) == (lines.height, given), one.path
    assert load.quarantine.select("source_file", "source_row", "reason").sort("source_file").rows() == [
        ("content/abc.html", 1, "the file name 'abc' is not a delivery id"),
        ("redir/log/a.log", 3, "11 fields expected, got 1"),
        ("web_tracking_log.csv", 2, "'oops' in column 'dAmount' is not a number"),
    ]
    assert by_file["delivery.csv"].ignored_columns == ["mystery"]
    assert by_file["tracking_url.tsv"].unknown_types == {"12": 1}
    assert load.report.ignored_files == {
        "notes.md": "neither a log, a table nor message content",
        "other.csv": "its headers are those of no known table",
    }


def test_the_flattened_archive_tells_of_five_tables(tmp_path: Path) -> None:
    header = (
        "@id;@logDate;[@url-id];[@broadLog-id];[@delivery-id];[@recipient-id];[@source-id];[url/@type];[url/@label];"
        "[url/@category];[url/@source];[delivery/@label];[recipient/@email];[userAgent/@browserName];[userAgent/@device]"
    )
    lines = [
        "1;2024/01/02 03:04:05;5;1;2;7;ABC;Email click;Shop;shop;https://s.example;Offre;a@x;Firefox;PC",
        "2;2024/01/02 03:04:06;5;1;2;7;ABC;1;Shop;shop;https://s.example;Offre;a@x;Firefox;PC",
        "3;2024/01/02 03:04:07;1;1;2;7;ABC;Open;Open;;;Offre;a@x;Firefox;iPhone",
        "4;2024/01/02 03:04:08;6;1;2;7;ABC;Levitation;Odd;;;Offre;a@x;;",
    ]
    load = read(write(tmp_path / "in", tracking_csv="\n".join([header, *lines])), tmp_path)
    assert set(load.frames) == {"event", "link", "delivery", "recipient", "user_agent"}
    assert rows(load, "event", "event_id", "reported_type", "raw_event_type", "user_agent") == [
        ("1", "clicked", "Email click", "Firefox | PC"), ("2", "clicked", "1", "Firefox | PC"),
        ("3", "opened", "Open", "Firefox | iPhone"), ("4", "unknown", "Levitation", None),
    ]  # fmt: skip
    assert rows(load, "link", "link_id", "delivery_id", "type_code", "label", "url") == [
        ("1", None, 2, "Open", None), ("5", "2", 1, "Shop", "https://s.example"), ("6", "2", None, "Odd", None),
    ]  # fmt: skip
    assert rows(load, "delivery", "delivery_id", "label") == [("2", "Offre")]
    assert rows(load, "recipient", "recipient_id", "email") == [("7", "a@x")]
    assert rows(load, "user_agent", "user_agent", "browser", "device") == [
        ("Firefox | PC", "Firefox", "PC"), ("Firefox | iPhone", "Firefox", "iPhone"),
    ]  # fmt: skip
    assert load.report.sources[0].unknown_types == {"Levitation": 1}


def test_a_table_of_its_own_wins_over_what_the_archive_tells(tmp_path: Path) -> None:
    folder = write(
        tmp_path / "in",
        archive_csv="@id,[@delivery-id],[delivery/@label]\n1,2,old name\n2,3,only here\n",
        delivery_csv="iDeliveryId,sLabel\n2,New name\n",
    )
    told = rows(read(folder, tmp_path), "delivery", "delivery_id", "label", "source_file")
    assert told == [
        ("2", "New name", "delivery.csv"), ("2", "old name", "archive.csv"), ("3", "only here", "archive.csv")
    ]  # fmt: skip
    stored = load_in_memory(folder).scan("delivery").select("delivery_id", "label").sort("delivery_id")
    assert stored.collect().rows() == [("2", "New name"), ("3", "only here")]


def test_failures_inlined_on_the_delivery_log(tmp_path: Path) -> None:
    text = (
        "iBroadLogId,iDeliveryId,iStatus,iMsgId,iFailureType,iFailureReason\n"
        "1,2,2,0,2,1\n2,2,2,0,hard,User unknown\n3,2,1,0,0,0\n4,2,2,77,1,5\n"
    )
    load = read(write(tmp_path / "in", broadlog_csv=text), tmp_path)
    assert rows(load, "message", "message_id", "failure_id") == [
        ("1", "inlined 2/1"), ("2", "inlined 2/1"), ("3", None), ("4", "77"),
    ]  # fmt: skip
    assert rows(load, "failure", "failure_id", "failure_type", "failure_reason") == [
        ("77", 1, 5), ("inlined 2/1", 2, 1),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "name",
    ["broadlog.csv", "NmsBroadLogRcp.csv", "broadlog_2024-01.csv", "broadlog-part-00001.csv", "broadlog/part-0.csv",
     "broadlog.csv/part-00000-5f3a.csv", "export 7.csv"],
)  # fmt: skip
def test_tables_are_recognised_by_name_or_by_headers(tmp_path: Path, name: str) -> None:
    path = tmp_path / "in" / name
    path.parent.mkdir(parents=True)
    path.write_text("iBroadLogId,iDeliveryId,sAddress,iStatus\n1,2,a@x,1\n")
    assert rows(read(tmp_path / "in", tmp_path), "message", "message_id") == [("1",)]


def test_a_single_file_a_glob_and_a_folder_give_the_same(instance: Path, tmp_path: Path) -> None:
    log = instance / "redir" / "log" / "a.log"
    loads = [read(source, tmp_path) for source in (log, instance / "redir", instance / "redir" / "**" / "*.log")]
    assert [rows(load, "event", "event_id") for load in loads] == [[("1",), ("2",)]] * 3
    assert [load.report.sources[0].path for load in loads] == ["a.log", "log/a.log", "log/a.log"]


def test_a_log_is_recognised_by_its_lines(tmp_path: Path) -> None:
    path = tmp_path / "hits.txt.gz"
    path.write_bytes(gzip.compress(("rubbish\n" + LOG.format(1, 1, "")).encode()))
    load = read(path, tmp_path)
    assert [one.format for one in load.report.sources] == ["adobe_redirection_log"]
    assert load.report.total("quarantined") == 1


def test_a_format_may_be_named(tmp_path: Path) -> None:
    path = write(tmp_path / "in", odd_log="rubbish\n") / "odd.log"
    with pytest.raises(DataError, match="Nothing in"):
        read(path, tmp_path)
    assert read(path, tmp_path, format="adobe_redirection_log").report.total("quarantined") == 1


def _scrambled(written: bytearray) -> bytes:
    written[40:400] = bytes(360)
    return bytes(written)


@pytest.mark.parametrize("cut", [True, False])
def test_a_damaged_parquet_file_does_not_hold_up_the_others(instance: Path, tmp_path: Path, cut: bool) -> None:
    pl.DataFrame({"iDeliveryId": range(1000)}).write_parquet(instance / "delivery.parquet")
    whole = bytearray((instance / "delivery.parquet").read_bytes())
    (instance / "delivery.parquet").write_bytes(whole[: len(whole) // 2] if cut else _scrambled(whole))
    load = read(instance, tmp_path)
    [reason] = load.quarantine.filter(pl.col("source_file") == "delivery.parquet")["reason"]
    assert reason.startswith("delivery.parquet cannot be read as Parquet" if cut else "The Parquet file is damaged")
    assert rows(load, "delivery", "delivery_id") == [("2",)]


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"format": "adobe_exprt"}, RequestError, "Did you mean 'adobe_export'"),
        ({"timezone": "Europe/Pariss"}, RequestError, "'Europe/Pariss' is no time zone. Did you mean 'Europe/Paris'"),
        ({"timezone": "../../etc/passwd"}, RequestError, "is no time zone"),
        ({"collapse_minutes": -1}, RequestError, "0 to 1440 minutes"),
        ({"format": "mailchimp"}, DataError, "Recognised are mailchimp"),
    ],
)
def test_a_wrong_request_is_refused(
    instance: Path, tmp_path: Path, options: dict, error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words.replace(".", r"\.")):
        read(instance, tmp_path, **options)


def test_a_source_that_does_not_exist_or_is_not_known(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="There is no file, folder or match"):
        read(tmp_path / "absent", tmp_path)
    with pytest.raises(RequestError, match="There is no file, folder or match"):
        read(tmp_path / "*.log", tmp_path)
    folder = write(tmp_path / "in", readme_md="x", data_csv="a,b\n1,2\n")
    with pytest.raises(DataError, match=r"'data\.csv': its headers are those of no known table \(2 files"):
        read(folder, tmp_path)
    with pytest.raises(DataError, match=r"Recognised are listmonk: a database with the tables 'campaigns'"):
        read(folder, tmp_path, format="listmonk")
    with pytest.raises(DataError, match=r"without a column for delivery_id, message_id"):
        read(write(tmp_path / "keyless", broadlog_csv="sAddress\na@x\n"), tmp_path)


def test_reports_say_what_happened_and_show_hostile_names_safely() -> None:
    one = SourceReport("<b>.log", "adobe_redirection_log", "event", read=5, kept=2, duplicate=1, collapsed=1,
                       quarantined=1, undated=1, unknown_types={"<i>": 2}, assumptions=["a"])  # fmt: skip
    report = LoadReport([one], {"opened": 2}, {"x": "why"})
    assert report.is_settled and not SourceReport("a", "f", "event", read=1).is_settled
    assert "5 read = 2 kept + 1 duplicate + 1 collapsed + 1 quarantined" in str(report)
    assert "<b>" not in report._repr_html_() and "<i>" not in report._repr_html_()
    assert {"path", "format", "read", "kept", "duplicate", "collapsed", "quarantined", "unknown_types", "undated",
            "assumptions"} <= set(report.to_dict()["sources"][0])  # fmt: skip
    assert LoadReport.from_dict(report.to_dict()) == report
    assert LoadReport.merged([report, report]).event_types == {"opened": 4}
