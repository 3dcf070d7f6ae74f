"""Lines among the rows of a table that are no rows: repeated headers, as in joined exports, and empty lines."""

from collections.abc import Callable, Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from trackkit.sources.maps import plain_name

_OTHER = "a header with other columns stands above: {0}"


class Headings:
    """Detects repetitions of a table's header among its rows.

    A repeated header is dropped; if its columns are in another order, the rows after it are reordered; after another
    header, rows are refused until the first one returns. `knows` counts the names that the table's map knows: a header
    may be repeated in the names of another export.
    """

    def __init__(self, headers: list[str], knows: Callable[[list[str]], int] = len) -> None:
        self.headers = [_plain(header) for header in headers]
        self.knows = knows
        self.order: list[int] | None = list(range(len(headers)))
        self.other_header = ""
        self.repeated = self.reordered = self.empty = 0
        spellings = [spelling for name in headers for spelling in (name, name.strip(), "\ufeff" + name) if name.strip()]
        self.first_cells = pa.array(dict.fromkeys(spellings), pa.string())

    @property
    def notes(self) -> list[str]:
        """What was dropped or reordered."""
        notes = [f"the header stands again {self.repeated:,} times and was read as no row"] if self.repeated else []
        if self.reordered:
            notes.append(f"{self.reordered:,} times with its columns in another order, which was followed")
        return notes + ([f"{self.empty:,} rows of nothing but separators were left out"] if self.empty else [])

    def is_blank(self, text: str, separator: str) -> bool:
        """Return whether a ragged row is empty, and count it if so."""
        is_empty = not text.strip(separator + " \r\n")
        self.empty += is_empty
        return is_empty

    def rows(self, batch: pa.RecordBatch, refused: list[tuple[int, str, str]]) -> Iterator[pa.RecordBatch]:
        """Yield the rows of a batch without headers, their cells in the order of the first header."""
        start, candidates = 0, self._may_be_header(batch)
        for row in np.flatnonzero(candidates).tolist() if candidates.true_count else ():
            texts = [column[row].as_py() for column in batch.columns[:-1]]
            cells = [_plain(cell) for cell in texts]
            if not self._is_header(cells, texts):
                continue
            yield from self._rows(batch.slice(start, row - start), refused)
            self._switch_header(cells, texts)
            start = row + 1
        yield from self._rows(batch.slice(start) if start else batch, refused)

    def _may_be_header(self, batch: pa.RecordBatch) -> pa.BooleanArray:
        """Whether a row begins like the header, or has no digit in any cell."""
        has_no_digit = pc.greater(batch.column(0), "9~")  # fast when the first column holds ids or instants
        for column in batch.columns[:-1]:
            if not has_no_digit.true_count:
                break
            has_no_digit = pc.and_(has_no_digit, pc.invert(pc.match_substring_regex(column, "[0-9]")))
        return pc.or_(has_no_digit, pc.is_in(batch.column(0), value_set=self.first_cells))

    def _is_header(self, cells: list[str], texts: list[str]) -> bool:
        shared = set(self.headers).intersection(filter(None, cells))
        if len(shared) > len(cells) / 2:
            return True
        return self.knows is not len and self.knows(texts) > len(cells) / 2

    def _switch_header(self, cells: list[str], texts: list[str]) -> None:
        self.repeated += 1
        if sorted(cells) != sorted(self.headers):
            self.order, self.other_header = None, ", ".join(texts)[:200]
            return
        self.reordered += cells != self.headers
        remaining = list(enumerate(cells))
        self.order = []
        for header in self.headers:  # a name may occur twice: pairs are matched in order
            index = next(position for position, (_, cell) in enumerate(remaining) if cell == header)
            self.order.append(remaining.pop(index)[0])

    def _rows(self, batch: pa.RecordBatch, refused: list[tuple[int, str, str]]) -> Iterator[pa.RecordBatch]:
        if not batch.num_rows:
            return
        batch = self._without_empty(batch)
        if self.order is None:
            rows = zip(*(column.to_pylist() for column in batch.columns), strict=True)
            refused += [(row, _OTHER.format(self.other_header), ";".join(cells)) for *cells, row in rows]
        elif self.order == list(range(len(self.order))):
            yield batch
        else:
            columns = [*(batch.column(place) for place in self.order), batch.column(batch.num_columns - 1)]
            yield pa.RecordBatch.from_arrays(columns, schema=batch.schema)

    def _without_empty(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        blanks = (pc.equal(pc.binary_length(column), 0) for column in batch.columns[:-1])  # lazy
        is_empty = next(blanks)
        while is_empty.true_count and (blank := next(blanks, None)) is not None:
            is_empty = pc.and_(is_empty, blank)
        if not is_empty.true_count:
            return batch
        self.empty += is_empty.true_count
        return batch.filter(pc.invert(is_empty))


def _plain(header: str) -> str:
    return plain_name(header) or header.strip()
