"""Formats of several tables, declared in TOML: their grammar, its checks, and the `TableMap`s made from them.

See `docs/formats.md`. The TOML files are in `formats`, beside this module, and in `formats/` of the working folder.
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
_OTHER_TABLES = ("link", "delivery", "failure", "recipient", "user_agent", "counter")
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
    """The headers of a column, and the kind of its cells unless its name implies it."""

    headers: list[str] = []
    otherwise: list[str] = []  # headers of a second column that fills the gaps of the first
    kind: Kind | None = None


class DerivedColumn(Strict):
    """A value made by a function that SQL does not have."""

    function: Literal["digest", "code", "name", "currency", "currency_beside"]
    of: str | list[str]
    words: str = ""  # for code and name: the list of words or names to use
    prefix: str = ""  # a text put in front

    @property
    def columns(self) -> list[str]:
        """The columns it is made from."""
        return [self.of] if isinstance(self.of, str) else self.of


Columns = dict[str, ColumnHeaders | list[str]]


class JoinedTable(Strict):
    """A table of the same database joined to each row, if it exists."""

    table: str
    on: Annotated[dict[str, str], Field(min_length=1)]  # a column of the rows: the equal column of this table
    columns: Annotated[dict[str, str], Field(min_length=1)]  # the new name of a column: its name in this table


class TableSection(Strict):
    """One table of a format: its files, and the headers of each column of a canonical table."""

    name: str
    table: Annotated[str, AfterValidator(_table)]
    like: str = ""  # an earlier table, whose settings hold unless overridden
    files: list[str] = []  # further names of files
    family: str = ""  # a part of the names of further files of its kind
    by_name: bool = False  # its headers do not identify it
    ids: list[str] | None = None
    required: list[str] = []
    columns: Columns = {}
    link: Columns = {}
    delivery: Columns = {}
    failure: Columns = {}
    recipient: Columns = {}
    user_agent: Columns = {}
    counter: Columns = {}  # the platform's counters of a delivery, by their names in `schema.COUNTERS`
    derive: dict[str, DerivedColumn | bool | int | Sql] = {}
    # For a table of a database, whose name is the first word of `name`:
    # columns of when a row was added or changed, `a | b` the first that exists; without one all rows are read.
    dated: list[str] = []
    needed: list[str] = []  # columns without which it is not read, besides required ones
    where: dict[str, str | bool] = {}  # the value that a column must have; true for any
    join: list[JoinedTable] = []
    notes: list[str] = []  # for the load report
    tells: str = ""  # what is unknown of its deliveries unless it is read
    targets: list[str] = []  # the platform: further tables like it for other targets, with ids of their own

    def listed(self) -> Iterator[tuple[str, str, ColumnHeaders]]:
        """Yield each column with the name of its table, if that is another one."""
        of_others = {name: getattr(self, name) for name in _OTHER_TABLES}
        for table, columns in {"": self.columns, **of_others}.items():
            for name, column in columns.items():
                yield table, name, column if isinstance(column, ColumnHeaders) else ColumnHeaders(headers=column)

    @model_validator(mode="after")
    def _check_names(self) -> Self:
        known = [f"{table}.{name}" if table else name for table, name, _ in self.listed()]
        _require(self.required, known, "'required' names")
        for name, rule in self.derive.items():
            _require(_used(rule), known, f"{name!r} is made of")
            known.append(name)
        own = [*schema.TABLES[self.table].sourced, *chain.from_iterable(map(_used, self.derive.values()))]
        for table, name, _ in self.listed():
            allowed = _allowed(table) if table else own
            if name not in allowed:
                raise ValueError(f"there is no column {name!r} of {table or self.table}.{did_you_mean(name, allowed)}")
        return self


def _allowed(table: str) -> Iterable[str]:
    """The columns that a file of another table may have values for."""
    if table == schema.COUNTER.name:
        return ("computed_at", *schema.COUNTERS)
    return (*schema.TABLES[table].key, *schema.TABLES[table].gleaned)


def _used(rule: DerivedColumn | bool | int | str) -> list[str]:
    if isinstance(rule, DerivedColumn):
        return rule.columns
    return [] if isinstance(rule, bool | int) or rule.startswith("=") else pl.sql_expr(rule).meta.root_names()


def _require(names: Iterable[str], known: list[str], subject: str) -> None:
    for name in names:
        if name not in known:
            raise ValueError(f"{subject} {name!r}, which is no column here.{did_you_mean(name, known)}")


class Recognise(Strict):
    """How the format is recognised: in words, and, for a database, by its tables."""

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
    ids: list[str] = []  # columns of whole numbers or UUIDs; other ids are texts
    untold: str = ""  # what is unknown of deliveries, whichever tables are read
    # Lists of headers: `titles.label` among headers stands for any in the list; `linked.delivery` for the key of a
    # linked table: its name, alone or followed by the title of the key (`titles.key`) in brackets; `keyed.campaign` for
    # the latter only, since the name alone heads labels.
    titles: dict[str, list[str]] = {}
    words: dict[str, dict[int, list[str]]] = {}
    table: list[TableSection] = Field(min_length=1)

    @model_validator(mode="before")
    @classmethod
    def _with_inherited(cls, settings: Any) -> Any:
        """Complete each table that is `like` another."""
        tables = settings.get("table") if isinstance(settings, dict) else None
        if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
            return settings
        completed: dict[str, dict[str, Any]] = {}
        for table in tables:
            if (like := table.get("like")) and like not in completed:
                raise ValueError(f"no table {like!r} stands above.{did_you_mean(str(like), completed)}")
            completed[str(table.get("name"))] = _merged(completed[like], table) if like else table
        return {**settings, "table": list(completed.values())}

    @model_validator(mode="after")
    def _check_lists(self) -> Self:
        if self.engine == "database" and not self.recognise.tables:
            raise ValueError("a database needs 'tables' in 'recognise': those that say that it is of this format")
        headers = chain.from_iterable(column.headers for table in self.table for *_, column in table.listed())
        _require_list("titles", [name for header in headers for name in _titles(header)], self.titles)
        for table in self.table:
            rules = [rule for rule in table.derive.values() if isinstance(rule, DerivedColumn)]
            _require_list("words", [rule.words for rule in rules if rule.function == "code"], self.words)
            _require_list("names", [rule.words for rule in rules if rule.function == "name"], _NAMES_OF_CODES)
        _ = self.codes  # ValueError where a word has two codes
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
        return {section.name: section for section in self.table}

    @cached_property
    def maps(self) -> dict[str, TableMap]:
        """The map of each table, by its name."""
        return {section.name: self._map(section) for section in self.table}

    def _map(self, section: TableSection) -> TableMap:
        fields = [field for listed in section.listed() for field in self._fields(section, *listed)]
        inner_names = {field.inner for field in fields}
        for name in section.derive:  # a column of another table that no header holds
            table, _, column = name.rpartition(".")
            if table and name not in inner_names:
                fields.append(TableField(column, _kind_by_schema(table, column), (), table=table))
        return TableMap(
            section.name,
            self.name,
            section.table,
            tuple(fields),
            stems=(section.name, *section.files),
            family=section.family,
            by_name=section.by_name,
            derive={name: self._expression(rule) for name, rule in section.derive.items()},
            unknown_type=_UNKNOWN_TYPES.get(section.table),
            zone=self.zone,
            key_titles=tuple(self.titles.get("key", ())),
        )

    def _fields(self, section: TableSection, table: str, name: str, column: ColumnHeaders) -> Iterator[TableField]:
        ids = self.ids if section.ids is None else section.ids
        kind = column.kind or ("id" if name in ids else _kind_by_schema(table or section.table, name))
        headers = list(chain.from_iterable(map(self._headers, column.headers)))
        is_required = (f"{table}.{name}" if table else name) in section.required
        words = self.codes.get(name, {}) if kind == "code" else {}
        for alternatives in filter(None, (headers, column.otherwise)):
            yield TableField(name, kind, tuple(alternatives), is_required, words, table)

    def _headers(self, written: str) -> list[str]:
        names = [name for titles in _titles(written) for name in self.titles[titles]] or [written]
        if not written.startswith(("linked.", "keyed.")):
            return names
        keys = [f"{name} ({key})" for name in names for key in (*self.titles["key"], "id", "foreign key")]
        return [*names, *keys] if written.startswith("linked.") else keys

    def _expression(self, rule: DerivedColumn | bool | int | str) -> pl.Expr:
        if isinstance(rule, DerivedColumn):
            expression = self._function(rule)
            return pl.lit(rule.prefix) + expression if rule.prefix else expression
        if isinstance(rule, str) and not rule.startswith("="):
            return pl.sql_expr(rule)
        return pl.lit(rule[1:] if isinstance(rule, str) else rule)

    def _function(self, rule: DerivedColumn) -> pl.Expr:
        text = pl.col(rule.columns[0])
        functions: dict[str, Callable[[], pl.Expr]] = {
            "digest": lambda: values.digest(*rule.columns),
            "code": lambda: values.code(text, self.codes[rule.words]),
            "name": lambda: values.named(text, _NAMES_OF_CODES[rule.words]),
            "currency": lambda: money.currency(text),
            "currency_beside": lambda: money.currency_beside(text),
        }
        return functions[rule.function]()


def _merged(base: Mapping[str, Any], section: Mapping[str, Any]) -> dict[str, Any]:
    merged = {key: {**base[key], **value} for key, value in section.items() if isinstance(value, dict) and key in base}
    return {**base, "files": [], **section, **merged}


def _titles(header: str) -> list[str]:
    """Return the name of the list of `[titles]` that a header stands for, if any."""
    kind, _, name = header.partition(".")
    return [name] if kind in ("titles", "linked", "keyed") and name else []


def _require_list(kind: str, names: Iterable[str], known: Iterable[str]) -> None:
    for name in names:
        if name not in known:
            raise ValueError(f"there are no {kind} {name!r}.{did_you_mean(name, list(known))}")


def _kind_by_schema(table: str, column: str) -> Any:
    if table == schema.COUNTER.name and column in schema.COUNTERS:
        return "amount" if column == "amount" else "count"
    dtype = schema.TABLES[table].schema.get(column, pl.String())
    return "amount" if dtype == schema.MONEY else _KIND_OF_TYPE.get(dtype, "text")


def is_table_format(path: Path) -> bool:
    """Return whether a TOML file declares a format of several tables."""
    try:
        return "\n[[table]]" in path.read_text("utf-8-sig").replace("\r", "")
    except (OSError, UnicodeDecodeError):
        return False


def read_table_format(path: Path) -> TableFormat:
    """Return the format of a TOML file; RequestError names the file, the key and the nearest valid word."""
    return toml.read(path, TableFormat)


@cache
def built_in(name: str) -> TableFormat:
    """Return a built-in format of several tables.

    >>> built_in("mailchimp").maps["member"].table
    'recipient'
    """
    return read_table_format(BUILT_IN / f"{name}.toml")


def all_table_formats(engine: Literal["tables", "database"] = "tables") -> dict[str, TableFormat]:
    """Return the formats of several tables, of files or databases, by name: built-in ones, then the user's."""
    paths = [path for folder in (BUILT_IN, LOCAL) for path in sorted(folder.glob("*.toml"))]
    formats = {format_.name: format_ for format_ in map(read_table_format, filter(is_table_format, paths))}
    return {name: format_ for name, format_ in formats.items() if format_.engine == engine}


def file_maps(formats: Iterable[TableFormat]) -> list[TableMap]:
    """Return the maps of all tables of formats."""
    return [table_map for format_ in formats for table_map in format_.maps.values()]
