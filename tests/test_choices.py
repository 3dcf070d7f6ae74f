"""What `trackkit check` accepts renders: every choice of every shipped template, changed in many ways.

`python -m tests.test_choices STORE` tries all changes, the test those that differ in kind.
"""

import copy
import json
import shutil
import sys
import tempfile
import tomllib
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from nbformat.v4 import new_code_cell, new_notebook

from tests.notebooks import run_cell, texts
from trackkit import resources
from trackkit.engine.snapshot import Snapshot
from trackkit.report import notebook
from trackkit.report.checks import check
from trackkit.report.choices import calls
from trackkit.report.template import OPTIONS, TEMPLATES, Template
from trackkit.store import open_store

REPORTS = [
    name for name in resources.files(TEMPLATES, "*.toml") if name in resources.files(notebook.NOTEBOOKS, "*.ipynb")
]
NONSENSE = "nonsense"
NUMBERS = (0, -1, 3, 10**6, 1.5, True, "10", NONSENSE, [3], "")
# Parameters whose values only the data knows.
OF_DATA = ("delivery", "deliveries", "scope", "recipient", "service", "web_application", "external_delivery")
OF_DATA += ("of", "as_of", "type", "since", "until", "link", "device", "order", "status", "domain", "rule")
Words = dict[str, Any]


@cache
def _shipped(report: str) -> Words:
    return tomllib.loads(resources.find(f"{TEMPLATES}/{report}.toml").read_text("utf-8"))


@cache
def _elsewhere(key: str) -> list[str]:
    """The words that any template gives for a key of its sections."""
    sections = [section for report in REPORTS for section in _shipped(report)["section"]]
    return sorted({word for section in sections if key in section for word in _listed(section[key])})


def _listed(value: Any) -> list[str]:
    return [str(word) for word in value] if isinstance(value, list | dict) else [str(value)]


def _changed(key: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Yield other values of a key, each with the kind of its change."""
    foreign = [word for word in _elsewhere(key) if word not in _listed(value)]
    match value:
        case list():
            yield "twice", [*value, value[0]]
            yield "empty", []
            yield "wrong kind", value[0]
            yield "wrong kind within", [*value, 7]
            yield "misspelt", [f"{value[0]}s", *value[1:]]
            yield "fewer", value[1:]
            yield "reversed", value[::-1]
            yield from (("foreign", [*value, word]) for word in [*foreign, NONSENSE, "", " "])
            yield from (("foreign alone", [word]) for word in foreign)
        case dict():
            first = next(iter(value))
            yield "empty", {}
            yield "wrong kind", first
            yield "wrong kind within", {**value, first: [1]}
            yield "empty word", {**value, first: ""}
            yield "misspelt", {f"{first}s" if name == first else name: word for name, word in value.items()}
            yield "two alike", {**value, first: "Same", "another": "Same"}
            yield from (("foreign", {**value, word: value[first]}) for word in [*foreign, NONSENSE])
        case bool() | int() | float():
            yield from (("number", number) for number in NUMBERS)
        case _:
            yield from (("foreign", word) for word in [*foreign, NONSENSE, "", 5, [value], True])


def _mutants(report: str) -> Iterator[tuple[str, str, str, Words]]:
    """Yield every change of a template: its kind, its section (none: of parameters), its key, and the words."""
    shipped = _shipped(report)
    for place, section in enumerate(shipped["section"]):
        given = {"labels": {}, **{key: value for key, value in section.items() if key in OPTIONS}}
        for key, value in given.items():
            values = _changed(key, value) if value else (("added", {word: word.title()}) for word in _elsewhere(key))
            yield from ((kind, section["name"], key, _with(shipped, place, key, new)) for kind, new in values)
            yield "left out", section["name"], key, _with(shipped, place, key, None)
        for key in sorted(OPTIONS - set(given)):
            yield "not offered", section["name"], key, _with(shipped, place, key, _some(key))
        for shown in (["chart"], ["table"], ["chart", "chart"], ["charts"], "chart"):
            yield "shown", section["name"], "show", _with(shipped, place, "show", shown)
    path = resources.find(f"{notebook.NOTEBOOKS}/{report}.ipynb")
    for parameter in notebook.parameters(notebook.read(path), path):
        if parameter.name in OF_DATA:
            continue
        for kind, choice in _choices(parameter.default, shipped.get("parameters", {}).get(parameter.name, {})):
            parameters = {**shipped.get("parameters", {}), parameter.name: choice}
            yield kind, "", parameter.name, {**shipped, "parameters": parameters}


def _choices(default: Any, shipped: Words) -> Iterator[tuple[str, Words]]:
    for value in (NONSENSE, "", -1, 0, 1, 10**6, 1.5, True, *shipped.get("choices", [])):
        yield "default", {**shipped, "default": value}
        yield "another choice", {"choices": [*shipped.get("choices", [default]), value]}
    yield "default not among", {"choices": shipped.get("choices", [default, "b"])[1:]}
    yield "wrong kind", {"choices": NONSENSE}


def _some(key: str) -> Any:
    sections = (section for report in REPORTS for section in _shipped(report)["section"])
    return next((section[key] for section in sections if key in section), NOWHERE.get(key))


NOWHERE = {"decimals": 2, "floors": {"open_rate": 0.1}}  # what no shipped template has


def _with(shipped: Words, place: int, key: str, value: Any) -> Words:
    words = copy.deepcopy(shipped)
    words["section"][place].pop(key, None)
    if value is not None:
        words["section"][place][key] = value
    return words


def _toml(words: Words) -> str:
    """Write a template; JSON is TOML but for mappings."""
    parts = [f"{key} = {_written(words[key])}" for key in ("title", "text") if key in words]
    for name, choice in words.get("parameters", {}).items():
        parts += [f"[parameters.{name}]", *(f"{key} = {_written(value)}" for key, value in choice.items())]
    for section in words["section"]:
        parts += ["[[section]]", *(f"{key} = {_written(value)}" for key, value in section.items())]
    return "\n".join(parts)


def _written(value: Any) -> str:
    if isinstance(value, dict):
        return f"{{{', '.join(f'{json.dumps(key)} = {_written(word)}' for key, word in value.items())}}}"
    return json.dumps(value)


class Desk:
    """An analyst's folder with one report, whose notebook runs here on a sample."""

    def __init__(self, report: str, folder: Path, tables: Snapshot, delivery: str) -> None:
        self._folder, self._template = folder, folder / TEMPLATES / f"{report}.toml"
        self._given = {"store": tables, "delivery": delivery}
        self._template.parent.mkdir(parents=True)
        (folder / notebook.NOTEBOOKS).mkdir(parents=True)
        shipped = resources.find(f"{notebook.NOTEBOOKS}/{report}.ipynb")
        self._cells = notebook.code_cells(notebook.read(shutil.copy(shipped, folder / notebook.NOTEBOOKS)))
        self._prepared = self._prepare({})

    def problems(self, words: Words) -> list[str]:
        self._template.write_text(_toml(words), encoding="utf-8")
        return [str(problem) for problem in check(self._folder)]

    def render(self, words: Words, section: str) -> str:
        """Return what readers see of a section, or with other parameters of all; raise whatever it raises."""
        choices = words.get("parameters", {})
        names = dict(self._prepared) if section else self._prepare(choices)
        shown: list[Any] = []
        names["page"] = replace(names["page"], template=Template.model_validate(words))
        names["display"] = shown.append
        for cell in self._cells:
            if (tag := notebook.section_of(cell)) and tag in (section or tag):
                shown.append(run_cell(cell.source, names))
        return " ".join(texts(value) for value in shown if value is not None)

    def _prepare(self, choices: Words) -> Words:
        """Run the cells that no section has."""
        names: Words = {}
        for cell in self._cells:
            if not notebook.section_of(cell):
                run_cell(cell.source, names)
            if notebook.PARAMETERS in notebook.tags(cell):
                names |= {name: value for name, value in self._given.items() if name in names}
                names |= {name: choice["default"] for name, choice in choices.items() if "default" in choice}
        return names


def misjudged(
    report: str, tables: Snapshot, delivery: str, is_tried: Any = lambda kind, section, key: True
) -> list[str]:
    """Return the changes of a template that are accepted and do not render, or whose labels nobody sees."""
    wrong = []
    with tempfile.TemporaryDirectory() as folder:
        desk = Desk(report, Path(folder), tables, delivery)
        for kind, section, key, words in _mutants(report):
            if not is_tried(kind, section, key) or desk.problems(words):
                continue
            try:
                seen = desk.render(words, section)
            except Exception as error:
                wrong.append(f"{report}, {section or 'parameters'}, {key}, {kind}: {type(error).__name__}: {error}")
            else:
                labels = next((each for each in words["section"] if each["name"] == section), {}).get("labels", {})
                # a page about one delivery names it, the document of a log, in its header
                chosen = [word for name, word in labels.items() if name != "document"]
                wrong += [f"{report}, {section}, label {word!r} is not seen" for word in chosen if word not in seen]
    return wrong


def _sample(store: Path) -> tuple[Snapshot, str]:
    """The tables of a store in memory, and its delivery with most hits."""
    whole = open_store(store).snapshot()
    tables = Snapshot({name: whole.scan(name).collect().lazy() for name in whole.frames}, whole.as_of, whole.loads)
    counts = tables.scan("event").drop_nulls("delivery_id").group_by("delivery_id").len()
    return tables, counts.sort("len", "delivery_id").collect()["delivery_id"][-1]


@pytest.mark.parametrize("part", range(4))
def test_what_is_accepted_renders(demo_store: Path, part: int) -> None:
    """Of each kind of change of a key, two: `python -m tests.test_choices STORE` tries all, in some minutes."""
    sample, often = _sample(demo_store), Counter[tuple[str, str]]()

    def is_tried(kind: str, section: str, key: str) -> bool:
        often[kind, key] += 1
        return often[kind, key] <= 2

    assert [fault for report in REPORTS[part::4] for fault in misjudged(report, *sample, is_tried)] == []


def test_every_choice_of_the_shipped_reports_is_declared() -> None:
    """What no function tells the valid values of is a number, a metric or a network."""
    untold = set()
    for report in REPORTS:
        path = resources.find(f"{notebook.NOTEBOOKS}/{report}.ipynb")
        for call in calls(notebook.read(path), path)[0]:
            for argument, node in call.arguments.items():
                chosen = {key for section, key in call.reads(node) if section and key in OPTIONS}
                untold |= chosen if call.valid_values(argument) is None else set()
    assert untold <= {"top", "days", "lines", "shares", "metrics", "categories", "columns", "labels", "decimals"}


OPEN_RATES = 'charted = ["open_rate", "recipient_click_rate"]\n'


@pytest.mark.parametrize(
    ("report", "before", "after", "said"),
    [
        ("tracking_statistics", 'chart = "line"', 'chart = "lien"', ["'cumulated_activity'", "Did you mean 'line'"]),
        ("tracking_statistics", 'chart = "line"', 'chart = "share"', ["key 'chart'", "'share' is not known here."]),
        ("browsers", '"bar", "usage_rate"]', '"bar", "usage_rat"]', ["'usage'", "Did you mean 'usage_rate'"]),
        ("browsers", '"bar", "usage_rate"]', '"bar", "global_rate"]', ["key 'columns'", "is not known here"]),
        ("browsers", 'name = "Browser"', 'nme = "Browser"', ["key 'labels'", "'nme'", "Did you mean 'name'"]),
        ("browsers", '["day", "period"]', '["day", "week"]', ["parameters.distinct", "'week' is not known here"]),
        ("browsers", '["day", "period"]', '["period"]', ["its default 'day' is not among its choices"]),
        ("browsers", '["day", "period"]', '["day", "day"]', ["'day' stands there twice"]),
        ("browsers", "top = 5", "top = true", ["key 'top'", "valid integer"]),
        ("browsers", "top = 4", 'top = 4\nshow = ["table"]', ["key 'show'", "this section has no table"]),
        ("tracking_indicators", OPEN_RATES, 'charted = ["delivered"]\n', ["'delivered' is not known here"]),
        (
            "tracking_indicators",
            '"delivered", "complaint_rate"',
            '"targeted", "complaint_rate"',
            ["'targeted' cannot be broken down by 'domain'"],
        ),
        (
            "tracking_indicators",
            '"estimated_unique_opens", ',
            '"sales_amount", ',
            ["'reception_statistics'", "'sales_amount' is no share of 'delivered'"],
        ),
        (
            "delivery_statistics",
            "soft_bounce_rate = 0.10",
            "acceptance_rate = 0.10",
            ["key 'ceilings'", "'acceptance_rate' is not among the charted"],
        ),
        (
            "delivery_statistics",
            '"acceptance_rate", ',
            '"processed", ',
            ["key 'metrics'", "'processed' stands there twice"],
        ),
    ],
)
def test_what_would_mislead_is_named_where_it_is(
    tmp_path: Path, report: str, before: str, after: str, said: list[str]
) -> None:
    shipped = resources.find(f"{TEMPLATES}/{report}.toml")
    (tmp_path / TEMPLATES).mkdir()
    (tmp_path / notebook.NOTEBOOKS).mkdir(parents=True)
    shutil.copy(resources.find(f"{notebook.NOTEBOOKS}/{report}.ipynb"), tmp_path / notebook.NOTEBOOKS)
    text = shipped.read_text("utf-8")
    assert before in text
    (tmp_path / TEMPLATES / shipped.name).write_text(text.replace(before, after, 1), encoding="utf-8")
    problems = [str(problem) for problem in check(tmp_path)]
    assert len(problems) == 1 and problems[0].startswith(str(tmp_path / TEMPLATES / shipped.name)), problems
    assert all(part in problems[0] for part in said), problems


def test_a_call_that_does_not_exist_or_does_not_fit_is_told(tmp_path: Path) -> None:
    cells = [
        "tk.tables.metric_tabel(1)",
        "tk.links.link_clicks()",
        'tk.links.link_clicks(page.tables, "1", by="colour")',
    ]
    book = new_notebook(cells=[new_code_cell(cell) for cell in cells])
    called, faults = calls(book, tmp_path)
    assert [call.name for call in called] == ["tk.links.link_clicks"]
    assert "there is no tk.tables.metric_tabel" in faults[0] and "missing a required argument" in faults[1]
    assert "'colour' is not known here. Known: category, label, link, tag, url." in faults[2]


if __name__ == "__main__":
    sample = _sample(Path(sys.argv[1]))
    for name in sys.argv[2:] or REPORTS:
        print(name, len(list(_mutants(name))), *misjudged(name, *sample), sep="\n  ", flush=True)
