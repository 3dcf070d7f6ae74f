"""Deliveries under the definitions of several senders: what each calls its open rate, and what that is here."""

from collections.abc import Iterable, Mapping
from typing import Any

import polars as pl

from trackkit.analysis.unseen import WHY, Kinds, measure_observed
from trackkit.definition_sets import NOT_DEFINED, QUESTIONS, DefinitionSet, Word, definition_set, shipped
from trackkit.engine.deliveries import Deliveries, asked_about, the_one
from trackkit.engine.snapshot import Measurable
from trackkit.metrics import METRICS, part_of

__all__ = ["side_by_side", "words"]

SIDE_BY_SIDE = {
    **dict.fromkeys(("question", "definitions", "sender", "label", "metric"), pl.String()),
    "rate": pl.Float64(),
    **{"numerator": pl.Int64(), "denominator": pl.Int64()},
    **dict.fromkeys(("numerator_metric", "denominator_metric", "why", "note", "source", "tag"), pl.String()),
}
WORDS = ("definitions", "sender", "word", "label", "metric", "formula", "tag", "source", "note", "why")


def side_by_side(
    tables: Measurable,
    delivery: Deliveries = None,
    sets: str | Iterable[str] | None = None,
    also: str = "",
    hidden: Mapping[str, Kinds] | None = None,
) -> pl.DataFrame:
    """Return deliveries, measured together, under each definition set: one row per question and set.

    `sets` are by default all of the package, `also` is one more, as that of a page: names, or paths of one's own.
    `hidden` is what cannot be observed of them (`analysis.unseen`), as `page.unseen`: its figures are then those of the
    other deliveries, or null.

    Columns: `question` ("open_rate"), `definitions` (the set), `sender`, `label` (the sender's word), `metric`, `rate`
    (a fraction), `numerator` and `denominator` (counts) with `numerator_metric` and `denominator_metric`, `why` (the
    reason if there is no rate), `note`, `source` and `tag` of the definition (R read, S seen as an excerpt, K to be
    checked). Raises RequestError for an unknown delivery or set.

    >>> compared = side_by_side(store, delivery, sets=["sendgrid"])
    >>> compared.select("question", "numerator", "denominator").row(0)
    ('open_rate', 25, 82)
    """
    chosen = _chosen(sets, also)
    answers = {(question, name): each.words.get(question) for question in QUESTIONS for name, each in chosen.items()}
    metrics = list(dict.fromkeys(word.metric for word in answers.values() if word and word.metric))
    row: Mapping[str, Any] = {}
    if metrics:
        ids = asked_about(tables, delivery)
        by = ["delivery_id"] if the_one(ids) else []
        row = measure_observed(tables, metrics, hidden or {}, by, ids).row(0, named=True)
    rows = [_row(row, chosen, *place, word) for place, word in answers.items()]
    return pl.DataFrame(rows, SIDE_BY_SIDE)


def _row(
    row: Mapping[str, Any], chosen: Mapping[str, DefinitionSet], question: str, name: str, word: Word | None
) -> dict[str, Any]:
    about = {"question": question, "definitions": name, "sender": chosen[name].label}
    if word is None or word.metric is None:
        why = NOT_DEFINED if word is None else word.why
        return about | ({} if word is None else word.model_dump()) | {"why": why}
    top, bottom = METRICS[word.metric].numerator, METRICS[word.metric].denominator
    parts = [row.get(part_of(row, word.metric, part or "")) for part in (top, bottom)]
    figures = {"rate": row[word.metric], "numerator": parts[0], "denominator": parts[1]}
    why = next((reason for part in (word.metric, top, bottom) if (reason := row.get(WHY.format(part)))), None)
    return about | word.model_dump() | figures | {"numerator_metric": top, "denominator_metric": bottom, "why": why}


def words(sets: str | Iterable[str] | None = None) -> pl.DataFrame:
    """Return the words of definition sets, by default those of the package: one row per set and word.

    Columns: `definitions`, `sender`, `word`, `label` (the sender's), `metric`, `formula`, `tag`, `source`, `note`, and
    `why` (these data cannot tell it). Raises RequestError for an unknown set.

    >>> words("sendgrid").filter(pl.col("word") == "click_to_open_rate")["label"].item()
    'Click-through rate (CTR)'
    """
    rows = [
        {"definitions": name, "sender": chosen.label, "word": word, "formula": _formula(told), **told.model_dump()}
        for name, chosen in _chosen(sets).items()
        for word, told in chosen.words.items()
    ]
    return pl.DataFrame(rows, dict.fromkeys(WORDS, pl.String()))


def _chosen(sets: str | Iterable[str] | None, also: str = "") -> dict[str, DefinitionSet]:
    names = [sets] if isinstance(sets, str) else [*(sets or shipped()), *([also] if also else [])]
    return {name: definition_set(name) for name in names}


def _formula(word: Word) -> str | None:
    return str(METRICS[word.metric].formula) if word.metric else None
