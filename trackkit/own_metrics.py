"""Metrics of one's own: made at the prompt, or declared in `metrics/*.toml` of a project, of the registered formulas.

A rate is a numerator and a denominator, both counts. A count says what it counts (messages, events, recipients,
people) and, by `where`, of which rows. Nothing else can be declared: a rate's parts stay visible, and what an engine
counts is what the page says.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

import polars as pl
from pydantic import ConfigDict, Field, StringConstraints, ValidationError, model_validator

from trackkit import schema, toml
from trackkit.errors import RequestError, did_you_mean
from trackkit.metrics import (
    BREAKDOWNS,
    EVENTS,
    MESSAGES,
    METRICS,
    PEOPLE,
    RATIO,
    RECIPIENTS,
    Count,
    Distinct,
    Formula,
    Metric,
    Ratio,
    bounds_of,
)
from trackkit.project import current
from trackkit.toml import Problem, Strict

__all__ = ["metric"]
# What can be counted: the source of its rows, and the column whose distinct values count ("": rows do).
COUNTED = {
    MESSAGES: ("message", ""),
    EVENTS: ("event", ""),
    RECIPIENTS: ("event", "message_id"),
    PEOPLE: ("event", "person_id"),
}
_TABLES = {"message": schema.MESSAGE.schema, "event": schema.EVENT.schema}
_TAKEN = {*BREAKDOWNS, *_TABLES["message"], *_TABLES["event"], *(end for name in METRICS for end in bounds_of(name))}
_NAME = r"^[a-z][a-z0-9_]*$"
Name = Annotated[
    str, StringConstraints(pattern=_NAME, max_length=60), Field(description="a name in lower case, as vip_click_rate")
]
Text = Annotated[str, StringConstraints(min_length=1, max_length=400), Field(description="a text")]
Value = bool | int | str


class Declared(Strict):
    """One metric: a rate of two others, or a count of rows that meet a condition."""

    model_config = ConfigDict(strict=True)

    label: Text
    definition: Text
    numerator: Text | None = None
    denominator: Text | None = None
    counts: Literal["messages", "events", "recipients", "people"] | None = None
    where: dict[str, list[Value]] = Field(default_factory=dict)
    higher_is: Literal["better", "worse", "neutral"] = "better"

    @model_validator(mode="after")
    def _rate_or_count(self) -> "Declared":
        parts = [part is not None for part in (self.numerator, self.denominator)]
        if any(parts) is (self.counts is not None) or any(parts) is not all(parts):
            raise ValueError("a metric has a numerator and a denominator, or it counts messages, events, …")
        if self.where and self.counts is None:
            raise ValueError("a condition is one of a count: declare the count, and name it as a part of the rate")
        for column, values in self.where.items():
            _require_condition(COUNTED[str(self.counts)][0], column, values)
        return self

    def metric(self, name: str, reference: str) -> Metric:
        """Return it as a metric."""
        return Metric(
            label=self.label,
            formula=self._formula(),
            definition=self.definition,
            reference=reference,
            source=COUNTED[self.counts][0] if self.counts else "",
            unit=self.counts or RATIO,
            higher_is=self.higher_is,
            by_default=False,
            name=name,
        )

    def _formula(self) -> Formula:
        if self.counts is None:
            return Ratio(str(self.numerator), str(self.denominator))
        column, where = COUNTED[self.counts][1], {name: tuple(values) for name, values in self.where.items()}
        return Distinct(column, where) if column else Count(where)


class File(Strict):
    """A file of `metrics/`: `[metric.NAME]` for each."""

    metric: dict[Name, Declared] = Field(min_length=1)

    @model_validator(mode="after")
    def _fit_together(self) -> "File":
        require_fitting({name: each.metric(name, "") for name, each in self.metric.items()})
        return self


def _require_condition(source: str, column: str, values: Sequence[Value]) -> None:
    """Refuse a condition on what rows of the source do not have, or on a value that is none of its words."""
    types = _TABLES[source]
    known = [name for name in types if name in BREAKDOWNS or isinstance(types[name], pl.Enum | pl.Boolean)]
    if column not in known:
        raise ValueError(f"rows of {source} have no {column!r} to count by.{did_you_mean(column, known)}")
    if not values:
        raise ValueError(f"{column!r} is tested with no value")
    dtype = types[column]
    kind = bool if isinstance(dtype, pl.Boolean) else int if dtype.is_integer() else str
    for value in values:
        if type(value) is not kind:
            raise ValueError(f"{column!r} is {'true or false' if kind is bool else kind.__name__}, not {value!r}")
        if isinstance(dtype, pl.Enum) and value not in dtype.categories:
            raise ValueError(f"{column!r} is never {value!r}.{did_you_mean(str(value), dtype.categories)}")


def require_fitting(own: Mapping[str, Metric]) -> None:
    """Refuse, with ValueError, a name of ours, and a rate whose parts are no counts."""
    for name, metric in own.items():
        if METRICS.is_shipped(name):
            raise ValueError(f"{name!r} is a metric of trackkit already: give yours another name")
        if name in _TAKEN:
            raise ValueError(f"{name!r} is a column already: give your metric another name")
        for part in metric.parents:
            known = own.get(part) or (METRICS[part] if METRICS.is_shipped(part) else None)
            if known is None:
                raise ValueError(f"{name!r} is made of {part!r}, and there is no such metric.{_near(part, own)}")
            if isinstance(known.formula, Ratio):
                raise ValueError(f"{name!r} is made of {part!r}, which is a rate itself: its parts are counts")


def _near(part: str, own: Mapping[str, Metric]) -> str:
    return did_you_mean(part, [*own, *METRICS])


def metric(name: str, label: str = "", definition: str = "", **options: Any) -> Metric:
    """Return a metric of one's own, to be measured beside others: `measure(store, [mine, "open_rate"])`.

    A rate has a `numerator` and a `denominator`, names of counts (or counts made here). A count says what it `counts`:
    "messages", "events", "recipients" (messages with such an event) or "people"; and `where`, values by column, as
    `{"event_type": ["clicked"]}`. `higher_is` is "better", "worse" or "neutral". Nothing is registered: where a
    name would be looked up in METRICS, as in charts, give the metric itself.
    Raises RequestError for what is not in order, and for a name of ours.

    >>> str(metric("opens_in_time", numerator="unique_opens", denominator="processed").formula)
    'unique_opens / processed'
    """
    parts = [value for value in options.values() if isinstance(value, Metric)]
    given = {key: value.name if isinstance(value, Metric) else value for key, value in options.items()}
    words = {"label": label or name.replace("_", " ").capitalize(), "definition": definition or "Made at the prompt."}
    try:
        made = File.model_validate({"metric": {name: {**words, **given}, **{each.name: _told(each) for each in parts}}})
    except ValidationError as error:
        fault = error.errors()[0]
        place = ".".join(map(str, fault["loc"][1:])) or name
        raise RequestError(f"Metric {place}: {str(fault['msg']).removeprefix('Value error, ').rstrip('.')}.") from None
    return replace(made.metric[name].metric(name, "your own"), made_of=tuple(parts))


def _told(each: Metric) -> dict[str, Any]:
    """A count made before, as it was declared."""
    where = {column: list(values) for column, values in getattr(each.formula, "where", {}).items()}
    return {"label": each.label, "definition": each.definition, "counts": each.unit, "where": where}


def files(folder: Path | None = None) -> list[Path]:
    """Return the files of metrics of a folder, by default of the current project."""
    project = current() if folder is None else None
    root = folder or (project.templates if project else None)
    return sorted((root / "metrics").glob("*.toml")) if root else []


def check(folder: Path | None = None) -> list[Problem]:
    """Return the problems of the metrics of a folder, by default of the current project."""
    return _read(folder)[1]


def of_project() -> dict[str, Metric]:
    """Return the metrics that the current project declares; RequestError, naming file and key, if not in order."""
    declared, problems = _read(None)
    for problem in problems:
        raise RequestError(str(problem))
    return declared


def in_order(folder: Path | None = None) -> dict[str, Metric]:
    """Return the metrics of a folder, by default of the current project, without those of files not in order."""
    return _read(folder)[0]


def _read(folder: Path | None) -> tuple[dict[str, Metric], list[Problem]]:
    """The metrics of a folder, and what is wrong with its files."""
    found, problems = dict[str, Path](), list[Problem]()
    metrics: dict[str, Metric] = {}
    for path in files(folder):
        declared, faults = toml.parse(path, File)
        problems += faults
        for name, each in declared.metric.items() if declared else ():
            if name in found:
                problems.append(Problem(str(path), "", f"metric.{name}", f"{found[name].name} declares it already."))
            found[name] = path
            metrics[name] = each.metric(name, f"metrics/{path.name} of the project")
    return metrics, problems
