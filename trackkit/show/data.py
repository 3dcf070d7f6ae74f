"""The data of a table or chart, as it travels beside its picture: raw values, for downloads and other programs."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any, Literal

from trackkit.language import say
from trackkit.show.wording import LONGEST_TITLE, NOT_AVAILABLE, clipped, instant, number, percent, plain

LONGEST = 90  # letters of a text that is shown
MIME = "application/vnd.trackkit.table+json"
Kind = Literal["count", "share", "average", "amount", "instant", "text"]


@dataclass(frozen=True)
class DataField:
    """One column of the data: its name, its heading in the reader's language, and the kind of its values."""

    name: str
    label: str
    kind: Kind


def table_data(name: str, fields: Sequence[DataField], rows: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Return a table as plain data: `name`, `columns` (name, label, kind) and `rows`.

    Values are raw: rates as fractions, instants as ISO 8601 in UTC, unknown ones None. Text is free of control
    characters and of what identifies a person, and of a length that can be read, as on the page.

    >>> table_data("links", [DataField("url", "URL", "text")], [{"url": "mailto:jane@a.example"}])["rows"]
    [['mailto:j***@a.example']]
    """
    return {
        "name": name,
        "columns": [{"name": field.name, "label": plain(field.label), "kind": field.kind} for field in fields],
        "rows": [[raw(row[field.name]) for field in fields] for row in rows],
    }


def raw(value: Any) -> Any:
    """Return a value as JSON has it.

    >>> raw(datetime(2026, 11, 23, 14, 5, tzinfo=UTC)), raw(date(2026, 11, 23)), raw(0.5), raw(None)
    ('2026-11-23T14:05:00Z', '2026-11-23', 0.5, None)
    """
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, datetime):
        return (value.astimezone(UTC) if value.tzinfo else value).replace(tzinfo=None).isoformat() + "Z"
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, list):
        value = ", ".join(map(str, value))
    return clipped(value, LONGEST_TITLE)


def shown(value: Any, kind: str, timezone: str, lang: str) -> str:
    """Return a raw value of a table's data as a reader sees it.

    >>> shown(0.378, "share", "UTC", "en"), shown(None, "count", "UTC", "en"), shown(1200, "count", "UTC", "en")
    ('37.8%', 'n/a', '1,200')
    """
    if value is None:
        return "" if kind in ("text", "instant") else say(NOT_AVAILABLE, lang)
    match kind:
        case "share":
            return percent(value, 1, lang)
        case "average" | "amount":
            return number(value, 2, lang)
        case "count":
            return number(value, 0 if float(value).is_integer() else 2, lang)
        case "instant":
            day_only = "T" not in value
            return instant(
                date.fromisoformat(value) if day_only else datetime.fromisoformat(value), timezone, lang=lang
            )
    return clipped(value, LONGEST)
