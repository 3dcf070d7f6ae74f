"""Pseudonyms for addresses, and shortened IP addresses: put in place before anything of a load is written to the store.

An address becomes a keyed hash and its domain: the same person has the same pseudonym in every load, and nobody without
the key can find out whose it is, or try addresses. The key is never stored; its mark is, so that no other one follows.
"""

import hmac
import ipaddress
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl

from trackkit.errors import RequestError
from trackkit.sources.report import LoadReport
from trackkit.sources.staging import RawLoad

VARIABLE = "TRACKKIT_KEY"
SHORTEST_KEY = 16  # bytes
_ADDRESSES = {"message": ["address"], "event": ["address"], "recipient": ["email"]}
_IDS = ("recipient_id", "message_id")  # some senders have no other id than the address
_TEXTS = {
    "failure": ["first_text"], "event": ["diagnostic", "attributes", "tags", "raw_event_type"], "link": ["url"],
    "quarantine": ["text", "reason"],
}  # fmt: skip
_LOCAL_PART = r"[^\s@,;:<>\"'()\[\]{}=&?/|\\]+(@|%40)"
_IPV4 = r"^((?:(?:25[0-5]|2[0-4]\d|1?\d?\d)\.){3})(?:25[0-5]|2[0-4]\d|1?\d?\d)$"
_IPV4_IN_TEXT, _IPV6_IN_TEXT = (
    r"\b(\d{1,3}\.\d{1,3}\.\d{1,3})\.\d{1,3}\b",
    r"(?i)\b([0-9a-f]{1,4}(?::[0-9a-f]{0,4}){2}):[0-9a-f:]+",
)


class Pseudonyms:
    """What is hidden in a load: addresses, with a key; the ends of IP addresses.

    >>> hidden = Pseudonyms(b"sixteen bytes or more")
    >>> hidden.of(" Ana@Post.example") == hidden.of("ana@post.example"), hidden.of("ana@post.example")[32:]
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
        told = os.environ.get(VARIABLE, "")
        try:
            key = Path(file).read_bytes().strip() if file else told.encode(errors="surrogateescape").strip() or None
        except OSError as error:
            raise RequestError(f"The key file {str(file)!r} cannot be read: {error.strerror}.") from None
        return cls(key, truncate_ips)

    @property
    def mark(self) -> str:
        """What tells keys apart and says nothing of them; empty without a key."""
        return "" if self._key is None else hmac.digest(self._key, b"trackkit: mark of the key", "sha256").hex()[:32]

    def of(self, address: str) -> str:
        """Return the pseudonym of an address; without a key, the address."""
        if self._key is None:
            return address
        plain = address.strip().lower()
        digest = hmac.digest(self._key, plain.encode(errors="surrogateescape"), "sha256").hex()[:32]
        _, at, domain = plain.rpartition("@")
        return f"{digest}{at}{domain}" if at else digest

    def applied(self, raw: RawLoad) -> RawLoad:
        """Return what a source brought with everything hidden, its report too; the rows stay in their order."""
        parts = {name: [self._frame(name, rows) for rows in same] for name, same in raw.parts.items()}
        quarantine = self._frame("quarantine", raw.quarantine.lazy()).collect()
        return replace(raw, parts=parts, quarantine=quarantine, report=self._report(raw.report))

    def _frame(self, table: str, rows: pl.LazyFrame) -> pl.LazyFrame:
        has = rows.collect_schema().names()
        if self._key is not None:
            for column in (name for name in (*_ADDRESSES.get(table, ()), *_IDS) if name in has):
                some = rows if column not in _IDS else rows.filter(pl.col(column).str.contains("@", literal=True))
                rows = _replaced(rows, column, some, self.of)
        if self.truncate_ips and "ip" in has:
            rows = _truncated(rows)
        texts = [self._text(pl.col(name)).alias(name) for name in _TEXTS.get(table, ()) if name in has]
        return rows.with_columns(texts)

    def _text(self, text: pl.Expr) -> pl.Expr:
        if self._key is not None:
            text = text.str.replace_all(_LOCAL_PART, "***${1}")
        if self.truncate_ips:
            text = text.str.replace_all(_IPV4_IN_TEXT, "${1}.0").str.replace_all(_IPV6_IN_TEXT, "${1}::")
        return text

    def _report(self, report: LoadReport) -> LoadReport:
        if self._key is None:
            return report
        sources = [
            replace(
                one,
                assumptions=list(map(_hidden, one.assumptions)),
                ignored_columns=list(map(_hidden, one.ignored_columns)),
                unknown_types=_hidden_words(one.unknown_types),
                unknown_values={name: _hidden_words(words) for name, words in one.unknown_values.items()},
                unreadable=_hidden(one.unreadable),
            )
            for one in report.sources
        ]
        ignored = {path: _hidden(why) for path, why in report.ignored_files.items()}
        return replace(report, sources=sources, ignored_files=ignored)


def require_same_key(mark: str, earlier: Iterable[str | None]) -> None:
    """Refuse a load whose key, or lack of one, is not that of the loads before it: one person would be two.

    >>> require_same_key("", [])
    >>> require_same_key("", ["5f0a"])
    Traceback (most recent call last):
    trackkit.errors.RequestError: This store holds pseudonyms: load with --pseudonymise and the same key.
    """
    known = {one or "" for one in earlier}
    if not known or known == {mark}:
        return
    if not mark:
        raise RequestError("This store holds pseudonyms: load with --pseudonymise and the same key.")
    if "" in known:
        raise RequestError("This store holds addresses as they are: load pseudonyms into a new store.")
    raise RequestError("This store holds pseudonyms of another key: load with that key, or into a new store.")


def _hidden(text: str) -> str:
    return re.sub(_LOCAL_PART, r"***\1", text)


def _hidden_words(tally: Mapping[str, int]) -> dict[str, int]:
    hidden = Counter[str]()
    for word, count in tally.items():
        hidden[_hidden(word)] += count
    return dict(hidden)


def _replaced(rows: pl.LazyFrame, column: str, some: pl.LazyFrame, new: Callable[[str], Any]) -> pl.LazyFrame:
    """Replace the values of a column that `some` rows have, each distinct one worked out once."""
    values = some.select(pl.col(column).drop_nulls().unique()).collect().to_series().to_list()
    if not values:
        return rows
    names = pl.LazyFrame(
        {column: values, "new": [new(one) for one in values]}, schema={column: pl.String, "new": pl.String}
    )
    names = names.with_columns(is_known=pl.lit(True))
    joined = rows.join(names, on=column, how="left", maintain_order="left")
    return joined.with_columns(pl.when("is_known").then("new").otherwise(column).alias(column)).drop("new", "is_known")


def _truncated(rows: pl.LazyFrame) -> pl.LazyFrame:
    """Cut IPv4 addresses to /24 and IPv6 addresses to /48; what is neither becomes unknown."""
    is_v4 = pl.col("ip").str.contains(_IPV4)
    others = rows.filter(~is_v4.fill_null(True))
    short = pl.when(is_v4).then(pl.col("ip").str.replace(_IPV4, "${1}0")).otherwise("ip")
    return _replaced(rows, "ip", others, _network).with_columns(short.alias("ip"))


def _network(address: str) -> str | None:
    try:
        found = ipaddress.ip_address(address.strip())
    except ValueError:
        return None
    v4 = found if found.version == 4 else found.ipv4_mapped
    return str(ipaddress.ip_network((v4 or found, 24 if v4 else 48), strict=False).network_address)
