"""What stands among the rows of a table and is none: its header once more, as in joined exports, and empty rows."""

from collections.abc import Callable, Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from trackkit.sources.maps import plain_name

_OTHER = "a header with other columns stands above: {0}"


class Headings:
    """The header of a table, looked for among its rows.

    The same header is no row; with its columns in another order it is followed; after another one, rows are refused
    until a known one stands again. `knows` says of how many names the map of the table has heard: a header may stand
    again in the names of another export.
    """

    def __init__(self, headers: list[str], knows: Callable[[list[str]], int] = len) -> None:
        self.headers = [_plain(header) for header in headers]
        self.knows = knows
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
        start, may_be = 0, self._may_be_header(batch)
        for place in np.flatnonzero(may_be).tolist() if may_be.true_count else ():
            written = [column[place].as_py() for column in batch.columns[:-1]]
            cells = [_plain(cell) for cell in written]
            if not self._is_header(cells, written):
                continue
            yield from self._part(batch.slice(start, place - start), refused)
            self._turn(cells, written)
            start = place + 1
        yield from self._part(batch.slice(start) if start else batch, refused)

    def _may_be_header(self, batch: pa.RecordBatch) -> pa.BooleanArray:
        """Whether a row begins as the header does, or has words alone: no digit in any cell."""
        words = pc.greater(batch.column(0), "9~")  # told at once where the first column holds ids or instants
        for column in batch.columns[:-1]:
            if not words.true_count:
                break
            words = pc.and_(words, pc.invert(pc.match_substring_regex(column, "[0-9]")))
        return pc.or_(words, pc.is_in(batch.column(0), value_set=self.begin))

    def _is_header(self, cells: list[str], written: list[str]) -> bool:
        shared = set(self.headers).intersection(filter(None, cells))
        if len(shared) > len(cells) / 2:
            return True
        return self.knows is not len and self.knows(written) > len(cells) / 2

    def _turn(self, cells: list[str], written: list[str]) -> None:
        self.again += 1
        if sorted(cells) != sorted(self.headers):
            self.order, self.other = None, ", ".join(written)[:200]
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
        blanks = (pc.equal(pc.binary_length(column), 0) for column in batch.columns[:-1])  # worked out one by one
        is_empty = next(blanks)
        while is_empty.true_count and (blank := next(blanks, None)) is not None:
            is_empty = pc.and_(is_empty, blank)
        if not is_empty.true_count:
            return batch
        self.empty += is_empty.true_count
        return batch.filter(pc.invert(is_empty))


def _plain(header: str) -> str:
    return plain_name(header) or header.strip()
