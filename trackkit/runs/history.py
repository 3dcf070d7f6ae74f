"""What a run tells machines: a line in `runs.jsonl`, a summary as JSON, and metrics in Prometheus' text format."""

import json
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from trackkit import __version__
from trackkit.errors import TrackkitError
from trackkit.plain import one_line
from trackkit.quality import VERDICTS, worst
from trackkit.resources import write_whole

HISTORY = "runs.jsonl"
_PAGES = ("rendered", "unchanged", "failed", "pruned")
_MOST_NAMED = 5
_STUMBLED, _INTERRUPTED = 1, 130


@dataclass
class RunSummary:
    """What a run did: jobs rendered, unchanged, and failed (with the error); `quality` by delivery.

    `because` is on how many pages figures in all are others than before, by cause (`trackkit.changes`). `pruned` are
    pages that were removed, since what they are about is gone. In a dry run `due` and `pruned` are what would be done.
    """

    index: Path
    rendered: list[str] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    quality: dict[str, str] = field(default_factory=dict)
    because: dict[str, int] = field(default_factory=dict)
    pruned: list[str] = field(default_factory=list)
    due: list[str] | None = None
    notes: list[str] = field(default_factory=list)
    started_at: datetime | None = None
    seconds: float = 0.0

    @property
    def verdict(self) -> str:
        """The worst verdict on the logs behind the reports."""
        return worst(list(self.quality.values()))

    @property
    def exit_code(self) -> int:
        """The code that the command line leaves with, but for `--fail-on`: 4 if a report failed."""
        return 4 if self.failed else 0

    def __str__(self) -> str:
        if self.due is not None:
            return "\n".join(_said_dry(self.due, self.pruned))
        counts = f"{len(self.rendered)} rendered, {len(self.unchanged)} unchanged, {len(self.failed)} failed"
        failures = [f"  {name}: {error}" for name, error in self.failed.items()]
        causes = [f"{cause} ({count} {'page' if count == 1 else 'pages'})" for cause, count in self.because.items()]
        changed = [f"Figures changed because of: {', '.join(causes)}."] if causes else []
        pruned = [f"Removed: {_counted(len(self.pruned), 'page')} of what is gone."] if self.pruned else []
        lines = [f"Reports: {counts}.", *changed, *pruned, *failures, *self.notes, *_health(self.quality), self.index]
        return "\n".join(map(one_line, lines))

    def to_dict(self) -> dict[str, Any]:
        """Return the summary as plain data, for `trackkit run --json`."""
        pages = {name: getattr(self, name) for name in (*_PAGES, "due")}
        times = {"started_at": self.started_at and self.started_at.isoformat(), "seconds": round(self.seconds, 3)}
        judged = {"verdict": self.verdict, "quality": self.quality, "because": self.because, "notes": self.notes}
        return {"index": str(self.index), **times, **pages, **judged}


def recorded(folder: Path, work: Callable[[], RunSummary]) -> RunSummary:
    """Do the work of a run and append a line on it to the history of its folder, however it ends.

    A dry run leaves none.
    """
    begun, started = datetime.now(UTC), time.monotonic()
    try:
        summary = work()
    except BaseException as error:
        with suppress(OSError):  # such as the full disk that ended the run: that is to be told
            _append(folder, {**_facts(begun, started), "exit_code": code_of(error), "error": type(error).__name__})
        raise
    summary.started_at, summary.seconds = begun, time.monotonic() - started
    if summary.due is None:
        counts = {name: len(getattr(summary, name)) for name in _PAGES}
        ends = {"exit_code": summary.exit_code, **counts, "failures": list(summary.failed), "verdict": summary.verdict}
        _append(folder, {**_facts(begun, started), **ends})
    return summary


def code_of(error: BaseException) -> int:
    """Return the exit code of an error that ended a run."""
    if isinstance(error, TrackkitError):
        return error.exit_code
    return _INTERRUPTED if isinstance(error, KeyboardInterrupt) else _STUMBLED


def write_metrics(path: Path, summary: RunSummary | None, code: int) -> None:
    """Write a run's metrics in Prometheus' text format, in one step; `summary` is None if it was refused or stopped."""
    now = datetime.now(UTC).timestamp()
    lines = [
        *_gauge("exit_code", "Exit code of the last run: 0 is good.", {"": code}),
        *_gauge("finished_timestamp_seconds", "When the last run ended.", {"": round(now, 3)}),
    ]
    if summary is not None:
        pages = {f'{{status="{name}"}}': len(getattr(summary, name)) for name in _PAGES}
        found = Counter(summary.quality.values())
        judged = {f'{{verdict="{verdict}"}}': found[verdict] for verdict in VERDICTS}
        lines += [
            *_gauge("duration_seconds", "How long the last run took.", {"": round(summary.seconds, 3)}),
            *_gauge("pages", "Pages of the last run, by what became of them.", pages),
            *_gauge("subjects", "Deliveries, and the platform, by the verdict on their logs.", judged),
        ]
    write_whole(path, "\n".join(lines) + "\n")


def _gauge(name: str, words: str, values: Mapping[str, float]) -> list[str]:
    name = f"trackkit_run_{name}"
    return [f"# HELP {name} {words}", f"# TYPE {name} gauge", *(f"{name}{of} {value}" for of, value in values.items())]


def _facts(begun: datetime, started: float) -> dict[str, Any]:
    seconds = round(time.monotonic() - started, 3)
    return {"trackkit": __version__, "started_at": begun.isoformat(), "seconds": seconds}


def _append(folder: Path, facts: Mapping[str, Any]) -> None:
    with (folder / HISTORY).open("a", encoding="utf-8") as file:
        file.write(json.dumps(facts, ensure_ascii=False) + "\n")


def _health(quality: Mapping[str, str]) -> list[str]:
    """The verdicts on the logs in one sentence, with the deliveries whose are not good; nothing if none is judged."""
    named = {
        verdict: [name or "platform" for name, found in quality.items() if found == verdict] for verdict in VERDICTS
    }
    counts = [f"{len(names)} {verdict}{_list(names, verdict)}" for verdict, names in named.items() if names]
    return [f"Logs: {', '.join(counts)}."] if counts else []


def _list(names: list[str], verdict: str) -> str:
    if verdict == VERDICTS[0]:
        return ""
    more = ["…"] if len(names) > _MOST_NAMED else []
    return f" ({', '.join([*names[:_MOST_NAMED], *more])})"


def _said_dry(due: list[str], pruned: list[str]) -> list[str]:
    words = [f"Would be rendered: {_counted(len(due), 'page')}.", *(f"  {name}" for name in due)]
    return [*words, f"Would be removed: {_counted(len(pruned), 'page')}.", *(f"  {name}" for name in pruned)]


def _counted(count: int, thing: str) -> str:
    return f"{count:,} {thing if count == 1 else thing + 's'}"
