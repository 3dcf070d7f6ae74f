"""SQL over the canonical tables: one SELECT, read by polars, refused in one sentence where it cannot be answered."""

import re
from collections.abc import Mapping

import polars as pl
import polars.selectors as cs
from polars.exceptions import PolarsError

from trackkit import schema
from trackkit.errors import RequestError, did_you_mean

_BEGINNINGS = ("SELECT", "WITH", "FROM", "(", "SHOW TABLES", "EXPLAIN")
_BEFORE = re.compile(r"\A(?:\s+|--[^\n]*|/\*.*?\*/)*", re.DOTALL)  # blanks and comments
_FILES = re.compile(r"\b(?:read|scan)_(?:csv|parquet|ipc|json|ndjson|delta|iceberg)\s*\(", re.IGNORECASE)
_NO_TABLE = re.compile(r"relation '(.*?)' was not found")
_NO_COLUMN = re.compile(r"unable to find column [\"'](.*?)[\"']|no column named '(.*?)' found|Column '(.*?)' not found")
_LONGEST = 200  # letters of polars' own words


def answer(query: str, tables: Mapping[str, pl.LazyFrame]) -> pl.LazyFrame:
    """Return the lazy answer to one SELECT over tables, whose enumerations become text.

    Raises RequestError for what is no SELECT, and for a table or column that is not there.

    >>> answer("SELECT sum(sent) AS sent FROM delivery", {"delivery": pl.LazyFrame({"sent": [2, 3]})}).collect().item()
    5
    """
    _require_select(query)
    frames = {name: rows.with_columns(cs.enum().cast(pl.String)) for name, rows in tables.items()}
    try:
        answered = pl.SQLContext(frames).execute(query, eager=False)
        answered.collect_schema()  # else an unknown column is found when rows are read
    except PolarsError as error:
        raise _refusal(str(error), query, frames) from None
    return answered


def _require_select(query: str) -> None:
    begun = _BEFORE.sub("", query)
    if not begun.upper().startswith(_BEGINNINGS):
        words = begun.split(maxsplit=1)
        raise RequestError(
            f"A store is only read by SQL: a query begins with SELECT or WITH, not {words[0][:40]!r}."
            if words
            else 'The query is empty; try "SELECT event_type, count(*) FROM event GROUP BY event_type".'
        )
    if match := _FILES.search(begun):
        raise RequestError(f"SQL reads the tables of the store alone, not files: leave {match[0]!r} out.")


def _refusal(words: str, query: str, tables: Mapping[str, pl.LazyFrame]) -> RequestError:
    """What polars found wrong, in one sentence, with the nearest word."""
    if match := _NO_TABLE.search(words):
        if match[1] in schema.TABLES:
            return RequestError(f"No load brought the table {match[1]!r}. Loaded: {', '.join(tables)}.")
        return RequestError(f"There is no table {match[1]!r}.{did_you_mean(match[1], tables)}")
    if match := _NO_COLUMN.search(words):
        name = next(filter(None, match.groups())).rpartition(".")[2]
        named = [table for table in tables if re.search(rf"\b{table}\b", query, re.IGNORECASE)]
        known = {column for table in named for column in tables[table].collect_schema()}
        return RequestError(f"There is no column {name!r} in {' or '.join(named)}.{did_you_mean(name, known)}")
    reason = words.split("\n")[0].removeprefix("sql parser error: ")
    return RequestError(f"The query is not understood: {reason[:_LONGEST]}.")
