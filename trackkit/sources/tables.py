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
from trackkit.sources import files, values
from trackkit.sources.files import NOT_UTF8, Found, Mended
from trackkit.sources.hiding import Hiding, kinds_of
from trackkit.sources.maps import KINDS, Field, TableMap
from trackkit.sources.report import SourceReport
from trackkit.sources.sheets import Sheet, is_parquet, open_sheet
from trackkit.sources.staging import STAGED, Staged, handed_on, nameless_path, quarantine_frame, refused, staged_path
from trackkit.sources.values import Clock

_EXPECTED = {
    "id": "neither a whole number nor a UUID", "count": "not a whole number", "amount": "not a number",
    "flag": "neither 0 nor 1", "code": "not a known code", "instant": "not an instant that exists",
}  # fmt: skip


def stage(
    found: Found, table_map: TableMap, folder: Path, clock: Clock, collapse_seconds: int, hiding: Hiding
) -> Staged:
    """Read one table file into Parquet in `folder` by its map: canonical rows, refused rows and the report.

    Rows are numbered from 1, the header left out. Streamed: memory does not grow with the file.
    """
    clock = Clock(table_map.zone) if table_map.zone else clock
    target = staged_path(folder, "parquet")
    reading = _Reading(open_sheet(found, table_map.known), table_map, clock, hiding)
    reading.sink(target)
    if reading.sheet.trouble and not is_parquet(found.path):  # not UTF-8, or cut short: again, from a readable copy
        mended = files.mend(found.path, nameless_path(folder, "csv"), allow_latin1=True)
        copy = open_sheet(Found(mended.path, found.relative), table_map.known)
        reading = _Reading(copy, table_map, clock, hiding, mended)
        reading.sink(target)
        mended.path.unlink()
    return reading.hand_on(target, SourceReport(found.relative, table_map.format, table_map.table), collapse_seconds)


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
    hiding: Hiding
    mended: Mended | None = None

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
        faults = [_Fault(marked, pl.lit("not UTF-8"))] if self.mended else []
        for name, fields in self.table_map.columns.items():
            if any(one.required for one in fields):
                read = [one for one in fields if one in self.places]
                empty = pl.all_horizontal([self._is_empty(one).fill_null(False) for one in read])
                named = " and ".join(repr(self._header(one)) for one in read)
                faults.append(_Fault(empty, pl.lit(f"no {name} (column {named})")))
        faults += [self._no_name(one) for one in self.places if one.kind == "text" and one.column in values.NAMES]
        return faults + [self._bad_value(one) for one in self.places if one.kind != "text"]

    def _no_name(self, one: Field) -> _Fault:
        reason = values.no_name(one.column, self._cell(one))
        return _Fault(reason.is_not_null(), reason)

    def _bad_value(self, one: Field) -> _Fault:
        what = pl.lit(f"' in column '{self._header(one)}' is {_EXPECTED[one.kind]}")
        reason = pl.concat_str(pl.lit("'"), self._cell(one).str.head(100), what)
        return _Fault(~self._is_empty(one), reason)

    def _header(self, one: Field) -> str:
        return self.sheet.headers[self.places[one]]

    def _cell(self, one: Field) -> pl.Expr:
        return pl.col(self.cells[self.places[one]])

    def _is_empty(self, one: Field) -> pl.Expr:
        """Whether a cell is empty; null where there is a value, so that its text costs nothing."""
        rest = pl.when(pl.col(one.name).is_null()).then(self._cell(one))
        return values.is_nothing(rest) if one.kind == "id" else values.is_missing(rest)

    def sink(self, target: Path) -> None:
        """Write the typed columns, the number of the first fault of each row, and the cells of faulty rows."""
        parsed = {one.name: _value(one, self._cell(one)) for one in self.places if one.kind != "instant"}
        instants = {one.name: self.cells[place] for one, place in self.places.items() if one.kind == "instant"}
        rows = values.with_instants(self.sheet.cells.with_columns(**parsed), instants)
        fault = [pl.when(one.wrong).then(pl.lit(place, pl.Int16)) for place, one in enumerate(self.faults)]
        rows = rows.with_columns(fault=pl.coalesce(fault or [pl.lit(None, pl.Int16)]))
        as_stood = [pl.when(pl.col("fault").is_not_null()).then(pl.col(cell)).alias(cell) for cell in self.cells]
        typed = {name: self._column(fields) for name, fields in self.table_map.columns.items()}
        rows = rows.select("source_row", "fault", *as_stood, **typed, **self._clock_tallies())
        rows = self.hiding.rows(rows, dict.fromkeys(self.cells, "text") | self._kinds())
        for name, expression in self.table_map.derive.items():
            rows = rows.with_columns(expression.alias(name))
        try:
            rows.sink_parquet(target, **STAGED)
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
            source_file=pl.lit(report.path), source=pl.lit(report.format),
            collapse_seconds=pl.lit(collapse_seconds, pl.Int32),
        )  # fmt: skip
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
        reason = pl.coalesce([pl.when(pl.col("fault") == i).then(one.reason) for i, one in enumerate(self.faults)]
                             or [pl.lit("")])  # fmt: skip
        text = pl.concat_str(self.cells, separator=self.sheet.separator or ",")
        wrong = rows.filter(pl.col("fault").is_not_null()).select("source_row", reason=reason, text=text).collect()
        ragged = self.sheet.ragged
        last = rows.select(pl.len()).collect().item() + len(ragged)
        unread = quarantine_frame([*ragged, *self._lost(last + 1)], report)
        return pl.concat([refused(wrong, report), unread]).sort("source_row")

    def _lost(self, row: int) -> list[tuple[int, str, str]]:
        """Return what stopped the reading of the whole file, as refused rows after the last one read."""
        lost = [f"the rest of the file cannot be read: {trouble}" for trouble in self.sheet.trouble]
        if self.mended and self.mended.cut is not None:
            lost.append(f"the file is cut here and the rest of it is lost: {self.mended.reason}")
        text = (self.mended.cut if self.mended else None) or ""
        return [(row + place, reason, text) for place, reason in enumerate(lost)]

    def _account(self, rows: pl.LazyFrame, report: SourceReport, quarantined: int) -> None:
        accepted = pl.col("fault").is_null()
        is_dated = "occurred_at" in schema.TABLES[report.table].sourced
        undated = pl.col("occurred_at").is_null() if is_dated else pl.lit(False)
        tallies = {name: (accepted & pl.col(f"_{name}")).sum() for name in ("local", "twice", "skipped")}
        sums = rows.select(kept=accepted.sum(), undated=(accepted & undated).sum(), **tallies).collect()
        counts = sums.row(0, named=True)
        report.read, report.quarantined, report.undated = counts["kept"] + quarantined, quarantined, counts["undated"]
        report.assumptions += self.clock.notes(counts["local"], counts["twice"], counts["skipped"])
        if self.mended and self.mended.is_latin1:
            report.assumptions.append("the text is not UTF-8 and was read as Latin-1")
        used = set(self.places.values())
        report.ignored_columns = [name for place, name in enumerate(self.sheet.headers) if place not in used]
        report.unknown_types = self._unknown_types(rows.filter(accepted))

    def _unknown_types(self, accepted: pl.LazyFrame) -> dict[str, int]:
        if self.table_map.unknown_type is None:
            return {}
        words = accepted.select(word=self.table_map.unknown_type).drop_nulls()
        counts = words.group_by("word").agg(pl.len()).sort("word").collect()
        return dict(counts.iter_rows())


_VALUES = {"id": values.reference, "count": values.whole, "amount": values.number, "flag": values.flag}


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
