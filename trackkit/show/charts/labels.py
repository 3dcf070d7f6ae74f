"""Words at the ends of lines, in place of a legend: where they stand, so that none covers another."""

from collections.abc import Sequence

import polars as pl

from trackkit.show.wording import clipped

__all__ = ["ends"]

LONGEST_LABEL = 20  # letters: more would leave no room for the lines on a telephone
LINE = 17  # pixels between two lines of words


def ends(rows: pl.DataFrame, x: str, y: str, name: str, height: int, top: float) -> pl.DataFrame:
    """Return the last point of each line with the place of its label: `x`, `name`, `label`, `label_y`.

    In: rows by `name`; `height` is that of the plot in pixels, and `top` the value at its upper edge. Labels
    keep the order of the values, at least a line apart, and inside the plot.

    >>> lines = pl.DataFrame({"at": [1, 1], "share": [0.5, 0.49], "name": ["a", "b"]})
    >>> ends(lines, "at", "share", "name", 150, 1.0)["label_y"].round(2).to_list()
    [0.5, 0.39]
    """
    last = rows.sort(x).unique(name, keep="last", maintain_order=True).sort(y, name, descending=[True, False])
    apart = top * LINE / height
    places = _apart(last[y].to_list(), apart)
    labels = [clipped(word, LONGEST_LABEL) for word in last[name]]
    return last.select(x, name=name).with_columns(
        label=pl.Series(labels, dtype=pl.String), label_y=pl.Series(places, dtype=pl.Float64)
    )


def _apart(values: Sequence[float], apart: float) -> list[float]:
    """Falling places near falling values, so far apart; the lowest is not below half a line."""
    places: list[float] = []
    for value in values:
        places.append(min(value, places[-1] - apart) if places else value)
    floor = 0.5 * apart
    for index in reversed(range(len(places))):
        places[index] = max(places[index], floor)
        floor = places[index] + apart
    return places
