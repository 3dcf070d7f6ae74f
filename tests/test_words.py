"""Words that stand for codes, and files of which nothing can be read: what is told, what is kept, what is unknown."""

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tests.test_cli import trackkit
from trackkit import schema
from trackkit.analysis.bounces import bounces
from trackkit.analysis.caveats import limits
from trackkit.analysis.sending import exclusions
from trackkit.engine.measure import measure
from trackkit.quality import quality
from trackkit.report.notes import sentences
from trackkit.runs.due import run
from trackkit.sources import read
from trackkit.sources.report import LoadReport
from trackkit.sources.table_formats import built_in
from trackkit.sources.values import code_of, coded, folded
from trackkit.store import open_store
from trackkit.store.pseudonyms import Pseudonyms

CODES = built_in("adobe_export").codes
# Labels of the pages on delivery statuses and on failures (campaign-classic.en, .pt-BR, .fr-FR), with their codes.
STATUSES = {
    "Sent": 1, "Ignored": 0, "Failed": 2, "Pending": 6, "Delivery canceled": 7, "Delivery cancelled": 7,
    "Taken into account by the service provider": 3, "Received on mobile": 4, "Received on the mobile": 4,
    "Sent to the service provider": 5, "Prepared": 8, "Ready": 8, "Delivery pending": 6,
    "Ignorado": 0, "Enviado": 1, "Falha": 2, "Levado em consideração pelo provedor de serviço": 3,
    "Considerado pelo provedor de serviços": 3, "Recebido no celular": 4, "Pendente": 6, "Entrega cancelada": 7,
    "Preparado": 8, "Envoyés": 1, "En échec": 2, "Pris en compte par le prestataire": 3, "Diffusion annulée": 7,
}  # fmt: skip
REASONS = {
    "User unknown": 1, "Invalid domain": 2, "Unreachable": 3, "Account disabled": 4, "Mailbox full": 5, "Inbox full": 5,
    "Not connected": 6, "Address not specified": 7, "Denylisted address": 8, "Address on denylist": 8,
    "Address in quarantine": 9, "Double": 10, "Excluded by a SQL rule": 11, "Excluded after arbitration": 12,
    "Bad-quality address": 14, "Unqualified address": 15, "Not eligible for the offers": 16,
    "Target limited in size": 17, "Refused": 20, "Rejected": 20, "Error ignored": 25, "Control address": 127,
    "Usuário desconhecido": 1, "Domínio inválido": 2, "Inacessível": 3, "Conta desabilitada": 4,
    "Caixa de entrada cheia": 5, "Não conectado": 6, "Endereço não especificado": 7,
    "Endereço na lista de bloqueios": 8,
    "Endereço em quarentena": 9, "Duplo": 10, "Excluído por uma regra SQL": 11, "Excluído após arbitragem": 12,
    "Recusado": 20, "Erro ignorado": 25, "Endereço de controle": 127, "Boîte pleine": 5, "Refusés": 20,
}  # fmt: skip


@pytest.mark.parametrize(("known", "words"), [(CODES["status_code"], STATUSES), (CODES["failure_reason"], REASONS)])
def test_every_label_of_the_pages_has_its_code(known: dict[str, int], words: dict[str, int]) -> None:
    assert {word: code_of(word, known) for word in words} == words
    assert {word: code_of(word.upper().replace(" ", "-"), known) for word in words} == words


def test_every_code_has_a_word_and_no_word_has_two_codes() -> None:
    assert set(CODES["state"].values()) == set(schema.STATES)
    assert set(CODES["status_code"].values()) == set(schema.STATUSES)
    assert set(CODES["failure_reason"].values()) == set(schema.FAILURE_REASONS)
    assert set(CODES["type_code"].values()) == set(schema.LINK_TYPES)
    assert set(CODES["message_type"].values()) == set(schema.MESSAGE_TYPES)
    assert set(CODES["failure_type"].values()) == set(schema.FAILURE_TYPES)
    for code, name in {**schema.FAILURE_REASONS, **schema.STATES}.items():
        assert code in (CODES["failure_reason"].get(folded(name)), CODES["state"].get(folded(name)))


@pytest.mark.parametrize("spelled", [{1: ("Sent",), 2: ("sent",)}])
def test_two_codes_of_one_word_are_refused(spelled: dict[int, tuple[str, ...]]) -> None:
    with pytest.raises(ValueError, match="'sent' is code 1 and 2"):
        coded(spelled)


def write(folder: Path, **files: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / f"{name}.csv").write_text(text, encoding="utf-8")
    return folder


BROADLOG = "iBroadLogId,iDeliveryId,sAddress,iStatus,tsEvent,iFailureType,iFailureReason\n"
AT = "2026-05-01 10:01:00"


@pytest.fixture
def odd(tmp_path: Path) -> Path:
    """Nothing is known of delivery 5 but its two messages; of delivery 6, one message of four is of unknown status."""
    return write(
        tmp_path / "odd",
        broadlog=BROADLOG + f"1,5,a@a.example,Teleported,{AT},,\n2,5,b@a.example,42,{AT},Medium,Gone fishing\n"
        f"3,6,c@a.example,Sent,{AT},,\n4,6,d@b.example,Failed,{AT},7,42\n"
        f"5,6,e@b.example,Failed,{AT},Hard,User unknown\n"
        f"6,6,f@a.example,Teleported,{AT},,\n",
        delivery="iDeliveryId,sLabel,iMessageType,iState,tsBroadStart,iToDeliver,iFCP,iDeliveryMode\n"
        "5,W,Pigeon,Hovering,2026-05-01 10:00:00,2,Maybe,Bulk\n6,X,77,33,2026-05-01 10:00:00,4,Não,99\n",
        tracking_url="iTrackingUrlId,iDeliveryId,iType,sLabel\n77,5,Wormhole,A\n78,6,9,B\n79,6,Clique de email,C\n",
        tracking_log="@id,@logDate,@url-id,@broadLog-id,@delivery-id\n1,2026-05-01 11:00:00,1,1,5\n"
        "2,2026-05-01 11:01:00,77,1,5\n3,2026-05-01 11:02:00,78,3,6\n4,2026-05-01 11:02:00,79,3,6\n",
        subscription_history="iServiceId,iRecipientId,iAction,tsDate\n1,1,Assinatura,2026-05-01 09:00:00\n"
        "1,2,Pondered,2026-05-01 09:00:00\n1,3,,2026-05-01 09:00:00\n",
        recipient="iRecipientId,sEmail,iEmailFormat,iBlackList\n1,a@a.example,Papyrus,Perhaps\n2,b@a.example,Texto,Sim\n",
        exclusion="iDeliveryId,iRecipientId,sRule\n6,8,Recusado\n6,9,20\n6,10,Rejected\n6,11,Own rule\n",
    )


UNKNOWN = {
    "status_code": {"Teleported": 2, "42": 1}, "failure_type": {"7": 1, "Medium": 1},
    "failure_reason": {"42": 1, "Gone fishing": 1}, "message_type": {"77": 1, "Pigeon": 1},
    "state": {"33": 1, "Hovering": 1}, "is_proof": {"Maybe": 1}, "delivery_mode": {"99": 1},
    "email_format": {"Papyrus": 1}, "is_denylisted": {"Perhaps": 1}, "action": {"Pondered": 1},
}  # fmt: skip


def test_unknown_words_keep_their_row_and_are_counted(odd: Path, tmp_path: Path) -> None:
    store = open_store(tmp_path / "store")
    report = store.ingest(odd)
    assert {name: words for one in report.sources for name, words in one.unknown_values.items()} == UNKNOWN
    types = {one.path: one.unknown_types for one in report.sources if one.unknown_types}
    assert types == {"tracking_url.csv": {"9": 1, "Wormhole": 1}}
    # only the act without any action is refused
    assert report.total("quarantined") == 1 and "no action" in store.quarantine["reason"].item()
    messages = store.scan("message").sort("message_id").select("status_code", "status", "failure_reason").collect()
    assert messages.rows() == [
        (None, "unknown", None), (42, "unknown", None), (1, "delivered", None), (2, "failed", 42),
        (2, "failed", 1), (None, "unknown", None),
    ]  # fmt: skip
    deliveries = store.scan("delivery").sort("delivery_id").select("message_type", "state", "delivery_mode", "is_proof")
    assert deliveries.collect().rows() == [(None, None, 1, None), (77, 33, 99, False)]
    assert LoadReport.from_dict(report.to_dict()) == report
    assert "unknown status_code: 'Teleported' 2, '42' 1" in str(report)
    assert "unknown status_code: &#x27;Teleported&#x27; 2" in report._repr_html_()


def test_counts_over_unknown_statuses_are_null_or_said_to_be_partial(odd: Path, tmp_path: Path) -> None:
    store = open_store(tmp_path / "store")
    found = store.ingest(odd).quality
    names = ["delivered", "failed", "hard_bounces", "unique_opens", "delivery_rate"]
    assert measure(store, names).select("delivery_id", *names).rows() == [
        ("5", None, None, None, 1, None), ("6", 1, 2, 1, 1, 0.25)
    ]  # fmt: skip
    assert measure(store, "delivered", by=[]).item() is None
    # delivery 5 is in this domain, so its count is unknown; the other domain has messages of delivery 6 alone
    by_domain = measure(store, ["delivered", "failed"], by="domain").select("domain", "delivered", "failed")
    assert by_domain.rows() == [("a.example", None, None), ("b.example", 0, 2)]
    said = {one["check"]: one["reason"] for one in found["reasons"]}
    assert said["unknown_statuses"] == "Messages whose status is unknown: 3 of 6. Success and errors leave them out."
    assert "kept as unknown: 18 of 35 (" in said["unknown_values"]
    tables = store.snapshot()
    of_six = limits(tables, "6", needs={}).filter(limit="unknown_statuses").select("count", "total", "weight").rows()
    assert of_six == [(1, 4, "warning")]
    told = sentences(limits(tables, "6", needs={}), quality=quality(tables, "6"))
    assert sum("status is unknown" in one for one in [*told[0], *told[1]]) == 1
    assert "Mensagens de status desconhecido: 3 de 6" in " ".join(sentences(limits(tables, needs={}), lang="pt_BR")[0])
    assert "not_sent" not in limits(tables, "6", needs={})["limit"].to_list(), "33 is no state before sending"
    assert bounces(tables, "5").filter(row="total")["errors"].to_list() == [None]
    assert bounces(tables, "6").filter(row="total")["errors"].to_list() == [2]
    rules = exclusions(tables, "6").select("rule", "recipients").rows()
    assert rules == [("Rejected", 3), ("Own rule", 1), (None, 4)]


def test_every_report_stands_unknown_codes(odd: Path, tmp_path: Path) -> None:
    open_store(tmp_path / "store").ingest(odd)
    summary = run(tmp_path / "store", tmp_path / "out", jobs=1)
    assert not summary.failed and len(summary.rendered) > 20


def test_a_status_that_a_table_does_not_say_is_that_of_its_events(tmp_path: Path) -> None:
    """A list of messages without statuses, and a raw log of nothing but hits: success stays unknown."""
    write(tmp_path / "in", broadlog="iBroadLogId,iDeliveryId,sAddress\n1,5,a@a.example\n")
    store = open_store(tmp_path / "store")
    assert store.ingest(tmp_path / "in").quality["verdict"] == "fail"
    assert measure(store, ["delivered", "processed"], by=[]).row(0) == (None, None)


def test_many_unknown_words_are_told_by_the_most_frequent(tmp_path: Path) -> None:
    rows = "".join(f"{n},5,a@a.example,word {n % 30:02},{AT},,\n" for n in range(1, 91))
    load = read(
        write(tmp_path / "in", broadlog=f"{BROADLOG}{rows}91,5,a@a.example,{'x' * 999},{AT},,\n"), tmp_path / "staging"
    )
    words = load.report.sources[0].unknown_values["status_code"]
    assert len(words) == 21 and words[""] == 31 and set(words.values()) == {3, 31}
    assert "other words 31" in str(load.report)


def test_addresses_among_unknown_words_are_hidden(tmp_path: Path) -> None:
    rows = f"1,5,a@a.example,ann@a.example,{AT},,\n2,5,a@a.example,bob@a.example,{AT},,\n"
    hidden = Pseudonyms(b"a key of sixteen")
    report = open_store(tmp_path / "store").ingest(write(tmp_path / "in", broadlog=BROADLOG + rows), pseudonyms=hidden)
    assert report.sources[0].unknown_values == {"status_code": {"***@a.example": 2}}


# --- files of which nothing could be read


REFUSED = BROADLOG + f"x,5,a@a.example,1,{AT},,\ny,5,b@a.example,1,{AT},,\n"
DELIVERY = "iDeliveryId,sLabel,iState,iToDeliver\n5,A,95,2\n"


def ingested(*sources: Path, store: Path, code: int = 0) -> tuple[dict[str, Any], list[str]]:
    done = trackkit("ingest", *sources, "--store", store, "--json", code=code)
    return json.loads(done.stdout or "{}"), done.stderr.splitlines()


def test_a_count_whose_table_could_not_be_read_is_unknown(tmp_path: Path) -> None:
    folder = write(tmp_path / "in", broadlog=REFUSED, delivery=DELIVERY)
    for _ in range(2):  # repeating it changes nothing
        _, said = ingested(folder, store=tmp_path / "store", code=3)
        assert said == ["Error: Nothing of 'broadlog.csv' could be read: all its 2 rows were refused, 1 as: 'x' in "
                        "column 'iBroadLogId' is neither a whole number nor a UUID"]  # fmt: skip
    store = open_store(tmp_path / "store")
    assert measure(store, ["to_deliver", "delivered", "failed", "delivery_rate"], by=[]).row(0) == (2, None, None, None)
    assert not store.has("message") and store.quarantine.height == 2
    assert store.loads[0]["report"]["quality"]["verdict"] == "fail"
    (tmp_path / "in/broadlog.csv").write_text(f"{BROADLOG}1,5,a@a.example,1,{AT},,\n")
    _, said = ingested(folder, store=tmp_path / "store")
    assert said == [] and measure(open_store(tmp_path / "store"), "delivered", by=[]).item() == 1


def test_an_empty_table_is_no_failure(tmp_path: Path) -> None:
    folder = write(tmp_path / "in", broadlog=BROADLOG, delivery=DELIVERY)
    assert ingested(folder, store=tmp_path / "store")[1] == []
    assert measure(open_store(tmp_path / "store"), "delivered", by=[]).item() == 0


def test_an_unreadable_source_does_not_hold_up_the_others(tmp_path: Path) -> None:
    sound = write(tmp_path / "sound", delivery=DELIVERY)
    (tmp_path / "picture.bin").write_bytes(b"\x89PNG\x00")
    cut = tmp_path / "broadlog.parquet"
    pl.DataFrame({"iBroadLogId": [1], "iDeliveryId": [5]}).write_parquet(cut)
    cut.write_bytes(cut.read_bytes()[:50])
    report, said = ingested(tmp_path / "picture.bin", sound, cut, store=tmp_path / "store", code=3)
    assert list(report["unreadable"]) == [str(tmp_path / "picture.bin"), str(cut)]
    assert said[0].startswith("Error: Nothing in ") and "cannot be read as Parquet" in said[1]
    assert open_store(tmp_path / "store").scan("delivery").collect().height == 1


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("x.csv", "sAddress,iStatus,tsEvent\na@a.example,1,2026-05-01\n",
         "nearest is adobe_export 'broadlog': 3 of its headers, without a column for delivery_id, message_id"),
        ("x.csv", "a,b\n1,2\n", "its headers are those of no known table"),
        ("x.json", '[{"event":"click","email":"a@a.example"}]', "; nearest is "),
        ("x.json", '[{"colour":"red"}]', "those of no known format (keys: colour)"),
        ("x.log", '198.51.100.1 - - [01/May/2026:10:00:00 +0000] "GET / HTTP/1.1" 200 1\n' * 3, "without tracked hits"),
        ("x.bin", "\x00", "neither a log, a table nor message content"),
    ],
)  # fmt: skip
def test_what_is_of_no_format_is_told_in_three_lines(tmp_path: Path, name: str, text: str, words: str) -> None:
    (tmp_path / name).write_text(text)
    done = trackkit("ingest", tmp_path / name, "--store", tmp_path / "store", code=3)
    assert words in done.stderr and len(done.stderr.splitlines()) == 1
    assert len(done.stderr) - len(str(tmp_path)) <= 3 * 110
