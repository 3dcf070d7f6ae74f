"""SQL databases as sources. What needs SQLAlchemy, whose import takes long, is imported when one is read."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta

from trackkit.sources.table_formats import ADOBE_EXPORT, all_table_formats


@dataclass(frozen=True)
class Since:
    """How far earlier loads read each table (its newest instant, as text), and how much before that is read again."""

    marks: Mapping[str, str] = field(default_factory=dict)
    overlap: timedelta = timedelta(days=2)


def products() -> list[str]:
    """Return the formats of whose products databases are read."""
    return [ADOBE_EXPORT, *all_table_formats("database")]


# A URL written wrongly: taken for a file, its password would stand in the message that there is none.
_MISWRITTEN = re.compile(r"\s*(postgres\w*|mysql|mariadb)(\+\w+)?(:|//).*@", re.IGNORECASE | re.DOTALL)


def is_database(source: object) -> bool:
    """Return whether a source is the URL of a database, and no file."""
    return "://" in str(source) or _MISWRITTEN.match(str(source)) is not None
