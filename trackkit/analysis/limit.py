"""One limit of what figures can say, and the numbers behind it."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import NamedTuple


class Limit(NamedTuple):
    """One limit and the numbers behind it."""

    limit: str
    count: int | None = None
    total: int | None = None
    at: datetime | None = None
    until: datetime | None = None
    code: int | None = None
    table: str | None = None
    concerns: Sequence[str] = ()


def counted(name: str, count: int | None, total: int | None = None) -> Iterator[Limit]:
    """Yield a limit where there is something to count."""
    if count:
        yield Limit(name, count, total)
