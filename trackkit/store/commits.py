"""What one load commits, and the refusal of a load that another one overtook."""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple

from trackkit.errors import RequestError

SEEN = "loads"  # in each entry of a table's log: how many entries `load` had when its writer began


class OvertakenError(RequestError):
    """Another load wrote at the same time: nothing of this one counts, and it can be repeated."""

    def __init__(self, location: str) -> None:
        super().__init__(
            f"Another load wrote to {location!r} at the same time, and this one lost: nothing was kept; load again."
        )


class Commit(NamedTuple):
    """One load, as the table `load` holds it: what it brought, the version of every table after it, and the settings.

    A store from before there were settings has the time zone of its last load.
    """

    number: int
    load_id: str
    loaded_at: datetime
    versions: dict[str, int]
    settings: dict[str, str]

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> "Commit":
        """Build a commit from a row of `load`."""
        settings = json.loads(row["settings"] or "{}")
        named = [row[name] for name in cls._fields[:3]]
        return cls(*named, json.loads(row["versions"]), {"timezone": row["timezone"]} | settings)

    @property
    def timezone(self) -> str:
        """The platform's time zone."""
        return self.settings["timezone"]
