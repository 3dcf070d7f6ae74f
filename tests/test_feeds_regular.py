"""Records read at once, by their shape, give the rows and refusals that they give one by one, whatever is in them."""

import json
from pathlib import Path
from random import Random
from typing import Any

import polars as pl
import pytest

from trackkit.sources import read
from trackkit.sources.feeds.arrow_json import RecordRun, RecordShape

WILD: list[Any] = [
    None, True, 0, -1, 2**53 + 1, 2**64, 2**70, 0.5, 5.0, 1e-9, 1e16, "", "x", "<b>", "=1+1", "\ud800", "\x00", "é}\n{",
    [], [None], ["a"], ["a", "b"], [1], ["a", 1], {}, {"x": 1}, {"x": None}, [{"x": "y"}],
]  # fmt: skip
LINES = ['{"event": "open", "email":', "[", "5", '{"a":1}{"b":2}', "NaN", '{"a": NaN}', '{"event":"x","event":"y"}', ""]


def _sendgrid(number: int) -> dict[str, Any]:
    return {"event": "click", "timestamp": 1_772_000_000 + number, "email": f"r{number}@a.example",
            "sg_event_id": str(number), "category": ["news", f"c{number % 3}"], "url": None,
            "url_offset": {"index": number % 7, "type": "html"}}  # fmt: skip


def _ses(number: int) -> dict[str, Any]:
    at = {"timestamp": "2026-03-08T10:02:59.000Z", "userAgent": "Firefox"}
    mail = {"messageId": f"m{number}", "destination": [f"s{number}@a.example"], "tags": {"campaign": ["c"]}}
    return {"eventType": "Open", "mail": mail, "open": at, "more": number / 8 + 0.001}


SHAPES = {"sendgrid": _sendgrid, "amazon_ses": _ses}


def _spoil(record: dict[str, Any], chance: Random) -> dict[str, Any]:
    name = chance.choice([*record, "new"])
    inner = record.get(name)
    if isinstance(inner, dict) and inner and chance.random() < 0.5:
        return record | {name: _spoil(inner, chance)}
    return record | {name: chance.choice(WILD)}


def _lines(kind: str, seed: int, spoilt: float) -> list[str]:
    chance, lines = Random(seed), []
    for number in range(3000):
        record = SHAPES[kind](number)
        if chance.random() < spoilt:
            record = _spoil(record, chance)
        lines.append(chance.choice(LINES) if chance.random() < spoilt / 4 else json.dumps(record))
    return lines


def _read(lines: list[str], folder: Path, kind: str) -> list[pl.DataFrame]:
    folder.mkdir()
    (folder / "in.json").write_text("\n".join(lines) + "\n", "utf-8")
    load = read(folder / "in.json", folder / "staging", format=kind)
    frames = {name: frame.collect() for name, frame in load.frames.items()}
    return [frames[name] for name in sorted(frames)] + [load.quarantine]


@pytest.mark.parametrize("kind", SHAPES)
@pytest.mark.parametrize(("seed", "spoilt"), [(1, 0.0), (2, 0.0007), (3, 0.002), (4, 0.01), (5, 0.2)])
def test_rows_and_refusals_are_those_of_records_read_one_by_one(
    kind: str, seed: int, spoilt: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = _lines(kind, seed, spoilt)
    at_once = _read(lines, tmp_path / "at once", kind)
    monkeypatch.setattr(RecordShape, "read", lambda self, text: None)
    for one, other in zip(at_once, _read(lines, tmp_path / "one by one", kind), strict=True):
        assert one.equals(other)


@pytest.mark.parametrize("wild", WILD, ids=repr)
def test_a_value_is_never_read_less_exactly(wild: Any) -> None:
    shape, records = RecordShape(), [{"a": wild, "b": {"c": [wild]}, "d": 1}] * 3
    text = "\n".join(map(json.dumps, records))
    shape.learn(map(json.loads, text.split("\n")))
    run = shape.read(text)
    assert run is None or (isinstance(run, RecordRun) and list(run) == records)


def test_alike_records_are_read_at_once_and_others_not() -> None:
    shape = RecordShape()
    shape.learn([{"a": "x", "n": 1}])
    assert shape.read('{"a":"y","n":2}\n{"n":3}\n') is not None
    for other in (
        '{"a":1}',
        '{"b":"x"}',
        '{"n":1.5}',
        '{"n":1}{"n":2}',
        '{"n":\n1}',
        "{}",
        '{"n":9223372036854775808}',
    ):
        assert shape.read(f'{{"a":"y"}}\n{other}') is None
