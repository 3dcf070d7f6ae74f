"""A store of tracking events as large as asked, written straight in the store's own layout: nothing is read or settled.

    python benchmarks/stores.py FOLDER --events 20000000
    python benchmarks/stores.py FOLDER --events 2000000 --raw LOGS      # and the raw logs of its first bucket

The same seed writes the same rows. Deliveries are of Zipf sizes; a message has one hit or several, mostly of its
recipient's browser, else of one that it was forwarded to; a browser belongs to a household of two recipients, so that
messages share persons; a hundredth of the hits is months late; a few are of control addresses, and a few name nobody.
"""

import argparse
import json
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl
from mixed import in_hexadecimal

from trackkit import schema
from trackkit.store.enrich import with_marks
from trackkit.store.lake import Lake
from trackkit.store.layout import BUCKET, BUCKET_ROWS, FENCE, OWN, WATERMARK, stored_schema

DELIVERIES, AGENTS, LINKS = 2_500, 3_000, 20
IN_CAMPAIGN = 10  # deliveries, one after the other
START = 1_772_000_000_000_000  # an instant of February 2026, in microseconds since 1970
DAY = 86_400_000_000
KINDS = {"opened": 0.70, "clicked": 0.24, "unsubscribed": 0.01, "mirror_page": 0.02, "web_visited": 0.02,
         "transaction": 0.01}  # fmt: skip
# The last links of a delivery are of a kind each, by the platform's code; the others are clicks.
OWN_LINKS = {LINKS - 2: ("unsubscribed", 3), LINKS - 1: ("mirror_page", 6), LINKS: ("web_visited", 4),
             LINKS + 1: ("transaction", 5)}  # fmt: skip


def sizes_of(events: int, deliveries: int) -> np.ndarray:
    """Return the hits of each delivery, the first ones with many; every delivery has one."""
    weight = 1 / (np.arange(deliveries) + 10)
    return np.maximum(1, (events * weight / weight.sum()).astype(np.int64))


def draw(chance: np.random.Generator, sizes: pl.DataFrame, first: int) -> pl.DataFrame:
    """Return the hits of some deliveries, as the store keeps them; in: (number, rows); `first` is the first log id."""
    number = np.repeat(sizes["number"].to_numpy(), sizes["rows"].to_numpy())
    size, own = len(number), np.repeat(sizes["rows"].to_numpy(), sizes["rows"].to_numpy())
    of_message = (chance.random(size) ** 1.5 * (own / 2 + 1)).astype(np.int64)  # some messages are hit again and again
    recipient = (of_message * 7_919 + number * 104_729) % 5_000_000
    person = np.where(chance.random(size) < 0.12, chance.integers(0, 2_500_000, size), recipient // 2)
    at = START + number * DAY // 10 + (chance.exponential(2 * DAY, size)).astype(np.int64)
    at += np.where(chance.random(size) < 0.01, 90 * DAY, 0)
    columns = {
        "number": number, "message": of_message, "recipient": recipient, "person": person, "at": at,
        "kind": chance.choice(len(KINDS), size, p=list(KINDS.values())).astype(np.uint32),
        "link": chance.integers(2, LINKS - 2, size), "agent": (chance.random(size) ** 2 * AGENTS).astype(np.int64),
        "nameless": chance.random(size) < 0.03, "id": np.arange(first, first + size),
    }  # fmt: skip
    own = {list(KINDS).index(kind): link for link, (kind, _) in OWN_LINKS.items()}
    drawn = pl.DataFrame(columns).with_columns(link=pl.col("kind").replace_strict(own, default=pl.col("link")))
    return with_marks(_as_stored(drawn))


def _as_stored(drawn: pl.DataFrame) -> pl.DataFrame:
    agents = pl.Series([f"Mozilla/5.0 (Windows NT 10.0; Win64; x64) Firefox/{n}.0" for n in range(AGENTS)])
    kind = pl.col("kind").replace_strict(dict(enumerate(KINDS)), return_dtype=pl.String)
    is_open, is_sale = pl.col("kind") == 0, pl.col("kind") == len(KINDS) - 1
    filled = drawn.select(
        delivery_id=_text(10_000 + pl.col("number")),
        message_id=_text(pl.col("number") * 1_000_000 + pl.col("message")),
        occurred_at=pl.col("at").cast(pl.Datetime("us")).dt.replace_time_zone("UTC"), event_id=_text(pl.col("id")),
        log_server=pl.lit("50"), recipient_id=_text(pl.col("recipient")),
        person_id=pl.when(~pl.col("nameless")).then(
            pl.format("00000000-0000-4000-8000-{}", _text(pl.col("person")).str.zfill(12))),
        link_id=pl.when(is_open).then(pl.lit("1")).otherwise(_text(pl.col("number") * 100 + pl.col("link"))),
        reported_type=pl.when(is_open).then(pl.lit("opened")), event_type=kind, message_format=pl.lit("html"),
        user_agent=agents.gather(drawn["agent"]), ip=pl.format("192.0.2.{}", pl.col("recipient") % 254),
        collapse_seconds=pl.lit(60), source=pl.lit("adobe_redirection_log"), source_file=pl.lit("redir/log/0x01.log"),
        source_row=pl.col("id"), has_messages=pl.lit(True), domain=pl.format("d{}.example", pl.col("recipient") % 200),
        is_seed=pl.col("recipient") % 1_000 == 0, country=pl.lit("FR"), device=pl.lit("PC"),
        operating_system=pl.lit("Windows"), browser=pl.lit("Firefox"), browser_version=_text(pl.col("agent")),
        link_label=pl.when(~is_open).then(pl.format("Link {}", "link")),
        amount=pl.when(is_sale).then((pl.col("id") % 10_000) / 100), articles=pl.when(is_sale).then(1),
    )  # fmt: skip
    return _shaped("event", filled)


def _type_code(link: pl.Expr) -> pl.Expr:
    return link.replace_strict({own: code for own, (_, code) in OWN_LINKS.items()}, default=1)


def _text(number: pl.Expr) -> pl.Expr:
    return number.cast(pl.String)


def _shaped(table: str, rows: pl.DataFrame) -> pl.DataFrame:
    """Every column of a table, what is not given being unknown."""
    types = schema.TABLES[table].schema
    shaped = [(pl.col(name) if name in rows.columns else pl.lit(None)).cast(dtype).alias(name)
              for name, dtype in types.items()]  # fmt: skip
    return rows.select(shaped)


def write_raw(folder: Path, rows: pl.DataFrame) -> None:
    """Write hits as lines of a redirection log, and the platform's table of their links."""
    numbered = in_hexadecimal(rows.with_columns(pl.col("event_id", "message_id", "delivery_id", "link_id").cast(int)),
                              log="event_id", m="message_id", d="delivery_id", l="link_id")  # fmt: skip
    at, person = pl.col("occurred_at").dt.strftime("%Y-%m-%dT%H:%M:%S%.6f"), pl.col("person_id").fill_null("")
    parts = "50x{}\t{}\t{}\t{}\t{}\t0\t{}\th\t\t{}\t{}"
    lines = numbered.select(pl.format(parts, "log", at, "m", "d", "l", person, "user_agent", "ip")).to_series()
    (folder / "redir" / "log").mkdir(parents=True, exist_ok=True)
    (folder / "redir" / "log" / "0x01.log").write_text("\n".join(lines) + "\n")
    links = rows.select(iTrackingUrlId="link_id", iDeliveryId="delivery_id").filter(pl.col("iTrackingUrlId") != "1")
    kind = _type_code(pl.col("iTrackingUrlId").cast(int) % 100)
    links.unique().sort("iTrackingUrlId").with_columns(iType=kind).write_csv(folder / "tracking_url.csv")


def write(folder: Path, events: int, deliveries: int = DELIVERIES, seed: int = 1, raw: Path | None = None) -> int:
    """Write a store of about so many events, and, if asked, the raw logs of its first bucket; return how many."""
    lake, chance = Lake(str(folder)), np.random.default_rng(seed)
    lake.begin("benchmark")
    for name in ("delivery", "link", "event", "collapsed", FENCE, WATERMARK):
        lake.create(name)
    # Large and small deliveries lie beside each other, as they do where ids follow time.
    sizes = pl.DataFrame({"rows": chance.permutation(sizes_of(events, deliveries))}).with_row_index("number")
    sizes = sizes.with_columns(pl.col("number").cast(pl.Int64), bucket=1 + pl.col("rows").cum_sum() // BUCKET_ROWS)
    _write_dimensions(lake, sizes)
    first = 1
    for (bucket,), part in sizes.group_by(BUCKET, maintain_order=True):
        rows = draw(chance, part, first).sort("delivery_id", "message_id", "occurred_at", "event_id")
        if raw and first == 1:
            write_raw(raw, rows)
        first += rows.height
        lake.replace("event", [rows.with_columns(_own(bucket))], [bucket])
    fences = sizes.group_by(BUCKET).agg(first_delivery=_text(10_000 + pl.col("number").min())).sort(BUCKET)
    lake.overwrite(FENCE, fences.with_columns(first_delivery=pl.when(pl.col(BUCKET) > fences[BUCKET].min()).then(
        "first_delivery").otherwise(pl.lit(""))).cast(OWN[FENCE]))  # fmt: skip
    versions = {name: lake.own_version(name) for name in lake.present()}
    lake.commit({
        "number": 1, "load_id": "benchmark", "loaded_at": datetime.now(UTC), "timezone": "UTC", "mark": "",
        "versions": json.dumps(versions), "fingerprints": "{}",
        "report": json.dumps({"sources": [], "event_types": {}, "ignored_files": {}}),
    })  # fmt: skip
    return first - 1


def _own(bucket: object) -> list[pl.Expr]:
    return [pl.lit(0, pl.Int32).alias("filled"), pl.lit(bucket, pl.Int32).alias(BUCKET)]


def _write_dimensions(lake: Lake, sizes: pl.DataFrame) -> None:
    key = _text(10_000 + pl.col("number"))
    sent = 2 * pl.col("rows")
    counts = {"targeted": sent, "to_deliver": sent, "text_messages": sent // 50, "rejected": 0, "new_quarantines": 0}
    campaign = _text(1 + pl.col("number") // IN_CAMPAIGN)
    own = {"delivery_id": key, "campaign_id": campaign, "is_proof": pl.lit(False), "is_model": pl.lit(False)}
    deliveries = sizes.select(**own, **counts)
    links = sizes.join(pl.DataFrame({"link": np.arange(2, LINKS + 2)}), how="cross").select(
        delivery_id=key, link_id=_text(pl.col("number") * 100 + pl.col("link")),
        type_code=_type_code(pl.col("link")),
        label=pl.format("Link {}", "link"))  # fmt: skip
    for name, rows in (("delivery", deliveries), ("link", links)):
        lake.overwrite(name, _shaped(name, rows).with_columns(pl.lit(0, pl.Int32).alias("filled")))
        assert set(stored_schema(name)) == {*schema.TABLES[name].schema, "filled"}


if __name__ == "__main__":
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("folder", type=Path)
    asked.add_argument("--events", type=int, default=2_000_000)
    asked.add_argument("--deliveries", type=int, default=DELIVERIES)
    asked.add_argument("--seed", type=int, default=1)
    asked.add_argument("--raw", type=Path, help="where the raw logs of a part of it go")
    given = asked.parse_args()
    print(f"{write(given.folder, given.events, given.deliveries, given.seed, given.raw):,} events")
