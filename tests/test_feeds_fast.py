"""Runs of records parsed at once are the records that Python's own parser reads one by one, whatever is in them."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trackkit.sources import read
from trackkit.sources.feeds.framing import Broken, frames
from trackkit.sources.feeds.json_paths import as_json, each_as_json, lists

TEXTS = st.text(st.characters(exclude_categories=()), max_size=8) | st.sampled_from(
    ["}{", '"},{"', "e-9", "\ufeff", "]"]
)
NUMBERS = st.integers() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False)
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)
RECORDS = st.lists(st.dictionaries(TEXTS, VALUES, max_size=4), max_size=6)
BETWEEN = st.sampled_from(["\n", "\r\n", ",\n", "", ",", ", ", " \n\n"])


def _exact(value: Any) -> str:
    """The value with what `==` does not tell apart: 1, 1.0 and true; the order of names."""
    return repr(value)


@given(RECORDS, BETWEEN, st.booleans(), st.booleans())
def test_records_are_those_of_pythons_parser(
    records: list[dict[str, Any]], between: str, is_ascii: bool, in_array: bool
) -> None:
    text = between.join(json.dumps(one, ensure_ascii=is_ascii) for one in records)
    text = f"[{text}]\n" if in_array else text
    found = list(frames([text.encode("utf-8", "replace").decode()]))
    sound = [json.dumps(one, ensure_ascii=is_ascii).encode("utf-8", "replace").decode() for one in records]
    assert _exact(found) == _exact([json.loads(one) for one in sound])


@pytest.mark.parametrize(
    "number",
    ["18446744073709551615", "18446744073709551616", "-9223372036854775809", "1534108637.153125", "-0", "1e16"],
)
def test_numbers_are_exact_also_beside_many_others(number: str) -> None:
    lines = [f'{{"a": {place}}}' for place in range(3000)]
    lines[1500] = f'{{"a": [{number}], "a": {number}}}'
    found = list(frames(["\n".join(lines)]))
    assert _exact([found[1500], len(found), found[2999]]) == _exact([{"a": json.loads(number)}, 3000, {"a": 2999}])


@given(
    st.lists(
        st.sampled_from(['{"a":1}', '{"a":[{}', "{}]}", "{},{}", '{"b":"}{"}', "[", "]", "5", "", "{"]), max_size=8
    )
)
def test_lines_are_never_read_together_as_one_record(lines: list[str]) -> None:
    """The blocks of one character allow no run: records are read one by one, as always before."""
    text = "\n".join(lines)
    one_by_one, at_once = list(frames(text)), list(frames([text]))
    assert [one for one in at_once if not isinstance(one, Broken)] == [
        one for one in one_by_one if not isinstance(one, Broken)
    ]


@given(st.lists(st.dictionaries(TEXTS, VALUES, max_size=3), max_size=5))
def test_attributes_are_written_as_ever(objects: list[dict[str, Any]]) -> None:
    assert each_as_json(objects) == [as_json(one) if one else None for one in objects]


@given(st.lists(st.none() | st.lists(st.text(max_size=3) | st.none() | st.booleans() | st.integers(), max_size=3)))
def test_tags_are_written_one_by_one_or_together_alike(values: list[Any]) -> None:
    assert lists(values) == [lists([one, ""])[0] for one in values]


def test_a_file_with_one_bad_line_keeps_all_others_in_their_places(tmp_path: Path) -> None:
    lines = [
        json.dumps(
            {"event": "open", "email": "a@b.example", "timestamp": 1_772_000_000 + place, "sg_event_id": str(place)}
        )
        for place in range(5000)
    ]
    lines[2500] = '{"event": "open", "email":'
    (tmp_path / "in.json").write_text("\n".join(lines), "utf-8")
    load = read(tmp_path / "in.json", tmp_path / "staging")
    events = load.frames["event"].select("source_row", "vendor_id").collect()
    assert events["source_row"].to_list() == [row for row in range(1, 5001) if row != 2501]
    assert events["vendor_id"].to_list() == [str(row) for row in range(5000) if row != 2500]
    assert load.quarantine["source_row"].to_list() == [2501]
