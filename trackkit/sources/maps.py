"""Declarative maps: which header of a table file is which canonical column, and of what kind. Data, and its lookup."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import polars as pl

from trackkit import schema
from trackkit.sources.values import folded

KINDS = {
    "text": pl.String(),
    "id": pl.String(),
    "count": pl.Int64(),
    "amount": pl.Float64(),
    "flag": pl.Boolean(),
    "code": pl.Int16(),
    "instant": schema.INSTANT,
}

_PREFIXES = ("ts", "i", "s", "d", "m")  # the letter of the type that begins an SQL name


def plain_name(header: str) -> str:
    """Return a header as it is compared: letters and digits only, without accents, in lower case.

    >>> plain_name("[@delivery-id]"), plain_name("iDeliveryId"), plain_name("[url/@type]")
    ('deliveryid', 'ideliveryid', 'urltype')
    """
    return folded(header)


def _spellings(header: str) -> Iterator[str]:
    yield plain_name(header)
    typed = (letter for letter in _PREFIXES if header.startswith(letter) and header[len(letter) :][:1].isupper())
    prefix = next(typed, "")
    if prefix:
        yield plain_name(header.removeprefix(prefix))
    if prefix == "i":
        yield plain_name("u" + header[1:])  # the same key as a UUID, in version 8


@dataclass(frozen=True, eq=False)
class Field:
    """A canonical column, its kind (text, id, count, amount, flag, code, instant) and the headers that it may have.

    The first header found wins. Two fields of one column fill each other's gaps, the earlier first. A row is refused
    when a `required` column is empty or a cell is not of its kind; an unknown word of a code or a flag refuses nothing:
    the value is unknown. `words` are names that stand for codes, as `values.folded` writes them; other numbers than
    theirs are kept, and are unknown too. `table` names another canonical table that this file has values for.
    """

    column: str
    kind: str
    headers: tuple[str, ...]
    required: bool = False
    words: Mapping[str, int] = field(default_factory=dict)
    table: str = ""

    @cached_property
    def aliases(self) -> tuple[str, ...]:
        """The headers as they are compared, SQL names with and without the letter of their type."""
        return tuple(dict.fromkeys(name for header in self.headers for name in _spellings(header)))

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The aliases that are not titles: titles begin with a capital, and other tables have them too."""
        untitled = [header for header in self.headers if not header[:1].isupper()]
        return tuple(dict.fromkeys(name for header in untitled for name in _spellings(header)))

    @property
    def inner(self) -> str:
        """The column's name while the file is read: that of another table carries the table's name."""
        return f"{self.table}.{self.column}" if self.table else self.column

    @property
    def name(self) -> str:
        """A name of this field alone, for its value before it is joined with others of its column."""
        return f"{self.inner} from {' '.join(self.headers)}"

    @property
    def is_lenient(self) -> bool:
        """Whether an unknown word makes the value unknown instead of refusing the row: codes, flags and counters."""
        return self.kind in ("code", "flag") or self.table == schema.COUNTER.name

    @property
    def offset_name(self) -> str:
        """The name of the offset written beside an instant."""
        return f"{self.name} offset"


def unknown(column: str) -> str:
    """Return the temporary column name for the unknown words of a column."""
    return f"unknown {column}"


@dataclass(frozen=True, eq=False)
class TableMap:
    """How the rows of one kind of table file become rows of a canonical table, and of others.

    `stems` are the names that such a file may have, and `family` what the names of further tables of its kind hold, as
    target mappings make them (`NmsBroadLogSvc`, `cusTrackingLogPartner`); with `by_name` headers alone do not tell the
    table. `derive` makes columns of those read
    (canonical names; those of other tables as `table.column`), in order; `unknown_type` gives the word of a type that
    has no canonical one; `zone` is the zone of instants where the format itself fixes it.
    """

    name: str
    format: str
    table: str
    fields: tuple[Field, ...]
    stems: tuple[str, ...] = ()
    family: str = ""
    by_name: bool = False
    derive: Mapping[str, pl.Expr] = field(default_factory=dict)
    unknown_type: pl.Expr | None = None
    zone: str | None = None
    key_titles: tuple[str, ...] = ()

    @property
    def helpers(self) -> list[str]:
        """The derived columns used only by other derived columns."""
        return [name for name in self.derive if "." not in name and name not in schema.TABLES[self.table].schema]

    def match(self, headers: list[str]) -> dict[Field, int]:
        """Return the place of the first header of each field that has one."""
        places: dict[str, int] = {}
        for place, header in enumerate(headers):
            places.setdefault(plain_name(header), place)
        first_places = {
            field: next((places[alias] for alias in field.aliases if alias in places), None) for field in self.fields
        }
        return {field: place for field, place in first_places.items() if place is not None}

    def count_known(self, headers: list[str]) -> int:
        """Return how many headers the map knows."""
        return len(self.match(headers))

    def evidence(self, headers: list[str]) -> int:
        """Return how many headers identify a file as this table regardless of its name; 0 if none do."""
        if self.by_name or self.missing(headers):
            return 0
        plain = set(map(plain_name, headers))
        if plain & set(map(plain_name, self.key_titles)):
            return self.count_known(headers)
        telling = (field for field in self.fields if field.table != schema.COUNTER.name)  # "error" may be anything's
        return sum(not plain.isdisjoint(field.names) for field in telling)

    def flat(self, headers: list[str]) -> set[int]:
        """Return the places of columns that can hold no line end: all but texts."""
        return {place for field, place in self.match(headers).items() if field.kind != "text"}

    def missing(self, headers: list[str]) -> list[str]:
        """Return the required columns that no header names."""
        present = {field.inner for field in self.match(headers)}
        return sorted({field.inner for field in self.fields if field.required} - present)

    @property
    def columns(self) -> dict[str, list[Field]]:
        """The fields by the column that they fill."""
        columns: dict[str, list[Field]] = {}
        for table_field in self.fields:
            columns.setdefault(table_field.inner, []).append(table_field)
        return columns


def called(maps: Iterable[TableMap], names: Iterable[str]) -> list[TableMap]:
    """Return the maps of the tables with one of the names, the first name first; families after exact names.

    >>> from trackkit.sources.table_formats import built_in
    >>> maps = built_in("adobe_export").maps.values()
    >>> [called(maps, [name])[0].name for name in ("broadlog", "nmsbroadlogsvc", "custrackinglogpartner")]
    ['broadlog', 'broadlog', 'tracking_log']
    """
    table_maps, names = list(maps), list(names)
    exact = [table_map for name in names for table_map in table_maps if name in map(plain_name, table_map.stems)]
    of_family = [
        table_map for name in names for table_map in table_maps if table_map.family and table_map.family in name
    ]
    of_family.sort(key=lambda table_map: -len(table_map.family))
    return list(dict.fromkeys(exact or of_family))
