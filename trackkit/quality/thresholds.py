"""From when on a problem of the logs is a warning or a failure: the analysts' list, and how a share is judged by it."""

from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, create_model

from trackkit import resources, toml
from trackkit.toml import Strict

LIST = "reports_templates/quality.toml"
PASS, WARN, FAIL = VERDICTS = ("pass", "warn", "fail")

Part = Annotated[float, Field(ge=0, le=1)]
Whole = Annotated[int, Field(ge=1)]


class _Limits(Strict):
    def __str__(self) -> str:
        return " ".join(f"{name}={value}" for name, value in self.model_dump(exclude_none=True).items())


class Share(_Limits):
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


class Silence(_Limits):
    """Of hours without any hit."""

    busy: Whole
    fail_hours: Whole


class SilentServer(_Limits):
    """Of a server without hits."""

    busy: Whole
    expected: Whole
    day_hours: Whole
    fail: Part


class Skew(_Limits):
    """Of clocks that disagree."""

    least: Whole
    overlap: Part
    gain: Part


_SHARES = (
    "unknown_deliveries", "unknown_links", "unknown_messages", "unknown_statuses", "undated", "repeated_opens",
    "duplicated_forwarding",
)  # fmt: skip
_KINDS: dict[str, type[_Limits]] = {
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
    "Thresholds", __base__=_Limits, **{name: (kind, _DEFAULTS.get(name, ...)) for name, kind in _KINDS.items()}
)
CHECKS = tuple(_KINDS)


def thresholds(path: Path | None = None) -> Any:
    """Read the analysts' thresholds, the local copy before the shipped one: one attribute for each check.

    Raises RequestError naming the file, the key and what would work.

    >>> thresholds().gap_in_sequence.warn
    0.01
    """
    return toml.read(path or resources.find(LIST), Thresholds)
