"""A frame as a table to sort, search and turn over in JupyterLab: its columns, and its cells as our tables show them.

The table is a widget of itables, which brings its JavaScript along: nothing is fetched. Cells are texts; figures are
sorted as the numbers that they say, an unknown one, which is empty, as the least.
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
    "text_in_header_can_be_selected": False,  # a click there sorts
    "maxBytes": 0,
    "maxColumns": 0,
}


def interactive(frame: pl.DataFrame) -> Any:
    """Return a frame as a table to sort, search and turn over: a widget of itables, for JupyterLab.

    In: any frame of at most 20,000 rows, best one of `measure`, whose metrics have their labels and units, and whose
    rates stand beside their parts. A click on a heading sorts by it. What is unknown is empty. Pages of reports hold no
    scripts and take our other tables. Raises RequestError for more rows, and without the extra `lab`.

    >>> table = interactive(pl.DataFrame({"domain": ["a.example"], "open_rate": [0.5], "delivered": [4]}))
    >>> table.df.to_dicts()
    [{'Domain': 'a.example', 'Open rate (recipients)': '50.0%', 'Success (without control addresses)': '4'}]
    """
    try:
        from itables.widget import ITable
    except ModuleNotFoundError as error:
        raise RequestError("itables is not installed here; `pip install 'trackkit[lab]'` brings it.") from error
    cells, options = presented(frame)
    return ITable(cells, **options)


def presented(frame: pl.DataFrame) -> tuple[pl.DataFrame, dict[str, Any]]:
    """Return the cells of a frame under their headings, and the options of itables for them."""
    if frame.height > MOST_ROWS:
        raise RequestError(f"A table of {frame.height:,} rows cannot be read: measure fewer groups.")
    texts = [pl.Series(heading, _texts(frame, name), pl.String) for name, heading in _headings(frame.columns).items()]
    figures = [place for place, dtype in enumerate(frame.dtypes) if dtype.is_numeric()]
    return pl.DataFrame(texts), OPTIONS | {"columnDefs": [{"targets": figures, "type": "num-fmt"}]}


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
        pairs = zip(values, wholes, strict=True)
        return ["" if value is None else figure(metric, value, of=of) for value, of in pairs]
    if dtype in (pl.Date, pl.Datetime):
        zone = getattr(dtype, "time_zone", None) or "UTC"
        return [instant(value, zone) for value in values]
    if dtype.is_numeric():
        return ["" if value is None else number(value, 2 if dtype.is_float() else 0) for value in values]
    unknown = UNKNOWN if name in BREAKDOWNS else ""
    return [unknown if value is None else clipped(value, LONGEST) for value in values]
