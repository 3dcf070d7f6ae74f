"""Formats of several tables as data: the grammar of their maps (TOML), its checks, and what a `TableMap` is made of.

`docs/formats.md` explains it. Maps are in `formats`, beside this module, and in `formats/` of the working folder.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache, cached_property
from itertools import chain
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import polars as pl
from pydantic import AfterValidator, Field, StringConstraints, model_validator

from trackkit import schema, toml
from trackkit.errors import RequestError, did_you_mean
from trackkit.sources import money, values
from trackkit.sources.maps import KINDS, TableMap, unknown
from trackkit.sources.maps import Field as TableField
from trackkit.toml import Strict

BUILT_IN, LOCAL = Path(__file__).parent / "formats", Path("formats")
ADOBE_EXPORT = "adobe_export"
_KIND_OF_TYPE = {dtype: kind for kind, dtype in reversed(KINDS.items())}  # text before id
_NAMES_OF_CODES: dict[str, Mapping[int, str]] = {
    "type_code": schema.LINK_TYPES,
    "failure_reason": schema.FAILURE_REASONS,
    "state": schema.STATES,
}
_UNKNOWN_TYPES = {
    "event": pl.sql_expr("case when reported_type = 'unknown' then raw_event_type end"),
    "link": pl.col(unknown("type_code")),
}


def _table(name: str) -> str:
    if name not in schema.TABLES:
        raise ValueError(f"there is no table {name!r}.{did_you_mean(name, schema.TABLES)}")
    return name


def _sql(text: str) -> str:
    try:
        _ = text.startswith("=") or pl.sql_expr(text)
    except pl.exceptions.PolarsError as error:
        raise ValueError(f"{text[:100]!r} is no SQL expression: {str(error).splitlines()[0]}") from None
    return text


def _zone(text: str) -> str:
    try:
        return values.Clock(text).zone
    except RequestError as error:
        raise ValueError(str(error)) from None


Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*$", max_length=60)]
Zone = Annotated[str, AfterValidator(_zone)]
Kind = Literal["text", "id", "count", "amount", "flag", "code", "instant"]
Sql = Annotated[str, AfterValidator(_sql)]


class ColumnHeaders(Strict):
    """Where a column is found, and what its cells hold where its name does not say it."""

    headers: list[str] = []
    otherwise: list[str] = []  # headers of a second column that fills the gaps of the first
    kind: Kind | None = None


class DerivedColumn(Strict):
    """A value that SQL has no function for."""

    function: Literal["digest", "code", "name", "currency", "currency_beside"]
    of: str | list[str]
    words: str = ""  # code, name: the column whose words or names they are
    prefix: str = ""  # a text put before

    @property
    def columns(self) -> list[str]:
        """The columns that it is made of."""
        return [self.of] if isinstance(self.of, str) else self.of


Columns = dict[str, ColumnHeaders | list[str]]


class JoinedTable(Strict):
    """A table of the same database that gives each row further columns, if it is there."""

    table: str
    on: Annotated[dict[str, str], Field(min_length=1)]  # a column of the rows, and the one of this table that equals it
    columns: Annotated[dict[str, str], Field(min_length=1)]  # what a column is called among the rows' own, and here


class TableSection(Strict):
    """One table of a format: which files it is, and which header is which column of a canonical table."""

    name: str
    table: Annotated[str, AfterValidator(_table)]
    like: str = ""  # a table above, of which everything holds that is not said anew
    files: list[str] = []  # further names of its files
    family: str = ""  # what names of further files of its kind hold
    by_name: bool = False  # its headers alone do not tell it
    ids: list[str] | None = None
    required: list[str] = []
    columns: Columns = {}
    link: Columns = {}
    delivery: Columns = {}
    failure: Columns = {}
    recipient: Columns = {}
    user_agent: Columns = {}
    derive: dict[str, DerivedColumn | bool | int | Sql] = {}
    # Where it is a table of a database, which is called as the first word of `name`:
    # Columns that say when a row came or changed, `a | b` the first that is there; a table without one is read wholly.
    dated: list[str] = []
    needed: list[str] = []  # columns without which it is not read, besides the required ones
    where: dict[str, str | bool] = {}  # the text that a column must hold; true for any
    join: list[JoinedTable] = []
    notes: list[str] = []  # what the load report says of it
    tells: str = ""  # what of its deliveries is not known as long as it is not read
    targets: list[str] = []  # the platform: further tables of its kind, each with numbers of its own, of other targets

    def listed(self) -> Iterator[tuple[str, str, ColumnHeaders]]:
        """Yield each column with the name of the other table that it is of, if any."""
        own = {name: getattr(self, name) for name in ("link", "delivery", "failure", "recipient", "user_agent")}
        for table, columns in {"": self.columns, **own}.items():
            for name, column in columns.items():
                yield table, name, column if isinstance(column, ColumnHeaders) else ColumnHeaders(headers=column)

    @model_validator(mode="after")
    def _names_what_is_there(self) -> Self:
        known = [f"{table}.{name}" if table else name for table, name, _ in self.listed()]
        _require(self.required, known, "'required' names")
        for name, rule in self.derive.items():
            _require(_used(rule), known, f"{name!r} is made of")
            known.append(name)
        own = [*schema.TABLES[self.table].sourced, *chain.from_iterable(map(_used, self.derive.values()))]
        for table, name, _ in self.listed():
            allowed = schema.TABLES[table].sourced if table else own
            if name not in allowed:
                raise ValueError(f"there is no column {name!r} of {table or self.table}.{did_you_mean(name, allowed)}")
        return self


def _used(rule: DerivedColumn | bool | int | str) -> list[str]:
    if isinstance(rule, DerivedColumn):
        return rule.columns
    return [] if isinstance(rule, bool | int) or rule.startswith("=") else pl.sql_expr(rule).meta.root_names()


def _require(names: Iterable[str], known: list[str], what: str) -> None:
    for name in names:
        if name not in known:
            raise ValueError(f"{what} {name!r}, which is no column here.{did_you_mean(name, known)}")


class Recognise(Strict):
    """How files or databases of the format are recognised: in words, and a database by tables that it has."""

    because: str
    tables: list[str] = []
    prefixed: bool = False  # the names of all tables may begin with a prefix


class TableFormat(Strict):
    """A format of several tables."""

    name: Name
    what: str
    engine: Literal["tables", "database"]
    source: str = ""
    zone: Zone | None = None
    recognise: Recognise
    ids: list[str] = []  # columns that hold whole numbers or UUIDs; other ids are texts
    untold: str = ""  # what no table of a database tells of deliveries
    # Lists of headers: `titles.label` stands for one of them among headers, and `linked.delivery` for the titles of the
    # key of a linked table: its name, alone or with the title of its key (`titles.key`) in brackets.
    titles: dict[str, list[str]] = {}
    words: dict[str, dict[int, list[str]]] = {}
    table: list[TableSection] = Field(min_length=1)

    @model_validator(mode="before")
    @classmethod
    def _completed(cls, written: Any) -> Any:
        """Fill in each table what it has of the one that it is like."""
        tables = written.get("table") if isinstance(written, dict) else None
        if not isinstance(tables, list) or not all(isinstance(one, dict) for one in tables):
            return written
        whole: dict[str, dict[str, Any]] = {}
        for one in tables:
            if (like := one.get("like")) and like not in whole:
                raise ValueError(f"no table {like!r} stands above.{did_you_mean(str(like), whole)}")
            whole[str(one.get("name"))] = _merged(whole[like], one) if like else one
        return {**written, "table": list(whole.values())}

    @model_validator(mode="after")
    def _has_its_lists(self) -> Self:
        if self.engine == "database" and not self.recognise.tables:
            raise ValueError("a database needs 'tables' in 'recognise': those that say that it is of this format")
        headers = chain.from_iterable(one.headers for table in self.table for *_, one in table.listed())
        _require_list("titles", [name for header in headers for name in _titles(header)], self.titles)
        for table in self.table:
            rules = [rule for rule in table.derive.values() if isinstance(rule, DerivedColumn)]
            _require_list("words", [rule.words for rule in rules if rule.function == "code"], self.words)
            _require_list("names", [rule.words for rule in rules if rule.function == "name"], _NAMES_OF_CODES)
        assert self.codes is not None  # ValueError where a word has two codes
        return self

    @property
    def recognised(self) -> str:
        """How files of the format are recognised, in words."""
        return self.recognise.because

    @cached_property
    def codes(self) -> dict[str, dict[str, int]]:
        """The code of each word, by column."""
        return {column: values.coded(spellings) for column, spellings in self.words.items()}

    @cached_property
    def tables(self) -> dict[str, TableSection]:
        """The tables by name."""
        return {one.name: one for one in self.table}

    @cached_property
    def maps(self) -> dict[str, TableMap]:
        """The map of each table, by its name."""
        return {one.name: self._map(one) for one in self.table}

    def _map(self, one: TableSection) -> TableMap:
        fields = [field for listed in one.listed() for field in self._fields(one, *listed)]
        named = {field.inner for field in fields}
        for name in one.derive:  # a column of another table that no header holds
            table, _, column = name.rpartition(".")
            if table and name not in named:
                fields.append(TableField(column, _kind_by_schema(table, column), (), table=table))
        return TableMap(
            one.name,
            self.name,
            one.table,
            tuple(fields),
            stems=(one.name, *one.files),
            family=one.family,
            by_name=one.by_name,
            derive={name: self._expression(rule) for name, rule in one.derive.items()},
            unknown_type=_UNKNOWN_TYPES.get(one.table),
            zone=self.zone,
            key_titles=tuple(self.titles.get("key", ())),
        )

    def _fields(self, one: TableSection, table: str, name: str, column: ColumnHeaders) -> Iterator[TableField]:
        ids = self.ids if one.ids is None else one.ids
        kind = column.kind or ("id" if name in ids else _kind_by_schema(table or one.table, name))
        headers = list(chain.from_iterable(map(self._headers, column.headers)))
        is_required = (f"{table}.{name}" if table else name) in one.required
        words = self.codes.get(name, {}) if kind == "code" else {}
        for some in filter(None, (headers, column.otherwise)):
            yield TableField(name, kind, tuple(some), is_required, words, table)

    def _headers(self, written: str) -> list[str]:
        names = [name for titles in _titles(written) for name in self.titles[titles]] or [written]
        if not written.startswith("linked."):
            return names
        return names + [f"{name} ({key})" for name in names for key in (*self.titles["key"], "id", "foreign key")]

    def _expression(self, rule: DerivedColumn | bool | int | str) -> pl.Expr:
        if isinstance(rule, DerivedColumn):
            made = self._made(rule)
            return pl.lit(rule.prefix) + made if rule.prefix else made
        if isinstance(rule, str) and not rule.startswith("="):
            return pl.sql_expr(rule)
        return pl.lit(rule[1:] if isinstance(rule, str) else rule)

    def _made(self, rule: DerivedColumn) -> pl.Expr:
        text = pl.col(rule.columns[0])
        functions: dict[str, Callable[[], pl.Expr]] = {
            "digest": lambda: values.digest(*rule.columns),
            "code": lambda: values.code(text, self.codes[rule.words]),
            "name": lambda: values.named(text, _NAMES_OF_CODES[rule.words]),
            "currency": lambda: money.currency(text),
            "currency_beside": lambda: money.currency_beside(text),
        }
        return functions[rule.function]()


def _merged(base: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    both = {key: {**base[key], **value} for key, value in own.items() if isinstance(value, dict) and key in base}
    return {**base, "files": [], **own, **both}


def _titles(header: str) -> list[str]:
    """Return the list of `[titles]` that a header stands for, if it is no header."""
    kind, _, name = header.partition(".")
    return [name] if kind in ("titles", "linked") and name else []


def _require_list(what: str, names: Iterable[str], known: Iterable[str]) -> None:
    for name in names:
        if name not in known:
            raise ValueError(f"there are no {what} {name!r}.{did_you_mean(name, list(known))}")


def _kind_by_schema(table: str, column: str) -> Any:
    dtype = schema.TABLES[table].schema.get(column, pl.String())
    return "amount" if dtype == schema.MONEY else _KIND_OF_TYPE.get(dtype, "text")


def is_table_format(place: Path) -> bool:
    """Return whether the map of a TOML file is one of several tables."""
    try:
        return "\n[[table]]" in place.read_text("utf-8-sig").replace("\r", "")
    except (OSError, UnicodeDecodeError):
        return False


def read_table_format(place: Path) -> TableFormat:
    """Return the tables of a TOML file; RequestError names the file, the key and the nearest valid word."""
    return toml.read(place, TableFormat)


@cache
def built_in(name: str) -> TableFormat:
    """Return a format of several tables of the package.

    >>> built_in("mailchimp").maps["member"].table
    'recipient'
    """
    return read_table_format(BUILT_IN / f"{name}.toml")


def all_table_formats(engine: Literal["tables", "database"] = "tables") -> dict[str, TableFormat]:
    """Return the formats of several tables, of files or of databases, by name: the package's, then the user's own."""
    places = [place for folder in (BUILT_IN, LOCAL) for place in sorted(folder.glob("*.toml"))]
    formats = {one.name: one for one in map(read_table_format, filter(is_table_format, places))}
    return {name: one for name, one in formats.items() if one.engine == engine}


def file_maps(formats: Iterable[TableFormat]) -> list[TableMap]:
    """Return the maps of all tables of formats."""
    return [table_map for one in formats for table_map in one.maps.values()]
