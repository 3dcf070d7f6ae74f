"""Which tables each analysis reads, recorded while it runs: `python -m tests.reads` writes analysis/reads.toml.

Every public function of the analyses that takes the tables is called, with each choice that it offers. What a snapshot
answers once and keeps (which deliveries there are, which instants are believed) is no reading of one analysis: a call
is recorded the second time. Nor is a table of which only `KEYS` are read: what rows are grouped by says no more of them
than that they are there.
"""

import inspect
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl
from polars.io.plugins import register_io_source

import trackkit as tk
from trackkit import schema
from trackkit.analysis.caveats import FILLED_FROM, TABLES
from trackkit.engine.snapshot import Snapshot
from trackkit.errors import RequestError

FILE = Path(tk.__file__).parent / "analysis" / "reads.toml"
KEYS = {"delivery_id", "domain", "has_messages"}
# The modules whose functions are about the data itself, and not asked by a section.
NOT_ASKED = {"limits"}
# Tables that a function reads if they are there, and whose absence leaves no gap in what it says.
IF_THERE = {
    "bounces.axes": {"event", "link"},  # bounces of a sender's own log; the platform's are failure messages
    "complaints.rates": {"delivery", "event", "link", "page_hit"},  # why complaints may be unobservable
    # The first hit is the launch of a delivery that nothing else dates.
    **{"curves.launched": {"event", "link"}, "sending.throughput": {"event", "link"}, "sending.pace": {"event"}},
}
Read = dict[str, set[str]]
Choices = dict[str, list[Any]]


def recorded(tables: Snapshot, read: Read) -> Snapshot:
    """Return the tables, noting in `read` the columns of each that are read from now on."""
    frames = {name: _recorded(name, tables.scan(name).collect(), read) for name in schema.TABLES if tables.has(name)}
    return Snapshot(frames, tables.as_of, tables.loads, timezone=tables.timezone)


def _recorded(name: str, rows: pl.DataFrame, read: Read) -> pl.LazyFrame:
    def scan(columns: list[str] | None, predicate: pl.Expr | None, limit: int | None, _: int | None) -> Iterator[Any]:
        read[name] |= set(rows.columns if columns is None else columns)
        read[name] |= set() if predicate is None else set(predicate.meta.root_names())
        asked = rows.lazy() if predicate is None else rows.lazy().filter(predicate)
        asked = asked if columns is None else asked.select(columns)
        yield (asked if limit is None else asked.head(limit)).collect()

    return register_io_source(scan, schema=rows.schema)


def questions() -> dict[tuple[str, str], Callable[..., Any]]:
    """Every public function of an analysis that takes tables, by module and name."""
    rooms = {name: getattr(tk, name) for name in tk.__all__ if name not in NOT_ASKED}
    modules = {
        room: each
        for room, each in rooms.items()
        if inspect.ismodule(each) and each.__name__.startswith("trackkit.analysis.")
    }
    return {
        (room, name): function
        for room, module in modules.items()
        for name in module.__all__
        if inspect.isfunction(function := getattr(module, name))
        if next(iter(inspect.signature(function).parameters), "") == "tables"
    }


def calls(function: Callable[..., Any], tables: Snapshot, choices: Choices) -> list[Callable[[], Any]]:
    """The calls of a function: with what it must have, and then with each other choice instead."""
    parameters = list(inspect.signature(function).parameters.values())[1:]
    asked = [each for each in parameters if each.kind is not inspect.Parameter.VAR_KEYWORD]
    own = f"{function.__name__}."
    choices = choices | {name.removeprefix(own): values for name, values in choices.items() if name.startswith(own)}
    must: dict[str, Any] = {
        each.name: choices[each.name][0] for each in asked if each.default is inspect.Parameter.empty
    }
    about = [{}, *({each.name: choices[each.name][0]} for each in asked if each.name in ("delivery", "recipient"))]
    others = [{}, *({each.name: value} for each in asked for value in choices.get(each.name, []))]
    return [partial(_asked, function, tables, must | whose | other) for whose in about for other in others]


def _asked(function: Callable[..., Any], tables: Snapshot, arguments: dict[str, Any]) -> Any:
    """The answer, but no tables; the sentence of a refusal, as of a way of grouping that is another function's."""
    try:
        found = function(tables, **arguments)
    except RequestError as error:
        return str(error)
    return found.collect() if isinstance(found, pl.LazyFrame) else found


def choices_of(tables: Snapshot) -> Choices:
    """The values of each parameter, the usual one first."""
    busiest, recipient = (
        tables.scan(table).select(pl.col(key).drop_nulls().mode().sort().first()).collect().item()
        for table, key in (("event", "delivery_id"), ("message", "recipient_id"))
    )
    visits = tk.web.attribute_web(tables, "anonymous", "last", busiest)
    return {
        "delivery": [busiest],
        "recipient": [recipient],
        "deliveries": [[busiest]],
        "chosen": [tk.several.chosen_deliveries(tables, [busiest])],
        "metrics": [["targeted"]],  # a section says by itself what its metrics need
        "by": ["browser", "label", "type", "domain", "operating_system", "device", "url", "category", "tag"],
        "visits": [visits],
        "counted_tables.visits": [tk.consent.with_consent(tables, visits)],
        "pages": [tk.webapp.counted_pages(tables)],
        "days": [30],
        "hours": [24],
        "tab": ["urls"],
        "format": ["html", "text"],
        "mode": ["session", "anonymous"],
        "ranked_by": ["failures"],
        "label_contains": ["a"],
        "event": ["opened", "clicked", "transaction"],
    }


def record(tables: Snapshot) -> dict[str, dict[str, list[str]]]:
    """The tables that each function reads, in the order of `TABLES`, by module."""
    read: Read = defaultdict(set)
    watched, found = recorded(tables, read), defaultdict[str, dict[str, list[str]]](dict)
    choices = choices_of(watched)
    for (module, name), function in questions().items():
        needed: set[str] = set()
        for call in calls(function, watched, choices):
            call()
            read.clear()
            watched.deleted.clear()
            watched.unseen.clear()
            call()
            needed |= needs(read)
        needed -= IF_THERE.get(f"{module}.{name}", set())
        found[module][name] = [table for table in TABLES if table in needed]
    return dict(found)


def needs(read: Read) -> set[str]:
    """The tables behind columns that were read: those of the columns, and those that a load filled them from."""
    behind = {FILLED_FROM[column] for columns in read.values() for column in columns if column in FILLED_FROM}
    return {table for table, columns in read.items() if columns - KEYS} | behind


def text(found: dict[str, dict[str, list[str]]]) -> str:
    """The record as TOML."""
    lines = ["# Written by `python -m tests.reads` from runs of each function: do not edit."]
    for module, functions in sorted(found.items()):
        lines += [
            "",
            f"[{module}]",
            *(f"{name} = {str(tables).replace(chr(39), chr(34))}" for name, tables in functions.items()),
        ]
    return "\n".join(lines) + "\n"


def demo(folder: Path) -> Snapshot:
    """A demo instance with everything that analyses read, in memory."""
    from trackkit.demo import write_demo

    write_demo(folder, seed=1, deliveries=4, recipients=120)
    return tk.load(folder)


if __name__ == "__main__":
    with TemporaryDirectory() as folder:
        FILE.write_text(text(record(demo(Path(folder) / "raw"))), "utf-8")
    sys.stdout.write(f"{FILE}\n")
