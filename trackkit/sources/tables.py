"""The engine for tables: a declarative map (`maps`) turns the text cells of a file (`sheets`) into canonical rows.

Every cell comes in as text, so that no id passes through a float, and `values` turns it into its type. A row whose
cells cannot be what the map says is refused, with its number and the reason; nothing is dropped or emptied silently.
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

    Rows are numbered from 1, the header left out. `order` says how dates are written where not as ISO has it. Streamed:
    memory does not grow with the file.
    """
    clock = Clock(table_map.zone) if table_map.zone else clock
    target = staged_path(folder, "parquet")
    orders = {one.name: order for one in table_map.fields if order and one.kind == "instant"}
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
    if reading.sheet.trouble and not is_parquet(found.path):  # not UTF-8, cut short, a stray quote: again, with care
        again = open_again(found, target.parent, table_map.count_known, table_map.flat)
        reading = _Reading(again, table_map, clock, orders, hiding)
        reading.sink(target)
        again.close()
    return reading


@dataclass(frozen=True)
class _Fault:
    """One way in which a row can be wrong: a test of its cells, and the reason in words."""

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
        """Every way in which a row can be wrong, the first that holds being the one that is told."""
        marked = pl.any_horizontal(pl.col(self.cells).str.contains(NOT_UTF8, literal=True))
        faults = [_Fault(marked, pl.lit("not UTF-8"))] if self.sheet.mended else []
        for name, fields in self.table_map.columns.items():
            if any(one.required for one in fields):
                read = [one for one in fields if one in self.places]
                empty = pl.all_horizontal([self._is_empty(one).fill_null(False) for one in read])
                named = " and ".join(repr(self._header(one)) for one in read)
                faults.append(_Fault(empty, pl.lit(f"no {name} (column {named})")))
        faults += [self._no_name(one) for one in self.places if one.kind == "text" and one.column in values.NAMES]
        return faults + [self._bad_value(one) for one in self.places if one.kind != "text" and not one.is_lenient]

    def _no_name(self, one: Field) -> _Fault:
        reason = values.no_name(one.column, self._cell(one))
        return _Fault(reason.is_not_null(), reason)

    def _bad_value(self, one: Field) -> _Fault:
        cell, where = self._cell(one), f"' in column '{self._header(one)}' is "
        what = pl.lit(where + _EXPECTED[one.kind])
        if one.kind == "instant" and one.name not in self.orders:
            what = pl.when(dates.is_otherwise(cell)).then(pl.lit(where + dates.OTHERWISE)).otherwise(what)
        elif one.kind in ("id", "count"):
            what = pl.when(values.is_rounded(cell)).then(pl.lit(where + values.ROUNDED)).otherwise(what)
        elif one.kind == "amount":
            what = pl.when(money.is_too_large(cell)).then(pl.lit(where + money.TOO_LARGE)).otherwise(what)
        return _Fault(~self._is_empty(one), pl.concat_str(pl.lit("'"), cell.str.head(100), what))

    def orders_found(self, target: Path) -> dict[str, str]:
        """Return the order of dates in each column in which some could not be read and the order is beyond doubt."""
        wrong = pl.scan_parquet(target, glob=False).filter(pl.col("fault").is_not_null())
        if wrong.select(pl.len()).collect().item() == 0:
            return {}
        instants = [one for one in self.places if one.kind == "instant"]
        found = {one.name: dates.order_of(wrong, self.cells[self.places[one]]) for one in instants}
        return {name: order for name, order in found.items() if order}

    def _header(self, one: Field) -> str:
        return self.sheet.headers[self.places[one]]

    def _cell(self, one: Field) -> pl.Expr:
        return pl.col(self.cells[self.places[one]])

    def _is_empty(self, one: Field) -> pl.Expr:
        """Whether a cell is empty; null where there is a value, so that its text costs nothing."""
        rest = pl.when(pl.col(one.name).is_null()).then(self._cell(one))
        return values.is_nothing(rest) if one.kind == "id" else values.is_missing(rest)

    def sink(self, target: Path) -> None:
        """Write the typed columns, unknown words, the number of a row's first fault, and the cells of faulty rows."""
        parsed = {one.name: _value(one, self._cell(one)) for one in self.places if one.kind != "instant"}
        instants = {one.name: self.cells[place] for one, place in self.places.items() if one.kind == "instant"}
        rows = values.with_instants(self.sheet.cells.with_columns(**parsed), instants, self.orders)
        faults = (pl.when(one.wrong).then(pl.lit(place, pl.Int16)) for place, one in enumerate(self.faults))
        rows = rows.with_columns(fault=pl.coalesce(*faults, pl.lit(None, pl.Int16)))
        as_stood = [pl.when(pl.col("fault").is_not_null()).then(pl.col(cell)).alias(cell) for cell in self.cells]
        typed = {name: self._column(fields) for name, fields in self.table_map.columns.items()}
        rows = rows.select("source_row", "fault", *as_stood, **typed, **self._unknown_words(), **self._clock_tallies())
        rows = self.hiding.rows(rows, dict.fromkeys(self.cells, "text") | self._kinds())
        for name, expression in self.table_map.derive.items():
            rows = rows.with_columns(expression.alias(name))
        try:
            rows.drop(self.table_map.helpers).sink_parquet(target, **STAGED)
        except (pl.exceptions.PolarsError, OSError) as error:
            if not self.sheet.separator:  # Parquet, damaged inside; text is never at fault here
                raise DataError(f"The Parquet file is damaged: {str(error).splitlines()[0]}") from None
            raise

    def _kinds(self) -> dict[str, str]:
        """What each column read may hold of a person, before others are made of it."""
        return {name: _kind(fields[0], self.table_map.table) for name, fields in self.table_map.columns.items()}

    def _column(self, fields: list[Field]) -> pl.Expr:
        read = [self._exact(one) if one.kind == "instant" else pl.col(one.name) for one in fields if one in self.places]
        dtype = KINDS[fields[0].kind]
        if not read:
            return pl.lit(None, dtype)
        return _plain_person(fields[0], self.table_map.table, pl.coalesce(read).cast(dtype))

    @cached_property
    def _lenient(self) -> dict[str, list[Field]]:
        """The fields with words, by their column."""
        read = [one for one in self.places if one.is_lenient]
        return {one.inner: [other for other in read if other.inner == one.inner] for one in read}

    def _unknown_words(self) -> dict[str, pl.Expr]:
        """What stands where a code or a flag is not known; null elsewhere."""
        words = {name: [self._unknown_word(one) for one in fields] for name, fields in self._lenient.items()}
        return {unknown(name): pl.coalesce(expressions) for name, expressions in words.items()}

    def _unknown_word(self, one: Field) -> pl.Expr:
        is_odd = ~self._is_empty(one).fill_null(True)
        if one.words:
            is_odd |= ~pl.col(one.name).is_in(sorted(set(one.words.values()))).fill_null(True)
        return pl.when(is_odd).then(self._cell(one).str.strip_chars().str.head(WORD_LIMIT))

    def _exact(self, one: Field) -> pl.Expr:
        """The instant in UTC: by the offset written beside it, or else by the clock of the source."""
        local, offset = pl.col(one.name), pl.col(one.offset_name)
        written = (local - pl.duration(minutes=offset)).dt.replace_time_zone("UTC")
        return pl.when(offset.is_null()).then(self.clock.to_utc(local)).otherwise(written)

    def _clock_tallies(self) -> dict[str, pl.Expr]:
        instants = [one for one in self.places if one.kind == "instant"]
        plain = [pl.when(pl.col(one.offset_name).is_null()).then(pl.col(one.name)) for one in instants]
        odd = [self.clock.oddity(local) for local in plain]
        return {
            "_local": pl.any_horizontal([local.is_not_null() for local in plain] or [pl.lit(False)]),
            "_twice": pl.any_horizontal([(one == 1).fill_null(False) for one in odd] or [pl.lit(False)]),
            "_skipped": pl.any_horizontal([(one == 2).fill_null(False) for one in odd] or [pl.lit(False)]),
        }

    def hand_on(self, target: Path, report: SourceReport, collapse_seconds: int) -> Staged:
        """Return the rows written as canonical frames, with what was refused and the account of it."""
        rows = pl.scan_parquet(target, glob=False)
        quarantine = self._quarantine(rows, report)
        self._account(rows, report, quarantine.height)
        accepted = rows.filter(pl.col("fault").is_null()).with_columns(
            source_file=pl.lit(report.path),
            source=pl.lit(report.format),
            collapse_seconds=pl.lit(collapse_seconds, pl.Int32),
        )
        own = {report.table: _canonical(accepted, report.table, {})}
        return Staged(report, own, quarantine, self._gleaned(accepted))

    def _gleaned(self, accepted: pl.LazyFrame) -> dict[str, pl.LazyFrame]:
        frames = {}
        for table in sorted({one.table for one in self.places if one.table}):
            told = {one.column: one.inner for one in self.table_map.fields if one.table == table}
            key = pl.col(schema.TABLES[table].key[0])
            some = accepted.filter(key.is_not_null() & pl.any_horizontal(pl.col(list(told.values())).is_not_null()))
            frames[table] = _canonical(some, table, told)
        return frames

    def _quarantine(self, rows: pl.LazyFrame, report: SourceReport) -> pl.DataFrame:
        reasons = (pl.when(pl.col("fault") == place).then(one.reason) for place, one in enumerate(self.faults))
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
        asked = {self._header(one): self.orders[one.name] for one in self.places if one.name in self.orders}
        report.assumptions += [dates.note(f"column '{header}'", order) for header, order in asked.items()]
        used = set(self.places.values())
        report.ignored_columns = [name for place, name in enumerate(self.sheet.headers) if place not in used]
        self._account_words(rows.filter(accepted), report)

    def _account_words(self, accepted: pl.LazyFrame, report: SourceReport) -> None:
        """Count the types and the words that are not known."""
        kind = self.table_map.unknown_type
        if kind is not None and set(kind.meta.root_names()) <= set(accepted.collect_schema()):
            counts = accepted.select(word=kind).drop_nulls().group_by("word").agg(pl.len()).sort("word").collect()
            report.unknown_types = dict(counts.iter_rows())
        columns = [name for name in self._lenient if kind is None or unknown(name) not in kind.meta.root_names()]
        words = [accepted.select(word=unknown(name)).drop_nulls().group_by("word").agg(pl.len()) for name in columns]
        tallies = dict(zip(columns, pl.collect_all(words), strict=True))
        told = {name: most_frequent(some) for name, some in tallies.items() if some.height}
        report.unknown_values = {name.split(".")[-1]: words for name, words in told.items()}


WORD_LIMIT = 100  # characters of an unknown word that are told


_VALUES = {"id": values.reference, "count": values.whole, "amount": money.amount, "flag": values.flag}


def _value(one: Field, text: pl.Expr) -> pl.Expr:
    """Return a cell as a value of its kind; null when it is empty, or not of its kind."""
    if one.kind == "code":
        return values.code(text, one.words)
    return _VALUES[one.kind](text) if one.kind in _VALUES else pl.when(text != "").then(text)


def _kind(one: Field, table: str) -> str:
    return kinds_of(one.table or table).get(one.column, "text")


def _plain_person(one: Field, table: str, text: pl.Expr) -> pl.Expr:
    """Return an address, or an id that may be one, as one person has it; other columns as they are."""
    if one.kind == "text" and _kind(one, table) == "address":
        return values.address(text)
    return values.person_key(text) if one.kind == "text" and one.column == "recipient_id" else text


def _canonical(rows: pl.LazyFrame, table: str, renamed: Mapping[str, str]) -> pl.LazyFrame:
    """Return what a source hands on of a canonical table: columns by their own names, or by another, or empty."""
    types = {**schema.TABLES[table].schema, "source_file": pl.String(), "source_row": pl.Int64()}
    known = set(rows.collect_schema())
    inner = {name: renamed.get(name, name) for name in handed_on(table)}
    return rows.select(
        (pl.col(inner[name]) if inner[name] in known else pl.lit(None)).cast(types[name]).alias(name) for name in inner
    )
