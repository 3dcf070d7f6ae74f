"""What stands among the rows of a table and is none: its header once more, as in joined exports, and empty rows."""

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

_OTHER = "a header with other columns stands above: {0}"


class Headings:
    """The header of a table, looked for among its rows.

    The same header is no row; with its columns in another order it is followed; after another one, rows are refused
    until a known one stands again.
    """

    def __init__(self, headers: list[str]) -> None:
        self.headers = [_plain(header) for header in headers]
        self.order: list[int] | None = list(range(len(headers)))
        self.other = ""
        self.again = self.moved = self.empty = 0
        bare = [spelled for name in headers for spelled in (name, name.strip(), "\ufeff" + name) if name.strip()]
        self.begin = pa.array(dict.fromkeys(bare), pa.string())

    @property
    def notes(self) -> list[str]:
        """What was found that is no row."""
        said = [f"the header stands again {self.again:,} times and was read as no row"] if self.again else []
        if self.moved:
            said.append(f"{self.moved:,} times with its columns in another order, which was followed")
        return said + ([f"{self.empty:,} rows of nothing but separators were left out"] if self.empty else [])

    def is_nothing(self, text: str, separator: str) -> bool:
        """Return whether a row of too few or too many cells holds nothing; such rows are counted."""
        is_empty = not text.strip(separator + " \r\n")
        self.empty += is_empty
        return is_empty

    def followed(self, batch: pa.RecordBatch, refused: list[tuple[int, str, str]]) -> Iterator[pa.RecordBatch]:
        """Yield the rows of a batch with their cells in the order of the first header."""
        start, is_known = 0, pc.is_in(batch.column(0), value_set=self.begin)
        for place in np.flatnonzero(is_known) if is_known.true_count else ():
            cells = [_plain(column[place].as_py()) for column in batch.columns[:-1]]
            if not self._is_header(cells):
                continue
            yield from self._part(batch.slice(start, place - start), refused)
            self._turn(cells)
            start = place + 1
        yield from self._part(batch.slice(start) if start else batch, refused)

    def _is_header(self, cells: list[str]) -> bool:
        shared = set(self.headers).intersection(filter(None, cells))
        return len(shared) > len(cells) / 2

    def _turn(self, cells: list[str]) -> None:
        self.again += 1
        if sorted(cells) != sorted(self.headers):
            self.order, self.other = None, ", ".join(cells)[:200]
            return
        self.moved += cells != self.headers
        left = list(enumerate(cells))
        self.order = []
        for header in self.headers:  # names may stand twice: the first of one is the first of the other
            place = next(at for at, (_, cell) in enumerate(left) if cell == header)
            self.order.append(left.pop(place)[0])

    def _part(self, batch: pa.RecordBatch, refused: list[tuple[int, str, str]]) -> Iterator[pa.RecordBatch]:
        if not batch.num_rows:
            return
        batch = self._without_empty(batch)
        if self.order is None:
            rows = zip(*(column.to_pylist() for column in batch.columns), strict=True)
            refused += [(row, _OTHER.format(self.other), ";".join(cells)) for *cells, row in rows]
        elif self.order == list(range(len(self.order))):
            yield batch
        else:
            columns = [*(batch.column(place) for place in self.order), batch.column(batch.num_columns - 1)]
            yield pa.RecordBatch.from_arrays(columns, schema=batch.schema)

    def _without_empty(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        is_empty = None
        for column in batch.columns[:-1]:
            blank = pc.equal(pc.binary_length(column), 0)
            is_empty = blank if is_empty is None else pc.and_(is_empty, blank)
            if not is_empty.true_count:
                return batch
        self.empty += is_empty.true_count
        return batch.filter(pc.invert(is_empty))


def _plain(header: str) -> str:
    return header.removeprefix("\ufeff").strip().casefold()
