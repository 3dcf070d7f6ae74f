"""The door of what is shown: frames of pandas and others become polars, by narwhals; metrics of one's own are known."""

from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import polars as pl

from trackkit.metrics import CURRENCY, METRICS, named, own_among

P = ParamSpec("P")
R = TypeVar("R")


def any_frame(function: Callable[P, R]) -> Callable[P, R]:
    """Return the function, taking frames of pandas and others, and lazy frames, where it takes those of polars.

    Where it takes the name of a metric, it takes a metric too, such as one made by `trackkit.metric`.

    >>> import pandas as pd
    >>> any_frame(lambda frame: frame["delivered"].to_list())(pd.DataFrame({"delivered": [2, None]}))
    [2, None]
    """

    @wraps(function)
    def taking(*args: P.args, **options: P.kwargs) -> R:
        given: Any = [named(in_polars(value)) for value in args]
        by_name: Any = {name: named(in_polars(value)) for name, value in options.items()}
        with METRICS.having(own_among([*args, *options.values()])):
            return function(*given, **by_name)

    return taking


def in_polars(value: Any) -> Any:
    """Return a frame as one of polars, in memory; anything else as it is.

    pandas has no whole numbers beside unknown ones: counts among the metrics become whole again.
    """
    if isinstance(value, pl.LazyFrame):
        return value.collect()
    if isinstance(value, pl.DataFrame) or not (hasattr(value, "columns") and hasattr(value, "shape")):
        return value
    import narwhals as nw

    if not nw.dependencies.is_into_dataframe(value):
        return value
    frame = nw.from_native(value, eager_only=True).to_polars()
    fractions = [name for name, dtype in frame.schema.items() if dtype.is_float() and _is_count(name)]
    return frame.with_columns(pl.col(fractions).fill_nan(None).cast(pl.Int64, strict=False))


def _is_count(name: str) -> bool:
    return name in METRICS and not METRICS[name].is_rate and METRICS[name].unit != CURRENCY
