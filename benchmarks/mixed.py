"""The logs of senders on several platforms, as large as asked: redirection logs, event feeds, access logs, exports.

    python benchmarks/mixed.py FOLDER --events 10000000

The same seed writes the same bytes, in slices, so that memory does not grow with the size. Of every file a hundredth
stands again in a file of repeats, as feeds and forwarding deliver things twice.
"""

import argparse
import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl

SLICE = 250_000
START = 1_772_000_000  # an instant of February 2026, in seconds since 1970
DELIVERIES, MESSAGES = 200, 400_000
REPEATED = 100


def draw(chance: np.random.Generator, first: int, size: int) -> pl.DataFrame:
    """Return random events: number, message, its delivery (the first ones are large), kind, second, link, browser."""
    message = chance.integers(1, MESSAGES + 1, size)
    spread = (message * 7919 % 10_007) / 10_007
    columns = {
        "message": message,
        "delivery": 1 + (spread**2 * DELIVERIES).astype(np.int64),
        "open": chance.random(size) < 0.7,
        "at": START + chance.integers(0, 30 * 86_400, size),
        "link": 2 + chance.integers(0, 8, size),
        "agent": [f"Mozilla/5.0 (Windows NT 10.0) Firefox/{n}.0" for n in chance.integers(1, 300, size)],
        "id": np.arange(first + 1, first + 1 + size),
    }
    return pl.DataFrame(columns)


def in_hexadecimal(rows: pl.DataFrame, **columns: pl.Expr | str) -> pl.DataFrame:
    """Add columns of numbers as the platform's logs write them."""
    numbers = rows.select(**columns)
    return rows.with_columns(pl.Series(name, [f"{n:x}" for n in numbers[name]]) for name in columns)


def redirection(rows: pl.DataFrame, part: int) -> list[str]:
    """Return lines of the platform's redirection log."""
    link = pl.when("open").then(1).otherwise(pl.col("delivery") * 16 + pl.col("link"))
    rows = in_hexadecimal(rows, log="id", m="message", d="delivery", l=link)
    at = pl.from_epoch("at").dt.strftime("%Y-%m-%dT%H:%M:%S.00")
    person = pl.col("message").cast(pl.String).str.zfill(12)
    return rows.select(
        pl.format("50x{}\t{}\t{}\t{}\t{}\t0\tperson-{}\th\t-\t{}\t192.0.2.7", "log", at, "m", "d", "l", person, "agent")
    ).to_series().to_list()  # fmt: skip


def access(rows: pl.DataFrame, part: int) -> list[str]:
    """Return lines of a web server's log, hits on the platform's links."""
    link = pl.when("open").then(1).otherwise(pl.col("delivery") * 16 + pl.col("link"))
    rows = in_hexadecimal(rows, m=pl.col("message") + 10_000_000, d=pl.col("delivery") + 20_000, l=link + 10_000_000)
    shown = pl.when("open").then(pl.lit("1")).otherwise("l")
    at = pl.from_epoch("at").dt.strftime("%d/%b/%Y:%H:%M:%S +0000")
    return rows.select(
        pl.format('192.0.2.8 - - [{}] "GET /r/?id=h{},{},{} HTTP/1.1" 302 0 "-" "{}"', at, "m", "d", shown, "agent")
    ).to_series().to_list()  # fmt: skip


def _records(rows: pl.DataFrame, **fields: pl.Expr) -> list[str]:
    return rows.select(pl.struct(**fields).struct.json_encode()).to_series().to_list()


def sendgrid(rows: pl.DataFrame, part: int) -> list[str]:
    """Return records of SendGrid's event webhook: what was delivered in the first part, opens and clicks in others."""
    kind = pl.lit("delivered") if part == 0 else pl.when("open").then(pl.lit("open")).otherwise(pl.lit("click"))
    return _records(
        rows, email=pl.format("r{}@d{}.example", "message", pl.col("message") % 50), timestamp=pl.col("at"), event=kind,
        sg_event_id=pl.format("sg{}", "id"), sg_message_id=pl.format("m{}.filter-1", "message"),
        useragent=pl.col("agent"), url=pl.when(~pl.col("open")).then(pl.format("https://shop.example/{}", "link")),
        marketing_campaign_id=10_000 + pl.col("delivery"), category=pl.concat_list(pl.lit("news"), pl.lit("weekly")),
    )  # fmt: skip


def ses(rows: pl.DataFrame, part: int) -> list[str]:
    """Return records of Amazon SES as Firehose stores them."""
    at = pl.from_epoch("at").dt.strftime("%Y-%m-%dT%H:%M:%S.000Z")
    act = pl.struct(timestamp=at, ipAddress=pl.lit("192.0.2.9"), userAgent=pl.col("agent"))
    click = pl.struct(timestamp=at, link=pl.format("https://shop.example/{}", "link"), userAgent=pl.col("agent"))
    mail = pl.struct(
        messageId=pl.format("ses{}", "message"), timestamp=pl.lit("2026-02-25T00:00:00.000Z"),
        destination=pl.concat_list(pl.format("s{}@d.example", "message")),
        tags=pl.struct(campaign=pl.concat_list(pl.format("c{}", "delivery"))),
    )  # fmt: skip
    kind = pl.when("open").then(pl.lit("Open")).otherwise(pl.lit("Click"))
    opened, clicked = pl.when("open").then(act), pl.when(~pl.col("open")).then(click)
    return _records(rows, eventType=kind, mail=mail, open=opened, click=clicked)


def mailchimp(rows: pl.DataFrame, part: int) -> list[str]:
    """Return rows of Mailchimp's activity export."""
    at = pl.from_epoch("at").dt.strftime("%Y-%m-%d %H:%M:%S")
    kind = pl.when("open").then(pl.lit("open")).otherwise(pl.lit("click"))
    url = pl.when("open").then(pl.lit("")).otherwise(pl.format("https://shop.example/{}", "link"))
    return rows.select(
        pl.format("{},campaign{},member{},192.0.2.10,{},{},", kind, "delivery", "message", at, url)
    ).to_series().to_list()  # fmt: skip


HEAD = "action,campaign_id,member_id,ip,timestamp,url,bounce_type\n"
# Share of the events, where the files stand, what stands before the first line, between lines and after the last.
PARTS: dict[Callable[[pl.DataFrame, int], list[str]], tuple[float, str, str, str, str]] = {
    redirection: (0.4, "redir/log/0x{}.log", "", "\n", "\n"),
    sendgrid: (0.3, "sendgrid/{}.ndjson", "", "\n", "\n"),
    ses: (0.1, "ses/{}.json.gz", "", "", ""),
    access: (0.1, "nginx/access-{}.log", "", "\n", "\n"),
    mailchimp: (0.1, "mailchimp/campaign_recipient_activity_{}.csv", HEAD, "\n", "\n"),
}


def write(folder: Path, events: int, seed: int = 1, size: int = SLICE) -> dict[str, int]:
    """Write the logs, at most `size` events a file; return the number of events of each platform, repeats left out."""
    written = {}
    for platform, (share, name, before, between, after) in PARTS.items():
        chance, left, part = np.random.default_rng([seed, len(written)]), round(events * share), 0
        written[platform.__name__] = left
        repeats: list[str] = []
        while left > 0:
            lines = platform(draw(chance, part * size, min(size, left)), part)
            repeats += lines[::REPEATED]
            _write(folder / name.format(f"{part:06d}"), before + between.join(lines) + after)
            left, part = left - len(lines), part + 1
        _write(folder / name.format("999999"), before + between.join(repeats) + after)
    return written


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    data = text.encode()
    path.write_bytes(gzip.compress(data, 1, mtime=0) if path.suffix == ".gz" else data)


if __name__ == "__main__":
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("folder", type=Path)
    asked.add_argument("--events", type=int, default=1_000_000)
    asked.add_argument("--seed", type=int, default=1)
    given = asked.parse_args()
    print(write(given.folder, given.events, given.seed))
