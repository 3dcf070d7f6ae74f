"""The table exports of the instance, each in a different variant that the contract allows."""

import gzip
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl

from trackkit.demo import entities
from trackkit.demo.clients import CLIENTS
from trackkit.demo.content import html_content, text_content
from trackkit.demo.logs import amounts
from trackkit.demo.mailing import FIRST_FAILURE, Mailing
from trackkit.demo.people import FIRST_RECIPIENT, People, Standing, uuids
from trackkit.demo.plan import DAY, OPEN, OPEN_ID, WEB_TAGS, Plan
from trackkit.demo.scene import Scene
from trackkit.demo.words import COUNTRIES, FAILURES, FIRST_NAMES, SITE
from trackkit.schema import FAILURE_REASONS

SPACED, ZULU = "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S%.3fZ"
FIRST_OFFER, OFFERED = 9_001, 2 * DAY
SERVICES = {801: "Weekly letter: la lettre préférée", 802: "Promoções & offres"}
_HASHES = pl.Series([int(value) for value in np.random.default_rng(99).integers(-(2**31), 2**31, len(CLIENTS))])


def instants(milliseconds: Sequence[int | None] | np.ndarray, pattern: str = SPACED) -> pl.Series:
    """Return instants as text; null for null and 0."""
    values = pl.Series(milliseconds, dtype=pl.Int64)
    return pl.from_epoch(values.replace(0, None), "ms").dt.strftime(pattern)


def write_delivery(folder: Path, rows: Sequence[dict[str, object]]) -> None:
    """`delivery.csv`: UTF-8 with a byte-order mark, commas, SQL names."""
    frame = pl.DataFrame(rows, infer_schema_length=None)
    instant_columns = [name for name in frame.columns if name.startswith("ts")]
    frame = frame.with_columns(instants(frame[name].to_list()).alias(name) for name in instant_columns)
    frame.write_csv(folder / "delivery.csv", include_bom=True)


def delivery_row(mailing: Mailing, size: int) -> dict[str, object]:
    """Return the row of `delivery` of one mailing, whose messages have `size` bytes; instants in milliseconds."""
    plan = mailing.plan
    state = {"running": 55, "paused": 75, "model": 0}.get(plan.role, 95)
    sent = mailing.sent_at[mailing.sent_at > 0]
    count = mailing.recipient.size
    return {
        "iDeliveryId": plan.delivery_id,
        "sInternalName": f"DM{plan.delivery_id}",
        "sLabel": plan.label,
        "sSubject": plan.theme.subject,
        "iMessageType": 0,
        "iState": state,
        "iDeliveryMode": 1,
        "iIsModel": int(plan.role == "model"),
        "iFCP": int(plan.role == "proof"),
        "iTypologyId": plan.typology,
        "tsContact": plan.start,
        "tsBroadStart": int(sent.min()) if sent.size else 0,
        "tsBroadEnd": int(sent.max()) if sent.size and state == 95 else 0,
        "tsValidity": plan.start + 5 * DAY,
        "iTotalTarget": count + mailing.excluded.size,
        "iReject": mailing.excluded.size,
        "iToDeliver": count,
        "iText": int(mailing.is_text.sum()),
        "iNewQuarantine": mailing.new_quarantines,
        "iMessageSize": size,
        "sOperator": "invented",
        **entities.columns(plan),
    }


def write_content(folder: Path, mailing: Mailing) -> int:
    """`content/<id>.html` and `.txt`; a text-only delivery has no HTML. Return the bytes of a message."""
    plan, size = mailing.plan, 0
    writers = {"txt": text_content} if plan.role == "text" else {"html": html_content, "txt": text_content}
    for ending, write in writers.items():
        data = write(plan, mailing.first_message).encode()
        (folder / "content" / f"{plan.delivery_id}.{ending}").write_bytes(data)
        size += len(data)
    return size


def write_links(folder: Path, plans: Sequence[Plan]) -> None:
    """`tracking_url.csv`: Latin-1, semicolons, SQL names in lower case."""
    none = (None, None)
    rows: list[tuple[object, ...]] = [(OPEN_ID, 0, OPEN, "Open", None, None, None, 1, *none)]
    rows += [(key, 0, code, label, kind, f"{SITE}/{tag}", tag, 1, *none) for key, code, label, kind, tag in WEB_TAGS]
    for plan in plans:
        rows += [
            (
                *(link.link_id, plan.delivery_id, link.type_code, link.label, link.category, link.url),
                *(None, link.occurrence, *_offer(plan, place)),
            )
            for place, link in enumerate(plan.links)
        ]
    names = ["itrackingurlid", "ideliveryid", "itype", "slabel", "scategory", "ssource", "stagid", "ioccurrence"]
    names += ["iofferid", "tsvalidity"]
    text = pl.DataFrame(rows, schema=names, orient="row", infer_schema_length=None).write_csv(separator=";")
    (folder / "tracking_url.csv").write_bytes(text.encode("latin-1"))


def _offer(plan: Plan, place: int) -> tuple[int | None, str | None]:
    """The offer that a link shows, and the end of its validity: the products of a mailing of offers, for two days."""
    if plan.role != "offer" or plan.links[place].category != "product":
        return None, None
    return FIRST_OFFER + place, instants([plan.start + OFFERED])[0]


def write_messages(folder: Path, mailing: Mailing, people: People) -> None:
    """A part of `broadlog/`: Parquet, SQL names; and of `exclusion.csv`, before it is compressed."""
    path = folder / "broadlog" / f"part-{mailing.plan.number:04}.parquet"
    mailing.frame(people).write_parquet(path, compression="zstd", row_group_size=250_000)
    rules = pl.Series([FAILURE_REASONS[code] for code in mailing.rule.tolist()], dtype=pl.String)
    excluded = pl.Series(mailing.excluded + FIRST_RECIPIENT)
    frame = pl.select(ideliveryid=pl.lit(mailing.plan.delivery_id), irecipientid=excluded, srule=rules)
    with (folder / "exclusion.part").open("ab") as file:
        frame.write_csv(file, include_header=file.tell() == 0)


def write_hits(folder: Path, scene: Scene, hits: pl.DataFrame) -> None:
    """A part of `tracking_log/`: commas, Zstandard, XPath names; and of `web_tracking_log.csv`: semicolons."""
    exported = hits.filter("in_table")
    if exported.is_empty():
        return
    mailing = scene.mailing
    recipient = np.where(exported["message"] < 0, -1, mailing.recipient[exported["message"].to_numpy()])
    columns = {
        "@id": exported["number"],
        "@logDate": instants(exported["at"].to_numpy(), ZULU),
        "[@url-id]": exported["link_id"],
        "[@broadLog-id]": exported["message_id"],
        "[@delivery-id]": exported["delivery_id"],
        "[@recipient-id]": np.where(recipient < 0, 0, recipient + FIRST_RECIPIENT),
        "[@source-id]": uuids(exported["person"].to_numpy()),
        "@sourceType": ["web"] * exported.height,
        "@userAgent": _HASHES.gather(exported["client"]),
    }
    path = folder / "tracking_log" / f"part-{mailing.plan.number:04}.csv.zst"
    pl.DataFrame(columns).write_csv(path, compression="zstd")
    _write_web_hits(folder, exported.filter(pl.col("slot") >= scene.first_tag), scene.first_tag)


def _write_web_hits(folder: Path, hits: pl.DataFrame, first_tag: int) -> None:
    bought = pl.when(pl.col("cents") > 0)
    frame = hits.select(
        iTrackingLogId="number",
        dAmount=bought.then(pl.lit(amounts(hits))),
        iArticle=bought.then("articles"),
        sTagId=pl.Series([tag for *_, tag in WEB_TAGS]).gather(hits["slot"].to_numpy() - first_tag),
    )
    with (folder / "web_tracking_log.csv").open("ab") as file:
        frame.write_csv(file, separator=";", include_header=file.tell() == 0)


def write_dimensions(folder: Path, people: People, standing: Standing) -> None:
    """The small tables: `recipient` in tabs and Zstandard, `user_agent` in Parquet, `broadlog_msg` and `service`."""
    number = np.arange(people.count)
    country = pl.Series([code for code, *_ in COUNTRIES]).gather(people.country)
    recipients = {
        "iRecipientId": number + FIRST_RECIPIENT,
        "sEmail": people.email.set(pl.Series(standing.without_address), None),
        "iEmailFormat": people.email_format,
        "iBlackList": standing.denylisted.astype(np.int8),
        "sCountryCode": country.set(pl.Series(number % 40 == 9), "XX"),
        "sFirstName": pl.Series(FIRST_NAMES).gather(number * 7 % len(FIRST_NAMES)),
    }
    pl.DataFrame(recipients).write_csv(folder / "recipient.csv.zst", separator="\t", compression="zstd")
    agents = {
        "iHashKey": _HASHES,
        "sBrowserName": [client.browser for client in CLIENTS],
        "sBrowserVersion": [client.version for client in CLIENTS],
        "sOSName": [client.system for client in CLIENTS],
        "sDevice": [client.device for client in CLIENTS],
    }
    pl.DataFrame(agents).write_parquet(folder / "user_agent.parquet", row_group_size=1000)
    rows = [(FIRST_FAILURE + place, kind, reason, text) for place, (reason, kind, text, _) in enumerate(FAILURES)]
    names = ["iBroadLogMsgId", "iFailureType", "iFailureReason", "sFirstText"]
    pl.DataFrame(rows, schema=names, orient="row").write_csv(folder / "broadlog_msg.tsv", separator="\t")
    services = pl.DataFrame({"iServiceId": list(SERVICES), "sLabel": list(SERVICES.values())})
    (folder / "service.csv").write_bytes(services.write_csv(separator=";").encode("latin-1"))


def compress_exclusions(folder: Path) -> None:
    """`exclusion.csv.gz`: commas, SQL names in lower case, gzip without a time in it."""
    plain = folder / "exclusion.part"
    with (
        plain.open("rb") as source,
        (folder / "exclusion.csv.gz").open("wb") as target,
        gzip.GzipFile(filename="", mode="wb", fileobj=target, mtime=0) as packed,
    ):
        shutil.copyfileobj(source, packed)
    plain.unlink()
