"""The groups of reports in the bar of every page: `reports_templates/dossier.toml`, which analysts edit."""

from collections.abc import Collection
from pathlib import Path

from pydantic import Field, model_validator

from trackkit import resources, toml
from trackkit.errors import RequestError, did_you_mean
from trackkit.language import say
from trackkit.report import REPORTS
from trackkit.report.template import Name, Names, Words
from trackkit.toml import Problem, Strict

LIST = "reports_templates/dossier.toml"
OVERVIEW = "overview"  # the first page of a delivery: it stands before the groups


class Group(Strict):
    """Some reports under one title."""

    name: Name
    title: Words
    reports: Names


class Groups(Strict):
    """All groups, in the order of the bar."""

    group: list[Group] = Field(min_length=1)

    @model_validator(mode="after")
    def _each_once(self) -> "Groups":
        for what, names in (
            ("group", [group.name for group in self.group]),
            ("report", [report for group in self.group for report in group.reports]),
        ):
            for name in names:
                if names.count(name) > 1:
                    raise ValueError(f"the {what} {name!r} stands there twice")
        return self


def groups(lang: str = "en") -> list[Group]:
    """Return the groups with their titles in a language, the local copy before the shipped one.

    A last group "More" has the reports that no group lists. Raises RequestError naming file, section and key, and for
    a report that does not exist.

    >>> [group.title for group in groups()][:2]
    ['Delivery & bounces', 'Opens & devices']
    """
    path = resources.find(LIST)
    parsed, problems = toml.parse(path, Groups, {"say": lambda text: say(text, lang)})
    known = list(REPORTS)
    if parsed:
        problems = misfits(parsed, path, known)
    if problems or not parsed:
        raise RequestError(str(problems[0]))
    listed = {report for group in parsed.group for report in group.reports} | {OVERVIEW}
    others = [report for report in known if report not in listed]
    more = [Group(name="more", title=say("More", lang), reports=others)] if others else []
    return [*parsed.group, *more]


def misfits(parsed: Groups, path: Path, known: Collection[str]) -> list[Problem]:
    """Return what is wrong with the reports that groups list: unknown ones, and the overview."""
    problems = []
    for group in parsed.group:
        for report in group.reports:
            if report == OVERVIEW:
                fault = f"{OVERVIEW!r} stands before the groups by itself: leave it out."
                problems.append(Problem(str(path), group.name, "reports", fault))
            elif report not in known:
                fault = f"there is no report {report!r}.{did_you_mean(report, known)}"
                problems.append(Problem(str(path), group.name, "reports", fault))
    return problems


def titles_of(path: Path) -> list[str]:
    """Return the titles of a file's groups, for the catalogues."""
    parsed, _ = toml.parse(path, Groups)
    return [group.title for group in (parsed.group if parsed else [])]
