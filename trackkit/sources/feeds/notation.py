"""How the single values of a map are written (`feed`), and what checks them."""

import re
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


def _status(text: str) -> str:
    if not re.fullmatch(r"[1-5](?:[0-9]{2}|xx)", text):
        raise ValueError(f"{text[:100]!r} is no status; write one as '302', or all of a kind as '3xx'")
    return text


def _before(given: str | list[str]) -> str | list[str]:
    if isinstance(given, str):
        if given != "any":
            raise ValueError(f"{given[:100]!r} is not known; write 'any', or list parts, as ['shop', 'index.php']")
        return given
    if wrong := next((one for one in given if re.search(r"[/?#\s]|^$", one)), None):
        raise ValueError(f"{wrong[:100]!r} is no part of a path; write it without '/', as 'index.php'")
    return given


def _zone(text: str) -> str:
    try:
        return Clock(text).zone
    except RequestError as error:
        raise ValueError(str(error)) from None


Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*$", max_length=60)]
Paths = Annotated[str, StringConstraints(min_length=1, max_length=1000), AfterValidator(_paths)]
Pattern = Annotated[str, AfterValidator(_pattern)]
Method = Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
Status = Annotated[str, AfterValidator(_status)]
Before = Annotated[str | list[str], AfterValidator(_before)]
Zone = Annotated[str, AfterValidator(_zone)]
Condition = dict[Paths, str | list[str] | bool]
