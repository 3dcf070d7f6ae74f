"""Words at the ends of lines, in place of a legend: where they stand, so that none covers another."""

from collections.abc import Sequence

import polars as pl

from trackkit.show.wording import clipped

__all__ = ["LONGEST_LABEL", "ends", "room_for"]

LONGEST_LABEL = 22  # letters
_LETTER, _LINE = 6.2, 15  # pixels of a letter, and between two lines
NARROWEST = 280  # pixels of the plot on a telephone


def ends(rows: pl.DataFrame, x: str, y: str, name: str, height: int, top: float) -> pl.DataFrame:
    """Return the last point of each line with the place of its label: `x`, `name`, `label`, `label_y`.

    In: rows by `name`; `height` is that of the plot in pixels, and `top` the value at its upper edge. Labels
    keep the order of the values, at least a line apart, and inside the plot.

    >>> lines = pl.DataFrame({"at": [1, 1], "share": [0.5, 0.49], "name": ["a", "b"]})
    >>> ends(lines, "at", "share", "name", 150, 1.0)["label_y"].round(2).to_list()
    [0.5, 0.4]
    """
    last = rows.sort(x).unique(name, keep="last", maintain_order=True).sort(y, name, descending=[True, False])
    apart = top * _LINE / height
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


def room_for(names: Sequence[str]) -> float:
    """Return the part of an axis, from 0 to 1, that labels after the last point need, on a telephone too.

    >>> room_for(["Chrome", "Safari"])
    0.2
    """
    longest = max((len(clipped(name, LONGEST_LABEL)) for name in names), default=0)
    return round(min(0.5, (longest * _LETTER + 18) / NARROWEST), 2)
