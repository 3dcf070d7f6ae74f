"""The engine for tables: a declarative map (`maps`) turns the text cells of a file (`sheets`) into canonical rows.

Every cell is read as text, so that no id passes through a float, and parsed by `values`. A row with a cell of the
wrong kind is refused, with its number and the reason; nothing is dropped or emptied silently.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import polars as pl

from trackkit import schema
from trackkit.errors import DataError
from trackkit.sources import dates, files, money, values
from trackkit.sources.files import NOT_UTF8, Found
from trackkit.sources.hiding import Hiding, kinds_of
from trackkit.sources.maps import KINDS, Field, TableMap, unknown
from trackkit.sources.report import SourceReport, most_frequent
from trackkit.sources.sheets import Sheet, is_parquet, open_again, open_sheet
from trackkit.sources.staging import STAGED, Staged, handed_on, quarantine_frame, refused, staged_path
from trackkit.sources.values import Clock

_EXPECTED = {
    "id": "neither a whole number nor a UUID",
    "count": "not a whole number",
    "amount": "not a number",
    "instant": "not an instant that exists",
}


def stage(
    found: Found,
    table_map: TableMap,
    folder: Path,
    clock: Clock,
    collapse_seconds: int,
    hiding: Hiding,
    order: str | None = None,
) -> Staged:
    """Read one table file into Parquet in `folder` by its map: canonical rows, refused rows and the report.

    Rows are numbered from 1 after the header. `order` is the form of dates that are not ISO. Streamed: memory does not
    grow with the file.
    """
    clock = Clock(table_map.zone) if table_map.zone else clock
    target = staged_path(folder, "parquet")
    orders = {field.name: order for field in table_map.fields if order and field.kind == "instant"}
    reading = _read(found, table_map, clock, orders, hiding, target)
    if not order and (orders := reading.orders_found(target)):
        reading = _read(found, table_map, clock, orders, hiding, target)
    report = SourceReport(found.relative, table_map.format, table_map.table)
    report.assumptions += [] if is_parquet(found.path) else files.hole_at_head(found.path)
    return reading.hand_on(target, report, collapse_seconds)


def _read(
    found: Found, table_map: TableMap, clock: Clock, orders: Mapping[str, str], hiding: Hiding, target: Path
) -> "_Reading":
    reading = _Reading(open_sheet(found, table_map.count_known, table_map.flat), table_map, clock, orders, hiding)
    reading.sink(target)
    if reading.sheet.trouble and not is_parquet(found.path):  # not UTF-8, truncated or a stray quote: read with care
        sheet = open_again(found, target.parent, table_map.count_known, table_map.flat)
        reading = _Reading(sheet, table_map, clock, orders, hiding)
        reading.sink(target)
        sheet.close()
    return reading


@dataclass(frozen=True)
class _Fault:
    """A test for wrong rows, and the reason in words."""

    wrong: pl.Expr
    reason: pl.Expr


@dataclass
class _Reading:
    """One sheet being read by one map."""

    sheet: Sheet
    table_map: TableMap
    clock: Clock
    orders: Mapping[str, str]
    hiding: Hiding

    @cached_property
    def places(self) -> dict[Field, int]:
        return self.table_map.match(self.sheet.headers)

    @cached_property
    def cells(self) -> list[str]:
        return [f"c{place}" for place in range(len(self.sheet.headers))]

    @cached_property
    def faults(self) -> list[_Fault]:
        """All tests for wrong rows; a row is refused for the first that holds."""
        is_not_utf8 = pl.any_horizontal(pl.col(self.cells).str.contains(NOT_UTF8, literal=True))
        faults = [_Fault(is_not_utf8, pl.lit("not UTF-8"))] if self.sheet.mended else []
        for name, fields in self.table_map.columns.items():
            if any(field.required for field in fields):
                read = [field for field in fields if field in self.places]
                is_empty = pl.all_horizontal([self._is_empty(field).fill_null(False) for field in read])
                headers = " and ".join(repr(self._header(field)) for field in read)
                faults.append(_Fault(is_empty, pl.lit(f"no {name} (column {headers})")))
        faults += [
            self._no_name(field) for field in self.places if field.kind == "text" and field.column in values.NAMES
        ]
        return faults + [
            self._bad_value(field) for field in self.places if field.kind != "text" and not field.is_lenient
        ]

    def _no_name(self, field: Field) -> _Fault:
        reason = values.no_name(field.column, self._cell(field))
        return _Fault(reason.is_not_null(), reason)

    def _bad_value(self, field: Field) -> _Fault:
        cell, in_column = self._cell(field), f"' in column '{self._header(field)}' is "
        reason = pl.lit(in_column + _EXPECTED[field.kind])
        if field.kind == "instant" and field.name not in self.orders:
            reason = pl.when(dates.is_ambiguous(cell)).then(pl.lit(in_column + dates.AMBIGUOUS)).otherwise(reason)
        elif field.kind in ("id", "count"):
            reason = pl.when(values.is_rounded(cell)).then(pl.lit(in_column + values.ROUNDED)).otherwise(reason)
        elif field.kind == "amount":
            reason = pl.when(money.is_too_large(cell)).then(pl.lit(in_column + money.TOO_LARGE)).otherwise(reason)
        return _Fault(~self._is_empty(field), pl.concat_str(pl.lit("'"), cell.str.head(100), reason))

    def orders_found(self, target: Path) -> dict[str, str]:
        """Return the order of dates by column, where some were unreadable and all agree on one order."""
        wrong = pl.scan_parquet(target, glob=False).filter(pl.col("fault").is_not_null())
        if wrong.select(pl.len()).collect().item() == 0:
            return {}
        instants = [field for field in self.places if field.kind == "instant"]
        orders = {field.name: dates.order_of(wrong, self.cells[self.places[field]]) for field in instants}
        return {name: order for name, order in orders.items() if order}

    def _header(self, field: Field) -> str:
        return self.sheet.headers[self.places[field]]

    def _cell(self, field: Field) -> pl.Expr:
        return pl.col(self.cells[self.places[field]])

    def _is_empty(self, field: Field) -> pl.Expr:
        """Whether a cell is empty; null where it was parsed, which skips its text."""
        untyped = pl.when(pl.col(field.name).is_null()).then(self._cell(field))
        return values.is_nothing(untyped) if field.kind == "id" else values.is_missing(untyped)

    def sink(self, target: Path) -> None:
        """Write typed columns, unknown words, the number of each row's first fault, and the cells of wrong rows."""
        parsed = {field.name: _value(field, self._cell(field)) for field in self.places if field.kind != "instant"}
        instants = {field.name: self.cells[place] for field, place in self.places.items() if field.kind == "instant"}
        rows = values.with_instants(self.sheet.cells.with_columns(**parsed), instants, self.orders)
        faults = (pl.when(fault.wrong).then(pl.lit(number, pl.Int16)) for number, fault in enumerate(self.faults))
        rows = rows.with_columns(fault=pl.coalesce(*faults, pl.lit(None, pl.Int16)))
        wrong_cells = [pl.when(pl.col("fault").is_not_null()).then(pl.col(cell)).alias(cell) for cell in self.cells]
        typed = {name: self._column(fields) for name, fields in self.table_map.columns.items()}
        rows = rows.select(
            "source_row", "fault", *wrong_cells, **typed, **self._unknown_words(), **self._clock_tallies()
        )
        rows = self.hiding.rows(rows, dict.fromkeys(self.cells, "text") | self._kinds())
        for name, expression in self.table_map.derive.items():
            rows = rows.with_columns(expression.alias(name))
        try:
            rows.drop(self.table_map.helpers).sink_parquet(target, **STAGED)
        except (pl.exceptions.PolarsError, OSError) as error:
            if not self.sheet.separator:  # damaged Parquet; text files do not fail here
                raise DataError(f"The Parquet file is damaged: {str(error).splitlines()[0]}") from None
            raise

    def _kinds(self) -> dict[str, str]:
        """The kind of personal data in each column, before further columns are derived."""
        return {name: _kind(fields[0], self.table_map.table) for name, fields in self.table_map.columns.items()}

    def _column(self, fields: list[Field]) -> pl.Expr:
        read = [
            self._exact(field) if field.kind == "instant" else pl.col(field.name)
            for field in fields
            if field in self.places
        ]
        dtype = KINDS[fields[0].kind]
        if not read:
            return pl.lit(None, dtype)
        return _plain_person(fields[0], self.table_map.table, pl.coalesce(read).cast(dtype))

    @cached_property
    def _lenient(self) -> dict[str, list[Field]]:
        """The fields with words, by their column."""
        read = [field for field in self.places if field.is_lenient]
        return {field.inner: [other for other in read if other.inner == field.inner] for field in read}

    def _unknown_words(self) -> dict[str, pl.Expr]:
        """The texts of unknown codes and flags; null elsewhere."""
        words = {name: [self._unknown_word(field) for field in fields] for name, fields in self._lenient.items()}
        return {unknown(name): pl.coalesce(expressions) for name, expressions in words.items()}

    def _unknown_word(self, field: Field) -> pl.Expr:
        is_unknown = ~self._is_empty(field).fill_null(True)
        if field.words:
            is_unknown |= ~pl.col(field.name).is_in(sorted(set(field.words.values()))).fill_null(True)
        return pl.when(is_unknown).then(self._cell(field).str.strip_chars().str.head(WORD_LIMIT))

    def _exact(self, field: Field) -> pl.Expr:
        """The instant in UTC, by its own offset or else by the clock of the source."""
        local, offset = pl.col(field.name), pl.col(field.offset_name)
        written = (local - pl.duration(minutes=offset)).dt.replace_time_zone("UTC")
        return pl.when(offset.is_null()).then(self.clock.to_utc(local)).otherwise(written)

    def _clock_tallies(self) -> dict[str, pl.Expr]:
        instants = [field for field in self.places if field.kind == "instant"]
        plain = [pl.when(pl.col(field.offset_name).is_null()).then(pl.col(field.name)) for field in instants]
        oddities = [self.clock.oddity(local) for local in plain]
        return {
            "_local": pl.any_horizontal([local.is_not_null() for local in plain] or [pl.lit(False)]),
            "_twice": pl.any_horizontal([(oddity == 1).fill_null(False) for oddity in oddities] or [pl.lit(False)]),
            "_skipped": pl.any_horizontal([(oddity == 2).fill_null(False) for oddity in oddities] or [pl.lit(False)]),
        }

    def hand_on(self, target: Path, report: SourceReport, collapse_seconds: int) -> Staged:
        """Return the written rows as canonical frames, with refused rows and the report."""
        rows = pl.scan_parquet(target, glob=False)
        quarantine = self._quarantine(rows, report)
        self._account(rows, report, quarantine.height)
        accepted = rows.filter(pl.col("fault").is_null()).with_columns(
            source_file=pl.lit(report.path),
            source=pl.lit(report.format),
            collapse_seconds=pl.lit(collapse_seconds, pl.Int32),
        )
        frames = {report.table: _canonical(accepted, report.table, {})}
        if counters := {field.inner: field.column for field in self.places if field.table == schema.COUNTER.name}:
            frames[schema.COUNTER.name] = _counters(accepted, counters)
        return Staged(report, frames, quarantine, self._gleaned(accepted))

    def _gleaned(self, accepted: pl.LazyFrame) -> dict[str, pl.LazyFrame]:
        frames = {}
        for table in sorted({field.table for field in self.places} - {"", schema.COUNTER.name}):
            inner_names = {field.column: field.inner for field in self.table_map.fields if field.table == table}
            key = pl.col(schema.TABLES[table].key[0])
            rows = accepted.filter(
                key.is_not_null() & pl.any_horizontal(pl.col(list(inner_names.values())).is_not_null())
            )
            frames[table] = _canonical(rows, table, inner_names)
        return frames

    def _quarantine(self, rows: pl.LazyFrame, report: SourceReport) -> pl.DataFrame:
        reasons = (pl.when(pl.col("fault") == number).then(fault.reason) for number, fault in enumerate(self.faults))
        reason = pl.coalesce(*reasons, pl.lit(""))
        text = pl.concat_str(self.cells, separator=self.sheet.separator or ",")
        wrong = rows.filter(pl.col("fault").is_not_null()).select("source_row", reason=reason, text=text).collect()
        ragged = self.sheet.ragged
        last = max(rows.select(pl.col("source_row").max()).collect().item() or 0, *(row for row, *_ in ragged), 0)
        unread = quarantine_frame([*ragged, *self.sheet.lost(last + 1)], report)
        return pl.concat([refused(wrong, report), unread]).sort("source_row")

    def _account(self, rows: pl.LazyFrame, report: SourceReport, quarantined: int) -> None:
        accepted = pl.col("fault").is_null()
        is_dated = "occurred_at" in schema.TABLES[report.table].sourced
        undated = pl.col("occurred_at").is_null() if is_dated else pl.lit(False)
        tallies = {name: (accepted & pl.col(f"_{name}")).sum() for name in ("local", "twice", "skipped")}
        sums = rows.select(kept=accepted.sum(), undated=(accepted & undated).sum(), **tallies).collect()
        counts = sums.row(0, named=True)
        report.read, report.quarantined, report.undated = counts["kept"] + quarantined, quarantined, counts["undated"]
        report.assumptions += self.clock.notes(counts["local"], counts["twice"], counts["skipped"])
        report.assumptions += self.sheet.assumptions()
        orders = {self._header(field): self.orders[field.name] for field in self.places if field.name in self.orders}
        report.assumptions += [dates.note(f"column '{header}'", order) for header, order in orders.items()]
        places_read = set(self.places.values())
        report.ignored_columns = [name for place, name in enumerate(self.sheet.headers) if place not in places_read]
        self._account_words(rows.filter(accepted), report)

    def _account_words(self, accepted: pl.LazyFrame, report: SourceReport) -> None:
        """Count the unknown types and words."""
        kind = self.table_map.unknown_type
        if kind is not None and set(kind.meta.root_names()) <= set(accepted.collect_schema()):
            counts = accepted.select(word=kind).drop_nulls().group_by("word").agg(pl.len()).sort("word").collect()
            report.unknown_types = dict(counts.iter_rows())
        columns = [name for name in self._lenient if kind is None or unknown(name) not in kind.meta.root_names()]
        words = [accepted.select(word=unknown(name)).drop_nulls().group_by("word").agg(pl.len()) for name in columns]
        tallies = dict(zip(columns, pl.collect_all(words), strict=True))
        frequent = {name: most_frequent(tally) for name, tally in tallies.items() if tally.height}
        report.unknown_values = {name.split(".")[-1]: words for name, words in frequent.items()}


WORD_LIMIT = 100  # characters of an unknown word in a report


_VALUES = {"id": values.reference, "count": values.whole, "amount": money.amount, "flag": values.flag}


def _value(field: Field, text: pl.Expr) -> pl.Expr:
    """Return a cell as a value of its kind; null when it is empty, or not of its kind."""
    if field.kind == "code":
        return values.code(text, field.words)
    return _VALUES[field.kind](text) if field.kind in _VALUES else pl.when(text != "").then(text)


def _kind(field: Field, table: str) -> str:
    return kinds_of(field.table or table).get(field.column, "text")


def _plain_person(field: Field, table: str, text: pl.Expr) -> pl.Expr:
    """Normalise an address, or an id that may be one; return other columns unchanged."""
    if field.kind == "text" and _kind(field, table) in ("address", "mention"):
        return values.address(text)
    return values.person_key(text) if field.kind == "text" and field.column == "recipient_id" else text


def _counters(accepted: pl.LazyFrame, names: Mapping[str, str]) -> pl.LazyFrame:
    """Return the counters of deliveries as rows; `names` are their columns here and in `schema.COUNTERS`."""
    known = {column: inner for inner, column in names.items()}
    at = pl.col(known["computed_at"]) if "computed_at" in known else pl.lit(None)
    values = {name: pl.col(inner).cast(pl.Float64) for name, inner in known.items() if name in schema.COUNTERS}
    index = ["delivery_id", "computed_at", "source", "source_file", "source_row"]
    wide = accepted.select(*(name for name in index if name != "computed_at"), computed_at=at, **values)
    rows = wide.unpivot(list(values), index=index, variable_name="counter").filter(pl.col("value").is_not_null())
    return _canonical(rows, schema.COUNTER.name, {})


def _canonical(rows: pl.LazyFrame, table: str, renamed: Mapping[str, str]) -> pl.LazyFrame:
    """Return the columns of a canonical table, renamed from inner names, or null."""
    types = {**schema.TABLES[table].schema, "source_file": pl.String(), "source_row": pl.Int64()}
    available = set(rows.collect_schema())
    inner = {name: renamed.get(name, name) for name in handed_on(table)}
    return rows.select(
        (pl.col(inner[name]) if inner[name] in available else pl.lit(None)).cast(types[name]).alias(name)
        for name in inner
    )
