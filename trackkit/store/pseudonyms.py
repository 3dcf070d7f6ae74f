"""Pseudonyms for addresses, and shortened IP addresses, applied before anything is written to the store.

An address becomes a keyed hash and its domain: one person has one pseudonym in every load, which nobody without the key
can reverse or guess. The key is never stored; its mark is, so that later loads use the same key.
"""

import hmac
import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

import polars as pl

from trackkit import schema
from trackkit.errors import RequestError
from trackkit.sources.hiding import Hiding
from trackkit.sources.report import LoadReport
from trackkit.sources.staging import RawLoad
from trackkit.sources.values import address, plain_address
from trackkit.store import masks

VARIABLE = "TRACKKIT_KEY"
SHORTEST_KEY = 16  # bytes
# Hashed into the mark of a key; a new text whenever the way of making pseudonyms changes, newest first.
_MARKS = (b"trackkit: mark of the key, ids made of pseudonyms", b"trackkit: mark of the key")


class Pseudonyms(Hiding):
    """Hides addresses and personal values in URLs, given a key, and optionally the ends of IP addresses.

    >>> hidden = Pseudonyms(b"sixteen bytes or more")
    >>> hidden.of("Ana <Ana@Post.example>") == hidden.of("ana@post.example"), hidden.of("ana@post.example")[32:]
    (True, '@post.example')
    """

    def __init__(self, key: bytes | None = None, truncate_ips: bool = False) -> None:
        if key is not None and len(key) < SHORTEST_KEY:
            raise RequestError(
                f"A key has at least {SHORTEST_KEY} bytes, this one {len(key)}; make one of 32 at random."
            )
        self._key, self.truncate_ips = key, truncate_ips

    @classmethod
    def read(cls, file: str | os.PathLike[str] | None, truncate_ips: bool = False) -> "Pseudonyms":
        """Take the key from a file, else from the environment; without either, addresses are not hidden."""
        if not file:
            key = os.environ.get(VARIABLE, "").encode(errors="surrogateescape").strip()
            return cls(key or None, truncate_ips)
        try:
            return cls(Path(file).read_bytes().strip(), truncate_ips)
        except OSError as error:
            raise RequestError(f"The key file {str(file)!r} cannot be read: {error.strerror}.") from None

    @property
    def mark(self) -> str:
        """A text that identifies the key without revealing it; empty without a key."""
        return self._marks()[0]

    @property
    def earlier_mark(self) -> str:
        """The mark that earlier releases made, whose ids held addresses; empty without a key."""
        return self._marks()[1]

    def _marks(self) -> list[str]:
        return ["" if self._key is None else self._hash(text.decode(), 32) for text in _MARKS]

    def of(self, address: str) -> str:
        """Return the pseudonym of an address; without a key, the address, bare."""
        plain = plain_address(address)
        return plain if self._key is None else self._pseudonym(plain)

    def rows(self, rows: pl.LazyFrame, kinds: Mapping[str, str]) -> pl.LazyFrame:
        """Return rows with the text columns among `kinds` (by schema.PERSONAL) hidden; streamed."""
        columns = rows.collect_schema() if self._hides else {}
        return rows.with_columns(
            pl.col(name).map_batches(partial(self._hidden, kind), return_dtype=pl.String, is_elementwise=True)
            for name, kind in kinds.items()
            if columns.get(name) == pl.String()
        )

    def name(self, text: str) -> str:
        """Return the name of a file, or an id, without addresses; different names stay different."""
        if self._key is None:
            return text
        text = masks.without_queries(text, self._short) if any(sign in text for sign in masks.ASKS) else text
        text = masks.without_ids(text, lambda address: self._pseudonym(plain_address(address)))
        return masks.without_ips(text, self._short) if self.truncate_ips else text

    def report_hidden(self, raw: RawLoad) -> RawLoad:
        """Return the rows of a source with its refused lines and its report hidden."""
        if not self._hides:
            return raw
        kinds = schema.QUARANTINE.personal | {"source_file": "id"}
        return replace(
            raw, quarantine=self.rows(raw.quarantine.lazy(), kinds).collect(), report=self._report(raw.report)
        )

    @property
    def _hides(self) -> bool:
        return self._key is not None or self.truncate_ips

    def _hidden(self, kind: str, column: pl.Series) -> pl.Series:
        """Hide a column of a kind: only the texts that may be personal are looked at, each once."""
        by_kind: dict[str, Callable[[pl.Series], pl.Series]] = {"ip": self._ips}
        by_kind |= dict.fromkeys(("url", "text", "line"), self._lines)
        if self._key is not None:
            by_kind |= dict.fromkeys(("address", "mention"), self._addresses)
            by_kind |= {"person": self._people, "id": self._ids, "hash": self._hashes}
            by_kind |= {"url": self._urls, "text": self._texts}
        return by_kind[kind](column) if kind in by_kind else column

    def _addresses(self, column: pl.Series) -> pl.Series:
        bare = column.to_frame().select(address(pl.first())).to_series()
        return _replaced(bare, bare.is_not_null(), self._pseudonym)

    def _ips(self, column: pl.Series) -> pl.Series:
        if not self.truncate_ips:
            return column
        is_v4 = column.str.contains(masks.WHOLE_IPV4)
        short = column.str.replace(r"\d+$", "0")
        return _replaced(column, ~is_v4, masks.network).zip_with(~is_v4.fill_null(False), short)

    def _ids(self, column: pl.Series) -> pl.Series:
        return _replaced(column, _may_identify(column), self.name)

    def _people(self, column: pl.Series) -> pl.Series:
        """Hide ids of people, some of which are an unkeyed hash of the address (Mailchimp's MD5)."""
        is_hash = column.str.contains(masks.DIGEST)
        return _replaced(self._ids(column), is_hash, lambda text: self._hash(text.lower(), 32))

    def _urls(self, column: pl.Series) -> pl.Series:
        may_identify = _may_identify(column) | column.str.contains("/", literal=True)
        return self._lines(_replaced(column, may_identify, lambda url: masks.without_query(url, self._short)))

    def _texts(self, column: pl.Series) -> pl.Series:
        has_query = column.str.contains_any(masks.ASKS)
        return self._lines(_replaced(column, has_query, lambda text: masks.without_queries(text, self._short)))

    def _lines(self, column: pl.Series) -> pl.Series:
        """Hide addresses and the ends of IP addresses in a text, and nothing else."""
        if self._key is not None:
            column = _where(column, column.str.contains_any(masks.AT_SIGNS), masks.addresses)
        if self.truncate_ips:
            column = _where(column, column.str.contains(r"\d[.-]\d"), masks.ips)
            column = _replaced(column, column.str.contains(r"::|(?:[0-9A-Fa-f]{1,4}:){7}"), masks.long_ips)
        return column

    def _hashes(self, column: pl.Series) -> pl.Series:
        return _replaced(column, column.is_not_null(), lambda text: f"hmac:{self._hash(text, 32)}")

    def _pseudonym(self, plain: str) -> str:
        _, at, domain = plain.rpartition("@")
        return f"{self._hash(plain, 32)}{at}{domain}" if at else self._hash(plain, 32)

    def _short(self, text: str) -> str:
        return self._hash(f"part of a text: {text}", 12)

    def _hash(self, text: str, digits: int) -> str:
        assert self._key is not None
        return hmac.digest(self._key, text.encode(errors="surrogateescape"), "sha256").hex()[:digits]

    def _report(self, report: LoadReport) -> LoadReport:
        def hidden(texts: Iterable[str]) -> list[str]:
            return self._hidden("text", pl.Series(list(texts), dtype=pl.String)).to_list()

        def counted(words: Mapping[str, int]) -> dict[str, int]:
            total: Counter[str] = Counter()
            for word, count in zip(hidden(words), words.values(), strict=True):
                total[word] += count
            return dict(total)

        sources = [
            replace(
                source,
                path=self.name(source.path),
                assumptions=hidden(source.assumptions),
                ignored_columns=hidden(source.ignored_columns),
                unknown_types=counted(source.unknown_types),
                unknown_values={name: counted(words) for name, words in source.unknown_values.items()},
                unreadable=hidden([source.unreadable])[0],
            )
            for source in report.sources
        ]
        ignored = zip(map(self.name, report.ignored_files), hidden(report.ignored_files.values()), strict=True)
        return replace(report, sources=sources, ignored_files=dict(ignored))


def _may_identify(column: pl.Series) -> pl.Series:
    """Whether a text may hold an address, a URL or an IP address."""
    return column.str.contains_any([*masks.AT_SIGNS, *masks.ASKS, ";"]) | column.str.contains(r"\d\.\d+\.\d+\.\d")


def _where(column: pl.Series, mask: pl.Series, new: Callable[[pl.Expr], pl.Expr]) -> pl.Series:
    """Replace the texts of a column where the mask holds."""
    if not mask.any():
        return column
    replaced = pl.when(mask).then(new(pl.when(mask).then("old"))).otherwise("old")
    return column.to_frame("old").select(replaced).to_series()


def _replaced(column: pl.Series, mask: pl.Series, new: Callable[[str], str | None]) -> pl.Series:
    """The same with a Python function, called once for each distinct text."""
    old = column.filter(mask).drop_nulls().unique()
    if old.is_empty():
        return column
    texts = pl.DataFrame(
        {"old": old, "new": [new(text) for text in old]}, schema=dict.fromkeys(["old", "new"], pl.String)
    )
    rows = column.alias("old").to_frame().with_columns(is_new=mask)
    rows = rows.join(texts, on="old", how="left", maintain_order="left")
    return rows.select(pl.when("is_new").then("new").otherwise("old").alias(column.name)).to_series()


def require_same_key(mark: str, earlier: Iterable[str | None], earlier_mark: str = "") -> None:
    """Refuse a load with another key than earlier loads, or without theirs: one person would become two.

    >>> require_same_key("", [])
    >>> require_same_key("", ["5f0a"])
    Traceback (most recent call last):
    trackkit.errors.RequestError: This store holds pseudonyms: load with --pseudonymise and the same key.
    """
    marks = {text or "" for text in earlier}
    if not marks or marks == {mark}:
        return
    if not mark:
        raise RequestError("This store holds pseudonyms: load with --pseudonymise and the same key.")
    if earlier_mark and earlier_mark in marks:
        raise RequestError(
            "This store holds pseudonyms of this key as an earlier release made them, whose ids told addresses: it can "
            "be read, but load everything into a new store."
        )
    if "" in marks:
        raise RequestError("This store holds addresses as they are: load pseudonyms into a new store.")
    raise RequestError("This store holds pseudonyms of another key: load with that key, or into a new store.")
