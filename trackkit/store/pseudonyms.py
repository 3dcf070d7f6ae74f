"""Pseudonyms for addresses, and shortened IP addresses: put in place before anything of a load is written to the store.

An address becomes a keyed hash and its domain: the same person has the same pseudonym in every load, and nobody without
the key can find out whose it is, or try addresses. The key is never stored; its mark is, so that no other one follows.
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
# What the mark of a key is made of: another text for each way in which pseudonyms were ever made.
_MARKS = (b"trackkit: mark of the key, ids made of pseudonyms", b"trackkit: mark of the key")


class Pseudonyms(Hiding):
    """What is hidden in a load: addresses and what reveals somebody in URLs, with a key; the ends of IP addresses.

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
        """Take the key from a file, else from the environment; without either addresses stay as they are."""
        from_environment = os.environ.get(VARIABLE, "")
        try:
            key = (
                Path(file).read_bytes().strip()
                if file
                else from_environment.encode(errors="surrogateescape").strip() or None
            )
        except OSError as error:
            raise RequestError(f"The key file {str(file)!r} cannot be read: {error.strerror}.") from None
        return cls(key, truncate_ips)

    @property
    def mark(self) -> str:
        """A text that differs from key to key and reveals nothing of them; empty without a key."""
        return self._marks()[0]

    @property
    def earlier_mark(self) -> str:
        """The same as releases before made it, whose ids were made of addresses; empty without a key."""
        return self._marks()[1]

    def _marks(self) -> list[str]:
        return ["" if self._key is None else self._hash(text.decode(), 32) for text in _MARKS]

    def of(self, address: str) -> str:
        """Return the pseudonym of an address; without a key, the address, bare."""
        plain = plain_address(address)
        return plain if self._key is None else self._pseudonym(plain)

    def rows(self, rows: pl.LazyFrame, kinds: Mapping[str, str]) -> pl.LazyFrame:
        """Return rows with the text columns of these kinds (schema.PERSONAL) hidden, those that it has; streamed."""
        has = rows.collect_schema() if self._hides else {}
        return rows.with_columns(
            pl.col(name).map_batches(partial(self._hidden, kind), return_dtype=pl.String, is_elementwise=True)
            for name, kind in kinds.items()
            if has.get(name) == pl.String()
        )

    def name(self, text: str) -> str:
        """Return the name of a file without addresses; other names stay others."""
        return self._id(text)

    def report_hidden(self, raw: RawLoad) -> RawLoad:
        """Return what a source brought with everything hidden in refused lines and in the report."""
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
        """Return a column of this kind hidden: only the texts that can reveal somebody are looked at, each once."""
        hide: dict[str, Callable[[pl.Series], pl.Series]] = {
            "address": self._addresses,
            "ip": self._ips,
            "person": self._people,
            "id": self._ids,
            "url": self._urls,
            "text": self._texts,
            "line": self._lines,
            "hash": self._hashes,
        }
        return hide[kind](column)

    def _addresses(self, column: pl.Series) -> pl.Series:
        if self._key is None:
            return column
        bare = column.to_frame().select(address(pl.first())).to_series()
        return _replaced(bare, bare.is_not_null(), self._pseudonym)

    def _ips(self, column: pl.Series) -> pl.Series:
        if not self.truncate_ips:
            return column
        is_v4 = column.str.contains(masks.WHOLE_IPV4)
        short = column.str.replace(r"\d+$", "0")
        return _replaced(column, ~is_v4, masks.network).zip_with(~is_v4.fill_null(False), short)

    def _ids(self, column: pl.Series) -> pl.Series:
        return column if self._key is None else _replaced(column, _may_tell(column), self._id)

    def _people(self, column: pl.Series) -> pl.Series:
        """Hide ids of people, some of which are a hash of the address without a key (Mailchimp's MD5)."""
        if self._key is None:
            return column
        is_hash = column.str.contains(masks.DIGEST)
        return _replaced(self._ids(column), is_hash, lambda text: self._hash(text.lower(), 32))

    def _id(self, text: str) -> str:
        if self._key is None:
            return text
        text = masks.without_queries(text, self._short) if any(sign in text for sign in masks.ASKS) else text
        text = masks.without_ids(text, lambda found: self._pseudonym(plain_address(found)))
        return masks.without_ips(text, self._short) if self.truncate_ips else text

    def _urls(self, column: pl.Series) -> pl.Series:
        if self._key is None:
            return self._lines(column)
        may_tell = _may_tell(column) | column.str.contains("/", literal=True)
        return self._lines(_replaced(column, may_tell, lambda url: masks.without_query(url, self._short)))

    def _texts(self, column: pl.Series) -> pl.Series:
        if self._key is None:
            return self._lines(column)
        asks = column.str.contains_any(masks.ASKS)
        return self._lines(_replaced(column, asks, lambda text: masks.without_queries(text, self._short)))

    def _lines(self, column: pl.Series) -> pl.Series:
        """Hide addresses and the ends of IP addresses in a text, and leave the rest of it as it is."""
        if self._key is not None:
            column = _where(column, column.str.contains_any(masks.AT_SIGNS), masks.addresses)
        if self.truncate_ips:
            column = _where(column, column.str.contains(r"\d[.-]\d"), masks.ips)
            column = _replaced(column, column.str.contains(r"::|(?:[0-9A-Fa-f]{1,4}:){7}"), masks.long_ips)
        return column

    def _hashes(self, column: pl.Series) -> pl.Series:
        if self._key is None:
            return column
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
            return self._texts(pl.Series(list(texts), dtype=pl.String)).to_list()

        def counted(words: Mapping[str, int]) -> dict[str, int]:
            total: Counter[str] = Counter()
            for word, count in zip(hidden(words), words.values(), strict=True):
                total[word] += count
            return dict(total)

        sources = [
            replace(
                one,
                path=self.name(one.path),
                assumptions=hidden(one.assumptions),
                ignored_columns=hidden(one.ignored_columns),
                unknown_types=counted(one.unknown_types),
                unknown_values={name: counted(words) for name, words in one.unknown_values.items()},
                unreadable=hidden([one.unreadable])[0],
            )
            for one in report.sources
        ]
        ignored = zip(map(self.name, report.ignored_files), hidden(report.ignored_files.values()), strict=True)
        return replace(report, sources=sources, ignored_files=dict(ignored))


def _may_tell(column: pl.Series) -> pl.Series:
    """Whether a text can hold an address, a URL or an IP address."""
    return column.str.contains_any([*masks.AT_SIGNS, *masks.ASKS, ";"]) | column.str.contains(r"\d\.\d+\.\d+\.\d")


def _where(column: pl.Series, some: pl.Series, new: Callable[[pl.Expr], pl.Expr]) -> pl.Series:
    """Replace the texts of a column that are among some."""
    if not some.any():
        return column
    return (
        column.to_frame("was").select(pl.when(some).then(new(pl.when(some).then("was"))).otherwise("was")).to_series()
    )


def _replaced(column: pl.Series, some: pl.Series, new: Callable[[str], str | None]) -> pl.Series:
    """Replace the texts of a column that are among some, each distinct one worked out once."""
    old = column.filter(some).drop_nulls().unique()
    if old.is_empty():
        return column
    names = pl.DataFrame({"was": old, "new": [new(one) for one in old]}, schema={"was": pl.String, "new": pl.String})
    rows = column.alias("was").to_frame().with_columns(is_new=some)
    rows = rows.join(names, on="was", how="left", maintain_order="left")
    return rows.select(pl.when("is_new").then("new").otherwise("was").alias(column.name)).to_series()


def require_same_key(mark: str, earlier: Iterable[str | None], earlier_mark: str = "") -> None:
    """Refuse a load whose key, or lack of one, is not that of the loads before it: one person would be two.

    >>> require_same_key("", [])
    >>> require_same_key("", ["5f0a"])
    Traceback (most recent call last):
    trackkit.errors.RequestError: This store holds pseudonyms: load with --pseudonymise and the same key.
    """
    marks = {one or "" for one in earlier}
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
