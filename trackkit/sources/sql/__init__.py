"""SQL databases as sources. SQLAlchemy, which is slow to import, is imported only when a database is read."""

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
    """Return the formats whose databases can be read."""
    return [ADOBE_EXPORT, *all_table_formats("database")]


# A malformed URL: taken for a file, its password would appear in the message that the file does not exist.
_MISWRITTEN = re.compile(r"\s*(postgres\w*|mysql|mariadb)(\+\w+)?(:|//).*@", re.IGNORECASE | re.DOTALL)


def is_database(source: object) -> bool:
    """Return whether a source is the URL of a database, and no file."""
    return "://" in str(source) or _MISWRITTEN.match(str(source)) is not None
