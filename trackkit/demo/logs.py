"""The raw redirection logs: lines written to files as servers do, then aged: shuffled, with corrupt lines added.

There are two servers, each with its own counter of log ids; some ids occur on both. A few lines are written twice, in
two files, and a few late, into a later file. Corrupt lines are additions: no hit is lost.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

import numpy as np
import polars as pl

from trackkit.demo.clients import CLIENTS
from trackkit.demo.people import addresses, hexadecimal, uuids
from trackkit.demo.plan import DAY, FIRST, NOW, WEB_TAGS
from trackkit.demo.scene import Scene
from trackkit.demo.words import FIRST_NAMES

DAILY, WEEKLY = DAY, 7 * DAY
SERVERS = ("50", "51")
FIRST_IDS = (0xFD7EC86, (1 << 53) + 1)  # the sample's counter, and one too large for a float
INSTANT = "%Y-%m-%dT%H:%M:%S%.3f"
_CLIENTS, _ADDRESSES = pl.Series([client.text for client in CLIENTS]), addresses()
_NAMES = pl.Series([f"p1={quote(name)}" for name in FIRST_NAMES])
_TAGS = pl.Series([f"tagid={tag}" for *_, tag in WEB_TAGS])
CORRUPTIONS = ("truncated", "missing field", "bad hexadecimal", "binary")


@dataclass(frozen=True)
class LogFiles:
    """The log folder: one file per server and range of time, of a day or a week."""

    folder: Path
    seed: int
    range_ms: int

    @property
    def ranges(self) -> int:
        """How many ranges of time the files cover."""
        return -(-(NOW - FIRST) // self.range_ms)

    def path(self, server: int, place: int) -> Path:
        """Return the file of a server for a range of time."""
        start, end = (FIRST + (place + step) * self.range_ms for step in (0, 1))
        hours = "-".join(f"{datetime.fromtimestamp(at // 1000, UTC):%Y%m%dT%H}" for at in (start, end))
        return self.folder / f"0x{SERVERS[server]}_{hours}.log"

    def append(self, lines: pl.DataFrame) -> None:
        """Add `line`s to the end of their files, given by `server` and `place`."""
        for (server, place), part in lines.sort("server", "place", maintain_order=True).group_by(
            ["server", "place"], maintain_order=True
        ):
            with self.path(server, place).open("ab") as file:
                file.write(("\n".join(part["line"]) + "\n").encode())

    def age(self) -> tuple[int, int]:
        """Sort each file roughly by time and add corrupt lines; return the counts of all lines and of corrupt ones."""
        paths = sorted(self.folder.glob("*.log"))
        counts = [self._age_one(path, number) for number, path in enumerate(paths)]
        return sum(lines for lines, _ in counts), sum(corrupt for _, corrupt in counts)

    def _age_one(self, path: Path, number: int) -> tuple[int, int]:
        rng = np.random.default_rng([self.seed, 5, number])
        lines = pl.Series(path.read_bytes().split(b"\n")[:-1], dtype=pl.Binary)
        order = lines.cast(pl.String).str.slice(20, 22).arg_sort().to_numpy()
        rank = np.empty(order.size)
        rank[order] = np.arange(order.size)
        is_stray = rng.random(order.size) < 0.01
        rank[is_stray] += rng.uniform(-60, 60, int(is_stray.sum()))
        corrupt = corrupt_lines(lines, rng)
        rank = np.concatenate([rank, rng.uniform(0, order.size, len(corrupt))])
        lines = pl.concat([lines, corrupt]).gather(np.argsort(rank, kind="stable"))
        is_cut = number % 5 == 2
        ending = b"\n" + lines[0][: 40 + number % 20] if is_cut else b"\n"  # the server died writing its last line
        path.write_bytes(b"\n".join(lines.to_list()) + ending)
        return lines.len() + is_cut, corrupt.len() + is_cut


def corrupt_lines(lines: pl.Series, rng: np.random.Generator) -> pl.Series:
    """Return corrupt copies of some lines, of every kind that the published check refuses."""
    sound = lines.cast(pl.String)
    # A lost field would not show behind a forwarded-for chain, nor a cut in a short line.
    sound = sound.filter(sound.str.contains(r"^([^\t]*\t){10}[0-9.]+$") & (sound.str.len_chars() > 130))
    count = min(sound.len(), max(1, lines.len() // 400))
    copied = sound.gather(rng.choice(sound.len(), count, replace=False)) if count else sound
    kinds = [CORRUPTIONS[int(kind)] for kind in rng.integers(0, 4, count)]
    corrupt = [_corrupt(line, kind, rng) for line, kind in zip(copied, kinds, strict=True)]
    return pl.Series(corrupt, dtype=pl.Binary)


def _corrupt(line: str, kind: str, rng: np.random.Generator) -> bytes:
    fields = line.split("\t")
    if kind == "truncated":
        return line[: int(rng.integers(10, 90))].encode()
    if kind == "missing field":
        return "\t".join(fields[:7] + fields[8:]).encode()
    if kind == "bad hexadecimal":
        return "\t".join([*fields[:2], f"{fields[2]}zz", *fields[3:]]).encode()
    return bytes(rng.integers(0, 256, 80, dtype=np.uint8)).replace(b"\n", b"?").replace(b"\r", b"?") + b"\xff\x00"


def with_ids(scene: Scene, hits: pl.DataFrame, counters: list[int]) -> pl.DataFrame:
    """Give every hit its server and log id, advancing the counters; a few ids of each letter are on both servers."""
    server = hits["address"].to_numpy() % len(SERVERS)
    number = np.empty(server.size, dtype=np.uint64)
    for place in range(len(SERVERS)):
        is_here = server == place
        number[is_here] = counters[place] + np.arange(is_here.sum(), dtype=np.uint64)
        counters[place] += int(is_here.sum())
    is_recent = hits["at"].to_numpy() >= scene.table_end
    if scene.mailing.plan.role == "letter":
        first, second = (np.flatnonzero(is_recent & (server == place))[:3] for place in (0, 1))
        number[second[: first.size]] = number[first[: second.size]]
    has_message = pl.col("message") >= 0
    return hits.with_columns(
        server=server.astype(np.int8),
        number=number,
        log_id=_log_ids(server, number),
        message_id=pl.when(has_message).then(scene.mailing.first_message + pl.col("message")).otherwise(0),
        delivery_id=pl.when(has_message | pl.col("is_named")).then(scene.mailing.plan.delivery_id).otherwise(0),
        link_id=scene.slots[0][hits["slot"].to_numpy()],
    )


def _log_ids(server: np.ndarray, number: np.ndarray) -> pl.Series:
    digits = hexadecimal(number, 16)
    return ("50x" + digits.str.to_uppercase()).zip_with(pl.Series(server == 0), "51x" + digits)


def with_fate(scene: Scene, hits: pl.DataFrame) -> pl.DataFrame:
    """Mark the hits that are undated, late (in the next file), written twice, or have articles such as `2l`."""
    chance = scene.rng.random(hits.height)
    in_raw = pl.col("in_raw")
    index, is_recent = pl.int_range(pl.len()), pl.col("at") >= scene.table_end
    hits = hits.with_columns(in_raw=pl.col("at") >= scene.table_only, in_table=~is_recent & ~pl.col("is_repeat"))
    return hits.with_columns(
        is_undated=(index % 1999 == 700) & (pl.col("slot") > 0) & is_recent,
        is_misread=(index % 37 == 5) & (pl.col("cents") > 0) & is_recent,
        is_late=pl.lit(pl.Series(chance < 0.003)) & in_raw,
        raw_lines=in_raw.cast(pl.Int8) + (in_raw & pl.lit(pl.Series(chance > 0.995))),
    )


def make_lines(scene: Scene, hits: pl.DataFrame) -> pl.Series:
    """Return the raw line of each hit."""
    message = hits["message"].to_numpy()
    is_text = (message >= 0) & scene.mailing.is_text[message]
    at = pl.from_epoch("at", "ms").dt.strftime(INSTANT).str.slice(0, 22)
    columns = (
        pl.col("log_id"),
        pl.when("is_undated").then(pl.lit("")).otherwise(at),
        hexadecimal(hits["message_id"].to_numpy()),
        hexadecimal(hits["delivery_id"].to_numpy()),
        hexadecimal(hits["link_id"].to_numpy()),
        pl.lit("0"),
        _persons(hits),
        pl.Series(["h", "t"]).gather(is_text.astype(np.uint32)),
        _parameters(scene, hits),
        _CLIENTS.gather(hits["client"]),
        _ADDRESSES.gather(hits["address"]),
    )
    return hits.select(line=pl.concat_str(*columns, separator="\t"))["line"]


def _persons(hits: pl.DataFrame) -> pl.Series:
    """UUIDs; on opens, every seventh in capitals, as some servers write them."""
    text = uuids(hits["person"].to_numpy())
    return text.str.to_uppercase().zip_with((hits["slot"] == 0) & (hits["number"] % 7 == 3), text)


def _parameters(scene: Scene, hits: pl.DataFrame) -> pl.Expr:
    """The extra parameters: a web hit's tag, amount and articles, the value of a personalised link, or none."""
    first_tag = scene.first_tag
    personal = [place for place, link in enumerate(scene.mailing.plan.links, 1) if "<%=" in link.url]
    names = _NAMES.gather(hits["message"].to_numpy() % len(FIRST_NAMES))
    tag = pl.lit(_TAGS.gather(np.maximum(hits["slot"].to_numpy() - first_tag, 0)))
    empty = pl.when(pl.col("number") % 6 == 1).then(pl.lit("-")).otherwise(pl.lit(""))
    letter = pl.when("is_misread").then(pl.lit("l")).otherwise(pl.lit(""))
    bought = pl.format("{}&amount={}&article={}{}", tag, pl.lit(amounts(hits)), "articles", letter)
    return (
        pl.when(pl.col("cents") > 0)
        .then(bought)
        .when(pl.col("slot") >= first_tag)
        .then(tag)
        .when(pl.col("slot").is_in(personal))
        .then(pl.lit(names))
        .otherwise(empty)
    )


def amounts(hits: pl.DataFrame) -> pl.Series:
    """Return the amounts as decimal text, from whole cents.

    >>> amounts(pl.DataFrame({"cents": [4990, 105]})).to_list()
    ['49.90', '1.05']
    """
    cents = pl.col("cents")
    text = pl.concat_str((cents // 100).cast(pl.String), pl.lit("."), (cents % 100).cast(pl.String).str.zfill(2))
    return hits.select(text).to_series()


def route(files: LogFiles, hits: pl.DataFrame, lines: pl.Series) -> None:
    """Write lines to their server's file of the time, late ones to the next file, second copies to the other server."""
    last = files.ranges - 1
    place = ((pl.col("at") - FIRST) // files.range_ms + pl.col("is_late")).clip(0, last)
    routed = hits.select("server", "raw_lines", place=place).with_columns(line=lines)
    again = routed.filter(pl.col("raw_lines") == 2).with_columns(
        server=(1 - pl.col("server")).cast(pl.Int8), place=(pl.col("place") + 1).clip(0, last)
    )
    files.append(pl.concat([routed.filter(pl.col("raw_lines") > 0), again]))
