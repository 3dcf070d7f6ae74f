"""Access logs of web servers: the requests (`requests`) that are hits become cells.

A map says which requests are hits: by default a GET that was answered with any 2xx or 3xx. Other sound lines are
counted as no events, and a line of no access log is refused. Lines have no id: one is made of the whole line and its
number among identical lines of the file, so that each line counts, and none twice.
"""

from collections.abc import Iterator
from pathlib import Path

import polars as pl

from trackkit.sources import values
from trackkit.sources.feeds.feed import Feed, Hit, all_feeds
from trackkit.sources.feeds.json_paths import cell
from trackkit.sources.feeds.records import Batch, Source
from trackkit.sources.feeds.request_lines import Requests, decoded
from trackkit.sources.lines import Lines

_LOOKED_AT = 1_000  # lines of each batch that are searched for hits of other platforms, until there are some
_OF_OTHERS = "{0:,} or more lines are hits of {1}: load the file with --format {1} too"


class AccessLogSource(Source):
    """The lines of one access log."""

    def batches(self, folder: Path) -> Iterator[Batch]:
        """Yield the hits as cells, and lines that no access log has as broken."""
        self.seen = pl.DataFrame(schema={"mark": pl.UInt64, "times": pl.UInt32})
        log, self.requests = Lines(self.found.path), Requests()
        self.other_hits: dict[str, int] = {}
        for lines in log.frames():
            yield self._batch(lines)
        yield Batch(None, log.aside)
        self.notes += [*log.holes.notes, *(_OF_OTHERS.format(count, name) for name, count in self.other_hits.items())]

    def _batch(self, lines: pl.DataFrame) -> Batch:
        rows = self.requests.read(lines)
        hits = hits_of(rows, self.feed)
        if not self.other_hits:
            self.other_hits = self._count_other_hits(rows.head(_LOOKED_AT).join(hits, on="source_row", how="anti"))
        broken = rows.filter(pl.col("reason").is_not_null())
        broken = broken.select("source_row", "reason", pl.col("line").str.replace_all("\x00", ""))
        self.not_events += rows.height - hits.height - broken.height
        return Batch(self._cells(hits), broken.rows(), hits["line"])

    def _count_other_hits(self, rows: pl.DataFrame) -> dict[str, int]:
        """Count the hits of other platforms: one server may stand before several."""
        feeds = [feed for feed in all_feeds().values() if feed.engine == "access_log" and feed.name != self.feed.name]
        counts = {feed.name: hits_of(rows, feed).height for feed in feeds}
        return {name: count for name, count in counts.items() if count}

    def _cells(self, hits: pl.DataFrame) -> pl.DataFrame:
        named = _named(hits, self.feed).with_columns(time="instant")
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
        """Ids of lines: identical lines are numbered in the order of the file."""
        marked = hits.select("line", mark=pl.col("line").hash())
        marked = marked.with_columns(place=pl.int_range(pl.len(), dtype=pl.UInt32).over("mark"))
        times = marked.group_by("mark").agg(times=pl.len().cast(pl.UInt32))
        earlier = self.seen.filter(pl.col("mark").is_in(times["mark"].implode()))
        earlier = earlier.group_by("mark").agg(pl.col("times").sum())
        self.seen = self.seen.vstack(times)
        marked = marked.join(earlier, on="mark", how="left", maintain_order="left")
        place = pl.col("place") + pl.col("times").fill_null(0)
        identity = marked.with_columns(place=place, source=pl.lit(self.feed.name))
        return identity.select(pl.lit("sha256:") + values.digest("source", "line", "place")).to_series()


def hits_of(rows: pl.DataFrame, feed: Feed) -> pl.DataFrame:
    """Return the requests that are hits for a map, with the word in `hit` and the `path` as the map reads it."""
    is_answered = pl.any_horizontal([_is_answered(hit) for hit in feed.hit])
    rows = rows.filter(pl.col("reason").is_null() & is_answered).with_columns(path=_inner_path())
    hits = rows.with_columns(hit=_word_of(feed), is_decoded=False)
    encoded = hits.filter(pl.col("hit").is_null() & pl.col("path").str.contains("%", literal=True))
    hits = hits.filter(pl.col("hit").is_not_null())
    if encoded.height:  # a mail client or a scanner has percent-encoded the path
        encoded = encoded.with_columns(path=decoded(pl.col("path"))).with_columns(hit=_word_of(feed), is_decoded=True)
        hits = pl.concat([hits, encoded.filter(pl.col("hit").is_not_null())]).sort("source_row")
    return hits


def _is_answered(hit: Hit) -> pl.Expr:
    classes = [status[0] for status in hit.statuses if status.endswith("xx")]
    status = pl.col("status")
    return pl.col("method").is_in(hit.methods) & (status.str.head(1).is_in(classes) | status.is_in(hit.statuses))


def _inner_path() -> pl.Expr:
    """The path without scheme and host, beginning with one slash."""
    path = pl.col("path")
    is_plain = path.str.contains("^/[^/]")
    inner = path.str.replace(r"^[A-Za-z][A-Za-z0-9+.-]*://[^/?#]*", "").str.replace("^/+", "/")
    return pl.when(is_plain).then(path).otherwise(inner)


def _word_of(feed: Feed) -> pl.Expr:
    """Return the word of the first hit that a request matches, null if none."""
    is_alike = len({(*hit.methods, *hit.statuses) for hit in feed.hit}) == 1  # then `hits_of` has filtered by it
    conditions = [(hit.word, pl.col("path").str.contains(hit.pattern), _is_answered(hit)) for hit in feed.hit]
    return pl.coalesce(
        [
            pl.when(is_match if is_alike else is_match & is_answered).then(pl.lit(word))
            for word, is_match, is_answered in conditions
        ]
    )


def looks_like(rows: pl.DataFrame) -> float:
    """Return the share of lines that an access log could have."""
    return rows["reason"].is_null().mean() or 0.0  # type: ignore[return-value]


def names_of(pattern: str) -> list[str]:
    """Return the named groups of a pattern."""
    struct = pl.Series([""], dtype=pl.String).str.extract_groups(pattern)
    return [name for name in struct.struct.fields if not name.isdigit()]


def _named(hits: pl.DataFrame, feed: Feed) -> pl.DataFrame:
    """Add the named groups, each from the first pattern that gives it, percent-decoded once."""
    parts = {f"hit {place}": pl.col("path").str.extract_groups(hit.pattern) for place, hit in enumerate(feed.hit)}
    groups: dict[str, list[pl.Expr]] = {}
    for place, hit in enumerate(feed.hit):
        for name in names_of(hit.pattern):
            text = pl.col(f"hit {place}").struct.field(name)
            groups.setdefault(name, []).append(pl.when(~text.is_in(hit.nothing)).then(text) if hit.nothing else text)
    named = hits.with_columns(**parts).with_columns(**{name: pl.coalesce(texts) for name, texts in groups.items()})
    texts = [
        pl.when("is_decoded").then(name).otherwise(decoded(pl.col(name), values.PERCENT)).alias(name) for name in groups
    ]
    return named.with_columns(texts).drop(parts)
