"""A frame as a table to sort, search and turn over in JupyterLab: its columns, and its cells as our tables show them.

The table is a widget of itables, which brings its JavaScript along: nothing is fetched. Cells are texts; beside each
column of figures or instants there is a hidden one of their values, by which it is sorted.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import polars as pl

from trackkit.errors import RequestError
from trackkit.metrics import BREAKDOWNS, METRICS, bounds_of
from trackkit.show.cells import UNKNOWN, headline, label_of
from trackkit.show.wording import clipped, figure, instant, number

MOST_ROWS = 20_000
LONGEST = 80  # letters of a cell
# As given to itables: what it would guess from a frame is said here.
OPTIONS = {
    "style": "table-layout:auto;width:auto;margin:0",
    "classes": "display compact",
    "show_dtypes": False,
    "format_floats_in_python": False,
    "maxBytes": 0,
    "maxColumns": 0,
}


def interactive(frame: pl.DataFrame) -> Any:
    """Return a frame as a table to sort, search and turn over: a widget of itables, for JupyterLab.

    In: any frame of at most 20,000 rows, best one of `measure`, whose metrics have their labels and units, and whose
    rates stand beside their parts. A click on a heading sorts by it, by values and not by their texts. Pages of reports
    hold no scripts and take our other tables. Raises RequestError for more rows, and without the extra `lab`.

    >>> table = interactive(pl.DataFrame({"domain": ["a.example"], "open_rate": [0.5], "delivered": [4]}))
    >>> table.df.columns[:2], table.df.row(0)[:3]
    (['Domain', 'Open rate (recipients)'], ('a.example', '50.0%', '4'))
    """
    try:
        from itables.widget import ITable
    except ModuleNotFoundError as error:
        raise RequestError("itables is not installed here; `pip install 'trackkit[lab]'` brings it.") from error
    cells, options = presented(frame)
    return ITable(cells, **options)


def presented(frame: pl.DataFrame) -> tuple[pl.DataFrame, dict[str, Any]]:
    """Return the cells of a frame, after them the hidden columns to sort by, and the options of itables for both."""
    if frame.height > MOST_ROWS:
        raise RequestError(f"A table of {frame.height:,} rows cannot be read: measure fewer groups.")
    headings = _headings(frame.columns)
    texts = [pl.Series(headings[name], _texts(frame, name), pl.String) for name in frame.columns]
    sorted_by = [name for name, dtype in frame.schema.items() if dtype.is_numeric() or dtype.is_temporal()]
    values = [frame[name].to_physical().alias(f"values of {headings[name]}") for name in sorted_by]
    orders: list[dict[str, Any]] = [
        {"targets": frame.columns.index(name), "orderData": [place], "className": "dt-right"}
        for place, name in enumerate(sorted_by, frame.width)
    ]
    hidden = {"targets": list(range(frame.width, frame.width + len(values))), "visible": False, "searchable": False}
    return pl.DataFrame([*texts, *values]), OPTIONS | {"columnDefs": [*orders, hidden]}


def _headings(columns: Sequence[str]) -> dict[str, str]:
    """The heading of each column: its label, or its own name where two columns would have one label."""
    words = {name: _heading(name) for name in columns}
    counts = Counter(words.values())
    return {name: word if counts[word] == 1 else name for name, word in words.items()}


def _heading(name: str) -> str:
    if metric := _metric(name):
        end = {bounds_of(metric)[0]: ", lower bound", bounds_of(metric)[1]: ", upper bound"}.get(name, "")
        return f"{label_of(metric)}{end}"
    return headline(name) if name in BREAKDOWNS else name


def _metric(name: str) -> str:
    """The metric of which a column holds values, or bounds; empty for other columns."""
    return next((each for each in (name, name.removesuffix("_low"), name.removesuffix("_high")) if each in METRICS), "")


def _texts(frame: pl.DataFrame, name: str) -> list[str]:
    """The cells of a column: figures in their units, instants by their clock, text free of what harms or identifies."""
    values, dtype = frame[name].to_list(), frame.schema[name]
    if metric := _metric(name):
        whole = METRICS[metric].denominator
        wholes = frame[whole].to_list() if whole in frame.columns else [None] * frame.height
        return [figure(metric, value, of=of) for value, of in zip(values, wholes, strict=True)]
    if dtype in (pl.Date, pl.Datetime):
        zone = getattr(dtype, "time_zone", None) or "UTC"
        return [instant(value, zone) for value in values]
    if dtype.is_numeric():
        return [number(value, 2 if dtype.is_float() else 0) for value in values]
    unknown = UNKNOWN if name in BREAKDOWNS else ""
    return [unknown if value is None else clipped(value, LONGEST) for value in values]
