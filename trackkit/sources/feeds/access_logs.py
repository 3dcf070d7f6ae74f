"""Access logs of web servers: the requests (`requests`) that are hits become cells.

A map says which requests are hits: by default a GET that was answered with any 2xx or 3xx. Other sound lines are
counted as no events, and a line of no access log is refused. Lines carry no identity: it is made of the whole line
and of which one it is among identical lines of the file, so that all of them count, and none twice.
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

_LOOKED_AT = 1_000  # lines of each batch that are looked at for the hits of other platforms, until there are some
_OF_OTHERS = "{0:,} or more lines are hits of {1}: load the file with --format {1} too"


class AccessLogSource(Source):
    """The lines of one access log."""

    def batches(self, folder: Path) -> Iterator[Batch]:
        """Yield the hits as cells, and the lines that are none of an access log as broken."""
        self.seen = pl.DataFrame(schema={"mark": pl.UInt64, "times": pl.UInt32})
        log, self.requests = Lines(self.found.path), Requests()
        self.others: dict[str, int] = {}
        for lines in log.frames():
            yield self._batch(lines)
        yield Batch(None, log.aside)
        self.notes += [*log.holes.notes, *(_OF_OTHERS.format(count, name) for name, count in self.others.items())]

    def _batch(self, lines: pl.DataFrame) -> Batch:
        rows = self.requests.read(lines)
        hits = hits_of(rows, self.feed)
        if not self.others:
            self.others = self._of_others(rows.head(_LOOKED_AT).join(hits, on="source_row", how="anti"))
        broken = rows.filter(pl.col("reason").is_not_null())
        broken = broken.select("source_row", "reason", pl.col("line").str.replace_all("\x00", ""))
        self.not_events += rows.height - hits.height - broken.height
        return Batch(self._cells(hits), broken.rows(), hits["line"])

    def _of_others(self, rows: pl.DataFrame) -> dict[str, int]:
        """Count the hits of other platforms: one server may stand before several."""
        feeds = [one for one in all_feeds().values() if one.engine == "access_log" and one.name != self.feed.name]
        found = {one.name: hits_of(rows, one).height for one in feeds}
        return {name: count for name, count in found.items() if count}

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
        """Identities of lines: of identical ones, the first, second … of the file."""
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
    """Return the requests that a map knows as hits, each with its word in `hit`; `path` as the map is to see it."""
    is_answered = pl.any_horizontal([_is_answered(one) for one in feed.hit])
    rows = rows.filter(pl.col("reason").is_null() & is_answered).with_columns(path=_inner_path())
    found = rows.with_columns(hit=_word_of(feed), is_decoded=False)
    rest = found.filter(pl.col("hit").is_null() & pl.col("path").str.contains("%", literal=True))
    found = found.filter(pl.col("hit").is_not_null())
    if rest.height:  # a mail client or a scanner has encoded the signs that tell a hit
        rest = rest.with_columns(path=decoded(pl.col("path"))).with_columns(hit=_word_of(feed), is_decoded=True)
        found = pl.concat([found, rest.filter(pl.col("hit").is_not_null())]).sort("source_row")
    return found


def _is_answered(one: Hit) -> pl.Expr:
    classes = [status[0] for status in one.statuses if status.endswith("xx")]
    status = pl.col("status")
    return pl.col("method").is_in(one.methods) & (status.str.head(1).is_in(classes) | status.is_in(one.statuses))


def _inner_path() -> pl.Expr:
    """The path without the server of an absolute URL, beginning with one slash."""
    path = pl.col("path")
    is_plain = path.str.contains("^/[^/]")
    inner = path.str.replace(r"^[A-Za-z][A-Za-z0-9+.-]*://[^/?#]*", "").str.replace("^/+", "/")
    return pl.when(is_plain).then(path).otherwise(inner)


def _word_of(feed: Feed) -> pl.Expr:
    """Return the word of the first hit of a map that the request meets, null where it meets none."""
    is_same = len({(*one.methods, *one.statuses) for one in feed.hit}) == 1  # and then asked before
    met = [(one.word, pl.col("path").str.contains(one.pattern), _is_answered(one)) for one in feed.hit]
    return pl.coalesce(
        [pl.when(is_met if is_same else is_met & answered).then(pl.lit(word)) for word, is_met, answered in met]
    )


def looks_like(rows: pl.DataFrame) -> float:
    """Return which share of lines are those of an access log."""
    return rows["reason"].is_null().mean() or 0.0  # type: ignore[return-value]


def names_of(pattern: str) -> list[str]:
    """Return the named groups of a pattern."""
    struct = pl.Series([""], dtype=pl.String).str.extract_groups(pattern)
    return [name for name in struct.struct.fields if not name.isdigit()]


def _named(hits: pl.DataFrame, feed: Feed) -> pl.DataFrame:
    """Add the texts of the named groups, of the first pattern that has each, decoded once."""
    parts = {f"hit {place}": pl.col("path").str.extract_groups(one.pattern) for place, one in enumerate(feed.hit)}
    groups: dict[str, list[pl.Expr]] = {}
    for place, one in enumerate(feed.hit):
        for name in names_of(one.pattern):
            text = pl.col(f"hit {place}").struct.field(name)
            groups.setdefault(name, []).append(pl.when(~text.is_in(one.nothing)).then(text) if one.nothing else text)
    named = hits.with_columns(**parts).with_columns(**{name: pl.coalesce(some) for name, some in groups.items()})
    texts = [
        pl.when("is_decoded").then(name).otherwise(decoded(pl.col(name), values.PERCENT)).alias(name) for name in groups
    ]
    return named.with_columns(texts).drop(parts)
