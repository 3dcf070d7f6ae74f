"""Campaigns, programmes and folders, and all columns of the platform's tables: read as exported, kept, listed."""

import re
import sqlite3
from contextlib import closing
from pathlib import Path

import polars as pl
import pytest

from tests.test_cli import trackkit
from trackkit import schema
from trackkit.analysis.console import deliveries
from trackkit.engine.attributes import within
from trackkit.engine.measure import measure
from trackkit.engine.snapshot import Snapshot
from trackkit.errors import RequestError
from trackkit.sources.table_formats import built_in
from trackkit.store import Store, open_store

# The platform's columns by table, as its documentation, its diagrams and its queries write them.
COLUMNS = {
    "delivery": "iDeliveryId sInternalName sLabel sDeliveryCode sNature iMessageType iState iDeliveryMode "
    "iIsModel iFCP iDeleteStatus iOperationId iTypologyId iMappingId iFolderId tsContact "
    "tsBroadStart tsBroadEnd tsValidity tsWebValidity tsLastModified tsLastTrackingComputation "
    "iTotalTarget iReject iToDeliver iText iHtml iMultipart iProcessed iSent iSuccess "
    "iSuccessWithoutSeeds iSeedProcessed iError iNewQuarantine iUnknownUser iUnreachable iRefused "
    "iInvalidDomain iDisabled iMailBoxFull iNotConnected iRecipientOpen iTotalRecipientOpen "
    "iRecipientClick iTotalRecipientClick iPersonClick iOptOut iMirrorPage iForward iWebPage "
    "iTotalWebPage iTransaction dAmount iArticle",
    "broadlog": "iBroadLogId iDeliveryId iRecipientId iServiceId iMsgId iStatus sAddress @domain tsEvent "
    "tsLastModified iFlags iIsSeed @publicId iFailureReason iFailureType sMessage",
    "broadlog_msg": "iBroadLogMsgId iCount iFailureReason iFailureType iQualifStatus iRuleId sFirstAddress "
    "sFirstText sText sMd5 tsCreated tsLastModified",
    "tracking_log": "iTrackingLogId tsLog iDeliveryId iBroadLogId iRecipientId iUrlId sSourceId sSourceType "
    "sExternalId iUserAgent webTrackingLog/@amount webTrackingLog/@article",
    "tracking_url": "iTrackingUrlId iDeliveryId iType sLabel sSource sCategory sTagId sTrackerName sGoal iStep "
    "iWebAppId iOfferId iOccurrence iWithParams iFolderId iChecksum tsValidity tsLastModified",
    "campaign": "iOperationId sInternalName sLabel iProgramId iFolderId tsStart tsEnd",
    "programme": "iProgramId sInternalName sLabel",
    "folder": "iFolderId iParentId sName sLabel",
}
EXPORTS = {
    # The titles of the console's list, in three languages; the first without keys.
    "en": ("Internal name,Label,Campaign,Folder,Typology,Channel", "DM7,June,Spring,Letters,Default,Email"),
    "pt": ("Nome interno,Rótulo,Campanha,Pasta,Tipologia,Canal", "DM7,Junho,Primavera,Cartas,Padrão,E-mail"),
    "fr": ("Nom interne,Libellé,Campagne,Dossier,Typologie,Canal", "DM7,Juin,Printemps,Lettres,Défaut,Courriel"),
}


@pytest.mark.parametrize("name", COLUMNS)
def test_every_column_of_the_platform_is_kept_and_documented(name: str) -> None:
    table_map = built_in("adobe_export").maps[name]
    for header in COLUMNS[name].split():
        fields = list(table_map.match([header]))
        assert fields, header
        for field in fields:
            table = schema.TABLES[field.table or table_map.table]
            is_helper = field.column in table_map.derive or field.inner not in table.schema
            known = schema.COUNTERS if table is schema.COUNTER else table.schema
            assert field.column in known or is_helper or field.column == "computed_at", header
    for column in schema.TABLES[table_map.table].columns:
        assert column.meaning and not column.meaning.endswith("."), column.name


def _load(folder: Path, **files: str) -> Store:
    for name, text in files.items():
        (folder / "in").mkdir(exist_ok=True)
        (folder / "in" / f"{name}.csv").write_text(text, "utf-8")
    store = open_store(str(folder / "store"))
    report = store.ingest(str(folder / "in"), timezone="UTC")
    assert not report.total("quarantined"), report
    return store


@pytest.mark.parametrize("lang", EXPORTS)
def test_a_list_of_the_console_names_campaigns_and_folders(tmp_path: Path, lang: str) -> None:
    titles, row = EXPORTS[lang]
    store = _load(tmp_path, delivery=f"iDeliveryId,{titles}\n7,{row}\n")
    _, label, campaign, folder, typology, _ = row.split(",")
    kept = store.scan("delivery").select("label", "campaign_id", "folder_id", "typology_id", "message_type")
    assert kept.collect().row(0) == (label, campaign, folder, typology, 0)
    assert store.scan("campaign").select("campaign_id", "label").collect().rows() == [(campaign, campaign)]
    assert deliveries(store)["campaign_label"].to_list() == [campaign]


def test_keys_win_over_names(tmp_path: Path) -> None:
    store = _load(
        tmp_path,
        delivery="@id,@label,[@operation-id],[operation/@label],[@folder-id],[folder/@label],[mailParameters/@fromAddress]"
        '\n7,June,12,Spring,5,Letters,"Shop <News@Shop.example>"\n8,July,0,,0,,\n',
        operation="@id,@internalName,@label,[@program-id],@start\n12,OP12,Spring 2026,31,2026-03-01 08:00:00\n",
        NmsProgram="iProgramId,sInternalName,sLabel\n31,PRG,The year\n",
        XtkFolder="iFolderId,iParentId,sName,sLabel\n5,4,letters,Letters\n4,5,loop,Loop\n",
    )
    kept = (
        store.scan("delivery").select("delivery_id", "campaign_id", "folder_id", "sender_address").sort("delivery_id")
    )
    assert kept.collect().rows() == [("7", "12", "5", "news@shop.example"), ("8", None, None, None)]
    assert store.scan("campaign").select("label", "programme_id").collect().rows() == [("Spring 2026", "31")]
    assert store.scan("programme").select("programme_id", "label").collect().rows() == [("31", "The year")]
    assert within(store, ["5"]) == ["5", "4"], "folders that lie in each other end"
    again = store.ingest(str(tmp_path / "in"), timezone="UTC")
    assert again.total("kept") == 0
    assert deliveries(store, folder="4")["delivery_id"].to_list() == ["7"]


def test_they_are_read_from_the_platform_s_database(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "acc.db")) as database:
        database.executescript(
            """
            CREATE TABLE NmsDelivery (iDeliveryId INT, sLabel TEXT, iOperationId INT, iFolderId INT,
                tsWebValidity TEXT);
            INSERT INTO NmsDelivery VALUES (7, 'June', 12, 5, '2026-07-01 00:00:00'), (8, 'July', 0, 0, NULL);
            CREATE TABLE NmsOperation (iOperationId INT, sLabel TEXT, iProgramId INT);
            INSERT INTO NmsOperation VALUES (12, 'Spring', 31);
            CREATE TABLE NmsProgram (iProgramId INT, sLabel TEXT); INSERT INTO NmsProgram VALUES (31, 'Year');
            CREATE TABLE XtkFolder (iFolderId INT, iParentId INT, sName TEXT, sLabel TEXT);
            INSERT INTO XtkFolder VALUES (5, 0, 'f', 'Letters');
            """
        )
    store = open_store(str(tmp_path / "store"))
    assert store.ingest(f"sqlite:///{tmp_path}/acc.db", timezone="UTC").total("kept") == 5
    assert store.ingest(f"sqlite:///{tmp_path}/acc.db", timezone="UTC").total("kept") == 0
    named = measure(store, "to_deliver", by=["campaign", "campaign_label", "programme_label", "folder_label"])
    assert named.drop("to_deliver").rows() == [("12", "Spring", "Year", "Letters"), (None,) * 4]
    assert store.scan("delivery").drop_nulls("web_validity_at").collect().height == 1


def test_the_flattened_archive_tells_of_deliveries_and_links(tmp_path: Path) -> None:
    head = "@id,@logDate,[@url-id],[url/@type],[url/@offer-id],[url/@validity],[@delivery-id],[delivery/@operation-id]"
    head += ",[delivery/@messageType],[webTrackingLog/@amount],@sourceType,@externalId"
    row = "9,2026-03-01 08:00:00,31,1,77,2026-04-01 00:00:00,7,12,1,5.5,mirror,x1"
    store = _load(tmp_path, tracking_archive=f"{head}\n{row}\n")
    assert store.scan("delivery").select("campaign_id", "message_type").collect().row(0) == ("12", 1)
    assert store.scan("link").select("offer_id", pl.col("valid_until").dt.month()).collect().row(0) == ("77", 4)
    kept = store.scan("event").select("source_type", "external_id", "amount").collect()
    assert kept.row(0) == ("mirror", "x1", 5.5)


def test_a_told_domain_stands_in_for_a_missing_address(tmp_path: Path) -> None:
    rows = "1,7,,Post.Example,1\n2,7,,Others,1\n3,7,ann@mail.example,Others,1\n"
    store = _load(tmp_path, broadlog=f"iBroadLogId,iDeliveryId,sAddress,@domain,iStatus\n{rows}")
    assert store.scan("message").sort("message_id").collect()["domain"].to_list() == [
        "post.example",
        None,
        "mail.example",
    ]


def test_bits_of_stored_rows_mean_the_columns_that_they_meant() -> None:
    """A bit of `filled` is a column's place: columns are only added at the end (these are of version 0.1.0)."""
    first = "internal_name label subject message_type state delivery_mode is_model is_proof typology_id contact_at"
    first += (
        " started_at ended_at validity_at targeted rejected to_deliver text_messages new_quarantines message_size sent"
    )
    assert schema.DELIVERY.gleaned[:22] == (*first.split(), "untold", "delete_status")
    assert schema.LINK.gleaned[:7] == ("delivery_id", "type_code", "label", "category", "url", "tag_id", "occurrence")


# ---- the console's list ----


def _listed() -> Snapshot:
    rows = [
        {"delivery_id": "1", "label": "June", "state": 95, "campaign_id": "12", "contact_at": "2026-06-01",
         "to_deliver": 4},
        {"delivery_id": "2", "internal_name": "DM2", "state": 55, "message_type": 0, "started_at": "2026-06-02",
         "folder_id": "21"},
        {"delivery_id": "3", "state": 95, "is_proof": True, "started_at": "2026-06-03"},
        {"delivery_id": "4", "is_model": True}, {"delivery_id": "5", "state": 100, "started_at": "2026-06-04"},
        {"delivery_id": "6", "state": 4321},
    ]  # fmt: skip
    times = ("contact_at", "started_at")
    frame = pl.DataFrame(rows, schema=schema.DELIVERY.schema | dict.fromkeys(times, pl.String))
    frame = frame.with_columns(pl.col(times).str.to_datetime("%Y-%m-%d", time_zone="UTC"))
    seeds = [("a", False, "delivered"), ("b", True, "delivered"), ("c", False, "failed"), ("d", False, "pending")]
    messages = [
        {"delivery_id": "1", "message_id": key, "is_seed": seed, "status": status} for key, seed, status in seeds
    ]
    messages += [{"delivery_id": "9", "message_id": "z", "status": "delivered"}]
    folders = [{"folder_id": "20"}, {"folder_id": "21", "parent_id": "20"}]
    frames = {"delivery": frame.lazy(), "message": pl.LazyFrame(messages, schema=schema.MESSAGE.schema)}
    return Snapshot(frames | {"folder": pl.LazyFrame(folders, schema=schema.FOLDER.schema)})


def test_the_list_of_deliveries() -> None:
    listed = deliveries(_listed())
    assert listed["delivery_id"].to_list() == ["2", "1", "9", "6"], "the last launched first; without proofs and models"
    june = listed.row(1, named=True)
    assert [june[name] for name in ("label", "state", "campaign")] == ["June", "Finished", "12"]
    assert [june[name] for name in ("to_deliver", "processed", "success")] == [4, 3, 2], (
        "success counts control addresses"
    )
    assert listed["label"].to_list()[:1] == ["DM2"] and listed["state"].to_list()[3] == "4321"
    every = deliveries(_listed(), every=True).select("delivery_id", "kind").drop_nulls("kind").sort("delivery_id")
    assert every.rows() == [("3", "proof"), ("4", "model"), ("5", "deleted")]


def test_the_list_is_narrowed() -> None:
    def ids(**asked: str) -> list[str]:
        return deliveries(_listed(), **asked)["delivery_id"].to_list()  # type: ignore[arg-type]

    assert ids(since="2026-06-02") == ["2"] and ids(state="finished") == ["1"] and ids(campaign="12") == ["1"]
    assert (
        ids(folder="20") == ["2"] and ids(channel="e-mail") == ["2"] and ids(state="Finished", channel="e-mail") == []
    )
    for asked, why in {"state": "Finishd", "channel": "email", "campaign": "13", "folder": "22"}.items():
        with pytest.raises(RequestError, match=re.escape(f"has {why!r} as {asked}")):
            ids(**{asked: why})


def test_the_command_prints_the_list(tmp_path: Path) -> None:
    _load(tmp_path, delivery='iDeliveryId,sLabel,iState\n7,"=1+1; <b>",95\n')
    done = trackkit("deliveries", "--store", tmp_path / "store", "--state", "Finished", "--output", "csv")
    assert done.stdout.splitlines()[1].startswith("7,'=1+1; <b>,,Finished,")
    wrong = trackkit("deliveries", "--store", tmp_path / "store", "--state", "Finishd", code=2)
    assert "Did you mean 'Finished'?" in wrong.stderr
