"""Conditions of paragraphs: `open_rate < 0.1`, or several joined by "and", on the figures of a page."""

import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from trackkit.errors import did_you_mean
from trackkit.metrics import METRICS

OPERATORS: Mapping[str, Callable[[float, float], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
HOW = "a condition is written 'open_rate < 0.1', with <, <=, > or >=; several are joined by 'and'"
_PART = re.compile(r"\s*(\w+)\s*(<=|>=|<|>)\s*(-?\d+(?:\.\d+)?)\s*")


@dataclass(frozen=True)
class Condition:
    """A comparison of a metric with a number: a rate is a fraction."""

    metric: str
    operator: str
    number: float

    def holds(self, figures: Mapping[str, float | None]) -> bool:
        """Whether the figures meet it; an unknown one never does."""
        value = figures.get(self.metric)
        return value is not None and OPERATORS[self.operator](value, self.number)


def conditions(text: str) -> list[Condition]:
    """Return the comparisons of a condition, which all must hold; ValueError for another text or an unknown metric.

    >>> conditions("open_rate < 0.1 and delivered >= 1000")[1]
    Condition(metric='delivered', operator='>=', number=1000.0)
    """
    found = []
    for part in re.split(r"\band\b", text):
        match = _PART.fullmatch(part)
        if match is None:
            raise ValueError(f"{part.strip()[:60]!r} is no condition: {HOW}")
        name, sign, number = match.groups()
        if name not in METRICS:
            raise ValueError(f"there is no metric {name!r}.{did_you_mean(name, METRICS)}")
        found.append(Condition(name, sign, float(number)))
        if METRICS[name].is_rate and not 0 <= found[-1].number <= 1:
            raise ValueError(f"{name!r} is a rate, which is a fraction: 10 % is 0.1, not {number}")
    return found
