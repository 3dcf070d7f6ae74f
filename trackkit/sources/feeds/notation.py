"""How the single values of a map are written (`feed`), and what checks them."""

from typing import Annotated, Literal

import polars as pl
from pydantic import AfterValidator, StringConstraints

from trackkit import schema
from trackkit.errors import RequestError
from trackkit.sources.feeds.paths import alternatives
from trackkit.sources.values import Clock

Engine = Literal["json", "table", "access_log"]
EventType = Literal[schema.EVENT_TYPES]  # type: ignore[valid-type]
BounceClass = Literal[schema.BOUNCE_CLASSES]  # type: ignore[valid-type]


def _paths(text: str) -> str:
    try:
        alternatives(text)
    except RequestError as error:
        raise ValueError(str(error)) from None
    return text


def _pattern(text: str) -> str:
    try:
        pl.Series([""]).str.contains(text)
    except pl.exceptions.ComputeError as error:
        raise ValueError(f"{text!r} is no regular expression: {str(error).splitlines()[0]}") from None
    return text


def _zone(text: str) -> str:
    try:
        return Clock(text).zone
    except RequestError as error:
        raise ValueError(str(error)) from None


Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*$", max_length=60)]
Paths = Annotated[str, StringConstraints(min_length=1, max_length=1000), AfterValidator(_paths)]
Pattern = Annotated[str, AfterValidator(_pattern)]
Zone = Annotated[str, AfterValidator(_zone)]
Condition = dict[Paths, str | list[str] | bool]
