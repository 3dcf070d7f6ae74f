"""Each page says which tables it misses: what an analysis reads is recorded from its runs, and the record is right."""

from pathlib import Path

import polars as pl
import pytest

import trackkit as tk
from tests import reads
from trackkit import schema
from trackkit.analysis.caveats import FILLED_FROM, TABLES, table_needs
from trackkit.engine.snapshot import Snapshot
from trackkit.report.notes import needs
from trackkit.report.template import template


@pytest.fixture(scope="module")
def demo(demo_store: Path) -> Snapshot:
    """The demo instance in memory."""
    stored = tk.open_store(demo_store).snapshot()
    frames = {name: stored.scan(name).collect().lazy() for name in schema.TABLES if stored.has(name)}
    return Snapshot(frames, stored.as_of, stored.loads, timezone=stored.timezone)


def test_the_record_is_what_the_analyses_read(demo: Snapshot) -> None:
    assert reads.FILE.read_text("utf-8") == reads.text(reads.record(demo)), "run `python -m tests.reads`"


def without(tables: Snapshot, table: str) -> Snapshot:
    """The tables as a load makes them that never saw one of them."""
    blank = [column for column, source in FILLED_FROM.items() if source == table]
    frames = {
        name: rows.with_columns(pl.lit(None, schema.TABLES[name].schema[column]).alias(column) for column in blank
                                if column in schema.TABLES[name].schema)
        for name, rows in tables.frames.items() if name != table
    }  # fmt: skip
    return Snapshot(frames, tables.as_of, tables.loads, timezone=tables.timezone)


@pytest.fixture(scope="module")
def choices(demo: Snapshot) -> reads.Choices:
    """What each function is asked."""
    return reads.choices_of(demo)


@pytest.fixture(scope="module")
def answers(demo: Snapshot, choices: reads.Choices) -> dict[tuple[str, str], list[object]]:
    """The answers of each function to all that it is asked, of the whole demo."""
    return {
        name: [call() for call in reads.calls(question, demo, choices)] for name, question in reads.questions().items()
    }


@pytest.mark.parametrize("table", TABLES)
def test_an_answer_depends_on_no_other_table(
    demo: Snapshot, choices: reads.Choices, answers: dict[tuple[str, str], list[object]], table: str
) -> None:
    """Where the record says that a function does not read a table, its answers are the same without it.

    But for the order of rows: of domains that are equal in messages the one with more hits stands first.
    """
    less = without(demo, table)
    differing = {
        name
        for name, question in reads.questions().items()
        if table not in table_needs(*name)
        for answer, call in zip(answers[name], reads.calls(question, less, choices), strict=True)
        if not _same(answer, call())
    }
    assert differing == set()


def _same(first: object, second: object) -> bool:
    if isinstance(first, pl.DataFrame) and isinstance(second, pl.DataFrame):
        return sorted(map(str, first.rows())) == sorted(map(str, second.rows()))
    if isinstance(first, tuple) and isinstance(second, tuple):
        return all(map(_same, first, second))
    return isinstance(first, Snapshot) or first == second


@pytest.mark.parametrize(
    ("report", "table", "sections"),
    [
        ("tracking_statistics", "page_hit", []),
        ("tracking_indicators", "page_hit", ["Web tracking", "Sharing"]),
        ("social_sharing", "page_hit", []),  # its figures and its networks, that is all of it
        ("recipient_tracking", "subscription", ["What happened when"]),
        ("web_application", "page_hit", []),
    ],
)
def test_pages_that_missed_a_warning_have_it(report: str, table: str, sections: list[str]) -> None:
    """Transactions, displays of shared pages and acts of a story come from tables that no list named."""
    assert needs(report, template(report))[table] == sections
