"""Whole columns of text become what Python's own types make of them, one by one, however they are written."""

import re
from datetime import datetime

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from trackkit.sources import values

DIGITS = st.text("0123456789", min_size=1, max_size=20)
SIGNED = st.builds("".join, st.tuples(st.sampled_from(["", " ", "-", "+", "0", "00"]), DIGITS))
TAILS = st.sampled_from(["", ".0", ".00", " ", ".5", "e3", "\n", "x"])
NUMBERS = st.lists(st.builds("".join, st.tuples(SIGNED, TAILS)) | st.text(max_size=4) | st.none(), max_size=8)
INSTANTS = st.builds(
    "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}{}".format,
    st.sampled_from([1, 1900, 1969, 1970, 2000, 2023, 2024, 9998]), st.integers(0, 13), st.integers(0, 32),
    st.integers(0, 29), st.integers(0, 59), st.integers(0, 59),
    st.just("") | st.just(".") | st.builds(".{}".format, st.text("0123456789", min_size=1, max_size=9)),
)  # fmt: skip


def _made(make: object, texts: list[str | None]) -> list[object]:
    rows = pl.DataFrame({"text": texts}, schema={"text": pl.String})
    return rows.select(make(pl.col("text"))).to_series().to_list()  # type: ignore[operator]


@given(NUMBERS)
def test_whole_numbers(texts: list[str | None]) -> None:
    shape = re.compile(r"[+-]?(?![1-9][0-9]{0,2}\.000$|0[0-9]{1,2}\.000$)[0-9]{1,18}(?:\.0+)?")  # 1.000: a thousand?
    trimmed = [None if text is None else text.strip() for text in texts]
    wanted = [int(one.split(".")[0]) if one and shape.fullmatch(one) else None for one in trimmed]
    assert _made(values.whole, texts) == wanted


@given(NUMBERS)
def test_ids(texts: list[str | None]) -> None:
    def wanted(text: str | None) -> str | None:
        one = (text or "").strip()
        if re.fullmatch(r"-[1-9][0-9]*", one):
            return one
        whole = one.removesuffix(".0")
        is_id = re.fullmatch("0*[1-9][0-9]*", whole) and (whole == one or len(whole.lstrip("0")) <= 15)
        return whole.lstrip("0") if is_id else None

    assert _made(values.reference, texts) == [wanted(text) for text in texts]


@given(st.lists(INSTANTS, min_size=1, max_size=8))
def test_instants_of_log_lines(texts: list[str]) -> None:
    def wanted(text: str) -> datetime | None:
        second, _, fraction = text.partition(".")
        try:
            return datetime.fromisoformat(f"{second}.{fraction[:6].ljust(6, '0')}")
        except ValueError:
            return None

    assert _made(values.log_instant, texts) == [wanted(text) for text in texts]


def test_thousands_are_read_where_they_can_be_nothing_else() -> None:
    texts = [
        "1 234",
        "1\u202f234,50",
        "1,234,567",
        "1.234.567,8",
        "1.234,50",
        "1,234.50",
        "1'234'567",
        "1,234",
        "12 34",
    ]
    assert _made(values.number, texts) == [1234, 1234.5, 1234567, 1234567.8, 1234.5, 1234.5, 1234567, None, None]
    assert _made(values.whole, texts) == [1234, None, 1234567, None, None, None, 1234567, None, None]
