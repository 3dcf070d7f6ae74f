"""What all findings share: the class, how many cases are enough, and the words about a part of a whole."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import polars as pl

from trackkit.metrics import beyond_chance
from trackkit.show.wording import clipped, number, percent

MIME = "application/vnd.trackkit.finding+json"
LEAST = 30  # fewer cases than this prove nothing
CASES = 3  # a group above what is advised has at least as many: one or two are chance
LONGEST = 60  # letters of a name in a sentence


@dataclass(frozen=True)
class Finding:
    """The heading of a card, in the reader's language; text of logs in it is clipped and `plain`."""

    text: str

    def _repr_mimebundle_(self, **_: Any) -> dict[str, Any]:
        return {MIME: {"text": self.text}, "text/plain": self.text}


def share_of(sentence: str, part: int | None, whole: int | None, lang: str, **words: str) -> Finding | None:
    """A translated sentence with a count, its whole and their rate; None if one is unknown, or the whole is 0."""
    if part is None or not whole:
        return None
    counts = {"part": number(part, lang=lang), "whole": number(whole, lang=lang)}
    return Finding(sentence.format(**counts, rate=percent(part / whole, lang=lang, of=whole), **words))


def first_place(rows: pl.DataFrame, count: str, total: str, name: str) -> Callable[[str], dict[str, str]] | None:
    """The words about the row with most of at least 30 cases: unnamed rows and ties say nothing."""
    ordered = rows.sort(count, descending=True, nulls_last=True)
    if ordered.is_empty() or ordered[name][0] is None or (ordered[total][0] or 0) < LEAST:
        return None
    if ordered.height > 1 and ordered[count][0] == ordered[count][1]:
        return None
    row = ordered.row(0, named=True)
    return lambda lang: part_words(clipped(row[name], LONGEST), row[count], row[total], lang)


def is_ahead(counts: pl.Series) -> bool:
    """Whether the largest count is ahead of the next one by more than chance, which shares cases out in halves."""
    first, second = [*counts.sort(descending=True)[:2], 0][:2]
    return bool(beyond_chance(first / (first + second), 0.5, first + second))


def part_words(name: str, part: int, whole: int, lang: str) -> dict[str, str]:
    """The words about a part of a whole: `name`, `share`, `part`, `whole`."""
    share = percent(part / whole, lang=lang, of=whole)
    return {"name": name, "share": share, "part": number(part, lang=lang), "whole": number(whole, lang=lang)}
