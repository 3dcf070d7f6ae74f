"""The thresholds of warnings and failures: the analysts' list, and how shares are judged by it."""

from pathlib import Path
from typing import Annotated

from pydantic import Field

from trackkit import resources, toml
from trackkit.toml import Strict

LIST = "reports_templates/quality.toml"
PASS, WARN, FAIL = VERDICTS = ("pass", "warn", "fail")

Part = Annotated[float, Field(ge=0, le=1)]
Whole = Annotated[int, Field(ge=1)]


class _Limits(Strict):
    def __str__(self) -> str:
        return " ".join(f"{name}={value}" for name, value in self.model_dump(exclude_none=True).items())


class ShareLimits(_Limits):
    """Shares from which a count is a warning or a failure, and the least count that matters."""

    warn: Part
    fail: Part | None = None
    least: Whole = 1

    def judge(self, count: int, total: int) -> str:
        """Return the verdict on `count` of `total`.

        >>> ShareLimits(warn=0.01, fail=0.1, least=10).judge(10, 1000), ShareLimits(warn=0.01, least=10).judge(9, 9)
        ('warn', 'pass')
        """
        if count < self.least or not total:
            return PASS
        share = count / total
        return FAIL if self.fail is not None and share >= self.fail else WARN if share >= self.warn else PASS


class FileLimits(ShareLimits):
    """For rows of files, or hits: counts below `least` have limits of their own."""

    small_warn: Part = 0.1
    small_fail: Part = 0.5

    def judge_file(self, count: int, total: int) -> str:
        """Return the verdict on one file.

        >>> rows = FileLimits(warn=0.01, fail=0.1, least=10)
        >>> rows.judge_file(1, 4), rows.judge_file(9, 100), rows.judge_file(3, 3), rows.judge_file(10, 500)
        ('warn', 'pass', 'fail', 'warn')
        """
        if not count or not total:
            return PASS
        if count >= self.least:
            return self.judge(count, total)
        share = count / total
        return FAIL if share >= self.small_fail else WARN if share >= self.small_warn else PASS


class SequenceLimits(ShareLimits):
    """For numbers missing from a sequence."""

    jump: Whole
    restart: Whole
    dense: Part


class CounterLimits(ShareLimits):
    """For counters of the platform that differ from ours by more than `tolerance`."""

    tolerance: Part


class EarlyHitLimits(ShareLimits):
    """For hits before their message."""

    seconds: Whole


class MisdatedLimits(ShareLimits):
    """For implausible dates."""

    seconds: Whole


class UntrackedLimits(ShareLimits):
    """For deliveries without a hit."""

    hours: Whole
    messages: Whole


class SilenceLimits(_Limits):
    """For hours without any hit."""

    busy: Whole
    fail_hours: Whole


class SilentServerLimits(_Limits):
    """For a server without hits."""

    busy: Whole
    expected: Whole
    day_hours: Whole
    fail: Part


class SkewLimits(_Limits):
    """For clocks that disagree."""

    least: Whole
    overlap: Part
    gain: Part


class Thresholds(_Limits):
    """The analysts' list; checks with a default were added after some local copies were made."""

    gap_in_sequence: SequenceLimits
    gap_in_time: SilenceLimits
    silent_server: SilentServerLimits
    clock_skew: SkewLimits
    before_send: EarlyHitLimits
    misdated: MisdatedLimits = MisdatedLimits(warn=0.0, fail=0.1, seconds=60)
    tracking_missing: UntrackedLimits
    unknown_deliveries: ShareLimits
    unknown_links: ShareLimits
    unknown_messages: ShareLimits
    unknown_statuses: ShareLimits = ShareLimits(warn=0.01, fail=0.1)
    undated: ShareLimits
    repeated_opens: ShareLimits
    duplicated_forwarding: ShareLimits
    corrupt_lines: FileLimits
    unknown_values: FileLimits = FileLimits(warn=0.01, fail=0.1, least=10)
    unknown_types: FileLimits
    stored_counters: CounterLimits = CounterLimits(warn=0.0, tolerance=0.01)


CHECKS = tuple(Thresholds.model_fields)


def thresholds(path: Path | None = None) -> Thresholds:
    """Read the analysts' thresholds, the local copy before the shipped one: one attribute for each check.

    Raises RequestError naming the file, the key and what would work.

    >>> thresholds().gap_in_sequence.warn
    0.01
    """
    return toml.read(path or resources.find(LIST), Thresholds)
