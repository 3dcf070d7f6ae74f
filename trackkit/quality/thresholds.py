"""From when on a problem of the logs is a warning or a failure: the analysts' list, and how a share is judged by it."""

import tomllib
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model

from trackkit import resources
from trackkit.errors import RequestError, did_you_mean

LIST = "reports_templates/quality.toml"
PASS, WARN, FAIL = VERDICTS = ("pass", "warn", "fail")

Part = Annotated[float, Field(ge=0, le=1)]
Whole = Annotated[int, Field(ge=1)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    def __str__(self) -> str:
        return " ".join(f"{name}={value}" for name, value in self.model_dump(exclude_none=True).items())


class Share(_Strict):
    """Shares from which a count is a warning or a failure, and the count from which it says anything."""

    warn: Part
    fail: Part | None = None
    least: Whole = 1

    def judge(self, count: int, total: int) -> str:
        """Return the verdict on `count` of `total`.

        >>> Share(warn=0.01, fail=0.1, least=10).judge(10, 1000), Share(warn=0.01, least=10).judge(9, 9)
        ('warn', 'pass')
        """
        if count < self.least or not total:
            return PASS
        share = count / total
        return FAIL if self.fail is not None and share >= self.fail else WARN if share >= self.warn else PASS


class OfFiles(Share):
    """Of rows of files, or hits: where there are fewer than `least`, their share has limits of its own."""

    small_warn: Part = 0.1
    small_fail: Part = 0.5

    def judge_file(self, count: int, total: int) -> str:
        """Return the verdict on one file.

        >>> rows = OfFiles(warn=0.01, fail=0.1, least=10)
        >>> rows.judge_file(1, 4), rows.judge_file(9, 100), rows.judge_file(3, 3), rows.judge_file(10, 500)
        ('warn', 'pass', 'fail', 'warn')
        """
        if not count or not total:
            return PASS
        if count >= self.least:
            return self.judge(count, total)
        share = count / total
        return FAIL if share >= self.small_fail else WARN if share >= self.small_warn else PASS


class Sequence(Share):
    """Of numbers missing from a sequence."""

    jump: Whole
    restart: Whole
    dense: Part


class Early(Share):
    """Of hits before their message."""

    seconds: Whole


class Misdated(Share):
    """Of what is dated when it cannot have been."""

    seconds: Whole


class Untracked(Share):
    """Of deliveries without a hit."""

    hours: Whole
    messages: Whole


class Silence(_Strict):
    """Of hours without any hit."""

    busy: Whole
    fail_hours: Whole


class SilentServer(_Strict):
    """Of a server without hits."""

    busy: Whole
    expected: Whole
    day_hours: Whole
    fail: Part


class Skew(_Strict):
    """Of clocks that disagree."""

    least: Whole
    overlap: Part
    gain: Part


_SHARES = (
    "unknown_deliveries", "unknown_links", "unknown_messages", "unknown_statuses", "undated", "repeated_opens",
    "duplicated_forwarding",
)  # fmt: skip
_KINDS: dict[str, type[_Strict]] = {
    "gap_in_sequence": Sequence, "gap_in_time": Silence, "silent_server": SilentServer, "clock_skew": Skew,
    "before_send": Early, "misdated": Misdated, "tracking_missing": Untracked, **dict.fromkeys(_SHARES, Share),
    **dict.fromkeys(("corrupt_lines", "unknown_values", "unknown_types"), OfFiles),
}  # fmt: skip
# What a list may leave out: checks that came after some were copied.
_DEFAULTS = {
    "misdated": Misdated(warn=0.0, fail=0.1, seconds=60),
    "unknown_statuses": Share(warn=0.01, fail=0.1),
    "unknown_values": OfFiles(warn=0.01, fail=0.1, least=10),
}
Thresholds: Any = create_model(
    "Thresholds", __base__=_Strict, **{name: (kind, _DEFAULTS.get(name, ...)) for name, kind in _KINDS.items()}
)
CHECKS = tuple(_KINDS)


def thresholds(path: Path | None = None) -> Any:
    """Read the analysts' thresholds, the local copy before the shipped one: one attribute for each check.

    Raises RequestError naming the file, the key and what would work.

    >>> thresholds().gap_in_sequence.warn
    0.01
    """
    place = path or resources.find(LIST)
    return _read(place, place.stat().st_mtime_ns)


@lru_cache(maxsize=8)
def _read(path: Path, changed_at: int) -> Any:
    try:
        return Thresholds.model_validate(tomllib.loads(path.read_text("utf-8")))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RequestError(f"{path} is not TOML: {error}.") from None
    except ValidationError as error:
        # A misspelt key is the cause of the missing one: say the cause.
        faults = sorted(error.errors(), key=lambda fault: fault["type"] == "missing")
        raise RequestError(f"{path}: {_fault(dict(faults[0]))}") from None


def _fault(fault: Mapping[str, Any]) -> str:
    section, *rest = (str(part) for part in fault["loc"])
    key = ".".join([section, *rest])
    known = list(_KINDS[section].model_fields) if rest and section in _KINDS else CHECKS
    if fault["type"] == "extra_forbidden":
        return f"key {key!r}: there is no such key.{did_you_mean([section, *rest][-1], known)}"
    if fault["type"] == "missing":
        return f"key {key!r}: it is needed and is not there."
    return f"key {key!r}: {fault['msg']}, got {str(fault['input'])[:80]!r}."
