"""What one load commits, and the refusal of a load that another one overtook."""

import json
import random
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from deltalake.exceptions import CommitFailedError

from trackkit.errors import RequestError

if TYPE_CHECKING:
    from trackkit.store.lake import Lake

ATTEMPTS = 6  # how often something begins again because another load came between
_PAUSE = 1.0  # seconds at most before the second attempt; twice as long before each next one
_T = TypeVar("_T")
SEEN = "loads"  # in each entry of a table's log: how many entries `load` had when its writer began


class OvertakenError(RequestError):
    """Another load wrote at the same time: nothing of this one counts, and it can be repeated."""

    def __init__(self, location: str) -> None:
        super().__init__(
            f"Another load wrote to {location!r} at the same time, and this one lost: nothing was kept; load again."
        )


def among_others(lake: "Lake", act: Callable[[], _T]) -> _T:
    """Do something that ends in a commit; where one of another machine came between, again on top of it."""
    for attempt in range(ATTEMPTS):
        try:
            return act()
        except (OvertakenError, CommitFailedError) as error:
            overtaken = error if isinstance(error, OvertakenError) else OvertakenError(lake.location)
        except FileNotFoundError:  # deleted by a removal?
            if not lake.is_overtaken():
                raise
            overtaken = OvertakenError(lake.location)
        time.sleep(random.uniform(0, _PAUSE * 2**attempt) if attempt + 1 < ATTEMPTS else 0)
    raise overtaken


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
