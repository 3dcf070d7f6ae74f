"""Mail domains in classes: by the analysts' list, else by registered domain, with the smaller ones as Others.

A table by domain is measured on tables whose `domain` is the class, so that people are distinct within each class and
within Others, rather than added up.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Annotated

import polars as pl
from publicsuffixlist import PublicSuffixList
from pydantic import Field, StringConstraints, model_validator

from trackkit import resources, schema, toml
from trackkit.analysis.ranking import require_top
from trackkit.engine.deliveries import Deliveries, asked_about, of_deliveries
from trackkit.engine.snapshot import Measurable, Snapshot
from trackkit.errors import RequestError, did_you_mean
from trackkit.toml import Strict

__all__ = ["DomainList", "by_class", "class_of", "domain_list"]

LIST = "reports_templates/domains.toml"
OTHERS = "Others"
CARRIERS = ("message", "event")  # the tables that have a domain
LONGEST = 253  # characters of a domain name at most
RANK = ["first", "messages", "hits"]
RANKS: Mapping[str, pl.Expr] = {"messages": pl.len(), "failures": (pl.col("status") == "failed").sum()}
_NAME = re.compile(r"(?:[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?\.)+[a-z][a-z0-9-]*[a-z0-9]")

ClassName = Annotated[str, StringConstraints(min_length=1, max_length=60, strip_whitespace=True)]
Domain = Annotated[
    str,
    StringConstraints(pattern=rf"^{_NAME.pattern}$", max_length=LONGEST),
    Field(description="a mail domain in small letters, as 'gmail.com'"),
]


class DomainList(Strict):
    """The analysts' list: each class with its mail domains."""

    classes: dict[ClassName, Annotated[list[Domain], Field(min_length=1, description="domains, as ['gmail.com']")]]

    @model_validator(mode="after")
    def _has_each_domain_once(self) -> "DomainList":
        if OTHERS in self.classes:
            raise ValueError(f"the name {OTHERS!r} is kept for what no table shows by itself")
        class_by_domain: dict[str, str] = {}
        for name, domains in self.classes.items():
            for domain in domains:
                if class_by_domain.setdefault(domain, name) != name:
                    raise ValueError(f"{domain!r} is in the class {class_by_domain[domain]!r} and in {name!r}")
        return self

    @property
    def by_domain(self) -> dict[str, str]:
        """The class of each domain listed."""
        return {domain: name for name, domains in self.classes.items() for domain in domains}


def domain_list(path: Path | None = None) -> DomainList:
    """Read the analysts' list of domains, the local copy before the shipped one.

    Raises RequestError naming the file, the key and what would work.

    >>> domain_list().by_domain["googlemail.com"]
    'Gmail'
    """
    return toml.read(path or resources.find(LIST), DomainList)


def class_of(domain: str, listed: Mapping[str, str]) -> str:
    """Return the class of one mail domain: its class in the list, or its nearest parent's, else its registered domain.

    Anything that is no domain name (an IP address, a single word) is returned unchanged; names in other scripts are
    converted to ASCII (IDNA).

    >>> class_of("News.Shop.co.uk", {}), class_of("[10.0.0.1]", {}), class_of("eu.a.example", {"a.example": "A"})
    ('shop.co.uk', '[10.0.0.1]', 'A')
    """
    if len(domain) > LONGEST:
        return domain
    name = _ascii(domain.strip().rstrip(".").lower())
    parts = name.split(".")
    parents = (".".join(parts[place:]) for place in range(len(parts) - 1))
    if listed_class := next((listed[parent] for parent in parents if parent in listed), None):
        return listed_class
    return (_suffixes().privatesuffix(name) or name) if _NAME.fullmatch(name) else name


def _ascii(name: str) -> str:
    try:
        return name if name.isascii() else name.encode("idna").decode("ascii")
    except UnicodeError:
        return name


@lru_cache(maxsize=1)
def _suffixes() -> PublicSuffixList:
    """The public suffixes bundled with the package; nothing is fetched."""
    return PublicSuffixList(only_icann=True)


def by_class(tables: Measurable, delivery: Deliveries = None, top: int = 10, ranked_by: str = "messages") -> Snapshot:
    """Return the tables with the class of each mail domain as `domain`, ready for `measure(..., by="domain")`.

    `message` and `event` hold the rows of `delivery` only (one id, several, or None for all not set aside). Their
    `domain` is an ordered category: the `top` classes with most messages (`ranked_by` "messages"; ties in the order of
    their names) or most failed ones ("failures"), then "Others"; a single class beyond the top keeps its name. Without
    messages, hits decide. An unknown domain stays null. Raises RequestError for an unknown delivery, an invalid `top`,
    `ranked_by` or list of domains.

    >>> classed = by_class(store, delivery, top=2)
    >>> tk.measure(classed, "delivered", by="domain", delivery=delivery).rows()
    [('mail.example', 21), ('post.example', 10), ('Others', 51)]
    """
    require_top(top, "domains")
    if ranked_by not in RANKS:
        raise RequestError(f"Domains are not ranked by {ranked_by!r}.{did_you_mean(str(ranked_by), RANKS)}")
    frames = {name: tables.scan(name) for name in schema.TABLES if tables.has(name)}
    ids = asked_about(tables, delivery)
    carriers = {name: of_deliveries(tables, name, ids) for name in CARRIERS if name in frames}
    classes = _classes(carriers, top, ranked_by)
    order = pl.Enum(classes.sort("place")["class"].unique(maintain_order=True))
    shown_class = pl.col("domain").replace_strict(classes["domain"], classes["class"], default=None, return_dtype=order)
    with_classes = {name: rows.with_columns(domain=shown_class) for name, rows in carriers.items()}
    return _Classed(frames | with_classes, getattr(tables, "as_of", None), order=order)


@dataclass(frozen=True)
class _Classed(Snapshot):
    """Tables whose domains are classes, in missing tables too, since these are joined."""

    order: pl.Enum = field(default_factory=lambda: pl.Enum([]))

    def scan(self, table: str) -> pl.LazyFrame:
        """Return the frame of a table with classes as `domain`."""
        rows = super().scan(table)
        return rows.with_columns(pl.col("domain").cast(self.order)) if table in CARRIERS else rows


def _classes(carriers: Mapping[str, pl.LazyFrame], top: int, ranked_by: str) -> pl.DataFrame:
    """Every domain with the class shown for it and its rank: `domain`, `class`, `place`."""
    counts = [_counts(rows, name, ranked_by) for name, rows in carriers.items()]
    empty = pl.LazyFrame(schema={"domain": pl.String} | dict.fromkeys(RANK, pl.Int64))
    domains = pl.concat([empty, *counts]).group_by("domain").sum().collect()
    listed = domain_list().by_domain
    names = pl.Series("class", [class_of(domain, listed) for domain in domains["domain"]], pl.String)
    largest_first = [*RANK, "class"]
    ranked = (
        domains.with_columns(names)
        .group_by("class")
        .agg(pl.col(RANK).sum())
        .sort(largest_first, descending=[name != "class" for name in largest_first])
        .with_row_index("place")
    )
    shown_count = top if ranked.height > top + 1 else ranked.height
    shown_class = pl.when(pl.col("place") < shown_count).then("class").otherwise(pl.lit(OTHERS))
    placed = domains.select("domain", names).join(ranked.select("class", "place"), on="class")
    return placed.select("domain", shown_class.alias("class"), pl.col("place").clip(0, shown_count))


def _counts(rows: pl.LazyFrame, table: str, ranked_by: str) -> pl.LazyFrame:
    """The counts that rank the domains of a table: failures if asked for, then messages, then hits."""
    none = pl.lit(0)
    of_messages = [RANKS[ranked_by], pl.len(), none] if table == "message" else [none, none, pl.len()]
    sizes = [size.cast(pl.Int64).alias(name) for name, size in zip(RANK, of_messages, strict=True)]
    return rows.filter(pl.col("domain").is_not_null()).group_by("domain").agg(sizes)
