"""Access logs of web servers, in the combined form of Apache and nginx: the lines that are hits become cells.

Only a GET that was answered with 200, 204, 301 or 302 is a hit; HEAD is how scanners look. Other sound lines are
counted as no events, and a line of another form is refused. Lines carry no identity: it is made of the whole line
and of which one it is among identical lines of the file, so that all of them count, and none twice.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

import polars as pl

from trackkit.sources import files, values
from trackkit.sources.feeds.feed import Feed
from trackkit.sources.feeds.paths import cell
from trackkit.sources.feeds.records import Batch, Source
from trackkit.sources.files import NOT_UTF8

_QUOTED = r'"((?:[^"\\]|\\.)*)"'
COMBINED = (
    r'^(\S+) \S+ (\S+) \[([^\]]+)\] "([A-Z]+) (\S+)[^"]*" ([0-9]{3}) (?:[0-9]+|-)'
    rf"(?: {_QUOTED} {_QUOTED})?(?: {_QUOTED})?(?: .*)?$"
)
_NAMES = ("host", "user", "time", "method", "path", "status", "referer", "agent", "forwarded")
_ANSWERS = ("200", "204", "301", "302")


class Hits(Source):
    """The lines of one access log."""

    def batches(self, folder: Path) -> Iterator[Batch]:
        """Yield the hits as cells, and the lines that are none of an access log as broken."""
        number, self.seen = 0, pl.DataFrame(schema={"mark": pl.UInt64, "times": pl.UInt32})
        for lines in _blocks_of_lines(self.found.path):
            frame = pl.DataFrame({"line": lines}, schema={"line": pl.String}).with_row_index(
                "source_row", offset=number + 1
            )
            number += len(lines)
            yield self._batch(frame.filter(pl.col("line").str.strip_chars() != ""))

    def _batch(self, lines: pl.DataFrame) -> Batch:
        parts = pl.col("line").str.extract_groups(COMBINED).struct.rename_fields(list(_NAMES))
        rows = lines.with_columns(pl.col("source_row").cast(pl.Int64), parts.alias("part")).unnest("part")
        rows = rows.with_columns(
            at=pl.col("time").str.to_datetime("%d/%b/%Y:%H:%M:%S %z", strict=False, time_unit="us")
        )
        is_sound = pl.col("method").is_not_null() & pl.col("at").is_not_null()
        is_sound &= ~pl.col("line").str.contains(NOT_UTF8, literal=True)
        hits = rows.filter(is_sound & (pl.col("method") == "GET") & pl.col("status").is_in(_ANSWERS))
        hits = hits.with_columns(hit=word_of(self.feed)).filter(pl.col("hit").is_not_null())
        broken = rows.filter(~is_sound).select("source_row", _reason(), pl.col("line").str.replace_all("\x00", ""))
        self.not_events += rows.height - hits.height - broken.height
        return Batch(self._cells(hits), broken.rows(), hits["line"].to_list())

    def _cells(self, hits: pl.DataFrame) -> pl.DataFrame:
        groups = {name: _group(name, patterns) for name, patterns in _groups(self.feed).items()}
        named = hits.with_columns(**groups, time=pl.col("at").dt.strftime("%Y-%m-%d %H:%M:%S%.6fZ"))
        lacking = {name: pl.lit(None, pl.String) for name in self.paths if name not in named.columns}
        cells = named.with_columns(
            **lacking,
            tags=pl.lit(None, pl.String),
            attributes=pl.lit(None, pl.String),
            event_id=self._event_id(named),
            is_shared=pl.lit(False),
            is_empty=pl.lit(False),
        )
        texts = [pl.when(~pl.col(name).is_in(["", "-"])).then(name).alias(cell(name)) for name in self.paths]
        return cells.select(*texts, "tags", "attributes", "event_id", "source_row", "is_shared", "is_empty")

    def _event_id(self, hits: pl.DataFrame) -> pl.Series:
        """Identities of lines: of identical ones, the first, second … of the file."""
        marked = hits.select("line", mark=pl.col("line").hash())
        marked = marked.with_columns(place=pl.int_range(pl.len(), dtype=pl.UInt32).over("mark"))
        marked = marked.join(self.seen, on="mark", how="left", maintain_order="left")
        times = marked.group_by("mark").agg(times=pl.len().cast(pl.UInt32))
        self.seen = pl.concat([self.seen, times]).group_by("mark").agg(pl.col("times").sum())
        place = pl.col("place") + pl.col("times").fill_null(0)
        identity = marked.with_columns(place=place, source=pl.lit(self.feed.name))
        return identity.select(pl.lit("sha256:") + values.digest("source", "line", "place")).to_series()


def _blocks_of_lines(file: Path) -> Iterator[list[str]]:
    trouble, rest = files.Trouble(), ""
    for text in files.decoded(files.blocks(file, trouble)):
        *lines, rest = (rest + text).split("\n")
        yield [line.removesuffix("\r").removeprefix("\ufeff") for line in lines]
    yield [rest]
    if trouble.reason is not None:
        yield [f"the file is cut here and the rest of it is lost: {trouble.reason}"]


def word_of(feed: Feed) -> pl.Expr:
    """Return the word of the first hit of a map whose pattern the column `path` meets, null where it meets none."""
    return pl.coalesce([pl.when(pl.col("path").str.contains(one.path)).then(pl.lit(one.word)) for one in feed.hit])


def looks_like(lines: pl.Series) -> float:
    """Return which share of lines have the form of an access log."""
    return lines.str.contains(COMBINED).mean() or 0.0  # type: ignore[return-value]


def count(lines: pl.Series, feed: Feed) -> int:
    """Return how many lines a map knows as hits."""
    paths = pl.DataFrame({"line": lines}, schema={"line": pl.String}).select(
        path=pl.col("line").str.extract(COMBINED, 5)
    )
    return paths.select(word_of(feed).is_not_null().sum()).item()


def _groups(feed: Feed) -> Mapping[str, list[str]]:
    groups: dict[str, list[str]] = {}
    for one in feed.hit:
        for name in names_of(one.path):
            groups.setdefault(name, []).append(one.path)
    return groups


def names_of(pattern: str) -> list[str]:
    """Return the named groups of a pattern."""
    struct = pl.Series([""], dtype=pl.String).str.extract_groups(pattern)
    return [name for name in struct.struct.fields if not name.isdigit()]


def _group(name: str, patterns: list[str]) -> pl.Expr:
    """The text of a named group, of the first pattern that is met, decoded once."""
    found = [pl.col("path").str.extract_groups(one).struct.field(name) for one in patterns]
    return pl.coalesce(found).str.replace_many(
        list(values.PERCENT), list(values.PERCENT.values()), ascii_case_insensitive=True
    )


def _reason() -> pl.Expr:
    line = pl.col("line")
    cut = pl.when(line.str.starts_with("the file is cut here")).then(line)
    marked = pl.when(line.str.contains(NOT_UTF8, literal=True)).then(pl.lit("not UTF-8"))
    undated = pl.when(pl.col("time").is_not_null()).then(
        pl.concat_str(pl.lit("the instant '"), pl.col("time").str.head(100), pl.lit("' does not exist"))
    )
    return pl.coalesce(cut, marked, undated, pl.lit("no line of an access log in the combined form")).alias("reason")
