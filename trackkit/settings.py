"""What a `trackkit.toml` may settle, checked strictly."""

from pathlib import Path
from typing import Annotated
from zoneinfo import available_timezones

from pydantic import AfterValidator, Field

from trackkit import toml
from trackkit.errors import did_you_mean
from trackkit.toml import Strict


def _zone(name: str) -> str:
    if name not in available_timezones():
        raise ValueError(f"there is no time zone {name!r}.{did_you_mean(name, available_timezones())}")
    return name


_Names = Annotated[list[str], Field(min_length=1, description='a list of names, as ["en"]')]


class Settings(Strict):
    """What a `trackkit.toml` settles; None leaves it to the command line, or to what is usual."""

    store: str | None = None
    out: str | None = None
    timezone: Annotated[str, AfterValidator(_zone)] | None = None
    languages: _Names | None = None
    formats: _Names | None = None
    definitions: str | None = None
    keep: Annotated[int, Field(ge=1, description="a whole number from 1")] | None = None
    retention: str | None = None
    templates: str = "."


def read(path: Path) -> Settings:
    """Return the settings of a `trackkit.toml`; RequestError naming file, key and the nearest word."""
    return toml.read(path, Settings)
